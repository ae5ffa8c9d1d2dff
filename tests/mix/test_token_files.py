"""Megatron and MDS files as sources of a pool: read back what mix.export wrote; damaged ones are named."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mix import read_mds, read_megatron
from mix.build import build
from mix.export import main as export
from mix.loader import Loader
from mix.plan import Plan
from mix.shards import read_shard
from mix.trace import main as trace
from mix.verify import verify
from pipelines import config
from tokenization.encode import Encoder

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DOCUMENTS = [[5, 6, 7], [], [8] * 200, [9], list(range(10, 90))]


def write_megatron(path: Path, documents: list[list[int]], kind: Any = np.uint16) -> Path:
    """NAME.bin and NAME.idx, the third document in two sequences."""
    code = {np.uint16: 8, np.int32: 4, np.int64: 5}[kind]
    sequences = [
        one for number, two in enumerate(documents) for one in ([two[:50], two[50:]] if number == 2 else [two])
    ]
    bounds = [0, 1, 2, 4, *range(5, len(sequences) + 1)]
    lengths = np.array([len(one) for one in sequences], np.int32)
    size = np.dtype(kind).itemsize
    pointers = (np.cumsum(lengths, dtype=np.int64) - lengths) * size
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".bin").write_bytes(np.array(sum(sequences, []), kind).tobytes())
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sequences), len(bounds))
    index = head + lengths.tobytes() + pointers.tobytes() + np.array(bounds, np.int64).tobytes()
    path.with_name(path.name + ".idx").write_bytes(index)
    return path


def ndarray(values: list[int], kind: str) -> bytes:
    """An array without a fixed shape, as mosaicml-streaming encodes it."""
    return bytes([1 << 2 | 1]) + np.array([len(values)], np.uint16).tobytes() + np.array(values, kind).tobytes()


def write_mds(folder: Path, rows: list[tuple[list[int], list[int]]], shards: int = 1, fixed: bool = True) -> Path:
    """MDS shards of rows with the lengths of their documents, and a column that is stepped over."""
    folder.mkdir(parents=True)
    described = []
    per = -(-len(rows) // shards)
    for number in range(shards):
        mine = rows[number * per : (number + 1) * per]
        samples = []
        for tokens, lengths in mine:
            column = np.array(tokens, np.uint16).tobytes() if fixed else ndarray(tokens, "uint16")
            parts = [b"any", column, ndarray(lengths, "int32")]
            kept = [parts[0], parts[2]] if fixed else parts
            samples.append(np.array([len(part) for part in kept], np.uint32).tobytes() + b"".join(parts))
        head = b"{}" * 3
        begin = 4 * (len(samples) + 2) + len(head)
        bounds = np.cumsum([begin, *map(len, samples)]).astype(np.uint32)
        content = np.uint32(len(samples)).tobytes() + bounds.tobytes() + head + b"".join(samples)
        name = f"shard.{number:05d}.mds"
        (folder / name).write_bytes(content)
        width = len(rows[0][0])
        described.append(
            {
                "column_names": ["name", "tokens", "doc_lengths"],
                "column_encodings": ["pkl", f"ndarray:uint16:{width}" if fixed else "ndarray:uint16", "ndarray:int32"],
                "column_sizes": [None, 2 * width if fixed else None, None],
                "format": "mds",
                "raw_data": {"basename": name, "bytes": len(content), "hashes": {}},
                "samples": len(samples),
                "zip_data": None,
            }
        )
    (folder / "index.json").write_text(json.dumps({"shards": described, "version": 2}))
    return folder


def with_source(run: Path, form: str, place: Path, **changes: Any) -> config.Pipeline:
    one = {"pool": "replay", "source": "bought", "format": form, "path": str(place)}
    one["tokenizer"] = Encoder(run / "tokenizer").identity
    weights = {"books": 0, "web": 0, "bought": 1}
    keys = {"mix.token_files": [one | changes], "mix.weights": weights, "mix.max_epochs": 9}
    return config.load(run / "pipeline.yaml", keys)


def packed_documents(run: Path, plan: Plan, name: str = "bought") -> tuple[list[str], list[list[int]]]:
    """Ids and tokens of a packed source's documents, put together from its rows."""
    source = next(source for _, source in plan.sources if source.name == name)
    table = pl.read_parquet(run / "packed" / "replay" / name / "documents.parquet")
    found: list[dict[int, list[int]]] = [{} for _ in range(table.height)]
    for file in source.shards:
        shard = read_shard(run / "packed" / file.file, plan.tokenizer, plan.seq_len)
        for row in range(shard.rows):
            at = 0
            for segment in range(shard.segment_offsets[row], shard.segment_offsets[row + 1]):
                length, document = int(shard.doc_lengths[segment]), int(shard.doc_rows[segment])
                if document >= 0:
                    found[document][int(shard.doc_starts[segment])] = shard.tokens[row, at : at + length].tolist()
                at += length
    return table["id"].to_list(), [sum((one[start] for start in sorted(one)), []) for one in found]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64])
