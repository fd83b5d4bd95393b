"""Schedules and transforms of the gradient: as PyTorch's, in every runner, with every optimizer."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library
from tests.steps import assert_agree, both, problem
from xpnet.training.step import TrainingStep

SCHEDULES = {
    "exponential": xn.ExponentialDecay(0.1, 0.97),
    "steps": xn.StepDecay(0.1, 7, 0.5),
    "polynomial": xn.PolynomialDecay(0.1, 30, 2.0),
    "piecewise": xn.PiecewiseConstant((10, 25), (0.1, 0.01, 0.001)),
    "cosine": xn.CosineDecay(0.1, 40, 0.01),
    "restarts": xn.CosineRestarts(0.1, 7, end=0.01),
    "longer restarts": xn.CosineRestarts(0.1, 5, 2, 0.01),
    "warm-up": xn.WarmUp(10, 0.1, 0.25),
    "warm-up, cosine": xn.WarmUp(10, xn.CosineDecay(0.1, 30, 0.01), 0.25),
    "one cycle": xn.OneCycle(0.1, 40),
}
PEERS = {
    "exponential": lambda torchs, o: torchs.ExponentialLR(o, 0.97),
    "steps": lambda torchs, o: torchs.StepLR(o, 7, 0.5),
    "polynomial": lambda torchs, o: torchs.PolynomialLR(o, 30, 2.0),
    "piecewise": lambda torchs, o: torchs.MultiStepLR(o, [10, 25], 0.1),
    "cosine": lambda torchs, o: torchs.CosineAnnealingLR(o, 40, 0.01),
    "restarts": lambda torchs, o: torchs.CosineAnnealingWarmRestarts(o, 7, 1, 0.01),
    "longer restarts": lambda torchs, o: torchs.CosineAnnealingWarmRestarts(o, 5, 2, 0.01),
    "warm-up": lambda torchs, o: torchs.LinearLR(o, 0.25, total_iters=10),
    "warm-up, cosine": lambda torchs, o: torchs.SequentialLR(
        o, [torchs.LinearLR(o, 0.25, total_iters=10), torchs.CosineAnnealingLR(o, 30, 0.01)], [10]
    ),
    "one cycle": lambda torchs, o: torchs.OneCycleLR(o, 0.1, 40, cycle_momentum=False),
}
"""What PyTorch calls them, for an optimizer whose rate is 0.1."""
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


def torchs(name: str, lr: str, transforms: Any, grads: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """What PyTorch makes of theta in float64."""
    torch = library("torch")
    parameter = torch.nn.Parameter(torch.tensor(theta))
    kind = {"Momentum": "SGD", "AdaGrad": "Adagrad"}.get(name, name)
    more = {"momentum": 0.9} if name == "Momentum" else {}
    optimizer = getattr(torch.optim, kind)([parameter], lr=0.1, **more)
    scheduler = PEERS[lr](torch.optim.lr_scheduler, optimizer) if lr in PEERS else None
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


@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")  # PyTorch's to itself
@pytest.mark.parametrize(  # each optimizer with each transform and two schedules, and all schedules
    ("name", "lr", "transforms"),
    [
        *itertools.product(OPTIMIZERS, ("plain", "cosine"), ("none", *TRANSFORMS)),
        *(("SGD", lr, "none") for lr in SCHEDULES if lr != "cosine"),
    ],
)
def test_updates_are_those_of_pytorch(backend: Any, name: str, lr: str, transforms: str) -> None:
    rng = np.random.default_rng(5)
    theta, grads = rng.normal(size=7), rng.normal(size=(STEPS, 7))
    first = TRANSFORMS.get(transforms, ())
    wanted = torchs(name, lr, first, grads, theta)
    optimizer = OPTIMIZERS[name](SCHEDULES.get(lr, 0.1), transforms=first)
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
        if name in ("SGD", "AdamW") or lr in ("exponential", "cosine")
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


CLIPS = {"clip_norm": xn.ClipNorm, "clip_value": xn.ClipValue}


def updated(backend: Any, optimizer: xn.Optimizer, theta: Any, grads: Any) -> np.ndarray:
    """Theta after an update by each of the gradients."""
    now = backend.asarray(theta, "float64")
    state = optimizer.init(now)
    for grad in grads:
        now, state = optimizer.update(now, backend.asarray(grad, "float64"), state)
    return backend.to_host(now)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_by_its_name_is_the_transform_behind_all_others(backend: Any, name: str) -> None:
    rng = np.random.default_rng(6)
    theta, grads = rng.normal(size=7), rng.normal(size=(5, 7))
    first = (xn.ClipValue(0.9),)
    for make in (xn.Momentum, xn.AdamW, xn.Lion):
        short = make(transforms=first, **{name: 0.5})
        long = make(transforms=(*first, CLIPS[name](0.5)))
        found, wanted = (updated(backend, one, theta, grads) for one in (short, long))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_of_each_member_is_its_own(backend: Any, name: str) -> None:
    rng = np.random.default_rng(6)
    theta, grads = rng.normal(size=(3, 7)), rng.normal(size=(5, 3, 7))
    limits = np.array([[0.1], [0.5], [1e3]])
    found = updated(backend, xn.SGD(0.1, **{name: limits}), theta, grads)
    for i, limit in enumerate(limits.ravel()):
        alone = updated(backend, xn.SGD(0.1, **{name: limit}), theta[i], grads[:, i])
        # A length is a sum of seven squares, and each step rounds twice more.
        bound = 5 * 12 * EPS["float64"] * np.abs(theta).max()
        np.testing.assert_allclose(found[i], alone, rtol=0, atol=bound)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", CLIPS)
def test_every_runner_clips_as_the_plain_loop(backend: Any, name: str, members: int | None) -> None:
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), members, "float64")
    limit = 0.2 if members is None else np.array([[0.1], [0.2], [1e3]])
    step = TrainingStep(backend.xp, net, loss, xn.Adam(0.1, **{name: limit}))
    assert_agree(both(backend, step, theta, data, 8), "float64", 8)


def test_an_optimizer_tells_its_numbers_in_a_few_words() -> None:
    many = np.full((250, 1), 0.5)
    assert repr(xn.Momentum(0.1, clip_norm=1)) == (
        "SGD(lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.0, nesterov=False, "
        "maximize=False, clip_norm=1.0)"
    )
    for optimizer in (xn.Adam(many, (many, 0.9)), xn.Adam(xn.WarmUp(3, xn.CosineDecay(many, 9)))):
        assert "<ndarray of shape (250, 1)>" in repr(optimizer)
        assert len(repr(optimizer)) < 250


MANY = {  # numbers of three members, and how a schedule is made of one of each
    "exponential": ({"start": [0.1, 0.2, 0.0], "gamma": [0.9, 1.0, 0.5]}, xn.ExponentialDecay),
    "steps": ({"start": [0.1, 0.2, 0.3], "gamma": [0.9, 1.0, 0.5]}, partial(xn.StepDecay, every=3)),
    "polynomial": (
        {"start": [0.1, 0.2, 0.3], "power": [1.0, 2.0, 0.5], "end": [0.0, 0.1, 0.2]},
        partial(xn.PolynomialDecay, steps=8),
    ),
    "cosine": (
        {"start": [0.1, 0.2, 0.3], "end": [0.0, 0.1, 0.0]},
        partial(xn.CosineDecay, steps=8),
    ),
    "restarts": ({"start": [0.1, 0.2, 0.3]}, partial(xn.CosineRestarts, steps=3, factor=2)),
    "warm-up": (
        {"start": [0.1, 0.2, 0.3], "gamma": [0.9, 1.0, 0.5]},
        lambda start, gamma: xn.WarmUp(4, xn.WarmUp(2, xn.ExponentialDecay(start, gamma), 0.5)),
    ),
    "one cycle": (
        {"most": [0.1, 0.2, 0.3], "first": [10, 20, 30]},
        partial(xn.OneCycle, steps=12),
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_schedules_of_the_members_are_those_of_each_alone(backend: Any, name: str) -> None:
    numbers, make = MANY[name]
    rng = np.random.default_rng(7)
    x = backend.asarray(rng.normal(size=(12, 3)), "float32")
    y = backend.asarray(rng.normal(size=(12, 1)), "float32")
    net = xn.Sequential(xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 1))
    arrays = {k: backend.asarray(np.array(v)[:, None], "float32") for k, v in numbers.items()}
    how = {"loss": xn.MSE(), "epochs": 12, "check_every": 4}
    together = xn.fit(net, x, y, members=3, seed=1, optimizer=xn.SGD(make(**arrays)), **how)
    for i in range(3):
        one = xn.SGD(make(**{k: v[i] for k, v in numbers.items()}))
        alone = backend.to_host(xn.fit(net, x, y, seed=1 + i, optimizer=one, **how).theta)
        # A rate is rounded a few times of itself, and each step by a few hundred sums; the map of a
        # step at most doubles what was: 12 steps of rates below 0.3 here.
        bound = 300 * 12 * EPS["float32"] * max(1, np.abs(alone).max())
        found = backend.to_host(together.theta)[i]
        np.testing.assert_allclose(found, alone, rtol=0, atol=bound)


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


def test_a_state_of_schedules_of_the_members_goes_on_with_other_numbers(backend: Any) -> None:
    theta = backend.asarray(np.ones((2, 4)), "float64")
    starts = backend.asarray(np.array([[0.1], [0.2]]), "float64")
    before = xn.Adam(xn.WarmUp(2, xn.ExponentialDecay(starts, 0.5 + starts)))
    _, state = before.update(theta, theta, before.init(theta))
    assert {"lr.then.start", "lr.then.gamma", "log lr.then.gamma"} <= state.keys()
    for other in (
        xn.Adam(0.1),
        xn.Adam(xn.CosineDecay(0.1, 5)),
        xn.Adam(xn.CosineDecay(starts, 5)),
    ):
        resumed = other.resume(theta, state)
        assert resumed.keys() == other.init(theta).keys()
        np.testing.assert_array_equal(*(backend.to_host(s["m"]) for s in (resumed, state)))
    with pytest.raises(ValueError, match=r"must be one of SGD, which has no 'm', 'v'\."):
        xn.SGD(0.1).resume(theta, state)


def test_a_schedule_is_the_same_beyond_what_float32_counts() -> None:
    """Decayed to its end long before, at 2²⁴ steps and beyond."""
    for count in (2.0**24, 2.0**40):
        done = np.float32(count)
        assert xn.CosineDecay(0.1, 1000, 0.01)(np, np.asarray(done)) == np.float32(0.01)
        assert xn.ExponentialDecay(0.1, 0.99)(np, np.asarray(done)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("steps", "factor"), [(5, 2), (7, 3), (2, 2), (10, 10), (7, 1), (1000, 1)])
def test_restarts_come_at_their_step_for_a_million_steps(
    backend: Any, steps: int, factor: int, dtype: str
) -> None:
    begins, lengths = [0], [steps]
    while begins[-1] + lengths[-1] < 2**20:
        begins.append(begins[-1] + lengths[-1])
        lengths.append(lengths[-1] * factor)
    ends = np.array(begins) + lengths
    with backend.context():
        firsts, lasts = (backend.asarray(np.array(t)[:, None], dtype) for t in (begins, ends - 1))
        restarted = xn.CosineRestarts(1.0, steps, factor)
        assert (backend.to_host(restarted(backend.xp, firsts)) == 1).all()
        # (1 + cos(π (n − 1) / n)) / 2 is at most 1 / 2, with a few roundings; too early it is 1.
        assert (backend.to_host(restarted(backend.xp, lasts)) <= 0.5 + 16 * EPS[dtype]).all()
        if factor == 1:  # it has gone down as often at the last step of each
            found = backend.to_host(xn.StepDecay(1.0, steps, 0.999)(backend.xp, lasts)).ravel()
            times = np.arange(len(begins))
            # A rounding of the exponent is one of the result, times its size.
            bound = 4 * EPS[dtype] * (1 + times.max() * 1e-3)
            np.testing.assert_allclose(found, 0.999**times, rtol=bound, atol=np.finfo(dtype).tiny)


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
    "clip_norm must be a finite number above 0, not 0.": lambda: xn.Lion(clip_norm=0),
    "clip_value must be None where clip_norm is given, not 2; transforms=": lambda: xn.SGD(
        clip_norm=1, clip_value=2
    ),
    "clip_value must be a finite number above 0, or an array of shape (members, 1), not": (
        lambda: xn.AdamW(clip_value=[1, 2])
    ),
    "gamma must be": lambda: xn.ExponentialDecay(0.1, 1.5),
    "start must be": lambda: xn.CosineDecay(-1, 5),
    "steps must be": lambda: xn.CosineDecay(0.1, 0),
    "every must be": lambda: xn.StepDecay(0.1, 0),
    "power must be a finite number above 0, not 0.": lambda: xn.PolynomialDecay(0.1, 5, 0),
    "boundaries must grow, not be [5, 5].": lambda: xn.PiecewiseConstant((5, 5), (1, 2, 3)),
    "values must be 2, one more than the boundaries, not 1.": lambda: xn.PiecewiseConstant(
        [5], [0.1]
    ),
    "boundaries must be a sequence of numbers, not 5.": lambda: xn.PiecewiseConstant(5, [0.1]),
    "factor must be": lambda: xn.CosineRestarts(0.1, 5, 0),
    "then must be a finite number of at least 0, not -1": lambda: xn.WarmUp(5, -1),
    "then must be a schedule such as CosineDecay": lambda: xn.WarmUp(5, xn.CosineDecay),
    "steps must be enough to go up and down, above 3.33": lambda: xn.OneCycle(0.1, 3),
    "start must be a number or an array of shape (members, 1), not of": lambda: xn.CosineDecay(
        np.ones(3), 5
    ),
    "lr.start must be a number, or an array of shape (2, 1) for 2 members, not": lambda: xn.SGD(
        xn.CosineDecay(np.ones((3, 1)), 5)
    ).init(np.ones((2, 4))),
    "momentum must be a number, or one a member, not the schedule": lambda: xn.SGD(
        momentum=xn.CosineDecay(0.1, 5)
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_told(message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as told:
        MISTAKES[message]()
    assert message in str(told.value)
