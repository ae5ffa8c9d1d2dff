"""Drops documents with many words of a list, or that a classifier calls toxic."""

import functools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from pydantic import Field, model_validator

from curate.kernels.words import word_hashes
from curate.stage import Stage, Verdicts, detail

SHOWN = 5
"""Entries of the list that the ledger names for a document."""


class Toxicity(Stage, name="toxicity"):
    """Drops documents with many words of a list, or that a classifier calls toxic.

    Words are letters and digits, case and accents folded (kernels.words), so an entry never matches inside a
    longer word, except in scripts without blanks, where every character is a word; an entry of several words matches
    these words in a row, whatever stands between them; of entries that begin at the same word the longest counts. The
    score toxic_share is the share of a document's words that are part of an entry, toxic_score the classifier's
    probability. About 450 MB/s a core with a list of 400 entries.

    No list comes with it: every public one names parts of the body, diseases and acts that clinical text is about. Of
    401 English entries of the best known one (LDNOOBW) at least one stands in 250 of 1,996 clinical notes (rectum,
    vagina, penis, nipple) and in 2,512 of 35,628 biomedical documents, where the rule of C4 (arXiv 1910.10683), no page
    with any such word, would drop them all; a share of .01 drops 610. Make a list of your own, and look at the ledger.

    Reasons: toxic_words (detail: share, limit, entries), toxic_classifier (detail: score, limit); where both hold, the
    words are the reason.
    """

    words: str = ""
    """Path of a text file, UTF-8, an entry a line, blank lines skipped; empty: no list."""
    max_share: float = Field(0.01, ge=0, le=1)
    """Share of words above which a document is dropped; 0 drops for one word, 1 keeps all and only gives the score."""
    classifier: str = ""
    """Path of a supervised fastText model; it reads the text as one line. Empty: no classifier."""
    toxic_label: str = "toxic"
    """The classifier's label, without `__label__`, whose probability counts."""
    max_score: float = Field(0.5, ge=0, le=1)
    """Probability above which a document is dropped; 1 keeps all and only gives the score."""

    @model_validator(mode="after")
    def _has_a_judge(self) -> "Toxicity":
        if not self.words and not self.classifier:
            raise ValueError("neither `words` nor `classifier` is set, so it would keep everything. Name a file.")
        return self

    def inputs(self) -> list[str]:
        for key in ("words", "classifier"):
            path = getattr(self, key)
            if path and not Path(path).is_file():
                raise ValueError(
                    f"{self.workspace.where}.{key}: {path} is not there, so nothing can be judged by it. "
                    "Name a file, or take the key out."
                )
        return [path for path in (self.words, self.classifier) if path]

    def warm_up(self) -> None:
        """Compile the matching kernel."""
        if self.words:
            _load_entries(self.words, self.workspace.where).find(pl.Series(["text"]))

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        reasons: list[str | None] = [None] * documents.height
        details: list[str | None] = [None] * documents.height
        scores: dict[str, pl.Series] = {}
        if self.classifier:
            score = scores["toxic_score"] = self._probabilities(documents["text"])
            for row in (score > self.max_score).arg_true():
                reasons[row] = "toxic_classifier"
                details[row] = detail(score=round(score[row], 4), limit=self.max_score)
        if self.words:
            entries = _load_entries(self.words, self.workspace.where)
            share, found = entries.find(documents["text"])
            scores["toxic_share"] = share
            for row in (share > self.max_share).arg_true():
                names = [entries.written[entry] for entry in found[row][:SHOWN]]
                reasons[row] = "toxic_words"
                details[row] = detail(share=round(share[row], 4), limit=self.max_share, entries=names)
        return Verdicts(pl.Series("reason", reasons, pl.String), pl.Series("detail", details, pl.String), scores)

    def _probabilities(self, text: pl.Series) -> pl.Series:
        """The classifier's probability of `toxic_label` for each text, Float32."""
        from curate.language import load_fasttext

        model, wanted = load_fasttext(self.classifier), f"__label__{self.toxic_label}"
        if wanted not in model.get_labels():
            known = ", ".join(sorted(label.removeprefix("__label__") for label in model.get_labels())[:10])
            raise ValueError(
                f"{self.workspace.where}.toxic_label: {self.classifier} has no label {self.toxic_label!r}, so nothing "
                f"would be dropped. Its labels: {known}."
            )
        lines = text.str.replace_all(r"\s+", " ").to_list()
        labels, probabilities = model.predict(lines, k=-1) if lines else ([], [])
        found = (
            dict(zip(given, values, strict=True)).get(wanted, 0.0)
            for given, values in zip(labels, probabilities, strict=True)
        )
        return pl.Series([min(float(one), 1.0) for one in found], dtype=pl.Float32)


