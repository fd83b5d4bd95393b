"""What a model says of a table, and how well: the members of an ensemble together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet import backends
from xpnet.in_parts import in_parts, rows_at_once
from xpnet.losses import MSE, CrossEntropy
from xpnet.metrics import AUC, MAE, R2, LogLoss, scores
from xpnet.tables.preparation import Preparation
from xpnet.tables.reading import read
from xpnet.tables.target import Target

if TYPE_CHECKING:  # which knows preparations itself
    from xpnet.model import Model


def predict(model: Model, data: Any) -> np.ndarray:
    """The class, as it was called in training, or the number, of each row of a table.

    Members of an ensemble say it together: the greatest mean probability, or the mean.

    Args:
        model: one whose ``preparation`` has a target, as `xpnet.load` gives it.
        data: the table, as `read` takes it; columns are found by name.

    Returns:
        ``(rows,)``, on the host.

    Raises:
        TypeError, ValueError: if the model is none for tables, or ``data`` does not fit, as
            `Preparation.transform` says.
    """
    target = prepared(model)[1]
    found = estimates(model, data)
    return target.decode(found.argmax(axis=-1)) if target.classes else found


def predict_proba(model: Model, data: Any) -> np.ndarray:
    """The probability of each class, ``(rows, classes)``; of members the mean.

    Arguments and errors are those of `predict`; also, of a model that predicts numbers:

    Raises:
        TypeError: if it does.
    """
    target = prepared(model)[1]
    if not target.classes:
        raise TypeError(
            f"predict_proba needs a model that predicts classes, not the numbers {target.name!r}."
        )
    return estimates(model, data)


def evaluate(model: Model, data: Any) -> dict[str, float]:
    """How well a table is predicted: accuracy, log loss and AUC, or R², MAE and RMSE.

    Arguments and errors are those of `predict`; ``data`` has the target, too.

    Returns:
        ``"accuracy"``, ``"log_loss"`` and ``"auc"``, or ``"r2"``, ``"mae"`` and ``"rmse"``, of what
        all members say together; AUC is NaN where there is one class alone.
    """
    preparation, target = prepared(model)
    table = read(data)
    true = preparation.targets(table)
    return figures(target, true, estimates(model, table))


def prepared(model: Model) -> tuple[Preparation, Target]:
    """The preparation of a model and its target, or raise."""
    preparation = model.preparation
    if preparation is None or preparation.target is None:
        lacking = "no preparation" if preparation is None else "a preparation without a target"
        raise TypeError(
            f"model must be one that was trained on a table and has its preparation, not one with "
            f"{lacking}; use model.preparation = xpnet.tables.Preparation.fit(data, target)."
        )
    return preparation, preparation.target


def estimates(model: Model, data: Any) -> np.ndarray:
    """Probabilities ``(rows, classes)`` or numbers ``(rows,)``, float64; of members the mean."""
    preparation, target = prepared(model)
    backend = backends.of(model.theta)
    dtype = backend.dtype_name(model.theta)
    of = model.predict_proba if target.classes else model.predict
    x = preparation.transform(data)

    def said(rows: slice) -> tuple[np.ndarray]:
        part = np.asarray(backend.to_host(of(backend.asarray(x[rows], dtype))), dtype=np.float64)
        return (part if model.members is None else part.mean(axis=0),)

    size = rows_at_once(backend, model.network, model.members)
    found: np.ndarray = in_parts(backends.get("numpy"), len(x), size, said)[0]
    if not target.classes:
        return found[:, 0]
    return found if found.shape[1] > 1 else np.concatenate([1 - found, found], axis=1)


def figures(target: Target, true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """The figures of `evaluate`, of what `estimates` gave."""
    backend = backends.get("numpy")
    with backend.context():
        if target.classes:
            # Probabilities are their own softmax when they are logarithms.
            output = np.log(np.maximum(found, np.finfo(float).tiny))
            onehot = true[:, None] == np.arange(len(target.classes))
            asked = (LogLoss(), AUC())
            said = scores(backend.xp, output, onehot, None, loss=CrossEntropy(), metrics=asked)
            said = {"accuracy": np.mean(found.argmax(axis=-1) == true), **said}
        else:
            pair = (found[:, None], true[:, None])
            said = scores(backend.xp, *pair, None, loss=MSE(), metrics=(R2(), MAE()))
            said["rmse"] = np.sqrt(np.mean((found - true) ** 2))
    return {name: float(value) for name, value in said.items()}
