"""Machine code of steps: its functions, its digits, when it is made, and what is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import by_ranks
from xpnet.backends.numpy import NumPyReplay
from xpnet.compiler.native import choice, lowering
from xpnet.training.step import TrainingStep, carry_of

pytest.importorskip("llvmlite", reason="llvmlite is not installed")
from xpnet.compiler.native import machine
from xpnet.compiler.native.fused import FusedProgram

SAMPLES, FEATURES = 21, 2


def problem(dtype: str = "float64", members: int | None = None) -> tuple[Any, ...]:
    """The report's network and data, and how it is trained."""
    net = xn.Sequential(
        xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, 4), xn.LeakyReLU(), xn.Linear(4, 1),
        xn.Sigmoid(),
    )  # fmt: skip
    x, y = xn.datasets.xor()
    how = {"loss": xn.BCE(eps=1e-3), "optimizer": xn.Adam(lr=1e-2), "seed": 3, "members": members}
    return net, x.astype(dtype), y.astype(dtype), how


# ---- what comes of a training


@pytest.mark.parametrize(
    ("dtype", "members", "bound"),
    [("float64", None, 1e-13), ("float64", 19, 1e-13), ("float32", None, 1e-4)],
)
def test_a_training_gives_the_digits_of_numpy(
    dtype: str, members: int | None, bound: float
) -> None:
    net, x, y, how = problem(dtype, members)
    native, recorded = (
        xn.fit(net, x, y, epochs=60, check_every=20, native=native, **how)
        for native in (True, False)
    )
    assert native.history.loss.shape == recorded.history.loss.shape
    np.testing.assert_allclose(native.theta, recorded.theta, rtol=0, atol=bound)
    np.testing.assert_allclose(native.history.loss, recorded.history.loss, rtol=0, atol=bound)
    np.testing.assert_array_equal(native.history.accuracy, recorded.history.accuracy)


def test_members_are_the_same_whoever_is_beside_them() -> None:
    net, x, y, how = problem(members=19)
    theta = net.init(3, like=x, members=19)
    how |= {"epochs": 40, "native": True, "seed": None}
    together = xn.fit(net, x, y, theta=theta, **{**how, "members": None})
    few = xn.fit(net, x, y, theta=theta[5:8], **{**how, "members": None})
    np.testing.assert_array_equal(together.theta[5:8], few.theta)


@pytest.mark.parametrize("lie", ["rows", "columns", "swapped", "turned round", "members last"])
def test_samples_of_members_may_lie_in_memory_as_they_like(lie: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 8, 2)), rng.standard_normal((3, 8, 1))
    x = {
        "rows": x,
        "columns": np.asfortranarray(x),
        "swapped": np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
        "turned round": x[:, ::-1],
        "members last": np.ascontiguousarray(np.moveaxis(x, 0, -1)).transpose(2, 0, 1),
    }[lie]
    net = xn.Sequential(xn.Linear(2, 1))
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.1), "epochs": 5, "members": 3, "seed": 1}
    native, recorded = (xn.fit(net, x, y, native=native, **how) for native in (True, False))
    np.testing.assert_allclose(native.theta, recorded.theta, rtol=0, atol=1e-14)


def test_both_halves_of_a_step_of_ranks_are_machine_code(monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 2)), rng.standard_normal((16, 1))
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.1), "epochs": 5, "check_every": 5, "seed": 1}
    net, found = xn.Sequential(xn.Linear(2, 1)), []

    class Asks(xn.Callback):
        def check(self, run: xn.Run) -> None:
            assert run.progress is not None
            found.append(run.progress.part["native"])

    def one(comm: Any, native: bool) -> Any:
        own = slice(8 * comm.Get_rank(), 8 * comm.Get_rank() + 8)
        return xn.fit(net, x[own], y[own], comm=comm, native=native, callbacks=[Asks()], **how)

    def ranks(native: bool) -> Any:
        return by_ranks(2, lambda comm: one(comm, native))

    alone = xn.fit(net, x, y, **how)
    for model in (*ranks(True), *ranks(False)):
        np.testing.assert_allclose(model.theta, alone.theta, rtol=0, atol=1e-14)
    assert found == [True, False]
    # The update must be one on all: if on a rank there is no compiler, none has it as machine code.
    without = iter([True, False])
    monkeypatch.setattr("xpnet.backends.numpy.is_installed", lambda: next(without, True))
    with pytest.warns(RuntimeWarning) as said:
        first, second = ranks(True)
    assert any("on another rank its second half" in str(one.message) for one in said)
    assert first.theta.tobytes() == second.theta.tobytes()


