"""Every public name is on a page of the site: one that is not is a warning, which fails the build.

``written`` finds the names of the pages as they are written, for the tests.
"""

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MODULES = (
    "xpnet",
    "xpnet.backends",
    "xpnet.callbacks",
    "xpnet.datasets",
    "xpnet.metrics",
    "xpnet.testing",
)
"""The modules whose names are public."""


def public_names() -> set[str]:
    """What a person may import, such as ``xpnet.Linear`` and ``xpnet.metrics.TopK``."""
    found = set()
    for name in MODULES:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", None) or _own(module)
        found |= {f"{name}.{public}" for public in names}
    return found


def _own(module: Any) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def written(pages: Iterable[Path]) -> set[str]:
    """The names that pages have directives for."""
    found: set[str] = set()
    for page in pages:
        module = "xpnet"
        text = page.read_text(encoding="utf-8")
        for kind, name in re.findall(r"^\.\. (?:py:)?(\w+):: ([\w.]+)$", text, re.MULTILINE):
            if kind in ("currentmodule", "automodule"):
                module = name
                found.add(name)
            elif kind.startswith("auto"):
                found.add(name if name.startswith("xpnet.") else f"{module}.{name}")
    return found


def _check(app: Any, env: Any) -> None:
    from sphinx.util import logging

    known = {name for name, _ in env.domaindata["py"]["objects"].items()}
    known |= set(env.domaindata["py"]["modules"])
    for name in sorted(public_names() - known):
        logging.getLogger(__name__).warning("the public name %s is on no page of docs/api", name)


def _of_xpnet(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A name in the docstring of any module that is one of ``xpnet`` itself, such as `fit`."""
    domain = env.get_domain("py")
    if node.get("refdomain") != "py" or f"xpnet.{node['reftarget']}" not in domain.objects:
        return None
    name = f"xpnet.{node['reftarget']}"
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, *signature: Any) -> Any:
    """A number that must be given has no default, though a layer's class has ``None`` for it."""
    arguments, returns = signature
    return (arguments and re.sub(r": int = None\b", ": int", arguments)), returns


def setup(app: Any) -> dict[str, Any]:
    """Look once all pages are read."""
    app.connect("autodoc-process-signature", _signature)
    app.connect("missing-reference", _of_xpnet)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
