"""What a mask of Dropout costs NumPy, beside as many numbers of ``Generator.random``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from xpnet.compiler.bits import Draw

SHAPES = ((1, 4), (21, 4), (64, 64), (128, 512), (4096, 512))
"""Samples and features."""
ELEMENTS = 1 << 21
"""How many are drawn for a time, of as many steps as that takes; of small masks, of 2000."""


def ratios(rounds: int) -> dict[str, float]:
    """The time of masks by that of ``Generator.random`` in float64: medians of turns."""
    return {f"{rows} × {features}": _ratio(rows, features, rounds) for rows, features in SHAPES}


def _ratio(rows: int, features: int, rounds: int) -> float:
    steps = max(1, min(2000, ELEMENTS // (rows * features)))
    mask, rng = np.empty((rows, features), np.bool_), np.random.default_rng(0)
    static = {"path": (1, 1), "first": 0, "shape": mask.shape, "bits": 16, "below": 1 << 15}
    draw = Draw(mask, np.asarray([1, 2], np.uint32), None, static)
    done = 0

    def masks() -> None:
        nonlocal done
        for k in range(steps):
            draw(done + k, steps - k)
        done += steps  # or they would be known

    def numbers() -> None:
        for _ in range(steps):
            rng.random(mask.shape)

    turns = [(_seconds(masks), _seconds(numbers)) for _ in range(rounds + 1)][1:]
    return statistics.median(ours / theirs for ours, theirs in turns)


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
