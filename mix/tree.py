"""The tree that rows are dealt out through (mix.plan): what a node has been given, its two children share.

Huffman's algorithm (1952) builds it, heavy sources near the root, because a node's error is handed down in proportion:
a leaf of weight w is at most (1 + sum of w / ancestor's weight) / 2 rows off, the root not counted. In a Huffman tree
ancestors grow at least like the Fibonacci numbers 1, 2, 3, 5, 8, ..., so that is below 1.7 rows for any number of
leaves and any weights; it is at most half a row for two leaves.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Leaf:
    """A source, by its index."""

    source: int
    weight: int


@dataclass(frozen=True)
class Node:
    """Passes round(n * left_weight / weight) of the n rows it has been given to its left child, the rest right."""

    left: "Node | Leaf"
    right: "Node | Leaf"
    left_weight: int
    weight: int

    def passed_left(self, rows: int) -> int:
        """How many of the first `rows` rows go left."""
        return (2 * rows * self.left_weight + self.weight) // (2 * self.weight)


def deal_tree(pools: list[tuple[Fraction, list[Leaf]]]) -> Node | Leaf:
    """The tree over pools, each with its share, and over each pool's sources, by their weights."""
    whole = np.lcm.reduce([share.denominator for share, _ in pools])
    tops = [(int(share * int(whole)), _huffman([(leaf.weight, leaf) for leaf in leaves])) for share, leaves in pools]
    return _huffman(tops)


def count(tree: Node | Leaf, rows: int, counts: list[int]) -> None:
    """Add to `counts` what each source gets of the first `rows` rows."""
    while isinstance(tree, Node):
        left = tree.passed_left(rows)
        count(tree.left, left, counts)
        tree, rows = tree.right, rows - left
    counts[tree.source] += rows


def table(tree: Node | Leaf) -> np.ndarray:
    """The tree as int64 [nodes, 4]: left child, right child, left weight, weight; node 0 is the root.

    A child is a node's index, or -1 - index of a source. A tree of one leaf is a node that passes all rows left.
    """
    if isinstance(tree, Leaf):
        tree = Node(tree, tree, 1, 1)
    nodes: list[Node] = [tree]
    lines = []
    for node in nodes:  # grows while it is read
        children = []
        for child in (node.left, node.right):
            if isinstance(child, Node):
                nodes.append(child)
            children.append(len(nodes) - 1 if isinstance(child, Node) else -1 - child.source)
        lines.append((*children, node.left_weight, node.weight))
    return np.array(lines, np.int64)


def error_bounds(tree: Node | Leaf, given: Fraction = Fraction(0)) -> dict[int, Fraction]:
    """Most rows by which each source can be away from its share of what `tree` gets, if that is `given` rows off."""
    if isinstance(tree, Leaf):
        return {tree.source: given}
    part = Fraction(tree.left_weight, tree.weight)
    half = Fraction(1, 2)
    return error_bounds(tree.left, given * part + half) | error_bounds(tree.right, given * (1 - part) + half)


def _huffman(items: Iterable[tuple[int, "Node | Leaf"]]) -> Node | Leaf:
    """Join the two lightest until one is left; equal weights in the order given. The heavier of two goes left."""
    heap = [(weight, order, tree) for order, (weight, tree) in enumerate(items)]
    heapq.heapify(heap)
    order = len(heap)
    while len(heap) > 1:
        light, _, right = heapq.heappop(heap)
        heavy, _, left = heapq.heappop(heap)
        heapq.heappush(heap, (light + heavy, order, Node(left, right, heavy, light + heavy)))
        order += 1
    return heap[0][2]
