"""Random numbers are Threefry's, bit for bit, on every library, however they are drawn."""

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_equal, host, library, threefry
from xpnet import noise
from xpnet.compiler import bits
from xpnet.compiler.bits import Draw

WORD = 0xFFFFFFFF
KNOWN = {  # of Random123, kat_vectors: threefry2x32 with 20 rounds
    (0, 0, 0, 0): (0x6B200159, 0x99BA4EFE),
    (WORD, WORD, WORD, WORD): (0x1CB996FC, 0xBB002BE7),
    (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3): (0xC4923A9C, 0x483DF7A0),
}


def words(backend, values):
    return backend.asarray(values, backend.words)


def bits_of(backend, key, step, **static):
    """Numbers on the host, drawn on a backend."""
    with backend.context():
        step = backend.asarray(step, "int64")
        drawn = noise.random_bits(backend.xp, words(backend, key), step, **static)
        return backend.to_host(drawn).astype(np.int64)


@pytest.mark.parametrize("given", KNOWN)
def test_threefry_gives_the_known_answers(backend, given):
    k0, k1, c0, c1 = (words(backend, [value]) for value in given)
    with backend.context():
        found = noise.threefry(backend.xp, (k0, k1), (c0, c1))
        assert tuple(int(backend.to_host(word)[0]) for word in found) == KNOWN[given]
    assert threefry(given[:2], given[2:]) == KNOWN[given]  # which the tests below go by


def test_threefry_is_that_of_jax():
    jax = library("jax")
    from jax.extend.random import threefry_2x32

    rng = np.random.default_rng(0)
    key, counters = (rng.integers(0, 1 << 32, n, dtype=np.uint32) for n in (2, 2000))
    theirs = threefry_2x32(jax.numpy.asarray(key), jax.numpy.asarray(counters))
    ours = noise.threefry(np, (key[:1], key[1:]), (counters[:1000], counters[1000:]))
    np.testing.assert_array_equal(np.concatenate(ours), np.asarray(theirs))


