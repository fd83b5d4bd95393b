"""The command line: what ``python -m xpnet``, ``xpnet`` and ``scripts/train.py`` share.

Exit status: 0 when training ran to its end, whether or not the goal was reached; 1 when the loss
became NaN or infinite (of an ensemble, that of every member); 2 for a mistake of the user's, told
in one sentence before anything is trained; 130 after Ctrl-C. Whatever ended it, what was done is
kept and the predictions are printed, or, of an ensemble, how the stops, losses and accuracies of
its members are distributed.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import xpnet as xn
from xpnet import _checks, backends, callbacks
from xpnet.datasets import DATASETS
from xpnet.layers import ACTIVATIONS

__all__ = ["Mistake", "Outcome", "main", "train"]

Write = Callable[[str], None]

FAILED, MISTAKE, BROKEN_PIPE, INTERRUPTED = 1, 2, 141, 130


class Mistake(ValueError):
    """What the user typed cannot be done; one sentence says why, and what would be right."""


@dataclass
class Outcome:
    """What a training run of the command line leaves behind.

    Attributes:
        options: every flag's value, by name.
        model: the trained `xpnet.Model`.
        x, y: the data on the host.
        backend: where it was trained.
        seconds: how long the epochs took.
        output: what was written, by kind: the folder ``"tensorboard"``, the file ``"picture"``.
    """

    options: argparse.Namespace
    model: xn.Model
    x: np.ndarray
    y: np.ndarray
    backend: backends.Backend
    seconds: float
    output: dict[str, Path]


# ---- the flags

Parse = Callable[[str, str], Any]


def _number(**bounds: float) -> Parse:
    def parse(flag: str, text: str) -> float:
        return _checks.number(flag, _converted(float, text), **bounds)

    return parse


def _whole(least: int, most: int = 10**9) -> Parse:
    def parse(flag: str, text: str) -> int:
        value = _checks.whole(flag, _converted(int, text), least=least)
        if value > most:
            raise ValueError(f"{flag} must be a whole number of at most {most}, not {value}.")
        return value

    return parse


def _one_of(choices: Callable[[], Sequence[str]]) -> Parse:
    return lambda flag, text: _checks.one_of(flag, text, choices())


def _switch(flag: str, text: str) -> bool:
    known = {"true": "True", "false": "False"}
    return _checks.one_of(flag, known.get(text.lower(), text), known.values()) == "True"


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


_SEEDS = 2**32
"""How many seeds the legacy generator knows."""

FLAGS = (
    Flag("dataset", "linear", _one_of(lambda: list(DATASETS)), "|".join(DATASETS)),
    Flag("num_data", "100", _whole(1, 10**8), "points of the linear data; xor has its 21"),
    Flag("data_seed", "0", _seed_or_none, "seed of the linear data; none draws anew each time"),
    Flag("backend", "numpy", _one_of(lambda: backends.NAMES), "|".join(backends.NAMES)),
    Flag("device", None, _text, "the library's name of a device, such as cpu or cuda:1"),
    Flag("dtype", "float64", _one_of(lambda: ("float64", "float32")), "float64|float32"),
    Flag("num_hidden", "2", _whole(0, 1000), "hidden layers, 0 for none"),
    Flag("dim_hidden", "4", _whole(1, 10**6), "units of each hidden layer"),
    Flag("activation", "relu", _one_of(lambda: list(ACTIVATIONS)), "|".join(ACTIVATIONS)),
    Flag("seed", "42", _whole(0, _SEEDS - 1), "seed of the initial weights"),
    Flag("members", None, _whole(1, 10**7), "train so many at once, with seed, seed + 1, …"),
    Flag("optim", "vanilla", _one_of(lambda: list(OPTIMIZERS)), "see below"),
    Flag("lr", "1e-2", _number(above=0), "learning rate"),
    Flag("momentum", None, _number(least=0), "momentum"),
    Flag("beta1", None, _number(least=0, below=1), "decay of the mean gradient"),
    Flag("beta2", None, _number(least=0, below=1), "decay of the mean squared gradient"),
    Flag("alpha", None, _number(least=0, below=1), "decay of the mean squared gradient (rmsprop)"),
    Flag("eps", None, _number(least=0), "what is added to the root"),
    Flag("weight_decay", None, _number(least=0), "weight decay"),
    Flag("amsgrad", None, _switch, "True|False"),
    Flag("num_epochs", "30000", _whole(1), "epochs at most"),
    Flag("acc_goal", "1.0", _number(above=0, most=1), "stop at this accuracy"),
    Flag("epoch_checking", "100", _whole(1), "how many epochs lie between two looks at the goal"),
    Flag("epoch_logging", "2000", _whole(1), "how many epochs lie between two log lines"),
    Flag("is_writer_logging", "True", _switch, "True|False: loss and accuracy for TensorBoard"),
    Flag("dir_writer", "./runs/", _text, "folder of the TensorBoard logs, one folder in it a run"),
    Flag("is_image_saving", "True", _switch, "True|False: a picture of truth and prediction"),
    Flag("dir_output", "./outputs/", _text, "folder of the pictures"),
)


def _adam(make: Callable[..., xn.Optimizer]) -> Callable[..., xn.Optimizer]:
    def made(beta1: float = 0.9, beta2: float = 0.999, **numbers: Any) -> xn.Optimizer:
        return make(betas=(beta1, beta2), **numbers)

    return made


def _nesterov(momentum: float = 0.9, **numbers: Any) -> xn.Optimizer:
    return xn.Momentum(momentum=momentum, nesterov=True, **numbers)


OPTIMIZERS: dict[str, tuple[Callable[..., xn.Optimizer], tuple[str, ...]]] = {
    "vanilla": (xn.SGD, ("weight_decay",)),
    "momentum": (xn.Momentum, ("momentum", "weight_decay")),
    "nesterov": (_nesterov, ("momentum", "weight_decay")),
    "adagrad": (xn.AdaGrad, ("eps", "weight_decay")),
    "rmsprop": (xn.RMSprop, ("alpha", "eps", "momentum", "weight_decay")),
    "adam": (_adam(xn.Adam), ("beta1", "beta2", "eps", "weight_decay", "amsgrad")),
    "adamw": (_adam(xn.AdamW), ("beta1", "beta2", "eps", "weight_decay", "amsgrad")),
}
"""The optimizers by name: what makes one, and the flags besides ``--lr`` that it takes."""


# ---- reading what was typed


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # What is left for argparse to find is a flag without its value.
        raise Mistake(f"{message.removeprefix('argument ').replace(': ', ' ', 1)}.")


def _parser(prog: str) -> argparse.ArgumentParser:
    optimizers = "".join(
        f"  {name:9} {' '.join('--' + flag for flag in flags)}\n"
        for name, (_, flags) in OPTIMIZERS.items()
    )
    parser = _Parser(
        prog=prog,
        usage=f"{prog} [--flag value ...]",
        description="Train a network on one of the report's data sets.",
        epilog=f"optimizers, and the flags besides --lr that each takes:\n{optimizers}\n"
        "Flags may be written with dashes too: --dim-hidden.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
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


def _options(argv: Sequence[str], prog: str) -> tuple[argparse.Namespace, dict[str, str]]:
    """The value of every flag, and the flags that were given, as they were spelled."""
    tokens, spelled = _joined(argv)
    found, unknown = _parser(prog).parse_known_args(tokens)
    if unknown:
        typed = unknown[0].partition("=")[0]
        names = [flag.name for flag in FLAGS]
        near = difflib.get_close_matches(typed.strip("-").replace("-", "_"), names, n=1)
        hint = f"did you mean --{near[0]}?" if near else "--help lists the flags."
        raise Mistake(f"{typed} is no flag of this program; {hint}")
    options = argparse.Namespace()
    for flag in FLAGS:
        text = getattr(found, flag.name, flag.default)
        name = spelled.get(flag.name, f"--{flag.name}")
        setattr(options, flag.name, None if text is None else flag.parse(name, text))
    return options, spelled


# ---- the parts of a run


def _backend(options: argparse.Namespace, spelled: dict[str, str]) -> backends.Backend:
    try:
        backend = backends.get(options.backend, options.device)
        backend.prepare(options.dtype)
        backend.probe()
    except ValueError as error:
        # The library says "device must be …"; the user typed --device.
        name, _, rest = str(error).partition(" ")
        raise Mistake(f"{spelled.get(name, f'--{name}')} {rest}") from error
    return backend


def network(
    in_features: int, num_hidden: int = 2, dim_hidden: int = 4, activation: str = "relu"
) -> xn.Sequential:
    """The report's network: hidden layers with their activation, one output, a sigmoid on it."""
    layers: list[xn.Layer] = []
    width = in_features
    for _ in range(num_hidden):
        layers += [xn.Linear(width, dim_hidden), ACTIVATIONS[activation]()]
        width = dim_hidden
    return xn.Sequential(*layers, xn.Linear(width, 1), xn.Sigmoid())


