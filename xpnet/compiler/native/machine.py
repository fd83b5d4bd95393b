"""Machine code of a text, by LLVM, kept on disk for this processor; and calls of it."""

from __future__ import annotations

import ast
import ctypes
import ctypes.util
import hashlib
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import computed, instructions, lowering, values
from xpnet.compiler.native.choice import LOADED
from xpnet.compiler.native.compiled import kept_whole
from xpnet.compiler.native.lowering import Module, Parameter, lowered
from xpnet.compiler.native.values import ALIGNED, Type, type_of

SUFFIX = ".o"

OLDEST = (0, 45)
"""The llvmlite whose LLVM reads pointers that do not say to what, as `lowering` writes them."""


def free_in_forks(lock: Lock) -> Lock:
    """A lock that is free in a process that is forked: nobody forks while another thread has it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


_LOCK = free_in_forks(Lock())
"""LLVM is asked by one thread at a time."""


class Code:
    """The machine code of a function, in this process.

    Attributes:
        parameters: what it is given.
        nbytes: how much memory of its own it is to be given.
    """

    def __init__(self, engine: Any, name: str, parameters: Sequence[Parameter]) -> None:
        self._engine = engine  # whose memory it is
        self.parameters = parameters
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address(name))
        scratch = ctypes.CFUNCTYPE(ctypes.c_int64)(engine.get_function_address(f"{name}.scratch"))
        self.nbytes = int(scratch())


class Call:
    """A function of a text, called as one of Python's; made of its machine code when first called.

    What it is given stays where it was told; only what is another than the last time is told anew.

    Args:
        text, key, folder, name, unrolled: see `code`.

    Attributes:
        code: its machine code, once that is made.
    """

    def __init__(
        self, text: str, key: str, folder: Path, name: str = "run", unrolled: bool = True
    ) -> None:
        self._of = text, key, folder, name, unrolled
        self.code: Code | None = None
        self._held: list[Any] = []

    def __call__(self, *args: Any) -> None:
        if self.code is None:
            kinds = [_kind(arg) for arg in args]
            self.prepare(kinds)
        assert self.code is not None
        for i, (arg, held) in enumerate(zip(args, self._held, strict=True)):
            if arg is not held:
                self._give(i, arg)
        self.code.run(self._place)

    def prepare(self, kinds: Sequence[tuple[Type, int]]) -> None:
        """Make its machine code, or find it.

        Args:
            kinds: of what it will be given, the types, and how many axes; 0 of a number.

        Raises:
            Untraceable: if there is none.
        """
        text, key, folder, name, unrolled = self._of
        names = [arg.arg for arg in function_of(text, name).args.args]
        given = [Parameter(n, of, ndim) for n, (of, ndim) in zip(names, kinds, strict=True)]
        self.code = code(text, key, folder, name, given, unrolled)
        sizes = [max(1, parameter.ndim) for parameter in given]
        self._first = [sum(sizes[:i]) for i in range(len(sizes))]
        self._held = [None] * len(given)
        self._words = np.zeros(sum(sizes) + 1, np.int64)
        self._reals = self._words.view(np.float64)
        self._memory = np.empty(self.code.nbytes + ALIGNED, np.uint8)
        begin = self._memory.ctypes.data
        self._words[-1] = begin + -begin % ALIGNED
        self._place = self._words.ctypes.data

    def _give(self, i: int, arg: Any) -> None:
        assert self.code is not None
        first, parameter = self._first[i], self.code.parameters[i]
        if not parameter.ndim:
            (self._reals if parameter.type[0] == "f" else self._words)[first] = arg
        else:
            in_line = min(arg.shape) == 0 or arg.shape[-1] == 1 or arg.strides[-1] == arg.itemsize
            if not in_line or not arg.flags.aligned:
                raise Untraceable(f"{parameter.name} does not lie as machine code takes it")
            self._words[first] = arg.__array_interface__["data"][0]
            for axis in range(parameter.ndim - 1):
                self._words[first + 1 + axis] = arg.strides[axis] // arg.itemsize
        self._held[i] = arg  # or its memory might be somebody else's by then


def _kind(arg: Any) -> tuple[Type, int]:
    """The type of what a function is given, and how many axes it has."""
    if isinstance(arg, np.ndarray):
        return type_of(arg.dtype), arg.ndim
    return "f64" if isinstance(arg, float) else "i64", 0


# ---- made


@lru_cache(maxsize=8)
def function_of(text: str, name: str) -> ast.FunctionDef:
    """A function of a text."""
    return Module.of(text, Module.elementary()).functions[name]


@cache
def _llvm() -> Any:
    """LLVM, and the processor that it writes for.

    Raises:
        Untraceable: if llvmlite is not installed, or does not know LLVM's language as it is now.
    """
    try:
        found = importlib.import_module("llvmlite").__version__
        if tuple(map(int, found.split(".")[:2])) < OLDEST:
            raise Untraceable(f"llvmlite is {found}, and too old: pip install 'llvmlite>=0.45'")
        llvm = importlib.import_module("llvmlite.binding")
    except ImportError as error:
        raise Untraceable(f"llvmlite is not installed ({error})") from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    _show_library(llvm)
    return llvm


def _show_library(llvm: Any) -> None:
    """Tell LLVM where the C library's functions are, which not each system tells by itself."""
    if sys.platform == "win32":
        libraries = [ctypes.CDLL("ucrtbase"), ctypes.CDLL("vcruntime140")]
    else:
        libraries = [ctypes.CDLL(None)]
        if not hasattr(libraries[0], "hypot"):
            libraries.append(ctypes.CDLL(ctypes.util.find_library("m")))
    rounding = "floor", "ceil", "trunc", "rint", "exp2", "ldexp"
    names = [f"{name}{of}" for name in (*instructions.LIBRARY, *rounding) for of in ("", "f")]
    for name in (*names, "memset", "memcpy", "memmove"):
        for library in libraries:
            if function := getattr(library, name, None):
                llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
                break


