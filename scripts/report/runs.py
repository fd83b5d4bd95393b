"""Our runs of the report, each made by the command line that a reader could type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from report.facts import Facts, PrintedRun
from report.target import Target
from xpnet import Model, cli
from xpnet.backends import Backend

LOG_LINE = re.compile(r"Epoch: (\d+), loss: (\S+), acc: (\S+)\.$")
STOP_LINE = re.compile(r"Early stop at epoch (\d+)\.")

GRID = 60
"""How many points a side the field of a trained network is looked at."""


@dataclass(frozen=True)
class OurRun:
    """A run of ours: what its command printed, and what it recorded."""

    printed: PrintedRun
    argv: tuple[str, ...]
    options: dict[str, Any]
    console: tuple[str, ...]
    loss: np.ndarray
    accuracy: np.ndarray
    seconds: float
    interrupted: bool
    diverged: int
    weights: dict[str, np.ndarray]
    field: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def command(self) -> str:
        """What to type to have this run again."""
        return f"python scripts/train.py {shlex.join(self.argv)}"

    @property
    def stop(self) -> int | None:
        """The epoch at which the command said that it stopped; ``None`` if it did not."""
        found = (STOP_LINE.search(line) for line in self.console)
        return next((int(match[1]) for match in found if match), None)

    @property
    def log(self) -> dict[int, tuple[str, str]]:
        """Loss and accuracy by epoch, as the command printed them."""
        found = (LOG_LINE.match(line) for line in self.console)
        return {int(match[1]): (match[2], match[3]) for match in found if match}

    @property
    def epochs_per_second(self) -> float:
        return len(self.loss) / self.seconds


def command(printed: PrintedRun, target: Target) -> tuple[str, ...]:
    """The arguments of the report's own command line, and where to run it."""
    setting = printed.setting
    arguments = {
        "--dataset": printed.dataset,
        "--optim": setting.optim,
        "--activation": setting.activation,
        "--lr": setting.lr_text,
        "--dim_hidden": str(setting.dim_hidden),
        "--epoch_logging": str(printed.epoch_logging),
        "--is_writer_logging": "False",
        "--is_image_saving": "False",
        "--backend": target.backend,
        "--dtype": target.dtype,
        "--native": target.native,
    }
    if target.device is not None:
        arguments["--device"] = target.device
    return tuple(word for pair in arguments.items() for word in pair)


def make(printed: PrintedRun, target: Target) -> OurRun:
    """Make one run."""
    argv = command(printed, target)
    lines: list[str] = []
    outcome = cli.train(argv, write=lines.append)
    model = outcome.model
    history = model.history
    assert history is not None  # a model that was trained has one
    return OurRun(
        printed=printed,
        argv=argv,
        options=vars(outcome.options),
        console=tuple("\n".join(lines).splitlines()),
        loss=np.asarray(history.loss),
        accuracy=np.asarray(history.accuracy),
        seconds=outcome.seconds,
        interrupted=history.interrupted,
        diverged=int(history.diverged),
        weights={k: outcome.backend.to_host(v) for k, v in model.named_parameters().items()},
        field=_field(model, outcome.backend, target.dtype),
        x=np.asarray(outcome.x),
        y=np.asarray(outcome.y),
    )


def make_all(
    facts: Facts, target: Target, tell: Callable[[OurRun], None] = lambda run: None
) -> Iterator[OurRun]:
    """Make every run of the report, in its order; one that Ctrl-C ended is the last."""
    for printed in facts.runs:
        run = make(printed, target)
        tell(run)
        yield run
        if run.interrupted:
            return


def grid() -> tuple[np.ndarray, np.ndarray]:
    """The points at which the field of a network is looked at."""
    side = np.linspace(-0.1, 1.1, GRID)
    first, second = np.meshgrid(side, side)
    return first, second


def _field(model: Model, backend: Backend, dtype: str) -> np.ndarray:
    """The probability of class 1 on the grid, ``(GRID, GRID)``."""
    first, second = grid()
    points = np.stack([first.ravel(), second.ravel()], axis=-1)
    output = model.predict_proba(backend.asarray(points, dtype))
    host: np.ndarray = backend.to_host(output).reshape(first.shape)
    return host
