"""A fit trains what its layers, loss and optimizer say then; equal ones are compiled once."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, host
from xpnet.backends.base import run_plainly
from xpnet.backends.snapshot import ByIdentity, snapshot
from xpnet.optimizers import Optimizer
from xpnet.step import TrainingStep


class Times(xn.Layer):
    """``a x``, comparing by identity as every class does that says nothing else."""

    def __init__(self, a: float) -> None:
        self.a = a

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return x * self.a, lambda dy, need_dx=True: (dy * self.a, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x * self.a


@dataclass
class Unhashable(Times):
    """The same as a dataclass that may be changed: it compares by value, and has no hash."""

    a: float


class Alike(Times):
    """The same with an equality and a hash that follow the changes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike) and self.a == other.a

    def __hash__(self) -> int:
        return hash(Alike)


@dataclass(frozen=True)
class Fixed(Times):
    """The same that cannot be changed."""

    a: float


@dataclass(frozen=True)
class Holding(xn.Layer):
    """A layer that compares by value, of which a part does not."""

    inner: Any

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return self.inner.forward(xp, params, x)

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.inner.apply(xp, params, x)


class Scaled(xn.Loss):
    """A sum of squares times ``a``."""

    def __init__(self, a: float) -> None:
        self.a = a

    def forward(self, xp: Any, output: Any, target: Any, weight: Any) -> Any:
        r = output - target
        return self.a * xp.sum(r * r, axis=(-2, -1)), lambda: 2 * self.a * r


