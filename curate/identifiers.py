"""What identifiers look like: patterns over bytes, each with the checks that tell it from a finding or a dose.

A pattern is tried where `kernels.redact_scan` saw something of its kind, and answers with the span of the identifier.
Patterns see the text as UTF-8 bytes, so spans are byte offsets; no pattern can begin or end inside a character.
"""

import bisect
import functools
import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from curate.kernels import redact_scan as scan
from curate.redact_dates import find_month, find_numeric, find_short

Span = tuple[int, int]


class Pattern(NamedTuple):
    """A way an identifier is written."""

    entity: str
    name: str
    """As the ledger of edits names it."""
    kinds: int
    """Kinds of kernels.redact_scan at which it is tried."""
    find: Callable[[memoryview, int], Span | None]
    """The span in the document of a match that is anchored at a position."""


class Found(NamedTuple):
    """An identifier in a document, byte offsets."""

    start: int
    end: int
    entity: str
    pattern: str


def find(document: memoryview, candidates: list[tuple[int, int]], entities: frozenset[str]) -> list[Found]:
    """Identifiers in one document, in order and disjoint; `candidates` are positions in it and their kinds.

    Of spans that overlap the longest wins, then the first, then the one whose pattern stands first in PATTERNS.
    """
    spans = set()
    for position, kinds in candidates:
        for rank, pattern in _tried_at(kinds, entities):
            span = pattern.find(document, position)
            if span is not None:
                spans.add((span[0], span[1], rank))
    return disjoint([Found(a, b, PATTERNS[rank].entity, PATTERNS[rank].name) for a, b, rank in sorted(spans)])


