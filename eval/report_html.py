"""Small pieces of HTML for the report. Whatever is filled in is escaped, so a corpus cannot write markup."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from curate.parts import EXCERPT

EMPTY = Markup()


def html(template: str, *values: Any, **named: Any) -> Markup:
    """Fill `{}` places of trusted markup; every value that is not Markup itself is escaped.

    >>> html("<p>{}</p>", "<script>")
    Markup('<p>&lt;script&gt;</p>')
    """
    return Markup(template).format(*values, **named)


def join(pieces: Iterable[Markup], between: str = "\n") -> Markup:
    """Markup one after the other."""
    return Markup(between).join(pieces)


def section(anchor: str, title: str, about: str, *body: Markup) -> Markup:
    """A section of the page with a heading and a sentence that says what is seen."""
    return html('<section id="{}"><h2>{}</h2><p class="about">{}</p>{}</section>', anchor, title, about, join(body))


def missing(text: str, command: str | None = None) -> Markup:
    """Says that a part of the run is not there yet, and which command makes it."""
    return html('<p class="missing">{}{}</p>', text, html(" Run: <code>{}</code>", command) if command else EMPTY)


def chart_places(names: Iterable[str], notes: dict[str, str] | None = None, small: bool = False) -> Markup:
    """Where the page's script draws the charts of these names; `notes` has a sentence for below a chart, by its name.

    Small ones stand three beside each other.
    """
    places = join(
        html(
            '<div class="chart"><h3>{0}</h3><div class="plot" data-chart="{0}"></div>{1}</div>',
            name,
            html('<p class="note">{}</p>', notes[name]) if notes and name in notes else EMPTY,
        )
        for name in names
    )
    return html('<div class="charts{}">{}</div>', " small" if small else "", places)


def bullets(sentences: Iterable[Any]) -> Markup:
    """Sentences as a list, nothing where there are none."""
    items = join(html("<li>{}</li>", sentence) for sentence in sentences)
    return html("<ul>{}</ul>", items) if items else EMPTY


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int] = ()) -> Markup:
    """A table that sorts by a click on a heading; the columns in `numbers` stand right-aligned."""
    right = set(numbers)

    def cell(name: str, index: int, value: Any) -> Markup:
        order = html(' data-order="{}"', value.order) if isinstance(value, Figure) else EMPTY
        shown = value.text if isinstance(value, Figure) else value
        side = Markup(' class="n"') if index in right else EMPTY
        return html("<{0}{1}{2}>{3}</{0}>", Markup(name), side, order, shown)

    head = join((cell("th", index, heading) for index, heading in enumerate(headings)), "")
    body = join(
        html("<tr>{}</tr>", join((cell("td", index, value) for index, value in enumerate(row)), "")) for row in rows
    )
    whole = html('<table class="sortable"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body)
    return html('<div class="scroll">{}</div>', whole)


class Figure:
    """A number as a table shows it, with the value it sorts by."""

    def __init__(self, order: float | int | None, text: str):
        self.order = float("-inf") if order is None else order
        self.text = text


def count(value: float | int | None) -> Figure:
    """A whole number with thousands separators."""
    return Figure(value, "" if value is None else f"{value:,.0f}")


def size(value: float | int | None) -> Figure:
    """A number of bytes."""
    return Figure(value, "" if value is None else human_bytes(value))


def share(part: float, whole: float) -> Figure:
    """A part as a percentage of the whole."""
    ratio = part / whole if whole else 0.0
    return Figure(ratio, percent(ratio))


def percent(ratio: float) -> str:
    """0.0312 -> 3.1 %, with more digits below 1 %."""
    if 0 < abs(ratio) < 0.00005:
        return "< 0.01 %"
    return f"{100 * ratio:.{1 if ratio == 0 or abs(ratio) >= 0.01 else 2}f} %"


def human_bytes(value: float) -> str:
    """1234567 -> 1.23 MB: decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.0f} TB" if value >= 100 else f"{value:.3g} TB"


def number(value: Any) -> str:
    """A value of a JSON file as a reader wants it: floats with four significant digits, the rest as it is."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def pairs(values: dict[str, Any]) -> Markup:
    """Names and values as a definition list, nested values as JSON."""
    items = (html("<div><dt>{}</dt><dd>{}</dd></div>", words(key), number(value)) for key, value in values.items())
    return html('<dl class="pairs">{}</dl>', join(items))


def words(name: str) -> str:
    """A snake_case name as words."""
    return name.replace("_", " ")


def excerpt(text: str | None, characters: int = EXCERPT) -> Markup:
    """The beginning of a document's text, as it stands; the ledger keeps no more than so many characters of it."""
    if not text:
        return EMPTY
    return html("<blockquote>{}{}</blockquote>", text[:characters], "…" if len(text) >= characters else "")


def documents(number: int) -> str:
    """1 document, 1,234 documents."""
    return f"{number:,} document{'' if number == 1 else 's'}"
