"""``xpnet fit``: a table in, a model in a file out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet import backends, callbacks
from xpnet.cli import running, told
from xpnet.cli.judging import of_numbers
from xpnet.cli.parts import backend_of
from xpnet.cli.program import FAILED, INTERRUPTED, Mistake, ready
from xpnet.files.folders import writable_folder
from xpnet.layers import ACTIVATIONS
from xpnet.tables import Preparation, Table, Target, predicting, read, table_network

SHARING = 32
"""How many networks share their weights in TabM."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The rows of a table by what they are for: ``"training"``, ``"validation"``, ``"test"``."""

    table: Table
    rows: dict[str, np.ndarray]

    def __getitem__(self, use: str) -> Table:
        return self.table.take(self.rows[use])


def to_write(flag: str, path: str) -> Path:
    """A file that is to be written once there is something to write; it is looked at now."""
    found = Path(path)
    if found.is_dir() or not found.name:
        raise Mistake(f"{flag} must be a file, not the folder {path!r}.")
    if found.is_file() or not found.exists():  # and no device
        writable_folder(f"the folder of {flag}", found.parent)
    return found


def fit(options: argparse.Namespace) -> int:
    """Train as the flags say, write the model, say how well it does; returns the exit status."""
    output = to_write("--output", options.output)
    xn.files.tensors.package()  # or say that it is missing
    backend = backend_of(options, {})
    table = load(options.data)
    if options.target in options.drop:
        raise Mistake(f"--drop must not have the target {options.target!r}.")
    preparing = {name: getattr(options, name) for name in ("numbers", "categories", "drop")}
    # Of all rows first, so that a sentence about one counts them as the file does.
    target = Preparation.fit(table, options.target, task=options.task, **preparing).target
    assert target is not None
    parts = _apart(table, target, options)
    found = Preparation.fit(parts["training"].without([target.name]), **preparing)
    found = replace(found, target=target)
    for line in _told(table, found, parts, options.drop):
        print(line)
    sys.stdout.flush()
    model = _trained(options, backend, found, parts)
    history = model.history
    assert history is not None
    model.save(output)
    print(_ended(history))
    judged = {}
    if not np.all(history.diverged):
        for use in parts.rows:
            judged[use] = predicting.evaluate(model, parts[use])
        print(told.figures(judged, {use: len(rows) for use, rows in parts.rows.items()}, None))
    print(f"[INFO]: Model: {output}")
    return INTERRUPTED if history.interrupted else 0 if judged else FAILED


def load(data: str) -> Table:
    """The table of a file or data set, or raise."""
    try:
        return read(data)
    except OSError as error:
        if error.errno is None:  # none there, told in a sentence
            raise Mistake(str(error).replace("data ", "DATA ", 1)) from None
        raise Mistake(
            f"DATA must be a file that can be read, not {data!r} ({error.strerror})."
        ) from None


def _apart(table: Table, target: Target, options: argparse.Namespace) -> Parts:
    """The rows of the table, dealt out."""
    y = target.encode(table[target.name])
    rows, parts = np.arange(len(table)), {}
    for use in ("test", "validation"):
        share = getattr(options, use)
        if not share:
            continue
        count = round(share * len(table))
        if not 0 < count < len(rows):
            raise Mistake(
                f"--{use} must leave rows to train on, and have some, of the {len(table)} of DATA, "
                f"not be {share:g}."
            )
        try:
            stratify = bool(target.classes)
            split = xn.split(rows, y[rows], test=count, seed=options.seed, stratify=stratify)
        except ValueError:  # a class would be missing
            sizes = np.bincount(y[rows])
            rarest = target.classes[sizes.argmin()]
            raise Mistake(
                f"--target must have each class in several of the {len(rows)} rows, of which "
                f"--{use} takes {count}, but {xn.checks.shown(rarest)} is in {sizes.min()}; leave "
                f"its rows out, or set --{use} 0."
            ) from None
        rows, parts[use] = split[0], split[1]
    parts["training"] = rows
    return Parts(
        table, {use: parts[use] for use in ("training", "validation", "test") if use in parts}
    )


def _told(table: Table, found: Preparation, parts: Parts, dropped: Sequence[str]) -> list[str]:
    """What is said before the training: of the table, and of its parts."""
    target = found.target
    assert target is not None
    kind = f"one of {len(target.classes)} classes" if target.classes else "a number"
    rows = ", ".join(f"{len(rows):,} for {use}" for use, rows in parts.rows.items())
    lines = [
        f"[INFO]: {len(table):,} rows: {rows}. {target.name!r} is {kind}"
        f"{': ' + xn.checks.cut(', '.join(map(str, target.classes))) if target.classes else ''}.",
        f"[INFO]: {len(found.numbers)} columns of numbers, {len(found.categories)} of categories"
        + (f", {len(found.indicators)} with missing numbers" if found.indicators else "")
        + ".",
    ]
    constant = [name for name in found.left_out if name not in dropped]
    if constant:
        names = xn.checks.cut(", ".join(constant))
        lines.append(f"[INFO]: Left out, as one value is in all rows of training: {names}.")
    return lines


def _ended(history: xn.History) -> str:
    """How the training came to its end."""
    best = np.asarray(history.best_epoch)
    if not np.ndim(history.stop):
        return told.ending(None, history)
    said = told.summary(None, history).partition(" Distribution")[0]
    if best.any():
        said += f" Each is that of its best epoch in validation, {best.min()} to {best.max()}."
    return said


def _trained(
    options: argparse.Namespace, backend: backends.Backend, found: Preparation, parts: Parts
) -> xn.Model:
    """The model, trained; of numbers, that of numbers as they are."""
    target = found.target
    assert target is not None
    outputs = len(target.classes) if len(target.classes) > 2 else 1
    loss: xn.Loss = xn.MSE()
    if target.classes:
        loss = xn.CrossEntropy() if outputs > 1 else xn.BCEWithLogits()
    y = {use: target.encode(parts[use][target.name]) for use in parts.rows}
    center, scale = 0.0, 1.0
    if not target.classes:
        center, scale = float(y["training"].mean()), float(y["training"].std()) or 1.0

    def learnt(use: str) -> tuple[object, object]:
        values = y[use]
        if outputs == 1:
            values = (values[:, None] - center) / scale
        kind = "int64" if outputs > 1 else options.dtype
        x = found.transform(parts[use])
        return backend.asarray(x, options.dtype), backend.asarray(values, kind)

    x_train, y_train = learnt("training")
    ready()
    model = running.fit(
        table_network(
            found.numeric,
            found.sizes,
            outputs,
            hidden=options.hidden,
            architecture=options.architecture,
            k=SHARING,
            numerical_embedding=None if options.embedding == "none" else options.embedding,
            activation=ACTIVATIONS[options.activation](),
            dropout=options.dropout,
        ),
        x_train,
        y_train,
        loss=xn.EnsembleLoss(loss, SHARING) if options.architecture == "tabm" else loss,
        optimizer=xn.AdamW(lr=options.lr, weight_decay=options.weight_decay, decayed="weights"),
        epochs=options.epochs,
        batch_size=min(options.batch_size, len(y["training"])),
        seed=options.seed,
        members=options.members if options.members > 1 else None,
        validation=learnt("validation") if "validation" in y else None,
        patience=options.patience if "validation" in y else None,
        check_every=1,
        callbacks=_bar(),
    )
    model.preparation = found
    return model if target.classes else of_numbers(model, center, scale)


def _bar() -> Sequence[xn.Callback]:
    try:
        return [callbacks.ProgressBar()]
    except ImportError:
        return []
