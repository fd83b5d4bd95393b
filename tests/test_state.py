"""State and noise of layers are values of the step: Dropout, BatchNorm, and layers of one's own."""

import warnings
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_close, assert_equal, host, library, rounding, unpickled
from xpnet import noise
from xpnet.backends.numpy.threads import ThreadedProgram
from xpnet.compiler.plain import run_plainly
from xpnet.compiler.replay import Replay
from xpnet.losses import Share
from xpnet.training.step import TrainingStep, carry_of

# array-api-strict checks each call, and takes two thirds of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")

SAMPLES, MEMBERS = 12, 3


@dataclass(frozen=True)
class Centered(xn.Layer):
    """``y = x − c``, where ``c`` follows the mean of the batches: a layer with state alone."""

    features: int

    def state(self):
        return {"center": (1, self.features)}

    def initial_state(self):
        return [np.zeros((1, self.features))]

    def forward(self, xp, params, x, state, noise):
        (center,) = state
        after = 0.5 * center + 0.5 * xp.mean(x, axis=-2, keepdims=True)
        return x - center, lambda dy, need_dx=True: (dy, ()), (after,)

    def apply(self, xp, params, x, state):
        return x - state[0]


@dataclass(frozen=True)
class Jitter(xn.Layer):
    """``y = x + a (u − ½)`` in training, with uniform ``u``: a layer with noise alone."""

    size: float
    draws = True
    samplewise = True

    def forward(self, xp, params, x, state, noise):
        return (
            x + self.size * (noise.uniform(xp, x) - 0.5),
            lambda dy, need_dx=True: (dy, ()),
            (),
        )

    def apply(self, xp, params, x, state):
        return x


L, S = xn.Linear, xn.Sequential
NETWORKS = {
    "dropout": S(xn.Dropout(0.2), L(4, 6), xn.Tanh(), xn.Dropout(0.5), L(6, 2)),
    "batch norm": S(xn.BatchNorm(4), L(4, 6), xn.BatchNorm(6, 0.3), xn.LeakyReLU(0.2), L(6, 2)),
    "both, nested": S(
        S(L(4, 5), xn.BatchNorm(5)),
        xn.Residual(L(5, 5), xn.BatchNorm(5, eps=1e-3), xn.Tanh(), xn.Dropout(0.4)),
        S(S(xn.Dropout(0.3)), L(5, 2)),
    ),
    "somebody's own": S(L(4, 6), Centered(6), xn.Tanh(), Jitter(0.5), L(6, 2)),
}
NAMES = list(NETWORKS)
CASES = [  # network, members, batch size
    *[(name, *case) for name in NAMES for case in ((None, None), (MEMBERS, 5))],
    ("both, nested", MEMBERS, None),
    ("both, nested", None, 5),
]


def data(backend, members=False, dtype="float64"):
    rng = np.random.default_rng(3)
    lead = (MEMBERS,) if members else ()
    x = rng.normal(1.0, 2.0, (*lead, SAMPLES, 4))
    return arr(backend, x, dtype), arr(backend, rng.normal(size=(SAMPLES, 2)), dtype)


def fit(net, x, y, **kwargs):
    given = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.05), "epochs": 4, **kwargs}
    if "theta" not in given:
        given.setdefault("seed", 0)
    return xn.fit(net, x, y, **given)


def close(backend, found, expected, steps=4):
    """Two trainings that differ by rounding alone are the same.

    A step does some hundred roundings, and at most doubles what they have led to: its map of the
    parameters is ``1 − lr H``, and ``lr`` times the curvature is below 1 here.
    """
    wanted = host(backend, expected)
    assert_close(backend, found, wanted, atol=rounding(300 * 2**steps, wanted))


def by_hand(net, x, y, steps, lr, members=None):
    """Parameters, state of the layers, and loss of so many steps, one line after the other."""
    sgd, theta = xn.SGD(lr=lr), net.init(0, like=x, members=members)
    state, own = sgd.init(theta), net.init_state(like=x, members=members)
    for step in range(steps):
        given = {"state": own or None, "noise": xn.Noise(9, step)}
        loss, grad, *after = net.value_and_grad(theta, x, y, xn.MSE(), **given)
        theta, state = sgd.update(theta, grad, state)
        own = after[0] if after else {}
    return theta, own, loss


