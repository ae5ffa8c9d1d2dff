"""Schedules and changes: exact at every position through any number of pieces, and the same wherever they are asked."""

import time
from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.files import write_json
from mix.plan import Plan, Pool, ShardFile, Source
from mix.plan_file import read_plan
from mix.schedule import STAIRS, Change, Knot, Piece, Shares, expand, whole, within
from tests.mix.ranks import check_ranks

MANY = settings(max_examples=40, deadline=None)
FAR = 10**9
"""A step that no run reaches."""


def made_source(pool: int, index: int, rows: int) -> Source:
    files = (ShardFile(f"p{pool}/s{index}/00000.arrow", rows, "made"),)
    return Source(f"s{index}", rows, rows * 60, rows, 0, files)


def make_plan(knots: list[Knot], rows: list[list[int]], global_batch: int) -> Plan:
    pools = [
        Pool(f"p{number}", share, tuple(made_source(number, index, size) for index, size in line))
        for number, (share, line) in enumerate(zip(knots[0].shares.pools, map(enumerate, rows), strict=True))
    ]
    return Plan(0, 64, "tokenizer", 400, tuple(pools), tuple(knots), global_batch)


def two_pools(shares: dict[int, Fraction], global_batch: int = 16, rows: tuple[int, int] = (90, 40)) -> Plan:
    """A plan of two pools with a source each; `shares` are the first pool's by step."""
    knots = [Knot(step, Shares((part, 1 - part), ((1,), (1,)))) for step, part in shares.items()]
    return make_plan(knots, [[rows[0]], [rows[1]]], global_batch)


@st.composite
def plans(draw) -> Plan:
    """Two pools, up to 4 knots of shares and weights, up to 2 changes."""
    rows = draw(st.lists(st.lists(st.integers(1, 200), min_size=1, max_size=5), min_size=2, max_size=2))
    steps = draw(st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True).map(sorted))
    knots = []
    for step in steps:
        part = Fraction(draw(st.integers(0, 100)), 100)
        weights = []
        for sizes in rows:
            given = draw(st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=len(sizes), max_size=len(sizes))))
            weights.append(tuple(given) if given and any(given) else tuple(sizes))
        knots.append(Knot(step, Shares((part, 1 - part), tuple(weights))))
    plan = make_plan(knots, rows, draw(st.sampled_from([7, 32])))
    for first_row in sorted(draw(st.lists(st.integers(0, 1500), max_size=2))):
        part = Fraction(draw(st.integers(0, 20)), 20)
        plan = plan.with_change(first_row, {"p0": part, "p1": 1 - part})
    return plan


def wanted(plan: Plan, row: int) -> Fraction:
    """Rows that the first pool should have had of the first `row`, by adding up the pieces."""
    total = Fraction(0)
    for piece, following in zip(plan.pieces, [*plan.pieces[1:], None], strict=True):
        end = row if following is None else min(row, following.first_row)
        total += max(0, end - piece.first_row) * piece.shares.pools[0]
    return total


def in_first_pool(plan: Plan, rows: int) -> np.ndarray:
    """int64 [rows + 1]: rows of the first pool before each position."""
    first = plan.rows(0, rows).source < len(plan.pools[0].sources)
    return np.concatenate([[0], np.cumsum(first)])


@MANY
@given(plans(), st.integers(1, 40))
def test_any_run_of_rows_is_within_one_row_and_nothing_drifts(plan: Plan, batch: int) -> None:
    taken = in_first_pool(plan, 1700)
    exact = [wanted(plan, row) for row in range(0, 1701, 13)]
    for row, target in zip(range(0, 1701, 13), exact, strict=True):
        assert abs(int(taken[row]) - target) <= Fraction(1, 2)
    for row in range(0, 1700 - batch, 37):  # batches that begin anywhere: rank slices and micro-batches too
        got = int(taken[row + batch] - taken[row])
        assert abs(got - (wanted(plan, row + batch) - wanted(plan, row))) < 1


