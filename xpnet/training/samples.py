"""Samples as a step wants them, those of training and of validation: looked at once."""

from __future__ import annotations

from typing import Any

from xpnet import backends, checks
from xpnet.checks.network import check_input, check_samples
from xpnet.losses import Loss, prepare
from xpnet.network import Sequential
from xpnet.training.step import Data
from xpnet.types import Array


def looked_at(
    backend: backends.Backend,
    network: Sequential,
    loss: Loss,
    x: Array,
    y: Array,
    sample_weight: Array | None,
    members: int | None,
) -> tuple[Array, Array | None]:
    """Targets and weights as a step wants them, of samples whose values are what they should be.

    Raises:
        TypeError, ValueError: if some are not.
    """
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        if array is not None and backend.xp.isdtype(array.dtype, "real floating"):
            backend.check_finite(name, array)
    check_input(network, backend, x)
    lead = () if members is None else (members,)
    shape = (*lead, int(x.shape[-2]), network.out_features or int(x.shape[-1]))
    return prepare(backend, loss, shape, y, sample_weight, x.dtype, check=True)


def validated(
    backend: backends.Backend,
    network: Sequential,
    loss: Loss,
    given: Any,
    x: Array,
    members: int | None,
) -> tuple[Data, tuple[Array, Array | None]]:
    """The samples to validate on, as a step wants them, and their ``y`` and weights as given.

    Args:
        backend: that of ``x``.
        network, loss: what is trained.
        given: ``(x, y)`` or ``(x, y, sample_weight)``.
        x: what it is trained on.
        members: how many networks, or ``None``.

    Raises:
        TypeError, ValueError: if they are not as those that it is trained on.
    """
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise TypeError(
            "validation must be (x, y) or (x, y, sample_weight) of samples that are not trained "
            f"on, not {checks.shown(given)}."
        )
    own, y, weight = (*given, None)[:3]
    try:
        checks.given(x=own, y=y)
        backends.of(x, own, y, weight, names=("x of training", "x", "y", "sample_weight"))
        checks.same_dtype(backend, own, "x", x, "x of training")
        own = check_samples(network, backend, own)
        checks.same_members(own, members)
        for name, array in (("x", own), ("y", y), ("sample_weight", weight)):
            if array is not None and backend.traced(array):
                raise TypeError(f"{name} must hold values, not be traced.")
        target, share = looked_at(backend, network, loss, own, y, weight, members)
    except (TypeError, ValueError) as error:
        # Not the labels that are trained on: what would be right is not another count from 0.
        said = f"In validation, {error}".partition("; use y - ")[0].rstrip(".")
        raise (ValueError if isinstance(error, ValueError) else TypeError)(f"{said}.") from error
    return (own, target, share), (y, weight)
