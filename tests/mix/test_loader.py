"""Batches hold the plan's rows, with labels and positions that stop at documents, on any number of ranks."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mix import shards
from mix.build import build
from mix.loader import IGNORED, Batch, Loader, ahead
from mix.pack import pack
from mix.plan import Plan, Pool, ShardFile, Source
from mix.shards import Header, read_shard, write_shards
from pipelines import config


@pytest.fixture
def built(make_run: Callable[..., Path]) -> tuple[Plan, Path]:
    run = make_run()
    return build(config.load(run / "pipeline.yaml")), run / "packed"


def made(folder: Path, seq_len: int, vocabulary: int, sizes: dict[str, list[int]]) -> Plan:
    """A plan over shards written here: tokens of each source of each pool; 0 leaves a source without rows."""
    pools = []
    for pool, tokens in sizes.items():
        sources = []
        for number, size in enumerate(tokens):
            name, rng = f"source{number}", np.random.default_rng([len(pool), number])
            lengths = rng.integers(1, 3 * seq_len, max(1, size // seq_len)) if size else np.zeros(0, np.int64)
            ids = rng.integers(0, vocabulary, lengths.sum(), np.uint16 if vocabulary <= 1 << 16 else np.uint32)
            header = Header("made", vocabulary, seq_len, pool, name)
            written = write_shards(folder / pool / name, header, pack(lengths, seq_len), ids, lengths, 0)
            files = tuple(ShardFile(f"{pool}/{name}/{path.name}", rows, "made") for path, rows in written)
            sources.append(Source(name, sum(rows for _, rows in written), len(ids), len(lengths), 0, files))
        pools.append(Pool(pool, Fraction(1, len(sizes)), tuple(sources)))
    return Plan(0, seq_len, "made", vocabulary, tuple(pools))


def expected(plan: Plan, folder: Path, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, positions and labels of the batch's rows, token by token from the shards."""
    inputs, positions, labels = (np.full(batch.input.shape, -1, np.int64) for _ in range(3))
    opened: dict[Path, shards.Shard] = {}
    for index in range(len(batch.row)):
        _, source = plan.sources[batch.source[index]]
        row, number = int(batch.row[index]), 0
        while row >= source.shards[number].rows:
            row -= source.shards[number].rows
            number += 1
        path = folder / source.shards[number].file
        shard = opened.setdefault(path, read_shard(path))
        tokens = shard.tokens[row].tolist()
        at = 0
        for segment in range(shard.segment_offsets[row], shard.segment_offsets[row + 1]):
            length = shard.doc_lengths[segment]
            for place in range(length):
                inputs[index, at + place] = tokens[at + place]
                positions[index, at + place] = place
                last = place == length - 1 or shard.doc_rows[segment] < 0
                labels[index, at + place] = IGNORED if last else tokens[at + place + 1]
            at += length
    return inputs, positions, labels


