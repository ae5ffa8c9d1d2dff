"""The cards: front matter that the hub takes, every figure from the run, and nothing of the text in them.

The run is made-up text; no real text is needed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.files import read_json, write_json
from eval import card_data, card_limits, card_markdown, cards
from pipelines import config
from pipelines.config import Pipeline
from tests.eval import small_run

STAGES = ["language", "near_dedup", {"redact": {"sources": ["notes"]}}, "substring_dedup"]
"""Those of small_run.manifest."""
LICENCES = {"notes": "CC BY 4.0", "tri*": "MIT"}


@pytest.fixture
def finished(whole_run: Path) -> Path:
    """The scored run with its stages, licences, and the files of an exported training run that small_run leaves out."""
    manifest = read_json(whole_run / "manifest.json")
    manifest["sources"] = [
        {"pool": pool, "source": source, "path": f"{source}.jsonl.gz", "documents": 56, "bytes": 28000}
        for pool, sources in small_run.SOURCES.items()
        for source in sources
    ]
    manifest["kept"] = {"domain": {"documents": 80, "bytes": 40000}, "replay": {"documents": 40, "bytes": 20000}}
    write_json(whole_run / "manifest.json", manifest)
    pipeline = config.load(whole_run / "pipeline.yaml", {"curate.stages": STAGES, "licences": LICENCES})
    config.save(pipeline, whole_run / "pipeline.yaml")
    training = whole_run / "train" / "main"
    keys = {f"train.{key}": value for key, value in pipeline.train.model_dump(mode="json").items()}
    write_json(training / "config.json", keys | {"train.ewc": 100.0})
    write_json(training / "export" / "export.json", {"step": 20, "holds": "model"})
    return whole_run


def load(run: Path, **overrides: Any) -> Pipeline:
    return config.load(run / "pipeline.yaml", overrides)


def written(run: Path, **overrides: Any) -> tuple[str, str]:
    """The dataset card and the model card."""
    cards.write(load(run, **overrides))
    paths = (run / "documents" / "README.md", run / "train" / "main" / "export" / "README.md")
    dataset, model = (path.read_text(encoding="utf-8") for path in paths)
    return dataset, model


def front(card: str) -> dict[str, Any]:
    start, matter, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter)


def row(card: str, *cells: str) -> bool:
    """Whether a table has a row that begins so."""
    return any(line.startswith("| " + " | ".join(cells) + " |") for line in card.splitlines())


def test_the_hub_takes_the_front_matter(finished: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    dataset, model = written(finished)
    data = hub.DatasetCard(dataset).data
    assert data.license == ["cc-by-4.0", "mit", "unknown"] and data.language == ["en"]
    assert data.size_categories == ["n<1K"] and data.task_categories == ["text-generation"]
    assert hub.DatasetCardData(**front(dataset)).to_dict() == front(dataset)
    described = hub.ModelCard(model).data
    assert described.library_name == "transformers" and described.license == "unknown"
    scores = read_json(finished / "eval" / "scores.json")["trained"]
    measured = {result.dataset_type: result.metric_value for result in described.eval_results}
    assert measured == {f"held-out-{pool}": round(scores[f"{pool}_bits_per_byte"], 4) for pool in ("domain", "general")}


def test_the_data_files_that_the_card_names_are_those_of_each_pool(finished: Path) -> None:
    from datasets import load_dataset

    written(finished)
    loaded = load_dataset(str(finished / "documents"), "replay", split="train", streaming=True)
    assert {document["pool"] for document in loaded} == {"replay"}


def test_every_figure_of_the_run_is_told(finished: Path) -> None:
    dataset, model = written(finished)
    for card in (dataset, model):
        assert row(card, "domain", "notes", "56", "28 kB", "CC BY 4.0") and row(card, "replay", "books", "56")
        assert row(card, "near dedup", "163", "7", "156", "near duplicate 7") and row(card, "language", "168", "5")
        assert row(card, "domain", "80.0 %", "80.0 %", "81.2 %") and row(card, "domain", "notes", "40")
        assert "the licence is unknown" in card and row(card, "redact", "156", "0", "156", "", "4 (email 4)")
    assert "24 (12 kB) domain, 12 (6 kB) replay" in dataset
    assert row(model, "ewc", "100.0") and row(model, "steps", "300") and row(model, "resume", "1", "10")
    assert "20 steps made, 20,480 tokens seen" in model and "2 tokens added" in model
    scores = read_json(finished / "eval" / "scores.json")
    for name, change in scores["difference"].items():
        before, after = (scores[which]["groups"][name]["bits_per_byte"] for which in ("base", "trained"))
        documents = str(scores["trained"]["groups"][name]["documents"])
        interval = f"{change['low']:+.4f} to {change['high']:+.4f}"
        cells = (f"{before:.4f}", f"{after:.4f}", f"{change['change']:+.4f}", f"{change['percent']:+.1f} %", interval)
        assert row(model, name, documents, *cells, change["verdict"])
    assert "rise by more than 1 %" in model and "Benchmark items were not looked for" in model
    beyond = [one["what"] for one in scores["breaches"]]
    assert ("**Beyond them:**" in model) == bool(beyond) and ("Nothing measured is beyond" in model) != bool(beyond)


def test_tasks_contamination_and_breaches_are_told(finished: Path) -> None:
    path = finished / "eval" / "scores.json"
    scores = read_json(path)
    measured = {"items": 200, "base": 61.0, "trained": 52.5, "change": -8.5, "low": -12.0, "high": -5.0}
    scores["tasks"] = {"general/boolq": measured | {"verdict": "worse"}}
    scores["contamination"] = {"boolq": {"items": 200, "not_asked": 150, "removed": 3, "held": 2}}
    scores["breaches"] = [{"what": "general/boolq", "base": 61.0, "now": 52.5, "limit": 58.0}]
    write_json(path, scores)
    _, model = written(finished)
    assert row(model, "general/boolq", "200", "61.0", "52.5", "-8.5", "-12.0 to -5.0", "worse")
    assert row(model, "boolq", "200", "150", "3", "2") and row(model, "general/boolq", "61", "52.5", "58")
    assert "Contamination by 150 of 200 items of boolq" in model and "Tasks of the domain track" in model
    assert "Tasks of the general track" not in model
    results = front(model)["model-index"][0]["results"]
    assert [one["dataset"]["type"] for one in results] == ["held-out-domain", "held-out-general", "general/boolq"]


def test_no_text_of_the_corpus_and_no_path_stands_in_a_card(finished: Path, tmp_path: Path) -> None:
    """The run has markup in every field of its ledger, edits, new tokens and journal."""
    long_words = {word for words in small_run.WORDS.values() for word in words if len(word) > 5}
    long_words -= {"domain"}
    for card in written(finished):
        assert "script" not in card and "owned" not in card and str(tmp_path) not in card
        assert not [word for word in long_words if word in card]
        assert "Ġmeto" not in card and "bonjour" not in card and "café" not in card and "β" not in card


@pytest.mark.parametrize("name", ["a|b", "<img src=x>", "[x](http://y)", "`code`", "line\nend", "# head", "a_b*c*"])
def test_names_are_shown_and_never_read_as_markup(name: str) -> None:
    from markdown_it import MarkdownIt

    shown = card_markdown.table(("name", "count"), [(name, "1")])
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(shown)
    assert page.count("<td") == 2 and not any(tag in page for tag in ("<img", "<a ", "<code", "<em", "<h1"))


def test_what_was_not_checked_follows_from_the_stages(finished: Path) -> None:
    dataset, model = written(finished)
    for card in (dataset, model):
        assert "(no `toxicity`)" in card and "(no `exact_dedup`)" in card and "(no `decontaminate`)" in card
        assert "without a recogniser of names" in card and "in sources other than notes" in card
        assert "Licences of books: the pipeline file names none" in card
        assert "(no `language`)" not in card and "(no `near_dedup`)" not in card
    assert "Tasks of the domain track" in model and "Tasks of the general track" in model
    assert "Safety, bias" in model and "Safety, bias" not in dataset


@pytest.mark.parametrize(
    ("stage", "told", "not_told"),
    [
        ({"redact": {"entities": ["email"]}}, "not asked to replace: phone, fax", "in sources other than"),
        ({"redact": {"recogniser": "presidio"}}, "Names that the recogniser misses", "without a recogniser"),
        ({"toxicity": {"words": "list.txt"}}, "the words given to `toxicity`", "(no `toxicity`)"),
        ("decontaminate", "", "(no `decontaminate`)"),
    ],
)
def test_a_stage_takes_its_sentence_away(finished: Path, stage: Any, told: str, not_told: str) -> None:
    manifest = read_json(finished / "manifest.json")
    first, last = manifest["stages"][0], manifest["stages"][-1]
    name = stage if isinstance(stage, str) else next(iter(stage))
    manifest["stages"] = [first, {**first, "name": name}, last]
    write_json(finished / "manifest.json", manifest)
    config.save(load(finished, **{"curate.stages": [stage]}), finished / "pipeline.yaml")
    found = "\n".join(card_limits.of_documents(card_data.read(load(finished)))).replace("\\", "")
    assert told in found and not_told not in found


def test_before_training_there_is_a_dataset_card_alone(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (finished / "train" / "main").rename(tmp_path / "elsewhere")
    (finished / "mixture.json").unlink()
    cards.main([str(finished)])
    printed = capsys.readouterr().out
    assert "documents/README.md" in printed and "there is no model to write a card for yet" in printed
    assert "No mixture has been built" in (finished / "documents" / "README.md").read_text()


def test_scores_of_another_model_are_not_put_in_the_card_of_this_one(finished: Path) -> None:
    export = finished / "train" / "main" / "export"
    values = json.loads((export / "config.json").read_text())
    write_json(export / "config.json", values | {"max_position_embeddings": 512})
    _, model = written(finished)
    assert "Not measured for this model" in model and "has not been measured" in model
    assert "model-index" not in front(model)


def test_a_model_from_scratch_has_no_base(finished: Path) -> None:
    path = finished / "train" / "main" / "config.json"
    write_json(path, read_json(path) | {"train.init": "scratch"})
    assert "trained from random weights" in written(finished)[1]
    assert "base_model" not in front(written(finished, model="meta-llama/Llama-3.1-8B")[1])


def test_a_base_of_the_hub_is_named_and_a_folder_is_not(finished: Path) -> None:
    assert front(written(finished, model="meta-llama/Llama-3.1-8B")[1])["base_model"] == "meta-llama/Llama-3.1-8B"
    assert "base_model" not in front(written(finished)[1])


def test_licences_are_checked_and_named_as_the_hub_does(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"pipeline.yaml: licences: 'note' fits no source.*notes, trials, books"):
        written(finished, licences={"note": "MIT"})
    named = {"CC BY-SA 3.0": "cc-by-sa-3.0", "Apache-2.0": "apache-2.0", "CC0 1.0": "cc0-1.0", "CC0": "cc0-1.0"}
    named |= {"public domain": "other", "unknown": "unknown", "as agreed by contract": "other", "CC BY 9.0": "other"}
    assert {licence: card_data.identifier(licence) for licence in named} == named
    first = written(finished, licences={"notes": "MIT", "*": "CC0 1.0"})[0]
    assert front(first)["license"] == ["cc0-1.0", "mit"] and "unknown" not in first


def test_a_run_whose_files_do_not_belong_together_is_refused(finished: Path) -> None:
    config.save(load(finished, **{"curate.stages": ["language"]}), finished / "pipeline.yaml")
    with pytest.raises(ValueError, match=r"pipeline.yaml: curate.stages: lists language, held_out, but manifest.json"):
        written(finished)
    (finished / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"manifest.json: is not there.*curate.run"):
        written(finished)


def test_the_same_run_gives_the_same_bytes(finished: Path) -> None:
    assert written(finished) == written(finished)
