"""What `fit` and `predict` are given, as arrays of one library: NumPy's and all others' alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from xpnet import backends, checks
from xpnet.backends import Backend
from xpnet.types import Array

FLOATS = ("float64", "float32")


def library_of(X: Any) -> str:
    """The library whose arrays are answered with arrays of it; empty for all that is the host's."""
    found = backends.name_of(X)
    return "" if found == "numpy" else found


def is_sparse(X: Any) -> bool:
    """Whether this is of ``scipy.sparse``, of which batches are made dense one by one."""
    return hasattr(X, "toarray") and hasattr(X, "indptr")


@dataclass
class Samples:
    """Samples as they are trained on.

    Attributes:
        backend: where.
        x: ``(samples, features)``, or rows of ``scipy.sparse`` on the host.
        target: ``(samples, outputs)``.
        weight: ``(samples, 1)``, or ``None``.
    """

    backend: Backend
    x: Any
    target: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def rows(self, which: np.ndarray) -> Samples:
        """Some of them."""
        take, index = self.backend.xp.take, self.backend.asarray(which, "int64")
        sparse = is_sparse(self.x)
        return Samples(
            self.backend,
            self.x[which] if sparse else take(self.x, index, axis=0),
            take(self.target, index, axis=0),
            None if self.weight is None else take(self.weight, index, axis=0),
        )

    def dense(self, which: np.ndarray, dtype: str) -> tuple[Array, Array, Array | None]:
        """Some of them as a step wants them, where ``x`` is sparse."""
        some = self.rows(which)
        return self.backend.asarray(some.x.toarray(), dtype), some.target, some.weight


def place(estimator: Any, X: Any) -> Backend:
    """Where an estimator trains on ``X``: where it lies, or, from the host, on its ``device``."""
    name, _, device = str(estimator.device or "numpy").partition(":")
    if not library_of(X):
        if name not in backends.NAMES:
            raise ValueError(
                f"device must be a library, as {', '.join(backends.NAMES)}, or one and its device, "
                f"as 'torch:cuda', not {checks.shown(estimator.device)}."
            )
        return backends.get(name, device or None)
    if estimator.device is not None:
        raise ValueError(
            f"device must be None where X is an array of {library_of(X)}, which lies where it is "
            f"trained on, not {checks.shown(estimator.device)}."
        )
    return backends.of(X, names=("X",))


def samples_in(estimator: Any, X: Any, backend: Backend, *, reset: bool) -> Any:
    """``X`` checked, and brought to where it is computed with; sparse rows stay as they are.

    Raises:
        TypeError, ValueError: as scikit-learn does, if it is nothing to compute with.
    """
    if library_of(X):
        return _array(estimator, X, backend, reset)
    return brought(validate_data(estimator, X, **_how(estimator, reset), reset=reset), backend)


def floats_of(estimator: Any, reset: bool) -> tuple[str, ...]:
    """The floats that samples may have: those of the weights, where these are gone on from."""
    weights = vars(estimator).get("_weights")
    if not reset and weights is not None and weights.dtype:
        return (weights.dtype,)
    return FLOATS if estimator.dtype is None else (np.dtype(estimator.dtype).name,)


def _how(estimator: Any, reset: bool) -> dict[str, Any]:
    kinds = [np.dtype(kind) for kind in floats_of(estimator, reset)]
    return {"accept_sparse": ["csr", "csc"], "dtype": kinds}


def pair_in(estimator: Any, X: Any, y: Any, backend: Backend, reset: bool, **how: Any) -> Any:
    """``X`` as `samples_in` has it, and ``y`` on the host."""
    if library_of(X):
        X = _array(estimator, X, backend, reset)
        y = check_array(on_host(y), ensure_2d=False, dtype=None, input_name="y")
        if y.shape[:1] != tuple(X.shape[:1]):
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[int(X.shape[0]), *y.shape[:1]]}"
            )
    else:
        y = on_host(y) if library_of(y) else y
        how = {**_how(estimator, reset), "multi_output": True, **how}
        X, y = validate_data(estimator, X, y, **how, reset=reset)
        X = brought(X, backend)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return X, y


def plain_in(estimator: Any, X: Any, y: Any) -> bool:
    """Whether these are arrays as scikit-learn would leave them, of the features of before.

    To ask itself takes longer than a step.
    """
    if type(X) is not np.ndarray or type(y) is not np.ndarray or estimator.device is not None:
        return False
    fits = X.ndim == 2 and y.ndim == 1 and 0 < len(X) == len(y) and X.flags.c_contiguous
    named = "feature_names_in_" in vars(estimator)
    if not fits or named or X.shape[1] != vars(estimator).get("n_features_in_"):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return X.dtype.name in floats_of(estimator, False) and bool(np.isfinite(X.sum()))


def brought(X: Any, backend: Backend) -> Any:
    """What scikit-learn has checked, where it is computed with."""
    if is_sparse(X):
        return X.tocsr()
    if backend.name == "numpy":
        return np.ascontiguousarray(X)
    return backend.asarray(X, known_to(backend, X.dtype.name))


def dtype_of(X: Any, backend: Backend) -> str:
    """The name of the floats in which samples are computed with, also of sparse ones."""
    return known_to(backend, X.dtype.name) if is_sparse(X) else backend.dtype_name(X)


def known_to(backend: Backend, dtype: str) -> str:
    """These floats, or those that a library has where it has not these, as JAX has 32 bits."""
    floats = backend.xp.__array_namespace_info__().dtypes(kind="real floating")
    return dtype if dtype in floats else next(iter(floats))


def _array(estimator: Any, X: Array, backend: Backend, reset: bool) -> Array:
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(
            f"Expected 2D array X of (samples, features), at least one of each, got an array of "
            f"the shape {tuple(X.shape)} instead."
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    xp = backend.xp
    if not xp.isdtype(X.dtype, ("bool", "integral", "real floating")):
        raise ValueError(f"X must hold real numbers, not {X.dtype}.")
    known, allowed = backend.dtype_name(X), floats_of(estimator, reset)
    wanted = known if known in allowed else known_to(backend, allowed[0])
    X = backend.copy(X) if known == wanted else xp.astype(X, backend.dtype(wanted))
    with backend.context():
        backend.check_finite("X", X)
    return X


def weights_in(weight: Any, samples: int, dtype: str) -> np.ndarray:
    """``sample_weight`` on the host, one a sample."""
    weight = on_host(weight) if library_of(weight) else weight
    found: np.ndarray = _check_sample_weight(weight, np.empty((samples, 1), dtype))
    return found


def require_same_place(estimator: Any, X: Any, backend: Backend, method: str) -> None:
    """Raise unless ``X`` lies where an estimator was fitted, or is the host's, to be taken there.

    Raises:
        ValueError: if it does not; with scikit-learn's dispatch, which promises that arrays stay
            where they are, also for arrays of the host.
    """
    library, trained = library_of(X), vars(estimator).get("_library", "")
    if not library and (not trained or not get_config()["array_api_dispatch"]):
        return
    if library == backend.name and backends.of(X).device == backend.device:
        return
    there = f"{backend.name} on {backend.device}"
    raise ValueError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and "
        f"the same device as those passed to fit(), {there}, not {checks.shown(X)}."
    )


def on_host(array: Any) -> Any:
    """An array of any library on the host; anything else as it is."""
    return backends.of(array).to_host(array) if library_of(array) else array
