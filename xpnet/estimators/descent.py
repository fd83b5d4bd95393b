"""Training by gradient descent, epoch by epoch, as scikit-learn's perceptrons do it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from xpnet.estimators.building import statistics
from xpnet.estimators.outputs import outputs_of
from xpnet.estimators.preparing import trainer_for
from xpnet.estimators.reporting import EstimatorRun, told
from xpnet.estimators.samples import Samples
from xpnet.estimators.training import RATE, Trainer
from xpnet.optimizers import Optimizer, Schedule
from xpnet.training.interrupts import interrupts
from xpnet.training.step import state_in
from xpnet.types import Carry


class Descent:
    """The learning rate of an estimator, and what its optimizer keeps from step to step.

    Attributes:
        learning_rate: that of the next step, where the optimizer does not know it.
        solver: whose it is.
        trainer: who knows the optimizer's state, or ``None``.
    """

    def __init__(self, estimator: Any) -> None:
        rate = estimator.learning_rate
        self.solver = estimator.solver
        self.is_own = isinstance(estimator.solver, Optimizer) or isinstance(rate, Schedule)
        self.schedule = "constant" if self.is_own or estimator.solver == "adam" else rate
        self.learning_rate = self.learning_rate_init = float(estimator.learning_rate_init)
        self.power_t = estimator.power_t
        self.trainer: Trainer | None = None
        self._state: Carry = {}

    @property
    def state(self) -> Carry:
        """What the optimizer keeps; empty before the first step."""
        if self.trainer is None:
            return self._state
        carried = state_in(self.trainer.carry)
        return {name: array for name, array in carried.items() if f"optimizer.{name}" != RATE}

    def leave(self) -> None:
        """Have it without the trainer, which may then go."""
        self._state, self.trainer = self.state, None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_state": self.state, "trainer": None}

    def iteration_ends(self, samples: int) -> None:
        """Set the rate behind an epoch, once so many samples have been seen."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (samples + 1) ** self.power_t

    def trigger_stopping(self, said: str, verbose: bool) -> bool:
        """Whether to stop where there is no progress; else the rate is a fifth from here on."""
        stops = self.schedule != "adaptive" or self.learning_rate <= 1e-6
        what = " Stopping."
        if not stops:
            self.learning_rate /= 5
            what = f" Setting learning rate to {self.learning_rate:f}"
        elif self.schedule == "adaptive":
            what = " Learning rate too small. Stopping."
        if verbose:
            print(said + what)
        return stops


def descend(
    estimator: Any, samples: Samples, incremental: bool, held: Samples | None = None
) -> None:
    """Train an estimator on samples until it stops: one epoch if ``incremental``."""
    known = vars(estimator).get("_optimizer")
    if not incremental or known is None or known.solver != estimator.solver:
        estimator._optimizer = Descent(estimator)
    stopping = estimator.early_stopping
    if stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if stopping and held is None:
        samples, held = _split(estimator, samples)
        if not estimator.t_ and estimator._network.reads_statistics:  # not of those held out
            theta = estimator._weights.vector(estimator._network)
            estimator._layer_state = statistics(estimator, estimator._network, theta, samples)
    batch = _batch_size(estimator, len(samples))
    trainer = trainer_for(estimator, samples, batch)
    epochs = 1 if incremental else estimator.max_iter
    run = _Epochs(estimator, trainer, held, batch)
    callbacks = () if incremental else estimator.callbacks or ()
    run.told = EstimatorRun(estimator, trainer, epochs, held is not None) if callbacks else None
    with interrupts() as interrupted, told(callbacks, run.told) as check:
        if not run.train(epochs, interrupted, check):
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif not incremental and estimator.n_iter_ == epochs and not run.stopped:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )
    estimator._keep_of(trainer, run.best)


def _split(estimator: Any, samples: Samples) -> tuple[Samples, Samples]:
    """Those to train on, and those to hold out, as scikit-learn would choose them."""
    places = train_test_split(
        np.arange(len(samples)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=estimator._stratified(samples),
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


class _Epochs:
    """One epoch after the other, with what scikit-learn records of them on the estimator.

    Attributes:
        best: what the outputs follow from where those held out had the best score; ``None`` if it
            is the last that counts.
        stopped: whether it has ended before all epochs were done.
        told: the run as callbacks see it, or ``None``.
    """

    def __init__(self, estimator: Any, trainer: Trainer, held: Samples | None, batch: int) -> None:
        self.estimator, self.trainer, self.held, self.batch = estimator, trainer, held, batch
        self.best: Carry | None = None
        self.told: EstimatorRun | None = None
        self.stopped = False
        if estimator.early_stopping:
            self.best = estimator._best = vars(estimator).get("_best") or trainer.judged

    def train(
        self, epochs: int, interrupted: Callable[[], bool], check: Callable[[], bool]
    ) -> bool:
        """Train so many epochs at most; return whether nobody has interrupted it."""
        est = self.estimator
        order = np.arange(len(self.trainer.samples))
        shuffles = self._shuffles(len(order))
        est.n_iter_ = 0
        for _ in range(epochs):
            if shuffles:
                turn = np.arange(len(order))
                est._random_state.shuffle(turn)
                order = order[turn]
            losses = self.trainer.epoch(order, self.batch, interrupted)
            if losses is None:
                return False
            self._record(losses)
            before = est._optimizer.learning_rate
            est._optimizer.iteration_ends(est.t_)
            self.stopped = self._stops()
            self._change_rate(before, est._optimizer.learning_rate)
            self.stopped |= check()
            if self.stopped:
                return True
            if interrupted():
                return False
        return True

    def _shuffles(self, samples: int) -> bool:
        """Whether orders are drawn; one batch of all is the same in any order.

        Unless it is somebody's generator that goes on.
        """
        est = self.estimator
        alone = isinstance(est.random_state, Integral) and self.batch == samples
        if not est.shuffle or alone:
            return False
        if est._random_state is None:
            est._random_state = check_random_state(est.random_state)
        return True

    def _record(self, losses: np.ndarray) -> None:
        """Put an epoch on record."""
        est = self.estimator
        est.n_iter_ += 1
        est.loss_ = float(losses.mean())
        est.t_ += len(self.trainer.samples)
        est.loss_curve_.append(est.loss_)
        if est.verbose:
            print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        score = self._look()
        if self.told is not None:
            self.told.add(losses, score)

    def _look(self) -> float | None:
        """Count the epochs without an improvement, of the loss or of the score of those held."""
        est, tol, score = self.estimator, self.estimator.tol, None
        if self.held is not None:
            carry, backend = self.trainer.judged, self.trainer.backend
            found = outputs_of(est, backend, carry, self.held.x)[0]
            score = est._score_of(backend.to_host(found), self.held)
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
        return score

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
