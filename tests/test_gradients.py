"""Back-propagation against automatic differentiation of the same forward, and central differences.

Everything here is float64. A gradient is a sum of products, a few dozen roundings deep, of numbers
not much larger than the largest component: 10⁻¹² of that is a few thousand roundings, and far
below the 10⁻¹⁰ that the project promises.
"""

from functools import cache

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import LAYERS, arr, assert_close, between, host, library, samples_for
from xpnet.losses import Share
from xpnet.losses.base import prepare_weight

# array-api-strict checks each call, and takes two thirds of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")

RELATIVE = 1e-12
MEMBERS, SAMPLES = 3, 6

NETWORKS = {
    "one layer": xn.Sequential(xn.Linear(3, 2)),
    "every activation": xn.Sequential(
        xn.Linear(3, 4), xn.LeakyReLU(0.2), xn.Linear(4, 5), xn.ReLU(), xn.Linear(5, 4), xn.Tanh(),
        xn.Identity(), xn.Linear(4, 3), xn.Sigmoid(), xn.Linear(3, 2),
    ),
    "nested": xn.Sequential(
        xn.Sequential(xn.Linear(3, 4), xn.Tanh()),
        xn.Sequential(xn.Sequential(xn.Linear(4, 4)), xn.Sigmoid(), xn.Linear(4, 2)),
    ),
    "activation first": xn.Sequential(xn.Tanh(), xn.Sigmoid(), xn.Linear(3, 2)),
    "identity ends": xn.Sequential(xn.Identity(), xn.Linear(3, 2), xn.Identity()),
    **{name: between(layer, 2) for name, layer in LAYERS.items()},
}  # fmt: skip

LOSSES = {
    "BCE": (xn.BCE(), "labels"),
    "BCEWithLogits": (xn.BCEWithLogits(), "labels"),
    "CrossEntropy": (xn.CrossEntropy(), "classes"),
    "MSE": (xn.MSE(), "numbers"),
    "Huber": (xn.Huber(0.3), "numbers"),
    "BCEWithLogits, weighed": (xn.BCEWithLogits(pos_weight=(2.0, 0.5)), "labels"),
    "CrossEntropy, smoothed": (xn.CrossEntropy(0.1), "classes"),
    "Quantile": (xn.Quantile((0.2, 0.9)), "numbers"),
    "Poisson": (xn.Poisson(), "labels"),
    "Hinge": (xn.Hinge(), "labels"),
}

# network, loss, members, one x a member, one y a member, weights
CASES = [
    *[("every activation", loss, *axes) for loss in LOSSES for axes in (
        (False, False, False, False), (True, False, False, False), (True, True, True, True),
    )],
    *[(net, "MSE", *axes) for net in NETWORKS if net != "every activation" for axes in (
        (False, False, False, True), (True, False, False, False), (True, True, False, False),
    )],
    ("every activation", "CrossEntropy", False, False, False, True),
    ("every activation", "BCE", True, False, False, True),
]  # fmt: skip
IDS = [
    "-".join([net, loss, *(
        word for word, on in zip(("members", "x", "y", "weights"), axes, strict=True) if on
    )])
    for net, loss, *axes in CASES
]  # fmt: skip


@cache
def case(net_name, loss_name, members, own_x, own_y, weights):
    """The network, the loss, and the arrays of a case on the host, the same every time."""
    net, (loss, kind) = NETWORKS[net_name], LOSSES[loss_name]
    if loss_name == "BCE":
        net = xn.Sequential(*net, xn.Sigmoid())
    rng = np.random.default_rng(2023)
    lead = (MEMBERS,) if members else ()
    theta = np.stack([np.concatenate([v.ravel() for v in net.draw(rng)]) for _ in range(MEMBERS)])
    theta = theta[:MEMBERS] if members else theta[0]
    x = samples_for(net, rng, (*(lead if own_x else ()), SAMPLES, net.in_features))
    shape = (*(lead if own_y else ()), SAMPLES, 2)
    y = {
        "labels": rng.integers(0, 2, shape),
        "classes": rng.integers(0, 2, shape[:-1]),
        "numbers": rng.normal(size=shape),
    }[kind]
    weight = rng.uniform(0.1, 3, (*(lead if own_y else ()), SAMPLES)) if weights else None
    return net, loss, theta, x, y, weight


def on(backend, theta, x, y, weight):
    integral = np.issubdtype(y.dtype, np.integer)
    return (
        arr(backend, theta),
        arr(backend, x),
        arr(backend, y, "int64" if integral else "float64"),
        None if weight is None else arr(backend, weight),
    )


def objective(backend, net, loss, theta, x, y, weight):
    """The sum of the members' losses by our own forward, unchecked: what autodiff is to see."""
    xp = backend.xp
    shape = (*theta.shape[:-1], x.shape[-2], 2)
    target = loss.prepare(backend, shape, y, theta.dtype)
    prepared = prepare_weight(backend, weight, shape, theta.dtype)
    # The forward that value_and_grad runs, kept for a backprop that is not asked for.
    output, _ = net.forward(xp, net.layout.views(xp, theta), x)
    return xp.sum(loss.forward(xp, output, target, Share(x.shape[-2], prepared))[0])


@cache
def by_torch(*key):
    torch = library("torch")
    backend = xn.backends.get("torch", "cpu")
    net, loss, *arrays = case(*key)
    theta, x, y, weight = on(backend, *arrays)
    members = theta.shape[0] if len(theta.shape) == 2 else None
    # The gradient of x is each member's own, so that each is given its own x.
    x = x.expand(members, *x.shape[-2:]).clone() if members else x
    theta.requires_grad_()
    x.requires_grad_()
    value = objective(backend, net, loss, theta, x, y, weight)
    grads = torch.autograd.grad(value, (theta, x), materialize_grads=True)  # of ids there is none
    return [g.numpy() for g in grads]


