import gzip
import json
import random
import string

import polars as pl
import pytest
from pydantic import ValidationError

from curate import edits
from curate.contamination_index import Index, build
from curate.decontaminate import Decontaminate
from curate.kernels.contamination import scan
from tests.curate.corpus import corpus, curate, ledger, resolve, sentences, write_lines
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
        assert evidence.keys() - {"others"} == {"benchmark", "item", "score", "text"}
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


def test_every_item_of_a_document_is_named_up_to_ten(tmp_path):
    items = [item(number) for number in range(40)]
    planted = [spoken(one) for one in items[:3]] + [changed(spoken(items[3]), 0.1, 3)]
    texts = [host(1, "\n".join(planted)), host(2, "\n".join(spoken(one) for one in items)), host(3, spoken(items[5]))]
    several, many, one = (json.loads(evidence) for evidence in judged(tmp_path, items, texts)["detail"])
    named = [several, *several["others"]]
    assert {match["item"] for match in named} >= {"q0", "q1", "q2", "q3"} and "more" not in several
    assert [match["score"] for match in named] == sorted((match["score"] for match in named), reverse=True)
    for match in named:
        question = items[int(match["item"][1:])]["question"]
        assert match["text"] in texts[0]
        if match["score"] == 1:
            assert question.rstrip("?") in match["text"]
    assert len(many["others"]) == 9 and many["more"] >= 30
    assert one["item"] == "q5" and "more" not in one


def cut(tmp_path, items, texts):
    """What `action: cut` gives for one part: the texts after it, the verdicts."""
    file = write_lines(tmp_path / "bench" / "exam.jsonl.gz", items)
    stage, parts = Decontaminate(action="cut"), parts_of(texts, len(texts))
    verdicts(stage, parts, tmp_path, [str(file)])
    given = stage.judge(parts[0].frame)
    after = edits.apply(pl.Series(texts), given.edits).to_list()
    return [text if new is None else new for text, new in zip(texts, after, strict=True)], given


def test_items_are_cut_and_nothing_else(tmp_path):
    items = [item(number) for number in range(30)]
    clean = [host(number) for number in range(30)]
    planted = [text.replace("\n\n", f"\n{spoken(one)}\n\n") for text, one in zip(clean, items, strict=True)]
    planted[0] = planted[0] + "\n" + spoken(items[7]) + "\nA last line."
    clean[0] += "\nA last line."
    after, given = cut(tmp_path, items, [*planted, host(99)])
    assert given.reason.null_count() == len(given.reason)
    same = sum(one.split() == other.split() for one, other in zip(after, [*clean, host(99)], strict=True))
    assert same >= 29
    assert given.edits["at"].to_list().count(0) == 2
    for at, evidence in given.edits.select("at", "detail").iter_rows():
        evidence = json.loads(evidence)
        named = {evidence["item"], *(other["item"] for other in evidence.get("others", []))}
        assert named & {f"q{at}", "q7"} and evidence["benchmark"] == "exam" and 0.65 <= evidence["score"] <= 1
    assert set(given.edits["reason"]) == {"contaminated_span"}


@pytest.mark.parametrize("plant", [spoken, lambda one: changed(spoken(one), 0.15, 5), lambda one: one["question"]])
@pytest.mark.parametrize("joint", ["\n", " ", ", "])
def test_a_document_that_was_cut_holds_no_item(tmp_path, plant, joint):
    items = [item(number) for number in range(40)]
    texts = [host(number) + joint + plant(one) + joint + host(number + 500) for number, one in enumerate(items)]
    texts += [host(k, joint.join(plant(items[number]) for number in (1, 2, 1, 1))) for k in range(3)]
    after, given = cut(tmp_path, items, texts)
    assert given.reason.null_count() == len(texts)
    assert given.edits["at"].n_unique() >= 0.95 * len(texts)
    assert list(scan(Index.load(tmp_path / "index.npz"), pl.Series(after))) == []
    for text, left in zip(texts, after, strict=True):
        assert len(left) >= len(text) - len(joint.join([plant(item(1))] * 4)) - 500


def test_what_would_leave_little_or_never_end_is_dropped(tmp_path):
    items = [item(number) for number in range(3)]
    again = "\n".join(f"{sentences(k, 12)}\n{spoken(items[1])}" for k in range(30))
    after, given = cut(tmp_path, items, [f"A title\n{spoken(items[0])}\nThe end.", again, host(1)])
    assert given.reason.to_list() == ["little_left", "contaminated", None]
    assert [json.loads(evidence)["item"] for evidence in given.detail[:2]] == ["q0", "q1"]
    assert given.edits.height == 0


def test_words_around_a_cut_stay_apart(tmp_path):
    question = "".join(chr(0x4E00 + 37 * k) for k in range(40))
    before, behind = "word " * 99 + "前a", "b後" + " word" * 99
    [after], given = cut(tmp_path, [item(0, question=question, choices=[])], [before + question + behind])
    assert given.edits["after"].to_list() == [" "]
    assert after == f"{before} {behind}"


