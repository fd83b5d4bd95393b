"""Files: what is written is what is read, whole or not at all; and a model is what it was."""

from __future__ import annotations

import inspect
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import xpnet as xn
from tests.helpers import LAYERS, arr, assert_equal, host
from xpnet import backends
from xpnet.files import tensors
from xpnet.files.describe import PARTS, describe, make

ARRAYS = {
    "theta": np.arange(6.0).reshape(2, 3),
    "half": np.linspace(0, 1, 5, dtype=np.float32)[::2],
    "step": np.array(7),
    "none": np.zeros((0, 3)),
    "true": np.array([True, False, True]),
    "key": np.array([1, 2], dtype=np.uint32),
}


def same(arrays, others):
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert others[name].dtype == array.dtype, name
        np.testing.assert_array_equal(others[name], array)
        assert others[name].shape == array.shape, name


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors.write(path, ARRAYS, {"kind": "model", "lr": 0.1})
    return path


# ---- the format


def test_what_is_written_is_read_again(file):
    arrays, header = tensors.read(file)
    same(ARRAYS, arrays)
    assert header == {"kind": "model", "lr": 0.1}
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_package_safetensors_reads_it(file):
    with safe_open(file, framework="numpy") as opened:
        same(ARRAYS, {name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
        (entry,) = opened.metadata().items()
    name, said = entry[0], json.loads(entry[1])
    assert name == "xpnet" and len(said.pop("crc32")) == 8
    assert said == {"version": 1, "kind": "model", "lr": 0.1}


def test_the_same_is_written_with_the_same_bytes(file):
    other = file.with_name("b")
    tensors.write(other, dict(reversed(ARRAYS.items())), {"kind": "model", "lr": 0.1})
    assert other.read_bytes() == file.read_bytes()


def test_arrays_of_any_order_of_axes_and_bytes_are_written(file):
    given = {"T": ARRAYS["theta"].T, "big": np.arange(3, dtype=">i4"), "back": np.arange(4)[::-1]}
    tensors.write(file, given, {})
    for name, array in tensors.read(file)[0].items():
        assert array.flags.writeable and array.dtype == given[name].dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, given[name])


def test_without_the_package_one_sentence_says_how_it_is_installed(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    said = r"^a file in the format safetensors needs the package safetensors, .*; install it with: "
    for ask in (
        lambda: tensors.read(file),
        lambda: tensors.write(file, {}, {}),
        lambda: xn.callbacks.Checkpoint(file.parent),
    ):
        with pytest.raises(ImportError, match=said + "pip install safetensors$"):
            ask()


def test_what_the_package_has_written_anew_is_read(file):
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    save_file({name: a.copy() for name, a in ARRAYS.items()}, file, metadata)
    same(ARRAYS, tensors.read(file)[0])


# ---- bad files


def bad(path, kind, *words):
    """A file that is refused, in one sentence that names it."""
    with pytest.raises(kind) as caught:
        tensors.read(path)
    said = str(caught.value)
    assert str(path) in said and said.endswith(".") and "\n" not in said
    assert all(word in said for word in words), said


def test_a_file_cut_off_anywhere_is_refused(file):
    whole = file.read_bytes()
    for length in {*range(12), *random.Random(0).sample(range(len(whole)), 60)}:
        file.write_bytes(whole[:length])
        bad(file, ValueError)
    file.write_bytes(whole + b"\0")
    bad(file, ValueError, "damaged")


def test_a_file_with_any_byte_changed_is_refused(file):
    whole = file.read_bytes()
    draw = random.Random(1)
    for place in {*range(16), *draw.sample(range(len(whole)), 200)}:
        damaged = bytearray(whole)
        damaged[place] ^= draw.randrange(1, 256)
        file.write_bytes(damaged)
        if chr(whole[place]).isspace() and chr(damaged[place]).isspace():
            same(ARRAYS, tensors.read(file)[0])  # to JSON one is as good as the other
        else:
            bad(file, ValueError)


def test_what_is_no_file_of_xpnet_is_refused(tmp_path):
    path = tmp_path / "b"
    bad(path, FileNotFoundError)
    bad(tmp_path, IsADirectoryError)
    path.touch()
    bad(path, ValueError, "is empty")
    path.write_bytes(b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x05hello\x94.")  # a pickle
    bad(path, ValueError, "in the format safetensors")
    save_file({"weight": np.zeros(3)}, path)
    bad(path, ValueError, "no network", "from_torch")
    tensors.write(path, {}, {"version": 2})
    bad(path, ValueError, "the version 2; update xpnet")
    nested = b'{"a":' * 20000
    path.write_bytes(len(nested).to_bytes(8, "little") + nested)
    bad(path, ValueError, "damaged")
    for said in ("[", "[]", "{}", '{"version": true}'):
        save_file({}, path, {"xpnet": said})
        bad(path, ValueError, "no JSON with a version")
    entry = b'{"__metadata__":{"xpnet":"{\\"version\\":1}"},"a":{"dtype":"BF16","shape":[1],'
    entry += b'"data_offsets":[0,2]}}'
    path.write_bytes(len(entry).to_bytes(8, "little") + entry + b"\0\0")
    bad(path, ValueError, "damaged")
    with pytest.raises(TypeError, match="path must be a path, not 3"):
        tensors.read(3)


# ---- a file that cannot be written


def test_what_cannot_be_written_leaves_what_was_there(file):
    before = file.read_bytes()
    with pytest.raises(TypeError, match="z must hold numbers that safetensors has, not complex"):
        tensors.write(file, {"z": np.zeros(2, dtype=complex)}, {})
    with pytest.raises(FileNotFoundError, match=r"written, not .* \(the folder .*none' is missing"):
        tensors.write(file.parent / "none" / "b", ARRAYS, {})
    with pytest.raises(ValueError, match=r"^path must name a file, not ''.$"):
        tensors.write("", ARRAYS, {})
    with pytest.raises(OSError, match=r"Is a directory|there, and no file"):
        tensors.write(file.parent, ARRAYS, {})
    with pytest.raises(FileExistsError, match="there, and no file"):
        tensors.write(os.devnull, ARRAYS, {})
    with pytest.raises(ValueError, match=r"header and arrays must be such as safetensors reads"):
        tensors.write(file, {"__metadata__": np.zeros(1)}, {})
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.slow
def test_a_header_that_would_not_be_read_is_not_written(file):
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"safetensors reads again \(.*header"):
        tensors.write(file, {}, {"long": "x" * 100_000_000})
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_folder_that_cannot_be_written_in_is_told(tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("this system lets whoever runs the tests write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"path must be a file that can be written, not "):
        tensors.write(tmp_path / "a", ARRAYS, {})


def test_a_file_is_replaced_where_it_lies_and_stays_as_readable(file):
    file.chmod(0o640)
    (file.parent / "link").symlink_to(file)
    tensors.write(file.parent / "link", {"a": np.ones(1)}, {})
    assert list(tensors.read(file)[0]) == ["a"]
    assert file.stat().st_mode & 0o777 == 0o640
    plain, new = file.parent / "plain", file.parent / "new"
    plain.touch()
    tensors.write(new, {}, {})
    assert new.stat().st_mode == plain.stat().st_mode


@pytest.mark.program
def test_a_process_that_is_killed_leaves_a_whole_file(file):
    code = (
        "import itertools, sys, numpy as np; from xpnet.files import tensors\n"
        "for i in itertools.count():\n"
        "    tensors.write(sys.argv[1], {'a': np.full(1 << 18, i)}, {}); print(i, flush=True)"
    )
    draw = random.Random(2)
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE)
        first = writer.stdout.read(1)
        time.sleep(draw.random() / 20)
        writer.kill()
        last = int((first + writer.stdout.read()).split()[-1])
        writer.communicate()
        (found,) = tensors.read(file)[0].values()
        assert (found == found[0]).all() and found[0] in (last, last + 1)


@pytest.mark.program
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such limits")
def test_a_full_disk_leaves_what_was_there(file):
    before = file.read_bytes()
    code = (
        "import resource, sys, numpy as np; from xpnet.files import tensors;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16));"
        "tensors.write(sys.argv[1], {'a': np.zeros(1 << 16)}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    said = f"path must be a file that can be written, not {str(file)!r} (File too large)."
    assert done.stderr.splitlines()[-1] == f"OSError: {said}"
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


# ---- what can be said


LRS = np.array([[0.1], [0.2]])
SCHEDULES = [
    xn.ExponentialDecay(0.1, 0.99),
    xn.StepDecay(LRS, 10, 0.5),
    xn.PolynomialDecay(0.1, 20, 2.0, 0.01),
    xn.PiecewiseConstant([5, 9], [0.1, 0.2, 0.3]),
    xn.CosineDecay(0.1, 30),
    xn.CosineRestarts(0.1, 10, 2),
    xn.WarmUp(5, xn.CosineDecay(LRS, 30), 0.1),
    xn.OneCycle(0.1, 30),
]
OPTIMIZERS = [
    *(xn.SGD(schedule) for schedule in SCHEDULES),
    xn.SGD(0.1, 0.9, nesterov=True),
    xn.Momentum(np.float32(0.1), LRS),
    xn.AdaGrad(initial_accumulator_value=0.1),
    xn.Adadelta(rho=0.8),
    xn.RMSprop(centered=True),
    xn.Rprop(etas=(0.4, 1.3)),
    xn.Adam(LRS, betas=(0.8, np.array([[0.9], [0.99]], dtype="float32")), amsgrad=True),
    xn.AdamW(transforms=[xn.ClipNorm(1.0), xn.ClipValue(0.1)]),
    xn.AdamW(LRS, clip_norm=LRS, decayed="weights", ema_decay=0.9),
    xn.Adamax(),
    xn.NAdam(clip_value=0.5),
    xn.RAdam(),
    xn.Lion(weight_decay=xn.CosineDecay(0.1, 9)),
]
LOSSES = [
    xn.BCE(0.01), xn.BCEWithLogits((1, 2.5)), xn.CrossEntropy(0.1), xn.Hinge(), xn.KL(), xn.MSE(),
    xn.L1(), xn.Huber(0.3), xn.Quantile([0.1, 0.9]), xn.Poisson(False, True),
    xn.EnsembleLoss(xn.CrossEntropy(0.1), 3),
]  # fmt: skip
INITIALIZERS = [
    xn.HeNormal(), xn.KaimingNormal("tanh"), xn.KaimingUniform(mode="fan_out"), xn.XavierNormal(2),
    xn.XavierUniform(), xn.Zeros(), xn.Constant(0.1),
]  # fmt: skip
NETWORKS = [
    *(xn.Sequential(layer) for layer in LAYERS.values()),
    xn.Sequential(
        xn.Standardize(3),
        xn.BatchNorm(3, 0.2),
        xn.Sequential(xn.Dropout(0.2), xn.Residual(xn.Tanh())),
    ),
    xn.Sequential(xn.RobustScale(3, clip=None), xn.PiecewiseLinearEmbedding(3, 2, 4)),
    *(xn.Sequential(xn.Linear(2, 2, one, one)) for one in INITIALIZERS),
]
ALL = [*OPTIMIZERS, *LOSSES, *NETWORKS]


def classes_in(said):
    """The names of the classes in a description."""
    if isinstance(said, dict):
        return (
            {said["class"]} | {n for part in said.values() for n in classes_in(part)}
            if "class" in said
            else set()
        )
    return {n for part in said for n in classes_in(part)} if isinstance(said, list) else set()


def test_all_that_xpnet_has_is_said_in_json_and_made_again():
    found = set()
    for one in ALL:
        said = json.loads(json.dumps(describe(one, "one")))
        again = make(said, "one", {})
        assert describe(again, "one") == said
        assert repr(again) == repr(one)
        found |= classes_in(said)
    ours = {
        kind.__name__
        for kind in map(vars(xn).get, xn.__all__)
        if isinstance(kind, type) and issubclass(kind, PARTS) and not inspect.isabstract(kind)
    }
    assert found == ours


# ---- models


CASES = {
    "plain": (lambda: xn.SGD(0.1, 0.9), None),
    "scheduled": (lambda: xn.Adam(xn.OneCycle(0.1, 30), transforms=[xn.ClipNorm(1.0)]), None),
    "members": (
        lambda: xn.AdamW(
            LRS, weight_decay=xn.StepDecay(LRS, 3), decayed="weights", clip_norm=LRS, ema_decay=LRS
        ),
        2,
    ),
}


def network():
    return xn.Sequential(
        xn.Linear(2, 4), xn.BatchNorm(4), xn.Residual(xn.PReLU(4), xn.Dropout(0.2)), xn.Linear(4, 1)
    )


def fit(backend, net, optimizer, members, dtype="float64", **options):
    x, y = (arr(backend, values, dtype) for values in xn.datasets.xor())
    options = {"loss": xn.BCEWithLogits(), "epochs": 4, "batch_size": 7, "seed": 1, **options}
    return xn.fit(net, x, y, optimizer=optimizer, members=members, **options)


def go_on(backend, model, members, dtype="float64"):
    return fit(
        backend, model.network, model.optimizer, members, dtype, loss=model.loss, seed=None,
        theta=model.theta, state=model.state, layer_state=model.layer_state,
    )  # fmt: skip


def load(path, backend, **options):
    """A model on the library and device of a backend."""
    there = [d for d in backend.devices() if backends.get(backend.name, d).device == backend.device]
    return xn.load(path, backend=backend.name, device=there[0], **options)


def assert_same_model(backend, model, other, dtype="float64"):
    """All that is in a model is in another, to the bit."""
    assert other.network == model.network and other.loss == model.loss
    assert repr(other.optimizer) == repr(model.optimizer)
    assert_equal(backend, other.theta, host(backend, model.theta), dtype=dtype)
    for name in ("state", "layer_state"):
        theirs, own = getattr(other, name), getattr(model, name)
        assert theirs.keys() == own.keys()
        for key, array in own.items():
            assert theirs[key].dtype == array.dtype, key
            np.testing.assert_array_equal(host(backend, theirs[key]), host(backend, array), key)
    for field in fields(model.history):
        was, now = (getattr(one.history, field.name) for one in (model, other))
        np.testing.assert_equal(now, was, field.name)
        assert type(now) is type(was), field.name


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize(
    ("case", "dtype"), [("plain", "float64"), ("scheduled", "float32"), ("members", "float64")]
)
def test_a_model_is_what_it_was_and_is_trained_on_to_the_same_bits(backend, case, dtype, tmp_path):
    optimizer, members = CASES[case]
    options = {}
    if case == "plain":
        held = tuple(arr(backend, values, dtype) for values in xn.datasets.xor())
        options = {"validation": held, "metrics": ["f1", "balanced_accuracy"]}
    model = fit(backend, network(), optimizer(), members, dtype, **options)
    model.save(tmp_path / "a")
    other = load(tmp_path / "a", backend)
    assert_same_model(backend, model, other, dtype)
    model, other = (go_on(backend, one, members, dtype) for one in (model, other))
    assert_same_model(backend, model, other, dtype)
    if members:
        one, same = model.member(1), other.best()
        assert one.optimizer.lr == 0.2 and one.optimizer.weight_decay.start == 0.2
        assert same.history.member in (0, 1)
        one.save(tmp_path / "b")
        assert_same_model(backend, one, load(tmp_path / "b", backend), dtype)


def test_a_model_of_one_library_is_loaded_on_another(backend, tmp_path):
    model = fit(backends.get("numpy"), network(), xn.Adam(), None)
    model.save(tmp_path / "a")
    other = load(tmp_path / "a", backend)
    assert_equal(backend, other.theta, model.theta)
    other.save(tmp_path / "b")
    assert_same_model(backends.get("numpy"), model, xn.load(tmp_path / "b"))


def test_tensors_are_named_and_shaped_as_in_pytorch(tmp_path):
    model = fit(backends.get("numpy"), network(), xn.Adam(), None)
    model.save(tmp_path / "a", weights_only=True)
    names = {
        "0.weight": (4, 2), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,),
        "1.running_mean": (4,), "1.running_var": (4,), "2.0.weight": (4,), "3.weight": (1, 4),
        "3.bias": (1,),
    }  # fmt: skip
    assert {name: array.shape for name, array in load_file(tmp_path / "a").items()} == names
    bare = xn.load(tmp_path / "a")
    assert bare.optimizer is bare.state is bare.history is None
    x, _ = xn.datasets.xor()
    np.testing.assert_array_equal(bare.predict_proba(x), model.predict_proba(x))
    model.save(tmp_path / "a")
    more = {f"optimizer.{name}": () if name == "step" else (29,) for name in ("m", "v", "step")}
    more |= {f"history.{name}": (4,) for name in ("loss", "accuracy")}
    assert {name: a.shape for name, a in load_file(tmp_path / "a").items()} == {**names, **more}
    many = fit(backends.get("numpy"), network(), xn.Adam(), 3)
    many.save(tmp_path / "a", weights_only=True)
    found = {name: array.shape for name, array in load_file(tmp_path / "a").items()}
    assert found == {name: (3, *shape) for name, shape in names.items()}


def test_the_header_says_what_it_is_in_json(tmp_path):
    net = xn.Sequential(xn.Linear(2, 1))
    xn.Model(net, np.zeros(3), xn.Huber(2)).save(tmp_path / "a")
    with safe_open(tmp_path / "a", framework="numpy") as opened:
        said = json.loads(opened.metadata()["xpnet"])
    del said["crc32"]
    assert said.pop("versions") == {"xpnet": xn.__version__, "numpy": np.__version__}
    normal = {"class": "HeNormal"}
    assert said == {
        "version": 1,
        "kind": "model",
        "members": None,
        "network": {
            "class": "Sequential",
            "layers": [
                {"class": "Linear", "in_features": 2, "out_features": 1, "weight_init": normal,
                 "bias_init": normal},
            ],
        },
        "loss": {"class": "Huber", "delta": 2.0},
        "optimizer": None,
    }  # fmt: skip


def test_what_is_no_model_is_told(tmp_path):
    path = tmp_path / "a"
    tensors.write(path, {}, {"kind": "data"})
    with pytest.raises(
        ValueError, match=r"path must be a file of a model, but .* is one of 'data'"
    ):
        xn.load(path)
    net = xn.Sequential(xn.Linear(2, 1))
    xn.Model(net, np.zeros(3)).save(path)
    arrays, header = tensors.read(path)
    tensors.write(path, {**arrays, "0.bias": np.zeros(2)}, header)
    with pytest.raises(
        ValueError, match=r"0.bias must be .* shape \(1,\), but has the shape \(2,\)"
    ):
        xn.load(path)
    header["network"]["layers"][0]["class"] = "Conv"
    tensors.write(path, arrays, header)
    with pytest.raises(ValueError, match=r"network.layers\[0\] is a Conv, which .*; update xpnet"):
        xn.load(path)
    with pytest.raises(ValueError, match=r"backend must be one of"):
        xn.load(path, backend="tensorflow")
    with pytest.raises(TypeError, match=r"weights_only must be True or False, not 1"):
        xn.Model(net, np.zeros(3)).save(path, weights_only=1)


# ---- somebody's own classes


class Own(xn.Layer):
    def forward(self, xp, params, x):
        return x * self.factor, lambda dy, need_dx=True: (dy * self.factor if need_dx else None, ())

    def apply(self, xp, params, x):
        return x * self.factor


class Scale(Own):
    """Keeps what its constructor takes, and what it makes of it."""

    def __init__(self, factor, *rest, names=()):
        self.factor, self.rest, self.names = factor, rest, names
        self.square = factor**2
        self.functions = {"own": self.apply, "none": lambda x: x, "all": [np, abs, float("nan")]}
        self.whole = self

    @cached_property
    def cube(self):
        return self.factor**3


class Forgets(Own):
    def __init__(self, scale):
        self.factor = scale


@dataclass(frozen=True)
class Weights(Own):
    rates: np.ndarray
    inner: xn.Layer
    factor = 2.0


def own(layer):
    net = xn.Sequential(xn.Linear(2, 2), layer)
    return xn.Model(net, np.arange(6.0))


@pytest.mark.parametrize(
    "layer",
    [
        Scale(2.0, 3, "größe \ud800", names=["b", None]),
        Scale(np.float32(0.1)),
        Weights(np.arange(3, dtype="int16"), Scale(1)),
    ],
    ids=["arguments", "number", "dataclass"],
)
def test_a_layer_of_ones_own_is_made_of_what_its_constructor_took(layer, tmp_path):
    model = own(layer)
    assert getattr(layer, "cube", 0) >= 0
    model.save(tmp_path / "a")
    again = xn.load(tmp_path / "a", classes=[Scale, Weights])
    assert type(again.network[1]) is type(layer)
    assert describe(again.network, "a") == describe(model.network, "a")
    np.testing.assert_array_equal(again(np.ones((1, 2))), model(np.ones((1, 2))))


def test_a_class_that_is_not_there_is_asked_for(tmp_path):
    own(Scale(2.0)).save(tmp_path / "a")
    asked = (
        r"^classes must hold Scale, of which network.layers\[1\] is, as in classes=\[Scale\]; it "
        r"was tests.test_files.Scale when it was saved.$"
    )
    with pytest.raises(ValueError, match=asked):
        xn.load(tmp_path / "a")
    with pytest.raises(ValueError, match="classes must have different names, not two Scale"):
        xn.load(tmp_path / "a", classes=[Scale, type("Scale", (Scale,), {})])
    with pytest.raises(TypeError, match=r"classes must be a list of classes, as \[MyLayer\], not "):
        xn.load(tmp_path / "a", classes=Scale)
    with pytest.raises(TypeError, match=r"classes must hold classes of layers, losses, .*, not 3"):
        xn.load(tmp_path / "a", classes=[3])

    class Other(Scale):
        def __init__(self, times):
            super().__init__(times)

    Other.__name__ = "Scale"
    with pytest.raises(ValueError, match="a Scale whose constructor takes 'factor', as when"):
        xn.load(tmp_path / "a", classes=[Other])

    class More(Scale):
        def __init__(self, factor, offset, *rest, names=()):
            super().__init__(factor, *rest, names=names)

    More.__name__ = "Scale"
    asked = r"^network.layers\[1\] must be of a Scale whose constructor does not ask for 'offset'"
    with pytest.raises(ValueError, match=asked):
        xn.load(tmp_path / "a", classes=[More])


class Shift(Own):
    def parameters(self):
        return {"b": (1, 2)}


def test_a_tensor_that_no_class_takes_is_told(tmp_path):
    net = xn.Sequential(xn.Linear(2, 2), Shift())
    xn.Model(net, np.arange(8.0)).save(tmp_path / "a")

    class Plain(Own):
        pass

    Plain.__name__ = "Shift"
    with pytest.raises(ValueError, match=r"^1.b must be a tensor of the network, which has none "):
        xn.load(tmp_path / "a", classes=[Plain])


def changed(layer):
    layer.factor = 3.0
    return layer


def more(layer):
    layer.mask = np.ones(2)
    return layer


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            lambda: Forgets(2),
            "must keep 'scale', which its constructor takes, .* self.scale = scale",
        ),
        (lambda: changed(Scale(2.0)), r"layers\[1\].square must be what the constructor makes of"),
        (lambda: more(Scale(2.0)), r"layers\[1\].mask must be what the constructor makes of"),
        (
            lambda: Scale(2.0, names=abs),
            r"layers\[1\].names must be a number, a text, .*, not <built",
        ),
        (lambda: Scale(2.0, np.longdouble(1)), r"layers\[1\].rest\[0\] must be a number, a text"),
        (lambda: Scale(2.0, np.array("a")), r"layers\[1\].rest\[0\] must be a number, a text"),
    ],
    ids=["forgotten", "changed", "added", "function", "long", "text"],
)
def test_what_cannot_be_made_again_is_told_before_anything_is_written(layer, said, tmp_path):
    with pytest.raises((TypeError, ValueError), match=said):
        own(layer()).save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_and_a_state_of_one_name_are_told_apart_or_refused():
    class Both(Own):
        factor = 1.0

        def parameters(self):
            return {"mean": (1, 2)}

        def state(self):
            return {"mean": (1, 2)}

        def forward(self, xp, params, x, state, noise):
            return x, lambda dy, need_dx=True: (dy, params), state

        def apply(self, xp, params, x, state):
            return x

    net = xn.Sequential(Both())
    state = {"0.mean": np.zeros((1, 2))}
    with pytest.raises(ValueError, match=r"the state '0.mean' must not have the name of a parame"):
        xn.Model(net, np.zeros(2), layer_state=state).save("a")
