"""Keys of the controller (eval/controller.py) and of selection (eval/select.py)."""

from typing import Literal

from pydantic import Field

from pipelines.section import Section


class ControllerKeys(Section):
    """What is done about forgetting while a model trains."""

    controller: Literal["none", "raise_replay", "lower_learning_rate", "ewc", "stop"] = "none"
    """What is done when general text or a general task is past its threshold (eval.thresholds): raise_replay by
    controller_replay_step; lower_learning_rate by controller_learning_rate; ewc sets its strength to controller_ewc;
    stop ends the training run. It judges every evaluation during training. none turns the controller off, the other
    way (controller_lower_replay) too."""
    controller_roll_back: bool = False
    """Before that, go back to the newest checkpoint of an evaluation within the thresholds; false stays where it is."""
    controller_replay_step: float = Field(0.1, gt=0, le=1)
    """raise_replay: added to the replay share each time."""
    controller_replay_cap: float = Field(0.5, ge=0, le=1)
    """raise_replay: the replay share is not raised above this."""
    controller_learning_rate: float = Field(0.5, gt=0, lt=1)
    """lower_learning_rate: the schedule's rates are multiplied with this each time."""
    controller_ewc: float = Field(1000.0, gt=0)
    """ewc: strength of elastic weight consolidation from then on, as train.ewc."""
    controller_clear: float = Field(0.8, gt=0, le=1)
    """Hysteresis: a breach is over when everything is below this share of its threshold; until then the controller goes
    on acting. 1 turns it off."""
    controller_cooldown: int = Field(100, ge=0)
    """Steps after an intervention in which there is no other; 0 acts at every evaluation."""
    controller_most: int = Field(5, ge=1)
    """Most interventions in a training run, both ways together."""
    controller_lower_replay: float = Field(0.0, ge=0, le=1)
    """The other way: taken off the replay share when the domain has not improved for controller_patience evaluations
    and everything general is below controller_clear of its threshold; 0 turns it off."""
    controller_replay_floor: float = Field(0.0, ge=0, le=1)
    """controller_lower_replay: the replay share is not lowered below this."""
    controller_patience: int = Field(3, ge=1)
    """controller_lower_replay: evaluations without a new lowest domain_bits_per_byte."""


class SelectionKeys(Section):
    """How checkpoints are chosen (eval/select.py)."""

    select_weight: float = Field(1.0, ge=0)
    """What a percent that general bits per byte rose takes off a percent that domain bits per byte fell, in the score;
    0 leaves what was forgotten out of it."""
