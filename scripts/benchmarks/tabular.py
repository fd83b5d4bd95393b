"""Scores of the estimators for tables beside others': the whole table, with what is lost.

    python scripts/benchmarks/tabular.py --splits 10
    python scripts/benchmarks/tabular.py --only wine --only houses --quick

Each split holds a quarter of the samples out; all are judged on the same ones, in an order of their
own, with one thread. Who is not installed is left out. TabM's own package is trained as the
estimators train: the same preparation, sizes, batches and stopping. digits and mnist5k are pictures
as columns, houses is made up like California's, 100,000 rows of 20 numbers; of the large ones there
are fewer splits, and all networks have fewer epochs (`MOST`).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import start  # noqa: F401

# isort: split
from benchmarks import machine

if __name__ == "__main__":  # before any library is imported; the others are timed by one, too
    machine.hold_threads(1)

# isort: split
import argparse
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from benchmarks import estimators
from benchmarks.problems import Unavailable

DATA = (
    *("breast_cancer", "wine", "diabetes", "mixed", "mixed numbers"),
    *("digits", "mnist5k", "houses"),
)
MOST = {"digits": (5, 200), "mnist5k": (2, 20), "houses": (2, 20)}
"""Of the large ones, how many splits there are at most, and how many epochs of a network."""

OURS = "xpnet, Tabular"


@dataclass(frozen=True)
class Table:
    """A frame and its targets: numbers where they are to be predicted, else classes."""

    frame: Any
    y: np.ndarray
    classes: bool
    epochs: int | None = None


@dataclass(frozen=True)
class Judged:
    """Of a fit the accuracy or R², the log loss or RMSE of what was held out, and the seconds."""

    score: float
    loss: float
    seconds: float


def table(name: str, rows: int | None = None) -> Table:
    """One of `DATA`; of what is made up, so many rows.

    Raises:
        Unavailable: if what it is of is not installed.
    """
    import pandas

    if name.startswith("mixed"):
        numbers = name.endswith("numbers")
        return Table(*mixed(rows or 3000, numbers), classes=not numbers)
    task = estimators.houses(rows or 100_000) if name == "houses" else estimators.known(name)
    frame = pandas.DataFrame(task.x, columns=[f"x{i}" for i in range(task.x.shape[1])])
    return Table(frame, task.y, task.classes, MOST.get(name, (None, None))[1])


def mixed(rows: int, numbers: bool) -> tuple[Any, np.ndarray]:
    """A table as they are: heavy tails, thresholds, categories, holes, columns that say nothing."""
    import pandas

    rng = np.random.default_rng(7)
    plain, heavy = rng.normal(size=(rows, 4)), np.exp(1.5 * rng.normal(size=(rows, 3)))
    city, color = rng.integers(0, 12, rows), rng.integers(0, 3, rows)
    of_city = rng.normal(size=12)
    score = (
        np.sin(2 * plain[:, 0])
        + 1.2 * (heavy[:, 0] > 1.3) * (color == 1)
        + of_city[city] * np.where(plain[:, 1] > 0, 1.0, -0.3)
        + 0.5 * np.log(heavy[:, 1])
        + 0.4 * rng.normal(size=rows)
    )
    table: dict[str, Any] = {f"plain{i}": plain[:, i] for i in range(4)}
    table |= {f"heavy{i}": heavy[:, i] for i in range(3)}
    for column in table.values():
        column[rng.random(rows) < 0.05] = np.nan
    table["city"] = np.array([f"city {i}" for i in city], dtype=object)
    table["color"] = np.array(["red", "green", "blue"], dtype=object)[color]
    table["city"][rng.random(rows) < 0.05] = None
    if numbers:
        return pandas.DataFrame(table), score
    return pandas.DataFrame(table), np.array(["low", "middle", "high"])[np.digitize(score, (-1, 1))]


def contestants(classes: bool, seed: int, epochs: int | None) -> dict[str, Callable[[], Any]]:
    """The estimators, each made when it is asked for; networks with so many epochs at most."""
    from xpnet.estimators import TabularClassifier, TabularRegressor

    ours: Any = TabularClassifier if classes else TabularRegressor
    more = {} if epochs is None else {"max_iter": epochs}
    found: dict[str, Callable[[], Any]] = {
        OURS: lambda: ours(random_state=seed, **more),
        f"{OURS}, 8 members": lambda: ours(architecture="mlp", random_state=seed, **more),
        "scikit-learn's MLP": lambda: _mlp(classes, seed, epochs or 500),
        "HistGradientBoosting": lambda: _boosting(classes, seed),
    }
    try:
        from benchmarks.tabular_torch import EPOCHS, TabM
    except ImportError:
        return found
    return found | {"TabM's package": lambda: TabM(classes, seed, epochs=epochs or EPOCHS)}


def _columns() -> Any:
    """Numbers and texts of a frame, each prepared as scikit-learn's documentation does."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        sparse_threshold=0,
    )


