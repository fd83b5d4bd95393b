"""How the steps of a training would be run, without training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xpnet.compiler.plain import Plain
from xpnet.compiler.replay import Replay
from xpnet.losses import Loss
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.training.asked import Asked
from xpnet.training.loop import TrainingLoop
from xpnet.training.prepare import prepared
from xpnet.training.streamed import Streamed
from xpnet.types import Array

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """How steps would be run; printed, it says so in words.

    Attributes:
        library: the array library and its device.
        way: ``"native"``, machine code, all of a step or what stands between BLAS's products;
            ``"kernels"`` of CUDA; ``"recorded"`` and replayed; ``"compiled"`` by the library;
            or ``"plain"``, one operation after the other.
        why: why plainly, or why not native where that was thought of; else empty.
        calls: how many calls a recorded step is, on one of its threads, of the library or of
            machine code between its own; else 0.
        threads: over how many threads blocks of members, or the samples of a step, are spread.
        members: how many networks there are, or ``None`` for one.
        block: how many of them are computed together, in the first block; 1 for one.
        blocks: in how many blocks.
        nbytes: how much memory the program of a step holds, at most.
        program: the calls of a step, with what its names stand for, or its machine code before it
            is compiled, to be printed; else empty.
        kernels: what CUDA kernels do, in words; else empty.
    """

    library: str
    way: str
    why: str
    calls: int
    threads: int
    members: int | None
    block: int
    blocks: int
    nbytes: int
    program: str = field(repr=False)
    kernels: str = ""

    def __str__(self) -> str:
        how = {
            "recorded": f"recorded once and replayed, {self.calls} calls a step, "
            f"with {_size(self.nbytes)} of buffers",
            "native": f"machine code, whole intervals at once, with {_size(self.nbytes)} of arrays"
            if not self.calls
            else f"machine code between BLAS's products, {self.calls} calls a step, "
            f"with {_size(self.nbytes)} of buffers",
            "kernels": f"{self.kernels}, with {_size(self.nbytes)} of arrays",
            "compiled": "compiled, a checking interval at a time",
            "plain": f"run operation by operation: {self.why}",
        }[self.way]
        lines = [f"{self.library}: steps are {how}."]
        if self.way == "recorded" and self.why:
            lines.append(f"They are not machine code, since {self.why}.")
        if self.members is not None:
            each = f", {self.block} at once" if self.blocks > 1 else ""
            lines.append(f"{self.members} members in {_count(self.blocks, 'block')}{each}.")
        return "\n".join([*lines, f"{_count(self.threads, 'thread')} of xpnet's own."])


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _size(nbytes: int) -> str:
    return f"{nbytes / 1024:.1f} KiB" if nbytes < 1 << 20 else f"{nbytes / (1 << 20):.1f} MiB"


def explain(
    network: Sequential,
    x: Array,
    y: Array,
    *,
    loss: Loss,
    optimizer: Optimizer,
    theta: Array | None = None,
    layer_state: dict[str, Array] | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    sample_weight: Array | None = None,
    block: int | None = None,
    threads: int | None = None,
    native: bool | str = "auto",
    epochs: int = 0,
) -> Explanation:
    """Say how `fit` would run its steps, given the same; nothing is trained.

    Args:
        network, x, y, loss, optimizer, theta, layer_state, members, batch_size: as for `fit`.
        accumulate, sample_weight, block, threads, native: as for `fit`.
        epochs: of how many, on which it depends whether machine code pays.

    Returns:
        The `Explanation`, of a whole batch and the first block.

    Raises:
        TypeError, ValueError: as `fit` does.
    """
    asked = Asked(
        network, x, y, loss, optimizer, theta=theta, layer_state=layer_state, members=members,
        batch_size=batch_size, accumulate=accumulate, sample_weight=sample_weight, block=block,
        threads=threads, native=native, epochs=epochs, seed=None if theta is not None else 0,
    )  # fmt: skip
    with prepared(asked) as loop, loop.computing():
        return explained(loop)


def explained(loop: TrainingLoop) -> Explanation:
    """How a training would run its steps, before the first."""
    backend, blocks, size = loop.backend, loop.population.blocks, loop.batches.size
    first = blocks[0]
    way, why, calls, nbytes, text, kernels = "compiled", "", 0, 0, "", ""
    spread = min(len(blocks.runners), len(blocks))
    if isinstance(first.run, Replay):
        batch_rows, data = None, first.data
        if size is not None:
            batch_rows = backend.asarray([list(range(size))], "int64")
            data = data.first(size) if isinstance(data, Streamed) else data
        program: Any = first.run.prepared(first.carry, data, batch_rows)
        if program is None:
            way, why = "plain", first.run.refused
        else:
            calls, nbytes, why = program.calls, program.nbytes, getattr(first.run, "recorded", "")
            way = "native" if getattr(first.run, "is_native", False) else "recorded"
            text = str(program)
            spread = max(spread, program.threads)
            kernels = getattr(program, "told", "")
            way = "kernels" if kernels else way
    elif isinstance(first.run, Plain):
        way, why = "plain", backend.not_recorded
    return Explanation(
        library=f"{backend.name} on {backend.describe()}",
        way=way,
        why=why,
        calls=calls,
        threads=spread,
        members=loop.members,
        block=1 if loop.members is None else int(first.carry["theta"].shape[0]),
        blocks=len(blocks),
        nbytes=nbytes,
        program=text,
        kernels=kernels,
    )
