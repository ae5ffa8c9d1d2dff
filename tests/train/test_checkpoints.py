"""Which checkpoints stay and where the others go; a damaged one is noticed and the one before it used."""

import json
import shutil
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from curate.files import read_json, write_json
from tests.train import kills, small
from train import checksums, records, settings
from train.checkpoint_policy import Archive, Keep, Keeper
from train.checksums import COMPLETE

FIGURES = some.dictionaries(some.sampled_from(["a", "b"]), some.floats(0, 9), max_size=2)


@given(some.dictionaries(some.integers(1, 60), FIGURES, max_size=12), some.integers(2, 4), some.sampled_from([0, 5, 7]))
def test_the_last_milestones_and_the_best_stay(figures: dict[int, dict[str, float]], last: int, every: int) -> None:
    best = {"a": 0.5, "b": 2.0}
    stay = Keep(last, every, best).stay(figures)
    scores = {step: 0.5 * of["a"] + 2.0 * of["b"] for step, of in figures.items() if len(of) == 2}
    lowest = [step for step in scores if scores[step] == min(scores.values())]
    wanted = set(sorted(figures)[-last:]) | {step for step in figures if every and step % every == 0}
    assert stay == wanted | set(lowest and [min(lowest)])
    assert Keep(last, every).stay(figures) == wanted


def make(folder: Path, content: bytes = b"weights", figures: dict[str, float] | None = None) -> Path:
    """A complete checkpoint of two files."""
    folder.mkdir(parents=True)
    (folder / "__0_0.distcp").write_bytes(content)
    (folder / ".metadata").write_bytes(b"where each tensor is")
    checksums.complete(folder, figures or {}, checksums.measure_files(folder, 0))
    return folder


def test_any_change_to_any_file_is_noticed(tmp_path: Path) -> None:
    folder = make(tmp_path / "step-3", bytes(range(256)), {"bits": 1.25})
    assert checksums.damage(folder) == []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
            assert checksums.damage(folder) or same_json(path, content), f"{path.name}, byte {at}"
        for other in (content[:-2], b"", content + b"0"):
            path.write_bytes(other)
            assert checksums.damage(folder)
        path.unlink()
        assert checksums.damage(folder)
        path.write_bytes(content)
    assert checksums.damage(folder) == []


def same_json(path: Path, content: bytes) -> bool:
    """Whether only white space of the completion file is another."""
    return path.name == COMPLETE and json.loads(path.read_bytes()) == json.loads(content)


def test_only_complete_checkpoints_are_listed_newest_first(tmp_path: Path) -> None:
    for step in (5, 40, 100):
        make(tmp_path / f"step-{step}")
    (tmp_path / "step-40" / COMPLETE).unlink()
    make(tmp_path / "step-200.tmp")
    assert checksums.steps(tmp_path) == [100, 5]
    assert checksums.steps(tmp_path / "nowhere") == []


@pytest.mark.parametrize("url", ["{}/archive", "memory://archive{}"])
def test_what_is_archived_is_whole_there_before_it_goes_here(tmp_path: Path, url: str) -> None:
    import fsspec

    url = url.format(tmp_path)
    files, root = fsspec.url_to_fs(url)
    folder = make(tmp_path / "step-5")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    left = f"{root}/.step-5.tmp" if url.startswith("/") else f"{root}/step-5"
    files.makedirs(left)
    files.pipe_file(f"{left}/__0_0.distcp", b"wei")  # what a kill in the middle of a move left
    place = Archive(url).move(folder)
    assert not folder.exists() and place == f"{root}/step-5"
    assert {path.rpartition("/")[2]: files.cat_file(path) for path in files.find(place)} == content
    make(folder)  # as if the kill had come before the original was removed
    assert Archive(url).move(folder) == place and not folder.exists()
    other = Archive(url).move(make(folder, b"of a run begun again"))
    assert other.startswith(f"{place}-") and files.cat_file(f"{place}/__0_0.distcp") == b"weights"
    assert sorted(path.rpartition("/")[2] for path in files.ls(root, detail=False)) == sorted(
        [place.rpartition("/")[2], other.rpartition("/")[2]]
    )