class Seeds(Sequence[np.random.RandomState]):
    """A generator a member: that of ``first``, ``first + 1`` …, made when it is asked for.

    The legacy generator: that of the report, whose numbers come out to the last digit.
    """

    def __init__(self, first: int, members: int) -> None:
        self._seeds = range(first, first + members)

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, i: Any) -> Any:
        return np.random.RandomState(self._seeds[i])


def _optimizer(options: argparse.Namespace, spelled: dict[str, str]) -> xn.Optimizer:
    make, takes = OPTIMIZERS[options.optim]
    for name, flag in spelled.items():
        takers = [optim for optim, (_, flags) in OPTIMIZERS.items() if name in flags]
        if takers and name not in takes:
            raise Mistake(f"{flag} is for --optim {'|'.join(takers)}, not {options.optim}.")
    if options.optim == "nesterov" and options.momentum == 0:
        raise Mistake(f"{spelled['momentum']} must be above 0 for --optim nesterov, not 0.")
    chosen = {name: getattr(options, name) for name in takes if name in spelled}
    return make(lr=options.lr, **chosen)


class _Clock(xn.Callback):
    """How long the epochs took, without the closing of files and the pictures behind them."""

    seconds = 0.0

    def start(self, run: xn.Run) -> None:
        self.began = time.perf_counter()

    def finish(self, run: xn.Run) -> None:
        self.seconds = time.perf_counter() - self.began


