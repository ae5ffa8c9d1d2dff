"""The documents behind any training step, and back: `python -m mix.trace [RUN] --step 1200`.

    python -m mix.trace --step 1200 [--rank 3 --world 8]     what each row of the step's batch is made of
    python -m mix.trace --step 1200 --worst 10               the 10 segments the exported model finds hardest
    python -m mix.trace --document notes/17 [--until 5000]   every step, row and epoch a document is seen in
    python -m mix.trace --spike                              loss and gradient spikes, and the documents around them

Nothing is looked up in a log: a step's rows follow from mixture.json, and the documents in them from the packed shards.
Where a training run is there (--train NAME; by default train.run, or the only one), rows a step, changes of the ratio
and rows skipped by roll-backs are those it was made with; before there is one, they are the pipeline's. Steps that were
rolled back are not shown: the journal has the documents of the step that was the reason. `--json` writes all of it for
machines.
"""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mix import journal
from pipelines import cli

if TYPE_CHECKING:
    import polars as pl

    from mix.plan import Plan
    from mix.spikes import Spike
    from pipelines.config import Pipeline

_PLACE = ("rank", "row", "position", "pool", "source", "epoch", "source_row")


@dataclass(frozen=True)
class Run:
    """What decides which documents a step has."""

    folder: Path
    plan: "Plan"
    global_batch: int
    """Rows of a step over all ranks."""
    steps: int
    """Steps of the training budget."""
    rows: journal.Rows
    """Which rows each step has."""
    training: Path | None = None
    """Folder of the training run; None before there is one."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("mix.trace", __doc__ or "", "train", argv, _options)
    _check(options)
    run = open_run(pipeline, options.train)
    from mix import trace_show

    if options.document is not None:
        found = trace_document(run, options.document, options.until, options.world)
        until = run.steps if options.until is None else options.until
        trace_show.document(run, options.document, until, found, options.json)
    elif options.spike:
        spikes, steps = find_spikes(run, options.threshold, options.window, options.around)
        trace_show.spikes(run, spikes, [(step, _step(run, step, options)) for step in steps], options.json)
    else:
        trace_show.step(run, options.step, _step(run, options.step, options), options.json)


def open_run(pipeline: "Pipeline", train: str | None = None) -> Run:
    """The run of a pipeline with its mixture, and the training run `train`, or the one that there is.

    Changes of the ratio that the training run's journal has are made to the plan. Raises ValueError where there is no
    mixture, no such training run, or the training run was made with another plan.
    """
    from curate.files import read_object
    from mix.journal import read_lines
    from mix.plan_file import read_plan

    plan = read_plan(pipeline.folder / "mixture.json")
    training = _training(pipeline, train)
    if training is None:
        batch = pipeline.train.global_batch
        return Run(pipeline.folder, plan, batch, pipeline.train.steps, journal.rows([], batch))
    kinds = {"mixture.json": str, "train.global_batch": int, "train.steps": int}
    made_with = read_object(training / "config.json", **kinds)
    if made_with["mixture.json"] != plan.identity:
        raise ValueError(
            f"{training}: was trained on plan {made_with['mixture.json']}, but {pipeline.folder / 'mixture.json'} is "
            f"plan {plan.identity}, so its steps had other rows. Restore that mixture.json, or name a training run of "
            "this plan with --train."
        )
    path = training / "journal.jsonl"
    events = read_lines(path) if path.exists() else []
    for event in journal.standing(events):
        if event["event"] == "ratio":
            plan = plan.with_change(event["first_row"], event["shares"])
    batch = made_with["train.global_batch"]
    return Run(pipeline.folder, plan, batch, made_with["train.steps"], journal.rows(events, batch), training)


def trace_step(run: Run, step: int, rank: int | None = None, world: int = 1) -> "pl.DataFrame":
    """The segments of step `step` (from 1 on), those of `rank` of `world` ranks or of the whole global batch.

    One line a segment, in the order of the batch; padding is left out:

    - rank, row: the rank that has it, and the row in the global batch
    - position: the row's global position; epoch: how often the source was used up before; source_row: row of the source
    - pool, source, id, origin: the document; origin ("file#record") is null where documents/ is not there any more
    - segment: segment of the row; begin: its first token in the row
    - first_token, tokens: the segment's tokens within the document; document_tokens: all the document has
    - text: how the segment begins, decoded from its tokens

    Raises ValueError where there is no such step or rank.
    """
    import polars as pl

    from mix.trace_source import trace_rows

    first, count = _slice(run, step, rank, world)
    row = pl.col("position") - run.rows.first(step)
    return (
        trace_rows(run.folder, run.plan, first, count)
        .with_columns(row.alias("row"), (row // (run.global_batch // world)).alias("rank"))
        .select(*_PLACE, "id", "origin", "segment", "begin", "first_token", "tokens", "document_tokens", "text")
    )


def trace_document(run: Run, identifier: str, until: int | None = None, world: int = 1) -> "pl.DataFrame":
    """Every time the document is seen up to and with step `until` (default: the training budget's last), in order.

    One line a segment: step, rank (of `world`), row in the global batch, position, pool, source, epoch, source_row,
    first_token, tokens, document_tokens. A document that is cut has several segments; it may be that none is reached.
    Rows that a roll-back skipped are left out. Raises ValueError where nothing that is packed has this id.
    """
    import polars as pl

    from mix.trace_source import find, pieces

    last = run.steps if until is None else until
    _check_world(run, world)
    if last < 1:
        raise ValueError(f"--until: {last} is not a step; the first is 1.")
    seen = []
    for index, doc_row, document_tokens in find(run.folder, run.plan, identifier):
        pool, source = run.plan.sources[index]
        for source_row, first_token, tokens in pieces(run.folder, run.plan, index, doc_row):
            for position in run.plan.places(index, source_row, run.rows.first(last + 1)):
                step = run.rows.step(position)
                if step is None:
                    continue
                row = position - run.rows.first(step)
                epoch = int(run.plan.rows(position, 1).epoch[0])
                place = (row // (run.global_batch // world), row, position, pool.name, source.name, epoch, source_row)
                seen.append((step, *place, first_token, tokens, document_tokens))
    names = ("step", *_PLACE, "first_token", "tokens", "document_tokens")
    schema = {name: pl.String if name in ("pool", "source") else pl.Int64 for name in names}
    return pl.DataFrame(seen, schema=schema, orient="row").sort("position", "first_token")


def find_spikes(run: Run, threshold: float, window: int, around: int) -> "tuple[list[Spike], list[int]]":
    """The spikes of the run's training run, and the steps at most `around` steps from one, each once.

    Raises ValueError where there is no training run, or its metrics count rows otherwise than it says.
    """
    from mix.journal import read_lines
    from mix.spikes import spikes

    if run.training is None:
        raise ValueError(
            f"{run.folder / 'train'}: there is no training run, so there are no losses to find spikes in. "
            f"Train first: torchrun -m train.launch {run.folder}"
        )
    if around < 0:
        raise ValueError(f"--around: {around} is below 0. Use 0 for the step of the spike alone.")
    path = run.training / "metrics.jsonl"
    lines = [line for line in read_lines(path) if "loss" in line]
    for line in lines:
        rows = run.rows.first(line["step"]) + run.global_batch
        if line["rows"] != rows:
            raise ValueError(
                f"{path}: says {line['rows']} rows at step {line['step']}, but steps of {run.global_batch} rows make "
                f"{rows} with the roll-backs of its journal, so its steps cannot be traced. The file is of another run."
            )
    found = spikes(lines, threshold, window)
    last = lines[-1]["step"] if lines else 0
    near = {step for spike in found for step in range(spike.step - around, spike.step + around + 1)}
    return found, sorted(step for step in near if 1 <= step <= last)


def _step(run: Run, step: int, options: Namespace) -> "pl.DataFrame":
    """The segments of a step as the command line wants them."""
    frame = trace_step(run, step, options.rank, options.world)
    if options.worst is None:
        return frame
    from mix.trace_score import bits_per_byte

    return bits_per_byte(run, step, frame).sort("bits_per_byte", descending=True, nulls_last=True).head(options.worst)


def _training(pipeline: "Pipeline", name: str | None) -> Path | None:
    """Folder of the training run that is meant; None where there is none at all."""
    folder = pipeline.folder / "train"
    names = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if name is None and pipeline.train.run not in names and len(names) < 2:
        return folder / names[0] if names else None
    wanted = name or pipeline.train.run
    if wanted not in names:
        raise ValueError(
            f"{folder}: there is no training run {wanted!r}, so its steps are not known. There is: "
            f"{', '.join(names) or 'none'}. Name one with --train."
        )
    return folder / wanted


def _slice(run: Run, step: int, rank: int | None, world: int) -> tuple[int, int]:
    """The first global position of a step, or of a rank's part of it, and how many rows it has."""
    _check_world(run, world)
    if not 1 <= step <= run.steps:
        raise ValueError(f"--step: {step} is not a step of this run; they are 1 to {run.steps:,} (train.steps).")
    first = run.rows.first(step)
    if rank is None:
        return first, run.global_batch
    if not 0 <= rank < world:
        raise ValueError(f"--rank: {rank} is not one of {world} ranks, 0 to {world - 1}. Say how many with --world.")
    rows = run.global_batch // world
    return first + rank * rows, rows


def _check_world(run: Run, world: int) -> None:
    if world < 1 or run.global_batch % world:
        raise ValueError(
            f"--world: the {run.global_batch} rows of a step cannot be shared equally by {world} ranks. "
            f"Give a divisor of {run.global_batch}."
        )


def _check(options: Namespace) -> None:
    """Refuse options that say nothing together."""
    given = {"step": options.step is not None, "document": options.document is not None, "spike": options.spike}
    asked = [name for name, is_given in given.items() if is_given]
    if len(asked) != 1:
        raise ValueError(
            f"mix.trace: {' and '.join(f'--{name}' for name in asked) or 'no question'} given. Give one of "
            "--step N, --document ID, --spike."
        )
    if options.worst is not None and (options.worst < 1 or options.document is not None):
        raise ValueError(f"--worst: {options.worst} cannot be used here. Give 1 or more, with --step or --spike.")


def _options(parser: ArgumentParser) -> None:
    from mix.spikes import THRESHOLD, WINDOW

    add = parser.add_argument
    add("--step", type=int, metavar="N", help="documents of this step, counted from 1")
    add("--rank", type=int, metavar="R", help="only the rows of this rank of --world")
    add("--world", type=int, default=1, metavar="W", help="ranks that share a step (default 1)")
    add("--worst", type=int, metavar="K", help="only the K segments with the most bits per byte")
    add("--document", metavar="ID", help="steps at which this document is seen")
    add("--until", type=int, metavar="STEP", help="last step looked at for --document (default train.steps)")
    add("--spike", action="store_true", help="loss and gradient spikes of a training run, and their documents")
    add("--threshold", type=float, default=THRESHOLD, metavar="Z", help=f"robust deviations (default {THRESHOLD:g})")
    add("--window", type=int, default=WINDOW, metavar="STEPS", help=f"steps compared with (default {WINDOW})")
    add("--around", type=int, default=1, metavar="STEPS", help="steps shown before and after a spike (default 1)")
    add("--train", metavar="NAME", help="training run (default train.run, or the only one)")
    add("--json", action="store_true", help="print JSON")


if __name__ == "__main__":
    cli.run(main)