def _machine(llvm: Any) -> Any:
    target = llvm.Target.from_default_triple()
    # What numba has found to work: code at addresses that are not known before.
    where = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc=where,
        codemodel="jitdefault",
        jit=True,
    )


@cache
def processor() -> str:
    """What machine code here is for, in a few letters, and who makes it."""
    llvm = _llvm()
    writers = values, instructions, computed, lowering, sys.modules[__name__]
    own = b"".join(Path(str(module.__file__)).read_bytes() for module in writers)
    features = sorted(llvm.get_host_cpu_features().items())
    said = f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {features} "
    said += f"{llvm.llvm_version_info} {hashlib.sha256(own).hexdigest()}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _object(text: str, name: str, given: Sequence[Parameter], unrolled: bool) -> bytes:
    """A function as machine code in a file's form."""
    llvm = _llvm()
    written = lowered(Module.of(text, Module.elementary()), name, given)
    machine = _machine(llvm)
    try:
        module = llvm.parse_assembly(written)
    except RuntimeError as error:
        raise Untraceable(f"this LLVM does not read it ({error})") from error
    module.triple, module.data_layout = llvm.get_process_triple(), str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_unrolling = unrolled
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    made: bytes = machine.emit_object(module)
    return made


def _loaded(made: bytes, name: str, given: Sequence[Parameter]) -> Code:
    llvm = _llvm()
    empty = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(empty, _machine(llvm))
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(made))
    engine.finalize_object()
    return Code(engine, name, given)


# ---- kept


def code(
    text: str, key: str, folder: Path, name: str, given: Sequence[Parameter], unrolled: bool = True
) -> Code:
    """The machine code of a function of a text: of this process, or kept on disk, or made.

    Args:
        text: functions in Python's syntax.
        key: what the text is called by its contents.
        folder: where it is kept.
        name: which function.
        given: what it is given.
        unrolled: whether several turns of a loop may be written one behind the other, which takes
            twice as long to compile, and must not be where the innermost loops are of few turns.

    Raises:
        Untraceable: if something in it has no machine code, or llvmlite is not installed.
    """
    with _LOCK:
        return _code(text, key, folder, name, tuple(given), unrolled)


@lru_cache(maxsize=256)
def _code(
    text: str, key: str, folder: Path, name: str, given: tuple[Parameter, ...], unrolled: bool
) -> Code:
    kind = hashlib.sha256(repr((name, given, unrolled)).encode()).hexdigest()[:8]
    path = folder / f"step_{key}.{processor()}.{kind}{SUFFIX}"
    made = _read(path)
    if made is None:
        made = _object(text, name, given, unrolled)
        _keep(path, made)
    found = _loaded(made, name, given)
    LOADED.add(key)
    return found


def is_kept(key: str, folder: Path) -> bool:
    """Whether machine code of a program is kept that this processor takes."""
    return any(folder.glob(f"step_{key}.{processor()}.*{SUFFIX}"))


def _read(path: Path) -> bytes | None:
    """Machine code that is kept; ``None`` where there is none, or it is not whole."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    digest, made = found[:32], found[32:]
    return made if hashlib.sha256(made).digest() == digest else None


def _keep(path: Path, made: bytes) -> None:
    """Keep machine code where that can be."""
    with suppress(OSError):  # then it is made anew in each process
        kept_whole(path, hashlib.sha256(made).digest() + made)
