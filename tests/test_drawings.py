"""The drawings of the design say what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import xpnet
from tests.helpers import library

pytestmark = pytest.mark.program

ROOT = Path(__file__).parents[1]
PACKAGE = Path(xpnet.__file__).parent
SCRIPT = ROOT / "scripts" / "draw_design.py"


def draw(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *flags], capture_output=True, text=True, check=False
    )


@pytest.fixture
def drawings(monkeypatch):
    library("matplotlib")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from drawings import fit_way, step_way

    return fit_way, step_way


def test_each_drawing_is_written_and_is_the_same_every_time(drawings, tmp_path):
    names = "design-fit.svg", "design-step.svg"
    made = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        result = draw("--out", str(tmp_path / folder))
        assert result.returncode == 0, result.stderr
        made.append([(tmp_path / folder / name).read_text("utf-8") for name in names])
    assert made[0] == made[1]
    design = (ROOT / "docs" / "design.md").read_text("utf-8")
    for name in names:
        assert f"]({name})" in design and (ROOT / "docs" / name).is_file()


def test_the_way_through_fit_names_files_that_are_there(drawings):
    fit_way, _ = drawings
    for name in fit_way.files():
        assert (PACKAGE / name).exists(), name
    assert set(fit_way.BACK) <= {title for title, *_ in fit_way.FLOORS}


def test_a_folder_that_is_not_there_is_told(tmp_path):
    library("matplotlib")
    result = draw("--out", str(tmp_path / "none"))
    assert result.returncode == 2 and "--out must be a folder that is there" in result.stderr
