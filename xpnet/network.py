"""`Sequential`: the layers, the layout of ``theta``, the forward pass and the gradient."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np

from xpnet import backends, checks
from xpnet.backends.base import Size
from xpnet.checks.losses import check_loss
from xpnet.initializers import RNG, member_seeds
from xpnet.layers import base
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.layers.checked import (
    Checked,
    check_parameters,
    check_state,
    is_own,
    named,
    note,
    try_out,
)
from xpnet.layers.flatten import Flatten
from xpnet.losses import Loss, Share, evaluate, looks, prepare, without
from xpnet.noise import Noise, Stream
from xpnet.types import Array


class Sequential(Layer):
    """Layers one after another; a description that holds no parameters.

    The parameters of a network are one vector ``theta`` of shape ``(size,)``; of an ensemble,
    ``(members, size)``. In it the parameters of the layers follow one another, each in C order.

    Args:
        layers: layers, among them other `Sequential` networks if wanted.

    Raises:
        TypeError: if one is no layer.
        ValueError: if there is none, or one gives other features than the next one wants.
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("Sequential needs at least one layer, not none.")
        for i, layer in enumerate(layers):
            if isinstance(layer, (list, tuple)):
                raise TypeError("the layers must be given one by one, as in Sequential(*layers).")
            checks.instance(f"layer {i}", layer, Layer, "a layer such as Linear(2, 4)")
        self.layers = layers
        self.in_features: int | None = None
        self.out_features: int | None = None
        for i, layer in enumerate(layers):
            if layer.in_features is not None:
                if self.out_features not in (None, layer.in_features):
                    raise ValueError(
                        f"layer {i}, {checks.shown(layer)}, wants {layer.in_features} features, "
                        f"but the layers before it give {self.out_features}."
                    )
                if self.out_features is None:
                    self.in_features = layer.in_features
            if layer.out_features is not None:
                self.out_features = layer.out_features
        self.leaves = tuple(self._flatten())
        """The layers that compute, those of networks within it among them, in their order."""
        self.paths = tuple(path for path, _ in self._walk(""))
        """The place of each, as it stands in the names of parameters: ``"3"``, ``"1.0"``."""
        names = [f"layer {path}, {named(leaf)}" for path, leaf in self._walk("")]
        for i, (name, leaf) in enumerate(zip(names, self.leaves, strict=True)):
            check_parameters(name, leaf)
            check_state(name, leaf)
            if leaf.first and i > isinstance(self.leaves[0], Flatten):
                raise ValueError(
                    f"{name} must be the first layer, or behind Flatten: it reads the samples as "
                    "they are given."
                )
        # What is not xpnet's own is looked at whenever it answers.
        self._runs = tuple(
            leaf if is_own(leaf) else Checked(leaf, name)
            for name, leaf in zip(names, self.leaves, strict=True)
        )
        counts = [len(leaf.parameters()) for leaf in self.leaves]
        self._spans = _spans(counts)
        self._state_spans = _spans([len(leaf.state()) for leaf in self.leaves])
        self._state_shapes = self.state()
        self._random = any(leaf.is_random for leaf in self.leaves)
        self._first = next((i for i, n in enumerate(counts) if n), len(counts))
        self._shapes = self.parameters()
        starts = [0]
        for shape in self._shapes.values():
            starts.append(starts[-1] + int(np.prod(shape)))
        self._slots = tuple(
            (slice(a, b), shape)
            for a, b, shape in zip(starts, starts[1:], self._shapes.values(), strict=False)
        )
        self.size = starts[-1]
        """The number of parameters of one network: the length of ``theta``."""
        self._largest = max(map(math.prod, self._shapes.values()), default=0)
        self._widest = max((shape[0] for shape in self._shapes.values() if shape), default=0)

    def _flatten(self) -> Iterator[Layer]:
        for layer in self.layers:
            if _is_plain(layer):
                yield from layer.leaves
            else:
                yield layer

    def with_leaves(self, leaves: Sequence[Layer]) -> Sequential:
        """This network with other layers of the same shapes in place of its `leaves`."""
        other, left = copy.copy(self), iter(leaves)
        other.layers = tuple(
            layer.with_leaves([next(left) for _ in layer.leaves])
            if _is_plain(layer)
            else next(left)
            for layer in self.layers
        )
        other.leaves = tuple(leaves)
        other._runs = tuple(
            run if isinstance(run, Checked) else leaf
            for run, leaf in zip(self._runs, leaves, strict=True)
        )
        return other

    @property
    def is_samplewise(self) -> bool:
        return all(leaf.is_samplewise for leaf in self.leaves)

    @property
    def gives_probabilities(self) -> bool:
        return self.leaves[-1].gives_probabilities

    @property
    def is_random(self) -> bool:
        return self._random

    @property
    def has_long_form(self) -> bool:
        return self._random or bool(self._state_shapes)

    def __eq__(self, other: object) -> bool:
        alike = type(other) is type(self)
        return isinstance(other, Sequential) and alike and self.layers == other.layers

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

    def summary(self) -> str:
        """A table of the layers, the shape that each gives, its parameters and their number."""
        rows = [("layer", "", "output", "parameters")]
        features: int | None = self.in_features
        for path, layer in self._walk(""):
            features = layer.out_features or features
            count = sum(int(np.prod(shape)) for shape in layer.parameters().values())
            rows.append((path, repr(layer), f"(samples, {features or '…'})", f"{count:,}"))
        rows.append(("total", "", "", f"{self.size:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join([*(f"{row[i]:<{widths[i]}}" for i in range(3)), f"{row[3]:>{widths[3]}}"])
            for row in rows
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _walk(self, prefix: str) -> Iterator[tuple[str, Layer]]:
        for i, layer in enumerate(self.layers):
            if _is_plain(layer):
                yield from layer._walk(f"{prefix}{i}.")
            else:
                yield f"{prefix}{i}", layer

    # ---- the layout of theta

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{i}.{name}": shape
            for i, layer in enumerate(self.layers)
            for name, shape in layer.parameters().items()
        }

    def unflatten(self, theta: Array) -> dict[str, Array]:
        """Return the named parameters that lie in ``theta``, of shape ``(..., *parameter)``.

        They are views of ``theta`` where the library has views: read them, do not write into them.

        Raises:
            TypeError, ValueError: if ``theta`` is no array of shape ``(..., size)``.
        """
        backend = self.check_theta(theta)
        return dict(zip(self._shapes, self.views(backend.xp, theta), strict=True))

    def flatten(self, parameters: dict[str, Array]) -> Array:
        """Return ``theta`` for named parameters: the inverse of `unflatten`.

        Raises:
            TypeError, ValueError: if a name is missing or unknown, a shape does not fit, or they
                are not arrays of one dtype of floats.
        """
        self._check_size()
        if not isinstance(parameters, dict):
            raise TypeError(
                "parameters must be a dict such as unflatten makes, not "
                f"{checks.shown(parameters)}."
            )
        if set(parameters) != set(self._shapes):
            raise ValueError(
                f"parameters must be named {', '.join(self._shapes)}, "
                f"not {', '.join(map(str, parameters)) or 'none'}."
            )
        arrays = [parameters[name] for name in self._shapes]
        checks.given(**parameters)
        backend = backends.of(*arrays, names=tuple(self._shapes))
        lead = tuple(arrays[0].shape)[:-2]
        for array, (name, shape) in zip(arrays, self._shapes.items(), strict=True):
            if tuple(array.shape) != (*lead, *shape):
                raise ValueError(
                    f"{name} must have the shape {(*lead, *shape)}, not {tuple(array.shape)}."
                )
            checks.floats(backend, array, name)
            checks.same_dtype(backend, array, name, arrays[0], next(iter(self._shapes)))
        xp = backend.xp
        with backend.context():
            return xp.concat([xp.reshape(a, (*lead, -1)) for a in arrays], axis=-1)

    def extent(self, members: int | None, samples: int) -> Size:
        """How large it is to compute so many samples of them, for `Backend.context`."""
        array = (members or 1) * max(samples * self._widest, self.size)
        return Size(samples * self._largest, array)

    def _context(self, backend: backends.Backend, theta: Array, x: Array) -> Any:
        members = theta.shape[0] if len(theta.shape) > 1 else None
        return backend.context(self.extent(members, x.shape[-2]))

    def views(self, xp: Any, theta: Array) -> Params:
        """The parameters in the order of `parameters`, unchecked: the inside of `unflatten`."""
        lead = theta.shape[:-1]
        return tuple(xp.reshape(theta[..., span], (*lead, *shape)) for span, shape in self._slots)

    # ---- the state of the layers

    def state(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{i}.{name}": shape
            for i, layer in enumerate(self.layers)
            for name, shape in layer.state().items()
        }

    def initial_state(self) -> list[np.ndarray]:
        return [values for leaf in self._runs for values in leaf.initial_state()]

    def init_state(self, *, like: Array, members: int | None = None) -> dict[str, Array]:
        """The state of the layers before the first step, by name; ``{}`` if they have none.

        Args:
            like: an array of floats, whose library, device and dtype it is to have.
            members: ``None`` for one network; else each array has the members as its first axis.

        Raises:
            TypeError, ValueError: if an argument is none of these.
        """
        checks.given(like=like)
        backend = backends.of(like, names=("like",))
        dtype = checks.floats(backend, like, "like")
        lead = () if members is None else (checks.whole("members", members),)
        with backend.context():
            return {
                name: backend.asarray(np.broadcast_to(values, (*lead, *values.shape)), dtype)
                for name, values in zip(self._state_shapes, self.initial_state(), strict=True)
            }

    def check_state(
        self, backend: backends.Backend, theta: Array, state: Any, name: str = "state"
    ) -> State:
        """Return a state of the layers, given by name, in their order, or raise.

        Args:
            backend: that of ``theta``.
            theta: the parameters that it goes with.
            state: a dict such as `init_state` makes; ``None`` if the layers have none.
            name: what it is called.
        """
        shapes = self._state_shapes
        if not shapes:
            if state:
                raise ValueError(
                    f"{name} must be None for a network whose layers have none, "
                    f"not {checks.shown(state)}."
                )
            return ()
        if state is None:
            whose = next(iter(shapes)).rpartition(".")[0]
            raise TypeError(
                f"{name} must be given, since layer {whose}, "
                f"{named(self.leaves[self.paths.index(whose)])}, has one: what init_state(like=x) "
                "makes, value_and_grad returned last, or model.layer_state holds."
            )
        if not isinstance(state, dict) or set(state) != set(shapes):
            found = ", ".join(map(str, state)) if isinstance(state, dict) else checks.shown(state)
            raise ValueError(
                f"{name} must be a dict of {', '.join(shapes)}, such as init_state makes, "
                f"not {found or 'empty'}."
            )
        lead = tuple(theta.shape[:-1])
        for key, shape in shapes.items():
            array, called = state[key], f"{name}[{key!r}]"
            backends.of(theta, array, names=("theta", called))
            checks.same_dtype(backend, array, called, theta, "theta")
            if tuple(array.shape) != (*lead, *shape):
                raise ValueError(
                    f"{called} must have the shape {(*lead, *shape)}, not {tuple(array.shape)}."
                )
        return tuple(state[key] for key in shapes)

    def named_state(self, state: State) -> dict[str, Array]:
        """The state of the layers by name, of arrays in their order."""
        return dict(zip(self._state_shapes, state, strict=True))

    # ---- what it begins with

    def draw(self, rng: RNG) -> list[np.ndarray]:
        return [values for leaf in self._runs for values in leaf.draw(rng)]

    def init(self, seed: Any = None, *, like: Array, members: int | None = None) -> Array:
        """Draw initial parameters: ``theta`` on the library, device and dtype of ``like``.

        Args:
            seed: an int, a ``numpy.random.Generator``, a ``RandomState`` or ``None``; for an
                ensemble also a sequence of them, one a member. Member ``i`` of an int ``seed`` is
                the network of ``seed + i``; of a generator, the members are drawn in turn.
            like: an array of floats.
            members: ``None`` for one network, ``(size,)``; else ``(members, size)``.

        Raises:
            TypeError, ValueError: if an argument is none of these.
        """
        checks.given(like=like)
        backend = backends.of(like, names=("like",))
        dtype = checks.floats(backend, like, "like")
        self._check_size()
        draws = [
            np.concatenate([values.ravel() for values in self.draw(rng)])
            for rng in member_seeds(seed, members)
        ]
        with backend.context():
            return backend.asarray(draws[0] if members is None else np.stack(draws), dtype)

    def _check_size(self) -> None:
        if self.size == 0:
            raise ValueError(f"{checks.shown(self)} has no parameters to train.")

    # ---- forward

    def forward(  # the layer's own form, so that networks nest
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
        streams = [noise and noise.split() for _ in self._runs]  # by place, whoever draws
        try:
            for leaf, stream, span, own in zip(
                self._runs, streams, self._spans, self._state_spans, strict=True
            ):
                given = stream if leaf.is_random else None
                x, backprop, new = base.forward(leaf, xp, params[span], x, state[own], given)
                backprops.append(backprop)
                after += new
        except Exception as error:
            self._name(error, len(backprops))
            raise

        def backprop_all(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            grads: Params = ()
            for i in range(len(backprops) - 1, -1, -1):
                if not need_dx and i < self._first:
                    return None, grads
                try:
                    dy, own = backprops[i](dy, need_dx or i > self._first)
                except Exception as error:
                    self._name(error, i)
                    raise
                grads = own + grads
            return dy, grads

        return (x, backprop_all, after) if self.has_long_form else (x, backprop_all)

    def apply(self, xp: Any, params: Params, x: Array, state: State = ()) -> Array:
        done = 0
        try:
            for leaf, span, own in zip(self._runs, self._spans, self._state_spans, strict=True):
                x = base.apply(leaf, xp, params[span], x, state[own])
                done += 1
        except Exception as error:
            self._name(error, done)
            raise
        return x

    def _name(self, error: Exception, i: int) -> None:
        """Say in the traceback which layer it was; what it says there itself stays as it is."""
        path, leaf = list(self._walk(""))[i]
        name = f"layer {path}, {named(leaf)}"
        if name not in str(error):
            note(error, f"in {name}")

    def check_layers(
        self, backend: backends.Backend, theta: Array, x: Array, state: State, noise: Stream | None
    ) -> None:
        """Try somebody's own layers out on samples ``x``, for two members of an ensemble.

        Raises:
            TypeError, ValueError: naming the layer, if it does not do as a layer should.
        """
        if not any(isinstance(leaf, Checked) for leaf in self._runs):
            return
        if len(theta.shape) == 2:
            theta, x = theta[:2, :], x[:2, ...] if len(x.shape) == 3 else x
            state = tuple(array[:2, ...] for array in state)
            if noise is not None:
                noise = Stream(noise.key[:2, :], noise.step[:2, :])
        theta, x, state = backend.copy((theta, x, state))  # for those that write into them
        params = self.views(backend.xp, theta)
        layers = [
            (leaf, params[span], state[own], noise.split() if noise and leaf.is_random else None)
            for leaf, span, own in zip(self._runs, self._spans, self._state_spans, strict=True)
        ]
        try_out(layers, backend.xp, x, backend.copy, backend.to_host)

    def check_batch(self, samples: int) -> None:
        for i, leaf in enumerate(self.leaves):
            try:
                leaf.check_batch(samples)
            except ValueError as error:
                self._name(error, i)
                raise

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
        backend = self.check(theta, x)
        own = self.check_state(backend, theta, state)
        x = self.flat(backend.xp, x)
        with self._context(backend, theta, x):
            self.check_input(backend, x, looks(backend, None))
            return base.apply(self, backend.xp, self.views(backend.xp, theta), x, own)

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
        backend = self.check(theta, x, y, sample_weight)
        check_loss(loss)
        checks.switch("input_grad", input_grad)
        given, x = x, self.flat(backend.xp, x)
        with self._context(backend, theta, x):
            self.check_input(backend, x, looks(backend, check))
            shape = (*theta.shape[:-1], x.shape[-2], self.out_features or x.shape[-1])
            target, weight = prepare(backend, loss, shape, y, sample_weight, theta.dtype, check)
            share = Share(x.shape[-2], weight)
            own = self.check_state(backend, theta, state)
            value, grad, _, dx, after = self.gradient(
                backend.xp, theta, without(backend, x, weight), target, loss, share, input_grad,
                own, self._stream(backend, theta, noise),
            )  # fmt: skip
            found: tuple[Any, ...] = (value, grad)
            if dx is not None:
                sample = given.shape[len(x.shape) - 1 :]  # the axes of one, as they were given
                found = (*found, backend.xp.reshape(dx, (*dx.shape[:-1], *sample)))
        return (*found, self.named_state(after)) if self._state_shapes else found

    def _stream(self, backend: backends.Backend, theta: Array, noise: Any) -> Stream | None:
        """The random numbers of a step by hand."""
        if noise is None and self._random:
            i = next(i for i, leaf in enumerate(self.leaves) if leaf.is_random)
            raise TypeError(
                f"noise must be given, since layer {self.paths[i]}, {named(self.leaves[i])}, draws "
                "random numbers: noise=xpnet.Noise(seed=0, step=k), another step each time."
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
        lead = theta.shape[:-1]
        views = self.views(xp, theta)
        output, backprop, after = base.forward(self, xp, views, x, state, noise)
        try:
            value, loss_backprop = evaluate(loss, xp, output, target, share)
            dy = loss_backprop()
            if value.shape != output.shape[:-2] or dy.shape != output.shape:
                raise ValueError(
                    f"{named(loss)}: forward must return a value of the shape "
                    f"{tuple(output.shape[:-2])} and a gradient of the shape "
                    f"{tuple(output.shape)}, not {tuple(value.shape)} and {tuple(dy.shape)}."
                )
        except Exception as error:
            note(error, f"in the loss, {named(loss)}")
            raise
        dx, grads = backprop(dy, input_grad)
        grad = xp.concat([xp.reshape(g, (*lead, -1)) for g in grads], axis=-1)
        return value, grad, output, dx, after

    # ---- the boundary

    def check_theta(self, theta: Array, *more: Array, names: Sequence[str] = ()) -> Any:
        """Return the backend of ``theta`` and what goes with it, or raise if it does not fit."""
        self._check_size()
        checks.given(theta=theta)
        backend = backends.of(theta, *more, names=("theta", *names))
        checks.floats(backend, theta, "theta")
        if len(theta.shape) not in (1, 2) or theta.shape[-1] != self.size or 0 in theta.shape:
            raise ValueError(
                f"theta must have the shape ({self.size},) or (members, {self.size}), "
                f"not {tuple(theta.shape)}."
            )
        return backend

    def flat(self, xp: Any, x: Array) -> Array:
        """``x`` as ``(..., samples, features)``, where the first layer is a `Flatten`."""
        first = self.leaves[0]
        return first.flat(xp, x) if isinstance(first, Flatten) else x

    def check_samples(self, backend: backends.Backend, x: Array) -> Array:
        """Return flat ``x`` if it is ``(samples, features)``, or that a member, of floats.

        Raises:
            TypeError, ValueError: if it is not.
        """
        checks.floats(backend, x, "x")
        x, features = self.flat(backend.xp, x), self.in_features
        shape = tuple(x.shape)
        if len(shape) not in (2, 3) or (features is not None and shape[-1] != features):
            hint, first = "", self.leaves[0]
            wanted = f"(samples, {features or 'features'})"
            if isinstance(first, Flatten):
                wanted += f" or (samples, {', '.join(map(str, first.shape))})"
            elif len(shape) == 1:
                hint = "; use x[:, None] for a single feature, x[None, :] for a single sample"
            raise ValueError(
                f"x must have the shape {wanted}, or (members, …) before it, not {shape}{hint}."
            )
        if 0 in shape:
            raise ValueError(f"x must hold at least one sample, not be empty with shape {shape}.")
        return x

    def check_input(self, backend: backends.Backend, x: Array, look: bool = True) -> None:
        """Raise unless the values of flat ``x`` are what the first layer wants, if they are to be
        looked at, and there are any.
        """
        for leaf in self.leaves[:2]:
            if leaf.first and look and not backend.traced(x):
                leaf.check_input(backend, x)

    def check(
        self, theta: Array, x: Array, y: Array | None = None, weight: Array | None = None
    ) -> backends.Backend:
        """Return the backend of these, or raise if one of them does not fit."""
        checks.given(x=x)
        backend: backends.Backend = self.check_theta(
            theta, x, y, weight, names=("x", "y", "sample_weight")
        )
        x = self.check_samples(backend, x)
        checks.same_dtype(backend, x, "x", theta, "theta")
        checks.same_members(x, int(theta.shape[0]) if len(theta.shape) == 2 else None)
        return backend


def _is_plain(layer: Layer) -> TypeGuard[Sequential]:
    """Whether a layer is a network that runs its layers one after another, and nothing else."""
    kind = type(layer)
    return isinstance(layer, Sequential) and all(
        getattr(kind, name) is getattr(Sequential, name)
        for name in ("forward", "apply", "parameters", "draw", "state", "initial_state")
    )


def _spans(counts: Sequence[int]) -> tuple[slice, ...]:
    """Where each of several has its own among those of all."""
    ends = list(itertools.accumulate(counts))
    return tuple(slice(end - n, end) for end, n in zip(ends, counts, strict=True))
