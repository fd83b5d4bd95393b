"""Checkpoints: what goes on from one ends as if it had never stopped, and nothing is ever lost."""

import io
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, host, library, rounding, scalars
from xpnet.callbacks import Checkpoint, LogLines, ProgressBar, TensorBoard
from xpnet.files import tensors
from xpnet.training.checkpoint import newest
from xpnet.training.progress import Progress

NUMPY = xn.backends.get("numpy")
BATCHES = {"batch_size": 16}
ROOT = Path(__file__).resolve().parent.parent
EPOCHS, EVERY = 8, 2
LRS = np.array([[0.1], [1e200], [1e3], [1e150], [0.2]])
SCHEDULE = xn.CosineDecay(np.linspace(0.01, 0.1, 3)[:, None], EPOCHS)

SETTINGS = {
    "whole": {},
    "batches": {"batch_size": 16, "dtype": "float32"},
    "patience": {
        **{"batch_size": 16, "validation": True, "patience": 1, "epochs": 12},
        **{"metrics": ("balanced_accuracy",), "monitor": "val_log_loss"},
    },
    "members that leave": {
        **{"batch_size": 16, "members": 7, "block": 2, "validation": True, "patience": 2},
        **{"check_every": 1, "threads": 2},
    },
    "parts, and an average": {
        **{"batch_size": 8, "accumulate": 2, "validation": True},
        "optimizer": xn.AdamW(0.05, ema_decay=0.9, clip_norm=1.0),
    },
    "a goal": {"members": 9, "block": 4, "acc_goal": 0.55, "optimizer": xn.Momentum(0.3)},
    "checks alone": {
        **{"batch_size": 8, "every_epoch": False, "check_every": 3},
        **{"shuffle_seed": lambda: np.random.RandomState(3)},
    },
    "diverging": {"optimizer": xn.SGD(1e200), "check_every": 1},
    "members that diverge": {"members": 5, "block": 2, "optimizer": xn.SGD(LRS), "check_every": 3},
    "schedules": {
        **{"members": 3, "optimizer": xn.Adam(SCHEDULE, transforms=(xn.ClipNorm(1.0),))},
        **{"noise_seed": [3, 1, 2], "batch_size": 16},
        **{"shuffle_seed": lambda: np.random.Generator(np.random.SFC64(1))},
    },
    "samples of their own": {"members": 3, "block": 2, "own": True, "batch_size": 16},
}  # fmt: skip


def net():
    return xn.Sequential(
        xn.Linear(3, 8), xn.BatchNorm(8), xn.Tanh(), xn.Dropout(0.1), xn.Linear(8, 3)
    )


def fit(backend, *callbacks, own=False, dtype="float64", validation=None, **options):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    xs = np.stack([x, x + 1, 2 * x]) if own else x
    if validation:
        options["validation"] = arr(backend, x[40:], dtype), arr(backend, y[40:], "int64")
    usual = {"optimizer": xn.Adam(0.05), "epochs": EPOCHS, "seed": 3, "check_every": EVERY}
    options = {**usual, "loss": xn.CrossEntropy(), **options}
    options = {k: v() if k == "shuffle_seed" else v for k, v in options.items()}
    data = arr(backend, xs[..., :40, :], dtype), arr(backend, y[:40], "int64")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The loss (became|of|was)", RuntimeWarning)
        return xn.fit(net(), *data, callbacks=callbacks, **options)


def said(backend, model):
    """All of a model, on the host."""
    arrays = {"theta": model.theta, **model.state, **(model.layer_state or {})}
    found = {name: host(backend, array) for name, array in arrays.items()}
    history = vars(model.history)
    history = {**history, **history["val_metrics"], "val_metrics": 0, "greater": 0}
    return found | {f"history.{name}": value for name, value in history.items()}


def assert_same(backend, model, expected, *but):
    found, wanted = said(backend, model), said(backend, expected)
    assert found.keys() == wanted.keys()
    for name in found.keys() - {f"history.{one}" for one in but}:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name, strict=True)


def device_of(backend):
    kind = type(backend)
    return next(name for name in kind.devices() if kind(name).device == backend.device)


