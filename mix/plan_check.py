"""Whether a plan that was read can be followed: no number that a kernel would run away with, no path out of the run.

The identity in mixture.json finds a changed file, but not one that was changed together with its identity.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.files import inside, is_plain
from mix.schedule import Shares

if TYPE_CHECKING:
    from mix.plan import Plan, Pool

MOST = 1 << 62
"""Positions, and what adds up to them, are below this."""


def check(plan: "Plan", packed: Path) -> None:
    """Raises ValueError where a plan holds what mix.build does not write; its shards have to lie in `packed`."""
    for told in chain(_head(plan), _pools(plan, packed), _shares(plan)):  # each takes those before for granted
        raise ValueError(told)


def _head(plan: "Plan") -> Iterator[str]:
    for key in ("seq_len", "vocabulary_size", *(["global_batch"] if plan.global_batch is not None else [])):
        if not _number(getattr(plan, key), 1, 1 << 32):
            yield f"{key}: {getattr(plan, key)!r} is no whole number above 0"
    if not isinstance(plan.tokenizer, str):
        yield f"tokenizer: {plan.tokenizer!r} is no identity"


def _pools(plan: "Plan", packed: Path) -> Iterator[str]:
    for pool in plan.pools:
        if not is_plain(pool.name):
            yield f"{pool.name!r} is no name of a pool"
        for source in pool.sources:
            where = f"{pool.name}: {source.name}"
            if not is_plain(source.name):
                yield f"{pool.name}: {source.name!r} is no name of a source"
            counts = (source.rows, source.tokens, source.documents, source.cut, *(one.rows for one in source.shards))
            if not all(_number(count, 0) for count in counts):
                yield f"{where}: its counts are not whole numbers from 0 on"
            elif sum(shard.rows for shard in source.shards) != source.rows:
                yield f"{where}: rows: {source.rows}, but its shards do not add to it"
            for shard in source.shards:
                inside(packed, shard.file, f"{where}: file")


def _shares(plan: "Plan") -> Iterator[str]:
    rows: list[int] = []
    for knot in plan.schedule:
        where = f"schedule: step {knot.step!r}"
        if not _number(knot.step, rows[-1] + 1 if rows else 0, MOST // (plan.global_batch or 1)):
            yield f"{where}: steps do not rise"
            return
        rows.append(knot.step)
        yield from (f"{where}: {told}" for told in _parts(plan.pools, knot.shares.pools, knot.shares))
    before = 0
    for change in plan.changes:
        where = f"changes: row {change.first_row!r}"
        if not _number(change.first_row, before):
            yield f"{where}: rows do not rise"
            return
        before = change.first_row
        yield from (f"{where}: {told}" for told in _parts(plan.pools, change.pools))


def _parts(pools: Sequence["Pool"], parts: Sequence[Any], shares: Shares | None = None) -> Iterator[str]:
    if len(parts) != len(pools) or sum(parts) != 1 or min(parts) < 0:
        yield "the shares are not from 0 to 1, together 1"
    for number, (pool, part) in enumerate(zip(pools, parts, strict=False)):
        weights = shares.sources[number] if shares and number < len(shares.sources) else None
        if part and not pool.rows:
            yield f"the pool {pool.name} has a share and no rows"
        if shares and (weights is None or len(weights) != len(pool.sources)):
            yield f"the pool {pool.name} has not a weight for each source"
        elif not all(_number(weight, 0) for weight in weights or ()):
            yield f"the weights of the pool {pool.name} are not whole numbers from 0 on"
        elif weights is not None and pool.rows and not sum(weights):
            yield f"the weights of the pool {pool.name} are all 0"


def _number(value: Any, least: int, most: int = MOST) -> bool:
    return isinstance(value, int) and least <= value < most
