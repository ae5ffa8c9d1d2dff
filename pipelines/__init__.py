"""The pipeline file: its schema and the command line."""
