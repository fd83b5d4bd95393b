"""What `xpnet.testing` asks of somebody's own parts: ours pass, and each mistake is found."""

from __future__ import annotations

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import LAYERS, library
from xpnet.testing import check_layer, check_loss, check_optimizer
from xpnet.testing.layers import FEATURES

IDS = np.array([[0, 1, 2, 3], [4, 4, 4, 4], [1, 0, 3, 2]])
OURS = {
    **LAYERS,
    "Dropout": xn.Dropout(0.3),
    "BatchNorm": xn.BatchNorm(4),
    "Residual, of a state": xn.Residual(xn.BatchNorm(4)),
}

P = np.array([[0.1, 0.9], [0.5, 0.25], [0.75, 0.99]])
LABELS = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
LOSSES = {
    "BCE": (xn.BCE(), P, LABELS),
    "BCE of probabilities": (xn.BCE(0.0), P, P[::-1]),
    "BCEWithLogits": (xn.BCEWithLogits(),),
    "BCEWithLogits of probabilities": (xn.BCEWithLogits(), 5 * P, P),
    "CrossEntropy": (xn.CrossEntropy(),),
    "CrossEntropy of classes": (xn.CrossEntropy(), 5 * P, np.array([1, 0, 1])),
    "MSE": (xn.MSE(),),
    "Huber": (xn.Huber(0.3),),
    "BCEWithLogits, weighed": (xn.BCEWithLogits(2.0),),
    "CrossEntropy, smoothed": (xn.CrossEntropy(0.1),),
    "L1": (xn.L1(),),
    "Quantile": (xn.Quantile(0.2),),
    "Poisson": (xn.Poisson(full=True), 5 * P, 10 * P[::-1]),
    "Hinge": (xn.Hinge(),),
    "KL": (xn.KL(), np.log(P / 2), P[::-1]),
}
OPTIMIZERS = [
    xn.SGD(lr=0.1, weight_decay=0.01),
    xn.Momentum(lr=0.1, dampening=0.5),
    xn.Momentum(lr=0.1, nesterov=True, maximize=True),
    xn.AdaGrad(lr_decay=0.1),
    xn.RMSprop(centered=True, momentum=0.5),
    xn.Adam(amsgrad=True),
    xn.AdamW(),
    xn.Adadelta(weight_decay=0.01),
    xn.Adamax(),
    xn.NAdam(weight_decay=0.01, decoupled_weight_decay=True),
    xn.RAdam(betas=(0.9, 0.9)),
    xn.Rprop(),
    xn.Lion(weight_decay=0.01),
    xn.SGD(ema_decay=0.9),
    xn.AdamW(weight_decay=0.1, decayed="weights", clip_norm=0.5),
]


def on(backend):
    """What `check_layer` calls the library and the device."""
    return [f"strict:{backend.describe()}" if backend.name == "strict" else backend.name]


# ---- ours


@pytest.mark.slow_on("jax", "strict", "strict:device1")
@pytest.mark.parametrize("name", OURS)
def test_every_layer_passes(backend, name):
    check_layer(OURS[name], IDS if name == "Embedding" else None, backends=on(backend))


@pytest.mark.slow_on("jax", "strict", "strict:device1")
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_passes(backend, name):
    check_loss(*LOSSES[name], backends=on(backend))


@pytest.mark.slow_on("jax", "strict", "strict:device1")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer_passes(backend, optimizer):
    check_optimizer(optimizer, backends=on(backend))


@pytest.mark.installed
def test_by_default_every_library_that_works_here_is_asked(monkeypatch):
    from xpnet.testing import common

    found = [backend.name for backend in common.libraries(None)]
    there = [name for name, answer in xn.backends.available().items() if answer]
    assert sorted(found) == sorted(there)
    assert found[0] == "numpy"


# ---- layers with a mistake


class Scale(xn.Layer):
    """Right: ``y = w x``. Each below it has one thing wrong."""

    def parameters(self):
        return {"w": (1, FEATURES)}

    def draw(self, rng):
        return [np.ones((1, FEATURES))]

    def forward(self, xp, params, x):
        (w,) = params

        def backprop(dy, need_dx=True):
            return dy * w, (xp.sum(dy * x, axis=-2, keepdims=True),)

        return x * w, backprop

    def apply(self, xp, params, x):
        return x * params[0]


class WrongParameter(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)

        def wrong(dy, need_dx=True):
            dx, (dw,) = backprop(dy, need_dx)
            return dx, (dw * 1.001,)

        return y, wrong


class WrongInput(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)
        return y, lambda dy, need_dx=True: (dy, backprop(dy)[1])


