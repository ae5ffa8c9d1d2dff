"""Keys of the `eval:` section."""

from pydantic import Field

from pipelines.section import Section


class EvalConfig(Section):
    """Held-out text and when it is measured."""

    held_out: float = Field(0.02, ge=0, lt=1)
    """Share of each pool's documents set aside by document hash and never trained on; 0 turns evaluation off."""
    every: int = Field(50, ge=1)
    """Steps between evaluations during training; step 0 and the last step are always measured."""
    documents: int = Field(100, ge=1)
    """Held-out documents per pool measured during training; eval.run measures all of them."""
    characters: int = Field(2000, ge=0)
    """Characters of each of these measured during training, from its beginning; 0 takes whole documents."""
