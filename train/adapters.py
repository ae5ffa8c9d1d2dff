"""Adapters in weights by name: added to a base that is loaded, merged into it, or as PEFT names them.

torchtitan writes a projection P as P.weight, its adapters (train/lora.py) as P.lora_a.weight, P.lora_b.weight and
P.magnitude, and the rows of new tokens as tok_embeddings.new_rows and lm_head.new_rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

import train.platform  # noqa: F401  (before torchtitan)

# isort: split
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

MODULES = {
    "q_proj": "attention.qkv_linear.wq",
    "k_proj": "attention.qkv_linear.wk",
    "v_proj": "attention.qkv_linear.wv",
    "o_proj": "attention.wo",
    "gate_proj": "feed_forward.w1",
    "up_proj": "feed_forward.w3",
    "down_proj": "feed_forward.w2",
}
"""Hugging Face's name of a layer's projection -> torchtitan's."""
_OURS = ("lora_a.weight", "lora_b.weight", "magnitude", "new_rows")
_ENDS = {"tok_embeddings": "embed_tokens", "lm_head": "lm_head"}
_PEFT = "base_model.model."


def loading(family: Any, rows: range, dora: Sequence[str]) -> Any:
    """torchtitan's checkpoint adapter `family`, for a model with adapters that is loaded from a plain base.

    The `rows` of new tokens start as the base's, magnitudes of the projections in `dora` as the lengths of its rows.
    """

    class Loading(family):
        def to_hf(self, state_dict: dict[str, Any]) -> dict[str, Any]:
            """What is read from the base: its own weights."""
            return super().to_hf({name: _whole(name, value) for name, value in base_only(state_dict).items()})

        def from_hf(self, hf_state_dict: dict[str, Any]) -> dict[str, Any]:
            state = super().from_hf(hf_state_dict)
            for name in _ENDS if rows else ():
                state[f"{name}.new_rows"] = _some_rows(state[f"{name}.weight"], rows)
            projections = tuple(f".{MODULES[module]}.weight" for module in dora)
            lengths = {
                f"{name.removesuffix('weight')}magnitude": torch.linalg.vector_norm(weight, dim=1)
                for name, weight in state.items()
                if dora and name.endswith(projections)
            }
            return state | lengths

    return Loading


def base_only(state: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that a base has too."""
    return {name: value for name, value in state.items() if not name.endswith(_OURS)}


def merged(state: Mapping[str, torch.Tensor], scale: float, rows: range) -> dict[str, torch.Tensor]:
    """Weights of a model without adapters that computes the same. `state` holds all parts of what it holds of."""
    result = base_only(state)
    for name, weight in result.items():
        prefix = name.removesuffix("weight")
        if f"{prefix}new_rows" in state:
            weight = weight.clone()
            weight[rows.start : rows.stop] = state[f"{prefix}new_rows"]
        if f"{prefix}lora_a.weight" in state:
            weight = weight + scale * (state[f"{prefix}lora_b.weight"] @ state[f"{prefix}lora_a.weight"])
        if f"{prefix}magnitude" in state:
            weight = weight * (state[f"{prefix}magnitude"] / torch.linalg.vector_norm(weight, dim=1))[:, None]
        result[name] = weight
    return result


def peft(state: Mapping[str, torch.Tensor], adapter: Any, tied: bool) -> dict[str, torch.Tensor]:
    """The adapters of `state` under the names of PEFT. `adapter` is the checkpoint adapter, which knows row orders."""
    result = {}
    for name, weight in base_only(state).items():
        prefix = name.removesuffix("weight")
        end = _ENDS.get(prefix.removesuffix("."))
        if f"{prefix}new_rows" in state and end and not (tied and end == "lm_head"):
            module = "model.embed_tokens" if end == "embed_tokens" else end
            result[f"{_PEFT}{module}.token_adapter.trainable_tokens_delta"] = state[f"{prefix}new_rows"]
        if f"{prefix}lora_a.weight" in state:
            hf_name, order = _rows_of_hugging_face(name, weight, adapter)
            module = _PEFT + hf_name.removesuffix(".weight")
            result[f"{module}.lora_A.weight"] = state[f"{prefix}lora_a.weight"]
            result[f"{module}.lora_B.weight"] = state[f"{prefix}lora_b.weight"][order]
            if f"{prefix}magnitude" in state:
                result[f"{module}.lora_magnitude_vector"] = state[f"{prefix}magnitude"][order]
    return result


def _rows_of_hugging_face(name: str, weight: torch.Tensor, adapter: Any) -> tuple[str, torch.Tensor]:
    """Hugging Face's name of a weight, and which row of ours [out] is which of its: Llama's queries and keys differ."""
    numbers = torch.arange(len(weight), dtype=torch.int32)[:, None].expand(weight.shape)
    ((hf_name, ordered),) = adapter.to_hf({name: numbers}).items()
    return hf_name, ordered[:, 0]


def _whole(name: str, value: Any) -> Any:
    """Queries and keys on every rank: Llama's are reordered by head, and a shard may end within one."""
    if isinstance(value, DTensor) and name.endswith(("wq.weight", "wk.weight")):
        return value.redistribute(placements=[Replicate()] * value.device_mesh.ndim)
    return value


def _some_rows(weight: Any, rows: range) -> Any:
    """Rows of a matrix, shared among the ranks as the matrix is."""
    if not isinstance(weight, DTensor):
        return weight[rows.start : rows.stop]
    chosen = weight.full_tensor()[rows.start : rows.stop]
    return distribute_tensor(chosen, weight.device_mesh, weight.placements, src_data_rank=None)
