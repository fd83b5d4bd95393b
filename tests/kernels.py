"""Kernels in numba's simulator, or compiled: a program, since numba chooses when it is imported.

``NUMBA_ENABLE_CUDASIM=1 python -m tests.kernels run`` compares with the plain loop, ``python -m
tests.kernels compile 7 5 block`` compiles for GPUs of that kind. Each prints what it has done.
``python -m tests.kernels gpu`` is for a machine with one and CuPy: it compares there, and says how
much less time a step takes, by which it is decided whether kernels are switched on.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

import xpnet as xn
from tests.lockstep import HERE
from tests.steps import OPTIMIZERS, assert_agree, problem
from xpnet import backends
from xpnet.backends.cupy import KERNELS
from xpnet.backends.numpy import NumPyBackend
from xpnet.compiler.native import cuda as native
from xpnet.compiler.native.compiled import compiled
from xpnet.compiler.plain import Plain, run_plainly
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


def kernel(made: tuple[Any, ...], block: bool) -> native.CudaProgram:
    step, carry, data, rows = made
    first = None if rows is None else rows[0]
    return native.kernel_of(step, carry, data, first, HERE, block=block)


def compare(name: str, block: bool, interpreted: Any = None) -> None:
    """A kernel with the plain loop; ``interpreted`` makes its function, else numba's simulator."""
    *what, options = CASES[name]
    step, carry, data, rows = case = made(*what, **options)
    found = []
    with NUMPY.context():
        program = kernel(case, block)
        program.function = interpreted and interpreted(program)
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
        compare(name, False)
        print(name)
    compare("noise", True)
    print("a block")
    writer.SHARED_BYTES = 100  # the rest where a larger network has most
    compare("alone", True)
    print("not shared")
    native.LAUNCH = native.MANY = 1  # a step a launch, a member a thread
    wanted = trained()
    NumPyBackend.runner = lambda self, step, *_: native.Kernels(np, step, lambda: HERE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = trained()
    for name in ("loss", "accuracy", "val_loss"):
        before, after = (getattr(model.history, name) for model in (wanted, found))
        np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.theta, wanted.theta, rtol=1e-10, atol=1e-10)
    print("fit")


def on_gpu(ensembles: tuple[int, ...] = (1, 100, 1000, 10_000)) -> None:
    """Kernels on a GPU with the plain loop on NumPy; and with CuPy's, what a step takes."""
    os.environ[KERNELS] = "1"
    backend = backends.get("cupy")

    def there(array: Any) -> Any:
        return None if array is None else backend.asarray(array, NUMPY.dtype_name(array))

    def moved(case: tuple[Any, ...]) -> tuple[Any, ...]:
        step, carry, data, rows = case
        step = replace(step, xp=backend.xp)
        return step, {k: there(v) for k, v in carry.items()}, tuple(map(there, data)), there(rows)

    def host(arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: backend.to_host(array) for name, array in arrays.items()}

    for name in CASES:
        *what, options = CASES[name]
        case = made(*what, **options)
        for many in (1, 1 << 30):
            native.MANY, found = many, []
            step, carry, data, rows = case
            with NUMPY.context():
                after, metrics = run_plainly(np, step, NUMPY.copy(carry), data, STEPS, rows)
            found.append((after["theta"], state_in(after), metrics))
            step, carry, data, rows = moved(case)
            runner = backend.runner(step)
            after, metrics = runner(carry, data, STEPS, rows)
            assert all(program for _, program in runner.programs.values()), runner.refused
            after = host(after)
            found.append((after["theta"], state_in(after), host(metrics)))
            assert_agree(found, options.get("dtype", "float64"), STEPS)
        print(name)
    for members in ensembles:
        options = {"members": members, "dtype": "float32"}
        step, carry, data, _ = moved(made("BCE", xn.LeakyReLU(), "adam", **options))
        took = []
        for runner in (Plain(backend.xp, step), backend.runner(step)):
            for n in (10, 300):  # once to compile
                backend.synchronize()
                began = time.perf_counter()
                runner(backend.copy(carry), data, n)
                backend.synchronize()
            took.append(time.perf_counter() - began)
        print(f"{members} members: {took[0] / took[1]:.1f} times as fast as operation by operation")


def build(capability: tuple[int, int], block: bool) -> None:
    import numba
    from numba import cuda
    from numba.cuda import dispatcher

    # What a function of the device asks, although the kernel says for which it is.
    here = SimpleNamespace(compute_capability=capability)
    dispatcher.get_current_device = lambda: here
    *what, options = CASES["noise"]
    step, carry, data, rows = case = made(*what, **options)
    program = kernel(case, block)
    arguments = program.arguments(carry, rows, program._histories(STEPS))
    types = [*[numba.types.int64] * 3, *map(numba.typeof, arguments)]
    function = compiled(program.file, program.key).py_func
    text, _ = cuda.compile_ptx(function, numba.types.void(*types), cc=capability)
    print(next(line for line in text.splitlines() if line.startswith(".target")))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run()
    elif sys.argv[1] == "gpu":
        on_gpu()
    else:
        build((int(sys.argv[2]), int(sys.argv[3])), sys.argv[4] == "block")
