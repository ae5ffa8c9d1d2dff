"""The rows of the mixture, in the order of its plan, in the files of other trainers.

    python -m mix.export [RUN] --format megatron --to DIR         tokens.bin, tokens.idx (Megatron-LM's indexed dataset)
    python -m mix.export [RUN] --format nanotron --to DIR         tokens.ds, .ds.index, .ds.metadata (datatrove's)
    python -m mix.export [RUN] --format mds --to DIR              MosaicML streaming; extra `mds`
    python -m mix.export [RUN] --format hf --to DIR               datasets.load_from_disk
    python -m mix.export [RUN] --format jsonl --to DIR            rows.jsonl.gz

The rows are those of train.steps x train.global_batch; read in order, every batch has the planned shares, which a
reader that shuffles gives up. A row is one document to megatron and nanotron: neither keeps the bounds of the documents
packed in it. The others have tokens, doc_lengths (tokens of each segment, to mask attention by), pool and source.

Without an export, the packed shards open as they are:
`datasets.load_dataset("arrow", data_files="packed/domain/notes/*.arrow")`, `polars.read_ipc`, DuckDB over Arrow.
"""

import argparse
import gzip
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import cli
from pipelines.config import Pipeline

if TYPE_CHECKING:
    import numpy as np

CHUNK = 4096
"""Rows gathered at a time."""
Row = tuple["np.ndarray", list[int], str, str]
"""Tokens uint16 or uint32 [L], tokens of each segment (the last one may be padding), pool, source."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("mix.export", __doc__ or "", "mix", argv, _arguments)
    rows = export(pipeline, options.format, Path(options.to))
    print(f"{options.to}: {rows:,} rows as {options.format}")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=sorted(WRITERS), help="whose files")
    parser.add_argument("--to", required=True, metavar="DIR", help="folder to make; it must not exist")


def export(pipeline: Pipeline, form: str, folder: Path) -> int:
    """Write all rows of the training budget into `folder`, which appears whole or not at all; returns their number.

    Raises ValueError where the folder exists, or the package that writes the format is missing.
    """
    from mix.plan_file import read_plan

    if folder.exists():
        raise ValueError(f"--to: {folder} exists, and nothing is overwritten. Name another folder, or remove it.")
    plan = read_plan(pipeline.folder / "mixture.json")
    count = pipeline.train.steps * pipeline.train.global_batch
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        WRITERS[form](made, _rows(pipeline, plan, count), count, pipeline)
        shutil.move(made, folder)
    return count


def _rows(pipeline: Pipeline, plan: Any, count: int) -> Iterator[Row]:
    import numpy as np
    from rich.progress import track

    from mix.shards import read_shard

    packed = pipeline.folder / "packed"
    shards = [
        [read_shard(packed / one.file, plan.tokenizer, plan.seq_len) for one in s.shards] for _, s in plan.sources
    ]
    firsts = [np.cumsum([0, *(shard.rows for shard in found)]) for found in shards]
    for first in track(range(0, count, CHUNK), "rows"):
        found = plan.rows(first, min(CHUNK, count - first))
        for source, row in zip(found.source.tolist(), found.row.tolist(), strict=True):
            at = int(np.searchsorted(firsts[source], row, "right")) - 1
            shard, within = shards[source][at], row - int(firsts[source][at])
            segments = slice(shard.segment_offsets[within], shard.segment_offsets[within + 1])
            pool, origin = plan.sources[source]
            yield shard.tokens[within], shard.doc_lengths[segments].tolist(), pool.name, origin.name


def _megatron(folder: Path, rows: Iterator[Row], count: int, pipeline: Pipeline) -> None:
    """Megatron-LM's indexed dataset, version 1: magic, version, dtype, counts, lengths, offsets, document bounds."""
    import numpy as np

    size = 0
    with open(folder / "tokens.bin", "wb") as file:
        for tokens, *_ in rows:
            # Its readers know uint16 (code 8) and int32 (code 4), no uint32.
            written = tokens if tokens.dtype == np.uint16 else tokens.astype(np.int32)
            file.write(written.tobytes())
            size = written.itemsize
    length = pipeline.mix.seq_len
    with open(folder / "tokens.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, {2: 8, 4: 4}[size], count, count + 1))
        file.write(np.full(count, length, np.int32).tobytes())
        file.write((np.arange(count, dtype=np.int64) * length * size).tobytes())
        file.write(np.arange(count + 1, dtype=np.int64).tobytes())


def _nanotron(folder: Path, rows: Iterator[Row], count: int, pipeline: Pipeline) -> None:
    """datatrove's TokenizedFile, which nanotron reads."""
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    first = next(rows)
    size = first[0].itemsize
    named = str(pipeline.folder / "tokenizer" / "tokenizer.json")
    file = TokenizedFile(str(folder), "tokens.ds", True, False, None, named, True, size)
    for tokens, *_ in (first, *rows):
        file.write_bytes(tokens.tobytes())
    file.close()


def _mds(folder: Path, rows: Iterator[Row], count: int, pipeline: Pipeline) -> None:
    try:
        from streaming import MDSWriter
    except ImportError:
        raise ValueError("--format mds: needs mosaicml-streaming. Install it: pip install 'palimpsest[mds]'") from None
    import numpy as np

    first = next(rows)
    columns = {
        "tokens": f"ndarray:{first[0].dtype.name}:{len(first[0])}",
        "doc_lengths": "ndarray:int32",
        "pool": "str",
        "source": "str",
    }
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for tokens, lengths, pool, source in (first, *rows):
            sample = {"tokens": np.asarray(tokens), "doc_lengths": np.array(lengths, np.int32)}
            writer.write(sample | {"pool": pool, "source": source})


def _hf(folder: Path, rows: Iterator[Row], count: int, pipeline: Pipeline) -> None:
    import datasets

    features = datasets.Features(
        {
            "input_ids": datasets.Sequence(datasets.Value("int32"), length=pipeline.mix.seq_len),
            "doc_lengths": datasets.Sequence(datasets.Value("int32")),
            "pool": datasets.Value("string"),
            "source": datasets.Value("string"),
        }
    )

    with (
        tempfile.TemporaryDirectory(dir=folder.parent) as cache,
        datasets.arrow_writer.ArrowWriter(path=f"{cache}/rows.arrow", features=features) as writer,
    ):
        for tokens, lengths, pool, source in rows:
            writer.write({"input_ids": tokens, "doc_lengths": lengths, "pool": pool, "source": source})
        writer.finalize()
        datasets.Dataset.from_file(f"{cache}/rows.arrow").save_to_disk(str(folder))


def _jsonl(folder: Path, rows: Iterator[Row], count: int, pipeline: Pipeline) -> None:
    with open(folder / "rows.jsonl.gz", "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
        for tokens, lengths, pool, source in rows:
            row = {"tokens": tokens.tolist(), "doc_lengths": lengths, "pool": pool, "source": source}
            file.write(json.dumps(row).encode() + b"\n")


WRITERS: dict[str, Callable[[Path, Iterator[Row], int, Pipeline], None]] = {
    "hf": _hf,
    "jsonl": _jsonl,
    "mds": _mds,
    "megatron": _megatron,
    "nanotron": _nanotron,
}

if __name__ == "__main__":
    cli.run(main)
