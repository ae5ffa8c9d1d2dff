"""Keys of the `mix:` section."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pipelines.section import Section

DEFAULT = "default"
"""In max_epochs: the cap of the sources that are not named."""

Share = Annotated[float, Field(ge=0, le=1)]
Weights = dict[str, Annotated[float, Field(ge=0)]]
Cap = Annotated[float, Field(gt=0)]


class KnotConfig(Section):
    """The shares at a step, in mix.schedule."""

    step: int = Field(ge=0)
    """Step whose batch has these shares, from 0 on."""
    domain: Share
    """Share of rows from the domain pool."""
    replay: Share
    """Share of rows from the replay pool; domain + replay must be 1."""
    weights: Weights = {}
    """Weights of sources, as in mix.weights. A pool of which none is named keeps those of the knot before, at the
    first knot those of mix.weights."""

    @model_validator(mode="before")
    @classmethod
    def _know_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else []:
            if key not in cls.model_fields:
                told = {"key": str(key), "known": ", ".join(cls.model_fields)}
                raise PydanticCustomError("knot", "there is no key {key} in a knot, known are {known}", told)
        return values


class MixConfig(Section):
    """Packing and the mixture of the two pools."""

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
    weights: Annotated[
        Annotated[Literal["natural"], Tag("name")] | Annotated[Weights, Tag("by_source")],
        Discriminator(lambda value: "by_source" if isinstance(value, dict) else "name"),
    ] = "natural"
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
