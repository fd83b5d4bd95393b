"""What programs for a GPU ask of the library that has the arrays there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Layout
from xpnet.compiler.native.program import LoopNumPy
from xpnet.types import Array, Carry, Data

HEAD = '''"""A training step, {key}, as xpnet has written it: CUDA kernels."""

import math

import numpy as np
from numba import cuda

from xpnet.compiler.native.device import (
    ceil, exp as exp_32, exp as exp_64, expm1 as expm1_32, expm1 as expm1_64, floor,
    log as log_32, log as log_64, log1p as log1p_32, log1p as log1p_64, logaddexp as logaddexp_32,
    logaddexp as logaddexp_64, maximum, minimum, rint, sign, signbit, tanh as tanh_32,
    tanh as tanh_64, threefry, trunc,
)

'''


@dataclass(frozen=True)
class Device:
    """Where kernels run.

    Attributes:
        xp: the namespace of the arrays there.
        lent: an array as numba's kernels take it; nothing waits for what is queued.
        stream: where a kernel is queued, behind what the library has queued before.
        to_host: brings an array to the host.
        view: the elements of an array of one axis that lie so.
        product: ``(a, b, out)``, queues a matrix product into an array.
    """

    xp: Any
    lent: Callable[[Array], Any]
    stream: Callable[[], Any]
    to_host: Callable[[Array], np.ndarray]
    view: Callable[[Array, Layout], Array]
    product: Callable[[Array, Array, Array], Any]

    def given(
        self,
        nodes: list[Node],
        sources: Iterable[tuple[int, Layout]],
        there: dict[int, Array],
        own: frozenset[int] = frozenset(),
    ) -> list[Array]:
        """What a step finds, as arrays of one axis; of each member's own, two.

        Args:
            nodes: of all that it finds.
            sources: which of them, and of which of their memory.
            there: those that lie here already, by the `id` of what a recording has for them.
            own: those of which each member has its own.
        """
        found = []
        for number, layout in sources:
            value = nodes[number].value
            array = there.get(id(value))
            if array is None:
                host = LoopNumPy().view(LoopNumPy().given(value), layout)
                array = self.xp.asarray(np.ascontiguousarray(host))
            elif id(value) in own:
                array = self.xp.reshape(array, (array.shape[0], math.prod(array.shape[1:])))
            else:
                array = self.xp.reshape(array, (-1,))
            found.append(array)
        return found

    def stores(self, carry: Carry, dtypes: dict[str, Any]) -> tuple[Array, Array]:
        """The counters of a carry, those that are whole numbers and the others, in arrays."""
        xp = self.xp
        whole, real = (xp.zeros(len(dtypes) + 1, dtype=dtype) for dtype in (xp.int64, xp.float64))
        for i, (name, dtype) in enumerate(dtypes.items()):
            if name in carry:
                (whole if is_whole(dtype) else real)[i, ...] = carry[name]
        return whole, real

    def rows(self, batch_rows: Array | None) -> Array:
        """The samples of each step, as kernels read them."""
        xp = self.xp
        none = xp.zeros((1, 1), dtype=xp.int64)
        return none if batch_rows is None else xp.astype(batch_rows, xp.int64)

    def launch(self, kernel: Any, blocks: int, threads: int) -> Callable[..., Any]:
        """What queues a kernel, called with its arguments."""
        with warnings.catch_warnings():  # of a GPU of which most is idle, as it is of few members
            warnings.filterwarnings("ignore", "Grid size")
            launched: Callable[..., Any] = kernel[blocks, threads, self.stream()]
        return launched


def is_whole(dtype: Any) -> bool:
    """Whether a counter of a dtype is among the whole numbers."""
    return np.dtype(dtype).kind in "iub"


def refused(error: Exception) -> Untraceable:
    """What is said of what numba cannot compile."""
    said = str(error).strip().splitlines()
    return Untraceable(f"numba refuses it: {said[-1] if said else error!r}")


def brought(
    device: Device, carry: Carry, data: Data, rows: Array | None, constant: bool
) -> tuple[Carry, Data, np.ndarray | None]:
    """What a step is recorded with, on the host.

    Raises:
        Untraceable: if data lie in another order than their copies do, and are not ``constant``.
    """

    def host(array: Array) -> np.ndarray:
        return np.asarray(device.to_host(array), order="C")

    in_order = all(array is None or _in_order(array) for array in data)
    if not in_order and not constant:  # a copy in order would stay what it is
        raise Untraceable("data in another order that change from step to step")
    return (
        {name: host(array) for name, array in carry.items()},
        tuple(None if array is None else host(array) for array in data),
        None if rows is None else host(rows),
    )


def _in_order(array: Array) -> bool:
    return not hasattr(array, "flags") or bool(array.flags.c_contiguous)
