"""The report on cost: steps, tokens, arithmetic and time, planned and measured, and what the run was made with."""

import statistics
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from eval.report_data import Run
from eval.report_html import EMPTY, Figure, html, human_bytes, missing, pairs, percent, section, table
from train.flops import rule_of_thumb
from train.gpus import GIB

Row = tuple[str, str | Markup, str | Markup, str]
"""What, planned, measured, how it is counted."""


def cost(run: Run) -> Markup:
    """What training took, beside what the pipeline asked for."""
    about = (
        "Planned is what the pipeline's keys ask for, and what train.plan foresaw; measured is what training wrote "
        "down. Time is that of the steps, without evaluations, checkpoints and starts."
    )
    title = "Cost against the plan"
    if not run.steps:
        return section("cost", title, about, missing("No training yet.", "torchrun -m train.launch"))
    body = table(("", "planned", "measured", "how it is counted"), _rows(run))
    return section("cost", title, about, body, _foreseen(run.plan))


def _foreseen(plan: dict[str, Any] | None) -> Markup:
    """What the planned figures are for."""
    if plan is None:
        return html('<p class="about">No plan of time and memory was made: <code>python -m train.plan</code>.</p>')
    layout, gpu = plan["memory"]["layout"], plan["memory"]["gpu"]
    told = f"Planned for {layout['gpus']:,} × {gpu['name']} ({layout['name']})"
    told += f"; its speed: {plan['speed']['about']}." if plan["speed"] else "; its speed is not known."
    return html('<p class="about">{}</p>', told)


def _rows(run: Run) -> list[Row]:
    keys, last = run.pipeline.train, run.steps[-1]
    tokens_a_step = last["tokens"] / last["step"]
    planned, given_up = keys.steps * tokens_a_step, [step for step in run.rolled_back if "loss" in step]
    made = last["step"] + len(given_up)
    of_given_up = f"{len(given_up):,} of them given up by roll-backs" if given_up else "optimizer steps"
    rows: list[Row] = [
        ("steps", f"{keys.steps:,}", f"{made:,}", of_given_up),
        ("tokens", f"{planned:,.0f}", f"{made * tokens_a_step:,.0f}", "steps × global batch × sequence length"),
    ]
    parameters = _parameters(run)
    if parameters:
        asked, got = (_scientific(rule_of_thumb(parameters, tokens)) for tokens in (planned, made * tokens_a_step))
        rows.append(("arithmetic, FLOP", asked, got, f"6 × {parameters:,} parameters × tokens (arXiv 2001.08361)"))
    speeds = _measured(run, "tokens_per_second")
    if speeds:
        rows += _time(run, speeds, tokens_a_step, parameters)
    if waits := _measured(run, "data_wait_share"):
        rows.append(
            ("waiting for data", "", percent(statistics.mean(waits)), "mean share of a step's time, first rank")
        )
    plan = run.plan or {}
    if memory := _measured(run, "memory_gib"):
        foreseen = human_bytes(plan["memory"]["per_gpu"]["total"]) if plan else ""
        rows.append(("memory", foreseen, human_bytes(max(memory) * GIB), "most held by a process, or on its GPU"))
    if used := _measured(run, "mfu"):
        share = (plan.get("speed") or {}).get("utilisation")
        foreseen = "" if share is None else percent(share)
        rows.append(("utilisation (MFU)", foreseen, percent(statistics.median(used)), "median, of bf16 peak"))
    return rows