def test_samples_that_are_read_are_trained_on_by_machine_code_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 2)), rng.standard_normal((16, 1))
    np.save(tmp_path / "x.npy", x)
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.1), "epochs": 3, "batch_size": 8, "seed": 1}
    net = xn.Sequential(xn.Linear(2, 1))
    read, held = (xn.fit(net, a, y, native=True, **how) for a in (tmp_path / "x.npy", x))
    np.testing.assert_array_equal(read.theta, held.theta)
    assert xn.explain(net, tmp_path / "x.npy", y, loss=xn.MSE(), optimizer=xn.SGD(lr=0.1),
                      batch_size=8, native=True).way == "native"  # fmt: skip


@pytest.mark.parametrize("members", [None, 5])
def test_a_long_step_that_is_several_functions_does_the_same(
    members: int | None, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lowering, "LONG", 8)
    monkeypatch.setattr(lowering, "PART", 20)
    monkeypatch.setenv("XPNET_CACHE_DIR", str(tmp_path))
    _, x, y, how = problem(members=members)
    net = xn.Sequential(xn.Linear(2, 3), xn.Dropout(0.2), xn.Tanh(), xn.Linear(3, 1), xn.Sigmoid())
    how |= {"epochs": 6, "batch_size": 9, "shuffle_seed": 0}
    native, recorded = (xn.fit(net, x, y, native=native, **how) for native in (True, False))
    assert native.history.loss.shape == recorded.history.loss.shape
    np.testing.assert_allclose(native.theta, recorded.theta, rtol=0, atol=1e-13)
    np.testing.assert_allclose(native.history.loss, recorded.history.loss, rtol=0, atol=1e-13)


def test_the_same_training_again_is_the_same_to_the_last_bit() -> None:
    net, x, y, how = problem()
    one, other = (
        xn.fit(net, x, y, epochs=30, check_every=every, native=True, **how) for every in (30, 7)
    )
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(one.history.loss, other.history.loss)


def test_a_loss_that_is_not_finite_ends_it_where_it_ends_numpys() -> None:
    net, x, y, how = problem()
    how |= {"optimizer": xn.SGD(lr=1e200), "epochs": 12}
    found = []
    for native in (True, False):
        with pytest.warns(RuntimeWarning, match="NaN or infinite"):
            found.append(xn.fit(net, x, y, native=native, **how))
    assert found[0].history.diverged == found[1].history.diverged
    np.testing.assert_allclose(found[0].theta, found[1].theta, rtol=1e-12)


def test_it_ends_between_two_turns_when_it_is_interrupted() -> None:
    net, x, y, how = problem()

    class Ending(xn.Callback):
        def check(self, run: Any) -> None:
            run.stop()

    model = xn.fit(net, x, y, epochs=500, check_every=50, native=True, callbacks=[Ending()], **how)
    assert len(model.history.loss) == 50


def test_a_checkpoint_is_gone_on_from_as_it_was_begun(tmp_path: Path) -> None:
    net, x, y, how = problem()
    whole = xn.fit(net, x, y, epochs=40, check_every=10, native=True, **how)
    keep = [xn.callbacks.Checkpoint(tmp_path, every=10)]
    xn.fit(net, x, y, epochs=20, check_every=10, native=True, callbacks=keep, **how)
    more = xn.fit(net, x, y, epochs=40, check_every=10, native=True, resume=tmp_path, **how)
    np.testing.assert_array_equal(more.theta, whole.theta)


# ---- between large products


@pytest.fixture
def large(monkeypatch: Any) -> None:
    """All products are too large for loops."""
    monkeypatch.setattr(choice, "LARGE", 0)


def one_layer() -> tuple[Any, ...]:
    """A network of one layer, of which a function of loops stands between two products."""
    _, x, y, how = problem()
    return xn.Sequential(xn.Linear(2, 1), xn.Sigmoid()), x, y, {**how, "batch_size": 7, "epochs": 2}


@pytest.mark.parametrize(("threads", "members"), [(1, None), (2, None), (1, 3)])
def test_what_stands_between_large_products_is_machine_code(
    large: None, threads: int, members: int | None
) -> None:
    net, x, y, how = one_layer()
    how |= {"threads": threads, "members": members}
    one, other, recorded = (
        xn.fit(net, x, y, check_every=every, native=native, **how)
        for every, native in ((1, True), (2, True), (2, False))
    )
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_allclose(one.theta, recorded.theta, rtol=0, atol=1e-14)
    np.testing.assert_allclose(one.history.loss, recorded.history.loss, rtol=0, atol=1e-14)
    del how["seed"]
    found = xn.explain(net, x, y, native=True, **how)
    assert (found.way, found.threads) == ("native", threads)
    assert f"machine code between BLAS's products, {found.calls} calls a step" in str(found)
    assert ("matmul(" if members else "dot(") in found.program
    assert "def run_0(" in found.program


