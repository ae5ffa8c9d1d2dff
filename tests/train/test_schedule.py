"""The learning rate over the steps."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from train import schedule


@given(steps=st.integers(2, 10_000), share=st.floats(0, 0.99), floor=st.floats(0, 1))
def test_rises_to_the_peak_then_falls_to_the_floor_on_the_last_step(steps: int, share: float, floor: float) -> None:
    warmup = int(share * steps)
    rates = [schedule.factor(step, steps, warmup, floor) for step in range(1, steps + 1)]
    peak = max(1, warmup)
    assert rates[peak - 1] == 1 and abs(rates[-1] - floor) < 1e-12
    assert all(a < b for a, b in zip(rates[:peak], rates[1:peak], strict=False))
    assert all(a >= b - 1e-12 for a, b in zip(rates[peak - 1 :], rates[peak:], strict=False))


def test_after_a_resume_the_optimizer_has_the_rate_of_its_step() -> None:
    def container() -> tuple[torch.optim.Optimizer, schedule.WarmupCosine]:
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        config = schedule.WarmupCosine.Config(warmup_steps=3, min_lr_factor=0.1)
        return optimizer, config.build(optimizers=[optimizer], training_steps=10)  # type: ignore[arg-type]

    optimizer, rates = container()
    used = []
    for _ in range(10):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        rates.step()
        if len(used) == 6:
            state = rates.state_dict()
    assert used == [0.5 * schedule.factor(step, 10, 3, 0.1) for step in range(1, 11)]
    resumed, again = container()
    again.load_state_dict(state)
    assert resumed.param_groups[0]["lr"] == used[6]
