"""What vouches for packed shards, changed by hand: a named error, never a KeyError or shards taken for whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.files import read_json, write_json
from mix.build import build
from mix.shards import read_shard
from pipelines import config


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda marker: {name: value for name, value in marker.items() if name != key}


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no identity": without("identity"),
    "no bytes": without("bytes"),
    "no source": without("source"),
    "no encoded_by": without("encoded_by"),
    "a list": lambda marker: list(marker),
    "bytes of a file that are a list": lambda marker: marker | {"bytes": [*marker["bytes"]]},
    "a source without rows": lambda marker: marker | {"source": without("rows")(marker["source"])},
    "another field": lambda marker: marker | {"source": marker["source"] | {"colour": "red"}},
}


@pytest.fixture
def built(make_run: Callable[..., Path]) -> Path:
    """packed/domain/notes of a run."""
    run = make_run()
    build(config.load(run / "pipeline.yaml"))
    return run / "packed" / "domain" / "notes"


def test_a_changed_marker_is_named(built: Path) -> None:
    path, pipeline = built / "packed.json", config.load(built.parents[2] / "pipeline.yaml")
    marker = read_json(path)
    for change in CHANGES.values():
        write_json(path, change(marker))
        with pytest.raises(ValueError, match=r"notes/packed\.json: is not as mix\.build wrote it .*Delete .*notes and"):
            build(pipeline)
    write_json(path, marker)
    build(pipeline)


def test_a_shard_without_a_column_or_a_marker_in_its_header_is_named(built: Path) -> None:
    with pa.memory_map(str(built / "00000.arrow")) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
        path, metadata = built / "less.arrow", batch.schema.metadata
        for name in batch.schema.names:
            write(path, batch.drop_columns([name]))
            with pytest.raises(ValueError, match=r"less\.arrow: is not a whole shard \(ValueError: its columns are"):
                read_shard(path)
        for key in metadata:
            left = {name: value for name, value in metadata.items() if name != key}
            write(path, pa.record_batch(batch.columns, schema=batch.schema.with_metadata(left)))
            with pytest.raises(ValueError, match=rf"less\.arrow: is not a whole shard \(KeyError: '{key.decode()}'\)"):
                read_shard(path)
        assert {b"tokenizer", b"seq_len", b"vocabulary_size", b"pool", b"source", b"packing"} <= metadata.keys()


def write(path: Path, batch: pa.RecordBatch) -> None:
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
        writer.write_batch(batch)
