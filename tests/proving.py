"""What is run once a GPU is lent: ``python -m tests.kernels gpu``, in some five minutes.

It compares kernels with the plain loop, digit by digit; says how long a step takes either way, and
beside PyTorch; and finds the constants by which kernels are chosen, to be set where they stand.
``… gpu digits`` does one of the four alone, or ``times``, ``constants``, ``peers``. What is
compiled is kept on disk, so that what was cut off is sooner done again.

With ``--simulator`` it runs on sizes of nothing in numba's simulator, for nothing but to know that
it runs: what it says of time there means nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from tests.kernels import CASES, HERE, NUMPY, STEPS, made
from tests.steps import assert_agree
from xpnet import backends
from xpnet.backends.cupy import KERNELS
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import cuda, grids, program
from xpnet.compiler.native.kernels import grids_of, kernel_of
from xpnet.compiler.plain import Plain, run_plainly
from xpnet.compiler.writers import grids as grid_writer
from xpnet.compiler.writers import kernels as kernel_writer
from xpnet.training.step import TrainingStep, carry_of, state_in

ROOT = Path(__file__).parents[1]
WAYS = ("thread", "block", "grid")


@dataclass(frozen=True)
class Case:
    """A step, and what it is given, on the device."""

    step: Any
    carry: Any
    data: Any
    rows: Any


@dataclass(frozen=True)
class Machine:
    """Where it is proved.

    Attributes:
        backend: of the arrays there.
        device: where kernels run.
        tiny: whether it is a simulator, and all sizes are the least that there are.
    """

    backend: Any
    device: Any
    tiny: bool

    def there(self, array: Any) -> Any:
        return None if array is None else self.backend.asarray(array, NUMPY.dtype_name(array))

    def moved(self, case: tuple[Any, ...]) -> Case:
        step, carry, data, rows = case
        return Case(
            replace(step, xp=self.backend.xp),
            {name: self.there(array) for name, array in carry.items()},
            tuple(map(self.there, data)),
            self.there(rows),
        )

    def host(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: self.backend.to_host(array) for name, array in arrays.items()}

    def program(self, case: Case, way: str, **limits: int) -> Any:
        first = None if case.rows is None else case.rows[0, ...]
        given = case.step, case.carry, case.data, first, self.device
        if way == "grid":
            return grids_of(*given, **limits)
        return kernel_of(*given, block=way == "block")

    def seconds(self, case: Case, run: Callable[..., Any], steps: int) -> float:
        """What a step takes, the least of three times."""
        took = []
        for n in (1, 1) if self.tiny else (1, steps, steps, steps):  # once to compile
            carry = self.backend.copy(case.carry)
            self.backend.synchronize()
            began = time.perf_counter()
            run(carry, n)
            self.backend.synchronize()
            took.append((time.perf_counter() - began) / n)
        return min(took[1:])

    def by(self, case: Case, way: str, steps: int = 300, **limits: int) -> float:
        """What a step takes by kernels; infinite where there are none."""
        try:
            program = self.program(case, way, **limits)
            program.compile()
        except Untraceable as error:
            print(f"    no {way}: {error}")
            return float("inf")
        return self.seconds(case, lambda carry, n: program.run(carry, n, None, never), steps)

    def plainly(self, case: Case, steps: int = 30) -> float:
        """What a step takes operation by operation."""
        run = Plain(self.backend.xp, case.step)
        return self.seconds(case, lambda carry, n: run(carry, case.data, n), steps)


def never() -> bool:
    return False


def digits(machine: Machine) -> int:
    """Compare all kinds of kernels with the plain loop on NumPy; return how many differ."""
    wrong = 0
    for name in list(CASES)[: 1 if machine.tiny else None]:
        *what, options = CASES[name]
        step, carry, data, rows = case = made(*what, **options)
        with NUMPY.context():
            after, metrics = run_plainly(np, step, NUMPY.copy(carry), data, STEPS, rows)
        wanted = after["theta"], state_in(after), metrics
        there = machine.moved(case)
        for way in WAYS:
            try:
                limits = {"large": 100, "small": 30} if way == "grid" else {}
                program = machine.program(there, way, **limits)
                found, metrics = program.run(
                    machine.backend.copy(there.carry), STEPS, there.rows, never
                )
                found = machine.host(found)
                both = [wanted, (found["theta"], state_in(found), machine.host(metrics))]
                assert_agree(both, options.get("dtype", "float64"), STEPS)
            except Exception as error:  # all that is wrong is to be seen at once
                wrong += 1
                print(f"{name}, a {way}: {type(error).__name__}: {error}")
            else:
                print(f"{name}, a {way}: agrees")
    print("all digits agree" if not wrong else f"{wrong} differ")
    return wrong


def report(machine: Machine, members: int | None, width: int = 0) -> Case:
    """The report's network, or one of two layers of some width, with so many members."""
    layers = [xn.Linear(4, width), xn.ReLU(), xn.Linear(width, 1)] if width else ()
    options = {"members": members, "dtype": "float32", "layers": layers}
    loss, optimizer = ("MSE", "clipped") if width else ("BCE", "adam")
    return machine.moved(made(loss, xn.LeakyReLU(), optimizer, **options))


