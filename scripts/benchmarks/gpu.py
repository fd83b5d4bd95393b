"""What a GPU's member-steps a second stand for: their share of the memory bandwidth."""

from __future__ import annotations

import time

import xpnet as xn
from benchmarks.problems import Problem

PASSES = 6
"""Parameters and both moments of Adam, each read and written once: what no step can do without."""


def bandwidth(library: str, megabytes: int = 1024, repeats: int = 20) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    backend = xn.backends.get(library)
    xp = backend.xp
    with backend.context():
        source = xp.zeros(megabytes << 18, dtype=xp.float32)
        target = xp.asarray(source, copy=True)
        backend.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            target[...] = source
        backend.synchronize()
        return 2 * repeats * (megabytes << 20) / (time.perf_counter() - begin)


def throughput(library: str, problem: Problem, seconds: float) -> dict[str, float]:
    """The details of an ensemble whose member and step takes so many ``seconds``."""
    itemsize = {"float32": 4, "float64": 8}[problem.dtype]
    needed = PASSES * itemsize * problem.network().size
    limit = bandwidth(library)
    return {
        "member-steps a second": 1 / seconds,
        "bytes a member-step at least": float(needed),
        "bandwidth of a copy, bytes a second": limit,
        "share of the bandwidth": needed / seconds / limit,
    }
