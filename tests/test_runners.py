"""Every runner agrees with the plain loop over the step, to rounding."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import LAYERS, between, library, samples_for
from tests.steps import OPTIMIZERS, assert_agree, both, problem
from xpnet.backends.numpy import threads as numpy_threads
from xpnet.compiler.plain import run_plainly
from xpnet.training.step import TrainingStep, carry_of, state_in

RUN_OTHERWISE = pytest.mark.way("recorded", "compiled")
"""Where a runner is the plain loop, to compare the two says nothing."""


@RUN_OTHERWISE
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_runs_as_in_the_plain_loop(
    backend: Any, optimizer: str, members: int | None
) -> None:
    net, theta, loss, data = problem(backend, "BCE", xn.LeakyReLU(), members, "float64")
    step = TrainingStep(backend.xp, net, loss, OPTIMIZERS[optimizer])
    assert_agree(both(backend, step, theta, data, 8), "float64", 8)


@RUN_OTHERWISE
@pytest.mark.parametrize(  # each loss with and without each; any two of them on some loss
    ("loss", "activation", "members", "batches", "dtype"),
    [
        ("BCE", xn.Tanh(), None, False, "float64"),
        ("BCE", xn.Tanh(), 3, True, "float32"),
        ("BCEWithLogits", xn.Sigmoid(), None, False, "float32"),
        ("BCEWithLogits", xn.Sigmoid(), 3, True, "float64"),
        ("CrossEntropy", xn.ReLU(), None, True, "float64"),
        ("CrossEntropy", xn.ReLU(), 3, False, "float32"),
        ("MSE", xn.Identity(), 3, False, "float64"),
        ("MSE", xn.Identity(), None, True, "float32"),
        ("Huber", xn.LeakyReLU(0.2), None, False, "float64"),
        ("Huber", xn.LeakyReLU(0.2), 3, True, "float32"),
    ],
)
def test_every_loss_and_activation_runs_as_in_the_plain_loop(
    backend: Any, loss: str, activation: Any, members: int | None, batches: bool, dtype: str
) -> None:
    net, theta, criterion, data = problem(backend, loss, activation, members, dtype)
    rows = np.random.default_rng(1).integers(0, 12, (8, 5))
    orders = backend.asarray(rows, "int64") if batches else None
    step = TrainingStep(backend.xp, net, criterion, xn.Adam(lr=1e-2))
    assert_agree(both(backend, step, theta, data, 8, orders), dtype, 8)


@RUN_OTHERWISE
@pytest.mark.parametrize(  # each layer with and without each; the pairs of them by turns
    ("name", "members", "batches"),
    [
        (name, members, batches != i % 2)
        for i, name in enumerate(LAYERS)
        for members, batches in ((None, False), (3, True))
    ],
)
def test_every_layer_runs_as_in_the_plain_loop(
    recording: Any, name: str, batches: bool, members: int | None
) -> None:
    backend, rng = recording, np.random.default_rng(7)
    net = between(LAYERS[name], 1)
    x = backend.asarray(samples_for(net, rng, (12, 4)), "float64")
    y = backend.asarray(rng.normal(size=(12, 1)), "float64")
    theta = net.init(3, like=x, members=members)
    orders = backend.asarray(rng.integers(0, 12, (8, 5)), "int64") if batches else None
    step = TrainingStep(backend.xp, net, xn.MSE(), xn.Momentum(lr=1e-2))
    assert_agree(both(backend, step, theta, (x, y, None), 8, orders), "float64", 8)


@pytest.mark.slow
@pytest.mark.parametrize("members", [None, 1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["CrossEntropy", "BCEWithLogits"])
def test_blocks_in_cache_change_nothing(
    monkeypatch: Any, members: int | None, weighted: bool, loss: str
) -> None:
    """With blocks of 8 bytes every chain of the small network runs block by block."""
    from xpnet.compiler.writers import numpy as numpy_program

    monkeypatch.setattr(numpy_program.NumPyProgram.__init__, "__defaults__", (None, 8))
    backend = xn.backends.get("numpy")
    for activation, optimizer in itertools.product(
        (xn.ReLU(), xn.LeakyReLU(), xn.Tanh()), OPTIMIZERS.values()
    ):
        net, theta, criterion, (x, y, _) = problem(backend, loss, activation, members, "float64")
        weight = np.linspace(0, 1, 12)[:, None] if weighted else None
        step = TrainingStep(np, net, criterion, optimizer)
        assert_agree(both(backend, step, theta, (x, y, weight), 6), "float64", 6)


@RUN_OTHERWISE
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(  # their steps, and the samples of a batch
    "intervals",
    [
        [(4, None), (1, None), (3, None)] * 2,
        [(3, size) for size in (5, 5, 2, 5, 2, 2, 5)],
    ],
    ids=["of three lengths", "of batches of two sizes"],
)
def test_intervals_go_on_from_one_another(backend: Any, threads: int, intervals: Any) -> None:
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), None, "float64")
    step = TrainingStep(backend.xp, net, loss, xn.Adam(lr=1e-2))
    rng = np.random.default_rng(7)
    orders = [
        size and backend.asarray(rng.integers(0, 12, (n, size)), "int64") for n, size in intervals
    ]
    results = []
    with backend.context():
        for run in (partial(run_plainly, backend.xp, step), backend.runner(step, threads)):
            copy = backend.xp.asarray(theta, copy=True)
            carry, losses = carry_of(copy, step.optimizer.init(copy)), []
            for (n, _), rows in zip(intervals, orders, strict=True):
                carry, metrics = run(carry, data, n, rows)
                losses.append(backend.to_host(metrics["loss"]))
            state = {name: backend.to_host(value) for name, value in state_in(carry).items()}
            host = backend.to_host(carry["theta"])
            results.append((host, state, {"loss": np.concatenate(losses)}))
    assert_agree(results, "float64", sum(n for n, _ in intervals))


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_threads_change_nothing_but_the_order_of_sums(optimizer: str, batches: bool) -> None:
    backend = xn.backends.get("numpy")
    net, theta, loss, data = problem(backend, "CrossEntropy", xn.ReLU(), None, "float64")
    rows = np.random.default_rng(1).integers(0, 12, (6, 7)) if batches else None
    step = TrainingStep(np, net, loss, OPTIMIZERS[optimizer])
    results = both(backend, step, theta, data, 6, rows, threads=3)
    assert_agree(results, "float64", 6)
    again = both(backend, step, theta, data, 6, rows, threads=3)
    np.testing.assert_array_equal(results[1][0], again[1][0])


class Spread(xn.Transform):
    """Of a gradient what lies between its least and its greatest, by its length."""

    def __call__(self, xp: Any, grad: Any) -> Any:
        how: Any = {"axis": -1, "keepdims": True}
        low, high = xp.min(grad, **how), xp.max(grad, **how)
        part = (grad - low) / (1 + high - low)
        return part / (1 + xp.sqrt(xp.sum(part * part, **how)))


class Mean(xn.Transform):
    """Of a gradient what is beside its mean."""

    def __call__(self, xp: Any, grad: Any) -> Any:
        return grad - xp.mean(grad, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("optimizer", "threads"),
    [
        (xn.Adam(clip_norm=0.1), 3),
        (xn.SGD(transforms=(xn.ClipNorm(0.2), xn.ClipNorm(0.1))), 3),
        (xn.SGD(transforms=(Spread(),)), 3),
        (xn.SGD(transforms=(Mean(),)), 1),  # of a share it is another
    ],
)
def test_what_is_reduced_over_all_parameters_is_reduced_share_by_share(
    optimizer: Any, threads: int
) -> None:
    backend = xn.backends.get("numpy")
    net, theta, loss, data = problem(backend, "CrossEntropy", xn.ReLU(), None, "float64")
    step = TrainingStep(np, net, loss, optimizer)
    runner = backend.runner(step, threads=3)
    assert runner.prepared(carry_of(theta, optimizer.init(theta)), data).threads == threads
    results = both(backend, step, theta, data, 6, threads=3)
    assert_agree(results, "float64", 6)
    again = both(backend, step, theta, data, 6, threads=3)
    np.testing.assert_array_equal(results[1][0], again[1][0])


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_pytorch_does_in_one_pass_changes_nothing(
    monkeypatch: Any, optimizer: str, members: int | None
) -> None:
    """With every array counted as large, all of the small network's passes are fused."""
    library("torch")
    from xpnet.compiler.writers import torch as torch_program

    monkeypatch.setattr(torch_program, "LARGE", 1)
    backend = xn.backends.get("torch")
    for loss, activation in (("CrossEntropy", xn.ReLU()), ("BCE", xn.LeakyReLU())):
        net, theta, criterion, data = problem(backend, loss, activation, members, "float64")
        step = TrainingStep(backend.xp, net, criterion, OPTIMIZERS[optimizer])
        assert_agree(both(backend, step, theta, data, 6), "float64", 6)