def wide(machine: Machine, width: int, samples: int) -> Case:
    """One network on many samples: 784-512-512-10 at its greatest."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, width)).astype("float32")
    y = rng.integers(0, 10, samples)
    net = xn.Sequential(
        xn.Linear(width, width), xn.ReLU(), xn.Linear(width, width), xn.ReLU(), xn.Linear(width, 10)
    )
    theta, loss, optimizer = net.init(0, like=x), xn.CrossEntropy(), xn.Adam(lr=1e-3)
    data = x, loss.prepare(NUMPY, (samples, 10), y, x.dtype), None
    carry = carry_of(theta, optimizer.init(theta, net), net.init_state(like=theta, members=None))
    return machine.moved((TrainingStep(np, net, loss, optimizer), carry, data, None))


def times(machine: Machine) -> None:
    """Say what a step takes by each kind of kernel, beside the plain loop."""
    cases: dict[str, Case] = {
        f"2-4-4-1's kind, {members} members": report(machine, members)
        for members in ((2,) if machine.tiny else (1, 100, 1000, 10_000, 100_000))
    }
    for width, samples in ((3, 4),) if machine.tiny else ((64, 256), (512, 128), (512, 4096)):
        cases[f"{width}-{width}-{width}-10, {samples} samples"] = wide(machine, width, samples)
    for name, case in cases.items():
        large = case.carry["theta"].size > 1 << 14 and "members" not in name
        plain = machine.plainly(case)
        told = [f"plain {plain * 1e6:.0f} µs"]
        for way in ["grid"] if large else WAYS[: 2 if "00 members" in name else 3]:
            took = machine.by(case, way)
            told.append(f"{way} {took * 1e6:.1f} µs, {plain / took:.1f} times as fast")
        print(f"{name}: {'; '.join(told)}")


def least(of: Iterable[Any], took: Callable[[Any], float]) -> Any:
    """That of several values with which a step takes least."""
    found = {value: took(value) for value in of}
    print("    " + ", ".join(f"{value}: {time * 1e6:.1f} µs" for value, time in found.items()))
    return min(found, key=found.__getitem__)


@contextmanager
def changed(module: Any, name: str, value: int) -> Iterator[None]:
    """A constant of a module as another one, and texts written anew."""
    before = getattr(module, name)
    setattr(module, name, value)
    program._TEXTS.clear()
    try:
        yield
    finally:
        setattr(module, name, before)
        program._TEXTS.clear()


def constants(machine: Machine) -> None:
    """Find the constants by which kernels are chosen, and say what they are to be."""

    def best(name: str, module: Any, values: tuple[int, ...], case: Case, way: str) -> None:
        def took(value: int) -> float:
            with changed(module, name, value):
                return machine.by(case, way)

        value = least((2,) if machine.tiny else values, took)
        print(f"{name} = {value}  # {module.__name__}")

    many = (2,) if machine.tiny else (256, 512, 1024, 2048, 4096, 8192)
    ensembles = {members: report(machine, members) for members in many}
    there = [
        members
        for members, case in ensembles.items()
        if machine.by(case, "thread") <= machine.by(case, "block")
    ]
    print(f"MANY = {min(there, default=1 << 30)}  # {cuda.__name__}")
    best("ALONE", cuda, (32, 64, 128), ensembles[max(many)], "thread")
    several = report(machine, 2 if machine.tiny else 200, 2 if machine.tiny else 32)
    best("TOGETHER", cuda, (128, 32, 64, 256), several, "block")
    best("WAYS", kernel_writer, (32, 16, 64), several, "block")
    samples, widths = (2, (2,)) if machine.tiny else (256, (16, 32, 64, 128))
    larger = [
        samples * width * width
        for width in widths
        if machine.by(case := wide(machine, width, samples), "grid") <= machine.by(case, "block")
    ]
    print(f"LARGE = {min(larger, default=1 << 30)}  # {grid_writer.__name__}")
    large = wide(machine, 2, 2) if machine.tiny else wide(machine, 512, 4096)
    best("THREADS", grids, (256, 128, 512), large, "grid")
    sizes = (1 << 13,) if machine.tiny else (1 << 11, 1 << 13, 1 << 15)
    small = least(sizes, lambda size: machine.by(large, "grid", small=size))
    print(f"SMALL = {small}  # {grid_writer.__name__}")


def peers(machine: Machine) -> None:
    """How much less time than PyTorch's: eager, in a captured graph, and by `torch.func.vmap`."""
    if machine.tiny:
        return
    script = [sys.executable, "scripts/benchmark.py", "--only", "gpu", "--rounds", "3"]
    subprocess.run(script, cwd=ROOT, env={**os.environ, KERNELS: "1"}, timeout=150, check=False)


PARTS: dict[str, Callable[[Machine], Any]] = {
    "digits": digits, "times": times, "constants": constants, "peers": peers,
}  # fmt: skip


def prove(parts: list[str], simulated: bool) -> int:
    """Some of it, or all; 1 where something differs."""
    if unknown := [part for part in parts if part not in PARTS]:
        sys.exit(f"there is {', '.join(PARTS)}, and no {', '.join(unknown)}")
    os.environ[KERNELS] = "1"
    if simulated:
        warnings.filterwarnings("ignore", ".*overflow encountered in scalar", RuntimeWarning)
        cuda.TOGETHER, cuda.ALONE, grids.THREADS, grids.BLOCKS = 2, 2, 2, 2
        machine = Machine(NUMPY, HERE, tiny=True)
    else:
        backend: Any = backends.get("cupy")
        machine = Machine(backend, backend._numba(), tiny=False)
    began = time.perf_counter()
    wrong = 0
    with machine.backend.context():
        for part in parts or PARTS:
            wrong += PARTS[part](machine) or 0
            print(f"    {time.perf_counter() - began:.0f} s", flush=True)
    return int(bool(wrong))