def test_samples_that_are_read_as_they_are_needed_are_computed_so_too() -> None:
    net, x, y, how = one_layer()

    class Rows:
        shape, dtype = x.shape, x.dtype

        def __getitem__(self, rows: Any) -> np.ndarray:
            return x[rows]

    native, recorded = (xn.fit(net, Rows(), y, native=way, **how) for way in (True, False))
    np.testing.assert_allclose(native.theta, recorded.theta, rtol=0, atol=1e-14)
    del how["seed"]
    assert xn.explain(net, Rows(), y, native=True, **how).way == "native"


def test_a_checkpoint_between_large_products_is_gone_on_from_as_it_was_begun(
    large: None, tmp_path: Path
) -> None:
    net, x, y, how = one_layer()
    how |= {"native": True, "check_every": 1, "threads": 1}
    whole = xn.fit(net, x, y, **{**how, "epochs": 4})
    xn.fit(net, x, y, callbacks=[xn.callbacks.Checkpoint(tmp_path, every=1)], **how)
    more = xn.fit(net, x, y, resume=tmp_path, **{**how, "epochs": 4})
    np.testing.assert_array_equal(more.theta, whole.theta)


def test_it_is_made_between_products_where_so_many_steps_pay_for_it(
    large: None, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("XPNET_CACHE_DIR", str(tmp_path))
    net, x, y, _ = one_layer()
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.1), "native": "auto"}  # in no other test
    few, some = (xn.explain(net, x, y, epochs=epochs, **how) for epochs in (20_000, 10**7))
    assert (few.way, few.calls > some.calls) == ("recorded", True)
    assert "20000 steps" in few.why
    assert some.way == "native"


def fused(step: Any, x: np.ndarray, y: np.ndarray, carry: Any, threads: int = 1) -> Any:
    """The program of a step, before it is compiled."""
    return NumPyReplay(step, threads)._calls(carry, (x, y, None), None, {}, FusedProgram)


def test_threads_with_other_shares_have_the_same_functions(large: None) -> None:
    net = xn.Sequential(xn.Linear(100, 99), xn.ReLU(), xn.Linear(99, 1))
    x, y = np.ones((8, 100)), np.ones((8, 1))
    theta = net.init(0, like=x)
    step = TrainingStep(np, net, xn.MSE(), xn.Adam())
    program = fused(step, x, y, carry_of(theta, xn.Adam().init(theta)), threads=2)
    sizes = [part[0].text.carry["theta"].shape for part in program.updates]
    assert sizes[0] != sizes[1]
    assert len({one.machine.key for one in program.all}) == 2  # of a gradient, and of an update


def test_a_stretch_in_which_nothing_is_left_to_do_is_no_function(large: None) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (16, 2)).astype(float), rng.normal(size=(16, 3))
    net = xn.Sequential(xn.Embedding(4, 4, 2), xn.Linear(8, 3))
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=0.1), "seed": 1, "threads": 2}
    native, recorded = (xn.fit(net, x, y, epochs=3, native=n, **how) for n in (True, False))
    np.testing.assert_allclose(native.theta, recorded.theta, rtol=0, atol=1e-14)


def test_samples_that_cannot_be_written_into_need_no_other_code(large: None) -> None:
    net, x, y, how = one_layer()
    step = TrainingStep(np, net, how["loss"], how["optimizer"])
    theta = net.init(0, like=x)
    carry, found, codes = carry_of(theta, how["optimizer"].init(theta)), [], []
    for writeable in (True, False):
        x.flags.writeable = y.flags.writeable = writeable
        program = fused(step, x, y, carry)
        after, _ = program.run(carry, 2, None, lambda: False)
        found.append(after["theta"].copy())
        codes.append([program._run.__globals__[name].code for name in program.called])
    assert codes[0] == codes[1]
    np.testing.assert_array_equal(*found)


