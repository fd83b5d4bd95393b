"""The losses: their values against the formulas, at the edges of floating point, with weights."""

import copy
import pickle

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, host, library, rounding
from xpnet.losses import Scaled, Share, evaluate, prepare

LOSSES = [
    *(xn.BCE(), xn.BCE(eps=0.0), xn.BCEWithLogits(), xn.CrossEntropy(), xn.MSE(), xn.Huber(0.7)),
    *(xn.BCEWithLogits(pos_weight=(2.0, 0.5)), xn.CrossEntropy(0.1), xn.L1(), xn.Quantile(0.2)),
    *(xn.Quantile((0.1, 0.9)), xn.Poisson(), xn.Poisson(False, True), xn.Hinge(), xn.KL()),
]

# Three samples, two outputs; the same probabilities, logits and residuals serve all of them.
P = np.array([[0.1, 0.9], [0.5, 0.25], [0.75, 0.99]])
Z = np.array([[-2.0, 3.0], [0.5, -0.25], [0.0, 7.0]])
LABELS = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
TARGETS = np.array([[0.5, -1.0], [0.0, 0.25], [-0.75, 6.5]])
COUNTS = np.array([[0.0, 20.0], [1.0, 0.0], [3.0, 1000.0]])
W, QS = np.array([2.0, 0.5]), np.array([0.1, 0.9])


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
    "BCEWithLogits, weighed": (
        xn.BCEWithLogits(pos_weight=[2.0, 0.5]),
        Z,
        LABELS,
        -(W * LABELS * np.log(sigmoid(Z)) + (1 - LABELS) * np.log(sigmoid(-Z))),
        (1 - LABELS) * sigmoid(Z) - W * LABELS * sigmoid(-Z),
        6,
    ),
    "CrossEntropy, smoothed": (
        xn.CrossEntropy(0.1),
        Z,
        LABELS,
        -((0.9 * LABELS + 0.05) * np.log(softmax(Z))).sum(-1, keepdims=True),
        softmax(Z) - (0.9 * LABELS + 0.05),
        3,
    ),
    "L1": (xn.L1(), Z, TARGETS, abs(Z - TARGETS), np.sign(Z - TARGETS), 6),
    "Quantile": (
        xn.Quantile(0.2),
        Z,
        TARGETS,
        np.maximum(0.2 * (TARGETS - Z), -0.8 * (TARGETS - Z)),
        np.where(TARGETS > Z, -0.2, 0.8),
        6,
    ),
    "Quantile, one an output": (
        xn.Quantile((0.1, 0.9)),
        Z,
        TARGETS,
        np.maximum(QS * (TARGETS - Z), (QS - 1) * (TARGETS - Z)),
        np.where(TARGETS > Z, -QS, 1 - QS),
        6,
    ),
    "Poisson": (xn.Poisson(), Z, COUNTS, np.exp(Z) - COUNTS * Z, np.exp(Z) - COUNTS, 6),
    "Poisson of rates": (
        xn.Poisson(log_input=False, eps=1e-3),
        P,
        COUNTS,
        P - COUNTS * np.log(P + 1e-3),
        1 - COUNTS / (P + 1e-3),
        6,
    ),
    "Poisson, as a deviance": (
        xn.Poisson(deviance=True),
        Z,
        COUNTS,
        np.exp(Z) - COUNTS * Z + COUNTS * (np.log(np.maximum(COUNTS, 1)) - 1),
        np.exp(Z) - COUNTS,
        6,
    ),
    "MSE, scaled": (
        Scaled(xn.MSE(), 0.5, 3.0),
        Z,
        TARGETS,
        0.5 * (Z - TARGETS) ** 2,
        6.0 * (Z - TARGETS),
        6,
    ),
    "Hinge": (
        xn.Hinge(),
        Z,
        LABELS,
        np.maximum(0, 1 - (2 * LABELS - 1) * Z),
        np.where((2 * LABELS - 1) * Z < 1, 1 - 2 * LABELS, 0),
        6,
    ),
    "KL": (
        xn.KL(),
        np.log(softmax(Z)),
        P,
        (P * (np.log(P) - np.log(softmax(Z)))).sum(-1, keepdims=True),
        -P,
        3,
    ),
}
PEERS = {
    "BCEWithLogits, weighed": lambda F, o, y: F.binary_cross_entropy_with_logits(
        o, y, pos_weight=o.new_tensor([2.0, 0.5])
    ),
    "CrossEntropy, smoothed": lambda F, o, y: F.cross_entropy(o, y, label_smoothing=0.1),
    "L1": lambda F, o, y: F.l1_loss(o, y),
    "Poisson": lambda F, o, y: F.poisson_nll_loss(o, y),
    "Poisson of rates": lambda F, o, y: F.poisson_nll_loss(o, y, log_input=False, eps=1e-3),
    "KL": lambda F, o, y: F.kl_div(o, y, reduction="batchmean"),
}
"""What PyTorch calls those that it has, as ``(functional, output, y)``."""


