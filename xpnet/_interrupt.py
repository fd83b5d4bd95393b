"""Ctrl-C while a program of xpnet's own still imports what it needs: it ends at once.

Imports take up to a second, of PyTorch and JAX several, in which nothing is done that could be
kept. What a KeyboardInterrupt in their midst prints, or is turned into, is up to whichever library
it hits: JAX may swallow it. A process that is no program of xpnet's keeps the handler that it has.
"""

import os
import signal
import sys
from contextlib import suppress

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


program = ""
"""What this process is called, if it is a program of xpnet's own."""

_words = ""


def _end(number: int, frame: object) -> None:
    with suppress(OSError):  # nobody listens
        os.write(2, _words.encode())
    os._exit(INTERRUPTED)


def begin(name: str = "xpnet") -> None:
    """This process is the program ``name``: Ctrl-C ends it, unless somebody else sees to it."""
    global program
    program = name
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with suppress(ValueError):  # a thread that hears no signals
            signal.signal(signal.SIGINT, _end)


def say(words: str) -> None:
    """What a process that Ctrl-C ends says from here on: before, it does not know who it is."""
    global _words
    _words = f"{words}\n"


def ready() -> None:
    """All is imported: from here on Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _started() -> bool:
    """Whether this process was started as ``python -m xpnet`` or ``xpnet``."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # as long as Python looks for the module that was named behind it
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "xpnet"
    return os.path.splitext(os.path.basename(program))[0] == "xpnet"


if _started():
    begin()
