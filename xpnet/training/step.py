"""The pure step that training repeats, and what it carries from one to the next."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

from xpnet.layers.base import apply
from xpnet.layers.checked import is_own, named, note
from xpnet.losses import Loss, Share
from xpnet.losses.base import evaluate
from xpnet.network import Sequential
from xpnet.noise import Stream
from xpnet.optimizers import Optimizer
from xpnet.optimizers.hyperparameters import AVERAGE
from xpnet.optimizers.states import next_step
from xpnet.types import Array, Carry, Metrics

Data = tuple[Array, Array, Array | None]
"""``x``, the prepared targets, and the prepared weights or ``None``."""


KEY, COUNT = "noise.key", "optimizer.step"
"""What random numbers follow from: the words of each member's seed, and how many steps are done."""

SUMS, REAL, PLACES = "sums", "real", "places"
"""What ranks sum up in a step: gradient, metrics, and how they are; which of a rank's samples are
some of the batch and not there to fill it up, and where in the batch they are."""

PENALTY = "penalty"
"""What each parameter is drawn to 0 by: the ``α`` of a `PenalizedStep`, of the shape of theta."""

EMA = f"optimizer.{AVERAGE}"
"""The average of the parameters, if the optimizer keeps one."""


def carry_of(
    theta: Array,
    state: dict[str, Array],
    layer_state: dict[str, Array] | None = None,
    key: Array | None = None,
) -> Carry:
    """What a training begins with: parameters, the optimizer's state, that of the layers, noise."""
    carry = {"theta": theta, **{f"optimizer.{name}": array for name, array in state.items()}}
    carry |= {f"layers.{name}": array for name, array in (layer_state or {}).items()}
    return carry if key is None else {**carry, KEY: key}


def state_in(carry: Carry) -> dict[str, Array]:
    """The optimizer's state in a carry."""
    return _of("optimizer", carry)


def trained(carry: Carry) -> Carry:
    """What in a carry the outputs follow from: the parameters, and the state of the layers."""
    return {k: v for k, v in carry.items() if k == "theta" or k.startswith("layers.")}


def judged(carry: Carry) -> Carry:
    """As `trained`, with the average of the parameters in their place where one is kept."""
    found, average = trained(carry), carry.get(EMA)
    return found if average is None else {**found, "theta": average}


def layer_state_in(network: Sequential, carry: Carry) -> dict[str, Array]:
    """The state of the layers in a carry."""
    return {name: carry[f"layers.{name}"] for name in network.state()}


def _of(part: str, named: dict[str, Any]) -> dict[str, Any]:
    """What is named as of a part, without its name."""
    start = f"{part}."
    return {k[len(start) :]: value for k, value in named.items() if k.startswith(start)}


def _rows(batch: Data, start: int, count: int) -> Data:
    """So many samples of a batch from there on; itself, if these are all."""
    samples = batch[0].shape[-2]
    if count >= samples:
        return batch
    rows = ..., slice(start, min(start + count, samples)), slice(None)
    x, target, weight = (None if array is None else array[rows] for array in batch)
    return x, target, weight


def _with(part: Any, attributes: dict[str, Any]) -> Any:
    """A copy of a layer or loss with these attributes; itself, if there are none."""
    if attributes:
        part = copy.copy(part)
        for name, value in attributes.items():
            object.__setattr__(part, name, value)
    return part


