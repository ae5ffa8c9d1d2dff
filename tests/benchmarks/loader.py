"""Loading batches of 8 x 4096 tokens, one process, page cache warm, 80/20: million tokens a second.

    python tests/benchmarks/loader.py [--seconds 1] [--rounds 5] [--only NAME]

Everyone reads the same packed rows: ours from its shards, each peer from its own format, in an environment of its own,
converted outside the time. A peer that keeps no documents' bounds derives positions and labels in numpy from an
end-of-document id while it collates.
All give int64 tensors: ours tokens alone from Loader.tokens, all three through train's MixtureLoader with its thread.
The peers' processes and ours take turns.

The limit is what numpy needs to write int64 arrays from uint16: one array for tokens only, three with labels and
positions, each fresh, read from front to back.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import peers
import torch
from timing import report

from curate.files import write_json
from mix.loader import Loader
from mix.pack import pack
from mix.plan import Plan, Pool, ShardFile, Source
from mix.shards import Header, read_shard, write_shards
from train.data import MixtureLoader

SEQ_LEN, BATCH, VOCABULARY, END = 4096, 8, 50_000, 0
POOLS = {"domain": (Fraction(4, 5), 4000), "replay": (Fraction(1, 5), 1000)}
"""Share and rows."""
TORCH = "torch==2.13.0"
PEERS = {
    "grain, memory map": ("grain", ("grain==0.2.18",), ("memory_map", "0")),
    "grain, memory map, 16 threads": ("grain", ("grain==0.2.18",), ("memory_map", "16")),
    "grain, ArrayRecord": ("grain", ("grain==0.2.18",), ("array_record", "0")),
    "litdata": ("litdata", ("litdata==0.2.76",), ()),
    "MosaicML streaming": ("streaming", ("mosaicml-streaming==0.13.0",), ()),
    "datasets, map-style": ("datasets", ("datasets==4.7.0",), ("map",)),
    "datasets, iterable": ("datasets", ("datasets==4.7.0",), ("iterable",)),
    "torchtitan interleaved": ("torchtitan", ("torchtitan==0.3.0", "torchdata==0.11.0"), ()),
}
"""Name -> environment and script, its requirements beside torch, arguments."""

OURS, LIMIT = "palimpsest", "limit: fresh int64 from uint16"
TOKENS, FULL = "tokens", "all three"
Contender = Callable[[], float]
"""Measures once; seconds a batch."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for how long each is measured, in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="peers whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        contenders = ours(Path(name), options.seconds) | limits(Path(name), options.seconds)
        for peer in PEERS:
            if options.only in peer:
                contenders |= peer_contenders(peer, Path(name), options.seconds)
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in contenders}
        for turn in range(options.rounds + 1):
            for key, contender in contenders.items():
                taken = contender()
                if turn:  # the first one compiles, converts and warms the page cache
                    seconds[key].append(taken)
    speeds = {key: BATCH * SEQ_LEN / median(taken) / 1e6 for key, taken in seconds.items()}
    title = f"{BATCH} x {SEQ_LEN} tokens a batch, 0.8 / 0.2, medians of {options.rounds}: Mtok/s, "
    report("loader", title + "tokens only, and all three (with positions and labels)", table(speeds))


def table(speeds: dict[tuple[str, str], float]) -> dict[str, dict[str, Any]]:
    """A row a contender: its speeds, and how often they go into ours and into the limit."""
    rows: dict[str, dict[str, Any]] = {}
    for (name, what), speed in speeds.items():
        row = rows.setdefault(name, {})
        row[what] = speed
        row[f"{what}: ours/it"] = speeds[OURS, what] / speed
        row[f"{what}: it/limit"] = speed / speeds[LIMIT, what]
    return rows


