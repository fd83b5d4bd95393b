"""`MLPClassifier`, as scikit-learn's and beyond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from xpnet import backends, checks
from xpnet.backends import Backend
from xpnet.estimators import options
from xpnet.estimators.base import MLP, trains_by_steps
from xpnet.estimators.outputs import accuracy
from xpnet.estimators.samples import (
    Samples,
    dtype_of,
    library_of,
    on_host,
    pair_in,
    plain_in,
    weights_in,
)
from xpnet.losses import BCEWithLogits, CrossEntropy, Loss, Scaled
from xpnet.losses.base import integers
from xpnet.types import Array


class MLPClassifier(ClassifierMixin, MLP):  # type: ignore[misc]
    """A multi-layer perceptron that tells classes apart, as ``sklearn.neural_network`` has it.

    Its parameters, attributes and methods are scikit-learn's, and a network of the same
    ``random_state`` is the same up to rounding. The loss is
    ``(Σ w ℓ + ½ α Σ W²) / Σ w`` over the samples of a batch, ``ℓ`` the cross entropy.

    Args:
        hidden_layer_sizes: the widths of the hidden layers.
        activation: theirs: ``"relu"``, ``"tanh"``, ``"logistic"``, ``"identity"``, any other of
            xpnet's by name or as a layer (``"gelu"``, ``xn.ELU()``), or one a layer in a list.
        solver: ``"adam"``, ``"sgd"``, ``"lbfgs"``, or an optimizer of xpnet, which then has its own
            learning rate: ``xn.AdamW(1e-3)``.
        alpha: ``α``, at least 0.
        batch_size: how many samples a step has; ``"auto"`` for 200, or all if they are fewer.
        learning_rate: of ``"sgd"``: ``"constant"``, ``"invscaling"``, ``"adaptive"``; of any, a
            schedule of xpnet over the steps.
        learning_rate_init, power_t, momentum, nesterovs_momentum, beta_1, beta_2, epsilon: numbers
            of the solvers.
        max_iter: how many epochs at most.
        shuffle: whether the samples are drawn in a new order every epoch.
        random_state: seeds the network, the orders and what is held out.
        tol, n_iter_no_change: training ends once the loss, or with ``early_stopping`` the score,
            has not become better by ``tol`` for more than so many epochs.
        verbose: whether to print the loss of every epoch.
        warm_start: whether `fit` goes on from where the last one ended.
        early_stopping, validation_fraction: whether that part of the samples is held out, and the
            network with the best score on it kept.
        max_fun: how often ``"lbfgs"`` may ask for the loss.
        loss: ``"log_loss"``, or a loss of xpnet: ``xn.CrossEntropy(label_smoothing=0.1)``; for two
            classes or several labels a sample one such as ``xn.BCEWithLogits()``.
        class_weight: ``{class: weight}``, or ``"balanced"``.
        dropout: how much of the hidden layers' outputs is dropped in training.
        norm: ``"batch"``, ``"layer"`` or ``"rms"``, in front of each activation.
        clip_norm: how long a gradient may be.
        members: how many networks are trained at once; their probabilities are averaged, and it is
            the mean's score that stops them.
        architecture: ``"mlp"``, or ``"tabm"``, whose ``members``, 16 unless given, share their
            matrices (arXiv:2410.24210); then ``coefs_`` shows none, and ``norm`` is ``None``.
        numerical_embedding: ``"piecewise"`` or ``"periodic"`` makes a vector of each feature, which
            is scaled by its quartiles before: those of the samples that the first call trains on.
        callbacks: of `xpnet.callbacks`, told of every epoch.
        device: where samples of the host are trained on: ``"torch:cuda"``, ``"cupy"``, ``"jax"``.
            Arrays of a library are trained on where they lie.
        dtype: ``"float32"`` or ``"float64"``; that of ``X`` by default.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLP._parameter_constraints,
        **options.CLASSES,
    }

    def __init__(
        self,
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
        loss: Any = "log_loss",
        class_weight: Any = None,
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
        kind = self._label_binarizer.y_type_
        return "softmax" if kind == "multiclass" else "logistic"

    def _loss_of(self) -> Loss:
        if isinstance(self.loss, Loss):
            return self.loss
        return CrossEntropy() if self.out_activation_ == "softmax" else BCEWithLogits()

    def _require_loss(self) -> None:
        loss = self.loss
        if not isinstance(loss, Loss):
            return
        wrong = not loss.classifies or not loss.probabilistic or loss.takes_probabilities
        one_of_many = self.out_activation_ == "softmax"
        if wrong or isinstance(loss, CrossEntropy) != one_of_many:
            right = "CrossEntropy()" if one_of_many else "BCEWithLogits()"
            raise ValueError(
                f"loss must give probabilities of the numbers for {len(self.classes_)} classes, as "
                f"{right} does, not be {checks.shown(loss)}."
            )

    def _descended(self, loss: Loss) -> Loss:
        outputs = self.n_outputs_
        if isinstance(self.loss, Loss) or isinstance(loss, CrossEntropy):
            return Scaled(loss)
        return Scaled(loss, outputs, outputs)  # the sum over the labels

    def _meaning(self, xp: Any, output: Array) -> Array:
        return self._of_all(self._loss_of()).probabilities(xp, output)

    def _samples(
        self, backend: Backend, X: Any, y: Any, weight: Any, incremental: bool, reset: bool
    ) -> Samples:
        target = self._known(X, y) if incremental and not reset else None
        if target is None:
            X, y = pair_in(self, X, y, backend, reset)
            self._learn_classes(y, incremental)
            target = self._label_binarizer.transform(y)
            target = target.toarray() if hasattr(target, "toarray") else target
        if weight is not None:
            dtype = dtype_of(X, backend)
            weight = backend.asarray(weights_in(weight, len(target), dtype)[:, None], dtype)
        return Samples(backend, X, backend.asarray(target, "bool"), weight)

    def _weighted(self, samples: Samples, incremental: bool) -> Samples:
        if self.class_weight is None:
            return samples
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight must be a dict for partial_fit, not 'balanced', of which one batch "
                "knows nothing; sklearn.utils.compute_class_weight gives the numbers."
            )
        backend, weight = samples.backend, samples.weight
        labels = self._label_binarizer.inverse_transform(backend.to_host(samples.target))
        own = np.asarray(compute_sample_weight(self.class_weight, labels))[:, None]
        if weight is not None:
            own = own * backend.to_host(weight)
        return replace(samples, weight=backend.asarray(own, dtype_of(samples.x, backend)))

    def _known(self, X: Any, y: Any) -> np.ndarray | None:
        """Labels of classes that are known, one-hot; ``None`` where scikit-learn has to look."""
        classes = vars(self).get("classes_")
        if classes is None or not plain_in(self, X, y):
            return None
        whole = {y.dtype.kind, classes.dtype.kind} <= set("biu")
        if not whole or self._label_binarizer.y_type_ not in ("binary", "multiclass"):
            return None
        found: np.ndarray = y[:, None] == classes
        if len(classes) < 2 or not found.any(axis=1).all():
            return None
        return found if len(classes) > 2 else found[:, 1:]

    def _learn_classes(self, y: np.ndarray, incremental: bool) -> None:
        """Learn which classes there are; or raise if there are others than before."""
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return
        classes = unique_labels(y)
        if self.warm_start and not incremental:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _stratified(self, samples: Samples) -> np.ndarray | None:
        """What a split keeps the shares of: not of several labels a sample."""
        return samples.backend.to_host(samples.target) if self.n_outputs_ == 1 else None

    def _score_of(self, found: np.ndarray, held: Samples) -> float:
        host = held.backend.to_host
        weight = None if held.weight is None else host(held.weight)[:, 0]
        exclusive = self.out_activation_ == "softmax"
        return accuracy(found, host(held.target), weight, exclusive)

    @available_if(trains_by_steps)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Go on for one epoch over these samples.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all that there will be, ``(classes,)``; wanted by the first call.

        Returns:
            The estimator itself.
        """
        if not self.__sklearn_is_fitted__():
            self._validate_params()
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(on_host(y)).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(on_host(y) if multilabel else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    # ---- what it says of samples

    def predict(self, X: Any) -> Array:
        """The class of each sample, ``(samples,)``; of several labels 0 or 1, as ``y`` has them.

        They are sparse where ``y`` was, as of scikit-learn's.
        """
        return self._labels(self._outputs(X, "predict")[0], bool(library_of(X)))

    def _labels(self, found: Array, stays: bool) -> Array:
        """Classes of probabilities ``(samples, outputs)``; numbers stay in their library."""
        classes = self.classes_
        several = self._label_binarizer.y_type_.startswith("multilabel")
        if not stays:
            if several:
                labels = (found > 0.5).astype(int)
                if not self._label_binarizer.sparse_input_:
                    return labels
                return csr_matrix(labels)
            found = found.argmax(axis=1) if found.shape[1] > 1 else (found[:, 0] > 0.5)
            return classes[np.minimum(found.astype(int), len(classes) - 1)]
        backend = backends.of(found)
        xp = backend.xp
        if several:
            return xp.astype(found > 0.5, integers(xp))
        if found.shape[1] > 1:
            place = xp.argmax(found, axis=1)
        else:
            place = xp.astype(found[:, 0] > 0.5, integers(xp))
        if classes.dtype.kind not in "biuf":
            return classes[backend.to_host(place)]
        return xp.take(backend.asarray(classes, classes.dtype.name), place, axis=0)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, ``(samples, classes)``, in the order of ``classes_``."""
        return self._columns(self._outputs(X, "predict_proba")[0])

    def _columns(self, found: Array) -> Array:
        if found.shape[1] > 1:
            return found
        return backends.of(found).xp.concat([1 - found, found], axis=1)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`."""
        found = self._columns(self._outputs(X, "predict_log_proba")[0])
        backend = backends.of(found)
        with backend.context():
            return backend.xp.log(found)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy: the share of samples whose class, or all of whose labels, are right."""
        y, weight = on_host(y), on_host(sample_weight)
        return float(accuracy_score(y, on_host(self.predict(X)), sample_weight=weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
