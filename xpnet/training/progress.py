"""Where a training stands at a check, as one value that a file can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.files import tensors
from xpnet.types import Array, First

Part = dict[str, Any]
"""Where one object stands: arrays, plain values, and dicts of them, by name.

A list of arrays, or of dicts or tuples of arrays, is what lies one behind the other, and comes back
as one.
"""

KIND, VERSION = "checkpoint", 1
"""What a file says it is, and the greatest version of it that is known here."""

DESCRIBED = ("network", "loss", "optimizer", "members")
"""What a file says besides, so that it can be read as that of a model."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a training stands at a check: all that it goes on from.

    Nothing that is trained later changes it. `fit` goes on from a file of it: ``resume=path``.

    Attributes:
        epoch: how many epochs are done.
        part: where its objects stand.
        asked: what was asked for, as `fingerprints` tells it.
        described: network, loss and optimizer as a file of a model has them, and how many members
            there are; nothing where they cannot be described.
        to_host: brings its arrays to the host.
    """

    epoch: int
    part: Part
    asked: dict[str, list[str]]
    described: dict[str, Any]
    to_host: Callable[[Array], np.ndarray] = np.asarray

    def write(self, path: str | Path) -> None:
        """Write it into a file, which is there whole or as it was before.

        Raises:
            OSError: if it cannot be written.
            TypeError: if ``path`` is no path.
        """
        arrays: dict[str, np.ndarray] = {}
        part = packed(self.part, self.to_host, arrays)
        header = {"kind": KIND, "checkpoint": VERSION, **self.described, "epoch": self.epoch}
        tensors.write(path, arrays, {**header, "asked": self.asked, "progress": part})

    @classmethod
    def read(cls, path: str | Path) -> Progress:
        """Read what `write` has written.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is damaged, no checkpoint, or of a newer xpnet.
            TypeError: if ``path`` is no path.
        """
        arrays, header = tensors.read_as(path, KIND, KIND, VERSION, "a checkpoint")
        described = {name: header[name] for name in DESCRIBED if name in header}
        part = filled(header["progress"], arrays)
        return cls(header["epoch"], part, header["asked"], described)


# ---- what JSON can say of it, and the arrays beside

TENSOR = "tensor"
"""What stands alone in a dict in place of an array: its name."""


def packed(
    part: Any, to_host: Callable[[Array], np.ndarray], arrays: dict[str, np.ndarray], name: str = ""
) -> Any:
    """What JSON can say of a part, once its arrays are put among ``arrays``, by their places."""

    def within(key: str, inner: Any) -> Any:
        return packed(inner, to_host, arrays, f"{name}/{key}" if name else key)

    if isinstance(part, First):
        part = part.of[: part.length]
    first = part[0] if isinstance(part, list) and part else None
    if isinstance(first, tuple):
        return [within(str(i), list(column)) for i, column in enumerate(zip(*part, strict=True))]
    if isinstance(first, dict):
        part = {key: [one[key] for one in part] for key in first}
    if isinstance(part, dict):
        return {key: within(key, inner) for key, inner in part.items()}
    if checks.is_array(first):
        found = [_on_host(array, to_host) for array in part]
        part = np.concatenate(found) if found[0].ndim else found[-1]  # a counter that all share
    if not checks.is_array(part):
        return part
    arrays[name] = _on_host(part, to_host)
    return {TENSOR: name}


def _on_host(array: Array, to_host: Callable[[Array], np.ndarray]) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else to_host(array)


def filled(part: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A part of which `packed` has said this, its arrays of the host and in one."""
    if isinstance(part, list):
        return [filled(one, arrays) for one in part]
    if not isinstance(part, dict):
        return part
    if list(part) == [TENSOR]:
        return arrays[part[TENSOR]]
    return {name: filled(inner, arrays) for name, inner in part.items()}
