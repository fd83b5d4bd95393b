"""What the README shows trains on every library, and the commands of pages run as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import xpnet as xn
from tests.helpers import library

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """The fenced blocks of one language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines of the ``sh`` blocks that start a program of xpnet's own."""
    page = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    lines = [line for block in blocks("sh", page) for line in block.splitlines() if line]
    return [line for line in lines if re.match(r"python (scripts/|-m xpnet)", line)]


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


TABLES = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


def test_the_lines_of_a_table_are_as_many_as_is_said() -> None:
    ours = blocks("python", TABLES)[0]
    programs = [ours.partition("x, y = load_digits(return_X_y=True)")[2], *blocks("text", TABLES)]
    counts = [sum(bool(line) for line in program.splitlines()) for program in programs]
    said = re.findall(r"^\| (?:xpnet|scikit-learn|Keras) \| (\d+) \|", TABLES, flags=re.MULTILINE)
    assert counts == list(map(int, said)) == [8, 6, 12]
    assert max(map(len, "\n".join(programs).splitlines())) <= 100
    assert "in eight lines, where scikit-learn takes 6 and Keras 12" in README


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
