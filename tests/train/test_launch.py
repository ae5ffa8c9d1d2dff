"""Training runs as a user starts them: what they write, after a kill, on two processes, exported."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from curate.files import alone, read_json, write_json
from mix import build
from tests.train import small
from train import records
from train.schedule import Schedule

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
        assert line["lr"] == pytest.approx(3e-3 * Schedule("cosine", STEPS, 4, 0.1).factor(line["step"]))
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
    assert "is finished after 24 steps" in small.train(run, "--train.run", "whole")
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_after_kill_9_the_same_command_ends_as_if_nothing_had_happened(run: Path, finished: tuple[Path, str]) -> None:
    process = small.start(run, "--train.run", "killed")
    path = run / "train" / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (path.exists() and any(line["step"] >= 12 for line in records.read(path))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (run / "train" / "killed" / "export").exists()
    assert "of the checkpoint at step" in small.train(run, "--train.run", "killed")
    assert metrics(path.parent) == metrics(finished[0])
    course = ("start", "resume", "finish")  # a kill during a save has an event of its own
    events = [event for event in records.read(path.parent / "journal.jsonl") if event["event"] in course]
    assert [event["event"] for event in events] == ["start", "resume", "finish"]
    assert events[1]["step"] % 5 == 0 and 0 < events[1]["step"] <= 20
    weights = [(folder / "export" / "model.safetensors").read_bytes() for folder in (path.parent, finished[0])]
    assert weights[0] == weights[1]


def test_two_processes_learn_the_same_as_one(run: Path, finished: tuple[Path, str]) -> None:
    small.train(run, "--train.run", "two", processes=2)
    for one, two in zip(metrics(finished[0]), metrics(run / "train" / "two"), strict=True):
        exact = ("step", "rows", "tokens", "domain_share", "lr")
        assert [one.get(key) for key in exact] == [two.get(key) for key in exact]
        for key in ("loss", "loss_domain", "loss_replay", "grad_norm"):
            assert one.get(key, 0) == pytest.approx(two.get(key, 0), abs=1e-5)
        assert one.get("eval", {}) == pytest.approx(two.get("eval", {}), abs=1e-6)
    one, two = (load_file(folder / "export" / "model.safetensors") for folder in (finished[0], run / "train" / "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-4)


def test_a_run_with_other_settings_is_refused_without_a_traceback(run: Path, finished: tuple[Path, str]) -> None:
    process = small.start(run, "--train.run", "whole", "--peak-lr", "1e-4")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "train.peak_lr was 0.003, is 0.0001" in output and "Traceback" not in output


def test_a_run_that_another_command_trains_is_left_alone(run: Path) -> None:
    with alone(run / "train" / "held"):
        process = small.start(run, "--train.run", "held")
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 2 and "another command is writing to this run" in output
    assert not (run / "train" / "held" / "config.json").exists()


def test_a_run_that_diverges_stops_and_names_the_key(run: Path) -> None:
    process = small.start(run, "--train.run", "diverging", "--peak-lr", "1e30", "--warmup-steps", "0")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert re.search("train.peak_lr: the (loss|gradient norm) is not a finite number at step", output)
    assert "Traceback" not in output


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


def test_evaluations_begin_with_the_base_model_and_end_with_the_export(run: Path, finished: tuple[Path, str]) -> None:
    from eval import held_out, hugging_face

    windows = held_out.load(run, run / "tokenizer", small.SEQ_LEN, 10)
    lines = metrics(finished[0])
    for line, folder in ((lines[0], run.parents[1] / "base"), (lines[-1], finished[0] / "export")):
        figures = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(folder)))
        assert line["eval"] == pytest.approx(figures, abs=1e-5)


def test_new_tokens_start_as_the_mean_of_their_parents(run: Path, tmp_path: Path) -> None:
    extended = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("train", "packed")))
    first, second = extend(extended / "tokenizer")
    build.main([str(extended)])
    small.train(extended, "--steps", "2", "--warmup-steps", "1", "--train.run", "extended")
    folder = extended / "train" / "extended"
    rows = load_file(folder / "initial" / "model.safetensors")["model.embed_tokens.weight"]
    torch.testing.assert_close(rows[small.VOCABULARY], (rows[first] + rows[second]) / 2)
    exported = load_file(folder / "export" / "model.safetensors")["model.embed_tokens.weight"]
    assert len(exported) == len(rows) == read_json(folder / "export" / "config.json")["vocab_size"]
    assert not torch.equal(exported[small.VOCABULARY], rows[small.VOCABULARY])


def extend(tokenizer: Path) -> tuple[int, int]:
    """Add the merge of two frequent neighbours to a tokenizer, as tokenization.extend does; returns the parents."""
    path = tokenizer / "tokenizer.json"
    values = read_json(path)
    encoded = Tokenizer.from_file(str(path)).encode(" renal biopsy")
    left, right = encoded.tokens[:2]
    values["model"]["vocab"][left + right] = small.VOCABULARY
    values["model"]["merges"].append([left, right])
    write_json(path, values)
    new = {"id": small.VOCABULARY, "token": left + right, "parents": encoded.ids[:2], "count": 9}
    base = read_json(tokenizer / "extension.json")
    write_json(tokenizer / "extension.json", base | {"new_tokens": [new]})
    assert Tokenizer.from_file(str(path)).encode(" renal biopsy").ids[0] == small.VOCABULARY
    return encoded.ids[0], encoded.ids[1]


def test_help_does_not_load_torch() -> None:
    code = "import sys; sys.argv = ['launch', '--help']\nfrom train import launch\ntry: launch.main()\n"
    code += "finally: print([name for name in ('torch', 'numba', 'polars', 'transformers') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], cwd=small.REPO, capture_output=True, text=True).stdout
    assert "--peak-lr" in output and output.rstrip().endswith("[]")
