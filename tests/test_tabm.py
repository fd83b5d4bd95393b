"""Layers for tables: TabM's networks that share weights, numbers as vectors, columns of kinds."""

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, host, rounding
from xpnet import backends
from xpnet.moments import quantiles
from xpnet.tables.network import table_network
from xpnet.testing import check_layer

RNG = np.random.default_rng(7)
NUMBERS = RNG.normal(size=(12, 3))
MIXED = np.concatenate([NUMBERS, RNG.integers(0, 3, (12, 2))], axis=1)


def table(k=3):
    """A network for two numbers and a category: TabM over embeddings."""
    return xn.Sequential(
        xn.Columns(
            xn.Sequential(xn.RobustScale(2), xn.PiecewiseLinearEmbedding(2, 4, bins=3)),
            xn.Embedding(3, 2),
        ),
        xn.Repeat(10, k),
        xn.LinearBatchEnsemble(10, 5, k, first_init="signs", groups=(4, 4, 2)),
        xn.ReLU(),
        xn.LinearEnsemble(5, 2, k),
    )


def samples(backend, n=40, dtype="float64"):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(n, 2)), rng.integers(0, 3, (n, 1))], axis=1)
    return arr(backend, x, dtype), arr(backend, (x[:, 0] > x[:, 2] - 1).astype("int64"), "int64")


COMPILES = pytest.mark.slow_on("jax")  # which takes seconds to compile each


@COMPILES
@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (xn.RobustScale(3), NUMBERS),
        (xn.RobustScale(3, clip=None), NUMBERS),
        (xn.PiecewiseLinearEmbedding(3, 2, bins=4), NUMBERS),
        (xn.Columns(xn.PiecewiseLinearEmbedding(3, 2, bins=2), xn.Embedding(3, 2, 2)), MIXED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, xn.Layer) else "",
)
def test_a_layer_with_statistics_is_what_a_layer_is(backend, layer, x):
    check_layer(layer, x, backends=[backend.name])


def test_quantiles_are_those_of_numpy_and_a_weight_is_a_count(backend):
    rng, levels = np.random.default_rng(0), (0, 0.1, 0.25, 0.5, 0.75, 1)
    for n in (1, 5, 48):
        x, count = rng.normal(size=(n, 3)).round(1), rng.integers(0, 3, n)
        count[0] = 1
        weight = count[:, None] / count.mean()
        for one, weights in ((x, None), (np.repeat(x, count, axis=0), arr(backend, weight))):
            with backend.context():
                found = quantiles(backend.xp, arr(backend, x), weights, levels)
            true = np.quantile(one, levels, axis=0, method="averaged_inverted_cdf")
            found = np.concatenate([host(backend, values) for values in found])
            np.testing.assert_allclose(found, true, rtol=0, atol=rounding(2, true))


def test_robust_scaling_is_that_of_the_training_part_whatever_its_outliers(backend):
    x = np.array([[0.0, 5, 0], [1, 5, 0], [2, 5, 0], [3, 5, 0], [1e6, 5, 4]])
    net = xn.Sequential(xn.RobustScale(3), xn.Linear(3, 1))
    state = net.init_state(like=arr(backend, x), x=arr(backend, x))
    assert_close(backend, state["0.median"], [[2, 5, 0]], atol=0)
    # Quartiles 2 apart; constant; quartiles equal, from 0 to 4.
    assert_close(backend, state["0.spread"], [[2, 1, 2]], atol=0)
    with backend.context():
        y = net[0].apply(backend.xp, (), arr(backend, x), tuple(state.values()))
    z = (x - [2, 5, 0]) / [2, 1, 2]
    assert_close(backend, y, z / np.sqrt(1 + (z / 3) ** 2), atol=rounding(8, 3))


def test_the_pieces_of_a_number_are_how_much_of_each_bin_lies_below_it(backend):
    layer = xn.PiecewiseLinearEmbedding(2, 3, bins=3)
    net = xn.Sequential(layer, xn.Linear(6, 1))
    x = np.array([[0.0, 0], [1, 0], [4, 0], [9, 1]])  # the second has one bin of some width
    state = net.init_state(like=arr(backend, x), x=arr(backend, x))
    low, slope = (host(backend, state[f"0.{name}"]) for name in ("low", "slope"))
    edges = np.quantile(x, np.arange(4) / 3, axis=0, method="averaged_inverted_cdf").T
    np.testing.assert_array_equal(low, edges[:, :-1])
    assert (slope[1] > 0).sum() == 1
    rng = np.random.default_rng(1)
    weight, bias, W = (rng.normal(size=shape) for shape in layer.parameters().values())
    points = np.array([[-1.0, 0.5], [0.5, -2], [5, 2]])
    with backend.context():
        y = layer.apply(
            backend.xp,
            tuple(arr(backend, a) for a in (weight, bias, W)),
            arr(backend, points),
            tuple(state.values()),
        )
    pieces = np.clip((points[..., None] - low) * slope, 0, 1)
    expected = points[..., None] * weight + bias
    expected += np.einsum("sft,fdt->sfd", pieces, W.reshape(2, 3, 3))
    assert_close(backend, y, expected.reshape(3, 6), atol=rounding(12, expected))


