"""A fit trains what its layers, loss and optimizer say then; equal ones are compiled once."""

from __future__ import annotations

import gc
import math
import re
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, host, library, rounding
from xpnet import losses
from xpnet.compiler import step_key as snapshots
from xpnet.compiler.plain import run_plainly
from xpnet.compiler.step_key import ByIdentity, snapshot
from xpnet.optimizers import Optimizer
from xpnet.training.step import TrainingStep, carry_of, state_in


class Times(xn.Layer):
    """``a x``, comparing by identity as every class does that says nothing else."""

    def __init__(self, a: float) -> None:
        self.a = a

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return x * self.a, lambda dy, need_dx=True: (dy * self.a, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.forward(xp, params, x)[0]


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

    def forward(self, xp: Any, output: Any, target: Any, share: Any) -> Any:
        r = output - target
        return self.a * xp.sum(r * r, axis=(-2, -1)), lambda: 2 * self.a * r


@dataclass(frozen=True, eq=False)
class Masked(Optimizer):
    """Descends where a mask says so, which is changed in place."""

    device: Any
    lr: float = 1e-2

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", np.ones(7))

    def init_state(self, xp: Any, theta: Any) -> Any:
        return {}

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        mask = xp.asarray(self.mask, dtype=theta.dtype, device=self.device)
        return theta - self.lr * mask * grad, state


def _data(backend: Any, samples: int = 6) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(samples, 4)), rng.normal(size=(samples, 1))
    return arr(backend, x), arr(backend, y)


def _by_hand(
    backend: Any, layers: Any, loss: Any = None, optimizer: Any = None, samples: int = 6
) -> np.ndarray:
    """The losses of `_fit`, by calling what its layers, loss and optimizer say now."""
    net, loss, optimizer = xn.Sequential(*layers), loss or xn.MSE(), optimizer or xn.SGD(lr=1e-2)
    x, y = _data(backend, samples)
    theta, found = net.init(0, like=x), []
    state = optimizer.init(theta)
    for _ in range(3):
        value, grad = net.value_and_grad(theta, x, y, loss)
        theta, state = optimizer.update(theta, grad, state)
        found.append(float(host(backend, value)))
    return np.array(found)


def _fit(
    backend: Any, layers: Any, loss: Any = None, optimizer: Any = None, samples: int = 6
) -> Any:
    x, y = _data(backend, samples)
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


@contextmanager
def _compiled() -> Iterator[list[str]]:
    """What JAX compiles meanwhile."""
    jax, found = library("jax"), []

    def listen(event: str, seconds: float, **_: Any) -> None:
        if listening and event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    listening = True
    jax.monitoring.register_event_duration_secs_listener(listen)
    xn.backends.get("jax", "cpu").prepare("float64")
    try:
        yield found
    finally:
        listening = False  # JAX has no public way to take a listener off


def _networks() -> Any:
    activation = xn.Sequential(xn.LeakyReLU(0.125), xn.Tanh())
    return xn.Linear(4, 1, weight_init=xn.Constant(0.5)), activation


def test_equal_steps_are_compiled_once_on_jax() -> None:
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")
        _fit(backend, _networks(), xn.Huber(0.75), xn.AdamW(betas=(0.8, 0.9)))
        before = len(programs)
        _fit(backend, _networks(), xn.Huber(0.75), xn.AdamW(betas=(0.8, 0.9)))
        assert len(programs) == before > 0
        _fit(backend, _networks(), xn.MSE(), xn.AdamW(betas=(0.8, 0.9)))
        assert len(programs) > before


@pytest.mark.parametrize("members", [None, 3])
def test_layers_of_ones_own_are_compiled_once_on_jax_while_they_do_the_same(members: Any) -> None:
    # That Times(0.4375) does so is known after it was traced; it compares by identity.
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")
        x = arr(backend, np.random.default_rng(0).normal(size=(9, 4)))

        def compiles(layer: Any) -> bool:
            before, net = len(programs), xn.Sequential(xn.Linear(4, 1), layer, xn.Tanh())
            xn.fit(net, x, x[:, :1], loss=xn.MSE(), optimizer=xn.Adam(), epochs=3, seed=0,
                   members=members, batch_size=4, shuffle_seed=0)  # fmt: skip
            return len(programs) > before

        layer = Times(0.4375)
        assert [compiles(layer), compiles(layer), compiles(Times(0.4375))] == [True, False, False]
        layer.a = 0.5
        assert [compiles(layer), compiles(Times(0.4375)), compiles(layer)] == [True, False, False]


