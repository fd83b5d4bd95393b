"""Which samples each step sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.initializers import RNG, generator
from xpnet.types import Array, Metrics


class Batches:
    """The samples of each step: all of them, or shuffled rows drawn on the host and moved.

    Attributes:
        size: how many samples a step has, or ``None`` for all.
        part: how many of them are computed at once: a batch, of which a step may have several.
        read: whether samples are read as they are needed: then their numbers stay on the host.
    """

    LIMIT = 1 << 20
    """How many row numbers go to the device at once."""

    def __init__(
        self,
        backend: backends.Backend,
        samples: int,
        batch_size: int | None,
        shuffle: bool,
        seed: int | RNG,
        accumulate: int = 1,
    ) -> None:
        if batch_size is not None and checks.whole("batch_size", batch_size) > samples:
            raise ValueError(
                f"batch_size must be at most the {samples} samples of x, not {batch_size}."
            )
        most = 1 if batch_size is None else -(-samples // batch_size)
        if checks.whole("accumulate", accumulate) > most:
            raise ValueError(
                f"accumulate must be at most {most}, the number of batches of an epoch, not "
                f"{accumulate}{'; it wants a batch_size' * (batch_size is None)}."
            )
        self.backend, self.samples, self.part = backend, samples, batch_size or samples
        self.size = batch_size and min(batch_size * accumulate, samples)
        self.means = means_of if batch_size is None else backend.as_one(means_of)
        self.shuffle, self.rng = shuffle, generator(seed, "shuffle_seed")
        self.read = False
        self._ahead: tuple[Any, tuple[int, list[Array]]] | None = None

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return 1 if self.size is None else -(-self.samples // self.size)

    @property
    def smallest(self) -> int:
        """How many samples the smallest part of a step has."""
        return self.samples % self.part or self.part

    def drawn(self) -> Any:
        """How far orders have been drawn, for `again` and `resume`."""
        if self.size is None or not self.shuffle:
            return None
        if self._ahead is not None:
            return self._ahead[0]
        rng = self.rng
        if isinstance(rng, np.random.RandomState):
            return rng.get_state(legacy=False)
        return rng.bit_generator.state

    @contextmanager
    def again(self, drawn: Any, epochs: int) -> Iterator[Callable[[], Iterator[Array]] | None]:
        """Draw once more, as often as is asked, what was drawn from there on; then go on.

        It gives the rows of the steps, ``(steps, batch)`` by ``(steps, batch)``; ``None`` if all
        samples are in every step.
        """
        now = self.drawn()

        def rows() -> Iterator[Array]:
            self.resume(drawn)
            for _, parts in self.batch_rows(epochs):
                yield from parts

        try:
            yield None if self.size is None else rows
        finally:
            self.resume(now)

    def resume(self, drawn: Any) -> None:
        """Draw on from there, with the same kind of generator."""
        self._ahead = None
        if drawn is None:
            return
        if isinstance(self.rng, np.random.RandomState):
            self.rng.set_state(drawn)
        else:
            self.rng.bit_generator.state = drawn

    def draw_ahead(self, epochs: int) -> None:
        """Have the first orders of these epochs drawn and moved, while a device is at work."""
        if epochs and self.size is not None and not self.read and self._ahead is None:
            before = self.drawn()
            self._ahead = before, next(self.batch_rows(epochs))

    def forget(self) -> None:
        """Be as if nothing had been drawn ahead."""
        if self._ahead is not None:
            self.resume(self._ahead[0])

    def batch_rows(self, epochs: int) -> Iterator[tuple[int, list[Array]]]:
        """Yield ``(epochs, rows)``: arrays of ``(steps, batch)`` that these epochs run through."""
        assert self.size is not None
        whole, rest = divmod(self.samples, self.size)
        # Batches of one size run on through the epochs; an odd one at the end breaks the run.
        together = 1 if rest else max(1, self.LIMIT // self.samples)
        while epochs > 0:
            n = min(together, epochs)
            if self._ahead is not None:
                before, there = self._ahead
                self.resume(before if there[0] != n else None)
                if there[0] == n:
                    yield there
                    epochs -= n
                    continue
            order = np.tile(np.arange(self.samples), (n, 1))
            if self.shuffle:
                for row in order:
                    self.rng.shuffle(row)
            full = order[:, : whole * self.size].reshape(n * whole, self.size)
            rows = [full] if not rest else [full, order[:, whole * self.size :]]
            if not self.read:
                rows = [self.backend.asarray(part, "int64") for part in rows]
            yield n, rows
            epochs -= n


def means_of(xp: Any, parts: list[Metrics], *, epochs: int, shares: tuple[float, ...]) -> Metrics:
    """The means over the batches of each epoch, of parts whose batches are of one size each."""
    found: Metrics = {}
    for part, share in zip(parts, shares, strict=True):
        for name, values in part.items():
            steps = xp.reshape(values, (epochs, -1, *values.shape[1:]))
            mean = xp.sum(steps, axis=1) * share
            found[name] = found[name] + mean if name in found else mean
    return found
