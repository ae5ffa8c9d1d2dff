"""The whole clinical pipeline on real text against the same stages from datatrove's own blocks, two processes each.

    python tests/benchmarks/pipeline.py [--rounds 5] [--megabytes 25] [--without split spacy] [--data ../shared/data]
    python tests/benchmarks/pipeline.py --rounds 0 --megabytes 150 --without split    # all of it, once, 20 minutes

Ours is what `curate.run pipelines/clinical.yaml` does to documents: reading, every stage (KenLM trained on the way),
the ledger, the final write. datatrove's blocks are named in peers/datatrove_pipeline.py; it gets the trained KenLM and
the decontamination index for nothing. With words by spaCy, its default, and by str.split. Both start warm: numba
has compiled and imports are done; worker processes are started inside the time.
"""

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import peers
from timing import report

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"
REQUIREMENTS = (
    "datatrove[io,processing]==0.10.1",
    "xxhash==3.8.2",
    "spacy",
    "kenlm",
    "fasttext-numpy2-wheel",
    "fasteners",
    "polars",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=25, help="text to take, evenly over the documents")
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out: split, spacy")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--ours", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        ours(*options.ours)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents, size = corpus(options.data, folder / "data", options.megabytes * 1e6)
        python = peers.python("datatrove", *REQUIREMENTS)
        kept: dict[str, object] = {}
        contenders: dict[str, Callable[[], float]] = {"palimpsest": lambda: run_ours(folder, kept)}
        for words in ("split", "spacy"):
            if words not in options.without:
                contenders[f"datatrove, {words}"] = lambda words=words: run_theirs(python, folder, words, kept)  # type: ignore[misc]
        run_ours(folder, kept)  # leaves the models for datatrove
        rows: dict[str, dict[str, object]] = {
            name: {**taken} for name, taken in peers.interleaved(contenders, options.rounds).items()
        }
        for name, row in rows.items():
            slower = row["median_s"] / rows["palimpsest"]["median_s"]  # type: ignore[operator]
            row |= {"MB/s": size / 1e6 / row["median_s"], "times ours": slower, "kept": kept[name]}  # type: ignore[operator]
    report("pipeline", f"{documents:,} documents, {size / 1e6:.0f} MB, the clinical pipeline, two processes", rows)


def corpus(data: Path, target: Path, wanted: float) -> tuple[int, int]:
    """Write every k-th document of each source, so that about `wanted` bytes of text come together."""
    files = sorted([*data.glob("domain/*.jsonl.gz"), *data.glob("general/*.jsonl.gz")])
    lines = {file: gzip.open(file).read().splitlines() for file in files}
    step = max(sum(len(one) for group in lines.values() for one in group) / wanted, 1)
    documents = size = 0
    for file, group in lines.items():
        taken = [json.loads(group[int(k * step)]) for k in range(int(len(group) / step))]
        made = [json.dumps({"id": one["id"], "text": one["text"]}).encode() for one in taken]
        path = target / file.parent.name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"\n".join(made), 1))
        documents, size = documents + len(taken), size + sum(len(one["text"].encode()) for one in taken)
    shutil.copytree(data / "bench", target / "bench")
    return documents, size


def run_ours(folder: Path, kept: dict[str, object]) -> float:
    """One run from nothing in a fresh process."""
    shutil.rmtree(folder / "ours", ignore_errors=True)
    result = peers.call(sys.executable, __file__, "--ours", str(folder / "data"), str(folder / "ours"))
    kept["palimpsest"] = result["kept"]
    return float(str(result["seconds"]))


def ours(data: Path, output: Path) -> None:
    """Curate and print the seconds taken."""
    from curate.curation import resolve_curation, run_curation
    from pipelines import config

    file = REPO / "pipelines" / "clinical.yaml"
    started = time.perf_counter()
    pipeline = config.load(file, {"data_root": str(data), "output": str(output)})
    manifest = run_curation(resolve_curation(pipeline, str(file), lambda line: print(line, file=sys.stderr)))
    seconds = time.perf_counter() - started
    kept = sum(pool["documents"] for part in ("kept", "held_out") for pool in manifest[part].values())
    print(json.dumps({"seconds": seconds, "kept": kept}))


def run_theirs(python: str, folder: Path, words: str, kept: dict[str, object]) -> float:
    """One run from nothing in datatrove's own environment."""
    from curate.language import MODEL

    models, work = folder / "models", folder / "theirs"
    models.mkdir(exist_ok=True)
    shutil.copyfile(MODEL, models / "lid.176.ftz")
    [trained, *_] = sorted((folder / "ours" / "work").glob("*-perplexity/*.binary"))
    shutil.copyfile(trained, models / "kenlm.binary")
    shutil.rmtree(work, ignore_errors=True)
    script = Path(__file__).parent / "peers" / "datatrove_pipeline.py"
    result = peers.call(python, script, folder / "data", folder / "data" / "bench", models, work, words)
    kept[f"datatrove, {words}"] = result["kept"]
    return float(str(result["seconds"]))


if __name__ == "__main__":
    main()
