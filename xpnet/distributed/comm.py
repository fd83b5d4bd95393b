"""How the processes of a training talk: by MPI, or by ``torch.distributed``.

Nothing here passes messages by itself. What is asked of either is a sum in place and a broadcast.
"""

from __future__ import annotations

import importlib
import os
import sys
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import numpy as np

from xpnet import backends, checks

CUDA = "XPNET_CUDA_MPI"
"""The variable of the environment by which MPI, built with CUDA, is handed arrays of a GPU as they
are, which has not been run yet."""


class Communicator(ABC):
    """Processes that train together.

    Attributes:
        size: how many there are.
        rank: which of them this is, from 0.
    """

    size: int
    rank: int

    @abstractmethod
    def sum(self, values: Any) -> None:
        """Put the sum over all ranks in place of each one's ``values``, which are contiguous: an
        array of the host, or one that it `takes`.
        """

    def takes(self, array: Any) -> bool:
        """Whether it sums up this array of a library where it lies."""
        return False

    @abstractmethod
    def from_rank(self, value: Any, rank: int) -> Any:
        """The ``value`` of that rank, whatever it is; what the others give is not looked at."""


class MPICommunicator(Communicator):
    """A communicator of mpi4py, or what has its ``Allreduce``, ``bcast``, ``Get_rank`` and
    ``Get_size``.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.size, self.rank = int(comm.Get_size()), int(comm.Get_rank())
        ours = type(comm).__module__.partition(".")[0] == "mpi4py"
        self._in_place: Any = sys.modules["mpi4py.MPI"].IN_PLACE if ours else None

    def takes(self, array: Any) -> bool:
        on_gpu = hasattr(array, "__cuda_array_interface__")
        return on_gpu and self._in_place is not None and os.environ.get(CUDA, "") not in ("", "0")

    def sum(self, values: Any) -> None:
        if self._in_place is not None:
            self.comm.Allreduce(self._in_place, values)
        else:
            total = np.empty_like(values)
            self.comm.Allreduce(values, total)
            values[...] = total

    def from_rank(self, value: Any, rank: int) -> Any:
        return self.comm.bcast(value, rank)


_ASKED = ("Allreduce", "bcast", "Get_rank", "Get_size")


def communicator(comm: Any) -> Communicator:
    """What ``fit(comm=…)`` was given, as a `Communicator`.

    Raises:
        TypeError, ValueError: if it is none, or not ready.
    """
    if (found := backends.communicator(comm)) is not None:
        ours: Communicator = found
        return ours
    if all(callable(getattr(comm, name, None)) for name in _ASKED) and not isinstance(comm, type):
        return MPICommunicator(comm)
    hint = ""
    if isinstance(comm, ModuleType) and comm.__name__.partition(".")[0] == "mpi4py":
        hint = "; use MPI.COMM_WORLD"
    raise TypeError(
        "comm must be a communicator such as MPI.COMM_WORLD of mpi4py, or torch.distributed, not "
        f"{checks.shown(comm)}{hint}."
    )


def world() -> Any:
    """``MPI.COMM_WORLD``, for a program.

    Raises:
        ImportError: if mpi4py, or the library of MPI that it needs, is not installed.
    """
    try:
        return importlib.import_module("mpi4py.MPI").COMM_WORLD
    except (ImportError, RuntimeError) as error:  # which it says where there is no library
        said = " ".join(checks.cut(str(error)).split())
        raise ImportError(
            f"training by MPI needs the package mpi4py, which could not be imported ({said}); "
            'install it with: pip install "xpnet[mpi]"'
        ) from error
