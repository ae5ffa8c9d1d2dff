"""Keys of the `mix:` section."""

from pydantic import Field

from pipelines.section import Section


class MixConfig(Section):
    """Packing and the mixture of the two pools."""

    seq_len: int = Field(512, ge=8)
    """Tokens per sequence (row of a shard)."""
    domain: float = Field(0.8, ge=0, le=1)
    """Share of rows from the domain pool, in every global batch."""
    replay: float = Field(0.2, ge=0, le=1)
    """Share of rows from the replay pool; domain + replay must be 1."""
    max_epochs: float = Field(4.0, gt=0)
    """Most times any source may be repeated within the training budget (arXiv 2305.16264 finds 4 safe)."""
    seed: int = 0
    """Seed of the order of rows; packing does not depend on it."""