@dataclass(frozen=True)
class Entries:
    """A word list as hashes: entries that begin with the same word follow each other, the longest first."""

    written: list[str]
    """The entries as the file has them, in this order."""
    words: np.ndarray
    """uint64: hashes of the words of all entries."""
    starts: np.ndarray
    """int64, one more than entries: where each entry's words begin."""
    keys: np.ndarray
    """uint64: first words by open addressing, a power of two of them; 0 is free."""
    groups: np.ndarray
    """int64, one a key: the first entry with this first word."""

    def find(self, text: pl.Series) -> tuple[pl.Series, list[list[int]]]:
        """For each text the share of words that are part of an entry (Float32), and the entries found, in order."""
        share = np.zeros(len(text), np.float32)
        found: list[list[int]] = [[] for _ in range(len(text))]
        for first, words, starts in word_hashes(text, keep_digits=True):
            matches = np.empty(len(words), np.int32)
            covered = _match(words, starts, self.words, self.starts, self.keys, self.groups, matches)
            share[first : first + len(covered)] = covered / np.maximum(np.diff(starts), 1)
            at = np.flatnonzero(matches >= 0)
            for document, entry in zip(np.searchsorted(starts, at, side="right") - 1, matches[at], strict=True):
                if entry not in found[first + document]:
                    found[first + document].append(int(entry))
        return pl.Series(share), found


@functools.cache
def _load_entries(path: str, where: str) -> Entries:
    """Read a word list. Raises ValueError naming the lines that cannot be compared as words."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}.words: {path} is not UTF-8 ({error}). Save it as UTF-8.") from None
    written = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    hashes: list[np.ndarray] = []
    for _, words, starts in word_hashes(pl.Series(written, dtype=pl.String), keep_digits=True):
        hashes += [words[begin:end].copy() for begin, end in zip(starts[:-1], starts[1:], strict=True)]
    if bad := [entry for entry, words in zip(written, hashes, strict=True) if len(words) == 0 or _falls_apart(entry)]:
        raise ValueError(
            f"{where}.words: {path} has {len(bad)} entries with signs that are not compared, and what is left of them "
            f"is no word: {', '.join(bad[:SHOWN])}. Take them out, or write them in letters and digits."
        )
    if not written:
        raise ValueError(
            f"{where}.words: {path} has no entry, so nothing would be found. Fill it, or take the key out."
        )
    order = sorted(range(len(written)), key=lambda entry: (int(hashes[entry][0]), -len(hashes[entry])))
    hashes, size = [hashes[entry] for entry in order], 1 << (4 * len(order)).bit_length()
    keys, groups = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    _fill(np.array([words[0] for words in hashes]), keys, groups)
    starts = np.cumsum([0, *map(len, hashes)])
    return Entries([written[entry] for entry in order], np.concatenate(hashes), starts, keys, groups)


def _falls_apart(entry: str) -> bool:
    """Whether without the signs in it (`a$$`, `s&m`) only single letters or digits would be left of an entry."""
    signs = any(unicodedata.category(one)[0] in "PS" for one in entry)
    return signs and entry.isascii() and all(len(piece) < 2 for piece in re.split(r"[^0-9A-Za-z]+", entry))


@njit(nogil=True, cache=True)
def _slot(keys, word):  # type: ignore[no-untyped-def]
    """Where `word` stands in the table, or the free place where it would."""
    mask = np.uint64(keys.shape[0] - 1)
    slot = word & mask
    while keys[slot] != np.uint64(0) and keys[slot] != word:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(nogil=True, cache=True)
def _fill(firsts, keys, groups):  # type: ignore[no-untyped-def]
    """Enter the first words of entries, in order; a word's group is its first entry."""
    for entry in range(firsts.shape[0]):
        slot = _slot(keys, firsts[entry])
        if keys[slot] == np.uint64(0):
            keys[slot] = firsts[entry]
            groups[slot] = entry


@njit(nogil=True, cache=True)
def _match(words, starts, entry_words, entry_starts, keys, groups, matches):  # type: ignore[no-untyped-def]
    """Words covered by entries, a document each; matches[i] is the entry found at word i, or -1."""
    covered = np.zeros(starts.shape[0] - 1, np.int64)
    entries = entry_starts.shape[0] - 1
    for document in range(starts.shape[0] - 1):
        i = starts[document]
        while i < starts[document + 1]:
            matches[i] = -1
            step = 1
            slot = _slot(keys, words[i])
            if keys[slot] == words[i] and words[i] != np.uint64(0):
                entry = groups[slot]
                while entry < entries and entry_words[entry_starts[entry]] == words[i]:
                    length = entry_starts[entry + 1] - entry_starts[entry]
                    same = 0
                    if i + length <= starts[document + 1]:
                        while same < length and entry_words[entry_starts[entry] + same] == words[i + same]:
                            same += 1
                    if same == length:
                        matches[i] = entry
                        for k in range(1, length):
                            matches[i + k] = -1
                        covered[document] += length
                        step = length
                        break
                    entry += 1
            i += step
    return covered
