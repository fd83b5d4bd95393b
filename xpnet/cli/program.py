"""What every program shares: how it reads what was typed, how it ends, what its status says.

Exit status: 0; 1 for what the program itself calls a failure, or what cannot be written; 2 for a
mistake of the user's, told in one sentence; 130 after Ctrl-C; 141 when whoever read the output has
read enough.

Of the standard library alone, since a program may have to see to its threads before NumPy's are
made: ``scripts/start.py`` loads this file by itself.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn

# Not `from xpnet import …`, which would import the package, and NumPy, before.
from xpnet._interrupt import INTERRUPTED, ready, say

__all__ = [
    "BROKEN_PIPE",
    "FAILED",
    "INTERRUPTED",
    "MISTAKE",
    "Mistake",
    "Parser",
    "no_flag",
    "ready",
    "run",
    "whole",
]

FAILED, MISTAKE, BROKEN_PIPE = 1, 2, 141


class Mistake(ValueError):
    """What the user typed cannot be done; one sentence says why, and what would be right."""


def run(prog: str, work: Callable[[], int]) -> int:
    """Do the work of the program ``prog``; return its exit status, or that of what ended it.

    The work says when all is imported that it needs and there will be something to keep: by
    `ready`. Until then Ctrl-C ends the program at once.
    """
    interrupted = f"{prog}: interrupted"
    say(interrupted)
    try:
        return work()
    except Mistake as mistake:
        print(f"{prog}: error: {mistake}", file=sys.stderr)
        return MISTAKE
    except MemoryError as error:
        print(
            f"{prog}: error: these sizes need more memory than there is: {error}", file=sys.stderr
        )
        return MISTAKE
    except BrokenPipeError:  # whoever read our output has read enough
        _mute()
        return BROKEN_PIPE
    except OSError as error:  # a full disk, say
        print(f"{prog}: error: not everything could be read or written: {error}", file=sys.stderr)
        _mute()
        return FAILED
    except KeyboardInterrupt:
        # Before there was anything to keep, or pressed twice.
        print(interrupted, file=sys.stderr)
        return INTERRUPTED


def _mute() -> None:
    """Write what is left for stdout to nowhere, lest Python complain that it cannot."""
    with suppress(OSError, ValueError):  # no file, or a closed one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Parser(argparse.ArgumentParser):
    """Reads flags, and answers a wrong one with a `Mistake`, not with all that would be right."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace(": ", " ", 1).rstrip(".")
        message = message.replace("ignored explicit argument", "takes no value, not")
        raise Mistake(message if message.endswith("?") else f"{message}.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
            flags = [action.option_strings[-1] for action in shown if action.option_strings]
            raise Mistake(no_flag(unknown[0], flags))
        return found


def no_flag(typed: str, flags: Iterable[str]) -> str:
    """The sentence about something that is none of the flags, with the nearest of them."""
    typed = typed.partition("=")[0]
    names = {flag.strip("-").replace("-", "_"): flag for flag in flags}
    name = typed.strip("-").replace("-", "_").lower()
    # What is no flag at all is like one only if its dashes were forgotten.
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6 if typed.startswith("-") else 0.9)
    if name == "learning_rate" and "lr" in names:
        near = ["lr"]
    hint = f"did you mean {names[near[0]]}?" if near else "--help lists the flags."
    return f"{typed or repr(typed)} is no flag of this program; {hint}"


def whole(least: int, most: int) -> Callable[[str], int]:
    """What makes argparse take whole numbers of these bounds."""

    def parse(text: str) -> int:
        try:
            value, shown = int(text), text
        except ValueError:
            value, shown = least - 1, repr(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {shown}."
            )
        return value

    return parse
