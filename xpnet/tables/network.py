"""A network for a table: what goes in column by column, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence

from xpnet import checks
from xpnet.layers import (
    Columns,
    Dropout,
    Embedding,
    Layer,
    Linear,
    LinearBatchEnsemble,
    LinearEnsemble,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    ReLU,
    Repeat,
    RobustScale,
)
from xpnet.layers.batch_ensemble import uniform
from xpnet.network import Sequential

ARCHITECTURES = ("mlp", "tabm")
EMBEDDINGS = ("piecewise", "periodic")

OF_CATEGORY = 8
"""How long the vector of a category is at most: as many numbers as it has codes, but no more."""


def table_network(
    numeric: int,
    sizes: Sequence[int],
    outputs: int,
    *,
    hidden: Sequence[int] = (256, 256),
    architecture: str = "mlp",
    k: int = 32,
    numerical_embedding: str | None = None,
    embedding_dim: int = 8,
    bins: int = 48,
    activation: Layer | None = None,
    dropout: float = 0.0,
) -> Sequential:
    """A network for the features that a `Preparation` makes of a table: numbers, then codes.

    Numbers go through a `RobustScale` and an embedding, if one is wanted, the codes of each
    category through an `Embedding`; all of it through a multi-layer perceptron, or ``k`` that share
    their weights (TabM), whose outputs are for an `EnsembleLoss`.

    Args:
        numeric: how many features are numbers.
        sizes: how many codes each feature behind them has.
        outputs: how many outputs a network has.
        hidden: the widths of the hidden layers.
        architecture: ``"mlp"`` or ``"tabm"``.
        k: how many networks share weights, where it is ``"tabm"``.
        numerical_embedding: ``"piecewise"``, ``"periodic"`` or ``None``.
        embedding_dim: the length of the vector of a number.
        bins: how many pieces of each number there are.
        activation: behind each hidden layer; ``None`` for `ReLU`.
        dropout: how much of the hidden layers' outputs is dropped in training.

    Raises:
        TypeError, ValueError: if an argument is none of these.
    """
    checks.one_of("architecture", architecture, ARCHITECTURES)
    shared, drawn = architecture == "tabm", (uniform(), uniform())
    reading, groups = front(numeric, sizes, numerical_embedding, embedding_dim, bins)
    width = sum(groups)
    layers = [*reading, *([Repeat(width, k)] if shared else [])]
    for i, size in enumerate(hidden):
        if shared:
            apart = ("signs" if max(groups) == 1 else "normal", groups) if i == 0 else ()
            layers.append(LinearBatchEnsemble(width, size, k, *apart))
        else:
            layers.append(Linear(width, size, *drawn))
        layers.append(activation or ReLU())
        if dropout:
            layers.append(Dropout(dropout))
        width = size
    last = LinearEnsemble(width, outputs, k) if shared else Linear(width, outputs, *drawn)
    return Sequential(*layers, last)


def front(
    numeric: int, sizes: Sequence[int], embedding: str | None, dim: int, bins: int
) -> tuple[list[Layer], tuple[int, ...]]:
    """The layers that read the samples, and the lengths of the vectors that they make."""
    numbers: list[Layer] = [RobustScale(numeric)] if numeric else []
    groups = [1] * numeric
    if numeric and embedding is not None:
        checks.one_of("numerical_embedding", embedding, EMBEDDINGS)
        piecewise = embedding == "piecewise"
        numbers.append(
            PiecewiseLinearEmbedding(numeric, dim, bins)
            if piecewise
            else PeriodicEmbedding(numeric, dim)
        )
        groups = [dim] * numeric
    codes = [Embedding(size, min(size, OF_CATEGORY)) for size in sizes]
    groups += [one.embedding_dim for one in codes]
    if not codes:
        return numbers, tuple(groups)
    return [Columns(*([Sequential(*numbers)] if numbers else []), *codes)], tuple(groups)
