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


def test_the_summary_says_how_much_state_layers_have_where_one_has():
    wide = xn.Sequential(xn.LinearBatchEnsemble(4, 3, 2, groups=(2, 2)), xn.LinearEnsemble(3, 1, 2))
    assert max(map(len, wide.summary().splitlines())) < 110
    assert "state" not in NET.summary()
    lines = xn.Sequential(xn.Linear(2, 3), xn.BatchNorm(3)).summary().splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "state"]
    assert [line.split()[-2:] for line in (*lines[2:4], lines[5])] == [
        ["9", "0"],
        ["6", "6"],
        ["15", "6"],
    ]


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


# ---- layers of somebody's own


class Affine(xn.Layer):
    """``a x + b``; the tests break it in one place at a time."""

    def __init__(self, **broken):
        vars(self).update(broken)

    def parameters(self):
        return {"a": (1, 3), "b": (1, 3)}

    def draw(self, rng):
        return [np.ones((1, 3)), rng.normal(size=(1, 3))]

    def apply(self, xp, params, x):
        a, b = params
        return a * x + b

    def forward(self, xp, params, x):
        a, _ = params

        def backprop(dy, need_dx=True):
            own = xp.sum(dy * x, axis=-2, keepdims=True), xp.sum(dy, axis=-2, keepdims=True)
            return (a * dy if need_dx else None), own

        return Affine.apply(self, xp, params, x), backprop


def _affine(change):
    """A forward whose backprop gives what ``change`` makes of ``(dx, gradients)``."""

    def forward(xp, params, x):
        y, backprop = Affine().forward(xp, params, x)
        return y, lambda dy, need_dx=True: change(xp, *backprop(dy, need_dx))

    return forward


def _before(write):
    """A forward or apply that writes first."""

    def call(method):
        def broken(xp, params, x):
            write(params, x)
            return getattr(Affine(), method)(xp, params, x)

        return broken

    return call


def _add(array):
    array += 1


BROKEN = {
    "a gradient too few": (
        {"forward": _affine(lambda xp, dx, grads: (dx, grads[:1]))},
        "backprop must return a tuple of 2 gradients, one a parameter (a, b), not a tuple of 1.",
    ),
    "a gradient too many": (
        {"forward": _affine(lambda xp, dx, grads: (dx, (*grads, grads[0])))},
        "2 gradients, one a parameter (a, b), not a tuple of 3.",
    ),
    "dx alone": (
        {"forward": _affine(lambda xp, dx, grads: dx)},
        "backprop must return (dx, gradients), the gradients a tuple",
    ),
    "no dx": (
        {"forward": _affine(lambda xp, dx, grads: (None, grads))},
        "backprop must return dx, of the shape",
    ),
    "a gradient of another shape": (
        {"forward": _affine(lambda xp, dx, grads: (dx, (grads[0][..., 0, :], grads[1])))},
        "backprop must return a gradient of the shape",
    ),
    "a gradient alone": (
        {"forward": _affine(lambda xp, dx, grads: (dx, grads[0]))},
        "backprop must return a tuple of 2 gradients",
    ),
    "a gradient of another dtype": (
        {"forward": _affine(lambda xp, dx, grads: (dx, (xp.astype(grads[0], xp.float32),
                                                        grads[1])))},
        "backprop must return a gradient of the dtype",
    ),
    "a dx of another shape": (
        {"forward": _affine(lambda xp, dx, grads: (None if dx is None else dx[..., :1], grads))},
        "backprop must return dx of the shape",
    ),
    "no need_dx": (
        {"forward": lambda xp, params, x: (params[0] * x + params[1], lambda dy: (dy, params))},
        "backprop must take two arguments, (dy, need_dx=True).",
    ),
    "the output alone": (
        {"forward": lambda xp, params, x: x + 0},
        "forward must return the output and its backprop, (y, backprop), not an array",
    ),
    "another number of features": (
        {"apply": lambda xp, params, x: x[..., :2]},
        "out_features says how many it gives.",
    ),
    "the features without their samples": (
        {"apply": lambda xp, params, x: xp.sum(x, axis=-2)},
        "apply must return an output of the shape",
    ),
    "no array": (
        {"apply": lambda xp, params, x: [x]},
        "apply must return an array, not a list of 1.",
    ),
}  # fmt: skip
AT_ONCE = ["another number of features", "the features without their samples", "no array"]


def _own_problem(backend, layer, members):
    net = xn.Sequential(xn.Linear(2, 3), xn.Sequential(xn.Tanh(), layer), xn.Linear(3, 1))
    rng = np.random.default_rng(0)
    x, y = arr(backend, rng.normal(size=(5, 2))), arr(backend, rng.normal(size=(5, 1)))
    return net, x, y


