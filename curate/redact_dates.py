"""Dates more specific than a year: finding them in bytes, and shifting them by days in the format they have."""

import datetime
import re

MONTHS = tuple("january february march april may june july august september october november december".split())

_LEFT = rb"(?:(?<!\w)|(?<=[a-z]{3}))(?<![\xc3-\xdf][\x80-\xbf])(?<!\d[./])"  # "discharged1/22/93" is one too
_UNIT = rb"(?!\s?(?:mg|mcg|ug|ml|mm|cm|m?eq|units?|iu|kg|ppm|[%x]|\xc2\xb5g)(?![a-z]))"
_CLOCK = rb"(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?Z?)?"
_NUMERIC = re.compile(
    _LEFT + rb"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})" + _CLOCK + rb"(?!\w)(?!\2\d)(?![/.]\d)" + _UNIT
)
_ISO = re.compile(
    _LEFT + rb"(?<!/)(1[89]\d\d|20\d\d)([/.-])(\d{1,2})\2(\d{1,2})" + _CLOCK + rb"(?!\w)(?!\2\d)(?![/.]\d)(?!/)"
)
_MONTH_YEAR = re.compile(_LEFT + rb"(\d{1,2})([/-])((?:19|20)\d\d)(?!\w)(?![/.-]\d)" + _UNIT)
_SHORT = re.compile(
    _LEFT + rb"(\d{1,2})/(\d\d)(?!\w)(?![/.-]\d)(?!\s?[x/=])(?!\s?[(;,]\s?[\d.]+\s?%)"
    rb"(?!\s(?:of|patients?|cases?|subjects?|eyes|women|men|children|samples?|controls?|participants|vision|OD|OS)\b)"
    + _UNIT
)
_WHEN = (
    rb"(?i:\b(?:in|on|since|until|till|dated?|from|through|thru|by|before"
    rb"|after|around|approximately|circa|late|early|mid|of|LMP|EDC|DOB))"
)
_PREPOSITION = re.compile(rb"(?:" + _WHEN + rb":?\s{1,3}|" + _WHEN + rb"\s\d{1,2}/\d\d\s?(?:,|and|to|through|-)\s?)$")
_LIST = re.compile(rb",\s?$|^$|\n$")
_MORE = re.compile(rb"\s?,\s?\d{1,2}/\d\d(?!\d)")
_DATED = re.compile(
    rb"(?i:\b(?:dated?|DOB|D\.O\.B\.|LMP|EDC|birth|(?:seen|admitted|discharged|performed|done) on):?\s{1,3})$"
)


def find_numeric(document: memoryview, position: int) -> tuple[int, int] | None:
    """The span of a date in figures with a day or a month and a year: 3/14/2004, 14.03.2004, 2004-03-14, 03/2004."""
    found = _ISO.match(document, position)
    if found and _is_day(int(found[3]), int(found[4])) and (found[2] != b"." or len(found[3]) == len(found[4]) == 2):
        return found.span()
    joined = position > 1 and document[position - 1] == 45 and 48 <= document[position - 2] <= 57
    found = _NUMERIC.match(document, position)
    if found:
        first, sign, second, year = int(found[1]), found[2], int(found[3]), found[4]
        stands = _is_day(first, second) or _is_day(second, first)
        if len(year) == 4:
            stands = stands and 1800 <= int(year) < 2100
        elif sign == b".":
            stands = False  # a section number
        return found.span() if stands and not (joined and sign == b"-") else None
    found = _MONTH_YEAR.match(document, position)
    if found and 1 <= int(found[1]) <= 12 and not joined:
        # 1/2000 may be a dilution, 05-2000 a range
        certain = found[2] == b"/" and (len(found[1]) == 2 or found[3] != b"2000")
        if certain or _PREPOSITION.search(bytes(document[max(0, position - 24) : position])):
            return found.span()
    return None


