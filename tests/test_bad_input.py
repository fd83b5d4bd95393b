"""Bad input: one sentence that names the argument, its value and what would be right."""

import tempfile

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_equal, host, library, xor
from xpnet import backends, callbacks, checks

NET = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))
NAN, INF = float("nan"), float("inf")
AT_LEAST_0 = "must be a finite number of at least 0"
FRACTION = "must be a finite number of at least 0 and below 1"


FLOAT = None
"""The library's own floats, in `cast`."""


def cast(backend, name, dtype="float64"):
    """How one casts in this library, as a test has it and not as the library says."""
    if dtype is FLOAT:  # torch's own floats are float32
        dtype = "float32" if backend.name == "torch" else "float64"
    spelled = {"torch": f"{name}.to(torch.{dtype})", "strict": f"xp.astype({name}, xp.{dtype})"}
    return spelled.get(backend.name, f'{name}.astype("{dtype}")') + "."


def raises(error, sentence, call):
    """The call raises exactly this kind of error, in one sentence that says all of this."""
    with pytest.raises(error) as info:
        call()
    assert type(info.value) is error
    text = str(info.value)
    for part in sentence if isinstance(sentence, tuple) else (sentence,):
        assert part in text, text
    assert "\n" not in text
    assert text.endswith((".", "?"))


# ---- numbers

OPTIMIZER_NUMBERS = [
    *[(make, name, AT_LEAST_0)
      for make, names in (
          (xn.SGD, ("lr", "momentum", "weight_decay")),
          (xn.Momentum, ("lr", "momentum", "weight_decay")),
          (xn.AdaGrad, ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")),
          (xn.RMSprop, ("lr", "eps", "weight_decay", "momentum")),
          (xn.Adam, ("lr", "eps", "weight_decay")),
          (xn.AdamW, ("lr", "eps", "weight_decay")),
          (xn.Adadelta, ("lr", "eps", "weight_decay")),
          (xn.Adamax, ("lr", "eps", "weight_decay")),
          (xn.NAdam, ("lr", "eps", "weight_decay", "momentum_decay")),
          (xn.RAdam, ("lr", "eps", "weight_decay")),
          (xn.Rprop, ("lr",)),
          (xn.Lion, ("lr", "weight_decay")),
      )
      for name in names],
    (xn.RMSprop, "alpha", FRACTION),
    (xn.Adadelta, "rho", FRACTION),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "name", "right"),
    OPTIMIZER_NUMBERS,
    ids=[f"{make.__name__}-{name}" for make, name, _ in OPTIMIZER_NUMBERS],
)
def test_a_number_of_an_optimizer_out_of_range_or_not_finite_is_named(make, name, right):
    for value in (-0.1, NAN, INF, 10**400, 10**5000):  # of the last Python writes no digits
        says = "an int." if value == 10**5000 else f"not {repr(value)[:50]}"
        raises(ValueError, (f"{name} {right}", says), lambda v=value: make(**{name: v}))
    for value in ("0.1", None, True, [0.1], 1j):
        raises(TypeError, (f"{name} {right}", f"not {value!r}."), lambda v=value: make(**{name: v}))


@pytest.mark.parametrize("make", [xn.Adam, xn.AdamW, xn.Adamax, xn.NAdam, xn.RAdam, xn.Lion])
def test_betas_out_of_range_are_named_with_their_place(make):
    raises(ValueError, f"betas[0] {FRACTION}, not 1.0.", lambda: make(betas=(1.0, 0.9)))
    raises(ValueError, f"betas[1] {FRACTION}, not -0.1.", lambda: make(betas=(0.9, -0.1)))
    raises(ValueError, "betas[1]", lambda: make(betas=(0.9, NAN)))
    raises(TypeError, "betas must be a pair of numbers, not 0.9.", lambda: make(betas=0.9))
    raises(TypeError, "betas must be a pair of numbers, not (0.9,).", lambda: make(betas=(0.9,)))


def test_nesterov_without_momentum_or_with_dampening_is_refused():
    for options in ({}, {"momentum": 0.9, "dampening": 0.1}):
        raises(
            ValueError,
            "nesterov=True needs a momentum above 0 and no dampening",
            lambda o=options: xn.SGD(nesterov=True, **o),
        )
    raises(ValueError, "dampening must be a finite number", lambda: xn.SGD(dampening=NAN))


@pytest.mark.parametrize(
    ("loss", "last", "y", "sentence"),
    [
        (xn.KL(), xn.Identity(), 0.5, "end the network with LogSoftmax()."),
        (xn.KL(), xn.Softmax(), 0.5, "needs logarithms of probabilities, none above 0, not"),
        (xn.KL(), xn.LogSoftmax(), -0.5, "y must hold probabilities of at least 0, not -0.5."),
        (
            xn.Poisson(False),
            xn.Identity(),
            1.0,
            "end the network with Softplus(), or use",
        ),
        (xn.Poisson(), xn.Identity(), -2.0, "y must hold counts or rates of at least 0, not -2."),
        (
            xn.Hinge(),
            xn.Identity(),
            3.0,
            "y must hold the labels 0 and 1, or −1 and 1, not 0 and 3.",
        ),
        (
            xn.Quantile([0.1, 0.5]),
            xn.Identity(),
            1.0,
            "one for each of the 3 outputs of the network",
        ),
        (xn.BCEWithLogits([1, 2]), xn.Identity(), 1.0, "hold one for each of the 3 outputs"),
    ],
    ids=lambda value: repr(value) if isinstance(value, xn.Loss) else None,
)
def test_outputs_and_targets_that_a_loss_cannot_take_are_told(backend, loss, last, y, sentence):
    x, y = arr(backend, np.eye(4)), arr(backend, np.full((4, 3), y))
    first = xn.Linear(4, 3, weight_init=xn.HeNormal())
    net = xn.Sequential(first, last)
    how = {"loss": loss, "optimizer": xn.SGD(), "epochs": 1, "seed": 0}
    raises(ValueError, sentence, lambda: xn.fit(net, x, y, **how))


def test_what_rprop_may_not_be_given_is_named():
    raises(TypeError, "etas must be a pair of numbers, not 0.5.", lambda: xn.Rprop(etas=0.5))
    raises(
        ValueError,
        "etas must be one below 1 and one above, not (1.2, 0.5).",
        lambda: xn.Rprop(etas=(1.2, 0.5)),
    )
    raises(ValueError, "etas[0] must be", lambda: xn.Rprop(etas=(0, 1.2)))
    raises(ValueError, "step_sizes[1] must be", lambda: xn.Rprop(step_sizes=(1e-6, INF)))
    raises(
        ValueError,
        "step_sizes must be the least and the greatest, not (1.0, 0.1).",
        lambda: xn.Rprop(step_sizes=(1, 0.1)),
    )
    raises(
        TypeError,
        "lr must be a number, or one a member, not the schedule CosineDecay",
        lambda: xn.Rprop(lr=xn.CosineDecay(0.1, 5)),
    )


def test_a_switch_that_is_no_bool_is_named():
    # "False" from a configuration file would count as true.
    for make, name in ((xn.SGD, "nesterov"), (xn.Adam, "amsgrad"), (xn.RMSprop, "centered"),
                       (xn.AdaGrad, "maximize")):  # fmt: skip
        raises(
            TypeError,
            f"{name} must be True or False, not 'False'.",
            lambda m=make, n=name: m(**{n: "False"}),
        )


def test_numbers_of_the_members_are_each_checked_and_must_have_their_shape(backend):
    theta = arr(backend, np.zeros((2, 5)))
    raises(
        ValueError,
        (f"lr {AT_LEAST_0}", "-1.0"),
        lambda: xn.Adam(lr=arr(backend, [[0.1], [-1.0]])),
    )
    raises(
        ValueError,
        "lr must be a number or an array of shape (members, 1), not of shape (2,).",
        lambda: xn.Adam(lr=arr(backend, [0.1, 0.2])),
    )
    three = xn.Adam(lr=arr(backend, [[0.1], [0.2], [0.3]]))
    raises(ValueError, ("shape (2, 1) for 2 members", "(3, 1)"), lambda: three.init(theta))
    raises(ValueError, ("a network alone", "(3, 1)"), lambda: three.init(theta[0, ...]))


