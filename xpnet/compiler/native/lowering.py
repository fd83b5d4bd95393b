"""Loops in Python's syntax, as writers write them, in LLVM's language.

The part of Python that they use is small: numbers and arrays of them, loops over ranges, choices,
and functions of one line after the other. Each line becomes a few instructions at once, by types
that are known when it is read: so a step of 250 lines takes a tenth of a second, where a compiler
of all of Python takes ten. What follows, LLVM does: it knows of no array that it shares memory with
another, since each comes as an argument of its own.

Numbers are as NumPy's: a whole number with a float is a float64, whole numbers are computed in 64
bits, and what a text says in figures takes the type of the other operand.
"""

from __future__ import annotations

import ast
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import elementary
from xpnet.compiler.native.choice import LONG
from xpnet.noise import PARITY, ROTATIONS, ROUNDS

Type = str
"""``f32``, ``f64``, ``i8`` to ``i64``, ``u8`` to ``u64``, or ``b1``, as NumPy's dtypes are."""


Made = dict[str, tuple[Type, str]]
"""Functions by how they are called: what they give, and their text."""


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
        return f"{_llvm(self.type)} {self.name}"


@dataclass(frozen=True)
class Place:
    """An array: the type of its elements, where it begins, and what its first axes go by."""

    type: Type
    name: str
    strides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """What a function is given: an array of so many axes, or a number, of which there are none."""

    name: str
    type: Type
    ndim: int = 0


@dataclass(frozen=True)
class Module:
    """What a text has: its functions, and numbers by name.

    Attributes:
        functions: by name, those of `elementary` among them.
        numbers: what names stand for.
    """

    functions: Mapping[str, ast.FunctionDef]
    numbers: Mapping[str, Any]

    @classmethod
    def of(cls, text: str, within: Module) -> Module:
        """What a text has, and what there is already."""
        functions, numbers = dict(within.functions), dict(within.numbers)
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                functions[node.name] = node
            elif isinstance(node, ast.Assign):
                exec(compile(ast.Module([node], []), "<numbers>", "exec"), numbers)
        return cls(functions, numbers)

    @classmethod
    @cache
    def elementary(cls) -> Module:
        """What all texts have."""
        body = ast.parse(Path(elementary.__file__).read_text()).body
        functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        return cls(functions, vars(elementary))


def _safe(name: str) -> str:
    """A name in letters that LLVM takes."""
    return "".join(c if c.isascii() else f".{ord(c):x}." for c in name)


def _llvm(of: Type) -> str:
    if of[0] == "f":
        return "double" if of == "f64" else "float"
    return f"i{of[1:]}"


def _stored(of: Type) -> str:
    return "i8" if of == "b1" else _llvm(of)


_ITEMSIZE = {"b1": 1}


def _itemsize(of: Type) -> int:
    return _ITEMSIZE.get(of) or int(of[1:]) // 8


def _literal(value: float, of: Type) -> str:
    if of[0] == "f":
        if of == "f32":
            with np.errstate(over="ignore"):
                value = float(np.float32(value))
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if of == "b1":
        return "true" if value else "false"
    return str(int(value))


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

ARRAYS = "local", "np.empty"
"""What makes an array of a function's own."""

PART = 150
"""How many lines of a long block are a function by itself."""


@dataclass
class Part:
    """Lines that are a function by itself.

    Attributes:
        around: the lines among which it is called.
        lines: its own.
        counting: where its loops count.
    """

    around: list[str]
    lines: list[str] = field(default_factory=list)
    counting: set[str] = field(default_factory=set)

    def function(
        self, name: str, given: Mapping[str, str], entry: Sequence[str]
    ) -> tuple[str, str]:
        """The text of a function, and of its call.

        Args:
            name: what it is called.
            given: what it may be given, with its type, by its name.
            entry: where the variables are made of what it is a part of.
        """
        text = "\n".join(self.lines)
        jumps = set(re.findall(r"label (%[\w.]+)", text))
        made = set(re.findall(r"^(%[\w.]+) = ", text, re.MULTILINE))
        said = dict.fromkeys(re.findall(r"%[\w.]+", text))
        needs = [one for one in said if one not in jumps | made | self.counting]
        args = ", ".join(given[one] for one in needs)
        own = [line for line in entry if line.split(" = ")[0] in self.counting]
        lines = [f"define internal void @{name}({args}) noinline {{", *own, text, "ret void", "}"]
        return "\n".join(lines), f"call void @{name}({args})"


