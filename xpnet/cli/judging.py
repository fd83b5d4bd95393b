"""What the samples say of a network at its end: a table of figures, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.cli import told
from xpnet.cli.samples import Samples
from xpnet.metrics import confusion_matrix
from xpnet.types import Array


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges models by samples.

    Attributes:
        samples: the samples, on the host.
        backend, dtype: where and as what they are handed over.
    """

    samples: Samples
    backend: backends.Backend
    dtype: str

    def learnt(self, use: str) -> tuple[Array, Array]:
        """The samples of a part as they are learnt."""
        x, y = self.samples.parts[use]
        return self._array(x), self._array(self.samples.learnt(y))

    def of_numbers(self, model: xn.Model) -> xn.Model:
        """The model for numbers as they are, where it has learnt them standardized."""
        if self.samples.classes:
            return model
        return of_numbers(model, self.samples.center, self.samples.scale)

    def lines(self, model: xn.Model) -> Iterator[str]:
        """What is said of a model, as `of_numbers` has it."""
        history, best = model.history, _best(model)
        if history is not None and history.restored and np.any(history.best_epoch):
            which = f"The network is that of epoch {history.best_epoch}, the best in validation."
            if model.members is not None:
                which = "Each network is that of its best epoch in validation."
            yield f"[INFO]: {which}"
        found = {}
        for use, (x, y) in self.samples.parts.items():
            try:
                found[use] = model.evaluate(self._array(x), self._array(y))
            except ValueError as error:  # an output is NaN
                yield f"[WARNING]: Of {use} nothing can be said: {error}"
        if found:
            sizes = {use: len(x) for use, (x, _) in self.samples.parts.items()}
            yield told.figures(found, sizes, _member(best))
        if self.samples.classes:
            yield f"{self._title(best)}, true classes in rows, predicted ones in columns:"
            yield told.confusion(self._confusion(best), self.samples.classes)

    def panel(self, axes: Any, model: xn.Model) -> None:
        """Draw who is taken for whom, or predicted numbers over true ones."""
        from xpnet import pictures

        best = _best(self.of_numbers(model))
        axes.set_title(self._title(best))
        if self.samples.classes:
            pictures.confusion(axes, self._confusion(best), self.samples.classes)
        else:
            pictures.agreement(axes, *self._last(best))

    def _title(self, best: xn.Model) -> str:
        use = list(self.samples.parts)[-1]
        member = "" if _member(best) is None else f", member {_member(best)}"
        return f"{use.capitalize()} samples{member}"

    def _confusion(self, best: xn.Model) -> np.ndarray:
        return np.asarray(confusion_matrix(*self._last(best), classes=len(self.samples.classes)))

    def _last(self, best: xn.Model) -> tuple[np.ndarray, np.ndarray]:
        """The targets of the last part, and what is predicted of them."""
        x, y = list(self.samples.parts.values())[-1]
        predicted = self.backend.to_host(best.predict(self._array(x), check=False))
        return y, np.asarray(predicted)

    def _array(self, values: np.ndarray) -> Array:
        dtype = "int64" if values.dtype.kind == "i" else self.dtype
        return self.backend.asarray(values, dtype)


def of_numbers(model: xn.Model, center: float, scale: float) -> xn.Model:
    """A model of ``y`` that has learnt ``(y − center) / scale``.

    The last layer's ``W`` and ``b`` take it up; the optimizer's state, which is of what was
    learnt, is left behind.
    """
    last, named = len(model) - 1, dict(model.named_parameters())
    with backends.of(model.theta).context():
        for name, offset in ((f"{last}.W", 0.0), (f"{last}.b", center)):
            named[name] = named[name] * scale + offset
    theta = model.network.flatten(named)
    return xn.Model(
        model.network,
        theta,
        model.loss,
        model.history,
        layer_state=model.layer_state,
        preparation=model.preparation,
    )


def _best(model: xn.Model) -> xn.Model:
    """The model itself, or of an ensemble the best member; the first, if no number says which."""
    if model.members is None:
        return model
    try:
        return model.best()
    except ValueError:
        return model.member(0)


def _member(model: xn.Model) -> int | None:
    """Which member of an ensemble this was."""
    return None if model.history is None else model.history.member
