"""What the cards tell, read from a run folder and checked to belong together."""

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.files import read_json
from curate.plan import build_stages
from curate.stage import Stage
from pipelines import config
from pipelines.config import Pipeline
from train import records

UNKNOWN = "unknown"
_VERSIONED = re.compile(r"(cc-by(-nc)?(-sa|-nd)?-(2\.0|2\.5|3\.0|4\.0))|((a|l)?gpl-[23]\.[01])")
_OTHERS = frozenset(
    "apache-2.0 mit cc0-1.0 bsd bsd-2-clause bsd-3-clause afl-3.0 mpl-2.0 odbl odc-by pddl gfdl unlicense isc "
    "llama2 llama3 llama3.1 llama3.2 llama3.3 gemma openrail unknown".split()
)


@dataclass(frozen=True)
class Training:
    """An exported training run."""

    keys: dict[str, Any]
    """train/<run>/config.json: dotted key -> value."""
    steps: list[dict[str, Any]]
    """Lines of metrics.jsonl that hold a step."""
    journal: list[dict[str, Any]]
    made_of: dict[str, Any]
    """export/export.json: step, holds."""


@dataclass(frozen=True)
class Facts:
    """A run, read; a part that it has not reached is None."""

    pipeline: Pipeline
    stages: list[Stage]
    """Stages of curation with their keys, `held_out` last."""
    manifest: dict[str, Any]
    licences: dict[str, str]
    """Source -> licence, as the pipeline file says; "unknown" where it does not."""
    extension: dict[str, Any] | None
    mixture: dict[str, Any] | None
    training: Training | None
    scores: dict[str, Any] | None
    """scores.json; None where it is not there or measured another model than the exported one."""

    @property
    def from_scratch(self) -> bool:
        """Whether the model began with random weights."""
        return bool(self.training) and self.training.keys["train.init"] == "scratch"  # type: ignore[union-attr]


def read(pipeline: Pipeline) -> Facts:
    """Read a run. Raises ValueError where curation has not finished, or files do not belong together."""
    folder = pipeline.folder
    if not (folder / "manifest.json").exists():
        raise ValueError(
            f"{folder / 'manifest.json'}: is not there, so it is not known what went into this run. "
            "Run first: python -m curate.run"
        )
    manifest = read_json(folder / "manifest.json")
    training = _training(pipeline)
    return Facts(
        pipeline,
        _stages(folder, manifest),
        manifest,
        licences(pipeline, [source["source"] for source in manifest["sources"]]),
        _optional(folder / "tokenizer" / "extension.json"),
        _optional(folder / "mixture.json"),
        training,
        _scores(pipeline) if training else None,
    )


def export(pipeline: Pipeline) -> Path:
    """Folder of the exported model."""
    return pipeline.folder / "train" / pipeline.train.run / "export"


def licences(pipeline: Pipeline, sources: list[str]) -> dict[str, str]:
    """Licence of each source. Raises ValueError for a name or pattern that fits none of them."""
    for pattern in pipeline.licences:
        if not fnmatch.filter(sources, pattern):
            raise ValueError(
                f"{pipeline.folder / 'pipeline.yaml'}: licences: {pattern!r} fits no source, so a source may go "
                f"without the licence meant for it. There are: {', '.join(sources)}."
            )

    def of(source: str) -> str:
        fitting = (told for pattern, told in pipeline.licences.items() if fnmatch.fnmatchcase(source, pattern))
        return next(fitting, UNKNOWN)

    return {source: of(source) for source in sources}


def identifier(licence: str) -> str:
    """The hub's identifier of a licence that is named as people do; "other" for one that the hub has none for.

    >>> identifier("CC BY-SA 3.0"), identifier("MIT"), identifier("on request")
    ('cc-by-sa-3.0', 'mit', 'other')
    """
    name = "-".join(licence.lower().split())
    name = {"cc0": "cc0-1.0", "public-domain": "other"}.get(name, name)
    return name if name in _OTHERS or _VERSIONED.fullmatch(name) else "other"


def on_the_hub(model: str) -> bool:
    """Whether a base model is a hub id, and not a folder of this machine."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", model)) and not Path(model).exists()


def base_name(pipeline: Pipeline) -> str:
    """The base model without the folders that lead to it."""
    return pipeline.model if on_the_hub(pipeline.model) else Path(pipeline.model).name


def _stages(folder: Path, manifest: dict[str, Any]) -> list[Stage]:
    path = folder / "pipeline.yaml"
    stages = build_stages(config.load(path), str(path))
    ran = [re.sub(r"-\d+$", "", stage["name"]) for stage in manifest["stages"][1:]]
    if ran != (listed := [stage.label for stage in stages]):
        raise ValueError(
            f"{path}: curate.stages: lists {', '.join(listed)}, but manifest.json has {', '.join(ran)}, so it is not "
            "known with which keys the documents were made. Run curate.run again."
        )
    return stages


def _training(pipeline: Pipeline) -> Training | None:
    if not export(pipeline).is_dir():
        return None
    folder = export(pipeline).parent
    metrics, journal = (records.read(folder / name) for name in ("metrics.jsonl", "journal.jsonl"))
    made_of = read_json(export(pipeline) / "export.json")
    return Training(read_json(folder / "config.json"), [one for one in metrics if "loss" in one], journal, made_of)


def _scores(pipeline: Pipeline) -> dict[str, Any] | None:
    scores = _optional(pipeline.folder / "eval" / "scores.json")
    if scores is None:
        return None
    from eval.hugging_face import weights_identity

    return scores if scores["trained"]["identity"] == weights_identity(export(pipeline)) else None


def _optional(path: Path) -> Any:
    return read_json(path) if path.exists() else None
