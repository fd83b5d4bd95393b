"""A layer of one's own, held to what `Layer` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.backends.base import Backend
from xpnet.checks.layers import try_out
from xpnet.layers import base
from xpnet.layers.checked import Checked, check_parameters, check_state, named
from xpnet.noise import Noise, keys
from xpnet.testing import common
from xpnet.testing.common import MEMBERS, SEED, alike, is_slope, pure, require, sentences
from xpnet.training.step import TrainingStep, carry_of

SAMPLES, FEATURES = 6, 4
NO_SLOPES = "slopes need float64: NumPy among the backends, or JAX's 64-bit mode"


def check_layer(
    layer: xn.Layer,
    x: Any = None,
    *,
    backends: Sequence[str] | None = None,
    recorded: bool = True,
) -> None:
    """Ask of a layer what xpnet's tests ask of its own.

    - Parameters, state, outputs and gradients are as many and of the shapes that it declares.
    - ``backprop`` gives the slopes of ``forward``, of ``x`` and of each parameter, as central
      differences in float64 do, to a bound that follows from them; ``need_dx`` changes no other.
    - ``apply`` gives what ``forward`` does, unless it has state or draws.
    - The members of an ensemble give what each gives alone, with ``x`` shared or their own.
    - float32 in is float32 out, and the digits are those of float64.
    - Every library gives the same.
    - It is pure: nothing of its own changes, nothing is written into that is not its own, and twice
      the same is twice the same.
    - Steps that are recorded or compiled do what it says.

    A layer that draws is asked all that with the same random numbers each time.

    Args:
        layer: the layer.
        x: samples to ask it with, ``(samples, features)`` in the host's memory, at least 2; random
            numbers by default. A layer that is the ``first`` may need others. It is not asked at
            kinks: a central difference says nothing there.
        backends: names of libraries, such as ``"torch"`` or ``"torch:cuda"``; ``None`` for all that
            work here. On JAX, float64 is asked for in its 64-bit mode alone.
        recorded: whether steps with it must be recorded on NumPy and PyTorch, which is faster.

    Raises:
        AssertionError: with what is wrong, in one sentence.
    """
    if not isinstance(layer, xn.Layer):
        raise TypeError(f"layer must be a layer such as Linear(2, 4), not {layer!r}.")
    if x is not None:
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or len(x) < 2:
            raise TypeError(f"x must be of (samples, features), 2 samples or more, not {x.shape}.")
    name = named(layer)
    with sentences(name):
        check_parameters(name, layer)
        check_state(name, layer)
        question = _Question.of(layer, name, x)
    first: _Answers | None = None
    for backend in common.libraries(backends):
        for dtype in common.dtypes(backend):
            with backend.context(), sentences(name), pure(name, layer):
                found = question.check_alone(backend, dtype, slopes=first is None)
                members = question.check_members(backend, dtype, found)
            if first is None:
                first = members
            members.compare(name, f"in {dtype} {backend.name} gives, as", first, dtype)
            question.check_steps(backend, dtype, recorded)


@dataclass
class _Answers:
    """What came of a forward and a backward pass, on the host, by name."""

    arrays: dict[str, np.ndarray]

    def compare(self, name: str, words: str, expected: _Answers, dtype: str) -> None:
        for key, array in expected.arrays.items():
            alike(name, f"{words} {key}", self.arrays[key], array, dtype)


@dataclass(eq=False)
class _Question:
    """A layer, and host arrays to ask it with, the members first: ``x``, parameters, state."""

    layer: xn.Layer
    name: str
    x: np.ndarray
    params: list[np.ndarray]
    state: list[np.ndarray]
    compiled: dict[Backend, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: xn.Layer, name: str, x: np.ndarray | None) -> _Question:
        rng, checked = np.random.default_rng(SEED), Checked(layer, name)
        if x is None:
            x = rng.normal(size=(MEMBERS, SAMPLES, layer.in_features or FEATURES))
        else:
            x = np.stack([np.roll(x, i, axis=0) for i in range(MEMBERS)])
        # Beside what is drawn, as zeros and ones would hide mistakes.
        params = [
            np.stack([values + 0.1 * rng.normal(size=values.shape) for values in drawn])
            for drawn in zip(*(checked.draw(rng) for _ in range(MEMBERS)), strict=True)
        ]
        state = [
            np.stack([values + 0.1 * rng.uniform(size=values.shape) for _ in range(MEMBERS)])
            for values in checked.initial_state()
        ]
        return cls(layer, name, x, params, state)

    def dy(self) -> np.ndarray:
        features = self.layer.out_features or self.x.shape[-1]
        return np.random.default_rng(SEED + 1).normal(size=(*self.x.shape[:-1], features))

    def ask(
        self, backend: Backend, dtype: str, x: np.ndarray, params: Any, state: Any, dy: np.ndarray,
        seed: int, need_dx: bool = True,
    ) -> _Answers:  # fmt: skip
        """A forward and a backward pass; of an ensemble, if ``params`` and ``dy`` are."""
        members = len(dy) if dy.ndim == 3 else None
        on = [backend.asarray(values, dtype) for values in (x, dy, *params, *state)]
        given, own = tuple(on[2 : 2 + len(params)]), tuple(on[2 + len(params) :])
        one_by_one = common.one_by_one(backend, dtype, members is None)
        passes: Any = self._passes if one_by_one else self._as_one(backend)
        how: dict[str, Any] = {"backend": backend, "members": members, "need_dx": need_dx}
        seed = seed if self.layer.is_random else 0
        arrays = dict(passes(backend.xp, *on[:2], given, own, seed=seed, **how))
        if not need_dx:
            del arrays["dx"]
        for key, array in arrays.items():
            found = backend.dtype_name(array)
            require(self.name, found == dtype, f"{key} must be {dtype} for x of it, not {found}")
        return _Answers({key: np.array(backend.to_host(a)) for key, a in arrays.items()})

    def _passes(
        self, xp: Any, x: Any, dy: Any, params: Any, state: Any, *, backend: Backend,
        members: int | None, seed: int, need_dx: bool,
    ) -> dict[str, Any]:  # fmt: skip
        checked = Checked(self.layer, self.name)
        noise = Noise(seed, step=0).stream(backend, members) if self.layer.is_random else None
        y, backprop, after = base.forward(checked, xp, params, x, state, noise)
        dx, grads = backprop(dy, need_dx)
        arrays = {"its output": y, "dx": dx}
        arrays |= {f"d{k}": g for k, g in zip(self.layer.parameters(), grads, strict=True)}
        states = zip(self.layer.state(), after, strict=True)
        return arrays | {f"the new state {key!r}": array for key, array in states}

    def _as_one(self, backend: Backend) -> Any:
        """The same, compiled for each way of asking, where JAX would compile each operation."""
        if backend not in self.compiled:
            self.compiled[backend] = backend.as_one(self._passes)
        return self.compiled[backend]

    def _of(self, i: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return [p[i] for p in self.params], [s[i] for s in self.state]

    def check_alone(self, backend: Backend, dtype: str, slopes: bool) -> _Answers:
        """One network: twice the same, ``apply``, ``need_dx``, nothing written into, slopes."""
        x, dy, (params, state) = self.x[0], self.dy()[0], self._of(0)
        found = self.ask(backend, dtype, x, params, state, dy, SEED)
        again = self.ask(backend, dtype, x, params, state, dy, SEED)
        for key, array in found.arrays.items():
            same = np.array_equal(array, again.arrays[key], equal_nan=True)
            cure = "; random numbers are drawn from noise, by a layer that says draws = True"
            require(self.name, same, f"{key} must be the same twice for the same input{cure}")
        short = self.ask(backend, dtype, x, params, state, dy, SEED, need_dx=False)
        for key, array in short.arrays.items():
            words = f"without need_dx, {key}"
            alike(self.name, words, array, found.arrays[key], dtype)
        self._try_out(backend, dtype, found)
        if slopes:
            require(self.name, dtype == "float64", NO_SLOPES)
            self._check_slopes(backend, found)
        return found

    def _try_out(self, backend: Backend, dtype: str, found: _Answers) -> None:
        """What training asks of a layer before it begins; or, compiled, of ``apply`` alone."""
        params, state = self._of(0)
        x, *on = [backend.asarray(values, dtype) for values in (self.x[0], *params, *state)]
        given, own = tuple(on[: len(params)]), tuple(on[len(params) :])
        layer = Checked(self.layer, self.name)
        if common.one_by_one(backend, dtype, True):
            noise = Noise(SEED, step=0).stream(backend, None) if layer.is_random else None
            asked: list[Any] = [(layer, given, own, noise)]
            try_out(asked, backend, x)
        elif not layer.has_long_form:
            short = backend.as_one(partial(base.apply, layer))(backend.xp, given, x, own)
            words = f"in {dtype} apply gives, as forward does, its output"
            alike(self.name, words, backend.to_host(short), found.arrays["its output"], dtype)

    def _check_slopes(self, backend: Backend, found: _Answers) -> None:
        dy, (params, state) = self.dy()[0], self._of(0)
        arrays = {"dx": self.x[0], **dict(zip(self._gradients(), params, strict=True))}
        if self.layer.first:  # nobody asks for it: x may hold ids
            del arrays["dx"]

        def at(key: str, values: np.ndarray) -> tuple[float, float]:
            now = {"dx": self.x[0], **arrays, key: values}
            given = [now[k] for k in self._gradients()]
            answers = self.ask(backend, "float64", now["dx"], given, state, dy, SEED)
            terms = dy * answers.arrays["its output"]
            return float(np.sum(terms)), float(np.sum(np.abs(terms)))

        for key, array in arrays.items():
            words, gradient = f"{key} of backprop", found.arrays[key]
            is_slope(self.name, words, partial(at, key), array, gradient, dy.size)

    def _gradients(self) -> list[str]:
        return [f"d{name}" for name in self.layer.parameters()]

    def check_members(self, backend: Backend, dtype: str, alone: _Answers) -> _Answers:
        """An ensemble gives what each member gives alone, whether ``x`` is shared or its own."""
        dy = self.dy()
        for x in (self.x[0], self.x):
            together = self.ask(backend, dtype, x, self.params, self.state, dy, SEED)
            for i in range(MEMBERS):
                params, state = self._of(i)
                own = x if x.ndim == 2 else x[i]
                one = self.ask(backend, dtype, own, params, state, dy[i], SEED + i)
                part = {k: a[i] if a.ndim == 3 else a for k, a in together.arrays.items()}
                shared = "their own x" if x.ndim == 3 else "one x"
                words = f"of {MEMBERS} members with {shared}, as alone, for member {i}"
                _Answers(part).compare(self.name, words, one, dtype)
        return together

    def check_steps(self, backend: Backend, dtype: str, recorded: bool) -> None:
        """Steps of a small network, of one and of members, recorded or compiled."""
        layer, features = self.layer, self.x.shape[-1]
        before = [] if layer.first else [xn.Linear(features, features)]
        net = xn.Sequential(*before, layer, xn.Linear(layer.out_features or features, 1))
        loss, optimizer = xn.MSE(), xn.Momentum(lr=1e-3)
        step = TrainingStep(backend.xp, net, loss, optimizer)
        for members in common.networks(backend, dtype):
            with backend.context():
                x = backend.asarray(self.x[0], dtype)
                y = backend.asarray(np.sin(np.arange(len(self.x[0])))[:, None], dtype)
                theta = net.init(SEED, like=x, members=members)
                own = net.init_state(like=x, members=members)
                words = keys(SEED, members, "seed")
                key = backend.asarray(words, backend.words) if net.is_random else None
                carry = carry_of(theta, optimizer.init(theta), own, key)
            with pure(self.name, layer):
                common.runs_as_written(self.name, backend, step, carry, (x, y, None), recorded)
