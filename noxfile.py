"""How xpnet is tested, checked and shown: ``nox --list`` says what there is.

``nox -s tests`` is for newcomers and takes a minute; ``nox -s programs`` runs the programs and what
the README prints; ``nox -s matrix`` runs every test on every array library, a session each. With
``--no-venv`` nothing is installed: sessions use the Python that runs nox, and a library that it
lacks is skipped with the reason.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_missing_interpreters = False

BACKENDS = ("numpy", "strict", "torch", "jax", "cupy")
MODULES = {"strict": "array_api_strict"}
OTHERS = {
    "numpy": (
        *("h5py>=3.10", "zarr>=3", "dask[array]>=2024.1"),  # of whose files batches are read
        "distributed>=2024.1",  # to whose workers members go
        *("scipy>=1.13", "optuna>=4"),  # which minimise, and search
        *("onnx>=1.18", "ndonnx>=0.11", "onnxruntime>=1.20"),  # to which models go
        *("scikit-learn>=1.7", "pandas>=2.2", "polars>=1"),  # what the pages use
        *("llvmlite>=0.45", "numba-cuda>=0.30"),  # which make machine code
    ),
    "torch": ("scikit-learn>=1.7", "polars>=1"),  # whose networks come over, and frames
    "strict": ("scikit-learn>=1.7",),  # whose estimators ours are
    "jax": ("scikit-learn>=1.7",),
}
"""What else the tests of a library need, to be run on it once."""
PEERS = (
    *(
        "llvmlite",
        "torch",
        "jax",
        "optax",
        "scikit-learn",
        "skorch",
        "thinc",
        "threadpoolctl",
        "matplotlib",
    ),
    *("mlxtend", "pytabkit"),
)


# ---- what a session needs


def bare(session: nox.Session) -> bool:
    """Whether the session runs in the Python that runs nox (``--no-venv``)."""
    return session.virtualenv.venv_backend == "none"


def install(session: nox.Session, *extras: str, packages: tuple[str, ...] = ()) -> None:
    """Install xpnet with ``extras``, and ``packages``, unless the session has no environment."""
    if not bare(session):
        session.install("-e", f".[{','.join(extras)}]" if extras else ".", *packages)


def python(session: nox.Session, *args: str, **env: str) -> None:
    """Run the session's Python on ``args``, in the project's folder."""
    if bare(session):
        env = {"PYTHONPATH": os.pathsep.join(filter(None, [".", os.getenv("PYTHONPATH")])), **env}
        session.run(sys.executable, *args, env=env, external=True)
    else:
        session.run("python", *args, env=env)


def pytest(session: nox.Session, *args: str, **env: str) -> None:
    """Run tests in as many processes as there are cores, up to four, if xdist is there."""
    there = not bare(session) or importlib.util.find_spec("xdist") is not None
    # Not by turns: some tests take a hundred times as long as others.
    many = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal") if there else ()
    # Tests start programs: without bytecode each would compile all of xpnet anew.
    told = ("--durations", "12")  # what is to be made lighter, before a run takes half an hour
    python(session, "-m", "pytest", *many, *told, *args, PYTHONDONTWRITEBYTECODE="", **env)


def why_no_gpu() -> str | None:
    """What the NVIDIA driver says against running here, or ``None``."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"no NVIDIA driver was found ({error})"
    if status := driver.cuInit(0):
        return f"the NVIDIA driver does not start (cuInit gave error {status})"
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver finds no device"
    return None


def cuda_major() -> int:
    """The newest CUDA that the driver runs: its major version."""
    version = ctypes.c_int(0)
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000


def skip_or_fail(session: nox.Session, reason: str) -> None:
    """Skip a session that cannot run, or fail it where ``XPNET_REQUIRE_GPU=1`` promises a GPU."""
    if os.getenv("XPNET_REQUIRE_GPU", "0") not in ("", "0"):
        session.error(f"{reason}, and XPNET_REQUIRE_GPU is set")
    session.skip(reason)


# ---- the sessions


@nox.session
def tests(session: nox.Session) -> None:
    """The light tests, on NumPy and array-api-strict: what a newcomer runs."""
    install(session, "test")
    pytest(
        session,
        *("-m", "not slow and not program", *session.posargs),
        XPNET_BACKENDS=os.getenv("XPNET_BACKENDS", "numpy,strict"),
    )


@nox.session
def programs(session: nox.Session) -> None:
    """The programs, the benchmark, the report, the study, and the code of README and pages."""
    # mpich brings `mpiexec` along, which starts those of several processes.
    install(session, "test", "datasets", "mpi", packages=("mpich",))
    pytest(
        session,
        *("-m", "program", *session.posargs),
        XPNET_BACKENDS=os.getenv("XPNET_BACKENDS", "numpy,strict"),
    )


