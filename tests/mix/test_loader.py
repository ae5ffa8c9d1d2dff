"""Batches hold the plan's rows, with labels and positions that stop at documents, on any number of ranks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mix.build import build
from mix.loader import IGNORED, Batch, Loader
from mix.plan import Plan
from mix.shards import read_shard
from pipelines import config


@pytest.fixture
def built(make_run: Callable[..., Path]) -> tuple[Plan, Path]:
    run = make_run()
    return build(config.load(run / "pipeline.yaml")), run / "packed"


def expected(plan: Plan, folder: Path, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, positions and labels of the batch's rows, token by token from the shards."""
    inputs, positions, labels = (np.full(batch.input.shape, -1, np.int64) for _ in range(3))
    for index in range(len(batch.row)):
        _, source = plan.sources[batch.source[index]]
        shard = read_shard(folder / source.shards[0].file)
        row = batch.row[index]
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


def test_tokens_positions_and_labels_are_those_of_the_documents(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    loader = Loader(plan, folder, global_batch=8)
    batch = loader.batch(3, 200)
    for got, wanted in zip((batch.input, batch.positions, batch.labels), expected(plan, folder, batch), strict=True):
        assert got.dtype == np.int64 and np.array_equal(got, wanted)
    assert (batch.labels == IGNORED).sum() > 200, "the made rows have document ends and padding"


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
@pytest.mark.parametrize("micro", [1, 2, 5])
def test_ranks_and_micro_batches_do_not_change_the_global_order(
    built: tuple[Plan, Path], world: int, micro: int
) -> None:
    plan, folder = built
    whole = Loader(plan, folder, 24).batch(24 * 7, 24)
    parts = [
        batch for rank in range(world) for batch in Loader(plan, folder, 24, rank, world).micro_batches(24 * 7, micro)
    ]
    assert max(len(part.row) for part in parts) <= micro
    for name in ("input", "positions", "labels", "source", "row", "epoch"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)), name


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


def test_shards_that_are_not_the_plans_are_refused(built: tuple[Plan, Path]) -> None:
    plan, folder = built
    with pytest.raises(ValueError, match="tokenizer: the shard was made with"):
        Loader(replace(plan, tokenizer="another"), folder, 8)
    first = folder / plan.pools[0].sources[0].shards[0].file
    first.write_bytes((folder / plan.pools[0].sources[1].shards[0].file).read_bytes())
    with pytest.raises(ValueError, match=r"00000.arrow: .*mixture.json says"):
        Loader(plan, folder, 8)
    first.write_bytes(first.read_bytes()[:-300])
    with pytest.raises(ValueError, match="is not a whole shard"):
        Loader(plan, folder, 8)
