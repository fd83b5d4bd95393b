"""Folders that are written into."""

from __future__ import annotations

import tempfile
from pathlib import Path

from xpnet import checks


def writable_folder(name: str, path: str | Path) -> Path:
    """Make a folder if need be and return it.

    Raises:
        ValueError: naming it ``name``, if it cannot be made, or no file can be made in it.
    """
    folder = checks.as_path(name, path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{name} must be a folder that can be written, not {str(path)!r} ({said})."
        ) from None
    return folder
