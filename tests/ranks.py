"""What one of several processes does that train together; a test starts them and looks at the end.

mpiexec -n 2 python -m tests.ranks mpi numpy claims
python -m tests.ranks gloo torch claims RANK SIZE FILE
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.callbacks import Checkpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(61, 5))
Y = (X[:, :1] * X[:, 1:2] > 0).astype(float)
WEIGHTS = RNG.random(61)
TANH = xn.Sequential(xn.Linear(5, 8), xn.Tanh(), xn.Linear(8, 1))
NOISY = xn.Sequential(
    xn.Standardize(5), xn.Linear(5, 8), xn.Dropout(0.3), xn.ReLU(), xn.Linear(8, 1)
)
LOSS, ADAM = xn.BCEWithLogits(), xn.Adam(lr=1e-2)


class Ranks:
    """How they talk, and which samples are this one's: more of them, the higher its number."""

    def __init__(self, way: str, rest: list[str]) -> None:
        if way == "gloo":
            import torch.distributed as dist

            rank, size, file = int(rest[0]), int(rest[1]), rest[2]
            dist.init_process_group(
                "gloo", init_method=f"file://{file}", rank=rank, world_size=size
            )
            self.comm: Any = dist
            self.rank, self.size = rank, size
        else:
            from mpi4py import MPI

            self.comm = MPI.COMM_WORLD
            self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        edges = [
            len(X) * i * (i + 2) // (self.size * (self.size + 2)) for i in range(self.size + 1)
        ]
        self.rows = slice(edges[self.rank], edges[self.rank + 1])


def trained(backend: Any, ranks: Ranks | None, net: xn.Sequential = TANH, **asked: Any) -> xn.Model:
    """All samples trained on alone, or this rank's with the others."""
    rows = slice(None) if ranks is None else ranks.rows
    for name in ("sample_weight", "validation"):
        if name in asked:
            parts = [backend.asarray(part[rows], "float64") for part in asked[name]]
            asked[name] = parts[0] if name == "sample_weight" else tuple(parts)
    if ranks is not None:
        asked["comm"] = ranks.comm
    given = {"loss": LOSS, "optimizer": ADAM, "epochs": 20, "check_every": 10, "seed": 0, **asked}
    x, y = (backend.asarray(part[rows], "float64") for part in (X, Y))
    return xn.fit(net, x, y, **given)


ASKED: dict[str, dict[str, Any]] = {
    "the whole batch": {},
    "weights": {"sample_weight": (WEIGHTS,)},
    "batches": {"batch_size": 16},
    "members": {"members": 3, "batch_size": 20},
    "accumulated batches on two threads": {"batch_size": 10, "accumulate": 2, "threads": 2},
    "masks and statistics": {"net": NOISY},
    "masks and statistics in weighted batches": {
        "net": NOISY, "batch_size": 16, "sample_weight": (WEIGHTS,)
    },
    "validation": {
        "validation": (X + 0.1, Y, WEIGHTS), "metrics": ["auc"], "patience": 2, "check_every": 2,
    },
}  # fmt: skip


def claims(backend: Any, ranks: Ranks) -> None:
    """What comes out is what one process gives, theta and history, on each rank."""
    for name, asked in ASKED.items():
        if backend.name != "numpy":
            asked = {**asked, "threads": None}
        alone, model = trained(backend, None, **asked), trained(backend, ranks, **asked)
        one, many = alone.history, model.history
        theta = [backend.to_host(found.theta) for found in (alone, model)]
        assert np.abs(theta[0] - theta[1]).max() <= 1e-15, name
        assert one.epochs == many.epochs and one.best_epoch == many.best_epoch, name
        for kind in ("loss", "accuracy", "val_loss", "val_accuracy"):
            a, b = getattr(one, kind), getattr(many, kind)
            assert a is b is None or np.abs(a - b).max() <= 2e-15, (name, kind)
        for kind, values in one.val_metrics.items():
            assert np.abs(values - many.val_metrics[kind]).max() <= 2e-15, (name, kind)


class Failing(xn.Callback):
    """Fails, or stops the run, or ends the process, at a check."""

    def __init__(self, how: str) -> None:
        self.how = how

    def check(self, run: xn.Run) -> None:
        if self.how == "stop":
            run.stop()
        if self.how == "fail":
            raise OSError("the disk is full")
        if self.how == "die" and run.epoch >= 20:
            os.kill(os.getpid(), signal.SIGKILL)


def mistakes(backend: Any, ranks: Ranks) -> None:
    """An error of one is an error of all, and all go on behind it."""
    last = ranks.rank == ranks.size - 1

    def said(part: str, kind: Any = ValueError, **asked: Any) -> None:
        try:
            trained(backend, ranks, **asked)
        except kind as error:
            assert part in str(error), str(error)
        else:
            raise AssertionError(f"nothing was said of {part}")

    said(f"is {8 + last} on rank" if last else "batch_size must be", batch_size=8 + last)
    said("optimizer must be the same", optimizer=xn.Adam(lr=1e-2 * (1 + last)))
    said("theta must be the same on all ranks", seed=int(last))
    said("theta must be the same on all ranks", seed=None)
    said("shuffle_seed must be the same", shuffle_seed=int(last), batch_size=8)
    said("epochs must be a whole number", epochs=0 if last else 3)
    said("LayerNorm in place", net=xn.Sequential(xn.Linear(5, 4), xn.BatchNorm(4), xn.Linear(4, 1)))
    said("are not sums", net=xn.Sequential(xn.RobustScale(5), xn.Linear(5, 1)))
    said("threads must be the same", threads=1 + last)
    said("at most the 61 samples", batch_size=62)
    kind = OSError if ranks.rank == 0 else RuntimeError
    said("the disk is full", kind, callbacks=[Failing("fail")])
    stopped = trained(backend, ranks, epochs=50, callbacks=[Failing("stop")])
    assert stopped.history.stopped and stopped.history.epochs == 10
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        spoilt = trained(backend, ranks, loss=xn.MSE(), optimizer=xn.SGD(lr=1e150), batch_size=8)
    assert spoilt.history.diverged == 1 and len(heard) == 1
    assert np.isfinite(backend.to_host(spoilt.theta)).all()


def resumed(backend: Any, ranks: Ranks, folder: str, how: str) -> None:
    """Goes on from the checkpoints of a folder, or dies in the midst."""
    model = trained(
        backend, ranks, epochs=40, batch_size=16, sample_weight=(WEIGHTS,), validation=(X, Y),
        callbacks=[Checkpoint(folder), Failing(how)], resume=folder,
    )  # fmt: skip
    alone = trained(
        backend, None, epochs=40, batch_size=16, sample_weight=(WEIGHTS,), validation=(X, Y)
    )
    theta = [backend.to_host(found.theta) for found in (alone, model)]
    assert np.abs(theta[0] - theta[1]).max() <= 1e-15
    assert model.history.epochs == len(model.history.loss) == 40


if __name__ == "__main__":
    way, library, *names = sys.argv[1:]
    rest = names[1:]
    backend = backends.get(library)
    backend.prepare("float64")
    ranks = Ranks(way, rest)
    for name in names[0].split(","):
        if name == "resumed":
            resumed(backend, ranks, rest[0], rest[1])
        else:
            {"claims": claims, "mistakes": mistakes}[name](backend, ranks)
    print("done", flush=True)
