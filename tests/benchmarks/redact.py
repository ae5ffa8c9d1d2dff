"""Redaction beside Presidio's pattern recognisers: speed on clinical notes, accuracy on synthetic sentences.

    python tests/benchmarks/redact.py [--rounds 5] [--megabytes 1] [--show domain/clinical_notes] [--data FOLDER]

Speed: one process pinned to one core; ours counts finding, the edits' frame and the edited texts, Presidio's only the
finding. Presidio runs without an NLP model. Accuracy: pii/presidio_synth, gold spans by type. A span is exact with the
same bounds and type, overlapping with the same type and a byte in common. Of the gold spans those count that the
stage says it finds: dates more specific than a year and not a week day, ages over 89; postal codes inside a gold
address count as true. Patterns
were adjusted with these sentences at hand: our figures are those of a development set, Presidio's are not. A gold
postal code inside an address has the address's type, so exact precision of zip says little.
`--show` prints every span of a file with what stands around it, to be checked by eye.
"""

import argparse
import collections
import gzip
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import peers
import polars as pl
from timing import interleaved, report

from curate import edits
from curate.redact import Redact

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SCRIPT = Path(__file__).parent / "peers" / "presidio_patterns.py"
GOLD = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "US_SSN": "ssn",
    "DOMAIN_NAME": "url",
    "URL": "url",
    "IP_ADDRESS": "ip",
    "DATE_TIME": "date",
    "AGE": "age",
    "ZIP_CODE": "zip",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_DRIVER_LICENSE": "licence",
}
"""Types of the gold spans and of Presidio's recognisers, and our entities."""
MERGED = {"fax": "phone"}
"""Ours that the gold spans do not tell apart."""
Spans = set[tuple[int, int, int, str]]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=1.0, help="clinical notes in the comparison of speed")
    parser.add_argument("--show", help="file below --data whose spans are printed; nothing else is done")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    if options.show:
        show(options.data / f"{options.show}.jsonl.gz")
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # processes started from here inherit it
    python = peers.python("presidio", "presidio-analyzer==2.2.366")
    notes = [row["text"] for row in load(options.data / "domain" / "clinical_notes.jsonl.gz")]
    speed(notes, options.megabytes, options.rounds, python)
    accuracy(load(options.data / "pii" / "presidio_synth.jsonl.gz"), python)


