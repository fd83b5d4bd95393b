"""The results as they come in, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study import statistics
from study.plan import Cell, Piece
from study.training import Log, Result

MISSING = -1


class Collection:
    """Puts the pieces together to populations."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        sizes: dict[Cell, int] = {}
        for piece in pieces:
            for cell in piece.cells:
                sizes[cell] = max(sizes.get(cell, 0), piece.members.stop)
        self._stop = {cell: np.full(size, MISSING) for cell, size in sizes.items()}
        self._diverged = {cell: np.zeros(size, dtype=int) for cell, size in sizes.items()}
        self._log: dict[Cell, Log] = {cell: {} for cell in sizes}

    def add(self, result: Result) -> list[str]:
        """Take a result; return a line for each population that is complete with it."""
        piece, lines = result.piece, []
        rows = slice(piece.members.start, piece.members.stop)
        for i, cell in enumerate(piece.cells):
            self._stop[cell][rows] = result.stop[i]
            self._diverged[cell][rows] = result.diverged[i]
            for epoch, values in result.log.items():
                nothing = np.full((2, len(self._stop[cell])), np.nan)
                whole = self._log[cell].setdefault(epoch, tuple(nothing))
                for kept, new in zip(whole, values, strict=True):
                    kept[rows] = new[i]
            if self._complete(cell):
                lines.append(_line(cell, self._stop[cell]))
        return lines

    def _complete(self, cell: Cell) -> bool:
        return not (self._stop[cell] == MISSING).any()

    def finished(self) -> dict[Cell, np.ndarray]:
        """The stops of every complete population, in the order of the plan."""
        return {cell: stop for cell, stop in self._stop.items() if self._complete(cell)}

    def diverged(self) -> dict[Cell, np.ndarray]:
        """The epochs at which losses became NaN or infinite, 0 for never, of the same."""
        return {cell: self._diverged[cell] for cell in self.finished()}

    def logs(self) -> dict[Cell, Log]:
        """Loss and accuracy of the members at the epochs that the report prints, of the same."""
        return {cell: self._log[cell] for cell in self.finished()}


def _line(cell: Cell, stop: np.ndarray) -> str:
    setting, median = cell.setting, statistics.quantile(stop, 0.5)
    return (
        f"{cell.world.name:15} {setting.optim:8} {setting.activation:11} lr {setting.lr:<6g} "
        f"{setting.dim_hidden:3} units   {np.count_nonzero(stop):5} of {len(stop)} arrive, "
        f"median {'never' if median is None else median}"
    )