# ---- by hand, by fit, and by whatever runs the steps


@pytest.mark.parametrize("members", [None, MEMBERS])
@pytest.mark.parametrize("name", NAMES)
def test_training_by_hand_is_what_fit_does(backend, name, members):
    net, (x, y) = NETWORKS[name], data(backend)
    theta, own, loss = by_hand(net, x, y, 4, 0.05, members)
    model = fit(net, x, y, members=members, noise_seed=9)
    close(backend, model.theta, theta)
    np.testing.assert_allclose(model.history.loss[-1], host(backend, loss), rtol=1e-12)
    assert (model.layer_state or {}).keys() == own.keys() == net.state().keys()
    for key, array in own.items():
        close(backend, model.layer_state[key], array)
    close(backend, model(x), net(theta, x, own or None))


def steps(backend, name, members, batch_size, plain=False):
    """What six steps lead to, in two intervals, and what ran them."""
    net, (x, y) = NETWORKS[name], data(backend, members is not None)
    step = TrainingStep(backend.xp, net, xn.MSE(), xn.Momentum(lr=0.05))
    run = partial(run_plainly, backend.xp, step) if plain else backend.runner(step)
    rows = np.random.default_rng(1).integers(0, SAMPLES, (6, 5))
    orders = None if batch_size is None else backend.asarray(rows, "int64")
    with backend.context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        theta = net.init(0, like=x, members=members)
        key = backend.asarray(noise.keys(9, members, "seed"), backend.words)
        own = net.init_state(like=x, members=members)
        carry = carry_of(theta, step.optimizer.init(theta), own, key if net.is_random else None)
        for start, stop in ((0, 3), (3, 6)):  # JAX compiles each length by itself
            part = None if orders is None else orders[start:stop, :]
            carry, metrics = run(carry, (x, y, None), stop - start, part)
        return {k: backend.to_host(v).copy() for k, v in {**carry, **metrics}.items()}, run


@pytest.mark.way("recorded", "compiled")
@pytest.mark.parametrize(("name", "members", "batch_size"), CASES)
def test_every_runner_agrees_with_the_plain_loop(backend, name, members, batch_size):
    # JAX would compile each operation of the plain loop for its shapes: there NumPy runs it.
    plainly = xn.backends.get("numpy") if backend.way == "compiled" else backend
    plain, _ = steps(plainly, name, members, batch_size, plain=True)
    recorded, runner = steps(backend, name, members, batch_size)
    assert plain.keys() == recorded.keys()
    for key, value in plain.items():
        tolerance = rounding(300 * 6, np.maximum(np.abs(value), 1))
        np.testing.assert_allclose(recorded[key], value, rtol=0, atol=tolerance)
    if isinstance(runner, Replay):
        assert all(program for _, program in runner.programs.values())


@pytest.mark.parametrize("name", NAMES)
def test_blocks_change_nothing_and_members_are_what_they_are_alone(backend, name):
    # A last batch that is smaller is a program of its own to compile: one network has it.
    batch_size = 5 if name == "both, nested" else 4
    net, (x, y), how = NETWORKS[name], data(backend), {"batch_size": batch_size, "epochs": 3}
    whole = fit(net, x, y, members=4, noise_seed=5, **how)
    blocks = fit(net, x, y, members=4, noise_seed=5, **how, block=1)
    close(backend, blocks.theta, whole.theta, steps=9)
    alone = fit(net, x, y, seed=2, noise_seed=7, **how)
    close(backend, whole.theta[2, ...], alone.theta, steps=9)
    chosen = fit(net, x, y, seed=[2, 0], members=2, noise_seed=[7, 5], **how)
    close(backend, chosen.theta[0, ...], alone.theta, steps=9)
    for key, array in (alone.layer_state or {}).items():
        close(backend, whole.layer_state[key][2, ...], array, steps=9)


