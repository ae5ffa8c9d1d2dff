"""What the loggers have after a run that was killed, went on and rolled back, read back by their own packages."""

import importlib.util
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.train.test_launch import metrics
from tests.train.test_rollback import BATCH, events, starts
from train import records
from train.config import TrainConfig
from train.keys import loggers as keys

SECRET = "hunter2" * 5 + "12345"
"""40 characters, as an API key has."""
WANTED = [name for name in ("tensorboard", "wandb", "mlflow") if importlib.util.find_spec(name)]
KEYS = (
    *("--train.steps", "24", "--train.checkpoint_every", "5", "--train.keep_checkpoints", "4", "--eval.every", "12"),
    *("--train.on_spike", "roll_back", "--train.roll_back_steps", "3"),
)


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(name not in WANTED, reason=f"{name} is not installed (palimpsest[{name}])")


@pytest.fixture(scope="module")
def logged(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, killed at step 12 and at 21 after a roll-back from 20 to 15, with every logger installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", SECRET)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        archive = tmp_path_factory.mktemp("archive") / SECRET
        arguments = ["--train.run", "logged", *KEYS, "--loggers", json.dumps(WANTED), "--archive", str(archive)]
        start: dict[str, Any] = {"keys": arguments, "ill": {str(19 * BATCH): "gradient"}}
        made = starts(run, start | {"kill_at": 12}, start | {"kill_at": 18, "attempt": 1}, start)
    assert [one["status"] for one in made] == [[-9], [-9], [0]], [one["output"] for one in made]
    return run / "train" / "logged"


def wanted(folder: Path, figure: str) -> list[tuple[int, float]]:
    """(step, value) of a figure of the steps that stand."""
    return [(line["step"], line[figure]) for line in metrics(folder) if figure in line]


@needs("tensorboard")
def test_tensorboard_has_every_step_once(logged: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert len(events(logged, "resume")) == 2 and len(events(logged, "roll_back")) == 1
    found = EventAccumulator(str(logged / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    for figure in ("loss", "loss_domain", "loss_replay", "grad_norm", "lr", "tokens"):
        got = [(one.step, one.value) for one in found.Scalars(figure)]
        assert [step for step, _ in got] == list(range(1, 25))
        assert [value for _, value in got] == pytest.approx([value for _, value in wanted(logged, figure)])
    evaluations = [(line["step"], line["eval"]["domain_bits_per_byte"]) for line in metrics(logged) if "eval" in line]
    got = [(one.step, one.value) for one in found.Scalars("eval/domain_bits_per_byte")]
    assert [step for step, _ in got] == [step for step, _ in evaluations] == [0, 12, 24]
    assert [value for _, value in got] == pytest.approx([value for _, value in evaluations])


@needs("wandb")
def test_weights_and_biases_has_every_step_of_an_attempt_once(logged: Path) -> None:
    attempts = wandb_history(logged)
    assert len(attempts) == 2 and len({name.rpartition("-")[0] for name in attempts}) == 1
    first, second = (attempts[name] for name in sorted(attempts))
    apart = {
        line["step"]: line["loss"] for line in records.read(logged / "metrics.rolled_back.jsonl") if "loss" in line
    }
    stands = dict(wanted(logged, "loss"))
    steps = {step: history["loss"] for step, history in first.items() if "loss" in history}
    assert steps == pytest.approx({step: apart.get(step, stands[step]) for step in range(1, 21)})
    steps = {step: history["loss"] for step, history in second.items() if "loss" in history}
    assert steps == pytest.approx({step: stands[step] for step in range(16, 25)})


def wandb_history(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Run -> step -> figures, of all files in the order they were begun; as `wandb sync` takes them in, a step that
    is there already stays as it is."""
    from wandb.proto import wandb_internal_pb2

    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        steps = found.setdefault(path.stem.removeprefix("run-"), {})
        known = max(steps, default=-1)
        for data in blocks(path.read_bytes()):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history" and record.history.step.num > known:
                values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                steps.setdefault(record.history.step.num, {}).update(
                    {name: json.loads(value) for name, value in values.items()}
                )
    return found


def blocks(data: bytes) -> Iterator[bytes]:
    """The records of a W&B file: 7 bytes of header, then LevelDB's log format (blocks of 32 KiB; each piece of a record
    has checksum, length and kind: whole, first, middle, last)."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


@needs("mlflow")
def test_mlflow_has_every_step_of_an_attempt_once(logged: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{logged / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("palimpsest")
    runs = client.search_runs([experiment.experiment_id], order_by=["tags.`palimpsest.id`"])
    assert [one.info.run_name for one in runs] == ["small/logged", "small/logged after roll-back 1"]
    stands = dict(wanted(logged, "loss"))
    for one, steps in zip(runs, (range(1, 21), range(16, 25)), strict=True):
        got = sorted((point.step, point.value) for point in client.get_metric_history(one.info.run_id, "loss"))
        assert [step for step, _ in got] == list(steps)
    assert dict(got) == pytest.approx({step: stands[step] for step in range(16, 25)})
    assert runs[0].data.params["global_batch"] == "8"


def test_no_secret_is_written(logged: Path) -> None:
    files = [path for name in WANTED for path in (logged / name).rglob("*") if path.is_file()]
    assert files or not WANTED
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"train.loggers: mlflow is asked for, .* Install palimpsest\[mlflow\]"):
        TrainConfig(loggers=["mlflow"]).check_loggers()
    TrainConfig().check_loggers()
