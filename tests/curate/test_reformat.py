"""Question-answer records as text: templates drawn by id and seed, bad records in the ledger, stages that see text.

Real items come from ../shared/data where it lies beside the checkout.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config import Reformat
from curate.reformat import CHOICES, PLAIN, NoAnswer, as_text
from tests.curate.corpus import corpus, curate, ledger, resolve, sentences, write_lines

QA = Reformat()
ENTRY = [{"files": "domain/tasks*", "reformat": "qa"}, "domain/notes*"]
WORDS = st.text("abcdefgh ?", min_size=1).filter(str.strip)


def texts_of(run: Path, source: str = "tasks") -> dict[str, str]:
    documents = pl.read_parquet(sorted((run / "documents" / "domain" / source).glob("*.parquet")))
    return dict(documents.select("id", "text").iter_rows())


@given(WORDS, WORDS, st.lists(WORDS, max_size=5, unique_by=str.strip), st.integers(0, 99), st.data())
def test_question_and_answer_stand_in_the_text(
    question: str, answer: str, options: list[str], seed: int, data: st.DataObject
) -> None:
    record: dict[str, Any] = {"question": question, "answer": answer, "options": options}
    if options:
        place = data.draw(st.integers(0, len(options) - 1))
        answer = options[place]
        record["answer"] = data.draw(st.sampled_from([place, "ABCDE"[place], answer]))
        if record["answer"] == "ABCDE"[place] and record["answer"] in options:
            return
    text = as_text(record, "tasks/1", Reformat(seed=seed))
    assert question.strip() in text and answer.strip() in text.split(question.strip(), 1)[1]
    assert as_text({**record, "context": "It rained."}, "tasks/1", Reformat(seed=seed)) == f"It rained.\n\n{text}"


def test_the_template_depends_on_seed_and_id_alone() -> None:
    record = {"question": "How many?", "answer": "Two.", "options": []}
    texts = [as_text(record, f"t/{number}", QA) for number in range(600)]
    assert texts == [as_text(record, f"t/{number}", QA) for number in range(600)]
    assert texts != [as_text(record, f"t/{number}", Reformat(seed=1)) for number in range(600)]
    counts = [texts.count(one) for one in dict.fromkeys(texts)]
    assert len(counts) == len(PLAIN) and min(counts) > 600 / len(PLAIN) / 2
    asked = {"question": "How many?", "answer": "B", "options": {"A": "One", "B": "Two"}}
    assert len({as_text(asked, f"t/{number}", QA) for number in range(200)}) == len(CHOICES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"question": "  "}, "has no 'question'"),
        ({"question": 3}, "has no 'question'"),
        ({"answer": None}, "has no 'answer' that is a text or a number"),
        ({"answer": True}, "has no 'answer' that is a text or a number"),
        ({"answer": ["A"]}, "has no 'answer' that is a text or a number"),
        ({"answer": 2}, "has the answer '2', which is none of its 2 options"),
        ({"answer": -1}, "has the answer '-1', which is none of its 2 options"),
        ({"answer": "C"}, "has the answer 'C', which is none of its 2 options"),
        ({"options": ["One", ""]}, "has 'options' that are not up to 26 texts"),
        ({"options": "One, two"}, "has 'options' that are not up to 26 texts"),
        ({"options": ["One", None]}, "has 'options' that are not up to 26 texts"),
    ],
)
def test_what_a_record_lacks_is_said(change: dict[str, Any], told: str) -> None:
    with pytest.raises(NoAnswer, match=told):
        as_text({"question": "How many?", "answer": "A", "options": ["One", "Two"]} | change, "t/1", QA)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus with 40 records of tasks, four of them bad."""
    folder = corpus(tmp_path / "data", 20)
    rows: list[Any] = [
        {
            "id": f"q{k}",
            "question": f"{sentences(900_000 + k, 2)[:-1]}?",
            "options": [sentences(800_000 + k, 1), "No."],
            "answer": 0,
        }
        for k in range(36)
    ]
    rows += [{"id": "bad1", "question": "Why?"}, {"id": "bad2", "question": "Why?", "options": ["x"], "answer": 4}]
    write_lines(folder / "domain" / "tasks.jsonl.gz", [*rows, b"{", {"text": "no question here"}])
    return folder


