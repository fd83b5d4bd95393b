"""Models of PyTorch and scikit-learn, and back: the same numbers in, the same out."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import LAYERS, arr, between, host, library, rounding, samples_for

PAGE = (Path(__file__).parent.parent / "docs" / "files.md").read_text(encoding="utf-8")
FEATURES = 4
ROUNDINGS = 200
"""More than any of these networks does to a number of its output, in sums of 4, and in functions
that are right to a few units."""


@pytest.fixture
def nn():
    return library("torch").nn


def modules(nn):
    """The module of each of the `LAYERS`, as somebody writes it who knows PyTorch."""
    return {
        "Linear": nn.Linear(4, 3),
        "Identity": nn.Identity(),
        "LeakyReLU": nn.LeakyReLU(0.2),
        "ReLU": nn.ReLU(),
        "Sigmoid": nn.Sigmoid(),
        "Tanh": nn.Tanh(),
        "HardTanh": nn.Hardtanh(-0.5, 0.75),
        "Softplus": nn.Softplus(2.0, threshold=30),
        "ELU": nn.ELU(0.7),
        "SELU": nn.SELU(),
        "SiLU": nn.SiLU(),
        "GELU": nn.GELU("tanh"),
        "Softmax": nn.Softmax(dim=-1),
        "LogSoftmax": nn.LogSoftmax(dim=-1),
        "LayerNorm": nn.LayerNorm(4),
        "RMSNorm": nn.RMSNorm(4, eps=1e-5),
        "PReLU": nn.PReLU(4),
        "PReLU, shared": nn.PReLU(init=-0.5),
        "Flatten": nn.Flatten(),
        "BatchNorm": nn.BatchNorm1d(4, momentum=0.3),
        "Dropout": nn.Dropout(0.3),
        "Sequential": nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4))),
    }


OURS = {
    **{name: LAYERS[name] for name in [*LAYERS][: [*LAYERS].index("Residual")]},
    "BatchNorm": xn.BatchNorm(4, momentum=0.3),
    "Dropout": xn.Dropout(0.3),
    "Sequential": xn.Sequential(xn.Linear(4, 4), xn.Sequential(xn.Tanh(), xn.Linear(4, 4))),
}
WITHIN = [name for name in OURS if name != "Embedding"]  # which asks for another form of samples


def random_model(layer, backend):
    """A model with the layer in it, of random numbers, and samples."""
    net, rng = between(layer, 2), np.random.default_rng(3)
    x = arr(backend, samples_for(net, rng, (12, FEATURES)))
    theta = arr(backend, rng.uniform(0.1, 1.0, net.size))
    state = {k: arr(backend, rng.uniform(0.5, 1.5, s)) for k, s in net.state_shapes.items()}
    return xn.Model(net, theta, layer_state=state or None), x


def theirs(nn, name):
    """A module of PyTorch's own with the module of that name in it, of random numbers."""
    torch = library("torch")
    generator = torch.Generator().manual_seed(5)
    module = modules(nn)[name]
    first = [] if name == "Flatten" else [nn.Linear(4, 4)]
    whole = (
        nn.Sequential(*first, module, nn.Linear(3 if name == "Linear" else 4, 2)).double().eval()
    )
    with torch.no_grad():
        for key, tensor in whole.state_dict().items():
            if not key.endswith("tracked"):
                tensor.copy_(
                    torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.1
                )
    return whole


def assert_alike(actual, expected):
    expected = np.asarray(expected)
    atol = rounding(ROUNDINGS, [1.0, expected])
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=atol)


# ---- PyTorch


@pytest.mark.parametrize("name", WITHIN)
def test_load_state_dict_takes_what_is_saved(nn, backend, name, tmp_path):
    load_file = library("safetensors.torch").load_file
    model, x = random_model(OURS[name], backend)
    model.save(tmp_path / "a", weights_only=True)
    module = theirs(nn, name)
    module.load_state_dict(load_file(tmp_path / "a"))
    rows = library("torch").tensor(backend.to_host(x))
    assert_alike(module(rows).detach(), host(backend, model(x)))


