"""The report: escaped, self-contained, and honest about what is missing."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

from curate.files import write_json
from eval import report, report_html
from eval.report_data import read
from pipelines import config
from tests.eval import small_run


class Page(HTMLParser):
    """Elements of a page and the text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.text.append(data)

    def words(self) -> str:
        """The page's text, white space as one space."""
        return " ".join(" ".join(self.text).split())


def page_of(run: Path) -> tuple[Page, str]:
    text = report.write(config.load(run / "pipeline.yaml")).read_text(encoding="utf-8")
    return Page(text), text


def test_text_from_a_corpus_is_shown_and_does_nothing(whole_run: Path) -> None:
    page, text = page_of(whole_run)
    assert [tag for tag, _ in page.elements].count("script") == 3, "the charts' data, plotly, ours"
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert page.words().count(small_run.SCRIPT) >= 13, "in ids, details, excerpts, advice and the journal"
    outside = text.partition("<script")[0]
    assert small_run.SCRIPT not in outside and "onerror=alert(1)&gt;" in outside


def test_one_file_without_the_network(whole_run: Path) -> None:
    page, text = page_of(whole_run)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes and not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = next(attributes["content"] for _, attributes in page.elements if attributes.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-")


def test_says_what_the_run_was(whole_run: Path) -> None:
    words = page_of(whole_run)[0].words()
    scores = json.loads((whole_run / "eval" / "scores.json").read_text())
    for pool in ("domain", "general"):
        name = f"{pool}_bits_per_byte"
        assert f"{scores['base'][name]:.3f} → {scores['trained'][name]:.3f}" in words
        assert scores["difference"][pool]["verdict"] in words
    funnel = ("168 documents read", "12 dropped", "36 set aside", "wrong language 5 documents", "similarity 0.80")
    edits = ("redact email 4", "substring dedup repeated span 4")
    for expected in funnel + edits:
        assert expected in words
    assert scores["trained"]["identity"] in words and "seq_len: 64" in words


def test_charts_follow_the_metrics(whole_run: Path) -> None:
    page, text = page_of(whole_run)
    data = json.loads(text.partition('id="charts">')[2].partition("</script>")[0])
    assert {attributes["data-chart"] for _, attributes in page.elements if "data-chart" in attributes} == set(data)
    loss = {trace["name"]: trace for trace in data["Training loss by pool"]["data"]}
    assert loss["domain"]["x"] == list(range(1, 21)) and loss["replay"]["y"][2] is None
    domain = data["domain text: bits per byte"]["data"][0]
    assert domain["x"] == [0, 10, 20] and domain["y"] == pytest.approx([3, 2.5, 2])
    assert data["Learning rate"]["layout"]["shapes"][0]["x0"] == 10, "the resume is marked"


def test_mixture_and_tokenizer_before_and_after(whole_run: Path) -> None:
    words = page_of(whole_run)[0].words()
    assert "domain 80.0 % 80.0 % 81.2 % 3,840 245,760 9.600" in words, "asked, planned, trained on, dealt, epochs"
    assert "replay books 40 5 127,997 2,000 < 0.01 % 960 0.480" in words
    assert "domain base 2,500 2.500 3.20 7.0 %" in words and "domain extended 2,000 2.000" in words
    assert "Terms by number of tokens" in words
    assert "2 tokens were added" in words and "above 2 (tokenizer.min_fertility)" in words


def test_missing_parts_are_said(run: Path) -> None:
    words = page_of(run)[0].words()
    for command in ("torchrun -m train.launch", "python -m eval.run --train.run main", "python -m mix.build"):
        assert command in words


def test_a_run_with_nothing_in_it(run: Path) -> None:
    for entry in run.iterdir():
        if entry.name != "pipeline.yaml":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert "No curation has finished." in page_of(run)[0].words()


def test_without_scores_the_evaluations_of_the_training_run_are_shown(run: Path) -> None:
    small_run.write_training(run)
    words = page_of(run)[0].words()
    assert "3.000 → 2.000" in words and "33.3 % fewer bits" in words and "5.0 % more" in words


def test_a_damaged_file_is_an_error_and_leaves_the_old_report(run: Path) -> None:
    small_run.write_training(run)
    _, before = page_of(run)
    metrics = run / "train" / "main" / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss"\n' + metrics.read_text())
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 1 is damaged"):
        page_of(run)
    assert (run / "report.html").read_text(encoding="utf-8") == before
    assert sorted(path.name for path in run.glob(".*")) == []


def test_the_same_run_gives_the_same_bytes(whole_run: Path) -> None:
    assert page_of(whole_run)[1] == page_of(whole_run)[1]


def test_a_resumed_run_counts_the_later_line(run: Path) -> None:
    small_run.write_training(run)
    metrics = run / "train" / "main" / "metrics.jsonl"
    lines = metrics.read_text().splitlines()[:-1]
    again = {**json.loads(lines[-1]), "loss": 77.0}
    metrics.write_text("\n".join([*lines, json.dumps(again)]) + "\n")
    _, text = page_of(run)
    data = json.loads(text.partition('id="charts">')[2].partition("</script>")[0])
    curve = data["Training loss by pool"]["data"][2]
    assert curve["y"][curve["x"].index(again["step"])] == 77.0


def test_html_escapes_whatever_is_not_markup() -> None:
    assert report_html.html("<b>{}</b>{}", "<i>", Markup("<u>")) == "<b>&lt;i&gt;</b><u>"
    cells = report_html.table(["<h>"], [["<c>"], [report_html.Figure(1, "<f>")]])
    for name in ("h", "c", "f"):
        assert f"<{name}>" not in cells and f"&lt;{name}&gt;" in cells


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (999_999_999, "1 GB"), (5e15, "5,000 TB")],
)
def test_bytes_in_words(value: float, expected: str) -> None:
    assert report_html.human_bytes(value) == expected