def test_what_a_jaxpr_says_is_all_that_it_does_or_nothing() -> None:
    jax = library("jax")
    from xpnet.backends.jax.jaxprs import said

    x, long = np.ones(3, "float32"), np.arange(5000, dtype="float32")
    within = jax.jit(lambda x, a: x * a)

    def of(function: Any) -> Any:
        return said(jax.make_jaxpr(function)(x))

    def scaled(a: Any) -> Any:
        held = jax.numpy.asarray(a)
        return jax.jit(lambda x: within(x, 2.0) * held[-1] + held.sum())

    assert of(scaled(long)) == of(scaled(long.copy())) is not None
    assert of(scaled(long)) != of(scaled(np.flip(long)))
    assert of(lambda x: x * 0.1) != of(lambda x: x * np.nextafter(np.float32(0.1), np.float32(1)))
    assert of(lambda x: jax.lax.cond(x[0] > 0, scaled(long), scaled(long), x)) != of(
        lambda x: jax.lax.cond(x[0] > 0, scaled(long), scaled(long + 1), x)
    )
    assert of(lambda x: jax.pure_callback(np.sin, x, x)) is None
    narrow = jax.numpy.asarray([1.0, 2.0, 0.5], "bfloat16")  # of which NumPy has no buffer
    assert of(lambda x: x * narrow.astype(x.dtype)) not in (None, of(lambda x: x))


def test_a_mask_by_hand_is_one_program_of_jax_for_all_steps() -> None:
    x = np.zeros((3, 11))
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")
        for step in range(3):
            draws = xn.Noise(1, step).stream(backend, None)
            before = len(programs)
            found = draws.bernoulli(backend.xp, 0.5, x)
            assert len(programs) - before == (step == 0)
            here = xn.Noise(1, step).stream(xn.backends.get("numpy"), None)
            np.testing.assert_array_equal(found, here.bernoulli(np, 0.5, x))


def test_a_shared_program_is_that_of_what_was_said_whatever_became_of_it() -> None:
    # The first network is changed, and its program then traced for another number of samples.
    with _compiled():
        backend = xn.backends.get("jax", "cpu")
        first, same = xn.LeakyReLU(0.4375), xn.LeakyReLU(0.4375)
        _fit(backend, [xn.Linear(4, 1), first])
        object.__setattr__(first, "negative_slope", 0.9375)
        found = _fit(backend, [xn.Linear(4, 1), same], samples=5)
        np.testing.assert_allclose(
            found[1], _by_hand(backend, [xn.Linear(4, 1), same], samples=5), rtol=rounding(100, 1)
        )


def test_few_programs_are_kept_on_jax(monkeypatch: Any) -> None:
    library("jax")
    from xpnet.backends.jax import program as jax_program

    monkeypatch.setattr(jax_program, "KEPT", 2)
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")

        def compiles(layers: int) -> bool:
            before = len(programs)
            _fit(backend, [xn.Linear(4, 1), *[xn.LeakyReLU()] * layers])
            return len(programs) > before

        numbers = (5, 6, 5, 7, 5, 6)
        assert [compiles(layers) for layers in numbers] == [True, True, False, True, False, True]
        assert len(jax_program._KNOWN) == 2


def _plainly(net: Any, loss: Any, optimizer: Any, theta: Any, data: Any) -> Any:
    """The carry after five steps on NumPy: JAX would compile each operation by itself."""
    theta, x, y = (np.array(array) for array in (theta, *data))
    target = losses.prepare(xn.backends.get("numpy"), loss, y.shape, y, None, theta.dtype)[0]
    step = TrainingStep(np, net, loss, optimizer)
    return run_plainly(np, step, carry_of(theta, optimizer.init(theta)), (x, target, None), 5)[0]


