"""The results as a person reads them: in the terminal, and as ``docs/benchmarks.md``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.growth import AXES, Line
from benchmarks.timing import Result, Row

HEADER = ("on", "against", "xpnet", "peer", "ratio", "spread", "runner", "at least", "")
NOTES_MARK = "<!-- written by hand from here on; scripts/benchmark.py keeps what follows -->"
NOTES_START = """## Where a target is missed, and what was tried

(nothing written yet)
"""


def cost(value: float, unit: str) -> str:
    """A number of seconds or bytes in the unit that suits it."""
    if unit == "B":
        return f"{value / 2**20:.0f} MiB"
    for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value / 1e-9:.3g} ns"


def _cells(row: Row, unit: str) -> tuple[str, ...]:
    mark = {True: "reached", False: "MISSED", None: ""}[row.reached]
    return (
        row.on,
        row.peer,
        cost(row.ours, unit),
        cost(row.theirs, unit),
        f"{row.ratio:.2f}",
        f"{row.quartiles[0]:.2f} to {row.quartiles[1]:.2f}",
        "" if row.runner_ratio is None else f"{row.runner_ratio:.2f}",
        "" if row.target is None else f"{row.target:g}",
        mark,
    )


def text(result: Result) -> str:
    """The rows of a work, in columns."""
    rows = [HEADER, *(_cells(row, result.unit) for row in result.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    right = range(2, len(HEADER) - 1)
    return "\n".join(
        "  ".join(
            f"{cell:>{widths[i]}}" if i in right else f"{cell:<{widths[i]}}"
            for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def masks(ratios: dict[str, float]) -> str:
    """What masks cost NumPy, in a sentence."""
    found = ", ".join(f"{ratio:.2f} ({shape})" for shape, ratio in ratios.items())
    return f"A mask of Dropout takes NumPy {found} of what `Generator.random` does, of at most 2."


def validation(ratios: dict[str, float]) -> str:
    """What validation costs, in a sentence."""
    found = ", ".join(f"{ratio:.2f} on {name}" for name, ratio in ratios.items())
    return (
        "Training with validation at every epoch (1,500 samples, 297 held out, 64-64-10, batch 32, "
        f"float32) takes {found} of the time without, of at most 1.15."
    )


def members(ratio: float) -> str:
    """What eight members cost, in a sentence."""
    return (
        "8 members with validation (64-100-10, batch 200, float32, NumPy) take "
        f"{ratio:.1f} times as long as one network with it, of at most 4."
    )


def mnist(learned: dict[str, str]) -> str:
    """What is learned of MNIST's digits, in a sentence."""
    found = ", ".join(f"{name} {said}" for name, said in learned.items())
    return (
        "5,000 digits of MNIST (784-512-256-10, early stopping; xpnet with dropout and a cosine "
        f"schedule), test accuracy and time over splits of 4,000 and 1,000: {found}."
    )


