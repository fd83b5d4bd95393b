"""The public names: all there, all described; and the room that each file keeps to."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import xpnet

PACKAGE = Path(xpnet.__file__).parent
LIBRARIES = {
    "array_api_compat",
    "array_api_extra",
    "array_api_strict",
    "cupy",
    "jax",
    "jaxlib",
    "numpy",
    "torch",
}
NUMPY_ALLOWED = {
    "callbacks.py": "what callbacks show is the history, which is on the host",
    "checks/layers.py": "two outputs of a layer are compared on the host",
    "checks/losses.py": "two values of a loss are compared on the host",
    "checks/optimizers.py": "what two steps of an optimizer return is compared on the host",
    "cli/__init__.py": "what became of a run is read from the history, which is on the host",
    "cli/judging.py": "what is said of a network at its end is reckoned on the host",
    "cli/parts.py": "the report's seeds are those of NumPy's legacy generator",
    "cli/running.py": "a program makes its data on the host",
    "cli/samples.py": "the samples of a program are made on the host",
    "cli/tables/asking.py": "what is predicted is written on the host",
    "cli/tables/fitting.py": "tables are on the host",
    "cli/tables/page.py": "pictures are drawn on the host",
    "cli/told.py": "what is said of a run is its history, which is on the host",
    "compiler/bits.py": "random bits of recorded steps are made by NumPy, where these have memory",
    "compiler/host.py": "Python's numbers answer as NumPy's would",
    "compiler/ir.py": "a shape is that of a NumPy array of nothing",
    "compiler/native/cuda.py": "a step is recorded on the host, of arrays that are brought there",
    "compiler/native/gpu.py": "a step is recorded on the host, and its arrays brought there",
    "compiler/native/grids.py": "what kernels are given comes from the host",
    "compiler/native/kernels.py": "a step is recorded on the host, by NumPy",
    "compiler/pure.py": "arrays of the host and generators are compared with what they were",
    "compiler/native/elementary.py": "the numbers of machine code are NumPy's",
    "compiler/native/fused.py": "machine code reads and writes NumPy's memory",
    "compiler/native/instructions.py": "the numbers of machine code are NumPy's",
    "compiler/native/lowering.py": "the numbers of machine code are NumPy's",
    "compiler/native/values.py": "the numbers of machine code are NumPy's",
    "compiler/native/machine.py": "machine code reads and writes NumPy's memory",
    "compiler/native/program.py": "machine code reads and writes NumPy's memory",
    "compiler/passes/two_values.py": "the two values are reckoned on the host, in their dtype",
    "compiler/record.py": "a step may hold numbers of NumPy",
    "compiler/step_key.py": "a step may hold numbers of NumPy",
    "training/validation.py": "who is best is reckoned on the host, of numbers that came there",
    "distributed/agreement.py": "what ranks compare and add up is on the host",
    "distributed/comm.py": "what goes from rank to rank is on the host",
    "distributed/ranks.py": "what goes from rank to rank is on the host",
    "distributed/halves.py": "what ranks sum up is on the host",
    "distributed/room.py": "the orders of batches are on the host",
    "distributed/runner.py": "what ranks sum up is on the host, and so are the orders of batches",
    "estimators/at_once.py": "what a minimiser found is told on the host",
    "estimators/base.py": "what begins with nothing is made on the host",
    "estimators/classifier.py": "labels may be text, and are coded on the host",
    "estimators/descent.py": "the orders of scikit-learn are drawn on the host",
    "estimators/options.py": "a dtype may be given as NumPy's",
    "estimators/outputs.py": "scores are reckoned on the host",
    "estimators/regressor.py": "scores are reckoned on the host",
    "estimators/reporting.py": "what callbacks are told is on the host",
    "estimators/samples.py": "what is no array of a library is NumPy's to read",
    "estimators/tabular.py": "classes and targets are told apart on the host",
    "estimators/tabular_base.py": "tables lie on the host",
    "estimators/tabular_samples.py": "who is held out is drawn on the host",
    "estimators/training.py": "which samples a step sees is reckoned on the host",
    "estimators/weights.py": "parameters that are set may be lists of the host",
    "files/describe.py": "arrays in what is described lie on the host",
    "files/exchange.py": "what comes from another library is joined on the host",
    "files/model.py": "what is in a file lies on the host first",
    "files/onnx/__init__.py": "what is in a file lies on the host first",
    "files/onnx/graph.py": "what is in a file lies on the host first",
    "files/onnx/of_tables.py": "what is in a file lies on the host first",
    "files/onnx/table.py": "what is in a file lies on the host first",
    "files/onnx/walk.py": "the type of what is in a file",
    "files/onnx/traced.py": "the type of what is in a file",
    "files/tensors.py": "what is in a file lies on the host first",
    "distributed/cluster.py": "generators of NumPy go on behind what was drawn",
    "distributed/dealt.py": "what members left with is told on the host",
    "distributed/saved.py": "what is in a file is of the host",
    "distributed/kept.py": "what comes from workers is put together on the host",
    "distributed/parts.py": "what goes to workers goes by the host",
    "distributed/worker.py": "what comes to a worker is on the host",
    "datasets.py": "data sets are made on the host, by a random generator",
    "history.py": "the history is on the host",
    "initializers.py": "the standard has no random numbers: values are drawn on the host",
    "layers/base.py": "the type of what a layer draws on the host",
    "layers/batch_ensemble.py": "what a layer draws is on the host",
    "layers/batch_norm.py": "what the layer begins with is made on the host",
    "layers/chain.py": "the type of what layers draw on the host",
    "layers/checked.py": "what a layer draws is on the host",
    "layers/embedding.py": "what a layer draws is on the host, and ids of which one is wrong",
    "layers/linear.py": "the type of what a layer draws on the host",
    "layers/norms.py": "what a layer begins with is made on the host",
    "layers/numerical.py": "what a layer draws is on the host",
    "layers/prelu.py": "what a layer begins with is made on the host",
    "layers/robust_scale.py": "what the layer begins with is made on the host",
    "layers/standardize.py": "what the layer begins with is made on the host",
    "losses/base.py": "a mistake is told by labels that have come to the host",
    "losses/binary.py": "a mistake is told by labels that have come to the host",
    "losses/categorical.py": "a mistake is told by labels that have come to the host",
    "network.py": "initial parameters are joined on the host",
    "pictures.py": "pictures are drawn on the host",
    "samples.py": "who goes where is drawn on the host",
    "tables/columns.py": "tables are on the host",
    "tables/frames.py": "frames are read on the host",
    "tables/predicting.py": "what is predicted is judged on the host",
    "tables/preparation.py": "tables are on the host",
    "tables/reading.py": "files are read on the host",
    "tables/table.py": "tables are on the host",
    "tables/target.py": "labels are texts, which arrays of other libraries do not hold",
    "testing/common.py": "what is compared is on the host",
    "testing/layers.py": "what a layer is asked with is made on the host",
    "testing/losses.py": "what a loss is asked with is made on the host",
    "testing/optimizers.py": "what an optimizer is asked with is made on the host",
    "training/asked.py": "the numbers of the first samples are made on the host",
    "training/batches.py": "shuffled orders are drawn on the host",
    "training/blocks.py": "which members go into a block is reckoned on the host",
    "training/callback.py": "what a run tells is on the host",
    "training/ensemble.py": "who is still trained is kept on the host",
    "training/fingerprint.py": "what is told of data is told of their values on the host",
    "training/epochs.py": "the type of the epochs' metrics, which come to the host",
    "training/finite.py": "whether numbers are finite is asked on the host",
    "training/fit.py": "who diverged is counted on the host",
    "training/loop.py": "the epochs' metrics are looked at on the host",
    "training/minimize.py": "SciPy's minimisers work on the host",
    "training/progress.py": "what goes to a file is brought to the host",
    "training/recent.py": "who goes back is kept on the host",
    "training/sources.py": "files are read on the host",
    "training/streamed.py": "which samples are read is reckoned on the host",
    "training/rows.py": "the type of the rows of members, which come from the host",
}
"""Files outside ``backends/`` and the compiler's writers that may import NumPy, as the host's
random generator and file reader, and why. No other array library may be imported or named there."""


def test_callbacks_are_there_on_first_use():
    code = (
        "import sys, xpnet; assert 'xpnet.callbacks' not in sys.modules; xpnet.callbacks.LogLines"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'callback'"):
        xpnet.callback  # noqa: B018


def public_modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(xpnet.__path__, "xpnet.")
        if not any(part.startswith("_") for part in module.name.split("."))
    ]


def outside_backends() -> list[str]:
    files = (file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py"))
    known = ("backends/", "compiler/writers/")
    return sorted(file for file in files if not file.startswith(known))


# ---- names


def test_all_names_every_public_name_once_and_in_order() -> None:
    assert len(set(xpnet.__all__)) == len(xpnet.__all__)
    for name in xpnet.__all__:
        assert hasattr(xpnet, name), name
    present = {
        name
        for name, value in vars(xpnet).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    first_used = {"callbacks", "export_onnx"}  # which are not there before
    assert present | first_used | {"backends", "datasets", "metrics", "tables"} == set(
        xpnet.__all__
    )


@pytest.mark.parametrize("name", sorted(xpnet.__all__))
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(xpnet, name)
    if inspect.isclass(thing):
        # A dataclass without a docstring is given its signature for one: that does not count.
        assert thing.__doc__, f"{name} has no docstring"
        assert not thing.__doc__.startswith(f"{name}("), f"{name} has no docstring"
        for attribute, member in vars(thing).items():
            if not attribute.startswith("_") and isinstance(member, property):
                assert inspect.getdoc(member) or f"{attribute}:" in thing.__doc__, (
                    f"{name}.{attribute} has no docstring"
                )
            elif not attribute.startswith("_") and inspect.isfunction(member):
                # getdoc finds what an overriding method inherits.
                assert inspect.getdoc(getattr(thing, attribute)), (
                    f"{name}.{attribute} has no docstring"
                )
    else:
        assert inspect.getdoc(thing), f"{name} has no docstring"


@pytest.mark.parametrize("name", public_modules())
def test_every_module_says_what_it_holds(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec and spec.origin
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    assert ast.get_docstring(tree), f"{name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


@pytest.mark.parametrize("name", ["xpnet.backends", "xpnet.layers", "xpnet.testing"])
def test_packages_list_their_public_names(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        assert hasattr(module, public), public


def test_the_version_is_one() -> None:
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text("utf-8")
    assert f"[{xpnet.__version__}]" in changelog


# ---- rooms


def imported(tree: ast.AST) -> set[str]:
    """The roots of the modules that a file imports, wherever in it."""
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots


def words(tree: ast.AST) -> set[str]:
    """The names and whole strings of the code: docstrings and messages are prose, and free."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(".")[0])
    return found


