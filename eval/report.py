"""One self-contained HTML file about a run: what went in, what was dropped, what was trained on, what came of it.

    python -m eval.report [RUN]
    python -m eval.report --compare RUN RUN       two runs side by side; RUN:NAME is its training run NAME

Writes <run>/report.html. It needs no network (plotly.js is inside, 5 MB), runs only its own scripts (their hashes
stand in its content security policy), prints, and is readable on a phone and in dark mode. What the run has not
reached yet is said, with the command that makes it. A comparison is written to <first run>/compare.html.
"""

import argparse
from pathlib import Path
from typing import Any

from pipelines import cli, config
from pipelines.config import Pipeline


def main(argv: list[str] | None = None) -> None:
    """The command."""
    from pipelines.published import publish_finished

    early = argparse.ArgumentParser(add_help=False)
    _arguments(early)
    if names := early.parse_known_args(argv)[0].compare:
        path = write_comparison(*names)
    else:
        pipeline, _ = cli.parse("eval.report", __doc__ or "", "eval", argv, _arguments)
        path = write(pipeline)
        publish_finished(pipeline)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compare", nargs=2, metavar="RUN", help="two run folders, each with :NAME of a training run")


def write(pipeline: Pipeline) -> Path:
    """Write the report of a run, whole or not at all; returns its path."""
    from curate.files import write_text
    from eval.report_data import read

    path = pipeline.folder / "report.html"
    write_text(path, render(read(pipeline)))
    return path


def write_comparison(one: str, other: str) -> Path:
    """Write the comparison of two runs, whole or not at all; returns its path."""
    from curate.files import write_text
    from eval.report_compare import compare
    from eval.report_data import read
    from eval.report_html import html
    from eval.report_page import page

    pipelines = [_named(name) for name in (one, other)]
    runs = tuple((name, read(pipeline)) for name, pipeline in zip((one, other), pipelines, strict=True))
    sections, charts = compare(runs)  # type: ignore[arg-type]
    header = html('<header><p class="kicker">Two Palimpsest runs</p><h1>{} and {}</h1></header>', one, other)
    path = pipelines[0].folder / "compare.html"
    write_text(path, page(f"{one} and {other}", header, sections, charts))
    return path


def _named(name: str) -> Pipeline:
    """The pipeline of a run folder, for the training run that stands behind a colon."""
    folder, _, training = name.partition(":") if not Path(name).is_dir() else (name, "", "")
    return config.load(
        Path(folder) / "pipeline.yaml", {"output": folder} | ({"train.run": training} if training else {})
    )


def render(run: Any) -> str:
    """The page of a run that `eval.report_data.read` gave."""
    from eval import report_cost, report_curation, report_mixture, report_scores
    from eval.report_headline import headline
    from eval.report_page import page
    from eval.report_selection import selection
    from eval.report_spikes import spikes_section
    from eval.report_tracks import generations, tracks
    from eval.report_training import mark, training

    both, of_tracks = tracks(run)
    mark(run, of_tracks)
    which, of_selection = selection(run)
    curves, of_training = training(run)
    tokenizer, of_terms = report_mixture.tokenizer(run)
    sections = [
        ("scores", "Scores", report_scores.scores(run)),
        ("tracks", "Both tracks", both),
        ("selection", "Which checkpoint", which),
        ("training", "Training", curves),
        ("spikes", "Spikes", spikes_section(run)),
        ("generations", "Texts written", generations(run)),
        ("funnel", "What went in", report_curation.funnel(run)),
        ("dropped", "What was dropped", report_curation.dropped(run)),
        ("edited", "What was edited", report_curation.edited(run)),
        ("duplicates", "Near-duplicates", report_curation.duplicates(run)),
        ("tokenizer", "Tokenizer", tokenizer),
        ("mixture", "Mixture", report_mixture.mixture(run)),
        ("cost", "Cost", report_cost.cost(run)),
        ("provenance", "Made with", report_cost.provenance(run)),
    ]
    charts = of_tracks | of_selection | of_training | of_terms
    return page(run.pipeline.name, headline(run), sections, charts)


if __name__ == "__main__":
    cli.run(main)