class Kept(xn.Callback):
    """Somebody's own callback, which keeps the progress of each check in a file of its own."""

    def __init__(self, folder):
        self.folder = folder

    def start(self, run):
        self.check(run)

    def check(self, run):
        if run.progress is not None:
            run.progress.write(self.folder / f"{run.epoch}.safetensors")


class Told(xn.Callback):
    """Does something at the check of an epoch."""

    def __init__(self, epoch, does):
        self.epoch, self.does = epoch, does

    def check(self, run):
        if run.epoch == self.epoch:
            self.does(run)


def epochs_in(folder):
    names = [path.name for path in folder.iterdir()]
    return sorted(int(re.fullmatch(r"epoch-(\d+)\.safetensors", name)[1]) for name in names)


# ---- the same bits


@pytest.mark.slow_on("strict", "strict:device1", "jax")
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_run_that_goes_on_ends_with_the_bits_of_one_that_never_stopped(
    backend, setting, tmp_path
):
    options = SETTINGS[setting]
    plain = fit(backend, **options)
    assert_same(backend, fit(backend, Kept(tmp_path), **options), plain)  # to keep changes nothing
    files = list(tmp_path.iterdir())
    for file in files:
        assert_same(backend, fit(backend, resume=file, **options), plain)
    again, first = tmp_path / "again", f"{options.get('check_every', EVERY)}.safetensors"
    again.mkdir()
    fit(backend, Kept(again), resume=tmp_path / first, **options)
    for file in again.iterdir():  # and what it writes is what would have been written
        (arrays, header), (others, other) = map(tensors.read, (file, tmp_path / file.name))
        assert header == other
        for name, array in others.items():
            np.testing.assert_array_equal(arrays[name], array, err_msg=name, strict=True)
    history = plain.history
    if setting in ("patience", "members that leave"):
        assert np.any(history.exhausted)
    if setting == "a goal":
        assert 0 < np.count_nonzero(history.stop) < 9
    if "div" in setting:  # one of them in the first step behind a check
        diverged = np.atleast_1d(history.diverged)
        assert np.any(diverged[diverged > 1] % options["check_every"] == 1 % options["check_every"])


def test_a_run_goes_on_on_every_library(backend, tmp_path):
    options = {"batch_size": 16, "members": 2, "epochs": 4}
    plain = fit(backend, Checkpoint(tmp_path, keep=2), **options)
    (tmp_path / "epoch-4.safetensors").unlink()
    assert_same(backend, fit(backend, resume=tmp_path, **options), plain)


ELSEWHERE = """
from tests.test_checkpoint import *
backend = xn.backends.get({name!r}, {device!r})
backend.prepare("float64")
model = fit(backend, resume={path!r}, **{options!r})
np.save({path!r} + ".npy", backend.to_host(model.theta))
"""


@pytest.mark.program
@pytest.mark.way("recorded", "compiled")
def test_a_program_that_is_compiled_anew_goes_on_with_the_same_bits(backend, tmp_path):
    options = {"batch_size": 16, "members": 3, "block": 2}
    plain = fit(backend, Kept(tmp_path), **options)
    path = str(tmp_path / "4.safetensors")
    where = {"name": backend.name, "device": device_of(backend)}
    done = python("-c", ELSEWHERE.format(**where, path=path, options=options))
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(f"{path}.npy"), host(backend, plain.theta))


def test_it_may_go_on_on_another_library(backend, tmp_path):
    # Not Adam, which divides a gradient that is rounding alone, of a bias before BatchNorm.
    options = {"batch_size": 16, "optimizer": xn.Momentum(0.05)}
    plain = fit(NUMPY, Kept(tmp_path), **options)
    model = fit(backend, resume=tmp_path / "4.safetensors", **options)
    assert_close(backend, model.theta, plain.theta, atol=rounding(4000, 10))
    np.testing.assert_array_equal(model.history.loss[:4], plain.history.loss[:4])


def test_a_run_that_is_done_is_only_returned(backend, tmp_path):
    plain = fit(backend, Checkpoint(tmp_path), epochs=4)
    assert_same(backend, fit(backend, Checkpoint(tmp_path), epochs=4, resume=tmp_path), plain)


