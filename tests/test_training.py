"""`fit`: epochs, batches, checks, stopping, members that come and go, and what callbacks see."""

import copy
import dataclasses
import gc
import itertools
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import (
    arr,
    assert_close,
    assert_equal,
    host,
    library,
    report_network,
    rounding,
    xor,
)

# array-api-strict checks each call, and takes two thirds of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")

NET = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))
LOSS = xn.BCEWithLogits()
WIDER = xn.Sequential(xn.Linear(2, 5), xn.Tanh(), xn.Linear(5, 1))  # learns xor in 60 epochs
SGD = xn.Momentum(lr=0.1)
ADAM = xn.Adam(lr=1e-2)


def drift(steps, dtype="float64"):
    """How far two runs of ``steps`` steps may part that add the same numbers in another order.

    A step of these small networks is some hundred roundings of numbers below 10, and what they
    leave passes on to the next step with a factor near 1.
    """
    return rounding(100 * steps, 10, dtype)


def by_hand(backend, theta, x, y, batches, optimizer=SGD, loss=LOSS):
    """Train by the loop of the documentation; return the losses before each update, and theta."""
    state, losses = optimizer.init(theta), []
    for rows in batches:
        bx, by = (arr(backend, backend.to_host(a)[rows]) for a in (x, y))
        value, grad = NET.value_and_grad(theta, bx, by, loss)
        theta, state = optimizer.update(theta, grad, state)
        losses.append(float(host(backend, value)))
    return losses, theta


ALL = slice(None)


# ---- weights


def test_weights_in_batches_are_those_of_the_whole_data(backend):
    # Six samples, the first three a hundred times as heavy, in batches of three or of one as they
    # come: each batch is the mean of its samples' losses, times w / mean(w).
    x, y = (arr(backend, a[:6]) for a in xn.datasets.xor())
    weight = np.array([100.0] * 3 + [1.0] * 3)
    theta = NET.init(0, like=x)
    relative = weight / weight.mean()
    for size in (1, 3, 4):
        by_steps, state = theta, SGD.init(theta)
        for start in range(0, 6, size):
            rows = slice(start, min(start + size, 6))
            bx, by = x[rows, ...], y[rows, ...]
            slopes = [
                NET.value_and_grad(by_steps, bx[i : i + 1, :], by[i : i + 1, :], LOSS)[1]
                for i in range(bx.shape[0])
            ]
            grads = [host(backend, slope) * relative[rows][i] for i, slope in enumerate(slopes)]
            grad = arr(backend, np.mean(grads, axis=0))
            by_steps, state = SGD.update(by_steps, grad, state)
        model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=1, theta=theta, batch_size=size,
                       shuffle=False, sample_weight=arr(backend, weight))  # fmt: skip
        assert_close(backend, model.theta, host(backend, by_steps), atol=drift(6))


def test_the_history_of_weighted_batches_is_the_weighted_mean_of_the_whole(backend):
    x, y = (arr(backend, a[:6]) for a in xn.datasets.xor())
    theta, still = NET.init(0, like=x), xn.SGD(lr=0)
    for weight in ([100.0] * 3 + [1.0] * 3, [0.0] * 3 + [1.0, 2.0, 0.5]):
        weight = arr(backend, weight)
        whole = float(host(backend, NET.value_and_grad(theta, x, y, LOSS, weight)[0]))
        for size in (None, 1, 2, 4):
            history = xn.fit(NET, x, y, loss=LOSS, optimizer=still, epochs=2, theta=theta,
                             batch_size=size, sample_weight=weight).history  # fmt: skip
            np.testing.assert_allclose(history.loss, whole, rtol=0, atol=drift(1))


@pytest.mark.parametrize("members", [None, 2])
def test_a_sample_of_weight_0_does_not_end_a_training_however_large_its_loss(backend, members):
    # (1e30)² is infinite in float32: not in an epoch, nor when the loss of what is handed back is
    # looked at.
    x = arr(backend, [[0.0], [1.0]], "float32")
    y = arr(backend, [[1.0], [1e30]], "float32")
    weight = arr(backend, [1.0, 0.0], "float32")
    net = xn.Sequential(xn.Linear(1, 1))
    model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=2, seed=0,
                   members=members, sample_weight=weight)  # fmt: skip
    assert np.all(model.history.diverged == 0)
    assert model.history.epochs == 2


def test_a_weight_of_2_is_the_sample_twice_in_batches_too(backend):
    # In every batch of two a sample that counts twice, or in every batch of three one that is there
    # twice: the parts have the same share of the whole.
    x, y = xn.datasets.xor()
    rows = np.array([0, 1, 1, 2, 3, 3, 4, 5, 5])
    theta = NET.init(0, like=arr(backend, x))
    options = {"loss": LOSS, "optimizer": SGD, "epochs": 3, "theta": theta, "shuffle": False}
    weighted = xn.fit(NET, arr(backend, x[:6]), arr(backend, y[:6]), batch_size=2,
                      sample_weight=arr(backend, [1.0, 2.0] * 3), **options)  # fmt: skip
    twice = xn.fit(NET, arr(backend, x[rows]), arr(backend, y[rows]), batch_size=3, **options)
    assert_close(backend, weighted.theta, host(backend, twice.theta), atol=drift(9))
    np.testing.assert_allclose(weighted.history.loss, twice.history.loss, rtol=0, atol=drift(9))
    np.testing.assert_allclose(
        weighted.history.accuracy, twice.history.accuracy, rtol=0, atol=drift(1)
    )


@pytest.mark.parametrize(  # one and members, each without batches and with a remainder
    ("members", "batch_size"), [(None, None), (3, None), (None, 5), (3, 7)]
)
def test_a_contradicting_sample_of_weight_0_keeps_no_goal_from_being_reached(
    backend, members, batch_size
):
    x, y = xn.datasets.xor()
    x, y = np.concatenate([x, x[:1]]), np.concatenate([y, 1 - y[:1]])  # the first twice, once wrong
    weight = arr(backend, [1.0] * 21 + [0.0])
    model = xn.fit(WIDER, arr(backend, x), arr(backend, y), loss=LOSS, optimizer=xn.Adam(lr=0.05),
                   epochs=400, seed=1, members=members, acc_goal=1.0, check_every=20,
                   sample_weight=weight, batch_size=batch_size)  # fmt: skip
    assert np.all(np.asarray(model.history.stop) > 0)


