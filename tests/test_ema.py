"""The average of the parameters: PyTorch's, kept in the state, judged by validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library
from tests.steps import assert_agree, both, problem
from xpnet.training.step import TrainingStep

STEPS = 12
NET = xn.Sequential(xn.Linear(3, 4), xn.BatchNorm(4), xn.Tanh(), xn.Linear(4, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
def test_it_is_that_of_torchs_averaged_model(backend: Any, decay: float, dtype: str) -> None:
    torch = library("torch")
    rng = np.random.default_rng(3)
    start, grads = rng.normal(size=7), rng.normal(size=(STEPS, 7))
    model = torch.nn.Module()
    model.theta = torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.SGD([model.theta], lr=0.1)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    )
    ours = xn.SGD(0.1, ema_decay=decay)
    theta = backend.asarray(start, dtype)
    state = ours.init(theta)
    for grad in grads:
        model.theta.grad = torch.tensor(grad)
        theirs.step()
        average.update_parameters(model)
        theta, state = ours.update(theta, backend.asarray(grad, dtype), state)
    wanted = average.module.theta.detach().numpy()
    # Two roundings of a step, three of an average, each of numbers that begin as these and go on.
    bound = 5 * STEPS * EPS[dtype] * (np.abs(start).max() + 0.1 * np.abs(grads).sum(axis=0).max())
    np.testing.assert_allclose(backend.to_host(state["ema"]), wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("members", [None, 3])
def test_every_runner_averages_as_the_plain_loop(backend: Any, members: int | None) -> None:
    decay = 0.9 if members is None else np.array([[0.9], [0.0], [0.5]])
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), members, "float64")
    step = TrainingStep(backend.xp, net, loss, xn.Adam(0.05, ema_decay=decay))
    assert_agree(both(backend, step, theta, data, 8), "float64", 8)


def data_of(backend: Any) -> tuple[Any, Any, tuple[Any, Any]]:
    rng = np.random.default_rng(7)
    x, y, x2, y2 = (backend.asarray(rng.normal(size=(12, n)), "float64") for n in (3, 1, 3, 1))
    return x, y, (x2, y2)


@pytest.mark.parametrize("members", [None, 3])
def test_validation_judges_the_average_and_the_model_of_it_predicts(
    backend: Any, members: int | None
) -> None:
    x, y, other = data_of(backend)
    decay = 0.8 if members is None else np.array([[0.8], [0.0], [0.5]])
    model = xn.fit(
        NET, x, y, loss=xn.MSE(), optimizer=xn.SGD(0.2, ema_decay=decay), epochs=8, seed=0,
        members=members, validation=other, check_every=2, restore_best=True,
    )  # fmt: skip
    xp = backend.xp
    with backend.context():
        found = xp.mean((model.ema.predict(other[0]) - other[1]) ** 2, axis=-2)
        raw = xp.mean((model.predict(other[0]) - other[1]) ** 2, axis=-2)
    best = model.history.val_loss.min(axis=0)
    # A mean of 12 squares of sums over 4 features, a few roundings each.
    bound = 12 * 4 * 8 * EPS["float64"]
    np.testing.assert_allclose(backend.to_host(found)[..., 0], best, rtol=bound)
    assert (np.abs(backend.to_host(raw)[..., 0] - best) > bound).any()
    if members is not None:  # an average that forgets at once is the parameters themselves
        alone = model.member(1)
        wanted = backend.to_host(alone.theta)
        # By the way that it goes: one rounding of a difference, one of a sum.
        found = backend.to_host(alone.ema.theta)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2 * EPS["float64"] * 4)


def test_it_goes_on_with_the_state_and_changes_nothing_of_the_training(backend: Any) -> None:
    x, y, _ = data_of(backend)
    how: dict[str, Any] = {"loss": xn.MSE(), "check_every": 4}
    averaging = xn.Adam(0.05, ema_decay=0.8)
    through = xn.fit(NET, x, y, epochs=8, seed=1, optimizer=averaging, **how)
    half = xn.fit(NET, x, y, epochs=4, seed=1, optimizer=averaging, **how)
    rest = xn.fit(
        NET, x, y, epochs=4, theta=half.theta, state=half.state, layer_state=half.layer_state,
        optimizer=averaging, **how,
    )  # fmt: skip
    without = xn.fit(NET, x, y, epochs=8, seed=1, optimizer=xn.Adam(0.05), **how)
    theta = backend.to_host(through.theta)
    np.testing.assert_array_equal(backend.to_host(rest.theta), theta)
    np.testing.assert_array_equal(*(backend.to_host(m.ema.theta) for m in (rest, through)))
    # JAX compiles another program, and rounds otherwise: a few times a step of at most 0.05.
    bound = 64 * 8 * EPS["float64"] if backend.name == "jax" else 0
    np.testing.assert_allclose(backend.to_host(without.theta), theta, rtol=0, atol=bound)


def test_mistakes_are_told() -> None:
    theta = np.ones(4)
    with pytest.raises(ValueError, match="ema_decay must be a finite number of at least 0 and bel"):
        xn.SGD(ema_decay=1)
    with pytest.raises(TypeError, match="ema_decay must be a number, or one a member, not the sch"):
        xn.SGD(ema_decay=xn.CosineDecay(0.9, 5))
    with pytest.raises(ValueError, match="state must hold 'ema' for SGD"):
        xn.SGD(ema_decay=0.9).resume(theta, xn.SGD().init(theta))
    with pytest.raises(AttributeError, match="ema is there after a training that keeps an average"):
        _ = xn.Model(NET, NET.init(0, like=theta), layer_state=NET.init_state(like=theta)).ema

    class Keeps(xn.SGD):
        def init_state(self, xp: Any, theta: Any) -> Any:
            return {"ema": theta}

    with pytest.raises(ValueError, match="init_state must not hold 'ema', the average of the para"):
        Keeps().init(theta)
