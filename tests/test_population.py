"""Ensembles: how members are put together changes nothing but the time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library, report_network, xor

ROOT = Path(__file__).parents[1]


def train(backend: Any, members: int, **options: Any) -> xn.Model:
    x, y = xor(backend)
    return xn.fit(
        report_network(),
        x,
        y,
        loss=xn.BCE(),
        optimizer=xn.Adam(lr=1e-2),
        seed=42,
        members=members,
        check_every=10,
        **options,
    )


def bound(epochs: int) -> float:
    """How far members may drift apart that are computed in other company.

    A product's sums of up to 21 terms may be taken in another order, 3 layers forward and back, and
    a step passes on what it was given with a factor near 1: 2 · 3 · 21 roundings an epoch, of
    numbers below 4, and ten times that for the division by √v in Adam.
    """
    return 10 * 2 * 3 * 21 * epochs * 4 * 2.0**-52


@pytest.mark.slow_on("strict", "strict:device1")
@pytest.mark.parametrize("options", [{}, {"batch_size": 8}], ids=["full", "batches"])
@pytest.mark.parametrize("block", [1, 3, 4])
def test_blocks_change_nothing(backend: Any, block: int, options: dict[str, Any]) -> None:
    whole = train(backend, 7, epochs=20, block=7, **options)
    blocks = train(backend, 7, epochs=20, block=block, **options)
    atol = bound(20 * (3 if options else 1))
    for a, b in (
        (backend.to_host(whole.theta), backend.to_host(blocks.theta)),
        (whole.history.loss, blocks.history.loss),
        (whole.history.accuracy, blocks.history.accuracy),
    ):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=0, atol=atol)


def test_a_member_does_not_depend_on_its_company(backend: Any) -> None:
    together = train(backend, 6, epochs=20)
    alone = xn.fit(
        report_network(),
        *xor(backend),
        loss=xn.BCE(),
        optimizer=xn.Adam(lr=1e-2),
        seed=42 + 4,
        epochs=20,
        check_every=10,
    )
    np.testing.assert_allclose(
        backend.to_host(together.theta)[4], backend.to_host(alone.theta), rtol=0, atol=bound(20)
    )


def test_threads_do_not_change_a_digit() -> None:
    backend = xn.backends.get("numpy")
    one = train(backend, 9, epochs=30, block=2, threads=1)
    three = train(backend, 9, epochs=30, block=2, threads=3)
    np.testing.assert_array_equal(one.theta, three.theta)
    np.testing.assert_array_equal(one.history.loss, three.history.loss)


@pytest.mark.slow_on("strict", "strict:device1")
def test_members_that_arrive_leave_their_blocks_and_keep_their_place(backend: Any) -> None:
    x, y = xor(backend)
    seeds = [3, 1, 4, 1, 5]
    options: Any = {
        "loss": xn.BCE(),
        "optimizer": xn.Adam(lr=3e-2),
        "epochs": 120,
        "check_every": 20,
        "acc_goal": 0.9,
    }
    many = xn.fit(report_network(), x, y, seed=seeds, members=5, block=2, **options)
    stops = many.history.stop
    assert len(set(stops.tolist())) > 1  # not all at once, or nothing would be shown
    for i, seed in enumerate(seeds):
        one = xn.fit(report_network(), x, y, seed=seed, **options)
        assert stops[i] == one.history.stop
        np.testing.assert_allclose(
            backend.to_host(many.theta)[i],
            backend.to_host(one.theta),
            rtol=0,
            atol=10 * bound(120),  # lr is 3 times as large, and 120 steps may sharpen differences
        )
        if stops[i]:
            assert np.isnan(many.history.loss[stops[i] :, i]).all()
            assert np.isfinite(many.history.loss[: stops[i], i]).all()


def test_the_checks_alone_can_be_kept(backend: Any) -> None:
    every = train(backend, 3, epochs=25)
    checks = train(backend, 3, epochs=25, every_epoch=False)
    assert checks.history.epochs == every.history.epochs == 25
    np.testing.assert_array_equal(checks.history.loss, every.history.loss[[9, 19, 24]])


X64_HERE = """
import jax, numpy as np, xpnet as xn

if not hasattr(jax, "enable_x64"):  # in earlier versions of JAX
    from jax.experimental import enable_x64
    jax.enable_x64 = enable_x64
assert not jax.config.jax_enable_x64
with jax.enable_x64(True):
    x, y = (jax.numpy.asarray(array) for array in xn.datasets.xor())
    net = xn.Sequential(xn.Linear(2, 4), xn.ReLU(), xn.Linear(4, 1))
    one, two = (
        xn.fit(net, x, y, loss=xn.BCEWithLogits(), optimizer=xn.Adam(), epochs=20, seed=3,
               members=5, block=2, threads=threads)
        for threads in (1, 2)
    )
    assert two.theta.dtype == "float64"
    np.testing.assert_array_equal(one.theta, two.theta)
"""


def test_threads_compute_in_the_precision_that_jax_has_where_fit_is_called() -> None:
    library("jax")
    result = subprocess.run(
        [sys.executable, "-c", X64_HERE], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("samples", "width", "block"), [(200, 100, 8), (21, 4, 195), (1000, 100, 2), (1000, 1000, 1)]
)
def test_a_block_has_a_few_members_however_wide_they_are(
    samples: int, width: int, block: int
) -> None:
    seen: list[int] = []

    class Look(xn.Callback):
        def start(self, run: xn.Run) -> None:
            seen.append(run.block)

    x = np.linspace(0, 1, samples)[:, None]
    net = xn.Sequential(xn.Linear(1, width), xn.ReLU(), xn.Linear(width, 1))
    dtype = "float32" if width == 100 and samples == 200 else "float64"
    x = x.astype(dtype)
    xn.fit(net, x, x, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, seed=0, members=200 if width < 9
           else 9, callbacks=[Look()])  # fmt: skip
    assert seen == [block]


def test_on_numpy_the_bits_of_a_member_are_the_same_beside_whichever_others():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
    net = xn.Sequential(xn.Linear(3, 5), xn.Tanh(), xn.Linear(5, 4))
    loss, adam = xn.CrossEntropy(), xn.Adam(lr=1e-2, clip_norm=0.1)

    def fit(first, members):
        return xn.fit(net, x, y, loss=loss, optimizer=adam, epochs=20, seed=first, members=members)

    whole = fit(0, 21)
    for first, members in ((0, 1), (3, 7), (10, 11)):
        part, rows = fit(first, members), slice(first, first + members)
        np.testing.assert_array_equal(part.theta, whole.theta[rows])
        np.testing.assert_array_equal(part.history.loss, whole.history.loss[:, rows])
