"""`Target`: the column that is predicted, as a loss takes it, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.tables.table import DATE, NUMBER, Column

TASKS = ("auto", "classification", "regression")

MANY = 20
"""From how many different whole numbers on these are no classes, if nobody says what they are."""


@dataclass(frozen=True)
class Target:
    """What is predicted: one of some classes, or a number.

    Attributes:
        name: the name of the column.
        classes: the classes in order, as they were: texts, whole numbers or truth values; none
            where numbers are predicted.
    """

    name: str
    classes: tuple[Any, ...] = ()

    @classmethod
    def of(cls, column: Column, task: str = "auto") -> Target:
        """What there is to learn of a column of targets.

        Args:
            column: the column, of the rows that are trained on.
            task: ``"classification"``, ``"regression"``, or ``"auto"``: classes are texts, truth
                values, and up to 20 different whole numbers.

        Raises:
            ValueError: if one is missing, it holds dates, texts for a regression, or one value.
        """
        checks.one_of("task", task, TASKS)
        _all_there(column)
        values = column.values
        if task == "regression":
            values = column.numbers()
        known = sorted(set(values.tolist()))
        if len(known) < 2:
            raise ValueError(
                f"{_called(column)} must have two different values at least, of the rows that are "
                f"trained on, not {checks.shown(known[0])} alone."
            )
        if task == "regression" or (task == "auto" and not _are_classes(column, known)):
            column.numbers()  # or raise
            return cls(column.name)
        if column.kind == NUMBER and all(float(value).is_integer() for value in known):
            known = known if values.dtype == bool else [int(value) for value in known]
        if len(known) > len(values) // 2 and len(known) > MANY:
            raise ValueError(
                f"{_called(column)} must have classes of several rows each, not {len(known)} in "
                f"{len(values)} rows; numbers are predicted by task='regression'."
            )
        return cls(column.name, tuple(known))

    def encode(self, column: Column) -> np.ndarray:
        """The targets ``(rows,)``: classes from 0 on as int64, or numbers as float64.

        Raises:
            ValueError: if one is missing, is of a class that there was not in training, or no
                number.
        """
        _all_there(column)
        if not self.classes:
            return column.numbers()
        if column.kind == DATE:
            raise ValueError(f"{_called(column)} must not hold dates. {column.cure}")
        own = Column(self.name, *_as_column(self.classes))
        known = {text: code for code, text in enumerate(own.texts())}
        codes = np.array([known.get(text, -1) for text in column.texts()], dtype=np.int64)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise ValueError(
                f"{_called(column)} must be of the {len(known)} classes of the training, "
                f"{checks.cut(', '.join(map(str, self.classes)))}, but row {row} (from 0) has "
                f"{checks.shown(column.values[row : row + 1].tolist()[0])}."
            )
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Classes by their numbers, as they were in training; numbers are returned as they are."""
        return np.asarray(self.classes)[codes] if self.classes else codes


def _as_column(classes: tuple[Any, ...]) -> tuple[str, np.ndarray]:
    """The kind and the values of a column of these classes."""
    if isinstance(classes[0], str):
        return "text", np.array(classes, dtype=object)
    return NUMBER, np.array(classes)


def _called(column: Column) -> str:
    return f"the target {checks.shown(column.name)}"


def _are_classes(column: Column, known: list[Any]) -> bool:
    if column.kind != NUMBER or column.values.dtype == bool:
        return True
    return len(known) <= MANY and all(float(value).is_integer() for value in known)


def _all_there(column: Column) -> None:
    if column.kind == DATE:
        raise ValueError(
            f"{_called(column)} must hold classes or numbers, not dates. {column.cure}"
        )
    missing = column.missing()
    if missing.any():
        raise ValueError(
            f"{_called(column)} must be there in each row, but is missing in {missing.sum()} of "
            f"{len(missing)}, first in row {int(missing.argmax())} (from 0); leave these out."
        )