def find_short(document: memoryview, position: int) -> tuple[int, int] | None:
    """The span of month/year or month/day in two figures each, where the words before say that it is one.

    "in 02/05" and "(3/92, 6/92)" are dates; "5/5 strength", "10/40 mg", "on 3/4 of the limbs" are not.
    """
    found = _SHORT.match(document, position)
    if found is None or (position > 0 and document[position - 1] in b"-/."):
        return None
    month, second = int(found[1]), int(found[2])
    if not 1 <= month <= 12 or second == 52 or (second == 0 and len(found[1]) == 1):
        return None  # "2/52" is two weeks in British notes
    before = bytes(document[max(0, position - 32) : position])
    if _DATED.search(before) and (second <= 31 or second >= 50):
        return found.span()
    padded = found[1][:1] == b"0" or (found[2][:1] == b"0" and second > 0)
    if _PREPOSITION.search(before):
        return found.span() if padded or second >= 70 else None
    listed = _LIST.search(before) or _MORE.match(document, found.end())
    return found.span() if listed and second >= 70 else None


_NAME = (
    rb"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    rb"|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = rb"(?:1[89]|20)\d\d(?![\w%])(?!\.\d)"
_DAY = rb"(?:0?[1-9]|[12]\d|3[01])"
_NTH = rb"(?:\s?(?:st|nd|rd|th)\b)"
_END = rb"(?![\w/%:])(?!\.\d)(?!,\d{1,3}(?!\d))"
_AFTER = re.compile(
    rb"(?i)(" + _NAME + rb")\b(?:"
    rb"(?P<day>\.?[ -]{1,2}(?:the\s)?"
    + _DAY
    + rb"(?P<nth>"
    + _NTH
    + rb")?(?:\s?(?:-|\xe2\x80\x93|to|and)\s?"
    + _DAY
    + _NTH
    + rb"?(?=,?\s+"
    + _YEAR
    + rb"))?"
    + _END
    + rb"(?P<dayyear>(?:,\s{0,2}|\s{1,2}|-)(?:of\s|in\s)?"
    + _YEAR
    + rb"|-\d\d(?![\w/-]))?)"
    rb"|(?P<year>\.?,?(?:\s{1,2}|-)(?:of\s|in\s)?" + _YEAR + rb"|\s?'\d\d(?!\w)|-\d\d(?![\w/-]))"
    rb"|(?P<bare>(?![\w-]*[/'])))"
)
_DAY_BEFORE = re.compile(rb"(?<![\w/.,-])(" + _DAY + rb")(" + _NTH + rb")?(?:\s{1,2}|-|\s(?:day\s)?of\s(?:the\s)?)$")
_SPOKEN = re.compile(
    rb"(?i)\b(?:in|since|until|till|by|last|this|next|early|late|mid|of|from|through|during|between|around|for|to|and|the)[\s-]{1,2}$|[a-z]{3}-$"
)
_AMBIGUOUS = (
    b"may",
    b"march",
    b"mar",
    b"dec",
    b"jun",
    b"jan",
    b"sep",
    b"aug",
    b"august",
    b"oct",
    b"nov",
    b"apr",
    b"feb",
    b"jul",
)


def find_month(document: memoryview, position: int) -> tuple[int, int] | None:
    """The span of a date with a month's name: March 14, 2004; 14th of March; Mar-04; a lone month after "in".

    In lower case it needs a year or an ordinal, for "may" and "march" are words.
    """
    if position and re.search(rb"\w$|[\xc3-\xdf][\x80-\xbf]$", bytes(document[max(0, position - 2) : position])):
        return None
    found = _AFTER.match(document, position)
    if found is None:
        return None
    start, end = position, found.end()
    before = bytes(document[max(0, position - 24) : position])
    first = None if found["day"] else _DAY_BEFORE.search(before)
    if first:
        start = position - (len(before) - first.start())
    elif found["bare"] is not None and not _SPOKEN.search(before):
        return None
    if found[1].islower():
        sure = found["year"] or found["dayyear"] or found["nth"] or (first and first[2])
        if not sure and (found[1] in _AMBIGUOUS or found["bare"] is not None and not first):
            return None
    if found["bare"] is not None and not first:
        if len(found[1]) <= 3 and found[1].lower() != b"may":
            return None  # a lone "Mar" or "Dec"
        if before.lower().endswith(b"and ") and found[1].lower() in (b"april", b"may", b"june", b"august"):
            return None  # they are names of people as well
    return start, end


def _is_day(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def day_first(dates: list[str]) -> bool:
    """True where one of a document's dates in figures can only be read with the day first (25/12/2004)."""
    for date in dates:
        found = re.match(r"(\d{1,2})([/.-])(\d{1,2})\2\d", date)
        if found and int(found[1]) > 12 and int(found[3]) <= 12:
            return True
    return False


def shift(date: str, days: int, day_comes_first: bool = False) -> str | None:
    """The date so many days later, written alike; None where its format cannot be written (a range, "31 June").

    A date without a day counts as its 15th, one without a year as of the leap year 2000: intervals keep to the month.

    >>> shift("03/14/2004", 30), shift("March 2nd, 2004", -2), shift("14 Mar 04", 20)
    ('04/13/2004', 'February 29th, 2004', '03 Apr 04')
    """
    names = re.search(r"[A-Za-z]{3,}", date)
    if names and names[0][:3].lower() in {month[:3] for month in MONTHS}:
        return _shift_named(date, names, days)
    return _shift_figures(date, days, day_comes_first)


def _shift_figures(date: str, days: int, day_comes_first: bool) -> str | None:
    found = re.match(r"(\d+)([/.-])(\d+)(?:\2(\d+))?(.*)$", date, re.DOTALL)
    if found is None:
        return None
    one, sign, two, three, clock = found.groups()
    if three is None:
        order = "my" if len(two) == 4 or int(two) > 31 or (len(two) == 2 and int(two) == 0) or two[0] == "0" else "md"
    elif len(one) == 4:
        order = "ymd"
    else:
        order = "dmy" if int(one) > 12 or (day_comes_first and int(two) <= 12) else "mdy"
    fields = dict(zip(order, (one, two, three), strict=False))
    moved = _moved(fields.get("y"), int(fields["m"]), fields.get("d"), days)
    if moved is None:
        return None
    written = {"m": moved.month, "d": moved.day, "y": moved.year}
    return sign.join(_figures(written[field], fields[field]) for field in order) + clock


def _shift_named(date: str, name: re.Match[str], days: int) -> str | None:
    month = next(k for k, one in enumerate(MONTHS, 1) if one[:3] == name[0][:3].lower())
    figures = list(re.finditer(r"\d+", date))
    year = next((f for f in figures if len(f[0]) == 4 or (len(figures) == 2 and f is figures[-1])), None)
    if year is None and re.search(r"['-]\d\d$", date):
        year = figures[-1]
    day = next((f for f in figures if f is not year), None)
    if len(figures) != (year is not None) + (day is not None):
        return None
    moved = _moved(year and year[0], month, day and day[0], days)
    if moved is None:
        return None
    changes = [(name.span(), _named(moved.month, name[0]))]
    if day:
        ordinal = re.compile(r"\s?(st|nd|rd|th)\b", re.IGNORECASE).match(date, day.end())
        changes.append((day.span(), _figures(moved.day, day[0])))
        if ordinal:
            changes.append((ordinal.span(1), _suffix(moved.day)))
    if year:
        changes.append((year.span(), _figures(moved.year, year[0])))
    for (start, end), value in sorted(changes, reverse=True):
        date = date[:start] + value + date[end:]
    return date


def _moved(year: str | None, month: int, day: str | None, days: int) -> datetime.date | None:
    full = 2000 if year is None else int(year)
    if year is not None and len(year) <= 2:
        full += 1900 if full >= 30 else 2000
    try:
        return datetime.date(full, month, int(day) if day else 15) + datetime.timedelta(days)
    except (ValueError, OverflowError):
        return None


def _figures(value: int, like: str) -> str:
    """In as many figures as the original, where it had a leading zero or two figures of a year."""
    if len(like) == 2 and value > 99:
        value %= 100
        return f"{value:02d}"
    return (
        f"{value:0{len(like)}d}" if like[0] == "0" or len(like) == 4 or (len(like) == 2 and value < 10) else str(value)
    )


def _named(month: int, like: str) -> str:
    full = MONTHS[month - 1]
    name = full if like.lower() in MONTHS and like.lower() != "may" else full if like.lower() == "may" else full[:3]
    return name.upper() if like.isupper() else name.title() if like[0].isupper() else name


def _suffix(day: int) -> str:
    return "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
