"""Recorded steps compute what the step says, however unusual the step."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.steps import OPTIMIZERS, assert_agree, both, problem
from xpnet.compiler.record import record
from xpnet.layers import ACTIVATIONS
from xpnet.optimizers import Optimizer
from xpnet.training.step import TrainingStep, carry_of


def agree(
    backend: Any,
    layers: tuple[Any, ...],
    optimizer: Any = None,
    loss: Any = None,
    members: int | None = None,
    samples: int = 12,
    threads: int | None = None,
    dtype: str = "float64",
    recorded: bool | None = None,
) -> None:
    """The runner agrees with the plain loop over a network of 4 inputs and 1 output."""
    rng = np.random.default_rng(7)
    # Not Adam: it would divide gradients that are 0 but for their rounding by their own size.
    loss, optimizer = loss or xn.MSE(), optimizer or xn.Momentum(lr=1e-2, weight_decay=0.1)
    net = xn.Sequential(*layers)
    x = backend.asarray(rng.normal(size=(samples, 4)), dtype)
    y = backend.asarray(rng.normal(size=(samples, 1)), dtype)
    theta = net.init(3, like=x, members=members)
    step = TrainingStep(backend.xp, net, loss, optimizer)
    how = {"recorded": recorded, "threads": threads, "own": True}
    results = both(backend, step, theta, (x, y, None), 8, **how)
    assert_agree(results, dtype, 8)


@dataclass(frozen=True)
class OwnLayer(xn.Layer):
    """What the layers below share: inference is the forward pass without its backprop."""

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.forward(xp, params, x)[0]


@dataclass(frozen=True)
class Mask(OwnLayer):
    """A slope of 1 or ¼, by arithmetic of a bool array with Python floats."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        slope = xp.astype(x > 0, x.dtype) * 0.75 + 0.25
        return slope * x, lambda dy, need_dx=True: (slope * dy, ())


@dataclass(frozen=True)
class Centered(OwnLayer):
    """Less the mean over the samples: no sample is by itself."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        def center(a: Any) -> Any:
            return a - xp.sum(a, axis=-2, keepdims=True) / a.shape[-2]

        return center(x), lambda dy, need_dx=True: (center(dy), ())


@dataclass(frozen=True)
class LessFirst(OwnLayer):
    """Less its own first feature, and first sample: an operand that is also read through a view."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        t = x * 1.5
        t = t - t[..., :1]
        t = t - t[..., :1, :]
        y = t * xp.tanh(t)

        def backprop(dy: Any, need_dx: bool = True) -> Any:
            d = (xp.tanh(t) + t * (1 - xp.tanh(t) * xp.tanh(t))) * dy
            return d * 1.5, ()  # not the Jacobian of the subtraction, which does not matter here

        return y, backprop


