"""The words of texts as they are written: their hashes, and where they lie.

A word is what stands between white space or control characters (bytes below 33), case and punctuation included; a
character of a script written without spaces (see kernels.folding) is a word of its own, and a word of more than 2,047
bytes is cut into several.
.5 GB/s on one core for English text.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from curate.kernels.blocks import copy_bytes, load, spaces, store, trailing_zeros
from curate.kernels.folding import CODE_POINTS, folding_table
from curate.kernels.words import string_buffers

HASH_BITS = 48
"""Bits of a word's hash: of 1e8 different words some 18 pairs agree."""
LONGEST = 2047
"""Bytes of a word; what is longer counts as several."""
FAR = 7
"""Bytes of white space from which a gap is kept in `far`."""
NOTHING, BLANK, BREAK, EMPTY_LINE = range(4)
"""What a gap between two words is: nothing, white space on a line, the end of a line, an empty line."""

_MASK = np.uint64((1 << HASH_BITS) - 1)
_SEED = np.uint64(0xCBF29CE484222325)
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_FINISH = np.uint64(0xFF51AFD7ED558CCD)
_WIDE = np.uint64(0x8080808080808080)
_LOW_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


@dataclass
class SpacedWords:
    """The words of some documents. Word k of document d is starts[d] + k; its place is starts[d] + d + k."""

    hashes: np.ndarray
    """uint64, below 2^48."""
    starts: np.ndarray
    """int64 [documents + 1]."""
    places: np.ndarray
    """uint16: the word's bytes times 32, what the gap before it is times 8, and the gap's bytes, 7 for seven or more.
    Behind a document's last word there is one more place, of no bytes, for what follows it."""
    far: np.ndarray
    """uint32: the bytes of the gaps of seven or more."""
    far_starts: np.ndarray
    """int64 [documents + 1]."""


