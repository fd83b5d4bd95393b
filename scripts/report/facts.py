"""What the report prints: every number of it, from ``facts.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FACTS = Path(__file__).with_name("facts.json")

OPTIMIZERS = {"adam": "Adam", "vanilla": "SGD"}
ACTIVATIONS = {"leaky_relu": "LeakyReLU", "relu": "ReLU"}


@dataclass(frozen=True)
class Setting:
    """What a comparison varies; each setting is run on both data sets."""

    optim: str
    activation: str
    lr: float
    dim_hidden: int

    @property
    def lr_text(self) -> str:
        """The learning rate as the report writes it: ``1e-2``."""
        return f"{self.lr:.0e}".replace("e-0", "e-")

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """The setting in words, one a choice."""
        return (
            OPTIMIZERS[self.optim],
            ACTIVATIONS[self.activation],
            f"lr {self.lr_text}",
            f"{self.dim_hidden} units",
        )

    @property
    def name(self) -> str:
        """The setting in words."""
        return " · ".join(self.parts)

    def other(self, base: Setting) -> str:
        """The one choice in which it differs from ``base``."""
        differing = (a for a, b in zip(self.parts, base.parts, strict=True) if a != b)
        return next(differing, self.name)


@dataclass(frozen=True)
class PrintedRun:
    """A run as the report prints it; ``log`` holds ``(epoch, loss, accuracy)``."""

    dataset: str
    setting: Setting
    epoch_logging: int
    stop: int
    log: tuple[tuple[int, float, float], ...]
    figures: tuple[str, ...]
    unseeded_data: bool = False
    misprints: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """All runs of the report, in the order in which it presents them."""

    common: dict[str, Any]
    runs: tuple[PrintedRun, ...]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings in their order; the first is the base of all comparisons."""
        return tuple(dict.fromkeys(run.setting for run in self.runs))


def load(path: Path = FACTS) -> Facts:
    """Read the facts."""
    return parse(json.loads(path.read_text(encoding="utf-8")))


def parse(document: dict[str, Any]) -> Facts:
    """The facts of a parsed ``facts.json``."""
    return Facts(document["common"], tuple(_run(entry) for entry in document["runs"]))


def _run(entry: dict[str, Any]) -> PrintedRun:
    return PrintedRun(
        dataset=entry["dataset"],
        setting=Setting(entry["optim"], entry["activation"], entry["lr"], entry["dim_hidden"]),
        epoch_logging=entry["epoch_logging"],
        stop=entry["stop"],
        log=tuple((int(e), float(loss), float(acc)) for e, loss, acc in entry["log"]),
        figures=tuple(entry["figures"]),
        unseeded_data=entry.get("unseeded_data", False),
        misprints=entry.get("misprints", {}),
    )
