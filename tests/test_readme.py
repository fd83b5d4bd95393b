"""The README's snippets and commands run as printed.

A ``python`` block runs, in the order of the page and in one namespace, where the array libraries
that it imports can be used; a command of an ``sh`` block runs unless it installs something.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library
from xpnet import backends

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """The fenced blocks of one language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines of the ``sh`` blocks that start a program of xpnet's own."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line]
    return [line for line in lines if re.match(r"python (scripts/|-m xpnet)", line)]


def without(block: str) -> str | None:
    """Why a block cannot run here: a library that it imports or names cannot be used."""
    for sign, name in (("from sklearn", "sklearn"), (".save(", "safetensors")):
        if sign in block and importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    found = re.findall(r"^import (\w+)|backend=\"(\w+)\"", block, flags=re.MULTILINE)
    for name in map("".join, found):
        if name in backends.NAMES:
            try:
                backends.get(name)
            except backends.BackendUnavailable as error:
                return str(error)
    return None


@pytest.mark.program
def test_snippets_run_in_the_order_of_the_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = 0
    for block in blocks("python"):
        if without(block) is None:
            exec(compile(block, f"README.md: {block.splitlines()[0]}", "exec"), names)
            ran += 1
    assert ran >= 5
    out = capsys.readouterr().out
    assert "loss 0.000024, accuracy 1.0" in out
    assert "<Linear W: (8, 2) b: (1, 8)>" in out


@pytest.mark.slow
@pytest.mark.installed
def test_a_layer_of_ones_own_is_checked_and_trained_as_its_page_says() -> None:
    page = (ROOT / "docs" / "own-layer.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in blocks("python", page):
        exec(compile(block, "docs/own-layer.md", "exec"), names)
    assert isinstance(names["net"][2], names["Center"])
    assert names["model"].history.loss.shape == (300, 3)


@pytest.mark.slow
def test_the_first_example_separates_the_points_on_every_library(backend) -> None:
    first = next(block for block in blocks("python") if "xn.datasets.xor()" in block)
    first = first.partition("\nhistory = ")[0]
    for dtype in ("float64", "float32"):
        arrays = [backend.asarray(array, dtype) for array in xn.datasets.xor()]
        # The example, but for where its data lies: where the data is, the training is.
        code = first.replace("x, y = xn.datasets.xor()", "x, y = arrays")
        assert code != first
        names: dict[str, object] = {"arrays": arrays}
        exec(compile(code, "README.md", "exec"), names)
        assert names["model"].history.accuracy[-1] == 1.0


def test_only_the_snippet_of_a_missing_library_is_left_out() -> None:
    left_out = [block for block in blocks("python") if without(block)]
    assert all("import cupy" in block or "from sklearn" in block for block in left_out)


TABLES = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


def test_the_lines_of_a_table_are_as_many_as_is_said() -> None:
    ours = blocks("python", TABLES)[0]
    assert ours in blocks("python")  # the README's
    programs = [ours.partition("x, y = load_digits(return_X_y=True)")[2], *blocks("text", TABLES)]
    counts = [sum(bool(line) for line in program.splitlines()) for program in programs]
    said = re.findall(r"^\| (?:xpnet|scikit-learn|Keras) \| (\d+) \|", TABLES, flags=re.MULTILINE)
    assert counts == list(map(int, said)) == [8, 6, 12]
    assert max(map(len, "\n".join(programs).splitlines())) <= 100
    assert "scikit-learn takes 6 and Keras 12" in README


@pytest.mark.program
def test_a_table_is_learned_as_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library("sklearn")
    library("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks("python", TABLES)[0], "docs/tables.md", "exec"), names)
    found = names["model"].evaluate(names["x_test"], names["y_test"])
    assert found["accuracy"] > 0.94
    assert names["again"].theta.device.type == "cpu"


@pytest.mark.program
@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_commands_run_as_printed(command: str, tmp_path: Path) -> None:
    library("matplotlib")
    library("tensorboardX")
    if "--dataset digits" in command:
        library("sklearn")
    _, *args = shlex.split(command)
    args = [str(ROOT / arg) if arg.startswith("scripts/") else arg for arg in args]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *args],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("outputs/**/*.png")), "no picture was written"


def test_sessions_named_are_in_the_noxfile() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = set(re.findall(r"^def (\w+)\(session", noxfile, flags=re.MULTILINE))
    named = re.findall(r"nox -s (\"[^\"]+\"|[a-z ]*[a-z])", README)
    assert named
    for name in " ".join(named).split():
        assert name.strip('"').partition("(")[0] in sessions, name


def extras(text: str) -> set[str]:
    """The extras in the likes of ``xpnet[report,tensorboard]``."""
    return {e for group in re.findall(r"xpnet\[([\w,]+)\]", text) for e in group.split(",")}


def test_extras_named_are_in_the_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "xpnet").rglob("*.py")]
    assert extras(README)
    assert extras(" ".join([README, *sources])) <= set(project["optional-dependencies"])


@pytest.mark.slow
def test_a_source_of_ones_own_is_trained_on_as_its_page_says(tmp_path, monkeypatch) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (600, 784)).astype("uint8")
    np.save("x.npy", (pictures / 255).astype("float32"))
    names: dict[str, Any] = {"np": np, "xn": xn, "y": np.arange(600) % 10}
    for block in blocks("python", page):
        exec(compile(block, "docs/data.md", "exec"), names)
    options = {"loss": names["model"].loss, "optimizer": xn.Adam(), "epochs": 5, "seed": 0}
    scaled = xn.fit(names["net"], names["Scaled"](pictures), names["y"], batch_size=256, **options)
    assert scaled.history.loss.shape == names["model"].history.loss.shape == (5,)


def test_links_into_the_project_lead_somewhere() -> None:
    for page in (
        "README.md",
        "CHANGELOG.md",
        *map(str, (ROOT / "docs").glob("*.md")),
    ):
        file = ROOT / page
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{page} links {target}"