@pytest.mark.parametrize(
    ("sentence", "error", "call"),
    [
        ("eps must be a finite number of at least 0, not -0.001.",
         ValueError, lambda: xn.BCE(-1e-3)),
        ("eps must be a finite number", TypeError, lambda: xn.BCE("small")),
        ("delta must be a finite number above 0, not 0.", ValueError, lambda: xn.Huber(0)),
        (
            "q must be a finite number of at least 0 and of at most 1, not 2.",
            ValueError,
            lambda: xn.Quantile(2),
        ),
        ("q[1] must be a finite number of at least 0", ValueError, lambda: xn.Quantile([0.1, -1])),
        (
            "pos_weight must be a finite number above 0, not 0.",
            ValueError,
            lambda: xn.BCEWithLogits(0),
        ),
        (
            "label_smoothing must be a finite number of at least 0 and below 1, not 1.",
            ValueError,
            lambda: xn.CrossEntropy(1),
        ),
        ("log_input must be True or False, not 1.", TypeError, lambda: xn.Poisson(1)),
        ("delta must be a finite number above 0, not inf.", ValueError, lambda: xn.Huber(INF)),
        ("negative_slope must be a finite number of at least 0 and of at most 1, not 2.",
         ValueError, lambda: xn.LeakyReLU(2)),
        ("negative_slope", TypeError, lambda: xn.LeakyReLU(None)),
        ("in_features must be a whole number of at least 1, not 0.",
         ValueError, lambda: xn.Linear(0, 2)),
        ("out_features must be a whole number of at least 1, not -3.",
         ValueError, lambda: xn.Linear(2, -3)),
        ("out_features must be a whole number of at least 1, not 2.5.",
         TypeError, lambda: xn.Linear(2, 2.5)),
        ("in_features must be a whole number", TypeError, lambda: xn.Linear(True, 2)),
        ("weight_init must be an initializer such as HeNormal(), not 'zeros'.",
         TypeError, lambda: xn.Linear(2, 2, "zeros")),
        ("bias_init must be an initializer", TypeError, lambda: xn.Linear(2, 2, bias_init=0)),
        ("nonlinearity must be one of linear, identity, sigmoid, tanh, relu, leaky_relu, not "
         "'rellu'; did you mean 'relu'?", ValueError, lambda: xn.KaimingNormal("rellu")),
        ("mode must be one of fan_in, fan_out, not 'fan'",
         ValueError, lambda: xn.KaimingUniform(mode="fan")),
        ("gain must be a finite number above 0, not 0.", ValueError, lambda: xn.XavierNormal(0)),
        ("gain must be a finite number above 0, not nan.",
         ValueError, lambda: xn.XavierUniform(NAN)),
        ("value must be a finite number, not inf.", ValueError, lambda: xn.Constant(INF)),
        ("n must be a whole number of at least 1, not 2.5.",
         TypeError, lambda: xn.datasets.linear(2.5)),
        ("seed must be a whole number of at least 0, not -1.",
         ValueError, lambda: xn.datasets.linear(5, -1)),
        ("seed must be an int of at least 0, a numpy.random.Generator, a RandomState or None, "
         "not 'now'.", TypeError, lambda: xn.datasets.linear(5, "now")),
        ("Sequential needs at least one layer, not none.", ValueError, lambda: xn.Sequential()),
        ("layer 1 must be a layer such as Linear(2, 4), not 'relu'.",
         TypeError, lambda: xn.Sequential(xn.Linear(2, 2), "relu")),
        ("layer 2, <Linear W: (1, 3) b: (1, 1)>, wants 3 features, but the layers before it "
         "give 4.", ValueError,
         lambda: xn.Sequential(xn.Linear(2, 4), xn.Tanh(), xn.Linear(3, 1))),
        ("device must be 'cpu' for backend 'numpy', not 'gpu'.",
         ValueError, lambda: backends.get("numpy", "gpu")),
    ],
)  # fmt: skip
def test_a_bad_description_is_named(sentence, error, call):
    raises(error, sentence, call)


# ---- arrays


