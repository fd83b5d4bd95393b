"""Schedules and transforms of the gradient: as PyTorch's, in every runner, with every optimizer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library
from tests.steps import assert_agree, both, problem
from xpnet.training.step import TrainingStep

SCHEDULES = {
    "exponential": xn.ExponentialDecay(0.1, 0.97),
    "cosine": xn.CosineDecay(0.1, 40, 0.01),
}
TRANSFORMS = {
    "norm": (xn.ClipNorm(0.5),),
    "value": (xn.ClipValue(0.2),),
    "both": (xn.ClipValue(0.4), xn.ClipNorm(0.5)),
}
OPTIMIZERS = {
    "SGD": xn.SGD,
    "Momentum": xn.Momentum,
    "AdaGrad": xn.AdaGrad,
    "RMSprop": xn.RMSprop,
    "Adam": xn.Adam,
    "AdamW": xn.AdamW,
}
STEPS = 40


def torchs(name: str, lr: Any, transforms: Any, grads: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """What PyTorch makes of theta in float64."""
    torch = library("torch")
    parameter = torch.nn.Parameter(torch.tensor(theta))
    kind = {"Momentum": "SGD", "AdaGrad": "Adagrad"}.get(name, name)
    more = {"momentum": 0.9} if name == "Momentum" else {}
    start = lr.start if isinstance(lr, xn.Schedule) else lr
    optimizer = getattr(torch.optim, kind)([parameter], lr=start, **more)
    schedulers = torch.optim.lr_scheduler
    scheduler = None
    if isinstance(lr, xn.ExponentialDecay):
        scheduler = schedulers.ExponentialLR(optimizer, lr.gamma)
    elif isinstance(lr, xn.CosineDecay):
        scheduler = schedulers.CosineAnnealingLR(optimizer, lr.steps, lr.end)
    for grad in grads:
        parameter.grad = torch.tensor(grad)
        for transform in transforms:
            if isinstance(transform, xn.ClipNorm):
                torch.nn.utils.clip_grad_norm_([parameter], transform.most)
            else:
                torch.nn.utils.clip_grad_value_([parameter], transform.most)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return np.asarray(parameter.detach())


@pytest.mark.parametrize("transforms", [(), *TRANSFORMS.values()], ids=["none", *TRANSFORMS])
@pytest.mark.parametrize("lr", [0.1, *SCHEDULES.values()], ids=["plain", *SCHEDULES])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_pytorch(backend: Any, name: str, lr: Any, transforms: Any) -> None:
    rng = np.random.default_rng(5)
    theta, grads = rng.normal(size=7), rng.normal(size=(STEPS, 7))
    wanted = torchs(name, lr, transforms, grads, theta)
    optimizer = OPTIMIZERS[name](lr, transforms=transforms)
    now = backend.asarray(theta, "float64")
    state = optimizer.init(now)
    for grad in grads:
        now, state = optimizer.update(now, backend.asarray(grad, "float64"), state)
    # A step rounds the number, the factor of a clip and the moments a few times each, which is
    # carried on to all later steps; PyTorch multiplies its rate by γ, or adds to it, at each.
    bound = 16 * STEPS * EPS["float64"] * (np.abs(wanted).max() + STEPS * 0.1)
    np.testing.assert_allclose(backend.to_host(now), wanted, rtol=0, atol=bound)


@pytest.mark.parametrize(  # each with each; members with both by turns
    ("name", "lr", "members"),
    [
        (name, lr, None if (i + j) % 2 else 3)
        for i, name in enumerate(OPTIMIZERS)
        for j, lr in enumerate(SCHEDULES)
    ],
)
def test_every_runner_agrees_with_the_plain_loop(
    backend: Any, name: str, lr: str, members: int | None
) -> None:
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), members, "float64")
    optimizer = OPTIMIZERS[name](SCHEDULES[lr], transforms=TRANSFORMS["both"])
    step = TrainingStep(backend.xp, net, loss, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none runs operation by operation
        assert_agree(both(backend, step, theta, data, 8), "float64", 8)


def test_members_are_clipped_each_by_its_own_length(backend: Any) -> None:
    xp = backend.xp
    grads = backend.asarray([[3.0, 4.0], [0.03, 0.04], [0.0, 0.0], [3e200, 4e200]], "float64")
    found = backend.to_host(xn.ClipNorm(1.0)(xp, grads))
    wanted = np.array([[0.6, 0.8], [0.03, 0.04], [0.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(found, wanted, rtol=3e-6)  # that of the 1e-6 in its denominator


def test_a_schedule_goes_on_where_a_state_goes_on(backend: Any) -> None:
    rng = np.random.default_rng(7)
    x = backend.asarray(rng.normal(size=(12, 3)), "float64")
    y = backend.asarray(rng.normal(size=(12, 1)), "float64")
    net = xn.Sequential(xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 1))
    how = {
        "loss": xn.MSE(),
        "optimizer": xn.Adam(xn.CosineDecay(0.1, 20), transforms=(xn.ClipNorm(0.5),)),
    }
    through = xn.fit(net, x, y, epochs=12, seed=1, **how)
    half = xn.fit(net, x, y, epochs=5, seed=1, **how)
    rest = xn.fit(net, x, y, epochs=7, theta=half.theta, state=half.state, **how)
    assert "lr" not in rest.state
    # JAX compiles each number of steps by itself, and rounds each otherwise: a few times a step, of
    # moments and parameters below 4, which all later steps carry on.
    bound = 64 * 12 * EPS["float64"] if backend.name == "jax" else 0
    now, then = (backend.to_host(model.theta) for model in (rest, through))
    np.testing.assert_allclose(now, then, rtol=0, atol=bound)


def test_a_schedule_is_the_same_beyond_what_float32_counts() -> None:
    """Decayed to its end long before, at 2²⁴ steps and beyond."""
    for count in (2.0**24, 2.0**40):
        done = np.float32(count)
        assert xn.CosineDecay(0.1, 1000, 0.01)(np, np.asarray(done)) == np.float32(0.01)
        assert xn.ExponentialDecay(0.1, 0.99)(np, np.asarray(done)) == 0


@dataclass(frozen=True)
class Own(xn.Schedule):
    """One of somebody's own, by steps."""

    start: float

    def __call__(self, xp: Any, done: Any) -> Any:
        return xp.where(done < 3, self.start * xp.ones_like(done), 0.1 * xp.ones_like(done))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_schedule_of_ones_own_is_trained_with(backend: Any, dtype: str) -> None:
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), None, dtype)
    step = TrainingStep(backend.xp, net, loss, xn.SGD(Own(0.2)))
    assert_agree(both(backend, step, theta, data, 4), dtype, 4)


