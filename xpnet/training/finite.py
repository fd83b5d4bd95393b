"""Whether members are still good: parameters, state of layers, and the loss that they have now."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.pure import is_ours
from xpnet.layers.base import apply
from xpnet.losses import Share, evaluate
from xpnet.training.blocks import Blocks
from xpnet.training.rows import data_rows, first_of, rows_of
from xpnet.training.step import Data, TrainingStep, layer_state_in, trained
from xpnet.types import Array, Carry


def finite(backend: backends.Backend, carry: Carry) -> np.ndarray:
    """Whether all parameters, and all state of the layers, are finite, of each member."""
    lead = carry["theta"].shape[:-1]
    arrays = [backend.xp.reshape(array, (*lead, -1)) for array in trained(carry).values()]
    return np.asarray(np.stack([_rows_finite(backend, array) for array in arrays]).all(axis=0))


def _rows_finite(backend: backends.Backend, array: Array) -> np.ndarray:
    xp, host = backend.xp, backend.to_host
    if backend.near:
        return np.asarray(np.isfinite(host(array)).all(axis=-1)).reshape(-1)
    # One operation where all is well: a sum that is finite has none but finite terms.
    found = np.isfinite(host(xp.sum(array, axis=-1))).reshape(-1)
    if not found.all():
        found = host(xp.all(xp.isfinite(array), axis=-1)).reshape(-1)
    return np.asarray(found)


def finite_in(blocks: Blocks) -> np.ndarray:
    """Whether all of it is finite, of each member that is computed."""
    return np.concatenate([finite(blocks.backend, carry) for carry in blocks.carries])


def all_finite_in(blocks: Blocks) -> bool:
    """Whether all of it is finite, of all."""
    if blocks.backend.near and len(blocks) == 1:  # without what only members need
        host = blocks.backend.to_host
        return all(np.isfinite(host(array)).all() for array in trained(blocks[0].carry).values())
    return bool(finite_in(blocks).all())


def losses_in(blocks: Blocks, rows: np.ndarray, samples: int) -> np.ndarray:
    """What the losses of these members are now, on the first so many samples."""
    if (ranks := blocks.ranks) is None:
        return _losses_in(blocks, rows, samples, samples)
    here = min(max(samples - ranks.first, 0), ranks.count)
    own = _losses_in(blocks, rows, here, samples) if here else np.zeros(len(rows))
    return ranks.sum(own.astype(np.float64))


def _losses_in(blocks: Blocks, rows: np.ndarray, here: int, samples: int) -> np.ndarray:
    """What the first ``here`` samples add to these losses."""
    backend, step, size, count = blocks.backend, blocks.step, blocks.size, len(rows)
    data = first_of(blocks.data, here)
    carries = [trained(carry) for carry in blocks.carries]
    if len(carries[0]["theta"].shape) == 1:
        threads = blocks.threads if blocks.ranks is None else blocks.threads or 1
        return _loss(backend, step, carries[0], data, samples, threads).reshape(-1)
    if not backend.eager:  # every size is compiled for
        rows = np.pad(rows, (0, -count % size), mode="edge")
    carry = rows_of(backend, carries, rows)
    found = []
    for start in range(0, len(rows), size):  # all at once may not fit in memory
        some = slice(start, min(start + size, len(rows)))
        part = data_rows(backend, data, rows[some])
        theirs = {name: array[some, ...] for name, array in carry.items()}
        found.append(_loss(backend, step, theirs, part, samples).reshape(-1))
    return np.concatenate(found)[:count]


def _loss(
    backend: backends.Backend,
    step: TrainingStep,
    carry: Carry,
    data: Data,
    samples: int,
    threads: int | None = None,
) -> np.ndarray:
    """What ``data`` adds to the loss in inference on so many samples, on the host; of a network
    alone over ``threads``.
    """
    xp, to_host, parts = backend.xp, backend.to_host, tuple(data)
    quick = not backend.eager and backend.near and is_ours(step)
    if quick:  # where each operation alone takes long, by NumPy instead
        xp = np
        carry = {name: to_host(array) for name, array in carry.items()}
        parts = tuple(a if a is None else to_host(a) for a in parts)
    theta, state = carry["theta"], tuple(layer_state_in(step.network, carry).values())
    params = step.network.layout.views(xp, theta)

    def loss(x: Array, target: Array, weight: Array | None) -> Any:
        with np.errstate(all="ignore"):
            output = apply(step.network, xp, params, x, state)
            return evaluate(step.loss, xp, output, target, Share(samples, weight))[0]

    if quick:
        return np.asarray(loss(*parts))
    if len(theta.shape) == 1 and step.is_samplewise:
        return backend.to_host(backend.sum_over(loss, theta, data, threads))
    return to_host(loss(*parts))