def test_edits_reach_the_run(tmp_path):
    root = corpus(tmp_path / "data", 20)
    items = [item(number) for number in range(5)]
    write_lines(root / "bench" / "exam.jsonl", items)
    texts = [host(number, spoken(one)) for number, one in enumerate(items)]
    write_lines(root / "domain" / "notes.jsonl.gz", [{"id": f"r{k}", "text": text} for k, text in enumerate(texts)])
    stages = [{"decontaminate": {"action": "cut"}}]
    manifest = curate(root, tmp_path / "run", stages, benchmarks=["bench/*"], eval={"held_out": 0})
    assert sum(pool["documents"] for pool in manifest["kept"].values()) == 45
    edited = pl.read_parquet(sorted((tmp_path / "run" / "edited").rglob("*.parquet")))
    assert sorted(edited["id"]) == [f"notes/r{k}" for k in range(5)]
    left = pl.read_parquet(sorted((tmp_path / "run" / "documents").rglob("notes*/*.parquet")))
    for one, before, text in zip(items, edited.sort("id")["before"], left.sort("id")["text"], strict=True):
        assert one["question"] in before and one["question"] not in text


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


TASK = """
task: clinic_exam
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question.strip()}}}}\\nA. {{{{choices[0]}}}}\\nB. {{{{choices[1]}}}}\\nAnswer:"
doc_to_choice: ["A", "B"]
doc_to_target: answer
"""


def local_task(folder, items):
    """A task of one's own, on a local file."""
    path = write_lines(folder / "exam.jsonl", [one | {"subject": "medicine"} for one in items])
    (folder / "clinic_exam.yaml").write_text(TASK.format(path=path))
    return {"tasks": ["clinic_exam"], "task_folders": [str(folder)]}


def test_items_of_a_task_are_found_and_part_of_the_identity(tmp_path):
    pytest.importorskip("lm_eval", reason="lm-eval (extra eval) is not installed")
    root = corpus(tmp_path / "data", 10)
    items = [item(number) for number in range(20)]
    texts = [host(number, spoken(one)) for number, one in enumerate(items)]
    write_lines(root / "domain" / "notes.jsonl.gz", [{"id": f"r{k}", "text": text} for k, text in enumerate(texts)])
    stages = [{"decontaminate": local_task(tmp_path / "tasks", items[:12])}]
    curate(root, tmp_path / "run", stages, eval={"held_out": 0})
    removed = ledger(tmp_path / "run")
    best = {name: json.loads(one) for name, one in removed.select("id", "detail").iter_rows()}
    for number in range(12):
        one = best[f"notes/r{number}"]
        assert (one["benchmark"], one["item"], one["score"]) == ("clinic_exam", str(number), 1.0)
    before = resolve(root, tmp_path / "run", stages, eval={"held_out": 0})
    assert before.todo == []
    local_task(tmp_path / "tasks", items[:13])
    after = resolve(root, tmp_path / "run", stages, eval={"held_out": 0})
    assert [step.stage.name for step in after.todo] == ["decontaminate"]


def test_tasks_that_cannot_be_had_are_refused(tmp_path, monkeypatch):
    tasks = pytest.importorskip("lm_eval.tasks", reason="lm-eval (extra eval) is not installed")
    import datasets

    from curate import benchmark_tasks

    manager = tasks.TaskManager(include_path=local_task(tmp_path, [item(0)])["task_folders"])
    monkeypatch.setattr(benchmark_tasks, "_manager", lambda folders, where: manager)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "exam.jsonl").unlink()
    for name, message in [
        ("clinic_exm", r"decontaminate.tasks\[0\]: lm-eval has no task 'clinic_exm'.*Did you mean clinic_exam"),
        ("clinic_exam", r"the data set of task 'clinic_exam' cannot be loaded .*exam.jsonl"),
        ("gsm8k", r"the data set of task 'gsm8k' cannot be loaded .*openai/gsm8k.*HF_HOME.*task_folders"),
    ]:
        with pytest.raises(ValueError, match=message):
            benchmark_tasks.task_items([name], [], "p.yaml: curate.stages[0].decontaminate")


FIELDS = {
    "mmlu": ({"question": "Why so?", "subject": "x", "choices": ["one", "two"], "answer": 1}, "Why so?", "", "one two"),
    "prompt alone": ({"text": "Why so?"}, "Q: Why so?", "", ""),
    "passage": ({"question": "Why so?", "passage": "It was.", "label": True}, "Why so?", "It was.", "no yes"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_a_task_become_an_item(name):
    from curate.benchmark_tasks import task_item

    document, question, context, choices = FIELDS[name]
    spoken = ["no", "yes"] if name == "passage" else ["A", "B"] if name == "mmlu" else None
    shown = " ".join(document.get("choices", []))
    prompt = f"Q: {document.get('question') or document['text']} {shown}".strip()
    given = task_item(name, 3, document, prompt, spoken, 1 if spoken else "because")
    assert (given.benchmark, given.id, given.question, given.context) == (name, "3", question, context)
    assert " ".join(given.choices) == choices


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
