"""Language identification: accuracy on sentences of known language, and speed on documents, on one core.

    python tests/benchmarks/language.py [--rounds 5] [--megabytes 30] [--data ../shared/data]

Sentences: 13,453 in 16 languages, from Universal Dependencies; an answer counts as right whatever its probability.
Words are what stands between blanks, so Chinese, Japanese and Thai sentences count as short. Speed: English documents,
`palimpsest` the stage with its defaults (600 characters a document), `all characters` with `chars: 0`; datatrove's
LanguageFilter and the fastText library on lists read all characters, with the same model file.
"""

import argparse
import contextlib
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from timing import interleaved, report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LENGTHS = (0, 5, 10, 20, 40)
"""Words from which on a sentence belongs to a group."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    accuracy(options.data)
    speed(options.data, options.megabytes, options.rounds)


def accuracy(data: Path) -> None:
    """The share of right answers, over all, by language and by length."""
    from curate.language import Language

    rows = [json.loads(line) for line in gzip.open(data / "multilingual" / "langid_sentences.jsonl.gz")]
    gold = pl.Series([row["meta"]["lang"] for row in rows])
    texts = pl.Series([row["text"] for row in rows])
    stage = placed(Language(keep=["none of them"], min_score=0))
    found = stage.judge(texts.to_frame("text")).detail.str.json_decode(pl.Struct({"language": pl.String}))
    frame = pl.DataFrame(
        {"gold": gold, "found": found.struct.field("language"), "words": texts.str.split(" ").list.len()}
    )
    frame = frame.with_columns(right=pl.col("gold") == pl.col("found"))
    report("language_accuracy", "Right answers", {"all": share(frame)} | groups(frame))


def groups(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Right answers by length and by language, with the most frequent wrong answer."""
    rows: dict[str, dict[str, Any]] = {}
    for first, last in zip(LENGTHS, [*LENGTHS[1:], 10**6], strict=True):
        name = f"{first} to {last - 1} words" if last < 10**6 else f"{first} words and more"
        rows[name] = share(frame.filter(pl.col("words").is_between(first, last - 1)))
    for language in sorted(frame["gold"].unique()):
        rows[language] = share(frame.filter(gold=language))
    return rows


def share(frame: pl.DataFrame) -> dict[str, Any]:
    """Sentences, the share right, and the most frequent wrong answer."""
    wrong = frame.filter(~pl.col("right"))
    errors = wrong.group_by("gold", "found").len().sort("len", "gold", "found", descending=True).rows()
    taken_for = f"{errors[0][0]} as {errors[0][1]}: {errors[0][2]}" if errors else "-"
    return {"sentences": frame.height, "right": frame["right"].mean(), "most frequent error": taken_for}


def speed(data: Path, megabytes: float, rounds: int) -> None:
    """Documents and MB a second."""
    from curate.language import MODEL, Language, load_fasttext

    documents = corpus(data, megabytes)
    short, whole = placed(Language()), placed(Language(chars=0))
    model = load_fasttext(str(MODEL))
    contenders: dict[str, Callable[[], Any]] = {
        "palimpsest": lambda: short.judge(documents),
        "palimpsest, all characters": lambda: whole.judge(documents),
        "datatrove": lambda: datatrove(documents["text"].to_list()),
        "fastText": lambda: model.predict(documents["text"].str.replace_all("\n", " ").to_list()),
    }
    size = int(documents["text"].str.len_bytes().sum()) / 1e6
    table = {
        name: {**taken, "documents/s": documents.height / taken["median_s"], "MB/s": size / taken["median_s"]}
        for name, taken in interleaved(contenders, rounds).items()
    }
    report("language_speed", f"{documents.height:,} documents, {size:.0f} MB, one core", table)


def corpus(data: Path, megabytes: float) -> pl.DataFrame:
    """Documents of the domain's files, every file in the same share, up to that size."""
    files = sorted(data.glob("domain/*.jsonl.gz"))
    text = pl.concat([pl.read_ndjson(file, schema={"text": pl.String}) for file in files])
    step = max(1, round(int(text["text"].str.len_bytes().sum()) / 1e6 / megabytes))
    return text.gather_every(step)


def placed(stage: Any) -> Any:
    """The stage as the runner hands it out."""
    from curate.stage import Workspace

    stage._workspace = Workspace(Path(), [], [], False, "benchmark: curate.stages[0].language")
    stage.warm_up()
    return stage


def datatrove(texts: list[str]) -> list[Any]:
    """Its filter with its defaults, on the model file that is here instead of a download."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import LanguageFilter
    from loguru import logger

    from curate.language import MODEL, load_fasttext

    logger.remove()
    step = LanguageFilter("en")
    step.model._model = load_fasttext(str(MODEL))
    with contextlib.redirect_stderr(io.StringIO()):
        return list(step.run(Document(text, str(number)) for number, text in enumerate(texts)))


if __name__ == "__main__":
    main()
