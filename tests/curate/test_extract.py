"""extract: the main text of HTML, other documents as they are, no page that stops a run."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curate.extract import Extract
from curate.stage import Verdicts
from tests.curate.corpus import sentences

NOTE = [sentences(k, 4) for k in range(5)]
PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Notes</title><script>var hidden = 1;</script><style>p {}</style></head><body>"
    "<nav><ul><li><a href='/a'>Home</a></li><li><a href='/b'>Archive</a></li></ul></nav><article><h1>A visit</h1>"
    + "".join(f"<p>{paragraph}</p>" for paragraph in NOTE)
    + "<table><tr><th>Sodium</th><td>141</td></tr><tr><th>Potassium</th><td>4.2</td></tr></table></article>"
    "<footer>Copyright, all rights reserved</footer></body></html>"
)


def judge(texts: list[str], origin: str = "notes.jsonl.gz#0", **keys: object) -> Verdicts:
    return Extract(**keys).judge(
        pl.DataFrame(
            {"text": pl.Series(texts, dtype=pl.String), "origin": pl.Series([origin] * len(texts), dtype=pl.String)}
        )
    )


def text_of(page: str, origin: str = "notes.jsonl.gz#0") -> str | None:
    verdicts = judge([page], origin)
    assert verdicts.text is not None and (verdicts.reason[0] is None) == (verdicts.detail[0] is None)
    return verdicts.text[0]


def test_the_main_text_stays_and_the_page_around_it_goes() -> None:
    text = text_of(PAGE)
    assert text is not None and all(paragraph in text for paragraph in NOTE)
    assert "141" in text and "Potassium" in text
    assert not [gone for gone in ("Archive", "hidden", "Copyright", "<p>") if gone in text]


@pytest.mark.parametrize(
    "text",
    [
        "A plain text about the <div> tag and <p>paragraphs</p>.",
        "3 < 4 and 5 > 4",
        "",
        "<patient> reported pain",
        "| a | table |",
    ],
)
def test_other_documents_pass_as_they_are(text: str) -> None:
    verdicts = judge([text])
    assert verdicts.reason[0] is None and verdicts.text is not None and verdicts.text[0] is None


@pytest.mark.parametrize(
    ("beginning", "origin"),
    [
        ("", "notes.jsonl#7"),
        ("\ufeff \n<!-- a <b>comment</b> -->\n", "notes.parquet#7"),
        ('<?xml version="1.0" encoding="utf-16"?>', "notes.jsonl#7"),
        ("Served at noon.", "pages/visit.html#0"),
        ("Served at noon.", "crawl.warc.gz#12"),
    ],
)
def test_what_counts_as_html(beginning: str, origin: str) -> None:
    text = text_of(beginning + PAGE, origin)
    assert text is not None and NOTE[0] in text and "<p>" not in text


def test_pages_without_a_text_go_with_a_reason() -> None:
    deep = "<div>" * 1000 + "text"
    verdicts = judge(["<html><body><script>only()</script></body></html>", deep, "<html>" + "\0" * 50, PAGE])
    assert verdicts.reason.to_list() == ["no_main_text"] * 3 + [None]
    assert json.loads(verdicts.detail[1]) == {"bytes": len(deep)}


def test_control_characters_do_not_end_a_page() -> None:
    text = text_of(PAGE.replace(NOTE[1], "\x00\x0b" + NOTE[1]))
    assert text is not None and NOTE[4] in text


def test_long_pages_are_named() -> None:
    verdicts = judge([PAGE, PAGE.replace(NOTE[0], NOTE[0] * 50)], max_bytes=len(PAGE) + 10)
    assert verdicts.reason.to_list() == [None, "html_too_large"]
    assert json.loads(verdicts.detail[1])["limit"] == len(PAGE) + 10
    assert judge([PAGE * 2], max_bytes=0).reason[0] != "html_too_large"


def test_a_parser_that_fails_names_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AttributeError("no parent")

    monkeypatch.setattr("trafilatura.core.tree_cleaning", fails)
    verdicts = judge([PAGE, "plain"])
    assert verdicts.reason.to_list() == ["broken_html", None] and "AttributeError: no parent" in verdicts.detail[0]


def test_damaged_pages_get_a_verdict() -> None:
    draw = random.Random(0)
    pages = []
    for _ in range(150):
        page = list(PAGE)
        for _ in range(draw.randrange(1, 200)):
            at = draw.randrange(len(page))
            page[at] = draw.choice(
                ["", "<", ">", "&", "\x00", "</", "<!--", "<table>", "\ud7ff", "\uffff", '"', "&#0;"]
            )
        pages.append("<html>" + "".join(page)[draw.randrange(200) : draw.randrange(300, len(page))])
    verdicts = judge(pages)
    assert verdicts.text is not None
    for text, reason in zip(verdicts.text, verdicts.reason, strict=True):
        assert (text is None) == (reason is not None)


def test_the_answer_depends_on_the_page_alone() -> None:
    pages = [PAGE.replace(NOTE[k % 5], NOTE[(k + 1) % 5]) for k in range(6)]
    code = "import sys, json, polars as pl; from curate.extract import Extract\n"
    code += "frame = pl.DataFrame({'text': json.load(sys.stdin), 'origin': 'a#0'})\n"
    code += "print(json.dumps(Extract().judge(frame).text.to_list()))"
    answers = []
    for seed, order in [("0", pages), ("1", pages[::-1])]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1][::-1] and None not in answers[0]


def test_no_documents() -> None:
    assert len(judge([]).reason) == 0


def test_recall_on_real_pages(real_data: Path) -> None:
    rows = [json.loads(line) for line in gzip.open(real_data / "noisy" / "web_html_gold.jsonl.gz")][::6]
    texts = judge([row["html"] for row in rows]).text
    assert texts is not None
    for row, text in zip(rows, texts, strict=True):
        gold = row["gold_text"].split()
        assert len(set(gold) & set(text.split())) / len(set(gold)) > 0.95, row["id"]
        assert "adsbygoogle" not in text
