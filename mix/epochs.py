"""Caps on how often a source is repeated: a budget that passes one is refused, or its weights are rescaled."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from mix.config import MixConfig
from mix.plan import Plan
from mix.schedule import WHOLE, Knot, Shares, whole

NAMED = 5
"""Sources named in an error."""


def check(file: Path, mix: MixConfig, plan: Plan, steps: int, global_batch: int, caps: Sequence[Fraction]) -> None:
    """Refuse a budget that repeats a source more often than its cap, and say what would fit.

    Judged by what the shares ask for; dealing it out rounds it by less than 2 rows (Plan.error_bounds).
    """
    asked = plan.asked(steps * global_batch)
    over = _over(plan, asked, caps)
    if not over:
        return
    told = []
    for number, pool in enumerate(plan.pools):
        mine = [index for index in over if plan.sources[index][0] is pool]
        if mine:
            told.append(_told(plan, number, asked, mine, caps))
    fits = bisect_left(range(1, steps + 1), True, key=lambda n: bool(_over(plan, plan.asked(n * global_batch), caps)))
    least = math.ceil(100 * max(asked[index] / plan.sources[index][1].rows for index in over)) / 100
    allowed = " or ".join(f"{float(cap):g}" for cap in sorted({caps[index] for index in over}))
    can = mix.when_capped == "error" and _can_rescale(plan, over)
    raise ValueError(
        f"{file}: mix.max_epochs: {allowed} is the most any text may be repeated, but over train.steps {steps:,} x "
        f"train.global_batch {global_batch:,} {'; '.join(told)}. What fits: train.steps at most {fits:,}, or "
        f"mix.max_epochs at least {least:g}, {'or mix.when_capped: rescale, ' if can else ''}or more documents."
    )


def rescale(plan: Plan, rows: int, caps: Sequence[Fraction]) -> tuple[Plan, list[str]]:
    """Lower the weights of sources that would pass their caps over `rows` rows, and say so, a sentence a source.

    Water filling: a source over its cap gets what the cap allows, the others of its pool share the rest in proportion,
    until none is over. A pool whose sources are all at their caps, or whose weights change over the schedule, is left
    as it is, for `check` to refuse.
    """
    asked = plan.asked(rows)
    knots = list(plan.schedule)
    told = []
    first = 0
    for number, pool in enumerate(plan.pools):
        mine = asked[first : first + len(pool.sources)]
        most = [cap * source.rows for cap, source in zip(caps[first:], pool.sources, strict=False)]
        first += len(pool.sources)
        got = _fill(mine, most)
        if got is None or got == mine or len({knot.shares.sources[number] for knot in knots}) > 1:
            continue
        weights = whole(got)
        knots = [_with_weights(knot, number, weights) for knot in knots]
        for source, before, after in zip(pool.sources, mine, got, strict=True):
            if after < before:
                parts = [f"{float(rows / sum(mine)):.2%}" for rows in (before, after)]
                times = [f"{float(rows / source.rows):.2f}" for rows in (before, after)]
                told.append(
                    f"{pool.name}/{source.name}: {parts[0]} of the pool would be {times[0]} epochs; rescaled to "
                    f"{parts[1]}, {times[1]} epochs"
                )
    return replace(plan, schedule=tuple(knots)), told


def _fill(asked: Sequence[Fraction], most: Sequence[Fraction]) -> list[Fraction] | None:
    """`asked`, shared out again so that none is above `most`; None where all together are not enough."""
    got = list(asked)
    full: set[int] = set()
    while over := {index for index, rows in enumerate(got) if rows > most[index]}:
        full |= over
        rest = sum(asked) - sum(most[index] for index in full)
        others = sum(rows for index, rows in enumerate(asked) if index not in full)
        if not others:
            return None
        got = [most[index] if index in full else rows * rest / others for index, rows in enumerate(asked)]
    return got


def _with_weights(knot: Knot, pool: int, weights: tuple[int, ...]) -> Knot:
    sources = knot.shares.sources
    return replace(knot, shares=Shares(knot.shares.pools, (*sources[:pool], weights, *sources[pool + 1 :])))


def _over(plan: Plan, asked: Sequence[Fraction], caps: Sequence[Fraction]) -> list[int]:
    """Sources that pass their caps by more than what rounding of rows and of rescaled weights makes."""
    slack = Fraction(1, 2) + sum(asked) / WHOLE
    sources = enumerate(plan.sources)
    return [index for index, (_, source) in sources if asked[index] > caps[index] * source.rows + slack]


def _can_rescale(plan: Plan, over: Sequence[int]) -> bool:
    """Whether a source of each pool concerned is under its cap."""
    pools = {plan.sources[index][0].name for index in over}
    under = {pool.name for index, (pool, source) in enumerate(plan.sources) if source.rows and index not in over}
    return pools <= under


def _told(plan: Plan, number: int, asked: Sequence[Fraction], over: Sequence[int], caps: Sequence[Fraction]) -> str:
    """What a pool is asked for; source by source, the worst first, where not all of them are over alike."""
    pool = plan.pools[number]
    mine = [index for index, (owner, _) in enumerate(plan.sources) if owner is pool]
    rows = sum(asked[index] for index in mine)
    head = f"mix.{pool.name} {_span(plan, number)} asks for {round(rows):,} rows of {plan.seq_len} tokens and there are"
    epochs = {index: asked[index] / plan.sources[index][1].rows for index in over}
    if len(set(epochs.values())) == 1 and all(index in over or not plan.sources[index][1].rows for index in mine):
        return f"{head} {pool.rows:,}, so they would be repeated {float(rows / pool.rows):.2f} times"
    worst = sorted(over, key=lambda index: -epochs[index])[:NAMED]
    lines = [
        f"{plan.sources[index][1].name} {plan.sources[index][1].rows:,}, repeated {float(epochs[index]):.2f} times "
        f"(allowed {float(caps[index]):g})"
        for index in worst
    ]
    more = f" and {len(over) - NAMED} more sources" if len(over) > NAMED else ""
    return f"{head} of {', '.join(lines)}{more}"


def _span(plan: Plan, number: int) -> str:
    """The pool's share, from the least to the most where it changes."""
    shares = [float(knot.shares.pools[number]) for knot in plan.schedule]
    return f"{shares[0]:g}" if min(shares) == max(shares) else f"{min(shares):g} to {max(shares):g}"
