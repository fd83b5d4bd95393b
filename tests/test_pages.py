"""What the README and the pages of docs/ show is so: their code runs, their links lead somewhere.

The ``python`` blocks of a page run in its order and in one namespace. A comment above a block says
what is not seen in it: ``<!-- not run: … -->`` why it cannot run here, ``<!-- printed -->`` that it
is what the one before prints.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import xpnet
from tests.helpers import library

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import public_names  # noqa: E402

BLOCK = re.compile(
    r"^(?:<!-- (?P<said>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
NEEDS = {
    "sklearn",
    "torch",
    "jax",
    "safetensors",
    "pandas",
    "polars",
    "onnxruntime",
    "optuna",
    "distributed",
}
"""Packages that code of a page may use, and a machine that tests it may lack."""
CLAIMS = {
    "README.md": ["tabular.score(frame, bought) > 0.9", "model.history.accuracy[-1] == 1.0"],
    "docs/own-layer.md": ["model.history.loss.shape == (300, 3)"],
    "docs/minimize.md": ["found.converged", "(classes[:, 0] == y).mean() > 0.97"],
    "docs/onnx.md": ["(labels == model.predict(x)).all()"],
    "docs/tuning.md": [
        "{trial.state.name for trial in study.trials} == {'COMPLETE', 'PRUNED'}",
        "best.history.val_loss.min() == study.best_value",
    ],
    "docs/data.md": ["scaled.history.loss.shape == model.history.loss.shape == (5,)"],
}
"""What holds once the code of a page has run, and the page does not print."""


class Block(NamedTuple):
    """A fenced block, and what the comment above it says."""

    said: str
    language: str
    text: str


def pages() -> list[str]:
    """The README and all pages, by their paths in the project."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(page.relative_to(ROOT).as_posix() for page in found)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    return [
        Block(found["said"] or "", found["language"], found["text"])
        for found in BLOCK.finditer(text_of(page))
    ]


def with_code() -> list[Any]:
    """The pages with code, each with its marks."""
    slow = {"docs/own-layer.md": [pytest.mark.slow, pytest.mark.installed]}
    with_some = (page for page in pages() if any(b.language == "python" for b in blocks(page)))
    return [pytest.param(page, marks=slow.get(page, [])) for page in with_some]


def needed(page: str) -> set[str]:
    """What the code of a page imports, or has xpnet import."""
    code = "\n".join(
        block.text
        for block in blocks(page)
        if block.language == "python" and not block.said.startswith("not run: ")
    )
    named = re.findall(r"^\s*(?:import|from) (\w+)|(?:backend=)?\"(\w+)\"", code, flags=re.M)
    found = set(map("".join, named)) & NEEDS
    found |= {"onnx"} if "export_onnx(" in code else set()
    return found | ({"safetensors"} if re.search(r"\.save\(|Checkpoint\(", code) else set())


@pytest.mark.program
@pytest.mark.parametrize("page", with_code())
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in needed(page):
        library(name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = ""
    for block in blocks(page):
        if block.language == "python" and not block.said.startswith("not run: "):
            first = block.text.splitlines()[0]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, f"{page}: {first}", "exec"), names)
            printed = out.getvalue()
        elif block.said == "printed":
            assert printed.rstrip() == block.text.rstrip()
    for claim in CLAIMS.get(page, ()):
        assert eval(claim, names), claim


def test_what_does_not_run_says_why() -> None:
    said = [block.said for page in pages() for block in blocks(page) if block.said]
    assert all(re.fullmatch(r"printed|not run: \w.+", one) for one in said)
    assert len([one for one in said if one != "printed"]) <= 8


# ---- links


def without_blocks(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S)


def headings(page: str) -> set[str]:
    """The anchors of a page, as code hosts make them of its headings."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+?)\s*$", without_blocks(page), flags=re.M)
    }


@pytest.mark.parametrize("page", [*pages(), "CHANGELOG.md"])
def test_links_lead_to_a_file_and_to_a_heading_of_it(page: str) -> None:
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`.*?`", "", without_blocks(page))):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = here / name if name else ROOT / page
        # The examples are written while the site is built.
        assert file.exists() or "examples/" in name, f"{page} links {target}"
        if anchor:
            found = headings(file.resolve().relative_to(ROOT).as_posix())
            assert anchor in found, f"{page} links {target}"
        # On the site a file of the project is downloaded, but a folder of it, or a page, is not.
        outside = page.startswith("docs/") and (ROOT / "docs") not in file.resolve().parents
        known = file.is_file() and file.suffix != ".md"
        assert known or not outside, f"{page} links out of the site: {target}"


def test_no_link_of_the_readme_is_dead_on_an_index_page() -> None:
    hook = tomllib.loads(text_of("pyproject.toml"))["tool"]["hatch"]["metadata"]["hooks"]
    shown = text_of("README.md")
    for change in hook["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(change["pattern"], change["replacement"], shown)
    assert "Five minutes (`docs/five-minutes.md`)" in shown
    assert all(re.match("https://", link) for link in re.findall(r"\]\(([^)]+)\)", shown))


def test_every_page_is_in_the_contents() -> None:
    named = {"docs/index.md"}
    for page in ("docs/index.md", "docs/api/index.md"):
        for listed in re.findall(r"^```\{toctree\}\n(.*?)^```$", text_of(page), re.M | re.S):
            lines = [line.strip() for line in listed.splitlines() if not line.startswith(":")]
            named |= {(Path(page).parent / f"{line}.md").as_posix() for line in lines if line}
    assert {page for page in pages() if page.startswith("docs/")} - named == set()


def test_no_page_is_called_as_one_that_sphinx_makes_itself_and_writes_over() -> None:
    assert {f"docs/{name}.md" for name in ("search", "genindex", "py-modindex")} & set(
        pages()
    ) == set()


# ---- names


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    written = public_names.written((ROOT / "docs" / "api").glob("*.md"))
    assert public_names.public_names() - written == set()


def test_the_essay_derives_every_layer_and_loss_and_names_every_optimizer() -> None:
    essay = text_of("docs/backprop.md")
    for name in xpnet.__all__:
        thing = getattr(xpnet, name)
        kinds = (xpnet.layers.Layer, xpnet.losses.Loss, xpnet.optimizers.Optimizer)
        if isinstance(thing, type) and issubclass(thing, kinds) and thing not in kinds:
            assert re.search(rf"\b{name}\b", essay) or name == "Sequential", name


def test_the_citation_is_of_this_version() -> None:
    version = re.search(r"^version: (.+)$", text_of("CITATION.cff"), re.M)
    assert version and version[1] == xpnet.__version__


# ---- what pages name


def extras(text: str) -> set[str]:
    """The extras in the likes of ``xpnet[report,tensorboard]``."""
    return {e for group in re.findall(r"xpnet\[([\w,]+)\]", text) for e in group.split(",")}


def test_extras_named_are_in_the_pyproject() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "xpnet").rglob("*.py")]
    named = extras(" ".join([*map(text_of, pages()), *sources]))
    assert {"files", "torch"} <= named <= set(project["optional-dependencies"])


def test_sessions_named_are_in_the_noxfile() -> None:
    sessions = set(re.findall(r"^def (\w+)\(session", text_of("noxfile.py"), flags=re.M))
    for page in pages():
        for name in re.findall(r"nox -s (\"[^\"]+\"|[a-z ]*[a-z])", text_of(page)):
            for one in name.split():
                assert one.strip('"').partition("(")[0] in sessions, f"{page}: {one}"
