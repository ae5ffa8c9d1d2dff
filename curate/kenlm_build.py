"""Builds KenLM's programs into the virtual environment: `python -m curate.kenlm_build`.

The kenlm package holds the Python module only; `lmplz` (trains a model) and `build_binary` (makes it fast to load) lie
as C++ source in its sdist. They need a C++ compiler and Boost; Boost's libraries are linked in, so that the programs
run without it, and the readers of compressed text are left out: we send plain text. 100 CPU seconds, once.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

BIN = Path(sys.prefix) / "bin"
PROGRAMS = ("lmplz", "build_binary")
BOOST = ("libboost-program-options-dev", "libboost-system-dev", "libboost-thread-dev", "libboost-test-dev")
INSTALL = f"a C++ compiler, make and Boost (on Debian and Ubuntu: apt-get install g++ make {' '.join(BOOST)})"
MISSING = (
    f"{BIN / 'lmplz'}: KenLM's trainer is not there, so no perplexity model can be trained. "
    f"Install {INSTALL}, then run `python -m curate.kenlm_build`."
)


def build(work: Path) -> None:
    """Build PROGRAMS in the folder `work` and put them into BIN. Raises ValueError saying what to install."""
    source = _sdist(work)
    log = work / "build.log"
    if not _compile(source, work / "build", log, {}):
        boost = _boost(work / "boost")
        if not _compile(source, work / "build-again", log, boost):
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ValueError(f"KenLM does not build here; the end of the compiler's log:\n{tail}\n{MISSING}")
    for program in PROGRAMS:
        built = max(work.glob(f"build*/bin/{program}"))
        shutil.copy2(built, BIN / f".{program}.tmp")
        os.replace(BIN / f".{program}.tmp", BIN / program)


def _sdist(work: Path) -> Path:
    """The unpacked source of the kenlm version that is installed."""
    wanted = f"kenlm=={version('kenlm')}"
    # --no-binary for kenlm alone: with :all: pip would compile CMake from source to read kenlm's metadata.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "kenlm"]
    if subprocess.run([*pip, "--dest", str(work), wanted]).returncode != 0:
        raise ValueError(f"{wanted}: pip could not download its source. Check pip's settings and the network.")
    with tarfile.open(next(work.glob("kenlm-*.tar.gz"))) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(work, filter="data")
        else:  # Python 3.11.0 to 3.11.3
            archive.extractall(work)
    return next(path for path in work.glob("kenlm-*") if path.is_dir())


def _compile(source: Path, folder: Path, log: Path, variables: dict[str, str]) -> bool:
    """Run CMake on `source` into `folder` with extra CMake `variables`; False where it fails (see `log`)."""
    cmake = str(BIN / "cmake") if (BIN / "cmake").exists() else "cmake"
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_POLICY_VERSION_MINIMUM": "3.5",
        "ENABLE_INTERPOLATE": "OFF",
        "Boost_USE_STATIC_LIBS": "ON",
        **{f"CMAKE_DISABLE_FIND_PACKAGE_{name}": "ON" for name in ("ZLIB", "BZip2", "LibLZMA")},
        **variables,
    }
    configure = [cmake, "-S", str(source), "-B", str(folder), *(f"-D{key}={value}" for key, value in settings.items())]
    make = [cmake, "--build", str(folder), "--parallel", str(os.cpu_count() or 1), "--target", *PROGRAMS]
    with log.open("a") as output:
        for command in (configure, make):
            try:
                if subprocess.run(command, stdout=output, stderr=output).returncode != 0:
                    return False
            except FileNotFoundError:
                raise ValueError(f"cmake: is not there. Install it (pip install cmake). {MISSING}") from None
    return True


def _boost(folder: Path) -> dict[str, str]:
    """Get Boost from apt: installed where we are root, else unpacked into `folder`; CMake variables that find it."""
    if shutil.which("apt-get") is None:
        raise ValueError(MISSING)
    if os.geteuid() == 0:
        install = ("apt-get", "install", "--yes", "-qq", "--no-install-recommends", "g++", "make", *BOOST)
        _ = _try(*install) or (_try("apt-get", "update", "-qq") and _try(*install))
        return {}
    only_needed = [f"--no-{kind}" for kind in ("recommends", "suggests", "enhances", "replaces", "conflicts", "breaks")]
    depends = ["apt-cache", "depends", "--recurse", *only_needed, *BOOST]
    listed = subprocess.run(depends, capture_output=True, text=True).stdout
    packages = sorted({line for line in listed.splitlines() if line.startswith("libboost") and line.endswith("-dev")})
    folder.mkdir(parents=True)
    if packages and _try("apt-get", "download", *packages, folder=folder):
        for package in sorted(folder.glob("*.deb")):
            _try("dpkg", "-x", str(package), str(folder), folder=folder)
    prefix = folder / "usr"
    return {"CMAKE_PREFIX_PATH": str(prefix), "BOOST_ROOT": str(prefix)}


def _try(*command: str, folder: Path | None = None) -> bool:
    return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode == 0


def main() -> None:
    """The command: does nothing where the programs are there."""
    argparse.ArgumentParser(prog="python -m curate.kenlm_build", description=__doc__).parse_args()
    if all((BIN / program).exists() for program in PROGRAMS):
        print(f"{BIN / 'lmplz'}: is there already")
        return
    print("building KenLM's lmplz (a minute or two, once) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
    print(BIN / "lmplz")


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
