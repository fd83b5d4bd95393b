"""What becomes of the report's conclusions, and where a rate is too large or too small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from report.facts import Facts, PrintedRun, Setting
from study import statistics
from study.plan import SWEPT, WORLDS, Cell, World
from study.statistics import Effect, Interval, Rank
from study.training import Log

BOOTSTRAP_SEED = 2023

CLAIMS = (
    ("3.1", "Adam is much better than SGD"),
    ("3.2", "LeakyReLU is a little better than ReLU"),
    ("3.3", "1e-2 is a good learning rate, better than 1e-4"),
    ("3.4", "Larger hidden layers converge faster"),
)
"""The report's sections, and what each concludes, in our words."""

Stops = dict[Cell, np.ndarray]
"""The stops of each finished population."""


@dataclass(frozen=True)
class Logged:
    """A loss or an accuracy that the report prints of a run whose points nobody has.

    Attributes:
        epoch: of which epoch.
        quantity: ``"loss"`` or ``"accuracy"``.
        printed: what the report prints.
        members: how many networks were still trained then, as the report's was.
        rank: where it lies among them; ``None`` if there were none.
    """

    epoch: int
    quantity: str
    printed: float
    members: int
    rank: Rank | None


@dataclass(frozen=True)
class Population:
    """A population, and where the report's one run lies in it.

    Attributes:
        cell: which.
        stop: the stops of its members.
        share: the share that arrives.
        quartiles: of the stop, ``None`` for never.
        printed: the report's stop.
        rank: where it lies; ``None`` if it is beyond the epochs that were trained here.
        logged: where the report's losses and accuracies lie, on linear points.
    """

    cell: Cell
    stop: np.ndarray
    share: Interval
    quartiles: tuple[int | None, int | None, int | None]
    printed: int
    rank: Rank | None
    logged: tuple[Logged, ...]


@dataclass(frozen=True)
class Conclusion:
    """One of the report's conclusions in one world."""

    section: str
    claim: str
    world: World
    better: Setting
    worse: Setting
    effect: Effect


@dataclass(frozen=True)
class Rate:
    """A learning rate of the sweep.

    Attributes:
        lr: the rate.
        share: of the networks that arrive.
        quartiles: of the stop.
        loss: how much smaller that share is than at the report's rate, in pairs; the intervals of
            all rates together hold with 95 %.
        verdict: ``"bad"`` if it is surely smaller; else ``"slow"`` if the median network takes
            more than `SLOW` times as long as at the report's rate; else ``"good"``.
    """

    lr: float
    share: Interval
    quartiles: tuple[int | None, int | None, int | None]
    loss: Interval
    verdict: str


@dataclass(frozen=True)
class Sweep:
    """The learning rates in one world.

    Attributes:
        world: where.
        members: how many networks a rate.
        rates: in order.
        base: the report's rate.
    """

    world: World
    members: int
    rates: tuple[Rate, ...]
    base: float

    @property
    def too_small(self) -> float | None:
        """Fewer networks arrive at this and at every smaller rate; ``None`` if at none."""
        return self._until_good([r for r in self.rates if r.lr < self.base])

    @property
    def too_large(self) -> float | None:
        """Fewer networks arrive at this and at every larger rate; ``None`` if at none."""
        return self._until_good([r for r in reversed(self.rates) if r.lr > self.base])

    @staticmethod
    def _until_good(rates: list[Rate]) -> float | None:
        bad = list(takewhile(lambda rate: rate.verdict == "bad", rates))
        return bad[-1].lr if bad else None

    @property
    def slow(self) -> float | None:
        """The largest rate below the report's that is slow, if there is one."""
        slow = [r.lr for r in self.rates if r.verdict == "slow" and r.lr < self.base]
        return max(slow, default=None)

    @property
    def fastest(self) -> tuple[float, ...]:
        """The rates with the smallest median stop."""
        medians = [r.quartiles[1] or 10**9 for r in self.rates]
        return tuple(r.lr for r, m in zip(self.rates, medians, strict=True) if m == min(medians))


SLOW = 10
"""From how many times the median stop of the report's rate on a rate is called slow."""


def populations(facts: Facts, stops: Stops, logs: dict[Cell, Log]) -> list[Population]:
    """Each finished population of the report's settings."""
    printed = {(run.dataset, run.setting): run for run in facts.runs}
    result = []
    epochs = int(facts.common["num_epochs"])
    for cell, stop in stops.items():
        if cell.sweep:
            continue
        run = printed[cell.world.dataset, cell.setting]
        result.append(
            Population(
                cell,
                stop,
                statistics.share(stop),
                _quartiles(stop),
                run.stop,
                statistics.rank(statistics.times(stop), run.stop) if run.stop <= epochs else None,
                tuple(_logged(run, logs.get(cell, {}), epochs)),
            )
        )
    return result


def _logged(run: PrintedRun, log: Log, epochs: int) -> Iterator[Logged]:
    for epoch, loss, accuracy in run.log:
        if epoch not in log or epoch > epochs:
            continue
        for quantity, value, all_values in zip(
            ("loss", "accuracy"), (loss, accuracy), log[epoch], strict=True
        ):
            values = all_values[~np.isnan(all_values)].round(6)  # as many digits as are printed
            rank = statistics.rank(values, value) if len(values) else None
            yield Logged(epoch, quantity, value, len(values), rank)


def conclusions(facts: Facts, stops: Stops) -> list[Conclusion]:
    """Each conclusion in each world, as far as its populations are finished."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    base, *others = facts.settings
    result = []
    for (section, claim), other in zip(CLAIMS, others, strict=True):
        # The report prefers the base of all comparisons, but for the last: there the other.
        better, worse = (other, base) if section == "3.4" else (base, other)
        for world in WORLDS:
            first, second = (stops.get(Cell(world, setting)) for setting in (better, worse))
            if first is not None and second is not None:
                effect = statistics.effect(first, second, rng)
                result.append(Conclusion(section, claim, world, better, worse, effect))
    return result


def sweeps(facts: Facts, stops: Stops) -> list[Sweep]:
    """The sweep in each world, as far as it is finished."""
    base = facts.settings[0].lr
    result = []
    for world in SWEPT:
        found = {c.setting.lr: s for c, s in stops.items() if c.sweep and c.world == world}
        if base in found:
            rates = tuple(
                _rate(lr, found[lr], found[base], len(found) - 1) for lr in sorted(found)
            )  # fmt: skip
            result.append(Sweep(world, len(found[base]), rates, base))
    return result


def _rate(lr: float, stop: np.ndarray, base: np.ndarray, others: int) -> Rate:
    loss = statistics.fewer(base, stop, max(1, others))
    median, usual = statistics.quantile(stop, 0.5), statistics.quantile(base, 0.5)
    if loss.low > 0:
        verdict = "bad"
    elif usual is not None and (median is None or median > SLOW * usual):
        verdict = "slow"
    else:
        verdict = "good"
    return Rate(lr, statistics.share(stop), _quartiles(stop), loss, verdict)


def _quartiles(stop: np.ndarray) -> tuple[int | None, int | None, int | None]:
    first, middle, last = (statistics.quantile(stop, q) for q in (0.25, 0.5, 0.75))
    return first, middle, last
