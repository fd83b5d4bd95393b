"""The optimizers: each equals ``torch.optim``'s of the same name, on every library.

The algorithms are written out below as in PyTorch's documentation, plainly and in float64. That
reference is compared with PyTorch where it is installed, and every library with the reference.
"""

import copy
import pickle
from functools import cache

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, arr, assert_close, assert_equal, host, library
from xpnet.optimizers.states import next_step

# array-api-strict checks each call, and takes two thirds of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")

STEPS = (1, 10, 200)
SIZE = 7


def sgd(theta, grads, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    v = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * theta
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        theta = theta - lr * g
        yield theta


def adagrad(theta, grads, lr, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
            maximize=False):  # fmt: skip
    s = np.full_like(theta, initial_accumulator_value)
    for t, g in enumerate(grads, 1):
        g = (-g if maximize else g) + weight_decay * theta
        s = s + g**2
        theta = theta - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + eps)
        yield theta


def rmsprop(theta, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
            maximize=False):  # fmt: skip
    s = mean = v = np.zeros_like(theta)
    for g in grads:
        g = (-g if maximize else g) + weight_decay * theta
        s = alpha * s + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        d = g / (np.sqrt(s - mean**2 if centered else s) + eps)
        v = momentum * v + d
        theta = theta - lr * (v if momentum else d)
        yield theta


def adam(theta, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False,
         maximize=False, decoupled=False, eps_hat=False):  # fmt: skip
    m = v = v_max = np.zeros_like(theta)
    b1, b2 = betas
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_max = np.maximum(v, v_max)
        v_hat = (v_max if amsgrad else v) / (1 - b2**t)
        small = eps / np.sqrt(1 - b2**t) if eps_hat else eps
        theta = theta - lr * m / (1 - b1**t) / (np.sqrt(v_hat) + small)
        yield theta


def adamw(theta, grads, lr, weight_decay=1e-2, **options):
    return adam(theta, grads, lr, weight_decay=weight_decay, decoupled=True, **options)


def adadelta(theta, grads, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, maximize=False):
    s = u = np.zeros_like(theta)
    for g in grads:
        g = (-g if maximize else g) + weight_decay * theta
        s = rho * s + (1 - rho) * g**2
        d = np.sqrt(u + eps) / np.sqrt(s + eps) * g
        u = rho * u + (1 - rho) * d**2
        theta = theta - lr * d
        yield theta


def adamax(theta, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, maximize=False):
    m = u = np.zeros_like(theta)
    for t, g in enumerate(grads, 1):
        g = (-g if maximize else g) + weight_decay * theta
        m = betas[0] * m + (1 - betas[0]) * g
        u = np.maximum(betas[1] * u, abs(g) + eps)
        theta = theta - lr / (1 - betas[0] ** t) * m / u
        yield theta


def nadam(theta, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
          decoupled_weight_decay=False, maximize=False):  # fmt: skip
    m = v = np.zeros_like(theta)
    product = 1.0
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled_weight_decay:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        now, after = (betas[0] * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
        product *= now
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        d = np.sqrt(v / (1 - betas[1] ** t)) + eps
        theta = theta - lr * (1 - now) / (1 - product) * g / d
        theta = theta - lr * after / (1 - product * after) * m / d
        yield theta


def radam(theta, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
          decoupled_weight_decay=False, maximize=False):  # fmt: skip
    m = v = np.zeros_like(theta)
    limit = 2 / (1 - betas[1]) - 1
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled_weight_decay:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        power = betas[1] ** t
        rho, step = limit - 2 * t * power / (1 - power), m / (1 - betas[0] ** t)
        if rho > 5:
            ratio = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
            step = step * np.sqrt(ratio * (1 - power)) / (np.sqrt(v) + eps)
        theta = theta - lr * step
        yield theta


def rprop(theta, grads, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), maximize=False):
    before, size = np.zeros_like(theta), np.full_like(theta, lr)
    for g in grads:
        g = -g if maximize else g
        turned = np.sign(g) * np.sign(before)
        size = np.clip(size * np.array([1, etas[1], etas[0]])[turned.astype(int)], *step_sizes)
        before = np.where(turned < 0, 0, g)
        theta = theta - np.sign(before) * size
        yield theta


def lion(theta, grads, lr=1e-4, betas=(0.9, 0.99), weight_decay=0, maximize=False):
    m = np.zeros_like(theta)
    for g in grads:
        g = -g if maximize else g
        way = np.sign(betas[0] * m + (1 - betas[0]) * g)
        theta = theta - lr * (way + weight_decay * theta)
        m = betas[1] * m + (1 - betas[1]) * g
        yield theta


