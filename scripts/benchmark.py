"""Run xpnet and its peers side by side: ratios, targets, how cost grows.

    python scripts/benchmark.py --threads 2                  # everything, in some half an hour
    python scripts/benchmark.py --quick                      # a smoke run; the numbers mean nothing
    python scripts/benchmark.py --only report --only wide    # works whose names begin so
    python scripts/benchmark.py --markdown docs/benchmarks.md

Who takes part is in `benchmarks/works.py`, with the targets. A peer that is not installed is
skipped with a line. Exit status: 0 whether targets are reached or not; 1 if a contestant failed; 2
for a mistake of the user's; 130 after Ctrl-C.
"""

from __future__ import annotations

import start  # noqa: F401

# isort: split
import argparse
import datetime
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine
from xpnet.cli.program import Mistake, Parser, ready, run, whole

PROG = "scripts/benchmark.py"


def arguments() -> argparse.Namespace:
    parser = Parser(prog=PROG, description=__doc__.partition("\n")[0])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    threads = min(2, cores)
    parser.add_argument(
        "--threads",
        type=whole(1, cores),
        default=threads,
        help=f"for each library, at most the cores there are ({threads})",
    )
    parser.add_argument(
        "--rounds", type=whole(1, 10**6), help="how many rounds (default 9; 1 if quick)"
    )
    parser.add_argument("--quick", action="store_true", help="few steps: does everything run?")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="works whose names begin so; may be repeated",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmark"),
        help="folder for JSON and plot (benchmark)",
    )
    parser.add_argument("--markdown", type=Path, help="write the page here, the plot beside it")
    parser.add_argument(
        "--date", default=datetime.date.today().isoformat(), help="what the page says (today)"
    )
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    chosen: argparse.Namespace = parser.parse_args()
    return chosen


def main() -> int:
    return run(PROG, _run)


def _run() -> int:
    chosen = arguments()
    if chosen.memory_of:
        from benchmarks import memory

        work, contestant, steps = chosen.memory_of
        return memory.child(work, contestant, int(steps))

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    machine.hold_threads(chosen.threads)
    # Only now: the thread pools of the libraries are made when these import them.
    from benchmarks import (
        dealing,
        gpu,
        growth,
        importing,
        masks,
        ranks,
        reading,
        table,
        timing,
        validating,
    )
    from benchmarks.works import WORKS

    ready()
    _writable(chosen)
    for name in chosen.only:
        names = [*(work.name for work in WORKS), "growth", "estimators", *table.SENTENCES]
        if not name or not any(full.startswith(name) for full in names):
            raise Mistake(f"--only must begin a name of {', '.join(names)}, not {name!r}.")
    rounds = chosen.rounds or (1 if chosen.quick else 9)
    about = {
        "date": chosen.date,
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": chosen.threads,
        "rounds": rounds,
        "quick": chosen.quick,
        "load": load,
        "import seconds": importing.median(rounds),
    }
    asked = {
        "masks": lambda: masks.ratios(rounds),
        "validation": lambda: validating.ratios(["numpy", "torch", "jax"], rounds, chosen.quick),
        "members": lambda: validating.members(rounds, chosen.quick),
        "mnist": lambda: _mnist(chosen),
        "reading": lambda: reading.measure(rounds, chosen.quick),
        "dask": lambda: dealing.measure(rounds, chosen.quick),
        "mpi": lambda: ranks.measure(rounds, chosen.quick),
    }
    about |= {name: ask() for name, ask in asked.items() if _wanted(name, chosen.only)}
    if chosen.quick:
        print("A smoke run, of few steps: the numbers mean nothing.\n")
    added = 1e3 * about["import seconds"]
    print(f"import xpnet adds {added:.0f} ms to import numpy\n")
    for sentence in table.sentences(about):
        print(f"{sentence}\n")
    works = [work for work in WORKS if _wanted(work.name, chosen.only)]
    growing = _wanted("growth", chosen.only)
    has_gpu = about["machine"]["gpu"] is not None
    results, scores = _estimators(chosen)
    about["estimators"] = scores
    for result in table.beyond(about):
        print(f"{result.title}\n\n{table.text(result)}\n")
        results.append(result)
    for work in works:
        if work.gpu and not has_gpu:
            _say(f"{work.name}: skipped: xpnet finds no GPU through CuPy\n")
            continue
        result = timing.measure(work, rounds, chosen.quick, _say)
        if work.name == "gpu-members":
            for row in result.rows:
                name = f"xpnet on {row.on}: fit"
                result.details[name] = gpu.throughput(row.on, work.problem, row.ours)
        results.append(result)
        print(f"\n{table.text(result)}\n")
    print(table.verdict(results))
    about["thread pools"] = machine.thread_pools()
    written = _write(chosen, about, results, None)  # kept, should what follows be cut short
    if growing:
        libraries = ["numpy", "torch", "jax", *["cupy"] * has_gpu]
        lines = growth.measure(libraries, min(3, rounds), chosen.quick, _say)
        print(f"\n{table.growth_text(lines)}\n")
        written = _write(chosen, about, results, lines)
    print(f"Written: {', '.join(map(str, written))}")
    failed = [f"{result.name}: {name}" for result in results for name in result.failed]
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _estimators(chosen: argparse.Namespace) -> tuple[list[Any], dict[str, Any]]:
    """Times of estimators, and scores; nothing where they are not asked for, or not here."""
    from benchmarks import estimators, table
    from benchmarks.problems import Unavailable

    if not _wanted("estimators", chosen.only):
        return [], {}
    try:
        result, scores = estimators.measure(chosen.quick, _say)
    except Unavailable as error:
        _say(f"estimators: skipped: {error}\n")
        return [], {}
    plain = {name: {who: asdict(one) for who, one in of.items()} for name, of in scores.items()}
    print(f"\n{table.text(result)}\n\n{table.scores_text(plain)}\n")
    return [result], plain


