"""What each program here imports first: it finds the library, and sees to Ctrl-C from the start.

Without NumPy it ends the program. A clone is enough: xpnet need not be installed.
"""

import os.path
import sys
from importlib.util import module_from_spec, spec_from_file_location

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(HERE)


def _alone(name: str) -> None:
    """Import a module of xpnet by itself: ``import`` would bring the package, and NumPy, before."""
    spec = spec_from_file_location(name, os.path.join(ROOT, *name.split(".")) + ".py")
    if name not in sys.modules and spec and spec.loader:
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)


_alone("xpnet._interrupt")
if os.path.dirname(os.path.realpath(sys.argv[0])) == HERE:  # not where a test imports a program
    sys.modules["xpnet._interrupt"].begin(f"scripts/{os.path.basename(sys.argv[0])}")
_alone("xpnet._needs")
_alone("xpnet.cli.program")
sys.path.insert(0, ROOT)
