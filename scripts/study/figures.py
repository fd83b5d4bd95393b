"""The figures of the study, drawn as those of the report's page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from report.facts import Setting
from report.figures.theme import (
    DATASET_COLOURS,
    GRID,
    INK,
    MUTED,
    PAPER,
    SETTINGS,
    Figure,
    finish,
    style,
    title,
)
from study import statistics
from study.conclusions import Conclusion, Population, Sweep
from study.plan import World

WIDE = 4.6
"""The inches of a figure across."""

FIRST = 90
"""Where the axis of epochs begins: a little before the first look."""

THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def arrivals(
    world: World, populations: Sequence[Population], settings: Sequence[Setting], epochs: int
) -> Figure:
    """The share of networks that has arrived, against the epoch; the report's runs marked."""
    with style():
        canvas = Canvas(figsize=(WIDE, 3.9))
        title(canvas, "Networks that have arrived", world.title)
        axes = canvas.add_axes((0.115, 0.12, 0.855, 0.69))
        for population in populations:
            colour = SETTINGS[settings.index(population.cell.setting)]
            _curve(axes, population, settings[0], colour, epochs)
        axes.plot([], [], "o", color=MUTED, markersize=7, label="the report’s run")
        axes.set_xscale("log")
        axes.set_xlim(FIRST, epochs)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y")
        axes.tick_params(length=0, which="both")
        axes.tick_params(axis="x", pad=7)
        axes.spines["left"].set_visible(False)
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, borderaxespad=0.1,
            borderpad=0.1, handlelength=1.4, handletextpad=0.5, columnspacing=1.4,
        )  # fmt: skip
        caption = (
            f"{world.title}: the share of the networks that has reached an accuracy of 1.0, "
            "against the epoch. A dot marks the epoch at which the report’s own run did."
        )
        if not all(population.rank for population in populations):
            caption += f" Without one: beyond the {epochs:,} epochs trained here."
        return finish(f"arrivals-{world.name}", caption, canvas)


def _curve(axes: Axes, population: Population, base: Setting, colour: str, epochs: int) -> None:
    setting = population.cell.setting
    at, share = statistics.arrived(population.stop)
    axes.step(
        np.concatenate([[FIRST], at, [epochs]]), np.concatenate([[0], share, [*share[-1:], 0][:1]]),
        where="post", color=colour, label="the base" if setting == base else setting.other(base),
        clip_on=False,
    )  # fmt: skip
    if population.rank is None:  # the report's run stops beyond the right edge
        return
    axes.plot(
        population.printed, population.rank.by / 100, "o", color=colour, markersize=8.5,
        markeredgecolor=PAPER, markeredgewidth=1.3, clip_on=False, zorder=5,
    )  # fmt: skip


def effects(found: Sequence[Conclusion]) -> Figure:
    """How often the setting that the report prefers arrives sooner."""
    sections = list(dict.fromkeys(c.section for c in found))
    worlds = list(dict.fromkeys(c.world for c in found))
    with style():
        canvas = Canvas(figsize=(WIDE, 0.8 * len(sections) + 1.3))
        height = canvas.get_size_inches()[1]
        axes = canvas.add_axes((0.045, 0.35 / height, 0.895, 1 - 1.05 / height))
        ticks = [0, 0.25, 0.5, 0.75, 1]
        for i, section in enumerate(sections):
            group = [c for c in found if c.section == section]
            name = f"{section}   {group[0].better.other(group[0].worse)} before "
            name += group[0].worse.other(group[0].better)
            axes.text(0.0, i - 0.33, name, color=INK, va="center")
            axes.vlines(ticks, i - 0.2, i + 0.45, color=GRID, lw=0.8, zorder=0)  # not the names
            axes.vlines(0.5, i - 0.2, i + 0.45, color=MUTED, lw=1, zorder=0)
            for c in group:
                _whisker(axes, c, i - 0.1 + 0.2 * worlds.index(c.world))
        axes.set_xlim(0, 1)
        axes.set_ylim(len(sections) - 0.4, -0.5)
        axes.set_yticks([])
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        for world in worlds:
            axes.plot([], [], label=world.title, **_mark(world))
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.1, borderpad=0.1,
            handletextpad=0.2,
        )  # fmt: skip
        caption = (
            "How often a network of the setting that the report prefers arrives sooner than its "
            "partner of the other, ties counted half, with 95 % intervals. At 50 % there is no "
            "difference."
        )
        return finish("effects", caption, canvas)


