"""`MLPRegressor`, as scikit-learn's and beyond."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from xpnet import checks
from xpnet.backends import Backend
from xpnet.estimators import options
from xpnet.estimators.base import MLP, has_members, trains_by_steps
from xpnet.estimators.outputs import r2
from xpnet.estimators.samples import Samples, dtype_of, on_host, pair_in, plain_in, weights_in
from xpnet.losses import L1, MSE, Huber, Loss, Poisson, Quantile, Scaled
from xpnet.types import Array


class MLPRegressor(RegressorMixin, MLP):  # type: ignore[misc]
    """A multi-layer perceptron that gives numbers, as ``sklearn.neural_network`` has it.

    The loss is ``(Σ w ℓ + ½ α Σ W²) / Σ w`` over the samples of a batch.

    Args:
        loss: ``"squared_error"``: half of the squared error, of several outputs their sum, of which
            the mean is reported; ``"poisson"``: half of the deviance of counts, whose rate is the
            exponential of the network's output; ``"absolute_error"``, ``"huber"``, ``"quantile"``,
            or a loss of xpnet, the mean over outputs.
        quantile: which one, for ``loss="quantile"``.
        hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate,
            learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, warm_start,
            momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2,
            epsilon, n_iter_no_change, max_fun, dropout, norm, clip_norm, architecture,
            numerical_embedding, callbacks, device, dtype: as for `MLPClassifier`; the score is R².
        members: how many networks are trained at once; their values are averaged, and it is the
            mean's score that stops them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLP._parameter_constraints,
        **options.NUMBERS,
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        quantile: float = 0.5,
        dropout: float = 0.0,
        norm: str | None = None,
        clip_norm: float | None = None,
        members: int | None = None,
        architecture: str = "mlp",
        numerical_embedding: str | None = None,
        callbacks: Any = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        given = locals()
        self.__dict__.update((k, v) for k, v in given.items() if k not in ("self", "__class__"))

    # ---- what is trained

    def _out_activation(self) -> str:
        loss = self._loss_of()
        return "exp" if isinstance(loss, Poisson) and loss.log_input else "identity"

    def _loss_of(self) -> Loss:
        if isinstance(self.loss, Loss):
            return self.loss
        if self.loss == "quantile":
            return Quantile(self.quantile)
        made = {"squared_error": MSE, "poisson": Poisson, "absolute_error": L1, "huber": Huber}
        loss: Loss = made[self.loss]()
        return loss

    def _require_loss(self) -> None:
        if isinstance(self.loss, Loss) and self.loss.classifies:
            raise ValueError(
                f"loss must be one of numbers, such as Huber(), not {checks.shown(self.loss)}; "
                "MLPClassifier tells classes apart."
            )

    def _descended(self, loss: Loss) -> Loss:
        outputs = self.n_outputs_
        if self.loss == "squared_error":
            return Scaled(loss, 0.5, 0.5 * outputs)
        if self.loss == "poisson":
            return Scaled(Poisson(deviance=True), outputs, outputs)
        return Scaled(loss)

    def _meaning(self, xp: Any, output: Array) -> Array:
        return self._of_all(self._loss_of()).predict(xp, output)

    def _samples(
        self, backend: Backend, X: Any, y: Any, weight: Any, incremental: bool, reset: bool
    ) -> Samples:
        self._require_loss()
        known = incremental and not reset and plain_in(self, X, y) and y.dtype.kind == "f"
        if not (known and np.isfinite(y).all()):
            X, y = pair_in(self, X, y, backend, reset, y_numeric=True)
        dtype = dtype_of(X, backend)
        y = y.reshape(len(y), -1)
        if weight is not None:
            weight = backend.asarray(weights_in(weight, len(y), dtype)[:, None], dtype)
        target = backend.asarray(y, dtype)
        self._loss_of().check_values(backend, y.shape, target)
        return Samples(backend, X, target, weight)

    def _stratified(self, samples: Samples) -> None:
        return None

    def _score_of(self, found: np.ndarray, held: Samples) -> float:
        host = held.backend.to_host
        weight = None if held.weight is None else host(held.weight)[:, 0]
        return r2(found, host(held.target), weight)

    @available_if(trains_by_steps)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on for one epoch over these samples; arguments as for `fit`."""
        if not self.__sklearn_is_fitted__():
            self._validate_params()
        return self._fit(X, y, sample_weight, incremental=True)

    # ---- what it says of samples

    def predict(self, X: Any) -> Array:
        """The value of each sample, ``(samples,)``, or ``(samples, outputs)``."""
        return self._shaped(self._outputs(X, "predict")[0])

    @available_if(has_members)  # type: ignore[untyped-decorator]
    def predict_std(self, X: Any) -> Array:
        """The standard deviation over the members of what each predicts, shaped as `predict`."""
        return self._shaped(self._outputs(X, "predict_std", spread=True)[1])

    @staticmethod
    def _shaped(found: Array) -> Array:
        return found[:, 0] if found.shape[1] == 1 else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², of several outputs the mean."""
        y, weight = on_host(y), on_host(sample_weight)
        return float(r2_score(y, on_host(self.predict(X)), sample_weight=weight))