def _mnist(chosen: argparse.Namespace) -> dict[str, str]:
    """What is learned of MNIST's digits, by whom; nothing where it is not asked, or not here."""
    from benchmarks import mnist
    from benchmarks.problems import Unavailable

    try:
        learned = mnist.measure(5, chosen.quick, _say)
    except Unavailable as error:
        _say(f"mnist: skipped: {error}\n")
        return {}
    return {name: str(said) for name, said in learned.items()}


def _writable(chosen: argparse.Namespace) -> None:
    """Find out before the runs whether their results can be written."""
    from xpnet.callbacks import writable_folder

    try:
        writable_folder("--output", chosen.output)
        if chosen.markdown:
            writable_folder("the folder of --markdown", chosen.markdown.parent)
    except ValueError as error:
        raise Mistake(str(error)) from None
    if chosen.markdown and chosen.markdown.is_dir():
        raise Mistake(f"--markdown must be a file, not the folder {str(chosen.markdown)!r}.")


def _write(chosen: argparse.Namespace, about: Any, results: Any, lines: Any) -> list[Path]:
    """Write what was asked for; return the files."""
    from benchmarks import plot, table
    from benchmarks.problems import Unavailable

    record = {
        **about,
        "works": [
            {**asdict(result), "rows": [{**asdict(r), "reached": r.reached} for r in result.rows]}
            for result in results
        ],
        "growth": lines
        and {
            axis: {name: asdict(line) for name, line in of_axis.items()}
            for axis, of_axis in lines.items()
        },
    }
    path = chosen.output / "results.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written = [path]
    picture = None
    if lines:
        folder = chosen.markdown.parent if chosen.markdown else chosen.output
        picture = folder / "benchmarks-growth.svg"
        try:
            plot.draw(lines, picture)
            written.append(picture)
        except Unavailable as error:
            _say(str(error))
            picture = None
    if chosen.markdown:
        old = chosen.markdown.read_text(encoding="utf-8") if chosen.markdown.exists() else ""
        page = table.markdown(results, lines, about, picture and picture.name, old)
        chosen.markdown.write_text(page, encoding="utf-8")
        written.append(chosen.markdown)
    return written


def _wanted(name: str, only: list[str]) -> bool:
    return not only or any(name.startswith(part) for part in only)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
