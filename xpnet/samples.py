"""Samples dealt out: some to train on, the others to test with."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.initializers import RNG, generator
from xpnet.types import Array


def split(
    x: Array,
    *more: Array,
    test: float | int = 0.2,
    seed: int | RNG = 0,
    stratify: bool = False,
) -> tuple[Array, ...]:
    """Deal samples out at random: ``x_train, x_test, y_train, y_test = split(x, y)``.

    Args:
        x: the samples, along the first axis.
        more: what goes with them, row by row: ``y``, weights; arrays of the same library.
        test: what part of the samples is to test with, above 0 and below 1, or how many.
        seed: seeds who goes where; the same for every library.
        stratify: whether each class of ``y``, the first of ``more``, has its share in both parts
            (to one sample): integers, truth values, whole numbers, texts of NumPy's, or one-hot
            rows.

    Returns:
        Of each array two, in its library, on its device: of training and of test, in random order.

    Raises:
        TypeError, ValueError: if an argument is none of these, a part would be empty, or a class
            has a single sample.
    """
    names = ["x", *(("y", "sample_weight")[i] if i < 2 else f"more[{i}]" for i in range(len(more)))]
    named = dict(zip(names, (x, *more), strict=True))
    checks.given(**named)
    arrays = tuple(backends.taken(**named).values())
    x = arrays[0]
    backend = backends.of(*arrays, names=tuple(names))
    for name, array in zip(names, arrays, strict=True):
        if not len(array.shape) or array.shape[0] != x.shape[0]:
            raise ValueError(
                f"{name} must have the {checks.shape_of(x)[:1]} samples of x along its first axis, "
                f"not the shape {checks.shape_of(array)}."
            )
    samples = int(x.shape[0])
    count = _tested(test, samples)
    rng = generator(seed, "seed")
    if checks.switch("stratify", stratify):
        if not more:
            raise ValueError("stratify must be False without y, whose classes it is of, not True.")
        parts = _by_class(backend, arrays[1], count, rng)
    else:
        order = np.arange(samples)
        rng.shuffle(order)
        parts = order[count:], order[:count]
    with backend.context():
        rows = [backend.asarray(part, "int64") for part in parts]
        return tuple(backend.xp.take(array, part, axis=0) for array in arrays for part in rows)


def _tested(test: Any, samples: int) -> int:
    """How many samples are to test with."""
    whole = hasattr(test, "__index__") and not isinstance(test, bool)
    if whole:
        count = checks.whole("test", test)
    else:
        count = round(checks.number("test", test, above=0, below=1) * samples)
    if not 0 < count < samples:
        raise ValueError(
            f"test must leave samples to both parts of the {samples} there are, not be "
            f"{checks.shown(test)}."
        )
    return count


def _by_class(
    backend: backends.Backend, y: Array, count: int, rng: RNG
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both parts, each class dealt out by itself."""
    host = backend.to_host(y)
    text = _holds_text(host)
    if host.ndim > 2 or not (text or _holds_whole_numbers(host)):
        raise ValueError(
            "stratify must be False for y that holds no classes, such as "
            f"{host.dtype} of the shape {host.shape}, not True."
        )
    rows = host.reshape(-1) if text else host.reshape(len(host), -1)
    axis = None if text else 0  # objects are sorted along none
    _, classes, sizes = np.unique(rows, axis=axis, return_inverse=True, return_counts=True)
    if len(sizes) > count or len(sizes) > len(host) - count or sizes.min() < 2:
        raise ValueError(
            "stratify must be False where a class would be missing in a part: y has "
            f"{len(sizes)} classes, one of {sizes.min()}, in {len(host)} samples, of which {count} "
            "are to test with; not True."
        )
    # The whole of each share, at least one and all but one, and the rest to the largest remainders.
    share = sizes * (count / len(host))
    taken = np.clip(np.floor(share), 1, sizes - 1).astype(int)
    while taken.sum() != count:
        step = 1 if taken.sum() < count else -1
        open_ = (taken + step >= 1) & (taken + step <= sizes - 1)
        taken[np.where(open_, step * (share - taken), -np.inf).argmax()] += step
    train: list[np.ndarray] = []
    held: list[np.ndarray] = []
    for i, number in enumerate(taken):
        members = np.flatnonzero(classes.reshape(-1) == i)
        rng.shuffle(members)
        held.append(members[:number])
        train.append(members[number:])
    found = np.concatenate(train), np.concatenate(held)
    for part in found:
        rng.shuffle(part)
    return found


def _holds_text(y: np.ndarray) -> bool:
    """Whether each sample has one text."""
    if y.size != len(y):
        return False
    return y.dtype.kind in "UST" or (y.dtype == object and all(isinstance(v, str) for v in y.flat))


def _holds_whole_numbers(y: np.ndarray) -> bool:
    kind = y.dtype.kind
    return kind in "biu" or (kind == "f" and bool((y == np.floor(y)).all()))
