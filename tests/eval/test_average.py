"""Weights averaged with the base's."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from curate.files import read_json
from eval.average import average, main
from tests.train import small


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of one shape, the second in two files and with a tokenizer."""
    home = tmp_path_factory.mktemp("average")
    base, continued = small.make_model(home / "base"), home / "continued"
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    small.make_tokenizer(continued)
    model.save_pretrained(continued, max_shard_size="60KB")
    assert len(list(continued.glob("*.safetensors"))) > 1
    return base, continued


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: one for path in folder.glob("*.safetensors") for name, one in load_file(path).items()}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_tensor_lies_between_the_two(models: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = average(*models, tmp_path / "averaged", share)
    before, after, found = (weights(folder) for folder in (*models, target))
    assert found.keys() == after.keys() and read_json(target / "average.json")["share"] == share
    for name, one in found.items():
        torch.testing.assert_close(one, share * after[name] + (1 - share) * before[name], rtol=1e-6, atol=1e-6)
    loaded = AutoModelForCausalLM.from_pretrained(target).state_dict()
    assert all(torch.equal(loaded[name], one) for name, one in found.items())
    assert AutoTokenizer.from_pretrained(target).encode("fever")
    if share in (0, 1):
        assert all(torch.equal(one, (after if share else before)[name]) for name, one in found.items())


def test_bfloat16_and_a_tied_head_that_one_side_leaves_out(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    base = small.make_model(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=True)
    continued = small.make_model(tmp_path / "continued", dtype="bfloat16", tie_word_embeddings=True)
    tensors = {name: one + 1 for name, one in weights(continued).items()}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, continued / "model.safetensors", metadata={"format": "pt"})
    found = weights(average(base, continued, tmp_path / "averaged", 0.5))
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])
    assert {one.dtype for one in found.values()} == {torch.bfloat16}
    for name, one in weights(base).items():
        torch.testing.assert_close(found[name].float(), one.float() + 0.5, rtol=0.01, atol=0.02)


def test_models_that_do_not_fit_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    larger = small.make_model(tmp_path / "larger", vocab_size=small.VOCABULARY + 3)
    with pytest.raises(ValueError, match=r"lm_head.weight has the shape \[323, 32\].*\[320, 32\].*2 tensors differ"):
        average(models[0], larger, tmp_path / "averaged", 0.5)
    with pytest.raises(ValueError, match="1.5 is not between 0"):
        average(*models, tmp_path / "averaged", 1.5)
    with pytest.raises(ValueError, match="no weights to average"):
        average(tmp_path, models[1], tmp_path / "averaged", 0.5)
    with pytest.raises(ValueError, match="not written by this command"):
        average(*models, models[0], 0.5)
    assert not (tmp_path / "averaged").exists()


def test_a_model_of_another_tokenizer_is_refused(trained_run: Path, tmp_path: Path) -> None:
    main([str(trained_run)])
    assert (trained_run / "train" / "main" / "averaged-0.8").is_dir()
    other = shutil.copytree(trained_run / "train" / "main" / "export", tmp_path / "other")
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(text.replace('"</s>"', '"<end>"'), encoding="utf-8")
    (other / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "<end>"}')
    with pytest.raises(ValueError, match="is not the tokenizer of .* rows of different tokens"):
        main([str(trained_run), "--of", str(other)])
