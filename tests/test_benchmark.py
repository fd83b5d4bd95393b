"""The benchmark is honest: every contestant computes what xpnet computes, step by step.

Nothing is asserted about time. What is compared are the losses of the first steps, all from the
same weights: if they agree, forward, loss, gradient and update of a peer do. Adam's ε is taken so
small that it matters nowhere, since scikit-learn and thinc add it before the bias correction.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    estimators,
    growth,
    machine,
    memory,
    peers_validating,
    plot,
    table,
    tabular,
    timing,
)
from benchmarks.problems import Contestant, Problem, Unavailable
from benchmarks.works import CONTESTANTS, WORKS, Pair, Work
from tests.helpers import library

pytestmark = pytest.mark.program

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
REPORT = Problem(eps=1e-30)
TINY = Problem(
    sizes=(5, 8, 6, 3),
    samples=16,
    activation="relu",
    loss="cross_entropy",
    xor=False,
    lr=1e-3,
    eps=1e-30,
)
PROBLEMS = {
    "report": REPORT,
    "tiny": TINY,
    "tiny float32": replace(TINY, dtype="float32"),
    "tiny, in batches": replace(TINY, batch=8),
    "tiny, held out": replace(TINY, batch=8, held=6),
    "report, 3 members": replace(REPORT, members=3),
    "tiny, own gelu": replace(TINY, activation="own_gelu"),
    "tiny, own norm": replace(TINY, activation="own_layer_norm"),
}
STEPS = 50
SILENT = {"the matrix products alone, NumPy"}  # trains nothing, and so has no losses
# deals samples out itself, and so trains on others
APART = {"scikit-learn, early_stopping"}
SLOW = {"torch.nn, fused Adam, torch.compile"}


@cache
def reference(problem: Problem) -> np.ndarray:
    return CONTESTANTS["xpnet on numpy: fit"](problem).losses(STEPS)


def make(name: str, problem: Problem) -> Contestant:
    try:
        return CONTESTANTS[name](problem)
    except Unavailable as error:
        pytest.skip(f"{name}: {error}")


def fits(name: str, which: str) -> bool:
    """Whether a contestant is written for a problem; whether it is installed is another matter."""
    if which == "tiny, held out":
        return name in peers_validating.PEERS or name == "xpnet on torch: fit"
    if name in peers_validating.PEERS:
        return False
    if name.startswith(("NumPy, ", "straight-line C")) or name.endswith("torch's own loss"):
        return which == "report"
    members = "members" in which
    if "own" in which and ("scikit" in name or "thinc" in name):  # they train something else
        return False
    if "batches" in which and ("thinc" in name or "CUDA graph" in name):
        return False
    return name.startswith("xpnet") or members == ("vmap" in name or "alone" in name)


CASES = [
    pytest.param(name, which, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in CONTESTANTS
    for which in PROBLEMS
    if name not in SILENT | APART and fits(name, which)
]


@pytest.mark.filterwarnings("ignore")  # those of other people's libraries
@pytest.mark.parametrize(("name", "which"), CASES)
def test_every_peer_computes_the_same_losses_as_xpnet(name, which):
    contestant = make(name, PROBLEMS[which])
    trained = contestant.problem
    got, want = contestant.losses(STEPS), reference(replace(trained, accuracy=True))
    # Each step's rounding is carried on by the next; Adam's first steps are of the size of lr
    # whatever the gradient's, so that a rounding error is not damped.
    tolerance = STEPS * 64 * np.finfo(trained.dtype).eps
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    assert want[-1].max() < want[0].max()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in CONTESTANTS if name not in SILENT | SLOW])
def test_a_contestant_starts_anew_every_time(name):
    problem = REPORT if "vmap" not in name else PROBLEMS["report, 3 members"]
    if name in peers_validating.PEERS:
        problem = replace(TINY, samples=48, batch=8, held=24)
    contestant = make(name, problem)
    np.testing.assert_array_equal(contestant.losses(12), contestant.losses(12))


def test_every_pair_of_the_table_names_a_contestant():
    for work in WORKS:
        assert set(work.contestants()) <= set(CONTESTANTS), work.name


def test_a_ratio_is_the_median_of_the_rounds_and_above_1_where_xpnet_is_ahead():
    result = timing.Result("w", "a work", "s", 10)
    result.costs = {
        "xpnet on numpy: fit": [1.0, 2.0, 10.0],
        "xpnet on numpy: runner": [1.0, 1.0, 1.0],
        "peer": [2.0, 6.0, 10.0],
    }
    row = timing._row(Pair("numpy", "peer", target=1.9), result)
    assert (row.ratio, row.reached, row.ours, row.theirs) == (2.0, True, 2.0, 6.0)
    assert row.runner_ratio == 6.0
    assert timing._row(Pair("numpy", "peer", target=2.1), result).reached is False
    assert timing._row(Pair("torch", "peer", target=1.0), result) is None


def test_a_peer_that_is_not_installed_is_skipped_with_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "thinc.api", None)
    lines = []
    work = Work("w", "a work", REPORT, 3, 3, (Pair("numpy", "thinc", 1.0),))
    result = timing.measure(work, rounds=2, quick=True, say=lines.append)
    assert "thinc is not installed" in result.skipped["thinc"]
    assert any("skipped: thinc" in line for line in lines)
    assert result.rows == [] and len(result.costs["xpnet on numpy: fit"]) == 2


def test_one_that_breaks_down_is_named_and_the_others_go_on(monkeypatch):
    def broken(problem):
        raise RuntimeError("out of order")

    monkeypatch.setitem(CONTESTANTS, "thinc", broken)
    work = Work("w", "a work", REPORT, 3, 3, (Pair("numpy", "thinc", 1.0),))
    result = timing.measure(work, rounds=1, quick=True, say=lambda line: None)
    assert result.failed == {"thinc": "RuntimeError: out of order"}
    assert result.costs["xpnet on numpy: fit"]


def test_peak_memory_is_that_of_a_process_of_its_own():
    before, most = memory.measure("memory", "xpnet on numpy: fit", 1)
    theta = 669_706 * 4
    assert before + 4 * theta < most < 2**32


def test_the_bend_of_a_line_is_found():
    values = [2**k for k in range(12)]
    at, slopes = growth.bend(values, [max(64, value) * 1e-6 for value in values])
    assert at == pytest.approx(64, rel=0.02)
    assert slopes == pytest.approx((0, 1), abs=1e-2)
    assert growth.bend(values, [value**0.5 for value in values]) is None
    assert growth.bend([1, 2, 4], [1.0, 1.0, 2.0]) is None


def test_the_page_keeps_what_was_written_by_hand(tmp_path):
    result = timing.Result("w", "a work", "s", 10, skipped={"peer": "not installed"})
    row = timing.Row("numpy", "other", 1.0, 2e-5, 1e-5, 0.5, (0.4, 0.6), 0.7, "does less")
    result.rows = [row]
    line = growth.Line([1, 2], [1e-5, 2e-5], 1.5, (0.0, 1.0))
    lines = {"samples": {"xpnet on numpy: runner": line}}
    about = {
        "date": "a day",
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": 2,
        "rounds": 1,
        "quick": True,
        "load": "0.0",
        "import seconds": 0.02,
        "masks": {"21 × 4": 1.25},
        "validation": {"numpy": 1.125},
        "members": 3.5,
        "mnist": {"xpnet": "95 %"},
        "reading": {"file": 4e9, "peak": 2**28, "before": 2**27, "seconds": {"shuffled": 1.25}},
        "dask": {
            "ratio": 1.8,
            "one": 18.0,
            "workers": 10.0,
            "members": 20_000,
            "epochs": 300,
            "processor": 1.07,
            "quartiles": [1.75, 1.9],
        },
    }
    one = {"scores": [0.5, 1.0], "seconds": [1.0, 2.0]}
    about["estimators"] = {
        "wine": {"ours": one},
        "digits": {"ours": one, "theirs": {"scores": [0.5], "seconds": [1.0]}},
    }
    page = table.markdown([result, *table.beyond(about)], lines, about, "growth.svg", "")
    assert "| wine | 0.750 ± 0.354, 1.5 s |  |" in page
    assert "| digits | 0.750 ± 0.354, 1.5 s | 0.500, 1 s, 1 of 2 splits |" in page
    assert "| numpy | other | 20 µs | 10 µs | 0.50 | 0.40 to 0.60 | 0.70 | 1 | MISSED |" in page
    assert "1.25 (21 × 4)" in page
    over = "| 2 workers of one core | one process on one core | 10 s | 18 s | 1.80 | 1.75 to 1.90 |"
    assert f"{over}  | 1.7 | reached |" in page
    assert "1 of 2 targets reached" in page and "Not measured: peer: not installed" in page
    again = table.markdown([], None, about, None, page.replace("(nothing written yet)", "By hand."))
    assert "By hand." in again and "MISSED" not in again
    library("matplotlib")
    plot.draw(lines, tmp_path / "new" / "growth.svg")
    assert (tmp_path / "new" / "growth.svg").stat().st_size > 1000


def test_estimators_are_set_side_by_side_on_the_same_splits():
    library("sklearn")
    result, scores = estimators.measure(True, lambda line: None)
    assert [row.on for row in result.rows] == ["wine", "diabetes"]
    for of in scores.values():
        ours, theirs = of[estimators.OURS], of[estimators.THEIRS]
        assert len(ours.seconds) == len(theirs.seconds) == 1
        assert ours.scores == pytest.approx(theirs.scores)  # the same networks
    assert not result.failed


def test_houses_are_numbers_that_trees_and_networks_can_learn():
    library("sklearn")
    task = estimators.houses(3000)
    assert task.x.shape == (3000, 20) and task.kind == "Regressor"
    assert (task.y.mean(), task.y.std()) == pytest.approx((0, 1))
    (found,) = tabular.judge(tabular.table("houses", 3000), 0, ["HistGradientBoosting"]).values()
    assert 0.5 < found.score < 0.95


def test_what_is_lost_against_the_best_of_the_others_is_told():
    def of(score, seconds):
        return [tabular.Judged(score + i / 100, 1.0, seconds) for i in range(2)]

    found = {"xpnet, Tabular": of(0.8, 6.0), "trees": of(0.9, 2.0), "a plain network": of(0.7, 1.0)}
    said = tabular.lost("made", found)
    assert said == (
        "- made: xpnet, Tabular scores 0.1000 ± 0.0000 less than the best of the others, trees, "
        "in 3 times its seconds."
    )
    found["xpnet, Tabular"] = of(0.95, 1.0)
    assert "scores 0.0500 ± 0.0000 more than the best" in tabular.lost("made", found)
    assert tabular.lost("made", {"xpnet, Tabular": of(0.8, 6.0)}) == ""


def script(*args):
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_a_quick_run_writes_its_table_and_json(tmp_path):
    done = script("--quick", "--only", "wide-128", "--output", tmp_path, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "torch.nn, fused Adam" in done.stdout or "skipped: torch" in done.stderr
    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [work["name"] for work in record["works"]] == ["wide-128"]
    assert "xpnet on numpy: fit" in record["works"][0]["costs"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--only", "nothing"), "--only must begin a name of report, "),
        (("--only", ""), "--only must begin a name of report, "),
        (("--only", "wide", "--only", "nothing"), "--only must begin a name of report, "),
        (("--threads", "0"), "--threads must be a whole number from 1 to "),
        (("--rounds", "few"), "--rounds must be a whole number from 1 to 1000000, not 'few'."),
        (("--treads", "2"), "--treads is no flag of this program; did you mean --threads?"),
        (("--rounds",), "--rounds expected one argument."),
        (("--output", __file__), "--output must be a folder that can be written, not "),
        (("--markdown", SCRIPTS), "--markdown must be a file, not the folder "),
        (("--markdown", Path(__file__) / "page.md"), "the folder of --markdown must be a folder"),
    ],
)
def test_a_wrong_argument_is_answered_with_a_sentence(args, said, tmp_path):
    output = [] if "--output" in args else ["--output", tmp_path]
    done = script(*output, *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"scripts/benchmark.py: error: {said}")
    assert done.stderr.count("\n") == 1
