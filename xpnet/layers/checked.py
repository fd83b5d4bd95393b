"""A layer of somebody's own, held to what a layer is.

xpnet's own layers do as `Layer` says, and are called as they are. Of others every answer is looked
at: a gradient too few, or of another shape, would end in a wrong number without a word. It is
Python alone that looks, at shapes and dtypes: once where a step is recorded or compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.initializers import RNG
from xpnet.layers.base import Layer, Params, State
from xpnet.noise import Stream
from xpnet.types import Array


def is_own(value: Any) -> bool:
    """Whether an object is of one of xpnet's own classes, and all layers within it are."""
    own = type(value).__module__.partition(".")[0] == __name__.partition(".")[0]
    return own and all(map(is_own, getattr(value, "leaves", ())))


def named(value: Any) -> str:
    """What to call an object in a sentence: its class's name where it has no better one."""
    kind: Any = type(value)
    return str(kind.__name__) if kind.__repr__ is object.__repr__ else repr(value)


def note(error: Exception, words: str) -> None:
    """Add words to an error, which stay below its traceback; once."""
    if words not in getattr(error, "__notes__", ()):
        error.add_note(words)


def check_parameters(name: str, layer: Layer) -> None:
    """Raise unless the parameters of a layer are named, and of two axes each."""
    _check_shapes(name, "parameter", "parameters", layer.parameters())


def check_state(name: str, layer: Layer) -> None:
    """Raise unless the state of a layer is named as nothing else is, and of two axes each."""
    shapes = layer.state()
    _check_shapes(name, "state", "state", shapes)
    for key in shapes:
        if key in layer.hyperparameters:
            raise ValueError(
                f"{name}: state must not hold {key!r}, a hyperparameter; give it another name."
            )


def _check_shapes(name: str, what: str, method: str, shapes: Any) -> None:
    if not isinstance(shapes, dict):
        raise TypeError(
            f"{name}: {method} must return a dict of names and shapes, not {_kind(shapes)}."
        )
    for key, shape in shapes.items():
        plain = isinstance(shape, (tuple, list)) and all(
            isinstance(n, (int, np.integer)) and n > 0 for n in shape
        )
        if not isinstance(key, str) or not plain or len(shape) != 2:
            cure = "(rows, columns), both at least 1"
            if plain and len(shape) < 2:
                cure = f"such as {(1, *shape, 1)[:2]}"
            elif plain:
                cure = f"such as {(int(np.prod(shape[:-1])), shape[-1])}, and reshape it in forward"
            raise ValueError(
                f"{name}: {what} {key!r} must have two axes of its own, {cure}, "
                f"not the shape {shape!r}."
            )


