"""Training: `fit`, what it is asked for, and what it does until it returns."""

from __future__ import annotations

from xpnet.training.callback import Callback, Run
from xpnet.training.fit import fit
from xpnet.training.step import TrainingStep

__all__ = ["Callback", "Run", "TrainingStep", "fit"]
