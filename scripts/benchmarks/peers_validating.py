"""Training with validation at every epoch: by hand in PyTorch and JAX; skorch's, scikit-learn's."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.peers_jax import Training
from benchmarks.peers_torch import adam, network, reset
from benchmarks.problems import Contestant, Factory, Problem, Run, Unavailable, require


def _validating(problem: Problem) -> None:
    if not problem.held or problem.batch is None or problem.loss != "cross_entropy":
        raise Unavailable("written for classes in batches, with validation")
    if problem.members is not None:
        raise Unavailable("trains one network")


def _epochs(problem: Problem, steps: int) -> int:
    return steps // len(problem.rows())


def torch_loop(problem: Problem) -> Contestant:
    """The loop of the tutorials, and after each epoch loss and accuracy of the samples held out."""
    _validating(problem)
    torch = require("torch")
    x, y, held_x, held_y = map(torch.as_tensor, problem.parts())
    model, loss_of = network(torch, problem, "cpu"), torch.nn.functional.cross_entropy
    batches = [torch.as_tensor(rows) for rows in problem.rows()]

    def start() -> Run:
        reset(torch, model, problem)
        optimizer = adam(torch, model.parameters(), problem, fused=True)

        def run(steps: int) -> np.ndarray:
            means, seen = [], []
            for _ in range(_epochs(problem, steps)):
                model.train()
                losses, hits = [], 0
                for rows in batches:
                    output, classes = model(x[rows]), y[rows]
                    loss = loss_of(output, classes)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
                    hits += (output.detach().argmax(-1) == classes).sum().item()
                means.append(np.mean(losses))
                model.eval()
                with torch.no_grad():
                    output = model(held_x)
                    right = (output.argmax(-1) == held_y).float().mean()
                    seen.append((loss_of(output, held_y).item(), right.item()))
            return np.array(means)

        return run

    return Contestant(problem, start)


def skorch(problem: Problem) -> Contestant:
    """`NeuralNetClassifier`, which looks at the samples of ``predefined_split`` by itself."""
    _validating(problem)
    torch, found = require("torch"), require("skorch")
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    x, y, held_x, held_y = problem.parts()
    model = found.NeuralNetClassifier(
        network(torch, problem, "cpu"),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__betas=problem.betas,
        optimizer__eps=problem.eps,
        optimizer__fused=True,
        lr=problem.lr,
        batch_size=problem.batch,
        iterator_valid__batch_size=problem.held,
        iterator_train__shuffle=False,
        train_split=predefined_split(Dataset(held_x, held_y)),
        verbose=0,
    )

    def start() -> Run:
        model.initialize()
        reset(torch, model.module_, problem)

        def run(steps: int) -> np.ndarray:
            model.partial_fit(x, y, epochs=_epochs(problem, steps))
            return np.array(model.history[:, "train_loss"])

        return run

    return Contestant(problem, start)


def jax_loop(problem: Problem) -> Contestant:
    """An epoch is a compiled scan, a look at the samples held out a compiled function."""
    _validating(problem)
    training = Training(replace(problem, accuracy=True))
    jax, jnp = training.jax, training.jnp
    _, _, *held = problem.parts()
    held = [jnp.asarray(part) for part in held]
    rows = jnp.asarray(np.stack(problem.rows()))

    @jax.jit
    def epoch(carry: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            return training.batch_step(carry, training.x, training.y, rows)

        carry, metrics = jax.lax.scan(step, carry, rows)
        return carry, jnp.stack([jnp.mean(values) for values in metrics])

    look = jax.jit(lambda params: jnp.stack(training.loss(params, *held)))

    def start() -> Run:
        carry = training.start()

        def run(steps: int) -> np.ndarray:
            nonlocal carry
            means, seen = [], []
            for _ in range(_epochs(problem, steps)):
                carry, metrics = epoch(carry)
                means.append(np.asarray(metrics)[0])
                seen.append(np.asarray(look(carry[0])))
            return np.array(means)

        return run

    return Contestant(problem, start)


def early_stopping(problem: Problem) -> Contestant:
    """scikit-learn's `MLPClassifier` with ``early_stopping``, which deals samples out itself.

    As many are held out, others than for the rest, and it asks for the accuracy alone; patience is
    longer than the training.
    """
    _validating(problem)
    require("sklearn")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    x, y, held_x, held_y = problem.parts()
    x, y = np.concatenate([x, held_x]), np.concatenate([y, held_y])

    def start() -> Run:
        def run(steps: int) -> np.ndarray:
            model = MLPClassifier(
                hidden_layer_sizes=problem.sizes[1:-1],
                alpha=0.0,
                batch_size=problem.batch,
                learning_rate_init=problem.lr,
                beta_1=problem.betas[0],
                beta_2=problem.betas[1],
                epsilon=problem.eps,
                max_iter=_epochs(problem, steps),
                shuffle=False,
                early_stopping=True,
                validation_fraction=problem.held / len(x),
                n_iter_no_change=10**9,
                random_state=problem.seed,
            )
            return np.array(model.fit(x, y).loss_curve_)

        return run

    return Contestant(problem, start)


PEERS: dict[str, Factory] = {
    "torch.nn, fused Adam, with validation": torch_loop,
    "skorch, NeuralNetClassifier": skorch,
    "jax.grad and optax, a scan an epoch, with validation": jax_loop,
    "scikit-learn, early_stopping": early_stopping,
}
