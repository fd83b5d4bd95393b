"""Runs that printed what the report's runs did, without having been made."""

from __future__ import annotations

import numpy as np

import xpnet as xn
from report import runs, target


def echo(printed, backend="numpy", dtype="float64"):
    """A run that printed just what the report's run did, without having been made."""
    rng = np.random.default_rng(0)
    x, y = xn.datasets.xor() if printed.dataset == "xor" else xn.datasets.linear(100, 0)
    network = xn.Sequential(xn.Linear(2, 4), xn.Linear(4, 4), xn.Linear(4, 1))
    lines = [f"Epoch: {e}, loss: {loss:.6f}, acc: {acc:.6f}." for e, loss, acc in printed.log]
    end = f"[INFO]: Accuracy reaches 1.0. Early stop at epoch {printed.stop}. Final prediction:"
    return runs.OurRun(
        printed=printed,
        argv=runs.command(printed, target.Target(backend, None, dtype)),
        options={},
        console=(*lines, end, "[[0.5]]"),
        loss=np.linspace(0.7, 0.1, 50),
        accuracy=np.linspace(0.5, 1.0, 50),
        seconds=0.1,
        interrupted=False,
        diverged=0,
        weights=network.unflatten(network.init(rng, like=x)),
        field=rng.uniform(size=runs.grid()[0].shape),
        x=x,
        y=y,
    )
