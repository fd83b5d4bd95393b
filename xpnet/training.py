"""`fit`: what training is asked for, and the loop over its checking intervals.

Within an interval nothing waits for the device; at its end the losses and accuracies of its epochs
come to the host in one go, and are looked at: has the goal been reached, has a loss become NaN, did
somebody press Ctrl-C?
"""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from xpnet import _checks, backends
from xpnet.batches import Batches
from xpnet.history import History
from xpnet.initializers import RNG
from xpnet.job import Job
from xpnet.layers.base import Array
from xpnet.losses import Loss, prepare, without
from xpnet.model import Model
from xpnet.network import Sequential, check_dtype, check_loss, check_members, check_samples
from xpnet.optimizers import Optimizer
from xpnet.population import Population
from xpnet.step import Data, TrainingStep, carry_of

__all__ = ["Callback", "Run", "TrainingStep", "fit", "prepared", "put_back"]


class Callback:
    """What is told of a run at its checks. Each method may do nothing."""

    def start(self, run: Run) -> None:
        """Before the first epoch; raise here what would make the run worthless."""

    def check(self, run: Run) -> None:
        """After each checking interval; ``run.stop()`` ends the run."""

    def finish(self, run: Run) -> None:
        """After the last epoch, also when the run was interrupted or failed; last started first."""


class Run:
    """A training run as its callbacks see it.

    Attributes:
        network, x, y, loss: what is trained, on what.
        epochs: how many epochs were asked for.
        epoch: how many are done.
        seen: how many were done at the check before.
        acc_goal: the goal, or ``None``.
        members: the number of members, or ``None`` for a single network.
        block: how many of them at most are computed together.
        history: the `History` up to now.
        model: the `Model` as it is now.
    """

    def __init__(self, job: Job, x: Array, y: Array, epochs: int) -> None:
        self._job = job
        self.network, self.loss = job.step.network, job.step.loss
        self.x, self.y = x, y
        self.acc_goal, self.members = job.acc_goal, job.members
        self.block = min(job.population.block, job.members or 1)
        self.epochs = epochs
        self.epoch = self.seen = 0
        self.stopping = False

    def stop(self) -> None:
        """End the run after this check."""
        self.stopping = True

    @property
    def history(self) -> History:
        return self._job.history()

    @property
    def latest(self) -> dict[str, np.ndarray]:
        """``loss`` and ``accuracy`` of the epochs since the check before, as in the history."""
        return self._job.recorder.latest

    @property
    def training(self) -> int:
        """How many members are still trained."""
        return int(self._job.population.alive.sum())

    @property
    def model(self) -> Model:
        with self._job.backend.context():
            return self._job.model()