@pytest.mark.slow_on("strict", "strict:device1")
def test_more_epochs_go_on_as_if_they_had_been_asked_for(backend, tmp_path):
    fit(backend, Checkpoint(tmp_path), epochs=4, validation=True)
    plain = fit(backend, epochs=8, validation=True)
    assert_same(backend, fit(backend, epochs=8, validation=True, resume=tmp_path), plain)


@pytest.mark.parametrize("epochs", [5, 12])
def test_a_run_that_ended_between_two_checks_goes_on_from_the_one_before(epochs, tmp_path):
    """As its last check is one that a longer run has not, which may be its best, or end it."""
    options = {"validation": True, "patience": 2, "every_epoch": False}
    fit(NUMPY, Checkpoint(tmp_path), epochs=5, **options)
    assert epochs_in(tmp_path) == [4]
    model = fit(NUMPY, epochs=epochs, resume=tmp_path, **options)
    assert_same(NUMPY, model, fit(NUMPY, epochs=epochs, **options))


def test_a_run_that_ends_before_its_first_check_is_told_to_write_none(tmp_path):
    with pytest.warns(RuntimeWarning, match=r"^check_every=9 is more than epochs=8, so that no"):
        fit(NUMPY, Checkpoint(tmp_path), check_every=9)
    assert epochs_in(tmp_path) == []


@pytest.mark.parametrize(
    ("lr", "options"),
    [
        (1e160, {}),
        (np.array([[1e160], [0.1], [1e160]]), {"members": 3, "block": 2}),
        (1e80, {"batch_size": 8}),  # of two steps an epoch
    ],
    ids=["one", "members", "batches"],
)
def test_who_fails_in_the_first_step_behind_a_checkpoint_goes_back_before_it(
    backend, lr, options, tmp_path
):
    """Behind the first epoch all is finite but the loss, since that is a square."""
    rng = np.random.default_rng(0)
    x, y = arr(backend, rng.normal(size=(12, 2))), arr(backend, rng.normal(size=(12, 1)))
    options = {
        **{"loss": xn.MSE(), "optimizer": xn.SGD(lr), "epochs": 3, "seed": 3, "check_every": 1},
        **options,
    }
    network = xn.Sequential(xn.Linear(2, 1))
    with pytest.warns(RuntimeWarning, match="became NaN or infinite"):
        plain = xn.fit(network, x, y, callbacks=[Kept(tmp_path)], **options)
    assert np.max(plain.history.diverged) == 2
    for path in tmp_path.iterdir():
        with pytest.warns(RuntimeWarning, match="became NaN or infinite"):
            assert_same(backend, xn.fit(network, x, y, resume=path, **options), plain)


def test_members_are_computed_in_the_blocks_that_they_were_in(monkeypatch, tmp_path):
    sizes = []

    def look(run):
        sizes.append([block.size for block in run._loop.population.blocks])

    fit(NUMPY, Kept(tmp_path), Told(8, look), members=30)
    monkeypatch.setattr(type(NUMPY), "block_bytes", 1)
    fit(NUMPY, Told(8, look), members=30, resume=tmp_path / "4.safetensors")
    fit(NUMPY, Told(8, look), members=30)
    assert sizes[0] == sizes[1] != sizes[2]


GONE = {"members": 5, "block": 2, "optimizer": xn.SGD(LRS), "check_every": 3, "epochs": 9}


@pytest.mark.parametrize("options", [BATCHES, GONE], ids=["one", "members"])
def test_a_checkpoint_is_read_as_the_model_that_it_was(backend, options, tmp_path):
    models = {}

    class Models(xn.Callback):
        def check(self, run):
            models[f"{run.epoch}.safetensors"] = run.model

    fit(backend, Kept(tmp_path), Models(), **options)
    for name, model in models.items():
        read = xn.load(tmp_path / name, backend=backend.name, device=device_of(backend))
        assert read.history is None
        assert read.optimizer == model.optimizer
        read.history = model.history
        assert_same(backend, read, model)