@dataclass(frozen=True)
class Running(xn.Layer):
    """A layer of operations that no runner has a word of its own for: running sums."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        def backprop(dy: Any, need_dx: bool = True) -> Any:
            return xp.flip(xp.cumulative_sum(xp.flip(dy, axis=-1), axis=-1), axis=-1), ()

        return xp.cumulative_sum(x, axis=-1), backprop

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return xp.cumulative_sum(x, axis=-1)


WAYS = {  # what jax_program's constants must be, and for how many members, for a way to be taken
    "members_last": (3, {}),
    "in_pieces": (None, {"LARGE": 1}),
    "written_out": (None, {}),
}


@pytest.mark.parametrize(
    ("loss", "activation", "batches"),
    [
        ("CrossEntropy", xn.ReLU(), True),
        ("BCE", xn.LeakyReLU(), False),
        ("Huber", Running(), False),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write_a_jax_program_changes_nothing(
    monkeypatch: Any, way: str, loss: str, activation: Any, batches: bool
) -> None:
    library("jax")
    from xpnet.backends.jax import program as jax_program

    members, constants = WAYS[way]
    for name, value in constants.items():
        monkeypatch.setattr(jax_program, name, value)
    taken = []
    write = getattr(jax_program, way)

    def watched(*args: Any) -> Any:
        result = write(*args)
        taken.append(way)
        return result

    monkeypatch.setattr(jax_program, way, watched)
    # Programs are kept by step and shapes, of which the constants are no part.
    monkeypatch.setattr(jax_program, "_KNOWN", OrderedDict())
    backend = xn.backends.get("jax", "cpu")
    backend.prepare("float64")
    rows = np.random.default_rng(1).integers(0, 12, (8, 5))
    orders = backend.asarray(rows, "int64") if batches else None
    net, theta, criterion, data = problem(backend, loss, activation, members, "float64")
    step = TrainingStep(backend.xp, net, criterion, OPTIMIZERS["amsgrad"])
    assert_agree(both(backend, step, theta, data, 8, orders), "float64", 8)
    assert taken


@dataclass(frozen=True)
class Own(xn.Layer):
    """A layer that reads its input whole and through a view at once."""

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        h = x + 1.0
        return h + h[..., :1] * xp.tanh(x)

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return self.apply(xp, params, x), lambda dy, need_dx=True: (dy, ())


@dataclass(frozen=True, eq=False)
class Clipped(xn.SGD):
    """Descends along a gradient of a norm of at most 1."""

    def step(self, xp: Any, theta: Any, grad: Any, state: Any) -> Any:
        norm = xp.sqrt(xp.sum(grad * grad, axis=-1, keepdims=True))
        return super().step(xp, theta, grad / xp.maximum(norm, xp.ones_like(norm)), state)


@pytest.mark.parametrize("width", [5, 200])
def test_views_of_an_operand_and_norms_run_as_in_the_plain_loop(backend: Any, width: int) -> None:
    net, theta, loss, data = problem(backend, "BCE", Own(), None, "float64", width)
    step = TrainingStep(backend.xp, net, loss, Clipped(lr=0.1))
    assert_agree(both(backend, step, theta, data, 8, recorded=None), "float64", 8)


@dataclass(frozen=True)
class Odd(xn.Layer):
    """A layer of products that are none of plain floats: of nothing, of integers, of halves."""

    kind: str

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        if self.kind == "nothing":
            return x + x[..., :0] @ xp.ones((0, x.shape[-1]), dtype=x.dtype)
        low = xp.int8 if self.kind == "integers" else xp.float16
        ones = xp.ones((x.shape[-1], x.shape[-1]), dtype=low)
        scaled = xp.astype(x * 10, low)
        return x + xp.matmul(scaled, ones, preferred_element_type=x.dtype) * 1e-2

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return self.apply(xp, params, x), lambda dy, need_dx=True: (dy, ())


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("kind", ["nothing", "integers", "halves"])
def test_odd_products_are_left_as_they_are_on_jax(kind: str, members: int | None) -> None:
    library("jax")
    backend = xn.backends.get("jax", "cpu")
    backend.prepare("float64")
    net, theta, loss, data = problem(backend, "BCE", Odd(kind), members, "float64")
    step = TrainingStep(backend.xp, net, loss, xn.Adam())
    # None but JAX has such products.
    assert_agree(both(backend, step, theta, data, 4, own=True), "float64", 4)


@pytest.mark.parametrize("batches", [False, True])
def test_members_with_their_own_data_and_numbers_run_as_in_the_plain_loop(
    backend: Any, batches: bool
) -> None:
    net, _, loss, _ = problem(backend, "BCE", xn.ReLU(), None, "float64")
    rng = np.random.default_rng(5)
    x = backend.asarray(rng.normal(size=(3, 12, 4)), "float64")
    y = backend.asarray(rng.integers(0, 2, (3, 12, 1)), "float64")
    w = backend.asarray(rng.uniform(size=(3, 12, 1)), "float64")
    theta = net.init(0, like=x, members=3)
    column = np.array([[0.1], [0.01], [0.001]])
    optimizer = xn.Adam(lr=column, betas=(0.9, 1 - column), weight_decay=column)
    step = TrainingStep(backend.xp, net, loss, optimizer)
    rows = backend.asarray(rng.integers(0, 12, (8, 7)), "int64") if batches else None
    assert_agree(both(backend, step, theta, (x, y, w), 8, rows), "float64", 8)


def test_the_recorded_program_is_what_numpy_runs() -> None:
    backend = xn.backends.get("numpy")
    net, theta, loss, data = problem(backend, "BCE", xn.ReLU(), None, "float64")
    runner: Any = backend.runner(TrainingStep(np, net, loss, xn.Adam()))
    carry = carry_of(theta, xn.Adam().init(theta))
    runner(carry, data, 2)
    assert "def run(" in runner.program(carry, data).source


@dataclass(frozen=True)
class Wild(xn.Layer):
    """A layer that looks at its input while it runs."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        assert float(xp.sum(x, axis=(-2, -1))) < 1e9
        return x, lambda dy, need_dx=True: (dy, ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x


def test_a_step_that_cannot_be_recorded_runs_as_it_is_written() -> None:
    backend = xn.backends.get("numpy")
    _, _, loss, data = problem(backend, "MSE", xn.ReLU(), None, "float64")
    net = xn.Sequential(xn.Linear(4, 3), Wild(), xn.Linear(3, 1))
    theta = net.init(0, like=data[0])
    step = TrainingStep(np, net, loss, xn.Adam())
    runner: Any = backend.runner(step)
    carry = carry_of(theta, step.optimizer.init(theta))
    with pytest.warns(RuntimeWarning, match=r"a value was asked .*without \(Wild\.forward"):
        runner(carry, data, 2)
    assert runner.program(carry, data) is None
    assert_agree(both(backend, step, theta, data, 6, recorded=False), "float64", 6)


def test_a_thread_that_fails_leaves_nobody_waiting() -> None:
    backend = xn.backends.get("numpy")
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), None, "float64")
    step = TrainingStep(np, net, loss, xn.SGD())
    run = backend.runner(step, threads=3)

    def fails() -> bool:
        raise RuntimeError("in the first of them")

    with pytest.raises(RuntimeError, match="in the first of them"):
        run(carry_of(theta, xn.SGD().init(theta)), data, 5, None, fails)
    assert run.programs  # it was threads that ran
    assert all(isinstance(p, numpy_threads.ThreadedProgram) for _, p in run.programs.values())
    run(carry_of(theta, xn.SGD().init(theta)), data, 5)  # and they run again


