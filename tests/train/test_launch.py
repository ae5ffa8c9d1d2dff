"""Training runs as a user starts them: what they write, after a kill, on two processes, exported."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.files import read_json
from tests.train import small
from train import records
from train.schedule import factor

STEPS = 24


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the fields that time decides."""
    lines = records.read(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in records.TIMING} for line in lines]


def test_every_step_is_written_down(finished: tuple[Path, str]) -> None:
    folder, output = finished
    lines = metrics(folder)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [line["step"] for line in lines if "eval" in line] == [0, 8, 16, 24]
    for line in steps:
        assert line["rows"] == 8 * line["step"] and line["tokens"] == line["rows"] * small.SEQ_LEN
        assert abs(8 * line["domain_share"] - 8 * 0.8) <= 1
        assert line["lr"] == pytest.approx(3e-3 * factor(line["step"], STEPS, 4, 0.1))
    assert abs(sum(8 * line["domain_share"] for line in steps) - 0.8 * 8 * STEPS) <= 1
    assert steps[-1]["lr"] == pytest.approx(3e-4)
    assert [line["event"] for line in records.read(folder / "journal.jsonl")] == ["start", "finish"]
    assert "fresh optimizer state" in output and "exported to" in output


def test_it_learns(finished: tuple[Path, str]) -> None:
    figures = [line["eval"] for line in metrics(finished[0]) if "eval" in line]
    assert figures[-1]["domain_bits_per_byte"] < 0.8 * figures[0]["domain_bits_per_byte"]
    losses = [line["loss"] for line in metrics(finished[0]) if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]


def test_only_the_newest_checkpoints_stay(finished: tuple[Path, str]) -> None:
    assert {path.name for path in (finished[0] / "checkpoints").iterdir()} == {"step-20", "step-24"}


def test_a_finished_run_says_so_and_changes_nothing(run: Path, finished: tuple[Path, str]) -> None:
    folder, _ = finished
    before = (folder / "metrics.jsonl").read_bytes()
    assert "is finished after 24 steps" in small.train(run, "--run", "whole")
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_after_kill_9_the_same_command_ends_as_if_nothing_had_happened(
    run: Path, finished: tuple[Path, str]
) -> None:
    process = small.start(run, "--run", "killed")
    path = run / "train" / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (path.exists() and any(line["step"] >= 12 for line in records.read(path))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (run / "train" / "killed" / "export").exists()
    assert "of the checkpoint at step" in small.train(run, "--run", "killed")
    assert metrics(path.parent) == metrics(finished[0])
    events = records.read(path.parent / "journal.jsonl")
    assert [event["event"] for event in events] == ["start", "resume", "finish"]
    assert events[1]["step"] % 5 == 0 and 0 < events[1]["step"] <= 20
    weights = [(folder / "export" / "model-00001-of-00001.safetensors").read_bytes() for folder in (path.parent, finished[0])]
    assert weights[0] == weights[1]


def test_two_processes_learn_the_same_as_one(run: Path, finished: tuple[Path, str]) -> None:
    small.train(run, "--run", "two", processes=2)
    for one, two in zip(metrics(finished[0]), metrics(run / "train" / "two"), strict=True):
        exact = ("step", "rows", "tokens", "domain_share", "lr")
        assert [one.get(key) for key in exact] == [two.get(key) for key in exact]
        for key in ("loss", "loss_domain", "loss_replay"):
            assert one.get(key) == pytest.approx(two.get(key), abs=1e-5)
        assert one.get("grad_norm") == pytest.approx(two.get("grad_norm"), rel=1e-4)
        assert one.get("eval", {}) == pytest.approx(two.get("eval", {}), abs=1e-6)


def test_a_run_with_other_settings_is_refused_without_a_traceback(run: Path, finished: tuple[Path, str]) -> None:
    process = small.start(run, "--run", "whole", "--peak-lr", "1e-4")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "train.peak_lr was 0.003, is 0.0001" in output and "Traceback" not in output


def test_the_export_loads_in_transformers_with_the_trainers_logits(run: Path, finished: tuple[Path, str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from train import architecture, model

    export = finished[0] / "export"
    reference = AutoModelForCausalLM.from_pretrained(export)
    tokenizer = AutoTokenizer.from_pretrained(export)
    assert reference.dtype == torch.float32
    assert (reference.config.bos_token_id, reference.generation_config.eos_token_id) == (0, 1)
    tokens = torch.tensor([tokenizer("patient fever renal acute chart").input_ids])
    specification = model.specification(architecture.read(export))
    ours = specification.model.build()
    ours.init_states()
    load_checkpoint(ours, finished[0] / "checkpoints" / "step-24")
    positions = torch.arange(tokens.shape[1])[None]
    with torch.no_grad():
        logits = ours(tokens, positions=positions, attention_masks=ours.get_attention_masks(positions=positions))
        torch.testing.assert_close(reference(tokens).logits, logits, rtol=0, atol=1e-4)


def load_checkpoint(model: torch.nn.Module, folder: Path) -> None:
    import torch.distributed.checkpoint as dcp

    state = model.state_dict()
    dcp.load(state, checkpoint_id=str(folder))
    model.load_state_dict(state)


def test_bits_per_byte_during_training_are_those_of_the_exported_model(run: Path, finished: tuple[Path, str]) -> None:
    from eval import held_out, hugging_face

    windows = held_out.load(run, run / "tokenizer", small.SEQ_LEN, 10)
    figures = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(finished[0] / "export")))
    assert metrics(finished[0])[-1]["eval"] == pytest.approx(figures, abs=1e-5)


def test_new_tokens_start_as_the_mean_of_their_parents(run: Path, tmp_path: Path) -> None:
    pytest.skip("written once tokenization.embed and mix.build can be driven together")


def test_help_does_not_load_torch() -> None:
    process = small.start(Path("--help"))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "--peak-lr" in output
    assert json.dumps(read_json.__name__)
