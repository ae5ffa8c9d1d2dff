"""metrics.jsonl and journal.jsonl around a kill."""

from pathlib import Path

import pytest

from train import records


def test_rewinding_drops_what_the_checkpoint_does_not_know(tmp_path: Path) -> None:
    written = records.Records(tmp_path)
    for step in range(5):
        written.metrics(step=step, loss=step / 3)
        written.metrics(step=step, eval={"domain_bits_per_byte": 1.5})
        written.event("resume", step)
    for name in ("metrics.jsonl", "journal.jsonl"):
        with open(tmp_path / name, "a") as file:
            file.write('{"step": 5, "lo')
    written.rewind(2)
    lines = records.read(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 0, 1, 1, 2, 2]
    assert lines[4] == {"step": 2, "loss": 2 / 3}
    written.metrics(step=3, loss=1.0)
    assert records.read(tmp_path / "metrics.jsonl")[-1] == {"step": 3, "loss": 1.0}
    assert [line["step"] for line in records.read(tmp_path / "journal.jsonl")] == [0, 1, 2, 3, 4]


def test_rewinding_before_anything_was_written_does_nothing(tmp_path: Path) -> None:
    records.Records(tmp_path).rewind(3)
    assert list(tmp_path.iterdir()) == []


def test_an_event_after_a_cut_line_is_not_lost_with_it(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"event": "start", "step": 0}\n{"event": "learning_rate", "st')
    written = records.Records(tmp_path)
    written.event("thresholds", 5)
    assert [line["event"] for line in records.read(tmp_path / "journal.jsonl")] == ["start", "thresholds"]


def test_a_damaged_line_among_others_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(
        b'{"event": "start", "step": 0}\n{"ev\xff\n{"event": "finish", "step": 9}\n'
    )
    with pytest.raises(ValueError, match=r"journal\.jsonl: line 2 is damaged"):
        records.read(tmp_path / "journal.jsonl")
