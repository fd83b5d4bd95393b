"""Random trainings give what they must, and the fuzzer sees it where they do not."""

from __future__ import annotations

from typing import Any

import pytest

import xpnet as xn
from tests.fuzz import compare
from tests.fuzz.cases import make
from tests.helpers import library
from xpnet.losses import without
from xpnet.noise import Stream
from xpnet.optimizers import base

SEED = 20260
REPEAT = {"jax": 50}
"""How many cases share a shape: on JAX each is compiled."""
PLAIN = {"jax": 300}
"""Of how many cases one goes by the plain loop too: there JAX compiles each operation."""


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 100, 200])
def test_300_random_trainings_lie_within_the_radii(backend: Any, first: int) -> None:
    repeat = REPEAT.get(backend.name, 1)
    total = compare.Tally()
    for number in range(first, first + 100):
        case = make(SEED, number, repeat, large=False)
        try:
            plain = number % PLAIN.get(backend.name, 3) == 0
            total.add(compare.fits(case, backend, compare.truth(case), plain))
        except Exception as error:
            again = f"python -m tests.fuzz --seed {SEED} --case {number} --repeat {repeat}"
            error.add_note(f"{case}\nagain: {again} --small --backend {backend.name}")
            raise
    # A radius that says nothing would let anything pass. How much of all numbers that may be is no
    # question of right: one training of large layers that overflows, as some are drawn to, has more
    # of them than ten others. But what makes a training wide (data above 10³ in 10 of 100, targets
    # in 8, parameters above 3 in 8, rates above 1 in 10) is drawn for fewer than half of them; the
    # others should be sharp in every number, since a thousandth is 10⁴ roundings of float32 and
    # 10¹² of float64. (Where a hundred cases have two shapes, one of them may be drawn so.)
    if repeat == 1:
        assert total.sharp_cases > total.cases / 2


@pytest.mark.slow
def test_the_trainings_of_torch_lie_within_the_radii() -> None:
    library("torch")
    for number in range(100):
        case = make(SEED, number, large=False)
        compare.check_peer(case, compare.truth(case))


def _biased(loss: Any) -> Any:
    forward = loss.forward

    def off(self: Any, *args: Any) -> Any:
        value, backprop = forward(self, *args)
        return value, lambda: backprop() * (1 + 1e-3)

    return off


def _unbiased(layer: Any) -> Any:
    forward = layer.forward

    def off(self: Any, *args: Any) -> Any:
        y, backprop = forward(self, *args)

        def without(dy: Any, need_dx: bool = True) -> Any:
            dx, (dW, db) = backprop(dy, need_dx)
            return dx, (dW, db if len(db.shape) == 2 else 0 * db)

        return y, without

    return off


def _swapped(optimizer: Any) -> Any:
    init = optimizer.__post_init__

    def off(self: Any) -> None:
        init(self)
        object.__setattr__(self, "betas", self.betas[::-1])

    return off


def _without_bessel(layer: Any) -> Any:
    forward = layer.forward

    def off(self: Any, xp: Any, params: Any, x: Any, state: Any, noise: Any) -> Any:
        y, backprop, (mean, var) = forward(self, xp, params, x, state, noise)
        kept, n = (1 - self.momentum) * state[1], x.shape[-2]
        return y, backprop, (mean, (var - kept) * ((n - 1) / n) + kept)

    return off


def _forgetful(layer: Any) -> Any:
    init = layer.__post_init__

    def off(self: Any) -> None:
        init(self)
        object.__setattr__(self, "momentum", 1 - self.momentum)

    return off


def _zeroed(network: Any) -> Any:
    return lambda self, backend, x, weight: without(backend, x, weight)


def _off(name: str) -> Any:
    def spoil(module: Any) -> Any:
        function = getattr(module, name)
        return lambda *args: function(*args) * (1 + 1e-3)

    return spoil


def _drawn_with(other: Any) -> Any:
    def spoil(layer: Any) -> Any:
        forward = layer.forward

        def off(self: Any, xp: Any, params: Any, x: Any, state: Any, noise: Any) -> Any:
            return forward(self, xp, params, x, state, other(noise))

        return off

    return spoil


FAULTS = {
    "a gradient that is off by a thousandth": (xn.Huber, "forward", _biased),
    "a gradient of the hinge that is off by a thousandth": (xn.Hinge, "forward", _biased),
    "an average that is off by a thousandth": (base, "averaged", _off("averaged")),
    "a clipped gradient that is off by a thousandth": (base, "clip_norm", _off("clip_norm")),
    "a bias of members that is not trained": (xn.Linear, "forward", _unbiased),
    "betas that are swapped": (xn.Adam, "__post_init__", _swapped),
    "a running variance without Bessel's correction": (xn.BatchNorm, "forward", _without_bessel),
    "a momentum that is swapped": (xn.BatchNorm, "__post_init__", _forgetful),
    "statistics of zeros for samples of weight 0": (xn.Sequential, "counted", _zeroed),
    "a mask of another step": (
        xn.Dropout,
        "forward",
        _drawn_with(lambda s: Stream(s.key, s.step + 1, s.first, s.path)),
    ),
    "masks that are those of one layer": (
        xn.Dropout,
        "forward",
        _drawn_with(lambda s: Stream(s.key, s.step, s.first)),
    ),
    "masks of a part that begin as the batch does": (
        xn.Dropout,
        "forward",
        _drawn_with(lambda s: Stream(s.key, s.step, 0, s.path)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_within_a_hundred_trainings(monkeypatch: Any, fault: str) -> None:
    owner, name, spoil = FAULTS[fault]
    monkeypatch.setattr(owner, name, spoil(owner))
    backend = xn.backends.get("numpy")
    with pytest.raises(compare.Difference):
        for number in range(100):
            case = make(SEED, number, large=False)
            compare.fits(case, backend, compare.truth(case), plain=False)
