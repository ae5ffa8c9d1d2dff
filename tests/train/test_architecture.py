"""config.json to architecture: what is read, and what is refused by file and field."""

import json
from pathlib import Path

import pytest

from tokenization.folder import find
from train import architecture

LLAMA = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
LLAMA3_SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}


def read(folder: Path, **changes: object) -> architecture.Architecture:
    values = {key: value for key, value in (LLAMA | changes).items() if value != "missing"}
    (folder / "config.json").write_text(json.dumps(values))
    return architecture.read(folder)


def test_missing_fields_take_the_values_transformers_gives_them(tmp_path: Path) -> None:
    shape = read(tmp_path)
    assert (shape.kv_heads, shape.head_dim, shape.tied, shape.rope.theta) == (4, 16, False, 10_000.0)
    assert read(tmp_path, model_type="qwen3", num_attention_heads=32, num_key_value_heads=8).head_dim == 128
    mistral = read(tmp_path, model_type="mistral", num_attention_heads=16)
    assert (mistral.kv_heads, mistral.head_dim, mistral.window) == (8, 4, 4096)
    assert read(tmp_path, model_type="mistral", num_key_value_heads=None).kv_heads == 4
    assert read(tmp_path, sliding_window=7).window is None  # Llama does not read the field


def test_a_sliding_window_allows_rows_that_fit_into_it(tmp_path: Path) -> None:
    shape = read(tmp_path, model_type="mistral", num_key_value_heads=4, sliding_window=100)
    architecture.check_length(tmp_path, shape, 100)
    with pytest.raises(ValueError, match=r"config.json: sliding_window: 100 is less than mix.seq_len \(101\)"):
        architecture.check_length(tmp_path, shape, 101)
    unlimited = read(tmp_path, model_type="mistral", num_key_value_heads=4, sliding_window=None)
    architecture.check_length(tmp_path, unlimited, 256)
    with pytest.raises(ValueError, match=r"mix.seq_len: 257 is more than .*max_position_embeddings \(256\)"):
        architecture.check_length(tmp_path, unlimited, 257)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3_SCALING}},
        {"rope_theta": 5e5, "rope_scaling": {"type": "llama3", **LLAMA3_SCALING}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3_SCALING}},
    ],
)
def test_old_and_new_ways_to_write_rope_mean_the_same(tmp_path: Path, rope: dict[str, object]) -> None:
    assert read(tmp_path, **rope).rope == architecture.Rope(5e5, LLAMA3_SCALING)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "mamba"}, "model_type: 'mamba'"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu'"),
        ({"attention_bias": True}, "attention_bias: True"),
        ({"mlp_bias": True}, "mlp_bias: True"),
        ({"attention_dropout": 0.1}, "attention_dropout: 0.1"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"model_type": "qwen3", "use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types: 'sliding_attention'"),
        ({"model_type": "mistral", "num_key_value_heads": 4, "sliding_window": 0}, "sliding_window: 0"),
        ({"model_type": "mixtral"}, "model_type: 'mixtral'"),
        ({"model_type": "qwen3_moe"}, "model_type: 'qwen3_moe'"),
        ({"model_type": "qwen3", "num_experts": 8}, "num_experts: 8"),
        ({"model_type": "mistral", "num_local_experts": 8}, "num_local_experts: 8"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5"),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "rope_parameters.partial_rotary_factor",
        ),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.rope_type: 'dynamic'"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "rope_scaling.rope_type: 'longrope'"),
        ({"head_dim": 15}, "head_dim: 15"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling.rope_type: 'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "factor: is missing"),
        (
            {"model_type": "qwen3", "rope_scaling": {"type": "linear", "factor": 4.0}},
            "rope_scaling.rope_type: 'linear'",
        ),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "rope_parameters: {'full_attention'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures: 'LlamaForSequenceClassification'"),
        ({"model_type": "qwen3", "rope_scaling": {"rope_type": "llama3", **LLAMA3_SCALING}}, "only default"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor: is missing"),
        ({"hidden_size": "missing"}, "hidden_size: is missing"),
        ({"hidden_size": -1}, "hidden_size: -1"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers: 2.5"),
        ({"num_attention_heads": True}, "num_attention_heads: True"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: 3"),
    ],
)
def test_an_unsupported_config_is_refused_by_file_and_field(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ValueError, match="config.json: ") as error:
        read(tmp_path, **changes)
    assert named in str(error.value)


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_a_config_that_cannot_be_read_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json: "):
        architecture.read(tmp_path)


def test_a_hub_id_without_a_network_says_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"model: some/base .* `hf download some/base .* copy FOLDER here and set model"
    ):
        find("some/base", weights=True)
    commit = "0123456789abcdef0123456789abcdef01234567"  # what an earlier download, or a copied cache, leaves
    snapshot = tmp_path / "models--some--base" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (tmp_path / "models--some--base" / "refs").mkdir()
    (tmp_path / "models--some--base" / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    assert architecture.read(find("some/base", weights=True)).dim == 64


def test_the_tiny_base_is_as_large_as_its_readme_says() -> None:
    folder = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "tiny-llama"
    assert architecture.read(folder).parameters == 1_705_600
