"""A case over `Ball`: what its training must give, and to what radius."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tests.fuzz import expected
from tests.fuzz.balls import FORMATS, Ball, concat, exact
from tests.fuzz.cases import Case, normed
from tests.fuzz.layers import Kept
from tests.fuzz.updates import UPDATES, averaged, clip_norm


@dataclass
class Truth:
    """What is trained before each epoch and after the last, the loss and accuracy of each epoch.

    What is trained is ``theta`` and behind it the state of the layers, ``(members, …)``, and the
    average of ``theta`` if there is one. ``steps``
    has it before each step with the loss of its batch, and that after the last; ``first_loss``
    gives the loss in inference of the first batch of the data.
    """

    first_loss: Callable[[Ball], Ball]

    trained: list[Ball] = field(default_factory=list)
    loss: list[Ball] = field(default_factory=list)
    accuracy: list[np.ndarray | None] = field(default_factory=list)
    steps: list[tuple[Ball, Ball | None]] = field(default_factory=list)

    def look(self, epochs: int) -> Ball:
        """What the last look finds after so many epochs: the loss of the first batch."""
        with np.errstate(all="ignore"):
            return self.first_loss(self.trained[epochs])


def truth(case: Case, **more: Any) -> Truth:
    """The training over `Ball`; ``more`` options go to the update."""
    format = FORMATS[case.dtype]
    x, t, w = case.prepared()
    theta, data = exact(format, case.theta64()), exact(format, x)
    layers = [exact(format, values) for values in case.state64()]
    weight = None if w is None else expected.relative(format, w)
    name, options = case.optimizer[0], {**case.optimizer[1], **more}
    state: dict[str, Any] = {}
    clip, decayed = options.pop("clip_value", None), options.pop("decayed", "all")
    norm, ema = options.pop("clip_norm", None), options.pop("ema_decay", None)
    average = None if ema is None else theta
    if decayed != "all":
        options["weight_decay"] = np.asarray(options["weight_decay"]) * case.decayed()

    def step(theta: Ball, rows: Any, kept: Kept) -> Any:
        chosen = data[:, rows], t[:, rows], None if weight is None else weight[:, rows]
        return expected.step(case.layers, case.loss, theta, *chosen, kept)

    def first_loss(trained: Ball) -> Ball:
        layers, start = [], theta.shape[-1]
        for n in normed(case.layers):
            layers += [trained[:, None, start : start + n], trained[:, None, start + n :][..., :n]]
            start += 2 * n
        kept = Kept(iter(layers), None)
        loss: Ball = step(trained[:, : theta.shape[-1]], slice(case.options["batch_size"]), kept)[0]
        return loss

    found = Truth(first_loss)
    with np.errstate(all="ignore"):
        for orders in case.orders():
            found.trained.append(_joined(theta, layers, average))
            total: Any = None
            rate: Any = None
            for rows in orders:
                kept = Kept(iter(layers), partial(case.mask, len(found.steps)))
                value, accuracy, grad = step(theta, rows, kept)
                found.steps.append((_joined(theta, layers, average), value))
                slope = grad()
                if clip is not None:
                    slope = slope.monotone(lambda v: np.clip(v, -clip, clip), 1.0)
                if norm is not None:
                    slope = clip_norm(slope, norm)
                theta, state = UPDATES[name](theta, slope, state, **options)
                layers = kept.after
                if ema is not None:
                    average = averaged(average if found.steps[1:] else None, theta, ema)
                share = len(rows) / x.shape[-2]
                part = value * share if len(orders) > 1 else value
                total = part if total is None else total + part
                if accuracy is not None:
                    rate = accuracy * share + (0 if rate is None else rate)
            found.loss.append(total)
            found.accuracy.append(rate)
        found.trained.append(_joined(theta, layers, average))
        found.steps.append((found.trained[-1], None))
    return found


def _joined(theta: Ball, layers: list[Ball], average: Ball | None) -> Ball:
    own = [] if average is None else [average]
    return concat([theta, *(state[:, 0] for state in layers), *own], -1)
