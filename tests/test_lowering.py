"""Machine code of loops: each operation, statement and dtype gives what Python and NumPy give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

from tests.loops import NAMESPACE
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import lowering
from xpnet.compiler.native.compiled import folder, text_of
from xpnet.compiler.native.machine import Call
from xpnet.compiler.writers.loop_calls import EXPRESSIONS, FUNCTIONS

pytest.importorskip("llvmlite", reason="llvmlite is not installed")


def run(text: str, *args: Any) -> None:
    """Run a function of Python's syntax as machine code."""
    file, key = text_of({}, text)
    Call(file, key, folder())(*args)


def of_each(expression: str, kind: str, *given: np.ndarray) -> np.ndarray:
    """An expression of the elements of some arrays."""
    out = np.empty(given[0].shape, kind)
    names = [f"x{i}" for i in range(len(given))]
    text = f"def run(n, out, {', '.join(names)}):\n    for i in range(n):\n        out[i] = "
    run(text + expression.format(*(f"{name}[i]" for name in names)), len(out), out, *given)
    return out


def numbers(kind: str, seed: int) -> np.ndarray:
    """Numbers of a dtype, with its ends and zeros among them."""
    rng = np.random.default_rng(seed)
    if kind == "bool":
        return rng.random(64) < 0.5
    if kind[0] == "f":
        some = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 7.0]
        return np.concatenate([some, rng.normal(size=54) * 3]).astype(kind)[rng.permutation(64)]
    low = 0 if kind[0] == "u" else -40
    return rng.integers(low, 40, 64).astype(kind)


