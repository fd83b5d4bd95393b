"""The folder that a person opens: the page, the figures as files, the numbers, every network."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from report import page as report_page
from report.environment import Environment
from report.facts import Facts
from report.figures.theme import Figure
from study import figures, statistics
from study.conclusions import (
    Conclusion,
    Population,
    Stops,
    Sweep,
    conclusions,
    populations,
    sweeps,
)
from study.plan import SEED, WORLDS, Cell, World
from study.statistics import Interval
from study.training import Log, command, seeds


@dataclass(frozen=True)
class Study:
    """Everything that the page is made from.

    Attributes:
        facts: the report's.
        stops: of every finished population.
        diverged: the epochs at which losses became NaN or infinite, of the same.
        logs: losses and accuracies at the epochs that the report prints, of the same.
        environment: where it was made.
        seconds: how long it took.
        jobs: in how many processes.
        again: the command that makes this page.
        interrupted: whether Ctrl-C ended it.
    """

    facts: Facts
    stops: Stops
    diverged: Stops
    logs: dict[Cell, Log]
    environment: Environment
    seconds: float
    jobs: int
    again: str
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        return int(self.facts.common["num_epochs"])

    @property
    def networks(self) -> int:
        return sum(len(stop) for stop in self.stops.values())

    @cached_property
    def populations(self) -> list[Population]:
        return populations(self.facts, self.stops, self.logs)

    @cached_property
    def conclusions(self) -> list[Conclusion]:
        return conclusions(self.facts, self.stops)

    @cached_property
    def sweeps(self) -> list[Sweep]:
        return sweeps(self.facts, self.stops)


COLUMNS = (
    "study", "dataset", "optim", "activation", "lr", "dim_hidden", "seed", "data_seed", "stop",
    "diverged",
)  # fmt: skip
"""Of ``runs.csv``."""

WORDS = {"sooner": "holds", "later": "the reverse holds", "open": "cannot be told"}


def in_words(study: Study) -> str:
    """The conclusions, a line each."""
    lines = []
    for c in study.conclusions:
        s = c.effect.superiority
        lines.append(
            f"{c.section} {c.claim}; {c.world.name}: {WORDS[c.effect.verdict]} "
            f"({s.value:.1%}, {s.low:.1%} to {s.high:.1%})."
        )
    for sweep in study.sweeps:
        small, large = (
            "no rate" if rate is None else f"{rate:g}"
            for rate in (sweep.too_small, sweep.too_large)
        )
        lines.append(
            f"Learning rate, {sweep.world.name}: too small from {small} down, "
            f"too large from {large} up."
        )
    return "\n".join(lines)


def results(study: Study) -> dict[str, Any]:
    """Everything that the page says in numbers, for a program."""
    return _plain(
        {
            "environment": asdict(study.environment),
            "command": study.again,
            "seconds": study.seconds,
            "processes": study.jobs,
            "interrupted": study.interrupted,
            "networks": study.networks,
            "epochs": study.epochs,
            "populations": [_population(p, study) for p in study.populations],
            "conclusions": [
                {
                    "section": c.section,
                    "claim": c.claim,
                    "world": c.world.name,
                    "better": asdict(c.better),
                    "worse": asdict(c.worse),
                    "verdict": c.effect.verdict,
                    **asdict(c.effect),
                }
                for c in study.conclusions
            ],
            "sweeps": [
                {
                    "world": s.world.name,
                    "members": s.members,
                    "too_small": s.too_small,
                    "slow": s.slow,
                    "too_large": s.too_large,
                    "fastest": s.fastest,
                    "rates": [asdict(rate) for rate in s.rates],
                }
                for s in study.sweeps
            ],
        }
    )


def _population(population: Population, study: Study) -> dict[str, Any]:
    cell = population.cell
    return {
        "world": cell.world.name,
        "dataset": cell.world.dataset,
        "differs": cell.world.luck,
        "setting": asdict(cell.setting),
        "members": len(population.stop),
        "diverged": int(np.count_nonzero(study.diverged[cell])),
        "arrive": asdict(population.share),
        "quartiles": population.quartiles,
        "stop_printed": population.printed,
        "percentile": asdict(population.rank) if population.rank else None,
        "first": command(cell, 0),
        "logged": [asdict(logged) for logged in population.logged],
    }


def _plain(value: Any) -> Any:
    """Without what JSON has no word for: infinity ("never") and NaN become null."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def draw(study: Study) -> list[Figure]:
    """The figures, as far as there is something to draw."""
    found = study.populations
    result = []
    for world in WORLDS:
        group = [p for p in found if p.cell.world == world]
        if group:
            result.append(figures.arrivals(world, group, study.facts.settings, study.epochs))
    if concluded := study.conclusions:
        result.append(figures.effects(concluded))
    if swept := study.sweeps:
        marked = sorted({setting.lr for setting in study.facts.settings})
        result.append(figures.sweep(swept, study.epochs, marked))
    return result


