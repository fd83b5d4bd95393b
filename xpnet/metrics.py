"""What is asked of predictions besides the loss: scores of classes and of numbers.

`fit` looks at them on the samples of ``validation`` (``metrics=["auc"]``), `Model.evaluate` on any.
Each is a formula in the arrays' own namespace, one number a member; samples have their weights
``w``, 1 where none are given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from xpnet import backends, checks
from xpnet.losses import Loss
from xpnet.losses.base import integers
from xpnet.moments import mean_and_variance, total
from xpnet.types import Array

__all__ = [
    "AUC",
    "F1",
    "MAE",
    "MSE",
    "R2",
    "BalancedAccuracy",
    "Function",
    "LogLoss",
    "Metric",
    "TopK",
    "confusion_matrix",
]


@dataclass(frozen=True)
class Judged:
    """Outputs beside what they should be, as metrics ask for them, each once for all of them.

    Attributes:
        xp: the namespace.
        loss: what gives the output its meaning.
        output: ``(..., samples, outputs)``.
        target: as the loss prepared it: truth values, or floats.
        weight: ``(..., samples, 1)``, or ``None``.
    """

    xp: Any
    loss: Loss
    output: Array
    target: Array
    weight: Array | None

    def total(self, values: Array) -> Array:
        """``Σ w v`` over the samples, of values or truth values: ``(..., outputs)``."""
        values = self.xp.astype(values, self.output.dtype)
        return total(self.xp, values if self.weight is None else values * self.weight)

    @cached_property
    def predicted(self) -> Array:
        """What is predicted: a class, 0 or 1, or a number."""
        return self.loss.predict(self.xp, self.output)

    @property
    def exclusive(self) -> bool:
        """Whether the outputs are classes, of which a sample has one; else each is 0 or 1."""
        return len(self.predicted.shape) < len(self.output.shape)

    @cached_property
    def labels(self) -> tuple[Array, Array]:
        """What is true, and what is predicted, as truth values ``(..., samples, outputs)``."""
        xp, target, predicted = self.xp, self.target, self.predicted
        if not self.exclusive:
            return target if target.dtype == xp.bool else target > 0.5, predicted == 1
        if target.dtype != xp.bool:
            target = self._onehot(xp.argmax(target, axis=-1))
        return target, self._onehot(predicted)

    def _onehot(self, classes: Array) -> Array:
        # The numbers of the classes, counted where the outputs are.
        ones = self.xp.ones_like(self.output, dtype=classes.dtype)
        return classes[..., None] == self.xp.cumulative_sum(ones, axis=-1) - 1


class Metric(ABC):
    """A score: what it is of, which way is better, and its formula.

    Attributes:
        name: by which it is asked for and found.
        greater: whether more of it is better.
        of: ``"classes"``, ``"probabilities"`` or ``"numbers"``: which losses have it.
    """

    name: str
    greater: bool | None = True
    of: ClassVar[str] = "classes"

    @abstractmethod
    def value(self, judged: Judged) -> Array:
        """The score of each member, ``(...)``."""

    def check(self, outputs: int, exclusive: bool) -> None:
        """Raise if there is no such score of so many outputs, of ``exclusive`` classes or not."""


@dataclass(frozen=True)
class BalancedAccuracy(Metric):
    """The mean of the recalls ``Σ w [hit] / Σ w`` of the classes that there are.

    Of outputs that are 0 or 1 each, the mean over them of that of their two classes.
    """

    name = "balanced_accuracy"

    def value(self, judged: Judged) -> Array:
        xp, (truth, predicted) = judged.xp, judged.labels
        pairs = [(truth, predicted)]
        if not judged.exclusive:
            pairs.append((~truth, ~predicted))
        there = [judged.total(true) for true, _ in pairs]
        found = [judged.total(true & said) for true, said in pairs]
        if judged.exclusive:
            return _mean_where(xp, there[0] > 0, found[0], there[0])
        each = _mean_where(
            xp, xp.stack(there, axis=-1) > 0, xp.stack(found, axis=-1), xp.stack(there, axis=-1)
        )
        return xp.mean(each, axis=-1)


@dataclass(frozen=True)
class F1(Metric):
    """``2 TP / (2 TP + FP + FN)`` of label 1, or the mean over the classes or outputs.

    Classes that are neither there nor predicted do not count; if none is, it is 0.
    """

    name = "f1"

    def value(self, judged: Judged) -> Array:
        xp, (truth, predicted) = judged.xp, judged.labels
        both = judged.total(truth & predicted)
        either = judged.total(truth) + judged.total(predicted)
        if not judged.exclusive:
            return xp.mean(2 * both / xp.where(either > 0, either, xp.ones_like(either)), axis=-1)
        return _mean_where(xp, either > 0, 2 * both, either)


@dataclass(frozen=True)
class AUC(Metric):
    """The area under the ROC curve: how likely a sample of a class has the greater output.

    ``Σ w₁ (W₀ below + W₀ equal / 2) / (W₁ W₀)`` over the samples of label 1, with the weights
    ``W₀`` of those of label 0 (Hanley and McNeil 1982). Of classes or several outputs the mean over
    those that have samples of both labels, each against all others; NaN if there is none.
    """

    name = "auc"

    def value(self, judged: Judged) -> Array:
        xp, (truth, _), dtype = judged.xp, judged.labels, judged.output.dtype
        scores = judged.loss.probabilities(xp, judged.output) if judged.exclusive else judged.output
        shape = scores.shape
        true = xp.broadcast_to(xp.astype(truth, dtype), shape)
        weight = xp.ones_like(scores)
        if judged.weight is not None:
            weight = xp.broadcast_to(judged.weight, shape)
        below = xp.zeros_like(scores[..., 0, :])
        for first in (true, 1 - true):  # of equals label 0 first, and label 1: half of each
            order = xp.argsort(first, axis=-2, stable=True)
            order = xp.take_along_axis(
                order,
                xp.argsort(xp.take_along_axis(scores, order, axis=-2), axis=-2, stable=True),
                axis=-2,
            )
            ones = xp.take_along_axis(true * weight, order, axis=-2)
            zeros = xp.take_along_axis((1 - true) * weight, order, axis=-2)
            below = below + total(xp, ones * xp.cumulative_sum(zeros, axis=-2)) / 2
        pairs = judged.total(truth) * judged.total(~truth)
        pairs = xp.broadcast_to(pairs, below.shape)
        area = _mean_where(xp, pairs > 0, below, pairs)
        lost = xp.any(scores != scores, axis=(-2, -1))  # NaN is neither above nor below
        return xp.where(lost, xp.full_like(area, float("nan")), area)


@dataclass(frozen=True)
class TopK(Metric):
    """The share of samples whose class is among the ``k`` greatest outputs.

    Of equal outputs the first counts as the greater, as for a prediction.
    """

    k: int = 5
    name: str = field(init=False, default="top_k")

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", checks.whole("k", self.k))
        object.__setattr__(self, "name", f"top_{self.k}")

    def check(self, outputs: int, exclusive: bool) -> None:
        if not exclusive or self.k >= outputs:
            what = f"{outputs} classes" if exclusive else "outputs that are 0 or 1 each"
            raise ValueError(f"k must be below the number of classes of {self!r}, not for {what}.")

    def value(self, judged: Judged) -> Array:
        xp, (truth, _), output = judged.xp, judged.labels, judged.output
        zeros = xp.zeros_like(output)
        own = xp.sum(xp.where(truth, output, zeros), axis=-1, keepdims=True)
        behind = xp.cumulative_sum(xp.astype(truth, output.dtype), axis=-1) > 0  # or the class
        before = (output > own) | ((output == own) & ~behind)
        hit = xp.count_nonzero(before, axis=-1, keepdims=True) < self.k
        return _mean(judged, xp.astype(hit, output.dtype))


@dataclass(frozen=True)
class LogLoss(Metric):
    """``−Σⱼ yⱼ log pⱼ``, or ``−y log p − (1 − y) log(1 − p)``: the mean over samples and outputs.

    ``p`` is held within ``[ε, 1 − ε]``, ``ε`` the distance of 1 from the next number.
    """

    name = "log_loss"
    greater = False
    of = "probabilities"

    def value(self, judged: Judged) -> Array:
        xp, p = judged.xp, judged.loss.probabilities(judged.xp, judged.output)
        y, eps = xp.astype(judged.target, p.dtype), xp.finfo(p.dtype).eps
        p = xp.clip(p, eps, 1 - eps)
        if judged.exclusive:
            return _mean(judged, -xp.sum(y * xp.log(p), axis=-1, keepdims=True))
        return _mean(judged, -(y * xp.log(p) + (1 - y) * xp.log(1 - p)))


@dataclass(frozen=True)
class R2(Metric):
    """``1 − Σ w (y − ŷ)² / Σ w (y − ȳ)²``, the mean over the outputs.

    Of a ``y`` that is constant it is 1 if it is met, else 0.
    """

    name = "r2"
    of = "numbers"

    def value(self, judged: Judged) -> Array:
        xp, y = judged.xp, judged.target
        center, _, varies = mean_and_variance(xp, y, judged.weight)
        missed, spread = judged.predicted - y, y - center
        rest, whole = judged.total(missed * missed), judged.total(spread * spread)
        varies = xp.broadcast_to(varies[..., 0, :], rest.shape)
        part = rest / xp.where(varies, whole, xp.ones_like(whole))
        met = xp.astype(rest == 0, rest.dtype)
        return xp.mean(xp.where(varies, 1 - part, met), axis=-1)


@dataclass(frozen=True)
class MAE(Metric):
    """``|ŷ − y|``, the mean over samples and outputs."""

    name = "mae"
    greater = False
    of = "numbers"

    def value(self, judged: Judged) -> Array:
        return _mean(judged, abs(judged.predicted - judged.target))


@dataclass(frozen=True)
class MSE(Metric):
    """``(ŷ − y)²``, the mean over samples and outputs."""

    name = "mse"
    greater = False
    of = "numbers"

    def value(self, judged: Judged) -> Array:
        missed = judged.predicted - judged.target
        return _mean(judged, missed * missed)


@dataclass(frozen=True)
class Function(Metric):
    """What a function ``f(y, predicted)`` says, such as one of ``sklearn.metrics``.

    It is given ``y`` as it was given to `fit`, and what ``model.predict`` makes of the samples,
    arrays of the library that they are of, one member at a time; where samples have weights, these
    as ``sample_weight=``, too. It returns a number.

    Args:
        function: the function.
        greater: whether more of it is better; needed where it is monitored.
        name: by which it is found; ``None`` for that of the function.
    """

    function: Callable[..., Any]
    greater: bool | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(
                f"function must be one of y and what is predicted, not "
                f"{checks.shown(self.function)}."
            )
        if self.greater is not None:
            checks.switch("greater", self.greater)
        named = self.name or getattr(self.function, "__name__", type(self.function).__name__)
        object.__setattr__(self, "name", named)

    def value(self, judged: Judged) -> Array:
        raise TypeError(f"{self.name} has no formula of outputs; it is asked one member at a time.")

    def asked(self, y: Array, predicted: Array, sample_weight: Array | None) -> float:
        """What the function says of one member."""
        more = {} if sample_weight is None else {"sample_weight": sample_weight}
        answer = self.function(y, predicted, **more)
        if checks.is_array(answer) and not checks.shape_of(answer):
            answer = backends.of(answer, names=(self.name,)).to_host(answer).item()
        try:
            return float(answer)
        except (TypeError, ValueError):
            raise TypeError(
                f"the metric {self.name} must return a number, not {checks.shown(answer)}."
            ) from None


def _mean(judged: Judged, values: Array) -> Array:
    """``Σ w v / Σ w``, the mean over the outputs as well."""
    xp, weight = judged.xp, judged.weight
    if weight is None:
        return xp.mean(total(xp, values), axis=-1) / values.shape[-2]
    return xp.mean(total(xp, values * weight) / total(xp, weight), axis=-1)


def _mean_where(xp: Any, there: Array, parts: Array, wholes: Array) -> Array:
    """The mean of ``parts / wholes`` over the last axis, of those that are ``there``; else NaN."""
    each = parts / xp.where(there, wholes, xp.ones_like(wholes))
    each = xp.where(there, each, xp.zeros_like(each))
    count = xp.sum(xp.astype(there, each.dtype), axis=-1)
    none = xp.full_like(count, float("nan"))
    return xp.where(count > 0, xp.sum(each, axis=-1) / xp.where(count > 0, count, none), none)


# ---- asking for them

KNOWN = (BalancedAccuracy, F1, AUC, TopK, LogLoss, R2, MAE, MSE)
"""Those of xpnet's own, which need not be tried out."""

