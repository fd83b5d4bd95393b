"""How usual the report's linear numbers are: what `seed_study.py` found, where it has been run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report.compare import Number
from report.facts import Setting, load

FOLDER = "seed_study"
"""Where the study is looked for unless a folder is named."""

WORLD = "linear-points"
"""The population that stands beside the report: its initial weights, many draws of the points."""

Key = tuple[str, str, str, int | None]
"""Data set, setting, quantity, epoch."""


@dataclass(frozen=True)
class Luck:
    """What the study says of the report's linear runs.

    Attributes:
        href: the way from the report's page to the study's.
        members: how many draws were looked at.
        percentiles: the share of them, in per cent, that lies below a printed number, those that
            equal it counted half.
    """

    href: str
    members: int
    percentiles: dict[Key, float]

    def of(self, number: Number) -> str:
        """The percentile of a printed number, as text; empty where it has none."""
        key = number.dataset, number.setting, number.quantity, number.epoch
        return f"{self.percentiles[key]:.0f}" if key in self.percentiles else ""


def find(named: str | None, output: Path) -> Luck | None:
    """Read the study in the folder ``named``, or in the usual one if there is one.

    Args:
        named: ``--study``, or ``None``.
        output: the folder of the report's page, which links to the study's.

    Raises:
        ValueError: if the folder that was named holds no results of a study.
    """
    folder = Path(named or FOLDER)
    path = folder / "results.json"
    if named is None and not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if named is None and document["epochs"] < load().common["num_epochs"]:
            return None  # a smoke run, which is not asked for
        percentiles, members = _percentiles(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"--study must be a folder that scripts/seed_study.py wrote, not {str(folder)!r} "
            f"({type(error).__name__}: {error})."
        ) from None
    if not percentiles:  # a study that was interrupted before it came to these
        return None
    page = os.path.relpath(folder / "index.html", output)
    return Luck(Path(page).as_posix(), members, percentiles)


def _percentiles(document: dict[str, Any]) -> tuple[dict[Key, float], int]:
    found: dict[Key, float] = {}
    members = 0
    for population in document["populations"]:
        if population["world"] != WORLD:
            continue
        dataset, setting = population["dataset"], Setting(**population["setting"]).name
        if population["percentile"] is not None:  # else it lies beyond the epochs trained there
            found[dataset, setting, "stop", None] = population["percentile"]["mid"]
        members = population["members"]
        for logged in population["logged"]:
            if logged["rank"] is not None:
                key = dataset, setting, logged["quantity"], logged["epoch"]
                found[key] = logged["rank"]["mid"]
    return found, members
