"""What is done with a model in a file: ``predict``, ``evaluate``, ``export`` and ``info``."""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.cli import told
from xpnet.cli.parts import backend_of
from xpnet.cli.program import Mistake
from xpnet.cli.tables.fitting import load, to_write
from xpnet.metrics import confusion_matrix
from xpnet.tables import predicting
from xpnet.tables.predicting import prepared


def predict(options: argparse.Namespace) -> int:
    """Write what is predicted of each row, as csv."""
    output = None if options.output is None else to_write("--output", options.output)
    model = _model(options)
    target = prepared(model)[1]
    if options.probabilities and not target.classes:
        raise Mistake(
            f"--probabilities needs a model of classes, not of the numbers {target.name!r}."
        )
    with _warned():
        found = predicting.estimates(model, load(options.data))
    said = target.decode(found.argmax(axis=1)) if target.classes else found
    head, columns = [target.name], [said.tolist()]
    if options.probabilities:
        head += [f"p({one})" for one in target.classes]
        columns += found.T.tolist()
    rows = [head, *zip(*columns, strict=True)]
    if output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Say how well the target of a table is predicted, and who is taken for whom."""
    file = None if options.page is None else to_write("--page", options.page)
    model = _model(options)
    preparation, target = prepared(model)
    if file is not None:
        from xpnet.cli.tables.page import page  # which needs matplotlib and jinja2
    table = load(options.data)
    with _warned():
        true = preparation.targets(table)
        found = predicting.estimates(model, table)
    figures = predicting.figures(target, true, found)
    print(
        told.figures({Path(options.data).name: figures}, {Path(options.data).name: len(true)}, None)
    )
    if target.classes:
        matrix = np.asarray(confusion_matrix(true, found.argmax(axis=1), len(target.classes)))
        print("True classes in rows, predicted ones in columns:")
        print(told.confusion(matrix, [str(one) for one in target.classes]))
    if file is not None:
        text = page(model, Path(options.model).name, Path(options.data).name, true, found, figures)
        file.write_text(text, encoding="utf-8")
        print(f"[INFO]: Page: {options.page}")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the network in the format ONNX, and say what it takes."""
    model = _model(options, table=False)
    xn.export_onnx(model, options.onnx)
    print(f"[INFO]: ONNX: {options.onnx}")
    if model.preparation is not None:
        for name, columns in (
            ("numbers, NaN where one is missing", model.preparation.numbers),
            ("categories, texts", model.preparation.categories),
        ):
            if columns:
                print(f"[INFO]: It takes {name}: {', '.join(one.name for one in columns)}")
    return 0


def info(options: argparse.Namespace) -> int:
    """Say what is in the file of a model."""
    model = _model(options, table=False)
    for line in described(model):
        print(line)
    print(model.network.summary())
    return 0


def described(model: xn.Model) -> Iterator[str]:
    """What a model is, in lines."""
    found = model.preparation
    members = "one network" if model.members is None else f"{model.members} networks"
    dtype = str(model.theta.dtype).rpartition(".")[2]
    yield f"{members} of {model.theta.shape[-1]:,} parameters in {dtype}, loss {model.loss!r}"
    if model.history is not None:
        by = "" if model.optimizer is None else f" by {model.optimizer!r}"
        yield f"trained for {model.history.epochs} epochs{by}"
    if found is None:
        yield "no table: x is an array of features"
        return
    if found.target is not None:
        classes = found.target.classes
        of = (
            f"one of {len(classes)} classes: {', '.join(map(str, classes))}"
            if classes
            else "a number"
        )
        yield f"predicts {found.target.name!r}, {of}"
    for number in found.numbers:
        way = f"({number.center:.6g} ± {number.scale:.6g})"
        if number.quantiles or (number.center, number.scale) == (0, 1):
            way = "by quantiles" if number.quantiles else "as it is"
        missing = ", where missing an indicator and" if number.missing else ", where missing"
        yield f"  {number.name}: a number {way}{missing} {number.median:.6g}"
    for category in found.categories:
        values = xn.checks.cut(", ".join(category.values))
        yield f"  {category.name}: one of {len(category.values)} texts: {values}"
    if found.left_out:
        yield f"  left out: {', '.join(found.left_out)}"


def _model(options: argparse.Namespace, table: bool = True) -> xn.Model:
    """The model of a file, where it is to be computed; of a table, or raise."""
    place: dict[str, Any] = {}
    if hasattr(options, "backend"):
        backend_of(argparse.Namespace(**{"dtype": "float64", **vars(options)}), {})
        place = {"backend": options.backend, "device": options.device}
    try:
        model = xn.load(options.model, **place)
    except (OSError, ValueError) as error:
        raise Mistake(str(error).replace("path ", "MODEL ", 1)) from None
    if table and model.preparation is None:
        raise Mistake(
            f"MODEL must be of a table, as xpnet fit writes it, but {options.model!r} is of a "
            "network alone."
        )
    return model


@contextmanager
def _warned() -> Iterator[None]:
    """Warnings as lines on stderr."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", RuntimeWarning)
        yield
    for one in found:
        print(f"[WARNING]: {one.message}", file=sys.stderr)
