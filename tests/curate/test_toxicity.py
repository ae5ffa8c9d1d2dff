"""toxicity: words of a list as whole words, a classifier, and what cannot be judged by."""

import json
from pathlib import Path

import polars as pl
import pytest

from curate.stage import Verdicts, Workspace
from curate.toxicity import Toxicity
from tests.curate.corpus import sentences


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("darn\nblast\nblast it\nSchei\u00dfkerl\n\n\u7cdf\u7cd5\nb0ther\n")
    return path


def judge(texts: list[str], **keys: object) -> Verdicts:
    stage = Toxicity(**keys)
    stage._workspace = Workspace(Path(), [], [], False, "p.yaml: curate.stages[0].toxicity")
    assert stage.inputs()
    return stage.judge(pl.DataFrame({"text": texts}, schema={"text": pl.String}))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a quiet text of seven plain words", 0),
        ("Darn! he said, DARN it", 2 / 5),
        ("darned undarn darn-ed", 1 / 4),
        ("blast it all", 2 / 3),
        ("blast, it all", 2 / 3),
        ("blast all blast", 2 / 3),
        ("it ends in blast", 1 / 4),
        ("Scheisskerl und Schei\u00dfkerl", 2 / 3),
        ("da\u0301rn", 1),
        ("\u597d\u7cdf\u7cd5\u597d", 2 / 4),
        ("b0ther b1ther", 1 / 2),
        ("...", 0),
        ("", 0),
    ],
)
def test_the_share_counts_whole_words(listed: Path, text: str, share: float) -> None:
    assert judge([text], words=str(listed)).scores["toxic_share"][0] == pytest.approx(share)


def test_documents_above_the_limit_go_with_the_entries_found(listed: Path) -> None:
    clean = sentences(1, 40)
    verdicts = judge([clean, "darn " + clean, "darn blast it " * 5 + clean, "blast"], words=str(listed), max_share=0.02)
    assert verdicts.reason.to_list() == [None, None, "toxic_words", "toxic_words"]
    told = json.loads(verdicts.detail[2])
    assert told["entries"] == ["darn", "blast it"] and told["limit"] == 0.02
    assert told["share"] == pytest.approx(verdicts.scores["toxic_share"][2], abs=1e-4)
    assert judge(["one darn among many words"], words=str(listed), max_share=0).reason.to_list() == ["toxic_words"]
    assert judge(["darn"], words=str(listed), max_share=1).reason.to_list() == [None]


def test_shares_equal_counting_by_hand(listed: Path) -> None:
    entries = {("darn",), ("blast",), ("blast", "it")}
    texts = [sentences(k, 3).replace("the ", ["darn ", "blast ", "blast it "][k % 3]) for k in range(3000)]
    for text, share in zip(texts, judge(texts, words=str(listed)).scores["toxic_share"], strict=True):
        words, at, covered = text.lower().replace(".", " ").split(), 0, 0
        while at < len(words):
            length = max((n for n in (1, 2) if tuple(words[at : at + n]) in entries), default=0)
            covered, at = covered + length, at + max(length, 1)
        assert share == pytest.approx(covered / len(words)), text


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import fasttext

    folder = tmp_path_factory.mktemp("classifier")
    lines = [f"__label__fine {sentences(k, 2)}" for k in range(200)]
    lines += [
        f"__label__toxic you are a {word} {word} fool number {k}" for k, word in enumerate(["mean", "rude"] * 100)
    ]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    # fewer threads than 12 leave rows of fastText's matrix unset: training then stops with "Encountered NaN"
    model = fasttext.train_supervised(
        str(folder / "lines.txt"), wordNgrams=2, thread=12, dim=8, epoch=20, lr=0.5, bucket=1000
    )
    model.save_model(str(folder / "model.bin"))
    return folder / "model.bin"


def test_the_classifier_drops_what_it_calls_toxic(classifier: Path, listed: Path) -> None:
    texts = [sentences(7, 2), "you are a rude\nrude fool number 7", "darn you rude rude fool number 7"]
    verdicts = judge(texts, classifier=str(classifier))
    assert verdicts.reason.to_list() == [None, "toxic_classifier", "toxic_classifier"]
    scores = verdicts.scores["toxic_score"].to_list()
    assert scores[0] < 0.5 < scores[1] <= 1 and json.loads(verdicts.detail[1])["score"] == round(scores[1], 4)
    both = judge(texts, classifier=str(classifier), words=str(listed))
    assert both.reason.to_list() == [None, "toxic_classifier", "toxic_words"]
    assert set(both.scores) == {"toxic_share", "toxic_score"}
    assert judge(texts, classifier=str(classifier), max_score=1).reason.to_list() == [None] * 3


def test_no_documents(classifier: Path, listed: Path) -> None:
    verdicts = judge([], classifier=str(classifier), words=str(listed))
    assert len(verdicts.reason) == 0 and all(len(score) == 0 for score in verdicts.scores.values())


def test_errors_name_the_key(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither `words` nor `classifier`"):
        Toxicity()
    with pytest.raises(ValueError, match=r"toxicity.words: absent.txt is not there"):
        judge(["x"], words="absent.txt")
    with pytest.raises(ValueError, match=r"toxic_label: .*no label 'hate'.*Its labels: fine, toxic"):
        judge(["x"], classifier=str(classifier), toxic_label="hate")
    for number, (content, said) in enumerate(
        [
            ("fine\na$$\n\U0001f595\n".encode(), r"2 entries with signs.*a\$\$"),
            (b"\n \n", "has no entry"),
            (b"caf\xe9\n", "is not UTF-8"),
        ]
    ):
        path = tmp_path / f"bad-{number}.txt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            judge(["x"], words=str(path))
