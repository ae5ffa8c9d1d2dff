"""The API docs: `make docs` has a page for every module, and everything public says what it is."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).parents[1]
PACKAGES = ("curate", "eval", "mix", "pipelines", "tokenization", "train")


def modules() -> list[str]:
    """Names of all packages and modules, found on disk by the packages' own paths."""
    found = []
    for package in PACKAGES:
        paths = importlib.import_module(package).__path__
        found += [package, *(one.name for one in pkgutil.walk_packages(paths, f"{package}."))]
    return found


def undocumented(module: ModuleType) -> Iterator[str]:
    """Names of the public classes, functions, methods and properties without a docstring, own or inherited."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__ or not callable(value):
            continue
        if not inspect.getdoc(value):
            yield f"{module.__name__}.{name}"
        for part, held in vars(value).items() if inspect.isclass(value) else ():
            # torch puts a step of its own into the classes of optimizers that were made
            own = inspect.isfunction(held) and held.__module__ == module.__name__
            plain = own or isinstance(held, property | classmethod | staticmethod)
            if not part.startswith("_") and plain and not inspect.getdoc(getattr(value, part, held) or held):
                yield f"{module.__name__}.{name}.{part}"


def test_everything_public_has_a_docstring() -> None:
    assert not [name for module in modules() for name in undocumented(importlib.import_module(module))]


def test_what_has_no_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("made")
    monkeypatch.setitem(sys.modules, "made", module)  # inherited ones are looked for there
    code = """
class Told:
    "Says so."
    def method(self): "Says so."
    @property
    def size(self): "Says so."
class Derived(Told):
    "Says so."
    def method(self): pass
    def other(self): pass
    @property
    def length(self): pass
def function(): pass
def _private(): pass
"""
    exec(code, vars(module))
    assert list(undocumented(module)) == ["made.Derived.other", "made.Derived.length", "made.function"]


@pytest.mark.skipif(not importlib.util.find_spec("pdoc"), reason="pdoc is not installed (palimpsest[dev])")
def test_every_module_has_a_page(tmp_path: Path) -> None:
    recipe = subprocess.run(["make", "--dry-run", "docs"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    [command] = re.findall(r"^pdoc (.*)$", recipe.replace("\\\n", " "), re.MULTILINE)
    arguments = [str(tmp_path) if one == "build/docs" else one for one in shlex.split(command)]
    done = subprocess.run([sys.executable, "-m", "pdoc", *arguments], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {".".join(path.relative_to(tmp_path).with_suffix("").parts) for path in tmp_path.rglob("*.html")}
    public = {name for name in modules() if not name.startswith("curate.sample.")}  # its __all__ leaves them out
    assert pages - {"index"} == public
    assert "best-fit-decreasing in windows" in (tmp_path / "mix" / "pack.html").read_text(encoding="utf-8")
