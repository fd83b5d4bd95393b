"""The layers: their values, and their derivatives where there is a formula."""

import copy
import pickle

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, LAYERS, arr, assert_close, assert_equal, host, library, rounding

POINTS = np.array([[-700.0, -3.0, -0.5, -0.0], [0.0, 0.25, 2.0, 700.0]])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elu(scale, alpha):
    return (
        lambda x: np.where(x > 0, scale * x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, scale, alpha * np.exp(np.minimum(x, 0))),
    )


def gelu_gate(x):
    return sigmoid(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3))


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
    xn.HardTanh(): (lambda x: np.clip(x, -1, 1), lambda x: np.where(np.abs(x) < 1, 1.0, 0.0)),
    xn.HardTanh(-0.5, 2): (
        lambda x: np.clip(x, -0.5, 2),
        lambda x: np.where((x > -0.5) & (x < 2), 1.0, 0.0),
    ),
    xn.Softplus(): (lambda x: np.logaddexp(x, 0), sigmoid),
    xn.Softplus(3): (lambda x: np.logaddexp(3 * x, 0) / 3, lambda x: sigmoid(3 * x)),
    xn.ELU(): elu(1, 1),
    xn.ELU(0.3): elu(1, 0.3),
    xn.SELU(): elu(1.0507009873554805, 1.0507009873554805 * 1.6732632423543772),
    xn.SiLU(): (
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    ),
    xn.GELU(): (
        lambda x: x * gelu_gate(x),
        lambda x: (
            gelu_gate(x) * (1 + x * gelu_gate(-x) * np.sqrt(8 / np.pi) * (1 + 0.134145 * x**2))
        ),
    ),
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
    with np.errstate(all="ignore"):
        value, slope = (f(points) for f in ACTIVATIONS[layer])
    assert grads == ()
    # A value is a few correctly rounded operations and an exp or tanh of a few ulp (GELU at -3 has
    # the exp of 6.7, with 4 roundings of its own size: 27 ulp more); a slope such as f (1 − f)
    # is as good absolutely, and is not where f is near 1.
    ulps = 35 if isinstance(layer, xn.GELU) else 8
    tiny = np.finfo(dtype).tiny
    assert_close(backend, y, value, rtol=ulps * EPS[dtype], atol=tiny, dtype=dtype)
    assert_close(backend, dx, 3 * slope, atol=rounding(24, 2, dtype), dtype=dtype)


