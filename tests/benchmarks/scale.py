"""How cost and memory grow with the corpus, and what 1B documents and 1T tokens would take on many nodes.

    python tests/benchmarks/scale.py [--megabytes 8.5] [--documents 1e6 1e7 1e8] [--nodes 100 --cores 64 --memory 256]
    python tests/benchmarks/scale.py --only near_keys packing     these pieces again, the others as they were measured
    python tests/benchmarks/scale.py --only                       the tables from what is measured

Real text: `--megabytes` of it, 4 times and 16 times as much (8.5: 16 times is all of ../shared/data), evenly over its
documents, through curate.run's passes with pipelines/clinical.yaml, then encoded with GPT-2's ids and packed. Synthetic
documents: signatures (near_dedup's, from 32 made words), exact_keys and near_keys (both stages' decisions, from made
hashes and signatures, one copy in 20), packing and plan (log-normal lengths, 903 tokens on average, rows of 4096).

Each piece is a process of its own with one thread. Seconds are of its processor time, without making the input. Bytes
a document are what the peak of memory grows by, from the next smaller size. Exponent: the slope of log cost over log
size, of all sizes: 1 is in proportion. near_keys goes to 1e7 documents, in the blocks of 4 GB that are the default and
in blocks of .4 GB, which are as many as 1e8 documents have by default: at 1e8 it would write 50 GB.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pipeline import DATA
from scale_projection import show
from timing import RESULTS, report

TIMES = (1, 4, 16)
NEAR_MOST = 10_000_000
"""Documents of near_keys."""
NEAR_MEMORY = (4000, 400)
"""near_dedup's memory_mb; the second at the largest size only."""
NAMES = ("real", "signatures", "exact_keys", "near_keys", "packing", "plan")
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
Figures = dict[str, float]


def main() -> None:
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES, help="pieces to measure now")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--megabytes", type=float, default=8.5, help="of real text at 1x")
    parser.add_argument("--documents", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--cores", type=int, default=64, help="of a node")
    parser.add_argument("--memory", type=float, default=256, help="GB of a node")
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.piece:
        from scale_pieces import run

        print(json.dumps(run(*json.loads(options.piece))))
        return
    found: dict[str, list[Figures]] = {name: [] for name in NAMES}
    pieces = _pieces(options)
    if pieces[0][0] == "real" and "real" in options.only:
        _call(*pieces[0])  # compiles; later processes read numba's cache
    for name, arguments in pieces:
        measured = _measured(name, arguments, again=name in options.only)
        if measured:
            found[name].append(measured)
    if found["real"]:
        report("scale_real", "real text, one thread", _real(found["real"]))
    if any(found[name] for name in NAMES[1:]):
        report("scale", "synthetic documents, one thread", _synthetic(found))
    if len(found["real"]) > 1 and all(len(runs) > 1 for runs in found.values()):
        show(found, options.nodes, options.cores, options.memory)
    else:
        print("no projection: it takes two sizes of every piece")


def _pieces(options: argparse.Namespace) -> list[tuple[str, list[Any]]]:
    """Each piece and its arguments, small ones first."""
    sizes = sorted(int(size) for size in options.documents)
    pieces: list[tuple[str, list[Any]]] = []
    if options.data.is_dir():
        pieces += [("real", [str(options.data), options.megabytes * times]) for times in TIMES]
    else:
        print(f"{options.data} is not there: no real text")
    pieces += [("signatures", [size]) for size in sizes] + [("exact_keys", [size]) for size in sizes]
    near = [size for size in sizes if size <= NEAR_MOST]
    pieces += [("near_keys", [size, NEAR_MEMORY[0]]) for size in near] + [("near_keys", [near[-1], NEAR_MEMORY[1]])]
    return pieces + [("packing", [size]) for size in sizes] + [("plan", [size]) for size in sizes]


def _measured(name: str, arguments: list[Any], again: bool) -> Figures | None:
    """What a piece came to, in a process of its own; as it stands on disk where it is not to run again."""
    key = "-".join([name, *(f"{one:g}" for one in arguments if not isinstance(one, str))])
    path = RESULTS / "scale" / f"{key}.json"
    if again:
        print(f"{key} ...", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_call(name, arguments))
    return json.loads(path.read_text()) if path.exists() else None


def _call(name: str, arguments: list[Any]) -> str:
    """The last line that the piece prints."""
    command = [sys.executable, __file__, "--piece", json.dumps([name, arguments])]
    done = subprocess.run(command, env=os.environ | dict.fromkeys(THREADS, "1"), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name} {arguments} failed with exit status {done.returncode}")
    return done.stdout.strip().splitlines()[-1]


def _real(runs: list[Figures]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        mixed = run["encode s"] + run["pack s"]
        rows[f"{run['text bytes'] / 1e6:.1f} MB"] = {
            "documents": run["documents"],
            "curate s": run["curate s"],
            "preparing s": run["preparing s"],
            "encode, pack s": mixed,
            "ms/document": 1e3 * (run["curate s"] + mixed) / run["documents"],
            "us/token": 1e6 * (run["curate s"] + mixed) / run["tokens"],
            "peak MB": run["peak"] / 1e6,
            "bytes/document": _growth(runs, run),
        }
    rows["exponent"] = {
        "curate s": exponent(runs, "curate s"),
        "preparing s": exponent(runs, "preparing s"),
        "encode, pack s": exponent([run | {"both": run["encode s"] + run["pack s"]} for run in runs], "both"),
    }
    return rows


def _synthetic(found: dict[str, list[Figures]]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name in NAMES[1:]:
        runs = [run for run in found[name] if run.get("memory_mb") != NEAR_MEMORY[1]]
        for run in found[name]:
            own = run in runs
            label = f"{name}, {run['documents']:.0e}" + ("" if own else f", memory_mb {NEAR_MEMORY[1]}")
            rows[label] = {
                "seconds": run["seconds"],
                "us/document": 1e6 * run["seconds"] / run["documents"],
                "ns/token": 1e9 * run["seconds"] / run["tokens"] if "tokens" in run else None,
                "exponent": exponent(runs, "seconds") if run is runs[-1] else None,
                "peak MB": run["peak"] / 1e6,
                "bytes/document": _growth(runs, run) if own else None,
            }
    return rows


def exponent(runs: list[Figures], key: str) -> float | None:
    """The slope of the logarithm of a cost over that of documents; None where there is one size only."""
    if len(runs) < 2:
        return None
    logs = np.log([[run["documents"], run[key]] for run in runs])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def _growth(runs: list[Figures], run: Figures) -> float | None:
    """Bytes of peak memory that a document more took, since the next smaller size."""
    at = runs.index(run)
    before = runs[at - 1]
    return (run["peak"] - before["peak"]) / (run["documents"] - before["documents"]) if at else None


if __name__ == "__main__":
    main()