def fit(
    network: Sequential,
    x: Array,
    y: Array,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    seed: Any = None,
    theta: Array | None = None,
    state: dict[str, Array] | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    shuffle_seed: int | RNG = 0,
    sample_weight: Array | None = None,
    acc_goal: float | None = None,
    epoch_checking: int = 100,
    every_epoch: bool = True,
    block: int | None = None,
    threads: int | None = None,
    callbacks: Iterable[Callback] = (),
) -> Model:
    """Train a network, or an ensemble of networks, where the data lies.

    Every epoch: forward, loss and accuracy, backward, update. The loss and accuracy of an epoch
    are those before its update; with batches, the mean over the samples of all its batches. Ctrl-C
    ends the run at the end of the step in hand (on JAX, of the interval) and keeps everything so
    far; a second one aborts.

    Args:
        network: the `Sequential` to train.
        x: ``(samples, features)`` of float32 or float64, or ``(members, samples, features)``; as
            ``y``, not to be changed while it is trained on.
        y: the targets, as the loss wants them, ``(samples, outputs)`` for most; may have members.
        loss: the loss.
        optimizer: the optimizer; arrays ``(members, 1)`` of hyperparameters go to the members.
        epochs: how many epochs at most.
        seed: seeds the initial parameters, as `Sequential.init` says.
        theta: initial parameters instead of ``seed``; not changed.
        state: the optimizer's state to go on from (``model.state``); not changed.
        members: how many networks to train at once; ``None`` for a single one.
        batch_size: how many samples a step takes; ``None`` for all.
        shuffle: whether batches are drawn in a new order every epoch.
        shuffle_seed: seeds that order; the members of an ensemble share it. A run that goes on from
            ``theta`` and ``state`` begins the orders anew, unless it is given another seed, or the
            ``numpy.random.Generator`` that the first was given.
        sample_weight: ``(samples,)`` or ``(members, samples)``, at least 0.
        acc_goal: stop at this accuracy, above 0 and up to 1; each member by itself.
        epoch_checking: how many epochs lie between two looks at the goal.
        every_epoch: whether the history holds every epoch, or those of the checks alone, which
            is all that memory has room for where members are many and epochs too.
        block: how many members are computed together; ``None`` for as many as suit the cache or
            the memory of the device.
        threads: over how many threads NumPy, and JAX on a CPU, spread an ensemble, or NumPy splits
            a large batch (if its BLAS can be held to one thread; the last digits then depend on
            their number); ``None`` for one a core where that pays, 1 for none. For the rest,
            libraries have threads of their own.
        callbacks: told of the run at every check.

    Returns:
        The `Model`, with its `History`. If the loss became NaN or infinite, training stopped there
        (``history.diverged``), ``theta`` and ``state`` are the last whose loss was finite, and a
        ``RuntimeWarning`` says so. In batches that is the loss of a step; after the last step of
        all, that of the first ``batch_size`` samples.

    Raises:
        TypeError, ValueError: if an argument is not as described; before anything is trained.
    """
    epochs = _checks.whole("epochs", epochs)
    epoch_checking = _checks.whole("epoch_checking", epoch_checking)
    if _no_sequence(callbacks):
        hint = "; write [callback]" if isinstance(callbacks, Callback) else ""
        raise TypeError(
            "callbacks must be a sequence of Callback objects, "
            f"not {_checks.shown(callbacks)}{hint}."
        )
    told = list(callbacks)
    for i, callback in enumerate(told):
        _checks.instance(f"callbacks[{i}]", callback, Callback, "a Callback")
    job, kept = prepared(
        network, x, y, loss=loss, optimizer=optimizer, seed=seed, theta=theta, state=state,
        members=members, batch_size=batch_size, shuffle=shuffle, shuffle_seed=shuffle_seed,
        sample_weight=sample_weight, acc_goal=acc_goal, every_epoch=every_epoch, block=block,
        threads=threads,
    )  # fmt: skip
    run = Run(job, x, y, epochs)
    _train(job, run, epoch_checking, told)
    put_back(job, kept)
    if job.diverged.any():
        warnings.warn(_what_diverged(job), RuntimeWarning, stacklevel=2)
    return run.model


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
    acc_goal: float | None = None,
    every_epoch: bool = True,
    block: int | None = None,
    threads: int | None = None,
) -> tuple[Job, Any]:
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
    check_samples(backend, x, network.in_features)
    several = f"; members={x.shape[0]} trains one on each" if theta is None else ""
    check_members(x, members, several)
    if state is not None and theta is None:
        raise ValueError("state must come with the theta that it belongs to, not without.")
    if seed is not None and theta is not None:
        raise ValueError("seed must be None where theta is given, since nothing is drawn then.")

    with backend.context(network.extent(members, min(64, int(x.shape[-2])))):
        fresh = network.init(seed, like=x, members=members) if theta is None else theta
        if theta is not None:
            check_dtype(backend, theta, "theta", x, "x")
        network._check(fresh, x, None, None)
        data = _prepare(backend, network, loss, fresh, x, y, sample_weight)
        moments = optimizer.init(fresh) if state is None else optimizer.resume(fresh, state)
        # Copies, which a step may write into, as these may be somebody's: a state too that is new.
        mine = fresh if theta is None else backend.copy(fresh)
        first = carry_of(mine, backend.copy(moments))
        batches = Batches(backend, int(x.shape[-2]), batch_size, shuffle, shuffle_seed)
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
        population = Population(backend, step, first, data, members, block, threads)
        if kept is not None:
            kept.lend(population.runners)
        job = Job(backend, step, population, batches, acc_goal, every_epoch)
    return job, kept


