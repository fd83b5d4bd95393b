"""The estimators: scikit-learn's networks digit for digit, on every library, and what is beyond."""

import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="sklearn is not installed")
from sklearn import neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

import xpnet as xn  # noqa: E402
from tests.helpers import arr, host  # noqa: E402
from xpnet.estimators import MLPClassifier, MLPRegressor  # noqa: E402
from xpnet.estimators.weights import Weights  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # array-api-strict checks each call, and takes most of the time of these: in the matrix.
    pytest.mark.slow_on("strict", "strict:device1"),
]

RNG = np.random.default_rng(5)
X = RNG.normal(size=(70, 4))
CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
NUMBERS = X[:, 0] - X[:, 1] ** 2
WEIGHT = RNG.random(70)
SMALL = {"hidden_layer_sizes": (6, 5), "max_iter": 7, "batch_size": 32, "random_state": 0}


def digits(value):
    """By how much numbers may differ that are the same but for the order of sums.

    Some 20 steps, each of sums of some dozens of terms below 10: far below this, in float64.
    """
    return 1e-11 * max(1.0, float(np.max(np.abs(value))))


def assert_same(ours, theirs, attributes):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=digits(b))
    for name in attributes:
        a, b = getattr(ours, name), getattr(theirs, name)
        if b is None or isinstance(b, str):
            assert a == b, name
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=digits(b), err_msg=name)


STEPS = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
READ = ("loss_", "n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_")


@pytest.mark.parametrize(
    ("y", "options"),
    [
        (CLASSES, {}),
        (CLASSES > 1, {"activation": "logistic", "early_stopping": True, "alpha": 0.1}),
        (np.eye(3, dtype=int)[CLASSES], {"activation": "tanh", "shuffle": False}),
        (CLASSES, {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 70}),
        (CLASSES, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}),
        (
            np.where(CLASSES > 1, "b", "a"),
            {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
        ),
    ],
    ids=["adam", "two classes", "several labels", "momentum", "invscaling", "adaptive"],
)
def test_a_classifier_trains_the_network_of_scikit_learn_digit_for_digit(y, options):
    options = {**SMALL, **options}
    weight = WEIGHT if options.get("activation") == "logistic" else None
    ours = MLPClassifier(**options).fit(X, y, sample_weight=weight)
    theirs = neural_network.MLPClassifier(**options).fit(X, y, sample_weight=weight)
    assert_same(ours, theirs, READ + STEPS)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-11)
    assert ours.score(X, y, WEIGHT) == theirs.score(X, y, WEIGHT)


@pytest.mark.parametrize(
    ("y", "options"),
    [
        (NUMBERS, {"warm_start": True}),
        (np.stack([NUMBERS, X[:, 2]], axis=1), {"early_stopping": True}),
        (np.round(np.exp(NUMBERS)), {"loss": "poisson", "alpha": 1.0}),
    ],
    ids=["one output", "two outputs", "counts"],
)
def test_a_regressor_trains_the_network_of_scikit_learn_digit_for_digit(y, options):
    options = {**SMALL, **options}
    pair = MLPRegressor(**options), neural_network.MLPRegressor(**options)
    for mlp in pair:
        mlp.fit(X, y, sample_weight=WEIGHT)
        if not options.get("early_stopping"):  # and goes on
            mlp.fit(X, y)
            mlp.partial_fit(X[:35], y[:35]).partial_fit(X[35:], y[35:])
    assert_same(*pair, READ + STEPS)
    np.testing.assert_allclose(pair[0].predict(X), pair[1].predict(X), atol=1e-10)


def test_lbfgs_comes_where_scikit_learn_comes():
    options = {**SMALL, "solver": "lbfgs", "max_iter": 8, "alpha": 0.5}
    ours = MLPClassifier(**options).fit(X, CLASSES, sample_weight=WEIGHT)
    theirs = neural_network.MLPClassifier(**options).fit(X, CLASSES, sample_weight=WEIGHT)
    assert ours.n_iter_ == theirs.n_iter_
    # A search along a line magnifies rounding, step after step.
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-7)


# ---- arrays of any library


