"""Documents that give away benchmark items."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import PrivateAttr, field_validator

from curate.benchmarks import read_items
from curate.files import read_json, write_json
from curate.stage import Stage, Verdicts, detail

if TYPE_CHECKING:
    from curate.contamination_index import Index

BACKGROUND_PARTS = 64
BACKGROUND_DOCUMENTS = 8000
BACKGROUND_CHARACTERS = 10_000
"""The background that word rarity is counted in: documents, evenly over that many parts, and characters of each."""
TEXT_CHARACTERS = 1000
"""Characters of overlapping text that the ledger shows."""


class Decontaminate(Stage, name="decontaminate"):
    """Drops documents that hold an item of the benchmarks under `benchmarks:`.

    A document holds an item if, in a stretch as long as the item, it has enough of the question's words, or of the
    words of question, context and choices together, weighted by rarity (IDF over a sample of the documents). Passages
    come from Wikipedia, books and papers: without its question a passage does not count; an item that is all passage
    does. A question of fewer than 8 words counts only together with its choices or context.
    Reasons: contaminated; detail: benchmark, item, score, text (where in the document its n-grams stand).
    On 550 documents with a planted item of 20 benchmarks, 5,227 without: found 100 % of verbatim, normalised and
    question-only items, 97 % with 10 % and 90 % with 25 % of the words changed; none of the others was dropped.
    Texts that say the same in other words, and translations, are not found.
    """

    action: Literal["drop"] = "drop"
    """What happens to a document that holds an item: drop."""
    threshold: float = 0.65
    """Share of an item's weighted words from which a document holds it, for items of 22 words and more; a shorter item
    needs more of them, one of 8 words all."""
    _index: Any = PrivateAttr(default=None)
    _items: Any = PrivateAttr(default=None)

    @field_validator("threshold")
    @classmethod
    def _a_share(cls, value: float) -> float:
        if not 0 < value <= 1:
            follows = "nothing would ever match" if value > 1 else "everything would match"
            raise ValueError(f"{value} is not between 0 and 1, so {follows}. Set a share of words, e.g. 0.65")
        return value

    def prepare(self) -> None:
        """Read the items, count how rare words are in a sample of the documents, write the index."""
        from curate.contamination import scan
        from curate.contamination_index import build

        items = read_items(self.workspace.benchmarks, self.workspace.where)
        background = pl.concat(list(self._background()))
        leads, rests = [item.lead for item in items], [item.rest for item in items]
        index = build(leads, rests, [item.has_passage for item in items], background, self.threshold)
        if not ((index.alone <= 1) | (index.both <= 1)).any():
            raise ValueError(
                f"{self.workspace.where}: benchmarks: all {len(items)} items have fewer than 8 words, too few "
                "to be told from chance. Give items with question and choices, or leave the stage decontaminate out."
            )
        write_json(self.workspace.folder / "items.json", [[item.benchmark, item.id] for item in items])
        index.save(self.workspace.folder / "index.npz")
        list(scan(index, pl.Series(["text"])))  # compiles the kernel before the worker processes start

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        """The best-scoring item of each document that holds one."""
        from curate.contamination import scan
        from curate.words import find_words

        reason: list[str | None] = [None] * documents.height
        evidence: list[str | None] = [None] * documents.height
        for row, item, score, first, last in scan(self._load(), documents["text"]):
            text = documents["text"][row]
            begin, end = find_words(text, first, last)
            benchmark, name = self._items[item]
            overlap = text.encode()[begin:end].decode()[:TEXT_CHARACTERS]
            reason[row] = "contaminated"
            evidence[row] = detail(benchmark=benchmark, item=name, score=round(score, 3), text=overlap)
        return Verdicts(pl.Series("reason", reason, pl.String), pl.Series("detail", evidence, pl.String))

    def _load(self) -> "Index":
        """The index, read once per process."""
        if self._index is None:
            from curate.contamination_index import Index

            self._items = read_json(self.workspace.folder / "items.json")
            self._index = Index.load(self.workspace.folder / "index.npz")
        return self._index

    def _background(self) -> Iterator[pl.Series]:
        """Texts evenly over the documents, the same in every run."""
        yield pl.Series("text", [], pl.String)
        parts = self.workspace.parts[:: len(self.workspace.parts) // BACKGROUND_PARTS + 1]
        for part in parts:
            texts = part.documents(["text"])["text"]
            step = len(texts) * len(parts) // BACKGROUND_DOCUMENTS + 1
            yield texts.gather_every(step).str.slice(0, BACKGROUND_CHARACTERS)
