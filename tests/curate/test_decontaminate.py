import gzip
import json
import random
import string

import polars as pl
import pytest
from pydantic import ValidationError

from curate.contamination import scan
from curate.contamination_index import Index, build
from curate.decontaminate import Decontaminate
from tests.curate.corpus import sentences, write_lines
from tests.curate.drive import parts_of, verdicts

SIGNS = ["fever", "a rash", "night sweats", "double vision", "a stiff neck", "weight loss", "a dry cough", "joint pain"]
DRUGS = ["atenolol", "digoxin", "ibuprofen", "warfarin", "insulin", "morphine", "penicillin", "lithium", "heparin"]


def item(number, **changes):
    """A question of about 25 words, four choices, no context."""
    draw = random.Random(number)
    age = draw.randint(20, 90)
    sign, other = draw.sample(SIGNS, 2)
    name = "".join(draw.choice(string.ascii_lowercase) for _ in range(7))
    question = (
        f"A {age}-year-old {draw.choice(['baker', 'farmer', 'teacher'])} from {name.title()} presents with {sign} and "
        f"{other} after {draw.randint(2, 30)} days of {draw.choice(DRUGS)}. Which of these does the physician suspect?"
    )
    choices = [f"{choice} {draw.choice(['deficiency', 'toxicity', 'allergy'])}" for choice in draw.sample(DRUGS, 4)]
    values = {"id": f"q{number}", "benchmark": "exam", "context": "", "question": question, "choices": choices}
    return values | {"answer": 0, "answer_text": choices[0]} | changes


def host(number, planted=""):
    return f"{sentences(number, 8)}\n{planted}\n{sentences(number + 50_000, 8)}"


def judged(tmp_path, items, texts, **keys):
    file = write_lines(tmp_path / "bench" / "exam.jsonl.gz", items)
    return verdicts(Decontaminate(**keys), parts_of(texts, 37), tmp_path, [str(file)])


def spoken(one):
    """An item as a web page shows it."""
    choices = [f"{letter}. {choice}" for letter, choice in zip("ABCD", one["choices"], strict=False)]
    return "\n".join([one["context"], one["question"], *choices])


def normalised(text):
    return " ".join("".join(c if c.isalnum() else " " for c in text.upper()).split())


def changed(text, share, seed):
    draw = random.Random(seed)
    return " ".join("changed" if draw.random() < share else word for word in text.split())


@pytest.mark.parametrize(
    ("plant", "recall"),
    [
        (spoken, 1.0),
        (lambda one: one["question"], 1.0),
        (lambda one: normalised(spoken(one)), 1.0),
        (lambda one: spoken(one).replace(" ", "\n\t"), 1.0),
        (lambda one: changed(spoken(one), 0.1, one["id"]), 0.95),
        (lambda one: changed(spoken(one), 0.2, one["id"]), 0.85),
    ],
    ids=["verbatim", "question", "normalised", "white space", "10 % changed", "20 % changed"],
)
def test_planted_items_are_found_and_named(tmp_path, plant, recall):
    items = [item(number) for number in range(100)]
    texts = [host(number, plant(one)) for number, one in enumerate(items)] + [host(1000 + k) for k in range(200)]
    given = judged(tmp_path, items, texts)
    assert given["reason"][:100].eq("contaminated").fill_null(False).mean() >= recall
    assert given["reason"][100:].null_count() == 200
    right = 0
    for text, (reason, evidence) in zip(texts, given.rows(), strict=True):
        if reason is None:
            assert evidence is None
            continue
        evidence = json.loads(evidence)
        assert evidence.keys() == {"benchmark", "item", "score", "text"}
        assert evidence["text"] in text and len(evidence["text"].split()) >= 3
        assert 0.65 <= evidence["score"] <= 1 and evidence["benchmark"] == "exam"
        right += text == texts[int(evidence["item"][1:])]
    assert right >= 95 * recall


def test_a_passage_counts_only_with_its_question(tmp_path):
    items = [item(number, context=sentences(number + 9000, 6), choices=["yes", "no"]) for number in range(40)]
    items[3]["question"] = "Is it so?"
    passages = [host(number, one["context"]) for number, one in enumerate(items)]
    both = [host(number, changed(spoken(one), 0.1, number)) for number, one in enumerate(items)]
    given = judged(tmp_path, items, passages + both)
    assert given["reason"][:40].null_count() == 40
    assert given["reason"][40:].is_not_null().mean() >= 0.97


def test_an_item_that_is_all_passage_is_found(tmp_path):
    items = [item(number, context=sentences(number + 9000, 3), question="", choices=[]) for number in range(20)]
    texts = [host(number, one["context"]) for number, one in enumerate(items)] + [host(500)]
    given = judged(tmp_path, items, texts)
    assert given["reason"].null_count() == 1


def test_short_questions_count_with_their_choices_only(tmp_path):
    choices = ["open it with a small key", "cover it with wet newspaper", "paint it twice", "sell it"]
    items = [item(0, question="Old cedar dresser", choices=choices), item(1, question="What causes gout?", choices=[])]
    texts = [
        host(1, spoken(items[0])),
        host(2, "Old cedar dresser"),
        host(3, "What causes gout?"),
        host(4, items[0]["question"]),
    ]
    assert judged(tmp_path, items, texts)["reason"].to_list() == ["contaminated", None, None, None]


