"""A recording knows what a step would do, without doing it."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.compiler import record as tape
from xpnet.training.step import TrainingStep, carry_of

CALLS = {
    "matmul": lambda xp, a, b: a @ b.mT,
    "matmul of members with what they share": lambda xp, a, b: a @ b[0, ...].mT,
    "elementwise": lambda xp, a, b: (a - 2) * b / (a + 1.5),
    "of other shapes": lambda xp, a, b: a + b[..., :1, :] * b[0, :, :1],
    "comparison": lambda xp, a, b: (a > b) & (b <= 0.5),
    "comparison as floats": lambda xp, a, b: xp.astype(a > 0, xp.float32) + a,
    "promotion": lambda xp, a, b: xp.astype(a, xp.float32) * xp.astype(b > 0, xp.float32),
    "function": lambda xp, a, b: xp.maximum(xp.exp(a), xp.abs(b)),
    "reshape": lambda xp, a, b: xp.reshape(a, (3, -1)),
    "getitem": lambda xp, a, b: a[1, ..., 2:4],
    "a new axis": lambda xp, a, b: a[:, None, ...] * b[..., None, :],
    "concat": lambda xp, a, b: xp.concat([a, b, a], axis=-1),
    "concat of members": lambda xp, a, b: xp.concat([a, b], axis=0),
    "sum": lambda xp, a, b: xp.sum(a, axis=-2, keepdims=True) - b,
    "sum of all": lambda xp, a, b: xp.sum(a, axis=(-2, -1)),
    "sum of truths": lambda xp, a, b: xp.count_nonzero(a > b, axis=(-2, -1)),
    "max": lambda xp, a, b: a - xp.max(a, axis=-1, keepdims=True),
    "argmax": lambda xp, a, b: xp.argmax(a, axis=-1),
    "take": lambda xp, a, b: xp.take(a, xp.argmax(b, axis=-1)[0, ...], axis=-1),
    "filled": lambda xp, a, b: xp.ones_like(a[..., :1]) + xp.zeros_like(b),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_recording_knows_the_shape_and_dtype_that_the_library_finds(
    backend: Any, call: Any
) -> None:
    rng = np.random.default_rng(7)
    a, b = (backend.asarray(rng.normal(size=(3, 4, 5)), "float64") for _ in range(2))
    recorder = tape.Tape(backend.xp)
    traced = call(tape.TracingNamespace(recorder), recorder.input(a), recorder.input(b))
    real = call(backend.xp, a, b)
    assert traced.shape == tuple(real.shape)
    assert traced.dtype == real.dtype


def test_what_does_not_fit_together_cannot_be_recorded() -> None:
    recorder = tape.Tape(np)
    x, w = (recorder.input(np.ones(shape)) for shape in ((4, 3), (2, 5)))
    xp = tape.TracingNamespace(recorder)
    for wrong in (
        lambda: x @ w,
        lambda: x + w,
        lambda: xp.reshape(x, (5, 5)),
        lambda: x[..., 0, 0, 0],
        lambda: xp.sum(x, axis=2),
    ):
        with pytest.raises((ValueError, IndexError)):
            wrong()


def test_to_record_a_step_takes_no_memory_of_the_size_of_its_layers() -> None:
    samples, width = 4096, 256
    rng = np.random.default_rng(7)
    net = xn.Sequential(xn.Linear(2, width), xn.ReLU(), xn.Linear(width, 1))
    x, y = rng.normal(size=(samples, 2)), rng.normal(size=(samples, 1))
    theta = net.init(1, like=x)
    step = TrainingStep(np, net, xn.MSE(), xn.Adam())
    tracemalloc.start()
    tape.record(step, np, carry_of(theta, step.optimizer.init(theta)), (x, y, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < samples * width * x.itemsize / 8