def test_arrays_that_do_not_fit_a_network_are_named(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    loss = xn.MSE()

    def both(error, sentence, theta=theta, x=x, y=y):
        raises(error, sentence, lambda: NET.value_and_grad(theta, x, y, loss))

    both(ValueError, "x must have the shape (samples, 2), or (members, …) before it, not (21,); "
         "use x[:, None] for a single feature, x[None, :] for a single sample.",
         x=x[:, 0])  # fmt: skip
    both(ValueError, ("x must have the shape (samples, 2)", "not (21, 1)."), x=x[:, :1])
    both(ValueError, "x must hold at least one sample, not be empty with shape (0, 2).", x=x[:0, :])
    both(ValueError, "y must have the shape (21, 1) of the network's output, not (20, 1).",
         y=y[:20, :])  # fmt: skip
    both(ValueError, ("y must have the shape (21, 1)", "not (21,); use y[:, None]"), y=y[:, 0])
    both(ValueError, ("theta must have the shape (13,) or (members, 13)", "not (12,)."),
         theta=theta[:12])  # fmt: skip
    both(TypeError,
         f"x must have the dtype float32 or float64, not int64; use {cast(backend, 'x', FLOAT)}",
         x=arr(backend, np.zeros((21, 2)), "int64"))  # fmt: skip
    both(TypeError,
         f"x must have the dtype float64 of theta, not float32; use {cast(backend, 'x')}",
         x=arr(backend, np.zeros((21, 2)), "float32"))  # fmt: skip
    both(TypeError, "theta must have the dtype float32 or float64, not int64; use "
         + cast(backend, "theta", FLOAT),
         theta=arr(backend, np.zeros(13), "int64"))  # fmt: skip
    both(TypeError, "x must be an array of numpy, cupy, torch, jax, strict, not list; use "
         "np.asarray(x).", x=[[0, 1]])  # fmt: skip
    both(TypeError, "y must be an array", y=[[0]])
    three = NET.init(0, like=x, members=3)
    both(ValueError, "x must have the shape (21, 2), or (3, 21, 2) for 3 members, not (2, 21, 2).",
         theta=three,
         x=arr(backend, np.zeros((2, 21, 2))))  # fmt: skip
    both(ValueError, ("y must have the shape (21, 1) or (3, 21, 1)", "not (2, 21, 1)."),
         theta=three, y=arr(backend, np.zeros((2, 21, 1))))  # fmt: skip
    raises(TypeError, "loss must be a loss such as BCEWithLogits(), not 'mse'.",
           lambda: NET.value_and_grad(theta, x, y, "mse"))  # fmt: skip
    for weight in (np.ones(20), np.ones((21, 1)), np.ones((2, 21))):
        raises(
            ValueError,
            ("sample_weight must have the shape (21,) of the samples", f"not {weight.shape}."),
            lambda w=weight: NET.value_and_grad(theta, x, y, loss, arr(backend, w)),
        )


def test_arrays_of_another_library_are_named(backend):
    other = _another() if backend.name == "numpy" else backends.get("numpy")
    x, y = xor(backend)
    x2, y2 = xor(other)
    theta = NET.init(0, like=x)
    says = f"is an array of {other.name} but"
    raises(TypeError, f"x {says} theta", lambda: NET(theta, x2))
    raises(TypeError, f"y {says} theta", lambda: NET.value_and_grad(theta, x, y2, xn.MSE()))
    raises(TypeError, f"y {says} x", lambda: fit(x, y2))
    raises(TypeError, f"grad {says} theta",
           lambda: xn.SGD().update(theta, NET.init(0, like=x2), {}))  # fmt: skip
    raises(TypeError, f"y {says} output", lambda: xn.MSE()(y, y2))


def _another():
    library("array_api_strict")
    return backends.get("strict")


def test_arrays_of_another_device_are_named():
    library("array_api_strict")
    here, there = (xor(backends.get("strict", device)) for device in ("cpu", "device1"))
    theta = NET.init(0, like=here[0])
    raises(ValueError, ("x lies on", "device1", "theta on"), lambda: NET(theta, there[0]))
    raises(ValueError, ("y lies on", "but x on", "move them to one device."),
           lambda: fit(here[0], there[1]))  # fmt: skip


def test_named_parameters_that_do_not_fit_are_named(backend):
    x, _ = xor(backend)
    named = NET.unflatten(NET.init(0, like=x))
    rest = {name: array for name, array in named.items() if name != "2.b"}
    raises(ValueError, ("parameters must be named 0.W, 0.b, 2.W, 2.b, not 0.W, 0.b, 2.W."),
           lambda: NET.flatten(rest))  # fmt: skip
    raises(ValueError, "2.b must have the shape (1, 1), not (1, 3).",
           lambda: NET.flatten({**named, "2.b": named["0.b"]}))  # fmt: skip


def test_seeds_and_members_that_are_none_are_named(backend):
    x, _ = xor(backend)
    raises(TypeError, ("seed must be an int", "not 1.5."), lambda: NET.init(1.5, like=x))
    raises(ValueError, "members must be a whole number of at least 1, not 0.",
           lambda: NET.init(0, like=x, members=0))  # fmt: skip
    raises(ValueError, "seed must hold one seed for each of the 3 members, not 2.",
           lambda: NET.init([1, 2], like=x, members=3))  # fmt: skip
    raises(ValueError, "has no parameters to train.",
           lambda: xn.Sequential(xn.Tanh()).init(0, like=x))  # fmt: skip
    raises(TypeError, "like must be an array", lambda: NET.init(0, like="numpy"))


def test_gradients_and_states_that_do_not_fit_are_named(backend):
    x, _ = xor(backend)
    theta = NET.init(0, like=x)
    adam = xn.Adam()
    state = adam.init(theta)
    raises(ValueError, "grad must have the shape (13,) of theta, not (12,).",
           lambda: adam.update(theta, theta[:12], state))  # fmt: skip
    raises(TypeError, ("grad must have the dtype", "float64 of theta, not"),
           lambda: adam.update(theta, arr(backend, np.zeros(13), "float32"), state))  # fmt: skip
    raises(ValueError, "state must hold 'm' for Adam, not 'v', 'step'.",
           lambda: adam.resume(theta, xn.Momentum().init(theta)))  # fmt: skip
    raises(ValueError, ("state['m'] must have the shape (13,)", "not (2, 13)"),
           lambda: adam.resume(theta, adam.init(NET.init(0, like=x, members=2))))  # fmt: skip
    raises(TypeError, "state must be a dict such as init makes, not 3.",
           lambda: adam.resume(theta, 3))  # fmt: skip


# ---- fit


def fit(x, y, **options):
    options = {"loss": xn.BCEWithLogits(), "optimizer": xn.Adam(), "epochs": 1, **options}
    return xn.fit(options.pop("network", NET), x, y, **options)


@pytest.mark.parametrize(
    ("sentence", "error", "options"),
    [
        ("network must be a Sequential, not 'net'.", TypeError, {"network": "net"}),
        ("loss must be a loss such as BCEWithLogits(), not 'bce'.", TypeError, {"loss": "bce"}),
        ("optimizer must be an optimizer such as Adam(), not 'adam'.",
         TypeError, {"optimizer": "adam"}),
        ("epochs must be a whole number of at least 1, not 0.", ValueError, {"epochs": 0}),
        ("epochs must be a whole number of at least 1, not 1.5.", TypeError, {"epochs": 1.5}),
        ("check_every must be a whole number of at least 1, not -1.",
         ValueError, {"check_every": -1}),
        ("acc_goal must be a finite number above 0 and of at most 1, not 1.1.",
         ValueError, {"acc_goal": 1.1}),
        ("acc_goal must be a finite number above 0 and of at most 1, not 0.",
         ValueError, {"acc_goal": 0}),
        ("acc_goal must be a finite number", ValueError, {"acc_goal": NAN}),
        ("acc_goal must be None for MSE(), which has no accuracy, not 0.5.",
         ValueError, {"acc_goal": 0.5, "loss": xn.MSE()}),
        ("batch_size must be at most the 21 samples of x, not 22.",
         ValueError, {"batch_size": 22}),
        ("batch_size must be a whole number of at least 1, not 0.", ValueError, {"batch_size": 0}),
        ("members must be a whole number of at least 1, not 0.", ValueError, {"members": 0}),
        ("seed must be an int", TypeError, {"seed": "x"}),
        ("shuffle_seed must be an int", TypeError, {"shuffle_seed": "x", "batch_size": 3}),
        ("shuffle_seed must be a whole number of at least 0, not -1.",
         ValueError, {"shuffle_seed": -1, "batch_size": 3}),
        ("block must be a whole number of at least 1, not 0.",
         ValueError, {"block": 0, "members": 2}),
        ("theta must be an array", TypeError, {"theta": [0.0] * 13}),
        ("theta must be an array", TypeError, {"theta": [0.0] * 13, "members": 2}),
    ],
)  # fmt: skip
def test_a_bad_argument_of_fit_is_named_before_anything_is_trained(sentence, error, options):
    log = []

    class Told(xn.Callback):
        def start(self, run):
            log.append(run)

    raises(error, sentence, lambda: fit(*xn.datasets.xor(), callbacks=[Told()], **options))
    assert log == []


def test_theta_state_and_members_that_contradict_one_another_are_named(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x, members=2)
    raises(ValueError, "seed must be None where theta is given",
           lambda: fit(x, y, theta=theta, seed=1))  # fmt: skip
    raises(ValueError, "members must be 2, as theta of shape (2, 13) has it, not 3.",
           lambda: fit(x, y, theta=theta, members=3))  # fmt: skip
    raises(ValueError, "members must be None, as theta of shape (13,) has it, a network "
           "alone, not 3.",
           lambda: fit(x, y, theta=theta[0, ...], members=3))  # fmt: skip
    raises(ValueError, "state must hold 'm' for Adam",
           lambda: fit(x, y, theta=theta, state=xn.SGD().init(theta)))  # fmt: skip


def many(array, count):
    return np.tile(array, (count, 1, 1))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"x": 3, "members": 4},
         "x must have the shape (21, 2), or (4, 21, 2) for 4 members, not (3, 21, 2)."),
        ({"x": 3, "theta": 4},
         "x must have the shape (21, 2), or (4, 21, 2) for 4 members, not (3, 21, 2)."),
        ({"x": 3}, "x must have the shape (21, 2) for a network alone, not (3, 21, 2); members=3 "
         "trains one on each."),
        ({"x": 3, "y": 3}, "members=3 trains one on each."),
        ({"x": 3, "y": 4, "members": 3},
         "y must have the shape (21, 1) or (3, 21, 1) of the network's output, not (4, 21, 1)."),
        ({"x": 3, "y": 4, "members": 4}, "x must have the shape (21, 2), or (4, 21, 2)"),
        ({"y": 3, "members": 4}, "y must have the shape (21, 1) or (4, 21, 1)"),
        ({"y": 3, "theta": 4}, "y must have the shape (21, 1) or (4, 21, 1)"),
        ({"y": 3}, "y must have the shape (21, 1) of the network's output, not (3, 21, 1)."),
        ({"weight": 3, "members": 4},
         "sample_weight must have the shape (21,) or (4, 21) of the samples, not (3, 21)."),
        ({"weight": 3}, "sample_weight must have the shape (21,) of the samples, not (3, 21)."),
        ({"seed": [1, 2, 3, 4], "members": 5},
         "seed must hold one seed for each of the 5 members, not 4."),
        ({"theta": 3, "members": 4}, "members must be 3, as theta of shape (3, 13) has it, not 4."),
        ({"theta": 3, "members": 4, "x": 3}, "members must be 3, as theta of shape (3, 13)"),
        ({"theta": 0}, "theta must have the shape (13,) or (members, 13), not (0, 13)."),
        ({"betas": 3, "members": 4}, "betas[1] must be a number, or an array of shape (4, 1) for 4 "
         "members, not an array of shape (3, 1)."),
    ],
)  # fmt: skip
def test_other_members_are_blamed_on_the_argument_that_was_given(backend, given, says):
    x, y = xn.datasets.xor()
    made = {name: given[name] for name in ("seed", "members") if name in given}
    if "theta" in given:
        theta = NET.init(0, like=arr(backend, x), members=max(1, given["theta"]))
        made["theta"] = theta[: given["theta"], :]
    if "weight" in given:
        made["sample_weight"] = arr(backend, np.ones((given["weight"], 21)))
    if "betas" in given:
        made["optimizer"] = xn.Adam(betas=(0.9, arr(backend, np.full((given["betas"], 1), 0.9))))
    data = (arr(backend, many(a, given[n]) if n in given else a) for n, a in (("x", x), ("y", y)))
    raises(ValueError, says, lambda: fit(*data, **made))


def test_a_model_asked_about_data_of_other_members_blames_the_data():
    x, y = xn.datasets.xor()
    raises(ValueError, ("x must have the shape (21, 2), or (4, 21, 2) for 4 members", "not (3, 21"),
           lambda: fit(x, y, members=4).predict(many(x, 3)))  # fmt: skip
    raises(ValueError, "x must have the shape (21, 2) for a network alone, not (3, 21, 2).",
           lambda: fit(x, y).predict(many(x, 3)))  # fmt: skip


