"""Where the named parameters of a network lie in its one vector ``theta``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from xpnet import backends, checks
from xpnet.backends.base import Size
from xpnet.layers.base import Params
from xpnet.types import Array


class ThetaLayout:
    """Parameters one after another, each in C order, in a vector of shape ``(..., size)``.

    Args:
        shapes: theirs, by name, in the order in which they lie there.

    Attributes:
        size: how many numbers they are.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        sizes = [math.prod(shape) for shape in shapes.values()]
        ends = list(accumulate(sizes, initial=0))
        self._slots = tuple(
            (slice(start, end), shape)
            for start, end, shape in zip(ends, ends[1:], shapes.values(), strict=False)
        )
        self.size = ends[-1]
        self._largest = max(sizes, default=0)
        self._widest = max((shape[0] for shape in shapes.values() if shape), default=0)

    def views(self, xp: Any, theta: Array) -> Params:
        """The parameters in their order, of shape ``(..., *parameter)``."""
        lead = theta.shape[:-1]
        return tuple(xp.reshape(theta[..., span], (*lead, *shape)) for span, shape in self._slots)

    def joined(self, xp: Any, arrays: Sequence[Array], lead: tuple[int, ...]) -> Array:
        """The vector of arrays such as `views` gives: its inverse."""
        return xp.concat([xp.reshape(array, (*lead, -1)) for array in arrays], axis=-1)

    def flatten(self, parameters: Any) -> Array:
        """The vector of parameters given by name.

        Raises:
            TypeError, ValueError: as `Sequential.flatten` says.
        """
        if not isinstance(parameters, dict):
            raise TypeError(
                "parameters must be a dict such as unflatten makes, not "
                f"{checks.shown(parameters)}."
            )
        if set(parameters) != set(self.shapes):
            raise ValueError(
                f"parameters must be named {', '.join(self.shapes)}, "
                f"not {', '.join(map(str, parameters)) or 'none'}."
            )
        arrays = [parameters[name] for name in self.shapes]
        checks.given(**parameters)
        backend = backends.of(*arrays, names=tuple(self.shapes))
        lead = tuple(arrays[0].shape)[:-2]
        for array, (name, shape) in zip(arrays, self.shapes.items(), strict=True):
            if tuple(array.shape) != (*lead, *shape):
                raise ValueError(
                    f"{name} must have the shape {(*lead, *shape)}, not {tuple(array.shape)}."
                )
            checks.floats(backend, array, name)
            checks.same_dtype(backend, array, name, arrays[0], next(iter(self.shapes)))
        with backend.context():
            return self.joined(backend.xp, arrays, lead)

    def extent(self, members: int | None, samples: int) -> Size:
        """How large it is to compute so many samples of them, for `Backend.context`."""
        array = (members or 1) * max(samples * self._widest, self.size)
        return Size(samples * self._largest, array)
