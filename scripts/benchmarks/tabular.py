"""Scores of the estimators for tables beside others': the whole table, with what is lost.

    python scripts/benchmarks/tabular.py --splits 10

Each split holds a quarter of the samples out; all are judged on the same ones. Who is not installed
is left out. TabM's own package is trained as the estimators train: the same preparation, sizes,
batches and stopping.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import start  # noqa: F401

# isort: split
import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

DATA = ("breast_cancer", "wine", "digits", "diabetes", "mixed", "mixed numbers")

Samples = tuple[Any, np.ndarray]


def samples(name: str, rows: int = 3000) -> Samples:
    """A frame and its targets: numbers where they are to be predicted, else classes."""
    import pandas

    if name.startswith("mixed"):
        return mixed(rows, numbers=name.endswith("numbers"))
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return pandas.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]), y


def mixed(rows: int, numbers: bool) -> Samples:
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


def contestants(classes: bool, seed: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The estimators, each made when it is asked for."""
    from xpnet.estimators import TabularClassifier, TabularRegressor

    ours: Any = TabularClassifier if classes else TabularRegressor
    yield "xpnet, Tabular", lambda: ours(random_state=seed)
    yield "xpnet, Tabular, 8 members", lambda: ours(architecture="mlp", random_state=seed)
    yield "scikit-learn's MLP", lambda: _mlp(classes, seed)
    yield "HistGradientBoosting", lambda: _boosting(classes, seed)
    try:
        from benchmarks.tabular_torch import TabM
    except ImportError:
        return
    yield "TabM's package", lambda: TabM(classes, seed)


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


def _mlp(classes: bool, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    kind = MLPClassifier if classes else MLPRegressor
    return make_pipeline(_columns(), kind(max_iter=500, random_state=seed))


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


def judge(name: str, split: int) -> dict[str, tuple[float, float, float]]:
    """Of each contestant the score, the loss and the seconds of a split."""
    from sklearn.metrics import log_loss, r2_score, root_mean_squared_error
    from sklearn.model_selection import train_test_split

    frame, y = samples(name)
    classes = name not in ("diabetes", "mixed numbers")
    parts = train_test_split(
        frame, y, test_size=0.25, random_state=split, stratify=y if classes else None
    )
    train, test, y_train, y_test = parts
    found = {}
    for who, make in contestants(classes, split):
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = make().fit(train, y_train)
        took = time.perf_counter() - began
        if classes:
            p = model.predict_proba(test)
            labels = np.unique(y)
            score = float(np.mean(labels[p.argmax(axis=1)] == y_test))
            found[who] = (score, float(log_loss(y_test, p)), took)
        else:
            predicted = model.predict(test)
            score = float(r2_score(y_test, predicted))
            found[who] = (score, float(root_mean_squared_error(y_test, predicted)), took)
    return found


def main() -> int:
    """Run all, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only", action="append", choices=DATA)
    chosen = parser.parse_args()
    print("| data | who | accuracy or R² | log loss or RMSE | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for name in chosen.only or DATA:
        found = [judge(name, split) for split in range(chosen.splits)]
        for who in found[0]:
            each = np.array([one[who] for one in found])
            mean, spread = each.mean(axis=0), each.std(axis=0, ddof=min(1, len(found) - 1))
            cells = (f"{mean[0]:.4f} ± {spread[0]:.4f}", f"{mean[1]:.3f}", f"{mean[2]:.1f}")
            print(f"| {name} | {who} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
