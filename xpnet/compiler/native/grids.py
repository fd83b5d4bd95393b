"""A recorded step as kernels between the matrix products of a library."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Recording
from xpnet.compiler.layout import Layout, Ref
from xpnet.compiler.native.compiled import functions, text_of
from xpnet.compiler.native.gpu import HEAD, Device, refused
from xpnet.compiler.native.program import LoopNumPy, written
from xpnet.compiler.passes.chains import unchained
from xpnet.compiler.passes.lifetimes import lifetimes
from xpnet.compiler.passes.partials import Partials
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import rewritten
from xpnet.compiler.passes.views import reshapes
from xpnet.compiler.program import Runs
from xpnet.compiler.writers.grids import HOW, LARGE, SMALL, Grids, GridWriter, Kernel, Product
from xpnet.types import Array, Carry, Metrics

THREADS, BLOCKS = 256, 4096
"""How many threads a block has, and how many blocks a grid has at most: of more turns each thread
has several."""

TERMS, MOST = 64, 256
"""Of how many terms the parts of a sum are, and up to how many it has none."""


class GridProgram(Runs):
    """A recorded step for one set of shapes, as kernels and products; of an ensemble, of all.

    Args:
        recording: the step on NumPy.
        device: where it runs.
        given: buffers of the carry there, by name, that are somebody else's.
        there: the data on the device by the `id` of those that the recording has.
        large, small: see `GridWriter`.

    Raises:
        Untraceable: if it is not written as kernels.
    """

    def __init__(
        self,
        recording: Recording,
        device: Device,
        given: dict[str, Array] | None = None,
        there: dict[int, Array] | None = None,
        large: int = LARGE,
        small: int = SMALL,
    ) -> None:
        self.device, xp = device, device.xp
        sources, limits = recording.sources(), (large, small)
        self.text, self.file, self.key = self._written(recording, sources, limits)
        loops = self.text.loops
        self.carry = {
            name: (given or {}).get(name, xp.empty(node.shape, dtype=node.dtype))
            for name, node in recording.carry.items()
            if not node.host
        }
        found = device.given(list(sources), loops.sources.values(), there or {})
        self.arrays = dict(zip(loops.sources, found, strict=True))
        names = {ref.buffer: name for name, ref in self.text.carry.items()}
        for name, buffer in self.text.buffers.items():
            if buffer in names:
                self.arrays[name] = xp.reshape(self.carry[names[buffer]], (-1,))
            elif buffer.fill is not None:
                self.arrays[name] = xp.full(buffer.size, buffer.fill, dtype=buffer.dtype)
            elif name not in self.arrays:
                self.arrays[name] = xp.empty(max(buffer.size, 1), dtype=buffer.dtype)
        self.arrays["numbers"] = xp.asarray(np.asarray([*loops.numbers, 0.0]))
        self.lent = {name: device.lent(array) for name, array in self.arrays.items()}
        self.products = [
            partial(device.product, *map(self._array, (call.a, call.b, call.out)))
            for call in self.text.calls
            if isinstance(call, Product)
        ]
        self.functions: list[Any] = []

    def _array(self, ref: Ref) -> Array:
        """An operand of a product."""
        name = next(name for name, buffer in self.text.buffers.items() if buffer is ref.buffer)
        _, memory = self.text.loops.sources.get(name, (0, Layout.in_order(())))
        layout = Layout(ref.shape, ref.layout.strides, ref.layout.offset - memory.offset)
        return self.device.view(self.arrays[name], layout)

    def _written(
        self, recording: Recording, sources: dict[Node, int], limits: tuple[int, int]
    ) -> tuple[Grids, str, str]:
        library = LoopNumPy()

        def said(node: Node) -> Any:
            value = np.asarray(node.value)
            scalar = value[()].item() if node.shape == () and node.host else None
            return sources[node], node.dtype, library.layout(value), scalar

        def write() -> tuple[Grids, str, str]:
            split = rewritten(recording, partial(Partials, library, TERMS, MOST))
            split = rewritten(split, partial(reshapes, library))
            lives = lifetimes(split)
            plan = Placement(split, lives, unchained(lives), library, sources)
            grids = GridWriter(plan, *limits).grids()
            return grids, *text_of(grids.loops.constants, grids.source, HEAD, HOW)

        return written(("grids", *limits, *recording.says(said)), write)

    @property
    def calls(self) -> int:
        """How many kernels and products a step is."""
        return len(self.text.calls)

    @property
    def told(self) -> str:
        """What it is, in words."""
        products = len(self.products)
        kernels = self.calls - products
        between = f" between {products} of the library's matrix products" if products else ""
        return f"{kernels} CUDA kernel{'s' * (kernels != 1)} a step{between}"

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        buffers = self.text.buffers.values()
        return sum(buffer.size * np.dtype(buffer.dtype).itemsize for buffer in buffers)

    def __str__(self) -> str:
        return self.file

    def compile(self) -> None:
        """Make kernels of it.

        Raises:
            Untraceable: if numba cannot.
        """
        if self.functions:
            return
        made = list(functions(self.file, self.key).values())
        try:  # no step, for the types of what they are given
            Interval(self, made, {}, 0, None).step(-1)
        except Exception as error:
            raise refused(error) from error
        self.functions = made

    def run(
        self, carry: Carry, n: int, batch_rows: Array | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""
        self.compile()
        xp, loops = self.device.xp, self.text.loops
        for name, buffer in self.carry.items():
            if carry[name] is not buffer:
                buffer[...] = carry[name]
        interval = Interval(self, self.functions, carry, n, batch_rows)
        arrays, done = interval.arrays, 0
        while done < n:
            interval.step(done)
            done += 1
            if interrupted():
                break
        after: Carry = dict(self.carry)
        for name, (kind, column) in self.text.counted.items():
            counted = arrays[f"counted_{kind}"][done : done + 1, column]
            after[name] = xp.reshape(xp.astype(counted, loops.dtypes[name]), ())
        return (
            {name: after[name] for name in carry},
            {
                name: xp.reshape(arrays[loops.histories[name]][:done, ...], (done, *shape))
                for name, (shape, _) in loops.metrics.items()
            },
        )


class Interval:
    """An interval of a program's steps, of which all is counted.

    Args:
        program: whose.
        functions: its functions, compiled.
        carry, n, batch_rows: see `Runs.run`.

    Attributes:
        arrays: what there is of it alone, by name: histories, and what is counted.
    """

    def __init__(
        self,
        program: GridProgram,
        functions: list[Any],
        carry: Carry,
        n: int,
        batch_rows: Array | None,
    ) -> None:
        device, text, xp = program.device, program.text, program.device.xp
        loops, columns = text.loops, text.columns
        self.arrays = {
            "counted_whole": xp.empty((n + 1, columns["whole"] + 1), dtype=xp.int64),
            "counted_real": xp.empty((n + 1, columns["real"] + 1), dtype=xp.float64),
            "batch_rows": device.rows(batch_rows),
        }
        for name, (shape, dtype) in loops.metrics.items():
            history = xp.empty((max(n, 1), math.prod(shape)), dtype=dtype)
            self.arrays[loops.histories[name]] = history
        lent = {name: device.lent(array) for name, array in self.arrays.items()} | program.lent
        stores = map(device.lent, device.stores(carry, loops.dtypes))
        count, *parts = functions
        device.launch(count, 1, 1)(
            0, n, lent["numbers"], *stores, lent["counted_whole"], lent["counted_real"]
        )
        self.calls: list[Callable[[int], Any]] = []
        kernels, products = iter(parts), iter(program.products)
        for call in text.calls:
            if isinstance(call, Kernel):
                blocks = min(-(-call.turns // THREADS), BLOCKS) or 1
                launch = device.launch(next(kernels), blocks, THREADS)
                self.calls.append(partial(_launched, launch, [lent[name] for name in call.arrays]))
            else:
                self.calls.append(partial(_multiplied, next(products)))

    def step(self, k: int) -> None:
        """Queue the step of a number; below 0, what compiles its kernels and does nothing."""
        for call in self.calls:
            call(k)


def _launched(launch: Callable[..., Any], arrays: list[Any], k: int) -> None:
    launch(k, *arrays)


def _multiplied(product: Callable[[], Any], k: int) -> None:
    if k >= 0:
        product()
