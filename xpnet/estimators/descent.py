"""Training by gradient descent, epoch by epoch, as scikit-learn's perceptrons do it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from xpnet.estimators.outputs import outputs_of
from xpnet.estimators.samples import Samples
from xpnet.estimators.training import RATE, Trainer
from xpnet.optimizers import Optimizer, Schedule
from xpnet.training.interrupts import interrupts
from xpnet.training.step import state_in
from xpnet.types import Array, Carry


class Descent:
    """The learning rate of an estimator, and what its optimizer keeps from step to step.

    Attributes:
        learning_rate: that of the next step, where the optimizer does not know it.
        state: the optimizer's; empty before the first step.
    """

    def __init__(self, estimator: Any) -> None:
        own = isinstance(estimator.solver, Optimizer) or isinstance(
            estimator.learning_rate, Schedule
        )
        self.solver = "own" if own else estimator.solver
        self.schedule = "constant" if own or self.solver == "adam" else estimator.learning_rate
        self.learning_rate = self.learning_rate_init = float(estimator.learning_rate_init)
        self.power_t = estimator.power_t
        self.state: Carry = {}

    def iteration_ends(self, samples: int) -> None:
        """Set the rate behind an epoch, once so many samples have been seen."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (samples + 1) ** self.power_t

    def trigger_stopping(self, said: str, verbose: bool) -> bool:
        """Whether to stop where there is no progress; else the rate is a fifth from here on."""
        stops = self.schedule != "adaptive" or self.learning_rate <= 1e-6
        if not stops:
            self.learning_rate /= 5
        if verbose:
            small = " Learning rate too small." if self.schedule == "adaptive" else ""
            what = (
                f"{small} Stopping."
                if stops
                else f" Setting learning rate to {self.learning_rate:f}"
            )
            print(said + what)
        return stops


def descend(
    estimator: Any, samples: Samples, incremental: bool, held: Samples | None = None
) -> None:
    """Train an estimator on samples until it stops: one epoch if ``incremental``."""
    if not incremental or not hasattr(estimator, "_optimizer"):
        estimator._optimizer = Descent(estimator)
    stopping = estimator.early_stopping
    if stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if stopping and held is None:
        samples, held = _split(estimator, samples)
    batch = _batch_size(estimator, len(samples))
    trainer = estimator._prepared(samples, batch)
    run = _Run(estimator, trainer, samples, held, batch)
    with interrupts() as interrupted:
        if not run.train(1 if incremental else estimator.max_iter, interrupted):
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif not incremental and run.unfinished:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
    carry = trainer.carry
    estimator._optimizer.state = {k: v for k, v in state_in(carry).items() if k != "lr"}
    estimator._keep(carry if run.best is None else run.best)


def _split(estimator: Any, samples: Samples) -> tuple[Samples, Samples]:
    """Those to train on, and those to hold out, as scikit-learn would choose them."""
    stratify = estimator._stratified(samples)
    places = train_test_split(
        np.arange(len(samples)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=stratify,
    )
    if len(places[1]) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    train, held = map(samples.rows, places)
    return train, held


def _batch_size(estimator: Any, samples: int) -> int:
    if isinstance(estimator.batch_size, str):
        return min(200, samples)
    if estimator.batch_size > samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=6,
        )
    return min(max(int(estimator.batch_size), 1), samples)


class _Run:
    """A run of epochs, with what scikit-learn records of them on the estimator."""

    def __init__(
        self, estimator: Any, trainer: Trainer, samples: Samples, held: Samples | None, batch: int
    ) -> None:
        self.estimator, self.trainer, self.samples = estimator, trainer, samples
        self.held, self.batch = held, batch
        self.best: Carry | None = None
        self.unfinished = False

    def train(self, epochs: int, interrupted: Callable[[], bool]) -> bool:
        """Train so many epochs at most; return whether nobody has interrupted it."""
        est, n = self.estimator, len(self.samples)
        order = np.arange(n)
        est.n_iter_ = 0
        if est.early_stopping:
            self.best = est._best = getattr(est, "_best", None) or self.trainer.judged
        for _ in range(epochs):
            if est.shuffle:
                turn = np.arange(n)
                est._random_state.shuffle(turn)
                order = order[turn]
            losses = self.trainer.epoch(order, self.batch, interrupted)
            if losses is None:
                return False
            est.n_iter_ += 1
            est.loss_ = float(losses.mean())
            est.t_ += n
            est.loss_curve_.append(est.loss_)
            if est.verbose:
                print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
            self._look()
            before = est._optimizer.learning_rate
            est._optimizer.iteration_ends(est.t_)
            if self._stops():
                return True
            self._change_rate(before, est._optimizer.learning_rate)
            if interrupted():
                return False
        self.unfinished = True
        return True

    def _look(self) -> None:
        """Count the epochs without an improvement, of the loss or of the score of those held."""
        est, tol = self.estimator, self.estimator.tol
        if self.held is not None:
            carry = self.trainer.judged
            score = est._score_of(self._outputs(carry), self.held)
            est.validation_scores_ = [*(est.validation_scores_ or ()), score]
            if est.verbose:
                print(f"Validation score: {score:f}")
        if est.early_stopping:
            worse = score < est.best_validation_score_ + tol
            if score > est.best_validation_score_:
                est.best_validation_score_ = score
                self.best = est._best = carry
        else:
            worse = est.loss_ > est.best_loss_ - tol
            est.best_loss_ = min(est.loss_, est.best_loss_)
        est._no_improvement_count = est._no_improvement_count + 1 if worse else 0

    def _outputs(self, carry: Carry) -> np.ndarray:
        assert self.held is not None
        backend = self.trainer.backend
        found: Array = outputs_of(self.estimator, backend, carry, self.held.x)[0]
        return backend.to_host(found)

    def _stops(self) -> bool:
        est = self.estimator
        if est._no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Validation score" if est.early_stopping else "Training loss"
        said = (
            f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} "
            "consecutive epochs."
        )
        if est._optimizer.trigger_stopping(said, est.verbose):
            return True
        est._no_improvement_count = 0
        return False

    def _change_rate(self, before: float, rate: float) -> None:
        """Go on with another rate, by which scikit-learn multiplies as it adds to a velocity."""
        if before == rate:
            return
        backend, dtype = self.trainer.backend, self.trainer.dtype

        def changed(carry: Carry) -> Carry:
            found = {RATE: backend.asarray(rate, dtype)}
            if "optimizer.v" in carry:
                found["optimizer.v"] = carry["optimizer.v"] * (before / rate)
            return found

        self.trainer.change(changed)
