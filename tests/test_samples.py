"""Samples dealt out, and brought to mean 0 and variance 1 by those that are trained on."""

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, host, library, rounding


def table(samples=40, features=3):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(samples, features)) * [1.0, 1e3, 1e-3] + [0.0, 1e6, 5.0]
    return x, rng.integers(0, 3, samples)


# ---- split


@pytest.mark.parametrize("stratify", [False, True])
def test_every_sample_goes_to_one_part_with_what_is_its_own(backend, stratify):
    x, y = np.arange(40.0)[:, None], np.arange(40) % 3
    parts = xn.split(
        arr(backend, x), arr(backend, y, "int64"), arr(backend, x[:, 0]),
        test=0.25, seed=4, stratify=stratify,
    )  # fmt: skip
    found = [host(backend, part) for part in parts]
    assert [len(part) for part in found] == [30, 10] * 3
    np.testing.assert_array_equal(np.sort(np.concatenate(found[:2]), axis=0), x)
    for i in range(2):
        np.testing.assert_array_equal(found[2 + i], found[i][:, 0] % 3)
        np.testing.assert_array_equal(found[4 + i], found[i][:, 0])
    x_train, x_test, *_ = xn.split(x, y, x[:, 0], test=10, seed=4, stratify=stratify)
    np.testing.assert_array_equal(found[0], x_train)  # the same for every library
    np.testing.assert_array_equal(found[1], x_test)
    assert not np.array_equal(xn.split(x, seed=5, test=10)[1], x_test)


@pytest.mark.parametrize("form", ["integers", "one column", "one-hot"])
def test_stratified_each_class_has_its_share_in_both_parts(backend, form):
    classes = np.repeat([0, 1, 2], [50, 21, 2])
    y = {
        "integers": arr(backend, classes, "int64"),
        "one column": arr(backend, classes[:, None]),
        "one-hot": arr(backend, np.eye(3)[classes]),
    }[form]
    y_test = host(backend, xn.split(arr(backend, np.arange(73.0)), y, stratify=True)[3])
    found = y_test.argmax(axis=1) if form == "one-hot" else y_test.reshape(-1)
    counts = np.bincount(found.astype(int), minlength=3)
    assert counts.sum() == 15
    np.testing.assert_array_less(np.abs(counts - np.array([50, 21, 2]) * 15 / 73), 1)
    assert counts.min() == 1


@pytest.mark.parametrize("dtype", ["U1", "S1", object])
@pytest.mark.parametrize("shape", [(73,), (73, 1)])
def test_texts_are_classes_too(dtype, shape):
    classes = np.repeat([0, 1, 2], [50, 21, 2])
    x, y = np.arange(73.0), np.array(["b", "a", "c"], dtype)[classes].reshape(shape)
    rows = xn.split(x, y, stratify=True)
    by_number = xn.split(x, np.array([1, 0, 2])[classes], stratify=True)
    np.testing.assert_array_equal(rows[1], by_number[1])
    np.testing.assert_array_equal(rows[3], y[rows[1].astype(int)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test": 0.0}, "test must be a finite number above 0 and below 1, not 0.0"),
        ({"test": 1.5}, "test must be a finite number above 0 and below 1, not 1.5"),
        ({"test": 40}, "test must leave samples to both parts of the 40 there are, not be 40"),
        ({"test": 0.001}, "test must leave samples to both parts"),
        ({"test": "0.2"}, "test must be a finite number"),
        ({"seed": "a"}, "seed must be"),
        ({"stratify": 1}, "stratify must be True or False, not 1"),
        ({"stratify": True, "y": None}, "stratify must be False without y"),
        ({"stratify": True, "y": np.linspace(0, 1, 40)}, "stratify must be False for y that holds"),
        ({"stratify": True, "y": np.arange(40)}, "stratify must be False where a class would be"),
        ({"stratify": True, "y": np.full((40, 2), "a")}, "stratify must be False for y that holds"),
        ({"stratify": True, "y": np.array(["a", 1] * 20, object)}, "stratify must be False for y"),
        ({"y": np.zeros(39)}, "y must have the .* samples of x"),
        ({"y": [0.0] * 40}, "y must be an array"),
    ],
)
def test_a_mistake_of_split_is_told(options, said):
    x, y = table()
    y = options.pop("y", y)
    with pytest.raises((TypeError, ValueError), match=f"^{said}"):
        xn.split(x, *([] if y is None else [y]), **options)


# ---- Standardize


