"""Text that models are trained on: pools and sources of the run, or files beside it, in two halves.

A model that scores a document must not have been trained on it, so references are cut into FOLDS by document: what lies
in one half is scored by the model of the other.
"""

import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.parts import Part
from curate.records import read
from curate.sources import COMPRESSIONS, FORMATS, POOLS, Source
from curate.stage import Workspace

FOLDS = 2
_BATCH = 1000
"""Documents of a file that are handed out together."""


def files(names: str | list[str], where: str) -> list[str]:
    """Files that the names mean, sorted: names that are neither a pool nor a source but look like a path or glob.

    Raises ValueError where one matches nothing or is of no known format; `where` names the key.
    """
    found: set[str] = set()
    for name in listed(names):
        if not _is_file(name):
            continue
        paths = [path for path in glob.glob(name, recursive=True) if Path(path).is_file()]
        if not paths:
            raise ValueError(f"{where}: {name!r} matches no file, so there is nothing to train on. Correct the glob.")
        found.update(paths)
    for path in sorted(found):
        if _suffix(path) not in FORMATS:
            raise ValueError(f"{where}: {path} is of no known format. Known: {', '.join(FORMATS)}, also compressed.")
    return sorted(found)


def listed(names: str | list[str]) -> list[str]:
    """One name as a list of one."""
    return [names] if isinstance(names, str) else names


@dataclass(frozen=True)
class Reference:
    """The documents that a key names; make it with `reference`."""

    key: str
    """The key as errors name it."""
    names: list[str]
    parts: list[Part]
    sources: list[Source]
    """Files that are not part of the run."""

    @property
    def name(self) -> str:
        """Its names in one string."""
        return ", ".join(self.names)

    @property
    def where(self) -> str:
        """The key with its value, as errors name it."""
        return f"{self.key} {self.name!r}"

    def size(self) -> int:
        """Bytes of text; where there is none, ValueError."""
        total = sum(int(part.documents(["bytes"])["bytes"].sum()) for part in self.parts)
        total += sum(len(text.encode()) for source in self.sources for frame in _read(source) for text in frame["text"])
        if total == 0:
            raise ValueError(
                f"{self.where}: the earlier stages left no document of it, so there is nothing to train on. "
                "See removed/ for why, and loosen what dropped them."
            )
        return total

    def texts(self, fold: int | None, share: float) -> Iterator[pl.Series]:
        """Texts of one half (None: of both), in order; of them about `share`, taken evenly over the documents."""
        frames = (part.documents(["row", "text"]) for part in self.parts)
        for more in (frames, *(_read(source) for source in self.sources)):
            for frame in more:
                row = pl.col("row").cast(pl.Int64)
                if fold is not None:
                    frame = frame.filter(row % FOLDS == fold)
                    row = row // FOLDS
                # a row is taken where the running share passes a whole number
                yield frame.filter(((row + 1) * share).floor() > (row * share).floor())["text"]


def crossed(documents: pl.DataFrame, ask: Callable[[int, pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """What `ask(fold, texts)` answers for each document (row, text), `fold` being the half it does not belong to."""
    numbered = documents.select("row", "text").with_row_index("at")
    answers = []
    for fold in range(FOLDS):
        half = numbered.filter(pl.col("row") % FOLDS == fold)
        answers.append(ask(1 - fold, half["text"]).with_columns(at=half["at"]))
    return pl.concat(answers).sort("at").drop("at")


def reference(names: str | list[str], key: str, workspace: Workspace, without: list[str] | None = None) -> Reference:
    """What `names` mean: pools, sources of the run, globs of files. Sources in `without` are left out of pools.

    Raises ValueError for a name that means nothing.
    """
    where = f"{workspace.where}.{key}"
    sources = sorted({part.source for part in workspace.parts})
    for name in listed(names):
        if not _is_file(name) and name not in (*POOLS, *sources):
            raise ValueError(
                f"{where}: {name!r} is neither a pool nor a source, so there is nothing to train on. "
                f"Name domain, replay, one of {', '.join(sources)}, or files by a path."
            )
    wanted, left_out = listed(names), without or []
    parts = [
        part
        for part in workspace.parts
        if part.source in wanted or (part.pool in wanted and part.source not in left_out)
    ]
    beside = [
        Source("reference", Path(path).name, str(Path(path).parent), Path(path).name, 0, "")
        for path in files(names, where)
    ]
    if left_out and not parts and not beside:
        raise ValueError(f"{where}: all of {', '.join(wanted)} is in among, so nothing is left to be like.")
    return Reference(where, wanted, parts, beside)


def _read(source: Source) -> Iterator[pl.DataFrame]:
    """row and text of a file's readable documents."""
    rows: list[tuple[int, str]] = []
    for document in read(source):
        if "problem" not in document.metadata:
            rows.append((int(document.metadata["record"]), document.text))
        if len(rows) == _BATCH:
            yield pl.DataFrame(rows, {"row": pl.UInt32, "text": pl.String}, orient="row")
            rows = []
    yield pl.DataFrame(rows, {"row": pl.UInt32, "text": pl.String}, orient="row")


def _is_file(name: str) -> bool:
    return "/" in name or "*" in name or _suffix(name) in FORMATS


def _suffix(path: str) -> str:
    for ending in COMPRESSIONS:
        path = path.removesuffix(ending)
    return Path(path).suffix