def test_submodels_are_networks_with_weights_of_rank_one_apart(backend):
    k, rng = 3, np.random.default_rng(2)
    net = xn.Sequential(
        xn.Repeat(4, k), xn.LinearBatchEnsemble(4, 5, k), xn.Tanh(), xn.LinearEnsemble(5, 2, k)
    )
    theta, x = rng.normal(size=net.size), rng.normal(size=(6, 4))
    y = host(backend, net(arr(backend, theta), arr(backend, x)))
    W, r, s, b, last, c = net.unflatten(theta).values()
    one = xn.Sequential(xn.Linear(4, 5), xn.Tanh(), xn.Linear(5, 2))
    for i in range(k):
        own = {"0.W": W * s[i][:, None] * r[i], "0.b": b[i : i + 1]}
        own |= {"2.W": last[2 * i : 2 * i + 2], "2.b": c[:, 2 * i : 2 * i + 2]}
        alone = one(one.flatten(own), x)
        np.testing.assert_allclose(y[:, 2 * i : 2 * i + 2], alone, rtol=0, atol=rounding(40, alone))


LOSSES = {
    "CrossEntropy": (xn.CrossEntropy(0.1), 3),
    "BCEWithLogits": (xn.BCEWithLogits(), 1),
    "Hinge": (xn.Hinge(), 1),
    "MSE": (xn.MSE(), 2),
    "Poisson": (xn.Poisson(), 1),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_an_ensemble_is_the_mean_of_its_losses_and_the_mean_predicts(backend, name):
    loss, outputs = LOSSES[name]
    k, n, rng = 4, 10, np.random.default_rng(4)
    output = rng.normal(size=(n, k * outputs))
    y = rng.integers(0, 3, n) if outputs == 3 else rng.integers(0, 2, (n, outputs))
    y, weight = arr(backend, y, "int64"), arr(backend, rng.uniform(0.5, 2, n))
    each = [arr(backend, output[:, i * outputs : (i + 1) * outputs]) for i in range(k)]
    ours = xn.EnsembleLoss(loss, k)
    expected = np.mean([host(backend, loss(one, y, weight)) for one in each])
    assert_close(backend, ours(arr(backend, output), y, weight), expected, atol=1e-14)
    with backend.context():
        xp = backend.xp
        if loss.classifies and loss.probabilistic:
            p = np.mean([host(backend, loss.probabilities(xp, one)) for one in each], axis=0)
            found = ours.probabilities(xp, arr(backend, output))
            assert_close(backend, found, p, atol=rounding(8, 1))
            classes = p.argmax(-1) if outputs > 1 else (p > 0.5)
        elif loss.classifies:
            classes = np.mean([host(backend, one) for one in each], axis=0) > 0
        else:
            p = np.mean([host(backend, loss.predict(xp, one)) for one in each], axis=0)
            found = ours.predict(xp, arr(backend, output))
            assert_close(backend, found, p, atol=rounding(8, p))
            return
        predicted = host(backend, ours.predict(xp, arr(backend, output)))
        np.testing.assert_array_equal(predicted, classes)
        target = ours.prepare(backend, output.shape, y, xp.float64)
        hits = host(backend, ours.hits(xp, arr(backend, output), target))
        right = classes == host(backend, y)
        np.testing.assert_array_equal(hits.reshape(right.shape), right)


@COMPILES
def test_a_training_goes_by_the_numbers_of_a_plain_loop_with_members_and_weights(backend):
    x, y = samples(backend)
    net, loss, adam = table(), xn.EnsembleLoss(xn.CrossEntropy(), 3), xn.Adam(lr=0.01)
    weight = arr(backend, np.linspace(0, 2, 40))
    options = {"loss": loss, "optimizer": adam, "seed": 0, "members": 2, "sample_weight": weight}
    model = xn.fit(net, x, y, epochs=5, **options)
    theta = net.init(0, like=x, members=2)
    state = net.init_state(like=x, members=2, x=x, sample_weight=weight)
    slots = adam.init(theta)

    def step(xp, theta, slots, state):
        _, grad, state = net.value_and_grad(theta, x, y, loss, weight, state=state)
        return *adam.update(theta, grad, slots), state

    step = backend.as_one(step)  # JAX would compile each of its operations
    for _ in range(5):
        theta, slots, state = step(backend.xp, theta, slots, state)
    assert_close(backend, model.theta, host(backend, theta), atol=1e-9)
    for name, array in state.items():
        assert_close(backend, model.layer_state[name], host(backend, array), atol=1e-12)
    assert tuple(model.predict_proba(x).shape) == (2, 40, 2)
    alone = model.member(1)
    expected = host(backend, model.predict_proba(x))[1]
    assert_close(backend, alone.predict_proba(x), expected, atol=rounding(40, 1))


@COMPILES
def test_a_network_for_a_table_is_saved_and_loaded(backend, tmp_path):
    x, y = samples(backend, dtype="float32")
    model = xn.fit(
        table(), x, y, loss=xn.EnsembleLoss(xn.CrossEntropy(), 3), optimizer=xn.Adam(), epochs=2,
        seed=0, batch_size=16,
    )  # fmt: skip
    model.save(tmp_path / "m.safetensors")
    there = [d for d in backend.devices() if backends.get(backend.name, d).device == backend.device]
    again = xn.load(tmp_path / "m.safetensors", backend=backend.name, device=there[0])
    assert again.network == model.network and again.loss == model.loss
    np.testing.assert_array_equal(
        host(backend, again.predict_proba(x)), host(backend, model.predict_proba(x))
    )


@pytest.mark.parametrize("architecture", ["mlp", "tabm"])
@pytest.mark.parametrize("embedding", [None, "piecewise", "periodic"])
def test_a_network_for_a_table_is_of_its_columns(architecture, embedding):
    net = table_network(
        2, (3, 20), 4, hidden=(6, 5), architecture=architecture, k=3,
        numerical_embedding=embedding, embedding_dim=4, bins=2, dropout=0.5,
    )  # fmt: skip
    assert net.in_features == 4
    assert net.out_features == (12 if architecture == "tabm" else 4)
    vectors = 2 * (4 if embedding else 1) + 3 + 8
    assert net[0].out_features == vectors
    assert table_network(0, (3,), 1, hidden=()).in_features == 1


def test_submodels_begin_apart_by_signs_or_numbers_of_whole_embeddings():
    layer = xn.LinearBatchEnsemble(5, 2, 4, "signs", (3, 2))
    _, r, s, b = layer.draw(np.random.default_rng(0))
    assert set(r.ravel()) == {-1.0, 1.0} and (s == 1).all() and (b == b[0]).all()
    assert (r[:, :3] == r[:, :1]).all() and (r[:, 3:] == r[:, 3:4]).all()
    r = xn.LinearBatchEnsemble(5, 2, 4, "normal").draw(np.random.default_rng(0))[1]
    assert len(set(r.ravel())) == 20
    assert (xn.LinearBatchEnsemble(5, 2, 4).draw(np.random.default_rng(0))[1] == 1).all()


def test_mistakes_are_told():
    with pytest.raises(ValueError, match=r"layer 1, PiecewiseLinear.*must be the first layer"):
        xn.Sequential(xn.Linear(2, 2), xn.PiecewiseLinearEmbedding(2))
    with pytest.raises(ValueError, match=r"layer 1, Embedding.*must be the first layer"):
        xn.Sequential(xn.RobustScale(1), xn.Embedding(2, 2))
    with pytest.raises(ValueError, match=r"layer 0 of Columns, ReLU\(\), must say how many"):
        xn.Columns(xn.ReLU())
    with pytest.raises(ValueError, match="groups must be the 3 features of fan_in together, not 2"):
        xn.LinearBatchEnsemble(3, 2, 2, groups=(1, 1))
    net = xn.Sequential(xn.Columns(xn.RobustScale(1), xn.Embedding(2, 2)), xn.Linear(3, 2))
    x, y = np.array([[0.5, 1], [0.5, 2]]), np.array([0, 1])
    with pytest.raises(ValueError, match=r"x must hold ids for Embedding.*from 0 to 1, not 2"):
        xn.fit(net, x, y, loss=xn.CrossEntropy(), optimizer=xn.Adam(), epochs=1)
    x[1, 1] = 0
    with pytest.raises(ValueError, match="k must divide the 2 outputs of the network"):
        xn.fit(net, x, y, loss=xn.EnsembleLoss(xn.CrossEntropy(), 3), optimizer=xn.Adam(), epochs=1)