class Function:
    """A function under way.

    Long, since it is all that a line of a text can be.

    Args:
        module: what there is besides.
        declared: what is used of LLVM's and the C library's, by its text.
        made: the functions that are called, by how they are called.

    Attributes:
        divisible: whether a long block of it is several functions.
    """

    divisible = False

    def __init__(self, module: Module, declared: dict[str, None], made: Made) -> None:
        self.module, self.declared, self.made = module, declared, made
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.variables: dict[str, Value] = {}
        self.places: dict[str, Place] = {}
        self.scratch: list[tuple[str, int]] = []
        self.result: Value | None = None
        self.parts: list[Part] = []
        self._part: Part | None = None
        self._count = 0
        self._index = 0

    # ---- texts

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
        given = ", ".join(_llvm(arg.type) for arg in args)
        self.declared[f"declare {_llvm(of)} @{name}({given})"] = None
        return self.put(of, f"call {_llvm(of)} @{name}({', '.join(a.said for a in args)})")

    # ---- types

    def cast(self, value: Value, to: Type) -> Value:
        """A number as one of another type."""
        if value.type == to:
            return replace(value, weak=False)
        if value.weak and value.name[0] != "%":
            number = _number(value)
            if to[0] == "f" or number == int(number):
                return Value(to, _literal(number, to))
        one, other = value.type[0], to[0]
        if to == "b1":
            zero = _literal(0, value.type)
            how = "fcmp une" if one == "f" else "icmp ne"
            return self.put(to, f"{how} {value.said}, {zero}")
        if one == "f" and other == "f":
            how = "fptrunc" if to == "f32" else "fpext"
        elif one == "f" and (_bits(to) < 32 or to == "u32"):
            # As NumPy: what is beyond it, such as what is below 0, is cut to its bits.
            return self.cast(self.cast(value, "i64" if to == "u32" else "i32"), to)
        elif one == "f":
            sign = "s" if other == "i" else "u"
            found = self.put(to, f"fpto{sign}i {value.said} to {_llvm(to)}")
            return self.put(to, f"freeze {found.said}")  # of NaN: what the processor makes of it
        elif other == "f":
            how = "uitofp" if one in "bu" else "sitofp"
        elif _bits(value.type) == _bits(to):
            return Value(to, value.name)
        elif _bits(value.type) > _bits(to):
            how = "trunc"
        else:
            how = "sext" if one == "i" else "zext"
        return self.put(to, f"{how} {value.said} to {_llvm(to)}")

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

    # ---- expressions

    def value(self, node: ast.expr) -> Value:
        """What an expression gives."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise Untraceable(f"{ast.unparse(node)} has no machine code")
        found: Value = method(node)
        return found

    def _constant(self, node: ast.Constant) -> Value:
        return self._of(node.value)

    def _of(self, value: Any) -> Value:
        """A number that is known."""
        if isinstance(value, np.generic):
            of = type_of(value.dtype)
            return Value(of, _literal(value.item(), of))
        if not isinstance(value, (bool, int, float)):
            raise Untraceable(f"{value!r} has no machine code")
        of = {bool: "b1", int: "i64", float: "f64"}[type(value)]
        return Value(of, _literal(value, of), weak=of != "b1")

    def _name(self, node: ast.Name) -> Value:
        if node.id in self.variables:
            place = self.variables[node.id]
            return self.put(place.type, f"load {_llvm(place.type)}, ptr {place.name}")
        if node.id not in self.module.numbers:
            raise Untraceable(f"{node.id} is not known")
        return self._of(self.module.numbers[node.id])

    def _attribute(self, node: ast.Attribute) -> Value:
        assert isinstance(node.value, ast.Name)
        return self._of(getattr(self.module.numbers[node.value.id], node.attr))

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return self.put("b1", f"xor {self.cast(value, 'b1').said}, true")
        if isinstance(node.op, ast.USub):
            if value.weak and value.name[0] != "%":
                return Value(value.type, _literal(-_number(value), value.type), True)
            if value.type[0] == "f":
                return self.put(value.type, f"fneg {value.said}")
            value = self._whole(value)
            return self.put(value.type, f"sub {_llvm(value.type)} 0, {value.name}")
        if isinstance(node.op, ast.Invert):
            if value.type == "b1":
                return self.put("b1", f"xor {value.said}, true")
            value = self._whole(value)
            return self.put(value.type, f"xor {value.said}, -1")
        return value

    def _whole(self, value: Value) -> Value:
        """A whole number as it is computed with."""
        return self.cast(value, "u64" if value.type == "u64" else "i64")

    def _binop(self, node: ast.BinOp) -> Value:
        return self.two(node.op, self.value(node.left), self.value(node.right))

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
            wrap = "nsw " if self._index else ""
            return self.put(a.type, f"{name} {wrap}{a.said}, {b.name}")
        if isinstance(op, ast.Div):
            return self.put(a.type, f"fdiv {CONTRACT}{a.said}, {b.name}")
        if isinstance(op, ast.Pow):
            if a.type[0] != "f":
                raise Untraceable("a power of whole numbers has no machine code")
            return self.call(a.type, _library("pow", a.type), a, b)
        if isinstance(op, (ast.Mod, ast.FloorDiv)):
            parts = _float_parts if a.type[0] == "f" else _whole_parts
            return parts(self, a, b)[isinstance(op, ast.Mod)]
        if a.type[0] == "f":
            raise Untraceable("bits of floats have no machine code")
        if type(op) in _BITS:
            return self.put(a.type, f"{_BITS[type(op)]} {a.said}, {b.name}")
        if isinstance(op, (ast.LShift, ast.RShift)):
            return _shifted(self, op, a, b)
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

    def _compare(self, node: ast.Compare) -> Value:
        values = [self.value(one) for one in (node.left, *node.comparators)]
        found = [
            self.compare(type(op), a, b)
            for op, a, b in zip(node.ops, values[:-1], values[1:], strict=True)
        ]
        return self._all("and", found)

    def _boolop(self, node: ast.BoolOp) -> Value:
        how = "and" if isinstance(node.op, ast.And) else "or"
        return self._all(how, [self.cast(self.value(one), "b1") for one in node.values])

    def _all(self, how: str, found: Sequence[Value]) -> Value:
        first, *rest = found
        for other in rest:
            first = self.put("b1", f"{how} {first.said}, {other.name}")
        return first

    def _ifexp(self, node: ast.IfExp) -> Value:
        truth = self.cast(self.value(node.test), "b1")
        return self.select(truth, self.value(node.body), self.value(node.orelse))

    def select(self, truth: Value, yes: Value, no: Value) -> Value:
        """One of two, both of which are computed."""
        if yes.type != no.type:
            yes, no = self.together(yes, no)
        return self.put(yes.type, f"select {truth.said}, {yes.said}, {no.said}")

    def _subscript(self, node: ast.Subscript) -> Value:
        place, at = self._element(node)
        if place.type == "b1":
            byte = self.put("u8", f"load i8, ptr {at}")
            return self.put("b1", f"icmp ne i8 {byte.name}, 0")
        return self.put(place.type, f"load {_llvm(place.type)}, ptr {at}")

    def _element(self, node: ast.Subscript) -> tuple[Place, str]:
        """An array, and where in memory one of its elements lies."""
        if not isinstance(node.value, ast.Name) or node.value.id not in self.places:
            raise Untraceable(f"{ast.unparse(node)} has no machine code")
        place = self.places[node.value.id]
        slices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(slices) != len(place.strides) + 1:
            raise Untraceable(f"{ast.unparse(node)} has no machine code")
        self._index += 1
        *first, at = [self.cast(self.value(one), "i64") for one in slices]
        for i, stride in zip(first, place.strides, strict=True):
            far = self.put("i64", f"mul nsw {i.said}, {stride}")
            at = self.put("i64", f"add nsw {at.said}, {far.name}")
        self._index -= 1
        text = f"getelementptr inbounds {_stored(place.type)}, ptr {place.name}, {at.said}"
        return place, self.put("i64", text).name

    # ---- calls

    def _call(self, node: ast.Call) -> Value:
        *_, name = ast.unparse(node.func).split(".")
        args = [self.value(arg) for arg in node.args]
        if name in ("float", "int"):
            return self.cast(args[0], "f64" if name == "float" else "i64")
        if name in ("min", "max"):
            first, *rest = args
            for other in rest:
                a, b = self.together(first, other)
                op = ast.Lt if name == "min" else ast.Gt
                first = self.select(self.compare(op, b, a), b, a)
            return first
        if name in _CALLS:
            return _CALLS[name](self, *args)
        if name in INTRINSICS or name in LIBRARY:
            return self._of_floats(name, args)
        if name in self.module.functions:
            return self._own(name, args)
        try:
            to = type_of(getattr(np, name))
        except (AttributeError, TypeError):
            raise Untraceable(f"{name} has no machine code") from None
        return self.cast(args[0], to)

    def _of_floats(self, name: str, args: list[Value]) -> Value:
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
        return self.call(first.type, _library(name, first.type), first, *rest)

    def _own(self, name: str, args: list[Value]) -> Value:
        """What a function of `elementary` gives, of which there is one for each type."""
        args = [replace(arg, weak=False) for arg in args]
        key = ".".join([name, *(arg.type for arg in args)])
        if key not in self.made:
            within = Function(self.module, self.declared, self.made)
            node = self.module.functions[name]
            names = [arg.arg for arg in node.args.args]
            for given, arg in zip(names, args, strict=True):
                within.variable(given, Value(arg.type, f"%{given}"))
            within.block(node.body)
            assert within.result is not None
            given = ", ".join(f"{_llvm(arg.type)} %{n}" for n, arg in zip(names, args, strict=True))
            text = [
                f"define internal {_llvm(within.result.type)} @{key}({given}) alwaysinline {{",
                *within.entry,
                *within.lines,
                f"ret {within.result.said}",
                "}",
            ]
            self.made[key] = within.result.type, "\n".join(text)
        of, _ = self.made[key]
        return self.put(of, f"call {_llvm(of)} @{key}({', '.join(arg.said for arg in args)})")

    # ---- statements

    def variable(self, name: str, value: Value) -> None:
        """Give a variable a value."""
        if name in self.variables:
            value = self.cast(value, self.variables[name].type)
        else:
            place = f"%{_safe(name)}.place"
            self.entry.append(f"{place} = alloca {_llvm(value.type)}")
            self.variables[name] = Value(value.type, place)
        self.lines.append(f"store {value.said}, ptr {self.variables[name].name}")

    def divided(self, nodes: Sequence[ast.stmt]) -> None:
        """A long block: some statements after the other are a function by itself, since LLVM takes
        four times as long for one that is twice as long.
        """
        lines = 0
        for node in nodes:
            length = 1 + (node.end_lineno or 0) - node.lineno
            inline = length > PART or _makes_array(node)
            if self._part is not None and (inline or lines + length > PART):
                self.lines, self._part = self._part.around, None
            if self._part is None and not inline:
                self._part, lines = Part(self.lines), 0
                self.lines.append(f"; {len(self.parts)}")
                self.parts.append(self._part)
                self.lines = self._part.lines
            lines += length
            self.block([node])
        if self._part is not None:
            self.lines, self._part = self._part.around, None

    def block(self, nodes: Sequence[ast.stmt]) -> None:
        """Statement by statement."""
        length = 1 + (nodes[-1].end_lineno or 0) - nodes[0].lineno if len(nodes) > 1 else 0
        if self.divisible and length > LONG and self._part is None:
            self.divided(nodes)
            return
        for node in nodes:
            if isinstance(node, ast.Assign):
                self._assign(node)
            elif isinstance(node, ast.AugAssign):
                before = self.value(node.target)
                self._store(node.target, self.two(node.op, before, self.value(node.value)))
            elif isinstance(node, ast.For):
                self._loop(node)
            elif isinstance(node, ast.If):
                self._if(node)
            elif isinstance(node, ast.Return) and node.value is not None:
                self.result = self.value(node.value)
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                raise Untraceable(f"{ast.unparse(node)} has no machine code")

    def _assign(self, node: ast.Assign) -> None:
        (target,), value = node.targets, node.value
        if _makes_array(node):
            assert isinstance(target, ast.Name) and isinstance(value, ast.Call)
            self._array(target.id, ast.unparse(value.func), value)
        elif not isinstance(target, ast.Tuple):
            self._store(target, self.value(value))
        else:
            found: Sequence[Value]
            if isinstance(value, ast.Call):
                found = _threefry(self, *[self.value(arg) for arg in value.args])
            else:
                assert isinstance(value, ast.Tuple)
                found = [self.value(one) for one in value.elts]
            for one, each in zip(target.elts, found, strict=True):
                self._store(one, each)

    def _store(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.variable(target.id, value)
            return
        assert isinstance(target, ast.Subscript)
        place, at = self._element(target)
        value = self.cast(value, place.type)
        if place.type == "b1":
            value = self.put("u8", f"zext {value.said} to i8")
        self.lines.append(f"store {value.said}, ptr {at}")

    def _array(self, name: str, how: str, node: ast.Call) -> None:
        """An array of the function's own: on the stack, or in memory that it is given."""
        name, own = _safe(name), name
        size, of = ast.literal_eval(node.args[0]), type_of(self._dtype(node.args[1]))
        self.places[own] = Place(of, f"%{name}.array")
        if how == "local":
            self.entry.append(f"%{name}.array = alloca [{size} x {_stored(of)}], align {ALIGNED}")
        else:
            self.scratch.append((name, size * _itemsize(of)))

    def _dtype(self, node: ast.expr) -> Any:
        assert isinstance(node, ast.Attribute)
        return getattr(np, node.attr)

    def _if(self, node: ast.If) -> None:
        yes, no = self.new("yes"), self.new("no")
        truth = self.cast(self.value(node.test), "b1")
        end = self.new("end") if node.orelse else no
        self.choose(truth, yes, no)
        self.label(yes)
        self.block(node.body)
        self.jump(end)
        if node.orelse:
            self.label(no)
            self.block(node.orelse)
            self.jump(end)
        self.label(end)

    def _loop(self, node: ast.For) -> None:
        assert isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Call)
        bounds = [self.cast(self.value(arg), "i64") for arg in node.iter.args]
        if len(bounds) == 1:
            bounds.insert(0, Value("i64", "0"))
        start, stop, step = (*bounds, Value("i64", "1"))[:3]
        name, stem = node.target.id, self.new("loop")
        self.variable(name, start)
        place = self.variables[name].name
        if self._part is not None:
            self._part.counting.add(place)
        self.jump(f"{stem}.head")
        self.label(f"{stem}.head")
        now = self.put("i64", f"load i64, ptr {place}")
        truth = self.put("b1", f"icmp slt {now.said}, {stop.name}")
        self.choose(truth, f"{stem}.body", f"{stem}.end")
        self.label(f"{stem}.body")
        self.block(node.body)
        now = self.put("i64", f"load i64, ptr {place}")
        after = self.put("i64", f"add nsw {now.said}, {step.name}")
        self.lines.append(f"store {after.said}, ptr {place}")
        self.jump(f"{stem}.head")
        self.label(f"{stem}.end")


