"""A run of the command line by several processes of mpiexec, of which the first one speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xpnet.cli.program import MISTAKE, Mistake
from xpnet.distributed.comm import communicator, world
from xpnet.distributed.ranks import Ranks

__all__ = ["dealt", "heard_once", "ranks_of", "world"]

Parts = dict[str, tuple[Any, Any]]


def ranks_of(argv: Sequence[str]) -> Ranks | None:
    """The processes that train together, where ``--mpi`` was typed.

    Before other flags are read, since a mistake in these is to be told once.
    """
    typed = [i for i, text in enumerate(argv) if text.partition("=")[0] == "--mpi"]
    if not typed:
        return None
    last = typed[-1]
    value = argv[last].partition("=")[2] or "".join(argv[last + 1 : last + 2])
    if value.lower() == "false":
        return None
    try:
        return Ranks(communicator(world()))
    except ImportError as error:
        raise Mistake(f"--mpi must be left out here: {error}") from error


@contextmanager
def heard_once(ranks: Ranks) -> Iterator[None]:
    """Within it, an error is raised on rank 0 alone, which has heard of it; the others end."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        if ranks.rank > 0:
            raise SystemExit(MISTAKE) from None
        if isinstance(error, RuntimeError):
            raise Mistake(str(error)) from error
        raise


def dealt(parts: Parts, ranks: Ranks) -> Parts:
    """The samples of this rank, of those that all have."""
    own = {}
    for use, arrays in parts.items():
        count = int(arrays[0].shape[0])
        if count < ranks.size:
            raise Mistake(
                f"--mpi must be of at most {count} processes, as there are so many samples for "
                f"{use}, not {ranks.size}."
            )
        first, last = (count * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
        x, y = (array[first:last, ...] for array in arrays)
        own[use] = x, y
    return own
