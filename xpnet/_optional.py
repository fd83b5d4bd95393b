"""Packages that xpnet can do without, imported when something needs them."""

from __future__ import annotations

import importlib
from types import ModuleType

_PACKAGES = {"sklearn": "scikit-learn", "numba_cuda": "numba-cuda"}
"""What packages are called where they are installed, if not as they are imported."""

_EXTRAS = {"distributed": "dask", "dask": "dask"}
"""The extras of xpnet that bring more than a package that was asked for."""

_WITH = {"numba_cuda": '"numba-cuda[cu13]" (or cu12, as the driver is)'}
"""How packages are installed that have extras of their own."""


def optional(module: str, what: str) -> ModuleType:
    """Import ``module``, which ``what`` needs.

    Raises:
        ImportError: if it cannot be, saying how it is installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        package = _PACKAGES.get(name, name)
        by = f'"xpnet[{_EXTRAS[name]}]"' if name in _EXTRAS else _WITH.get(name, package)
        raise ImportError(
            f"{what} needs the package {package}, which could not be imported ({error}); "
            f"install it with: pip install {by}"
        ) from error
