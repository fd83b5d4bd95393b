"""Who is set against whom, on what, and what xpnet promises: the table of targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks import (
    peers_c,
    peers_jax,
    peers_numpy,
    peers_sklearn,
    peers_thinc,
    peers_torch,
    peers_validating,
    peers_xpnet,
)
from benchmarks.peers_xpnet import NATIVE
from benchmarks.problems import Factory, Problem

CONTESTANTS: dict[str, Factory] = {
    **peers_xpnet.PEERS,
    **peers_numpy.PEERS,
    **peers_torch.PEERS,
    **peers_jax.PEERS,
    **peers_sklearn.PEERS,
    **peers_thinc.PEERS,
    **peers_c.PEERS,
    **peers_validating.PEERS,
}
"""Everyone who can be measured, by name."""

NOTES = {
    "NumPy, the way of the report": "six separate parameters, the formulas of the textbook",
    "NumPy, straight line, out= everywhere": "every result in an array made beforehand",
    "torch.nn, fused Adam, torch's own loss": "a lesser loss: one fused kernel, no eps",
    "scikit-learn, MLPClassifier.fit": "no leaky ReLU, no eps in its loss, no accuracies: less",
    "scikit-learn, early_stopping": "holds others out, and asks for the accuracy alone: less",
    "skorch, NeuralNetClassifier": "PyTorch, its own epochs and data loader",
    "straight-line C, gcc -O3": "this step and no other, its network's sizes known to the compiler",
    "thinc": "always float32; no leaky ReLU, no eps, no accuracies: less",
    "the matrix products alone, NumPy": "no training at all: the floor that this BLAS sets",
    "one member alone, numpy": "xpnet itself, one network instead of a thousand",
    "one member alone, torch": "xpnet itself, one network instead of a thousand",
    "one member alone, jax": "xpnet itself, one network instead of a thousand",
    **{
        f"xpnet's own layer, {name}": "xpnet itself, with the layer that it has for it"
        for name in ("numpy", "torch", "jax")
    },
}
"""What should be known of a contestant when its time is read."""

LESS = {"scikit-learn, MLPClassifier.fit", "thinc"}
"""Who does less at report scale, and the same elsewhere."""


@dataclass(frozen=True)
class Pair:
    """One row of the table: xpnet on a library against a peer, and the least ratio promised."""

    on: str
    peer: str
    target: float | None = None


@dataclass(frozen=True)
class Work:
    """One problem and those who are measured on it.

    Attributes:
        name: what ``--only`` looks for.
        title: what the table says.
        steps: how many a timed run has; ``quick`` in a smoke run.
        memory: measured is not time, but the peak memory of a process of its own.
        gpu: only where xpnet finds a GPU through CuPy.
    """

    name: str
    title: str
    problem: Problem
    steps: int
    quick: int
    pairs: tuple[Pair, ...]
    memory: bool = False
    gpu: bool = False

    def note(self, name: str) -> str | None:
        """What should be known of a contestant here."""
        return None if name in LESS and self.problem.loss != "bce" else NOTES.get(name)

    def contestants(self) -> list[str]:
        """The names of all who take part, each once: xpnet's two ways in, and the peers."""
        ways = ("fit",) if self.memory or self.problem.held else ("fit", "runner")
        ours = [f"xpnet on {pair.on}: {way}" for pair in self.pairs for way in ways]
        return list(dict.fromkeys([*ours, *(pair.peer for pair in self.pairs)]))


REPORT = Problem()
WIDE = Problem(
    sizes=(784, 512, 512, 10),
    samples=1024,
    dtype="float32",
    activation="relu",
    loss="cross_entropy",
    accuracy=False,
    xor=False,
    lr=1e-3,
)
_NUMPY_TARGET = {128: 0.75, 1024: 0.9, 4096: 0.9}


def _wide(samples: int, steps: int, quick: int) -> Work:
    pairs = [
        Pair("numpy", "torch.nn, fused Adam", _NUMPY_TARGET[samples]),
        Pair("numpy", "scikit-learn, MLPClassifier.fit", 1.8),
        Pair("numpy", "thinc"),
        Pair("torch", "torch.nn, fused Adam", 1.0),
        Pair("jax", "jax.grad and optax in a scan", 1.0),
        Pair("jax", "jax.grad and optax, jit a step", 1.0),
    ]
    if samples == 4096:
        pairs.append(Pair("numpy", "the matrix products alone, NumPy", 0.8))
    return Work(
        f"wide-{samples}",
        f"784-512-512-10, ReLU, cross entropy, float32, Adam, batch {samples}",
        replace(WIDE, samples=samples),
        steps,
        quick,
        tuple(pairs),
    )


def _native(samples: int, steps: int) -> Work:
    return Work(
        f"native-wide-{samples}",
        f"784-512-512-10, ReLU, cross entropy, float32, Adam, batch {samples}, compiled before",
        replace(WIDE, samples=samples),
        steps,
        quick=2,
        pairs=(
            Pair(NATIVE, "xpnet on numpy: fit", 1.0),
            Pair(NATIVE, "torch.nn, fused Adam"),
            Pair(NATIVE, "the matrix products alone, NumPy"),
        ),
    )


def _own(activation: str, title: str) -> Work:
    libraries = ("numpy", "torch", "jax")
    return Work(
        activation.replace("_", "-"),
        f"784-512-512-10, batch 1024, float32, Adam, {title}",
        replace(WIDE, activation=activation),
        steps=60,
        quick=2,
        pairs=(
            *(Pair(name, f"xpnet's own layer, {name}") for name in libraries),
            *(Pair(name, "torch.nn, fused Adam") for name in libraries[:2]),
            Pair("jax", "jax.grad and optax in a scan"),
        ),
    )


