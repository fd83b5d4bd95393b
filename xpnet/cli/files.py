"""What a run writes, and the callbacks that watch it: log lines, bar, checkpoints, picture …"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import xpnet as xn
from xpnet import callbacks
from xpnet.cli.program import Mistake

Write = Callable[[str], None]
Panel = Callable[[Any, xn.Model], None]


def outputs(options: argparse.Namespace, spelled: dict[str, str]) -> dict[str, Path]:
    """What is to be written; the folders are made here."""
    layers = f"{options.num_hidden}x{options.dim_hidden}"
    if "hidden" in spelled:
        layers = "-".join(map(str, options.hidden))
    network = f"{options.activation}-{layers}"
    if options.members:
        network += f"-x{options.members}"
    now = f"{datetime.now():%Y%m%d-%H%M%S.%f}"[:-3]
    run = f"{options.dataset}-{options.optim}-lr{options.lr:g}-{network}-{options.backend}-{now}"
    output = {}
    for kind, wanted, name, end in (
        ("tensorboard", options.is_writer_logging, "dir_writer", ""),
        ("picture", options.is_image_saving, "dir_output", ".png"),
    ):
        if wanted:
            flag = spelled.get(name, f"--{name}")
            output[kind] = callbacks.writable_folder(flag, getattr(options, name)) / (run + end)
    if options.save is not None:
        output["network"] = path = Path(options.save)
        if path.is_dir() or not path.name:
            raise Mistake(f"{spelled['save']} must be a file, not the folder {options.save!r}.")
        callbacks.writable_folder(f"the folder of {spelled['save']}", path.parent)
    return output


class Drawing(callbacks.Picture):
    """A picture that is drawn by `draw`, once the network is kept, and not by `fit`."""

    run: xn.Run | None = None

    def finish(self, run: xn.Run) -> None:
        self.run = run

    def draw(self) -> None:
        """Draw the run that has ended."""
        if self.run is not None:
            super().finish(self.run)


def keep(
    model: xn.Model, output: dict[str, Path], watching: Sequence[xn.Callback]
) -> BaseException | None:
    """Write the network, then the picture, where they were asked for.

    Returns:
        What went wrong first, or Ctrl-C: to be raised when all is told that there is to tell.
    """
    failed: BaseException | None = None
    try:
        if "network" in output:
            model.save(output["network"])
    except OSError as error:
        del output["network"]
        failed = error
    try:
        for one in watching:
            if isinstance(one, Drawing):
                one.draw()
    except (Exception, KeyboardInterrupt) as error:  # whatever it was, the run is worth telling
        output.pop("picture", None)
        if not isinstance(error, (OSError, KeyboardInterrupt)):
            error = OSError(f"the picture could not be drawn: {error}")
        failed = failed or error
    return failed


def watchers(
    options: argparse.Namespace,
    spelled: dict[str, str],
    output: dict[str, Path],
    write: Write,
    panel: Panel | None = None,
) -> list[xn.Callback]:
    """The callbacks that the flags ask for; takes out of ``output`` what there is no package for.

    A missing package is a mistake where its flag was given, and else a line on stderr. Into the
    picture goes a ``panel``.
    """
    title = f"{options.dataset}, {options.optim}, {options.activation}, lr {options.lr:g}"
    if options.members:
        last = options.seed + options.members - 1
        title += f", {options.members} members, seeds {options.seed} to {last}"
    made: list[xn.Callback] = [callbacks.LogLines(options.epoch_logging, write)]
    makers: list[tuple[str, str, Callable[[], xn.Callback]]] = [
        ("bar", "", callbacks.ProgressBar),
        ("tensorboard", "is_writer_logging", lambda: callbacks.TensorBoard(output["tensorboard"])),
        ("picture", "is_image_saving", lambda: Drawing(output["picture"], title, panel)),
    ]
    if options.checkpoint is not None:
        folder = callbacks.writable_folder(spelled["checkpoint"], options.checkpoint)
        made.append(callbacks.Checkpoint(folder, options.checkpoint_every))
    for kind, flag, make in makers:
        if kind != "bar" and kind not in output:
            continue
        try:
            made.append(make())
        except ImportError as error:
            if flag in spelled:
                raise Mistake(f"{spelled[flag]} must be False here: {error}") from None
            print(f"[INFO]: Left out: {error}", file=sys.stderr)
            output.pop(kind, None)
    return made
