"""A loss of one's own, held to what `Loss` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.backends.base import Backend
from xpnet.layers.checked import named
from xpnet.losses import Share, prepare
from xpnet.testing import common
from xpnet.testing.common import MEMBERS, SEED, alike, is_slope, pure, require, sentences
from xpnet.testing.layers import NO_SLOPES
from xpnet.training.step import TrainingStep, carry_of

SAMPLES, OUTPUTS = 6, 3
Pair = tuple[np.ndarray, np.ndarray]


def check_loss(
    loss: xn.Loss,
    output: Any = None,
    y: Any = None,
    *,
    backends: Sequence[str] | None = None,
    recorded: bool = True,
    shares: bool = True,
) -> None:
    """Ask of a loss what xpnet's tests ask of its own.

    - The value is one number a network, the gradient of the shape of the output, both of its dtype.
    - The gradient is the slope of the value, as of `check_layer`.
    - Samples count by their shares: what they give one by one, times their weights, adds up to what
      a batch gives, in value and gradient.
    - Where it ``classifies``, accuracy is from 0 to 1, and so are probabilities if it is
      ``probabilistic``.
    - Members, dtypes, libraries, purity and steps, as of `check_layer`.

    Args:
        loss: the loss.
        output: outputs of a network to ask it with, ``(samples, outputs)`` in the host's memory;
            random numbers by default.
        y: targets for them; by default one-hot where it ``classifies``, else random numbers.
        backends: as of `check_layer`.
        recorded: as of `check_layer`.
        shares: whether it is a mean over samples; ``False`` for one that looks across them.

    Raises:
        AssertionError: with what is wrong, in one sentence.
    """
    if not isinstance(loss, xn.Loss):
        raise TypeError(f"loss must be a loss such as MSE(), not {loss!r}.")
    rng = np.random.default_rng(SEED)
    output = np.asarray(rng.normal(size=(SAMPLES, OUTPUTS)) if output is None else output, float)
    if y is None and loss.classifies:
        y = np.eye(output.shape[-1])[rng.integers(0, output.shape[-1], len(output))]
    y = rng.normal(size=output.shape) if y is None else np.asarray(y)
    name = named(loss)
    question = _Question(loss, name, output, y)
    first: Pair | None = None
    for backend in common.libraries(backends):
        for dtype in common.dtypes(backend):
            with backend.context(), sentences(name), pure(name, loss):
                found = question.check_alone(backend, dtype, slopes=first is None)
                if shares:
                    question.check_shares(backend, dtype, found)
                question.check_members(backend, dtype)
                if loss.classifies:
                    question.check_classes(backend, dtype)
            first = first or found
            _compare(name, f"in {dtype} {backend.name} gives, as", found, first, dtype)
            question.check_steps(backend, dtype, recorded)


def _compare(name: str, words: str, found: Pair, expected: Pair, dtype: str) -> None:
    for what, one, other in zip(("the value", "the gradient"), found, expected, strict=True):
        alike(name, f"{words} {what}", one, other, dtype)


@dataclass(eq=False)
class _Question:
    """A loss, and host arrays to ask it with."""

    loss: xn.Loss
    name: str
    output: np.ndarray
    y: np.ndarray
    compiled: dict[Backend, Any] = field(default_factory=dict)

    def _on(self, backend: Backend, dtype: str, output: Any, y: Any) -> tuple[Any, Any]:
        """Output and prepared targets."""
        on = backend.asarray(output, dtype)
        target = backend.asarray(y, "int64" if y.dtype.kind in "iub" else dtype)
        return on, prepare(backend, self.loss, on.shape, target, None, on.dtype, check=True)[0]

    def ask(
        self, backend: Backend, dtype: str, output: Any, y: Any, rows: Any = slice(None),
        weight: Any = None,
    ) -> Pair:  # fmt: skip
        """Value and gradient on the host, for some rows of a batch with these weights."""
        on, target = self._on(backend, dtype, output, y)
        on, target = backend.copy((on[..., rows, :], target[..., rows, :]))
        if weight is not None:
            weight = backend.asarray(weight[rows, None], dtype)
        before = backend.copy((on, target))
        whole = tuple(on.shape) == self.output.shape and weight is None
        one_by_one = common.one_by_one(backend, dtype, whole)
        passes: Any = self._passes if one_by_one else self._as_one(backend)
        value, grad = passes(backend.xp, on, target, weight)
        for what, array, was in zip(("output", "target"), (on, target), before, strict=True):
            same = np.array_equal(backend.to_host(array), backend.to_host(was), equal_nan=True)
            require(self.name, same, f"forward must not write into {what}, which is not its own")
        shapes = {"value": tuple(on.shape[:-2]), "gradient": tuple(on.shape)}
        for what, array in (("value", value), ("gradient", grad)):
            found = tuple(array.shape), backend.dtype_name(array)
            wanted = shapes[what], dtype
            words = f"the {what} must have the shape and dtype {wanted}, not {found}"
            require(self.name, found == wanted, words)
        return np.array(backend.to_host(value)), np.array(backend.to_host(grad))

    def _passes(self, xp: Any, output: Any, target: Any, weight: Any) -> tuple[Any, Any]:
        value, backprop = self.loss.forward(xp, output, target, Share(len(self.output), weight))
        return value, backprop()

    def _as_one(self, backend: Backend) -> Any:
        """The same, compiled for each way of asking, where JAX would compile each operation."""
        if backend not in self.compiled:
            self.compiled[backend] = backend.as_one(self._passes)
        return self.compiled[backend]

    def check_alone(self, backend: Backend, dtype: str, slopes: bool) -> Pair:
        found = self.ask(backend, dtype, self.output, self.y)
        again = self.ask(backend, dtype, self.output, self.y)
        same = all(map(np.array_equal, found, again))
        require(self.name, same, "it must give the same twice for the same output")
        finite = all(np.isfinite(array).all() for array in found)
        words = "it must give finite numbers; hand output and y that suit it to check_loss"
        require(self.name, finite, words)
        if slopes:
            require(self.name, dtype == "float64", NO_SLOPES)

            def at(output: np.ndarray) -> tuple[float, float]:
                value = float(self.ask(backend, dtype, output, self.y)[0])
                return value, abs(value)

            gradient = found[1]
            is_slope(self.name, "the gradient", at, self.output, gradient, self.output.size)
        return found

    def check_shares(self, backend: Backend, dtype: str, whole: Pair) -> None:
        """The parts of a batch add up, with weights and without."""
        samples = range(len(self.output))
        parts = [self.ask(backend, dtype, self.output, self.y, slice(i, i + 1)) for i in samples]
        weight = np.random.default_rng(SEED).uniform(0.1, 2, len(self.output))
        weighted = self.ask(backend, dtype, self.output, self.y, weight=weight)
        for words, share, found in (
            ("of samples one by one, added up,", np.ones_like(weight), whole),
            ("of samples times their weights, added up,", weight, weighted),
        ):
            value = np.sum([w * part[0] for w, part in zip(share, parts, strict=True)])
            grad = np.concatenate([w * part[1] for w, part in zip(share, parts, strict=True)])
            cure = "(share.mean gives the value, share.each what gradients are multiplied by)"
            _compare(self.name, f"as {words} {cure}", found, (value, grad), dtype)

    def check_members(self, backend: Backend, dtype: str) -> None:
        def rolled(array: np.ndarray, by: int) -> np.ndarray:
            return np.stack([np.roll(array, by * i, axis=0) for i in range(MEMBERS)])

        outputs = rolled(self.output, 1)
        for whose, y in (("their own", rolled(self.y, 2)), ("one", None)):
            value, grad = self.ask(backend, dtype, outputs, self.y if y is None else y)
            for i, output in enumerate(outputs):
                alone = self.ask(backend, dtype, output, self.y if y is None else y[i])
                words = f"of {MEMBERS} members with {whose} y, as alone, for member {i}"
                _compare(self.name, words, (value[i], grad[i]), alone, dtype)

    def check_classes(self, backend: Backend, dtype: str) -> None:
        on, target = self._on(backend, dtype, self.output, self.y)
        xp, share = backend.xp, Share(len(self.output))
        rate = float(backend.to_host(self.loss.accuracy(xp, on, target, share)))
        require(self.name, 0 <= rate <= 1, f"its accuracy must be from 0 to 1, not {rate:.6g}")
        if not self.loss.probabilistic:
            return
        p = backend.to_host(self.loss.probabilities(xp, on))
        words = "its probabilities must be from 0 to 1, of the shape of the output"
        inside = p.shape == self.output.shape and ((p >= 0) & (p <= 1)).all()
        require(self.name, inside, words)

    def check_steps(self, backend: Backend, dtype: str, recorded: bool) -> None:
        """Steps of a network whose outputs are the given ones to begin with."""
        samples, outputs = self.output.shape
        net, optimizer = xn.Sequential(xn.Linear(samples, outputs)), xn.Momentum(lr=1e-3)
        step = TrainingStep(backend.xp, net, self.loss, optimizer)
        host = np.concatenate([self.output.T.ravel(), np.zeros(outputs)])
        for members in common.networks(backend, dtype):
            theta = host if members is None else np.stack([host] * members)
            with backend.context():
                on = backend.asarray(theta, dtype)
                _, target = self._on(backend, dtype, self.output, self.y)
                data = backend.asarray(np.eye(samples), dtype), target, None
                carry = carry_of(on, optimizer.init(on))
            with pure(self.name, self.loss):
                common.runs_as_written(self.name, backend, step, carry, data, recorded)
