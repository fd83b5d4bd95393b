"""Every number that the report prints beside ours, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from report.facts import PrintedRun
from report.runs import OurRun


class Verdict(StrEnum):
    """What became of a printed number; the value is the word on the page."""

    EQUAL = "equal"
    MISPRINT = "misprint"
    OWN_DATA = "own data"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Number:
    """A printed number beside ours, both as text with the digits that are printed.

    Attributes:
        dataset, setting: the run that it belongs to.
        quantity: ``"stop"``, ``"loss"`` or ``"accuracy"``.
        epoch: the epoch of a loss or an accuracy; ``None`` for the stop.
        printed: what the report says.
        expected: what it should have said: the same, but for a misprint.
        ours: what our run printed, or ``None`` if it had no such line.
        verdict: how they compare.
    """

    dataset: str
    setting: str
    quantity: str
    epoch: int | None
    printed: str
    expected: str
    ours: str | None
    verdict: Verdict


def numbers_of(run: OurRun) -> list[Number]:
    """Every number that the report prints of a run, compared with ours."""
    printed = run.printed
    result = [_number(printed, "stop", None, str(printed.stop), _text(run.stop))]
    ours = run.log
    for epoch, loss, accuracy in printed.log:
        our_loss, our_accuracy = ours.get(epoch, (None, None))
        wrong = printed.misprints.get(str(epoch), {})
        said = f"{wrong.get('printed_acc', accuracy):.6f}"
        true = f"{wrong.get('true_acc', accuracy):.6f}"
        result.append(_number(printed, "loss", epoch, f"{loss:.6f}", our_loss))
        result.append(_number(printed, "accuracy", epoch, said, our_accuracy, true))
    return result


def compare(runs: Iterable[OurRun]) -> list[Number]:
    """Every number of the report beside ours."""
    return [number for run in runs for number in numbers_of(run)]


def disagreements(numbers: Iterable[Number]) -> list[Number]:
    """The numbers that can be had again and were not; in float64 there must be none."""
    return [number for number in numbers if number.verdict is Verdict.DIFFERENT]


def _number(
    run: PrintedRun,
    quantity: str,
    epoch: int | None,
    printed: str,
    ours: str | None,
    expected: str | None = None,
) -> Number:
    expected = printed if expected is None else expected
    if run.unseeded_data:
        verdict = Verdict.OWN_DATA
    elif ours != expected:
        verdict = Verdict.DIFFERENT
    else:
        verdict = Verdict.EQUAL if printed == expected else Verdict.MISPRINT
    return Number(run.dataset, run.setting.name, quantity, epoch, printed, expected, ours, verdict)


def _text(stop: int | None) -> str | None:
    return None if stop is None else str(stop)
