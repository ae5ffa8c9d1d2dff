"""The report on training: tracks with thresholds, decisions in words, spikes, selection, texts written, cost."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate.files import read_json, write_json
from eval import report, report_events
from eval.report_data import read
from eval.report_html import human_bytes
from eval.report_spikes import MOST, troubles
from eval.report_tracks import limit, thresholds_at
from eval.report_training import LOSS, NORM, RATE, training
from pipelines import config
from tests.eval import report_run, small_run
from tests.eval.report_run import STEPS
from tests.eval.test_report import Page, page_of
from train import architecture, plan


@pytest.fixture
def full_run(trained_run: Path) -> Path:
    """A run with a training run of everything, without scores."""
    report_run.write(trained_run)
    return trained_run


def charts_of(run: Path) -> dict[str, Any]:
    """The charts in a run's page, by name; colours as names."""
    _, text = page_of(run)
    data: dict[str, Any] = json.loads(text.partition('id="charts">')[2].partition("</script>")[0])
    return data


def lines_of(chart: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A chart's traces by name."""
    return {trace["name"]: trace for trace in chart["data"]}


def section(page: Page, start: str, end: str) -> str:
    """The words of the page between two headings."""
    return page.words().split(start, 1)[1].split(end, 1)[0]


def test_thresholds_are_drawn_where_they_held(full_run: Path) -> None:
    charts = charts_of(full_run)
    general = lines_of(charts["general text: bits per byte"])
    assert general["measured"]["x"] == [0, 10, 20, 30, 40, 50, 60]
    bound = dict(zip(general["threshold"]["x"], general["threshold"]["y"], strict=True))
    assert bound[40] == pytest.approx(2.02) and bound[50] == pytest.approx(2.16), "1 %, after step 40 8 %"
    assert general["rolled back"]["x"] == [33] and general["rolled back"]["y"] == [2.6]
    assert "threshold" not in lines_of(charts["domain text: bits per byte"])


def test_tasks_are_drawn_with_interval_and_bound(full_run: Path) -> None:
    charts = charts_of(full_run)
    piqa = lines_of(charts["general/piqa"])
    assert piqa["measured"]["y"][-1] == 48 and set(piqa["threshold"]["y"]) == {57.0}
    bars = piqa["measured"]["error_y"]
    assert bars["array"][:2] == [0, pytest.approx(1.5)] and bars["arrayminus"][1] == pytest.approx(18)
    assert "threshold" not in lines_of(charts["domain/medqa"])
    table = section(page_of(full_run)[0], "Step 0 and the last evaluation", "Which checkpoint")
    assert "general/piqa 60 60.0 48.0 57.0 worse beyond" in table and "domain/medqa 60 60.0 48.0 worse" in table
    assert "general bits per byte 60 2.0000 2.2000 2.1600 beyond" in table


def test_a_threshold_that_is_off_is_not_drawn(full_run: Path) -> None:
    made_with = full_run / "train" / "main" / "config.json"
    write_json(
        made_with, read_json(made_with) | {"eval.thresholds": {"task_points": 100, "bits_per_byte_percent": 1000}}
    )
    run = read(config.load(full_run / "pipeline.yaml"))
    assert thresholds_at(run, 41).task_points == 100
    assert limit(run, "general_bits_per_byte", 41, 2.0) is None is limit(run, "general/piqa", 41, 60.0)
    assert limit(run, "general/piqa", 40, 60.0) == 57, "before the journal's event the old ones held"


def test_the_keys_of_the_training_run_count_not_those_of_the_file(full_run: Path) -> None:
    words = page_of(full_run)[0].words()
    assert "warm-up over 5 steps to 0.0003, then half a cosine" in words and "3e-05 on step 80" in words
    assert "EWC of strength 100" in words and "ewc: 100.0" in words


def test_decisions_stand_in_words(full_run: Path) -> None:
    page, _ = page_of(full_run)
    journal = section(page, "Journal", "Steps whose loss")
    for sentence in (
        "From the next batch on the mixture is 70 % domain and 30 % replay.",
        "General bits per byte was 2.1 at step 20, 5.00 % worse than the 2 of step 0; the threshold is 1 %.",
        "Steps 31 to 33 were given up; training went back to step 30 and on with row 528.",
        "The loss was 9, 12.0 robust standard deviations above the 4 of the steps before.",
        "From the next step on the learning rate is 0.5 times the schedule's.",
        "bits per byte percent: 1 before, 8 now.",
    ):
        assert sentence in journal, sentence
    assert "{" not in journal, "no raw JSON"


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"event": "resume", "step": 1200}, "Training went on from the checkpoint of step 1,200."),
        ({"event": "signal", "step": 5, "signal": "SIGUSR1"}, "Ended by SIGUSR1, with a checkpoint of this step."),
        (
            {"event": "checkpoint_damaged", "step": 8, "used": 4},
            "of this step was damaged; training went on from step 4",
        ),
        ({"event": "ewc", "step": 8, "strength": 1000}, "elastic weight consolidation has strength 1,000."),
        (
            {"event": "roll_back", "step": 9, "to": 4, "first_row": 72, "then": {"event": "ewc", "strength": 5.0}},
            "Steps 5 to 9 were given up; training went back to step 4 and on with row 72. Then: From the next step",
        ),
        ({"event": "moon_phase", "step": 9}, "Moon phase."),
    ],
)
def test_an_event_in_words(event: dict[str, Any], sentence: str) -> None:
    assert sentence in report_events.done(event)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({"kind": "non_finite", "figures": {"loss": {"value": "nan"}}}, "The loss was nan, not a finite number."),
        (
            {"kind": "unrecovered", "figures": {"grad_norm": {"value": 3.0, "step": 40.0, "below": 1.5}}},
            "The gradient norm, which spiked at step 40, was still 3; below 1.5 it would have recovered.",
        ),
        ("weights.pt: has 4 bytes, 5 were written", "weights.pt: has 4 bytes, 5 were written"),
    ],
)
def test_evidence_in_words(found: Any, sentence: str) -> None:
    event = {"event": "warn", "step": 60, "found": [found]}
    assert str(report_events.evidence(event)) == sentence