OF_TWO = (
    *("add", "subtract", "multiply", "divide", "remainder", "floor_divide", "maximum", "minimum"),
    *("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "atan2", "hypot"),
    *("copysign", "pow"),
)
"""What NumPy has by the same name, of two floats."""

TURNED = {"atan2": "arctan2", "pow": "power"}


@pytest.mark.parametrize("name", OF_TWO)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_what_is_computed_of_two_floats_is_as_numpys(name: str, kind: str) -> None:
    a, b = numbers(kind, 1), numbers(kind, 2)
    with np.errstate(all="ignore"):
        true = getattr(np, TURNED.get(name, name))(a, b)
    found = of_each(EXPRESSIONS[name], true.dtype.name, a, b)
    if name in ("pow", "atan2", "hypot"):  # the C library's, in its last digit
        np.testing.assert_allclose(found, true, rtol=4 * np.finfo(kind).eps)
    else:
        np.testing.assert_array_equal(found, true)
        if true.dtype.kind == "f":
            numbers_alone = ~np.isnan(true)
            signs = np.signbit(found), np.signbit(true)
            np.testing.assert_array_equal(*(sign[numbers_alone] for sign in signs))


OF_ONE = (
    *("negative", "abs", "reciprocal", "sqrt", "floor", "ceil", "trunc", "round", "sign"),
    *("signbit", "isnan", "isinf", "isfinite", "logical_not", "sin", "cos", "tan", "log10", "log2"),
    *("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
)


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_what_is_computed_of_a_float_is_as_numpys(name: str, kind: str) -> None:
    x = numbers(kind, 3)
    x = x != 0 if name == "logical_not" else x
    of = name if hasattr(np, name) else f"arc{name[1:]}"
    with np.errstate(all="ignore"):
        true = getattr(np, of)(x)
    found = of_each(EXPRESSIONS[name], true.dtype.name, x)
    exact = OF_ONE.index(name) < OF_ONE.index("sin")
    rtol = 0 if exact else 4 * np.finfo(kind).eps
    np.testing.assert_allclose(found, true, rtol=rtol)


WHOLE = (
    *("add", "subtract", "multiply", "remainder", "floor_divide", "bitwise_and", "bitwise_or"),
    *("bitwise_xor", "greater", "less_equal", "equal", "maximum", "minimum"),
)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint8", "uint32", "uint64"])
def test_what_is_computed_of_whole_numbers_is_as_numpys(name: str, kind: str) -> None:
    a, b = numbers(kind, 4), numbers(kind, 5)
    a[0], b[0] = np.iinfo(kind).min, 1
    if kind[0] == "i":
        a[1], b[1] = np.iinfo(kind).min, -1
    with np.errstate(all="ignore"):
        true = getattr(np, name)(a, b)
    cast = "{}" if true.dtype.kind == "b" else f"np.{kind}({{}})"  # as writers write it
    found = of_each(cast.format(EXPRESSIONS[name]), true.dtype.name, a, b)
    np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor", "equal", "less"])
def test_what_is_computed_of_truths_is_as_numpys(name: str) -> None:
    a, b = numbers("bool", 6), numbers("bool", 7)
    true = getattr(np, name)(a, b)
    np.testing.assert_array_equal(of_each(EXPRESSIONS[name], "bool", a, b), true)


@pytest.mark.parametrize("name", ["bitwise_left_shift", "bitwise_right_shift", "bitwise_invert"])
@pytest.mark.parametrize("kind", ["int32", "int64", "uint32"])
def test_bits_are_as_numpys(name: str, kind: str) -> None:
    a, b = numbers(kind, 8), (numbers("uint8", 9) % 20).astype(kind)
    args = (a,) if name.endswith("invert") else (a, b)
    true = getattr(np, name)(*args)
    found = of_each(f"np.{kind}({EXPRESSIONS[name]})", kind, *args)
    np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("name", ["bitwise_left_shift", "bitwise_right_shift"])
@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint32", "uint64"])
def test_of_what_is_shifted_beyond_its_bits_none_are_left(name: str, kind: str) -> None:
    a = numbers(kind, 8)
    b = np.resize([7, 8, 31, 32, 63, 64, 65, 100, *([-1, -63, -64] if kind[0] == "i" else [])], 64)
    true = getattr(np, name)(a, b.astype(kind))
    found = of_each(f"np.{kind}({EXPRESSIONS[name]})", kind, a, b.astype(kind))
    np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("one", ["float32", "float64"])
@pytest.mark.parametrize("other", ["uint8", "int8", "uint16", "uint32"])
def test_a_float_beyond_a_whole_number_is_cut_to_its_bits(one: str, other: str) -> None:
    x = np.resize(np.asarray([-1.0, -2.5, -300, 300, 70000, 200, 3], one), 64)
    true = x.astype("int64").astype(other)
    np.testing.assert_array_equal(of_each(f"np.{other}({{}})", other, x), true)


KINDS = "bool", "int8", "int32", "int64", "uint8", "uint32", "float32", "float64"


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_number_becomes_one_of_another_dtype_as_numpys(one: str, other: str) -> None:
    x = numbers(one, 10)
    if one[0] == "f":  # what is beyond a dtype, each processor has its own answer to
        x = np.abs(np.where(np.isfinite(x), x, 1).astype(one))
    to = "np.bool_" if other == "bool" else f"np.{other}"
    true = x.astype(other)
    np.testing.assert_array_equal(of_each(f"{to}({{}})", other, x), true)


def test_a_choice_takes_the_one_or_the_other() -> None:
    a, b, c = numbers("bool", 11), numbers("float64", 12), numbers("float64", 13)
    found = of_each(EXPRESSIONS["where"], "float64", a, b, c)
    np.testing.assert_array_equal(found, np.where(a, b, c))


def test_a_float_of_32_bits_stays_one_beside_figures_and_not_beside_whole_numbers() -> None:
    x, n = np.array([1 / 3], np.float32), np.array([3])
    third = float(x[0])
    assert of_each("{} * 0.1", "float64", x) == float(np.float32(third) * np.float32(0.1))
    assert of_each("{} * {}", "float64", x, n) == third * 3


STATEMENTS = """
def run(n, found, x, out):
    total = 0.0
    best, place = x[0, 0], 0
    own = local(8, np.float64)
    large = np.empty(300, np.int64)
    for e in range(8):
        own[e] = 0.0
    for e in range(300):
        large[e] = e
    for i in range(n):
        for j in range(2, 7, 2):
            own[j] += x[i, j] * 2.0
            if x[i, j] > best or (x[i, j] != x[i, j] and best == best):
                best = x[i, j]
                place = i * 10 + j
        if i % 2 == 0:
            total += own[2]
        else:
            total -= own[4]
    for i in range(5, 5):
        total = -1.0
    found[0] = place
    found[1] = large[299] + (n - 1)
    out[0] = total
    out[1] = own[6]
    out[2] = best
"""


def test_statements_do_what_they_do_in_python() -> None:
    x = np.random.default_rng(0).normal(size=(6, 9))[:, 1:]  # rows that are apart
    found, out = np.zeros(2, np.int64), np.zeros(3)
    run(STATEMENTS, 6, found, x, out)
    names = dict(NAMESPACE)
    exec(STATEMENTS, names)
    true, real = np.zeros(2, np.int64), np.zeros(3)
    names["run"](6, true, x, real)
    np.testing.assert_array_equal(found, true)
    np.testing.assert_allclose(out, real, rtol=1e-15)  # products and sums are fused


@pytest.mark.parametrize(
    "text",
    [
        "x[0] = {1: 2}",
        "x[0] = x[0] @ x[1]",
        "x[0] = unknown",
        "x[0] = unknown(x[1])",
        "x[0] = x[0, 1]",
        "x[0] = n ** n",
        "while n:\n        n = n - 1",
        "x[0] = x[0] & x[1]",
    ],
)
def test_what_has_no_machine_code_is_refused(text: str) -> None:
    with pytest.raises(Untraceable):
        run(f"def run(n, x):\n    {text}\n", 1, np.zeros(2))


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 4))[:, ::2], np.zeros(3, ">f8"), np.zeros(3, "c16"), np.zeros(3, "float16")],
    ids=["strided", "turned", "complex", "half"],
)
def test_an_array_that_it_cannot_read_is_refused(array: np.ndarray) -> None:
    with pytest.raises(Untraceable):
        run("def run(x):\n    x[0] = x[0]\n", array)


