"""Nothing of the process is other than before: threads, warnings, Ctrl-C, modes of libraries."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library
from xpnet.backends.shared_setting import Setting, SharedSetting, mkl

# array-api-strict checks each call, and takes two thirds of the time of these: in the matrix.
pytestmark = pytest.mark.slow_on("strict", "strict:device1")

DATA = np.random.default_rng(0)
X, Y = DATA.standard_normal((60, 64)), DATA.integers(0, 10, 60)
NET = xn.Sequential(xn.Linear(64, 100), xn.ReLU(), xn.Linear(100, 10))
"""Its products are of a size at which BLAS and PyTorch would take threads, and are held to one."""


def blas():
    """How many threads each BLAS takes: what threadpoolctl says, if it is there."""
    threadpoolctl = library("threadpoolctl")
    found = threadpoolctl.threadpool_info()
    return {i["filepath"]: i["num_threads"] for i in found if i["user_api"] == "blas"}


def before_now(put):
    """What a function that returns what was there before would replace."""
    number = put(0)
    put(number)
    return number


def of_this_thread():
    """What a thread may find changed."""
    found = {"errors": np.geterr(), "blas": blas()}
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        found["torch"] = torch.get_num_threads(), torch.is_grad_enabled()
        own = ctypes.CDLL(torch._C.__file__)  # MKL's number may be other than PyTorch says
        if hasattr(own, "MKL_Get_Max_Threads"):
            found["mkl"] = own.MKL_Get_Max_Threads(), before_now(own.MKL_Set_Num_Threads_Local)
        found["inference"] = torch.is_inference_mode_enabled(), torch.get_default_dtype()
    if "jax" in sys.modules:
        config = sys.modules["jax"].config
        found["jax"] = config.jax_enable_x64, config.jax_disable_jit, config.jax_debug_nans
    return found


def elsewhere(function):
    """What a function returns, or raises, in another thread."""
    result = []

    def work():
        try:
            result.append((function(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


def process():
    """All of it, as this thread and a new one see it."""
    return {
        "here": of_this_thread(),
        "there": elsewhere(of_this_thread),
        "ctrl-c": signal.getsignal(signal.SIGINT),
        "filters": list(warnings.filters),
        "random": random.getstate(),
        "numpy.random": repr(np.random.get_state()),
        "printing": np.get_printoptions(),
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "threads": {t for t in threading.enumerate() if t.name.startswith("ThreadPool")},
    }


def within(state):
    """What is as before within a fit too: all but Ctrl-C, which it listens to."""
    return {name: value for name, value in state.items() if name != "ctrl-c"}


class Calls(xn.Callback):
    """Calls a function at each check."""

    def __init__(self, function):
        self.function = function

    def check(self, run):
        self.function(run)


def data(backend):
    return backend.asarray(X, "float64"), backend.asarray(Y, "int64")


def train(backend, *called, **options):
    x, y = data(backend)
    given = {"epochs": 4, "check_every": 2, "seed": 0, "members": 4, "block": 2, **options}
    given.setdefault("loss", xn.CrossEntropy())
    given.setdefault("optimizer", xn.Adam())
    return xn.fit(NET, x, y, callbacks=[Calls(f) for f in called], **given)


OPTIONS = {
    "an ensemble": {},
    "an ensemble looked at often": {"epochs": 12, "check_every": 1},
    "a network": {"members": None, "block": None},
    "a network on threads": {"members": None, "block": None, "threads": 2},
    "batches": {"batch_size": 25},
}


@pytest.fixture
def before(backend):
    train(backend, epochs=1)  # what libraries do at their first use is theirs
    blas()
    return process()


@pytest.mark.parametrize("options", OPTIONS)
def test_after_fit_the_process_is_as_before(backend, before, options):
    for _ in range(3):
        train(backend, **OPTIONS[options])
        assert process() == before


@pytest.mark.parametrize("options", OPTIONS)
def test_a_callback_has_the_process_as_it_was(backend, before, options):
    seen = []
    train(backend, lambda run: seen.append(within(process())), **OPTIONS[options])
    assert seen == [within(before)] * len(seen)
    assert seen


def test_a_callback_may_train_with_the_librarys_own_gradients():
    torch = library("torch")
    gradients = []

    def own(run):
        theta = torch.ones(3, requires_grad=True)
        (theta * theta).sum().backward()
        gradients.append(theta.grad.tolist())

    train(xn.backends.get("torch"), own)
    assert gradients == [[2.0, 2.0, 2.0]] * 2


def test_after_a_callback_that_fails_the_process_is_as_before(backend, before):
    def fail(run):
        raise RuntimeError("it fails")

    with pytest.raises(RuntimeError, match="it fails"):
        train(backend, fail)
    assert process() == before


def test_after_a_loss_that_fails_the_process_is_as_before(backend, before):
    class Fails(xn.CrossEntropy):
        def forward(self, *args):
            raise RuntimeError("it fails")

    with pytest.raises(RuntimeError, match="it fails"):
        train(backend, loss=Fails())
    assert process() == before


def test_after_a_fit_within_a_callback_the_process_is_as_before(backend, before):
    seen = []

    def again(run):
        train(backend)
        seen.append(within(process()))

    train(backend, again)
    assert seen == [within(before)] * 2
    assert process() == before


def test_after_a_fit_in_another_thread_the_process_is_as_before(backend, before):
    def work():
        found = of_this_thread()
        train(backend)
        return found, of_this_thread()

    first, then = elsewhere(work)
    assert then == first
    assert process() == before


def test_after_fits_at_once_the_process_is_as_before(backend, before):
    meeting = threading.Barrier(2)

    def work(epochs, errors):
        meeting.wait()
        train(backend, epochs=epochs)
        errors.append(np.geterr())

    for mine, others in ((2, 30), (30, 2)):  # whichever leaves last
        errors = []
        thread = threading.Thread(target=work, args=(others, errors))
        thread.start()
        work(mine, errors)
        thread.join()
        assert errors == [before["here"]["errors"]] * 2
        assert process() == before


def test_after_predictions_and_gradients_the_process_is_as_before(backend, before):
    model = train(backend, members=None, block=None)
    x, y = data(backend)
    for compute in (
        lambda: model.predict(x),
        lambda: model.predict_proba(x),
        lambda: NET.value_and_grad(model.theta, x, y, xn.CrossEntropy()),
        lambda: NET(model.theta[:3], x),
    ):
        with suppress(ValueError):  # of the last one
            compute()
        assert process() == before


@pytest.mark.parametrize("times", [1, 2])
def test_after_ctrl_c_the_process_is_as_before(backend, before, times):
    def press(run):
        for _ in range(times if run.seen == 0 else 0):
            signal.raise_signal(signal.SIGINT)

    if times == 1:
        assert train(backend, press).history.interrupted
    else:
        with pytest.raises(KeyboardInterrupt):
            train(backend, press)
    assert process() == before


@pytest.mark.parametrize("when", ["start", "finish"])
def test_ctrl_c_in_a_callback_before_or_behind_the_epochs_keeps_the_model(backend, before, when):
    callback, finished = xn.Callback(), xn.Callback()
    setattr(callback, when, lambda run: signal.raise_signal(signal.SIGINT))
    ends = []
    finished.finish = lambda run: ends.append(run.epoch)
    x, y = data(backend)
    options = {"loss": xn.CrossEntropy(), "optimizer": xn.Adam(), "epochs": 4, "seed": 1}
    model = xn.fit(NET, x, y, callbacks=[finished, callback], **options)
    assert model.history.interrupted
    assert [model.history.epochs] == ends == [0 if when == "start" else 4]
    assert process() == before


def test_ctrl_c_as_a_callback_sets_it_up_is_kept():
    def mine(number, frame):
        pass

    try:
        train(xn.backends.get("numpy"), lambda run: signal.signal(signal.SIGINT, mine))
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# ---- while it computes


def threads_of(backend):
    if backend.name == "torch":
        return sys.modules["torch"].get_num_threads()
    # SciPy, where something has imported it, brings a BLAS of its own, which is not NumPy's.
    return max(n for path, n in blas().items() if "scipy.libs" not in path)


ASKED = []


class Asks(xn.CrossEntropy):
    """Notes how many threads there are where a loss is computed."""

    def __init__(self, backend, seen):
        super().__init__()
        ASKED[:] = backend, seen  # not its own: a loss that fills a list of its own is refused

    def forward(self, *args):
        backend, seen = ASKED
        seen.append(threads_of(backend))
        return super().forward(*args)


@pytest.fixture
def several(backend):
    """Two threads for the library, whatever the machine."""
    threadpoolctl = library("threadpoolctl")
    with threadpoolctl.threadpool_limits(2):
        if threads_of(backend) != 2:
            pytest.skip(f"this system has a {backend.name} without threads")
        yield


@pytest.mark.has("held")
@pytest.mark.parametrize("options", ["an ensemble", "a network", "batches"])
def test_all_that_fit_computes_is_on_one_thread_where_threads_would_wait(backend, several, options):
    seen = []
    train(backend, loss=Asks(backend, seen), **OPTIONS[options])
    assert seen
    assert set(seen) == {1}
    assert threads_of(backend) == 2


@pytest.mark.has("held")
def test_what_is_computed_by_hand_is_on_one_thread_where_threads_would_wait(backend, several):
    x, y = data(backend)
    seen = []
    NET.value_and_grad(NET.init(0, like=x), x, y, Asks(backend, seen))
    assert seen == [1]

    class Looks(xn.Identity):
        def apply(self, xp, params, x):
            seen.append(threads_of(backend))
            return x

    net = xn.Sequential(*NET.layers, Looks())
    xn.Model(net, net.init(0, like=x), xn.CrossEntropy()).predict(x)
    assert seen == [1, 1]


@pytest.mark.has("held")
def test_large_products_have_all_threads(backend, several):
    wide = xn.Sequential(xn.Linear(64, 3000), xn.ReLU(), xn.Linear(3000, 10))
    x, y = data(backend)
    seen = []
    wide.value_and_grad(wide.init(0, like=x), x, y, Asks(backend, seen))
    assert seen == [2]


def test_products_at_report_scale_hold_nothing():
    from xpnet.backends.numpy import threads as numpy_threads

    held = numpy_threads.ONE_BLAS_THREAD.settings
    if not all(setting.shared for setting in held):
        pytest.skip("this system has a BLAS that splits even small products")
    assert not numpy_threads.worth_holding(21 * 4 * 4)


def test_a_thread_that_meets_pytorch_while_it_is_held_has_the_number_it_would_have():
    torch = library("torch")
    from xpnet.backends.torch import ONE_THREAD

    expected = elsewhere(torch.get_num_threads)
    with ONE_THREAD():
        assert torch.get_num_threads() == 1
        assert elsewhere(torch.get_num_threads) == expected


def test_another_threads_own_limits_work_after_a_fit_and_beside_one():
    threadpoolctl = library("threadpoolctl")
    numpy = xn.backends.get("numpy")
    start = blas()

    def limited():
        with threadpoolctl.threadpool_limits(1):
            within = set(blas().values())
        return within, blas()

    train(numpy, members=None, block=None)
    assert elsewhere(limited) == ({1}, start)
    train(numpy, lambda run: elsewhere(limited))
    assert elsewhere(limited) == ({1}, start)


# ---- what holds


def setting(values, shared=True, put=None):
    def store(n):
        values[0] = n

    return Setting(lambda: values[0], put or store, shared)


@pytest.mark.parametrize("first", [0, 1])
def test_a_shared_setting_is_let_go_by_whoever_leaves_last(first):
    values = [4]
    held = SharedSetting(lambda: [setting(values)])
    both = held(), held()
    for one in both:
        one.__enter__()
        assert values == [1]
    both[first].__exit__(None, None, None)
    assert values == [1]
    elsewhere(lambda: both[1 - first].__exit__(None, None, None))
    assert values == [4]


def test_a_setting_that_follows_another_is_read_before_that_is_held():
    openmp, mkl = [2], [0]
    follows = Setting(lambda: mkl[0] or openmp[0], lambda n: mkl.__setitem__(0, n), shared=False)
    held = SharedSetting(lambda: [setting(openmp, shared=False), follows])
    with held():
        assert follows.get() == 1
    assert follows.get() == 2


def test_mkls_own_number_is_never_away_where_ctrl_c_may_fall():
    number, seen = [3], set()

    def put(n, _=None):
        number[0], before = n, number[0]
        return before

    setting = mkl(put)

    def trace(frame, event, arg):
        if frame.f_code is not setting.get.__code__:
            return None
        frame.f_trace_opcodes = True
        seen.add(number[0])
        return trace

    sys.settrace(trace)
    try:
        assert setting.get() == 3
    finally:
        sys.settrace(None)
    assert seen == {3}


def test_a_setting_that_somebody_else_changed_meanwhile_is_left_to_them():
    values = [4]
    held = SharedSetting(lambda: [setting(values)])
    with held():
        values[0] = 3
    assert values == [3]


def test_a_threads_own_setting_is_its_own():
    local = threading.local()

    def put(n):
        local.value = n

    held = SharedSetting(lambda: [Setting(lambda: getattr(local, "value", 7), put, shared=False)])
    local.value = 3
    with held():
        assert local.value == 1

        def other():
            with held():
                within = local.value
            return within, local.value

        assert elsewhere(other) == (1, 7)
    assert local.value == 3


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_ctrl_c_on_the_way_in_or_out_leaves_it_as_it_was(shared, at):
    for after in (False, True):
        values, calls = [4], []

        def put(n, values=values, calls=calls, after=after):
            calls.append(n)
            if after:
                values[0] = n
            if len(calls) == at + 1:
                raise KeyboardInterrupt
            values[0] = n

        held = SharedSetting(lambda values=values, put=put: [setting(values, shared, put)])
        for _ in range(2):
            with suppress(KeyboardInterrupt), held():
                assert values == [1]
            assert values == [4]


HAMMER = """
import _thread, threading, time
from xpnet.backends.shared_setting import SharedSetting, Setting, mkl

values, rounds, waiting = [4], 0, threading.Event()
setting = Setting(lambda: values[0], lambda n: values.__setitem__(0, n), {shared})
held = SharedSetting(lambda: [setting])

def press():
    while waiting.wait():
        time.sleep(0.001)
        waiting.clear()  # one at a time: a second would fall where nobody catches it
        _thread.interrupt_main()

threading.Thread(target=press, daemon=True).start()
while rounds < 300 and values == [4]:
    try:
        waiting.set()
        while True:
            with held():
                pass
    except KeyboardInterrupt:
        rounds += 1
print("left at", values, "after", rounds)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_ctrl_c_anywhere_leaves_it_as_it_was(shared):
    result = subprocess.run(
        [sys.executable, "-c", HAMMER.format(shared=shared)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "left at [4] after 300\n", result.stdout + result.stderr


def test_a_place_that_nobody_gives_back_is_given_back_when_it_is_collected():
    values = [4]
    held = SharedSetting(lambda: [setting(values)])
    lost = held()
    lost.__enter__()
    assert values == [1]
    del lost
    for _ in range(100):
        if values == [4]:
            break
        time.sleep(0.01)
    assert values == [4]
