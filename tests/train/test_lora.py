"""LoRA and DoRA: what learns and what stands still, on any number of processes, killed and gone on."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from pydantic import ValidationError
from safetensors.torch import load_file

from mix import build as mix
from tests.train import small
from tests.train.test_export import SHAPES, TOKENS, build, loaded, logits_of, saved
from tests.train.test_launch import extend, metrics
from train import export, launch, lora, records, settings
from train.adapters import base_only
from train.config import TrainConfig
from train.keys.lora import LoraKeys

pytestmark = [  # torch saves without processes here, and a run inside pytest has no real standard error
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
    pytest.mark.filterwarnings("ignore:Unable to enable fault handler"),
]
KEYS = ("--steps", "12", "--local-batch", "2", "--lora-rank", "4", "--dora", "true", "--peak-lr", "0.01")
"""Four passes with gradients accumulated to a step on one process, two on two."""


@pytest.fixture(scope="module")
def extended(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder with one token more."""
    folder = tmp_path_factory.mktemp("lora") / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("train", "packed"))
    extend(folder / "tokenizer")
    mix.main([str(folder)])
    return folder


@pytest.fixture(scope="module")
def whole(extended: Path) -> Path:
    """A DoRA run that was exported at its step 5 while it went on; `midway` and `midway-adapter` are those folders."""
    process = small.start(extended, "--train.run", "whole", *KEYS)
    folder = extended / "train" / "whole"
    deadline = time.monotonic() + 200
    while not (folder / "checkpoints" / "step-5" / "complete.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)  # so that it is not over before the export
    for name, flags in (("midway", []), ("midway-adapter", ["--adapter"])):
        export.main([str(extended), "--train.run", "whole", "--step", "5", "--to", str(folder / name), *flags])
    assert process.poll() is None and not (folder / "export").exists()
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return folder


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The model's part of a checkpoint."""
    sizes: dict[str, Any] = dict(dcp.FileSystemReader(checkpoint).read_metadata().state_dict_metadata)
    parts = ("tok_embeddings.", "layers.", "norm.", "lm_head.")
    state = {name: torch.empty(about.size) for name, about in sizes.items() if name.startswith(parts)}
    dcp.load(state, checkpoint_id=checkpoint, no_dist=True)
    return state


@pytest.mark.parametrize("keys", [{"lora_rank": 3}, {"lora_rank": 3, "dora": True}], ids=["lora", "dora"])
@pytest.mark.parametrize(("kind", "tied"), SHAPES)
def test_a_run_starts_as_the_base(run: Path, tmp_path: Path, kind: str, tied: bool, keys: dict[str, Any]) -> None:
    found, _ = saved(run, tmp_path, kind, tied, **keys)
    with torch.no_grad():
        expected = loaded(tmp_path / "initial")(TOKENS).logits
    torch.testing.assert_close(logits_of(build(found)), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("modules", [["q_proj", "v_proj"], ["k_proj"], ["o_proj", "gate_proj", "up_proj", "down_proj"]])
@pytest.mark.parametrize("tied", [True, False])
def test_only_the_named_projections_and_new_rows_learn(
    run: Path, tmp_path: Path, tied: bool, modules: list[Any]
) -> None:
    found, _ = saved(run, tmp_path, "qwen3", tied, lora_rank=3, lora_modules=modules, dora=True)
    model = build(found)
    logits_of_new_token(model).backward()
    learning = {name: one for name, one in model.named_parameters() if one.requires_grad}
    assert learning.keys() == {name for name, one in model.named_parameters() if one.grad is not None}
    ours = {"q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo"}
    ours |= {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    adapted = {name.split(".")[-3] for name in learning if "lora_a" in name}
    assert adapted == {ours[module] for module in modules}
    numbers = sum(one.numel() for one in learning.values())
    assert numbers == lora.trained_parameters(found.architecture, found.pipeline.train, 1)
    rows = [name for name in learning if name.endswith("new_rows")]
    assert rows == (["tok_embeddings.new_rows"] if tied else ["tok_embeddings.new_rows", "lm_head.new_rows"])


def logits_of_new_token(model: Any) -> torch.Tensor:
    positions = torch.arange(TOKENS.shape[1]).expand(len(TOKENS), -1)
    masks = model.get_attention_masks(positions=positions)
    logits = model(TOKENS.where(TOKENS != 3, small.VOCABULARY), positions=positions, attention_masks=masks)
    return logits[..., small.VOCABULARY].square().sum()


def test_gradients_of_dora_are_those_of_its_formula() -> None:
    """m (W + s B A) x / |W + s B A| by rows, the length a constant."""
    from torchtitan.models.common import Linear

    config = Linear.Config(in_features=6, out_features=4, param_init={"weight": torch.nn.init.zeros_})
    converter = lora.Adapters.Config(rank=2, alpha=3.0, target_modules=[], dora=True).build()
    layer = converter._make_lora_config(config).build()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(5, 6, generator=generator)
    layer(x).square().sum().backward()
    a, b, m = (
        one.detach().double().requires_grad_() for one in (layer.lora_a.weight, layer.lora_b.weight, layer.magnitude)
    )
    whole = layer.weight.detach().double() + 1.5 * b @ a
    rows = m[:, None] * whole / whole.detach().norm(dim=1, keepdim=True)
    (x.double() @ rows.T).square().sum().backward()
    for one, other in ((layer.lora_a.weight, a), (layer.lora_b.weight, b), (layer.magnitude, m)):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad.float(), rtol=1e-4, atol=1e-4)
    assert layer.weight.grad is None


def test_base_weights_are_bit_equal_after_a_run_and_the_rest_is_not(extended: Path, whole: Path) -> None:
    initial = load_file(whole / "initial" / "model.safetensors")
    state = weights(whole / "checkpoints" / "step-12")
    found = export.trained(extended_pipeline(extended))
    plain = export._checkpoint_adapter(found).to_hf(base_only(state))
    assert plain.keys() == initial.keys()
    for name, weight in plain.items():
        assert torch.equal(weight, initial[name].float()), name
    earlier = weights(whole / "checkpoints" / "step-10")
    learning = [name for name in state if name not in base_only(state)]
    assert len(learning) == 2 * 7 * 3 + 2
    assert not any(torch.equal(state[name], earlier[name]) for name in learning)
    assert torch.equal(state["tok_embeddings.new_rows"], state["lm_head.new_rows"]), "tied"
    exported = load_file(whole / "export" / "model.safetensors")["model.embed_tokens.weight"]
    rows = initial["model.embed_tokens.weight"].float()
    changed = [number for number in range(len(rows)) if not torch.equal(rows[number], exported[number])]
    assert changed == [small.VOCABULARY]


def extended_pipeline(folder: Path) -> Any:
    from pipelines import cli

    return cli.parse("tests", "", "train", [str(folder), "--train.run", "whole"])[0]


def test_it_learns(whole: Path) -> None:
    figures = [line["eval"]["domain_bits_per_byte"] for line in metrics(whole) if "eval" in line]
    assert figures[-1] < 0.95 * figures[0]


def test_exports_during_and_after_a_run_give_the_trainers_figures(extended: Path, whole: Path) -> None:
    from eval import held_out, hugging_face

    windows = held_out.load(extended, extended / "tokenizer", small.SEQ_LEN, 10)
    lines = metrics(whole)
    figures = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(whole / "export")))
    assert lines[-1]["eval"] == pytest.approx(figures, abs=1e-5)
    midway = held_out.bits_per_byte(windows, hugging_face.nll(hugging_face.load(whole / "midway")))
    first, last = (line["eval"]["domain_bits_per_byte"] for line in (lines[0], lines[-1]))
    assert last < midway["domain_bits_per_byte"] < first
    state = weights_of_adapter(whole / "midway-adapter")
    assert len(state) == 2 * 7 * 3 + 1