@pytest.mark.parametrize(("name", "members", "batch_size"), CASES)
def test_a_run_that_goes_on_gives_the_very_digits_of_one_that_ran_through(
    backend, name, members, batch_size
):
    net, (x, y) = NETWORKS[name], data(backend)
    how = {"optimizer": xn.Adam(lr=0.05), "noise_seed": 4, "check_every": 2}
    how |= {"batch_size": batch_size, "shuffle": False}
    through = fit(net, x, y, members=members, **how)
    half = fit(net, x, y, members=members, epochs=2, **how)
    held = {"theta": half.theta, "state": half.state, "layer_state": half.layer_state}
    before = {k: host(backend, v).copy() for k, v in (half.layer_state or {}).items()}
    rest = fit(net, x, y, epochs=2, **held, **how)
    assert_equal(backend, rest.theta, host(backend, through.theta))
    for key, value in before.items():
        assert_equal(backend, rest.layer_state[key], host(backend, through.layer_state[key]))
        assert_equal(backend, half.layer_state[key], value)  # not written into


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_draw_the_masks_of_the_whole_batch(threads, batch_size):
    backend = xn.backends.get("numpy")
    net, (x, y) = NETWORKS["dropout"], data(backend)
    alone = fit(net, x, y, threads=1, noise_seed=3, batch_size=batch_size, epochs=4)
    split = fit(net, x, y, threads=threads, noise_seed=3, batch_size=batch_size, epochs=4)
    close(backend, split.theta, alone.theta, steps=8)
    step = TrainingStep(np, net, xn.MSE(), xn.SGD(lr=0.05))
    theta = net.init(0, like=x)
    carry = carry_of(theta, step.optimizer.init(theta), None, np.asarray([3, 0], np.uint32))
    runner = backend.runner(step, threads)
    runner(carry, (x, y, None), 2)
    assert isinstance(next(iter(runner.programs.values()))[1], ThreadedProgram)


@pytest.mark.parametrize("name", NAMES)
def test_what_diverges_comes_back_with_the_state_that_it_had(backend, name):
    net, (x, y) = NETWORKS[name], data(backend)
    lr = 1e60
    with pytest.warns(RuntimeWarning, match="became NaN or infinite"):
        model = fit(net, x, y, optimizer=xn.SGD(lr=lr), noise_seed=9, epochs=5)
    good = model.history.diverged - 2  # of the steps before the one that led to the loss
    assert good >= 1
    theta, own, _ = by_hand(net, x, y, good, lr)
    close(backend, model.theta, theta, steps=good)
    for key, array in own.items():
        close(backend, model.layer_state[key], array, steps=good)


def test_statistics_that_become_infinite_while_no_loss_does_are_taken_back(backend):
    x = np.random.default_rng(0).normal(0, 1e25, (SAMPLES, 4))  # of a variance beyond float32
    x, y = arr(backend, x, "float32"), data(backend, dtype="float32")[1]
    with pytest.warns(RuntimeWarning, match="became NaN or infinite"):
        model = fit(NETWORKS["batch norm"], x, y, epochs=4, check_every=4)
    assert np.isfinite(model.history.loss).all()
    assert model.history.diverged == 5  # as the look at the end saw
    start = NETWORKS["batch norm"].init(0, like=x)
    assert_equal(backend, model.theta, host(backend, start), dtype="float32")
    assert_equal(backend, model.layer_state["0.var"], np.ones((1, 4)), dtype="float32")


# ---- the layers


def test_dropout_leaves_out_what_the_mask_says_and_scales_the_rest(backend):
    x, layer = arr(backend, np.full((400, 50), 3.0)), xn.Dropout(0.3)
    with backend.context():
        draws = xn.Noise(1, 2).stream(backend, None)
        mask = host(backend, draws.bernoulli(backend.xp, layer.kept, x))
        draws = xn.Noise(1, 2).stream(backend, None)
        y, backprop, state = layer.forward(backend.xp, (), x, (), draws)
        dx, grads = backprop(arr(backend, np.full((400, 50), 5.0)))
        assert (state, grads, backprop(x, need_dx=False)[0]) == ((), (), None)
        assert layer.apply(backend.xp, (), x, ()) is x
    assert abs(layer.kept - 0.7) <= 2.0**-17
    assert layer.kept * 2**16 == round(layer.kept * 2**16)
    scale = 1 / layer.kept
    assert_close(backend, y, np.where(mask, 3 * scale, 0), rtol=2.0**-52, atol=0)
    assert_close(backend, dx, np.where(mask, 5 * scale, 0), rtol=2.0**-52, atol=0)
    # The mean over masks is x: of n elements within 5 √(x² (1/q − 1)/n) but for 1 in 1.7 million.
    assert abs(host(backend, y).mean() - 3) <= 5 * 3 * np.sqrt((scale - 1) / 20000)