NAMES = {  # ours, PyTorch's, the reference
    "SGD": (xn.SGD, "SGD", sgd),
    "Momentum": (xn.Momentum, "SGD", sgd),
    "AdaGrad": (xn.AdaGrad, "Adagrad", adagrad),
    "RMSprop": (xn.RMSprop, "RMSprop", rmsprop),
    "Adam": (xn.Adam, "Adam", adam),
    "AdamW": (xn.AdamW, "AdamW", adamw),
    "Adadelta": (xn.Adadelta, "Adadelta", adadelta),
    "Adamax": (xn.Adamax, "Adamax", adamax),
    "NAdam": (xn.NAdam, "NAdam", nadam),
    "RAdam": (xn.RAdam, "RAdam", radam),
    "Rprop": (xn.Rprop, "Rprop", rprop),
    "Lion": (xn.Lion, None, lion),
    "Adam, of Keras": (xn.Adam, None, adam),
}

OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Momentum", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("AdaGrad", {"lr": 0.1}),
    ("AdaGrad", {"lr": 0.1, "lr_decay": 0.05}),
    ("AdaGrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("AdaGrad", {"lr": 0.1, "weight_decay": 0.2, "maximize": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.01, "centered": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "maximize": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.01, "betas": (0.0, 0.0)}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.01, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "maximize": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "maximize": True, "betas": (0.8, 0.99)}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {"betas": (0.0, 0.0), "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "momentum_decay": 0.1}),
    # With a smaller ε and gradients below it, lr λ / ε > 1 multiplies each rounding step by step.
    ("NAdam", {"eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"betas": (0.9, 0.5), "maximize": True}),
    ("RAdam", {"betas": (0.0, 0.99), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.5), "maximize": True}),
    ("Lion", {}),
    ("Lion", {"lr": 0.01, "betas": (0.5, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("Adam, of Keras", {"lr": 0.01, "eps": 1e-3, "eps_hat": True}),
]
WITH_PEERS = [(name, options) for name, options in OPTIONS if NAMES[name][1]]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for name, options in OPTIONS]


@cache
def problem():
    """Initial parameters and 200 gradients, which float32 holds exactly."""
    rng = np.random.default_rng(2023)
    draws = rng.normal(size=(STEPS[-1] + 1, SIZE)) * np.geomspace(0.01, 10, SIZE)
    draws = draws.astype(np.float32).astype(np.float64)
    return draws[0], draws[1:]


@cache
def path_of(name, options):
    return list(NAMES[name][2](*problem(), **dict(options)))


def reference(name, options):
    """The parameters after each of the steps."""
    return path_of(name, tuple(options.items()))


def bound(path, t, dtype):
    """How far roundings can have moved the parameters after ``t`` steps.

    Each step rounds the parameters, moments and numbers once or twice; a rounding of a moment is
    carried on to all later steps. So the direction of a step is good to 4 t ulp at worst, and the
    parameters to that share of the way they went, besides the rounding of every sum.
    """
    start = problem()[0]
    way = np.abs(np.diff([start, *path[:t]], axis=0)).max(axis=1).sum()
    return 4 * t * EPS[dtype] * (np.abs(path[:t]).max() + way)


def run(backend, optimizer, theta, grads, dtype):
    """The parameters after 1, 10 and 200 updates; nothing that was handed in may have changed."""
    theta = arr(backend, theta, dtype)
    start = theta
    state = optimizer.init(theta)
    found = {}
    for t, g in enumerate(grads, 1):
        grad = arr(backend, g, dtype)
        after, state = optimizer.update(theta, grad, state)
        if t <= 2:
            assert_equal(backend, grad, np.asarray(g, dtype), dtype=dtype)
        theta = after
        if t in STEPS:
            found[t] = theta
    assert_equal(backend, start, np.asarray(host(backend, start), dtype), dtype=dtype)
    return found


@pytest.mark.parametrize(("name", "options"), WITH_PEERS, ids=IDS[: len(WITH_PEERS)])
def test_the_reference_is_what_torch_optim_computes(name, options, monkeypatch):
    torch = library("torch")
    # Its NAdam keeps the product of its momenta in the default dtype, whatever that of theta.
    monkeypatch.setattr(torch, "get_default_dtype", lambda: torch.float64)
    start, grads = problem()
    path = reference(name, options)
    theta = torch.tensor(start)
    optimizer = getattr(torch.optim, NAMES[name][1])([theta], **options)
    for t, g in enumerate(grads, 1):
        theta.grad = torch.tensor(g)
        optimizer.step()
        if t in STEPS:
            np.testing.assert_allclose(
                theta.numpy(), path[t - 1], rtol=0, atol=bound(path, t, "float64")
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_an_optimizer_equals_torch_optims_of_the_same_name_for_200_steps(
    backend, name, options, dtype
):
    path = reference(name, options)
    for t, theta in run(backend, NAMES[name][0](**options), *problem(), dtype).items():
        assert_close(backend, theta, path[t - 1], atol=bound(path, t, dtype), dtype=dtype)


# ---- what is extreme

SCALES = {
    "float32": (1e-30, 1e-20, 1e-10, 1.0, 1e9, 1e15, 3e17, 3e18, 1e19),
    "float64": (1e-300, 1e-150, 1e-30, 1.0, 1e19, 1e100, 3e152, 3e153, 1e154),
}


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), WITH_PEERS, ids=IDS[: len(WITH_PEERS)])
def test_gradients_that_torch_optim_survives_are_survived(
    backend, name, options, dtype, members, monkeypatch
):
    torch, scales, n = library("torch"), np.array(SCALES[dtype]), 60
    monkeypatch.setattr(torch, "get_default_dtype", lambda: getattr(torch, dtype))
    if name == "Rprop":  # of which torch multiplies two gradients, for the sign
        scales = scales[scales**2 > np.finfo(dtype).tiny]
    draws = np.random.default_rng(5).normal(size=(n, len(scales))) + 0.5
    grads = (draws / np.abs(draws).max() * scales).astype(dtype)
    theirs = torch.zeros(len(scales), dtype=getattr(torch, dtype))
    optimizer = getattr(torch.optim, NAMES[name][1])([theirs], **options)
    path = [theirs.numpy().astype(np.float64)]
    for g in grads:
        theirs.grad = torch.tensor(g)
        optimizer.step()
        path.append(theirs.numpy().astype(np.float64))
    ours = NAMES[name][0](**options)
    theta = arr(backend, np.zeros((*[members] * bool(members), len(scales))), dtype)
    state = ours.init(theta)
    with backend.context():
        for g in grads:
            grad = arr(backend, np.broadcast_to(g, theta.shape), dtype)
            theta, state = ours.update(theta, grad, state)
    # As in `bound`, for each scale; twice, since torch rounds as well. What has not overflowed
    # there has not here.
    scale = np.abs(path).max(axis=0) + np.abs(np.diff(path, axis=0)).sum(axis=0)
    atol = 8 * n * EPS[dtype] * scale
    found = host(backend, theta, dtype=dtype).astype(np.float64)
    finite = np.isfinite(path[-1])
    assert finite.all() or name in ("SGD", "Momentum", "AdaGrad", "RMSprop")
    difference = np.abs(found - path[-1])[..., finite]
    assert (difference <= atol[finite]).all(), difference / atol[finite]


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "AMSGrad"])
def test_adam_goes_on_for_1000_steps_along_gradients_near_the_root_of_the_largest_float(
    backend, optimizer
):
    make = {"Adam": xn.Adam(), "AdamW": xn.AdamW(), "AMSGrad": xn.Adam(amsgrad=True)}[optimizer]
    theta, grad = arr(backend, [0.0], "float32"), arr(backend, [3e18], "float32")
    state = make.init(theta)
    for _ in range(1000):
        theta, state = make.update(theta, grad, state)
    # Steps of lr, decayed by at most lr · weight_decay · 1 each: θ' = −1 − λ θ to first order.
    decayed = 1 - 0.5e-2 if optimizer == "AdamW" else 1
    atol = 1e-4 if optimizer == "AdamW" else 8 * 1000 * EPS["float32"]
    assert_close(backend, theta, [-decayed], atol=atol, dtype="float32")


