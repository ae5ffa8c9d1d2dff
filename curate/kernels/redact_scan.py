"""One pass over the bytes of documents that finds where an identifier may begin; curate.identifiers looks closer.

The scan may stop at too much, never at too little: tests compare it with trying every pattern at every byte. It
knows digit groups by their shape (3-2-4 digits, four groups with dots, …), the signs that addresses on the net need
(`@`, `://`, `.com`) and the words that announce a number ("MRN", "fax", "serial", a month). About 270 MB/s a core.
"""

import numpy as np
import polars as pl
from numba import njit

from curate.kernels.words import string_buffers

EMAIL, URL, DATE, MONTH, SSN, IP, ZIP, PHONE = 1, 2, 4, 8, 16, 32, 64, 128
CARD, AGE, HEX, IBAN, NUMBERED, SAID_PHONE, SAID_SSN, SAID_ZIP = 256, 512, 1024, 2048, 4096, 8192, 16384, 32768
SAID_IP, SAID_AGE, SAID_MRN, SAID_VIN = 65536, 131072, 262144, 524288
EVERY = 2 * SAID_VIN - 1

WORDS = {
    MONTH: "jan january feb february mar march apr april may jun june jul july aug august sep sept september oct "
    "october nov november dec december",
    NUMBERED: "record records chart patient mr account acct encounter license licence lic certificate passport dea npi "
    "member subscriber policy beneficiary insurance medicare medicaid claim serial sn device udi imei plate",
    SAID_PHONE: "phone telephone tel call calling cell cellular mobile pager beeper fax facsimile contact reach dial "
    "desk tty answering phones",
    SAID_SSN: "ssn social ss",
    SAID_ZIP: "zip zipcode postal postcode",
    SAID_IP: "ip ipv4 ipv6",
    SAID_AGE: "age aged ninety",
    SAID_MRN: "mrn",
    SAID_VIN: "vin",
    URL: "www",
}
"""Words, in lower case, that may announce an identifier, by what they announce."""
AHEAD = 48
"""Bytes after such a word in which the number has to begin."""
_FULL = 1 << 16
_WINDOW = 1 << 13
_DIGIT, _SLASH, _AT, _COLON, _DOT = 27, 28, 29, 30, 31
_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a, 64 bits
_SLOTS = np.uint64(1023)
_TWO, _FIVE, _TWENTY = np.uint64(2), np.uint64(5), np.uint64(2**20 - 1)


def candidates(texts: pl.Series, wanted: int = EVERY) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where to look closer: the bytes (uint8), the documents' bounds in them, positions (int64) and kinds (int64).

    A kind is a sum of the constants above; positions ascend, except that an address is named by where it begins.
    """
    data, bounds = string_buffers(texts)
    positions, kinds = np.empty(_FULL, np.int64), np.empty(_FULL, np.int64)
    stops = np.empty(_WINDOW, np.int64)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    document, at = 0, int(bounds[0])
    while document < len(bounds) - 1:
        document, at, count = _scan(data, bounds, document, at, wanted, _KEY, *_TABLE, stops, positions, kinds)
        found.append((positions[:count].copy(), kinds[:count].copy()))
    if not found:
        return data, bounds, positions[:0], kinds[:0]
    return data, bounds, np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _keys() -> np.ndarray:
    """Five bits a byte: 1 to 26 a letter of either case, 27 a digit, 28 to 31 the signs, 0 all else."""
    keys = np.zeros(256, np.uint8)
    for byte in range(256):
        if chr(byte).isascii() and chr(byte).isalpha():
            keys[byte] = byte & 31
    keys[list(b"0123456789")] = _DIGIT
    for sign, key in zip(b"/@:.", (_SLASH, _AT, _COLON, _DOT), strict=True):
        keys[sign] = key
    return keys


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Open addressing from a word's hash to its kind, and which four keys in a row are worth a look at the second."""
    hashes, kinds, stands = np.zeros(1024, np.uint64), np.zeros(1024, np.int64), np.zeros((32, 32, 32, 32), np.uint8)
    no_word = [0, _SLASH, _AT, _COLON, _DOT]
    for kind, words in WORDS.items():
        for word in words.split():
            value = int(_OFFSET)
            for byte in word.encode():
                value = (value ^ byte) * int(_PRIME) % 2**64
            slot = value & 1023
            while hashes[slot]:
                slot = (slot + 1) & 1023
            hashes[slot], kinds[slot] = value, kind
            for before in no_word:
                head = stands[before, ord(word[0]) & 31, ord(word[1]) & 31]  # a word of two letters may end there
                head[ord(word[2]) & 31 if len(word) > 2 else slice(None)] = 1
    stands[[before for before in range(32) if before != _DIGIT], _DIGIT] = 1
    stands[:, _AT] = 1
    stands[:, _COLON, 1:] = 1
    stands[1 : _DIGIT + 1, _DOT, 1:_DIGIT] = 1
    return hashes, kinds, stands.reshape(-1)


