"""What comes before the first step of an estimator: a trainer, with all in its place."""

from __future__ import annotations

from functools import cache
from operator import is_
from typing import Any

from xpnet.backends import Backend
from xpnet.estimators.samples import Samples
from xpnet.estimators.training import RATE, Trainer
from xpnet.noise import keys
from xpnet.optimizers import Optimizer
from xpnet.training.step import PENALTY, PenalizedStep, carry_of
from xpnet.types import Array, Carry


@cache
def parameters_of(kind: Any) -> tuple[str, ...]:
    """The names of the parameters of a class of estimators."""
    return tuple(kind._get_param_names())


def trainer_for(estimator: Any, samples: Samples, batch: int) -> Trainer:
    """A trainer of an estimator on these samples: the one of before, if it would do the same.

    Where that stands at the estimator's own weights, nothing else is asked or made, as it would
    take longer than the step of a `partial_fit`.

    Raises:
        ValueError: if the weights are of another network than the parameters say.
    """
    backend, like, known = samples.backend, estimator._like(samples), vars(estimator)
    if "_network" not in known:  # whose matrices were set
        estimator._network = estimator._made(int(samples.x.shape[1]))
    trainer: Trainer | None = known.get("_trainer")
    kind: Any = type(estimator)
    asked = [known[name] for name in parameters_of(kind)]
    asked += [estimator._network, samples.weight is None]
    if trainer is not None and _stands(trainer, estimator, asked, like):
        trainer.take(samples)
        return trainer
    _take_parameters(estimator, int(samples.x.shape[1]))
    network, optimizer = estimator._network, estimator._optimizer_of()
    theta = estimator._weights.vector(network, like)
    loss = estimator._of_all(estimator._descended(estimator._loss_of()))
    weighted = samples.weight is not None
    step = PenalizedStep(backend.xp, network, loss, optimizer, weighted=weighted)
    new = Trainer(backend, step, estimator._apart, like, batch)
    with backend.context():
        carry = _carry(estimator, backend, theta, optimizer)
        if trainer is None or not trainer.serves(new):
            trainer = new
        trainer.load(carry, samples)
    estimator._trainer, trainer.asked, trainer.holds = trainer, asked, None
    return trainer


def _stands(trainer: Trainer, estimator: Any, asked: list[Any], like: Array) -> bool:
    """Whether a trainer stands where an estimator does, and does what it is asked for."""
    weights, trainer.holds = trainer.holds, None  # until it has come to an end again
    return (
        all(map(is_, asked, trainer.asked))
        and weights is estimator._weights
        and not weights.shown
        and estimator._optimizer.trainer is trainer
        and trainer.lies_with(like)
    )


def _take_parameters(estimator: Any, features: int) -> None:
    """Take the network that the parameters say now, as another activation; or raise."""
    before, network = estimator._network, estimator._made(features)
    members = estimator._weights.members
    if network.layout.shapes != before.layout.shapes or members != estimator._apart:
        raise ValueError(
            "hidden_layer_sizes, norm and members must be those of the weights that are gone on "
            f"from, {before!r}{f' of {members} members' * bool(members)}; fit with "
            "warm_start=False begins anew."
        )
    estimator._network = network


def _carry(estimator: Any, backend: Backend, theta: Array, optimizer: Optimizer) -> Carry:
    """What a step is given: parameters, the optimizer's state, and what the penalty is."""
    network, dtype, descent = estimator._network, backend.dtype_name(theta), estimator._optimizer
    state, known = optimizer.init(theta, network), descent.state
    if state.keys() <= known.keys():
        state = known
    layers = vars(estimator).get("_layer_state")
    if layers is None:
        layers = network.init_state(like=theta, members=estimator._apart)
    key = None
    if network.is_random:
        words = keys(estimator._noise, estimator._apart, "random_state")
        key = backend.asarray(words, backend.words)
    carry = carry_of(backend.copy(theta), state, layers, key)
    if not descent.is_own:
        carry[RATE] = backend.asarray(descent.learning_rate, dtype)
    if estimator.alpha:
        carry[PENALTY] = network.weight_mask(theta) * float(estimator.alpha)
    return carry
