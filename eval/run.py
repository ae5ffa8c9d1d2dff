"""The base and the trained model on all held-out documents and on both tracks' tasks, and whether they differ.

    python -m eval.run [RUN]

Writes <run>/eval/scores.json: `base` and `trained` with the same names, and `difference` with a 95 % interval; a
change whose interval holds 0 is called "no change". `tasks` holds the same for each task, `breaches` what is beyond
eval.thresholds, `contamination` what curation was asked to remove. What each document and item came to stands beside
it, documents-<model>.parquet and items-<model>.parquet. Both models run in fp32 through transformers, each with its
own tokenizer: documents in windows of mix.seq_len tokens, tasks with up to eval.context.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import cli
from pipelines.config import Pipeline

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from eval.held_out import Windows

TOKENS_AT_ONCE = 2048
"""Tokens per forward pass: a small model's activations then stay in a core's cache (16.5k tokens/s and core with the
built-in base model; 14k with twice or half as many)."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, _ = cli.parse("eval.run", __doc__ or "", "eval", argv)
    from rich.console import Console

    from eval import task_scores
    from pipelines.published import publish_finished

    scores = score(pipeline)
    publish_finished(pipeline)
    console = Console()
    console.print(table(scores))
    if scores["tasks"]:
        console.print(task_scores.table(scores))
    for breach in scores["breaches"]:
        console.print(
            f"[bold]beyond its threshold[/bold] {breach['what']}: {breach['base']:.3f} -> {breach['now']:.3f}, "
            f"the limit is {breach['limit']:.3f}"
        )


def score(pipeline: Pipeline) -> dict[str, Any]:
    """Measure both models and write scores.json; returns what it holds."""
    from importlib.metadata import version

    from curate.files import aside, identity, write_json
    from eval import held_out, hugging_face, task_scores
    from eval.statistics import RESAMPLES

    run = pipeline.folder
    export = run / "train" / pipeline.train.run / "export"
    if not (export / "config.json").exists():
        raise ValueError(
            f"{export}: there is no exported model, so there is nothing to compare with the base. "
            f"Train one first: torchrun -m train.launch {run}"
        )
    contamination = task_scores.check_contamination(pipeline)
    documents = held_out.read(run)
    measured: dict[str, pl.DataFrame] = {}
    items: dict[str, pl.DataFrame] = {}
    scores: dict[str, Any] = {"base": None, "trained": None, "difference": None}
    models = _models(pipeline, export)
    for name, folder in models.items():
        model = hugging_face.load(folder)
        windows = held_out.build(documents, folder, pipeline.mix.seq_len)
        measured[name] = _measure(name, model, windows)
        items[name] = task_scores.score(pipeline, model, folder)
        for what, frame in (("documents", measured[name]), ("items", items[name])):
            with aside(run / "eval" / f"{what}-{name}.parquet") as temporary:
                frame.write_parquet(temporary)
    predicted = _predicted_by_all(measured)
    measured = {name: frame.filter(predicted) for name, frame in measured.items()}
    for name, folder in models.items():
        scores[name] = _summary(folder, measured[name])
    if "base" in measured:
        scores["difference"] = _differences(measured["base"], measured["trained"])
    scores["training_run"] = pipeline.train.run
    scores["tasks"] = task_scores.compare(items)
    scores["contamination"] = contamination
    scores["breaches"] = task_scores.beyond(pipeline, scores)
    scores["held_out"] = {
        "identity": identity(documents["id"].to_list()),
        "documents": dict(documents["pool"].value_counts().sort("pool").iter_rows()),
    }
    scores["settings"] = {"seq_len": pipeline.mix.seq_len, "interval": 0.95, "resamples": RESAMPLES, "seed": 0}
    scores["settings"] |= {"items": pipeline.eval.items, "thresholds": pipeline.eval.thresholds.model_dump()}
    scores["versions"] = {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}
    write_json(run / "eval" / "scores.json", scores)
    return scores