def test_arrays_are_answered_with_arrays_of_their_library_and_device(backend):
    x = arr(backend, X)
    ours = MLPClassifier(**SMALL).fit(x, arr(backend, CLASSES, "int64"), arr(backend, WEIGHT))
    same = MLPClassifier(**SMALL).fit(X, CLASSES, WEIGHT)
    proba = host(backend, ours.predict_proba(x), dtype="float64", shape=(70, 3))
    np.testing.assert_allclose(proba, same.predict_proba(X), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(host(backend, ours.predict(x), dtype="int64"), same.predict(X))
    np.testing.assert_allclose(host(backend, ours.coefs_[1]), same.coefs_[1], rtol=0, atol=1e-11)
    assert ours.score(x, arr(backend, CLASSES, "int64")) == same.score(X, CLASSES)
    numbers = MLPRegressor(**SMALL, dtype="float32").fit(x, arr(backend, NUMBERS))
    assert host(backend, numbers.predict(x), dtype="float32").shape == (70,)
    if backend.name not in ("numpy", "strict"):
        with pytest.raises(ValueError, match=r"MLPRegressor.predict\(\) must use the same namesp"):
            numbers.predict(xn.backends.get("strict").asarray(X, "float64"))


@pytest.mark.slow_on("jax")
def test_a_pickled_estimator_goes_on_as_the_one_it_is_of(backend):
    x, y = arr(backend, X), arr(backend, CLASSES, "int64")
    mlp = MLPClassifier(**SMALL, members=2).fit(x, y)
    again = pickle.loads(pickle.dumps(mlp))
    for one in (mlp, again):
        one.partial_fit(x[:40, ...], y[:40])
        one.partial_fit(x[:40, ...], y[:40])
    found, expected = (host(backend, one.predict_proba(x)) for one in (again, mlp))
    np.testing.assert_array_equal(found, expected)


def test_frames_lists_sparse_rows_and_a_device_give_the_same():
    expected = MLPClassifier(**SMALL).fit(X, CLASSES).predict_proba(X)
    scipy = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    for given in (X.tolist(), scipy.csr_array(X), scipy.csc_array(X)):
        found = MLPClassifier(**SMALL).fit(given, CLASSES.tolist()).predict_proba(given)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    moved = MLPClassifier(**SMALL, device="strict").fit(X, CLASSES)
    assert isinstance(moved.predict_proba(X), np.ndarray)
    np.testing.assert_allclose(moved.predict_proba(X), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_frames_keep_the_names_of_their_columns(name):
    frames = pytest.importorskip(name, reason=f"{name} is not installed")
    frame = frames.DataFrame({f"feature {i}": X[:, i] for i in range(4)})
    mlp = MLPClassifier(**SMALL).fit(frame, frames.Series(CLASSES))
    assert mlp.feature_names_in_.tolist() == list(frame.columns)
    expected = MLPClassifier(**SMALL).fit(X, CLASSES).predict_proba(X)
    np.testing.assert_array_equal(mlp.predict_proba(frame), expected)


# ---- what goes on from call to call


def recorded(mlp):
    return [program for runner in mlp._trainer.blocks.runners for program in runner.programs]


@pytest.mark.parametrize("shown", [False, True], ids=["", "read in between"])
def test_partial_fit_keeps_the_recorded_program_and_all_that_it_goes_on_from(shown):
    mlp = MLPClassifier(hidden_layer_sizes=5, random_state=0)
    theirs = neural_network.MLPClassifier(hidden_layer_sizes=5, random_state=0)
    for start in (0, 20, 40):
        batch = X[start : start + 20].copy(), CLASSES[start : start + 20]
        for one in (mlp, theirs):
            one.partial_fit(*batch, classes=[0, 1, 2])
            if shown:  # views, which somebody may have written into
                one.coefs_[0][0, 0] += 1
        assert len(recorded(mlp)) == 1
    assert_same(mlp, theirs, ["loss_curve_"])


def test_fit_keeps_the_recorded_programs():
    mlp = MLPClassifier(**SMALL).fit(X, CLASSES)
    programs = recorded(mlp)
    first = mlp.coefs_[0].copy()
    mlp.fit(X[::-1].copy(), CLASSES[::-1]).fit(X, CLASSES)
    assert recorded(mlp) == programs
    np.testing.assert_array_equal(mlp.coefs_[0], first)


def test_parameters_that_are_set_are_gone_on_from_whatever_was_recorded():
    options = {"solver": "sgd", "hidden_layer_sizes": 5, "random_state": 0, "alpha": 0.0}
    pair = MLPRegressor(**options), neural_network.MLPRegressor(**options)
    for one in pair:
        one.partial_fit(X, NUMBERS)
        one.intercepts_[1] = one.intercepts_[1] + 3.0
        one.coefs_ = [2 * W for W in one.coefs_]
        one.partial_fit(X[:9], NUMBERS[:9])
    assert_same(*pair, ["loss_curve_"])
    found = pair[0].set_params(learning_rate_init=0.5).partial_fit(X, NUMBERS)
    assert np.isfinite(found.predict(X)).all()


def test_a_batch_of_other_floats_goes_on_in_those_of_the_weights():
    pair = MLPRegressor(**SMALL), neural_network.MLPRegressor(**SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in pair:
            one.fit(X, NUMBERS).partial_fit(X[:35].astype("float32"), NUMBERS[:35])
    assert pair[0].coefs_[0].dtype == pair[1].coefs_[0].dtype == "float64"
    # scikit-learn multiplies float32 by float64; the samples have seven digits in both.
    for a, b in zip(pair[0].coefs_, pair[1].coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-7)


def test_weights_that_were_shown_are_pickled_as_they_are():
    mlp = MLPRegressor(**SMALL).fit(X, NUMBERS)
    mlp.coefs_[0][...] = 0.0
    mlp.intercepts_[-1] = np.full(1, 7.0)
    mlp.coefs_[-1] *= 0
    again = pickle.loads(pickle.dumps(mlp))
    np.testing.assert_array_equal(again.predict(X), np.full(70, 7.0))
    assert "coefs" not in Weights()


# ---- what scikit-learn's have not


@pytest.mark.slow_on("jax")
def test_members_are_averaged_and_stop_by_the_mean(backend):
    x, y = arr(backend, X), arr(backend, CLASSES, "int64")
    mlp = MLPClassifier(**SMALL, members=3, early_stopping=True).fit(x, y)
    each = [host(backend, one.predict_proba(x)) for one in mlp.members_]
    assert len({one.tobytes() for one in each}) == 3
    found = host(backend, mlp.predict_proba(x))
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=0, atol=1e-15)
    # The scores are of the same samples, held out, and in some member's favour or of none.
    assert mlp.best_validation_score_ == max(mlp.validation_scores_)
    assert tuple(mlp.coefs_[0].shape) == (3, 4, 6)
    assert mlp.model_.members == 3


def test_the_first_member_of_several_is_the_network_alone():
    options = {**SMALL, "early_stopping": False}
    alone = MLPRegressor(**options).fit(X, NUMBERS)
    theta = alone.set_params(max_iter=1, members=2).fit(X, NUMBERS).members_
    assert [one.members for one in theta] == [None, None]
    spread = alone.predict_std(X)
    each = [one.predict(X) for one in theta]
    np.testing.assert_allclose(spread, np.std(each, axis=0), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "gelu"},
        {"activation": ["tanh", xn.ELU()]},
        {"dropout": 0.2, "norm": "batch"},
        {"norm": "layer", "clip_norm": 1.0},
        {"solver": xn.AdamW(1e-2), "members": 2, "dropout": 0.1},
        {"learning_rate": xn.CosineDecay(1e-2, steps=50)},
    ],
    ids=["a name", "one a layer", "batch norm", "layer norm", "an optimizer", "a schedule"],
)
def test_other_networks_train_and_go_on(options):
    options = {**SMALL, "learning_rate_init": 0.02, "max_iter": 60, **options}
    mlp = clone(MLPRegressor(**options)).fit(X, NUMBERS)
    assert mlp.loss_curve_[-1] < 0.7 * mlp.loss_curve_[0]
    found = mlp.partial_fit(X, NUMBERS).predict(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(mlp)).predict(X), found)
    values = mlp.model_(X)
    mean = values.mean(axis=0) if mlp.members else values
    np.testing.assert_allclose(mean[:, 0], found, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("loss", "of"),
    [
        ({"loss": "absolute_error"}, xn.L1()),
        ({"loss": "huber"}, xn.Huber()),
        ({"loss": "quantile", "quantile": 0.9}, xn.Quantile(0.9)),
        ({"loss": xn.Huber(0.1)}, xn.Huber(0.1)),
    ],
    ids=["MAE", "Huber", "quantile", "xpnet's"],
)
def test_a_loss_is_the_one_of_xpnet(loss, of):
    mlp = MLPRegressor(**{**SMALL, "batch_size": 70, "alpha": 0.0, "max_iter": 1}, **loss)
    mlp.fit(X, NUMBERS)
    before = float(of(mlp.model_(X), NUMBERS[:, None]))
    np.testing.assert_allclose(mlp.partial_fit(X, NUMBERS).loss_, before, rtol=1e-13)