def _outputs(options: argparse.Namespace, spelled: dict[str, str]) -> dict[str, Path]:
    """What is to be written; the folders are made here."""
    network = f"{options.activation}-{options.num_hidden}x{options.dim_hidden}"
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
    return output


def _watchers(
    options: argparse.Namespace, spelled: dict[str, str], output: dict[str, Path], write: Write
) -> list[xn.Callback]:
    """The callbacks that the flags ask for; takes out of ``output`` what there is no package for.

    A missing package is a mistake where its flag was given, and else a line on stderr.
    """
    title = f"{options.dataset}, {options.optim}, {options.activation}, lr {options.lr:g}"
    if options.members:
        last = options.seed + options.members - 1
        title += f", {options.members} members, seeds {options.seed} to {last}"
    made: list[xn.Callback] = [callbacks.LogLines(options.epoch_logging, write)]
    makers: list[tuple[str, str, Callable[[], xn.Callback]]] = [
        ("bar", "", callbacks.ProgressBar),
        ("tensorboard", "is_writer_logging", lambda: callbacks.TensorBoard(output["tensorboard"])),
        ("picture", "is_image_saving", lambda: callbacks.Picture(output["picture"], title)),
    ]
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


# ---- the programs


def train(
    argv: Sequence[str],
    write: Write = print,
    extra_callbacks: Sequence[xn.Callback] = (),
    prog: str = "xpnet train",
) -> Outcome:
    """Train as the flags in ``argv`` say; ``write`` the log lines, the end and the predictions.

    Args:
        argv: flags and their values.
        write: is given every line of the output.
        extra_callbacks: told of the run besides those that the flags ask for.
        prog: what the help calls the program.

    Raises:
        Mistake: if what was asked for cannot be done; before anything is trained.
    """
    try:
        options, spelled = _options(argv, prog)
        backend = _backend(options, spelled)
        optimizer = _optimizer(options, spelled)
        x, y = DATASETS[options.dataset](options.num_data, options.data_seed)
        if options.members and options.seed + options.members > _SEEDS:
            raise Mistake(
                f"{spelled['members']} must be at most {_SEEDS - options.seed} with the seed "
                f"{options.seed}, since seeds end at {_SEEDS - 1}, not {options.members}."
            )
        net = network(x.shape[1], options.num_hidden, options.dim_hidden, options.activation)
        output = _outputs(options, spelled)
        watchers = _watchers(options, spelled, output, write)
        device_x, device_y = (backend.asarray(array, options.dtype) for array in (x, y))
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, Mistake) else Mistake(str(error)) from error
    if options.dataset == "xor":
        for name in spelled.keys() & {"num_data", "data_seed"}:
            print(
                f"[INFO]: {spelled[name]} changes nothing: xor has its 21 points.", file=sys.stderr
            )
    clock = _Clock()
    values = options.num_epochs * (options.members or 1)
    model = fit(
        net,
        device_x,
        device_y,
        loss=xn.BCE(),
        optimizer=optimizer,
        epochs=options.num_epochs,
        seed=Seeds(options.seed, options.members)
        if options.members
        else np.random.RandomState(options.seed),
        members=options.members,
        every_epoch=options.members is None or values <= _HISTORY,
        acc_goal=options.acc_goal,
        epoch_checking=options.epoch_checking,
        callbacks=[clock, *watchers, *extra_callbacks],
    )
    assert model.history is not None
    for kind, path in output.items():
        name = {"tensorboard": "TensorBoard"}.get(kind, kind.capitalize())
        print(f"[INFO]: {name}: {path}", file=sys.stderr)
    if options.members is None:
        write(_ending(options.acc_goal, model.history))
        write(str(backend.to_host(model(device_x))))
    else:
        write(_summary(options.acc_goal, model.history))
        write(_distribution(model.history))
    return Outcome(options, model, x, y, backend, clock.seconds, output)


