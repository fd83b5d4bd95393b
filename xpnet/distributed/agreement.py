"""What ranks must have in common before they train together, and what they find of all samples."""

from __future__ import annotations

import hashlib
import os
from dataclasses import fields, replace
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.distributed.ranks import Ranks
from xpnet.moments import total
from xpnet.network import Sequential
from xpnet.training.asked import Asked
from xpnet.training.fingerprint import SAMPLES, Told, argument
from xpnet.training.sources import Source, is_source
from xpnet.training.streamed import Streamed
from xpnet.types import Array, Carry


def agree(ranks: Ranks, asked: Asked, **also: Any) -> None:
    """Look at what this rank was given, compare it with the others, and count the samples of all.

    Args:
        ranks: those who train together, whose ``counts`` are set.
        asked: what this one was asked for.
        also: what else must be the same, by name.

    Raises:
        TypeError, ValueError: on all ranks, if it is not as `fit` wants it on one of them, or not
            the same on all.
    """
    own, backend, like = asked.opened().checked()
    _check_mean(own, backend)
    several = isinstance(own.validation, (tuple, list)) and len(own.validation) in (2, 3)
    held: Any = own.validation[0] if own.validation is not None and several else None
    if isinstance(held, (str, os.PathLike)):
        held = Source("In validation, x", held)
    shape = () if held is None else checks.shape_of(held)
    told = _told(own, backend, like, also)
    counts = ranks.exchange(
        int(own.x.shape[-2]), int(shape[-2]) if len(shape) > 1 else 0, _number(told)
    )
    ranks.counts, ranks.held = counts[:, 0], counts[:, 1]
    if (counts[:, 2] != counts[0, 2]).any():
        difference = _difference(ranks, told, ranks.comm.from_rank(told, 0))
        ranks.exchange(error=difference)
        if difference is not None:
            raise difference


def _check_mean(asked: Asked, backend: backends.Backend) -> None:
    """Raise unless a step is a mean over samples, whose parts add up."""
    for link in asked.network.links:
        if not link.layer.is_samplewise:
            raise ValueError(
                f"comm must be None for {link.name}, which may look across the samples of a batch, "
                "of which a rank has a part; use a LayerNorm in place of a BatchNorm, and declare "
                "samplewise = True in a layer of your own that looks at each by itself."
            )
    if not asked.loss.is_samplewise:
        raise ValueError(
            f"comm must be None for {checks.shown(asked.loss)}, which does not declare itself "
            "samplewise, a mean over samples."
        )
    if asked.threads not in (None, 1) and len(backend.spread(2, 2)) == 1:
        raise ValueError(
            f"threads must be None or 1 with comm for arrays of {backend.name}, on which each rank "
            f"computes on one core, not {checks.shown(asked.threads)}; start as many ranks as "
            "there are cores."
        )


def _told(asked: Asked, backend: backends.Backend, like: Array, also: dict[str, Any]) -> Told:
    """What is to be the same on all ranks, as of a checkpoint; of samples their form."""
    names = [one.name for one in fields(asked) if one.name not in ("seed", *SAMPLES)]
    values = {name: getattr(asked, name) for name in names} | also
    told = {name: argument(name, value) for name, value in values.items()}
    form = f"samples of {like.shape[-1]} features, {backend.dtype_name(like)} of {backend.name}"
    read = [name for name in ("x", "y") if isinstance(getattr(asked, name), Source)]
    if isinstance(asked.validation, (tuple, list)) and len(asked.validation) > 0:
        held = asked.validation[0]
        if is_source(held) or (isinstance(held, np.memmap) and asked.batch_size is not None):
            read.append("validation")
    form += f", with {' and '.join(read)} read by rows" if read else ""
    told["the form of x"] = [form, form]
    for name in ("sample_weight", "validation"):
        given = "None" if getattr(asked, name) is None else "given"
        told[name] = [given, given]
    return told


def _number(told: Any) -> int:
    """A number for what is told."""
    found = hashlib.blake2b(repr(told).encode(), digest_size=7).digest()
    return int.from_bytes(found, "little")


def _difference(ranks: Ranks, told: Told, first: Told) -> ValueError | None:
    """What is not on this rank as it is on rank 0."""
    for name, (shown, found) in told.items():
        there, wanted = first.get(name, ["nothing", ""])
        if found != wanted:
            here = f"on rank {ranks.rank}"
            one = f"is {shown} {here} and {there} on rank 0"
            if shown == there:
                one = f"{shown} {here} is another than that on rank 0"
            return ValueError(f"{name} must be the same on all ranks, but {one}.")
    return None


