"""Clean documents -> packed shards and a mixture plan: `python -m mix.build [RUN] [--domain 0.8 --replay 0.2]`.

Reads documents/ and tokenizer/ of a run, writes packed/ and mixture.json. A source that is already packed from the
same documents with the same tokenizer and seq_len is left as it is, so another ratio costs only a new mixture.json.
The same command after a kill gives the same bytes as a run that was left alone.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import cli, config

if TYPE_CHECKING:
    from mix.plan import Plan, Pool
    from mix.source import Documents, Packed
    from tokenization.encode import Encoder

POOLS = ("domain", "replay")


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, _ = cli.parse("mix.build", __doc__ or "", "mix", argv)
    build(pipeline)


def build(pipeline: config.Pipeline) -> "Plan":
    """Pack what is not packed yet and write the plan; prints what is asked for before and what it got after."""
    from mix.show import show_asked, show_got
    from mix.source import find_documents, pack_sources, remove_others
    from tokenization.encode import Encoder

    shares = _shares(pipeline)
    sources = find_documents(pipeline.folder / "documents", POOLS)
    _check_pools(pipeline, shares, sources)
    encoder = Encoder(pipeline.folder / "tokenizer")
    show_asked(pipeline, sources, encoder)
    remove_others(pipeline.folder, sources)
    packed = pack_sources(pipeline.folder, sources, encoder, pipeline.mix.seq_len)
    plan = _plan(pipeline, shares, packed, encoder)
    _check_epochs(pipeline, plan)
    got = _got(pipeline, plan)
    _write(pipeline, plan, got)
    show_got(pipeline, plan, got, packed)
    return plan


def _shares(pipeline: config.Pipeline) -> dict[str, Fraction]:
    from mix.plan import share

    mix = pipeline.mix
    shares = {pool: share(getattr(mix, pool)) for pool in POOLS}
    if sum(shares.values()) != 1:
        total = float(sum(shares.values()))
        raise ValueError(
            f"{_file(pipeline)}: mix.domain, mix.replay: {mix.domain} + {mix.replay} is {total:g}, not 1, so the "
            f"shares of a batch are not clear. Give both, e.g. --domain {mix.domain} "
            f"--replay {float(1 - shares['domain']):g}."
        )
    for pool, part in shares.items():
        if part.denominator >= 1 << 31:
            raise ValueError(
                f"{_file(pipeline)}: mix.{pool}: {getattr(mix, pool)} has more decimals than can be dealt exactly. "
                "Round it to at most 9."
            )
    return shares


def _check_pools(pipeline: config.Pipeline, shares: dict[str, Fraction], sources: list["Documents"]) -> None:
    for pool, part in shares.items():
        if part and not any(source.pool == pool and source.documents for source in sources):
            raise ValueError(
                f"{_file(pipeline)}: mix.{pool}: asks for {float(part):g} of every batch, but "
                f"{pipeline.folder / 'documents' / pool} holds no documents, so the pool is empty. Check the globs "
                f"under `{pool}:` and what curation removed (manifest.json), or set mix.{pool} to 0 and the other "
                "share to 1."
            )


def _plan(pipeline: config.Pipeline, shares: dict[str, Fraction], packed: list["Packed"], encoder: "Encoder") -> "Plan":
    from mix.plan import Plan, Pool

    pools = [Pool(pool, shares[pool], tuple(one.plan for one in packed if one.pool == pool)) for pool in POOLS]
    for pool in pools:
        if pool.share and not pool.rows:
            raise ValueError(
                f"{_file(pipeline)}: mix.{pool.name}: the documents of this pool have no tokens at all, so it is "
                f"empty. Look at {pipeline.folder / 'documents' / pool.name}."
            )
        assert pool.rows < 1 << 31
    mix = pipeline.mix
    return Plan(mix.seed, mix.seq_len, encoder.identity, encoder.vocabulary_size, tuple(pools))


def _check_epochs(pipeline: config.Pipeline, plan: "Plan") -> None:
    """Refuse a budget that repeats a pool more often than allowed, and say what would fit."""
    train, cap = pipeline.train, Fraction(str(pipeline.mix.max_epochs))
    asked = {pool.name: round_half_up(train.steps * train.global_batch * pool.share) for pool in plan.pools}
    over = [pool for pool in plan.pools if asked[pool.name] > cap * pool.rows]
    if not over:
        return
    steps = min(int(cap * pool.rows / pool.share) // train.global_batch for pool in plan.pools if pool.share)
    epochs = math.ceil(100 * max(_epochs(asked[pool.name], pool) for pool in over)) / 100
    told = "; ".join(
        f"mix.{pool.name} {float(pool.share):g} asks for {asked[pool.name]:,} rows of {plan.seq_len} tokens and there "
        f"are {pool.rows:,}, so they would be repeated {_epochs(asked[pool.name], pool):.2f} times"
        for pool in over
    )
    raise ValueError(
        f"{_file(pipeline)}: mix.max_epochs: {float(cap):g} is the most any text may be repeated, but over "
        f"train.steps {train.steps:,} x train.global_batch {train.global_batch:,} {told}. What fits: train.steps at "
        f"most {steps:,}, or mix.max_epochs at least {epochs:g}, or more documents."
    )


def round_half_up(number: Fraction) -> int:
    """The nearest integer, halves up: what a pool has been given of a budget (mix.plan)."""
    return int((number + Fraction(1, 2)) // 1)


def _epochs(rows: int, pool: "Pool") -> float:
    return rows / pool.rows if pool.rows else 0.0


def _got(pipeline: config.Pipeline, plan: "Plan") -> dict[str, Any]:
    """What the plan gives over the training budget, by pool and source."""
    rows = pipeline.train.steps * pipeline.train.global_batch
    taken = iter(plan.taken(rows))
    got: dict[str, Any] = {}
    for pool in plan.pools:
        sources: dict[str, dict[str, Any]] = {}
        for source in pool.sources:
            given = next(taken)
            sources[source.name] = {
                "rows": given,
                "tokens": round(source.tokens * given / source.rows) if source.rows else 0,
                "epochs": round(given / source.rows, 6) if source.rows else 0.0,
                "weight": round(source.rows / pool.rows, 6) if pool.rows else 0.0,
            }
        given = sum(one["rows"] for one in sources.values())
        tokens = sum(one["tokens"] for one in sources.values())
        got[pool.name] = {"rows": given, "share": round(given / rows, 6), "tokens": tokens}
        got[pool.name] |= {"epochs": round(_epochs(given, pool), 6), "sources": sources}
    return got


def _write(pipeline: config.Pipeline, plan: "Plan", got: dict[str, Any]) -> None:
    from curate.files import write_json

    train = pipeline.train
    budget = {"steps": train.steps, "global_batch": train.global_batch, "rows": train.steps * train.global_batch}
    asked = {pool.name: float(pool.share) for pool in plan.pools}
    mixture = {"identity": plan.identity, "plan": plan.to_json(), "budget": budget, "asked": asked, "got": got}
    config.save(pipeline, _file(pipeline))
    write_json(pipeline.folder / "mixture.json", mixture)


def _file(pipeline: config.Pipeline) -> Path:
    return pipeline.folder / "pipeline.yaml"


if __name__ == "__main__":
    cli.run(main)
