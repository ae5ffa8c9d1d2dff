"""The controller: what it decides as a pure function, and a training run whose forgetting it brings to a halt."""

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.control import BY, Action, Evaluation, Limits, Now, act, breaches, follow_up, measure
from eval.controller import past
from eval.keys_controller import ControllerKeys
from tests.eval.forgetful import CONTROLLED
from tests.train import small
from train import records

LIMITS = Limits(percent=1.0, points=3.0)
EVERY = 10


def keys(**changes: Any) -> ControllerKeys:
    return ControllerKeys.model_validate({"controller": "raise_replay", "controller_cooldown": 20} | changes)


def history(*general: float, domain: tuple[float, ...] = ()) -> list[Evaluation]:
    """Evaluations every 10 steps; `general` in percent above step 0's, which is 2 bits per byte."""
    figures = [{"general_bits_per_byte": 2 * (1 + percent / 100)} for percent in (0, *general)]
    for one, value in zip(figures, domain, strict=False):
        one["domain_bits_per_byte"] = value
    return [Evaluation(EVERY * index, one) for index, one in enumerate(figures)]


def decide(found: list[Evaluation], wanted: ControllerKeys, *done: dict[str, Any], **now: Any) -> Action | None:
    state: dict[str, Any] = {"step": found[-1].step, "replay": Fraction(1, 20), "multiplier": 1.0, "ewc": 0.0} | now
    return act(found, wanted, LIMITS, Now(**state), done)


def event(action: Action, step: int) -> dict[str, Any]:
    return {"event": action.event, "step": step, **action.details}


def run(wanted: ControllerKeys, general: list[float], domain: list[float]) -> Iterator[tuple[Evaluation, Now, Action]]:
    """What is decided over a run whose evaluations come out like this, each action taken."""
    evaluations = history(*general, domain=(3.0, *domain))
    replay, multiplier, strength = Fraction(1, 20), 1.0, 0.0
    done: list[dict[str, Any]] = []
    for count, last in enumerate(evaluations, 1):
        now = Now(last.step, replay, multiplier, strength)
        action = act(evaluations[:count], wanted, LIMITS, now, done)
        if action is None:
            continue
        yield last, now, action
        done.append(event(action, last.step))
        if action.event == "ratio":
            replay = Fraction(action.details["shares"]["replay"])
        multiplier = action.details.get("multiplier", multiplier)
        strength = action.details.get("strength", strength)


PERCENTS = st.lists(st.floats(-3, 4), min_size=1, max_size=30)
BITS = st.lists(st.floats(2, 4), min_size=30, max_size=30)
KEYS = st.builds(
    keys,
    controller=st.sampled_from(["raise_replay", "lower_learning_rate", "ewc"]),
    controller_replay_step=st.floats(0.001, 1),
    controller_replay_cap=st.floats(0, 1),
    controller_replay_floor=st.floats(0, 1),
    controller_lower_replay=st.floats(0, 1),
    controller_clear=st.floats(0.1, 1),
    controller_cooldown=st.integers(0, 60),
    controller_most=st.integers(1, 6),
    controller_patience=st.integers(1, 4),
)


