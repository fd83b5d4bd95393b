"""An optimizer of one's own, held to what `Optimizer` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.backends.base import Backend
from xpnet.layers.checked import named
from xpnet.testing import common
from xpnet.testing.common import MEMBERS, SEED, STEPS, alike, pure, require, sentences
from xpnet.training.step import TrainingStep, carry_of

NET = xn.Sequential(xn.Linear(3, 2))
"""Whose parameters are asked with, where some are decayed and others not."""


def check_optimizer(
    optimizer: xn.Optimizer, *, backends: Sequence[str] | None = None, recorded: bool = True
) -> None:
    """Ask of an optimizer what xpnet's tests ask of its own.

    - ``init`` makes a state of arrays with names of its own; a step keeps their names, shapes and
      dtypes and those of ``theta``; steps are counted.
    - Nothing is written into ``theta`` and the gradient, and twice the same is twice the same.
    - Members, dtypes, libraries, purity and steps, as of `check_layer`.

    Args:
        optimizer: the optimizer, with numbers that are one for all members.
        backends: as of `check_layer`.
        recorded: as of `check_layer`.

    Raises:
        AssertionError: with what is wrong, in one sentence.
    """
    if not isinstance(optimizer, xn.Optimizer):
        raise TypeError(f"optimizer must be an optimizer such as Adam(), not {optimizer!r}.")
    if optimizer.per_member():
        raise TypeError("optimizer must have plain numbers to be checked, not arrays of them.")
    name = named(optimizer)
    rng = np.random.default_rng(SEED)
    question = _Question(
        optimizer,
        name,
        rng.normal(size=(MEMBERS, NET.size)),
        rng.normal(size=(STEPS, MEMBERS, NET.size)),
    )
    first: dict[str, np.ndarray] | None = None
    for backend in common.libraries(backends):
        for dtype in common.dtypes(backend):
            with sentences(name), pure(name, optimizer):
                found = question.check_updates(backend, dtype)
            first = first or found
            words = f"in {dtype} {backend.name} gives, as"
            _compare(name, f"{words} {common.libraries(backends)[0].name},", found, first, dtype)
            question.check_steps(backend, dtype, recorded)


def _compare(
    name: str, words: str, found: dict[str, Any], expected: dict[str, Any], dtype: str
) -> None:
    for key, array in expected.items():
        alike(name, f"{words} {key} after {STEPS} steps", found[key], array, dtype)


@dataclass(eq=False)
class _Question:
    """An optimizer, with ``theta`` and gradients on the host, the members first."""

    optimizer: xn.Optimizer
    name: str
    theta: np.ndarray
    grads: np.ndarray
    compiled: dict[Backend, Any] = field(default_factory=dict)

    def ask(self, backend: Backend, dtype: str, theta: Any, grads: Any) -> dict[str, np.ndarray]:
        """``theta`` and the state after the steps, on the host."""
        on = backend.asarray(theta, dtype)
        state = self.optimizer.init(on, NET)
        update: Any = self.optimizer.update
        if not common.one_by_one(backend, dtype, on.ndim == 1):
            update = partial(self._as_one(backend), backend.xp)
        for k, values in enumerate(grads, 1):
            grad = backend.asarray(values, dtype)
            before = backend.copy({"theta": on, "grad": grad})
            after, state = update(on, grad, state)
            for what, array in (("theta", on), ("grad", grad)):
                same = np.array_equal(backend.to_host(array), backend.to_host(before[what]))
                words = f"step must not write into {what}, which is not its own"
                require(self.name, same, words)
            count = np.unique(backend.to_host(state["step"])).tolist()
            words = f"state['step'] must be {k} after {k} steps, not {count}"
            require(self.name, count == [k], words)
            on = after
        self.optimizer.resume(on, state, NET)  # raises unless it has the form that init makes
        return {
            "theta": np.array(backend.to_host(on)),
            **{f"state[{key!r}]": np.array(backend.to_host(v)) for key, v in state.items()},
        }

    def _as_one(self, backend: Backend) -> Any:
        """A step, compiled for each way of asking, where JAX would compile each operation."""
        if backend not in self.compiled:
            update = self.optimizer.update
            self.compiled[backend] = backend.as_one(lambda xp, *given: update(*given))
        return self.compiled[backend]

    def check_updates(self, backend: Backend, dtype: str) -> dict[str, np.ndarray]:
        together = self.ask(backend, dtype, self.theta, self.grads)
        again = self.ask(backend, dtype, self.theta, self.grads)
        for key, array in together.items():
            same = np.array_equal(array, again[key], equal_nan=True)
            require(self.name, same, f"{key} must be the same twice for the same gradients")
        for i in range(MEMBERS):
            alone = self.ask(backend, dtype, self.theta[i], self.grads[:, i])
            # What members share, such as a number, has no axis of them; a count of steps has.
            one = {k: a[i] if a.shape[:1] == (MEMBERS,) else a for k, a in together.items()}
            one = {k: a.reshape(alone[k].shape) for k, a in one.items() if a.size == alone[k].size}
            for key in alone:
                require(self.name, key in one, f"{key} of members must be one each, as alone")
            words = f"of {MEMBERS} members, as alone, member {i} has"
            _compare(self.name, words, one, alone, dtype)
        return together

    def check_steps(self, backend: Backend, dtype: str, recorded: bool) -> None:
        """Steps of a small network."""
        net, loss = xn.Sequential(xn.Linear(4, 3), xn.Tanh(), xn.Linear(3, 1)), xn.MSE()
        step, rng = TrainingStep(backend.xp, net, loss, self.optimizer), np.random.default_rng(SEED)
        for members in common.networks(backend, dtype):
            with backend.context():
                x, y = (backend.asarray(rng.normal(size=(6, n)), dtype) for n in (4, 1))
                theta = net.init(SEED, like=x, members=members)
                carry = carry_of(theta, self.optimizer.init(theta, net))
            with pure(self.name, self.optimizer):
                common.runs_as_written(self.name, backend, step, carry, (x, y, None), recorded)
