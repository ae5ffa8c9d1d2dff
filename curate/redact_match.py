"""What the patterns of curate.identifiers are made of: expressions over the bytes of a document."""

import re
from collections.abc import Callable

Span = tuple[int, int]
Finder = Callable[[memoryview, int], Span | None]
"""The span in the document of a match that is anchored at a position."""

LETTER2 = rb"[\xc3-\xdf][\x80-\xbf]"  # letters of two bytes: Latin, Greek, Cyrillic, Hebrew, Arabic
LEFT = rb"(?<!\w)(?<!" + LETTER2 + rb")"


def matcher(
    expression: bytes, group: int = 0, check: Callable[[memoryview, re.Match[bytes]], bool] | None = None
) -> Finder:
    """What finds group `group` of the expression at a position, where `check` says that it is one."""
    compiled = re.compile(expression)

    def match(document: memoryview, position: int) -> Span | None:
        found = compiled.match(document, position)
        if found is None or (check is not None and not check(document, found)):
            return None
        return found.span(group)

    return match


def before(document: memoryview, position: int, length: int = 24) -> bytes:
    """The bytes that stand before a position, `length` at most."""
    return bytes(document[max(0, position - length) : position])


def digit_count(value: bytes) -> int:
    """How many bytes are ASCII digits."""
    return sum(48 <= byte <= 57 for byte in value)