TORCH = {
    "ELU": lambda torch, x: torch.nn.functional.elu(x, 0.7),
    "GELU": lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
    "HardTanh": lambda torch, x: torch.nn.functional.hardtanh(x, -0.5, 0.75),
    "LayerNorm": lambda torch, x, w, b: torch.nn.functional.layer_norm(x, (4,), w[0], b[0], 1e-5),
    "RMSNorm": lambda torch, x, w: torch.nn.functional.rms_norm(x, (4,), w[0], 1e-5),
    "SELU": lambda torch, x: torch.nn.functional.selu(x),
    "SiLU": lambda torch, x: torch.nn.functional.silu(x),
    "Softmax": lambda torch, x: torch.nn.functional.softmax(x, -1),
    "LogSoftmax": lambda torch, x: torch.nn.functional.log_softmax(x, -1),
    "Softplus": lambda torch, x: torch.nn.functional.softplus(x, 2.0, threshold=1e9),
}
"""What PyTorch calls the layers of `LAYERS`."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TORCH)
def test_a_layer_is_that_of_pytorch_in_value_and_gradient(backend, name, dtype):
    torch = library("torch")
    layer, rng = LAYERS[name], np.random.default_rng(3)
    host = [rng.normal(size=(6, 4)) * 3, *(rng.normal(size=s) for s in layer.parameters().values())]
    host = [values.astype(dtype) for values in host]
    dy = rng.normal(size=(6, 4)).astype(dtype)
    x, *params = (arr(backend, values, dtype) for values in host)
    with backend.context():
        y, backprop = layer.forward(backend.xp, tuple(params), x)
        dx, grads = backprop(arr(backend, dy, dtype))
    # In float64, so that for float32 it is the truth.
    theirs = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in host]
    value = TORCH[name](torch, *theirs)
    expected = torch.autograd.grad(value, theirs, torch.tensor(dy, dtype=torch.float64))
    # Sums of up to 6 terms of some ten roundings each; to the largest element, as terms cancel.
    for ours, true in zip((y, dx, *grads), (value.detach(), *expected), strict=True):
        atol = rounding(60, [np.maximum(1, abs(true.numpy()))], dtype)
        assert_close(backend, ours, true.numpy(), atol=atol, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_inputs_of_any_size_give_numbers(backend, name, dtype):
    layer = LAYERS[name]
    x = arr(backend, [[1e4, -1e4, 3e3, -200.0], [1e4] * 4, [-1e4] * 4, [0.0] * 4], dtype)
    params = tuple(arr(backend, np.ones(shape), dtype) for shape in layer.parameters().values())
    with backend.context():
        y, backprop = layer.forward(backend.xp, params, x)
        dx, grads = backprop(backend.xp.ones_like(y))
    for array in (y, dx, *grads):
        assert np.isfinite(backend.to_host(array)).all()


def test_softmax_keeps_its_digits_for_logits_of_any_size(backend):
    x = arr(backend, [[1e4, 1e4, -1e4, -np.inf], [-1e308, 1e308, 0.0, 0.0]])
    with backend.context():
        y, _ = xn.Softmax().forward(backend.xp, (), x)
    assert_equal(backend, y, [[0.5, 0.5, 0, 0], [0, 1, 0, 0]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: xn.GELU("none"), "approximate must be 'tanh', not 'none'"),
        (lambda: xn.HardTanh(1, 1), "max_val must be a finite number above 1.0, not 1"),
        (lambda: xn.Softplus(0), "beta must be a finite number above 0, not 0"),
        (lambda: xn.ELU(-1), "alpha must be a finite number of at least 0, not -1"),
        (lambda: xn.LayerNorm(0), "features must be a whole number of at least 1, not 0"),
        (lambda: xn.RMSNorm(4, eps=-1e-5), "eps must be a finite number of at least 0"),
    ],
)
def test_a_wrong_argument_is_told_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_a_norm_begins_with_a_weight_of_ones_and_fits_its_features(name):
    net = xn.Sequential(LAYERS[name], xn.Linear(4, 2))
    named = net.unflatten(net.init(0, like=np.zeros(1)))
    assert (named["0.weight"] == 1).all()
    assert name == "RMSNorm" or (named["0.bias"] == 0).all()
    with pytest.raises(ValueError, match="wants 4 features, but the layers before it give 3"):
        xn.Sequential(xn.Linear(2, 3), LAYERS[name])


@pytest.mark.parametrize("layer", [*ACTIVATIONS, *LAYERS.values()], ids=repr)
def test_the_short_way_of_inference_gives_the_same_bits(backend, layer):
    x = arr(backend, POINTS)
    params = tuple(arr(backend, np.ones(shape)) for shape in layer.parameters().values())
    with backend.context():
        y, _ = layer.forward(backend.xp, params, x)
        assert_equal(backend, layer.apply(backend.xp, params, x), backend.to_host(y))


@pytest.mark.parametrize("layer", [xn.ReLU(), xn.LeakyReLU()], ids=repr)
def test_the_derivative_at_zero_takes_the_positive_side(backend, layer):
    x = arr(backend, [[0.0, -0.0]])
    with backend.context():
        dx, _ = layer.forward(backend.xp, (), x)[1](arr(backend, [[1.0, 1.0]]))
    assert_equal(backend, dx, [[1.0, 1.0]])


@pytest.mark.parametrize("layer", LAYERS.values(), ids=repr)
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


@pytest.mark.parametrize("layer", [*ACTIVATIONS, *LAYERS.values()], ids=repr)
def test_layers_compare_by_value_and_survive_pickle_and_deepcopy(layer):
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert twin == layer
        assert hash(twin) == hash(layer)
    assert xn.LeakyReLU(0.1) != xn.LeakyReLU(0.2)
    assert xn.Linear(2, 3) != xn.Linear(2, 3, xn.Zeros())
    assert xn.ELU(0.1) != xn.ELU(0.2)
    assert xn.LayerNorm(4) != xn.RMSNorm(4)


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


# ---- layers with layers within, or that come first


def test_a_prelu_gives_its_weights_the_slopes_below_zero(backend):
    # By hand: y = x or w x; dw = Σ dy min(x, 0), of the features apart or together.
    x, dy = arr(backend, [[1.0, -2.0], [-3.0, -4.0]]), arr(backend, [[1.0, 2.0], [3.0, 4.0]])
    for layer, weight, y, dx, dw in (
        (xn.PReLU(2), [[0.5, 2.0]], [[1, -4], [-1.5, -8]], [[1, 4], [1.5, 8]], [[-9, -20]]),
        (xn.PReLU(), [[0.5]], [[1, -1], [-1.5, -2]], [[1, 1], [1.5, 2]], [[-29]]),
    ):
        with backend.context():
            value, backprop = layer.forward(backend.xp, (arr(backend, weight),), x)
            found, (grad,) = backprop(dy)
        assert_equal(backend, value, np.array(y, "float64"))
        assert_equal(backend, found, np.array(dx, "float64"))
        assert_equal(backend, grad, np.array(dw, "float64"))
    theta = xn.Sequential(xn.PReLU(2, init=0.1)).init(0, like=x, members=2)
    assert_equal(backend, theta, [[0.1, 0.1], [0.1, 0.1]])


def test_a_residual_adds_what_its_layers_get(backend):
    inner = xn.Sequential(xn.Linear(4, 3), xn.Tanh(), xn.Linear(3, 4))
    plain, around = xn.Sequential(inner), xn.Sequential(xn.Residual(*inner))
    x = arr(backend, POINTS / 100)
    theta = plain.init(0, like=x, members=2)
    assert around.parameters().keys() == plain.parameters().keys()
    y = backend.to_host(plain(theta, x)) + POINTS / 100
    assert_close(backend, around(theta, x), y, atol=rounding(1, y))
    model = xn.Model(around, theta)
    assert tuple(model[0][2].W.shape) == (2, 4, 3)
    assert repr(around[0]).startswith("Residual(<Linear W: (3, 4)")
    assert around != plain
    assert around[0] != inner
    assert xn.Residual(xn.Sigmoid()).is_samplewise
    assert not xn.Residual(xn.Sigmoid()).gives_probabilities


def test_layers_within_a_residual_must_fit():
    with pytest.raises(ValueError, match="give as many features as it wants, for their sum: 4, no"):
        xn.Residual(xn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"Embedding\(.* must be before Residual, not within it"):
        xn.Residual(xn.Embedding(3, 1, in_features=2))
    with pytest.raises(ValueError, match="wants 3 features, but the layers before it give 4"):
        xn.Sequential(xn.Residual(xn.Linear(4, 4)), xn.Linear(3, 1))


class Wrong(xn.Layer):
    """A layer of somebody's own whose ``apply`` is another function than its ``forward``."""

    def forward(self, xp, params, x):
        return x * 2, lambda dy, need_dx=True: (dy * 2, ())

    def apply(self, xp, params, x):
        return x * 3


