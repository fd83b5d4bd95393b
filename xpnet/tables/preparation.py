"""`Preparation`: how the columns of a table become the matrix that a network takes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.tables.columns import MANY, Category, Number, warn
from xpnet.tables.reading import read
from xpnet.tables.table import CATEGORY, DATE, EXACT, NUMBER, TEXT, Column, Table, as_number
from xpnet.tables.target import Target

WAYS = ("standardize", "quantile", "keep")
"""What can be done with numbers."""

UNIQUE = 20
"""From how many rows on a text that is another in each of them is an id."""

FEW = 10
"""From how many rows on there is a warning where most texts are new."""

WRITTEN = re.compile(
    r"[-+−]?[$€£¥]?\s*[-+−]?(?:\d{1,3}([,.'’\xa0])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d+)?"
    r"|\d+(?:[.,]\d+)?)\s*[%$€£¥]?"
)
"""Numbers as they are written for people: 3,5 and 1.234,50, $12 and 40 %."""


@dataclass(frozen=True)
class Preparation:
    """How a table becomes one matrix: a description, equal to itself after any file.

    `transform` gives ``(rows, features)``: first a column for each of ``numbers``, then for each of
    these that was missing somewhere in training one of 0 and 1, 1 where it is missing; these are
    ``numeric`` features. Then for each of ``categories`` one of codes, from 1 on, 0 where nothing
    is or what was not there in training: whole numbers below ``sizes[j]``.

    Attributes:
        numbers: the columns of numbers, in the order of the table.
        categories: the columns of texts.
        left_out: the names of columns that are not looked at: with one value in all rows, which
            say nothing, or left out by ``drop``.
        target: what is predicted, or ``None``.
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...] = ()
    left_out: tuple[str, ...] = ()
    target: Target | None = None

    def __post_init__(self) -> None:
        for name, kind in (("numbers", Number), ("categories", Category)):
            checks.instance(name, getattr(self, name), tuple, f"a tuple of {kind.__name__}")
            for one in getattr(self, name):
                checks.instance(f"each of {name}", one, kind, f"a {kind.__name__}")
        if self.target is not None:
            checks.instance("target", self.target, Target, "a Target or None")

    @classmethod
    def fit(
        cls,
        data: Any,
        target: str | None = None,
        *,
        task: str = "auto",
        numbers: str = "standardize",
        categories: Sequence[str] = (),
        drop: Sequence[str] = (),
    ) -> Preparation:
        """Learn of the samples that are trained on.

        Args:
            data: the samples, as `read` takes them.
            target: the name of the column that is predicted, ``None`` where that is seen to
                elsewhere.
            task: ``"classification"``, ``"regression"`` or ``"auto"``, as `Target.of` says.
            numbers: ``"standardize"`` to mean 0 and variance 1, ``"quantile"`` to the normal
                distribution, or ``"keep"`` as they are.
            categories: names of columns that are categories although they hold numbers.
            drop: names of columns that are left out.

        Raises:
            TypeError, ValueError: if an argument is none of these, or there is no such column; if
                a column holds dates, nothing at all, an infinite number, numbers written as texts,
                or texts that are others in each row; if all columns are constant.
        """
        table = read(data)
        checks.one_of("numbers", numbers, WAYS)
        dropped = _some("drop", drop, table)
        table = table.without(dropped) if dropped else table
        coded = _some("categories", categories, table)
        learnt = None
        if target is not None:
            learnt = Target.of(table[table.has("target", target)], task)
            table = table.without([target])
        made: list[Number | Category] = []
        left_out = list(dropped)
        for column in table.columns:
            found = _learnt(column, numbers, column.name in coded)
            if found is None:
                left_out.append(column.name)
            else:
                made.append(found)
        if not made:
            raise ValueError(
                f"data must have a column that is not the same in all {len(table)} rows that are "
                "trained on."
            )
        return cls(
            tuple(one for one in made if isinstance(one, Number)),
            tuple(one for one in made if isinstance(one, Category)),
            tuple(left_out),
            learnt,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are needed, numbers first."""
        return (*(one.name for one in self.numbers), *(one.name for one in self.categories))

    @property
    def indicators(self) -> tuple[str, ...]:
        """The columns of numbers of which a feature says where one is missing."""
        return tuple(one.name for one in self.numbers if one.missing)

    @property
    def numeric(self) -> int:
        """How many features are numbers; all behind them are codes."""
        return len(self.numbers) + len(self.indicators)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each of ``categories`` has, with that of what is not known."""
        return tuple(len(one.values) + 1 for one in self.categories)

    @property
    def features(self) -> int:
        """How many features there are in all."""
        return self.numeric + len(self.categories)

    def transform(self, data: Any) -> np.ndarray:
        """The matrix of a table, ``(rows, features)``, float64; columns are found by name.

        What a table has beside them is left alone, with a warning if it was not there in training;
        there is one too where most texts of a column were not there.

        Raises:
            TypeError, ValueError: if ``data`` is no table, lacks a column, or one holds something
                else than in training.
        """
        table = self._right(read(data))
        x = np.empty((len(table), self.features))
        flag = len(self.numbers)
        for i, number in enumerate(self.numbers):
            values = table[number.name].numbers()
            x[:, i] = number.apply(values)
            if number.missing:
                x[:, flag] = np.isnan(values)
                flag += 1
        for j, category in enumerate(self.categories):
            codes = x[:, self.numeric + j] = category.codes(table[category.name])
            _are_known(category, table[category.name], codes)
        return x

    def targets(self, data: Any) -> np.ndarray:
        """The targets of a table, ``(rows,)``: classes from 0 on as int64, or float64.

        Raises:
            TypeError, ValueError: if the target is not there, or as `Target.encode` says.
        """
        if self.target is None:
            raise TypeError("targets needs a preparation with a target, not one whose is None.")
        table, name = read(data), self.target.name
        if name not in table:
            near = difflib.get_close_matches(name, table.names, n=1)
            hint = f"; is it {near[0]!r}?" if near else "."
            raise ValueError(
                f"data must have the target {checks.shown(name)}, which it lacks{hint}"
            )
        return self.target.encode(table[name])

    def _right(self, table: Table) -> Table:
        """The table, if it has the columns that are needed; warns of others."""
        known = {*self.names, *self.left_out, *(() if self.target is None else [self.target.name])}
        others = [name for name in table.names if name not in known]
        lacking = [name for name in self.names if name not in table]
        if lacking:
            beside = f", and has {_listed(others)} beside them" if others else ""
            raise ValueError(
                f"data must have the columns of training, but lacks {_listed(lacking)}{beside}."
            )
        if others:
            warn(f"data has {_listed(others)} beside the columns of training: left alone.")
        return table


def _some(what: str, names: Sequence[str], table: Table) -> list[str]:
    """Names of columns that there are, or raise."""
    if isinstance(names, str):
        raise TypeError(f"{what} must be a list of names, as [{names!r}], not {names!r}.")
    return [table.has(what, name) for name in names]


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first of them where they are many."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(checks.shown(name) for name in names[:3]) + more


def _are_known(category: Category, column: Column, codes: np.ndarray) -> None:
    """Warn of a column of which most was not there in training, as where it is written another way.

    Of a few rows nothing is said: one new text is none of a table's faults.
    """
    new = np.flatnonzero((codes == 0) & ~column.missing())
    known = int(np.count_nonzero(codes)) + len(new)
    if known >= FEW and len(new) > known / 2:
        row = int(new[0])
        warn(
            f"{column} has {len(new)} of {known} texts that were not there in training, first "
            f"{checks.shown(column.texts()[row])} in row {row} (from 0), where there were "
            f"{_listed(category.values)}; the network knows nothing of them."
        )


def _learnt(column: Column, way: str, coded: bool) -> Number | Category | None:
    """What is learnt of a column; ``None`` if it has one value in all rows."""
    leave = f"leave it out: drop=[{column.name!r}]"
    if not column.name:
        raise ValueError(
            "data must have a name for each column, but one has none, as pandas writes its index; "
            f"{leave}."
        )
    if column.kind == DATE:
        raise ValueError(f"{column} must hold numbers or texts, not dates. {column.cure}")
    missing = column.missing()
    if missing.all():
        raise ValueError(
            f"{column} must hold something in the {len(missing)} rows that are trained on, where "
            f"all is missing; {leave}."
        )
    if column.kind == NUMBER and not coded:
        return Number.of(column.name, column.numbers(), way)
    texts = column.texts()
    known = sorted({text for text in texts if text is not None})
    if column.kind == TEXT and not coded:
        _is_of_texts(column, texts, len(missing) - int(missing.sum()), leave)
    if len(known) == 1 and not missing.any():
        return None
    if len(known) == len(missing) - missing.sum() > UNIQUE and column.kind != CATEGORY:
        raise ValueError(
            f"{column} must hold texts that come again, not {len(known)} that are all others, as "
            f"names and ids are, which say nothing of other rows; {leave}."
        )
    if len(known) > MANY:
        rows = (len(missing) - int(missing.sum())) / len(known)
        warn(
            f"{column} has {len(known):,} texts in {rows:.1f} rows each, and the network learns a "
            f"vector of each; {leave}, or write the rare ones as one."
        )
    return Category(column.name, tuple(known))


def _is_of_texts(column: Column, texts: list[str | None], known: int, leave: str) -> None:
    """Raise for what is a column of numbers but for a slip, or for how they are written."""
    none = {text for text in set(texts) if text is not None and as_number(text) is None}
    slips = [(row, text) for row, text in enumerate(texts) if text in none]
    if len(slips) <= known / 10:
        told = "all are numbers in quotes"
        if any(abs(as_number(text) or 0) >= EXACT for text in texts if text is not None):
            told = "some are whole numbers of more digits than a float tells apart, as ids are"
        if slips:
            row, text = slips[0]
            told = f"{len(slips)} of {known} are none, first {checks.shown(text)} in row {row}"
            told += " (from 0)"
        raise ValueError(
            f"{column} must hold numbers or texts, but {told}; mend it, {leave}, or have them be "
            f"categories=[{column.name!r}]."
        )
    written = [text for _, text in slips if WRITTEN.fullmatch(text)]
    if written and len(slips) - len(written) <= known / 10:
        raise ValueError(
            f"{column} must hold numbers as 1234.5 or texts, but {len(written)} of {known} are "
            f"numbers written as {checks.shown(written[0])}; mend it, {leave}, or have them be "
            f"categories=[{column.name!r}]."
        )
