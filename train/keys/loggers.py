"""Keys of loggers."""

from pipelines.section import Section


class LoggerKeys(Section):
    """None yet."""
