"""Numbers that their own shape tells, each with the checks that tell it from a finding or a dose."""

import ipaddress
import re

from curate.redact_match import LEFT, Span, before, digit_count, matcher

_NOT_AN_ADDRESS = re.compile(
    rb"(?i)(?:\bEC|\b[sS]ections?|\bv(?:er(?:sion)?)?\.?|\bchapter|\b(?:fig(?:ure)?|table)\.?|\xc2\xa7)\s*$"
)


def _ip4(document: memoryview, found: re.Match[bytes]) -> bool:
    octets = [int(one) for one in found[1].split(b".")]
    # Enzyme numbers (EC 3.4.21.4) begin with 1 to 7, section numbers are small.
    plain = octets[0] >= 8 and max(octets) >= 20 and not _NOT_AN_ADDRESS.search(before(document, found.start()))
    return max(octets) <= 255 and plain


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
        and digit_count(value) >= 8
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

AREA = rb"(?:\([2-9]\d\d\)\s?|[2-9]\d\d[-. /])"
EXTENSION = rb"(?:,?\s?(?:x|ext\.?|extension)\s?\d{1,6})?"
NANP = rb"(?i)(?:(?:\+|00)?1[-. ]{0,2})?" + AREA + rb"[2-9]\d\d[-. ]\d{4}(?!\d)" + EXTENSION + rb"(?!\w)(?![-.]\d)"
PREFIXED = rb"(?i)00?1-[2-9]\d\d-\d{3}-\d{4}(?!\d)" + EXTENSION + rb"(?!\w)"
INTERNATIONAL = rb"\+\d(?:[-. ()/]{0,2}\d){7,14}(?![\w])"
_PHONES = [re.compile(one) for one in (NANP, PREFIXED, INTERNATIONAL)]


def find_phone(document: memoryview, position: int) -> Span | None:
    """A telephone number with its area or country code, as its shape tells."""
    start = position
    while start > max(0, position - 2) and document[start - 1] in b"(+":
        start -= 1
    if re.search(rb"[\w.]$|\d[-/ ]$|\d\($", before(document, start, 3)):
        return None
    for one in _PHONES:
        found = one.match(document, start) or (one.match(document, start + 1) if start < position else None)
        if found is None:
            continue
        digits, spaces = digit_count(found[0]), found[0].count(b" ")
        if one is _PHONES[0] and spaces >= 2 and b"(" not in found[0] and not found[0].startswith((b"+", b"1")):
            continue  # "345 678 9012" is as well three numbers of a table
        if one is _PHONES[2] and (b"." in found[0] and spaces or digits > 15 or digits < 8):
            continue
        return found.span()
    return None


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
    state = _STATE.search(before(document, found.start(), 40))
    if state is None:
        return False
    ranges = (one.split("-") for one in _PREFIXES[state[1].decode()].split())
    return any(low <= found[0][:3].decode() <= high for low, high in ranges)


find_ip4 = matcher(IP4, 1, _ip4)
find_ip6 = matcher(IP6, 0, _ip6)
find_card = matcher(CARD, 0, _card)
find_iban = matcher(IBAN, 0, _iban)
find_ssn = matcher(SSN, 0, _ssn)
find_mac = matcher(MAC)
find_zip = matcher(ZIP, 1, _zip)
