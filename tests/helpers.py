"""What the tests share: arrays in, and comparisons that look at more than the values."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

import xpnet as xn
from xpnet import backends

LAYERS: dict[str, xn.Layer] = {
    "Linear": xn.Linear(4, 3),
    "Identity": xn.Identity(),
    "LeakyReLU": xn.LeakyReLU(0.2),
    "ReLU": xn.ReLU(),
    "Sigmoid": xn.Sigmoid(),
    "Tanh": xn.Tanh(),
    "HardTanh": xn.HardTanh(-0.5, 0.75),
    "Softplus": xn.Softplus(2.0),
    "ELU": xn.ELU(0.7),
    "SELU": xn.SELU(),
    "SiLU": xn.SiLU(),
    "GELU": xn.GELU(),
    "Softmax": xn.Softmax(),
    "LogSoftmax": xn.LogSoftmax(),
    "LayerNorm": xn.LayerNorm(4),
    "RMSNorm": xn.RMSNorm(4),
    "PReLU": xn.PReLU(4),
    "PReLU, shared": xn.PReLU(init=-0.5),
    "Flatten": xn.Flatten(2, 2),
    "Embedding": xn.Embedding(5, 2, in_features=4),
    "Residual": xn.Residual(xn.Linear(4, 3), xn.Tanh(), xn.Linear(3, 4)),
    "Repeat": xn.Repeat(4, 3),
    "LinearBatchEnsemble": xn.LinearBatchEnsemble(2, 3, k=2, first_init="signs"),
    "LinearEnsemble": xn.LinearEnsemble(2, 3, k=2),
    "PeriodicEmbedding": xn.PeriodicEmbedding(4, 3, frequencies=2, sigma=0.5),
    "Columns": xn.Columns(xn.Linear(2, 3), xn.PeriodicEmbedding(2, 2, frequencies=3)),
    "Residual, nested": xn.Residual(xn.LayerNorm(4), xn.Residual(xn.Linear(4, 4)), xn.GELU()),
}
"""Every layer of xpnet, taking 4 features: what is asked of layers is asked of these."""

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def between(layer, outputs):
    """A network of 4 features with a layer in it, behind a `Linear` unless it must be the first."""
    after = xn.Linear(layer.out_features or 4, outputs)
    return xn.Sequential(*[] if layer.first else [xn.Linear(4, 4)], layer, after)


def samples_for(net, rng, shape):
    """Random samples on the host: ids, where the network begins with an `Embedding`."""
    leaf = net.leaves[0]
    if isinstance(leaf, xn.Embedding):
        return rng.integers(0, leaf.num_embeddings, shape).astype("float64")
    return rng.normal(size=shape)


def arr(backend, values, dtype="float64"):
    """An array of the backend's library and device; NumPy's cannot be written into.

    Parameters, data and gradients are never the callee's to change, and on NumPy that is shown by
    every test that passes.
    """
    array = backend.asarray(values, dtype)
    if backend.name == "numpy":
        array.flags.writeable = False
    return array


def host(backend, array, *, dtype=None, shape=None):
    """The values on the host, once the library, the device, the dtype and the shape are right."""
    found = backends.of(array)
    assert found.name == backend.name
    assert backend.device_of(array) == backend.device
    if dtype is not None:
        assert backend.dtype_name(array) == dtype
    if shape is not None:
        assert tuple(array.shape) == tuple(shape)
    return backend.to_host(array)


def assert_close(backend, actual, expected, *, atol, rtol=0.0, dtype="float64"):
    """Library, device, dtype and shape are right, and values to ``atol + rtol |expected|``.

    The tolerances are the caller's arithmetic: see `rounding`.
    """
    expected = np.asarray(expected)
    values = host(backend, actual, dtype=dtype, shape=expected.shape)
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=atol)


def assert_equal(backend, actual, expected, *, dtype="float64"):
    """As `assert_close`, to the last bit."""
    expected = np.asarray(expected)
    values = host(backend, actual, dtype=dtype, shape=expected.shape)
    np.testing.assert_array_equal(values, expected)


def rounding(operations, scale, dtype="float64"):
    """What ``operations`` roundings can add up to, each an ulp of numbers up to ``scale``."""
    parts = scale if isinstance(scale, (list, tuple)) else [scale]
    return operations * EPS[dtype] * max(float(np.max(np.abs(part))) for part in parts)


def report_network(hidden=4, activation=None, layers=2):
    """The report's network: 2, hidden, …, hidden, 1, with a sigmoid on the output."""
    activation = activation or xn.LeakyReLU()
    body, width = [], 2
    for _ in range(layers):
        body += [xn.Linear(width, hidden), activation]
        width = hidden
    return xn.Sequential(*body, xn.Linear(width, 1), xn.Sigmoid())


