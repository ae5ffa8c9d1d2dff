"""Documents that give away benchmark items."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import PrivateAttr, field_validator

from curate.benchmarks import read_items, write_items
from curate.edits import EDITS
from curate.files import identity, read_json, write_json
from curate.stage import Stage, Verdicts, detail

if TYPE_CHECKING:
    from curate.contamination_index import Index
    from curate.kernels.contamination_spans import Span

BACKGROUND_PARTS = 64
BACKGROUND_DOCUMENTS = 8000
BACKGROUND_CHARACTERS = 10_000
"""The background that word rarity is counted in: documents, evenly over that many parts, and characters of each."""
MOST_MATCHES = 10
"""Items that the evidence of a document or of a cut names at most, the best of them."""
TEXT_CHARACTERS = 1000
"""Characters of overlapping text that the ledger shows of each."""
LEAST_LEFT = 200
"""Bytes that must be left of a document after the cuts."""


class Decontaminate(Stage, name="decontaminate"):
    """Drops documents that hold a benchmark item, or cuts the items out of them.

    Items: files under the pipeline's `benchmarks`, and tasks of lm-evaluation-harness. A document holds an item if, in
    a stretch as long as the item, it has enough of the question's words, or of the words of question, context and
    choices together, weighted by rarity (IDF over a sample of the documents). Passages come from Wikipedia, books and
    papers: without its question a passage does not count; an item that is all passage does. A question of fewer than 8
    words counts only together with its choices or context.
    Reasons: contaminated, and with `action: cut` little_left, where less than 200 bytes would be left; detail:
    benchmark, item, score and text of the best match, the next nine as `others`, how many there are besides as `more`.
    With `action: cut` the spans are edits with the reason contaminated_span: the whole sentences around the item's
    words. A document that needs more than ten rounds of cuts is dropped.
    On 550 documents with a planted item of 20 benchmarks, 5,227 without: found 100 % of verbatim, normalised and
    question-only items, 97 % with 10 % and 90 % with 25 % of the words changed; none of the others was dropped.
    Texts that say the same in other words, and translations, are not found.
    """

    version: ClassVar[int] = 2
    edits: ClassVar[bool] = True
    action: Literal["drop", "cut"] = "drop"
    """What happens to a document that holds an item: drop it, or cut the item and keep the rest."""
    threshold: float = 0.65
    """Share of an item's weighted words from which a document holds it, for items of 22 words and more; a shorter item
    needs more of them, one of 8 words all."""
    tasks: list[str] = []
    """Names of lm-eval tasks, groups or tags whose evaluation items are looked for besides those of the files, e.g.
    [mmlu, gsm8k]; empty for none. Needs the extra `eval`, and the tasks' data sets on disk or network."""
    task_folders: list[str] = []
    """Folders with task YAMLs of your own; a task there replaces lm-eval's of the same name. Empty for none."""
    _index: Any = PrivateAttr(default=None)
    _items: Any = PrivateAttr(default=None)
    _task_file: Any = PrivateAttr(default=None)

    @field_validator("threshold")
    @classmethod
    def _a_share(cls, value: float) -> float:
        if not 0 < value <= 1:
            follows = "nothing would ever match" if value > 1 else "everything would match"
            raise ValueError(f"{value} is not between 0 and 1, so {follows}. Set a share of words, e.g. 0.65")
        return value

    def inputs(self) -> list[str]:
        """The items of the tasks, as a file: a changed data set or task makes the stage run again."""
        if self.tasks and self._task_file is None:
            from curate.benchmark_tasks import task_items

            folder = Path(self.workspace.folder) / f"{identity([self.tasks, self.task_folders])}-tasks"
            write_items(folder / "items.jsonl", task_items(self.tasks, self.task_folders, self.workspace.where))
            self._task_file = str(folder / "items.jsonl")
        return [self._task_file] if self.tasks else []

    def prepare(self) -> None:
        """Read the items, count how rare words are in a sample of the documents, write the index."""
        from curate.contamination_index import build
        from curate.kernels.contamination_spans import find_spans

        items = read_items([*self.workspace.benchmarks, *self.inputs()], self.workspace.where)
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
        list(find_spans(index, pl.Series(["text"])))  # compiles the kernels before the worker processes start

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        """What each document that holds items gives away, and what is cut from it."""
        from curate.kernels.contamination_spans import cuts, find_spans

        texts = documents["text"]
        spans = dict(find_spans(self._load(), texts))
        reasons = dict.fromkeys(spans, "contaminated")
        edits = None
        if self.action == "cut":
            rows = list(spans)
            cut = {rows[k]: found for k, found in cuts(self._load(), texts.gather(rows)).items()}
            kept = {row: found for row, found in cut.items() if found and _left(texts[row], found) >= LEAST_LEFT}
            reasons = {row: "little_left" if cut[row] else "contaminated" for row in rows if row not in kept}
            edits = self._edits(texts, kept)
        evidence = [self._evidence(texts[row].encode(), spans[row]) for row in reasons]
        nothing = pl.Series("", [None], pl.String).new_from_index(0, documents.height)
        reason = nothing.scatter(list(reasons), list(reasons.values())).alias("reason")
        return Verdicts(reason, nothing.scatter(list(reasons), evidence).alias("detail"), edits=edits)

    def _evidence(self, raw: bytes, spans: "list[Span]") -> str:
        """The matches of a document that goes."""
        named = [
            self._name(*span.items[0]) | {"text": raw[span.start : span.end].decode()[:TEXT_CHARACTERS]}
            for span in spans[:MOST_MATCHES]
        ]
        return _detail(named, len(spans))

    def _edits(self, texts: pl.Series, cut: "dict[int, list[Span]]") -> pl.DataFrame:
        """The spans cut from the documents that stay."""
        rows = []
        for row in sorted(cut):
            raw = texts[row].encode()
            for span in cut[row]:
                evidence = _detail([self._name(*one) for one in span.items[:MOST_MATCHES]], len(span.items))
                rows.append((row, span.start, span.end, "contaminated_span", evidence, _after(raw, span)))
        return pl.DataFrame(rows, schema=EDITS, orient="row")

    def _name(self, item: int, score: float) -> dict[str, Any]:
        benchmark, name = self._items[item]
        return {"benchmark": benchmark, "item": name, "score": round(score, 3)}

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
            sample = texts.gather_every(step).str.slice(0, BACKGROUND_CHARACTERS)
            yield pl.Series("text", sample.to_list(), pl.String)  # a copy: a slice would hold all texts of the part


def _detail(named: list[dict[str, Any]], count: int) -> str:
    others = {"others": named[1:]} if len(named) > 1 else {}
    more = {"more": count - len(named)} if count > len(named) else {}
    return detail(**named[0], **others, **more)


def _left(text: str, spans: "list[Span]") -> int:
    return len(text.encode()) - sum(span.end - span.start for span in spans)


def _after(raw: bytes, span: "Span") -> str:
    """A space where the words before and after a cut would otherwise become one."""
    before = raw[max(span.start - 4, 0) : span.start].decode(errors="ignore")[-1:]
    after = raw[span.end : span.end + 4].decode(errors="ignore")[:1]
    return " " if before.isalnum() and after.isalnum() else ""