@dataclass(frozen=True)
class Residual(OwnLayer):
    """``x + x Wᵀ``, whose backprop adds a product of ``dy`` to ``dy``."""

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"W": (4, 4)}

    def draw(self, rng: Any) -> Any:
        return [rng.normal(0, 0.3, (4, 4))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        (W,) = params

        def backprop(dy: Any, need_dx: bool = True) -> Any:
            return dy + dy @ W, (dy.mT @ x,)

        return x + x @ W.mT, backprop


@dataclass(frozen=True)
class Joined(OwnLayer):
    """Its gradient is a concatenation within the concatenation of all."""

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"W": (4, 8)}

    def draw(self, rng: Any) -> Any:
        return [rng.normal(0, 0.3, (4, 8))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        (W,) = params
        t = xp.tanh(x)

        def backprop(dy: Any, need_dx: bool = True) -> Any:
            return None, (xp.concat([dy.mT @ x, dy.mT @ t], axis=-1),)

        return x @ W[..., :4].mT + t @ W[..., 4:].mT, backprop


@dataclass(frozen=True)
class Stacked(OwnLayer):
    """A concatenation along the samples, taken apart again."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        n = x.shape[-2]
        twice = xp.concat([x, x * 2.0], axis=-2)
        y = twice[..., :n, :] + twice[..., n:, :]
        return y, lambda dy, need_dx=True: (dy * 3.0, ())


@dataclass(frozen=True)
class Squared(OwnLayer):
    """A power."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return x**2, lambda dy, need_dx=True: (2 * x * dy, ())


@dataclass(frozen=True)
class Rooted(OwnLayer):
    """Square roots, half of them of zero."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        y = xp.sqrt(xp.maximum(x, 0.0))
        return y, lambda dy, need_dx=True: (y * dy, ())  # not its Jacobian, which is infinite at 0


@dataclass(frozen=True)
class Filled(OwnLayer):
    """Writes into a constant through a view of it, and reads all of it."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        zeros = xp.zeros_like(x)
        first = zeros[..., :1]
        first += 1
        return x + zeros, lambda dy, need_dx=True: (dy, ())


@dataclass(frozen=True)
class Rounded(OwnLayer):
    """By way of whole numbers that floats do not hold, which follow from the data alone."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        whole = (xp.astype(x * 10, xp.int64) + 2**52) - 2**52
        return xp.astype(whole, x.dtype), lambda dy, need_dx=True: (dy, ())


@dataclass(frozen=True)
class Nothing(OwnLayer):
    """Adds the sum of no features."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        y = x + xp.sum(xp.tanh(x[..., 2:2]), axis=(-2, -1))[..., None, None]
        return y, lambda dy, need_dx=True: (dy, ())


LAYERS = {
    "mask": (xn.Linear(4, 4), Mask(), xn.Linear(4, 1)),
    "centered": (xn.Linear(4, 4), Centered(), xn.Linear(4, 1)),
    "less first": (xn.Linear(4, 4), LessFirst(), xn.Linear(4, 1)),
    "residual": (xn.Linear(4, 4), Residual(), xn.Tanh(), Residual(), xn.Linear(4, 1)),
    "joined": (Joined(), xn.Linear(4, 1)),
    "stacked": (xn.Linear(4, 4), Stacked(), xn.Linear(4, 1)),
    "squared": (xn.Linear(4, 4), Squared(), xn.Linear(4, 1)),
    "rooted": (xn.Linear(4, 4), Rooted(), xn.Linear(4, 1)),
    "rounded": (Rounded(), xn.Linear(4, 1)),
    "nothing": (xn.Linear(4, 4), Nothing(), xn.Linear(4, 1)),
    "activation first": (xn.Tanh(), xn.Linear(4, 4), xn.ReLU(), xn.Linear(4, 1)),
    "one layer": (xn.Linear(4, 1),),
    "identity": (xn.Identity(), xn.Linear(4, 1), xn.Identity()),
    "twice": (xn.Linear(4, 4), xn.ReLU(), xn.ReLU(), xn.Linear(4, 1)),
}


@pytest.mark.way("recorded")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(  # one sample is another matter than many to a network and to members
    ("samples", "members"), [(1, None), (12, None), (1, 1), (12, 3)]
)
def test_layers_of_every_kind(recording: Any, name: str, samples: int, members: int | None) -> None:
    agree(recording, LAYERS[name], members=members, samples=samples)


def test_data_may_lie_anyhow_in_memory() -> None:
    """A field of records, whose strides are no whole number of elements; backwards; by columns."""
    rng = np.random.default_rng(7)
    records = np.zeros(12, [("of", "i1"), ("x", "f8", (4,))])
    records["x"] = rng.normal(size=(12, 4))
    plain = np.ascontiguousarray(records["x"])
    y = rng.normal(size=(12, 1))
    net = xn.Sequential(xn.Linear(4, 4), xn.Tanh(), xn.Linear(4, 1))
    step = TrainingStep(np, net, xn.MSE(), xn.Momentum(lr=1e-2))
    theta = net.init(3, like=plain)
    wide = np.zeros((12, 8))
    wide[:, ::-2] = plain
    for rows in (None, np.arange(18).reshape(6, 3) % 12):
        wanted = both(xn.backends.get("numpy"), step, theta, (plain, y, None), 6, rows)[0]
        for x in (records["x"], plain[::-1][::-1], np.asfortranarray(plain), wide[:, ::-2]):
            found = both(xn.backends.get("numpy"), step, theta, (x, y, None), 6, rows)[1]
            assert_agree([wanted, found], "float64", 6)


@dataclass(frozen=True)
class Of(OwnLayer):
    """A function of the input and the namespace, whose backprop is not its Jacobian."""

    function: Any

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return self._of(xp, x), lambda dy, need_dx=True: (self._of(xp, dy), ())

    def _of(self, xp: Any, x: Any) -> Any:
        y = self.function(xp, x)
        return y if y.dtype == x.dtype else xp.astype(y, x.dtype)  # as a layer must


NUMBERS = {
    "least of a NumPy scalar": lambda xp, x: xp.minimum(x, np.float64(0.5)),
    "greatest of a NumPy scalar": lambda xp, x: xp.maximum(np.float64(0.5), x),
    "times NumPy scalars": lambda xp, x: np.float64(0.1) * x * np.float32(0.1) - np.int64(1),
    "scalars of a mask": lambda xp, x: xp.astype(x > 0, x.dtype) * np.float64(2) + np.float64(1),
    "at least minus infinity": lambda xp, x: xp.maximum(x, -math.inf),
    "at most infinity": lambda xp, x: xp.minimum(x, math.inf),
    "beyond infinity": lambda xp, x: x + xp.astype(x > math.inf, x.dtype) * 2.0,
    "one infinity of two": lambda xp, x: xp.exp(xp.astype(x > 0, x.dtype) * 2.0 + -math.inf) + x,
    "infinite slope": lambda xp, x: xp.minimum(x, xp.astype(x > 0, x.dtype) * math.inf + 1.0),
    "not a number": lambda xp, x: xp.maximum(x, math.nan),
    "beyond single precision": lambda xp, x: xp.minimum(x, 1e300) + 1e-300 * x + x / 1e300,
    "less much": lambda xp, x: xp.exp(x - 1e300 * xp.abs(x)) + x,
    "large whole numbers": lambda xp, x: x + (x > 1 << 62) * x,
    "truth": lambda xp, x: xp.maximum(x, False) * True,
}


@pytest.mark.way("recorded")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("fixture", ["backend", "recording"])
def test_numbers_of_every_kind(
    fixture: str, name: str, dtype: str, backend: Any, request: Any
) -> None:
    layers = xn.Linear(4, 4), Of(NUMBERS[name]), xn.Linear(4, 1)
    agree(request.getfixturevalue(fixture), layers, dtype=dtype)


MASKS = {
    "infinite slope": lambda xp, x: xp.astype(x > 0, x.dtype) * 1e300 + 1.0,
    "less than infinite slope": lambda xp, x: xp.astype(x > 0, x.dtype) * -1e300 - 1.0,
    "sum beyond": lambda xp, x: xp.astype(x > 0, x.dtype) * 3e38 + 3e38,
    "sum of nearly nothing": lambda xp, x: (xp.astype(x > 0, x.dtype) * -0.1 + 0.1000000001) * 1e9,
    "negative zero": lambda xp, x: 1 / (xp.astype(x > 0, x.dtype) * 2.0 + -0.0),
}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(
    "name",
    # XLA itself makes a choice between 0 and infinity of those, under every jit.
    [
        pytest.param(name, marks=pytest.mark.way("recorded", "plain") if "infinite" in name else ())
        for name in MASKS
    ],
)
def test_arithmetic_on_masks_has_the_numbers_of_the_plain_loop(
    backend: Any, name: str, members: int | None
) -> None:
    """Times infinity, of which a choice between two values knows nothing: 0 times it is NaN."""

    def function(xp: Any, x: Any) -> Any:
        return xp.minimum(x, MASKS[name](xp, x))

    layers = xn.Linear(4, 4), Of(function), xn.Linear(4, 1)
    recorded = True if backend.way == "recorded" else None
    with np.errstate(over="ignore"):  # JAX makes 1e300 a number of float32 by way of NumPy
        agree(backend, layers, dtype="float32", members=members, recorded=recorded)


def _place(xp: Any, x: Any) -> Any:
    return xp.argmax(x, axis=-1, keepdims=True)


MIXED = {
    "mask less": lambda xp, x: x - 0.5 * (x > 0),
    "mask more": lambda xp, x: x + 0.5 * (x > 0),
    "mask of mask": lambda xp, x: (x > 0) + (x > 0.5) * x,
    "mask first": lambda xp, x: (x > 0) + x * x,
    "mask divided": lambda xp, x: x - 0.5 * ((x > 0) / (x * x + 1)),
    "divided by mask": lambda xp, x: x - 0.5 * (x / ((x > 0) + 1.5)),
    "places": lambda xp, x: x + _place(xp, x) * x,
    "less places": lambda xp, x: x - 0.25 * _place(xp, x),
    "places plus product": lambda xp, x: _place(xp, x) + x @ x.mT @ x,
    "mask plus product": lambda xp, x: (x > 0) + x @ x.mT @ x,
    "sum of places": lambda xp, x: x + xp.astype(_place(xp, x) + 2 * _place(xp, x), x.dtype),
    "single": lambda xp, x: x + xp.astype(x, xp.float32) * x,
    "less single": lambda xp, x: x - 0.5 * xp.astype(x, xp.float32),
}


@pytest.mark.way("recorded")
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MIXED)
def test_operands_of_every_dtype(
    recording: Any, name: str, dtype: str, members: int | None
) -> None:
    layers = xn.Linear(4, 4), Of(MIXED[name]), xn.Tanh(), xn.Linear(4, 1)
    agree(recording, layers, members=members, dtype=dtype)