def test_what_cannot_be_archived_stays_and_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2, 3, 4):
        make(tmp_path / "checkpoints" / f"step-{step}")
    (tmp_path / "archive").write_text("a file where the folder should be")
    keeper = Keeper(tmp_path / "checkpoints", Keep(2), str(tmp_path / "archive"), records.Records(tmp_path))
    for _ in range(2):
        keeper.tidy()
        keeper.wait()
    assert checksums.steps(tmp_path / "checkpoints") == [4, 3, 2, 1]
    events = records.read(tmp_path / "journal.jsonl")
    assert [(event["event"], event["step"]) for event in events] == [("archive_failed", 1), ("archive_failed", 2)]
    assert "step-1 could not be archived" in capsys.readouterr().err
    (tmp_path / "archive").unlink()
    keeper.tidy()
    keeper.close()
    assert checksums.steps(tmp_path / "checkpoints") == [4, 3]
    assert checksums.steps(tmp_path / "archive") == [2, 1]


def test_damage_is_not_archived(tmp_path: Path) -> None:
    folder = make(tmp_path / "step-5")
    (folder / "__0_0.distcp").write_bytes(b"wEights")
    with pytest.raises(OSError, match="does not have the bytes that the run wrote"):
        Archive(str(tmp_path / "archive")).move(folder)
    assert folder.is_dir() and checksums.steps(tmp_path / "archive") == []


@pytest.mark.parametrize(
    "train, evaluation, message",
    [
        ({"keep_best": {"general_bits_per_byte": 1.0}}, {"held_out": 0}, "is not measured, since eval.held_out is 0"),
        ({"keep_best": {"general_bits_per_byte": 1.0}}, {"every": 7}, "nothing to choose from"),
        ({"archive": "nowhere://bucket"}, {}, "'nowhere://bucket' cannot be written to"),
    ],
)
def test_keys_that_could_do_nothing_are_refused(
    run: Path, train: dict[str, Any], evaluation: dict[str, Any], message: str
) -> None:
    pipeline = small.pipeline(run, run.parents[1] / "base", **train)
    pipeline = pipeline.model_copy(update={"eval": pipeline.eval.model_copy(update=evaluation)})
    with pytest.raises(ValueError, match=message):
        settings.resolve(pipeline)


def start(run: Path, *more: str, world: int = 1) -> list[BaseProcess]:
    best = "--train.keep_best={general_bits_per_byte: 1, domain_bits_per_byte: -1}"
    keys = ("--train.checkpoint_every=4", "--train.keep_every=12", best, f"--train.archive={run / 'kept'}")
    return kills.start(run, "kept", *keys, *more, world=world)


@pytest.fixture(scope="module")
def kept(run: Path) -> Path:
    """The folder of a training run with a milestone, a best checkpoint and an archive, on two processes."""
    kills.finish(start(run, world=2))
    return run / "train" / "kept"


def test_a_run_keeps_what_the_keys_say(run: Path, kept: Path) -> None:
    figures = {line["step"]: line["eval"] for line in kills.lines(kept) if "eval" in line}
    apart = {step: of["general_bits_per_byte"] - of["domain_bits_per_byte"] for step, of in figures.items() if step}
    assert min(apart, key=lambda step: apart[step]) == 8
    assert checksums.steps(kept / "checkpoints") == [24, 20, 12, 8]
    archived = run / "kept" / "small" / "kept"
    assert checksums.steps(archived) == [16, 4]
    for folder in [*(kept / "checkpoints").iterdir(), *archived.iterdir()]:
        assert checksums.damage(folder) == []
        assert {checksums.writer(path.name) for path in folder.iterdir()} == {0, 1}
        assert checksums.read(folder)["eval"] == figures.get(checksums.step_of(folder), {})
    printed = " ".join((run / "train" / "kept.log").read_text().replace("│", "").split())
    assert "that of the lowest 1 x general_bits_per_byte + -1 x domain_bits_per_byte" in printed
    assert "training waits while one is written" in printed


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(run: Path, kept: Path) -> None:
    before, checkpoints = kills.lines(kept), kept / "checkpoints"
    shutil.rmtree(kept / "export")
    weights = checkpoints / "step-24" / "__1_0.distcp"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    (checkpoints / "step-20" / ".metadata").write_bytes(b"")
    begun = checkpoints / "step-28"  # as a kill during its save leaves it
    begun.mkdir()
    (begun / "__0_0.distcp").write_bytes(b"half")
    kills.finish(start(run, world=2))
    assert kills.lines(kept) == before
    assert checksums.steps(checkpoints) == [24, 20, 12, 8] and not begun.exists()
    assert (checkpoints / "damaged-24" / "__1_0.distcp").read_bytes() == content
    events = records.read(kept / "journal.jsonl")
    assert [(one["event"], one["step"], one.get("used")) for one in events] == [
        ("start", 0, None),
        ("finish", 24, None),
        ("checkpoint_damaged", 24, 12),
        ("checkpoint_damaged", 20, 12),
        ("checkpoint_unfinished", 28, 12),
        ("resume", 12, None),
        ("finish", 24, None),
    ]
    assert events[2]["found"] == ["__1_0.distcp: has other bytes than were written"]
    printed = (run / "train" / "kept.log").read_text()
    assert "step-24: is damaged (__1_0.distcp: has other bytes than were written). Step 12 is used instead." in printed
    assert "step-28: was not finished when the run was ended, so step 12 is used instead." in printed


