"""What once ran otherwise where steps are recorded than where they run as they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.steps import assert_agree, both, problem
from xpnet.compiler.plain import run_plainly
from xpnet.training.step import TrainingStep


@dataclass(frozen=True)
class Doing:
    """A step that does some function of the carry."""

    xp: Any
    function: Any

    def __call__(self, carry: Any, batch: Any) -> Any:
        return self.function(self.xp, carry)

    def select(self, data: Any, rows: Any) -> Any:
        return data


def compare(backend: Any, function: Any, carry: dict[str, tuple[Any, str]], n: int = 3) -> None:
    """Carry and metrics after ``n`` steps are those of the plain loop."""
    step, results = Doing(backend.xp, function), []
    with backend.context():
        runner = backend.runner(step)
        for run in (lambda *a: run_plainly(backend.xp, step, *a), runner):
            given = {name: backend.asarray(*values) for name, values in carry.items()}
            after, metrics = run(given, (backend.asarray(np.zeros((1, 1)), "float64"),), n)
            results.append({k: backend.to_host(v) for k, v in {**after, **metrics}.items()})
    for name, wanted in results[0].items():
        found = results[1][name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_allclose(found, wanted, rtol=8 * n * np.finfo("f4").eps, err_msg=name)


def _last(xp: Any, c: Any) -> Any:
    return {"buffer": xp.roll(c["buffer"], 1, axis=0), "last": c["buffer"][0]}, {"o": c["last"] * 1}


def _views(xp: Any, c: Any) -> Any:
    m = 0.9 * c["m"] + 0.1 * xp.flip(c["m"], axis=-1) + c["m"][:2][0]
    return {"m": m, "m_0": 0.5 * c["m_0"] + m, "m_1": c["m_1"] + 1}, {"my loss": xp.sum(m)}


def _reserved(xp: Any, c: Any) -> Any:
    return {"k": c["k"] + c["n"], "n": c["n"] * 2, "add": c["add"] + c["k"]}, {"o": xp.sum(c["k"])}


def _reserved_of_loops(xp: Any, c: Any) -> Any:
    start = c["start"] + c["members"]
    return {"start": start, "members": c["members"] * 2, "t_0": c["t_0"] + start}, {
        "lane": xp.sum(start * 3.0)
    }


def _narrow(xp: Any, c: Any) -> Any:
    r = c["r"]
    flags = xp.stack([r > 0.1, r == 0.1, r <= 0.1])
    return {"r": r * 1}, {"o": xp.astype(flags, xp.float64)}


def _wide(xp: Any, c: Any) -> Any:
    return {"t": c["t"] * 1, "r": xp.sum(c["t"]), "lr": c["lr"] * 1}, {"o": c["r"] * c["lr"]}


def _constant(xp: Any, c: Any) -> Any:
    return {"count": c["count"] + 1}, {"o": c["count"] * xp.asarray(3, dtype=xp.int32)}


def _generator(xp: Any, c: Any) -> Any:
    return {"seed": c["seed"] * 1664525 + 1013904223}, {"o": xp.astype(c["seed"], xp.float64)}


def _promoted(xp: Any, c: Any) -> Any:
    t, lr = c["t"], c["lr"]
    return {"t": t * 0.5, "lr": lr * 0.9}, {"o": xp.maximum(t, lr), "w": xp.where(t > 0.01, t, lr)}


def _of_none(xp: Any, c: Any) -> Any:
    p = xp.astype(xp.count_nonzero(c["t"] > 0), xp.float64)
    return {"t": c["t"] * 1}, {"o": p / xp.astype(xp.count_nonzero(c["t"] > 9), xp.float64)}


def _over_no_axes(xp: Any, c: Any) -> Any:
    return {"t": xp.sum(c["t"], axis=()) * 0.5}, {"o": xp.max(c["t"].mT, axis=())}


def _rolled(xp: Any, c: Any) -> Any:
    return {"t": xp.roll(c["t"], int(np.int64(1)), axis=-1)}, {"o": xp.sum(c["t"][0, :])}


T = np.arange(1.0, 7.0).reshape(2, 3) / 7
STEPS = {
    "an element of what is overwritten": (
        _last,
        {"buffer": (np.arange(4.0), "float64"), "last": (0.0, "float64")},
    ),
    "names that a view would have": (
        _views,
        {"m": (T[0], "float64"), "m_0": (T[1], "float64"), "m_1": (0, "int64")},
    ),
    "names that a program has": (
        _reserved,
        {"k": (T[0], "float64"), "n": (1.0, "float64"), "add": (T[1], "float64")},
    ),
    "carries named as loops name what is theirs": (
        _reserved_of_loops,
        {name: (np.arange(2.0), "float64") for name in ("start", "members", "t_0")},
    ),
    "comparisons with what float32 does not have": (_narrow, {"r": (0.1, "float32")}),
    "a number of two dtypes": (
        _wide,
        {"t": (T, "float32"), "r": (1.0, "float32"), "lr": (1 + 1e-3, "float64")},
    ),
    "a constant beside a counter": (_constant, {"count": (2**30, "int64")}),
    "integers that go round": (_generator, {"seed": (2**61 + 12345, "int64")}),
    "integers of 32 bits that go round": (_generator, {"seed": (12345, "int32")}),
    "a number of more digits than an array": (
        _promoted,
        {"t": (T, "float32"), "lr": (0.3, "float64")},
    ),
    "a share of none": (_of_none, {"t": (T, "float64")}),
    "a reduction over no axes": (_over_no_axes, {"t": (T, "float64")}),
    "a shift": (_rolled, {"t": (T, "float64")}),
    "nothing done": (lambda xp, c: (dict(c), {"o": c["t"]}), {"t": (T, "float64")}),
}  # fmt: skip


@pytest.mark.way("recorded")
@pytest.mark.filterwarnings("ignore:A step runs operation by operation")
@pytest.mark.parametrize("name", STEPS)
def test_a_step_does_recorded_what_it_does_as_it_is_written(backend: Any, name: str) -> None:
    function, carry = STEPS[name]
    with np.errstate(all="ignore"):
        compare(backend, function, carry)


@dataclass(frozen=True)
class Alone(xn.Layer):
    """A stack of one, whose last axis is one element long."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return self.apply(xp, params, x), lambda dy, need_dx=True: (dy, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return xp.sum(xp.stack([x], axis=-1), axis=-1)


