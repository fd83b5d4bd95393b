"""A case by the library's runner, by the plain loop and by PyTorch, each within the radii."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import xpnet as xn
from tests.fuzz.cases import Case
from tests.fuzz.check import Difference, Tally, check, check_trained, within
from tests.fuzz.truth import Truth, truth
from tests.fuzz.updates import BY_POWERS
from xpnet.backends.base import Backend

# ---- the ways to compute


@contextmanager
def plain_loop(backend: Backend) -> Iterator[None]:
    """The library without a runner of its own, as the base class has it."""
    kind = type(backend)
    own = {name: getattr(kind, name) for name in ("runner", "workers", "kept")}
    for name in own:
        setattr(kind, name, getattr(Backend, name))
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(kind, name, method)


@contextmanager
def small_as_large(backend: Backend) -> Iterator[None]:
    """Run small arrays as large ones are run: in blocks of few bytes, fused, in pieces."""
    before = []
    if backend.name == "numpy":
        from xpnet.compiler.writers.numpy import NumPyProgram

        before.append((NumPyProgram.__init__, "__defaults__", (None, 8)))
    elif backend.name == "torch":
        from xpnet.compiler.writers import torch as torch_program

        before.append((torch_program, "LARGE", 1))
    elif backend.name == "jax":
        from xpnet.backends.jax import program as jax_program

        before.append((jax_program, "LARGE", 1))
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in before]
    try:
        for owner, name, value in before:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


@dataclass
class Result:
    """What each `fit` gave, on the host: ``theta``, and behind it the state of the layers."""

    histories: list[xn.History]
    trained: list[np.ndarray]


def train(case: Case, backend: Backend) -> Result:
    """By xpnet's `fit`, once or twice in a row."""
    name, options = case.optimizer
    optimizer = getattr(xn, name)(**_on(backend, options, case.dtype))
    arrays = {
        key: None if array is None else backend.asarray(array, str(array.dtype))
        for key, array in (("x", case.samples()), ("y", case.y), ("sample_weight", case.weight))
    }
    x, y = arrays.pop("x"), arrays.pop("y")
    fitted = {**case.options, **arrays, "loss": case.criterion(), "optimizer": optimizer}
    fitted["shuffle_seed"] = np.random.default_rng(case.options["shuffle_seed"])
    start = (
        {"theta": backend.asarray(case.theta, case.dtype)}
        if case.seed is None
        else {"seed": case.seed, "members": case.members}
    )
    result = Result([], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for epochs in filter(None, case.epochs):
            model = xn.fit(case.network(), x, y, epochs=epochs, **fitted, **start)
            result.histories.append(model.history)
            arrays = [model.theta, *(model.layer_state or {}).values()]
            if "ema_decay" in options:
                arrays.append(model.state["ema"])
            host = [backend.to_host(array) for array in arrays]
            lead = host[0].shape[:-1]
            result.trained.append(np.concatenate([a.reshape(*lead, -1) for a in host], axis=-1))
            start = {
                "theta": model.theta, "state": model.state, "layer_state": model.layer_state
            }  # fmt: skip
            if np.any(model.history.stop) or np.any(model.history.diverged):
                break
    return result


def _on(backend: Backend, options: dict[str, Any], dtype: str) -> dict[str, Any]:
    def brought(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(brought, value))
        return backend.asarray(value, "float64") if np.ndim(value) else value

    return {name: brought(value) for name, value in options.items()}


def check_peer(case: Case, true: Truth) -> Tally:
    """Hold PyTorch's own training in float64 to the truth; raises `Difference`."""
    from tests.fuzz.peers import train as train_peer

    tally = Tally()
    found, losses = train_peer(case)
    if case.optimizer[1].get("centered"):  # torch takes the root of a variance rounded below 0
        last = next((k for k, values in enumerate(found) if np.isnan(values).any()), len(found))
        true = replace(true, trained=true.trained[:last], loss=true.loss[: last - 1])
        found, losses = found[:last], losses[: last - 1]
    if case.optimizer[0] in BY_POWERS and case.dtype == "float64":
        true = truth(case, by_powers=True)
    for epoch, (values, ball) in enumerate(zip(found, true.trained, strict=True)):
        check_trained(tally, f"by torch.optim after epoch {epoch}", values, ball, case)
    for epoch, (loss, ball) in enumerate(zip(losses, true.loss, strict=True)):
        wide = np.broadcast_to(loss, ball.c.shape)
        within(tally, f"torch's loss of epoch {epoch + 1}", wide, ball)
    return tally


HAS_TORCH = importlib.util.find_spec("torch") is not None


def fits(case: Case, backend: Backend, true: Truth, plain: bool = True) -> Tally:
    """Compare what a library's runner gives, and its plain loop; raises `Difference`."""
    tally = Tally()
    with small_as_large(backend) if case.as_large else nullcontext():
        found = train(case, backend)
    check(case, found, true, tally)
    if plain and backend.name != "strict":  # whose own runner is the plain loop
        with plain_loop(backend):
            found = train(case, backend)
        try:
            check(case, found, true, tally)
        except Difference as difference:
            raise Difference(f"in the plain loop: {difference}") from None
    return tally


__all__ = ["Difference", "Tally", "check_peer", "fits", "truth"]
