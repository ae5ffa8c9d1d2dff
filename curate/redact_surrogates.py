"""What stands in place of an identifier: a typed placeholder's consistent, made-up counterpart.

A surrogate depends on the seed, the entity and the identifier alone, through a keyed hash (BLAKE2b, RFC 7693): the same
identifier has the same surrogate in every document and every run. Where a range is set aside for examples, surrogates
are from it, so that they reach nobody: RFC 2606 hosts, RFC 3849 and class E addresses, area code 555, SSNs from 900 on.
"""

import hashlib
import re

from curate.redact_dates import shift

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def surrogate(entity: str, value: str, seed: int) -> str:
    """A made-up identifier of that kind for `value`; dates have `shift` instead.

    >>> surrogate("phone", "(301) 496-5248", 0) == surrogate("phone", "(301) 496-5248", 0) != "(301) 496-5248"
    True
    """
    if entity == "age":
        return "90+"
    same = re.sub(r"[\W_]", "", value).lower() or value
    stream = _Stream(f"{seed}\0{entity}\0{same}")
    if entity == "email":
        return f"user.{stream.word(8)}@example.com"
    if entity == "url":
        return f"https://example.com/{stream.word(8)}"
    if entity == "ip":
        if ":" in value:
            return "2001:db8:" + ":".join(f"{stream.below(65536):x}" for _ in range(6))
        return ".".join(str(part) for part in (240 + stream.below(15), *(stream.below(256) for _ in range(3))))
    if entity == "person":
        return f"{_GIVEN[stream.below(len(_GIVEN))]} {_FAMILY[stream.below(len(_FAMILY))]}"
    if entity == "location":
        return f"{_PLACES[stream.below(len(_PLACES))]}"
    made = _alike(value, stream)
    if entity in ("phone", "fax"):
        return _with_digits(made, 1 if re.match(r"\D*1\D?\D?\d{3}\D", value) else 0, "555")
    if entity == "ssn":
        return _with_digits(made, 0, f"9{stream.below(100):02d}")
    return made if made != value else _alike(value, _Stream(f"{seed}\1{entity}\0{same}"))


def date_surrogate(value: str, document: str, seed: int, day_first: bool) -> str:
    """The date moved by the document's own number of days; "[DATE]" where it cannot be.

    31 to 365 days forwards or back, so that a date without a day changes as well.
    """
    stream = _Stream(f"{seed}\0shift\0{document}")
    days = (31 + stream.below(335)) * (1 if stream.below(2) else -1)
    return shift(value, days, day_first) or "[DATE]"


class _Stream:
    """Numbers drawn from a keyed hash, as many as are asked for."""

    def __init__(self, key: str):
        self._key, self._block, self._bytes = key.encode(), 0, b""

    def below(self, limit: int) -> int:
        """The next number in 0 ... limit - 1 (limit far below 2**32)."""
        if len(self._bytes) < 4:
            self._bytes = hashlib.blake2b(self._key, salt=self._block.to_bytes(8, "little")).digest()
            self._block += 1
        drawn, self._bytes = int.from_bytes(self._bytes[:4], "little"), self._bytes[4:]
        return drawn % limit

    def word(self, length: int) -> str:
        return "".join(_LETTERS[self.below(26)] for _ in range(length))


def _alike(value: str, stream: _Stream) -> str:
    """Another digit for a digit, another letter for a letter of the same case; signs stay."""
    made = []
    for sign in value:
        if sign.isascii() and sign.isdigit():
            made.append(str(stream.below(10)))
        elif sign.isascii() and sign.isalpha():
            letter = _LETTERS[stream.below(26)]
            made.append(letter.upper() if sign.isupper() else letter)
        else:
            made.append(sign)
    return "".join(made)


def _with_digits(value: str, first: int, digits: str) -> str:
    """`value` with its digits from number `first` on replaced; a leading country code 1 is kept."""
    places = [place for place, sign in enumerate(value) if sign.isdigit()][: first + len(digits)]
    wanted = "1" * first + digits
    signs = list(value)
    for place, digit in zip(places, wanted, strict=False):
        signs[place] = digit
    return "".join(signs)


_GIVEN = (
    "Alex Blake Casey Dana Eden Frances Glenn Harper Indra Jamie Kelly Lane Morgan Noel Ola Parker Quinn Robin Sam "
    "Taylor Uma Val Wren Xen Yael Zion"
).split()
_FAMILY = (
    "Abbott Barnes Carver Dalton Ellis Foster Grady Hobbs Irving Jarvis Keller Lowell Mercer Norris Osborn Pruitt "
    "Quimby Rowan Sutton Tobin Upton Vance Waller Yates Zeller"
).split()
_PLACES = (
    "Ashford Brookfield Cedarville Dunmore Eastlake Fairview Greenport Hillsdale Kingsbury Lakewood Milltown".split()
)