@dataclass(frozen=True)
class TrainingStep:
    """The pure step: forward, loss and accuracy, backward, update, in this order.

    It compares by value where its network, loss and optimizer do, so that a runner which compiles
    it does so once for equal ones.
    """

    xp: Any
    network: Sequential
    loss: Loss
    optimizer: Optimizer
    part: int | None = None
    """How many samples are computed at once, where a step may have more; ``None`` for all."""

    members_first = True
    """Of an ensemble every entry of the carry, and every metric, has the members first, or no axes:
    a step on one member says what it does with each."""

    @property
    def is_samplewise(self) -> bool:
        """Whether the step on a batch is the mean of the steps on its parts."""
        return self.network.is_samplewise and self.loss.is_samplewise

    @property
    def per_member(self) -> list[Array]:
        """The arrays within it that a step reads from the carry instead."""
        return self.optimizer.per_member()

    @property
    def operands(self) -> tuple[dict[str, float], dict[str, float]]:
        """The plain numbers within it that may be operands of a program instead of part of it.

        Those of the optimizer, and those of loss and layers. They are found in the carry, under
        these names, if they are there. None that are 0: a step may leave out what they are in.
        """
        parts: list[tuple[str, Any]] = [
            ("loss", self.loss),
            *((f"layers.{link.path}", link.layer) for link in self.network.links),
        ]
        found = {
            f"{of}.{name}": getattr(part, name)
            for of, part in parts
            if part.hyperparameters and is_own(part)
            for name in part.hyperparameters
        }
        own = {f"optimizer.{name}": value for name, value in self.optimizer.operands().items()}
        return own, {k: v for k, v in found.items() if isinstance(v, float) and v != 0}

    def template(self, operands: dict[str, float]) -> TrainingStep:
        """This step without these `operands`: the same one for all their values.

        What is taken out is NaN, so that a number read from the wrong place could not pass for
        right.
        """
        blank = dict.fromkeys(operands, math.nan)
        network, loss = self._given(blank)
        own = _of("optimizer", blank)
        optimizer = self.optimizer.template(own) if own else self.optimizer
        return replace(self, network=network, loss=loss, optimizer=optimizer)

    def _given(self, named: dict[str, Any]) -> tuple[Sequential, Loss]:
        """The network and the loss, with the numbers that are named in place of their own."""
        network, loss = self.network, _with(self.loss, _of("loss", named))
        states = network.state()
        if layers := {k: v for k, v in _of("layers", named).items() if k not in states}:
            own = [_with(link.layer, _of(link.path, layers)) for link in network.links]
            network = network.with_leaves(own)
        return network, loss

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, dict[str, Array]]:
        grad, metrics, rest = self.gradient(carry, batch)
        return {**rest, **self.update(carry, grad)}, metrics

    def gradient(
        self, carry: Carry, batch: Data, samples: int | None = None, first: int = 0
    ) -> tuple[Array, dict[str, Array], Carry]:
        """The first half: forward, loss and accuracy, backward, of one ``part`` after the other.

        Args:
            carry: what came from the step before.
            batch: the samples at hand.
            samples: over how many the means are taken, where these are a part of them; what the
                parts give adds up to what all of them would.
            first: where in the batch they begin.

        Returns:
            The gradient, the metrics, and what the layers hand on in the carry.
        """
        count = batch[0].shape[-2]
        samples = samples or count
        size = -(-(self.part or samples) * count // samples)  # of a thread, its share of a part
        grad, metrics, rest = self._gradient(carry, _rows(batch, 0, size), samples, first)
        for start in range(size, count, size):
            carry = {**carry, **rest, **self.noise_in(carry)}  # of the layers, not of the count
            rows = _rows(batch, start, size)
            more, found, rest = self._gradient(carry, rows, samples, first + start)
            grad += more
            metrics = {name: value + found[name] for name, value in metrics.items()}
        return grad, metrics, rest

    def _gradient(
        self, carry: Carry, batch: Data, samples: int, first: int
    ) -> tuple[Array, dict[str, Array], Carry]:
        """What `gradient` gives, of one part."""
        x, target, weight = batch
        share = self._share(carry, samples, weight, first)
        network, loss = self._given(carry)
        state = tuple(layer_state_in(network, carry).values())
        noise = self._stream(carry, samples, first) if KEY in carry else None
        value, grad, output, _, state = network.gradient(
            self.xp, carry["theta"], x, target, loss, share, state=state, noise=noise
        )
        metrics = {"loss": value}
        if loss.classifies:
            metrics["accuracy"] = loss.accuracy(self.xp, output, target, share)
        rest = {f"layers.{name}": array for name, array in network.named_state(state).items()}
        if noise is not None:  # which goes on by the count alone, also where there is no update
            rest |= {KEY: carry[KEY], COUNT: next_step(self.xp, carry[COUNT])}
        return grad, metrics, rest

    def _share(self, carry: Carry, samples: int, weight: Array | None, first: int) -> Share:
        """What those at hand count for."""
        return Share(samples, weight)

    def _stream(self, carry: Carry, samples: int, first: int) -> Stream:
        """The random numbers of those at hand."""
        return Stream(carry[KEY], carry[COUNT], first)

    def noise_in(self, carry: Carry) -> Carry:
        """What random numbers follow from in a carry; nothing where none are drawn."""
        return {name: carry[name] for name in (KEY, COUNT) if KEY in carry}

    def update(self, carry: Carry, grad: Array) -> Carry:
        """The second half: the optimizer's step; without what the layers hand on."""
        try:
            theta, state = self.optimizer.advance(self.xp, carry["theta"], grad, state_in(carry))
            return carry_of(theta, state)
        except Exception as error:
            note(error, f"in the optimizer, {named(self.optimizer)}")
            raise

    def select(self, data: Data, rows: Array) -> Data:
        x, target, weight = data
        take = self.xp.take
        return (
            take(x, rows, axis=-2),
            take(target, rows, axis=-2),
            None if weight is None else take(weight, rows, axis=-2),
        )


@dataclass(frozen=True)
class GradientStep(TrainingStep):
    """The first half of a step as a step of its own, on the samples of one rank.

    It finds `SUMS`, ``(..., size + metrics + 1)``: the gradient, the loss, the accuracy where there
    is one, and a 0 that is the rank's to say whether it can go on. Those of all ranks add up to
    those of the step.

    Of a batch the data are five: behind ``x``, targets and weights come `REAL` and, where something
    is drawn, `PLACES`.

    Attributes:
        samples: those of all ranks in a step.
        first: the number of the first of this rank among them.
        leads: whether this is rank 0, which is given the accuracy of who is all right.
    """

    samples: int = 0
    first: int = 0
    leads: bool = False

    @property
    def is_samplewise(self) -> bool:
        """False: it is a part already."""
        return False

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]:
        filled: Carry
        batch, filled = batch[:3], dict(zip((REAL, PLACES), batch[3:], strict=False))
        grad, metrics, rest = self.gradient({**carry, **filled}, batch, self.samples, self.first)
        columns = [metrics[name][..., None] for name in ("loss", "accuracy") if name in metrics]
        columns = [grad, *columns, self.xp.zeros_like(columns[0])]
        rest = {name: array for name, array in rest.items() if name in carry}
        return {**carry, **rest, SUMS: self.xp.concat(columns, axis=-1)}, {}

    def _gradient(
        self, carry: Carry, batch: Data, samples: int, first: int
    ) -> tuple[Array, dict[str, Array], Carry]:
        if REAL in carry and self.part is not None:  # of the part at hand
            rows = slice(first - self.first, first - self.first + batch[0].shape[-2])
            carry = {**carry, **{n: carry[n][rows] for n in (REAL, PLACES) if n in carry}}
        return super()._gradient(carry, batch, samples, first)

    def select(self, data: Any, rows: Array) -> Any:
        return *super().select(data[:3], rows), *data[3:]

    def _share(self, carry: Carry, samples: int, weight: Array | None, first: int) -> Share:
        real = carry.get(REAL)
        if real is None:
            return super()._share(carry, samples, weight, first)
        real = real[:, None]  # without the axis, so that nobody takes the first for the members
        weight = real if weight is None else weight * real
        return Share(samples, weight, samples if self.leads and first == self.first else 0)

    def _stream(self, carry: Carry, samples: int, first: int) -> Stream:
        if PLACES not in carry:
            return super()._stream(carry, samples, first)
        return Stream(carry[KEY], carry[COUNT], among=(carry[PLACES], samples))