class TooFew(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)
        return y, lambda dy, need_dx=True: (backprop(dy)[0], ())


class OtherShape(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)
        return y, lambda dy, need_dx=True: (backprop(dy)[0], (xp.sum(dy * x, axis=-2),))


class NeedsDx(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)

        def wrong(dy, need_dx=True):
            dx, (dw,) = backprop(dy)
            return dx, (dw if need_dx else 2 * dw,)

        return y, wrong


class OtherApply(Scale):
    def apply(self, xp, params, x):
        return x * params[0] + 1


class MixesMembers(xn.Layer):
    """Of one network alone it is right."""

    def forward(self, xp, params, x):
        return x - xp.mean(x), lambda dy, need_dx=True: (dy - xp.mean(dy), ())

    def apply(self, xp, params, x):
        return x - xp.mean(x)


class AcrossSamples(xn.Layer):
    """Right."""

    def apply(self, xp, params, x):
        return x - xp.mean(x, axis=-2, keepdims=True)

    def forward(self, xp, params, x):
        return self.apply(xp, params, x), lambda dy, need_dx=True: (self.apply(xp, (), dy), ())


class Apart(AcrossSamples):
    samplewise = True


class NoDraws(xn.Layer):
    """It has the form of a layer that draws, and does not say so."""

    def forward(self, xp, params, x, state, noise):
        return x, lambda dy, need_dx=True: (dy, ()), ()

    def apply(self, xp, params, x, state):
        return x


class Wide(xn.Layer):
    def forward(self, xp, params, x):
        return xp.astype(x, xp.float64), lambda dy, need_dx=True: (dy, ())

    def apply(self, xp, params, x):
        return self.forward(xp, params, x)[0]


class ByLibrary(xn.Layer):
    def forward(self, xp, params, x):
        factor = 1.0 if "numpy" in xp.__name__ else 2.0
        return x * factor, lambda dy, need_dx=True: (dy * factor, ())

    def apply(self, xp, params, x):
        return self.forward(xp, params, x)[0]


class Looks(Scale):
    def forward(self, xp, params, x):
        assert float(xp.sum(x)) < 1e9
        return super().forward(xp, params, x)


class OtherRecorded(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)
        return (y * 2 if hasattr(x, "tape") else y), backprop


class Counts(Scale):
    def __init__(self):
        self.count = 0

    def forward(self, xp, params, x):
        self.count += 1
        return super().forward(xp, params, x)


class Throws(Scale):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def apply(self, xp, params, x):
        return x * params[0] * (1 + 1e-10 * self.rng.random())


class Random(Scale):
    def forward(self, xp, params, x):
        y, backprop = super().forward(xp, params, x)
        return y + float(np.random.random()), backprop


class Writes(Scale):
    def forward(self, xp, params, x):
        (w,) = params
        before = x * 1.0
        x *= w
        return x, lambda dy, need_dx=True: (dy * w, (xp.sum(dy * before, axis=-2, keepdims=True),))


class Running(xn.Layer):
    """A layer with state whose members are not told apart."""

    def state(self):
        return {"mean": (1, FEATURES)}

    def initial_state(self):
        return [np.zeros((1, FEATURES))]

    def forward(self, xp, params, x, state, noise):
        new = xp.mean(state[0] + 0 * x, axis=(-2, -1), keepdims=True) + 0 * state[0]
        new = new if len(new.shape) == 2 else new + 0 * xp.sum(new) + xp.sum(new, axis=0)
        return x, lambda dy, need_dx=True: (dy, ()), (new,)

    def apply(self, xp, params, x, state):
        return x - state[0]


class NoNoise(Scale):
    def state(self):
        return {"n": (1, 1)}

    def initial_state(self):
        return [np.zeros((1, 1))]

    def forward(self, xp, params, x, state, noise):
        mask = noise.bernoulli(xp, 0.5, x)
        y, backprop = super().forward(xp, params, xp.where(mask, x, 0.0))
        return y, backprop, state

    def apply(self, xp, params, x, state):
        return x * params[0]


