"""The shape of a model as its Hugging Face config.json gives it, checked field by field; no torch is imported here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORTED = ("llama", "mistral", "qwen3")
"""Values of model_type that can be trained: Llama 2 and 3.x, Mistral 7B and Nemo, dense Qwen3."""

_FORBIDDEN: dict[str, tuple[Any, str]] = {
    "hidden_act": ("silu", "the feed-forward layers use SwiGLU"),
    "attention_bias": (False, "projections have no bias"),
    "mlp_bias": (False, "projections have no bias"),
    "attention_dropout": (0, "nothing is dropped"),
    "partial_rotary_factor": (1, "the whole head is rotated"),
    "quantization_config": (None, "weights are trained in full precision"),
    "use_sliding_window": (False, "attention sees the whole document"),
    "num_experts": (0, "every token goes through the same feed-forward layer"),
    "num_local_experts": (0, "every token goes through the same feed-forward layer"),
}
"""Field -> the only value that is supported (a missing field counts as it), and what the trainer does instead."""

_KV_HEADS = {"mistral": 8, "qwen3": 32}
"""model_type -> num_key_value_heads that transformers takes where the field is missing; others take all heads."""


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding."""

    theta: float
    scaling: dict[str, Any] | None
    """Llama 3's scaling: factor, low_freq_factor, high_freq_factor, original_max_position_embeddings; None is none."""

    @staticmethod
    def linear(theta: float, factor: float) -> "Rope":
        """Positions divided by `factor` (arXiv 2306.15595): Llama 3's scaling with no wavelength left as it is, since
        the shortest is 2 pi tokens and all above 1 are stretched."""
        bands = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 1.0}
        return Rope(theta, {"factor": factor, **bands})


@dataclass(frozen=True)
class Architecture:
    """Sizes of a decoder."""

    kind: str
    """model_type: one of SUPPORTED."""
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
    window: int | None = None
    """Tokens that one token attends to (Mistral's sliding_window); None is all. The trainer's attention has no window:
    in rows that are not longer than it there is none to be seen (`check_length`)."""

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
    _check_layers(fields)
    _check_head(fields)
    heads, dim = fields.count("num_attention_heads"), fields.count("hidden_size")
    # A null is all heads for transformers; a missing field is what the family's first model had.
    shared = _KV_HEADS.get(kind, heads) if "num_key_value_heads" not in fields.values else heads
    architecture = Architecture(
        kind=kind,
        vocab=vocab or fields.count("vocab_size"),
        dim=dim,
        layers=fields.count("num_hidden_layers"),
        heads=heads,
        kv_heads=fields.count("num_key_value_heads", shared),
        head_dim=fields.count("head_dim", 128 if kind == "qwen3" else dim // heads),
        hidden=fields.count("intermediate_size"),
        tied=bool(fields.values.get("tie_word_embeddings", False)),
        norm_eps=fields.number("rms_norm_eps", 1e-6),
        max_positions=fields.count("max_position_embeddings"),
        rope=_rope(fields, kind),
        init_std=fields.number("initializer_range", 0.02),
        window=_window(fields, kind),
    )
    if architecture.heads % architecture.kv_heads:
        raise ValueError(
            f"{path}: num_key_value_heads: {architecture.kv_heads} does not divide num_attention_heads "
            f"({architecture.heads}), so query heads cannot share key heads evenly. Mend the file."
        )
    if architecture.head_dim % 2:
        raise ValueError(
            f"{path}: head_dim: {architecture.head_dim} is odd, so its halves cannot be rotated by position. Mend the "
            "file."
        )
    return architecture


def check_length(folder: Path, architecture: Architecture, seq_len: int) -> None:
    """Raises ValueError where rows of `seq_len` tokens are longer than the model in `folder` sees in full."""
    if seq_len > architecture.max_positions:
        raise ValueError(
            f"mix.seq_len: {seq_len} is more than the base model's max_position_embeddings "
            f"({architecture.max_positions}). Build the mixture again with a mix.seq_len of at most that."
        )
    if architecture.window is not None and seq_len > architecture.window:
        raise ValueError(
            f"{folder / 'config.json'}: sliding_window: {architecture.window} is less than mix.seq_len ({seq_len}), "
            "and the trainer's attention has no window, so the trained model would not be the base model. Build the "
            f"mixture again with a mix.seq_len of at most {architecture.window}, where the window makes no difference."
        )


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


def _check_layers(fields: _Fields) -> None:
    """Raises ValueError where layers differ in their attention."""
    layers = fields.values.get("layer_types") or []
    other = next((kind for kind in layers if kind != "full_attention"), None)
    if other is not None:
        raise ValueError(
            f"{fields.path}: layer_types: {other!r} is not supported, because every layer attends to the whole "
            "document. Only 'full_attention' is: choose another base model."
        )


def _check_head(fields: _Fields) -> None:
    """Raises ValueError where the weights are not those of a language model."""
    for name in fields.values.get("architectures") or []:
        if not str(name).endswith("ForCausalLM"):
            raise ValueError(
                f"{fields.path}: architectures: {name!r} is not supported, because it has no output head over the "
                "vocabulary to continue. Only ...ForCausalLM is: choose another base model."
            )


def _window(fields: _Fields, kind: str) -> int | None:
    """Only Mistral reads the field by itself, and takes 4096 where it is missing; a null is none."""
    if kind != "mistral" or fields.values.get("sliding_window", 4096) is None:
        return None
    return fields.count("sliding_window", 4096)


def _rope(fields: _Fields, kind: str) -> Rope:
    """transformers 5 writes one object, `rope_parameters`; earlier ones rope_theta and rope_scaling."""
    name = "rope_parameters" if fields.values.get("rope_parameters") else "rope_scaling"
    given = fields.values.get(name) or {}
    if any(isinstance(value, dict) for value in given.values()):
        raise ValueError(
            f"{fields.path}: {name}: {given!r} is not supported, because every layer rotates positions alike. Choose a "
            "base model with one set of values."
        )
    share = given.get("partial_rotary_factor", 1)
    if share != 1:
        raise ValueError(
            f"{fields.path}: {name}.partial_rotary_factor: {share!r} is not supported, because the whole head is "
            "rotated; the trained model would not be the base model. Only 1 is: choose another base model."
        )
    theta = fields.number("rope_theta", fields.number("rope_theta", 10_000.0), of=given)
    rope_type = given.get("rope_type", given.get("type", "default"))
    if rope_type == "default":
        return Rope(theta, None)
    if rope_type == "linear" and kind != "qwen3":
        return Rope.linear(theta, fields.number("factor", of=given))
    if rope_type != "llama3" or kind == "qwen3":
        supported = "default" if kind == "qwen3" else "default, linear and llama3"
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
