"""Which stages a run would do again, and why: the pipeline as it is against the one that last ran."""

from pathlib import Path
from typing import Any

from curate.curation import Curation
from curate.files import read_json, write_json
from curate.passes import is_complete


def remember(curation: Curation) -> None:
    """Note what this run is made of, for `reasons` of a later one."""
    write_json(_path(curation), _made_of(curation))


def reasons(curation: Curation) -> list[tuple[str, bool, str]]:
    """(stage, whether it would run, why or why not), in order, `read` first."""
    before = read_json(_path(curation)) if _path(curation).exists() else {}
    todo = {id(step) for step in curation.todo}
    found: list[tuple[str, bool, str]] = []
    cause = ""
    for label, now in _made_of(curation).items():
        step = curation.read if label == "read" else curation.steps[len(found) - 1]
        runs = not is_complete(step.folder) if label == "read" else id(step) in todo
        if not runs:
            found.append((label, False, "its results are on disk"))
            continue
        changed = _changes(before[label], now) if label in before else ["new in this pipeline"] if before else []
        if changed:
            why = "; ".join(changed)
        elif cause:
            why = f"follows {cause}"
        elif not before:
            why = "nothing has run here yet"
        else:
            why = "not finished" if before[label]["identity"] == now["identity"] else "an earlier stage was taken out"
        cause = cause or label
        found.append((label, True, why))
    return found


def _made_of(curation: Curation) -> dict[str, Any]:
    """What each stage's identity rests on, by label."""
    sources = {f"{source.pool}/{source.path}": source.identity for source in curation.sources}
    made: dict[str, Any] = {"read": {"identity": curation.read.identity, "version": 1, "keys": {}, "files": sources}}
    made["read"]["keys"] = {"part_rows": curation.pipeline.curate.part_rows}
    for label, step in zip(curation.labels, curation.steps, strict=True):
        keys = step.stage.model_dump(mode="json")
        made[label] = {"identity": step.identity, "version": step.stage.version, "keys": keys, "files": step.files}
    return made


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changes = []
    if before["version"] != now["version"]:
        changes.append(f"its code is version {now['version']}, was {before['version']}")
    for kind, what in (("keys", ""), ("files", "file ")):
        for name in sorted(before[kind].keys() | now[kind].keys()):
            old, new = before[kind].get(name), now[kind].get(name)
            if old != new and what:
                changes.append(
                    f"{what}{name} " + ("is new" if old is None else "is gone" if new is None else "changed")
                )
            elif old != new:
                changes.append(f"{name}: {old} is now {new}")
    return changes


def _path(curation: Curation) -> Path:
    return curation.work / "logs" / "made_of.json"
