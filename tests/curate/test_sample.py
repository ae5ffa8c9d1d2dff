"""The sample: the same bytes every time, its truth true, its honest documents honest."""

import gzip
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from curate.sample import faults, make, make_sample
from curate.sample.clinical_facts import DRUGS
from curate.sample.faults import jaccard, normalised, shingles


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "sample"
    make_sample(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def texts(sample: Path) -> dict[str, str]:
    """Text by "<source>/<record id>"."""
    files = [*sample.glob("domain/*.jsonl.gz"), *sample.glob("general/*.jsonl.gz")]
    return {f"{file.name.split('.')[0]}/{row['id']}": row["text"] for file in sorted(files) for row in rows(file)}


@pytest.fixture(scope="module")
def truth(sample: Path) -> dict[str, dict[str, Any]]:
    lines = (sample / "truth.jsonl").read_text().splitlines()
    return {line["id"]: line for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def honest(texts: dict[str, str], truth: dict[str, Any]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name not in truth}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the documents, where a test does not look at what they say."""
    for pool in ("DOMAIN", "GENERAL"):
        counts = getattr(make, pool)
        monkeypatch.setattr(make, pool, {source: count // 10 for source, count in counts.items()})


def rows(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def of_kind(truth: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    found = [line for line in truth.values() if line["kind"] == kind]
    assert found, f"nothing of kind {kind} is planted"
    return found


def test_same_seed_same_bytes_other_seed_other_text(sample: Path, tmp_path: Path) -> None:
    make_sample(tmp_path / "again", seed=0)
    make_sample(tmp_path / "other", seed=1)
    files = sorted(path.relative_to(sample) for path in sample.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()
    )
    for file in files:
        assert (sample / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
        assert (sample / file).read_bytes() != (tmp_path / "other" / file).read_bytes(), file


@pytest.mark.usefixtures("small")
def test_a_sample_that_is_there_is_left_alone_and_another_seed_replaces_it(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    make_sample(folder, seed=3)
    marked = folder / "truth.jsonl"
    before = marked.stat().st_mtime_ns
    make_sample(folder, seed=3)
    assert marked.stat().st_mtime_ns == before
    first = marked.read_bytes()
    make_sample(folder, seed=4)
    assert marked.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no sample"):
        make_sample(tmp_path, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("small")
def test_nothing_appears_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr("curate.sample.make.leak", fail)
    with pytest.raises(OSError, match="disk is full"):
        make_sample(tmp_path / "sample", seed=0)
    assert list(tmp_path.iterdir()) == []


def test_sizes(texts: dict[str, str], honest: dict[str, str]) -> None:
    assert 4_000_000 < sum(len(text.encode()) for text in texts.values()) < 6_000_000
    words = sorted(len(text.split()) for text in honest.values())
    assert words[0] >= 50, "the shortest honest document passes Gopher's length rule"
    assert sum(100 <= count <= 600 for count in words) > 0.9 * len(words)
    assert sum(count > 2000 for count in words) >= 10, "some documents are long"


def test_honest_documents_are_no_near_duplicates_of_each_other(honest: dict[str, str]) -> None:
    names = sorted(honest)
    grams = [shingles(honest[name]) for name in names]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, gram in ((number, gram) for number, document in enumerate(grams) for gram in document):
        holders[gram].append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in holders.values():
        if len(numbers) <= 8:  # half of two documents cannot consist of phrases that many others hold too
            shared.update((one, other) for place, one in enumerate(numbers) for other in numbers[place + 1 :])
    closest = max(shared, key=lambda pair: shared[pair] / min(len(grams[pair[0]]), len(grams[pair[1]])))
    likely = [pair for pair, count in shared.most_common(2000)] + [closest]
    assert max(jaccard(honest[names[one]], honest[names[other]]) for one, other in likely) < 0.5


def test_honest_documents_read_like_prose(honest: dict[str, str]) -> None:
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    for name, text in honest.items():
        words = text.split()
        assert 3 <= sum(map(len, words)) / len(words) <= 10, name
        assert len(stop_words & set(text.lower().split())) >= 2, name
        assert all(line.rstrip()[-1] in '.?!"' for line in text.splitlines() if line.strip()), name
        assert not re.search(r"[\[\]{}|]| [.,;:]|  ", text), f"{name}: a template shows through"


def test_copies_are_as_close_as_the_truth_says(texts: dict[str, str], truth: dict[str, Any]) -> None:
    for line in of_kind(truth, "near_duplicate"):
        measured = jaccard(texts[line["id"]], texts[line["of"]])
        assert 0.8 <= measured < 1
        assert line["jaccard"] == pytest.approx(measured, abs=1e-4)
    for line in of_kind(truth, "exact_duplicate"):
        assert texts[line["id"]] == texts[line["of"]]
    for line in of_kind(truth, "near_duplicate") + of_kind(truth, "exact_duplicate"):
        assert line["of"] < line["id"], "the original stands first"
        assert line["of"] not in truth, "the original is honest"


def test_leaked_documents_contain_their_item_and_others_do_not(
    sample: Path, texts: dict[str, str], truth: dict[str, Any], honest: dict[str, str]
) -> None:
    items = {row["id"]: row for file in sample.glob("bench/*.jsonl.gz") for row in rows(file)}
    leaked = of_kind(truth, "leaked")
    assert {line["how"] for line in leaked} == {"verbatim", "normalised", "question_only"}
    for line in leaked:
        item = items[line["item"]]
        shown = (
            item["question"] if line["how"] != "normalised" else normalised(f"{item['question']} {item['answer_text']}")
        )
        assert shown in texts[line["id"]]
        assert item["benchmark"] == line["benchmark"]
    questions = {
        tuple(words[start : start + 8]) for words in map(_words, items.values()) for start in range(len(words) - 7)
    }
    for name, text in honest.items():
        words = normalised(text).split()
        assert not any(tuple(words[start : start + 8]) in questions for start in range(len(words) - 7)), name


def _words(item: dict[str, Any]) -> list[str]:
    return normalised(item["question"]).split()


def test_benchmark_items_are_sound(sample: Path) -> None:
    files = sorted(sample.glob("bench/*.jsonl.gz"))
    assert len(files) == 4
    for file in files:
        items = rows(file)
        assert len({item["question"] for item in items}) == len(items) >= 100
        assert len({item["answer"] for item in items}) == 4, "the right answer stands in every place"
        for item in items:
            assert set(item) == {"id", "benchmark", "context", "question", "choices", "answer", "answer_text", "meta"}
            assert item["benchmark"] == file.name.split(".")[0]
            assert len(set(item["choices"])) == 4
            assert item["choices"][item["answer"]] == item["answer_text"]


def test_faults_are_what_they_are_called(texts: dict[str, str], truth: dict[str, Any]) -> None:
    assert len({line["language"] for line in of_kind(truth, "wrong_language")}) >= 3
    assert {line["how"] for line in of_kind(truth, "garbled")} == {"misread", "shuffled"}
    assert {line["defect"] for line in of_kind(truth, "low_quality")} == set(faults.LOW_QUALITY)
    assert {line["form"] for line in of_kind(truth, "tricky_keep")} == set(faults.TRICKY)
    for line in of_kind(truth, "low_quality"):
        lines = texts[line["id"]].splitlines()
        if line["defect"] == "repeated_lines":
            assert len(set(lines)) < 0.5 * len(lines)
        if line["defect"] == "too_short":
            assert len(texts[line["id"]].split()) < 50


def test_documents_agree_on_facts(honest: dict[str, str]) -> None:
    """The same drug belongs to the same family everywhere, which is what makes the text learnable."""
    families: dict[str, set[str]] = defaultdict(set)
    for text in honest.values():
        for drug, family in re.findall(r"\b(\w+) is an? ([\w ]+?) (?:for|given|licensed|prescribed)\b", text):
            families[drug.lower()].add(family)
    told = {drug.name: families[drug.name] for drug in DRUGS if drug.name in families}
    assert len(told) > 30
    assert all(len(found) == 1 for found in told.values()), told
