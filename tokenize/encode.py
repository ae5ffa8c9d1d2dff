"""Text to token ids: a column of documents becomes one flat buffer of ids.

Documents are encoded as [BOS] + ids + [EOS], each of the two only where the tokenizer's files name one. That policy is
ours and explicit: the tokenizer's own post-processor is not applied. Text is always plain text: a document that
contains the letters `</s>` gets the ids of those letters, never the id of the special token, because special tokens
are taken out of the matching vocabulary before anything is encoded.

gigatoken is used where its ids are those of tokenizers (the guards are in tokenization.fast), else tokenizers. Do not
use this module to encode a few short strings at a time: there opening (under 1 s) and the check cost more than they
save. 0 ids differ on 163 MB of real text with the tokenizers of GPT-2, NeoX-20B, Mistral v3 and the tiny base. GPT-2's,
60 MB, 2 busy cores, ids in numpy: 46 MB/s on the first call of a process, which opens both libraries, 212 after it;
tokenizers 3.4, which is also the speed where gigatoken cannot be used.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from curate.files import file_identity, identity, read_json
from tokenization.fast import NORMALIZED_OTHERWISE, encode_fast, normalizes, open_gigatoken, probes, sample
from tokenization.plain_text import plain_text

CHUNK_BYTES = 32 << 20
"""Text handed to the tokenizer at a time; bounds what encoding holds beside the ids."""
BATCH_BYTES = 1 << 20
"""Text handed to tokenizers at a time; its encodings take 65 bytes a byte of text, 6.5 GB for a document of 100 MB."""
CHECK = 0.001
"""Share of the text the two libraries are compared on in every call, if nothing else is asked for."""
GIGATOKEN = "gigatoken (ids equal on a sample of the text)"


@dataclass(frozen=True)
class Encoded:
    """A column of documents as ids."""

    ids: np.ndarray
    """uint16 or uint32 [tokens]: the documents one after the other."""
    lengths: np.ndarray
    """int64 [documents]: tokens of each document, BOS and EOS included."""
    path: str
    """Which library encoded it and why, in words."""


class Encoder:
    """Encodes text with the tokenizer in a folder.

    `check` is the share of the text on which, in every call, gigatoken's ids are compared with those of tokenizers
    before it may encode the rest; 0 leaves gigatoken out. Ids are the same either way.
    """

    def __init__(self, folder: str | Path, check: float = CHECK) -> None:
        self.folder = Path(folder)
        self.check = check
        tokenizer = load(folder)
        self.bos, self.eos = _marks(self.folder, tokenizer)
        self.identity = _identity(self.folder, self.bos, self.eos)
        self.vocabulary_size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.dtype = np.dtype(np.uint16 if self.vocabulary_size <= 1 << 16 else np.uint32)

    @cached_property
    def _plain(self) -> tuple[dict[str, Any], dict[str, int]]:
        return plain_text(self.folder, {self.bos, self.eos})

    @cached_property
    def _definition(self) -> str:
        return json.dumps(self._plain[0], ensure_ascii=False)

    @cached_property
    def _slow(self) -> Tokenizer:
        return Tokenizer.from_str(self._definition)

    @cached_property
    def _fast(self) -> tuple[Any, str]:
        """gigatoken's tokenizer, or None and what encodes instead and why."""
        if not self.check:
            return None, "tokenizers (the share to check gigatoken on is 0)"
        fast, why_not = open_gigatoken(self._definition)
        if fast is None:
            return None, f"tokenizers (gigatoken cannot read this tokenizer: {why_not})"
        if not self._equal(fast, probes(*self._plain)):
            return None, "tokenizers (gigatoken gives other ids on probes of this tokenizer)"
        return fast, GIGATOKEN

    @cached_property
    def _normalizes(self) -> bool:
        return normalizes(self._plain[0])

    @cached_property
    def _forbidden(self) -> np.ndarray:
        """bool [vocabulary]: ids no text may get."""
        forbidden = np.zeros(self.vocabulary_size, np.bool_)
        forbidden[list(self._plain[1].values())] = True
        return forbidden

    def encode(self, text: pl.Series) -> Encoded:
        """Encode a String column without nulls."""
        assert text.null_count() == 0, "documents have text"
        fast, path = self._choose(text)
        ids: list[np.ndarray] = []
        lengths = [np.empty(0, np.int64)]
        for chunk in _chunks(text, CHUNK_BYTES):
            framed = self._encode_chunk(chunk, fast)
            ids.append(framed[0])
            lengths.append(framed[1])
            del framed
        encoded = Encoded(_joined(ids, self.dtype), np.concatenate(lengths), path)
        assert len(encoded.lengths) == len(text) and int(encoded.lengths.sum()) == len(encoded.ids)
        return encoded

    def _choose(self, text: pl.Series) -> tuple[Any, str]:
        """gigatoken's tokenizer where it may encode `text`, else None; and the reason in words."""
        fast, path = self._fast
        if fast is not None and not self._equal(fast, sample(text, self.check)):
            return None, "tokenizers (gigatoken gives other ids on a sample of the text)"
        return fast, path

    def _equal(self, fast: Any, text: pl.Series) -> bool:
        fast_ids, fast_offsets = encode_fast(fast, text)
        slow_ids, slow_offsets = _encode_slow(self._slow, text)
        return np.array_equal(fast_offsets, slow_offsets) and np.array_equal(fast_ids, slow_ids)

    def _encode_chunk(self, text: pl.Series, fast: Any) -> tuple[np.ndarray, np.ndarray]:
        """Framed ids and lengths; documents that gigatoken could read otherwise go to tokenizers."""
        slow = np.ones(len(text), np.bool_)
        if fast is not None:
            slow = text.str.contains(NORMALIZED_OTHERWISE).to_numpy() if self._normalizes else ~slow
        encoded = []
        if slow.any():
            encoded.append((slow, *_encode_slow(self._slow, text.filter(pl.Series(slow)))))
        if not slow.all():
            encoded.append((~slow, *encode_fast(fast, text.filter(pl.Series(~slow)))))
        lengths = np.zeros(len(text), np.int64)
        for rows, _, offsets in encoded:
            lengths[rows] = np.diff(offsets) + (self.bos is not None) + (self.eos is not None)
        ends = np.cumsum(lengths)
        ids = np.empty(int(ends[-1]), self.dtype)
        content = np.ones(len(ids), np.bool_)
        for mark, places in ((self.bos, ends - lengths), (self.eos, ends - 1)):
            if mark is not None:
                ids[places], content[places] = mark, False
        for rows, found, _ in encoded:
            assert not self._forbidden[found].any(), f"{self.folder}: text became special tokens"
            ids[content if rows.all() else content & np.repeat(rows, lengths)] = found
        return ids, lengths


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer of a folder, as its tokenizer.json says."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ValueError(
            f"{path}: there is no such file, so nothing can be encoded. Point at a folder with a Hugging Face "
            "tokenizer.json (for a run, curate.run writes it)."
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception for whatever it cannot parse
        raise ValueError(f"{path}: is not a usable tokenizer.json ({error}). Copy it again from its source.") from None