_KEY, _TABLE = _keys(), _table()


@njit(cache=True, nogil=True)
def _scan(data, bounds, document, at, wanted, keys, hashes, word_kinds, stands, stops, positions, kinds):
    """Fill positions and kinds; returns where to go on (document, byte) and how many were found."""
    count = 0
    while document < len(bounds) - 1:
        start, end = bounds[document], bounds[document + 1]
        for first in range(max(at, start), end, _WINDOW):
            if count + _WINDOW > len(positions):
                return document, first, count
            stopped = _stop(data, start, first, min(first + _WINDOW, end), end, keys, stands, stops)
            for i in stops[:stopped]:
                key = keys[data[i]]
                if key < _DIGIT:
                    begin, found = i, _word(data, start, i, end, hashes, word_kinds)
                elif key == _DIGIT:
                    begin, found = _number(data, start, i, end)
                else:
                    begin, found = _sign(data, start, i, end)
                if found & wanted:
                    positions[count], kinds[count] = begin, found & wanted
                    count += 1
        document += 1
    return document, bounds[document], count


@njit(cache=True, nogil=True)
def _stop(data, start, first, last, end, keys, stands, stops):
    """Where in data[first:last] four bytes in a row (before, here, two after) may mean something."""
    count = np.uint64(0)
    window = np.uint64(0)
    for k in range(first - 1, first + 2):
        window = (window << _FIVE) | np.uint64(keys[data[k]] if start <= k < end else 0)
    for place in range(first, min(last, end - 2)):
        i = np.uint64(place)
        window = ((window << _FIVE) | np.uint64(keys[data[i + _TWO]])) & _TWENTY
        if stands[window]:
            stops[count] = place
            count += np.uint64(1)
    for place in range(max(first, end - 2), last):
        window = (window << _FIVE) & _TWENTY
        if stands[window]:
            stops[count] = place
            count += np.uint64(1)
    return np.int64(count)


@njit(cache=True, nogil=True)
def _word(data, start, i, end, hashes, word_kinds):
    """The kind of the word that starts at `i`, 0 where it announces nothing."""
    h, after = _OFFSET, i
    while after < end and _letter(data[after]):
        h = (h ^ np.uint64(data[after] | 32)) * _PRIME
        after += 1
    slot = h & _SLOTS
    while hashes[slot] != h:
        if hashes[slot] == 0:
            return 0
        slot = (slot + np.uint64(1)) & _SLOTS
    kind = word_kinds[slot]
    if kind == MONTH:
        return kind * _month_stands(data, start, i, after, end)
    if kind == URL:
        return kind * (after < end and data[after] == 46)
    if kind == NUMBERED and not _numbered(data, after, end):
        return 0
    if data[i] | 32 == 110 and kind == SAID_AGE:  # ninety
        return kind
    digits = 0
    for k in range(after, min(after + AHEAD, end)):
        digits += 48 <= data[k] <= 57
    return kind * (digits >= (2 if kind == SAID_AGE else 3))


@njit(cache=True, nogil=True)
def _month_stands(data, start, i, after, end):
    """A month in lower case ("may", "march") needs a digit beside it."""
    if data[i] < 97:
        return 1
    for k in range(max(i - 6, start), min(after + 6, end)):
        if 48 <= data[k] <= 57:
            return 1
    return 0


