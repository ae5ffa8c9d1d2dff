"""What identifiers look like: patterns over bytes, each with the checks that tell it from a finding or a dose.

A pattern is tried where `kernels.redact_scan` saw something of its kind, and answers with the span of the identifier.
Patterns see the text as UTF-8 bytes, so spans are byte offsets; no pattern can begin or end inside a character.
"""

import bisect
import functools
from typing import NamedTuple

from curate import redact_announced as announced
from curate import redact_numbers as numbers
from curate.kernels import redact_scan as scan
from curate.redact_dates import find_month, find_numeric, find_short
from curate.redact_match import LEFT, LETTER2, Finder, matcher


class Pattern(NamedTuple):
    """A way an identifier is written."""

    entity: str
    name: str
    """As the ledger of edits names it."""
    kinds: int
    """Kinds of kernels.redact_scan at which it is tried."""
    find: Finder


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

PATTERNS = (  # where spans are equally long and begin alike, the first wins: words that say what a number is come first
    Pattern("email", "address", scan.EMAIL, matcher(EMAIL)),
    Pattern("url", "address", scan.URL, matcher(URL)),
    Pattern("url", "host", scan.URL, matcher(HOST)),
    Pattern("fax", "announced", scan.SAID_PHONE, announced.find_fax_said),
    Pattern("ssn", "announced", scan.SAID_SSN, announced.find_ssn_said),
    Pattern("mrn", "announced", scan.SAID_MRN, announced.find_mrn_said),
    Pattern("mrn", "numbered", scan.NUMBERED, announced.numbered(rb"records?|chart|patient|mr(?=\s?\#)", 3)),
    Pattern(
        "health_plan",
        "numbered",
        scan.NUMBERED,
        announced.numbered(rb"member|subscriber|policy|beneficiary|insurance|medicare|medicaid|claim", 4),
    ),
    Pattern("account", "numbered", scan.NUMBERED, announced.numbered(rb"account|acct|encounter", 4)),
    Pattern(
        "licence",
        "numbered",
        scan.NUMBERED,
        announced.numbered(rb"licen[sc]e|lic|certificate|passport", 4),
    ),
    Pattern("licence", "prescriber", scan.NUMBERED, announced.numbered(rb"dea|npi", 7, colon=True)),
    Pattern("vehicle", "vin", scan.SAID_VIN, announced.find_vin),
    Pattern("vehicle", "plate", scan.NUMBERED, announced.find_plate),
    Pattern("device", "serial", scan.NUMBERED, announced.numbered(rb"serial|sn|device|imei|udi", 3, colon=True)),
    Pattern("device", "mac", scan.HEX, numbers.find_mac),
    Pattern("phone", "announced", scan.SAID_PHONE, announced.find_phone_said),
    Pattern("zip", "announced", scan.SAID_ZIP, announced.find_zip_said),
    Pattern("ip", "announced", scan.SAID_IP, announced.find_ip_said),
    Pattern("age", "announced", scan.SAID_AGE, announced.find_age_said),
    Pattern("age", "words", scan.SAID_AGE, announced.find_age_words),
    Pattern("date", "figures", scan.DATE, find_numeric),
    Pattern("date", "short", scan.DATE, find_short),
    Pattern("date", "month_name", scan.MONTH, find_month),
    Pattern("ssn", "shape", scan.SSN, numbers.find_ssn),
    Pattern("credit_card", "checked", scan.CARD, numbers.find_card),
    Pattern("iban", "checked", scan.IBAN, numbers.find_iban),
    Pattern("phone", "shape", scan.PHONE, numbers.find_phone),
    Pattern("ip", "version_4", scan.IP, numbers.find_ip4),
    Pattern("ip", "version_6", scan.HEX, numbers.find_ip6),
    Pattern("age", "years_old", scan.AGE, announced.find_age),
    Pattern("zip", "state", scan.ZIP, numbers.find_zip),
)
"""Every way an identifier is written that is looked for."""
