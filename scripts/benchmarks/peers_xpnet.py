"""xpnet itself, through its public ways in, on any of its array libraries."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import xpnet as xn
from benchmarks.problems import Contestant, Factory, Problem, Run, Unavailable, require
from xpnet.compiler.native.choice import Native
from xpnet.losses import prepare
from xpnet.training.step import TrainingStep, carry_of


def _backend(library: str, dtype: str) -> xn.backends.Backend:
    try:
        backend = xn.backends.get(library)
        backend.probe()
    except xn.backends.BackendUnavailable as error:
        raise Unavailable(str(error)) from error
    backend.prepare(dtype)
    return backend


def _arrays(backend: xn.backends.Backend, problem: Problem) -> tuple[Any, Any, Any]:
    x, y = problem.parts()[:2]
    return (
        backend.asarray(x, problem.dtype),
        backend.asarray(y, y.dtype.name),
        backend.asarray(problem.theta(), problem.dtype),
    )


NATIVE = "numpy, native"
"""What NumPy is called where steps are machine code."""


def fit(library: str, problem: Problem, native: bool = False) -> Contestant:
    """`xn.fit` as a user calls it: its checks, copies, history and checks every 100 epochs too."""
    backend = _backend(library, problem.dtype)
    native |= library == "cupy" and backend.native  # CUDA kernels, where the environment has them
    if native:
        require(backend.compiler)
    network, loss, optimizer = problem.network(), problem.loss_function(), problem.optimizer()
    x, y, theta = _arrays(backend, problem)
    options: dict[str, Any] = {"native": native}
    if problem.held:
        _, _, held_x, held_y = problem.parts()
        held = backend.asarray(held_x, problem.dtype), backend.asarray(held_y, held_y.dtype.name)
        options["validation"] = held

    def run(steps: int) -> np.ndarray:
        model = xn.fit(
            network,
            x,
            y,
            loss=loss,
            optimizer=optimizer,
            epochs=steps // max(1, len(problem.rows())),
            theta=theta,
            batch_size=problem.batch,
            shuffle=False,
            **options,
        )
        assert model.history is not None
        return model.history.loss

    return Contestant(problem, lambda: run)


def runner(library: str, problem: Problem, native: bool = False) -> Contestant:
    """The runner alone: the training step, so many times, in one call of a runner kept ready."""
    if problem.held:
        raise Unavailable("trains, and looks at nothing else")
    backend = _backend(library, problem.dtype)
    native |= library == "cupy" and backend.native  # CUDA kernels, where the environment has them
    if native:
        require(backend.compiler)
    network, loss, optimizer = problem.network(), problem.loss_function(), problem.optimizer()
    x, y, theta = _arrays(backend, problem)
    step = TrainingStep(backend.xp, network, loss, optimizer)
    shape = (*problem.theta().shape[:-1], problem.samples, problem.sizes[-1])
    with backend.context():
        data = (x, *prepare(backend, loss, shape, y, None, theta.dtype, check=True))
    run_steps = backend.runner(step, None, Native(always=True) if native else None)
    rows = problem.rows()

    def start() -> Run:
        with backend.context():
            mine = backend.xp.asarray(theta, copy=True)
            carry = carry_of(mine, optimizer.init(mine))
            backend.synchronize()

        def run(steps: int) -> np.ndarray:
            with backend.context():
                orders = None
                if rows:
                    orders = backend.asarray(np.stack(rows * (steps // len(rows))), "int64")
                _, metrics = run_steps(carry, data, steps, orders)
                host = {name: backend.to_host(values) for name, values in metrics.items()}
                return problem.epoch_means(host["loss"])

        return run

    return Contestant(problem, start)


def alone(library: str, problem: Problem) -> Contestant:
    """`fit` on one network instead of the ensemble."""
    return fit(library, problem.alone())


def ours(library: str, problem: Problem) -> Contestant:
    """`fit` with xpnet's own layers in place of somebody's."""
    return fit(library, problem.ours())


LIBRARIES = ("numpy", "torch", "jax", "cupy")

PEERS: dict[str, Factory] = {
    **{f"xpnet on {name}: fit": partial(fit, name) for name in LIBRARIES},
    **{f"xpnet on {name}: runner": partial(runner, name) for name in LIBRARIES},
    f"xpnet on {NATIVE}: fit": partial(fit, "numpy", native=True),
    f"xpnet on {NATIVE}: runner": partial(runner, "numpy", native=True),
    **{f"one member alone, {name}": partial(alone, name) for name in LIBRARIES},
    **{f"xpnet's own layer, {name}": partial(ours, name) for name in LIBRARIES},
}
