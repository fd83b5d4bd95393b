"""`TabularClassifier` and `TabularRegressor`: for a table as it is, by settings that serve most."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from xpnet import backends, checks
from xpnet.estimators.samples import (
    library_of,
)
from xpnet.estimators.tabular_base import Part, Tabular
from xpnet.layers import Layer
from xpnet.losses import MSE, CrossEntropy, Loss
from xpnet.model import Model
from xpnet.tables.table import is_nan
from xpnet.types import Array


class TabularClassifier(ClassifierMixin, Tabular):  # type: ignore[misc]
    """Classes of the rows of a table: frames of mixed columns in, with something missing if so.

    The settings are those that did well on many tables in papers: numbers scaled by their quartiles
    and clipped smoothly (RealMLP, arXiv:2407.04491), each made a vector by its pieces
    (arXiv:2203.05556), categories by an embedding each, TabM's networks that share their weights
    (arXiv:2410.24210), AdamW, and the epoch that did best on held out samples.

    Args:
        architecture: ``"tabm"``, networks that share their weights, or ``"mlp"``, that do not.
        members: how many; ``None`` for 16 that share, 8 that do not. Their probabilities are
            averaged.
        hidden_layer_sizes: the widths of the hidden layers.
        numerical_embedding: ``"piecewise"``, ``"periodic"``, or ``None`` for numbers as they are.
        embedding_dim: the length of the vector of a number.
        activation: a name such as ``"silu"``, or a layer as ``xn.SiLU()``; ``None`` for `ReLU`.
        dropout: how much of the hidden layers' outputs is dropped in training.
        label_smoothing: of the cross entropy.
        class_weight: ``{class: weight}``, or ``"balanced"``.
        learning_rate_init, weight_decay: numbers of `AdamW`; only weights decay.
        batch_size: how many samples a step has; ``"auto"`` for a twelfth of them, 32 to 256.
        max_iter: how many epochs at most.
        n_iter_no_change: training ends after so many epochs without a better one.
        validation_fraction: how many of the samples are held out for that; of fewer than 20 none.
        categories: names of columns that are categories although they hold numbers.
        drop: names of columns that are left out, such as dates and ids.
        random_state: seeds the networks, the orders and what is held out.
        callbacks: of `xpnet.callbacks`, told of every epoch.
        device: where a table of the host is trained on: ``"torch:cuda"``, ``"cupy"``, ``"jax"``.
        dtype: what is computed in.

    Attributes:
        classes_: the classes, in order.
        model_: the `xpnet.Model`, which can be saved, and makes ``x`` of a table by its
            ``preparation``.
        preparation_: the `xpnet.tables.Preparation`.
        n_iter_: how many epochs were trained.
        n_features_in_, feature_names_in_: as scikit-learn has them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Tabular._parameter_constraints,
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    _stratifies = True
    _monitored = (["log_loss"], "val_log_loss")

    def __init__(
        self,
        *,
        architecture: str = "tabm",
        members: int | None = None,
        hidden_layer_sizes: Any = (128, 128),
        numerical_embedding: str | None = "piecewise",
        embedding_dim: int = 8,
        activation: str | Layer | None = None,
        dropout: float = 0.1,
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        learning_rate_init: float = 2e-3,
        weight_decay: float = 3e-4,
        batch_size: Any = "auto",
        max_iter: int = 200,
        n_iter_no_change: int = 16,
        validation_fraction: float = 0.15,
        categories: Any = (),
        drop: Any = (),
        random_state: Any = None,
        callbacks: Any = (),
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        given = locals()
        self.__dict__.update((k, v) for k, v in given.items() if k not in ("self", "__class__"))

    def _learnt(self, y: Any) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O":
            missing = np.array([label is None or is_nan(label) for label in y], dtype=bool)
            if missing.any():
                raise ValueError(
                    f"y must have a class for each row, but {int(missing.sum())} of {len(y)} are "
                    f"missing, first in row {int(missing.argmax())} (from 0); leave these rows out."
                )
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.n_outputs_ = len(self.classes_)
        if self.n_outputs_ < 2:
            raise ValueError(f"y must be of at least two classes, not the one class {y[0]!r}.")
        return np.asarray(codes, dtype=np.int64)

    def _encoded(self, y: Any) -> np.ndarray:
        labels = column_or_1d(y).tolist()
        known = {label: code for code, label in enumerate(self.classes_.tolist())}
        for row, label in enumerate(labels):
            if label not in known:
                raise ValueError(
                    f"eval_set must have classes of y, not {checks.shown(label)} in row {row} "
                    "(from 0)."
                )
        return np.array([known[label] for label in labels], dtype=np.int64)

    def _weighted(self, y: Any, weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        own = np.asarray(compute_sample_weight(self.class_weight, column_or_1d(y)))
        return own.astype(self.dtype) if weight is None else weight * own.astype(self.dtype)

    def _loss(self) -> Loss:
        return CrossEntropy(self.label_smoothing)

    def _meaning(self, model: Model, x: Array) -> Array:
        return model.predict_proba(x)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, ``(samples, classes)``, in the order of ``classes_``."""
        return self._outputs(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`."""
        found = self._outputs(X, "predict_log_proba")
        return backends.of(found).xp.log(found)

    def predict(self, X: Any) -> Array:
        """The class of each row, ``(samples,)``."""
        found = self._outputs(X, "predict")
        backend = backends.of(found)
        places = backend.xp.argmax(found, axis=-1)
        if not library_of(X) or self.classes_.dtype.kind not in "biuf":
            return self.classes_[backend.to_host(places)]
        classes = backend.asarray(self.classes_, self.classes_.dtype.name)
        return backend.xp.take(classes, places, axis=0)


class TabularRegressor(RegressorMixin, Tabular):  # type: ignore[misc]
    """Numbers for the rows of a table; in all else as `TabularClassifier`.

    The targets are standardized for the training, and the last layer is scaled back behind it. What
    the networks predict is averaged; ``y`` may be ``(samples, outputs)``.
    """

    def __init__(
        self,
        *,
        architecture: str = "tabm",
        members: int | None = None,
        hidden_layer_sizes: Any = (128, 128),
        numerical_embedding: str | None = "piecewise",
        embedding_dim: int = 8,
        activation: str | Layer | None = None,
        dropout: float = 0.1,
        learning_rate_init: float = 2e-3,
        weight_decay: float = 3e-4,
        batch_size: Any = "auto",
        max_iter: int = 200,
        n_iter_no_change: int = 16,
        validation_fraction: float = 0.15,
        categories: Any = (),
        drop: Any = (),
        random_state: Any = None,
        callbacks: Any = (),
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        given = locals()
        self.__dict__.update((k, v) for k, v in given.items() if k not in ("self", "__class__"))

    def _learnt(self, y: Any) -> np.ndarray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        self.n_outputs_ = int(y.shape[1])
        return np.asarray(y)

    def _encoded(self, y: Any) -> np.ndarray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y of eval_set")
        y = y.reshape(len(y), -1)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"eval_set must have {self.n_outputs_} numbers a row, as y has, not {y.shape[1]}."
            )
        return np.asarray(y)

    def _scales(self, part: Part) -> tuple[Any, Any]:
        own = None if part.weight is None else part.weight.astype(np.float64)
        center = np.average(part.target, axis=0, weights=own)
        scale = np.sqrt(np.average((part.target - center) ** 2, axis=0, weights=own))
        return center, np.where(scale > 0, scale, 1.0)

    def _loss(self) -> Loss:
        return MSE()

    def _meaning(self, model: Model, x: Array) -> Array:
        return model.predict(x)

    def predict(self, X: Any) -> Array:
        """The value of each row, ``(samples,)``, or ``(samples, outputs)``."""
        found = self._outputs(X, "predict")
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
