"""The rows of a step do not depend on the number of ranks or on where a run was cut off."""

import shutil
import threading
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch

from mix.loader import Loader
from mix.plan_file import read_plan
from mix.shards import read_shard
from tests.train import small
from train.data import POOLS, MixtureLoader

GLOBAL_BATCH = 24


def loader(run: Path, world: int = 1, rank: int = 0, local: int = 4) -> MixtureLoader:
    config = MixtureLoader.Config(run=str(run), global_batch=GLOBAL_BATCH)
    return config.build(dp_world_size=world, dp_rank=rank, local_batch_size=local, seq_len=small.SEQ_LEN)


def step_rows(loaders: list[MixtureLoader], steps: int, local: int) -> list[torch.Tensor]:
    """The rows of each of `steps` steps in global order: input, positions, labels, pool side by side."""
    streams = [iter(one) for one in loaders]
    rows = []
    for _ in range(steps):
        parts = []
        for stream in streams:
            for _ in range(GLOBAL_BATCH // len(loaders) // local):
                batch, labels = next(stream)
                parts.append(torch.cat([batch["input"], batch["positions"], labels, batch["pool"][:, None]], 1))
        rows.append(torch.cat(parts))
    return rows


@pytest.mark.parametrize(("world", "local"), [(1, 24), (2, 4), (2, 3), (3, 8), (4, 2), (8, 1)])
def test_the_global_order_is_the_same_at_every_world_size(run: Path, world: int, local: int) -> None:
    expected = step_rows([loader(run)], 5, 4)
    got = step_rows([loader(run, world, rank, local) for rank in range(world)], 5, local)
    assert all(torch.equal(one, other) for one, other in zip(expected, got, strict=True))


def test_a_resumed_loader_goes_on_at_another_world_size(run: Path) -> None:
    first = loader(run)
    before = step_rows([first], 7, 4)
    cut = loader(run)
    step_rows([cut], 3, 4)
    state = cut.state_dict()
    assert state["rows"] == 3 * GLOBAL_BATCH
    resumed = [loader(run, 2, rank) for rank in range(2)]
    for one in resumed:
        one.load_state_dict(state)
    after = step_rows(resumed, 4, 4)
    assert all(torch.equal(one, other) for one, other in zip(before[3:], after, strict=True))
    assert [one.state_dict() for one in resumed] == [first.state_dict()] * 2


def test_the_state_counts_what_was_handed_out_and_not_what_was_gathered(run: Path) -> None:
    one = loader(run, local=4)
    stream = iter(one)
    for batches in range(1, 9):
        next(stream)
        assert one.state_dict()["rows"] == 4 * batches
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "loader"]
    del stream
    assert not thread.is_alive()
    assert one.state_dict()["rows"] == 32


def test_a_new_iterator_goes_on_where_the_old_one_was_left(run: Path) -> None:
    whole = step_rows([loader(run)], 4, 4)
    one = loader(run)
    assert all(
        torch.equal(*pair) for step in range(4) for pair in zip(step_rows([one], 1, 4), [whole[step]], strict=True)
    )


def test_batches_are_what_torchtitan_takes_and_pinned_for_a_gpu(run: Path) -> None:
    batch, labels = next(iter(loader(run)))
    for tensor in (batch["input"], batch["positions"], labels):
        assert tensor.dtype == torch.int64 and tensor.shape == (4, small.SEQ_LEN) and tensor.is_contiguous()
        assert tensor.is_pinned() == torch.cuda.is_available()
    assert batch["pool"].dtype == torch.int64 and batch["pool"].shape == (4,)


def test_batches_gathered_into_tensors_are_those_of_numpy(run: Path) -> None:
    """As on a GPU, where the tensors are pinned."""
    plan = read_plan(run / "mixture.json")
    tensors = Loader(plan, run / "packed", 24, 1, 2, partial(torch.empty, dtype=torch.int64)).batches(48, 5)
    arrays = Loader(plan, run / "packed", 24, 1, 2).batches(48, 5)
    for got, wanted in islice(zip(tensors, arrays, strict=True), 20):
        for name in ("input", "positions", "labels"):
            tensor = getattr(got, name)
            assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.int64
            assert torch.equal(tensor, torch.from_numpy(getattr(wanted, name)))


def test_a_damaged_shard_stops_the_trainer_with_its_name(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run / "packed", copy / "packed")
    shutil.copy(run / "mixture.json", copy)
    path = next((copy / "packed" / "domain").rglob("*.arrow"))
    lengths = read_shard(path).doc_lengths
    path.write_bytes(path.read_bytes().replace(lengths.tobytes(), (lengths + 1).tobytes()))
    with pytest.raises(ValueError, match=f"{path.name}: doc_lengths: row .* does not add to"):
        next(iter(loader(copy)))


def test_a_checkpoint_of_another_plan_is_refused(run: Path) -> None:
    with pytest.raises(ValueError, match="mixture.json"):
        loader(run).load_state_dict({"rows": 24, "plan": "another"})


def test_rows_are_the_plans(run: Path) -> None:
    """Pools within one row of their share in every step, documents shifted by one, boundaries not crossed."""
    plan = read_plan(run / "mixture.json")
    shares = [float(next(pool.share for pool in plan.pools if pool.name == name)) for name in POOLS]
    for rows in step_rows([loader(run)], 4, 4):
        inputs, positions, labels, pools = rows.split([small.SEQ_LEN] * 3 + [1], 1)
        counts = torch.bincount(pools[:, 0], minlength=2)
        assert all(abs(count - GLOBAL_BATCH * share) <= 1 for count, share in zip(counts.tolist(), shares, strict=True))
        kept = labels[:, :-1] != -100
        assert torch.equal(labels[:, :-1][kept], inputs[:, 1:][kept])
        assert (positions[:, 1:][kept] > 0).all() and (positions[:, 0] == 0).all()
        assert (labels[:, :-1][positions[:, 1:] == 0] == -100).all()