class Picked(xn.Layer):
    """As many samples on as a parameter says, rounded: what machine code would read anywhere."""

    in_features = out_features = 1

    def parameters(self) -> Any:
        return {"far": (1, 1)}

    def draw(self, rng: Any) -> Any:
        return [np.zeros((1, 1))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        (far,) = params
        y = xp.take(x, xp.astype(xp.round(x[:, 0] * 0 + far[0, 0]), xp.int64), axis=0)
        return y, lambda dy, need_dx=True: (dy, (xp.ones_like(far),))

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.forward(xp, params, x)[0]


@pytest.mark.parametrize("native", [True, False])
def test_places_that_are_computed_are_looked_at_by_numpy(native: bool) -> None:
    x = np.linspace(0, 1, 3)[:, None]
    how = {"loss": xn.MSE(), "optimizer": xn.SGD(lr=2.0), "seed": 0, "native": native}
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 3"):
        xn.fit(xn.Sequential(Picked(), xn.Linear(1, 1)), x, x, epochs=9, check_every=9, **how)


def test_sums_of_more_terms_than_loops_add_up_are_numpys() -> None:
    net = xn.Sequential(xn.Linear(2, 1))
    x, y = np.ones((5000, 2)), np.ones((5000, 1))
    theta, sgd = net.init(0, like=x), xn.SGD(lr=0.1)
    step = TrainingStep(np, net, xn.MSE(), sgd)
    calls, functions = str(fused(step, x, y, carry_of(theta, sgd.init(theta)))).split("import math")
    assert "add_reduce(" in calls
    assert "def run_0(" in functions


class Turned(xn.Layer):
    """Whose gradient lies at places that it is given."""

    in_features = out_features = 2

    def __init__(self, *places: int) -> None:
        self.places = np.array(places)

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return x, lambda dy, need_dx=True: (xp.take(dy, self.places, axis=-1), ())

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x


@pytest.mark.parametrize("most", [0, choice.LARGE])
def test_places_beyond_all_are_found_behind_others_of_their_form(
    most: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(choice, "LARGE", most)
    x, y = np.ones((3, 2)), np.ones((3, 1))

    def gradient(*places: int) -> None:
        net = xn.Sequential(xn.Linear(2, 2), Turned(*places), xn.Linear(2, 1))
        theta, sgd = net.init(0, like=x), xn.SGD(lr=0.1)
        runner = NumPyReplay(TrainingStep(np, net, xn.MSE(), sgd), 1, choice.Native(always=True))
        runner(carry_of(theta, sgd.init(theta)), (x, y, None), 1)

    gradient(1, 0)
    with pytest.raises(IndexError, match="out of bounds"):
        gradient(1, 10**6)


# ---- when it is made


def _way(native: bool | str, epochs: int, **more: Any) -> Any:
    net, x, y, how = problem()
    net = xn.Sequential(xn.Linear(2, 1), xn.Sigmoid())
    kept = {k: v for k, v in how.items() if k != "seed"}
    return xn.explain(net, x, y, native=native, epochs=epochs, **kept, **more)


def test_it_is_made_where_so_many_steps_pay_for_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XPNET_CACHE_DIR", str(tmp_path))
    few, some = _way("auto", 100), _way("auto", 12_000)
    assert (few.way, few.why) == ("recorded", "")
    assert some.way == "recorded"
    assert "12000 steps" in some.why
    assert some.why in str(some)
    asked = _way(True, 1)
    assert asked.way == "native"
    assert "machine code" in str(asked)
    assert "def run(" in asked.program
    # Now it is on disk, where it costs less.
    assert _way("auto", 20_000).way == "native"
    assert list((tmp_path / "native").glob("step_*.o"))


def test_what_cannot_be_made_is_told_and_recorded(monkeypatch: Any) -> None:
    net, x, y, how = problem()
    theta, adam = net.init(0, like=x), how["optimizer"]
    runner = NumPyReplay(TrainingStep(np, net, how["loss"], adam), 1)
    runner.go_on(True)  # as where a checkpoint is gone on from that a machine with LLVM has made
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.warns(RuntimeWarning, match="not machine code, since llvmlite is not installed"):
        runner(carry_of(theta, adam.init(theta)), (x, y, None), 1)


def test_a_compiler_that_is_too_old_is_told_and_done_without(monkeypatch: Any) -> None:
    net, x, y, how = problem()
    monkeypatch.setattr("llvmlite.__version__", "0.44.0")
    for known in (machine._llvm, machine.processor, machine._code):
        known.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"since llvmlite is 0.44.0, and too old: pip install"):
        model = xn.fit(net, x, y, epochs=2, native=True, **how)
    assert not np.array_equal(model.theta, net.init(3, like=x))


@pytest.mark.parametrize("native", [1, "yes", None, "True"])
def test_native_is_true_false_or_auto(native: Any) -> None:
    net, x, y, how = problem()
    with pytest.raises(ValueError, match="native must be True, False or 'auto'"):
        xn.fit(net, x, y, epochs=1, native=native, **how)


@pytest.mark.way("plain", "compiled")
def test_other_libraries_have_none(backend: Any) -> None:
    net, x, y, how = problem()
    x, y = (backend.asarray(one, "float64") for one in (x, y))
    with pytest.raises(ValueError, match=f"'auto' or False for arrays of {backend.name}"):
        xn.fit(net, x, y, epochs=1, native=True, **how)


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XPNET_CACHE_DIR", str(file))
    _, x, y, how = problem()
    net = xn.Sequential(xn.Linear(2, 1), xn.Sigmoid())
    model = xn.fit(net, x, y, epochs=3, native=True, **how)
    assert np.isfinite(model.theta).all()


@pytest.mark.program
def test_where_no_text_can_be_kept_none_is_left_behind(tmp_path: Path) -> None:
    kept, temporary = tmp_path / "kept", tmp_path / "temporary"
    temporary.mkdir()
    kept.write_text("")
    said = (
        "from xpnet.compiler.native.compiled import _written\n"
        "paths = [_written(*one) for one in (('one', 'a'), ('two', 'b'))]\n"
        "print([(path.parent.parent.name, path.read_text()) for path in paths])\n"
    )
    env = {**os.environ, "XPNET_CACHE_DIR": str(kept), "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", said], env=env, capture_output=True, text=True)
    assert done.stdout == "[('temporary', 'one'), ('temporary', 'two')]\n", done.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.program
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_is_forked_while_another_thread_compiles_can_compile(tmp_path: Path) -> None:
    said = (
        "import os, signal, threading\n"
        "import xpnet as xn\n"
        "from xpnet.compiler.native import machine, program\n"
        "x, y = xn.datasets.xor()\n"
        "def train(width):\n"
        "    net = xn.Sequential(xn.Linear(2, width), xn.Tanh(), xn.Linear(width, 1))\n"
        "    how = dict(loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=1, seed=0)\n"
        "    xn.fit(net, x, y, native=True, **how)\n"
        "thread = threading.Thread(target=train, args=(3,))\n"
        "thread.start()\n"
        "while not program.COMPILING.locked() or not machine._LOCK.locked(): pass\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(60)  # or it would wait for ever\n"
        "    train(4)\n"
        "    os._exit(0)\n"
        "thread.join()\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    env = {**os.environ, "XPNET_CACHE_DIR": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", said], env=env, capture_output=True, text=True)
    assert found.stdout == "0\n", found.stderr


