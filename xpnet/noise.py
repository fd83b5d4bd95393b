"""Random numbers inside a step: counter-based, and so the same bits on every library.

A generator that is kept would be changed by what it draws, and a step is pure. Counter-based
numbers (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") are a
function instead: Threefry-2x32 with 20 rounds maps a counter of two words, under a key of two
words, to two random words, by additions, rotations and exclusive ors of 32 bits. The key follows
from the seed (of a member), the layer and the number of the draw; the counter is the place in the
batch and the number of the step. So no order of work, in blocks, threads or parts of a batch,
changes a bit.

Words are of the dtype of the key: uint32, or, where a library has no arithmetic for that, int64 of
which 32 bits count (`Backend.words`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from xpnet import checks
from xpnet.checks import shown
from xpnet.types import Array

Words = tuple[Any, Any]

WORD = 0xFFFFFFFF
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
ROUNDS = 20

LANE = 16
"""How many bits a truth value is made of: rates are multiples of 2⁻¹⁶."""
RATES = 1 << LANE


# ---- the formula


def threefry(xp: Any, key: Words, counter: Words) -> Words:
    """Threefry-2x32-20 of a key and a counter, each two arrays of words that broadcast."""
    wraps = key[0].dtype == xp.uint32

    def word(x: Array) -> Array:
        return x if wraps else x & WORD

    keys = (*key, key[0] ^ key[1] ^ PARITY)
    a, b = word(counter[0] + keys[0]), word(counter[1] + keys[1])
    for i in range(ROUNDS):
        turn = ROTATIONS[i % 8]
        a = word(a + b)
        b = (word(b << turn) | (b >> (32 - turn))) ^ a
        if i % 4 == 3:
            n = i // 4 + 1
            a, b = word(a + keys[n % 3]), word(b + (keys[(n + 1) % 3] + n))
    return a, b


def random_bits(
    xp: Any,
    key: Array,
    step: Array,
    *,
    path: tuple[int, ...],
    first: int,
    shape: tuple[int, int],
    bits: int,
    below: int | None = None,
) -> Array:
    """Random whole numbers for the samples of a step, ``(..., rows, features)``.

    Args:
        xp: the namespace.
        key: words, ``(..., 2)``: of the seed of each member.
        step: how many steps are done: no axes, or ``(..., 1)``.
        path: which draw of which layer.
        first: the number of the first row in the batch.
        shape: how many rows and features.
        bits: how many bits a number has: 16, 24 or 32.
        below: ``None`` for the numbers; else for whether each is below this.
    """
    static = {"path": path, "first": first, "shape": shape, "bits": bits, "below": below}
    start, stop, skip = counters(first, shape, bits)
    if hasattr(key, "tape"):  # a stand-in, of a step that is recorded: one operation
        return key.tape.apply("random_bits", (key, step), **static)
    keys = derived(xp, key, path)
    place = {"dtype": key.dtype, "device": getattr(key, "device", None)}  # a traced one has none
    elements = xp.arange(start, stop, **place)
    step = xp.astype(step, key.dtype) if key.dtype == xp.uint32 else step & WORD
    a, b = threefry(xp, keys, (elements, step))
    if bits == LANE:
        lanes = [a & (RATES - 1), a >> LANE, b & (RATES - 1), b >> LANE]
    else:
        lanes = [a >> (32 - bits), b >> (32 - bits)]
    rows, features = shape
    numbers = xp.reshape(xp.stack(lanes, axis=-1), (*a.shape[:-1], -1))
    numbers = numbers[..., skip : skip + rows * features]
    numbers = xp.reshape(numbers, (*a.shape[:-1], rows, features))
    return numbers if below is None else numbers < below


def derived(xp: Any, key: Array, path: tuple[int, ...]) -> Words:
    """The key of a draw, by two of the numbers of its path at a time; none of them is 0."""
    keys = key[..., 0:1], key[..., 1:2]
    for i in range(0, len(path), 2):
        a, b = (*path, 0)[i : i + 2]
        zero = keys[0] ^ keys[0]
        keys = threefry(xp, keys, (zero + a, zero + b))
    return keys


def counters(first: int, shape: tuple[int, int], bits: int) -> tuple[int, int, int]:
    """From which counter to which, and how many of the first one's numbers are of rows before.

    Raises:
        ValueError: if a batch has more elements than there are counters.
    """
    rows, features = shape
    each = 4 if bits == LANE else 2
    start, end = first * features, (first + rows) * features
    stop = -(-end // each)
    if stop > WORD + 1:
        raise ValueError(
            f"a batch must have at most {each << 32} elements to draw random numbers for, "
            f"not {end}."
        )
    return start // each, stop, start % each


def rate(p: float) -> float:
    """The probability that `Stream.bernoulli` has for ``p``: the nearest multiple of 2⁻¹⁶."""
    return round(p * RATES) / RATES


# ---- what a layer is handed, and what a network is given


class Stream:
    """The random numbers of one layer in one step.

    A layer that draws is handed one at each forward pass. Every draw of it has numbers of its own,
    and so has every stream that is `split` from it.

    Args:
        key: words, ``(2,)``, or ``(members, 2)``.
        step: how many steps were done before, an integer of no axes, or ``(members, 1)``.
        first: the number of the first row in the batch, of which these may be a part.
        path: the place of the stream among those that are split from the same key.
        bits: what draws: ``random_bits``, or how a library runs it best.
        among: where the rows are not one behind the other: the places of these in the batch, and
            how many rows that has, for all of which is drawn.
    """

    def __init__(
        self,
        key: Array,
        step: Array,
        first: int = 0,
        path: tuple[int, ...] = (),
        bits: Callable[..., Array] = random_bits,
        among: tuple[Array, int] | None = None,
    ) -> None:
        self.key, self.step, self.first, self.path, self.bits = key, step, first, path, bits
        self.among = among
        self._taken = 0

    def split(self) -> Stream:
        """A stream of its own: for a layer within this one."""
        return Stream(self.key, self.step, self.first, self._next(), self.bits, self.among)

    def part(self, first: int) -> Stream:
        """The stream for a part of these samples that begins with the row ``first`` of them."""
        return Stream(self.key, self.step, self.first + first, self.path, self.bits, self.among)

    def bernoulli(self, xp: Any, p: float, x: Array) -> Array:
        """Truth values of the shape of ``x``, each true with the probability ``rate(p)``.

        Of an ensemble each member has its own, ``(members, samples, features)``, also where all
        share ``x``.

        Args:
            xp: the namespace that the layer was given.
            p: the probability, from 0 to 1; taken to be the nearest multiple of 2⁻¹⁶, since they
                are made of 16 bits each.
            x: an array ``(..., samples, features)``.
        """
        below = round(checks.number("p", p, least=0, most=1) * RATES)
        return self._draw(xp, x, bits=LANE, below=below)

    def uniform(self, xp: Any, x: Array) -> Array:
        """Numbers from 0 up to, but not, 1, of the dtype of ``x`` and the shape as of `bernoulli`.

        They are multiples of 2⁻²⁴ in float32, of 2⁻³² in float64, and each of them is as likely.
        """
        bits = 32 if x.dtype == xp.float64 else 24
        return xp.astype(self._draw(xp, x, bits=bits), x.dtype) * 2.0**-bits

    def _draw(self, xp: Any, x: Array, **how: Any) -> Array:
        shape = int(x.shape[-2]), int(x.shape[-1])
        path = self._next()
        if self.among is None:
            how["first"] = self.first
            return self.bits(xp, self.key, self.step, path=path, shape=shape, **how)
        places, rows = self.among
        whole = rows, shape[1]
        drawn = self.bits(xp, self.key, self.step, path=path, first=0, shape=whole, **how)
        return xp.take(drawn, places[self.first : self.first + shape[0]], axis=-2)

    def _next(self) -> tuple[int, ...]:
        self._taken += 1
        return (*self.path, self._taken)


@dataclass(frozen=True)
class Noise:
    """Where the random numbers of a step come from, for `Sequential.value_and_grad`.

    The same `Noise` is the same numbers on every library; training by hand gives another to every
    step. `fit` takes the number of steps that its optimizer has counted, ``state["step"]``.

    Args:
        seed: a whole number from 0 to 2⁶⁴ − 1, for an ensemble also a sequence or an array, one a
            member. Member ``i`` of an int ``seed`` draws what a network alone draws of
            ``seed + i``.
        step: how many steps were done before: a whole number, or an integer array of no axes, or
            ``(members, 1)``, such as ``state["step"]``. It counts modulo 2³².

    Raises:
        TypeError, ValueError: if ``seed`` is none of these.
    """

    seed: int | Sequence[int]
    step: Any

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        many = checks.several(self.seed)
        if many is not None:  # an array has no hash
            object.__setattr__(self, "seed", tuple(many))
        if not checks.is_array(self.step) or isinstance(self.step, Integral):
            object.__setattr__(self, "step", checks.whole("step", self.step, least=0))

    def stream(self, backend: Any, members: int | None) -> Stream:
        """The stream of a network on a backend.

        Raises:
            TypeError, ValueError: if the seeds or the step are not of so many members.
        """
        key = backend.asarray(keys(self.seed, members, "seed"), backend.words)
        step = self.step
        if not checks.is_array(step):
            step = backend.asarray(step & WORD, backend.words)
            return Stream(key, step, bits=backend.as_one(random_bits))
        shape = tuple(step.shape)
        if "int" not in backend.dtype_name(step) or shape not in ((), (members, 1)):
            raise ValueError(
                f"step must be a whole number, or an integer array of the shape ()"
                f"{'' if members is None else f' or {(members, 1)}'}, not {shown(step)}."
            )
        return Stream(key, step, bits=backend.as_one(random_bits))


SEEDS = 1 << 64


def check_seed(name: str, seed: Any) -> None:
    """Raise unless this is a seed of noise, or a sequence of them."""
    many = checks.several(seed)
    for i, one in enumerate([seed] if many is None else many):
        which = name if many is None else f"{name}[{i}]"
        if checks.whole(which, one, least=0) >= SEEDS:
            raise ValueError(f"{which} must be below 2**64, not {shown(one)}.")


def keys(seed: Any, members: int | None, name: str) -> Any:
    """The words of the keys of a network, or of each member, in lists.

    Raises:
        TypeError, ValueError: if there are not as many seeds as members.
    """
    check_seed(name, seed)
    many = checks.several(seed)
    if many is None:
        if members is None:
            return _words(seed)
        if int(seed) + members > SEEDS:
            raise ValueError(f"{name} must be below 2**64 for each of {members} members.")
        return [_words(int(seed) + i) for i in range(members)]
    if members is None:
        raise TypeError(
            f"{name} must be one for a network alone (members=None), not a list of {len(many)}."
        )
    if len(many) != members:
        raise ValueError(
            f"{name} must hold one seed for each of the {members} members, not {len(many)}."
        )
    return [_words(one) for one in many]


def _words(seed: int) -> list[int]:
    return [int(seed) & WORD, int(seed) >> 32]