def test_a_run_whose_checkpoints_are_all_damaged_is_not_gone_on_with(run: Path, kept: Path) -> None:
    copy = Path(shutil.copytree(kept, run / "train" / "all_damaged"))
    shutil.rmtree(copy / "export")
    for path in (copy / "checkpoints").glob("step-*/__0_0.distcp"):
        path.write_bytes(b"")
    listed = sorted(path.name for path in (copy / "checkpoints").iterdir())
    kills.finish(start(run, "--train.run=all_damaged"), code=2)
    printed = (run / "train" / "kept.log").read_text()
    assert "every checkpoint that could be used is damaged (step-24: __0_0.distcp: has 0 bytes" in printed
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == listed


def test_a_figure_that_is_not_measured_is_refused_at_the_first_evaluation(run: Path) -> None:
    keys = ("--train.keep_best={domain_bits: 1}", "--train.checkpoint_every=4")
    kills.finish(kills.start(run, "no_figure", *keys), code=2)
    printed = (run / "train" / "no_figure.log").read_text()
    assert "train.keep_best: domain_bits is not measured" in printed and "domain_bits_per_byte" in printed


def test_saved_in_the_background_it_is_the_same_and_a_run_can_go_back(run: Path) -> None:
    kills.finish(kills.start_with(back_and_forth, run, "back", "--train.checkpoint_every=3"))
    seen = read_json(run / "train" / "back" / "seen.json")
    assert seen["saved"] == [24, 21]
    assert seen["newest at or before 23"] == 21 and seen["newest at or before 2"] == -1
    assert seen["gone back to"] == {"step": 21, "rows": 21 * 8, "listed": [21]}
    assert seen["weights moved"] and seen["weights as saved"]


def back_and_forth(arguments: list[str]) -> None:
    """Train with saves in the background, then go back to a checkpoint before the last."""
    import torch
    import torch.distributed.checkpoint as dcp

    from pipelines import cli
    from train import platform
    from train.configure import configure, meet

    pipeline, _ = cli.parse("train.launch", "", "train", arguments)
    found = settings.resolve(pipeline)
    settings.remember(found)
    platform.prepare_process()
    meet()
    config = configure(found)
    config.checkpoint.async_mode = "async"
    trainer = config.build()
    trainer.train()
    checkpoints: Any = trainer.checkpointer
    folder = found.folder / settings.CHECKPOINTS
    seen: dict[str, Any] = {"newest at or before 2": checkpoints.newest(2)}
    step = seen["newest at or before 23"] = checkpoints.newest(23)
    seen["saved"] = checksums.steps(folder)
    (part,) = trainer.model_parts
    last = {name: value.detach().clone() for name, value in part.state_dict().items()}
    checkpoints.load(step)
    checkpoints.discard_after(step)
    listed = checksums.steps(folder)
    seen["gone back to"] = {"step": trainer.step, "rows": trainer.dataloader.rows, "listed": listed}
    there = part.state_dict()
    stored = {name: torch.empty_like(value) for name, value in last.items()}
    dcp.load(stored, checkpoint_id=str(folder / f"step-{step}"))
    seen["weights moved"] = not all(torch.equal(there[name], value) for name, value in last.items())
    seen["weights as saved"] = all(torch.equal(there[name], value) for name, value in stored.items())
    write_json(found.folder / "seen.json", seen)
    trainer.close()
