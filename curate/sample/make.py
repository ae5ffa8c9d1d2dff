"""Composes the sample, plants the faults and writes it all, whole or not at all."""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from curate.files import file_identity, identity, read_json, write_json
from curate.sample import clinical, general
from curate.sample.bench import Item, make_items
from curate.sample.faults import LOW_QUALITY, TRICKY, edited, jaccard, leak, low_quality, misread, shuffled, tricky
from curate.sample.languages import foreign
from curate.sample.world import make_world

STAMP = "sample.json"
"""Says which seed and which generator a sample is from."""

DOMAIN = {"abstracts": 520, "guidelines": 120, "notes": 500, "patient_qa": 420}
GENERAL = {"encyclopedia": 460, "handbook": 270, "stories": 340}
"""Honest documents of each source."""

SHARE = {
    "near_duplicate": 0.06,
    "exact_duplicate": 0.03,
    "wrong_language": 0.03,
    "garbled": 0.03,
    "leaked": 0.025,
    "low_quality": 0.025,
    "tricky_keep": 0.02,
}
"""Planted documents of each kind per honest document of a source; tricky_keep stands in notes and guidelines only."""


@dataclass
class Document:
    """One document, with its line of truth.jsonl where it is planted; `place` orders the documents of a source."""

    text: str
    place: float
    truth: dict[str, Any] | None = None
    of: "Document | None" = field(default=None, repr=False)
    """The document that this one copies; it always stands earlier."""


def make_sample(folder: Path, seed: int = 0) -> None:
    """Write the sample into `folder` unless it holds the one that this seed and this generator make.

    domain/*.jsonl.gz, general/*.jsonl.gz: {id, text, source, meta}; bench/*.jsonl.gz: benchmark items; truth.jsonl: a
    line for every planted document, {id, pool, source, kind, ...}, its id as in a run: "<source>/<record id>". Kinds:
    near_duplicate (of, jaccard), exact_duplicate (of), wrong_language (language), garbled (how), leaked (benchmark,
    item, how), low_quality (defect), and tricky_keep (form), which is honest. Raises ValueError where `folder` holds
    something else than a sample.
    """
    folder = Path(folder)
    code = [file_identity(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    stamp = {"seed": seed, "generator": identity(code)}
    if _holds(folder, stamp):
        return
    if folder.exists() and any(folder.iterdir()) and not (folder / STAMP).exists():
        raise ValueError(
            f"{folder}: is there and holds no sample, so it is left alone. Name another folder, or empty it."
        )
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        _write(aside, seed)
        write_json(aside / STAMP, stamp)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
    except OSError:
        if not _holds(folder, stamp):  # else another process has just made the same sample
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _holds(folder: Path, stamp: dict[str, Any]) -> bool:
    return (folder / STAMP).exists() and read_json(folder / STAMP) == stamp


def _write(folder: Path, seed: int) -> None:
    world = make_world(Random(f"{seed}:world"))
    benchmarks = make_items(Random(f"{seed}:benchmarks"), world)
    items = [item for benchmark in benchmarks.values() for item in benchmark]
    Random(f"{seed}:leaks").shuffle(items)
    unused = iter(items)  # an item leaks once at most
    writers: dict[str, Callable[[Random], Iterator[str]]] = {name: getattr(clinical, name) for name in DOMAIN}
    writers |= {name: (lambda rng, name=name: getattr(general, name)(rng, world)) for name in GENERAL}  # type: ignore[misc]
    truth: list[dict[str, Any]] = []
    for pool, sources in {"domain": DOMAIN, "general": GENERAL}.items():
        for source, count in sources.items():
            rng = Random(f"{seed}:{source}")
            documents = _source(rng, list(islice(writers[source](rng), count)), source, unused)
            records, planted = _records(documents, pool, source)
            _jsonl(folder / pool / f"{source}.jsonl.gz", records)
            truth += planted
    for name, benchmark in benchmarks.items():
        _jsonl(folder / "bench" / f"{name}.jsonl.gz", [item.record() for item in benchmark])
    (folder / "truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in truth), encoding="utf-8")


def _source(rng: Random, honest: list[str], source: str, items: Iterator[Item]) -> list[Document]:
    """The documents of one source in order: honest ones and planted ones between them."""
    documents = [Document(text, rng.random()) for text in honest]
    count = {kind: round(share * len(honest)) for kind, share in SHARE.items()}
    planted = []
    originals = rng.sample(documents, count["near_duplicate"] + count["exact_duplicate"])
    for number, original in enumerate(originals):
        near = number < count["near_duplicate"]
        text = edited(original.text, rng) if near else original.text
        truth = (
            {"kind": "near_duplicate", "jaccard": round(jaccard(original.text, text), 4)}
            if near
            else {"kind": "exact_duplicate"}
        )
        planted.append(Document(text, rng.uniform(original.place, 1.0), truth, original))
    for language, text in islice(foreign(rng), count["wrong_language"]):
        planted.append(Document(text, rng.random(), {"kind": "wrong_language", "language": language}))
    for text, (how, spoil) in _hosts(rng, honest, count["garbled"], (("misread", misread), ("shuffled", shuffled))):
        planted.append(Document(spoil(text, rng), rng.random(), {"kind": "garbled", "how": how}))
    for text, defect in _hosts(rng, honest, count["low_quality"], LOW_QUALITY):
        planted.append(
            Document(low_quality(defect, text, rng), rng.random(), {"kind": "low_quality", "defect": defect})
        )
    if source in ("guidelines", "notes"):
        for form in islice(cycle(TRICKY), count["tricky_keep"]):
            planted.append(Document(tricky(form, rng), rng.random(), {"kind": "tricky_keep", "form": form}))
    copied = {id(original) for original in originals}
    for document in rng.sample([document for document in documents if id(document) not in copied], count["leaked"]):
        item, how = next(items), rng.choice(("verbatim", "normalised", "question_only"))
        document.text = leak(document.text, item, how, rng)
        document.truth = {"kind": "leaked", "benchmark": item.benchmark, "item": item.id, "how": how}
    return sorted(documents + planted, key=lambda document: document.place)


def _hosts(rng: Random, honest: list[str], count: int, kinds: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """`count` texts, each with one of `kinds` in turn."""
    return zip(rng.sample(honest, count), cycle(kinds), strict=False)


def _records(documents: list[Document], pool: str, source: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The source's records, and the lines of truth.jsonl for those of them that are planted."""
    names = {id(document): f"{source}-{number:05d}" for number, document in enumerate(documents)}
    records = []
    truth = []
    for document in documents:
        name = names[id(document)]
        records.append({"id": name, "text": document.text, "source": source, "meta": {}})
        if document.truth:
            of = {"of": f"{source}/{names[id(document.of)]}"} if document.of else {}
            truth.append({"id": f"{source}/{name}", "pool": pool, "source": source} | document.truth | of)
    return records, truth


def _jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
    ):
        packed.write(lines.encode())
