"""Domain documents hidden in general text: what select keeps of them, and how fast it ranks, on one core.

    python tests/benchmarks/selection.py [--rounds 5] [--megabytes 12] [--data ../shared/data]

The crawl is general text in which a tenth of the bytes are domain documents; the domain reference holds other
documents, of the same sources (`same`) or of other sources (`other`: textbooks, guidelines and dialogues hidden,
abstracts, notes and answers known). keep: 0.1. Precision is the share of kept bytes that are domain text, recall the
share of hidden bytes that are kept. For novelty the crawl is copies of the reference's documents with one word in ten
changed, and the tenth to be found is of domain documents that the reference does not hold.

Speed is that of scoring, models trained: `select` normalises and scores; the fastText loop (`model.predict` a document)
and datatrove's FastTextClassifierFilter score by the same fastText model lines that were normalised before the clock
starts. They see one model, not two cross-fitted ones.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from timing import interleaved, report

from curate import fasttext_model
from curate.kenlm_text import normalized_lines
from curate.selection import Select, _rank
from curate.stage import Workspace

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
KNOWN = ("abstracts", "clinical_notes", "patient_qa")
OTHER = ("textbooks_health", "guidelines", "dialogues")
GENERAL = ("books", "gov_web", "tech_docs", "textbooks_general", "wikitext2")
KEEP = 0.1


@dataclass
class Held:
    """A source in memory, as a stage's workspace has it."""

    pool: str
    source: str
    frame: pl.DataFrame
    """row, text, bytes, pool, source and whether it is hidden."""

    def documents(self, columns: list[str] | None = None) -> pl.DataFrame:
        """The rows, or only `columns`."""
        return self.frame.select(columns or self.frame.columns)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=12, help="general text in the crawl")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    size = int(options.megabytes * 1e6)
    domain, other = (texts(options.data / "domain", names) for names in (KNOWN, OTHER))
    known, new = domain.gather_every(2), domain.gather_every(2, 1)
    crowd = taken(texts(options.data / "general", GENERAL), size)
    crawls = {
        "same": [held("domain", "known", known), crawl(crowd, taken(new, size // 9))],
        "other": [held("domain", "known", known), crawl(crowd, taken(other, size // 9))],
        "copies": [held("domain", "known", known), crawl(taken(copies(known), size), taken(new, size // 9))],
    }
    with tempfile.TemporaryDirectory() as name:
        stages: dict[str, Select] = {}
        rows: dict[str, dict[str, Any]] = {}
        for by, where in [("moore_lewis", "same"), ("moore_lewis", "other"), ("classifier", "same")] + [
            ("classifier", "other"),
            ("novelty", "copies"),
        ]:
            stage = ready(by, crawls[where], Path(name) / by / where)
            rows[f"select by {by}, {where}"] = quality(stage, crawls[where])
            stages.setdefault(by, stage)
        report("selection", f"keep: {KEEP} of {size / 9e5:.1f} MB, a tenth of it to be found", rows)
        speed(stages, crawls["same"], options.rounds)


def texts(folder: Path, names: tuple[str, ...]) -> pl.Series:
    """The texts of some sources, mixed."""
    read = [pl.read_ndjson(folder / f"{name}.jsonl.gz", schema={"text": pl.String})["text"] for name in names]
    return pl.concat(read).sample(fraction=1, shuffle=True, seed=0)


def taken(text: pl.Series, size: int) -> pl.Series:
    """Documents from the first on until they have `size` bytes."""
    return text.filter(text.str.len_bytes().cum_sum() <= size)


def copies(text: pl.Series) -> pl.Series:
    """The documents with one word in ten changed."""
    draw = random.Random(0)
    words = [one.split(" ") for one in text]
    return pl.Series([" ".join(draw.choice(some) if draw.random() < 0.1 else w for w in some) for some in words])


def held(pool: str, source: str, text: pl.Series, hidden: pl.Series | None = None) -> Held:
    """The texts as a source."""
    frame = pl.DataFrame(
        {"text": text, "hidden": hidden if hidden is not None else pl.repeat(False, len(text), eager=True)}
    )
    frame = frame.with_columns(bytes=pl.col("text").str.len_bytes().cast(pl.Int64))
    return Held(pool, source, frame.with_row_index("row").with_columns(pool=pl.lit(pool), source=pl.lit(source)))


def crawl(general: pl.Series, hidden: pl.Series) -> Held:
    """Both mixed, in one source of the replay pool."""
    both = pl.DataFrame({"text": pl.concat([general, hidden])}).with_row_index("at")
    both = both.with_columns(hidden=pl.col("at") >= len(general)).sample(fraction=1, shuffle=True, seed=1)
    return held("replay", "crawl", both["text"], both["hidden"])


def ready(by: str, parts: list[Held], folder: Path) -> Select:
    """The stage with its models trained."""
    stage = Select(keep=KEEP, by=by)  # type: ignore[arg-type]
    stage._workspace = Workspace(folder, parts, [], False, "benchmark")  # type: ignore[arg-type]
    stage.prepare()
    return stage


def quality(stage: Select, parts: list[Held]) -> dict[str, Any]:
    """Precision and recall of what is kept of the crawl."""
    measured = [part.frame.drop("text").hstack(stage.measure(part.frame)) for part in parts]
    verdicts = list(stage.decide(measured))[-1]
    return found(parts[-1].frame, verdicts.reason.is_null())


def found(frame: pl.DataFrame, kept: pl.Series) -> dict[str, Any]:
    """Precision and recall by bytes."""
    right = int(frame["bytes"].filter(kept & frame["hidden"]).sum())
    return {
        "documents": frame.height,
        "hidden": int(frame["hidden"].sum()),
        "kept": int(kept.sum()),
        "precision": right / int(frame["bytes"].filter(kept).sum()),
        "recall": right / int(frame["bytes"].filter(frame["hidden"]).sum()),
    }


def speed(stages: dict[str, Select], parts: list[Held], rounds: int) -> None:
    """The second table."""
    frame, known = parts[-1].frame, parts[0].frame
    like, unlike = (normalized_lines(one["text"].gather_every(2)) for one in (known, frame))
    model = fasttext_model.train([like], [unlike], "benchmark")
    lines = normalized_lines(frame["text"]).to_pylist()
    scores: dict[str, list[float]] = {}
    contenders: dict[str, Callable[[], Any]] = {
        **{f"select by {by}": partial(stage.measure, frame) for by, stage in stages.items()},
        "fastText in a loop, ready lines": lambda: scores.update(loop=loop(model, lines)),
        "datatrove, ready lines": lambda: scores.update(datatrove=datatrove(model, lines)),
    }
    megabytes = int(frame["bytes"].sum()) / 1e6
    rows: dict[str, dict[str, Any]] = {name: {**taken} for name, taken in interleaved(contenders, rounds).items()}
    for row in rows.values():
        row |= {"MB/s": megabytes / row["median_s"]}
        row["times ours"] = row["median_s"] / rows["select by classifier"]["median_s"]
    for name, values in zip(
        ("fastText in a loop, ready lines", "datatrove, ready lines"), scores.values(), strict=True
    ):
        ranks, count, _ = _rank(pl.Series(values), frame["bytes"].to_numpy(), KEEP)
        rows[name]["precision"] = found(frame, pl.Series(ranks < count))["precision"]
    report("selection_speed", f"{frame.height:,} documents, {megabytes:.1f} MB, one core", rows)


def loop(model: Any, lines: list[str]) -> list[float]:
    """The probability of the domain, a call a document."""
    given = [model.predict(line, k=2) for line in lines]
    return [dict(zip(*one, strict=True)).get(fasttext_model.POSITIVE, 0.0) for one in given]


def datatrove(model: Any, lines: list[str]) -> list[float]:
    """The same by datatrove's filter, which notes the probabilities in a document's metadata."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import FastTextClassifierFilter

    step = FastTextClassifierFilter("", keep_labels=("positive", 0.0))
    step._model = model
    documents = [Document(text=line or "-", id=str(number)) for number, line in enumerate(lines)]
    for _ in step.run(iter(documents)):
        pass
    return [document.metadata.get(fasttext_model.POSITIVE, 0.0) for document in documents]


if __name__ == "__main__":
    main()
