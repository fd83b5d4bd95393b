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
from xpnet.compiler.native.choice import LARGE, chosen
from xpnet.distributed.agreement import first_state, of_all, require_equal, validated_by_all
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.runner import RankRunner
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
def prepared(asked: Asked, ranks: Ranks | None = None) -> Iterator[TrainingLoop]:
    """What is asked for, before its first step; at the end its programs are kept for the next.

    Args:
        asked: what is asked for.
        ranks: with whom it is trained, who have agreed that it is the same; or ``None``.

    Raises:
        TypeError, ValueError: if it is not as `fit` wants it.
    """
    loop, kept = _placed(asked, ranks)
    yield loop
    if kept is not None:
        with loop.computing():
            loop.population.blocks.release()
        kept.put_back(loop.step.network, loop.population.blocks.runners)


def _placed(asked: Asked, ranks: Ranks | None) -> tuple[TrainingLoop, Any]:
    """All in its place, and what it is lent of an earlier training."""
    asked, backend, like = asked.opened().checked()
    network, x, theta, members = asked.network, asked.x, asked.theta, asked.members
    key = keys(asked.noise_seed, members, "noise_seed")
    with backend.context(network.layout.extent(members, min(TRIED, int(x.shape[-2])))):
        fresh = network.init(asked.seed, like=like, members=members) if theta is None else theta
        if theta is not None:
            checks.same_dtype(backend, theta, "theta", like, "x")
        check_arrays(network, fresh, like)
        count = int(x.shape[-2]) if ranks is None else ranks.samples
        batches = Batches(
            backend, count, asked.batch_size, asked.shuffle, asked.shuffle_seed,
            asked.accumulate,
        )  # fmt: skip
        network.check_batch(batches.smallest)
        weight = in_memory(backend, asked.sample_weight, like)
        words = backend.asarray(key, backend.words) if network.is_random else None
        data: Data | Streamed | None = None
        own = asked.layer_state
        if own is None and isinstance(x, Source) and network.reads_statistics:
            raise ValueError(
                f"x must be in memory for the statistics of {network.leaves[0]!r}, not read by "
                "rows; take them of some samples: theta=net.init(seed, like=some), "
                "layer_state=net.init_state(like=some, x=some)."
            )
        if ranks is not None:
            data = _looked_at(backend, asked, weight, ranks)
            if own is None:
                first_x, _, counting = data
                own = first_state(ranks, backend, network, fresh, members, first_x, counting)
        if own is None:
            samples = {} if isinstance(x, Source) else {"x": x, "sample_weight": weight}
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
        backend.check_finite("theta", fresh)
        if data is None:
            data = _looked_at(backend, asked, weight, None)
        data = _tried_out(backend, asked, like, data, fresh, layer_state, noise)
        # Copies, which a step may write into, as these may be somebody's: a state too that is new.
        mine = fresh if theta is None else backend.copy(fresh)
        first = carry_of(mine, backend.copy(moments), backend.copy(own), words)
        part = None if asked.accumulate == 1 else batches.part
        step = TrainingStep(backend.xp, network, asked.loss, optimizer, part)
        block, threads = asked.block, asked.threads
        if threads is not None:
            threads = checks.whole("threads", threads)
        if members is not None and block is None:
            share = batches.part if ranks is None else -(-batches.part // ranks.size)
            block = block_size(backend, network, like, share)
            if ranks is not None and isinstance(data, Streamed):
                block = members  # each block would read for itself
            product = network.layout.extent(None, share).product
            if asked.native is True and backend.on_host and product <= LARGE:
                # Lanes suit the cache whatever the block.
                block = max(block, -(-members // backend.workers(threads)))
        elif block is not None:
            block = checks.whole("block", block)
        watched = None
        if asked.validation is not None:
            held, given = validated(
                backend, network, asked.loss, asked.validation, like, members, asked.batch_size
            )
            if ranks is not None:
                held, given = validated_by_all(ranks, backend, held, given)
            scorer = Scorer(backend, asked.loss, tuple(asked.metrics), *given)
            watched = Validation(
                backend,
                ValidationStep(
                    backend.xp,
                    network,
                    asked.loss,
                    optimizer,
                    outputs=bool(scorer.metrics),
                    samples=None if ranks is None else int(ranks.held.sum()),
                ),
                held,
                scorer,
                members,
                size=asked.batch_size,
                monitor=str(asked.monitor),
                patience=asked.patience,
                min_delta=asked.min_delta,
                restore_best=asked.restore_best,
                ranks=ranks,
            )
        several = -(-(members or 1) // (block or 1))
        native = chosen(backend, asked.native, asked.epochs * batches.steps * several)
        runners = None
        if ranks is not None:
            runners = [RankRunner(backend, step, ranks, native, threads or 1)]
        blocks = Blocks(backend, step, block or members or 1, threads, native, ranks, runners)
        kept = None
        if ranks is not None:
            require_equal(ranks, backend, first, batches.drawn())
            batches.read = True  # each looks for its own rows, on the host
        elif isinstance(data, Streamed):
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


def _looked_at(
    backend: backends.Backend, asked: Asked, weight: Array | None, ranks: Ranks | None
) -> Any:
    """The data as a step wants it, but for what does not count; looks at all values once."""
    network, loss = asked.network, asked.loss
    data = looked_at(backend, network, loss, asked.x, asked.y, weight, asked.members)
    if ranks is None:
        return data
    x, target, own = data
    own = of_all(ranks, backend, own, weight, ranks.samples)
    if isinstance(data, Streamed):
        return replace(data, weight=own)
    return network.counted(backend, x, own), target, own


def _tried_out(
    backend: backends.Backend,
    asked: Asked,
    like: Array,
    data: Data | Streamed,
    theta: Array,
    state: State,
    noise: Stream | None,
) -> Data | Streamed:
    """The data as a step wants it, once layers and loss have been tried out on some."""
    network, loss, xp = asked.network, asked.loss, backend.xp
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
