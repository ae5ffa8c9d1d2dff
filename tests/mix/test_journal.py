"""A journal that was changed gives an error that names file and line, and no line of it is left out silently."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from mix import journal
from train.records import Records

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = [
    {"event": "start", "step": 0},
    {"event": "ratio", "step": 3, "first_row": 24, "shares": {"domain": "7/10", "replay": "3/10"}},
    {"event": "roll_back", "step": 9, "to": 5, "first_row": 72},
    {"event": "learning_rate", "step": 6, "multiplier": 0.5},
]
CONTENT = "".join(json.dumps(line) + "\n" for line in LINES).encode()


@FUZZ
@given(some.integers(0, len(CONTENT) - 1), some.binary(max_size=8))
def test_damage_anywhere_is_named_or_changes_a_value(tmp_path: Path, at: int, other: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(CONTENT[:at] + other + CONTENT[at + len(other) :] if other else CONTENT[:at])
    try:
        found = journal.read_lines(path)
    except ValueError as error:
        assert "journal.jsonl: line " in str(error)
    else:
        whole = path.read_bytes().count(b"\n")
        assert len(found) == whole
        journal.rows(journal.standing(found), 8)


VALUES = some.recursive(some.none() | some.integers() | some.text(max_size=4) | some.floats(), some.lists, max_leaves=4)
EVENTS = some.dictionaries(some.sampled_from(["event", "step", "to", "first_row", "shares", "multiplier"]), VALUES)
NAMED = some.builds(
    lambda line, name: {**line, "event": name}, EVENTS, some.sampled_from(["roll_back", "ratio", "start"])
)


@FUZZ
@given(some.lists(VALUES | EVENTS | NAMED, max_size=4))
def test_lines_of_another_kind_are_refused_or_can_be_followed(tmp_path: Path, lines: list[Any]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        found = journal.read_lines(path)
    except ValueError as error:
        assert "journal.jsonl: line " in str(error)
    else:
        journal.rows(journal.standing(found), 8)


@pytest.mark.parametrize("line", ["[" * 100_000, "null", '{"step": -1}', '{"step": 1, "event": 3}', "\0\0", "\xff"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(CONTENT + line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=r"journal\.jsonl: line 5 is damaged"):
        journal.read_lines(path)


def test_an_event_after_a_cut_line_stands_alone(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.event("start", 0)
    with open(records.journal, "a") as file:
        file.write('{"event": "resu')
    records.event("checkpoint_damaged", 5)
    assert [line["event"] for line in journal.read_lines(records.journal)] == ["start", "checkpoint_damaged"]
