"""The runner of steps as CUDA kernels: one for a whole interval, or many for each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native.cuda import CudaProgram
from xpnet.compiler.native.gpu import Device, brought
from xpnet.compiler.native.grids import GridProgram
from xpnet.compiler.native.program import recorded_of_one
from xpnet.compiler.record import record
from xpnet.compiler.replay import Buffers, Replay
from xpnet.compiler.writers.grids import LARGE
from xpnet.compiler.writers.loops import multiplications
from xpnet.types import Array, Carry, Data


class Kernels(Replay):
    """The runner of steps as kernels; as they are written where that cannot be, with a warning.

    Args:
        xp: the namespace.
        step: the step.
        device: finds where they run, or raises `Untraceable`.
    """

    def __init__(self, xp: Any, step: Any, device: Callable[[], Device]) -> None:
        super().__init__(xp, step)
        self.device = device
        self.on = True

    @property
    def is_native(self) -> bool:
        """Whether its programs are kernels."""
        return any(program is not None for _, program in self.programs.values())

    def go_on(self, native: bool) -> None:
        """Run steps as another runner did, whose steps these go on from."""
        self.on = native

    def make(self, carry: Carry, data: Data, batch_rows: Array | None, given: Buffers) -> Any:
        if not self.on:
            raise Untraceable("it goes on from steps that did")
        rows = None if batch_rows is None else batch_rows[0, ...]
        arguments = self.step, carry, data, rows, self.device(), given, not self.varies
        program: CudaProgram | GridProgram
        try:
            program = kernel_of(*arguments, most=LARGE)
        except Untraceable:
            program = grids_of(*arguments)
        program.compile()
        return program


def kernel_of(
    step: Any,
    carry: Carry,
    data: Data,
    rows: Array | None,
    device: Device,
    given: dict[str, Array] | None = None,
    constant: bool = True,
    block: bool | None = None,
    most: float = math.inf,
) -> CudaProgram:
    """The program of intervals, recorded on the host, of an ensemble that of its first member.

    Args:
        step, carry, data: what is run, on the device.
        rows: those of a batch, or ``None``.
        device: where.
        given: buffers of the carry that are somebody else's.
        constant: whether what follows from the data alone stays what it is.
        block: see `CudaProgram`.
        most: how many multiplications a matrix product has, at most.

    Raises:
        Untraceable: if it cannot be recorded, or is not written as a kernel.
    """
    first, here, numbers = brought(device, carry, data, rows, constant)
    step = replace(step, xp=np)
    recording, members, own = recorded_of_one(step, first, here, numbers, constant)
    large = max((multiplications(one) for one in recording.nodes if one.op == "matmul"), default=0)
    if large >= most:
        raise Untraceable(f"a product of {large} multiplications is a library's")
    there = {id(a): b for a, b in zip(here, data, strict=True) if a is not None}
    there |= {one: there[id(whole)] for one, whole in own.items()}
    return CudaProgram(recording, device, given, members, there, frozenset(own), block)


def grids_of(
    step: Any,
    carry: Carry,
    data: Data,
    rows: Array | None,
    device: Device,
    given: dict[str, Array] | None = None,
    constant: bool = True,
    **limits: int,
) -> GridProgram:
    """The program of single steps, recorded on the host; of an ensemble that of all members.

    Args:
        step, carry, data, rows, device, given, constant: see `kernel_of`.
        limits: see `GridProgram`.

    Raises:
        Untraceable: if it cannot be recorded, or is not written as kernels.
    """
    first, here, numbers = brought(device, carry, data, rows, constant)
    recording = record(replace(step, xp=np), np, first, here, numbers, constant)
    there = {id(a): b for a, b in zip(here, data, strict=True) if a is not None}
    return GridProgram(recording, device, given, there, **limits)