COUNTERS = {
    "growing beyond every float": lambda xp, step: 1 / (1 + xp.exp(60 * step * step)),
    "not a number": lambda xp, step: xp.maximum(step, xp.log(2.5 - step)),
    "not a number first": lambda xp, step: xp.minimum(xp.log(2.5 - step), step),
    "whole numbers": lambda xp, step: xp.astype(xp.astype(step * 0.5, xp.int64), step.dtype),
    "truth values": lambda xp, step: xp.astype((step > 1) + (step > 2), step.dtype),
    "NumPy scalars": lambda xp, step: np.float64(0.1) / (1 + np.float64(0.1) * step),
}


@dataclass(frozen=True, eq=False)
class Counting(Optimizer):
    """A rate that is some function of the number of steps."""

    rate: Any = None

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {"count": xp.sum(xp.zeros_like(theta)), "far": xp.sum(xp.zeros_like(theta))}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        step = state["count"]
        rate = self.rate(xp, step)
        far = xp.exp(60 * step)  # at last beyond single precision
        moved = theta - rate * (1e-2 * grad) - grad * rate
        if moved.dtype != theta.dtype:  # by a number of NumPy's, and a step must keep it
            moved = xp.astype(moved, theta.dtype)
        return moved, {"count": step + 1, "far": far}


