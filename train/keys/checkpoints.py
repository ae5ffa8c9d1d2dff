"""Keys of checkpoints (train/checkpoints.py)."""

from pydantic import Field

from pipelines.section import Section


class CheckpointKeys(Section):
    """How often and how many."""

    checkpoint_every: int = Field(100, ge=1)
    """Steps between checkpoints; one is always written after the last step."""
    keep_checkpoints: int = Field(2, ge=2)
    """Checkpoints kept, the newest ones."""
