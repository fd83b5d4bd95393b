"""The flags of ``fit``, ``predict``, ``evaluate``, ``export`` and ``info``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from xpnet import backends, checks
from xpnet.cli.program import Parser
from xpnet.layers import ACTIVATIONS
from xpnet.tables.network import ARCHITECTURES, EMBEDDINGS
from xpnet.tables.preparation import WAYS
from xpnet.tables.reading import NAMES
from xpnet.tables.target import TASKS

Kind = Callable[[str], Any]


def _checked(convert: Callable[[str], Any], check: Callable[[Any], Any]) -> Kind:
    """What makes argparse take values of a kind, and say in a sentence what is none."""

    def parse(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            value = text
        try:
            return check(value)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("it ")) from None

    return parse


def _whole(least: int) -> Kind:
    return _checked(int, lambda value: checks.whole("it", value, least=least))


def _number(**bounds: float) -> Kind:
    return _checked(float, lambda value: checks.number("it", value, **bounds))


def _one_of(choices: tuple[str, ...]) -> Kind:
    return _checked(str, lambda value: checks.one_of("it", value, choices))


_share = _number(least=0, below=1)

DATA = (
    "a file (csv, csv.gz, tsv, parquet, arrow, feather, npy, npz), or one of "
    f"{', '.join(NAMES)}; columns are found by their names"
)


def _fit(prog: str) -> Parser:
    parser = _parser(
        prog,
        "Train on a table, and keep the model, with all that it needs to take such a table.",
        f"{prog} DATA --target NAME [--flag value ...]",
    )
    add = parser.add_argument
    add("data", metavar="DATA", help=DATA)
    add("--target", required=True, metavar="NAME", help="the column that is predicted")
    _add(parser, "-o --output", "model.safetensors", str, "the file of the model")
    _add(parser, "--task", "auto", _one_of(TASKS), "|".join(TASKS))
    for name, what in (
        ("drop", "columns that are left out"),
        ("categories", "columns that are categories although they hold numbers"),
    ):
        add(f"--{name}", nargs="+", default=[], metavar="NAME", help=what)
    _add(parser, "--numbers", "standardize", _one_of(WAYS), "|".join(WAYS))
    _add(parser, "--members", 8, _whole(1), "how many networks are trained at once")
    add(
        "--hidden", nargs="+", type=_whole(1), default=[128, 64], metavar="UNITS",
        help="the units of the hidden layers, one after the other (default: 128 64)",
    )  # fmt: skip
    _add(parser, "--architecture", "mlp", _one_of(ARCHITECTURES), "|".join(ARCHITECTURES))
    embeddings = ("none", *EMBEDDINGS)
    _add(parser, "--embedding", "none", _one_of(embeddings), f"of numbers: {'|'.join(embeddings)}")
    _add(parser, "--activation", "relu", _one_of(tuple(ACTIVATIONS)), "|".join(ACTIVATIONS))
    _add(parser, "--dropout", 0.1, _share, "part of the hidden units that a step leaves out")
    _add(parser, "--epochs", 200, _whole(1), "epochs at most")
    _add(parser, "--batch-size", 256, _whole(1), "samples a step")
    _add(parser, "--lr", 1e-3, _number(above=0), "learning rate of AdamW")
    _add(parser, "--weight-decay", 1e-2, _number(least=0), "its decay of weights")
    _add(parser, "--validation", 0.2, _share, "part of the rows to validate on")
    _add(parser, "--patience", 16, _whole(1), "epochs without a better validation till the end")
    _add(parser, "--test", 0.2, _share, "part of the rows that are kept for the end alone")
    _add(parser, "--seed", 0, _whole(0), "seeds the parts, the weights and the order")
    _add(parser, "--dtype", "float32", _one_of(checks.FLOATS), "|".join(checks.FLOATS))
    _where(parser)
    return parser


def _predict(prog: str) -> Parser:
    parser = _asking(prog, "Predict the rows of a table, as csv.", data=True)
    parser.add_argument("-o", "--output", metavar="FILE", help="a csv (default: to the terminal)")
    parser.add_argument(
        "--probabilities", action="store_true", help="with a column of each class's probability"
    )
    _where(parser)
    return parser


def _evaluate(prog: str) -> Parser:
    parser = _asking(prog, "Say how well the target of a table is predicted.", data=True)
    parser.add_argument("--page", metavar="FILE", help="a page of figures and pictures, as html")
    _where(parser)
    return parser


def _export(prog: str) -> Parser:
    parser = _asking(prog, "Write the network in the format ONNX.", data=False)
    parser.add_argument("onnx", metavar="ONNX", help="the file, such as model.onnx")
    return parser


def _info(prog: str) -> Parser:
    return _asking(prog, "Say what is in the file of a model.", data=False)


def _asking(prog: str, does: str, data: bool) -> Parser:
    parser = _parser(prog, does, None)
    parser.add_argument("model", metavar="MODEL", help="what xpnet fit wrote")
    if data:
        parser.add_argument("data", metavar="DATA", help=DATA)
    return parser


def _parser(prog: str, does: str, usage: str | None) -> Parser:
    return Parser(prog=prog, usage=usage, description=does)


def _add(parser: Parser, names: str, default: Any, kind: Kind, what: str) -> None:
    """A flag with a default; a dash within its name may be an underscore."""
    flags = names.split()
    other = "--" + flags[-1][2:].replace("-", "_")
    parser.add_argument(
        *dict.fromkeys([other, *flags]),
        default=default,
        type=kind,
        metavar="…",
        help=f"{what} (default: {default})",
    )


def _where(parser: Parser) -> None:
    _add(parser, "--backend", "numpy", _one_of(backends.NAMES), "|".join(backends.NAMES))
    parser.add_argument("--device", metavar="…", help="such as cpu or cuda:1")


PARSERS: dict[str, Callable[[str], Parser]] = {
    "fit": _fit,
    "predict": _predict,
    "evaluate": _evaluate,
    "export": _export,
    "info": _info,
}
"""What reads the flags of each command."""
