"""Packed shards, the mixture plan, and the loader that follows it."""
