"""Keys of methods."""

from pipelines.section import Section


class MethodKeys(Section):
    """None yet."""
