"""What takes several instructions: quotients, shifts and signs as NumPy has them, Threefry."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from xpnet.compiler.native.values import Type, Value, library, llvm
from xpnet.noise import PARITY, ROTATIONS, ROUNDS

if TYPE_CHECKING:
    from xpnet.compiler.native.instructions import Instructions


def _reinterpreted(of: Type, to: Type) -> Callable[[Instructions, Value], Value]:
    def reinterpret(f: Instructions, x: Value) -> Value:
        return f.put(to, f"bitcast {f.cast(x, of).said} to {llvm(to)}")

    return reinterpret


def _isnan(f: Instructions, x: Value) -> Value:
    return f.compare(ast.NotEq, x, x)


def _isinf(f: Instructions, x: Value) -> Value:
    if x.type[0] != "f":
        return Value("b1", "false")
    return f.compare(ast.Eq, f.of_floats("abs", [x]), f.known(math.inf))


def _isfinite(f: Instructions, x: Value) -> Value:
    if x.type[0] != "f":
        return Value("b1", "true")
    return f.compare(ast.Lt, f.of_floats("abs", [x]), f.known(math.inf))


def _signbit(f: Instructions, x: Value) -> Value:
    if x.type[0] == "f":
        of = f"i{x.type[1:]}"
        x = f.put(of, f"bitcast {x.said} to {llvm(of)}")
    return f.compare(ast.Lt, x, Value("i64", "0", True))


def _sign(f: Instructions, x: Value) -> Value:
    zero, one = f.cast(f.known(0), x.type), f.cast(f.known(1), x.type)
    less = f.cast(f.known(-1), x.type)
    other = f.select(f.compare(ast.Lt, x, zero), less, x)
    return f.select(f.compare(ast.Gt, x, zero), one, other)


def shifted(f: Instructions, op: ast.LShift | ast.RShift, a: Value, b: Value) -> Value:
    """Bits that are shifted, as NumPy has them: by as many as there are or more, none is left."""
    of, keeps_sign = a.type, isinstance(op, ast.RShift) and a.type[0] == "i"
    name = "ashr" if keeps_sign else "lshr" if isinstance(op, ast.RShift) else "shl"
    if b.name[0] != "%" and 0 <= int(b.name) < 64:
        return f.put(of, f"{name} {a.said}, {b.name}")
    inside = f.put("b1", f"icmp ult {b.said}, 64")  # and what is below 0 is beyond all
    by = f.select(inside, b, f.cast(f.known(63), of))
    shifted = f.put(of, f"{name} {a.said}, {by.name}")
    return shifted if keeps_sign else f.select(inside, shifted, f.cast(f.known(0), of))


def float_parts(f: Instructions, a: Value, b: Value) -> tuple[Value, Value]:
    """Quotient and remainder of floats, as NumPy has them."""
    zero, one = f.cast(f.known(0.0), a.type), f.cast(f.known(1.0), a.type)
    rest = f.call(a.type, library("fmod", a.type), a, b)
    quotient = f.two(ast.Div(), f.two(ast.Sub(), a, rest), b)
    apart = f.compare(ast.NotEq, f.compare(ast.Lt, b, zero), f.compare(ast.Lt, rest, zero))
    some = f.compare(ast.NotEq, rest, zero)
    turned = f.all("and", [some, apart])
    with_sign = f.call(a.type, f"llvm.copysign.{a.type}", zero, b)
    remainder = f.select(turned, f.two(ast.Add(), rest, b), f.select(some, rest, with_sign))
    quotient = f.select(turned, f.two(ast.Sub(), quotient, one), quotient)
    whole = f.call(a.type, f"llvm.floor.{a.type}", quotient)
    far = f.compare(ast.Gt, f.two(ast.Sub(), quotient, whole), f.cast(f.known(0.5), a.type))
    whole = f.select(far, f.two(ast.Add(), whole, one), whole)
    nothing = f.call(a.type, f"llvm.copysign.{a.type}", zero, f.two(ast.Div(), a, b))
    whole = f.select(f.compare(ast.NotEq, quotient, zero), whole, nothing)
    by_zero = f.compare(ast.Eq, b, zero)
    return f.select(by_zero, f.two(ast.Div(), a, b), whole), remainder


def whole_parts(f: Instructions, a: Value, b: Value) -> tuple[Value, Value]:
    """Quotient and remainder of whole numbers, as NumPy has them: by 0 they are 0."""
    sign, of = "s" if a.type[0] == "i" else "u", a.type
    zero, one, minus = (f.cast(f.known(n), of) for n in (0, 1, -1))
    none = f.compare(ast.Eq, b, zero)
    by = f.select(none, one, b)
    if sign == "s":  # the least of all by -1 has no quotient
        by = f.select(f.compare(ast.Eq, b, minus), one, by)
    quotient = f.put(of, f"{sign}div {a.said}, {by.name}")
    rest = f.put(of, f"{sign}rem {a.said}, {by.name}")
    if sign == "s":
        apart = f.compare(ast.NotEq, f.compare(ast.Lt, by, zero), f.compare(ast.Lt, rest, zero))
        turned = f.all("and", [f.compare(ast.NotEq, rest, zero), apart])
        quotient = f.select(turned, f.put(of, f"sub {quotient.said}, 1"), quotient)
        rest = f.select(turned, f.put(of, f"add {rest.said}, {by.name}"), rest)
        negative = f.put(of, f"sub {llvm(of)} 0, {a.name}")
        quotient = f.select(f.compare(ast.Eq, b, minus), negative, quotient)
    return f.select(none, zero, quotient), f.select(none, zero, rest)


def threefry(f: Instructions, *given: Value) -> tuple[Value, Value]:
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


CALLS: Mapping[str, Callable[..., Value]] = {
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
