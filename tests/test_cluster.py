"""Members over the workers of a Dask cluster: the same networks, whoever trains them."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library, scalars
from xpnet import backends
from xpnet.distributed import BlockFailed
from xpnet.distributed.worker import Work, versions_of

distributed = pytest.importorskip("distributed", reason="distributed is not installed")

pytestmark = [
    # Of distributed and tornado, as workers come and go.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[1]
XOR = xn.datasets.xor()
NET = xn.Sequential(xn.Linear(2, 4), xn.Tanh(), xn.Linear(4, 1))
RICH = xn.Sequential(
    xn.Linear(2, 4), xn.LeakyReLU(), xn.Dropout(0.1), xn.BatchNorm(4), xn.Linear(4, 1)
)
PLAIN = {"loss": xn.BCEWithLogits(), "optimizer": xn.Adam(lr=3e-2), "epochs": 40}


@pytest.fixture(scope="module")
def client():
    """Two workers in this process: what is asked of values needs no more."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as one,
    ):
        yield one


@pytest.fixture(scope="module")
def workers():
    """Two workers in processes of their own."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as one,
    ):
        yield one


def assert_same(found, wanted):
    """Parameters, all state and the history are the same to the last bit."""
    for part in ("state", "layer_state"):
        ours, theirs = getattr(found, part) or {}, getattr(wanted, part) or {}
        assert list(ours) == list(theirs)
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array)
    np.testing.assert_array_equal(found.theta, wanted.theta)
    assert_same_history(found.history, wanted.history)


def assert_same_history(found, wanted):
    for one in dataclasses.fields(wanted):
        ours, theirs = getattr(found, one.name), getattr(wanted, one.name)
        np.testing.assert_equal(ours, theirs)


def own_data(members):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(members, 21, 2))
    y = (x[..., :1] * x[..., 1:] > 0).astype(float)
    weight = rng.uniform(0.5, 1, (members, 21))
    held = rng.normal(size=(9, 2)), rng.integers(0, 2, (members, 9, 1)).astype(float)
    return x, y, weight, held


# ---- the same networks


def test_members_are_those_of_one_machine_to_the_last_bit(client):
    more = {"seed": 42, "members": 30, "acc_goal": 0.8, "check_every": 5, "batch_size": 6}
    asked = {**PLAIN, **more, "noise_seed": 7}
    wanted = xn.fit(RICH, *XOR, **asked)
    assert 0 < np.count_nonzero(wanted.history.stop) < 30
    assert_same(xn.fit(RICH, *XOR, **asked, client=client), wanted)
    assert_same(xn.fit(RICH, *XOR, **asked, client=client, block=7), wanted)


def test_what_members_have_of_their_own_goes_with_them(client):
    members = 10
    x, y, weight, held = own_data(members)
    lr = np.linspace(1e-2, 1e-1, members)[:, None]
    asked = {
        **PLAIN,
        "optimizer": xn.Adam(lr=xn.ExponentialDecay(lr, 0.9), clip_norm=0.1),
        "members": members,
        "sample_weight": weight,
        "validation": held,
        "metrics": ["auc"],
        "patience": 4,
        "noise_seed": list(range(members))[::-1],
        "seed": [3 * i for i in range(members)],
    }
    wanted = xn.fit(RICH, x, y, **asked)
    assert len(set(wanted.history.best_epoch)) > 2
    found = xn.fit(RICH, x, y, **asked, client=client, block=3)
    assert_same(found, wanted)
    # And from there on.
    more = {"theta": found.theta, "state": found.state, "layer_state": found.layer_state}
    asked = {**asked, **more, "seed": None}
    assert_same(xn.fit(RICH, x, y, **asked, client=client, block=4), xn.fit(RICH, x, y, **asked))


def test_generators_are_drawn_from_as_on_one_machine(client):
    def generators():
        return {"seed": np.random.RandomState(0), "shuffle_seed": np.random.default_rng(1)}

    asked = {**PLAIN, "members": 6, "batch_size": 5, "epochs": 3}
    ours, theirs = generators(), generators()
    wanted = xn.fit(NET, *XOR, **asked, **theirs)
    assert_same(xn.fit(NET, *XOR, **asked, **ours, client=client, block=2), wanted)
    assert ours["seed"].uniform() == theirs["seed"].uniform()
    assert ours["shuffle_seed"].uniform() == theirs["shuffle_seed"].uniform()


def test_arrays_of_each_library_come_back_as_such(client, backend):
    x, y = (backend.asarray(array, "float64") for array in XOR)
    asked = {**PLAIN, "members": 5, "seed": 1, "validation": (x, y), "epochs": 5}
    wanted = xn.fit(NET, x, y, **asked)
    found = xn.fit(NET, x, y, **asked, client=client, block=2)
    assert backends.of(found.theta).name == backend.name
    ours, theirs = (backend.to_host(model.theta) for model in (found, wanted))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.history.val_loss, wanted.history.val_loss, atol=1e-12)


# ---- what is kept


@pytest.mark.parametrize("keep", ["theta", "best", "history"])
def test_what_is_kept_is_what_one_machine_keeps(client, keep):
    asked = {**PLAIN, "members": 9, "seed": 3, "validation": XOR, "acc_goal": 1.0, "keep": keep}
    wanted = xn.fit(RICH, *XOR, **asked)
    found = xn.fit(RICH, *XOR, **asked, client=client, block=2)
    if keep == "history":
        assert_same_history(found.history, wanted.history)
        assert found.members == 9
        with pytest.raises(AttributeError, match="keep='theta' keeps it"):
            found.theta  # noqa: B018
        return
    assert_same(found, wanted)
    whole = xn.fit(RICH, *XOR, **{**asked, "keep": "all"})
    best = whole.best()
    if keep == "theta":
        assert found.state is None
        assert len(found.history.loss) == 1
        np.testing.assert_array_equal(found.history.last("loss"), whole.history.last("loss"))
        np.testing.assert_array_equal(found.best().theta, best.theta)
    else:
        assert_same(found, best)


def test_keep_says_what_it_may_be():
    with pytest.raises(ValueError, match="keep must be one of all, theta, best, history, not 'th"):
        xn.fit(NET, *XOR, **PLAIN, seed=0, keep="thetas")
    with pytest.raises(ValueError, match="for a network alone, not 'best'"):
        xn.fit(NET, *XOR, **PLAIN, seed=0, keep="best")


def test_a_bar_counts_the_members_that_have_come_back(client):
    library("tqdm")
    file = io.StringIO()
    bar = xn.callbacks.ProgressBar(file, disable=False)
    xn.fit(NET, *XOR, **PLAIN, members=7, seed=0, client=client, block=2, callbacks=[bar])
    assert "7/7 [" in file.getvalue().splitlines()[-1]


# ---- what callbacks are told


def test_log_lines_and_optuna_are_told_means_of_who_has_come_back(client):
    optuna = library("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trial, lines = optuna.create_study().ask(), []
    lr = np.array([[0.1]] * 3 + [[1e200]] + [[0.1]] * 3)
    asked = {**PLAIN, "loss": xn.MSE(), "optimizer": xn.SGD(lr=lr), "members": 7, "seed": 0}
    watching = [xn.callbacks.LogLines(4, lines.append), xn.callbacks.Pruning(trial, "loss")]
    with pytest.warns(RuntimeWarning, match="The loss of 1 of 7 members became NaN"):
        model = xn.fit(NET, *XOR, **asked, client=client, block=2, callbacks=watching)
    mean = np.nanmean(model.history.last("loss"))
    said = f"Members: 7 of 7, loss: {mean:.6f} (mean of 6)."
    assert lines[-1] == said
    assert [line.split(",")[0] for line in lines[:-1]] in (
        ["Members: 4 of 7"],
        ["Members: 5 of 7"],  # where that of one member was before another
    )
    reported = trial.study.trials[0].intermediate_values
    assert list(reported)[-1] == 7
    assert reported[7] == pytest.approx(mean, rel=1e-12)


def test_what_a_pruner_ends_is_ended_on_all_workers(client):
    optuna = library("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    more = {"members": 40, "seed": 0, "block": 1, "client": client, "monitor": "val_loss"}

    def objective(trial):
        pruning = xn.callbacks.Pruning(trial)
        xn.fit(NET, *XOR, **PLAIN, **more, validation=XOR, callbacks=[pruning])

    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [1]


@pytest.mark.parametrize("every_epoch", [True, False])
def test_tensorboard_has_the_scalars_of_one_machine(client, tmp_path, every_epoch):
    library("tensorboardX")
    asked = {**PLAIN, "members": 5, "seed": 1, "validation": XOR, "check_every": 15}
    asked |= {"every_epoch": every_epoch, "metrics": ["auc"]}
    for name, how in (("here", {}), ("over", {"client": client, "block": 2})):
        log = xn.callbacks.TensorBoard(tmp_path / name)
        xn.fit(NET, *XOR, **asked, **how, callbacks=[log])
    here, over = scalars(tmp_path / "here"), scalars(tmp_path / "over")
    if not every_epoch:  # where one machine has them while they are there
        here = {tag: [one for one in of if one[0] in (15, 30, 40)] for tag, of in here.items()}
    assert over == here
    with pytest.raises(ValueError, match="keep must be 'all' or 'history' with a TensorBoard"):
        xn.fit(NET, *XOR, **asked, client=client, keep="best",
               callbacks=[xn.callbacks.TensorBoard(tmp_path / "none")])  # fmt: skip


# ---- to go on with


class Ends(xn.Callback):
    """Counts the members that were trained, and fails once so many are done."""

    def __init__(self, most=10**9):
        self.most, self.trained = most, 0

    def dealt(self, run):
        self.trained += len(run.back)
        if run.done >= self.most:
            raise InterruptedError


@pytest.mark.parametrize("keep", ["all", "best"])
def test_what_is_done_is_not_done_again(client, tmp_path, keep):
    library("safetensors")

    def begun():
        return {"seed": np.random.default_rng(0), "shuffle_seed": np.random.RandomState(1)}

    asked = {**PLAIN, "members": 9, "batch_size": 6, "validation": XOR, "keep": keep}
    asked |= {"client": client, "block": 3, "acc_goal": 0.9, "metrics": ["auc"], "epochs": 20}
    drawn, again = begun(), begun()
    wanted = xn.fit(RICH, *XOR, **asked, **drawn)
    saving = xn.callbacks.Checkpoint(tmp_path)
    with pytest.raises(InterruptedError):
        xn.fit(RICH, *XOR, **asked, **begun(), callbacks=[saving, Ends(6)], resume=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    lost = tmp_path / ".members-0-2.safetensors.x.part"
    lost.mkdir()
    rest = Ends()
    found = xn.fit(RICH, *XOR, **asked, **again, callbacks=[saving, rest], resume=tmp_path)
    assert not lost.exists()
    assert rest.trained == 3
    assert_same(found, wanted)
    for name, rng in drawn.items():
        assert again[name].uniform() == rng.uniform()
    none = Ends()
    whole = xn.fit(RICH, *XOR, **asked, **begun(), callbacks=[none], resume=tmp_path)
    assert none.trained == 0
    assert_same(whole, wanted)


def test_members_that_were_ended_before_their_time_are_trained_again(client, tmp_path):
    library("safetensors")
    asked = {**PLAIN, "members": 8, "seed": 2, "epochs": 600, "every_epoch": False, "block": 1}
    asked |= {"client": client, "resume": tmp_path}
    told = Told(lambda run: run.stop())
    saving = xn.callbacks.Checkpoint(tmp_path)
    first = xn.fit(NET, *XOR, **asked, callbacks=[saving, told])
    done = [int(path.name.split("-")[1]) for path in tmp_path.iterdir()]
    assert 0 < len(done) < 8
    assert (first.history.trained[done] == 600).all()
    rest = Ends()
    found = xn.fit(NET, *XOR, **asked, callbacks=[saving, rest])
    assert rest.trained == 8 - len(done)
    wanted = xn.fit(NET, *XOR, **{**asked, "client": None, "resume": None})
    assert_same(found, wanted)


def test_another_training_does_not_go_on_from_blocks(client, tmp_path):
    library("safetensors")
    asked = {**PLAIN, "members": 4, "seed": 0, "epochs": 3}
    over = {**asked, "client": client, "block": 2}
    saving = xn.callbacks.Checkpoint(tmp_path / "over")
    wanted = xn.fit(NET, *XOR, **over, callbacks=[saving])
    for change, said in (
        ({"epochs": 4}, "epochs must be what it was in the training of .*, 3, not 4"),
        ({"seed": 1}, "seed must be what it was .*, 0, not 1"),
        ({"seed": np.random.default_rng(0)}, "seed must be what it was .*, 0, not a Generator"),
        ({"shuffle_seed": 1}, "shuffle_seed must be what it was"),
        ({"keep": "theta"}, "keep must be what it was .*, 'all', not 'theta'"),
        ({"optimizer": xn.SGD(0.1)}, "optimizer must be what it was"),
        ({"callbacks": [saving], "resume": None}, "path must be a folder without checkpoints"),
        ({"client": None}, "resume must be a checkpoint of epochs without client"),
        ({"resume": tmp_path / "over" / "members-0-1.safetensors"}, "give the folder that it is"),
    ):
        with pytest.raises(ValueError, match=said):
            xn.fit(NET, *XOR, **{**over, "resume": tmp_path / "over", **change})
    here = xn.callbacks.Checkpoint(tmp_path / "here")
    xn.fit(NET, *XOR, **asked, check_every=1, callbacks=[here])
    with pytest.raises(ValueError, match="checkpoints of epochs; go on from that without client"):
        xn.fit(NET, *XOR, **over, resume=tmp_path / "here")
    damaged = tmp_path / "over" / "members-2-3.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.warns(RuntimeWarning, match="A block is left out, and trained again: path must"):
        found = xn.fit(NET, *XOR, **over, callbacks=[saving], resume=tmp_path / "over")
    assert_same(found, wanted)


KILLED = """
import os, signal, sys
from pathlib import Path
import distributed
from tests.test_cluster import NET, PLAIN, XOR
import xpnet as xn

