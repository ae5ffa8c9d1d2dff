"""Going back to an earlier checkpoint within a run, past the rows that led away from it.

Any extension may ask for it: `trainer.decide("roll_back", to=step, ...)`. The newest checkpoint at or before that step
whose files are whole is taken. At the end of the step, in the same processes:

1. The event {"event": "roll_back", "step": s, "to": t, "first_row": r} is in journal.jsonl before anything changes.
2. Lines of metrics.jsonl after step t go to metrics.rolled_back.jsonl, each with `roll_back`, the number of the
   roll-back from 1 on, so that metrics.jsonl has each step once, as the weights were made. Checkpoints after t are
   removed. The event `rolled_back` says that this is done; a killed run does it when it is started again.
3. Weights, optimizer, learning rate and extensions take the state of checkpoint t, decisions after t are void, and
   step t + 1 is made with the rows from r on, past those of steps t + 1 to s (as for PaLM, whose spikes did not come
   again on other data: Chowdhery et al. 2022, arXiv 2204.02311, section 5.1).

A schedule of the mixture's ratio counts rows, so after a roll-back it is ahead of the steps by those that were skipped.
The rest of the run is the same whether it was killed after the roll-back or not.
"""

from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from mix.journal import ROLL_BACK

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer


def plan(trainer: "ContinuedTrainer", wanted: int) -> dict[str, int]:
    """Details of the event: the checkpoint that is gone back to, and the row that is gone on with.

    Every rank must call it. Raises ValueError where no checkpoint is as old as step `wanted`.
    """
    step = trainer.checkpointer.newest(wanted)
    if step < 1:
        raise ValueError(
            f"train.checkpoint_every: a roll-back at step {trainer.step} to step {wanted} or before finds no "
            f"checkpoint in {trainer.checkpointer.folder}. Start again under another --train.run with a lower "
            "train.checkpoint_every, more train.keep_checkpoints, or another action than roll_back."
        )
    return {"to": step, "first_row": trainer.dataloader.rows}


def clean(trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
    """Put the run's files where the roll-back leads; doing it twice does nothing more. Every rank must call it."""
    if trainer.first_rank:
        trainer.records.set_apart(event["to"], trainer.decisions.roll_backs)
    trainer.checkpointer.discard_after(event["to"])
    if trainer.first_rank:
        trainer.records.event("rolled_back", event["to"])
    dist.barrier()


def carry_out(trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
    """Go back as the event says. Every rank must call it, at the end of a step."""
    assert event["event"] == ROLL_BACK
    clean(trainer, event)
    trainer.checkpointer.load(step=event["to"])
    assert trainer.step == event["to"]
    for extension in trainer.extensions:
        extension.roll_back(trainer, event)
    trainer.stand()
