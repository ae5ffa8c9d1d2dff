"""Scores of words under a KenLM, from its probing binary file, many lookups in flight at once.

KenLM asks its hash tables word by word and order by order, and waits for memory at each. Here all words of a block ask
the table of one order, then those that were found ask the next, so that the cache misses of many words overlap. Same
tables, same numbers as `kenlm.Model.full_scores` (Heafield 2011, "KenLM: Faster and Smaller Language Model Queries").
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from curate.kernels.words import string_buffers

BLOCK = 4096
"""Words looked up together."""
_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0\0".ljust(56, b"\0")
_SANITY = np.dtype([("magic", "S56"), ("floats", "<f4", 3), ("words", "<u4", 3), ("one", "<u8")])
_FIXED = np.dtype(
    [("order", "u1"), ("_", "u1", 3), ("multiplier", "<f4"), ("type", "<i4"), ("vocabulary", "<u4"), ("version", "<u4")]
)
_PROBING = 0


@dataclass(frozen=True)
class Tables:
    """A probing model in memory."""

    data: np.ndarray
    """The file as uint32; mapped, so that processes share it."""
    starts: np.ndarray
    """Where the vocabulary, the words' probabilities and the n-grams of each order from 2 on begin, in data; int64."""
    buckets: np.ndarray
    """Slots of the vocabulary, of the words (not hashed: their number) and of each order from 2 on; uint64."""

    @property
    def order(self) -> int:
        """Words per n-gram."""
        return len(self.starts) - 1


