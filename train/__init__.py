"""The trainer, on torchtitan's, and what takes part in its steps."""