def test_weighted_steps_are_split_over_threads(backend):
    x, y = xn.datasets.xor()
    weight = arr(backend, np.linspace(0, 2, 21))
    theta = NET.init(0, like=arr(backend, x))
    one, two = (
        xn.fit(NET, arr(backend, x), arr(backend, y), loss=LOSS, optimizer=ADAM, epochs=20,
               theta=theta, sample_weight=weight, threads=threads)
        for threads in (1, 2)
    )  # fmt: skip
    assert_close(backend, two.theta, host(backend, one.theta), atol=drift(20))
    np.testing.assert_allclose(two.history.loss, one.history.loss, rtol=0, atol=drift(20))
    np.testing.assert_allclose(two.history.accuracy, one.history.accuracy, rtol=0, atol=drift(1))


def test_soft_labels_are_trained_on(backend):
    x, y = xn.datasets.xor()
    soft = 0.9 * y + 0.05
    theta = NET.init(0, like=arr(backend, x))
    losses, after = by_hand(backend, theta, arr(backend, x), arr(backend, soft), [ALL] * 5)
    model = xn.fit(NET, arr(backend, x), arr(backend, soft), loss=LOSS, optimizer=SGD, epochs=5,
                   theta=theta)  # fmt: skip
    np.testing.assert_allclose(model.history.loss, losses, rtol=0, atol=drift(5))
    assert_close(backend, model.theta, host(backend, after), atol=drift(5))


# ---- epochs, checks and the goal


def test_the_loss_of_an_epoch_is_the_one_before_its_update(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    losses, after = by_hand(backend, theta, x, y, [ALL] * 7)
    model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=7, theta=theta, check_every=3)
    np.testing.assert_allclose(model.history.loss, losses, rtol=0, atol=drift(7))
    assert_close(backend, model.theta, host(backend, after), atol=drift(7))
    assert model.history.epochs == 7
    assert isinstance(model.history.loss, np.ndarray)
    assert (model.history.stop, model.history.diverged, model.history.interrupted) == (0, 0, False)


def test_the_goal_is_looked_at_only_at_the_checks(backend):
    x, y = xor(backend)
    net = report_network()

    def fit(**options):
        seed = np.random.RandomState(42)
        return xn.fit(net, x, y, loss=xn.BCE(), optimizer=ADAM, seed=seed, **options).history

    accuracy = fit(epochs=120, check_every=30).accuracy
    met = [k for k in range(1, 121) if accuracy[k - 1] >= 1]
    checks = [k for k in met if k % 30 == 0]
    assert met[0] < checks[0]
    found = fit(epochs=120, check_every=30, acc_goal=1.0)
    assert found.stop == found.epochs == checks[0]
    np.testing.assert_array_equal(found.accuracy, accuracy[: checks[0]])
    # At the end of the last interval, which is a shorter one, it is looked at as well.
    assert fit(epochs=checks[0] - 10, check_every=30, acc_goal=0.5).stop == 30
    assert fit(epochs=20, check_every=30, acc_goal=0.5).stop == 20


def test_a_goal_of_1_is_reached_for_every_number_of_samples_and_batches(backend):
    # 49 samples in batches of 10: shares of 10/49 and 9/49 do not add up to 1 in floating point.
    x = arr(backend, np.linspace(1, 2, 49)[:, None])
    y = arr(backend, np.ones((49, 1)))
    net = xn.Sequential(xn.Linear(1, 1, xn.Constant(1), xn.Zeros()))
    for batch_size in (None, 10):
        model = xn.fit(net, x, y, loss=LOSS, optimizer=xn.SGD(lr=0.0), epochs=4, seed=0,
                       acc_goal=1.0, check_every=2, batch_size=batch_size)  # fmt: skip
        assert model.history.stop == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_theta_and_history_have_the_dtype_of_the_data(backend, dtype):
    x, y = xor(backend, dtype)
    model = xn.fit(NET, x, y, loss=LOSS, optimizer=ADAM, epochs=3, seed=0)
    host(backend, model.theta, dtype=dtype, shape=(NET.size,))
    assert model.history.loss.dtype == model.history.accuracy.dtype == dtype
    kinds = {name: backend.dtype_name(value) for name, value in model.state.items()}
    assert kinds == {"m": dtype, "v": dtype, "step": "int64"}  # float32 counts to 2²⁴ alone


def test_the_history_holds_the_checks_alone_where_that_is_asked_for(backend):
    x, y = xor(backend)
    options = {"loss": LOSS, "optimizer": SGD, "epochs": 7, "seed": 0, "check_every": 3}
    for members in (None, 2):
        every = xn.fit(NET, x, y, members=members, **options).history
        some = xn.fit(NET, x, y, members=members, every_epoch=False, **options).history
        np.testing.assert_array_equal(some.loss, every.loss[[2, 5, 6]])
        np.testing.assert_array_equal(some.accuracy, every.accuracy[[2, 5, 6]])
        assert some.epochs == every.epochs == 7


def test_a_loss_of_regression_has_no_accuracy_in_its_history(backend):
    x, y = xor(backend)
    assert (
        xn.fit(NET, x, y, loss=xn.MSE(), optimizer=SGD, epochs=2, seed=0).history.accuracy is None
    )


def test_every_library_trains_as_numpy_does(backend):
    numpy = xn.backends.get("numpy")
    found = [
        xn.fit(NET, *xor(b), loss=LOSS, optimizer=SGD, epochs=9, seed=1, batch_size=8)
        for b in (backend, numpy)
    ]
    assert_close(backend, found[0].theta, found[1].theta, atol=drift(27))
    np.testing.assert_allclose(found[0].history.loss, found[1].history.loss, rtol=0, atol=drift(27))


# ---- batches


def test_batches_run_through_the_samples_with_an_odd_remainder_at_the_end(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    rows = [slice(0, 8), slice(8, 16), slice(16, 21)]
    losses, after = by_hand(backend, theta, x, y, rows * 3)
    model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=3, theta=theta, batch_size=8,
                   shuffle=False, check_every=2)  # fmt: skip
    assert_close(backend, model.theta, host(backend, after), atol=drift(9))
    epochs = np.reshape(losses, (3, 3)) @ [8 / 21, 8 / 21, 5 / 21]
    np.testing.assert_allclose(model.history.loss, epochs, rtol=0, atol=drift(9))


