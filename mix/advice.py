"""What published work says against a mixture: sentences printed with the plan. Advice only, nothing is refused.

The thresholds are those of the papers named in the sentences; beside a schedule the shares of every step count.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from curate.files import read_json
from mix.plan import Plan
from mix.schedule import within
from pipelines.config import Pipeline
from tokenization.safetensors_copy import read_header

DOMAIN_SHARE = Fraction(3, 5), Fraction(9, 10)
"""Below the first, replay takes more of the budget than keeping what was known needs; above the second, forgetting."""
REPLAY_SHARE = Fraction(1, 20)
EPOCHS = 4
LARGE_MODEL = 1_000_000_000
"""Parameters."""
DOMAIN_TOKENS = 1_000_000_000
"""Tokens of domain text from which continued pretraining of a large model, or new rows of its vocabulary, pay."""
NAMED = 5
"""Repeated sources named."""


@dataclass(frozen=True)
class Facts:
    """What is known besides the plan; None where it is not known."""

    parameters: int | None
    """Of the base model."""
    new_tokens: int
    """Tokens the vocabulary was extended by."""
    min_domain_tokens: int
    """Domain tokens that tokenizer.min_domain_tokens asks for before the vocabulary is extended."""
    fertility: float | None
    """Tokens per domain word with the base tokenizer."""


def advise(pipeline: Pipeline, plan: Plan) -> list[str]:
    """The advice on a run's plan, over its training budget."""
    return advice(plan, pipeline.train.steps, pipeline.train.global_batch, read_facts(pipeline))


def advice(plan: Plan, steps: int, global_batch: int, facts: Facts) -> list[str]:
    """A sentence with its source for each thing that published work advises against."""
    return [
        *_on_shares(plan, steps, global_batch),
        *_on_epochs(plan, steps * global_batch),
        *_on_size(plan, facts),
        *_on_vocabulary(plan, facts),
    ]


def read_facts(pipeline: Pipeline) -> Facts:
    """The facts, from the base model's folder and the run's tokenizer folder."""
    tokenizer = pipeline.folder / "tokenizer"
    extension, fertility = (
        read_json(path) if path.exists() else {}
        for path in (tokenizer / "extension.json", tokenizer / "fertility.json")
    )
    return Facts(
        parameters=count_parameters(Path(pipeline.model)),
        new_tokens=len(extension.get("new_tokens", [])),
        min_domain_tokens=pipeline.tokenizer.min_domain_tokens,
        fertility=fertility.get("pools", {}).get("domain", {}).get("fertility"),
    )


def count_parameters(folder: Path) -> int | None:
    """Parameters of a Hugging Face folder, from the headers of its safetensors files; no weights are read.

    Without such files from the sizes in config.json, as a Llama has them. None where neither is there (a hub id).
    """
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return sum(_count_in_header(file) for file in files)
    if (folder / "config.json").is_file():
        return _count_by_config(read_json(folder / "config.json"))
    return None


def _on_shares(plan: Plan, steps: int, global_batch: int) -> list[str]:
    found = []
    domain, replay = (_extremes(plan, pool, steps, global_batch) for pool in ("domain", "replay"))
    if domain and domain[0][0] < DOMAIN_SHARE[0]:
        part, step = domain[0]
        found.append(
            f"The domain pool's share is {_percent(part)} at step {step:,}, below 60 %, so much of the budget goes "
            "into what the base knows: 5 % of replay kept it over a weak shift and 25 % over a change of language "
            "(Ibrahim et al. 2024, arXiv 2403.08763)."
        )
    if domain and domain[1][0] > DOMAIN_SHARE[1]:
        part, step = domain[1]
        found.append(
            f"The domain pool's share is {_percent(part)} at step {step:,}, above 90 %, so the base may forget: the "
            "stronger the shift, the more replay it takes, 25 % for a change of language (Ibrahim et al. 2024, arXiv "
            "2403.08763)."
        )
    if replay and replay[0][0] < REPLAY_SHARE:
        part, step = replay[0]
        found.append(
            f"The replay pool's share is {_percent(part)} at step {step:,}, below the 5 % that matched training on all "
            "data again over a weak shift (Ibrahim et al. 2024, arXiv 2403.08763)."
        )
    return found


