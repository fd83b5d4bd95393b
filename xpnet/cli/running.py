"""A training run from its flags to what is left of it."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.cli import files, flags, told
from xpnet.cli.files import Write
from xpnet.cli.parts import SEEDS, Seeds, backend_of, network, optimizer_of
from xpnet.cli.program import Mistake, ready
from xpnet.datasets import DATASETS, xor

HISTORY = 1 << 24
"""How many epochs × members of an ensemble are remembered; of more, those of the checks."""


@dataclass
class Outcome:
    """What a training run of the command line leaves behind.

    Attributes:
        options: every flag's value, by name.
        model: the trained `xpnet.Model`.
        x, y: the data on the host.
        backend: where it was trained.
        seconds: how long the epochs took.
        output: what was written, by kind: the folder ``"tensorboard"``, the file ``"picture"``.
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
    try:
        options, spelled = flags.options_of(argv, prog)
        backend = backend_of(options, spelled)
        optimizer = optimizer_of(options, spelled)
        x, y = _data(options, spelled)
        if options.members and options.seed + options.members > SEEDS:
            raise Mistake(
                f"{spelled['members']} must be at most {SEEDS - options.seed} with the seed "
                f"{options.seed}, since seeds end at {SEEDS - 1}, not {options.members}."
            )
        net = network(x.shape[1], options.num_hidden, options.dim_hidden, options.activation)
        output = files.outputs(options, spelled)
        watchers = files.watchers(options, spelled, output, write)
        device_x, device_y = (backend.asarray(array, options.dtype) for array in (x, y))
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, Mistake) else Mistake(str(error)) from error
    ready()
    clock = _Clock()
    values = options.num_epochs * (options.members or 1)
    model = fit(
        net,
        device_x,
        device_y,
        loss=xn.BCE(),
        optimizer=optimizer,
        epochs=options.num_epochs,
        seed=Seeds(options.seed, options.members)
        if options.members
        else np.random.RandomState(options.seed),
        members=options.members,
        every_epoch=options.members is None or values <= HISTORY,
        acc_goal=options.acc_goal,
        check_every=options.check_every,
        callbacks=[clock, *watchers, *extra_callbacks],
    )
    assert model.history is not None
    for kind, path in output.items():
        name = {"tensorboard": "TensorBoard"}.get(kind, kind.capitalize())
        print(f"[INFO]: {name}: {path}", file=sys.stderr)
    if options.members is None:
        write(told.ending(options.acc_goal, model.history))
        write(str(backend.to_host(model(device_x))))
    else:
        write(told.summary(options.acc_goal, model.history))
        write(told.distribution(model.history))
    return Outcome(options, model, x, y, backend, clock.seconds, output)


def _data(options: argparse.Namespace, spelled: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The data set; of xor, which is fixed, nothing else can be asked for."""
    if options.dataset != "xor":
        return DATASETS[options.dataset](options.num_data, options.data_seed)
    if "num_data" in spelled and options.num_data != 21:
        raise Mistake(
            f"{spelled['num_data']} must be 21 for --dataset xor, whose points are fixed, "
            f"not {options.num_data}."
        )
    if "data_seed" in spelled:
        raise Mistake(
            f"{spelled['data_seed']} is for --dataset linear, not xor, whose points are fixed."
        )
    return xor()


def fit(*args: Any, **options: Any) -> xn.Model:
    """`xpnet.fit` for programs, which say themselves what became of a run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The loss .*ended the", RuntimeWarning)
        return xn.fit(*args, **options)
