"""`fit`: what training is asked for, and the loop over its checking intervals.

Within an interval nothing waits for the device; at its end the losses and accuracies of its epochs
come to the host in one go, and are looked at: has the goal been reached, has a loss become NaN, did
somebody press Ctrl-C?
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.distributed.agreement import agree, same_still
from xpnet.distributed.comm import communicator
from xpnet.distributed.kept import check_keep, kept_of
from xpnet.distributed.ranks import Ranks
from xpnet.history import History
from xpnet.initializers import RNG
from xpnet.losses import Loss
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.training.asked import Asked
from xpnet.training.callback import Callback, Run
from xpnet.training.checkpoint import newest
from xpnet.training.fingerprint import fingerprints, require_same
from xpnet.training.interrupts import interrupts
from xpnet.training.loop import TrainingLoop
from xpnet.training.prepare import prepared
from xpnet.training.sources import Source
from xpnet.types import Array

Listening = Callable[[], AbstractContextManager[Callable[[], bool]]]


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
    accumulate: int = 1,
    shuffle: bool = True,
    shuffle_seed: int | RNG = 0,
    sample_weight: Array | None = None,
    layer_state: dict[str, Array] | None = None,
    noise_seed: int | Sequence[int] = 0,
    acc_goal: float | None = None,
    validation: tuple[Array, ...] | None = None,
    metrics: Sequence[Any] = (),
    monitor: str | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    restore_best: bool = True,
    check_every: int | None = None,
    every_epoch: bool = True,
    block: int | None = None,
    threads: int | None = None,
    native: bool | str = "auto",
    callbacks: Iterable[Callback] = (),
    resume: str | Path | None = None,
    comm: Any = None,
    epoch_checking: int | None = None,
    client: Any = None,
    keep: str = "all",
) -> Model:
    """Train a network, or an ensemble of networks, where the data lies.

    Every epoch: forward, loss and accuracy, backward, update. The loss and accuracy of an epoch
    are those before its update; with batches, the mean over the samples of all its batches. Ctrl-C
    ends the run at the end of the step in hand (on JAX, of the interval) and keeps everything so
    far; a second one aborts.

    Args:
        network: the `Sequential` to train.
        x: ``(samples, features)`` of float32 or float64, or ``(members, samples, features)``; as
            ``y``, not to be changed while it is trained on. Or what is read as it is needed, with a
            ``batch_size``: the path of an .npy file, an ``np.memmap``, what else has ``shape``,
            ``dtype`` and rows (of h5py, zarr, dask, one's own). ``y`` says which library trains;
            where it is read too, NumPy. See docs/data.md.
        y: the targets, as the loss wants them, ``(samples, outputs)`` for most; may have members.
        loss: the loss.
        optimizer: the optimizer; arrays ``(members, 1)`` of hyperparameters go to the members.
        epochs: how many epochs at most.
        seed: seeds the initial parameters, as `Sequential.init` says.
        theta: initial parameters instead of ``seed``; not changed.
        state: the optimizer's state to go on from (``model.state``); not changed.
        members: how many networks to train at once; ``None`` for a single one.
        batch_size: how many samples a step takes; ``None`` for all.
        accumulate: how many batches make a step, computed one after the other in the memory of
            one: their gradients, each by its samples, are added up to one update, as of a single
            batch of them all. Only a layer that looks across samples, as `BatchNorm` does, sees the
            difference: it sees a batch at a time. The last step of an epoch may have fewer. Where
            steps are compiled, more than 8 are warned of: it takes long.
        shuffle: whether batches are drawn in a new order every epoch.
        shuffle_seed: seeds that order; the members of an ensemble share it. A run that goes on from
            ``theta`` and ``state`` begins the orders anew, unless it is given another seed, or the
            ``numpy.random.Generator`` that the first was given.
        sample_weight: ``(samples,)`` or ``(members, samples)``, at least 0.
        layer_state: the state of layers such as `BatchNorm` to go on from
            (``model.layer_state``), with ``theta``; ``None`` for a fresh one; not changed.
        noise_seed: seeds the random numbers of layers such as `Dropout`; for an ensemble also a
            sequence or an array, one a member. Member ``i`` of an int draws what a network alone
            draws of ``noise_seed + i``. A run that goes on from ``theta`` and ``state`` draws what
            it would have drawn.
        acc_goal: stop at this accuracy, above 0 and up to 1; each member by itself.
        validation: ``(x, y)`` or ``(x, y, sample_weight)`` of samples that are not trained on,
            shared or of members, looked at in inference at every check: ``history.val_loss``. Where
            the optimizer keeps an average of the parameters (``ema_decay``), it is this that is
            looked at: what ``model.ema`` predicts.
        metrics: what else is asked of these: names (``"balanced_accuracy"``, ``"auc"``, ``"f1"``,
            ``"log_loss"``; ``"r2"``, ``"mae"``, ``"mse"``), metrics such as ``TopK(3)``, functions
            ``f(y, predicted)``: see `xpnet.metrics`. ``history.val_auc``.
        monitor: ``"val_loss"`` (the default), ``"val_accuracy"`` or ``val_`` and the name of a
            metric: what is to become better.
        patience: how many checks without an improvement end the training, of each member by
            itself (``history.exhausted``); ``None`` for any number.
        min_delta: by how much more than the best so far is an improvement.
        restore_best: whether the result, ``theta`` and all state, is that of the check that was
            best (``history.best_epoch``), of each member, and not the last.
        check_every: how many epochs lie between two looks at goal and validation; ``None`` for 1
            with validation, else 100.
        every_epoch: whether the history holds every epoch, or those of the checks alone, which
            is all that memory has room for where members are many and epochs too.
        block: how many members are computed together; ``None`` for as many as suit the cache or
            the memory of the device.
        threads: over how many threads NumPy, and JAX on a CPU, spread an ensemble, or NumPy splits
            a large batch (if its BLAS can be held to one thread; the last digits then depend on
            their number); ``None`` for one a core where that pays, 1 for none, as with ``comm``
            if nothing is said. For the rest, libraries have threads of their own.
        native: whether NumPy's steps become machine code, which LLVM compiles, whole intervals of
            them, or of large networks what stands between BLAS's products: ``"auto"`` where the
            steps that there may be pay for that, or it is kept on disk from an earlier training;
            `xpnet.explain` says why not. The last digits differ from NumPy's, so that ``True`` or
            ``False`` make sure of them; a checkpoint is gone on from as it was begun. On CuPy
            they are CUDA kernels where the environment has ``XPNET_CUDA_KERNELS=1``. See
            docs/native.md.
        callbacks: told of the run at every check.
        resume: a checkpoint to go on from (`xpnet.callbacks.Checkpoint`): a file, or the folder of
            which it is the newest. If that is not there or holds none, all begins anew, so that a
            program that is started again and again may say the same each time. What comes out is
            what a run that was never stopped gives, on NumPy, PyTorch, and JAX on a CPU to the last
            bit. So every argument must be what it was; but callbacks, ``epochs``, which may be
            more, and ``seed`` and ``shuffle_seed``, of which nothing is drawn any more. With
            ``client`` it is the folder, and what is done are blocks of members: every argument must
            be what it was, these too, and workers may be others.
        comm: with whom it is trained: a communicator of mpi4py, such as ``MPI.COMM_WORLD``, or
            ``torch.distributed``, of whose processes each calls this with samples of its own, in
            ``x``, ``y``, ``sample_weight`` and ``validation``, and all else the same; ``None`` for
            nobody. What comes out, on each of them, is what one process gives, to rounding, of the
            samples of all, one rank's behind the other's: ``batch_size`` is that of a batch of them
            all. Callbacks are told on rank 0 alone. See docs/distributed.md.
        epoch_checking: ``check_every`` by the name that it had, and has in the report.
        client: a ``dask.distributed.Client``: blocks of ``members`` are dealt out to the workers of
            its cluster, each in one thread, unless ``threads`` says more; on NumPy the bits are
            those of one machine. ``block`` says how many go together; ``None`` for as many as suit
            the cache, and the number of workers. See docs/many.md.
        keep: what comes back, and is kept in memory with ``client``: ``"all"``; ``"theta"``,
            parameters and the state of layers, and in the history one entry, what each member left
            with; ``"best"``, the best member alone, as `Model.best` has it; ``"history"``, that
            alone, in a model without parameters.

    Returns:
        The `Model`, with its `History`. If the loss became NaN or infinite, training stopped there
        (``history.diverged``), ``theta`` and ``state`` are the last whose loss was finite, and a
        ``RuntimeWarning`` says so. In batches that is the loss of a step; after the last step of
        all, that of the first ``batch_size`` samples. With ``restore_best`` it is the best of
        before (``history.best_epoch``) that comes back, also where ``acc_goal`` was reached later.
        A network that ends in probabilities, where
        the loss wants what comes before them, is warned of as well.

    Raises:
        TypeError, ValueError: if an argument is not as described; before anything is trained, but
            for values of ``x`` that is read, which are looked at with their batch.
        OSError: if ``resume``, or samples, cannot be read.
        ImportError: if ``client`` is given, and dask.distributed is not installed.
        xpnet.distributed.BlockFailed: if a block of members failed twice on workers.
    """
    given = {**locals()}
    if comm is not None and not isinstance(comm, Ranks):
        with (together := Ranks(communicator(comm))).telling():
            return fit(**{**given, "comm": together})
    ranks: Ranks | None = comm
    here = 2 if ranks is None else 3  # where this was called, for warnings
    epochs = checks.whole("epochs", epochs)
    if epoch_checking is not None:
        if check_every is not None:
            raise ValueError(
                "epoch_checking must be left out where check_every is given, of which it is the "
                f"old name, not {checks.shown(epoch_checking)}."
            )
        check_every = checks.whole("epoch_checking", epoch_checking)
    if check_every is None:
        check_every = 100 if validation is None else 1
    check_every = checks.whole("check_every", check_every)
    if _no_sequence(callbacks):
        hint = "; write [callback]" if isinstance(callbacks, Callback) else ""
        raise TypeError(
            "callbacks must be a sequence of Callback objects, "
            f"not {checks.shown(callbacks)}{hint}."
        )
    listeners = list(callbacks)
    for i, callback in enumerate(listeners):
        checks.instance(f"callbacks[{i}]", callback, Callback, "a Callback")
    asked = Asked(
        network, x, y, loss, optimizer, seed=seed, theta=theta, state=state, members=members,
        batch_size=batch_size, accumulate=accumulate, shuffle=shuffle, shuffle_seed=shuffle_seed,
        sample_weight=sample_weight, layer_state=layer_state, noise_seed=noise_seed,
        acc_goal=acc_goal, every_epoch=every_epoch, validation=validation, metrics=metrics,
        monitor=monitor, patience=patience, min_delta=min_delta, restore_best=restore_best,
        block=block, threads=threads, native=native, epochs=epochs,
    )  # fmt: skip
    if client is not None:
        if ranks is not None:
            raise ValueError(
                "comm must be None with client, which deals out members where comm shares "
                "samples, not a communicator."
            )
        from xpnet.distributed.cluster import fit_over  # which needs dask.distributed

        return fit_over(client, asked, epochs, check_every, listeners, keep, resume)
    if ranks is not None:
        listeners = listeners if ranks.rank == 0 else []
        agree(ranks, asked, check_every=check_every, resume=resume is not None)
    path, progress = None, None
    if resume is not None:
        path, progress = newest(resume) if ranks is None else _newest_of(ranks, resume)
    if progress is not None and epochs < progress.epoch:
        raise ValueError(
            f"epochs must be at least the {progress.epoch} that the checkpoint {str(path)!r} has "
            f"done, not {epochs}."
        )
    told = None
    if ranks is not None and ranks.exchange(len(listeners) > 0 or progress is not None).any():
        told = fingerprints(asked, check_every, ranks)
    with prepared(asked, ranks) as loop:
        check_keep(keep, loop.members)
        for said in doubts(loop, asked):
            warnings.warn(said, RuntimeWarning, stacklevel=here)
        if progress is not None:
            require_same(told or fingerprints(asked, check_every), progress.asked, str(path))
            with loop.computing():
                loop.resume(progress.part)
        run = Run(loop, asked, epochs, check_every, path, told)
        run_intervals(loop, run, listeners)
    if loop.diverged.any():
        warnings.warn(_what_diverged(loop), RuntimeWarning, stacklevel=here)
    model = run.model
    if model.history is not None and (stuck := ended_without(model.history)):
        warnings.warn(stuck, RuntimeWarning, stacklevel=here)
    return kept_of(model, keep)


def ended_without(history: History) -> str:
    """What is to be warned of where patience ended and there was no number to be patient for."""
    if not np.any((np.asarray(history.exhausted) > 0) & (np.asarray(history.best_epoch) == 0)):
        return ""
    return (
        f"patience ended the training though {history.monitor} was never a number that could "
        "become better; see history, and what validation holds."
    )


def doubts(loop: TrainingLoop, asked: Asked) -> Iterator[str]:
    """What is to be warned of before anything is trained."""
    if asked.loss.without_probabilities and asked.network.gives_probabilities:
        yield _ends_in_probabilities(asked.network, asked.loss)
    if slow := _read_slowly(loop):
        yield slow
    if loop.backend.way == "compiled" and asked.accumulate > UNROLLED:
        yield _is_unrolled(asked.accumulate, asked.batch_size)


def _no_sequence(callbacks: Any) -> bool:
    """Whether this is nothing that holds callbacks, though some of it could be iterated over."""
    if isinstance(callbacks, (str, bytes, Callback)) or checks.is_array(callbacks):
        return True
    return not isinstance(callbacks, Iterable)


UNROLLED = 8
"""Of how many batches a step is compiled in seconds; twice as many take three times as long."""


def _is_unrolled(accumulate: int, batch_size: Any) -> str:
    return (
        f"accumulate={accumulate} makes one program of {accumulate} batches, which takes long to "
        f"compile; a batch_size above {batch_size} needs fewer of them."
    )


def _ends_in_probabilities(network: Sequential, loss: Loss) -> str:
    return (
        f"{checks.shown(loss)} wants numbers of either sign, not the probabilities that the last "
        f"layer, {checks.shown(network.last)}, makes of them: {loss.without_probabilities}."
    )


def _read_slowly(loop: TrainingLoop) -> str:
    """What is to be said of samples that are stored together and read one by one, if any are."""
    batches = loop.batches
    if batches.read and batches.shuffle:
        size = batches.size or 1
        if loop.ranks is not None:
            size = -(-size * loop.ranks.count // loop.ranks.samples)
        for one in loop.population.blocks.data:
            if isinstance(one, Source) and (times := one.times(size)) > 2:
                return (
                    f"{one.name} is stored in chunks of {one.together} samples, all of which are "
                    f"read for one of them: for a shuffled batch, {times:.0f} times what it needs. "
                    "Smaller chunks are read sooner, or shuffle=False."
                )
    return ""


def _what_diverged(loop: TrainingLoop) -> str:
    if loop.members is None and loop.diverged[0] == 1:
        return (
            "The loss was NaN or infinite at epoch 1, before anything was trained, which ended the "
            "training; theta is as it was. Smaller numbers in x, y or theta may help."
        )
    if loop.members is None:
        last = "the last whose loss was finite"
        if loop.restored and loop.validation is not None:
            last = f"that of epoch {loop.validation.best_epoch[0]}, the best in validation"
        when = f"at epoch {loop.diverged[0]}, which ended the training"
        if loop.diverged[0] > loop.epochs:
            when = f"with the last update, that of epoch {loop.epochs}, which ended the training"
        return f"The loss became NaN or infinite {when}; theta is {last}. A smaller lr may help."
    return members_diverged(int(np.count_nonzero(loop.diverged)), loop.members)


def members_diverged(count: int, members: int) -> str:
    """What is to be warned of where so many of these members diverged."""
    return (
        f"The loss of {count} of {members} members became NaN or "
        "infinite, which ended their training: see history.diverged."
    )


def _newest_of(ranks: Ranks, resume: Any) -> Any:
    """The checkpoint that rank 0 finds, for all."""
    return ranks.from_first(lambda: newest(resume))


def run_intervals(
    loop: TrainingLoop, run: Run, callbacks: list[Callback], listening: Listening = interrupts
) -> None:
    """Run interval after interval, and tell the callbacks.

    ``listening`` gives what is asked between steps: whether to end.
    """
    check_every = run.check_every
    with listening() as pressed:
        interrupted, ranks = pressed, loop.ranks
        if ranks is not None:
            ranks.pressed, interrupted = pressed, ranks.is_interrupted
        with ExitStack() as finishing:
            # A generator of somebody's own goes on behind what was used.
            finishing.callback(loop.batches.forget)
            for callback in callbacks:
                callback.start(run)
                finishing.callback(callback.finish, run)
            loop.interrupted = interrupted()
            while (
                run.epoch < run.epochs and loop.training and not (loop.interrupted or loop.stopped)
            ):
                left = run.epochs - run.epoch
                n = min(check_every, left)
                with loop.computing():  # callbacks have the process as it was
                    ahead = min(check_every, left - n)
                    done = loop.interval(n, run.epoch, interrupted, ahead)
                run.seen, run.epoch = run.epoch, run.epoch + done
                loop.interrupted = interrupted()
                if done:
                    for callback in callbacks:
                        callback.check(run)
                loop.stopped = run.stopping
                if ranks is not None:
                    carries = loop.population.blocks.carries
                    with loop.computing():
                        loop.stopped = same_still(ranks, loop.backend, carries, run.stopping)
                    loop.interrupted = interrupted()
            with loop.computing():
                loop.finish()
        loop.interrupted = interrupted()  # by then; callbacks may take long to finish
