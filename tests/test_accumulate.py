"""Several batches for one update: what a single batch of them all gives, in the memory of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library
from tests.steps import assert_agree, both, problem
from xpnet.training.step import TrainingStep

EPOCHS = 3


def data_of(backend: Any, members: int | None = None, dtype: str = "float64") -> Any:
    rng = np.random.default_rng(7)
    lead = () if members is None else (members,)
    arrays = rng.normal(size=(*lead, 22, 4)), rng.integers(0, 2, (*lead, 22, 1))
    return (*(backend.asarray(a, dtype) for a in arrays), rng.uniform(0.5, 2, 22))


def apart(epochs: int, samples: int, dtype: str = "float64") -> float:
    """How far two orders of the sums of so many samples can lead, at rates up to 0.1."""
    return 100 * epochs * samples * EPS[dtype]


@pytest.mark.slow_on("jax")  # which compiles each number of batches
@pytest.mark.parametrize(("accumulate", "members"), [(2, None), (3, 3), (6, None)])
def test_it_is_a_batch_of_all_of_them(backend: Any, accumulate: int, members: int | None) -> None:
    # 22 samples in batches of 4: the last has 2, and the last step of an epoch is a shorter one.
    x, y, weight = data_of(backend, members)
    net = xn.Sequential(xn.Linear(4, 5), xn.Tanh(), xn.Dropout(0.3), xn.Linear(5, 1))
    how: dict[str, Any] = {
        "loss": xn.BCEWithLogits(), "optimizer": xn.Adam(xn.CosineDecay(0.1, 20)), "seed": 1,
        "epochs": EPOCHS, "members": members, "sample_weight": backend.asarray(weight, "float64"),
    }  # fmt: skip
    size = min(4 * accumulate, 22)
    one = xn.fit(net, x, y, batch_size=size, **how)
    parts = xn.fit(net, x, y, batch_size=4, accumulate=accumulate, **how)
    bound = apart(EPOCHS, 22)
    for name in ("loss", "accuracy"):
        found, wanted = (getattr(m.history, name) for m in (parts, one))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
    np.testing.assert_allclose(
        *(backend.to_host(m.theta) for m in (parts, one)), rtol=0, atol=bound
    )
    # What is counted are updates.
    assert (backend.to_host(parts.state["step"]) == EPOCHS * -(-22 // size)).all()


def test_batch_norm_sees_a_batch_at_a_time_as_in_torch(backend: Any) -> None:
    torch = library("torch")
    x, y, _ = data_of(backend)
    net = xn.Sequential(xn.Linear(4, 5), xn.BatchNorm(5), xn.Tanh(), xn.Linear(5, 1))
    model = xn.fit(
        net, x, y, loss=xn.MSE(), optimizer=xn.SGD(0.1), epochs=EPOCHS, seed=1, batch_size=4,
        accumulate=3, shuffle=False,
    )  # fmt: skip
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
    ).double()
    start = net.init(1, like=np.ones(1))
    with torch.no_grad():
        for parameter, values in zip(
            theirs.parameters(), net.unflatten(start).values(), strict=True
        ):
            parameter.copy_(torch.tensor(values).reshape(parameter.shape))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    inputs, targets = (torch.tensor(np.array(backend.to_host(a))) for a in (x, y))
    for _ in range(EPOCHS):
        for step in (slice(0, 12), slice(12, 22)):
            optimizer.zero_grad()
            whole = list(zip(inputs[step].split(4), targets[step].split(4), strict=True))
            for some, wanted in whole:
                loss = torch.nn.functional.mse_loss(theirs(some), wanted)
                (loss * len(some) / len(inputs[step])).backward()
            optimizer.step()
    bound = apart(EPOCHS, 22)
    wanted = torch.cat([p.detach().ravel() for p in theirs.parameters()]).numpy()
    np.testing.assert_allclose(backend.to_host(model.theta), wanted, rtol=0, atol=bound)
    mean, var = theirs[1].running_mean.numpy(), theirs[1].running_var.numpy()
    for name, values in (("1.mean", mean), ("1.var", var)):
        found = backend.to_host(model.layer_state[name])[0]
        np.testing.assert_allclose(found, values, rtol=0, atol=bound)


@pytest.mark.parametrize("members", [None, 3])
def test_every_runner_accumulates_as_the_plain_loop(backend: Any, members: int | None) -> None:
    net, theta, loss, data = problem(backend, "CrossEntropy", xn.ReLU(), members, "float64")
    step = TrainingStep(backend.xp, net, loss, xn.Adam(clip_norm=0.1), part=5)
    assert_agree(both(backend, step, theta, data, 8), "float64", 8)


def test_threads_and_pieces_accumulate_as_the_plain_loop() -> None:
    rng, loss = np.random.default_rng(1), xn.MSE()
    numpy = xn.backends.get("numpy")
    net, theta, _, data = problem(numpy, "MSE", xn.Tanh(), None, "float64")
    step = TrainingStep(np, net, loss, xn.Adam(), part=5)
    rows = rng.integers(0, 12, (4, 11))
    assert_agree(both(numpy, step, theta, data, 4, rows, threads=3), "float64", 4)
    library("jax")
    backend = xn.backends.get("jax", "cpu")
    net = xn.Sequential(xn.Linear(128, 260), xn.Tanh(), xn.Linear(260, 2))  # as large as is cut
    x, y = (backend.asarray(rng.normal(size=(9, n)), "float64") for n in (128, 2))
    step = TrainingStep(backend.xp, net, loss, xn.SGD(0.01), part=4)
    theta = net.init(0, like=x)
    assert_agree(both(backend, step, theta, (x, y, None), 4), "float64", 4)


def test_a_training_goes_on_as_if_it_had_never_stopped(backend: Any) -> None:
    x, y, _ = data_of(backend)
    net = xn.Sequential(xn.Linear(4, 5), xn.BatchNorm(5), xn.Dropout(0.3), xn.Linear(5, 1))
    how: dict[str, Any] = {
        "loss": xn.BCEWithLogits(), "optimizer": xn.Adam(xn.CosineDecay(0.1, 20)),
        "batch_size": 4, "accumulate": 2, "check_every": 2,
    }  # fmt: skip
    orders = np.random.default_rng(3)
    through = xn.fit(net, x, y, epochs=4, seed=1, shuffle_seed=np.random.default_rng(3), **how)
    half = xn.fit(net, x, y, epochs=2, seed=1, shuffle_seed=orders, **how)
    rest = xn.fit(
        net, x, y, epochs=2, theta=half.theta, state=half.state, layer_state=half.layer_state,
        shuffle_seed=orders, **how,
    )  # fmt: skip
    np.testing.assert_array_equal(*(backend.to_host(m.theta) for m in (rest, through)))


@pytest.mark.way("compiled")
def test_a_program_of_many_batches_is_warned_of(backend: Any) -> None:
    x, y, _ = data_of(backend)
    net = xn.Sequential(xn.Linear(4, 1))
    how: dict[str, Any] = {"loss": xn.MSE(), "optimizer": xn.SGD(), "epochs": 1, "seed": 0}
    with pytest.warns(RuntimeWarning, match="accumulate=9 makes one program of 9 batches") as told:
        xn.fit(net, x[:9], y[:9], batch_size=1, accumulate=9, **how)
    assert told[0].filename == __file__
    xn.fit(net, x[:8], y[:8], batch_size=1, accumulate=8, **how)  # a warning would be an error


class Whole(xn.MSE):
    """A loss of somebody's own, which may look across the samples."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 2}, "accumulate must be at most 1, the number of batches of an epoch, not "
                            "2; it wants a batch_size."),
        ({"accumulate": 7, "batch_size": 4}, "accumulate must be at most 6, the number of batches "
                                             "of an epoch, not 7."),
        ({"accumulate": 0, "batch_size": 4}, "accumulate must be a whole number of at least 1"),
        ({"accumulate": 2, "batch_size": 4, "loss": Whole()}, "which does not declare itself samp"),
        ({"accumulate": 3, "batch_size": 7, "net": xn.Sequential(xn.BatchNorm(4), xn.Linear(4, 1))},
         "at least 2 samples for BatchNorm"),
    ],
)  # fmt: skip
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    x, y, _ = data_of(xn.backends.get("numpy"))
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(), "epochs": 1, "seed": 0, **options}
    net = how.pop("net", xn.Sequential(xn.Linear(4, 1)))
    with pytest.raises(ValueError) as told:
        xn.fit(net, x, y, **how)
    assert message in str(told.value)
