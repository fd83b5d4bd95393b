"""JAX with two devices: what it trains on samples of which each has a part.

XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m tests.sharded
"""

from __future__ import annotations

import re

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import xpnet as xn
from xpnet.backends.jax.program import _jitted
from xpnet.backends.jax.sharded import spread
from xpnet.training.asked import Asked
from xpnet.training.prepare import prepared

jax.config.update("jax_enable_x64", True)
MESH = jax.make_mesh((2,), ("samples",))
OVER = NamedSharding(MESH, PartitionSpec("samples"))
NET = xn.Sequential(xn.Standardize(5), xn.Linear(5, 8), xn.Tanh(), xn.Linear(8, 1))
LOSS, ADAM = xn.BCEWithLogits(), xn.Adam(lr=1e-2)


def digits(x: np.ndarray, y: np.ndarray) -> None:
    """The same theta to rounding, which each device has whole."""
    one, two = ([jax.device_put(part, how) for part in (x, y)] for how in (None, OVER))
    for asked in ({}, {"batch_size": 16, "validation": True}):
        found = []
        for given in (one, two):
            own = {**asked, "validation": tuple(given)} if "validation" in asked else asked
            found.append(xn.fit(NET, *given, loss=LOSS, optimizer=ADAM, epochs=5, seed=0, **own))
        alone, shared = found
        assert np.abs(np.asarray(alone.theta) - np.asarray(shared.theta)).max() <= 1e-15, asked
        assert np.abs(alone.history.loss - shared.history.loss).max() <= 1e-15, asked
        assert shared.theta.sharding.is_fully_replicated and len(shared.theta.devices()) == 2
    predicted = shared.predict(two[0])
    assert len(predicted.devices()) == 2
    assert np.array_equal(np.asarray(predicted), np.asarray(alone.predict(one[0])))
    assert "a mesh of 2 devices (samples: 2)" in str(
        xn.explain(NET, *two, loss=LOSS, optimizer=ADAM)
    )


def work(x: np.ndarray, y: np.ndarray) -> None:
    """Each device is given its samples, multiplies those alone, and gradients are summed up."""
    given = [jax.device_put(part, OVER) for part in (x, y)]
    for size, each in ((None, 32), (16, 8)):
        asked = Asked(NET, *given, LOSS, ADAM, seed=0, batch_size=size)
        with prepared(asked) as loop:
            block = loop.population.blocks[0]
            rows = None
            if size is not None:
                rows = loop.backend.asarray(np.arange(64).reshape(-1, size), "int64")
            lowered = _jitted(loop.step).lower(
                4, spread(block.data), (), block.carry, block.data, rows, ()
            )
            program = lowered.compile()
        carry, (own, *_), *_ = program.input_shardings[0]
        assert own.spec == PartitionSpec("samples")
        assert carry["theta"].is_fully_replicated
        text = program.as_text()
        assert "all-reduce" in text
        assert f"f64[{each},8]" in text  # of half of them
        assert f"f64[{2 * each},8]" not in text


def mistakes(x: np.ndarray, y: np.ndarray) -> None:
    """Half on one device is told."""
    spread_x = jax.device_put(x, OVER)
    try:
        xn.fit(NET, spread_x, jax.device_put(y), loss=LOSS, optimizer=ADAM, epochs=1)
    except ValueError as error:
        assert re.search("y lies on cpu.* but x on a mesh of 2 devices", str(error)), error
    else:
        raise AssertionError("y on one device was taken")


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5))
    y = (x[:, :1] * x[:, 1:2] > 0).astype(float)
    for claim in (digits, work, mistakes):
        claim(x, y)
    print("done")
