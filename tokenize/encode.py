"""Text to token ids: a column of documents becomes one flat buffer of ids.

Documents are encoded as [BOS] + ids + [EOS], each of the two only where the tokenizer's files name one. That policy is
ours and explicit: the tokenizer's own post-processor is not applied. Text is always plain text: a document that
contains the letters `</s>` gets the ids of those letters, never the id of the special token, because special tokens
are taken out of the matching vocabulary before anything is encoded.

GPT-2's tokenizer, 50 MB of real text, 2 cores, ids in numpy: gigatoken 120 MB/s on the first call and about 230 after
it, tokenizers 3. gigatoken is used where its ids equal those of tokenizers on a sample of the very text (about 0.1 s a
call); do not use this module to encode a few short strings at a time, there the check costs more than it saves.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl
from tokenizers import Tokenizer

from curate.files import file_identity, identity, read_json

CHUNK_BYTES = 32 << 20
"""Text handed to the tokenizer at a time."""
SAMPLE_DOCUMENTS = 32
SAMPLE_CHARACTERS = 4096
"""The check reads the first and the last characters of some documents, evenly spaced over the column."""


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
    """Encodes text with the tokenizer in a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        tokenizer = load(folder)
        self.bos, self.eos = _marks(self.folder, tokenizer)
        self.identity = _identity(self.folder, self.bos, self.eos)
        self.vocabulary_size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.dtype = np.dtype(np.uint16 if self.vocabulary_size <= 1 << 16 else np.uint32)

    @cached_property
    def _definition(self) -> tuple[str, dict[str, int]]:
        return _plain_text(self.folder, {self.bos, self.eos})

    @cached_property
    def _slow(self) -> Tokenizer:
        return Tokenizer.from_str(self._definition[0])

    @cached_property
    def _fast(self) -> tuple[Any, str]:
        return _gigatoken(self._definition[0])

    def encode(self, text: pl.Series) -> Encoded:
        """Encode a String column without nulls."""
        assert text.null_count() == 0, "documents have text"
        fast, path = self._choose(text)
        parts = [self._encode_chunk(chunk, fast) for chunk in _chunks(text)]
        ids = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, self.dtype)
        lengths = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.int64)
        assert len(lengths) == len(text) and int(lengths.sum()) == len(ids)
        return Encoded(ids, lengths, path)

    def _choose(self, text: pl.Series) -> tuple[bool, str]:
        """Whether the fast library may encode `text`, and the reason in words."""
        fast, why_not = self._fast
        if fast is None:
            return False, f"tokenizers (gigatoken cannot read this tokenizer: {why_not})"
        sample = _sample(text, list(self._definition[1]))
        fast_ids, fast_offsets = _encode_fast(fast, sample)
        slow_ids, slow_offsets = _encode_slow(self._slow, sample)
        if np.array_equal(fast_offsets, slow_offsets) and np.array_equal(fast_ids, slow_ids):
            return True, f"gigatoken (ids equal on {len(sample)} pieces of the text)"
        return False, "tokenizers (gigatoken gives other ids on a sample of the text)"

    def _encode_chunk(self, text: pl.Series, fast: bool) -> tuple[np.ndarray, np.ndarray]:
        content, offsets = _encode_fast(self._fast[0], text) if fast else _encode_slow(self._slow, text)
        bos = -1 if self.bos is None else self.bos
        eos = -1 if self.eos is None else self.eos
        lengths = np.diff(offsets) + (bos >= 0) + (eos >= 0)
        ids = np.empty(int(lengths.sum()), self.dtype)
        forbidden = np.zeros(self.vocabulary_size, np.bool_)
        forbidden[list(self._definition[1].values())] = True
        found = _frame(content, offsets, bos, eos, forbidden, ids)
        assert found == 0, f"{self.folder}: text became special tokens {found} times"
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


