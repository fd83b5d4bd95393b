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
from tests.fuzz import expected
from tests.fuzz.balls import FORMATS, Ball, exact
from tests.fuzz.cases import Case
from tests.fuzz.updates import UPDATES
from xpnet.backends.base import Backend


class Difference(AssertionError):
    """What two computations of a case do not agree on."""


@dataclass
class Tally:
    """What was compared.

    Attributes:
        numbers: how many.
        known: how many of them had a radius at all (the rest may overflow).
        sharp: how many to a thousandth of the largest of their kind, or better.
        worst: the greatest difference, in radii.
    """

    numbers: int = 0
    known: int = 0
    sharp: int = 0
    worst: float = 0.0

    def add(self, other: Tally) -> None:
        self.numbers += other.numbers
        self.known += other.known
        self.sharp += other.sharp
        self.worst = max(self.worst, other.worst)

    def __str__(self) -> str:
        share = 100 / max(1, self.numbers)
        return (
            f"{self.numbers} numbers, {self.known * share:.1f} % with a radius, "
            f"{self.sharp * share:.1f} % to a thousandth or better; the worst at "
            f"{self.worst:.2g} radii"
        )


@dataclass
class Truth:
    """``theta`` before each epoch and after the last, the loss and accuracy of each epoch."""

    theta: list[Ball]
    loss: list[Ball]
    accuracy: list[np.ndarray | None]


def truth(case: Case, **more: Any) -> Truth:
    """The training over `Ball`; ``more`` options go to the update."""
    format = FORMATS[case.dtype]
    x, t, w = case.prepared()
    theta, data = exact(format, case.theta64()), exact(format, x)
    weight = None if w is None else expected.relative(format, w)
    name, options = case.optimizer[0], {**case.optimizer[1], **more}
    state: dict[str, Any] = {}
    found = Truth([], [], [])
    with np.errstate(all="ignore"):
        for orders in case.orders():
            found.theta.append(theta)
            total: Any = None
            rate: Any = None
            for rows in orders:
                value, accuracy, grad = expected.step(
                    case.layers, case.loss, theta, data[:, rows], t[:, rows],
                    None if weight is None else weight[:, rows],
                )  # fmt: skip
                theta, state = UPDATES[name](theta, grad, state, **options)
                share = len(rows) / x.shape[-2]
                part = value * share if len(orders) > 1 else value
                total = part if total is None else total + part
                if accuracy is not None:
                    rate = accuracy * share + (0 if rate is None else rate)
            found.loss.append(total)
            found.accuracy.append(rate)
        found.theta.append(theta)
    return found


# ---- the ways to compute


@contextmanager
def plain_loop(backend: Backend) -> Iterator[None]:
    """The library without a runner of its own, as the base class has it."""
    kind = type(backend)
    own = {name: getattr(kind, name) for name in ("runner", "workers")}
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
        from xpnet.backends.numpy_program import NumPyProgram

        before.append((NumPyProgram.__init__, "__defaults__", (None, 8)))
    elif backend.name == "torch":
        from xpnet.backends import torch_program

        before.append((torch_program, "LARGE", 1))
    elif backend.name == "jax":
        from xpnet.backends import jax_program

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
    """What `fit` gave, on the host; ``first`` before it was gone on with."""

    histories: list[xn.History]
    thetas: list[np.ndarray]


