"""``xpnet fit``, ``predict``, ``evaluate``, ``export`` and ``info``: models of tables in files.

`flags` reads what was typed, `fitting` trains, `asking` does what is done with a model in a file,
`page` is what ``evaluate --page`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from xpnet.cli.program import Mistake
from xpnet.cli.tables import flags

COMMANDS = tuple(flags.PARSERS)

_CURES = (
    (r"\b(drop|categories)=\[(.*?)\]", r"--\1 \2"),
    (r"\b(task|numbers)='(\w+)'", r"--\1 \2"),
    (r"^(drop|categories|target|numbers|task) ", r"--\1 "),
    (r"^data ", "DATA "),
)
"""What a sentence of the library says, and what is typed for it."""


def run(command: str, argv: Sequence[str], prog: str) -> int:
    """Do what ``xpnet fit`` and its kind do; returns the exit status.

    Raises:
        Mistake: for what was typed, or is in a file, that cannot be right.
    """
    options = flags.PARSERS[command](prog).parse_args(list(argv))
    from xpnet.cli.tables import asking, fitting  # not for --help

    does: dict[str, Callable[[], int]] = {
        "fit": partial(fitting.fit, options),
        "predict": partial(asking.predict, options),
        "evaluate": partial(asking.evaluate, options),
        "export": partial(asking.export, options),
        "info": partial(asking.info, options),
    }
    try:
        return does[command]()
    except Mistake:
        raise
    except (ImportError, TypeError, ValueError) as error:
        raise Mistake(typed(str(error))) from error


def typed(sentence: str) -> str:
    """A sentence of the library as it is for who typed flags."""
    for said, written in _CURES:
        sentence = re.sub(said, written, sentence)
    return sentence
