"""Choosing a checkpoint: the ranking, the Pareto front, and the export of what was chosen."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.files import read_json
from eval import select
from eval.control import Evaluation, Limits
from eval.select import Candidate, judge, pareto, rank
from pipelines import config
from tests.train import small

LIMITS = Limits(percent=1.0, points=3.0)
PERCENTS = st.lists(st.tuples(st.integers(-5, 30), st.integers(-4, 8)), min_size=1, max_size=12)


def history(*changes: tuple[float, float]) -> list[Evaluation]:
    """Step 0, then a step for each (domain gain, general rise) in percent."""
    values = [(0.0, 0.0), *changes]
    return [
        Evaluation(
            10 * index,
            {"domain_bits_per_byte": 2 * (1 - gain / 100), "general_bits_per_byte": 4 * (1 + rise / 100)},
        )
        for index, (gain, rise) in enumerate(values)
    ]


def steps(found: list[Candidate]) -> list[int]:
    return [one.step for one in found]


def test_the_most_gain_within_the_threshold_comes_first_then_the_least_past_it() -> None:
    found = judge(history((5, 0.5), (9, 0.9), (20, 4), (12, 2), (3, -1)), LIMITS, 1.0, [10, 30])
    assert steps(rank(found)) == [20, 10, 50, 40, 30]
    assert [one.within for one in rank(found)] == [True, True, True, False, False]
    assert {one.step for one in found if one.kept} == {10, 30}
    assert {one.step for one in found if one.pareto} == {50, 10, 20, 40, 30}
    assert found[2].domain_gain == pytest.approx(20) and found[2].general_rise == pytest.approx(4)


def test_the_score_weighs_gain_against_what_was_forgotten_alone() -> None:
    found = judge(history((5, 0.2), (6, 0.9), (4, -3)), LIMITS, 2.0, [])
    assert [one.score for one in found] == pytest.approx([4.6, 4.2, 4.0])
    assert steps(rank(found, "gain")) == [20, 10, 30]
    assert steps(rank(found, "score")) == [10, 20, 30]
    assert [one.pareto for one in judge(history((5, 1), (4, 2), (5, 1)), LIMITS, 1.0, [])] == [True, False, True]


@given(PERCENTS)
def test_whatever_the_figures_nothing_beats_the_front_and_it_holds_the_best(changes: list[tuple[int, int]]) -> None:
    found = judge(history(*changes), LIMITS, 1.0, [])
    for (gain, rise), on in zip(changes, pareto(changes), strict=True):
        better = [(g, r) for g, r in changes if g >= gain and r <= rise and (g, r) != (gain, rise)]
        assert on == (not better)
    ranked = rank(found)
    within = [one for one in found if one.within]
    assert sorted(steps(ranked)) == steps(found)
    assert ranked[: len(within)] == sorted(within, key=lambda one: (-one.domain_gain, one.step))


def test_a_task_past_its_threshold_counts_as_much_as_bits_per_byte() -> None:
    found = history((9, 0), (8, 0))
    for evaluation, accuracy in zip(found, (50.0, 44.0, 49.0), strict=True):
        evaluation.figures["general/boolq"] = accuracy  # type: ignore[index]
    ranked = rank(judge(found, LIMITS, 1.0, []))
    assert steps(ranked) == [20, 10]
    assert (ranked[1].measure, ranked[1].pressure) == ("general/boolq", 2.0)


def test_the_chosen_checkpoint_is_exported(forgetful: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from eval import held_out, hugging_face

    # Of the two checkpoints that are kept only that of step 32 is within 1 % of the base.
    select.main([str(forgetful), "--train.run", "controlled"])
    output = capsys.readouterr().out
    chosen: dict[str, Any] = read_json(forgetful / "eval" / "selection-controlled.json")
    assert len(chosen["candidates"]) == 8
    assert sorted(one["step"] for one in chosen["candidates"] if one["kept"]) == [24, 32]
    assert chosen["best"] == 32 and "best: step 32" in output and "exported to" in output
    run = forgetful / "train" / "controlled"
    windows = held_out.load(forgetful, forgetful / "tokenizer", small.SEQ_LEN, 10)
    figures = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(run / "best")))
    measured = {one.step: one.figures for one in select.evaluations(run)}
    assert figures == pytest.approx(dict(measured[32]), abs=1e-5)


def test_where_none_is_within_the_thresholds_it_says_so(forgetful: Path, capsys: pytest.CaptureFixture[str]) -> None:
    select.main([str(forgetful), "--train.run", "left_alone", "--show"])
    output = capsys.readouterr().out
    assert "no checkpoint is within the thresholds, general_bits_per_byte is at" in output
    assert "step 4 ranks first, but its checkpoint is not kept" in output
    assert not (forgetful / "train" / "left_alone" / "best").exists()


def test_without_evaluations_or_checkpoints_it_says_which_key_to_change(forgetful: Path) -> None:
    with pytest.raises(ValueError, match="train/none/metrics.jsonl: is not there"):
        select.main([str(forgetful), "--train.run", "none"])
    pipeline = config.load(forgetful / "pipeline.yaml", {"train.run": "controlled"})
    found = [one for one in select.candidates(pipeline) if not one.kept]
    with pytest.raises(ValueError, match="no evaluated step has a checkpoint.*train.keep_checkpoints"):
        select.choose(pipeline, found)
