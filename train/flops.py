"""How much arithmetic training takes: the rule of thumb, the figure utilisation is published in, and a count.

A multiplication and an addition are two operations (FLOP). Only matrix products are counted; normalisation, rotary
embedding and softmax are below 1 % of a model that fills a GPU.
"""

from dataclasses import dataclass

from train.architecture import Architecture


@dataclass(frozen=True)
class Flops:
    """Operations per trained token, by part of the model."""

    projections: float
    """Queries, keys, values and the attention's output, forward."""
    attention: float
    """Queries by keys and weights by values, forward."""
    feed_forward: float
    """Forward."""
    head: float
    """Logits, forward. The input embedding is a look-up and costs nothing."""
    backward: float
    """Gradients of all parts: each product of the forward pass takes one for its input and one for its weight."""
    recomputed: float
    """Forward products done again in the backward pass for lack of memory."""

    @property
    def forward(self) -> float:
        """Operations of the forward pass."""
        return self.projections + self.attention + self.feed_forward + self.head

    @property
    def model(self) -> float:
        """Forward and backward, without what is done twice."""
        return self.forward + self.backward


def count(a: Architecture, seq_len: int, checkpointing: str = "none", lora_rank: int = 0) -> Flops:
    """Matrix products of one token in rows of `seq_len`, attention causal over the whole row.

    A packed row of several documents takes less attention than this. With `lora_rank` above 0 the base's weights get no
    gradient, so its products have one backward product instead of two; attention has no weights and keeps both.
    `checkpointing`: none, selective (every second projection again, as torchtitan chooses them) or full.
    """
    seen = (seq_len + 1) / 2
    projections = 2 * a.layers * a.dim * a.head_dim * (2 * a.heads + 2 * a.kv_heads)
    attention = a.layers * 4 * a.heads * a.head_dim * seen
    feed_forward = 2 * a.layers * 3 * a.dim * a.hidden
    head = 2 * a.vocab * a.dim
    adapters = 2 * lora_parameters(a, lora_rank)
    weights = projections + feed_forward + head
    backward = 2 * attention + (weights + 3 * adapters if lora_rank else 2 * weights)
    recomputed = {
        "none": 0.0,
        "selective": 2.0 * a.layers * a.dim * (a.heads * a.head_dim + a.hidden),
        "full": float(projections + attention + feed_forward),
    }
    return Flops(projections, attention, feed_forward, head, backward, recomputed[checkpointing])


def rule_of_thumb(parameters: float, tokens: float) -> float:
    """6ND (Kaplan et al. 2020, arXiv 2001.08361): 2 forward and 4 backward per parameter and token."""
    return 6 * parameters * tokens


def of_utilisation(a: Architecture, seq_len: int) -> float:
    """Operations per token as published utilisation counts them (arXiv 2204.02311, appendix B).

    Every parameter, the embedding's too, and attention as if each token saw the whole row.
    """
    return 6 * a.parameters + 12 * a.layers * a.heads * a.head_dim * seq_len


def lora_parameters(a: Architecture, rank: int) -> int:
    """Parameters of adapters of this rank on every projection of attention and feed-forward; 0 for rank 0."""
    queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
    attention = (a.dim + queries) + 2 * (a.dim + keys) + (queries + a.dim)
    return a.layers * rank * (attention + 3 * (a.dim + a.hidden))
