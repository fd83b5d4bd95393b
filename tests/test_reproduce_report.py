"""The report made again: what is compared, what the page shows, how the program ends."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser

import pytest

from tests.helpers import library

library("matplotlib")
library("jinja2")

import reproduce_report  # noqa: E402
from report import environment, facts, figures, page, runs, target  # noqa: E402
from report.compare import Verdict, compare, disagreements  # noqa: E402
from tests.echoes import echo  # noqa: E402
from xpnet import backends  # noqa: E402

pytestmark = pytest.mark.program

DOCUMENT = json.loads(facts.FACTS.read_text(encoding="utf-8"))


def altered(run, key, value):
    """The facts with one number of one run changed; ``key`` leads to it in the document."""
    document = copy.deepcopy(DOCUMENT)
    place = document["runs"][run]
    for step in key[:-1]:
        place = place[step]
    place[key[-1]] = value
    return facts.parse(document)


def echoes_against(printed_facts):
    """Runs that print the true numbers, held against other facts."""
    true = (echo(printed) for printed in facts.load().runs)
    return [
        runs.OurRun(**{**vars(run), "printed": printed})
        for run, printed in zip(true, printed_facts.runs, strict=True)
    ]


# ---- comparing


def test_all_72_numbers_of_the_report_are_compared():
    numbers = compare(echoes_against(facts.load()))
    verdicts = [number.verdict for number in numbers]
    assert len(numbers) == 72
    assert verdicts.count(Verdict.EQUAL) == 34
    assert verdicts.count(Verdict.MISPRINT) == 1
    assert verdicts.count(Verdict.OWN_DATA) == 37
    assert disagreements(numbers) == []


def test_the_misprint_is_held_against_what_it_must_have_been():
    numbers = compare(echoes_against(facts.load()))
    [misprint] = [number for number in numbers if number.verdict is Verdict.MISPRINT]
    assert (misprint.dataset, misprint.epoch, misprint.quantity) == ("xor", 5500, "accuracy")
    assert (misprint.printed, misprint.expected, misprint.ours) == (
        "0.984762",
        f"{19 / 21:.6f}",
        "0.904762",
    )


@pytest.mark.parametrize(
    ("run", "key", "value"),
    [
        (0, ("stop",), 200),
        (2, ("log", 3, 1), 0.686031),
        (2, ("log", 8, 2), 0.714286),
        (2, ("misprints", "5500", "true_acc"), 0.952381),
        (6, ("log", 0, 0), 2100),
    ],
    ids=["stop", "last digit of a loss", "accuracy", "the misprint", "a line that ours lacks"],
)
def test_a_number_of_xor_that_differs_is_marked_different(run, key, value):
    wrong = disagreements(compare(echoes_against(altered(run, key, value))))
    assert wrong
    assert all(number.dataset == "xor" and number.ours != number.expected for number in wrong)


def test_the_linear_runs_stand_beside_the_report_without_a_verdict():
    assert disagreements(compare(echoes_against(altered(1, ("stop",), 12300)))) == []


def test_a_run_by_the_reports_command_line_prints_its_numbers():
    run = runs.make(facts.load().runs[0], target.Target())
    assert run.stop == 100
    assert run.argv[:4] == ("--dataset", "xor", "--optim", "adam")
    assert len(run.loss) == len(run.accuracy) == 100
    assert run.field.shape == runs.grid()[0].shape


# ---- the page


class Reader(HTMLParser):
    """Collects the ids of a page, where it points to, and its elements."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.tags = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href", "src", "srcset", "data", "action", "poster"):
                self.targets.append(value)


def render(our_runs, drawn, dtype="float64"):
    return page.render(
        our_runs,
        compare(our_runs),
        environment.describe(backends.get("numpy"), dtype),
        *drawn,
        "python scripts/reproduce_report.py --backend numpy",
    )


@pytest.fixture(scope="module")
def drawn():
    our_runs = echoes_against(facts.load())
    return figures.numbered(our_runs), figures.extra(our_runs)


@pytest.fixture(scope="module")
def text(drawn):
    return render(echoes_against(facts.load()), drawn)


def test_the_page_has_every_figure_from_1_1_to_3_24(text):
    ids = Reader(text).ids
    numbers = ["1.1", "1.2", "2.1", "2.2", "2.3", "2.4", *(f"3.{k}" for k in range(1, 25))]
    for number in numbers:
        assert f"figure-{number.replace('.', '-')}" in ids
        assert f"<b>Figure {number}</b>" in text


def test_the_page_needs_no_other_file(text):
    reader = Reader(text)
    assert all(target.startswith("#") for target in reader.targets)
    assert all(target[1:] in reader.ids for target in reader.targets)
    assert not reader.tags & {"script", "link", "iframe", "img", "object", "embed"}
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_ids_of_the_page_are_unique(text):
    ids = Reader(text).ids
    assert len(ids) == len(set(ids))


