"""Gopher's and FineWeb's repetition measures, from word and line hashes, as datatrove 0.10 takes them.

Rae et al. 2021 (arXiv 2112.11446, table A1) and Penedo et al. 2024 (arXiv 2406.17557). n-grams are found step by step:
one of n words can only come twice where those of n - 1 words in it do, so that all tables but the first stay small.
"""

import numpy as np
from numba import njit

from curate.kernels.character_kinds import PADDING, characters, classify, strip
from curate.kernels.text_counts import COUNTS, count_lines, count_signs, scan
from curate.kernels.words import _load

TOP = (2, 3, 4)
REPEATED = (5, 6, 7, 8, 9, 10)
NAMES = (
    "all_lines",
    "repeated_lines",
    "repeated_line_characters",
    "repeated_filled_characters",
    "paragraphs",
    "repeated_paragraphs",
    "repeated_paragraph_characters",
    *(f"top_{n}_gram" for n in TOP),
    *(f"repeated_{n}_grams" for n in REPEATED),
)
"""Columns of the repeats. Lines between runs of \\n, those that came before, their characters, the same without blank
lines; paragraphs, those that came before, their characters; characters of the most frequent n-gram, all its places
together; characters of n-grams that came before."""
ALL_LINES, REPEATED_LINES, LINE_CHARACTERS, FILLED_CHARACTERS, PARAGRAPHS, REPEATED_PARAGRAPHS, PARAGRAPH_CHARACTERS = (
    range(7)
)
TOP_AT, REPEATED_AT, REPEATS = 7, 7 + len(TOP), len(NAMES)

_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def measure(data, offsets, short, table):
    """Counts int64[n, COUNTS] and repeats int64[n, REPEATS] of the n texts data[offsets[k]:offsets[k + 1]].

    `short` is the most characters of a short line, `table` the kinds of characters. Beside the results it takes memory
    for the longest text only, about 50 bytes for each of its words.
    """
    n = offsets.size - 1
    counts, repeats = np.zeros((n, COUNTS), np.int64), np.zeros((n, REPEATS), np.int64)
    room = most_ends = 0
    for d in range(n):
        room = max(room, offsets[d + 1] - offsets[d])
        most_ends = max(most_ends, _possible_ends(data[offsets[d] : offsets[d + 1]]))
    kind, marks = np.empty(room + PADDING, np.uint8), np.empty(room + 1, np.uint8)
    words, before = np.empty(room + 1, np.uint64), np.empty(room + 1, np.int64)
    keys, first, times = np.empty(room + 1, np.uint64), np.empty(room + 1, np.int32), np.empty(room + 1, np.int32)
    places, slots = np.empty(room + 1, np.int32), np.empty(4 * room + 16, np.int32)
    ends, lines = np.empty(most_ends, np.int64), np.empty((most_ends + 1, 4), np.int64)
    for d in range(n):
        text, row = data[offsets[d] : offsets[d + 1]], repeats[d]
        classify(text, table, kind)
        tokens, found = scan(text, kind, counts[d], words, before, marks, ends)
        count_signs(text, kind, counts[d])
        filled = lines[: count_lines(text, kind, ends[:found], short, counts[d], lines)]
        _repeated_lines(text, filled, keys, slots, row)
        _repeated_paragraphs(text, kind, filled, keys, slots, row)
        _ngrams(words, before, tokens, keys, first, times, places, slots, row)
    return counts, repeats


@njit(cache=True, nogil=True)
def _possible_ends(text):
    """Bytes with which a line end may begin."""
    count = 0
    for byte in text:
        count += (byte < 32) | (byte == 0xC2) | (byte == 0xE2)
    return count


@njit(cache=True, nogil=True, inline="always")
def _clear(slots, keys):
    """Make the slots free for so many keys; returns the mask of its slots."""
    size = 16
    while size < 2 * keys:
        size *= 2
    slots[:size] = -1
    return np.uint64(size - 1)


@njit(cache=True, nogil=True, inline="always")
def _first(keys, k, slots, mask):
    """The first place whose key is that of place k, which is k itself where none was seen before."""
    key = keys[k]
    slot = (key * _MIX >> np.uint64(32)) & mask
    while True:
        place = slots[slot]
        if place < 0:
            slots[slot] = k
            return k
        if keys[place] == key:
            return np.int64(place)
        slot = (slot + np.uint64(1)) & mask


@njit(cache=True, nogil=True)
def _hash(text, start, end):
    value, i = np.uint64(end - start), start
    while i + 8 <= end:
        value = (value ^ _load(text, i)) * _MIX
        value ^= value >> np.uint64(32)
        i += 8
    while i < end:
        value = (value ^ np.uint64(text[i])) * _MIX
        i += 1
    return value


@njit(cache=True, nogil=True)
def _repeated_lines(text, lines, keys, slots, row):
    """Lines of re.split("\\n+"): one at the edge is empty where the text begins or ends with a line end."""
    leading, closing = text.size > 0 and text[0] == 10, text.size > 0 and text[-1] == 10
    row[ALL_LINES] = len(lines) + leading + closing
    row[REPEATED_LINES] = leading and closing
    if len(lines) < 2:
        return
    for k in range(len(lines)):
        keys[k] = _hash(text, lines[k, 0], lines[k, 1])
    mask = _clear(slots, len(lines))
    for k in range(len(lines)):
        if _first(keys, k, slots, mask) < k:
            row[REPEATED_LINES] += 1
            row[LINE_CHARACTERS] += lines[k, 2]
            row[FILLED_CHARACTERS] += lines[k, 2] * (lines[k, 3] == 0)