def fit(*args: Any, **options: Any) -> xn.Model:
    """`xpnet.fit` for programs, which say themselves what became of a run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The loss .*ended the", RuntimeWarning)
        return xn.fit(*args, **options)


def _ending(goal: float, history: xn.History) -> str:
    if history.stop:
        return (
            f"[INFO]: Accuracy reaches {goal}. Early stop at epoch {history.stop}. "
            "Final prediction:"
        )
    last = "none" if history.accuracy is None else f"{history.accuracy[-1]:.6f}"
    if history.diverged:
        why = f"The loss is {history.loss[-1]} at epoch {history.diverged}, where training stops"
    elif history.interrupted:
        why = f"Interrupted after epoch {history.epochs}"
    else:
        why = f"The goal of {goal} is not reached in {history.epochs} epochs"
    return f"[WARNING]: {why}. Last accuracy: {last}. Final prediction:"


_HISTORY = 1 << 24
"""How many epochs × members of an ensemble are remembered; of more, those of the checks."""


def _summary(goal: float, history: xn.History) -> str:
    """The first line of the end of an ensemble."""
    stop, diverged = np.asarray(history.stop), np.asarray(history.diverged)
    arrived, lost = np.count_nonzero(stop), np.count_nonzero(diverged)
    text = (
        f"{'Interrupted: ' if history.interrupted else ''}{arrived} of {len(stop)} members "
        f"({arrived / len(stop):.1%}) reach the accuracy {goal} within {history.epochs} epochs."
    )
    if lost:
        text += f" The loss of {lost} became NaN or infinite, which ended their training."
    level = "INFO" if arrived else "WARNING"
    return f"[{level}]: {text} Distribution over the members:"


def _distribution(history: xn.History) -> str:
    """A table: quartiles of the stops, and of loss and accuracy as they were at the end."""
    stop = np.asarray(history.stop)
    rows = [("stop", np.where(stop > 0, stop, np.inf), "{:.0f}")]
    for name, values in (("loss", history.loss), ("accuracy", history.accuracy)):
        if values is not None and len(values):
            rows.append((f"last {name}", _last(values), "{:.6f}"))
    lines = [f"{'':13}" + "".join(f"{h:>12}" for h in ("min", "25 %", "median", "75 %", "max"))]
    for name, values, form in rows:
        known = values[~np.isnan(values)]
        # Without a mean of two neighbours: half of "never" is no epoch.
        quartiles = (
            np.quantile(known, np.linspace(0, 1, 5), method="inverted_cdf") if len(known) else []
        )
        cells = ("never" if np.isinf(q) else form.format(q) for q in quartiles)
        lines.append(f"{name:13}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _last(values: np.ndarray) -> np.ndarray:
    """The last entry of each member: before the NaN of those that were trained no longer."""
    there = ~np.isnan(values)
    row = len(values) - 1 - there[::-1].argmax(axis=0)
    return np.asarray(np.take_along_axis(values, row[None], axis=0)[0])


def _list_backends() -> None:
    rows = [("backend", "version", "devices, or why it cannot be used here")]
    for name, found in backends.available().items():
        rows.append((name, found.version or "-", found.reason or ", ".join(found.devices)))
    for name, version, text in rows:
        print(f"{name:8} {version:12} {text}")


_COMMANDS = ("train", "backends")
_USAGE = """\
usage: {prog} train [--flag value ...]   train a network on one of the report's data sets
       {prog} train --help               list the flags
       {prog} backends                   list the array libraries, and what each can do here
       {prog} --version"""


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command line and return the exit status, as this module says.

    Args:
        argv: ``train`` and its flags, ``backends``, ``--version`` or ``--help``;
            ``None`` for those of the process.
        prog: what messages and the help of ``train`` call the program.
    """
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    prog = prog or ("xpnet" if command.startswith("-") else f"xpnet {command}")
    try:
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
    except Mistake as mistake:
        print(f"{prog}: error: {mistake}", file=sys.stderr)
        return MISTAKE
    except MemoryError as error:
        print(
            f"{prog}: error: these sizes need more memory than there is: {error}", file=sys.stderr
        )
        return MISTAKE
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        # Before the first epoch, or pressed twice: there is nothing more to keep.
        print(f"{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
