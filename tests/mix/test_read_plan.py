"""A mixture.json that mix.build did not write gives an error that names it, whoever wrote its identity."""

import copy
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from curate.files import identity, write_json
from mix.plan import LAST, ORDER, Plan, Pool, ShardFile, Source
from mix.plan_file import read_plan
from mix.schedule import Change, Knot, Shares

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def plan() -> Plan:
    """Two pools, a ramp and a change."""

    def source(pool: str, name: str, rows: int) -> Source:
        return Source(name, rows, rows * 64, 3, 0, (ShardFile(f"{pool}/{name}/00000.arrow", rows, "0" * 16),))

    pools = {"domain": [source("domain", "a", 7), source("domain", "b", 3)], "replay": [source("replay", "c", 5)]}
    knots = [
        Knot(step, Shares((part, 1 - part), ((7, 3), (5,)))) for step, part in ((0, Fraction(1, 2)), (9, Fraction(1)))
    ]
    made = (Pool(name, part, tuple(pools[name])) for name, part in zip(pools, knots[0].shares.pools, strict=True))
    return Plan(0, 64, "t", 400, tuple(made), tuple(knots), 8, (Change(40, (Fraction(1, 3), Fraction(2, 3))),))


GOOD = plan().to_json()
VALUES = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-5, 5),
    some.sampled_from([1 << 31, LAST, 1 << 64, -(1 << 63), 10**400, float("nan"), 0.5, 1e300]),
    some.sampled_from(
        ["", "1/0", "1e999999999", "-1", "3/2", "9" * 5000, "..", "../x", "/etc/passwd", "a/b", "\0", "é"]
    ),
    some.lists(some.integers(-1, 3), max_size=3),
    some.dictionaries(some.sampled_from(["step", "domain", "file"]), some.integers(-1, 9), max_size=2),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [at, *(place for key, one in inner for place in places(one, (*at, key)))]


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at one place."""
    if not at:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = new
    return value


def written(path: Path, values: Any) -> Path:
    """A mixture.json whose identity is that of its values where they have one."""
    try:
        found = identity({"order": ORDER, **values})
    except (TypeError, ValueError):
        found = "0" * 16
    path.write_text(json.dumps({"identity": found, "plan": values}))
    return path


def follow(found: Plan) -> None:
    """What the commands do with a plan; none of it may fail or run on."""
    found.rows(0, 40)
    found.rows(LAST - 9, 8)
    found.taken(1000)
    assert found.error_bounds


def test_a_plan_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path / "mixture.json", json.loads(json.dumps(GOOD)))
    assert read_plan(path) == plan()
    follow(read_plan(path))


@FUZZ
@given(some.sampled_from(places(json.loads(json.dumps(GOOD)))), VALUES)
def test_another_value_anywhere_is_refused_or_can_be_followed(tmp_path: Path, at: tuple[Any, ...], new: Any) -> None:
    path = written(tmp_path / "mixture.json", changed(json.loads(json.dumps(GOOD)), at, new))
    try:
        found = read_plan(path)
    except ValueError as error:
        assert type(error) is ValueError and str(path) in str(error)
    else:
        follow(found)


@FUZZ
@given(
    some.binary(max_size=40) | some.builds(lambda at, new: (at, new), some.floats(0, 0.999), some.binary(max_size=4))
)
def test_damage_is_refused(tmp_path: Path, change: Any) -> None:
    path = written(tmp_path / "mixture.json", json.loads(json.dumps(GOOD)))
    content = path.read_bytes()
    if isinstance(change, tuple):
        at = int(change[0] * len(content))
        change = content[:at] + change[1] + content[at + len(change[1]) :] if change[1] else content[:at]
    path.write_bytes(change)
    try:
        assert read_plan(path) == plan()
    except ValueError as error:
        assert type(error) is ValueError and str(path) in str(error)


@pytest.mark.parametrize(
    "file", ["../../secret.arrow", "/etc/passwd", "domain/../../x", "domain/link/00000.arrow", "."]
)
def test_a_shard_out_of_the_run_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "packed" / "domain").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", tmp_path / "run" / "packed" / "domain" / "link")
    values = changed(json.loads(json.dumps(GOOD)), ("pools", "domain", 0, "shards", 0, "file"), file)
    with pytest.raises(ValueError, match=r"mixture\.json: is not a mixture plan .*domain: a: file: .* leads out of"):
        read_plan(written(tmp_path / "run" / "mixture.json", values))


def test_packed_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "domain" / "a").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "run" / "packed")
    assert read_plan(written(tmp_path / "run" / "mixture.json", json.loads(json.dumps(GOOD)))) == plan()


@pytest.mark.parametrize("value", [{}, [], None, 3, {"plan": {}}, {"plan": 3, "identity": 1}])
def test_another_json_is_refused(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "mixture.json", value)
    with pytest.raises(ValueError, match=r"mixture\.json: is not a mixture plan"):
        read_plan(tmp_path / "mixture.json")
