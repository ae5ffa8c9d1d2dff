"""Staged unfreezing: some weights begin to learn later than others.

Howard and Ruder 2018 (arXiv 1801.06146, section 3.3) unfreeze from the last layer down, against forgetting. Rows of new
tokens first is what vocabulary extension is mostly done with: beside rows that are still far off, the gradients of all
others are those of a model that reads wrongly.
"""

from typing import TYPE_CHECKING

import torch

import train.platform  # noqa: F401  (before torchtitan)
from train.extension import Extension
from train.groups import WITH_TOKEN_ROWS, find, frozen, local, local_rows, parameters
from train.keys.methods import MethodKeys

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer


class Unfreezing(Extension):
    """Takes gradients away from what does not learn yet.

    A tensor that waits gets no gradient at all, so Adam passes it over; its moments and step count begin when it does.
    Of a tensor with new rows, the gradients of the others are made zero: without weight decay (train/groups.py) Adam
    leaves those rows as they are. They begin with the step count of their tensor: their first updates are at most 1.1
    times what they would be with one of their own.

    It must be the last one to add gradients.
    """

    name = "unfreezing"

    def __init__(self, waits: dict[str, int], new_rows_first: int, new_rows: range):
        """`waits`: tensor -> steps before it learns; `new_rows` alone learn in the first `new_rows_first` steps."""
        self._waits, self._new_rows_first, self._new_rows = waits, new_rows_first, new_rows

    def begin(self, trainer: "ContinuedTrainer") -> None:
        """Make the moments of all tensors: a checkpoint must hold those of waiting ones too.

        torchtitan makes them by an update with a rate of 0, which counts as a step.
        """
        if trainer.step:
            return
        trainer.optimizers.state_dict()
        for one in trainer.optimizers:
            for state in one.state.values():
                state["step"].zero_()

    @torch.no_grad()
    def add_gradients(self, trainer: "ContinuedTrainer") -> None:
        """Take away what does not learn at this step."""
        for name, parameter in parameters(trainer.model_parts):
            if trainer.step > max(self._waits.get(name, 0), self._new_rows_first):
                continue
            if self._new_rows_first and name in WITH_TOKEN_ROWS:
                assert parameter.grad is not None
                gradient, rows = local(parameter.grad), local_rows(parameter, self._new_rows)
                gradient[: rows.start].zero_()
                gradient[rows.stop :].zero_()
            else:
                parameter.grad = None


def unfreezing(keys: MethodKeys, names: list[str], new_rows: range, steps: int) -> list[Extension]:
    """The extension for `unfreeze_after` and `new_rows_first` in a run of `steps` steps; empty where both are off.

    `names`: tensors of the model (train.groups.sizes); `new_rows`: ids of the new tokens. Raises ValueError naming the
    key that cannot be followed.
    """
    waits: dict[str, int] = {}
    learning = set(names) - frozen(keys, names)
    for group, wait in keys.unfreeze_after.items():
        found = learning.intersection(find("unfreeze_after", group, names))
        if not found:
            raise ValueError(
                f"train.unfreeze_after: {group} is frozen by train.freeze, so it never learns. Take it out of one of "
                "the two."
            )
        waits |= {name: max(wait, waits.get(name, 0)) for name in found}
    if any(wait >= steps for wait in waits.values()):
        raise ValueError(
            f"train.unfreeze_after: {max(waits.values())} is not below train.steps ({steps}), so some weights would "
            "never learn. Lower it, or put them into train.freeze."
        )
    if keys.new_rows_first:
        _check_new_rows(keys.new_rows_first, learning, new_rows, steps)
    elif learning and learning.issubset(waits):
        raise ValueError(
            f"train.unfreeze_after: nothing would learn in the first {min(waits.values())} steps. Leave out what "
            "learns from the first step on."
        )
    if not waits and not keys.new_rows_first:
        return []
    return [Unfreezing(waits, keys.new_rows_first, new_rows)]


def _check_new_rows(first: int, learning: set[str], new_rows: range, steps: int) -> None:
    if not new_rows:
        raise ValueError(
            "train.new_rows_first: the tokenizer has no tokens that the base lacks, so there are no rows to train "
            "first. Set it to 0, or extend the tokenizer (tokenizer.new_tokens)."
        )
    if first > steps:
        raise ValueError(
            f"train.new_rows_first: {first} is more than train.steps ({steps}). Set it to a part of them, or to all of "
            "them to train nothing but the new rows."
        )
    if not learning.intersection(WITH_TOKEN_ROWS):
        raise ValueError(
            "train.new_rows_first: neither the input embedding nor the output head is trained, so their new rows "
            "cannot be. Set it to 0, or take embeddings (or head) out of train.freeze. (With train.lora_rank new rows "
            "are parameters of their own: give them a rate with train.lr_groups, '*new_rows'.)"
        )