def _fit_own(net, x, y, members=None, **more):
    return xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=2, members=members, **more)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_a_layer_that_is_not_as_a_layer_should_be_is_refused_by_name(backend, name, members):
    broken, sentence = BROKEN[name]
    net, x, y = _own_problem(backend, Affine(**broken), members)
    theta = net.init(0, like=x, members=members)
    calls = [lambda: _fit_own(net, x, y, members, seed=0)]
    if name in AT_ONCE:
        calls.append(lambda: net(theta, x))
    else:
        calls.append(lambda: net.value_and_grad(theta, x, y, xn.MSE(), input_grad=True))
    for call in calls:
        with pytest.raises((TypeError, ValueError)) as info:
            call()
        assert str(info.value).startswith("layer 1.1, Affine: ")
        assert sentence in str(info.value)
        assert "\n" not in str(info.value)


def test_a_layer_that_is_as_it_should_be_trains_as_its_gradient_says(backend):
    for members in (None, 3):
        net, x, y = _own_problem(backend, Affine(), members)
        theta = net.init(0, like=x, members=members)
        model = _fit_own(net, x, y, members, theta=theta)
        optimizer = xn.SGD()
        state = optimizer.init(theta)
        for _ in range(2):
            _, grad = net.value_and_grad(theta, x, y, xn.MSE())
            theta, state = optimizer.update(theta, grad, state)
        assert_close(backend, model.theta, host(backend, theta), atol=rounding(100, 3))


@pytest.mark.parametrize("members", [None, 3])
def test_apply_unlike_forward_is_refused(backend, members):
    layer = Affine(apply=lambda xp, params, x: params[0] * x + 1.001 * params[1])
    net, x, y = _own_problem(backend, layer, members)
    with pytest.raises(ValueError, match=r"layer 1\.1, Affine: apply must return what forward"):
        _fit_own(net, x, y, members, seed=0)


@pytest.mark.has("writable")
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("method", ["forward", "apply"])
@pytest.mark.parametrize(
    ("what", "write"),
    [("x", lambda params, x: _add(x)), ("b", lambda params, x: _add(params[1]))],
)
def test_a_layer_that_writes_into_what_it_is_given_is_refused(
    backend, what, write, method, members
):
    layer = Affine(**{method: _before(write)(method)})
    net, x, y = _own_problem(backend, layer, members)
    theta = net.init(0, like=x, members=members)
    before = host(backend, x).copy(), host(backend, theta).copy()
    with pytest.raises(ValueError, match=rf"Affine: {method} must not write into {what}, which"):
        _fit_own(net, x, y, members, theta=theta)
    assert_equal(backend, x, before[0])
    assert_equal(backend, theta, before[1])


@pytest.mark.parametrize(
    ("shape", "cure"),
    [((3,), "such as (1, 3)"), ((), "such as (1, 1)"), ((2, 3, 4), "such as (6, 4), and reshape"),
     ((0, 3), "both at least 1"), ("ab", "both at least 1"), (3, "both at least 1")],
)  # fmt: skip
def test_a_parameter_without_two_axes_is_refused_with_the_cure(shape, cure):
    layer = Affine(parameters=lambda: {"scale": shape})
    with pytest.raises(ValueError) as info:
        xn.Sequential(xn.Linear(2, 3), xn.Sequential(xn.Tanh(), layer))
    assert "Affine: parameter 'scale' must have two axes of its own, " in str(info.value)
    assert cure in str(info.value) and repr(shape) in str(info.value)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [([np.ones((1, 3))], "a list of 2 arrays, one a parameter, not a list of 1."),
     (None, "a list of 2 arrays, one a parameter, not None."),
     ([np.ones((1, 3)), np.ones(3)], "of the shape (1, 3) for 'b', not float64 of the shape (3,)"),
     ([np.ones((1, 3)), np.array([list("abc")])], "draw must return real numbers")],
)  # fmt: skip
def test_a_draw_of_something_else_is_refused(backend, drawn, words):
    net, x, y = _own_problem(backend, Affine(draw=lambda rng: drawn), None)
    with pytest.raises(ValueError) as info:
        net.init(0, like=x)
    assert str(info.value).startswith("layer 1.1, Affine: draw must return")
    assert words in str(info.value)


@pytest.mark.parametrize("members", [None, 3])
def test_an_error_within_a_layer_a_loss_or_an_optimizer_says_where(backend, members):
    class Fails(xn.MSE):
        def forward(self, xp, output, target, share):
            return output.there_is_no_such

    class Stops(xn.SGD):
        def step(self, xp, theta, grad, state):
            return theta.there_is_no_such

    def fails(xp, params, x):
        return x.there_is_no_such

    net, x, y = _own_problem(backend, Affine(forward=fails), members)
    fine, *_ = _own_problem(backend, Affine(), members)
    for network, parts, words in (
        (net, {}, ("in layer 1.1, ", "Affine")),
        (fine, {"loss": Fails()}, ("in the loss, ", "Fails()")),
        (fine, {"optimizer": Stops()}, ("in the optimizer, ", "Stops(lr=0.01")),
    ):
        with pytest.raises(AttributeError, match="there_is_no_such") as info:
            settings = {"loss": xn.MSE(), "optimizer": xn.SGD(), **parts}
            xn.fit(network, x, y, epochs=2, seed=0, members=members, **settings)
        (note,) = (note for note in info.value.__notes__ if "JAX has removed" not in note)
        assert note.startswith(words[0]) and words[1] in note


