"""What every training run loads, for the process that tests/train/kills.py forks them from.

Beside the imports: numba compiles its lists of arrays anew in each process, which takes 1.6 s.
"""

import numba
import numpy as np

from train import configure, export, launch, settings  # noqa: F401

for array in (np.zeros((1, 1), np.uint16), np.zeros(1, np.int64), np.zeros(1, np.int32)):
    array.setflags(write=False)  # as those of a mapped shard
    numba.typed.List([array])
