"""What train.plan prints: each number with what it assumes."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(plan: dict[str, Any], console: Console | None = None) -> None:
    """Print a plan as `train.plan.make` made it. GB are 1e9 bytes, MB 1e6."""
    console = console or Console(soft_wrap=True, highlight=False)
    phases = [_phases(plan)] if plan["phases"] else []
    for table in (_needs(plan), *phases, _memory(plan), _fits(plan), _warranted(plan)):
        console.print(table)
        console.print()
    console.print(f"[bold]{plan['warranted']['verdict']}[/bold]")


def _needs(plan: dict[str, Any]) -> Table:
    model, budget, flops, speed, cost = (plan[name] for name in ("model", "budget", "flops", "speed", "cost"))
    corpus, epochs = budget["corpus"], budget["epochs"]
    table = _table(f"{model['folder']}: what training takes", "", "figure", "assumption")
    rows = [
        ("parameters", f"{model['parameters']:,}", f"config.json, {model['kind']}, vocabulary {model['vocab']:,}"),
        ("training tokens", f"{budget['tokens']:,.0f}", budget["tokens_from"]),
        ("domain tokens", "unknown" if corpus is None else f"{corpus:,.0f}", budget["corpus_from"]),
        (
            "domain epochs",
            "unknown" if epochs is None else f"{epochs:.2f}",
            "training tokens x mean domain share / domain tokens",
        ),
        ("passes per step", f"{plan['accumulation']:g}", _accumulation(plan)),
        ("FLOP, 6ND", f"{flops['rule_of_thumb']:.3g}", "6 per parameter and token (arXiv 2001.08361)"),
        (
            "FLOP, counted",
            f"{flops['counted']:.3g}",
            "matrix products forward and backward, causal attention over the row",
        ),
        ("FLOP, recomputed", f"{flops['recomputed']:.3g}", f"checkpointing: {plan['memory']['work']['checkpointing']}"),
        ("GPU-hours at peak", f"{cost['gpu_hours_at_peak']:,.1f}", _at_peak(plan)),
    ]
    if speed is None:
        kind, float32 = plan["memory"]["gpu"]["name"], plan["memory"]["work"]["element"] > 2
        lacking = "published figures are for train.dtype bfloat16" if float32 else f"none published for {kind} and size"
        advice = f"{lacking}; else give --tokens-per-second, --mfu or --probe"
        rows.append(("tokens/s", "unknown", advice))
    else:
        share = "" if speed["utilisation"] is None else f"; MFU {speed['utilisation']:.1%}"
        rows += [
            ("tokens/s", f"{speed['tokens_per_second']:,.0f}", speed["about"] + share),
            (
                "wall-clock",
                _duration(cost["hours"]),
                "tokens / tokens per second; no stops, evaluations or checkpoints",
            ),
            ("GPU-hours", f"{cost['gpu_hours']:,.1f}", f"wall-clock x {speed['devices']}"),
        ]
        price = "--price not given" if cost["price"] is None else f"at {cost['price']:g} a GPU-hour"
        rows.append(("cost", "unknown" if cost["cost"] is None else f"{cost['cost']:,.2f}", price))
    for row in rows:
        table.add_row(*row)
    return table


def _phases(plan: dict[str, Any]) -> Table:
    table = _table("phases", "", "steps", "tokens", "domain / replay", "documents of the domain", "learning rate")
    for phase in plan["phases"]:
        steps = f"{phase['first_step']:,} to {phase['first_step'] + phase['steps'] - 1:,}"
        shares = f"{phase['domain']:.2%} / {phase['replay']:.2%}"
        documents = "the best (mix.best)" if phase["best"] else "all"
        table.add_row(phase["name"], steps, f"{phase['tokens']:,}", shares, documents, phase["learning_rate"])
    return table


def _accumulation(plan: dict[str, Any]) -> str:
    text = "train.global_batch / (train.local_batch x GPUs with rows of their own)"
    whole = plan["accumulation"] >= 1 and plan["accumulation"].is_integer()
    return text if whole else f"{text}: not whole, so train.launch would refuse it"


def _at_peak(plan: dict[str, Any]) -> str:
    gpu = plan["memory"]["gpu"]
    return f"6ND at {gpu['peak'] / 1e12:g} TFLOP/s ({gpu['source']}, bf16): a lower bound, reached by no training"


def _memory(plan: dict[str, Any]) -> Table:
    memory = plan["memory"]
    unit, size = _unit(plan)
    gpu, work, whole, mine = memory["gpu"], memory["work"], memory["unsharded"], memory["per_gpu"]
    title = f"memory in {unit}: {memory['layout']['name']} of {memory['layout']['gpus']} x {gpu['name']}"
    table = _table(title, "", "unsharded", "per GPU", "assumption")
    rows = f"{work['batch']} x {work['seq_len']} tokens a GPU, {work['element']} bytes a number"
    rows += f", checkpointing: {work['checkpointing']}"
    states = memory["states"]
    if work["lora_rank"]:
        states += f"; gradients and moments of rank-{work['lora_rank']} adapters only"
    about = {
        "weights": states,
        "optimizer": "AdamW's two moments, fresh",
        "gradients": "sharded as the weights are",
        "activations": rows,
        "buffers": "what FSDP2 gathers of the layers at work, and reduces",
    }
    for name, text in about.items():
        table.add_row(name, f"{whole[name] / size:,.1f}", f"{mine[name] / size:,.1f}", text)
    limit = f"{gpu['memory'] / 1e9:,.1f} GB less a tenth for CUDA, NCCL and fragmentation: {memory['limit'] / 1e9:,.1f}"
    verdict = "fits" if memory["fits"] else "does not fit"
    table.add_row(
        "sum", f"{whole['total'] / size:,.1f}", f"{mine['total'] / size:,.1f}", f"{verdict}: {limit}", style="bold"
    )
    return table


def _fits(plan: dict[str, Any]) -> Table:
    fits, (unit, size) = plan["fits"], _unit(plan)
    title = f"which layout fits: {unit} per GPU (what is recomputed)"
    table = _table(title, "GPU", "holds", *fits["layouts"], "FSDP from (GPUs)")
    for name, kind in fits["kinds"].items():
        cells = [_cell(cell, size) for cell in kind["layouts"]]
        fewest = "no number" if kind["fewest"] is None else str(kind["fewest"])
        table.add_row(name, f"{kind['limit'] / size:,.0f}", *cells, fewest)
    return table


def _cell(cell: dict[str, Any], size: float) -> str:
    amount = f"{cell['bytes'] / size:,.1f}"
    return f"{amount} ({cell['checkpointing']})" if cell["fits"] else f"no: {amount}"


def _warranted(plan: dict[str, Any]) -> Table:
    table = _table("is continued pretraining warranted?", "question", "found", "so", "rule")
    for finding in plan["warranted"]["findings"]:
        table.add_row(finding["question"], finding["found"], finding["follows"], finding["source"])
    return table


def _unit(plan: dict[str, Any]) -> tuple[str, float]:
    """Name and bytes of the unit that the plan's memory is given in."""
    return ("GB", 1e9) if plan["memory"]["per_gpu"]["total"] >= 1e9 else ("MB", 1e6)


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 3600:,.0f} seconds"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