class _NoNoise:
    """What a layer is handed that has not said that it draws."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, wanted: str) -> Any:
        raise TypeError(
            f"{self._name}: a layer that draws random numbers must say draws = True in its class."
        )


class Checked:
    """A layer whose every answer is checked.

    Long, since a layer has many answers, and each is asked for by name.

    Args:
        layer: the layer.
        name: what to call it, such as ``layer 1, Scale``.
    """

    def __init__(self, layer: Layer, name: str) -> None:
        self.layer, self.name = layer, name
        self.has_long_form = layer.has_long_form
        self.is_random = layer.is_random
        self._check_form()

    def _check_form(self) -> None:
        """Raise unless the methods take what they will be given."""
        short, long = ("xp", "params", "x"), ("xp", "params", "x", "state", "noise")
        forward, apply = (long, long[:4]) if self.has_long_form else (short, short)
        for method, wanted in (("forward", forward), ("apply", apply)):
            function = getattr(self.layer, method)
            if takes(function, *wanted):
                continue
            why = ", since the layer has state or draws" if self.has_long_form else ""
            if not self.has_long_form and any(takes(function, *long[:n]) for n in (4, 5)):
                why = "; one that is given state and noise declares state(), or says draws = True"
            raise TypeError(f"{self.name}: {method} must take ({', '.join(wanted)}){why}.")

    def draw(self, rng: RNG) -> list[np.ndarray]:
        drawn = self._ask(self.layer.draw, rng)
        return _host_arrays(self.name, "draw", drawn, self.layer.parameters(), "parameter")

    def initial_state(self) -> list[np.ndarray]:
        made = self._ask(self.layer.initial_state)
        return _host_arrays(self.name, "initial_state", made, self.layer.state(), "state")

    def forward(
        self, xp: Any, params: Params, x: Array, state: State = (), noise: Stream | None = None
    ) -> Any:
        if self.has_long_form:
            stream = noise if self.is_random else _NoNoise(self.name)
            result = self._ask(self.layer.forward, xp, params, x, state, stream)
        else:
            result = self._ask(self.layer.forward, xp, params, x)
        form = "(y, backprop, new_state)" if self.has_long_form else "(y, backprop)"
        count = 3 if self.has_long_form else 2
        if not isinstance(result, tuple) or len(result) != count or not callable(result[1]):
            also = ", and the new state" if self.has_long_form else ""
            raise TypeError(
                f"{self.name}: forward must return the output and its backprop{also}, "
                f"{form}, not {_kind(result)}."
            )
        y, backprop = result[:2]
        leads = (*params, *state, *((noise.key[..., None],) if noise is not None else ()))
        self._check_output("forward", leads, x, y)

        def checked(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dx, grads = self._call(backprop, dy, need_dx)
            self._check_gradients(params, grads)
            if not need_dx:
                return None, tuple(grads)
            shape = (*dy.shape[:-1], x.shape[-1])
            if not _is_array(dx):
                raise TypeError(
                    f"{self.name}: backprop must return dx, of the shape {shape} of x, where "
                    f"need_dx is true, not {_kind(dx)}."
                )
            if tuple(dx.shape) != tuple(shape):
                raise ValueError(
                    f"{self.name}: backprop must return dx of the shape {tuple(shape)} of x, "
                    f"not {tuple(dx.shape)}."
                )
            self._check_dtype("backprop must return dx", x, dx)
            return dx, tuple(grads)

        if not self.has_long_form:
            return y, checked
        return y, checked, self._checked_state(state, result[2])

    def _checked_state(self, before: State, after: Any) -> State:
        shapes = self.layer.state()
        if not isinstance(after, (tuple, list)) or len(after) != len(shapes):
            raise ValueError(
                f"{self.name}: forward must return as its new state a tuple of {len(shapes)} "
                f"arrays, one a name of state ({', '.join(shapes) or 'none'}), "
                f"not {_kind(after)}."
            )
        for key, old, new in zip(shapes, before, after, strict=True):
            if not _is_array(new) or tuple(new.shape) != tuple(old.shape):
                raise ValueError(
                    f"{self.name}: forward must return a new state of the shape "
                    f"{tuple(old.shape)} for {key!r}, not {_kind(new)}."
                )
            if new.dtype != old.dtype:
                raise TypeError(
                    f"{self.name}: forward must return a new state of the dtype {old.dtype} for "
                    f"{key!r}, not {new.dtype}."
                )
        return tuple(after)

    def apply(self, xp: Any, params: Params, x: Array, state: State = ()) -> Array:
        own = (state,) if self.has_long_form else ()
        y = self._ask(self.layer.apply, xp, params, x, *own)
        self._check_output("apply", (*params, *state), x, y)
        return y

    def _check_output(self, method: str, params: Params, x: Array, y: Any) -> None:
        if not _is_array(y):
            raise TypeError(f"{self.name}: {method} must return an array, not {_kind(y)}.")
        lead = tuple(x.shape[:-2])
        leads = {lead, *(tuple(p.shape[:-2]) for p in params if len(p.shape) > 2)}
        features = self.layer.out_features or x.shape[-1]
        fits = len(y.shape) >= 2 and tuple(y.shape[:-2]) in leads
        if not fits or tuple(y.shape[-2:]) != (x.shape[-2], features):
            before = max(leads, key=len)
            how = "" if self.layer.out_features else "; out_features says how many it gives"
            raise ValueError(
                f"{self.name}: {method} must return an output of the shape "
                f"{(*before, x.shape[-2], features)} for x of {tuple(x.shape)}, "
                f"not {tuple(y.shape)}{how}."
            )
        self._check_dtype(f"{method} must return an output", x, y)

    def _check_dtype(self, what: str, x: Array, found: Array) -> None:
        if found.dtype != x.dtype:
            raise TypeError(
                f"{self.name}: {what} of the dtype {x.dtype} of x, not {found.dtype}; a number of "
                "NumPy's, such as np.float64(2), makes one of its own: write 2.0."
            )

    def _ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            note(error, f"in {self.name}")
            raise

    def _call(self, backprop: Callable[..., Any], dy: Array, need_dx: bool) -> Any:
        try:
            result = self._ask(backprop, dy, need_dx)
        except TypeError as error:
            if takes(backprop, dy, need_dx):
                raise
            raise TypeError(
                f"{self.name}: backprop must take two arguments, (dy, need_dx=True)."
            ) from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"{self.name}: backprop must return (dx, gradients), the gradients a tuple in the "
                f"order of the parameters, () if there are none, not {_kind(result)}."
            )
        return result

    def _check_gradients(self, params: Params, grads: Any) -> None:
        shapes = self.layer.parameters()
        if not isinstance(grads, (tuple, list)) or len(grads) != len(shapes):
            raise ValueError(
                f"{self.name}: backprop must return a tuple of {len(shapes)} gradients, one a "
                f"parameter ({', '.join(shapes) or 'none'}), not {_kind(grads)}."
            )
        for key, param, grad in zip(shapes, params, grads, strict=True):
            if not _is_array(grad) or tuple(grad.shape) != tuple(param.shape):
                raise ValueError(
                    f"{self.name}: backprop must return a gradient of the shape "
                    f"{tuple(param.shape)} for {key!r}, not {_kind(grad)}."
                )
            if grad.dtype != param.dtype:
                raise TypeError(
                    f"{self.name}: backprop must return a gradient of the dtype {param.dtype} for "
                    f"{key!r}, not {grad.dtype}."
                )


def _host_arrays(
    name: str, method: str, given: Any, shapes: dict[str, tuple[int, ...]], what: str
) -> list[np.ndarray]:
    """Initial values as arrays on the host, or raise; ``what`` each of them is."""
    if not isinstance(given, (list, tuple)) or len(given) != len(shapes):
        raise ValueError(
            f"{name}: {method} must return a list of {len(shapes)} arrays, one a {what}, "
            f"not {_kind(given)}."
        )
    arrays = [np.asarray(values) for values in given]
    for values, (key, shape) in zip(arrays, shapes.items(), strict=True):
        if values.shape != tuple(shape) or values.dtype.kind not in "fiub":
            raise ValueError(
                f"{name}: {method} must return real numbers of the shape {tuple(shape)} "
                f"for {key!r}, not {values.dtype} of the shape {values.shape}."
            )
    return arrays


def takes(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a function that does not say what it takes
        pass
    return True


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _kind(value: Any) -> str:
    """What something is, in a few words."""
    if _is_array(value):
        return f"an array of the shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
