"""From the keys of `mix:` to the plan's knots: the shares of pools, the weights and the caps of sources."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from mix.best import BEST, POOL
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
        where = f"{file}: mix.domain, mix.replay"
        if isinstance(knot, KnotConfig):
            where = _place(file, knot, number)
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
    whole_sources = {pool: _joined(sources, mix) for pool, sources in pools.items()}
    given: dict[str, tuple[int, ...]] = {}  # weights of whole sources, of the pools of which some are named
    if isinstance(mix.weights, dict):
        given = _given(f"{file}: mix.weights", mix.weights, whole_sources)
    knots = []
    settings: Sequence[KnotConfig | None] = mix.schedule or [None]
    for number, (parts, knot) in enumerate(zip(pool_shares(file, mix, list(pools)), settings, strict=True)):
        where = _place(file, knot, number) if knot else str(file)
        if knot and isinstance(knot.weights, dict):
            given = given | _given(f"{where}.weights", knot.weights, whole_sources)
        elif knot:
            given = {}
        best = knot is not None and knot.best
        if best and not mix.best:
            raise ValueError(f"{where}.best: is true, but mix.best does not say which documents are the best. Set it.")
        weights = tuple(
            _by_part(where, mix, sources, given.get(pool), best and pool == POOL) for pool, sources in pools.items()
        )
        knots.append(Knot(knot.step if knot else 0, Shares(tuple(parts[pool] for pool in pools), weights)))
    return tuple(knots)


def find_caps(file: Path, mix: MixConfig, pools: Pools) -> list[Fraction]:
    """Most epochs of each source, pool by pool."""
    if not isinstance(mix.max_epochs, dict):
        return [share(mix.max_epochs) for sources in pools.values() for _ in sources]
    caps = {name: share(cap) for name, cap in mix.max_epochs.items()}
    default = caps.pop(DEFAULT, MOST_REPEATED)
    joined = {pool: _joined(sources, mix) for pool, sources in pools.items()}
    named = _by_source(f"{file}: mix.max_epochs", caps, joined)
    return [named.get((pool, part), default) for pool, sources in pools.items() for part in _parents(sources, mix)]


def _place(file: Path, knot: KnotConfig, number: int) -> str:
    """How an error names a knot."""
    return f"{file}: phases: {knot.phase}" if knot.phase else f"{file}: mix.schedule[{number}]"


def _parents(sources: Sequence[Source], mix: MixConfig) -> list[int]:
    """Of each packed source the index of the whole one (mix.best), among whole sources by name."""
    wholes = [source.name.removesuffix(BEST) if mix.best else source.name for source in sources]
    names = sorted({*wholes})
    return [names.index(name) for name in wholes]


def _joined(sources: Sequence[Source], mix: MixConfig) -> list[Source]:
    """The whole sources by name, with the rows of both parts of one that is packed in two."""
    joined: dict[int, Source] = {}
    for source, parent in zip(sources, _parents(sources, mix), strict=True):
        rows = source.rows + (joined[parent].rows if parent in joined else 0)
        name = source.name.removesuffix(BEST) if mix.best else source.name
        joined[parent] = replace(source, name=name, rows=rows)
    return [joined[parent] for parent in sorted(joined)]


def _by_part(
    where: str, mix: MixConfig, sources: Sequence[Source], given: Sequence[int] | None, best: bool
) -> tuple[int, ...]:
    """Weights of a pool's packed sources, from those `given` of its whole sources; None takes natural ones.

    The parts of a source share its weight by their rows. With `best` the best part has all of it, and a source without
    one has none.
    """
    parents = _parents(sources, mix)
    rows = [source.rows * (not best or source.name.endswith(BEST)) for source in sources]
    together = [0] * len({*parents})
    for count, parent in zip(rows, parents, strict=True):
        together[parent] += count
    if best and not any(rows):
        raise ValueError(f"{where}: best: the best documents have no tokens, so there is no row. Raise mix.best.share.")
    if given is None and mix.temperature == 1:
        return tuple(rows)
    weights = _natural(together, mix.temperature) if given is None else tuple(given)
    if len(together) == len(sources) and not best:
        return tuple(weights[parent] for parent in parents)
    for source, parent in zip(sources, parents, strict=True):
        if weights[parent] and not together[parent]:
            raise ValueError(
                f"{where}: {source.name} has a weight, and no documents that mix.best sets apart. Give it 0 there."
            )
    return whole([Fraction(weights[of] * count, together[of] or 1) for count, of in zip(rows, parents, strict=True)])


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
