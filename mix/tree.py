"""The tree that rows are dealt out through (mix.plan): what a node has been given, its two children share.

A node passes floor(x + m * p / w) of the m rows that it has been given since a piece began to its left child, the rest
to its right. p / w is the left child's part in that piece. x is the fraction of a row that earlier pieces left over,
1/2 at row 0, so that counts are rounded: after any number of pieces the left child has had the sum of m * p / w,
rounded, and nothing drifts. m * p / w is a multiple of 1 / w, so floor((floor(x * w) + m * p) / w) is the same number,
and the kernel needs three int64 of each node and piece; x itself is carried on here in Python's integers.

Huffman's algorithm (1952) builds the tree, heavy sources near the root, because a node's error is handed down in
proportion: with constant weights a leaf of weight w is at most (1 + sum of w / ancestor's weight) / 2 rows off, the
root not counted. In a Huffman tree ancestors grow at least like the Fibonacci numbers 1, 2, 3, 5, 8, ..., so that is
below 1.7 rows for any number of leaves and any weights; it is at most half a row for two leaves.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from mix.schedule import Knot, Piece, Shares

Shape = Any
"""A leaf's index, or (left shape, right shape)."""


@dataclass(frozen=True)
class Tree:
    """A tree over pools and, under each of them, over its sources; its shape is the same in all pieces.

    Nodes are numbered from the root, parents before their children: those over pools, then pool by pool.
    """

    top: Shape
    """Leaves are pools."""
    pools: dict[int, Shape]
    """Pool -> leaves are its sources, counted inside the pool."""
    first_source: tuple[int, ...]
    """Index of each pool's first source among all sources."""

    def children(self) -> np.ndarray:
        """int64 [nodes, 2]: left and right child: a node's number, or -1 - index of a source.

        A tree of one source is a node that passes all rows left.
        """
        lines: list[list[int]] = []
        roots: dict[int, int] = {}
        first = len(self.pools) - 1
        for pool, shape in self.pools.items():
            roots[pool] = _number(shape, first, _reference(self.first_source[pool]), lines)
        top: list[list[int]] = []
        root = _number(self.top, 0, roots.__getitem__, top)
        return np.array(top + lines or [[root, root]], np.int64)

    def parts(self, shares: Shares) -> list[Fraction]:
        """The left child's part of what each node is given; 0 where it is given nothing."""
        found = list(_parts(self.top, shares.pools))
        for pool, shape in self.pools.items():
            found += _parts(shape, shares.sources[pool])
        return found or [Fraction(1)]

    def error_bounds(self, pieces: Sequence[Piece]) -> dict[int, float]:
        """Most rows by which each source can be away from its share of its pool's rows, at any position.

        A node that is e rows off hands on e times its part, and where the part changes, at most e times the change.
        """
        bounds: dict[int, float] = {}
        for pool, shape in self.pools.items():
            weights = [weights for weights, _ in groupby(piece.shares.sources[pool] for piece in pieces)]
            series = np.array([_parts(shape, one) for one in weights], float).reshape(len(weights), _nodes(shape))
            changed = np.abs(np.diff(series, axis=0, prepend=series[:1])).cumsum(0)
            left, right = (series + changed).max(0), (1 - series + changed).max(0)
            lines: list[list[int]] = []
            root = _number(shape, 0, _reference(0), lines)
            off = {root: 0.0}
            for node, children in enumerate(lines):
                for child, part in zip(children, (left[node], right[node]), strict=True):
                    off[child] = off[node] * part + 0.5
            bounds |= {self.first_source[pool] - 1 - leaf: error for leaf, error in off.items() if leaf < 0}
        return bounds


@dataclass(frozen=True)
class Tables:
    """What the kernel reads."""

    first_row: np.ndarray
    """int64 [pieces]"""
    children: np.ndarray
    """int64 [nodes, 2]: Tree.children"""
    numbers: np.ndarray
    """int64 [pieces, nodes, 3]: floor(x * w), p, w"""
    taken: np.ndarray
    """int64 [pieces, sources]: rows each source has given before the piece"""


def plant(knots: Sequence[Knot], rows: Sequence[Sequence[int]]) -> Tree:
    """The tree for pools whose sources have `rows`, by their mean weights; what has no rows is not in it."""
    pools = {}
    for pool, sizes in enumerate(rows):
        parts = [[Fraction(weight, sum(weights) or 1) for weight in weights] for weights in _sources(knots, pool)]
        means = [sum(part) for part in zip(*parts, strict=True)]
        leaves = [(means[leaf], leaf) for leaf, size in enumerate(sizes) if size]
        if leaves:
            pools[pool] = _huffman(leaves)
    top = _huffman((sum(knot.shares.pools[pool] for knot in knots), pool) for pool in pools)
    return Tree(top, pools, tuple(sum(map(len, rows[:pool])) for pool in range(len(rows))))


