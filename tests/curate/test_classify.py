"""classify: off-domain text scores low, no model scores what it was trained on, our weights say what fastText says."""

import ctypes
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate import fasttext_model
from curate.classify import Classify
from curate.kenlm_text import normalized_lines
from curate.kernels.linear_text import LinearText, linear
from curate.stage import Workspace
from tests.curate.corpus import corpus, curate, ledger, sentences, write_lines

COOKING = (
    "Stir|Chop|Bake|Peel|Roast".split("|"),
    "the onions|two ripe tomatoes|fresh basil|the dough|a lemon".split("|"),
    "in olive oil|until golden|with a pinch of salt|for ten minutes|over low heat".split("|"),
)


def recipe(seed: int, count: int = 12) -> str:
    draw = random.Random(seed)
    return " ".join(" ".join(draw.choice(words) for words in COOKING) + f" {draw.randrange(99)}." for _ in range(count))


def both(root: Path, documents: int = 60) -> Path:
    """Sources notes and papers (domain) of one kind of text, news (replay) of another; notes/r7 and r40 are news."""
    corpus(root, documents)
    notes = [{"id": f"r{k}", "text": recipe(k) if k in (7, 40) else sentences(k, 8)} for k in range(documents)]
    write_lines(root / "domain" / "notes.jsonl.gz", notes)
    news = [{"id": f"r{k}", "text": recipe(1000 + k)} for k in range(documents)]
    write_lines(root / "general" / "news.jsonl.gz", news)
    return root


def scores(output: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((output / "documents").rglob("*.parquet"))).select("id", "pool", "scores").sort("id")


@pytest.fixture(scope="module")
def model() -> Any:
    like = normalized_lines(pl.Series([sentences(k, 20) for k in range(40)]))
    return fasttext_model.train([like], [normalized_lines(pl.Series([recipe(k, 20) for k in range(40)]))], "here")


def test_weights_say_what_fasttext_says(model: Any) -> None:
    texts = [sentences(99, 9), recipe(99), "the", "the patient bake", "Fièvre, naïve… x" * 3, "patient \t\n patient"]
    ours = fasttext_model.weights(model, "here").probabilities(pl.Series([*texts, "", "   "]))
    labels, values = model.predict([" ".join(text.split()) for text in texts], k=2)
    theirs = [dict(zip(*one, strict=True))[fasttext_model.POSITIVE] for one in zip(labels, values, strict=True)]
    assert ours[:-2] == pytest.approx(theirs, abs=2e-5)
    assert np.isnan(ours[-2:]).all()


def test_the_same_text_gives_the_same_model(model: Any) -> None:
    like = normalized_lines(pl.Series([sentences(k, 20) for k in range(40)]))
    again = fasttext_model.train([like], [normalized_lines(pl.Series([recipe(k, 20) for k in range(40)]))], "here")
    one, two = fasttext_model.weights(model, ""), fasttext_model.weights(again, "")
    assert np.array_equal(one.weights, two.weights) and np.array_equal(one.buckets, two.buckets)


