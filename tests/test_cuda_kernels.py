"""CUDA kernels of recorded steps, in numba's simulator, and compiled for GPUs that are not here."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import lockstep
from tests.helpers import library
from tests.kernels import CASES, HERE, compare, kernel, made
from xpnet import backends
from xpnet.backends.cupy import KERNELS, CuPyBackend
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import cuda as native
from xpnet.compiler.plain import Plain

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Once:
    """A step that changes nothing and tells some function of the carry."""

    xp: Any
    function: Any

    def __call__(self, carry, batch):
        return {"theta": carry["theta"] * 1.0}, {"out": self.function(self.xp, carry["theta"])}


def kernels(folder, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels", *arguments],
        cwd=ROOT,
        env={**os.environ, "XPNET_CACHE_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.program
def test_in_the_simulator_kernels_give_what_the_plain_loop_does(tmp_path):
    library("numba_cuda")
    done = kernels(tmp_path, "run", NUMBA_ENABLE_CUDASIM="1")
    assert done == [*CASES, "a block", "not shared", "fit"]


@pytest.mark.program
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["7 5 thread", "8 0 block", "9 0 block"])
def test_kernels_are_compiled_for(kind, tmp_path):
    library("numba_cuda")
    finder = library("cuda.pathfinder")
    for name in ("nvvm", "nvrtc"):
        try:
            finder.load_nvidia_dynamic_lib(name)
        except finder.DynamicLibNotFoundError:
            pytest.skip(f"lib{name} is not installed")
    major, minor, _ = kind.split()
    assert kernels(tmp_path, "compile", *kind.split()) == [f".target sm_{major}{minor}"]


def test_a_member_a_thread_is_written_where_a_thread_has_the_memory(monkeypatch):
    monkeypatch.setattr(native, "MANY", 2)
    *what, options = CASES["report"]
    assert not kernel(made(*what, **options), None).block
    *what, options = CASES["wide"]
    wide = made(*what, **{**options, "dtype": "float64"})
    assert kernel(wide, None).block
    with pytest.raises(Untraceable, match="those of a thread 16384"):
        kernel(wide, False)


@pytest.mark.parametrize("name", CASES)
def test_the_threads_of_a_block_do_not_race(name):
    """What one has written no other touches before the next barrier, at which all arrive."""
    compare(name, True, lockstep.Interpreted)


def sums(xp, x):
    return xp.sum(x, axis=(-2, -1), keepdims=True) + xp.cumulative_sum(x, axis=-1)


def test_sums_are_the_same_by_any_number_of_threads(monkeypatch):
    """One of everything is in parts, and in a cumulative one each follows from the one before."""
    values, found = np.random.default_rng(0).normal(size=(15, 7)), []
    for threads in (1, 3, 40):
        monkeypatch.setattr(lockstep, "THREADS", threads)
        runner = lockstep.KernelReplay(Once(np, sums), None)
        found.append(runner({"theta": values.copy()}, (values,), 2)[1]["out"][1])
        ((_, program),) = runner.programs.values()
        assert type(program) is native.CudaProgram
    np.testing.assert_allclose(found[0], sums(np, values), rtol=0, atol=105 * 1e-15)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_kernels_of_the_same_form_are_written_once():
    *what, options = CASES["report"]
    first, second = (kernel(made(*what, **options), block=True) for _ in range(2))
    assert first.text is second.text
    assert first.device is HERE


def test_on_cupy_steps_are_kernels_only_where_the_environment_says_so(monkeypatch):
    backend = CuPyBackend.__new__(CuPyBackend)
    backend.xp = backends.get("numpy").xp
    step, *_ = made(*CASES["report"][:-1])
    monkeypatch.delenv(KERNELS, raising=False)
    assert type(backend.runner(step)) is Plain
    monkeypatch.setenv(KERNELS, "1")
    assert type(backend.runner(step)) is native.Kernels
    assert not CuPyBackend.native
