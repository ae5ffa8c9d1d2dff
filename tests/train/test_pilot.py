"""The pilot: arms on the same mixture at other shares, ended early, gone on with, and one recommended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.files import read_json
from mix.plan_file import read_plan
from pipelines import config
from tests.train import small
from train import pilot, records
from train.pilot import Outcome
from train.pilot_arm import STOP, spike

KEYS = (
    *("--steps", "10", "--learning-rates", "[3e-3]", "--replay-shares", "[0.25, 0.5]", "--bound", "100"),
    *("--train.steps", "24", "--train.checkpoint_every", "2", "--eval.documents", "4"),
)
NAMES = ["pilot-lr0.003-replay0.25", "pilot-lr0.003-replay0.5"]


@pytest.fixture(scope="module")
def own(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, without trainings."""
    folder = tmp_path_factory.mktemp("pilot") / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("train", "documents"))
    return folder


def start(run: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "train.pilot", str(run), *arguments],
        cwd=small.REPO,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(run: Path, *arguments: str) -> str:
    process = start(run, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def figures(folder: Path) -> list[dict[str, object]]:
    lines = records.read(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in records.TIMING} for line in lines]


@pytest.fixture(scope="module")
def done(own: Path) -> str:
    """What the pilot printed whose first start was killed in its second arm."""
    process = start(own, *KEYS)
    path = own / "train" / NAMES[1] / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (path.exists() and any(line["step"] >= 5 for line in records.read(path))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return finish(own, *KEYS)


def test_a_killed_pilot_goes_on_and_compares_all_arms(own: Path, done: str) -> None:
    found = read_json(own / "pilot" / "pilot.json")
    assert [arm["name"] for arm in found["arms"]] == NAMES
    assert all(arm["steps"] == 10 and arm["evaluated"][0] == 0 and arm["evaluated"][-1] == 10 for arm in found["arms"])
    assert len({(arm["domain"][0], arm["general"][0]) for arm in found["arms"]}) == 1, "all begin with the base"
    events = [event["event"] for event in records.read(own / "train" / NAMES[1] / "journal.jsonl")]
    assert events[:2] == ["start", "ratio"] and events.count("ratio") == 1 and events[-1] == "finish"
    assert [event["event"] for event in records.read(own / "train" / NAMES[0] / "journal.jsonl")].count("start") == 1
    assert not list((own / "train").glob("pilot-*/checkpoints"))
    assert found["chosen"] in done and all(f"arm {number} of 2" in done for number in (1, 2))


def test_arms_have_the_shares_asked_for_and_the_order_of_the_plan(own: Path, done: str) -> None:
    plan = read_plan(own / "mixture.json")
    for name in NAMES:
        replay = float(name.partition("replay")[2])
        steps = [line for line in figures(own / "train" / name) if "loss" in line]
        assert [line["domain_share"] for line in steps] == [1 - replay] * 10
    dealt = plan.with_change(0, {"domain": 0.5, "replay": 0.5}).rows(0, 8)
    assert sum(plan.sources[source][0].name == "domain" for source in dealt.source) == 4


def test_what_is_chosen_goes_into_a_copy(own: Path, done: str) -> None:
    before = (own / "pipeline.yaml").read_bytes()
    found = read_json(own / "pilot" / "pilot.json")
    [best] = [arm for arm in found["arms"] if arm["name"] == found["chosen"]]
    assert best["gain"] == max(arm["gain"] for arm in found["arms"])  # the bound lets all of them through
    copy, own_file = config.load(own / "pilot" / "chosen.yaml"), config.load(own / "pipeline.yaml")
    assert (copy.train.peak, copy.mix.replay) == (best["learning_rate"], best["replay"])
    assert copy.mix.domain + copy.mix.replay == 1
    assert copy.train.run == own_file.train.run and copy.eval.every == own_file.eval.every
    assert (own / "pipeline.yaml").read_bytes() == before
    with pytest.raises(ValueError, match="would be written over"):
        pilot.main([str(own / "pilot" / "chosen.yaml"), *KEYS])


def test_the_page_is_whole_in_itself(own: Path, done: str) -> None:
    page = (own / "pilot" / "pilot.html").read_text(encoding="utf-8")
    assert "<script src" not in page and page.count('<div class="plot"') == 3
    assert read_json(own / "pilot" / "pilot.json")["rule"] in page
    assert page.count("<tr>") == 3


def test_the_same_command_again_trains_nothing_and_other_settings_are_refused(own: Path, done: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in (own / "train").glob("pilot-*/metrics.jsonl")}
    results = (own / "pilot" / "pilot.json").read_bytes(), (own / "pilot" / "pilot.html").read_bytes()
    pilot.main([str(own), *KEYS])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert results == ((own / "pilot" / "pilot.json").read_bytes(), (own / "pilot" / "pilot.html").read_bytes())
    with pytest.raises(ValueError, match="train.seed was 0, is 1"):
        pilot.main([str(own), *KEYS, "--train.seed", "1"])


def test_an_arm_that_loses_general_text_or_diverges_ends_early(own: Path) -> None:
    keys = (
        *("--steps", "20", "--replay-shares", "[0]", "--train.steps", "24", "--eval.documents", "4"),
        *("--train.warmup_steps", "0", "--bound", "0.001", "--learning-rates", "[3e-2, 1e30]"),
        *("--eval.every", "1"),
    )
    output = finish(own, *keys)
    slow, wild = read_json(own / "pilot" / "pilot.json")["arms"]
    assert "general bits per byte have risen" in slow["stopped"] or "above its lowest" in slow["stopped"]
    assert "finite" in wild["stopped"] and wild["steps"] < 3
    assert slow["steps"] < 20
    [event] = [e for e in records.read(own / "train" / slow["name"] / "journal.jsonl") if e["event"] == STOP]
    lines = figures(own / "train" / slow["name"])
    assert event["step"] == slow["steps"] == lines[-1]["step"], "its last lines are written, and no step after them"
    assert "recommended: none" in output
    with pytest.raises(ValueError, match="pilot.bound was 0.001, is 5"):
        pilot.main([str(own), *keys, "--bound", "5"])


def test_a_spike_is_a_rise_that_lasts() -> None:
    calm = [3.0, 2.9, 2.95, 2.8, 2.85, 2.7, 2.75]
    assert spike(calm) <= 0.01 and spike(calm[:3]) == 0
    assert spike([*calm, 9.0, 9.0]) < 0.05
    assert spike([*calm, 9.0, 9.0, 9.0]) > 1


def made(name: str, gain: float, rise: float, stopped: str | None = None) -> Outcome:
    return Outcome(name, 1e-3, 0.2, 10, stopped, 2.0, [0, 10], [2.0, 2.0 - gain / 50], [2.0, 2.0 + rise / 50])


def test_the_largest_gain_within_the_bound_is_recommended() -> None:
    arms = [made("a", 3, 0.5), made("b", 5, 0.9), made("c", 9, 1.5), made("d", 9, 0.1, "step 5: a spike")]
    best, rule = pilot.recommend(arms, 1.0)
    assert best and best.name == "b" and "largest domain gain" in rule
    best, rule = pilot.recommend(arms, 0.2)
    assert best and best.name == "a" and "no arm keeps the rise" in rule
    best, rule = pilot.recommend([made("e", -1, 0.0)], 1.0)
    assert best is None and "none" in rule


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--replay-shares", "[0.2, 0.2]"), "is given twice"),
        (("--replay-shares", "[1.2]"), "pilot.replay_shares[0]: 1.2 cannot be used"),
        (("--learning-rates", "['0.1 x base']"), "is a share of a rate that is not known"),
        (("--replay-shares", "[0.9]", "--mix.max_epochs", "0.001"), "pilot.replay_shares: 0.9"),
        (("--eval.held_out", "0"), "eval.held_out: is 0"),
        (("--processes", "3"), "train.global_batch: 8 is not a multiple"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_runs(
    run: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        pilot.main([str(run), "--steps", "10", *arguments])
    assert message in str(error.value)
    assert not (run / "pilot").exists()