NAMED: dict[str, Metric] = {
    metric.name: metric
    for metric in (BalancedAccuracy(), F1(), AUC(), LogLoss(), R2(), MAE(), MSE())
}
"""Those that a name alone asks for."""

TAKEN = ("loss", "accuracy", "epochs", "metrics")
"""Names that a history has for something else, behind ``val_``."""


def asked_for(
    backend: backends.Backend, loss: Loss, outputs: int, like: Array, metrics: Any, name: str = ""
) -> tuple[Metric, ...]:
    """The metrics that are asked for, or raise.

    Args:
        backend: where outputs are.
        loss: what gives them their meaning.
        outputs: how many a sample has.
        like: an array of their library, device and dtype.
        metrics: names, metrics and functions.
        name: what one of them is called in an error; ``metrics[i]``.

    Raises:
        TypeError, ValueError: if one of them is none of these, or not for this loss.
    """
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        hint = f"; write [{metrics!r}]" if isinstance(metrics, str) else ""
        raise TypeError(
            f"metrics must be a list of names, metrics and functions, not "
            f"{checks.shown(metrics)}{hint}."
        )
    found: dict[str, Metric] = {}
    for i, one in enumerate(metrics):
        called = name or f"metrics[{i}]"
        if isinstance(one, str):
            if one == "accuracy" and loss.classifies:
                continue  # which there always is
            one = NAMED[checks.one_of(called, one, NAMED)]
        elif not isinstance(one, type) and not isinstance(one, Metric) and callable(one):
            one = Function(one)
        checks.instance(called, one, Metric, "a name, a metric such as TopK(3), or a function")
        if one.name in (*TAKEN, *found):
            raise ValueError(
                f"{called} must have another name than {', '.join([*TAKEN, *found])}, not "
                f"{one.name!r}; use xpnet.metrics.Function(f, name=…)."
            )
        found[one.name] = one
        _check(backend, loss, outputs, like, called, one)
    return tuple(found.values())


