"""A Hugging Face architecture as torchtitan's model specification.

Llama keeps torchtitan's complex rotary embedding, Qwen3 the cos/sin one with normalised queries and keys: each is
what torchtitan's checkpoint adapter of that family expects. Mistral is a Llama with other sizes, its weights named
alike. Logits agree with transformers to about 1e-6.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

import train.platform  # noqa: F401  (before torchtitan)
from train.architecture import Architecture
from train.attention import back_end
from train.platform import DEVICE

# isort: split
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torchtitan.components.quantization.float8 import Float8LinearConverter
from torchtitan.distributed.pipeline_parallel import pipeline_llm
from torchtitan.models.common import ComplexRoPE, CosSinRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.config_utils import make_ffn_config, make_gqa_config
from torchtitan.models.common.param_init import skip_param_init
from torchtitan.models.llama3 import Llama3Model, Llama3StateDictAdapter, parallelize_llama
from torchtitan.models.llama3.model import Llama3TransformerBlock
from torchtitan.models.qwen3 import Qwen3Model, Qwen3StateDictAdapter, parallelize_qwen3
from torchtitan.models.qwen3.model import Qwen3TransformerBlock
from torchtitan.protocols.model_spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class _Family:
    model: Any
    block: Any
    rope: Any
    parallelize: Callable[..., nn.Module]
    adapter: Any


_LLAMA = _Family(Llama3Model, Llama3TransformerBlock, ComplexRoPE, parallelize_llama, Llama3StateDictAdapter)
_FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen3": _Family(Qwen3Model, Qwen3TransformerBlock, CosSinRoPE, parallelize_qwen3, Qwen3StateDictAdapter),
}


def specification(architecture: Architecture, float8: bool = False) -> ModelSpec:
    """What torchtitan's trainer builds, parallelises and loads weights into; `float8` is for the layers' products."""
    family = _FAMILIES[architecture.kind]
    model = _model(architecture, family)
    if float8:
        converter = Float8LinearConverter.Config(model_compile_enabled=True, filter_fqns=["lm_head"])
        model = converter.build().convert(model)
    return ModelSpec(
        name=architecture.kind,
        flavor="hugging_face",
        model=model,
        parallelize_fn=_summing_on_cpu(family.parallelize),
        pipelining_fn=pipeline_llm,
        post_optimizer_build_fn=None,
        state_dict_adapter=family.adapter,
    )


def random_weights(weight: torch.Tensor, std: float) -> None:
    """Fill a weight, whole or sharded, from a normal distribution cut off at two deviations.

    Every rank draws the whole tensor and keeps its part: weights do not depend on the number of ranks, and no two
    ranks hold the same numbers.
    """
    if not isinstance(weight, DTensor):
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
        return
    whole = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
    random_weights(whole, std)
    weight.copy_(distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None))


def _model(a: Architecture, family: _Family) -> Any:
    """Random weights have the config's deviation, those that lead into the residual stream (and, as torchtitan groups
    them, the feed-forward's second input) that over sqrt(2 layers), so that depth does not make activations grow
    (Radford et al. 2019, section 2.3)."""
    plain = {"weight": partial(random_weights, std=a.init_std)}
    into_residual = {"weight": partial(random_weights, std=a.init_std / math.sqrt(2 * a.layers))}
    layer = family.block.Config(
        attention_norm=_norm(a.dim, a),
        ffn_norm=_norm(a.dim, a),
        attention=make_gqa_config(
            dim=a.dim,
            n_heads=a.heads,
            n_kv_heads=a.kv_heads,
            head_dim=a.head_dim,
            wqkv_param_init=plain,
            wo_param_init=into_residual,
            inner_attention=back_end(),
            rope=_rope(a, family),
            fuse_qkv=True,
            qk_norm=_norm(a.head_dim, a) if a.kind == "qwen3" else None,
        ),
        feed_forward=make_ffn_config(
            dim=a.dim, hidden_dim=a.hidden, w1_param_init=plain, w2w3_param_init=into_residual
        ),
    )
    embedding = {"weight": skip_param_init if a.tied else partial(random_weights, std=a.init_std)}
    return family.model.Config(
        dim=a.dim,
        vocab_size=a.vocab,
        enable_weight_tying=a.tied,
        tok_embeddings=Embedding.Config(num_embeddings=a.vocab, embedding_dim=a.dim, param_init=embedding),
        norm=_norm(a.dim, a),
        lm_head=Linear.Config(in_features=a.dim, out_features=a.vocab, param_init=plain),
        # Each layer needs a config of its own: torchtitan edits them in place.
        layers=[dataclasses.replace(layer, attention=dataclasses.replace(layer.attention)) for _ in range(a.layers)],
    )


def _norm(size: int, a: Architecture) -> Any:
    return RMSNorm.Config(normalized_shape=size, eps=a.norm_eps, param_init={"weight": nn.init.ones_})


def _rope(a: Architecture, family: _Family) -> Any:
    config = family.rope.Config(dim=a.head_dim, max_seq_len=a.max_positions, theta=a.rope.theta)
    scaling = a.rope.scaling
    if scaling is None:
        return config
    return dataclasses.replace(
        config,
        scaling="llama",
        scaling_factor=scaling["factor"],
        low_freq_factor=scaling["low_freq_factor"],
        high_freq_factor=scaling["high_freq_factor"],
        original_max_position_embeddings=int(scaling["original_max_position_embeddings"]),
    )


def _summing_on_cpu(parallelize: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """`parallelize` with FSDP2's gradient reduction as a plain sum on the CPU: gloo has no scaled one."""

    def parallelize_and_sum(model: nn.Module, **options: Any) -> nn.Module:
        model = parallelize(model, **options)
        if DEVICE == "cpu":
            for module in model.modules():
                if isinstance(module, FSDPModule):
                    module.set_force_sum_reduction_for_comms(True)
        return model

    return parallelize_and_sum
