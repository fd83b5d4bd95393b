"""Networks, losses and optimizers as JSON says them, and made of it again.

An object is the name of its class and what its constructor takes, which it keeps in attributes of
the same names: ``{"class": "Linear", "in_features": 2, …}``. Classes come from xpnet, or from
whoever reads a file: nothing that it says is imported or evaluated.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from xpnet import backends, checks, initializers, layers, losses, optimizers, tables
from xpnet.initializers import Initializer
from xpnet.layers import Layer
from xpnet.layers.chain import Chain
from xpnet.losses import Loss
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer, Schedule, Transform
from xpnet.optimizers.numbers import is_per_member
from xpnet.tables import Category, Number, Preparation, Target

Classes = dict[str, type]

TABLES = (Preparation, Number, Category, Target)

PARTS = (Layer, Loss, Optimizer, Schedule, Transform, Initializer, *TABLES)
"""What a description can be of."""

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Parameters of a constructor for which nothing has to be given."""

_OWN: Classes = {
    kind.__name__: kind
    for module in (layers, losses, optimizers, initializers, tables)
    for kind in (*vars(module).values(), Sequential)
    if isinstance(kind, type) and issubclass(kind, PARTS) and not inspect.isabstract(kind)
}
"""xpnet's own classes by their names."""


# ---- into JSON


def describe(value: Any, name: str) -> Any:
    """An object as JSON says it, of which `make` makes one that is the same in all it holds.

    Args:
        value: a network, layer, loss, optimizer or whatever else such an object is made of.
        name: what it is called in an error.

    Raises:
        TypeError: if there is something within that cannot be said.
        ValueError: if what is made of it would be another, since it was changed after it was made.
    """
    classes: Classes = {}
    said = _say(value, name, classes)
    other = _difference(value, make(said, name, classes), name, set())
    if other:
        raise ValueError(
            f"{other} must be what the constructor makes of its arguments, to be saved; it was "
            "changed later, or is made of something else."
        )
    return said


def _say(value: Any, name: str, classes: Classes) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (tuple, list):
        said = [_say(part, f"{name}[{i}]", classes) for i, part in enumerate(value)]
        return said if kind is tuple else {"list": said}
    # Numbers of members may be of any library; they are put where the parameters are in any case.
    if isinstance(value, (np.ndarray, np.generic)) or _is_one_a_member(value):
        host = _on_host(value)
        if host.dtype.kind in "biuf" and host.dtype.itemsize <= 8:
            return {"array": host.tolist(), "dtype": host.dtype.name}
    if isinstance(value, PARTS):
        return {"class": _called(kind, name, classes), **_arguments(value, name, classes)}
    raise TypeError(
        f"{name} must be a number, a text, an array of NumPy, a layer or the like, or a list of "
        f"them, to be saved, not {checks.shown(value)}."
    )


def _is_one_a_member(value: Any) -> bool:
    return is_per_member(value) and tuple(value.shape[1:]) == (1,)


def _on_host(array: Any) -> np.ndarray:
    return np.asarray(backends.of(array).to_host(array))


def _called(kind: type, name: str, classes: Classes) -> str:
    """A class as it is written down: somebody's own with its module, by which it is told."""
    if _OWN.get(kind.__name__) is kind:
        return kind.__name__
    if classes.setdefault(kind.__name__, kind) is not kind:
        raise ValueError(
            f"{name} must be of a class with a name of its own, to be saved, not of another "
            f"{kind.__name__}."
        )
    return f"{kind.__module__}.{kind.__name__}"


def _arguments(value: Any, name: str, classes: Classes) -> dict[str, Any]:
    found = {}
    for argument in inspect.signature(type(value)).parameters:
        if not hasattr(value, argument):
            raise TypeError(
                f"{name}, {checks.shown(value)}, must keep {argument!r}, which its constructor "
                f"takes, to be saved: self.{argument} = {argument}."
            )
        found[argument] = _say(getattr(value, argument), f"{name}.{argument}", classes)
    return found