@pytest.mark.parametrize("width", [16, 24, 32])
@pytest.mark.parametrize("members", [None, 3])
def test_an_elements_bits_follow_from_seed_draw_step_and_place_alone(backend, members, width):
    rng = np.random.default_rng(1)
    key = rng.integers(0, 1 << 32, (2,) if members is None else (members, 2))
    step = 1 << 40 | 7  # of which 32 bits count
    rows, features, path = 5, 3, (4, 2, 9)
    steps = step if members is None else [[step + i] for i in range(members)]
    found = bits_of(backend, key, steps, path=path, first=0, shape=(rows, features), bits=width)
    assert found.shape == (*np.shape(key)[:-1], rows, features)
    for i, seed in enumerate(np.reshape(key, (-1, 2)).tolist()):
        own = threefry(threefry(seed, path[:2]), (path[2], 0))
        for element, value in enumerate(found.reshape(-1, rows * features)[i].tolist()):
            each = 4 if width == 16 else 2
            pair = threefry(own, (element // each, (step + i) & WORD))
            lanes = [half for w in pair for half in (w & 0xFFFF, w >> 16)] if width == 16 else pair
            wanted = lanes[element % each] if width == 16 else lanes[element % each] >> 32 - width
            assert value == wanted


@pytest.mark.parametrize("features", [1, 3, 4, 7])
def test_a_part_of_a_batch_has_the_bits_that_it_has_in_the_whole(backend, features):
    def drawn(first, rows):
        where = {"path": (1, 1), "first": first, "shape": (rows, features), "bits": 16}
        return bits_of(backend, [3, 4], 5, below=30000, **where)

    whole = drawn(0, 11)
    parts = [drawn(first, rows) for first, rows in ((0, 1), (1, 5), (6, 5))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_batch_with_more_elements_than_there_are_counters_is_refused():
    with pytest.raises(ValueError, match="at most 17179869184 elements"):
        noise.counters(0, (1 << 20, 1 << 15), 16)
    assert noise.counters(0, (1 << 20, 1 << 14), 16) == (0, 1 << 32, 0)


@pytest.mark.parametrize("members", [None, 1, 2, 5])
@pytest.mark.parametrize("ahead", [4, 64, bits.AHEAD])
def test_the_quick_way_of_numpy_gives_the_bits_of_the_formula(members, ahead, monkeypatch):
    monkeypatch.setattr(bits, "AHEAD", ahead)
    monkeypatch.setattr(bits, "BLOCK", 16)
    rng = np.random.default_rng(2)
    for width, below in [(16, 0), (16, 1), (16, 65535), (16, 65536), (24, None), (32, None)] * 2:
        shape = tuple(map(int, rng.integers(1, 12, 2)))
        path = tuple(map(int, rng.integers(1, 9, rng.integers(0, 5))))
        static = {"path": path, "first": int(rng.integers(9)), "shape": shape, "bits": width}
        static["below"] = below
        key = rng.integers(0, 1 << 32, (2,) if members is None else (members, 2), dtype=np.uint32)
        step = None if members is None else rng.integers(0, 5, (members, 1))
        start = int(rng.choice([0, 7, (1 << 32) - 2]))
        out = np.empty((*key.shape[:-1], *shape), np.uint32 if below is None else bool)
        draw = Draw(out, key, step, static)
        for k in range(6):
            if k == 3:  # another carry, in the same place
                key[...] = key[..., ::-1].copy()
            draw(start + k if step is None else None, 6 - k)
            number = np.asarray(start + k) if step is None else step
            np.testing.assert_array_equal(out, noise.random_bits(np, key, number, **static))
            if step is not None:
                step += 1


# ---- streams


def stream(backend, seed=0, step=0, members=None):
    return xn.Noise(seed, step).stream(backend, members)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_and_uniform_numbers_have_their_mean_and_variance_over_a_million_draws(
    backend, dtype
):
    x, p, n = arr(backend, np.zeros((1000, 1000)), dtype), 0.3, 10**6
    with backend.context():
        draws = stream(backend, 11, 5)
        mask = host(backend, draws.bernoulli(backend.xp, p, x), dtype="bool", shape=x.shape)
        uniform = host(backend, draws.uniform(backend.xp, x), dtype=dtype, shape=x.shape)
    # A mean of n independent draws of variance v lies within 5 √(v/n) but for 1 in 1.7 million.
    rate = noise.rate(p)
    assert abs(rate - p) <= 2.0**-17
    assert abs(mask.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / n)
    uniform = uniform.astype(np.float64)
    assert (uniform.min() >= 0, uniform.max() < 1) == (True, True)
    assert abs(uniform.mean() - 0.5) <= 5 * np.sqrt(1 / 12 / n)
    # The variance is the mean of (u − ½)², whose own variance is 1/80 − 1/144 = 1/180.
    assert abs(np.mean((uniform - 0.5) ** 2) - 1 / 12) <= 5 * np.sqrt(1 / 180 / n)


def test_draws_layers_steps_and_members_have_masks_that_know_nothing_of_one_another(backend):
    x = arr(backend, np.zeros((100, 100)))
    with backend.context():
        masks = []
        for step in (0, 1, 2):
            draws = stream(backend, 7, step, members=2)
            inner = draws.split()
            for one in (draws, inner, inner.split(), draws, inner):
                masks.extend(host(backend, one.bernoulli(backend.xp, 0.5, x)))
    signs = np.stack([mask.reshape(-1) * 2.0 - 1 for mask in masks])
    among = signs @ signs.T / 10**4
    # The product of two fair signs is one: a mean of 10⁴ lies within 5.5/100 but for 4e-8 each.
    assert np.abs(among - np.eye(len(masks))).max() <= 0.055


def test_a_member_draws_what_it_would_draw_alone(backend):
    x = arr(backend, np.zeros((4, 3)))
    with backend.context():
        many = host(backend, stream(backend, 5, 2, members=3).bernoulli(backend.xp, 0.5, x))
        some = host(backend, stream(backend, [7, 5], 2, 2).bernoulli(backend.xp, 0.5, x))
        for i in range(3):
            alone = stream(backend, 5 + i, 2).bernoulli(backend.xp, 0.5, x)
            assert_equal(backend, alone, many[i], dtype="bool")
    np.testing.assert_array_equal(some, many[[2, 0]])


@pytest.mark.parametrize("p", [0, 1])
def test_what_is_certain_is_certain(backend, p):
    x = arr(backend, np.zeros((50, 70)))
    with backend.context():
        mask = stream(backend).bernoulli(backend.xp, p, x)
    assert_equal(backend, mask, np.full((50, 70), bool(p)), dtype="bool")


def test_the_seeds_of_noise_are_checked(backend):
    def refused(message, seed, members=None, step=0):
        with pytest.raises((TypeError, ValueError), match=message):
            stream(backend, seed, step, members)

    refused(r"^seed must be a whole number of at least 0, not -1\.", -1)
    refused(r"^seed must be a whole number of at least 0, not 1\.5\.", 1.5)
    refused(r"^seed must be below 2\*\*64", 1 << 64)
    refused(r"^seed must be below 2\*\*64 for each of 2 members", (1 << 64) - 1, 2)
    refused(r"^seed must be one for a network alone \(members=None\), not a list of 2\.", [1, 2])
    refused(r"^seed must hold one seed for each of the 3 members, not 2\.", [1, 2], 3)
    refused(r"^seed\[1\] must be a whole number of at least 0", [1, None], 2)
    refused(r"^step must be a whole number of at least 0, not -1\.", 0, step=-1)
    wrong = arr(backend, np.zeros(3))
    refused(r"^step must be a whole number, or an integer array of the shape \(\)", 0, step=wrong)