@dataclass(frozen=True, eq=False)
class Masked(Optimizer):
    """Descends where a mask says so, which is changed in place."""

    device: Any
    lr: float = 1e-2

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", np.ones(7))

    def slots(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        mask = xp.asarray(self.mask, dtype=theta.dtype, device=self.device)
        return theta - self.lr * mask * grad, state


def _fit(backend: Any, layers: Any, loss: Any = None, optimizer: Any = None) -> Any:
    rng = np.random.default_rng(0)
    x, y = arr(backend, rng.normal(size=(6, 4))), arr(backend, rng.normal(size=(6, 1)))
    optimizer = optimizer or xn.SGD(lr=1e-2)
    settings = {"optimizer": optimizer, "epochs": 3, "seed": 0}
    model = xn.fit(xn.Sequential(*layers), x, y, loss=loss or xn.MSE(), **settings)
    return host(backend, model.theta), model.history.loss


@pytest.mark.parametrize("kind", [Times, Unhashable, Alike])
@pytest.mark.parametrize("nested", ["beside", "in a network", "in a layer"])
def test_a_layer_changed_in_place_is_trained_as_it_is_then(
    backend: Any, kind: Any, nested: str
) -> None:
    def layers(layer: Any) -> Any:
        wrap = {"beside": lambda it: it, "in a network": xn.Sequential, "in a layer": Holding}
        return xn.Linear(4, 1), wrap[nested](layer)

    layer = kind(1.0)
    used = layers(layer)
    _fit(backend, used)
    layer.a = 2.0
    np.testing.assert_array_equal(_fit(backend, used)[1], _fit(backend, layers(Fixed(2.0)))[1])


def test_a_loss_changed_in_place_is_trained_as_it_is_then(backend: Any) -> None:
    loss = Scaled(1.0)
    _fit(backend, [xn.Linear(4, 1)], loss)
    loss.a = 2.0
    again = _fit(backend, [xn.Linear(4, 1)], loss)
    np.testing.assert_array_equal(again[1], _fit(backend, [xn.Linear(4, 1)], Scaled(2.0))[1])


def test_an_array_of_an_optimizer_changed_in_place_is_used_as_it_is_then(backend: Any) -> None:
    optimizer, layers = Masked(backend.device), [xn.Linear(4, 1), Times(1.0), xn.Linear(1, 1)]
    before, _ = _fit(backend, layers, optimizer=optimizer)
    optimizer.mask[:] = 0  # type: ignore[attr-defined]
    theta, _ = _fit(backend, layers, optimizer=optimizer)
    start = host(backend, xn.Sequential(*layers).init(0, like=arr(backend, [1.0])))
    assert not np.array_equal(before, start)
    np.testing.assert_array_equal(theta, start)


class _Calls(xn.Identity):
    """An identity that counts how often Python ran it: on JAX, how often it was traced."""

    count = 0

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        _Calls.count += 1
        return super().forward(xp, params, x)


def test_equal_steps_are_compiled_once_on_jax() -> None:
    pytest.importorskip("jax", reason="JAX alone compiles")
    backend = xn.backends.get("jax")
    backend.prepare("float64")

    def network() -> Any:
        activation = xn.Sequential(xn.LeakyReLU(0.125), _Calls())
        return xn.Linear(4, 1, weight_init=xn.Constant(0.5)), activation

    _fit(backend, network(), xn.Huber(0.75), xn.AdamW(betas=(0.8, 0.9)))
    traced = _Calls.count
    _fit(backend, network(), xn.Huber(0.75), xn.AdamW(betas=(0.8, 0.9)))
    assert _Calls.count == traced > 0
    _fit(backend, network(), xn.Huber(0.5), xn.AdamW(betas=(0.8, 0.9)))
    assert _Calls.count > traced


SWEEPS = {  # an optimizer of one number, and another of what is compiled for
    "SGD": (lambda a: xn.SGD(a), xn.SGD(0.1, weight_decay=0.1)),
    "Momentum": (lambda a: xn.SGD(a, a, a, a), xn.SGD(0.1, 0.1, 0.0, 0.1)),
    "AdaGrad": (lambda a: xn.AdaGrad(a, a, a, a, a), xn.AdaGrad(0.1, 0.1, 0.0, 0.1, 0.1)),
    "RMSprop": (lambda a: xn.RMSprop(a, a, a, a, a), xn.RMSprop(0.1, 0.1, 0.1, 0.1, 0.1, True)),
    "Adam": (lambda a: xn.Adam(a, (a, a), a, a), xn.Adam(0.1, (0.1, 0.1), 0.1, 0.1, True)),
    "AdamW": (lambda a: xn.AdamW(a, (a, 0.9), a, a), xn.AdamW(0.1, (0.1, 0.0), 0.1, 0.1)),
}


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_of_numbers_is_compiled_once_and_trains_with_each_on_jax(
    name: str, members: int | None
) -> None:
    pytest.importorskip("jax", reason="JAX alone compiles")
    backend = xn.backends.get("jax")
    backend.prepare("float64")
    make, other = SWEEPS[name]
    # A loss of its own, so that no other test has compiled the same.
    net, loss = xn.Sequential(xn.Linear(4, 1), _Calls()), xn.Huber(0.6875 if members else 0.6125)
    rng = np.random.default_rng(0)
    data = (
        backend.asarray(rng.normal(size=(6, 4)), "float64"),
        backend.asarray(rng.normal(size=(6, 1)), "float64"),
    )
    theta = net.init(0, like=data[0], members=members)

    def traces(optimizer: Any) -> int:
        before = _Calls.count
        options = {"loss": loss, "optimizer": optimizer, "epochs": 5}
        model = xn.fit(net, *data, theta=theta, **options)
        found = _Calls.count - before
        step = TrainingStep(backend.xp, net, loss, optimizer)
        carry = theta, optimizer.init(theta)
        (wanted, state), _ = run_plainly(backend.xp, step, carry, (*data, None), 5)
        assert model.state.keys() == state.keys()
        # Five steps of a few dozen roundings, of parameters below 10.
        np.testing.assert_allclose(model.theta, wanted, rtol=0, atol=5 * 50 * 10 * 2.0**-52)
        return found

    assert traces(make(0.1)) > 0
    assert [traces(make(a)) for a in (0.2, 0.3)] == [0, 0]
    assert traces(other) > 0


def test_an_optimizer_that_may_read_its_own_numbers_trains_with_them(backend: Any) -> None:
    class Own(xn.SGD):
        def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
            return theta - self.lr * grad, state

    layers = [xn.Linear(4, 1)]
    for lr in (0.1, 0.2):
        found, wanted = (_fit(backend, layers, optimizer=o)[0] for o in (Own(lr), xn.SGD(lr)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2.0**-48)


def test_programs_of_the_latest_steps_alone_are_kept_on_jax() -> None:
    pytest.importorskip("jax", reason="JAX alone compiles")
    from xpnet.backends import jax_program

    class Numbered:
        def __init__(self, i: int) -> None:
            self.i = i

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Numbered) and self.i == other.i

        def __hash__(self) -> int:
            return hash(self.i)

    steps: list[Any] = [Numbered(i) for i in range(jax_program.KEPT + 1)]
    for step in steps:
        jax_program.compiled(step)
    refs = [weakref.ref(step) for step in steps]
    del step, steps
    gc.collect()
    assert [ref() is None for ref in refs] == [True, *[False] * jax_program.KEPT]


@pytest.mark.parametrize("members", [None, 5])
def test_what_compares_by_identity_is_compiled_once_a_fit_and_freed_with_it(
    members: int | None,
) -> None:
    pytest.importorskip("jax", reason="JAX alone compiles")
    backend = xn.backends.get("jax")
    backend.prepare("float64")
    rng = np.random.default_rng(0)
    shape = (6, 4) if members is None else (members, 6, 4)
    x, y = arr(backend, rng.normal(size=shape)), arr(backend, rng.normal(size=(6, 1)))

    def train(layer: Any) -> int:
        before = _Calls.count
        net = xn.Sequential(xn.Linear(4, 1), layer, _Calls())
        settings = {"epochs": 8, "epoch_checking": 2, "members": members, "block": 2, "seed": 0}
        xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), **settings)
        return _Calls.count - before

    assert train(Times(1.0)) == train(xn.LeakyReLU(0.375))
    layer = Times(1.0)
    gone = weakref.ref(layer)
    train(layer)
    del layer
    gc.collect()
    assert gone() is None


