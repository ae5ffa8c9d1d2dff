"""The plan is exact in every batch, drifts nowhere, and is the same wherever it is asked."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.files import write_json
from mix.plan import Plan, Pool, ShardFile, Source, share
from mix.plan_file import read_plan
from tests.mix.ranks import check_ranks

MANY = settings(max_examples=60, deadline=None)
FAR = 10**9
"""A step that no run reaches."""


def make_plan(shares: list[Fraction], rows: list[list[int]], seed: int = 0) -> Plan:
    pools = []
    for number, (part, sizes) in enumerate(zip(shares, rows, strict=True)):
        sources = [
            Source(f"s{index}", size, size * 60, size, 0, (ShardFile(f"p{number}/s{index}/00000.arrow", size, "aa"),))
            for index, size in enumerate(sizes)
        ]
        pools.append(Pool(f"p{number}", part, tuple(sources)))
    return Plan(seed, 64, "tokenizer", 400, tuple(pools))


@st.composite
def plans(draw, most_pools: int = 2) -> Plan:
    count = draw(st.integers(1, most_pools))
    parts = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))
    sizes = draw(st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=9), min_size=count, max_size=count))
    return make_plan([Fraction(part, sum(parts)) for part in parts], sizes, draw(st.integers(0, 5)))


def counts(plan: Plan, first: int, rows: int) -> np.ndarray:
    """[rows + 1, sources]: rows each source has given before each position from `first` on."""
    source = plan.rows(first, rows).source
    given = np.zeros((rows + 1, len(plan.sources)), np.int64)
    np.cumsum(source[:, None] == np.arange(len(plan.sources)), axis=0, out=given[1:])
    return given


def by_pool(plan: Plan, given: np.ndarray) -> np.ndarray:
    names = [pool.name for pool, _ in plan.sources]
    return np.stack([given[:, [name == pool.name for name in names]].sum(1) for pool in plan.pools], axis=1)


@MANY
@given(plans(), st.integers(1, 64), st.sampled_from([0, 7, FAR * 16 + 3]))
def test_any_run_of_rows_is_within_one_row_of_the_shares(plan: Plan, batch: int, first: int) -> None:
    given = by_pool(plan, counts(plan, first, 700))
    for pool, taken in zip(plan.pools, given.T, strict=True):
        in_batch = taken[batch:] - taken[:-batch]  # batches that begin at every position, rank slices included
        wanted = batch * pool.share
        assert all(abs(int(got) - wanted) < 1 for got in set(in_batch.tolist()))


@MANY
@given(plans(), st.sampled_from([0, 1, 999, FAR * 16, FAR * 512 + 5]))
def test_pools_are_never_more_than_half_a_row_off(plan: Plan, rows: int) -> None:
    taken = by_pool(plan, np.array([plan.taken(rows)]))[0]
    assert taken.sum() == rows
    for pool, got in zip(plan.pools, taken.tolist(), strict=True):
        assert abs(got - rows * pool.share) <= Fraction(1, 2)


@MANY
@given(plans(most_pools=4))
def test_sources_stay_within_their_bound_of_their_share_of_the_pool(plan: Plan) -> None:
    given = counts(plan, 0, 2000)
    pool_given = by_pool(plan, given)
    names = [pool.name for pool in plan.pools]
    for index, (pool, source) in enumerate(plan.sources):
        wanted = pool_given[:, names.index(pool.name)] * (source.rows / pool.rows)
        assert plan.error_bounds[index] < 1.7
        assert abs(given[:, index] - wanted).max() <= plan.error_bounds[index] + 1e-9


@MANY
@given(plans())
def test_a_pool_runs_out_in_all_its_sources_at_once(plan: Plan) -> None:
    given = counts(plan, 0, 3000)
    pool_given = by_pool(plan, given)
    for number, pool in enumerate(plan.pools):
        mine = [index for index, (owner, _) in enumerate(plan.sources) if owner is pool]
        for epoch in range(int(pool_given[-1, number]) // pool.rows + 1):
            at = np.searchsorted(pool_given[:, number], epoch * pool.rows)
            assert given[at, mine].tolist() == [source.rows * epoch for source in pool.sources]


@MANY
@given(plans())
def test_each_epoch_takes_every_row_once(plan: Plan) -> None:
    rows = plan.rows(0, 4000)
    for index, (_, source) in enumerate(plan.sources):
        mine = rows.source == index
        assert (np.diff(rows.epoch[mine]) >= 0).all()
        for epoch in range(int(rows.epoch[mine].max(initial=0))):
            assert sorted(rows.row[mine & (rows.epoch == epoch)]) == list(range(source.rows))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    plan = make_plan([Fraction(1)], [[500]])
    first, second = plan.rows(0, 500).row, plan.rows(500, 500).row
    other = replace(plan, seed=1).rows(0, 500).row
    assert (first != np.arange(500)).mean() > 0.9
    assert (first != second).mean() > 0.9 and (first != other).mean() > 0.9


def test_an_order_looks_shuffled() -> None:
    """Neighbours in the order are not neighbours in the source, and no part of the source comes early."""
    row = make_plan([Fraction(1)], [[20_000]]).rows(0, 20_000).row
    assert abs(np.corrcoef(row[:-1], row[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(row, np.arange(20_000))[0, 1]) < 0.03
    assert abs(row[:2000].mean() / 10_000 - 1) < 0.05


@MANY
@given(plans(most_pools=3), st.integers(0, 10**12), st.integers(1, 60))
def test_a_position_gives_the_same_row_however_it_is_reached(plan: Plan, first: int, rows: int) -> None:
    whole = plan.rows(first, rows)
    for position in range(rows):
        one = plan.rows(first + position, 1)
        assert (one.source[0], one.row[0], one.epoch[0]) == (
            whole.source[position],
            whole.row[position],
            whole.epoch[position],
        )


@MANY
@given(plans(), st.sampled_from([0, 1000]))
def test_ranks_together_see_the_plans_order(plan: Plan, step: int) -> None:
    check_ranks(plan, step)


@MANY
@given(plans(most_pools=3), st.integers(1, 200))
def test_the_kernel_counts_exactly_at_step_1e9(plan: Plan, rows: int) -> None:
    """`taken` counts in Python's integers, which do not overflow."""
    first = FAR * 512
    found = plan.rows(first, rows)
    gained = np.array(plan.taken(first + rows)) - np.array(plan.taken(first))
    assert np.bincount(found.source, minlength=len(plan.sources)).tolist() == gained.tolist()
    before = plan.taken(first)
    sizes = [source.rows for _, source in plan.sources]
    for index in set(found.source.tolist()):
        at = int(np.flatnonzero(found.source == index)[0])
        assert found.epoch[at] == before[index] // sizes[index]


