"""One arm of a pilot: the trainer on the run's mixture at another share of replay, ended early where it goes wrong.

    python -m train.pilot_arm PIPELINE    (started by train.pilot, once or on several processes)

The mixture is planned anew over the same shards: the arm's shares hold from row 0 on, as a `ratio` event of its
journal. An arm ends early, by a `pilot_stop` event, where its loss has a spike it does not come back from, is not a
number, or general bits per byte rise beyond STOP_AT bounds.
"""

import math
import os
import sys
from contextlib import nullcontext
from statistics import median
from typing import TYPE_CHECKING, Any

from mix.plan import share
from train.extension import Extension

if TYPE_CHECKING:
    from pipelines.config import Pipeline
    from train.settings import Settings
    from train.trainer import ContinuedTrainer

STOP = "pilot_stop"
"""Event of the journal that ends an arm."""
STOP_AT = 2.0
"""Bounds that general bits per byte may rise by before an arm is stopped: a rise while the learning rate is high goes
back in part as it comes down, so an arm is not given up at the bound itself."""
WINDOW = 5
"""Steps whose median loss is looked at: a bad batch or two do not count."""
SPIKE = 0.1
"""Share that this median may be above the lowest one before it."""


class Stopped(Exception):
    """The arm has ended early; the journal says why."""


class PilotWatch(Extension):
    """Sets the arm's shares at step 0 and ends it where it goes wrong."""

    name = "pilot"

    def __init__(self, pipeline: "Pipeline"):
        domain, replay = share(pipeline.mix.domain), share(pipeline.mix.replay)
        self._shares = {"domain": str(domain), "replay": str(replay)}
        self._bound = pipeline.pilot.bound
        self._losses: list[float] = []
        self._general: float | None = None
        self._ended = False

    def begin(self, trainer: "ContinuedTrainer") -> None:
        """Before the first row is asked for."""
        if trainer.step == 0:
            trainer.decide("ratio", shares=self._shares)

    def add_gradients(self, trainer: "ContinuedTrainer") -> None:
        """The step after the one that ended it: now that one's lines are written."""
        if self._ended:
            raise Stopped

    def allows_update(self, trainer: "ContinuedTrainer", loss: float, norm: float) -> bool:
        """Ends the arm at once where there is nothing left to train."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            trainer.decide(STOP, why="the loss or the gradient norm is not a finite number", bound=self._bound)
            raise Stopped
        return True

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Looks for a spike."""
        self._losses.append(figures["loss"])
        above = spike(self._losses)
        if above > SPIKE:
            why = f"the loss is {above:.0%} above its lowest (medians of {WINDOW} steps)"
            trainer.decide(STOP, why=why, bound=self._bound)

    def finish_evaluation(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Looks at general text, but at the last step, where there is nothing left to stop."""
        general = figures["general_bits_per_byte"]
        if self._general is None or trainer.step == 0:
            self._general = general
        rise = 100 * (general / self._general - 1)
        if rise > STOP_AT * self._bound and trainer.step < trainer.config.training.steps:
            why = f"general bits per byte have risen by {rise:.2f} %, more than {STOP_AT:g} x {self._bound:g} %"
            trainer.decide(STOP, why=why, bound=self._bound)

    def apply(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """Of all decisions only its own ends the arm."""
        self._ended = self._ended or event["event"] == STOP

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far."""
        return {"losses": self._losses, "general": self._general}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on looking."""
        self._losses, self._general = state["losses"], state["general"]


def spike(losses: list[float]) -> float:
    """How far the median of the last WINDOW losses is above the lowest such median, as a share of that; 0 at first.

    >>> spike([4.0, 4.0, 4.0, 4.0, 9.0, 4.0])
    0.0
    >>> spike([4.0] * 5 + [5.0] * 3)
    0.25
    """
    medians = [median(losses[end - WINDOW : end]) for end in range(WINDOW, len(losses) + 1)]
    return medians[-1] / min(medians) - 1 if medians else 0.0


def main() -> None:
    """Train the arm to its end, or go on with what a killed one left, unless that one still runs."""
    from curate.files import alone
    from pipelines import config
    from train import settings

    first = os.environ.get("RANK", "0") == "0"
    found = settings.resolve(config.load(sys.argv[1]))
    with alone(found.folder) if first else nullcontext():
        if first:
            settings.remember(found)
        _train(found, first)


def _train(found: "Settings", first: bool) -> None:
    from train.launch import make_ready

    found = make_ready(found, first)
    import torch.distributed as dist

    from train.configure import configure

    configured = configure(found)
    configured.extensions = [*configured.extensions, PilotWatch(found.pipeline)]
    trainer = configured.build()
    try:
        trainer.train()
    except Stopped:
        pass
    except ValueError as error:  # an evaluation's: the update before it has lost the weights
        if "not a finite number" not in str(error):
            raise
        trainer.decide(STOP, why="held-out text has no finite bits per byte", bound=found.pipeline.pilot.bound)
    finally:
        trainer.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    from pipelines import cli

    cli.run(main)
