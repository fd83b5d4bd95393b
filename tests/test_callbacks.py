"""What may watch a run: each claim of `xpnet.callbacks`, with real runs, files and terminals."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library, scalars
from xpnet.callbacks import LogLines, Picture, ProgressBar, TensorBoard

ROOT = Path(__file__).resolve().parent.parent
X, Y = xn.datasets.xor()
NET = xn.Sequential(xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, 1))


def train(*callbacks: xn.Callback, epochs: int = 25, checking: int = 10, **more) -> xn.Model:
    settings = {"x": X, "y": Y, "loss": xn.BCEWithLogits(), "seed": 42, **more}
    return xn.fit(
        settings.pop("network", NET),
        settings.pop("x"),
        settings.pop("y"),
        optimizer=xn.Adam(lr=1e-2),
        epochs=epochs,
        check_every=checking,
        callbacks=callbacks,
        **settings,
    )


class Fails(xn.Callback):
    """Ends a run in the middle as an error would."""

    def check(self, run: xn.Run) -> None:
        if run.epoch >= 20:
            raise RuntimeError("the run fails here")


# ---- what a run tells


@pytest.mark.parametrize("members", [None, 3])
def test_what_a_callback_writes_into_numbers_of_a_run_changes_nothing(members):
    class Writes(xn.Callback):
        def check(self, run: xn.Run) -> None:
            run.history.loss[:] = run.history.accuracy[:] = run.history.val_loss[:] = 9
            for told in (run.latest, run.validation):
                for values in told.values():
                    values[:] = 9
                told.clear()
            run.model.history.loss[:] = 9

        finish = check

    given = {"members": members, "validation": (X[:9], Y[:9]), "patience": 9}
    found, plain = train(Writes(), **given).history, train(**given).history
    for name in plain.names:
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


# ---- log lines


@pytest.mark.parametrize("checking", [1, 7, 10, 1000])
def test_a_line_is_written_for_every_multiple_however_often_is_checked(checking):
    lines: list[str] = []
    history = train(LogLines(10, lines.append), epochs=35, checking=checking).history
    assert lines == [
        f"Epoch: {n}, loss: {history.loss[n - 1]:.6f}, acc: {history.accuracy[n - 1]:.6f}."
        for n in (10, 20, 30)
    ]


def test_a_line_has_no_accuracy_where_the_loss_has_none():
    lines: list[str] = []
    history = train(LogLines(20, lines.append), loss=xn.MSE()).history
    assert lines == [f"Epoch: 20, loss: {history.loss[19]:.6f}."]


def test_a_line_of_an_ensemble_is_its_mean():
    lines: list[str] = []
    history = train(LogLines(20, lines.append), members=3).history
    loss, accuracy = history.loss[19].mean(), history.accuracy[19].mean()
    assert lines == [f"Epoch: 20, loss: {loss:.6f}, acc: {accuracy:.6f} (mean of 3 still trained)."]


def test_a_line_of_an_ensemble_counts_the_members_that_were_still_trained():
    lines: list[str] = []
    history = train(LogLines(100, lines.append), members=6, epochs=600, acc_goal=1.0).history
    there = [int(np.count_nonzero(~np.isnan(row))) for row in history.loss[99::100]]
    assert there[-1] < 6
    told = [line.partition(" (")[2] for line in lines]
    assert told == [f"mean of {n} still trained)." for n in there]


def test_lines_are_written_where_every_member_has_diverged():
    lines: list[str] = []
    x = X * np.asarray([1.0, 1e300])[:, None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The loss of 1 of 2 members")
        model = train(LogLines(1, lines.append), x=x, members=2, loss=xn.MSE(), epochs=3)
    assert model.history.diverged[1] > 0
    assert len(lines) == 3


@pytest.mark.parametrize("every", [0, -1, 1.5, "many"])
def test_an_interval_of_lines_that_is_none_is_refused(every):
    with pytest.raises((TypeError, ValueError), match="every must be a whole number"):
        LogLines(every)


# ---- the bar


def test_the_bar_shows_how_many_epochs_are_done_with_the_latest_loss_and_accuracy():
    library("tqdm")
    file = io.StringIO()
    history = train(ProgressBar(file, disable=False)).history
    last = file.getvalue().rstrip().rpartition("\r")[2]
    assert " 25/25 " in last
    assert "it/s" in last
    assert f"loss={history.loss[-1]:.4f}, acc={history.accuracy[-1]:.4f}" in last


def test_the_bar_of_an_ensemble_shows_how_many_are_still_trained_and_the_time_left():
    library("tqdm")
    file = io.StringIO()
    history = train(ProgressBar(file, disable=False), members=6, epochs=600, acc_goal=1.0).history
    last = file.getvalue().rstrip().rpartition("\r")[2]
    assert f"training={np.count_nonzero(history.stop == 0)}/6, mean loss=" in last
    assert re.search(r"\[\d\d:\d\d<", last)


def test_the_bar_draws_nothing_where_there_is_no_terminal():
    library("tqdm")
    file = io.StringIO()
    train(ProgressBar(file))
    assert file.getvalue() == ""


def test_lines_stand_by_themselves_although_a_bar_is_drawn(capsys):
    library("tqdm")
    train(LogLines(10), ProgressBar(disable=False))
    out, err = capsys.readouterr()
    assert [line[:10] for line in out.splitlines()] == ["Epoch: 10,", "Epoch: 20,"]
    assert "Epoch" not in err
    # Before a line is printed, the bar is wiped from the terminal's line.
    assert "\r" + " " * 20 in err


# ---- TensorBoard


def test_the_log_holds_loss_and_accuracy_of_every_epoch(tmp_path, backend):
    x, y = backend.asarray(X, "float32"), backend.asarray(Y, "float32")
    history = train(TensorBoard(tmp_path / "run"), x=x, y=y).history
    found = scalars(tmp_path / "run")
    assert found["loss"] == list(enumerate(np.float32(history.loss).tolist(), 1))
    assert found["accuracy"] == list(enumerate(np.float32(history.accuracy).tolist(), 1))


def test_the_log_of_an_ensemble_holds_mean_and_quantiles(tmp_path):
    history = train(TensorBoard(tmp_path), members=5).history
    found = scalars(tmp_path)
    assert {tag for tag in found if tag.startswith("loss")} == {
        f"loss/{end}" for end in ("mean", "q10", "q50", "q90")
    }
    assert found["loss/q50"][-1] == (25, np.float32(np.median(history.loss[-1])))


def test_log_and_picture_of_what_was_done_are_kept_when_a_run_fails(tmp_path):
    library("tensorboardX")
    library("matplotlib")
    with pytest.raises(RuntimeError, match="the run fails here"):
        train(TensorBoard(tmp_path / "log"), Picture(tmp_path / "picture.png"), Fails())
    assert scalars(tmp_path / "log")["loss"][-1][0] == 20
    assert (tmp_path / "picture.png").exists()


# ---- the picture


@pytest.mark.slow_on("strict", "strict:device1")
def test_the_picture_is_drawn_wherever_the_data_lies(tmp_path, backend):
    library("matplotlib")
    x, y = backend.asarray(X, "float32"), backend.asarray(Y, "float32")
    train(Picture(tmp_path / "picture.svg", "a title"), x=x, y=y)
    assert "</svg>" in (tmp_path / "picture.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("goal", [None, 1.0])
def test_the_members_of_an_ensemble_share_a_picture(tmp_path, goal):
    library("matplotlib")
    train(Picture(tmp_path / "picture.png"), members=3, acc_goal=goal)
    assert (tmp_path / "picture.png").exists()


@pytest.mark.slow_on("strict", "strict:device1")
def test_the_picture_of_an_ensemble_is_drawn_wherever_the_data_lies(tmp_path, backend):
    library("matplotlib")
    x, y = backend.asarray(X, "float32"), backend.asarray(Y, "float32")
    train(Picture(tmp_path / "picture.svg"), x=x, y=y, members=3, acc_goal=1.0)
    assert "</svg>" in (tmp_path / "picture.svg").read_text()


def test_no_line_of_a_calibration_leads_below_0_or_above_1():
    library("matplotlib")
    from matplotlib.figure import Figure

    from xpnet import pictures

    axes = Figure().subplots()
    p = np.repeat([0.05, 0.5, 0.95], 6)
    pictures.calibration(axes, p, np.repeat([False, True, True], 6))
    (lines,) = axes.containers[0].lines[2]
    ends = np.array([segment[:, 1] for segment in lines.get_segments()])
    assert ends.min() == 0 and ends.max() == 1
    assert axes.get_title() == "Calibration"


def test_the_picture_of_an_ensemble_polls_all_members_in_pieces():
    library("matplotlib")
    from xpnet import pictures

    def members(points):
        yield np.full((2, len(points)), 0.9)
        yield np.stack([points[:, 0], np.zeros(len(points))])

    points = np.asarray([[0.2, 0.0], [0.8, 0.0]])
    mean, against, count = pictures._poll(members, points)
    np.testing.assert_allclose(mean, [0.5, 0.65])
    np.testing.assert_allclose(against, [0.5, 0.25])
    assert count == 4
    figure = pictures.ensemble(X, Y[:, 0], members, np.asarray([0, 100, 300, 200]), 400)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[0] == "Mean probability of 4 members"
    assert titles[-1] == "Stops: 3 of 4 reach the goal"


def test_colour_bars_are_as_long_as_their_panels_and_no_letter_lies_on_the_points(tmp_path):
    library("matplotlib")
    from xpnet import pictures

    def members(points):
        yield np.stack([points[:, 0], points[:, 1]])

    def bars(figure):
        figure.canvas.draw()
        shown = {axes: axes.get_window_extent() for axes in figure.axes}
        for axes in figure.axes:
            for bar in axes.child_axes:
                yield axes, bar, shown[axes], bar.get_window_extent()

    together = pictures.ensemble(X, Y[:, 0], members, None, 1)
    found = list(bars(together))
    assert len(found) == 2
    for axes, _, panel, bar in found:
        assert (bar.x0, bar.x1) == pytest.approx((panel.x0, panel.x1))
        assert not axes.texts
    alone = pictures.prediction(X, Y[:, 0], lambda points: points[:, 0])
    ((_, _, panel, bar),) = bars(alone)
    assert (bar.y0, bar.y1) == pytest.approx((panel.y0, panel.y1))


def test_where_no_member_arrives_a_line_says_so_and_no_panel_is_left_empty():
    library("matplotlib")
    from xpnet import pictures

    def members(points):
        yield np.full((2, len(points)), 0.9)

    figure = pictures.ensemble(X, Y[:, 0], members, np.asarray([0, 0]), 1400, "a title")
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        "Mean probability of 2 members",
        "Where they disagree",
    ]
    assert figure.get_suptitle() == "a title\nNone of 2 members reaches the goal in 1,400 epochs"


def test_the_members_of_a_large_ensemble_are_asked_a_few_at_a_time(tmp_path, monkeypatch):
    library("matplotlib")
    from xpnet import callbacks, pictures

    pieces = []
    monkeypatch.setattr(callbacks, "_DRAWN", 5)
    monkeypatch.setattr(callbacks, "_PIECE", 2 * 4 * 120 * 120)
    poll = pictures._poll

    def counted(members, points):
        pieces.extend(len(piece) for piece in members(points))
        return poll(members, points)

    monkeypatch.setattr(pictures, "_poll", counted)
    train(Picture(tmp_path / "picture.png"), members=9, epochs=1)
    assert pieces == [2, 2, 1]


def test_a_picture_counts_and_marks_the_wrong_predictions():
    library("matplotlib")
    from xpnet import pictures

    figure = pictures.prediction(X, Y[:, 0], lambda points: points[:, 0])
    right = np.count_nonzero((X[:, 0] > 0.5) == (Y[:, 0] == 1))
    assert figure.axes[1].get_title() == f"Prediction ({right} of 21 right)"
    (marks,) = (c for c in figure.axes[1].collections if c.get_label() == "predicted wrong")
    assert len(marks.get_offsets()) == 21 - right


def texts_of(tmp_path: Path, panel=None, **more) -> list[str]:
    """What is written in the picture of a run."""
    matplotlib = library("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters, not their outlines
        train(Picture(tmp_path / "picture.svg", "a title", panel), checking=1, **more)
    return re.findall(r"<text [^>]*>([^<]*)</text>", (tmp_path / "picture.svg").read_text())


def test_with_validation_the_picture_has_its_curves_and_the_best_epoch(tmp_path):
    more = {"validation": (X + 0.01, 1 - Y), "patience": 3}
    texts = texts_of(tmp_path, **more)
    best = train(checking=1, **more).history.best_epoch
    for text in ("Ground truth", "Loss", "Accuracy", "training", "validation"):
        assert text in texts
    assert f"best epoch, {best}" in texts


def test_of_members_the_median_of_the_best_epochs_is_marked(tmp_path):
    texts = texts_of(tmp_path, validation=(X, Y), members=3)
    assert "Where they disagree" in texts
    assert any(text.startswith("median best epoch, ") for text in texts)
    assert "means of the members still trained; shades hold 80 % of these" in texts


@pytest.mark.parametrize(
    ("features", "outputs", "loss"),
    [
        (3, 1, xn.BCEWithLogits()),
        (2, 2, xn.BCEWithLogits()),
        (2, 1, xn.MSE()),
        (2, 1, xn.Hinge()),
    ],
    ids=["features", "outputs", "numbers", "no probabilities"],
)
def test_of_other_data_than_points_of_two_classes_the_curves_are_drawn(
    features, outputs, loss, tmp_path
):
    net = xn.Sequential(xn.Linear(features, outputs))
    x, y = np.ones((5, features)), np.ones((5, outputs))
    texts = texts_of(tmp_path, network=net, x=x, y=y, loss=loss)
    assert "Loss" in texts
    assert ("Accuracy" in texts) == loss.classifies
    assert not {"Ground truth", "validation"} & {*texts}


def test_a_panel_that_is_no_function_is_refused(tmp_path):
    library("matplotlib")
    with pytest.raises(TypeError, match=r"panel must be a function of axes and a model, not 'x'\."):
        Picture(tmp_path / "picture.png", panel="x")


def test_a_panel_of_ones_own_is_given_the_model_as_it_is_returned(tmp_path):
    given = []

    def panel(axes, model):
        given.append(model.theta)
        axes.set_title("a panel")

    more = {"validation": (X, 1 - Y), "patience": 1}
    assert "a panel" in texts_of(tmp_path, panel=panel, **more)
    np.testing.assert_array_equal(given, [train(checking=1, **more).theta])


def test_an_epoch_alone_is_drawn_as_a_point(tmp_path):
    assert "Loss" in texts_of(tmp_path, epochs=1, validation=(X, Y))


def test_of_a_history_of_checks_alone_the_curves_are_those_of_the_checks():
    from xpnet.callbacks import curves_of

    library("matplotlib")
    more = {"epochs": 7, "checking": 3, "every_epoch": False, "members": 2}
    for lines in curves_of(train(validation=(X, Y), **more).history).values():
        assert [list(curve.x) for curve in lines.values()] == [[3, 6, 7], [3, 6, 7]]
    for lines in curves_of(train(**more).history).values():  # nobody knows their epochs
        assert (lines["training"].axis, list(lines["training"].x)) == ("check", [1, 2, 3])


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 0.5, 0.09], "log"), ([1, 0.5, 0.2], "linear"), ([1, 0.5, 0], "linear")],
)
def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_axis_and_nothing_else(values, scale):
    library("matplotlib")
    from xpnet.pictures import Curve, learning

    falling = {"training": Curve("epoch", np.arange(1, 4), np.asarray(values, float))}
    loss, accuracy = learning({"loss": falling, "accuracy": falling}).axes
    assert (loss.get_yscale(), accuracy.get_yscale()) == (scale, "linear")
    assert all(tick == round(tick) for tick in loss.get_xticks())


def test_a_confusion_matrix_is_drawn_with_its_counts_and_names():
    library("matplotlib")
    from xpnet.pictures import _figure, confusion

    axes = _figure(4, 4).subplots()
    confusion(axes, np.asarray([[5, 0], [2, 30]]), ("cat", "dog"))
    assert sorted(text.get_text() for text in axes.texts) == ["2", "30", "5"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]


def test_a_kind_of_file_that_matplotlib_does_not_write_is_refused_when_it_is_named(tmp_path):
    library("matplotlib")
    with pytest.raises(ValueError, match=r"the suffix of path must be one of .*'\.pngg'"):
        Picture(tmp_path / "picture.pngg")


# ---- both


@pytest.mark.parametrize("make", [TensorBoard, lambda path: Picture(path / "picture.png")])
def test_a_folder_that_cannot_be_written_is_refused_when_it_is_named(tmp_path, make):
    library("tensorboardX")
    library("matplotlib")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"must be a folder that can be written, not '.*file"):
        make(tmp_path / "file" / "folder")


def test_the_package_is_asked_for_when_the_callback_is_made_and_not_before(tmp_path):
    made = {
        "tqdm": "ProgressBar()",
        "tensorboardX": "TensorBoard('log')",
        "matplotlib": "Picture('picture.png')",
    }
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
for package in {list(made)!r}:
    sys.modules[package] = None  # what makes an import fail as if it were not installed
from xpnet import callbacks
for make in {list(made.values())!r}:
    try:
        eval("callbacks." + make)
    except ImportError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for package, line in zip(made, done.stdout.splitlines(), strict=True):
        assert f"needs the package {package}, which could not be imported" in line
        assert line.endswith(f"install it with: pip install {package}")
    assert list(tmp_path.iterdir()) == []


# ---- copies


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lines", "bar", "bar in a file", "board", "picture"])
@pytest.mark.parametrize("when", ["before a run", "after a run", "during a run"])
def test_a_callback_can_be_pickled_and_copied_and_then_does_its_work(kind, when, tmp_path):
    def make(folder: Path) -> xn.Callback:
        if kind == "board":
            library("tensorboardX")
            return TensorBoard(folder)
        if kind == "picture":
            library("matplotlib")
            return Picture(folder / "picture.svg", title="a title")
        if kind == "lines":
            return LogLines(10)
        return ProgressBar(sys.stdout if kind == "bar in a file" else None)

    callback, twins = make(tmp_path), []

    class Copies(xn.Callback):
        def check(self, run: xn.Run) -> None:
            twins.append(copy.deepcopy(callback))

    if when == "after a run":
        train(callback)
    if when == "during a run":
        train(callback, Copies())
    twins.append(copy.deepcopy(callback))
    if kind != "bar in a file":  # open files cannot be pickled
        twins.append(pickle.loads(pickle.dumps(callback)))
    for twin in twins:
        for path in tmp_path.iterdir():
            path.unlink()
        assert type(twin) is type(callback)
        train(twin)
        assert len([*tmp_path.iterdir()]) == (kind in ("board", "picture"))
