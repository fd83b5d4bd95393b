"""What may watch a training run: a bar, log lines, TensorBoard, a picture, checkpoints, Optuna.

Each needs its library when it is made, not when this module is imported, and finds out before the
first epoch whether it will be able to write. ``finish`` comes after Ctrl-C as well, so log and
picture of what was done are kept.
"""

from __future__ import annotations

import copy
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np

from xpnet import backends, checks
from xpnet._optional import optional
from xpnet.distributed.dealt import Dealt
from xpnet.files.folders import writable_folder
from xpnet.history import History
from xpnet.model import Model
from xpnet.training import Callback, Run
from xpnet.training.checkpoint import Checkpoint

__all__ = [
    "Checkpoint",
    "LogLines",
    "Picture",
    "ProgressBar",
    "Pruning",
    "TensorBoard",
    "writable_folder",
]


def _short(name: str) -> str:
    """A number of the history by a name that fits in a line: ``val_accuracy`` as ``val acc``."""
    return name.replace("accuracy", "acc").replace("_", " ")


class LogLines(Callback):
    """Writes ``Epoch: 500, loss: 0.688860, acc: 0.523810.`` for every so many epochs.

    Where there is validation after such an epoch, also ``val loss: 0.701234, val acc: 0.500000``.

    For an ensemble it is the mean of the members that were still trained then:
    ``Epoch: 500, loss: 0.688860, acc: 0.523810 (mean of 871 still trained).``

    With a ``client`` it is a line for every so many members that have come back, and for the last,
    of what they left with, but for those who diverged:
    ``Members: 2048 of 10000, loss: 0.011602, acc: 0.998120 (mean of 2040).``

    Args:
        every: for which epochs: the multiples of this; with a ``client`` of members.
        write: what is given each line.
    """

    def __init__(self, every: int = 2000, write: Callable[[str], None] = print) -> None:
        self.every = checks.whole("every", every)
        if not callable(write):
            raise TypeError(
                f"write must be a function of a line, such as print, not {checks.shown(write)}."
            )
        self.write = write

    def check(self, run: Run) -> None:
        if run.epoch // self.every > run.seen // self.every:
            recent = {name: _mean(values) for name, values in run.latest.items()}
            first = (run.seen // self.every + 1) * self.every
            for epoch in range(first, run.epoch + 1, self.every):
                row = epoch - run.seen - 1
                numbers = [f"{_short(name)}: {values[row]:.6f}" for name, values in recent.items()]
                if epoch == run.epoch:
                    seen = run.validation.items()
                    numbers += [f"{_short(name)}: {_average(v):.6f}" for name, v in seen]
                whose = ""
                if run.members is not None:
                    there = np.count_nonzero(~np.isnan(run.latest["loss"][row]))
                    whose = f" (mean of {there} still trained)"
                with bars_cleared():
                    self.write(f"Epoch: {epoch}, {', '.join(numbers)}{whose}.")

    def dealt(self, run: Dealt) -> None:
        before = run.done - len(run.back)
        if run.done // self.every > before // self.every or run.done == run.members:
            numbers = [f"{_short(name)}: {value:.6f}" for name, value in run.means.items()]
            whose = f"mean of {run.counted}"
            with bars_cleared():
                self.write(f"Members: {run.done} of {run.members}, {', '.join(numbers)} ({whose}).")


class ProgressBar(Callback):
    """A tqdm bar over the epochs: iterations per second, and the latest loss and accuracy.

    With a ``client`` over the members that have come back, with the mean of what they left with.
    For an ensemble their mean, and how many members are still trained. The time left is for all
    epochs at the pace of late: at most that, since members that are done leave, and the rest goes
    faster.

    Args:
        file: where it is drawn; ``None`` for stderr.
        disable: ``None`` draws it on terminals only.

    Raises:
        ImportError: if tqdm is not installed.
    """

    def __init__(self, file: TextIO | None = None, disable: bool | None = None) -> None:
        optional("tqdm", "the progress bar")
        self._options = {"file": file, "disable": disable, "unit": "it", "dynamic_ncols": True}
        self._bar: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_bar": None}  # a terminal's, of the run that it was drawn for

    def __deepcopy__(self, memo: dict[int, Any]) -> ProgressBar:
        return copy.copy(self)  # the file is where to draw, and there is one

    def start(self, run: Run) -> None:
        tqdm = optional("tqdm", "the progress bar")
        if run.dealt:
            options = {**self._options, "unit": " members"}
            self._bar = tqdm.tqdm(total=run.members, initial=run.done, **options)  # type: ignore[attr-defined]
        else:
            self._bar = tqdm.tqdm(total=run.epochs, initial=run.epoch, **self._options)

    def dealt(self, run: Dealt) -> None:
        if not self._bar.disable:
            numbers = [f"mean {_short(name)}={value:.4f}" for name, value in run.means.items()]
            self._bar.set_postfix_str(", ".join(numbers), refresh=False)
            self._bar.update(run.done - self._bar.n)

    def check(self, run: Run) -> None:
        if not self._bar.disable:
            mean = "" if run.members is None else "mean "
            numbers = [
                f"{mean}{_short(name)}={_mean(values[-1:])[0]:.4f}"
                for name, values in run.latest.items()
            ]
            seen = run.validation.items()
            numbers += [f"{mean}{_short(name)}={_average(values):.4f}" for name, values in seen]
            if run.members is not None:
                numbers.insert(0, f"training={run.training}/{run.members}")
            self._bar.set_postfix_str(", ".join(numbers), refresh=False)
            self._bar.update(run.epoch - run.seen)

    def finish(self, run: Run) -> None:
        self._bar.refresh()
        self._bar.close()


class TensorBoard(Callback):
    """Writes loss and accuracy of every epoch as TensorBoard's scalars.

    For an ensemble: their mean and their 10, 50 and 90 % quantiles over the members still trained,
    as ``loss/mean``, ``loss/q10`` and so on. Where there is validation, ``val_loss`` and
    ``val_accuracy`` of the checks. With a ``client`` all of it is written at the end.

    Args:
        folder: one folder a run; made if it is not there.

    Raises:
        ImportError: if tensorboardX is not installed.
        ValueError: if the folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        _tensorboard()
        self.folder = writable_folder("folder", folder)
        self._writer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_writer": None}  # the file of a run

    def start(self, run: Run) -> None:
        if run.keep in ("theta", "best"):
            raise ValueError(
                "keep must be 'all' or 'history' with a TensorBoard, which is told of every epoch "
                f"of all members, not {run.keep!r}."
            )
        event, _, files = _tensorboard()
        # SummaryWriter sends each scalar through a queue between processes, which takes several
        # times as long as an epoch of a small network; the file beneath it takes a third of one.
        part = f".epoch-{run.epoch}" if run.epoch else ""  # names tell seconds alone apart
        self._writer = files.EventsWriter(str(self.folder / "events"), part)
        if run.epoch:  # of a run that goes on, and was killed behind this epoch: to be left out
            begin = event.SessionLog(status=event.SessionLog.START)
            now = event.Event(wall_time=time.time(), step=run.epoch + 1, session_log=begin)
            self._writer.write_event(now)

    def check(self, run: Run) -> None:
        seen = {
            name: values if run.members is None else values[None]
            for name, values in run.validation.items()
        }
        self._write(run.latest, range(run.seen + 1, run.epoch + 1), seen, [run.epoch])

    def dealt(self, run: Dealt) -> None:
        """Nothing, as it is the means of epochs over all members that are told: at the end."""

    def finish(self, run: Run) -> None:
        if run.dealt and run.model is not None:
            history, every = run.history, run.check_every
            named = {name: getattr(history, name) for name in history.names}
            trained = {n: values for n, values in named.items() if not n.startswith("val_")}
            if len(history.loss) < history.epochs:  # checks alone
                epochs = [*range(every, history.epochs, every), history.epochs]
            else:
                epochs = [*range(1, history.epochs + 1)]
            looks = [] if history.val_epochs is None else history.val_epochs.tolist()
            seen = {name: values for name, values in named.items() if name.startswith("val_")}
            self._write(trained, epochs, seen, looks)
        self._writer.close()

    def _write(
        self,
        trained: dict[str, np.ndarray],
        epochs: Sequence[int],
        seen: dict[str, np.ndarray],
        looks: list[int],
    ) -> None:
        """Write what was trained in these epochs, and seen behind those of the looks."""
        now = time.time()
        event, summary, _ = _tensorboard()
        value = summary.Summary.Value
        columns, looked = (
            {
                name + end: column.tolist()
                for name, values in found.items()
                for end, column in _spread(values).items()
            }
            for found in (trained, seen)
        )
        place = {epoch: i for i, epoch in enumerate(looks)}
        for epoch, row in zip(epochs, zip(*columns.values(), strict=True), strict=True):
            scalars = [value(tag=t, simple_value=v) for t, v in zip(columns, row, strict=True)]
            if epoch in place:
                found = {t: values[place[epoch]] for t, values in looked.items()}
                scalars += [value(tag=t, simple_value=v) for t, v in found.items()]
            row_of = summary.Summary(value=scalars)
            self._writer.write_event(event.Event(wall_time=now, step=epoch, summary=row_of))


class Picture(Callback):
    """Draws what was learnt, and how.

    Of two features and two classes the ground truth beside the prediction, with the field of
    probability behind them; of an ensemble the mean of its members' probabilities, where they
    disagree, and, where there is a goal, when they reached it.

    Of other data, and where there is validation, loss, accuracy and metrics over the epochs, with
    the best epoch; of an ensemble the mean over the members still trained, and the room between
    their 10 and 90 % quantiles.

    Args:
        path: the file; its suffix says which kind (``.png``, ``.svg``, ``.pdf`` …).
        title: a line above the picture.
        panel: draws one more panel beside the curves, given matplotlib's axes and the model, such
            as ``lambda axes, model: …``.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if ``panel`` is no function.
        ValueError: if the folder cannot be written, or matplotlib writes no such file.
    """

    def __init__(
        self, path: str | Path, title: str = "", panel: Callable[[Any, Model], None] | None = None
    ) -> None:
        self.path, self.title, self.panel = checks.as_path("path", path), title, panel
        checks.one_of("the suffix of path", self.path.suffix, _pictures().suffixes())
        writable_folder("path", self.path.parent)
        if panel is not None and not callable(panel):
            raise TypeError(
                f"panel must be a function of axes and a model, not {checks.shown(panel)}."
            )

    def start(self, run: Run) -> None:
        if run.keep == "history":
            raise ValueError(
                "keep must be 'all', 'theta' or 'best' with a Picture, which draws what networks "
                "predict, not 'history'."
            )

    def finish(self, run: Run) -> None:
        if run.epoch == 0:
            return
        pictures, draw, history = _pictures(), [], run.history
        there = backends.name_of(run.x) and backends.name_of(run.y)  # and not read
        two = there and run.x.shape[1:] == (2,) and run.network.out_features == 1
        if two and run.loss.classifies and run.loss.probabilistic:
            draw.append(_points(run))
        if not draw or history.val_loss is not None or self.panel is not None:
            panel = self.panel and partial(_drawn, self.panel, run.model)
            draw.append(partial(pictures.learning, curves_of(history), best_of(history), panel))
        if len(draw) == 1:
            figure = draw[0](title=self.title)
        else:
            figure = pictures.page(draw, self.title)
        figure.savefig(self.path)


# ---- what the callbacks share

_DRAWN = 1000
"""How many members of an ensemble a picture looks at."""

_PIECE = 1 << 18
"""How many values of one layer's output it holds at once: few enough for a cache."""


def _points(run: Run) -> Callable[..., Any]:
    """What draws the points of two features and two classes, and what is predicted of them."""
    backend, model, count = backends.of(run.x), run.model, run.members or 1
    dtype = backend.dtype_name(run.x)
    x, y = backend.to_host(run.x), backend.to_host(run.y)[..., 0]

    def probability(points: np.ndarray) -> np.ndarray:
        values = backend.to_host(model.predict_proba(backend.asarray(points, dtype)))
        return np.asarray(values[:, 0])

    def members(points: np.ndarray) -> Iterator[np.ndarray]:
        where, wide = backend.asarray(points, dtype), max(_widths(run))
        # One after another in pieces, so that a thousand fields need no more room than a few.
        piece = max(1, _PIECE // (len(points) * wide))
        chosen = np.linspace(0, count - 1, min(count, _DRAWN)).round()
        for start in range(0, len(chosen), piece):
            rows = backend.asarray(chosen[start : start + piece], "int64")
            own = model.layer_state and {
                name: backend.xp.take(array, rows, axis=0)
                for name, array in model.layer_state.items()
            }
            theta = backend.xp.take(model.theta, rows, axis=0)
            some = Model(model.network, theta, model.loss, layer_state=own)
            yield backend.to_host(some.predict_proba(where))[..., 0]

    if run.members is None:
        return partial(_pictures().prediction, x, y, probability)
    stop = None if run.acc_goal is None else np.asarray(run.history.stop)
    return partial(_pictures().ensemble, x, y, members, stop, run.epoch)


def _drawn(panel: Callable[[Any, Model], None], model: Model, axes: Any) -> None:
    panel(axes, model)


class Pruning(Callback):
    """Reports each check to a trial of Optuna, and ends it where its pruner says so.

    Then ``optuna.TrialPruned`` is raised by `fit`, which ``study.optimize`` takes for what it is.
    The epoch is the step. Of an ensemble it is the mean over the members that are still trained.
    With a ``client`` it is, after each block of members that has come back, the mean of what all
    that have left with, and their number is the step; ``block`` makes that the same for all trials.

    Args:
        trial: what the objective of a study was given.
        monitor: ``"loss"``, ``"accuracy"``, ``"val_loss"``, ``"val_accuracy"``, or ``val_`` and the
            name of a metric; ``None`` for what `fit` monitors. The study's direction must be that
            in which it becomes better.

    Raises:
        ImportError: if Optuna is not installed.
        TypeError: if ``trial`` is none.
        ValueError: before the first epoch, if the run has no such number, or the study goes the
            other way.
    """

    def __init__(self, trial: Any, monitor: str | None = None) -> None:
        trials = optional("optuna.trial", "pruning")
        checks.instance("trial", trial, trials.BaseTrial, "a trial of Optuna")
        self.trial, self.monitor = trial, monitor

    def start(self, run: Run) -> None:
        history = run.history
        if self.monitor is None and history.monitor is None:
            raise ValueError("monitor must be given where fit has no validation, not None.")
        self._name = str(self.monitor or history.monitor)
        known = [name for name in history.greater if run.loss.classifies or "accuracy" not in name]
        if history.monitor is None:
            known = [name for name in known if not name.startswith("val_")]
        greater = history.greater[checks.one_of("monitor", self._name, known)]
        study = getattr(self.trial, "study", None)  # which a trial with given parameters has not
        wanted = "maximize" if greater else "minimize"
        if study is None or greater is None:
            return
        found = study.direction.name.lower()
        if found != wanted:
            raise ValueError(
                f"trial must be of a study whose direction is {wanted!r}, for {self._name}, not "
                f"{found!r}."
            )

    def check(self, run: Run) -> None:
        recent = {name: values[-1] for name, values in run.latest.items() if len(values)}
        found = {**{n: np.atleast_1d(v) for n, v in recent.items()}, **run.validation}
        if self._name not in found:  # a check that Ctrl-C has cut short
            return
        values = found[self._name]
        value = _average(values if run.members is not None else values[0])
        self._report(value, run.epoch, f"at epoch {run.epoch}")

    def dealt(self, run: Dealt) -> None:
        if run.counted:
            self._report(run.means[self._name], run.done, f"behind {run.done} members")

    def _report(self, value: float, step: int, when: str) -> None:
        self.trial.report(value, step)
        if self.trial.should_prune():
            raise optional("optuna", "pruning").TrialPruned(
                f"Pruned {when}, with {self._name} {value:.6g}."
            )


def curves_of(history: History) -> dict[str, dict[str, Any]]:
    """The numbers of the history over its epochs, as a picture draws them."""
    found: dict[str, dict[str, Any]] = {}
    for name in history.names:
        values, base = getattr(history, name), name.removeprefix("val_")
        epochs, axis = history.val_epochs, "epoch"
        if name == base and len(values) == history.epochs:
            epochs = np.arange(1, history.epochs + 1)
        elif epochs is None:  # checks alone, whose epochs nobody knows
            epochs, axis = np.arange(1, len(values) + 1), "check"
        if len(epochs) == len(values):
            spread = _spread(values)
            parts = [""] if "" in spread else ["/mean", "/q10", "/q90"]
            curve = _pictures().Curve(axis, epochs, *(spread[part] for part in parts))
            found.setdefault(base, {})["training" if name == base else "validation"] = curve
    return found


def best_of(history: History) -> tuple[str, float] | None:
    """The best epoch in validation with what it is called; of members the median."""
    epochs = np.asarray(history.best_epoch)
    if not epochs.any():
        return None
    middle = np.quantile(epochs[epochs > 0], 0.5, method="inverted_cdf")
    return f"{'best' if epochs.ndim == 0 else 'median best'} epoch, {middle}", float(middle)


def _widths(run: Run) -> list[int]:
    return [shape[-2] for shape in run.network.parameters().values() if len(shape) > 1]


def _mean(values: np.ndarray) -> np.ndarray:
    """One value an epoch: the mean over those members that are still trained."""
    return values if values.ndim == 1 else _quiet(np.nanmean, values)


def _average(values: np.ndarray) -> float:
    """That of one network, or the mean over those members that are still trained."""
    return float(_mean(values[None])[0])


def _spread(values: np.ndarray) -> dict[str, np.ndarray]:
    """How the members lie in each epoch, by the end of a tag; a single network just as it is."""
    if values.ndim == 1:
        return {"": values}
    quantiles = _quiet(np.nanquantile, values, (0.1, 0.5, 0.9))
    return {"/mean": _mean(values), **dict(zip(("/q10", "/q50", "/q90"), quantiles, strict=True))}


def _quiet(reduce: Callable[..., Any], values: np.ndarray, *arguments: Any) -> Any:
    # Of an epoch at which no member was left all is NaN, and so is its mean: not asked for, since
    # what it would warn of can only be silenced for all threads.
    some = ~np.isnan(values).all(axis=-1)
    with np.errstate(all="ignore"):
        found = np.asarray(reduce(values[some], *arguments, axis=-1))
    whole = np.full((*found.shape[:-1], len(values)), np.nan)
    whole[..., some] = found
    return whole


def bars_cleared() -> AbstractContextManager[Any]:
    """Clear the bars of tqdm from the terminal while a line is written, if there are any."""
    tqdm = sys.modules.get("tqdm")
    return nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode()


# Modules are asked for when they are used, and kept by no callback: that could not be pickled.


def _tensorboard() -> tuple[ModuleType, ModuleType, ModuleType]:
    event, summary, files = (
        optional(f"tensorboardX.{module}", "the TensorBoard log")
        for module in ("proto.event_pb2", "proto.summary_pb2", "event_file_writer")
    )
    return event, summary, files


def _pictures() -> ModuleType:
    optional("matplotlib", "the picture")
    return importlib.import_module("xpnet.pictures")
