"""The learning rate over the steps of a run, as a share of the peak; no torch is imported here.

Every schedule rises linearly over the warm-up and stands at its floor on the last step. A continued run needs the
warm-up, since its optimizer starts afresh (Gupta et al. 2023, arXiv 2308.04014; Ibrahim et al. 2024, arXiv 2403.08763).
"""

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cosine", "linear", "wsd", "cosine_restarts", "infinite"]


@dataclass(frozen=True)
class Schedule:
    """The shape of a run's learning rate."""

    kind: Kind
    steps: int
    """Optimizer steps of the run."""
    warmup: int
    """Steps of linear warm-up; the peak is reached on the last of them, or on the first step where it is 0."""
    floor: float
    """Share of the peak on the last step."""
    decay: int = 0
    """wsd, infinite: steps of the last decay."""
    cycles: int = 1
    """cosine_restarts: cycles of equal length after the warm-up."""
    constant: float = 1.0
    """infinite: share of the peak that is held between cool-down and decay."""
    cooldown: int = 0
    """infinite: steps from the peak to the constant rate."""

    def factor(self, step: int) -> float:
        """Share of the peak at `step` (1..steps).

        >>> cosine = Schedule("cosine", steps=6, warmup=2, floor=0.1)
        >>> [round(cosine.factor(step), 3) for step in range(1, 7)]
        [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
        """
        peak_at = max(1, self.warmup)
        if step <= peak_at:
            return step / peak_at
        return _SHAPES[self.kind](self, step, peak_at)


def _cosine(schedule: Schedule, step: int, peak_at: int) -> float:
    """Half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5)."""
    return _half_cosine(_way(step, peak_at, schedule.steps), 1.0, schedule.floor)


def _linear(schedule: Schedule, step: int, peak_at: int) -> float:
    """A straight line (Bergsma et al. 2025, arXiv 2502.15938, find it at least as good as the cosine)."""
    return 1 + (schedule.floor - 1) * _way(step, peak_at, schedule.steps)


def _wsd(schedule: Schedule, step: int, peak_at: int) -> float:
    """Constant at the peak, then down by 1 - sqrt (Haegele et al. 2024, arXiv 2405.18392)."""
    way = _way(step, max(peak_at, schedule.steps - schedule.decay), schedule.steps)
    return schedule.floor + (1 - schedule.floor) * (1 - math.sqrt(way))


def _cosine_restarts(schedule: Schedule, step: int, peak_at: int) -> float:
    """Half cosines one after the other, each again from the peak (SGDR, arXiv 1608.03983, with T_mult = 1).

    A cycle begins at the peak on its first step, so its steps but the last one's lie strictly above the floor.
    """
    steps = schedule.steps - peak_at
    cycle = min((step - peak_at - 1) * schedule.cycles // steps, schedule.cycles - 1)
    first, last = -(-cycle * steps // schedule.cycles), -(-(cycle + 1) * steps // schedule.cycles)
    begin = first + (1 if cycle else 0)  # the first cycle's peak is the last step of the warm-up
    return _half_cosine(_way(step - peak_at, begin, last), 1.0, schedule.floor)


def _infinite(schedule: Schedule, step: int, peak_at: int) -> float:
    """Cosine to a constant rate, held, then exponentially to the floor (arXiv 2403.08763, section 4.2).

    The constant phase may go on for as long as there are data: a longer run begins with the same rates.
    """

    def held(at: int) -> float:
        return _half_cosine(_way(at, peak_at, peak_at + schedule.cooldown), 1.0, schedule.constant)

    last = schedule.steps - schedule.decay
    if step <= last:
        return held(step)
    return held(last) * (schedule.floor / held(last)) ** _way(step, last, schedule.steps)


@dataclass(frozen=True)
class InTurn:
    """Schedules one after the other, each with a peak of its own (phases)."""

    parts: tuple[tuple[Schedule, float], ...]
    """Each schedule, and its peak as a share of train.peak_lr."""

    @property
    def steps(self) -> int:
        """Optimizer steps of all together."""
        return sum(schedule.steps for schedule, _ in self.parts)

    def factor(self, step: int) -> float:
        """Share of train.peak_lr at `step` (1..steps).

        >>> flat, down = Schedule("linear", 3, 1, 1.0), Schedule("linear", 3, 0, 0.0)
        >>> [InTurn(((flat, 1.0), (down, 0.5))).factor(step) for step in range(1, 7)]
        [1.0, 1.0, 1.0, 0.5, 0.25, 0.0]
        """
        before = 0
        for schedule, peak in self.parts[:-1]:
            if step <= before + schedule.steps:
                return peak * schedule.factor(step - before)
            before += schedule.steps
        schedule, peak = self.parts[-1]
        return peak * schedule.factor(step - before)


_SHAPES = {
    "cosine": _cosine,
    "linear": _linear,
    "wsd": _wsd,
    "cosine_restarts": _cosine_restarts,
    "infinite": _infinite,
}


def _way(step: int, begin: int, end: int) -> float:
    """How far `step` is from `begin` (0) to `end` (1)."""
    return 1.0 if end <= begin else min(1.0, max(0.0, (step - begin) / (end - begin)))


def _half_cosine(way: float, top: float, bottom: float) -> float:
    return bottom + (top - bottom) * 0.5 * (1 + math.cos(math.pi * way))
