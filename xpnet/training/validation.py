"""Validation: how samples that are not trained on are predicted, who is best, who has given up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.plain import never
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.runner import counted
from xpnet.history import GREATER
from xpnet.metrics import KNOWN, Scorer
from xpnet.training.batches import means_of
from xpnet.training.ensemble import Population
from xpnet.training.rows import data_rows, have_own, rows_of
from xpnet.training.step import Data, ValidationStep, judged
from xpnet.training.streamed import Streamed, joined
from xpnet.types import Carry, First, Metrics

_OF_EACH = ("best", "best_epoch", "waited")


class Validation:
    """Looks at every check how well who is trained does on samples of its own.

    Long, since what is found, who is best and who has waited how long are told three times: at a
    check, in the history, and in a checkpoint.

    Args:
        backend: where they are.
        step: looks, once.
        data: on what.
        scorer: what metrics say of its outputs.
        members: how many networks, or ``None``.
        size: how many samples are looked at together, where they are read.
        monitor: ``val_loss``, ``val_accuracy``, or ``val_`` and the name of a metric.
        patience: after how many checks without an improvement a member is done, or ``None``.
        min_delta: by how much more than the best so far is one.
        restore_best: whether the best are kept.
        ranks: with whom; each looks at samples of its own, and knows of those of all what metrics
            are asked with. ``None`` for nobody.

    Attributes:
        epochs: after which epochs there was a look.
        values: what was found, ``(members,)`` each, by name.
        best_epoch: that of the best so far, 0 for none, ``(members,)``.
    """

    def __init__(
        self,
        backend: backends.Backend,
        step: ValidationStep,
        data: Data | Streamed,
        scorer: Scorer,
        members: int | None,
        *,
        size: int | None = None,
        monitor: str,
        patience: int | None,
        min_delta: float,
        restore_best: bool,
        ranks: Ranks | None = None,
    ) -> None:
        self.backend, self.step, self.data, self.members = backend, step, data, members
        self.scorer, self.monitor, self.size = scorer, monitor, size or 1
        self.patience, self.min_delta = patience, min_delta
        self.greater = {**GREATER, **{f"val_{one.name}": one.greater for one in scorer.metrics}}
        self.restore_best, self.ranks = restore_best, ranks
        self.run = backend.runner(step, 1)
        self.epochs: list[int] = []
        self.values: dict[str, list[np.ndarray]] = {}
        count = members or 1
        self.best = np.full(count, np.inf)
        self.best_epoch = np.zeros(count, dtype=np.int64)
        self.waited = np.zeros(count, dtype=np.int64)
        self.kept: Carry | None = None
        self._asked: list[Metrics] = []
        self._dealt: tuple[Any, list[Any]] = None, []

    def try_out(self, population: Population) -> None:
        """Ask the metrics of somebody's own once, before anything is trained."""
        if any(one not in KNOWN for one in map(type, self.scorer.metrics)):
            self.ask(population, never)
            self._look(population)

    def ask(self, population: Population, interrupted: Callable[[], bool]) -> bool:
        """Have outputs computed for the `check` to come; nothing waits for them before.

        Returns:
            Whether they are; of samples that are read it may be interrupted, and there is no check.
        """
        if hasattr(self.run, "varies"):  # as of the runners of blocks that have their own data
            varies = 3 if len(population.blocks) > 1 and have_own(self.data) else 0
            self.run.varies = 2 if isinstance(self.data, Streamed) else varies
        self._asked = self._found(population, interrupted)
        return bool(self._asked)

    def check(self, population: Population, alive: np.ndarray, epoch: int) -> np.ndarray:
        """Look at those who are ``alive``, as `ask` found them; return whose patience has ended."""
        columns = population.columns
        found = self._look(population)
        self.epochs.append(epoch)
        for name, values in found.items():
            if self.members is not None:
                wide = np.full(self.members, np.nan, dtype=values.dtype)
                wide[columns[alive]] = values[alive]
                values = wide
            self.values.setdefault(name, []).append(values)
        sign = -1 if self.greater[self.monitor] else 1
        score = sign * found[self.monitor].astype(np.float64)
        better = alive & (score < self.best[columns] - self.min_delta)  # not where it is NaN
        better &= np.isfinite(found["val_loss"])
        self.best[columns[better]] = score[better]
        self.best_epoch[columns[better]] = epoch
        self.waited[columns[alive]] += 1
        self.waited[columns[better]] = 0
        if self.restore_best and better.any():
            self._keep(population, better)
        if self.patience is None:
            return np.zeros_like(alive)
        return np.asarray(alive & (self.waited[columns] >= self.patience))

    def history(self) -> dict[str, Any]:
        """What the `History` says of it."""

        def one(values: np.ndarray) -> Any:
            return values.copy() if self.members is not None else values[..., 0]

        empty = np.empty((0, self.members or 1))
        found = {name: one(np.stack(values)) for name, values in self.values.items()}
        for name in self._names:
            found.setdefault(name, one(empty))
        best = one(self.best_epoch)
        return {
            **{name: found.pop(name) for name in ("val_loss", "val_accuracy") if name in found},
            "val_metrics": found,
            "greater": dict(self.greater),
            "val_epochs": np.array(self.epochs, dtype=np.int64),
            "best_epoch": int(best) if self.members is None else best,
            "monitor": self.monitor,
        }

    def progress(self) -> dict[str, Any]:
        """What was found so far, who is best and who has waited how long, for `resume`."""
        return {
            "epochs": First(self.epochs, len(self.epochs)),
            "values": {name: First(found, len(found)) for name, found in self.values.items()},
            **{name: getattr(self, name).copy() for name in _OF_EACH},
            "kept": self.kept,
        }

    def resume(self, part: dict[str, Any], population: Population) -> None:
        """Go on from what another has found, of the same members."""
        self.epochs = part["epochs"]
        for name, values in part["values"].items():
            self.values[name] = list(values.reshape(len(self.epochs), -1))
        for name in _OF_EACH:
            setattr(self, name, part[name])
        self.kept = part["kept"] and population.placed(part["kept"])

    def restored(self, carry: Carry) -> Carry:
        """The carry of all members with the best of each in its place, where there is one."""
        if self.kept is None:
            return carry
        if self.members is None:
            return rows_of(self.backend, [self.kept], np.zeros(1, dtype=int))
        every = np.arange(self.members)
        rows = np.where(self.best_epoch > 0, self.members + every, every)
        return rows_of(self.backend, [carry, self.kept], rows)

    @property
    def latest(self) -> dict[str, np.ndarray]:
        """What was found last, by name: one number, or ``(members,)``."""
        return {name: values[-1] for name, values in self.values.items()}

    # ---- inside

    @property
    def _names(self) -> list[str]:
        """Of all that is looked at."""
        usual = ["val_loss", "val_accuracy"][: 1 + self.scorer.loss.classifies]
        return [*usual, *(f"val_{one.name}" for one in self.scorer.metrics)]

    def _look(self, population: Population) -> dict[str, np.ndarray]:
        """Loss and accuracy of all who are computed, on the host."""
        parts = self._asked
        scores: list[dict[str, Any]] = []
        start = 0
        for part, data in zip(parts, self._data(population), strict=True):
            if self.scorer.metrics:
                target, weight = (self._of_all(array) for array in tuple(data)[1:])
                output = self._of_all(part["output"][0, ...])
                count = 1 if self.members is None else int(output.shape[0])
                who = population.columns[start : start + count].tolist()
                scores.append(self.scorer(output, target, weight, who))
                start += count
        host = self.backend.to_host
        found = {
            f"val_{name}": np.concatenate([host(part[name]).reshape(-1) for part in parts])
            for name in ("loss", "accuracy")  # JAX sorts a dict
            if name in parts[0]
        }
        if self.ranks is not None:
            found = self._summed(found)
        for one in self.scorer.metrics:
            values = [np.reshape(score[one.name], -1) for score in scores]
            found[f"val_{one.name}"] = np.concatenate(values)
        return found

    def _summed(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Loss and accuracy of the samples of all ranks."""
        assert self.ranks is not None
        found = {name: self.ranks.sum(values) for name, values in found.items()}
        if "val_accuracy" in found and tuple(self.data)[2] is None:
            count = int(self.ranks.held.sum()) * (self.step.network.out_features or 1)
            found["val_accuracy"] = counted(found["val_accuracy"], count)
        return found

    def _of_all(self, array: Any) -> Any:
        """Outputs, targets or weights of the samples of all ranks."""
        if self.ranks is None or array is None:
            return array
        whole = self.ranks.joined(self.backend.to_host(array), self.ranks.held, -2)
        return self.backend.asarray(whole, self.backend.dtype_name(array))

    def _found(self, population: Population, interrupted: Callable[[], bool]) -> list[Metrics]:
        """What the step finds of each block; of samples that are read, batch by batch.

        Nothing, if it was interrupted between two of these.
        """
        carries = [judged(carry) for carry in population.blocks.carries]
        dealt = self._data(population)
        if not isinstance(self.data, Streamed):
            return [self.run(carry, data, 1)[1] for carry, data in zip(carries, dealt, strict=True)]
        samples = self.data.samples
        found: list[list[Metrics]] = [[] for _ in dealt]
        order = [np.arange(a, min(a + self.size, samples)) for a in range(0, samples, self.size)]
        pace = self.data.paced()
        with closing(self.data.parts(order)) as parts:
            for part in parts:
                if interrupted():
                    return []
                for carry, data, into in zip(carries, dealt, found, strict=True):
                    into.append(self.run(carry, data.data(part), 1, part.rows)[1])
                pace(found[-1][-1]["loss"])
        shares = tuple(len(rows) / samples for rows in order)
        if self.ranks is not None:  # of all of whose samples each is a part already
            shares = (1.0,) * len(order)
        return [self._joined(some, shares) for some in found]

    def _joined(self, found: list[Metrics], shares: tuple[float, ...]) -> Metrics:
        """What was found of all samples, of what was found of these shares of them."""
        xp = self.backend.xp
        outputs = [one.pop("output") for one in found if "output" in one]
        mean = means_of(xp, found, epochs=1, shares=shares)
        return {**mean, "output": joined(xp, outputs, axis=-2)} if outputs else mean

    def _data(self, population: Population) -> list[Any]:
        """The samples of each block: the same, or where members have their own, those of its."""
        columns, sizes = population.columns, [block.size for block in population.blocks]
        if not have_own(self.data):
            return [self.data] * len(sizes)
        if self._dealt[0] is not columns:  # which are others when members have left
            ends = np.cumsum(sizes)
            rows = [columns[end - size : end] for end, size in zip(ends, sizes, strict=True)]
            self._dealt = columns, [data_rows(self.backend, self.data, some) for some in rows]
        return self._dealt[1]

    def _keep(self, population: Population, better: np.ndarray) -> None:
        """Keep what those are now who are better than ever."""
        carries, columns = population.blocks.carries, population.columns
        if self.kept is None or self.members is None:
            self.kept = rows_of(self.backend, carries, self._first(population))
            return
        rows = np.arange(self.members)
        rows[columns[better]] = self.members + np.flatnonzero(better)
        self.kept = rows_of(self.backend, [self.kept, *carries], rows)

    def _first(self, population: Population) -> np.ndarray:
        """Where each member is among those who are computed, for the first that is kept of all."""
        rows = np.zeros(self.members or 1, dtype=int)
        rows[population.columns[population.alive]] = np.flatnonzero(population.alive)
        return rows