def test_a_loss_of_somebodys_own_gives_a_value_a_member_and_a_gradient_an_output(backend):
    class Odd(xn.MSE):
        def forward(self, xp, output, target, share):
            value, backprop = super().forward(xp, output, target, share)
            return value, lambda: xp.sum(backprop(), axis=-1, keepdims=True)

    net = xn.Sequential(xn.Linear(2, 3))
    x, y = arr(backend, np.ones((5, 2))), arr(backend, np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"Odd.*: forward must return a gradient of .* \(5, 3\)"):
        xn.fit(net, x, y, loss=Odd(), optimizer=xn.SGD(), epochs=1, seed=0)


def test_a_network_of_somebodys_own_is_run_as_it_says(backend):
    # Not as its layers one by one, which would pass over what it adds.
    class Residual(xn.Sequential):
        def apply(self, xp, params, x):
            return x + super().apply(xp, params, x)

        def forward(self, xp, params, x):
            y, backprop = super().forward(xp, params, x)

            def both(dy, need_dx=True):
                dx, grads = backprop(dy, need_dx)
                return (dy + dx if need_dx else None), grads

            return x + y, both

    net = xn.Sequential(xn.Linear(2, 3), Residual(xn.Linear(3, 3), xn.Tanh()), xn.Linear(3, 1))
    plain = xn.Sequential(xn.Linear(2, 3), xn.Linear(3, 3), xn.Tanh(), xn.Linear(3, 1))
    x, y = arr(backend, np.ones((5, 2))), arr(backend, np.ones((5, 1)))
    theta = net.init(0, like=x)
    assert net.size == plain.size
    assert list(net.parameters()) == ["0.W", "0.b", "1.0.W", "1.0.b", "2.W", "2.b"]
    named = net.unflatten(theta)
    with backend.context():
        h = x @ named["0.W"].mT + named["0.b"]
        h = h + backend.xp.tanh(h @ named["1.0.W"].mT + named["1.0.b"])
        expected = h @ named["2.W"].mT + named["2.b"]
    assert_close(backend, net(theta, x), host(backend, expected), atol=rounding(50, 10))
    model = xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=2, theta=theta)
    value, _ = net.value_and_grad(theta, x, y, xn.MSE())
    assert model.history.loss[0] == pytest.approx(float(host(backend, value)), abs=1e-12)


@pytest.mark.parametrize("members", [None, 3])
def test_what_jax_cannot_compile_is_explained(members):
    jax = library("jax")
    backend = xn.backends.get("jax", "cpu")
    kept = []

    def keeps(xp, params, x):
        y, backprop = Affine().forward(xp, params, x)
        before = [array for array in kept if isinstance(array, jax.core.Tracer)]
        kept.append(y)
        return (y + before[0] if before else y), backprop

    def looks(how):
        def forward(xp, params, x):
            how(xp.sum(x, axis=None) if how is not np.asarray else x)
            return Affine().forward(xp, params, x)

        return forward

    cases = [(looks(how), "use xp.where in place of if") for how in (bool, float, int, np.asarray)]
    for forward, words in [*cases, (keeps, "a step must be pure")]:
        net, x, y = _own_problem(backend, Affine(forward=forward), members)
        settings = {"epochs": 5, "check_every": 3, "seed": 0, "members": members}
        settings |= {"loss": xn.MSE(), "optimizer": xn.SGD()}
        with pytest.raises((TypeError, jax.errors.UnexpectedTracerError)) as info:
            xn.fit(net, x, y, **settings)
        notes = getattr(info.value, "__notes__", [])
        assert any(words in said for said in (str(info.value), *notes)), (notes, info.value)
        assert len(notes) == len({*notes})


def test_a_sample_of_weight_0_counts_for_nothing_where_the_network_overflows_on_it(backend):
    net = xn.Sequential(xn.Linear(2, 4), xn.ReLU(), xn.Linear(4, 1))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 1))
    x[0] = 3e38
    weight = np.array([0.0, 1, 1, 1, 1, 1])
    theta = arr(backend, np.full(17, 2.0), "float32")
    arrays = [arr(backend, a, "float32") for a in (x, y, weight)]
    rest = [arr(backend, a[1:], "float32") for a in (x, y)]
    found = net.value_and_grad(theta, *arrays[:2], xn.MSE(), arrays[2])
    wanted = net.value_and_grad(theta, *rest, xn.MSE())
    for some, other in zip(found, wanted, strict=True):
        other = host(backend, other)
        bound = rounding(64, other, "float32")
        assert_close(backend, some, other, atol=bound, dtype="float32")
    model = xn.fit(net, *arrays[:2], sample_weight=arrays[2], loss=xn.MSE(),
                   optimizer=xn.SGD(lr=1e-4), epochs=5, theta=theta)  # fmt: skip
    assert np.isfinite(model.history.loss).all() and not model.history.diverged
