"""What a distribution of stops says. A network that never arrived counts as one that would later.

Stops are int arrays with 0 for never, as in `xpnet.History`. Quantiles are those of the population
with "never" above every epoch, so they are known as long as enough networks arrived; a mean would
not be. Intervals hold 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 2000
Z = NormalDist().inv_cdf(0.975)


def times(stop: np.ndarray) -> np.ndarray:
    """Stops as floats, infinity for never."""
    return np.where(stop > 0, stop, math.inf)


def quantile(stop: np.ndarray, q: float) -> int | None:
    """The stop by which a share ``q`` of all networks has arrived; ``None`` if so many never do."""
    # An inverted step function: it never lies between an epoch and never.
    value = np.quantile(times(stop), q, method="inverted_cdf")
    return int(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def share(stop: np.ndarray) -> Interval:
    """The share that arrived, with Wilson's interval."""
    p = float(np.mean(stop > 0))
    return Interval(p, *_wilson(p, len(stop)))


def _wilson(p: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a share ``p`` of ``n``, which is none of a point even at 0 and 1."""
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return max(0.0, centre - reach), min(1.0, centre + reach)


@dataclass(frozen=True)
class Rank:
    """Where a stop (or another number) lies in a distribution, in per cent of the networks.

    Attributes:
        mid: those that are below it, and half of those that are equal.
        before: those that are below it.
        by: those that are below it or equal: of stops, those that have stopped by then.
    """

    mid: float
    before: float
    by: float


def rank(values: np.ndarray, value: float) -> Rank:
    """Where ``value`` lies among ``values``."""
    before, by = (100 * float(np.mean(part)) for part in (values < value, values <= value))
    return Rank((before + by) / 2, before, by)


def arrived(stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The epochs at which networks arrived, and the share of all that had by then."""
    epochs, counts = np.unique(stop[stop > 0], return_counts=True)
    return epochs, np.cumsum(counts) / len(stop)


@dataclass(frozen=True)
class Effect:
    """One population against another, paired by member: how much sooner the first arrives.

    Attributes:
        superiority: the probability that of a pair the first arrives sooner, ties counted half:
            0.5 for no difference, 1 if it always does.
        ratio: the second's median stop over the first's; infinite where the second's median
            network never arrives, NaN where neither's does.
        arriving: the share of the first that arrives less that of the second.
    """

    superiority: Interval
    ratio: Interval
    arriving: Interval

    @property
    def verdict(self) -> str:
        """``"sooner"``, ``"later"``, or ``"open"`` if the interval has room for both."""
        if self.superiority.low > 0.5:
            return "sooner"
        return "later" if self.superiority.high < 0.5 else "open"


def effect(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> Effect:
    """Compare two populations of equal size, with bootstrap intervals over their pairs.

    Args:
        first: stops.
        second: stops; member ``i`` had the same luck as member ``i`` of ``first``.
        rng: draws the resamples.
    """
    a, b = times(first), times(second)
    # inf < inf is false and inf == inf true, as it should be: two that never arrive are a tie.
    score = (a < b) + 0.5 * (a == b)
    gain = (first > 0).astype(float) - (second > 0)
    parts = [
        (score[rows].mean(axis=1), _ratio(a[rows], b[rows]), gain[rows].mean(axis=1))
        for rows in _resamples(len(a), rng)
    ]
    sooner, ratio, more = (np.concatenate(drawn) for drawn in zip(*parts, strict=True))
    within = [_middle(sooner), _middle(ratio), _middle(more)]
    # Where all pairs are alike so are all resamples, as if there were no other pairs in the world.
    if (score == score[0]).all() and score[0] in (0, 1):
        within[0] = _wilson(float(score[0]), len(score))
    if (gain == gain[0]).all():
        reach = _wilson(0, len(gain))[1]
        within[2] = max(-1.0, float(gain[0]) - reach), min(1.0, float(gain[0]) + reach)
    estimates = score.mean(), _ratio(a[None], b[None])[0], gain.mean()
    return Effect(
        *(Interval(float(value), *limits) for value, limits in zip(estimates, within, strict=True))
    )


def fewer(first: np.ndarray, second: np.ndarray, comparisons: int) -> Interval:
    """By what share fewer of the second arrive, in pairs; the interval is one of many.

    All intervals together hold with 95 % (Bonferroni): among many comparisons one is sure to look
    like a difference.
    """
    loss = (first > 0).astype(float) - (second > 0)
    z = NormalDist().inv_cdf(1 - 0.025 / comparisons)
    reach = z * float(loss.std()) / math.sqrt(len(loss))
    value = float(loss.mean())
    return Interval(value, value - reach, value + reach)


def _resamples(n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of indices; in pieces, so that they need little memory at once."""
    return (rng.integers(0, n, (RESAMPLES // 10, n)) for _ in range(10))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The ratio of the medians of each row."""
    below, above = (np.quantile(v, 0.5, axis=1, method="inverted_cdf") for v in (a, b))
    with np.errstate(invalid="ignore"):
        return np.asarray(above / below)


def _middle(values: np.ndarray) -> tuple[float, float]:
    """The interval that holds the middle 95 %; of those resamples that have a value."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return math.nan, math.nan
    low, high = np.quantile(known, (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)
