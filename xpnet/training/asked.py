"""What a training is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xpnet import backends, checks
from xpnet.checks.losses import check_loss
from xpnet.checks.network import check_samples
from xpnet.initializers import RNG
from xpnet.losses import Loss
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.training.validation import MONITORS
from xpnet.types import Array


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
    shuffle: bool = True
    shuffle_seed: int | RNG = 0
    sample_weight: Array | None = None
    layer_state: dict[str, Array] | None = None
    noise_seed: int | Sequence[int] = 0
    acc_goal: float | None = None
    every_epoch: bool = True
    validation: tuple[Array, ...] | None = None
    monitor: str | None = None
    patience: int | None = None
    min_delta: float = 0.0
    restore_best: bool = True
    block: int | None = None
    threads: int | None = None

    def checked(self) -> tuple[Asked, backends.Backend]:
        """The same with numbers as they are reckoned with, and the backend of its arrays.

        What is asked of arrays' values, and of batches, is asked where they are made.

        Raises:
            TypeError, ValueError: if one of them is not as `fit` wants it.
        """
        checks.instance("network", self.network, Sequential, "a Sequential")
        check_loss(self.loss)
        checks.instance("optimizer", self.optimizer, Optimizer, "an optimizer such as Adam()")
        acc_goal = self._goal()
        members = self._members()
        checks.given(x=self.x, y=self.y)
        backend = self._backend()
        checks.switch("shuffle", self.shuffle)
        checks.switch("every_epoch", self.every_epoch)
        x = check_samples(self.network, backend, self.x)
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
        if self.seed is not None and self.theta is not None:
            raise ValueError("seed must be None where theta is given, since nothing is drawn then.")
        watched = self._watched()
        return replace(self, x=x, acc_goal=acc_goal, members=members, **watched), backend

    def _watched(self) -> dict[str, Any]:
        """What is monitored, how long it may stay as it is, and by how much it is better."""
        checks.switch("restore_best", self.restore_best)
        delta = checks.number("min_delta", self.min_delta, least=0)
        usual = self.monitor is None and self.patience is None and delta == 0
        if self.validation is None and not (usual and self.restore_best):
            name = next(n for n in ("monitor", "patience", "min_delta", "restore_best")
                        if getattr(self, n) != getattr(Asked, n))  # fmt: skip
            raise ValueError(
                f"validation must be given with {name}, such as validation=(x_val, y_val), not be "
                "None."
            )
        monitor = "val_loss" if self.monitor is None else self.monitor
        checks.one_of("monitor", monitor, list(MONITORS))
        if monitor == "val_accuracy" and not self.loss.classifies:
            raise ValueError(
                f"monitor must be 'val_loss' for {checks.shown(self.loss)}, which has no accuracy, "
                "not 'val_accuracy'."
            )
        patience = None if self.patience is None else checks.whole("patience", self.patience)
        return {"monitor": monitor, "patience": patience, "min_delta": delta}

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
        arrays = (self.x, self.y, self.sample_weight, self.theta)
        backend = backends.of(*arrays, names=names)
        for name, array in zip(names, arrays, strict=True):
            if array is not None and backend.traced(array):
                raise TypeError(
                    f"{name} must hold values, not be traced: fit looks at them, and runs in "
                    "Python; call it outside of the function that is compiled or mapped, where "
                    "value_and_grad and update can be called."
                )
        return backend