def test_figures_follow_the_colours_of_the_page(text):
    from report.figures.theme import COLOURS

    body = text[text.index("<body>") :]
    for name, colour in COLOURS.items():
        assert colour not in body
        assert len(re.findall(rf"--{name}: ", text)) == 2, "one for light, one for dark"


def test_the_page_gives_the_verdict_and_explains_the_misprint(text):
    assert "All 35 numbers that can be had again agree" in text
    assert 'id="misprint"' in text
    assert "0.984762" in text


def test_the_page_says_so_if_a_number_differs(drawn):
    different = echoes_against(altered(0, ("stop",), 200))
    assert "1 of the 35 numbers that can be had again differs" in render(different, drawn)
    assert "only float64 has to agree" in render(different, drawn, "float32")


PHONE = 345
"""Pixels that a phone 390 wide has for a figure."""


def test_no_letter_of_a_figure_is_smaller_than_ten_pixels_on_a_phone(drawn):
    from matplotlib.text import Text

    for figure in (figure for some in drawn for figure in some if not figure.text):
        scale = PHONE / (72 * figure.canvas.get_figwidth())
        for text in figure.canvas.findobj(Text):
            if text.get_text() and text.get_visible():
                assert text.get_size() * scale >= 10, (figure.name, text.get_text())


def test_what_lies_below_one_another_on_a_phone_is_not_said_to_be_at_a_side(text):
    assert not re.search(r"[Oo]n the (left|right)", text)


def test_stops_are_written_as_epochs_are(text):
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert "5,800" in cells
    assert not [cell for cell in cells if re.fullmatch(r"\d{4,}", cell)]


def test_a_table_of_points_of_our_own_says_so_once_and_has_no_column_for_it(text):
    tables = re.findall(r"<table>.*?</table>", text[text.index('id="numbers"') :], re.DOTALL)
    own = [table.count("own data") for table in tables]
    assert own == [0, 1] * 5


def test_no_line_breaks_within_a_choice(text):
    captions = re.findall(r"<figcaption>.*?</figcaption>", text, re.DOTALL)
    assert any("lr\u00a01e-2" in caption for caption in captions)
    assert not re.search(r"lr \d|\d units", "".join(captions))


# ---- the program


@pytest.fixture
def no_drawing(monkeypatch):
    monkeypatch.setattr(figures, "numbered", lambda our_runs: [])
    monkeypatch.setattr(figures, "extra", lambda our_runs: [])
    monkeypatch.setattr(page, "render", lambda *arguments: "")


def run_with(monkeypatch, our_runs, *argv):
    monkeypatch.setattr(reproduce_report, "make_all", lambda *arguments: iter(our_runs))
    return reproduce_report.main(argv)


@pytest.mark.parametrize(("dtype", "status"), [("float64", 1), ("float32", 0)])
def test_exit_status_if_a_number_differs(no_drawing, monkeypatch, tmp_path, capsys, dtype, status):
    different = echoes_against(altered(0, ("stop",), 200))
    argv = ("--output", str(tmp_path), "--dtype", dtype)
    assert run_with(monkeypatch, different, *argv) == status
    assert "stop: 100, but the report has 200." in capsys.readouterr().out
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["summary"]["different"] == 1
    assert result["runs"][0]["compared"][0]["verdict"] == "different"


def test_exit_status_if_all_agree(no_drawing, monkeypatch, tmp_path):
    assert run_with(monkeypatch, echoes_against(facts.load()), "--output", str(tmp_path)) == 0
    assert (tmp_path / "index.html").exists()


def test_an_interrupted_run_leaves_no_page(no_drawing, monkeypatch, tmp_path):
    cut = runs.OurRun(**{**vars(echo(facts.load().runs[0])), "interrupted": True})
    assert run_with(monkeypatch, [cut], "--output", str(tmp_path)) == 130
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--backend", "nunpy"], "--backend must be one of"),
        (["--backend"], "--backend expected one argument."),
        (["--backends", "numpy"], "--backends is no flag of this program; did you mean --backend?"),
        (["again"], "again is no flag of this program; --help lists the flags."),
        (["--device", "gpu"], "--device must be"),
        (["--dtype", "float16"], "--dtype must be float64 or float32"),
        (["--output", "{file}"], "--output must be a folder"),
        (["--study", "{file}"], "--study must be a folder that scripts/seed_study.py wrote"),
    ],
)
def test_a_mistake_is_found_before_the_runs(monkeypatch, tmp_path, capsys, argv, says):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setattr(reproduce_report, "make_all", None)  # not called
    argv = [word.format(file=file) for word in ["--output", str(tmp_path / "out"), *argv]]
    assert reproduce_report.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("scripts/reproduce_report.py: error: ")
    assert not (tmp_path / "out").exists()
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_the_report_is_made_again_digit_for_digit(tmp_path):
    assert reproduce_report.main(["--backend", "numpy", "--output", str(tmp_path)]) == 0
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    for number in ("1-1", "2-4", "3-1", "3-24"):
        assert {f"figure-{number}.svg", f"figure-{number}.png"} <= drawn
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["summary"] == {"equal": 34, "misprint": 1, "own data": 37, "different": 0}