def _mlp(classes: bool, seed: int, epochs: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    kind = MLPClassifier if classes else MLPRegressor
    return make_pipeline(_columns(), kind(max_iter=epochs, random_state=seed))


def _boosting(classes: bool, seed: int) -> Any:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = make_column_transformer(
        (codes, make_column_selector(dtype_exclude="number")),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor

    return _Categories(make_pipeline, columns, kind, seed)


class _Categories:
    """Boosting that is told which columns are categories."""

    def __init__(self, pipeline: Any, columns: Any, kind: Any, seed: int) -> None:
        self.pipeline, self.columns, self.kind, self.seed = pipeline, columns, kind, seed

    def fit(self, frame: Any, y: np.ndarray) -> _Categories:
        """Fit it, texts as categories."""
        texts = [name for name in frame.columns if frame[name].dtype == object]
        model = self.kind(categorical_features=texts or None, random_state=self.seed)
        self.model = self.pipeline(self.columns, model).fit(frame, y)
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def judge(of: Table, split: int, asked: Sequence[str] | None = None) -> dict[str, Judged]:
    """Each contestant, or those that are asked, on a split."""
    from sklearn.metrics import log_loss, r2_score, root_mean_squared_error
    from sklearn.model_selection import train_test_split

    stratify = of.y if of.classes else None
    parts = train_test_split(of.frame, of.y, test_size=0.25, random_state=split, stratify=stratify)
    train, test, y_train, y_test = parts
    known = contestants(of.classes, split, of.epochs)
    found = {}
    for who in random.Random(split).sample(list(known), len(known)):
        if asked is not None and who not in asked:
            continue
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged: none of them is asked to
            model = known[who]().fit(train, y_train)
        took = time.perf_counter() - began
        if of.classes:
            p = model.predict_proba(test)
            score = float(np.mean(np.unique(of.y)[p.argmax(axis=1)] == y_test))
            found[who] = Judged(score, float(log_loss(y_test, p)), took)
        else:
            predicted = model.predict(test)
            loss = float(root_mean_squared_error(y_test, predicted))
            found[who] = Judged(float(r2_score(y_test, predicted)), loss, took)
    return {who: found[who] for who in known if who in found}


def lost(name: str, found: dict[str, list[Judged]]) -> str:
    """What ours has less, or more, than the best of the others, in a sentence."""
    others = {who: of for who, of in found.items() if not who.startswith(OURS)}
    if not others or OURS not in found:
        return ""
    best = max(others, key=lambda who: float(np.mean([one.score for one in others[who]])))
    pairs = list(zip(found[OURS], others[best], strict=True))
    apart = np.array([one.score - other.score for one, other in pairs])
    error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
    ours, theirs = (np.median([one.seconds for one in found[who]]) for who in (OURS, best))
    return (
        f"- {name}: {OURS} scores {abs(apart.mean()):.4f} ± {error:.4f} "
        f"{'more' if apart.mean() > 0 else 'less'} than the best of the others, {best}, "
        f"in {ours / theirs:.2g} times its seconds."
    )


def main() -> int:
    """Run all, and print a table in Markdown, and what is lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only", action="append", choices=DATA)
    parser.add_argument("--quick", action="store_true", help="few rows and epochs: does it run?")
    chosen = parser.parse_args()
    print("| data | who | accuracy or R² | log loss or RMSE | seconds |")
    print("| --- | --- | --- | --- | --- |")
    said = []
    for name in chosen.only or DATA:
        try:
            of = table(name, 1000 if chosen.quick else None)
        except Unavailable as error:
            said.append(f"- {name}: left out, as {error}")
            continue
        if chosen.quick:
            some = np.random.default_rng(0).permutation(len(of.y))[:1000]
            of = Table(of.frame.iloc[some], of.y[some], of.classes, epochs=2)
        splits = range(min(chosen.splits, MOST.get(name, (chosen.splits,))[0]))
        each = [judge(of, split) for split in splits]
        found = {who: [one[who] for one in each] for who in each[0]}
        for who, judged in found.items():
            numbers = np.array([astuple(one) for one in judged])
            mean, spread = numbers.mean(axis=0), numbers.std(axis=0, ddof=min(1, len(judged) - 1))
            cells = (f"{mean[0]:.4f} ± {spread[0]:.4f}", f"{mean[1]:.3f}", f"{mean[2]:.1f}")
            print(f"| {name}, {len(splits)} | {who} | {' | '.join(cells)} |", flush=True)
        said.append(lost(name, found))
    print("\n" + "\n".join(filter(None, said)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
