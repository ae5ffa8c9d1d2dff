"""gigatoken, and the text on which its ids may be taken for those of tokenizers.

Three guards, for three kinds of difference. `probes`: every pair of awkward pieces of text, once a tokenizer, finds a
tokenizer.json that gigatoken reads otherwise than tokenizers does (0.10 takes a ByteLevel pre-tokenizer with
use_regex: false for one with GPT-2's pattern, so that `$'s` comes apart). `sample`: pieces of the text itself, every
call, finds what is common in it. `NORMALIZED_OTHERWISE`: a rule, for what is too rare for a sample. tokenizers 0.23
composes and orders characters (NFC) by the tables of Unicode 9, gigatoken by newer ones; of all code points beside
marks of five combining classes 157 gave other ids, each of them newer than Unicode 9. A document with such a character
(pictographs, which never combine, aside) is left to tokenizers where the tokenizer normalizes.
"""

import json
import math
from typing import Any

import numpy as np
import polars as pl

NORMALIZED_OTHERWISE = r"[[^\p{Age=9.0}]--\p{Extended_Pictographic}]"
"""Characters whose normal form may differ between the two libraries."""
PIECE = 4096
"""Bytes of a piece of the sample."""
PIECES = 8
"""Pieces of the smallest sample: 32 KB, about 10 ms."""
AWKWARD = [
    *(" ", "  ", "\n", "\r", "\r\n", "\t", "\x00", "\x0b", "\x1c", "\x7f", "\x85", "\u00a0", "\u180e", "\u200b"),
    *("\u2028", "\u3000", "\ufeff", "\ufffd", "\u2581", "'", "'s", "'S", "'ll", "'LL", "'re", "'T", "\u017f"),
    *("a", "b", "Z", "the", "1", "23", "456", "7890", "\u00e9", "e\u0301", "\u0301", "\u0323", "\u00df", "\u0130"),
    *("\u01c5", "\u02b0", "\u0436", "\u6f22", "\u30ab", "\uff71", "\ud55c", "\u1100\u1161", "\u0915\u094d", "\u093e"),
    *("\u0e33", "\U0001f642", "\U0001f468\u200d\U0001f469", "\U0001f1e6", "\u2167", "\u00b2", "\u0663", "\ufb01"),
    *("\u2014", "\u2026", "-", "_", ".", ",", "!", "$", "(", "/", "\\", "<", ">", "\ue000", "\U00010330"),
]
"""Pieces at which pre-tokenizers and normalizers differ."""


def open_gigatoken(definition: str) -> tuple[Any, str]:
    """gigatoken's tokenizer, or None and why it cannot read the definition."""
    import gigatoken

    try:
        return gigatoken.Tokenizer.from_json(definition), ""
    except (RuntimeError, ValueError, TypeError) as error:
        return None, (str(error).strip() or type(error).__name__).splitlines()[0]


def encode_fast(tokenizer: Any, text: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Ids uint32 [tokens] and offsets int64 [documents + 1], by gigatoken, which uses a thread a core."""
    import awkward
    import pyarrow as pa

    column = text.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_string())
    encoded = awkward.to_packed(tokenizer.encode_batch(awkward.from_arrow(column)))
    return np.asarray(encoded.layout.content.data), np.asarray(encoded.layout.offsets.data)


def normalizes(definition: dict[str, Any]) -> bool:
    """Whether the tokenizer brings text to a Unicode normal form; gigatoken knows NFC only and refuses the others."""
    return '"NFC"' in json.dumps(definition.get("normalizer"))


def probes(definition: dict[str, Any], special: dict[str, int]) -> pl.Series:
    """Texts on which a definition that is read otherwise shows: pairs of awkward pieces, and tokens that are added."""
    tokens = [token["content"] for token in definition["added_tokens"]] + list(special)
    pairs = ["".join(f"{one}{other}{other} {one}" for other in AWKWARD) for one in AWKWARD]
    named = [f"a{token}b {token} {token}{token}\n{token}" for token in tokens]
    runs = [piece * length for piece in (" ", "\n", "a", "1", "-") for length in (2, 3, 17, 300)]
    return pl.Series([*AWKWARD, *pairs, *named, *runs, ""], dtype=pl.String)


def sample(text: pl.Series, share: float) -> pl.Series:
    """Pieces of the text, evenly spaced over its bytes: `share` of it, and at least PIECES."""
    if not len(text):
        return text
    ends = np.cumsum(text.str.len_bytes().to_numpy(), dtype=np.int64)
    pieces = max(PIECES, math.ceil(share * int(ends[-1]) / PIECE))
    places = np.unique(np.linspace(0, max(int(ends[-1]) - 1, 0), pieces).astype(np.int64))
    rows = np.minimum(np.searchsorted(ends, places, side="right"), len(text) - 1)
    found = []
    row, document = -1, b""
    for place, wanted in zip(places.tolist(), rows.tolist(), strict=True):
        if wanted != row:
            row, document = wanted, text[wanted].encode()
        start = max(min(place - (int(ends[row]) - len(document)), len(document) - PIECE), 0)
        found.append(document[start : start + PIECE].decode(errors="ignore"))
    return pl.Series(found, dtype=pl.String)