def test_what_cannot_be_described_can_go_on_and_is_no_model(tmp_path):
    def take(resume=None):
        network = xn.Sequential(xn.Linear(2, 1), Doubled())
        return xn.fit(**{**GIVEN, "network": network}, callbacks=[Kept(tmp_path)], resume=resume)

    plain, path = take(), tmp_path / "2.safetensors"
    np.testing.assert_array_equal(take(path).theta, plain.theta)
    with pytest.raises(ValueError, match=r"path must be a file of a model, but .* 'checkpoint'"):
        xn.load(path)


# ---- how a run may end


NEVER = 10**9
"""An ``every`` that never comes: there is a checkpoint at the end alone."""


@pytest.mark.parametrize("options", [{}, BATCHES, {**BATCHES, "members": 3, "block": 2}])
def test_ctrl_c_leaves_a_checkpoint_of_the_last_check(options, tmp_path):
    press = Told(4, lambda run: os.kill(os.getpid(), signal.SIGINT))
    stopped = fit(NUMPY, Checkpoint(tmp_path, every=NEVER), press, **options)
    assert stopped.history.interrupted
    assert epochs_in(tmp_path) == [4]
    model = fit(NUMPY, resume=tmp_path, **options)
    assert_same(NUMPY, model, fit(NUMPY, **options))


def test_there_is_no_progress_where_an_interval_was_cut_short():
    class Sees(xn.Callback):
        found = ()

        def check(self, run):
            self.found += (run.progress is None,)
            os.kill(os.getpid(), signal.SIGINT)

    sees = Sees()
    with pytest.raises(KeyboardInterrupt):  # the second one, at the check of what was cut short
        fit(NUMPY, sees)
    assert sees.found == (False, True)


def test_a_run_that_a_callback_stops_can_go_on(tmp_path):
    fit(NUMPY, Checkpoint(tmp_path, every=NEVER), Told(4, xn.Run.stop), **BATCHES)
    assert epochs_in(tmp_path) == [4]
    assert_same(NUMPY, fit(NUMPY, resume=tmp_path, **BATCHES), fit(NUMPY, **BATCHES))


