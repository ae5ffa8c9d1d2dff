"""Whatever is wrong with a packed run, mix.verify names the file, the row and what was found."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curate.files import file_identity, read_json, write_json
from mix.build import build
from mix.plan_file import read_plan
from mix.shards import read_shard
from mix.verify import main, verify
from pipelines import cli, config
from tests.mix.conftest import make_documents, make_tokenizer

NOTES = "packed/domain/notes"


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    folder = make_run()
    build(config.load(folder / "pipeline.yaml", {}))
    return folder


def plan_again(run: Path) -> None:
    """Make mixture.json vouch for the shards as they are, so that only a look inside can find what is wrong."""
    mixture = read_json(run / "mixture.json")
    for source in [source for sources in mixture["plan"]["pools"].values() for source in sources]:
        for shard in source["shards"]:
            shard["identity"] = file_identity(run / "packed" / shard["file"])
    write_json(run / "mixture.json", mixture)
    try:
        read_plan(run / "mixture.json")
    except ValueError as error:
        mixture["identity"] = str(error).split("gives ")[1].split(",")[0]
    write_json(run / "mixture.json", mixture)


def rewrite(path: Path, metadata: dict[str, str] | None = None, **changes: Callable[[np.ndarray], Any]) -> None:
    """Write a shard again with its columns' values changed in place."""
    reader = pa.ipc.open_file(pa.BufferReader(path.read_bytes()))
    batch, schema = reader.get_batch(0), reader.schema
    columns = []
    for name in schema.names:
        column = batch.column(name)
        values = column.values.to_numpy().copy()
        if name in changes:
            changes[name](values)
        if name == "tokens":
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values), column.type.list_size))
        else:
            columns.append(pa.ListArray.from_arrays(column.offsets, pa.array(values)))
    schema = schema.with_metadata(
        {**schema.metadata, **{key.encode(): value for key, value in (metadata or {}).items()}}
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))


def put(index: int, value: int) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[index] = value

    return change


def move(index: int, by: int) -> Callable[[np.ndarray], None]:
    """A token goes from one segment to the next."""

    def change(values: np.ndarray) -> None:
        values[index] -= by
        values[index + 1] += by

    return change


def two_segments(path: Path) -> int:
    """The first segment of a row with two that are no padding."""
    shard = read_shard(path)
    for row in range(shard.rows):
        begin, end = shard.segment_offsets[row], shard.segment_offsets[row + 1]
        if (shard.doc_rows[begin:end] >= 0).sum() > 1:
            return int(begin)
    raise AssertionError("no such row")


@pytest.mark.parametrize("method", ["best_fit", "concat"])
def test_what_was_built_is_right(make_run: Callable[..., Path], monkeypatch, capsys, method: str) -> None:
    monkeypatch.setattr("mix.shards.SHARD_BYTES", 2000)
    run = make_run()
    plan = build(config.load(run / "pipeline.yaml", {"mix.packing": method}))
    assert len(plan.sources[0][1].shards) > 1
    assert read_shard(run / "packed" / plan.sources[0][1].shards[0].file).header.packing == method
    capsys.readouterr()
    verify(run)
    tokens = sum(source.tokens for _, source in plan.sources)
    assert f"verified: 285 documents, {tokens:,} tokens" in capsys.readouterr().out
    verify(run, sample=7)
    assert "35 documents encoded again" in capsys.readouterr().out
    verify(run, tokens=True)
    assert "285 documents encoded again" in capsys.readouterr().out


def test_any_flipped_byte_is_found(run: Path) -> None:
    shard = run / NOTES / "00000.arrow"
    whole = shard.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 60).astype(int):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=r"domain/notes(/00000.arrow)?: "):
            verify(run)
    shard.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ValueError, match=r"domain/notes/00000.arrow: is not a whole shard"):
        verify(run)
    shard.write_bytes(whole)
    verify(run)


def test_what_is_wrong_in_a_row_is_found_even_where_the_hash_agrees(run: Path) -> None:
    shard = run / NOTES / "00000.arrow"
    whole, mixture = shard.read_bytes(), (run / "mixture.json").read_bytes()
    two = two_segments(shard)
    padded = int(np.flatnonzero(read_shard(shard).doc_rows < 0)[-1])
    row = int(np.searchsorted(read_shard(shard).segment_offsets, padded, "right")) - 1
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tokens": put(64 * 3 + 5, 400)}, "row 3: has the token id 400, which is not below the vocabulary size"),
        ({"tokens": put(64 * row + 63, 7)}, f"row {row}: has the token id 7 in its padding"),
        ({"doc_lengths": put(two, 0)}, "has a segment of 0 tokens"),
        ({"doc_lengths": put(two, 1)}, "tokens in all, not seq_len"),
        ({"doc_lengths": put(two, 65)}, "tokens in all, not seq_len"),
        ({"doc_rows": put(two, 60)}, "document 60, which documents.parquet does not have"),
        ({"doc_rows": put(two, -1)}, "has padding that is not its last segment"),
        ({"doc_starts": put(two, -3)}, "starts at token -3"),
        ({"doc_starts": put(two, 1)}, "is not there exactly once"),
        ({"doc_lengths": move(two, 1)}, "is not there exactly once"),
        ({"doc_rows": lambda rows: put(two, rows[two + 1])(rows)}, "is not there exactly once"),
        ({"metadata": {"vocabulary_size": "500"}}, "vocabulary_size: the shard says 500"),
        ({"metadata": {"source": "letters"}}, "source: the shard says letters"),
        ({"metadata": {"packing": "magic"}}, "packing: the shard says magic"),
        ({"metadata": {"tokenizer": "0"}}, "tokenizer: the shard was made with 0"),
        ({"metadata": {"seq_len": "32"}}, "00000.arrow: "),
    ]
    for changes, message in cases:
        rewrite(shard, **changes)
        plan_again(run)
        with pytest.raises(ValueError, match=message) as found:
            verify(run)
        assert len(str(found.value).splitlines()) == 1
        shard.write_bytes(whole)
        (run / "mixture.json").write_bytes(mixture)
    verify(run)


