"""How operations are written as loops: what is done element by element, and what is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.layout import Buffer, Layout, Ref
from xpnet.compiler.passes.pieces import targets
from xpnet.compiler.passes.placement import within
from xpnet.compiler.writers.loop_sums import LONG, REDUCTIONS, START, TERMS, reduction, terms_of
from xpnet.noise import LANE, RATES, WORD, counters

if TYPE_CHECKING:
    from xpnet.compiler.writers.loops import LoopWriter

COLUMNS = 4
"""How many columns of a product are computed at once in lanes, of what is read of a row."""


# ---- the table: what is done element by element


FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "logaddexp")
"""What there is of our own, in 32 and in 64 bits."""

EXPRESSIONS: Mapping[str, str] = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "pow": "{0} ** {1}",
    "remainder": "{0} % {1}",
    "floor_divide": "{0} // {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
    "logical_xor": "{0} ^ {1}",
    "logical_not": "not {0}",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "bitwise_xor": "{0} ^ {1}",
    "bitwise_left_shift": "{0} << {1}",
    "bitwise_right_shift": "{0} >> {1}",
    "bitwise_invert": "~{0}",
    "astype": "{0}",
    "copy": "{0}",
    "where": "({1} if {0} else {2})",
    "abs": "abs({0})",
    "maximum": "maximum({0}, {1})",
    "minimum": "minimum({0}, {1})",
    "reciprocal": "1 / {0}",
    **{name: f"{name}_{{bits}}({{0}})" for name in FUNCTIONS[:-1]},
    **{
        name: f"math.{name}({{0}})"
        for name in (
            *("sqrt", "sin", "cos", "tan", "log10"),
            *("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
        )
    },
    **{name: f"math.{name}({{0}}, {{1}})" for name in ("atan2", "hypot", "copysign")},
    **{f"is{of}": f"np.is{of}({{0}})" for of in ("finite", "inf", "nan")},
    "log2": "np.log2({0})",
    "logaddexp": "logaddexp_{bits}({0}, {1})",
    **{name: f"np.{name}({{0}})" for name in ("floor", "ceil", "trunc", "sign", "signbit")},
    "round": "np.rint({0})",
}
"""What each elementwise operation computes of numbers; functions are those of ``elementary``."""


# ---- and what is not


def _matmul(w: LoopWriter, node: Node) -> None:
    a, b = node.args
    each = bool(w.lanes) and node in w.each
    out = w.ref(node)
    *lead, n, m = node.shape
    inner = int(a.shape[-1])
    left = w.ref(a, (*lead, n, inner))
    right = w.ref(b, (*lead, inner, m))
    depth = w.depth
    in_columns = not each and not w.registers  # vectors are of columns
    if in_columns and m > 1 and right.layout.strides[-1] != 1 and n >= 4 and not lead:
        right = _packed(w, right, b in w.each)

    def terms(first: int | str, count: int, column: str) -> str:
        found = []
        for t in range(count):
            k = str(t) if first == 0 else f"({first} + {t})"
            x = w.element(left, [*outer, i, k])
            y = w.element(right, [*outer, k, column])
            found.append(f"{x} * {y}")
        return " + ".join(found)

    def place(column: str) -> str:
        return w.element(out, [*outer, i, column])

    zero = w.constant(0.0 if np.dtype(node.dtype).kind == "f" else 0, node.dtype)
    whole, rest = inner - inner % TERMS, inner % TERMS
    if w.registers:
        *outer, i, j = w.axes((*lead, n, m))
        total = w.new("t")
        w.line(f"{total} = {terms(whole or 0, rest, j) or zero}")
        if whole:
            first = w.new("k")
            w.loop(first, 0, whole, TERMS)
            w.line(f"{total} += {terms(first, TERMS, j)}")
            w.depth -= 1
        w.line(f"{place(j)} = {total}")
        w.depth = depth
        return
    outer = [w.axis(size) for size in lead]
    i = w.axis(n)
    if inner <= TERMS and each and m <= COLUMNS and inner * m <= 2 * TERMS:
        w.over_lanes()
        for column in range(m):
            w.line(f"{place(str(column))} = {terms(0, inner, str(column)) or zero}")
    elif inner <= TERMS:
        j = w.axis(m)
        if each:
            w.over_lanes()
        w.line(f"{place(j)} = {terms(0, inner, j) or zero}")
    else:

        def columns(text: Callable[[str], str], sign: str) -> None:
            here = w.depth
            j = w.axis(m)
            if each:
                w.over_lanes()
            w.line(f"{place(j)} {sign} {text(j)}")
            w.depth = here

        first = w.new("k")
        if rest:
            columns(lambda j: terms(whole, rest, j), "=")
        else:
            columns(lambda j: zero, "=")
        w.loop(first, 0, whole, TERMS)
        columns(lambda j: terms(first, TERMS, j), "+=")
    w.depth = depth


def _packed(w: LoopWriter, right: Ref, each: bool) -> Ref:
    """A copy with its rows in order, of which vectors are read."""
    buffer = Buffer(right.layout.size, right.dtype, "packed")
    place = Ref(buffer, Layout.in_order(right.shape))
    w.copy(place, right, each)
    return place


def _arg(w: LoopWriter, node: Node) -> None:
    """The place of the greatest or least: the first of them, or of the first NaN."""
    (array,), axis = node.args, node.static["axis"]
    source, out, depth = w.ref(array), w.ref(node), w.depth
    each = bool(w.lanes) and node in w.each
    gone = range(array.ndim)[axis or 0]
    kept = w.axes([n for a, n in enumerate(array.shape) if a != gone])
    variables = [*kept[:gone], w.new("i"), *kept[gone:]]
    if each:
        w.over_lanes()
    places = variables if node.static.get("keepdims") else kept
    if node.static.get("keepdims"):
        places = ["0" if a == gone else v for a, v in enumerate(variables)]
    best, found = w.new("t"), w.new("t")
    at = [v if a != gone else "0" for a, v in enumerate(variables)]
    w.line(f"{best} = {w.element(source, at)}")
    w.line(f"{found} = 0")
    w.loop(variables[gone], 1, array.shape[gone])
    value, sign = w.new("t"), ">" if node.op == "argmax" else "<"
    w.line(f"{value} = {w.element(source, variables)}")
    w.line(f"if {value} {sign} {best} or ({value} != {value} and {best} == {best}):")
    w.line(f"    {best} = {value}")
    w.line(f"    {found} = {variables[gone]}")
    w.depth -= 1
    w.line(f"{w.element(out, places)} = {found}")
    w.depth = depth


def _concat(w: LoopWriter, node: Node) -> None:
    whole = w.plan.ref(node)
    for arg, layout in zip(node.nodes, targets(node), strict=True):
        if not w.plan.is_piece_of(arg, node):
            w.copy(within(whole, layout), w.ref(arg), node in w.each)


def _stack(w: LoopWriter, node: Node) -> None:
    whole, axis = w.ref(node), range(node.ndim)[node.static["axis"]]
    for i, arg in enumerate(node.nodes):
        key = (*(slice(None),) * axis, i)
        w.copy(Ref(whole.buffer, whole.layout.index(key)), w.ref(arg), node in w.each)


def _flip(w: LoopWriter, node: Node) -> None:
    ref, axes = w.ref(node.args[0]), node.static["axis"]
    turned = [slice(None, None, -1 if i - node.ndim in axes else 1) for i in range(node.ndim)]
    w.copy(w.ref(node), Ref(ref.buffer, ref.layout.index(tuple(turned))), node in w.each)


def _roll(w: LoopWriter, node: Node) -> None:
    shift, axis = node.static["shift"], node.static["axis"]
    source, out, axis = w.ref(node.args[0]), w.ref(node), range(node.ndim)[axis]
    n = node.shape[axis]
    shift = shift % n if n else 0
    for here, there in (
        (slice(shift, n), slice(0, n - shift)),
        (slice(0, shift), slice(n - shift, n)),
    ):
        key_here, key_there = ((*(slice(None),) * axis, part) for part in (here, there))
        if here.start < here.stop:
            place = Ref(out.buffer, out.layout.index(key_here))
            w.copy(place, Ref(source.buffer, source.layout.index(key_there)), node in w.each)


def _cumulative_sum(w: LoopWriter, node: Node) -> None:
    (array,), axis = node.args, range(node.ndim)[node.static["axis"]]
    source, out, depth = w.ref(array), w.ref(node), w.depth
    if w.registers:  # each element follows from the one before: those of a line are one thread's
        kept = w.axes([n for a, n in enumerate(node.shape) if a != axis])
        places, total = [*kept[:axis], w.new("i"), *kept[axis:]], w.new("t")
        w.line(f"{total} = {w.constant(0.0, node.dtype)}")
        w.loop(places[axis], node.shape[axis])
        w.line(f"{total} += {w.cast(w.element(source, places), array, node.dtype)}")
        w.line(f"{w.element(out, places)} = {total}")
        w.depth = depth
        return
    first = (*(slice(None),) * axis, slice(0, 1))
    w.copy(
        Ref(out.buffer, out.layout.index(first)),
        Ref(source.buffer, source.layout.index(first)),
        node in w.each,
    )
    variables = [w.new("i") for _ in node.shape]
    w.loop(variables[axis], 1, node.shape[axis])
    for a, variable in enumerate(variables):
        if a != axis:
            w.loop(variable, node.shape[a])
    if w.lanes and node in w.each:
        w.over_lanes()
    before = [f"({v} + -1)" if a == axis else v for a, v in enumerate(variables)]
    w.line(
        f"{w.element(out, variables)} = {w.element(out, before)} + {w.element(source, variables)}"
    )
    w.depth = depth


def _take(w: LoopWriter, node: Node) -> None:
    array, rows = node.args
    axis = range(array.ndim)[node.static["axis"]]
    source, out, depth = w.ref(array), w.ref(node), w.depth
    if rows in w.each and w.lanes:
        raise Untraceable("rows of each member's own are not written as a loop")
    if rows is not w.recording.rows and rows.root.op == "input":
        raise Untraceable("places that nobody has looked at are not written as a loop")
    outer = w.axes(node.shape if w.registers else node.shape[: axis + 1])
    at, row = w.new("row"), outer[axis]
    place = w.element(w.ref(rows), [row]) if rows is not w.recording.rows else ""
    w.line(f"{at} = {place or w.row(row, array.shape[axis])}")
    if place:
        w.line(f"if {at} < 0:")
        w.line(f"    {at} += {array.shape[axis]}")
    variables = [*outer, *w.axes(node.shape[len(outer) :])]
    if w.lanes and node in w.each:
        w.over_lanes()
    places = [at if a == axis else v for a, v in enumerate(variables)]
    w.line(f"{w.element(out, variables)} = {w.element(source, places)}")
    w.depth = depth


def _random_bits(w: LoopWriter, node: Node) -> None:
    """Threefry, as in ``noise.py``, a counter a turn of the loop."""
    key, step = node.args
    static, out, depth = node.static, w.ref(node), w.depth
    *lead, _ = key.shape
    if not out.layout.is_in_order:
        raise Untraceable("random bits that do not lie in order are not written as a loop")
    (rows, features), bits, below = static["shape"], static["bits"], static["below"]
    start, stop, skip = counters(static["first"], (rows, features), bits)
    if w.lanes and node in w.each:
        w.over_lanes()
    a, b, c, now = w.new("t"), w.new("t"), w.new("i"), w.new("t")
    outer: list[str] = ["0"] * len(lead)

    def begin() -> None:
        """The key of the draw, and the step."""
        x, y = (w.element(w.ref(key), [*outer, i]) for i in "01")
        w.line(f"{a}, {b} = {x}, {y}")
        for i in range(0, len(static["path"]), 2):
            x, y = (*static["path"], 0)[i : i + 2]
            w.line(f"{a}, {b} = threefry({a}, {b}, np.uint32({x}), np.uint32({y}))")
        count = w.number(step) if step.host else w.element(w.ref(step, (*lead, 1)), [*outer, "0"])
        w.line(f"{now} = np.uint32({count} & {WORD})")

    if math.prod(lead) > 1:
        *outer, turn = w.axes((*lead, stop - start))
        w.line(f"{c} = {turn} + {start}")
        begin()
    else:
        begin()
        w.deal(c, start, stop)
    x, y, at = w.new("t"), w.new("t"), w.new("at")
    w.line(f"{x}, {y} = threefry({a}, {b}, np.uint32({c}), {now})")
    if bits == LANE:
        numbers = [f"{x} & {RATES - 1}", f"{x} >> {LANE}", f"{y} & {RATES - 1}", f"{y} >> {LANE}"]
    else:
        numbers = [f"{x} >> {32 - bits}", f"{y} >> {32 - bits}"]
    size = rows * features
    place = Ref(out.buffer, Layout.in_order((*lead, size), out.layout.offset))
    w.line(f"{at} = ({c} - {start}) * {len(numbers)} - {skip}")
    for i, number in enumerate(numbers):
        value = f"np.uint32({number})"
        value = value if below is None else f"{value} < np.uint32({min(below, WORD)})"
        w.line(f"if {at} + {i} >= 0 and {at} + {i} < {size}:")
        w.line(f"    {w.element(place, [*outer, f'({at} + {i})'])} = {value}")
    w.depth = depth


CALLS: Mapping[str, Callable[[LoopWriter, Node], None]] = {
    "matmul": _matmul,
    "concat": _concat,
    "stack": _stack,
    "flip": _flip,
    "roll": _roll,
    "cumulative_sum": _cumulative_sum,
    "take": _take,
    "random_bits": _random_bits,
    **dict.fromkeys(("argmax", "argmin"), _arg),
    **dict.fromkeys(REDUCTIONS, reduction),
}
"""How each operation is written that is not elementwise."""


def _within(node: Node) -> bool:
    """Whether what is taken is there for certain: machine code would read what lies elsewhere."""
    array, rows = node.args
    n, places = array.shape[node.static["axis"]], rows.root
    if places.op in ("argmax", "argmin"):
        of, axis = places.nodes[0], places.static["axis"]
        return bool((math.prod(of.shape) if axis is None else of.shape[axis]) <= n)
    if places.op == "const":
        known = np.asarray(places.value)
        return bool(((known >= -n) & (known < n)).all())
    return bool(places.op == "input")  # the rows of a batch


def taken(recording: Recording) -> tuple[bool, ...]:
    """Of each take whether all that it takes is there, which the form of a step does not say."""
    return tuple(_within(node) for node in recording.nodes if node.op == "take")


def unwritten(node: Node) -> str:
    """Why an operation is not written as a loop, as far as it tells by itself; else empty."""
    op, static = node.op, node.static
    if node.elementwise:
        return "" if op in EXPRESSIONS else f"{op} is not written as a loop"
    if op not in CALLS:
        return f"{op} is not written as a loop"
    array = node.nodes[0]
    if op == "matmul" and array.shape[-1] > LONG:
        return f"a sum of {array.shape[-1]} products is not written as a loop"
    if op == "take" and not _within(node):
        return "places that are computed, which NumPy looks at, are not written as a loop"
    if op in ("argmax", "argmin") and static["axis"] is None and array.ndim != 1:
        return f"{op} over all axes is not written as a loop"
    if op == "roll" and not (isinstance(static["shift"], int) and isinstance(static["axis"], int)):
        return "a roll over several axes is not written as a loop"
    if op == "random_bits" and (math.prod(array.shape) != 2 or np.dtype(array.dtype) != np.uint32):
        return "random bits as these are not written as a loop"
    if op in REDUCTIONS:
        counted = terms_of(node)
        if counted > LONG and op == "sum":
            return f"a sum of {counted} terms is not written as a loop"
        if not counted and op not in START:
            return f"the {op} of nothing"
    return ""
