"""What `fit` gave, held to the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fuzz.balls import FORMATS, Ball
from tests.fuzz.cases import Case
from tests.fuzz.truth import Truth


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
        cases, sharp_cases: how many trainings were added to it, and how many of them were sharp in
            every number.
    """

    numbers: int = 0
    known: int = 0
    sharp: int = 0
    worst: float = 0.0
    cases: int = 0
    sharp_cases: int = 0

    def add(self, other: Tally) -> None:
        """Add one training."""
        self.cases += 1
        self.sharp_cases += other.sharp == other.numbers
        self.numbers += other.numbers
        self.known += other.known
        self.sharp += other.sharp
        self.worst = max(self.worst, other.worst)

    def __str__(self) -> str:
        share, cases = 100 / max(1, self.numbers), 100 / max(1, self.cases)
        return (
            f"{self.numbers} numbers, {self.known * share:.1f} % with a radius, "
            f"{self.sharp * share:.1f} % to a thousandth or better, of "
            f"{self.sharp_cases * cases:.0f} % of the trainings all; the worst at "
            f"{self.worst:.2g} radii"
        )


def within(tally: Tally, what: str, found: np.ndarray, ball: Ball) -> None:
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


def check_trained(tally: Tally, when: str, found: np.ndarray, ball: Ball, case: Case) -> None:
    """Hold ``theta`` to its ball, and the state of the layers behind it."""
    size = case.theta.shape[-1]
    if found.shape != ball.shape:
        raise Difference(f"theta and state have the shape {found.shape}, not {ball.shape}")
    within(tally, f"theta {when}", found[:, :size], ball[:, :size])
    if found.shape[-1] > size:
        within(tally, f"layer_state {when}", found[:, size:], ball[:, size:])


def check(case: Case, result: Any, true: Truth, tally: Tally) -> None:
    """Hold what `fit` gave to the truth, and its stops and divergences to its own rules."""
    done = 0
    parts = [epochs for epochs in case.epochs if epochs]
    for epochs, history, trained in zip(parts, result.histories, result.trained, strict=False):
        if history.loss.dtype != case.dtype or trained.dtype != case.dtype:
            raise Difference(f"loss is {history.loss.dtype}, theta or state {trained.dtype}")
        loss, rates = history.loss, history.accuracy
        if case.members is None:
            trained, loss = trained[None], loss[:, None]
            rates = None if rates is None else rates[:, None]
        stops, fails = np.atleast_1d(history.stop), np.atleast_1d(history.diverged)
        for i, (stop, fail) in enumerate(zip(stops.tolist(), fails.tolist(), strict=True)):
            one = _Member(case, true, tally, done, epochs, i, stop, fail)
            one.check_record(loss[:, i], None if rates is None else rates[:, i])
            one.check_goal()
            one.check_end(trained[i : i + 1])
        done += epochs


