"""Kernels in numba's simulator, or compiled: a program, since numba chooses when it is imported.

``NUMBA_ENABLE_CUDASIM=1 python -m tests.kernels run`` compares with the plain loop, ``python -m
tests.kernels compile 7 5 block`` compiles for GPUs of that kind. Each prints what it has done.
``python -m tests.kernels gpu`` is for a machine with one and CuPy (``proving.py``).
"""

from __future__ import annotations

import os
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np

import xpnet as xn
from tests.lockstep import HERE
from tests.steps import OPTIMIZERS, assert_agree, problem
from xpnet import backends
from xpnet.backends.numpy import NumPyBackend
from xpnet.compiler.native import cuda as native
from xpnet.compiler.native import grids
from xpnet.compiler.native.compiled import functions
from xpnet.compiler.native.kernels import Kernels, grids_of, kernel_of
from xpnet.compiler.plain import run_plainly
from xpnet.compiler.writers import kernels as writer
from xpnet.noise import keys
from xpnet.training.step import TrainingStep, carry_of, state_in

NUMPY = backends.get("numpy")
STEPS = 3
ROWS = np.random.default_rng(2).permuted(np.tile(np.arange(12), (STEPS, 1)), axis=1)[:, :5]
NOISY = [xn.Linear(4, 5), xn.Dropout(0.5), xn.SiLU(), xn.LayerNorm(5), xn.Linear(5, 3)]
WIDE = [xn.Linear(4, 30), xn.ReLU(), xn.Linear(30, 3)]  # sums of more terms than stand in a line
CASES = {
    "report": ("BCE", xn.LeakyReLU(), "adam", {"members": 3}),
    "alone": ("MSE", xn.GELU(), "rprop", {"members": None}),
    "own": ("CrossEntropy", xn.Tanh(), "clipped", {"members": 2, "own": True}),
    "batches": ("CrossEntropy", xn.Tanh(), "averaged", {"dtype": "float32", "rows": ROWS}),
    "noise": ("CrossEntropy", xn.SiLU(), "amsgrad", {"layers": NOISY, "rows": ROWS}),
    "wide": ("CrossEntropy", xn.ReLU(), "adam", {"layers": WIDE, "dtype": "float32"}),
}


def made(
    loss: str,
    activation: Any,
    optimizer: str,
    members: int | None = 2,
    dtype: str = "float64",
    rows: Any = None,
    own: bool = False,
    layers: Any = (),
) -> tuple[Any, ...]:
    """A step, and what it is given."""
    net, theta, criterion, data = problem(NUMPY, loss, activation, members, dtype)
    if layers:
        net = xn.Sequential(*layers)
        theta = net.init(3, like=data[0], members=members)
    if own:
        data = np.stack([data[0] * (1 + m) for m in range(members or 1)]), *data[1:]
    words = NUMPY.asarray(keys(1, members, "seed"), NUMPY.words) if net.is_random else None
    state = net.init_state(like=theta, members=members)
    carry = carry_of(theta, OPTIMIZERS[optimizer].init(theta, net), state, words)
    return TrainingStep(np, net, criterion, OPTIMIZERS[optimizer]), carry, data, rows


def kernel(made: tuple[Any, ...], way: str) -> Any:
    """A step as a kernel, a member a ``"thread"`` or ``"block"``, or as those of a ``"grid"``."""
    step, carry, data, rows = made
    first = None if rows is None else rows[0]
    if way == "grid":  # most products the library's, most kernels of more than a block
        return grids_of(step, carry, data, first, HERE, large=100, small=30)
    return kernel_of(
        step, carry, data, first, HERE, block={"thread": False, "block": True}.get(way)
    )