@pytest.mark.parametrize("name", WITHIN)
def test_a_module_of_torch_gives_the_same_here(nn, name):
    torch = library("torch")
    module = theirs(nn, name)
    model = xn.from_torch(module)
    assert model.network == between(xn.Flatten(4) if name == "Flatten" else OURS[name], 2)
    x = torch.tensor(np.random.default_rng(0).normal(size=(9, 4)))
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    assert_alike(model(x), module(x).detach())
    model.theta = model.theta * 2  # a copy
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize("name", [*OURS, "Residual", "Standardize"])
def test_a_model_as_a_module_gives_the_same_and_comes_back(backend, name):
    torch = library("torch")
    model, x = random_model({**LAYERS, **OURS, "Standardize": xn.Standardize(4)}[name], backend)
    before = torch.get_rng_state()
    module = xn.to_torch(model)
    assert torch.equal(torch.get_rng_state(), before)
    where = next(module.parameters()).device  # where the model lies, if that is PyTorch's
    assert where == (model.theta.device if backend.name == "torch" else torch.device("cpu"))
    rows = torch.tensor(backend.to_host(x), device=where)
    assert_alike(module(rows).detach().cpu(), host(backend, model(x)))
    assert not module.training
    again = xn.from_torch(module, backend=backend.name)
    if name != "Flatten":  # which has other sizes then
        assert again.network == model.network
    np.testing.assert_array_equal(backend.to_host(again.theta), backend.to_host(model.theta))


def test_what_a_module_lacks_is_zeros_and_ones(nn):
    torch = library("torch")
    bare = [nn.BatchNorm1d(4, affine=False), nn.LayerNorm(4, bias=False), nn.RMSNorm(4)]
    module = nn.Sequential(nn.Linear(4, 4, bias=False), *bare, nn.Linear(4, 2)).eval()
    model = xn.from_torch(module)
    assert (model[0].b == 0).all() and (model[1].weight == 1).all() and (model[2].bias == 0).all()
    x = torch.tensor(np.random.default_rng(0).normal(size=(9, 4)), dtype=torch.float32)
    expected = module(x).detach().numpy()
    atol = rounding(ROUNDINGS, [1.0, expected], "float32")
    np.testing.assert_allclose(model(x), expected, rtol=0, atol=atol)
    assert model[3].eps == np.finfo("float32").eps


def test_names_of_ones_own_are_places_here(nn):
    torch = library("torch")
    inner = nn.Sequential(OrderedDict(out=nn.Linear(3, 1)))
    module = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), act=nn.ReLU(), inner=inner))
    model = xn.from_torch(module)
    assert list(model.named_parameters()) == ["0.W", "0.b", "2.0.W", "2.0.b"]
    assert torch.equal(model[2][0].W, inner.out.weight)


def test_ids_and_pictures_come_over(nn):
    torch = library("torch")
    words = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(6, 3))
    ids = torch.tensor([[0, 4, 2], [1, 1, 3]])
    model = xn.from_torch(words)
    assert model.network[0] == xn.Embedding(5, 2, in_features=3)
    atol = rounding(ROUNDINGS, 10.0, "float32")
    np.testing.assert_allclose(model(ids.float()), words(ids).detach(), rtol=0, atol=atol)
    pictures = nn.Sequential(nn.Sequential(nn.Flatten()), nn.Linear(6, 2))
    x = torch.ones(4, 2, 3)
    found = xn.from_torch(pictures)(x.reshape(4, 6))
    np.testing.assert_allclose(found, pictures(x).detach(), rtol=0, atol=atol)