def test_a_run_that_fails_leaves_a_checkpoint_of_the_last_check(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(NUMPY, Checkpoint(tmp_path, every=NEVER), Told(4, lambda run: 1 / 0), **BATCHES)
    assert epochs_in(tmp_path) == [4]
    assert_same(NUMPY, fit(NUMPY, resume=tmp_path, **BATCHES), fit(NUMPY, **BATCHES))


@pytest.mark.program
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_run_that_is_killed_at_any_moment_can_go_on():
    done = python("-m", "tests.killed", "30")
    assert re.fullmatch(
        r"30 kills, \d+ while a checkpoint was written: \d+ trainings came to their end, with the "
        r"bits of one that was never stopped\n",
        done.stdout,
    ), done


def python(*arguments):
    env = {k: value for k, value in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )


# ---- files


def test_the_newest_are_kept_of_every_so_many_epochs(tmp_path):
    seen = []
    look = Told(6, lambda run: seen.extend(epochs_in(tmp_path)))
    fit(NUMPY, Checkpoint(tmp_path, every=3, keep=2), look, epochs=14)
    assert seen == [4, 6]  # the first checks at or behind 3 and 6
    assert epochs_in(tmp_path) == [12, 14]


def test_the_end_is_kept_where_it_is_no_multiple(tmp_path):
    fit(NUMPY, Checkpoint(tmp_path, every=6))
    assert epochs_in(tmp_path) == [8]


def test_what_a_killed_run_was_writing_is_cleared_away(tmp_path):
    for name in (".epoch-4.safetensors.0123abcd.part", "..epoch-0.safetensors.trial.part.x.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"half")
    (tmp_path / ".epoch-0.safetensors.trial.part").write_bytes(b"whole")
    fit(NUMPY, Checkpoint(tmp_path), epochs=2)
    assert epochs_in(tmp_path) == [2]


def test_a_folder_with_none_begins_anew(tmp_path):
    expected = fit(NUMPY)
    assert_same(NUMPY, fit(NUMPY, resume=tmp_path / "not there yet"), expected)
    assert_same(NUMPY, fit(NUMPY, Checkpoint(tmp_path), resume=tmp_path), expected)


def test_another_training_writes_over_no_checkpoints(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    fit(NUMPY, Checkpoint(mine), epochs=2)
    fit(NUMPY, Checkpoint(other), epochs=2)
    for resume in (None, other):
        with pytest.raises(ValueError, match="path must be a folder without checkpoints, or fit"):
            fit(NUMPY, Checkpoint(mine), resume=resume)
    assert epochs_in(mine) == [2]
    fit(NUMPY, Checkpoint(mine), resume=mine)
    assert epochs_in(mine) == [8]


def test_a_run_goes_on_from_an_older_one(tmp_path):
    plain = fit(NUMPY, Checkpoint(tmp_path, keep=9))
    path = tmp_path / "epoch-4.safetensors"
    model = fit(NUMPY, Checkpoint(tmp_path, keep=2), resume=path)
    assert_same(NUMPY, model, plain)
    assert epochs_in(tmp_path) == [6, 8]


FULL = """
import resource
from tests.test_checkpoint import *
size = max(p.stat().st_size for p in Path({0!r}).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    model = fit(NUMPY, Checkpoint({0!r}), resume={0!r}, epochs=300)
assert_same(NUMPY, model, fit(NUMPY, epochs=300))
print(*(w.message for w in told), sep="\\n")
print(*epochs_in(Path({0!r})))
"""


@pytest.mark.program
def test_a_full_disk_is_told_once_and_ends_nothing(tmp_path):
    library("resource")
    fit(NUMPY, Checkpoint(tmp_path), epochs=4)
    done = python("-c", FULL.format(str(tmp_path)))
    told, last = done.stdout.splitlines()
    path = re.escape(repr(str(tmp_path / "epoch-"))[:-1])
    assert re.fullmatch(
        rf"The checkpoint of epoch (\d+) could not be written, and the training goes on: path must "
        rf"be a file that can be written, not {path}\1.safetensors' \(File too large\)\.",
        told,
    ), done.stderr
    assert 4 <= int(last) < 300
    fit(NUMPY, resume=tmp_path, epochs=300)


@pytest.mark.program
def test_a_disk_that_is_full_already_ends_a_run_at_its_start(tmp_path):
    library("resource")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999))\n"
    run = f"from tests.test_checkpoint import *\nfit(NUMPY, Checkpoint({str(tmp_path)!r}))"
    done = python("-c", limit + run)
    assert re.match(
        r"OSError: path must be a file that can be written", done.stderr.splitlines()[-1]
    )
    assert list(tmp_path.iterdir()) == []


def damages(data):
    return {
        "cut": (data[: len(data) // 2], "another or is damaged"),
        "empty": (b"", "is empty"),
        "a bit": (data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "its checksum is another"),
        "foreign": (b"PK\x03\x04 and so on", "xpnet wrote, in the format safetensors, not"),
    }


@pytest.mark.parametrize("damage", ["cut", "empty", "a bit", "foreign"])
def test_a_damaged_one_is_told_and_the_last_good_one_taken(damage, tmp_path):
    plain = fit(NUMPY, Checkpoint(tmp_path, keep=2))
    path = tmp_path / "epoch-8.safetensors"
    damaged, what = damages(path.read_bytes())[damage]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=rf"^resume must .*{what}.*\.$"):
        fit(NUMPY, resume=path)
    with pytest.warns(RuntimeWarning, match=f"^A checkpoint is left out: path must .*{what}"):
        model = fit(NUMPY, Checkpoint(tmp_path, keep=2), resume=tmp_path)
    assert_same(NUMPY, model, plain)
    assert newest(path)[1].epoch == 8  # whole again


def test_a_folder_of_damaged_ones_alone_is_an_error(tmp_path):
    (tmp_path / "epoch-8.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"^resume must be a file that xpnet wrote"):
        fit(NUMPY, resume=tmp_path)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"kind": "model"}, "resume must be a checkpoint, but .* is a model"),
        ({"kind": "checkpoint", "checkpoint": 99}, "of a version of at most 1, but .* 99; update"),
    ],
)
def test_another_file_of_xpnet_and_a_newer_one_are_refused(header, what, tmp_path):
    path = tmp_path / "epoch-8.safetensors"
    tensors.write(path, {}, header)
    with pytest.raises(ValueError, match=what):
        fit(NUMPY, resume=path)


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^resume must be a file that can be read, not '"):
        fit(NUMPY, resume=tmp_path / "epoch-8.safetensors")


