"""A network as a table."""

from __future__ import annotations

import math

from xpnet import checks
from xpnet.layers.chain import Chain


def table(chain: Chain) -> str:
    """The layers, the shape that each gives, and how many numbers are its parameters.

    Where layers have state, a column says how many numbers that is.
    """
    rows = [["layer", "", "output", "parameters", "state"]]
    features: int | None = chain.in_features
    total = [0, 0]
    for link in chain.links:
        layer = link.layer
        features = layer.out_features or features
        counts = [sum(map(math.prod, s.values())) for s in (layer.parameters(), layer.state())]
        said, shape = checks.cut(repr(layer)), f"(samples, {features or '…'})"
        rows.append([link.path, said, shape, *map(_number, counts)])
        total = [a + b for a, b in zip(total, counts, strict=True)]
    rows.append(["total", "", "", *map(_number, total)])
    columns = 5 if total[1] else 4
    widths = [max(len(row[i]) for row in rows) for i in range(columns)]
    lines = [
        "  ".join(f"{row[i]:{'<' if i < 3 else '>'}{widths[i]}}" for i in range(columns))
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _number(count: int) -> str:
    return f"{count:,}"
