"""Random trainings give what they must, and the fuzzer sees it where they do not."""

from __future__ import annotations

from typing import Any

import pytest

import xpnet as xn
from tests.fuzz import compare
from tests.fuzz.cases import make
from tests.helpers import library

SEED = 20260
REPEAT = {"jax": 50}
"""How many cases share a shape: on JAX each is compiled."""


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 100, 200])
def test_300_random_trainings_lie_within_the_radii(backend: Any, first: int) -> None:
    repeat = REPEAT.get(backend.name, 1)
    total = compare.Tally()
    for number in range(first, first + 100):
        case = make(SEED, number, repeat, large=False)
        try:
            plain = number % max(repeat, 3) == 0
            total.add(compare.fits(case, backend, compare.truth(case), plain))
        except Exception as error:
            again = f"python -m tests.fuzz --seed {SEED} --case {number} --repeat {repeat}"
            error.add_note(f"{case}\nagain: {again} --small --backend {backend.name}")
            raise
    # A radius that says nothing would let anything pass. (Of a norm over the features of nearly one
    # value it says little: what is left of them is rounding. Where a hundred cases have two shapes,
    # half of them may be of one that overflows.)
    if repeat == 1:
        assert total.known > 0.9 * total.numbers
        assert total.sharp > 0.75 * total.numbers


@pytest.mark.slow
def test_the_trainings_of_torch_lie_within_the_radii() -> None:
    library("torch")
    tally = compare.Tally()
    for number in range(100):
        case = make(SEED, number, large=False)
        compare.check_peer(case, compare.truth(case), tally)


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


FAULTS = {
    "a gradient that is off by a thousandth": (xn.MSE, "forward", _biased),
    "a bias of members that is not trained": (xn.Linear, "forward", _unbiased),
    "betas that are swapped": (xn.Adam, "__post_init__", _swapped),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_within_a_hundred_trainings(monkeypatch: Any, fault: str) -> None:
    owner, name, spoil = FAULTS[fault]
    monkeypatch.setattr(owner, name, spoil(owner))
    backend = xn.backends.get("numpy")
    with pytest.raises(compare.Difference):
        for number in range(100):
            case = make(SEED, number, large=False)
            compare.fits(case, backend, compare.truth(case), plain=False)
