"""Shards hold what was packed, and a reader refuses what it cannot trust."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mix import shards as shards_module
from mix.pack import pack
from mix.shards import Header, read_shard, write_shards

HEADER = Header("tokenizer-a", 400, 32, "domain", "notes")


def write(
    folder: Path, lengths: list[int], dtype: type = np.uint16, header: Header = HEADER
) -> tuple[list[tuple[Path, int]], np.ndarray]:
    ids: np.ndarray = np.arange(1, sum(lengths) + 1).astype(dtype)
    counts = np.array(lengths, np.int64)
    return write_shards(folder, header, pack(counts, header.seq_len, header.packing), ids, counts, padding=0), ids


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    written, _ = write(tmp_path, [5, 31, 100, 2, 0, 17] * 20)
    return written[0][0]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("shard_bytes", [64 << 20, 1000])
@pytest.mark.parametrize("method", ["best_fit", "concat"])
def test_documents_come_back_from_their_rows(
    tmp_path: Path, monkeypatch, dtype: type, shard_bytes: int, method: str
) -> None:
    header = replace(HEADER, packing=method)
    monkeypatch.setattr(shards_module, "SHARD_BYTES", shard_bytes)
    lengths = [5, 31, 100, 2, 0, 17, 64] * 20
    written, ids = write(tmp_path, lengths, dtype, header)
    begins = np.cumsum(lengths) - lengths
    found: np.ndarray = np.zeros(len(ids), dtype)
    for path, rows in written:
        shard = read_shard(path, "tokenizer-a", 32)
        assert shard.header == header and shard.rows == rows and shard.tokens.dtype == dtype
        assert shard_bytes > 1000 or shard.tokens.nbytes >= shard_bytes
        for row in range(rows):
            at = 0
            for segment in range(shard.segment_offsets[row], shard.segment_offsets[row + 1]):
                tokens = shard.tokens[row, at : at + shard.doc_lengths[segment]]
                at += shard.doc_lengths[segment]
                if shard.doc_rows[segment] < 0:
                    assert (tokens == 0).all() and at == 32, "padding stands last"
                    continue
                begin = begins[shard.doc_rows[segment]] + shard.doc_starts[segment]
                assert (found[begin : begin + len(tokens)] == 0).all()
                found[begin : begin + len(tokens)] = tokens
            assert at == 32
    assert found.tolist() == ids.tolist()
    least = -(-1000 // (32 * ids.itemsize))
    assert len(written) == (1 if shard_bytes > 1000 else sum(rows for _, rows in written) // least)


@pytest.mark.parametrize(("tokenizer", "seq_len", "key"), [("b", 32, "tokenizer"), ("tokenizer-a", 64, "seq_len")])
def test_rows_made_with_something_else_are_refused(shard: Path, tokenizer: str, seq_len: int, key: str) -> None:
    with pytest.raises(ValueError, match=f"00000.arrow: {key}: the shard was made with .* is wanted"):
        read_shard(shard, tokenizer, seq_len)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.9999))
def test_a_truncated_shard_is_refused(shard: Path, share: float) -> None:
    cut = shard.with_name("cut.arrow")
    cut.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * share)])
    with pytest.raises(ValueError, match="cut.arrow: is not a whole shard"):
        read_shard(cut)


def test_other_files_are_refused(shard: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.arrow"
    text.write_text("not Arrow at all " * 100)
    with pytest.raises(ValueError, match="text.arrow: is not a whole shard"):
        read_shard(text)
    with pytest.raises(ValueError, match="missing.arrow: the shard is not there"):
        read_shard(tmp_path / "missing.arrow")
    shutil.copy(shard, tmp_path / "stream.arrow")
    other = tmp_path / "other.arrow"
    import pyarrow as pa

    table = pa.table({"tokens": [1, 2, 3]})
    with pa.OSFile(str(other), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match="other.arrow: is not a whole shard"):
        read_shard(other)


def test_no_documents_give_no_shards(tmp_path: Path) -> None:
    assert write(tmp_path, [0, 0])[0] == []