def test_a_layer_of_ones_own_is_looked_at_within_a_residual_too():
    x, y = np.ones((4, 2)), np.ones((4, 1))
    net = xn.Sequential(xn.Linear(2, 2), xn.Residual(Wrong()), xn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"layer 1, Residual\(.*apply must return what forward"):
        xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=1, seed=0)


@pytest.mark.parametrize("members", [None, 3])
def test_samples_of_several_axes_are_taken_where_a_network_begins_with_flatten(backend, members):
    rng = np.random.default_rng(0)
    net = xn.Sequential(xn.Flatten(2, 3), xn.Linear(6, 2))
    for lead in [(5,)] + [(3, 5)] * (members is not None):
        pictures = rng.normal(size=(*lead, 2, 3))
        x, flat = arr(backend, pictures), arr(backend, pictures.reshape(*lead, 6))
        y = arr(backend, rng.normal(size=(5, 2)))
        theta = net.init(0, like=x, members=members)
        assert_equal(backend, net(theta, x), backend.to_host(net(theta, flat)))
        ours = net.value_and_grad(theta, x, y, xn.MSE(), input_grad=True)
        theirs = net.value_and_grad(theta, flat, y, xn.MSE(), input_grad=True)
        for a, b in zip(ours[:2], theirs[:2], strict=True):
            assert_equal(backend, a, backend.to_host(b))
        shape = (*(() if members is None else (3,)), 5, 2, 3)
        assert_equal(backend, ours[2], backend.to_host(theirs[2]).reshape(shape))
        with_pictures, without = (
            xn.fit(net, data, y, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=2, theta=theta)
            for data in (x, flat)
        )
        assert_equal(backend, with_pictures.theta, backend.to_host(without.theta))
        assert_equal(backend, with_pictures.predict(x), backend.to_host(without.predict(flat)))


