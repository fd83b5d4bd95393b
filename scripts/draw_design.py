"""Draw the two pictures of docs/design.md: the data's way through fit, a step on its way to calls.

    python scripts/draw_design.py            # into docs/
    python scripts/draw_design.py --out DIR

What the second one shows is not written here: a small network is recorded, planned and written, and
the drawing tells what came of it. Exit status: 0; 2 for a mistake of the user's.
"""

from __future__ import annotations

import start  # noqa: F401

# isort: split
import sys
from pathlib import Path

from drawings import fit_way, step_way
from xpnet.cli.program import Mistake, Parser, run

PROG = "scripts/draw_design.py"
FILES = {"design-fit.svg": fit_way.draw, "design-step.svg": step_way.draw}


def main() -> int:
    parser = Parser(prog=PROG, description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs"), help="the folder, docs/ if none")
    folder = parser.parse_args().out
    if not folder.is_dir():
        raise Mistake(f"--out must be a folder that is there, not {str(folder)!r}.")
    for name, draw in FILES.items():
        draw().savefig(folder / name, metadata={"Date": None})
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(run(PROG, main))
