"""The clinical pipeline on the repo's sample through its two commands, and what a run promises, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

from curate.files import read_json
from tests.conftest import REPO

FOLDERS = ("documents", "held_out", "removed", "edited", "tokenizer", "packed")
PIPELINE = "pipelines/clinical.yaml"
LOCAL = "{kind: local, workers: 2}"


def start(folder: Path, engine: str) -> subprocess.Popen[str]:
    """curate.run with the executor `engine` (YAML)."""
    return _command(["curate.run", PIPELINE, "--output", str(folder), "--executor", engine])


def finish(curation: subprocess.Popen[str], folder: Path, engine: str) -> dict[str, bytes]:
    """Wait for curation and pack its documents with the same executor; returns the bytes promised."""
    _wait(curation)
    _wait(_command(["mix.build", str(folder), "--executor", engine]))
    return promised(folder)


def promised(folder: Path) -> dict[str, bytes]:
    """Every file of a run that may not depend on how it was made, by its path; of the manifest all but the seconds."""
    files = [path for name in FOLDERS for path in sorted((folder / name).rglob("*")) if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in [*files, folder / "mixture.json"]}
    manifest = read_json(folder / "manifest.json")
    for stage in manifest["stages"]:
        del stage["seconds"]
    return found | {"manifest.json": repr(manifest).encode()}


def _command(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(
        command, cwd=REPO, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _wait(command: subprocess.Popen[str]) -> None:
    try:
        said, _ = command.communicate(timeout=500)
    finally:
        command.kill()
    assert command.returncode == 0, said[-3000:]