def require_equal(ranks: Ranks, backend: backends.Backend, carry: Carry, drawn: Any) -> None:
    """Raise, on all ranks, unless all begin with the same parameters, state, noise and orders."""
    parts = {
        "theta": ("theta",),
        "state": [name for name in carry if name.startswith("optimizer.")],
        "layer_state": [name for name in carry if name.startswith("layers.")],
    }
    numbers = [
        _number([backend.to_host(carry[name]).tobytes() for name in names])
        for names in parts.values()
    ]
    found = np.stack([ranks.exchange(n)[:, 0] for n in (*numbers, _number(drawn))], axis=1)
    other = np.argwhere(found != found[0])
    if not len(other):
        return
    rank, which = other[0].tolist()
    name = [*parts, "shuffle_seed"][which]
    cure = {"theta": "give all the same seed", "shuffle_seed": "give all the same number"}
    raise ValueError(
        f"{name} must be the same on all ranks at the beginning, but rank {rank} has another than "
        f"rank 0; {cure.get(name, 'give all the same')}."
    )


def of_all(
    ranks: Ranks, backend: backends.Backend, weight: Array | None, given: Array | None, count: int
) -> Array | None:
    """Prepared weights, relative to a mean of 1 over the samples of all ranks.

    Args:
        ranks: those ranks.
        backend: where the weights are.
        weight: ``(..., samples, 1)``, relative to a mean of 1 over those of this one.
        given: as they were given, ``(..., samples)``.
        count: how many samples all ranks have.
    """
    if weight is None or given is None:
        return weight
    own = np.asarray(backend.to_host(given), dtype=np.float64)
    greatest = ranks.gather([float(own.max())])[:, 0].max() or 1.0
    own = np.mean(own / greatest, axis=-1, keepdims=True)
    samples = int(weight.shape[-2])
    whole = ranks.sum(own * samples) / count
    factor = (own / np.where(whole > 0, whole, 1.0))[..., None]
    return weight * backend.asarray(factor, backend.dtype_name(weight))


def first_state(
    ranks: Ranks,
    backend: backends.Backend,
    network: Sequential,
    like: Array,
    members: int | None,
    x: Array,
    weight: Array | None,
) -> dict[str, Array]:
    """The state of the layers before the first step, of the samples of all ranks."""
    state = network.init_state(like=like, members=members)
    if not network.reads_statistics:
        return state
    if network.unsummed:
        raise ValueError(
            f"comm must be None for {network.unsummed[0]!r}, whose statistics are not sums over "
            "samples; take them of some samples: theta=net.init(seed, like=some), "
            "layer_state=net.init_state(like=some, x=some)."
        )
    found = list(state.values())

    def over_all(xp: Any, values: Array, keepdims: bool = False) -> Array:
        own = total(xp, values, keepdims)
        return backend.asarray(ranks.sum(backend.to_host(own)), backend.dtype_name(own))

    network.take_statistics(backend, found, x, weight, total=over_all)
    return dict(zip(state, found, strict=True))


def validated_by_all(
    ranks: Ranks, backend: backends.Backend, held: Any, given: tuple[Array, Array | None]
) -> tuple[Any, tuple[Array, Array | None]]:
    """The samples of validation of this rank, and what metrics are asked with, of all.

    Args:
        ranks: those ranks.
        backend: where the samples are.
        held: as `validated` gives them.
        given: their ``y`` and weights, as they were given.
    """
    (x, target, weight), (y, own) = held, given
    count = int(ranks.held.sum())
    weight = of_all(ranks, backend, weight, own, count)

    def joined(array: Array | None, axis: int) -> Array | None:
        if array is None:
            return None
        whole = ranks.joined(backend.to_host(array), ranks.held, axis)
        return backend.asarray(whole, backend.dtype_name(array))

    axis = len(y.shape) - 2 if len(y.shape) == 3 else 0
    if len(y.shape) == 2 and y.shape[0] != ranks.held[ranks.rank]:
        axis = 1  # labels of each member
    read = isinstance(held, Streamed)
    data = replace(held, weight=weight) if read else (x, target, weight)
    return data, (joined(y, axis), joined(own, -1))


def same_still(ranks: Ranks, backend: backends.Backend, carries: list[Carry], stop: bool) -> bool:
    """Whether a rank wants to stop, once all know that they still are where the others are."""
    kept = [k for k in carries[0] if k == "theta" or k.startswith("layers.")]
    sums = [_bits(backend.to_host(carry[name])) for carry in carries for name in kept]
    found = ranks.exchange(stop, ranks.pressed(), _number(sums))
    ranks.interrupted = ranks.interrupted or bool(found[:, 1].any())
    other = np.flatnonzero(found[:, 2] != found[0, 2])
    if len(other):
        raise RuntimeError(
            f"theta must stay the same on all ranks, but that of rank {other[0]} has become "
            "another than that of rank 0: the sums of its communicator differ, or a layer goes on "
            "from samples."
        )
    return bool(found[:, 0].any())


def _bits(host: np.ndarray) -> int:
    """The sum of the words of an array."""
    flat = np.ascontiguousarray(host).reshape(-1)
    return int(np.sum(flat.view(f"u{flat.itemsize}"), dtype=np.uint64))