def test_class_weight_is_the_weight_of_its_samples():
    options = {**SMALL, "random_state": 3}
    found = MLPClassifier(**options, class_weight={0: 1.0, 1: 3.0, 2: 0.5}).fit(X, CLASSES, WEIGHT)
    weight = WEIGHT * np.array([1.0, 3.0, 0.5])[CLASSES]
    expected = MLPClassifier(**options).fit(X, CLASSES, sample_weight=weight)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_callbacks_see_every_epoch_and_may_end_it():
    lines = []

    class Ends(xn.Callback):
        def check(self, run):
            assert run.model.theta.shape == run.network.init(0, like=X).shape
            assert len(run.history.loss) == run.epoch
            if run.epoch == 3:
                run.stop()

    told = xn.callbacks.LogLines(1, write=lines.append)
    held = X[:20], CLASSES[:20]
    mlp = MLPClassifier(**SMALL, callbacks=[told, Ends()])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # nobody reached max_iter
        mlp.fit(X, CLASSES, eval_set=held)
    assert mlp.n_iter_ == len(lines) == len(mlp.validation_scores_) == 3
    assert mlp.validation_scores_[-1] == mlp.score(*held)
    assert lines[-1] == (
        f"Epoch: 3, loss: {mlp.loss_:.6f}, val score: {mlp.validation_scores_[-1]:.6f}."
    )


