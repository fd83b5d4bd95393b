"""How much of the report is luck? Its runs again, with a thousand seeds and a thousand draws.

    python scripts/seed_study.py --backend numpy

Writes a folder: a page, its numbers, and a line for every network. On two quiet cores it takes
less than ten minutes on NumPy. Exit status: 0; 2 for a mistake of the user's; 130 after Ctrl-C,
which keeps the settings that are finished.
"""

from __future__ import annotations

import start  # noqa: F401

# isort: split
import shlex
import sys
import time
from collections.abc import Sequence

from report import facts
from report.environment import describe
from report.target import Target, add_options, mistakes
from study import plan
from study.collect import Collection
from study.processes import train_all
from study.progress import Progress
from study.workers import train_over
from xpnet.backends.base import cores
from xpnet.callbacks import writable_folder
from xpnet.cli.cluster import cluster
from xpnet.cli.program import INTERRUPTED, Parser, ready, run, whole

PROG = "scripts/seed_study.py"

MOST = 10**6
"""What no number of networks or processes is above."""

QUICK = {"members": 12, "swept": 6, "rates": (1e-4, 1e-2, 1.0), "epochs": 400}
"""What ``--quick`` makes of the study: enough to see that everything works, and no more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    return run(PROG, lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    parser = Parser(prog=PROG, description=(__doc__ or "").partition("\n")[0])
    add_options(parser)
    parser.add_argument(
        "--members",
        type=whole(2, MOST),
        help=f"networks a setting (1000; {QUICK['members']} if quick)",
    )
    parser.add_argument(
        "--swept",
        type=whole(2, MOST),
        help=f"networks a learning rate (200; {QUICK['swept']} if quick)",
    )
    parser.add_argument(
        "--jobs", type=whole(0, MOST), default=0, help="processes (0: as many as cores)"
    )
    parser.add_argument("--scheduler", help="address of a Dask scheduler, whose workers do it all")
    parser.add_argument(
        "--workers", type=whole(1, MOST), help="so many Dask workers made here, in place of --jobs"
    )
    parser.add_argument(
        "--piece", type=whole(1, MOST), default=250, help="networks trained at once (250)"
    )
    parser.add_argument("--output", default="seed_study", help="the folder to write (seed_study)")
    parser.add_argument("--quick", action="store_true", help="a few networks, for a few epochs")
    options = parser.parse_args(argv)
    target = Target.of(options)
    with mistakes():
        backend = target.prepare()
        folder = writable_folder("--output", options.output)
        writable_folder("--output", folder / "figures")
        from study import page  # matplotlib and jinja2, which the library does without

    ready()
    report, usual = facts.load(), {"members": 1000, "swept": 200, "rates": plan.RATES}
    if options.quick:
        usual = QUICK
        report.common["num_epochs"] = QUICK["epochs"]
    members, swept = options.members or usual["members"], options.swept or usual["swept"]
    rates = usual["rates"]
    pieces = plan.pieces(report, members, swept, options.piece, rates)
    jobs = options.jobs or cores()
    collected = Collection(pieces)
    began = time.perf_counter()
    with cluster(options.scheduler, options.workers) as client, Progress(pieces) as progress:
        watched = progress.tell, lambda result: progress.say(collected.add(result))
        if client is None:
            interrupted = train_all(pieces, report, target, min(jobs, len(pieces)), *watched)
        else:
            jobs = sum(client.nthreads().values())
            interrupted = train_over(client, pieces, report, target, *watched)
    seconds = time.perf_counter() - began
    stops = collected.finished()
    if not stops:
        print("Interrupted before a setting was finished: no page was written.", file=sys.stderr)
        return INTERRUPTED
    study = page.Study(
        report,
        stops,
        collected.diverged(),
        collected.logs(),
        describe(backend, target.dtype),
        seconds,
        jobs,
        shlex.join(["python", "scripts/seed_study.py", *argv]),
        interrupted,
    )
    page.write(folder, study)
    if interrupted:
        print("Interrupted: what follows is of the settings that were finished.", file=sys.stderr)
    print(page.in_words(study))
    print(f"Written: {folder / 'index.html'}, in {seconds:.0f} s.")
    return INTERRUPTED if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
