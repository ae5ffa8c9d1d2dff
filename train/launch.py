"""Continue a base model on a run's mixture.

    torchrun -m train.launch                                      the latest run, on this machine's CPU or one GPU
    torchrun --nproc-per-node 8 -m train.launch runs/clinical     eight processes
    torchrun -m train.launch --train.run low_lr --peak-lr 1e-4    a second training run beside the first

The same command again goes on after a kill. SIGTERM and SIGUSR1 (Slurm) end a run after its step, with a checkpoint and
exit status 0 (train/signals.py). Writes train/<run>/ in the run folder: metrics.jsonl, journal.jsonl,
checkpoints/ and export/, a Hugging Face folder.
"""

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from pipelines import cli

if TYPE_CHECKING:
    from train.settings import Settings


def main(argv: list[str] | None = None) -> None:
    """Train, or finish what a killed run left."""
    pipeline, _ = cli.parse("train.launch", __doc__ or "", "train", argv)
    from curate.files import alone
    from pipelines.published import publish_finished
    from train import parallelism, settings

    world, first = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0") == "0"
    try:
        _spin_briefly()
        parallelism.check_device(pipeline.train)
        found = settings.resolve(pipeline)
        layout = parallelism.layout(pipeline.train, world)
        parallelism.check_model(found.architecture, layout, found.plan.seq_len)
        settings.check_batches(pipeline, layout.rows)
    except ValueError:
        if first:
            raise
        raise SystemExit(2) from None  # every process finds the same; the first one says it
    with alone(found.folder) if first else nullcontext():
        if first:
            settings.remember(found)
        export = found.folder / settings.EXPORT
        if export.is_dir():
            if first:
                print(f"{export}: is there, the run is finished after {pipeline.train.steps} steps.")
                publish_finished(pipeline)
            return
        _train(found, str(layout), world, first)
        if first and export.is_dir():
            publish_finished(pipeline)


def _spin_briefly() -> None:
    """Let torch's OpenMP threads sleep after 50 us of waiting for each other; to be called before torch is loaded.

    By default they spin for milliseconds. On a machine with other work that makes two threads wait for each other's
    turn at every operation: 110 tokens/s against 2,300 with this (2 cores, load 7).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _train(found: "Settings", layout: str, world: int, first: bool) -> None:
    found = make_ready(found, first)
    import torch.distributed as dist

    from train import platform, settings
    from train.configure import configure
    from train.export import export

    if first:
        show(found, platform.describe_device(world), layout, world)
    trainer = configure(found).build()
    try:
        whole = trainer.train()
    finally:
        trainer.close()
    dist.destroy_process_group()
    if whole and first:
        print(f"exported to {export(found, trainer.step, found.folder / settings.EXPORT)}")


def make_ready(found: "Settings", first: bool) -> "Settings":
    """Bring the processes together, where they are not, and give the base model rows for new tokens: the settings."""
    _spin_briefly()
    import dataclasses

    import torch.distributed as dist

    from train import architecture, platform

    platform.prepare_process()
    from train.configure import meet

    if not dist.is_initialized():
        meet()
    if not found.needs_resizing:
        return found
    if first and not found.initial.is_dir():
        from tokenization.embed import resize

        rows = found.pipeline.tokenizer.new_rows
        text = sorted((found.pipeline.folder / "documents" / "domain").glob("*/*.parquet"))
        resize(found.base, found.tokenizer, found.initial, method=rows, text=text if rows == "focus" else [])
    dist.barrier()
    return dataclasses.replace(found, weights=found.initial, architecture=architecture.read(found.initial))


def show(found: "Settings", devices: str, layout: str, world: int) -> None:
    """Print what is about to happen."""
    from rich.console import Console
    from rich.table import Table

    from train import anchor, lora
    from train.checkpoints import async_mode
    from train.keys.phases import in_turn
    from train.settings import newest_step

    train, shape = found.pipeline.train, found.architecture
    kind = f"{'DoRA' if train.dora else 'LoRA'}, rank {train.lora_rank}" if train.lora_rank else "all weights"
    rows = train.steps * train.global_batch
    begun, rates = newest_step(found.folder), [("learning rate", train.describe())]
    if phases := found.pipeline.phases:
        named = zip(phases, in_turn(train, phases), strict=True)
        rates = [(f"phase {phase.name}", f"{phase.steps:,} steps, {keys.describe()}") for phase, keys in named]
    rows_of_new = f"{found.new_tokens:,} (rows: {found.pipeline.tokenizer.new_rows})"
    lines: list[tuple[str, Any]] = [
        ("training run", found.folder),
        ("base model", f"{found.pipeline.model} ({shape.kind}, {shape.parameters:,} parameters)"),
        ("weights", "random" if found.weights is None else found.weights),
        ("new tokens", rows_of_new if found.needs_resizing else None),
        ("learning", f"{lora.trained_parameters(shape, train, found.new_tokens):,} parameters ({kind})"),
        ("optimizer state", f"of the checkpoint at step {begun}" if begun else "fresh optimizer state"),
        ("steps", f"{train.steps:,} of {train.global_batch} x {found.plan.seq_len} tokens"),
        ("tokens", f"{rows * found.plan.seq_len:,}"),
        *rates,
        ("checkpoints", train.describe_checkpoints(async_mode(train.async_checkpoints) == "async")),
        ("precision", train.dtype),
        ("held to the base", anchor.cost(found, world // train.data_parallel_replicate)),
        ("devices", devices),
        ("parallelism", layout if world > 1 else None),
    ]
    table = Table(title="resume" if begun else "train", show_header=False, title_justify="left")
    for name, value in lines:
        if value is not None:
            table.add_row(name, str(value))
    Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    cli.run(main)
