"""The command line: what ``python -m xpnet``, ``xpnet`` and ``scripts/train.py`` share.

``python -m xpnet fit`` and its kind are in `tables`.

Exit status: 0 when training ran to its end, whether or not the goal was reached; 1 when the loss
became NaN or infinite (of an ensemble, that of every member), or a disk is full; 2 for a mistake of
the user's, told in one sentence before anything is trained; 130 after Ctrl-C. Whatever ended the
training, what was done is kept and the predictions are printed, or, of an ensemble, how the stops,
losses and accuracies of its members are distributed.

`flags` reads what was typed, `parts` makes of it what is trained and where, `running` trains,
`files` is what is written on the way, `told` what is said at the end; `program` is what the
programs in ``scripts/`` share as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.cli.parts import OPTIMIZERS, network
from xpnet.cli.program import FAILED, INTERRUPTED, Mistake, run
from xpnet.cli.running import Outcome, fit, train
from xpnet.cli.tables import COMMANDS as OF_TABLES
from xpnet.cli.tables import run as run_tables

__all__ = ["OPTIMIZERS", "Mistake", "Outcome", "fit", "main", "network", "train"]


def _list_backends() -> None:
    rows = [("backend", "version", "devices, or why it cannot be used here")]
    for name, found in backends.available().items():
        rows.append((name, found.version or "-", found.reason or ", ".join(found.devices)))
    for name, version, text in rows:
        print(f"{name:8} {version:12} {text}")


_COMMANDS = ("train", *OF_TABLES, "backends")
_USAGE = """\
usage: {prog} fit DATA --target NAME     train on a table, and write model.safetensors
       {prog} predict MODEL DATA         predict the rows of a table, as csv
       {prog} evaluate MODEL DATA        say how well they are predicted; --page writes a page
       {prog} export MODEL ONNX          write the network in the format ONNX
       {prog} info MODEL                 say what is in the file of a model
       {prog} train [--flag value ...]   train a network on one of the report's data sets
       {prog} COMMAND --help             list the flags of each of these
       {prog} backends                   list the array libraries, and what each can do here
       {prog} --version"""


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command line and return the exit status, as this module says.

    Args:
        argv: ``train``, ``fit``, … with their flags, ``backends``, ``--version`` or ``--help``;
            ``None`` for those of the process.
        prog: what messages and the help of a command call the program.
    """
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    prog = prog or (f"xpnet {command}" if command in _COMMANDS else "xpnet")
    return run(prog, lambda: _run(command, rest, prog))


def _run(command: str, rest: Sequence[str], prog: str) -> int:
    if command in OF_TABLES:
        return run_tables(command, rest, prog)
    if command == "train":
        history = train(rest, prog=prog).model.history
        assert history is not None
        failed = bool(np.all(history.diverged))
        return INTERRUPTED if history.interrupted else FAILED if failed else 0
    if command not in (*_COMMANDS, "-h", "--help", "--version"):
        raise Mistake(f"command must be one of {', '.join(_COMMANDS)}, not {command!r}.")
    if rest:
        raise Mistake(f"{command} takes nothing behind it, not {rest[0]!r}.")
    if command == "backends":
        _list_backends()
    else:
        print(f"xpnet {xn.__version__}" if command == "--version" else _USAGE.format(prog=prog))
    return 0
