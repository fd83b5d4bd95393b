"""`Sequential`: a chain of layers whose parameters are one vector, and its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.checks.losses import check_loss
from xpnet.checks.network import (
    check_arrays,
    check_input,
    check_samples,
    check_state,
    check_theta,
    check_trainable,
)
from xpnet.initializers import member_seeds
from xpnet.layers import base
from xpnet.layers.base import Layer, State
from xpnet.layers.chain import Chain, Link, statistics_of
from xpnet.layers.checked import named, note
from xpnet.layers.flatten import Flatten
from xpnet.layers.summary import table
from xpnet.layout import ThetaLayout
from xpnet.losses import Loss, Share, evaluate, looks, prepare, prepare_weight, without
from xpnet.noise import Noise, Stream
from xpnet.types import Array


class Sequential(Chain):
    """Layers one after another; a description that holds no parameters.

    The parameters of a network are one vector ``theta`` of shape ``(size,)``; of an ensemble,
    ``(members, size)``. In it the parameters of the layers follow one another, each in C order.

    Args:
        layers: layers, among them other `Sequential` networks if wanted.

    Raises:
        TypeError: if one is no layer.
        ValueError: if there is none, or one gives other features than the next one wants.

    Half of the lines of this class are what its methods take, return and raise: it is what people
    hold in their hands. How layers run is in ``Chain``, where their parameters lie in
    ``ThetaLayout``, and what is asked of arrays in ``checks/network.py``.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        self.layout = ThetaLayout(self.parameters())
        self.size = self.layout.size
        """How many parameters one network has, which is the length of ``theta``."""
        self.state_shapes = self.state()
        """The shapes of the state of the layers, by name."""

    def summary(self) -> str:
        """A table of the layers, the shape that each gives, its parameters and their number."""
        return table(self)

    # ---- the layout of theta

    def unflatten(self, theta: Array) -> dict[str, Array]:
        """Return the named parameters that lie in ``theta``, of shape ``(..., *parameter)``.

        They are views of ``theta`` where the library has views: read them, do not write into them.

        Raises:
            TypeError, ValueError: if ``theta`` is no array of shape ``(..., size)``.
        """
        backend = check_theta(self, theta)
        views = self.layout.views(backend.xp, theta)
        return dict(zip(self.layout.shapes, views, strict=True))

    def flatten(self, parameters: dict[str, Array]) -> Array:
        """Return ``theta`` for named parameters: the inverse of `unflatten`.

        Raises:
            TypeError, ValueError: if a name is missing or unknown, a shape does not fit, or they
                are not arrays of one dtype of floats.
        """
        check_trainable(self)
        return self.layout.flatten(parameters)

    def weight_mask(self, theta: Array) -> Array:
        """An array as ``theta``: 1 for what is a weight, as the layers declare, 0 for all else.

        Raises:
            TypeError, ValueError: if ``theta`` does not fit, or a layer does not say.
        """
        backend = check_theta(self, theta)
        weights, shapes = self.weight_names(), self.layout.shapes
        parts = [np.full(math.prod(shape), name in weights) for name, shape in shapes.items()]
        mask = np.broadcast_to(np.concatenate(parts), theta.shape)
        with backend.context():
            return backend.asarray(mask, backend.dtype_name(theta))

    # ---- the state of the layers

    def init_state(
        self,
        *,
        like: Array,
        members: int | None = None,
        x: Array | None = None,
        sample_weight: Array | None = None,
    ) -> dict[str, Array]:
        """The state of the layers before the first step, by name; ``{}`` if they have none.

        Args:
            like: an array of floats, whose library, device and dtype it is to have.
            members: ``None`` for one network; else each array has the members as its first axis.
            x: the samples that it will be trained on, ``(samples, features)``, or that a member:
                what `Standardize` takes its statistics of.
            sample_weight: their weights, ``(samples,)`` or ``(members, samples)``.

        Raises:
            TypeError, ValueError: if an argument is none of these.
        """
        checks.given(like=like)
        given = backends.taken(like=like, x=x, sample_weight=sample_weight)
        like, x, sample_weight = given.values()
        backend = backends.of(*given.values(), names=tuple(given))
        dtype = checks.floats(backend, like, "like")
        lead = () if members is None else (checks.whole("members", members),)
        with backend.context():
            found = [
                backend.asarray(np.broadcast_to(values, (*lead, *values.shape)), dtype)
                for values in self.initial_state()
            ]
            if x is not None and self.reads_statistics:
                x = check_samples(self, backend, x)
                checks.same_dtype(backend, x, "x", like, "like")
                checks.same_members(x, members)
                backend.check_finite("x", x)
                if sample_weight is not None:
                    checks.weights(backend, sample_weight)
                shape = (*lead, int(x.shape[-2]), 1)
                weight = prepare_weight(backend, sample_weight, shape, x.dtype)
                self.take_statistics(backend, found, self.counted(backend, x, weight), weight)
            return dict(zip(self.state_shapes, found, strict=True))

    @property
    def reads_statistics(self) -> bool:
        """Whether state begins with what the samples say, as that of `Standardize`."""
        return any(len(link.layer.state()) for link in self._firsts())

    def take_statistics(
        self,
        backend: backends.Backend,
        found: list[Array],
        x: Array,
        weight: Array | None,
        **total: Any,
    ) -> None:
        """Put what first layers take of the samples in the place of what they begin with.

        Args:
            backend: where they are.
            found: the state of the layers, ``initial_state``.
            x, weight: as a step wants them.
            total: as for ``statistics_of``.
        """
        taken = statistics_of(self, backend.xp, x, weight, **total)
        for link in self.links:
            for i in range(link.state.start, link.state.stop):
                if taken[i] is None:
                    continue
                backend.check_finite(f"what {link.name}, takes of x", taken[i])
                # Of each member, also where they share the samples.
                found[i] = backend.xp.zeros_like(found[i]) + taken[i]

    @property
    def unsummed(self) -> list[Layer]:
        """The layers whose statistics are not those of sums over the samples."""
        firsts = [link.layer for link in self._firsts()]
        return [layer for layer in firsts if layer.state() and not layer.summed]

    def _firsts(self) -> list[Link]:
        """The layers that read the samples as they are given."""
        return [link for link in self.links if link.layer.first]

    def named_state(self, state: State) -> dict[str, Array]:
        """The state of the layers by name, of arrays in their order."""
        return dict(zip(self.state_shapes, state, strict=True))

    # ---- what it begins with

    def init(self, seed: Any = None, *, like: Array, members: int | None = None) -> Array:
        """Draw initial parameters: ``theta`` on the library, device and dtype of ``like``.

        Args:
            seed: an int, a ``numpy.random.Generator``, a ``RandomState`` or ``None``; for an
                ensemble also a sequence or an array, one a member. Member ``i`` of an int ``seed``
                is the network of ``seed + i``; of a generator, the members are drawn in turn.
            like: an array of floats.
            members: ``None`` for one network, ``(size,)``; else ``(members, size)``.

        Raises:
            TypeError, ValueError: if an argument is none of these.
        """
        checks.given(like=like)
        like = backends.taken(like=like)["like"]
        backend = backends.of(like, names=("like",))
        dtype = checks.floats(backend, like, "like")
        check_trainable(self)
        draws = [
            np.concatenate([values.ravel() for values in self.draw(rng)])
            for rng in member_seeds(seed, members)
        ]
        with backend.context():
            return backend.asarray(draws[0] if members is None else np.stack(draws), dtype)

    # ---- the output

    def flat(self, xp: Any, x: Array) -> Array:
        """``x`` as ``(..., samples, features)``, where the first layer is a `Flatten`."""
        first = self.leaves[0]
        return first.flat(xp, x) if isinstance(first, Flatten) else x

    def counted(self, backend: backends.Backend, x: Array, weight: Array | None) -> Array:
        """``x`` as it is computed with: ``without`` samples of weight 0, unless a layer may look
        across the samples, to which they count as all others do.
        """
        return without(backend, x, weight) if self.is_samplewise else x

    def _context(self, backend: backends.Backend, theta: Array, x: Array) -> Any:
        members = theta.shape[0] if len(theta.shape) > 1 else None
        return backend.context(self.layout.extent(members, x.shape[-2]))

    def __call__(self, theta: Array, x: Array, state: dict[str, Array] | None = None) -> Array:
        """Return the output ``(..., samples, outputs)`` for ``x`` of ``(..., samples, features)``.

        It is that of inference: nothing is drawn, and no state changes.

        Args:
            theta: ``(size,)``, or ``(members, size)``.
            x: ``(samples, features)``, or ``(members, samples, features)``.
            state: that of the layers, where they have one, such as ``model.layer_state``.

        Raises:
            TypeError, ValueError: if shapes, dtypes, libraries or devices do not fit.
        """
        theta, x = backends.taken(theta=theta, x=x).values()
        backend = check_arrays(self, theta, x)
        own = check_state(self, backend, theta, state)
        x = self.flat(backend.xp, x)
        with self._context(backend, theta, x):
            check_input(self, backend, x, looks(backend, None))
            return base.apply(self, backend.xp, self.layout.views(backend.xp, theta), x, own)

    # ---- the gradient

    def value_and_grad(
        self,
        theta: Array,
        x: Array,
        y: Array,
        loss: Loss,
        sample_weight: Array | None = None,
        input_grad: bool = False,
        check: bool | None = None,
        *,
        state: dict[str, Array] | None = None,
        noise: Noise | None = None,
    ) -> tuple[Any, ...]:
        """Return the loss and its gradient with respect to ``theta``, by back-propagation.

        Args:
            theta: ``(size,)``, or ``(members, size)``.
            x: ``(samples, features)``, or ``(members, samples, features)``.
            y: the targets, as the loss wants them.
            loss: a loss such as ``BCEWithLogits()``.
            sample_weight: ``(samples,)`` or ``(members, samples)``.
            input_grad: whether to return the gradient with respect to ``x`` as a third result,
                of samples as they are in ``x``; for an ensemble, each member's own.
            check: whether to look at the values of ``y`` and ``sample_weight`` (labels in their
                range, weights of at least 0), and at ids in ``x``; ``None`` for only where they lie
                on the host, since elsewhere the device is waited for. `fit` looks at them once.
            state: the state of the layers, where they have one: what `init_state` makes, or the
                step before returned.
            noise: where random numbers come from, if a layer draws: such as ``Noise(seed=0,
                step=k)``, another for each step.

        Returns:
            The loss, one number a member; the gradient, of the shape of ``theta``; that of ``x``,
            if it is asked for; and last, where layers have state, their next one, by name.

        Raises:
            TypeError, ValueError: if shapes, dtypes, libraries, devices or values do not fit.
        """
        checks.given(y=y)
        named = {"theta": theta, "x": x, "y": y, "sample_weight": sample_weight}
        theta, x, y, sample_weight = backends.taken(**named).values()
        backend = check_arrays(self, theta, x, y, sample_weight)
        check_loss(loss)
        checks.switch("input_grad", input_grad)
        given, x = x, self.flat(backend.xp, x)
        with self._context(backend, theta, x):
            check_input(self, backend, x, looks(backend, check))
            shape = (*theta.shape[:-1], x.shape[-2], self.out_features or x.shape[-1])
            target, weight = prepare(backend, loss, shape, y, sample_weight, theta.dtype, check)
            share = Share(x.shape[-2], weight)
            own = check_state(self, backend, theta, state)
            value, grad, _, dx, after = self.gradient(
                backend.xp, theta, self.counted(backend, x, weight), target, loss, share,
                input_grad, own, self._stream(backend, theta, noise),
            )  # fmt: skip
            found: tuple[Any, ...] = (value, grad)
            if dx is not None:
                sample = given.shape[len(x.shape) - 1 :]  # the axes of one, as they were given
                found = (*found, backend.xp.reshape(dx, (*dx.shape[:-1], *sample)))
        return (*found, self.named_state(after)) if self.state_shapes else found

    def _stream(self, backend: backends.Backend, theta: Array, noise: Any) -> Stream | None:
        """The random numbers of a step by hand."""
        if noise is None and self.is_random:
            link = next(link for link in self.links if link.layer.is_random)
            raise TypeError(
                f"noise must be given, since {link.name}, draws random numbers: "
                "noise=xpnet.Noise(seed=0, step=k), another step each time."
            )
        if noise is None:
            return None
        checks.instance("noise", noise, Noise, "a Noise(seed, step)")
        if checks.is_array(noise.step):
            backends.of(theta, noise.step, names=("theta", "step"))
        members = int(theta.shape[0]) if len(theta.shape) == 2 else None
        stream: Stream = noise.stream(backend, members)
        return stream

    def gradient(
        self,
        xp: Any,
        theta: Array,
        x: Array,
        target: Array,
        loss: Loss,
        share: Share,
        input_grad: bool = False,
        state: State = (),
        noise: Stream | None = None,
    ) -> tuple[Array, Array, Array, Array | None, State]:
        """The inside of `value_and_grad`, unchecked.

        Returns:
            Loss, gradient, output, gradient of ``x``, the next state of the layers.
        """
        views = self.layout.views(xp, theta)
        output, backprop, after = base.forward(self, xp, views, x, state, noise)
        try:
            value, loss_backprop = evaluate(loss, xp, output, target, share)
            dy = loss_backprop()
            for what, array, axes in (("value", value, -2), ("gradient", dy, None)):
                shape = output.shape[:axes]
                if not checks.has_form(array, shape, output.dtype):
                    raise ValueError(
                        f"{named(loss)}: forward must return a {what} of the shape {tuple(shape)} "
                        f"and the dtype {output.dtype}, not {checks.formed(array)}."
                    )
        except Exception as error:
            note(error, f"in the loss, {named(loss)}")
            raise
        dx, grads = backprop(dy, input_grad)
        grad = self.layout.joined(xp, grads, theta.shape[:-1])
        return value, grad, output, dx, after
