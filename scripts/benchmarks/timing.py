"""Taking turns: every contestant runs once a round, so that a slow minute slows everyone."""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks import memory
from benchmarks.problems import Contestant, Unavailable
from benchmarks.works import CONTESTANTS, Pair, Work

SETTLE = 0.25
"""Seconds for the thread pools of the one before to fall asleep.

They busy-wait when they have run: OpenBLAS's for about 0.1 s, in which two threads of whoever
came next shared a core.
"""


ALONE = 10
"""How many times the steps of an ensemble a network alone is given."""


@dataclass
class Row:
    """A pair, measured: costs are medians, ratios medians of the rounds' own ratios."""

    on: str
    peer: str
    target: float | None
    ours: float
    theirs: float
    ratio: float
    quartiles: tuple[float, float]
    runner_ratio: float | None
    note: str | None

    @property
    def reached(self) -> bool | None:
        return None if self.target is None else self.ratio >= self.target


@dataclass
class Result:
    """A work, measured.

    Attributes:
        unit: of the costs: ``s`` a step (and member), or ``B``.
        costs: those of every contestant, round by round.
        skipped: who could not run, and why.
        failed: who broke down while running, and how.
        details: further numbers by contestant: memory before training, members' throughput.
    """

    name: str
    title: str
    unit: str
    steps: int
    costs: dict[str, list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    details: dict[str, dict[str, float]] = field(default_factory=dict)


def seconds(contestant: Contestant, steps: int) -> float:
    """The time of a step and member; the setting up is not counted, waiting for the end is."""
    _suit_threads(contestant)
    run = contestant.start()
    gc.collect()
    time.sleep(SETTLE)
    begin = time.perf_counter()
    run(steps)
    return (time.perf_counter() - begin) / steps / (contestant.problem.members or 1)


def _suit_threads(contestant: Contestant) -> None:
    """Hold PyTorch to one thread where that is its best.

    MKL splits even a product of 4 × 21 × 4 over two, which then takes 16 to 1000 µs instead of 2.
    """
    torch = sys.modules.get("torch")
    if torch is not None and "OMP_NUM_THREADS" in os.environ:
        problem = contestant.problem
        largest = problem.samples * max(problem.sizes) * (problem.members or 1)
        torch.set_num_threads(1 if largest < 1 << 15 else int(os.environ["OMP_NUM_THREADS"]))


def measure(work: Work, rounds: int, quick: bool, say: Callable[[str], None]) -> Result:
    """Measure a work, and set each pair of it side by side."""
    steps = work.quick if quick else work.steps
    result = Result(work.name, work.title, "B" if work.memory else "s", steps)
    say(f"{work.name}: {work.title}")
    turns = _memory_turns(work, steps, result) if work.memory else _turns(work, steps)
    ready: dict[str, Callable[[], float]] = {}
    for name, turn in turns.items():
        try:
            ready[name] = turn()
            if not work.memory:
                ready[name]()  # a round that does not count: compilers, caches, page tables
        except Unavailable as error:
            ready.pop(name, None)
            result.skipped[name] = str(error)
            say(f"  skipped: {name}: {error}")
        except Exception as error:  # one that breaks down must not take the others' numbers along
            ready.pop(name, None)
            result.failed[name] = f"{type(error).__name__}: {error}"
            say(f"  FAILED: {name}: {type(error).__name__}: {error}")
    for number in range(rounds):
        # Nobody always runs behind the same one, whose threads may still busy-wait.
        for name in random.Random(number).sample(list(ready), len(ready)):
            result.costs.setdefault(name, []).append(ready[name]())
        say(f"  round {number + 1} of {rounds}")
    result.rows = [
        row for pair in work.pairs if (row := _row(pair, result, work.note(pair.peer))) is not None
    ]
    return result


def _turns(work: Work, steps: int) -> dict[str, Callable[[], Callable[[], float]]]:
    def prepare(name: str) -> Callable[[], float]:
        contestant = CONTESTANTS[name](work.problem)
        alone = work.problem.members is not None and contestant.problem.members is None
        # A network alone is so quick that the beginning and end of a short run would count.
        return lambda: seconds(contestant, ALONE * steps if alone else steps)

    return {name: (lambda name=name: prepare(name)) for name in work.contestants()}


def _memory_turns(
    work: Work, steps: int, result: Result
) -> dict[str, Callable[[], Callable[[], float]]]:
    def prepare(name: str) -> Callable[[], float]:
        memory.measure(work.name, name, 1)  # raises if it cannot run

        def turn() -> float:
            before, peak = memory.measure(work.name, name, steps)
            result.details[name] = {"before": before}
            return peak

        return turn

    return {name: (lambda name=name: prepare(name)) for name in work.contestants()}


def _row(pair: Pair, result: Result, note: str | None = None) -> Row | None:
    ours = result.costs.get(f"xpnet on {pair.on}: fit")
    theirs = result.costs.get(pair.peer)
    if ours is None or theirs is None:
        return None
    runner = result.costs.get(f"xpnet on {pair.on}: runner")
    ratios = np.array(theirs) / np.array(ours)
    low, middle, high = (float(q) for q in np.percentile(ratios, (25, 50, 75)))
    return Row(
        on=pair.on,
        peer=pair.peer,
        target=pair.target,
        ours=float(np.median(ours)),
        theirs=float(np.median(theirs)),
        ratio=middle,
        quartiles=(low, high),
        runner_ratio=None if runner is None else float(np.median(np.array(theirs) / runner)),
        note=note,
    )
