"""Whether there is what xpnet cannot do without: NumPy; one sentence, where there is not.

Of the standard library alone, since it is imported before all else. A program of xpnet's own ends
there, with the status of a mistake; elsewhere it is an ``ImportError``.
"""

import sys
from importlib.util import find_spec

from xpnet._interrupt import program  # not `from xpnet import …`: that is what needs NumPy

MISTAKE = 2
"""The exit status for a mistake of the user's."""

if find_spec("numpy") is None:
    _said = "xpnet needs NumPy, which is not installed; install it with: pip install numpy"
    if not program:
        raise ModuleNotFoundError(_said, name="numpy")
    sys.stderr.write(f"{program}: error: {_said}\n")
    sys.exit(MISTAKE)
