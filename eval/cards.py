"""A dataset card and a model card in the Hugging Face form, from what the run has on disk.

    python -m eval.cards [RUN] [--train.run NAME]

Writes <run>/documents/README.md, and train/<run>/export/README.md where a training run has been exported: YAML front
matter and Markdown, so that either folder can be uploaded as it is (`hf upload`). Figures come from manifest.json,
mixture.json, extension.json, train/<run> and eval/scores.json, licences from the pipeline's `licences`. What is not
known or was not checked is said. No text of a document, no id, no new token and no path of the machine is put in.
"""

from pathlib import Path
from typing import Any

import yaml

from eval import card_data, card_limits, card_sections
from eval.card_data import Facts
from eval.card_markdown import text
from pipelines import cli
from pipelines.config import Pipeline

CARD = "README.md"
TAGS = ["palimpsest", "continued-pretraining"]
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")
"""The hub's size categories; the n-th ends at 10 to the power of n + 3."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, _ = cli.parse("eval.cards", __doc__ or "", "eval", argv)
    for path in write(pipeline):
        print(path)
    if not card_data.export(pipeline).is_dir():
        print(f"{card_data.export(pipeline)}: is not there, so there is no model to write a card for yet")


def write(pipeline: Pipeline) -> list[Path]:
    """Write the cards, each whole or not at all; returns their paths.

    Raises ValueError where curation has not finished, or the files belong to different runs.
    """
    from curate.files import write_text

    facts = card_data.read(pipeline)
    cards = {pipeline.folder / "documents" / CARD: dataset_card(facts)}
    if facts.training:
        cards[card_data.export(pipeline) / CARD] = model_card(facts)
    for path, card in cards.items():
        write_text(path, card)
    return list(cards)


def dataset_card(facts: Facts) -> str:
    """The card of the kept documents."""
    kept = facts.manifest["kept"]
    number = sum(pool["documents"] for pool in kept.values())
    head = {
        "pretty_name": facts.pipeline.name,
        "license": _one_or_all(sorted({card_data.identifier(licence) for licence in facts.licences.values()})),
        **_language(facts),
        "task_categories": ["text-generation"],
        "size_categories": [SIZES[min(len(SIZES) - 1, max(0, len(str(number)) - 3))]],
        "tags": TAGS,
        "configs": [{"config_name": pool, "data_files": f"{pool}/*/*.parquet"} for pool in sorted(kept)],
    }
    sections = (
        f"# {text(facts.pipeline.name)}: documents",
        f"{number:,} documents for continued pretraining, curated by Palimpsest. `domain` is what a model is to learn, "
        "`replay` general text against forgetting. Columns: id, text, pool, source, origin, scores.",
        card_sections.sources(facts),
        card_sections.funnel(facts),
        card_sections.held_out(facts),
        card_sections.mixture(facts),
        card_limits.section_of(card_limits.of_documents(facts)),
    )
    return _card(head, sections)


def model_card(facts: Facts) -> str:
    """The card of the exported model."""
    base = facts.pipeline.model
    head = {
        "license": "unknown",
        **({"base_model": base} if card_data.on_the_hub(base) and not facts.from_scratch else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **_language(facts),
        "tags": TAGS,
        **card_sections.model_index(facts),
    }
    sections = (
        f"# {text(facts.pipeline.name)}, training run {text(facts.pipeline.train.run)}",
        card_sections.about_model(facts),
        card_sections.training(facts),
        card_sections.tokenizer(facts),
        card_sections.mixture(facts),
        card_sections.scores(facts),
        card_sections.tasks(facts),
        card_sections.thresholds(facts),
        card_sections.contamination(facts),
        card_limits.section_of([*card_limits.of_model(facts), *card_limits.of_documents(facts)]),
        card_sections.sources(facts),
        card_sections.funnel(facts),
    )
    return _card(head, sections)


def _card(head: dict[str, Any], sections: tuple[str, ...]) -> str:
    matter = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _language(facts: Facts) -> dict[str, Any]:
    """What the stage `language` kept; nothing where it did not run or kept all."""
    languages = [code for stage in facts.stages if stage.name == "language" for code in stage.keep]  # type: ignore[attr-defined]
    return {"language": list(dict.fromkeys(languages))} if languages else {}


def _one_or_all(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


if __name__ == "__main__":
    cli.run(main)
