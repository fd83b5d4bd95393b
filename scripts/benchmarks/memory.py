"""The peak memory of a whole process that trains and does nothing else.

A contestant gets a fresh Python process: ``python scripts/benchmark.py --memory-of WORK NAME
STEPS``, which prints two numbers of bytes: before training, when all is imported and set up, and
the peak at its end.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.problems import Unavailable

SCRIPT = Path(__file__).resolve().parents[1] / "benchmark.py"
SKIPPED = 3
"""The exit status of a process whose contestant cannot run."""


def peak() -> int:
    """The greatest resident memory that this program has had, in bytes.

    Linux keeps ``ru_maxrss`` across `exec`, so a child begins with the memory of the process that
    started it; ``VmHWM`` is the program's own.
    """
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def measure(work: str, contestant: str, steps: int) -> tuple[int, int]:
    """Run a contestant in a process of its own; return its memory before training and its peak."""
    command = [sys.executable, str(SCRIPT), "--memory-of", work, contestant, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == SKIPPED:
        raise Unavailable(done.stdout.strip())
    if done.returncode:
        raise RuntimeError(f"{contestant} failed in a process of its own:\n{done.stderr}")
    before, most = map(int, done.stdout.split()[-2:])
    return before, most


def child(work: str, contestant: str, steps: int) -> int:
    """What the process of its own does; return its exit status."""
    from benchmarks.works import CONTESTANTS, WORKS

    problem = next(w.problem for w in WORKS if w.name == work)
    try:
        run = CONTESTANTS[contestant](problem).start()
    except Unavailable as error:
        print(error)
        return SKIPPED
    before = peak()
    run(steps)
    print(before, peak())
    return 0
