"""Keys of the `eval:` section."""

from pydantic import Field

from eval.keys_controller import ControllerKeys, SelectionKeys
from pipelines.section import Section


class Thresholds(Section):
    """From where a loss of general ability counts as too much; set before training, kept in the run's manifest."""

    task_points: float = Field(3.0, ge=0, le=100)
    """Percent points that a general task may lose against step 0. A larger loss counts where the interval of its paired
    differences lies below 0 too: with few items the interval's edge is the threshold. 100 turns it off."""
    bits_per_byte_percent: float = Field(1.0, ge=0)
    """Per cent that bits per byte of general text may rise against step 0; a large number (1000) turns it off."""


class EvalConfig(ControllerKeys, SelectionKeys):
    """Held-out text and when it is measured; the benchmarks of both tracks and when they are."""

    held_out: float = Field(0.02, ge=0, lt=1)
    """Share of each pool's documents set aside by document hash and never trained on; 0 turns evaluation off."""
    every: int = Field(1000, ge=1)
    """Steps between measurements of bits per byte during training; step 0 and the last step are always measured."""
    documents: int = Field(100, ge=1)
    """Held-out documents per pool measured during training; eval.run measures all of them."""
    characters: int = Field(2000, ge=0)
    """Characters of each of these measured during training, from its beginning; 0 takes whole documents."""
    benchmarks: list[str] = []
    """Globs of benchmark items (JSON lines) under data_root that the tasks of eval/tasks read; empty takes the
    pipeline's `benchmarks`, those that curation removes."""
    domain: list[str] = []
    """Tasks of the domain track: names of eval/tasks (items from files) or of lm-eval (from the hub; `hub:NAME` where
    eval/tasks has that name too). Empty measures bits per byte alone. Needs the extra `eval`."""
    general: list[str] = []
    """Tasks of the general track, which shows what is forgotten; as `domain`."""
    items: int = Field(200, ge=0)
    """Items per task, chosen by a hash of the item and so the same ones every time; 0 takes all."""
    context: int = Field(4096, ge=1)
    """Tokens that tasks may show the model at once, at most its max_position_embeddings; longer questions lose their
    beginning."""
    domain_every: int = Field(5000, ge=0)
    """Steps between measurements of the domain track's tasks during training; step 0 and the last step are always
    measured. 0 measures at those two alone."""
    general_every: int = Field(5000, ge=0)
    """Steps between measurements of the general track's tasks; as `domain_every`."""
    general_offset: int = Field(2500, ge=0)
    """Steps by which the general track is measured after the domain track (first at this step); 0 measures both at
    once."""
    generated_tokens: int = Field(64, ge=0)
    """Tokens written after each prompt of `prompts` at step 0 and the last step, to be read by hand; 0 turns it off."""
    prompts: str = ""
    """File of prompts, {"track": "domain" or "general", "prompt": text} a line; empty takes eval/prompts.jsonl: 25 of
    medicine, 25 of general text."""
    run_code: bool = False
    """Whether programs that the model writes (humaneval) may be run, each in a process of its own with limits on time,
    memory and files. It is no sandbox: they run as you. false refuses such tasks."""
    score_contaminated: bool = False
    """Whether eval.run also scores a task whose items curation was not asked to remove; false refuses it and prints how
    many of its items the documents hold."""
    thresholds: Thresholds = Thresholds()
    """`task_points`, `bits_per_byte_percent`: from where a loss of general ability counts as too much."""