@pytest.mark.way("recorded")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", COUNTERS)
def test_counters_of_every_kind(recording: Any, name: str, dtype: str) -> None:
    agree(recording, (xn.Linear(4, 1),), Counting(COUNTERS[name]), dtype=dtype)


@dataclass(frozen=True, eq=False)
class Precise(Optimizer):
    """Its 0-d state is of float64 beside parameters of float32, alone and with what is theirs."""

    dtype: Any

    def numbers(self) -> Any:
        return {}

    def init_state(self, xp: Any, theta: Any) -> Any:
        zero = xp.sum(xp.zeros_like(theta))
        double = xp.astype(zero, self.dtype)
        return {"small": double + 1.0, "way": double + 1.0}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        small = state["small"] + 1e-12
        way = state["way"] + 1e-12 * xp.sum((grad * grad)[None, :], axis=(-2, -1))
        rate = xp.astype(small * 1e-2, theta.dtype)
        theta = xp.astype(theta - (rate * grad) / small, theta.dtype)
        return theta, {"small": small, "way": way}


@pytest.mark.parametrize("threads", [1, 3])
def test_0d_state_of_another_dtype_is_computed_in_its_own(recording: Any, threads: int) -> None:
    net, theta, loss, data = problem(recording, "MSE", xn.Tanh(), None, "float32")
    optimizer = Precise(recording.xp.float64)
    step = TrainingStep(recording.xp, net, loss, optimizer)
    results = both(recording, step, theta, data, 6, recorded=None, threads=threads, own=True)
    assert_agree(results, "float32", 6)
    (_, plain, _), (_, found, _) = results
    own = [state[name] for state in (plain, found) for name in ("small", "way")]
    assert {a.dtype for a in own} == {np.dtype("float64")}
    # 1e-12 at a time, to which the gradients of float32 add with their own roundings.
    assert abs(found["small"] - 1 - 6e-12) <= 12 * 2.0**-52
    grads = plain["way"] - 1
    assert abs(found["way"] - plain["way"]) <= 6 * 1000 * 2.0**-23 * grads + 12 * 2.0**-52