@dataclass
class _Member:
    """One member of one `fit`, which began after ``done`` epochs of the case."""

    case: Case
    true: Truth
    tally: Tally
    done: int
    epochs: int
    i: int
    stop: int
    fail: int

    @property
    def end(self) -> int:
        """How many epochs were trained."""
        return self.stop or (min(self.fail, self.epochs) if self.fail else self.epochs)

    @property
    def looks(self) -> list[int]:
        every = self.case.options["check_every"]
        return sorted({min(k, self.epochs) for k in range(every, self.epochs + every, every)})

    @property
    def who(self) -> str:
        return "" if self.case.members is None else f" of member {self.i}"

    def _loss(self, epoch: int) -> Ball:
        return self._own(self.true.loss[self.done + epoch - 1])

    def _own(self, ball: Ball) -> Ball:
        return ball[self.i : self.i + 1]

    def check_record(self, loss: np.ndarray, rates: np.ndarray | None) -> None:
        every = self.case.options["every_epoch"]
        rows = range(1, self.epochs + 1) if every else self.looks
        for k, epoch in enumerate(epoch for epoch in rows if epoch <= self.end):
            if epoch == self.fail:
                break
            if k >= len(loss):
                raise Difference(f"the history ends at {len(loss)}, before epoch {epoch}")
            if not np.isfinite(loss[k]):
                raise Difference(f"loss{self.who} of epoch {epoch} is {loss[k]}, {self.fail=}")
            what = f"{self.who} of epoch {epoch}"
            within(self.tally, f"loss{what}", loss[k : k + 1], self._loss(epoch))
            if rates is not None:
                low, high = self._rate(epoch)
                if not low - self._slack <= rates[k] <= high + self._slack:
                    raise Difference(f"accuracy{what} is {rates[k]!r}, not {low!r} to {high!r}")
        # A parameter that was infinite is seen at the check before, whatever the loss.
        ended = 0 < self.fail <= self.epochs and not self._spoilt(
            self.true.trained[self.done + self.fail - 1]
        )
        if ended and np.isfinite(self._loss(self.fail).r).all():
            raise Difference(f"diverged{self.who} is {self.fail}, where the loss is finite")

    def _spoilt(self, trained: Ball) -> bool:
        return not np.isfinite(self._own(trained).r).all()

    @property
    def _slack(self) -> float:
        """A sum over the samples, in order at worst, and the mean over at most 8 batches."""
        return (self.case.x.shape[-2] + 16) * FORMATS[self.case.dtype].u

    def _rate(self, epoch: int) -> tuple[float, float]:
        found = self.true.accuracy[self.done + epoch - 1]
        assert found is not None
        return float(found[0, self.i]), float(found[1, self.i])

    def check_goal(self) -> None:
        """A goal that was surely reached at a look ends there; one surely missed does not."""
        goal = self.case.options["acc_goal"]
        if self.stop and (goal is None or self.stop not in self.looks):
            raise Difference(f"stop{self.who} is {self.stop}, with {goal=}")
        for look in (
            look for look in self.looks if goal and look <= self.end and look != self.fail
        ):
            low, high = self._rate(look)
            if look == self.stop and high < goal - self._slack:
                raise Difference(f"stop{self.who} is {self.stop}, with an accuracy of {high!r}")
            if look < self.end and low >= goal + self._slack:
                raise Difference(f"no stop{self.who} at {look}, with an accuracy of {low!r}")

    def check_end(self, trained: np.ndarray) -> None:
        """It is the last one, or the last whose loss is finite: before one that may not be."""
        if not self.fail:
            self._hold(trained, f"after epoch {self.end}", self.true.trained[self.done + self.end])
            return
        steps = self.true.steps
        each = len(steps) // sum(self.case.epochs)
        first = (self.done + max(0, self.fail - 2)) * each
        last = (self.done + min(self.fail, self.epochs)) * each
        # What was infinite while no loss was is seen at the check alone, many steps later.
        while first > self.done * each and self._spoilt(steps[first][0]):
            first -= 1
        reasons = []
        for k in range(first, last + 1):
            begins = k == self.done * each and self._bad(k)
            if not begins and (k == last or not self._bad(k + 1)):
                continue
            try:
                self._hold(trained, f"after step {k}", steps[k][0])
                return
            except Difference as difference:
                reasons.append(str(difference))
        raise Difference("; ".join(reasons) or f"diverged{self.who} is {self.fail} for no reason")

    def _hold(self, trained: np.ndarray, when: str, ball: Ball) -> None:
        when = f"{self.who} {when}".strip()
        check_trained(self.tally, when, trained, self._own(ball), self.case)

    def _bad(self, k: int) -> bool:
        """Whether what is trained is infinite before step ``k``, or the loss with it, or may be."""
        trained, loss = self.true.steps[k]
        losses, checked = [loss], self.done + self.fail - 1
        if k * sum(self.case.epochs) == checked * (len(self.true.steps) - 1):
            if self.fail > self.epochs:  # no step follows
                losses = []
            if self.fail > self.epochs or self.case.options["acc_goal"]:
                losses.append(self.true.look(checked))
        return self._spoilt(trained) or not all(
            loss is not None and np.isfinite(self._own(loss).r).all() for loss in losses
        )
