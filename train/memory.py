"""Memory of training per GPU, part by part, for a parallel layout.

States are exact: bytes per parameter over the GPUs that share them. Activations are what autograd keeps, counted on the
model's own operations (a test holds the count against what the real model keeps). Buffers are what FSDP2 gathers and
reduces. Not counted: CUDA's context, NCCL's buffers, fragmentation; `ROOM` is left for them.

Four of torchtitan's published figures (8B and 70B, FSDP with and without tensor parallelism, 8 to 256 H100s) are met to
10 %; its 405B with pipeline stages took 47 % more than counted here, so measure before relying on pipeline stages.
"""

from dataclasses import dataclass, replace

from train.architecture import Architecture
from train.flops import lora_parameters

ROOM = 0.1
"""Share of a GPU's memory left free for what is not counted."""
CHECKPOINTING = ("none", "selective", "full")
"""Activations kept: all; those of attention and every second product; each layer's input."""


@dataclass(frozen=True)
class States:
    """Bytes that a parameter takes for as long as training lasts."""

    weights: int
    gradients: int
    moments: int
    about: str

    @property
    def total(self) -> int:
        """Bytes per trained parameter."""
        return self.weights + self.gradients + self.moments


STATES = {
    "fp32": States(4, 4, 8, "fp32 weights 4 + fp32 gradients 4 + AdamW moments 8 = 16 bytes (this trainer)"),
    "bf16": States(2, 2, 8, "bf16 weights 2 + bf16 gradients 2 + fp32 AdamW moments 8 = 12 bytes, no fp32 weights"),
}
"""fp32 is what the trainer keeps (FSDP2 mixed precision); bf16 what published worked examples count with."""


@dataclass(frozen=True)
class Layout:
    """How a model is spread over GPUs."""

    shards: int = 1
    """FSDP2: GPUs that share the states of a part of the model."""
    replicas: int = 1
    """HSDP: groups of such GPUs that each hold all of them."""
    tensor: int = 1
    pipeline: int = 1
    context: int = 1

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.shards * self.replicas * self.tensor * self.pipeline * self.context

    @property
    def sharing(self) -> int:
        """GPUs over which one copy of the states lies; FSDP shares over the context-parallel ones too."""
        return self.shards * self.tensor * self.pipeline * self.context

    @property
    def rows(self) -> int:
        """GPUs that work on rows of their own."""
        return self.shards * self.replicas

    def __str__(self) -> str:
        parts = [("HSDP", self.replicas), ("FSDP", self.shards), ("TP", self.tensor), ("PP", self.pipeline)]
        parts.append(("CP", self.context))
        return " x ".join(f"{name} {size}" for name, size in parts if size > 1) or "one GPU"


@dataclass(frozen=True)
class Work:
    """What a GPU does at a time, and how."""

    seq_len: int
    batch: int = 1
    """Rows per forward pass (train.local_batch)."""
    element: int = 2
    """Bytes of a number in forward and backward: 2 for bfloat16, 4 for float32."""
    checkpointing: str = "none"
    states: str = "fp32"
    lora_rank: int = 0
    """Rank of LoRA adapters; 0 trains all weights."""
    chunks: int = 8
    """Pieces of a row whose logits are there one at a time (train/loss.py)."""
    logit_bytes: int = 10
    """Bytes per logit of a piece: logits in bf16 and fp32, and probabilities (train/loss.py)."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest GPU."""

    weights: float
    optimizer: float
    gradients: float
    activations: float
    buffers: float

    @property
    def total(self) -> float:
        """Everything counted."""
        return self.worked_example + self.buffers

    @property
    def worked_example(self) -> float:
        """The four parts that published worked examples add up: all but FSDP's buffers."""
        return self.weights + self.optimizer + self.gradients + self.activations