def _check(
    backend: backends.Backend, loss: Loss, outputs: int, like: Array, called: str, metric: Metric
) -> None:
    """Raise if a loss has no such metric."""
    if isinstance(metric, Function):
        return
    has = {
        "classes": loss.classifies,
        "probabilities": loss.classifies and loss.probabilistic,
        "numbers": not loss.classifies,
    }
    if not has[metric.of]:
        raise ValueError(
            f"{called} must be one that {checks.shown(loss)} has, which predicts "
            f"{'classes' if loss.classifies else 'numbers'}"
            f"{'' if loss.probabilistic else ' without probabilities'}, not {metric.name!r}."
        )
    if loss.classifies:
        some = backend.asarray([[0.0] * outputs], backend.dtype_name(like))
        metric.check(outputs, len(loss.predict(backend.xp, some).shape) < 2)


def scores(
    xp: Any,
    output: Array,
    target: Array,
    weight: Array | None,
    *,
    loss: Loss,
    metrics: tuple[Metric, ...],
) -> dict[str, Array]:
    """The score of each metric by name, of those that have a formula."""
    judged = Judged(xp, loss, output, target, weight)
    return {one.name: one.value(judged) for one in metrics}


@dataclass(frozen=True, eq=False)
class Scorer:
    """What metrics say of outputs for some samples.

    Attributes:
        backend: where they are.
        loss: what gives outputs their meaning.
        metrics: as `asked_for` found them.
        y, sample_weight: as they were given, which a `Function` is asked with.
    """

    backend: backends.Backend
    loss: Loss
    metrics: tuple[Metric, ...]
    y: Array
    sample_weight: Array | None

    def __call__(
        self, output: Array, target: Array, weight: Array | None, who: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """The scores on the host, ``(members,)`` or ``()``, by name in their order.

        Args:
            output: ``(..., samples, outputs)``.
            target, weight: as the loss prepared them.
            who: the numbers of the members of ``output``; ``None`` for 0, 1, ….
        """
        xp, host = self.backend.xp, self.backend.to_host
        formulas = tuple(one for one in self.metrics if not isinstance(one, Function))
        found: dict[str, Any] = {}
        if formulas:
            score = self._as_one if _hashable((self.loss, formulas)) else scores
            said = score(xp, output, target, weight, loss=self.loss, metrics=formulas)
            found = {name: host(values) for name, values in said.items()}
        functions = [one for one in self.metrics if isinstance(one, Function)]
        if functions:
            predicted, own = self.loss.predict(xp, output), len(target.shape) == 3
            for one in functions:
                found[one.name] = host(self._asked(one, predicted, output, own, who))
        return {one.name: found[one.name] for one in self.metrics}

    @cached_property
    def _as_one(self) -> Callable[..., dict[str, Array]]:
        return self.backend.as_one(scores)

    def _asked(
        self, one: Function, predicted: Array, output: Array, own: bool, who: Sequence[int] | None
    ) -> Any:
        """What a function says: a number, or one a member."""
        weight = self.sample_weight
        if len(output.shape) == 2:
            return self.backend.asarray(one.asked(self.y, predicted, weight), "float64")
        said = []
        for i, member in enumerate(range(int(output.shape[0])) if who is None else who):
            y = self.y[member, ...] if own else self.y
            w = weight[member, ...] if weight is not None and len(weight.shape) == 2 else weight
            said.append(one.asked(y, predicted[i, ...], w))
        return self.backend.asarray(said, "float64")


def _hashable(parts: Any) -> bool:
    try:
        hash(parts)
    except TypeError:
        return False
    return True


# ---- who is taken for whom


def confusion_matrix(y: Array, predicted: Array, classes: int | None = None) -> Array:
    """How many samples of each class (row) are predicted to be of each class (column).

    Args:
        y: integer classes from 0, ``(samples,)``, or 0 and 1 in ``(samples, 1)``.
        predicted: those that are predicted, of the same shape; with members first, of each.
        classes: how many there are; ``None`` for as many as are found, which waits for the device.

    Returns:
        ``(..., classes, classes)`` of integers.

    Raises:
        TypeError, ValueError: if they are none of these.
    """
    checks.given(y=y, predicted=predicted)
    backend = backends.of(y, predicted, names=("y", "predicted"))
    xp = backend.xp
    with backend.context():
        if len(y.shape) >= 2 and y.shape[-1] == 1 and predicted.shape[-1] == 1:
            y, predicted = y[..., 0], predicted[..., 0]
        if not 1 <= len(y.shape) <= 2 or y.shape[-1] != predicted.shape[-1]:
            raise ValueError(
                "y and predicted must hold one class a sample, not be of the shapes "
                f"{tuple(y.shape)} and {tuple(predicted.shape)}."
            )
        integer = integers(xp)
        pair = []
        for name, array in (("y", y), ("predicted", predicted)):
            checks.real(backend, array)
            whole = xp.astype(array, integer)  # NaN becomes some number, which it is not
            if not bool(xp.all((xp.astype(whole, array.dtype) == array) & (whole >= 0))):
                raise ValueError(f"{name} must hold whole numbers from 0, as classes are.")
            pair.append(whole)
        most = max(int(backend.to_host(xp.max(array))) for array in pair)
        count = most + 1 if classes is None else checks.whole("classes", classes)
        if most >= count:
            raise ValueError(f"classes must be above the greatest of y, {most}, not {count}.")
        numbers = xp.arange(count, dtype=integer, device=backend.device)
        dtype = xp.float64 if integer == xp.int64 else xp.float32  # JAX without its 64 bits
        true, said = (xp.astype(array[..., None] == numbers, dtype) for array in pair)
        return xp.astype(true.mT @ said, integer)