def test_seeds_that_are_one_too_many_or_none_at_all_are_named():
    x, y = xn.datasets.xor()
    raises(TypeError, "seed must be one for a network alone (members=None), not a list of 2.",
           lambda: fit(x, y, seed=[1, 2]))  # fmt: skip
    raises(TypeError, ("seed[1] must be an int", "not 'x'."),
           lambda: fit(x, y, seed=[1, "x"], members=2))  # fmt: skip
    raises(TypeError, ("seed must be an int", "not '12'."),
           lambda: fit(x, y, seed="12", members=2))  # fmt: skip
    raises(TypeError, "RandomState or None, or a sequence of them, not an array of shape (2, 1).",
           lambda: fit(x, y, seed=np.asarray([[1], [2]]), members=2))  # fmt: skip


def test_numbers_of_the_members_as_a_list_are_told_what_would_be_right():
    raises(TypeError, "lr must be a finite number of at least 0, or an array of shape (members, "
           "1), not [0.1, 0.2].",
           lambda: xn.SGD(lr=[0.1, 0.2]))  # fmt: skip


def test_what_does_not_fit_the_number_of_networks_or_outputs_is_said(backend):
    x, y = xor(backend)
    rates = xn.SGD(lr=arr(backend, [[0.1], [0.2]]))
    raises(ValueError, "lr must be a number for a network alone (members=None), not an array of "
           "shape (2, 1).", lambda: fit(x, y, optimizer=rates))  # fmt: skip
    raises(ValueError, "lr must be a number, or an array of shape (3, 1) for 3 members, not an "
           "array of shape (2, 1).", lambda: fit(x, y, optimizer=rates, members=3))  # fmt: skip
    raises(ValueError, "loss CrossEntropy() needs an output a class, at least 2, not 1; for two "
           "classes and one output, use BCEWithLogits().",
           lambda: fit(x, y, loss=xn.CrossEntropy()))  # fmt: skip


def test_a_theta_of_another_dtype_than_the_data_is_named(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=backend.asarray(np.zeros(1), "float32"))
    raises(TypeError, "theta must have the dtype", lambda: fit(x, y, theta=theta))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_data_with_nan_or_infinity_is_named(backend, bad):
    x, y = xn.datasets.xor()
    wrong_x, wrong_y, weight = x.copy(), y.copy(), np.ones(21)
    wrong_x[3, 1] = wrong_y[4, 0] = weight[5] = bad
    for name, place, data in (
        ("x", "[3, 1]", (wrong_x, y, None)),
        ("y", "[4, 0]", (x, wrong_y, None)),
        ("sample_weight", "[5]", (x, y, weight)),
    ):
        arrays = [None if a is None else arr(backend, a) for a in data]
        raises(
            ValueError,
            f"{name} must hold finite numbers, but {name}{place} is {bad}.",
            lambda a=arrays: fit(*a[:2], sample_weight=a[2], loss=xn.MSE()),
        )


def test_weights_below_0_or_all_0_are_refused(backend):
    x, y = xor(backend)
    negative = arr(backend, [-1.0] + [1.0] * 20)
    raises(ValueError, "sample_weight must be at least 0 everywhere, not -1.",
           lambda: fit(x, y, sample_weight=negative))  # fmt: skip
    raises(ValueError, "sample_weight must be above 0 for at least one sample.",
           lambda: fit(x, y, sample_weight=arr(backend, np.zeros(21))))  # fmt: skip


@pytest.mark.parametrize("loss", [xn.BCE(), xn.BCEWithLogits()], ids=repr)
def test_labels_beyond_0_and_1_are_named(backend, loss):
    x, y = xn.datasets.xor()
    net = xn.Sequential(xn.Linear(2, 1), xn.Sigmoid() if loss == xn.BCE() else xn.Identity())
    for value, dtype in ((1.5, "float64"), (-1, "int64"), (2, "int64")):
        wrong = y.copy()
        wrong[7, 0] = value
        raises(
            ValueError,
            f"y must hold the labels 0 and 1, or probabilities between them, not {value}",
            lambda w=wrong, d=dtype: fit(
                arr(backend, x), arr(backend, w, d), loss=loss, network=net
            ),
        )
    for dtype in ("bool", "int64", "float32"):  # of any dtype, if they are right
        fit(arr(backend, x), arr(backend, y, dtype), loss=loss, network=net)


def test_bce_on_what_is_no_probability_is_named(backend):
    x, y = xor(backend)
    theta = arr(backend, np.full(3, 2.0))  # outputs from 2 to 6
    bare = xn.Sequential(xn.Linear(2, 1))
    doubled = xn.Sequential(xn.Linear(2, 1), Doubled())  # which is a Sigmoid by descent alone
    for net in (bare, doubled, xn.Sequential(xn.Sigmoid(), doubled)):
        with pytest.raises(ValueError, match=r"needs outputs from 0 to 1.*use BCEWithLogits\(\)"):
            xn.fit(net, x, y, loss=xn.BCE(), optimizer=xn.SGD(), epochs=1, theta=theta)


def test_a_theta_of_another_library_is_said_to_be_that(backend):
    x, y = xor(backend)
    net = xn.Sequential(xn.Linear(2, 1))
    other = xn.backends.get("numpy" if backend.name != "numpy" else "strict")
    theta = other.asarray(np.zeros(3), "float64")
    said = f"theta is an array of {other.name} but x one of {backend.name}; bring them to one"
    with pytest.raises(TypeError, match=said):
        xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, theta=theta)


def test_a_state_that_is_none_of_the_optimizers_is_named_in_a_step_by_hand(backend):
    theta = arr(backend, np.ones(13))
    state = xn.Adam(amsgrad=True).init(theta)
    for optimizer, names in (
        (xn.SGD(), "'m', 'v', 'v_max'"),
        (xn.Momentum(), "'m', 'v_max'"),
        (xn.Adam(), "'v_max'"),
    ):
        raises(ValueError,
               f"which has no {names}; resume takes what it has of it.",
               lambda o=optimizer: o.update(theta, theta, dict(state)))  # fmt: skip
    several = arr(backend, np.ones((2, 13)))
    rates = xn.Adam(lr=arr(backend, [[0.1], [0.2]])).init(several)
    raises(ValueError, "state must be one of Adam, which has no 'lr'",
           lambda: xn.Adam(lr=0.1).update(several, several, rates))  # fmt: skip
    adam = xn.Adam()
    for wrong in (state["v"][:12], arr(backend, np.ones(13), "float32"), arr(backend, 1.0), 0.0):
        raises(ValueError, "state['v'] must have the shape (13,) and the dtype",
               lambda w=wrong: adam.update(theta, theta, {**adam.init(theta), "v": w}))  # fmt: skip
    old = {**adam.init(theta), "step": arr(backend, 1.0)}  # whose moments meant something else
    for take in (lambda: adam.update(theta, theta, old), lambda: adam.resume(theta, old)):
        raises(ValueError, "state['step'] must have the shape () and the dtype", take)


def test_many_values_where_a_number_is_wanted_are_not_all_printed():
    many = [0.1] * 250
    for make in (
        lambda: xn.SGD(lr=many),
        lambda: xn.Adam(betas=many),
        lambda: xn.Adam(betas=(0.9, many)),
        lambda: xn.RMSprop(alpha=np.full((250,), 0.5)),
        lambda: xn.AdaGrad(initial_accumulator_value=many),
        lambda: xn.SGD(dampening=np.full((250, 1), 0.5)),
        lambda: xn.Adam(amsgrad=many),
    ):
        with pytest.raises((TypeError, ValueError)) as info:
            make()
        assert len(str(info.value)) < 200


def test_a_state_of_another_optimizer_is_named_in_a_step_by_hand(backend):
    theta = arr(backend, np.zeros(3))
    state = xn.SGD(momentum=0.9).init(theta)
    with pytest.raises(ValueError, match=r"state must hold 'm' for Adam, as init .* not 'v'"):
        xn.Adam().update(theta, theta, state)


@pytest.mark.parametrize("name", ["shuffle", "every_epoch"])
def test_a_switch_is_true_or_false(backend, name):
    x, y = xor(backend)
    net = xn.Sequential(xn.Linear(2, 1))
    with pytest.raises(TypeError, match=f"{name} must be True or False, not 'no'"):
        xn.fit(net, x, y, loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, seed=1, **{name: "no"})


class Doubled(xn.Sigmoid):
    """Twice a sigmoid."""

    def value(self, xp, x):
        return 2 * super().value(xp, x)