def _difference(value: Any, other: Any, name: str, seen: set[int]) -> str | None:
    """The name of something that is not the same in both; ``None`` if all is."""
    if _is_one_a_member(value) and _is_one_a_member(other):
        value, other = _on_host(value), _on_host(other)
    if value is other or id(value) in seen:
        return None
    if type(value) is not type(other):
        return name
    if isinstance(value, (FunctionType, MethodType)):  # made anew by each constructor
        return None if value.__code__ is other.__code__ else name
    if isinstance(value, np.ndarray):
        forms = [(array.dtype, array.shape, array.tobytes()) for array in (value, other)]
        return None if forms[0] == forms[1] else name
    inside, theirs, form = _within(value), _within(other), "{}.{}"
    if inside is None or theirs is None:  # NaN is itself
        return None if value == other or repr(value) == repr(other) else name
    if isinstance(value, (tuple, list, dict)):
        form = "{}[{!r}]"
    seen.add(id(value))
    for key in {**inside, **theirs}:
        called = form.format(name, key)
        if key not in inside or key not in theirs:
            return called
        found = _difference(inside[key], theirs[key], called, seen)
        if found:
            return found
    return None


def _within(value: Any) -> dict[Any, Any] | None:
    """What a value holds, by its places or names; ``None`` for what holds nothing."""
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    if isinstance(value, dict):
        return value
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return None
    left_out = (
        {"links"} if isinstance(value, Chain) else set()
    )  # its leaves, and what they are called
    return {
        name: part
        for name, part in vars(value).items()
        if name not in left_out
        and not isinstance(getattr(type(value), name, None), cached_property)
    }


# ---- and back


def by_name(classes: Iterable[type]) -> Classes:
    """Somebody's own classes by their names, or raise."""
    if not isinstance(classes, (list, tuple, set, frozenset)):
        raise TypeError(
            f"classes must be a list of classes, as [MyLayer], not {checks.shown(classes)}."
        )
    found: Classes = {}
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, PARTS)):
            raise TypeError(
                "classes must hold classes of layers, losses, optimizers and the like, not "
                f"{checks.shown(kind)}."
            )
        if found.setdefault(kind.__name__, kind) is not kind:
            raise ValueError(f"classes must have different names, not two {kind.__name__}.")
    return found


def make(said: Any, name: str, classes: Classes) -> Any:
    """What `describe` said, made again.

    Args:
        said: what it said.
        name: what it is called in an error.
        classes: somebody's own classes, by name.

    Raises:
        ValueError: if its class is not known, or its constructor no longer takes what it took, or
            takes more.
    """
    if isinstance(said, list):
        return tuple(make(part, f"{name}[{i}]", classes) for i, part in enumerate(said))
    if not isinstance(said, dict):
        return said
    if "list" in said:
        return list(make(said["list"], name, classes))
    if "array" in said:
        return np.array(said["array"], dtype=said["dtype"])[()]
    kind = _class(said["class"], name, classes)
    signature = inspect.signature(kind)
    arguments = {key: part for key, part in said.items() if key != "class"}
    unknown = [key for key in arguments if key not in signature.parameters]
    if unknown:
        raise ValueError(
            f"{name} must be of a {kind.__name__} whose constructor takes {unknown[0]!r}, as when "
            "it was saved."
        )
    for key, one in signature.parameters.items():
        if key not in arguments and one.default is one.empty and one.kind not in _ANY_NUMBER:
            raise ValueError(
                f"{name} must be of a {kind.__name__} whose constructor does not ask for {key!r}, "
                "as when it was saved, or has a default for it."
            )
    made = {key: make(part, f"{name}.{key}", classes) for key, part in arguments.items()}
    bound = inspect.BoundArguments(signature, made)
    return kind(*bound.args, **bound.kwargs)


def _class(called: str, name: str, classes: Classes) -> type:
    module, _, short = called.rpartition(".")
    found = (classes if module else _OWN).get(short)
    if found is None and module:
        raise ValueError(
            f"classes must hold {short}, of which {name} is, as in classes=[{short}]; it was "
            f"{called} when it was saved."
        )
    if found is None:
        raise ValueError(f"{name} is a {called}, which this xpnet does not have; update xpnet.")
    return found
