"""Losses, somebody's own above all: whether they do as a loss should."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.layers.checked import is_own, named, note, takes
from xpnet.losses.base import Loss
from xpnet.losses.share import Share
from xpnet.types import Array


def check_loss(loss: Any) -> None:
    """Raise unless ``loss`` is a loss."""
    checks.instance("loss", loss, Loss, "a loss such as BCEWithLogits()")
    if not is_own(loss) and "weight" in inspect.signature(loss.forward).parameters:
        raise TypeError(
            f"{named(loss)}: forward is given a share in place of weight; return "
            "share.mean(xp, losses), and gradients times share.each(outputs)."
        )
    if not is_own(loss) and not takes(loss.forward, "xp", "output", "target", "share"):
        raise TypeError(f"{named(loss)}: forward must take (xp, output, target, share).")


def check_answers(
    backend: backends.Backend, loss: Loss, compute: Callable[[], Array], target: Array
) -> None:
    """Raise unless somebody's own loss gives the same twice, and of parts what it gives of all.

    The second is asked of one that declares itself samplewise, which threads then rely on.

    Args:
        backend: where it is.
        loss: the loss.
        compute: gives the output for some samples.
        target: theirs, as `prepare` made it.
    """
    if is_own(loss):
        return
    samples = int(target.shape[-2])
    output, share, xp = compute(), Share(samples), backend.xp

    def value(rows: slice) -> np.ndarray:
        part, y = backend.copy((output[..., rows, :], target[..., rows, :]))
        try:
            return backend.to_host(loss.forward(xp, part, y, share)[0])
        except Exception as error:
            note(error, f"in the loss, {named(loss)}")
            raise

    whole, half = value(slice(None)), samples // 2
    if not np.array_equal(whole, value(slice(None)), equal_nan=True):
        raise TypeError(
            f"{named(loss)}: forward must return the same for the same output, which it does not "
            "the second time; what it needs besides, a loss is given when it is made."
        )
    if not (loss.is_samplewise and half):
        return
    parts = value(slice(0, half)) + value(slice(half, None))
    # To half of the digits: that it was forgotten is told by the first.
    most = float(np.sqrt(np.finfo(whole.dtype).eps)) * max(1.0, float(np.abs(whole).max()))
    if np.isfinite(whole).all() and not np.all(np.abs(parts - whole) <= most):
        raise ValueError(
            f"{named(loss)}: forward must count each sample by its share, since it is samplewise: "
            "return share.mean(xp, losses), and gradients times share.each(outputs)."
        )
