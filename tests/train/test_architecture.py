"""config.json to architecture: what is read, and what is refused by file and field."""

import json
from pathlib import Path

import pytest

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
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling.rope_type: 'yarn'"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0}}, "rope_parameters.rope_type: 'linear'"),
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


def test_the_tiny_base_is_as_large_as_its_readme_says() -> None:
    folder = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "tiny-llama"
    assert architecture.read(folder).parameters == 1_705_600