def test_other_tokens_are_found_by_encoding_again(run: Path) -> None:
    rewrite(run / NOTES / "00000.arrow", tokens=lambda tokens: put(64 * 3 + 5, tokens[64 * 3 + 5] ^ 1)(tokens))
    plan_again(run)
    verify(run)
    with pytest.raises(
        ValueError, match=r"notes/0000\d.parquet: row \d+: document 'notes/\d+' encoded again gives other"
    ):
        verify(run, tokens=True)


def test_documents_dropped_doubled_or_changed_are_found(run: Path) -> None:
    table = run / NOTES / "documents.parquet"
    documents = pl.read_parquet(table)
    cases = [
        (documents[1:], "has 59 documents, but curation kept 60"),
        (pl.concat([documents, documents[:1]]), "has 61 documents, but curation kept 60"),
        (documents.with_columns(documents["id"].shift(1, fill_value="x")), "row 0: is document 'x', but documents/dom"),
        (pl.concat([documents[:-1], documents[:1]]), "row 59: is document"),
        (documents.with_columns(tokens=documents["tokens"] + 1), "is not there exactly once"),
        (documents.drop("tokens"), "documents.parquet: cannot be read"),
    ]
    for changed, message in cases:
        changed.write_parquet(table)
        with pytest.raises(ValueError, match=message):
            verify(run)
    documents.write_parquet(table)
    file = run / "documents/domain/notes/00001.parquet"
    kept = pl.read_parquet(file)
    pl.concat([kept[:-1], kept[:1]]).write_parquet(file)
    with pytest.raises(ValueError, match="row 59: is document"):
        verify(run)
    pl.concat([documents[:-1], documents[30:31]]).write_parquet(table)
    with pytest.raises(ValueError, match="document 'notes/30' is there more than once"):
        verify(run)
    documents.write_parquet(table)
    kept.with_columns(text=kept["text"] + " after all").write_parquet(file)
    verify(run)
    with pytest.raises(ValueError, match="00001.parquet: row 0: document 'notes/30' encoded again"):
        verify(run, sample=60)


def test_missing_and_foreign_files_are_found(run: Path, tmp_path: Path) -> None:
    for name in ("00000.arrow", "documents.parquet"):
        (run / NOTES / name).rename(tmp_path / name)
        with pytest.raises(ValueError, match=f"{NOTES}/{name}: "):
            verify(run)
        (tmp_path / name).rename(run / NOTES / name)
    shutil.copy(run / NOTES / "00000.arrow", run / NOTES / "00001.arrow")
    make_documents(run / "documents", "replay", "late", 5)
    with pytest.raises(ValueError) as found:
        verify(run)
    late, extra = str(found.value).splitlines()
    assert "replay/late: holds documents, but mixture.json has no such source" in late
    assert "notes/00001.arrow: is not in mixture.json" in extra
    shutil.rmtree(run / "documents" / "replay" / "late")
    (run / NOTES / "00001.arrow").unlink()
    shutil.copy(run / "packed/domain/abstracts/00000.arrow", run / NOTES / "00000.arrow")
    with pytest.raises(ValueError, match="00000.arrow: source: the shard says abstracts, but mixture.json says notes"):
        verify(run)


def test_another_tokenizer_or_plan_is_found(run: Path, tmp_path: Path) -> None:
    mixture = (run / "mixture.json").read_text()
    (run / "mixture.json").write_text(mixture.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match="mixture.json: identity: says"):
        verify(run)
    (run / "mixture.json").write_text(mixture)
    write_json(run / "manifest.json", {"kept": {"domain": {"documents": 176}, "replay": {"documents": 110}}})
    with pytest.raises(ValueError, match=r"manifest.json: kept.domain.documents: says 176, but mixture.json has 175"):
        verify(run)
    make_tokenizer(run / "tokenizer", vocabulary=300)
    with pytest.raises(ValueError, match="tokenizer: identity: is .* but mixture.json was made with"):
        verify(run)


def test_the_command_says_it_and_ends_with_2(run: Path, capsys) -> None:
    main([str(run), "--sample", "3"])
    assert "verified: 285 documents" in capsys.readouterr().out
    (run / NOTES / "00000.arrow").unlink()
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: main([str(run)]))
    told = capsys.readouterr()
    assert ended.value.code == 2 and "verified" not in told.out and "the shard is not there" in told.err
    with pytest.raises(ValueError, match="--sample: 0 documents"):
        main([str(run), "--sample", "0"])
