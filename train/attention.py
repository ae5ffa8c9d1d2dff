"""Causal attention that stops at document boundaries.

On a GPU torchtitan's flex attention does it. It has no backward on the CPU, and neither has flash attention over
ragged documents (varlen), so there each document goes through torch's fused CPU kernel, one call a document.
A packed row of short documents is cheaper this way than a whole masked row: 2048 tokens of 52 documents take 11 ms
forward and backward on one core (4 heads of 32), 32 ms with a mask.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torchtitan.models.common.attention as titan

from train.platform import DEVICE

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class DocumentAttention(titan.VarlenAttention):
    """Attention on the CPU inside each document of a packed batch."""

    @dataclass(kw_only=True, slots=True)
    class Config(titan.VarlenAttention.Config):
        """Keys as those of varlen attention; a window is not supported."""

    def forward(
        self,
        q_BLNH: torch.Tensor,
        k_BLNH: torch.Tensor,
        v_BLNH: torch.Tensor,
        *,
        attention_masks: titan.VarlenMetadata,
        scale: float | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """q [B, L, N, H], k and v [B, L, N or fewer, H] -> [B, L, N, H]; documents from `attention_masks`."""
        groups = q_BLNH.shape[2] // k_BLNH.shape[2]
        if groups > 1:
            k_BLNH, v_BLNH = k_BLNH.repeat_interleave(groups, 2), v_BLNH.repeat_interleave(groups, 2)
        starts = attention_masks.cu_seq_q.tolist()
        flat = (tensor.flatten(0, 1) for tensor in (q_BLNH, k_BLNH, v_BLNH))
        return _PerDocument.apply(*flat, starts, scale).view(q_BLNH.shape)


class _PerDocument(torch.autograd.Function):
    """One kernel call a document, written straight into the whole: no slices for autograd to put together again."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: list[int], scale: float | None):
        """q, k, v: [T, N, H]; document i is T positions starts[i] to starts[i + 1]. Returns [T, N, H]."""
        out = torch.empty_like(q)
        normalisers = []
        for part in _parts(starts):
            result, normaliser = _forward(_heads(q[part]), _heads(k[part]), _heads(v[part]), 0.0, True, scale=scale)
            _heads(out[part]).copy_(result)
            normalisers.append(normaliser)
        ctx.save_for_backward(q, k, v, out, *normalisers)
        ctx.starts, ctx.scale = starts, scale
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor):  # type: ignore[override]
        """Gradients of q, k and v."""
        q, k, v, out, *normalisers = ctx.saved_tensors
        grads = tuple(torch.empty_like(tensor) for tensor in (q, k, v))
        for part, normaliser in zip(_parts(ctx.starts), normalisers, strict=True):
            inputs = (_heads(tensor[part]) for tensor in (gradient, q, k, v, out))
            results = _backward(*inputs, normaliser, 0.0, True, scale=ctx.scale)
            for grad, result in zip(grads, results, strict=True):
                _heads(grad[part]).copy_(result)
        return *grads, None, None


def _parts(starts: list[int]) -> list[slice]:
    return [slice(start, end) for start, end in zip(starts, starts[1:], strict=False) if start < end]


def _heads(tensor_TNH: torch.Tensor) -> torch.Tensor:
    """[T, N, H] -> [1, N, T, H], a view."""
    return tensor_TNH.transpose(0, 1).unsqueeze(0)


def back_end() -> titan.Module.Config:
    """Attention for the device at hand: flex attention runs on every GPU and in every precision."""
    return DocumentAttention.Config() if DEVICE == "cpu" else titan.FlexAttention.Config()
