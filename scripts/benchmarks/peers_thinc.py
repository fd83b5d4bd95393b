"""thinc: layers that hand back their backprop, in float32 on its own NumPy operations."""

from __future__ import annotations

from dataclasses import replace
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


def train(problem: Problem) -> Contestant:
    """`chain`, `begin_update`, `finish_update` with its Adam, as in its introduction.

    It is float32 and knows no leaky ReLU, so it trains the nearest that it knows. Its losses are
    gradients without a logarithm, so value and gradient are written by hand, as it advises.
    """
    if problem.members is not None:
        raise Unavailable("thinc trains one network")
    whole_batch(problem)
    thinc: Any = require("thinc.api")
    problem = replace(problem.nearest(), dtype="float32")
    classes = problem.loss == "cross_entropy"
    x, y = problem.x(), problem.y()
    n, weights = problem.samples, problem.weights()
    layers = [
        thinc.Relu(nO, nI) for nI, nO in zip(problem.sizes, problem.sizes[1:-1], strict=False)
    ]
    last = thinc.Softmax if classes else thinc.Linear
    model = thinc.chain(*layers, last(problem.sizes[-1], problem.sizes[-2]))
    model.initialize(X=x)
    rows = np.arange(n)
    onehot = np.eye(problem.sizes[-1], dtype=x.dtype)[y] if classes else None

    def value_and_gradient(output: np.ndarray) -> tuple[float, np.ndarray]:
        if classes:
            d = output - onehot
            d /= n
            return -float(np.log(output[rows, y]).mean()), d
        d = 1 / (1 + np.exp(-output))
        d -= y
        d /= n
        return float(np.logaddexp(0, output).mean() - (y * output).mean()), d

    def start() -> Run:
        for layer, (W, b) in zip(model.layers, weights, strict=True):
            layer.set_param("W", W.copy())
            layer.set_param("b", b.copy())
        optimizer = thinc.Adam(
            problem.lr,
            beta1=problem.betas[0],
            beta2=problem.betas[1],
            eps=problem.eps,
            L2=0.0,
            grad_clip=0.0,
            use_averages=False,
        )

        def run(steps: int) -> np.ndarray:
            losses = []
            for _ in range(steps):
                output, backprop = model.begin_update(x)
                loss, gradient = value_and_gradient(output)
                losses.append(loss)
                backprop(gradient)
                model.finish_update(optimizer)
            return np.array(losses)

        return run

    return Contestant(problem, start)


PEERS: dict[str, Factory] = {"thinc": train}