@pytest.mark.parametrize("p", [0, 1e-9, 0.999999])
def test_dropout_of_next_to_nothing_and_of_nearly_all_is_exact_in_its_mean(backend, p):
    layer = xn.Dropout(p)
    assert layer.kept == {0: 1, 1e-9: 1, 0.999999: 2.0**-16}[p]
    x = arr(backend, np.ones((50, 60)))
    with backend.context():
        y, _, _ = layer.forward(backend.xp, (), x, (), xn.Noise(0, 0).stream(backend, None))
    assert set(np.unique(host(backend, y))) <= {0.0, 1 / layer.kept}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_batch_norm_is_that_of_pytorch_in_training_and_inference(backend, dtype, shift):
    torch = library("torch")
    rng, n, features = np.random.default_rng(0), 64, 5
    weight, bias = rng.uniform(0.5, 2, (1, features)), rng.normal(size=(1, features))
    batches = [rng.normal(shift, 2.0, (n, features)).astype(dtype) for _ in range(3)]
    dy = rng.normal(size=(n, features)).astype(dtype)
    layer = xn.BatchNorm(features, momentum=0.2, eps=1e-4)
    peer = torch.nn.BatchNorm1d(features, momentum=0.2, eps=1e-4, dtype=torch.float64)
    with torch.no_grad():
        peer.weight[:], peer.bias[:] = torch.asarray(weight[0]), torch.asarray(bias[0])
    params = arr(backend, weight, dtype), arr(backend, bias, dtype)
    state = tuple(arr(backend, values, dtype) for values in layer.initial_state())
    # Ours errs by some ulps of numbers as large as x, in units of the deviation; float64 of torch
    # is exact beside that of float32, and errs itself by as much in float64.
    ulps = rounding(40, 6 + abs(shift), dtype)
    for batch in batches:
        theirs_x = torch.asarray(batch.astype("float64")).requires_grad_()
        wanted = peer(theirs_x)
        peer.zero_grad()
        wanted.backward(torch.asarray(dy.astype("float64")))
        with backend.context():
            given = arr(backend, batch, dtype)
            y, backprop, state = layer.forward(backend.xp, params, given, state, None)
            dx, (dweight, dbias) = backprop(arr(backend, dy, dtype))
        assert_close(backend, y, wanted.detach().numpy(), atol=ulps, dtype=dtype)
        assert_close(backend, dx, theirs_x.grad.numpy(), atol=ulps, dtype=dtype)
        sums = rounding(n, 10, dtype) + ulps * np.abs(dy).sum(axis=0).max()
        assert_close(backend, dweight, peer.weight.grad.numpy()[None], atol=sums, dtype=dtype)
        assert_close(backend, dbias, peer.bias.grad.numpy()[None], atol=sums, dtype=dtype)
    mean, var = (b.numpy()[None] for b in (peer.running_mean, peer.running_var))
    assert_close(backend, state[0], mean, atol=ulps, dtype=dtype)
    assert_close(backend, state[1], var, atol=8 * ulps, dtype=dtype)
    peer.eval()
    with backend.context(), torch.no_grad():
        y = layer.apply(backend.xp, params, arr(backend, batches[0], dtype), state)
        wanted = peer(torch.asarray(batches[0].astype("float64"))).numpy()
    assert_close(backend, y, wanted, atol=8 * ulps, dtype=dtype)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_samples_of_weight_0_count_in_the_statistics_of_a_batch(backend, batch_size):
    (x, y), net = data(backend), NETWORKS["batch norm"]
    weight = np.random.default_rng(5).random((MEMBERS, SAMPLES)) * (np.arange(SAMPLES) % 3 > 0)
    weight, one = arr(backend, weight), arr(backend, weight[0])
    still = {"optimizer": xn.SGD(lr=0.0), "batch_size": batch_size}
    whole, weighed = fit(net, x, y, **still), fit(net, x, y, **still, sample_weight=one)
    for name, state in whole.layer_state.items():
        close(backend, weighed.layer_state[name], state)
    # Weights of a member's own say the same as one network's, also where x is shared.
    together = fit(net, x, y, members=MEMBERS, sample_weight=weight, batch_size=batch_size)
    alone = fit(net, x, y, sample_weight=one, batch_size=batch_size)
    close(backend, alone.theta, together.theta[0, ...])
    begun = net.init_state(like=x)
    by_hand = [
        net.value_and_grad(whole.theta, x, y, xn.MSE(), w, state=begun)[-1] for w in (None, one)
    ]
    for name, state in by_hand[0].items():
        close(backend, by_hand[1][name], state)


