"""Make every run of the report again, and write a page that sets each printed number beside ours.

    python scripts/reproduce_report.py --backend numpy

Exit status: 0 if every number that can be had again agrees (only float64 must agree); 1 if one does
not; 2 for a mistake of the user's; 130 after Ctrl-C.
"""

from __future__ import annotations

import start  # noqa: F401

# isort: split
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from report.compare import Verdict, compare, disagreements
from report.environment import describe
from report.facts import load
from report.luck import find
from report.runs import OurRun, make_all
from report.target import Target, add_options, mistakes
from xpnet.callbacks import writable_folder
from xpnet.cli.program import INTERRUPTED, Parser, ready, run

PROG = "scripts/reproduce_report.py"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    return run(PROG, lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    parser = Parser(prog=PROG, description=(__doc__ or "").partition("\n")[0])
    add_options(parser)
    parser.add_argument("--output", default="report", help="the folder to write (report)")
    parser.add_argument("--study", help="the folder of seed_study.py (seed_study, if it is there)")
    options = parser.parse_args(argv)
    target = Target.of(options)
    with mistakes():
        backend = target.prepare()
        luck = find(options.study, Path(options.output))
        folder = writable_folder("--output", options.output)
        writable_folder("--output", folder / "figures")
        from report import figures, page  # matplotlib and jinja2, which the library does without

    ready()
    runs = list(make_all(load(), target, _tell))
    if runs[-1].interrupted:
        print("Interrupted: no page was written.", file=sys.stderr)
        return INTERRUPTED
    numbers = compare(runs)
    environment = describe(backend, target.dtype)
    numbered, extra = figures.numbered(runs), figures.extra(runs)
    again = shlex.join(["python", "scripts/reproduce_report.py", *argv])
    text = page.render(runs, numbers, environment, numbered, extra, again, luck)
    page.write(folder, text, [*numbered, *extra], page.results(runs, numbers, environment))
    print(f"Written: {folder / 'index.html'}")

    wrong = disagreements(numbers)
    for number in wrong:
        where = "stop" if number.epoch is None else f"{number.quantity} at epoch {number.epoch}"
        print(
            f"{number.dataset}, {number.setting}, {where}: "
            f"{number.ours or 'not printed'}, but the report has {number.expected}."
        )
    if not wrong:
        misprints = sum(number.verdict is Verdict.MISPRINT for number in numbers)
        print(
            f"Every number that can be had again agrees, but for {misprints} misprinted. (The "
            "report drew its linear points before it set a seed: those runs are on points of our "
            "own, and need not agree.)"
        )
    elif target.dtype != page.EXACT:
        print(f"The report was made in {page.EXACT}; in {target.dtype} it need not agree.")
    return 1 if wrong and target.dtype == page.EXACT else 0


def _tell(run: OurRun) -> None:
    printed = run.printed
    print(
        f"{printed.dataset:7} {printed.setting.name:38} stops at {run.stop or '–':>6}   "
        f"report {printed.stop:>6}   {run.seconds:6.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
