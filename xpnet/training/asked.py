"""What a training is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet._optional import optional
from xpnet.checks.losses import check_loss
from xpnet.checks.network import check_samples
from xpnet.initializers import RNG
from xpnet.losses import Loss
from xpnet.metrics import NAMED, asked_for
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.training.sources import Source, opened
from xpnet.types import Array

TRIED = 64
"""On how many samples layers and losses are tried out."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What `fit` is asked to train, by the names that its arguments have there.

    `explain` asks for the same, and leaves out what changes nothing of how steps run.
    """

    network: Sequential
    x: Array
    y: Array
    loss: Loss
    optimizer: Optimizer
    seed: Any = None
    theta: Array | None = None
    state: dict[str, Array] | None = None
    members: int | None = None
    batch_size: int | None = None
    accumulate: int = 1
    shuffle: bool = True
    shuffle_seed: int | RNG = 0
    sample_weight: Array | None = None
    layer_state: dict[str, Array] | None = None
    noise_seed: int | Sequence[int] = 0
    acc_goal: float | None = None
    every_epoch: bool = True
    validation: tuple[Array, ...] | None = None
    metrics: Sequence[Any] = ()
    monitor: str | None = None
    patience: int | None = None
    min_delta: float = 0.0
    restore_best: bool = True
    block: int | None = None
    threads: int | None = None
    native: bool | str = "auto"
    epochs: int = 0

    def opened(self) -> Asked:
        """The same with a `Source` for what is read by rows, and arrays of known libraries."""
        checks.given(x=self.x, y=self.y)
        names = ("x", "y", "sample_weight", "theta")
        named = backends.taken(**{name: getattr(self, name) for name in names})
        theta = named.pop("theta")
        return replace(self, theta=theta, **opened(self.batch_size, **named))

    def checked(self) -> tuple[Asked, backends.Backend, Array]:
        """The same with numbers as they are reckoned with, the backend of its arrays, and ``x``;
        where that is read, the first of its samples.

        What is asked of arrays' values, and of batches, is asked where they are made.

        Raises:
            TypeError, ValueError: if one of them is not as `fit` wants it.
        """
        checks.instance("network", self.network, Sequential, "a Sequential")
        check_loss(self.loss)
        checks.instance("optimizer", self.optimizer, Optimizer, "an optimizer such as Adam()")
        acc_goal = self._goal()
        members = self._members()
        backend = self._backend()
        checks.switch("shuffle", self.shuffle)
        checks.switch("every_epoch", self.every_epoch)
        self._check_native(backend)
        if isinstance(self.x, Source):
            floats = None if self.theta is None else backend.dtype_name(self.theta)
            x = self.x.as_samples(self.network, floats)
            like = backend.asarray(x.read(np.arange(min(TRIED, x.shape[0]))), x.dtype.name)
        else:
            like = x = check_samples(self.network, backend, self.x)
        alone = self.theta is None
        several = f"; members={x.shape[0]} trains one on each" if alone else ""
        checks.same_members(x, members, several)
        if self.state is not None and self.theta is None:
            raise ValueError("state must come with the theta that it belongs to, not without.")
        if self.layer_state is not None and self.theta is None:
            raise ValueError(
                "layer_state must come with the theta that it belongs to, not without."
            )
        if self.state is not None and self.layer_state is None and self.network.state_shapes:
            raise ValueError(
                f"layer_state must come with state, not be None, since "
                f"{self.network.stateful.name}, has one: layer_state=model.layer_state."
            )
        if self.accumulate != 1 and not self.loss.is_samplewise:
            raise ValueError(
                f"accumulate must be 1 for {checks.shown(self.loss)}, which does not declare "
                f"itself samplewise, a mean over samples, not {checks.shown(self.accumulate)}."
            )
        if self.seed is not None and self.theta is not None:
            raise ValueError("seed must be None where theta is given, since nothing is drawn then.")
        y = self.y.as_numbers(backend.dtype_name(like)) if isinstance(self.y, Source) else self.y
        changed: dict[str, Any] = {"x": x, "y": y, "acc_goal": acc_goal, "members": members}
        return replace(self, **changed, **self._watched(backend, like)), backend, like

    def _watched(self, backend: backends.Backend, like: Array) -> dict[str, Any]:
        """What is monitored, how long it may stay as it is, and by how much it is better."""
        checks.switch("restore_best", self.restore_best)
        delta = checks.number("min_delta", self.min_delta, least=0)
        names = ("monitor", "patience", "min_delta", "restore_best", "metrics")
        given = [name for name in names if getattr(self, name) not in (getattr(Asked, name), [])]
        if self.validation is None and given:
            raise ValueError(
                f"validation must be given with {given[0]}, such as validation=(x_val, y_val), not "
                "be None."
            )
        outputs = self.network.out_features or int(like.shape[-1])
        metrics = asked_for(backend, self.loss, outputs, like, self.metrics)
        monitor = "val_loss" if self.monitor is None else self.monitor
        known = {f"val_{one.name}": one for one in metrics}
        usual = ("val_loss", "val_accuracy")[: 1 + self.loss.classifies]
        classes = self.loss.classifies
        named = [f"val_{n}" for n, one in NAMED.items() if (one.of != "numbers") == classes]
        checks.one_of("monitor", monitor, dict.fromkeys([*usual, *named, *known]))
        if monitor not in {*usual, *known}:  # a name says all
            metrics += asked_for(backend, self.loss, outputs, like, [monitor[4:]], "monitor")
        elif monitor in known and known[monitor].greater is None:
            raise ValueError(
                f"monitor must be a metric of which is known whether more of it is better, not "
                f"{monitor!r}; use xpnet.metrics.Function({known[monitor].name}, greater=True)."
            )
        patience = None if self.patience is None else checks.whole("patience", self.patience)
        watched = {"monitor": monitor, "patience": patience, "min_delta": delta}
        return {**watched, "metrics": metrics}

    def _check_native(self, backend: backends.Backend) -> None:
        if not isinstance(self.native, bool) and self.native != "auto":
            raise ValueError(
                f"native must be True, False or 'auto', not {checks.shown(self.native)}."
            )
        if self.native is True and not backend.native:
            raise ValueError(
                f"native must be 'auto' or False for arrays of {backend.name}, not True: "
                f"{backend.not_native}."
            )
        if self.native is True:
            optional(backend.compiler, "native=True")

    def _goal(self) -> float | None:
        if self.acc_goal is None:
            return None
        goal = checks.number("acc_goal", self.acc_goal, above=0, most=1)
        if not self.loss.classifies:
            raise ValueError(
                f"acc_goal must be None for {checks.shown(self.loss)}, which has no accuracy, "
                f"not {goal!r}."
            )
        return goal

    def _members(self) -> int | None:
        """How many networks are asked for; raises if ``theta`` is of others."""
        given = None if self.members is None else checks.whole("members", self.members)
        shape = tuple(int(n) for n in checks.shape_of(self.theta))
        if len(shape) not in (1, 2):  # none, or one that is refused for itself
            return given
        found = shape[0] if len(shape) == 2 else None
        if given not in (None, found):
            alone = ", a network alone" if found is None else ""
            raise ValueError(
                f"members must be {found}, as theta of shape {shape} has it{alone}, not {given}."
            )
        return found

    def _backend(self) -> backends.Backend:
        """The backend of what is trained on, which must hold values."""
        names = ("x", "y", "sample_weight", "theta")
        given = (self.x, self.y, self.sample_weight, self.theta)
        arrays = [None if isinstance(one, Source) else one for one in given]
        if all(array is None for array in arrays):
            return backends.get("numpy")
        backend = backends.of(*arrays, names=names)
        for name, array in zip(names, arrays, strict=True):
            if array is not None and backend.traced(array):
                raise TypeError(
                    f"{name} must hold values, not be traced: fit looks at them, and runs in "
                    "Python; call it outside of the function that is compiled or mapped, where "
                    "value_and_grad and update can be called."
                )
        return backend