def test_shuffled_batches_take_every_sample_once_an_epoch(backend):
    # With a learning rate of 0 nothing moves, and the mean over the batches is that over all.
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    whole = float(host(backend, LOSS(NET(theta, x), y)))
    for batch_size in (7, 8):
        model = xn.fit(NET, x, y, loss=LOSS, optimizer=xn.SGD(lr=0.0), epochs=4, theta=theta,
                       batch_size=batch_size)  # fmt: skip
        np.testing.assert_allclose(model.history.loss, [whole] * 4, rtol=0, atol=drift(1))


def test_shuffling_is_seeded_and_the_same_on_every_library(backend):
    x, y = xor(backend)

    def fit(shuffle_seed):
        model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=3, seed=0, batch_size=8,
                       shuffle_seed=shuffle_seed)  # fmt: skip
        return host(backend, model.theta)

    np.testing.assert_array_equal(fit(3), fit(3))
    np.testing.assert_array_equal(fit(3), fit(np.random.default_rng(3)))
    assert abs(fit(3) - fit(4)).max() > 1e-6
    # The order is the host's: NumPy's shuffle of the rows, epoch by epoch.
    rng, rows = np.random.default_rng(3), []
    for _ in range(3):
        order = np.arange(21)
        rng.shuffle(order)
        rows += [order[:8], order[8:16], order[16:]]
    _, after = by_hand(backend, NET.init(0, like=x), x, y, rows)
    np.testing.assert_allclose(fit(3), host(backend, after), rtol=0, atol=drift(9))


def test_a_sample_weight_of_2_is_the_sample_twice(backend):
    x, y = xor(backend)
    weight = arr(backend, [2.0] + [1.0] * 20)
    rows = [0, *range(21)]
    x2, y2 = (arr(backend, backend.to_host(a)[rows]) for a in (x, y))
    theta = NET.init(0, like=x)
    weighted = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=5, theta=theta,
                      sample_weight=weight)  # fmt: skip
    twice = xn.fit(NET, x2, y2, loss=LOSS, optimizer=SGD, epochs=5, theta=theta)
    assert_close(backend, weighted.theta, host(backend, twice.theta), atol=drift(5))
    np.testing.assert_allclose(weighted.history.loss, twice.history.loss, rtol=0, atol=drift(5))


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("optimizer", [xn.Adam(lr=1e-2), xn.AdamW(lr=1e-2), xn.RMSprop(lr=1e-2)])
def test_data_of_unix_seconds_are_trained_on_in_float32(backend, optimizer, members):
    # Gradients near 3e18, whose squares float32 holds, but not a thousand times them.
    seconds = 1.7e9 + 3600.0 * np.arange(8)[:, None]
    x, y = arr(backend, seconds, "float32"), arr(backend, np.zeros((8, 1)), "float32")
    net = xn.Sequential(xn.Linear(1, 1, weight_init=xn.Constant(1.0)))
    model = xn.fit(
        net, x, y, loss=xn.MSE(), optimizer=optimizer, epochs=51, seed=0, members=members
    )
    # W shrinks from 1, and the gradient with it: so a step is at least lr · W.
    assert (model.history.loss[-1] <= 0.99**100 * model.history.loss[0]).all()


# ---- going on


@pytest.mark.parametrize("batch_size", [None, 8])
def test_ten_epochs_and_ten_more_are_twenty(backend, batch_size):
    x, y = xor(backend)
    options = {"loss": LOSS, "optimizer": ADAM, "batch_size": batch_size}
    rng = np.random.default_rng(0)
    twenty = xn.fit(NET, x, y, epochs=20, seed=0, shuffle_seed=rng, check_every=10, **options)
    rng = np.random.default_rng(0)
    ten = xn.fit(NET, x, y, epochs=10, seed=0, shuffle_seed=rng, **options)
    more = xn.fit(
        NET, x, y, epochs=10, theta=ten.theta, state=ten.state, shuffle_seed=rng, **options
    )
    assert_close(backend, more.theta, host(backend, twenty.theta), atol=drift(60))
    losses = np.concatenate([ten.history.loss, more.history.loss])
    np.testing.assert_allclose(losses, twenty.history.loss, rtol=0, atol=drift(60))


def test_a_generator_goes_on_behind_the_last_epoch_that_was_trained(backend):
    """Although orders are drawn ahead where a device is at work meanwhile."""

    class Stop(xn.Callback):
        def check(self, run):
            if run.epoch == 3:
                run.stop()

    x, y = xor(backend)
    rngs = [np.random.default_rng(0) for _ in range(3)]
    options = {"loss": LOSS, "optimizer": ADAM, "batch_size": 8, "seed": 0, "check_every": 1}
    xn.fit(NET, x, y, epochs=9, shuffle_seed=rngs[0], callbacks=[Stop()], **options)
    xn.fit(NET, x, y, epochs=3, shuffle_seed=rngs[1], **options)
    for _ in range(3):
        rngs[2].shuffle(np.arange(x.shape[0]))
    assert len({rng.integers(1 << 40) for rng in rngs}) == 1


