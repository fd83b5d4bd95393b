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
    "xpnet.distributed",
    "xpnet.estimators",
    "xpnet.metrics",
    "xpnet.tables",
    "xpnet.testing",
)
"""The modules whose names are public."""


def public_names() -> set[str]:
    """What a person may import, such as ``xpnet.Linear`` and ``xpnet.metrics.TopK``."""
    return {one for name in MODULES for one in names_of(name)}


def names_of(name: str) -> set[str]:
    """The public names of a module: those that it lists, or what it has of its own.

    Of a module that another package is missing for there are none.
    """
    try:
        module = importlib.import_module(name)
    except ImportError:
        return set()
    own = (
        public
        for public, value in vars(module).items()
        if not public.startswith("_") and getattr(value, "__module__", None) == name
    )
    return {f"{name}.{public}" for public in getattr(module, "__all__", own)}


def written(pages: Iterable[Path]) -> set[str]:
    """The names that pages have directives for; a module with ``:members:`` has all of its own."""
    found: set[str] = set()
    for page in pages:
        module = "xpnet"
        text = page.read_text(encoding="utf-8")
        directive = r"^\.\. (\w+):: ([\w.]+)$(\n   :members:)?"
        for kind, name, members in re.findall(directive, text, re.MULTILINE):
            if kind in ("currentmodule", "automodule"):
                module = name
                found |= {name, *(names_of(name) if members else ())}
            elif kind.startswith("auto"):
                found.add(name if name.startswith("xpnet.") else f"{module}.{name}")
    return found


def _check(app: Any, env: Any) -> None:
    from sphinx.util import logging

    known = {name for name, _ in env.domaindata["py"]["objects"].items()}
    known |= set(env.domaindata["py"]["modules"])
    for name in sorted(public_names() - known):
        logging.getLogger(__name__).warning("the public name %s is on no page of docs/api", name)


OTHERS = {"numpy", "scipy", "sklearn", "torch", "jax"}
"""Packages whose names a docstring may have in backticks: their pages are on other hosts."""


def _of_xpnet(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A name in the docstring of any module that is one of ``xpnet`` itself, such as `fit`."""
    domain = env.get_domain("py")
    if node.get("refdomain") != "py":
        return None
    if node["reftarget"].partition(".")[0] in OTHERS:
        return contnode
    name = f"xpnet.{node['reftarget']}"
    if name not in domain.objects:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, *signature: Any) -> Any:
    """A number that must be given has no default, though a layer's class has ``None`` for it."""
    arguments, returns = signature
    return (arguments and re.sub(r": int = None\b", ": int", arguments)), returns


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Join the names of several arguments, which may take lines, into the one line of Sphinx."""
    joined: list[str] = []
    for line in lines:
        if joined and re.fullmatch(r" +\w+(, \w+)*,", joined[-1]):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    lines[:] = joined


def _skipped(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """What scikit-learn gives its estimators is on its own pages."""
    return True if str(getattr(obj, "__module__", "")).startswith("sklearn.") else None


def setup(app: Any) -> dict[str, Any]:
    """Look once all pages are read."""
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skipped)
    app.connect("missing-reference", _of_xpnet)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
