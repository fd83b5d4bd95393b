"""The array libraries: found by name and by array, imported only when asked for."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, host, library
from xpnet import backends

ROOT = Path(__file__).parents[1]


def python(code):
    """Run code in a fresh interpreter; its output."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.installed
def test_importing_xpnet_imports_no_optional_library():
    python(
        """
import sys
before = set(sys.modules)
import xpnet
known = {"cupy", "torch", "jax", "jaxlib", "array_api_strict", "array_api_compat.torch",
         "array_api_compat.cupy", "tqdm", "tensorboardX", "matplotlib", "scipy", "threadpoolctl",
         "safetensors"}
found = {name for name in set(sys.modules) - before if name in known}
assert not found, found
"""
    )


@pytest.mark.installed
def test_a_library_that_another_thread_is_importing_is_waited_for():
    library("jax")
    code = """
import sys, threading
from xpnet import backends
thread = threading.Thread(target=__import__, args=("jax",))
thread.start()
while "jax" not in sys.modules:
    pass
print(backends.get("jax", "cpu").name)
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "jax"


def test_a_run_on_numpy_imports_no_other_library():
    python(
        """
import sys
import xpnet as xn
x, y = xn.datasets.xor()
net = xn.Sequential(xn.Linear(2, 1))
xn.fit(net, x, y, loss=xn.BCEWithLogits(), optimizer=xn.Adam(), epochs=3, seed=0)
found = {"cupy", "torch", "jax", "array_api_strict"} & set(sys.modules)
assert not found, found
"""
    )


def test_a_library_that_is_not_installed_is_named_with_what_to_install():
    missing = [
        ("torch", "torch", "torch"),
        ("jax", "jax", "jax"),
        ("cupy", "cupy", "cupy-cuda13x"),
        ("strict", "array_api_strict", "array-api-strict"),
    ]
    # None in sys.modules makes an import fail as if the library were not installed.
    text = python(
        f"""
import sys
for _, package, _ in {missing!r}:
    sys.modules[package] = None
from xpnet import backends
for name, *_ in {missing!r}:
    try:
        backends.get(name)
    except ValueError as error:
        assert isinstance(error, backends.BackendUnavailable)
        print(error)
"""
    )
    for (name, package, extra), line in zip(missing, text.splitlines(), strict=True):
        assert f"backend {name!r} needs the package {package!r}" in line
        assert f"pip install {extra}" in line


@pytest.mark.installed
def test_available_says_for_every_library_what_it_can_do_or_why_not():
    found = backends.available()
    assert tuple(found) == backends.NAMES == ("numpy", "cupy", "torch", "jax", "strict")
    for name, entry in found.items():
        assert entry.name == name
        if entry:
            assert entry.devices
            assert entry.version
            assert entry.reason is None
        else:
            assert entry.devices == ()
            assert f"backend {name!r}" in entry.reason
    assert found["numpy"].devices == ("cpu",)
    assert found["numpy"].version == np.__version__


def test_a_backend_is_found_by_its_arrays(backend):
    array = arr(backend, [1.0, 2.0])
    found = backends.of(array, None, array)
    assert found.name == backend.name
    assert found.device == backend.device
    assert backend.describe()
    assert type(backend).version()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_arrays_go_in_and_out_unchanged_and_are_the_backends_own(backend, dtype):
    values = np.array([[0, 1], [1, 0]], dtype=dtype)
    array = backend.asarray(values, dtype)
    assert backend.dtype_name(array) == dtype
    values += np.ones((), dtype)  # what the caller does to the values is nothing to the array
    np.testing.assert_array_equal(host(backend, array, dtype=dtype), [[0, 1], [1, 0]])


def test_a_transposed_array_comes_in_right(backend):
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(host(backend, backend.asarray(values.T, "float64")), values.T)


def test_an_unknown_backend_is_answered_with_what_there_is_and_the_nearest():
    with pytest.raises(ValueError, match=r"backend must be one of numpy, cupy, .*'nunpy'"):
        backends.get("nunpy")
    with pytest.raises(ValueError, match="did you mean 'torch'"):
        backends.get("pytorch")


def test_an_unknown_device_is_answered_with_what_there_is(backend):
    for device in ("cpu7", "nowhere", "cuda:99", "device9"):
        with pytest.raises(ValueError, match=rf"device must be .*{backend.name}.*{device}") as info:
            backends.get(backend.name, device)
        assert type(backend).devices()[0] in str(info.value)


def test_every_device_that_is_listed_can_be_asked_for(backend):
    for device in type(backend).devices():
        assert backends.get(backend.name, device).name == backend.name


def test_the_devices_of_strict_are_told_apart():
    library("array_api_strict")
    here, there = (backends.get("strict", device) for device in ("cpu", "device1"))
    assert here.device != there.device
    a, b = (arr(backend, [1.0]) for backend in (here, there))
    with pytest.raises(ValueError, match=r"y lies on .*device1.* but x on .*CPU.*one device"):
        backends.of(a, b, names=("x", "y"))


def test_an_array_of_another_library_is_named(backend):
    if backend.name == "numpy":
        library("array_api_strict")
        other = backends.get("strict")
    else:
        other = backends.get("numpy")
    mine, theirs = arr(backend, [1.0]), arr(other, [1.0])
    with pytest.raises(
        TypeError, match=f"y is an array of {other.name} but x one of {backend.name}"
    ):
        backends.of(mine, theirs, names=("x", "y"))


@pytest.mark.parametrize(
    "value", [[1.0], 1.0, "x", object()], ids=["list", "float", "str", "object"]
)
def test_what_is_no_array_is_named(value):
    with pytest.raises(TypeError, match=f"x must be an array of .*not {type(value).__name__}"):
        backends.of(value, names=("x",))
    with pytest.raises(TypeError, match="at least one array"):
        backends.of(None)


def test_float64_without_jaxs_64_bit_mode_is_an_error_that_names_the_switch():
    library("jax")
    text = python(
        """
