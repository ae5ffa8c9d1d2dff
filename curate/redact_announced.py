"""Numbers and ages that a word before or after them announces."""

import re

from curate.redact_match import Finder, before, digit_count, matcher
from curate.redact_numbers import EXTENSION, OCTETS

NUMBER = rb"(\+?\(?\d(?:[-. ()/]{0,2}\d){6,14}(?!\d)" + EXTENSION + rb")(?![\w%])(?!\.\d)"
SAID = rb"(?:[\s:.#()=-]|\b(?:number|no|num|is|at|me|us|him|her|them|on|to|or|the|office|home|work|free)\b){1,8}?"
PHONE_SAID = (
    rb"(?i)\b(?:telephone|tele|tel|phones?|call|calling|cellular|cell|mobile|pager|beeper|contact|reach|dial|desk|tty|answering)\b"
    + SAID
    + NUMBER
)
FAX_SAID = rb"(?i)\b(?:fax|facsimile)\b" + SAID + NUMBER


def _telephone(document: memoryview, found: re.Match[bytes]) -> bool:
    return 7 <= digit_count(found[1]) <= 20 and not re.match(rb"\d{1,4}([/.-])\d{1,2}\1\d{1,4}(?!\d)(?:\s|$)", found[1])


_NO = (
    rb"\s{0,2}\(?(?:(?:identification|i\.?d\.?)\s{1,2})?(?:numbers?\b|nos?\b\.?|num\b\.?|\#)\s{0,2}\#?\)?"
    rb"|\s{1,2}(?:i\.d\.|id\b)"
)
_IS = rb"(?:\s{0,2}[:=\#.]{1,2}|\s{1,2}(?:is|was|of)\b:?)?\s{0,3}"
_VALUE = rb"([A-Za-z]{0,5}-?\d[\dA-Za-z]*(?:\s?-[\dA-Za-z]+){0,9})(?![\w/])(?!\.\d)"


def numbered(words: bytes, digits: int, colon: bool = False) -> Finder:
    """A value with so many digits after one of the words and a number sign, or a colon where that is enough."""
    sign = rb"(?:" + _NO + (rb"|(?=\s{0,2}:)" if colon else b"") + rb")"
    expression = rb"(?i)\b(?:" + words + rb")\b" + sign + _IS + _VALUE
    return matcher(expression, 1, lambda document, found: digit_count(found[1]) >= digits and len(found[1]) <= 30)


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
    told = _VEHICLE_PLATE.search(before(document, found.start())) is not None
    return told and digit_count(found[1]) > 0 and len(found[1]) >= 5


def _ip4_said(document: memoryview, found: re.Match[bytes]) -> bool:
    return all(int(one) <= 255 for one in found[1].split(b"."))


VIN = rb"(?i)\bvin\b(?:\s{1,2}(?:number|no\.?|#))?[\s:#]{0,3}(?:is\s)?([A-HJ-NPR-Z0-9]{17})(?!\w)"
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

find_fax_said = matcher(FAX_SAID, 1, _telephone)
find_ssn_said = matcher(_SSN_SAID, 1)
find_mrn_said = matcher(_MRN_SAID, 1, lambda _, found: digit_count(found[1]) >= 3)
find_vin = matcher(VIN, 1, lambda _, found: 3 <= digit_count(found[1]) < 17)
find_plate = matcher(_PLATE, 1, _plate)
find_phone_said = matcher(PHONE_SAID, 1, _telephone)
find_zip_said = matcher(_ZIP_SAID, 1)
find_ip_said = matcher(_IP_SAID, 1, _ip4_said)
find_age_said = matcher(_AGE_SAID, 1)
find_age_words = matcher(_AGE_WORDS, 1)
find_age = matcher(AGE, 1)
