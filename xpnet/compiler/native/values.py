"""Numbers and arrays in LLVM's language: their types, and what they are called."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.compiler.ir import Untraceable

Type = str
"""``f32``, ``f64``, ``i8`` to ``i64``, ``u8`` to ``u64``, or ``b1``, as NumPy's dtypes are."""


def type_of(dtype: Any) -> Type:
    """The type of a dtype.

    Raises:
        Untraceable: if there is none.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return "b1"
    known = dtype.kind in "iuf" and dtype.name != "float16" and dtype.itemsize <= 8
    if not known or not dtype.isnative:
        raise Untraceable(f"{dtype} has no machine code")
    return f"{dtype.kind}{8 * dtype.itemsize}"


@dataclass(frozen=True)
class Value:
    """A number: its type, what it is called, and whether it is in figures in the text."""

    type: Type
    name: str
    weak: bool = False

    @property
    def said(self) -> str:
        """It, with its type."""
        return f"{llvm(self.type)} {self.name}"


@dataclass(frozen=True)
class Place:
    """An array: the type of its elements, where it begins, and what its first axes go by."""

    type: Type
    name: str
    strides: tuple[str, ...] = ()


def safe(name: str) -> str:
    """A name in letters that LLVM takes."""
    return "".join(c if c.isascii() else f".{ord(c):x}." for c in name)


def llvm(of: Type) -> str:
    """A type as LLVM calls it."""
    if of[0] == "f":
        return "double" if of == "f64" else "float"
    return f"i{of[1:]}"


def stored(of: Type) -> str:
    """A type as it lies in memory."""
    return "i8" if of == "b1" else llvm(of)


_ITEMSIZE = {"b1": 1}


def itemsize(of: Type) -> int:
    """How many bytes a number takes in memory."""
    return _ITEMSIZE.get(of) or int(of[1:]) // 8


def literal(value: float, of: Type) -> str:
    """A number in figures."""
    if of[0] == "f":
        if of == "f32":
            with np.errstate(over="ignore"):
                value = float(np.float32(value))
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if of == "b1":
        return "true" if value else "false"
    return str(int(value))


ALIGNED = 64
"""What arrays of a function's own are aligned to."""


def bits(of: Type) -> int:
    """How many bits a number has."""
    return int(of[1:])


def number(value: Value) -> float:
    """What a number in figures is."""
    if value.type[0] == "f":
        found: float = struct.unpack("<d", struct.pack("<Q", int(value.name, 16)))[0]
        return found
    return int(value.name)


def library(name: str, of: Type) -> str:
    """A function of the C library's, of a type."""
    return f"{name}f" if of == "f32" else name