def _whisker(axes: Axes, conclusion: Conclusion, y: float) -> None:
    interval = conclusion.effect.superiority
    mark = _mark(conclusion.world)
    axes.plot([interval.low, interval.high], [y, y], color=mark["color"], lw=2)
    axes.plot(interval.value, y, clip_on=False, **mark)


def _mark(world: World) -> dict[str, object]:
    colour = DATASET_COLOURS[world.dataset]
    face = PAPER if world.weights and world.dataset == "linear" else colour
    return {
        "color": colour, "marker": "o", "linestyle": "none", "markersize": 7,
        "markerfacecolor": face, "markeredgewidth": 1.5,
    }  # fmt: skip


def sweep(found: Sequence[Sweep], epochs: int, marked: Sequence[float]) -> Figure:
    """The share that arrives and the median stop, against the learning rate."""
    with style():
        canvas = Canvas(figsize=(WIDE, 5.4))
        title(canvas, "Learning rates", "Adam, LeakyReLU, 4 units")
        share = canvas.add_axes((0.135, 0.55, 0.835, 0.345))
        stop = canvas.add_axes((0.135, 0.085, 0.835, 0.345))
        for one in found:
            colour = DATASET_COLOURS[one.world.dataset]
            lrs = np.asarray([r.lr for r in one.rates])
            shares = [r.share for r in one.rates]
            share.fill_between(
                lrs,
                [s.low for s in shares],
                [s.high for s in shares],
                color=colour,
                alpha=0.18,
                lw=0,
            )
            share.plot(lrs, [s.value for s in shares], "o-", color=colour, markersize=4.5,
                       label=one.world.dataset)  # fmt: skip
            low, middle, high = (
                np.asarray([r.quartiles[k] or np.nan for r in one.rates]) for k in range(3)
            )
            some = ~np.isnan(low)
            stop.fill_between(
                lrs[some], low[some], np.where(np.isnan(high), epochs, high)[some], color=colour,
                alpha=0.18, lw=0,
            )  # fmt: skip
            stop.plot(lrs, middle, "o-", color=colour, markersize=4.5)
        for axes, label in (
            (share, f"have arrived in {epochs:,} epochs"),
            (stop, "median stop, and the middle half"),
        ):
            for lr in marked:
                axes.axvline(lr, color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=0)
            axes.set_title(label, loc="left", fontsize=10, color=INK)
            axes.set_xscale("log")
            axes.set_xlim(min(r.lr for r in found[0].rates) * 0.8, 1.25)
            axes.grid(axis="y")
            axes.tick_params(length=0, which="both")
            axes.spines["left"].set_visible(False)
        share.set_ylim(0, 1.03)
        share.yaxis.set_major_formatter(PercentFormatter(1))
        share.legend(
            loc="lower right", bbox_to_anchor=(1.02, 1), ncols=2, borderaxespad=0.1, borderpad=0.1,
            handlelength=1.2, handletextpad=0.4, columnspacing=0.9,
        )  # fmt: skip
        stop.set_yscale("log")
        stop.set_ylim(85, epochs * 1.15)
        stop.yaxis.set_major_formatter(THOUSANDS)
        stop.yaxis.set_minor_formatter(NullFormatter())
        stop.set_xlabel("learning rate")
        caption = (
            "The learning rate from 1e-5 to 1: how many networks arrive, with 95 % intervals, and "
            "how soon. Dashed: the report’s two rates. Where a curve ends, more than half of the "
            "networks never arrive; a shade to the upper edge means the same of a quarter."
        )
        return finish("sweep", caption, canvas)
