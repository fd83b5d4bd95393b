"""Text to machine code, kept on disk: a file a program, and beside it what numba has made of it."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import xpnet
from xpnet.compiler.ir import Untraceable

HEAD = '''"""A training step, {key}, as xpnet has written it; its machine code is beside it."""

import math

import numpy as np

from xpnet.compiler.native.elementary import (
    exp_32, exp_64, expm1_32, expm1_64, local, log1p_32, log1p_64, log_32, log_64,
    logaddexp_32, logaddexp_64, maximum, minimum, tanh_32, tanh_64, threefry,
)

'''


def folder() -> Path:
    """Where programs are kept: in ``XPNET_CACHE_DIR``, or the user's folder of caches."""
    if named := os.environ.get("XPNET_CACHE_DIR"):
        return Path(named) / "native"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "xpnet" / "native"


@lru_cache(maxsize=1)
def _version() -> str:
    """What the functions that programs call are, besides their text."""
    files = (Path(__file__).with_name(f"{name}.py") for name in ("elementary", "device"))
    here = b"".join(file.read_bytes() for file in files)
    return f"{xpnet.__version__} {hashlib.sha256(here).hexdigest()}"


def text_of(
    constants: dict[str, str], source: str, head: str = HEAD, how: str = ""
) -> tuple[str, str]:
    """A program as a file has it, and what it is called by its contents.

    Args:
        constants, source: see `Loops`.
        head: what the file begins with, its key left out.
        how: what compiles it.
    """
    numbers = "".join(f"{name} = {value}\n" for name, value in constants.items())
    body = f"{numbers}\n\n{how and f'@{how}'}\n{source}"
    key = hashlib.sha256(f"{_version()}\n{body}".encode()).hexdigest()[:24]
    return head.format(key=key) + body, key


@lru_cache(maxsize=64)
def functions(text: str, key: str) -> dict[str, Callable[..., Any]]:
    """The functions of a program by their names, each of which begins with ``run``.

    Raises:
        Untraceable: if numba is not installed.
    """
    return _functions(_module(_written(text, key), key))


def _functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {name: found for name, found in vars(module).items() if name.startswith("run")}


def compiled(text: str, key: str) -> Callable[..., Any]:
    """The function of a program that has one.

    Raises:
        Untraceable: if numba is not installed.
    """
    return functions(text, key)["run"]


def _written(text: str, key: str) -> Path:
    """The file of a program; in a folder for this process where none can be kept."""
    path = folder() / f"step_{key}.py"
    try:
        if not path.exists() or path.read_text("utf-8") != text:
            kept_whole(path, text.encode())
        return path
    except OSError:
        path = _own_folder() / f"step_{key}.py"
        path.write_text(text, "utf-8")
        return path


def kept_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole whenever it is there, whoever writes the same at this moment.

    Raises:
        OSError: if that cannot be; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        except OSError:
            os.remove(file.name)
            raise


@lru_cache(maxsize=1)
def _own_folder() -> Path:
    """A folder that goes when this process ends."""
    own, process = tempfile.mkdtemp(prefix="xpnet-"), os.getpid()

    @atexit.register
    def remove() -> None:
        if os.getpid() == process:  # and not one that was forked from it
            shutil.rmtree(own, ignore_errors=True)

    return Path(own)


def _module(path: Path, key: str) -> ModuleType:
    name = f"xpnet_step_{key}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where numba looks for what it has kept
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        del sys.modules[name]
        raise Untraceable(f"numba is not installed ({error})") from error
    return module
