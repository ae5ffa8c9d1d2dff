"""perplexity: garbled documents go, thresholds hold per source, no model scores what it has seen."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate import kenlm_model
from curate.kenlm_text import normalized_lines
from curate.kernels.kenlm_scores import Tables
from curate.perplexity import Perplexity
from curate.sample import make_sample
from curate.stage import Workspace
from tests.conftest import REPO
from tests.curate.corpus import corpus, curate, ledger, resolve, sentences, write_lines

TINY = REPO / "pipelines" / "models" / "tiny-llama"


def shuffled(text: str) -> str:
    letters = [word[::-1] for word in text.split()]
    random.Random(3).shuffle(letters)
    return " ".join(letters)


def documents(output: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((output / "documents").rglob("*.parquet")))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kenlm") / "model.binary"
    text = pl.Series([sentences(k, 5) for k in range(300)])
    kenlm_model.train([normalized_lines(text)], 4, 0, path, "here")
    return path


LINES = ["", "the", "the patient observed a mild fever", "no such words at all", *(sentences(k, 60) for k in range(9))]


def test_scores_are_kenlms_own(model: Path) -> None:
    import kenlm

    lines = normalized_lines(pl.Series([*LINES, sentences(1, 3000)]))  # the last one is longer than a block
    assert isinstance(kenlm_model._load(str(model)), Tables)
    ours, theirs = kenlm_model.scores(model, lines, 30), kenlm.Model(str(model))
    exact = [sum(score[0] for score in theirs.full_scores(line)) if line else 0.0 for line in lines.to_pylist()]
    assert ours["log10"].to_list() == pytest.approx(exact, rel=1e-5)
    assert ours["words"].to_list() == [len(line.split()) + 1 if line else 0 for line in lines.to_pylist()]


def test_the_worst_segment_is_the_lowest_mean_in_a_row(model: Path) -> None:
    import kenlm

    lines = normalized_lines(pl.Series(LINES))
    expected = [kenlm_model._line_scores(kenlm.Model(str(model)), line, 30) for line in lines.to_pylist()]
    ours = kenlm_model.scores(model, lines, 30)
    assert ours["worst"].to_list() == pytest.approx([row[2] for row in expected], rel=1e-5)
    assert ours["worst_at"].to_list() == [row[3] for row in expected]


def test_an_arpa_gives_the_same_scores_as_the_binary(tmp_path: Path) -> None:
    arpa = tmp_path / "model.arpa"
    arpa.write_text(
        "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-1\t<unk>\t0\n0\t<s>\t-0.3\n-1.2\t</s>\t0\n-0.5\tfever\t-0.2\n"
        "-0.7\tmild\t-0.1\n\n\\2-grams:\n-0.2\t<s> mild\n-0.3\tmild fever\n\n\\end\\\n"
    )
    kenlm_model._run(
        [kenlm_model._program("build_binary", ""), "probing", str(arpa), str(tmp_path / "b.binary")], "", ()
    )
    lines = normalized_lines(pl.Series(["mild fever", "fever mild fever cough", ""]))
    binary = kenlm_model.scores(tmp_path / "b.binary", lines, 2)
    assert binary["log10"].to_list() == pytest.approx([-0.2 - 0.3 - 0.2 - 1.2, -0.8 - 0.9 - 0.3 - 1.2 - 1.2, 0.0])
    slow = kenlm_model.scores(arpa, lines, 2)
    assert slow["words"].to_list() == binary["words"].to_list() == [3, 5, 0]
    for column in ("log10", "worst", "worst_at"):
        assert slow[column].to_list() == pytest.approx(binary[column].to_list(), abs=1e-5)


def test_normalized_lines() -> None:
    text = pl.Series(["Don’t give 12,5 mg/kg - NOW!\n\nÉTÉ ٣٤ x２", None, " \t", "ab 𠀀c 🙂d"])
    assert normalized_lines(text).to_pylist() == ["don't give 0 0 mg kg now été 0 x0", "", "", "ab 𠀀c d"]


def test_garbled_documents_go(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=80)
    records = [{"id": f"r{k}", "text": sentences(k, 8)} for k in range(80)]
    for k in (7, 40):
        records[k]["text"] = shuffled(records[k]["text"])
    write_lines(root / "domain" / "notes.jsonl.gz", records)
    curate(root, tmp_path / "run", ["normalize", {"perplexity": {"max_percentile": {"notes": 97}, "order": 3}}])
    removed = ledger(tmp_path / "run").filter(stage="perplexity")
    assert removed["id"].to_list() == ["notes/r7", "notes/r40"]
    evidence = json.loads(removed["detail"][0])
    assert evidence["perplexity"] > evidence["threshold"]
    assert all(row["perplexity"] > 1 for row in documents(tmp_path / "run")["scores"])


def test_garbled_documents_of_the_sample_go(tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", seed=0)
    truth = [json.loads(line) for line in (tmp_path / "sample" / "truth.jsonl").read_text().splitlines()]
    curate(tmp_path / "sample", tmp_path / "run", ["normalize", {"perplexity": {"max_percentile": 97}}])
    removed = set(ledger(tmp_path / "run").filter(stage="perplexity")["id"])
    garbled = {line["id"] for line in truth if line["kind"] == "garbled"}
    assert len(garbled & removed) >= 0.9 * len(garbled)
    assert len(removed - {line["id"] for line in truth}) <= 0.1 * len(garbled), "documents without a fault"


def test_a_bad_passage_in_a_long_document_goes_by_its_worst_segment(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=80)
    records = [{"id": f"r{k}", "text": sentences(k, 60)} for k in range(80)]
    passages = {
        7: " accept all cookies privacy settings sign in newsletter",
        40: " buy cheap watches online now free shipping",
    }
    for k, passage in passages.items():
        at = records[k]["text"].index(". ", 1500) + 1
        records[k]["text"] = records[k]["text"][:at] + 4 * passage + records[k]["text"][at:]
    write_lines(root / "domain" / "notes.jsonl.gz", records)
    keys = {"max_percentile": 100, "max_worst_percentile": {"notes": 97}, "order": 3}
    curate(root, tmp_path / "run", [{"perplexity": keys}])
    removed = ledger(tmp_path / "run").filter(stage="perplexity")
    assert removed["id"].to_list() == ["notes/r7", "notes/r40"]
    assert removed["reason"].unique().to_list() == ["high_perplexity_segment"]
    evidence = json.loads(removed["detail"][0])
    before = records[7]["text"][: records[7]["text"].index("accept all")]
    assert evidence["perplexity_worst"] > evidence["threshold"]
    assert abs(evidence["word"] - len(before.split())) < 30


def test_buckets_are_thirds_of_each_source(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=60)
    curate(root, tmp_path / "run", [{"perplexity": {"max_percentile": 100, "order": 2}}], **{"eval.held_out": 0})
    kept = documents(tmp_path / "run")
    scores = pl.DataFrame({"source": kept["source"], "bucket": [row["perplexity_bucket"] for row in kept["scores"]]})
    counts = scores.group_by("source", "bucket").len()
    assert counts.height == 9 and set(counts["bucket"]) == {0.0, 1.0, 2.0}
    assert all(18 <= count <= 22 for count in counts["len"])


def test_the_percentile_holds_in_each_source(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=40)
    curate(root, tmp_path / "run", [{"perplexity": {"max_percentile": 90, "order": 2}}])
    counts = ledger(tmp_path / "run").filter(stage="perplexity")["source"].value_counts()
    assert set(counts["count"]) <= {3, 4} and counts.height == 3


def test_workers_and_the_size_of_parts_change_nothing(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=60)
    stages = [{"perplexity": {"max_percentile": 90, "order": 3, "reference_bytes": 5000}}]
    curate(root, tmp_path / "one", stages)
    curate(root, tmp_path / "two", stages, **{"curate.executor.workers": 2, "curate.part_rows": 7})
    for read, column in ((documents, "scores"), (ledger, "detail")):
        one, two = (read(tmp_path / run).select("id", column).sort("id") for run in ("one", "two"))
        assert one.equals(two)


def test_a_document_of_the_reference_is_not_scored_by_its_own_model(tmp_path: Path) -> None:
    """Each document is of words of its own, so the model that saw one knows it and the other knows none of it."""
    draw = random.Random(0)
    words = [["".join(draw.choices("abcdefghij", k=7)) for _ in range(40)] for _ in range(40)]
    root = tmp_path / "data"
    write_lines(root / "domain" / "notes.jsonl", [{"id": str(k), "text": " ".join(one)} for k, one in enumerate(words)])
    write_lines(root / "general" / "news.jsonl", [{"id": "0", "text": "seen nowhere"}])
    curate(root, tmp_path / "run", [{"perplexity": {"max_percentile": 100, "order": 2}}], **{"eval.held_out": 0})
    scores = [row["perplexity"] for row in documents(tmp_path / "run").filter(source="notes")["scores"]]
    kenlm_model.train([normalized_lines(pl.Series([" ".join(one) for one in words]))], 2, 0, tmp_path / "m", "here")
    lines = normalized_lines(pl.Series([" ".join(one) for one in words]))
    seen = kenlm_model.scores(tmp_path / "m", lines, 30)
    assert min(scores) > 20 * max(10 ** -(seen["log10"] / seen["words"]))


def test_a_causal_model_scores_bits_per_byte(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=12)
    records = [{"id": f"r{k}", "text": sentences(k, 8)} for k in range(12)]
    records[5]["text"] = shuffled(records[5]["text"])
    write_lines(root / "domain" / "notes.jsonl.gz", records)
    keys = {"model": str(TINY), "max_percentile": {"notes": 85}, "window": 128, "stride": 64}
    curate(root, tmp_path / "run", [{"perplexity": keys}])
    removed = ledger(tmp_path / "run").filter(stage="perplexity")
    assert removed["id"].to_list() == ["notes/r5"] and "bits_per_byte" in json.loads(removed["detail"][0])
    assert all(
        0.5 < row["bits_per_byte"] <= row["bits_per_byte_worst"] < 8 for row in documents(tmp_path / "run")["scores"]
    )


def test_causal_scores_are_the_models_own() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from curate import causal_scorer

    texts = [sentences(1, 6), "", "Fièvre à 39 °C.", sentences(2, 40)]
    ours = causal_scorer.scores(str(TINY), pl.Series(texts), 128, 64)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(TINY), AutoTokenizer.from_pretrained(TINY)
    for text, row in zip(texts, ours.rows(named=True), strict=True):
        assert row["bytes"] == len(text.encode())
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        if 1 < len(ids) <= 64:  # one window
            with torch.inference_mode():
                loss = model(torch.tensor([ids]), labels=torch.tensor([ids])).loss
            assert row["bits"] == pytest.approx(float(loss) * (len(ids) - 1) / np.log(2), rel=1e-4)
    alone = causal_scorer.scores(str(TINY), pl.Series(texts[3:]), 128, 64)
    assert alone.row(0) == ours.row(3), "a score does not depend on the documents beside it"


def test_a_window_the_model_cannot_read_is_named() -> None:
    stage = Perplexity(model=str(TINY), window=4096)
    stage._workspace = Workspace(Path("."), [], [], False, "p.yaml")
    with pytest.raises(ValueError, match=r"p.yaml.window: 4096 tokens are more than .* reads \(1024\)"):
        stage.inputs()


def test_a_reference_of_files_beside_the_run(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=20)
    other = write_lines(tmp_path / "more.jsonl.gz", [{"id": str(k), "text": sentences(k, 9)} for k in range(50)])
    curate(root, tmp_path / "run", [{"perplexity": {"reference": str(other), "order": 2, "max_percentile": 80}}])
    assert ledger(tmp_path / "run").filter(stage="perplexity").height > 0
    with pytest.raises(ValueError, match=r"perplexity.reference: '.*none-\*.jsonl' matches no file"):
        resolve(root, tmp_path / "run", [{"perplexity": {"reference": str(tmp_path / "none-*.jsonl")}}])


def test_an_unknown_reference_is_named(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(
        ValueError, match=r"curate.stages\[0\].perplexity.reference: 'notez' is neither a pool nor a source"
    ):
        curate(root, tmp_path / "run", [{"perplexity": {"reference": "notez"}}])


@pytest.mark.parametrize("key", ["max_percentile", "max_worst_percentile"])
def test_an_unknown_source_in_the_percentiles_is_named(tmp_path: Path, key: str) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=rf"{key}: there is no source notez"):
        curate(root, tmp_path / "run", [{"perplexity": {key: {"notez": 90}}}])


@pytest.mark.parametrize("size", [30, 400])
def test_a_damaged_model_is_named(model: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "cut.binary").write_bytes(model.read_bytes()[:size])
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=r"perplexity.model: .*cut.binary is no KenLM that can be read"):
        curate(root, tmp_path / "run", [{"perplexity": {"model": str(tmp_path / "cut.binary")}}])


def test_wrong_letters_are_found_in_real_text(real_data: Path, tmp_path: Path) -> None:
    pages = pl.read_ndjson(real_data / "domain" / "patient_qa.jsonl.gz", schema={"text": pl.String})["text"].head(3000)
    draw = random.Random(0)
    wrong = [
        "".join(draw.choice("etaoins") if c.isalpha() and draw.random() < 0.05 else c for c in one) for one in pages
    ]
    kenlm_model.train([normalized_lines(pages.gather_every(2))], 5, 1, tmp_path / "m.binary", "here")
    held = pages.gather_every(2, 1), pl.Series(wrong).gather_every(2, 1)
    clean, noisy = (kenlm_model.scores(tmp_path / "m.binary", normalized_lines(text), 30) for text in held)
    clean_bits, noisy_bits = ((-one["log10"] / one["words"]).to_numpy() for one in (clean, noisy))
    assert (noisy_bits > clean_bits).mean() > 0.99, "a page with wrong letters scores above itself"
    assert (noisy_bits[:, None] > clean_bits[None, :]).mean() > 0.93, "and above most others"


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=r"perplexity.model: absent.arpa is not there"):
        resolve(root, tmp_path / "run", [{"perplexity": {"model": "absent.arpa"}}])