@dataclass(frozen=True, eq=False)
class Whole(Optimizer):
    """Counts in integers: sums, products, comparisons and the greater of two."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        zero = xp.count_nonzero(xp.zeros_like(theta), axis=-1, keepdims=theta.ndim > 1)
        return {"sum": zero, "bits": zero + 2**52}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        total, bits = state["sum"] * 3 - 2, state["bits"] + 1
        late = xp.astype(bits > 2**52 + 2, theta.dtype)
        rate = 1e-2 / (4 + xp.astype(-total, theta.dtype)) + 1e-2 * late
        return theta - rate * grad, {"sum": total, "bits": bits}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_integers_of_the_state_stay_integers(
    recording: Any, threads: int, members: int | None
) -> None:
    net, theta, loss, data = problem(recording, "MSE", xn.Tanh(), members, "float64")
    step = TrainingStep(recording.xp, net, loss, Whole())
    kept = True if recording.way == "recorded" else None
    results = both(recording, step, theta, data, 6, recorded=kept, threads=threads, own=True)
    assert_agree(results, "float64", 6)
    for _, state, _ in results:
        assert (state["sum"] == 1 - 3**6).all() and (state["bits"] == 2**52 + 6).all()


@dataclass(frozen=True, eq=False)
class OldMoment(Optimizer):
    """Uses its moment both before and after the update of it."""

    lr: float = 1e-3

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {"v": xp.zeros_like(theta)}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        before = state["v"]
        return theta - self.lr * (before * grad + grad), {"v": 0.9 * before + grad}


@dataclass(frozen=True, eq=False)
class Swapping(Optimizer):
    """Two moments that change places."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {"a": xp.zeros_like(theta), "b": xp.ones_like(theta)}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - 1e-3 * grad * state["b"], {"a": state["b"], "b": state["a"] + grad}


@dataclass(frozen=True, eq=False)
class Neighbour(Optimizer):
    """Looks beyond single parameters: at its first and its last."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        theta = theta - 1e-3 * grad
        return theta - 1e-3 * theta[..., -1:] - 1e-3 * theta[..., :1], state


@dataclass(frozen=True, eq=False)
class Named(Optimizer):
    """Its state has names that no variable could have, or that of what it moves."""

    mean: str

    def init_state(self, xp: Any, theta: Any) -> Any:
        zero = xp.sum(xp.zeros_like(theta))
        return {self.mean: theta + 1.0, "number of steps": zero, "class": zero + 1.0}

    def numbers(self) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        mean, steps = 0.5 * (state[self.mean] + theta), state["number of steps"] + 1
        after = {self.mean: mean, "number of steps": steps, "class": state["class"] * 0.5}
        return theta - grad / (50 * steps) - 1e-2 * state["class"] * mean, after


@dataclass(frozen=True, eq=False)
class Long(Optimizer):
    """Its state is longer than theta."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {"v": xp.ones_like(xp.concat([theta, theta], axis=-1))}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - 1e-2 * grad, {"v": 0.5 * state["v"]}


