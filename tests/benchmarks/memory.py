"""Peak memory and MB/s of the clinical curation on the real text once and ten times over.

    python tests/benchmarks/memory.py [--times 1 10] [--data ../shared/data]

The further copies are new documents: their sentences come from different documents of the same source, so that no
stage finds them repeated. Memory is what all processes of the run hold together (Pss), looked at four times a second.
"""

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from timing import report

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"
STRIDE = 7919


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    rows: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as name:
        for times in options.times:
            folder = Path(name) / str(times)
            size = corpus(options.data, folder / "data", times)
            (folder / "data" / "bench").symlink_to((options.data / "bench").resolve())
            seconds, peak, largest = measured(folder)
            rows[f"{times} x"] = {
                "MB of text": size / 1e6,
                "seconds": seconds,
                "MB/s": size / 1e6 / seconds,
                "peak MB, all processes": peak / 1e6,
                "largest process": largest / 1e6,
            }
    report("memory", "curate.run pipelines/clinical.yaml, two workers", rows)


def corpus(data: Path, target: Path, times: int) -> int:
    """Write each source `times` times over; returns bytes of text."""
    size = 0
    for file in sorted([*data.glob("domain/*.jsonl.gz"), *data.glob("general/*.jsonl.gz")]):
        texts = [json.loads(line)["text"] for line in gzip.open(file)]
        path = target / file.parent.name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", compresslevel=1) as out:
            for number, text in enumerate(copies(texts, times)):
                out.write(json.dumps({"id": str(number), "text": text}) + "\n")
                size += len(text.encode())
    return size


def copies(texts: list[str], times: int) -> Iterator[str]:
    """The texts, then `times` - 1 times as many of the same lengths, each sentence from another document."""
    yield from texts
    sentences = [re.split(r"(?<=[.!?])\s+", text) for text in texts]
    for copy in range(1, times):
        for number, own in enumerate(sentences):
            others = (sentences[(number + copy * STRIDE * (place + 1)) % len(texts)] for place in range(len(own)))
            yield " ".join(other[(place + copy) % len(other)] for place, other in enumerate(others))


def measured(folder: Path) -> tuple[float, int, int]:
    """Seconds, peak bytes of all processes together and of the largest, of one curation."""
    overrides = f"--data-root={folder / 'data'}", f"--output={folder / 'run'}", "--tokenizer.extend=never"
    command = [sys.executable, "-m", "curate.run", str(REPO / "pipelines" / "clinical.yaml"), *overrides]
    started = time.monotonic()
    running = subprocess.Popen(command, cwd=REPO, start_new_session=True, stdout=sys.stderr)
    peak = largest = 0
    while running.poll() is None:
        held = [proportional(process) for process in members(running.pid)]
        peak, largest = max(peak, sum(held)), max(largest, *held, 0)
        time.sleep(0.25)
    if running.returncode:
        sys.exit("the curation failed")
    return time.monotonic() - started, peak, largest


def members(session: int) -> list[Path]:
    """Folders under /proc of the processes in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(folder)
    return found


def proportional(process: Path) -> int:
    """Bytes a process holds, shared pages divided among their holders; 0 once it has ended."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
