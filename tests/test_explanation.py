"""`explain`: what it says of a training is what `fit` does."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import arr, assert_equal, xor
from xpnet.backends.numpy.threads import can_hold_blas
from xpnet.training.asked import Asked

NET = xn.Sequential(xn.Linear(2, 3), xn.Tanh(), xn.Linear(3, 1))


def explained(x, y, net=NET, **options):
    options = {"loss": xn.BCEWithLogits(), "optimizer": xn.Adam(), **options}
    return xn.explain(net, x, y, **options)


def test_fit_and_explain_ask_by_the_same_names_and_defaults():
    asked = {
        field.name: inspect.Parameter.empty if field.default is MISSING else field.default
        for field in fields(Asked)
    }
    fit, explain = (
        {name: p.default for name, p in inspect.signature(f).parameters.items()}
        for f in (xn.fit, xn.explain)
    )
    # When, from where, where else, and who is told; of epochs the number alone.
    del asked["epochs"], explain["epochs"]
    run = {"epochs", "check_every", "callbacks", "epoch_checking", "resume", "client", "keep"} | {
        "comm"
    }
    assert asked == {name: default for name, default in fit.items() if name not in run}
    assert explain == {name: asked[name] for name in explain}


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("members", [None, 7])
def test_each_library_has_its_way(backend, members, batch_size):
    said = explained(*xor(backend), members=members, batch_size=batch_size)
    assert said.way == backend.way
    assert (said.calls > 0) == (said.nbytes > 0) == (said.way == "recorded")
    assert ("def run(" in said.program) == (said.way == "recorded")
    assert bool(said.why) == (said.way == "plain")
    assert (said.members, said.block, said.blocks) == (members, members or 1, 1)
    assert said.library.startswith(f"{backend.name} on ")
    assert ("7 members in 1 block." in str(said)) == (members == 7)
    assert said.why in str(said)


def test_blocks_and_threads_are_those_of_the_run(backend):
    x, y = xor(backend)
    seen = []

    class Look(xn.Callback):
        def start(self, run):
            seen.append([block.carry["theta"].shape[0] for block in run._loop.population.blocks])

    said = explained(x, y, members=10, block=3, threads=2)
    xn.fit(NET, x, y, loss=xn.BCEWithLogits(), optimizer=xn.Adam(), epochs=1, seed=0, members=10,
           block=3, threads=2, callbacks=[Look()])  # fmt: skip
    assert said.blocks == len(seen[0])
    assert said.block == seen[0][0]
    assert said.threads == backend.workers(2)
    assert f"10 members in {said.blocks} blocks, {said.block} at once." in str(said)


def test_a_large_step_on_numpy_is_on_several_threads():
    x, y = np.zeros((2048, 64), "float32"), np.zeros(2048, "int64")
    wide = xn.Sequential(xn.Linear(64, 512), xn.ReLU(), xn.Linear(512, 10))
    for threads in (1, 2):
        said = explained(x, y, wide, loss=xn.CrossEntropy(), threads=threads)
        assert said.way == "recorded"
        assert said.threads == threads or not can_hold_blas()


def test_layer_state_is_given_where_it_is_not_taken_of_x(tmp_path):
    x, y = xn.datasets.xor()
    np.save(tmp_path / "x.npy", x)
    net = xn.Sequential(xn.Standardize(2), *NET.layers)
    given = {"theta": net.init(0, like=x), "layer_state": net.init_state(like=x, x=x)}
    found = explained(tmp_path / "x.npy", y, net, batch_size=4, **given)
    wanted = explained(x, y, net, batch_size=4)
    assert (found.way, found.calls, found.block) == (wanted.way, wanted.calls, wanted.block)


@pytest.mark.way("recorded")
def test_why_a_step_is_not_recorded(backend):
    class Asks(xn.Identity):
        def forward(self, xp, params, x):
            if float(x[..., 0, 0]) > 1e9:
                raise ValueError
            return x, lambda dy, need_dx: (dy, ())

    said = explained(*xor(backend), xn.Sequential(*NET.layers, Asks()))
    assert said.way == "plain"
    assert "Asks.forward" in said.why


def test_nothing_is_trained_and_nothing_is_drawn(backend):
    x, y = xor(backend)
    theta = NET.init(0, like=x)
    before = np.array(backend.to_host(theta))
    state = np.random.get_state()[1].copy()
    explained(x, y, theta=theta, batch_size=4)
    assert_equal(backend, theta, before)
    assert (np.random.get_state()[1] == state).all()


def test_a_mistake_is_told_as_by_fit(backend):
    x, y = xor(backend)
    for call in (explained, lambda x, y: xn.fit(NET, x, y, loss=xn.BCEWithLogits(),
                                                optimizer=xn.Adam(), epochs=1)):  # fmt: skip
        with pytest.raises(ValueError, match=r"y must have the shape \(21, 1\)"):
            call(x, arr(backend, np.zeros((20, 1))))
