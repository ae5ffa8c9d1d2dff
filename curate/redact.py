"""Replaces identifiers inside documents: what patterns can find, and names where a recogniser is asked for."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import polars as pl

from curate.identifiers import Found, disjoint, find, kinds_of
from curate.stage import Stage, Verdicts, detail

Entity = Literal[
    "email",
    "phone",
    "fax",
    "ssn",
    "mrn",
    "health_plan",
    "account",
    "licence",
    "vehicle",
    "device",
    "url",
    "ip",
    "date",
    "age",
    "zip",
    "credit_card",
    "iban",
]


class Redact(Stage, name="redact"):
    """Replaces identifiers of the HIPAA Safe Harbor list (45 CFR 164.514(b)(2)(i)) that patterns can find.

    Found are e-mail addresses, telephone and fax numbers, social security, medical record, health plan, account,
    certificate and licence numbers, vehicle and device numbers, URLs, IP and MAC addresses, dates more specific than a
    year, ages from 90 on, US ZIP codes, credit cards and IBANs. Numbers without a shape of their own need the word that
    announces them ("MRN", "serial no."). Reasons, in the ledger of edits only, are the entities' names; detail:
    pattern. The ledger of edits never shows what stood there. No document is removed.

    It does not find: names and places without `recogniser`; street addresses, cities, organisations; week days, times
    of day, holidays, years; numbers in words; identifiers that a line break or a typing error cuts; photographs,
    biometrics; what is rare enough to identify a person. Patterns are for English text and US and common international
    formats. It helps to de-identify and makes no text de-identified in the sense of any law. Papers and general text
    lose their dates and links, unless `sources` leaves them out.

    Place it at the head of a pipeline (before or after `normalize`): it then runs while texts are read, and no file of
    the run has an identifier. Behind another stage, `work/` keeps the texts as they were read, and the ledger shows how
    documents begin that were dropped before, edited/ what was cut before. Ids and paths of records are not looked at.

    Doses, scores, blood pressures and other findings stay: of the 1,568 edits in 1,996 clinical notes some 450 were
    checked by eye and none was wrong, but the patterns were adjusted on the same notes. In research abstracts counts
    such as "20 patients (3/5/12)" pass for dates. 180 MB/s a core on those notes, 140 on a part of 1 MB. Accuracy by
    entity: tests/benchmarks/redact.py.
    """

    edits: ClassVar[bool] = True

    entities: list[Entity] = list(get_args(Entity))
    """What to replace; by default all. An empty list leaves only what `recogniser` finds."""
    replace: Literal["placeholder", "surrogate"] = "placeholder"
    """placeholder puts [EMAIL], [DATE], …; surrogate puts a made-up value of the same format, the same for the same
    identifier in every document, and moves a document's dates by one number of days, so that intervals stay. Only
    placeholders can be redacted again without a change: a moved date is a date."""
    seed: int = 0
    """Chooses the surrogates. Who knows it can test guesses of short identifiers: keep it and pipeline.yaml back."""
    recogniser: Literal["none", "presidio"] = "none"
    """presidio also finds names of people and places (extra `presidio`); eponyms (Parkinson, Crohn) stay. none is off.
    Slow, as it runs a spaCy model over every text; how well names are found is the model's."""
    recogniser_model: str = "en_core_web_lg"
    """spaCy model, a package's name or a folder; only read with `recogniser: presidio`."""

    def warm_up(self) -> None:
        """Compile the scan."""
        from curate.kernels.redact_scan import candidates

        candidates(pl.Series(["text 1"]))

    def inputs(self) -> list[str]:
        """The model's description, where the model is a folder; refuses a model that is not there."""
        where = self.workspace.where
        if self.recogniser == "none":
            return []
        from curate.redact_names import missing

        if lacking := missing(self.recogniser_model):
            raise ValueError(f"{where}.recogniser: presidio cannot find names: {lacking}")
        described = Path(self.recogniser_model) / "meta.json"
        return [str(described)] if described.exists() else []

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        rows: dict[str, list[int | str]] = {name: [] for name in ("at", "start", "end", "reason", "detail", "after")}
        ids = documents["id"].to_list()
        for place, text, found in self._found(documents["text"]):
            after = self._after(ids[place], text, found)
            rows["at"] += [place] * len(found)
            rows["start"] += [one.start for one in found]
            rows["end"] += [one.end for one in found]
            rows["reason"] += [one.entity for one in found]
            rows["detail"] += [detail(pattern=one.pattern) for one in found]
            rows["after"] += after
        schema = {"at": pl.UInt32, "start": pl.Int64, "end": pl.Int64, "reason": pl.String, "detail": pl.String}
        made = pl.DataFrame(rows, schema={**schema, "after": pl.String})
        nothing = pl.Series([None], dtype=pl.String).new_from_index(0, documents.height)
        edits = made.with_columns(before=pl.lit(None, pl.String))
        return Verdicts(nothing, nothing, edits=edits)

    def _found(self, texts: pl.Series) -> Iterator[tuple[int, memoryview, list[Found]]]:
        """Documents with identifiers: position, bytes, and the identifiers in order."""
        from curate.kernels.redact_scan import candidates

        entities = frozenset(self.entities)
        data, bounds, positions, kinds = candidates(texts, kinds_of(entities))
        view = memoryview(data)  # type: ignore[arg-type]
        document = np.searchsorted(bounds, positions, side="right") - 1
        pairs = zip(document.tolist(), (positions - bounds[document]).tolist(), kinds.tolist(), strict=True)
        seen = {place: [pair[1:] for pair in group] for place, group in itertools.groupby(pairs, lambda pair: pair[0])}
        for place in range(len(texts)) if self.recogniser == "presidio" else seen:
            text = view[bounds[place] : bounds[place + 1]]
            found = find(text, seen.get(place, []), entities)
            if self.recogniser == "presidio":
                from curate.redact_names import recognise

                found = disjoint([*found, *recognise(bytes(text).decode(), self.recogniser_model)])
            if found:
                yield place, text, found

    def _after(self, document: str, text: memoryview, found: list[Found]) -> list[str]:
        """What stands in place of each."""
        if self.replace == "placeholder":
            return [f"[{one.entity.upper()}]" for one in found]
        from curate.redact_dates import day_first
        from curate.redact_surrogates import date_surrogate, surrogate

        values = [bytes(text[one.start : one.end]).decode() for one in found]
        days_first = day_first([value for value, one in zip(values, found, strict=True) if one.entity == "date"])
        return [
            date_surrogate(value, document, self.seed, days_first)
            if one.entity == "date"
            else surrogate(one.entity, value, self.seed)
            for value, one in zip(values, found, strict=True)
        ]
