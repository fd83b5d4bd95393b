"""What comes before the first step: arguments are checked, data and members put in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import _checks, backends
from xpnet.initializers import RNG
from xpnet.layers.base import Array, State, apply
from xpnet.losses import Loss, check_parts, prepare, without
from xpnet.network import Sequential, check_dtype, check_loss, check_members
from xpnet.noise import Stream, keys
from xpnet.optimizers import Optimizer
from xpnet.training.batches import Batches
from xpnet.training.blocks import Blocks
from xpnet.training.ensemble import Population
from xpnet.training.loop import TrainingLoop
from xpnet.training.recent import Recent
from xpnet.training.step import Data, TrainingStep, carry_of


def prepared(
    network: Sequential,
    x: Array,
    y: Array,
    *,
    loss: Loss,
    optimizer: Optimizer,
    seed: Any = None,
    theta: Array | None = None,
    state: dict[str, Array] | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    shuffle_seed: int | RNG = 0,
    sample_weight: Array | None = None,
    layer_state: dict[str, Array] | None = None,
    noise_seed: int | Sequence[int] = 0,
    acc_goal: float | None = None,
    every_epoch: bool = True,
    block: int | None = None,
    threads: int | None = None,
) -> tuple[TrainingLoop, Any]:
    """What `fit` trains, before the first step; and what it owes the next `fit`, for `put_back`."""
    _checks.instance("network", network, Sequential, "a Sequential")
    check_loss(loss)
    _checks.instance("optimizer", optimizer, Optimizer, "an optimizer such as Adam()")
    if acc_goal is not None:
        acc_goal = _checks.number("acc_goal", acc_goal, above=0, most=1)
        if not loss.classifies:
            raise ValueError(
                f"acc_goal must be None for {_checks.shown(loss)}, which has no accuracy, "
                f"not {acc_goal!r}."
            )
    members = _members(members, theta)
    _checks.given(x=x, y=y)
    names = ("x", "y", "sample_weight", "theta")
    backend = backends.of(x, y, sample_weight, theta, names=names)
    for name, array in zip(names, (x, y, sample_weight, theta), strict=True):
        if array is not None and backend.traced(array):
            raise TypeError(
                f"{name} must hold values, not be traced: fit looks at them, and runs in Python; "
                "call it outside of the function that is compiled or mapped, where value_and_grad "
                "and update can be called."
            )
    _checks.switch("shuffle", shuffle)
    _checks.switch("every_epoch", every_epoch)
    x = network.check_samples(backend, x)
    several = f"; members={x.shape[0]} trains one on each" if theta is None else ""
    check_members(x, members, several)
    if state is not None and theta is None:
        raise ValueError("state must come with the theta that it belongs to, not without.")
    if layer_state and theta is None:
        raise ValueError("layer_state must come with the theta that it belongs to, not without.")
    key = keys(noise_seed, members, "noise_seed")
    if seed is not None and theta is not None:
        raise ValueError("seed must be None where theta is given, since nothing is drawn then.")

    with backend.context(network.extent(members, min(64, int(x.shape[-2])))):
        fresh = network.init(seed, like=x, members=members) if theta is None else theta
        if theta is not None:
            check_dtype(backend, theta, "theta", x, "x")
        network.check(fresh, x, None, None)
        batches = Batches(backend, int(x.shape[-2]), batch_size, shuffle, shuffle_seed)
        network.check_batch(batches.smallest)
        words = backend.asarray(key, backend.words) if network.is_random else None
        own = layer_state or network.init_state(like=fresh, members=members)
        kept_state = network.check_state(backend, fresh, own, "layer_state")
        for name, array in own.items():
            backend.check_finite(f"layer_state[{name!r}]", array)
        moments = optimizer.init(fresh) if state is None else optimizer.resume(fresh, state)
        noise = None if words is None else Stream(words, moments["step"])
        data = _prepare(backend, network, loss, fresh, x, y, sample_weight, kept_state, noise)
        # Copies, which a step may write into, as these may be somebody's: a state too that is new.
        mine = fresh if theta is None else backend.copy(fresh)
        first = carry_of(mine, backend.copy(moments), backend.copy(own), words)
        step = TrainingStep(backend.xp, network, loss, optimizer)
        if members is not None and block is None:
            block = _block(backend, network, x, batches)
        elif block is not None:
            block = _checks.whole("block", block)
        if threads is not None:
            threads = _checks.whole("threads", threads)
        kept = backend.kept(step, data, members, block, threads)
        if kept is not None:
            data = kept.data
        blocks = Blocks(backend, step, block or members or 1, threads)
        if kept is not None:
            kept.lend(blocks.runners)
        population = Population(blocks, Recent(backend, batches), first, data, members)
        loop = TrainingLoop(backend, step, population, batches, acc_goal, every_epoch)
    return loop, kept


def put_back(loop: TrainingLoop, kept: Any) -> None:
    """Keep the programs of a loop that is done for the next one, if they can be."""
    if kept is not None:
        with loop.computing():
            loop.population.blocks.release()
        kept.put_back(loop.step.network, loop.population.blocks.runners)


def _members(members: Any, theta: Array | None) -> int | None:
    """How many networks are asked for; raises if ``theta`` is of others."""
    given = None if members is None else _checks.whole("members", members)
    shape = tuple(int(n) for n in _checks.shape_of(theta))
    if len(shape) not in (1, 2):  # none, or one that is refused for itself
        return given
    found = shape[0] if len(shape) == 2 else None
    if given not in (None, found):
        alone = ", a network alone" if found is None else ""
        raise ValueError(
            f"members must be {found}, as theta of shape {shape} has it{alone}, not {given}."
        )
    return found


FEW, FEW_BYTES = 8, 1 << 21
"""How few members a block has at the least, unless the outputs of their layers are larger."""


def _block(
    backend: backends.Backend, network: Sequential, x: Array, batches: Batches
) -> int | None:
    """How many members at once suit the cache or memory: so that the widest layer's outputs do.

    Where steps run call by call, a few all the same: what calls cost besides is then shared.
    """
    widths = [shape[-1] for shape in network.parameters().values()]
    itemsize = 8 if backend.dtype_name(x) == "float64" else 4
    member = (batches.size or batches.samples) * max(widths) * itemsize
    few = min(FEW, FEW_BYTES // member) if backend.eager else 1
    return max(1, backend.block_bytes // member, few)


def _prepare(
    backend: backends.Backend,
    network: Sequential,
    loss: Loss,
    theta: Array,
    x: Array,
    y: Array,
    sample_weight: Array | None,
    state: State,
    noise: Stream | None,
) -> Data:
    """The data as a step wants it; looks at all values once."""
    xp = backend.xp
    shape = (*theta.shape[:-1], x.shape[-2], network.out_features or x.shape[-1])
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        floating = array is not None and xp.isdtype(array.dtype, "real floating")
        if floating:
            backend.check_finite(name, array)
    backend.check_finite("theta", theta)
    network.check_input(backend, x)
    target, weight = prepare(backend, loss, shape, y, sample_weight, theta.dtype, check=True)
    few = x[..., : min(int(x.shape[-2]), 64), :]
    network.check_layers(backend, theta, few, state, noise)

    def output() -> Array:
        return apply(network, xp, network.views(xp, theta), few, state)

    if not network.gives_probabilities:
        loss.check_output(backend, output)
    check_parts(backend, loss, output, target[..., : few.shape[-2], :])
    return without(backend, x, weight), target, weight
