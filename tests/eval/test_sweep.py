"""The replay sweep: its arms, its table, and a small one from end to end."""

import math
from pathlib import Path

import pytest

from curate.files import read_json
from eval import replay_sweep, sweep_arms
from eval.report_html import html
from eval.sweep_arms import Arm, arms, chosen, with_keys
from eval.sweep_table import Mean, Result, plot, rows, verdicts
from pipelines import config
from tests.train import small


def result(arm: str, domain: float, general: float, seed: int = 0, plain: bool = True) -> Result:
    return Result(arm, seed, plain, domain, general, 100 * general, -100 * domain - 100 * max(general, 0))


def test_the_interval_is_students() -> None:
    mean = Mean.over([1.0, 2.0, 3.0])
    assert mean.value == 2 and mean.half == pytest.approx(4.302653 / math.sqrt(3))
    assert Mean.over([1.0]).half is None and Mean.over([1.0]).text() == "+1.0000"
    assert mean.text(".1f") == "2.0 ± 2.5"


def test_rows_compare_seed_by_seed_and_know_a_point_in_front() -> None:
    results = [result("100/0", -1.0, 0.4, 0), result("100/0", -2.0, 0.8, 1)]
    results += [result("80/20", -0.9, 0.1, 0), result("80/20", -1.8, 0.2, 1)]
    results += [result("new", -0.95, 0.05, 0, False), result("new", -1.88, 0.09, 1, False)]
    results += [result("no", -0.92, 0.0, 0, False), result("95/5-controller", -0.9, 0.1, 0, False)]
    table = {row["arm"]: row for row in rows(results)}
    assert table["80/20"]["kept"].value == pytest.approx(0.9) and table["80/20"]["kept"].half == pytest.approx(0)
    assert table["80/20"]["avoided"].value == pytest.approx(0.75)
    assert [name for name, row in table.items() if row["in_front"]] == ["new"]
    told = verdicts(results, threshold=1.0)
    assert "(100/0, 80/20): holds" in told[0]
    assert told[1] == "95/5-controller has 67% of the score of the best fixed ratio, 80/20"
    assert told[2].endswith(": new")
    written = [result("100/0", -1, 0.4), result("80/20", -0.9, 0.1), result("80/20-generated", -0.9, 0.16, plain=False)]
    assert "80/20-generated has 80% of the protection" in verdicts(written, 1.0)[1]
    assert "does not hold" in verdicts([result("100/0", -1, 0.1), result("80/20", -0.5, 0.2)], 1.0)[0]
    page = plot("clinical", results, told)
    assert "5-controller" in page and page.count('<div class="plot"') == 1 and 'src="http' not in page
    assert all(html("<li>{}</li>", sentence) in page for sentence in told)


def test_provoked_forgetting_is_told_with_and_without_the_controller() -> None:
    results = [
        result(sweep_arms.PROVOKED, -1.0, 0.3, plain=False),
        result(sweep_arms.RESCUED, -0.3, 0.005, plain=False),
    ]
    told = verdicts(results, threshold=1.0)
    assert len(told) == 1 and "ends +30.0 % above the base" in told[0] and "+0.5 % with the controller" in told[0]
    assert told[0].endswith("the threshold of 1 %: holds") and verdicts(results, 0.1)[0].endswith("does not hold")


def test_arms_by_name_bring_what_they_average(tmp_path: Path) -> None:
    pipeline = small.pipeline(tmp_path, tmp_path)
    assert [arm.name for arm in chosen(pipeline, ["80/20-averaged-0.9"])] == ["80/20", "80/20-averaged-0.9"]
    assert [arm.name for arm in chosen(pipeline, [])] == list(sweep_arms.DEFAULT)
    with pytest.raises(ValueError, match="--arms: there is no arm '80-20'. Known: 100/0, 90/10"):
        chosen(pipeline, ["80-20"])


def test_every_arm_is_a_pipeline_that_can_be_read(tmp_path: Path) -> None:
    pipeline = small.pipeline(tmp_path, tmp_path)
    names = [arm.name for arm in arms(pipeline)]
    assert len({arm.folder for arm in arms(pipeline)}) == len(names) == len(set(names))
    for arm in arms(pipeline):
        made = with_keys(pipeline, arm.keys)
        assert made.mix.domain + made.mix.replay == pytest.approx(1)
        assert not arm.of or (arm.of in names and not arm.keys)
    with pytest.raises(ValueError, match="mix.replayed: there is no such key"):
        with_keys(pipeline, Arm("wrong", {"mix.replayed": 1}).keys)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mix import build

    home = tmp_path_factory.mktemp("sweep")
    folder = home / "runs" / "small"
    small.curated(folder, [("domain", "notes"), ("replay", "books")], documents=100)
    small.make_model(home / "base")
    config.save(small.pipeline(folder, home / "base", steps=6, warmup_steps=2), folder / "pipeline.yaml")
    build.main([str(folder)])
    return folder


def test_a_sweep_trains_each_arm_once(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.REPO)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    packed = {path: path.stat().st_mtime_ns for path in (run / "packed").rglob("*.arrow")}
    mixture = (run / "mixture.json").read_bytes()
    command = [str(run), "--seeds", "5", "--arms", "100/0", "50/50"]
    replay_sweep.main(command[:5])
    alone = read_json(run / "eval" / "replay_sweep.json")["results"]
    replay_sweep.main([*command[:6], "100/0-averaged-0.8"])
    assert "gain kept" in capsys.readouterr().out
    found = read_json(run / "eval" / "replay_sweep.json")
    assert [one["arm"] for one in found["results"]] == ["100/0", "50/50", "100/0-averaged-0.8"]
    assert found["results"][0] == alone[0], "it was not trained again"
    full, half, averaged = found["results"]
    assert full["domain"] < 0 and half["domain"] < 0
    assert full["domain"] < averaged["domain"] < 0, "an average lies between the base and the model"
    folders = [run / "sweep" / f"{name}-seed-5" for name in ("100-0", "50-50")]
    assert [read_json(folder / "mixture.json")["asked"]["replay"] for folder in folders] == [0.0, 0.5]
    assert {path: path.stat().st_mtime_ns for path in (run / "packed").rglob("*.arrow")} == packed
    assert (run / "mixture.json").read_bytes() == mixture
    assert (run / "eval" / "replay_sweep.html").stat().st_size > 1e6


def test_an_arm_that_fails_shows_the_end_of_its_log(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.REPO)
    monkeypatch.setenv("WORLD_SIZE", "3")  # 8 rows a step cannot be shared by three processes
    with pytest.raises(ValueError, match=r"(?s)100-0-seed-6/train.log: training ended with 2 .*train.global_batch: 8"):
        replay_sweep.main([str(run), "--seeds", "6", "--arms", "100/0"])
