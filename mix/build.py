"""Clean documents -> packed shards and a mixture plan: `python -m mix.build [RUN] [--domain 0.8 --replay 0.2]`.

Reads documents/ and tokenizer/ of a run, writes packed/ and mixture.json. A source that is already packed from the
same documents with the same tokenizer, seq_len and packing is left as it is, so another ratio, other weights or another
schedule cost only a new mixture.json. The same command after a kill gives the same bytes as a run that was left alone.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import cli, config

if TYPE_CHECKING:
    from argparse import Namespace

    from mix.plan import Plan
    from mix.source import Documents, Packed
    from mix.token_files import TokenFiles
    from tokenization.encode import Encoder

POOLS = ("domain", "replay")


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, options = cli.parse("mix.build", __doc__ or "", "mix", argv)
    _check_options(pipeline, options)
    from pipelines.published import publish_finished

    build(pipeline)
    publish_finished(pipeline)


def build(pipeline: config.Pipeline) -> "Plan":
    """Pack what is not packed yet and write the plan; prints what is asked for before and what it got after."""
    from curate.files import alone
    from mix.advice import advise
    from mix.best import split
    from mix.shards import padding_id
    from mix.show import show_asked, show_got
    from mix.source import find_documents, pack_sources, remove_others
    from mix.token_files import find_token_files
    from mix.weights import pool_shares
    from tokenization.encode import Encoder

    mix = pipeline.mix
    shares = pool_shares(_file(pipeline), mix, POOLS)
    sources: list[Documents | TokenFiles] = [*split(find_documents(pipeline.folder / "documents", POOLS), mix.best)]
    encoder = Encoder(pipeline.folder / "tokenizer", mix.encode_check)
    text = {(source.pool, source.source) for source in sources}
    padding = padding_id(encoder.bos, encoder.eos)
    sources = [*sources, *find_token_files(_file(pipeline), mix.token_files, text, encoder, padding)]
    _check_pools(pipeline, shares, sources)
    show_asked(pipeline, shares, sources, encoder)
    with alone(pipeline.folder):
        remove_others(pipeline.folder, sources)
        packed = pack_sources(pipeline.folder, sources, encoder, mix)
        plan, rescaled = _plan(pipeline, packed, encoder)
        got, phases = _got(pipeline, plan), _got_by_phase(pipeline, plan)
        advice = advise(pipeline, plan)
        _write(pipeline, plan, got, phases, rescaled, advice)
    show_got(pipeline, plan, got, phases, packed, rescaled, advice)
    return plan


def _check_options(pipeline: config.Pipeline, options: "Namespace") -> None:
    """Shares on the command line beside a schedule: which of them holds is not clear."""
    given = [f"--{pool}" for pool in POOLS if getattr(options, f"key:mix.{pool}") is not None]
    if given and pipeline.phases:
        raise ValueError(
            f"{' '.join(given)}: {options.target or _file(pipeline)} has phases, each with its shares, so it is not "
            "clear which hold. Change the phases, or leave it out."
        )
    if given and pipeline.mix.schedule:
        raise ValueError(
            f"{' '.join(given)}: {options.target or _file(pipeline)} has a mix.schedule, which says the shares of "
            "every step, so it is not clear which holds. For the same shares at every step add --schedule '[]'; for "
            f"the schedule leave {' and '.join(given)} out."
        )


def _check_pools(
    pipeline: config.Pipeline, shares: list[dict[str, Fraction]], sources: "list[Documents | TokenFiles]"
) -> None:
    for pool in POOLS:
        part = max(parts[pool] for parts in shares)
        if part and not any(source.pool == pool and source.documents for source in sources):
            raise ValueError(
                f"{_file(pipeline)}: mix.{pool}: asks for {float(part):g} of every batch, but "
                f"{pipeline.folder / 'documents' / pool} holds no documents, so the pool is empty. Check the globs "
                f"under `{pool}:` and what curation removed (manifest.json), or set mix.{pool} to 0 and the other "
                "share to 1."
            )


def _plan(pipeline: config.Pipeline, packed: list["Packed"], encoder: "Encoder") -> tuple["Plan", list[str]]:
    """The plan, and a sentence for each source whose weight was lowered to keep it within its cap."""
    from mix import epochs
    from mix.plan import Plan, Pool
    from mix.weights import find_caps, make_knots

    mix, train = pipeline.mix, pipeline.train
    pools = {pool: tuple(one.plan for one in packed if one.pool == pool) for pool in POOLS}
    knots = make_knots(_file(pipeline), mix, pools)
    for index, (pool, sources) in enumerate(pools.items()):
        rows = sum(source.rows for source in sources)
        assert rows < 1 << 31
        if not rows and any(knot.shares.pools[index] for knot in knots):
            raise ValueError(
                f"{_file(pipeline)}: mix.{pool}: the documents of this pool have no tokens at all, so it is "
                f"empty. Look at {pipeline.folder / 'documents' / pool}."
            )
    parts = zip(pools.items(), knots[0].shares.pools, strict=True)
    plan = Plan(
        mix.seed,
        mix.seq_len,
        encoder.identity,
        encoder.vocabulary_size,
        tuple(Pool(name, part, sources) for (name, sources), part in parts),
        knots,
        train.global_batch if len(knots) > 1 else None,
    )
    caps = find_caps(_file(pipeline), mix, pools)
    rescaled: Sequence[str] = []
    if mix.when_capped == "rescale":
        plan, rescaled = epochs.rescale(plan, train.steps * train.global_batch, caps)
    epochs.check(_file(pipeline), mix, plan, train.steps, train.global_batch, caps)
    return plan, list(rescaled)


def _got(pipeline: config.Pipeline, plan: "Plan", first: int = 0, steps: int | None = None) -> dict[str, Any]:
    """What the plan gives over steps from `first` (from 0 on), all by default, by pool and source."""
    batch = pipeline.train.global_batch
    rows = (pipeline.train.steps if steps is None else steps) * batch
    ends = (first * batch, first * batch + rows)
    taken, asked = (
        iter([after - before for before, after in zip(*map(count, ends), strict=True)])
        for count in (plan.taken, plan.asked)
    )
    got: dict[str, Any] = {}
    for pool in plan.pools:
        wanted = [next(asked) for _ in pool.sources]
        whole = float(sum(wanted)) or 1.0
        sources: dict[str, dict[str, Any]] = {}
        for source, part in zip(pool.sources, wanted, strict=True):
            given = next(taken)
            sources[source.name] = {
                "rows": given,
                "tokens": round(source.tokens * given / source.rows) if source.rows else 0,
                "epochs": round(given / source.rows, 6) if source.rows else 0.0,
                "weight": round(float(part) / whole, 6),
            }
        given = sum(one["rows"] for one in sources.values())
        tokens = sum(one["tokens"] for one in sources.values())
        got[pool.name] = {"rows": given, "share": round(given / rows, 6), "tokens": tokens}
        got[pool.name] |= {"epochs": round(given / pool.rows, 6) if pool.rows else 0.0, "sources": sources}
    return got


def _got_by_phase(pipeline: config.Pipeline, plan: "Plan") -> list[dict[str, Any]]:
    """Each of `phases:` with its first step (from 1 on), the pools' shares as asked for, and what the plan gives it."""
    found: list[dict[str, Any]] = []
    begin = 0
    for phase in pipeline.phases:
        asked = next(knot for knot in pipeline.mix.schedule if knot.step == begin)
        shares = {pool: getattr(asked, pool) for pool in POOLS}
        got = _got(pipeline, plan, begin, phase.steps)
        found.append({"name": phase.name, "first_step": begin + 1, "steps": phase.steps, "asked": shares, "got": got})
        begin += phase.steps
    return found


