"""A table whose columns are of several kinds: each kind through layers of its own."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, ClassVar

from xpnet import checks
from xpnet.layers import base
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.layers.chain import Chain, beside, statistics_of
from xpnet.noise import Stream
from xpnet.types import Array


class Columns(Chain):
    """``y = [f₁(x₁), f₂(x₂), …]``: blocks of columns beside one another, a layer for each.

    The first layer gets as many columns of ``x`` as it has ``in_features``, the second the next
    ones, and so on: numbers to a `Sequential` of `RobustScale` and `PiecewiseLinearEmbedding`, the
    codes of each category to an `Embedding`. Back-propagated block by block. It is the first layer,
    and the layers within it may take their statistics of the samples, as `Standardize` does.

    Args:
        layers: which say how many features they want and give.

    Raises:
        TypeError: if one is no layer.
        ValueError: if there is none, or one does not say how many features it wants or gives.
    """

    first: ClassVar[bool] = True

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers
        self.links = tuple(beside("Columns", layers))
        self.leaves = tuple(layers)
        for i, layer in enumerate(layers):
            if layer.in_features is None or (layer.out_features or layer.in_features) is None:
                raise ValueError(
                    f"layer {i} of Columns, {checks.shown(layer)}, must say how many features it "
                    "wants; write Sequential(…) of layers that do."
                )
        wide = [layer.in_features or 0 for layer in layers]
        made = [layer.out_features or layer.in_features or 0 for layer in layers]
        self.in_features, self.out_features = sum(wide), sum(made)
        self._wide, self._made = _spans(wide), _spans(made)
        self._random = any(layer.is_random for layer in layers)
        self._stateful = self.links[-1].state.stop > 0

    @property
    def gives_probabilities(self) -> bool:
        return False

    def check_input(self, backend: Any, x: Array) -> None:
        for link, span in zip(self.links, self._wide, strict=True):
            leaf = getattr(link.layer, "leaves", (link.layer,))[0]
            if leaf.first:
                leaf.check_input(backend, x[..., span])

    def statistics(self, xp: Any, x: Array, weight: Array | None) -> State:
        blocks = zip(self.links, self._wide, strict=True)
        found = [statistics_of(link.layer, xp, x[..., span], weight) for link, span in blocks]
        return sum(found, ())

    def forward(
        self,
        xp: Any,
        params: Params,
        x: Array,
        state: State = (),
        noise: Stream | None = None,
    ) -> Any:
        outputs: list[Array] = []
        backprops: list[Backprop] = []
        after: State = ()
        for link, span in zip(self.links, self._wide, strict=True):
            stream = noise.split() if self._random and noise else None  # by place, whoever draws
            given = stream if link.layer.is_random else None
            y, backprop, new = base.forward(
                link.run, xp, params[link.params], x[..., span], state[link.state], given
            )
            outputs.append(y)
            backprops.append(backprop)
            after += new

        def backprop_all(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            grads: Params = ()
            parts: list[Any] = []
            for own, span in zip(backprops, self._made, strict=True):
                dx, more = own(dy[..., span], need_dx)
                parts.append(dx)
                grads += more
            return (_joined(xp, parts) if need_dx else None), grads

        y = _joined(xp, outputs)
        return (y, backprop_all, after) if self.has_long_form else (y, backprop_all)

    def apply(self, xp: Any, params: Params, x: Array, state: State = ()) -> Array:
        outputs = [
            base.apply(link.run, xp, params[link.params], x[..., span], state[link.state])
            for link, span in zip(self.links, self._wide, strict=True)
        ]
        return _joined(xp, outputs)


def _spans(sizes: list[int]) -> tuple[slice, ...]:
    ends = list(accumulate(sizes, initial=0))
    return tuple(map(slice, ends, ends[1:]))


def _joined(xp: Any, parts: list[Array]) -> Array:
    """Blocks beside one another, those that members share repeated for each of them."""
    most = max(parts, key=lambda part: len(part.shape))
    whole = [
        p if len(p.shape) == len(most.shape) else p + xp.zeros_like(most[..., :1]) for p in parts
    ]
    return xp.concat(whole, axis=-1)
