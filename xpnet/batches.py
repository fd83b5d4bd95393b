"""Which samples each step sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xpnet import _checks, backends
from xpnet.initializers import RNG, generator
from xpnet.layers.base import Array


class Batches:
    """The samples of each step: all of them, or shuffled rows drawn on the host and moved."""

    LIMIT = 1 << 20
    """How many row numbers go to the device at once."""

    def __init__(
        self,
        backend: backends.Backend,
        samples: int,
        batch_size: int | None,
        shuffle: bool,
        seed: int | RNG,
    ) -> None:
        if batch_size is not None and _checks.whole("batch_size", batch_size) > samples:
            raise ValueError(
                f"batch_size must be at most the {samples} samples of x, not {batch_size}."
            )
        self.backend, self.samples, self.size = backend, samples, batch_size
        self.shuffle, self.rng = shuffle, generator(seed, "shuffle_seed")

    def orders(self, epochs: int) -> Iterator[tuple[int, list[Array]]]:
        """Yield ``(epochs, rows)``: arrays of ``(steps, batch)`` that these epochs run through."""
        assert self.size is not None
        whole, rest = divmod(self.samples, self.size)
        # Batches of one size run on through the epochs; an odd one at the end breaks the run.
        together = 1 if rest else max(1, self.LIMIT // self.samples)
        while epochs > 0:
            n = min(together, epochs)
            order = np.tile(np.arange(self.samples), (n, 1))
            if self.shuffle:
                for row in order:
                    self.rng.shuffle(row)
            full = order[:, : whole * self.size].reshape(n * whole, self.size)
            rows = [full] if not rest else [full, order[:, whole * self.size :]]
            yield n, [self.backend.asarray(part, "int64") for part in rows]
            epochs -= n
