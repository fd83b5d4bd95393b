"""What a loss is, and what comes before the first step: targets and weights as it wants them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np

from xpnet import backends, checks
from xpnet.losses.share import Share
from xpnet.types import Array


class Loss(ABC):
    """A loss of ``output`` of shape ``(..., samples, outputs)`` against targets ``y``.

    Shapes: ``y`` is as ``output`` (or without the member axes); ``sample_weight`` is
    ``(..., samples)``; the value has the shape of the member axes, ``()`` for one network.
    """

    def __call__(
        self,
        output: Array,
        y: Array,
        sample_weight: Array | None = None,
        check: bool | None = None,
    ) -> Array:
        """Return the value of the loss.

        Args:
            output: ``(..., samples, outputs)``.
            y: the targets.
            sample_weight: ``(..., samples)``, at least 0.
            check: whether to look at the values of ``y`` and ``sample_weight``; ``None`` for only
                where they lie on the host, since elsewhere the device is waited for.

        Raises:
            TypeError, ValueError: if shapes, dtypes, libraries, devices or values do not fit.
        """
        checks.given(output=output, y=y)
        backend = backends.of(output, y, sample_weight, names=("output", "y", "sample_weight"))
        if len(output.shape) < 2:
            raise ValueError(
                f"output must have the shape (..., samples, outputs), not {plain(output.shape)}."
            )
        if not backend.xp.isdtype(output.dtype, "real floating"):
            raise TypeError(f"output must be of floats, not {output.dtype}.")
        with backend.context():
            if looks(backend, check):
                self.check_order(backend, output, y)
            target, weight = prepare(
                backend, self, output.shape, y, sample_weight, output.dtype, check
            )
            share = Share(output.shape[-2], weight)
            return evaluate(self, backend.xp, output, target, share)[0]

    samplewise: ClassVar[bool] = False
    """Whether the loss is a mean over samples, each by itself, so that a batch may be split over
    threads. Every class says so for itself, as a layer does."""

    hyperparameters: ClassVar[tuple[str, ...]] = ()
    """As of a layer."""

    @property
    def is_samplewise(self) -> bool:
        """Whether this very class declares itself ``samplewise``."""
        return bool(vars(type(self)).get("samplewise", False))

    # ---- the mathematics, inside a step

    @abstractmethod
    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the value and the function that gives its gradient.

        Args:
            xp: the namespace.
            output: ``(..., samples, outputs)``.
            target: as `prepare` made it.
            share: what each sample counts for: ``share.mean(xp, ℓ)`` is the value, and
                ``share.each(outputs)`` what the gradient of an element is multiplied by.
        """

    def hits(self, xp: Any, output: Array, target: Array) -> Array:
        """Which are predicted rightly, as truth values; only where ``classifies``."""
        raise TypeError(f"{self!r} is a loss of regression and has no accuracy.")

    def accuracy(self, xp: Any, output: Array, target: Array, share: Share) -> Array:
        """The share of samples that are predicted rightly; only where ``classifies``.

        Weighted as the loss is.
        """
        return share.rate(xp, self.hits(xp, output, target), output.dtype)

    classifies: bool = False
    """Whether the loss tells classes apart, so that there is an accuracy."""

    takes_probabilities: bool = False
    """Whether outputs must be probabilities; those of a Sigmoid or a Softmax are taken as seen."""

    without_probabilities: str = ""
    """What to do where a network ends in probabilities, if the loss wants numbers of any sign."""

    probabilistic: bool = True
    """Whether, where it ``classifies``, there are `probabilities` too."""

    # ---- what the output means

    def probabilities(self, xp: Any, output: Array) -> Array:
        """The output as probabilities; only where ``classifies``."""
        raise TypeError(f"{self!r} is a loss of regression and has no probabilities.")

    def predict(self, xp: Any, output: Array) -> Array:
        """The output as a prediction: the class where ``classifies``, else the output itself."""
        return output

    # ---- the boundary

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        """Return ``y`` as ``forward`` wants it, once, before any step; checks shape and dtype.

        Of the losses that tell classes apart: labels as truth values, probabilities as floats.
        """
        if plain(y.shape) not in shapes(shape):
            hint = ""
            if plain(y.shape) in shapes(shape[:-1], own=1):  # one number a sample
                if shape[-1] == 1:
                    rows = ":" if len(y.shape) == 1 else "..."
                    hint = f"; use y[{rows}, None] for a single output"
                elif self.classifies:
                    hint = "; for classes, one a sample, the loss is CrossEntropy()"
            raise ValueError(
                f"y must have the shape {either(shapes(shape))} of the network's output, "
                f"not {plain(y.shape)}{hint}."
            )
        if y.dtype == dtype:
            return y
        checks.real(backend, y)
        return backend.xp.astype(y, dtype)

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        """Look at the output for some samples, where need be (once, before training)."""

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        """Look at the values of ``y`` (waits for the device: once, before training).

        Returns:
            Whether they are labels alone, and no probabilities between them.

        Raises:
            ValueError: if they are not what the loss wants.
        """
        return False

    def check_order(self, backend: backends.Backend, output: Array, y: Array) -> None:
        """Raise if ``output`` and ``y`` have changed places, where their values tell."""


