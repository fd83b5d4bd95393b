"""How the cost of a step grows with samples, width, depth and members, and where it bends.

Small networks cost what their calls cost, large ones what their arithmetic costs; the bend is where
the one gives way to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.problems import Problem, Unavailable
from benchmarks.timing import seconds
from benchmarks.works import CONTESTANTS

BASE = Problem(
    sizes=(32, 64, 64, 1),
    samples=256,
    dtype="float32",
    activation="relu",
    loss="bce_with_logits",
    xor=False,
)
SINGLE = "torch.nn, fused Adam"
ENSEMBLE = "torch.func.vmap, fused Adam"
AXES: dict[str, tuple[str, tuple[int, ...], Callable[[int], Problem]]] = {
    "samples": (
        "32-64-64-1",
        tuple(4**k for k in range(2, 9)),
        lambda n: replace(BASE, samples=n),
    ),
    "width": (
        "two hidden layers, 256 samples",
        tuple(4**k for k in range(1, 6)),
        lambda n: replace(BASE, sizes=(32, n, n, 1)),
    ),
    "depth": (
        "hidden layers of 64, 256 samples",
        tuple(2**k for k in range(7)),
        lambda n: replace(BASE, sizes=(32, *[64] * n, 1)),
    ),
    "members": (
        "2-4-4-1, 21 samples",
        tuple(4**k for k in range(7)),
        lambda n: replace(Problem(dtype="float32"), members=n),
    ),
}
"""What is varied: the rest that stays, the values, the problem of a value."""


@dataclass
class Line:
    """The seconds of a whole step for each value, and the value where the line bends."""

    values: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bend: float | None = None
    slopes: tuple[float, float] | None = None


def bend(values: list[int], seconds: list[float]) -> tuple[float, tuple[float, float]] | None:
    """Fit two straight pieces that meet, on log-log axes; return where, and their slopes.

    ``None`` where there are too few points, or where the line does not turn upwards by a quarter
    of a power at least.
    """
    if len(values) < 5:
        return None
    x, y = np.log(values), np.log(seconds)
    best: tuple[float, float, np.ndarray] | None = None
    for at in np.linspace(x[1], x[-2], 200):
        basis = np.stack([np.ones_like(x), x, np.maximum(x - at, 0)], axis=1)
        coefficients, *_ = np.linalg.lstsq(basis, y, rcond=None)
        error = float(np.sum((basis @ coefficients - y) ** 2))
        if best is None or error < best[0]:
            best = error, float(at), coefficients
    assert best is not None
    _, at, (_, slope, turn) = best
    if turn < 0.25:
        return None
    return float(np.exp(at)), (float(slope), float(slope + turn))


def contestants(axis: str, libraries: list[str]) -> list[str]:
    """Who is drawn along an axis."""
    peer = ENSEMBLE if axis == "members" else SINGLE
    return [*(f"xpnet on {library}: runner" for library in libraries), peer]


def measure(
    libraries: list[str], rounds: int, quick: bool, say: Callable[[str], None]
) -> dict[str, dict[str, Line]]:
    """Measure every axis; the contestants take turns at each value."""
    lines: dict[str, dict[str, Line]] = {}
    budget = 0.01 if quick else 0.15
    for axis, (fixed, values, problem_of) in AXES.items():
        say(f"growth with {axis} ({fixed})")
        lines[axis] = {}
        for value in values[:3] if quick else values:
            ready = {}
            for name in contestants(axis, libraries):
                try:
                    contestant = CONTESTANTS[name](problem_of(value))
                    seconds(contestant, 3)
                    once = seconds(contestant, 3) * (contestant.problem.members or 1)
                    steps = int(np.clip(budget / once, 3, 500))
                    seconds(contestant, steps)
                except Unavailable as error:
                    if value == values[0]:
                        say(f"  skipped: {name}: {error}")
                    continue
                except Exception as error:  # its line ends here, the others go on
                    say(f"  FAILED: {name}: {type(error).__name__}: {error}")
                    continue
                ready[name] = contestant, steps
            taken: dict[str, list[float]] = {name: [] for name in ready}
            for _ in range(rounds):
                for name, (contestant, steps) in ready.items():
                    members = contestant.problem.members or 1
                    taken[name].append(seconds(contestant, steps) * members)
            for name, times in taken.items():
                line = lines[axis].setdefault(name, Line())
                line.values.append(value)
                line.seconds.append(float(np.median(times)))
            say(f"  {axis} {value}")
        for line in lines[axis].values():
            found = bend(line.values, line.seconds)
            if found is not None:
                line.bend, line.slopes = found
    return lines
