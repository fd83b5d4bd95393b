"""The runner of every library, and what all others must agree with: the step as it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from xpnet.compiler.pure import an_array, look, require_unchanged
from xpnet.types import Array, Carry, Data, Metrics


class Step(Protocol):
    """A pure training step: nothing is read or written but what is passed and returned.

    The step owns ``carry`` and may write into its arrays; the data it only reads.
    """

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]: ...

    def select(self, data: Data, rows: Array) -> Data:
        """The samples with the indices ``rows``."""
        ...


class Runner(Protocol):
    """Runs one step many times, as `run_plainly` does; never waits for the device.

    The carry that it returns may lie in buffers of its own: it is good until its next run.
    """

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        batch_rows: Array | None = None,
        interrupted: Callable[[], bool] = ...,
    ) -> tuple[Carry, Metrics]: ...


def never() -> bool:
    """The answer of a run that nobody interrupts."""
    return False


class Plain:
    """The runner that runs each step as it is written; one that changes itself is refused.

    It would do here what it says, and nothing of the kind where steps are recorded or compiled.
    """

    def __init__(self, xp: Any, step: Step) -> None:
        self.xp, self.step = xp, step
        self.looked = False

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        batch_rows: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        before = {} if self.looked else look(self.step)
        self.looked = True
        result = run_plainly(self.xp, self.step, carry, data, n, batch_rows, interrupted)
        require_unchanged(self.step, before, an_array)
        return result


def run_plainly(
    xp: Any,
    step: Step,
    carry: Carry,
    data: Data,
    n: int,
    batch_rows: Array | None = None,
    interrupted: Callable[[], bool] = never,
) -> tuple[Carry, Metrics]:
    """The runner of every library, and what all others must agree with: call the step.

    Args:
        xp: the namespace.
        step: maps ``(carry, batch)`` to ``(carry, metrics)``.
        carry: what goes from a step to the next; consumed, use the one that is returned.
        data: the arrays that ``step`` reads.
        n: how many steps.
        batch_rows: ``None`` to give every step all the data, or an integer array of shape
            ``(n, batch)``: the samples of each step.
        interrupted: asked between steps where steps run one by one; ``True`` ends the run.

    Returns:
        The last carry, and each metric stacked along a first axis of the steps that were done.
    """
    history: list[Metrics] = []
    for k in range(n):
        batch = data if batch_rows is None else step.select(data, batch_rows[k, ...])
        carry, metrics = step(carry, batch)
        history.append(metrics)
        if interrupted():
            break
    return carry, {name: xp.stack([row[name] for row in history]) for name in history[0]}
