"""The samples of a run: drawn or read, and kept apart for validation and for the end."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

import xpnet as xn
from xpnet.cli.program import Mistake
from xpnet.datasets import DATASETS, DataSet, load, xor

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a run, on the host.

    Attributes:
        parts: ``(x, y)`` by what they are for: ``"training"`` and, where asked for,
            ``"validation"`` and ``"test"``.
        classes: the names of the classes, none where ``y`` holds numbers.
        loss: what is trained on them.
        center, scale: numbers are learnt as ``(y − center) / scale``, of mean 0 and deviation 1 in
            training; 0 and 1 for classes.
    """

    parts: dict[str, Pair]
    classes: tuple[str, ...]
    loss: xn.Loss
    center: float = 0.0
    scale: float = 1.0

    @property
    def x(self) -> np.ndarray:
        """The features that are trained on."""
        return self.parts["training"][0]

    @property
    def outputs(self) -> int:
        """How many outputs a network for them has."""
        return len(self.classes) if len(self.classes) > 2 else 1

    def learnt(self, y: np.ndarray) -> np.ndarray:
        """Targets as they are learnt."""
        return y if self.classes else (y - self.center) / self.scale


def samples_of(options: argparse.Namespace, spelled: dict[str, str]) -> Samples:
    """The samples that the flags want; raises for a flag that is not for them."""
    found = _data(options, spelled)
    parts = _apart(found, options, spelled)
    size, samples = options.batch_size, len(parts["training"][0])
    if size and size > samples:
        if "batch_size" in spelled:
            raise Mistake(
                f"{spelled['batch_size']} must be at most the {samples} samples to train on, "
                f"not {size}."
            )
        options.batch_size = samples
    if options.dataset in DATASETS:
        return Samples(parts, found.classes, xn.BCE())
    if found.classes:
        loss = xn.CrossEntropy() if len(found.classes) > 2 else xn.BCEWithLogits()
        return Samples(parts, found.classes, loss)
    if options.acc_goal is not None:
        raise Mistake(
            f"{spelled['acc_goal']} must be none for --dataset {options.dataset}, whose numbers "
            f"have no accuracy, not {options.acc_goal}."
        )
    y = parts["training"][1]
    return Samples(parts, (), xn.MSE(), float(y.mean()), float(y.std()) or 1.0)


def _data(options: argparse.Namespace, spelled: dict[str, str]) -> DataSet:
    """The whole data set; of one that is fixed, nothing else can be asked for."""
    name = options.dataset
    if "num_data" in spelled and name not in DATASETS:
        raise Mistake(f"{spelled['num_data']} is for --dataset linear, not {name}.")
    if name == "linear":
        return DataSet(*DATASETS[name](options.num_data, options.data_seed), ("0", "1"))
    if name not in DATASETS:
        try:
            return load(name)
        except ImportError as error:
            raise Mistake(f"--dataset must be another here: {error}") from None
    if "num_data" in spelled and options.num_data != 21:
        raise Mistake(
            f"{spelled['num_data']} must be 21 for --dataset xor, whose points are fixed, "
            f"not {options.num_data}."
        )
    if "data_seed" in spelled and not (options.validation or options.test):
        raise Mistake(
            f"{spelled['data_seed']} is for --dataset linear, not xor, whose points are fixed."
        )
    return DataSet(*xor(), ("0", "1"))


def _apart(found: DataSet, options: argparse.Namespace, spelled: dict[str, str]) -> dict[str, Pair]:
    """The samples by what they are for, the last ones for the test; both are parts of all."""
    parts = {"training": (found.x, found.y)}
    classed = options.dataset not in DATASETS and bool(found.classes)
    counts = {name: round(getattr(options, name) * len(found.x)) for name in ("test", "validation")}
    for name, count in counts.items():
        part, flag = getattr(options, name), spelled.get(name, f"--{name}")
        if not part:
            continue
        if not 0 < count < len(parts["training"][0]):
            raise Mistake(
                f"{flag} must leave samples to train on, and have some, of the {len(found.x)} of "
                f"--dataset {options.dataset}, not be {part:g}."
            )
        try:
            dealt = xn.split(*parts["training"], test=count, seed=_seed(options), stratify=classed)
        except ValueError:  # a class would be missing
            raise Mistake(
                f"{flag} must leave samples of each of the {len(found.classes)} classes to both "
                f"parts of the {len(parts['training'][0])} samples there are, not be {part:g}."
            ) from None
        parts["training"], parts[name] = (dealt[0], dealt[2]), (dealt[1], dealt[3])
    order = ("training", "validation", "test")
    return {name: parts[name] for name in order if name in parts}


def _seed(options: argparse.Namespace) -> int | np.random.Generator:
    return np.random.default_rng() if options.data_seed is None else int(options.data_seed)
