"""The sections of the cards, in Markdown."""

from collections import Counter
from typing import Any

from eval.card_data import UNKNOWN, Facts, base_name
from eval.card_markdown import section, table, text
from eval.report_html import human_bytes, percent, words
from train.config import TrainConfig
from train.keys.lora import LoraKeys
from train.keys.methods import MethodKeys
from train.keys.schedule import ScheduleKeys

SHOWN = (
    *("init", "steps", "global_batch", "schedule", "peak_lr", "warmup_steps", "floor"),
    *("weight_decay", "max_grad_norm", "dtype", "seed"),
)
"""Training keys that are always told."""
WHERE_SET = (*ScheduleKeys.model_fields, *MethodKeys.model_fields, *LoraKeys.model_fields)
"""Training keys that are told where they are not at their default."""
STEPS = 5
"""Steps named of each kind of event."""
INTERVAL = "95 % interval"


def sources(facts: Facts) -> str:
    """Each source with its size and licence."""
    rows = [
        (one["pool"], one["source"], f"{one['documents']:,}", human_bytes(one["bytes"]), facts.licences[one["source"]])
        for one in facts.manifest["sources"]
    ]
    told = "Licences are as the pipeline file names them, one a source; licences that differ within it are not known."
    if unknown := [source for source, licence in facts.licences.items() if licence == UNKNOWN]:
        told += f" Of {len(unknown)} of {len(facts.licences)} sources the licence is unknown."
    return section("Sources and licences", told, table(("pool", "source", "documents read", "size", "licence"), rows))


def funnel(facts: Facts) -> str:
    """What each stage removed and edited, with reasons."""
    rows = []
    for stage in facts.manifest["stages"]:
        edits = f"{stage['documents_edited']:,} ({_counts(stage['edits'])})" if stage["edits"] else ""
        removed, kept = f"{stage['documents_removed']:,}", f"{stage['documents_kept']:,}"
        rows.append(
            (words(stage["name"]), f"{stage['documents_in']:,}", removed, kept, _counts(stage["reasons"]), edits)
        )
    kept = facts.manifest["kept"]
    left = ", ".join(f"{one['documents']:,} ({human_bytes(one['bytes'])}) {pool}" for pool, one in sorted(kept.items()))
    headings = ("stage", "documents in", "removed", "left", "removed because of", "documents edited (spans)")
    told = f"Kept: {left}. Every document read is either kept, held out, or in the run's ledger with its reason."
    return section("Curation", told, table(headings, rows))


def held_out(facts: Facts) -> str:
    """What was set aside."""
    counts = facts.manifest["held_out"]
    told = ", ".join(
        f"{one['documents']:,} ({human_bytes(one['bytes'])}) {pool}" for pool, one in sorted(counts.items())
    )
    return section("Held out", f"Set aside by a hash of the text, never trained on: {told} documents.") if told else ""


def mixture(facts: Facts) -> str:
    """Shares asked, planned and trained on, and tokens and epochs of each source."""
    if facts.mixture is None:
        return section("Mixture", "No mixture has been built of the documents.")
    plan, asked, got, budget = (facts.mixture[name] for name in ("plan", "asked", "got", "budget"))
    trained = _trained_shares(facts)
    pools = [
        (pool, percent(asked[pool]), percent(dealt["share"]), trained.get(pool, ""), f"{dealt['tokens']:,}")
        for pool, dealt in got.items()
    ]
    by_source = [
        (
            pool,
            one["name"],
            f"{one['documents']:,}",
            f"{one['tokens']:,}",
            f"{dealt['rows']:,}",
            f"{dealt['epochs']:.3f}",
        )
        for pool, packed in plan["pools"].items()
        for one in packed
        for dealt in (got[pool]["sources"][one["name"]],)
    ]
    rows = f"{budget['rows']:,} rows of {plan['seq_len']:,} tokens, {budget['global_batch']:,} a step"
    return section(
        "Mixture",
        f"The plan deals {rows}, with this share of each pool in every step.",
        table(("pool", "asked", "planned", "trained on", "tokens planned"), pools),
        table(("pool", "source", "documents", "tokens", "rows planned", "epochs"), by_source),
    )


