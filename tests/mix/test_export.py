"""Every export holds the plan's rows in the plan's order, read back by the tools it is for."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mix.build import build
from mix.export import main
from mix.loader import Loader
from mix.plan import Plan
from pipelines import config

ROWS = 24 * 8


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    run = make_run()
    build(config.load(run / "pipeline.yaml"))
    return run


@pytest.fixture
def plan(run: Path) -> Plan:
    return build(config.load(run / "pipeline.yaml"))


@pytest.fixture
def tokens(run: Path, plan: Plan) -> np.ndarray:
    """The tokens of the first rows, as the trainer reads them."""
    return np.asarray(Loader(plan, run / "packed", 8).tokens(0, ROWS))


def exported(run: Path, form: str) -> Path:
    folder = run.parent / f"out-{form}"
    main([str(run), "--format", form, "--to", str(folder), "--train.steps", "24", "--train.global_batch", "8"])
    return folder


def test_megatron(run: Path, tokens: np.ndarray) -> None:
    folder = exported(run, "megatron")
    index = (folder / "tokens.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, kind, sequences, documents = struct.unpack("<QBQQ", index[9:34])
    assert (version, sequences, documents) == (1, ROWS, ROWS + 1)
    lengths = np.frombuffer(index, np.int32, sequences, 34)
    pointers = np.frombuffer(index, np.int64, sequences, 34 + 4 * sequences)
    bounds = np.frombuffer(index, np.int64, documents, 34 + 12 * sequences)
    assert len(index) == 34 + 12 * sequences + 8 * documents and bounds.tolist() == list(range(ROWS + 1))
    data = (folder / "tokens.bin").read_bytes()
    dtype: np.dtype[Any] = np.dtype({8: np.uint16, 4: np.int32}[kind])
    assert len(data) == tokens.size * dtype.itemsize
    for row in range(ROWS):
        assert np.array_equal(
            np.frombuffer(data, dtype=dtype, count=int(lengths[row]), offset=int(pointers[row])), tokens[row]
        )


def test_nanotron(run: Path, tokens: np.ndarray) -> None:
    from datatrove.utils.dataset import DatatroveFileDataset

    folder = exported(run, "nanotron")
    assert str(tokens.size) in (folder / "tokens.ds.metadata").read_text()
    read = DatatroveFileDataset(str(folder / "tokens.ds"), tokens.shape[1] - 1, token_size=2)
    assert len(read) == ROWS and np.array_equal(read[5]["input_ids"], tokens[5])
    ends = np.frombuffer((folder / "tokens.ds.index").read_bytes(), np.uint64)
    assert np.array_equal(ends, np.arange(1, ROWS + 1) * tokens.shape[1])


def test_hugging_face(run: Path, plan: Plan, tokens: np.ndarray) -> None:
    import datasets

    found = datasets.load_from_disk(str(exported(run, "hf")))
    assert np.array_equal(np.array(found["input_ids"]), tokens)
    assert all(sum(lengths) == plan.seq_len for lengths in found["doc_lengths"])
    domain = [pool.name == "domain" for pool, _ in plan.sources]
    assert sum(pool == "domain" for pool in found["pool"]) == sum(np.array(plan.taken(ROWS))[domain])


def test_jsonl(run: Path, plan: Plan, tokens: np.ndarray) -> None:
    with gzip.open(exported(run, "jsonl") / "rows.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert np.array_equal([row["tokens"] for row in rows], tokens)
    names = [(pool.name, source.name) for pool, source in plan.sources]
    assert [(row["pool"], row["source"]) for row in rows] == [names[k] for k in plan.rows(0, ROWS).source]


def test_mds(run: Path, tokens: np.ndarray) -> None:
    try:
        import streaming
    except (ImportError, RuntimeError) as error:  # its torchvision can be built for another torch
        pytest.skip(f"mosaicml-streaming (extra mds) cannot be imported: {error}")
    read = streaming.StreamingDataset(local=str(exported(run, "mds")), batch_size=1, shuffle=False)
    assert np.array_equal(np.stack([read[row]["tokens"] for row in range(ROWS)]), tokens)


def test_nothing_is_overwritten(run: Path) -> None:
    folder = exported(run, "jsonl")
    before = (folder / "rows.jsonl.gz").read_bytes()
    with pytest.raises(ValueError, match="exists, and nothing is overwritten"):
        exported(run, "jsonl")
    assert (folder / "rows.jsonl.gz").read_bytes() == before
    assert not list(folder.parent.glob(".out*"))


def test_the_shards_open_as_they_are(run: Path, plan: Plan) -> None:
    import datasets

    pool, source = plan.sources[0]
    files = [str(run / "packed" / shard.file) for shard in source.shards]
    ours = np.asarray(Loader(plan, run / "packed", 8).tokens(0, ROWS))
    theirs = datasets.load_dataset("arrow", data_files=files, split="train", cache_dir=str(run / "cache"))
    read = pl.concat(pl.read_ipc(file) for file in files)
    assert len(theirs) == read.height == source.rows
    row = next(k for k in range(ROWS) if plan.rows(k, 1).source[0] == 0)
    at = int(plan.rows(row, 1).row[0])
    assert theirs[at]["tokens"] == read["tokens"][at].to_list() == ours[row].tolist()


def test_duckdb_reads_the_shards(run: Path, plan: Plan) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    import pyarrow as pa

    _, source = plan.sources[0]
    rows = pa.ipc.open_file(pa.memory_map(str(run / "packed" / source.shards[0].file))).read_all()
    assert duckdb.sql("select count(*) from rows").fetchall() == [(rows.num_rows,)]
