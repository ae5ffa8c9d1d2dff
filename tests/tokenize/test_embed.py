"""New rows are means of their parents' rows, and nothing else in a checkpoint changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tokenization.embed import INDEX, resize
from tokenization.extend import extend
from tokenization.train import train

GENERAL = [f"The cat sat on mat {k} and ran." for k in range(200)]
DOMAIN = [f"The myocardial infarction of cat {k} was myocardial." for k in range(200)]
WIDTH = 8


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base tokenizer of 290 tokens and one extended by 20, some of whose parents are new."""
    folder = tmp_path_factory.mktemp("embed")
    train(GENERAL, 290, folder / "base")
    extend(folder / "base", DOMAIN, GENERAL, 20, 0.01, folder / "extended")
    return folder / "base", folder / "extended"


def make_model(
    folder: Path, tokenizer: Path, tied: bool, shards: int = 1, rows: int = 290, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "model.embed_tokens.weight": torch.randn(rows, WIDTH, generator=generator).to(dtype),
        "model.layers.0.mlp.weight": torch.randn(5, 3, generator=generator).to(dtype),
        "model.norm.weight": torch.randn(WIDTH, generator=generator).to(dtype),
    }
    if not tied:
        tensors["lm_head.weight"] = torch.randn(rows, WIDTH, generator=generator).to(dtype)
    folder.mkdir()
    names = list(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        parts = [names[k::shards] for k in range(shards)]
        weight_map: dict[str, str] = {}
        for number, part in enumerate(parts, 1):
            file = f"model-{number:05}-of-{shards:05}.safetensors"
            save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(part, file)
        (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    config = {"model_type": "llama", "vocab_size": rows, "hidden_size": WIDTH, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"old form")
    shutil.copy(tokenizer / "tokenizer.json", folder)
    return tensors


def load(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}
    return tensors


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_are_the_mean_of_the_parents(
    tokenizers: tuple[Path, Path], tmp_path: Path, tied: bool, shards: int, dtype: torch.dtype
) -> None:
    base, extended = tokenizers
    before = make_model(tmp_path / "model", base, tied, shards, dtype=dtype)
    done = resize(tmp_path / "model", extended, tmp_path / "out")
    after = load(tmp_path / "out")
    assert done["rows"] == 320 and len(done["tensors"]) == (1 if tied else 2)
    assert set(after) == set(before)
    learned = json.loads((extended / "extension.json").read_text())["new_tokens"]
    assert any(parent >= 290 for one in learned for parent in one["parents"])
    for name, tensor in before.items():
        assert after[name].dtype == dtype
        if name not in done["tensors"]:
            assert torch.equal(after[name], tensor)
            continue
        rows = after[name].float()
        assert torch.equal(after[name][:290], tensor)
        exact = {index: row for index, row in enumerate(tensor.float())}
        for one in learned:
            left, right = one["parents"]
            exact[one["id"]] = (exact[left] + exact[right]) / 2
            assert torch.equal(after[name][one["id"]], exact[one["id"]].to(dtype))
        tolerance = 1e-6 if dtype == torch.float32 else 0.02
        assert torch.allclose(rows[310:], tensor.float().mean(0).expand(10, -1), atol=tolerance)


def test_files_beside_the_weights(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=False, shards=2)
    (tmp_path / "model" / "merges.txt").write_text("old")
    resize(tmp_path / "model", extended, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"generation_config.json", "tokenizer_config.json", "extension.json", INDEX} <= names
    assert not {"pytorch_model.bin", "merges.txt"} & names
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (extended / "tokenizer.json").read_bytes()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == 320
    total = sum(tensor.nbytes for tensor in load(tmp_path / "out").values())
    assert json.loads((tmp_path / "out" / INDEX).read_text())["metadata"]["total_size"] == total


def test_without_padding_the_rows_are_the_ids(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    assert resize(tmp_path / "model", extended, tmp_path / "out", multiple=1)["rows"] == 310


def test_new_ids_take_over_rows_that_were_padding(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    before = make_model(tmp_path / "model", base, tied=True, rows=384)["model.embed_tokens.weight"]
    assert resize(tmp_path / "model", extended, tmp_path / "out")["rows"] == 384
    after = load(tmp_path / "out")["model.embed_tokens.weight"]
    first = json.loads((extended / "extension.json").read_text())["new_tokens"][0]
    assert torch.equal(after[290], before[first["parents"]].mean(0))
    assert torch.equal(after[:290], before[:290]) and torch.equal(after[310:], before[310:])


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_loads_it_and_says_the_same_of_old_text(
    tokenizers: tuple[Path, Path], tmp_path: Path, tied: bool
) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    base, extended = tokenizers
    config = LlamaConfig(
        vocab_size=290,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "model")
    resize(tmp_path / "model", extended, tmp_path / "out")
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([[5, 9, 250, 31]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits[..., :290], model(ids).logits)
        assert torch.isfinite(loaded(torch.tensor([[290, 309]])).logits).all()
    embedding, head = loaded.get_input_embeddings().weight, loaded.get_output_embeddings().weight
    assert (embedding.data_ptr() == head.data_ptr()) is tied


def test_another_models_tokenizer_is_refused(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    train(DOMAIN, 290, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "tokenizer.json", tmp_path / "model")
    with pytest.raises(ValueError, match="ids mean another token"):
        resize(tmp_path / "model", extended, tmp_path / "out")
    make_model(tmp_path / "small", base, tied=True, rows=280)
    with pytest.raises(ValueError, match="only 280 rows"):
        resize(tmp_path / "small", extended, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_or_unknown_weights_are_refused(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    weights = tmp_path / "model" / "model.safetensors"
    whole = weights.read_bytes()
    for cut in (4, 40, len(whole) - 3):
        weights.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="model.safetensors"):
            resize(tmp_path / "model", extended, tmp_path / "out")
    save_file({"other.weight": torch.zeros(290, 4)}, weights)
    with pytest.raises(ValueError, match="none of its tensors is a known embedding"):
        resize(tmp_path / "model", extended, tmp_path / "out")
    save_file({"model.embed_tokens.weight": torch.zeros(290, 4, dtype=torch.int8)}, weights)
    with pytest.raises(ValueError, match="is kept as I8"):
        resize(tmp_path / "model", extended, tmp_path / "out")
    weights.unlink()
    with pytest.raises(ValueError, match="only safetensors"):
        resize(tmp_path / "model", extended, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bfloat16_is_rounded_as_torch_does() -> None:
    from tokenization.embed import _from_float32

    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().tobytes()
    assert _from_float32(values, "BF16") == expected


def test_the_command_needs_no_torch(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    import subprocess
    import sys

    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    program = (
        "import sys; from tokenization.embed import main; main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    arguments = ["--model", tmp_path / "model", "--tokenizer", extended, "--output", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rows 290 -> 320" in done.stdout