def test_lowering_replay_tells_both_tracks() -> None:
    lower = {"measure": "domain_bits_per_byte", "lowest": 1.5, "since": [1.6, 1.7], "step": 90}
    told = report_events.evidence(
        {"event": "ratio", "step": 90, "evidence": lower | {"general": report_run.EVIDENCE | {"change": -0.5}}}
    )
    assert "Domain bits per byte fell no further: 1.5 before, 1.6, 1.7 since." in told
    assert "0.50 % better than the 2 of step 0" in told


def test_spikes_of_journal_and_metrics_with_documents_and_command(full_run: Path) -> None:
    page, _ = page_of(full_run)
    told = section(page, "Spikes Steps whose", "Texts written by the model")
    journalled, found = told.split("Step 47")
    assert "Step 33" in journalled and "2 documents in its batch" in journalled and small_run.SCRIPT in journalled
    assert "A roll-back gave this step up" in journalled and "--step 33" not in journalled
    assert f"python -m mix.trace {full_run} --train main --step 47" in found
    assert "The gradient norm was 9," in found
    charts = charts_of(full_run)
    assert lines_of(charts[NORM])["spike"]["x"] == [47] and lines_of(charts[NORM])["spike"]["y"] == [9]
    assert lines_of(charts[LOSS])["rolled back"]["x"] == [31, 32, 33]
    assert "spike" not in lines_of(charts[LOSS]), "the loss of that step was as usual"


def test_a_step_that_health_named_is_there_once_and_the_strongest_are_shown(full_run: Path) -> None:
    training_run = full_run / "train" / "main"
    figures = {"grad_norm": {"value": 9.0, "median": 1.0, "score": 50.0, "below": 2}}
    event = {"event": "warn", "step": 47, "by": "health", "found": [{"kind": "spike", "figures": figures}]}
    lines = [*report_run.JOURNAL[:3], event | {"documents": None, "why": "gone"}]
    many = [event | {"step": 100 + number, "documents": [f"notes/{number}"]} for number in range(MOST + 5)]
    (training_run / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *many]))
    found = troubles(read(config.load(full_run / "pipeline.yaml")))
    assert [one.step for one in found].count(47) == 1 and len(found) == MOST + 7
    words = page_of(full_run)[0].words()
    assert (
        f"The {MOST} strongest of {MOST + 7}. All of them: python -m mix.trace {full_run} --train main --spike" in words
    )


def test_the_best_checkpoint_is_named_and_the_front_drawn(full_run: Path) -> None:
    page, _ = page_of(full_run)
    told = section(page, "Which checkpoint Each", "Training Every")
    assert "Best: step 40 , domain -13.33 %, general +6.67 % bits per byte." in told
    assert "all others that are kept: general/" in told and "changed by 2.7 times its threshold" in told
    assert "Step 10 ranks first, but its checkpoint is not kept" in told and "Not exported yet." in told
    assert "40 (best)" in told and "Every 100 steps; kept: the last 2." in told and "train/main/best 50 model" in told
    chart = lines_of(charts_of(full_run)["Every evaluated step: domain gain against general rise"])
    assert chart["Pareto front"]["text"] == ["10", "20", "30", "40", "50", "60"]
    assert chart["threshold"]["y"] == [8, 8] and chart["best: step 40"]["x"] == [pytest.approx(40 / 3)]


