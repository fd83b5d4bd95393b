"""Random trainings on array libraries, held to what they must give, to a radius that is derived.

python -m tests.fuzz --cases 10000 --backend numpy,torch
python -m tests.fuzz --seed 7 --case 123 --backend torch
"""

from __future__ import annotations

import argparse
import importlib
import secrets
import sys
import time
import traceback
from collections.abc import Sequence

from tests.fuzz import compare
from tests.fuzz.cases import make
from xpnet import backends


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases; 0 if there was no difference, 1 if there was, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", type=int, default=1000, help="how many, on each library")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, help="what all are drawn from; printed in any case")
    parser.add_argument("--backend", default="numpy", help="libraries, with commas between them")
    parser.add_argument("--case", type=int, help="run this case alone, and show it")
    parser.add_argument(
        "--repeat", type=int, default=1, help="how many cases share a shape (20 is faster on JAX)"
    )
    parser.add_argument("--keep-going", action="store_true", help="do not end at a difference")
    parser.add_argument("--without-peer", action="store_true", help="do not train by torch.optim")
    parser.add_argument("--minutes", type=float, help="end after so long, whatever is left")
    parser.add_argument("--small", action="store_true", help="no case of large arrays")
    args = parser.parse_args(argv)
    seed = secrets.randbelow(1 << 31) if args.seed is None else args.seed
    first, count = (args.first, args.cases) if args.case is None else (args.case, 1)
    print(f"seed {seed}", flush=True)
    libraries = {name: _library(name) for name in args.backend.split(",")}
    peer = compare.HAS_TORCH and not args.without_peer
    if peer:
        # Its arrays are small here: threads would only wait for one another.
        importlib.import_module("torch").set_num_threads(1)
    tallies = {name: compare.Tally() for name in (*["torch.optim"] * peer, *libraries)}
    done, start = dict.fromkeys(tallies, 0), time.perf_counter()
    wrong = dict.fromkeys(tallies, 0)
    for number in range(first, first + count):
        case = make(seed, number, args.repeat, large=not args.small)
        if args.case is not None:
            print(case, flush=True)
        true = compare.truth(case)
        for name, tally in tallies.items():
            done[name] += 1
            try:
                if name == "torch.optim":
                    tally.add(compare.check_peer(case, true))
                else:
                    plain = number % args.repeat == 0
                    tally.add(compare.fits(case, libraries[name], true, plain))
            except Exception as error:
                wrong[name] += 1
                if not isinstance(error, compare.Difference) and args.case is not None:
                    traceback.print_exc()
                again = f"--seed {seed} --case {number} --repeat {args.repeat} --backend {name}"
                again += " --small" * args.small
                print(f"{name}: {type(error).__name__}: {error}\n  {case}", flush=True)
                print(f"  again: python -m tests.fuzz {again}", flush=True)
        if any(wrong.values()) and not args.keep_going:
            break
        if args.minutes is not None and time.perf_counter() - start > 60 * args.minutes:
            break
        if (number + 1 - first) % 1000 == 0:
            print(f"{number + 1 - first} cases, {sum(wrong.values())} differences", flush=True)
    for name, tally in tallies.items():
        print(f"{name}: {done[name]} cases, {wrong[name]} with a difference; {tally}")
    print(f"{time.perf_counter() - start:.0f} s")
    return 1 if any(wrong.values()) else 0


def _library(name: str) -> backends.Backend:
    library, _, device = name.partition(":")
    backend = backends.get(library, device or ("cpu" if library == "jax" else None))
    backend.prepare("float64")
    return backend


if __name__ == "__main__":
    sys.exit(main())
