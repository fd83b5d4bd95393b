"""Validation: what it says, that it changes nothing, who is best, who gives up, and when."""

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, host, library, rounding, scalars

LOSS = xn.CrossEntropy()
ADAM = xn.Adam(lr=0.05)
EPOCHS, EVERY = 40, 2

# array-api-strict checks each call, and takes most of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")


def net():
    return xn.Sequential(
        xn.Linear(3, 8), xn.BatchNorm(8), xn.Tanh(), xn.Dropout(0.1), xn.Linear(8, 3)
    )


def data(backend, samples=40, held=24):
    """Classes that are half luck, so that a network learns first what holds, and then what not."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(samples + held, 3))
    y = np.where(rng.random(len(x)) < 0.5, x.argmax(axis=1), rng.integers(0, 3, len(x)))
    train, other = slice(0, samples), slice(samples, None)
    return tuple((arr(backend, x[part]), arr(backend, y[part], "int64")) for part in (train, other))


def fit(backend, epochs=EPOCHS, **options):
    (x, y), validation = data(backend)
    usual = {"seed": 3, "batch_size": 16, "check_every": EVERY, "validation": validation}
    options = {"optimizer": ADAM, **usual, **options}
    if options["validation"] is None:
        del options["validation"]
    return xn.fit(net(), x, y, loss=LOSS, epochs=epochs, **options)


def scored(backend, model, x, y, weight=None):
    """Loss and accuracy of a model, by hand."""
    output = model(x)
    value = host(backend, LOSS(output, y, weight))
    hits = host(backend, model.predict(x)) == host(backend, y)
    share = np.ones(hits.shape[-1]) if weight is None else host(backend, weight)
    return value, (hits * share).sum(axis=-1) / share.sum()


@pytest.mark.parametrize("members", [None, 3])
def test_it_says_what_a_model_trained_so_far_does_there_in_inference(backend, members):
    _, (x, y) = data(backend)
    options = {"members": members, "restore_best": False}
    history = fit(backend, 6, **options).history
    np.testing.assert_array_equal(history.val_epochs, [2, 4, 6])
    for row, epochs in enumerate(history.val_epochs):
        model = fit(backend, int(epochs), validation=None, members=members)
        loss, accuracy = scored(backend, model, x, y)
        np.testing.assert_allclose(history.val_loss[row], loss, rtol=0, atol=rounding(100, 2))
        np.testing.assert_allclose(history.val_accuracy[row], accuracy, atol=rounding(100, 1))


def test_samples_of_validation_have_their_weights(backend):
    _, (x, y) = data(backend)
    weight = arr(backend, np.arange(24.0))
    model = fit(backend, 2, validation=(x, y, weight))
    loss, accuracy = scored(backend, model, x, y, weight)
    np.testing.assert_allclose(model.history.val_loss[-1], loss, atol=rounding(100, 2))
    np.testing.assert_allclose(model.history.val_accuracy[-1], accuracy, atol=rounding(100, 1))


@pytest.mark.parametrize("options", [{}, {"members": 4, "block": 2}], ids=["one", "members"])
def test_it_changes_nothing_of_the_training(backend, options):
    alone = fit(backend, 10, validation=None, **options)
    looked = fit(backend, 10, restore_best=False, **options)
    assert_equal(backend, looked.theta, host(backend, alone.theta))
    np.testing.assert_array_equal(looked.history.loss, alone.history.loss)
    assert not looked.history.restored
    assert alone.history.val_loss is None


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_best_is_restored_with_all_of_its_state(backend, monitor):
    model = fit(backend, monitor=monitor)
    history, (_, (x, y)) = model.history, data(backend)
    values = history.val_loss if monitor == "val_loss" else -history.val_accuracy
    best = int(history.val_epochs[values.argmin()])  # the first of equals
    assert EVERY < best < EPOCHS  # or nothing would be restored
    assert history.best_epoch == best
    assert history.restored
    assert len(values) == EPOCHS // EVERY  # no patience: to the end
    then = fit(backend, best, validation=None)
    for found, wanted in (
        (model.theta, then.theta),
        *((model.state[name], then.state[name]) for name in then.state),
        *((model.layer_state[name], then.layer_state[name]) for name in then.layer_state),
    ):
        np.testing.assert_array_equal(host(backend, found, dtype=None), host(backend, wanted))
    loss, accuracy = scored(backend, model, x, y)
    found = (loss, -accuracy)[monitor != "val_loss"]
    np.testing.assert_allclose(found, values.min(), atol=rounding(100, 2))


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_so_many_checks_behind_the_best(backend, patience):
    whole = fit(backend, restore_best=False).history
    history = fit(backend, patience=patience).history
    best, waited, end = np.inf, 0, 0
    for epoch, value in zip(whole.val_epochs, whole.val_loss, strict=True):
        waited = 0 if value < best else waited + 1
        best, end = min(best, value), epoch
        if waited == patience:
            break
    assert waited == patience
    assert history.exhausted == history.epochs == end
    assert history.best_epoch == end - patience * EVERY
    assert history.stop == 0
    assert not history.stopped
    assert not history.interrupted


def test_an_improvement_is_more_than_min_delta(backend):
    (x, y), validation = data(backend)
    found = fit(backend, patience=2, min_delta=0.05).history
    best, waited = np.inf, 0
    for value in found.val_loss:
        waited = 0 if value < best - 0.05 else waited + 1
        best = value if waited == 0 else best
    assert waited == 2
    assert found.val_loss[found.val_epochs.tolist().index(found.best_epoch)] == best


@pytest.mark.parametrize(("block", "own"), [(None, True), (2, False), (2, True)])
def test_each_member_has_a_patience_of_its_own(backend, block, own):
    (x, y), (xv, yv) = data(backend)
    if own:  # each member its own samples of validation
        xv = backend.xp.stack([xv, xv * 1.25, xv * 0.5, xv, xv + 0.125])
    # Not Adam, which divides a gradient that is rounding alone, of a bias before BatchNorm.
    options = {"patience": 2, "acc_goal": 0.65, "optimizer": xn.Momentum(0.3)}
    many = fit(backend, members=5, block=block, validation=(xv, yv), **options)
    ends = set()
    for i in range(5):
        mine = (xv[i, ...] if own else xv, yv)
        one = fit(backend, seed=3 + i, noise_seed=i, validation=mine, **options)
        assert_close(backend, many.theta[i, ...], host(backend, one.theta), atol=rounding(4000, 10))
        for name in ("exhausted", "best_epoch", "stop"):
            assert getattr(many.history, name)[i] == getattr(one.history, name), name
        count = len(one.history.val_loss)
        np.testing.assert_allclose(
            many.history.val_loss[:count, i], one.history.val_loss, atol=rounding(4000, 10)
        )
        assert np.isnan(many.history.val_loss[count:, i]).all()
        ends.add(one.history.exhausted or one.history.stop)
    assert len(ends) > 2  # they leave at different times


@pytest.mark.way("recorded")
def test_blocks_with_samples_of_their_own_share_a_program(backend, monkeypatch):
    from xpnet.compiler import replay

    made, record = [], replay.record
    monkeypatch.setattr(replay, "record", lambda *a, **o: made.append(a[0]) or record(*a, **o))
    _, (xv, yv) = data(backend)
    xv = backend.xp.stack([xv * (1 + i) for i in range(12)])
    options = {"members": 12, "block": 2, "batch_size": None, "threads": 1}
    fit(backend, 8, validation=(xv, yv), **options)
    looks = [step for step in made if type(step).__name__ == "ValidationStep"]
    assert len(looks) == 1  # of six blocks, at four checks


def test_who_diverges_comes_back_as_the_best(backend):
    (x, y), validation = data(backend)
    small = xn.Sequential(xn.Linear(3, 8), xn.Linear(8, 3))
    options = {"loss": LOSS, "seed": 0, "check_every": 1, "validation": validation}
    rates = xn.PiecewiseConstant([3, 9], [0.5, 0.01, 1e100])
    with pytest.warns(RuntimeWarning, match="NaN or infinite"):
        model = xn.fit(small, x, y, optimizer=xn.SGD(rates), epochs=40, **options)
    history = model.history
    assert history.diverged > history.best_epoch > 0
    loss, _ = scored(backend, model, *validation)
    np.testing.assert_allclose(loss, np.nanmin(history.val_loss), atol=rounding(100, 2))
    assert len(history.val_loss) == len(history.val_epochs) < history.epochs + 1


def test_with_validation_every_epoch_is_a_check_unless_it_is_said(backend):
    (x, y), validation = data(backend)
    options = {"loss": LOSS, "optimizer": ADAM, "seed": 0, "epochs": 3}
    seen = []

    class See(xn.Callback):
        def check(self, run):
            seen.append((run.epoch, sorted(run.validation)))

    xn.fit(net(), x, y, validation=validation, callbacks=[See()], **options)
    assert seen == [(epoch, ["val_accuracy", "val_loss"]) for epoch in (1, 2, 3)]
    seen.clear()
    xn.fit(net(), x, y, callbacks=[See()], **options)
    assert seen == [(3, [])]


def test_lines_and_the_bar_show_it(backend):
    from io import StringIO

    library("tqdm")
    lines, bar = [], StringIO()
    told = [xn.callbacks.LogLines(2, lines.append), xn.callbacks.ProgressBar(bar, disable=False)]
    history = fit(backend, 4, callbacks=told).history
    value, accuracy = history.val_loss[0], history.val_accuracy[0]
    assert lines[0].endswith(f", val loss: {value:.6f}, val acc: {accuracy:.6f}.")
    assert len(lines) == 2
    assert f"val loss={history.val_loss[-1]:.4f}" in bar.getvalue()


def test_tensorboard_has_it_at_the_checks(tmp_path):
    library("tensorboardX")
    backend = xn.backends.get("numpy")
    for members, tag in ((None, "val_loss"), (2, "val_loss/mean")):
        folder = tmp_path / tag.partition("/")[2]
        told = [xn.callbacks.TensorBoard(folder)]
        history = fit(backend, 4, members=members, callbacks=told).history
        steps, values = zip(*scalars(folder)[tag], strict=True)
        assert steps == (2, 4)
        mean = history.val_loss.reshape(2, -1).mean(axis=1)
        np.testing.assert_allclose(values, mean, rtol=rounding(10, 1, "float32"))


def squashed(rates, thetas, **options):
    """A tanh, whose loss is finite where its parameters are not; on NumPy."""
    net, one = xn.Sequential(xn.Linear(1, 1), xn.Tanh()), np.ones((4, 1))
    many = len(rates) > 1
    lr, theta = (np.array(rates)[:, None], np.array(thetas)) if many else (rates[0], thetas[0])
    options = {"validation": (one, one), "epochs": 6} | options
    with pytest.warns(RuntimeWarning, match="NaN or infinite"):
        return xn.fit(net, one, one, loss=xn.MSE(), optimizer=xn.SGD(lr), theta=np.array(theta),
                      **options)  # fmt: skip


def test_parameters_that_are_not_finite_are_the_best_of_nobody():
    model = squashed([1.7e308], [[0.1, 0.1]])
    np.testing.assert_array_equal(model.theta, [0.1, 0.1])
    assert (model.history.best_epoch, model.history.restored) == (0, False)
    many = squashed([0.1, 1.7e308], [[0.3, 0.3], [0.1, 0.1]], check_every=3)
    assert np.isfinite(many.theta).all()
    np.testing.assert_array_equal(many.history.best_epoch, [6, 0])
    assert np.isnan(many.history.last("loss")).tolist() == [False, True]
    assert many.best("loss").history.member == 0
    assert not many.member(1).history.restored
    alone = squashed([0.1, 1.7e308], [[0.3, 0.3], [0.1, 0.1]], check_every=1).member(1).history
    assert (alone.epochs, len(alone.loss)) == (1, 1)  # the last update is not an epoch


def test_the_warning_of_a_divergence_says_what_came_back(backend):
    x, y = arr(backend, [[1.0], [2.0]]), arr(backend, [[1.0], [3.0]])
    with pytest.warns(RuntimeWarning, match=r"theta is that of epoch \d+, the best in validation"):
        xn.fit(xn.Sequential(xn.Linear(1, 1)), x, y, loss=xn.MSE(), optimizer=xn.SGD(3.0),
               epochs=1000, seed=0, validation=(x, y))  # fmt: skip


@pytest.mark.parametrize("every_epoch", [True, False])
def test_what_members_left_with_is_that_of_what_came_back(every_epoch):
    x = np.linspace(-1, 1, 20)[:, None]
    y, net = 3 * x, xn.Sequential(xn.Linear(1, 1))
    many = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(np.array([[0.5], [0.01]])), epochs=50,
                  theta=np.array([[0.0, 0.0], [2.5, 0.0]]), validation=(x, -y),
                  every_epoch=every_epoch)  # fmt: skip
    np.testing.assert_array_equal(many.history.best_epoch, [1, 1])
    now = [float(((many.member(i)(x) - y) ** 2).mean()) for i in range(2)]
    if every_epoch:  # else the one before the update
        np.testing.assert_allclose(many.history.last("loss"), now, rtol=rounding(100, 1))
    assert many.best("loss").history.member == int(np.argmin(now)) == 1
    there = [float(((many.member(i)(x) + y) ** 2).mean()) for i in range(2)]
    np.testing.assert_allclose(many.history.last("val_loss"), there, rtol=rounding(100, 1))
    assert many.best().history.member == int(np.argmin(there)) == 0


def test_who_left_was_not_interrupted_and_patience_is_told():
    class Stop(xn.Callback):
        def check(self, run):
            if run.training == 1:
                run.stop()

    backend = xn.backends.get("numpy")
    many = fit(backend, 400, members=4, patience=2, callbacks=[Stop()])
    exhausted = many.history.exhausted
    assert np.count_nonzero(exhausted) == 3
    assert [many.member(i).history.stopped for i in range(4)] == (exhausted == 0).tolist()
    assert "exhausted: 3 of them" in repr(many.history)
    one = fit(backend, 400, patience=2).history
    assert f"exhausted: {one.exhausted}" in repr(one)


# ---- mistakes


def test_numbers_are_reckoned_with_as_they_were_checked():
    from decimal import Decimal

    numpy = xn.backends.get("numpy")
    wanted = fit(numpy, 20, patience=2, min_delta=0.05).history.val_loss
    found = fit(numpy, 20, patience=2, min_delta=Decimal("0.05")).history.val_loss
    np.testing.assert_array_equal(found, wanted)


def test_samples_of_validation_must_not_be_traced():
    jax = library("jax")
    backend = xn.backends.get("jax", "cpu")
    backend.prepare("float64")
    _, (xv, yv) = data(backend)
    with pytest.raises(TypeError, match=r"^In validation, x must hold values, not be traced\."):
        jax.vmap(lambda v: fit(backend, 1, validation=(v, yv)).theta)(xv[None])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validation": None, "patience": 3}, "validation must be given with patience, such as"),
        ({"validation": None, "monitor": "val_loss"}, "validation must be given with monitor"),
        ({"validation": None, "min_delta": 0.1}, "validation must be given with min_delta"),
        ({"validation": None, "restore_best": False}, "validation must be given with restore_best"),
        ({"validation": 0.2}, r"validation must be \(x, y\) or .* not 0.2"),
        ({"patience": 0}, "patience must be"),
        ({"min_delta": -0.1}, "min_delta must be"),
        (
            {"monitor": "loss"},
            "monitor must be one of val_loss, val_accuracy, .*, not 'loss'",
        ),
        ({"monitor": "val_acc"}, "monitor must be one of .*; did you mean 'val_accuracy'?"),
        ({"restore_best": 1}, "restore_best must be"),
    ],
    ids=str,
)
def test_a_mistake_is_told_before_anything_is_trained(options, says):
    with pytest.raises((TypeError, ValueError), match=rf"^{says}"):
        fit(xn.backends.get("numpy"), **options)


def test_samples_of_validation_are_looked_at_as_those_of_training(backend):
    (x, y), (xv, yv) = data(backend)
    xp = backend.xp
    for given, says in (
        ((xv[:, :2], yv), r"In validation, x must have the shape \(samples, 3\)"),
        ((xv, yv[:3, ...]), "In validation, y must hold integer classes of shape"),
        ((xp.astype(xv, xp.float32), yv), "In validation, x must have the dtype"),
        ((xv * float("nan"), yv), r"In validation, x must hold finite numbers"),
        ((xv, yv + 1), "In validation, y must"),
        ((xv, yv, -arr(backend, np.ones(24))), "In validation, sample_weight must"),
    ):
        with pytest.raises((TypeError, ValueError), match=says):
            fit(backend, validation=given)
    with pytest.raises(ValueError, match=r"monitor must be one of val_loss, val_r2, .*'val_acc"):
        small = xn.Sequential(xn.Linear(3, 1))
        xn.fit(small, x, x[:, :1], loss=xn.MSE(), optimizer=ADAM, epochs=1, seed=0,
               validation=(xv, xv[:, :1]), monitor="val_accuracy")  # fmt: skip
