"""The optimizer's half of a step on NumPy, a share of the parameters on each thread.

Element by element it is one program a thread. What is reduced over all parameters, as the length of
a gradient is to clip it, cuts it: each thread reduces its share, all meet, and each goes on from
what all have found. So there is one program more for each reduction, which begins anew, and ends
there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.record import record
from xpnet.compiler.writers.numpy import NumPyProgram
from xpnet.types import Carry, Data, Metrics

FOUND = "found"
"""What a share has been reduced to, in the carry of these programs."""

JOINED = {"sum": "add", "max": "maximum", "min": "minimum"}
"""What joins the reductions of the shares to that of all."""

MOST = 8
"""How many reductions an update may have: each has the threads meet once more."""


class _Cut(Exception):
    """A reduction whose shares are not known yet; they are what the program is to find."""

    def __init__(self, found: Any) -> None:
        self.found = found


class _Joining:
    """A namespace in which reductions over a share are those over all parameters.

    Args:
        xp: the namespace within.
        like: an array of the share.
        known: of each reduction, in their order, what the shares gave.
    """

    def __init__(self, xp: Any, like: Any, known: list[tuple[Any, ...]]) -> None:
        self.xp, self.like, self.known = xp, like, known

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.xp, name)
        return partial(self._reduced, name, function) if name in JOINED else function

    def _reduced(self, name: str, function: Any, x: Any, **how: Any) -> Any:
        along = how == {"axis": -1, "keepdims": True}
        if not along or (x.shape, x.dtype) != (self.like.shape, self.like.dtype):
            return function(x, **how)  # what is not of single parameters is refused later
        if not self.known:
            raise _Cut(function(x, **how))
        first, *others = self.known.pop(0)
        for other in others:
            first = getattr(self.xp, JOINED[name])(first, other)
        return first


@dataclass(frozen=True)
class _Update:
    """The second half of a step, from the gradients of all shares of the batch, up to the first
    reduction that is not known.
    """

    step: Any
    xp: Any
    threads: int

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]:
        grads, found = batch[: self.threads], batch[self.threads :]
        grad = grads[0]
        for part in grads[1:]:
            grad = grad + part
        known = [found[i : i + self.threads] for i in range(0, len(found), self.threads)]
        own = {name: array for name, array in carry.items() if name != FOUND}
        try:
            after = replace(self.step, xp=_Joining(self.xp, grad, known)).update(own, grad)
        except _Cut as cut:
            return {**carry, FOUND: cut.found}, {}
        return {**after, FOUND: carry[FOUND]}, {}


def updates(
    step: Any,
    carry: Carry,
    grads: list[np.ndarray],
    buffers: Carry,
    write: Callable[[Recording, Carry], NumPyProgram],
) -> list[list[NumPyProgram]]:
    """The programs of each thread, one after the other; before each all threads meet.

    Args:
        step: the step.
        carry: parameters, moments and counters.
        grads: the gradients of the shares of the batch, one a thread.
        buffers: where the arrays of the carry are.
        write: makes a program of a recording and buffers.

    Raises:
        Untraceable: if the update looks beyond single parameters otherwise.
    """
    theta, threads = carry["theta"], len(grads)
    if theta.size < threads:
        raise Untraceable("fewer parameters than threads")
    # Edges at whole cache lines, so that no two threads write into one; no share without any.
    line = 64 if theta.size >= 64 * threads else 1
    cuts = [theta.size * i // threads // line * line for i in range(threads)] + [theta.size]
    shares = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    half, known = _Update(step, np, threads), list[np.ndarray]()
    programs: list[list[NumPyProgram]] = [[] for _ in shares]
    for _ in range(MOST):
        found = [np.zeros(1, theta.dtype) for _ in shares]
        own = {**carry, FOUND: found[0]}
        whole = record(half, np, own, (*grads, *known), constant=False)
        arrays = [arg for node in whole.nodes for arg in node.nodes if arg.op == "const"]
        if any(math.prod(arg.shape) > 1 for arg in arrays):
            raise Untraceable("an update with an array of its own")  # of which each had a part
        for i, share in enumerate(shares):
            piece = {k: v[share] if v.ndim else v for k, v in carry.items()} | {FOUND: found[i]}
            parts = *(grad[share] for grad in grads), *known
            recording = record(half, np, piece, parts, constant=False)
            _check(recording, whole)
            given = {name: buffer[share] for name, buffer in buffers.items()} | {FOUND: found[i]}
            programs[i].append(write(recording, given))
        if whole.results[FOUND] is whole.carry[FOUND]:
            return programs
        known += found
    raise Untraceable(f"an update with more than {MOST} reductions")


def _check(recording: Recording, whole: Recording) -> None:
    """Raise unless a share is done as the whole is, each parameter by itself."""
    alike = _numbers(recording) == _numbers(whole)  # else it has asked how many there are
    found = recording.results[FOUND]
    single = all(n.host or n.elementwise or n is found for n in recording.nodes)
    if not (alike and single):
        raise Untraceable("an update that looks beyond single parameters")


def _numbers(recording: Recording) -> list[tuple[Any, ...]]:
    """The operations of a recording with the plain numbers in them."""
    return [
        (node.op, *(None if isinstance(arg, Node) else repr(arg) for arg in node.args))
        for node in recording.nodes
    ]