def test_what_is_passed_in_is_not_changed(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    state = ADAM.init(theta)
    before = {name: np.array(host(backend, a)) for name, a in (*state.items(), ("theta", theta))}
    xn.fit(NET, x, y, loss=LOSS, optimizer=ADAM, epochs=3, theta=theta, state=state)
    for name, array in (*state.items(), ("theta", theta)):
        assert_equal(backend, array, before[name], dtype=str(before[name].dtype))


def test_a_model_of_a_run_is_not_changed_by_the_next_run(backend):
    x, y = xor(backend)
    first = xn.fit(NET, x, y, loss=LOSS, optimizer=ADAM, epochs=3, seed=0)
    before = np.array(host(backend, first.theta))
    xn.fit(NET, x, y, loss=LOSS, optimizer=ADAM, epochs=3, theta=first.theta, state=first.state)
    xn.fit(NET, x, y, loss=LOSS, optimizer=ADAM, epochs=3, seed=1)
    assert_equal(backend, first.theta, before)


# ---- losses that become NaN


LINE = xn.Sequential(xn.Linear(2, 1))
TRUNCATED = "became NaN or infinite"


def before_the_end(backend, lr, *, rows=ALL, member=0, loss=None, dtype="float64"):
    """Descend by hand; return the last theta with a finite loss, and how many steps it took.

    ``rows`` of the samples step by step; each step is of the plain formula, in NumPy.
    """
    x, y = (np.asarray(a, dtype) for a in xn.datasets.xor())
    theta = np.asarray(backend.to_host(LINE.init(member, like=arr(backend, x, dtype))))
    rows = itertools.repeat(rows) if isinstance(rows, slice) else rows
    thetas = []
    with np.errstate(all="ignore"):
        for these in rows:
            value, grad = LINE.value_and_grad(theta, x[these], y[these], loss or xn.MSE())
            if not (np.isfinite(value) and np.isfinite(theta).all()):
                return thetas[-1], len(thetas) - 1
            thetas.append(theta)
            theta = theta - np.asarray(lr, dtype) * grad
    raise AssertionError("it never diverged")


def assert_is(backend, found, expected, steps, dtype="float64"):
    """Equal to the rounding of so many steps, relative to parameters as large as 10¹⁴⁸."""
    assert_close(backend, found, expected, atol=0, rtol=drift(steps + 1, dtype), dtype=dtype)


def test_check_every_goes_by_its_old_name_too(backend):
    x, y = xor(backend)
    options = {
        "loss": LOSS,
        "optimizer": xn.Adam(lr=5e-2),
        "epochs": 60,
        "seed": 0,
        "acc_goal": 0.5,
    }
    new, old = (
        xn.fit(NET, x, y, **options, **{name: 7}) for name in ("check_every", "epoch_checking")
    )
    assert new.history.stop == old.history.stop > 0
    assert new.history.stop % 7 == 0
    with pytest.raises(ValueError, match="epoch_checking must be a whole number of at least 1"):
        xn.fit(NET, x, y, **options, epoch_checking=0)
    with pytest.raises(ValueError, match="epoch_checking must be left out where check_every is"):
        xn.fit(NET, x, y, **options, epoch_checking=5, check_every=7)


@pytest.mark.parametrize("check_every", [1, 2, 3, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_handed_back_is_the_last_theta_with_a_finite_loss(backend, dtype, check_every):
    x, y = xor(backend, dtype)
    for lr in (1e3, 1e12):
        with pytest.warns(RuntimeWarning, match=r"at epoch \d+, which .* last whose"):
            model = xn.fit(LINE, x, y, loss=xn.MSE(), optimizer=xn.Momentum(lr=lr), epochs=200,
                           seed=0, check_every=check_every)  # fmt: skip
        losses, epoch = model.history.loss, model.history.diverged
        assert len(losses) == model.history.epochs == epoch
        assert np.isfinite(losses[:-1]).all()
        assert not np.isfinite(losses[-1])
        assert model.history.stop == 0
        assert losses[-2] == pytest.approx(float(host(backend, xn.MSE()(model(x), y))), rel=1e-5)
        # … and the state is the one beside it: a run that ends there has both.
        whole = xn.fit(LINE, x, y, loss=xn.MSE(), optimizer=xn.Momentum(lr=lr), seed=0,
                       epochs=int(epoch) - 2, check_every=check_every)  # fmt: skip
        assert_is(backend, model.theta, host(backend, whole.theta), epoch, dtype)
        assert int(host(backend, model.state["step"])) == epoch - 2
        assert_is(backend, model.state["v"], host(backend, whole.state["v"]), epoch, dtype)


def test_the_loss_after_the_last_update_is_looked_at_too(backend):
    x, y = xor(backend)
    first = host(backend, LINE.init(0, like=x))
    for lr, loss in ((1e308, xn.MSE()), (1e200, xn.MSE()), (1e308, xn.Huber())):
        with pytest.warns(RuntimeWarning, match="with the last update, that of epoch 1, which"):
            model = xn.fit(LINE, x, y, loss=loss, optimizer=xn.SGD(lr=lr), epochs=1, seed=0)
        assert (model.history.epochs, model.history.diverged) == (1, 2)
        assert np.isfinite(model.history.loss).all()
        assert_equal(backend, model.theta, first)


@pytest.mark.parametrize("check_every", [1, 2, 5])
def test_in_batches_it_is_the_last_theta_whose_step_had_a_finite_loss(backend, check_every):
    x, y = xor(backend)
    for rng in (np.random.default_rng, np.random.RandomState):
        orders, mine = rng(3), []
        for _ in range(20):
            order = np.arange(21)
            orders.shuffle(order)
            mine += [order[:8], order[8:16], order[16:]]
        expected, steps = before_the_end(backend, 1e12, rows=mine)
        given = rng(3)
        with pytest.warns(RuntimeWarning, match=TRUNCATED):
            model = xn.fit(LINE, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=1e12), epochs=20,
                           seed=0, batch_size=8, shuffle_seed=given,
                           check_every=check_every)  # fmt: skip
        assert model.history.diverged == (steps + 1) // 3 + 1
        assert_is(backend, model.theta, expected, steps)
        # The generator has gone on by the epochs of the intervals, as if nobody had gone back.
        epochs = -(-int(model.history.diverged) // check_every) * check_every
        fresh = rng(3)
        for _ in range(epochs):
            fresh.shuffle(np.arange(21))
        assert (
            given.integers(1 << 30) == fresh.integers(1 << 30)
            if rng is np.random.default_rng
            else given.randint(1 << 30) == fresh.randint(1 << 30)
        )


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("check_every", [1, 3, 100])
def test_each_member_is_handed_back_with_its_own_last_finite_loss(backend, block, check_every):
    x, y = xor(backend)
    rates = [0.1, 1e12, 1e20, 0.05, 1e308, 1e12, 1e5]
    lr = arr(backend, np.array(rates)[:, None])
    with pytest.warns(RuntimeWarning, match="The loss of 5 of 7 members became NaN or infinite"):
        model = xn.fit(LINE, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=lr), epochs=50, seed=0,
                       members=7, block=block, check_every=check_every)  # fmt: skip
    losses = host(backend, xn.MSE()(model(x), y))
    assert np.isfinite(losses).all()
    for i, rate in enumerate(rates):
        if rate > 1:
            expected, steps = before_the_end(backend, rate, member=i)
            assert model.history.diverged[i] == steps + 2
        else:
            alone = xn.fit(LINE, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=rate), epochs=50, seed=i)
            expected, steps = host(backend, alone.theta), 50
            assert model.history.diverged[i] == 0
        assert_is(backend, model.theta[i, ...], expected, steps)


def test_a_member_with_data_of_its_own_goes_back_on_them(backend):
    x, y = xn.datasets.xor()
    scales = np.array([1.0, 1e3, 1e-3, 1e100])[:, None, None]
    xs, ys = arr(backend, x * scales), arr(backend, np.broadcast_to(y, (4, *y.shape)).copy())
    for block in (None, 2):
        with pytest.warns(RuntimeWarning, match="The loss of 2 of 4 members"):
            model = xn.fit(LINE, xs, ys, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=60, seed=0,
                           members=4, block=block, check_every=7)  # fmt: skip
        assert list(model.history.diverged > 0) == [False, True, False, True]
        assert np.isfinite(host(backend, xn.MSE()(model(xs), ys))).all()


def test_a_member_whose_update_after_the_goal_is_infinite_keeps_the_theta_that_reached_it(backend):
    x = arr(backend, [[1.0], [20.0]])
    y = arr(backend, [[1.0], [1.0]])
    net = xn.Sequential(xn.Linear(1, 1, xn.Constant(1), xn.Zeros()))
    lr = arr(backend, [[1e-3], [1.7e308], [1e-3]])
    with pytest.warns(RuntimeWarning, match="The loss of 1 of 3 members"):
        model = xn.fit(net, x, y, loss=LOSS, optimizer=xn.Momentum(lr=lr, maximize=True), epochs=9,
                       check_every=1, seed=0, members=3, acc_goal=1.0)  # fmt: skip
    # At the first check all have reached the goal, with the theta before the update.
    assert list(model.history.stop) == [1, 1, 1]
    assert list(model.history.diverged) == [0, 2, 0]
    assert np.isfinite(host(backend, LOSS(model(x), y))).all()
    assert_equal(backend, model.theta[1, ...], [1.0, 0.0])


@dataclasses.dataclass(frozen=True)
class Bounded(xn.Layer):
    """``sign x``-like: of an infinite input it makes a finite output, so that no loss tells."""

    def apply(self, xp, params, x):
        return xp.maximum(xp.minimum(x, 1.0), -1.0)

    def forward(self, xp, params, x):
        return self.apply(xp, params, x), lambda dy, need_dx=True: (dy, ())


def test_parameters_that_become_infinite_where_no_loss_does_are_not_handed_back(backend):
    x = arr(backend, np.ones((4, 2)))
    y = arr(backend, -np.ones((4, 1)))
    net = xn.Sequential(xn.Linear(2, 1, xn.Constant(0.25), xn.Zeros()), Bounded())
    for members in (None, 2):
        with pytest.warns(RuntimeWarning, match=TRUNCATED):
            model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=1e308), epochs=9, seed=0,
                           members=members, check_every=2)  # fmt: skip
        assert np.isfinite(model.history.loss).all()
        assert np.isfinite(host(backend, model.theta)).all()
        assert np.all(model.history.diverged == 2) or np.all(model.history.diverged == 3)


