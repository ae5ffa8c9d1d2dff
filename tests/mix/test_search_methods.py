"""How weights are found from figures: made-up figures whose best weights are known, and what holds for any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mix import search_methods as methods

sizes = st.lists(st.integers(1, 1000), min_size=2, max_size=8).map(lambda rows: np.array(rows) / sum(rows))


def limits_of(natural: np.ndarray, room: float) -> np.ndarray:
    """Limits that leave `room` times what natural weights take."""
    return np.minimum(1, natural * room)


@given(sizes, sizes, st.floats(1.01, 20))
def test_within_keeps_limits_and_the_order_of_what_is_free(natural: np.ndarray, other: np.ndarray, room: float) -> None:
    weights = np.resize(other, len(natural))
    limits = limits_of(natural, room)
    found = methods.within(weights, limits)
    assert found.sum() == pytest.approx(1) and (found >= 0).all() and (found <= limits + 1e-12).all()
    free = found < limits - 1e-12
    ratios = found[free] / weights[free]
    assert ratios == pytest.approx(np.full(len(ratios), ratios[0] if len(ratios) else 0)), "in proportion"
    assert methods.within(found, limits) == pytest.approx(found)


def test_within_gives_what_is_left_to_sources_without_a_weight() -> None:
    assert methods.within(np.array([1.0, 0.0, 0.0]), np.array([0.5, 1, 1])).tolist() == [0.5, 0.25, 0.25]


@given(sizes, st.floats(1.01, 20), st.integers(0, 9))
def test_drawn_mixtures_are_weights_and_the_same_for_a_seed(natural: np.ndarray, room: float, seed: int) -> None:
    limits = limits_of(natural, room)
    drawn = methods.draw(natural, 5, limits, seed)
    assert drawn.shape == (5, len(natural)) and drawn.sum(1) == pytest.approx(1)
    assert (drawn >= 0).all() and (drawn <= limits + 1e-12).all()
    assert (drawn == methods.draw(natural, 5, limits, seed)).all()


def test_the_grid_gives_each_source_more_in_turn() -> None:
    natural = np.array([0.5, 0.3, 0.2])
    found = methods.grid(natural, [0.25, 0.5])
    assert len(found) == 6 and np.sum(found, 1) == pytest.approx(1)
    assert [int(np.argmax(one - natural)) for one in found] == [0, 0, 1, 1, 2, 2]
    assert found[5] == pytest.approx([0.25, 0.15, 0.6])


def figures(weights: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Bits per byte that are least where the weights are `best`: each source helps less the more of it there is."""
    return 2 - 0.3 * (best * np.log(weights + 0.01)).sum(-1)


@pytest.mark.parametrize("seed", range(3))
def test_the_regression_finds_better_weights_than_natural_and_uniform_ones(seed: int) -> None:
    natural, best = np.array([0.7, 0.15, 0.1, 0.05]), np.array([0.1, 0.5, 0.3, 0.1])
    limits = np.ones(4)
    drawn = np.vstack([natural, np.full(4, 0.25), methods.draw(natural, 18, limits, seed)])
    noise = np.random.default_rng(seed).normal(0, 0.005, 20)
    fitted = methods.fit(drawn, figures(drawn, best) + noise)
    found = methods.search(fitted, natural, limits, seed)
    least = figures(best, best)
    assert found.sum() == pytest.approx(1) and (found <= drawn.max(0) + 1e-12).all(), "no guess beyond the runs"
    assert figures(found, best) - least < 0.35 * (figures(drawn[1], best) - least), "against uniform weights"
    assert figures(found, best) - least < 0.1 * (figures(natural, best) - least)
    assert methods.rank_correlation(fitted.left_out, figures(drawn, best)) > 0.8
    assert (methods.search(fitted, natural, np.array([1, 0.2, 1, 1]), seed)[1]) <= 0.2 + 1e-12


@given(st.integers(0, 99), st.integers(6, 16))
def test_left_out_is_what_the_others_predict(seed: int, runs: int) -> None:
    draw = np.random.default_rng(seed)
    weights, found = draw.dirichlet(np.ones(3), runs), draw.normal(size=runs)
    fitted = methods.fit(weights, found)
    roots = np.concatenate([weights, np.sqrt(weights)], 1)
    scaled = (roots - fitted.mean) / fitted.scale
    # The features are scaled once, with all runs, and the mean is fitted without the run: ridge with a free intercept.
    rest = np.arange(runs) != 0
    design = np.column_stack([np.ones(runs), scaled])
    ridge = np.diag([0.0] + [fitted.penalty * runs] * 6)
    solved = np.linalg.solve(design[rest].T @ design[rest] + ridge, design[rest].T @ found[rest])
    assert fitted.left_out[0] == pytest.approx(design[0] @ solved, abs=1e-5)


def test_rank_correlation_sees_order_alone() -> None:
    values = np.array([1.0, 3.0, 2.0, 10.0])
    assert methods.rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert methods.rank_correlation(values, -values) == pytest.approx(-1)
    assert methods.rank_correlation(values, np.ones(4)) == 0


@given(sizes, st.lists(st.floats(0, 20), min_size=8, max_size=8))
def test_doremi_moves_weight_to_the_largest_excess(weights: np.ndarray, excess: list[float]) -> None:
    nats = np.array(excess[: len(weights)])
    found = methods.reweighted(weights, nats)
    assert found.sum() == pytest.approx(1) and (found >= methods.SMOOTHING / len(weights) - 1e-15).all()
    raised = found - methods.SMOOTHING / len(weights)
    most, least = int(np.argmax(nats)), int(np.argmin(nats))
    assert raised[most] * weights[least] >= raised[least] * weights[most] - 1e-12
    same = methods.reweighted(weights, np.full(len(weights), 3.0))
    assert same == pytest.approx((1 - methods.SMOOTHING) * weights + methods.SMOOTHING / len(weights))
