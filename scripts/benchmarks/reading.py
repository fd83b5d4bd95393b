"""Samples that are read from a file: how much memory they take, and how long beside memory."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from benchmarks.memory import peak

FEATURES, CLASSES, BATCH = 784, 10, 1024
SAMPLES, PART = 1_300_000, 130_000
"""Of the whole file, 4.1 GB, and of the part that is in memory too, where time is told."""


def measure(rounds: int, quick: bool) -> dict[str, Any] | None:
    """Bytes of the file and of the process that trains on it, and ratios of time; ``None`` where
    the disk has no room for it.
    """
    samples, part = (SAMPLES // 100, PART // 50) if quick else (SAMPLES, PART)
    with tempfile.TemporaryDirectory() as folder:
        size = 4 * samples * FEATURES
        if shutil.disk_usage(folder).free < 2 * size:
            return None
        path = Path(folder) / "x.npy"
        _write(path, samples)
        _write(Path(folder) / "part.npy", part)
        # In a process of its own, for its own memory; the first is what it has without reading.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            before = pool.submit(_peak, Path(folder) / "part.npy", BATCH).result()
            most = pool.submit(_peak, path, samples).result()
        return {
            "file": size,
            "peak": most,
            "before": before,
            "seconds": {
                order: _ratio(Path(folder) / "part.npy", part, order == "shuffled", rounds)
                for order in ("shuffled", "in order")
            },
        }


def _write(path: Path, samples: int) -> None:
    """Random samples, a piece at a time."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (samples, FEATURES)}
        np.lib.format.write_array_header_1_0(file, shape)
        for start in range(0, samples, 10_000):
            some = min(10_000, samples - start)
            file.write(rng.random((some, FEATURES), dtype=np.float32).tobytes())


def _train(x: Any, samples: int, shuffle: bool = True) -> float:
    """The seconds of an epoch."""
    net = xn.Sequential(xn.Linear(FEATURES, 256), xn.ReLU(), xn.Linear(256, CLASSES))
    y = np.arange(samples) % CLASSES
    begin = time.perf_counter()
    xn.fit(net, x, y, loss=xn.CrossEntropy(), optimizer=xn.Adam(), epochs=1, batch_size=BATCH,
           seed=0, shuffle=shuffle)  # fmt: skip
    return time.perf_counter() - begin


def _peak(path: Path, samples: int) -> int:
    """The memory of this process, once it has trained on the first samples, or all, of a file."""
    _train(np.load(path, mmap_mode="r")[:samples] if samples == BATCH else path, samples)
    return peak()


def _ratio(path: Path, samples: int, shuffle: bool, rounds: int) -> float:
    x = np.load(path)
    turns = [
        (_train(path, samples, shuffle), _train(x, samples, shuffle)) for _ in range(rounds + 1)
    ]
    return statistics.median(read / there for read, there in turns[1:])
