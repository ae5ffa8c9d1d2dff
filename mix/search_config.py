"""Keys of the `search:` section (mix/search.py)."""

from typing import Annotated

from pydantic import Field

from pipelines.section import Section


class SearchConfig(Section):
    """The search for the weights of the domain pool's sources: how long the proxy runs are and how many."""

    steps: int = Field(100, ge=2)
    """Optimizer steps of a proxy run; warm-up and decays are shortened in the same proportion from train.steps."""
    runs: int = Field(24, ge=4)
    """regmix: proxy runs that the regression is fitted to, natural and uniform weights among them. Three times the
    sources are few, ten times are many."""
    shifts: list[Annotated[float, Field(gt=0, lt=1)]] = Field([0.25, 0.5], min_length=1)
    """grid: shares of the pool that are taken from all sources alike and given to one, for each source in turn."""
    model: str = ""
    """Model of the proxy runs, with the pipeline model's tokenizer: a smaller one of the same family. Empty takes
    `model`."""
