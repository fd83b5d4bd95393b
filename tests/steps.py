"""What runners are compared on, and how: steps by the plain loop, and by a library's own."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.compiler.plain import run_plainly
from xpnet.training.step import TrainingStep, carry_of, state_in

OPTIMIZERS = {
    "sgd": xn.SGD(lr=0.1, weight_decay=0.01),
    "dampened": xn.Momentum(lr=0.1, dampening=0.5),
    "nesterov": xn.Momentum(lr=0.1, nesterov=True, maximize=True),
    "adagrad": xn.AdaGrad(lr_decay=0.1),
    "rmsprop": xn.RMSprop(centered=True, momentum=0.5),
    "adam": xn.Adam(betas=(0.0, 0.9)),
    "amsgrad": xn.Adam(amsgrad=True, weight_decay=0.01),
    "adamw": xn.AdamW(lr=1e-2),
    "adadelta": xn.Adadelta(weight_decay=0.01),
    "adamax": xn.Adamax(betas=(0.5, 0.9)),
    "nadam": xn.NAdam(weight_decay=0.01, decoupled_weight_decay=True),
    "radam": xn.RAdam(betas=(0.9, 0.9), weight_decay=0.01),
    "rprop": xn.Rprop(step_sizes=(1e-6, 0.1), maximize=True),
    "lion": xn.Lion(lr=1e-2, weight_decay=0.01),
    "clipped": xn.Adam(clip_norm=0.1),
    "averaged": xn.Adam(ema_decay=0.9),
    "decayed": xn.AdamW(lr=1e-2, weight_decay=0.1, decayed="weights"),
}


def problem(
    backend: Any, loss: str, activation: Any, members: int | None, dtype: str, width: int = 5
) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """A small network, its first parameters, a loss and prepared data."""
    rng = np.random.default_rng(7)
    outputs = 3 if loss == "CrossEntropy" else 1
    final = [xn.Sigmoid()] if loss == "BCE" else []
    net = xn.Sequential(
        xn.Linear(4, width), activation, xn.Linear(width, width), activation,
        xn.Linear(width, outputs), *final,
    )  # fmt: skip
    x = backend.asarray(rng.normal(size=(12, 4)), dtype)
    if loss == "CrossEntropy":
        y = backend.asarray(rng.integers(0, 3, 12), "int64")
    else:
        y = backend.asarray(rng.integers(0, 2, (12, 1)), dtype)
    theta = net.init(3, like=x, members=members)
    criterion = getattr(xn, loss)()
    shape = (*theta.shape[:-1], 12, outputs)
    return net, theta, criterion, (x, criterion.prepare(backend, shape, y, x.dtype), None)


def both(
    backend: Any,
    step: TrainingStep,
    theta: Any,
    data: Any,
    n: int,
    orders: Any = None,
    recorded: bool | None = True,
    threads: int | None = None,
    own: bool = False,
) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """``theta`` and metrics after ``n`` steps: by the plain loop, and by the library's runner.

    JAX would compile each operation of the plain loop for its shapes: there NumPy runs it, to which
    the bounds of `assert_agree` apply as well. ``own`` asks for JAX's, for a step that is another
    on NumPy: one that writes into arrays, or has numbers or functions that are otherwise there.

    Intervals have four steps, and JAX compiles each length by itself: ``n`` had best be 4 or 8.
    """
    given = theta, data, orders
    with warnings.catch_warnings():
        if recorded is not True:
            warnings.filterwarnings("ignore", "A step runs operation by operation")
        runner = backend.runner(step, threads)
        ours = _in_intervals(backend, runner, step, n, *given)
        if backend.way == "plain":  # as they are written
            return [ours, ours]
        if backend.way == "compiled" and not own:
            given = _on_host(backend, given)
            backend = backends.get("numpy")
            step = replace(step, xp=backend.xp)
        plain = partial(run_plainly, backend.xp, step)
        plainly = _in_intervals(backend, plain, step, n, *given)
    if recorded is not None and hasattr(runner, "programs"):
        # It did not fall back on the plain loop.
        assert all((p is not None) == recorded for _, p in runner.programs.values())
    return [plainly, ours]


def _in_intervals(
    backend: Any, run: Any, step: TrainingStep, n: int, theta: Any, data: Any, orders: Any
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """``theta``, the other state and the metrics after ``n`` steps, in several intervals."""
    with backend.context():
        copy = backend.xp.asarray(theta, copy=True)
        carry, histories = carry_of(copy, step.optimizer.init(copy, step.network)), []
        for start in range(0, n, 4):
            rows = None if orders is None else orders[start : min(start + 4, n), :]
            carry, metrics = run(carry, data, min(4, n - start), rows)
            histories.append({k: backend.to_host(v) for k, v in metrics.items()})
        history = {k: np.concatenate([h[k] for h in histories]) for k in histories[0]}
        state = {k: backend.to_host(v) for k, v in state_in(carry).items()}
        return backend.to_host(carry["theta"]), state, history


def _on_host(backend: Any, given: Any) -> Any:
    if isinstance(given, tuple):
        return tuple(_on_host(backend, value) for value in given)
    return None if given is None else backend.to_host(given).copy()


def assert_agree(results: Any, dtype: str, n: int) -> None:
    # Each step reorders sums of at most 60 terms; errors pass on to the next step with factors near
    # 1, and a division by a small √v may multiply them, here by less than 100.
    bound = 100 * 60 * n * float(np.finfo(dtype).eps)
    (theta, state, metrics), (theta2, state2, metrics2) = results
    np.testing.assert_allclose(theta2, theta, rtol=bound, atol=bound)
    assert theta2.dtype == theta.dtype
    assert state.keys() == state2.keys()
    for name in state:
        assert state[name].shape == state2[name].shape
        np.testing.assert_allclose(state2[name], state[name], rtol=bound, atol=bound)
    for name in metrics:
        assert metrics[name].shape == metrics2[name].shape
        assert metrics[name].dtype == metrics2[name].dtype
        np.testing.assert_allclose(metrics2[name], metrics[name], rtol=bound, atol=bound)
