"""Where runs are made: the options that say so, and what may be wrong with them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xpnet import backends
from xpnet.cli.flags import NATIVE, refused_native
from xpnet.cli.program import Mistake


@dataclass(frozen=True)
class Target:
    """Where the runs are made."""

    backend: str = "numpy"
    device: str | None = None
    dtype: str = "float64"
    native: str = "auto"

    @classmethod
    def of(cls, options: argparse.Namespace) -> Target:
        """What the options of `add_options` say."""
        return cls(options.backend, options.device, options.dtype, options.native)

    def prepare(self) -> backends.Backend:
        """The backend, tried out; raises ``ValueError`` for a mistake of the user's."""
        if self.dtype not in ("float64", "float32"):
            raise ValueError(f"--dtype must be float64 or float32, not {self.dtype!r}.")
        try:
            backend = backends.get(self.backend, self.device)
            backend.prepare(self.dtype)
            backend.probe()
            if refused := refused_native(self.native, backend):
                raise ValueError(f"native{refused}")  # the user typed --native
        except (
            ValueError
        ) as error:  # the library says "backend must be …"; the user typed --backend
            raise ValueError(f"--{error}") from error
        return backend


def add_options(parser: argparse.ArgumentParser) -> None:
    """Ask for a `Target`."""
    parser.add_argument("--backend", default="numpy", help=", ".join(backends.NAMES))
    parser.add_argument("--device", help="the library's name of a device, such as cuda:1")
    parser.add_argument("--dtype", default="float64", help="float64 (as the report) or float32")
    parser.add_argument(
        "--native",
        default="auto",
        choices=list(NATIVE),
        help="whether NumPy's steps become machine code, which needs llvmlite (auto)",
    )


@contextmanager
def mistakes() -> Iterator[None]:
    """Before the runs, a wrong value or a package that is missing is a mistake of the user's."""
    try:
        yield
    except ValueError as error:
        raise Mistake(str(error)) from error
    except ImportError as error:
        raise Mistake(
            f"the page needs {error.name}; install it with: pip install {error.name}"
        ) from error