@pytest.mark.program
def test_a_thread_with_a_small_stack_has_room_for_a_step() -> None:
    said = (
        "import threading\n"
        "import numpy as np, xpnet as xn\n"
        "x, y = np.ones((320, 2)), np.ones((320, 1))  # 198 KiB of arrays\n"
        "more = [layer for _ in range(5) for layer in (xn.Tanh(), xn.Linear(10, 10))]\n"
        "net = xn.Sequential(xn.Linear(2, 10), *more, xn.Linear(10, 1))\n"
        "how = dict(loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=2, seed=0, native=True)\n"
        "threading.stack_size(1 << 17)\n"
        "def train():\n"
        "    xn.fit(net, x, y, **how)\n"
        "    print('trained')\n"
        "thread = threading.Thread(target=train)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "trained\n"), found.stderr


@pytest.mark.program
def test_nothing_is_compiled_or_imported_before_it_is_asked_for() -> None:
    said = "import sys, xpnet; print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


@pytest.mark.program
def test_without_llvmlite_it_is_told_what_brings_it() -> None:
    said = (
        "import sys; sys.modules['llvmlite'] = None\n"
        "import numpy as np, xpnet as xn\n"
        "net = xn.Sequential(xn.Linear(2, 1))\n"
        "how = dict(loss=xn.MSE(), optimizer=xn.SGD(lr=0.1), epochs=1, seed=0)\n"
        "x, y = np.ones((3, 2)), np.ones((3, 1))\n"
        "xn.fit(net, x, y, **how)\n"
        "try: xn.fit(net, x, y, native=True, **how)\n"
        "except ImportError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert "native=True needs the package llvmlite" in found.stdout
    assert "pip install llvmlite" in found.stdout
