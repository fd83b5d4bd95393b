"""What a reader must know to judge a number: the machine, the threads, the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = (
    "xpnet",
    "numpy",
    "torch",
    "jax",
    "optax",
    "scikit-learn",
    "thinc",
    "pytabkit",
    "threadpoolctl",
    "distributed",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def hold_threads(threads: int) -> list[int]:
    """Give every library the same threads; call it before any of them is imported.

    The variables are what OpenBLAS and OpenMP read, PyTorch among them. JAX reads none: it takes
    as many as there are cores for the process, so, where the system can, the process is held to
    ``threads`` of its cores.

    Returns:
        The cores, where the process is held to some.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    return cores


def versions() -> dict[str, str]:
    """The versions of what is installed."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "xpnet" not in found:
        import xpnet

        found["xpnet"] = xpnet.__version__
    return found


def thread_pools() -> list[dict[str, object]]:
    """The thread pools of the libraries that are loaded by now, if threadpoolctl is there."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    keys = ("internal_api", "num_threads", "version", "architecture", "threading_layer")
    return [{key: pool[key] for key in keys if pool.get(key)} for pool in threadpool_info()]


def describe() -> dict[str, object]:
    """The machine in words."""
    names = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": _gpu(),
    }


def _gpu() -> str | None:
    from xpnet import backends

    try:
        return backends.get("cupy").describe()
    except backends.BackendUnavailable:
        return None