def test_what_a_flatten_cannot_take_is_told():
    net = xn.Sequential(xn.Flatten(2, 3), xn.Linear(6, 2))
    theta = net.init(0, like=np.zeros(1))
    with pytest.raises(ValueError, match=r"\(samples, 6\) or \(samples, 2, 3\), .*not \(5, 3, 2\)"):
        net(theta, np.ones((5, 3, 2)))
    with pytest.raises(ValueError, match=r"x must have the shape \(5, 6\) for a network alone"):
        net(theta, np.ones((3, 5, 2, 3)))
    with pytest.raises(ValueError, match=r"layer 1, Flatten\(2, 3\) must be the first layer"):
        xn.Sequential(xn.Linear(6, 6), xn.Flatten(2, 3))
    with pytest.raises(TypeError, match=r"each size, as in Flatten\(28, 28\), must be a whole num"):
        xn.Flatten((2, 3))
    with pytest.raises(TypeError, match="Flatten needs the sizes of a sample"):
        xn.Flatten()


def test_an_embedding_gives_rows_and_their_gradients(backend):
    # By hand: samples (2, 0) and (2, 2); the gradient of a row is the sum over where it was taken.
    layer = xn.Embedding(3, 2, in_features=2)
    weight = arr(backend, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    x, dy = arr(backend, [[2.0, 0.0], [2.0, 2.0]]), arr(backend, [[1.0, 2, 3, 4], [5, 6, 7, 8]])
    with backend.context():
        y, backprop = layer.forward(backend.xp, (weight,), x)
        dx, (grad,) = backprop(dy)
    assert_equal(backend, y, [[5.0, 6, 1, 2], [5, 6, 5, 6]])
    assert_equal(backend, grad, [[3.0, 4], [0, 0], [13, 16]])
    assert_equal(backend, dx, np.zeros((2, 2)))


@pytest.mark.parametrize("wrong", [3.0, -1.0, 0.5])
def test_ids_that_there_are_not_are_an_error_before_anything_is_trained(backend, wrong):
    net = xn.Sequential(xn.Flatten(2, 1), xn.Embedding(3, 2, in_features=2), xn.Linear(4, 1))
    x, y = arr(backend, [[0.0, 2.0], [1.0, wrong]]), arr(backend, np.ones((2, 1)))
    theta = net.init(0, like=x)
    words = rf"x must hold ids for Embedding\(.*, whole numbers from 0 to 2, not {wrong:g}\."
    with pytest.raises(ValueError, match=words):
        xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=1, theta=theta)
    with pytest.raises(ValueError, match=words):
        net.value_and_grad(theta, x, y, xn.MSE(), check=True)
    if backend.on_host:
        with pytest.raises(ValueError, match=words):
            net(theta, x)


def test_an_embedding_behind_a_layer_that_computes_is_told():
    with pytest.raises(ValueError, match=r"layer 1, Embedding\(.* must be the first layer, or beh"):
        xn.Sequential(xn.Linear(2, 2), xn.Embedding(3, 2, in_features=2))


NUMBERED = {
    "LeakyReLU": lambda a: xn.LeakyReLU(a),
    "HardTanh": lambda a: xn.HardTanh(-a, 2 * a),
    "Softplus": lambda a: xn.Softplus(a),
    "ELU": lambda a: xn.ELU(a),
    "LayerNorm": lambda a: xn.LayerNorm(4, eps=a),
    "RMSNorm": lambda a: xn.RMSNorm(4, eps=a),
}


