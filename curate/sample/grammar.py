"""Templates and how they are filled.

In a template `[one|two|]` picks one of its branches (they nest, and may be empty), `{slot}` is looked up in the
writer's slots, `{3-14}` is a whole number from that range. A slot that holds several values is drawn without
repeats until all have been used, which keeps a document from saying the same thing twice. A slot's value may itself
be a template.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random

Slots = Mapping[str, str | Sequence[str]]
Node = str | tuple["Node", ...] | list["Node"]
"""A parsed template: a tuple stands for its parts in order, a list for a choice; a string is text or `{slot}`."""

_TOKEN = re.compile(r"\{[^{}]*\}|[\[\]|]|[^\[\]|{}]+")
_RANGE = re.compile(r"\{(\d+)-(\d+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])(?!one\b|uni|use|eu)")
_SPACES = re.compile(r" +(?=[ .,;:?!])")


class Writer:
    """Fills templates with one random stream and one set of slots."""

    def __init__(self, rng: Random, slots: Slots, english: bool = True) -> None:
        self.rng = rng
        self.english = english
        self.slots = dict(slots)
        self._decks: dict[str, list[str]] = {}

    def fill(self, template: str) -> str:
        """One sentence: its first letter large, no doubled spaces; in English `a` before a vowel is made `an`."""
        text = _SPACES.sub("", self._expand(_parse(template))).strip()
        text = _ARTICLE.sub(r"\1n ", text) if self.english else text
        return text[:1].upper() + text[1:]

    def draw(self, name: str, values: Sequence[str]) -> str:
        """One of `values`, without repeats under this `name` until all have been drawn."""
        deck = self._decks.get(name)
        if not deck:
            deck = self._decks[name] = list(values)
            self.rng.shuffle(deck)
        return deck.pop()

    def some(self, name: str, templates: Sequence[str], low: int, high: int) -> str:
        """A paragraph of `low` to `high` sentences in the templates' order, none twice until all have been used."""
        drawn = [self.draw(name, templates) for _ in range(self.rng.randint(low, high))]
        return " ".join(map(self.fill, sorted(drawn, key=templates.index)))

    def _expand(self, node: Node) -> str:
        if isinstance(node, tuple):
            return "".join(map(self._expand, node))
        if isinstance(node, list):
            return self._expand(node[int(self.rng.random() * len(node))])
        if not node.startswith("{"):
            return node
        if bounds := _RANGE.fullmatch(node):
            return str(self.rng.randint(int(bounds[1]), int(bounds[2])))
        value = self.slots[node[1:-1]]
        value = value if isinstance(value, str) else self.draw(node, value)
        return self._expand(_parse(value)) if "{" in value or "[" in value else value


@cache
def _parse(template: str) -> Node:
    stack: list[list[list[Node]]] = [[[]]]  # open choices, each a list of branches, each a list of parts
    for token in _TOKEN.findall(template):
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]":
            branches = stack.pop()
            stack[-1][-1].append([tuple(branch) for branch in branches])
        else:
            stack[-1][-1].append(token)
    assert len(stack) == 1, f"a bracket is left open in: {template}"
    return tuple(stack[0][0])
