"""Keys of checkpoints (train/checkpoints.py)."""

from pydantic import Field

from pipelines.section import Section
from train.checkpoint_policy import Keep


class CheckpointKeys(Section):
    """How often, how many, and where the others go."""

    checkpoint_every: int = Field(100, ge=1)
    """Steps between checkpoints; one is always written after the last step."""
    keep_checkpoints: int = Field(2, ge=2)
    """Checkpoints kept, the newest ones: where the newest is damaged, a run goes on from the one before."""
    keep_every: int = Field(0, ge=0)
    """Milestones: checkpoints of steps that are a multiple of this are kept too; 0 turns it off."""
    keep_best: dict[str, float] = {}
    """The best checkpoint (one) is kept too: that with the lowest sum of these figures of its evaluation, each times
    its weight, e.g. {general_bits_per_byte: 1} or {domain_bits_per_byte: 0.7, general_bits_per_byte: 0.3}. Only those
    of steps with an evaluation are compared, so checkpoint_every and eval.every should meet. Empty turns it off."""
    archive: str = ""
    """Folder or URL (s3://bucket/path; any of fsspec's) that checkpoints no longer kept are moved to, as
    <archive>/<name>/<run>/step-<n>. Empty removes them."""
    async_checkpoints: bool = True
    """On a GPU, write checkpoints in the background, from a copy in the host's memory that is as large as the weights
    and the optimizer's state; false waits for each. A CPU always waits."""

    @property
    def keep(self) -> Keep:
        """Which checkpoints stay."""
        return Keep(self.keep_checkpoints, self.keep_every, self.keep_best)

    def describe_checkpoints(self, background: bool) -> str:
        """How often, how many, where the others go and who waits, in words."""
        kept = [f"the last {self.keep_checkpoints}"]
        if self.keep_every:
            kept.append(f"every {self.keep_every:,} steps'")
        if self.keep_best:
            weighted = " + ".join(f"{weight:g} x {name}" for name, weight in self.keep_best.items())
            kept.append(f"that of the lowest {weighted}")
        others = f"others moved to {self.archive}" if self.archive else "others removed"
        waits = "written in the background" if background else "training waits while one is written"
        return f"every {self.checkpoint_every:,} steps; kept: {', '.join(kept)}; {others}; {waits}"
