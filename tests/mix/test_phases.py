"""Phases: one plan of several mixtures, exact in each, the best documents apart; what does not go together is named."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.files import read_json
from mix.build import build, main
from mix.plan import Plan
from mix.plan_file import read_plan
from mix.trace import main as trace
from mix.verify import verify
from pipelines import config

BATCH = 8
BEST = {"score": "perplexity", "prefer": "low", "share": 0.2}
PHASES: list[dict[str, Any]] = [
    {"name": "domain", "steps": 10},
    {"name": "task", "steps": 5, "domain": 0.9, "replay": 0.1, "weights": {"notes": 3, "abstracts": 1, "letters": 0}},
    {"name": "anneal", "steps": 7, "domain": 0.7, "replay": 0.3, "weights": "natural", "best": True},
]


def add_scores(run: Path) -> dict[str, float]:
    """Give every document a made-up perplexity, a tenth of the letters none; returns them by id."""
    chance, scores = np.random.default_rng(0), {}
    for file in sorted((run / "documents").rglob("*.parquet")):
        table = pq.read_table(file)
        rows: list[list[tuple[str, float]]] = []
        for identifier in table["id"].to_pylist():
            score = float(np.float32(chance.random()))
            known = not (identifier.startswith("letters") and chance.random() < 0.1)
            rows.append([("other", 1.0), ("perplexity", score)] if known else [])
            if known:
                scores[identifier] = score
        column = pa.array(rows, pa.map_(pa.string(), pa.float32()))
        pq.write_table(table.append_column("scores", column), file)
    return scores


@pytest.fixture
def scored(make_run: Callable[..., Path]) -> tuple[Path, dict[str, float]]:
    run = make_run()
    scores = add_scores(run)
    values = yaml.safe_load((run / "pipeline.yaml").read_text())
    values["mix"] |= {"best": BEST, "max_epochs": 30}
    values["train"] = {"global_batch": BATCH, "warmup_steps": 2}
    (run / "pipeline.yaml").write_text(yaml.safe_dump(values | {"phases": PHASES}))
    return run, scores


def shares_of(plan: Plan, first: int, rows: int) -> dict[str, float]:
    """Share of the rows from each packed source."""
    taken = np.array(plan.taken(first + rows)) - np.array(plan.taken(first))
    return {source.name: float(count / rows) for (_, source), count in zip(plan.sources, taken, strict=True)}


def test_each_phase_has_its_shares_in_every_batch_and_in_sum(scored: tuple[Path, dict[str, float]]) -> None:
    run, _ = scored
    plan = build(config.load(run / "pipeline.yaml"))
    begin = 0
    for phase, replay in zip(PHASES, (Fraction(1, 5), Fraction(1, 10), Fraction(3, 10)), strict=True):
        is_replay = np.array([pool.name == "replay" for pool, _ in plan.sources])
        rows = plan.rows(begin * BATCH, phase["steps"] * BATCH)
        batches = is_replay[rows.source].reshape(phase["steps"], BATCH).sum(1)
        assert (np.abs(batches - float(replay * BATCH)) < 1).all()
        assert abs(batches.sum() - float(replay * BATCH * phase["steps"])) < 1
        begin += phase["steps"]
    told = read_json(run / "mixture.json")["phases"]
    assert [(one["name"], one["first_step"], one["steps"]) for one in told] == [
        ("domain", 1, 10),
        ("task", 11, 5),
        ("anneal", 16, 7),
    ]
    assert sum(pool["rows"] for one in told for pool in one["got"].values()) == 22 * BATCH
    assert read_plan(run / "mixture.json").identity == plan.identity


def test_weights_hold_over_both_parts_of_a_source_and_best_takes_one(scored: tuple[Path, dict[str, float]]) -> None:
    run, _ = scored
    changes = {"phases": [{**one, "steps": 400} for one in PHASES], "mix.max_epochs": 999}
    plan = build(config.load(run / "pipeline.yaml", changes))
    rows = {source.name: source.rows for _, source in plan.sources}
    domain = [name for name in rows if name not in ("books", "web")]
    first, task, best = (shares_of(plan, 400 * BATCH * number, 400 * BATCH) for number in range(3))
    for name in domain:
        assert first[name] == pytest.approx(0.8 * rows[name] / sum(rows[one] for one in domain), abs=2e-3)
    assert task["notes"] + task["notes+best"] == pytest.approx(0.9 * 0.75, abs=2e-3)
    assert task["notes"] / task["notes+best"] == pytest.approx(rows["notes"] / rows["notes+best"], rel=0.02)
    assert task["letters"] == task["letters+best"] == 0
    apart = [name for name in domain if name.endswith("+best")]
    for name in domain:
        wanted = 0.7 * rows[name] / sum(rows[one] for one in apart) if name in apart else 0
        assert best[name] == pytest.approx(wanted, abs=2e-3)
    assert best["books"] / best["web"] == pytest.approx(rows["books"] / rows["web"], rel=0.02)


def test_the_best_are_the_best_and_each_document_is_packed_once(
    scored: tuple[Path, dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, scores = scored
    main([str(run)])
    assert "anneal 16 to 22   56       30.00% 30.36%" in capsys.readouterr().out
    for source, count in (("notes", 60), ("abstracts", 90), ("letters", 25)):
        parts = [
            pl.read_parquet(run / "packed" / "domain" / name / "documents.parquet")["id"]
            for name in (source, f"{source}+best")
        ]
        rest, best = (set(part) for part in parts)
        assert len(rest) + len(best) == count and not rest & best and len(best) == -(-count // 5)
        assert max(scores[one] for one in best) <= min(scores.get(one, 1.0) for one in rest)
    assert not (run / "packed" / "replay" / "web+best").exists()
    verify(run, tokens=True)
    trace([str(run), "--step", "17"])
    assert "notes+best" in capsys.readouterr().out


def test_without_the_split_the_mixture_is_as_before(scored: tuple[Path, dict[str, float]]) -> None:
    run, _ = scored
    main([str(run)])
    plain: dict[str, Any] = {"mix.best": None, "phases": [], "train.steps": 22}
    plan = build(config.load(run / "pipeline.yaml", plain))
    assert [source.name for _, source in plan.sources] == ["abstracts", "letters", "notes", "books", "web"]
    assert not (run / "packed" / "domain" / "notes+best").exists()
    verify(run)


def test_prefer_high_takes_the_other_end(scored: tuple[Path, dict[str, float]]) -> None:
    run, scores = scored
    build(config.load(run / "pipeline.yaml", {"mix.best": {**BEST, "prefer": "high"}}))
    best = pl.read_parquet(run / "packed" / "domain" / "letters+best" / "documents.parquet")["id"]
    ranked = sorted((one for one in scores if one.startswith("letters/")), key=lambda one: -scores[one])
    assert set(best) == set(ranked[:5])


def test_repetition_of_the_best_is_counted_over_all_phases(scored: tuple[Path, dict[str, float]]) -> None:
    run, _ = scored
    with pytest.raises(ValueError, match=r"mix\.max_epochs: 1.5 .*notes\+best \d+, repeated 1\.\d+ times"):
        build(config.load(run / "pipeline.yaml", {"mix.max_epochs": {"notes": 1.5, "default": 4}}))


def test_a_change_of_ratio_while_training_keeps_the_sources_of_phases(scored: tuple[Path, dict[str, float]]) -> None:
    run, _ = scored
    plan = build(config.load(run / "pipeline.yaml"))
    changed = plan.with_change(12 * BATCH, {"domain": "1/2", "replay": "1/2"})
    before, after = plan.rows(0, 12 * BATCH), changed.rows(0, 12 * BATCH)
    assert (before.source == after.source).all() and (before.row == after.row).all()
    names = [f"{pool.name}/{source.name}" for pool, source in plan.sources]
    found = {names[one] for one in changed.rows(15 * BATCH, 7 * BATCH).source}
    assert found == {"domain/abstracts+best", "domain/letters+best", "domain/notes+best", "replay/books", "replay/web"}
    assert abs(sum(names[one].startswith("replay") for one in changed.rows(15 * BATCH, 56).source) - 28) <= 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mix.best": None}, r"phases\[2\] \(anneal\): best: is true, but mix\.best does not say"),
        ({"train.steps": 5}, r"train\.steps: is 5, but the phases have 22 steps together"),
        ({"mix.schedule": [{"step": 0, "domain": 1, "replay": 0}]}, r"mix\.schedule: says the shares .* so do phases"),
        ({"phases": [{"name": "a", "steps": 9, "domain": 0.5}]}, r"phases\[0\] \(a\): gives one of domain and replay"),
        ({"phases": [{"name": "a", "steps": 9, "domain": 0.5, "replay": 0.7}]}, "0.5 \\+ 0.7, which is not 1"),
        ({"phases": [{"name": "a", "steps": 9}] * 2}, r"phases: 'a' is the name of two"),
        ({"phases": [{"name": "a", "steps": 2}]}, r"phases\[0\] \(a\): train\.warmup_steps: 2 is not below"),
        (
            {"phases": [{"name": "a", "colour": 1}]},
            r"phases\[0\]\.colour: there is no such key\. Known here: name, steps",
        ),
        ({"mix.best": {"score": "x", "prefer": "low", "colour": 1}}, r"mix\.best\.colour: .*Known here: score, prefer"),
    ],
)
def test_keys_that_do_not_go_together(scored: tuple[Path, dict[str, float]], change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        config.load(scored[0] / "pipeline.yaml", change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"mix.best": {**BEST, "score": "quality"}},
            r"mix\.best\.score: .* the score quality.* wrote: other, perplexity",
        ),
        (
            {"phases": [{"name": "a", "steps": 9, "weights": {"nots": 1}}]},
            r"phases: a\.weights: there is no source nots",
        ),
        ({"phases": [{"name": "a", "steps": 9, "weights": {"notes": 1}}]}, r"phases: a\.weights: names some sources"),
    ],
)
def test_what_the_documents_do_not_allow(
    scored: tuple[Path, dict[str, float]], change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        build(config.load(scored[0] / "pipeline.yaml", change))


def test_shares_on_the_command_line_are_refused_beside_phases(scored: tuple[Path, dict[str, float]]) -> None:
    with pytest.raises(ValueError, match=r"--domain --replay: .* has phases, each with its shares"):
        main([str(scored[0]), "--domain", "0.5", "--replay", "0.5"])


def test_a_saved_pipeline_reads_back_and_takes_other_phases(scored: tuple[Path, dict[str, float]]) -> None:
    run, _ = scored
    first = config.load(run / "pipeline.yaml")
    config.save(first, run / "saved.yaml")
    assert config.load(run / "saved.yaml") == first
    assert config.load(run / "saved.yaml", {"phases": PHASES[:1]}).train.steps == 10


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 100)), min_size=1, max_size=6),
    st.integers(1, 64),
)
def test_any_phases_are_within_a_row_of_their_shares(phases: list[tuple[int, int]], batch: int) -> None:
    from mix.plan import Pool, ShardFile, Source
    from mix.weights import make_knots

    listed = [
        {"name": f"p{number}", "steps": steps, "domain": share / 100, "replay": 1 - Fraction(share, 100)}
        for number, (steps, share) in enumerate(phases)
    ]
    listed = [{**one, "replay": float(one["replay"])} for one in listed]  # type: ignore[arg-type]
    values = {"name": "a", "model": "m", "domain": ["d"], "replay": ["r"], "train": {"warmup_steps": 0}}
    pipeline = config.Pipeline.model_validate(values | {"phases": listed})
    sources = {
        pool: tuple(Source(f"{pool}{n}", 7 + n, 100, 5, 0, (ShardFile("x", 7 + n, ""),)) for n in range(3))
        for pool in ("domain", "replay")
    }
    knots = make_knots(Path("f"), pipeline.mix, sources)
    pools = tuple(Pool(name, part, sources[name]) for name, part in zip(sources, knots[0].shares.pools, strict=True))
    plan = Plan(0, 64, "t", 100, pools, knots, batch)
    first = 0
    for steps, share in phases:
        domain = plan.rows(first, steps * batch).source < 3
        assert (np.abs(domain.reshape(steps, batch).sum(1) - batch * share / 100) < 1).all()
        assert abs(domain.sum() - Fraction(share, 100) * steps * batch) < 1
        first += steps * batch
