"""Every operation that is recorded gives what the library gives, whatever numbers and shapes."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet as xn
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.plain import run_plainly
from xpnet.compiler.record import record
from xpnet.training.step import TrainingStep, carry_of


@dataclass(frozen=True)
class Once:
    """A step that changes nothing and tells some function of the carry."""

    xp: Any
    function: Any

    def __call__(self, carry: Any, batch: Any) -> Any:
        theta = carry["theta"]
        return {"theta": theta * 1.0}, {"out": self.function(self.xp, theta)}

    def select(self, data: Any, rows: Any) -> Any:
        return data


def check(
    backend: Any,
    function: Any,
    values: np.ndarray,
    dtype: str,
    grown: float = 1.0,
    recorded: bool | None = True,
) -> None:
    """The program of ``function`` gives what the plain loop gives, in its dtype and shape."""
    theta = backend.asarray(values, dtype)
    step = Once(backend.xp, function)
    data = (backend.asarray(np.zeros((1, 1)), dtype),)
    results = []
    runner = backend.runner(step)
    with backend.context():
        for run in (lambda *a: run_plainly(backend.xp, step, *a), runner):
            carry = {"theta": backend.xp.asarray(theta, copy=True)}
            _, metrics = run(carry, data, 2)
            results.append(backend.to_host(metrics["out"]))
    if recorded:
        assert all(program is not None for _, program in runner.programs.values())
    plain, replayed = results
    assert replayed.dtype == plain.dtype
    assert replayed.shape == plain.shape
    # Sums of at most 60 terms in another order; a cubic, or a function of a sum, has a few more.
    bound = min(128 * np.finfo(dtype).eps * grown, 1e-3)
    finite = np.abs(values[np.isfinite(values)])
    scale = max(1.0, finite.max(initial=0.0)) ** 2
    np.testing.assert_allclose(replayed, plain, rtol=bound, atol=bound * scale)


def _write_where(xp: Any, x: Any) -> Any:
    y = x * 2.0
    y = xp.where(y > 1, y, x)
    y += 1.0
    return xp.where(x > 0, x, y)


def _write_roll(xp: Any, x: Any) -> Any:
    y = xp.roll(x, 1, axis=-1)
    y *= 2.0
    return y + x


def _bits(xp: Any, n: Any) -> Any:
    return ((n & 12) | (n ^ (n << 3))) + (n >> 1) - (~n & (7 | n))


def _mixed(xp: Any, n: Any) -> Any:
    """A round of a counter-based generator, on words of 32 bits in 64."""
    n = (n + (n << 13)) & 0xFFFFFFFF
    n ^= n >> 19
    return (n << 1) & 0xFFFFFFFF


def _named(xp: Any, n: Any) -> Any:
    both = xp.bitwise_and(xp.bitwise_xor(n, n + 5), xp.bitwise_invert(n))
    return xp.bitwise_or(
        both, xp.bitwise_right_shift(xp.bitwise_left_shift(n, n * 0 + 2), n * 0 + 1)
    )


def _whole(n: Any) -> Any:
    return (n * n - 3) // 7 + n % 5 + abs(-n)


def _last(xp: Any, x: Any) -> Any:
    """Places that follow from numbers, along the last axis."""
    return xp.argmax(xp.reshape(x, (-1, x.shape[-1])), axis=-1)


def _layer_norm(xp: Any, x: Any) -> Any:
    mean, var = xp.mean(x, axis=-1, keepdims=True), xp.var(x, axis=-1, keepdims=True)
    return (x - mean) / xp.sqrt(var + 1e-5)


def _gelu(xp: Any, x: Any) -> Any:
    return 0.5 * x * (1 + xp.tanh(0.7978845608 * (x + 0.044715 * x**3)))


FUNCTIONS = {
    **{f"x**{n}": (lambda xp, x, n=n: x**n) for n in (0, 1, 2, 3, 4, 5, -1, -2, 0.5, 1.5, -0.5)},
    **{f"pow {n}": (lambda xp, x, n=n: xp.pow(x, n)) for n in (2, 3, 2.5)},
    "pow of arrays": lambda xp, x: xp.abs(x) ** x,
    "2**x": lambda xp, x: 2.0**x,
    "augmented": lambda xp, x: _augmented(x * 1.0),
    **{
        name: (lambda xp, x, name=name: getattr(xp, name)(x))
        for name in (
            *("square", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "sign", "floor"),
            *("ceil", "trunc", "round", "isfinite", "isinf", "isnan", "signbit", "reciprocal"),
            *("abs", "exp", "expm1", "tanh"),
        )
    },
    **{
        name: (lambda xp, x, name=name: getattr(xp, name)(xp.abs(x)))
        for name in ("log", "log1p", "log2", "log10", "sqrt")
    },
    "asin": lambda xp, x: xp.asin(x / 10) + xp.acos(x / 10) + xp.atanh(x / 10) + xp.acosh(x),
    "atan2": lambda xp, x: xp.atan2(x, x * 2.0 - 1.0),
    "hypot": lambda xp, x: xp.hypot(x, x + 1.0),
    "copysign": lambda xp, x: xp.copysign(x, 1.0 - x),
    "remainder": lambda xp, x: x % 0.7 + xp.remainder(x, x + 0.5),
    "floor_divide": lambda xp, x: x // 0.7,
    "where": lambda xp, x: xp.where(x > 0, x, x * 0.1),
    "where number": lambda xp, x: xp.where(x > 0, x, 0.0) + xp.where(x > 1, -1.0, x),
    "where not": lambda xp, x: xp.where(~(x > 0) ^ (x > 1), x, -x),
    "where of where": lambda xp, x: xp.where(x > 0, xp.where(x > 1, x * x, x), xp.exp(x)),
    "where of a row": lambda xp, x: xp.where(x[..., :1, :] > 0, x, x[..., :1]),
    "where of bools": lambda xp, x: xp.where(x > 0, x > 1, x < -1),
    "bits": lambda xp, x: xp.astype(_bits(xp, xp.astype(x * 10, xp.int32)), x.dtype),
    "bits of words": lambda xp, x: xp.astype(_mixed(xp, xp.astype(x * 1e6, xp.int64)), x.dtype),
    "bitwise functions": lambda xp, x: xp.astype(_named(xp, xp.astype(x * 10, xp.int64)), x.dtype),
    "whole numbers": lambda xp, x: xp.astype(_whole(xp.astype(x * 10, xp.int64)), x.dtype),
    "take of places": lambda xp, x: xp.take(x, _last(xp, x), axis=-1) * 2.0,
    "take of rows": lambda xp, x: xp.take(x, _last(xp, x.mT), axis=-2),
    "sum of whole numbers": lambda xp, x: xp.sum(xp.astype(x * 10, xp.int64), axis=-2),
    "logical_not": lambda xp, x: xp.logical_not(x > 0) | xp.logical_xor(x > 0, x > 1),
    "clip": lambda xp, x: xp.clip(x, -0.5, 0.5),
    "clip below": lambda xp, x: xp.clip(x, min=0.25),
    "clip above": lambda xp, x: xp.clip(x, max=0.25),
    "flip": lambda xp, x: xp.flip(x, axis=-1) + xp.flip(x, axis=-2),
    "flip all": lambda xp, x: xp.flip(x),
    "roll": lambda xp, x: xp.roll(x, 2, axis=-1) - xp.roll(x, -1, axis=-2),
    "cumulative_sum": lambda xp, x: xp.cumulative_sum(x, axis=-1) + xp.cumulative_sum(x, axis=-2),
    "stack": lambda xp, x: xp.stack([x, x * 2.0], axis=0),
    "stack last": lambda xp, x: xp.sum(xp.stack([x, -x, x * x], axis=-1), axis=-1),
    "concat": lambda xp, x: xp.concat([x, x * 2.0], axis=-2),
    "concat first": lambda xp, x: xp.concat([x, xp.sqrt(xp.abs(x))], axis=0),
    "expand": lambda xp, x: xp.expand_dims(x, axis=-1) + xp.expand_dims(x, axis=-2),
    "squeeze": lambda xp, x: xp.squeeze(xp.sum(x, axis=-1, keepdims=True), axis=-1),
    "permute": lambda xp, x: xp.permute_dims(x, tuple(range(x.ndim))[::-1]) * 2.0,
    "transpose": lambda xp, x: xp.matmul(xp.matrix_transpose(x), x),
    "broadcast": lambda xp, x: xp.broadcast_to(x[..., :1], x.shape) + x,
    "vecdot": lambda xp, x: xp.vecdot(x, x),
    "constants": lambda xp, x: x + xp.ones((x.shape[-1],), dtype=x.dtype) * xp.pi,
    "written where": _write_where,
    "written roll": _write_roll,
    "layer norm": _layer_norm,
    "gelu": _gelu,
    "std": lambda xp, x: xp.std(x, axis=-1) + xp.var(x, axis=-1, correction=1),
    "maximum of cumulative_sum": lambda xp, x: xp.max(xp.cumulative_sum(x, axis=-1), axis=-1),
}


def _augmented(y: Any) -> Any:
    y **= 2
    y %= 3.0
    y //= 0.5
    return y


ORDINARY = np.random.default_rng(3).normal(size=(3, 4, 5)) * 2
AWKWARD = np.array([[math.nan, math.inf, -math.inf, 0.0], [-0.0, 1.0, -2.5, 0.5]])


@pytest.mark.way("recorded")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_gives_what_the_library_gives(recording: Any, name: str, dtype: str) -> None:
    for values in (ORDINARY, ORDINARY[0], ORDINARY[:1, :1], AWKWARD):
        check(recording, FUNCTIONS[name], values, dtype)


REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "mean", "var", "std")


@pytest.mark.way("recorded")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction_over_any_axes(
    recording: Any, name: str, keepdims: bool, dtype: str
) -> None:
    for values in (ORDINARY, ORDINARY[0], AWKWARD):
        axes: list[Any] = [None, -1, -2, 0, 1]
        if not name.startswith("arg"):
            axes += [(-2, -1), (0, 1), (0, -1)][: 3 if values.ndim == 3 else 2]
        for axis in axes:
            if name.startswith("arg") and axis is None and keepdims:
                continue  # array-api-compat on PyTorch has no such argmax
            function = _reduced(name, axis, keepdims)
            check(recording, function, values, dtype)


def _reduced(name: str, axis: Any, keepdims: bool) -> Any:
    def function(xp: Any, x: Any) -> Any:
        a = (x > 0) if name in ("any", "all") else x
        return getattr(xp, name)(a, axis=axis, keepdims=keepdims)

    return function


UNARY = ("square", "sin", "flip", "roll", "cumulative_sum", "tanh", "exp", "abs", "cube")
BINARY = ("add", "multiply", "subtract", "maximum", "where", "stack", "concat", "mean")
LINES = st.lists(
    st.tuples(
        st.sampled_from((*UNARY, *BINARY)),
        st.integers(0, 20),
        st.integers(0, 20),
        st.sampled_from((None, "add", "multiply")),
    ),
    min_size=2,
    max_size=10,
)


def _run(lines: Any, xp: Any, x: Any) -> Any:
    """A program of such lines: each makes a value of earlier ones and may write into it."""
    values = [x, xp.tanh(x)]
    for name, i, j, then in lines:
        a, b = values[i % len(values)], values[j % len(values)]
        if name in ("flip", "roll", "cumulative_sum"):
            more = {"shift": 1} if name == "roll" else {}
            y = getattr(xp, name)(a, *more.values(), axis=-1 - j % 2)
        elif name == "cube":
            y = a**3
        elif name in UNARY:
            y = getattr(xp, name)(a)
        elif name == "where":
            y = xp.where(values[j % 2] > 0.1, a, b * 0.5)
        elif name == "stack":
            y = xp.stack([a, b], axis=-1)[..., i % 2]
        elif name == "concat":
            y = xp.concat([a, b], axis=-2)[..., 1 : 1 + x.shape[-2], :]
        elif name == "mean":
            y = a - xp.mean(b, axis=-1 - i % 2, keepdims=True)
        else:
            y = getattr(xp, name)(a, b)
        y = xp.maximum(xp.minimum(y, 3.0), -3.0)
        if then == "add":
            y += a if name != "abs" else 1.0
        elif then == "multiply":
            y *= 0.5
        values.append(y)
    return sum(values[2:], values[1])


@pytest.mark.way("recorded")
@settings(max_examples=40)
@given(lines=LINES, members=st.sampled_from([None, 3]))
def test_random_programs_give_what_the_plain_loop_gives(
    recording: Any, lines: Any, members: int | None
) -> None:
    values = ORDINARY if members else ORDINARY[0]
    # An error grows by 27 at most with each line, of a cube within [-3, 3].
    check(recording, lambda xp, x: _run(lines, xp, x), values, "float64", grown=27.0 ** len(lines))


@dataclass(frozen=True)
class Sorted(xn.Layer):
    """A layer of an operation that no program has."""

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.forward(xp, params, x)[0]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return xp.sort(x, axis=-1), lambda dy, need_dx=True: (dy, ())


@pytest.mark.parametrize("members", [None, 40])
def test_a_fit_that_runs_plainly_says_so_once_and_where(backend: Any, members: Any) -> None:
    """Where a program is what one gets otherwise: NumPy and PyTorch."""
    x = backend.asarray(np.ones((4, 2)), "float64")
    net = xn.Sequential(xn.Linear(2, 3), Sorted(), xn.Linear(3, 2))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        xn.fit(
            net, x, x, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=3, seed=0, check_every=1,
            members=members, block=None if members is None else 10,
        )  # fmt: skip
    told = [w for w in told if "operation by operation" in str(w.message)]
    assert len(told) == (backend.way == "recorded")
    for warning in told:
        assert warning.category is RuntimeWarning
        assert "xp.sort is not recorded (Sorted.forward, line " in str(warning.message)
        assert members is not None or warning.filename == __file__


@pytest.mark.way("recorded")
@pytest.mark.parametrize("name", ["x.sum", "x.mean"])
def test_a_method_beyond_the_standard_is_named(backend: Any, name: str) -> None:
    step = Once(backend.xp, lambda xp, x: x + getattr(x, name[2:])())
    theta = backend.asarray(ORDINARY[0], "float64")
    with pytest.raises(Untraceable, match=f"{name} is not recorded: arrays of the standard"):
        record(step, backend.xp, {"theta": theta}, ())


class Changing(xn.Layer):
    """A layer that counts its calls, keeps a running mean or draws noise."""

    def __init__(self, kind: str) -> None:
        self.kind, self.calls, self.mean = kind, 0, 0.0
        self.rng = np.random.default_rng(0)
        rng = np.random.RandomState(0)
        self.noise = lambda: rng.normal()
        self.kept: Any = None

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        self.kept = x * 1.0
        if self.kind == "calls":
            self.calls += 1
        if self.kind == "mean":
            self.mean = self.mean * 0.9 + xp.mean(x) * 0.1
        more = {"rng": self.rng.normal, "noise": self.noise}.get(self.kind, lambda: 0.0)()
        return x + 0 * float(more), lambda dy, need_dx=True: (dy + 0 * self.kept, ())


@pytest.mark.parametrize("kind", ["calls", "mean", "rng", "noise"])
def test_a_layer_that_changes_itself_is_refused(backend: Any, kind: str) -> None:
    if kind == "mean" and backend.way == "plain":
        kind = "calls"  # where steps run as written an array of its own may be for its backprop
    x = backend.asarray(np.ones((4, 2)), "float64")
    net = xn.Sequential(xn.Linear(2, 2), xn.Sequential(Changing(kind)))
    says = (
        rf"^Changing\.{kind}.* is changed by a training step|kept (an array|from the step before)"
    )
    with pytest.raises(TypeError, match=says):
        xn.fit(net, x, x, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=3, seed=0)


COUNTS = itertools.count(1)


class CountsSomewhere(xn.Optimizer):
    """An optimizer whose rate falls by a count that is none of its attributes."""

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - 0.1 / next(COUNTS) * grad, state


class CountsBehind(xn.Identity):
    """A layer that counts in its backprop, in its class."""

    n = 0

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        def backprop(dy: Any, need_dx: bool = True) -> Any:
            CountsBehind.n += 1
            return dy / CountsBehind.n, ()

        return x, backprop


@pytest.mark.way("recorded", "compiled")
@pytest.mark.parametrize(
    ("layers", "optimizer"),
    [([], CountsSomewhere()), ([CountsBehind()], xn.SGD(lr=0.1))],
    ids=["an optimizer", "a layer"],
)
def test_a_step_that_does_not_do_twice_the_same_is_refused_where_it_is_recorded(
    backend: Any, layers: Any, optimizer: Any
) -> None:
    x = backend.asarray(np.ones((4, 2)), "float64")
    net = xn.Sequential(xn.Linear(2, 2), *layers)
    theta = net.init(0, like=x)
    runner = backend.runner(TrainingStep(backend.xp, net, xn.MSE(), optimizer))
    with pytest.raises(TypeError, match="does something else each time it is called"):
        runner(carry_of(theta, optimizer.init(theta)), (x, x, None), 3)
    with pytest.raises(TypeError, match=r"must return the same .* second time"):
        xn.fit(net, x, x, loss=xn.MSE(), optimizer=optimizer, epochs=3, seed=0)


def test_a_layer_may_keep_its_input_for_its_backprop(backend: Any) -> None:
    x = backend.asarray(np.ones((4, 2)), "float64")
    net = xn.Sequential(xn.Linear(2, 2), Changing("nothing"))
    theta = net.init(0, like=x)
    for _ in range(2):
        xn.fit(net, x, x, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=3, seed=0)
        net.value_and_grad(theta, x, x, xn.MSE())


VIEWS = {
    "flip": lambda xp, x: xp.flip(x, axis=-1),
    "expand_dims": lambda xp, x: xp.expand_dims(x, axis=0),
    "squeeze": lambda xp, x: xp.squeeze(x[..., :1], axis=-1),
    "permute_dims": lambda xp, x: xp.permute_dims(x, (1, 0)),
    "matrix_transpose": lambda xp, x: xp.matrix_transpose(x),
}


@pytest.mark.way("recorded")
@pytest.mark.filterwarnings("ignore:A step runs operation by operation:RuntimeWarning")
@pytest.mark.parametrize("name", VIEWS)
def test_what_is_written_into_a_view_is_read_as_on_the_library(recording: Any, name: str) -> None:
    """Be it one, as NumPy's flip, or a copy, as PyTorch's."""

    def function(xp: Any, x: Any) -> Any:
        x = x * 1.0
        view = VIEWS[name](xp, x)
        view += 1.0
        return xp.sum(view) + x

    check(recording, function, ORDINARY[0], "float64", recorded=None)
