"""What some of the members of an ensemble are asked for, out of what all are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.initializers import generator, member_seeds
from xpnet.noise import keys
from xpnet.optimizers.states import check_numbers
from xpnet.training.asked import Asked
from xpnet.training.prepare import block_size
from xpnet.training.samples import looked_at, validated
from xpnet.training.sources import Source
from xpnet.types import Array

_GENERATORS = (np.random.Generator, np.random.RandomState)


class Parts:
    """Cuts what is asked for by members, each with what it has in the whole.

    Arrays that members have of their own are cut, with the numbers of the optimizer; member ``i``
    of an int seed is of ``seed + i`` wherever it is. What a generator draws is drawn here, of part
    after part, so that they must be asked for in their order.

    Args:
        asked: what all are asked for; it is looked at as `fit` does.

    Attributes:
        backend: where they are trained.
        members: how many there are.
        size: how many of them one machine computes together.

    Raises:
        TypeError, ValueError: if it is not as `fit` wants it.
    """

    def __init__(self, asked: Asked) -> None:
        opened = asked.opened()
        checked, self.backend, self.like = opened.checked()
        if checked.members is None:
            raise ValueError(
                "members must be the number of networks with client, which deals them out, not "
                "None; one network is trained on one machine."
            )
        self.members = int(checked.members)
        asked = replace(asked, theta=opened.theta)
        named = {}
        for (name, given), (_, found) in zip(samples(asked), samples(opened), strict=True):
            given = _there(name, given, asked.batch_size is not None)
            is_array = backends.name_of(found) and not isinstance(given, str)
            named[name] = found if is_array else given
        self.asked = with_samples(asked, named)
        count = int(checked.x.shape[-2])
        with self.backend.context():
            self._own = self._find_own(checked)
        self._check_given()
        batch = min(asked.batch_size or count, count)
        self.size = asked.block or block_size(self.backend, asked.network, self.like, batch)

    # ---- parts of it

    def shared(self) -> tuple[Asked, dict[str, Any]]:
        """What all members share: arguments, without `samples`, and these, on the host."""
        left = ("seed", "theta", "state", "layer_state", "members", "block")
        asked = replace(
            self.asked,
            optimizer=self.asked.optimizer.of_members(slice(0, 1)),
            **{name: getattr(Asked, name) for name in left},
        )
        there = {n: moved(one, _host) for n, one in samples(asked) if n not in self._own}
        return with_samples(asked, {name: None for name, _ in samples(asked)}), there

    def part(self, start: int, stop: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What these members have of their own, on the host: arguments, and `samples`."""
        rows, asked = slice(start, stop), self.asked
        many = checks.several(asked.noise_seed)
        noise = _plus(asked.noise_seed, start) if many is None else many[rows]
        found = {
            "members": stop - start,
            "block": asked.block,
            "optimizer": asked.optimizer.of_members(rows),
        }
        own = {name: _host(a[rows, ...]) for name, a in samples(asked) if name in self._own}
        return {**found, "noise_seed": noise, **self._begin(start, stop)}, own

    def first(self, count: int = 1) -> Asked:
        """What the first members are asked for, to be looked at before anything is sent."""
        asked, rows = self.asked, slice(0, count)
        own = {n: a[rows, ...] if n in self._own else a for n, a in samples(asked)}
        many = checks.several(asked.noise_seed)
        begin = {name: cut_state(getattr(asked, name), rows) for name in ("state", "layer_state")}
        theta = None if asked.theta is None else asked.theta[rows, ...]
        asked = replace(
            asked, members=count, block=None, optimizer=asked.optimizer.of_members(rows),
            seed=0 if theta is None else None, theta=theta, **begin, shuffle_seed=0,
            noise_seed=asked.noise_seed if many is None else many[rows],
        )  # fmt: skip
        return with_samples(asked, own)

    def _begin(self, start: int, stop: int) -> dict[str, Any]:
        """What they begin with: a seed, or parameters and state."""
        asked, rows = self.asked, slice(start, stop)
        if asked.theta is not None:
            begin = {name: getattr(asked, name) for name in ("state", "layer_state")}
            cut = {name: moved(cut_state(state, rows), _host) for name, state in begin.items()}
            return {"theta": _host(asked.theta[rows, ...]), **cut}
        seed: Any = asked.seed
        if isinstance(seed, Integral):
            return {"seed": int(seed) + start}
        if seed is not None and not isinstance(seed, _GENERATORS):
            seed = [seed[i] for i in range(start, stop)]
            if all(isinstance(one, Integral) for one in seed):
                return {"seed": [int(one) for one in seed]}
        return {"theta": _host(asked.network.init(seed, like=self.like, members=stop - start))}

    def skip(self, start: int, stop: int) -> None:
        """Draw what is drawn of members that are done, as those behind them begin with the next."""
        seed = self.asked.seed
        if self.asked.theta is None and seed is not None and not isinstance(seed, Integral):
            self._begin(start, stop)

    # ---- what is looked at once

    def _find_own(self, asked: Asked) -> set[str]:
        """Which `samples` hold those of members."""
        network, loss, members = asked.network, asked.loss, self.members
        given = asked.x, asked.y, asked.sample_weight
        found = list(looked_at(self.backend, network, loss, *given, members))
        if asked.validation is not None:
            held, _ = validated(
                self.backend, network, loss, asked.validation, self.like, members, asked.batch_size
            )
            found += held
        names = [name for name, _ in samples(asked)]
        return {name for name, array in zip(names, found, strict=False) if _is_own(array)}

    def _check_given(self) -> None:
        """Raise unless all that is one a member is of these members."""
        asked, members = self.asked, self.members
        check_numbers(asked.optimizer, members)
        for name in ("state", "layer_state"):
            for key, array in (getattr(asked, name) or {}).items():
                lead = tuple(checks.shape_of(array))[:1]
                if lead not in ((), (members,)):
                    raise ValueError(
                        f"{name}[{key!r}] must have the {members} members as its first axis, not "
                        f"the shape {tuple(array.shape)}."
                    )
        if asked.theta is None:
            if not isinstance(asked.seed, (list, tuple)):
                member_seeds(asked.seed, members)
            elif any(not isinstance(seed, _GENERATORS) for seed in asked.seed):
                for _ in member_seeds(asked.seed, members):
                    pass
        generator(asked.shuffle_seed, "shuffle_seed")
        many = checks.several(asked.noise_seed)
        keys(asked.noise_seed, members if many is not None else 1, "noise_seed")
        if many is None:
            keys(_plus(asked.noise_seed, members - 1), 1, "noise_seed")
        if asked.block is not None:
            checks.whole("block", asked.block)
        if asked.threads is not None:
            checks.whole("threads", asked.threads)


