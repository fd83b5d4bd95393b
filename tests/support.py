"""What each array library has: from one table, which tests are collected where, and a page of docs.

python -m tests.support > docs/support.md
"""

from __future__ import annotations

from dataclasses import dataclass

from xpnet import backends

TARGETS = {
    "numpy": "NumPy",
    "strict": "array-api-strict",
    "torch": "PyTorch",
    "jax": "JAX",
    "cupy": "CuPy",
    "torch:cuda": "PyTorch on a GPU",
    "jax:cuda": "JAX on a GPU",
}
"""What tests run on, as ``--backend`` has it, and in words; on a CPU where nothing else is said."""

CPUS = {"numpy", "strict", "torch", "jax"}
EVERY = set(TARGETS)


@dataclass(frozen=True)
class Feature:
    """Something that some libraries have.

    Args:
        words: what it is, for the page.
        where: the `TARGETS` that have it.
    """

    words: str
    where: set[str]


def ways(wanted: str) -> set[str]:
    """Where steps run so: as backends declare it for a CPU; on a GPU nothing is recorded."""
    found = set()
    for target in TARGETS:
        name, _, device = target.partition(":")
        way = backends.way(name)
        if (("plain" if way == "recorded" else way) if device else way) == wanted:
            found.add(target)
    return found


RECORDED, COMPILED, PLAIN = map(ways, ("recorded", "compiled", "plain"))

FEATURES = {
    "recorded": Feature("a step is recorded once, and replayed as straight-line calls", RECORDED),
    "compiled": Feature("a checking interval is compiled as one program", COMPILED),
    "plain": Feature("a step runs operation by operation", PLAIN),
    "shelved": Feature("programs are kept from one `fit` to the next", RECORDED),
    "stepwise": Feature("Ctrl-C ends the step in hand, not the interval", EVERY - COMPILED),
    "spread": Feature("blocks of members are spread over threads of xpnet's", {"numpy", "jax"}),
    "split": Feature("a large batch is split over threads of xpnet's", {"numpy"}),
    "held": Feature("its threads are held to one where they would wait", CPUS - COMPILED),
    "writable": Feature("arrays can be written into; layers must not", EVERY - COMPILED),
    "quotients": Feature(
        "a number divided by itself is 1 (49/49 is a unit in the last place less where not)",
        EVERY - {"torch:cuda", "jax:cuda"},
    ),
    "digits": Feature("sums of many numbers of float32 keep their digits", EVERY - {"strict"}),
    "tested": Feature("the tests have been run there", CPUS | {"cupy", "torch:cuda"}),
}
"""By the names that the marker ``has`` knows."""


def has(target: str, feature: str) -> bool:
    """Whether a library has a feature; a device of array-api-strict is as another."""
    if target not in TARGETS:
        target = target.partition(":")[0]
    return target in FEATURES[feature].where


def page() -> str:
    """The page: a row for each feature, a column for each library."""
    lines = [
        "# Which library has what",
        "",
        "Layers, losses and optimizers are the same on every library; how steps run is not. The",
        "tests are collected by this table, and `tests/test_support.py` asks whether it is true.",
        "(Written by `python -m tests.support`.)",
        "",
        f"| | {' | '.join(TARGETS.values())} |",
        f"| --- |{' :-: |' * len(TARGETS)}",
    ]
    for feature in FEATURES.values():
        marks = ["yes" if target in feature.where else "–" for target in TARGETS]
        lines.append(f"| {feature.words} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
