"""Measuring a model on its domain and on general text, and the report."""
