"""Where the elements of an array lie in a buffer: the arithmetic of views, without any array."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Element ``(i, j, …)`` lies at ``offset + i · strides[0] + j · strides[1] + …``.

    Long, since each view of the standard is a method.

    Attributes:
        shape: how many elements each axis has.
        strides: how far apart its elements are, in elements; 0 where one stands for all, and along
            axes of a single one, so that equal places are equal.
        offset: where the first one is.
        size: how many elements there are.
    """

    shape: Shape
    strides: Shape
    offset: int = 0
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", math.prod(self.shape))
        if 1 in self.shape:
            pairs = zip(self.shape, self.strides, strict=True)
            object.__setattr__(self, "strides", tuple(0 if n == 1 else s for n, s in pairs))

    @classmethod
    def in_order(cls, shape: Shape, offset: int = 0) -> Layout:
        """Elements one after the other, the last axis first (C order)."""
        strides, size = [], 1
        for n in reversed(shape):
            strides.append(0 if n == 1 else size)
            size *= n
        return cls(shape, tuple(reversed(strides)), offset)

    @property
    def steps(self) -> Shape:
        """The strides to give to a library: axes of one element have those of an array in order.

        Some kernels divide by them, and BLAS takes no matrix whose rows lie at one place.
        """
        steps, wanted = list(self.strides), 1
        for axis in reversed(range(len(steps))):
            n = self.shape[axis]
            if n == 1:
                steps[axis] = wanted
            wanted = max(wanted, abs(steps[axis]) * n)
        return tuple(steps)

    @property
    def is_in_order(self) -> bool:
        """Whether the elements lie one after the other, in C order."""
        wanted = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != wanted:
                return self.size == 0
            wanted *= n
        return True

    @property
    def span(self) -> tuple[int, int]:
        """The first place that it touches, and the one behind the last."""
        if self.size == 0:
            return self.offset, self.offset
        ends = [(n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True)]
        low, high = (self.offset + sum(f(0, end) for end in ends) for f in (min, max))
        return low, high + 1

    # ---- views

    def index(self, key: Any) -> Layout:
        """``x[key]`` for integers, slices, ``None`` and ``...``.

        Raises:
            IndexError: if there is no such element, or there are too many indices.
        """
        keys = list(key) if isinstance(key, tuple) else [key]
        taken = sum(part is not None and part is not ... for part in keys)
        if taken > len(self.shape):
            raise IndexError(f"{taken} indices of {len(self.shape)} axes")
        if ... not in keys:
            keys.append(...)
        at = keys.index(...)
        keys[at : at + 1] = [slice(None)] * (len(self.shape) - taken)
        shape, strides, offset = [], [], self.offset
        axes = iter(zip(self.shape, self.strides, strict=True))
        for part in keys:
            if part is None:
                shape.append(1)
                strides.append(0)
                continue
            n, stride = next(axes)
            if isinstance(part, slice):
                start, stop, step = part.indices(n)
                count = len(range(start, stop, step))
                offset += start * stride if count else 0
                shape.append(count)
                strides.append(step * stride)
            else:
                offset += range(n)[part] * stride
        return Layout(tuple(shape), tuple(strides), offset)

    def permute(self, axes: Shape) -> Layout:
        """The axes in another order."""
        shape, strides = (tuple(v[a] for a in axes) for v in (self.shape, self.strides))
        return Layout(shape, strides, self.offset)

    @property
    def mT(self) -> Layout:
        """The last two axes, the one for the other."""
        *lead, n, m = range(len(self.shape))
        return self.permute((*lead, m, n))

    def broadcast_to(self, shape: Shape) -> Layout:
        """One element for all along new axes, and along those of length 1.

        Raises:
            ValueError: if an axis is of another length.
        """
        new = len(shape) - len(self.shape)
        strides = [0] * new
        for n, stride, wanted in zip(self.shape, self.strides, shape[max(new, 0) :], strict=True):
            if n not in (1, wanted):
                raise ValueError(f"{self.shape} broadcast to {shape}")
            strides.append(stride if n == wanted else 0)
        return Layout(tuple(shape), tuple(strides), self.offset)

    def reshape(self, shape: Shape) -> Layout | None:
        """The same elements in the same order in another shape; ``None`` where that is no view.

        Args:
            shape: of as many elements; one axis may be −1.
        """
        if shape == self.shape:
            return self
        known = math.prod(n for n in shape if n != -1)
        shape = tuple(self.size // known if n == -1 and known else n for n in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"{self.shape} reshaped to {shape}")
        if self.size == 0:
            return Layout.in_order(shape, self.offset)
        # Axes of length 1 say nothing; a run of axes that lie in order is one axis, and each new
        # axis must be within such a run.
        runs: list[tuple[int, int]] = []  # how long, and how far apart the elements are
        for n, stride in zip(self.shape, self.strides, strict=True):
            if n == 1:
                continue
            if runs and runs[-1][1] == n * stride:
                runs[-1] = runs[-1][0] * n, stride
            else:
                runs.append((n, stride))
        strides = [0] * len(shape)
        axis = len(shape) - 1
        for length, stride in reversed(runs):
            while length > 1:
                if axis < 0:
                    return None
                n = shape[axis]
                if length % n:
                    return None
                strides[axis] = stride if n > 1 else 0
                length, stride, axis = length // n, stride * n, axis - 1
        return Layout(shape, tuple(strides), self.offset)


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory of a program.

    Attributes:
        size: how many elements it has.
        dtype: of which kind.
        of: what it is for, in a word that its name begins with.
        source: which of the arrays it is that a step finds, if it is one of those.
        fill: the number that it holds, of a constant.
    """

    size: int
    dtype: Any
    of: str
    source: int | None = None
    fill: Any = None


@dataclass(frozen=True)
class Ref:
    """An array of a program: a buffer, and where in it the elements lie."""

    buffer: Buffer
    layout: Layout

    def __hash__(self) -> int:  # of what tells most apart, since it is asked for at every name
        return id(self.buffer) ^ self.layout.offset

    @property
    def shape(self) -> Shape:
        """How many elements each axis has."""
        return self.layout.shape

    @property
    def dtype(self) -> Any:
        """Of which kind they are."""
        return self.buffer.dtype

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its buffer, as it lies there."""
        return (
            self.layout.offset == 0
            and self.layout.is_in_order
            and (self.layout.size == self.buffer.size)
        )

    def overlaps(self, other: Ref) -> bool:
        """Whether the two may share a place; ``True`` where that is not certain."""
        (low, high), (low_too, high_too) = self.layout.span, other.layout.span
        return self.buffer is other.buffer and low < high_too and low_too < high


def viewed(layout: Layout, op: str, static: dict[str, Any]) -> Layout | None:
    """What a view makes of a layout; ``None`` if it is not one there: some reshapes copy."""
    if op == "mT":
        return layout.mT
    if op == "getitem":
        return layout.index(static["key"])
    if op == "reshape":
        return layout.reshape(static["shape"])
    if op == "permute_dims":
        return layout.permute(static["axes"])
    return layout.broadcast_to(static["shape"])