def test_classes_out_of_range_and_rows_that_are_not_one_hot_are_named(backend):
    net = xn.Sequential(xn.Linear(2, 3))
    x, _ = xor(backend)

    def wrong(y, dtype, sentence, error=ValueError):
        raises(
            error,
            sentence,
            lambda: fit(x, arr(backend, y, dtype), network=net, loss=xn.CrossEntropy()),
        )

    classes = np.arange(21) % 3
    onehot = np.eye(3)[classes]
    for value in (3, -1):
        bad = classes.copy()
        bad[4] = value
        low, high = min(value, 0), max(value, 2)
        wrong(bad, "int64", f"y must hold classes from 0 to 2, as many as the network has outputs, "
              f"not {low} to {high}.")  # fmt: skip
    wrong(classes + 1, "int64", "outputs, not 1 to 3; use y - 1.")
    wrong(classes + 2, "int64", "outputs, not 2 to 4; use y - 2.")
    for row in ([0, 0, 0], [1, 1, 0], [0, 2, 0], [1, -1, 1]):
        bad = onehot.copy()
        bad[4] = row
        wrong(bad, "int64", ("y must be one-hot, a single 1 in every row and 0 elsewhere",
                             f"not {row}."))  # fmt: skip
    bad = onehot.copy()
    bad[4] = [0.5, 0.4, 0]
    wrong(bad, "float64", "probabilities that add up to 1 in every row, not [0.5, 0.4, 0.0].")
    wrong(classes[:20], "int64", ("y must hold integer classes of shape (21,)", "(20,)"))
    wrong(classes, "float64", ("y must hold integer classes of shape (21,)", "(21,)"))
    wrong(onehot[:, :2], "float64", ("be one-hot of shape (21, 3)", "(21, 2)"))


NAMES = np.array(["b", "a"])[np.arange(21) % 2]


@pytest.mark.parametrize(
    ("names", "cure"),
    [
        (np.array(["b", "a"])[np.arange(21) % 2], "np.unique(y, return_inverse=True)[1]"),
        (
            np.array(["b", "a"], dtype=object)[np.arange(21) % 2],
            "np.unique(y, return_inverse=True)[1]",
        ),
        ((np.arange(21) % 2).astype(object), 'y.astype("int64")'),
    ],
    ids=["text", "text in objects", "numbers in objects"],
)
def test_labels_of_another_kind_are_told_how_they_become_numbers(names, cure):
    net = xn.Sequential(xn.Linear(2, 2))
    x, _ = xn.datasets.xor()
    raises(TypeError, ("y must hold real numbers", f"; use {cure}."),
           lambda: fit(x, names, network=net, loss=xn.CrossEntropy()))  # fmt: skip
    fit(x, eval(cure, {"np": np, "y": names}), network=net, loss=xn.CrossEntropy())


def test_a_loss_by_itself_checks_its_arrays(backend):
    z = arr(backend, np.zeros((4, 1)))
    raises(ValueError, "output must have the shape (..., samples, outputs), not (4,).",
           lambda: xn.MSE()(z[:, 0], z[:, 0]))  # fmt: skip
    integers = arr(backend, np.zeros((4, 1)), "int64")
    raises(TypeError, "output must be of floats, not", lambda: xn.MSE()(integers, z))
    raises(ValueError, "y must have the shape (4, 1)", lambda: xn.MSE()(z, z[:3, :]))


def test_what_is_no_array_of_numbers_is_named(backend):
    x, y = xor(backend)
    with pytest.raises(TypeError, match="x must be an array, not None"):
        fit(None, y)
    with pytest.raises(TypeError, match="y must be an array, not None"):
        fit(x, None)


def test_callbacks_that_are_none_are_named(backend):
    x, y = xor(backend)
    for wrong in (3, None, print, "bar"):
        raises(TypeError, "callbacks must be a sequence of Callback objects, not ",
               lambda w=wrong: fit(x, y, callbacks=w))  # fmt: skip
    raises(TypeError, "; write [callback].", lambda: fit(x, y, callbacks=xn.Callback()))
    raises(TypeError, "callbacks[1] must be a Callback, not 3.",
           lambda: fit(x, y, callbacks=[xn.Callback(), 3]))  # fmt: skip
    raises(TypeError, "; write Callback().", lambda: fit(x, y, callbacks=[xn.Callback]))


