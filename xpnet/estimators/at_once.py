"""Training on all samples at once, by SciPy's L-BFGS-B."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpnet.estimators.samples import Samples, is_sparse
from xpnet.training.minimize import minimize


def descend_at_once(estimator: Any, samples: Samples) -> None:
    """Train an estimator by a minimiser until its gradient is small; members one after the other.

    Sparse rows are made dense, all of them.
    """
    backend, network = samples.backend, estimator._network
    theta = estimator._weights.vector(network, estimator._like(samples))
    x = samples.x
    if is_sparse(x):
        x = backend.asarray(x.toarray(), backend.dtype_name(theta))
    weight, total = None, float(len(samples))
    if samples.weight is not None:
        weight = samples.weight[:, 0]
        total = float(backend.to_host(backend.xp.sum(weight)))

    def told(iteration: int, value: float) -> None:
        print(f"Iteration {iteration}, loss = {value:.8f}")

    found = minimize(
        network,
        theta,
        x,
        samples.target,
        estimator._of_all(estimator._descended(estimator._loss_of())),
        sample_weight=weight,
        l2=float(estimator.alpha) / total,
        layer_state=estimator._layer_state,
        max_iter=estimator.max_iter,
        tol=float(estimator.tol),
        options={"maxfun": estimator.max_fun},
        callback=told if estimator.verbose else None,
    )
    model = found.model
    estimator.n_iter_ = int(np.max(found.iterations))
    estimator.loss_ = float(np.mean(found.value))
    layers = model.layer_state or {}
    estimator._keep({"theta": model.theta, **{f"layers.{k}": a for k, a in layers.items()}})
    if not np.all(found.converged):
        said = found.message if isinstance(found.message, str) else found.message[0]
        warnings.warn(
            f"lbfgs failed to converge after {estimator.n_iter_} iteration(s): {said}. You might "
            "want to increase the number of iterations (max_iter) or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
