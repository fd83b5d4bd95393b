"""Samples that are read as they are needed: the training of samples in memory, in less of it."""

import signal
import threading
import tracemalloc
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, host, library, rounding
from xpnet.training.samples import looked_at
from xpnet.training.sources import Source, opened

LOSS, ADAM = xn.CrossEntropy(), xn.Adam(lr=0.05)
SAMPLES, BATCH = 50, 16

# array-api-strict checks each call, and takes most of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")


class Rows:
    """What has a shape, a dtype and rows: as files of all kinds have."""

    def __init__(self, values, chunks=None):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.asked = []
        if chunks:
            self.chunks = chunks

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            assert (np.diff(rows) > 0).all()
        self.asked.append(rows)
        return self.values[rows]


def net(features=3, outputs=3):
    return xn.Sequential(
        xn.Linear(features, 8), xn.BatchNorm(8), xn.Tanh(), xn.Dropout(0.1), xn.Linear(8, outputs)
    )


def values(samples=SAMPLES):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(samples, 3))
    return x, x.argmax(axis=1), rng.random(samples)


def fit(x, y, network=None, epochs=3, **options):
    usual = {"loss": LOSS, "optimizer": ADAM, "seed": 1, "batch_size": BATCH}
    return xn.fit(network or net(), x, y, epochs=epochs, **{**usual, **options})


def same(backend, found, wanted):
    """All that came of two trainings is the same, to the bit."""
    for mine, theirs in (
        ({"theta": found.theta}, {"theta": wanted.theta}),
        (found.state, wanted.state),
        (found.layer_state or {}, wanted.layer_state or {}),
    ):
        for name, array in theirs.items():
            np.testing.assert_array_equal(
                host(backend, mine[name]), host(backend, array), err_msg=name
            )
    np.testing.assert_array_equal(found.history.loss, wanted.history.loss)
    np.testing.assert_array_equal(found.history.accuracy, wanted.history.accuracy)


to_the_bit = pytest.mark.way("recorded", "plain")
"""A compiled step, or a few of them, is another program than an epoch: equal to rounding."""


OPTIONS = {
    "one": {},
    "in order": {"shuffle": False},
    "several batches a step": {"accumulate": 2},
    "members": {"members": 5, "block": 2},
    "weights": {"weights": True},
    "members that leave": {"members": 6, "block": 3, "acc_goal": 0.6, "epochs": 12,
                           "check_every": 1},
}  # fmt: skip


@to_the_bit
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_what_is_read_is_trained_on_as_what_is_in_memory(backend, tmp_path, options):
    x, y, weight = values()
    np.save(tmp_path / "x.npy", x)
    labels, options = arr(backend, y, "int64"), dict(options)
    if options.pop("weights", False):
        options["sample_weight"] = arr(backend, np.where(weight < 0.2, 0, weight))
    wanted = fit(arr(backend, x), labels, **options)
    same(backend, fit(tmp_path / "x.npy", labels, **options), wanted)


@pytest.mark.way("compiled")
@pytest.mark.parametrize(
    "options",
    [{}, *(pytest.param({name: value}, marks=pytest.mark.slow)
           for name, value in (("members", 3), ("weights", True), ("targets", True)))],
)  # fmt: skip
def test_compiled_steps_agree_to_rounding(backend, options):
    x, y, weight = values()
    labels, options = arr(backend, y, "int64"), dict(options)
    options |= {"network": xn.Sequential(xn.Linear(3, 3)), "optimizer": xn.SGD(lr=0.1)}
    if options.pop("weights", False):
        options["sample_weight"] = arr(backend, weight)
    targets = Rows(y) if options.pop("targets", False) else labels
    wanted = fit(arr(backend, x), labels, **options)
    found = fit(Rows(x) if targets is labels else arr(backend, x), targets, **options)
    # Each of the 12 steps adds up 16 samples, and moves theta by a tenth of a gradient below 10.
    assert_close(backend, found.theta, host(backend, wanted.theta), atol=rounding(12 * 100, 1))


