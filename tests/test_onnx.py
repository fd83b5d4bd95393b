"""`export_onnx`: what onnxruntime gives is what the model gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, LAYERS, between, library, samples_for
from xpnet.files.onnx import layers

STATEFUL = {
    "Standardize": xn.Standardize(4),
    "BatchNorm": xn.BatchNorm(4),
    "Dropout": xn.Dropout(),
    "RobustScale": xn.RobustScale(4),
    "RobustScale, not clipped": xn.RobustScale(4, clip=None),
    "PiecewiseLinearEmbedding": xn.PiecewiseLinearEmbedding(4, 3, bins=5),
    "Columns, nested": xn.Columns(
        xn.Sequential(xn.RobustScale(2), xn.PeriodicEmbedding(2, 2)), xn.Standardize(2)
    ),
}
EVERY = {**LAYERS, **STATEFUL}
ASKING = {
    *("Embedding", "LinearBatchEnsemble", "LinearEnsemble", "PiecewiseLinearEmbedding"),
    *("PeriodicEmbedding", "Columns", "Columns, nested"),
}
"""Those that ask for the number of samples, which ndonnx does not know."""
KINDS = [(None, "float64"), (3, "float32")]


@pytest.fixture(autouse=True)
def _packages() -> None:
    library("onnxruntime")
    library("ndonnx")


def model_of(
    net: xn.Sequential, members: int | None, dtype: str, loss: Any = None
) -> tuple[xn.Model, np.ndarray]:
    """A model whose layers have state that is not what they begin with, and samples."""
    rng = np.random.default_rng(3)
    first = net.leaves[0]
    own = first.shape if isinstance(first, xn.Flatten) else (net.in_features,)
    x = samples_for(net, rng, (9, *own)).astype(dtype)
    theta = net.init(0, like=x, members=members)
    state = {
        name: np.abs(rng.normal(1, 0.3, array.shape)).astype(dtype)
        for name, array in net.init_state(like=x, members=members).items()
    }
    return xn.Model(net, theta, loss, layer_state=state or None), x


def ran(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime gives for the outputs of a file."""
    session = library("onnxruntime").InferenceSession(path)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """To 8 roundings of numbers as large as the largest, in float32 1e-6 of it."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    bound = 8 * EPS[wanted.dtype.name] * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("name", EVERY)
def test_each_layer_gives_there_what_it_gives_here(name: str, tmp_path: Path) -> None:
    for members, dtype in KINDS:
        model, x = model_of(between(EVERY[name], 3), members, dtype)
        xn.export_onnx(model, tmp_path / "a.onnx", average=False)
        assert_same(ran(tmp_path / "a.onnx", x)["prediction"], model(x))
        one = x[:1]  # of any number of samples
        assert_same(ran(tmp_path / "a.onnx", one)["prediction"], model(one))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ASKING])
def test_a_layer_as_it_is_written_is_the_layer_as_it_runs_on_ndonnx(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = model_of(between(EVERY[name], 3), 2, "float64")
    xn.export_onnx(model, tmp_path / "a.onnx")
    others = {} if name == "Linear" else {xn.Linear: layers.WRITERS[xn.Linear]}
    monkeypatch.setattr("xpnet.files.onnx.walk.WRITERS", others)
    xn.export_onnx(model, tmp_path / "b.onnx")
    assert_same(
        ran(tmp_path / "a.onnx", x)["prediction"], ran(tmp_path / "b.onnx", x)["prediction"]
    )


LOSSES = {
    "BCE": (xn.BCE(), [xn.Sigmoid()]),
    "BCEWithLogits": (xn.BCEWithLogits(), []),
    "CrossEntropy": (xn.CrossEntropy(), []),
    "Hinge": (xn.Hinge(), []),
    "MSE": (xn.MSE(), []),
    "Poisson": (xn.Poisson(), []),
    "Poisson of rates": (xn.Poisson(log_input=False), [xn.Softplus()]),
    "Quantile": (xn.Quantile((0.1, 0.5, 0.9)), []),
    "KL": (xn.KL(), [xn.LogSoftmax()]),
    **{
        f"three {type(loss).__name__}s": (xn.EnsembleLoss(loss, 3), [xn.LinearEnsemble(1, n, k=3)])
        for loss, n in (
            (xn.CrossEntropy(), 4),
            (xn.BCEWithLogits(), 1),
            (xn.Hinge(), 1),
            (xn.Poisson(), 2),
        )
    },
}


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_mean_what_the_loss_says_and_members_are_averaged(
    name: str, tmp_path: Path
) -> None:
    loss, last = LOSSES[name]
    net = xn.Sequential(xn.Linear(4, 3), *last)
    for members in (None, 3):
        model, x = model_of(net, members, "float64", loss)
        xn.export_onnx(model, tmp_path / "a.onnx")
        found = ran(tmp_path / "a.onnx", x)
        if not loss.classifies:
            numbers, what = model.predict(x), "prediction"
        elif loss.probabilistic:
            numbers, what = model.predict_proba(x), "probabilities"
        else:
            numbers, what = model(x), "margin"
            if isinstance(loss, xn.EnsembleLoss):
                numbers = numbers.mean(axis=-1, keepdims=True)
        numbers = numbers if members is None else numbers.mean(axis=0)
        assert_same(found.pop(what), numbers)
        if loss.classifies:
            wanted = model.predict(x)
            if members is not None:
                above = numbers > (0.5 if loss.probabilistic else 0)
                entropy = "CrossEntropy" in name
                wanted = numbers.argmax(axis=-1) if entropy else above.astype(int)
            np.testing.assert_array_equal(found.pop("label"), wanted, strict=True)
        assert not found


class Swish(xn.Layer):
    """A layer of somebody's own, with a parameter."""

    samplewise = True
    weights = ()

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"beta": (1, 4)}

    def draw(self, rng: Any) -> list[np.ndarray]:
        return [rng.uniform(0.5, 2, (1, 4))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        raise NotImplementedError

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x / (1 + xp.exp(-params[0] * x))


@dataclass(frozen=True)
class Ranks(xn.CrossEntropy):
    """A loss of somebody's own, whose class is another."""

    def predict(self, xp: Any, output: Any) -> Any:
        return xp.argmin(output, axis=-1)


def test_a_layer_and_a_loss_of_ones_own_are_exported_by_ndonnx(tmp_path: Path) -> None:
    net = xn.Sequential(xn.Linear(4, 4), xn.Residual(Swish()), xn.Linear(4, 3))
    for members, dtype in KINDS:
        model, x = model_of(net, members, dtype, Ranks())
        xn.export_onnx(model, tmp_path / "a.onnx", average=False)
        found = ran(tmp_path / "a.onnx", x)
        assert_same(found["probabilities"], model.predict_proba(x))
        np.testing.assert_array_equal(found["label"], model.predict(x), strict=True)
    with pytest.raises(ValueError, match=r"average must be False for Ranks\(.*nobody knows"):
        xn.export_onnx(model, tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


class Asking(Swish):
    """One that asks for a value, which a graph has not."""

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x if bool(xp.any(x > 0)) else -x


def test_what_cannot_be_exported_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    model, _ = model_of(xn.Sequential(xn.Linear(4, 4), Asking()), None, "float64")
    with pytest.raises(TypeError, match=r"^layer 1, Asking must do what ndonnx does too"):
        xn.export_onnx(model, path)
    model, _ = model_of(xn.Sequential(xn.Linear(4, 4), Swish()), None, "float64")
    with pytest.raises(ValueError, match=r"^opset must be from 21, which this model needs, to \d+"):
        xn.export_onnx(model, path, opset=18)
    for change, said in (
        ({"opset": 11}, "opset must be a whole number of at least 18, not 11"),
        ({"average": 1}, "average must be True or False, not 1"),
        ({"model": model.network}, "model must be a Model, or an estimator that is fitted, not"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            xn.export_onnx(**{"model": model, "path": path, **change})
    with pytest.raises(FileNotFoundError, match="path must be a file that can be written"):
        xn.export_onnx(model, tmp_path / "missing" / "a.onnx")
    assert not any(tmp_path.iterdir())


def test_what_is_no_model_yet_is_told_the_way_to_one(tmp_path: Path) -> None:
    library("sklearn")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    from xpnet import estimators

    mlp = estimators.MLPClassifier()
    for model, said in (
        (mlp, r"not MLPClassifier\(\); call model.fit\(x, y\)"),
        (make_pipeline(mlp), r"not Pipeline.*; the last step alone is model\[-1\]"),
        (MLPClassifier(), r"use xpnet.from_sklearn\(model\)"),
        (estimators.MLPClassifier, "not <class"),
    ):
        with pytest.raises(TypeError, match=said):
            xn.export_onnx(model, tmp_path / "a.onnx")


def test_pictures_go_in_as_they_are_and_the_file_says_what_it_is(tmp_path: Path) -> None:
    onnx = library("onnx")
    net = xn.Sequential(xn.Flatten(2, 2), xn.Standardize(4), xn.Linear(4, 2))
    model, x = model_of(net, 2, "float32", xn.CrossEntropy())
    xn.export_onnx(model, tmp_path / "a.onnx", opset=20)
    assert x.shape == (9, 2, 2)
    found = ran(tmp_path / "a.onnx", x)
    assert_same(found["probabilities"], model.predict_proba(x).mean(axis=0))
    made = onnx.load(tmp_path / "a.onnx")
    said = {one.key: one.value for one in made.metadata_props}
    assert (made.producer_name, made.producer_version) == ("xpnet", xn.__version__)
    assert said == {"network": repr(net), "loss": "CrossEntropy()", "members": "2"}
    (domain,) = made.opset_import
    assert domain.version == 20


def table(rows: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """A table with numbers that are missing, that many have, texts, and labels; and its columns as
    matrices, as they go into a graph.
    """
    rng = np.random.default_rng(8)
    numbers = np.stack(
        [rng.normal(3, 2, rows), rng.integers(0, 4, rows), rng.exponential(size=rows)]
    )
    numbers[2, ::5] = np.nan
    texts = rng.choice(["red", "green", "blue"], rows)
    y = np.where(numbers[0] > 3, "large", "small")
    data = {"a": numbers[0], "b": numbers[1], "c": numbers[2], "colour": texts, "y": y}
    return data, numbers.T, texts[:, None].astype(object)


@pytest.mark.parametrize("way", ["standardize", "quantile", "keep"])
def test_a_table_goes_in_as_it_is(way: str, tmp_path: Path) -> None:
    data, numbers, texts = table(60)
    before = xn.tables.Preparation.fit(data, "y", numbers=way)
    net = xn.Sequential(
        xn.Columns(xn.Standardize(before.numeric), xn.Embedding(before.sizes[0], 2)),
        xn.Linear(before.numeric + 2, 2),
    )
    x = before.transform(data).astype("float32")
    model = xn.Model(
        net, net.init(0, like=x), xn.CrossEntropy(), layer_state=net.init_state(like=x, x=x),
        preparation=before,
    )  # fmt: skip
    xn.export_onnx(model, tmp_path / "a.onnx")
    # Beyond what was there in training, at its ends, missing where nothing was, and another text.
    numbers = np.concatenate([numbers, [[99, -1, 99], [np.nan] * 3, numbers.min(axis=0)]])
    texts = np.concatenate([texts, [["green"], ["black"], ["blue"]]])
    named = dict(zip("abc", numbers.T, strict=True)) | {"colour": texts[:, 0].tolist()}
    x = before.transform(named).astype("float32")
    session = library("onnxruntime").InferenceSession(tmp_path / "a.onnx")
    found = session.run(None, {"numbers": numbers, "categories": texts})
    names = [one.name for one in session.get_outputs()]
    assert names == ["probabilities", "label", "class"]
    assert_same(found[0], model.predict_proba(x))
    np.testing.assert_array_equal(found[2], before.target.decode(model.predict(x)))
    xn.export_onnx(model, tmp_path / "b.onnx", preparation=False)
    assert_same(ran(tmp_path / "b.onnx", x)["probabilities"], found[0])


def test_an_estimator_is_exported_with_its_classes(tmp_path: Path) -> None:
    library("sklearn")
    from xpnet.estimators import MLPClassifier

    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3))
    answers = np.where(x[:, 0] > 0, "yes", "no")
    for y in (answers, 5 + 2 * (x > 0).sum(axis=1), np.full(40, "all one")):
        mlp = MLPClassifier(5, max_iter=3, tol=0, n_iter_no_change=9, random_state=0)
        with pytest.warns(UserWarning, match="reached"):
            mlp.fit(x, y)
        xn.export_onnx(mlp, tmp_path / "a.onnx")
        np.testing.assert_array_equal(ran(tmp_path / "a.onnx", x)["class"], mlp.predict(x))


def test_it_is_the_same_file_from_every_library(backend: Any, tmp_path: Path) -> None:
    net = xn.Sequential(xn.Standardize(4), xn.Linear(4, 3))
    model, _ = model_of(net, 2, "float64", xn.CrossEntropy())
    state = {k: backend.asarray(a, "float64") for k, a in (model.layer_state or {}).items()}
    theta = backend.asarray(model.theta, "float64")
    theirs = xn.Model(net, theta, model.loss, layer_state=state)
    for name, one in (("a", model), ("b", theirs)):
        xn.export_onnx(one, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
