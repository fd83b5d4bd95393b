"""The losses: their values against the formulas, at the edges of floating point, with weights."""

import copy
import pickle

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, host, rounding

LOSSES = [xn.BCE(), xn.BCE(eps=0.0), xn.BCEWithLogits(), xn.CrossEntropy(), xn.MSE(), xn.Huber(0.7)]

# Three samples, two outputs; the same probabilities, logits and residuals serve all of them.
P = np.array([[0.1, 0.9], [0.5, 0.25], [0.75, 0.99]])
Z = np.array([[-2.0, 3.0], [0.5, -0.25], [0.0, 7.0]])
LABELS = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
TARGETS = np.array([[0.5, -1.0], [0.0, 0.25], [-0.75, 6.5]])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    powers = np.exp(z - z.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def huber(r, d=0.7):
    return np.where(abs(r) <= d, r**2 / 2, d * (abs(r) - d / 2))


# loss: output, y, elements of the loss, elements of the gradient, how many elements a mean is of
FORMULAS = {
    "BCE": (
        xn.BCE(),
        P,
        LABELS,
        -(LABELS * np.log(P + 1e-3) + (1 - LABELS) * np.log(1 - P + 1e-3)),
        -(LABELS / (P + 1e-3) - (1 - LABELS) / (1 - P + 1e-3)),
        6,
    ),
    "BCE without eps": (
        xn.BCE(0),
        P,
        LABELS,
        -(LABELS * np.log(P) + (1 - LABELS) * np.log(1 - P)),
        -(LABELS / P - (1 - LABELS) / (1 - P)),
        6,
    ),
    "BCEWithLogits": (
        xn.BCEWithLogits(),
        Z,
        LABELS,
        -(LABELS * np.log(sigmoid(Z)) + (1 - LABELS) * np.log(sigmoid(-Z))),
        sigmoid(Z) - LABELS,
        6,
    ),
    "CrossEntropy": (
        xn.CrossEntropy(),
        Z,
        LABELS,
        -(LABELS * np.log(softmax(Z))).sum(-1, keepdims=True),
        softmax(Z) - LABELS,
        3,
    ),
    "MSE": (xn.MSE(), Z, TARGETS, (Z - TARGETS) ** 2, 2 * (Z - TARGETS), 6),
    "Huber": (xn.Huber(0.7), Z, TARGETS, huber(Z - TARGETS), np.clip(Z - TARGETS, -0.7, 0.7), 6),
}


def value_and_grad(backend, loss, output, y, weight=None):
    """The loss and its gradient with respect to the output, unchecked, as a step has them."""
    with backend.context():
        shape = tuple(output.shape)
        target = loss.prepare(backend, shape, y, output.dtype)
        if weight is not None:
            weight = weight[..., None]
        value, backprop = loss.forward(backend.xp, output, target, weight)
        return value, backprop()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_and_its_gradient_are_the_formulas_of_its_docstring(backend, name, dtype):
    loss, output, y, losses, grads, count = FORMULAS[name]
    output, y = arr(backend, output, dtype), arr(backend, y, dtype)
    value, grad = value_and_grad(backend, loss, output, y)
    # A dozen operations an element and a sum of six: no result is larger than the largest element.
    bound = rounding(32, [losses.max(), 1 / P.min()], dtype)
    assert_close(backend, value, losses.sum() / count, atol=bound, dtype=dtype)
    assert_close(backend, grad, grads / count, atol=bound, dtype=dtype)
    assert_equal(backend, loss(output, y), host(backend, value), dtype=dtype)


@pytest.mark.parametrize("name", FORMULAS)
def test_weighted_losses_are_weighted_means_and_a_weight_of_2_is_the_sample_twice(backend, name):
    loss, output, y, losses, grads, _ = FORMULAS[name]
    weight = np.array([2.0, 0.0, 1.0])
    output_, y_ = arr(backend, output), arr(backend, y)
    value, grad = value_and_grad(backend, loss, output_, y_, arr(backend, weight))
    bound = rounding(32, [losses.max(), 1 / P.min()])
    mean = (weight[:, None] * losses / losses.shape[1]).sum() / 3
    assert_close(backend, value, mean, atol=bound)
    assert_close(backend, grad, grads * weight[:, None] / (3 * losses.shape[1]), atol=bound)
    rows = [0, 0, 2]
    twice, _ = value_and_grad(backend, loss, arr(backend, output[rows]), arr(backend, y[rows]))
    assert_close(backend, value, host(backend, twice), atol=bound)
    weighted = loss(output_, y_, arr(backend, weight))
    assert_equal(backend, weighted, host(backend, value))


@pytest.mark.parametrize("name", FORMULAS)
def test_member_axes_give_one_loss_a_member(backend, name):
    loss, output, y, losses, grads, count = FORMULAS[name]
    stack = np.stack([output, output[::-1]])
    weights = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]])
    for targets in (y, np.stack([y, y])):
        value, grad = value_and_grad(backend, loss, arr(backend, stack), arr(backend, targets))
        assert host(backend, grad, shape=stack.shape).shape == stack.shape
        for i in range(2):
            alone, slope = value_and_grad(
                backend, loss, arr(backend, stack[i]), arr(backend, y), None
            )
            bound = rounding(32, [host(backend, value), host(backend, grad)])
            assert_close(backend, value[i, ...], host(backend, alone), atol=bound)
            assert_close(backend, grad[i, ...], host(backend, slope), atol=bound)
    for w in (weights, weights[0]):
        both = loss(arr(backend, stack), arr(backend, y), arr(backend, w))
        for i in range(2):
            own = arr(backend, np.broadcast_to(w, (2, 3))[i])
            alone = loss(arr(backend, stack[i]), arr(backend, y), own)
            assert_close(
                backend, both[i, ...], host(backend, alone), atol=rounding(32, host(backend, both))
            )


