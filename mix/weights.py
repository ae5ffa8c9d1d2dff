"""From the keys of `mix:` to the plan's knots: the shares of pools, the weights and the caps of sources."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from mix.config import DEFAULT, KnotConfig, MixConfig
from mix.plan import Source, share
from mix.schedule import Knot, Shares, whole

MOST_REPEATED = Fraction(4)
"""Cap of sources for which max_epochs has neither their name nor a default."""

Pools = Mapping[str, Sequence[Source]]
"""Pool -> its sources."""


def pool_shares(file: Path, mix: MixConfig, pools: Sequence[str]) -> list[dict[str, Fraction]]:
    """The pools' shares at each knot, at the only one where there is no schedule.

    Raises ValueError where they are not 1 together, have too many decimals, or steps do not rise.
    """
    shares = []
    for number, knot in enumerate(mix.schedule or [mix]):
        parts = {pool: share(getattr(knot, pool)) for pool in pools}
        where = f"{file}: mix.schedule[{number}]" if mix.schedule else f"{file}: mix.domain, mix.replay"
        if sum(parts.values()) != 1:
            told = " + ".join(str(getattr(knot, pool)) for pool in pools)
            rest = f"{float(1 - parts[pools[0]]):g}"
            example = f"{pools[0]}: {getattr(knot, pools[0])}, {pools[1]}: {rest}"
            if not mix.schedule:
                example = f"--{pools[0]} {getattr(knot, pools[0])} --{pools[1]} {rest}"
            raise ValueError(
                f"{where}: {told} is {float(sum(parts.values())):g}, not 1, so the shares of a batch are not clear. "
                f"Give both, e.g. {example}."
            )
        for pool, part in parts.items():
            if part.denominator >= 1 << 31:
                raise ValueError(
                    f"{where}: {pool}: {getattr(knot, pool)} has more decimals than can be dealt exactly. "
                    "Round it to at most 9."
                )
        shares.append(parts)
    for number, (one, other) in enumerate(zip(mix.schedule, mix.schedule[1:], strict=False), 1):
        if other.step <= one.step:
            raise ValueError(
                f"{file}: mix.schedule[{number}].step: {other.step} does not come after {one.step}, so the shares in "
                "between are not clear. Order the knots by step, with one at each step."
            )
    return shares


def make_knots(file: Path, mix: MixConfig, pools: Pools) -> tuple[Knot, ...]:
    """The knots that the plan is made of. Raises ValueError naming the key of a weight that cannot be."""
    weights = {pool: _natural([source.rows for source in sources], mix.temperature) for pool, sources in pools.items()}
    if isinstance(mix.weights, dict):
        weights |= _given(f"{file}: mix.weights", mix.weights, pools)
    knots = []
    settings: Sequence[KnotConfig | None] = mix.schedule or [None]
    for number, (parts, knot) in enumerate(zip(pool_shares(file, mix, list(pools)), settings, strict=True)):
        if knot:
            weights = weights | _given(f"{file}: mix.schedule[{number}].weights", knot.weights, pools)
        shares = Shares(tuple(parts[pool] for pool in pools), tuple(weights[pool] for pool in pools))
        knots.append(Knot(knot.step if knot else 0, shares))
    return tuple(knots)


def find_caps(file: Path, mix: MixConfig, pools: Pools) -> list[Fraction]:
    """Most epochs of each source, pool by pool."""
    if not isinstance(mix.max_epochs, dict):
        return [share(mix.max_epochs) for sources in pools.values() for _ in sources]
    caps = {name: share(cap) for name, cap in mix.max_epochs.items()}
    default = caps.pop(DEFAULT, MOST_REPEATED)
    named = _by_source(f"{file}: mix.max_epochs", caps, pools)
    return [named.get((pool, index), default) for pool, sources in pools.items() for index in range(len(sources))]


def _natural(rows: list[int], temperature: float) -> tuple[int, ...]:
    """Weights by rows to the power of 1 / temperature, those of rows themselves exactly."""
    if temperature == 1 or not any(rows):
        return tuple(rows)
    largest = max(rows)
    return whole([Fraction((count / largest) ** (1 / temperature)) for count in rows])


def _given(key: str, given: Mapping[str, float], pools: Pools) -> dict[str, tuple[int, ...]]:
    """Weights of the pools of which sources are named."""
    named = _by_source(key, {name: share(weight) for name, weight in given.items()}, pools)
    found = {}
    for pool, sources in pools.items():
        mine = [named.get((pool, index)) for index in range(len(sources))]
        if all(weight is None for weight in mine):
            continue
        missing = [source.name for source, weight in zip(sources, mine, strict=True) if weight is None]
        if missing:
            raise ValueError(
                f"{key}: names some sources of the pool {pool}, but not {', '.join(missing)}, so their weight is not "
                "clear. Give the weight of each source of the pool; 0 leaves a source out."
            )
        weights = [weight or Fraction(0) for weight in mine]
        empty = [source.name for source, weight in zip(sources, weights, strict=True) if weight and not source.rows]
        if empty:
            raise ValueError(f"{key}: {', '.join(empty)} has no tokens, so it can have no weight. Give it 0.")
        if not any(weights):
            raise ValueError(f"{key}: leaves out every source of the pool {pool}. Give one of them a weight above 0.")
        found[pool] = whole(weights)
    return found


def _by_source(key: str, given: Mapping[str, Fraction], pools: Pools) -> dict[tuple[str, int], Fraction]:
    """What is given of each source: (pool, index in the pool) -> number."""
    found = {}
    for name, number in given.items():
        places = [
            (pool, index)
            for pool, sources in pools.items()
            for index, source in enumerate(sources)
            if name in (source.name, f"{pool}/{source.name}")
        ]
        if not places:
            known = ", ".join(f"{pool}/{source.name}" for pool, sources in pools.items() for source in sources)
            raise ValueError(f"{key}: there is no source {name}. Sources are {known}.")
        if len(places) > 1:
            either = " or ".join(f"{pool}/{name}" for pool, _ in places)
            raise ValueError(f"{key}: {name}: more than one pool has a source of this name. Say {either}.")
        if places[0] in found:
            raise ValueError(f"{key}: {name}: is given twice, with its pool's name and without. Give it once.")
        found[places[0]] = number
    return found
