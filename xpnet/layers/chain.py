"""Layers one after another, which are a layer: what `Sequential` and `Residual` are made of."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG
from xpnet.layers import base
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.layers.checked import Checked, check_parameters, check_state, is_own, named, note
from xpnet.layers.flatten import Flatten
from xpnet.noise import Stream
from xpnet.types import Array


@dataclass(frozen=True)
class Link:
    """One of the layers that compute, and what is its own of all that the chain is given.

    Attributes:
        path: its place, as it stands in the names of parameters: ``"3"``, ``"1.0"``.
        layer: the layer.
        run: what is called for it: the layer, or, where it is somebody's own, its `Checked`.
        params, state: where its own are among those of the chain.
    """

    path: str
    layer: Layer
    run: Any
    params: slice
    state: slice

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return f"layer {self.path}, {named(self.layer)}"


class Chain(Layer):
    """Layers one after another.

    A chain within it that does nothing else is taken for its layers, so that they are run in one
    loop; one that does more, such as `Residual`, is a layer like any other. The class is long
    because it is a layer and a sequence at once, with what each of them has.

    Attributes:
        layers: as they were given.
        links: the layers that compute, those of chains within it among them, in their order.
        leaves: these layers alone.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers
        self.in_features, self.out_features = _features(type(self).__name__, layers)
        self.links = tuple(_links(layers))
        self.leaves = tuple(link.layer for link in self.links)
        self._random = any(leaf.is_random for leaf in self.leaves)
        self._stateful = self.links[-1].state.stop > 0
        trained = (i for i, link in enumerate(self.links) if link.params.start < link.params.stop)
        self._first = next(trained, len(self.links))
        for i, link in enumerate(self.links):
            if link.layer.first and not _may_follow(link.layer, self.leaves[:i]):
                raise ValueError(
                    f"{link.name} must be the first layer, or behind Flatten: it reads the samples "
                    "as they are given."
                )

    def with_leaves(self, leaves: Sequence[Layer]) -> Any:
        """This chain with other layers of the same shapes in place of its ``leaves``."""
        other, left = copy.copy(self), iter(leaves)
        other.layers = tuple(
            layer.with_leaves([next(left) for _ in layer.leaves]) if is_plain(layer) else next(left)
            for layer in self.layers
        )
        other.links = tuple(
            replace(link, layer=leaf, run=link.run if isinstance(link.run, Checked) else leaf)
            for link, leaf in zip(self.links, leaves, strict=True)
        )
        other.leaves = tuple(leaves)
        return other

    # ---- what it is

    @property
    def is_samplewise(self) -> bool:
        return all(leaf.is_samplewise for leaf in self.leaves)

    @property
    def gives_probabilities(self) -> bool:
        return self.last.gives_probabilities

    @property
    def last(self) -> Layer:
        """The last of the leaves that makes something else of what it gets, if one does."""
        making = [leaf for leaf in self.leaves if not leaf.is_passing]
        return (making or self.leaves)[-1]

    @property
    def is_random(self) -> bool:
        return self._random

    @property
    def has_long_form(self) -> bool:
        return self._random or self._stateful

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{i}.{name}": shape
            for i, layer in enumerate(self.layers)
            for name, shape in layer.parameters().items()
        }

    def weight_names(self) -> tuple[str, ...]:
        within = enumerate(self.layers)
        return tuple(f"{i}.{name}" for i, layer in within for name in layer.weight_names())

    def state(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{i}.{name}": shape
            for i, layer in enumerate(self.layers)
            for name, shape in layer.state().items()
        }

    def draw(self, rng: RNG) -> list[np.ndarray]:
        return [values for link in self.links for values in link.run.draw(rng)]

    def initial_state(self) -> list[np.ndarray]:
        return [values for link in self.links for values in link.run.initial_state()]

    def check_state(self, backend: Any, state: State) -> None:
        for link in self.links:
            try:
                link.layer.check_state(backend, state[link.state])
            except ValueError as error:
                _note(error, link)
                raise

    def check_batch(self, samples: int) -> None:
        for link in self.links:
            try:
                link.layer.check_batch(samples)
            except ValueError as error:
                _note(error, link)
                raise

    def __eq__(self, other: object) -> bool:
        alike = type(other) is type(self)
        return isinstance(other, Chain) and alike and self.layers == other.layers

    def __hash__(self) -> int:
        return hash(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Layer:
        return self.layers[checks.index(i, len(self.layers))]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @property
    def stateful(self) -> Link:
        """The first of the layers that have state."""
        return next(link for link in self.links if link.state.stop > link.state.start)

    # ---- forward, and back

    def forward(  # the layer's own form, so that chains nest
        self,
        xp: Any,
        params: Params,
        x: Array,
        state: State = (),
        noise: Stream | None = None,
    ) -> Any:
        if self._random and noise is None:
            raise TypeError(
                f"forward of {checks.shown(self)} must be given state and noise, since a layer "
                "within it draws random numbers."
            )
        backprops: list[Backprop] = []
        after: State = ()
        for link in self.links:
            stream = noise.split() if self._random and noise else None  # by place, whoever draws
            given = stream if link.layer.is_random else None
            try:
                x, backprop, new = base.forward(
                    link.run, xp, params[link.params], x, state[link.state], given
                )
            except Exception as error:
                _note(error, link)
                raise
            backprops.append(backprop)
            after += new

        def backprop_all(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            grads: Params = ()
            for i in range(len(backprops) - 1, -1, -1):
                if not need_dx and i < self._first:
                    return None, grads
                try:
                    dy, own = backprops[i](dy, need_dx or i > self._first)
                except Exception as error:
                    _note(error, self.links[i])
                    raise
                grads = own + grads
            return dy, grads

        return (x, backprop_all, after) if self.has_long_form else (x, backprop_all)

    def apply(self, xp: Any, params: Params, x: Array, state: State = ()) -> Array:
        for link in self.links:
            try:
                x = base.apply(link.run, xp, params[link.params], x, state[link.state])
            except Exception as error:
                _note(error, link)
                raise
        return x


def is_plain(layer: Layer) -> TypeGuard[Chain]:
    """Whether a layer is a chain that runs its layers one after another, and nothing else."""
    kind = type(layer)
    return isinstance(layer, Chain) and all(
        getattr(kind, name) is getattr(Chain, name)
        for name in ("forward", "apply", "parameters", "draw", "state", "initial_state")
    )


def _only_reads(layer: Layer) -> bool:
    """Whether a layer reads the samples as they are given, and has nothing to be trained."""
    return layer.first and not layer.parameters()


def _may_follow(layer: Layer, before: Sequence[Layer]) -> bool:
    """Whether a layer that is `first` may stand behind these."""
    if all(isinstance(one, Flatten) for one in before[:1]) and len(before) < 2:
        return True
    # Statistics may be of what others make of the samples: an embedding's, behind RobustScale.
    return bool(layer.state()) and not isinstance(layer, Chain) and all(map(_only_reads, before))


def statistics_of(
    layer: Layer, xp: Any, x: Array, weight: Array | None, **total: Any
) -> tuple[Any, ...]:
    """What the state of a layer is of samples; of a chain, that of its `first` layers in turn.

    With a ``total``, which is for layers that are `summed`, of those of several processes.

    Returns:
        An array for each, or ``None`` where it is as `initial_state` says.
    """
    found: tuple[Any, ...] = ()
    for link in layer.links if is_plain(layer) else _links((layer,)):
        state = link.layer.statistics(xp, x, weight, **total) if link.layer.first else ()
        found += state or (None,) * (link.state.stop - link.state.start)
        if _only_reads(link.layer):  # else whoever is behind it reads no samples
            x = base.apply(link.layer, xp, (), x, state)
    return found


def beside(name: str, layers: Sequence[Layer]) -> Iterator[Link]:
    """A link for each of several layers that a layer holds, whatever it does with them."""
    _check_layers(name, layers)
    params = _spans([len(layer.parameters()) for layer in layers])
    states = _spans([len(layer.state()) for layer in layers])
    for i, (layer, *spans) in enumerate(zip(layers, params, states, strict=True)):
        link = Link(str(i), layer, layer, *spans)
        check_parameters(link.name, layer)
        check_state(link.name, layer)
        yield link if is_own(layer) else replace(link, run=Checked(layer, link.name))


def _check_layers(name: str, layers: Sequence[Layer]) -> None:
    """Raise unless these are layers, at least one."""
    if not layers:
        raise ValueError(f"{name} needs at least one layer, not none.")
    for i, layer in enumerate(layers):
        if isinstance(layer, (list, tuple)):
            raise TypeError(f"the layers must be given one by one, as in {name}(*layers).")
        checks.instance(f"layer {i}", layer, Layer, "a layer such as Linear(2, 4)")


def _features(name: str, layers: tuple[Layer, ...]) -> tuple[int | None, int | None]:
    """How many features layers want and give, one after another; raises if they do not fit."""
    _check_layers(name, layers)
    wanted: int | None = None
    given: int | None = None
    for i, layer in enumerate(layers):
        if layer.in_features is not None:
            if given not in (None, layer.in_features):
                raise ValueError(
                    f"layer {i}, {checks.shown(layer)}, wants {layer.in_features} features, "
                    f"but the layers before it give {given}."
                )
            if given is None:
                wanted = layer.in_features
        if layer.out_features is not None:
            given = layer.out_features
    return wanted, given


def _walk(layers: tuple[Layer, ...], prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """The layers that compute, each with its path."""
    for i, layer in enumerate(layers):
        if is_plain(layer):
            yield from _walk(layer.layers, f"{prefix}{i}.")
        else:
            yield f"{prefix}{i}", layer


def _links(layers: tuple[Layer, ...]) -> Iterator[Link]:
    """The links of a chain; raises if the parameters or the state of a layer are not named so."""
    found = list(_walk(layers))
    for path, leaf in found:
        check_parameters(f"layer {path}, {named(leaf)}", leaf)
        check_state(f"layer {path}, {named(leaf)}", leaf)
    spans = _spans([len(leaf.parameters()) for _, leaf in found])
    states = _spans([len(leaf.state()) for _, leaf in found])
    for (path, leaf), params, state in zip(found, spans, states, strict=True):
        link = Link(path, leaf, leaf, params, state)
        # What is not xpnet's own is looked at whenever it answers.
        yield link if is_own(leaf) else replace(link, run=Checked(leaf, link.name))


def _spans(counts: Sequence[int]) -> tuple[slice, ...]:
    """Where each of several has its own among those of all."""
    ends = list(itertools.accumulate(counts))
    return tuple(slice(end - n, end) for end, n in zip(ends, counts, strict=True))


def _note(error: Exception, link: Link) -> None:
    """Say in the traceback which layer it was; what it says there itself stays as it is."""
    if link.name not in str(error):
        note(error, f"in {link.name}")
