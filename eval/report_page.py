"""One self-contained HTML page of sections and charts: report_page.html is its frame, report_page.js its script.

It needs no network (plotly.js is inside, 5 MB) and runs only its own two scripts, whose hashes stand in its content
security policy.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from markupsafe import Markup

from eval.report_html import html, join

HERE = Path(__file__).parent


def page(title: str, header: Markup, sections: Sequence[tuple[str, str, Markup]], charts: dict[str, Any]) -> str:
    """The page with a header, sections (anchor, title, text) and charts by name (eval/report_charts.py)."""
    from plotly.offline import get_plotlyjs

    links = join(html('<a href="#{}">{}</a>', anchor, name) for anchor, name, _ in sections)
    body = join([header, html("<nav>{}</nav>", links), *(text for _, _, text in sections)])
    plotly, script = get_plotlyjs(), (HERE / "report_page.js").read_text(encoding="utf-8")
    # A script element ends at the first "</script", which neither script may hold and the data must not.
    assert "</script" not in plotly and "</script" not in script
    frame = Template((HERE / "report_page.html").read_text(encoding="utf-8"))
    return frame.substitute(
        title=html("{}: Palimpsest report", title),
        script_hashes=" ".join(_hash(text) for text in (plotly, script)),
        body=body,
        charts=json.dumps(charts, allow_nan=False).replace("<", "\\u003c"),
        plotly=plotly,
        script=script,
    )


def _hash(script: str) -> str:
    """A script's source expression in a content security policy: only scripts with such a hash run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