@pytest.mark.parametrize("kind", ["npy", "memmap", "h5py", "zarr", "dask", "rows"])
def test_files_of_all_kinds_are_read(kind, tmp_path):
    x, y, _ = values()
    wanted = fit(x, y)
    np.save(tmp_path / "x.npy", x)
    if kind == "npy":
        given = str(tmp_path / "x.npy")
    elif kind == "memmap":
        given = np.load(tmp_path / "x.npy", mmap_mode="r")
    elif kind == "h5py":
        with library("h5py").File(tmp_path / "x.h5", "w") as file:
            file["x"] = x
        given = library("h5py").File(tmp_path / "x.h5")["x"]
    elif kind == "zarr":
        given = library("zarr").create_array(tmp_path / "x.zarr", data=x, chunks=(1, 3))
    elif kind == "dask":
        given = library("dask.array").from_array(x, chunks=(1, 3))
    else:
        given = Rows(x)
    try:
        same(xn.backends.get("numpy"), fit(given, y), wanted)
    finally:
        if kind == "h5py":
            given.file.close()


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_targets_are_read_too_and_numpy_trains_where_all_are(tmp_path, dtype):
    x, y, weight = values()
    y = y if dtype == "int64" else np.eye(3, dtype=dtype)[y]
    for name, array in (("x", x), ("y", y), ("w", weight)):
        np.save(tmp_path / f"{name}.npy", array)
    found = fit(*(tmp_path / f"{n}.npy" for n in "xy"), sample_weight=tmp_path / "w.npy")
    same(xn.backends.get("numpy"), found, fit(x, y, sample_weight=weight))


@to_the_bit
@pytest.mark.parametrize("loss", [xn.MSE(), xn.BCEWithLogits()], ids=["floats", "labels"])
def test_targets_of_floats_are_read_for_arrays_of_any_library(backend, loss):
    x, y, _ = values()
    targets = x if isinstance(loss, xn.MSE) else np.eye(3)[y]
    wanted = fit(arr(backend, x), arr(backend, targets), loss=loss)
    found = fit(arr(backend, x), Rows(targets), loss=loss)
    np.testing.assert_array_equal(host(backend, found.theta), host(backend, wanted.theta))
    np.testing.assert_array_equal(found.history.loss, wanted.history.loss)


@to_the_bit
def test_members_have_targets_and_weights_of_their_own_for_samples_that_are_read(backend):
    x, _, _ = values()
    rng = np.random.default_rng(0)
    y = arr(backend, rng.integers(0, 3, (3, len(x))), "int64")
    weight = arr(backend, rng.random((3, len(x))))
    options = {"members": 3, "block": 1, "sample_weight": weight, "threads": 1}
    same(backend, fit(Rows(x), y, **options), fit(arr(backend, x), y, **options))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", ">f4"])
def test_small_numbers_are_read_as_float32_or_what_theta_is(dtype):
    x, y, _ = values()
    small = (10 * np.abs(x)).astype(dtype)
    found = fit(Rows(small), y)
    assert found.theta.dtype == np.float32
    same(xn.backends.get("numpy"), found, fit(small.astype("float32"), y))
    if dtype != ">f4":
        theta = net().init(3, like=x)
        options = {"theta": theta, "seed": None}
        wide = fit(Rows(small), y, **options)
        same(xn.backends.get("numpy"), wide, fit(small.astype("float64"), y, **options))


def test_samples_of_several_axes_are_read_for_flatten():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4, 2)), rng.integers(0, 3, 40)
    network = xn.Sequential(xn.Flatten(4, 2), xn.Linear(8, 3))
    found = fit(Rows(x), y, network)
    same(xn.backends.get("numpy"), found, fit(x, y, network))


@to_the_bit
def test_samples_of_validation_are_read_and_their_metrics_are_those_of_all(backend):
    x, y, _ = values()
    labels = arr(backend, y, "int64")
    held = np.random.default_rng(1).normal(size=(40, 3))
    truth = held.argmax(axis=1)
    options = {"metrics": ["auc"], "restore_best": False, "check_every": 1}
    for members in (None, 3):
        wanted, found = (
            fit(arr(backend, x), labels, validation=validation, members=members, **options).history
            for validation in (
                (arr(backend, held), arr(backend, truth, "int64")),
                (Rows(held), Rows(truth)),
            )
        )
        np.testing.assert_array_equal(found.loss, wanted.loss)
        # Means of 40 losses below 4, added up in another order.
        atol = rounding(40, 4)
        np.testing.assert_allclose(found.val_loss, wanted.val_loss, rtol=0, atol=atol)
        np.testing.assert_allclose(found.val_accuracy, wanted.val_accuracy, rtol=0, atol=atol)
        np.testing.assert_allclose(found.val_auc, wanted.val_auc, rtol=0, atol=atol)