def test_items_of_one_template_are_told_apart(tmp_path):
    names = [f"{a}{b}" for a in ("Mo", "Ka", "Ti", "Re", "Su") for b in ("lina", "bero", "dash", "vik", "nolo", "phra")]
    items = [
        item(k, question=f"What does {name} need to do before this?", choices=[f"{name} calls home", "wait", "leave"])
        for k, name in enumerate(names * 5)
    ]
    for k, one in enumerate(items):
        one["question"] = one["question"].replace(names[k % 30], names[k % 30] + string.ascii_lowercase[k // 30])
    texts = [host(k, one["question"]) for k, one in enumerate(items)]
    texts += [host(900 + k, f"What do {name} people need to do before this happens?") for k, name in enumerate(names)]
    given = judged(tmp_path, items, texts)
    assert [json.loads(evidence)["item"] for evidence in given["detail"][: len(items)]] == [one["id"] for one in items]
    assert given["reason"][len(items) :].null_count() == len(names)


def test_texts_that_share_a_phrase_or_the_form_are_kept(tmp_path):
    items = [item(number) for number in range(50)]
    texts = [host(k, " ".join(one["question"].split()[:8])) for k, one in enumerate(items)]
    others = [
        item(k, question=f"Which of these does {sentences(k, 1)}", choices=items[k]["choices"]) for k in range(50)
    ]
    texts += [host(100 + k, spoken(other)) for k, other in enumerate(others)]
    assert judged(tmp_path, items, texts)["reason"].null_count() == 100


def test_parts_and_a_new_process_change_nothing(tmp_path):
    items = [item(number) for number in range(30)]
    texts = [host(number, spoken(items[number]) if number < 30 else "") for number in range(90)]
    given = judged(tmp_path, items, texts)
    again = Decontaminate()
    again._workspace = type("Workspace", (), {"folder": tmp_path})()
    whole = again.judge(pl.concat([part.frame for part in parts_of(texts)]))
    assert whole.reason.equals(given["reason"]) and whole.detail.equals(given["detail"])


def test_an_index_is_the_same_after_saving(tmp_path):
    texts = [spoken(item(number)) for number in range(20)]
    index = build(texts, [""] * 20, [False] * 20, pl.Series([host(1)]), 0.65)
    index.save(tmp_path / "index.npz")
    documents = pl.Series([host(k, text) for k, text in enumerate(texts)])
    assert list(scan(Index.load(tmp_path / "index.npz"), documents)) == list(scan(index, documents))


def test_empty_and_tiny_documents(tmp_path):
    assert judged(tmp_path, [item(1)], ["", " ", "word", "A 5 B"])["reason"].null_count() == 4


def test_a_document_of_many_items_and_megabytes(tmp_path):
    items = [item(number) for number in range(200)]
    text = "\n".join(host(k, spoken(one)) for k, one in enumerate(items)) * 5
    assert len(text) > 1_000_000
    given = judged(tmp_path, items, [text, host(7)])
    assert given["reason"].to_list() == ["contaminated", None]


BROKEN = {
    "not JSON": [item(0), b'{"id": '],
    "no 'question'": [{key: value for key, value in item(0).items() if key != "question"}],
    "'choices' is": [item(0, choices="a")],
    "'id' is 7, not a string": [item(0, id=7)],
    "holds list, not an object": [b"[1]"],
    "holds no item": [],
    "fewer than 8 words": [item(0, question="Why?", choices=["a", "b"])],
}


@pytest.mark.parametrize("message", BROKEN)
def test_unusable_benchmarks_are_refused(tmp_path, message):
    file = write_lines(tmp_path / "bad.jsonl", BROKEN[message])
    with pytest.raises(ValueError, match=message) as caught:
        verdicts(Decontaminate(), parts_of([host(1)]), tmp_path, [str(file)])
    assert "p.yaml: benchmarks" in str(caught.value)


def test_a_truncated_file_and_no_file_are_refused(tmp_path):
    file = write_lines(tmp_path / "cut.jsonl.gz", [item(k) for k in range(300)])
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz cannot be read to its end"):
        verdicts(Decontaminate(), parts_of([host(1)]), tmp_path, [str(file)])
    with pytest.raises(ValueError, match="benchmarks is empty, so there is nothing to look for"):
        verdicts(Decontaminate(), parts_of([host(1)]), tmp_path, [])


@pytest.mark.parametrize("keys", [{"threshold": 1.2}, {"threshold": 0}, {"action": "keep"}, {"ngrams": 5}])
def test_wrong_keys_are_refused(keys):
    with pytest.raises(ValidationError):
        Decontaminate(**keys)


def test_labelled_real_text(real_data, tmp_path):
    with gzip.open(real_data / "decon" / "docs.jsonl.gz") as file:
        texts = pl.read_ndjson(file.read(), schema={"text": pl.String})["text"].to_list()
    labels = [json.loads(line) for line in gzip.open(real_data / "decon" / "labels.jsonl.gz")]
    benchmarks = sorted(str(path) for path in (real_data / "bench").glob("*.jsonl.gz"))
    given = verdicts(Decontaminate(), parts_of(texts), tmp_path, benchmarks)
    found = pl.DataFrame(labels).select("label", "kind").with_columns(given["reason"].is_not_null().alias("found"))
    recall = dict(found.filter(pl.col("label") == 1).group_by("kind").agg(pl.col("found").mean()).iter_rows())
    for kind in ("verbatim_full", "verbatim_mid", "normalised", "question_only"):
        assert recall[kind] >= 0.98, kind
    assert recall["paraphrase_10"] >= 0.95 and recall["paraphrase_25"] >= 0.85
    assert found.filter(pl.col("label") == 0)["found"].sum() <= 3
