"""Which library has what: the page says what the table says, and the table what is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests import support
from tests.helpers import xor
from xpnet.training.step import TrainingStep

PAGE = Path(__file__).parents[1] / "docs" / "support.md"
NET = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))


def said(request: Any, feature: str) -> bool:
    return support.has(request.node.callspec.params["backend"], feature)


def explained(backend: Any, net: xn.Sequential = NET, **options: Any) -> xn.Explanation:
    return xn.explain(net, *xor(backend), loss=xn.BCEWithLogits(), optimizer=xn.Adam(), **options)


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == support.page()


def test_steps_run_in_one_way(backend: Any, request: Any) -> None:
    ways = [way for way in ("recorded", "compiled", "plain") if said(request, way)]
    assert ways == [explained(backend).way]


def test_programs_are_kept(backend: Any, request: Any) -> None:
    step = TrainingStep(backend.xp, NET, xn.BCEWithLogits(), xn.Adam())
    kept = backend.kept(step, (*xor(backend), None))
    assert (kept is not None) == said(request, "shelved")


def test_a_run_ends_between_steps(backend: Any, request: Any) -> None:
    step = TrainingStep(backend.xp, NET, xn.MSE(), xn.SGD())
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    carry = {"theta": theta, "optimizer.step": xn.SGD().init(theta)["step"]}
    _, metrics = backend.run(step, carry, (x, y, None), 5, interrupted=lambda: True)
    assert metrics["loss"].shape == ((1,) if said(request, "stepwise") else (5,))


def test_blocks_are_spread(backend: Any, request: Any) -> None:
    threads = explained(backend, members=8, block=2, threads=2).threads
    assert threads == (2 if said(request, "spread") else 1)


def test_a_large_batch_is_split(backend: Any, request: Any) -> None:
    if backend.name == "numpy":
        from xpnet.backends.numpy.threads import can_hold_blas

        assert can_hold_blas(), "no batch is split where BLAS cannot be held to one thread"
    assert explained(backend, threads=2).threads == (2 if said(request, "split") else 1)


def test_arrays_can_be_written_into(backend: Any, request: Any) -> None:
    array = backend.asarray(np.zeros(3), "float64")
    if said(request, "writable"):
        array[0] = 1.0
        assert backend.to_host(array)[0] == 1
    else:
        with pytest.raises(TypeError):
            array[0] = 1.0
