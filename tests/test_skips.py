"""A skip says what is lacking on this machine, or it is a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LACKING

ROOT = Path(__file__).parents[1]

TESTS = """
import pytest

@pytest.mark.skipif(True, reason="this system has no such thing")
def test_one(): pass

@pytest.mark.skip(reason="not today")
def test_two(): pass

def test_three(): pytest.skip("it is slow")

def test_four(): pytest.importorskip("no_such_library", reason="no_such_library is not installed")

@pytest.mark.xfail(strict=True)
def test_five(): assert False
"""


@pytest.mark.program
def test_an_unexpected_skip_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_all.py").write_text("import pytest\npytest.skip('', allow_module_level=True)")
    (tmp_path / "pytest.ini").write_text("[pytest]")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"),
         "-p", "tests.conftest", "--continue-on-collection-errors", "-p", "no:cacheprovider",
         str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert "1 failed, 2 skipped, 1 xfailed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert "not: not today" in done.stdout
    assert "not: it is slow" in done.stdout


@pytest.mark.parametrize(
    "reason", ["", "not today", "torch", "is not installed", "on JAX nothing can be written into"]
)
def test_a_reason_names_what_is_lacking(reason: str) -> None:
    assert not LACKING.fullmatch(reason)
