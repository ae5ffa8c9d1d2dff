"""Keys of LoRA and DoRA (train/lora.py)."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.section import Section

Module = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""Projections of a layer by their Hugging Face names."""


class LoraKeys(Section):
    """Adapters that learn beside frozen weights."""

    lora_rank: int = Field(0, ge=0)
    """Rank of the adapters; 0 turns LoRA off and trains all weights. 8 to 256 is usual; a higher rank learns more and
    forgets more (arXiv 2405.09673). With it the base's weights stand still: only adapters and the embedding rows of new
    tokens are trained."""
    lora_alpha: float = Field(0.0, ge=0)
    """Adapters are scaled by lora_alpha / lora_rank; 0 takes twice the rank (arXiv 2405.09673)."""
    lora_modules: list[Module] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    """Projections that get adapters."""
    dora: bool = False
    """DoRA: also train the length of each row of an adapted weight (arXiv 2402.09353). Needs lora_rank; takes a copy of
    one weight at a time as memory, and one more product per adapted weight and pass as time."""

    @model_validator(mode="after")
    def _adapt_something(self) -> "LoraKeys":
        if self.lora_rank and not self.lora_modules:
            raise ValueError(
                "lora_modules: is empty, so LoRA would train nothing. Name some projections, e.g. [q_proj, v_proj], or "
                "set lora_rank: 0"
            )
        if self.dora and not self.lora_rank:
            raise ValueError("dora: works on the adapters of LoRA, but lora_rank is 0. Set lora_rank, e.g. 16")
        return self

    @property
    def lora_scale(self) -> float:
        """What the product of the two adapter matrices is multiplied with."""
        return (self.lora_alpha or 2.0 * self.lora_rank) / self.lora_rank
