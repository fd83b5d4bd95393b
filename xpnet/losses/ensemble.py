"""The loss of networks that share their weights, and lie beside one another in the outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xpnet import backends, checks
from xpnet.losses.base import Loss
from xpnet.losses.share import Share
from xpnet.types import Array


@dataclass(frozen=True)
class EnsembleLoss(Loss):
    """``ℓ = Σᵢ ℓᵢ / k``: the mean of the losses of ``k`` submodels, against the same ``y``.

    The outputs of the submodels, which `LinearBatchEnsemble` and `LinearEnsemble` make, lie beside
    one another, ``(..., samples, k · outputs)``; ``y`` is as for one. Each is trained for itself;
    what is predicted is their mean (TabM, arXiv:2410.24210): of probabilities, where ``loss`` has
    them, the class being that of the mean; else of predictions. Accuracy and metrics are of that,
    the loss is the mean of the losses.

    Args:
        loss: that of one submodel.
        k: how many there are.

    Raises:
        TypeError, ValueError: if ``loss`` is none, or ``k`` no whole number of at least 1.
    """

    loss: Loss
    k: int

    def __post_init__(self) -> None:
        checks.instance("loss", self.loss, Loss, "a loss such as CrossEntropy()")
        object.__setattr__(self, "k", checks.whole("k", self.k))
        for name in (
            *("classifies", "takes_probabilities", "without_probabilities", "probabilistic"),
        ):
            object.__setattr__(self, name, getattr(self.loss, name))

    @property
    def leaves(self) -> tuple[Loss]:
        """What is within it, as of layers."""
        return (self.loss,)

    @property
    def is_samplewise(self) -> bool:
        return self.loss.is_samplewise

    # ---- the mathematics

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        weight = None if share.weight is None else self._for_each(xp, share.weight)
        rows = Share(share.samples * self.k, weight)
        value, backprop = self.loss.forward(
            xp, self._rows(xp, output), self._for_each(xp, target), rows
        )
        return value, lambda: xp.reshape(backprop(), output.shape)

    def hits(self, xp: Any, output: Array, target: Array) -> Array:
        return self.loss.hits(xp, self._together(xp, output), target)

    def probabilities(self, xp: Any, output: Array) -> Array:
        return self._mean(xp, self.loss.probabilities(xp, self._rows(xp, output)))

    def predict(self, xp: Any, output: Array) -> Array:
        if self.classifies:
            return self.loss.predict(xp, self._together(xp, output))
        return self._mean(xp, self.loss.predict(xp, self._rows(xp, output)))

    def _together(self, xp: Any, output: Array) -> Array:
        """An output of one network that predicts the class of the mean."""
        if not self.probabilistic:
            return self._mean(xp, self._rows(xp, output))
        # Logits tell classes by their sign or the greatest, of which ½ less makes no other.
        return self.probabilities(xp, output) - (0.0 if self.takes_probabilities else 0.5)

    def _rows(self, xp: Any, output: Array) -> Array:
        """``(..., samples, k · outputs)`` as ``(..., samples · k, outputs)``."""
        *lead, samples, features = output.shape
        return xp.reshape(output, (*lead, samples * self.k, features // self.k))

    def _for_each(self, xp: Any, rows: Array) -> Array:
        """Each row ``k`` times."""
        *lead, samples, columns = rows.shape
        many = xp.concat([rows] * self.k, axis=-1)
        return xp.reshape(many, (*lead, samples * self.k, columns))

    def _mean(self, xp: Any, rows: Array) -> Array:
        *lead, samples, columns = rows.shape
        each = xp.reshape(rows, (*lead, samples // self.k, self.k, columns))
        return xp.mean(each, axis=-2)

    # ---- the boundary

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of one submodel's output."""
        if shape[-1] % self.k:
            raise ValueError(
                f"k must divide the {shape[-1]} outputs of the network, which are those of all "
                f"submodels, not be {self.k}."
            )
        return (*shape[:-1], shape[-1] // self.k)

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        return self.loss.prepare(backend, self._shape(shape), y, dtype)

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        return self.loss.check_values(backend, self._shape(shape), y)

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        self.loss.check_output(backend, lambda: self._rows(backend.xp, compute()))