@cache
def by_jax(*key):
    jax = library("jax")
    backend = xn.backends.get("jax", "cpu")
    net, loss, *arrays = case(*key)
    theta, x, y, weight = on(backend, *arrays)
    if len(theta.shape) == 2:
        x = jax.numpy.broadcast_to(x, (theta.shape[0], *x.shape[-2:]))

    def value(theta, x):
        return objective(backend, net, loss, theta, x, y, weight)

    return [np.asarray(g) for g in jax.jit(jax.grad(value, argnums=(0, 1)))(theta, x)]


@pytest.mark.parametrize("autodiff", [by_torch, by_jax], ids=["torch.autograd", "jax.grad"])
@pytest.mark.parametrize("key", CASES, ids=IDS)
def test_a_gradient_is_that_of_automatic_differentiation_of_our_own_forward(backend, key, autodiff):
    net, loss, *arrays = case(*key)
    theta, x, y, weight = on(backend, *arrays)
    of_theta, of_x = autodiff(*key)
    value, grad, dx = net.value_and_grad(theta, x, y, loss, weight, input_grad=True)
    host(backend, value, dtype="float64", shape=theta.shape[:-1])
    assert_close(backend, grad, of_theta, atol=RELATIVE * abs(of_theta).max())
    assert_close(backend, dx, of_x, atol=RELATIVE * abs(of_x).max())


@pytest.mark.parametrize("key", CASES, ids=IDS)
def test_a_gradient_is_the_slope_along_random_directions(backend, key):
    net, loss, *arrays = case(*key)
    theta, x, y, weight = on(backend, *arrays)
    value, grad, dx = net.value_and_grad(theta, x, y, loss, weight, input_grad=True)
    values, grad, dx = (host(backend, a) for a in (value, grad, dx))
    rng = np.random.default_rng(1)
    # A central difference errs by h² |L‴| / 6, about 10⁻¹¹ for thirds derivatives up to 1, and by
    # the rounding of L over h, about 10⁻¹⁰ for twenty roundings: 10⁻⁸ leaves room for both.
    h = 2.0**-17

    def loss_at(theta, x):
        output = net(arr(backend, theta), arr(backend, x))
        return host(backend, loss(output, y, weight))

    for _ in range(2):
        u = rng.normal(size=arrays[0].shape)
        u /= np.linalg.norm(u, axis=-1, keepdims=True)
        slope = loss_at(arrays[0] + h * u, arrays[1]) - loss_at(arrays[0] - h * u, arrays[1])
        scale = np.maximum(1, np.abs(values).max())
        np.testing.assert_allclose((grad * u).sum(-1), slope / (2 * h), rtol=0, atol=1e-8 * scale)
    if isinstance(net.leaves[0], xn.Embedding):  # between whole numbers there is nothing
        assert not dx.any()
        return
    v = rng.normal(size=arrays[1].shape)
    v /= np.linalg.norm(v, axis=(-2, -1), keepdims=True)
    slope = loss_at(arrays[0], arrays[1] + h * v) - loss_at(arrays[0], arrays[1] - h * v)
    found = (dx * v).sum((-2, -1))
    np.testing.assert_allclose(found, slope / (2 * h), rtol=0, atol=1e-8 * scale)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_gradient_of_its_own_forward_with_and_without_members(backend, name):
    loss, kind = LOSSES[name]
    rng = np.random.default_rng(5)
    for lead in ((), (MEMBERS,)):
        output = rng.uniform(0.1, 0.9, (*lead, SAMPLES, 2))
        if kind == "classes":
            y = arr(backend, rng.integers(0, 2, (*lead, SAMPLES)), "int64")
        else:
            y = arr(backend, rng.integers(0, 2, (*lead, SAMPLES, 2)), "int64")
        with backend.context():
            target = loss.prepare(backend, output.shape, y, arr(backend, output).dtype)
            _, backprop = loss.forward(backend.xp, arr(backend, output), target, Share(SAMPLES))
            grad = host(backend, backprop(), dtype="float64", shape=output.shape)
        u = rng.normal(size=output.shape)
        h = 2.0**-17  # see above
        up, down = (host(backend, loss(arr(backend, output + s * h * u), y)) for s in (1, -1))
        # BCE's slopes reach 1/p = 10, its third derivatives 2/p³ = 2000: h² / 6 of them is 2e-8.
        np.testing.assert_allclose((grad * u).sum((-2, -1)), (up - down) / (2 * h), atol=1e-7)


@pytest.mark.parametrize("key", CASES[:1] + CASES[1:2], ids=IDS[:2])
def test_float32_gradients_are_those_of_float64_to_rounding(backend, key):
    net, loss, theta, x, y, weight = case(*key)
    theta, x = (a.astype(np.float32).astype(np.float64) for a in (theta, x))
    wide = host(backend, net.value_and_grad(arr(backend, theta), arr(backend, x),
                                            arr(backend, y, "int64"), loss)[1])  # fmt: skip
    narrow = net.value_and_grad(
        arr(backend, theta, "float32"), arr(backend, x, "float32"), arr(backend, y, "int64"), loss
    )[1]
    # RELATIVE in float64 is 4500 ulp; as many in float32 are 5e-4.
    assert_close(backend, narrow, wide, atol=4500 * 2.0**-23 * abs(wide).max(), dtype="float32")
