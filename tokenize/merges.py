"""The merge loop: byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) from where a base tokenizer stopped.

Each step merges the pair of neighbouring tokens that the domain text holds most often; ties go to the pair whose tokens
come first as strings. Because every new merge ranks behind all the base's and makes a token no base merge knows, the
extended tokenizer first does exactly what the base did and then goes on: what this loop simulates is what it will do.
A candidate that general text uses at a higher rate than domain text does (curly quotes, say) is no domain term and is
passed over, so that the few tokens everybody uses do not eat up the share of general text that new tokens may cover.

2,000 merges over 280,000 different pre-tokens of both pools take about 3 s.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass
class Word:
    """A pre-token of two tokens or more."""

    tokens: list[int]
    domain: int
    """Times it stands in domain text."""
    general: int
    """Times it stands in general text."""


@dataclass
class NewToken:
    """A token learned, in the order learned."""

    id: int
    token: str
    parents: tuple[int, ...]
    """The tokens it joins: two, or for a Unigram piece all of the base's."""
    count: int
    """Times the pair stood in domain text when it was merged."""


@dataclass
class Limits:
    """When a candidate is not taken, and when learning ends."""

    new_tokens: int
    min_count: int
    """A pair that the domain text holds less often is not merged."""
    domain_tokens: int
    """Tokens of the domain text under the base tokenizer."""
    general_tokens: int
    """Tokens of the general text under the base tokenizer."""
    max_general_share: float
    """Share of general tokens that new tokens may cover together; 1 takes candidates however general they are."""


def learn(
    words: list[Word], names: Mapping[int, str], unmergeable: frozenset[int], limits: Limits
) -> tuple[list[NewToken], int]:
    """Learn new tokens on `words`, which are changed to their new tokens.

    `names` are the base's tokens; new ids start above the highest. Tokens in `unmergeable` are never merged.
    Returns the new tokens, and the number of candidates that general text uses too often.
    """
    names = dict(names)
    taken = set(names.values())
    first_new = max(names) + 1
    counts, places = _pairs(words, unmergeable)
    heap = [(-count, names[left], names[right], left, right) for (left, right), count in counts.items()]
    heapq.heapify(heap)
    learned: list[NewToken] = []
    general_tokens, covered, skipped = limits.general_tokens, 0, 0
    while heap and len(learned) < limits.new_tokens:
        negative, _, _, left, right = heapq.heappop(heap)
        count = counts.get((left, right), 0)
        if count != -negative:
            if count > 0:
                heapq.heappush(heap, (-count, names[left], names[right], left, right))
            continue
        if count < limits.min_count:
            break
        # A merge into a token that exists would let older merges act on it, in an order not simulated here.
        token = names[left] + names[right]
        if token in taken:
            del counts[(left, right)]
            continue
        found = [(words[place], _merges(words[place].tokens, (left, right))) for place in places[(left, right)]]
        gone = sum(word.general * merges for word, merges in found)
        # A new token that is swallowed by a longer one covers nothing any more.
        gain = gone * (1 - (left >= first_new) - (right >= first_new))
        if limits.max_general_share < 1 and (
            gone * limits.domain_tokens > count * limits.general_tokens
            or (gain >= 0 and covered + gain > limits.max_general_share * (general_tokens - gone))
        ):
            del counts[(left, right)]
            skipped += 1
            continue
        index = first_new + len(learned)
        names[index] = token
        taken.add(token)
        learned.append(NewToken(index, token, (left, right), count))
        general_tokens, covered = general_tokens - gone, covered + gain
        for pair in _apply(words, places, counts, (left, right), index, unmergeable):
            heapq.heappush(heap, (-counts[pair], names[pair[0]], names[pair[1]], *pair))
    return learned, skipped


def _pairs(words: list[Word], unmergeable: frozenset[int]) -> tuple[dict[Pair, int], dict[Pair, set[int]]]:
    counts: dict[Pair, int] = defaultdict(int)
    places: dict[Pair, set[int]] = defaultdict(set)
    for place, word in enumerate(words):
        for pair in zip(word.tokens, word.tokens[1:], strict=False):
            counts[pair] += word.domain
            places[pair].add(place)
    kept = {
        pair: count
        for pair, count in counts.items()
        if count and pair[0] not in unmergeable and pair[1] not in unmergeable
    }
    return kept, places


def _merges(tokens: list[int], pair: Pair) -> int:
    """How many times `pair` is merged in `tokens`, from left to right."""
    found = position = 0
    while position < len(tokens) - 1:
        if tokens[position] == pair[0] and tokens[position + 1] == pair[1]:
            found += 1
            position += 1
        position += 1
    return found


def merged(tokens: list[int], pair: Pair, index: int) -> list[int]:
    """`tokens` with each `pair`, from left to right, replaced by `index`.

    >>> merged([5, 5, 5, 7], (5, 5), 9)
    [9, 5, 7]
    """
    result: list[int] = []
    position = 0
    while position < len(tokens):
        if position < len(tokens) - 1 and (tokens[position], tokens[position + 1]) == pair:
            result.append(index)
            position += 2
        else:
            result.append(tokens[position])
            position += 1
    return result


def _apply(
    words: list[Word],
    places: dict[Pair, set[int]],
    counts: dict[Pair, int],
    pair: Pair,
    index: int,
    unmergeable: frozenset[int],
) -> list[Pair]:
    """Merge `pair` in all words and bring the counts up to date. Returns the pairs that the new token is in."""
    fresh: dict[Pair, None] = {}
    for place in sorted(places.pop(pair)):
        word = words[place]
        after = merged(word.tokens, pair, index)
        if len(after) == len(word.tokens):
            continue
        for old in zip(word.tokens, word.tokens[1:], strict=False):
            if old in counts:
                counts[old] -= word.domain
        for new in zip(after, after[1:], strict=False):
            if index in new:
                if new[0] in unmergeable or new[1] in unmergeable:
                    continue
                counts.setdefault(new, 0)
                fresh[new] = None
                places[new].add(place)
            if new in counts:
                counts[new] += word.domain
        word.tokens = after
    del counts[pair]
    return [pair for pair in fresh if counts[pair] > 0]
