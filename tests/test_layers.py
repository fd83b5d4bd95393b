"""The layers: their values, and their derivatives where there is a formula."""

import copy
import pickle

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, rounding

POINTS = np.array([[-700.0, -3.0, -0.5, -0.0], [0.0, 0.25, 2.0, 700.0]])

ACTIVATIONS = {
    xn.Identity(): (lambda x: x, lambda x: np.ones_like(x)),
    xn.LeakyReLU(): (lambda x: np.where(x >= 0, x, 0.01 * x), lambda x: np.where(x >= 0, 1, 0.01)),
    xn.LeakyReLU(0.3): (lambda x: np.where(x >= 0, x, 0.3 * x), lambda x: np.where(x >= 0, 1, 0.3)),
    xn.LeakyReLU(0): (lambda x: np.maximum(x, 0), lambda x: np.where(x >= 0, 1.0, 0.0)),
    xn.LeakyReLU(1): (lambda x: x, lambda x: np.ones_like(x)),
    xn.ReLU(): (lambda x: np.maximum(x, 0), lambda x: np.where(x >= 0, 1.0, 0.0)),
    xn.Sigmoid(): (
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: 1 / (1 + np.exp(-x)) / (1 + np.exp(x)),
    ),
    xn.Tanh(): (np.tanh, lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_an_activation_and_its_derivative_are_the_formulas_of_its_docstring(backend, layer, dtype):
    points = POINTS if dtype == "float64" else np.clip(POINTS, -80, 80)
    x = arr(backend, points, dtype)
    dy = arr(backend, np.full_like(points, 3.0), dtype)
    with backend.context():
        y, backprop = layer.forward(backend.xp, (), x)
        dx, grads = backprop(dy)
    value, slope = (f(points) for f in ACTIVATIONS[layer])
    assert grads == ()
    # A value is a few correctly rounded operations and an exp or tanh of a few ulp; a slope such as
    # f (1 − f) is as good absolutely, and is not where f is near 1.
    assert_close(backend, y, value, rtol=8 * rounding(1, 1, dtype), atol=0, dtype=dtype)
    assert_close(backend, dx, 3 * slope, atol=rounding(24, 1, dtype), dtype=dtype)


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_the_short_way_of_inference_gives_the_same_bits(backend, layer):
    x = arr(backend, POINTS)
    with backend.context():
        y, _ = layer.forward(backend.xp, (), x)
        assert_equal(backend, layer.apply(backend.xp, (), x), backend.to_host(y))


@pytest.mark.parametrize("layer", [xn.ReLU(), xn.LeakyReLU()], ids=repr)
def test_the_derivative_at_zero_takes_the_positive_side(backend, layer):
    x = arr(backend, [[0.0, -0.0]])
    with backend.context():
        dx, _ = layer.forward(backend.xp, (), x)[1](arr(backend, [[1.0, 1.0]]))
    assert_equal(backend, dx, [[1.0, 1.0]])


@pytest.mark.parametrize("layer", [*ACTIVATIONS, xn.Linear(4, 3)], ids=repr)
def test_dx_is_not_computed_where_nobody_needs_it(backend, layer):
    x = arr(backend, POINTS)
    params = tuple(arr(backend, np.ones(shape)) for shape in layer.parameters().values())
    with backend.context():
        y, backprop = layer.forward(backend.xp, params, x)
        dx, grads = backprop(y, need_dx=False)
    assert dx is None
    assert len(grads) == len(params)


def test_linear_is_x_times_w_transposed_plus_b(backend):
    # By hand: y = x Wᵀ + b, x = [[1, 2], [3, 4]], W = [[1, 0], [0, 1], [1, −1]], b = [[0, 1, 2]].
    params = (
        arr(backend, [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]),
        arr(backend, [[0.0, 1.0, 2.0]]),
    )
    x = arr(backend, [[1.0, 2.0], [3.0, 4.0]])
    layer = xn.Linear(2, 3)
    with backend.context():
        y, backprop = layer.forward(backend.xp, params, x)
        # dy = [[1, 0, 2], [0, 1, 1]]: dx = dy W, dW = dyᵀ x, db = Σ dy.
        dx, (dW, db) = backprop(arr(backend, [[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]))
    assert_equal(backend, y, [[1.0, 3.0, 1.0], [3.0, 5.0, 1.0]])
    assert_equal(backend, dx, [[3.0, -2.0], [1.0, 0.0]])
    assert_equal(backend, dW, [[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]])
    assert_equal(backend, db, [[1.0, 1.0, 3.0]])


def test_the_backprop_of_a_layer_may_be_called_twice(backend):
    net = xn.Sequential(xn.Linear(4, 3), xn.Tanh(), xn.Linear(3, 2), xn.LeakyReLU(), xn.Sigmoid())
    x = arr(backend, POINTS / 100)
    theta = net.init(0, like=x)
    with backend.context():
        params = tuple(net.unflatten(theta).values())
        y, backprop = net.forward(backend.xp, params, x)
        first = backprop(y)
        again = backprop(y)
    assert_equal(backend, again[0], backend.to_host(first[0]))
    for a, b in zip(again[1], first[1], strict=True):
        assert_equal(backend, a, backend.to_host(b))


def test_a_linear_layer_prints_as_in_the_report():
    assert repr(xn.Linear(2, 4)) == "<Linear W: (4, 2) b: (1, 4)>"
    assert repr(xn.Linear(np.int64(2), np.int64(4))) == "<Linear W: (4, 2) b: (1, 4)>"


@pytest.mark.parametrize("layer", [*ACTIVATIONS, xn.Linear(2, 3, xn.XavierNormal())], ids=repr)
def test_layers_compare_by_value_and_survive_pickle_and_deepcopy(layer):
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert twin == layer
        assert hash(twin) == hash(layer)
    assert xn.LeakyReLU(0.1) != xn.LeakyReLU(0.2)
    assert xn.Linear(2, 3) != xn.Linear(2, 3, xn.Zeros())


def test_numbers_of_numpy_are_taken_for_plain_ones(backend):
    # NumPy's scalars are strong in promotion, and strict refuses them.
    x = arr(backend, POINTS / 10, "float32")
    layer = xn.LeakyReLU(np.float64(0.25))
    with backend.context():
        y, backprop = layer.forward(backend.xp, (), x)
        dx, _ = backprop(x)
    assert_equal(backend, y, np.where(POINTS >= 0, POINTS / 10, POINTS / 40).astype("float32"),
                 dtype="float32")  # fmt: skip
    assert backend.dtype_name(dx) == "float32"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_leaky_relu_leaves_what_is_positive_as_it_is_for_every_slope(backend, dtype):
    x = arr(backend, [[1.0, 3.0, -1.0]], dtype)
    for slope in np.linspace(0, 1, 41):
        layer = xn.LeakyReLU(slope)
        with backend.context():
            y, backprop = layer.forward(backend.xp, (), x)
            dx, _ = backprop(arr(backend, [[1.0, 1.0, 1.0]], dtype))
        leak = np.asarray(slope, dtype)
        assert_equal(backend, y, np.asarray([[1, 3, -leak]], dtype), dtype=dtype)
        assert_equal(backend, dx, np.asarray([[1, 1, leak]], dtype), dtype=dtype)
