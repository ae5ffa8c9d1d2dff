"""Whether a run is well: losses and gradients that are no numbers, spikes, spikes that stay; and what is done then.

A spike is what mix.spikes calls one, so `mix.trace --spike` finds the same steps. It has recovered when the figure is
back below the threshold that it broke. A step with findings gets one event of the journal, named by the action that the
keys choose (train/keys/health.py): `warn`, `skip`, `learning_rate`, `roll_back` or `stopped`, with `by: health`,
`found` (kind non_finite, spike or unrecovered, its action, its figures) and the ids of the step's documents in the
order of its batch. Where two things are found, the stronger action is taken.

Everything is judged from figures that are equal on all ranks, and a resumed run takes what was decided from the
journal. Other keys may be given to a resumed run: they hold for steps that are not decided yet.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch.distributed as dist

from mix import spikes
from mix.spikes import FIGURES, Spike
from train.extension import Extension
from train.keys.health import HealthKeys

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer

MOST_SKIPPED = 10
"""Batches in a row without a finite loss after which it is not the data: a batch that is skipped changes no weight."""
_ACTIONS = {"warn": "warn", "skip": "skip", "halve_lr": "learning_rate", "roll_back": "roll_back", "stop": "stopped"}
"""Action -> its event in the journal, weakest first."""
_NAMED = 5
"""Documents that an error names; the journal has all."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong at a step."""

    kind: str
    """non_finite, spike or unrecovered"""
    action: str
    since: int
    """Step at which it began."""
    told: str
    """In words, for an error."""
    figures: dict[str, dict[str, Any]]
    """Figure -> its value and what it was compared with."""