replace, left = Path.replace, iter(range(4))  # that of the trial, and three

def last(self, target):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = last
client = distributed.Client(sys.argv[1])
xn.fit(NET, *XOR, **PLAIN, members=12, seed=1, client=client, block=1,
       callbacks=[xn.callbacks.Checkpoint(sys.argv[2])])
"""


@pytest.mark.program
def test_where_the_client_is_killed_another_goes_on(workers, tmp_path):
    library("safetensors")
    command = [sys.executable, "-c", KILLED, workers.scheduler.address, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(tmp_path.glob("members-*"))) == 3
    asked, rest = {**PLAIN, "members": 12, "seed": 1}, Ends()
    saving = xn.callbacks.Checkpoint(tmp_path)
    found = xn.fit(NET, *XOR, **asked, client=workers, block=1, callbacks=[saving, rest],
                   resume=tmp_path)  # fmt: skip
    assert rest.trained == 9
    assert_same(found, xn.fit(NET, *XOR, **asked))
    assert not list(tmp_path.glob(".*"))


# ---- what goes wrong


class Held(xn.Layer):
    """Holds something."""

    def __init__(self, what):
        self.what = what

    def forward(self, xp, params, x):
        return x, lambda dy, need_dx=True: (dy, ())

    def apply(self, xp, params, x):
        return x


class Checks(xn.Callback):
    """Knows of epochs alone."""

    def check(self, run):
        raise NotImplementedError


class Told(xn.Callback):
    """Does something after the first block that comes back."""

    def __init__(self, act):
        self.act, self.counts = act, []

    def dealt(self, run):
        self.counts.append(run.done)
        if len(self.counts) == 1:
            self.act(run)


@pytest.mark.program
@pytest.mark.parametrize("killed", [1, 2])
def test_what_a_killed_worker_had_is_done_again(workers, killed):
    asked = {**PLAIN, "members": 12, "seed": 1, "epochs": 600, "every_epoch": False}
    workers.wait_for_workers(2)
    pids = list(workers.run(os.getpid).values())

    def kill(run):
        for pid in pids[:killed]:
            os.kill(pid, signal.SIGKILL)

    told = Told(kill)
    found = xn.fit(NET, *XOR, **asked, client=workers, block=1, callbacks=[told])
    assert told.counts == list(range(1, 13))
    assert_same(found, xn.fit(NET, *XOR, **asked))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Failing(xn.SGD):
    """Has no moments for members of which the second begins like ``wrong``, at the first tries."""

    wrong: float = 0.0

    def init_state(self, xp, theta):
        if len(theta) == 2 and theta[1, 0] == self.wrong and len(TRIES) < 2:
            TRIES.append(theta)
            raise ArithmeticError("no moments for\nthese.")
        return {}


TRIES = []


def test_a_block_that_fails_twice_is_named_and_the_others_are_kept(client):
    optimizer = Failing(lr=0.1, wrong=NET.init(3, like=XOR[0])[0].item())
    asked = {**PLAIN, "optimizer": optimizer, "members": 5, "seed": 0, "epochs": 3}
    pattern = "^Members 2 to 3 failed twice: ArithmeticError: no moments for these[;.]"
    with pytest.raises(BlockFailed, match=pattern) as failed:
        xn.fit(NET, *XOR, **asked, client=client, block=2)
    assert failed.value.members == range(2, 4)
    assert isinstance(failed.value.__cause__, ArithmeticError)
    assert len(TRIES) == 2
    model = failed.value.model  # what failed is begun here
    assert model.history.stopped
    trained = model.history.trained
    assert trained[2:4].tolist() == [0, 0]
    np.testing.assert_array_equal(model.theta[3], NET.init(3, like=XOR[0]))
    whole = xn.fit(NET, *XOR, **asked)
    np.testing.assert_array_equal(model.theta[trained == 3], whole.theta[trained == 3])


@pytest.mark.program
def test_classes_of_ones_own_go_to_the_workers(workers):
    class Own(xn.Layer):
        def forward(self, xp, params, x):
            return 2 * x, lambda dy, need_dx=True: (2 * dy, ())

        def apply(self, xp, params, x):
            return 2 * x

    net = xn.Sequential(xn.Linear(2, 3), Own(), xn.Linear(3, 1))
    asked = {**PLAIN, "members": 4, "seed": 0, "epochs": 3}
    assert_same(xn.fit(net, *XOR, **asked, client=workers, block=2), xn.fit(net, *XOR, **asked))


@pytest.mark.parametrize("keep", ["all", "best"])
def test_after_ctrl_c_all_that_was_done_comes_back(client, keep):
    asked = {**PLAIN, "members": 40, "seed": 2, "keep": keep}
    told = Told(lambda run: signal.raise_signal(signal.SIGINT))
    found = xn.fit(NET, *XOR, **asked, client=client, block=1, callbacks=[told])
    assert found.history.interrupted
    if keep == "all":
        whole = xn.fit(NET, *XOR, **asked)
        done, none = found.history.trained == 40, found.history.trained == 0
        assert done[0]
        assert none[-1]
        np.testing.assert_array_equal(found.theta[done], whole.theta[done])
        np.testing.assert_array_equal(found.theta[none], NET.init(2, like=XOR[0], members=40)[none])


def test_what_workers_warn_of_is_heard_here(client):
    class Asks(xn.Layer):
        def forward(self, xp, params, x):
            return self.apply(xp, params, x), lambda dy, need_dx=True: (dy, ())

        def apply(self, xp, params, x):
            return x + 0 * float(xp.max(x))

    net = xn.Sequential(xn.Linear(2, 1), Asks())
    lr = np.array([[0.1], [1e200], [0.1]])
    asked = {**PLAIN, "loss": xn.MSE(), "optimizer": xn.SGD(lr=lr), "members": 3, "seed": 0}
    with pytest.warns(RuntimeWarning) as heard:
        found = xn.fit(net, *XOR, **asked, client=client, block=1)
    said = [str(one.message) for one in heard]
    assert len(said) == 2
    assert said[0].startswith("On a worker: ")
    assert said[1].startswith("The loss of 1 of 3 members became NaN")
    assert np.flatnonzero(found.history.diverged).tolist() == [1]


@pytest.mark.program
def test_where_the_scheduler_is_lost_what_was_done_is_kept():
    asked = {**PLAIN, "members": 30, "seed": 2, "epochs": 500}
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        told = Told(lambda run: cluster.close())
        with pytest.raises(BlockFailed, match="The connection of client to its scheduler is lost"):
            xn.fit(NET, *XOR, **asked, client=client, block=1, callbacks=[told])


LACKING = "raise ModuleNotFoundError('no xpnet here')"
"""Of a worker on which xpnet is not installed, wherever these tests run."""


@pytest.mark.program
@pytest.mark.parametrize("kind", ["none", "older"])
def test_workers_that_could_not_do_the_same_are_told(tmp_path, kind):
    package = tmp_path / "xpnet"
    if kind == "none":
        package.mkdir()
        (package / "__init__.py").write_text(LACKING, encoding="utf-8")
        said = r"that have xpnet and compute on numpy, .* not such as tcp:.*: no xpnet here\."
    else:
        shutil.copytree(Path(xn.__file__).parent, package)
        with (package / "__init__.py").open("a", encoding="utf-8") as file:
            file.write('__version__ = "0.0.9"')
        said = (
            rf"of workers that have xpnet {xn.__version__}, as this process, not 0\.0\.9, as tcp:"
        )
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        command = ["-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        worker = subprocess.Popen(
            [sys.executable, *command, "--nthreads", "1", "--no-nanny", "--no-dashboard"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stderr=subprocess.DEVNULL,
        )
        try:
            with (
                pytest.warns(RuntimeWarning, match="has no workers yet, and fit waits"),
                pytest.raises(ValueError, match=said),
            ):
                xn.fit(NET, *XOR, **PLAIN, members=4, seed=0, client=client)
        finally:
            worker.terminate()
            worker.wait()


def test_another_version_of_what_digits_depend_on_is_told_once(client):
    from xpnet.distributed.cluster import greet  # which needs dask.distributed

    wanted = versions_of(backends.get("numpy"))
    work = Work(
        "", b"", {}, "numpy", "cpu", "float64", 1, 1, "all", False, {**wanted, "numpy": "1"}
    )
    with pytest.warns(RuntimeWarning, match="A worker has numpy .*, not 1 as this process") as said:
        assert len(greet(client, work, "auto")) == 1  # of two workers
    assert len(said) == 1


def test_what_cannot_be_dealt_out_is_refused_before_anything_is_sent(client, tmp_path):
    def refused(kind, said, net=NET, **asked):
        with pytest.raises(kind, match=said):
            xn.fit(net, *XOR, **{**PLAIN, "members": 4, "seed": 0, "client": client, **asked})

    refused(
        TypeError,
        r"client must be a dask.distributed.Client, as .* make one, not 'tcp",
        client="tcp://1:2",
    )
    refused(ValueError, r"members must be the number of networks with client", members=None)
    refused(
        TypeError,
        r"callbacks\[0\] must be one that can watch a cluster .* not <.*Checks",
        callbacks=[Checks()],
    )
    refused(ValueError, r"seed must hold one seed for each of the 4 members", seed=[1, 2])
    refused(ValueError, r"lr must be a number, or an array of shape \(4, 1\) for 4 members",
            optimizer=xn.Adam(lr=np.ones((3, 1))))  # fmt: skip
    refused(ValueError, r"noise_seed must hold one seed for each", noise_seed=[1])
    theta = NET.init(0, like=XOR[0], members=4)
    state = xn.Adam().init(theta[:3])
    refused(ValueError, r"state\['m'\] must have the 4 members", seed=None, theta=theta,
            state=state)  # fmt: skip
    refused(ValueError, r"batch_size must be at most the 21 samples", batch_size=22)
    gone = threading.Lock()
    refused(TypeError, r"network must be what can be sent to workers with client, not a Seq.*lock",
            net=xn.Sequential(xn.Linear(2, 1), Held(gone)))  # fmt: skip
    np.save(tmp_path / "x.npy", XOR[0])
    held = np.load(tmp_path / "x.npy", mmap_mode="r"), XOR[1]
    refused(TypeError, r"validation\[0\] must be the path of its file with client",
            validation=held, batch_size=3)  # fmt: skip
    array = library("dask.array").from_array(XOR[0])
    with pytest.raises(TypeError, match=r"not an array of dask, .* use x\.compute"):
        xn.fit(NET, array, XOR[1], **PLAIN, members=4, batch_size=3, client=client)
    with distributed.Client(client.scheduler.address) as other:
        pass
    refused(ValueError, r"client must be connected to a scheduler, not closed", client=other)
