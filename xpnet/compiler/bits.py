"""Random bits for recorded steps, by NumPy, into the memory where a program has them.

The formula is that of `xpnet.noise`, operation by operation in place: 107 of them, whatever the
size. So for small arrays the bits of many steps are made at once, as far as the steps are known to
come, and large ones block by block, in cache. PyTorch's arrays on a CPU are NumPy's as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import noise
from xpnet.compiler.layout import Ref

AHEAD = 1 << 14
"""How many counters are made at once, of several steps if need be: 64 KiB an array of words."""

BLOCK = 1 << 15
"""How many counters of one large array are made at once."""


def _word(value: Any) -> np.ndarray:
    """A word as an array of no axes, which is the quicker operand."""
    return np.array(int(value) & noise.WORD, np.uint32)


_TURNS = [(_word(turn), _word(32 - turn)) for turn in noise.ROTATIONS]
_COUNTS = [_word(n) for n in range(1 + noise.ROUNDS // 4)]


@dataclass(frozen=True)
class Drawing:
    """A draw in the text of a program: the places that a `Draw` is made of."""

    out: Ref
    key: Ref
    step: Ref | None
    static: dict[str, Any]


class Draw:
    """One draw of a step, called with the number of the step before each use of its result.

    Args:
        out: where the result lies, ``(..., rows, features)``: truth values, or words.
        key: the words of the seeds, ``(..., 2)``; read at each call.
        step: the array of the step, if it is no plain number; read at each call.
        static: which draw, as for `noise.random_bits`.
        room: arrays to compute in, by their sizes, that others use as well.
    """

    def __init__(
        self,
        out: np.ndarray,
        key: np.ndarray,
        step: np.ndarray | None,
        static: dict[str, Any],
        room: dict[int, list[np.ndarray]] | None = None,
    ) -> None:
        self.key, self.step, self.path = key, step, static["path"]
        self.bits, self.below = static["bits"], static["below"]
        self.start, stop, self.skip = noise.counters(static["first"], static["shape"], self.bits)
        self.count = stop - self.start
        self.members = math.prod(out.shape[:-2])
        self.out = out.reshape(self.members, -1)  # of one stretch of memory, or it would be a copy
        self.each = 4 if self.bits == noise.LANE else 2
        self.room = {} if room is None else room
        together = max(1, AHEAD // self.count)
        self.parts = [  # many members, some at a time
            Draw(out[some], key[some], None if step is None else step[some], static, self.room)
            for some in (slice(i, i + together) for i in range(0, self.members, together))
            if self.members > together
        ]
        self.known: bytes = b""
        self.made: np.ndarray | None = None
        self.places: dict[Any, int] = {}

    def __call__(self, step: int | None, left: int) -> None:
        """Fill the result for a step.

        Args:
            step: its number; ``None`` if it is in the array.
            left: how many steps are to come, this one among them, one behind the other.
        """
        for part in self.parts:
            part(step, left)
        if self.parts:
            return
        known = self.key.tobytes()
        if known != self.known:
            self.known, self.places = known, {}
            words = noise.derived(np, self.key.astype(np.uint32), self.path)
            self.words = [word.reshape(-1) for word in words]
        if self.count > AHEAD:
            self._large(step)
            return
        name = step if self.step is None else self.step.tobytes()
        if name not in self.places:
            self._ahead(step, left)
        made: Any = self.made
        np.copyto(self.out, made[self.places[name]])

    def _ahead(self, step: int | None, left: int) -> None:
        """Make the results of this step and the next ones."""
        most = max(1, AHEAD // (self.members * self.count))
        steps = min(most, left)
        if self.step is None:
            names: list[Any] = [step + i for i in range(steps)]  # type: ignore[operator]
            numbers = np.asarray(names)[:, None]
        else:
            every = [self.step + i for i in range(steps)]
            names, numbers = [array.tobytes() for array in every], np.stack(every)
        shape = (steps, self.members, self.count)
        a, b, spare, pairs = self._arrays(math.prod(shape))
        elements = np.arange(self.start, self.start + self.count, dtype=np.uint32)
        numbers = (numbers & noise.WORD).astype(np.uint32).reshape(steps, -1, 1)
        a.reshape(shape)[...] = elements
        b.reshape(shape)[...] = numbers
        if self.members == 1:
            keys = [_word(word[0]) for word in self.words]
        else:
            keys = [
                np.broadcast_to(word[:, None], shape).reshape(-1).astype(np.uint32)
                for word in self.words
            ]
        _threefry(keys, a, b, spare, pairs)
        lanes = self._lanes(pairs).reshape(steps, self.members, -1)
        if self.made is None or len(self.made) != steps:
            self.made = np.empty((steps, *self.out.shape), self.out.dtype)
        self._choose(lanes[..., self.skip : self.skip + self.out.shape[-1]], self.made)
        self.places = {name: i for i, name in enumerate(names)}

    def _large(self, step: int | None) -> None:
        """Make the result of one network block by block."""
        length = self.out.shape[-1]
        number = _word(step if self.step is None else self.step.item())
        keys = [_word(word[0]) for word in self.words]
        for begin in range(0, self.count, BLOCK):
            size = min(BLOCK, self.count - begin)
            a, b, spare, pairs = self._arrays(size)
            first = self.start + begin
            a[...] = np.arange(first, first + size, dtype=np.uint32)
            b[...] = number
            _threefry(keys, a, b, spare, pairs)
            low = max(0, begin * self.each - self.skip)
            high = min(length, (begin + size) * self.each - self.skip)
            shift = low + self.skip - begin * self.each
            self._choose(self._lanes(pairs)[shift : shift + high - low], self.out[0, low:high])

    def _arrays(self, size: int) -> list[np.ndarray]:
        """Arrays of so many words to compute in, and one for the result, pair by pair."""
        if size not in self.room:
            self.room[size] = [
                *(np.empty(size, np.uint32) for _ in range(3)),
                np.empty((size, 2), "<u4"),
            ]
            while len(self.room) > 2:  # whole blocks and the last one
                del self.room[next(iter(self.room))]
        return self.room[size]

    def _lanes(self, pairs: np.ndarray) -> np.ndarray:
        """The numbers of pairs of words, in their order: the lower half of a word first."""
        return pairs.view("<u2" if self.bits == noise.LANE else "<u4").reshape(-1)

    def _choose(self, lanes: np.ndarray, out: np.ndarray) -> None:
        if self.below is None:
            np.right_shift(lanes, _word(8 * lanes.itemsize - self.bits), out=out)
        elif self.below >= 1 << self.bits:  # beyond what a lane can hold
            out[...] = True
        else:
            np.less(lanes, np.array(self.below, lanes.dtype), out)


def _threefry(
    key: list[np.ndarray], a: np.ndarray, b: np.ndarray, spare: np.ndarray, pairs: np.ndarray
) -> None:
    """`noise.threefry` of the counters ``a`` and ``b``, which are lost, into ``pairs``."""
    add, xor, left, right, either = (
        *(np.add, np.bitwise_xor, np.left_shift, np.right_shift, np.bitwise_or),
    )
    third = np.bitwise_xor(*key)
    keys = [*key, np.asarray(third ^ noise.PARITY, np.uint32)]
    add(a, keys[0], a)
    add(b, keys[1], b)
    for i in range(noise.ROUNDS):
        turn, back = _TURNS[i % 8]
        add(a, b, a)
        left(b, turn, spare)
        right(b, back, b)
        either(b, spare, b)
        xor(b, a, b)
        if i % 4 == 3:
            n = i // 4 + 1
            last = n == noise.ROUNDS // 4
            add(b, _COUNTS[n], b)
            add(a, keys[n % 3], pairs[:, 0] if last else a)
            add(b, keys[(n + 1) % 3], pairs[:, 1] if last else b)