def test_a_loss_that_is_infinite_from_the_start_leaves_theta_as_it_was(backend):
    x, y = xor(backend)
    theta = arr(backend, np.full(NET.size, 1e200))
    with pytest.warns(RuntimeWarning, match="at epoch 1, before anything was trained"):
        model = xn.fit(NET, x, y, loss=xn.MSE(), optimizer=SGD, epochs=50, theta=theta)
    assert (model.history.diverged, model.history.epochs) == (1, 1)
    assert_equal(backend, model.theta, np.full(NET.size, 1e200))


def test_parameters_that_are_not_finite_are_refused(backend):
    x, y = xor(backend)
    theta = arr(backend, np.full(NET.size, np.nan))
    with pytest.raises(ValueError, match="theta must hold finite numbers"):
        xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=50, theta=theta)


def test_a_member_that_diverges_does_no_harm_to_the_others(backend):
    x, y = xor(backend)
    net = xn.Sequential(xn.Linear(2, 1))
    rates = [0.1, 1e12, 0.05]
    lr = arr(backend, np.array(rates)[:, None])
    with pytest.warns(RuntimeWarning, match="The loss of 1 of 3 members became NaN or infinite"):
        model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=lr), epochs=40, seed=0,
                       members=3, check_every=5)  # fmt: skip
    assert model.history.loss.shape == (40, 3)
    epoch = model.history.diverged[1]
    assert list(model.history.diverged > 0) == [False, True, False]
    assert not np.isfinite(model.history.loss[epoch - 1, 1])
    assert np.isnan(model.history.loss[epoch:, 1]).all()
    assert np.isfinite(model.history.loss[: epoch - 1, 1]).all()
    assert np.isfinite(host(backend, model.theta)).all()
    for i in (0, 2):
        alone = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=rates[i]), epochs=40, seed=i)
        assert_close(backend, model.theta[i, ...], host(backend, alone.theta), atol=drift(40))
        np.testing.assert_allclose(
            model.history.loss[:, i], alone.history.loss, rtol=0, atol=drift(40)
        )


# ---- members


def own_data(rng):
    """Each of five members its own points, labels and weights."""
    x, y = xn.datasets.xor()
    flips = rng.integers(0, 2, (5, 1, 1))
    return (
        x + rng.normal(0, 0.01, (5, 21, 2)),
        np.where(flips, 1 - y, y),
        rng.uniform(0.5, 2, (5, 21)),
    )


@pytest.mark.parametrize(("data", "block"), [("shared", None), ("own", None), ("own", 2)])
def test_member_i_trains_as_network_i_alone_and_leaves_at_its_own_goal(backend, data, block):
    x, y, weight = *xn.datasets.xor(), None
    if data == "own":
        x, y, weight = own_data(np.random.default_rng(1))
    options = {"loss": LOSS, "optimizer": xn.Adam(lr=5e-2), "epochs": 60, "check_every": 15}
    options["acc_goal"] = 0.9

    def fit(pick, **more):
        arrays = [
            None if a is None else arr(backend, a[pick] if data == "own" else a)
            for a in (x, y, weight)
        ]
        return xn.fit(WIDER, *arrays[:2], sample_weight=arrays[2], **options, **more)

    together = fit(ALL, seed=0, members=5, block=block)
    history = together.history
    assert len(set(history.stop)) > 2  # they leave at different checks, or never
    # As `drift`, and Adam divides by √v: gradients of 10⁻³ it makes a thousand times larger.
    atol = 1000 * drift(60)
    for i in range(5):
        alone = fit(i, seed=i)
        epochs = alone.history.epochs
        assert history.stop[i] == alone.history.stop
        np.testing.assert_allclose(history.loss[:epochs, i], alone.history.loss, rtol=0, atol=atol)
        np.testing.assert_allclose(
            history.accuracy[:epochs, i], alone.history.accuracy, rtol=0, atol=drift(1)
        )
        assert np.isnan(history.loss[epochs:, i]).all()
        assert_close(backend, together.theta[i, ...], host(backend, alone.theta), atol=atol)
        for name, value in alone.state.items():
            of_member = host(backend, together.state[name])[i].reshape(value.shape)
            np.testing.assert_allclose(of_member, host(backend, value), rtol=0, atol=atol)