def spaced_words(texts: pl.Series | pa.Array) -> SpacedWords:
    """The words of every text; a null counts as an empty text."""
    data, offsets = string_buffers(texts)
    documents, size = len(offsets) - 1, int(offsets[-1] - offsets[0])
    longest = int(np.diff(offsets).max()) if documents else 0
    hashes = np.empty(size // 2 + documents, np.uint64)
    places = np.empty(size // 2 + 2 * documents, np.uint16)
    far = np.empty(size // FAR + 1, np.uint32)
    starts, far_starts = np.zeros(documents + 1, np.int64), np.zeros(documents + 1, np.int64)
    scratch = np.empty(longest + 128, np.uint8)
    _split(data, offsets, unspaced(), scratch, hashes, starts, places, far, far_starts)
    words = starts[-1]
    return SpacedWords(hashes[:words], starts, places[: words + documents], far[: far_starts[-1]], far_starts)


def packed(hashes: np.ndarray) -> np.ndarray:
    """Word hashes, 6 bytes each: uint8 [words, 6], in the memory of `hashes`, which are lost."""
    _pack(hashes, hashes.view(np.uint8))
    return hashes.view(np.uint8)[: 6 * len(hashes)].reshape(-1, 6)


def unpacked(data: np.ndarray) -> np.ndarray:
    """Word hashes (uint64) from the bytes of `packed`."""
    hashes = np.empty(data.size // 6, np.uint64)
    _unpack(data.reshape(-1), hashes)
    return hashes


@njit(nogil=True, cache=True)
def _pack(hashes, out):  # type: ignore[no-untyped-def]
    for i in range(hashes.shape[0]):
        store(out.ctypes.data + 6 * i, hashes[i])


@njit(nogil=True, cache=True)
def _unpack(data, hashes):  # type: ignore[no-untyped-def]
    words = hashes.shape[0]
    for i in range(words - 1):
        hashes[i] = load(data.ctypes.data + 6 * i) & _MASK
    if words:
        hashes[words - 1] = load(data.ctypes.data + 6 * words - 8) >> np.uint64(16) if words > 1 else np.uint64(0)
        for k in range(6 if words == 1 else 0):
            hashes[0] |= np.uint64(data[k]) << np.uint64(8 * k)


@cache
def unspaced() -> np.ndarray:
    """bool by code point below 0x20000: whether the character is a word of its own."""
    values, sizes = folding_table()
    return (values & np.uint64(255) == 0) & (sizes & 15 > 2)


@njit(nogil=True, cache=True)
def _split(data, offsets, own, scratch, hashes, starts, places, far, far_starts):  # type: ignore[no-untyped-def]
    """Fill the arrays of SpacedWords; each text is copied to `scratch`, zeros behind it."""
    text = scratch.ctypes.data
    words = np.int64(0)
    gaps = np.int64(0)
    for document in range(offsets.shape[0] - 1):
        size = offsets[document + 1] - offsets[document]
        copy_bytes(data.ctypes.data + offsets[document], text, size)
        scratch[size : size + 128] = 0
        last = np.int64(0)
        begin = np.int64(-1)
        spaced = np.uint64(1)
        for base in range(0, size + 1, 64):
            space = spaces(text + base)
            edges = space ^ ((space << np.uint64(1)) | spaced)
            spaced = space >> np.uint64(63)
            while edges != np.uint64(0):
                edge = base + trailing_zeros(edges)
                edges &= edges - np.uint64(1)
                if begin < 0:
                    begin = edge
                    continue
                value, wide = _hash(text + begin, edge - begin)
                if wide or edge - begin > LONGEST:
                    words, gaps = _pieces(scratch, begin, edge, last, own, hashes, words, places, document, far, gaps)
                else:
                    gaps = _place(scratch, last, begin, edge, places, words + document, far, gaps)
                    hashes[words] = value
                    words += 1
                last = edge
                begin = np.int64(-1)
        gaps = _place(scratch, last, size, size, places, words + document, far, gaps)
        starts[document + 1] = words
        far_starts[document + 1] = gaps


@njit(nogil=True, cache=True)
def _hash(word, size):  # type: ignore[no-untyped-def]
    """Hash of the `size` bytes at an address, and whether one of them is outside ASCII."""
    first = load(word) & _LOW_BYTES[min(size, 8)]
    second = load(word + 8) & _LOW_BYTES[min(max(size - 8, 0), 8)]
    value = _mix(_mix(_SEED, first), second)  # without branches up to 16 bytes
    seen = first | second
    if size > 16:
        for more in range(16, size, 8):
            eight = load(word + more) & _LOW_BYTES[min(size - more, 8)]
            seen |= eight
            value = _mix(value, eight)
    return ((value * _FINISH) >> np.uint64(13)) & _MASK, (seen & _WIDE) != np.uint64(0)


@njit(nogil=True, cache=True)
def _mix(value, eight):  # type: ignore[no-untyped-def]
    value = (value ^ eight) * _MULTIPLY
    return value ^ (value >> np.uint64(32))


@njit(nogil=True, cache=True, inline="always")
def _place(text, last, begin, end, places, place, far, gaps):  # type: ignore[no-untyped-def]
    """Write where a word lies: [begin, end) after a gap from `last` on. Returns how many gaps are in `far`."""
    gap = begin - last
    kind = (BREAK if text[last] == 10 else BLANK) if gap == 1 else _gap_kind(text.ctypes.data + last, gap)
    places[place] = np.uint16((end - begin) << 5 | kind << 3 | min(gap, FAR))
    if gap >= FAR:
        far[gaps] = np.uint32(gap)
        gaps += 1
    return gaps


@njit(nogil=True, cache=True)
def _gap_kind(address, size):  # type: ignore[no-untyped-def]
    """What the `size` bytes of white space at an address are: NOTHING, BLANK, BREAK or EMPTY_LINE."""
    if size == 0:
        return NOTHING
    breaks = 0
    for i in range(size):
        breaks += np.int64(load(address + i) & np.uint64(255) == np.uint64(10))
    return BLANK + min(breaks, 2)


@njit(nogil=True, cache=True)
def _pieces(text, begin, end, last, own, hashes, words, places, document, far, gaps):  # type: ignore[no-untyped-def]
    """Append the words of [begin, end), which holds characters that are words of their own or is very long."""
    i = begin
    while i < end:
        byte = np.int64(text[i])
        after = i + 1 + np.int64(byte >= 0xC0) + np.int64(byte >= 0xE0) + np.int64(byte >= 0xF0)
        alone = False
        if byte >= 0xE0:
            code = (byte & 0x0F) << 12 | (np.int64(text[i + 1]) & 0x3F) << 6 | np.int64(text[i + 2]) & 0x3F
            if byte >= 0xF0:
                code = (code & 0x7FFF) << 6 | np.int64(text[i + 3]) & 0x3F
            alone = own[code] if code < CODE_POINTS else code < 2 * CODE_POINTS
        if i > begin and (alone or after - begin > LONGEST):
            gaps = _place(text, last, begin, i, places, words + document, far, gaps)
            hashes[words] = _hash(text.ctypes.data + begin, i - begin)[0]
            words += 1
            last = begin = i
        if alone or after == end:
            gaps = _place(text, last, begin, after, places, words + document, far, gaps)
            hashes[words] = _hash(text.ctypes.data + begin, after - begin)[0]
            words += 1
            last = begin = after
        i = after
    return words, gaps


@njit(nogil=True, cache=True)
def word_places(places, far, begins, ends, gaps):  # type: ignore[no-untyped-def]
    """Where the words of one document begin and end in bytes, and what the gap before each is.

    `places` and `far` are the document's; the arrays filled are as long as `places`, their last entry the text's end.
    """
    at = np.int64(0)
    next_far = 0
    for i in range(places.shape[0]):
        gap = np.int64(places[i] & 7)
        if gap == FAR:
            gap = np.int64(far[next_far])
            next_far += 1
        gaps[i] = places[i] >> 3 & 3
        begins[i] = at + gap
        at += gap + np.int64(places[i] >> 5)
        ends[i] = at
