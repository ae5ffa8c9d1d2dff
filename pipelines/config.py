"""The pipeline file: one YAML that every command reads, checked strictly.

Each section's keys are declared beside their owner (curate/config.py, mix/config.py, ...); this module joins them,
reads the file, applies the overrides of the command line and turns what pydantic finds into errors that name the
file and the key.
"""

import json
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from curate.config import CurateConfig, Files, FromModel, Generated
from eval.config import EvalConfig
from mix.config import MixConfig
from mix.search_config import SearchConfig
from pipelines.phases import compiled
from pipelines.secrets import refuse, scrub
from pipelines.section import Section
from pipelines.storage import StorageConfig, is_url
from tokenization.config import TokenizerConfig
from train.config import TrainConfig
from train.keys.phases import Phase
from train.keys.pilot import PilotConfig

MOST_NODES = 100_000
"""Values of a pipeline file, those of aliases counted each time: ten lines can ask for 10^9."""

Entry = Annotated[
    Annotated[str, Tag("glob")] | Annotated[Files, Tag("files")],
    Discriminator(lambda entry: "glob" if isinstance(entry, str) else "files"),
]
"""What a pool lists: a glob, or files with a reader."""
ReplayEntry = Annotated[
    Annotated[str, Tag("glob")] | Annotated[Files, Tag("files")] | Annotated[FromModel, Tag("generated")],
    Discriminator(lambda entry: _kind(entry)),
]
"""The replay pool may also list what the base model writes itself."""


class Pipeline(Section):
    """Everything a run is made from."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    """Name of the run; its folder is runs/<name>."""
    model: str
    """Base model: a Hugging Face folder or hub id (Llama or Qwen3); its tokenizer is the base tokenizer."""
    data_root: str = "sample"
    """Folder or URL the globs start from; sample is the text that curate.sample makes."""
    domain: list[Entry] = Field(min_length=1)
    """Globs of the domain pool under data_root; a source is a file, named by its stem. {files, reader, arguments}
    instead of a glob reads with a datatrove reader."""
    replay: Annotated[
        list[ReplayEntry], BeforeValidator(lambda entries: [entries] if isinstance(entries, dict) else entries)
    ] = Field(min_length=1)
    """Globs of the replay pool under data_root; `sample:GLOB` reads the sample whatever data_root is. {generated:
    {documents: N}} instead of a glob, or of the list, is text that the base model writes itself."""
    benchmarks: list[str] = []
    """Globs of benchmark items under data_root, for decontaminate; empty where that stage is not used."""
    licences: dict[str, str] = {}
    """Licence of each source by its name or a pattern, the first that fits, e.g. {notes: CC BY 4.0, "web_*": CC0 1.0};
    the cards (eval.cards) say so. A source that none fits has an unknown licence."""
    output: str | None = None
    """Run folder; by default runs/<name>."""
    curate: CurateConfig = CurateConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    mix: MixConfig = MixConfig()
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    pilot: PilotConfig = PilotConfig()
    eval: EvalConfig = EvalConfig()
    storage: StorageConfig = StorageConfig()
    phases: list[Phase] = []
    """Mixtures that training goes through one after the other, each with its steps and learning rate, e.g. [{name:
    domain, steps: 900}, {name: anneal, steps: 100, best: true, schedule: linear, floor: 0}]. They take the place of
    train.steps and mix.schedule. An empty list is one mixture, as `mix:` and `train:` say."""
    _imports: bool = PrivateAttr(False)

    @field_validator("output")
    @classmethod
    def _is_folder(cls, output: str | None) -> str | None:
        if output and is_url(output):
            raise ValueError("a run is made in a folder of this machine; set storage.publish to this URL to publish it")
        return output

    @model_validator(mode="wrap")
    @classmethod
    def _with_phases(cls, values: Any, handler: ModelWrapValidatorHandler["Pipeline"]) -> "Pipeline":
        pipeline = handler(values)
        return compiled(pipeline) if pipeline.phases else pipeline

    @property
    def allows_imports(self) -> bool:
        """Whether classes of packages other than datatrove and this project may be run; no key of a file sets it."""
        return self._imports

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.output or f"runs/{self.name}")


def load(path: str | Path, overrides: dict[str, Any] | None = None, allow_imports: bool = False) -> Pipeline:
    """Read a pipeline file and apply `overrides` (dotted key -> value).

    `allow_imports` lets it name classes of any package (curate.curation runs them); else those of datatrove and this
    project. Raises ValueError naming file, key, what was found and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such pipeline file. Name one, e.g. pipelines/clinical.yaml.") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a pipeline file ({error}).") from None
    try:
        values = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: is not valid YAML, so no key of it can be used: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds {type(values).__name__}, not keys and values. Start with `name: ...`.")
    for key, value in (overrides or {}).items():
        _put(values, key, value)
    pipeline = parse(values, path)
    pipeline._imports = allow_imports
    return pipeline