def value_and_grad(backend, loss, output, y, weight=None):
    """The loss and its gradient with respect to the output, unchecked, as a step has them."""
    with backend.context():
        shape = tuple(output.shape)
        target, weight = prepare(backend, loss, shape, y, weight, output.dtype)
        value, backprop = evaluate(loss, backend.xp, output, target, Share(shape[-2], weight))
        return value, backprop()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_and_its_gradient_are_the_formulas_of_its_docstring(backend, name, dtype):
    loss, output, y, losses, grads, count = FORMULAS[name]
    output, y = arr(backend, output, dtype), arr(backend, y, dtype)
    value, grad = value_and_grad(backend, loss, output, y)
    # A dozen operations an element and a sum of six: no result is larger than the largest element.
    bound = rounding(32, [abs(losses).max(), 1 / P.min(), abs(grads).max()], dtype)
    assert_close(backend, value, losses.sum() / count, atol=bound, dtype=dtype)
    assert_close(backend, grad, grads / count, atol=bound, dtype=dtype)
    assert_equal(backend, loss(output, y), host(backend, value), dtype=dtype)


@pytest.mark.parametrize("name", PEERS)
def test_the_formulas_are_those_of_pytorch(name):
    torch = library("torch")
    _, output, y, losses, grads, count = FORMULAS[name]
    output = torch.tensor(output, requires_grad=True)
    value = PEERS[name](torch.nn.functional, output, torch.tensor(y))
    value.backward()
    bound = rounding(32, [abs(losses).max(), abs(grads).max()])
    np.testing.assert_allclose(value.item(), losses.sum() / count, rtol=0, atol=bound)
    np.testing.assert_allclose(output.grad.numpy(), grads / count, rtol=0, atol=bound)


def test_stirlings_term_of_poisson_is_that_of_pytorch(backend):
    torch = library("torch")
    how = {"log_input": False, "full": True, "eps": 1e-3}
    output, y = torch.tensor(P, requires_grad=True), torch.tensor(COUNTS)
    wanted = torch.nn.functional.poisson_nll_loss(output, y, **how)
    wanted.backward()
    value, grad = value_and_grad(backend, xn.Poisson(**how), arr(backend, P), arr(backend, COUNTS))
    bound = rounding(32, 1000 * np.log(1000))
    assert_close(backend, value, wanted.detach().numpy(), atol=bound)
    assert_close(backend, grad, output.grad.numpy(), atol=bound)


def test_the_hinge_takes_labels_of_minus_1_and_1_and_tells_classes(backend):
    z, loss = arr(backend, Z), xn.Hinge()
    signs = arr(backend, 2 * LABELS - 1)
    assert_equal(backend, loss(z, signs), host(backend, loss(z, arr(backend, LABELS))))
    whole = arr(backend, (2 * LABELS - 1).astype("int64"), "int64")
    assert_equal(backend, loss(z, whole), host(backend, loss(z, signs)))
    with backend.context():
        target = loss.prepare(backend, (3, 2), signs, z.dtype)
        found = loss.accuracy(backend.xp, z, target, Share(3))
        assert_equal(backend, found, np.mean((Z > 0) == (LABELS == 1)))
        assert_equal(backend, loss.predict(backend.xp, z), Z > 0, dtype="int64")
    with pytest.raises(TypeError, match="margins and no probabilities"):
        loss.probabilities(backend.xp, z)
    net, x, y = xn.Sequential(xn.Linear(2, 2)), arr(backend, Z), arr(backend, LABELS)
    model = xn.fit(net, x, y, loss=loss, optimizer=xn.SGD(1e-2), epochs=1, seed=0)
    with pytest.raises(TypeError, match="classes apart by probabilities, not Hinge"):
        model.predict_proba(x)


