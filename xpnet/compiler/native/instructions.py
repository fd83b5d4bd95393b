"""Instructions of LLVM's, on numbers of types that are known."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native.computed import float_parts, shifted, whole_parts
from xpnet.compiler.native.values import Type, Value, bits, library, literal, llvm, number, type_of

_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
_BITS = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
_COMPARES = {
    ast.Lt: ("olt", "lt"), ast.LtE: ("ole", "le"), ast.Gt: ("ogt", "gt"), ast.GtE: ("oge", "ge"),
    ast.Eq: ("oeq", "eq"), ast.NotEq: ("une", "ne"),
}  # fmt: skip

INTRINSICS = {
    "abs": "fabs", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint",
    "sqrt": "sqrt", "copysign": "copysign",
}  # fmt: skip
"""What LLVM has, by its name there."""

LIBRARY = (
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("atan2", "hypot", "log10", "log2", "pow", "fmod"),
)
"""What the C library has, in float64; in float32 with an ``f`` behind."""

CONTRACT = "contract "
"""Products and sums are fused."""


class Instructions:
    """What a function does, instruction by instruction.

    Args:
        declared: what is used of LLVM's and the C library's, by its text.

    Attributes:
        lines: the instructions.
        index: whether what is computed is a place in an array, which cannot overflow.
    """

    def __init__(self, declared: dict[str, None]) -> None:
        self.declared = declared
        self.lines: list[str] = []
        self.index = 0
        self._count = 0

    def new(self, stem: str = "v") -> str:
        """A name that no other has."""
        self._count += 1
        return f"{stem}{self._count}"

    def put(self, of: Type, text: str) -> Value:
        """A value that an instruction gives."""
        name = f"%{self.new()}"
        self.lines.append(f"{name} = {text}")
        return Value(of, name)

    def label(self, name: str) -> None:
        """Here begins what is jumped to."""
        self.lines.append(f"{name}:")

    def jump(self, to: str) -> None:
        """Go on there."""
        self.lines.append(f"br label %{to}")

    def choose(self, truth: Value, yes: str, no: str) -> None:
        """Go on at one of two."""
        self.lines.append(f"br i1 {truth.name}, label %{yes}, label %{no}")

    def call(self, of: Type, name: str, *args: Value) -> Value:
        """What a function outside gives, of operands of its own type."""
        given = ", ".join(llvm(arg.type) for arg in args)
        self.declared[f"declare {llvm(of)} @{name}({given})"] = None
        return self.put(of, f"call {llvm(of)} @{name}({', '.join(a.said for a in args)})")

    def cast(self, value: Value, to: Type) -> Value:
        """A number as one of another type."""
        if value.type == to:
            return replace(value, weak=False)
        if value.weak and value.name[0] != "%":
            known = number(value)
            if to[0] == "f" or known == int(known):
                return Value(to, literal(known, to))
        one, other = value.type[0], to[0]
        if to == "b1":
            zero = literal(0, value.type)
            how = "fcmp une" if one == "f" else "icmp ne"
            return self.put(to, f"{how} {value.said}, {zero}")
        if one == "f" and other == "f":
            how = "fptrunc" if to == "f32" else "fpext"
        elif one == "f" and (bits(to) < 32 or to == "u32"):
            # As NumPy: what is beyond it, such as what is below 0, is cut to its bits.
            return self.cast(self.cast(value, "i64" if to == "u32" else "i32"), to)
        elif one == "f":
            sign = "s" if other == "i" else "u"
            found = self.put(to, f"fpto{sign}i {value.said} to {llvm(to)}")
            return self.put(to, f"freeze {found.said}")  # of NaN: what the processor makes of it
        elif other == "f":
            how = "uitofp" if one in "bu" else "sitofp"
        elif bits(value.type) == bits(to):
            return Value(to, value.name)
        elif bits(value.type) > bits(to):
            how = "trunc"
        else:
            how = "sext" if one == "i" else "zext"
        return self.put(to, f"{how} {value.said} to {llvm(to)}")

    def together(self, a: Value, b: Value) -> tuple[Value, Value]:
        """Two numbers as of one type, in which they are computed with."""
        kinds = {a.type[0], b.type[0]}
        if "f" in kinds:
            strong = [v.type for v in (a, b) if not v.weak]
            floats = [of for of in strong if of[0] == "f"]
            if not floats:
                to = "f64"
            elif all(of == "f32" for of in strong):
                to = "f32"
            else:
                to = "f64"
        elif "u64" in (a.type, b.type):
            if not all(v.weak or v.type[0] in "bu" for v in (a, b)):
                raise Untraceable("whole numbers of 64 bits with and without a sign have no type")
            to = "u64"
        else:
            to = "i64"
        return self.cast(a, to), self.cast(b, to)

    def known(self, value: Any) -> Value:
        """A number that is known."""
        if isinstance(value, np.generic):
            of = type_of(value.dtype)
            return Value(of, literal(value.item(), of))
        if not isinstance(value, (bool, int, float)):
            raise Untraceable(f"{value!r} has no machine code")
        of = {bool: "b1", int: "i64", float: "f64"}[type(value)]
        return Value(of, literal(value, of), weak=of != "b1")

    def whole(self, value: Value) -> Value:
        """A whole number as it is computed with."""
        return self.cast(value, "u64" if value.type == "u64" else "i64")

    def two(self, op: ast.operator, a: Value, b: Value) -> Value:
        """What an operator gives."""
        if type(op) in _BITS and a.type == b.type == "b1":
            return self.put("b1", f"{_BITS[type(op)]} {a.said}, {b.name}")
        if isinstance(op, ast.Div) and a.type[0] != "f" and b.type[0] != "f":
            a, b = self.cast(a, "f64"), self.cast(b, "f64")
        a, b = self.together(a, b)
        if type(op) in _ARITHMETIC:
            name = _ARITHMETIC[type(op)]
            if a.type[0] == "f":
                return self.put(a.type, f"f{name} {CONTRACT}{a.said}, {b.name}")
            wrap = "nsw " if self.index else ""
            return self.put(a.type, f"{name} {wrap}{a.said}, {b.name}")
        if isinstance(op, ast.Div):
            return self.put(a.type, f"fdiv {CONTRACT}{a.said}, {b.name}")
        if isinstance(op, ast.Pow):
            if a.type[0] != "f":
                raise Untraceable("a power of whole numbers has no machine code")
            return self.call(a.type, library("pow", a.type), a, b)
        if isinstance(op, (ast.Mod, ast.FloorDiv)):
            parts = float_parts if a.type[0] == "f" else whole_parts
            return parts(self, a, b)[isinstance(op, ast.Mod)]
        if a.type[0] == "f":
            raise Untraceable("bits of floats have no machine code")
        if type(op) in _BITS:
            return self.put(a.type, f"{_BITS[type(op)]} {a.said}, {b.name}")
        if isinstance(op, (ast.LShift, ast.RShift)):
            return shifted(self, op, a, b)
        raise Untraceable(f"{ast.dump(op)} has no machine code")

    def compare(self, op: type[ast.cmpop], a: Value, b: Value) -> Value:
        """Whether it is so."""
        if a.type != b.type or a.type[0] not in "b":
            a, b = self.together(a, b)
        floats, whole = _COMPARES[op]
        if a.type[0] == "f":
            return self.put("b1", f"fcmp {floats} {a.said}, {b.name}")
        sign = "" if whole in ("eq", "ne") else "s" if a.type[0] == "i" else "u"
        return self.put("b1", f"icmp {sign}{whole} {a.said}, {b.name}")

    def all(self, how: str, found: Sequence[Value]) -> Value:
        first, *rest = found
        for other in rest:
            first = self.put("b1", f"{how} {first.said}, {other.name}")
        return first

    def select(self, truth: Value, yes: Value, no: Value) -> Value:
        """One of two, both of which are computed."""
        if yes.type != no.type:
            yes, no = self.together(yes, no)
        return self.put(yes.type, f"select {truth.said}, {yes.said}, {no.said}")

    def of_floats(self, name: str, args: list[Value]) -> Value:
        first, *rest = args
        if name == "abs" and first.type[0] != "f":
            less = self.compare(ast.Lt, first, Value("i64", "0", True))
            return self.select(less, self.two(ast.Sub(), Value("i64", "0", True), first), first)
        if first.type[0] != "f":
            first = self.cast(first, "f64")
        if rest:
            first, second = self.together(first, rest[0])
            rest = [second]
        if name in INTRINSICS:
            return self.call(first.type, f"llvm.{INTRINSICS[name]}.{first.type}", first, *rest)
        return self.call(first.type, library(name, first.type), first, *rest)
