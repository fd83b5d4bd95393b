"""Ctrl-C at any time: a program ends with status 130, without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import xpnet
from xpnet import _interrupt
from xpnet.cli.program import INTERRUPTED

ROOT = Path(__file__).resolve().parent.parent

PRESS = """
import os, signal, sys

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
"""
"""What Python runs at its start: it presses Ctrl-C where a module begins to be imported."""

PROGRAMS = (
    "-m xpnet train",
    "scripts/train.py",
    "scripts/reproduce_report.py",
    "scripts/seed_study.py",
    "scripts/benchmark.py",
)


def pressed(module: str, program: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "sitecustomize.py").write_text(PRESS.format(module=module))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, *program, "--output", str(tmp_path / "output")]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.program
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("module", ["numpy", "xpnet.training"])
def test_ctrl_c_during_the_imports_ends_a_program_without_a_traceback(program, module, tmp_path):
    done = pressed(module, program.split(), tmp_path)
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    # The benchmark reads its flags before it imports NumPy, and so can say who was interrupted.
    assert done.stderr in ("", f"{program}: interrupted\n")


def test_ctrl_c_while_the_installed_command_imports_ends_it_without_a_word(tmp_path):
    script = tmp_path / "xpnet"  # as pip writes it
    script.write_text("import sys\nfrom xpnet.cli import main\nsys.exit(main())\n")
    done = pressed("numpy", [str(script)], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")


@pytest.mark.program
@pytest.mark.parametrize("program", ["scripts/reproduce_report.py", "scripts/benchmark.py"])
def test_ctrl_c_after_the_imports_is_told_in_a_line(program, tmp_path):
    # The one draws with matplotlib, the other looks for its peers, once it has read its flags.
    module = {"scripts/benchmark.py": "benchmarks.works"}.get(program, "matplotlib")
    done = pressed(module, [program], tmp_path)
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == f"{program}: interrupted\n"


def test_a_program_of_somebody_elses_keeps_its_own_ctrl_c(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("try:\n    import xpnet\nexcept KeyboardInterrupt:\n    print('mine')\n")
    done = pressed("numpy", [str(script)], tmp_path)
    assert (done.returncode, done.stdout) == (0, "mine\n")


@pytest.mark.parametrize(
    ("argv", "command", "ours"),
    [
        (["-m", "train"], ["python", "-m", "xpnet", "train"], True),
        (["-m"], ["python", "-mxpnet"], True),
        (["-m", "xpnet"], ["python", "-m", "pytest", "xpnet"], False),
        (["/usr/bin/xpnet", "train"], ["python", "/usr/bin/xpnet", "train"], True),
        (["-c"], ["python", "-c", "import xpnet"], False),
        ([""], ["python"], False),
        ([], ["python"], False),
    ],
)
def test_only_xpnets_own_programs_are_taken_for_such(argv, command, ours, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", command)
    assert _interrupt._started() == ours


def test_importing_xpnet_changes_no_handler():
    assert xpnet.__version__
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SWALLOW = """
import sys
sys.path.insert(0, {root!r})
from xpnet import _interrupt
_interrupt.begin()
from xpnet.cli.program import ready, run

class Swallows:
    def __del__(self):  # what is raised here is printed, and forgotten
        import os, signal
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

def work():
    Swallows()
    print("went on")
    return 0

sys.exit(run("program", work))
"""


def test_ctrl_c_where_a_library_would_swallow_it_ends_the_program_while_it_imports():
    done = subprocess.run(
        [sys.executable, "-c", SWALLOW.format(root=str(ROOT))], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == "program: interrupted\n"