SWEEPS = {  # an optimizer of one number, and another of what is compiled for
    "SGD": (lambda a: xn.SGD(a), xn.SGD(0.1, weight_decay=0.1)),
    "Momentum": (lambda a: xn.SGD(a, a, a, a), xn.SGD(0.1, 0.1, 0.0, 0.1)),
    "AdaGrad": (lambda a: xn.AdaGrad(a, a, a, a, a), xn.AdaGrad(0.1, 0.1, 0.0, 0.1, 0.1)),
    "RMSprop": (lambda a: xn.RMSprop(a, a, a, a, a), xn.RMSprop(0.1, 0.1, 0.1, 0.1, 0.1, True)),
    "Adam": (lambda a: xn.Adam(a, (a, a), a, a), xn.Adam(0.1, (0.1, 0.1), 0.1, 0.1, True)),
    "AdamW": (lambda a: xn.AdamW(a, (a, 0.9), a, a), xn.AdamW(0.1, (0.1, 0.0), 0.1, 0.1)),
    "Adadelta": (lambda a: xn.Adadelta(a, a, a, a), xn.Adadelta(0.1, 0.1, 0.1, 0.1, True)),
    "Adamax": (lambda a: xn.Adamax(a, (a, a), a, a), xn.Adamax(0.1, (0.1, 0.1), 0.1, 0.0)),
    "NAdam": (lambda a: xn.NAdam(a, (a, a), a, a, a), xn.NAdam(0.1, (0.1, 0.1), 0.1, 0.1, 0.0)),
    "RAdam": (lambda a: xn.RAdam(a, (a, a), a, a), xn.RAdam(0.1, (0.1, 0.1), 0.1, 0.1, True)),
    "Rprop": (lambda a: xn.Rprop(a), xn.Rprop(0.1, (0.4, 1.2))),
    "Lion": (lambda a: xn.Lion(a, (a, a), a), xn.Lion(0.1, (0.1, 0.1), 0.0)),
    "clipped": (lambda a: xn.SGD(a, clip_norm=a), xn.SGD(0.1, clip_value=0.1)),
    "averaged": (lambda a: xn.SGD(a, ema_decay=a), xn.SGD(0.1, ema_decay=0.0)),
    "a schedule": (
        lambda a: xn.Adam(xn.WarmUp(3, xn.ExponentialDecay(a, a), a)),
        xn.Adam(xn.WarmUp(4, xn.ExponentialDecay(0.1, 0.1), 0.1)),
    ),
}


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_of_numbers_is_compiled_once_and_trains_with_each_on_jax(
    name: str, members: int | None
) -> None:
    make, other = SWEEPS[name]
    # Seven features are of this test alone, so that no other has compiled the same.
    net, loss = xn.Sequential(xn.Linear(7, 1)), xn.Huber(0.6875)
    rng = np.random.default_rng(0)
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")
        data = (
            backend.asarray(rng.normal(size=(6, 7)), "float64"),
            backend.asarray(rng.normal(size=(6, 1)), "float64"),
        )
        theta = net.init(0, like=data[0], members=members)

        def compiles(optimizer: Any) -> bool:
            before = len(programs)
            options = {"loss": loss, "optimizer": optimizer, "epochs": 5}
            model = xn.fit(net, *data, theta=theta, **options)
            found = len(programs) - before
            wanted = _plainly(net, loss, optimizer, theta, data)
            assert model.state.keys() == state_in(wanted).keys()
            # Five steps of a few dozen roundings, of parameters below 10.
            bound = 5 * 50 * 10 * 2.0**-52
            np.testing.assert_allclose(model.theta, wanted["theta"], rtol=0, atol=bound)
            return found > 0

        assert compiles(make(0.1))
        assert [compiles(make(a)) for a in (0.2, 0.3)] == [False, False]
        assert compiles(other)