def test_members_train_in_batches_as_alone(backend):
    x, y = xor(backend)
    options = {"loss": LOSS, "optimizer": SGD, "epochs": 6, "batch_size": 8, "check_every": 4}
    together = xn.fit(NET, x, y, seed=0, members=5, **options)
    for i in range(5):
        alone = xn.fit(NET, x, y, seed=i, **options)
        assert_close(backend, together.theta[i, ...], host(backend, alone.theta), atol=drift(18))
        np.testing.assert_allclose(
            together.history.loss[:, i], alone.history.loss, rtol=0, atol=drift(18)
        )


def test_members_that_left_early_go_on_as_they_would_alone(backend):
    # Each has its own count of steps, on which Adam's corrections depend.
    x, y = xor(backend)
    options = {"loss": LOSS, "optimizer": xn.Adam(lr=5e-2), "acc_goal": 0.9, "check_every": 15}
    first = xn.fit(WIDER, x, y, seed=0, members=5, epochs=60, **options)
    assert len(set(first.history.stop)) > 2
    options["acc_goal"] = None
    second = xn.fit(WIDER, x, y, theta=first.theta, state=first.state, epochs=5, **options)
    for i in range(5):
        steps = first.history.stop[i] or 60
        assert host(backend, second.state["step"])[i, 0] == steps + 5
        alone = xn.fit(WIDER, x, y, seed=i, epochs=int(steps) + 5, **options)
        assert_close(
            backend, second.theta[i, ...], host(backend, alone.theta), atol=1000 * drift(65)
        )


def test_an_ensemble_of_one_has_a_member_axis(backend):
    x, y = xor(backend)
    one = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=3, seed=0, members=1)
    assert one.history.loss.shape == one.history.accuracy.shape == (3, 1)
    assert one.history.stop.shape == (1,)
    host(backend, one.theta, shape=(1, NET.size))


# ---- callbacks, and ends before the end


class Events(xn.Callback):
    def __init__(self, name, log, *, stop_at=None, fail_at=None):
        self.name, self.log, self.stop_at, self.fail_at = name, log, stop_at, fail_at

    def note(self, what, run):
        self.log.append((self.name, what, run.seen, run.epoch))
        if what == self.fail_at:
            raise RuntimeError(f"{self.name} fails")

    def start(self, run):
        self.note("start", run)

    def check(self, run):
        self.note("check", run)
        if run.epoch == self.stop_at:
            run.stop()

    def finish(self, run):
        self.note("finish", run)


def test_callbacks_are_told_in_their_order_before_at_every_check_and_after(backend):
    log = []
    x, y = xor(backend)
    xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=7, seed=0, check_every=3,
           callbacks=[Events("a", log), Events("b", log)])  # fmt: skip
    moments = [("start", 0, 0), ("check", 0, 3), ("check", 3, 6), ("check", 6, 7)]
    told = [(name, *moment) for moment in moments for name in "ab"]
    # The last that started is the first to finish, as with statements end.
    assert log == [*told, ("b", "finish", 6, 7), ("a", "finish", 6, 7)]


def test_a_callback_sees_the_run_as_it_is(backend):
    x, y = xor(backend)
    seen = []

    class Look(xn.Callback):
        def check(self, run):
            seen.append((run.history.epochs, host(backend, run.model.theta).copy()))
            assert run.network is NET
            assert (run.epochs, run.acc_goal, run.members) == (6, None, None)

    model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=6, seed=0, check_every=3,
                   callbacks=[Look()])  # fmt: skip
    half = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=3, seed=0)
    assert [epochs for epochs, _ in seen] == [3, 6]
    np.testing.assert_array_equal(seen[0][1], host(backend, half.theta))
    np.testing.assert_array_equal(seen[1][1], host(backend, model.theta))


def test_a_callback_can_end_the_run(backend):
    log = []
    x, y = xor(backend)
    model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=9, seed=0, check_every=2,
                   callbacks=[Events("a", log, stop_at=4), Events("b", log)])  # fmt: skip
    assert model.history.epochs == 4
    assert model.history.stopped
    assert not model.history.interrupted  # which is a person's doing
    assert repr(model.history).endswith(", stopped)")
    assert [entry for entry in log if entry[0] == "b"][-1] == ("b", "finish", 2, 4)


def test_a_callback_that_fails_ends_the_run_and_those_that_started_are_told(backend):
    x, y = xor(backend)
    for fail_at, told in (("start", ["start", "finish"]), ("check", ["start", "check", "finish"])):
        log = []
        with pytest.raises(RuntimeError, match="b fails"):
            xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=4, seed=0, check_every=2,
                   callbacks=[Events("a", log), Events("b", log, fail_at=fail_at)])  # fmt: skip
        assert [what for name, what, *_ in log if name == "a"] == told


INTERRUPTED = """
import os, signal, sys
import numpy as np
import xpnet as xn

backend = xn.backends.get(*sys.argv[1:])
backend.prepare("float64")
x, y = (backend.asarray(a, "float64") for a in xn.datasets.xor())
net = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))
finished = []

class CtrlC(xn.Callback):
    def check(self, run):
        if run.epoch == 6:
            os.kill(os.getpid(), signal.SIGINT)

    def finish(self, run):
        finished.append(run.epoch)

options = dict(loss=xn.BCEWithLogits(), optimizer=xn.Momentum(lr=0.1), seed=0, check_every=3)
model = xn.fit(net, x, y, epochs=1000, callbacks=[CtrlC()], **options)
epochs = model.history.epochs
assert model.history.interrupted
assert not model.history.stopped
assert 6 < epochs <= 9, epochs  # the step in hand was done, or the interval where it is compiled
assert finished == [epochs]
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
again = xn.fit(net, x, y, epochs=epochs, **options)
np.testing.assert_allclose(again.history.loss, model.history.loss, rtol=0, atol=1e-12)
np.testing.assert_allclose(
    backend.to_host(again.theta), backend.to_host(model.theta), rtol=0, atol=1e-12
)
assert not again.history.interrupted
"""