def test_batch_norm_in_float32_is_at_least_as_exact_as_pytorchs():
    torch, backend = library("torch"), xn.backends.get("numpy")
    x = np.random.default_rng(0).normal(100.0, 1.0, (4096, 8)).astype("float32")
    exact = x.astype("float64")
    exact = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5)
    peer = torch.nn.BatchNorm1d(8)
    theirs = np.abs(peer(torch.asarray(x)).detach().numpy() - exact).max()
    model = fit(S(xn.BatchNorm(8), L(8, 1)), x, x[:, :1] * 0, epochs=1)  # recorded: sums of sums
    assert model.layer_state["0.mean"].dtype == np.float32
    layer = xn.BatchNorm(8)
    params = np.ones((1, 8), "float32"), np.zeros((1, 8), "float32")
    state = tuple(values.astype("float32") for values in layer.initial_state())
    y, _, after = layer.forward(np, params, x, state, None)
    assert np.abs(y - exact).max() <= theirs
    # Rounding of a running value is that of its two terms.
    for ours, of in zip(
        after, (model.layer_state["0.mean"], model.layer_state["0.var"]), strict=True
    ):
        np.testing.assert_allclose(ours, of, rtol=4 * 2.0**-23)
    assert backend.name == "numpy"


# ---- gradients


def objective(backend, net, theta, x, y, own, key):
    """The sum of the members' losses by our own forward: what automatic differentiation sees."""
    xp = backend.xp
    noises = noise.Stream(key, backend.asarray(2, backend.words)) if net.is_random else None
    output, *_ = net.forward(xp, net.layout.views(xp, theta), x, own, noises)
    target = y if len(theta.shape) == 1 else y[None, ...]
    return xp.sum(xn.MSE().forward(xp, output, target, Share(SAMPLES, None))[0])


def at(backend, name, members):
    net, (x, y) = NETWORKS[name], data(backend)
    theta = net.init(5, like=x, members=members)
    own = tuple(net.init_state(like=x, members=members).values())
    key = backend.asarray(noise.keys(6, members, "seed"), backend.words)
    return net, backend.copy(theta), backend.copy(x), y, own, key


@cache
def by_torch(name, members):
    torch, backend = library("torch"), xn.backends.get("torch", "cpu")
    net, theta, x, *rest = at(backend, name, members)
    x = x.expand(members, *x.shape).clone() if members else x
    theta.requires_grad_()
    x.requires_grad_()
    value = objective(backend, net, theta, x, *rest)
    return [g.numpy() for g in torch.autograd.grad(value, (theta, x))]


@cache
def by_jax(name, members):
    jax, backend = library("jax"), xn.backends.get("jax", "cpu")
    net, theta, x, *rest = at(backend, name, members)
    x = jax.numpy.broadcast_to(x, (members, *x.shape)) if members else x
    grad = jax.grad(lambda theta, x: objective(backend, net, theta, x, *rest), argnums=(0, 1))
    return [np.asarray(g) for g in jax.jit(grad)(theta, x)]


@pytest.mark.parametrize("autodiff", [by_torch, by_jax], ids=["torch.autograd", "jax.grad"])
@pytest.mark.parametrize("members", [None, MEMBERS])
@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_with_state_and_noise_is_that_of_automatic_differentiation(
    backend, name, members, autodiff
):
    net, theta, x, y, own, _ = at(backend, name, members)
    given = {"state": net.named_state(own) or None, "noise": xn.Noise(6, 2)}
    _, grad, dx, *_ = net.value_and_grad(theta, x, y, xn.MSE(), input_grad=True, **given)
    of_theta, of_x = autodiff(name, members)
    # 10⁻¹² of the largest component is a few thousand roundings, as in test_gradients.
    assert_close(backend, grad, of_theta, atol=1e-12 * abs(of_theta).max())
    assert_close(backend, dx, of_x, atol=1e-12 * abs(of_x).max())


