"""The command `python -m curate.sample`."""

import argparse
from pathlib import Path

from curate.sample.make import make_sample


def main() -> None:
    """Read the command line and write the sample."""
    parser = argparse.ArgumentParser(
        prog="python -m curate.sample",
        description="Write the sample: clinical and general text, benchmark items, and truth.jsonl on what is planted.",
    )
    parser.add_argument("--output", type=Path, default=Path("sample"), metavar="DIR", help="folder (default sample)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed gives other text (default 0)")
    options = parser.parse_args()
    make_sample(options.output, options.seed)
    for path in sorted(options.output.rglob("*.jsonl*")):
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
