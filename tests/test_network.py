"""`Sequential`: the layout of theta, members, names, and a training step worked by hand."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, host, library, report_network, rounding

NET = xn.Sequential(
    xn.Linear(3, 4), xn.LeakyReLU(), xn.Sequential(xn.Linear(4, 4), xn.Tanh()), xn.Linear(4, 2)
)


def test_a_training_step_worked_by_hand(backend):
    # x = [1, 2], W₁ = [[1, −1], [½, ½]], b₁ = [0, ½]:  z = [1 − 2 + 0, ½ + 1 + ½] = [−1, 2]
    # LeakyReLU with slope 0.1:                         a = [−0.1, 2]
    # W₂ = [[2, ½]], b₂ = [−0.3]:                       ŷ = −0.2 + 1 − 0.3 = 0.5
    # MSE against y = 0:                                L = 0.25, dŷ = 2 · 0.5 = 1
    # backwards:  dW₂ = dŷ a = [−0.1, 2], db₂ = 1, da = dŷ W₂ = [2, ½],
    #             dz = [0.1 · 2, ½] = [0.2, 0.5], dW₁ = dzᵀ x = [[0.2, 0.4], [0.5, 1]], db₁ = dz,
    #             dx = dz W₁ = [0.2 + 0.25, −0.2 + 0.25] = [0.45, 0.05]
    # SGD with lr 0.1:  θ − 0.1 dθ
    net = xn.Sequential(xn.Linear(2, 2), xn.LeakyReLU(0.1), xn.Linear(2, 1))
    theta = arr(backend, [1.0, -1.0, 0.5, 0.5, 0.0, 0.5, 2.0, 0.5, -0.3])
    x, y = arr(backend, [[1.0, 2.0]]), arr(backend, [[0.0]])
    tiny = rounding(8, 2.0)
    assert_close(backend, net(theta, x), [[0.5]], atol=tiny)
    value, grad, dx = net.value_and_grad(theta, x, y, xn.MSE(), input_grad=True)
    assert_close(backend, value, 0.25, atol=tiny)
    assert_close(backend, grad, [0.2, 0.4, 0.5, 1.0, 0.2, 0.5, -0.1, 2.0, 1.0], atol=tiny)
    assert_close(backend, dx, [[0.45, 0.05]], atol=tiny)
    sgd = xn.SGD(lr=0.1)
    after, _ = sgd.update(theta, grad, sgd.init(theta))
    expected = [0.98, -1.04, 0.45, 0.4, -0.02, 0.45, 2.01, 0.3, -0.4]
    assert_close(backend, after, expected, atol=tiny)
    model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=sgd, epochs=1, theta=theta)
    assert_close(backend, model.theta, expected, atol=tiny)
    assert model.history.loss[0] == pytest.approx(0.25, abs=tiny)


def test_one_step_of_adam_moves_every_parameter_by_lr_against_the_sign_of_its_gradient(backend):
    # By hand: after one step m̂ = g and v̂ = g², so θ − lr g / (|g| + ε).
    net = xn.Sequential(xn.Linear(1, 1))
    theta, x, y = arr(backend, [3.0, -1.0]), arr(backend, [[2.0]]), arr(backend, [[6.0]])
    # ŷ = 5, dŷ = 2 (5 − 6) = −2, dW = −4, db = −2.
    model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.Adam(lr=0.5), epochs=1, theta=theta)
    expected = [3 + 0.5 * 4 / (4 + 1e-8), -1 + 0.5 * 2 / (2 + 1e-8)]
    assert_close(backend, model.theta, expected, atol=rounding(16, 4))


# ---- the layout of theta


def test_theta_holds_the_parameters_of_the_layers_one_after_another_in_c_order(backend):
    net = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))
    found = net.unflatten(arr(backend, np.arange(13.0)))
    assert list(found) == ["0.W", "0.b", "2.W", "2.b"]
    assert_equal(backend, found["0.W"], [[0, 1], [2, 3], [4, 5]])
    assert_equal(backend, found["0.b"], [[6, 7, 8]])
    assert_equal(backend, found["2.W"], [[9, 10, 11]])
    assert_equal(backend, found["2.b"], [[12]])


def test_nested_networks_have_nested_names_and_the_same_layout():
    flat = xn.Sequential(
        xn.Linear(3, 4), xn.LeakyReLU(), xn.Linear(4, 4), xn.Tanh(), xn.Linear(4, 2)
    )
    assert list(NET.parameters()) == ["0.W", "0.b", "2.0.W", "2.0.b", "3.W", "3.b"]
    assert list(NET.parameters().values()) == list(flat.parameters().values())
    assert NET.size == flat.size == 16 + 20 + 10


def test_a_nested_network_computes_what_the_flat_one_does(backend):
    flat = xn.Sequential(
        xn.Linear(3, 4), xn.LeakyReLU(), xn.Linear(4, 4), xn.Tanh(), xn.Linear(4, 2)
    )
    x = arr(backend, np.random.default_rng(0).normal(size=(5, 3)))
    theta = NET.init(1, like=x)
    assert_equal(backend, flat.init(1, like=x), host(backend, theta))
    assert_equal(backend, NET(theta, x), host(backend, flat(theta, x)))


@given(
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    members=st.sampled_from([None, 1, 3]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_flatten_is_the_inverse_of_unflatten(backend, widths, members, dtype):
    net = xn.Sequential(*(xn.Linear(a, b) for a, b in pairwise(widths)))
    values = np.random.default_rng(0).normal(size=(members, net.size)[members is None :])
    theta = arr(backend, values, dtype)
    named = net.unflatten(theta)
    lead = () if members is None else (members,)
    for name, shape in net.parameters().items():
        host(backend, named[name], dtype=dtype, shape=(*lead, *shape))
    assert_equal(backend, net.flatten(named), values.astype(dtype), dtype=dtype)


# ---- members


@pytest.mark.parametrize(
    ("own_x", "dtype"), [(False, "float64"), (True, "float64"), (False, "float32")]
)
def test_member_i_of_an_ensemble_computes_what_network_i_computes_alone(backend, own_x, dtype):
    members, loss = 5, xn.BCEWithLogits()
    rng = np.random.default_rng(3)
    x = rng.normal(size=(members, 6, 3) if own_x else (6, 3))
    y = arr(backend, rng.integers(0, 2, (6, 2)), dtype)
    x_ = arr(backend, x, dtype)
    theta = NET.init(5, like=x_, members=members)
    output = NET(theta, x_)
    value, grad, dx = NET.value_and_grad(theta, x_, y, loss, input_grad=True)
    host(backend, output, dtype=dtype, shape=(members, 6, 2))
    host(backend, value, dtype=dtype, shape=(members,))
    host(backend, grad, dtype=dtype, shape=(members, NET.size))
    host(backend, dx, dtype=dtype, shape=(members, 6, 3))
    for i in range(members):
        own = arr(backend, x[i] if own_x else x, dtype)
        alone = NET.init(5 + i, like=own)
        assert_equal(backend, theta[i, ...], host(backend, alone), dtype=dtype)
        # Only the order of sums may differ: of six samples, or four units a layer, some 50 in all.
        for found, expected in zip(
            (output, value, grad, dx),
            (NET(alone, own), *NET.value_and_grad(alone, own, y, loss, input_grad=True)),
            strict=True,
        ):
            expected = host(backend, expected)
            assert_close(
                backend,
                found[i, ...],
                expected,
                atol=rounding(50, [expected, np.ones(1)], dtype),
                dtype=dtype,
            )


# ---- the rest of a network


def test_networks_compare_by_value_and_survive_pickle_and_deepcopy(backend):
    x = arr(backend, np.ones((2, 3)))
    theta = NET.init(0, like=x)
    for twin in (pickle.loads(pickle.dumps(NET)), copy.deepcopy(NET)):
        assert twin == NET
        assert hash(twin) == hash(NET)
        assert_equal(backend, twin(theta, x), host(backend, NET(theta, x)))
    assert xn.Sequential(xn.Linear(2, 3)) != xn.Sequential(xn.Linear(3, 2))
    assert report_network() == report_network()


def test_a_network_holds_no_parameters_and_is_not_changed_by_use(backend):
    x = arr(backend, np.ones((2, 3)))
    before = pickle.dumps(NET)
    theta = NET.init(0, like=x)
    NET.value_and_grad(theta, x, arr(backend, np.zeros((2, 2))), xn.MSE())
    assert pickle.dumps(NET) == before


def test_the_summary_prints_layers_shapes_and_the_number_of_parameters():
    text = NET.summary()
    lines = text.splitlines()
    assert "<Linear W: (4, 3) b: (1, 4)>" in lines[2]
    assert lines[2].split()[-1] == "16"
    assert any(line.startswith("2.0") and "(samples, 4)" in line for line in lines)
    assert lines[-1].split() == ["total", "46"]
    assert len({len(line) for line in lines}) == 1


def test_features_pass_through_activations_to_the_next_layer():
    net = xn.Sequential(xn.Tanh(), xn.Linear(2, 3), xn.ReLU())
    assert (net.in_features, net.out_features) == (2, 3)
    assert len(net) == 3
    assert [repr(layer) for layer in net] == [repr(net[i]) for i in range(3)]


def test_networks_and_gradients_work_under_jax_jit():
    jax = library("jax")
    backend = xn.backends.get("jax", "cpu")
    x, y = arr(backend, np.ones((2, 3))), arr(backend, np.zeros((2, 2)))
    theta = NET.init(0, like=x)
    value, grad = NET.value_and_grad(theta, x, y, xn.MSE())
    jitted = jax.jit(lambda t: NET.value_and_grad(t, x, y, xn.MSE()))(theta)
    assert_close(backend, jitted[0], host(backend, value), atol=rounding(50, 1))
    assert_close(backend, jitted[1], host(backend, grad), atol=rounding(50, host(backend, grad)))
