"""Keys of parallelism."""

from pipelines.section import Section


class ParallelismKeys(Section):
    """None yet."""
