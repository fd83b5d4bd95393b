"""JAX: `jax.grad` with optax under `jit`, in a `scan`, and `vmap` of the whole scan."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problems import (
    Contestant,
    Factory,
    Problem,
    Run,
    Unavailable,
    require,
    whole_batch,
)


class Training:
    """The pieces that the contestants share: parameters as a list of pairs, loss, step."""

    def __init__(self, problem: Problem) -> None:
        self.jax, self.optax = require("jax"), require("optax")
        self.jnp = self.jax.numpy
        self.problem = problem
        if problem.dtype == "float64":
            self.jax.config.update("jax_enable_x64", True)
        self.activations = {
            "leaky_relu": partial(self.jax.nn.leaky_relu, negative_slope=problem.slope),
            "relu": self.jax.nn.relu,
            "gelu": partial(self.jax.nn.gelu, approximate=True),
        }
        self.x, self.y = self.jnp.asarray(problem.x()), self.jnp.asarray(problem.y())
        self.optimizer = self.optax.adam(
            problem.lr, b1=problem.betas[0], b2=problem.betas[1], eps=problem.eps
        )

    def params(self) -> list[tuple[Any, Any]]:
        return [(self.jnp.array(W), self.jnp.array(b)) for W, b in self.problem.pairs()]

    def start(self) -> tuple[Any, Any]:
        """The initial parameters and the optimizer's state, which are there."""
        params = self.params()
        carry = params, self.optimizer.init(params)
        self.jax.block_until_ready(carry)
        return carry

    def output(self, params: Any, x: Any) -> Any:
        jax, problem, left = self.jax, self.problem, iter(params)
        for i in range(len(problem.sizes) - 1):
            if i and problem.function == "layer_norm":
                weight, bias = next(left)
                x = jax.nn.standardize(x, axis=-1, epsilon=1e-5) * weight + bias
            elif i:
                x = self.activations[problem.function](x)
            W, b = next(left)
            x = x @ W.T + b
        return jax.nn.sigmoid(x) if problem.loss == "bce" else x

    def loss(self, params: Any, x: Any, y: Any) -> tuple[Any, Any]:
        jnp, problem = self.jnp, self.problem
        output = self.output(params, x)
        if problem.loss == "cross_entropy":
            losses = self.optax.softmax_cross_entropy_with_integer_labels(output, y)
            right = jnp.argmax(output, axis=-1) == y
        elif problem.loss == "bce_with_logits":
            losses = self.optax.sigmoid_binary_cross_entropy(output, y)
            right = (output > 0) == (y > 0.5)
        else:
            losses = -jnp.log(jnp.abs(output - (1 - y)) + problem.bce_eps)
            right = (output > 0.5) == (y > 0.5)
        accuracy = jnp.mean(right, dtype=output.dtype) if problem.accuracy else None
        return jnp.mean(losses), accuracy

    def step(self, carry: Any, x: Any, y: Any) -> tuple[Any, tuple[Any, Any]]:
        params, state = carry
        metrics, grads = self.jax.value_and_grad(self.loss, has_aux=True)(params, x, y)
        updates, state = self.optimizer.update(grads, state)
        return (self.optax.apply_updates(params, updates), state), metrics

    def batch_step(self, carry: Any, x: Any, y: Any, rows: Any) -> tuple[Any, tuple[Any, Any]]:
        """A step on some of the samples, or on all for ``None``."""
        return self.step(carry, x, y) if rows is None else self.step(carry, x[rows], y[rows])

    def scan(self, steps: int, carry: Any, x: Any, y: Any) -> tuple[Any, tuple[Any, Any]]:
        rows = None
        if self.problem.batch is not None:
            epoch = np.stack(self.problem.rows())
            rows = self.jnp.asarray(np.tile(epoch, (steps // len(epoch), 1)))
        result: tuple[Any, tuple[Any, Any]] = self.jax.lax.scan(
            lambda carry, rows: self.batch_step(carry, x, y, rows), carry, rows, length=steps
        )
        return result


def in_a_scan(problem: Problem) -> Contestant:
    """All steps in one compiled `scan`, parameters and state donated."""
    training = Training(problem)
    if problem.members is not None:
        raise Unavailable("trains one network; the vmap of it stands for ensembles")
    compiled = training.jax.jit(training.scan, static_argnums=0, donate_argnums=1)

    def start() -> Run:
        carry = training.start()

        def run(steps: int) -> np.ndarray:
            _, (losses, _) = training.jax.block_until_ready(
                compiled(steps, carry, training.x, training.y)
            )
            return problem.epoch_means(np.asarray(losses))

        return run

    return Contestant(problem, start)


def step_by_step(problem: Problem) -> Contestant:
    """One compiled step in a Python loop, as optax's examples have it, its arguments donated."""
    training = Training(problem)
    if problem.members is not None:
        raise Unavailable("trains one network; the vmap of it stands for ensembles")
    compiled = training.jax.jit(training.batch_step, donate_argnums=0)
    batches = itertools.cycle([training.jnp.asarray(rows) for rows in problem.rows()] or [None])

    def start() -> Run:
        first = training.start()

        def run(steps: int) -> np.ndarray:
            carry, history = first, []
            for _ in range(steps):
                carry, metrics = compiled(carry, training.x, training.y, next(batches))
                history.append(metrics)
            training.jax.block_until_ready((carry, history))
            return problem.epoch_means(np.array([float(loss) for loss, _ in history]))

        return run

    return Contestant(problem, start)


def vmap_of_a_scan(problem: Problem) -> Contestant:
    """An ensemble: `vmap` over whole trainings, each a `scan`, compiled as one program."""
    if problem.members is None:
        raise Unavailable("written for ensembles")
    whole_batch(problem)
    training = Training(problem)
    jax = training.jax

    def train(steps: int, params: Any, x: Any, y: Any) -> Any:
        (params, _), metrics = training.scan(steps, (params, training.optimizer.init(params)), x, y)
        return params, metrics

    def ensemble(steps: int, params: Any, x: Any, y: Any) -> Any:
        return jax.vmap(partial(train, steps), in_axes=(0, None, None))(params, x, y)

    compiled = jax.jit(ensemble, static_argnums=0, donate_argnums=1)

    def start() -> Run:
        params = jax.block_until_ready(training.params())

        def run(steps: int) -> np.ndarray:
            _, (losses, _) = jax.block_until_ready(compiled(steps, params, training.x, training.y))
            return np.asarray(losses).T

        return run

    return Contestant(problem, start)


PEERS: dict[str, Factory] = {
    "jax.grad and optax in a scan": in_a_scan,
    "jax.grad and optax, jit a step": step_by_step,
    "jax.vmap of a scan, optax": vmap_of_a_scan,
}