def scores(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Score and time of each estimator on each table, under a header."""
    whose = list(dict.fromkeys(who for of in found.values() for who in of))
    rows = [("table", *whose)]
    for name, of in found.items():
        most = max(len(one["scores"]) for one in of.values())
        rows.append((name, *(_score(of[who], most) if who in of else "" for who in whose)))
    return rows


def _score(one: dict[str, list[float]], most: int) -> str:
    mean, seconds = statistics.mean(one["scores"]), statistics.median(one["seconds"])
    spread = f" ± {statistics.stdev(one['scores']):.3f}" if len(one["scores"]) > 1 else ""
    some = f", {len(one['scores'])} of {most} splits" if len(one["scores"]) < most else ""
    return f"{mean:.3f}{spread}, {cost(seconds, 's')}{some}"


def scores_text(found: dict[str, Any]) -> str:
    """The same in columns, one estimator a line, since their names are long."""
    header, *rows = scores(found)
    return "\n".join(
        f"{row[0]:14} {who:24} {said}"
        for row in rows
        for who, said in zip(header[1:], row[1:], strict=True)
        if said
    )


def reading(found: dict[str, Any] | None) -> str:
    """What samples that are read take, in a sentence."""
    if found is None:
        return "Samples that are read from a file were not measured: the disk has no room for it."
    times = ", ".join(f"{ratio:.2f} {order}" for order, ratio in found["seconds"].items())
    return (
        f"Training on an .npy file of {found['file'] / 1e9:.1f} GB (784-256-10, batch 1024, "
        f"float32, NumPy) takes {cost(found['peak'], 'B')} of memory, of at most 600 MB; "
        f"{cost(found['before'], 'B')} of them for a single batch. On what the system has read "
        f"before it takes {times} of the time of samples in memory."
    )


def dask(found: dict[str, Any]) -> str:
    """What a second worker is worth, in a sentence."""
    return (
        f"{found['members']:,} members at report scale for {found['epochs']} epochs, dealt out to "
        "a Dask cluster of two workers of one core (float64, Adam, NumPy, no machine code): "
        f"{found['ratio']:.2f} times as fast as one process on one core ({found['workers']:.1f} "
        f"and {found['one']:.1f} s; promised are 1.7), in {found['processor']:.2f} of its "
        "processor time."
    )


def beyond(about: dict[str, Any]) -> list[Result]:
    """What a second worker of Dask and a second rank of MPI bring, as rows with their targets."""
    results = []
    for name, title, kind, ours, theirs, target in BEYOND:
        if found := about.get(name):
            row = Row(
                kind, "one process on one core", target, found[ours], found[theirs],
                found["ratio"], tuple(found["quartiles"]), None, None,
            )  # fmt: skip
            results.append(Result(name, title, "s", 1, rows=[row]))
    return results


BEYOND = (
    ("dask", "20,000 members at report scale, dealt out to a Dask cluster, seconds of `fit`",
     "2 workers of one core", "workers", "one", 1.7),
    ("mpi", "784-512-512-10, batch 4096, float32, shared out by MPI, seconds of a step",
     "2 ranks of one core", "ranks", "alone", 1.6),
)  # fmt: skip


def mpi(found: dict[str, Any] | None) -> str:
    """What a second rank brings, in a sentence."""
    if found is None:
        return "Ranks of MPI were not measured: there is no MPI here, or one core alone."
    return (
        f"Two ranks of MPI, a core each, take {cost(found['ranks'], 's')} a step of "
        f"784-512-512-10 (batch 4096, float32, Adam, NumPy), and one process on one core "
        f"{cost(found['alone'], 's')}: {found['ratio']:.2f} times as fast, of at least 1.6."
        + (
            f" At report scale, a step of one rank by processor time: {cost(found['calls'], 's')} "
            f"as calls, {found['native']:.1f} times as long as machine code."
            if "native" in found
            else ""
        )
    )


SENTENCES: dict[str, Callable[[Any], str]] = {
    "masks": masks,
    "validation": validation,
    "members": members,
    "mnist": mnist,
    "reading": reading,
    "dask": dask,
    "mpi": mpi,
}
"""What is told in a sentence each, if it was asked for."""


def sentences(about: dict[str, Any]) -> list[str]:
    """Those of what was measured."""
    asked = ((say, about[name]) for name, say in SENTENCES.items() if name in about)
    return [say(found) for say, found in asked if found != {}]


def verdict(results: Sequence[Result]) -> str:
    """How many targets are reached, and which are not."""
    rows = [(result, row) for result in results for row in result.rows if row.target is not None]
    missed = [(result, row) for result, row in rows if not row.reached]
    lines = [f"{len(rows) - len(missed)} of {len(rows)} targets reached."]
    lines += [
        f"Missed: {result.name}, {row.on} against {row.peer}: {row.ratio:.2f} of {row.target:g}."
        for result, row in missed
    ]
    return "\n".join(lines)


def growth_text(lines: dict[str, dict[str, Line]]) -> str:
    """Where each line of the plot bends."""
    out = []
    for axis, of_axis in lines.items():
        for name, line in of_axis.items():
            where = "does not bend" if line.bend is None else f"bends at {line.bend:,.0f}"
            if line.slopes is not None:
                where += f" (power {line.slopes[0]:.2f} before, {line.slopes[1]:.2f} after)"
            out.append(f"{axis:8} {name}: {where}")
    return "\n".join(out)


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        f"|{' --- |' * len(header)}",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
    ]


def markdown(
    results: Sequence[Result],
    lines: dict[str, dict[str, Line]] | None,
    about: dict[str, Any],
    plot: str | None,
    old: str,
) -> str:
    """The whole page; what was written by hand below the mark in ``old`` stays."""
    machine = about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    out = [
        "# Benchmarks",
        "",
        "xpnet beside its peers, by `nox -s benchmark -- --markdown docs/benchmarks.md`. A ratio",
        "is the peer's time (or memory) by xpnet's in the same round, the median over all rounds:",
        "above 1, xpnet is ahead. The spread is that of the middle half of the rounds. `ratio` is",
        "that of `xn.fit`, with all that a user calls; `runner` that of its inner loop alone.",
        "",
        f"{about['date']} · {where}{', ' + machine['gpu'] if machine['gpu'] else ''} · "
        f"{about['threads']} threads each · {about['rounds']} rounds · load before the run "
        f"{about['load']}",
        "",
        versions,
        "",
        f"`import xpnet` adds {1e3 * about['import seconds']:.0f} ms to `import numpy`, of at most "
        "50 that are promised.",
        "",
        *(line for sentence in sentences(about) for line in (sentence, "")),
        *(["**A smoke run: these numbers mean nothing.**", ""] if about["quick"] else []),
        verdict(results).replace("\nMissed", "\n\n- Missed", 1).replace("\nMissed", "\n- Missed"),
        "",
    ]
    for result in results:
        out += [f"## {result.title[0].upper()}{result.title[1:]}", ""]
        if result.rows:
            out += _markdown_table(HEADER, [_cells(row, result.unit) for row in result.rows])
        notes = dict.fromkeys((row.peer, row.note) for row in result.rows if row.note)
        out += [f"- {peer}: {note}." for peer, note in notes]
        out += [f"- Not measured: {name}: {why}." for name, why in result.skipped.items()]
        out += [f"- FAILED: {name}: {why}." for name, why in result.failed.items()]
        for name, details in result.details.items():
            if "before" in details:
                out.append(
                    f"- {name}: {cost(details['before'], 'B')} of it before the first step: "
                    "Python, the library, data and weights."
                )
            else:
                values = ", ".join(f"{key} {value:.4g}" for key, value in details.items())
                out.append(f"- {name}: {values}.")
        out.append("")
    if learned := about.get("estimators"):
        header, *rows = scores(learned)
        splits = max(len(one["scores"]) for of in learned.values() for one in of.values())
        out += [
            "## What is learned of tables",
            "",
            f"Accuracy, or R² of diabetes and houses: mean and spread over up to {splits} splits, "
            "the same for all, and the median time of `fit`, with equal options. Strong defaults "
            "are set beside what else is taken for tables by `scripts/benchmarks/tabular.py`.",
            "",
        ]
        out += _markdown_table(header, rows)
    if lines:
        out += ["## How the cost of a step grows", ""]
        if plot:
            out += [f"![Time of a step against samples, width, depth and members]({plot})", ""]
        rows = [
            (
                axis,
                name,
                *(f"{cost(line.seconds[i], 's')} at {line.values[i]:,}" for i in (0, -1)),
                "no" if line.bend is None else f"{line.bend:,.0f}",
                "" if line.slopes is None else f"{line.slopes[0]:.2f}, then {line.slopes[1]:.2f}",
            )
            for axis, of_axis in lines.items()
            for name, line in of_axis.items()
        ]
        out += _markdown_table(("against", "who", "first", "last", "bends at", "power"), rows)
        out += [f"- {axis}: {AXES[axis][0]}." for axis in lines]
        out.append("")
    kept = old.partition(NOTES_MARK)[2].strip("\n") or NOTES_START.strip("\n")
    return "\n".join([*out, NOTES_MARK, "", kept, ""])
