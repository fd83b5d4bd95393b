"""Which elements `Dropout` keeps in each step, from Salmon et al. 2011 and the layout documented.

Nothing of xpnet is used. A key is the two words of a member's seed; the numbers of a draw's path
(the layer, those within it, the draw, each from 1), two at a time, make another key of it. Under
this one the counter ``(element // 4, step)`` gives two words, and these four times 16 bits for four
elements of the batch, which are kept where they are below ``q · 2¹⁶``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tests.helpers import threefry

LANES = 4


def kept_rate(p: float) -> float:
    """``q``: the nearest multiple of 2⁻¹⁶ to ``1 − p``, and at least that."""
    return max(round((1 - p) * 65536), 1) / 65536


@lru_cache(16)
def masks(
    seeds: tuple[int, ...], path: tuple[int, ...], steps: int, rows: int, features: int, p: float
) -> np.ndarray:
    """What is kept in the first so many steps, ``(steps, members, rows, features)``.

    Fewer rows have the same masks, since elements are counted row by row.
    """
    words = np.array([[seed % (1 << 32), seed >> 32] for seed in seeds], dtype=np.uint64)
    key = words[:, :1], words[:, 1:]
    numbers = np.array([*path, *[0] * (len(path) % 2)], dtype=np.uint64)
    for a, b in numbers.reshape(-1, 2):
        key = threefry(key, (a, b))
    elements = np.arange(-(-rows * features // LANES), dtype=np.uint64)
    pair = threefry(key, (elements, np.arange(steps, dtype=np.uint64)[:, None, None]))
    lanes = np.stack([half for w in pair for half in (w & 0xFFFF, w >> 16)], axis=-1)
    lanes = lanes.reshape(steps, len(seeds), -1)[..., : rows * features]
    return lanes.reshape(steps, len(seeds), rows, features) < kept_rate(p) * 65536
