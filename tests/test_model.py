"""`Model`: a network with its parameters, which can be read, set, copied and asked."""

import copy

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import (
    arr,
    assert_close,
    assert_equal,
    host,
    report_network,
    rounding,
    unpickled,
    xor,
)

NET = xn.Sequential(xn.Linear(2, 3), xn.Sequential(xn.Tanh(), xn.Linear(3, 1)))


@pytest.fixture
def model(backend):
    """A model that has been trained for three epochs."""
    x, y = xor(backend)
    return xn.fit(NET, x, y, loss=xn.BCEWithLogits(), optimizer=xn.Adam(), epochs=3, seed=0)


def test_layers_print_as_in_the_report_and_give_their_parameters(backend, model):
    assert repr(model[0]) == "<Linear W: (3, 2) b: (1, 3)>"
    theta = host(backend, model.theta)
    assert_equal(backend, model[0].W, theta[:6].reshape(3, 2))
    assert_equal(backend, model[0].b, theta[6:9].reshape(1, 3))
    assert_equal(backend, model[1][1].W, theta[9:12].reshape(1, 3))
    assert_equal(backend, model[-1][-1].b, theta[12:].reshape(1, 1))
    assert model[0].in_features == 2
    assert len(model) == 2
    assert [repr(layer) for layer in model] == [repr(layer) for layer in NET]
    assert list(model.named_parameters()) == list(NET.parameters())


def test_the_state_of_a_layer_is_read_where_its_parameters_are(backend):
    net = xn.Sequential(xn.Linear(2, 3), xn.Sequential(xn.BatchNorm(3), xn.Linear(3, 1)))
    x, y = xor(backend)
    model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.Adam(), epochs=3, seed=0)
    norm = model[1][0]
    assert_equal(backend, norm.mean, host(backend, model.layer_state["1.0.mean"]))
    assert {"weight", "bias", "mean", "var"} <= set(dir(norm))
    with pytest.raises(AttributeError, match="mean is no parameter of BatchNorm"):
        norm.mean = 0.0


def test_what_is_set_is_read_and_changes_theta_there_alone(backend, model):
    before = np.array(host(backend, model.theta))
    model[0].W = arr(backend, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    model[1][1].b = [[7.0]]  # values of the host are brought to the device
    model[0].b = np.full((1, 3), 8.0)
    after = np.concatenate([[1, 2, 3, 4, 5, 6], [8, 8, 8], before[9:12], [7]])
    assert_equal(backend, model.theta, after)
    assert_equal(backend, model[0].W, [[1, 2], [3, 4], [5, 6]])


def test_writing_into_what_was_read_changes_nothing(backend, model):
    before = np.array(host(backend, model.theta))
    W = model[0].W
    W *= 0
    assert_equal(backend, model.theta, before)
    if backend.name == "numpy":  # which can refuse it
        with pytest.raises(ValueError, match=r"read-only copy; make another, as by W = np.array\("):
            model[0].W[0, 0] = 5
        with pytest.raises(ValueError, match="read-only"):
            np.add(model[0].W, 1, out=model[0].W)
    assert_equal(backend, model.theta, before)


def test_an_augmented_assignment_sets_what_comes_of_it(backend, model):
    theta = np.array(host(backend, model.theta))
    model[0].W += 1
    model[0].W *= model[0].W  # an array of the library
    model[0].b -= model[0].b
    model[1][1].W /= 2
    model[1][1].b **= 2
    expected = np.concatenate([(theta[:6] + 1) ** 2, np.zeros(3), theta[9:12] / 2, theta[12:] ** 2])
    assert_equal(backend, model.theta, expected)


def test_what_is_computed_from_what_was_read_is_an_array_like_any_other(backend, model):
    W = model[0].W
    for made in (W + 1, W @ W.mT, backend.xp.sum(W, axis=0), -W):
        assert type(made) is type(model.theta)
    assert repr(W) == repr(backend.asarray(backend.to_host(W), "float64"))
    x, y = xor(backend)
    theta = backend.xp.reshape(model[0].W, (-1,))[:3]  # a view of what is read
    net = xn.Sequential(xn.Linear(2, 1))
    again = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, theta=theta)
    assert type(again.theta) is type(model.theta)
    if backend.name != "strict":
        assert_equal(backend, unpickled(backend, W), host(backend, W))


def test_the_parameters_of_an_ensemble_have_member_axes(backend):
    x, y = xor(backend)
    loss = xn.BCEWithLogits()
    model = xn.fit(NET, x, y, loss=loss, optimizer=xn.SGD(), epochs=2, seed=0, members=4)
    host(backend, model[0].W, shape=(4, 3, 2))
    model[0].b = np.zeros((4, 1, 3))
    assert_equal(backend, model[0].b, np.zeros((4, 1, 3)))
    assert repr(model).endswith("4 members)")
    host(backend, model.predict(x), shape=(4, 21, 1))