# ---- what must be the same


class Doubled(xn.Layer):
    """A layer of somebody's own, with a function and an array in it."""

    def __init__(self, factor=2.0):
        self.factor, self.what = np.array([factor]), abs

    def forward(self, xp, params, x):
        return x * float(self.factor[0]), lambda dy, need_dx=True: (dy * float(self.factor[0]), ())

    def apply(self, xp, params, x):
        return x * float(self.factor[0])


X, Y = np.arange(24.0).reshape(12, 2) / 24, np.arange(12) % 2.0
GIVEN = {
    "network": xn.Sequential(xn.Linear(2, 1), Doubled()), "x": X, "y": Y[:, None],
    "loss": xn.BCEWithLogits(), "optimizer": xn.Adam(0.1), "epochs": 4, "seed": 1, "members": 2,
    "batch_size": 4, "sample_weight": np.ones(12), "noise_seed": 1, "acc_goal": 1,
    "validation": (X, Y[:, None]), "monitor": "val_loss", "patience": 9, "min_delta": 0.25,
    "check_every": 2,
}  # fmt: skip
OTHERS = {
    "network": (xn.Sequential(xn.Linear(2, 1), Doubled(3.0)), "not another one"),
    "x": (X[::-1].copy(), r"an array of shape \(12, 2\), not another one"),
    "y": (Y[:8, None], r"an array of shape \(12, 1\), not an array of shape \(8, 1\)"),
    "loss": (xn.BCEWithLogits(pos_weight=2.0), "BCEWithLogits"),
    "optimizer": (xn.Adam(0.2), r"Adam\(lr=0.1, .*not Adam\(lr=0.2"),
    "members": (3, "2, not 3"),
    "batch_size": (5, "4, not 5"),
    "shuffle": (False, "True, not False"),
    "shuffle_seed": (
        np.random.RandomState(1),
        "'Generator of PCG64', not 'RandomState of MT19937'",
    ),
    "sample_weight": (None, r"an array of shape \(12,\), not None"),
    "noise_seed": (2, "1, not 2"),
    "acc_goal": (0.5, "1.0, not 0.5"),
    "validation": ((X + 1, Y[:, None]), "not another one"),
    "monitor": ("val_accuracy", "'val_loss', not 'val_accuracy'"),
    "patience": (8, "9, not 8"),
    "min_delta": (0.5, "0.25, not 0.5"),
    "restore_best": (False, "True, not False"),
    "check_every": (4, "2, not 4"),
    "every_epoch": (False, "True, not False"),
    "block": (1, "None, not 1"),
    "threads": (1, "None, not 1"),
    "theta": (np.ones((2, 3)), r"None, not an array of shape \(2, 3\)"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    xn.fit(**GIVEN, callbacks=[Checkpoint(folder)])
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_an_argument_that_is_another_is_told_in_a_sentence(name, written):
    value, what = OTHERS[name]
    others = {name: value, **({"seed": None} if name == "theta" else {})}
    if name == "y":
        others |= {"x": X[:8], "sample_weight": None}
        name, what = "x", what.replace("1\\)", "2\\)")
    with pytest.raises(ValueError) as caught:
        xn.fit(**{**GIVEN, **others}, resume=written)
    pattern = rf"{name} must be what it was in the training of the checkpoint '.*', .*{what}.*; "
    assert re.match(pattern, str(caught.value))


def test_what_nothing_depends_on_any_more_may_be_another(written):
    others = {"epochs": 6, "seed": 9, "shuffle_seed": 9, "callbacks": [LogLines()]}
    network = xn.Sequential(xn.Linear(2, 1), Doubled())  # an equal one
    others |= {"network": network, "acc_goal": 1.0, "batch_size": np.int64(4), "x": np.array(X)}
    assert xn.fit(**{**GIVEN, **others}, resume=written).history.epochs == 6


def test_ranges_of_seeds_are_told_apart(tmp_path):
    given = {**GIVEN, "noise_seed": range(2)}
    xn.fit(**given, callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(
        ValueError, match=r"^noise_seed must be what it was .*range\(0, 2\), not range"
    ):
        xn.fit(**{**given, "noise_seed": range(1, 3)}, resume=tmp_path)


def test_fewer_epochs_than_are_done_are_refused(written):
    with pytest.raises(ValueError, match=r"^epochs must be at least the 4 that the checkpoint '"):
        xn.fit(**{**GIVEN, "epochs": 3}, resume=written)


def test_a_training_that_went_on_from_theta_says_so_again(tmp_path):
    first = fit(NUMPY, epochs=4)
    given = {"theta": first.theta, "state": first.state, "layer_state": first.layer_state}
    options = {**given, "seed": None, **BATCHES}
    plain = fit(NUMPY, Kept(tmp_path), **options)
    path = tmp_path / "4.safetensors"
    assert_same(NUMPY, fit(NUMPY, **options, resume=path), plain)
    with pytest.raises(ValueError, match=r"^theta must be what it was in the training of the"):
        fit(NUMPY, **BATCHES, resume=path)


def test_a_state_that_was_given_may_be_given_again_from_its_file(tmp_path):
    first = fit(NUMPY, epochs=4)
    first.save(tmp_path / "first.safetensors")
    read = xn.load(tmp_path / "first.safetensors")
    assert list(read.state) != list(first.state)  # as they lie in a file

    def go_on(model, *callbacks, **options):
        given = {"theta": model.theta, "state": model.state, "layer_state": model.layer_state}
        return fit(NUMPY, *callbacks, seed=None, **given, **options)

    go_on(first, Checkpoint(tmp_path / "a"), epochs=4)
    assert_same(NUMPY, go_on(read, resume=tmp_path / "a"), go_on(first))
    read.state["m"] = read.state["m"] + 1
    with pytest.raises(ValueError, match=r"^state must be what it was in the training of the"):
        go_on(read, resume=tmp_path / "a")


@pytest.mark.parametrize("held", [{1, 2}, Path("a.txt")], ids=["a set", "a path"])
def test_what_a_layer_of_ones_own_holds_is_compared(held, tmp_path):
    def take(held, **options):
        layer = Doubled()
        layer.held = held
        network = xn.Sequential(xn.Linear(2, 1), layer)
        return xn.fit(**{**GIVEN, "network": network}, **options)

    plain = take(held, callbacks=[Checkpoint(tmp_path)])
    np.testing.assert_array_equal(take(held, resume=tmp_path).theta, plain.theta)
    with pytest.raises(ValueError, match=r"^network must be what it was in the training of the"):
        take(type(held)(), resume=tmp_path)


def test_what_the_page_shows_goes_on(monkeypatch, tmp_path):
    page = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    models = []
    for _ in range(2):
        names = {}
        exec(program, names)
        models.append(names["model"])
    assert epochs_in(tmp_path / "checkpoints") == [800, 1000]
    np.testing.assert_array_equal(models[0].theta, models[1].theta)


# ---- other callbacks


def test_lines_bar_and_tensorboard_go_on(tmp_path):
    library("tqdm"), library("tensorboardX")
    fit(NUMPY, Checkpoint(tmp_path / "a"), epochs=4)
    lines, expected = [], []
    fit(NUMPY, LogLines(2, expected.append))
    drawn = io.StringIO()
    bar, log = ProgressBar(drawn, disable=False), TensorBoard(tmp_path / "b")
    fit(NUMPY, LogLines(2, lines.append), bar, log, resume=tmp_path / "a")
    assert lines == expected[2:]
    assert re.search(r"4/8 .* 8/8", drawn.getvalue(), re.DOTALL)
    assert " 0/8" not in drawn.getvalue()
    assert [step for step, _ in scalars(tmp_path / "b")["loss"]] == [5, 6, 7, 8]


def test_a_progress_stays_as_it_was(tmp_path):
    kept = []
    fit(NUMPY, Told(4, lambda run: kept.append(run.progress)), Kept(tmp_path), **BATCHES)
    kept[0].write(tmp_path / "later")
    assert (tmp_path / "later").read_bytes() == (tmp_path / "4.safetensors").read_bytes()
    assert Progress.read(tmp_path / "later").epoch == 4