def load(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def frame_of(texts: list[str]) -> pl.DataFrame:
    """Texts as a part's columns that the stage reads."""
    return pl.DataFrame({"id": [f"notes/{number}" for number in range(len(texts))], "text": texts})


def redacted(frame: pl.DataFrame, **keys: Any) -> pl.DataFrame:
    """What the stage does to a part: its edits, applied."""
    made = Redact(**keys).judge(frame).edits
    assert made is not None
    edits.apply(frame["text"], made)
    return made


def seconds(frame: pl.DataFrame, **keys: Any) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    redacted(frame, **keys)
    return time.perf_counter() - start


def speed(notes: list[str], megabytes: float, rounds: int, python: str) -> None:
    """Seconds on the first notes, ours and Presidio's taking turns; ours on all notes as well."""
    few, size = [], 0
    for text in notes:
        if size < megabytes * 1e6:
            few.append(text)
            size += len(text.encode())
    whole = sum(len(text.encode()) for text in notes)
    part, all_notes = frame_of(few), frame_of(notes)
    with tempfile.TemporaryDirectory() as folder:
        texts, spans = Path(folder, "texts.json"), Path(folder, "spans.json")
        texts.write_text(json.dumps(few))
        presidio = {
            "Presidio, patterns only": lambda: float(str(peers.call(python, SCRIPT, texts, spans)["seconds"])),
            "redact": lambda: seconds(part),
            "redact, surrogates": lambda: seconds(part, replace="surrogate"),
        }
        taken = peers.interleaved(presidio, rounds)
    alone = interleaved({"redact, all notes": lambda: redacted(all_notes)}, rounds)
    rows = {name: {**one, "MB": size / 1e6, "MB/s": size / 1e6 / one["median_s"]} for name, one in taken.items()}
    rows |= {name: {**one, "MB": whole / 1e6, "MB/s": whole / 1e6 / one["median_s"]} for name, one in alone.items()}
    slow = taken["Presidio, patterns only"]["median_s"] / size
    for row in rows.values():
        row["times Presidio"] = slow * row["MB"] * 1e6 / row["median_s"]
    report("redact_speed", f"Redaction of clinical notes, one core, medians of {rounds}", rows)


def accuracy(documents: list[dict[str, Any]], python: str) -> None:
    """Precision and recall of each entity, exact and overlapping."""
    texts = [row["text"] for row in documents]
    gold, addresses = gold_spans(documents)
    predicted = {"redact": our_spans(texts), "Presidio": presidio_spans(texts, python)}
    rows: dict[str, dict[str, Any]] = {}
    for entity in dict.fromkeys(GOLD.values()):
        row: dict[str, Any] = {"gold": sum(one[3] == entity for one in gold)}
        for name, spans in predicted.items():
            row |= scores(name, {one for one in spans if one[3] == entity}, gold, addresses, entity)
        rows[entity] = row
    report("redact_accuracy", "presidio_synth: precision (P) and recall (R), exact / overlapping", rows)


def gold_spans(documents: list[dict[str, Any]]) -> tuple[Spans, Spans]:
    """The gold spans that count, as (document, start, end, entity) in bytes; and those of addresses."""
    gold: Spans = set()
    addresses: Spans = set()
    for number, row in enumerate(documents):
        for span in row["meta"]["spans"]:
            value = row["text"][span["start"] : span["end"]]
            start = len(row["text"][: span["start"]].encode())
            one = (number, start, start + len(value.encode()), GOLD.get(span["type"], span["type"]))
            if span["type"] in ("ADDRESS", "STREET_ADDRESS"):
                addresses.add(one)
            too_coarse = one[3] == "date" and not re.search(r"\d\D+\d", value)
            if one[3] in GOLD.values() and not too_coarse and not (one[3] == "age" and int(value) < 90):
                gold.add(one)
    return gold, addresses


def our_spans(texts: list[str]) -> Spans:
    """What the stage finds."""
    made = redacted(frame_of(texts))
    columns = (made[name].to_list() for name in ("at", "start", "end", "reason"))
    return {(at, start, end, MERGED.get(reason, reason)) for at, start, end, reason in zip(*columns, strict=True)}


def presidio_spans(texts: list[str], python: str) -> Spans:
    """What Presidio's recognisers find."""
    with tempfile.TemporaryDirectory() as folder:
        given, spans = Path(folder, "texts.json"), Path(folder, "spans.json")
        given.write_text(json.dumps(texts))
        peers.call(python, SCRIPT, given, spans)
        found = json.loads(spans.read_text())
    made: Spans = set()
    for number, (text, results) in enumerate(zip(texts, found, strict=True)):
        for start, end, kind in results:
            if any(a <= start and end <= b and b - a > end - start for a, b, _ in results):
                continue  # inside a longer one, as a host in an address: its anonymiser leaves such out
            first = len(text[:start].encode())
            made.add((number, first, first + len(text[start:end].encode()), GOLD[kind]))
    return made


def scores(name: str, spans: Spans, gold: Spans, addresses: Spans, entity: str) -> dict[str, str | int]:
    """Precision and recall of one contender for one entity."""
    wanted = {one for one in gold if one[3] == entity}
    true = wanted | (addresses if entity == "zip" else set())
    meets = lambda one, others: any(one[0] == o[0] and one[1] < o[2] and o[1] < one[2] for o in others)  # noqa: E731
    by_document: dict[int, list[tuple[int, int, int, str]]] = collections.defaultdict(list)
    for one in true:
        by_document[one[0]].append(one)
    exact, overlapping = len(spans & wanted), sum(meets(one, by_document[one[0]]) for one in spans)
    recalled = sum(meets(one, spans) for one in wanted)
    share = lambda part, of: f"{part / of:.3f}" if of else "-"  # noqa: E731
    return {
        f"{name} found": len(spans),
        f"{name} P": f"{share(exact, len(spans))} / {share(overlapping, len(spans))}",
        f"{name} R": f"{share(exact, len(wanted))} / {share(recalled, len(wanted))}",
    }


def show(path: Path) -> None:
    """Every span with what stands around it, by entity."""
    texts = [row["text"] for row in load(path)]
    lines: dict[str, list[str]] = collections.defaultdict(list)
    for at, start, end, reason, evidence in (
        redacted(frame_of(texts)).select("at", "start", "end", "reason", "detail").iter_rows()
    ):
        text = texts[at].encode()
        around = [text[max(0, start - 35) : start], text[start:end], text[end : end + 25]]
        before, value, after = (part.decode(errors="replace").replace("\n", "⏎") for part in around)
        lines[f"{reason} {json.loads(evidence)['pattern']}"].append(f"{before}>>{value}<<{after}")
    for entity, found in lines.items():
        print(f"## {entity}: {len(found)}", *found, sep="\n")


if __name__ == "__main__":
    main()