def test_large_pools_do_not_overflow() -> None:
    plan = make_plan([Fraction(4, 5), Fraction(1, 5)], [[1_500_000_000, 600_000_000], [2_000_000_000, 7]])
    first = FAR * 4096
    gained = np.array(plan.taken(first + 100)) - np.array(plan.taken(first))
    found = plan.rows(first, 100)
    assert np.bincount(found.source, minlength=4).tolist() == gained.tolist()
    sizes = np.array([source.rows for _, source in plan.sources])
    assert (found.row >= 0).all() and (found.row < sizes[found.source]).all()


def test_a_source_keeps_its_order_when_another_one_comes() -> None:
    alone = make_plan([Fraction(1)], [[200]])
    beside = make_plan([Fraction(1)], [[200, 50]])
    rows = beside.rows(0, 250)
    assert rows.row[rows.source == 0].tolist() == alone.rows(0, 200).row.tolist()


def test_sources_without_rows_and_pools_without_share_give_nothing() -> None:
    plan = make_plan([Fraction(1), Fraction(0)], [[5, 0, 3], [9]])
    assert plan.taken(80) == [50, 0, 30, 0]
    assert set(plan.rows(0, 80).source.tolist()) == {0, 2}


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=200))
def test_no_source_can_be_two_rows_off(rows: list[int]) -> None:
    assert max(make_plan([Fraction(1)], [rows]).error_bounds) < 1.7


def test_the_order_of_plans_made_before_has_not_changed() -> None:
    """Where this fails, raise mix.plan.ORDER: runs made before cannot go on with another order."""
    rows = make_plan([Fraction(7, 10), Fraction(3, 10)], [[30, 17], [50]], seed=3).rows(1000, 12)
    assert rows.source.tolist() == [1, 2, 0, 0, 1, 2, 0, 0, 2, 1, 0, 2]
    assert rows.row.tolist() == [13, 7, 12, 6, 9, 36, 13, 17, 2, 2, 12, 9]


def test_a_share_is_what_is_written() -> None:
    assert share(0.8) == Fraction(4, 5)
    assert share(0.1) + share(0.9) == 1


@given(plans(most_pools=3))
def test_a_plan_comes_back_from_its_file(tmp_path_factory, plan: Plan) -> None:
    path = tmp_path_factory.mktemp("plan") / "mixture.json"
    write_json(path, {"identity": plan.identity, "plan": plan.to_json()})
    again = read_plan(path)
    assert again == plan and again.identity == plan.identity
    assert again.rows(123, 50).row.tolist() == plan.rows(123, 50).row.tolist()


def test_what_changes_the_order_changes_the_identity() -> None:
    plan = make_plan([Fraction(4, 5), Fraction(1, 5)], [[30, 40], [50]])
    others = [
        replace(plan, seed=1),
        make_plan([Fraction(3, 5), Fraction(2, 5)], [[30, 40], [50]]),
        make_plan([Fraction(4, 5), Fraction(1, 5)], [[30, 41], [50]]),
        replace(plan, tokenizer="other"),
    ]
    assert len({one.identity for one in [plan, *others]}) == 5


@pytest.mark.parametrize("damage", ["identity", "share", "pools", "cut"])
def test_a_changed_or_damaged_plan_is_refused(tmp_path: Path, damage: str) -> None:
    plan = make_plan([Fraction(4, 5), Fraction(1, 5)], [[30, 40], [50]])
    path = tmp_path / "mixture.json"
    values: dict[str, Any] = {"identity": plan.identity, "plan": plan.to_json()}
    write_json(path, values)
    if damage == "cut":
        path.write_text(path.read_text()[:200])
    elif damage == "pools":
        del values["plan"]["pools"]
    elif damage == "share":
        values["plan"]["schedule"][0]["shares"] = {"p0": "3/5", "p1": "2/5"}
    else:
        values["identity"] = "0" * 16
    if damage != "cut":
        path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="mixture.json"):
        read_plan(path)
