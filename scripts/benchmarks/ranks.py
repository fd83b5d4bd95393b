"""Two ranks of MPI, a core each, beside one process on one core: 784-512-512-10, batch 4096."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

RANKS = 2
ROOT = Path(__file__).resolve().parents[2]


def measure(rounds: int, quick: bool) -> dict[str, Any] | None:
    """Seconds of a step alone and by two ranks, and by how much these are faster: medians of turns.

    ``None`` where there is no MPI, or only one core.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if mpiexec is None or len(cores) < RANKS:
        return None
    paths = [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    steps = 2 if quick else 12
    command = [mpiexec, "-n", str(RANKS), sys.executable, "-m", "mpi4py", "-m", "benchmarks.ranks"]
    done = subprocess.run(
        [*command, str(rounds), str(steps), *map(str, cores[:RANKS])],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _rank(rounds: int, steps: int, cores: list[int]) -> None:
    from mpi4py import MPI

    import xpnet as xn
    from benchmarks.works import WIDE

    comm = MPI.COMM_WORLD
    rank = comm.Get_rank()
    os.sched_setaffinity(0, {cores[rank]})
    problem = replace(WIDE, samples=4096)
    x, y, net = problem.x(), problem.y(), problem.network()
    own = slice(len(x) * rank // RANKS, len(x) * (rank + 1) // RANKS)

    class Clock(xn.Callback):
        """When the checks were, by the first of which all is recorded; told on rank 0 alone."""

        def __init__(self) -> None:
            self.seen: list[float] = []

        def check(self, run: Any) -> None:
            self.seen.append(time.perf_counter())

    def seconds(rows: slice, **how: Any) -> float:
        clock = Clock()
        xn.fit(
            net, x[rows], y[rows], loss=problem.loss_function(), optimizer=problem.optimizer(),
            epochs=2 * steps, check_every=steps, seed=0, callbacks=[clock], **how,
        )  # fmt: skip
        return (clock.seen[-1] - clock.seen[0]) / steps if clock.seen else 0.0

    turns = []
    for _ in range(rounds + 1):
        alone = seconds(slice(None), threads=1) if rank == 0 else 0.0
        waiting = comm.Ibarrier()
        while not waiting.Test():  # MPI itself would wait busily
            time.sleep(0.002)
        turns.append((alone, seconds(own, comm=comm)))
    if rank == 0:
        turns = turns[1:]
        one, two = (statistics.median(turn[i] for turn in turns) for i in (0, 1))
        ratios = [alone / both for alone, both in turns]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
        found = {"alone": one, "ranks": two, "ratio": middle, "quartiles": (low, high)}
        if find_spec("llvmlite") is not None and steps > 2:  # no smoke run
            small = [[_small(native) for native in (False, True)] for _ in range(rounds)]
            found["calls"] = statistics.median(calls for calls, _ in small)
            found["native"] = statistics.median(calls / code for calls, code in small)
        print(json.dumps(found))


def _small(native: bool, steps: int = 3000) -> float:
    """Seconds of processor time that a step at report scale takes one rank alone."""
    from mpi4py import MPI

    import xpnet as xn
    from benchmarks.works import REPORT

    seen: list[float] = []

    class Clock(xn.Callback):
        def check(self, run: Any) -> None:
            seen.append(time.process_time())

    xn.fit(
        REPORT.network(), REPORT.x(), REPORT.y(), loss=REPORT.loss_function(),
        optimizer=REPORT.optimizer(), epochs=2 * steps, check_every=steps, seed=0,
        callbacks=[Clock()], comm=MPI.COMM_SELF, native=native,
    )  # fmt: skip
    return (seen[1] - seen[0]) / steps


if __name__ == "__main__":
    _rank(int(sys.argv[1]), int(sys.argv[2]), [int(core) for core in sys.argv[3:]])
