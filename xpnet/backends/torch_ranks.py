"""``torch.distributed`` as the way in which the processes of a training talk."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.distributed.comm import Communicator


class TorchCommunicator(Communicator):
    """The module ``torch.distributed``, whose default group it is then, or a group of its own.

    Raises:
        TypeError: if it is neither.
        ValueError: if no group has been made yet.
    """

    def __init__(self, comm: Any) -> None:
        self.torch = importlib.import_module("torch")
        self.dist = importlib.import_module("torch.distributed")
        module = isinstance(comm, ModuleType)
        if not self.dist.is_available():
            raise ValueError("comm must be of a PyTorch that was built with torch.distributed.")
        if not (comm is self.dist if module else isinstance(comm, self.dist.ProcessGroup)):
            raise TypeError(
                f"comm must be torch.distributed or a group of it, not {checks.shown(comm)}."
            )
        if not self.dist.is_initialized():
            raise ValueError(
                "comm must be ready, but torch.distributed is not; call "
                'torch.distributed.init_process_group("gloo") before fit.'
            )
        self.group = None if module else comm
        self.size = self.dist.get_world_size(self.group)
        self.rank = self.dist.get_rank(self.group)
        gpu = self.dist.get_backend(self.group) == "nccl"
        self.device = self.torch.device("cuda" if gpu else "cpu")

    def takes(self, array: Any) -> bool:
        return isinstance(array, self.torch.Tensor) and array.device.type == self.device.type

    def sum(self, values: Any) -> None:
        own = self.torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        there = own.to(self.device)
        self.dist.all_reduce(there, group=self.group)
        if there is not own:
            own.copy_(there)

    def from_rank(self, value: Any, rank: int) -> Any:
        source = rank if self.group is None else self.dist.get_global_rank(self.group, rank)
        values = [value]
        self.dist.broadcast_object_list(values, src=source, group=self.group)
        return values[0]
