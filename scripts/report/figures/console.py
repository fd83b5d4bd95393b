"""The console output of the runs of a setting, as text for the page and as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas

from report.figures.theme import INK, MUTED, XOR, Figure, finish, style
from report.runs import OurRun

COLUMNS = 92
PREDICTIONS = 12
"""A picture shows this many lines after the stop; the page shows all."""

LINE = 0.185
PAD = 0.16


def figure(number: str, runs: Sequence[OurRun]) -> Figure:
    """What the commands of one setting printed, xor before linear."""
    lines = [line for run in runs for line in (("", INK), *_picture(run))][1:]
    width, height = COLUMNS * 0.0755 + 2 * PAD, len(lines) * LINE + 2 * PAD
    with style():
        canvas = Canvas(figsize=(width, height))
        for i, (line, colour) in enumerate(lines):
            canvas.text(
                PAD / width, 1 - (PAD + i * LINE) / height, line.replace("$", r"\$"),
                family="DejaVu Sans Mono", size=9, color=colour, va="top", ha="left",
            )  # fmt: skip
        setting = runs[0].printed.setting
        text = tuple((run.command, "\n".join(run.console)) for run in runs)
        return finish(number, f"Console output: {setting.name}.", canvas, text)


def _picture(run: OurRun) -> list[tuple[str, str]]:
    """The lines with their colours, long ones wrapped, predictions cut short."""
    lines = [(part, XOR) for part in _broken(run.command)]
    info = next((i for i, line in enumerate(run.console) if line.startswith("[INFO]")), None)
    end = len(run.console) if info is None else info + 1 + PREDICTIONS
    for line in run.console[:end]:
        lines += [(part, INK) for part in textwrap.wrap(line, COLUMNS, subsequent_indent="    ")]
    rest = len(run.console) - end
    if rest > 0:
        lines.append((f"… {rest} lines more", MUTED))
    return lines


def _broken(command: str) -> list[str]:
    """A command at its prompt, broken between options as a shell allows."""
    first, *options = command.replace(" --", "\0--").split("\0")
    lines = [f"$ {first}"]
    for option in options:
        if len(lines[-1]) + len(option) + 3 > COLUMNS:
            lines[-1] += " \\"
            lines.append(f"    {option}")
        else:
            lines[-1] += f" {option}"
    return lines
