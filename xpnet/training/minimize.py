"""`minimize`: a minimiser of SciPy's, on the loss and gradient of all samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet._optional import optional
from xpnet.history import History
from xpnet.losses import Loss
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.optimizers.kept import KeptGradient
from xpnet.training.asked import Asked
from xpnet.training.interrupts import interrupts
from xpnet.training.loop import TrainingLoop
from xpnet.training.prepare import prepared
from xpnet.training.sources import is_source
from xpnet.training.step import carry_of, layer_state_in
from xpnet.types import Array

METHODS = ("L-BFGS-B", "BFGS", "CG")
"""Those of SciPy that go by a gradient alone, and end where it is small."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimiser has come to, and how.

    Attributes:
        model: the `Model`; its ``history`` has the loss, without the penalty, and the accuracy as
            they were before each iteration.
        value: the loss and the penalty in the end; of an ensemble ``(members,)``, as all that is
            below.
        values: the same from the start on, ``(iterations + 1,)``; of an ensemble with an axis of
            members more, and NaN where one had come to its end.
        iterations: how many steps were taken.
        evaluations: how often loss and gradient were computed.
        converged: whether it ended because nothing was left to gain.
        message: why it ended, in SciPy's words; of an ensemble a tuple.
    """

    model: Model
    value: Any
    values: np.ndarray
    iterations: Any
    evaluations: Any
    converged: Any
    message: Any


def minimize(
    network: Sequential,
    theta: Array,
    x: Array,
    y: Array,
    loss: Loss,
    *,
    method: str = "L-BFGS-B",
    sample_weight: Array | None = None,
    l2: float = 0.0,
    layer_state: dict[str, Array] | None = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    options: dict[str, Any] | None = None,
    callback: Callable[[int, float], Any] | None = None,
    threads: int | None = None,
) -> Minimum:
    """Minimise ``loss(θ) + λ/2 · |W|²`` over all samples at once, by `scipy.optimize.minimize`.

    Loss and gradient are run as the steps of `fit` are. The minimiser works on the host in float64:
    for each evaluation ``theta`` goes to the device in its own dtype and the gradient comes back,
    both of which are waited for. Of a float32 loss 7 digits are known, so that a run ends where no
    more is to be gained than those. Ctrl-C ends it behind the iteration in hand.

    Args:
        network: the `Sequential`. None of its layers may draw random numbers, or have a state that
            training changes: a minimiser is to find the same value where it has been before.
        theta: where to begin, ``(size,)``, such as ``network.init(seed=0, like=x)``; or
            ``(members, size)``, one after the other. Not changed.
        x: ``(samples, features)``, or ``(members, samples, features)``, in memory.
        y: the targets, as the loss wants them.
        loss: the loss.
        method: ``"L-BFGS-B"`` (Byrd et al. 1995), ``"CG"``, or ``"BFGS"``, which keeps a matrix of
            ``size²``.
        sample_weight: ``(samples,)`` or ``(members, samples)``, at least 0.
        l2: ``λ``, at least 0. The penalty is on weights, as layers declare them, and on no biases,
            gains and slopes. Of scikit-learn's ``alpha`` it is ``alpha / Σw``, of the weights of
            the samples.
        layer_state: the state of layers such as `Standardize`; ``None`` for that of ``x``.
        max_iter: how many iterations at most.
        tol: how small the greatest element of the gradient is to become (SciPy's ``gtol``).
        options: more of SciPy's for the method, such as ``{"maxfun": 15000, "ftol": 0}``.
        callback: told the number and the value of each iteration; by returning True it ends the
            run.
        threads: over how many threads NumPy splits the samples, as for `fit`; ``None`` for as many
            as pay, from 2²² multiplications of samples and parameters on.

    Returns:
        The `Minimum`. Its loss is finite: where one on the way is not, a shorter step is tried.

    Raises:
        TypeError, ValueError: if an argument is not as described.
        ImportError: if SciPy is not installed.
    """
    checks.given(theta=theta, x=x, y=y)
    named = {"theta": theta, "x": x, "y": y, "sample_weight": sample_weight}
    theta, x, y, sample_weight = backends.taken(**named).values()
    checks.instance("network", network, Sequential, "a Sequential")
    checks.one_of("method", method, METHODS)
    checks.instance("options", {} if options is None else options, dict, "a dict")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function or None, not {checks.shown(callback)}.")
    given = {
        "maxiter": checks.whole("max_iter", max_iter),
        "gtol": checks.number("tol", tol, least=0),
        **(options or {}),
    }
    l2 = checks.number("l2", l2, least=0)
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        if is_source(array):
            raise ValueError(f"{name} must be an array in memory, not read by rows; fit reads it.")
    for link in network.links:
        if link.layer.is_random:
            raise ValueError(
                f"network must give the same loss each time, but {link.name}, draws random "
                "numbers; leave it out, or train with fit."
            )
    if threads is None:
        threads = _threads(network, theta, x)
    shape = checks.shape_of(theta)
    members = int(shape[0]) if len(shape) == 2 else None
    asked = Asked(
        network, x, y, loss, KeptGradient(), theta=theta, sample_weight=sample_weight,
        layer_state=layer_state, block=members, threads=threads,
    )  # fmt: skip
    solve = optional("scipy.optimize", "minimize").minimize
    found = []
    with prepared(asked) as loop, loop.computing(), interrupts() as interrupted:
        for i in [None] if members is None else range(members):
            way = _Way(_Objective(loop, i, l2), interrupted, callback)
            start = way.objective.start
            way.result = solve(
                way.look, start, jac=True, method=method, callback=way, options=given
            )
            found.append(way)
    return found[0].minimum() if members is None else _together(found)


WORTH = 1 << 22
"""From how many multiplications on samples are split over threads: sooner than in `fit`, since
BLAS's own would wait busily beside the minimiser, and those of SciPy's BLAS."""


def _threads(network: Sequential, theta: Array, x: Array) -> int | None:
    """How many threads pay, or ``None`` for what `fit` does."""
    backend = backends.of(theta, x, names=("theta", "x"))
    if checks.shape_of(x)[1:] == ():  # which is refused later
        return None
    work = int(network.flat(backend.xp, x).shape[-2]) * network.size
    return None if work < WORTH else min(backend.workers(), max(2, work // WORTH))


class _Objective:
    """The value and gradient of one network, for a ``theta`` on the host, by a recorded step."""

    def __init__(self, loop: TrainingLoop, member: int | None, l2: float) -> None:
        block, self.backend = loop.population.blocks[0], loop.backend
        self.step, self.run = loop.step, block.run

        def own(array: Any, axes: int) -> Any:
            shared = member is None or array is None or len(array.shape) < axes
            return array if shared else array[member, ...]

        network, copy = self.step.network, self.backend.copy
        theta, state = own(block.carry["theta"], 2), layer_state_in(network, block.carry)
        self.state = {name: copy(own(array, 3)) for name, array in state.items()}
        self.data = tuple(own(array, 3) for array in block.data)
        self.dtype = self.backend.dtype_name(theta)
        self.start = np.array(self.backend.to_host(theta), "float64")
        self.carry = carry_of(theta, self.step.optimizer.init(theta), copy(self.state))
        mask = self.backend.to_host(network.weight_mask(theta)) if l2 else None
        self.decay = None if mask is None else l2 * np.asarray(mask, "float64")

    def theta(self, values: np.ndarray) -> Array:
        """These parameters on the device."""
        return self.backend.asarray(values, self.dtype)

    def __call__(self, values: np.ndarray) -> tuple[float, np.ndarray, dict[str, float]]:
        """Loss and penalty, their gradient, and the metrics."""
        carry = {**self.carry, "theta": self.theta(values)}
        self.carry, metrics = self.run(carry, self.data, 1)
        grad = np.array(self.backend.to_host(self.carry["optimizer.grad"]), "float64")
        told = {name: float(self.backend.to_host(found)[0]) for name, found in metrics.items()}
        value = told["loss"]
        if self.decay is not None:
            pull = self.decay * values
            value += float(pull @ values) / 2
            grad += pull
        return value, grad, told

    def require_constant(self) -> None:
        """Raise if the step has changed the state of a layer."""
        after, names = layer_state_in(self.step.network, self.carry), list(self.state)
        for link in self.step.network.links:
            for name in names[link.state]:
                before, now = map(self.backend.to_host, (self.state[name], after[name]))
                if not np.array_equal(before, now):
                    raise ValueError(
                        f"network must have no state that training changes, but {link.name}, has; "
                        "leave it out, or train with fit."
                    )


class _Way:
    """The way of a minimiser, which calls it after each iteration.

    Attributes:
        at: where the last iteration has ended.
        values: at the start and behind each iteration; ``told`` are the metrics there.
        result: SciPy's, when it has ended.
    """

    result: Any

    def __init__(
        self,
        objective: _Objective,
        interrupted: Callable[[], bool],
        callback: Callable[[int, float], Any] | None,
    ) -> None:
        self.objective, self.interrupted, self.callback = objective, interrupted, callback
        self.at = objective.start
        self.values: list[float] = []
        self.told: list[dict[str, float]] = []
        self.seen: dict[float, dict[str, float]] = {}
        self.evaluations, self.stopped = 0, False

    def look(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """What is asked for; NaN, of which minimisers know nothing, is infinite."""
        value, grad, told = self.objective(theta)
        value = math.inf if math.isnan(value) else value
        self.evaluations += 1
        self.seen[value] = told
        if self.evaluations == 1:
            self.objective.require_constant()
            if math.isinf(value):
                raise ValueError(
                    f"theta must begin where the loss is finite, not {told['loss']}; smaller "
                    "numbers in x, y or theta may help."
                )
            self._keep(value)
        return value, grad

    def _keep(self, value: float) -> None:
        self.values.append(value)
        self.told.append(self.seen[value])
        self.seen = {value: self.seen[value]}

    def __call__(self, intermediate_result: Any) -> None:
        """An iteration has ended; SciPy knows this by the name of the argument."""
        self.at = np.array(intermediate_result.x)
        self._keep(float(intermediate_result.fun))
        if self.callback is not None:
            self.stopped = self.callback(len(self.values) - 1, self.values[-1]) is True
        if self.interrupted() or self.stopped:
            raise StopIteration

    def minimum(self) -> Minimum:
        """Where it has come to."""
        objective, count = self.objective, len(self.values) - 1
        network, loss = objective.step.network, objective.step.loss
        numbers = {name: np.array([t[name] for t in self.told[:-1]]) for name in self.told[0]}
        history = History(
            numbers["loss"], numbers.get("accuracy"), stop=0, diverged=0, epochs=count,
            trained=count, interrupted=self.interrupted(), stopped=self.stopped,
        )  # fmt: skip
        state = objective.state or None
        return Minimum(
            Model(network, objective.theta(self.at), loss, history, layer_state=state),
            self.values[-1],
            np.array(self.values),
            count,
            self.evaluations,
            bool(self.result.success),
            str(self.result.message),
        )


def _together(found: list[_Way]) -> Minimum:
    """The members of an ensemble as one."""
    each, backend = [way.minimum() for way in found], found[0].objective.backend
    stack = backend.xp.stack
    histories: list[Any] = [one.model.history for one in each]
    first, zeros = histories[0], np.zeros(len(each), dtype=np.int64)
    counts = np.array([one.iterations for one in each])
    history = replace(
        first,
        loss=_columns([one.loss for one in histories]),
        accuracy=None if first.accuracy is None else _columns([h.accuracy for h in histories]),
        stop=zeros,
        diverged=zeros.copy(),
        epochs=int(counts.max()),
        trained=counts,
        stopped=any(one.stopped for one in histories),
    )
    states = [one.model.layer_state or {} for one in each]
    state = {name: stack([one[name] for one in states]) for name in states[0]}
    theta = stack([one.model.theta for one in each])
    model = each[0].model
    return Minimum(
        Model(model.network, theta, model.loss, history, layer_state=state or None),
        np.array([one.value for one in each]),
        _columns([one.values for one in each]),
        counts,
        np.array([one.evaluations for one in each]),
        np.array([one.converged for one in each]),
        tuple(one.message for one in each),
    )


def _columns(values: list[np.ndarray]) -> np.ndarray:
    """Numbers of each member side by side, and NaN behind the last of each."""
    found = np.full((max(map(len, values)), len(values)), np.nan)
    for i, own in enumerate(values):
        found[: len(own), i] = own
    return found
