"""New rows are means of their parents' rows, and nothing else in a checkpoint changes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tokenization.embed import INDEX, main, resize
from tokenization.extend import extend
from tokenization.pretokens import Pretokens
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
        exact = {index: row for index, row in enumerate(tensor.double())}
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


@pytest.mark.parametrize("method", ["first", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_the_first_or_last_base_token(
    tokenizers: tuple[Path, Path], tmp_path: Path, method: Literal["first", "last"], dtype: torch.dtype
) -> None:
    base, extended = tokenizers
    before = make_model(tmp_path / "model", base, tied=False, dtype=dtype)
    assert resize(tmp_path / "model", extended, tmp_path / "out", method=method)["method"] == method
    after, pretokens = load(tmp_path / "out"), Pretokens(base)
    for one in json.loads((extended / "extension.json").read_text())["new_tokens"]:
        pieces = pretokens.tokens(one["token"])
        end = pieces[0 if method == "first" else -1]
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(after[name][one["id"]], before[name][end])


def test_shards_as_transformers_writes_them(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    base, extended = tokenizers
    config = LlamaConfig(
        vocab_size=290, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    model: Any = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    resize(tmp_path / "model", extended, tmp_path / "out")
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    parameters = sum(one.numel() for one in loaded.parameters())
    metadata = json.loads((tmp_path / "out" / INDEX).read_text())["metadata"]
    assert metadata["total_size"] == 4 * parameters and metadata["total_parameters"] == parameters
    assert parameters == sum(one.numel() for one in model.parameters()) + 2 * 30 * 64
    sorted((tmp_path / "model").glob("*.safetensors"))[0].unlink()
    with pytest.raises(ValueError, match="which is not there"):
        resize(tmp_path / "model", extended, tmp_path / "again")


def test_rows_of_neighbours_need_text(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    arguments = ["--model", tmp_path / "model", "--tokenizer", extended, "--output", tmp_path / "out"]
    command = list(map(str, arguments))
    with pytest.raises(ValueError, match="no --text is given"):
        main([*command, "--method", "focus"])
    with pytest.raises(ValueError, match="matches no file"):
        main([*command, "--method", "focus", "--text", str(tmp_path / "none*.txt")])
    with pytest.raises(ValueError, match="read by --method focus only"):
        main([*command, "--text", str(tmp_path / "*")])
    assert not (tmp_path / "out").exists()


def test_rows_of_neighbours(tokenizers: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=False)
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in DOMAIN))
    command = ["--model", str(tmp_path / "model"), "--tokenizer", str(extended), "--method", "focus"]
    command += ["--text", str(tmp_path / "*.jsonl")]
    main([*command, "--output", str(tmp_path / "out")])
    main([*command, "--output", str(tmp_path / "again")])
    assert "made by: focus" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "again" / "model.safetensors"
    ).read_bytes()
    before, after = load(tmp_path / "model"), load(tmp_path / "out")
    resize(tmp_path / "model", extended, tmp_path / "mean")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        low, high = before[name].min(0).values, before[name].max(0).values
        assert (after[name][290:310] >= low - 1e-6).all() and (after[name][290:310] <= high + 1e-6).all()
        assert not torch.equal(after[name][290:310], load(tmp_path / "mean")[name][290:310])


@pytest.mark.parametrize("kind", ["GPT2", "GPTNeoX", "Phi"])
def test_other_architectures_say_the_same_of_old_text(tokenizers: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    names = {"GPT2": "GPT2LMHeadModel"}
    config: Any = getattr(transformers, f"{kind}Config")(vocab_size=290, **sizes)
    torch.manual_seed(0)
    model: Any = getattr(transformers, names.get(kind, f"{kind}ForCausalLM"))(config).eval()
    if kind == "Phi":
        torch.nn.init.normal_(model.lm_head.bias)
    model.save_pretrained(tmp_path / "model")
    done = resize(tmp_path / "model", tokenizers[1], tmp_path / "out")
    assert len(done["tensors"]) == {"GPT2": 1, "GPTNeoX": 2, "Phi": 3}[kind]
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([[5, 9, 250, 31]])
    with torch.no_grad():
        after, before = loaded.eval()(ids).logits, model(ids).logits
    assert after.shape[-1] == 320 and torch.allclose(after[..., :290], before, atol=1e-6)


def test_another_models_tokenizer_is_refused(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    train(DOMAIN, 290, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "tokenizer.json", tmp_path / "model")
    named = r"extended: \d+ ids mean another token than in .*model \(id \d+ is '.*' there and '.*' here\)"
    with pytest.raises(ValueError, match=named):
        resize(tmp_path / "model", extended, tmp_path / "out")
    make_model(tmp_path / "small", base, tied=True, rows=280)
    with pytest.raises(ValueError, match="only 280 rows"):
        resize(tmp_path / "small", extended, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parents_that_are_not_there_are_refused(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=True)
    shutil.copytree(extended, tmp_path / "odd")
    extension = json.loads((extended / "extension.json").read_text())
    for parents in ([5, 309], [5, 400], [-1, 5], []):
        extension["new_tokens"][0]["parents"] = parents
        (tmp_path / "odd" / "extension.json").write_text(json.dumps(extension))
        with pytest.raises(ValueError, match="new token 290 has the parents"):
            resize(tmp_path / "model", tmp_path / "odd", tmp_path / "out")


def test_a_write_that_fails_or_is_killed_leaves_what_was_there(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
    base, extended = tokenizers
    make_model(tmp_path / "model", base, tied=False, shards=2)
    resize(tmp_path / "model", extended, tmp_path / "out")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    full_disk = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); main(sys.argv[1:])"
    killed = (
        "import os, tokenization.embed as embed; copy = embed.copy_resized\n"
        "embed.copy_resized = lambda *a: (copy(*a), os.kill(os.getpid(), 9)); main(sys.argv[1:])"
    )
    for output in ("out", "fresh"):
        arguments = ["--model", tmp_path / "model", "--tokenizer", extended, "--output", tmp_path / output]
        for program, codes in ((full_disk, {1}), (killed, {-9})):
            command = [sys.executable, "-c", f"import sys; from tokenization.embed import main; {program}"]
            done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
            assert done.returncode in codes, done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == whole
    assert not (tmp_path / "fresh").exists()
    resize(tmp_path / "model", extended, tmp_path / "out")
    assert not (tmp_path / ".out.tmp").exists()


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


def test_the_command_needs_no_torch(tokenizers: tuple[Path, Path], tmp_path: Path) -> None:
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
