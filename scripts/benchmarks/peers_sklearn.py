"""scikit-learn's `MLPClassifier.fit`."""

from __future__ import annotations

import warnings

import numpy as np

from benchmarks.problems import Contestant, Factory, Problem, Run, Unavailable, require


def fit(problem: Problem) -> Contestant:
    """One call of `fit`, never stopping early.

    It knows no leaky ReLU, no eps in the loss and no accuracy while it trains, so it trains the
    nearest that it knows, which is a little less work. Its losses come from its ``loss_curve_``.
    Shuffling is off, as it would copy the whole batch every step, and a warm start brings in our
    initial weights; both are outside what `fit` would have to do, and in its favour.
    """
    if problem.members is not None:
        raise Unavailable("scikit-learn trains one network")
    require("sklearn")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    problem = problem.nearest()
    x, y = problem.x(), problem.y().ravel().astype(int)
    weights = problem.weights()
    model = MLPClassifier(
        hidden_layer_sizes=problem.sizes[1:-1],
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size=problem.batch or problem.samples,
        learning_rate_init=problem.lr,
        beta_1=problem.betas[0],
        beta_2=problem.betas[1],
        epsilon=problem.eps,
        max_iter=1,
        shuffle=False,
        tol=0.0,
        n_iter_no_change=10**9,
        warm_start=True,
        random_state=problem.seed,
    )
    model.fit(x, y)

    def start() -> Run:
        model.coefs_ = [W.T.copy() for W, _ in weights]
        model.intercepts_ = [b.copy() for _, b in weights]
        model.loss_curve_ = []

        def run(steps: int) -> np.ndarray:
            model.set_params(max_iter=steps // max(1, len(problem.rows())))
            model.fit(x, y)
            return np.array(model.loss_curve_)

        return run

    return Contestant(problem, start)


PEERS: dict[str, Factory] = {"scikit-learn, MLPClassifier.fit": fit}
