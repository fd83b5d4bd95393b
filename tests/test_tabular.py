"""The estimators for tables: scikit-learn's checks, frames of mixed columns, what is missing."""

import pickle
import warnings

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, host, library

sklearn = pytest.importorskip("sklearn", reason="sklearn is not installed")

from xpnet.estimators import MLPClassifier, TabularClassifier, TabularRegressor  # noqa: E402
from xpnet.estimators.tabular_samples import dealt  # noqa: E402

SMALL = {
    "members": 3, "hidden_layer_sizes": (16,), "embedding_dim": 4, "max_iter": 40,
    "learning_rate_init": 0.01, "random_state": 0,
}  # fmt: skip

EXCUSED = {
    # As of scikit-learn's MLPs: batches, and who is held out, are other ones.
    "check_sample_weight_equivalence_on_dense_data",
    "check_array_api_input",  # of an environment variable
}


def mixed(n=240):
    """A table of mixed columns with holes, and a target that follows from all of them."""
    rng = np.random.default_rng(0)
    number, heavy = rng.normal(size=n), np.exp(3 * rng.normal(size=n))
    color = rng.choice(["red", "green", "blue"], n)
    score = number + np.log(heavy) / 3 + 1.5 * (color == "red")
    number[rng.random(n) < 0.1] = np.nan
    color = np.where(rng.random(n) < 0.1, None, color)
    return {"number": number, "heavy": heavy, "color": list(color)}, score


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_scikit_learn_finds_estimators_as_it_wants_them(kind):
    from sklearn.utils.estimator_checks import check_estimator

    with np.errstate(all="ignore"):
        # In float32 the last digits of a row depend on those beside it.
        found = check_estimator(kind(**SMALL, dtype="float64"), on_fail=None, on_skip=None)
    wrong = {one["check_name"] for one in found if one["status"] != "passed"}
    assert wrong <= EXCUSED, [one for one in found if one["check_name"] in wrong - EXCUSED]


@pytest.mark.parametrize("package", ["pandas", "polars"])
@pytest.mark.parametrize("architecture", ["tabm", "mlp"])
def test_a_frame_of_mixed_columns_is_taken_as_it_is(package, architecture):
    frames = library(package)
    table, score = mixed()
    frame, y = frames.DataFrame(table), np.where(score > 0.5, "yes", "no")
    model = TabularClassifier(architecture=architecture, **SMALL).fit(frame[:180], y[:180])
    assert model.score(frame[180:], y[180:]) > 0.8  # by chance 0.6
    assert model.classes_.tolist() == ["no", "yes"] and model.n_features_in_ == 3
    assert model.preparation_.sizes == (4,)
    unseen = frames.DataFrame({"number": [0.0], "heavy": [None], "color": ["pink"]})
    p = model.predict_proba(unseen)
    assert p.shape == (1, 2) and np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(), 1, rtol=0, atol=1e-6)


def test_a_regressor_gives_numbers_as_they_were_and_its_model_too(tmp_path):
    table, score = mixed()
    x = np.stack([table["heavy"], table["number"]], axis=1)
    y = 1000 + 50 * score
    model = TabularRegressor(**SMALL).fit(x[:180], y[:180])
    assert model.score(x[180:], y[180:]) > 0.5
    model.model_.save(tmp_path / "m.safetensors")
    again = xn.load(tmp_path / "m.safetensors")
    made = again.preparation.transform(x[180:]).astype("float32")
    np.testing.assert_array_equal(again.predict(made)[:, 0], model.predict(x[180:]))
    two = TabularRegressor(**SMALL).fit(x, np.stack([y, -y], axis=1))
    assert two.predict(x).shape == (240, 2)


def test_arrays_of_a_library_are_answered_by_it(backend):
    table, score = mixed(120)
    x = np.stack([np.nan_to_num(table["number"]), np.log(table["heavy"])], axis=1)
    X = arr(backend, x, "float32")
    y = (score > 0.5).astype(int)
    # Of 102 samples that are trained on: JAX would compile a last batch of others once more.
    options = {**SMALL, "max_iter": 5, "batch_size": 34}
    model = TabularClassifier(**options).fit(X, arr(backend, y, "int64"))
    p = host(backend, model.predict_proba(X), dtype="float32", shape=(120, 2))
    on_host = TabularClassifier(**options).fit(x.astype("float32"), y)
    # Five epochs of three steps, each to some roundings of float32.
    np.testing.assert_allclose(p, on_host.predict_proba(x.astype("float32")), rtol=0, atol=1e-3)
    np.testing.assert_array_equal(host(backend, model.predict(X)), p.argmax(-1))


