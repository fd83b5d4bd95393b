"""The flags of training: their names, defaults and meaning, and how what was typed is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xpnet import backends, checks
from xpnet.cli.parts import OPTIMIZERS, SEEDS
from xpnet.cli.program import Mistake, Parser, no_flag
from xpnet.datasets import DATASETS
from xpnet.layers import ACTIVATIONS

Parse = Callable[[str, str], Any]


def _number(**bounds: float) -> Parse:
    def parse(flag: str, text: str) -> float:
        return checks.number(flag, _converted(float, text), **bounds)

    return parse


def _whole(least: int, most: int = 10**9) -> Parse:
    def parse(flag: str, text: str) -> int:
        value = checks.whole(flag, _converted(int, text), least=least)
        if value > most:
            raise ValueError(f"{flag} must be a whole number of at most {most}, not {value}.")
        return value

    return parse


def _one_of(choices: Callable[[], Sequence[str]], alike: bool = True) -> Parse:
    return lambda flag, text: checks.one_of(flag, text, choices(), alike)


def _switch(flag: str, text: str) -> bool:
    known = {"true": "True", "false": "False"}
    return checks.one_of(flag, known.get(text.lower(), text), known.values()) == "True"


def _text(flag: str, text: str) -> str:
    return text


def _seed_or_none(flag: str, text: str) -> int | None:
    if text.lower() == "none":
        return None
    try:
        return int(_whole(0)(flag, text))
    except (TypeError, ValueError) as error:
        raise ValueError(str(error).replace(", not", ", or none, not")) from None


def _converted(kind: type, text: str) -> Any:
    """The number that ``text`` writes, or ``text`` itself, for the check to refuse."""
    try:
        return kind(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Flag:
    """A flag: its name, its default as one would type it (``None``: not set), its meaning."""

    name: str
    default: str | None
    parse: Parse
    help: str


FLAGS = (
    Flag("dataset", "linear", _one_of(lambda: list(DATASETS)), "|".join(DATASETS)),
    Flag("num_data", "100", _whole(1, 10**8), "points of the linear data; xor has its 21"),
    Flag("data_seed", "0", _seed_or_none, "seed of the linear data; none draws anew each time"),
    Flag("backend", "numpy", _one_of(lambda: backends.NAMES), "|".join(backends.NAMES)),
    Flag("device", None, _text, "the library's name of a device, such as cpu or cuda:1"),
    Flag(
        "dtype", "float64", _one_of(lambda: ("float64", "float32"), alike=False), "float64|float32"
    ),
    Flag("num_hidden", "2", _whole(0, 1000), "hidden layers, 0 for none"),
    Flag("dim_hidden", "4", _whole(1, 10**6), "units of each hidden layer"),
    Flag("activation", "relu", _one_of(lambda: list(ACTIVATIONS)), "|".join(ACTIVATIONS)),
    Flag("seed", "42", _whole(0, SEEDS - 1), "seed of the initial weights"),
    Flag("members", None, _whole(1, 10**7), "train so many at once, with seed, seed + 1, …"),
    Flag("optim", "vanilla", _one_of(lambda: list(OPTIMIZERS)), "see below; vanilla is plain SGD"),
    Flag("lr", "1e-2", _number(least=0), "learning rate"),
    Flag("momentum", None, _number(least=0), "momentum"),
    Flag("beta1", None, _number(least=0, below=1), "decay of the mean gradient"),
    Flag("beta2", None, _number(least=0, below=1), "decay of the mean squared gradient"),
    Flag("alpha", None, _number(least=0, below=1), "decay of the mean squared gradient (rmsprop)"),
    Flag("eps", None, _number(least=0), "what is added to the root"),
    Flag("weight_decay", None, _number(least=0), "weight decay"),
    Flag("amsgrad", None, _switch, "True|False"),
    Flag("num_epochs", "30000", _whole(1), "epochs at most"),
    Flag("acc_goal", "1.0", _number(above=0, most=1), "stop at this accuracy"),
    Flag("check_every", "100", _whole(1), "how many epochs lie between two looks at the goal"),
    Flag("epoch_logging", "2000", _whole(1), "how many epochs lie between two log lines"),
    Flag("is_writer_logging", "True", _switch, "True|False: loss and accuracy for TensorBoard"),
    Flag("dir_writer", "./runs/", _text, "folder of the TensorBoard logs, one folder in it a run"),
    Flag("is_image_saving", "True", _switch, "True|False: a picture of truth and prediction"),
    Flag("dir_output", "./outputs/", _text, "folder of the pictures"),
)


OTHER_NAMES = {"epoch_checking": "check_every"}
"""Flags by the names that they have in the report."""


# ---- reading what was typed


def _parser(prog: str) -> argparse.ArgumentParser:
    optimizers = "".join(
        f"  {name:9} {' '.join('--' + flag for flag in flags)}\n"
        for name, (_, flags) in OPTIMIZERS.items()
    )
    parser = Parser(
        prog=prog,
        usage=f"{prog} [--flag value ...]",
        description="Train a network on one of the report's data sets.",
        epilog=f"optimizers, and the flags besides --lr that each takes:\n{optimizers}\n"
        "Flags may be written with dashes too: --dim-hidden. The report calls --check_every "
        "--epoch_checking.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for flag in FLAGS:
        default = "" if flag.default is None else f" (default: {flag.default})"
        parser.add_argument(f"--{flag.name}", metavar="…", help=flag.help + default)
    return parser


def _joined(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """``--dim-hidden 4`` as ``--dim_hidden=4``, and how each flag was spelled.

    In one piece, so that argparse does not take the ``-1e-3`` of ``--lr -1e-3`` for a flag.
    """
    tokens: list[str] = []
    spelled = {}
    names = {flag.name for flag in FLAGS}
    waiting = False
    for text in argv:
        flag, equals, value = text.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        name = OTHER_NAMES.get(name, name)
        if flag.startswith("--") and name in names:
            spelled[name] = flag
            tokens.append(f"--{name}{equals}{value}")
            waiting = not equals
        elif waiting and not text.startswith("--"):
            tokens[-1] += f"={text}"
            waiting = False
        else:
            tokens.append(text)
            waiting = False
    return tokens, spelled


def options_of(argv: Sequence[str], prog: str) -> tuple[argparse.Namespace, dict[str, str]]:
    """The value of every flag, and the flags that were given, as they were spelled."""
    tokens, spelled = _joined(argv)
    found, unknown = _parser(prog).parse_known_args(tokens)
    if unknown:
        known = [*(flag.name for flag in FLAGS), *OTHER_NAMES]
        raise Mistake(no_flag(unknown[0], [f"--{name}" for name in known]))
    options = argparse.Namespace()
    for flag in FLAGS:
        text = getattr(found, flag.name, flag.default)
        name = spelled.get(flag.name, f"--{flag.name}")
        setattr(options, flag.name, None if text is None else flag.parse(name, text))
    return options, spelled