from xpnet import backends
jax = backends.get("jax", "cpu")
try:
    jax.asarray([1.0], "float64")
except ValueError as error:
    print(error)
"""
    )
    assert "JAX_ENABLE_X64" in text
    assert "float32" in text


@pytest.mark.slow
def test_float32_trains_and_predicts_without_jaxs_64_bit_mode_and_without_warnings():
    library("jax")
    python(
        """
import xpnet as xn
jax = xn.backends.get("jax", "cpu")
x, y = (jax.asarray(a, "float32") for a in xn.datasets.xor())
for outputs, loss in ((1, xn.BCEWithLogits()), (2, xn.CrossEntropy())):
    net = xn.Sequential(xn.Linear(2, outputs))
    target = y if outputs == 1 else jax.asarray(xn.datasets.xor()[1][:, 0], "int32")
    model = xn.fit(net, x, target, loss=loss, optimizer=xn.Adam(), epochs=3, seed=0, batch_size=8)
    model.predict(x), model.predict_proba(x)
many = xn.fit(net, x, target, loss=loss, optimizer=xn.Adam(), epochs=3, seed=0, members=2)
"""
    )


@pytest.mark.parametrize("loss", ["BCE", "BCEWithLogits", "CrossEntropy", "MSE", "Huber"])
def test_what_jax_is_told_to_refuse_in_a_users_code_is_not_refused_in_ours(loss):
    jax = library("jax")
    backend = xn.backends.get("jax", "cpu")
    refused = {"jax_numpy_rank_promotion": "raise", "jax_numpy_dtype_promotion": "strict"}
    before = {name: getattr(jax.config, name) for name in refused}

    def tell(settings):
        for name, value in settings.items():
            jax.config.update(name, value)

    tell(refused)
    try:
        outputs = 2 if loss == "CrossEntropy" else 1
        net = xn.Sequential(xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, outputs))
        if loss == "BCE":
            net = xn.Sequential(*net, xn.Sigmoid())
        rng = np.random.default_rng(0)
        x, weight = arr(backend, rng.normal(size=(8, 2))), arr(backend, rng.uniform(1, 2, 8))
        labels = rng.integers(0, 2, (8,) if outputs == 2 else (8, 1))
        y = arr(backend, labels, "int64" if outputs == 2 else "float64")
        found = getattr(xn, loss)()
        for members in (None, 3):
            theta = net.init(0, like=x, members=members)
            net.value_and_grad(theta, x, y, found, weight, input_grad=True)
            settings = {"optimizer": xn.AdamW(), "epochs": 2, "theta": theta, "batch_size": 4}
            settings |= {"block": 2} if members else {}  # on two threads
            model = xn.fit(net, x, y, loss=found, sample_weight=weight, **settings)
            model.predict(x)
        assert {name: getattr(jax.config, name) for name in refused} == refused
    finally:
        tell(before)


def test_float32_is_multiplied_with_all_its_digits(backend):
    # Not in TF32, which JAX takes on a GPU: 2^-11 a product, where float32 has 2^-24.
    a, b = np.random.default_rng(0).random((2, 256, 256)).astype("float32")
    with backend.context():
        product = backend.asarray(a, "float32") @ backend.asarray(b, "float32")
    exact = a.astype("float64") @ b.astype("float64")
    assert (abs(backend.to_host(product) - exact) <= 256 * 2.0**-24 * exact).all()
