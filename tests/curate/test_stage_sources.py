"""The key `sources` of a stage: only the named sources are looked at, whatever shape the stage has."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from curate.curation import run_only
from eval.contamination import check
from pipelines import config
from tests.curate.corpus import corpus, curate, ledger, pipeline, resolve, sentences, write_lines

REGEX = "datatrove.pipeline.filters.RegexFilter"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`corpus` with each source's first ten documents again at its end, and a short document in each."""
    folder = corpus(tmp_path / "data", 30)
    for number, (pool, name) in enumerate([("domain", "notes"), ("domain", "papers"), ("general", "news")]):
        texts = [sentences(number * 10_000 + k, 6) for k in range(30)]
        texts += [f"{text} Written on 03/14/2004." for text in texts[:10]] + ["Too short."]
        write_lines(folder / pool / f"{name}.jsonl.gz", [{"id": f"r{k}", "text": text} for k, text in enumerate(texts)])
    return folder


def touched(run: Path, stage: str) -> set[str]:
    """Sources with documents that a stage removed or edited."""
    found: set[str] = set()
    for folder in ("removed", "edited"):
        for file in (run / folder / stage).glob("*.parquet"):
            found |= set(pl.read_parquet(file)["source"])
    return found


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("heuristics", {"rules": ["gopher"], "min_words": 20}),
        ("near_dedup", {"threshold": 0.7}),
        ("perplexity", {"reference": "domain", "max_percentile": 80}),
        ("substring_dedup", {}),
        ("redact", {}),
        (REGEX, {"regex_exp": "Written on"}),
    ],
)
def test_a_stage_looks_at_its_sources_alone(root: Path, tmp_path: Path, name: str, keys: dict[str, object]) -> None:
    label = "regex_filter" if name == REGEX else name
    curate(root, tmp_path / "run", ["normalize", {name: {**keys, "sources": ["n?*s", "notes"]}}])
    assert touched(tmp_path / "run", label) == {"notes", "news"}, "papers has the same faults"
    documents = sorted((tmp_path / "run" / "documents" / "domain" / "papers").glob("*.parquet"))
    assert pl.read_parquet(documents).height + len(ledger(tmp_path / "run").filter(source="papers")) == 41


def test_scores_are_given_to_the_sources_alone(root: Path, tmp_path: Path) -> None:
    stages = [{"exact_dedup": {"sources": ["papers"]}}, {"perplexity": {"reference": "domain", "sources": ["notes"]}}]
    curate(root, tmp_path / "run", stages)
    for source, scored in (("domain/notes", True), ("domain/papers", False), ("replay/news", False)):
        files = sorted((tmp_path / "run" / "documents" / source).glob("*.parquet"))
        assert {bool(len(scores)) for scores in pl.read_parquet(files)["scores"]} == {scored}


def test_one_stage_runs_alone_on_its_sources(root: Path, tmp_path: Path) -> None:
    stages = ["normalize", {"near_dedup": {"threshold": 0.7, "sources": ["papers"]}}]
    curate(root, tmp_path / "run", stages)
    for step in resolve(root, tmp_path / "run", stages).steps[1:]:
        (step.folder / "complete.json").unlink()
    found = run_only(resolve(root, tmp_path / "run", stages), "near_dedup")
    assert found.height == 10 and found["id"].str.starts_with("papers/").all()


@pytest.mark.parametrize("stage", ["near_dedup", "redact", REGEX])
def test_a_source_that_is_not_there_is_refused(root: Path, tmp_path: Path, stage: str) -> None:
    with pytest.raises(ValueError, match=r"curate\.stages\[0\]\.\w+\.sources: 'nots' matches no source.*news, notes"):
        resolve(root, tmp_path / "run", [{stage: {"sources": ["notes", "nots"]}}])
    with pytest.raises(ValueError, match=r"curate\.stages\[0\]\.[\w.]+\.sources: 'notes' cannot be used: .*list"):
        resolve(root, tmp_path / "run", [{stage: {"sources": "notes"}}])


def test_pages_need_an_extract_that_is_for_them(root: Path, tmp_path: Path) -> None:
    (root / "domain" / "site").mkdir()
    (root / "domain" / "site" / "page.html").write_text(f"<html><body><p>{sentences(1, 9)}</p></body></html>")
    changes = {"domain": ["domain/*.gz", "domain/site/*.html"]}
    resolve(root, tmp_path / "run", [{"extract": {"sources": ["site"]}}], **changes)
    with pytest.raises(ValueError, match=r"site/\*\.html is HTML and curate\.stages has no `extract` for it"):
        resolve(root, tmp_path / "run", [{"extract": {"sources": ["notes"]}}], **changes)


def test_decontamination_of_some_sources_is_not_enough_to_score_a_task(root: Path, tmp_path: Path) -> None:
    item = {"id": "q1", "benchmark": "medqa", "context": "", "question": sentences(7, 2), "choices": ["yes", "no"]}
    item |= {"answer_text": "yes"}
    write_lines(root / "bench" / "medqa.jsonl.gz", [item])
    for sources, refused in ((None, False), (["notes"], True)):
        run = tmp_path / f"run-{refused}"
        stages = [{"decontaminate": {"sources": sources}} if sources else "decontaminate"]
        curate(root, run, stages, benchmarks=["bench/*"])
        made = yaml.safe_load((root / "pipeline.yaml").read_text()) | {"benchmarks": ["bench/*"]}
        (run / "pipeline.yaml").write_text(yaml.safe_dump(made))
        saved = config.load(run / "pipeline.yaml")
        paths = [str(root / "bench" / "medqa.jsonl.gz")]
        if refused:
            with pytest.raises(ValueError, match=r"medqa: 1 of 1 items"):
                check(saved, ["medqa"], paths)
        else:
            assert check(saved, ["medqa"], paths)["medqa"]["not_asked"] == 0


def test_the_card_says_what_a_stage_left_alone(root: Path, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from eval.card_limits import of_documents

    steps = resolve(root, tmp_path / "run", [{"near_dedup": {"sources": ["notes"]}}, "exact_dedup"]).steps
    token_files = {"pool": "replay", "source": "bought", "format": "mds", "path": "x", "tokenizer": "0" * 16}
    made, _ = pipeline(root, tmp_path / "run", [], **{"mix.token_files": [token_files]})
    told = of_documents(SimpleNamespace(stages=[step.stage for step in steps], licences={}, pipeline=made))  # type: ignore[arg-type]
    assert "Sources other than notes: `near_dedup` left them alone." in told
    assert "All of bought: taken as tokens, which no stage has looked at." in told
    assert not any("exact_dedup" in one for one in told)


def test_a_parquet_file_compressed_as_a_whole_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "domain" / "more.parquet.zst").write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"domain: domain/more\.parquet\.zst is a Parquet file .* as a whole.*Unpack"):
        resolve(root, tmp_path / "run", [])


def test_other_sources_are_another_stage(root: Path, tmp_path: Path) -> None:
    first = resolve(root, tmp_path / "run", [{"near_dedup": {"sources": ["notes"]}}])
    other = resolve(root, tmp_path / "run", [{"near_dedup": {"sources": ["papers"]}}])
    assert first.steps[0].identity != other.steps[0].identity and first.read.identity == other.read.identity