PARTS = {  # layers and a loss of one number, and others of what is compiled for
    "LeakyReLU": (lambda a: ([xn.LeakyReLU(a)], xn.MSE()), ([xn.LeakyReLU(0.0)], xn.MSE())),
    "within a network": (
        lambda a: ([xn.Sequential(xn.Tanh(), xn.LeakyReLU(a)), xn.LeakyReLU(a / 2)], xn.MSE()),
        ([xn.LeakyReLU(0.1), xn.Tanh(), xn.LeakyReLU(0.05)], xn.MSE()),
    ),
    "BCE": (lambda a: ([xn.Sigmoid()], xn.BCE(a / 100)), ([xn.Sigmoid()], xn.BCE(0))),
    "Huber": (lambda a: ([], xn.Huber(a)), ([], xn.MSE())),
    "Quantile": (lambda a: ([], xn.Quantile(a)), ([], xn.Quantile(0.0))),
    "pos_weight": (
        lambda a: ([], xn.BCEWithLogits(pos_weight=a)),
        ([], xn.BCEWithLogits()),
    ),
}


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("name", PARTS)
def test_a_sweep_of_layers_and_losses_is_compiled_twice_and_trains_with_each_on_jax(
    name: str, members: int | None
) -> None:
    make, other = PARTS[name]
    rng = np.random.default_rng(0)
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")
        data = (
            backend.asarray(rng.normal(size=(6, 5)), "float64"),
            backend.asarray(rng.integers(0, 2, (6, 1)), "float64"),
        )

        def compiles(layers: list[Any], loss: Any) -> bool:
            # Adam's numbers are of this test alone, so that no other has compiled the same.
            optimizer = xn.Adam(betas=(0.0, 0.75), amsgrad=True)
            net = xn.Sequential(xn.Linear(5, 1), *layers)
            theta = net.init(0, like=data[0], members=members)
            before = len(programs)
            options = {"loss": loss, "optimizer": optimizer, "epochs": 5}
            model = xn.fit(net, *data, theta=theta, **options)
            found = len(programs) - before
            wanted = _plainly(net, loss, optimizer, theta, data)
            # Five steps of a few dozen roundings, of parameters below 10.
            bound = 5 * 50 * 10 * 2.0**-52
            np.testing.assert_allclose(model.theta, wanted["theta"], rtol=0, atol=bound)
            return found > 0

        # The first with its number as a constant, the second for all numbers.
        assert [compiles(*make(a)) for a in (0.5, 0.75)] == [True, True]
        assert [compiles(*make(a)) for a in (0.25, 0.5, 0.125)] == [False, False, False]
        assert compiles(*other)


def test_a_sweep_of_label_smoothing_is_compiled_twice_and_trains_with_each_on_jax() -> None:
    rng, net = np.random.default_rng(0), xn.Sequential(xn.Linear(4, 3))
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    options: dict[str, Any] = {"optimizer": xn.Adam(betas=(0.0, 0.625)), "epochs": 5, "seed": 0}
    with _compiled() as programs:
        backend = xn.backends.get("jax", "cpu")
        data = backend.asarray(x, "float64"), backend.asarray(y, "int64")

        def compiles(smoothing: float) -> bool:
            before, loss = len(programs), xn.CrossEntropy(smoothing)
            model = xn.fit(net, *data, loss=loss, **options)
            found = len(programs) - before
            wanted = xn.fit(net, x, y, loss=loss, **options).theta
            # Five steps of a few dozen roundings, of parameters below 10.
            np.testing.assert_allclose(model.theta, wanted, rtol=0, atol=5 * 50 * 10 * 2.0**-52)
            return found > 0

        assert [compiles(a) for a in (0.5, 0.25, 0.125, 0.75)] == [True, True, False, False]
        assert compiles(0.0)


