"""Weight decay of weights alone: PyTorch's of two groups of parameters, on every library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library
from tests.steps import assert_agree, both, problem
from xpnet.training.step import TrainingStep

NET = xn.Sequential(
    *(xn.Embedding(5, 3), xn.RMSNorm(3), xn.Linear(3, 4), xn.PReLU(4)),
    *(xn.BatchNorm(4), xn.Residual(xn.LayerNorm(4), xn.Linear(4, 4)), xn.Linear(4, 1)),
)
WEIGHTS = {"0.weight", "2.W", "5.1.W", "6.W"}
PEERS = {  # how it is made, and PyTorch's
    "SGD": (xn.SGD, "SGD", {}),
    "Momentum": (xn.SGD, "SGD", {"momentum": 0.9}),
    "AdaGrad": (xn.AdaGrad, "Adagrad", {}),
    "Adadelta": (xn.Adadelta, "Adadelta", {}),
    "RMSprop": (xn.RMSprop, "RMSprop", {}),
    "Adam": (xn.Adam, "Adam", {}),
    "AdamW": (xn.AdamW, "AdamW", {}),
    "Adamax": (xn.Adamax, "Adamax", {}),
    "NAdam": (xn.NAdam, "NAdam", {"decoupled_weight_decay": True}),
    "RAdam": (xn.RAdam, "RAdam", {}),
}
STEPS = 10


@pytest.mark.parametrize("name", PEERS)
def test_it_is_that_of_torch_for_a_group_of_weights_and_one_of_the_rest(
    backend: Any, name: str, monkeypatch: Any
) -> None:
    torch = library("torch")
    # Its NAdam keeps the product of its momenta in the default dtype, whatever that of theta.
    monkeypatch.setattr(torch, "get_default_dtype", lambda: torch.float64)
    make, peer, more = PEERS[name]
    rng = np.random.default_rng(4)
    start, grads = rng.normal(size=NET.size), rng.normal(size=(STEPS, NET.size))
    named = {k: torch.tensor(v) for k, v in NET.unflatten(start).items()}
    groups = [
        {"params": [p for k, p in named.items() if k in WEIGHTS], "weight_decay": 0.3},
        {"params": [p for k, p in named.items() if k not in WEIGHTS], "weight_decay": 0.0},
    ]
    theirs = getattr(torch.optim, peer)(groups, lr=0.05, **more)
    ours = make(lr=0.05, weight_decay=0.3, decayed="weights", **more)
    theta = backend.asarray(start, "float64")
    state = ours.init(theta, NET)
    for grad in grads:
        for key, values in NET.unflatten(grad).items():
            named[key].grad = torch.tensor(values)
        theirs.step()
        theta, state = ours.update(theta, backend.asarray(grad, "float64"), state)
    wanted = NET.flatten({k: p.numpy() for k, p in named.items()})
    # A step rounds parameters, moments and numbers a few times each, of which all later ones know.
    bound = 16 * STEPS * EPS["float64"] * (np.abs(wanted).max() + STEPS * 0.1)
    np.testing.assert_allclose(backend.to_host(theta), wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", ["coupled", "decoupled", "schedule", "Lion"])
def test_every_runner_decays_as_the_plain_loop(
    backend: Any, name: str, members: int | None
) -> None:
    number = 0.3 if members is None else np.array([[0.3], [0.0], [0.1]])
    optimizer = {
        "coupled": xn.Momentum(0.05, weight_decay=number, decayed="weights"),
        "decoupled": xn.AdamW(0.05, weight_decay=number, decayed="weights"),
        "schedule": xn.AdamW(
            0.05, weight_decay=xn.ExponentialDecay(number + 0.1, 0.9), decayed="weights"
        ),
        "Lion": xn.Lion(0.05, weight_decay=number, decayed="weights"),
    }[name]
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), members, "float64")
    step = TrainingStep(backend.xp, net, loss, optimizer)
    assert_agree(both(backend, step, theta, data, 8), "float64", 8)


def problem_of_lines(backend: Any) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(7)
    x, y = (backend.asarray(rng.normal(size=(12, n)), "float64") for n in (3, 1))
    return xn.Sequential(xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 1)), x, y


def test_each_member_decays_by_its_own_number(backend: Any) -> None:
    net, x, y = problem_of_lines(backend)
    numbers = np.array([[0.0], [0.1], [1.0]])
    how: dict[str, Any] = {"loss": xn.MSE(), "epochs": 6}

    def optimizer(number: Any) -> xn.Optimizer:
        return xn.AdamW(0.05, weight_decay=number, decayed="weights")

    together = xn.fit(net, x, y, members=3, seed=1, optimizer=optimizer(numbers), **how)
    for i, number in enumerate(numbers.ravel()):
        alone = xn.fit(net, x, y, seed=1 + i, optimizer=optimizer(number), **how)
        found, wanted = (backend.to_host(m.theta) for m in (together.member(i), alone))
        # 6 steps of at most 0.05, whose directions are sums of 12 samples.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=100 * 6 * 12 * EPS["float64"])
        again = together.member(i)
        xn.fit(net, x, y, theta=again.theta, state=again.state, optimizer=optimizer(0.1), **how)


def test_a_training_goes_on_as_if_it_had_never_stopped(backend: Any) -> None:
    net, x, y = problem_of_lines(backend)
    how: dict[str, Any] = {
        "loss": xn.MSE(), "optimizer": xn.AdamW(0.05, weight_decay=0.3, decayed="weights"),
    }  # fmt: skip
    through = xn.fit(net, x, y, epochs=12, check_every=6, seed=1, **how)
    half = xn.fit(net, x, y, epochs=6, seed=1, **how)
    rest = xn.fit(net, x, y, epochs=6, theta=half.theta, state=half.state, **how)
    np.testing.assert_array_equal(*(backend.to_host(m.theta) for m in (rest, through)))
    # With other numbers, or all parameters, it goes on as well.
    for other in (xn.AdamW(0.05), xn.AdamW(0.05, weight_decay=0.0, decayed="weights")):
        assert "decayed" not in other.resume(half.theta, half.state, net)
    back = how["optimizer"].resume(half.theta, xn.Adam().init(half.theta), net)
    np.testing.assert_array_equal(*(backend.to_host(s["decayed"]) for s in (back, half.state)))


class Gain(xn.Layer):
    """A layer of somebody's own that does not say which of its parameters are weights."""

    samplewise = True

    def parameters(self) -> Any:
        return {"gain": (1, 1)}

    def draw(self, rng: Any) -> Any:
        return [np.ones((1, 1))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        def backprop(dy: Any, need_dx: bool = True) -> Any:
            both = xp.sum(dy * x, axis=-2, keepdims=True)
            return dy * params[0], (xp.sum(both, axis=-1, keepdims=True),)

        return x * params[0], backprop

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x * params[0]


class Known(Gain):
    weights = ()


def test_a_layer_of_somebodys_own_must_say_which_of_its_parameters_are_weights() -> None:
    backend = xn.backends.get("numpy")
    _, x, y = problem_of_lines(backend)
    how: dict[str, Any] = {
        "loss": xn.MSE(), "optimizer": xn.AdamW(decayed="weights"), "epochs": 1, "seed": 0,
    }  # fmt: skip
    with pytest.raises(
        TypeError, match=r"weights must be declared by Gain, such as weights = \(\)"
    ):
        xn.fit(xn.Sequential(xn.Linear(3, 1), Gain()), x, y, **how)
    model = xn.fit(xn.Sequential(xn.Linear(3, 1), Known()), x, y, **how)
    np.testing.assert_array_equal(model.state["decayed"], [1, 1, 1, 0, 0])


def test_mistakes_are_told() -> None:
    theta, masking = np.ones(4), xn.AdamW(decayed="weights")
    for message, call in {
        "decayed must be one of all, weights, not 'bias'": lambda: xn.SGD(decayed="bias"),
        "decayed must be 'all' for Rprop, which has no weight_decay": lambda: xn.Rprop(
            decayed="weights"
        ),
        "network must be given with decayed='weights', as in init(theta, network=net)": (
            lambda: masking.init(theta)
        ),
        "network must be a Sequential, not 5": lambda: masking.init(theta, 5),
        "theta must have the shape (12,)": lambda: masking.init(
            theta, xn.Sequential(xn.Linear(3, 3))
        ),
        "state must hold 'decayed' for Adam": lambda: masking.update(
            theta, theta, xn.AdamW().init(theta)
        ),
    }.items():
        with pytest.raises((TypeError, ValueError)) as told:
            call()
        assert message in str(told.value)