def same(batch: Batch, wanted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
    found = (batch.input, batch.positions, batch.labels)
    return all(got.dtype == np.int64 and np.array_equal(got, want) for got, want in zip(found, wanted, strict=True))


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_tokens_positions_and_labels_are_those_of_the_documents(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    loader = Loader(plan, folder, global_batch=8)
    batch = loader.batch(3, 200)
    assert same(batch, expected(plan, folder, batch))
    assert (batch.labels == IGNORED).sum() > 200, "the made rows have document ends and padding"
    assert np.array_equal(loader.tokens(3, 200), batch.input)


@pytest.mark.parametrize("seq_len", [1, 50, 129])
@pytest.mark.parametrize("vocabulary", [300, 1 << 16, 130_000])
def test_any_row_length_vocabulary_and_number_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seq_len: int, vocabulary: int
) -> None:
    """Shards of 1,000 bytes and up, and a source without rows between others."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 1000)
    plan = made(tmp_path, seq_len, vocabulary, {"domain": [4000, 0, 1500], "replay": [0, 2500]})
    assert seq_len == 1 or max(len(source.shards) for _, source in plan.sources) > 5
    loader = Loader(plan, tmp_path, global_batch=8)
    batch = loader.batch(0, 400)
    assert same(batch, expected(plan, tmp_path, batch))
    assert set(batch.source.tolist()) == {0, 2, 4}
    assert np.array_equal(loader.tokens(0, 400), batch.input)


def test_every_token_is_a_label_but_the_first_of_each_segment(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    batch = Loader(plan, folder, global_batch=8).batch(0, 5 * sum(source.rows for _, source in plan.sources))
    for index, (_, source) in enumerate(plan.sources):
        once = (batch.source == index) & (batch.epoch == 0)
        shard = read_shard(folder / source.shards[0].file)
        segments = (shard.doc_rows >= 0).sum()
        assert once.sum() == source.rows
        assert (batch.labels[once] != IGNORED).sum() == source.tokens - segments


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("micro", [1, 2, 5, 30])
def test_ranks_and_micro_batches_do_not_change_the_global_order(
    built: tuple[Plan, Path], world: int, micro: int
) -> None:
    plan, folder = built
    whole = Loader(plan, folder, 24).batch(24 * 7, 24 * 3)
    streams = [Loader(plan, folder, 24, rank, world).batches(24 * 7, micro) for rank in range(world)]
    a_step = -(-24 // world // micro)
    parts = [batch for _ in range(3) for stream in streams for batch in islice(stream, a_step)]
    assert max(len(part.row) for part in parts) <= micro
    for name in ("input", "positions", "labels", "source", "row", "epoch"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)), name


def test_batches_may_be_kept_while_the_thread_gathers_on(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    loader = Loader(plan, folder, 8)
    kept = list(islice(loader.batches(0, 8), 900))
    for number, batch in enumerate(kept):
        assert np.array_equal(batch.input, loader.tokens(8 * number, 8)), number


def test_a_far_step_is_as_good_as_any(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    batch = Loader(plan, folder, 8).batch(8 * 10**9, 8)
    assert np.array_equal(batch.input, expected(plan, folder, batch)[0])
    assert batch.epoch.min() > 10**6


def test_state_is_rows_and_plan_and_nothing_else(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    state = Loader(plan, folder, 24, rank=1, world=3).state(48)
    assert state == {"rows": 48, "plan": plan.identity}
    assert Loader(plan, folder, 24, rank=0, world=2).resume(state) == 48
    with pytest.raises(ValueError, match="the checkpoint was trained on plan"):
        Loader(replace(plan, seed=1), folder, 24).resume(state)


def test_a_batch_that_ranks_cannot_share_is_refused(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    with pytest.raises(ValueError, match="train.global_batch: 8 rows cannot be shared equally by 3 processes"):
        Loader(plan, folder, 8, world=3)
    with pytest.raises(ValueError, match="train.global_batch: 0 rows"):
        Loader(plan, folder, 0, world=3)


def test_shards_that_are_not_the_plans_are_refused(built: tuple[Plan, Path]) -> None:
    """Replaced by another source's, by one with other rows, cut short while it was mapped, gone."""
    plan, folder = built
    with pytest.raises(ValueError, match="tokenizer: the shard was made with"):
        Loader(replace(plan, tokenizer="another"), folder, 8)
    first, other = (folder / source.shards[0].file for source in plan.pools[0].sources[:2])
    whole = first.read_bytes()
    mapped = Loader(plan, folder, 8)
    before = mapped.batch(0, 40)
    first.unlink()
    first.write_bytes(other.read_bytes())
    assert np.array_equal(mapped.batch(0, 40).input, before.input), "what is mapped stays as it was opened"
    with pytest.raises(ValueError, match=r"00000.arrow: source: the shard was made for"):
        Loader(plan, folder, 8)
    first.write_bytes(whole)
    domain = plan.pools[0]
    file = replace(domain.sources[0].shards[0], rows=domain.sources[0].rows + 1)
    source = replace(domain.sources[0], shards=(file,), rows=file.rows)
    more = replace(plan, pools=(replace(domain, sources=(source, *domain.sources[1:])), *plan.pools[1:]))
    with pytest.raises(ValueError, match=r"00000.arrow: has \d+ rows, but mixture.json says"):
        Loader(more, folder, 8)
    for length in (len(whole) - 300, len(whole) // 2, 10, 0):
        first.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a whole shard"):
            Loader(plan, folder, 8)
    first.unlink()
    with pytest.raises(ValueError, match="the shard is not there"):
        Loader(plan, folder, 8)


@pytest.mark.parametrize("length", [-1, 0, 1, 1 << 30])
def test_a_damaged_segment_stops_the_loader_and_nothing_is_written_past_a_row(
    built: tuple[Plan, Path], length: int
) -> None:
    """One doc_lengths entry of one shard changed in place: reading that row is refused, on the thread too."""
    plan, folder = built
    source = next(index for index, (pool, _) in enumerate(plan.sources) if pool.name == "replay")
    path = folder / plan.sources[source][1].shards[0].file
    lengths = read_shard(path).doc_lengths.copy()
    content = path.read_bytes()
    assert content.count(lengths.tobytes()) == 1
    lengths[len(lengths) // 2] += length if length != 0 else -lengths[len(lengths) // 2]
    path.write_bytes(content.replace(read_shard(path).doc_lengths.tobytes(), lengths.tobytes()))
    loader = Loader(plan, folder, 8)
    with pytest.raises(ValueError, match=r"00000.arrow: doc_lengths: row \d+ does not add to 64 tokens"):
        for _ in loader.batches(0, 4):
            pass
    assert not loader_threads()


def test_the_thread_stays_a_bounded_number_ahead_and_ends_when_closed() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    stream = ahead(numbers(), 3)
    for wanted in range(50):
        assert next(stream) == wanted
        assert len(made) <= wanted + 1 + 3
    (thread,) = loader_threads()
    stream.close()
    assert not thread.is_alive() and len(made) <= 53


def test_the_thread_ends_with_its_iterator_and_when_the_generator_is_dropped() -> None:
    assert list(ahead(iter(range(5)), 2)) == list(range(5))
    assert not loader_threads()
    stream = ahead(iter(range(5)), 2)
    assert next(stream) == 0 and len(loader_threads()) == 1
    del stream
    assert not loader_threads()


def test_an_error_on_the_thread_reaches_the_consumer_after_what_came_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield 0
        yield 1
        raise OSError("the disk is gone")

    stream = ahead(numbers(), 4)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
    assert not loader_threads()
