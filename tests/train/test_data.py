"""The rows of a step do not depend on the number of ranks or on where a run was cut off."""

from pathlib import Path

import pytest
import torch

from mix.plan import read_plan
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