NEAR_1 = 1 - 1e-8
CLOSE = {
    "beta1": lambda b: xn.Adam(0.1, (b, 0.999)),
    "beta2": lambda b: xn.Adam(0.1, (0.9, b)),
    "amsgrad": lambda b: xn.Adam(0.1, (0.9, b), amsgrad=True),
    "adamw": lambda b: xn.AdamW(0.1, (b, b)),
    "alpha": lambda b: xn.RMSprop(0.1, b),
    "centered": lambda b: xn.RMSprop(0.1, b, centered=True, momentum=b),
    "rho": lambda b: xn.Adadelta(1.0, b),
    "adamax": lambda b: xn.Adamax(0.1, (b, b)),
    "nadam": lambda b: xn.NAdam(0.1, (b, b)),
    "radam": lambda b: xn.RAdam(0.1, (b, b)),
    "lion": lambda b: xn.Lion(0.1, (b, b)),
}


@pytest.mark.parametrize("name", CLOSE)
def test_arrays_of_numbers_near_1_do_what_the_plain_number_does_in_float32(backend, name):
    theta = np.stack([problem()[0]] * 2)
    grads = np.stack([problem()[1][:20]] * 2, axis=1)
    results = []
    for number in (NEAR_1, np.full((2, 1), NEAR_1), arr(backend, np.full((2, 1), NEAR_1))
                   if backend.name != "jax" else np.full((2, 1), NEAR_1)):  # fmt: skip
        optimizer = CLOSE[name](number)
        after, state = arr(backend, theta, "float32"), None
        state = optimizer.init(after)
        for g in grads:
            after, state = optimizer.update(after, arr(backend, g, "float32"), state)
        results.append(host(backend, after, dtype="float32"))
    assert np.isfinite(results[0]).all()
    assert (results[0] != theta.astype(np.float32)).any()
    scale = np.abs(results[0]).max()
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=80 * EPS["float32"] * scale)