def test_stages_see_text_and_bad_records_are_counted(root: Path, tmp_path: Path) -> None:
    whole = {"eval.held_out": 0}
    manifest = curate(root, tmp_path / "run", ["normalize", "exact_dedup"], domain=ENTRY, **whole)
    texts, removed = texts_of(tmp_path / "run"), ledger(tmp_path / "run").filter(source="tasks")
    assert len(texts) + removed.height == 40
    assert manifest["stages"][0]["reasons"] == {"unreadable_record": 4}
    problems = [json.loads(one)["problem"] for one in removed.filter(stage="read")["detail"]]
    assert "has the answer '4', which is none of its 1 options" in problems and problems[2].startswith("is not JSON")
    assert all(f"{sentences(900_000 + int(one[7:]), 2)[:-1]}?" in text for one, text in texts.items())
    changed = [{"files": "domain/tasks*", "reformat": {"seed": 1}}, "domain/notes*"]
    assert resolve(root, tmp_path / "run", [], domain=changed).read.identity != manifest["identity"]
    curate(root, tmp_path / "other", ["normalize", "exact_dedup"], domain=changed, **whole, **{"curate.part_rows": 7})
    assert texts_of(tmp_path / "other") != texts and texts_of(tmp_path / "other").keys() == texts.keys()


def test_a_bad_record_ends_a_run_that_is_to_stop(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tasks\.jsonl\.gz: record 36 has no 'answer' .*on_bad_record is stop"):
        curate(root, tmp_path / "run", [], domain=ENTRY, **{"curate.on_bad_record": "stop"})


def test_benchmark_items_among_the_records_are_found(root: Path, tmp_path: Path) -> None:
    item = {"id": "b1", "benchmark": "made", "context": "", "question": f"{sentences(900_003, 2)[:-1]}?"}
    item |= {"choices": [sentences(800_003, 1), "No."], "answer_text": sentences(800_003, 1)}  # type: ignore[dict-item]
    write_lines(root / "bench" / "made.jsonl.gz", [item])
    curate(root, tmp_path / "run", ["decontaminate"], domain=ENTRY, benchmarks=["bench/*"])
    assert ledger(tmp_path / "run").filter(stage="decontaminate")["id"].to_list() == ["tasks/q3"]


def test_parquet_and_a_reader_of_choice_give_the_same_text(root: Path, tmp_path: Path) -> None:
    rows = [{"id": f"q{k}", "q": sentences(k, 1), "a": sentences(50 + k, 1)} for k in range(9)]
    (root / "domain" / "tasks.jsonl.gz").unlink()
    keys = {"question": "q", "answer": "a"}
    found = []
    for form, entry in (
        ("jsonl", {}),
        ("parquet", {}),
        ("csv", {"reader": "datatrove.pipeline.readers.CSVReader", "arguments": {"text_key": "q"}}),
    ):
        path = root / "domain" / f"tasks.{form}"
        if form == "jsonl":
            write_lines(path, rows)
        else:
            getattr(pl.DataFrame(rows), f"write_{form}")(path)
        entry = {"files": f"domain/tasks.{form}", "reformat": keys, **entry}
        curate(root, tmp_path / form, [], domain=[entry, "domain/notes*"], **{"eval.held_out": 0})
        found.append(texts_of(tmp_path / form))
        path.unlink()
    assert found[0] == found[1] == found[2] and len(found[0]) == 9


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"files": "domain/notes*"}, "files without reader and reformat are a plain glob"),
        ({"files": "domain/notes*", "reformat": "essay"}, "reformat"),
        ({"files": "domain/notes*", "reformat": {"colour": "a"}}, "there is no such key. Known here"),
        ({"files": "domain/*.txt", "reformat": "qa"}, r"domain/x\.txt has no records with keys, so reformat"),
    ],
)
def test_what_cannot_be_reformatted_is_refused(root: Path, tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    (root / "domain" / "x.txt").write_text("text")
    with pytest.raises(ValueError, match=told):
        resolve(root, tmp_path / "run", [], domain=[entry])


def test_real_items_become_text(real_data: Path) -> None:
    """Every item of benchmarks that give an answer, or its number among the choices."""
    keys = Reformat(options="choices")
    for name in ("medqa", "medmcqa", "pubmedqa", "bioasq", "gsm8k", "arc", "tatqa"):
        with gzip.open(real_data / "bench" / f"{name}.jsonl.gz") as file:
            items = [json.loads(line) for line in file]
        for item in items:
            text = as_text(item, item["id"], keys)
            assert item["question"].strip() in text and item["answer_text"].strip() in text
        assert len(items) > 100


def test_letters_that_other_records_have_are_no_options() -> None:
    record = {"question": "How many?", "options": {"A": "One", "B": "Two", "C": None}, "answer": "B"}
    assert as_text(record, "t/1", QA) == as_text(record | {"options": {"A": "One", "B": "Two"}}, "t/1", QA)


def test_a_number_that_a_table_made_a_float_is_a_place() -> None:
    record = {"question": "How many?", "options": ["One", "Two"], "answer": 1.0}
    assert as_text(record, "t/1", QA) == as_text(record | {"answer": 1}, "t/1", QA)
