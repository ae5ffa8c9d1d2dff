"""Paired changes in points, what counts as a breach, and thresholds that a resumed run sets anew."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.files import read_json
from eval.config import Thresholds
from eval.statistics import change_in_points
from eval.thresholds import breaches
from pipelines import config
from tests.eval import trainable
from train import records, settings
from train.settings import Settings


def test_the_same_answers_are_no_change() -> None:
    scores = np.array([0, 1, 1, 0, 1, 0.0])
    found = change_in_points(scores, scores)
    assert (found.change, found.low, found.high, found.verdict) == (0, 0, 0, "no change")


def test_a_change_inside_the_interval_is_no_change() -> None:
    base = np.array([1.0] * 50 + [0.0] * 50)
    few = base.copy()
    few[:2] = 0
    assert change_in_points(base, few).verdict == "no change"
    many = base.copy()
    many[:20] = 0
    found = change_in_points(base, many)
    assert found.verdict == "worse" and found.low is not None and found.high is not None
    assert found.low < found.change < found.high < 0 and found.change == pytest.approx(-20)
    assert change_in_points(many, base).verdict == "better"


def test_pairs_count_not_only_means() -> None:
    random = np.random.default_rng(0)
    base = (random.random(400) < 0.5).astype(float)
    better = base.copy()
    better[np.flatnonzero(base == 0)[:12]] = 1
    assert change_in_points(base, better).verdict == "better"
    shuffled = random.permutation(better)
    assert change_in_points(base, shuffled).verdict == "no change", "the same means, other pairs"


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random, covered = np.random.default_rng(1), 0
    for trial in range(300):
        base = (random.random(150) < 0.5).astype(float)
        flipped = random.random(150) < 0.2
        now = np.where(flipped, random.random(150) < 0.7, base).astype(float)
        found = change_in_points(base, now, seed=trial)
        assert found.low is not None and found.high is not None
        covered += found.low <= 100 * 0.2 * (0.7 - 0.5) <= found.high
    assert 0.9 <= covered / 300 <= 0.99


def test_too_few_items_give_no_interval() -> None:
    found = change_in_points(np.ones(4), np.zeros(4))
    assert (found.low, found.high, found.verdict) == (None, None, "too few items")


def judged(drop: float, verdict: str, keys: dict[str, Any] | None = None) -> list[str]:
    """What is beyond its threshold after a task lost `drop` points."""
    base, now = {"general/mmlu": 60.0, "domain/medqa": 60.0}, {"general/mmlu": 60.0 - drop, "domain/medqa": 0.0}
    changes = {"general/mmlu": {"verdict": verdict}, "domain/medqa": {"verdict": "worse"}}
    return [one["what"] for one in breaches(Thresholds(**keys or {}), base, now, changes)]


def test_a_task_breaches_beyond_points_and_interval_both() -> None:
    assert judged(3.5, "worse") == ["general/mmlu"]
    assert judged(3.5, "no change") == [] == judged(2.5, "worse")
    assert judged(2.5, "worse", {"task_points": 2}) == ["general/mmlu"]
    assert judged(60, "worse", {"task_points": 100}) == []


@given(base=st.floats(0.1, 8), rise=st.floats(0, 0.2), percent=st.floats(0, 10))
def test_bits_per_byte_breach_where_they_rise_by_more(base: float, rise: float, percent: float) -> None:
    name = "general_bits_per_byte"
    found = breaches(Thresholds(bits_per_byte_percent=percent), {name: base}, {name: base * (1 + rise)}, {})
    if abs(rise - percent / 100) > 1e-6:
        assert bool(found) == (rise > percent / 100)
    assert breaches(Thresholds(), {name: base}, {}, {}) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that can be trained in."""
    return trainable.make(tmp_path_factory.mktemp("thresholds"))


def remembered(run: Path, **thresholds: float) -> Settings:
    """Settings with these thresholds, remembered as a start of the training run does."""
    found = settings.resolve(config.load(run / "pipeline.yaml", {"eval.thresholds": thresholds}))
    settings.remember(found)
    return found


def test_changed_thresholds_of_a_resumed_run_are_in_the_journal(run: Path) -> None:
    folder = remembered(run).folder
    assert read_json(folder / "config.json")["eval.thresholds"] == {"task_points": 3, "bits_per_byte_percent": 1}
    remembered(run, task_points=4)
    assert not (folder / "journal.jsonl").exists(), "before the first checkpoint nothing holds yet"
    checkpoint = folder / "checkpoints" / "step-4" / "complete.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    remembered(run, task_points=4)
    assert not (folder / "journal.jsonl").exists()
    remembered(run, task_points=2.5)
    (event,) = records.read(folder / "journal.jsonl")
    assert event["event"] == "thresholds" and event["step"] == 4
    assert event["was"]["task_points"] == 4 and event["now"]["task_points"] == 2.5
    assert read_json(folder / "config.json")["eval.thresholds"]["task_points"] == 2.5
    assert "thresholds" in records.COURSE, "it is no decision of the run's own"
