"""Exported folders compute what the trainer's model computes, from any checkpoint, at any time."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file

from curate.files import read_json, write_json
from mix.plan_file import read_plan
from tests.train import small
from tests.train.test_launch import extend
from train import architecture, checksums, export, lora, model
from train.settings import Settings

SHAPES = [("llama", True), ("llama", False), ("qwen3", True), ("qwen3", False)]
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # torch saves without processes here
TOKENS = torch.randint(0, small.VOCABULARY + 1, (2, 40), generator=torch.Generator().manual_seed(5))
"""With the new token among them."""


def saved(run: Path, home: Path, kind: str, tied: bool, **keys: Any) -> tuple[Settings, torch.Tensor]:
    """A training run of a model with an extended vocabulary at step 7, and the logits its trainer's model gives.

    Its weights are random, so that a part that is left out, or merged wrongly, shows.
    """
    from tokenization import embed

    tokenizer = home / "tokenizer"
    shutil.copytree(run / "tokenizer", tokenizer)
    extend(tokenizer)
    base = small.make_model(home / "base", kind, tie_word_embeddings=tied)
    embed.resize(base, tokenizer, home / "initial")
    pipeline = small.pipeline(home / "run", base, **keys)
    shape = architecture.read(home / "initial")
    plan = read_plan(run / "mixture.json")
    settings = Settings(pipeline, shape, base, home / "initial", tokenizer, 1, plan)
    ours = build(settings)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in ours.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    dcp.save(ours.state_dict(), checkpoint_id=settings.folder / "checkpoints" / "step-7", no_dist=True)
    checkpoint = settings.folder / "checkpoints" / "step-7"
    checksums.complete(checkpoint, {}, checksums.measure_files(checkpoint, 0))
    return settings, logits_of(ours)


def build(settings: Settings) -> Any:
    """The model as the trainer begins with it."""
    spec = model.specification(settings.architecture)
    spec = lora.adapted(spec, settings.pipeline.train, settings.new_rows)
    ours = spec.model.build()
    ours.init_states()
    assert settings.weights is not None and spec.state_dict_adapter is not None
    adapter: Any = spec.state_dict_adapter(spec.model, None)
    ours.load_state_dict(adapter.from_hf(weights_of(settings.weights)), strict=False)
    return ours


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def logits_of(ours: Any) -> torch.Tensor:
    positions = torch.arange(TOKENS.shape[1]).expand(len(TOKENS), -1)
    with torch.no_grad():
        return ours(TOKENS, positions=positions, attention_masks=ours.get_attention_masks(positions=positions))


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("keys", [{}, {"lora_rank": 3}, {"lora_rank": 3, "dora": True}], ids=["full", "lora", "dora"])
@pytest.mark.parametrize(("kind", "tied"), SHAPES)
def test_logits_of_the_merged_model(run: Path, tmp_path: Path, kind: str, tied: bool, keys: dict[str, Any]) -> None:
    settings, expected = saved(run, tmp_path, kind, tied, **keys)
    folder = export.export(settings, 7, tmp_path / "out")
    with torch.no_grad():
        same(loaded(folder)(TOKENS).logits, expected)
        assert (loaded(tmp_path / "initial")(TOKENS).logits - expected).abs().max() > 0.1


@pytest.mark.parametrize("keys", [{}, {"dora": True}, {"lora_modules": ["k_proj", "v_proj"], "lora_alpha": 5.0}])
@pytest.mark.parametrize(("kind", "tied"), SHAPES)
def test_logits_of_the_adapter_in_peft(run: Path, tmp_path: Path, kind: str, tied: bool, keys: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft", reason="the extra `peft` is not installed")
    settings, expected = saved(run, tmp_path, kind, tied, lora_rank=3, **keys)
    folder = export.export(settings, 7, tmp_path / "out", adapter=True)
    rows = small.VOCABULARY + 1
    resized = loaded(tmp_path / "initial")
    with torch.no_grad():
        same(peft.PeftModel.from_pretrained(resized, folder)(TOKENS).logits, expected)
        # As a user without the run's folder does it: new rows of the base are whatever transformers makes.
        plain = loaded(tmp_path / "base")
        plain.resize_token_embeddings(rows, mean_resizing=False)
        same(peft.PeftModel.from_pretrained(plain, folder)(TOKENS).logits, expected[..., :rows])
    merged = peft.PeftModel.from_pretrained(loaded(tmp_path / "initial"), folder).merge_and_unload()
    with torch.no_grad():
        same(merged(TOKENS).logits, expected)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize(("kind", "tied"), SHAPES)
def test_an_adapter_folder_holds_what_was_trained(run: Path, tmp_path: Path, kind: str, tied: bool, dora: bool) -> None:
    """Without PEFT: names, shapes and number of parameters are those of its format."""
    settings, _ = saved(run, tmp_path, kind, tied, lora_rank=3, lora_modules=["q_proj", "down_proj"], dora=dora)
    folder = export.export(settings, 7, tmp_path / "out", adapter=True)
    tensors = load_file(folder / "adapter_model.safetensors")
    layer = "base_model.model.model.layers.1"
    assert tensors[f"{layer}.self_attn.q_proj.lora_A.weight"].shape == (3, 32)
    assert tensors[f"{layer}.mlp.down_proj.lora_B.weight"].shape == (32, 3)
    assert (f"{layer}.mlp.down_proj.lora_magnitude_vector" in tensors) == dora
    assert not any("k_proj" in name for name in tensors)
    keys = settings.pipeline.train
    assert sum(tensor.numel() for tensor in tensors.values()) == lora.trained_parameters(settings.architecture, keys, 1)
    values = read_json(folder / "adapter_config.json")
    assert values["target_modules"] == ["down_proj", "q_proj"] and values["use_dora"] == dora
    ends = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    assert values["trainable_token_indices"] == {end: [small.VOCABULARY] for end in ends}
    assert (folder / "tokenizer.json").is_file() and not (folder / "config.json").exists()


def test_large_models_are_split_into_files(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, expected = saved(run, tmp_path, "llama", False)
    monkeypatch.setattr(export, "FILE_BYTES", 60_000)
    folder = export.export(settings, 7, tmp_path / "out")
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = read_json(folder / "model.safetensors.index.json")
    assert sorted(set(index["weight_map"].values())) == files
    assert index["metadata"]["total_size"] == 4 * settings.architecture.parameters
    with torch.no_grad():
        same(loaded(folder)(TOKENS).logits, expected)


def test_a_checkpoint_that_goes_while_it_is_read_is_no_export(run: Path, tmp_path: Path) -> None:
    settings, _ = saved(run, tmp_path, "llama", True)
    checkpoint = settings.folder / "checkpoints" / "step-7"
    for part in checkpoint.glob("*.distcp"):
        part.unlink()
    with pytest.raises(ValueError, match="step-7: was removed while it was read"):
        list(export._groups(checkpoint, True))


def test_a_damaged_or_unfinished_checkpoint_is_not_exported(run: Path, tmp_path: Path) -> None:
    settings, _ = saved(run, tmp_path, "llama", True)
    checkpoint = settings.folder / "checkpoints" / "step-7"
    part = next(checkpoint.glob("*.distcp"))
    content = part.read_bytes()
    part.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    with pytest.raises(ValueError, match="step-7: is damaged .*other bytes than were written"):
        export.export(settings, 7, tmp_path / "out")
    (checkpoint / checksums.COMPLETE).unlink()
    with pytest.raises(ValueError, match="step-7: is no whole checkpoint"):
        export.export(settings, 7, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.tmp").exists()


def test_an_adapter_of_a_full_run_is_refused(run: Path, tmp_path: Path) -> None:
    settings, _ = saved(run, tmp_path, "llama", True)
    with pytest.raises(ValueError, match=r"--adapter: .* trained all weights \(train.lora_rank: 0\)"):
        export.export(settings, 7, tmp_path / "out", adapter=True)


def test_a_folder_of_something_else_is_not_replaced(run: Path, tmp_path: Path) -> None:
    settings, _ = saved(run, tmp_path, "llama", True)
    before = (tmp_path / "base" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="holds files but no export.json"):
        export.export(settings, 7, tmp_path / "base")
    with pytest.raises(ValueError, match="is a file"):
        export.export(settings, 7, tmp_path / "base" / "model.safetensors")
    assert (tmp_path / "base" / "model.safetensors").read_bytes() == before


def test_the_command_exports_any_checkpoint_of_a_run(run: Path, finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    export.main([str(run), "--train.run", "whole"])
    newest = folder / "exports" / "step-24"
    assert weights_of(newest).keys() == weights_of(folder / "export").keys()
    assert (newest / "model.safetensors").read_bytes() == (folder / "export" / "model.safetensors").read_bytes()
    export.main([str(run), "--train.run", "whole", "--step", "20", "--to", str(tmp_path / "earlier")])
    assert read_json(tmp_path / "earlier" / "export.json")["step"] == 20
    trained, earlier = (weights_of(one)["model.norm.weight"] for one in (newest, tmp_path / "earlier"))
    assert not torch.equal(trained, earlier)
    for one in (newest, tmp_path / "earlier"):
        assert {"config.json", "generation_config.json", "tokenizer.json"} <= {path.name for path in one.iterdir()}
    with pytest.raises(ValueError, match=r"step-5: is no whole checkpoint.*There are: 20, 24\."):
        export.main([str(run), "--train.run", "whole", "--step", "5"])
    with pytest.raises(ValueError, match=r"no training run 'other' to export. There are: .*whole"):
        export.main([str(run), "--train.run", "other"])


def test_the_command_refuses_a_run_with_another_tokenizer(
    run: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "packed", "export*"))
    path = copy / "train" / "whole" / "config.json"
    write_json(path, read_json(path) | {"tokenizer.json": "0" * 16})
    with pytest.raises(ValueError, match="made with another tokenizer"):
        export.main([str(copy), "--train.run", "whole"])
    write_json(path, read_json(path) | {"train.gone": 1})
    with pytest.raises(ValueError, match=r"another version of this tool, whose keys differ \(gone\)"):
        export.main([str(copy), "--train.run", "whole"])
