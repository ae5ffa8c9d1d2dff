"""Keys of the `mix:` section."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from curate.config import Executor
from pipelines.section import Section

DEFAULT = "default"
"""In max_epochs: the cap of the sources that are not named."""

Share = Annotated[float, Field(ge=0, le=1)]
Weights = dict[str, Annotated[float, Field(ge=0)]]
WeightsKey = Annotated[
    Annotated[Literal["natural"], Tag("name")] | Annotated[Weights, Tag("by_source")],
    Discriminator(lambda value: "by_source" if isinstance(value, dict) else "name"),
]
Cap = Annotated[float, Field(gt=0)]


class KnotConfig(Section):
    """The shares at a step, in mix.schedule."""

    step: int = Field(ge=0)
    """Step whose batch has these shares, from 0 on."""
    domain: Share
    """Share of rows from the domain pool."""
    replay: Share
    """Share of rows from the replay pool; domain + replay must be 1."""
    weights: WeightsKey = {}
    """Weights of sources, as in mix.weights; natural turns them off. A pool of which none is named keeps those of the
    knot before, at the first knot those of mix.weights."""
    best: bool = False
    """Take of the domain pool only the documents that mix.best sets apart; false takes all."""
    phase: str = ""
    """The phase that the knot begins or ends, as its `name` says; empty outside of `phases:`, which sets it."""

    @model_validator(mode="before")
    @classmethod
    def _know_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else []:
            if key not in cls.model_fields:
                told = {"key": str(key), "known": ", ".join(cls.model_fields)}
                raise PydanticCustomError("knot", "there is no key {key} in a knot, known are {known}", told)
        return values


class BestConfig(Section):
    """Which documents are the best of their source."""

    score: str
    """Score that a curation stage wrote: perplexity (low is best), classifier, moore_lewis (high), ..."""
    prefer: Literal["low", "high"]
    """Which end of the score is best."""
    share: float = Field(0.1, gt=0, lt=1)
    """Share of each source's documents, rounded up; those without the score are not among them."""


class TokenFilesConfig(Section):
    """Token files of another trainer as a source."""

    pool: Literal["domain", "replay"]
    """Pool that the source belongs to, beside its text, of which the held-out documents are."""
    source: str
    """Name of the source."""
    format: Literal["megatron", "mds"]
    """megatron: Megatron-LM's indexed data set; mds: MosaicML's shards with a column tokens (and doc_lengths)."""
    path: str
    """megatron: the two files without .bin and .idx; mds: the folder with index.json."""
    tokenizer: str
    """Identity of the tokenizer that the ids are of, 16 hex digits, which must be the run's; mix.build prints it."""


class MixConfig(Section):
    """Packing and the mixture of the two pools."""

    executor: Executor = Executor(workers=1)
    """Which datatrove executor encodes and packs, a source a task, and with which keys (as curate.executor's); one
    task at a time by default, since encoding uses all cores of a machine."""
    seq_len: int = Field(512, ge=8)
    """Tokens per sequence (row of a shard)."""
    domain: Share = 0.8
    """Share of rows from the domain pool, in every global batch; with a schedule, that of its first knot."""
    replay: Share = 0.2
    """Share of rows from the replay pool; domain + replay must be 1. With a schedule, that of its first knot."""
    schedule: list[KnotConfig] = []
    """Shares by step, e.g. [{step: 0, domain: 0.5, replay: 0.5}, {step: 1000, domain: 0.8, replay: 0.2}]: linear in the
    step between knots, constant before the first and after the last. An empty list keeps domain and replay
    throughout."""
    weights: WeightsKey = "natural"
    """Weights of sources inside their pool, by number of rows: natural, or {source: number} for all sources of a pool,
    relative to each other; 0 leaves a source out. A source is named by its name, or pool/name where both pools have
    it. A pool of which none is named stays natural."""
    temperature: float = Field(1.0, gt=0)
    """Natural weights are the sources' tokens (rows of seq_len) to the power of 1 / temperature; above 1 small sources
    count more (arXiv 1907.05019); 1 turns it off, and sources of a pool run out together."""
    max_epochs: Annotated[
        Annotated[Cap, Tag("number")] | Annotated[dict[str, Cap], Tag("by_source")],
        Discriminator(lambda value: "by_source" if isinstance(value, dict) else "number"),
    ] = 4.0
    """Most times a source may be repeated within the training budget (arXiv 2305.16264 finds 4 safe): a number, or
    {source: number, default: number}, default being 4 where it is left out."""
    when_capped: Literal["error", "rescale"] = "error"
    """What becomes of a source that would pass max_epochs: error refuses the plan; rescale gives the source what its
    cap allows and the rest to the other sources of its pool, in proportion."""
    best: BestConfig | None = None
    """Packs the best documents of each domain source apart, as the source `<name>+best`, so that a phase (or a knot)
    with `best: true` can be made of them alone; elsewhere they are dealt with the rest of their source, in proportion.
    Each document stands in one of the two, so max_epochs counts all its repetitions. none, the default, packs no source
    apart. Replay stays whole: how good general text is, a model of the domain cannot say."""
    token_files: list[TokenFilesConfig] = []
    """Sources that are tokens already, e.g. [{pool: replay, source: web, format: megatron, path: data/web, tokenizer:
    0123456789abcdef}]. Taken as they stand: no stage of curation has seen them, so benchmark items in them are not
    found, and eval.run refuses tasks unless eval.score_contaminated. An empty list is none."""
    packing: Literal["best_fit", "concat"] = "best_fit"
    """How documents fill rows: best_fit cuts those longer than a row, others only where padding would pass 0.1 %;
    concat puts one after the other and cuts wherever a row is full."""
    encode_check: float = Field(0.001, ge=0, le=1)
    """Share of the text on which, file by file (at least 32 KB of each), the fast library's ids are compared with those
    of tokenizers before it may encode the rest; 1 compares all; 0 leaves the fast library out. Ids are the same."""
    seed: int = 0
    """Seed of the order of rows; packing does not depend on it."""

    @model_validator(mode="before")
    @classmethod
    def _begin_with_schedule(cls, values: Any) -> Any:
        match values:
            case {"schedule": [{"domain": domain, "replay": replay}, *_]}:
                return {**values, "domain": domain, "replay": replay}
        return values