def test_ctrl_c_ends_a_run_cleanly_and_keeps_what_was_done(backend, request):
    where = request.node.callspec.params["backend"].replace("cuda", "cuda:0").split(":", 1)
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *where], cwd=root, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


INTERRUPTED_IN_AN_EPOCH = """
import os, signal
import xpnet as xn

strict = xn.backends.get("strict")  # whose runner calls the loss at every step
x, y = (strict.asarray(a, "float64") for a in xn.datasets.xor())
net = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))
calls = []

class CtrlC(xn.MSE):
    def forward(self, *args):
        calls.append(1)
        if len(calls) == 14:
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(*args)

options = dict(optimizer=xn.SGD(), epochs=1000, seed=0, batch_size=7)
model = xn.fit(net, x, y, loss=CtrlC(), **options)
# Three steps an epoch: the fourteenth is in the fifth, and four are kept; then what is handed back
# is looked at.
assert len(calls) == 15, len(calls)
assert model.history.interrupted
assert model.history.epochs == len(model.history.loss) == 4, model.history
options["epochs"] = 4
expected = xn.fit(net, x, y, loss=xn.MSE(), **options).history.loss
assert (model.history.loss == expected).all()
"""


def test_ctrl_c_within_an_epoch_of_batches_keeps_the_epochs_that_were_done():
    library("array_api_strict")
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_AN_EPOCH],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_the_latest_metrics_come_in_the_same_order_on_every_library(backend):
    seen = []

    class Look(xn.Callback):
        def check(self, run):
            seen.append(list(run.latest))

    x, y = xor(backend)
    xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=2, seed=0, callbacks=[Look()])
    assert seen == [["loss", "accuracy"]]


# ---- the history


def test_a_history_says_in_a_line_how_it_went():
    x, y = xn.datasets.xor()
    options = {"loss": LOSS, "optimizer": xn.Adam(lr=1e-2), "epochs": 300, "acc_goal": 0.9}
    one = xn.fit(NET, x, y, seed=3, **options).history
    assert repr(one) == (
        f"History({one.epochs} epochs, loss: {one.loss[0]:.6g} to {one.loss[-1]:.6g}, "
        f"accuracy: {one.accuracy[0]:.6g} to {one.accuracy[-1]:.6g}, stop: {one.stop})"
    )
    many = xn.fit(NET, x, y, seed=3, members=4, **options).history
    there = np.count_nonzero(many.stop)
    assert repr(many) == (
        f"History({many.epochs} epochs, 4 members, stop: {there} of them, diverged: 0 of them)"
    )


def test_a_history_tells_of_no_stop_where_there_was_no_goal():
    x, y = xn.datasets.xor()
    for members in (None, 2):
        for goal in (None, 1.0):
            model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=3, seed=0, members=members,
                           acc_goal=goal)  # fmt: skip
            assert model.history.acc_goal == goal
            assert ("stop: 0" in repr(model.history)) == (goal is not None)


def test_a_history_is_copied_and_pickled_whole():
    x, y = xn.datasets.xor()
    model = xn.fit(NET, x, y, loss=LOSS, optimizer=SGD, epochs=3, seed=0, acc_goal=1.0)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(again.history) == repr(model.history)
        np.testing.assert_array_equal(again.history.loss, model.history.loss)
        np.testing.assert_array_equal(again.theta, model.theta)


# ---- one training after another


def again_and_again(backend, net, x, y, fits=3, **options):
    """Fit, and go on with another fit, and another; return the last theta, on the host."""
    options = {"loss": LOSS, "optimizer": ADAM, "epochs": 1, "seed": 0, **options}
    model = xn.fit(net, x, y, **options)
    del options["seed"]
    for _ in range(1, fits):
        model = xn.fit(net, x, y, theta=model.theta, state=model.state, **options)
    return np.array(host(backend, model.theta))


@pytest.fixture
def recordings(monkeypatch):
    """Every recording that is made while a test runs, by the form of theta."""
    from xpnet.compiler import replay

    made, record = [], replay.record

    def watched(*args, **options):
        made.append(args[2]["theta"].shape)
        return record(*args, **options)

    monkeypatch.setattr(replay, "record", watched)
    return made


def fresh():
    return xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))


@pytest.mark.parametrize(
    "options", [{}, {"members": 5, "block": 2, "threads": 2}, {"batch_size": 8}], ids=str
)
def test_a_training_that_goes_on_records_nothing_anew(backend, recordings, options):
    x, y = xor(backend)
    net = fresh()
    options = {"shuffle_seed": 0, **options} if "batch_size" in options else options
    one = again_and_again(backend, net, x, y, fits=1, **options)
    first = len(recordings)
    five = again_and_again(backend, net, x, y, fits=5, **options)
    assert len(recordings) == first
    if backend.way == "recorded":
        assert first > 0
    # … and nothing of it is seen: the digits are those of networks that were never trained before.
    np.testing.assert_array_equal(one, again_and_again(backend, fresh(), x, y, fits=1, **options))
    np.testing.assert_array_equal(five, again_and_again(backend, fresh(), x, y, fits=5, **options))


