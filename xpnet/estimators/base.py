"""What both estimators share: fitting, the attributes that are read afterwards, members."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from xpnet import backends, checks
from xpnet.backends import Backend
from xpnet.estimators import building, options
from xpnet.estimators.at_once import descend_at_once
from xpnet.estimators.descent import descend
from xpnet.estimators.outputs import outputs_of
from xpnet.estimators.samples import (
    Samples,
    dtype_of,
    library_of,
    place,
    require_same_place,
    samples_in,
)
from xpnet.estimators.training import Trainer
from xpnet.estimators.weights import Weights
from xpnet.layers import Layer
from xpnet.losses import EnsembleLoss, Loss, Scaled
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.training.step import layer_state_in
from xpnet.types import Array, Carry


def trains_by_steps(estimator: Any) -> bool:
    """Whether its solver goes step by step, so that it can be fitted in parts; or raise."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


def has_members(estimator: Any) -> bool:
    """Whether there are several networks; or raise."""
    if estimator.members is None:
        raise AttributeError("members must be given for this, such as members=8, not be None.")
    if estimator.architecture != "mlp":
        raise AttributeError("architecture must be 'mlp' for this, whose members lie apart.")
    return True


class MLP(BaseEstimator):  # type: ignore[misc]
    """A multi-layer perceptron; `MLPClassifier` and `MLPRegressor` say what of.

    Another network is another `_layers`, another way of training it another `_optimizer_of`. Long,
    since scikit-learn's estimators are fitted, read and asked by one object.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **options.OF_SKLEARN,
        **options.OF_XPNET,
    }

    # ---- what is trained

    def _layers(self, features: int, outputs: int) -> list[Layer]:
        """The layers of the network, from the features to the outputs."""
        return building.layers(self, features, outputs)

    def _optimizer_of(self) -> Optimizer:
        """What the parameters are updated by."""
        return building.optimizer(self)

    def _loss_of(self) -> Loss:
        """The loss, in xpnet's own form."""
        raise NotImplementedError

    def _require_loss(self) -> None:
        """Raise unless a loss of xpnet's fits what is predicted."""
        raise NotImplementedError

    def _out_activation(self) -> str:
        """What makes probabilities or values of what the network gives, by scikit-learn's name."""
        raise NotImplementedError

    @property
    def _apart(self) -> int | None:
        """How many networks have parameters of their own; ``None`` for one, or one of submodels."""
        return self.members if self.architecture == "mlp" else None

    def _of_all(self, loss: Loss) -> Loss:
        """A loss of one network as that of its submodels."""
        return loss if self.architecture == "mlp" else EnsembleLoss(loss, building.submodels(self))

    def _descended(self, loss: Loss) -> Loss:
        """The loss as a step descends it, and reports it."""
        return Scaled(loss)

    def _meaning(self, xp: Any, output: Array) -> Array:
        """Probabilities or values of what the network gives."""
        raise NotImplementedError

    # ---- fitting

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> Any:
        """Fit the model to the samples ``X`` and their targets ``y``.

        Args:
            X: ``(samples, features)``: an array of any library, a frame, lists, ``scipy.sparse``.
            y: the targets.
            sample_weight: ``(samples,)``.
            eval_set: ``(X, y)`` or ``(X, y, sample_weight)`` of samples that are not trained on,
                scored behind each epoch (``validation_scores_``); with ``early_stopping`` it is
                these that decide, and nothing is split off.

        Returns:
            The estimator itself.
        """
        return self._fit(X, y, sample_weight, eval_set=eval_set)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        incremental: bool = False,
        eval_set: Any = None,
    ) -> Any:
        building.hidden_sizes(self.hidden_layer_sizes)
        for name, given in (("eval_set", eval_set), ("callbacks", self.callbacks)):
            if self.solver == "lbfgs" and given is not None:
                raise ValueError(
                    f"{name} must be None for solver='lbfgs', which has no epochs, not "
                    f"{checks.shown(given)}."
                )
        first = not self.__sklearn_is_fitted__() or (not self.warm_start and not incremental)
        backend = place(self, X)
        samples = self._samples(backend, X, y, sample_weight, incremental, first)
        samples = self._weighted(samples, incremental)
        self._library = library_of(X)
        if first or not incremental:
            self._random_state = check_random_state(self.random_state)
        else:  # it may never be asked
            self._random_state = None
        self.n_outputs_ = int(samples.target.shape[1])
        if first:
            self._initialize(samples)
        elif not incremental:  # or what is dropped would be the same in each fit
            self._noise = int(check_random_state(vars(self).get("_noise", 0)).randint(1 << 31))
        held = None if eval_set is None else self._held(backend, eval_set)
        if self.solver == "lbfgs":
            descend_at_once(self, samples)
        else:
            descend(self, samples, incremental, held)
        with backend.context():
            if not bool(backend.xp.all(backend.xp.isfinite(self._theta))):
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain "
                    "large values and need to be preprocessed."
                )
        return self

    def _samples(
        self, backend: Backend, X: Any, y: Any, weight: Any, incremental: bool, reset: bool
    ) -> Samples:
        """What is given, as it is trained on."""
        raise NotImplementedError

    def _weighted(self, samples: Samples, incremental: bool) -> Samples:
        """The samples with the weights that an estimator has for them."""
        return samples

    def _held(self, backend: Backend, given: Any) -> Samples:
        """Samples to look at, as those that are trained on."""
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ValueError(
                f"eval_set must be (X, y) or (X, y, sample_weight), not {checks.shown(given)}."
            )
        if library_of(given[0]) != self._library:
            raise ValueError(
                f"eval_set must hold arrays of the library of X, not {checks.shown(given[0])}."
            )
        X, y, weight = (*given, None)[:3]
        return self._samples(backend, X, y, weight, True, False)

    def _like(self, samples: Samples) -> Array:
        """An array of the library, the device and the floats that are computed with."""
        x, backend = samples.x, samples.backend
        if backends.name_of(x):
            return x
        return backend.asarray(np.zeros((1, 1)), dtype_of(x, backend))

    def _initialize(self, samples: Samples) -> None:
        """Draw a network, and forget what was recorded of another."""
        self.n_iter_ = self.t_ = 0
        network = self._made(int(samples.x.shape[1]))
        self.n_layers_ = len(building.hidden_sizes(self.hidden_layer_sizes)) + 2
        self.out_activation_ = self._out_activation()
        self._require_loss()
        theta = network.init(self._random_state, like=self._like(samples), members=self._apart)
        self._weights, self._network = Weights(network, theta), network
        self._layer_state = building.statistics(self, network, theta, samples)
        self._noise = int(self._random_state.randint(1 << 31)) if network.is_random else 0
        for name in ("_best", "_optimizer"):
            self.__dict__.pop(name, None)
        if self.solver == "lbfgs":
            return
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        stopping = self.early_stopping
        self.validation_scores_: list[float] | None = [] if stopping else None
        self.best_validation_score_ = -np.inf if stopping else None
        self.best_loss_ = None if stopping else np.inf

    def _made(self, features: int) -> Sequential:
        """The network; the one that is there, if it is the same."""
        network = Sequential(*self._layers(features, self.n_outputs_))
        known = vars(self).get("_network")
        return known if known == network else network

    def _keep(self, carry: Carry) -> None:
        """Go on from, and predict with, what a training has come to."""
        self._weights = Weights(self._network, carry["theta"])
        self._layer_state = layer_state_in(self._network, carry)

    def _keep_of(self, trainer: Trainer, best: Carry | None) -> None:
        """The same of a trainer, from where it stands unless an earlier epoch was the best."""
        self._keep(trainer.judged if best is None else best)
        self._optimizer.trainer = trainer
        trainer.holds = self._weights if best is None else None
        if trainer.large:  # and would keep the samples
            self._optimizer.leave()
            del self._trainer

    # ---- what it says of samples

    def _outputs(self, X: Any, method: str, spread: bool = False) -> tuple[Array, ...]:
        """Probabilities or values, of members their mean and spread, where ``X`` lies."""
        check_is_fitted(self)
        theta = self._theta
        backend = backends.of(theta)
        require_same_place(self, X, backend, method)
        x = samples_in(self, X, backend, reset=False)
        found = outputs_of(self, backend, self._judged, x, spread)
        return found if library_of(X) else tuple(backend.to_host(array) for array in found)

    @property
    def _theta(self) -> Array:
        """The parameters, as they are now."""
        weights = self._weights
        if "_network" not in vars(self):  # whose matrices were set
            self._network = self._made(int(np.shape(weights["coefs"][0])[-2]))
        return weights.vector(self._network)

    @property
    def _judged(self) -> Carry:
        """Parameters, and the state of the layers, as they are now."""
        layers = vars(self).get("_layer_state") or {}
        return {"theta": self._theta, **{f"layers.{name}": a for name, a in layers.items()}}

    @property
    def model_(self) -> Model:
        """The network with its parameters and its loss, as `xpnet.fit` gives it."""
        check_is_fitted(self)
        theta, layers = self._theta, vars(self).get("_layer_state") or None
        copied = backends.of(theta).copy
        state = layers and {name: copied(array) for name, array in layers.items()}
        return Model(self._network, copied(theta), self._of_all(self._loss_of()), layer_state=state)

    @property
    def members_(self) -> list[Any]:
        """Each of several networks as an estimator of its own, which predicts by itself."""
        check_is_fitted(self)
        has_members(self)
        found = []
        carry, backend = self._judged, backends.of(self._theta)
        for i in range(self.members):
            one = copy.copy(self).set_params(members=None)
            one._keep({name: backend.copy(array[i, ...]) for name, array in carry.items()})
            for name in ("_optimizer", "_best"):
                vars(one).pop(name, None)
            found.append(one)
        return found

    # ---- what is read afterwards

    @property
    def coefs_(self) -> list[Array]:
        """The matrices of the layers, ``(in, out)`` each; of members ``(members, in, out)``."""
        return self._matrices("coefs")

    @coefs_.setter
    def coefs_(self, arrays: list[Array]) -> None:
        self._set_matrices("coefs", arrays)

    @property
    def intercepts_(self) -> list[Array]:
        """The vectors that the layers add, ``(out,)`` each; of members ``(members, out)``."""
        return self._matrices("intercepts")

    @intercepts_.setter
    def intercepts_(self, arrays: list[Array]) -> None:
        self._set_matrices("intercepts", arrays)

    def _matrices(self, name: str) -> list[Array]:
        weights = vars(self).get("_weights")
        if weights is None or name not in weights:
            raise AttributeError(f"{name}_ is there once {type(self).__name__} is fitted.")
        found: list[Array] = weights[name]
        return found

    def _set_matrices(self, name: str, arrays: list[Array]) -> None:
        self.__dict__.setdefault("_weights", Weights())[name] = arrays

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are parameters; without showing them, to be written into."""
        weights = vars(self).get("_weights")
        return weights is not None and "coefs" in weights

    def __getstate__(self) -> dict[str, Any]:
        """All but the programs, which the next training makes anew."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_trainer", None)
        return state

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may give it: also sparse matrices, and arrays of other libraries."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags
