"""What is done of a training over a cluster that is gone on with, and what it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.distributed.parts import cut, where_is
from xpnet.distributed.saved import BlockProgress, done_in
from xpnet.training.asked import Asked
from xpnet.training.fingerprint import Told, argument, fingerprints, require_same


@dataclass
class Before:
    """What is done of a training that is gone on with.

    Attributes:
        blocks: by their files.
        size, native: as the others had them.
        count: how many members there are in them.
    """

    blocks: dict[Path, BlockProgress]
    size: int
    native: bool
    count: int


def before_in(resume: Any, told: Callable[[], Told], members: int) -> Before | None:
    """The blocks that are done in a folder, of this training and no other."""
    blocks = done_in(resume)
    for path, block in blocks.items():
        require_same(told(), block.asked, str(path))
    if not blocks:
        return None
    size, native = next((block.size, block.native) for block in blocks.values())
    whole = dict(cut(members, size))
    for path, block in blocks.items():
        alike = (block.size, block.native) == (size, native)
        if not alike or whole.get(block.members.start) != block.members.stop:
            raise ValueError(
                f"resume must be a folder of blocks of one training, not {str(path.parent)!r}, in "
                f"which {path.name!r} is of another division of the members; remove it, or begin "
                "in another folder."
            )
    return Before(blocks, size, native, sum(len(block.members) for block in blocks.values()))


def telling(asked: Asked, epochs: int, check_every: int, keep: str) -> Callable[[], Told]:
    """What is told of every argument that a block depends on: once, and where it is asked for.

    Besides what a checkpoint tells, of generators where they are now, as members are yet to come.
    """
    seeds = {}
    for name in ("seed", "shuffle_seed"):
        value, state = getattr(asked, name), where_is(getattr(asked, name))
        shown = f"a {type(value).__name__}" if isinstance(state, dict) else checks.shown(value)
        seeds[name] = [shown, argument("", (_plain(value), state))[1]]

    @cache
    def told() -> Told:
        also = {"epochs": argument("epochs", epochs), "keep": argument("keep", keep)}
        # The seed first, as others may follow from it.
        return {"seed": seeds["seed"], **fingerprints(asked, check_every), **seeds, **also}

    return told


def _plain(seed: Any) -> Any:
    """A seed without its generators, of which the states are told."""
    several = isinstance(seed, (list, tuple))
    return [_plain(one) for one in seed] if several else None if where_is(seed) else seed
