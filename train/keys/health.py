"""Keys of health."""

from pipelines.section import Section


class HealthKeys(Section):
    """None yet."""
