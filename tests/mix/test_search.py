"""The search for weights, end to end: two domain sources, one of which is not like the held-out text."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from curate.files import read_json
from mix import build, search
from mix.plan_file import read_plan
from pipelines import config
from tests.train import small

KEYS = ["--steps", "6", "--runs", "4", "--eval.documents", "6"]


def proxies(run: Path) -> Path:
    return run / "search" / "steps-6-seed-0"


def make(home: Path) -> Path:
    """A run with the domain sources `notes` and `chat`; the latter is other text, and three quarters of the rows."""
    folder = home / "runs" / "small"
    small.make_tokenizer(folder / "tokenizer")
    sources = [("domain", "notes", "domain", 30), ("domain", "chat", "replay", 90), ("replay", "books", "replay", 60)]
    for pool, source, words, count in sources:
        small.write_documents(folder / "documents" / pool / source, words, source, range(count))
    for pool in ("domain", "replay"):
        small.write_documents(folder / "held_out" / pool / "aside", pool, "aside", range(1000, 1008))
    config.save(small.pipeline(folder, home / "base", peak_lr=1e-2), folder / "pipeline.yaml")
    build.main([str(folder), "--mix.max_epochs", "100"])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the result of regmix."""
    folder = make(tmp_path_factory.mktemp("search"))
    small.make_model(folder.parents[1] / "base")
    before = os.getcwd()
    os.chdir(small.REPO)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        search.main([str(folder), "--method", "regmix", *KEYS])
    finally:
        os.chdir(before)
    return folder


def test_regmix_writes_better_weights_and_its_evidence(run: Path) -> None:
    found = read_json(run / "search" / "regmix.json")
    natural, uniform, *_, best = found["runs"]
    assert [one["name"] for one in found["runs"][:2]] == ["natural", "uniform"] and len(found["runs"]) == 5
    assert uniform["domain"] < natural["domain"], "half of the rows are like the held-out text, not a quarter"
    assert found["found"] == best and found["written"] and best["domain"] < natural["domain"]
    assert best["weights"]["notes"] > natural["weights"]["notes"] and sum(best["weights"].values()) == pytest.approx(1)
    assert set(found["evidence"]["left_out"]) == {one["name"] for one in found["runs"][:-1]}
    weights = config.load(run / "pipeline.yaml").mix.weights
    assert weights == {f"domain/{source}": weight for source, weight in best["weights"].items()}
    plan = read_plan(run / "mixture.json")
    given = dict(zip([source.name for _, source in plan.sources], plan.schedule[0].shares.sources[0], strict=False))
    assert given["notes"] / sum(given.values()) == pytest.approx(best["weights"]["notes"], abs=1e-6)
    assert not list((run / "search").rglob("checkpoints")), "of proxy runs the records are kept"
    assert [path.parents[2].name for path in (run / "search").rglob("export")] == ["natural"]


def test_a_search_goes_on_where_it_was_and_comes_to_the_same(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.REPO)
    before = (run / "search" / "regmix.json").read_bytes()
    names = [one["name"] for one in read_json(run / "search" / "regmix.json")["runs"]]
    kept = {name: (proxies(run) / name / "train" / "main" / "metrics.jsonl").stat().st_mtime_ns for name in names}
    shutil.rmtree(proxies(run) / names[2])  # trained in a process with others the first time, alone the second
    (proxies(run) / names[3] / "train" / "main" / "ended").unlink()  # killed after its last step
    search.main([str(run), "--method", "regmix", *KEYS])
    assert (run / "search" / "regmix.json").read_bytes() == before
    for name in {*names} - {names[2], names[3]}:
        metrics = proxies(run) / name / "train" / "main" / "metrics.jsonl"
        assert metrics.stat().st_mtime_ns == kept[name], "it was not trained again"


def test_doremi_uses_the_runs_there_are(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.REPO)
    regmix = read_json(run / "search" / "regmix.json")
    found = search.search(search_pipeline(run), "doremi")
    assert [run.name for run in found.runs[:2]] == ["natural", "uniform"] and len(found.runs) == 3
    assert found.runs[0].domain == regmix["runs"][0]["domain"]
    path = [line["source_weights"] for line in steps_of(proxies(run) / "doremi" / "train" / "main")]
    assert len(path) == 6 and path[0] == {"notes": 0.5, "chat": 0.5} and path[1] != path[0]
    mean = {source: np.mean([one[source] for one in path]) for source in path[0]}
    assert found.run.weights == pytest.approx(mean, abs=1e-6)


def steps_of(folder: Path) -> list[dict[str, dict[str, float]]]:
    from train import records

    return [line for line in records.read(folder / "metrics.jsonl") if "loss" in line]


def search_pipeline(run: Path) -> config.Pipeline:
    return config.load(run / "pipeline.yaml", {"search.steps": 6, "eval.documents": 6, "output": str(run)})


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("untrained"))


def test_caps_limit_the_weights(untrained: Path) -> None:
    pipeline = config.load(untrained / "pipeline.yaml", {"mix.max_epochs": {"notes": 1, "default": 100}})
    space = search.find_space(pipeline)
    plan = read_plan(untrained / "mixture.json")
    rows = {source.name: source.rows for _, source in plan.sources}
    budget = 0.8 * pipeline.train.steps * pipeline.train.global_batch
    assert space.sources == ("chat", "notes") and space.natural.sum() == pytest.approx(1)
    assert space.limits == pytest.approx([1, min(1, rows["notes"] / budget)])


def test_a_proxy_run_is_the_run_made_shorter(untrained: Path) -> None:
    keys = {"search.steps": 6, "mix.schedule": [{"step": 0, "domain": 1, "replay": 0}], "train.keep_every": 5}
    keys |= {"mix.weights": {"notes": 1, "chat": 1, "books": 3}, "train.warmup_steps": 4, "search.model": "smaller"}
    pipeline = config.load(untrained / "pipeline.yaml", keys)
    space = search.find_space(pipeline)
    made = search.proxy(pipeline, space, {"notes": 0.25, "chat": 0.75}, "natural")
    assert made.train.steps == 6 and made.train.warmup_steps == 1 and made.train.keep_every == 0
    assert made.mix.schedule == [] and (made.mix.domain, made.mix.replay) == (0.8, 0.2), "the mean over the budget"
    assert made.mix.weights == {"domain/notes": 0.25, "domain/chat": 0.75, "books": 3}
    assert made.model == "smaller" and made.folder == proxies(untrained) / "natural"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"eval.held_out": 0}, "eval.held_out: is 0"),
        ({"mix.max_epochs": 0.1}, "mix.max_epochs: allows"),
        (
            {"mix.schedule": [{"step": 0, "domain": 0.8, "replay": 0.2, "weights": {"notes": 1, "chat": 1}}]},
            r"mix.schedule\[0\].weights: weights that change",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(untrained: Path, keys: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        search.find_space(config.load(untrained / "pipeline.yaml", keys))


def test_one_source_is_refused(untrained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    shutil.copytree(untrained, folder)
    shutil.rmtree(folder / "documents" / "domain" / "chat")
    build.main([str(folder)])
    with pytest.raises(ValueError, match="the domain pool has 1 sources with text"):
        search.find_space(config.load(folder / "pipeline.yaml", {"output": str(folder)}))