@njit(cache=True, nogil=True)
def _numbered(data, at, end):
    """A number sign, a colon, a digit, or "no", "nu(mber)", "id(entification)", "i.d." comes after the word."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 46 or data[at] == 40):
        at += 1
    if at + 1 >= end:
        return False
    first, second = data[at], data[at + 1] | 32
    if first == 35 or first == 58 or first == 61 or 48 <= first <= 57:
        return True
    first |= 32
    return (first == 110 and (second == 111 or second == 117)) or (first == 105 and (second == 100 or second == 46))


@njit(cache=True, nogil=True)
def _digits(data, at, end):
    """Length of the run of digits."""
    k = at
    while k < end and 48 <= data[k] <= 57:
        k += 1
    return k - at


@njit(cache=True, nogil=True)
def _letter(byte):
    return 97 <= byte | 32 <= 122


@njit(cache=True, nogil=True)
def _inside(byte):
    """True for a letter, digit or underscore: what follows it begins no word."""
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95


@njit(cache=True, nogil=True)
def _number(data, start, i, end):
    """The digit group that starts at `i`, with up to three more after single signs: where, and its kinds."""
    a = _digits(data, i, end)
    if i - 2 >= start and _letter(data[i - 1]) and _letter(data[i - 2]) and a >= 2:
        if i - 2 == start or not _inside(data[i - 3]):
            return i - 2, IBAN
    if i > start and _inside(data[i - 1]) and not 97 <= data[i - 1] <= 122:
        return i, 0
    after = i + a
    at, found = after, 0
    s, b = _next(data, at, end)
    t, c, u, d = 0, 0, 0, 0
    if b:
        at += 1 + b
        t, c = _next(data, at, end)
        if c:
            at += 1 + c
            u, d = _next(data, at, end)
    slashed = s == 47 or s == 45 or s == 46
    if slashed and (
        (a <= 2 and b <= 2 and t == s and (c == 2 or c == 4)) or (a == 4 and b <= 2 and t == s and 0 < c <= 2)
    ):
        found |= DATE
    elif (s == 47 or s == 45) and a <= 2 and (b == 4 or (b == 2 and s == 47)):
        found |= DATE
    if a == 3 and b == 2 and c == 4:
        found |= SSN
    if s == 46 and t == 46 and u == 46 and a <= 3 and b <= 3 and c <= 3 and 0 < d <= 3:
        found |= IP
    if a == 5:
        found |= ZIP
    if 13 <= a <= 19 or (a == 4 and b == 4 and c == 4 and d >= 1) or (a == 4 and b == 6 and c >= 4):
        found |= CARD
    if (a == 2 and data[i] == 57) or (a == 3 and data[i] == 49 and data[i + 1] <= 49):
        k = after
        while k < min(after + 3, end) and (data[k] == 32 or data[k] == 45 or data[k] == 10):
            k += 1
        if k < end and data[k] | 32 == 121:
            found |= AGE
    if (a == 3 and b == 3 and c == 4) or (a <= 3 and b == 3 and c == 3 and d == 4):
        found |= PHONE
    elif a == 3 and after < end and data[after] == 41:
        found |= PHONE
    elif (a == 1 and data[i] == 49) or (a == 3 and data[i] == 48):
        found |= PHONE * (after + 1 < end and (data[after] == 40 or data[after + 1] == 40))
    if i > start and data[i - 1] == 43:
        found |= PHONE
    return i, found


@njit(cache=True, nogil=True)
def _next(data, at, end):
    """The sign at `at` and the length of the digit group after it; 0, 0 where there is none."""
    if at + 1 < end:
        s = data[at]
        if s == 45 or s == 46 or s == 47 or s == 32:
            digits = _digits(data, at + 1, min(end, at + 21))
            if digits:
                return s, digits
    return 0, 0


@njit(cache=True, nogil=True)
def _sign(data, start, i, end):
    """What stands around an `@`, a `:` or a `.`: where it begins, and its kind."""
    if data[i] == 64:
        k = i
        while k > start and i - k < 256 and _local(data, start, k - 1):
            k -= 1
        return k, EMAIL * (k < i)
    if data[i] == 58:
        if i + 2 < end and data[i + 1] == 47 and data[i + 2] == 47:
            k = i
            while k > start and i - k < 6 and _letter(data[k - 1]):
                k -= 1
            return k, URL
        return _hex(data, start, i, end)
    if i + 3 < end and i > start and _inside(data[i - 1]) and (i + 4 == end or not _inside(data[i + 4])):
        last = (np.int64(data[i + 1] | 32) << 16) | (np.int64(data[i + 2] | 32) << 8) | np.int64(data[i + 3] | 32)
        if last in (0x636F6D, 0x6F7267, 0x6E6574, 0x656475, 0x676F76):  # com org net edu gov
            k = i
            while k > start and i - k < 256 and (_inside(data[k - 1]) or data[k - 1] == 45 or data[k - 1] == 46):
                k -= 1
            return k, URL
    return i, 0


@njit(cache=True, nogil=True)
def _local(data, start, k):
    """True where byte `k` may stand before the `@` of an address: ASCII, or part of a two-byte letter."""
    b = data[k]
    if b >= 0x80:
        return b >= 0xC3 or (k > start and 0xC3 <= data[k - 1] <= 0xDF)
    return _inside(b) or b == 46 or b == 45 or b == 43 or b == 37 or b == 39


@njit(cache=True, nogil=True)
def _hex(data, start, i, end):
    """The first colon of a chain of hexadecimal groups with at least five colons, or with two that touch."""
    begin = i
    while begin > start and i - begin < 5 and _hexadecimal(data[begin - 1]):
        begin -= 1
    if i - begin > 4 or (begin > start and (_inside(data[begin - 1]) or data[begin - 1] == 58)):
        return i, 0
    colons, twice, k = 0, False, i
    while k < end and k - i < 40 and (data[k] == 58 or _hexadecimal(data[k])):
        colons += data[k] == 58
        twice |= data[k] == 58 and data[k - 1] == 58 and k > i
        k += 1
    return begin, HEX * (colons >= 5 or (twice and colons >= 3))


@njit(cache=True, nogil=True)
def _hexadecimal(byte):
    return 48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102
