"""One self-contained HTML file about a run: what went in, what was dropped, what was trained on, what came of it.

    python -m eval.report [RUN]

Writes <run>/report.html. It needs no network (plotly.js is inside, 5 MB), runs only its own scripts (their hashes
stand in its content security policy), prints, and is readable on a phone and in dark mode. What the run has not
reached yet is said, with the command that makes it.
"""

import base64
import hashlib
import json
from pathlib import Path
from string import Template
from typing import Any

from pipelines import cli
from pipelines.config import Pipeline

HERE = Path(__file__).parent


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, _ = cli.parse("eval.report", __doc__ or "", "eval", argv)
    path = write(pipeline)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def write(pipeline: Pipeline) -> Path:
    """Write the report of a run, whole or not at all; returns its path."""
    from curate.files import write_text
    from eval.report_data import read

    path = pipeline.folder / "report.html"
    write_text(path, render(read(pipeline)))
    return path


def render(run: Any) -> str:
    """The page of a run that `eval.report_data.read` gave."""
    from plotly.offline import get_plotlyjs

    from eval import report_curation, report_mixture, report_training
    from eval.report_html import html, join

    curves, charts = report_training.training(run)
    tokenizer, terms = report_mixture.tokenizer(run)
    sections = [
        ("scores", "Scores", report_training.scores(run)),
        ("training", "Training", curves),
        ("funnel", "What went in", report_curation.funnel(run)),
        ("dropped", "What was dropped", report_curation.dropped(run)),
        ("edited", "What was edited", report_curation.edited(run)),
        ("duplicates", "Near-duplicates", report_curation.duplicates(run)),
        ("tokenizer", "Tokenizer", tokenizer),
        ("mixture", "Mixture", report_mixture.mixture(run)),
        ("provenance", "Made with", report_training.provenance(run)),
    ]
    links = join(html('<a href="#{}">{}</a>', anchor, title) for anchor, title, _ in sections)
    body = join([report_training.headline(run), html("<nav>{}</nav>", links), *(text for _, _, text in sections)])
    plotly, script = get_plotlyjs(), (HERE / "report_page.js").read_text(encoding="utf-8")
    # A script element ends at the first "</script", which neither script may hold and the data must not.
    assert "</script" not in plotly and "</script" not in script
    page = Template((HERE / "report_page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=html("{}: Palimpsest report", run.pipeline.name),
        script_hashes=" ".join(_hash(text) for text in (plotly, script)),
        body=body,
        charts=json.dumps({**charts, **terms}, allow_nan=False).replace("<", "\\u003c"),
        plotly=plotly,
        script=script,
    )


def _hash(script: str) -> str:
    """A script's source expression in a content security policy: only scripts with such a hash run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


if __name__ == "__main__":
    cli.run(main)
