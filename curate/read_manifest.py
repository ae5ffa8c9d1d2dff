"""manifest.json read back, checked: what it holds has the kinds of values that curate.manifest writes."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from curate.files import is_plain, read_object

Count = Annotated[StrictInt, Field(ge=0)]
Numbers = dict[str, Count]


def _plain(name: str) -> str:
    assert is_plain(name), "is no name of a stage"
    return name


class Pool(TypedDict, total=False):
    """What is left of a pool."""

    documents: Count
    bytes: Count


class StageCounts(TypedDict, total=False):
    """What a stage took in, kept and removed."""

    name: Annotated[StrictStr, AfterValidator(_plain)]
    identity: StrictStr
    documents_in: Count
    documents_kept: Count
    documents_removed: Count
    bytes_in: Count
    bytes_kept: Count
    documents_edited: Count
    bytes_cut: StrictInt
    reasons: Numbers
    removed_by_source: Numbers
    edits: Numbers
    seconds: StrictFloat | StrictInt
    versions: dict[str, Any]


class Manifest(TypedDict, total=False):
    """All of it."""

    run: StrictStr
    identity: StrictStr
    sources: list[dict[str, Any]]
    stages: list[StageCounts]
    kept: dict[str, Pool]
    held_out: dict[str, Pool]


_ADAPTER = TypeAdapter(Manifest)


def read_manifest(path: Path, **kinds: type) -> dict[str, Any]:
    """The manifest at `path`, with at least the keys `kinds` (curate.files.read_object).

    Raises ValueError naming the file and the key where it is missing or damaged.
    """
    found = read_object(path, **kinds)
    try:
        _ADAPTER.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"{path}: {key}: is damaged ({first['msg'][:1].lower()}{first['msg'][1:]}), so the counts cannot be "
            "trusted. Run curate.run again."
        ) from None
    return found
