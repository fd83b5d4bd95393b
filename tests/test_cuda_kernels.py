"""CUDA kernels of recorded steps, in numba's simulator, and compiled for GPUs that are not here."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests import lockstep
from tests.helpers import library
from tests.kernels import CASES, HERE, NUMPY, compare, kernel, made
from xpnet.backends.cupy import KERNELS, CuPyBackend
from xpnet.backends.numpy import NumPyBackend
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import cuda as native
from xpnet.compiler.native import grids
from xpnet.compiler.native.choice import Native, chosen
from xpnet.compiler.native.gpu import Device
from xpnet.compiler.native.kernels import Kernels, grids_of, kernel_of
from xpnet.compiler.plain import Plain, run_plainly
from xpnet.training.asked import Asked

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
    assert done == [*CASES, "a block", "not shared", "a grid", "fit"]


@pytest.mark.program
@pytest.mark.slow
def test_what_proves_kernels_on_a_gpu_runs(tmp_path):
    library("numba_cuda")
    done = kernels(tmp_path, "gpu", "--simulator")
    assert "all digits agree" in done
    for name in ("MANY", "ALONE", "TOGETHER", "WAYS", "LARGE", "SMALL", "THREADS"):
        assert any(line.startswith(f"{name} = ") for line in done)


@pytest.mark.program
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["7 5 thread", "8 0 block", "9 0 grid"])
def test_kernels_are_compiled_for(kind, tmp_path):
    library("numba_cuda")
    finder = library("cuda.pathfinder")
    for name in ("nvvm", "nvrtc"):
        try:
            finder.load_nvidia_dynamic_lib(name)
        except finder.DynamicLibNotFoundError:
            pytest.skip(f"lib{name} is not installed")
    major, minor, _ = kind.split()
    assert {*kernels(tmp_path, "compile", *kind.split())} == {f".target sm_{major}{minor}"}


def test_a_member_a_thread_is_written_where_a_thread_has_the_memory(monkeypatch):
    monkeypatch.setattr(native, "MANY", 2)
    *what, options = CASES["report"]
    assert not kernel(made(*what, **options), "").block
    *what, options = CASES["wide"]
    wide = made(*what, **{**options, "dtype": "float64"})
    assert kernel(wide, "").block
    with pytest.raises(Untraceable, match="those of a thread 16384"):
        kernel(wide, "thread")


@pytest.mark.parametrize("name", CASES)
def test_the_threads_of_a_block_do_not_race(name):
    """What one has written no other touches before the next barrier, at which all arrive."""
    compare(name, "block", lockstep.interpret)


@pytest.mark.parametrize("name", ["own", "noise"])
def test_the_threads_of_a_grid_do_not_race(name):
    """Between two launches no two of them touch an element that one of them writes."""
    compare(name, "grid", lockstep.interpret)


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
    first, second = (kernel(made(*what, **options), "block") for _ in range(2))
    assert first.text is second.text
    assert first.device is HERE


def long(xp, x):
    sums = xp.sum(x, axis=-2, keepdims=True), xp.sum(x, axis=-1), xp.max(x, axis=-2), xp.sum(x * x)
    found = xp.concat([xp.reshape(one, (-1,)) for one in sums])
    counted = xp.astype(xp.count_nonzero(x > 0, axis=-2), x.dtype)
    return found + xp.sum(counted) * xp.astype(xp.any(x > 4, axis=(-2, -1)), x.dtype)


def test_long_sums_are_of_parts_whoever_computes_them(monkeypatch):
    values, found = np.random.default_rng(0).normal(size=(700, 3)), []
    values[600, 1] = 5.0
    for threads in (1, 5):
        monkeypatch.setattr(lockstep, "THREADS", threads)
        step, carry = Once(np, long), {"theta": values.copy()}
        program = grids_of(step, carry, (values,), None, HERE, small=30)
        lockstep.interpret(program)
        found.append(program.run(carry, 1, None, lambda: False)[1]["out"][0])
        # A sum of a column is of ten parts, of which each of three columns is another thread's.
        assert 3 * (700 // grids.TERMS) in [call.turns for call in program.text.calls]
    np.testing.assert_allclose(found[0], long(np, values), rtol=0, atol=2100 * 4e-15)
    assert found[0].tobytes() == found[1].tobytes()


def test_what_one_thread_would_do_alone_is_no_kernel():
    def function(xp, x):
        return xp.cumulative_sum(xp.reshape(x, (-1,)), axis=0)

    values = np.zeros((200, 200))
    with pytest.raises(Untraceable, match="a loop over 40000 numbers has 1 turns to share"):
        grids_of(Once(np, function), {"theta": values}, (values,), None, HERE)


class Far:
    """A namespace whose new arrays lie on another device; dtypes may be NumPy's."""

    def __init__(self, xp):
        self.xp, self.device = xp, xp.Device("device1")

    def __getattr__(self, name):
        return getattr(self.xp, name)

    def astype(self, array, dtype):
        return self.xp.astype(array, self._dtype(dtype))

    def asarray(self, array, **options):
        return self.xp.asarray(array, device=self.device, **options)

    def empty(self, shape, *, dtype):
        return self.xp.empty(shape, dtype=self._dtype(dtype), device=self.device)

    def zeros(self, shape, *, dtype):
        return self.xp.zeros(shape, dtype=self._dtype(dtype), device=self.device)

    def _dtype(self, dtype):
        return getattr(self.xp, getattr(dtype, "_np_dtype", dtype).name)


