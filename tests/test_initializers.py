"""The initializers: the report's draws to the last bit, and what they claim of their spread."""

import math

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_equal, host, library, report_network
from xpnet.initializers import UniformOfFans, gain

RANDOM = [
    xn.HeNormal(),
    xn.KaimingNormal(),
    xn.KaimingNormal("relu", mode="fan_out"),
    xn.KaimingUniform("tanh"),
    xn.KaimingUniform("leaky_relu", 0.2, "fan_out"),
    xn.XavierNormal(),
    xn.XavierNormal(gain=2.0),
    xn.XavierUniform(),
    xn.XavierUniform(gain=5 / 3),
    UniformOfFans(),
]
STD = [  # for 300 inputs and 200 outputs
    math.sqrt(2 / ((1 + 6 / 500) * 300)),
    math.sqrt(2 / (1 + 1e-4) / 300),
    math.sqrt(2 / 200),
    5 / 3 / math.sqrt(300),
    math.sqrt(2 / 1.04 / 200),
    math.sqrt(2 / 500),
    2 * math.sqrt(2 / 500),
    math.sqrt(2 / 500),
    5 / 3 * math.sqrt(2 / 500),
    math.sqrt(2 / 500),
]


def test_the_reports_network_is_drawn_layer_by_layer_w_before_b():
    # The report's draws, written out: one legacy generator, N(0, std²) for W and then for b.
    rng = np.random.RandomState(42)
    expected = []
    for fan_in, fan_out in ((2, 4), (4, 4), (4, 1)):
        a = math.sqrt(6 / (fan_in + fan_out))
        std = math.sqrt(2 / ((1 + a**2) * fan_in))
        expected += [rng.normal(0, std, (fan_out, fan_in)), rng.normal(0, std, (1, fan_out))]
    found = report_network().draw(np.random.RandomState(42))
    for values, draw in zip(found, expected, strict=True):
        np.testing.assert_array_equal(values, draw)
    # The first number of RandomState(42) is 0.496714…; std is √(2 / ((1 + 1) · 2)) = √½.
    assert found[0][0, 0] == 0.4967141530112327 * math.sqrt(0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_gives_the_same_bits_on_every_library(backend, dtype):
    like = arr(backend, [1.0], dtype)
    net = report_network()
    expected = np.concatenate([v.ravel() for v in net.draw(np.random.default_rng(7))])
    assert_equal(backend, net.init(7, like=like), expected.astype(dtype), dtype=dtype)
    for seed in (np.random.default_rng(7), np.int64(7)):
        assert_equal(backend, net.init(seed, like=like), expected.astype(dtype), dtype=dtype)


def test_member_i_of_an_int_seed_is_the_network_of_seed_plus_i(backend):
    like = arr(backend, [1.0])
    net = report_network()
    alone = [host(backend, net.init(10 + i, like=like)) for i in range(3)]
    assert_equal(backend, net.init(10, like=like, members=3), np.stack(alone))
    assert_equal(backend, net.init([10, 11, 12], like=like, members=3), np.stack(alone))
    rng = np.random.RandomState(1)
    in_turn = [host(backend, net.init(rng, like=like)) for _ in range(3)]
    together = net.init(np.random.RandomState(1), like=like, members=3)
    assert_equal(backend, together, np.stack(in_turn))


@pytest.mark.parametrize(
    ("name", "slope"),
    [("linear", 0.01), ("sigmoid", 0.01), ("tanh", 0.01), ("relu", 0.01), ("leaky_relu", 0.01),
     ("leaky_relu", 0.3)],
)  # fmt: skip
def test_a_gain_is_what_torch_computes(name, slope):
    calculate = library("torch").nn.init.calculate_gain
    expected = calculate(name, slope) if name == "leaky_relu" else calculate(name)
    assert gain(name, slope) == pytest.approx(expected, rel=4 * 2.0**-52)


@pytest.mark.parametrize(
    ("initializer", "std"), list(zip(RANDOM, STD, strict=True)), ids=map(repr, RANDOM)
)
def test_an_initializer_has_the_mean_and_spread_that_it_claims(initializer, std):
    values = initializer.draw(np.random.default_rng(0), (200, 300), 300, 200)
    n = values.size
    assert values.shape == (200, 300)
    assert values.dtype == np.float64
    # Five standard errors: of the mean std/√n; of the standard deviation at most std/√(2n).
    assert abs(values.mean()) < 5 * std / math.sqrt(n)
    assert abs(values.std() - std) < 5 * std / math.sqrt(2 * n)
    if "Uniform" in repr(initializer):
        assert abs(values).max() <= math.sqrt(3) * std * (1 + 1e-12)


def test_zeros_and_constant_draw_nothing():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert (xn.Zeros().draw(rng, (2, 3), 3, 2) == 0).all()
    assert (xn.Constant(1.5).draw(rng, (2, 3), 3, 2) == 1.5).all()
    assert rng.bit_generator.state == before


def test_weights_and_biases_may_be_drawn_differently(backend):
    net = xn.Sequential(xn.Linear(2, 3, xn.Constant(2.0), xn.Zeros()))
    theta = net.init(0, like=arr(backend, [1.0]))
    assert_equal(backend, theta, [2.0] * 6 + [0.0] * 3)


def test_seeds_of_members_may_be_an_array(backend):
    x = arr(backend, np.zeros((2, 3)))
    net = xn.Sequential(xn.Linear(3, 2), xn.Dropout(0.5))
    seeds = [5, 3, 8]
    wanted = host(backend, net.init(seeds, like=x, members=3))
    for given in (np.array(seeds), np.array(seeds, "uint8"), tuple(seeds)):
        assert_equal(backend, net.init(given, like=x, members=3), wanted)
        assert hash(xn.Noise(given, 0)) == hash(xn.Noise(tuple(seeds), 0))
    assert xn.Noise(np.int64(5), 0) == xn.Noise(5, 0)
    with pytest.raises(ValueError, match="each of the 250 members, not 3"):
        net.init(np.array(seeds), like=x, members=250)
    if backend.name != "numpy":  # what JAX calls a key is an array of two, and no seeds
        with pytest.raises(TypeError, match=r"or a sequence of them, not an array of shape"):
            net.init(arr(backend, [5, 3, 8], "int64"), like=x, members=3)
    with pytest.raises(TypeError, match=r"not an array of shape \(250,\)\.$"):
        net.init(np.arange(250), like=x)
    with pytest.raises(TypeError, match=r"^seed\[0\] must be"):
        net.init(np.array(seeds, "float64"), like=x, members=3)