@settings(max_examples=200, deadline=None)
@given(KEYS, PERCENTS, BITS)
def test_whatever_the_figures_it_keeps_to_its_bounds(
    wanted: ControllerKeys, general: list[float], domain: list[float]
) -> None:
    actions = list(run(wanted, general, domain))
    steps = [evaluation.step for evaluation, _, _ in actions]
    assert len(actions) <= wanted.controller_most
    assert all(later - earlier >= wanted.controller_cooldown for earlier, later in zip(steps, steps[1:], strict=False))
    bad = breaches(measure(history(*general), LIMITS), wanted.controller_clear)
    for evaluation, now, action in actions:
        assert action.details["by"] == BY and action.details["evidence"]["step"] == evaluation.step
        shares = {pool: Fraction(part) for pool, part in action.details.get("shares", {}).items()}
        if bad[evaluation.step // EVERY]:
            if shares:
                assert now.replay < shares["replay"] <= wanted.controller_replay_cap + 1e-6
            assert action.details.get("multiplier", 0) < now.multiplier
        else:
            assert now.replay > shares["replay"] >= wanted.controller_replay_floor - 1e-6
        assert not shares or sum(shares.values()) == 1


@settings(max_examples=200, deadline=None)
@given(PERCENTS, st.floats(0.1, 1))
def test_a_breach_begins_above_the_threshold_and_ends_below_the_lower_edge(general: list[float], clear: float) -> None:
    found = breaches(measure(history(*general), LIMITS), clear)
    for before, after, percent in zip(found, found[1:], general, strict=False):
        if percent > 1.001:
            assert after
        elif percent < clear - 0.001:
            assert not after
        elif clear + 0.001 < percent < 0.999:
            assert after == before  # between the two edges nothing begins and nothing ends


def test_without_the_key_nothing_is_done() -> None:
    assert decide(history(50), ControllerKeys()) is None


@pytest.mark.parametrize(
    "change, wanted",
    [
        ({}, Action("ratio", {"shares": {"domain": "17/20", "replay": "3/20"}})),
        ({"controller_replay_cap": 0.08}, Action("ratio", {"shares": {"domain": "23/25", "replay": "2/25"}})),
        ({"controller_replay_cap": 0.05}, None),
        ({"controller": "lower_learning_rate"}, Action("learning_rate", {"multiplier": 0.5})),
        ({"controller": "ewc", "controller_ewc": 3.0}, Action("ewc", {"strength": 3.0})),
        ({"controller": "stop"}, Action("stop", {})),
    ],
)
def test_a_breach_is_answered_as_the_keys_say(change: dict[str, Any], wanted: Action | None) -> None:
    found = decide(history(0.5, 1.5), keys(**change))
    if wanted is None:
        assert found is None
        return
    assert found is not None and found.event == wanted.event
    evidence = found.details["evidence"]
    assert found.details == wanted.details | {"by": BY, "evidence": evidence}
    assert evidence["measure"] == "general_bits_per_byte" and evidence["unit"] == "percent"
    assert evidence["change"] == pytest.approx(1.5) and (evidence["threshold"], evidence["step"]) == (1.0, 20)
    assert (evidence["at_step_0"], evidence["value"]) == pytest.approx((2.0, 2.03))


def test_a_general_task_below_its_bound_is_a_breach_until_it_is_measured_again() -> None:
    found = history(0, 0, 0, 0)
    for index, accuracy in ((0, 40.0), (1, 36.5), (3, 39.0)):
        found[index].figures["general/boolq"] = accuracy  # type: ignore[index]
    assert breaches(measure(found, LIMITS), 0.8) == [False, True, True, False, False]
    action = decide(found[:2], keys())
    assert action is not None and action.details["evidence"]["measure"] == "general/boolq"
    assert (action.details["evidence"]["change"], action.details["evidence"]["unit"]) == (3.5, "points")
    assert decide([*found[:1], Evaluation(10, {"domain/boolq": 0.0})], keys()) is None
    chance = Evaluation(10, {"general/boolq": 30.0}, frozenset(["general/boolq"]))
    assert decide([*found[:1], chance], keys()) is None, "inside the interval it is no change"


def test_a_roll_back_goes_to_the_last_good_evaluation_and_the_action_follows() -> None:
    wanted = keys(controller_roll_back=True)
    action = decide(history(0.2, 0.9, 1.4), wanted)
    assert action is not None and (action.event, action.details["to"]) == ("roll_back", 20)
    done = [event(action, 30)]
    after = follow_up(done)
    assert after is not None and after.event == "ratio" and after.details["shares"]["replay"] == "3/20"
    done.append(event(after, 21))
    assert follow_up(done) is None
    # The second time it begins from the share that was not enough, and the two events are one intervention.
    later, share = history(0.2, 0.9, 1.2, 1.2, 1.2), Fraction(3, 20)
    again = decide(later, keys(controller_roll_back=True, controller_most=2), *done, replay=share)
    assert again is not None and again.details["then"]["shares"]["replay"] == "1/4"
    assert decide(later, keys(controller_roll_back=True, controller_most=1), *done, replay=share) is None
    first = decide(history(1.4), wanted)
    assert first is not None and first.event == "ratio", "there is nothing good to go back to"


def test_replay_is_lowered_where_the_domain_stands_still_and_general_is_safe() -> None:
    wanted = keys(controller_lower_replay=0.1, controller_patience=2, controller_replay_floor=0.15)
    still = (3.0, 2.5, 2.5, 2.6)
    action = decide(history(0.1, 0.2, 0.3, domain=still), wanted, replay=Fraction(1, 5))
    assert action is not None and action.details["shares"] == {"domain": "17/20", "replay": "3/20"}
    assert action.details["evidence"]["general"]["change"] == pytest.approx(0.3)
    assert decide(history(0.1, 0.2, 0.9, domain=still), wanted, replay=Fraction(1, 5)) is None, "general is not safe"
    assert decide(history(0.1, 0.2, 0.3, domain=(3.0, 2.5, 2.5, 2.4)), wanted, replay=Fraction(1, 5)) is None
    assert decide(history(0.1, 0.2, 0.3, domain=still), keys(), replay=Fraction(1, 5)) is None, "off by default"


def test_what_was_decided_before_a_roll_back_is_past_at_every_step_after_it() -> None:
    events = [
        {"event": "ratio", "step": 20},
        {"event": "roll_back", "step": 30, "to": 10},
        {"event": "ratio", "step": 11},
        {"event": "ratio", "step": 40},
    ]
    assert past(events, 10) == events[:2]
    assert past(events, 35) == events[:3]
    assert past(events[:1], 10) == []


def lines(folder: Path) -> list[dict[str, Any]]:
    found = records.read(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in records.TIMING} for line in found]