@pytest.mark.parametrize("make", [kernel_of, grids_of])
def test_within_an_interval_nothing_comes_to_the_host(make):
    """On a device whose arrays refuse it; what launches a kernel is lent what they are of."""
    xp, recording = Far(library("array_api_strict")), [True]

    def to_host(array):
        assert recording
        return array._array

    def view(array, layout):
        return HERE.view(array._array, layout)

    device = Device(xp, lambda array: array._array, lambda: 0, to_host, view, np.matmul)
    step, carry, data, _ = made("CrossEntropy", xn.Tanh(), "adam", members=None)
    wanted, _ = run_plainly(np, step, NUMPY.copy(carry), data, 2)
    carry = {name: xp.asarray(array) for name, array in carry.items()}
    data = tuple(None if array is None else xp.asarray(array) for array in data)
    program = make(step, carry, data, None, device)
    recording.clear()
    lockstep.interpret(program)
    after, metrics = program.run(carry, 2, None, lambda: False)
    assert {str(one.device) for one in (*after.values(), *metrics.values())} == {str(xp.device)}
    np.testing.assert_allclose(after["theta"]._array, wanted["theta"], rtol=1e-12, atol=1e-14)


def test_texts_ask_numba_to_keep_what_it_makes():
    *what, options = CASES["wide"]
    for way in ("block", "grid"):
        text = str(kernel(made(*what, **options), way))
        assert text.count("\ndef run") == text.count("@cuda.jit(cache=True)\ndef run") > 0


@pytest.mark.parametrize(
    ("width", "members", "told"),
    [
        (5, None, "a CUDA kernel, many steps a launch, by a block of 128 threads, with"),
        (5, 2, "a CUDA kernel, many steps a launch, a member a block of 128 threads, with"),
        (200, None, "CUDA kernels a step between 2 of the library's matrix products, with"),
    ],
)
def test_explain_says_what_kernels_do(width, members, told, monkeypatch):
    def runner(backend, step, *_):
        return Kernels(np, step, lambda: HERE)

    monkeypatch.setattr(NumPyBackend, "runner", runner)
    for program in (native.CudaProgram, grids.GridProgram):
        monkeypatch.setattr(program, "compile", lockstep.interpret)
    net = xn.Sequential(xn.Linear(4, width), xn.Tanh(), xn.Linear(width, 1))
    x, y = np.zeros((50, 4)), np.zeros((50, 1))
    said = xn.explain(net, x, y, loss=xn.MSE(), optimizer=xn.Adam(), members=members)
    assert (said.way, said.why) == ("kernels", "")
    assert told in str(said)
    assert "cuda.jit" in said.program


def cupy_without_a_gpu(monkeypatch, asked):
    monkeypatch.setenv(KERNELS, asked)
    monkeypatch.setattr(CuPyBackend, "device", "cuda:0", raising=False)
    backend = CuPyBackend.__new__(CuPyBackend)
    backend.xp = np
    return backend


def test_on_cupy_steps_are_kernels_only_where_the_environment_says_so(monkeypatch):
    step, *_ = made(*CASES["report"][:-1])
    backend = cupy_without_a_gpu(monkeypatch, "0")
    assert type(backend.runner(step, native=Native(always=True))) is Plain
    assert chosen(backend, "auto", 10**9) is None
    with pytest.raises(ValueError, match=r"not True: CUDA kernels have not run .* XPNET_CUDA_KERN"):
        Asked._check_native(SimpleNamespace(native=True), backend)
    backend = cupy_without_a_gpu(monkeypatch, "1")
    assert chosen(backend, False, 10**9) is None
    for asked in ("auto", True):
        assert type(backend.runner(step, native=chosen(backend, asked, 1))) is Kernels
    assert type(backend.runner(step)) is Plain
    backend = cupy_without_a_gpu(monkeypatch, "all")
    assert type(backend.runner(step)) is Kernels


def test_without_numba_cuda_one_sentence_says_how_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba_cuda", None)
    backend = cupy_without_a_gpu(monkeypatch, "1")
    told = r'needs the package numba-cuda, .* pip install "numba-cuda\[cu13\]"'
    with pytest.raises(ImportError, match=f"native=True {told}"):
        Asked._check_native(SimpleNamespace(native=True), backend)
    with pytest.raises(Untraceable, match=f"a CUDA kernel {told}"):
        backend._numba()