@to_the_bit
def test_a_loss_that_is_not_finite_is_gone_back_from(backend):
    x, y, _ = values()
    options = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=30.0), "epochs": 300,
               "network": xn.Sequential(xn.Linear(3, 3))}  # fmt: skip
    target = arr(backend, np.eye(3)[y])
    with pytest.warns(RuntimeWarning, match="NaN or infinite"):
        wanted = fit(arr(backend, x), target, **options)
    with pytest.warns(RuntimeWarning, match="NaN or infinite"):
        found = fit(Rows(x), target, **options)
    assert found.history.diverged == wanted.history.diverged > 0
    assert np.isfinite(host(backend, found.theta)).all()
    np.testing.assert_array_equal(host(backend, found.theta), host(backend, wanted.theta))


def test_labels_that_are_read_are_shared_however_many_members_there_are():
    x, _, _ = values(30)
    onehot = np.eye(3, dtype="int64")[np.random.default_rng(0).integers(0, 3, 30)]
    options = {"network": xn.Sequential(xn.Linear(3, 3)), "members": 3}
    for samples, batch in ((30, 3), (30, 9), (29, 13)):  # a batch, or the last, of 3 samples
        given, y = Rows(x[:samples]), onehot[:samples]
        weight = np.arange(samples) % 4
        found, wanted = (
            fit(given, target, batch_size=batch, sample_weight=weights, **options)
            for target, weights in ((Rows(y), Rows(weight)), (y, weight))
        )
        same(xn.backends.get("numpy"), found, wanted)


def test_metrics_are_given_what_is_computed_of_samples_of_weight_0():
    x, y, weight = values()
    weight, network = np.where(weight < 0.5, 0, weight), xn.Sequential(xn.Linear(3, 3))

    def spread(y, predicted, sample_weight):
        return predicted.std()

    found, wanted = (
        fit(x, y, network, validation=(given, y, weight), metrics=[spread], check_every=3).history
        for given in (Rows(x), x)
    )
    np.testing.assert_array_equal(found.val_spread, wanted.val_spread)  # of classes


class Largest(xn.MSE):
    def forward(self, xp, output, target, share):
        return xp.max((output - target) ** 2, axis=(-2, -1)), lambda: output - target


def test_a_loss_that_is_no_mean_over_samples_does_not_look_at_samples_that_are_read():
    x, _, _ = values()
    source = Rows(x)
    with pytest.raises(ValueError, match=(
        r"^In validation, x must be in memory for Largest\(\), which does not declare itself "
        r"samplewise, a mean over samples, not read by rows\.$"
    )):  # fmt: skip
        fit(x, x, loss=Largest(), validation=(source, x))
    assert not source.asked


# ---- memory and threads


def streamed(source, y):
    backend = xn.backends.get("numpy")
    given = Source("x", source).as_samples(net(), None)
    return looked_at(backend, net(), LOSS, given, y, None, None)


def test_one_batch_is_read_ahead_and_no_more():
    x, y, _ = values()
    source = Rows(x)
    with closing(streamed(source, y).parts(np.arange(48).reshape(6, 8))) as parts:
        for k, part in enumerate(parts, 1):
            np.testing.assert_array_equal(part.x, x[8 * (k - 1) : 8 * k])
            assert k <= len(source.asked) <= k + 1
    assert len(source.asked) == 6