def test_a_quantile_is_what_its_loss_is_least_at(backend):
    y = np.random.default_rng(0).exponential(size=(99, 1))
    x = arr(backend, np.ones((99, 1)))
    how = {"optimizer": xn.Rprop(lr=0.1), "epochs": 120, "seed": 0}
    net = xn.Sequential(xn.Linear(1, 1))
    model = xn.fit(net, x, arr(backend, y), loss=xn.Quantile(0.9), **how)
    lower, upper = np.sort(y.ravel())[[88, 90]]  # the 90th of 99 has nine tenths below it
    assert lower <= host(backend, model(x))[0, 0] <= upper


def test_poisson_predicts_rates(backend):
    z = arr(backend, Z)
    with backend.context():
        rates = xn.Poisson().predict(backend.xp, z)
        assert_close(backend, rates, np.exp(Z), rtol=rounding(4, 1), atol=0)
        assert xn.Poisson(log_input=False).predict(backend.xp, z) is z
    net, x, y = xn.Sequential(xn.Linear(2, 1)), arr(backend, Z), arr(backend, COUNTS[:, :1])
    model = xn.fit(net, x, y, loss=xn.Poisson(), optimizer=xn.SGD(1e-4), epochs=1, seed=0)
    assert_close(backend, model.predict(x), np.exp(host(backend, model(x))), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", FORMULAS)
def test_weighted_losses_are_weighted_means_and_a_weight_of_2_is_the_sample_twice(backend, name):
    loss, output, y, losses, grads, _ = FORMULAS[name]
    weight = np.array([2.0, 0.0, 1.0])
    output_, y_ = arr(backend, output), arr(backend, y)
    value, grad = value_and_grad(backend, loss, output_, y_, arr(backend, weight))
    bound = rounding(32, [abs(losses).max(), 1 / P.min(), abs(grads).max()])
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
    mpmath = library("mpmath")
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


@pytest.mark.has("quotients")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("samples", [1, 41, 49, 98, 103])
def test_all_samples_right_is_an_accuracy_of_exactly_1(backend, samples, dtype):
    # 49 · (1/49) is not 1 in float64, nor 41 · (1/41) in float32: a goal of 1.0 would be missed.
    z = arr(backend, np.ones((samples, 1)), dtype)
    with backend.context():
        accuracy = xn.BCEWithLogits().accuracy(backend.xp, z, z, Share(samples))
    assert_equal(backend, accuracy, 1.0, dtype=dtype)


def test_accuracy_is_the_share_of_right_samples_of_each_member(backend):
    with backend.context():
        p = arr(backend, [[[0.4], [0.5], [0.6]], [[0.6], [0.6], [0.1]]])
        y = arr(backend, [[0.0], [0.0], [1.0]])
        # 0.5 is not above the threshold: the report's class 0.
        assert_equal(backend, xn.BCE().accuracy(backend.xp, p, y, Share(3)), [1.0, 0.0])
        assert_equal(backend, xn.BCE().predict(backend.xp, p)[0, ...], [[0], [0], [1]],
                     dtype="int64")  # fmt: skip
        z = arr(backend, [[1.0, 3.0, 2.0], [5.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        target = xn.CrossEntropy().prepare(
            backend, (4, 3), arr(backend, [1, 1, 2, 2], "int64"), z.dtype
        )
        assert_equal(backend, xn.CrossEntropy().accuracy(backend.xp, z, target, Share(4)), 0.75)
        assert_equal(backend, xn.CrossEntropy().predict(backend.xp, z), [1, 0, 2, 2], dtype="int64")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FORMULAS)
def test_what_the_parts_of_a_batch_give_adds_up_to_the_whole(backend, name, weighted):
    loss, output, y, *_ = FORMULAS[name]
    output, y = arr(backend, output), arr(backend, y)
    samples = output.shape[0]
    weight = arr(backend, np.arange(samples) + 0.5) if weighted else None
    with backend.context():
        target, weight = prepare(backend, loss, tuple(output.shape), y, weight, output.dtype, True)

        def given(rows):
            w = None if weight is None else weight[rows, :]
            share, part, t = Share(samples, w), output[rows, :], target[rows, :]
            value, backprop = evaluate(loss, backend.xp, part, t, share)
            hits = loss.accuracy(backend.xp, part, t, share) if loss.classifies else value
            return host(backend, value), host(backend, hits), host(backend, backprop())

        whole, parts = given(slice(None)), [given(slice(0, 1)), given(slice(1, None))]
    scale = max(abs(part).max() for found in (*parts, whole) for part in found)
    for i, join in enumerate((sum, sum, np.concatenate)):
        found = join([part[i] for part in parts])
        np.testing.assert_allclose(found, whole[i], rtol=0, atol=rounding(32, [scale]))


@pytest.mark.parametrize("loss", [xn.MSE(), xn.Huber(), xn.L1(), xn.Quantile()], ids=repr)
def test_a_loss_of_regression_has_no_accuracy_and_no_probabilities(loss):
    assert not loss.classifies
    z = np.zeros((2, 1))
    with pytest.raises(TypeError, match="no accuracy"):
        loss.accuracy(np, z, z, Share(2))
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
    assert xn.CrossEntropy(0.1) != xn.CrossEntropy() != xn.BCEWithLogits()
    assert repr(xn.CrossEntropy()) == "CrossEntropy()"
    assert repr(xn.BCEWithLogits(pos_weight=[2])) == "BCEWithLogits(pos_weight=(2.0,))"


def test_numbers_of_numpy_do_not_turn_float32_into_float64(backend):
    for loss in (xn.BCE(np.float64(1e-3)), xn.Huber(np.float64(0.5))):
        value = loss(arr(backend, [[0.25]], "float32"), arr(backend, [[1.0]], "float32"))
        assert host(backend, value, dtype="float32").dtype == np.float32


# ---- probabilities as targets

SOFT = np.array([[0.3, 0.7], [1.0, 0.0], [0.05, 0.95]])
SOFT_FORMULAS = {
    "BCE": (
        xn.BCE(),
        P,
        -(SOFT * np.log(P + 1e-3) + (1 - SOFT) * np.log(1 - P + 1e-3)),
        -(SOFT / (P + 1e-3) - (1 - SOFT) / (1 - P + 1e-3)),
        6,
    ),
    "BCEWithLogits": (
        xn.BCEWithLogits(),
        Z,
        SOFT * np.log1p(np.exp(-Z)) + (1 - SOFT) * np.log1p(np.exp(Z)),
        sigmoid(Z) - SOFT,
        6,
    ),
    "CrossEntropy": (
        xn.CrossEntropy(),
        Z,
        -(SOFT * np.log(softmax(Z))).sum(-1, keepdims=True),
        softmax(Z) - SOFT,
        3,
    ),
}


SOFT_FORMULAS["BCEWithLogits, weighed"] = (
    xn.BCEWithLogits(pos_weight=(2.0, 0.5)),
    Z,
    W * SOFT * np.log1p(np.exp(-Z)) + (1 - SOFT) * np.log1p(np.exp(Z)),
    (1 - SOFT) * sigmoid(Z) - W * SOFT * sigmoid(-Z),
    6,
)
SOFT_FORMULAS["CrossEntropy, smoothed"] = (
    xn.CrossEntropy(0.1),
    Z,
    -((0.9 * SOFT + 0.05) * np.log(softmax(Z))).sum(-1, keepdims=True),
    softmax(Z) - (0.9 * SOFT + 0.05),
    3,
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SOFT_FORMULAS)
def test_targets_may_be_probabilities(backend, name, dtype):
    loss, output, losses, grads, count = SOFT_FORMULAS[name]
    output, y = arr(backend, output, dtype), arr(backend, SOFT, dtype)
    value, grad = value_and_grad(backend, loss, output, y)
    bound = rounding(32, [losses.max(), 1 / P.min()], dtype)
    assert_close(backend, value, losses.sum() / count, atol=bound, dtype=dtype)
    assert_close(backend, grad, grads / count, atol=bound, dtype=dtype)


def test_a_soft_label_by_hand(backend):
    # log(e¹ + e²) − 0.3 · 1 − 0.7 · 2 = 2.313262 − 1.7; and log(1 + e⁻¹) + 0.1 · 1.
    soft = xn.CrossEntropy()(arr(backend, [[1.0, 2.0]]), arr(backend, [[0.3, 0.7]]))
    assert_close(backend, soft, np.log(np.e + np.e**2) - 1.7, atol=rounding(8, 3))
    soft = xn.BCEWithLogits()(arr(backend, [[1.0]]), arr(backend, [[0.9]]))
    assert_close(backend, soft, np.log1p(np.exp(-1)) + 0.1, atol=rounding(8, 1))


@pytest.mark.parametrize("name", ["BCE", "BCE without eps", "BCEWithLogits", "CrossEntropy"])
def test_labels_taken_for_probabilities_give_the_same(backend, name):
    # Where nobody looks at the values, floats of 0 and 1 go the way of probabilities.
    loss, output, y, losses, _, _ = FORMULAS[name]
    with backend.context():
        output, y = arr(backend, output), arr(backend, y)
        ways = [
            prepare(backend, loss, tuple(output.shape), y, None, output.dtype, check)[0]
            for check in (True, False)
        ]
        assert [backend.dtype_name(target) for target in ways] == ["bool", "float64"]
        (hard, slope), (soft, other) = (
            loss.forward(backend.xp, output, target, Share(output.shape[0])) for target in ways
        )
        bound = rounding(32, [losses.max(), 1 / P.min()])
        assert_close(backend, soft, host(backend, hard), atol=bound)
        assert_close(backend, other(), host(backend, slope()), atol=bound)


def test_probabilities_of_0_and_1_meet_no_infinity(backend):
    for loss, output in ((xn.BCE(0), [[0.0, 1.0]]), (xn.BCEWithLogits(), [[-np.inf, np.inf]])):
        with backend.context():
            output = arr(backend, output)
            target = arr(backend, [[0.0, 1.0]])
            value, backprop = loss.forward(backend.xp, output, target, Share(1))
            assert_equal(backend, value, 0.0)
            assert np.isfinite(host(backend, backprop())).all()


def test_a_class_that_cannot_be_has_a_logit_of_minus_infinity(backend):
    z = arr(backend, [[1.0, 2.0, -np.inf], [0.5, -np.inf, 0.1]])
    losses = [np.log(np.e + np.e**2) - 2, np.log(np.exp(0.5) + np.exp(0.1)) - 0.1]
    value, grad = value_and_grad(backend, xn.CrossEntropy(), z, arr(backend, [1, 2], "int64"))
    assert_close(backend, value, np.mean(losses), atol=rounding(8, 3))  # 0.613138
    p = np.exp(-0.4) / (1 + np.exp(-0.4))
    by_hand = [[1 / (1 + np.e), -1 / (1 + np.e), 0], [1 - p, 0, p - 1]]
    assert_close(backend, grad, np.array(by_hand) / 2, atol=rounding(8, 1))
    soft = arr(backend, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with backend.context():
        same, slope = xn.CrossEntropy().forward(backend.xp, z, soft, Share(2))
        assert_close(backend, same, host(backend, value), atol=rounding(8, 3))
        assert_close(backend, slope(), host(backend, grad), atol=rounding(8, 1))
    # That it is the right one after all has no probability.
    assert host(backend, xn.CrossEntropy()(z, arr(backend, [2, 2], "int64"))) == np.inf


# ---- weights

INFINITE = {
    # loss: output, y; the first sample is finite, the loss of the second is not
    "MSE": (xn.MSE(), [[3.0], [0.0]], [[1.0], [1e20]], 4.0),
    "Huber": (xn.Huber(), [[3.0], [3e38]], [[1.0], [-3e38]], 1.5),
    "BCE without eps": (xn.BCE(0), [[0.5], [0.0]], [[1.0], [1.0]], np.log(2)),
    "BCEWithLogits": (xn.BCEWithLogits(), [[0.0], [-np.inf]], [[1.0], [1.0]], np.log(2)),
    "CrossEntropy": (xn.CrossEntropy(), [[0, 0], [0, -np.inf]], [[1.0, 0], [0, 1]], np.log(2)),
    "NaN": (xn.MSE(), [[3.0], [np.nan]], [[1.0], [1.0]], 4.0),
}


@pytest.mark.parametrize("name", INFINITE)
def test_a_sample_of_weight_0_counts_for_nothing_whatever_its_loss(backend, name):
    loss, output, y, expected = INFINITE[name]
    output, y = arr(backend, output, "float32"), arr(backend, y, "float32")
    weight = arr(backend, [1.0, 0.0], "float32")
    value, grad = value_and_grad(backend, loss, output, y, weight)
    assert_close(backend, value, expected, atol=rounding(8, 4, "float32"), dtype="float32")
    grad = host(backend, grad)
    assert np.isfinite(grad[0]).all() and (grad[1] == 0).all()
    assert not np.isfinite(host(backend, loss(output, y)))  # with it, the loss is not finite


@pytest.mark.parametrize("scale", [1e-31, 1e31, 1e38, 1e-37, 1e-300, 1e307])
def test_weights_of_any_scale_give_the_same_loss(backend, scale):
    weight = np.array([1.0, 0.5, 3.0])
    z, y = arr(backend, Z, "float32"), arr(backend, TARGETS, "float32")
    dtype = "float32" if 1e-40 < scale < 2e38 else "float64"
    expected = host(backend, xn.MSE()(z, y, arr(backend, weight)))
    scaled = xn.MSE()(z, y, arr(backend, weight * scale, dtype))
    assert_close(backend, scaled, expected, atol=rounding(8, expected, "float32"), dtype="float32")


def test_whole_numbers_and_truth_values_are_weights(backend):
    z, y = arr(backend, Z), arr(backend, TARGETS)
    for dtype in ("int64", "uint8", "bool"):
        found = xn.MSE()(z, y, arr(backend, [1, 0, 1], dtype))
        assert_equal(backend, found, host(backend, xn.MSE()(z, y, arr(backend, [1.0, 0.0, 1.0]))))


def test_accuracy_is_weighted_as_the_loss_is(backend):
    z, y = arr(backend, [[1.0], [1.0], [-1.0], [1.0]]), arr(backend, [[1.0], [1.0], [0.0], [0.0]])
    loss = xn.BCEWithLogits()
    for weight, expected in ([3, 1, 1, 0], 1.0), ([1, 1, 1, 5], 0.375), ([0, 0, 0, 2], 0.0):
        with backend.context():
            target, w = prepare(
                backend, loss, (4, 1), y, arr(backend, weight, "float64"), z.dtype, True
            )
            accuracy = loss.accuracy(backend.xp, z, target, Share(4, w))
        # All right is exactly 1, whatever the weights: it may be a goal.
        bound = 0 if expected == 1 else rounding(8, 1)
        assert_close(backend, accuracy, expected, atol=bound)


# ---- a look at the values


def test_with_check_a_wrong_value_is_refused_on_every_library(backend):
    z, p = arr(backend, Z), arr(backend, P)
    for loss, output, y, dtype, sentence in (
        (xn.CrossEntropy(), z, [0, 7, 1], "int64", "y must hold classes from 0 to 1.*not 0 to 7"),
        (
            xn.CrossEntropy(),
            z,
            [[0.9, 0.9]] * 3,
            "float64",
            r"add up to 1 in every row.*\[0.9, 0.9]",
        ),
        (xn.CrossEntropy(), z, [[1.5, -0.5]] * 3, "float64", r"add up to 1.*\[1.5, -0.5]"),
        (xn.BCE(), p, [[-1.0, 1.0]] * 3, "float64", r"not -1; use \(y \+ 1\) / 2 for labels"),
        (xn.BCEWithLogits(), z, [[-1, 1]] * 3, "int64", r"not -1; use \(y \+ 1\) / 2 for labels"),
        (xn.BCEWithLogits(), z, [[0.5, 3.0]] * 3, "float64", "y must hold the labels .* not 3"),
        (xn.BCE(), p, [[np.nan, 1.0]] * 3, "float64", "y must hold the labels .* not nan"),
    ):
        with pytest.raises(ValueError, match=sentence):
            loss(output, arr(backend, y, dtype), check=True)
    with pytest.raises(ValueError, match="sample_weight must be at least 0 everywhere, not -1"):
        xn.MSE()(z, z, arr(backend, [1.0, -1.0, 1.0]), check=True)
    with pytest.raises(ValueError, match="above 0 for at least one sample"):
        xn.MSE()(z, z, arr(backend, [0.0, 0.0, 0.0]), check=True)
    with pytest.raises(TypeError, match="check must be True or False, not 'no'"):
        xn.MSE()(z, z, check="no")


@pytest.mark.parametrize("loss", [xn.BCE(), xn.BCEWithLogits(), xn.CrossEntropy()], ids=repr)
def test_output_and_targets_that_have_changed_places_are_noticed(backend, loss):
    labels, output = arr(backend, LABELS), arr(backend, softmax(Z))
    loss(output, labels, check=True)
    with pytest.raises(ValueError, match=r"write loss\(output, y\), not loss\(y, output\)"):
        loss(labels, output, check=True)


def test_what_lies_on_the_host_is_looked_at_unasked(backend):
    z, y = arr(backend, Z), arr(backend, [0, 7, 1], "int64")
    if backend.on_host:
        with pytest.raises(ValueError, match="not 0 to 7"):
            xn.CrossEntropy()(z, y)
    else:
        xn.CrossEntropy()(z, y)
    assert np.isfinite(host(backend, xn.CrossEntropy()(z, y, check=False)))


def test_a_samplewise_loss_of_somebodys_own_counts_by_its_share(backend):
    class Mean(xn.Loss):  # takes the mean over the samples that are here, whatever its share
        samplewise = True

        def forward(self, xp, output, target, share):
            r = output - target
            return xp.mean(r * r, axis=(-2, -1)), lambda: 2 * r / r.shape[-2]

    class Shared(Mean):
        samplewise = True

        def forward(self, xp, output, target, share):
            r = output - target
            return share.mean(xp, r * r), lambda: 2 * r * share.each(r.shape[-1])

    net, x = xn.Sequential(xn.Linear(2, 1)), arr(backend, np.ones((6, 2)))
    y, options = arr(backend, np.arange(6.0)[:, None]), {"epochs": 3, "seed": 0}
    for members in (None, 3):
        with pytest.raises(ValueError, match=r"Mean: forward must count each sample by its share"):
            xn.fit(net, x, y, loss=Mean(), optimizer=xn.SGD(), members=members, **options)
        found, wanted = (
            xn.fit(net, x, y, loss=loss, optimizer=xn.SGD(), members=members, **options)
            for loss in (Shared(), xn.MSE())
        )
        bound = rounding(300, 10)
        assert_close(backend, found.theta, host(backend, wanted.theta), atol=bound)


def test_a_loss_that_takes_a_weight_is_told_of_its_share(backend):
    class Old(xn.MSE):
        def forward(self, xp, output, target, weight):
            return xp.sum(output), lambda: output

    net, x = xn.Sequential(xn.Linear(2, 1)), arr(backend, np.ones((6, 2)))
    y = arr(backend, np.ones((6, 1)))
    for train in (
        lambda: xn.fit(net, x, y, loss=Old(), optimizer=xn.SGD(), epochs=1, seed=0),
        lambda: net.value_and_grad(net.init(0, like=x), x, y, Old()),
    ):
        with pytest.raises(TypeError, match=r"Old.*: forward is given a share in place of weight"):
            train()


@pytest.mark.parametrize(
    ("layer", "loss", "cure"),
    [
        (xn.Sigmoid(), xn.BCEWithLogits(), "leave it out, or use BCE()"),
        (xn.Sigmoid(), xn.Hinge(), "leave it out, or use BCE()"),
        (xn.Softmax(), xn.CrossEntropy(), "leave it out"),
        (xn.Sequential(xn.Softmax()), xn.CrossEntropy(), "leave it out"),
        (
            xn.Sequential(xn.Sigmoid(), xn.Identity()),
            xn.BCEWithLogits(),
            "leave it out, or use BCE()",
        ),
        (xn.Sequential(xn.Softmax(), xn.Dropout(0.1)), xn.CrossEntropy(), "leave it out"),
    ],
)
def test_probabilities_where_a_loss_wants_what_comes_before_them_are_warned_of(layer, loss, cure):
    backend = xn.backends.get("numpy")
    x, count = np.random.default_rng(0).normal(size=(6, 3)), 2 if cure == "leave it out" else 1
    y = np.array([0, 1] * 3) if count == 2 else np.array([[0.0], [1.0]] * 3)

    def fit(*layers, of=loss):
        net = xn.Sequential(xn.Linear(3, count), *layers)
        xn.fit(net, arr(backend, x), y, loss=of, optimizer=xn.SGD(), epochs=1, seed=0)

    with pytest.warns(RuntimeWarning, match="wants numbers of either sign") as told:
        fit(layer)
    assert str(told[0].message).endswith(f", makes of them: {cure}.")
    assert told[0].filename == __file__
    fit()  # no warning, which would be an error here
    if count == 1:
        fit(layer, of=xn.BCE())