def _write(
    pipeline: config.Pipeline,
    plan: "Plan",
    got: dict[str, Any],
    phases: list[dict[str, Any]],
    rescaled: list[str],
    advice: list[str],
) -> None:
    """mixture.json: identity, plan, budget, asked (mean share of each pool), got, phases (name, first step, steps, what
    was asked and got), rescaled and advice (sentences)."""
    from curate.files import write_json

    train = pipeline.train
    rows = train.steps * train.global_batch
    budget = {"steps": train.steps, "global_batch": train.global_batch, "rows": rows}
    asked = dict.fromkeys((pool.name for pool in plan.pools), 0.0)
    for (pool, _), wanted in zip(plan.sources, plan.asked(rows), strict=True):
        asked[pool.name] += float(wanted / rows)
    asked = {pool: round(part, 9) for pool, part in asked.items()}
    mixture: dict[str, Any] = {
        "identity": plan.identity,
        "plan": plan.to_json(),
        "budget": budget,
        "asked": asked,
        "got": got,
    }
    mixture |= {"phases": phases, "rescaled": rescaled, "advice": advice}
    config.save(pipeline, _file(pipeline))
    write_json(pipeline.folder / "mixture.json", mixture)


def _file(pipeline: config.Pipeline) -> Path:
    return pipeline.folder / "pipeline.yaml"


if __name__ == "__main__":
    cli.run(main)