def read_tables(path: Path) -> Tables | None:
    """Map the model at `path`; None where it is no probing binary file of KenLM's current format."""
    with open(path, "rb") as file:
        head = file.read(_SANITY.itemsize + _FIXED.itemsize + 8 * 256)
    if len(head) < _SANITY.itemsize + _FIXED.itemsize or head[:56] != _MAGIC:
        return None
    fixed = np.frombuffer(head, _FIXED, 1, _SANITY.itemsize)[0]
    if fixed["type"] != _PROBING or fixed["version"] != 0:
        return None
    order, multiplier = int(fixed["order"]), float(fixed["multiplier"])
    if not (2 <= order <= len(head[_SANITY.itemsize + _FIXED.itemsize :]) // 8 and 1 <= multiplier < 100):
        return None
    counts = np.frombuffer(head, "<u8", order, _SANITY.itemsize + _FIXED.itemsize)
    if counts.max() >= 1 << 40:
        return None
    buckets = [_slots(counts[0], fixed["multiplier"]), counts[0] + np.uint64(1)]
    buckets += [_slots(count, fixed["multiplier"]) for count in counts[1:]]
    widths = [3, 2, *[4] * (order - 2), 3]  # of a slot, in uint32: the last order has no back-off weights
    sizes = [int(slots) * width for slots, width in zip(buckets, widths, strict=True)]
    header = -(-(_SANITY.itemsize + _FIXED.itemsize + 8 * order) // 8) * 8
    ends = np.cumsum([header // 4 + 2, *sizes], dtype=np.int64)
    if path.stat().st_size < 4 * int(ends[-1]):
        return None  # cut short
    return Tables(np.memmap(path, "<u4", "r", shape=(int(ends[-1]),)), ends[:-1], np.array(buckets, np.uint64))


def _slots(entries: np.uint64, multiplier: np.float32) -> np.uint64:
    return np.uint64(max(int(entries) + 1, int(np.float32(multiplier) * np.float32(entries))))


def line_scores(tables: Tables, lines: pl.Series, segment: int) -> pl.DataFrame:
    """Score each line, `<s>` before it and `</s>` after it, its words separated by single spaces.

    One row a line: `log10` (Float64, of the line), `words` (Int64, the line's end among them), `worst` (Float64, the
    lowest mean log10 of `segment` words in a row), `worst_at` (Int64, the first of these words). A line of fewer words
    is its own worst segment; an empty one has 0 words.
    """
    data, offsets = string_buffers(lines)
    rows = len(lines)
    columns = {"log10": np.zeros(rows), "words": np.zeros(rows, np.int64), "worst": np.zeros(rows)}
    columns["worst_at"] = np.zeros(rows, np.int64)
    _score(data, offsets, tables.data, tables.starts, tables.buckets, segment, *columns.values())
    return pl.DataFrame(columns)


@intrinsic
def _prefetch(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of array[index]."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        struct = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(struct.data, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(prefetch, [pointer, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


_MURMUR = np.uint64(0xC6A4A7935BD1E995)
_HASH_LEFT, _HASH_RIGHT = np.uint64(8978948897894561157), np.uint64(17894857484156487943)
_SIGN, _BELOW_SIGN = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
_ONE, _47 = np.uint64(1), np.uint64(47)


@njit(cache=True, nogil=True)
def _murmur(data, begin, end):  # type: ignore[no-untyped-def]
    """MurmurHash64A of data[begin:end], seed 0."""
    h = np.uint64(end - begin) * _MURMUR
    while end - begin >= 8:
        eight = np.uint64(0)
        for k in range(8):
            eight |= np.uint64(data[begin + k]) << np.uint64(8 * k)
        eight *= _MURMUR
        h = (h ^ ((eight ^ (eight >> _47)) * _MURMUR)) * _MURMUR
        begin += 8
    if begin < end:
        rest = np.uint64(0)
        for k in range(end - begin):
            rest |= np.uint64(data[begin + k]) << np.uint64(8 * k)
        h = (h ^ rest) * _MURMUR
    h = (h ^ (h >> _47)) * _MURMUR
    return h ^ (h >> _47)


@njit(cache=True, nogil=True)
def _find(model, start, slots, width, slot, key):  # type: ignore[no-untyped-def]
    """Where in `model` the value of `key` lies, -1 if it is not there; `slot` is where probing begins."""
    low, high = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
    for _ in range(slots):  # a damaged table may have no free slot
        at = start + slot * width
        if model[at] == low and model[at + 1] == high:
            return at + 2
        if model[at] == 0 and model[at + 1] == 0:
            return -1
        slot += 1
        if slot == slots:
            slot = 0
    return -1


@njit(cache=True, nogil=True)
def _word(model, starts, buckets, hashed):  # type: ignore[no-untyped-def]
    """A word's number; 0 is the unknown word, which a word with a number that no word has is taken for."""
    slots = buckets[0]
    at = _find(model, starts[0], np.int64(slots), 3, np.int64(hashed % slots), hashed)
    number = np.int64(model[at]) if at >= 0 else np.int64(0)
    return number if number < np.int64(buckets[1]) else np.int64(0)


@njit(cache=True, nogil=True)
def _look_up(model, floats, starts, buckets, ids, count, probability, backoff, matched, nodes, slots, active):  # type: ignore[no-untyped-def]
    """The longest n-gram that ends at each of `count` words: its length, log10 and, by length, its back-off weights."""
    order = starts.shape[0] - 1
    left = 0
    for i in range(count):
        at = starts[1] + 2 * ids[i]
        probability[i] = -abs(floats[at])
        backoff[i, 1] = floats[at + 1]
        matched[i] = 1
        nodes[i] = np.uint64(ids[i])
        active[left] = i  # overwritten where the sign says that nothing longer ends here
        left += i > 0 and model[at] & _SIGN == 0
    for n in range(2, order + 1):
        width = 4 if n < order else 3
        table, size = starts[n], buckets[n]
        for k in range(left):
            i = active[k]
            nodes[i] = (nodes[i] * _HASH_LEFT) ^ (np.uint64(1 + ids[i - n + 1]) * _HASH_RIGHT)
            slots[i] = np.int64(nodes[i] % size)
            _prefetch(model, table + slots[i] * width)
        still = 0
        for k in range(left):
            i = active[k]
            at = _find(model, table, np.int64(size), width, slots[i], nodes[i])
            if at < 0:
                continue
            probability[i] = -abs(floats[at])
            matched[i] = n
            if n < order:
                backoff[i, n] = floats[at + 1]
                active[still] = i
                still += i >= n and model[at] & _SIGN == 0
        left = still


@njit(cache=True, nogil=True)
def _score(data, offsets, model, starts, buckets, segment, log10, words, worst, worst_at):  # type: ignore[no-untyped-def]
    order = starts.shape[0] - 1
    floats = model.view(np.float32)
    room = BLOCK + order
    ids, slots, active = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    probability, backoff = np.empty(room, np.float32), np.empty((room, order), np.float32)
    matched, nodes = np.empty(room, np.int64), np.empty(room, np.uint64)
    recent = np.empty(segment, np.float64)
    mark = np.array([60, 115, 62, 60, 47, 115, 62], np.uint8)  # <s></s>
    start_id = _word(model, starts, buckets, _murmur(mark, 0, 3))
    end_id = _word(model, starts, buckets, _murmur(mark, 3, 7))
    for row in range(offsets.shape[0] - 1):
        at, stop = offsets[row], offsets[row + 1]
        ended = at == stop
        ids[0] = start_id
        known, scored, total, here = 1, 0, 0.0, 0.0  # known: words at the block's head that are context only
        while not ended:
            count = known
            while count < room and not ended:
                begin = at
                while at < stop and data[at] != 32:
                    at += 1
                if begin > stop:
                    ids[count], ended = end_id, True
                else:
                    ids[count] = _word(model, starts, buckets, _murmur(data, begin, at))
                at += 1
                count += 1
            _look_up(model, floats, starts, buckets, ids, count, probability, backoff, matched, nodes, slots, active)
            for i in range(known, count):
                value = np.float64(probability[i])
                for n in range(matched[i], min(matched[i - 1], order - 1) + 1):
                    value += backoff[i - 1, n]
                total += value
                here += value
                if scored >= segment:
                    here -= recent[scored % segment]
                recent[scored % segment] = value
                scored += 1
                if scored == segment or (scored > segment and here < worst[row]):
                    worst[row], worst_at[row] = here, scored - segment
            known = min(order, count)
            for i in range(known):
                ids[i] = ids[count - known + i]
        log10[row], words[row] = total, scored
        worst[row] = worst[row] / segment if scored >= segment else total / max(scored, 1)