# ---- the edges of floating point

EXTREME = np.array([-1e4, -745.0, -100.0, -40.0, -1.0, 0.0, 1.0, 40.0, 100.0, 745.0, 1e4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bce_with_logits_loses_no_digit_for_logits_of_any_size(backend, dtype):
    mpmath = pytest.importorskip("mpmath", reason="exact values come from mpmath")
    mpmath.mp.dps = 60
    tiny = float(np.finfo(dtype).tiny)
    for label in (0.0, 1.0):
        sign = 1 - 2 * label
        exact = [mpmath.log1p(mpmath.exp(sign * mpmath.mpf(z))) for z in EXTREME]
        slopes = [sign / (1 + mpmath.exp(-sign * mpmath.mpf(z))) for z in EXTREME]
        output = arr(backend, EXTREME[:, None, None], dtype)  # every logit a member of its own
        y = arr(backend, [[label]], dtype)
        value, grad = value_and_grad(backend, xn.BCEWithLogits(), output, y)
        # exp and log are good to a few ulp; what is below the smallest normal number may be 0.
        assert_close(backend, value, [float(v) for v in exact],
                     rtol=rounding(8, 1, dtype), atol=tiny, dtype=dtype)  # fmt: skip
        assert_close(backend, grad, [[[float(v)]] for v in slopes],
                     rtol=rounding(8, 1, dtype), atol=tiny, dtype=dtype)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_is_right_for_logits_of_ten_thousand(backend, dtype):
    # By its asymptotics: with one logit far above the rest, log Σ exp z is that logit.
    z = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]])
    y = np.array([0, 0, 1, 2])
    losses = [0.0, 2e4, np.log(2), np.log(3)]
    grads = [[0, 0, 0], [-1, 1, 0], [0.5, -0.5, 0], [1 / 3, 1 / 3, 1 / 3 - 1]]
    value, grad = value_and_grad(
        backend, xn.CrossEntropy(), arr(backend, z, dtype), arr(backend, y, "int64")
    )
    # Sums of four numbers, the largest of them 2e4.
    assert_close(backend, value, np.mean(losses), atol=rounding(8, 2e4, dtype), dtype=dtype)
    assert_close(backend, grad, np.array(grads) / 4, atol=rounding(8, 1, dtype), dtype=dtype)
    p = xn.CrossEntropy().probabilities(backend.xp, arr(backend, z, dtype))
    assert_close(backend, p, softmax(z), atol=rounding(8, 1, dtype), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_logits_of_ten_thousand_are_0_and_1(backend, dtype):
    z = arr(backend, [[-1e4, 0.0, 1e4]], dtype)
    with backend.context():
        p = xn.BCEWithLogits().probabilities(backend.xp, z)
    assert_equal(backend, p, [[0.0, 0.5, 1.0]], dtype=dtype)


def test_bce_with_eps_is_finite_where_a_probability_is_0_or_1(backend):
    p, y = [[0.0, 1.0, 0.0, 1.0]], [[0.0, 1.0, 1.0, 0.0]]
    value, grad = value_and_grad(backend, xn.BCE(), arr(backend, p), arr(backend, y))
    # By hand: log(1 + ε) twice and log ε twice; slopes ±1/(1 + ε) and ±1/ε.
    mean = -(np.log(1.001) + np.log(0.001)) / 2
    assert_close(backend, value, mean, atol=rounding(16, 10))
    slopes = np.array([[1 / 1.001, -1 / 1.001, -1000, 1000]]) / 4
    assert_close(backend, grad, slopes, atol=rounding(16, 1000))


def test_bce_of_what_is_no_probability_is_nan_as_in_its_formula(backend):
    # log(p + ε) has no value for p = −0.5: a network without a sigmoid must not seem to learn.
    for p, y in ((-0.5, 1.0), (1.5, 0.0)):
        value = xn.BCE()(arr(backend, [[p]]), arr(backend, [[y]]))
        assert np.isnan(host(backend, value))


# ---- labels


def test_integer_classes_and_one_hot_rows_of_any_dtype_are_the_same(backend):
    z = arr(backend, np.random.default_rng(0).normal(size=(4, 3)))
    classes = np.array([2, 0, 1, 1])
    onehot = np.eye(3)[classes]
    expected = host(backend, xn.CrossEntropy()(z, arr(backend, classes, "int64")))
    for dtype in ("int8", "uint8", "int32"):
        assert_equal(backend, xn.CrossEntropy()(z, arr(backend, classes, dtype)), expected)
    for dtype in ("float64", "float32", "bool", "int64"):
        assert_equal(backend, xn.CrossEntropy()(z, arr(backend, onehot, dtype)), expected)


def test_one_hot_integers_are_not_taken_for_classes_where_samples_and_outputs_are_equally_many(
    backend,
):
    z = np.random.default_rng(0).normal(size=(3, 3))
    classes = np.array([2, 0, 1])
    loss = xn.CrossEntropy()
    expected = host(backend, loss(arr(backend, z), arr(backend, classes, "int64")), shape=())
    onehot = arr(backend, np.eye(3)[classes], "int64")
    assert_equal(backend, loss(arr(backend, z), onehot), expected)
    loss.check_values(backend, (3, 3), onehot)


def test_classes_of_every_member_are_checked_as_classes_where_outputs_are_as_many_as_samples(
    backend,
):
    y = arr(backend, [[2, 0, 1], [2, 2, 2]], "int64")  # two members, three samples, three classes
    loss = xn.CrossEntropy()
    loss.check_values(backend, (2, 3, 3), y)
    assert tuple(loss(arr(backend, np.zeros((2, 3, 3))), y).shape) == (2,)


def test_classes_beyond_the_range_of_their_dtype_are_counted_rightly(backend):
    z = arr(backend, np.random.default_rng(0).normal(size=(2, 300)))
    small = xn.CrossEntropy()(z, arr(backend, [44, 5], "uint8"))
    assert_equal(
        backend, small, host(backend, xn.CrossEntropy()(z, arr(backend, [44, 5], "int64")))
    )


# ---- accuracy and prediction


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("samples", [1, 41, 49, 98, 103])
def test_all_samples_right_is_an_accuracy_of_exactly_1(backend, samples, dtype):
    # 49 · (1/49) is not 1 in float64, nor 41 · (1/41) in float32: a goal of 1.0 would be missed.
    z = arr(backend, np.ones((samples, 1)), dtype)
    with backend.context():
        accuracy = xn.BCEWithLogits().accuracy(backend.xp, z, z)
    assert_equal(backend, accuracy, 1.0, dtype=dtype)


def test_accuracy_is_the_share_of_right_samples_of_each_member(backend):
    with backend.context():
        p = arr(backend, [[[0.4], [0.5], [0.6]], [[0.6], [0.6], [0.1]]])
        y = arr(backend, [[0.0], [0.0], [1.0]])
        # 0.5 is not above the threshold: the report's class 0.
        assert_equal(backend, xn.BCE().accuracy(backend.xp, p, y), [1.0, 0.0])
        assert_equal(backend, xn.BCE().predict(backend.xp, p)[0, ...], [[0], [0], [1]],
                     dtype="int64")  # fmt: skip
        z = arr(backend, [[1.0, 3.0, 2.0], [5.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        target = xn.CrossEntropy().prepare(
            backend, (4, 3), arr(backend, [1, 1, 2, 2], "int64"), z.dtype
        )
        assert_equal(backend, xn.CrossEntropy().accuracy(backend.xp, z, target), 0.75)
        assert_equal(backend, xn.CrossEntropy().predict(backend.xp, z), [1, 0, 2, 2], dtype="int64")


@pytest.mark.parametrize("loss", [xn.MSE(), xn.Huber()], ids=repr)
def test_a_loss_of_regression_has_no_accuracy_and_no_probabilities(loss):
    assert not loss.classifies
    z = np.zeros((2, 1))
    with pytest.raises(TypeError, match="no accuracy"):
        loss.accuracy(np, z, z)
    with pytest.raises(TypeError, match="no probabilities"):
        loss.probabilities(np, z)
    assert loss.predict(np, z) is z


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_compare_by_value_and_survive_pickle_and_deepcopy(loss):
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert twin == loss
        assert hash(twin) == hash(loss)
    assert xn.BCE() != xn.BCE(1e-4)
    assert xn.Huber() != xn.MSE()


def test_numbers_of_numpy_do_not_turn_float32_into_float64(backend):
    for loss in (xn.BCE(np.float64(1e-3)), xn.Huber(np.float64(0.5))):
        value = loss(arr(backend, [[0.25]], "float32"), arr(backend, [[1.0]], "float32"))
        assert host(backend, value, dtype="float32").dtype == np.float32