def test_without_a_kept_checkpoint_none_is_named(full_run: Path) -> None:
    for path in (full_run / "train" / "main" / "checkpoints").glob("*/complete.json"):
        path.unlink()
    assert "none of these steps has a checkpoint any more" in page_of(full_run)[0].words()


def test_texts_of_first_and_last_step_side_by_side(full_run: Path) -> None:
    page, _ = page_of(full_run)
    told = section(page, "Texts written by the model", "What went in")
    assert "Repetition: 0.0 % at step 0, 25.0 % at step 60." in told and "domain: 1 prompts" not in told
    assert "domain: 1 prompt" in told
    first, last = told.index(f"0 {small_run.SCRIPT}"), told.index(f"60 {small_run.SCRIPT}")
    assert first < last


def test_cost_is_six_times_parameters_times_tokens(full_run: Path) -> None:
    page, _ = page_of(full_run)
    told = section(page, "Cost against the plan", "Made with Equal")
    parameters = architecture.read(full_run / "train" / "main" / "export").parameters
    made = (STEPS + 3) * report_run.BATCH_TOKENS
    mantissa, _, exponent = f"{6 * parameters * made:.2e}".partition("e")
    assert "steps 80 63 3 of them given up by roll-backs" in told and f"tokens 81,920 {made:,}" in told
    assert f"{mantissa} × 10 {int(exponent)}" in told
    assert "tokens per second 2,048" in told and "time 32 seconds" in told and "time to the end 10 seconds" in told
    assert "12.5 %" in told and "1.72 GB" in told


def test_the_plan_stands_beside_what_training_took(full_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No plan of time and memory was made" in page_of(full_run)[0].words()
    capsys.readouterr()
    options = ("--gpus", "4", "--tokens-per-second", "4096", "--price", "3.6", "--tokens", "81920", "--json")
    plan.main(["pipelines/smoke.yaml", "--output", "never/made", *options])
    made = json.loads(capsys.readouterr().out)
    write_json(full_run / "plan.json", made)
    told = section(page_of(full_run)[0], "Cost against the plan", "Made with Equal")
    memory = human_bytes(made["memory"]["per_gpu"]["total"])
    assert "tokens per second 4,096 2,048" in told and f"memory {memory} 1.72 GB" in told
    assert "money 0.08 0.13" in told and "Planned for 4 × h100" in told  # 4 GPUs x 20 and 31.5 seconds at 3.6 an hour


def test_tasks_breaches_and_contamination_of_eval_run(whole_run: Path) -> None:
    report_run.write(whole_run)
    words = page_of(whole_run)[0].words()
    assert "Beyond the thresholds" in words and "60.000 became 52.000, the limit is 57.000" in words
    assert "general/piqa 200 60.0 52.0 -8.0 -12.0 to -4.0 worse" in words
    assert "domain/medqa 200 197 7 3 2" in words


def test_markup_in_names_texts_and_events_does_nothing(whole_run: Path) -> None:
    report_run.write(whole_run)
    report.main(["--compare", str(whole_run), str(whole_run)])
    for name in ("report.html", "compare.html"):
        page_of(whole_run)
        text = (whole_run / name).read_text(encoding="utf-8")
        page = Page(text)
        assert [tag for tag, _ in page.elements].count("script") == 3 and small_run.SCRIPT in page.words()
        assert not [tag for tag, _ in page.elements if tag == "img"]
        charts = text.partition('id="charts">')[2].partition("</script>")[0]
        assert "<" not in charts
        labels = [
            note["text"] for chart in json.loads(charts).values() for note in chart["layout"].get("annotations", [])
        ]
        assert not [label for label in labels if "<" in label], "plotly takes some tags for markup"


def test_links_to_pages_that_are_in_the_run(full_run: Path) -> None:
    assert "Beside this page" not in page_of(full_run)[0].words()
    (full_run / "pilot").mkdir()
    (full_run / "pilot" / "pilot.html").write_text("")
    page, _ = page_of(full_run)
    assert [one["href"] for tag, one in page.elements if tag == "a" and "pilot" in str(one["href"])] == [
        "pilot/pilot.html"
    ]


def test_long_runs_are_thinned_and_keep_their_last_step(full_run: Path) -> None:
    from dataclasses import replace

    from eval.report_charts import MOST_POINTS

    found = read(config.load(full_run / "pipeline.yaml"))
    steps = [{"step": step, "loss": 1.0, "grad_norm": 1.0, "lr": 1.0} for step in range(1, 50_001)]
    drawn = training(replace(found, steps=steps))[1][RATE]["data"][0]
    assert drawn["x"][-1] == 50_000 and len(drawn["x"]) <= MOST_POINTS