def per_gpu(a: Architecture, layout: Layout, work: Work) -> Memory:
    """Memory of the fullest GPU of a layout.

    With pipeline stages that is the first: it holds the activations of as many microbatches of one row as there are
    stages (1F1B, Narayanan et al. 2021, arXiv 2104.04473) and the input embedding.
    """
    states = STATES[work.states]
    stage_layers = -(-a.layers // layout.pipeline)
    layer = _layer_parameters(a)
    embeddings = a.vocab * a.dim * (1 if a.tied or layout.pipeline > 1 else 2)
    held = (stage_layers * layer + embeddings + a.dim) / (layout.shards * layout.tensor * layout.context)
    adapters = lora_parameters(a, work.lora_rank) / layout.sharing
    trained = adapters if work.lora_rank else held
    return Memory(
        weights=states.weights * (held + adapters),
        optimizer=states.moments * trained,
        gradients=states.gradients * trained,
        activations=activations(a, layout, work),
        buffers=_buffers(a, layout, work, stage_layers, layer),
    )


def unsharded(a: Architecture, layout: Layout, work: Work) -> Memory:
    """The whole of it: states once and the activations of all rows of a layout, as if one device held them."""
    one = per_gpu(a, Layout(), work)
    return replace(one, activations=layout.rows * one.activations, buffers=0.0)


def activations(a: Architecture, layout: Layout, work: Work) -> float:
    """Bytes of activations at the peak: what is kept, and the layer or the piece of logits being worked on."""
    microbatch, in_flight = (1, min(layout.pipeline, work.batch)) if layout.pipeline > 1 else (work.batch, 1)
    layers = -(-a.layers // layout.pipeline)
    kept = kept_per_layer(a, work.checkpointing, work.element, layout.tensor)
    again = 0 if work.checkpointing == "none" else kept_per_layer(a, "none", work.element, layout.tensor)
    gradients = work.element * (a.dim + 3 * a.hidden / layout.tensor)
    logits = a.vocab / work.chunks / layout.tensor * work.logit_bytes
    stream = a.dim * (2 * work.element + 4)
    tokens = microbatch * work.seq_len / layout.context
    return tokens * (in_flight * layers * kept + max(again + gradients, logits) + stream)


def kept_per_layer(a: Architecture, checkpointing: str, element: int, tensor: int = 1) -> float:
    """Bytes that a layer keeps per token for its backward pass, on one of `tensor` tensor-parallel GPUs.

    none: both normalisations' inputs and outputs, queries, keys, values (once per group of heads, as flex attention
    takes them) and their result, the feed-forward's two products, the activated gate, and the product of the two. In
    fp32 in any case: the normalisations' scales, attention's log-sum-exp, the rotary table.
    selective: the layer's input and the results of attention and of the first, third and fifth product (fused
    projection, gate, end of the feed-forward), as torchtitan chooses.
    full: the layer's input.
    Tensor parallelism divides all but the normalisations' outputs, which are gathered for the products, and the last
    product's result, which is not yet summed.
    """
    queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
    if checkpointing == "full":
        return element * a.dim / tensor
    if checkpointing == "selective":
        return element * (a.dim + (a.dim + 2 * queries + 2 * keys + a.hidden) / tensor) + 4 * a.heads / tensor
    divided = element * (2 * a.dim + 2 * queries + 2 * keys + 4 * a.hidden) + 4 * (a.heads + 2)
    rotary = 4 * a.head_dim
    if a.kind == "qwen3":
        divided += element * (queries + keys) + 4 * (a.heads + a.kv_heads)
        rotary *= 2
    return element * 2 * a.dim + divided / tensor + rotary


def _layer_parameters(a: Architecture) -> int:
    """Parameters of one layer."""
    outside = a.dim + a.vocab * a.dim * (1 if a.tied else 2)
    return (a.parameters - outside) // a.layers


def _buffers(a: Architecture, layout: Layout, work: Work, stage_layers: int, layer: int) -> float:
    """FSDP2's copies: the layer at work and the next one gathered, a gradient whole and in fp32 for the reduction; or
    the same of the output head, whichever is more.

    Pipeline stages stay gathered, and their gradients whole, from the first microbatch to the last.
    """
    gradient = 0 if work.lora_rank else work.element + 4
    if layout.pipeline > 1:
        kept = work.element + (0 if work.lora_rank else 4)
        return (stage_layers * layer + a.vocab * a.dim) * kept / layout.tensor
    layers = layer * (2 * work.element + gradient)
    head = a.vocab * a.dim * (work.element + gradient) + layer * work.element
    return max(layers, head) / layout.tensor
