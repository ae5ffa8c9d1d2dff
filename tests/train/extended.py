"""A training run with an extension that tests look at: `python -m tests.train.extended RUN [--train.run NAME ...]`.

It adds to one gradient at step 2, lets no update happen at step 3, changes the ratio after step 5 and the learning rate
after step 6, and writes what it was asked to <run>/asked.json.
"""

from typing import Any

import torch

from curate.files import write_json
from pipelines import cli
from train import platform, settings
from train.configure import configure, meet
from train.extension import Extension
from train.trainer import ContinuedTrainer


class Probe(Extension):
    """Notes what it is asked; keeps the number of steps it has seen."""

    name = "probe"

    def __init__(self) -> None:
        self.seen = 0
        self.asked: list[list[Any]] = []

    def begin(self, trainer: ContinuedTrainer) -> None:
        self.asked.append(["begin", trainer.step, self.seen])

    def add_gradients(self, trainer: ContinuedTrainer) -> None:
        if trainer.step == 2:
            gradient = first_weight(trainer).grad
            assert gradient is not None
            gradient += 1000.0

    def allows_update(self, trainer: ContinuedTrainer, loss: float, norm: float) -> bool:
        self.before = first_weight(trainer).detach().clone()
        self.asked.append(["update", trainer.step, loss, norm])
        return trainer.step != 3

    def finish_step(self, trainer: ContinuedTrainer, figures: dict[str, Any]) -> None:
        self.seen += 1
        moved = not torch.equal(self.before, first_weight(trainer))
        self.asked.append(["step", trainer.step, figures["loss"], figures["grad_norm"], moved])
        figures["seen"] = self.seen
        if trainer.step == 5:
            trainer.decide("ratio", shares={"domain": "1/2", "replay": "1/2"}, evidence="a test")
        if trainer.step == 6:
            trainer.decide("learning_rate", multiplier=0.5)

    def apply(self, trainer: ContinuedTrainer, event: dict[str, Any]) -> None:
        self.asked.append(["apply", trainer.step, event["event"]])

    def finish_evaluation(self, trainer: ContinuedTrainer, figures: dict[str, Any]) -> None:
        self.asked.append(["evaluation", trainer.step, sorted(figures)])

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "list": [[step] for step in range(self.seen)]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert len(state["list"]) == state["seen"]
        self.seen = state["seen"]


def first_weight(trainer: ContinuedTrainer) -> torch.nn.Parameter:
    """Some weight of the model."""
    (part,) = trainer.model_parts
    return next(part.parameters())


def main() -> None:
    """Train with the probe."""
    pipeline, _ = cli.parse("tests.train.extended", "", "train")
    found = settings.resolve(pipeline)
    settings.remember(found)
    platform.prepare_process()
    meet()
    config = configure(found)
    probe = Probe()
    config.extensions = [probe]
    trainer = config.build()
    trainer.train()
    trainer.close()
    write_json(found.folder / "asked.json", probe.asked)


if __name__ == "__main__":
    main()
