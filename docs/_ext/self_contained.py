"""The site asks no other host for anything; links may lead there. Looked at once it is built."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

FETCHED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        for page in Path(app.outdir).rglob("*.html"):
            if found := FETCHED.search(page.read_text(encoding="utf-8")):
                raise SphinxError(f"{page} fetches from another host: {found[0]}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at all pages once they are written."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
