"""What is done to a gradient before an optimizer sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.types import Array


class Transform(ABC):
    """A pure function of the gradient: ``transforms=(ClipNorm(1.0),)`` of any optimizer."""

    @abstractmethod
    def __call__(self, xp: Any, grad: Array) -> Array:
        """The gradient to go on with, of the shape and dtype of ``grad``, ``(..., size)``.

        Args:
            xp: the array namespace.
            grad: the gradient, not to be written into.
        """


class _Clip(Transform):
    """What both have: the most that there may be."""

    most: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", checks.number("most", self.most, above=0))


@dataclass(frozen=True)
class ClipNorm(_Clip):
    """``g · min(1, c / (‖g‖₂ + 1e-6))``, each member's by itself (Pascanu et al. 2013).

    As ``torch.nn.utils.clip_grad_norm_``, the 1e-6 too.

    Args:
        most: ``c``, above 0: how long a gradient may be.
    """

    most: float

    def __call__(self, xp: Any, grad: Array) -> Array:
        return clip_norm(xp, grad, self.most)


@dataclass(frozen=True)
class ClipValue(_Clip):
    """Each element of the gradient from ``−c`` to ``c``, as ``torch.nn.utils.clip_grad_value_``.

    Args:
        most: ``c``, above 0.
    """

    most: float

    def __call__(self, xp: Any, grad: Array) -> Array:
        return clip_value(xp, grad, self.most)


def clip_norm(xp: Any, grad: Array, most: Any) -> Array:
    """`ClipNorm`, of a number or an array of one a member."""
    # Of numbers up to 1, whose squares are finite: ‖g‖ = s ‖g / s‖.
    largest = xp.max(xp.abs(grad), axis=-1, keepdims=True)
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    part = grad / scale
    length = scale * xp.sqrt(_squares(xp, part))
    return grad * xp.minimum(most / (length + 1e-6), xp.ones_like(length))


def _squares(xp: Any, part: Array) -> Array:
    """The sum of squares; of each member the same bits, whoever is beside it.

    As rows of one matrix they would be summed by one product, whose digits depend on the row.
    """
    squares = part * part
    if len(part.shape) < 2:
        return xp.sum(squares, axis=-1, keepdims=True)
    return xp.sum(squares[..., None, :], axis=-1)


def clip_value(xp: Any, grad: Array, most: Any) -> Array:
    """`ClipValue`, of a number or an array of one a member."""
    return xp.minimum(xp.maximum(grad, -most), most)


def transformed(xp: Any, transforms: Sequence[Transform], grad: Array) -> Array:
    """The gradient after all of them.

    Raises:
        ValueError: if one gives something else than a gradient of the shape and dtype of its own.
    """
    for transform in transforms:
        after = transform(xp, grad)
        if not checks.has_form(after, grad.shape, grad.dtype):
            raise ValueError(
                f"{checks.shown(transform)} must give a gradient of the shape {tuple(grad.shape)} "
                f"and the dtype {grad.dtype}, not {checks.formed(after)}."
            )
        grad = after
    return grad