@dataclass(frozen=True, eq=False)
class Norm(Optimizer):
    """Its counter follows from the gradients: a moving norm, by which it divides."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        zero = xp.sum(xp.zeros_like(theta))
        return {"norm": zero, "last": zero + 0.0, "first": zero + 0.0}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        norm = 0.5 * state["norm"] + xp.sum((grad * grad)[None, :], axis=(-2, -1))
        theta = theta - 1e-2 * grad / (1 + state["last"] + norm)
        theta = theta - state["last"] * (1e-4 * grad) - state["first"] * (1e-2 * grad)
        return theta, {"norm": norm, "last": norm, "first": grad[0]}


@dataclass(frozen=True, eq=False)
class First(Optimizer):
    """Looks at its first parameter, while all are changed."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - 1e-2 * (theta[..., :1] * grad), state


@pytest.mark.way("recorded")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "optimizer",
    [
        OldMoment(),
        Swapping(),
        Neighbour(),
        First(),
        Long(),
        Norm(),
        Named("theta"),
        Named("mean θ"),
    ],
    ids=repr,
)
def test_optimizers_of_every_kind(recording: Any, optimizer: Any, threads: int) -> None:
    layers = LAYERS["activation first"]
    agree(recording, layers, optimizer=optimizer, samples=40, threads=threads)


@dataclass(frozen=True, eq=False)
class Divided(Optimizer):
    """Large numbers divided by one another and multiplied: by a number, or by the step's."""

    rate: float | None = None

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {"count": xp.sum(xp.zeros_like(theta))}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        rate = state["count"] if self.rate is None else self.rate
        t = grad / (xp.abs(grad) + 1)
        d = 3e37 * (t * t + 1)
        return theta - rate * (3e37 * t / d), {"count": state["count"] + 5.0}


@pytest.mark.way("recorded")
@pytest.mark.parametrize("rate", [None, 0.5, 20.0, -20.0])
def test_a_quotient_is_multiplied_only_then(recording: Any, rate: float | None) -> None:
    agree(recording, (xn.Linear(4, 1),), Divided(rate), dtype="float32", recorded=True)


def _bound(m: Any, other: Any) -> Any:
    """``m`` after an augmented assignment, which writes into it on most libraries."""
    m *= 0.5
    m += other
    return m


def _old_name(xp: Any, grad: Any, m: Any, n: Any) -> Any:
    _bound(m, grad)
    return m, m, n


def _old_result(xp: Any, grad: Any, m: Any, n: Any) -> Any:
    return _bound(m, grad), m, n


def _view_from_before(xp: Any, grad: Any, m: Any, n: Any) -> Any:
    first = xp.reshape(m, (*m.shape[:-1], 1, -1)).mT[..., 0]
    after = _bound(m, grad)
    return after + first, after, n


def _through_a_view(xp: Any, grad: Any, m: Any, n: Any) -> Any:
    _bound(m[..., 1:], grad[..., 1:])
    return m + grad, m, n


def _through_a_view_from_before(xp: Any, grad: Any, m: Any, n: Any) -> Any:
    view = m[..., :2]
    m = _bound(m, grad)
    m = m + _bound(view, grad[..., :2])[..., :1]
    return m, m + grad, n


def _two_names(xp: Any, grad: Any, m: Any, n: Any) -> Any:
    m = _bound(m, grad)
    turned = xp.concat([m[..., 1:], m[..., :1]], axis=-1)
    return m + n, turned, turned


STEPS = [
    *(_old_name, _old_result, _view_from_before, _through_a_view, _through_a_view_from_before),
    _two_names,
]


