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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import elementary
from xpnet.compiler.native.choice import LONG
from xpnet.compiler.native.computed import CALLS, threefry
from xpnet.compiler.native.instructions import INTRINSICS, LIBRARY, Instructions
from xpnet.compiler.native.values import (
    ALIGNED,
    Place,
    Type,
    Value,
    itemsize,
    literal,
    llvm,
    number,
    safe,
    stored,
    type_of,
)

Made = dict[str, tuple[Type, str]]
"""Functions by how they are called: what they give, and their text."""


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


class Function(Instructions):
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
        super().__init__(declared)
        self.module, self.made = module, made
        self.entry: list[str] = []
        self.variables: dict[str, Value] = {}
        self.places: dict[str, Place] = {}
        self.scratch: list[tuple[str, int]] = []
        self.result: Value | None = None
        self.parts: list[Part] = []
        self._part: Part | None = None

    # ---- expressions

    def value(self, node: ast.expr) -> Value:
        """What an expression gives."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise Untraceable(f"{ast.unparse(node)} has no machine code")
        found: Value = method(node)
        return found

    def _constant(self, node: ast.Constant) -> Value:
        return self.known(node.value)

    def _name(self, node: ast.Name) -> Value:
        if node.id in self.variables:
            place = self.variables[node.id]
            return self.put(place.type, f"load {llvm(place.type)}, ptr {place.name}")
        if node.id not in self.module.numbers:
            raise Untraceable(f"{node.id} is not known")
        return self.known(self.module.numbers[node.id])

    def _attribute(self, node: ast.Attribute) -> Value:
        assert isinstance(node.value, ast.Name)
        return self.known(getattr(self.module.numbers[node.value.id], node.attr))

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return self.put("b1", f"xor {self.cast(value, 'b1').said}, true")
        if isinstance(node.op, ast.USub):
            if value.weak and value.name[0] != "%":
                return Value(value.type, literal(-number(value), value.type), True)
            if value.type[0] == "f":
                return self.put(value.type, f"fneg {value.said}")
            value = self.whole(value)
            return self.put(value.type, f"sub {llvm(value.type)} 0, {value.name}")
        if isinstance(node.op, ast.Invert):
            if value.type == "b1":
                return self.put("b1", f"xor {value.said}, true")
            value = self.whole(value)
            return self.put(value.type, f"xor {value.said}, -1")
        return value

    def _binop(self, node: ast.BinOp) -> Value:
        return self.two(node.op, self.value(node.left), self.value(node.right))

    def _compare(self, node: ast.Compare) -> Value:
        values = [self.value(one) for one in (node.left, *node.comparators)]
        found = [
            self.compare(type(op), a, b)
            for op, a, b in zip(node.ops, values[:-1], values[1:], strict=True)
        ]
        return self.all("and", found)

    def _boolop(self, node: ast.BoolOp) -> Value:
        how = "and" if isinstance(node.op, ast.And) else "or"
        return self.all(how, [self.cast(self.value(one), "b1") for one in node.values])

    def _ifexp(self, node: ast.IfExp) -> Value:
        truth = self.cast(self.value(node.test), "b1")
        return self.select(truth, self.value(node.body), self.value(node.orelse))

    def _subscript(self, node: ast.Subscript) -> Value:
        place, at = self._element(node)
        if place.type == "b1":
            byte = self.put("u8", f"load i8, ptr {at}")
            return self.put("b1", f"icmp ne i8 {byte.name}, 0")
        return self.put(place.type, f"load {llvm(place.type)}, ptr {at}")

    def _element(self, node: ast.Subscript) -> tuple[Place, str]:
        """An array, and where in memory one of its elements lies."""
        if not isinstance(node.value, ast.Name) or node.value.id not in self.places:
            raise Untraceable(f"{ast.unparse(node)} has no machine code")
        place = self.places[node.value.id]
        slices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(slices) != len(place.strides) + 1:
            raise Untraceable(f"{ast.unparse(node)} has no machine code")
        self.index += 1
        *first, at = [self.cast(self.value(one), "i64") for one in slices]
        for i, stride in zip(first, place.strides, strict=True):
            far = self.put("i64", f"mul nsw {i.said}, {stride}")
            at = self.put("i64", f"add nsw {at.said}, {far.name}")
        self.index -= 1
        text = f"getelementptr inbounds {stored(place.type)}, ptr {place.name}, {at.said}"
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
        if name in CALLS:
            return CALLS[name](self, *args)
        if name in INTRINSICS or name in LIBRARY:
            return self.of_floats(name, args)
        if name in self.module.functions:
            return self._own(name, args)
        try:
            to = type_of(getattr(np, name))
        except (AttributeError, TypeError):
            raise Untraceable(f"{name} has no machine code") from None
        return self.cast(args[0], to)

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
            given = ", ".join(f"{llvm(arg.type)} %{n}" for n, arg in zip(names, args, strict=True))
            text = [
                f"define internal {llvm(within.result.type)} @{key}({given}) alwaysinline {{",
                *within.entry,
                *within.lines,
                f"ret {within.result.said}",
                "}",
            ]
            self.made[key] = within.result.type, "\n".join(text)
        of, _ = self.made[key]
        return self.put(of, f"call {llvm(of)} @{key}({', '.join(arg.said for arg in args)})")

    # ---- statements

    def variable(self, name: str, value: Value) -> None:
        """Give a variable a value."""
        if name in self.variables:
            value = self.cast(value, self.variables[name].type)
        else:
            place = f"%{safe(name)}.place"
            self.entry.append(f"{place} = alloca {llvm(value.type)}")
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
                found = threefry(self, *[self.value(arg) for arg in value.args])
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
        name, own = safe(name), name
        size, of = ast.literal_eval(node.args[0]), type_of(self._dtype(node.args[1]))
        self.places[own] = Place(of, f"%{name}.array")
        if how == "local":
            self.entry.append(f"%{name}.array = alloca [{size} x {stored(of)}], align {ALIGNED}")
        else:
            self.scratch.append((name, size * itemsize(of)))

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


def _makes_array(node: ast.stmt) -> bool:
    """Whether a line makes an array of the function's own."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return False
    return ast.unparse(node.value.func) in ARRAYS


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
        own = f"%{safe(parameter.name)}.given"
        if not parameter.ndim:
            of = llvm(parameter.type)
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