def weights_of_adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    extended: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {"OMP_NUM_THREADS": "1"})  # a process sets its rank there
    killed = extended / "train" / "killed"
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("export", "midway*", "step-12"))
    launch.main([str(extended), "--train.run", "killed", *KEYS])
    assert "of the checkpoint at step 10" in capsys.readouterr().out
    assert metrics(killed) == metrics(whole)
    assert [event["event"] for event in records.read(killed / "journal.jsonl")][-2:] == ["resume", "finish"]
    files = [folder / "export" / "model.safetensors" for folder in (killed, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_two_processes_learn_the_same_as_one(extended: Path, whole: Path) -> None:
    small.train(extended, "--train.run", "two", *KEYS, processes=2)
    two = extended / "train" / "two"
    for line, other in zip(metrics(whole), metrics(two), strict=True):
        assert [line.get(key) for key in ("step", "rows", "lr")] == [other.get(key) for key in ("step", "rows", "lr")]
        for key in ("loss", "grad_norm"):
            assert line.get(key, 0) == pytest.approx(other.get(key, 0), abs=1e-5)
    one, other = (weights(folder / "checkpoints" / "step-12") for folder in (whole, two))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-4)
        if name in base_only(one):
            assert torch.equal(one[name], other[name])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dora": True}, "dora: works on the adapters of LoRA, but lora_rank is 0"),
        ({"lora_rank": 4, "lora_modules": []}, "lora_modules: is empty"),
        ({"lora_rank": 4, "lora_modules": ["wq"]}, "lora_modules"),
        ({"lora_rank": -1}, "lora_rank"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainConfig.model_validate(keys)


@pytest.mark.parametrize(("dora", "message"), [(True, "train.dora: scales rows"), (False, "train.lora_rank: trains")])
def test_what_tensor_parallelism_would_split_is_refused(extended: Path, dora: bool, message: str) -> None:
    pipeline = extended_pipeline(extended)
    values = pipeline.train.model_dump() | {"lora_rank": 4, "dora": dora, "tensor_parallel": 2}
    with pytest.raises(ValueError, match=message):
        settings.resolve(pipeline.model_copy(update={"train": TrainConfig.model_validate(values)}))


def test_random_weights_cannot_have_adapters(run: Path) -> None:
    values = {"init": "scratch", "lora_rank": 4}
    pipeline = extended_pipeline(run)
    changed = pipeline.model_copy(update={"train": TrainConfig.model_validate(values)})
    with pytest.raises(ValueError, match=r"train.lora_rank: adapters learn beside .* train.init is scratch"):
        settings.resolve(changed)


def test_the_scale_is_alpha_over_rank_and_2_by_default() -> None:
    assert LoraKeys(lora_rank=16).lora_scale == 2 and LoraKeys(lora_rank=8, lora_alpha=4).lora_scale == 0.5