def test_an_unseen_category_has_no_vector():
    pandas = library("pandas")
    table, score = mixed(60)
    model = TabularClassifier(**{**SMALL, "max_iter": 1, "weight_decay": 0.0})
    table["color"] = ["red" if one is None else one for one in table["color"]]
    model.fit(pandas.DataFrame(table), score > 0)
    weight = model.model_.named_parameters()["0.1.weight"]
    assert not weight[0].any() and weight[1:].any(axis=-1).all()


def test_mistakes_are_told():
    pandas = library("pandas")
    table, score = mixed(60)
    frame = pandas.DataFrame(table)
    with pytest.raises(ValueError, match="y must be of at least two classes"):
        TabularClassifier(**SMALL).fit(frame, np.ones(60, dtype=int))
    with pytest.raises(ValueError, match="column 'when' must hold numbers or texts, not dates"):
        TabularRegressor(**SMALL).fit(frame.assign(when=pandas.Timestamp("2026-01-01")), score)
    for nothing in (None, float("nan"), pandas.NA):
        y = np.array(["yes", "no"] * 30, dtype=object)
        y[3] = nothing
        with pytest.raises(ValueError, match="1 of 60 are missing, first in row 3"):
            TabularClassifier(**SMALL).fit(frame, y)
    with pytest.raises(ValueError, match="'architecture' parameter of TabularClassifier"):
        TabularClassifier(architecture="tree").fit(frame, score > 0)


def test_rows_that_are_given_decide_when_to_stop_and_all_others_are_trained_on():
    pandas = library("pandas")
    table, score = mixed(150)
    frame, y = pandas.DataFrame(table), np.where(score > 0.5, "yes", "no")
    small = {**SMALL, "max_iter": 3}
    x, held = frame[:100], (frame[100:], y[100:])
    model = TabularClassifier(**small).fit(x, y[:100], eval_set=held)
    other = TabularClassifier(**small).fit(x, y[:100], eval_set=[held])  # as others take it
    np.testing.assert_array_equal(model.predict_proba(x), other.predict_proba(x))
    # 100 rows in 4 batches; where a seventh is held out, in 3.
    assert int(np.max(model.model_.state["step"])) == 4 * model.model_.history.best_epoch
    found = model.model_.evaluate(
        model.preparation_.transform(held[0]).astype("float32"),
        (held[1] == "yes").astype(int),
        metrics=["log_loss"],
    )
    assert found["log_loss"] == pytest.approx(np.min(model.model_.history.val_log_loss), rel=1e-5)
    numbers = TabularRegressor(**small).fit(x, score[:100], eval_set=(frame[100:], score[100:]))
    assert numbers.model_.history.val_loss.shape == (3,)
    y[120] = "ja"
    for wrong, said in (
        ((frame[100:], y[100:]), r"eval_set must have classes of y, not 'ja' in row 20"),
        ((frame[100:],), r"eval_set must be \(X, y\) or \(X, y, sample_weight\), not a tuple of 1"),
        ([held, held], r"eval_set must be one \(X, y\) by which to stop, not 2 of them"),
        ((frame[100:], None), "eval_set must have the targets of X, not None"),
        ((frame[["heavy"]], y), "feature names should match"),
    ):
        with pytest.raises(ValueError, match=said):
            TabularClassifier(**small).fit(x, y[:100], eval_set=wrong)
    with pytest.raises(ValueError, match="eval_set must have 1 numbers a row, as y has, not 2"):
        TabularRegressor(**small).fit(x, score[:100], eval_set=(x, np.ones((100, 2))))


def test_classes_weigh_what_they_are_said_to_and_an_activation_has_a_name():
    table, score = mixed(60)
    x, y = np.nan_to_num(np.stack([table["number"], table["heavy"]], axis=1)), score > 1
    small = {**SMALL, "max_iter": 2, "activation": "silu"}
    weighed = TabularClassifier(**small, class_weight={True: 3.0, False: 1.0}).fit(x, y)
    by_hand = TabularClassifier(**{**small, "activation": xn.SiLU()})
    by_hand.fit(x, y, sample_weight=np.where(y, 3.0, 1.0))
    np.testing.assert_array_equal(weighed.predict_proba(x), by_hand.predict_proba(x))
    balanced = TabularClassifier(**small, class_weight="balanced").fit(x, y)
    assert not np.array_equal(weighed.predict_proba(x), balanced.predict_proba(x))
    with pytest.raises(ValueError, match="'activation' parameter of TabularClassifier"):
        TabularClassifier(activation="swish").fit(x, y)