@pytest.mark.parametrize("broken", ["empty", "cut", "one byte less", "changed"])
def test_what_is_kept_and_not_whole_is_made_anew(tmp_path: Path, broken: str) -> None:
    text, x = "def run(x):\n    x[0] = 5.0\n", np.zeros(1)
    file, key = text_of({}, text)
    Call(file, key, tmp_path / "first")(x)
    (kept,) = (tmp_path / "first").iterdir()
    whole = kept.read_bytes()
    there = tmp_path / "second" / kept.name
    there.parent.mkdir()
    there.write_bytes(
        {
            "empty": b"",
            "cut": whole[:40],
            "one byte less": whole[:-1],
            "changed": whole[:50] + bytes([whole[50] ^ 1]) + whole[51:],
        }[broken]
    )
    x[0] = 0
    Call(file, key, there.parent)(x)
    assert x[0] == 5
    assert there.read_bytes() == whole


DIVIDED = """
def run(n, x, whole):
    total = 0.0
    more = local(3, np.float64)
    count = whole[0]
    for k in range(n):
        for i in range(3):
            more[i] = x[i] + total + k
        best = more[0]
        at = 0
        for i in range(1, 3):
            if more[i] > best:
                best = more[i]
                at = i
        for i in range(3):
            for j in range(i):
                x[i] = x[i] * 0.5 + more[j]
        total = total * 0.25 + best
        count, at = count + at, count
    whole[0] = count
    x[0] = total
"""


@pytest.mark.parametrize("part", [1, 2, 4, 9])
def test_a_long_block_is_several_functions_that_do_the_same(
    monkeypatch: Any, tmp_path: Path, part: int
) -> None:
    monkeypatch.setattr(lowering, "LONG", 2)
    monkeypatch.setattr(lowering, "PART", part)
    text = f"{DIVIDED}    x[1] = x[1] + {part}\n"  # which no other test has compiled
    taken = [("n", "i64", 0), ("x", "f64", 1), ("whole", "i64", 1)]
    module = lowering.Module.of(text, lowering.Module.elementary())
    written = lowering.lowered(module, "run", [lowering.Parameter(*one) for one in taken])
    assert "call void @run.part1(" in written
    namespace = dict(NAMESPACE)
    exec(text, namespace)
    results = []
    for function in (Call(*text_of({}, text), tmp_path), namespace["run"]):
        x, whole = np.asarray([3.0, -1.0, 2.0]), np.asarray([5])
        function(4, x, whole)
        results.append([*x, *whole])
    np.testing.assert_allclose(*results, rtol=1e-15)


