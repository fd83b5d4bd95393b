"""`Table` and `Column`: what is known of a column before anything is learnt of it."""

from __future__ import annotations

import difflib
import numbers
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

import numpy as np

from xpnet import checks

NUMBER, TEXT, CATEGORY, DATE = "number", "text", "category", "date"
"""The kinds of columns; of a category it was said that it is one."""

FEW = 20
"""How many names of columns an error lists."""

MISSING = frozenset(
    ("", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat", "missing")
)
"""Texts of files that stand for nothing, in small letters."""

_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([T ]\d.*)?"
)


EXACT = 1 << 53
"""From here on a float is not every whole number: two ids may be one."""

_DATES = (date, time, timedelta, np.datetime64, np.timedelta64)


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table, on the host.

    Attributes:
        name: what it is called.
        kind: ``"number"``, ``"text"``, ``"category"`` or ``"date"``.
        values: ``(rows,)``: truth values, integers or floats with NaN where one is missing; of all
            other kinds texts, with ``None`` where one is missing.
    """

    name: str
    kind: str
    values: np.ndarray

    def missing(self) -> np.ndarray:
        """Where nothing is, as truth values."""
        if self.kind == NUMBER:
            return np.asarray(
                np.isnan(self.values)
                if self.values.dtype.kind == "f"
                else np.zeros(len(self.values), dtype=bool)
            )
        return np.asarray([value is None for value in self.values], dtype=bool)

    def texts(self) -> list[str | None]:
        """The values as texts, by which categories are told: 3, 3.0 and "3" are the same."""
        if self.kind != NUMBER:
            return list(self.values)
        # Digits as many as the dtype needs: 0.1 in float32 is 0.1 in float64.
        return [
            None if v != v else str(int(v)) if float(v).is_integer() else str(own)
            for v, own in zip(self.values.tolist(), self.values, strict=True)
        ]

    def numbers(self) -> np.ndarray:
        """The values as float64, NaN where one is missing.

        Raises:
            ValueError: if it is a date, or something is no finite number.
        """
        if self.kind == DATE:
            raise ValueError(f"{self} must hold numbers, not dates. {self.cure}")
        if self.kind == NUMBER:
            found = np.asarray(self.values, dtype=np.float64)
        else:
            found = np.full(len(self.values), np.nan)
            for row, value in enumerate(self.values):
                if value is not None and (number := as_number(value)) is not None:
                    found[row] = number
                elif value is not None:
                    raise ValueError(
                        f"{self} must hold numbers, but {checks.shown(value)} in row {row} (from "
                        "0) is none."
                    )
        if np.isinf(found).any():
            raise ValueError(
                f"{self} must hold finite numbers, but that of row {int(np.isinf(found).argmax())} "
                "(from 0) is infinite; leave it empty where nothing is known."
            )
        return found

    @property
    def cure(self) -> str:
        """What to do with a date."""
        return (
            "Say what matters of them as numbers, such as the year, the month or the days since "
            f"some day, or leave it out: drop=[{self.name!r}]."
        )

    def __str__(self) -> str:
        return f"column {checks.shown(self.name)}"


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equally many rows, found by their names: ``table["age"]``.

    Attributes:
        columns: the columns, in their order, with different names.
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for column in self.columns:
            if column.name in seen:
                raise ValueError(
                    f"columns must have names of their own, but two are called {column.name!r}."
                )
            seen.add(column.name)
        if not self.columns or not len(self):
            raise ValueError(
                f"a table must have rows and columns, not {len(self)} of {len(self.columns)}."
            )

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    @property
    def names(self) -> list[str]:
        """What the columns are called."""
        return [column.name for column in self.columns]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows, {', '.join(f'{c.name}: {c.kind}' for c in self.columns)})"

    def has(self, what: str, name: Any) -> str:
        """Return ``name`` if a column has it, or raise, naming the nearest."""
        if isinstance(name, str) and name in self:
            return name
        several = [one.strip() for one in str(name).split(",")]
        if len(several) > 1 and all(one in self for one in several):
            raise ValueError(
                f"{what} must be names of columns one by one, {', '.join(map(repr, several))}, not "
                f"{checks.shown(name)}."
            )
        if len(self.columns) <= FEW:
            return checks.one_of(what, name, self.names)
        near = difflib.get_close_matches(str(name), self.names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(
            f"{what} must be one of the {len(self.columns)} columns, not {checks.shown(name)}{hint}"
        )

    def without(self, names: Iterable[str]) -> Table:
        """The table without the columns of these names."""
        left_out = set(names)
        return Table(tuple(column for column in self.columns if column.name not in left_out))

    def take(self, rows: np.ndarray) -> Table:
        """Some of its rows, by their numbers."""
        return Table(tuple(Column(c.name, c.kind, c.values[rows]) for c in self.columns))


def as_number(text: str) -> float | None:
    """The number that a text writes, ``None`` if it writes none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def of_texts(name: str, texts: Sequence[str]) -> Column:
    """A column of a file of texts, whose kind is what all of them are."""
    try:
        found = np.array([float(text) for text in texts])
        if "_" not in "".join(texts):  # float takes 1_000 for a thousand
            return _exactly(name, found, texts)
    except ValueError:  # of a text, or where one is missing
        pass
    said = {text: text.strip() for text in set(texts)}
    said = {text: value for text, value in said.items() if value.lower() not in MISSING}
    number = {text: as_number(value) for text, value in said.items()}
    truth = {
        text: ("false", "true").index(value.lower())
        for text, value in said.items()
        if value.lower() in ("true", "false")
    }
    if None not in number.values():
        found = np.array([number.get(text, np.nan) for text in texts], float)
        return _exactly(name, found, [said.get(text) for text in texts])
    if len(truth) == len(said):
        plain = len(said) == len(set(texts))
        made = [truth.get(text, np.nan) for text in texts]
        return Column(name, NUMBER, np.array(made, dtype=bool if plain else float))
    return of_strings(name, [said.get(text) for text in texts])