def about_model(facts: Facts) -> str:
    """What the model is, how it is loaded, whose licence holds."""
    base = text(base_name(facts.pipeline))
    made = f"The shape of {base}, trained from random weights" if facts.from_scratch else f"{base}, continued"
    loads = (
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model, tokenizer = (kind.from_pretrained("FOLDER") for kind in (AutoModelForCausalLM, AutoTokenizer))\n```'
    )
    licence = (
        "The licence of this model has not been decided here (`license: unknown`): those of the base model and of the "
        "sources below bear on it."
    )
    return f"{made} on domain text with replay of general text by Palimpsest.\n\n{loads}\n\n{licence}"


def training(facts: Facts) -> str:
    """Keys, and what happened."""
    run = facts.training
    assert run
    keys = {name: run.keys[f"train.{name}"] for name in SHOWN}
    defaults = TrainConfig().model_dump(mode="json")
    keys |= {name: value for name in WHERE_SET if (value := run.keys[f"train.{name}"]) != defaults[name]}
    told = f"Exported after step {run.made_of['step']:,}."
    if run.steps:
        told += f" {run.steps[-1]['step']:,} steps made, {run.steps[-1]['tokens']:,} tokens seen."
    happened: dict[str, list[int]] = {}
    for entry in run.journal:
        if entry["event"] not in ("start", "finish"):
            happened.setdefault(entry["event"], []).append(entry["step"])
    rows = [
        (words(event), len(steps), ", ".join(map(str, steps[:STEPS])) + (", ..." if len(steps) > STEPS else ""))
        for event, steps in happened.items()
    ]
    events = table(("event", "times", "at steps"), rows) if rows else "The journal has no event but start and finish."
    return section("Training", told, table(("key", "value"), keys.items()), events)


def tokenizer(facts: Facts) -> str:
    """How many tokens were added."""
    if facts.pipeline.tokenizer.train:
        return section("Tokenizer", f"Trained on the documents: {facts.pipeline.tokenizer.train:,} tokens.")
    added = len(facts.extension["new_tokens"]) if facts.extension else 0
    if not added:
        return section("Tokenizer", "The base's, unchanged.")
    told = f"The base's, with {added:,} tokens added that were learned on the domain documents. Old ids are unchanged."
    return section("Tokenizer", told)


def scores(facts: Facts) -> str:
    """Bits per byte of held-out text, by pool and source."""
    title = "Bits per byte of held-out text"
    if facts.scores is None:
        return section(title, "Not measured for this model.")
    base, trained = facts.scores["base"], facts.scores["trained"]["groups"]
    rows = []
    for name, group in trained.items():
        row = [name, f"{group['documents']:,}", f"{group['bits_per_byte']:.4f}"]
        if base:
            change = facts.scores["difference"][name]
            row.insert(2, f"{base['groups'][name]['bits_per_byte']:.4f}")
            row += [f"{change['change']:+.4f}", f"{change['percent']:+.1f} %", _interval(change, 4), change["verdict"]]
        rows.append(row)
    compared = ("base", "trained", "change", "in %", INTERVAL, "verdict") if base else ("trained",)
    told = "Lower is better. `general` is held-out text of the replay pool. The interval is a paired bootstrap over "
    told += "documents; a change whose interval holds 0 is called no change."
    return section(title, told, table(("held-out text", "documents", *compared), rows))


def tasks(facts: Facts) -> str:
    """Percent right of both tracks' tasks."""
    if not facts.scores or not facts.scores["tasks"]:
        return section("Tasks", "No task of either track was scored.")
    rows = []
    for name, one in facts.scores["tasks"].items():
        before, change = (
            "" if one[key] is None else f"{one[key]:{form}}" for key, form in (("base", ".1f"), ("change", "+.1f"))
        )
        row = (
            name,
            f"{one['items']:,}",
            before,
            f"{one['trained']:.1f}",
            change,
            _interval(one, 1),
            one["verdict"] or "",
        )
        rows.append(row)
    told = "Percent right of the same items before and after; the interval is a paired bootstrap over items."
    return section("Tasks", told, table(("task", "items", "base", "trained", "change", INTERVAL, "verdict"), rows))


def thresholds(facts: Facts) -> str:
    """What loss was declared too much, and what was beyond it."""
    if not facts.scores:
        return ""
    limits, found = facts.scores["settings"]["thresholds"], facts.scores["breaches"]
    told = (
        f"Declared as too much: a general task that falls by more than {limits['task_points']:g} percent points with "
        f"an interval below 0, or general bits per byte that rise by more than {limits['bits_per_byte_percent']:g} %."
    )
    if facts.scores["base"] is None:
        return section("Thresholds", told, "Not judged: there is no base to compare with.")
    if not found:
        return section("Thresholds", told, "Nothing measured is beyond them.")
    rows = [(one["what"], f"{one['base']:.4g}", f"{one['now']:.4g}", f"{one['limit']:.4g}") for one in found]
    return section("Thresholds", told, "**Beyond them:**", table(("figure", "base", "trained", "limit"), rows))


def contamination(facts: Facts) -> str:
    """What decontamination removed, and what it was not asked to look for."""
    ran = [one for one in facts.manifest["stages"] if one["name"].startswith("decontaminate")]
    if ran:
        removed, edited = (sum(one[key] for one in ran) for key in ("documents_removed", "documents_edited"))
        told = f"Benchmark items were looked for in {ran[0]['documents_in']:,} documents: {removed:,} were removed"
        told += f" and {edited:,} cut." if edited else "."
    else:
        told = "Benchmark items were not looked for in the documents."
    checked = facts.scores["contamination"] if facts.scores else {}
    rows = [
        (task, f"{one['items']:,}", f"{one['not_asked']:,}", f"{one['removed']:,}", f"{one['held']:,}")
        for task, one in checked.items()
    ]
    headings = (
        "task",
        "items",
        "of these not looked for",
        "documents removed for its benchmark",
        "not looked for and found now",
    )
    return section("Contamination", told, table(headings, rows) if rows else "")


def model_index(facts: Facts) -> dict[str, Any]:
    """The figures as the front matter holds them; nothing where there are none."""
    if not facts.scores:
        return {}
    figures = [
        (f"held-out {pool} text", f"held-out-{pool}", "bits_per_byte", "bits per byte", group["bits_per_byte"])
        for pool, group in facts.scores["trained"]["groups"].items()
        if "/" not in pool
    ]
    figures += [(name, name, "score", "% right", one["trained"]) for name, one in facts.scores["tasks"].items()]
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": name, "type": kind},
            "metrics": [{"type": metric, "name": shown, "value": round(value, 4)}],
        }
        for name, kind, metric, shown, value in figures
    ]
    return {"model-index": [{"name": facts.pipeline.name, "results": results}]}


def _counts(reasons: dict[str, int]) -> str:
    return ", ".join(f"{words(name)} {number:,}" for name, number in Counter(reasons).most_common())


def _trained_shares(facts: Facts) -> dict[str, str]:
    """Share of each pool in the rows of all steps made."""
    steps = facts.training.steps if facts.training else []
    if not steps:
        return {}
    domain = sum(step["domain_share"] for step in steps) / len(steps)
    return {"domain": percent(domain), "replay": percent(1 - domain)}


def _interval(change: dict[str, Any], digits: int) -> str:
    return "" if change["low"] is None else f"{change['low']:+.{digits}f} to {change['high']:+.{digits}f}"
