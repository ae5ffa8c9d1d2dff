"""What takes part in a training step besides torchtitan: penalties, health, loggers, decisions during a run."""

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer


class Extension:
    """One part of a run, asked at each point of a step; by itself it does nothing.

    Every rank has the same extensions and calls them in the same order with the same figures, so what one decides from
    them is decided alike everywhere. State is kept in checkpoints.
    """

    name: ClassVar[str]
    """Name of its state in a checkpoint; unique in a run."""

    def begin(self, trainer: "ContinuedTrainer") -> None:
        """Weights and state are loaded, and no step is made yet; at step 0 they are the base's."""

    def add_gradients(self, trainer: "ContinuedTrainer") -> None:
        """Gradients of the whole global batch are there, not clipped yet: add to those of the local shards."""

    def allows_update(self, trainer: "ContinuedTrainer", loss: float, norm: float) -> bool:
        """Whether the optimizer may use gradients of this norm (before clipping) from a batch of this loss."""
        return True

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """A step is made; `figures` becomes its line in metrics.jsonl and may be added to."""

    def finish_evaluation(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Held-out text was measured after a step; `figures` is what metrics.jsonl has under `eval`."""

    def apply(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """A decision (train/decisions.py) was made, or made again on resume: act on it if it is this one's.

        On resume and after a roll-back all standing decisions up to the loaded step come again, in their order.
        """

    def roll_back(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """The run stands at step event["to"] again, with its weights and state (train/rollback.py).

        What `apply` changed and `state_dict` does not have is forgotten here; standing decisions are applied next.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: JSON types only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take in what `state_dict` gave."""

    def close(self) -> None:
        """The run is over, finished or not."""
