"""Metrics: as scikit-learn has them, of each member, weighted; monitored; confusion."""

from dataclasses import dataclass

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_equal, host, library, rounding
from xpnet import metrics
from xpnet.losses import Share

# array-api-strict checks each call, and takes most of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")

SAMPLES = 60


def outputs(rng, count, ties):
    """Outputs of which some are equal, if they are to be."""
    found = rng.normal(size=(SAMPLES, count))
    return np.round(found, 1) if ties else found


def model_of(backend, loss, output, members=None):
    """A model that gives this output for the numbers of the samples: a table."""
    count = output.shape[-1]
    net = xn.Sequential(xn.Embedding(SAMPLES, count))
    shape = (-1,) if members is None else (members, SAMPLES * count)
    x = arr(backend, np.arange(SAMPLES, dtype=float)[:, None])
    return xn.Model(net, arr(backend, output.reshape(shape)), loss), x


def sklearn_says(loss, output, y, weight):
    """What scikit-learn has for them."""
    sk = library("sklearn.metrics")
    more = {"sample_weight": weight}
    if isinstance(loss, xn.CrossEntropy):
        p = np.exp(output) / np.exp(output).sum(axis=-1, keepdims=True)
        said, labels = output.argmax(axis=-1), np.arange(output.shape[-1])
        return {
            "accuracy": sk.accuracy_score(y, said, **more),
            "balanced_accuracy": sk.balanced_accuracy_score(y, said, **more),
            "f1": sk.f1_score(y, said, average="macro", **more),
            "auc": sk.roc_auc_score(y, p, multi_class="ovr", labels=labels, **more),
            "log_loss": sk.log_loss(y, p, labels=labels, **more),
            "top_2": sk.top_k_accuracy_score(y, output, k=2, labels=labels, **more),
        }
    if isinstance(loss, xn.BCEWithLogits):
        y, output = y[:, 0], output[:, 0]
        said, p = output > 0, 1 / (1 + np.exp(-output))
        return {
            "accuracy": sk.accuracy_score(y, said, **more),
            "balanced_accuracy": sk.balanced_accuracy_score(y, said, **more),
            "f1": sk.f1_score(y, said, **more),
            "auc": sk.roc_auc_score(y, output, **more),
            "log_loss": sk.log_loss(y, p, **more),
        }
    return {
        "r2": sk.r2_score(y, output, **more),
        "mae": sk.mean_absolute_error(y, output, **more),
        "mse": sk.mean_squared_error(y, output, **more),
    }


CASES = {
    "classes": (xn.CrossEntropy(), 4),
    "two": (xn.BCEWithLogits(), 1),
    "numbers": (xn.MSE(), 2),
}


