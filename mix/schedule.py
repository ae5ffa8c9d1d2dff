"""How the mixture changes over training: knots by step, pieces of constant shares by global row.

A knot says the shares at a step. Between two knots they are linear in the step; before the first and after the last
they are constant. A global batch has one set of shares, so a ramp is a flight of stairs: one a step, or STAIRS of them
where the ramp is longer. A stair has the mean of its steps' shares, so a ramp gives each pool what the line gives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

STAIRS = 1000
"""Most pieces of a ramp: of 100,000 steps, 100 steps have the same shares, off the line by 1/2000 of the rise."""
WHOLE = 1 << 30
"""Weights of a pool's sources that are not small whole numbers are rounded to this part of their sum."""


@dataclass(frozen=True)
class Shares:
    """What the rows are dealt by."""

    pools: tuple[Fraction, ...]
    """Each pool's share of all rows; their sum is 1."""
    sources: tuple[tuple[int, ...], ...]
    """The weights of each pool's sources, relative to each other."""


@dataclass(frozen=True)
class Knot:
    """The shares at a step."""

    step: int
    shares: Shares


@dataclass(frozen=True)
class Change:
    """The pools' shares from a row on, whatever the knots say of later steps; the weights of sources are the knots'."""

    first_row: int
    pools: tuple[Fraction, ...]


@dataclass(frozen=True)
class Piece:
    """Rows dealt by the same shares, from a global row to the next piece's."""

    first_row: int
    shares: Shares


def expand(knots: Sequence[Knot], global_batch: int, changes: Sequence[Change] = ()) -> list[Piece]:
    """The pieces of knots (steps rising) and changes (rows rising); the first begins at row 0."""
    pieces = [Piece(0, knots[0].shares)]
    for one, other in zip(knots, knots[1:], strict=False):
        pieces += [Piece(step * global_batch, shares) for step, shares in _ramp(one, other)]
    pieces.append(Piece(knots[-1].step * global_batch, knots[-1].shares))
    for change in changes:
        before = [piece for piece in pieces if piece.first_row <= change.first_row]
        after = [Piece(change.first_row, before[-1].shares), *pieces[len(before) :]]
        pieces = before + [Piece(piece.first_row, Shares(change.pools, piece.shares.sources)) for piece in after]
    last: dict[int, Piece] = {piece.first_row: piece for piece in pieces}  # of pieces at one row the last one counts
    pieces = list(last.values())
    return [piece for index, piece in enumerate(pieces) if index == 0 or piece.shares != pieces[index - 1].shares]


def within(pieces: Sequence[Piece], rows: int) -> list[tuple[int, Shares]]:
    """The pieces of the first `rows` rows: how many of these rows each has, and its shares."""
    ends = [piece.first_row for piece in pieces[1:]] + [rows]
    counts = [min(end, rows) - piece.first_row for piece, end in zip(pieces, ends, strict=True)]
    return [(count, piece.shares) for piece, count in zip(pieces, counts, strict=True) if count > 0]


def whole(weights: Sequence[Fraction]) -> tuple[int, ...]:
    """Whole numbers in the proportion of `weights`: exactly where they fit 30 bits, else rounded to 1 / WHOLE."""
    total = sum(weights)
    parts = [weight / total for weight in weights]
    common = math.lcm(*(part.denominator for part in parts))
    if common <= WHOLE:
        return tuple(int(part * common) for part in parts)
    return tuple(max(round(part * WHOLE), int(part > 0)) for part in parts)


def _ramp(one: Knot, other: Knot) -> list[tuple[int, Shares]]:
    steps = other.step - one.step
    stairs = min(steps, STAIRS) if one.shares != other.shares else 1
    bounds = [one.step + steps * stair // stairs for stair in range(stairs + 1)]
    ramp = []
    for first, end in zip(bounds, bounds[1:], strict=False):
        way = Fraction(first + end - 1 - 2 * one.step, 2 * steps)  # to the middle of the stair's steps
        ramp.append((first, _between(one.shares, other.shares, way)))
    return ramp


def _between(one: Shares, other: Shares, way: Fraction) -> Shares:
    """The shares a part `way` of the way from one to the other."""
    pools = tuple(first + way * (last - first) for first, last in zip(one.pools, other.pools, strict=True))
    sources = []
    for first, last in zip(one.sources, other.sources, strict=True):
        if first == last:
            sources.append(first)
            continue
        ends = [[Fraction(weight, sum(weights)) for weight in weights] for weights in (first, last)]
        sources.append(whole([start + way * (end - start) for start, end in zip(*ends, strict=True)]))
    return Shares(pools, tuple(sources))