def samples(asked: Asked) -> list[tuple[str, Any]]:
    """The samples of training and of validation, each argument by its name."""
    names = ("x", "y", "sample_weight")
    found = [(name, getattr(asked, name)) for name in names]
    return found + [(f"validation[{i}]", one) for i, one in enumerate(asked.validation or ())]


def with_samples(asked: Asked, found: dict[str, Any]) -> Asked:
    """The same with these `samples`."""
    count = len(asked.validation or ())
    held = tuple(found[f"validation[{i}]"] for i in range(count)) or None
    of_training = {name: one for name, one in found.items() if not name.startswith("validation")}
    return replace(asked, validation=held, **of_training)


def where_is(seed: Any) -> Any:
    """The state of a generator, and of each in a list; ``None`` of what is none."""
    if isinstance(seed, np.random.RandomState):
        return seed.get_state(legacy=False)
    if isinstance(seed, np.random.Generator):
        return seed.bit_generator.state
    return [where_is(one) for one in seed] if isinstance(seed, (list, tuple)) else None


def place(backend: backends.Backend) -> str | None:
    """The name of a backend's device on a machine of its kind; of GPUs the first.

    A worker sees the one that is its own as that.
    """
    for name in backend.devices():
        if backends.get(backend.name, name).device == backend.device:
            return re.sub(r":\d+$", ":0", name)
    return None


def cut_state(state: Any, rows: slice) -> Any:
    """The state of some members: what they share as it is."""
    if state is None:
        return None
    return {name: a[rows, ...] if len(a.shape) else a for name, a in state.items()}


def moved(value: Any, move: Callable[[Any], Any]) -> Any:
    """A value with its arrays, also in tuples and dicts, moved."""
    if isinstance(value, dict):
        return {name: moved(one, move) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(moved(one, move) for one in value)
    return move(value) if backends.name_of(value) else value


def _host(array: Array) -> np.ndarray:
    backend = backends.of(array)
    with backend.context():
        return np.asarray(backend.to_host(array))


def _plus(seed: Any, more: int) -> int:
    return int(seed) + more


def _is_own(array: Any) -> bool:
    return array is not None and not isinstance(array, Source) and len(array.shape) == 3


def _there(name: str, given: Any, read: bool) -> Any:
    """Samples as a worker can open them, where they are ``read`` by rows: paths whole.

    Raises:
        TypeError: if they are read by what no worker can have.
    """
    if isinstance(given, (str, os.PathLike)):
        return os.path.abspath(given)
    if hasattr(type(given), "__dask_graph__"):  # a worker would wait for others that wait as well
        raise TypeError(
            f"{name} must be in memory, or the path of an .npy file, with client, not an array of "
            f"dask, which workers that train have no time to compute; use {name}.compute()."
        )
    if isinstance(given, np.memmap) and read:
        raise TypeError(
            f"{name} must be the path of its file with client, which each worker opens for itself, "
            f"not a memmap; give {str(given.filename)!r}."
        )
    return given


def cut(members: int, size: int) -> list[tuple[int, int]]:
    """Blocks of members of this size, and what is left: each size is compiled where steps are."""
    return [(start, min(start + size, members)) for start in range(0, members, size)]