def test_a_dampening_near_1_takes_the_rest_of_the_gradient_in_float32(backend):
    # v₁ = g, v₂ = μ v₁ + 1e-8 g with g = 1, then g = 1e8.
    for shape in ((1,), (2, 1)):
        optimizer = xn.SGD(1.0, momentum=0.5, dampening=NEAR_1)
        theta = arr(backend, np.zeros(shape), "float32")
        state = optimizer.init(theta)
        for g in (1.0, 1e8):
            grad = arr(backend, np.full(shape, g), "float32")
            theta, state = optimizer.update(theta, grad, state)
        wanted = np.full(shape, -1 - (0.5 + (1 - NEAR_1) * 1e8))
        assert_close(backend, theta, wanted, atol=8 * EPS["float32"], dtype="float32")


COUNTING = {
    "dampened": xn.SGD(1e-3, momentum=0.5, dampening=0.5),
    "adagrad": xn.AdaGrad(lr_decay=1e-3),
    "adam": xn.Adam(),
    "amsgrad": xn.Adam(amsgrad=True),
    "adamw": xn.AdamW(),
    "adamax": xn.Adamax(),
    "nadam": xn.NAdam(),
    "radam": xn.RAdam(),
}


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("name", COUNTING)
def test_steps_are_counted_beyond_what_float32_counts(backend, name, members):
    x, y = arr(backend, np.ones((4, 2)), "float32"), arr(backend, np.ones((4, 1)), "float32")
    net, optimizer = xn.Sequential(xn.Linear(2, 1)), COUNTING[name]
    theta = net.init(0, like=x, members=members)
    state = optimizer.init(theta)
    state["step"] = state["step"] + (2**24 - 1)
    options = {"loss": xn.MSE(), "optimizer": optimizer, "epochs": 3}
    model = xn.fit(net, x, y, theta=theta, state=state, **options)
    assert (host(backend, model.state["step"]) == 2**24 + 2).all()
    for _ in range(3):
        grad = theta
        theta, state = optimizer.update(theta, grad, state)
    assert (host(backend, state["step"]) == 2**24 + 2).all()


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("make", [make for make, *_ in NAMES.values()], ids=NAMES)
def test_every_optimizer_counts_its_steps(backend, make, members):
    rng = np.random.default_rng(0)
    net, x = xn.Sequential(xn.Linear(2, 1)), arr(backend, rng.normal(size=(5, 2)))
    y = arr(backend, rng.normal(size=(5, 1)))
    options = {"loss": xn.MSE(), "optimizer": make(), "epochs": 7, "seed": 0, "members": members}
    count = host(backend, xn.fit(net, x, y, **options).state["step"])
    assert count.dtype.kind == "i" and (count == 7).all()
    assert count.shape == (() if members is None else (members, 1))


