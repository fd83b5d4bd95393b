"""What the compiler asks of an array library: its dtypes, its memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from xpnet.compiler.layout import Layout, Shape
from xpnet.types import Array


class Library(ABC):
    """What a program is written for; without state."""

    scalars: bool = False
    """Whether values of no axes that follow from arrays are numbers in variables, not arrays."""

    @abstractmethod
    def empty(self, shape: Shape, dtype: Any) -> Array:
        """A new array, not filled."""

    @abstractmethod
    def full(self, shape: Shape, value: Any, dtype: Any) -> Array:
        """A new array of one value."""

    @abstractmethod
    def view(self, array: Array, layout: Layout) -> Array:
        """The elements that lie so, as seen from the first element of an array."""

    @abstractmethod
    def layout(self, array: Array) -> Layout:
        """How the elements of an array lie, as seen from the first of them."""

    def given(self, array: Array) -> Array:
        """An array that a step reads, or a copy if strides in elements do not say how it lies."""
        return array

    @abstractmethod
    def itemsize(self, dtype: Any) -> int:
        """How many bytes an element has."""

    @abstractmethod
    def is_floating(self, dtype: Any) -> bool:
        """Whether a dtype holds floats."""

    @abstractmethod
    def on_host(self, array: Array) -> Any:
        """The same memory as an array of NumPy."""

    def is_integer(self, dtype: Any) -> bool:
        """Whether a dtype holds integers."""
        return "int" in str(dtype)