def targets(rng, loss, count):
    if isinstance(loss, xn.CrossEntropy):
        return rng.integers(0, count, SAMPLES)
    return rng.integers(0, 2, (SAMPLES, 1)) if loss.classifies else rng.normal(size=(SAMPLES, 2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_scikit_learn(backend, case, ties, weighted):
    loss, count = CASES[case]
    rng = np.random.default_rng(3)
    output, y = outputs(rng, count, ties), targets(rng, loss, count)
    weight = rng.integers(0, 4, SAMPLES).astype(float) if weighted else None
    expected = sklearn_says(loss, output, y, weight)
    if ties and case == "classes":  # of equals it takes the last, and a prediction the first
        del expected["top_2"]
    model, x = model_of(backend, loss, output)
    asked = [metrics.TopK(2) if name == "top_2" else name for name in expected]
    dtype = "int64" if isinstance(loss, xn.CrossEntropy) else "float64"
    given = None if weight is None else arr(backend, weight)
    found = model.evaluate(x, arr(backend, y, dtype), given, metrics=asked)
    assert list(found) == ["loss", *expected]
    for name, value in expected.items():
        assert isinstance(found[name], float)
        scale = 10 if name == "log_loss" else 1
        np.testing.assert_allclose(found[name], value, atol=rounding(20 * SAMPLES, scale))


@pytest.mark.parametrize("case", CASES)
def test_each_member_has_its_own(backend, case):
    loss, count = CASES[case]
    rng = np.random.default_rng(5)
    output, y = rng.normal(size=(3, SAMPLES, count)), targets(rng, loss, count)
    target = arr(backend, y, "int64" if isinstance(loss, xn.CrossEntropy) else "float64")
    names = [n for n, one in metrics.NAMED.items() if (one.of == "numbers") != loss.classifies]

    def largest(y, predicted):
        assert tuple(predicted.shape) == (y.shape if case != "classes" else (SAMPLES,))
        return backend.xp.max(backend.xp.astype(predicted, backend.xp.float64))

    many, x = model_of(backend, loss, output, 3)
    found = many.evaluate(x, target, metrics=[*names, largest])
    for i in range(3):
        alone = many.member(i).evaluate(x, target, metrics=[*names, largest])
        for name, values in found.items():
            np.testing.assert_allclose(values[i], alone[name], atol=rounding(20 * SAMPLES, 10))


def test_outputs_that_are_0_or_1_each_are_judged_each(backend):
    rng = np.random.default_rng(9)
    output, y = rng.normal(size=(SAMPLES, 3)), rng.integers(0, 2, (SAMPLES, 3))
    names = ["balanced_accuracy", "f1", "auc", "log_loss"]
    model, x = model_of(backend, xn.BCEWithLogits(), output)
    found = model.evaluate(x, arr(backend, y), metrics=names)
    alone = []
    for j in range(3):
        one, x = model_of(backend, xn.BCEWithLogits(), output[:, j : j + 1])
        alone.append(one.evaluate(x, arr(backend, y[:, j : j + 1]), metrics=names))
    for name in names:
        mean = np.mean([each[name] for each in alone])
        np.testing.assert_allclose(found[name], mean, atol=rounding(20 * SAMPLES, 10))


def test_of_equal_outputs_the_first_is_among_the_greatest(backend):
    model, x = model_of(backend, xn.CrossEntropy(), np.zeros((SAMPLES, 4)))
    y = arr(backend, np.arange(SAMPLES) % 4, "int64")
    found = model.evaluate(x, y, metrics=[metrics.TopK(1), metrics.TopK(3)])
    assert found["top_1"] == found["accuracy"] == 0.25
    assert found["top_3"] == 0.75


def test_classes_that_are_not_there_do_not_count(backend):
    output = np.eye(4)[np.arange(SAMPLES) % 2]
    y = arr(backend, np.arange(SAMPLES) % 2, "int64")
    model, x = model_of(backend, xn.CrossEntropy(), output)
    found = model.evaluate(x, y, metrics=["balanced_accuracy", "f1", "auc"])
    assert found["balanced_accuracy"] == found["f1"] == found["auc"] == 1
    alone = model.evaluate(x, arr(backend, np.zeros(SAMPLES), "int64"), metrics=["auc"])
    assert np.isnan(alone["auc"])


def test_r2_of_what_is_constant_is_1_if_it_is_met_else_0(backend):
    output = np.stack([np.full(SAMPLES, 2.0), np.arange(SAMPLES, dtype=float)], axis=-1)
    model, x = model_of(backend, xn.MSE(), output)
    assert model.evaluate(x, arr(backend, np.full((SAMPLES, 2), 2.0)))["r2"] == 0.5


def many_rows(rng, count, columns):
    """Rows of float32 about 1000, more than can be added one by one without losing digits."""
    return rng.normal(1000, 1, (count, columns)).astype("float32")


def test_digits_of_float32_are_not_lost_in_many_rows(backend):
    """Bounds: sums of 256 terms, of which each level rounds, relative to what is added."""
    rng, count = np.random.default_rng(0), 200_000
    y = many_rows(rng, count, 2)
    said = y + rng.normal(size=y.shape).astype("float32")
    net = xn.Sequential(xn.Linear(2, 2))
    eye = {"0.W": np.eye(2), "0.b": np.zeros((1, 2))}
    theta = net.flatten({name: arr(backend, a, "float32") for name, a in eye.items()})
    model = xn.Model(net, theta, xn.MSE())
    found = model.evaluate(arr(backend, said, "float32"), arr(backend, y, "float32"))
    exact = library("sklearn.metrics").r2_score(y.astype(float), said.astype(float))
    np.testing.assert_allclose(found["r2"], exact, atol=rounding(3 * 256, 2, "float32"))
    same = arr(backend, np.full((count, 2), 0.1), "float32")  # constant, and missed
    assert model.evaluate(arr(backend, said, "float32"), same)["r2"] == 0
    labels = np.arange(count)[:, None] % np.array([2, 3]) == 0
    apart = arr(backend, np.where(labels, 2.0, -2.0), "float32")
    model = xn.Model(net, theta, xn.BCEWithLogits())
    area = model.evaluate(apart, arr(backend, labels, "float32"), metrics=["auc"])["auc"]
    np.testing.assert_allclose(area, 1, atol=rounding(3 * 256, 1, "float32"))


def test_an_output_that_is_no_number_has_no_area(backend):
    output = arr(backend, [[np.nan], [1.0], [2.0], [np.nan]])
    truth = backend.xp.asarray([[True], [False], [False], [True]], device=backend.device)
    judged = metrics.Judged(backend.xp, xn.BCEWithLogits(), output, truth, None)
    assert np.isnan(host(backend, metrics.AUC().value(judged)))


def test_one_that_is_never_a_number_is_told_where_patience_ends(backend):
    y = arr(backend, np.zeros(30), "int64")
    with pytest.warns(RuntimeWarning, match="patience ended .* val_auc was never a number"):
        model, _ = trained(backend, xn.CrossEntropy(), y, monitor="val_auc", patience=2)
    assert model.history.best_epoch == 0


def test_metrics_of_ones_own_need_no_hash_and_are_tried_out_first(backend):
    @dataclass
    class Twice(metrics.Metric):
        name: str = "twice"
        fails: bool = False

        def value(self, judged):
            if self.fails:
                raise ZeroDivisionError("in twice")
            return 2 * judged.loss.accuracy(
                judged.xp, judged.output, judged.target, Share(judged.output.shape[-2])
            )

    y = classes(backend)
    model, _ = trained(backend, xn.CrossEntropy(), y, metrics=[Twice()])
    twice = 2 * model.history.val_accuracy
    np.testing.assert_allclose(model.history.val_twice, twice, atol=rounding(10, 2))
    with pytest.raises(ZeroDivisionError, match="in twice"):
        trained(backend, xn.CrossEntropy(), y, metrics=[Twice(fails=True)], check_every=10**6)


def test_a_history_has_what_was_asked_though_nobody_came_to_a_check(backend):
    with pytest.warns(RuntimeWarning, match="became NaN or"):
        model, _ = trained(
            backend, xn.L1(), arr(backend, np.full((30, 3), 1.0)), members=2, metrics=["r2"],
            optimizer=xn.SGD(1e308), monitor="val_r2",
        )  # fmt: skip
    assert "val_r2" in model.history.names


def trained(backend, loss, y, epochs=6, **options):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 30, 3))
    train, held = (arr(backend, part) for part in x)
    net = xn.Sequential(xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 3))
    options = {"seed": 1, "optimizer": xn.Adam(0.05), "validation": (held, y), **options}
    return xn.fit(net, train, y, loss=loss, epochs=epochs, **options), held