WORKS = (
    Work(
        "report",
        "report scale: 2-4-4-1, 21 samples, float64, Adam, loss and accuracy of every step kept",
        REPORT,
        steps=3000,
        quick=200,
        pairs=(
            Pair("numpy", "NumPy, the way of the report", 1.7),
            Pair("numpy", "NumPy, straight line", 0.95),
            Pair("numpy", "NumPy, straight line, out= everywhere", 0.95),
            Pair("numpy", "torch.nn, fused Adam", 6),
            Pair("numpy", "torch.nn, Adam"),
            Pair("numpy", "torch.nn, fused Adam, torch.compile"),
            Pair("numpy", "torch.nn, fused Adam, torch's own loss"),
            Pair("numpy", "scikit-learn, MLPClassifier.fit", 5),
            Pair("numpy", "thinc"),
            Pair("torch", "torch.nn, fused Adam", 1.7),
            Pair("torch", "torch.nn, fused Adam, torch.compile"),
            Pair("torch", "torch.nn, fused Adam, torch's own loss"),
            Pair("jax", "jax.grad and optax in a scan", 1.2),
        ),
    ),
    _wide(128, steps=200, quick=3),
    _wide(1024, steps=60, quick=2),
    _wide(4096, steps=24, quick=1),
    Work(
        "batches",
        "784-512-512-10, float32, Adam, epochs of 40 batches of 128",
        replace(WIDE, samples=5120, batch=128),
        steps=200,
        quick=40,
        pairs=(
            Pair("numpy", "torch.nn, fused Adam"),
            Pair("numpy", "scikit-learn, MLPClassifier.fit"),
            Pair("torch", "torch.nn, fused Adam"),
            Pair("jax", "jax.grad and optax in a scan"),
            Pair("jax", "jax.grad and optax, jit a step"),
        ),
    ),
    Work(
        "validation",
        "digits' scale: 64-64-10, float32, Adam, batches of 32 of 1,504 samples, 297 held out and "
        "looked at after each epoch",
        replace(WIDE, sizes=(64, 64, 10), samples=1504, batch=32, held=297),
        steps=1410,
        quick=94,
        pairs=(
            Pair("numpy", "torch.nn, fused Adam, with validation", 1.0),
            Pair("numpy", "scikit-learn, early_stopping", 1.0),
            Pair("numpy", "skorch, NeuralNetClassifier"),
            Pair("torch", "torch.nn, fused Adam, with validation", 1.0),
            Pair("torch", "skorch, NeuralNetClassifier", 1.0),
            Pair("jax", "jax.grad and optax, a scan an epoch, with validation", 1.0),
        ),
    ),
    _own("own_gelu", "a GELU of one's own with x**3"),
    _own("own_layer_norm", "a layer norm of one's own with mean and var"),
    Work(
        "members",
        "1000 members at report scale, a member and step",
        replace(REPORT, members=1000),
        steps=300,
        quick=10,
        pairs=(
            Pair("numpy", "one member alone, numpy", 12),
            Pair("jax", "jax.vmap of a scan, optax", 1.0),
            Pair("jax", "one member alone, jax"),
            Pair("torch", "torch.func.vmap, fused Adam"),
            Pair("torch", "one member alone, torch"),
        ),
    ),
    Work(
        "native-report",
        "report scale, 30,000 steps, compiled before",
        REPORT,
        steps=30_000,
        quick=200,
        pairs=(
            Pair(NATIVE, "xpnet on numpy: fit", 15),
            Pair(NATIVE, "straight-line C, gcc -O3", 0.4),
        ),
    ),
    Work(
        "native-members",
        "1000 members at report scale, a member and step, compiled before",
        replace(REPORT, members=1000),
        steps=1000,
        quick=10,
        pairs=(
            Pair(NATIVE, "xpnet on jax: fit", 2),
            Pair(NATIVE, "xpnet on numpy: fit"),
        ),
    ),
    _native(128, steps=200),
    _native(1024, steps=60),
    _native(4096, steps=24),
    Work(
        "memory",
        "peak memory of 784-512-512-10, batch 4096, whole process",
        replace(WIDE, samples=4096),
        steps=5,
        quick=2,
        pairs=(
            Pair("numpy", "torch.nn, fused Adam", 1.0),
            Pair("torch", "torch.nn, fused Adam"),
            Pair("numpy", "scikit-learn, MLPClassifier.fit"),
            Pair("jax", "jax.grad and optax in a scan"),
        ),
        memory=True,
    ),
    Work(
        "gpu-report",
        "report scale on a GPU",
        REPORT,
        steps=3000,
        quick=100,
        pairs=(
            Pair("cupy", "torch.nn, fused Adam, eager on the GPU", 3),
            Pair("cupy", "torch.nn, fused Adam, captured CUDA graph", 1.0),
        ),
        gpu=True,
    ),
    Work(
        "gpu-wide",
        "784-512-512-10, float32, Adam, batch 4096 on a GPU",
        replace(WIDE, samples=4096),
        steps=500,
        quick=5,
        pairs=(
            Pair("cupy", "torch.nn, fused Adam, eager on the GPU", 1.0),
            Pair("cupy", "torch.nn, fused Adam, captured CUDA graph"),
        ),
        gpu=True,
    ),
    Work(
        "gpu-members",
        "100,000 members at report scale on a GPU, a member and step",
        replace(REPORT, members=100_000),
        steps=100,
        quick=3,
        pairs=(Pair("cupy", "torch.func.vmap, fused Adam, on the GPU", 1.0),),
        gpu=True,
    ),
)