@njit(cache=True, nogil=True)
def _repeated_paragraphs(text, kind, lines, keys, slots, row):
    """Paragraphs of re.split("\\n{2,}") of the text without white space around it; `keys` has those of the lines."""
    first, last = 0, len(lines) - 1
    while first < last and lines[first, 3]:
        first += 1
    while last > first and lines[last, 3]:
        last -= 1
    row[PARAGRAPHS] = 1
    if first >= last:
        return
    for k in (first, last):  # white space around the text is no part of its first and its last line
        begin, stop = strip(kind, 0, text.size)
        begin, stop = max(begin, lines[k, 0]), min(stop, lines[k, 1])
        if (begin, stop) != (lines[k, 0], lines[k, 1]):
            keys[k], lines[k, 2] = _hash(text, begin, stop), characters(kind, begin, stop)
    count, key, size = 0, np.uint64(0), -1
    for k in range(first, last + 1):
        key, size = (key + keys[k]) * _MIX, size + 1 + lines[k, 2]
        if k == last or lines[k + 1, 0] - lines[k, 1] > 1:
            keys[count], lines[count, 2] = key, size
            count, key, size = count + 1, np.uint64(0), -1
    row[PARAGRAPHS] = count
    mask = _clear(slots, count)
    for k in range(count):
        if _first(keys, k, slots, mask) < k:
            row[REPEATED_PARAGRAPHS] += 1
            row[PARAGRAPH_CHARACTERS] += lines[k, 2]


@njit(cache=True, nogil=True)
def _ngrams(words, before, count, keys, first, times, places, slots, row):
    """Shares of n-grams. first[i]: where the n-gram at i stands first; times[i]: how often, where i is such a place."""
    left = _pairs(words, count, keys, places, slots)
    for n in range(2, REPEATED[-1] + 1):
        if n > 2:  # the two (n - 1)-grams in it tell an n-gram; places has those where both come twice
            for k in range(left):
                keys[places[k]] = np.uint64(first[places[k]]) << np.uint64(32) | np.uint64(first[places[k] + 1])
        mask = _clear(slots, left)
        for k in range(left):
            i = np.int64(places[k])
            times[i] = 0
            first[i] = _first(keys, i, slots, mask)
            times[first[i]] += 1
        if n <= TOP[-1]:
            row[TOP_AT + n - TOP[0]] = _top(before, count, n, first, times, places[:left])
        else:
            row[REPEATED_AT + n - REPEATED[0]] = _repeated(before, n, first, times, places[:left], keys)
        left = _places_of_next(first, times, places, left)


@njit(cache=True, nogil=True)
def _pairs(words, count, keys, places, slots):
    """Set the keys of all 2-grams and, in `places`, where one stands that may come twice; returns how many.

    Two bits for each hash say whether it came once and twice: most pairs never reach the table.
    """
    bits = 64
    while bits < 8 * count:
        bits *= 2
    slots[: bits // 16] = 0
    once, twice, mask = slots[: bits // 32], slots[bits // 32 : bits // 16], np.uint64(bits - 1)
    for i in range(count - 1):
        key = (words[i] ^ (words[i] >> np.uint64(32))) * _MIX + words[i + 1]
        keys[i] = key
        slot, bit = _bit(key, mask)
        twice[slot] |= once[slot] & bit
        once[slot] |= bit
    left = 0
    for i in range(count - 1):
        slot, bit = _bit(keys[i], mask)
        places[left] = i
        left += (twice[slot] & bit) != 0
    return left


@njit(cache=True, nogil=True, inline="always")
def _bit(key, mask):
    """(index, bit) of a key's hash among 32 bits a slot."""
    bit = (key ^ (key >> np.uint64(29))) & mask
    return np.int64(bit >> np.uint64(5)), np.int32(1) << np.int32(bit & np.uint64(31))


@njit(cache=True, nogil=True)
def _top(before, count, n, first, times, places):
    """Characters, blanks between words with them, of the most frequent n-gram, all its places together; of several
    as frequent the first counts, as in collections.Counter."""
    best, place = 1, 0
    for i in places:
        if first[i] == i and times[i] > best:
            best, place = times[i], i
    return best * (before[place + n] - before[place] + n - 1) if count >= n else 0


@njit(cache=True, nogil=True)
def _repeated(before, n, first, times, places, seen):
    """Characters, without blanks, of the n-grams that came before. What begins inside such an n-gram is not counted,
    nor does it make a later one repeated."""
    size, free = 0, 0
    for i in places:
        seen[i] = 0
        if i < free or times[first[i]] < 2:
            continue
        if seen[first[i]]:
            size += before[i + n] - before[i]
            free = i + n
        else:
            seen[first[i]] = 1
    return size


@njit(cache=True, nogil=True)
def _places_of_next(first, times, places, left):
    """Keep in `places` those where the n-gram and the one a word later come twice; returns how many."""
    kept, i, twice = 0, np.int64(-2), False
    for k in range(left):
        following = np.int64(places[k])
        before_twice, twice = twice, times[first[following]] > 1
        if before_twice and twice and following == i + 1:
            places[kept] = i
            kept += 1
        i = following
    return kept
