"""What a sample counts for in a mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.types import Array


@dataclass(frozen=True)
class Share:
    """What the samples at hand count for in the mean over all samples of a step.

    Where they are a part of these (the share of a thread, of a rank, of an accumulated batch), the
    values and gradients of the parts add up to those of the whole.

    Attributes:
        samples: over how many samples the mean is taken.
        weight: ``None``, or ``(..., samples, 1)``, relative to a mean of 1 over the whole data.
        here: how many of the samples are at hand; ``None`` for all those of the arrays, of which
            some may have been added, with a weight of 0, to fill them up.
    """

    samples: int
    weight: Array | None = None
    here: int | None = None

    def each(self, outputs: int = 1) -> Any:
        """``w / (samples · outputs)``, what one element counts for: a number, or an array.

        Args:
            outputs: how many elements a sample has.
        """
        share = 1 / (self.samples * outputs)
        return share if self.weight is None else self.weight * share

    def mean(self, xp: Any, losses: Array) -> Array:
        """``Σ w ℓ / (samples · outputs)``, for ``losses`` of ``(..., samples, outputs)``."""
        each = self.each(losses.shape[-1])
        if isinstance(each, float):
            return _total(xp, losses) * each
        return _total(xp, losses * each)

    def rate(self, xp: Any, hits: Array, dtype: Any) -> Array:
        """The mean of truth values ``(..., samples, outputs)``; of parts, it may be below 0."""
        here = hits.shape[-2] if self.here is None else self.here
        here, count = here * hits.shape[-1], self.samples * hits.shape[-1]
        if self.weight is None:
            # Divided, not multiplied by the inverse: 49 · (1/49) is not 1, and 1 is what a goal is.
            return xp.astype(xp.count_nonzero(hits, axis=(-2, -1)), dtype) / count
        # By what is missed, so that all right is exactly 1, however the weights are rounded.
        missed = (1 - xp.astype(hits, dtype)) * self.weight
        return here / count - _total(xp, missed) / count


def _total(xp: Any, values: Array) -> Array:
    """The sum over samples and outputs; of each member the same bits, whoever is beside it.

    As rows of one matrix they would be summed by one product, whose digits depend on the row.
    """
    if len(values.shape) < 3:
        return xp.sum(values, axis=(-2, -1))
    return xp.sum(xp.sum(values, axis=-2, keepdims=True), axis=-1)[..., 0]
