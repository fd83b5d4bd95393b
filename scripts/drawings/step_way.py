"""A step on its way to calls: what the compiler makes of a small network, stage by stage."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import xpnet as xn
from drawings.canvas import DOWN, UP, Canvas
from xpnet.compiler.ir import Node, Recording
from xpnet.compiler.layout import Ref
from xpnet.compiler.record import record
from xpnet.compiler.writers.numpy import NumPyProgram
from xpnet.training.step import TrainingStep, carry_of

LINES = 9
"""How many lines of each stage are shown."""


def _program() -> tuple[Recording, NumPyProgram]:
    net = xn.Sequential(xn.Linear(2, 3), xn.ReLU(), xn.Linear(3, 1))
    x, y = np.zeros((4, 2)), np.zeros((4, 1))
    step = TrainingStep(np, net, xn.MSE(), xn.SGD(lr=0.1))
    theta = net.init(0, like=x)
    recording = record(step, np, carry_of(theta, step.optimizer.init(theta)), (x, y, None))
    return recording, NumPyProgram(recording)


def _nodes(recording: Recording) -> list[str]:
    """The recorded operations, a line each."""
    names: dict[Node, str] = {node: name for name, node in recording.carry.items()}
    lines = []
    for node in recording.nodes:
        names[node] = f"n{len(lines)}"
        args = [names.get(a, "x") if isinstance(a, Node) else repr(a) for a in node.args]
        static = [_short(value) for value in node.static.values()]
        lines.append(f"{names[node]} = {node.op}({', '.join([*args, *static])})  {node.shape}")
    begin = 0  # behind the views that are the parameters
    while recording.nodes[begin].op in ("getitem", "reshape"):
        begin += 1
    return [lines[0], lines[1], "…", *lines[begin:]]


def _short(value: Any) -> str:
    """A key or shape as one would type it."""
    parts = value if isinstance(value, tuple) else (value,)
    said = [
        f"{p.start}:{p.stop}" if isinstance(p, slice) else "…" if p is ... else str(p)
        for p in parts
    ]
    return f"[{', '.join(said)}]" if any(isinstance(p, slice) for p in parts) else str(value)


def _places(program: NumPyProgram) -> list[str]:
    """What the names of the text stand for."""
    return [
        f"{name:<8} {ref.buffer.of} of {ref.buffer.size}: {ref.shape} at {ref.layout.offset}, "
        f"strides {ref.layout.strides}"
        for name, ref in program.text.names.items()
        if isinstance(ref, Ref)
    ]


def _cut(lines: list[str], width: int = 62) -> list[str]:
    more = [f"… {len(lines) - LINES} more"] if len(lines) > LINES else []
    return [
        line if len(line) <= width else f"{line[: width - 1]}…" for line in lines[:LINES]
    ] + more


def stages() -> list[tuple[str, str, list[str]]]:
    """The title of each stage, what leads to the next one, and what there is."""
    recording, program = _program()
    code = textwrap.dedent(inspect.getsource(xn.Linear.apply)).splitlines()
    rules = [
        "views · two_values · sums (NumPy)",
        "views · masks · fusion · sums (PyTorch)",
        "lifetimes: who reads what until when",
        "pieces: what is computed within a concatenation",
        "chains: what runs block by block",
    ]
    return [
        (
            "layers, loss, optimizer, as they are written",
            "record.py: called once with stand-ins",
            code,
        ),
        ("a recording: nodes (ir.py)", "passes/: rules, one walk", _nodes(recording)),
        ("another recording, and what is known of it", "passes/placement.py", rules),
        ("a plan: places, no arrays (layout.py)", "writers/: a table of calls", _places(program)),
        ("text (program.py makes the buffers and runs it)", "", program.text.lines),
    ]


def draw() -> Figure:
    """Draw it."""
    canvas = Canvas(7.4, 11.4)
    top = 11.2
    for title, leads, lines in stages():
        shown = _cut(lines)
        bottom = canvas.box(0.3, top, 6.8, title, shown, UP if leads == "" else DOWN, mono=True)
        if leads:
            canvas.arrow((3.2, bottom), (3.2, bottom - 0.38), DOWN, leads)
        top = bottom - 0.38
    return canvas.figure