def test_no_more_than_four_batches_are_in_memory(tmp_path):
    samples, features, batch = 640, 4096, 32
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (samples, features))
    file[:] = np.arange(features) % 7
    file.flush()
    network, y = xn.Sequential(xn.Linear(features, 2)), np.arange(samples) % 2
    options = {"network": network, "batch_size": batch, "threads": 1, "optimizer": xn.SGD(lr=1e-3)}
    one = batch * features * 4

    def peak(x):
        fit(x, y, epochs=1, **options)  # what is imported and kept
        tracemalloc.start()
        try:
            fit(x, y, epochs=2, **options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    in_memory = peak(np.array(file))  # with the batch that a step has for itself
    assert peak(tmp_path / "x.npy") < in_memory + 4 * one
    assert peak(np.load(tmp_path / "x.npy", mmap_mode="r")) < in_memory + 4.5 * one


def alive():
    return {thread for thread in threading.enumerate() if thread.name.startswith("xpnet reads")}


def test_no_thread_outlives_a_training_that_ends_or_is_stopped_or_fails():
    x, y, _ = values()

    class Stop(xn.callbacks.Callback):
        def check(self, run):
            assert not alive()
            run.stop()

    class Fails(Rows):
        def __getitem__(self, rows):
            if len(self.asked) == 5:
                raise KeyError("no such row")
            return super().__getitem__(rows)

    fit(Rows(x), y)
    assert not alive()
    assert fit(Rows(x), y, check_every=1, epochs=5, callbacks=[Stop()]).history.epochs == 1
    assert not alive()
    with pytest.raises(OSError, match=r"^x could not be read from sample \d+ to \d+ \(KeyError"):
        fit(Fails(x), y)
    assert not alive()


class Pressed(Rows):
    """At whose so manyeth reading Ctrl-C is pressed."""

    def __init__(self, values, at):
        super().__init__(values)
        self.at = at

    def __getitem__(self, rows):
        if len(self.asked) == self.at:
            signal.raise_signal(signal.SIGINT)
        return super().__getitem__(rows)


def test_ctrl_c_ends_the_run_after_the_step_in_hand():
    x, y, _ = values()

    source = Pressed(x, 7)  # behind the first samples, twice, and four batches: one more
    history = fit(source, y, epochs=5).history
    assert history.interrupted
    assert history.epochs == 1
    assert len(source.asked) <= 10
    assert not alive()


def test_nothing_is_looked_at_in_validation_behind_ctrl_c():
    x, y, _ = values()
    held = Rows(x)
    history = fit(Pressed(x, 7), y, epochs=5, check_every=5, validation=(held, y)).history
    assert history.interrupted
    assert history.epochs == 1
    assert not held.asked
    held = Pressed(x, 5)  # behind the four batches of the first epoch
    history = fit(x, y, epochs=5, validation=(held, y)).history
    assert history.interrupted
    assert history.epochs == 2
    assert list(history.val_epochs) == [1]
    assert len(held.asked) <= 7
    assert not alive()


def test_targets_in_a_map_of_a_file_are_an_array_where_x_is_one(tmp_path):
    x, y, _ = values()
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    assert opened(BATCH, x=x, y=mapped)["y"] is mapped
    assert isinstance(opened(BATCH, x=Rows(x), y=mapped)["y"], Source)
    same(xn.backends.get("numpy"), fit(Rows(x), mapped), fit(x, mapped))


# ---- mistakes


def test_a_file_that_ends_too_soon_is_told_by_one_sentence(tmp_path):
    x, y, _ = values()
    path = tmp_path / "x.npy"
    np.save(path, x)

    class Cut(xn.callbacks.Callback):
        def check(self, run):
            with path.open("r+b") as file:
                file.truncate(300)

    with pytest.raises(OSError, match=r"^x could not be read .*the file ends before its last"):
        fit(path, y, check_every=1, callbacks=[Cut()])
    with pytest.raises(ValueError, match=r"^x must be an \.npy file that can be read, not "):
        fit(path, y)


def test_a_number_that_is_not_finite_is_told_by_its_sample():
    x, y, _ = values()
    x = np.concatenate([x, x])
    x[71, 2] = np.nan  # behind the first samples, on which layers are tried out
    with pytest.raises(ValueError, match=r"^x must hold finite numbers, but x\[71, 2\] is nan\.$"):
        fit(Rows(x), np.concatenate([y, y]))


class Frame(Rows):
    def to_numpy(self):
        return self.values


MISTAKES = {
    "x must be an array, or the path of an .npy file, not 'x.csv'.": {"x": "x.csv"},
    "x must be an .npy file that can be read, not 'no.npy' (No such file or directory).":
        {"x": "no.npy"},
    "batch_size must be given where x is read by rows, such as batch_size=256, not None: for a "
    "step on all samples, x must be an array in memory.": {"batch_size": None},
    "batch_size must be at most the 50 samples of x, not 51.": {"batch_size": 51},
    "x must have the shape (samples, 3), or (members, …) before it, not (50, 2).":
        {"x": Rows(np.zeros((50, 2)))},
    "x must have the shape (samples, features) where it is read by rows, not (2, 50, 3): members "
    "share it; use np.asarray(x) for their own.": {"x": Rows(np.zeros((2, 50, 3))), "members": 2},
    "x must be of float32 or float64, or of bool, int8, uint8, int16, uint16, float16, which are "
    "read as those, not of int64.": {"x": Rows(np.zeros((50, 3), int))},
    "x must hold real numbers, not complex128.": {"x": Rows(np.zeros((50, 3), complex))},
    "x must hold at least one sample, not be empty with shape (0, 3).":
        {"x": Rows(np.zeros((0, 3)))},
    "x must be in memory for the statistics of Standardize(features=3), not read by rows; take "
    "them of some samples: theta=net.init(seed, like=some), layer_state=net.init_state(like=some, "
    "x=some).":
        {"network": xn.Sequential(xn.Standardize(3), xn.Linear(3, 3))},
    "y must hold the 50 samples of x, not 49.": {"y": Rows(np.zeros(49, int))},
    "y must hold classes from 0 to 2, as many as the network has outputs, not 3 to 3.":
        {"y": Rows(np.full(50, 3))},
    "x must be an array of numpy, cupy, torch, jax, strict, not Frame; use x.to_numpy().":
        {"x": Frame(np.zeros((50, 3)))},
    "In validation, x must have the dtype float64 of x of training, not float32.":
        {"validation": (Rows(np.zeros((9, 3), "float32")), np.zeros(9, int))},
}  # fmt: skip


@pytest.mark.parametrize("sentence", MISTAKES)
def test_a_mistake_is_told_by_one_sentence(sentence):
    x, y, _ = values()
    with pytest.raises((TypeError, ValueError)) as info:
        fit(**{"x": Rows(x), "y": y, **MISTAKES[sentence]})
    assert str(info.value) == sentence


def test_samples_in_the_order_of_fortran_are_told_their_cure(tmp_path):
    x, y, _ = values()
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    with pytest.raises(ValueError, match=r"in Fortran's order, .*np\.ascontiguousarray\(x\)\)\.$"):
        fit(tmp_path / "x.npy", y)


def test_samples_that_are_stored_together_are_warned_of_where_they_are_shuffled():
    x, y, _ = values()
    with pytest.warns(RuntimeWarning, match="x is stored in chunks of 40 samples, .* 3 times"):
        fit(Rows(x, chunks=(40, 3)), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Rows(x, chunks=(40, 3)), y, shuffle=False)
        fit(Rows(x, chunks=(2, 3)), y)


def test_it_is_explained_as_what_is_in_memory(backend):
    x, y, _ = values()
    labels = arr(backend, y, "int64")
    options = {"loss": LOSS, "optimizer": ADAM, "batch_size": BATCH}
    found, wanted = (
        xn.explain(net(), one, labels, **options) for one in (Rows(x), arr(backend, x))
    )
    assert (found.way, found.calls, found.threads) == (wanted.way, wanted.calls, wanted.threads)


def test_a_picture_of_samples_that_are_read_has_the_curves_alone(tmp_path):
    library("matplotlib")
    x, y, _ = values()
    network = xn.Sequential(xn.Linear(2, 1))
    picture = xn.callbacks.Picture(tmp_path / "a.png")
    fit(Rows(x[:, :2]), y[:, None] > 1, network, loss=xn.BCEWithLogits(), callbacks=[picture])
    assert (tmp_path / "a.png").exists()


def test_a_training_of_samples_that_are_read_goes_on_from_its_checkpoint(tmp_path):
    x, y, _ = values()
    np.save(tmp_path / "x.npy", x)

    def train(folder, epochs, **options):
        callback = xn.callbacks.Checkpoint(tmp_path / folder)
        options |= {"callbacks": [callback], "check_every": 1}
        return fit(tmp_path / "x.npy", y, epochs=epochs, **options)

    wanted = train("a", 5)
    train("b", 2)
    same(xn.backends.get("numpy"), train("b", 5, resume=tmp_path / "b"), wanted)
    np.save(tmp_path / "x.npy", x + 1)
    with pytest.raises(ValueError, match=r"^x must be what it was in the training of the"):
        train("b", 6, resume=tmp_path / "b")


@pytest.mark.parametrize("kind", [str, Path])
def test_files_of_validation_are_compared_by_what_is_in_them(kind, tmp_path):
    x, y, _ = values()
    files = [tmp_path / "x.npy", tmp_path / "y.npy"]
    options = {"validation": tuple(map(kind, files)), "check_every": 1}
    for file, held in zip(files, (x, y), strict=True):
        np.save(file, held)
    fit(x, y, epochs=1, callbacks=[xn.callbacks.Checkpoint(tmp_path / "a")], **options)
    fit(x, y, epochs=2, resume=tmp_path / "a", **options)
    for file, held in zip(files, (x, y), strict=True):
        np.save(file, (held + 1) % 3)
        with pytest.raises(ValueError, match=r"^validation must be what it was in the training"):
            fit(x, y, epochs=2, resume=tmp_path / "a", **options)
        np.save(file, held)