@nox.session
@nox.parametrize("backend", [nox.param(name, id=name) for name in BACKENDS])
def matrix(session: nox.Session, backend: str) -> None:
    """Every test, on one array library; posargs go to pytest."""
    if backend == "cupy" and (reason := why_no_gpu()):
        skip_or_fail(session, f"cupy needs an NVIDIA GPU: {reason}")
    module = MODULES.get(backend, backend)
    if bare(session):
        if importlib.util.find_spec(module) is None:
            reason = f"{module} is not installed in {sys.executable}"
            skip_or_fail(session, reason) if backend == "cupy" else session.skip(reason)
        if importlib.util.find_spec("pytest") is None:
            session.error("pytest is not installed; install xpnet[test], or run without --no-venv")
    elif backend == "cupy":
        cuda = min(max(cuda_major(), 12), 13)
        # `ctk` brings the CUDA libraries, so that the driver is all that a machine needs.
        install(session, "test", f"cuda{cuda}", packages=(f"cupy-cuda{cuda}x[ctk]>=14",))
    else:
        extras = [backend] if backend in ("torch", "jax") else []
        install(session, "test", *extras, packages=OTHERS.get(backend, ()))
    # Tests of a library that does not work are skipped: that must not pass for success here.
    python(session, "-c", f"from xpnet import backends; backends.get({backend!r}).probe()")
    # array-api-strict has a device that refuses to be read by the host: nothing may need to.
    names = "strict,strict:device1" if backend == "strict" else backend
    pytest(session, *session.posargs, XPNET_BACKENDS=names)


LOOPED = ("operations", "programs", "recorded_as_plain", "sums", "noise", "optimizers", "fuzz")
BETWEEN = ("programs", "recorded_as_plain", "sums", "noise")
"""The tests of what a step may do, and those of loops between calls, which are the same loops."""


@nox.session
def loops(session: nox.Session) -> None:
    """What a step may do, as the loops that machine code is made of, by Python's interpreter and as
    that machine code.
    """
    install(session, "test", packages=("llvmlite>=0.45",))
    files = [f"tests/test_{name}.py" for name in LOOPED]
    pytest(
        session, *(session.posargs or ["-m", "not program", *files]), XPNET_BACKENDS="numpy:loops"
    )
    between = [f"tests/test_{name}.py" for name in BETWEEN]
    light = "-m", "not program and not slow"
    pytest(session, *light, *between, XPNET_BACKENDS="numpy:stretches")
    # In float32 a truth value that follows from a tanh near 1 is another in its last digit.
    pytest(session, *light, "-k", "not float32", *files, XPNET_BACKENDS="numpy:machine")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Random trainings on an array library, held to torch.optim; ``-- --cases 10000``."""
    named = [name for name in ("jax", "strict") if any(name in arg for arg in session.posargs)]
    install(session, "test", "torch", *named)
    python(session, "-m", "tests.fuzz", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Remake the report on NumPy into report/; fails if a number that must agree does not."""
    named = [
        name for name in ("torch", "jax", "strict") if any(name in arg for arg in session.posargs)
    ]
    install(session, "report", *named)
    python(session, "scripts/reproduce_report.py", *(session.posargs or ["--backend", "numpy"]))


@nox.session
def study(session: nox.Session) -> None:
    """How much of the report is luck: a thousand seeds for each setting, into seed_study/."""
    install(session, "report")
    python(session, "scripts/seed_study.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    if not bare(session):
        session.install("ruff>=0.12")
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on the library."""
    install(session, "types")
    python(session, "-m", "mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, into build/docs; a warning fails it. Posargs go to Sphinx."""
    install(session, "docs")
    there = "build/docs"
    python(session, "-m", "sphinx", "-W", "--keep-going", "-q", *session.posargs, "docs", there)
    session.log(f"{there}/index.html")


@nox.session
def links(session: nox.Session) -> None:
    """Links of the site that lead to other hosts, one after the other: needs the web."""
    install(session, "docs")
    unrun = ("-D", "sphinx_gallery_conf.plot_gallery=False")
    python(session, "-m", "sphinx", "-q", "-b", "linkcheck", *unrun, "docs", "build/links")


@nox.session
def package(session: nox.Session) -> None:
    """The wheel and the source distribution: built, looked at, and the wheel installed."""
    if not bare(session):
        session.install("build", "twine>=6", "check-wheel-contents")
    folder = Path(session.create_tmp()) / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    python(session, "-m", "build", "--outdir", str(folder))
    made = sorted(map(str, folder.iterdir()))
    python(session, "-m", "twine", "check", "--strict", *made)
    wheel = next(name for name in made if name.endswith(".whl"))
    python(session, "-m", "check_wheel_contents", wheel)
    if not bare(session):
        session.install(wheel)
        session.chdir(folder)  # where there is no xpnet but the one that was installed
        python(session, "-c", "import xpnet; print(xpnet.__version__, xpnet.backends.NAMES)")


@nox.session
def benchmark(session: nox.Session) -> None:
    """Xpnet beside its peers, interleaved in one run; posargs go to scripts/benchmark.py."""
    install(session, packages=PEERS)
    python(session, "scripts/benchmark.py", *session.posargs)
