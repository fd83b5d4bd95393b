"""How much of the report is luck: what is trained, what is concluded, what the page shows."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
import shlex
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import library

library("matplotlib")
library("jinja2")

import seed_study  # noqa: E402
from report import environment, facts, luck, page  # noqa: E402
from report.compare import Number, Verdict, compare  # noqa: E402
from report.figures import theme  # noqa: E402
from report.figures.theme import Figure  # noqa: E402
from report.target import Target  # noqa: E402
from study import conclusions, plan, processes, statistics, training  # noqa: E402
from study.collect import Collection  # noqa: E402
from tests.echoes import echo  # noqa: E402
from xpnet import backends, cli  # noqa: E402

pytestmark = pytest.mark.program

SCRIPTS = Path(__file__).parents[1] / "scripts"
FACTS = facts.load()
SHORT = dataclasses.replace(FACTS, common={**FACTS.common, "num_epochs": 600})
RNG_SEED = 0


def stops_of(*stops: int) -> np.ndarray:
    return np.asarray(stops)


# ---- statistics


def test_a_network_that_never_arrives_counts_as_later_than_all_others():
    stop = stops_of(0, 100, 300, 200)
    assert [statistics.quantile(stop, q) for q in (0.25, 0.5, 0.75, 1)] == [100, 200, 300, None]


def test_the_percentile_counts_half_of_those_that_stop_with_it():
    rank = statistics.rank(statistics.times(stops_of(100, 200, 200, 0)), 200)
    assert (rank.before, rank.mid, rank.by) == (25, 50, 75)


def test_the_share_has_wilsons_interval():
    # Wilson (1927) for 8 of 10, worked by hand: (0.8 + 0.19207) / 1.38415 ± 0.22641.
    found = statistics.share(stops_of(*[100] * 8, 0, 0))
    assert found.value == 0.8
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_the_curve_rises_by_the_share_that_arrives_and_ends_at_that_which_ever_does():
    epochs, share = statistics.arrived(stops_of(300, 100, 0, 100))
    assert epochs.tolist() == [100, 300]
    assert share.tolist() == [0.5, 0.75]


def test_pairs_decide_who_arrives_sooner_and_those_that_never_do_are_ties():
    first, second = stops_of(100, 200, 0, 0), stops_of(200, 100, 300, 0)
    found = statistics.effect(first, second, np.random.default_rng(RNG_SEED))
    assert found.superiority.value == (1 + 0 + 0 + 0.5) / 4
    assert found.arriving.value == -0.25
    assert found.ratio.value == 200 / 200


def test_the_interval_of_an_effect_holds_what_the_pairs_were_drawn_with():
    rng = np.random.default_rng(RNG_SEED)
    second = rng.integers(1, 50, 500) * 100
    sooner = rng.uniform(size=500) < 0.7
    found = statistics.effect(np.where(sooner, second - 50, second + 50), second, rng)
    assert found.superiority.low < 0.7 < found.superiority.high
    assert found.superiority.high - found.superiority.low == pytest.approx(0.08, abs=0.01)
    assert found.verdict == "sooner"


def test_the_same_study_has_the_same_intervals():
    stops = [np.random.default_rng(k).integers(0, 9, 50) * 100 for k in (1, 2)]
    effects = [statistics.effect(*stops, np.random.default_rng(RNG_SEED)) for _ in range(2)]
    assert effects[0] == effects[1]


def test_pairs_that_are_all_alike_do_not_make_the_interval_a_point():
    stop = np.full(1000, 100)
    found = statistics.effect(stop, 2 * stop, np.random.default_rng(RNG_SEED))
    assert found.superiority.value == 1
    assert 0.99 < found.superiority.low < 1
    assert found.arriving.low < 0 < found.arriving.high
    assert found.ratio == statistics.Interval(2, 2, 2)


def test_a_median_that_never_arrives_makes_the_ratio_infinite():
    found = statistics.effect(
        np.full(9, 100), np.zeros(9, dtype=int), np.random.default_rng(RNG_SEED)
    )
    assert math.isinf(found.ratio.value)


# ---- what is trained


@pytest.mark.parametrize("size", [3, 7, 1000])
def test_the_pieces_hold_every_network_once(size):
    pieces = plan.pieces(FACTS, 10, 4, size)
    trained = [(cell, i) for piece in pieces for cell in piece.cells for i in piece.members]
    wanted = [(cell, i) for cell in plan.cells(FACTS) for i in range(10)]
    wanted += [(cell, i) for cell in plan.sweep(FACTS) for i in range(4)]
    assert len(trained) == len(wanted)
    assert set(trained) == set(wanted)


def test_five_settings_are_studied_on_both_data_sets_and_the_rate_from_1e5_to_1():
    cells = plan.cells(FACTS)
    assert len(cells) == 5 * 3
    assert {cell.world.dataset for cell in cells} == {"xor", "linear"}
    assert (plan.RATES[0], plan.RATES[-1]) == (1e-5, 1.0)
    assert {1e-4, 1e-2} < set(plan.RATES)


def test_network_0_of_xor_is_the_reports_own_run():
    for piece in plan.pieces(FACTS, 1, 1, 1):
        cell = piece.cells[0]
        if cell.world == plan.XOR and not cell.sweep and cell.setting.lr == 1e-2:
            result = training.train(piece, FACTS, Target())
            printed = next(r for r in FACTS.runs if (r.dataset, r.setting) == ("xor", cell.setting))
            assert result.stop.tolist() == [[printed.stop]]


@pytest.mark.parametrize("world", plan.ALL.values(), ids=lambda world: world.name)
def test_every_network_can_be_trained_alone_by_its_command(world):
    base = FACTS.settings[0]
    cells = tuple(
        plan.Cell(world, dataclasses.replace(base, lr=lr), sweep=True) for lr in (2e-2, 1e-2)
    )
    result = training.train(plan.Piece(cells, first=3, count=2), SHORT, Target())
    for row, cell in enumerate(cells):
        for column, member in enumerate((3, 4)):
            argv = shlex.split(training.command(cell, member))[2:]
            argv += ["--num_epochs", "600", "--is_writer_logging=False", "--is_image_saving=False"]
            alone = cli.train(argv, write=lambda line: None).model.history
            assert result.stop[row, column] == alone.stop


def test_the_losses_that_the_report_prints_of_its_linear_runs_are_looked_up():
    run = next(r for r in FACTS.runs if r.unseeded_data and r.log)
    cell = plan.Cell(plan.POINTS, run.setting)
    short = dataclasses.replace(FACTS, common={**FACTS.common, "num_epochs": 500})
    piece = plan.Piece((cell,), 0, 3)
    collected = Collection([piece])
    collected.add(training.train(piece, short, Target()))
    argv = shlex.split(training.command(cell, 2))[2:]
    quiet = ["--num_epochs", "500", "--is_writer_logging=False", "--is_image_saving=False"]
    alone = cli.train([*argv, *quiet], write=lambda line: None).model.history
    loss, accuracy = collected.logs()[cell][500]
    assert loss[2] == pytest.approx(alone.loss[-1], rel=1e-9)
    assert accuracy[2] == pytest.approx(alone.accuracy[-1])
    (found,) = conclusions.populations(FACTS, collected.finished(), collected.logs())
    assert {logged.epoch for logged in found.logged} == {epoch for epoch, _, _ in run.log}
    assert found.logged[0].rank.mid == 100 * np.mean(loss < run.log[0][1])
    assert found.logged[-1].rank is None  # nobody was trained so long


def test_two_processes_find_what_one_does():
    pieces = plan.pieces(SHORT, 2, 2, 2, rates=(1e-2,))[:3]
    found = []
    for jobs in (1, 2):
        results: list[training.Result] = []
        told: dict[int, float] = {}
        assert not processes.train_all(
            pieces, SHORT, Target(), jobs, told.__setitem__, results.append
        )
        assert set(told) == {0, 1, 2}
        found.append({r.piece: r.stop.tolist() for r in results})
    assert found[0] == found[1]
    assert len(found[0]) == 3


# ---- conclusions


def test_rates_at_which_fewer_arrive_are_too_large_or_too_small_and_the_slow_are_named():
    rng = np.random.default_rng(RNG_SEED)
    shares = {1e-5: 0.1, 1e-4: 0.9, 1e-3: 0.9, 1e-2: 0.9, 1e-1: 0.9, 1.0: 0.3}
    stops = {
        plan.Cell(plan.XOR, dataclasses.replace(FACTS.settings[0], lr=lr), sweep=True): np.where(
            rng.uniform(size=400) < share, 100 if lr >= 1e-2 else round(10 / lr), 0
        )
        for lr, share in shares.items()
    }
    (sweep,) = conclusions.sweeps(FACTS, stops)
    assert (sweep.too_small, sweep.slow, sweep.too_large) == (1e-5, 1e-3, 1.0)
    assert sweep.fastest == (1e-2, 1e-1)


# ---- the page


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert seed_study.main(["--quick", "--jobs", "1", "--output", str(folder)]) == 0
    return folder


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_workers_write_the_same_numbers(folder, tmp_path):
    library("distributed")
    assert seed_study.main(["--quick", "--workers", "2", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "runs.csv").read_bytes() == (folder / "runs.csv").read_bytes()
    ours, theirs = (json.loads((one / "results.json").read_text()) for one in (tmp_path, folder))
    for found in (ours, theirs):
        for name in ("command", "seconds", "processes"):
            del found[name]
        del found["environment"]["made"]
    assert ours == theirs


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.sources = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name == "href" and tag == "a":
                self.links.append(value)
            elif name in ("src", "srcset") or (name == "href" and tag == "link"):
                self.sources.append(value)


def test_the_page_needs_no_other_file(folder):
    found = Reader((folder / "index.html").read_text())
    assert found.sources == []
    assert len(found.ids) == len(set(found.ids))
    for link in found.links:
        assert link.lstrip("#") in found.ids if link.startswith("#") else (folder / link).exists()


def test_the_page_has_every_figure_also_as_files(folder):
    text = (folder / "index.html").read_text()
    names = ["arrivals-xor", "arrivals-linear-points", "arrivals-linear-weights"]
    for name in [*names, "effects", "sweep"]:
        assert f'id="figure-{name}"' in text
        for suffix in ("svg", "png"):
            assert (folder / "figures" / f"figure-{name}.{suffix}").stat().st_size > 0


def test_there_is_a_line_for_every_network(folder):
    rows = list(csv.DictReader((folder / "runs.csv").read_text().splitlines()))
    assert len(rows) == 15 * 12 + 2 * 3 * 6
    own = [r for r in rows if r["seed"] == "42" and r["dataset"] == "xor" and r["optim"] == "adam"]
    stops = {(r["study"], r["activation"], r["dim_hidden"], r["lr"]): r["stop"] for r in own}
    assert stops["settings", "leaky_relu", "4", "0.01"] == "100"
    assert stops["settings", "relu", "4", "0.01"] == "200"
    assert stops["sweep", "leaky_relu", "4", "0.0001"] == ""


def test_the_numbers_are_json_that_every_program_reads(folder):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    document = json.loads((folder / "results.json").read_text(), parse_constant=refuse)
    assert len(document["populations"]) == 15
    assert len(document["conclusions"]) == 4 * 3
    assert [len(sweep["rates"]) for sweep in document["sweeps"]] == [3, 3]
    assert document["networks"] == 15 * 12 + 2 * 3 * 6


def test_a_stop_beyond_the_epochs_trained_has_no_percentile(folder, tmp_path):
    document = json.loads((folder / "results.json").read_text())
    for population in document["populations"]:
        beyond = population["stop_printed"] > document["epochs"]
        assert (population["percentile"] is None) == beyond
        assert all(logged["epoch"] <= document["epochs"] for logged in population["logged"])
    text = (folder / "index.html").read_text()
    beyond = [p for p in document["populations"] if p["percentile"] is None]
    assert text.count("beyond the 400 epochs trained</td>") == len(beyond) == 6
    found = luck.find(str(folder), tmp_path)
    assert found.of(dataclasses.replace(number(), setting=FACTS.settings[1].name)) == ""


def test_a_setting_has_one_colour_on_both_pages_and_shares_it_with_nothing_else(folder):
    others = {theme.XOR, theme.LINEAR, theme.CLASS0, theme.CLASS1, theme.MUTED, theme.GRID}
    assert len(set(theme.SETTINGS) | others) == len(FACTS.settings) + len(others)
    wanted = {name: {f"setting{i}"} for i, name in enumerate(["SGD", "ReLU", "lr 1e-4"], 1)}
    wanted |= {"16 units": {"setting4"}, "the base": {"ink"}}
    text = (folder / "index.html").read_text()
    for page_text in (text, report_page(None)):
        found: dict[str, set[str]] = {}
        for name, label in re.findall(r'--colour: var\(--(\w+)\)">([^<]*)<', page_text):
            found.setdefault(label.replace("\u00a0", " "), set()).add(name)
        assert wanted.items() <= found.items()
    drawing = text[text.index('id="figure-arrivals-xor"') :].partition("</svg>")[0]
    curves = dict.fromkeys(
        re.findall(r"stroke: var\(--(ink|setting\d|xor|linear|class\d)", drawing)
    )
    assert list(curves) == ["ink", "setting1", "setting2", "setting3", "setting4"]


# ---- the report's page


def number(quantity: str = "stop", epoch: int | None = None, dataset: str = "linear") -> Number:
    name = FACTS.settings[0].name
    return Number(dataset, name, quantity, epoch, "200", "200", "200", Verdict.OWN_DATA)


def test_the_report_has_the_percentile_of_each_linear_stop(folder, tmp_path):
    found = luck.find(str(folder), tmp_path)
    assert found.members == 12
    assert (tmp_path / found.href).resolve() == (folder / "index.html").resolve()
    document = json.loads((folder / "results.json").read_text())
    ranks = [p["percentile"] for p in document["populations"] if p["world"] == luck.WORLD]
    assert len(ranks) == 5
    assert found.of(number()) == f"{ranks[0]['mid']:.0f}"
    assert found.of(number(dataset="xor")) == ""


def report_page(found: luck.Luck | None) -> str:
    """The report's page of runs that printed what the report did, with figures left blank."""
    runs = [echo(printed) for printed in FACTS.runs]
    numbers = [f"{part}.{k}" for part, n in ((1, 2), (2, 4), (3, 24)) for k in range(1, n + 1)]
    blank = [Figure(number, "", None, "<svg></svg>") for number in numbers]
    around = environment.describe(backends.get("numpy"), "float64")
    return page.render(runs, compare(runs), around, blank, blank[: 1 + len(runs)], "again", found)