def decisions(folder: Path) -> list[dict[str, Any]]:
    return [one for one in records.read(folder / "journal.jsonl") if one["event"] not in records.COURSE]


def rises(folder: Path) -> list[float]:
    """General bits per byte above step 0 in percent, at each evaluation."""
    figures = [line["eval"]["general_bits_per_byte"] for line in lines(folder) if "eval" in line]
    return [100 * (value / figures[0] - 1) for value in figures]


def test_provoked_forgetting_is_brought_back(forgetful: Path) -> None:
    left_alone, controlled = (forgetful / "train" / name for name in ("left_alone", "controlled"))
    assert decisions(left_alone) == []
    assert rises(left_alone)[-1] > 20
    print("general bits per byte, percent above the base:", rises(left_alone)[-1], rises(controlled)[-1])
    assert rises(controlled)[-1] < min(rises(left_alone)[-1] / 4, 1)
    made = decisions(controlled)
    assert [one["shares"]["replay"] for one in made] == ["1/4", "1/2", "3/5"]
    for one in made:
        evaluation = next(line["eval"] for line in lines(controlled) if "eval" in line and line["step"] == one["step"])
        assert one["evidence"]["value"] == evaluation["general_bits_per_byte"] and one["evidence"]["change"] > 1
        assert one["first_row"] == 8 * one["step"]
    for line in (line for line in lines(controlled) if "loss" in line):
        replay = [float(Fraction(one["shares"]["replay"])) for one in made if one["step"] < line["step"]]
        assert abs(line["domain_share"] - (1 - (replay[-1] if replay else 0))) <= 1 / 8


def test_the_order_before_an_intervention_is_untouched(forgetful: Path) -> None:
    first = decisions(forgetful / "train" / "controlled")[0]["step"]
    alone, controlled = (
        [line for line in lines(forgetful / "train" / name) if line["step"] <= first]
        for name in ("left_alone", "controlled")
    )
    assert alone == controlled and len(alone) > first


def test_a_run_gone_on_with_makes_the_same_decisions_and_no_others(forgetful: Path) -> None:
    folder = forgetful / "train" / "controlled"
    written, made = lines(folder), decisions(folder)
    weights = (folder / "export" / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "export")
    for checkpoint in (folder / "checkpoints").iterdir():  # as if killed before any was whole: all steps again
        shutil.rmtree(checkpoint)
    small.train(forgetful, "--train.run", "controlled", *CONTROLLED)
    assert decisions(folder) == made
    assert lines(folder) == written
    assert (folder / "export" / "model.safetensors").read_bytes() == weights


def test_stop_ends_the_run_and_says_why(forgetful: Path) -> None:
    process = small.start(forgetful, "--train.run", "stopped", *CONTROLLED, "--eval.controller", "stop")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2 and "Traceback" not in output
    assert "eval.controller: stop: at step 4 general_bits_per_byte is" in output
    assert [one["event"] for one in decisions(forgetful / "train" / "stopped")] == ["stop"]
    assert not (forgetful / "train" / "stopped" / "export").exists()


def test_a_roll_back_takes_the_run_back_and_the_action_holds_from_there(forgetful: Path) -> None:
    keys = ["--train.steps", "16", "--train.checkpoint_every", "4", "--eval.controller_roll_back", "true"]
    small.train(
        forgetful, "--train.run", "back", *CONTROLLED, *keys, "--eval.thresholds", "{bits_per_byte_percent: 150}"
    )
    folder = forgetful / "train" / "back"
    first, second = decisions(folder)[:2]
    assert (first["event"], first["step"], first["to"], first["then"]["event"]) == ("roll_back", 8, 4, "ratio")
    assert (second["event"], second["step"], second["shares"]["replay"]) == ("ratio", 5, "1/4")
    assert first["evidence"]["change"] > 150 > rises(folder)[-1]
    made = [line for line in lines(folder) if "loss" in line]
    assert [line["step"] for line in made] == list(range(1, 17))
    assert [line["rows"] for line in made[3:5]] == [32, 72], "the rows that led astray are skipped"