@dataclass(frozen=True)
class UpdateStep(TrainingStep):
    """The second half of a step as a step of its own, from the `SUMS` of all ranks."""

    @property
    def is_samplewise(self) -> bool:
        """False: there are no samples."""
        return False

    def __call__(self, carry: Carry, batch: Any) -> tuple[Carry, Metrics]:
        grad = carry[SUMS][..., : self.network.size]
        return {**carry, **self.update(carry, grad)}, {}


@dataclass(frozen=True)
class PenalizedStep(TrainingStep):
    """A step on ``(Σ w ℓ + ½ Σ αᵢ θᵢ²) / Σ w``, the sums over the samples of its own batch.

    As scikit-learn's perceptrons have it: a batch of little weight counts as any other, and a
    smaller one, as the last often is, is drawn to 0 the more. ``α`` is in the carry, if there is
    one (`PENALTY`); ``w`` is as it was given, and not relative to a mean of 1.

    Attributes:
        weighted: whether samples have weights, whose sum no part of a batch knows by itself.
    """

    weighted: bool = False

    @property
    def is_samplewise(self) -> bool:
        return not self.weighted and super().is_samplewise

    def _gradient(
        self, carry: Carry, batch: Data, samples: int, first: int
    ) -> tuple[Array, dict[str, Array], Carry]:
        xp, (x, target, weight) = self.xp, batch
        each: Any = 1 / samples
        if weight is not None:
            total = xp.sum(weight, axis=-2, keepdims=True)
            each = 1 / xp.where(total > 0, total, xp.ones_like(total))
            weight, each = weight * (samples * each), each[..., 0]
        grad, metrics, rest = super()._gradient(carry, (x, target, weight), samples, first)
        if PENALTY not in carry:
            return grad, metrics, rest
        if first == 0:  # once for all parts
            theta = carry["theta"]
            pull = carry[PENALTY] * theta * each
            grad = grad + pull
            metrics["loss"] = metrics["loss"] + 0.5 * xp.sum(pull * theta, axis=-1)
        return grad, metrics, {**rest, PENALTY: carry[PENALTY]}


@dataclass(frozen=True)
class ValidationStep(TrainingStep):
    """A step that changes nothing: loss and accuracy, by the short way of inference.

    It is run as training steps are, and so is recorded, or compiled, where those are.

    Attributes:
        outputs: whether the output is among what it finds, for metrics that are not in it.
        samples: over how many the means are taken; ``None`` for those at hand.
    """

    outputs: bool = False
    samples: int | None = None

    @property
    def is_samplewise(self) -> bool:
        """False: there are no halves of it that threads could share."""
        return False

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]:
        x, target, weight = batch
        network, loss = self._given(carry)
        state = tuple(layer_state_in(network, carry).values())
        views = network.layout.views(self.xp, carry["theta"])
        output = apply(network, self.xp, views, x, state)
        share = Share(self.samples or x.shape[-2], weight)
        metrics = {"loss": evaluate(loss, self.xp, output, target, share)[0]}
        if loss.classifies:
            metrics["accuracy"] = loss.accuracy(self.xp, output, target, share)
        if self.outputs:
            metrics["output"] = output
        return carry, metrics
