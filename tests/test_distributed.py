"""Several processes train together as one would of all their samples, and fail together."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import by_ranks, host, library
from xpnet.callbacks import Checkpoint
from xpnet.distributed.comm import Communicator, communicator
from xpnet.distributed.ranks import Ranks
from xpnet.training.checkpoint import newest

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(1)
X, WEIGHTS = RNG.normal(size=(32, 3)), RNG.random(32)
Y = (X[:, :1] > X[:, 1:2] * X[:, 2:]).astype(float)
NET = xn.Sequential(xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 1))
SCALED = xn.Sequential(xn.Standardize(3), NET)
NOISY = xn.Sequential(xn.Linear(3, 4), xn.Dropout(0.4), xn.Tanh(), xn.Linear(4, 1))


def fit(backend, rows=slice(None), comm=None, net=NET, weights=False, x=None, **asked):
    """Some of the samples, trained on alone or as one rank."""
    own, y, weight = (backend.asarray(part[rows], "float64") for part in (X, Y, WEIGHTS))
    x = own if x is None else x
    if weights:
        asked["sample_weight"] = weight
    given = {"loss": xn.BCEWithLogits(), "optimizer": xn.Adam(lr=1e-2), "epochs": 6, "seed": 0}
    return xn.fit(net, x, y, comm=comm, **given | asked)


def rows_of(comm, edges=(0, 12, 32)):
    return slice(edges[comm.Get_rank()], edges[comm.Get_rank() + 1])


@pytest.mark.slow_on("jax")  # which compiles the two halves for each rank
@pytest.mark.parametrize(
    "asked",
    [
        {"net": SCALED, "batch_size": 8, "weights": True},
        {"members": 2, "check_every": 3},
    ],
)
def test_ranks_train_as_one_process_does(backend, asked):
    alone = fit(backend, **asked)
    found = by_ranks(2, lambda comm: fit(backend, rows_of(comm), comm, **asked))
    for model in found:
        assert not isinstance(model, Exception), model
        assert np.abs(host(backend, model.theta) - host(backend, alone.theta)).max() <= 1e-15
        assert np.abs(model.history.loss - alone.history.loss).max() <= 1e-15
        assert np.abs(model.history.accuracy - alone.history.accuracy).max() <= 1e-15
    one, two = (host(backend, model.theta) for model in found)
    assert one.tobytes() == two.tobytes()


NUMPY = xn.backends.get("numpy")


def test_a_rank_alone_is_no_other_training():
    alone = fit(NUMPY, net=NOISY, batch_size=7)
    (model,) = by_ranks(1, lambda comm: fit(NUMPY, comm=comm, net=NOISY, batch_size=7))
    assert model.theta.tobytes() == alone.theta.tobytes()
    assert model.history.loss.tobytes() == alone.history.loss.tobytes()


@pytest.mark.parametrize("batch_size", [None, 7])
def test_masks_are_those_of_the_whole_batch(batch_size):
    alone = fit(NUMPY, net=NOISY, batch_size=batch_size).theta
    for model in by_ranks(
        2, lambda comm: fit(NUMPY, rows_of(comm), comm, NOISY, batch_size=batch_size)
    ):
        assert np.abs(model.theta - alone).max() <= 1e-15


def test_validation_is_of_the_samples_of_all_ranks():
    asked = {"metrics": ["auc", "f1"], "patience": 2, "check_every": 1, "epochs": 12}

    def held(rows):
        return X[rows] + 0.1, Y[rows], WEIGHTS[rows]

    alone = fit(NUMPY, validation=held(slice(None)), **asked).history
    for model in by_ranks(
        2, lambda comm: fit(NUMPY, rows_of(comm), comm, validation=held(rows_of(comm)), **asked)
    ):
        found = model.history
        assert found.best_epoch == alone.best_epoch
        for name in alone.val_metrics:
            np.testing.assert_allclose(found.val_metrics[name], alone.val_metrics[name], 1e-14)
        np.testing.assert_allclose(found.val_loss, alone.val_loss, 1e-14)


@pytest.mark.parametrize(
    "asked",
    [
        {"net": NOISY, "accumulate": 2, "weights": True},
        {"net": NOISY, "members": 2},
        {"net": NOISY, "threads": 2, "weights": True, "accumulate": 2},
        {"net": NOISY, "threads": 2, "batch_size": None},
    ],
)
def test_ranks_may_accumulate_have_members_that_draw_and_threads(asked):
    asked = {"batch_size": 5, **asked}
    alone = fit(NUMPY, **{**asked, "threads": 1})
    for size, edges in ((1, (0, 32)), (2, (0, 12, 32))):
        for model in by_ranks(size, lambda comm: fit(NUMPY, rows_of(comm, edges), comm, **asked)):  # noqa: B023
            assert not isinstance(model, Exception), model
            assert np.abs(model.theta - alone.theta).max() <= 1e-15
            assert np.abs(model.history.loss - alone.history.loss).max() <= 1e-15
            assert np.abs(model.history.accuracy - alone.history.accuracy).max() <= 1e-15


class Rows:
    """What is read by rows, in ascending order, each once, as a file of h5py."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice) or (np.diff(rows) > 0).all()
        return self.values[rows]


