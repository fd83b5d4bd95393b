"""The folder that a person opens: the page, the figures as files, the results."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from report.compare import Number, Verdict, numbers_of
from report.environment import Environment
from report.facts import Setting
from report.figures.theme import Figure
from report.luck import Luck
from report.runs import OurRun

SECTIONS = ("Optimizers", "Activations", "Learning rates", "Hidden dimensions")
"""The titles of 3.1 to 3.4."""

EXACT = "float64"
"""The dtype in which the report's own numbers were computed."""


@dataclass(frozen=True)
class Comparison:
    """One of the report's comparisons: the base setting against one that differs in one choice."""

    number: str
    title: str
    base: list[OurRun]
    other: list[OurRun]
    first_figure: int

    @property
    def anchor(self) -> str:
        """Where the page has it."""
        return self.title.lower().replace(" ", "-")

    @property
    def names(self) -> tuple[str, str]:
        """What is compared, in words."""
        base, other = self.base[0].printed.setting, self.other[0].printed.setting
        return base.other(other), other.other(base)

    def times(self, dataset: str) -> str | None:
        """How many times the epochs the other setting took, ours, in words for a sentence."""
        base, other = (
            next(run.stop for run in runs if run.printed.dataset == dataset)
            for runs in (self.base, self.other)
        )
        return f"{other / base:.3g}" if base and other else None


def comparisons(runs: Sequence[OurRun]) -> list[Comparison]:
    """The comparisons of chapter 3."""
    groups: dict[Setting, list[OurRun]] = {}
    for run in runs:
        groups.setdefault(run.printed.setting, []).append(run)
    base, *others = groups.values()
    return [
        Comparison(f"3.{i + 1}", title, base, other, 6 * i + 1)
        for i, (title, other) in enumerate(zip(SECTIONS, others, strict=True))
    ]


def whole(text: str) -> str:
    """A text in which no line breaks within a choice: ``lr 1e-2``, ``4 units``."""
    return re.sub(r"\blr (?=\d)|(?<=\d) (?=units)", lambda m: m[0].replace(" ", "\u00a0"), text)


def digits(number: str) -> str:
    """A number as it was printed, a whole one in groups of three as everywhere on the page."""
    return f"{int(number):,}" if number.isdecimal() else number


def colouring(settings: Sequence[Setting]) -> Callable[[str, Setting], Markup]:
    """A filter for templates: a text behind the colour of the setting that it stands for."""

    def colour(text: str, setting: Setting) -> Markup:
        i = settings.index(setting)
        name = f"setting{i}" if i else "ink"
        span = '<span class="setting" style="--colour: var(--{})">{}</span>'
        return Markup(span).format(name, whole(text))

    return colour


def render(
    runs: Sequence[OurRun],
    numbers: Sequence[Number],
    environment: Environment,
    numbered: Sequence[Figure],
    extra: Sequence[Figure],
    again: str,
    luck: Luck | None = None,
) -> str:
    """The page as one text that needs no other file.

    Args:
        runs: our runs.
        numbers: every printed number beside ours.
        environment: where the runs were made.
        numbered: the report's figures.
        extra: our own figures: the stops first, then a field for each run.
        again: the command that makes this page.
        luck: how usual the report's linear numbers are, where that has been studied.
    """
    templates = Templates(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters["svg"] = lambda figure: Markup(figure.inline)
    settings = list(dict.fromkeys(run.printed.setting for run in runs))
    templates.filters["coloured"] = colouring(settings)
    templates.filters.update(whole=whole, digits=digits)
    templates.filters["thousands"] = lambda n: f"{n:,}" if n is not None else "–"
    counts = Counter(number.verdict for number in numbers)
    page: str = templates.get_template("page.html.j2").render(
        runs=runs,
        tables=[(run, numbers_of(run)) for run in runs],
        counts=counts,
        repeatable=len(numbers) - counts[Verdict.OWN_DATA],
        Verdict=Verdict,
        exact=environment.dtype == EXACT,
        environment=environment,
        figures={figure.number: figure for figure in numbered},
        stops=extra[0],
        learned=list(zip(runs, extra[1:], strict=True)),
        comparisons=comparisons(runs),
        again=again,
        luck=luck,
    )
    return page


def results(
    runs: Sequence[OurRun], numbers: Sequence[Number], environment: Environment
) -> dict[str, Any]:
    """Everything that the page says in numbers, for a program."""
    return {
        "environment": asdict(environment),
        "summary": {verdict: sum(n.verdict is verdict for n in numbers) for verdict in Verdict},
        "runs": [
            {
                "dataset": run.printed.dataset,
                "setting": asdict(run.printed.setting),
                "figures": run.printed.figures,
                "command": run.command,
                "options": run.options,
                "stop": run.stop,
                "stop_printed": run.printed.stop,
                "epochs": len(run.loss),
                "seconds": run.seconds,
                "epochs_per_second": run.epochs_per_second,
                "final_loss": float(run.loss[-1]),
                "final_accuracy": float(run.accuracy[-1]),
                "log": [
                    {"epoch": epoch, "loss": loss, "accuracy": accuracy}
                    for epoch, (loss, accuracy) in run.log.items()
                ],
                "compared": [
                    {k: v for k, v in asdict(n).items() if k not in ("dataset", "setting")}
                    for n in numbers_of(run)
                ],
            }
            for run in runs
        ],
    }


def write(folder: Path, page: str, figures: Sequence[Figure], result: dict[str, Any]) -> None:
    """Write the folder; what lies in it under these names is replaced."""
    drawings = folder / "figures"
    drawings.mkdir(exist_ok=True)
    for figure in figures:
        figure.save(drawings)
    text = json.dumps(result, indent=2, ensure_ascii=False, default=str)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "index.html").write_text(page, encoding="utf-8")