def special_ids(folder: str | Path) -> tuple[int | None, int | None]:
    """Ids of BOS and EOS, None where the tokenizer's files name none.

    Read from tokenizer_config.json, then special_tokens_map.json. Raises ValueError for a name without an id.
    """
    return _marks(Path(folder), load(folder))


def tokenizer_identity(folder: str | Path) -> str:
    """16 hex digits that stand for the ids this tokenizer gives: the bytes of tokenizer.json, and BOS and EOS."""
    return _identity(Path(folder), *special_ids(folder))


def _identity(folder: Path, bos: int | None, eos: int | None) -> str:
    return identity({"tokenizer": file_identity(folder / "tokenizer.json"), "bos": bos, "eos": eos})


def _marks(folder: Path, tokenizer: Tokenizer) -> tuple[int | None, int | None]:
    ids: list[int | None] = []
    for key in ("bos_token", "eos_token"):
        file, token = _named(folder, key)
        ids.append(None if token is None else tokenizer.token_to_id(token))
        if token is not None and ids[-1] is None:
            raise ValueError(
                f"{file}: {key}: {token!r} is not in the vocabulary of {folder / 'tokenizer.json'}, so documents "
                "could not be marked with it. Name a token of that vocabulary, or null."
            )
    return ids[0], ids[1]


def _named(folder: Path, key: str) -> tuple[Path, str | None]:
    """The token that stands under `key`, and the file that says so."""
    for file in (folder / "tokenizer_config.json", folder / "special_tokens_map.json"):
        if not file.exists():
            continue
        values = read_json(file)
        token = values.get(key) if isinstance(values, dict) else None
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return file, token
    return folder, None


def _encode_slow(tokenizer: Tokenizer, text: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Ids uint32 [tokens] and offsets int64 [documents + 1], by tokenizers, which uses a thread a core."""
    content, lengths = [], []
    for batch in _chunks(text, BATCH_BYTES):
        documents = tokenizer.encode_batch_fast(batch.to_list(), add_special_tokens=False)
        ids = [document.ids for document in documents]
        lengths += [len(document) for document in ids]
        content.append(np.fromiter(chain.from_iterable(ids), np.uint32, sum(map(len, ids))))
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return np.concatenate(content) if content else np.empty(0, np.uint32), offsets


def _chunks(text: pl.Series, size: int) -> list[pl.Series]:
    """`text` in slices of about `size` bytes; a longer document stands alone."""
    if not len(text):
        return []
    ends = text.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() // size
    starts = np.flatnonzero(np.diff(ends, prepend=-1))
    return [text[int(a) : int(b)] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """`parts` one after the other; each is let go as soon as it is copied, so nothing is held twice."""
    if len(parts) == 1:
        return parts[0]
    joined = np.empty(sum(map(len, parts)), dtype)
    at = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        joined[at : at + len(part)] = part
        at += len(part)
    return joined