def looks(backend: backends.Backend, check: bool | None) -> bool:
    """Whether values are looked at: as ``check`` says, or where nothing is waited for."""
    return backend.on_host if check is None else checks.switch("check", check)


def prepare(
    backend: backends.Backend,
    loss: Loss,
    shape: tuple[int, ...],
    y: Array,
    sample_weight: Array | None,
    dtype: Any,
    check: bool | None = None,
) -> tuple[Array, Array | None]:
    """Targets and weights as a step wants them, for an output of ``shape`` and ``dtype``.

    Raises:
        TypeError, ValueError: if a shape or a dtype does not fit, or, where they are looked at
            (see `looks`), a value.
    """
    target = loss.prepare(backend, shape, y, dtype)
    weight = prepare_weight(backend, sample_weight, shape, dtype)
    if looks(backend, check):
        if loss.check_values(backend, shape, y) and target.dtype != backend.xp.bool:
            target = target == 1
        if sample_weight is not None:
            checks.weights(backend, sample_weight)
    return target, weight


def prepare_weight(
    backend: backends.Backend, weight: Array | None, shape: tuple[int, ...], dtype: Any
) -> Array | None:
    """``sample_weight`` of ``(..., samples)`` as ``(..., samples, 1)``, relative to a mean of 1.

    Raises:
        TypeError, ValueError: if its shape or dtype does not fit.
    """
    if weight is None:
        return None
    xp = backend.xp
    if plain(weight.shape) not in shapes(shape[:-1], own=1):
        wanted = either(shapes(shape[:-1], own=1))
        raise ValueError(
            f"sample_weight must have the shape {wanted} of the samples, not {plain(weight.shape)}."
        )
    if not xp.isdtype(weight.dtype, ("bool", "integral", "real floating")):
        cure = backend.cast("sample_weight", weight)
        raise TypeError(f"sample_weight must hold real numbers, not {weight.dtype}; use {cure}.")
    if not xp.isdtype(weight.dtype, "real floating"):
        weight = xp.astype(weight, dtype)
    # By the greatest first, so that weights of any scale have a sum; by its root, twice, since JAX
    # takes the inverse, and the inverse of the greatest numbers for 0.
    greatest = xp.max(weight, axis=-1, keepdims=True)
    root = xp.sqrt(xp.where(greatest > 0, greatest, xp.ones_like(greatest)))
    weight = weight / root / root
    mean = xp.mean(weight, axis=-1, keepdims=True)
    weight = weight / xp.where(mean > 0, mean, xp.ones_like(mean))
    return xp.astype(weight, dtype)[..., None]


def without(backend: backends.Backend, x: Array, weight: Array | None) -> Array:
    """``x`` with zeros for samples of weight 0: 0 times what overflows there would be NaN.

    Not where members have weights of their own, but share ``x``: it would be copied for each.
    """
    if weight is None or len(weight.shape) > len(x.shape):
        return x
    return backend.xp.where(weight > 0, x, backend.xp.zeros_like(x))


