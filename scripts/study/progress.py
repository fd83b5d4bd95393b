"""The line that shows how far the study is, and how long it will take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from study.plan import Piece


class Progress:
    """A bar over all pieces, each as long as it costs, on terminals only; lines stand above it."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._costs = [piece.cost for piece in pieces]
        self._done = [0.0] * len(pieces)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        try:
            from tqdm import tqdm
        except ImportError:  # the lines must do
            return self
        self._bar = tqdm(
            total=sum(self._costs), disable=None, smoothing=0.02, dynamic_ncols=True,
            bar_format="{percentage:3.0f} % |{bar}| {elapsed}, about {remaining} left",
        )  # fmt: skip
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, piece: int, share: float) -> None:
        """A piece, by its number, has this share of its epochs behind it."""
        more = share - self._done[piece]
        if more > 0:  # what was on its way when a piece ended comes late
            self._done[piece] = share
            if self._bar is not None:
                self._bar.update(more * self._costs[piece])

    def say(self, lines: Sequence[str]) -> None:
        """Print lines."""
        for line in lines:
            if self._bar is not None:
                self._bar.write(line, file=sys.stdout)
            else:
                print(line)
        sys.stdout.flush()
