"""A training run from its flags to what is left of it."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.callbacks import bars_cleared
from xpnet.cli import files, flags, mpi, told
from xpnet.cli.cluster import cluster
from xpnet.cli.files import Write
from xpnet.cli.judging import Judge
from xpnet.cli.parts import SEEDS, Seeds, backend_of, network_of, optimizer_of
from xpnet.cli.program import Mistake, ready
from xpnet.cli.samples import samples_of
from xpnet.datasets import DATASETS
from xpnet.distributed.ranks import Ranks

HISTORY = 1 << 24
"""How many epochs × members of an ensemble are remembered; of more, those of the checks."""


@dataclass
class Outcome:
    """What a training run of the command line leaves behind.

    Attributes:
        options: every flag's value, by name.
        model: the trained `xpnet.Model`.
        x, y: the samples that were trained on, on the host.
        backend: where it was trained.
        seconds: how long the epochs took.
        output: what was written, by kind: the folder ``"tensorboard"``, the files ``"picture"`` and
            ``"network"``.
    """

    options: argparse.Namespace
    model: xn.Model
    x: np.ndarray
    y: np.ndarray
    backend: backends.Backend
    seconds: float
    output: dict[str, Path]


class _Clock(xn.Callback):
    """How long the epochs took, without the closing of files and the pictures behind them."""

    seconds = 0.0

    def start(self, run: xn.Run) -> None:
        self.began = time.perf_counter()

    def finish(self, run: xn.Run) -> None:
        self.seconds = time.perf_counter() - self.began


def train(
    argv: Sequence[str],
    write: Write = print,
    extra_callbacks: Sequence[xn.Callback] = (),
    prog: str = "xpnet train",
) -> Outcome:
    """Train as the flags in ``argv`` say; ``write`` the log lines, the end and the predictions.

    Args:
        argv: flags and their values.
        write: is given every line of the output.
        extra_callbacks: told of the run besides those that the flags ask for.
        prog: what the help calls the program.

    Raises:
        Mistake: if what was asked for cannot be done; before anything is trained.
    """
    ranks = mpi.ranks_of(argv)
    if ranks is None:
        return _train(argv, write, extra_callbacks, prog, None)
    with mpi.heard_once(ranks):
        if ranks.rank == 0:
            return _train(argv, write, extra_callbacks, prog, ranks)
        return _train(argv, lambda line: None, (), prog, ranks)


def _train(
    argv: Sequence[str],
    write: Write,
    extra_callbacks: Sequence[xn.Callback],
    prog: str,
    ranks: Ranks | None,
) -> Outcome:
    """`train`, alone or as one of several ranks, of which rank 0 writes what is written."""
    leads = ranks is None or ranks.rank == 0
    try:
        with nullcontext() if ranks is None else ranks.telling():  # nobody goes on alone
            options, spelled = flags.options_of(argv, prog)
            backend = backend_of(options, spelled)
            if refused := flags.refused_native(options.native, backend):
                raise Mistake(f"{spelled['native']}{refused}")
            if ranks is not None and flags.NATIVE[options.native] is True:
                raise Mistake(f"{spelled['native']} must be auto or no with --mpi, not yes.")
            samples = samples_of(options, spelled)
            size = len(samples.x)
            optimizer = optimizer_of(options, spelled, -(-size // (options.batch_size or size)))
            if options.members and options.seed + options.members > SEEDS:
                raise Mistake(
                    f"{spelled['members']} must be at most {SEEDS - options.seed} with the seed "
                    f"{options.seed}, since seeds end at {SEEDS - 1}, not {options.members}."
                )
            net = network_of(options, samples)
            output = files.outputs(options, spelled) if leads else {}
            judge = Judge(samples, backend, options.dtype)
            parts = {use: judge.learnt(use) for use in samples.parts}
            own = parts if ranks is None else mpi.dealt(parts, ranks)
            report = options.dataset in DATASETS and len(parts) == 1
            panel = None if report else judge.panel
            watchers = files.watchers(options, spelled, output, write, panel) if leads else []
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, Mistake) else Mistake(str(error)) from error
    ready()
    clock = _Clock()
    values = options.num_epochs * (options.members or 1)
    names = spelled.get("scheduler", "--scheduler"), spelled.get("workers", "--workers")
    try:
        with cluster(options.scheduler, options.workers, names) as client:
            model = fit(
                net,
                *own["training"],
                loss=samples.loss,
                optimizer=optimizer,
                epochs=options.num_epochs,
                seed=Seeds(options.seed, options.members)
                if options.members
                else np.random.RandomState(options.seed),
                members=options.members,
                batch_size=options.batch_size,
                noise_seed=options.seed,
                every_epoch=options.members is None or values <= HISTORY,
                acc_goal=options.acc_goal,
                validation=own.get("validation"),
                metrics=() if samples.classes or "validation" not in parts else ("r2",),
                patience=options.patience,
                check_every=options.check_every,
                callbacks=[clock, *watchers, *extra_callbacks],
                resume=options.resume,
                native=flags.NATIVE[options.native],
                comm=None if ranks is None else mpi.world(),
                client=client,
            )
    except Mistake:
        raise
    except ValueError as error:  # a checkpoint is of another run, say
        if options.checkpoint is None and options.resume is None:
            raise
        raise flags.as_typed(error, spelled) from error
    history, model = model.history, judge.of_numbers(model)
    assert history is not None
    failed = files.keep(model, output, watchers)
    for kind, path in output.items():  # none but on rank 0
        name = {"tensorboard": "TensorBoard"}.get(kind, kind.capitalize())
        print(f"[INFO]: {name}: {path}", file=sys.stderr)
    if options.members is not None:
        write(told.summary(options.acc_goal, history))
        write(told.distribution(history))
    else:
        write(told.ending(options.acc_goal, history) + " Final prediction:" * report)
    if not report:
        for text in judge.lines(model):
            write(text)
    elif options.members is None:
        write(str(backend.to_host(model(parts["training"][0]))))
    if failed:
        raise failed
    return Outcome(options, model, *samples.parts["training"], backend, clock.seconds, output)


def fit(*args: Any, **options: Any) -> xn.Model:
    """`xpnet.fit` for programs, which say themselves what became of a run, and warn in a line."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The loss .*ended the", RuntimeWarning)
        python = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, RuntimeWarning):
                with bars_cleared():
                    print(f"[WARNING]: {message}", file=sys.stderr)
            else:  # not of what is trained
                python(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        try:
            return xn.fit(*args, **options)
        finally:
            warnings.showwarning = python