def classes(backend):
    return arr(backend, np.random.default_rng(4).integers(0, 3, 30), "int64")


@pytest.mark.parametrize("options", [{}, {"members": 5, "block": 2}], ids=["one", "members"])
def test_fit_looks_at_them_and_restores_the_best(backend, options):
    y = classes(backend)

    def missed(y, predicted):
        return backend.xp.count_nonzero(y != predicted)

    asked = ["f1", metrics.TopK(2), metrics.Function(missed, greater=False)]
    options = {"batch_size": 16, "metrics": asked, **options}
    for monitor, way in (("val_auc", np.argmax), ("val_missed", np.argmin)):
        model, held = trained(backend, xn.CrossEntropy(), y, monitor=monitor, **options)
        history = model.history
        values = getattr(history, monitor)
        assert list(history.val_metrics) == [
            "val_f1", "val_top_2", "val_missed", *["val_auc"] * (monitor == "val_auc")
        ]  # fmt: skip
        best = way(values, axis=0)
        np.testing.assert_array_equal(history.best_epoch, history.val_epochs[best])
        again = model.evaluate(held, y, metrics=[*asked, "auc"])
        at_best = values[best] if model.members is None else values[best, np.arange(5)]
        np.testing.assert_allclose(again[monitor[4:]], at_best, atol=rounding(2000, 1))
        if model.members is not None:
            np.testing.assert_array_equal(history.last(monitor), at_best)
            first = int(way(at_best))
            assert model.best().history.member == first
            assert_equal(backend, model.best().theta, host(backend, model.theta)[first])


def test_they_change_nothing_of_the_training(backend):
    y = classes(backend)
    plain, _ = trained(backend, xn.CrossEntropy(), y, restore_best=False, metrics=[])
    asked, _ = trained(backend, xn.CrossEntropy(), y, restore_best=False, metrics=["auc", "f1"])
    assert_equal(backend, asked.theta, host(backend, plain.theta))
    np.testing.assert_array_equal(asked.history.val_loss, plain.history.val_loss)


