"""What was not checked: sentences that follow from the stages that ran, the licences and the scores."""

from typing import Any, get_args

from curate.redact import Entity
from curate.stage import Stage
from eval.card_data import UNKNOWN, Facts
from eval.card_markdown import bullets, section, text

NOT_RUN = {
    "redact": "Identifiers of people: no stage looked for e-mail addresses, numbers, dates or names (no `redact`).",
    "toxicity": "Toxic, hateful or sexual text: no stage looked for it (no `toxicity`).",
    "language": "Language: no stage looked at it (no `language`).",
    "exact_dedup": "Documents that stand there twice: not looked for (no `exact_dedup`).",
    "near_dedup": "Near-duplicates: not looked for (no `near_dedup`).",
    "decontaminate": "Benchmark items in the text: not looked for (no `decontaminate`); scores may show what was read.",
}
"""Stage -> what goes unchecked without it."""
ENTITIES = "It finds no organisations, street addresses or numbers written in words."


def section_of(found: list[str]) -> str:
    """The section, in Markdown."""
    return section("Not checked", bullets(found))


def of_documents(facts: Facts) -> list[str]:
    """What was not checked of the documents, each as a sentence of Markdown."""
    ran = {stage.name for stage in facts.stages}
    found = [told for name, told in NOT_RUN.items() if name not in ran]
    for stage in facts.stages:
        found += _redact(stage) if stage.name == "redact" else []
        found += _toxicity(stage) if stage.name == "toxicity" else []
        if stage.sources and stage.name in NOT_RUN and stage.name != "redact":
            found.append(f"Sources other than {', '.join(map(text, stage.sources))}: `{stage.name}` left them alone.")
    if tokens := [one.source for one in facts.pipeline.mix.token_files]:
        found.append(f"All of {', '.join(map(text, tokens))}: taken as tokens, which no stage has looked at.")
    if unknown := [source for source, licence in facts.licences.items() if licence == UNKNOWN]:
        found.append(f"Licences of {', '.join(map(text, unknown))}: the pipeline file names none.")
    if known := len(facts.licences) - len(unknown):
        found.append(f"Licences of {known} sources: taken from the pipeline file, not from the documents.")
    if not facts.pipeline.eval.held_out:
        found.append("No documents were held out, so nothing can be measured on text of these sources.")
    found.append("Whether what the documents say is true, up to date or fair: no stage judges it.")
    return found


def of_model(facts: Facts) -> list[str]:
    """What was not checked of the model."""
    scores = facts.scores
    if scores is None:
        return ["What was gained or forgotten: this model has not been measured (`python -m eval.run`).", *_never()]
    found = []
    for track in ("domain", "general"):
        names = [name for name in scores["tasks"] if name.startswith(f"{track}/")]
        if not names:
            found.append(f"Tasks of the {track} track: none was scored, there is bits per byte alone.")
    if scores["base"] is None:
        found.append("A comparison with a base: the model was trained from random weights.")
    if items := scores["settings"]["items"]:
        if scores["tasks"]:
            found.append(f"Whole benchmarks: at most {items:,} items of each task were scored.")
    found += _not_looked_for(scores["contamination"])
    few = [name for name, group in scores["trained"]["groups"].items() if group["documents"] < 30 and "/" in name]
    if few:
        found.append(f"Sources with fewer than 30 held-out documents say little: {', '.join(map(text, few))}.")
    return [*found, *_never()]


def _never() -> list[str]:
    return [
        "Safety, bias, refusals and following instructions: nothing here measures them; this is a base model.",
        "What the model repeats of its training text word for word: not measured.",
        "How much another seed would change: one training run was measured.",
    ]


def _redact(stage: Any) -> list[str]:
    found = []
    if stage.recogniser == "none":
        found.append(f"Names of people and places: `redact` ran without a recogniser of names. {ENTITIES}")
    else:
        found.append(f"Names that the recogniser misses. {ENTITIES}")
    if stage.sources:
        found.append(
            f"Identifiers in sources other than {', '.join(map(text, stage.sources))}: `redact` left them out."
        )
    left_out = [one for one in get_args(Entity) if one not in stage.entities]
    if left_out:
        found.append(f"Identifiers that `redact` was not asked to replace: {text(', '.join(left_out))}.")
    return found


def _toxicity(stage: Stage) -> list[str]:
    by = [name for name in ("words", "classifier") if getattr(stage, name)]
    return [f"Toxic text that the {' and the '.join(by)} given to `toxicity` does not know."]


def _not_looked_for(contamination: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"Contamination by {one['not_asked']:,} of {one['items']:,} items of {text(task)}: not looked for by curation."
        for task, one in contamination.items()
        if one["not_asked"]
    ]