def render(study: Study, drawn: Sequence[Figure]) -> str:
    """The page as one text that needs no other file."""
    own = Path(__file__).with_name("templates")
    shared = Path(report_page.__file__).with_name("templates")
    templates = Templates(
        loader=FileSystemLoader([own, shared]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters.update(
        svg=lambda figure: Markup(figure.inline),
        thousands=lambda n: f"{n:,}" if n is not None else "never",
        percent=_percent,
        interval=_interval,
        ratio=lambda effect: _ratio(effect.ratio),
        rate=_rate,
        coloured=report_page.colouring(study.facts.settings),
    )
    found = study.populations
    concluded = study.conclusions
    text: str = templates.get_template("study.html.j2").render(
        study=study,
        environment=study.environment,
        populations=found,
        conclusions=concluded,
        sections=list(dict.fromkeys((c.section, c.claim) for c in concluded)),
        sweeps=study.sweeps,
        figures={figure.number: figure for figure in drawn},
        worlds=WORLDS,
        words=WORDS,
        seed=SEED,
        base=study.facts.settings[0],
        resamples=statistics.RESAMPLES,
        examples=[_example(found, world) for world in WORLDS if _example(found, world)],
    )
    return text


def _example(found: Sequence[Population], world: World) -> str | None:
    """How to train one network of a world alone."""
    cells = [p.cell for p in found if p.cell.world == world]
    return command(cells[0], 1) if cells else None


def _percent(value: float) -> str:
    """A share, finer where it is close to all."""
    digits = 1 if 0.99 <= value < 1 or 0 < value <= 0.01 else 0
    return f"{value:.{digits}%}".replace("%", " %")


def _rate(lr: float) -> str:
    """A learning rate as the report writes it, in one piece."""
    return f"{lr:.0e}".replace("e-0", "e\u2011").replace("e+00", "")


def _interval(interval: Interval) -> str:
    low, high = (_percent(end).removesuffix(" %") for end in (interval.low, interval.high))
    return f"{low} to {high}"


def _ratio(ratio: Interval) -> str:
    if math.isnan(ratio.value):
        return "neither arrives"
    if math.isinf(ratio.value):
        return "the other never arrives"
    high = "∞" if math.isinf(ratio.high) else f"{ratio.high:.3g}"
    return f"{ratio.value:.3g} ({ratio.low:.3g} to {high})"


def write(folder: Path, study: Study) -> None:
    """Write the folder; what lies in it under these names is replaced."""
    drawn = draw(study)
    drawings = folder / "figures"
    drawings.mkdir(exist_ok=True)
    for figure in drawn:
        figure.save(drawings)
    text = json.dumps(results(study), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    _write_runs(folder / "runs.csv", study)
    (folder / "index.html").write_text(render(study, drawn), encoding="utf-8")


def _write_runs(path: Path, study: Study) -> None:
    """A line for every network; an empty stop means never."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for cell, stops in study.stops.items():
            setting, dataset = cell.setting, cell.world.dataset
            kind = "sweep" if cell.sweep else "settings"
            for i, (stop, diverged) in enumerate(zip(stops, study.diverged[cell], strict=True)):
                weights, points = seeds(cell, i)
                writer.writerow(
                    [
                        kind, dataset, setting.optim, setting.activation, f"{setting.lr:g}",
                        setting.dim_hidden, weights, points if dataset == "linear" else "",
                        stop or "", diverged or "",
                    ]
                )  # fmt: skip