def test_the_samples_of_eval_set_decide_where_training_stops_early():
    mlp = MLPClassifier(**{**SMALL, "max_iter": 40}, early_stopping=True)
    mlp.fit(X, CLASSES, eval_set=(X[:9], CLASSES[:9]))
    assert mlp.t_ == 70 * mlp.n_iter_  # nothing is split off
    assert mlp.score(X[:9], CLASSES[:9]) == mlp.best_validation_score_


@pytest.mark.parametrize(
    ("says", "do"),
    [
        ("loss must give probabilities of the numbers for 3 classes, as CrossEntropy() does, not "
         "be BCEWithLogits().",
         lambda: MLPClassifier(loss=xn.BCEWithLogits()).fit(X, CLASSES)),
        ("loss must be one of numbers, such as Huber(), not CrossEntropy(); MLPClassifier tells "
         "classes apart.", lambda: MLPRegressor(loss=xn.CrossEntropy()).fit(X, NUMBERS)),
        ("activation must be a name, a layer, or hold one for each of the 1 hidden layers, not "
         "['relu', 'tanh'].", lambda: MLPClassifier(activation=["relu", "tanh"]).fit(X, CLASSES)),
        ("device must be None where X is an array of strict, which lies where it is trained on, "
         "not 'numpy'.",
         lambda: MLPClassifier(device="numpy").fit(
             xn.backends.get("strict").asarray(X, "float64"), CLASSES)),
        ("device must be a library, as numpy, cupy, torch, jax, strict, or one and its device, as "
         "'torch:cuda', not 'cuda'.", lambda: MLPClassifier(device="cuda").fit(X, CLASSES)),
        ("y must hold counts or rates of at least 0, not -",
         lambda: MLPRegressor(loss="poisson").fit(X, NUMBERS)),
        ("eval_set must be (X, y) or (X, y, sample_weight), not ",
         lambda: MLPRegressor().fit(X, NUMBERS, eval_set=X)),
        ("eval_set must be None for solver='lbfgs', which has no epochs, not ",
         lambda: MLPRegressor(solver="lbfgs").fit(X, NUMBERS, eval_set=(X, NUMBERS))),
        ("class_weight must be a dict for partial_fit, not 'balanced'",
         lambda: MLPClassifier(class_weight="balanced").partial_fit(X, CLASSES, classes=[0, 1, 2])),
        ("hidden_layer_sizes, norm and members must be those of the weights that are gone on from",
         lambda: MLPRegressor(**SMALL).fit(X, NUMBERS).set_params(hidden_layer_sizes=3).partial_fit(
             X, NUMBERS)),
    ],
    ids=["loss of classes", "loss of numbers", "activations", "device", "no library", "counts",
         "eval_set", "lbfgs", "balanced", "other sizes"],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_is_trained(says, do):
    with pytest.raises(ValueError) as told:
        do()
    assert str(told.value).startswith(says)


def test_members_are_there_where_they_were_asked_for():
    mlp = MLPRegressor(**SMALL).fit(X, NUMBERS)
    with pytest.raises(AttributeError, match="members must be given for this, such as"):
        mlp.members_  # noqa: B018
    with pytest.raises(AttributeError, match="coefs_ is there once MLPRegressor is fitted"):
        MLPRegressor().coefs_  # noqa: B018
    assert not hasattr(MLPRegressor(), "predict_std")


# ---- the step


@pytest.mark.parametrize("weighted", [False, True])
def test_a_penalized_step_on_threads_is_the_one_on_one_thread(weighted):
    from xpnet import backends
    from xpnet.losses import Scaled
    from xpnet.training.step import PENALTY, PenalizedStep, carry_of

    backend, net = backends.get("numpy"), xn.Sequential(xn.Linear(4, 3), xn.Tanh(), xn.Linear(3, 1))
    theta, adam = net.init(0, like=X), xn.Adam(eps_hat=True)
    step = PenalizedStep(np, net, Scaled(xn.MSE(), 0.5, 0.5), adam, weighted=weighted)
    data = X, NUMBERS[:, None], WEIGHT[:, None] if weighted else None
    found = []
    for threads in (1, 2):
        carry = {**carry_of(theta.copy(), adam.init(theta)), PENALTY: net.weight_mask(theta)}
        carry, metrics = backend.runner(step, threads)(carry, data, 3)
        found.append((carry["theta"].copy(), metrics["loss"].copy()))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-14)