@dataclass(frozen=True)
class _Pair:
    a: Any
    b: Any = field(default=None, compare=False)


@pytest.mark.parametrize(
    "value",
    [
        *(1, True, 1.0, -0.0, 0.0, np.float32(1), np.float64(1), "1", b"1", 1j, None, int, np),
        *((), [], {}, set(), (1,), [1], {1: 2}, {1}, frozenset({1}), slice(1), np.dtype("float32")),
        *(_Pair(1), _Pair(1.0), _Pair(1, 2), _Pair([1]), _Pair(np.tanh), xn.ReLU(), xn.Tanh()),
        *(xn.Sequential(xn.ReLU()), xn.Sequential(xn.ReLU(), xn.ReLU()), xn.SGD(), xn.Momentum()),
    ],
    ids=repr,
)
def test_snapshots_of_different_values_differ(value: Any, request: Any) -> None:
    others = request.node.get_closest_marker("parametrize").args[1]
    alike = [other for other in others if snapshot(other) == snapshot(value)]
    assert len(alike) == 1 and alike[0] is value
    hash(snapshot(value))


@pytest.mark.parametrize(
    "value",
    [object(), np.ones(1), lambda: 1, partial(abs), Times(1.0), Unhashable(1.0), iter(())],
    ids=repr,
)
@pytest.mark.parametrize("wrap", [lambda v: v, _Pair, lambda v: [v], lambda v: {1: (v,)}])
def test_what_compares_by_identity_has_no_snapshot(value: Any, wrap: Any) -> None:
    with pytest.raises(ByIdentity):
        snapshot(wrap(value))


def test_what_holds_itself_has_no_snapshot() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ByIdentity):
        snapshot(ring)