# ---- models, and what goes with them


def test_a_model_predicts_with_the_state_that_it_was_trained_to(backend):
    net, (x, y) = NETWORKS["both, nested"], data(backend)
    model = fit(net, x, y)
    names = ["0.1.mean", "0.1.var", "1.1.mean", "1.1.var"]
    assert list(model.layer_state) == list(net.state()) == names
    wanted = host(backend, net(model.theta, x, model.layer_state))
    assert_equal(backend, model.predict(x), wanted)
    assert_equal(backend, model(x), wanted)  # nothing is drawn: the same every time
    twin = xn.Model(net, model.theta, xn.MSE(), layer_state=model.layer_state)
    assert_equal(backend, twin(x), wanted)
    if backend.name != "strict":  # whose arrays cannot be pickled
        assert_equal(backend, unpickled(backend, model)(x), wanted)


def test_numbers_of_layers_and_their_state_go_side_by_side(backend):
    # On JAX a sweep makes the slope an operand, beside the state under the same path.
    x, y = data(backend)
    for slope in (0.1, 0.2, 0.3, 0.4):
        net = S(L(4, 6), xn.LeakyReLU(slope), xn.BatchNorm(6, momentum=slope), L(6, 2))
        model, theta, own = fit(net, x, y), net.init(0, like=x), net.init_state(like=x)
        sgd = xn.SGD(lr=0.05)
        state = sgd.init(theta)
        for _ in range(4):
            _, grad, own = net.value_and_grad(theta, x, y, xn.MSE(), state=own)
            theta, state = sgd.update(theta, grad, state)
        close(backend, model.theta, theta)
        close(backend, model.layer_state["2.var"], own["2.var"])


def test_steps_of_numpy_of_the_optimizer_and_of_a_traced_function_are_steps(backend):
    net, (x, y) = NETWORKS["both, nested"], data(backend)
    theta, own = net.init(0, like=x), net.init_state(like=x)

    def grad(step):
        noise = xn.Noise(3, step)
        return net.value_and_grad(theta, x, y, xn.MSE(), state=own, noise=noise)[1]

    wanted = host(backend, grad(5))
    assert_equal(backend, grad(np.int64(5)), wanted)
    assert_equal(backend, grad(backend.asarray(5, "int64")), wanted)
    assert not np.array_equal(host(backend, grad(6)), wanted)
    if backend.name == "jax":
        close(
            backend,
            library("jax").jit(grad)(backend.asarray(5, "int64")),
            backend.xp.asarray(wanted),
        )
    if backend.name != "numpy":
        with pytest.raises(TypeError, match=r"^step is an array of numpy but theta one of"):
            grad(np.asarray(5))


def test_explain_says_how_steps_with_state_and_noise_run(backend):
    x, y = data(backend)
    for net in NETWORKS.values():
        found = xn.explain(net, x, y, loss=xn.MSE(), optimizer=xn.SGD())
        assert found.way == backend.way


# ---- mistakes