WRONG_LAYERS = {
    "a gradient of a parameter": (
        WrongParameter, "WrongParameter: dw of backprop must give .* as a central difference doe",
    ),
    "a gradient of the input": (WrongInput, "WrongInput: dx of backprop must give"),
    "a gradient too few": (TooFew, "backprop must return a tuple of 1 gradients"),
    "a shape": (OtherShape, r"must return a gradient of the shape \(1, 4\) for 'w'"),
    "a gradient without need_dx": (NeedsDx, "NeedsDx: without need_dx, dw"),
    "an apply": (OtherApply, "OtherApply: apply must return what forward does"),
    "members": (MixesMembers, "MixesMembers: of 3 members with one x, as alone, for member 0"),
    "a dtype": (Wide, "Wide: forward must return an output of the dtype float32 of x, not float64"),
    "samples that are not apart": (Apart, "forward of a part of the samples must be as of all"),
    "a form that is not declared": (NoDraws, "NoDraws: forward must take .* or says draws = True"),
    "values that are looked at": (Looks, "Looks: a step with it must be recorded, which it cannot"),
    "what is recorded": (OtherRecorded, "OtherRecorded: .* after 4 steps that numpy has recorded"),
    "a counter": (Counts, "Counts.count is changed by a training step"),
    "a generator": (Throws, "Throws.rng is changed by a training step"),
    "random numbers": (Random, "Random: its output must be the same twice for the same input"),
    "what is written into": (Writes, "Writes: forward must not write into x"),
    "a state": (Running, "Running: of 3 members with one x, as alone, .* the new state 'mean'"),
    "noise that is not declared": (NoNoise, "NoNoise: a layer that draws random numbers must say"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_LAYERS)
def test_a_mistake_in_a_layer_is_found_and_told(wrong):
    kind, words = WRONG_LAYERS[wrong]
    with pytest.raises(AssertionError, match=words) as told:
        check_layer(kind(), backends=["numpy"])
    assert str(told.value).startswith(kind.__name__)
    assert "\n" not in str(told.value)


def test_a_layer_that_is_right_passes():
    check_layer(Scale(), backends=["numpy"])
    check_layer(AcrossSamples(), backends=["numpy"])
    check_layer(Looks(), backends=["numpy"], recorded=False)


def test_a_layer_that_is_another_on_another_library_is_found():
    library("array_api_strict")
    with pytest.raises(
        AssertionError, match=r"ByLibrary: in float64 strict gives, as its output\["
    ):
        check_layer(ByLibrary(), backends=["numpy", "strict"], recorded=False)


# ---- losses with a mistake


class Square(xn.Loss):
    """Right; each below it has one thing wrong."""

    def forward(self, xp, output, target, share):
        r = output - target
        each = share.each(output.shape[-1])
        return share.mean(xp, r * r), lambda: 2 * r * each


class WrongGradient(Square):
    def forward(self, xp, output, target, share):
        value, backprop = super().forward(xp, output, target, share)
        return value, lambda: backprop() * 1.001


class OwnMean(Square):
    def forward(self, xp, output, target, share):
        r = output - target
        count = output.shape[-1] * output.shape[-2]
        return xp.mean(r * r, axis=(-2, -1)), lambda: 2 * r / count


class NoWeights(Square):
    def forward(self, xp, output, target, share):
        return super().forward(xp, output, target, xn.losses.Share(share.samples))


class OneValue(Square):
    def forward(self, xp, output, target, share):
        value, backprop = super().forward(xp, output, target, share)
        return value[None], backprop


class OneOfAll(Square):
    def forward(self, xp, output, target, share):
        value, backprop = super().forward(xp, output, target, share)
        return value * 0 + xp.mean(value), backprop


class WritesOutput(Square):
    def forward(self, xp, output, target, share):
        output -= target
        return share.mean(xp, output * output), lambda: 2 * output * share.each(output.shape[-1])


class WideLoss(Square):
    def forward(self, xp, output, target, share):
        value, backprop = super().forward(xp, output, target, share)
        return value, lambda: xp.astype(backprop(), xp.float64)


class CountsLosses(Square):
    def __init__(self):
        self.count = 0

    def forward(self, xp, output, target, share):
        self.count += 1
        return super().forward(xp, output, target, share)


class Overrated(Square):
    classifies = True

    def hits(self, xp, output, target):
        return output == output

    def accuracy(self, xp, output, target, share):
        return super().accuracy(xp, output, target, share) * 2

    def probabilities(self, xp, output):
        return output


WRONG_LOSSES = {
    "a gradient": (WrongGradient, "WrongGradient: the gradient must give .* as a central diff"),
    "a mean of its own": (OwnMean, r"OwnMean: as of samples one by one, added up, \(share\.mean"),
    "weights": (NoWeights, "NoWeights: as of samples times their weights, added up,"),
    "a shape": (OneValue, "OneValue: the value must have the shape and dtype"),
    "members": (OneOfAll, "OneOfAll: of 3 members with their own y, as alone, for member 0"),
    "what is written into": (WritesOutput, "WritesOutput: forward must not write into output"),
    "a dtype": (WideLoss, "WideLoss: the gradient must have the shape and dtype .*'float32'"),
    "a counter": (CountsLosses, "CountsLosses.count is changed by a training step"),
    "an accuracy": (Overrated, "Overrated: its accuracy must be from 0 to 1, not 2"),
}


@pytest.mark.parametrize("wrong", WRONG_LOSSES)
def test_a_mistake_in_a_loss_is_found_and_told(wrong):
    kind, words = WRONG_LOSSES[wrong]
    with pytest.raises(AssertionError, match=words) as told:
        check_loss(kind(), backends=["numpy"])
    assert str(told.value).startswith(kind.__name__)


def test_a_loss_that_is_right_passes():
    check_loss(Square(), backends=["numpy"])
    check_loss(OwnMean(), backends=["numpy"], shares=False)


# ---- optimizers with a mistake


class Descends(xn.Optimizer):
    """Right, with a running mean; each below it has one thing wrong."""

    def init_state(self, xp, theta):
        return {"m": xp.zeros_like(theta)}

    def step(self, xp, theta, grad, state):
        m = 0.9 * state["m"] + grad
        return theta - 0.1 * m, {**state, "m": m}


class Forgets(Descends):
    def advance(self, xp, theta, grad, state):
        return self.step(xp, theta, grad, state)


class Loses(Descends):
    def step(self, xp, theta, grad, state):
        theta, state = super().step(xp, theta, grad, state)
        return theta, {"step": state["step"]}


class WritesTheta(Descends):
    def step(self, xp, theta, grad, state):
        theta -= 0.1 * grad
        return theta, state


class OneNorm(Descends):
    def step(self, xp, theta, grad, state):
        return super().step(xp, theta, grad / xp.sqrt(xp.sum(grad * grad)), state)


class WideSteps(Descends):
    def step(self, xp, theta, grad, state):
        theta, state = super().step(xp, theta, grad, state)
        return xp.astype(theta, xp.float64), state


class CountsSteps(Descends):
    def step(self, xp, theta, grad, state):
        object.__setattr__(self, "count", getattr(self, "count", 0) + 1)
        return theta - 0.1 * grad / self.count, state


class NamesStep(Descends):
    def init_state(self, xp, theta):
        return {"step": xp.zeros_like(theta)}


class OtherSteps(Descends):
    def step(self, xp, theta, grad, state):
        return super().step(xp, theta, grad * 2 if hasattr(theta, "tape") else grad, state)


WRONG_OPTIMIZERS = {
    "a count": (Forgets, r"Forgets\(\): state\['step'\] must be 1 after 1 steps, not \[0\]"),
    "a state that is lost": (Loses, r"Loses\(\): .*state must hold 'm'"),
    "what is written into": (WritesTheta, r"WritesTheta\(\): step must not write into theta"),
    "members": (OneNorm, r"OneNorm\(\): of 3 members, as alone, member 0 has theta"),
    "a dtype": (
        WideSteps,
        r"WideSteps\(\): step must return theta in the shape .* float32 .*float64",
    ),
    "a counter": (CountsSteps, r"CountsSteps\(\): "),
    "a name": (NamesStep, "NamesStep.*init_state must not hold 'step'"),
    "what is recorded": (
        OtherSteps,
        r"OtherSteps\(\): theta.* after 4 steps that numpy has recorded",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_OPTIMIZERS)
def test_a_mistake_in_an_optimizer_is_found_and_told(wrong):
    kind, words = WRONG_OPTIMIZERS[wrong]
    with pytest.raises(AssertionError, match=words) as told:
        check_optimizer(kind(), backends=["numpy"])
    assert str(told.value).startswith(kind.__name__)


def test_an_optimizer_that_is_right_passes():
    check_optimizer(Descends(), backends=["numpy"])


# ---- what they are asked for


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_layer(xn.Linear), "layer must be a layer such as Linear"),
        (lambda: check_layer(xn.Tanh(), np.ones(3)), r"x must be of \(samples, features\)"),
        (lambda: check_loss(xn.Adam()), "loss must be a loss such as MSE"),
        (lambda: check_layer(xn.Tanh(), backends="numpy"), r"a list of names, as \['numpy'\]"),
        (lambda: check_optimizer(xn.MSE()), "optimizer must be an optimizer such as Adam"),
        (lambda: check_optimizer(xn.SGD(lr=np.ones((3, 1)))), "optimizer must have plain numbers"),
    ],
)
def test_a_wrong_argument_is_told(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_an_error_of_the_part_itself_is_left_as_it_is():
    class Broken(Scale):
        def apply(self, xp, params, x):
            raise ValueError("out of order")

    with pytest.raises(ValueError, match="out of order"):
        check_layer(Broken(), backends=["numpy"])