def test_modules_that_are_nothing_here_are_named(nn):
    torch = library("torch")

    def refused(kind, *words, of):
        with pytest.raises(kind) as caught:
            xn.from_torch(of)
        assert all(word in str(caught.value) for word in words), caught.value
        assert str(caught.value).endswith(".")

    linear = nn.Linear(2, 2)
    refused(TypeError, "not Linear(", "write torch.nn.Sequential(module)", of=linear)
    refused(TypeError, "not 3", of=3)
    refused(ValueError, "must have parameters", of=nn.Sequential(nn.ReLU()))
    conv = nn.Sequential(linear, nn.Sequential(nn.Conv1d(1, 1, 2)))
    refused(TypeError, "module 1.0, Conv1d(1, 1", "is none.", of=conv)
    for module, why in (
        (nn.Softmax(0), "its dim is 0"),
        (nn.Softplus(threshold=1), "its threshold is below 20"),
        (nn.BatchNorm1d(2, momentum=None), "no running mean"),
        (nn.LayerNorm((2, 2)), "several axes"),
        (nn.Embedding(3, 2, max_norm=1.0), "max_norm"),
        (nn.Embedding(3, 2), "no Flatten behind it"),
        (nn.Flatten(0), "leaves axes"),
    ):
        refused(TypeError, "module 0, ", "is none, as ", why, of=nn.Sequential(module, linear))
    refused(ValueError, "approximate must be 'tanh'", of=nn.Sequential(linear, nn.GELU()))
    refused(TypeError, "not float16; use module.float()", of=nn.Sequential(linear).half())
    linear = nn.Linear(2, 2)
    linear.register_forward_hook(lambda *_: torch.zeros(1))
    refused(TypeError, "as it has hooks", of=nn.Sequential(linear))
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        for name, within in (("module must", nn.Identity()), ("module 1 must", nn.Sequential())):
            module = nn.Sequential(nn.Linear(2, 2), within)
            hooked = module if name == "module must" else within
            getattr(hooked, register)(lambda *_: None)
            refused(TypeError, f"{name} be without hooks", of=module)
    with pytest.raises(TypeError, match=r"not of 2; use model.member\(i\), or"):
        net = xn.Sequential(xn.Linear(2, 2))
        xn.to_torch(xn.Model(net, net.init(0, like=np.zeros(1), members=2)))
    with pytest.raises(TypeError, match="model must be a Model, not 3"):
        xn.to_torch(3)


# ---- scikit-learn


def data(sklearn_kind, rng):
    x = rng.normal(size=(60, 5))
    score = x @ rng.normal(size=(5, 3))
    return x, {
        "binary": np.where(score[:, 0] > 0, "yes", "no"),
        "classes": np.array(["a", "b", "c"])[score.argmax(axis=1)],
        "labels": (score > 0).astype(int),
        "one": score[:, 0],
        "several": score,
        "counts": np.floor(np.abs(score[:, 0])),
    }[sklearn_kind]


@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "one", "several", "counts"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_a_perceptron_of_scikit_learn_gives_the_same(kind, activation):
    library("sklearn")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    regression = kind in ("one", "several", "counts")
    x, y = data(kind, np.random.default_rng(0))
    options = {"hidden_layer_sizes": (7, 6), "max_iter": 5, "random_state": 0}
    if kind == "counts":
        options["loss"] = "poisson"
    mlp = (MLPRegressor if regression else MLPClassifier)(activation=activation, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(x, y)
    model = xn.from_sklearn(mlp)
    if regression:
        assert_alike(np.squeeze(model.predict(x)), mlp.predict(x))
        return
    probabilities = model.predict_proba(x)
    expected = mlp.predict_proba(x)
    assert_alike(probabilities, expected[:, 1:] if kind == "binary" else expected)
    predicted = model.predict(x)
    if kind == "labels":
        np.testing.assert_array_equal(predicted, mlp.predict(x))
    else:
        np.testing.assert_array_equal(mlp.classes_[predicted.reshape(-1)], mlp.predict(x))


def test_what_is_no_fitted_perceptron_is_refused():
    library("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    from xpnet import estimators

    with pytest.raises(TypeError, match=r"an MLPClassifier or MLPRegressor .*, not LogisticReg"):
        xn.from_sklearn(LogisticRegression())
    with pytest.raises(TypeError, match=r"; its last step is mlp\[-1\], which"):
        xn.from_sklearn(make_pipeline(MLPClassifier()))
    with pytest.raises(TypeError, match=r"which has its Model already: mlp.model_, once it is"):
        xn.from_sklearn(estimators.MLPClassifier())
    with pytest.raises(ValueError, match=r"mlp must be fitted before; call mlp.fit\(x, y\)"):
        xn.from_sklearn(MLPClassifier())


# ---- the page


@pytest.mark.slow
def test_what_the_page_says_runs(tmp_path, monkeypatch, capsys):
    for name in ("torch", "sklearn"):
        library(name)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/files.md", "exec"), names)
    assert capsys.readouterr().out == "Sine(frequency=3.0)\n"
    assert names["longer"].history.epochs == 500