def xor(backend, dtype="float64"):
    """The report's xor data on the backend."""
    x, y = xn.datasets.xor()
    return arr(backend, x, dtype), arr(backend, y, dtype)


def unpickled(backend, thing):
    """A thing pickled and back, on the device where it was: JAX takes its default one."""
    if backend.name != "jax":
        return pickle.loads(pickle.dumps(thing))
    with library("jax").default_device(backend.device):
        return pickle.loads(pickle.dumps(thing))


def library(name):
    """An optional library that a test needs, or a skip that says that it is missing."""
    module = _imported(name)
    if module is None:
        pytest.skip(f"{name} is not installed")
    return module


@cache
def _imported(name):
    try:
        module = pytest.importorskip(name)
    except pytest.skip.Exception:
        return None  # looked for once: hundreds of tests ask
    if name == "jax":
        module.config.update("jax_enable_x64", True)
    return module


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds on Python's integers, as Salmon et al. (2011) write it."""
    word = 0xFFFFFFFF
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    a, b = (counter[0] + keys[0]) & word, (counter[1] + keys[1]) & word
    for i, turn in enumerate(2 * (13, 15, 26, 6, 17, 29, 16, 24) + (13, 15, 26, 6)):
        a = (a + b) & word
        b = ((b << turn) | (b >> 32 - turn)) & word ^ a
        if i % 4 == 3:
            n = i // 4 + 1
            a, b = (a + keys[n % 3]) & word, (b + keys[(n + 1) % 3] + n) & word
    return a, b


def scalars(folder):
    """The scalars of TensorBoard's log, read with the definitions of its format."""
    event = library("tensorboardX.proto.event_pb2")
    (path,) = folder.iterdir()
    data, found = path.read_bytes(), {}
    while data:
        size = int.from_bytes(data[:8], "little")  # then 4 bytes of checksum, before and after
        record = event.Event.FromString(data[12 : 12 + size])
        for value in record.summary.value:
            found.setdefault(value.tag, []).append((record.step, value.simple_value))
        data = data[16 + size :]
    return found


class ThreadRank:
    """A communicator as mpi4py has it, of threads: ``Allreduce``, ``bcast``, and who this is."""

    def __init__(self, rank, meeting, there):
        self.rank, self.meeting, self.there = rank, meeting, there

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return len(self.there)

    def _exchanged(self, value):
        self.there[self.rank] = value
        self.meeting.wait()
        found = list(self.there)
        self.meeting.wait()
        return found

    def Allreduce(self, send, receive):
        parts = self._exchanged(send.copy())
        assert len({(part.shape, part.dtype) for part in parts}) == 1
        receive[...] = sum(parts[1:], start=parts[0])

    def bcast(self, value, root):
        return self._exchanged(value)[root]


def by_ranks(size, work):
    """What ``work(comm)`` returns, or raises, on each of so many ranks, which are threads.

    Who waits for one that never comes is told of it in a minute.
    """
    meeting, there = threading.Barrier(size, timeout=60), [None] * size

    def one(rank):
        try:
            return work(ThreadRank(rank, meeting, there))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