def test_what_does_not_fit_is_not_set(backend, model):
    before = np.array(host(backend, model.theta))
    with pytest.raises(ValueError, match=r"W must have the shape \(3, 2\), not \(2, 3\)"):
        model[0].W = np.zeros((2, 3))
    with pytest.raises(AttributeError, match=r"V is no parameter of <Linear .*it has W, b"):
        model[0].V = np.zeros((3, 2))
    if backend.name != "numpy":  # NumPy's arrays are values of the host, brought to any dtype
        with pytest.raises(TypeError, match=r"W must have the dtype .*float64, not .*float32"):
            model[0].W = arr(backend, np.zeros((3, 2)), "float32")
    with pytest.raises(AttributeError, match="Tanh"):
        _ = model[1][0].W
    with pytest.raises(TypeError, match="has no layers within"):
        model[0][0]
    assert_equal(backend, model.theta, before)


def test_predictions_are_classes_and_probabilities(backend, model):
    x, _ = xor(backend)
    logits = host(backend, model(x), dtype="float64", shape=(21, 1))
    assert_equal(backend, model.predict(x), (logits > 0).astype(np.int64), dtype="int64")
    assert_close(backend, model.predict_proba(x), 1 / (1 + np.exp(-logits)), atol=rounding(8, 1))
    several = xn.Model(xn.Sequential(xn.Linear(2, 3)), arr(backend, np.arange(9.0)),
                       xn.CrossEntropy())  # fmt: skip
    p = host(backend, several.predict_proba(x), shape=(21, 3))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=0, atol=rounding(8, 1))
    assert_equal(backend, several.predict(x), p.argmax(-1).astype(np.int64), dtype="int64")


def test_the_reports_network_predicts_probabilities_as_they_are(backend):
    x, y = xor(backend)
    rng = np.random.RandomState(42)
    model = xn.fit(report_network(), x, y, loss=xn.BCE(), optimizer=xn.Adam(), epochs=1, seed=rng)
    assert_equal(backend, model.predict_proba(x), host(backend, model(x)))


def test_a_model_of_a_regression_predicts_its_output(backend):
    x, y = xor(backend)
    model = xn.fit(NET, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, seed=0)
    assert_equal(backend, model.predict(x), host(backend, model(x)))
    with pytest.raises(TypeError, match=r"predict_proba needs a loss .* not MSE\(\)"):
        model.predict_proba(x)
    bare = xn.Model(NET, model.theta)
    assert_equal(backend, bare.predict(x), host(backend, model(x)))


def test_models_survive_pickle_and_deepcopy_and_go_on_training(backend, model):
    x, y = xor(backend)
    # Arrays of strict on a device other than the CPU cannot be pickled: they are test doubles.
    twins = [copy.deepcopy(model)]
    if backend.name != "strict":
        twins.append(unpickled(backend, model))
    options = {"loss": model.loss, "optimizer": xn.Adam(), "epochs": 3}
    expected = xn.fit(NET, x, y, theta=model.theta, state=model.state, **options)
    for twin in twins:
        assert_equal(backend, twin.theta, host(backend, model.theta))
        assert_equal(backend, twin(x), host(backend, model(x)))
        np.testing.assert_array_equal(twin.history.loss, model.history.loss)
        on = xn.fit(twin.network, x, y, theta=twin.theta, state=twin.state, **options)
        assert_equal(backend, on.theta, host(backend, expected.theta))
    layer = copy.deepcopy(model[0])
    assert_equal(backend, layer.W, host(backend, model[0].W))


def test_theta_must_fit_the_network(backend):
    with pytest.raises(ValueError, match=r"theta must have the shape \(13,\) .* not \(12,\)"):
        xn.Model(NET, arr(backend, np.zeros(12)))


def test_what_is_nan_is_of_no_class(backend, model):
    loss = xn.BCEWithLogits()
    for number in (np.nan, np.inf):
        x = arr(backend, [[0.0, 1.0], [number, 0.0]])
        classifier = xn.Model(NET, model.theta, loss)
        output = host(backend, classifier(x))
        for ask in (classifier.predict, classifier.predict_proba):
            if np.isnan(output).any():
                with pytest.raises(ValueError, match=rf"x must .*finite.* x\[1, 0\] is {number}"):
                    ask(x)
                assert host(backend, ask(x, check=False)).shape == (2, 1)
            else:  # tanh of infinity is 1
                ask(x)


def test_a_network_whose_output_is_nan_has_no_prediction(backend, model):
    theta = backend.to_host(model.theta).copy()
    theta[0] = np.nan
    lost = xn.Model(NET, arr(backend, theta), xn.BCEWithLogits())
    with pytest.raises(ValueError, match=r"theta must give outputs that are numbers.*sample 0"):
        lost.predict(arr(backend, [[1.0, 1.0]]))
    regression = xn.Model(NET, arr(backend, theta), xn.MSE())
    x = arr(backend, [[1.0, 1.0]])
    with pytest.raises(ValueError, match="but that of sample 0 is NaN"):
        regression.predict(x)
    assert np.isnan(host(backend, regression.predict(x, check=False))).all()


