"""Optuna's pruners end trials at the checks of `fit`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library

X, Y = xn.datasets.xor()
NET = xn.Sequential(xn.Linear(2, 4), xn.Tanh(), xn.Linear(4, 1))


@pytest.fixture
def optuna() -> Any:
    found = library("optuna")
    found.logging.set_verbosity(found.logging.WARNING)
    return found


def trained(trial: Any, monitor: str | None = None, **more: Any) -> xn.Model:
    options = {"validation": (X, Y), "check_every": 2, "loss": xn.BCEWithLogits(), **more}
    pruning = xn.callbacks.Pruning(trial, monitor)
    return xn.fit(
        NET, X, Y, optimizer=xn.SGD(0.1), epochs=6, seed=0, callbacks=[pruning], **options
    )


@pytest.mark.parametrize("members", [None, 3])
def test_each_check_is_reported_and_a_trial_ends_where_the_pruner_says(
    optuna: Any, members: int | None
) -> None:
    values = []

    class AtFour(optuna.pruners.BasePruner):
        def prune(self, study: Any, trial: Any) -> bool:
            return trial.number > 0 and trial.last_step >= 4

    def objective(trial: Any) -> float:
        model = trained(trial, members=members)
        values.append(model.history.val_loss.reshape(3, -1).mean(axis=1))
        return float(values[-1][-1])

    study = optuna.create_study(pruner=AtFour())
    study.optimize(objective, n_trials=2)
    whole, pruned = study.trials
    assert whole.state.name == "COMPLETE" and pruned.state.name == "PRUNED"
    assert list(whole.intermediate_values) == [2, 4, 6]
    assert list(pruned.intermediate_values) == [2, 4]
    np.testing.assert_array_equal(list(whole.intermediate_values.values()), values[0])


def test_what_a_study_cannot_go_by_is_refused_before_the_first_epoch(optuna: Any) -> None:
    trial = optuna.create_study().ask()
    for change, said in (
        ({"monitor": "val_auc"}, "monitor must be one of loss, accuracy, val_loss, val_accuracy"),
        ({"monitor": "val_loss", "validation": None}, "monitor must be one of loss, accuracy, not"),
        ({"validation": None}, "monitor must be given where fit has no validation"),
        ({"monitor": "accuracy"}, "direction is 'maximize', for accuracy, not 'minimize'"),
        ({"monitor": "accuracy", "loss": xn.MSE()}, "monitor must be one of loss, val_loss, not"),
    ):
        with pytest.raises(ValueError, match=said):
            trained(trial, **change)
    with pytest.raises(TypeError, match="trial must be a trial of Optuna, not 3"):
        xn.callbacks.Pruning(3)
    assert not trial.study.trials[0].intermediate_values
    trained(trial, "loss", validation=None)
    assert list(trial.study.trials[0].intermediate_values) == [2, 4, 6]
    up = optuna.create_study(direction="maximize").ask()
    trained(up, metrics=["auc"], monitor="val_auc")
    assert list(up.study.trials[0].intermediate_values) == [2, 4, 6]


def test_an_estimator_reports_the_score_of_those_held_out(optuna: Any) -> None:
    """Each epoch, where samples are held out; else there is no such number."""
    estimators = pytest.importorskip("xpnet.estimators")
    x = np.random.default_rng(0).normal(size=(60, 3))
    study = optuna.create_study(direction="maximize")

    def objective(trial: Any, stopping: bool, monitor: str | None) -> float:
        pruning = xn.callbacks.Pruning(trial, monitor)
        made = estimators.MLPClassifier(
            (4,), max_iter=3, early_stopping=stopping, random_state=0, callbacks=[pruning]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of three epochs
            found: float = made.fit(x, x[:, 0] > 0).validation_scores_[-1]
        return found

    for monitor in ("val_score", None):
        study.optimize(lambda trial, m=monitor: objective(trial, True, m), n_trials=1)
        assert sorted(study.trials[-1].intermediate_values) == [1, 2, 3]
    with pytest.raises(ValueError, match="monitor must be"):
        study.optimize(lambda trial: objective(trial, False, "val_score"), n_trials=1)
