"""Replay text that the base writes itself (curate/generated.py) for an arm of the sweep, curated as the run's own."""

import math
from pathlib import Path
from typing import Any

from curate.files import alone
from eval.sweep_arms import with_keys
from mix.config import DEFAULT
from pipelines.config import Pipeline

FOLDER = "generated"
"""Of the sweep: a run of its own with the domain's sources and the generated one."""
MARGIN = 1.5
"""Tokens written for each that the arm trains on: curation drops some, and documents end before their length."""


def curate(pipeline: Pipeline, share: float) -> Pipeline:
    """Write and curate replay text for a `share` of the budget, where that is not done; its pipeline.

    The domain's sources are curated again beside it, since stages compare the pools. Arms take the replay pool alone.
    """
    from curate.curation import resolve_curation, run_curation
    from train.architecture import read

    seen = read(Path(pipeline.model)).max_positions if Path(pipeline.model).is_dir() else pipeline.mix.seq_len + 1
    length = min(pipeline.mix.seq_len, seen - 1)
    tokens = share * pipeline.train.steps * pipeline.train.global_batch * pipeline.mix.seq_len
    wanted = {"documents": math.ceil(MARGIN * tokens / length), "length": length, "seed": pipeline.mix.seed}
    folder = pipeline.folder / "sweep" / FOLDER
    own = with_keys(pipeline, {"output": str(folder), "replay": [{"generated": wanted}]})
    with alone(folder):
        where = str(folder / "pipeline.yaml")
        run_curation(resolve_curation(own, where, lambda line: print(f"  {line}", flush=True)))
    return own


def link(run: Path, generated: Path, arm: Path) -> None:
    """Documents of an arm's folder: the run's domain pool, the generated replay pool; shards that its seeds share."""
    links = {"documents/domain": run, "documents/replay": generated, "packed": generated}
    for name, source in links.items():
        path, target = arm / name, source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir(exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(target.resolve())


def domain_alone(run: Path, given: Any) -> Any:
    """What mix.weights or mix.max_epochs says by source, without the sources of the run's own replay pool."""
    if not isinstance(given, dict):
        return given
    names = {path.name for path in (run / "documents" / "domain").iterdir()} | {DEFAULT}
    return {name: number for name, number in given.items() if name.removeprefix("domain/") in names}