def test_what_an_optimizer_of_somebodys_own_may_not_keep(backend):
    class Counts(xn.SGD):
        def init_state(self, xp, theta):
            return {"step": xp.zeros_like(theta)}

    class Masks(xn.SGD):
        def init_state(self, xp, theta):
            return {"mask": arr(backend, np.ones(4))}

    theta = arr(backend, np.ones((3, 4)))
    with pytest.raises(ValueError, match="init_state must not hold 'step'"):
        Counts().init(theta)

    class Clashes(xn.SGD):
        def init_state(self, xp, theta):
            return {"momentum": xp.zeros_like(theta)}

    with pytest.raises(ValueError, match="init_state must not hold 'momentum', a hyperparameter"):
        Clashes().init(theta)

    class Old(xn.SGD):
        def slots(self, xp, theta):
            return {"m": xp.zeros_like(theta)}

    with pytest.raises(TypeError, match="slots has another name now; call it init_state"):
        Old().init(theta)
    with pytest.raises(ValueError, match=r"must give 'mask' the 3 members as its first axis"):
        Masks().init(theta)
    assert Masks().init(theta[0, :]).keys() == {"mask", "step"}


def test_a_count_of_32_bits_stands_still_at_its_end(backend):
    step = backend.asarray(2**31 - 3, "int32")
    seen = []
    for _ in range(4):
        step = next_step(backend.xp, step)
        seen.append(int(backend.to_host(step)))
    assert seen == [2**31 - 2, 2**31 - 1, 2**31 - 1, 2**31 - 1]


MEMBERS = [
    ("SGD", {"lr": [0.1, 0.01, 0.0]}),
    ("SGD", {"lr": [0.1, 0.01, 0.3], "momentum": [0.9, 0.0, 0.5], "weight_decay": [0.0, 0.1, 1.0]}),
    ("AdaGrad", {"lr": [0.1, 0.2, 0.3], "lr_decay": [0.0, 0.1, 0.2], "eps": [1e-10, 0.1, 1e-3],
                 "weight_decay": [0.0, 0.1, 0.2]}),
    ("RMSprop", {"lr": [0.1, 0.01, 0.05], "alpha": [0.99, 0.5, 0.0], "eps": [1e-8, 1e-3, 0.1],
                 "momentum": [0.0, 0.5, 0.9], "weight_decay": [0.0, 0.1, 0.2]}),
    ("Adam", {"lr": [0.1, 0.01, 0.0], "beta1": [0.9, 0.0, 0.5], "beta2": [0.999, 0.9, 0.0],
              "eps": [1e-8, 1e-3, 0.1], "weight_decay": [0.0, 0.1, 0.2]}),
    ("AdamW", {"lr": [0.1, 0.01, 0.02], "weight_decay": [0.0, 0.1, 0.2]}),
    ("Adadelta", {"lr": [1.0, 0.1, 0.0], "rho": [0.9, 0.0, 0.5], "eps": [1e-6, 1e-3, 0.1],
                  "weight_decay": [0.0, 0.1, 0.2]}),
    ("Adamax", {"lr": [0.1, 0.01, 0.0], "beta1": [0.9, 0.0, 0.5], "beta2": [0.999, 0.9, 0.0],
                "eps": [1e-8, 1e-3, 0.1], "weight_decay": [0.0, 0.1, 0.2]}),
    ("NAdam", {"lr": [0.1, 0.01, 0.0], "beta1": [0.9, 0.0, 0.5], "beta2": [0.999, 0.9, 0.0],
               "eps": [1e-8, 1e-3, 0.1], "weight_decay": [0.0, 0.1, 0.2],
               "momentum_decay": [4e-3, 0.0, 0.1]}),
    ("RAdam", {"lr": [0.1, 0.01, 0.0], "beta1": [0.9, 0.0, 0.5], "beta2": [0.999, 0.9, 0.0],
               "eps": [1e-8, 1e-3, 0.1], "weight_decay": [0.0, 0.1, 0.2]}),
    ("Rprop", {"lr": [0.1, 0.01, 0.0]}),
    ("Lion", {"lr": [0.1, 0.01, 0.02], "beta1": [0.9, 0.0, 0.5], "beta2": [0.99, 0.9, 0.0],
              "weight_decay": [0.0, 0.1, 0.2]}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), MEMBERS, ids=[f"{n}-{len(o)}" for n, o in MEMBERS])
