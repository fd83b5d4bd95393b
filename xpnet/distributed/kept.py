"""What is kept of a training: all of it, parameters, the best member, or the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.history import History
from xpnet.losses import Loss
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.types import Array

KEPT = ("all", "theta", "best", "history")
"""What `fit` may be asked to keep."""

_OF_EACH = ("stop", "diverged", "best_epoch", "trained", "exhausted")


class BlockFailed(RuntimeError):
    """A block of members could not be trained on the workers of a cluster.

    Attributes:
        members: which, a ``range`` of their numbers.
        model: what `fit` returns after Ctrl-C: the members that were done, all others as they were
            then, made when it is asked for.
    """

    def __init__(self, said: str, members: range, kept: Callable[[], Model]) -> None:
        super().__init__(said)
        self.members, self._kept = members, kept

    @cached_property
    def model(self) -> Model:
        return self._kept()


class Recorded(Model):
    """What is left of networks of which the history alone was kept (``keep="history"``)."""

    def __init__(self, network: Sequential, loss: Loss | None, history: History | None) -> None:
        self.network, self.loss, self.history = network, loss, history
        self.state = self.optimizer = self._layer_state = self._preparation = None

    @property  # type: ignore[misc]  # of which there is none to be set, either
    def theta(self) -> Array:
        raise AttributeError(
            "theta was not kept by keep='history'; keep='theta' keeps it, and member i of an int "
            "seed can be trained again, as a network of seed + i."
        )

    @property
    def members(self) -> int | None:
        loss = None if self.history is None else self.history.loss
        return int(loss.shape[1]) if loss is not None and loss.ndim == 2 else None

    def __repr__(self) -> str:
        return f"Recorded({self.network!r}, {self.history!r})"


def kept_of(model: Model, keep: str) -> Model:
    """What is kept of a model that was trained.

    Raises:
        ValueError: if the best is to be kept, and the loss of all members is NaN.
    """
    history = model.history
    assert history is not None
    if keep == "theta":
        ends = history if model.members is None else ends_of(history)
        layers = model.layer_state
        return Model(model.network, model.theta, model.loss, ends, None, layers, model.optimizer)
    if keep == "history":
        return Recorded(model.network, model.loss, history)
    return model.best() if keep == "best" else model


def ends_of(history: History) -> History:
    """A history with one entry of each member: what it left with (`History.last`)."""
    found: dict[str, Any] = {name: history.last(name)[None] for name in history.names}
    epochs = history.val_epochs
    return replace(
        history,
        val_metrics={name: found.pop(name) for name in history.val_metrics},
        val_epochs=None if epochs is None else epochs[-1:],
        **found,
    )


@dataclass
class Piece:
    """What is kept of some members, with arrays of the host.

    Attributes:
        arrays: by name: ``theta``, ``state.step``, ``layer_state.3.mean``; of ``"best"`` those of
            one network.
        history: theirs; of ``"best"`` that of the best.
        score: of ``"best"`` by what, less being better.
        last: what each of them left with, by the names of the history.
        diverged: how many of them did.
        rng: where the generator of the orders is behind the last epoch, if it is somebody's own.
        whole: whether they were trained to their end, and not until somebody ended it.
        said: the warnings of their training.
    """

    arrays: dict[str, np.ndarray]
    history: History
    score: float = np.inf
    last: dict[str, np.ndarray] = field(default_factory=dict)
    diverged: int = 0
    rng: Any = None
    whole: bool = True
    said: tuple[str, ...] = ()


def piece_of(model: Model, keep: str, first: int) -> Piece:
    """What is kept of members from number ``first`` on; no arrays where none can be the best."""
    history, score = model.history, np.inf
    assert history is not None
    diverged = int(np.count_nonzero(history.diverged))
    last = {name: history.last(name) for name in history.names}
    if keep == "best":
        scores = history.scores()
        if np.isnan(scores).all():
            return Piece({}, history, last=last, diverged=diverged)
        score, model = float(np.nanmin(scores)), model.best()
        assert model.history is not None and model.history.member is not None
        model.history.member += first
    else:
        model = kept_of(model, keep)
    assert model.history is not None
    return Piece(_arrays(model), model.history, score, last, diverged)


def _arrays(model: Model) -> dict[str, np.ndarray]:
    if isinstance(model, Recorded):
        return {}
    named = {"theta": model.theta}
    for part in ("state", "layer_state"):
        named |= {f"{part}.{name}": a for name, a in (getattr(model, part) or {}).items()}
    backend = backends.of(model.theta)
    with backend.context():
        return {name: backend.to_host(array) for name, array in named.items()}


class Kept:
    """What is kept of an ensemble, put together of the pieces of its members as they come.

    Args:
        keep: one of `KEPT`.
        network, loss, optimizer: what is trained.
        backend: where the model is to be.
    """

    def __init__(
        self,
        keep: str,
        network: Sequential,
        loss: Loss,
        optimizer: Optimizer,
        backend: backends.Backend,
    ) -> None:
        self.keep, self.backend = keep, backend
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.pieces: dict[int, Piece] = {}
        self.diverged = 0
        self.longest: tuple[int, Any] = 0, None

    def add(self, first: int, piece: Piece) -> None:
        """Take a piece of the members from number ``first`` on."""
        self.diverged += piece.diverged
        if piece.rng is not None and piece.history.epochs > self.longest[0]:
            self.longest = piece.history.epochs, piece.rng
        piece.rng = None
        if self.keep != "best":
            self.pieces[first] = piece
        elif piece.arrays:  # of equals the first, in whichever order they come
            best = min(
                [*self.pieces.items(), (first, piece)], key=lambda one: (one[1].score, one[0])
            )
            self.pieces = dict([best])

    def model(self, interrupted: bool, stopped: bool) -> Model:
        """The model of all, in their order.

        Args:
            interrupted, stopped: as of a `History`.

        Raises:
            ValueError: if the best was to be kept, and the loss of all is NaN.
        """
        if not self.pieces:
            raise ValueError(
                "keep must be what some member has, but what 'best' goes by is NaN for all."
            )
        pieces = [self.pieces[first] for first in sorted(self.pieces)]
        history = pieces[0].history if self.keep == "best" else _joined([p.history for p in pieces])
        history = replace(history, interrupted=interrupted, stopped=stopped)
        if self.keep == "history":
            return Recorded(self.network, self.loss, history)
        longest = max(range(len(pieces)), key=lambda i: (pieces[i].history.epochs, i))
        found: dict[str, Array] = {}
        for name in list(pieces[0].arrays):
            shared = pieces[longest].arrays[name].ndim == 0  # a counter, which all share
            parts = [piece.arrays.pop(name) for piece in pieces]
            if self.keep == "best" or shared:
                found[name] = self._placed(parts[longest])
            else:
                found[name] = self._placed(np.concatenate(parts))
        state, layers = (
            {
                key.removeprefix(f"{part}."): a
                for key, a in found.items()
                if key.startswith(f"{part}.")
            }
            for part in ("state", "layer_state")
        )
        optimizer = self.optimizer
        if history.member is not None:
            optimizer = optimizer.of_member(history.member)
        return Model(
            self.network, found["theta"], self.loss, history, state or None, layers or None,
            optimizer,
        )  # fmt: skip

    def _placed(self, host: np.ndarray) -> Array:
        with self.backend.context():
            return self.backend.asarray(host, host.dtype.name)


def _joined(histories: list[History]) -> History:
    """That of all members, of those of some each, which may have ended earlier than others."""
    longest = max(histories, key=lambda history: history.epochs)

    counts = [history.loss.shape[1] for history in histories]

    def wide(values: list[Any]) -> np.ndarray | None:
        there = [value for value in values if value is not None]  # not where no epoch was trained
        if not there:
            return None
        found = np.full((max(map(len, there)), sum(counts)), np.nan, dtype=there[0].dtype)
        at = 0
        for value, count in zip(values, counts, strict=True):
            if value is not None:
                found[: len(value), at : at + count] = value
            at += count
        return found

    def each(values: list[Any]) -> Any:
        return np.concatenate(values) if np.ndim(values[0]) else values[0]

    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    found: dict[str, Any] = {
        name: wide([getattr(one, name) for one in histories]) for name in names
    }
    found |= {name: each([getattr(one, name) for one in histories]) for name in _OF_EACH}
    looks = [one.val_epochs for one in histories if one.val_epochs is not None]
    return replace(
        longest,
        **found,
        val_metrics={
            name: np.asarray(wide([one.val_metrics[name] for one in histories]))
            for name in longest.val_metrics
        },
        val_epochs=max(looks, key=len, default=None),
        restored=any(one.restored for one in histories),
    )


def check_keep(keep: Any, members: int | None) -> str:
    """Return ``keep`` if it says what to keep, or raise."""
    checks.one_of("keep", keep, KEPT)
    if keep == "best" and members is None:
        raise ValueError(
            "keep must be 'all', 'theta' or 'history' for a network alone, not 'best'."
        )
    return str(keep)