def test_scores_of_a_model_from_scratch(run: Path) -> None:
    group = {"bits_per_byte": 2.0, "documents": 3, "bytes": 10, "tokens": 4}
    trained = {"domain_bits_per_byte": 2.0, "general_bits_per_byte": 2.5, "groups": {"domain": group}, "identity": "ab"}
    held_out = {"identity": "cd", "documents": {"domain": 3, "general": 3}}
    scores = {
        "training_run": "main",
        "base": None,
        "trained": trained,
        "difference": None,
        "held_out": held_out,
        "versions": {},
    }
    write_json(run / "eval" / "scores.json", scores)
    words = page_of(run)[0].words()
    assert "2.000 on domain text, 2.500 on general text" in words and "from scratch, so there is no base" in words


def test_two_runs_side_by_side(whole_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(whole_run, other)
    text = (other / "pipeline.yaml").read_text().replace("peak_lr: 0.0003", "peak_lr: 0.0001")
    (other / "pipeline.yaml").write_text(text)
    shutil.move(other / "train" / "main", other / "train" / "low")
    scores = json.loads((other / "eval" / "scores.json").read_text())
    write_json(other / "eval" / "scores.json", scores | {"training_run": "low"})
    report.main(["--compare", str(whole_run), f"{other}:low"])
    page = Page((whole_run / "compare.html").read_text(encoding="utf-8"))
    words = page.words()
    assert "train.peak_lr 0.0003 0.0001" in words and "train.run main low" in words
    assert "The held-out documents are the same." in words and "+0.0000" in words
    assert small_run.SCRIPT not in (whole_run / "compare.html").read_text(encoding="utf-8").partition("<script")[0]
    write_json(other / "eval" / "scores.json", scores)
    report.main(["--compare", str(whole_run), f"{other}:low"])
    assert f"Not measured yet: {other}:low." in Page((whole_run / "compare.html").read_text()).words()


def test_a_training_run_that_is_not_there_is_named(whole_run: Path) -> None:
    pipeline = config.load(whole_run / "pipeline.yaml", {"train.run": "other"})
    (whole_run / "train" / "main" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="no such training run.* There are: main"):
        read(pipeline)