# ---- members of an ensemble


def deep():
    return xn.Sequential(xn.Linear(2, 4), xn.BatchNorm(4), xn.Tanh(), xn.Linear(4, 1))


def trained(backend, epochs=12, optimizer=None, **options):
    x, y = xor(backend)
    options = {"seed": 5, "batch_size": 8, "check_every": 2, "acc_goal": 0.7} | options
    return xn.fit(deep(), x, y, loss=xn.BCEWithLogits(), optimizer=optimizer or xn.Momentum(0.2),
                  epochs=epochs, **options)  # fmt: skip


@pytest.mark.parametrize("validated", [False, True])
def test_a_member_is_what_it_would_be_alone(backend, validated):
    x, y = xor(backend)
    options = {"validation": (x[::2, :], y[::2, :]), "patience": 2} if validated else {}
    many = trained(backend, members=4, **options)
    ends = set()
    for i in range(4):
        one, alone = many.member(i), trained(backend, seed=5 + i, **options)
        for found, wanted in (
            (one.theta, alone.theta),
            *((one.state[name], alone.state[name]) for name in alone.state),
            *((one.layer_state[name], alone.layer_state[name]) for name in alone.layer_state),
        ):
            np.testing.assert_allclose(
                backend.to_host(found), backend.to_host(wanted), rtol=0, atol=rounding(3000, 10)
            )
        assert one.history.member == i
        for name in ("epochs", "stop", "diverged", "exhausted", "best_epoch", "restored"):
            assert getattr(one.history, name) == getattr(alone.history, name), name
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_epochs"):
            found, wanted = (getattr(model.history, name) for model in (one, alone))
            assert (found is None) == (wanted is None)
            if found is not None:
                np.testing.assert_allclose(found, wanted, rtol=0, atol=rounding(3000, 10))
        ends.add(one.history.epochs)
    assert len(ends) > 1


@pytest.mark.parametrize("make", [xn.Momentum, xn.NAdam])
def test_a_member_goes_on_as_it_would_have(backend, make):
    x, y = xor(backend)
    net, rates = NET, arr(backend, [[0.1], [0.2]])
    options = {"loss": xn.BCEWithLogits(), "epochs": 3}
    many = xn.fit(net, x, y, optimizer=make(rates), members=2, seed=5, **options)
    half = many.member(-1)
    on = xn.fit(net, x, y, optimizer=make(0.2), theta=half.theta, state=half.state, **options)
    whole = xn.fit(net, x, y, optimizer=make(0.2), seed=6, **{**options, "epochs": 6})
    assert_close(backend, on.theta, host(backend, whole.theta), atol=rounding(1000, 10))


def test_the_best_may_be_one_that_has_arrived(backend):
    many = trained(backend, members=4)
    loss = many.history.loss
    assert np.isnan(loss[-1]).any()  # of whom it says nothing any more
    last = [column[~np.isnan(column)][-1] for column in loss.T]
    assert many.best().history.member == int(np.argmin(last))
    assert many.best(by="accuracy").history.member == int(np.argmax(many.history.last("accuracy")))
    np.testing.assert_array_equal(many.history.last("loss"), last)


def test_members_that_diverged_are_the_best_of_nobody(backend):
    x, y = xor(backend)
    linear = xn.Sequential(xn.Linear(2, 3), xn.Linear(3, 1))
    rates = arr(backend, [[1e200], [1e-3], [1e-1]])
    with pytest.warns(RuntimeWarning, match="1 of 3 members"):
        many = xn.fit(linear, x, y, loss=xn.MSE(), optimizer=xn.SGD(rates), epochs=20, seed=[0] * 3,
                      members=3)  # fmt: skip
    assert many.best().history.member == 2
    lost = many.member(0).history
    assert 0 < lost.diverged <= lost.epochs + 1
    assert len(lost.loss) == lost.epochs


def test_what_has_no_members_says_so(backend):
    alone = trained(backend, 1)
    with pytest.raises(TypeError, match="member needs a model of several networks"):
        alone.member(0)
    with pytest.raises(TypeError, match="best needs a model of several networks"):
        alone.best()
    many = trained(backend, 1, members=2)
    with pytest.raises(IndexError, match="the number of a member must be from 0 to 1"):
        many.member(2)
    with pytest.raises(TypeError, match="last needs the history of several networks"):
        alone.history.last("loss")
    with pytest.raises(TypeError, match="of_member needs the history of several networks"):
        alone.history.of_member(0)
    with pytest.raises(ValueError, match="name must be one of loss, accuracy, not 'val_loss'"):
        many.history.last("val_loss")
    with pytest.raises(ValueError, match="by must be one of loss, accuracy, not 'val_loss'"):
        many.best(by="val_loss")
    with pytest.raises(TypeError, match="not one without a history"):
        xn.Model(many.network, many.theta, layer_state=many.layer_state).best()