def compare(name: str, way: str, interpreted: Any = None) -> None:
    """A kernel with the plain loop; ``interpreted`` makes its functions, else numba's simulator."""
    *what, options = CASES[name]
    step, carry, data, rows = case = made(*what, **options)
    found = []
    with NUMPY.context():
        program = kernel(case, way)
        if interpreted:
            interpreted(program)
        for run in (
            lambda carry: run_plainly(np, step, carry, data, STEPS, rows),
            lambda carry: program.run(carry, STEPS, rows, lambda: False),
        ):
            after, metrics = run(NUMPY.copy(carry))
            found.append((after["theta"], state_in(after), metrics))
    assert_agree(found, options.get("dtype", "float64"), STEPS)


def trained(**options: Any) -> Any:
    """A training of a few members, of which one reaches the goal before the others."""
    x, y = (np.asarray(array)[:16] for array in xn.datasets.xor())
    net = xn.Sequential(xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, 1), xn.Sigmoid())
    return xn.fit(
        net, x, y, loss=xn.BCE(), optimizer=xn.Adam(lr=0.1), epochs=6, check_every=3, members=3,
        batch_size=6, seed=1, validation=(x, y), **options,
    )  # fmt: skip


def run() -> None:
    # The simulator's numbers are NumPy's, which tell where a machine's go round.
    warnings.filterwarnings("ignore", ".*overflow encountered in scalar", RuntimeWarning)
    native.TOGETHER = 3  # threads of a block: in the simulator each is one of Python's
    for name in CASES:
        compare(name, "thread")
        print(name)
    compare("noise", "block")
    print("a block")
    writer.SHARED_BYTES = 100  # the rest where a larger network has most
    compare("alone", "block")
    print("not shared")
    grids.THREADS, grids.BLOCKS = 4, 2
    compare("noise", "grid")
    print("a grid")
    native.LAUNCH = native.MANY = 1  # a step a launch, a member a thread
    wanted = trained()
    NumPyBackend.runner = lambda self, step, *_: Kernels(np, step, lambda: HERE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = trained()
    for name in ("loss", "accuracy", "val_loss"):
        before, after = (getattr(model.history, name) for model in (wanted, found))
        np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.theta, wanted.theta, rtol=1e-10, atol=1e-10)
    print("fit")


class Built:
    """A kernel that is compiled for another machine where it would be launched."""

    def __init__(self, function: Any, capability: tuple[int, int]) -> None:
        self.function, self.capability = function.py_func, capability

    def __getitem__(self, grid: Any) -> Any:
        return self.compile

    def compile(self, *arguments: Any) -> None:
        import numba
        from numba import cuda

        types = [
            numba.types.int64 if isinstance(one, int) else numba.typeof(one) for one in arguments
        ]
        made = cuda.compile_ptx(self.function, numba.types.void(*types), cc=self.capability)
        print(next(line for line in made[0].splitlines() if line.startswith(".target")))


def build(capability: tuple[int, int], way: str) -> None:
    from numba.cuda import dispatcher

    # What a function of the device asks, although the kernel says for which it is.
    here = SimpleNamespace(compute_capability=capability)
    dispatcher.get_current_device = lambda: here
    *what, options = CASES["noise"]
    _, carry, _, rows = case = made(*what, **options)
    program = kernel(case, way)
    kernels = [Built(one, capability) for one in functions(program.file, program.key).values()]
    if way == "grid":
        grids.Interval(program, kernels, carry, STEPS, rows).step(0)
    else:
        arguments = program.arguments(carry, rows, program._histories(STEPS))
        program._launch(*kernels, 0, STEPS, *arguments)


if __name__ == "__main__":
    if "--simulator" in sys.argv:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # read where numba is imported, which is later
    if sys.argv[1] == "run":
        run()
    elif sys.argv[1] == "gpu":
        from tests.proving import prove

        named = [one for one in sys.argv[2:] if one != "--simulator"]
        sys.exit(prove(named, simulated="--simulator" in sys.argv))
    else:
        build((int(sys.argv[2]), int(sys.argv[3])), sys.argv[4])
