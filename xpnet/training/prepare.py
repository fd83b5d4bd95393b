"""What comes before the first step: arguments are checked, data and members put in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from xpnet import backends, checks
from xpnet.checks.layers import check_layers
from xpnet.checks.losses import check_answers
from xpnet.checks.network import check_arrays, check_state
from xpnet.checks.optimizers import check_update
from xpnet.compiler.native.choice import chosen
from xpnet.layers.base import State, apply
from xpnet.metrics import Scorer
from xpnet.network import Sequential
from xpnet.noise import Stream, keys, random_bits
from xpnet.training.asked import TRIED, Asked
from xpnet.training.batches import Batches
from xpnet.training.blocks import Blocks
from xpnet.training.ensemble import Population
from xpnet.training.loop import TrainingLoop
from xpnet.training.recent import Recent
from xpnet.training.samples import in_memory, looked_at, validated
from xpnet.training.sources import Source
from xpnet.training.step import Data, TrainingStep, ValidationStep, carry_of
from xpnet.training.streamed import Streamed
from xpnet.training.validation import Validation
from xpnet.types import Array


@contextmanager
def prepared(asked: Asked) -> Iterator[TrainingLoop]:
    """What is asked for, before its first step; at the end its programs are kept for the next.

    Raises:
        TypeError, ValueError: if it is not as `fit` wants it.
    """
    loop, kept = _placed(asked)
    yield loop
    if kept is not None:
        with loop.computing():
            loop.population.blocks.release()
        kept.put_back(loop.step.network, loop.population.blocks.runners)


def _placed(asked: Asked) -> tuple[TrainingLoop, Any]:
    """All in its place, and what it is lent of an earlier training."""
    asked, backend, like = asked.opened().checked()
    network, x, theta, members = asked.network, asked.x, asked.theta, asked.members
    key = keys(asked.noise_seed, members, "noise_seed")
    with backend.context(network.layout.extent(members, min(TRIED, int(x.shape[-2])))):
        fresh = network.init(asked.seed, like=like, members=members) if theta is None else theta
        if theta is not None:
            checks.same_dtype(backend, theta, "theta", like, "x")
        check_arrays(network, fresh, like)
        batches = Batches(
            backend, int(x.shape[-2]), asked.batch_size, asked.shuffle, asked.shuffle_seed,
            asked.accumulate,
        )  # fmt: skip
        network.check_batch(batches.smallest)
        weight = in_memory(backend, asked.sample_weight, like)
        words = backend.asarray(key, backend.words) if network.is_random else None
        own = asked.layer_state
        if own is None:
            samples = {} if isinstance(x, Source) else {"x": x, "sample_weight": weight}
            if not samples and network.reads_statistics:
                raise ValueError(
                    f"x must be in memory for the statistics of {network.leaves[0]!r}, not read by "
                    "rows; take them of some samples: theta=net.init(seed, like=some), "
                    "layer_state=net.init_state(like=some, x=some)."
                )
            own = network.init_state(like=fresh, members=members, **samples)
        layer_state = check_state(network, backend, fresh, own, "layer_state", look=True)
        state, optimizer = asked.state, asked.optimizer
        moments = (
            optimizer.init(fresh, network)
            if state is None
            else optimizer.resume(fresh, state, network)
        )
        check_update(optimizer, backend, fresh, moments)
        draws = backend.as_one(random_bits)
        noise = None if words is None else Stream(words, moments["step"], bits=draws)
        data = _prepare(backend, asked, like, weight, fresh, layer_state, noise)
        # Copies, which a step may write into, as these may be somebody's: a state too that is new.
        mine = fresh if theta is None else backend.copy(fresh)
        first = carry_of(mine, backend.copy(moments), backend.copy(own), words)
        part = None if asked.accumulate == 1 else batches.part
        step = TrainingStep(backend.xp, network, asked.loss, optimizer, part)
        block, threads = asked.block, asked.threads
        if members is not None and block is None:
            block = block_size(backend, network, like, batches.part)
        elif block is not None:
            block = checks.whole("block", block)
        if threads is not None:
            threads = checks.whole("threads", threads)
        watched = None
        if asked.validation is not None:
            held, given = validated(
                backend, network, asked.loss, asked.validation, like, members, asked.batch_size
            )
            scorer = Scorer(backend, asked.loss, tuple(asked.metrics), *given)
            watched = Validation(
                backend,
                ValidationStep(
                    backend.xp, network, asked.loss, optimizer, outputs=bool(scorer.metrics)
                ),
                held,
                scorer,
                members,
                size=asked.batch_size,
                monitor=str(asked.monitor),
                patience=asked.patience,
                min_delta=asked.min_delta,
                restore_best=asked.restore_best,
            )
        several = -(-(members or 1) // (block or 1))
        native = chosen(backend, asked.native, asked.epochs * batches.steps * several)
        blocks = Blocks(backend, step, block or members or 1, threads, native)
        kept = None
        if isinstance(data, Streamed):
            batches.read = True
        else:
            kept = backend.kept(step, data, members, block, threads, native and native.like)
        if kept is not None:
            data = kept.data
            kept.lend(blocks.runners)
        population = Population(blocks, Recent(backend, batches), first, data, members)
        if watched is not None:
            watched.try_out(population)
        loop = TrainingLoop(population, asked.acc_goal, asked.every_epoch, watched)
    return loop, kept


FEW, FEW_BYTES = 8, 1 << 21
"""How few members a block has at the least, unless the outputs of their layers are larger."""


def block_size(backend: backends.Backend, network: Sequential, x: Array, samples: int) -> int:
    """How many members at once suit the cache or memory: so that the widest layer's outputs do.

    Where steps run call by call, a few all the same: what calls cost besides is then shared.
    """
    widths = [shape[-1] for shape in network.parameters().values()]
    itemsize = 8 if backend.dtype_name(x) == "float64" else 4
    member = samples * max(widths) * itemsize
    few = min(FEW, FEW_BYTES // member) if backend.eager else 1
    return max(1, backend.block_bytes // member, few)


def _few(array: Array) -> Array:
    """The samples to try out; all, if there are no more: on JAX a slice takes its time."""
    return array if array.shape[-2] <= TRIED else array[..., :TRIED, :]


def _prepare(
    backend: backends.Backend,
    asked: Asked,
    like: Array,
    weight: Array | None,
    theta: Array,
    state: State,
    noise: Stream | None,
) -> Data | Streamed:
    """The data as a step wants it; looks at all values once."""
    network, loss, xp = asked.network, asked.loss, backend.xp
    backend.check_finite("theta", theta)
    data = looked_at(backend, network, loss, asked.x, asked.y, weight, asked.members)
    few = _few(like)
    check_layers(network, backend, theta, few, state, noise)

    def output() -> Array:
        return apply(network, xp, network.layout.views(xp, theta), few, state)

    if not (network.gives_probabilities and loss.takes_probabilities):
        loss.check_output(backend, output)
    if isinstance(data, Streamed):
        check_answers(backend, loss, output, data.first(few.shape[-2])[1])
        return replace(data, counted=True)
    x, target, weight = data
    check_answers(backend, loss, output, _few(target))
    return network.counted(backend, x, weight), target, weight