def test_an_optimizer_that_may_read_its_own_numbers_trains_with_them(backend: Any) -> None:
    class Own(xn.SGD):
        def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
            return theta - self.lr * grad, state

    layers = [xn.Linear(4, 1)]
    for lr in (0.1, 0.2):
        found, wanted = (_fit(backend, layers, optimizer=o)[0] for o in (Own(lr), xn.SGD(lr)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2.0**-48)


@pytest.mark.parametrize("members", [None, 5])
def test_what_compares_by_identity_is_compiled_once_a_fit_and_freed_with_it(
    members: int | None,
) -> None:
    library("jax")
    backend = xn.backends.get("jax")
    backend.prepare("float64")
    rng = np.random.default_rng(0)
    shape = (6, 4) if members is None else (members, 6, 4)
    x, y = arr(backend, rng.normal(size=shape)), arr(backend, rng.normal(size=(6, 1)))

    def train(epochs: int, layer: Any) -> int:
        before = _Calls.count
        net = xn.Sequential(xn.Linear(4, 1), layer, _Calls())
        settings = {"check_every": 2, "members": members, "block": 2, "seed": 0}
        settings |= {"loss": xn.MSE(), "optimizer": xn.SGD()}
        xn.fit(net, x, y, epochs=epochs, **settings)
        return _Calls.count - before

    assert train(2, Times(1.0)) == train(8, Times(1.0))
    layer = Times(1.0)
    gone = weakref.ref(layer)
    train(8, layer)
    del layer
    gc.collect()
    assert gone() is None


# ---- what is read from elsewhere


def _scaling(function: Any) -> Any:
    """A layer of a class of its own, of that function and its backprop."""

    class Scaling(xn.Layer):
        """``a x``, with ``a`` from wherever a function has it."""

        def forward(self, xp: Any, params: Any, x: Any) -> Any:
            a = function()
            return x * a, lambda dy, need_dx=True: (dy * a, ())

        def apply(self, xp: Any, params: Any, x: Any) -> Any:
            return x * function()

    return Scaling()


class Schedule:
    """A number that goes on."""

    shared = 1.0

    def __init__(self) -> None:
        self.a = 1.0

    def get(self) -> float:
        return self.a


class Choice(Enum):
    """An enumeration, whose members may hold what changes."""

    ONE = "one"


@dataclass(frozen=True)
class Shared(Times):
    """A frozen dataclass without fields, so that all are equal: what it reads is its class's."""

    a: ClassVar[float] = 1.0  # type: ignore[misc]


@dataclass(frozen=True)
class Methods(Times):
    """A frozen dataclass whose method is replaced, as a notebook's autoreload does."""

    a: ClassVar[float] = 1.0  # type: ignore[misc]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return x * 1.0, lambda dy, need_dx=True: (dy * 1.0, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.forward(xp, params, x)[0]


@dataclass(frozen=True)
class Calling(xn.Layer):
    """A frozen dataclass that holds a function by value."""

    get: Any

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        a = self.get()
        return x * a, lambda dy, need_dx=True: (dy * a, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x * self.get()


FACTOR: Any = 1.0


def _global() -> Any:
    return float(FACTOR)


def _default(a: list[float] = [1.0]) -> float:  # noqa: B006
    return a[0]


def _attribute() -> float:
    return _attribute.a  # type: ignore[attr-defined, no-any-return]


class _Home:
    @staticmethod
    def get() -> float:
        return 1.0


def _home() -> float:
    return _Home.get()


@dataclass(frozen=True)
class SharedLoss(xn.Loss):
    """A loss that reads its class."""

    a: ClassVar[float] = 1.0

    def forward(self, xp: Any, output: Any, target: Any, share: Any) -> Any:
        r, a = output - target, type(self).a
        return a * xp.sum(r * r, axis=(-2, -1)), lambda: 2 * a * r


@dataclass(frozen=True, eq=False)
class SharedSGD(xn.SGD):
    """An optimizer that reads its class."""

    a: ClassVar[float] = 1.0

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        return theta - type(self).a * self.lr * grad, state


class Within(xn.Sequential):
    """A network of a class of somebody's, of a layer that reads it."""


def _read_elsewhere(name: str, monkeypatch: Any) -> tuple[dict[str, Any], Any]:
    """What a step is made of, and how what it reads is changed."""
    here, two = sys.modules[__name__], Methods.__mro__[1]
    schedule, table, number = Schedule(), {"a": 1.0}, np.array(1.0)
    _attribute.a = 1.0  # type: ignore[attr-defined]
    monkeypatch.setattr(Choice.ONE, "a", 1.0, raising=False)
    patch = monkeypatch.setattr

    def replaced(self: Any, xp: Any, params: Any, x: Any) -> Any:
        return x * 2.0, lambda dy, need_dx=True: (dy * 2.0, ())

    def linear(self: Any, xp: Any, params: Any, x: Any) -> Any:
        y, backprop = forward(self, xp, params, x)
        return y * 2.0, lambda dy, need_dx=True: backprop(dy * 2.0, need_dx)

    def doubled(*args: Any) -> Any:
        value, backprop = evaluate(*args)
        return 2 * value, backprop

    forward, evaluate = xn.Linear.forward, losses.evaluate
    cases: dict[str, tuple[dict[str, Any], Any]] = {
        "a class attribute": ({"layer": Shared()}, lambda: patch(Shared, "a", 2.0)),
        "a class attribute of a held class": (
            {"layer": Calling(partial(getattr, Schedule, "shared"))},
            lambda: patch(Schedule, "shared", 2.0),
        ),
        "a global": ({"layer": Calling(_global)}, lambda: patch(here, "FACTOR", 2.0)),
        "a number of NumPy as a global": (
            {"layer": Calling(_global)},
            lambda: patch(here, "FACTOR", np.float64(2.0)),
        ),
        "an array in place": ({"layer": _scaling(lambda: float(number))}, lambda: number.fill(2.0)),
        "a default argument": (
            {"layer": Calling(_default)},
            lambda: monkeypatch.setattr(_default, "__defaults__", ([2.0],)),
        ),
        "an attribute of a function": (
            {"layer": Calling(_attribute)},
            lambda: patch(_attribute, "a", 2.0),
        ),
        "a schedule's method": (
            {"layer": Calling(schedule.get)},
            lambda: patch(schedule, "a", 2.0),
        ),
        "a method of a dict": (
            {"layer": Calling(partial(table.get, "a"))},
            lambda: table.update(a=2.0),
        ),
        "a static method": (
            {"layer": Calling(_home)},
            lambda: patch(_Home, "get", staticmethod(lambda: 2.0)),
        ),
        "a static method that is held": (
            {"layer": Calling(_Home.get)},
            lambda: patch(_Home.get, "__code__", (lambda: 2.0).__code__),
        ),
        "a member of an enumeration": (
            {"layer": Calling(partial(getattr, Choice.ONE, "a"))},
            lambda: patch(Choice.ONE, "a", 2.0),
        ),
        "a closure": (
            {"layer": _scaling(lambda: schedule.a)},
            lambda: patch(schedule, "a", 2.0),
        ),
        "a method replaced": ({"layer": Methods()}, lambda: patch(Methods, "forward", replaced)),
        "a method's code": (
            {"layer": Methods()},
            lambda: patch(Methods.forward, "__code__", replaced.__code__),
        ),
        "a method of a base": ({"layer": Shared()}, lambda: patch(two, "forward", replaced)),
        "a network's class": (
            {"layer": Within(Shared())},
            lambda: patch(Shared, "a", 2.0),
        ),
        "a loss": ({"loss": SharedLoss()}, lambda: patch(SharedLoss, "a", 2.0)),
        "an optimizer": ({"optimizer": SharedSGD(1e-2)}, lambda: patch(SharedSGD, "a", 2.0)),
        "a method of xpnet": ({}, lambda: patch(xn.Linear, "forward", linear)),
        "a method added to a class of xpnet": (
            {"layer": xn.ReLU()},
            lambda: patch(xn.ReLU, "forward", replaced, raising=False),
        ),
        "a helper of xpnet": ({}, lambda: patch(xn.network, "evaluate", doubled)),
        "the code of a helper of xpnet": (
            {"layer": xn.LeakyReLU()},
            lambda: patch(
                xn.LeakyReLU.value_and_slope,
                "__code__",
                (lambda self, xp, x: (x * 2.0, lambda: x * 0 + 2.0)).__code__,
            ),
        ),
    }
    return cases[name]


ELSEWHERE = (
    *("a class attribute", "a class attribute of a held class", "a global", "an array in place"),
    *("a number of NumPy as a global", "a default argument", "an attribute of a function"),
    *("a schedule's method", "a method of a dict", "a static method", "a closure"),
    *("a static method that is held", "a member of an enumeration", "a method replaced"),
    *("a method's code", "a method of a base", "a network's class", "a loss", "an optimizer"),
    *("a method of xpnet", "a method added to a class of xpnet", "a helper of xpnet"),
    "the code of a helper of xpnet",
)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_a_step_reads_elsewhere_is_what_it_is_at_each_training(
    backend: Any, name: str, monkeypatch: Any
) -> None:
    parts, change = _read_elsewhere(name, monkeypatch)
    layers = [xn.Linear(4, 1), *([parts["layer"]] if "layer" in parts else [])]
    chosen = parts.get("loss"), parts.get("optimizer")
    before = _fit(backend, layers, *chosen)
    change()
    after = _fit(backend, layers, *chosen)
    assert not np.array_equal(before[1], after[1])
    # Some hundred operations a step, of numbers of the size of the losses.
    expected = _by_hand(backend, layers, *chosen)
    np.testing.assert_allclose(after[1], expected, rtol=rounding(200, 1))


class _Doubling:
    """A namespace whose sums are ``a`` times as large."""

    a = 1.0

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def sum(self, *args: Any, **kwargs: Any) -> Any:
        return self.a * self._xp.sum(*args, **kwargs)


@pytest.mark.filterwarnings("ignore:A step runs operation by operation")
def test_a_namespace_of_somebodys_own_is_what_it_is_at_each_training(
    backend: Any, monkeypatch: Any
) -> None:
    net = xn.Sequential(xn.Linear(4, 1))
    step = TrainingStep(_Doubling(backend.xp), net, xn.MSE(), xn.SGD())
    rng = np.random.default_rng(0)
    x, y = arr(backend, rng.normal(size=(6, 4))), arr(backend, rng.normal(size=(6, 1)))

    def loss() -> Any:
        with backend.context():
            theta = net.init(0, like=x)
            carry = carry_of(theta, step.optimizer.init(theta))
            return host(backend, backend.run(step, carry, (x, y, None), 1)[1]["loss"])

    before = loss()
    monkeypatch.setattr(_Doubling, "a", 2.0)
    np.testing.assert_array_equal(loss(), 2 * before)


def test_xpnets_own_code_is_known_where_a_step_finds_it() -> None:
    # What a module of a step names of xpnet's own is in such a module too.
    modules = [space for space, *_ in snapshots._OWN._spaces if isinstance(space, ModuleType)]
    assert {
        xn.losses.share,
        xn.losses.binary,
        xn.network,
        xn.optimizers.base,
        xn.training.step,
    } <= {*modules}
    for module in modules:
        for name, value in vars(module).items():
            home = value.__name__ if isinstance(value, ModuleType) else value.__class__.__module__
            home = getattr(value, "__module__", home)
            if home.startswith("xpnet") and not home.startswith("xpnet.backends"):
                assert sys.modules[home] in modules, (module, name)
    assert not snapshots._OWN.changed()


def _named(value: Any) -> str:
    """What a test is called: the same in every process."""
    return re.sub(" at 0x[0-9a-f]+| from '.*'", "", repr(value))


@dataclass(frozen=True)
class _Pair:
    a: Any
    b: Any = field(default=None, compare=False)


@pytest.mark.parametrize(
    "value",
    [
        *(1, True, 1.0, -0.0, 0.0, np.float32(1), np.float64(1), "1", b"1", 1j, None, -1),
        *((), [], {}, set(), (1,), [1], {1: 2}, {1}, frozenset({1}), slice(1)),
        *(np, math.nan, 2**70, xn.ReLU(), xn.Tanh(), xn.LeakyReLU(), xn.LeakyReLU(0.5)),
        *(xn.Sequential(xn.ReLU()), xn.Sequential(xn.ReLU(), xn.ReLU()), xn.SGD(), xn.Momentum()),
    ],
    ids=_named,
)
def test_snapshots_of_different_values_differ(value: Any, request: Any) -> None:
    others, found = request.node.get_closest_marker("parametrize").args[1], snapshot(value)
    alike = [other for other in others if snapshot(other) == found]
    assert len(alike) == 1 and alike[0] is value
    hash(snapshot(value))


@pytest.mark.parametrize(
    "value",
    [
        *(object(), np.ones(1), lambda: 1, partial(abs), Times(1.0), Unhashable(1.0), iter(())),
        *(np.tanh, _fit, int, Fixed, xn.ReLU, sys.modules[__name__], Choice.ONE, _Pair(1)),
        *([].append, xn.ReLU().forward, Within(xn.ReLU())),
    ],
    ids=_named,
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
