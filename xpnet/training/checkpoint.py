"""Checkpoints: a training's progress in files, and the newest of them to go on from."""

from __future__ import annotations

import re
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.distributed.dealt import Dealt
from xpnet.distributed.saved import BlockProgress, blocks_in, try_out
from xpnet.files import tensors
from xpnet.files.folders import writable_folder
from xpnet.training.callback import Callback, Run
from xpnet.training.progress import Progress

_SUFFIX = ".safetensors"
_NAME = re.compile(rf"epoch-(\d+){re.escape(_SUFFIX)}")


class Checkpoint(Callback):
    """Writes checkpoints, from which ``fit(…, resume=folder)`` goes on as if it had never stopped.

    A checkpoint is written at a check, and at the end of the run, however it ends: then that of
    the last multiple of ``check_every``, as a run that has ended between two, by Ctrl-C or as its
    epochs are no multiple, can only go on from there; so that a run with fewer epochs than that
    has none, and a ``RuntimeWarning`` says so. It
    is a file ``epoch-250.safetensors``, which is there whole or not at all. Whether one can be
    written is tried before the first epoch. A later write that fails, as on a full disk, does not
    end the training: a ``RuntimeWarning`` says so, what was written before stays, and the next one
    is tried.

    With a ``client`` each block of members is a file once it is done, as
    ``members-0-255.safetensors``, whatever ``every`` and ``keep``, and ``fit(…, resume=folder)``
    trains the others alone. Blocks that somebody has ended, as by Ctrl-C, are not written.

    Args:
        path: the folder; made if it is not there.
        every: for which epochs: at the first check at or behind each multiple of this.
        keep: how many are kept, the newest. An older one goes when a newer one is complete, so
            that there must be room for one more.

    Raises:
        ImportError: if safetensors is not installed.
        ValueError: if the folder cannot be written; at the start of a run, if there are checkpoints
            in it, and it goes on from none of them.
        OSError: at the start of a run, if none can be written.
    """

    def __init__(self, path: str | Path, every: int = 1, keep: int = 1) -> None:
        tensors.package()
        self.folder = writable_folder("path", path)
        self.every, self.keep = checks.whole("every", every), checks.whole("keep", keep)
        self._due: Progress | None = None
        self._failed = False

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_due": None}  # of the run that it watches

    def start(self, run: Run) -> None:
        there = [*blocks_in(self.folder), *(path for _, path in _in(self.folder))]
        ours = run.resumed is not None and run.resumed.parent.samefile(self.folder)
        if there and not ours:
            raise ValueError(
                "path must be a folder without checkpoints, or fit be given the same as resume, "
                f"to go on from {str(there[-1])!r}; to begin anew, use another folder, or remove "
                "the checkpoints of this one."
            )
        for kind in ("epoch", "members"):
            for left in self.folder.glob(f".*{kind}-*{_SUFFIX}.*.part"):  # by who was killed
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)
        self._due, self._failed = None, False
        if run.dealt:
            try_out(self.folder)
            return
        if run.epochs < run.check_every:
            warnings.warn(
                f"check_every={run.check_every} is more than epochs={run.epochs}, so that no "
                "checkpoint will be written; give fit a smaller check_every.",
                RuntimeWarning,
                stacklevel=4,
            )
        progress, trial = run.progress, self.folder / f".epoch-{run.epoch}{_SUFFIX}.trial.part"
        assert progress is not None  # as nothing is trained yet
        progress.write(trial)
        trial.unlink()

    def check(self, run: Run) -> None:
        progress = run.progress
        if progress is not None:
            self._due = progress
            if run.epoch // self.every > run.seen // self.every:
                self._write()

    def dealt(self, run: Dealt) -> None:
        block = run.progress
        if block is not None:
            whose = f"members {block.members[0]} to {block.members[-1]}"
            self._wrote(block, self.folder / block.name, whose)

    def finish(self, run: Run) -> None:
        self._write()

    def _write(self) -> None:
        """Write the checkpoint that is due, if there is one."""
        progress = self._due
        if progress is None:
            return
        path = self.folder / f"epoch-{progress.epoch}{_SUFFIX}"
        if not self._wrote(progress, path, f"epoch {progress.epoch}"):
            return
        self._due = None
        with suppress(OSError):
            # Those of later epochs are of this run too, which went on from an earlier one.
            until = [old for epoch, old in _in(self.folder) if epoch <= progress.epoch]
            for old in until[: -self.keep]:
                old.unlink()

    def _wrote(self, progress: Progress | BlockProgress, path: Path, what: str) -> bool:
        """Write it, or warn that it cannot be; once, until one can be written again."""
        try:
            progress.write(path)
        except OSError as error:
            if not self._failed:
                warnings.warn(
                    f"The checkpoint of {what} could not be written, and the training goes on: "
                    f"{error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
            self._failed = True
            return False
        self._failed = False
        return True


def _in(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a folder by their epochs, the newest last."""
    names = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(name[1]), path) for name, path in names if name)


def newest(resume: str | Path) -> tuple[Path | None, Progress | None]:
    """The checkpoint to go on from, behind its path; ``None`` for a folder where none is yet.

    Args:
        resume: a file, which must be there, or a folder, of which it is the newest that is whole;
            a ``RuntimeWarning`` says which are not.

    Raises:
        OSError, TypeError, ValueError: if it cannot be read, or is no checkpoint.
    """
    place = checks.as_path("resume", resume)
    if place.is_dir():
        if blocks := blocks_in(place):
            raise ValueError(
                f"resume must be a checkpoint of epochs without client, not {str(place)!r}, whose "
                f"{blocks[0].name!r} is of a training over a cluster; give fit the client."
            )
        paths = [path for _, path in _in(place)[::-1]]
    else:
        paths = [place] if place.exists() or place.suffix == _SUFFIX else []
    errors: list[Exception] = []
    for path in paths:
        try:
            found = Progress.read(path)
        except (OSError, ValueError) as error:
            errors.append(error)
            continue
        for left in errors:
            warnings.warn(f"A checkpoint is left out: {left}", RuntimeWarning, stacklevel=3)
        return path, found
    if errors:
        said = str(errors[0]).replace("path must", "resume must", 1)
        raise type(errors[0])(said) from None
    return None, None
