"""Trainings that go beyond one machine."""

from xpnet.distributed.kept import BlockFailed, Recorded
from xpnet.training.callback import Dealt

__all__ = ["BlockFailed", "Dealt", "Recorded"]