def _exactly(name: str, found: np.ndarray, values: Sequence[Any]) -> Column:
    """Numbers as floats; whole ones that these may not tell apart as integers, or texts."""
    if not (np.abs(found) >= EXACT).any():
        return Column(name, NUMBER, found)
    texts = [None if value is None else str(value).strip() for value in values]
    whole = [text for text in texts if text is not None and re.fullmatch(r"[-+]?\d+", text)]
    if all(int(text) == float(text) for text in whole):
        return Column(name, NUMBER, found)
    if len(whole) == len(texts):
        exact = np.array([int(text) for text in whole])
        if exact.dtype.kind in "iu":
            return Column(name, NUMBER, exact)
    return of_strings(name, texts)


def of_strings(name: str, values: Sequence[str | None], kind: str = TEXT) -> Column:
    """A column of texts, ``None`` where one is missing; of dates, if all are written as such."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    known = {value for value in values if value is not None}
    dates = kind == TEXT and bool(known) and all(_DATE.fullmatch(value) for value in known)
    return Column(name, DATE if dates else kind, array)


def of_objects(name: str, values: Sequence[Any], kind: str = TEXT) -> Column:
    """A column of Python's objects, ``None`` or NaN where one is missing."""
    from decimal import Decimal  # not with xpnet, which few hand a table

    there = [None if v is None or is_nan(v) else v for v in values]
    known = [v for v in there if v is not None]
    if all(isinstance(v, (str, np.str_)) for v in known) and known:
        return of_strings(name, [None if v is None else str(v) for v in there], kind)
    if all(isinstance(v, (numbers.Real, Decimal, np.bool_)) for v in known):
        truth = all(isinstance(v, (bool, np.bool_)) for v in there)
        made = [np.nan if v is None else float(v) for v in there]
        column = Column(name, NUMBER, np.array(made, dtype=bool)) if truth else None
        column = column or _exactly(name, np.array(made, dtype=float), there)
        return column if kind == TEXT else of_strings(name, column.texts(), kind)
    if all(isinstance(v, _DATES) or type(v).__name__ == "Period" for v in known):
        return of_strings(name, [None if v is None else str(v) for v in there], DATE)
    shown = [checks.shown(v) for v in known]
    other = next(
        (
            f" and {text}"
            for v, text in zip(known, shown, strict=True)
            if type(v) is not type(known[0])
        ),
        "",
    )
    raise ValueError(
        f"column {checks.shown(name)} must hold numbers, texts or dates, all of one kind, not "
        f"{shown[0]}{other}."
    )


def is_nan(value: Any) -> bool:
    """NaN, and what pandas has for nothing."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.generic)) and bool(value != value)


def of_array(name: str, values: np.ndarray, kind: str = TEXT) -> Column:
    """A column of an array of NumPy of one axis."""
    if values.dtype.kind in "biuf":
        return Column(name, NUMBER, values)
    if values.dtype.kind in "mM":
        return of_strings(name, [None if is_nan(v) else str(v) for v in values], DATE)
    if values.dtype.kind not in "OUT":
        raise ValueError(
            f"column {checks.shown(name)} must hold numbers, texts or dates, not {values.dtype}."
        )
    return of_objects(name, values.tolist(), kind)
