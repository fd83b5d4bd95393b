"""Every figure of the report, 1.1 to 3.24, drawn from our own runs."""

from __future__ import annotations

from collections.abc import Sequence

from report.facts import Setting
from report.figures import console, curves, summary, system
from report.figures.theme import Figure
from report.runs import OurRun

DATASETS = ("xor", "linear")


def numbered(runs: Sequence[OurRun]) -> list[Figure]:
    """The report's figures in their order."""
    settings = list(dict.fromkeys(run.printed.setting for run in runs))
    by_setting = {setting: _of(runs, setting) for setting in settings}
    base, *others = settings
    result = system.figures(_run(by_setting[base], "xor"), _run(by_setting[base], "linear"))
    for i, other in enumerate(others):
        result += _comparison(6 * i + 1, by_setting[base], by_setting[other])
    return result


def extra(runs: Sequence[OurRun]) -> list[Figure]:
    """What the report does not have: all stops at a glance, and what each network learned."""
    return [summary.stops(runs), *(summary.learned(run) for run in runs)]


def _comparison(first: int, base: list[OurRun], other: list[OurRun]) -> list[Figure]:
    """Six figures: console, accuracy, loss; the base before the other."""
    both = (base, other)
    result = [console.figure(f"3.{first + k}", runs) for k, runs in enumerate(both)]
    for j, quantity in enumerate(("accuracy", "loss")):
        limits = curves.limits(quantity, [*base, *other])
        for k, runs in enumerate(both):
            number = f"3.{first + 2 + 2 * j + k}"
            result.append(curves.figure(number, quantity, runs, limits))
    return result


def _of(runs: Sequence[OurRun], setting: Setting) -> list[OurRun]:
    """The runs of a setting, xor before linear."""
    found = [run for run in runs if run.printed.setting == setting]
    return sorted(found, key=lambda run: DATASETS.index(run.printed.dataset))


def _run(runs: list[OurRun], dataset: str) -> OurRun:
    return next(run for run in runs if run.printed.dataset == dataset)
