"""Which networks are trained: the report's settings, and a sweep of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from report.facts import Facts, Setting

SEED = 42
"""The report's seed; member ``i`` of a population has the weights of ``SEED + i``."""

RATES = (*(float(f"{digit}e{power}") for power in range(-5, 0) for digit in (1, 2, 5)), 1.0)
"""The learning rates of the sweep."""


@dataclass(frozen=True)
class World:
    """A data set, and what differs between its networks.

    Attributes:
        name: for tables and files.
        dataset: ``"xor"`` or ``"linear"``.
        weights: whether every network has initial weights of its own.
        points: whether every network has points of its own.
    """

    name: str
    dataset: str
    weights: bool
    points: bool

    @property
    def luck(self) -> str:
        """What differs from network to network, in words."""
        kinds = [("initial weights", self.weights), ("draws of the points", self.points)]
        return " and ".join(kind for kind, differs in kinds if differs)

    @property
    def title(self) -> str:
        """The data set and what differs, in words."""
        return f"{self.dataset}, many {self.luck}"


XOR = World("xor", "xor", True, False)
POINTS = World("linear-points", "linear", False, True)
WEIGHTS = World("linear-weights", "linear", True, False)
BOTH = World("linear-both", "linear", True, True)

WORLDS = (XOR, POINTS, WEIGHTS)
"""Where every setting of the report is looked at."""

SWEPT = (XOR, BOTH)
"""Where the learning rate is swept."""

ALL = {world.name: world for world in (*WORLDS, BOTH)}


@dataclass(frozen=True)
class Cell:
    """A population: networks that differ in their luck alone."""

    world: World
    setting: Setting
    sweep: bool = False


@dataclass(frozen=True)
class Piece:
    """Networks that are trained at once: members ``first`` … of cells that differ in their rate."""

    cells: tuple[Cell, ...]
    first: int
    count: int
    cost: float = 1.0

    @property
    def members(self) -> range:
        """The numbers of the members, in each cell."""
        return range(self.first, self.first + self.count)


def cells(facts: Facts) -> list[Cell]:
    """The populations of the report's settings, in its order."""
    return [Cell(world, setting) for world in WORLDS for setting in facts.settings]


def sweep(facts: Facts, rates: tuple[float, ...] = RATES) -> list[Cell]:
    """The populations of the sweep: the report's base setting at other learning rates."""
    base = facts.settings[0]
    return [Cell(world, replace(base, lr=lr), sweep=True) for world in SWEPT for lr in rates]


def pieces(
    facts: Facts, members: int, swept: int, size: int, rates: tuple[float, ...] = RATES
) -> list[Piece]:
    """Cut everything into pieces of about ``size`` networks.

    Args:
        facts: the report's.
        members: how many networks a population of a setting has.
        swept: how many one of the sweep has.
        size: how many are trained at once.
        rates: the learning rates of the sweep.
    """
    result = []
    for cell in cells(facts):
        epochs = _EPOCHS[cell.world.dataset][facts.settings.index(cell.setting)]
        result += _cut((cell,), members, size, epochs * _SAMPLES[cell.world.dataset])
    swept_cells = sweep(facts, rates)
    for world in SWEPT:
        group = tuple(cell for cell in swept_cells if cell.world == world)
        cost = len(group) * _SWEPT * _SAMPLES[world.dataset]
        result += _cut(group, swept, max(1, size // len(group)), cost)
    return result


_EPOCHS = {"xor": (6500, 17500, 12500, 19000, 300), "linear": (250, 9000, 1200, 13500, 600)}
_SWEPT = 12000
_SAMPLES = {"xor": 1.0, "linear": 3.5}
"""Roughly how long a network trains, in epochs, and what an epoch costs: for the time left."""


def _cut(group: tuple[Cell, ...], members: int, size: int, cost: float) -> list[Piece]:
    parts = [(first, min(size, members - first)) for first in range(0, members, size)]
    return [Piece(group, first, count, cost * count) for first, count in parts]