def test_states_that_belong_to_others_are_named(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    with pytest.raises(ValueError, match="state must be one of SGD, which has no 'm'"):
        fit(x, y, theta=theta, state=xn.Adam().init(theta), optimizer=xn.Momentum())
    with pytest.raises(ValueError, match="state must come with the theta that it belongs to"):
        fit(x, y, state=xn.Adam().init(theta))
    with pytest.raises(TypeError, match="state must be a dict such as init makes, not None"):
        xn.Adam().update(theta, theta, None)


# ---- how a value is shown, and a mistake cured


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "'x'"),
        ([1, 2], "[1, 2]"),
        (list(range(250)), "a list of 250"),
        (["a long word in a list"] * 9, "a list of 9"),
        (range(10**9), "a range of 1000000000"),
        ({i: i for i in range(250)}, "a dict of 250"),
        (np.zeros(250), "an array of shape (250,)"),
        (np.float64(2), "np.float64(2.0)"),
        (10**5000, "an int"),
        ("x" * 250, "'" + "x" * 58 + "…"),
        (np.array(1.5), "array(1.5)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_shows_a_value_in_a_few_words(value, text):
    assert checks.shown(value) == text
    assert len(checks.shown(value)) <= checks.SHOWN


@pytest.mark.parametrize(
    "call",
    [
        lambda: xn.Adam(lr=[0.1] * 250),
        lambda: xn.Adam(betas=[0.1] * 250),
        lambda: NET.init(np.arange(250), like=np.zeros(1), members=249),
        lambda: NET.init(list(range(250)), like=np.zeros(1)),
        lambda: NET.init({i: i for i in range(250)}, like=np.zeros(1)),
        lambda: fit(*xn.datasets.xor(), epochs=np.arange(250)),
        lambda: fit(*xn.datasets.xor(), loss=np.arange(250)),
        lambda: fit(*xn.datasets.xor(), network=["layer"] * 250),
        lambda: fit(*xn.datasets.xor(), callbacks=np.arange(250)),
        lambda: xn.Linear(2, list(range(250))),
        lambda: xn.Linear(2, 2, list(range(250))),
        lambda: xn.datasets.linear(np.arange(250)),
        lambda: backends.get(list(range(250))),
        lambda: backends.get("numpy", list(range(250))),
        lambda: xn.Adam().resume(np.zeros(3), list(range(250))),
    ],
)
def test_no_error_prints_hundreds_of_numbers(call):
    with pytest.raises((TypeError, ValueError)) as info:
        call()
    assert len(str(info.value)) < 200
    assert "\n" not in str(info.value)


class Frame:
    """What a data frame has: no dtype of its own, and a way out."""

    shape = (21, 2)

    def to_numpy(self): ...


class Sparse:
    """What a sparse matrix of SciPy has."""

    shape, dtype = (21, 2), np.dtype(float)

    def toarray(self): ...


class Units(np.ndarray):
    """An array that may compute otherwise."""


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ([[0.0, 1.0]], "not list; use np.asarray(x)."),
        (((0.0, 1.0),), "not tuple; use np.asarray(x)."),
        (Frame(), "not Frame; use x.to_numpy()."),
        (Sparse(), "not Sparse; use x.toarray()."),
        ({"x": 1}, "not dict."),
        (np.ndarray, "not type."),
        (np.ma.array([[0.0, 1.0]], mask=[[0, 1]]),
         ("not a masked one: fill in what is masked, x.filled(value), or leave those samples out")),
        (np.zeros((21, 2)).view(Units), "x must be a plain array, not Units; use np.asarray(x)."),
        (np.rec.array(np.zeros((21, 2))), "not recarray; use np.asarray(x)."),
        (np.zeros((21, 2), ">f8"), 'not >f8; use x.astype("float64").'),
        (np.zeros((21, 2), "float16"), 'not float16; use x.astype("float64").'),
        (np.zeros((21, 2), object), 'not object; use x.astype("float64").'),
        (np.zeros((21, 2), "<U3"), 'not <U3; use x.astype("float64").'),
        (np.zeros((21, 2), complex), "not complex128; use x.real."),
        (np.zeros(21, [("a", float), ("b", float)]), "use np.lib.recfunctions.structured_to_"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_array_of_floats_is_told_its_cure(wrong, sentence):
    _, y = xn.datasets.xor()
    theta = np.zeros(13)
    for call in (
        lambda: fit(wrong, y),
        lambda: NET(theta, wrong),
        lambda: NET.value_and_grad(theta, wrong, y, xn.MSE()),
        lambda: xn.Model(NET, theta).predict(wrong),
    ):
        raises(TypeError, ("x must", sentence), call)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_is_refused_since_it_multiplies_otherwise():
    x, y = xn.datasets.xor()
    raises(TypeError, "x must be a plain array, not matrix; use np.asarray(x).",
           lambda: fit(np.matrix(x), y))  # fmt: skip


def test_the_cures_of_real_data_frames_and_sparse_matrices_are_right():
    x, y = xn.datasets.xor()
    expected = fit(x, y, seed=0).theta
    pandas, sparse = library("pandas"), library("scipy").sparse
    raises(TypeError, "use x.to_numpy().", lambda: fit(pandas.DataFrame(x), y))
    raises(TypeError, "use y.to_numpy().", lambda: fit(x, pandas.Series(y[:, 0])))
    raises(TypeError, "use x.toarray().", lambda: fit(sparse.csr_array(x), y))
    for cured in (pandas.DataFrame(x).to_numpy(), sparse.csr_array(x).toarray()):
        np.testing.assert_array_equal(fit(cured, y, seed=0).theta, expected)


def test_an_array_in_a_file_is_trained_on():
    x, y = xn.datasets.xor()
    with tempfile.NamedTemporaryFile() as file:
        mapped = np.memmap(file.name, "float64", "w+", shape=x.shape)
        mapped[:] = x
        np.testing.assert_array_equal(fit(mapped, y, seed=0).theta, fit(x, y, seed=0).theta)


def test_every_cure_of_a_dtype_is_what_the_library_takes(backend):
    x, y = xn.datasets.xor()
    for dtype in ("int64", "bool", "float32"):
        wrong = arr(backend, x, dtype)
        with pytest.raises(TypeError) as info:
            NET(arr(backend, np.zeros(13)), wrong)
        cure = str(info.value).rpartition("; use ")[2].removesuffix(".")
        if dtype == "float32":  # the float64 of the parameters
            assert cast(backend, "x").removesuffix(".") == cure
        names = {"x": wrong, "xp": backend.xp, "torch": library("torch") if "torch" in cure else 0}
        right = eval(cure, names)
        assert backend.dtype_name(right) in ("float32", "float64")
        fit(right, arr(backend, y))


def test_float_classes_and_classes_for_binary_losses_are_told_their_cure(backend):
    x, _ = xor(backend)
    net = xn.Sequential(xn.Linear(2, 3))
    classes = np.arange(21) % 3
    floats = arr(backend, classes, "float64")
    raises(ValueError, ("y must hold integer classes of shape (21,)",
                        f"; use {cast(backend, 'y', 'int64')}"),
           lambda: fit(x, floats, network=net, loss=xn.CrossEntropy()))  # fmt: skip
    column = arr(backend, classes[:, None], "int64")
    raises(ValueError, "of shape (21, 1); use y[..., 0].",
           lambda: fit(x, column, network=net, loss=xn.CrossEntropy()))  # fmt: skip
    ends = xn.Sequential(xn.Linear(2, 3), xn.Sigmoid())
    for network, loss in ((net, xn.BCEWithLogits()), (ends, xn.BCE())):
        raises(ValueError, ("y must have the shape (21, 3) of the network's output, not (21,); for "
               "classes, one a sample, the loss is CrossEntropy()."),
               lambda n=network, o=loss: fit(x, arr(backend, classes, "int64"), network=n, loss=o)
               )  # fmt: skip
    # A regression has no classes, and nothing better to offer.
    raises(ValueError, "not (21,).", lambda: fit(x, floats, network=net, loss=xn.MSE()))


def test_none_is_named_wherever_an_array_is_needed(backend):
    x, y = xor(backend)
    theta, loss = NET.init(0, like=x), xn.MSE()
    state = xn.Adam().init(theta)
    for name, call in (
        ("theta", lambda: NET(None, x)),
        ("x", lambda: NET(theta, None)),
        ("x", lambda: NET.value_and_grad(theta, None, y, loss)),
        ("y", lambda: NET.value_and_grad(theta, x, None, loss)),
        ("theta", lambda: NET.unflatten(None)),
        ("0.W", lambda: NET.flatten({**NET.unflatten(theta), "0.W": None})),
        ("like", lambda: NET.init(0, like=None)),
        ("output", lambda: loss(None, y)),
        ("y", lambda: loss(y, None)),
        ("theta", lambda: xn.Model(NET, None)),
        ("x", lambda: xn.Model(NET, theta)(None)),
        ("theta", lambda: xn.Adam().init(None)),
        ("theta", lambda: xn.Adam().update(None, theta, state)),
        ("grad", lambda: xn.Adam().update(theta, None, state)),
    ):
        raises(TypeError, f"{name} must be an array, not None.", call)


def test_a_theta_that_no_optimizer_can_take_is_named(backend):
    whole = arr(backend, np.zeros(3), "int64")
    raises(TypeError, ("theta must have the dtype", cast(backend, "theta", FLOAT)),
           lambda: xn.Adam().init(whole))  # fmt: skip
    raises(TypeError, "theta must have the dtype", lambda: xn.SGD().update(whole, whole, {}))
    for shape in ((), (1, 2, 3)):
        raises(ValueError, f"theta must have the shape (size,) or (members, size), not {shape}.",
               lambda s=shape: xn.Adam().init(arr(backend, np.zeros(s))))  # fmt: skip
    theta = arr(backend, np.zeros(3))
    single = arr(backend, np.zeros(3), "float32")
    raises(TypeError, "grad must have the dtype float64 of theta, not float32; use "
           + cast(backend, "grad"), lambda: xn.SGD().update(theta, single, {}))  # fmt: skip


def test_parameters_to_flatten_are_a_dict_of_one_dtype_of_floats(backend):
    theta = arr(backend, np.zeros(13))
    named = NET.unflatten(theta)
    raises(TypeError, "parameters must be a dict such as unflatten makes, not an array of shape",
           lambda: NET.flatten(theta))  # fmt: skip
    raises(TypeError, "0.b must have the dtype float64 of 0.W, not float32; use ",
           lambda: NET.flatten({**named, "0.b": arr(backend, np.zeros((1, 3)), "float32")})
           )  # fmt: skip
    raises(TypeError, "2.b must have the dtype float32 or float64, not int64",
           lambda: NET.flatten({**named, "2.b": arr(backend, np.zeros((1, 1)), "int64")})
           )  # fmt: skip
    raises(ValueError, "parameters must be named 0.W, 0.b, 2.W, 2.b, not none.",
           lambda: NET.flatten({}))  # fmt: skip
    raises(ValueError, "has no parameters to train", lambda: xn.Sequential(xn.Tanh()).flatten({}))


@pytest.mark.parametrize("owner", [NET, xn.Model(NET, np.zeros(13))], ids=["network", "model"])
def test_a_layer_that_is_not_there_is_named_with_those_that_are(owner):
    for number in (3, 200, -4):
        raises(IndexError, "the number of a layer must be from 0 to 2, or from -3 to -1, not "
               f"{number}.", lambda n=number: owner[n])  # fmt: skip
    for wrong in ("W", 1.0, None, slice(0, 2)):
        raises(TypeError, ("a layer must be asked for by its number, from 0 to 2", repr(wrong)),
               lambda w=wrong: owner[w])  # fmt: skip
    assert repr(owner[-1]) == repr(owner[np.int64(2)]) == "<Linear W: (1, 3) b: (1, 1)>"


@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("Linear needs out_features, a whole number of at least 1, as in Linear(2, 4).",
         lambda: xn.Linear(2)),
        ("Linear needs in_features, a whole number of at least 1, as in Linear(2, 4).",
         lambda: xn.Linear()),
        ("layer 1 must be a layer such as Linear(2, 4), not <class 'xpnet.layers.activations.Tanh'>"
         "; write Tanh().", lambda: xn.Sequential(xn.Linear(2, 1), xn.Tanh)),
        ("the layers must be given one by one, as in Sequential(*layers).",
         lambda: xn.Sequential([xn.Linear(2, 1)])),
        ("weight_init must be an initializer such as HeNormal(), not <class "
         "'xpnet.initializers.Zeros'>; write Zeros().", lambda: xn.Linear(2, 1, xn.Zeros)),
        ("; write Linear(in_features, out_features).", lambda: xn.Sequential(xn.Linear)),
        ("; write MSE().", lambda: fit(*xn.datasets.xor(), loss=xn.MSE)),
        ("; write Adam().", lambda: fit(*xn.datasets.xor(), optimizer=xn.Adam)),
        ("network must be a Sequential, not 'net'.", lambda: xn.Model("net", np.zeros(3))),
        ("device must be a name such as 'cpu', not 3.", lambda: backends.get("numpy", 3)),
        ("eps must be a finite number of at least 0, not np.True_.", lambda: xn.BCE(np.True_)),
        ("lr must be a finite number of at least 0, not np.complex128(1+0j).",
         lambda: xn.SGD(np.complex128(1))),
        ("write must be a function of a line, such as print, not 'log'.",
         lambda: callbacks.LogLines(write="log")),
        ("path must be a path, not 3.", lambda: callbacks.writable_folder("path", 3)),
    ],
)  # fmt: skip
def test_a_slip_in_a_description_is_told_its_cure(sentence, call):
    raises(TypeError, sentence, call)


