"""Checkpoints and Fisher information read without running what is in their files.

torch.distributed.checkpoint (2.13) keeps its `.metadata` as a pickle, which it reads with pickle.load, and values that
are no tensors (the step, the optimizer's settings, the rows consumed) it reads with torch.load(weights_only=False).
Either would run any program that somebody has put there. The checksums in complete.json do not protect from that: they
find damage, and who can write one file can write the other. So `.metadata` is read here by an unpickler that knows the
dozen classes it is made of and nothing else, values with weights_only=True, and what the metadata says is checked
before a file is opened or memory taken by it.
"""

import io
import logging
import math
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, EnumType
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._nested_dict import set_element
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from curate.files import is_plain

_METADATA = "torch.distributed.checkpoint.metadata"
_CLASSES = {
    *((_METADATA, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties")),
    *((_METADATA, name) for name in ("BytesStorageMetadata", "TensorStorageMetadata", "ChunkStorageMetadata")),
    *((_METADATA, "_MEM_FORMAT_ENCODING"), ("torch.distributed.checkpoint.filesystem", "_StorageInfo")),
    *(("torch", "Size"), ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath")),
    *(("torch", name) for name, value in vars(torch).items() if isinstance(value, torch.dtype)),
}
"""(module, name) of all that a `.metadata` may name."""


class Reader(dcp.FileSystemReader):
    """Reads a checkpoint's folder.

    Raises ValueError for a `.metadata` that is damaged or was not written by torch, FileNotFoundError for a file that
    is not there.
    """

    def read_metadata(self) -> Metadata:  # type: ignore[override]
        """What the folder's `.metadata` says, checked."""
        path = Path(self.path) / ".metadata"
        try:
            found = _Unpickler(io.BytesIO(path.read_bytes())).load()
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged pickle raises whatever the classes make of wrong arguments
            raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from None
        if problem := _problem(found, Path(self.path)):
            raise ValueError(f"{path}: {problem}")
        found.storage_meta = StorageMeta(load_id=self.load_id)
        return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):  # how Python 3.11.0 to 3.11.3 keep a member of an enumeration
            return _member
        if (module, name) not in _CLASSES:
            raise ValueError(f"names {module}.{name}, which is no part of a checkpoint, so it was not loaded")
        return super().find_class(module, name)


def _member(kind: Any, name: str) -> Enum:
    """A member of an enumeration by its name, and nothing else that getattr would give."""
    if not isinstance(kind, EnumType):
        raise ValueError(f"names {name!r} of something that is no enumeration, so it was not loaded")
    return kind.__members__[name]


class _Planner(dcp.DefaultLoadPlanner):
    """Plans as torch's own does; values that are no tensors may be numbers, texts and lists and dicts of them."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        name = read_item.dest_index.fqn
        set_element(self.original_state_dict, self.mappings[name], torch.load(value, weights_only=True))


def load(state: dict[str, Any], folder: Path, no_dist: bool = False) -> None:
    """Read a folder's tensors and values into `state`, as dcp.load does.

    Raises ValueError where a file is missing, damaged, or holds more than data; its cause is the first rank's error.
    """
    try:
        with _quiet():
            dcp.load(state, storage_reader=Reader(folder), planner=_Planner(), no_dist=no_dist)
    except dcp.CheckpointException as error:
        cause = next(iter(error.failures.values()))[0]
        told = " ".join(str(cause).split())[:400]
        raise ValueError(
            f"{folder}: cannot be read ({type(cause).__name__}: {told}), so its tensors cannot be trusted. Take "
            "another checkpoint, or copy this one back from where it was made."
        ) from cause


def _problem(found: Any, folder: Path) -> str:
    """What is wrong with a folder's metadata; empty where nothing is. Raises FileNotFoundError for a missing file."""
    if not (isinstance(found, Metadata) and isinstance(found.state_dict_metadata, dict)):
        return f"holds {type(found).__name__}, not a checkpoint's metadata"
    there = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    if not isinstance(found.storage_data, dict):
        return "does not say where the tensors are"
    for index, place in found.storage_data.items():
        if not (isinstance(place, _StorageInfo) and is_plain(place.relative_path)):
            return f"{getattr(index, 'fqn', index)} lies outside of the folder"
        if place.relative_path not in there:
            raise FileNotFoundError(f"{folder / place.relative_path}: is not there as a file of its own")
        if not (_whole(place.offset, place.length) and place.offset + place.length <= there[place.relative_path]):
            return f"{getattr(index, 'fqn', index)} lies beyond the end of {place.relative_path}"
    room = sum(there.values())
    for name, about in found.state_dict_metadata.items():
        if isinstance(about, BytesStorageMetadata):
            continue
        if not (isinstance(about, TensorStorageMetadata) and isinstance(about.size, torch.Size)):
            return f"{name} is neither a tensor nor a value"
        dtype = about.properties.dtype
        if not (_whole(*about.size) and isinstance(dtype, torch.dtype)):
            return f"{name} has the shape {tuple(about.size)} of {dtype}"
        if math.prod(about.size) * dtype.itemsize > room:
            return f"{name} would take more bytes than the folder's files have"
    return ""


def _whole(*numbers: Any) -> bool:
    return all(isinstance(number, int) and number >= 0 for number in numbers)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's traceback in the log for what is raised as well, and its word on a single process."""
    logger = logging.getLogger("torch.distributed.checkpoint.state_dict_loader")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            yield
    finally:
        logger.setLevel(level)
