"""Layouts are those of NumPy's views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.compiler.layout import Buffer, Layout, Ref

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def layout_of(view: np.ndarray, base: np.ndarray) -> Layout:
    """The layout of a view of a one-dimensional array."""
    size = base.itemsize
    start = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return Layout(view.shape, tuple(s // size for s in view.strides), start // size)


def places(layout: Layout) -> np.ndarray:
    """Where each element lies."""
    found = np.full(layout.shape, layout.offset)
    for axis, (n, stride) in enumerate(zip(layout.shape, layout.strides, strict=True)):
        rest = (1,) * (len(layout.shape) - axis - 1)
        found = found + np.reshape(np.arange(n) * stride, (n, *rest))
    return found


@st.composite
def keys(draw, shape):
    parts = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        kinds = [st.slices(n)] + ([st.integers(-n, n - 1)] if n else [])
        parts.append(draw(st.one_of(kinds)))
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), ...)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


@st.composite
def views(draw):
    """A view of a one-dimensional array of its own places, made of a few steps."""
    shape = draw(SHAPES)
    base = np.arange(int(np.prod(shape)))
    array, layout = base.reshape(shape), Layout.in_order(shape)
    for _ in range(draw(st.integers(0, 3))):
        way = draw(st.sampled_from(["index", "permute", "broadcast", "transpose"]))
        if way == "index":
            key = draw(keys(array.shape))
            array, layout = array[key], layout.index(key)
        elif way == "permute":
            axes = tuple(draw(st.permutations(range(array.ndim))))
            array, layout = np.permute_dims(array, axes), layout.permute(axes)
        elif way == "transpose" and array.ndim > 1:
            array, layout = array.mT, layout.mT
        elif way == "broadcast":
            wide = (2, *(3 if n == 1 else n for n in array.shape))
            array, layout = np.broadcast_to(array, wide), layout.broadcast_to(wide)
        array = np.asarray(array)
    return array, layout


@given(views())
def test_a_view_lies_where_numpys_does(made):
    array, layout = made
    assert layout.shape == array.shape
    np.testing.assert_array_equal(places(layout), array)
    if array.size:
        assert layout.span == (array.min(), array.max() + 1)


@given(views(), st.data())
def test_a_reshape_is_a_view_where_it_is_one_of_numpys(made, data):
    array, layout = made
    divisors = [n for n in range(1, array.size + 1) if array.size % n == 0] or [0, 1]
    first = data.draw(st.sampled_from(divisors))
    shape = data.draw(
        st.sampled_from([(-1,), (first, -1) if first else (0, 3), (1, array.size, 1)])
    )
    found, wanted = layout.reshape(shape), array.reshape(shape)
    if found is None:
        assert not np.shares_memory(array, wanted)
        return
    np.testing.assert_array_equal(places(found), wanted)
    assert found.shape == wanted.shape


@given(views())
def test_an_order_is_told_as_numpy_tells_it(made):
    array, layout = made
    if array.size:
        in_order = np.array_equal(array.ravel() - array.min(), np.arange(array.size))
        assert layout.is_in_order == in_order
    assert Layout.in_order(array.shape).is_in_order


@given(views(), st.data())
def test_what_shares_a_place_is_never_told_apart(made, data):
    array, layout = made
    key, other = (data.draw(keys(array.shape)) for _ in range(2))
    if np.intersect1d(array[key], array[other]).size:
        buffer = Buffer(array.size, array.dtype, "a")
        assert Ref(buffer, layout.index(key)).overlaps(Ref(buffer, layout.index(other)))


def test_what_cannot_be_is_an_error():
    layout = Layout.in_order((2, 3))
    for wrong in (lambda: layout.index((0, 0, 0)), lambda: layout.index(2)):
        with pytest.raises(IndexError):
            wrong()
    for wrong in (lambda: layout.reshape((4,)), lambda: layout.broadcast_to((2, 4))):
        with pytest.raises(ValueError):
            wrong()
