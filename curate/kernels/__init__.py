"""Loops over bytes and integers, compiled by numba; no stage, no file of a run."""
