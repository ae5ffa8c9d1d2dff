"""A shard with other bytes than were written: a named error or rows of the vocabulary, never a read past its end."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from mix.loader import Loader
from mix.pack import pack
from mix.plan import Plan, Pool, ShardFile, Source
from mix.shards import Header, read_shard, write_shards

VOCABULARY = 400
FUZZ = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """packed/00000.arrow of about a hundred rows."""
    folder = tmp_path_factory.mktemp("packed")
    lengths = np.array([5, 31, 100, 2, 0, 17] * 20, np.int64)
    ids = (np.arange(lengths.sum()) % VOCABULARY).astype(np.uint16)
    header = Header("tokenizer-a", VOCABULARY, 32, "domain", "notes")
    return write_shards(folder, header, pack(lengths, 32, "best_fit"), ids, lengths, 0)[0][0]


def loaded(path: Path, rows: int) -> np.ndarray:
    """All tokens of a shard, through the loader."""
    source = Source("notes", rows, 0, 120, 0, (ShardFile(path.name, rows, ""),))
    plan = Plan(0, 32, "tokenizer-a", VOCABULARY, (Pool("domain", Fraction(1), (source,)),))
    loader = Loader(plan, path.parent, 1)
    return np.concatenate([loader.batch(0, rows).input, loader.tokens(0, rows)])


PLACES = some.tuples(some.sampled_from(["head", "foot", "any"]), some.floats(0, 0.9999), some.integers(0, 255))


@FUZZ
@given(some.lists(PLACES, min_size=1, max_size=4))
def test_other_bytes_give_an_error_or_known_tokens(shard: Path, changes: list[tuple[str, float, int]]) -> None:
    content = bytearray(shard.read_bytes())
    spans = {"head": (0, 1400), "foot": (len(content) - 1600, len(content)), "any": (0, len(content))}
    for part, at, value in changes:
        first, end = spans[part]
        content[first + int(at * (end - first))] = value
    path = shard.with_name("changed.arrow")
    path.write_bytes(content)
    try:
        tokens = loaded(path, read_shard(shard).rows)
    except ValueError as error:
        assert type(error) is ValueError and str(path) in str(error)
    else:
        assert tokens.min() >= 0 and tokens.max() < VOCABULARY


@pytest.mark.parametrize("kind", ["float16", "int16", "uint64", "string", "lists", "two batches", "seq_len"])
def test_columns_of_another_kind_are_refused(shard: Path, tmp_path: Path, kind: str) -> None:
    with pa.memory_map(str(shard)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
        tokens = batch.column("tokens")
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        metadata = dict(batch.schema.metadata)
        if kind == "lists":
            columns["doc_rows"] = columns["doc_rows"].cast(pa.list_(pa.int32()))
        elif kind == "seq_len":
            metadata[b"seq_len"] = b"0"
        elif kind != "two batches":
            flat = tokens.flatten().cast(pa.int32()).cast(getattr(pa, kind)(), safe=False)
            columns["tokens"] = pa.FixedSizeListArray.from_arrays(flat, 32)
        schema = pa.schema([pa.field(name, column.type) for name, column in columns.items()], metadata)
        path = tmp_path / "other.arrow"
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, schema) as writer:
            for _ in range(2 if kind == "two batches" else 1):
                writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    with pytest.raises(ValueError, match=r"other\.arrow: is not a whole shard"):
        read_shard(path)


def test_a_token_beyond_the_vocabulary_is_named(shard: Path) -> None:
    content = shard.read_bytes()
    tokens = read_shard(shard).tokens
    first = content.index(tokens.tobytes())
    path = shard.with_name("token.arrow")
    path.write_bytes(content[: first + 64] + np.uint16(VOCABULARY).tobytes() + content[first + 66 :])
    with pytest.raises(ValueError, match=r"token\.arrow: .*row 1 .* a token id that is not below 400"):
        loaded(path, len(tokens))
