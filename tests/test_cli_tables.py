"""``xpnet fit``, ``predict``, ``evaluate``, ``info``: a table in, a model and its answers out."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library
from xpnet import cli, tables
from xpnet.cli.program import FAILED, MISTAKE

SMALL = ["--hidden", "8", "--epochs", "4", "--members", "2", "--dropout", "0"]
ROWS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of numbers, texts, truth values and gaps, and a model of it."""
    library("safetensors")
    place = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(3)
    age, city = rng.normal(40, 9, ROWS).round(1), rng.choice(["Rome", "Oslo", "Lima"], ROWS)
    z = (age - 40) / 9 + (city == "Rome") - (city == "Oslo") + rng.normal(0, 0.1, ROWS)
    with (place / "train.csv").open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(["age", "city", "member", "day", "price", "grade"])
        for i in range(ROWS):
            gone = i % 10 == 0
            day = f"2024-01-{i % 28 + 1:02}"
            write(["" if gone else age[i], city[i], i % 3 == 0, day, z[i], "ab"[int(z[i] > 0)]])
    fitted = ["fit", str(place / "train.csv"), "--target", "grade", "--drop", "day", "price"]
    assert cli.main([*fitted, *SMALL, "-o", str(place / "m.safetensors")]) == 0
    return place


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Runs a command in the folder, which must end well; returns the lines that it prints."""
    monkeypatch.chdir(folder)

    def run(*argv):
        assert cli.main(list(argv)) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def refused(folder, capsys, monkeypatch):
    """Runs a command that must be refused; returns its sentence."""
    monkeypatch.chdir(folder)

    def refused(*argv, status=MISTAKE):
        assert cli.main(list(argv)) == status
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1, (out, err)
        return err.removeprefix(f"xpnet {argv[0]}: error: ").rstrip("\n")

    return refused


# ---- a table in, a model out


def test_what_is_predicted_is_what_the_library_predicts(run, folder):
    lines = run("predict", "m.safetensors", "train.csv", "--probabilities")
    assert lines[0] == "grade,p(a),p(b)"
    model = xn.load(folder / "m.safetensors")
    assert [line.split(",")[0] for line in lines[1:]] == tables.predict(model, "train.csv").tolist()
    said = np.array([line.split(",")[1:] for line in lines[1:]], dtype=float)
    np.testing.assert_array_equal(said, tables.predict_proba(model, "train.csv"))
    members = [tables.predict_proba(model.member(i), "train.csv") for i in range(2)]
    np.testing.assert_allclose(said, np.mean(members, axis=0), rtol=1e-6)
    run("predict", "m.safetensors", "train.csv", "-o", "out.csv")
    assert (folder / "out.csv").read_text().split() == [line.split(",")[0] for line in lines]


def test_the_same_seed_gives_the_same_file(run, folder):
    fitted = ["fit", "train.csv", "--target", "grade", "--drop", "day", "price", *SMALL]
    run(*fitted, "-o", "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == (folder / "m.safetensors").read_bytes()


def test_figures_are_scikit_learns(run, folder):
    metrics = library("sklearn.metrics")
    lines = run("evaluate", "m.safetensors", "train.csv")
    model = xn.load(folder / "m.safetensors")
    true = model.preparation.targets("train.csv")
    found = tables.predict_proba(model, "train.csv")
    wanted = [
        metrics.accuracy_score(true, found.argmax(axis=1)),
        metrics.log_loss(true, found),
        metrics.roc_auc_score(true, found[:, 1]),
    ]
    assert lines[1].split() == ["train.csv", str(ROWS), *(f"{value:.6f}" for value in wanted)]
    counts = metrics.confusion_matrix(true, found.argmax(axis=1))
    assert [line.split()[:3] for line in lines[-2:]] == [
        ["a", *(f"{n or '.'}" for n in counts[0])],
        ["b", *(f"{n or '.'}" for n in counts[1])],
    ]


@pytest.mark.parametrize("way", [[], ["--architecture", "tabm"]])
def test_numbers_are_predicted_as_they_are(run, folder, way):
    metrics = library("sklearn.metrics")
    options = [*SMALL[:-4], "--members", "1", "--numbers", "quantile", *way, "-o", "n.safetensors"]
    lines = run("fit", "train.csv", "--target", "price", "--drop", "day", "grade", *options)
    assert "'price' is a number" in lines[0] and "1 of categories" in lines[1]
    model = xn.load(folder / "n.safetensors")
    true, found = model.preparation.targets("train.csv"), tables.predict(model, "train.csv")
    figures = tables.evaluate(model, "train.csv")
    assert figures["r2"] == pytest.approx(metrics.r2_score(true, found), abs=1e-12)
    assert figures["mae"] == pytest.approx(metrics.mean_absolute_error(true, found), abs=1e-12)
    assert lines[-4].split()[:2] == ["training", "72"]


@pytest.mark.parametrize(
    "name", ["torch", *(pytest.param(n, marks=pytest.mark.slow) for n in ("jax", "strict"))]
)
def test_the_same_is_trained_on_any_library(run, folder, name):
    library({"strict": "array_api_strict"}.get(name, name))
    fitted = ["fit", "train.csv", "--target", "grade", "--drop", "day", "price", *SMALL]
    said = []
    for where in ("numpy", name):
        run(*fitted, "--dtype", "float64", "--backend", where, "-o", "w.safetensors")
        lines = run("predict", "w.safetensors", "train.csv", "--probabilities", "--backend", where)
        said.append(np.array([line.split(",")[1:] for line in lines[1:]], dtype=float))
    # Four steps of Adam, whose first is the sign of each gradient: a sum of 72 terms has lost 1e-14
    # of its largest one, which changes no sign of more than 1e-5 of that by more than 1e-9.
    np.testing.assert_allclose(*said, rtol=1e-9)


@pytest.mark.parametrize("target", ["grade", "price"])
def test_the_page_needs_no_other_file(run, folder, target):
    for name in ("matplotlib", "jinja2"):
        library(name)
    model = "m.safetensors" if target == "grade" else "p.safetensors"
    if target == "price":
        drop = ["--drop", "day", "grade"]
        run("fit", "train.csv", "--target", "price", *drop, *SMALL, "-o", model)
    lines = run("evaluate", model, "train.csv", "--page", "page.html")
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert lines[-1] == "[INFO]: Page: page.html"
    assert "http" not in text.replace("http://www.w3.org", "") and "src=" not in text
    assert text.count("<figure>") == (3 if target == "grade" else 2)
    assert ("Who is taken for whom" in text) == (target == "grade")
    assert "scroll it sideways" not in text  # of two classes
    ids = [part.partition('"')[0] for part in text.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def test_info_says_what_a_model_takes(run):
    text = "\n".join(run("info", "m.safetensors"))
    for part in ("2 networks", "one of 2 classes: a, b", "city: one of 3 texts", "age: a number"):
        assert part in text
    assert "left out: day, price" in text


def test_info_says_that_numbers_are_taken_as_they_are():
    from xpnet.cli.tables.asking import described

    x, y = xn.datasets.xor()
    options = {"loss": xn.BCEWithLogits(), "optimizer": xn.Adam(), "epochs": 1, "seed": 0}
    model = xn.fit(xn.Sequential(xn.Linear(2, 1)), x, y, **options)
    model.preparation = tables.Preparation.fit({"a": [1.0, 4.0], "b": [0, 2]}, numbers="keep")
    assert "  a: a number as it is, where missing 2.5" in described(model)


def test_a_model_is_exported_with_what_is_done_to_its_table(run, folder):
    ort = library("onnxruntime")
    library("onnx")
    said = run("export", "m.safetensors", "m.onnx")
    assert said[1:] == [
        "[INFO]: It takes numbers, NaN where one is missing: age, member",
        "[INFO]: It takes categories, texts: city",
    ]
    table = tables.read("train.csv")
    numbers = np.stack([table[name].numbers() for name in ("age", "member")], axis=1)
    texts = np.array(table["city"].texts(), dtype=object)[:, None]
    (classes,) = ort.InferenceSession("m.onnx").run(
        ["class"], {"numbers": numbers, "categories": texts}
    )
    model = xn.load("m.safetensors")
    x = model.preparation.transform(table).astype("float32")
    mean = model.predict_proba(x).mean(axis=0)
    wanted = mean.argmax(axis=1) if mean.shape[1] > 1 else (mean[:, 0] > 0.5).astype(int)
    np.testing.assert_array_equal(classes, model.preparation.target.decode(wanted))


def test_a_column_beside_those_of_training_is_told(run, capsys, folder):
    with (folder / "train.csv").open() as file:
        rows = [[*row, "7"] for row in csv.reader(file)]
    with (folder / "more.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*rows[0][:-1], "more"], *rows[1:]])
    assert cli.main(["predict", "m.safetensors", "more.csv"]) == 0
    assert "[WARNING]: data has 'more' beside the columns" in capsys.readouterr().err


def test_the_commands_of_the_page_run(run, folder):
    for name in ("matplotlib", "jinja2", "polars"):
        library(name)
    page = (Path(__file__).parent.parent / "docs" / "tables.md").read_text(encoding="utf-8")
    page = page.partition("## A file in, a model out")[2]
    commands = re.search(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)[1]
    for line in commands.replace("\\\n", "").splitlines():
        run(*shlex.split(line)[1:], *(["--epochs", "2"] if " fit " in line else []))
    block = re.search(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)[1]
    exec(compile(block, "docs/tables.md", "exec"), {})


@pytest.mark.program
def test_the_program_does_it_without_pandas_polars_and_scikit_learn(folder):
    code = (
        "import sys\n"
        "for name in ('pandas', 'polars', 'pyarrow', 'sklearn', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "from xpnet import cli\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    fitted = ["fit", "train.csv", "--target", "grade", "--drop", "day", "price", *SMALL]
    for argv in (
        [*fitted, "-o", "alone.safetensors"],
        ["evaluate", "alone.safetensors", "train.csv"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], cwd=folder, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (folder / "alone.safetensors").read_bytes() == (folder / "m.safetensors").read_bytes()


# ---- mistakes


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--target", "grad"], "--target must be one of age, .* not 'grad'; did you mean 'grade'?"),
        (["--target", "grade"], "column 'day' must hold numbers or texts, not dates.*--drop 'day'"),
        (["--target", "grade", "--drop", "dey"], "--drop must be one of .* did you mean 'day'"),
        (["--target", "grade", "--drop", "grade"], "--drop must not have the target 'grade'"),
        (["--target", "day"], "the target 'day' must hold classes or numbers, not dates"),
        (["--target", "age", "--drop", "day"], "target 'age' must be there in each row, .* row 0"),
        (["--target", "grade", "--membrs", "2"], "did you mean --members?"),
        (["--target", "grade", "--members", "0"], "--members must be a whole number of at least 1"),
        (["--target", "grade", "--hidden", "8", "x"], "--hidden must be a whole number"),
        (["--target", "grade", "--numbers", "std"], "--numbers must be one of standardize"),
        (["--target", "grade", "--test", "1"], "--test must be .* below 1"),
        (
            ["--target", "grade", "--drop", "day", "--validation", "0.99"],
            "must leave rows to train",
        ),
        (["--target", "grade", "-o", "."], "--output must be a file, not the folder"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_before_any_training(flags, said, refused):
    assert re.search(said, refused("fit", "train.csv", *flags))


def test_what_is_in_a_file_is_told_in_one_sentence(refused, folder):
    assert "did you mean 'train.csv'?" in refused("fit", "tran.csv", "--target", "grade")
    model = "m.safetensors", "train.csv"
    assert "--output must be a file, not the folder '.'" in refused("predict", *model, "-o", ".")
    assert "the folder of --page must be a folder that can be written, not 'train.csv'" in refused(
        "evaluate", *model, "--page", "train.csv/page.html"
    )
    said = refused("fit", "train.csv", "--target", "grade", "--architecture", "tabM")
    assert said.rstrip().endswith("did you mean 'tabm'?")
    (folder / "rare.csv").write_text("x,y\n" + "".join(f"{i},{i == 7}\n" for i in range(9)))
    said = refused("fit", "rare.csv", "--target", "y")
    assert "--target must have each class in several of the 9 rows" in said and "--test 0" in said
    (folder / "new.csv").write_text("age,city,member,grade\n1,Rome,True,c\n")
    assert "of the 2 classes of the training, a, b, but row 0" in refused(
        "evaluate", "m.safetensors", "new.csv"
    )
    assert refused("predict", "train.csv", "new.csv").startswith("MODEL must be a file that xpnet")
    assert refused("info", "none").startswith("MODEL must be a file that can be read, not 'none'")
    assert "DATA must have the columns of training, but lacks 'age'" in refused(
        "predict", "m.safetensors", "rare.csv"
    )
    net = xn.Sequential(xn.Linear(2, 1))
    xn.Model(net, net.init(0, like=np.zeros(1))).save(folder / "array.safetensors")
    assert refused("predict", "array.safetensors", "new.csv").startswith("MODEL must be of a table")
    if Path("/dev/full").exists():  # not on every system
        said = refused("predict", "m.safetensors", "train.csv", "-o", "/dev/full", status=FAILED)
        assert "could be read or written" in said