@pytest.mark.slow_on("jax")  # which compiles the two halves for each rank
@pytest.mark.parametrize("asked", [{"net": NOISY, "members": 2, "block": 1}, {"accumulate": 2}])
def test_each_rank_reads_samples_of_its_own_by_rows(backend, asked):
    asked = {"batch_size": 6, "check_every": 2, "metrics": ["auc"], "weights": True, **asked}

    def held(rows, read):
        return read(X[rows] + 0.1), *(backend.asarray(a[rows], "float64") for a in (Y, WEIGHTS))

    def one(comm):
        rows = rows_of(comm)
        return fit(backend, rows, comm, x=Rows(X[rows]), validation=held(rows, Rows), **asked)

    everyone = slice(None), lambda x: backend.asarray(x, "float64")
    alone = fit(backend, validation=held(*everyone), **asked)
    for model in by_ranks(2, one):
        assert not isinstance(model, Exception), model
        assert np.abs(host(backend, model.theta) - host(backend, alone.theta)).max() <= 1e-15
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_auc"):
            there, here = getattr(model.history, name), getattr(alone.history, name)
            assert np.abs(there - here).max() <= 1e-15, name


def test_what_one_rank_cannot_read_ends_all():
    class Torn(Rows):
        def __getitem__(self, rows):
            if len(self.values) == 20 and not isinstance(rows, slice) and rows[-1] == 19:
                raise OSError("the file ends")
            return super().__getitem__(rows)

    def one(comm):
        rows = rows_of(comm)
        return fit(NUMPY, rows, comm, x=Torn(X[rows]), batch_size=4)

    first, second = by_ranks(2, one)
    assert isinstance(second, OSError) and "the file ends" in str(second)
    assert str(first) == f"On rank 1: OSError: {second}"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda last: {"batch_size": 8 + last}, "batch_size must be the same on all ranks, but is"),
        (lambda last: {"seed": last}, "theta must be the same on all ranks at the beginning"),
        (lambda last: {"epochs": 1 - last}, "epochs must be a whole number of at least 1, not 0"),
        (lambda last: {"weights": bool(last)}, "sample_weight must be the same on all ranks"),
        (lambda last: {"threads": 1 + last}, "threads must be the same on all ranks, but is 2"),
        (
            lambda last: {"x": Rows(X[12:]), "batch_size": 4} if last else {"batch_size": 4},
            "x read",
        ),
        (lambda last: {"batch_size": 33}, "batch_size must be at most the 32 samples of x, not 33"),
        (lambda last: {"net": xn.Sequential(xn.RobustScale(3), NET)}, "statistics are not sums"),
        (lambda last: {"validation": (X, Y[: 32 - last])}, "In validation, y must"),
    ],
)
def test_a_mistake_on_one_rank_is_an_error_on_all(asked, said):
    found = by_ranks(2, lambda comm: fit(NUMPY, rows_of(comm), comm, **asked(comm.Get_rank())))
    for error in found:
        assert isinstance(error, ValueError)
        assert said in str(error)


def test_what_fails_on_one_rank_ends_all():
    class Full(xn.Callback):
        def check(self, run):
            raise OSError("the disk is full")

    def one(comm):
        return fit(NUMPY, rows_of(comm), comm, callbacks=[Full()])

    first, second = by_ranks(2, one)
    assert isinstance(first, OSError)
    assert str(second) == "On rank 0: OSError: the disk is full"