class Total(xn.Transform):
    """What is no gradient any more."""

    def __call__(self, xp: Any, grad: Any) -> Any:
        return xp.sum(grad, axis=-1, keepdims=True)


class Several(xn.Schedule):
    """Several numbers for one."""

    def __call__(self, xp: Any, done: Any) -> Any:
        return xp.stack([done, done])


class Python(xn.Schedule):
    """A number that is no array of the library."""

    def __call__(self, xp: Any, done: Any) -> Any:
        return 0.1


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (xn.SGD(transforms=(Total(),)), "must give a gradient of the shape"),
        (xn.SGD(Several()), "must give an array of the shape"),
        (xn.Adam(Python()), "must give an array of the shape"),
    ],
    ids=["transform", "shape", "number"],
)
def test_what_a_part_of_ones_own_gives_wrong_is_told(
    backend: Any, optimizer: Any, message: str
) -> None:
    net, theta, loss, (x, y, _) = problem(backend, "MSE", xn.Tanh(), None, "float64")
    with pytest.raises(ValueError, match=message):
        xn.fit(net, x, y, loss=loss, optimizer=optimizer, epochs=2, theta=theta)


MISTAKES = {
    "transforms must be a sequence of transforms, as (ClipNorm(most=1.0),).": lambda: xn.SGD(
        transforms=xn.ClipNorm(1.0)
    ),
    "transforms[0] must be a transform such as ClipNorm(1.0), not 1.0.": lambda: xn.Adam(
        transforms=[1.0]
    ),
    "most must be a finite number above 0, not 0.": lambda: xn.ClipNorm(0),
    "gamma must be": lambda: xn.ExponentialDecay(0.1, 1.5),
    "start must be": lambda: xn.CosineDecay(-1, 5),
    "steps must be": lambda: xn.CosineDecay(0.1, 0),
    "momentum must be a number, or one a member, not the schedule": lambda: xn.SGD(
        momentum=xn.CosineDecay(0.1, 5)
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_told(message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as told:
        MISTAKES[message]()
    assert message in str(told.value)