@pytest.mark.parametrize("held", [False, True])
def test_scales_are_of_the_samples_that_are_trained_on_with_their_weights(held):
    """Neither samples of no weight nor those that are held out move a quartile."""
    options = {**SMALL, "numerical_embedding": "piecewise", "max_iter": 1}
    weight = np.where(np.arange(len(X)) % 2, 1.0, 0.0)
    far = np.where(weight[:, None] > 0, X, X + 1000)
    if held:
        _, out = train_test_split(np.arange(len(X)), random_state=after_init(), test_size=0.2)
        far, weight = X.copy(), None
        far[out] += 1000
        options |= {"early_stopping": True, "validation_fraction": 0.2}
    one, other = (MLPRegressor(**options).fit(x, NUMBERS, sample_weight=weight) for x in (X, far))
    assert np.array_equal(one.model_.layer_state["0.median"], other.model_.layer_state["0.median"])


def after_init():
    """The generator as it is once the network of the test above is drawn."""
    found = {}

    class Seen(MLPRegressor):
        def _initialize(self, samples):
            super()._initialize(samples)
            found["state"] = self._random_state.get_state()

    Seen(**{**SMALL, "numerical_embedding": "piecewise", "max_iter": 1}).fit(X, NUMBERS)
    rng = np.random.RandomState()
    rng.set_state(found["state"])
    return rng


def test_each_fit_of_a_warm_start_drops_others():
    """A loss at a rate of nearly 0 tells what was dropped."""
    one = MLPRegressor(
        hidden_layer_sizes=(50,), dropout=0.5, batch_size=70, learning_rate_init=1e-12,
        warm_start=True, max_iter=1, random_state=0,
    )  # fmt: skip
    losses = [one.fit(X, NUMBERS).loss_ for _ in range(4)]
    assert np.diff(np.sort(losses)).min() > 1e-6


def test_a_list_of_matrices_that_is_held_can_be_written_into_again_and_again():
    """Also behind a prediction, as scikit-learn's can."""
    found = []
    for kind in (neural_network.MLPRegressor, MLPRegressor):
        one = kind(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(X, NUMBERS)
        coefs, intercepts = one.coefs_, one.intercepts_
        for i, matrix in enumerate([np.ones((4, 5)), np.full((5, 1), 0.5)]):
            coefs[i] = matrix
            one.predict(X)
            intercepts[i][:] = i
        found.append(one.predict(X))
    np.testing.assert_allclose(*found, atol=digits(found[0]))


def test_labels_that_were_sparse_are_answered_sparse_as_by_scikit_learn():
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.integers(0, 2, (30, 4))
    found = MLPClassifier(max_iter=2, random_state=0).fit(x, sparse.csr_matrix(y))
    plain = MLPClassifier(max_iter=2, random_state=0).fit(x, y)
    assert sparse.issparse(found.predict(x)) and not sparse.issparse(plain.predict(x))
    np.testing.assert_array_equal(found.predict(x).toarray(), plain.predict(x))
    assert found.score(x, sparse.csr_matrix(y)) == found.score(x, y) == plain.score(x, y)
