"""What a person sees of a run: a bar with the time left on a terminal, a line every ten steps elsewhere."""

import os
from types import TracebackType
from typing import Any

from rich import progress
from rich.console import Console

EVERY = 10
"""Steps between lines where there is no terminal."""


class Progress:
    """Shows steps as they are made; silent on all ranks but the first."""

    def __init__(self, steps: int):
        self._steps = steps
        self._console = Console(quiet=os.environ.get("RANK", "0") != "0", highlight=False, soft_wrap=True)
        self._bar = progress.Progress(
            progress.TextColumn("step {task.completed}/{task.total}"),
            progress.BarColumn(),
            progress.TextColumn("{task.description}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, step: int) -> None:
        """Stand at `step`, 0 or where a checkpoint was made."""
        self._bar.update(self._task, completed=step)

    def step(self, figures: dict[str, Any]) -> None:
        """A step was made; `figures` is its line in metrics.jsonl."""
        text = f"loss {figures['loss']:.4f}  lr {figures['lr']:.2e}  {figures['tokens_per_second']:,.0f} tokens/s"
        self._bar.update(self._task, completed=figures["step"], description=text)
        if self._bar.disable and (figures["step"] % EVERY == 0 or figures["step"] == self._steps):
            norm, share = figures["grad_norm"], figures["domain_share"]
            self._console.print(
                f"step {figures['step']}/{self._steps}  {text}  gradient norm {norm:.3f}  domain share {share:.2f}"
            )

    def roll_back(self, event: dict[str, Any]) -> None:
        """The run went back to an earlier checkpoint."""
        self.begin(event["to"])
        self._console.print(
            f"step {event['step']}/{self._steps}  rolled back to step {event['to']}, "
            f"to go on with row {event['first_row']:,}"
        )

    def interrupt(self, step: int, signal: str) -> None:
        """A signal ended the run."""
        self._console.print(f"step {step}/{self._steps}  saved after {signal}; the same command goes on from here")

    def evaluation(self, step: int, figures: dict[str, float]) -> None:
        """Held-out text was measured."""
        values = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
        self._console.print(f"step {step}/{self._steps}  {values}")
