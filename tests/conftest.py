"""One fixture, ``backend``, runs a test on every array library and says why where it cannot.

A test is collected where it applies (markers ``way`` and ``has``, by the table in `support.py`).
What is skipped after that lacks something of this machine, and says so in the words of `LACKING`:
any other skip is a failure.

The libraries are chosen by ``--backend numpy,strict`` (also given repeatedly) or by the environment
variable ``XPNET_BACKENDS``; without either, all. ``strict:device1`` is array-api-strict on a device
that refuses to be read by the host. With ``XPNET_REQUIRE_GPU=1`` CuPy may not be missing, and
PyTorch and JAX run on their GPU as well.

``XPNET_ONCE`` names a file for several runs one after the other, as CI has: a test that passed in
one of them is left out of the others, unless it is about what is installed.
"""

from __future__ import annotations

import atexit
import importlib
import os
import re
import shutil
import signal
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import support
from xpnet import backends

# Several libraries share the GPU here: JAX must not take three quarters of it at its first array.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

BACKENDS = ("numpy", "strict", "strict:device1", "torch", "jax", "cupy")
TEXTS = {
    "numpy:loops": ("tests.loops", "LoopReplay"),
    "numpy:machine": ("tests.loops", "MachineReplay"),
    "numpy:stretches": ("tests.loops", "StretchReplay"),
    "numpy:kernels": ("tests.lockstep", "KernelReplay"),
    "numpy:grids": ("tests.lockstep", "GridReplay"),
}
"""NumPy, each step as the loops of machine code, all of it or between products, or as those of a
CUDA kernel, run by Python alone; or as that machine code."""
ONCE = os.environ.get("XPNET_ONCE", "")
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""Which of several processes this is; empty for the one that hands the tests out."""


def _folder():
    folder = tempfile.mkdtemp(prefix="xpnet-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


if WORKER:  # two that compile the same at once would read what the other has half written
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", _folder())
elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Of JAX, one folder for all processes: what is half written does not unpack, and is compiled.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder()
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
LACKING = re.compile(
    r"[\w.]+ is not installed"
    r"|.*: \w+ is not installed \(.*"  # a contestant of the benchmark
    r"|(.*: )?backend '\w+' needs the package .*"
    r"|(backend '\w+' is installed but|.*: torch) finds no GPU.*"
    r"|this (system|machine) .*",
    re.DOTALL,
)
"""Why a test may be skipped: a library, a GPU, or something of the system is not there."""
REQUIRE_GPU = os.environ.get("XPNET_REQUIRE_GPU", "") not in ("", "0")

settings.register_profile(
    "xpnet",
    derandomize=True,
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("xpnet")


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        action="append",
        default=[],
        help=f"the libraries to test, with commas or repeatedly: {', '.join(BACKENDS)}",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "slow_on(*backends): slow on these libraries")
    config.addinivalue_line("markers", "way(*ways): where steps run so: recorded, compiled, plain")
    config.addinivalue_line("markers", "has(*features): where a library has all of these")
    config.addinivalue_line("markers", "program: runs a program, or a page's commands")
    config.addinivalue_line("markers", "installed: depends on which libraries there are")
    # A shell that runs the tests in the background has them ignore Ctrl-C, and so their programs.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _chosen(config):
    given = config.getoption("--backend") or [os.environ.get("XPNET_BACKENDS", "")]
    names = [name.strip() for part in given for name in part.split(",") if name.strip()]
    known = (*BACKENDS, *TEXTS, "torch:cuda", "jax:cuda")
    for name in names:
        if name not in known:
            raise pytest.UsageError(f"--backend must be of {', '.join(known)}, not {name!r}")
    names = names or list(BACKENDS)
    if REQUIRE_GPU:
        for name in ("torch", "jax"):
            if name in names and f"{name}:cuda" not in names and _has_gpu(name):
                names.append(f"{name}:cuda")
    return names


def _has_gpu(name):
    try:
        backends.get(name, "cuda:0")
    except ValueError:
        return False
    return True


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", _chosen(metafunc.config), indirect=True)


def _applies(item):
    """Whether a test says something of the library that it would run on."""
    ways = [mark.args for mark in item.iter_markers("way")]
    wanted = [feature for mark in item.iter_markers("has") for feature in mark.args]
    if not ways and not wanted:
        return True
    target = item.callspec.params["backend"]
    return all(any(support.has(target, way) for way in some) for some in ways) and all(
        support.has(target, feature) for feature in wanted
    )


def _without_reason(report):
    """Make a skip a failure unless it says what is lacking here."""
    if report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr
        reason = (where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")
        if not LACKING.fullmatch(reason):
            report.outcome = "failed"
            report.longrepr = f"A test may be skipped for what is lacking here alone, not: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    _without_reason(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    _without_reason(report)
    return report


def pytest_collection_modifyitems(config, items):
    passed = set(Path(ONCE).read_text().splitlines()) if ONCE and Path(ONCE).exists() else set()
    other = [item for item in items if not _applies(item)]
    config.hook.pytest_deselected(items=other)
    gone = set(other)
    new, again = [], []
    for item in items:
        if item in gone:
            continue
        done = item.nodeid in passed and not item.get_closest_marker("installed")
        (again if done else new).append(item)
    config.hook.pytest_deselected(items=again)
    items[:] = new
    for item in items:
        slow = {name for mark in item.iter_markers("slow_on") for name in mark.args}
        if hasattr(item, "callspec") and item.callspec.params.get("backend") in slow:
            item.add_marker(pytest.mark.slow)


def pytest_runtest_logreport(report):
    if ONCE and not WORKER and report.when == "call" and report.passed:
        with Path(ONCE).open("a") as file:
            file.write(f"{report.nodeid}\n")


@cache
def _backend(name):
    library, _, device = ("numpy" if name in TEXTS else name).partition(":")
    if library == "jax" and not device:
        device = "cpu"  # where there is a GPU, it would be JAX's own choice
    if device == "cuda":
        device = "cuda:0"
    found = backends.get(library, device or None)
    type(found).probe()
    found.prepare("float64")
    return found


@pytest.fixture
def backend(request):
    """A `Backend`, on NumPy, array-api-strict (two devices), PyTorch, JAX and CuPy."""
    if request.param in TEXTS:
        from xpnet.backends.numpy import NumPyBackend

        module, runner = TEXTS[request.param]
        made = getattr(importlib.import_module(module), runner)
        patched = request.getfixturevalue("monkeypatch")
        patched.setattr(
            NumPyBackend,
            "runner",
            lambda _, step, threads=None, native=None: made(step, threads),
        )
    try:
        return _backend(request.param)
    except backends.BackendUnavailable as error:
        if REQUIRE_GPU and request.param == "cupy":
            raise
        pytest.skip(str(error))


@pytest.fixture
def xp(backend):
    """The array namespace of `backend`."""
    return backend.xp


@pytest.fixture
def recording(backend, monkeypatch):
    """A backend, its programs writing chains, passes and blocks for the smallest of arrays."""
    from xpnet.compiler.writers import numpy as numpy_program

    monkeypatch.setattr(numpy_program.NumPyProgram.__init__, "__defaults__", (None, 8))
    if backend.name == "torch":
        from xpnet.compiler.writers import torch as torch_program

        monkeypatch.setattr(torch_program, "LARGE", 1)
    return backend