def test_megatron_files_are_packed_document_by_document(
    make_run: Callable[..., Path], kind: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    path = write_megatron(run.parent / "bought" / "tokens", DOCUMENTS, kind)
    plan = build(with_source(run, "megatron", path))
    assert packed_documents(run, plan) == ([f"bought/{n}" for n in range(5)], DOCUMENTS)
    capsys.readouterr()
    verify(run, tokens=True)
    assert "replay/bought" in capsys.readouterr().out
    trace([str(run), "--step", "1"])
    assert "bought/" in capsys.readouterr().out
    assert build(with_source(run, "megatron", path)).identity == plan.identity


def test_mds_rows_are_packed_by_their_documents_without_padding(make_run: Callable[..., Path]) -> None:
    run = make_run()
    end = Encoder(run / "tokenizer").eos
    assert end is not None
    rows = [([4, 5, end, 7, 8, end, end, end], [3, 3, 2]), ([9] * 7 + [end], [8]), ([end] * 8, [8])]
    for fixed in (True, False):
        path = write_mds(run.parent / f"mds-{fixed}", rows, shards=2, fixed=fixed)
        plan = build(with_source(run, "mds", path))
        ids, documents = packed_documents(run, plan)
        assert ids == ["bought/0", "bought/1", "bought/2"]
        assert documents == [[4, 5, end], [7, 8, end], [9] * 7 + [end]]
    verify(run, sample=2)


@pytest.mark.parametrize("form", ["megatron", "mds"])
def test_what_was_exported_is_read_back(make_run: Callable[..., Path], form: str) -> None:
    run = make_run()
    plan = build(config.load(run / "pipeline.yaml"))
    if form == "mds":
        try:
            import streaming  # noqa: F401
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"mosaicml-streaming (extra mds) cannot be imported: {error}")
    folder = run.parent / "out"
    export([str(run), "--format", form, "--to", str(folder), "--train.steps", "24", "--train.global_batch", "8"])
    loader = Loader(plan, run / "packed", 8)
    tokens = np.asarray(loader.tokens(0, 192))
    path = folder / "tokens" if form == "megatron" else folder
    again = build(with_source(run, form, path))
    ids, documents = packed_documents(run, again)
    assert ids == [f"bought/{n}" for n in range(len(documents))]
    if form == "megatron":
        assert documents == tokens.tolist()
    else:
        assert documents == segments_of(run, plan)
    verify(run, tokens=True)


def segments_of(run: Path, plan: Plan) -> list[list[int]]:
    """Tokens of each segment in the first 192 rows, but for one at a row's end that is nothing but the padding id."""
    found, rows = [], plan.rows(0, 192)
    shards = [[read_shard(run / "packed" / one.file) for one in source.shards] for _, source in plan.sources]
    padding = Encoder(run / "tokenizer").eos
    for source, row in zip(rows.source.tolist(), rows.row.tolist(), strict=True):
        (shard,) = shards[source]
        at = 0
        for segment in range(shard.segment_offsets[row], shard.segment_offsets[row + 1]):
            tokens = shard.tokens[row, at : at + shard.doc_lengths[segment]].tolist()
            at += len(tokens)
            is_padding = at == plan.seq_len and set(tokens) == {padding}
            assert is_padding or shard.doc_rows[segment] >= 0
            found += [] if is_padding else [tokens]
    return found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tokenizer": "0" * 16}, r"mix\.token_files\[0\]\.tokenizer: says 0{16}, and .*tokenizer is [0-9a-f]{16}"),
        ({"source": "books"}, r"mix\.token_files\[0\]\.source: 'books' is no name, or one of another source"),
        ({"source": "../books"}, r"mix\.token_files\[0\]\.source: '\.\./books' is no name"),
        ({"path": "nowhere/tokens"}, r"mix\.token_files\[0\]\.path: nowhere/tokens\.idx: is not there"),
        ({"format": "mds", "path": "nowhere"}, r"mix\.token_files\[0\]\.path: nowhere/index\.json"),
    ],
)
def test_what_cannot_be_taken_is_named(make_run: Callable[..., Path], changes: dict[str, Any], told: str) -> None:
    run = make_run()
    path = write_megatron(run.parent / "tokens", DOCUMENTS)
    with pytest.raises(ValueError, match=told):
        build(with_source(run, "megatron", path, **changes))