def _time(run: Run, speeds: list[float], tokens_a_step: float, parameters: int | None) -> list[Row]:
    """Speed, time, and what is left of an unfinished run."""
    speed = statistics.median(speeds)
    hours = sum(tokens_a_step / one for one in speeds) / 3600
    plan = run.plan or {}
    foreseen, spent = plan.get("speed"), plan.get("cost", {})
    rows: list[Row] = [
        (
            "tokens per second",
            f"{foreseen['tokens_per_second']:,.0f}" if foreseen else "",
            f"{speed:,.0f}",
            "median step, all processes together",
        ),
        ("time", _hours(spent["hours"]) if foreseen else "", _hours(hours), "sum of the steps"),
    ]
    if foreseen and spent["cost"] is not None:
        asked, got = spent["cost"], hours * foreseen["devices"] * spent["price"]
        about = f"time × the plan's {foreseen['devices']:,} devices × {spent['price']:g} an hour"
        rows.append(("money", f"{asked:,.2f}", f"{got:,.2f}", about))
    if parameters:
        reached = _scientific(rule_of_thumb(parameters, speed))
        rows.append(("arithmetic, FLOP/s", "", reached, "6 × parameters × tokens per second"))
    left = run.pipeline.train.steps - run.steps[-1]["step"]
    if left > 0:
        told = f"for the {left:,} steps not made yet, at the median speed"
        rows.append(("time to the end", _hours(left * tokens_a_step / speed / 3600), "", told))
    return rows


def _measured(run: Run, key: str) -> list[float]:
    """A figure of all steps made, those given up among them."""
    return [step[key] for step in [*run.steps, *run.rolled_back] if step.get(key) is not None]


def _parameters(run: Run) -> int | None:
    """Parameters of the trained model: of its export, of the base with rows for new tokens, or of the base."""
    from train import architecture

    training = run.pipeline.folder / "train" / run.pipeline.train.run
    for folder in (training / "export", training / "initial", Path(run.pipeline.model)):
        if (folder / "config.json").is_file():
            return architecture.read(folder).parameters
    return None


def _scientific(value: float) -> Markup:
    """2.5e15 as 2.5 times a power of 10."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return html("{} × 10<sup>{}</sup>", mantissa, int(exponent))


def _hours(hours: float) -> str:
    """0.02 -> 1.2 minutes."""
    if hours * 3600 < 100:
        return f"{hours * 3600:.0f} seconds"
    return f"{hours * 60:.1f} minutes" if hours < 2 else f"{hours:,.1f} hours"


def provenance(run: Run) -> Markup:
    """Versions, identities and the pipeline as resolved."""
    about = "Equal identities mean equal inputs, keys and code version; equal weights have equal hashes."
    versions: dict[str, Any] = {}
    rows = []
    for stage in (run.manifest or {}).get("stages", []):
        versions |= {library: found for library, found in stage["versions"].items() if library != "stage"}
        seconds = Figure(stage["seconds"], f"{stage['seconds']:.1f}")
        rows.append((stage["name"], html("<code>{}</code>", stage["identity"]), seconds))
    for event in run.journal:
        versions |= event.get("versions", {})
    versions |= run.scores["versions"] if run.scores else {}
    hashes = _hashes(run)
    parts = [html("<h3>Versions</h3>{}", pairs(versions)) if versions else EMPTY]
    parts.append(html("<h3>Hashes</h3>{}", pairs(hashes)) if hashes else EMPTY)
    parts.append(html("<h3>Stages</h3>{}", table(("stage", "identity", "seconds"), rows, (2,))) if rows else EMPTY)
    resolved = yaml.safe_dump(run.pipeline.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    name = "All keys, as the training run was made with them" if run.made_with else "pipeline.yaml as resolved"
    parts.append(html("<details><summary>{}</summary><pre>{}</pre></details>", name, resolved))
    return section("provenance", "Made with", about, *parts)


def _hashes(run: Run) -> dict[str, str]:
    """Name -> identity of what the run is made of."""
    names = {"model files": "base model", "tokenizer.json": "tokenizer", "mixture.json": "mixture"}
    hashes = {name: run.made_with[key] for key, name in names.items() if key in run.made_with}
    if run.checkpoints:
        newest = run.checkpoints[-1]
        hashes[f"checkpoint of step {newest['step']}"] = newest["identity"]
    if run.scores:
        hashes["held-out documents"] = run.scores["held_out"]["identity"]
        for name in ("base", "trained"):
            if run.scores[name]:
                hashes[f"{name} model, weights"] = run.scores[name]["identity"]
    return hashes