def tabulate(tree: Tree, pieces: Sequence[Piece], sources: int) -> Tables:
    """Deal out all pieces but the last, which has no end, and note what each of them begins with.

    Raises ValueError where a share has so many decimals that the kernel's integers would overflow.
    """
    children = tree.children()
    numbers = np.empty((len(pieces), len(children), 3), np.int64)
    taken = np.zeros((len(pieces), sources), np.int64)
    over = [(1, 2)] * len(children)  # x of each node: numerator, denominator
    ends = [following.first_row for following in pieces[1:]]
    for index, piece in enumerate(pieces):
        rows = ends[index] - piece.first_row if index < len(ends) else None
        parts = [part.as_integer_ratio() for part in tree.parts(piece.shares)]
        for node, (p, w) in enumerate(parts):
            if w + p * (w if rows is None else min(w, rows)) >= 1 << 63:
                raise ValueError(
                    f"mix.schedule: the shares of the rows from {piece.first_row:,} on have too many decimals to be "
                    "dealt exactly over so many rows. Round those of the knots, e.g. to 4 decimals."
                )
            numbers[index, node] = over[node][0] * w // over[node][1], p, w
        if rows is not None:
            counts, given = deal(children, numbers[index], rows, sources)
            taken[index + 1] = taken[index] + counts
            over = [_carry(x, m, p, w) for x, m, (p, w) in zip(over, given, parts, strict=True)]
    return Tables(np.array([piece.first_row for piece in pieces], np.int64), children, numbers, taken)


def deal(children: np.ndarray, numbers: np.ndarray, rows: int, sources: int) -> tuple[list[int], list[int]]:
    """Of the first `rows` rows of a piece with `numbers` [nodes, 3]: what each source and each node is given."""
    counts, given = [0] * sources, [0] * len(children)
    given[0] = rows
    for node, ((left, right), (x, p, w)) in enumerate(zip(children.tolist(), numbers.tolist(), strict=True)):
        passed = (x + given[node] * p) // w
        for child, got in ((left, passed), (right, given[node] - passed)):
            if child >= 0:
                given[child] = got
            else:
                counts[-1 - child] += got
    return counts, given


def _carry(x: tuple[int, int], given: int, p: int, w: int) -> tuple[int, int]:
    """The fraction of a row that is left over after `given` more rows."""
    numerator, denominator = x
    common = math.lcm(denominator, w)
    return (numerator * (common // denominator) + given * p * (common // w)) % common, common


def _sources(knots: Iterable[Knot], pool: int) -> list[tuple[int, ...]]:
    return [knot.shares.sources[pool] for knot in knots]


def _huffman(items: Iterable[tuple[Any, int]]) -> Shape:
    """Join the two lightest until one is left; equal weights in the order given. The heavier of two goes left."""
    heap: list[tuple[Any, int, Shape]] = [(weight, order, leaf) for order, (weight, leaf) in enumerate(items)]
    heapq.heapify(heap)
    order = len(heap)
    while len(heap) > 1:
        light, _, right = heapq.heappop(heap)
        heavy, _, left = heapq.heappop(heap)
        heapq.heappush(heap, (light + heavy, order, (left, right)))
        order += 1
    return heap[0][2]


def _nodes(shape: Shape) -> int:
    return 0 if isinstance(shape, int) else 1 + _nodes(shape[0]) + _nodes(shape[1])


def _reference(first_source: int) -> Callable[[int], int]:
    """From a leaf of a pool to how `children` names its source."""
    return lambda leaf: -1 - first_source - leaf


def _number(shape: Shape, first: int, leaf: Callable[[int], int], lines: list[list[int]]) -> int:
    """Add the lines of the shape's nodes, numbered from `first` where `lines` is empty; returns the root's number."""
    if isinstance(shape, int):
        return leaf(shape)
    line = [0, 0]
    lines.append(line)
    number = first + len(lines) - 1
    line[:] = (_number(child, first, leaf, lines) for child in shape)
    return number


@lru_cache(maxsize=64)
def _parts(shape: Shape, weights: tuple[Fraction | int, ...]) -> tuple[Fraction, ...]:
    """The left child's part of each node, the root's first; 0 where a node has no weight."""
    found: list[Fraction] = []

    def weigh(shape: Shape) -> Fraction | int:
        if isinstance(shape, int):
            return weights[shape]
        node = len(found)
        found.append(Fraction(0))
        left, right = (weigh(child) for child in shape)
        if left:
            found[node] = Fraction(left) / (left + right)
        return left + right

    weigh(shape)
    return tuple(found)
