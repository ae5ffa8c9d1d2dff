"""Nothing in a checkpoint is run, and a damaged one gives an error that names it."""

import io
import os
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from train import checksums, read_checkpoint

FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def state() -> dict[str, Any]:
    """Tensors and values of the kinds that a run keeps."""
    weights = {name: torch.zeros(4, 3, dtype=getattr(torch, name)) for name in ("float32", "bfloat16")}
    return {"weights": weights, "optimizer": {"lr": 0.0, "betas": (0.0, 0.0)}, "rows": 0, "extensions": "", "none": 1}


class Planted:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with known values."""
    folder = tmp_path_factory.mktemp("saved") / "step-3"
    full = state()
    full["weights"] = {name: torch.arange(12).reshape(4, 3).to(one.dtype) for name, one in full["weights"].items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.save(full | {"rows": 72, "extensions": "{}", "none": None}, checkpoint_id=folder, no_dist=True)
    checksums.complete(folder, {}, checksums.measure_files(folder, 0))
    return folder


def test_what_was_saved_is_read(saved: Path) -> None:
    found = state()
    read_checkpoint.load(found, saved, no_dist=True)
    assert (found["rows"], found["extensions"], found["none"]) == (72, "{}", None)
    assert all(one.sum() == 66 for one in found["weights"].values())


def test_a_program_in_the_metadata_is_not_run(saved: Path, tmp_path: Path) -> None:
    folder, made = copy(saved, tmp_path), tmp_path / "made"
    (folder / ".metadata").write_bytes(pickle.dumps(Planted(made)))
    (folder / checksums.COMPLETE).unlink()
    checksums.complete(folder, {}, checksums.measure_files(folder, 0))
    assert checksums.damage(folder) == [], "a checksum says nothing of who wrote a file"
    with pytest.raises(ValueError, match=r"step-3: cannot be read .*names posix.mkdir"):
        read_checkpoint.load(state(), folder, no_dist=True)
    assert not made.exists()
    with pytest.raises(BaseException, match="."):  # torch's own reader runs it
        dcp.load(state(), checkpoint_id=folder, no_dist=True)
    assert made.exists()


class Attribute:
    """An object whose unpickling asks for an attribute of another."""

    def __init__(self, *asked: Any):
        self.asked = asked

    def __reduce__(self) -> Any:
        return getattr, self.asked


def test_members_of_enumerations_are_read_as_python_3_11_0_keeps_them_and_no_other_attribute(tmp_path: Path) -> None:
    from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING as KIND

    member = KIND.TORCH_CHANNELS_LAST
    for asked, told in (
        ((KIND, member.name), "holds"),
        ((KIND, "__init__"), "KeyError"),
        ((torch.Size, "numel"), "no enu"),
    ):
        (tmp_path / ".metadata").write_bytes(pickle.dumps(Attribute(*asked)))
        with pytest.raises(ValueError, match=told):
            read_checkpoint.Reader(tmp_path).read_metadata()


def test_a_program_in_a_value_is_not_run(saved: Path, tmp_path: Path) -> None:
    folder, made = copy(saved, tmp_path), tmp_path / "made"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.save(state() | {"rows": Planted(made)}, checkpoint_id=folder, no_dist=True)
    with pytest.raises(ValueError, match=r"step-3: cannot be read \(UnpicklingError"):
        read_checkpoint.load(state(), folder, no_dist=True)
    assert not made.exists()


def test_metadata_that_leads_elsewhere_or_to_too_much_is_refused(saved: Path, tmp_path: Path) -> None:
    def refused(change: Any, match: str) -> None:
        folder = copy(saved, tmp_path)
        about = read_checkpoint.Reader(saved).read_metadata()
        change(about)
        (folder / ".metadata").write_bytes(pickle.dumps(about))
        with pytest.raises(ValueError, match=match):
            read_checkpoint.load(state(), folder, no_dist=True)

    def places(about: Any, **changes: Any) -> None:
        for place in about.storage_data.values():
            vars(place).update(changes)

    (tmp_path / "other").write_bytes(b"0" * 9999)
    refused(lambda about: places(about, relative_path="../other"), "lies outside of the folder")
    refused(lambda about: places(about, relative_path=str(tmp_path / "other")), "lies outside of the folder")
    refused(lambda about: places(about, offset=1 << 40), "lies beyond the end of __0_0.distcp")
    refused(lambda about: places(about, offset=-1), "lies beyond the end of __0_0.distcp")
    size = torch.Size([1 << 40, 1 << 20])
    refused(lambda about: setattr(about.state_dict_metadata["weights.float32"], "size", size), "more bytes than")
    refused(lambda about: setattr(about, "storage_data", None), "does not say where")
    refused(lambda about: setattr(about, "state_dict_metadata", {"a": 3}), "a is neither a tensor nor a value")


@FUZZ
@given(file=some.sampled_from([".metadata", "__0_0.distcp"]), at=some.floats(0, 1), bytes_=some.binary(max_size=6))
def test_damage_gives_an_error_that_names_the_checkpoint(
    saved: Path, tmp_path: Path, file: str, at: float, bytes_: bytes
) -> None:
    folder = copy(saved, tmp_path)
    content = (folder / file).read_bytes()
    start = int(at * len(content))
    (folder / file).write_bytes(
        content[:start] + bytes_ + content[start + len(bytes_) :] if bytes_ else content[:start]
    )
    try:
        read_checkpoint.load(state(), folder, no_dist=True)
    except ValueError as error:
        assert "step-3" in str(error)


@FUZZ
@given(some.recursive(some.none() | some.integers() | some.text(max_size=5), some.lists) | some.binary(max_size=40))
def test_a_foreign_metadata_is_refused(saved: Path, tmp_path: Path, value: Any) -> None:
    folder = copy(saved, tmp_path)
    content = value if isinstance(value, bytes) else pickle.dumps(value)
    (folder / ".metadata").write_bytes(content)
    with pytest.raises(ValueError, match="step-3"):
        read_checkpoint.load(state(), folder, no_dist=True)


@FUZZ
@given(some.binary(max_size=30) | some.sampled_from([b"[" * 200_000, b'{"identity": 3}', b"[]", b"null", b"\xff"]))
def test_a_foreign_completion_file_is_damage(saved: Path, tmp_path: Path, content: bytes) -> None:
    folder = copy(saved, tmp_path)
    (folder / checksums.COMPLETE).write_bytes(content)
    assert checksums.damage(folder) and "complete.json" in checksums.damage(folder)[0]


def test_a_completion_file_that_names_a_file_elsewhere_is_damage(saved: Path, tmp_path: Path) -> None:
    folder = copy(saved, tmp_path)
    (tmp_path / "other").write_bytes(b"x")
    measured = checksums.measure(io.BytesIO(b"x"))
    for name in ("../other", str(tmp_path / "other")):
        checksums.complete(folder, {}, {name: measured})
        assert "lies outside of the folder" in checksums.damage(folder)[0]


def copy(saved: Path, home: Path) -> Path:
    """A copy to be changed."""
    shutil.rmtree(home / "step-3", ignore_errors=True)
    shutil.copytree(saved, home / "step-3")
    return home / "step-3"