def table(scores: dict[str, Any]) -> Any:
    """What was measured, a row per pool and source, for rich to print in 80 columns."""
    from rich.console import Group
    from rich.table import Table

    counts = scores["held_out"]["documents"]
    about = f"Bits per byte on {counts['domain']:,} domain and {counts['general']:,} general held-out documents"
    caption = "change: trained minus base; no change: the 95 % interval holds 0"
    caption = caption if scores["base"] else "no base: the model was trained from scratch"
    result = Table(box=None, pad_edge=False, collapse_padding=True)
    headings = ("pool / source", "docs", "base", "trained", "change", "%", "95 % interval", "verdict")
    for heading in headings if scores["base"] else ("pool / source", "docs", "trained"):
        left = heading in ("pool / source", "verdict")
        result.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for group, trained in scores["trained"]["groups"].items():
        pool, _, source = group.partition("/")
        cells = [f"  {source}" if source else pool, f"{trained['documents']:,}"]
        if scores["base"]:
            change = scores["difference"][group]
            interval = "" if change["low"] is None else f"{change['low']:+.3f} to {change['high']:+.3f}"
            cells += [f"{scores['base']['groups'][group]['bits_per_byte']:.3f}", f"{trained['bits_per_byte']:.3f}"]
            verdict = change["verdict"].removesuffix(" documents")
            cells += [f"{change['change']:+.3f}", f"{change['percent']:+.1f}", interval, verdict]
        else:
            cells.append(f"{trained['bits_per_byte']:.3f}")
        result.add_row(*cells, style="" if source else "bold")
    return Group(about, result, f"[dim]{caption}[/dim]")


def _models(pipeline: Pipeline, export: Path) -> dict[str, Path]:
    from tokenization.folder import find

    if pipeline.train.init == "scratch":
        return {"trained": export}
    return {"base": find(pipeline.model, weights=True), "trained": export}


def _measure(name: str, model: Any, windows: "Windows") -> "pl.DataFrame":
    """The windows' documents with the `bits` a model needs for each."""
    import polars as pl
    from rich.progress import track

    from eval import hugging_face
    from eval.held_out import document_bits, window_nats

    nll = hugging_face.nll(model)
    rows = max(1, TOKENS_AT_ONCE // windows.inputs.shape[1])
    batches = -(-len(windows.lengths) // rows)
    bar = iter(track(range(batches), f"{name}: {windows.documents.height:,} documents", transient=True))

    def counted(inputs: "np.ndarray", positions: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
        next(bar)
        return nll(inputs, positions, labels)

    bits = document_bits(windows, window_nats(windows, counted, rows))
    next(bar, None)
    return windows.documents.with_columns(pl.Series("bits", bits))


def _predicted_by_all(measured: "dict[str, pl.DataFrame]") -> "pl.Series":
    """Documents in which every model predicts something: a single token without BOS before it is not predicted."""
    import polars as pl

    columns = [(frame["bytes"] > 0).alias(name) for name, frame in measured.items()]
    return pl.select(pl.all_horizontal(columns)).to_series()


def _groups(documents: "pl.DataFrame") -> "dict[str, pl.DataFrame]":
    """Each pool, then each of its sources as pool/source, and the documents of it."""
    import polars as pl

    groups = {}
    for pool in documents["pool"].unique(maintain_order=True):
        of_pool = documents.filter(pl.col("pool") == pool)
        groups[pool] = of_pool
        for source in sorted(of_pool["source"].unique()):
            groups[f"{pool}/{source}"] = of_pool.filter(pl.col("source") == source)
    return groups


def _summary(folder: Path, documents: "pl.DataFrame") -> dict[str, Any]:
    from eval.hugging_face import weights_identity

    groups = {
        name: {
            "bits_per_byte": float(rows["bits"].sum()) / int(rows["bytes"].sum()),
            "documents": rows.height,
            "bytes": int(rows["bytes"].sum()),
            "tokens": int(rows["tokens"].sum()),
        }
        for name, rows in _groups(documents).items()
    }
    totals = {f"{name}_bits_per_byte": value["bits_per_byte"] for name, value in groups.items() if "/" not in name}
    return {**totals, "groups": groups, "identity": weights_identity(folder)}


def _differences(base: "pl.DataFrame", trained: "pl.DataFrame") -> dict[str, Any]:
    from eval.statistics import change_in_ratio

    changes = {}
    for (name, before), after in zip(_groups(base).items(), _groups(trained).values(), strict=True):
        columns = (frame[column].to_numpy() for frame in (before, after) for column in ("bits", "bytes"))
        base_bits, base_bytes, bits, sizes = columns
        changes[name] = asdict(change_in_ratio(base_bits, base_bytes, bits, sizes))
    return changes


if __name__ == "__main__":
    cli.run(main)
