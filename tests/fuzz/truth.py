"""A case over `Ball`: what its training must give, and to what radius."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.fuzz import expected
from tests.fuzz.balls import FORMATS, Ball, exact
from tests.fuzz.cases import Case
from tests.fuzz.updates import UPDATES


@dataclass
class Truth:
    """``theta`` before each epoch and after the last, the loss and accuracy of each epoch.

    ``steps`` is ``theta`` before each step with the loss of its batch, and that after the last;
    ``first_loss`` gives the loss of the first batch of the data with a ``theta``.
    """

    first_loss: Callable[[Ball], Ball]

    theta: list[Ball] = field(default_factory=list)
    loss: list[Ball] = field(default_factory=list)
    accuracy: list[np.ndarray | None] = field(default_factory=list)
    steps: list[tuple[Ball, Ball | None]] = field(default_factory=list)

    def look(self, epochs: int) -> Ball:
        """What the last look finds after so many epochs: the loss of the first batch."""
        with np.errstate(all="ignore"):
            return self.first_loss(self.theta[epochs])


def truth(case: Case, **more: Any) -> Truth:
    """The training over `Ball`; ``more`` options go to the update."""
    format = FORMATS[case.dtype]
    x, t, w = case.prepared()
    theta, data = exact(format, case.theta64()), exact(format, x)
    weight = None if w is None else expected.relative(format, w)
    name, options = case.optimizer[0], {**case.optimizer[1], **more}
    state: dict[str, Any] = {}

    def step(theta: Ball, rows: Any) -> tuple[Ball, np.ndarray | None, Ball]:
        chosen = data[:, rows], t[:, rows], None if weight is None else weight[:, rows]
        return expected.step(case.layers, case.loss, theta, *chosen)

    found = Truth(lambda theta: step(theta, slice(case.options["batch_size"]))[0])
    with np.errstate(all="ignore"):
        for orders in case.orders():
            found.theta.append(theta)
            total: Any = None
            rate: Any = None
            for rows in orders:
                value, accuracy, grad = step(theta, rows)
                found.steps.append((theta, value))
                theta, state = UPDATES[name](theta, grad, state, **options)
                share = len(rows) / x.shape[-2]
                part = value * share if len(orders) > 1 else value
                total = part if total is None else total + part
                if accuracy is not None:
                    rate = accuracy * share + (0 if rate is None else rate)
            found.loss.append(total)
            found.accuracy.append(rate)
        found.theta.append(theta)
        found.steps.append((theta, None))
    return found
