"""Spans applied to texts."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.edits import EDITS, apply, spans_of

PIECE = st.text(alphabet="ab é漢🙂\n", max_size=6)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.lists(st.tuples(PIECE, PIECE, st.none() | PIECE), max_size=4), max_size=5))
def test_edits_give_what_slicing_gives(documents: list[list[tuple[str, str, str | None]]]) -> None:
    """A document is pieces (before the span, the span, its replacement or None where nothing is edited)."""
    rows, expected = [], []
    for at, pieces in enumerate(documents):
        place, changed = 0, False
        for lead, span, after in pieces:
            start = place + len(lead.encode())
            place = start + len(span.encode())
            if after is not None:
                rows.append((at, start, place, "cut", "{}", after))
                changed = True
        expected.append("".join(a + (b if c is None else c) for a, b, c in pieces) if changed else None)
    texts = pl.Series("text", ["".join(a + b for a, b, _ in pieces) for pieces in documents], pl.String)
    edits = pl.DataFrame(rows, schema=EDITS, orient="row")
    assert apply(texts, edits).to_list() == expected
    wanted = [span for pieces in documents for _, span, after in pieces if after is not None]
    assert spans_of(texts, edits).to_list() == wanted