@pytest.mark.parametrize("threads", [1, 3])
def test_what_a_runner_returned_outlives_its_runs_on_other_data(backend: Any, threads: int) -> None:
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), None, "float64")
    step = TrainingStep(backend.xp, net, loss, xn.Momentum(lr=0.1))
    other = (data[0] + 1, data[1] - 1, None)
    results = []
    with backend.context():
        for run in (partial(run_plainly, backend.xp, step), backend.runner(step, threads)):
            carries = [carry_of(backend.copy(theta), step.optimizer.init(theta)) for _ in range(2)]
            for _ in range(3):
                for i, which in enumerate((data, other)):
                    carries[i], metrics = run(carries[i], which, 5)
            both = backend.xp.concat([carry["theta"] for carry in carries])
            results.append((backend.to_host(both), {}, {"loss": backend.to_host(metrics["loss"])}))
    assert_agree(results, "float64", 15)


@pytest.mark.parametrize("first", ["float32", "float64"])
def test_a_runner_keeps_dtypes_apart(backend: Any, first: str) -> None:
    found = {}
    for dtype in sorted(("float32", "float64"), key=lambda name: name != first):
        net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), None, dtype)
        if not found:
            step = TrainingStep(backend.xp, net, loss, xn.Adam())
            run = backend.runner(step, 3)
        with backend.context():
            carry = carry_of(backend.copy(theta), step.optimizer.init(theta))
            carry, metrics = run(carry, data, 3)
        vectors = [array for name, array in carry.items() if name != "optimizer.step"]
        arrays = (*vectors, metrics["loss"])
        assert {backend.dtype_name(array) for array in arrays} == {dtype}
        found[dtype] = backend.to_host(carry["theta"])
    np.testing.assert_allclose(found["float32"], found["float64"], rtol=1e-3, atol=1e-3)


def test_a_thread_that_cannot_be_started_leaves_nobody_waiting(monkeypatch: Any) -> None:
    backend = xn.backends.get("numpy")
    net, theta, loss, data = problem(backend, "MSE", xn.Tanh(), None, "float64")
    run = backend.runner(TrainingStep(np, net, loss, xn.SGD()), threads=3)
    start, started = threading.Thread.start, []

    def fails(self: threading.Thread) -> None:
        started.append(self)
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fails)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(carry_of(theta, xn.SGD().init(theta)), data, 5)


def test_a_meeting_that_was_interrupted_while_it_opened_can_be_aborted() -> None:
    meeting = numpy_threads.LockBarrier(3)
    gates = [threading.Lock() for _ in range(2)]
    for gate in gates:
        gate.acquire()
    meeting.gates = list(gates)
    gates[0].release()  # as far as it came
    meeting.abort()
    assert not any(gate.locked() for gate in gates)
