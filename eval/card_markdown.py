"""Small pieces of Markdown for the cards. What is filled in from files is shown as it stands, never as markup."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&])")


def text(value: Any) -> str:
    """A value in one line, with every sign that Markdown or HTML would read as markup escaped.

    >>> text("a|b\\n<script>")
    'a\\\\|b \\\\<script\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; columns of which every value begins with a digit or a sign stand right-aligned."""
    cells = [[text(value) for value in row] for row in rows]
    numbers = [
        all(row[column][:1] in "+-0123456789" for row in cells) and any(row[column] for row in cells)
        for column in range(len(headings))
    ]
    rule = ["---:" if number else "---" for number in numbers]
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, rule, *cells))


def section(title: str, *parts: str) -> str:
    """A heading and its paragraphs; empty ones are left out."""
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def bullets(items: Iterable[str]) -> str:
    """A list; the items are Markdown."""
    return "\n".join(f"- {item}" for item in items)