@pytest.mark.parametrize("file", outside_backends())
def test_only_backends_know_an_array_library(file: str) -> None:
    tree = ast.parse((PACKAGE / file).read_text("utf-8"))
    allowed = {"numpy"} if file in NUMPY_ALLOWED else set()
    assert imported(tree) & LIBRARIES <= allowed
    # NumPy's name may stand in a comparison: a parameter on any device can be set from the host.
    assert words(tree) & (LIBRARIES - {"numpy"}) == set()


def test_the_list_of_exceptions_is_no_longer_than_needed() -> None:
    for file in NUMPY_ALLOWED:
        if (PACKAGE / file).exists():
            assert "numpy" in imported(ast.parse((PACKAGE / file).read_text("utf-8"))), file


def run(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_import_brings_no_optional_library() -> None:
    optional = {
        *(LIBRARIES - {"numpy"}),
        *(
            "jinja2",
            "matplotlib",
            "safetensors",
            "mlxtend",
            "ndonnx",
            "onnx",
            "scipy",
            "sklearn",
            "tensorboardX",
            "threadpoolctl",
            "tqdm",
        ),
    }
    loaded = run("import sys, xpnet; print(*sorted({m.partition('.')[0] for m in sys.modules}))")
    assert optional & set(loaded.split()) == set()