def test_a_network_with_state_or_noise_says_what_is_missing(backend):
    x, y = data(backend)
    norm, drop = NETWORKS["batch norm"], NETWORKS["dropout"]
    theta = norm.init(0, like=x)
    own, of_drop = norm.init_state(like=x), drop.init(0, like=x)
    wide = norm.init_state(like=x, members=2)
    single = arr(backend, host(backend, own["0.mean"]), "float32")
    fitted = fit(norm, x, y, epochs=1)

    def grad(net, theta, **given):
        return net.value_and_grad(theta, x, y, xn.MSE(), **given)

    needs = r"^{} must be given, since layer 0, BatchNorm\(.*\), has one: what init_state\(like=x\)"
    cases = [
        (needs.format("state"), lambda: norm(theta, x)),
        (needs.format("state"), lambda: grad(norm, theta)),
        (needs.format("layer_state"), lambda: xn.Model(norm, theta)),
        (r"^state must be None for a network whose", lambda: drop(of_drop, x, own)),
        (r"^state must be a dict of 0.mean, 0.var, 2.mean, 2.var", lambda: norm(theta, x, {})),
        (r"^state must be a dict of .*, not 3", lambda: norm(theta, x, 3)),
        (r"^state\['0.mean'\] must have the shape \(1, 4\), not \(2, 1, 4\)",
         lambda: norm(theta, x, wide)),
        (r"^state\['0.mean'\] must have the dtype float64 of theta, not float32",
         lambda: norm(theta, x, {**own, "0.mean": single})),
        (r"^noise must be given, since layer 0, Dropout\(p=0.2\), draws random numbers: noise=",
         lambda: grad(drop, of_drop)),
        (r"^noise must be a Noise\(seed, step\), not 3", lambda: grad(drop, of_drop, noise=3)),
        (r"^layer_state must come with the theta", lambda: fit(norm, x, y, layer_state=own)),
        (r"^layer_state must be a dict of 0.mean",
         lambda: fit(norm, x, y, theta=theta, layer_state={"0.mean": own["0.mean"]})),
        (r"^layer_state must be None for a network whose",
         lambda: fit(drop, x, y, theta=of_drop, layer_state=fitted.layer_state)),
        (r"^noise_seed must be a whole number of at least 0",
         lambda: fit(drop, x, y, noise_seed=-1)),
        (r"^noise_seed must hold one seed for each of the 2 members, not 3",
         lambda: fit(drop, x, y, members=2, noise_seed=[1, 2, 3])),
        (r"^a batch must have at least 2 samples for BatchNorm",
         lambda: fit(norm, x, y, batch_size=11)),
        (r"^p must be a finite number of at least 0 and below 1", lambda: xn.Dropout(1)),
        (r"^momentum must be a finite number above 0", lambda: xn.BatchNorm(3, momentum=0)),
        (r"^eps must be a finite number of at least 0", lambda: xn.BatchNorm(3, eps=-1)),
        (r"^features must be a whole number", lambda: xn.BatchNorm(0)),
    ]  # fmt: skip
    for message, call in cases:
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def own(**methods):
    """A layer of somebody's own with state and noise, of which some methods are wrong."""
    body = {
        "draws": True,
        "state": lambda self: {"count": (1, 1)},
        "initial_state": lambda self: [np.zeros((1, 1))],
        "forward": lambda self, xp, params, x, state, noise: (
            x,
            lambda dy, need_dx=True: (dy, ()),
            (state[0] + 1,),
        ),
        "apply": lambda self, xp, params, x, state: x,
    }
    return type("Mine", (xn.Layer,), {**body, **methods})()


def returning(*results):
    def forward(self, xp, params, x, state, noise):
        return (x, lambda dy, need_dx=True: (dy, ()), *results)

    return forward


def test_a_layer_of_ones_own_with_state_is_trained(backend):
    x, y = data(backend)
    model = fit(S(L(4, 2), own()), x, y)
    assert_equal(backend, model.layer_state["1.count"], [[4.0]])