def train(case: Case, backend: Backend) -> Result:
    """By xpnet's `fit`, once or twice in a row."""
    name, options = case.optimizer
    optimizer = getattr(xn, name)(**_on(backend, options, case.dtype))
    arrays = {
        key: None if array is None else backend.asarray(array, str(array.dtype))
        for key, array in (("x", case.x), ("y", case.y), ("sample_weight", case.weight))
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
            result.thetas.append(np.array(backend.to_host(model.theta)))
            start = {"theta": model.theta, "state": model.state}
            if np.any(model.history.stop) or np.any(model.history.diverged):
                break
    return result


def _on(backend: Backend, options: dict[str, Any], dtype: str) -> dict[str, Any]:
    def brought(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(brought, value))
        return backend.asarray(value, "float64") if np.ndim(value) else value

    return {name: brought(value) for name, value in options.items()}


# ---- the comparison


def _within(tally: Tally, what: str, found: np.ndarray, ball: Ball) -> None:
    """Raise unless ``found`` lies in the ball; what is not known is not looked at."""
    found = np.asarray(found, dtype=np.float64)
    if found.shape != ball.c.shape:
        raise Difference(f"{what} has the shape {found.shape}, not {ball.c.shape}")
    known = np.isfinite(ball.r)
    gap = np.where(known, abs(found - ball.c), 0.0)
    wrong = ~(gap <= ball.r) & known
    if wrong.any():
        at = tuple(int(i[0]) for i in np.nonzero(wrong))
        raise Difference(
            f"{what}{list(at)} is {found[at]!r}, not {ball.c[at]!r} ± {ball.r[at]:.3g}"
        )
    tally.numbers += gap.size
    tally.known += int(known.sum())
    largest = np.max(abs(ball.c[known]), initial=0.0)
    tally.sharp += int(np.sum(ball.r[known] <= 1e-3 * largest))
    tally.worst = max(tally.worst, float(np.max(gap / np.where(gap > 0, ball.r, 1), initial=0)))


def _row(ball: Ball, i: int) -> Ball:
    return ball[i : i + 1]


def check(case: Case, result: Result, true: Truth, tally: Tally) -> None:
    """Hold what `fit` gave to the truth, and its stops and divergences to its own rules."""
    done = 0
    u = FORMATS[case.dtype].u
    parts = [e for e in case.epochs if e]
    for epochs, history, theta in zip(parts, result.histories, result.thetas, strict=False):
        looks = _looks(epochs, case.options["epoch_checking"])
        stops, fails = np.atleast_1d(history.stop), np.atleast_1d(history.diverged)
        rows = list(range(1, epochs + 1)) if case.options["every_epoch"] else looks
        loss = history.loss[:, None] if case.members is None else history.loss
        rates = history.accuracy
        rates = rates[:, None] if rates is not None and case.members is None else rates
        if loss.dtype != case.dtype or theta.dtype != case.dtype:
            raise Difference(f"loss is {loss.dtype}, theta {theta.dtype}, not {case.dtype}")
        thetas = theta[None] if case.members is None else theta
        for i, (stop, fail) in enumerate(zip(stops, fails, strict=True)):
            who = "" if case.members is None else f" of member {i}"
            end = int(stop or (min(fail, epochs) if fail else epochs))
            for k, epoch in enumerate(e for e in rows if e <= end):
                if k >= len(loss):
                    raise Difference(f"the history ends at {len(loss)}, before epoch {epoch}")
                ball = _row(true.loss[done + epoch - 1], i)
                if epoch == fail:
                    if np.isfinite(ball.r).all():
                        raise Difference(f"diverged{who} is {fail}, where the loss is {ball.c[0]}")
                    continue
                if not np.isfinite(loss[k, i]):
                    raise Difference(f"loss{who} of epoch {epoch} is {loss[k, i]}, {fail=}")
                _within(tally, f"loss{who} of epoch {epoch}", loss[k, i : i + 1], ball)
                if rates is not None:
                    _rate(f"accuracy{who} of epoch {epoch}", rates[k, i], true, done + epoch, i, u)
            if (
                fail
                and np.isfinite(true.loss[done + min(fail, epochs) - 1].r[i])
                and fail <= epochs
            ):
                raise Difference(f"diverged{who} is {fail}, where the loss is finite")
            if case.options["acc_goal"] is not None:
                _stop(case, true, done, i, int(stop), end, looks, u)
            last = max(int(fail) - 2, 0) if fail else end
            _within(tally, f"theta{who} after epoch {last}", thetas[i : i + 1],
                    _row(true.theta[done + last], i))  # fmt: skip
        done += epochs


def _looks(epochs: int, every: int) -> list[int]:
    return sorted({min(k, epochs) for k in range(every, epochs + every, every)})


def _rate(what: str, found: Any, true: Truth, epoch: int, i: int, u: float) -> None:
    low, high = true.accuracy[epoch - 1][:, i]  # type: ignore[index]
    slack = 400 * u  # a sum over at most 300 samples, and the mean over batches
    if not low - slack <= found <= high + slack:
        raise Difference(f"{what} is {found!r}, not {low!r} to {high!r}")


def _stop(
    case: Case, true: Truth, done: int, i: int, stop: int, end: int, looks: list[int], u: float
) -> None:
    """A goal that was surely reached at a look ends there, and one surely missed does not."""
    goal = case.options["acc_goal"]
    for look in (look for look in looks if look <= end):
        low, high = true.accuracy[done + look - 1][:, i]  # type: ignore[index]
        if look == stop and high < goal - 400 * u:
            raise Difference(f"stop of member {i} is {stop}, where the accuracy is {high!r}")
        if look < end and low >= goal + 400 * u:
            raise Difference(f"member {i} does not stop at {look}, with an accuracy of {low!r}")
    if stop and stop not in looks:
        raise Difference(f"stop of member {i} is {stop}, which is no look")


def check_peer(case: Case, true: Truth, tally: Tally) -> None:
    """Hold PyTorch's own training in float64 to the truth."""
    from tests.fuzz.peers import train as train_peer

    thetas, losses = train_peer(case)
    if case.optimizer[1].get("centered"):  # torch takes the root of a variance rounded below 0
        last = next((k for k, theta in enumerate(thetas) if np.isnan(theta).any()), len(thetas))
        true = replace(true, theta=true.theta[:last], loss=true.loss[: last - 1])
        thetas, losses = thetas[:last], losses[: last - 1]
    if case.optimizer[0] == "Adam" and case.dtype == "float64":
        true = truth(case, by_powers=True)
    for epoch, (found, ball) in enumerate(zip(thetas, true.theta, strict=True)):
        _within(tally, f"torch.optim's theta after epoch {epoch}", found, ball)
    for epoch, (found, ball) in enumerate(zip(losses, true.loss, strict=True)):
        wide = np.broadcast_to(found, ball.c.shape)
        _within(tally, f"torch's loss of epoch {epoch + 1}", wide, ball)


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