@MANY
@given(plans())
def test_the_kernel_agrees_with_fractions_node_by_node(plan: Plan) -> None:
    """Each source is within its bound of the shares of what its pool was given, piece by piece."""
    source = plan.rows(0, 1700).source
    pool_of = np.array([plan.pools.index(pool) for pool, _ in plan.sources])
    due = [Fraction(0)] * len(plan.sources)
    starts = [piece.first_row for piece in plan.pieces]
    for start in range(0, 1700, 50):
        taken = plan.taken(start)
        assert np.bincount(source[:start], minlength=len(taken)).tolist() == taken
        due = [Fraction(0)] * len(plan.sources)
        for piece, end in zip(plan.pieces, [*starts[1:], start], strict=True):
            span = source[piece.first_row : max(piece.first_row, min(end, start))]
            given_to = np.bincount(pool_of[span], minlength=2).tolist()
            for index, (_, weight) in enumerate(
                (pool, weight) for pool, line in enumerate(piece.shares.sources) for weight in line
            ):
                pool = int(pool_of[index])
                due[index] += Fraction(given_to[pool] * weight, sum(piece.shares.sources[pool]))
        for got, target, bound in zip(taken, due, plan.error_bounds, strict=True):
            assert abs(got - target) <= bound + 1e-9


@MANY
@given(plans())
def test_each_epoch_of_a_source_takes_every_row_once(plan: Plan) -> None:
    rows = plan.rows(0, 1500)
    for index, (_, source) in enumerate(plan.sources):
        mine = rows.source == index
        for epoch in range(int(rows.epoch[mine].max(initial=0))):
            assert sorted(rows.row[mine & (rows.epoch == epoch)]) == list(range(source.rows))


@MANY
@given(plans(), st.sampled_from([0, 3, FAR]))
def test_every_world_size_sees_the_same_order(plan: Plan, step: int) -> None:
    check_ranks(plan, step)


@MANY
@given(plans(), st.integers(0, 1600), st.integers(0, 20))
def test_a_change_leaves_the_order_before_it(plan: Plan, later: int, part: int) -> None:
    first_row = later + (plan.changes[-1].first_row if plan.changes else 0)
    shares = {"p0": Fraction(part, 20), "p1": Fraction(20 - part, 20)}
    changed = plan.with_change(first_row, shares)
    for name in ("source", "row", "epoch"):
        before, after = (getattr(one.rows(0, first_row), name) for one in (plan, changed))
        assert before.tolist() == after.tolist()
    taken = [sum(changed.taken(first_row + rows)[: len(plan.pools[0].sources)]) for rows in (0, 500, FAR)]
    for rows, got in zip((500, FAR), taken[1:], strict=True):
        assert abs(got - taken[0] - rows * shares["p0"]) < 1
    assert (changed == plan) == (changed.identity == plan.identity) and changed.base.identity == plan.base.identity
    assert changed.with_change(first_row, shares) == changed, "the same event again changes nothing"


@MANY
@given(plans(), st.integers(0, 10**6), st.integers(1, 1500))
def test_places_are_where_rows_puts_a_row(plan: Plan, pick: int, rows: int) -> None:
    found = plan.rows(0, rows)
    source = pick % len(plan.sources)
    row = pick % plan.sources[source][1].rows
    assert plan.places(source, row, rows) == np.flatnonzero((found.source == source) & (found.row == row)).tolist()


def test_places_far_out() -> None:
    plan = two_pools({0: Fraction(1, 2), 1000: Fraction(4, 5)}, rows=(10**9, 4 * 10**8))
    first = FAR * 16
    found = plan.rows(first, 5)
    for index in range(5):
        places = plan.places(int(found.source[index]), int(found.row[index]), first + 5)
        assert first + index in places and len(places) == int(found.epoch[index]) + 1


@given(plans())
@settings(max_examples=15, deadline=None)
def test_a_plan_with_a_schedule_comes_back_from_its_file(tmp_path_factory, plan: Plan) -> None:
    path = tmp_path_factory.mktemp("plan") / "mixture.json"
    write_json(path, {"identity": plan.identity, "plan": plan.to_json()})
    again = read_plan(path)
    assert again == plan
    assert again.rows(700, 50).row.tolist() == plan.rows(700, 50).row.tolist()


def test_shares_are_linear_between_knots_and_constant_in_a_step() -> None:
    plan = two_pools({100: Fraction(1, 2), 1100: Fraction(4, 5)})
    starts = [piece.first_row for piece in plan.pieces]
    for step, share in [(0, "0.5"), (100, "0.5"), (101, "0.5003"), (600, "0.65"), (1099, "0.7997"), (FAR, "0.8")]:
        for row in (step * 16, step * 16 + 15):
            assert plan.pieces[bisect_right(starts, row) - 1].shares.pools[0] == Fraction(share)
    assert all(start % 16 == 0 for start in starts)


