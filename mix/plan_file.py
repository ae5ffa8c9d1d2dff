"""Reads the mixture plan from mixture.json, and refuses one that mix.build did not write."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from curate.files import read_json
from mix.plan import Plan, Pool, ShardFile, Source, share
from mix.plan_check import check
from mix.schedule import Change, Knot, Shares


def read_plan(path: str | Path) -> Plan:
    """Read mixture.json. Raises ValueError where it is missing, damaged or not as mix.build wrote it."""
    values = read_json(path)
    try:
        plan, wanted = _from_json(values["plan"]), values["identity"]
        found = plan.identity
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _no_plan(path, f"{type(error).__name__}: {error}") from None
    if found != wanted:
        raise ValueError(
            f"{path}: identity: says {wanted}, but what stands there gives {found}, so the file was changed "
            "after mix.build wrote it, or by another version. Run mix.build again, with --domain and --replay for "
            "another ratio."
        )
    try:
        check(plan, Path(path).parent / "packed")
        plan.taken(0)
    except (ValueError, ArithmeticError) as error:
        raise _no_plan(path, str(error)) from None
    return plan


def _no_plan(path: str | Path, problem: str) -> ValueError:
    return ValueError(
        f"{path}: is not a mixture plan ({problem}), so the order of rows is not known. Run mix.build again."
    )


def _from_json(values: dict[str, Any]) -> Plan:
    names = list(values["pools"])
    knots = []
    for knot in values["schedule"]:
        weights = tuple(tuple(knot["weights"][name]) for name in names)
        knots.append(Knot(knot["step"], Shares(_shares(knot["shares"], names), weights)))
    pools = []
    for name, part in zip(names, knots[0].shares.pools, strict=True):
        sources = [
            {**one, "shards": tuple(ShardFile(**shard) for shard in one["shards"])} for one in values["pools"][name]
        ]
        pools.append(Pool(name, part, tuple(Source(**source) for source in sources)))
    changes = tuple(Change(one["first_row"], _shares(one["shares"], names)) for one in values["changes"])
    head = (values["seed"], values["seq_len"], values["tokenizer"], values["vocabulary_size"])
    return Plan(*head, tuple(pools), tuple(knots), values["global_batch"], changes)


def _shares(shares: dict[str, str], names: list[str]) -> tuple[Fraction, ...]:
    return tuple(share(shares[name]) for name in names)
