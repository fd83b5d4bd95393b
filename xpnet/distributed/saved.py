"""Blocks of members in files: what of a training over a cluster is done, and is not done again."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from xpnet import checks
from xpnet.distributed.kept import Piece
from xpnet.files import tensors
from xpnet.history import History
from xpnet.training.progress import filled, packed

KIND, VERSION = "members", 1
"""What a file says it is, and the greatest version of it that is known here."""

_NAME = re.compile(r"members-(\d+)-(\d+)\.safetensors")

_SAID = ("said", "whole")
"""What of a piece is in no file: warnings were given, and what was cut short is not written."""


@dataclass(frozen=True, eq=False)
class BlockProgress:
    """What is kept of a block of members that is done: nothing that comes later changes it.

    `fit` goes on from a folder of such files: ``resume=folder``.

    Attributes:
        members: which, a ``range`` of their numbers.
        piece: what is kept of them.
        size: how many members blocks have.
        native: whether their steps are machine code.
        asked: what was asked for, in a few bytes an argument, so that another is told apart.
    """

    members: range
    piece: Piece
    size: int
    native: bool
    asked: dict[str, list[str]]

    @property
    def name(self) -> str:
        """What its file is called in a folder of them."""
        return f"members-{self.members[0]}-{self.members[-1]}.safetensors"

    def write(self, path: str | Path) -> None:
        """Write it into a file, which is there whole or as it was before.

        Raises:
            OSError: if it cannot be written.
            TypeError: if ``path`` is no path.
        """
        part = {name: value for name, value in vars(self.piece).items() if name not in _SAID}
        part["history"] = vars(self.piece.history)
        arrays: dict[str, np.ndarray] = {}
        said = packed(part, np.asarray, arrays)
        header = {"kind": KIND, "block": VERSION, "first": self.members[0]}
        header |= {"count": len(self.members), "size": self.size, "native": self.native}
        tensors.write(path, arrays, {**header, "asked": self.asked, "piece": said})

    @classmethod
    def read(cls, path: str | Path) -> BlockProgress:
        """Read what `write` has written.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is damaged, no block of members, or of a newer xpnet.
            TypeError: if ``path`` is no path.
        """
        arrays, header = tensors.read_as(path, KIND, "block", VERSION, "a block of members")
        part = filled(header["piece"], arrays)
        known = {one.name for one in fields(History)}
        history = History(**{k: v for k, v in part.pop("history").items() if k in known})
        members = range(header["first"], header["first"] + header["count"])
        piece = Piece(history=history, **part)
        return cls(members, piece, header["size"], header["native"], header["asked"])


def snapshot(piece: Piece) -> Piece:
    """The same, which stays as it is when the other is put together with others."""
    return replace(piece, arrays={**piece.arrays})


def try_out(folder: Path) -> None:
    """Raise the ``OSError`` of a file in a folder that cannot be written."""
    trial = folder / ".members-.safetensors.trial.part"
    tensors.write(trial, {"trial": np.zeros(1)}, {"kind": "trial"})
    trial.unlink()


def blocks_in(folder: Path) -> list[Path]:
    """The files of blocks of members in a folder, in the members' order."""
    names = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return [path for _, path in sorted((int(name[1]), path) for name, path in names if name)]


def done_in(resume: str | Path) -> dict[Path, BlockProgress]:
    """The blocks that are done, by their files; a ``RuntimeWarning`` says which are damaged.

    Args:
        resume: their folder; where there is none, or none in it yet, nothing is done.

    Raises:
        OSError, TypeError, ValueError: if none of them can be read, or these are no blocks.
    """
    folder = checks.as_path("resume", resume)
    if folder.is_file() or (folder.is_dir() and any(folder.glob("epoch-*.safetensors"))):
        kind = "a file" if folder.is_file() else "one with checkpoints of epochs"
        cure = "go on from that without client"
        if _NAME.fullmatch(folder.name):
            cure = f"give the folder that it is in, {str(folder.parent)!r}"
        raise ValueError(
            "resume must be a folder of blocks of members with client, as Checkpoint writes them "
            f"over a cluster, not {str(folder)!r}, {kind}; {cure}."
        )
    found: dict[Path, BlockProgress] = {}
    errors: list[Exception] = []
    for path in blocks_in(folder) if folder.is_dir() else ():
        try:
            found[path] = BlockProgress.read(path)
        except (OSError, ValueError) as error:
            errors.append(error)
    if errors and not found:
        raise type(errors[0])(str(errors[0]).replace("path must", "resume must", 1)) from None
    for left in errors:
        said = f"A block is left out, and trained again: {left}"
        warnings.warn(said, RuntimeWarning, stacklevel=5)
    return found
