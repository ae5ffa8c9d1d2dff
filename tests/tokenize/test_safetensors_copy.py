"""Copies of safetensors files: everything old byte for byte, new rows by weight, damage refused, little memory."""

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tokenization.safetensors_copy import Rows, copy_resized, from_float64, read_header

EMBEDDING = "model.embed_tokens.weight"


def combination(weights: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(list(weights), np.int64), np.array(list(weights.values()), np.float64)


def write(path: Path, header: Any, data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_only_embeddings_change(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        EMBEDDING: torch.randn(50, 7, generator=generator),
        "lm_head.bias": torch.randn(50, generator=generator, dtype=torch.float64),
        "lm_head.weight": torch.randn(50, 7, generator=generator).to(torch.float16),
        "of as many rows": torch.randn(50, 7, generator=generator),
        "counts": torch.arange(9),
        "mask": torch.tensor([True, False, True]),
        "small": torch.randn(4, 4, generator=generator).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(3.5, dtype=torch.bfloat16),
        "empty": torch.empty(0, 3),
    }
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt", "made": "here"})
    new = {45: combination({3: 0.25, 44: 0.75}), 51: combination({0: 1.0})}
    resized = copy_resized(tmp_path / "a.safetensors", tmp_path / "b.safetensors", Rows(50, 45, 64, new))
    assert set(resized) == {EMBEDDING, "lm_head.bias", "lm_head.weight"}
    after = load_file(tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "made": "here"}
    for name, old in tensors.items():
        assert after[name].dtype == old.dtype
        if name not in resized:
            assert after[name].shape == old.shape
            assert torch.equal(after[name].reshape(-1).view(torch.uint8), old.reshape(-1).view(torch.uint8))
            continue
        assert after[name].shape == (64, *old.shape[1:])
        kept = [index for index in range(50) if index != 45]
        assert torch.equal(after[name][kept], old[kept])
        values = old.double()
        assert torch.equal(after[name][45], (0.25 * values[3] + 0.75 * values[44]).to(old.dtype))
        assert torch.equal(after[name][51], old[0])
        for index in (50, *range(52, 64)):
            assert torch.allclose(after[name][index].double(), values[:45].mean(0), atol=1e-3)


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_values_are_rounded_as_torch_does(dtype: str) -> None:
    names = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    values = np.random.default_rng(0).normal(size=10_000)
    expected = torch.from_numpy(values).to(names[dtype]).view(torch.uint8).numpy().tobytes()
    assert from_float64(values, dtype) == expected


@pytest.mark.parametrize(
    ("header", "size", "problem"),
    [
        ([1], 0, "cannot be read"),
        ({"a": 3}, 0, "cannot be read"),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4, "cannot be read"),
        ({"a": tensor("F32", [2], 0, 8)}, 7, "8 bytes and 7 are there"),
        ({"a": tensor("F32", [2], 0, 8)}, 9, "8 bytes and 9 are there"),
        ({"a": tensor("F32", [3], 0, 8)}, 8, "does not fill"),
        ({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}, 12, "b does not begin"),
        ({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [1], 12, 16)}, 16, "b does not begin"),
        ({"a": tensor("F32", [2], 8, 0)}, 8, "a does not begin"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path: Path, header: Any, size: int, problem: str) -> None:
    path = tmp_path / "odd.safetensors"
    write(path, header, bytes(size))
    with open(path, "rb") as file, pytest.raises(ValueError, match=problem) as caught:
        read_header(file, path)
    assert "odd.safetensors" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"1234", struct.pack("<Q", 1 << 62) + b"{}", struct.pack("<Q", 2) + b"{["])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(data)
    with open(path, "rb") as file, pytest.raises(ValueError, match="is not a whole safetensors file"):
        read_header(file, path)


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """A file of 200 MB, 100 of them the embedding (sparse on disk): a few blocks of 1 MB are in memory."""
    rows, columns = 50_000, 1024
    size = rows * columns * 2
    header = {EMBEDDING: tensor("BF16", [rows, columns], 0, size), "big": tensor("F32", [size // 4], size, 2 * size)}
    path, copy = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write(path, header, b"")
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + 2 * size)
        file.seek(-4, 2)
        file.write(b"last")
    new = {rows + k: combination({k: 0.5, rows - 1 - k: 0.5}) for k in range(100)}
    tracemalloc.start()
    copy_resized(path, copy, Rows(rows, rows, rows + 128, new))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6
    assert copy.stat().st_size > 2 * size
    with open(copy, "rb") as file:
        file.seek(-4, 2)
        assert file.read() == b"last"