def test_numbers_of_the_members_give_each_what_it_would_get_alone(backend, name, options, dtype):
    def betas(values):
        pair = values.pop("beta1", None), values.pop("beta2", None)
        return {**values, "betas": pair} if pair[0] is not None else values

    theta, grads = problem()
    starts = np.stack([theta, -theta, theta / 2])
    arrays = {k: arr(backend, np.array(v)[:, None], dtype) for k, v in options.items()}
    together = run(
        backend, NAMES[name][0](**betas(arrays)), starts, np.stack([grads] * 3, axis=1), dtype
    )
    for i in range(3):
        alone = betas({k: v[i] for k, v in options.items()})
        path = list(NAMES[name][2](starts[i], grads, **alone))
        for t, found in together.items():
            # `bound` for a start that differs; 1 − β of a rounded β is one rounding more a step.
            way = np.abs(np.diff([starts[i], *path[:t]], axis=0)).max(axis=1).sum()
            atol = 5 * t * EPS[dtype] * (np.abs([starts[i], *path[:t]]).max() + way)
            assert_close(backend, found[i, ...], path[t - 1], atol=atol, dtype=dtype)


def test_a_variance_that_is_nothing_but_rounding_does_not_become_nan(backend):
    optimizer = xn.RMSprop(lr=1e-3, alpha=0.5, centered=True)
    theta = arr(backend, np.zeros(SIZE))
    state = optimizer.init(theta)
    grad = arr(backend, np.linspace(0.1, 3, SIZE))
    for _ in range(80):  # after 53 halvings, mean(g²) − mean(g)² is all rounding
        theta, state = optimizer.update(theta, grad, state)
    assert np.isfinite(host(backend, theta)).all()


def test_plain_numbers_of_any_kind_are_taken_as_python_floats(backend):
    # NumPy's scalars and 0-d arrays would promote float32 to float64, and strict refuses them.
    values = (np.float64(0.1), np.array(0.1), arr(backend, 0.1), 0.1)
    theta = arr(backend, np.ones(SIZE), "float32")
    results = []
    for lr in values:
        optimizer = xn.Adam(lr=lr, betas=(np.float64(0.9), np.array(0.99)), weight_decay=lr)
        assert optimizer == xn.Adam(0.1, (0.9, 0.99), weight_decay=0.1)
        assert hash(optimizer) == hash(xn.Adam(0.1, (0.9, 0.99), weight_decay=0.1))
        after, _ = optimizer.update(theta, theta, optimizer.init(theta))
        results.append(host(backend, after, dtype="float32"))
    assert all((r == results[0]).all() for r in results)


def test_the_step_counter_of_an_ensemble_is_one_a_member(backend):
    theta = arr(backend, np.ones((3, SIZE)))
    state = xn.Adam().init(theta)
    integer = backend.dtype_name(state["step"])
    assert integer in ("int32", "int64")  # JAX may have no more than 32 bits
    assert_equal(backend, state["step"], np.zeros((3, 1)), dtype=integer)
    assert_equal(backend, xn.Adam().init(theta[0, ...])["step"], 0, dtype=integer)


def test_resume_takes_the_moments_of_the_state_and_the_numbers_of_the_optimizer(backend):
    theta = arr(backend, np.ones((2, SIZE)))
    before = xn.Adam(lr=arr(backend, [[0.1], [0.2]]))
    _, state = before.update(theta, theta, before.init(theta))
    again = xn.Adam(lr=arr(backend, [[0.3], [0.4]])).resume(theta, state)
    assert_equal(backend, again["lr"], [[0.3], [0.4]])
    assert_equal(backend, again["m"], host(backend, state["m"]))
    assert "lr" not in xn.Adam(lr=0.1).resume(theta, state)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_optimizers_compare_by_value_and_survive_pickle_and_deepcopy(name, options):
    optimizer = NAMES[name][0](**options)
    for twin in (
        NAMES[name][0](**options),
        pickle.loads(pickle.dumps(optimizer)),
        copy.deepcopy(optimizer),
    ):
        assert twin == optimizer
        assert hash(twin) == hash(optimizer)
    others = [NAMES[n][0](**o) for n, o in OPTIONS if (n, o) != (name, options)]
    assert optimizer not in others


def test_momentum_and_adamw_are_special_cases_of_the_general():
    assert xn.Momentum(0.1) == xn.SGD(0.1, momentum=0.9)
    assert xn.AdamW() == xn.Adam(weight_decay=1e-2, decoupled_weight_decay=True)
    assert xn.AdamW() != xn.Adam(weight_decay=1e-2)


def test_optimizers_that_hold_different_arrays_of_their_own_are_not_equal():
    class Masked(xn.SGD):
        pass

    one, two = Masked(lr=0.1), Masked(lr=0.1)
    mask, other = np.ones(3), np.zeros(3)
    object.__setattr__(one, "mask", mask)
    object.__setattr__(two, "mask", other)
    assert one != two
    object.__setattr__(two, "mask", mask)
    assert one == two
    assert hash(one) == hash(two)
