"""Kills a training with SIGKILL again and again, each time at a random moment, and goes on from it.

``python -m tests.killed 200`` says how many of that many kills came while a checkpoint was written,
and whether the end has the bits of a training that was never stopped. It runs where there is fork.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet.callbacks import Checkpoint

EPOCHS = 100

AT = ("fsync", "replace", "unlink")
"""What a checkpoint is written by, at which a training kills itself; or it is killed anywhere."""


def train(epochs, *callbacks, resume=None):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    net = xn.Sequential(
        *(xn.Linear(3, 128), xn.BatchNorm(128), xn.Tanh(), xn.Dropout(0.1)),
        *(xn.Linear(128, 128), xn.Tanh(), xn.Linear(128, 3)),
    )
    return xn.fit(
        *(net, x[:30], y[:30]),
        loss=xn.CrossEntropy(), optimizer=xn.Adam(lr=1e-3), epochs=epochs, seed=1, members=2,
        batch_size=16, validation=(x[30:], y[30:]), callbacks=callbacks, resume=resume,
    )  # fmt: skip


def bits(model):
    """All of a model that a file could hold, as bytes."""
    arrays = [model.theta, *model.state.values(), *model.layer_state.values()]
    arrays += [value for value in vars(model.history).values() if isinstance(value, np.ndarray)]
    return [np.asarray(array).tobytes() for array in arrays]


def child(folder, at, nth):
    """Train on in a process of its own, which kills itself at a call; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        warnings.simplefilter("error")  # what is left out, or could not be written
        if at:
            _killing(os if at == "fsync" else Path, at, nth)
        train(EPOCHS, Checkpoint(folder, every=1, keep=2), resume=folder)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def _killing(owner, name, nth):
    """Have the ``nth`` call of a function be the last thing that this process does."""
    function, calls = getattr(owner, name), iter(range(nth))

    def last(*args, **options):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)

    setattr(owner, name, last)


def main(kills, seed=0):
    draw, done, writing, ends = random.Random(seed), 0, 0, 0
    wanted = bits(train(EPOCHS))
    with tempfile.TemporaryDirectory(prefix="xpnet-") as name:
        folder = Path(name)
        while done < kills or not ends:
            at = draw.choice((*AT, *[""] * len(AT))) if done < kills else ""
            pid = child(folder, at, draw.randrange(8))
            if not at and done < kills:
                time.sleep(draw.uniform(0, 0.3))
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                done += 1
                writing += any(folder.glob(".*.part"))
                continue
            if os.WEXITSTATUS(status):
                return f"after {done} kills it could not go on"
            if bits(train(EPOCHS, resume=folder)) != wanted:
                return f"after {done} kills the bits are other ones"
            ends += 1
            for file in folder.iterdir():
                file.unlink()
    return (
        f"{kills} kills, {writing} while a checkpoint was written: {ends} trainings came to their "
        "end, with the bits of one that was never stopped"
    )


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:])))