def _extremes(plan: Plan, pool: str, steps: int, global_batch: int) -> list[tuple[Fraction, int]]:
    """The least and the greatest share of a pool, each with the first step that has it."""
    names = [one.name for one in plan.pools]
    if pool not in names:
        return []
    row, shares = 0, []
    for count, piece in within(plan.pieces, steps * global_batch):
        shares.append((piece.pools[names.index(pool)], row // global_batch))
        row += count
    return [min(shares), min(shares, key=lambda one: (-one[0], one[1]))]


def _on_epochs(plan: Plan, rows: int) -> list[str]:
    asked = zip(plan.sources, plan.asked(rows), strict=True)
    often = [(wanted / source.rows, f"{pool.name}/{source.name}") for (pool, source), wanted in asked if source.rows]
    often = sorted((one for one in often if one[0] > EPOCHS), key=lambda one: (-one[0], one[1]))
    if not often:
        return []
    named = ", ".join(f"{name} {float(epochs):.1f} times" for epochs, name in often[:NAMED])
    more = f" and {len(often) - NAMED} more sources" if len(often) > NAMED else ""
    return [
        f"{named}{more}: up to {EPOCHS} epochs repeated text is worth nearly as much as new text, after that "
        "ever less (Muennighoff et al. 2023, arXiv 2305.16264)."
    ]


def _on_size(plan: Plan, facts: Facts) -> list[str]:
    tokens = _domain_tokens(plan)
    if facts.parameters is None or facts.parameters < LARGE_MODEL or tokens >= DOMAIN_TOKENS:
        return []
    return [
        f"The domain pool has {_short(tokens)} tokens, fewer than {_short(DOMAIN_TOKENS)}, for a model of "
        f"{_short(facts.parameters)} parameters: LoRA forgets less at that size (Biderman et al. 2024, arXiv "
        "2405.09673), and retrieval brings in new facts better than training on little text (Ovadia et al. 2023, arXiv "
        "2312.05934)."
    ]


def _on_vocabulary(plan: Plan, facts: Facts) -> list[str]:
    tokens = _domain_tokens(plan)
    large = facts.parameters is not None and facts.parameters >= LARGE_MODEL
    least = max(facts.min_domain_tokens, DOMAIN_TOKENS if large else 0)
    if not facts.new_tokens or tokens >= least:
        return []
    needed = f" ({facts.fertility:.2f} tokens per domain word without them)" if facts.fertility else ""
    return [
        f"The vocabulary was extended by {facts.new_tokens:,} tokens{needed}, but the domain pool has {_short(tokens)} "
        f"tokens to learn their rows from, fewer than {_short(least)}: with little further pretraining an extended "
        "vocabulary did worse than the original one (Zhao et al. 2024, arXiv 2401.01055). tokenizer.extend: never "
        "keeps the original."
    ]


def _domain_tokens(plan: Plan) -> int:
    return sum(source.tokens for pool, source in plan.sources if pool.name == "domain")


def _count_in_header(file: Path) -> int:
    """Numbers in a safetensors file: its header is JSON after 8 bytes of length."""
    with open(file, "rb") as opened:
        header, _ = read_header(opened, file)
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _count_by_config(config: dict[str, Any]) -> int | None:
    """Embeddings, attention and gated feed-forward layers; norms are left out. None where a size is missing."""
    try:
        dim, layers, heads = (config[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
        vocabulary, hidden = config["vocab_size"], config["intermediate_size"]
    except KeyError:
        return None
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or dim // heads
    layer = 2 * dim * head * (heads + kv_heads) + 3 * dim * hidden
    return layers * layer + vocabulary * dim * (1 if config.get("tie_word_embeddings") else 2)


def _percent(part: Fraction) -> str:
    return f"{float(100 * part):.3g} %"


def _short(number: int) -> str:
    for unit, sign in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{sign}"
    return str(number)