@pytest.mark.parametrize("wrong", [-1, 400_000])
def test_an_id_that_the_tokenizer_does_not_have_is_named(make_run: Callable[..., Path], wrong: int) -> None:
    run = make_run()
    path = write_megatron(run.parent / "tokens", [[5], [], [6] * 60, [7, wrong]], np.int32)
    with pytest.raises(ValueError, match=rf"tokens\.bin: document 3: has the token id {wrong}, and the tokenizer has"):
        build(with_source(run, "megatron", path))
    assert not (run / "mixture.json").exists()


def test_what_a_changed_file_packs_is_made_again(make_run: Callable[..., Path]) -> None:
    run = make_run()
    path = write_megatron(run.parent / "tokens", DOCUMENTS)
    build(with_source(run, "megatron", path))
    write_megatron(path, [*DOCUMENTS[:-1], [3, 3]])
    with pytest.raises(ValueError, match=r"tokens\.bin: row 4: document 'bought/4' encoded again gives other ids"):
        verify(run, tokens=True)
    assert packed_documents(run, build(with_source(run, "megatron", path)))[1][-1] == [3, 3]


MEGATRON = ["idx", "bin"]
CHANGES = st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=3)


@FUZZ
@given(st.sampled_from(MEGATRON), CHANGES, st.integers(-3, 3))
def test_damaged_megatron_files(tmp_path: Path, part: str, changes: list[tuple[float, int]], cut: int) -> None:
    path = write_megatron(tmp_path / "tokens", DOCUMENTS)
    damage(tmp_path / f"tokens.{part}", changes, cut)
    try:
        lots = list(read_megatron.read(path, 0))
    except ValueError as error:
        assert type(error) is ValueError and str(tmp_path / "tokens.idx") in str(error)
    else:
        assert sum(len(ids) for _, ids, _ in lots) == sum(int(lengths.sum()) for _, _, lengths in lots) == 284


@FUZZ
@given(st.sampled_from(["index.json", "shard.00000.mds"]), CHANGES, st.integers(-3, 3), st.booleans())
def test_damaged_mds_files(
    tmp_path_factory: pytest.TempPathFactory, part: str, changes: list[tuple[float, int]], cut: int, fixed: bool
) -> None:
    folder = tmp_path_factory.mktemp("mds") / "rows"
    write_mds(folder, [([4] * 8, [3, 5]), ([9] * 8, [8])], fixed=fixed)
    damage(folder / part, changes, cut)
    try:
        lots = list(read_mds.read(folder, 1))
    except ValueError as error:
        assert type(error) is ValueError and str(folder) in str(error)
    else:
        assert all(len(ids) == lengths.sum() and (lengths >= 0).all() for _, ids, lengths in lots)


def damage(path: Path, changes: list[tuple[float, int]], cut: int) -> None:
    """Change some bytes of a file, and add or take away some at its end."""
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[int(at * len(content))] = value
    path.write_bytes(bytes(content[: len(content) + min(cut, 0)]) + b"\0" * max(cut, 0))


def test_a_pickled_column_is_not_read_and_tokens_of_another_kind_are_refused(tmp_path: Path) -> None:
    folder = write_mds(tmp_path / "rows", [([4] * 8, [8])])
    assert [ids.tolist() for _, ids, _ in read_mds.read(folder, 1)] == [[4] * 8], "its pickle says `any`"
    index = json.loads((folder / "index.json").read_text())
    for encoding in ("pkl", "bytes", "ndarray:float32:8", "ndarray"):
        index["shards"][0]["column_encodings"][1] = encoding
        (folder / "index.json").write_text(json.dumps(index))
        with pytest.raises(
            ValueError, match=rf"index\.json: the column tokens is {encoding}, and tokens are read from"
        ):
            read_mds.files(folder)


def test_a_shard_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_mds(tmp_path / "rows", [([4] * 8, [8])])
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0]["raw_data"]["basename"] = "../rows/shard.00000.mds"
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"index\.json: basename"):
        read_mds.files(folder)