def test_the_report_links_the_study_and_has_a_percentile_beside_every_linear_number(tmp_path):
    keys = {
        (n.dataset, n.setting, n.quantity, n.epoch): 31.4
        for n in compare([echo(printed) for printed in FACTS.runs])
        if n.dataset == "linear"
    }
    text = report_page(luck.Luck("../elsewhere/index.html", 1000, keys))
    assert 'href="../elsewhere/index.html"' in text
    cells = text.count('<td class="n">31</td>')
    assert cells == len(keys) + 5  # once more for each stop, in the table at the top
    assert "Percentile" not in report_page(None)


def test_without_a_study_the_report_is_as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert luck.find(None, tmp_path) is None


@pytest.mark.parametrize("text", [None, "{", "{}", '{"populations": [{"world": "linear-points"}]}'])
def test_a_folder_that_is_no_study_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"--study must be a folder that scripts/seed_study\.py"):
        luck.find(str(tmp_path), tmp_path)


# ---- how it ends


def test_ctrl_c_keeps_the_settings_that_are_finished(tmp_path):
    with subprocess.Popen(
        [sys.executable, f"{SCRIPTS}/seed_study.py", "--members", "2", "--swept", "50",
         "--jobs", "2", "--output", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:  # fmt: skip
        try:
            assert program.stdout is not None
            assert program.stdout.readline().startswith("xor ")
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=120)
        finally:
            program.kill()
    assert program.returncode == 130, err
    assert "Traceback" not in err
    assert "Written: " in out
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["interrupted"]
    assert document["populations"]
    assert "Interrupted: what follows" in (tmp_path / "index.html").read_text()


def test_ctrl_c_waits_for_what_is_being_done():
    # Raised where it fell, it fell within `concurrent.futures.wait` now and then, which had locked
    # some of its futures: the study never ended.
    pieces = plan.pieces(SHORT, 2, 2, 2, rates=(1e-2,))[:3]
    kept = []

    def done(result):
        signal.raise_signal(signal.SIGINT)
        kept.append(result)

    before = signal.getsignal(signal.SIGINT)
    assert processes.train_all(pieces, SHORT, Target(), 2, lambda i, share: None, done)
    assert kept
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_anything_is_finished_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "train", lambda *args, **kwargs: None)
    assert seed_study.main(["--quick", "--jobs", "1", "--output", str(tmp_path)]) == 130
    assert "no page was written" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--members many", "--members must be a whole number from 2 to 1000000, not 'many'."),
        ("--member 5", "--member is no flag of this program; did you mean --members?"),
        ("--swept", "--swept expected one argument."),
        ("--quick=yes", "--quick takes no value, not 'yes'."),
        ("--members 1", "--members must be a whole number from 2 to 1000000, not 1."),
        ("--piece 0", "--piece must be a whole number from 1 to 1000000, not 0."),
        ("--jobs -1", "--jobs must be a whole number from 0 to 1000000, not -1."),
        ("--backend nunpy", "did you mean 'numpy'?"),
        ("--dtype float16", "--dtype must be float64 or float32, not 'float16'."),
        ("--workers 0", "--workers must be a whole number from 1 to 1000000, not 0."),
        ("--workers 2 --scheduler a:1", "--workers must be left out where --scheduler is given"),
    ],
)
def test_a_mistake_is_found_before_the_runs(argv, says, tmp_path, capsys):
    assert seed_study.main([*argv.split(), "--output", str(tmp_path / "study")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("scripts/seed_study.py: error: ")
    assert says in err
    assert err.count("\n") == 1