def write(folder: Path) -> Plan:
    """A run with documents of 100 to 900 tokens; the same rows as FOLDER/<pool>.npy for the peers."""
    pools = []
    for name, (share, rows) in POOLS.items():
        rng = np.random.default_rng(len(name))
        lengths = rng.integers(100, 900, rows * SEQ_LEN // 500)
        ids = rng.integers(1, VOCABULARY, int(lengths.sum()), np.uint16)
        ids[np.cumsum(lengths) - 1] = END
        header = Header("made", VOCABULARY, SEQ_LEN, name, "made")
        written = write_shards(folder / "packed" / name, header, pack(lengths, SEQ_LEN), ids, lengths, END)
        shards = tuple(ShardFile(f"{name}/{path.name}", size, "made") for path, size in written)
        packed = np.concatenate([read_shard(path).tokens for path, _ in written])
        np.save(folder / f"{name}.npy", packed)
        pools.append(Pool(name, share, (Source("made", len(packed), len(ids), len(lengths), 0, shards),)))
    plan = Plan(0, SEQ_LEN, "made", VOCABULARY, tuple(pools))
    write_json(folder / "mixture.json", {"plan": plan.to_json(), "identity": plan.identity})
    return plan


def ours(folder: Path, seconds: float) -> dict[tuple[str, str], Contender]:
    """What train takes, its parts without the thread, and what a narrower type would give."""
    trained = MixtureLoader.Config(run=str(folder), global_batch=BATCH)
    plan = write(folder)
    loader = Loader(plan, folder / "packed", BATCH)
    narrow = Loader(plan, folder / "packed", BATCH, empty=lambda shape: np.empty(shape, np.int32))

    def batches() -> Iterator[Any]:
        return iter(trained.build(dp_world_size=1, dp_rank=0, local_batch_size=BATCH))

    def tokens() -> Iterator[Any]:
        return (torch.from_numpy(loader.tokens(BATCH * step, BATCH)) for step in count())

    def full(one: Loader) -> Iterator[Any]:
        return (one.batch(BATCH * step, BATCH) for step in count())

    return {
        (OURS, TOKENS): lambda: clock(tokens(), seconds),
        (OURS, FULL): lambda: clock(batches(), seconds),
        ("palimpsest without the thread", FULL): lambda: clock(full(loader), seconds),
        ("the same into int32", FULL): lambda: clock(full(narrow), seconds),
    }


def limits(folder: Path, seconds: float) -> dict[tuple[str, str], Contender]:
    """Tokens widened from front to back into one or three fresh arrays a batch."""
    rows = np.load(folder / "domain.npy")
    tokens = rows[: len(rows) // BATCH * BATCH].reshape(-1, BATCH * SEQ_LEN)

    def widened(arrays: int) -> Iterator[Any]:
        for step in count():
            batch = tokens[step % len(tokens)]
            for _ in range(arrays):
                np.copyto(torch.empty(BATCH * SEQ_LEN, dtype=torch.int64).numpy(), batch)
            yield None

    return {
        (LIMIT, what): lambda arrays=arrays: clock(widened(arrays), seconds)  # type: ignore[misc]
        for what, arrays in ((TOKENS, 1), (FULL, 3))
    }


def peer_contenders(name: str, folder: Path, seconds: float) -> dict[tuple[str, str], Contender]:
    """A peer's two measurements; none, and a line that says why, where its environment cannot be made."""
    environment, requirements, arguments = PEERS[name]
    try:
        interpreter = peers.python(environment, *requirements, TORCH)
    except subprocess.CalledProcessError as error:
        print(f"{name}: left out, its environment cannot be made: {error}", file=sys.stderr)
        return {}
    script = Path(__file__).parent / "peers" / f"loader_{environment}.py"
    command = [interpreter, script, folder, str(seconds), *arguments]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ask(name, peer, TOKENS)  # converted by now: the next peer may read the same files
    return {(name, what): partial(ask, name, peer, what) for what in (TOKENS, FULL)}


def ask(name: str, peer: subprocess.Popen[str], what: str) -> float:
    """Seconds a batch that a running peer measures now."""
    assert peer.stdin and peer.stdout and peer.stderr
    with suppress(BrokenPipeError):
        print("tokens" if what == TOKENS else "full", file=peer.stdin, flush=True)
    for line in peer.stdout:
        if line.startswith("{"):
            return float(json.loads(line)["seconds"])
    sys.exit(f"{name} failed:\n{peer.stderr.read()}")


def clock(batches: Iterable[Any], seconds: float) -> float:
    """Seconds a batch, after the first three, over as many as fit into `seconds`."""
    stream = iter(batches)
    for _ in range(3):
        next(stream)
    done, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        next(stream)
        done += 1
    return taken / done


if __name__ == "__main__":
    main()