def test_a_long_ramp_is_stairs_that_give_what_the_line_gives() -> None:
    plan = two_pools({0: Fraction(1, 5), 50_003: Fraction(4, 5)})
    assert len(plan.pieces) == STAIRS + 1
    line = 16 * (50_003 * Fraction(1, 5) + Fraction(3, 5) * Fraction(50_002, 2))
    assert wanted(plan, 50_003 * 16) == line
    assert abs(plan.taken(50_003 * 16)[0] - line) <= Fraction(1, 2)


def test_a_source_can_come_in_later() -> None:
    both, one = Shares((Fraction(1),), ((1, 1),)), Shares((Fraction(1),), ((1, 0),))
    plan = make_plan([Knot(10, one), Knot(11, both)], [[50, 50]], 8)
    assert plan.taken(88) == [88, 0]
    assert abs(plan.taken(188)[1] - 50) <= 1


def test_a_far_step_is_planned_as_quickly_as_the_first() -> None:
    plan = two_pools({0: Fraction(1, 2), 1000: Fraction(4, 5)}, rows=(1_500_000_000, 600_000_000))
    batch = 512

    def seconds(step: int) -> float:
        times = []
        for _ in range(30):
            start = time.perf_counter()
            plan.rows(step * batch, batch)
            times.append(time.perf_counter() - start)
        return min(times)

    plan.rows(0, batch)
    assert seconds(FAR) < 10 * seconds(0) + 1e-3


def test_large_plans_do_not_overflow() -> None:
    """`taken` counts in Python's integers."""
    rows = [[1_400_000_000, 600_000_000], [2_000_000_000, 7]]
    ends = [Shares((Fraction(part), 1 - Fraction(part)), tuple(map(tuple, rows))) for part in ("0.123", "0.877")]
    plan = make_plan([Knot(0, ends[0]), Knot(10**6, ends[1])], rows, 4096)
    for first in (4096 * 999_999, FAR * 4096):
        gained = np.array(plan.taken(first + 5000)) - np.array(plan.taken(first))
        assert np.bincount(plan.rows(first, 5000).source, minlength=4).tolist() == gained.tolist()
    many = [Shares((Fraction(part), 1 - Fraction(part)), tuple(map(tuple, rows))) for part in ("0.123456789", "0.9")]
    with pytest.raises(ValueError, match="mix.schedule: .*too many decimals"):
        make_plan([Knot(0, many[0]), Knot(10**6, many[1])], rows, 4096).taken(1)


@pytest.mark.parametrize(
    ("first_row", "shares", "message"),
    [
        (200, {"p0": 0.5}, "pools are p0, p1"),
        (200, {"p0": 0.5, "p1": 0.6}, "together 1"),
        (200, {"p0": 1.5, "p1": -0.5}, "from 0 to 1"),
        (50, {"p0": 0.5, "p1": 0.5}, "before an earlier change, at row 100"),
    ],
)
def test_a_change_that_cannot_be_is_refused(first_row: int, shares: dict[str, float], message: str) -> None:
    plan = two_pools({0: Fraction(1, 2)}).with_change(100, {"p0": "3/5", "p1": 0.4})
    with pytest.raises(ValueError, match=message):
        plan.with_change(first_row, shares)


def test_a_pool_without_rows_gets_no_share() -> None:
    shares = Shares((Fraction(1), Fraction(0)), ((5,), (0,)))
    plan = make_plan([Knot(0, shares)], [[5], [0]], 8)
    with pytest.raises(ValueError, match="the pool p1 has no rows"):
        plan.with_change(8, {"p0": "1/2", "p1": "1/2"})


def test_a_pool_without_share_can_come_in_by_a_change(tmp_path: Path) -> None:
    plan = two_pools({0: Fraction(1)}).with_change(32, {"p0": "3/4", "p1": "1/4"})
    assert plan.taken(32) == [32, 0] and plan.taken(72) == [62, 10]
    assert replace(plan, changes=(Change(64, plan.changes[0].pools),)).taken(72) == [70, 2]


def test_pieces_within_a_budget() -> None:
    shares = [Shares((Fraction(part),), ()) for part in (0, 1)]
    pieces = expand([Knot(0, shares[0]), Knot(1, shares[1])], 8)
    assert pieces == [Piece(0, shares[0]), Piece(8, shares[1])]
    assert within(pieces, 20) == [(8, shares[0]), (12, shares[1])] and within(pieces, 8) == [(8, shares[0])]


def test_weights_are_whole_numbers() -> None:
    assert whole([Fraction(1, 2), Fraction(1, 3), Fraction(0)]) == (3, 2, 0)
    near = whole([Fraction(1, 10**9 + 7), Fraction(1), Fraction(1, 10**12 + 39)])
    assert sum(near) < 1 << 31 and min(near) >= 1