MISTAKES = {
    r"^layer 1, Mine: forward must return the output and its backprop, and the new state, "
    r"\(y, backprop, new_state\), not a tuple of 2": {"forward": returning()},
    r"^layer 1, Mine: forward must return as its new state a tuple of 1 arrays, one a name of "
    r"state \(count\), not a tuple of 0": {"forward": returning(())},
    r"^layer 1, Mine: forward must return a new state of the shape \(1, 1\) for 'count', not N": {
        "forward": returning((None,))
    },
    r"^layer 1, Mine: state 'count' must have two axes of its own": {
        "state": lambda self: {"count": (3,)}
    },
    r"^layer 1, Mine: state must not hold 'count', a hyperparameter": {
        "hyperparameters": ("count",)
    },
    r"^layer 1, Mine: state must return a dict of names and shapes, not a list": {
        "state": lambda self: ["count"]
    },
    r"^layer 1, Mine: initial_state must return a list of 1 arrays, one a state, not None": {
        "initial_state": lambda self: None
    },
    r"^layer 1, Mine: initial_state must return real numbers of the shape \(1, 1\) for 'count'": {
        "initial_state": lambda self: [np.zeros(3)]
    },
    r"^layer 1, Mine: a layer that draws random numbers must say draws = True": {
        "draws": False,
        "forward": lambda self, xp, params, x, state, noise: noise.uniform(xp, x),
    },
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_in_a_layer_with_state_is_told_by_its_name(backend, message):
    x, y = data(backend)
    with pytest.raises((TypeError, ValueError), match=message):
        fit(S(L(4, 2), own(**MISTAKES[message])), x, y)


def test_a_state_of_another_dtype_is_told(backend):
    def forward(self, xp, params, x, state, noise):
        return x, lambda dy, need_dx=True: (dy, ()), (xp.astype(state[0], xp.float32),)

    x, y = data(backend)
    with pytest.raises(
        TypeError, match=r"^layer 1, Mine: forward must return a new state of the d"
    ):
        fit(S(L(4, 2), own(forward=forward)), x, y)


class Counting(xn.Layer):
    """A layer that keeps what should be state."""

    def __init__(self):
        self.calls = 0

    def apply(self, xp, params, x):
        return x

    def forward(self, xp, params, x):
        self.calls += 1
        return x, lambda dy, need_dx=True: (dy, ())


def test_a_layer_that_counts_for_itself_is_pointed_to_state_and_noise(backend):
    x, y = data(backend)
    with pytest.raises(TypeError, match=r"^Counting.* is changed by a training step") as caught:
        fit(S(L(4, 2), Counting()), x, y)
    assert "state()" in str(caught.value)
    assert "noise" in str(caught.value)


def test_a_network_without_state_has_none(backend):
    x, y = data(backend)
    net = S(L(4, 2))
    model = fit(net, x, y)
    assert (model.layer_state, net.state(), net.init_state(like=x)) == (None, {}, {})
    assert len(net.value_and_grad(model.theta, x, y, xn.MSE(), noise=xn.Noise(0, 0))) == 2


# ---- going on with state


def test_a_state_that_batch_norm_cannot_go_on_from_is_refused_before_training(backend):
    norm = xn.Sequential(xn.Linear(2, 3), xn.Residual(xn.BatchNorm(3)), xn.Linear(3, 1))
    x, y = arr(backend, np.eye(4)[:, :2]), arr(backend, np.ones((4, 1)))
    model = xn.fit(norm, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, seed=0)
    good = model.layer_state
    name = "1.0.var"

    def refused(values, message, error=ValueError):
        wrong = {**good, name: values}
        how = {"loss": xn.MSE(), "optimizer": xn.SGD(), "epochs": 1, "theta": model.theta}
        with pytest.raises(error, match=message):
            xn.fit(norm, x, y, layer_state=wrong, **how)
        with pytest.raises(error, match=message):
            model.layer_state = wrong
        assert model.layer_state is good

    refused(arr(backend, [[1.0, -0.5, 2.0]]), "variances of at least 0 for BatchNorm, not -0.5")
    refused(arr(backend, [[1.0, np.inf, 2.0]]), r"'1.0.var'\] must hold finite numbers")
    refused(arr(backend, [[1.0, 2.0]]), r"layer_state\['1.0.var'\] must have the shape \(1, 3\)")
    with pytest.raises(TypeError, match="layer_state must be given"):
        model.layer_state = None
    model.layer_state = {**good, name: arr(backend, [[0.0, 1.0, 2.0]])}
    assert_equal(backend, model[1][0].var, [[0.0, 1.0, 2.0]])


def test_state_of_the_optimizer_goes_with_that_of_the_layers(backend):
    x, y = arr(backend, np.ones((4, 2))), arr(backend, np.ones((4, 1)))
    net = xn.Sequential(xn.Linear(2, 3), xn.BatchNorm(3), xn.Linear(3, 1))
    asked = {"loss": xn.MSE(), "optimizer": xn.Adam(), "epochs": 1}
    model = xn.fit(net, x, y, **asked)
    going_on = {**asked, "theta": model.theta, "state": model.state}
    with pytest.raises(ValueError, match=r"layer_state must come with state, .* layer 1, BatchN"):
        xn.fit(net, x, y, **going_on)
    for wrong, words in (({}, "not empty"), (x, r"not an array of shape \(4, 2\)")):
        with pytest.raises(ValueError, match=f"layer_state must be a dict of 1.mean.*{words}"):
            xn.fit(net, x, y, **going_on, layer_state=wrong)
    with pytest.raises(ValueError, match="layer_state must come with the theta"):
        xn.fit(net, x, y, **asked, layer_state={})
    xn.fit(net, x, y, **going_on, layer_state=model.layer_state)
    xn.fit(net, x, y, **asked, theta=model.theta)  # new moments, new statistics
