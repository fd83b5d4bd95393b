"""Rules of the compiler keep what a step says; what a plan says of places is so."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.steps import problem
from xpnet.compiler.ir import Node, Recording
from xpnet.compiler.layout import Layout, Ref
from xpnet.compiler.passes.chains import Chain, Stretch, chained, unchained
from xpnet.compiler.passes.columns import columns
from xpnet.compiler.passes.fusion import Fusion
from xpnet.compiler.passes.lifetimes import lifetimes
from xpnet.compiler.passes.masks import masks
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import rewritten
from xpnet.compiler.passes.stretches import stretches
from xpnet.compiler.passes.sums import Sums
from xpnet.compiler.passes.two_values import choices
from xpnet.compiler.passes.views import reshapes
from xpnet.compiler.record import record
from xpnet.compiler.writers.numpy import NumPy
from xpnet.training.step import TrainingStep, carry_of

LIBRARY = NumPy()
RULES = {
    "reshapes": (partial(reshapes, LIBRARY),),
    "masks": (partial(masks, LIBRARY, 1),),
    "fusion": (partial(Fusion, LIBRARY, 1),),
    "two_values": (partial(choices, LIBRARY, 1 << 20),),
    "sums": (partial(Sums, LIBRARY, 256, True),),
    "sums of three": (partial(Sums, LIBRARY, 3, True),),
    "columns": (columns,),
}
RULES["all"] = tuple(rules[0] for rules in RULES.values())
OPTIMIZERS = {
    "SGD": xn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "RMSprop": xn.RMSprop(centered=True, momentum=0.5),
    "AdamW": xn.AdamW(weight_decay=0.1, amsgrad=True),
}


def recorded(
    optimizer: Any, activation: Any, members: int | None, loss: str = "BCEWithLogits"
) -> Recording:
    net, theta, criterion, data = problem(
        xn.backends.get("numpy"), loss, activation, members, "float64"
    )
    step = TrainingStep(np, net, criterion, optimizer)
    return record(step, np, carry_of(theta, optimizer.init(theta)), data)


def evaluated(recording: Recording) -> dict[str, np.ndarray]:
    """All that a step gives, operation by operation, as the table says what each one is."""
    values: dict[Node, Any] = {}

    def of(arg: Any) -> Any:
        if not isinstance(arg, Node):
            return arg
        if arg not in values:
            given = np.ones(arg.shape, arg.dtype) if arg.op == "ones" else arg.value
            values[arg] = np.array(given) if arg.op == "input" else given
        return values[arg]

    with np.errstate(all="ignore"):
        for node in recording.nodes:
            args = [of(arg) for arg in node.args]
            made = node.operation.compute(np, args, {**node.static, **_typed(node)})
            values[node] = np.asarray(made, node.dtype)
            assert values[node].shape == node.shape, node.op
    named = {**recording.results, **recording.metrics}
    return {name: np.asarray(of(node)) for name, node in named.items()}


def _typed(node: Node) -> dict[str, Any]:
    return {"dtype": node.dtype} if node.op == "two_values" else {}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("activation", [xn.LeakyReLU(), xn.ReLU(), xn.GELU()], ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rules", RULES)
def test_rules_keep_what_a_step_says(
    rules: str, optimizer: str, activation: Any, members: int | None
) -> None:
    recording = recorded(OPTIMIZERS[optimizer], activation, members)
    before = [(node, node.op, node.args, node.shape, node.dtype) for node in recording.nodes]
    wanted, found = evaluated(recording), evaluated(rewritten(recording, *RULES[rules]))
    assert wanted.keys() == found.keys()
    for name in wanted:
        # Sums of at most 60 terms in another order.
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e3 * 60 * 2.3e-16, atol=1e-13)
    assert before == [
        (node, node.op, node.args, node.shape, node.dtype) for node in recording.nodes
    ]


@pytest.mark.parametrize(
    ("rules", "op"),
    [
        ("masks", "greater_equal"),
        ("fusion", "add_product"),
        ("fusion", "add_scaled"),
        ("two_values", "two_values"),
        ("sums", "matmul"),
    ],
)
def test_each_rule_finds_something(rules: str, op: str) -> None:
    recording = recorded(OPTIMIZERS["AdamW"], xn.LeakyReLU(), None)
    after = rewritten(recording, *RULES[rules]).nodes
    counts = [sum(node.op == op for node in nodes) for nodes in (recording.nodes, after)]
    assert counts[0] < counts[1] or any(n.op == op and n.dtype == np.float64 for n in after)


@pytest.mark.parametrize("members", [None, 2])
def test_few_columns_are_compared_as_columns_and_nothing_else_changes(members: int | None) -> None:
    rng = np.random.default_rng(0)
    net = xn.Sequential(xn.Linear(2, 3))
    x, y = rng.normal(size=(40, 2)), rng.integers(0, 3, 40)
    theta = net.init(0, like=x, members=members)
    shape = (*theta.shape[:-1], 40, 3)
    data = x, xn.CrossEntropy().prepare(xn.backends.get("numpy"), shape, y, x.dtype), None
    step = TrainingStep(np, net, xn.CrossEntropy(), xn.SGD(0.1))
    recording = record(step, np, carry_of(theta, xn.SGD(0.1).init(theta)), data)
    after = rewritten(recording, columns)
    (largest,) = (node for node in after.nodes if node.op == "max")
    assert largest.static["axis"] == -2
    wanted, found = evaluated(recording), evaluated(after)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize("block_bytes", [8, 1 << 17])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("activation", [xn.LeakyReLU(), xn.GELU(), xn.LayerNorm(5)], ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_place_is_written_before_it_is_read_for_the_last_time(
    optimizer: str, activation: Any, members: int | None, block_bytes: int
) -> None:
    """What two values have at the same time overlaps in no place, whatever the plan."""
    recording = rewritten(recorded(OPTIMIZERS[optimizer], activation, members), *RULES["all"])
    lives = lifetimes(recording)
    units = chained(lives, LIBRARY, block_bytes)
    plan = Placement(recording, lives, units, LIBRARY, recording.sources())
    within = {node for unit in plan.units if isinstance(unit, Chain) for node in unit.within}
    spans = {node: (-1, lives.last_use.get(node, -1)) for node in recording.carry.values()}
    pieces: dict[Node, set[Node]] = {}
    for node in lives.order:
        if not (node.operation.view or plan.is_variable(node) or node in within):
            own = {arg.root for arg in node.nodes if plan.is_piece_of(arg, node)}
            begin = min(lives.position[n] for n in (node, *own))
            spans[node], pieces[node] = (begin, lives.last_use.get(node, -1)), own
    for a, b in itertools.combinations(spans, 2):
        if plan.is_variable(a) or plan.is_variable(b):
            continue
        if a in pieces.get(b, ()) or b in pieces.get(a, ()):  # there to be where the other lies
            continue
        if _touches(plan.ref(a), plan.ref(b)):
            (_, read), (written, _) = sorted((spans[a], spans[b]))
            assert read <= written, (a.op, b.op)


@pytest.mark.parametrize("members", [None, 3])
def test_stretches_are_all_that_stands_between_what_is_apart(members: int | None) -> None:
    lives = lifetimes(recorded(next(iter(OPTIMIZERS.values())), xn.GELU(), members))
    units = stretches(lives, lambda node: node.op == "matmul")
    alone = [unit for unit in units if isinstance(unit, Node)]
    assert {unit.op == "matmul" or unit.host for unit in alone} == {True}
    kinds = [isinstance(unit, Stretch) for unit in units]
    assert not any(a and b for a, b in itertools.pairwise(kinds))
    nodes = [node for one in units for node in (one.nodes if isinstance(one, Stretch) else [one])]
    assert nodes == unchained(lives)


def _touches(a: Ref, b: Ref) -> bool:
    """Whether two arrays have an element in common."""
    return a.buffer is b.buffer and not {*_places(a.layout)}.isdisjoint(_places(b.layout))


def _places(layout: Layout) -> list[int]:
    found = np.full(layout.shape, layout.offset)
    for axis, (n, stride) in enumerate(zip(layout.shape, layout.strides, strict=True)):
        found += np.reshape(np.arange(n) * stride, (n, *(1,) * (found.ndim - axis - 1)))
    return found.ravel().tolist()