@dataclass(frozen=True, eq=False)
class Writing(Optimizer):
    """Writes into its moments, and goes on with another name for them than the one it bound."""

    direction: Any = None

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {"m": xp.ones_like(theta), "n": xp.zeros_like(theta)}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        d, m, n = self.direction(xp, grad, state["m"], state["n"])
        return theta - 1e-2 * d, {"m": m, "n": n}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("direction", STEPS, ids=lambda step: step.__name__)
def test_an_array_that_was_written_into_is_read_as_the_step_says(
    recording: Any, direction: Any, members: int | None
) -> None:
    agree(recording, LAYERS["activation first"], optimizer=Writing(direction), members=members)


def test_a_copy_of_an_array_that_is_written_into_is_none_of_it(recording: Any) -> None:
    def direction(xp: Any, grad: Any, m: Any, n: Any) -> Any:
        before = xp.astype(m, m.dtype)
        m = _bound(m, grad)
        return m + before, m, n

    layers, optimizer = LAYERS["activation first"], Writing(direction)
    agree(recording, layers, optimizer=optimizer, recorded=recording.way == "recorded" or None)


@dataclass(frozen=True)
class WritingLayer(OwnLayer):
    """Writes into its input, and into what it was before."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        before = x
        x *= 2.0
        return x + before, lambda dy, need_dx=True: (dy * 4.0, ())


@dataclass(frozen=True)
class WritingWeights(OwnLayer):
    """Writes into its weights, and so into theta."""

    out_features = 1

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"W": (1, 4)}

    def draw(self, rng: Any) -> Any:
        return [rng.normal(0, 0.3, (1, 4))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        (W,) = params
        W *= 0.5
        return x @ W.mT, lambda dy, need_dx=True: (dy @ W, (dy.mT @ x,))


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("layer", [WritingLayer(), WritingWeights()], ids=repr)
def test_a_layer_that_writes_into_what_others_keep_does_so(
    recording: Any, layer: Any, members: int | None
) -> None:
    layers = (xn.Linear(4, 4), xn.Tanh(), layer)
    if isinstance(layer, WritingLayer):
        layers = (*layers, xn.Linear(4, 1))
    agree(recording, layers, members=members)


@pytest.mark.way("recorded")
@pytest.mark.parametrize(  # each optimizer with members and without; the losses by turns
    ("loss", "members"),
    [
        *(("BCE", None), ("BCEWithLogits", 3), ("CrossEntropy", None), ("MSE", None), ("MSE", 3)),
        *(("Huber", None), ("L1", 3), ("Quantile", None), ("Poisson", 3), ("Hinge", None)),
        ("KL", 3),
    ],
)
def test_all_layers_losses_and_optimizers_of_xpnet_are_recorded(
    recording: Any, loss: str, members: int | None
) -> None:
    rows = recording.asarray(np.arange(5), "int64")
    # What is recorded of one part is nothing to another: each with each is not asked for.
    assert len(OPTIMIZERS) >= len(ACTIVATIONS)
    for activation, optimizer in zip(itertools.cycle(ACTIVATIONS.values()), OPTIMIZERS.values()):
        net, theta, criterion, data = problem(recording, loss, activation(), members, "float32")
        weight = recording.asarray(np.ones((12, 1)), "float32")
        step = TrainingStep(recording.xp, net, criterion, optimizer)
        carry = carry_of(theta, optimizer.init(theta, net))
        record(step, recording.xp, carry, data)
        record(step, recording.xp, carry, (*data[:2], weight), rows)


@dataclass(frozen=True)
class Summed(xn.Loss):
    """A sum, not a mean: twice the batch, twice the loss; its accuracy is the greatest error."""

    classifies = True

    def forward(self, xp: Any, output: Any, target: Any, share: Any) -> Any:
        r = output - target
        return xp.sum(r * r, axis=(-2, -1)), lambda: 2 * r

    def accuracy(self, xp: Any, output: Any, target: Any, share: Any) -> Any:
        return -xp.max(xp.abs(output - target), axis=(-2, -1))


@pytest.mark.way("recorded")
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_losses_of_every_kind(recording: Any, threads: int, members: int | None) -> None:
    agree(recording, LAYERS["twice"], loss=Summed(), threads=threads, members=members)


@pytest.mark.parametrize("name", ["centered", "mask", "joined"])
def test_threads_split_only_what_is_a_mean_over_samples(name: str) -> None:
    agree(xn.backends.get("numpy"), LAYERS[name], threads=3, samples=40)


def test_many_samples_and_one_output(backend: Any) -> None:
    """Arrays beyond a block whose last bias has a single element."""
    rng = np.random.default_rng(0)
    x = backend.asarray(rng.normal(size=(40_000, 2)), "float64")
    y = backend.asarray(rng.integers(0, 2, (40_000, 1)), "float64")
    net = xn.Sequential(xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, 1))
    loss = xn.BCEWithLogits()
    step = TrainingStep(backend.xp, net, loss, xn.Adam())
    theta = net.init(0, like=x)
    (a, _, _), (b, _, _) = both(backend, step, theta, (x, y, None), 2, own=True)
    # Sums of 40,000 terms in another order, which Adam divides by their own size.
    np.testing.assert_allclose(b, a, rtol=0, atol=40_000 * 2.0**-52)


def test_many_members_and_shared_data(backend: Any) -> None:
    net, theta, loss, data = problem(backend, "BCE", xn.LeakyReLU(), 600, "float64")
    step = TrainingStep(backend.xp, net, loss, xn.Adam(lr=1e-2))
    assert_agree(both(backend, step, theta, data, 3, own=True), "float64", 3)


def test_optimizers_of_users_compare_by_all_their_numbers() -> None:
    @dataclass(frozen=True, eq=False)
    class Lion(Optimizer):
        lr: float = 1e-3
        betas: tuple[float, float] = (0.9, 0.99)
        init_state = step = None  # type: ignore[assignment]

    assert Lion(betas=(0.9, 0.99)) == Lion(betas=(0.9, 0.99))
    assert Lion(betas=(0.9, 0.99)) != Lion(betas=(0.5, 0.99))
    assert Lion(lr=1.0) != Lion(lr=2.0)


def test_a_program_is_freed_with_its_last_reference() -> None:
    import gc
    import weakref

    backend = xn.backends.get("numpy")
    net, theta, loss, data = problem(backend, "BCE", xn.ReLU(), None, "float64")
    runner: Any = backend.runner(TrainingStep(np, net, loss, xn.Adam()))
    carry = carry_of(theta, xn.Adam().init(theta))
    runner(carry, data, 2)
    program = weakref.ref(runner.program(carry, data))
    gc.disable()
    try:
        del runner
        assert program() is None
    finally:
        gc.enable()


@pytest.mark.way("recorded")
def test_a_constant_written_into_through_a_view_is_spent(recording: Any) -> None:
    agree(recording, (xn.Linear(4, 4), Filled(), xn.Linear(4, 1)))


@dataclass(frozen=True, eq=False)
class ByLength(Optimizer):
    """A rate by the number of parameters."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - grad * (0.1 / theta.shape[-1]), state


@dataclass(frozen=True, eq=False)
class Masked(Optimizer):
    """A mask of its own, one number a member, which is no part of the state."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - 0.1 * grad * self.mask, state


def test_an_optimizer_may_ask_how_many_parameters_there_are(backend: Any) -> None:
    wide = xn.Linear(4, 64), xn.Linear(64, 1)  # so that each thread has some
    agree(backend, wide, ByLength(), threads=3)


def test_an_optimizer_may_have_one_number_a_member_of_its_own(backend: Any) -> None:
    optimizer = Masked()
    object.__setattr__(optimizer, "mask", backend.asarray([[1.0], [0.0], [0.5]], "float64"))
    agree(backend, (xn.Linear(4, 4), xn.Linear(4, 1)), optimizer, members=3)
