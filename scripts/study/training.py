"""A piece of the study, trained as one ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import xpnet as xn
from report.facts import Facts
from report.target import Target
from study.plan import SEED, Cell, Piece
from xpnet import backends, cli
from xpnet.cli.flags import NATIVE

DRAW = 0
"""The draw of the linear points where only the weights differ: that of ``--data_seed 0``."""

Log = dict[int, tuple[np.ndarray, np.ndarray]]
"""Loss and accuracy by epoch."""

Tell = Callable[[float], None]
"""Is told which share of its epochs a piece has behind it."""


@dataclass(frozen=True)
class Result:
    """What became of a piece: for each of its cells an entry a member.

    Attributes:
        piece: which.
        stop: ``(cells, members)``, the epoch of the stop, 0 for never.
        diverged: the same, the epoch at which the loss became NaN or infinite, 0 for never.
        log: loss and accuracy ``(cells, members)`` at the epochs that the report prints, NaN for
            those that were trained no longer.
    """

    piece: Piece
    stop: np.ndarray
    diverged: np.ndarray
    log: Log


class Watch(xn.Callback):
    """Tells how far a piece is, keeps what is logged, and ends it when it is no longer wanted.

    Args:
        tell: is told the share of the epochs that is done.
        unwanted: asked whether to end.
        epochs: whose losses and accuracies are kept; they must be those of checks.
    """

    def __init__(self, tell: Tell, unwanted: Callable[[], bool], epochs: Sequence[int]) -> None:
        self.tell, self.unwanted, self.epochs = tell, unwanted, epochs
        self.log: Log = {}

    def check(self, run: xn.Run) -> None:
        self.tell(run.epoch / run.epochs)
        if run.epoch in self.epochs:
            loss, accuracy = (run.latest[name][-1].copy() for name in ("loss", "accuracy"))
            self.log[run.epoch] = loss, accuracy
        if self.unwanted():
            run.stop()


def train(
    piece: Piece,
    facts: Facts,
    target: Target,
    tell: Tell = lambda share: None,
    unwanted: Callable[[], bool] = lambda: False,
    threads: int | None = None,
) -> Result | None:
    """Train a piece; ``None`` if it was ended before its end.

    Args:
        piece: which networks.
        facts: the report's, for its number of epochs and its goal.
        target: where.
        tell: is told how far it is.
        unwanted: asked at every check whether to give up.
        threads: as of `xpnet.fit`.
    """
    backend = backends.get(target.backend, target.device)
    backend.prepare(target.dtype)
    cell, common = piece.cells[0], facts.common
    setting, total = cell.setting, len(piece.cells) * piece.count
    x, y = (backend.asarray(array, target.dtype) for array in _data(piece))
    rates = np.repeat([c.setting.lr for c in piece.cells], piece.count)[:, None]
    lr = setting.lr if len(piece.cells) == 1 else backend.asarray(rates, target.dtype)
    make, _ = cli.OPTIMIZERS[setting.optim]
    watch = Watch(tell, unwanted, [] if cell.sweep else printed_epochs(facts, cell))
    model = cli.fit(
        cli.network(2, common["num_hidden"], setting.dim_hidden, setting.activation),
        x,
        y,
        loss=xn.BCE(),
        optimizer=make(lr=lr),
        epochs=common["num_epochs"],
        seed=[np.random.RandomState(seeds(cell, i)[0]) for _ in piece.cells for i in piece.members],
        members=total,
        acc_goal=common["acc_goal"],
        check_every=common["epoch_checking"],
        every_epoch=False,
        threads=threads,
        callbacks=[watch],
        native=NATIVE[target.native],
    )
    history = model.history
    assert history is not None  # a model that was trained has one
    if history.interrupted or history.stopped:
        return None
    shape = (len(piece.cells), piece.count)
    # When everybody has arrived nothing is trained: of epochs after that there is nothing.
    nobody = np.full(total, np.nan)
    log = {epoch: watch.log.get(epoch, (nobody, nobody)) for epoch in watch.epochs}
    return Result(
        piece,
        np.reshape(history.stop, shape),
        np.reshape(history.diverged, shape),
        {epoch: (loss.reshape(shape), acc.reshape(shape)) for epoch, (loss, acc) in log.items()},
    )


def printed_epochs(facts: Facts, cell: Cell) -> list[int]:
    """The epochs of which the report prints loss and accuracy of a run that has no match here."""
    return [
        epoch
        for run in facts.runs
        if run.unseeded_data and cell.world.points
        if (run.dataset, run.setting) == (cell.world.dataset, cell.setting)
        for epoch, _, _ in run.log
    ]


def seeds(cell: Cell, member: int) -> tuple[int, int]:
    """The seed of the weights and that of the points of a member."""
    world = cell.world
    return SEED + (member if world.weights else 0), member if world.points else DRAW


def command(cell: Cell, member: int) -> str:
    """What to type to train one network of the study alone."""
    setting = cell.setting
    weights, points = seeds(cell, member)
    data = f" --data_seed {points}" if cell.world.dataset == "linear" else ""
    return (
        f"python scripts/train.py --dataset {cell.world.dataset}{data} --seed {weights} "
        f"--optim {setting.optim} --activation {setting.activation} --lr {setting.lr_text} "
        f"--dim_hidden {setting.dim_hidden}"
    )


def _data(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """The points and their classes: shared, or ``(members, …)``."""
    world = piece.cells[0].world
    if world.dataset == "xor":
        return xn.datasets.xor()
    make = xn.datasets.DATASETS[world.dataset]
    if not world.points:
        return make(100, DRAW)
    draws = [make(100, seeds(piece.cells[0], i)[1]) for i in piece.members]
    x, y = (np.stack(arrays) for arrays in zip(*draws, strict=True))
    return tuple(np.tile(array, (len(piece.cells), 1, 1)) for array in (x, y))  # type: ignore
