"""fastText's language models (lid.176.ftz, lid.176.bin) read into arrays and asked by one kernel.

The answers are fastText's own: the mean of the vectors of a text's words and of the 2 to 4 character pieces of each
word, then the most probable leaf of a binary tree over the languages (Joulin et al. 2016, arXiv 1607.01759; the file's
format and the hashing as in fastText 0.9.2, src/{fasttext,dictionary,quantmatrix,productquantizer,loss}.cc). What saves
the time: a word's sum is kept for when it comes again, hashes of the pieces that begin at a character grow out of each
other, vectors are unpacked once, and texts are read where they lie, many in one call.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numba import njit

from curate.kernels.words import string_buffers

MAGIC = 793712314
HIERARCHICAL = 1
"""fastText's number for the loss hs."""
ARGUMENTS = np.dtype(
    [
        (name, "<i4")
        for name in "magic version dim ws epoch min_count neg word_ngrams loss model bucket minn maxn rate".split()
    ]
    + [("t", "<f8")]
)
SIZES = np.dtype([("size", "<i4"), ("words", "<i4"), ("labels", "<i4"), ("tokens", "<i8"), ("pruned", "<i8")])
END_OF_LINE = b"</s>"
KEPT_WORDS = 1 << 15
"""Words whose sums are kept, by a 64-bit hash; a later word takes the place of an earlier one (2 MB at 16 numbers)."""


