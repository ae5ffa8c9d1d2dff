"""The shape of a model as its Hugging Face config.json gives it, checked field by field; no torch is imported here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORTED = ("llama", "qwen3")
"""Values of model_type that can be trained."""

_FORBIDDEN: dict[str, tuple[Any, str]] = {
    "hidden_act": ("silu", "the feed-forward layers use SwiGLU"),
    "attention_bias": (False, "projections have no bias"),
    "mlp_bias": (False, "projections have no bias"),
    "attention_dropout": (0, "nothing is dropped"),
    "partial_rotary_factor": (1, "the whole head is rotated"),
    "quantization_config": (None, "weights are trained in full precision"),
    "use_sliding_window": (False, "attention sees the whole document"),
}
"""Field -> the only value that is supported (a missing field counts as it), and what the trainer does instead."""


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding."""

    theta: float
    scaling: dict[str, Any] | None
    """Llama 3's scaling: factor, low_freq_factor, high_freq_factor, original_max_position_embeddings; None is none."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of a decoder."""

    kind: str
    """model_type: llama or qwen3."""
    vocab: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    """Width of the feed-forward layers."""
    tied: bool
    """Embedding and output head are one matrix."""
    norm_eps: float
    max_positions: int
    """Longest sequence the model was made for, in tokens."""
    rope: Rope
    init_std: float
    """Standard deviation of random weights (initializer_range)."""

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        projections = self.dim * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        norms = 2 * self.dim + (2 * self.head_dim if self.kind == "qwen3" else 0)
        layer = projections + 3 * self.dim * self.hidden + norms
        return self.layers * layer + self.dim + self.vocab * self.dim * (1 if self.tied else 2)


def read(folder: Path, vocab: int | None = None) -> Architecture:
    """The architecture in `folder`/config.json, with `vocab` instead of its vocabulary size where given.

    Raises ValueError naming the file and the field that is missing or not supported.
    """
    path = folder / "config.json"
    fields = _Fields(path, _read(path))
    kind = fields.values.get("model_type")
    if kind not in SUPPORTED:
        raise ValueError(
            f"{path}: model_type: {kind!r} is not an architecture the trainer has. "
            f"Choose a base model whose model_type is one of {', '.join(SUPPORTED)}."
        )
    for name, (wanted, reason) in _FORBIDDEN.items():
        found = fields.values.get(name)
        if found is not None and found != wanted:
            raise ValueError(
                f"{path}: {name}: {found!r} is not supported, because {reason}; the trained model would not be the "
                f"base model. Only {wanted!r} is: choose another base model."
            )
    heads, dim = fields.count("num_attention_heads"), fields.count("hidden_size")
    architecture = Architecture(
        kind=kind,
        vocab=vocab or fields.count("vocab_size"),
        dim=dim,
        layers=fields.count("num_hidden_layers"),
        heads=heads,
        kv_heads=fields.count("num_key_value_heads", heads if kind == "llama" else 32),
        head_dim=fields.count("head_dim", dim // heads if kind == "llama" else 128),
        hidden=fields.count("intermediate_size"),
        tied=bool(fields.values.get("tie_word_embeddings", False)),
        norm_eps=fields.number("rms_norm_eps", 1e-6),
        max_positions=fields.count("max_position_embeddings"),
        rope=_rope(fields, kind),
        init_std=fields.number("initializer_range", 0.02),
    )
    if architecture.heads % architecture.kv_heads:
        raise ValueError(
            f"{path}: num_key_value_heads: {architecture.kv_heads} does not divide num_attention_heads "
            f"({architecture.heads}), so query heads cannot share key heads evenly. Mend the file."
        )
    return architecture


@dataclass(frozen=True)
class _Fields:
    path: Path
    values: dict[str, Any]

    def number(self, name: str, default: float | None = None, of: dict[str, Any] | None = None) -> float:
        """A positive number; `of` is an inner object whose fields are meant."""
        value = (self.values if of is None else of).get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            found = "is missing" if value is None else f"{value!r} is not a positive number"
            raise ValueError(f"{self.path}: {name}: {found}, so the model cannot be built. Mend the file.")
        return float(value)

    def count(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if value != int(value):
            raise ValueError(f"{self.path}: {name}: {value!r} is not a whole number. Mend the file.")
        return int(value)


def _rope(fields: _Fields, kind: str) -> Rope:
    """transformers 5 writes one object, `rope_parameters`; earlier ones rope_theta and rope_scaling."""
    name = "rope_parameters" if fields.values.get("rope_parameters") else "rope_scaling"
    given = fields.values.get(name) or {}
    theta = fields.number("rope_theta", fields.number("rope_theta", 10_000.0), of=given)
    rope_type = given.get("rope_type", given.get("type", "default"))
    if rope_type == "default":
        return Rope(theta, None)
    if rope_type != "llama3" or kind != "llama":
        supported = "default and llama3" if kind == "llama" else "default"
        raise ValueError(
            f"{fields.path}: {name}.rope_type: {rope_type!r} is not supported for {kind} (only {supported}), so "
            "positions would be rotated wrongly. Choose a base model without it."
        )
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return Rope(theta, {name: fields.number(name, of=given) for name in names})


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: is not there, so {path.parent} is not a Hugging Face model folder.") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}), so the model cannot be built.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds {type(values).__name__}, not the fields of a model. Mend the file.")
    return values
