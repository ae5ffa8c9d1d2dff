"""The learning rate over the steps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.keys.schedule import ScheduleKeys
from train.learning_rate import LearningRate
from train.schedule import Schedule


@given(
    kind=st.sampled_from(["cosine", "linear", "wsd", "infinite"]),
    steps=st.integers(30, 3_000),
    share=st.floats(0, 0.5),
    floor=st.floats(0.01, 0.4),
)
def test_rises_to_the_peak_then_falls_to_the_floor_on_the_last_step(
    kind: str, steps: int, share: float, floor: float
) -> None:
    warmup = int(share * steps)
    schedule = Schedule(kind, steps, warmup, floor, decay=steps // 10, constant=0.5, cooldown=steps // 4)  # type: ignore[arg-type]
    rates = [schedule.factor(step) for step in range(1, steps + 1)]
    peak = max(1, warmup)
    assert rates[peak - 1] == 1 and abs(rates[-1] - floor) < 1e-12
    assert all(a < b for a, b in zip(rates[:peak], rates[1:peak], strict=False))
    assert all(a >= b - 1e-12 for a, b in zip(rates[peak - 1 :], rates[peak:], strict=False))
    if kind == "wsd":
        assert rates[peak - 1 : steps - steps // 10] == [1.0] * (steps - steps // 10 - peak + 1)
    if kind == "infinite":
        held = rates[peak + steps // 4 - 1 : steps - steps // 10]
        assert held and all(abs(rate - 0.5) < 1e-12 for rate in held)


@given(steps=st.integers(16, 2_000), warmup=st.integers(0, 5), cycles=st.integers(1, 4))
def test_warm_restarts_begin_at_the_peak_and_end_at_the_floor(steps: int, warmup: int, cycles: int) -> None:
    schedule = Schedule("cosine_restarts", steps, warmup, 0.1, cycles=cycles)
    rates = [schedule.factor(step) for step in range(1, steps + 1)]
    assert abs(rates[-1] - 0.1) < 1e-9
    rises = [step for step in range(max(1, warmup), steps) if rates[step] > rates[step - 1] + 1e-12]
    assert len(rises) == cycles - 1
    assert all(abs(rates[step] - 1) < 1e-12 and abs(rates[step - 1] - 0.1) < 1e-9 for step in rises)


def test_an_infinite_schedule_of_a_longer_run_begins_with_the_same_rates() -> None:
    short, long = (Schedule("infinite", steps, 10, 0.1, 20, 1, 0.5, 30) for steps in (100, 1000))
    assert [short.factor(step) for step in range(1, 81)] == [long.factor(step) for step in range(1, 81)]


def container() -> tuple[torch.optim.Optimizer, LearningRate]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    config = LearningRate.Config(schedule=Schedule("cosine", 10, 3, 0.1))
    return optimizer, config.build(optimizers=[optimizer], training_steps=10)  # type: ignore[arg-type]


def test_after_a_resume_the_optimizer_has_the_rate_of_its_step() -> None:
    optimizer, rates = container()
    used = []
    for _ in range(10):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        rates.step()
        if len(used) == 6:
            state = rates.state_dict()
    assert used == [0.5 * Schedule("cosine", 10, 3, 0.1).factor(step) for step in range(1, 11)]
    resumed, again = container()
    again.load_state_dict(state)
    assert resumed.param_groups[0]["lr"] == used[6]


def test_a_multiplier_holds_from_the_next_step_on_and_after_a_resume() -> None:
    optimizer, rates = container()
    used = []
    for step in range(1, 11):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        rates.step()
        if step == 4:
            rates.change(step, 0.5)
        if step == 7:
            rates.change(step, 0.25)
            state = rates.state_dict()
    plain = Schedule("cosine", 10, 3, 0.1)
    multipliers = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert used == [0.5 * (plain.factor(step) * multipliers[step - 1]) for step in range(1, 11)]
    resumed, again = container()
    again.load_state_dict(state)
    again.change(4, 0.5)
    again.change(7, 0.25)
    assert resumed.param_groups[0]["lr"] == used[7]


@pytest.mark.parametrize("text, peak", [("0.1 x base", 3e-5), ("1e-4", 1e-4), (2e-4, 2e-4), ("1x base", 3e-4)])
def test_the_peak_is_a_number_or_a_share_of_the_bases(text: str | float, peak: float) -> None:
    assert ScheduleKeys(peak_lr=text, base_lr=3e-4).peak == pytest.approx(peak)


@pytest.mark.parametrize(
    "keys, told",
    [
        ({"peak_lr": "0.1 x base"}, "Set train.base_lr"),
        ({"peak_lr": "a tenth"}, "neither a number nor a share"),
        ({"peak_lr": 0}, "nothing would be learned"),
        ({"warmup_steps": 100}, "train.warmup_steps: 100 is not below train.steps"),
        ({"warmup_steps": 1, "schedule": "wsd", "decay_steps": 100}, "train.decay_steps: schedule wsd needs 100"),
        ({"warmup_steps": 95, "schedule": "infinite"}, "train.cooldown_steps, train.decay_steps"),
        ({"warmup_steps": 1, "schedule": "infinite", "floor": 0}, "train.floor: 0 cannot be reached"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ScheduleKeys(**keys).shape(100)  # type: ignore[arg-type]