@dataclass(frozen=True)
class Model:
    """A fastText model with a hierarchical softmax and no word n-grams."""

    labels: list[str]
    """Names of the languages."""
    rows: np.ndarray
    """float32[n, dim]: vectors of words, then of pieces."""
    pieces: np.ndarray
    """int32[bucket]: row of the piece with this hash, or -1."""
    words: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Table of the words, and their bytes (uint8) and where each begins (int64), in the order of the rows. The table
    (int32, a power of two) has a word's number at its hash or behind, or -1."""
    lengths: tuple[int, int]
    """Fewest and most characters of a piece."""
    end_of_line: int
    """Row of the end of the line, or -1."""
    tree: np.ndarray
    """int32[n, 2]: the two children of each inner node, the root last; below the number of labels they are labels."""
    nodes: np.ndarray
    """float32[n, dim]: weights of the inner nodes."""

    def best(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Number of the most probable label (int32; -1 where nothing is known) and its probability, for each text."""
        if texts.str.contains(LABEL, literal=True).any():  # fastText takes such words for labels, not for text
            texts = texts.str.replace_all(_LABELS, "$1")
        data, offsets = string_buffers(texts)
        labels, scores = np.empty(len(texts), np.int32), np.empty(len(texts), np.float32)
        _best(
            data,
            offsets,
            self.rows,
            self.pieces,
            *self.words,
            *self.lengths,
            self.end_of_line,
            self.tree,
            self.nodes,
            labels,
            scores,
        )
        return labels, scores


LABEL = "__label__"
_LABELS = rf"(^|[ \n\r\t\v\f\x00]){LABEL}[^ \n\r\t\v\f\x00]*"
MOST_BUCKETS = 1 << 26
"""Of pieces; fastText's default is 2,000,000."""


@cache
def read_model(path: str) -> Model | None:
    """Read a fastText model; None where it is of another kind than the language models.

    Raises ValueError where it is damaged, so that a kernel would read past the end of an array.
    """
    try:
        model = _read_model(Path(path).read_bytes())
    except (ValueError, IndexError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path}: is no whole fastText model ({error}). Fetch it again.") from None
    if model and (problem := _misfit(model)):
        raise ValueError(f"{path}: is no whole fastText model ({problem}). Fetch it again.")
    return model


def _misfit(model: Model) -> str:
    labels, (rows, dim) = len(model.labels), model.rows.shape
    if labels < 2 or model.nodes.shape[0] < labels - 1 or model.nodes.shape[1] != dim:
        return f"{labels} labels, of which {len(model.nodes)} nodes decide"
    known = len(model.words[2]) - 1
    if known > rows or model.pieces.max(initial=-1) >= rows or (model.lengths[1] > 0 and not len(model.pieces)):
        return f"{rows} vectors are too few for {known} words and their pieces"
    if not (0 <= model.lengths[0] <= 100 and 0 <= model.lengths[1] <= 100):
        return f"pieces of {model.lengths[0]} to {model.lengths[1]} letters"
    return ""


def _read_model(data: bytes) -> Model | None:
    if len(data) < ARGUMENTS.itemsize + SIZES.itemsize:
        return None
    arguments = np.frombuffer(data, ARGUMENTS, 1)[0]
    if arguments["magic"] != MAGIC or arguments["version"] != 12:
        return None
    if arguments["loss"] != HIERARCHICAL or arguments["word_ngrams"] != 1:
        return None
    file = _File(data, ARGUMENTS.itemsize)
    sizes = file.take(SIZES)[0]
    words, counts = [], []
    for _ in range(sizes["size"]):
        words.append(file.word())
        counts.append(int(file.take("<i8")[0]))
        file.take("i1")
    count = int(sizes["words"])
    bucket = int(arguments["bucket"])
    if bucket > MOST_BUCKETS:
        raise ValueError(f"{bucket:,} buckets")
    if sizes["pruned"] >= 0:
        pieces = np.full(bucket, -1, np.int32)
        pairs = file.take("<i4", 2 * int(sizes["pruned"])).reshape(-1, 2)
        pieces[pairs[:, 0]] = pairs[:, 1] + count
    else:
        pieces = np.arange(count, count + bucket, dtype=np.int32)
    rows = file.quantized() if file.take("?")[0] else file.matrix()
    nodes = file.quantized() if file.take("?")[0] else file.matrix()
    labels = [word.decode().removeprefix(LABEL) for word in words[count:]]
    end = words.index(END_OF_LINE) if END_OF_LINE in words[:count] else -1
    lengths = (int(arguments["minn"]), int(arguments["maxn"]))
    return Model(labels, rows, pieces, _word_table(words[:count]), lengths, end, _tree(counts[count:]), nodes)


@dataclass
class _File:
    """A file's bytes and how far they are read."""

    data: bytes
    at: int

    def take(self, kind: Any, count: int = 1) -> np.ndarray:
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found

    def word(self) -> bytes:
        end = self.data.index(b"\0", self.at)
        found, self.at = self.data[self.at : end], end + 1
        return found

    def matrix(self) -> np.ndarray:
        """float32[m, n]."""
        m, n = (int(size) for size in self.take("<i8", 2))
        return self.take("<f4", m * n).reshape(m, n).copy()

    def quantized(self) -> np.ndarray:
        """float32[m, n], unpacked from product-quantized codes and, where there are some, quantized norms."""
        has_norms = self.take("?")[0]
        m, _ = self.take("<i8", 2)
        codes = self.take("u1", int(self.take("<i4")[0])).reshape(int(m), -1)
        rows = self.centroids(codes)
        if has_norms:
            rows *= self.centroids(self.take("u1", int(m))[:, None])
        return rows

    def centroids(self, codes: np.ndarray) -> np.ndarray:
        """float32[m, dim]: what the codes (uint8[m, parts]) stand for."""
        dim, parts, size, last = (int(one) for one in self.take("<i4", 4))
        values = self.take("<f4", dim * 256)
        full = values[: (parts - 1) * 256 * size].reshape(parts - 1, 256, size)
        found = [full[part][codes[:, part]] for part in range(parts - 1)]
        found.append(values[(parts - 1) * 256 * size :].reshape(256, last)[codes[:, parts - 1]])
        return np.ascontiguousarray(np.concatenate(found, axis=1))


def _word_table(words: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = np.frombuffer(b"".join(words) or b" ", np.uint8)
    starts = np.cumsum([0, *map(len, words)], dtype=np.int64)
    table = np.full(1 << (2 * len(words)).bit_length(), -1, np.int32)
    _fill(data, starts, table)
    return table, data, starts


def _tree(counts: list[int]) -> np.ndarray:
    """Children of the inner nodes of fastText's Huffman tree over labels that stand by falling count."""
    leaves = len(counts)
    weights, children = [*counts, *[10**15] * (leaves - 1)], np.empty((leaves - 1, 2), np.int32)
    leaf, node = leaves - 1, leaves
    for inner in range(leaves - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[inner, side], leaf = leaf, leaf - 1
            else:
                children[inner, side], node = node, node + 1
        weights[leaves + inner] = weights[children[inner, 0]] + weights[children[inner, 1]]
    return children


_OFFSET = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_LONG_OFFSET = np.uint64(14695981039346656037)
_LONG_PRIME = np.uint64(1099511628211)


@njit(nogil=True, cache=True, inline="always")
def _hashed(value, byte):  # type: ignore[no-untyped-def]
    """FNV-1a with bytes taken as signed, as fastText does."""
    return np.uint32((value ^ np.uint32(np.int8(byte))) * _PRIME)


@njit(nogil=True, cache=True, inline="always")
def _is_blank(byte):  # type: ignore[no-untyped-def]
    return byte == 32 or (byte >= 9 and byte <= 13) or byte == 0


@njit(nogil=True, cache=True)
def _find(data, begin, end, table, words, starts):  # type: ignore[no-untyped-def]
    """The place in the table where the word data[begin:end] stands, or the free one where it would."""
    value = _OFFSET
    for i in range(begin, end):
        value = _hashed(value, data[i])
    mask = table.shape[0] - 1
    slot = np.int64(value) & mask
    while table[slot] >= 0:
        first = starts[table[slot]]
        if starts[table[slot] + 1] - first == end - begin:
            same = 0
            while same < end - begin and words[first + same] == data[begin + same]:
                same += 1
            if same == end - begin:
                break
        slot = (slot + 1) & mask
    return slot


@njit(nogil=True, cache=True)
def _fill(data, starts, table):  # type: ignore[no-untyped-def]
    for word in range(starts.shape[0] - 1):
        table[_find(data, starts[word], starts[word + 1], table, data, starts)] = word


@njit(nogil=True, cache=True)
def _sum_pieces(word, size, minn, maxn, pieces, rows, total):  # type: ignore[no-untyped-def]
    """Add the vectors of the pieces of word[:size], which has `<` before and `>` behind; returns how many."""
    found = 0
    bucket = np.uint32(pieces.shape[0])
    for i in range(size):
        if word[i] & 0xC0 == 0x80:
            continue
        value = _OFFSET
        j = i
        length = 1
        while j < size and length <= maxn:
            value = _hashed(value, word[j])
            j += 1
            while j < size and word[j] & 0xC0 == 0x80:
                value = _hashed(value, word[j])
                j += 1
            if length >= minn and not (length == 1 and (i == 0 or j == size)):
                row = pieces[value % bucket]
                if row >= 0:
                    found += 1
                    for k in range(total.shape[0]):
                        total[k] += rows[row, k]
            length += 1
    return found


@njit(nogil=True, cache=True)
def _leaf(hidden, tree, nodes, stack, reached):  # type: ignore[no-untyped-def]
    """The most probable label and its log probability; branches below log 1e-5 are left out, as by fastText."""
    labels = tree.shape[0] + 1
    best, best_score = -1, np.float32(np.log(np.float32(1e-5)))
    stack[0], reached[0] = 2 * labels - 2, np.float32(0)
    depth = 1
    while depth > 0:
        depth -= 1
        node, score = stack[depth], reached[depth]
        if score < best_score:
            continue
        if node < labels:
            best, best_score = node, score
            continue
        inner = node - labels
        product = np.float32(0)
        for k in range(hidden.shape[0]):
            product += hidden[k] * nodes[inner, k]
        right = np.float32(1) / (np.float32(1) + np.exp(-product))
        for side in range(2):
            share = right if side == 1 else np.float32(1) - right
            stack[depth] = tree[inner, side]
            reached[depth] = score + np.float32(np.log(share + np.float32(1e-5)))
            depth += 1
    return best, best_score


@njit(nogil=True, cache=True)
def _best(data, offsets, rows, pieces, table, words, starts, minn, maxn, end_of_line, tree, nodes, labels, scores):  # type: ignore[no-untyped-def]
    """Label and probability of every text."""
    hidden = np.empty(rows.shape[1], np.float32)
    stack, reached = np.empty(2 * tree.shape[0] + 2, np.int32), np.empty(2 * tree.shape[0] + 2, np.float32)
    word = np.empty(1 << 10, np.uint8)
    kept, counts = np.empty(KEPT_WORDS, np.uint64), np.full(KEPT_WORDS, -1, np.int32)
    sums = np.empty((KEPT_WORDS, rows.shape[1]), np.float32)
    for text in range(offsets.shape[0] - 1):
        hidden[:] = 0
        found = 0
        i = offsets[text]
        while i < offsets[text + 1]:
            if _is_blank(data[i]):
                i += 1
                continue
            begin = i
            value = _LONG_OFFSET
            while i < offsets[text + 1] and not _is_blank(data[i]):
                value = (value ^ np.uint64(data[i])) * _LONG_PRIME
                i += 1
            slot = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(KEPT_WORDS - 1))
            if kept[slot] != value or counts[slot] < 0:
                if i - begin + 2 > word.shape[0]:
                    word = np.empty(2 * (i - begin) + 2, np.uint8)
                word[0] = 60
                word[1 : i - begin + 1] = data[begin:i]
                word[i - begin + 1] = 62
                known = table[_find(data, begin, i, table, words, starts)]
                sums[slot] = np.float32(0)
                if known >= 0:
                    sums[slot] = rows[known]
                pieces_found = _sum_pieces(word, i - begin + 2, minn, maxn, pieces, rows, sums[slot])
                kept[slot], counts[slot] = value, pieces_found + (known >= 0)
            found += counts[slot]
            hidden += sums[slot]
        if end_of_line >= 0:
            found += 1
            hidden += rows[end_of_line]
        if found == 0:
            labels[text], scores[text] = -1, 0
            continue
        hidden *= np.float32(1) / np.float32(found)
        label, score = _leaf(hidden, tree, nodes, stack, reached)
        labels[text], scores[text] = label, min(np.exp(score), np.float32(1))