def test_members_have_targets_and_weights_of_their_own(backend):
    rng = np.random.default_rng(6)
    y = arr(backend, rng.integers(0, 3, (4, 30)), "int64")
    weight = arr(backend, rng.integers(1, 3, (4, 30)).astype(float))

    def hits(y, predicted, sample_weight):
        xp = backend.xp
        return xp.sum(sample_weight * xp.astype(y == predicted, xp.float64)) / xp.sum(sample_weight)

    def held(x):
        return x, y, weight

    x = arr(backend, rng.normal(size=(30, 3)))
    net = xn.Sequential(xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 3))
    model = xn.fit(
        net, x, y, loss=xn.CrossEntropy(), optimizer=xn.Adam(0.1), epochs=30, members=4, seed=0,
        block=2, acc_goal=0.6, validation=held(x), metrics=[hits], restore_best=False,
    )  # fmt: skip
    history = model.history
    assert history.stop.any()  # members leave, and others close ranks
    np.testing.assert_allclose(
        history.val_hits, history.val_accuracy, atol=rounding(200, 1), equal_nan=True
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": "auc"}, r"metrics must be a list of names, .*; write \['auc'\]"),
        ({"metrics": ["acc"]}, r"metrics\[0\] must be one of balanced_accuracy, .*, not 'acc'"),
        (
            {"metrics": ["r2"]},
            r"metrics\[0\] must be one that CrossEntropy\(\) has, which predicts",
        ),
        ({"metrics": [metrics.F1]}, r"metrics\[0\] must be a name, .*; write F1\(\)"),
        ({"metrics": [3]}, r"metrics\[0\] must be a name, a metric such as TopK\(3\), or a func"),
        ({"metrics": ["f1", "f1"]}, r"metrics\[1\] must have another name .*, not 'f1'"),
        (
            {"metrics": [metrics.Function(max, name="epochs")]},
            r"metrics\[0\] must have another name than loss, accuracy, epochs, .*, not 'epochs'",
        ),
        ({"metrics": [metrics.TopK(3)]}, r"k must be below the number of classes .*3 classes"),
        ({"metrics": ["f1"], "validation": None}, "validation must be given with metrics"),
        ({"metrics": [max], "monitor": "val_max"}, r"monitor .*use xpnet.metrics.Function\(max, g"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(backend, options, said):
    with pytest.raises((TypeError, ValueError), match=f"^{said}"):
        trained(backend, xn.CrossEntropy(), classes(backend), **options)


def test_a_function_returns_a_number(backend):
    y = classes(backend)
    with pytest.raises(TypeError, match="the metric parts must return a number, not 'much'"):
        trained(
            backend,
            xn.CrossEntropy(),
            y,
            metrics=[metrics.Function(lambda *_: "much", name="parts")],
        )


def test_evaluate_needs_a_loss_and_outputs_that_are_numbers(backend):
    model, x = model_of(backend, None, np.ones((SAMPLES, 1)))
    with pytest.raises(TypeError, match="evaluate needs a model with a loss"):
        model.evaluate(x, x)
    model, x = model_of(backend, xn.MSE(), np.full((SAMPLES, 1), np.nan))
    with pytest.raises(ValueError, match="theta must give outputs that are numbers"):
        model.evaluate(x, x)


def test_a_confusion_matrix_counts_who_is_taken_for_whom(backend):
    rng = np.random.default_rng(8)
    y, predicted = rng.integers(0, 3, 50), rng.integers(0, 3, (2, 50))
    expected = np.zeros((2, 4, 4), dtype=int)
    for i in range(2):
        np.add.at(expected[i], (y, predicted[i]), 1)
    found = metrics.confusion_matrix(
        arr(backend, y, "int64"), arr(backend, predicted, "int64"), classes=4
    )
    np.testing.assert_array_equal(host(backend, found), expected)
    two = arr(backend, [[0.0], [1.0], [1.0]])
    said = arr(backend, [[1], [1], [0]], "int64")
    np.testing.assert_array_equal(
        host(backend, metrics.confusion_matrix(two, said)), [[0, 1], [1, 1]]
    )
    with pytest.raises(ValueError, match="classes must be above the greatest of y, 2, not 2"):
        metrics.confusion_matrix(arr(backend, y, "int64"), arr(backend, y, "int64"), 2)
    with pytest.raises(ValueError, match="y must hold whole numbers from 0"):
        metrics.confusion_matrix(two * 0.5, said)
    with pytest.raises(ValueError, match="y and predicted must hold one class a sample"):
        metrics.confusion_matrix(arr(backend, y, "int64"), said)