def test_a_used_heap_does_not_get_into_the_model(model: Any) -> None:
    """600 MB of freed memory full of NaN (glibc keeps it: the last piece stays in use)."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    *pieces, last = [libc.malloc(120_000) for _ in range(5_000)]
    for piece in pieces:
        ctypes.memset(piece, 0xFF, 120_000)
        libc.free(piece)
    test_the_same_text_gives_the_same_model(model)
    libc.free(last)


def test_weights_are_saved_whole(model: Any, tmp_path: Path) -> None:
    saved = fasttext_model.weights(model, "")
    saved.save(tmp_path / "w.npz")
    texts = pl.Series([sentences(3, 4)])
    assert LinearText.load(tmp_path / "w.npz").probabilities(texts) == saved.probabilities(texts)


@pytest.mark.parametrize("by", ["classifier", "moore_lewis"])
def test_off_domain_documents_go(tmp_path: Path, by: str) -> None:
    root = both(tmp_path / "data")
    limit = 0.5 if by == "classifier" else 0.0
    curate(root, tmp_path / "run", [{"classify": {"by": by, "min_score": {"domain": limit}}}], **{"eval.held_out": 0})
    removed = ledger(tmp_path / "run").filter(stage="classify")
    assert removed["id"].to_list() == ["notes/r40", "notes/r7"] or removed["id"].to_list() == ["notes/r7", "notes/r40"]
    assert removed["reason"].unique().to_list() == ["unlike_reference"]
    evidence = json.loads(removed["detail"][0])
    assert evidence[by] < evidence["threshold"] == limit
    kept = scores(tmp_path / "run")
    for pool, score in zip(kept["pool"], kept["scores"], strict=True):
        assert (score[by] > limit) == (pool == "domain")


def test_no_model_scores_what_it_was_trained_on(tmp_path: Path) -> None:
    """Pure noise can only be told from other noise by who has seen it: cross-fitted scores know nothing of it."""
    draw = random.Random(0)
    noise = lambda: " ".join("".join(draw.choices("abcdefgh", k=4)) for _ in range(60))  # noqa: E731
    for name in ("domain/notes", "general/news"):
        write_lines(tmp_path / "data" / f"{name}.jsonl", [{"id": str(k), "text": noise()} for k in range(100)])
    curate(tmp_path / "data", tmp_path / "run", ["classify"], **{"eval.held_out": 0})
    kept = scores(tmp_path / "run")
    value = np.array([score["classifier"] for score in kept["scores"]])
    domain = (kept["pool"] == "domain").to_numpy()
    assert 0.35 < (value[domain][:, None] > value[~domain][None, :]).mean() < 0.65


def test_workers_and_the_size_of_parts_change_nothing(tmp_path: Path) -> None:
    root = both(tmp_path / "data")
    stages = [{"classify": {"reference_bytes": 9000}}]
    curate(root, tmp_path / "one", stages)
    curate(root, tmp_path / "two", stages, **{"curate.executor.workers": 2, "curate.part_rows": 7})
    assert scores(tmp_path / "one").equals(scores(tmp_path / "two"))


def test_a_model_file_scores_its_label(model: Any, tmp_path: Path) -> None:
    model.save_model(str(tmp_path / "m.bin"))
    root = both(tmp_path / "data", 20)
    stage = {"classify": {"model": str(tmp_path / "m.bin"), "label_name": "negative", "min_score": {"replay": 0.5}}}
    curate(root, tmp_path / "run", [stage], **{"eval.held_out": 0})
    made = scores(tmp_path / "run")
    assert made.height == 60, "no replay document is below the threshold"
    assert all(score["classifier"] > 0.5 for score in made.filter(pool="replay")["scores"])


def test_a_model_with_subwords_is_asked_through_fasttext(tmp_path: Path) -> None:
    import fasttext

    rows = [f"__label__a {sentences(k, 5)}" for k in range(30)] + [f"__label__b {recipe(k, 5)}" for k in range(30)]
    (tmp_path / "t.txt").write_text("\n".join(rows) + "\n")
    # fewer threads than 12 leave rows of fastText's matrix unset
    made = fasttext.train_supervised(
        str(tmp_path / "t.txt"), minn=2, maxn=3, wordNgrams=2, epoch=30, lr=1.0, thread=12, verbose=0
    )
    made.save_model(str(tmp_path / "m.bin"))
    assert linear(made, "__label__a") is None
    found = fasttext_model.file_probabilities(
        str(tmp_path / "m.bin"), "__label__a", pl.Series([sentences(77, 9), recipe(77)])
    )
    assert found[0] > 0.6 > 0.4 > found[1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"positive": "notez"}, r"classify.positive: 'notez' is neither a pool nor a source"),
        ({"min_score": {"notez": 0.1}}, r"classify.min_score: there is no pool or source notez"),
        ({"model": "absent.bin"}, r"classify.model: absent.bin is not there"),
        ({"by": "moore_lewis", "model": "x"}, r"classify.model: a fastText file cannot score by: moore_lewis"),
    ],
)
def test_keys_that_cannot_be_used_are_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    root = corpus(tmp_path / "data", documents=4)
    with pytest.raises(ValueError, match=message):
        curate(root, tmp_path / "run", [{"classify": keys}])


def test_a_missing_label_is_named(model: Any, tmp_path: Path) -> None:
    model.save_model(str(tmp_path / "m.bin"))
    stage = Classify(model=str(tmp_path / "m.bin"), label_name="good")
    stage._workspace = Workspace(tmp_path, [], [], False, "p.yaml")
    with pytest.raises(ValueError, match=r"p.yaml.label_name: .*m.bin has no label 'good'.*It has: "):
        stage.inputs()