def test_what_the_cure_of_a_column_says_is_done():
    pandas = library("pandas")
    table, score = mixed(60)
    frame = pandas.DataFrame(table).assign(when=pandas.date_range("2026-01-01", periods=60))
    with pytest.raises(ValueError, match=r"drop=\['when'\]"):
        TabularClassifier(**SMALL).fit(frame, score > 0)
    small = {**SMALL, "max_iter": 2}
    model = TabularClassifier(drop=["when"], **small).fit(frame, score > 0)
    assert model.preparation_.left_out == ("when",)
    without = TabularClassifier(**small).fit(pandas.DataFrame(table), score > 0)
    np.testing.assert_array_equal(
        model.predict_proba(frame), without.predict_proba(pandas.DataFrame(table))
    )


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(
    "more",
    [
        {"numerical_embedding": "piecewise"},
        {"architecture": "tabm"},
        {"architecture": "tabm", "numerical_embedding": "periodic", "dropout": 0.1},
        {"architecture": "tabm", "solver": "lbfgs"},
    ],
    ids=lambda more: "-".join(map(str, more.values())),
)
def test_another_architecture_and_embedded_numbers_are_trained_and_pickled(more, members):
    x = np.random.default_rng(5).normal(size=(90, 4))
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    options = {"max_iter": 40, "learning_rate_init": 0.01, "random_state": 0, "members": members}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of too few iterations
        model = MLPClassifier((16,), **options, **more).fit(x, y)
    assert model.score(x, y) > 0.85 and model.n_layers_ == 3  # by chance a half
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    by_model = model.model_.predict_proba(x)
    by_model = by_model.mean(axis=0) if by_model.ndim == 3 else by_model
    np.testing.assert_allclose(by_model, model.predict_proba(x), rtol=0, atol=1e-14)
    if more.get("architecture") == "tabm":
        assert model.coefs_ == []
        with pytest.raises(AttributeError, match=r"members must be|architecture must be 'mlp'"):
            _ = model.members_


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True]])
def test_a_saved_classifier_says_classes_as_they_were_called(labels, tmp_path):
    pandas = library("pandas")
    table, score = mixed(60)
    frame, y = pandas.DataFrame(table), np.array(labels)[(score > 0.5).astype(int)]
    model = TabularClassifier(**{**SMALL, "max_iter": 2}).fit(frame, pandas.Series(y, name="grade"))
    model.model_.save(tmp_path / "m.safetensors")
    again = xn.load(tmp_path / "m.safetensors")
    assert again.preparation.target.name == "grade"
    np.testing.assert_array_equal(xn.tables.predict(again, frame), model.predict(frame))
    figures = xn.tables.evaluate(again, frame.assign(grade=y))
    assert figures["accuracy"] == model.score(frame, y)


def test_a_saved_regressor_is_judged_on_a_table(tmp_path):
    pandas = library("pandas")
    table, score = mixed(60)
    frame = pandas.DataFrame(table).rename(columns={"heavy": "target"})
    model = TabularRegressor(**{**SMALL, "max_iter": 2}).fit(frame, 1000 + 50 * score)
    model.model_.save(tmp_path / "m.safetensors")
    again = xn.load(tmp_path / "m.safetensors")
    assert again.preparation.target.name == "target_"  # a column is called target
    np.testing.assert_allclose(xn.tables.predict(again, frame), model.predict(frame), rtol=1e-6)
    two = TabularRegressor(**{**SMALL, "max_iter": 1}).fit(frame, np.stack([score, score], axis=1))
    assert two.preparation_.target is None  # a table's target is one column


def test_targets_of_no_weight_do_not_move_the_scale():
    """By which targets are standardized: that of those that weigh something."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    weight = np.where(np.arange(100) % 2, 1.0, 0.0)
    near = x[:, 0]
    far = np.where(weight > 0, near, near + 1e4)
    one, other = (
        TabularRegressor(**{**SMALL, "max_iter": 2}).fit(x, y, sample_weight=weight).predict(x)
        for y in (near, far)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_however_far_out_is_clipped(dtype):
    """Its square would be infinite, and the number be taken for the median."""
    layer = xn.layers.RobustScale(1, clip=3.0)
    x = np.array([[-1e30 if dtype == "float32" else -1e200], [0.0], [1e20]], dtype)
    state = (np.zeros((1, 1), dtype), np.ones((1, 1), dtype))
    y, backprop, _ = layer.forward(np, (), x, state, None)
    assert np.array_equal(y, [[-3], [0], [3]])
    assert np.array_equal(layer.apply(np, (), x, state), y)
    dx, _ = backprop(np.ones_like(x))
    np.testing.assert_allclose(dx, [[0], [1], [0]], atol=1e-20)


def test_the_only_row_of_a_class_is_trained_on():
    codes = np.where(np.arange(60) == 5, 2, np.arange(60) % 2)
    for seed in range(20):
        train, held = dealt(codes, None, 0.15, np.random.RandomState(seed), True)
        assert 5 in train and len(held) == 9


def test_a_dict_of_columns_is_told_the_way_to_a_frame():
    with pytest.raises(TypeError, match=r"not a dict; use pandas.DataFrame\(X\)"):
        TabularClassifier().fit(mixed(30)[0], np.arange(30) % 2)
