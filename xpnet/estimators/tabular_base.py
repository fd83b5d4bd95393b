"""What the estimators for tables share: fitting, and the mean of what their networks say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

import xpnet as xn
from xpnet import backends
from xpnet.backends import Backend
from xpnet.estimators.building import NAMED, activation_of, hidden_sizes
from xpnet.estimators.samples import (
    library_of,
    on_host,
    place,
    require_same_place,
    weights_in,
)
from xpnet.estimators.tabular_samples import (
    batch_of,
    dealt,
    scaled_back,
    table_of,
    unknown_is_nothing,
)
from xpnet.in_parts import in_parts, rows_at_once
from xpnet.layers import Layer
from xpnet.losses import EnsembleLoss, Loss
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.tables import Preparation, Table
from xpnet.tables.network import ARCHITECTURES, EMBEDDINGS, table_network
from xpnet.tables.target import Target
from xpnet.types import Array

MEMBERS = {"tabm": 16, "mlp": 8}
"""How many networks there are, by the architecture, where nobody says."""

A_BIN = 40
"""How many samples there are for each piece of a number."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a table, with their targets for the network and their weights."""

    table: Table
    target: np.ndarray
    weight: np.ndarray | None


class Tabular(BaseEstimator):  # type: ignore[misc]
    """What both share; `TabularClassifier` says what of."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "architecture": [StrOptions(set(ARCHITECTURES))],
        "members": [Interval(Integral, 1, None, closed="left"), None],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "numerical_embedding": [StrOptions(set(EMBEDDINGS)), None],
        "embedding_dim": [Interval(Integral, 2, None, closed="left")],
        "activation": [StrOptions(set(NAMED)), Layer, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "categories": ["array-like"],
        "drop": ["array-like"],
        "random_state": ["random_state"],
        "callbacks": ["array-like"],
        "device": [str, None],
        "dtype": [StrOptions({"float32", "float64"})],
    }

    # ---- fitting

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> Any:
        """Fit the model to the rows of a table ``X`` and their targets ``y``.

        Args:
            X: a frame of pandas or polars, whose columns hold numbers, truth values or texts; or an
                array ``(samples, features)`` of any library. Something may be missing in any row.
            y: the targets, ``(samples,)``.
            sample_weight: ``(samples,)``.
            eval_set: ``(X, y)`` or ``(X, y, sample_weight)`` of rows that are not trained on, by
                which to see when to stop; without, some of the rows are held out for that.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: if they are none of these; a column of dates, of ids, of numbers
                with a slip is told by its name, with what to do.
        """
        backend = place(self, X)
        table = table_of(self, X, reset=True)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        called, y = getattr(y, "name", None), on_host(y)
        check_consistent_length(table.columns[0].values, y)
        target = self._learnt(y)
        weight = None
        if sample_weight is not None:
            weight = weights_in(sample_weight, len(table), self.dtype)
        weight = self._weighted(y, weight)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(1 << 31))
        fraction = self.validation_fraction if eval_set is None else 0.0
        train, held = dealt(target, weight, fraction, rng, self._stratifies)
        parts = [
            Part(table.take(rows), target[rows], None if weight is None else weight[rows])
            for rows in (train, held)
            if len(rows)
        ]
        if eval_set is not None:
            parts.append(self._held(eval_set))
        prepared = Preparation.fit(
            parts[0].table,
            numbers="keep",
            categories=[str(name) for name in self.categories],
            drop=[str(name) for name in self.drop],
        )
        self.preparation_ = replace(prepared, target=self._predicted(called, table))
        self.model_ = self._trained(backend, parts, seed)
        self.model_.preparation = self.preparation_
        self._library = library_of(X)
        return self

    def _held(self, given: Any) -> Part:
        """Rows to see by when to stop, as those that are trained on."""
        if isinstance(given, list) and all(isinstance(one, tuple) for one in given):
            if len(given) != 1:  # as other libraries take them
                raise ValueError(
                    f"eval_set must be one (X, y) by which to stop, not {len(given)} of them."
                )
            given = given[0]
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            many = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
            raise ValueError(
                "eval_set must be (X, y) or (X, y, sample_weight), not "
                f"a {type(given).__name__}{many}."
            )
        X, y, weight = (*given, None)[:3]
        if y is None:
            raise ValueError("eval_set must have the targets of X, not None for y.")
        table, y = table_of(self, X, reset=False), on_host(y)
        check_consistent_length(table.columns[0].values, y)
        if weight is not None:
            weight = weights_in(weight, len(table), self.dtype)
        return Part(table, self._encoded(y), weight)

    def _trained(self, backend: Backend, parts: list[Part], seed: int) -> Model:
        center, scale = self._scales(parts[0])

        def data(part: Part) -> list[Any]:
            target = part.target if center is None else (part.target - center) / scale
            kind = self.dtype if target.dtype.kind == "f" else "int64"
            found = [self._matrix(backend, part.table), backend.asarray(target, kind)]
            weight = part.weight
            return [*found, None if weight is None else backend.asarray(weight, self.dtype)]

        x, y, w = data(parts[0])
        samples = len(parts[0].target)
        network, loss, members = self._network(samples)
        theta = network.init(seed, like=x, members=members)
        stopping: dict[str, Any] = {}
        if len(parts) > 1:
            metrics, monitor = self._monitored
            stopping = {"validation": tuple(one for one in data(parts[1]) if one is not None)}
            stopping |= {"patience": self.n_iter_no_change, "metrics": metrics, "monitor": monitor}
        model = xn.fit(
            network, x, y, loss=loss,
            optimizer=xn.AdamW(
                lr=self.learning_rate_init, weight_decay=self.weight_decay, decayed="weights"
            ),
            epochs=self.max_iter, batch_size=batch_of(self.batch_size, samples), sample_weight=w,
            theta=unknown_is_nothing(network, backend, theta), members=members,
            shuffle_seed=seed, noise_seed=seed,
            callbacks=self.callbacks, **stopping,
        )  # fmt: skip
        self.n_iter_ = len(model.history.loss) if model.history else 0
        return model if center is None else scaled_back(model, backend, center, scale)

    def _network(self, samples: int) -> tuple[Sequential, Loss, int | None]:
        """The network, its loss, and how many members there are of it beside one another."""
        prepared, count = self.preparation_, self.members or MEMBERS[self.architecture]
        chosen = self.activation and activation_of("activation", self.activation)
        network = table_network(
            prepared.numeric,
            prepared.sizes,
            self.n_outputs_,
            hidden=hidden_sizes(self.hidden_layer_sizes),
            architecture=self.architecture,
            k=count,
            numerical_embedding=self.numerical_embedding,
            embedding_dim=self.embedding_dim,
            bins=max(2, min(48, samples // A_BIN)),
            activation=chosen,
            dropout=self.dropout,
        )
        if self.architecture == "tabm":
            return network, EnsembleLoss(self._loss(), count), None
        return network, self._loss(), count

    # ---- tables

    def _matrix(self, backend: Backend, table: Table) -> Array:
        return backend.asarray(self.preparation_.transform(table), self.dtype)

    def _outputs(self, X: Any, method: str) -> Array:
        """Probabilities or values ``(samples, outputs)``, of all networks the mean."""
        check_is_fitted(self)
        model = self.model_
        backend = backends.of(model.theta)
        require_same_place(self, X, backend, method)
        x = self._matrix(backend, table_of(self, X, reset=False))

        def of(rows: slice) -> tuple[Array]:
            some = self._meaning(model, x[rows, :])
            return (some if model.members is None else backend.xp.mean(some, axis=0),)

        size = rows_at_once(backend, model.network, model.members)
        (whole,) = in_parts(backend, int(x.shape[0]), size, of)
        return whole if library_of(X) else backend.to_host(whole)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    # ---- what they differ in

    _stratifies: ClassVar[bool] = False
    _monitored: ClassVar[tuple[list[str], str]] = ([], "val_loss")

    def _learnt(self, y: Any) -> np.ndarray:
        """Targets for the network, of what is given; sets ``n_outputs_``."""
        raise NotImplementedError

    def _predicted(self, called: Any, table: Table) -> Target | None:
        """What is predicted, for a model in a file, ``None`` if a `Target` cannot say it."""
        classes = getattr(self, "classes_", None)
        known = () if classes is None else tuple(np.asarray(classes).tolist())
        alike = all(isinstance(one, str) for one in known) or all(
            isinstance(one, (bool, int, float)) for one in known
        )
        if not alike or (classes is None and self.n_outputs_ > 1):
            return None
        name = called if isinstance(called, str) and called else "target"
        while name in table:
            name += "_"
        return Target(name, known)

    def _encoded(self, y: Any) -> np.ndarray:
        """Targets for the network of rows beside those that are trained on."""
        raise NotImplementedError

    def _weighted(self, y: Any, weight: np.ndarray | None) -> np.ndarray | None:
        """The weights of samples, with those that an estimator has for them."""
        return weight

    def _scales(self, part: Part) -> tuple[Any, Any]:
        """A center and a scale of targets, ``None`` for classes."""
        return None, None

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _meaning(self, model: Model, x: Array) -> Array:
        raise NotImplementedError
