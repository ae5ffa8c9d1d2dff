"""The report in a real browser: charts, sorting, widths, colours, print, and what a corpus' script does (nothing)."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval import report
from pipelines import config
from tests.eval import report_run
from tests.eval.browser import Browser

PHONE, DESK, PAPER = 390, 1280, 718
"""Widths in pixels; paper is A4 between margins of 1 cm."""


@pytest.fixture(scope="module")
def opened(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    """A browser, and the report of a run with everything in it."""
    root = tmp_path_factory.mktemp("browser")
    run = report_run.make(root, models_folder)
    browser = Browser(root / "profile")
    yield browser, report.write(config.load(run / "pipeline.yaml"))
    browser.close()


@pytest.fixture
def page(opened: tuple[Browser, Path]) -> Browser:
    """The report, opened anew."""
    browser, path = opened
    browser.console.clear()
    browser.look(DESK)
    browser.open(path)
    return browser


def test_the_charts_draw_and_no_script_of_the_corpus_runs(page: Browser) -> None:
    assert not page.console, page.console
    assert page.ask("document.title") == "small: Palimpsest report"
    assert page.ask("document.querySelectorAll('.plot').length") >= 12
    assert page.ask("[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))")
    assert page.ask("document.querySelectorAll('main img, main script').length") == 0


def test_tables_sort_by_number_and_back(page: Browser) -> None:
    column = """(() => {
      const table = document.querySelector('#funnel table');
      const heading = [...table.tHead.rows[0].cells].find(cell => cell.textContent === 'left');
      heading.click();
      return [...table.tBodies[0].rows].map(row => Number(row.cells[heading.cellIndex].dataset.order));
    })()"""
    down, up = page.ask(column), page.ask(column)
    assert down == sorted(down, reverse=True) and up == sorted(up) and len(set(up)) > 3


def test_it_can_be_read_on_a_phone_and_in_dark_mode(page: Browser) -> None:
    for width in (PHONE, DESK):
        for dark in (False, True):
            page.look(width, dark=dark)
            page.ask(SETTLED)
            assert page.ask("document.documentElement.scrollWidth") <= width, "only tables scroll sideways"
            assert page.ask(SMALLEST) >= 12
            assert page.ask(CONTRAST) >= 4.5, "WCAG 2.1 AA for text"


def test_what_is_folded_can_be_read_too(page: Browser) -> None:
    for width, dark in ((PHONE, True), (DESK, False)):
        page.look(width, dark=dark)
        page.ask("document.querySelectorAll('details').forEach(folded => folded.open = true)")
        page.ask(SETTLED)
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.ask(CONTRAST) >= 4.5 and page.ask(SMALLEST) >= 12


def test_a_link_leads_to_the_documents_of_a_spike(page: Browser) -> None:
    link = "[...document.querySelectorAll('#training td a')].find(one => one.textContent.includes('documents'))"
    page.ask(f"{link}.click()")
    assert page.ask("location.hash") == "#spikes" and page.ask("document.querySelector('#spikes .example') !== null")
    assert page.ask("document.title") == "small: Palimpsest report"


def test_it_prints_on_paper(page: Browser) -> None:
    page.look(PAPER)
    page.call("Emulation.setEmulatedMedia", media="print", features=[])
    page.ask(SETTLED)
    assert page.ask("document.documentElement.scrollWidth") <= PAPER, "nothing can be scrolled on paper"
    page.look(DESK)
    page.ask(WIDTHS_WHEN_PRINTED)
    printed = base64.b64decode(page.call("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF") and 3 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type/Page/") <= 40
    widths = page.ask("window.widths")
    assert {round(width) for width in widths} == {220, 340, 700}, "the charts fit on the paper"
    page.ask(SETTLED)
    assert page.ask("document.querySelector('.plot .main-svg').getBoundingClientRect().width") > 340, "and grow back"


WIDTHS_WHEN_PRINTED = """addEventListener('beforeprint', () => {
  window.widths = [...document.querySelectorAll('.plot .main-svg')].map(one => one.getBoundingClientRect().width);
})"""
"""Keeps the charts' widths as they are when the page is about to be printed."""
SETTLED = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))"
"""Waits until the page has taken over another width or another kind of paper."""
SMALLEST = """Math.min(...[...document.querySelectorAll('p, td, th, li, blockquote')]
  .map(element => parseFloat(getComputedStyle(element).fontSize)))"""
"""The smallest text, in pixels."""
CONTRAST = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3).map(value => value / 255)
    .map(value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [.2126, .7152, .0722][index], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
  };
  return Math.min(...[...document.querySelectorAll('p, td, th, li, h1, h2, h3, summary, a')].map(element => {
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))].sort();
    return (other + .05) / (one + .05);
  }));
})()"""
"""The least contrast of a text with what lies behind it, by WCAG's relative luminance."""