def put_back(job: Job, kept: Any) -> None:
    """Keep the programs of a job that is done for the next one, if they can be."""
    if kept is not None:
        with job.computing():
            job.population.release()
        kept.put_back(job.step.network, job.population.runners)


def _no_sequence(callbacks: Any) -> bool:
    """Whether this is nothing that holds callbacks, though some of it could be iterated over."""
    if isinstance(callbacks, (str, bytes, Callback)) or _checks.is_array(callbacks):
        return True
    return not isinstance(callbacks, Iterable)


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


def _what_diverged(job: Job) -> str:
    if job.members is None and job.diverged[0] == 1:
        return (
            "The loss was NaN or infinite at epoch 1, before anything was trained, which ended the "
            "training; theta is as it was. Smaller numbers in x, y or theta may help."
        )
    if job.members is None:
        when = f"at epoch {job.diverged[0]}, which ended the training"
        if job.diverged[0] > job.epochs:
            when = f"with the last update, that of epoch {job.epochs}, which ended the training"
        return (
            f"The loss became NaN or infinite {when}; theta is the last whose loss was finite. A "
            "smaller lr may help."
        )
    return (
        f"The loss of {np.count_nonzero(job.diverged)} of {job.members} members became NaN or "
        "infinite, which ended their training: see history.diverged."
    )


def _train(job: Job, run: Run, epoch_checking: int, callbacks: list[Callback]) -> None:
    """Run interval after interval, and tell the callbacks."""
    with ExitStack() as finishing:
        for callback in callbacks:
            callback.start(run)
            finishing.callback(callback.finish, run)
        with _interrupts() as interrupted:
            while run.epoch < run.epochs and job.training and not (job.interrupted or job.stopped):
                n = min(epoch_checking, run.epochs - run.epoch)
                with job.computing():  # callbacks have the process as it was
                    done = job.interval(n, run.epoch, interrupted)
                run.seen, run.epoch = run.epoch, run.epoch + done
                job.interrupted = interrupted()
                if done:
                    for callback in callbacks:
                        callback.check(run)
                job.stopped = run.stopping
            with job.computing():
                job.finish()


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
) -> Data:
    """The data as a step wants it; looks at all values once."""
    xp = backend.xp
    shape = (*theta.shape[:-1], x.shape[-2], network.out_features or x.shape[-1])
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        floating = array is not None and xp.isdtype(array.dtype, "real floating")
        if floating:
            backend.check_finite(name, array)
    backend.check_finite("theta", theta)
    target, weight = prepare(backend, loss, shape, y, sample_weight, theta.dtype, check=True)
    few = x[..., : min(int(x.shape[-2]), 64), :]
    network.check_layers(backend, theta, few)
    if not network.gives_probabilities:
        loss.check_output(backend, lambda: network.apply(xp, network._views(xp, theta), few))
    return without(backend, x, weight), target, weight


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into an answer that is asked for between steps.

    The second one aborts as ever. Only the main thread hears signals; elsewhere nothing changes.
    """
    pressed = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    old = signal.getsignal(signal.SIGINT) if main else None
    if old is not signal.default_int_handler:
        # Not ours to take: another thread, or a program that handles Ctrl-C in its own way.
        yield pressed.is_set
        return

    def press(number: int, frame: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        if signal.getsignal(signal.SIGINT) is press:  # and not what a callback has put there
            signal.signal(signal.SIGINT, signal.default_int_handler)
