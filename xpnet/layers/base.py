"""What a layer is: a description with a forward pass that hands back its own backprop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from xpnet.initializers import RNG
from xpnet.noise import Stream
from xpnet.types import Array

Params = tuple[Array, ...]
State = tuple[Array, ...]
Backprop = Callable[..., tuple[Array | None, Params]]
"""``backprop(dy, need_dx=True) -> (dx, gradients)``, the gradients in the order of the parameters.

``dx`` is ``None`` where ``need_dx`` is false: the first layer of a network need not compute it.
"""


class Layer(ABC):
    """A layer: parameter shapes, initial values, a forward pass. It holds nothing that changes.

    A layer that goes on from what it did before (a running mean) declares `state`, and one that
    draws random numbers says ``draws = True``. Both go in and come out as values, in the form ::

        forward(xp, params, x, state, noise) -> (y, backprop, new_state)   # training
        apply(xp, params, x, state) -> y                                   # inference

    where ``state`` is a tuple of arrays in the order of `state`, ``()`` if there are none, and
    ``noise`` a `xpnet.noise.Stream`, or ``None`` for a layer that does not draw. All others have
    the form of three arguments below. Which of the two is meant is said by the call, never by a
    mode of the layer. ``apply`` may then give another output than ``forward``.

    Shapes: ``x`` is ``(..., samples, features)``; a parameter has two axes of its own behind the
    member axes. Every reduction therefore names its axes from the end.

    What is not as described is refused in one sentence that names the layer (``checked.py``):
    number and shapes of gradients and states, ``apply`` that gives another output than ``forward``
    (where neither state nor noise is in it), which `fit` tries out on a few samples. What it reads
    elsewhere (a class attribute, a global) it may read when `fit` begins and never again: within
    one training the step stays what it was.

    Only an array that the layer has made itself may be written into (``y += b``), and only the name
    that this has bound be read from then on: on JAX it is another array, elsewhere the same.
    """

    in_features: int | None = None
    """The number of features that the layer wants, or ``None`` if any will do."""
    out_features: int | None = None
    """The number of features that it gives, or ``None`` for as many as it got."""
    samplewise: ClassVar[bool] = False
    """Whether each sample is computed by itself, so that a batch may be split over threads, and
    zeros stand for samples of weight 0."""
    probabilities: ClassVar[bool] = False
    """Whether all outputs lie from 0 to 1, so that nobody need look at them."""
    passes: ClassVar[bool] = False
    """Whether its output in inference is what it got."""
    first: ClassVar[bool] = False
    """Whether it reads the samples as they are given, first of all or behind `Flatten`."""
    draws: ClassVar[bool] = False
    """Whether ``forward`` draws random numbers."""
    hyperparameters: ClassVar[tuple[str, ...]] = ()
    """The attributes, of xpnet's own layers, that ``forward`` and ``apply`` compute with and never
    ask for their values: in a compiled step they may be arrays of no axes."""

    weights: ClassVar[tuple[str, ...] | None] = None
    """Which of the parameters are weights, and no biases, gains or slopes, for an optimizer that
    decays weights alone; ``None`` where nobody has said."""

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of the parameters, in the order in which ``theta`` has them."""
        return {}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        """Draw the initial parameters on the host, in float64, in the order of ``parameters``."""
        return []

    def weight_names(self) -> tuple[str, ...]:
        """The names of the parameters that are ``weights``.

        Raises:
            TypeError: if the class has parameters, and does not say.
        """
        if self.weights is None and self.parameters():
            raise TypeError(
                f"weights must be declared by {type(self).__name__}, such as weights = () or "
                f"{tuple(self.parameters())!r}: which of its parameters an optimizer decays that "
                "decays weights alone."
            )
        return self.weights or ()

    def check_input(self, backend: Any, x: Array) -> None:
        """Look at the values of the samples, where this is the ``first`` layer.

        Raises:
            ValueError: if they are not what the layer wants.
        """

    def state(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what goes from a step to the next, two axes each."""
        return {}

    def initial_state(self) -> list[np.ndarray]:
        """What it is before the first step, on the host, in float64, in the order of `state`."""
        return []

    summed: ClassVar[bool] = False
    """Whether `statistics` takes a ``total`` as well, and so finds those of the samples of several
    processes, of which each adds up its own."""

    def statistics(self, xp: Any, x: Array, weight: Array | None) -> State:
        """What the state is of samples that are trained on, where this is a ``first`` layer.

        Args:
            xp: the namespace.
            x: ``(..., samples, features)``.
            weight: ``(..., samples, 1)``, or ``None``.

        Returns:
            In the order of `state`, ``(..., 1, features)`` each; ``()`` for what `initial_state`
            says.
        """
        return ()

    def check_state(self, backend: Any, state: State) -> None:
        """Look at the values of a state that somebody gives, which are finite.

        Raises:
            ValueError: if they are not what the layer can go on from.
        """

    def check_batch(self, samples: int) -> None:
        """Raise ``ValueError`` unless the layer can be trained on a batch of so many samples."""

    @property
    def is_random(self) -> bool:
        """Whether ``forward`` draws random numbers."""
        return self.draws

    @property
    def has_long_form(self) -> bool:
        """Whether ``forward`` and ``apply`` take state and noise."""
        return self.is_random or bool(self.state())

    @property
    def is_samplewise(self) -> bool:
        """Whether this very class declares itself ``samplewise``."""
        return self._declares("samplewise")

    @property
    def gives_probabilities(self) -> bool:
        """Whether this very class declares that its outputs are ``probabilities``."""
        return self._declares("probabilities")

    @property
    def is_passing(self) -> bool:
        """Whether this very class declares that it ``passes`` on what it gets."""
        return self._declares("passes")

    def _declares(self, name: str) -> bool:
        # Every class for itself: a subclass that changes the mathematics does not inherit it.
        return bool(vars(type(self)).get(name, False))

    @abstractmethod
    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        """Return the output and the function that propagates a gradient back through it."""

    @abstractmethod
    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        """Return the output alone, keeping nothing: the short way of inference."""


def forward(
    layer: Any, xp: Any, params: Params, x: Array, state: State, noise: Stream | None
) -> tuple[Array, Backprop, State]:
    """The forward pass of any layer, whichever form it has: for what holds layers within it.

    Hand a `Stream.split` of the noise to each of several layers.
    """
    if layer.has_long_form:
        y, backprop, state = layer.forward(xp, params, x, state, noise)
        return y, backprop, state
    y, backprop = layer.forward(xp, params, x)
    return y, backprop, ()


def apply(layer: Any, xp: Any, params: Params, x: Array, state: State) -> Array:
    """The short way of any layer, whichever form it has."""
    if layer.has_long_form:
        return layer.apply(xp, params, x, state)
    return layer.apply(xp, params, x)
