"""Whole programs, everything included: one against the other, in turn, each time anew.

python scripts/benchmarks/programs.py cold      # fit(native="auto") from an empty cache
python scripts/benchmarks/programs.py study     # the seed study, --native yes against no
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
COLD = """
import numpy as np, xpnet as xn
x, y = xn.datasets.xor()
net = xn.Sequential(
    xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, 4), xn.LeakyReLU(), xn.Linear(4, 1), xn.Sigmoid()
)
how = dict(loss=xn.BCE(), optimizer=xn.Adam(lr=1e-4), epochs={steps}, seed=1, native={native!r})
xn.fit(net, x, y, **how)
"""


def commands(what: str, quick: bool, folder: Path) -> tuple[list[str], list[str]]:
    """The program with machine code, and the one without."""
    python = sys.executable
    if what == "cold":
        steps = 300 if quick else 30_000
        one, other = (
            [python, "-c", COLD.format(steps=steps, native=native)] for native in ("auto", False)
        )
        return one, other
    study = [python, str(SCRIPTS / "seed_study.py"), *(["--quick"] if quick else [])]
    one, other = (
        [*study, "--native", native, "--output", str(folder / native)] for native in ("yes", "no")
    )
    return one, other


def seconds(command: list[str], cache: str) -> float:
    """How long a program takes."""
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent), "XPNET_CACHE_DIR": cache}
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("cold", "study"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="does everything run?")
    chosen = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        one, other = commands(chosen.what, chosen.quick, Path(folder))
        for turn in range(chosen.rounds):
            # A cold one has nothing on disk each time; of the study the first round compiles.
            cache = f"{folder}/cache-{turn if chosen.what == 'cold' else 0}"
            native, plain = seconds(one, cache), seconds(other, cache)
            ratios.append(plain / native)
            print(f"{native:.2f} s against {plain:.2f} s: {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
