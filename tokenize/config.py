"""Keys of the `tokenizer:` section."""

from typing import Literal

from pydantic import Field

from pipelines.section import Section


class TokenizerConfig(Section):
    """What becomes of the base model's tokenizer."""

    extend: Literal["auto", "always", "never"] = "auto"
    """Add tokens learned on the domain: always, never, or where the three rules below all hold (auto)."""
    new_tokens: int = Field(500, ge=0)
    """Tokens to add when extending; fewer are added where the text offers fewer."""
    min_fertility: float = Field(2.0, ge=0)
    """auto: extend only above this many tokens per domain word; 0 turns the rule off."""
    min_heavily_split: float = Field(0.05, ge=0, le=1)
    """auto: extend only where more than this share of domain words takes 4 tokens or more; 0 turns it off."""
    min_domain_tokens: int = Field(1_000_000_000, ge=0)
    """auto: extend only with this many domain tokens to train the new rows on; 0 turns it off."""
    max_general_share: float = Field(0.01, ge=0, le=1)
    """Most that new tokens may cover of replay tokens together; those used less on domain than on replay text are
    not added at all; 1 turns both off."""
    min_count: int = Field(20, ge=1)
    """Times a new token must stand in the domain text; 1 turns the rule off."""
    train: int = Field(0, ge=0)
    """Train a byte-level BPE tokenizer of this many tokens from scratch on the kept documents; 0 keeps the model's."""
    new_rows: Literal["mean", "last", "first", "focus"] = "mean"
    """What the embedding row of a new token is made of: the mean of its parents' rows, the row of its last or first
    base token, or rows of tokens used alike in the domain documents (focus: about a minute more)."""
