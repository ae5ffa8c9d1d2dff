"""Figures of a run to TensorBoard, Weights & Biases and MLflow, as they go to metrics.jsonl.

Only the first rank logs. A resumed run goes on in the logger's run of before, and no step stands there twice:
TensorBoard is told from which step on what it has is void (purge_step); Weights & Biases and MLflow have the same
figures for steps that are made again, so these are not sent again, and get from metrics.jsonl what a kill lost on the
way to them. After a roll-back they are other figures, and the two can take nothing back: there the steps after it
become a run of their own, `<run> after roll-back <n>`.

What is written besides figures is the model's name and the keys of `train:` without train.archive, whose URL may hold
a secret; no environment, command line, printed output, source or machine.

A logger that cannot be begun stops the run. One that fails later is given up with a message: the run is worth more,
and metrics.jsonl has it all.
"""

import math
import secrets
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from curate.files import read_json, write_json
from mix.journal import ROLL_BACK
from pipelines.secrets import scrub
from train import records
from train.extension import Extension

if TYPE_CHECKING:
    from train.settings import Settings
    from train.trainer import ContinuedTrainer


class Logger(Extension, ABC):
    """What all of them share: when they are called, with what, and what happens when they fail."""

    def __init__(self, folder: Path, project: str, title: str, keys: dict[str, Any]):
        """`folder`: of the training run; `title`: its name for people; `keys`: settings to show beside it."""
        self._folder, self._project, self._title, self._keys = folder, project, title, keys
        self._is_open = False

    @abstractmethod
    def start(self, identifier: str, attempt: int, step: int) -> None:
        """Open the logger's run of this identifier, to go on after `step`."""

    @abstractmethod
    def write(self, step: int, figures: dict[str, float]) -> None:
        """Log the figures of a step."""

    @abstractmethod
    def stop(self) -> None:
        """Close the logger's run."""

    def begin(self, trainer: "ContinuedTrainer") -> None:
        """Open it. Raises ValueError where that fails."""
        if trainer.first_rank:
            self._open(trainer)

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Log a step."""
        self._log(trainer.step, scalars(figures))

    def finish_evaluation(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Log an evaluation, as eval/<figure>."""
        self._log(trainer.step, _of_evaluation(figures))

    def roll_back(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """Go on behind the step that is gone back to."""
        if self._is_open:
            self.close()
            self._open(trainer)

    def close(self) -> None:
        """Close it."""
        if self._is_open:
            self._is_open = False
            self._guarded(self.stop)

    def _open(self, trainer: "ContinuedTrainer") -> None:
        attempt = trainer.decisions.roll_backs
        try:
            self.start(f"{_identifier(self._folder)}-{attempt}", attempt, trainer.step)
        except Exception as error:  # each package has errors of its own
            raise ValueError(
                f"train.loggers: {self.name} cannot be begun ({error}), so nothing would be logged there. Mend what it "
                "says, or take it out of train.loggers."
            ) from error
        self._is_open = True
        self._guarded(self._catch_up, trainer)

    def _catch_up(self, trainer: "ContinuedTrainer") -> None:
        """Send what metrics.jsonl has of the steps before this start; `write` leaves out what is there already."""
        backs = [event["to"] for event in trainer.decisions.events if event["event"] == ROLL_BACK]
        first, metrics = (backs[-1] + 1 if backs else 0), self._folder / "metrics.jsonl"
        for line in records.read(metrics) if trainer.step and metrics.exists() else []:
            if first <= line["step"] <= trainer.step:
                self._log(line["step"], scalars(line) | _of_evaluation(line.get("eval", {})))

    def _log(self, step: int, figures: dict[str, float]) -> None:
        if self._is_open:
            self._guarded(self.write, step, figures)

    def _guarded(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:  # a network's failure must not end a run
            self._is_open = False
            told = f"train.loggers: {self.name} failed ({error}) and is left out from here on; metrics.jsonl goes on."
            print(scrub(told), file=sys.stderr, flush=True)

    def _named(self, attempt: int) -> str:
        return f"{self._title} after roll-back {attempt}" if attempt else self._title


class TensorBoard(Logger):
    """Event files in train/<run>/tensorboard."""

    name: ClassVar[str] = "tensorboard"

    def start(self, identifier: str, attempt: int, step: int) -> None:
        """Open a new file; what earlier ones have after `step` is void."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1 if step else 0)

    def _catch_up(self, trainer: "ContinuedTrainer") -> None:
        """Its files have all that was written."""

    def write(self, step: int, figures: dict[str, float]) -> None:
        """On disk when it returns, so that a killed run's file has every step before its checkpoint."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def stop(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases(Logger):
    """A run of Weights & Biases, in a group with those after its roll-backs."""

    name: ClassVar[str] = "wandb"

    def start(self, identifier: str, attempt: int, step: int) -> None:
        """Begin the run or go on with it."""
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            project=self._project,
            id=identifier,
            name=self._named(attempt),
            group=self._title,
            resume="allow",
            dir=str(self._folder),
            config=self._keys,
            settings=settings,
        )
        self._last = self._run.step - 1

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Steps that it has already are left out."""
        if step > self._last:
            self._run.log(figures, step=step)

    def stop(self) -> None:
        """Send what is left."""
        self._run.finish()


class MlFlow(Logger):
    """A run of MLflow, found again by its tag."""

    name: ClassVar[str] = "mlflow"

    def start(self, identifier: str, attempt: int, step: int) -> None:
        """Begin the run or go on with it."""
        import os

        from mlflow.tracking import MlflowClient

        local = self._folder / "mlflow"
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{local / 'mlflow.db'}"
        if uri.startswith("sqlite"):
            local.mkdir(exist_ok=True)
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(self._project)
        experiment = found.experiment_id if found else self._client.create_experiment(self._project)
        runs = self._client.search_runs([experiment], f"tags.`palimpsest.id` = '{identifier}'")
        if runs:
            self._run = runs[0].info.run_id
        else:
            tags = {"palimpsest.id": identifier, "palimpsest.run": self._title}
            self._run = self._client.create_run(experiment, run_name=self._named(attempt), tags=tags).info.run_id
            for key, value in self._keys.items():
                self._client.log_param(self._run, key, value)
        self._last = {
            name: max(one.step for one in self._client.get_metric_history(self._run, name))
            for name in (runs[0].data.metrics if runs else ())
        }

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Steps that it has already are left out."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = [Metric(key, value, now, step) for key, value in figures.items() if step > self._last.get(key, -1)]
        self._client.log_batch(self._run, metrics=new)

    def stop(self) -> None:
        """Mark it as ended; a run that is gone on with stays in that state."""
        self._client.set_terminated(self._run)


_KINDS: dict[str, type[Logger]] = {kind.name: kind for kind in (TensorBoard, WeightsAndBiases, MlFlow)}


def extensions(settings: "Settings") -> list[Logger]:
    """The loggers that the keys ask for."""
    train = settings.pipeline.train
    keys = {"model": settings.pipeline.model, **train.model_dump(mode="json", exclude={"archive"})}
    title = f"{settings.pipeline.name}/{train.run}"
    return [_KINDS[name](settings.folder, train.logger_project, title, keys) for name in dict.fromkeys(train.loggers)]


def scalars(figures: dict[str, Any]) -> dict[str, float]:
    """The figures that are finite numbers, but the step.

    >>> scalars({"step": 3, "loss": 2.5, "mfu": None, "grad_norm": float("nan")})
    {'loss': 2.5}
    """
    numbers = {name: value for name, value in figures.items() if isinstance(value, int | float) and name != "step"}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _of_evaluation(figures: dict[str, Any]) -> dict[str, float]:
    return {f"eval/{name}": value for name, value in scalars(figures).items()}


def _identifier(folder: Path) -> str:
    """What a training run is called where others log too; drawn once."""
    path = folder / "loggers.json"
    if not path.exists():
        write_json(path, {"id": secrets.token_hex(4)})
    return str(read_json(path)["id"])
