"""`minimize`: SciPy's minimisers on the step that `fit` runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library

NET = xn.Sequential(xn.Standardize(3), xn.Linear(3, 5), xn.Tanh(), xn.Linear(5, 1))


def problem(backend: Any, dtype: str = "float64", members: int | None = None) -> tuple[Any, ...]:
    """A theta to begin with, samples, targets and weights."""
    library("scipy.optimize")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 3))
    y = (x[:, :1] * x[:, 1:2] > 0).astype("float64")
    x, y, w = (backend.asarray(a, dtype) for a in (x, y, rng.uniform(0.5, 2, 40)))
    return NET.init(0, like=x, members=members), x, y, w


def test_it_ends_where_the_gradient_of_loss_and_penalty_is_small(backend: Any) -> None:
    theta, x, y, w = problem(backend)
    found = xn.minimize(
        NET, theta, x, y, xn.BCEWithLogits(), sample_weight=w, l2=1e-2, tol=1e-5, max_iter=500,
        options={"ftol": 0.0},
    )  # fmt: skip
    assert found.converged
    model = found.model
    grad = NET.value_and_grad(
        model.theta, x, y, xn.BCEWithLogits(), sample_weight=w, state=model.layer_state
    )[1]
    host, mask = backend.to_host(model.theta), backend.to_host(NET.weight_mask(model.theta))
    total = backend.to_host(grad) + 1e-2 * mask * host
    # To the rounding of a sum over 40 samples, which recorded steps may add in another order.
    assert np.abs(total).max() <= 1e-5 + 40 * EPS["float64"]
    value = model.evaluate(x, y, sample_weight=w)["loss"] + 1e-2 / 2 * (mask * host**2).sum()
    np.testing.assert_allclose(found.value, value, rtol=40 * EPS["float64"])
    assert found.value == found.values[-1]
    assert len(found.values) == found.iterations + 1 == len(model.history.loss) + 1
    assert (np.diff(found.values) < 0).all()


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG"])
def test_it_goes_the_way_that_scipy_goes_on_value_and_grad(method: str) -> None:
    theta, x, y, _ = problem(xn.backends.get("numpy"))
    state = NET.init_state(like=x, x=x)

    def eagerly(flat: np.ndarray) -> Any:
        value, grad, _ = NET.value_and_grad(flat, x, y, xn.BCEWithLogits(), state=state)
        return float(value), grad

    wanted = library("scipy.optimize").minimize(
        eagerly, theta, jac=True, method=method, options={"maxiter": 12, "gtol": 1e-4}
    )
    found = xn.minimize(NET, theta, x, y, xn.BCEWithLogits(), method=method, max_iter=12)
    assert (found.iterations, found.evaluations) == (wanted.nit, wanted.nfev)
    assert found.message == wanted.message and found.converged == wanted.success
    # Sums are added in another order where steps are recorded; 12 iterations keep 9 digits.
    np.testing.assert_allclose(found.model.theta, wanted.x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_each_member_goes_by_itself(backend: Any, own: bool) -> None:
    theta, x, y, _ = problem(backend, members=3)
    if own:
        x, y = (backend.xp.stack([a, a * 1.5, a]) for a in (x, y))
        y = backend.xp.astype(y > 0, y.dtype)
    given = {"loss": xn.BCEWithLogits(), "max_iter": 6}
    found = xn.minimize(NET, theta, x, y, **given)
    for i in range(3):
        mine, target = (a[i, ...] if own else a for a in (x, y))
        alone = xn.minimize(NET, theta[i, ...], mine, target, **given)
        member = found.model.member(i)
        for one, other in ((member.theta, alone.model.theta), (theta[i, ...], alone.model.theta)):
            same = np.array_equal(backend.to_host(one), backend.to_host(other))
            assert same == (one is member.theta)
        np.testing.assert_array_equal(member.history.loss, alone.model.history.loss)
        assert found.value[i] == alone.value and found.message[i] == alone.message
    best = int(np.argmin(found.model.history.last("loss")))
    assert found.model.best().history.member == best


def test_a_float32_network_is_minimised_in_float32(backend: Any) -> None:
    theta, x, y, _ = problem(backend, "float32")
    before = backend.to_host(theta).copy()
    found = xn.minimize(NET, theta, x, y, xn.BCEWithLogits(), max_iter=20)
    assert backend.dtype_name(found.model.theta) == "float32"
    assert found.value < found.values[0] / 2
    np.testing.assert_array_equal(backend.to_host(theta), before)


def test_a_callback_is_told_each_iteration_and_ends_it() -> None:
    theta, x, y, _ = problem(xn.backends.get("numpy"))
    told = []

    def callback(number: int, value: float) -> bool:
        told.append((number, value))
        return number == 4

    found = xn.minimize(NET, theta, x, y, xn.BCEWithLogits(), callback=callback)
    assert told == list(enumerate(found.values))[1:] and found.iterations == 4
    assert found.model.history.stopped and not found.converged


def test_it_refuses_what_a_minimiser_cannot_do() -> None:
    theta, x, y, _ = problem(xn.backends.get("numpy"))
    loss = xn.BCEWithLogits()
    for layer, said in (
        (xn.Dropout(0.5), r"draws random numbers; leave it out"),
        (xn.BatchNorm(3), r"layer 0, BatchNorm\(.*\), has; leave it out"),
    ):
        net = xn.Sequential(layer, xn.Linear(3, 1))
        with pytest.raises(ValueError, match=said):
            xn.minimize(net, net.init(0, like=x), x, y, loss)
    for change, said in (
        ({"method": "Newton"}, "method must be one of L-BFGS-B, BFGS, CG, not 'Newton'"),
        ({"l2": -1.0}, "l2 must be a finite number of at least 0"),
        ({"max_iter": 0}, "max_iter must be a whole number"),
        ({"callback": 3}, "callback must be a function or None, not 3"),
        ({"options": 3}, "options must be a dict"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            xn.minimize(NET, theta, x, y, loss, **change)
    with pytest.raises(ValueError, match=r"x must be an array in memory, not read by rows"):
        xn.minimize(NET, theta, "x.npy", y, loss)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG"])
def test_a_step_to_where_the_loss_is_infinite_is_taken_back(method: str) -> None:
    library("scipy.optimize")
    net, loss = xn.Sequential(xn.Linear(1, 1)), xn.Poisson()
    x = np.array([[1.0], [2.0], [1000.0]])
    with pytest.raises(ValueError, match="theta must begin where the loss is finite, not inf"):
        xn.minimize(net, np.array([90.0, 0.0]), x, x, loss)
    # The first step has the length 1, and exp(1000) is no number.
    found = xn.minimize(net, np.array([0.0, 0.0]), x, 15 * x, loss, method=method)
    assert found.evaluations > found.iterations + 1
    assert found.value <= found.values[0] and np.isfinite(found.values).all()