def net(*before, features=3):
    return xn.Sequential(
        *before, xn.Standardize(features), xn.Linear(features, 5), xn.Tanh(), xn.Linear(5, 3)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_are_those_of_scikit_learn(backend, dtype, weighted):
    x, _ = table()
    x[:, 0] = 0.1  # constant: scale 1
    x = x.astype(dtype)
    weight = np.random.default_rng(0).integers(0, 3, 40).astype(dtype) if weighted else None
    scaler = library("sklearn.preprocessing").StandardScaler()
    scaler.fit(x.astype("float64"), sample_weight=weight)
    given = None if weight is None else arr(backend, weight, dtype)
    own = arr(backend, x, dtype)
    state = net().init_state(like=own, x=own, sample_weight=given)
    for name, wanted in (("mean", scaler.mean_), ("scale", scaler.scale_)):
        found = host(backend, state[f"0.{name}"], dtype=dtype, shape=(1, 3))[0]
        # Of the scale: rounding of the mean of 40 numbers, the 5 of which x is about, to each.
        np.testing.assert_allclose(
            found, wanted, rtol=rounding(40, 1, dtype), atol=rounding(40, 5, dtype) * 1e-3
        )
    assert state["0.scale"][0, 0] == 1


def test_what_varies_little_about_much_is_scaled_in_float32_too(backend):
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(2000, 10, 50_000), rng.normal(size=50_000)], axis=1).astype("float32")
    own = arr(backend, x, "float32")
    network = xn.Sequential(xn.Standardize(2), xn.Linear(2, 1))
    scale = host(backend, network.init_state(like=own, x=own)["0.scale"])
    # Sums of 256, in three levels, of distances that are known to an ulp of 2000.
    found = rounding(3 * 256, 1, "float32") + rounding(1, 2000, "float32") / 10
    np.testing.assert_allclose(scale[0], x.astype(float).std(axis=0), rtol=found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": np.nan}, "sample_weight must be at least 0 everywhere, not nan"),
        ({"weight": 0.0}, "sample_weight must be above 0 for at least one sample"),
        ({"x": 1e300}, r"what layer 0, Standardize\(features=3\), takes of x must hold finite"),
    ],
)
def test_what_statistics_cannot_be_taken_of_is_told(backend, change, said):
    x, y = table()
    x[:2] = change.get("x", 0.5) * np.array([[1], [-1]])
    weight = arr(backend, np.full(40, change.get("weight", 1.0)))
    with pytest.raises(ValueError, match=f"^{said}"):
        trained(backend, net(), x, arr(backend, y, "int64"), sample_weight=weight)


def trained(backend, network, x, y, **options):
    options = {"epochs": 8, "seed": 2, "optimizer": xn.Adam(0.05), **options}
    return xn.fit(network, arr(backend, x), y, loss=xn.CrossEntropy(), **options)


@pytest.mark.parametrize("options", [{}, {"members": 3, "block": 2}], ids=["one", "members"])
def test_a_model_has_the_statistics_of_what_it_was_trained_on(backend, options):
    x, y = table()
    target = arr(backend, y, "int64")
    model = trained(backend, net(), x, target, batch_size=16, **options)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    plain = xn.Sequential(xn.Linear(3, 5), xn.Tanh(), xn.Linear(5, 3))
    alike = trained(backend, plain, z, target, batch_size=16, **options)
    # 24 steps of some 20 roundings of numbers of about 1, to which x has 5e3 ulp more: 5 of 1e-3.
    atol = rounding(24 * 20, 1) * 5e3
    assert_close(backend, model.theta, host(backend, alike.theta), atol=atol)
    other = x[:7] * 1.5  # up to 2.5e3 in units of the scale
    output = host(backend, alike(arr(backend, (other - x.mean(axis=0)) / x.std(axis=0))))
    assert_close(backend, model(arr(backend, other)), output, atol=atol * 2.5e3)
    mean = host(backend, model.layer_state["0.mean"])
    np.testing.assert_allclose(mean, np.broadcast_to(x.mean(axis=0), mean.shape), rtol=1e-14)


def test_going_on_keeps_the_statistics(backend):
    x, y = table()
    target = arr(backend, y, "int64")
    whole = trained(backend, net(), x, target)
    half = trained(backend, net(), x, target, epochs=4)
    rest = {"theta": half.theta, "state": half.state, "layer_state": half.layer_state}
    after = trained(backend, net(), x, target, epochs=4, seed=None, **rest)
    assert_equal(backend, after.theta, host(backend, whole.theta))


def test_members_with_samples_of_their_own_have_statistics_of_their_own(backend):
    x, y = table()
    own = np.stack([x, x * 2 + 1])
    target = arr(backend, y, "int64")
    many = trained(backend, net(), own, target, members=2)
    for i in range(2):
        one = trained(backend, net(), own[i], target, seed=2 + i)
        for name, array in one.layer_state.items():
            assert_close(backend, many.layer_state[name][i, ...], host(backend, array), atol=1e-9)


def test_behind_flatten_and_samples_of_weight_0_do_not_count(backend):
    x, y = table()
    x[3] = 1e9
    weight = np.ones(40)
    weight[3] = 0
    network = xn.Sequential(xn.Flatten(3, 1), *net().layers)
    model = xn.fit(
        network, arr(backend, x[..., None]), arr(backend, y, "int64"), loss=xn.CrossEntropy(),
        optimizer=xn.SGD(0.1), epochs=1, seed=0, sample_weight=arr(backend, weight),
    )  # fmt: skip
    kept = np.delete(x, 3, axis=0)
    np.testing.assert_allclose(
        host(backend, model.layer_state["1.mean"])[0], kept.mean(axis=0), rtol=1e-14
    )


def test_it_stands_first():
    with pytest.raises(
        ValueError, match=r"layer 1, Standardize\(features=5\) must be the first layer"
    ):
        xn.Sequential(xn.Linear(3, 5), xn.Standardize(5))


def test_a_large_batch_is_split_over_threads_with_it():
    x = np.random.default_rng(0).normal(size=(2048, 64)).astype("float32")
    y = np.arange(2048) % 3
    network = xn.Sequential(xn.Standardize(64), xn.Linear(64, 256), xn.ReLU(), xn.Linear(256, 3))
    options = {"loss": xn.CrossEntropy(), "optimizer": xn.Adam(), "batch_size": 1024}
    assert xn.explain(network, x, y, threads=2, **options).threads == 2
    models = [xn.fit(network, x, y, epochs=2, seed=0, threads=n, **options) for n in (1, 2)]
    # 4 steps: sums of 1024 terms in two parts, which lr makes steps of.
    assert_close(
        xn.backends.get("numpy"), models[1].theta, models[0].theta,
        atol=rounding(4 * 1024, 1e-2, "float32"), dtype="float32",
    )  # fmt: skip