def test_a_step_that_fails_on_one_rank_ends_all():
    strict, done = xn.backends.get("strict"), []

    class Heavy(xn.Layer):
        samplewise = True

        def apply(self, xp, params, x):
            return x

        def forward(self, xp, params, x):
            done.append(1)
            if x.shape[-2] == 20 and len(done) > 20:
                raise MemoryError("no room")
            return x, lambda dy, need_dx=True: (dy, ())

    net = xn.Sequential(xn.Linear(3, 2), Heavy(), xn.Linear(2, 1))
    first, second = by_ranks(2, lambda comm: fit(strict, rows_of(comm), comm, net, epochs=50))
    assert str(first) == "On rank 1: MemoryError: no room"
    assert isinstance(second, MemoryError)


@pytest.mark.parametrize("read", [np.asarray, Rows], ids=["in memory", "read by rows"])
def test_a_checkpoint_is_gone_on_from_by_any_number_of_ranks(tmp_path, read):
    library("safetensors")
    asked = {"batch_size": 8, "weights": True, "check_every": 2}
    whole = fit(NUMPY, epochs=12, **asked).theta

    def some(epochs, edges):
        def one(comm):
            rows = rows_of(comm, edges)
            return fit(
                NUMPY, rows, comm, x=read(X[rows]), epochs=epochs, resume=tmp_path,
                callbacks=[Checkpoint(tmp_path)], **asked,
            )  # fmt: skip

        return one

    for epochs, edges in ((4, (0, 12, 32)), (8, (0, 3, 17, 32))):
        by_ranks(len(edges) - 1, some(epochs, edges))
        assert newest(tmp_path)[1].epoch == epochs
    last = fit(NUMPY, x=read(X), epochs=12, resume=tmp_path, **asked)  # alone
    assert np.abs(last.theta - whole).max() <= 1e-15


@pytest.mark.parametrize("members", [None, 2])
def test_arrays_of_a_device_are_summed_up_where_they_lie_by_who_takes_them(members):
    library("array_api_strict")
    there, asked = xn.backends.get("strict", "device1"), {"members": members, "batch_size": 9}

    class Device(Communicator):
        """Sums up arrays of that device; of the host what is said besides steps."""

        def __init__(self, comm):
            self.comm, self.size, self.rank, self.summed = comm, 2, comm.Get_rank(), 0

        def takes(self, array):
            return array.device == there.device

        def sum(self, values):
            own = values if isinstance(values, np.ndarray) else there.to_host(values)
            total = np.empty_like(own)
            self.comm.Allreduce(own, total)
            if own is values:
                values[...] = total
            else:
                self.summed += 1
                values[...] = there.asarray(total, "float64")

        def from_rank(self, value, rank):
            return self.comm.bcast(value, rank)

    def one(comm):
        device = Device(comm)
        return fit(there, rows_of(comm), Ranks(device), **asked).theta, device.summed

    alone = host(there, fit(there, **asked).theta)
    for theta, summed in by_ranks(2, one):
        assert np.abs(host(there, theta) - alone).max() <= 1e-15
        assert summed == 6 * 4


def test_mpi_is_handed_arrays_of_a_gpu_where_it_is_said_to_take_them(monkeypatch):
    mpi = library("mpi4py.MPI")
    comm = communicator(mpi.COMM_SELF)

    class OnGPU:
        __cuda_array_interface__ = None

    assert not comm.takes(OnGPU())
    monkeypatch.setenv("XPNET_CUDA_MPI", "1")
    assert comm.takes(OnGPU()) and not comm.takes(X)


@pytest.mark.parametrize(
    ("name", "lie"),
    [
        ("numpy", "columns"), ("numpy", "turned round"), ("numpy", "members last"),
        ("torch", "columns"), ("torch", "members last"),  # which has no strides below 0
    ],
)  # fmt: skip
def test_samples_of_members_may_lie_in_memory_as_they_like(name, lie):
    library(name)
    x = np.random.default_rng(2).normal(size=(3, 32, 3))
    how = {
        "columns": np.asfortranarray(x),
        "turned round": np.ascontiguousarray(x[:, ::-1])[:, ::-1],
        "members last": np.ascontiguousarray(np.moveaxis(x, 0, -1)).transpose(2, 0, 1),
    }[lie]
    backend = xn.backends.get(name)

    def theta(x, rows, comm=None):
        own = x[:, rows] if name == "numpy" else library("torch").from_numpy(x)[:, rows]
        return host(backend, fit(backend, rows, comm, x=own, members=3, batch_size=9).theta)

    alone = theta(x, slice(None))
    for found in by_ranks(2, lambda comm: theta(how, rows_of(comm), comm)):
        assert np.abs(found - alone).max() <= 1e-15


