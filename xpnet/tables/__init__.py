"""Tables: columns of numbers, categories and labels, read, described, and made into one matrix.

`read` makes a `Table` of a file, a frame of pandas, polars or pyarrow, an array, or the name of a
well-known data set. `Preparation.fit` learns of the samples that are trained on how its columns
become numbers that a network takes, and how its target becomes what a loss takes; it is a plain
description, which goes wherever ``model.preparation`` goes, and into its file. Of a model that has
one, `predict`, `predict_proba` and `evaluate` take a table::

    found = Preparation.fit(train, "grade")
    model = xn.fit(net, found.transform(train), found.targets(train), …)
    model.preparation = found
    model.save("grades.safetensors")
    predict(xn.load("grades.safetensors"), "new.csv")  # "good", "bad", …
"""

from __future__ import annotations

from xpnet.tables.columns import Category, Number
from xpnet.tables.network import table_network
from xpnet.tables.predicting import evaluate, predict, predict_proba
from xpnet.tables.preparation import Preparation
from xpnet.tables.reading import read
from xpnet.tables.table import Column, Table
from xpnet.tables.target import Target

__all__ = [
    "Category",
    "Column",
    "Number",
    "Preparation",
    "Table",
    "Target",
    "evaluate",
    "predict",
    "predict_proba",
    "read",
    "table_network",
]