class Health(Extension):
    """Judges every step. Keeps the window of figures and the spikes that have not recovered in checkpoints.

    It comes first of the extensions: where it stops the run, nothing else is decided at the step.
    """

    name = "health"

    def __init__(self, keys: HealthKeys):
        self._keys = keys
        self._window: dict[str, list[float | None]] = {figure: [] for figure in FIGURES}
        self._open: dict[str, dict[str, float]] = {}
        """Figure -> step of its spike, and the value below which it has recovered."""
        self._skipped = 0
        self._step: dict[str, float] = {}
        self._found: list[Finding] = []

    def allows_update(self, trainer: "ContinuedTrainer", loss: float, norm: float) -> bool:
        """Judge loss and gradient norm; no update where the action is to skip the batch."""
        self._step = {"loss": loss, "grad_norm": norm}
        if trainer.decisions.settled(trainer.step, self.name):
            mine = [event for event in trainer.decisions.at(trainer.step) if event.get("by") == self.name]
            return all(found["action"] != "skip" for event in mine for found in event["found"])
        self._found = self._judge(trainer.step)
        return all(finding.action != "skip" for finding in self._found)

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Act on what was found, then take the step's figures into the window."""
        finite = all(map(math.isfinite, self._step.values()))
        self._skipped = 0 if finite else self._skipped + 1
        if self._found and not trainer.decisions.settled(trainer.step, self.name):
            self._act(trainer)
        for figure, value in self._step.items():
            kept = [*self._window[figure], value if math.isfinite(value) else None]
            self._window[figure] = kept[-self._keys.spike_window :]
            if figure in self._open and value <= self._open[figure]["below"]:
                del self._open[figure]

    def apply(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """Know which spikes have not recovered; begin a new window where the mixture changes, and losses with it."""
        if event["step"] != trainer.step:
            return  # its effect came with the checkpoint
        for found in event["found"] if event.get("by") == self.name else []:
            for figure, of in found["figures"].items():
                if found["kind"] == "spike" and found["action"] != "skip":
                    self._open[figure] = {"step": trainer.step, "below": of["below"]}
                if found["kind"] == "unrecovered":
                    self._open.pop(figure, None)
        if event["event"] == "ratio":
            self._window, self._open = {figure: [] for figure in FIGURES}, {}

    def state_dict(self) -> dict[str, Any]:
        """The window, open spikes, batches skipped in a row."""
        return {"window": self._window, "open": self._open, "skipped": self._skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Those of the checkpoint."""
        self._window, self._open, self._skipped = state["window"], state["open"], state["skipped"]

    def _judge(self, step: int) -> list[Finding]:
        """What is wrong with the figures of this step."""
        keys = self._keys
        bad = [figure for figure, value in self._step.items() if not math.isfinite(value)]
        if bad:
            told = f"the {_NAMES[bad[0]]} is not a finite number"
            action: str = keys.on_non_finite
            if self._skipped + 1 >= MOST_SKIPPED:
                action, told = "stop", f"{told} for the {MOST_SKIPPED}th time in a row"
            return [Finding("non_finite", action, step, told, {one: {"value": str(self._step[one])} for one in bad})]
        found = self._spikes(step)
        late = {figure: spike for figure, spike in self._open.items() if self._is_late(figure, step)}
        if late:
            since = int(min(spike["step"] for spike in late.values()))
            names = " and ".join(_NAMES[figure] for figure in late)
            told = f"the {names} spiked at step {since} and has not recovered within {keys.recover_within} steps"
            figures = {figure: {"value": self._step[figure], **spike} for figure, spike in late.items()}
            found.append(Finding("unrecovered", keys.on_unrecovered, since, told, figures))
        return found

    def _spikes(self, step: int) -> list[Finding]:
        keys, found = self._keys, list[Spike]()
        for figure in FIGURES:
            values = [*self._window[figure], self._step[figure]]
            spike = spikes.last(step, figure, values, keys.spike_threshold, keys.spike_window)
            if spike and (figure not in self._open or keys.on_spike == "skip"):
                found.append(spike)
        if not found:
            return []
        told = " and ".join(
            f"the {_NAMES[one.figure]} is {one.value:.4g}, {one.score:.1f} robust deviations above {one.median:.4g}"
            for one in found
        )
        return [Finding("spike", keys.on_spike, step, told, {one.figure: self._described(one) for one in found})]

    def _described(self, spike: Spike) -> dict[str, float]:
        below = spike.median + self._keys.spike_threshold * (spike.value - spike.median) / spike.score
        return {"value": spike.value, "median": spike.median, "score": spike.score, "below": below}

    def _is_late(self, figure: str, step: int) -> bool:
        spike = self._open[figure]
        return step - spike["step"] >= self._keys.recover_within and self._step[figure] > spike["below"]

    def _act(self, trainer: "ContinuedTrainer") -> None:
        """Do what the keys say."""
        worst = max(self._found, key=lambda finding: list(_ACTIONS).index(finding.action))
        found = [{"kind": one.kind, "action": one.action, "figures": one.figures} for one in self._found]
        details = {"by": self.name, "found": found, **_documents(trainer)}
        used_up = worst.action == "roll_back" and trainer.decisions.roll_backs >= self._keys.most_roll_backs
        if worst.action == "stop" or used_up:
            self._stop(trainer, worst, details)
        if worst.action == "roll_back":
            details["to"] = max(0, min(one.since for one in self._found) - self._keys.roll_back_steps)
        if worst.action == "halve_lr":
            details["multiplier"] = trainer.lr_schedulers.multiplier(trainer.step + 1) / 2
        trainer.decide(_ACTIONS[worst.action], **details)

    def _stop(self, trainer: "ContinuedTrainer", finding: Finding, details: dict[str, Any]) -> NoReturn:
        if trainer.first_rank:
            trainer.records.event("stopped", trainer.step, **details)
        after = f" after {trainer.decisions.roll_backs} roll-backs" if finding.action == "roll_back" else ""
        ids = details["documents"] or []
        named = ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
        key = "peak_lr" if finding.kind == "non_finite" else f"on_{finding.kind}"
        raise ValueError(
            f"train.{key}: {finding.told} at step {trainer.step}, so the run stops{after}; the checkpoints before are "
            f"good. Documents of the step: {named or details['why']}. The journal has all ids, {_trace(trainer)} shows "
            f"their text. Go on with another train.on_{finding.kind}, or start again under another --train.run with a "
            "lower train.peak_lr or more train.warmup_steps."
        )


_NAMES = {"loss": "loss", "grad_norm": "gradient norm"}


def _trace(trainer: "ContinuedTrainer") -> str:
    folder = Path(trainer.config.dump_folder)
    return f"`python -m mix.trace {trainer.config.run} --train {folder.name} --step {trainer.step}`"


def _documents(trainer: "ContinuedTrainer") -> dict[str, Any]:
    """Ids of the step's documents in the order of its batch, each once, on every rank; null and why not where they
    cannot be read: a report must not end a run."""
    found: list[dict[str, Any]] = [{}]
    if trainer.first_rank:
        from mix.trace_source import trace_rows

        rows = trainer.config.training.global_batch_size
        plan = trainer.dataloader.source.plan
        try:
            segments = trace_rows(Path(trainer.config.run), plan, trainer.dataloader.rows - rows, rows)
            found = [{"documents": segments["id"].unique(maintain_order=True).to_list()}]
        except (ValueError, OSError) as error:
            found = [{"documents": None, "why": str(error)}]
    if dist.get_world_size() > 1:
        dist.broadcast_object_list(found)
    return found[0]
