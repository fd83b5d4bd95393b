"""scikit-learn's own tests of its perceptrons, and its checks of estimators, with ours in place."""

import os
import subprocess
import sys
import types

import pytest

pytest.importorskip("sklearn", reason="sklearn is not installed")
from sklearn.neural_network.tests import test_mlp

from xpnet import estimators

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs are for them to expect

OURS = {name: getattr(estimators, name) for name in ("MLPClassifier", "MLPRegressor")}

LEFT_OUT = {
    "test_gradient": "it calls a method of a private name, for the gradient alone",
}
"""Of the tests of scikit-learn's module, by what they ask that is nobody's promise."""

SLOW = {
    *("test_lbfgs_regression", "test_warm_start", "test_n_iter_no_change_inf", "test_alpha"),
    *("test_multilabel_classification", "test_partial_fit_classification"),
    *("test_multioutput_regression", "test_partial_fit_regression", "test_n_iter_no_change"),
    *("test_mlp_loading_from_joblib_partial_fit", "test_mlp_vs_poisson_glm_equivalent"),
    *("test_lbfgs_classification", "test_lbfgs_classification_maxfun"),
}


@pytest.fixture
def global_random_seed():
    """What scikit-learn's tests are seeded by."""
    return 42


def ours(value):
    """What stands for a class of scikit-learn's."""
    return OURS.get(getattr(value, "__name__", ""), value)


def marked(mark):
    """A mark with our classes among what it runs a test on."""
    if mark.name == "parametrize":
        names, values = mark.args
        rows = [tuple(map(ours, v)) if isinstance(v, tuple) else ours(v) for v in values]
        return pytest.mark.parametrize(names, rows).mark
    return mark


def with_ours(test):
    """A test of scikit-learn's in whose names our classes stand for its own."""
    other = types.FunctionType(
        test.__code__, {**vars(test_mlp), **OURS}, test.__name__, test.__defaults__
    )
    other.pytestmark = [marked(mark) for mark in getattr(test, "pytestmark", [])]
    if test.__name__ in SLOW:
        other.pytestmark.append(pytest.mark.slow.mark)
    return other


TESTS = {n: with_ours(t) for n, t in vars(test_mlp).items() if n.startswith("test_")}
globals().update({name: test for name, test in TESTS.items() if name not in LEFT_OUT})


def test_what_is_left_out_is_there_to_be_left_out():
    assert LEFT_OUT.keys() | SLOW <= TESTS.keys()


CHECKS = """
from sklearn.utils.estimator_checks import check_estimator
from xpnet import estimators
for name in ("MLPClassifier", "MLPRegressor"):
    found = check_estimator(getattr(estimators, name)(max_iter=100), on_skip=None, on_fail=None)
    for one in found:
        where = one["check_name"], str(getattr(one["estimator"], "keywords", ""))
        if one["status"] == "failed":
            print(name, *where, repr(one["exception"]))
        elif one["status"] == "skipped":
            print("left out:", one["exception"])
"""

LACKS = ("is not installed", "requires cuda", "XPU device", "MPS_FALLBACK", "decision_function")
"""Of what a check may be left out: libraries and devices, and a method that none of them has."""


@pytest.mark.slow
@pytest.mark.program
def test_check_estimator_passes_with_arrays_of_other_libraries_too():
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", CHECKS], env=env, capture_output=True, text=True, timeout=600
    )
    assert not done.returncode, done.stderr
    lines = done.stdout.splitlines()
    assert [one for one in lines if not one.startswith("left out:")] == []
    assert all(any(lack in one for lack in LACKS) for one in lines)


SEARCH = """
import warnings
warnings.simplefilter("ignore")
import numpy as np
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xpnet.estimators import MLPClassifier

x, y = load_iris(return_X_y=True)
mlp = MLPClassifier(5, max_iter=60, learning_rate_init=0.02, random_state=0)
search = GridSearchCV(make_pipeline(StandardScaler(), mlp), {"mlpclassifier__alpha": [0.1, 1]},
                      n_jobs=2, cv=2).fit(x, y)
assert search.best_score_ > 0.8, search.best_score_
assert "MLPClassifier" in search._repr_html_()
calibrated = CalibratedClassifierCV(mlp, cv=2).fit(x, y)
assert calibrated.score(x, y) > 0.8
with config_context(enable_metadata_routing=True):
    mlp.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    routed = GridSearchCV(mlp, {"alpha": [0.1, 1]}, cv=2)
    routed.fit(x, y, sample_weight=np.ones(len(x)))
print("done")
"""


@pytest.mark.slow
@pytest.mark.program
def test_pipelines_searches_calibration_and_routing_take_it():
    done = subprocess.run(
        [sys.executable, "-c", SEARCH], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split() == ["done"], done.stderr
