"""What ``import xpnet`` adds to ``import numpy``, each time in a fresh process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    "import time, numpy; start = time.perf_counter(); import xpnet; "
    "print(time.perf_counter() - start)"
)


def seconds(rounds: int) -> list[float]:
    """The time of ``import xpnet`` behind ``import numpy``, round by round, from bytecode."""
    with tempfile.TemporaryDirectory() as cache:
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": cache,
        }

        def once() -> float:
            command = [sys.executable, "-c", CODE]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            return float(done.stdout)

        once()  # compiles
        return [once() for _ in range(rounds)]


def median(rounds: int) -> float:
    """The median of `seconds`."""
    return statistics.median(seconds(rounds))
