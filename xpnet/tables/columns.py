"""What is learnt of a column: how numbers are scaled, and which texts are which codes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from xpnet import checks
from xpnet.tables.table import DATE, NUMBER, Column, as_number

QUANTILES = 256
"""How many quantiles of a column are kept at most."""


@dataclass(frozen=True)
class Number:
    """A column of numbers: ``(x − center) / scale``, or its quantiles as those of a normal one.

    Where a number is missing it is the ``median``.

    Attributes:
        name: the name of the column.
        median: that of what was there in training.
        center, scale: the mean and the root of the mean square about it of what was there; 0 and 1
            for numbers as they are.
        quantiles: up to 256 from the least to the greatest, empty unless they are asked for. From
            quantile ``i`` of ``q`` to the next a number goes in a straight line from the quantile
            ``i / (q − 1)`` of the normal distribution to the next; the outermost, which would be
            infinite, are those of half a sample, and no number goes beyond them.
        scores: the normal quantiles, of the same number.
        missing: whether some were missing in training, and so there is a column for it.
    """

    name: str
    median: float
    center: float = 0.0
    scale: float = 1.0
    quantiles: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    missing: bool = False

    def __post_init__(self) -> None:
        for name in ("median", "center", "scale"):
            checks.number(f"{name} of column {checks.shown(self.name)}", getattr(self, name))
        if self.scale <= 0 or len(self.quantiles) != len(self.scores):
            raise ValueError(
                f"column {checks.shown(self.name)} must have a scale above 0 and as many quantiles "
                f"as scores, not {self.scale}, {len(self.quantiles)} and {len(self.scores)}."
            )

    @classmethod
    def of(cls, name: str, values: np.ndarray, way: str) -> Number | None:
        """What there is to learn of a column; ``None`` if it has one value in all rows.

        Args:
            name: the name of the column.
            values: float64, NaN where one is missing.
            way: ``"standardize"``, ``"quantile"`` or ``"keep"``.
        """
        known = values[~np.isnan(values)]
        median, missing = float(np.median(known)), len(known) < len(values)
        if known.min() == known.max():
            # Whether it is there may say something all the same.
            return cls(name, median, median, 1.0, missing=True) if missing else None
        if way == "quantile":
            from statistics import NormalDist  # not with xpnet, which few hand a table

            half = 0.5 / len(known)
            shares = np.linspace(0, 1, min(len(known), QUANTILES))
            quantiles = np.quantile(known, shares).tolist()
            scores = [
                NormalDist().inv_cdf(share) for share in np.clip(shares, half, 1 - half).tolist()
            ]
            return cls(name, median, 0.0, 1.0, tuple(quantiles), tuple(scores), missing)
        if way == "keep":
            return cls(name, median, missing=missing)
        with np.errstate(over="ignore", invalid="ignore"):
            center, scale = float(known.mean()), float(known.std())
        if not (np.isfinite(scale) and np.isfinite(center)):
            raise ValueError(
                f"column {checks.shown(name)} must hold numbers whose squares are finite, not "
                f"{np.abs(known).max():.3g}; numbers='quantile' takes them."
            )
        return cls(name, median, center, scale or 1.0, missing=missing)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The column as a network takes it, of float64 with NaN where a number is missing."""
        there = np.where(np.isnan(values), self.median, values)
        if not self.quantiles:
            return np.asarray((there - self.center) / self.scale)
        # From both sides, for a value that many have: the middle of its quantiles.
        quantiles, scores = np.array(self.quantiles), np.array(self.scores)
        up = np.interp(there, quantiles, scores)
        down = np.interp(-there, -quantiles[::-1], -scores[::-1])
        return np.asarray((up - down) / 2)


@dataclass(frozen=True)
class Category:
    """A column of texts: the code of ``values[i]`` is ``i + 1``, of all else and of nothing 0.

    Attributes:
        name: the name of the column.
        values: the texts that were there in training, in order.
    """

    name: str
    values: tuple[str, ...]

    def codes(self, column: Column) -> np.ndarray:
        """The column as codes, float64, which networks take.

        Raises:
            ValueError: if it holds dates, or numbers that two of the values write.
        """
        if column.kind == DATE:
            raise ValueError(f"{column} must hold texts as in training, not dates.")
        known: dict[str | None, int] = {text: code for code, text in enumerate(self.values, 1)}
        found = {text: known[text] for text in set(column.texts()) & known.keys()}
        others = set(column.texts()) - found.keys() - {None}
        if others:  # written in another way, as "1.0" and "true" are in a file that has no others
            alike: dict[str, list[str]] = {}
            for text in self.values:
                alike.setdefault(_plain(text), []).append(text)
            for other in others:
                same = alike.get(_plain(str(other)), [])
                if len(same) > 1 and column.kind == NUMBER:
                    raise ValueError(
                        f"{column} must say which of {checks.shown(same)} its "
                        f"{checks.shown(other)} is; have its values be texts, as in training."
                    )
                found[other] = known[same[0]] if len(same) == 1 else 0
        return np.array([found.get(text, 0) for text in column.texts()], dtype=float)


def _plain(text: str) -> str:
    """A text, or the number or truth value that it writes, as `Column.texts` would write it."""
    number = as_number(text)
    if number is None:
        return str(int(text.lower() == "true")) if text.lower() in ("false", "true") else text
    return str(int(number)) if number.is_integer() else repr(number)


MANY = 1000
"""From how many texts on there is a warning: the network learns a vector of each."""


def warn(sentence: str) -> None:
    """Warn whoever called the public function."""
    warnings.warn(sentence, RuntimeWarning, stacklevel=4)