@pytest.mark.parametrize("members", [None, 2])
def test_a_stack_of_one_along_the_last_axis_is_computed(backend: Any, members: int | None) -> None:
    net = xn.Sequential(xn.Linear(4, 4), Alone(), xn.Linear(4, 1))
    _, _, loss, data = problem(backend, "MSE", xn.Tanh(), members, "float64")
    theta = net.init(3, like=data[0], members=members)
    step = TrainingStep(backend.xp, net, loss, xn.SGD(1e-2))
    assert_agree(both(backend, step, theta, data, 4), "float64", 4)


class Keeping(xn.Layer):
    """Keeps the namespace that it was given last."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        self.xp = xp
        y = xp.tanh(x)
        return y, lambda dy, need_dx=True: ((1 - y * y) * dy, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        self.xp = xp
        return xp.tanh(x)


def test_a_layer_may_keep_the_namespace(backend: Any) -> None:
    results = []
    for layer in (Keeping(), xn.Tanh()):
        net = xn.Sequential(xn.Linear(4, 4), layer, xn.Linear(4, 1))
        _, _, _, (x, y, _) = problem(backend, "MSE", xn.Tanh(), None, "float64")
        model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.Adam(), epochs=5, seed=1)
        results.append((backend.to_host(model.theta), {}, {"loss": model.history.loss}))
    assert_agree(results, "float64", 5)


@dataclass(frozen=True, eq=False)
class Graded(xn.Optimizer):
    """Another rate for each parameter, made of their number."""

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        rates = xp.linspace(0.0, 0.1, theta.shape[-1], dtype=theta.dtype)
        return theta - rates * grad, state


def test_threads_do_not_cut_what_an_update_makes_for_all_parameters() -> None:
    backend = xn.backends.get("numpy")
    rng = np.random.default_rng(7)
    net = xn.Sequential(xn.Linear(4, 60), xn.Tanh(), xn.Linear(60, 1))
    x, y = rng.normal(size=(12, 4)), rng.normal(size=(12, 1))
    step = TrainingStep(np, net, xn.MSE(), Graded())
    assert_agree(both(backend, step, net.init(1, like=x), (x, y, None), 4, threads=3), "float64", 4)