@pytest.mark.parametrize("plain", [True, False])
def test_a_state_that_an_optimizer_did_not_make_anew_is_not_written_into(backend, plain):
    x, y = xor(backend)
    net = fresh()
    theta = net.init(0, like=x)
    own = backend.asarray(np.zeros(net.size), "float64")

    class Follows(xn.SGD):
        def init_state(self, xp, theta):
            return {"slow": theta, "v": own}

        def step(self, xp, theta, grad, state):
            if plain and backend.eager:
                float(grad[0] * 0)  # which cannot be recorded
            state["v"] *= 0.9
            state["v"] += grad
            theta = theta - self.lr * state["v"]
            state["slow"] += 0.5 * (theta - state["slow"])
            return theta, state

    def run():
        options = {"loss": LOSS, "optimizer": Follows(lr=0.1), "epochs": 5, "theta": theta}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return backend.to_host(xn.fit(net, x, y, **options).theta)

    before = np.array(backend.to_host(theta))
    first = run()
    np.testing.assert_array_equal(run(), first)
    np.testing.assert_array_equal(backend.to_host(theta), before)
    assert not backend.to_host(own).any()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_last_look_finds_infinite_what_the_next_step_would(threads):
    # On two threads each has its own share of a sum, which overflows or not.
    net = xn.Sequential(xn.Linear(256, 256), xn.Linear(256, 1))
    x, y = np.zeros((4096, 256), "float32"), np.zeros((4096, 1), "float32")
    theta = np.zeros(net.size, "float32")
    theta[-1] = 1.0
    found = []
    for lr in (1.2e17, 1.8e17, 2.5e17):  # a loss of 4 lr²: 4096 of them, or 2048, are too many
        stops = []
        for epochs in (1, 2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(lr=lr), epochs=epochs,
                               theta=theta, threads=threads)  # fmt: skip
            stops.append(min(2, model.history.diverged or 3))
        assert stops[0] == stops[1], lr
        found.append(stops[0])
    assert found == sorted(found, reverse=True)
    assert found[-1] == 2


@pytest.mark.has("writable")
def test_data_that_were_changed_in_place_are_seen_by_the_next_training(backend):
    numbers = [np.array(a) for a in xn.datasets.xor()]
    weights = np.ones(21)
    for which in range(3):
        net = fresh()
        arrays = [backend.asarray(a, "float64") for a in (*numbers, weights)]
        for value in (0.0, 1.0, 0.0, -0.0, 1.0):
            arrays[which][0, ...] = value
            x, y, w = arrays
            true = again_and_again(backend, fresh(), x, y, fits=1, epochs=2, sample_weight=w)
            for _ in range(2):
                found = again_and_again(backend, net, x, y, fits=1, epochs=2, sample_weight=w)
                np.testing.assert_array_equal(found, true)


def test_what_differs_from_the_training_before_is_never_taken_from_it(backend):
    x, y = xor(backend)
    net = fresh()
    other = arr(backend, np.flip(backend.to_host(x), axis=0).copy())
    cases = [
        {}, {"optimizer": xn.Adam(lr=0.02)}, {"optimizer": xn.Adam(lr=0.02, maximize=True)},
        {"optimizer": SGD}, {"loss": xn.MSE()}, {"loss": xn.Huber(0.5)}, {"loss": xn.Huber(0.25)},
        {"batch_size": 7}, {"members": 3}, {"members": 3, "block": 1}, {"members": 4}, {"x": other},
        {"sample_weight": arr(backend, np.arange(21.0))}, {},
    ]  # fmt: skip
    found = []
    for case in (*cases, *cases[::-1]):
        options = {"epochs": 2, "fits": 1, **case}
        data = options.pop("x", x), y
        found.append(again_and_again(backend, net, *data, **options))
        if len(found) <= len(cases):
            alone = again_and_again(backend, fresh(), *data, **options)
            np.testing.assert_array_equal(found[-1], alone)
    for there, back in zip(found, found[::-1], strict=True):
        np.testing.assert_array_equal(there, back)


def test_a_network_that_several_threads_train_at_once_is_trained_as_alone(backend):
    x, y = xor(backend)
    net = fresh()
    alone = [again_and_again(backend, net, x, y, seed=k, epochs=20) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(again_and_again, backend, net, x, y, seed=k % 4, epochs=20)
            for k in range(16)
        ]
        for k, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result(), alone[k % 4])


def test_a_run_that_somebody_keeps_is_not_changed_by_the_next_training(backend):
    x, y = xor(backend)
    net, runs = fresh(), []

    class Keep(xn.Callback):
        def finish(self, run):
            runs.append((run, np.array(host(backend, run.model.theta))))

    for seed in range(3):
        again_and_again(backend, net, x, y, fits=1, seed=seed, epochs=7, callbacks=[Keep()])
    for run, theta in runs:
        assert_equal(backend, run.model.theta, theta)


def test_a_method_that_was_replaced_and_a_layer_of_ones_own_are_recorded_anew(
    backend, recordings, monkeypatch
):
    x, y = xor(backend)
    net = fresh()
    again_and_again(backend, net, x, y)
    value = xn.Tanh.value_and_slope
    monkeypatch.setattr(xn.Tanh, "value_and_slope", lambda *args: value(*args))
    before = len(recordings)
    again_and_again(backend, net, x, y, fits=1)
    assert len(recordings) > before or backend.way != "recorded"
    own = xn.Sequential(xn.Linear(2, 1), Bounded())
    for fits in (1, 2):
        before = len(recordings)
        again_and_again(backend, own, x, y, fits=fits, loss=xn.MSE())
        assert len(recordings) - before in (0, fits)


def test_nothing_is_kept_of_a_network_that_is_gone(backend):
    from xpnet.compiler import replay

    x, y = xor(backend)
    nets = [fresh() for _ in range(20)]
    for net in nets:
        again_and_again(backend, net, x, y, fits=2)
    assert len(replay._SHELF) <= replay.NETWORKS
    numbers = set(map(id, nets))
    del net, nets
    gc.collect()
    assert not numbers & set(replay._SHELF)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_blocks_with_data_of_their_own_share_a_program(backend, recordings, batch_size):
    x, y, weight = (arr(backend, np.concatenate([a, a, a[:3]])) for a in
                    own_data(np.random.default_rng(1)))  # fmt: skip
    options = {"loss": LOSS, "optimizer": xn.Adam(lr=5e-2), "epochs": 9, "seed": 0, "members": 13,
               "sample_weight": weight, "batch_size": batch_size, "check_every": 4}  # fmt: skip
    # 13 in blocks of 4 and 3; each size has a program, of batches one for the last of 5 samples too
    several = xn.fit(fresh(), x, y, block=4, threads=2, **options)
    sizes = {shape[0] for shape in recordings}
    if backend.way == "recorded":
        assert sizes == {3, 4}
        threads = 2 if backend.name == "numpy" else 1
        assert len(recordings) <= 2 * threads * (1 if batch_size is None else 2)
    whole = xn.fit(fresh(), x, y, block=13, **options)
    atol = 1000 * drift(9 * 3)
    assert_close(backend, several.theta, host(backend, whole.theta), atol=atol)
    np.testing.assert_allclose(several.history.loss, whole.history.loss, rtol=0, atol=atol)