def test_where_machine_code_cannot_be_kept_nothing_is_left_behind(tmp_path: Path) -> None:
    text, x = "def run(x):\n    x[0] = 6.0\n", np.zeros(1)
    file, key = text_of({}, text)
    Call(file, key, tmp_path / "first")(x)
    (kept,) = (tmp_path / "first").iterdir()
    (tmp_path / "second" / kept.name).mkdir(parents=True)
    Call(file, key, tmp_path / "second")(x)
    assert [path.name for path in (tmp_path / "second").iterdir()] == [kept.name]


# ---- our own functions


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", FUNCTIONS[:-1])
def test_each_function_is_within_two_units_of_the_last_place(name: str, bits: int) -> None:
    dtype = np.dtype(f"float{bits}")
    rng = np.random.default_rng(1)
    wide = {"exp": 700.0, "expm1": 700.0, "tanh": 20.0}.get(name, 700.0) / (8 if bits == 32 else 1)
    x = np.concatenate(
        [rng.uniform(-wide, wide, 150), rng.normal(size=150), rng.normal(size=150) / 512]
    )
    if name == "log":
        x = np.concatenate([np.exp(rng.uniform(-wide, wide, 300)), 1 + rng.normal(size=150) / 512])
    if name == "log1p":
        x = np.concatenate([np.expm1(rng.uniform(-9, 9, 300)), rng.normal(size=150) / 512])
    x = x.astype(dtype)
    found = of_each(f"{name}_{bits}({{}})", dtype.name, x)
    with mpmath.workprec(120):
        true = [getattr(mpmath, name)(mpmath.mpf(float(value))) for value in x]
        units = [
            float(abs(mpmath.mpf(float(f)) - t) / mpmath.mpf(float(np.spacing(abs(dtype.type(t))))))
            for f, t in zip(found, true, strict=True)
        ]
    assert max(units) < 2


@pytest.mark.parametrize("name", FUNCTIONS[:-1])
def test_each_function_knows_what_is_no_number_and_what_is_beyond_all(name: str) -> None:
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e3, -1e3, -1.0, 5e-324])
    with np.errstate(all="ignore"):
        true = getattr(np, name)(ends)
    found = of_each(f"{name}_64({{}})", "float64", ends)
    np.testing.assert_allclose(found, true, rtol=1e-15, atol=1e-300)
    np.testing.assert_array_equal(
        np.signbit(found[~np.isnan(true)]), np.signbit(true[~np.isnan(true)])
    )


@pytest.mark.parametrize("bits", [32, 64])
def test_the_sum_of_two_exponentials_has_its_logarithm(bits: int) -> None:
    a, b = numbers(f"float{bits}", 14), numbers(f"float{bits}", 15)
    with np.errstate(all="ignore"):
        true = np.logaddexp(a, b)
    found = of_each(f"logaddexp_{bits}({{}}, {{}})", f"float{bits}", a, b)
    np.testing.assert_allclose(found, true, rtol=4 * np.finfo(f"float{bits}").eps)


def test_random_bits_are_threefrys() -> None:
    words = np.random.default_rng(2).integers(0, 2**32, (4, 64)).astype(np.uint32)
    out = np.zeros((2, 64), np.uint32)
    text = "    for i in range(64):\n        a, b = threefry({})\n"
    text = text.format(", ".join(f"x[{i}, i]" for i in range(4)))
    run(f"def run(out, x):\n{text}        out[0, i] = a\n        out[1, i] = b\n", out, words)
    true = [NAMESPACE["threefry"](*column) for column in words.T]
    np.testing.assert_array_equal(out.T, true)