@pytest.mark.parametrize("comm", ["mpi", 4, np, os])
def test_what_is_no_communicator_is_refused(comm):
    with pytest.raises(TypeError, match="comm must be a communicator such as MPI"):
        fit(NUMPY, comm=comm)


# ---- with MPI, and with PyTorch's processes


def mpiexec(ranks, *command):
    library("mpi4py")
    program = Path(sys.executable).with_name("mpiexec")
    found = str(program) if program.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("mpiexec is not installed")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [found, "-n", str(ranks), sys.executable, *command],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.program
@pytest.mark.parametrize(("ranks", "asked"), [(2, "claims,mistakes"), (3, "claims")])
def test_ranks_of_mpi_train_as_one_process_does_and_fail_together(ranks, asked):
    done = mpiexec(ranks, "-m", "tests.ranks", "mpi", "numpy", asked)
    assert done.stdout.count("done") == ranks, done.stdout + done.stderr


@pytest.mark.program
@pytest.mark.parametrize(("ranks", "optim"), [(2, "vanilla"), (3, "adam")])
def test_the_report_has_its_digits_on_any_number_of_ranks(ranks, optim, tmp_path):
    asked = [
        *("--dataset", "xor", "--optim", optim, "--activation", "leaky_relu", "--lr", "1e-2"),
        *("--epoch_logging", "500", "--is_writer_logging", "False", "--dir_output", str(tmp_path)),
    ]
    done = mpiexec(ranks, "scripts/train.py", "--mpi", *asked)
    assert done.returncode == 0, done.stderr
    facts = json.loads((ROOT / "scripts/report/facts.json").read_text(encoding="utf-8"))
    of_xor = (run for run in facts["runs"] if run["dataset"] == "xor")
    run = next(run for run in of_xor if run["optim"] == optim)
    assert f"Early stop at epoch {run['stop']}." in done.stdout
    for epoch, loss, accuracy in run["log"]:
        assert f"Epoch: {epoch}, loss: {loss:.6f}, acc: {accuracy:.6f}." in done.stdout
    assert len(list(tmp_path.iterdir())) == 1  # one picture, of all


@pytest.mark.program
def test_a_mistake_of_several_ranks_is_told_once():
    done = mpiexec(2, "scripts/train.py", "--mpi", "--lr", "much")
    told = "scripts/train.py: error: --lr must be a finite number of at least 0, not 'much'."
    assert done.returncode == 2
    assert done.stderr.count("error:") == done.stderr.count(told) == 1, done.stderr


@pytest.mark.program
def test_ranks_of_which_one_is_killed_go_on_from_their_checkpoint_as_others(tmp_path):
    killed = mpiexec(3, "-m", "tests.ranks", "mpi", "numpy", "resumed", str(tmp_path), "die")
    assert killed.returncode != 0 and "done" not in killed.stdout
    done = mpiexec(2, "-m", "tests.ranks", "mpi", "numpy", "resumed", str(tmp_path), "go")
    assert done.stdout.count("done") == 2, done.stdout + done.stderr


@pytest.mark.program
def test_processes_of_pytorch_train_as_one_does(tmp_path):
    library("torch")
    command = [sys.executable, "-m", "tests.ranks", "gloo", "torch", "claims"]
    running = [
        subprocess.Popen(
            [*command, str(rank), "2", str(tmp_path / "meeting")],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for one in running:
        said, _ = one.communicate(timeout=120)
        assert said.split()[-1:] == ["done"], said


@pytest.mark.program
def test_samples_that_devices_of_jax_share_are_trained_on_by_all():
    library("jax")
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "tests.sharded"],
        cwd=ROOT, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["done"], done.stdout + done.stderr
