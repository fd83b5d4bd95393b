"""The two data sets of the report."""

import numpy as np
import pytest

import xpnet as xn


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


def test_the_names_of_the_data_sets_are_those_of_the_command_line():
    assert list(xn.datasets.DATASETS) == ["linear", "xor"]