# ---- a model that is set


def test_only_another_theta_of_its_kind_is_set_in_a_model(backend):
    x, _ = xor(backend)
    theta = NET.init(0, like=x)
    model = xn.Model(NET, theta)
    makes = "; xpnet.Model(network, theta, loss) makes another model."
    for shape in ((12,), (2, 13), ()):
        raises(ValueError, f"theta must keep the shape (13,), not become {shape}{makes}",
               lambda s=shape: setattr(model, "theta", arr(backend, np.zeros(s))))  # fmt: skip
    raises(TypeError, f"theta must keep the dtype float64, not become float32{makes}",
           lambda: setattr(model, "theta", arr(backend, np.zeros(13), "float32")))  # fmt: skip
    other = backends.get("numpy" if backend.name != "numpy" else "strict")
    raises(TypeError, f"theta is an array of {other.name} but the theta of this model one of",
           lambda: setattr(model, "theta", other.asarray(np.zeros(13), "float64")))  # fmt: skip
    for wrong in (None, "zeros", [0.0] * 13):
        raises(TypeError, "theta must be an array", lambda w=wrong: setattr(model, "theta", w))
    for bad in (NAN, INF):
        values = np.zeros(13)
        values[4] = bad
        raises(ValueError, f"theta must hold finite numbers, but theta[4] is {bad}.",
               lambda v=values: setattr(model, "theta", arr(backend, v)))  # fmt: skip
    assert model.theta is theta
    model.theta = arr(backend, np.ones(13))
    assert_equal(backend, model(x), host(backend, NET(arr(backend, np.ones(13)), x)))


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ("text", TypeError, "W must be an array of real numbers, not of <U4, as 'text' is."),
        ([["1", "2"]] * 3, TypeError, "W must be an array of real numbers, not of <U1"),
        (None, TypeError, "W must be an array of real numbers, not of object, as None is."),
        ([[1j, 0]] * 3, TypeError, "W must be an array of real numbers, not of complex128"),
        ([[1, 2], [3]], TypeError, "W must be an array of real numbers, not [[1, 2], [3]]."),
        ([[1, 2], [3, NAN], [5, 6]], ValueError, "W must hold finite numbers, but W[1, 1] is nan."),
        (np.full((3, 2), -INF), ValueError, "W must hold finite numbers, but W[0, 0] is -inf."),
        (np.ma.array(np.ones((3, 2))), TypeError, "W must be a plain array, not a masked one"),
        (Sparse(), TypeError, "not Sparse; use W.toarray()."),
        (1.0, ValueError, "W must have the shape (3, 2), not ()."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_finite_parameter_is_not_set(backend, wrong, error, sentence):
    model = xn.Model(NET, arr(backend, np.arange(13.0)))
    raises(error, sentence, lambda: setattr(model[0], "W", wrong))
    assert_equal(backend, model.theta, np.arange(13.0))


def test_a_parameter_that_overflows_on_its_way_is_not_set(backend):
    model = xn.Model(NET, arr(backend, np.arange(13.0), "float32"))
    raises(ValueError, "W must hold finite numbers, but W[0, 0] is inf.",
           lambda: setattr(model[0], "W", np.full((3, 2), 1e300)))  # fmt: skip


# ---- arrays that a library has besides plain ones


def test_jax_may_trace_all_but_fit():
    jax = library("jax")
    jnp = jax.numpy
    x, y = (jnp.asarray(a) for a in xn.datasets.xor())
    theta, loss, adam = NET.init(0, like=x), xn.MSE(), xn.Adam()
    said = ("must hold values, not be traced: fit looks at them", "value_and_grad")
    for name, call in (
        ("x", lambda a: fit(a, y, loss=loss)),
        ("y", lambda a: fit(x, a, loss=loss)),
    ):
        raises(TypeError, (f"{name} {said[0]}", said[1]),
               lambda c=call, n=name: jax.jit(lambda a: c(a).theta)({"x": x, "y": y}[n])
               )  # fmt: skip
    raises(TypeError, said, lambda: jax.grad(lambda t: fit(x, y, theta=t).theta.sum())(theta))
    raises(TypeError, said, lambda: jax.vmap(lambda a: fit(a, y).theta)(jnp.stack([x, x])))

    def step(theta, state):
        value, grad = NET.value_and_grad(theta, x, y, loss)
        model = xn.Model(NET, theta)
        model.theta = theta * 2  # whose values nobody can look at yet
        model[0].W += 1
        return *adam.update(theta, grad, state), value, NET(theta, x), model.theta

    for traced, plain in zip(
        jax.tree.leaves(jax.jit(step)(theta, adam.init(theta))),
        jax.tree.leaves(step(theta, adam.init(theta))),
        strict=True,
    ):
        # A fused operation rounds otherwise: some thirty operations on numbers up to 10.
        np.testing.assert_allclose(traced, plain, rtol=0, atol=300 * 2.0**-52)


def test_what_jax_has_besides_arrays_is_named():
    jax = library("jax")
    x, y = (jax.numpy.asarray(a) for a in xn.datasets.xor())
    sparse = library("jax.experimental.sparse")
    raises(TypeError, "use x.todense().", lambda: fit(sparse.BCOO.fromdense(x), y))
    shape = jax.ShapeDtypeStruct((21, 2), x.dtype)
    raises(TypeError, "x must be an array of values, not ShapeDtypeStruct.", lambda: fit(shape, y))
    raises(TypeError, "x must hold numbers, not key<", lambda: fit(jax.random.key(0), y))
    gone = x + 1
    gone.delete()
    raises(TypeError, "x must hold values, not be deleted", lambda: fit(gone, y))


def test_tensors_of_torch_that_are_not_dense_or_have_no_values_are_named():
    torch = library("torch")
    x, y = (torch.as_tensor(a) for a in xn.datasets.xor())
    theta = NET.init(0, like=x)
    for name, call in (
        ("x", lambda a: fit(a, y)),
        ("x", lambda a: NET(theta, a)),
        ("y", lambda a: NET.value_and_grad(theta, x, a, xn.MSE())),
        ("sample_weight", lambda a: fit(x, y, sample_weight=a)),
        ("W", lambda a: setattr(xn.Model(NET, theta)[0], "W", a)),
    ):
        raises(TypeError, f"{name} must be a dense tensor, not sparse_coo; use {name}.to_dense().",
               lambda c=call: c(x.to_sparse()))  # fmt: skip
        raises(TypeError, (f"{name} must hold values, not lie on the device 'meta'", "='cpu'."),
               lambda c=call: c(torch.empty_like(x, device="meta")))  # fmt: skip


def test_what_torch_would_differentiate_as_a_constant_is_refused():
    torch = library("torch")
    x, y = (torch.as_tensor(a) for a in xn.datasets.xor())
    theta = NET.init(0, like=x)
    said = "theta must not be differentiated by torch.func, to which a network of xpnet is a const"
    for call in (
        lambda: torch.func.grad(lambda t: NET(t, x).sum())(theta),
        lambda: torch.func.grad(lambda t: NET.value_and_grad(t, x, y, xn.MSE())[0])(theta),
        lambda: torch.func.jacrev(lambda t: NET(t, x))(theta),
        lambda: torch.func.grad(lambda t: NET(2 * t, x).sum())(theta),
        lambda: torch.func.hessian(lambda t: NET(t, x).sum())(theta),
        lambda: torch.func.vmap(torch.func.grad(lambda t: NET(t, x).sum()))(theta[None]),
    ):
        raises(TypeError, said, call)
    raises(TypeError, "x must not be differentiated",
           lambda: torch.func.grad(lambda a: NET(theta, a).sum())(x))  # fmt: skip
    raises(TypeError, "x must hold values, not be traced",
           lambda: torch.func.vmap(lambda a: fit(a, y).theta)(x[None]))  # fmt: skip
    # Tensors that ask for autograd are taken: nothing comes back that would answer it.
    for asks in (theta.clone().requires_grad_(), torch.nn.Parameter(theta)):
        assert torch.equal(NET(asks, x), NET(theta, x))
        assert not NET(asks, x).requires_grad
        trained = fit(x, y, theta=asks).theta
        assert torch.equal(trained, fit(x, y, theta=theta).theta)
        assert not trained.requires_grad


def test_torch_differentiates_a_network_forward():
    torch = library("torch")
    x, y = (torch.as_tensor(a) for a in xn.datasets.xor())
    theta, loss = NET.init(0, like=x), xn.MSE()
    grad = NET.value_and_grad(theta, x, y, loss)[1]
    along = torch.linspace(-1, 1, 13, dtype=x.dtype)
    tangent = torch.func.jvp(lambda t: NET.value_and_grad(t, x, y, loss)[0], (theta,), (along,))[1]
    # 13 parameters, each summed over 21 samples through ten operations, on numbers up to 10.
    torch.testing.assert_close(tangent, grad @ along, rtol=0, atol=13 * 21 * 10 * 10 * 2.0**-52)
    rows = torch.func.jacfwd(lambda t: NET.value_and_grad(t, x, y, loss)[0])(theta)
    torch.testing.assert_close(rows, grad, rtol=0, atol=21 * 10 * 10 * 2.0**-52)


def test_torch_maps_a_network_over_parameters_as_members_do():
    torch = library("torch")
    x = torch.as_tensor(xn.datasets.xor()[0])
    theta = NET.init(0, like=x, members=3)
    mapped = torch.func.vmap(lambda t: NET(t, x))(theta)
    # Products of two and three numbers, in whichever order, and a tanh.
    torch.testing.assert_close(mapped, NET(theta, x), rtol=0, atol=32 * 2.0**-52)


@pytest.mark.parametrize("loss", [xn.BCE(), xn.BCEWithLogits(), xn.CrossEntropy(), xn.MSE(),
                                  xn.Huber()], ids=repr)  # fmt: skip
def test_what_torch_makes_by_default_and_where_is_nothing_to_a_run(loss):
    torch = library("torch")
    x, y = (torch.as_tensor(a).to(torch.float32) for a in xn.datasets.xor())
    outputs = 3 if loss == xn.CrossEntropy() else 1
    target = y if outputs == 1 else y[:, 0].to(torch.int64)
    weight = torch.arange(1, 22)
    ends = [xn.Sigmoid()] if loss == xn.BCE() else []
    net = xn.Sequential(xn.Linear(2, 3), xn.LeakyReLU(), xn.Linear(3, 3), xn.ReLU(),
                        xn.Linear(3, 3), xn.Tanh(), xn.Linear(3, outputs), *ends)  # fmt: skip

    def run():
        made = []
        for optimizer, given, size in (
            (xn.SGD(momentum=0.9, dampening=0.1), None, None),
            (xn.AdaGrad(lr_decay=0.1, initial_accumulator_value=0.1), weight, 5),
            (xn.RMSprop(centered=True), None, None),
            (xn.Adam(amsgrad=True), weight, None),
        ):
            model = xn.fit(net, x, target, loss=loss, optimizer=optimizer, epochs=2, seed=0,
                           sample_weight=given, batch_size=size)  # fmt: skip
            value, grad = net.value_and_grad(model.theta, x, target, loss, given)
            theta, _ = optimizer.update(model.theta, grad, optimizer.init(model.theta))
            made += [model.theta, value, grad, theta, model.predict(x)]
            made += [loss(model(x), target, given)]
            made += [model[0].W]
        return made

    usual = run()
    default = torch.get_default_dtype()
    within = []
    with torch.device("meta"):
        within.append(run())
    torch.set_default_device("meta")
    try:
        within.append(run())
        assert backends.get("torch", "cpu").probe() is None
    finally:
        torch.set_default_device(None)
    for other in (torch.float64, torch.float16):
        torch.set_default_dtype(other)
        try:
            within.append(run())
        finally:
            torch.set_default_dtype(default)
    with torch.inference_mode():
        within.append(run())
    with torch.autocast("cpu"):  # it would round what is multiplied to bfloat16
        within.append(run())
    for made in within:
        for here, there in zip(made, usual, strict=True):
            assert here.device.type == "cpu"
            assert here.dtype == there.dtype
            assert torch.equal(here, there)


# ---- losses and optimizers of somebody's own, which fit tries out before it trains


class OwnLoss(xn.Loss):
    """Half of `MSE`, of which each below it has one thing wrong."""

    def forward(self, xp, output, target, share):
        r = output - target
        return share.mean(xp, 0.5 * r * r), lambda: r * share.each(r.shape[-1])


class DoubleValue(OwnLoss):
    def forward(self, xp, output, target, share):
        value, backprop = super().forward(xp, output, target, share)
        return xp.astype(value, xp.float64), backprop


class DoubleGradient(OwnLoss):
    def forward(self, xp, output, target, share):
        value, backprop = super().forward(xp, output, target, share)
        return value, lambda: xp.astype(backprop(), xp.float64)


class RandomLoss(OwnLoss):
    def forward(self, xp, output, target, share):
        return super().forward(xp, output * float(np.random.random()), target, share)


class ShortLoss(OwnLoss):
    def forward(self, xp, output, target):
        return None


class OwnDescent(xn.Optimizer):
    """Descent, of which each below it has one thing wrong."""

    def init_state(self, xp, theta):
        return {"last": xp.zeros_like(theta)}

    def step(self, xp, theta, grad, state):
        return theta - 0.1 * grad, {**state, "last": grad}


class DoubleTheta(OwnDescent):
    def step(self, xp, theta, grad, state):
        return xp.astype(theta, xp.float64), state


class DoubleState(OwnDescent):
    def step(self, xp, theta, grad, state):
        return theta, {**state, "last": xp.astype(grad, xp.float64)}


class RandomDescent(OwnDescent):
    def step(self, xp, theta, grad, state):
        return theta - float(np.random.random()) * grad, state


class ShortDescent(OwnDescent):
    def step(self, xp, theta, grad):
        return theta


class RandomTransform(xn.Transform):
    def __call__(self, xp, grad):
        return grad * float(np.random.random())


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (DoubleValue, "forward must return a value of the shape .* dtype .*float32, not .*float64"),
        (DoubleGradient, "forward must return a gradient of .* dtype .*float32, not .*float64"),
        (RandomLoss, "RandomLoss: forward must return the same for the same output"),
        (ShortLoss, r"ShortLoss: forward must take \(xp, output, target, share\)"),
        (DoubleTheta, "step must return theta in the shape .* dtype .*float32 .*, not .*float64"),
        (DoubleState, "step must return last in the shape .* dtype .*float32 .*, not .*float64"),
        (RandomDescent, "RandomDescent.*: step must return the same theta for the same gradient"),
        (ShortDescent, r"ShortDescent.*: step must take \(xp, theta, grad, state\)"),
        (RandomTransform, "step must return the same theta for the same gradient"),
    ],
)
def test_a_loss_or_an_optimizer_that_does_other_than_it_says_is_told(backend, part, words):
    x, y = xor(backend, "float32")
    asked = {"loss": OwnLoss(), "optimizer": OwnDescent(), "epochs": 2, "seed": 0}
    xn.fit(NET, x, y, **asked)  # what is right is trained
    if issubclass(part, xn.Transform):
        asked["optimizer"] = xn.SGD(transforms=(part(),))
    else:
        asked["loss" if issubclass(part, xn.Loss) else "optimizer"] = part()
    with pytest.raises((TypeError, ValueError), match=words):
        xn.fit(NET, x, y, **asked)


def test_state_for_a_network_whose_layers_have_none_is_told(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    asked = {"loss": xn.MSE(), "optimizer": xn.SGD(), "epochs": 1, "theta": theta}
    for call in (
        lambda: xn.fit(NET, x, y, **asked, layer_state=x),
        lambda: xn.Model(NET, theta, layer_state=x),
        lambda: NET(theta, x, x),
    ):
        with pytest.raises(ValueError, match=r"state must be None for .* have none, not an array"):
            call()
    xn.fit(NET, x, y, **asked, layer_state={})
