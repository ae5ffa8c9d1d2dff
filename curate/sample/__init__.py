"""The text the repo makes for itself: a few megabytes of clinical and general documents with planted faults.

Composed from the word lists and sentence templates in this folder; drugs and conditions follow textbook facts, people,
places and figures are invented. Good for trying the tool and for tests, of no medical use.
"""

from curate.sample.make import make_sample

__all__ = ["make_sample"]
