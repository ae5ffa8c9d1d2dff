"""Training through phases: the rate and the rows of each, kill -9 at their borders, what plan and report say."""

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.report_data import read
from eval.report_mixture import mixture
from eval.report_training import LOSS, RATE, training
from mix import build
from pipelines import config
from tests.train import kills, small
from train import pilot, plan
from train.keys.phases import Phase, in_turn, learning_rate
from train.keys.schedule import ScheduleKeys
from train.schedule import InTurn

PHASES: list[dict[str, Any]] = [
    {"name": "domain", "steps": 8, "schedule": "linear", "floor": 0.5},
    {"name": "task", "steps": 5, "domain": 1.0, "replay": 0.0, "weights": {"notes": 0, "trials": 1}, "peak_lr": 1e-3},
    {"name": "anneal", "steps": 4, "domain": 0.5, "replay": 0.5, "weights": "natural", "best": True, "floor": 0.0},
]
KEYS = ["--train.checkpoint_every", "4", "--eval.every", "100"]


@pytest.fixture(scope="module")
def phased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a mixture of three phases."""
    home = tmp_path_factory.mktemp("phases")
    folder = home / "runs" / "small"
    small.curated(folder, documents=100)
    small.make_model(home / "base")
    for pool, source in small.SOURCES:
        documents = folder / "documents" / pool / source
        table = pq.read_table(documents / "00000.parquet").drop_columns(["scores"])
        scores = pa.array([[("perplexity", float(n))] for n in range(100)], pa.map_(pa.string(), pa.float32()))
        pq.write_table(table.append_column("scores", scores), documents / "00000.parquet")
    values = small.pipeline(folder, home / "base").model_dump(mode="json")
    del values["train"]["steps"]
    values["train"]["warmup_steps"] = 2
    values["mix"]["best"] = {"score": "perplexity", "prefer": "low", "share": 0.1}
    values["mix"]["max_epochs"] = 20.0
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(values | {"phases": PHASES}))
    build.main([str(folder)])
    return folder


@pytest.fixture(scope="module")
def alone(phased: Path) -> Path:
    """The folder of a training run that was left alone."""
    kills.finish(kills.start(phased, "alone", *KEYS))
    return phased / "train" / "alone"


def die_at(step: int, arguments: list[str]) -> None:
    """Train, and end by kill -9 when this step is to begin."""
    from pipelines import cli
    from train import launch
    from train.trainer import ContinuedTrainer

    train_step = ContinuedTrainer.train_step

    def step_or_die(self: ContinuedTrainer, *given: Any) -> None:
        if self.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        train_step(self, *given)

    ContinuedTrainer.train_step = step_or_die  # type: ignore[method-assign,assignment]
    cli.run(lambda: launch.main(arguments))


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return [line for line in kills.lines(folder) if "loss" in line]


def test_rows_and_rates_are_those_of_the_phases(alone: Path) -> None:
    steps = steps_of(alone)
    assert [step["step"] for step in steps] == list(range(1, 18))
    assert [step["domain_share"] for step in steps[8:]] == [1.0] * 5 + [0.5] * 4
    assert sum(step["domain_share"] for step in steps[:8]) == pytest.approx(8 * 0.8, abs=1 / 8)
    rates = [step["lr"] for step in steps]
    assert rates[:2] == pytest.approx([1.5e-3, 3e-3]) and rates[7] == pytest.approx(1.5e-3)
    assert rates[8] == pytest.approx(1e-3) and rates[12] == pytest.approx(1e-4)
    assert rates[13] == pytest.approx(3e-3) and rates[16] == 0
    assert (alone / "export" / "model.safetensors").exists()


def test_killed_at_the_borders_of_phases_it_ends_as_if_left_alone(phased: Path, alone: Path) -> None:
    """At step 9 the newest checkpoint is the end of the first phase; at 14 it lies inside the second one."""
    for step in (9, 14):
        kills.finish(kills.start_with(partial(die_at, step), phased, "killed", *KEYS), code=-9)
        assert steps_of(phased / "train" / "killed")[-1]["step"] == step - 1
    kills.finish(kills.start(phased, "killed", *KEYS))
    folders = (phased / "train" / "killed", alone)
    assert kills.lines(folders[0]) == kills.lines(folders[1])
    one, other = ((folder / "export" / "model.safetensors").read_bytes() for folder in folders)
    assert one == other


def test_other_phases_are_another_run(phased: Path, alone: Path) -> None:
    from train.settings import remember, resolve

    changed = [*PHASES[:2], {**PHASES[2], "floor": 0.1}]
    keys = {"train.run": "alone", "train.checkpoint_every": 4, "eval.every": 100, "phases": changed}
    with pytest.raises(ValueError, match=r"begun with other settings \(phases was"):
        remember(resolve(config.load(phased / "pipeline.yaml", keys)))


def test_the_plan_shows_the_phases(phased: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.main([str(phased), "--gpus", "1"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "task 9 to 13 2,560 100.00% / 0.00% all 0.001, warm-up 0, cosine to 0.0001" in shown
    assert "anneal 14 to 17 2,048 50.00% / 50.00% the best" in shown
    plan.main([str(phased), "--gpus", "1", "--json"])
    anneal = json.loads(capsys.readouterr().out)["phases"][2]
    assert anneal["best"] and anneal["learning_rate"] == "0.003, warm-up 0, cosine to 0"


def test_the_report_marks_the_phases(phased: Path, alone: Path) -> None:
    run = read(config.load(phased / "pipeline.yaml", {"train.run": "alone"}))
    text, charts = training(run)
    for name in (LOSS, RATE):
        marks = {(shape["x0"]) for shape in charts[name]["layout"]["shapes"]}
        assert {1, 9, 14} <= marks
        assert "phase anneal" in {note["text"] for note in charts[name]["layout"]["annotations"]}
    assert "Phase task: Cosine: warm-up over 0 steps to 0.001, then" in " ".join(str(text).split())
    table = str(mixture(run))
    assert "By phase" in table and "trials+best" in table


def test_a_pilot_is_refused(phased: Path) -> None:
    with pytest.raises(ValueError, match=r"phases: .* a pilot compares those of one mixture\. Run it with --phases"):
        pilot.arms(config.load(phased / "pipeline.yaml"))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(2, 60),
            st.sampled_from(["cosine", "linear", "wsd", None]),
            st.sampled_from([1e-4, 1e-3, None]),
            st.sampled_from([0.0, 0.2, None]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_rate_of_each_phase_is_its_own_schedule_s(drawn: list[tuple[int, Any, Any, Any]]) -> None:
    names = ("steps", "schedule", "peak_lr", "floor")
    phases = [Phase(name=f"p{n}", **dict(zip(names, one, strict=True))) for n, one in enumerate(drawn)]
    train = ScheduleKeys(peak_lr=5e-4, warmup_steps=1)
    rates = learning_rate(train, phases, 0)
    assert isinstance(rates, InTurn) and rates.steps == sum(one[0] for one in drawn)
    step = 0
    for phase, keys in zip(phases, in_turn(train, phases), strict=True):
        own = keys.shape(phase.steps)
        for at in range(1, phase.steps + 1):
            step += 1
            assert rates.factor(step) * train.peak == pytest.approx(keys.peak * own.factor(at))
    assert in_turn(train, phases)[0].warmup_steps == 1 and all(k.warmup_steps == 0 for k in in_turn(train, phases)[1:])