ALIGNED = 64
"""What arrays of a function's own are aligned to."""


def _makes_array(node: ast.stmt) -> bool:
    """Whether a line makes an array of the function's own."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return False
    return ast.unparse(node.value.func) in ARRAYS


def _bits(of: Type) -> int:
    return int(of[1:])


def _number(value: Value) -> float:
    """What a number in figures is."""
    if value.type[0] == "f":
        found: float = struct.unpack("<d", struct.pack("<Q", int(value.name, 16)))[0]
        return found
    return int(value.name)


def _library(name: str, of: Type) -> str:
    return f"{name}f" if of == "f32" else name


# ---- what is not an instruction


def _reinterpreted(of: Type, to: Type) -> Callable[[Function, Value], Value]:
    def reinterpret(f: Function, x: Value) -> Value:
        return f.put(to, f"bitcast {f.cast(x, of).said} to {_llvm(to)}")

    return reinterpret


def _isnan(f: Function, x: Value) -> Value:
    return f.compare(ast.NotEq, x, x)


def _isinf(f: Function, x: Value) -> Value:
    if x.type[0] != "f":
        return Value("b1", "false")
    return f.compare(ast.Eq, f._of_floats("abs", [x]), f._of(math.inf))


def _isfinite(f: Function, x: Value) -> Value:
    if x.type[0] != "f":
        return Value("b1", "true")
    return f.compare(ast.Lt, f._of_floats("abs", [x]), f._of(math.inf))


def _signbit(f: Function, x: Value) -> Value:
    if x.type[0] == "f":
        of = f"i{x.type[1:]}"
        x = f.put(of, f"bitcast {x.said} to {_llvm(of)}")
    return f.compare(ast.Lt, x, Value("i64", "0", True))


def _sign(f: Function, x: Value) -> Value:
    zero, one = f.cast(f._of(0), x.type), f.cast(f._of(1), x.type)
    less = f.cast(f._of(-1), x.type)
    other = f.select(f.compare(ast.Lt, x, zero), less, x)
    return f.select(f.compare(ast.Gt, x, zero), one, other)


def _shifted(f: Function, op: ast.LShift | ast.RShift, a: Value, b: Value) -> Value:
    """Bits that are shifted, as NumPy has them: by as many as there are or more, none is left."""
    of, keeps_sign = a.type, isinstance(op, ast.RShift) and a.type[0] == "i"
    name = "ashr" if keeps_sign else "lshr" if isinstance(op, ast.RShift) else "shl"
    if b.name[0] != "%" and 0 <= int(b.name) < 64:
        return f.put(of, f"{name} {a.said}, {b.name}")
    inside = f.put("b1", f"icmp ult {b.said}, 64")  # and what is below 0 is beyond all
    by = f.select(inside, b, f.cast(f._of(63), of))
    shifted = f.put(of, f"{name} {a.said}, {by.name}")
    return shifted if keeps_sign else f.select(inside, shifted, f.cast(f._of(0), of))


def _float_parts(f: Function, a: Value, b: Value) -> tuple[Value, Value]:
    """Quotient and remainder of floats, as NumPy has them."""
    zero, one = f.cast(f._of(0.0), a.type), f.cast(f._of(1.0), a.type)
    rest = f.call(a.type, _library("fmod", a.type), a, b)
    quotient = f.two(ast.Div(), f.two(ast.Sub(), a, rest), b)
    apart = f.compare(ast.NotEq, f.compare(ast.Lt, b, zero), f.compare(ast.Lt, rest, zero))
    some = f.compare(ast.NotEq, rest, zero)
    turned = f._all("and", [some, apart])
    with_sign = f.call(a.type, f"llvm.copysign.{a.type}", zero, b)
    remainder = f.select(turned, f.two(ast.Add(), rest, b), f.select(some, rest, with_sign))
    quotient = f.select(turned, f.two(ast.Sub(), quotient, one), quotient)
    whole = f.call(a.type, f"llvm.floor.{a.type}", quotient)
    far = f.compare(ast.Gt, f.two(ast.Sub(), quotient, whole), f.cast(f._of(0.5), a.type))
    whole = f.select(far, f.two(ast.Add(), whole, one), whole)
    nothing = f.call(a.type, f"llvm.copysign.{a.type}", zero, f.two(ast.Div(), a, b))
    whole = f.select(f.compare(ast.NotEq, quotient, zero), whole, nothing)
    by_zero = f.compare(ast.Eq, b, zero)
    return f.select(by_zero, f.two(ast.Div(), a, b), whole), remainder


def _whole_parts(f: Function, a: Value, b: Value) -> tuple[Value, Value]:
    """Quotient and remainder of whole numbers, as NumPy has them: by 0 they are 0."""
    sign, of = "s" if a.type[0] == "i" else "u", a.type
    zero, one, minus = (f.cast(f._of(n), of) for n in (0, 1, -1))
    none = f.compare(ast.Eq, b, zero)
    by = f.select(none, one, b)
    if sign == "s":  # the least of all by -1 has no quotient
        by = f.select(f.compare(ast.Eq, b, minus), one, by)
    quotient = f.put(of, f"{sign}div {a.said}, {by.name}")
    rest = f.put(of, f"{sign}rem {a.said}, {by.name}")
    if sign == "s":
        apart = f.compare(ast.NotEq, f.compare(ast.Lt, by, zero), f.compare(ast.Lt, rest, zero))
        turned = f._all("and", [f.compare(ast.NotEq, rest, zero), apart])
        quotient = f.select(turned, f.put(of, f"sub {quotient.said}, 1"), quotient)
        rest = f.select(turned, f.put(of, f"add {rest.said}, {by.name}"), rest)
        negative = f.put(of, f"sub {_llvm(of)} 0, {a.name}")
        quotient = f.select(f.compare(ast.Eq, b, minus), negative, quotient)
    return f.select(none, zero, quotient), f.select(none, zero, rest)


def _threefry(f: Function, *given: Value) -> tuple[Value, Value]:
    """Threefry-2x32-20, as `xpnet.noise.threefry`."""

    def put(text: str) -> Value:
        return f.put("u32", text)

    k0, k1, a, b = (f.cast(value, "u32") for value in given)
    both = put(f"xor {k0.said}, {k1.name}")
    keys = k0, k1, put(f"xor {both.said}, {PARITY}")
    a, b = put(f"add {a.said}, {k0.name}"), put(f"add {b.said}, {k1.name}")
    for i in range(ROUNDS):
        turn = ROTATIONS[i % 8]
        a = put(f"add {a.said}, {b.name}")
        left, right = put(f"shl {b.said}, {turn}"), put(f"lshr {b.said}, {32 - turn}")
        turned = put(f"or {left.said}, {right.name}")
        b = put(f"xor {turned.said}, {a.name}")
        if i % 4 == 3:
            n = i // 4 + 1
            a = put(f"add {a.said}, {keys[n % 3].name}")
            b = put(f"add {b.said}, {keys[(n + 1) % 3].name}")
            b = put(f"add {b.said}, {n}")
    return a, b


_CALLS: Mapping[str, Callable[..., Value]] = {
    "bits_64": _reinterpreted("f64", "i64"),
    "real_64": _reinterpreted("i64", "f64"),
    "bits_32": _reinterpreted("f32", "i32"),
    "real_32": _reinterpreted("i32", "f32"),
    "isnan": _isnan,
    "isinf": _isinf,
    "isfinite": _isfinite,
    "signbit": _signbit,
    "sign": _sign,
}


# ---- a whole function


def lowered(module: Module, name: str, parameters: Sequence[Parameter]) -> str:
    """A function in LLVM's language, and what it calls.

    It is given an array of words: for each parameter its number, or where the array begins and how
    far the elements of its first axes are apart; and then where memory of its own is, of which
    ``NAME.scratch()`` says how many bytes.

    Raises:
        Untraceable: if something in it has no machine code.
    """
    declared: dict[str, None] = {}
    made: Made = {}
    f = Function(module, declared, made)
    head: list[str] = []
    given: list[tuple[str, str]] = []

    def word(of: str) -> str:
        at, found = f"%word{len(head)}", f"%given{len(given)}"
        head.append(f"{at} = getelementptr inbounds i64, ptr %words, i64 {len(given)}")
        head.append(f"{found} = load {of}, ptr {at}")
        return found

    for parameter in parameters:
        own = f"%{_safe(parameter.name)}.given"
        if not parameter.ndim:
            of = _llvm(parameter.type)
            given.append((f"{of} {own}", f"{of} {word(of)}"))
            f.variable(parameter.name, Value(parameter.type, own))
            continue
        strides = []
        given.append((f"ptr noalias {own}", f"ptr {word('ptr')}"))
        for axis in range(parameter.ndim - 1):
            strides.append(f"{own}.{axis}")
            given.append((f"i64 {strides[-1]}", f"i64 {word('i64')}"))
        f.places[parameter.name] = Place(parameter.type, own, tuple(strides))
    f.divisible = True
    f.block(module.functions[name].body)
    words, nbytes = [said for _, said in given], 0
    memory = word("ptr")
    names = [said for said, _ in given]
    for array, size in f.scratch:
        names.append(f"ptr noalias align {ALIGNED} %{array}.array")
        head.append(f"%{array}.memory = getelementptr inbounds i8, ptr {memory}, i64 {nbytes}")
        words.append(f"ptr %{array}.memory")
        nbytes += -(-size // ALIGNED) * ALIGNED
    known = {said.split()[-1]: said for said in names}
    known |= {(place := line.split()[0]): f"ptr noalias {place}" for line in f.entry}
    parts = []
    for i, part in enumerate(f.parts):
        text, call = part.function(f"{name}.part{i}", known, f.entry)
        parts.append(text)
        f.lines[f.lines.index(f"; {i}")] = call
    return "\n".join(
        [
            *declared,
            *(text for _, text in made.values()),
            *parts,
            f"define internal void @{name}.body({', '.join(names)}) {{",
            *f.entry,
            *f.lines,
            "ret void",
            "}",
            f"define void @{name}(ptr %words) {{",
            *head,
            f"call void @{name}.body({', '.join(words)})",
            "ret void",
            "}",
            f"define i64 @{name}.scratch() {{",
            f"ret i64 {nbytes}",
            "}",
        ]
    )