def disjoint(found: list[Found]) -> list[Found]:
    """In order and without overlap: the longest wins, then the first, then what stands first in `found`."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: (one.start - one.end, one.start)):
        at = bisect.bisect(kept, (one.start,))
        if (at == 0 or kept[at - 1].end <= one.start) and (at == len(kept) or kept[at].start >= one.end):
            kept.insert(at, one)
    return kept


@functools.cache
def _tried_at(kinds: int, entities: frozenset[str]) -> list[tuple[int, Pattern]]:
    return [(rank, one) for rank, one in enumerate(PATTERNS) if one.kinds & kinds and one.entity in entities]


def kinds_of(entities: frozenset[str]) -> int:
    """The kinds that the scan has to look for."""
    return functools.reduce(lambda a, b: a | b, (one.kinds for one in PATTERNS if one.entity in entities), 0)


LETTER2 = rb"[\xc3-\xdf][\x80-\xbf]"  # letters of two bytes: Latin, Greek, Cyrillic, Hebrew, Arabic
LEFT = rb"(?<!\w)(?<!" + LETTER2 + rb")"


def _matcher(
    expression: bytes, group: int = 0, check: Callable[[memoryview, re.Match[bytes]], bool] | None = None
) -> Callable[[memoryview, int], Span | None]:
    compiled = re.compile(expression)

    def match(document: memoryview, position: int) -> Span | None:
        found = compiled.match(document, position)
        if found is None or (check is not None and not check(document, found)):
            return None
        return found.span(group)

    return match


def _before(document: memoryview, position: int, length: int = 24) -> bytes:
    return bytes(document[max(0, position - length) : position])


def _digit_count(value: bytes) -> int:
    return sum(48 <= byte <= 57 for byte in value)


# Addresses on the net

_HOST = rb"(?:(?:[A-Za-z0-9_-]|" + LETTER2 + rb"){1,63}\.){1,8}"
_PATH_SIGN = rb"(?:[\w\-.~:/?#\[\]@!$&'()*+,;=%|]|" + LETTER2 + rb"|[\xe3-\xef][\x80-\xbf]{2})"
_PATH = _PATH_SIGN + rb"{0,2000}(?:[\w\-~/#@$&*+=%|]|" + LETTER2 + rb")"
EMAIL = LEFT + rb"(?:\w|" + LETTER2 + rb")(?:[\w.%+'-]|" + LETTER2 + rb")*@" + _HOST + rb"[A-Za-z]{2,24}(?![\w-])"
URL = rb"(?i)(?:https?|ftp)://" + _PATH + rb"|" + LEFT + rb"www\." + _PATH
HOST = (
    rb"(?i)"
    + LEFT
    + rb"(?<![@./-])(?:[A-Za-z0-9_-]{1,63}\.){1,8}(?:com|org|net|edu|gov)(?![\w@-])(?!\.\w)(?::\d+)?(?:/(?:"
    + _PATH
    + rb")?)?"
)

# Numbers

_NOT_AN_ADDRESS = re.compile(
    rb"(?i)(?:\bEC|\b[sS]ections?|\bv(?:er(?:sion)?)?\.?|\bchapter|\b(?:fig(?:ure)?|table)\.?|\xc2\xa7)\s*$"
)


def _ip4(document: memoryview, found: re.Match[bytes]) -> bool:
    octets = [int(one) for one in found[1].split(b".")]
    # Enzyme numbers (EC 3.4.21.4) begin with 1 to 7, section numbers are small.
    plain = octets[0] >= 8 and max(octets) >= 20 and not _NOT_AN_ADDRESS.search(_before(document, found.start()))
    return max(octets) <= 255 and plain


def _ip4_said(document: memoryview, found: re.Match[bytes]) -> bool:
    return all(int(one) <= 255 for one in found[1].split(b"."))


def _ip6(document: memoryview, found: re.Match[bytes]) -> bool:
    value = found[0].decode()
    if not any(byte.isdigit() for byte in value) or len(value) < 8:
        return False
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


OCTETS = rb"((?:\d{1,3}\.){3}\d{1,3})(?!\w)(?!\.\d)"
IP4 = rb"(?<![\w.-])" + OCTETS
IP6 = LEFT + rb"(?<![:.])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{5,36}(?![\w:])"


def luhn(digits: bytes) -> bool:
    """True where the last digit is the Luhn check digit (ISO/IEC 7812-1).

    >>> luhn(b"4111111111111111"), luhn(b"4111111111111112")
    (True, False)
    """
    total = 0
    for place, byte in enumerate(reversed(digits)):
        value = (byte - 48) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _card(document: memoryview, found: re.Match[bytes]) -> bool:
    digits = bytes(byte for byte in found[0] if 48 <= byte <= 57)
    # Major industry digits of cards (2 to 6) at their lengths: ISBNs (978…), DOIs and most long numbers have others.
    return (
        13 <= len(digits) <= 19
        and digits[:1] in (b"2", b"3", b"4", b"5", b"6")
        and len(set(digits)) > 1
        and luhn(digits)
    )


def _iban(document: memoryview, found: re.Match[bytes]) -> bool:
    value = found[0].replace(b" ", b"").upper()
    return (
        15 <= len(value) <= 34
        and _digit_count(value) >= 8
        and int("".join(str(int(chr(b), 36)) for b in value[4:] + value[:4])) % 97 == 1
    )


def _ssn(document: memoryview, found: re.Match[bytes]) -> bool:
    area, group, serial = found[0][:3], found[0][4:6], found[0][7:]
    return area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"


SSN = rb"(?<![\w.])(?<!\d[-/ ])\d{3}-\d{2}-\d{4}(?!\w)(?![-/.]\d)"
CARD = (
    rb"(?<![\w./])(?<!\d-)(?:\d{13,19}|\d{4}([- ])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{3})?|\d{4}([- ])\d{6}\2\d{4,5})"
    rb"(?!\w)(?![-.]\d)"
)
IBAN = LEFT + rb"(?:[A-Za-z]{2}\d{2}[A-Za-z0-9]{11,30}|[A-Z]{2}\d{2}(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?!\w)"
MAC = LEFT + rb"(?<!:)(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])"
VIN = rb"(?i)\bvin\b(?:\s{1,2}(?:number|no\.?|#))?[\s:#]{0,3}(?:is\s)?([A-HJ-NPR-Z0-9]{17})(?!\w)"

AREA = rb"(?:\([2-9]\d\d\)\s?|[2-9]\d\d[-. /])"
EXTENSION = rb"(?:,?\s?(?:x|ext\.?|extension)\s?\d{1,6})?"
NANP = rb"(?i)(?:(?:\+|00)?1[-. ]{0,2})?" + AREA + rb"[2-9]\d\d[-. ]\d{4}(?!\d)" + EXTENSION + rb"(?!\w)(?![-.]\d)"
PREFIXED = rb"(?i)00?1-[2-9]\d\d-\d{3}-\d{4}(?!\d)" + EXTENSION + rb"(?!\w)"
INTERNATIONAL = rb"\+\d(?:[-. ()/]{0,2}\d){7,14}(?![\w])"
_PHONES = [re.compile(one) for one in (NANP, PREFIXED, INTERNATIONAL)]


def _phone(document: memoryview, position: int) -> Span | None:
    start = position
    while start > max(0, position - 2) and document[start - 1] in b"(+":
        start -= 1
    if re.search(rb"[\w.]$|\d[-/ ]$|\d\($", _before(document, start, 3)):
        return None
    for one in _PHONES:
        found = one.match(document, start) or (one.match(document, start + 1) if start < position else None)
        if found is None:
            continue
        digits, spaces = _digit_count(found[0]), found[0].count(b" ")
        if one is _PHONES[0] and spaces >= 2 and b"(" not in found[0] and not found[0].startswith((b"+", b"1")):
            continue  # "345 678 9012" is as well three numbers of a table
        if one is _PHONES[2] and (b"." in found[0] and spaces or digits > 15 or digits < 8):
            continue
        return found.span()
    return None


NUMBER = rb"(\+?\(?\d(?:[-. ()/]{0,2}\d){6,14}(?!\d)" + EXTENSION + rb")(?![\w%])(?!\.\d)"
SAID = rb"(?:[\s:.#()=-]|\b(?:number|no|num|is|at|me|us|him|her|them|on|to|or|the|office|home|work|free)\b){1,8}?"
PHONE_SAID = (
    rb"(?i)\b(?:telephone|tele|tel|phones?|call|calling|cellular|cell|mobile|pager|beeper|contact|reach|dial|desk|tty|answering)\b"
    + SAID
    + NUMBER
)
FAX_SAID = rb"(?i)\b(?:fax|facsimile)\b" + SAID + NUMBER


def _telephone(document: memoryview, found: re.Match[bytes]) -> bool:
    return 7 <= _digit_count(found[1]) <= 20 and not re.match(
        rb"\d{1,4}([/.-])\d{1,2}\1\d{1,4}(?!\d)(?:\s|$)", found[1]
    )


# Numbers that a word announces

_NO = (
    rb"\s{0,2}\(?(?:(?:identification|i\.?d\.?)\s{1,2})?(?:numbers?\b|nos?\b\.?|num\b\.?|\#)\s{0,2}\#?\)?"
    rb"|\s{1,2}(?:i\.d\.|id\b)"
)
_IS = rb"(?:\s{0,2}[:=\#.]{1,2}|\s{1,2}(?:is|was|of)\b:?)?\s{0,3}"
_VALUE = rb"([A-Za-z]{0,5}-?\d[\dA-Za-z]*(?:\s?-[\dA-Za-z]+){0,9})(?![\w/])(?!\.\d)"


def _announced(words: bytes, digits: int, colon: bool = False) -> Callable[[memoryview, int], Span | None]:
    """A value with so many digits after one of the words and a number sign, or a colon where that is enough."""
    sign = rb"(?:" + _NO + (rb"|(?=\s{0,2}:)" if colon else b"") + rb")"
    expression = rb"(?i)\b(?:" + words + rb")\b" + sign + _IS + _VALUE
    return _matcher(expression, 1, lambda document, found: _digit_count(found[1]) >= digits and len(found[1]) <= 30)


_SSN_SAID = (
    rb"(?i)\b(?:ssn|ss(?=\s?\#)|social\s+security)\b(?:"
    + _NO
    + rb")?"
    + _IS
    + rb"(\d{3}[- ]?\d{2}[- ]?\d{4})(?!\w)(?!-\d)"
)
_MRN_SAID = rb"(?i)\bmrn\b(?:" + _NO + rb")?" + _IS + _VALUE
_ZIP_SAID = (
    rb"(?i)\b(?:zip|postal|zipcode|postcode)\b(?:[\s-]{0,2}code\b)?[\s:.=]{0,3}(?:\bis\s)?"
    rb"(\d{5}-\d{4}|\d{4,6}(?:[- ]\d{3,4})?|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2})(?!\w)(?!-\d)"
)
_PLATE = rb"(?i)\bplate\b(?:" + _NO + rb")?" + _IS + rb"([A-Z0-9]{1,4}[- ]?[A-Z0-9]{2,5})(?!\w)"
_VEHICLE_PLATE = re.compile(rb"(?i)\b(?:licen[sc]e|registration|number|vehicle)\s$")


def _plate(document: memoryview, found: re.Match[bytes]) -> bool:
    told = _VEHICLE_PLATE.search(_before(document, found.start())) is not None
    return told and _digit_count(found[1]) > 0 and len(found[1]) >= 5


_IP_SAID = rb"(?i)\bip(?:v[46])?\b(?:\s?addr(?:ess)?\b)?[\s:=]{0,3}(?:is\s)?" + OCTETS
_AGE_SAID = (
    rb"(?i)\bage[d]?\b[\s:=]{0,3}(?:(?:of|is|was)\s)?(9\d|1[01]\d)(?!\w)"
    rb"(?![.%/-]|\s?(?:\+|or |and (?:over|older|above)|to |days|weeks|months))"
)
_AGE_WORDS = (
    rb"(?i)\b(ninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?)[- ](?=years?[- ](?:old|of age)|y/?o\b)"
)
AGE = (
    rb"(?<![\w.,/$])(?<!\d[-])(9\d|1[01]\d)(?=[\s-]{0,2}"
    rb"(?:(?:[Yy]ears?|[Yy]rs?\.?|YEARS?)(?:\s|-){0,2}(?:of age|[Oo]lds?\b|OLD)"
    rb"|[Yy]/[Oo]\b|[Yy]\.\s?[Oo]\.|[Yy][Oo]\b))"
)

# Postal codes: the state before it has to own the code's first three digits (USPS publication 65).

_PREFIXES = {
    "AL": "350-369", "AK": "995-999", "AZ": "850-865", "AR": "716-729", "CA": "900-961", "CO": "800-816",
    "CT": "060-069", "DE": "197-199", "DC": "200-205", "FL": "320-349", "GA": "300-319 398-399", "HI": "967-968",
    "ID": "832-838", "IL": "600-629", "IN": "460-479", "IA": "500-528", "KS": "660-679", "KY": "400-427",
    "LA": "700-714", "ME": "039-049", "MD": "206-219", "MA": "010-027 055-055", "MI": "480-499", "MN": "550-567",
    "MS": "386-397", "MO": "630-658", "MT": "590-599", "NE": "680-693", "NV": "889-898", "NH": "030-038",
    "NJ": "070-089", "NM": "870-884", "NY": "005-005 100-149", "NC": "270-289", "ND": "580-588", "OH": "430-459",
    "OK": "730-749", "OR": "970-979", "PA": "150-196", "RI": "028-029", "SC": "290-299", "SD": "570-577",
    "TN": "370-385", "TX": "750-799 885-885", "UT": "840-847", "VT": "050-059", "VA": "201-201 220-246",
    "WA": "980-994", "WV": "247-268", "WI": "530-549", "WY": "820-831", "PR": "006-009", "VI": "008-008",
    "GU": "969-969", "AP": "962-966", "AE": "090-098", "AA": "340-340",
}  # fmt: skip
_STATE = re.compile(rb"(?:,|[A-Z][A-Za-z.'-]+)\s{1,2}(" + "|".join(_PREFIXES).encode() + rb")[,.]?\s{1,3}$")
ZIP = rb"(?<![\w.,])(?<!\d-)(\d{5}(?:-\d{4})?)(?!\w)(?![-.,]\d)"


def _zip(document: memoryview, found: re.Match[bytes]) -> bool:
    state = _STATE.search(_before(document, found.start(), 40))
    if state is None:
        return False
    ranges = (one.split("-") for one in _PREFIXES[state[1].decode()].split())
    return any(low <= found[0][:3].decode() <= high for low, high in ranges)


PATTERNS = (  # where spans are equally long and begin alike, the first wins: words that say what a number is come first
    Pattern("email", "address", scan.EMAIL, _matcher(EMAIL)),
    Pattern("url", "address", scan.URL, _matcher(URL)),
    Pattern("url", "host", scan.URL, _matcher(HOST)),
    Pattern("fax", "announced", scan.SAID_PHONE, _matcher(FAX_SAID, 1, _telephone)),
    Pattern("ssn", "announced", scan.SAID_SSN, _matcher(_SSN_SAID, 1)),
    Pattern("mrn", "announced", scan.SAID_MRN, _matcher(_MRN_SAID, 1, lambda _, found: _digit_count(found[1]) >= 3)),
    Pattern("mrn", "numbered", scan.NUMBERED, _announced(rb"records?|chart|patient|mr(?=\s?\#)", 3)),
    Pattern(
        "health_plan",
        "numbered",
        scan.NUMBERED,
        _announced(rb"member|subscriber|policy|beneficiary|insurance|medicare|medicaid|claim", 4),
    ),
    Pattern("account", "numbered", scan.NUMBERED, _announced(rb"account|acct|encounter", 4)),
    Pattern(
        "licence",
        "numbered",
        scan.NUMBERED,
        _announced(rb"licen[sc]e|lic|certificate|passport", 4),
    ),
    Pattern("licence", "prescriber", scan.NUMBERED, _announced(rb"dea|npi", 7, colon=True)),
    Pattern("vehicle", "vin", scan.SAID_VIN, _matcher(VIN, 1, lambda _, found: 3 <= _digit_count(found[1]) < 17)),
    Pattern("vehicle", "plate", scan.NUMBERED, _matcher(_PLATE, 1, _plate)),
    Pattern("device", "serial", scan.NUMBERED, _announced(rb"serial|sn|device|imei|udi", 3, colon=True)),
    Pattern("device", "mac", scan.HEX, _matcher(MAC)),
    Pattern("phone", "announced", scan.SAID_PHONE, _matcher(PHONE_SAID, 1, _telephone)),
    Pattern("zip", "announced", scan.SAID_ZIP, _matcher(_ZIP_SAID, 1)),
    Pattern("ip", "announced", scan.SAID_IP, _matcher(_IP_SAID, 1, _ip4_said)),
    Pattern("age", "announced", scan.SAID_AGE, _matcher(_AGE_SAID, 1)),
    Pattern("age", "words", scan.SAID_AGE, _matcher(_AGE_WORDS, 1)),
    Pattern("date", "figures", scan.DATE, find_numeric),
    Pattern("date", "short", scan.DATE, find_short),
    Pattern("date", "month_name", scan.MONTH, find_month),
    Pattern("ssn", "shape", scan.SSN, _matcher(SSN, 0, _ssn)),
    Pattern("credit_card", "checked", scan.CARD, _matcher(CARD, 0, _card)),
    Pattern("iban", "checked", scan.IBAN, _matcher(IBAN, 0, _iban)),
    Pattern("phone", "shape", scan.PHONE, _phone),
    Pattern("ip", "version_4", scan.IP, _matcher(IP4, 1, _ip4)),
    Pattern("ip", "version_6", scan.HEX, _matcher(IP6, 0, _ip6)),
    Pattern("age", "years_old", scan.AGE, _matcher(AGE, 1)),
    Pattern("zip", "state", scan.ZIP, _matcher(ZIP, 1, _zip)),
)
"""Every way an identifier is written that is looked for."""
