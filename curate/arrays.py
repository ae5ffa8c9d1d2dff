"""Arrays that a stage keeps on disk for its kernels: read without pickle, and of the kind that the kernels take."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

KINDS = Mapping[str, str]
"""Name -> dtype."""


def read_arrays(path: Path, kinds: KINDS) -> dict[str, np.ndarray]:
    """The one-dimensional arrays of an .npz. Raises ValueError where it is damaged or holds others."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in kinds}
    # RuntimeError: zipfile's, for an encrypted entry or a kind of compression that it does not know
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, str(error)) from None
    for name, kind in kinds.items():
        if found[name].ndim != 1 or found[name].dtype != kind:
            raise damaged(path, f"{name} is {found[name].dtype} of {found[name].ndim} dimensions")
    return found


def are_bounds(starts: np.ndarray, size: int) -> bool:
    """Whether `starts` cuts an array of `size` into pieces: from 0, never falling, to its end."""
    return len(starts) > 0 and starts[0] == 0 and starts[-1] == size and bool((np.diff(starts) >= 0).all())


def is_power_of_two(size: int) -> bool:
    """Whether a table of this size can be masked."""
    return size > 0 and size & (size - 1) == 0


def damaged(path: Path, problem: str) -> ValueError:
    """The error for a file that a stage would have written otherwise."""
    return ValueError(
        f"{path}: is damaged ({problem}), so what it says of documents cannot be trusted. Delete {path.parent} and run "
        "curate.run again."
    )