@pytest.mark.parametrize("name", NUMBERED)
def test_numbers_of_a_layer_are_those_of_each_training(backend, name):
    # Where steps are compiled, once for all numbers from the second on: they are its operands.
    rng = np.random.default_rng(0)
    hosts = rng.normal(size=(6, 4)), rng.normal(size=(6, 1))
    plain = xn.backends.get("numpy")
    for number in (0.3, 0.5, 0.9, 0.3):
        net = xn.Sequential(xn.Linear(4, 4), NUMBERED[name](number), xn.Linear(4, 1))
        found = []
        for where in (plain, backend):
            x, y = (where.asarray(values, "float64") for values in hosts)
            options = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.1), "epochs": 3, "seed": 1}
            found.append(where.to_host(xn.fit(net, x, y, **options).theta))
        np.testing.assert_allclose(found[1], found[0], rtol=0, atol=rounding(3 * 60, found[0]))


# ---- layers of somebody's own, which fit tries out before it trains


class Own(xn.Layer):
    """``y = factor x``, of which each below it has one thing wrong."""

    def factor(self, xp, x):
        return 2.0

    def forward(self, xp, params, x):
        factor = self.factor(xp, x)
        return x * factor, lambda dy, need_dx=True: (dy * factor, ())

    def apply(self, xp, params, x):
        return self.forward(xp, params, x)[0]


class OfAllSamples(Own):
    samplewise = True

    def factor(self, xp, x):
        return xp.sum(x * x, axis=-2, keepdims=True)


class Random(Own):
    def factor(self, xp, x):
        return float(np.random.random())


class RandomBehind(Own):
    def forward(self, xp, params, x):
        return x, lambda dy, need_dx=True: (dy * float(np.random.random()), ())


class GradientOfAMean(Own):
    """Its gradient is a mean over the samples, which the parts of a batch do not add up to."""

    samplewise = True

    def parameters(self):
        return {"b": (1, 4)}

    def draw(self, rng):
        return [np.ones((1, 4))]

    def forward(self, xp, params, x):
        (b,) = params
        return x + b, lambda dy, need_dx=True: (dy, (xp.mean(dy, axis=-2, keepdims=True),))


class Double(Own):
    def factor(self, xp, x):
        return xp.astype(xp.ones_like(x), xp.float64)


class Undeclared(Own):
    def forward(self, xp, params, x, state, noise):
        return (*super().forward(xp, params, x), ())


class Declared(Own):
    draws = True


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (OfAllSamples, ValueError, "forward of a part of the samples must be as of all, since it"),
        (Random, TypeError, "forward must return the same for the same x.* says draws = True"),
        (RandomBehind, TypeError, "backprop must return the same for the same x"),
        (GradientOfAMean, ValueError, "db of the parts of the samples must add up to that of all"),
        (Double, TypeError, "must return an output of the dtype .*float32 of x, not .*float64"),
        (Undeclared, TypeError, r"forward must take \(xp, params, x\); .* says draws = True"),
        (Declared, TypeError, r"forward must take \(xp, params, x, state, noise\), since"),
    ],
)
@pytest.mark.parametrize("members", [None, 2])
def test_a_layer_that_does_other_than_it_says_is_told_before_training(
    backend, kind, error, words, members
):
    x, y = (arr(backend, values, "float32") for values in xn.datasets.xor())
    with pytest.raises(error, match=f"layer 1, .*{kind.__name__}.*{words}"):
        net = xn.Sequential(xn.Linear(2, 4), kind(), xn.Linear(4, 1))
        xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, members=members)


def test_a_layer_that_is_samplewise_as_it_says_is_trained(backend):
    class Apart(Own):
        samplewise = True

    x, y = (arr(backend, values) for values in xn.datasets.xor())
    net = xn.Sequential(xn.Linear(2, 4), Apart(), xn.Linear(4, 1))
    model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=2, seed=0)
    assert model.history.loss[1] < model.history.loss[0]


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_a_norm_is_0_where_squares_are_beyond_the_dtype_as_it_says(backend, name):
    x = np.array([[1e30, -2e30, 3e30, 4e30], [1.0, -2.0, 3.0, 4.0]])
    layer = getattr(xn, name)(4)
    params = tuple(arr(backend, values, "float32") for values in layer.draw(None))
    with backend.context():
        y = layer.apply(backend.xp, params, arr(backend, x, "float32"))
    found = host(backend, y, dtype="float32")
    assert not found[0].any() and found[1].all()