def _plain_text(folder: Path, named: set[int | None]) -> tuple[str, dict[str, int]]:
    """A tokenizer.json whose special tokens no text can match, and those tokens with their ids.

    Both libraries look for special tokens in the text first; without the entries they cannot. Some models hold the
    same strings in their vocabulary, where a whole-word look-up could still find them: there they get a name that is
    made of private-use characters. The unknown token stays findable by the model alone.
    """
    definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = definition["model"]
    added = definition.get("added_tokens") or []
    special = {token["content"]: token["id"] for token in added if token["special"] or token["id"] in named}
    vocabulary: Any = model["vocab"]
    hidden = {token: f"\ue000special {id}\ue000" for token, id in special.items()}
    if isinstance(vocabulary, dict):
        special |= {token: id for token, id in vocabulary.items() if id in named}
        hidden |= {token: f"\ue000special {id}\ue000" for token, id in special.items()}
        model["vocab"] = {hidden.get(token, token): id for token, id in vocabulary.items()}
    else:
        model["vocab"] = [[hidden.get(token, token), score] for token, score in vocabulary]
    if model.get("merges"):
        model["merges"] = [merge for merge in model["merges"] if _result(merge) not in hidden]
    unknown = model.get("unk_token")
    if unknown in hidden:
        model["unk_token"] = hidden[unknown]
    if isinstance(model.get("unk_id"), int):
        unknown = vocabulary[model["unk_id"]][0]
    definition["added_tokens"] = [token for token in added if token["content"] not in special]
    definition["post_processor"] = definition["truncation"] = definition["padding"] = None
    special.pop(unknown, None)
    return json.dumps(definition, ensure_ascii=False), special


def _result(merge: Any) -> str:
    """The token a merge makes; tokenizer.json writes it as "a b" or as ["a", "b"]."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left + right


def _gigatoken(definition: str) -> tuple[Any, str]:
    """gigatoken's tokenizer, or None and why it cannot read the definition."""
    import gigatoken

    try:
        return gigatoken.Tokenizer.from_json(definition), ""
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        return None, (str(error).strip() or type(error).__name__).splitlines()[0]


def _encode_fast(tokenizer: Any, text: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Ids uint32 [tokens] and offsets int64 [documents + 1], from the Arrow buffers without a copy of the text."""
    import awkward
    import pyarrow as pa

    column = text.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_string())
    encoded = awkward.to_packed(tokenizer.encode_batch(awkward.from_arrow(column)))
    return np.asarray(encoded.layout.content.data), np.asarray(encoded.layout.offsets.data)


def _encode_slow(tokenizer: Tokenizer, text: pl.Series, batch: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Ids uint32 [tokens] and offsets int64 [documents + 1], by tokenizers."""
    content, lengths = [], []
    for start in range(0, len(text), batch):
        documents = tokenizer.encode_batch_fast(text[start : start + batch].to_list(), add_special_tokens=False)
        ids = [document.ids for document in documents]
        lengths += [len(document) for document in ids]
        content.append(np.fromiter(chain.from_iterable(ids), np.uint32, sum(map(len, ids))))
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return np.concatenate(content) if content else np.empty(0, np.uint32), offsets


def _chunks(text: pl.Series) -> list[pl.Series]:
    """`text` in slices of about CHUNK_BYTES; a longer document stands alone."""
    if not len(text):
        return []
    ends = text.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() // CHUNK_BYTES
    starts = np.flatnonzero(np.diff(ends, prepend=-1))
    return [text[int(a) : int(b)] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _sample(text: pl.Series, special: list[str]) -> pl.Series:
    """Pieces of the text the two libraries are compared on, and every special token written as text."""
    rows = np.unique(np.linspace(0, max(len(text) - 1, 0), SAMPLE_DOCUMENTS).astype(np.int64))
    documents = text.gather(rows) if len(text) else text
    probes = pl.Series([f"a{token} b {token}" for token in special] + [""], dtype=pl.String)
    return pl.concat([documents.str.head(SAMPLE_CHARACTERS), documents.str.tail(SAMPLE_CHARACTERS), probes])


@numba.njit(nogil=True, cache=True)
def _frame(content, offsets, bos, eos, forbidden, out):  # type: ignore[no-untyped-def]
    """Write every document with BOS and EOS (-1: none) around it into `out`; returns how many ids are forbidden."""
    at = 0
    found = 0
    for document in range(offsets.size - 1):
        if bos >= 0:
            out[at] = bos
            at += 1
        for token in content[offsets[document] : offsets[document + 1]]:
            found += forbidden[token]
            out[at] = token
            at += 1
        if eos >= 0:
            out[at] = eos
            at += 1
    return found