def parse(values: dict[str, Any], path: Path) -> Pipeline:
    """Check `values` as read from `path`. Raises ValueError naming file and key, also for a secret in them."""
    refuse(values, str(path))
    try:
        return Pipeline.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(path, problem) for problem in error.errors())) from None


def save(pipeline: Pipeline, path: Path) -> None:
    """Write the resolved pipeline as YAML, every key with its value. Raises ValueError where it holds a secret."""
    from curate.files import write_text

    values = pipeline.model_dump(mode="json")
    if pipeline.phases:  # they say these two
        values["mix"]["schedule"] = []
        del values["train"]["steps"]
    refuse(values, str(path))
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def read_yaml(text: str) -> Any:
    """Plain values of a YAML text; no tag of it makes an object. Raises ValueError for everything else."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # not all that its numbers and dates raise is YAML's
        raise ValueError(scrub(str(error))) from None
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, and a text that grows without end by its aliases."""

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if root is not None and _size(root, {}) > MOST_NODES:
            raise yaml.composer.ComposerError(None, None, f"its aliases make more than {MOST_NODES:,} values of it")
        return root

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        plain = [key for key in keys if isinstance(key, Hashable)]
        if twice := [key for key, count in Counter(plain).items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values in a node, those of aliases counted each time. Raises ComposerError for one that holds itself."""
    if id(node) not in known:
        known[id(node)] = -1
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = inner if isinstance(node, yaml.MappingNode) else [(one,) for one in inner]
        known[id(node)] = 1 + sum(_size(one, known) for pair in pairs for one in pair)
    if known[id(node)] < 0:
        raise yaml.composer.ComposerError(None, None, "an alias holds itself", node.start_mark)
    return known[id(node)]


def _kind(entry: Any) -> str:
    if isinstance(entry, FromModel) or (isinstance(entry, dict) and "generated" in entry):
        return "generated"
    return "glob" if isinstance(entry, str) else "files"


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = values.get(parent)
        values[parent] = inner = dict(inner) if isinstance(inner, dict) else {}
        values = inner
    values[last] = value


def _explain(path: Path, problem: Any) -> str:
    key = ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in problem["loc"]).replace(".[", "[")
    found, told = json.dumps(problem["input"], default=str, skipkeys=True), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        *parents, wrong = problem["loc"]
        return f"{path}: {key}: there is no such key. Known here: {', '.join(_known(parents))}."
    if not key:  # of keys that do not go together (phases)
        return f"{path}: {told}"
    if problem["type"] == "missing":
        return f"{path}: {key}: is missing and has no default."
    return f"{path}: {key}: {found[:120]} cannot be used: {told[:1].lower()}{told[1:]}."


def _known(parents: list[Any]) -> list[str]:
    section: Any = Files if "files" in parents else Pipeline
    if "generated" in parents:  # once as the kind of entry, once as its key
        section = Generated if parents.count("generated") > 1 else FromModel
    for parent in parents if section is Pipeline else []:
        if isinstance(parent, str):  # else the place in a list
            kinds = section.model_fields[parent].annotation
            section = next(
                one for one in (kinds, *get_args(kinds)) if isinstance(one, type) and issubclass(one, Section)
            )
    return list(section.model_fields)