def evaluate(
    loss: Loss, xp: Any, output: Array, target: Array, share: Share
) -> tuple[Array, Callable[[], Array]]:
    """`Loss.forward`, where a sample of weight 0 counts for nothing, whatever its loss."""
    if share.weight is not None:
        counts = share.weight > 0
        output = xp.where(counts, output, xp.zeros_like(output))
        target = xp.where(counts, target, xp.zeros_like(target))
    return loss.forward(xp, output, target, share)


# ---- what several losses ask


def brief(loss: Any) -> str:
    """A loss as it is written, without the numbers that were not given."""
    numbers = {one.name: one.default for one in fields(loss)}
    given = {name: getattr(loss, name) for name in numbers}
    said = [f"{name}={value!r}" for name, value in given.items() if value != numbers[name]]
    return f"{type(loss).__name__}({', '.join(said)})"


def plain(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of Python's integers."""
    return tuple(int(n) for n in shape)


def shapes(shape: tuple[int, ...], own: int = 2) -> tuple[tuple[int, ...], ...]:
    """The shapes that fit an output of ``shape``: with its member axes, and without."""
    return plain(shape), plain(shape)[len(shape) - own :]


def either(fitting: tuple[tuple[int, ...], ...]) -> str:
    """The shapes of `shapes`, the shared one first; once, if they are one."""
    return " or ".join(map(str, dict.fromkeys(reversed(fitting))))


def integers(xp: Any) -> Any:
    """The library's own integers: int64, but for JAX without its 64-bit mode."""
    return xp.__array_namespace_info__().default_dtypes()["integral"]


def where_any(xp: Any, factor: Array, values: Array) -> Array:
    """``values`` where ``factor`` is not 0, and 0 elsewhere: 0 times infinity counts as 0 here."""
    return xp.where(factor == 0, xp.zeros_like(values), values)


def per_output(name: str, value: Any, **bounds: float) -> float | tuple[float, ...]:
    """A number, or one an output in a list, tuple or array, as floats; or raise."""
    if checks.is_array(value) and checks.shape_of(value):
        if len(value.shape) != 1:
            raise ValueError(
                f"{name} must be a number or one an output, of shape (outputs,), "
                f"not of shape {plain(value.shape)}."
            )
        value = backends.of(value, names=(name,)).to_host(value).tolist()
    if isinstance(value, (list, tuple)):
        return tuple(checks.number(f"{name}[{i}]", v, **bounds) for i, v in enumerate(value))
    return checks.number(name, value, **bounds)


def check_outputs(name: str, value: float | tuple[float, ...], outputs: int) -> None:
    """Raise unless this is a number, or as many as there are outputs."""
    if isinstance(value, tuple) and len(value) != outputs:
        raise ValueError(
            f"{name} must be a number, or hold one for each of the {outputs} outputs of the "
            f"network, not {len(value)}."
        )


def factors(xp: Any, value: float | tuple[float, ...], output: Array) -> Any:
    """A number, or those of the outputs as an array, to multiply with ``output``."""
    if not isinstance(value, tuple):
        return value
    device = getattr(output, "device", None)  # one that JAX traces has none
    return xp.asarray(list(value), dtype=output.dtype, device=device)


def check_not_negative(backend: backends.Backend, y: Array, what: str) -> bool:
    """As `Loss.check_values`, of ``y`` that holds counts or probabilities, as ``what`` says."""
    if not bool(backend.xp.all(y >= 0)):
        raise ValueError(f"y must hold {what} of at least 0, not {first_but(backend, y, y >= 0)}.")
    return False


def first_but(backend: backends.Backend, y: Array, right: Array) -> str:
    """The first value of ``y`` that is not ``right``, for a message."""
    return f"{backend.to_host(y).ravel()[np.argmin(backend.to_host(right).ravel())]:.6g}"


def truth(backend: backends.Backend, y: Array) -> Array:
    """Labels 0 and 1 as truth values."""
    return y if y.dtype == backend.xp.bool else y == 1
