"""Where the runs were made: the machine, the library, the versions."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import xpnet
from xpnet.backends import Backend


@dataclass(frozen=True)
class Environment:
    """What a reader must know to judge a number."""

    made: str
    machine: str
    system: str
    library: str
    device: str
    dtype: str
    python: str
    numpy: str
    xpnet: str

    @property
    def rows(self) -> list[tuple[str, str]]:
        """For the table on the page."""
        return [
            ("Machine", self.machine),
            ("System", self.system),
            ("Library", self.library),
            ("Device", self.device),
            ("Numbers", self.dtype),
            ("xpnet", self.xpnet),
            ("Python", self.python),
            ("NumPy (initial weights)", self.numpy),
            ("Made", self.made),
        ]


def describe(backend: Backend, dtype: str) -> Environment:
    """Look around."""
    return Environment(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{_processor()}, {os.cpu_count()} logical cores",
        system=f"{platform.system()} {platform.machine()}",
        library=f"{backend.name} {backend.version()}",
        device=backend.describe(),
        dtype=dtype,
        python=platform.python_version(),
        numpy=np.__version__,
        xpnet=xpnet.__version__,
    )


def _processor() -> str:
    """The processor's name; Linux keeps it in a file, others tell Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
