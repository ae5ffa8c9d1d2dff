"""The import name of tokenize/: a package called tokenize would shadow the standard library's."""

from pathlib import Path

__path__ = [str(Path(__file__).with_name("tokenize"))]
