"""Samples as a step wants them, those of training and of validation: looked at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet import backends, checks
from xpnet.checks.network import check_input, check_samples
from xpnet.losses import Loss, prepare
from xpnet.losses.base import prepare_weight
from xpnet.network import Sequential
from xpnet.training.sources import Source, opened
from xpnet.training.step import Data
from xpnet.training.streamed import Streamed
from xpnet.types import Array


def looked_at(
    backend: backends.Backend,
    network: Sequential,
    loss: Loss,
    x: Array | Source,
    y: Array | Source,
    sample_weight: Array | None,
    members: int | None,
) -> Data | Streamed:
    """Samples as a step wants them, whose values are what they should be.

    Those of ``x`` that is read are looked at with each batch; of ``y`` that is, here, piece by
    piece.

    Raises:
        TypeError, ValueError: if some are not.
    """
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        if array is None or isinstance(array, Source):
            continue
        if backend.xp.isdtype(array.dtype, "real floating"):
            backend.check_finite(name, array)
    lead = () if members is None else (members,)
    shape = (*lead, int(x.shape[-2]), network.out_features or int(x.shape[-1]))
    dtype = backend.dtype(x.dtype.name) if isinstance(x, Source) else x.dtype
    if not isinstance(x, Source):
        check_input(network, backend, x)
    if isinstance(y, Source):
        weight = prepare_weight(backend, sample_weight, shape, dtype)
        if sample_weight is not None:
            checks.weights(backend, sample_weight)
        making = _preparing(backend, loss, y, (shape[-2], shape[-1]), dtype)
        return Streamed(backend, network, x, y, weight, making)
    target, weight = prepare(backend, loss, shape, y, sample_weight, dtype, check=True)
    if isinstance(x, Source):
        return Streamed(backend, network, x, target, weight)
    return x, target, weight


def in_memory(backend: backends.Backend, array: Any, like: Array) -> Any:
    """Targets or weights, brought to the device if they are read by rows, for ``like``."""
    if not isinstance(array, Source):
        return array
    array = array.as_numbers(backend.dtype_name(like))
    return backend.asarray(array.whole(), array.dtype.name)


def _preparing(
    backend: backends.Backend, loss: Loss, y: Source, shape: tuple[int, int], dtype: Any
) -> Callable[[Array], Array]:
    """What prepares targets that are read, which all members share; looks at all of them."""
    samples, outputs = shape
    if y.shape[0] != samples:
        raise ValueError(f"y must hold the {samples} samples of x, not {y.shape[0]}.")
    bring, labels = backend.bringing(), True

    def prepared(some: Array) -> Array:
        target = loss.prepare(backend, (int(some.shape[0]), outputs), some, dtype)
        return target == 1 if labels and target.dtype != backend.xp.bool else target

    for piece in map(bring, y.pieces()):
        try:
            output = (int(piece.shape[0]), outputs)
            loss.prepare(backend, output, piece, dtype)
            labels = loss.check_values(backend, output, piece) and labels
        except (TypeError, ValueError) as error:  # whose cure is for arrays
            said = str(error).partition("; use ")[0].rstrip(".")
            raise (ValueError if isinstance(error, ValueError) else TypeError)(
                f"{said}."
            ) from error
    return prepared


def validated(
    backend: backends.Backend,
    network: Sequential,
    loss: Loss,
    given: Any,
    x: Array,
    members: int | None,
    batch_size: int | None,
) -> tuple[Data | Streamed, tuple[Array, Array | None]]:
    """The samples to validate on, as a step wants them, and their ``y`` and weights as given.

    Of what is read by rows, ``y`` and weights are brought into memory.

    Args:
        backend: that of ``x``.
        network, loss: what is trained.
        given: ``(x, y)`` or ``(x, y, sample_weight)``.
        x: what it is trained on, or some of it.
        members: how many networks, or ``None``.
        batch_size: of how many samples a step is, or ``None``.

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
        named = {"x of training": x, "x": own, "y": y, "sample_weight": weight}
        _, own, y, weight = backends.taken(**named).values()
        own, y, weight = opened(batch_size, x=own, y=y, sample_weight=weight).values()
        y, weight = (in_memory(backend, one, x) for one in (y, weight))
        there = None if isinstance(own, Source) else own
        backends.of(x, there, y, weight, names=("x of training", "x", "y", "sample_weight"))
        if isinstance(own, Source):
            if not loss.is_samplewise:  # each batch is looked at by itself
                raise ValueError(
                    f"x must be in memory for {checks.shown(loss)}, which does not declare itself "
                    "samplewise, a mean over samples, not read by rows."
                )
            own = own.as_samples(network, backend.dtype_name(x))
            wanted = backend.dtype_name(x)
            if own.dtype.name != wanted:
                raise TypeError(
                    f"x must have the dtype {wanted} of x of training, not {own.dtype.name}."
                )
        else:
            checks.same_dtype(backend, own, "x", x, "x of training")
            own = check_samples(network, backend, own)
        checks.same_members(own, members)
        for name, array in (("x", there), ("y", y), ("sample_weight", weight)):
            if array is not None and backend.traced(array):
                raise TypeError(f"{name} must hold values, not be traced.")
        data = looked_at(backend, network, loss, own, y, weight, members)
    except (TypeError, ValueError) as error:
        # Not the labels that are trained on: what would be right is not another count from 0.
        said = f"In validation, {error}".partition("; use y - ")[0].rstrip(".")
        raise (ValueError if isinstance(error, ValueError) else TypeError)(f"{said}.") from error
    return data, (y, weight)
