"""The flags of training: their names, defaults and meaning, and how what was typed is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xpnet import backends, checks
from xpnet._optional import optional
from xpnet.cli.parts import OPTIMIZERS, SCHEDULES, SEEDS
from xpnet.cli.program import Mistake, Parser, no_flag
from xpnet.datasets import DATASETS, PIXELS, TABLES
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


def _or_none(parse: Parse) -> Parse:
    def or_none(flag: str, text: str) -> Any:
        if text.lower() == "none":
            return None
        try:
            return parse(flag, text)
        except (TypeError, ValueError) as error:
            raise ValueError(str(error).replace(", not", ", or none, not")) from None

    return or_none


def _widths(flag: str, text: str) -> list[int]:
    try:
        return [_whole(1, WIDEST)(flag, width) for width in text.split(",")]
    except (TypeError, ValueError):
        raise ValueError(
            f"{flag} must be whole numbers from 1 to {WIDEST}, such as 512,256, not {text!r}."
        ) from None


def _converted(kind: type, text: str) -> Any:
    """The number that ``text`` writes, or ``text`` itself, for the check to refuse."""
    try:
        return kind(text)
    except ValueError:
        return text


WIDEST = 10**6
"""How many units a layer may have."""


@dataclass(frozen=True)
class Flag:
    """A flag: its name, its default as one would type it (``None``: not set), its meaning.

    The defaults are the report's, for its data sets; some are others for the tables.
    """

    name: str
    default: str | None
    parse: Parse
    help: str
    of_tables: str | None = None
    bare: bool = False
    """Whether it may stand alone, for True."""

    def default_for(self, dataset: str) -> str | None:
        """The default for a data set."""
        return self.default if self.of_tables is None or dataset in DATASETS else self.of_tables

    @property
    def told(self) -> str:
        """Its meaning and its defaults, for the help."""
        if self.default is None:
            return self.help
        other = "" if self.of_tables is None else f"; of tables {self.of_tables}"
        return f"{self.help} (default: {self.default}{other})"


_rate = _number(least=0, below=1)

NATIVE: dict[str, bool | str] = {"auto": "auto", "yes": True, "no": False}
"""What ``--native`` may say, as `xpnet.fit` has it."""


def refused_native(native: str, backend: Any) -> str:
    """Why ``--native`` cannot be what it is, after its name; empty where it can."""
    if native != "yes":
        return ""
    if not backend.native:
        return f" must be auto or no with --backend {backend.name}, not yes: {backend.not_native}."
    try:
        optional(backend.compiler, " yes")
    except ImportError as error:
        return str(error)
    return ""


FLAGS = (
    Flag(
        "dataset",
        "linear",
        _one_of(lambda: [*DATASETS, *TABLES]),
        f"{'|'.join(DATASETS)}, the report's, or a table: {'|'.join(TABLES)}",
    ),
    Flag("num_data", "100", _whole(1, 10**8), "points of the linear data; xor has its 21"),
    Flag(
        "data_seed",
        "0",
        _or_none(_whole(0)),
        "seed of the linear data, and of who is kept for --validation and --test; "
        "none draws anew each time",
    ),
    Flag("validation", "0", _rate, "part of the samples to validate on", "0.2"),
    Flag("test", "0", _rate, "part of the samples that are kept for the end alone", "0.2"),
    Flag(
        "standardize",
        None,
        _switch,
        "True|False: features of mean 0 and variance 1 (default: True of tables, but for pixels)",
    ),
    Flag("backend", "numpy", _one_of(lambda: backends.NAMES), "|".join(backends.NAMES)),
    Flag("device", None, _text, "the library's name of a device, such as cpu or cuda:1"),
    Flag(
        "dtype", "float64", _one_of(lambda: ("float64", "float32"), alike=False), "float64|float32"
    ),
    Flag(
        "native",
        "auto",
        _one_of(lambda: list(NATIVE), alike=False),
        "auto|yes|no: whether NumPy's steps become machine code (needs llvmlite)",
    ),
    Flag("num_hidden", "2", _whole(0, 1000), "hidden layers, 0 for none"),
    Flag("dim_hidden", "4", _whole(1, WIDEST), "units of each hidden layer", "64"),
    Flag("hidden", None, _widths, "in place of both, the units layer by layer: 512,256"),
    Flag("activation", "relu", _one_of(lambda: list(ACTIVATIONS)), "|".join(ACTIVATIONS)),
    Flag("dropout", "0", _rate, "part of the units of hidden layers that a step leaves out"),
    Flag("seed", "42", _whole(0, SEEDS - 1), "seed of the initial weights"),
    Flag("members", None, _whole(1, 10**7), "train so many at once, with seed, seed + 1, …"),
    Flag(
        "optim",
        "vanilla",
        _one_of(lambda: list(OPTIMIZERS)),
        "see below; vanilla is plain SGD",
        "adam",
    ),
    Flag("lr", "1e-2", _number(least=0), "learning rate", "1e-3"),
    Flag("momentum", None, _number(least=0), "momentum"),
    Flag("beta1", None, _rate, "decay of the mean gradient"),
    Flag("beta2", None, _rate, "decay of the mean squared gradient"),
    Flag("alpha", None, _rate, "decay of the mean squared gradient (rmsprop)"),
    Flag("eps", None, _number(least=0), "what is added to the root"),
    Flag("weight_decay", None, _number(least=0), "weight decay"),
    Flag("amsgrad", None, _switch, "True|False"),
    Flag(
        "schedule",
        "constant",
        _one_of(lambda: list(SCHEDULES)),
        "how the learning rate goes on, see below",
    ),
    Flag("decay", None, _number(above=0, most=1), "by what --schedule lowers it (0.1 if not said)"),
    Flag(
        "decay_every",
        None,
        _whole(1),
        "after how many epochs it does so, or begins again (a third of all)",
    ),
    Flag("warmup", "0", _whole(0), "epochs in which the learning rate rises from 0 before"),
    Flag("batch_size", "none", _or_none(_whole(1)), "samples of a step; none for all", "32"),
    Flag("num_epochs", "30000", _whole(1), "epochs at most", "200"),
    Flag(
        "acc_goal",
        "1.0",
        _or_none(_number(above=0, most=1)),
        "stop at this accuracy in training; none for no goal",
        "none",
    ),
    Flag(
        "patience",
        "none",
        _or_none(_whole(1)),
        "stop after so many checks without an improvement in validation; none to go on",
        "20",
    ),
    Flag(
        "check_every",
        "100",
        _whole(1),
        "how many epochs lie between two looks at goal and validation; 1 with --validation",
    ),
    Flag(
        "epoch_logging",
        "2000",
        _whole(1),
        "how many epochs lie between two log lines; members with --scheduler or --workers",
        "10",
    ),
    Flag("is_writer_logging", "True", _switch, "True|False: loss and accuracy for TensorBoard"),
    Flag("dir_writer", "./runs/", _text, "folder of the TensorBoard logs, one folder in it a run"),
    Flag("is_image_saving", "True", _switch, "True|False: a picture of what was learnt, and how"),
    Flag("dir_output", "./outputs/", _text, "folder of the pictures"),
    Flag("save", None, _text, "file for the network at the end, which xpnet.load reads"),
    Flag("checkpoint", None, _text, "folder of checkpoints, from which --resume goes on"),
    Flag("checkpoint_every", "10", _whole(1), "how many epochs lie between two checkpoints"),
    Flag("resume", None, _text, "checkpoint to go on from, or their folder; anew if it has none"),
    Flag("scheduler", None, _text, "address of a Dask scheduler, to whose workers members go"),
    Flag("workers", None, _whole(1, 10**4), "deal members out to so many Dask workers made here"),
    Flag(
        "mpi",
        "False",
        _switch,
        "train with the other processes of mpiexec, each on a part of the samples",
        bare=True,
    ),
)


OTHER_NAMES = {"epoch_checking": "check_every"}
"""Flags by the names that they have in the report."""

ARGUMENTS = {"epochs": "num_epochs", "path": "checkpoint"}
"""Flags by the names of arguments that they become, where these are others."""


_SAMPLES = "--dataset, --num_data, --data_seed, --validation, --test and --dtype"

DECIDED_BY = {
    "network": "--dataset, --hidden or --num_hidden and --dim_hidden, --activation, --dropout and "
    "--standardize",
    "loss": "--dataset",
    "optimizer": "--optim, --lr, --schedule and the flags that these take, --num_epochs and "
    "--batch_size of a schedule",
    "x": _SAMPLES,
    "y": _SAMPLES,
    "validation": _SAMPLES,
    "metrics": "--dataset and --validation",
    "noise_seed": "--seed",
    "every_epoch": "--num_epochs and --members",
}
"""The flags from which arguments follow that are none of their own."""


def as_typed(error: Exception, spelled: dict[str, str]) -> Mistake:
    """The sentence of a library that says ``resume must be …`` to who typed ``--resume``."""
    argument, _, rest = str(error).partition(" ")
    name = ARGUMENTS.get(argument, argument)
    known = name in {flag.name for flag in FLAGS}
    flag = spelled.get(name, f"--{name}" if known else argument)
    if argument in DECIDED_BY:
        flag = f"{argument}, which follows from {DECIDED_BY[argument]},"
    rest = rest.replace("fit be given the same as resume", "resume be given the same")
    return Mistake(f"{flag} {rest.replace(' resume', ' --resume')}")


# ---- reading what was typed


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        usage=f"{prog} [--flag value ...]",
        description="Train a network on one of the report's data sets, or on a table.",
        epilog=f"optimizers, and the flags besides --lr that each takes:\n{_taken(OPTIMIZERS)}\n"
        f"schedules, and theirs:\n{_taken(SCHEDULES)}\n"
        "Flags may be written with dashes too: --dim-hidden. The report calls --check_every "
        "--epoch_checking.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for flag in FLAGS:
        alone: dict[str, Any] = {"nargs": "?", "const": "True"} if flag.bare else {}
        parser.add_argument(f"--{flag.name}", metavar="…", help=flag.told, **alone)
    return parser


def _taken(table: dict[str, tuple[Any, tuple[str, ...]]]) -> str:
    return "".join(
        f"  {name:11} {' '.join('--' + flag for flag in flags)}".rstrip() + "\n"
        for name, (_, flags) in table.items()
    )


def _joined(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """``--dim-hidden 4`` as ``--dim_hidden=4``, and how each flag was spelled.

    In one piece, so that argparse does not take the ``-1e-3`` of ``--lr -1e-3`` for a flag.
    """
    tokens: list[str] = []
    spelled: dict[str, str] = {}
    names = {flag.name for flag in FLAGS}
    waiting = False
    for text in argv:
        flag, equals, value = text.partition("=")
        typed = flag.removeprefix("--").replace("-", "_")
        name = OTHER_NAMES.get(typed, typed)
        if flag.startswith("--") and name in names:
            before = spelled.get(name, flag)
            if before.removeprefix("--").replace("-", "_") != typed:
                raise Mistake(
                    f"{flag} must be left out where {before} is given, which is the same flag."
                )
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
    for flag in FLAGS:  # the data set first, which the others' defaults depend on
        dataset = getattr(options, "dataset", "")
        text = getattr(found, flag.name, flag.default_for(dataset))
        name = spelled.get(flag.name, f"--{flag.name}")
        setattr(options, flag.name, None if text is None else flag.parse(name, text))
    _follow(options, spelled)
    return options, spelled


def _follow(options: argparse.Namespace, spelled: dict[str, str]) -> None:
    """Set what follows from other flags where it was not given; raise where they do not agree."""
    if options.validation:
        options.check_every = options.check_every if "check_every" in spelled else 1
    elif "patience" in spelled and options.patience:
        raise Mistake(
            f"{spelled['patience']} needs --validation, the part of the samples to watch."
        )
    else:
        options.patience = None
    if options.standardize is None:
        options.standardize = options.dataset not in (*DATASETS, *PIXELS)
    if "checkpoint_every" in spelled and options.checkpoint is None:
        raise Mistake(f"{spelled['checkpoint_every']} needs --checkpoint, the folder for them.")
    kept = next((spelled[name] for name in ("checkpoint", "resume") if name in spelled), None)
    if kept and options.data_seed is None:
        raise Mistake(
            f"{spelled['data_seed']} must be a number with {kept}, not none: what is drawn anew "
            "each time is not what a run could go on with."
        )
    _follow_cluster(options, spelled)
    if options.mpi and options.data_seed is None:
        raise Mistake(
            f"{spelled['data_seed']} must be a number with {spelled['mpi']}, so that all processes "
            "have the same samples, not none."
        )
    if options.hidden is None:
        options.hidden = [options.dim_hidden] * options.num_hidden
    else:
        for name in ("num_hidden", "dim_hidden"):
            if name in spelled:
                hidden = spelled["hidden"]
                raise Mistake(f"{spelled[name]} must be left out where {hidden} says the layers.")
    if options.dropout and not options.hidden:
        raise Mistake(f"{spelled['dropout']} needs hidden layers, of which there are none.")


def _follow_cluster(options: argparse.Namespace, spelled: dict[str, str]) -> None:
    """Raise where a cluster is asked for what it cannot do."""
    asked = next((spelled[name] for name in ("scheduler", "workers") if name in spelled), None)
    if asked is None:
        return
    if options.members is None:
        raise Mistake(f"{asked} needs --members, the number of networks to deal out.")
    if "checkpoint_every" in spelled:
        raise Mistake(
            f"{spelled['checkpoint_every']} must be left out with {asked}: each block of members "
            "is written once it is done."
        )
