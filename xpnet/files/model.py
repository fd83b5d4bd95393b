"""A model in a file: its arrays by the names that PyTorch gives them, all else in the header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet import backends, checks
from xpnet.files import tensors
from xpnet.files.describe import Classes, by_name, describe, make
from xpnet.files.names import Stored, stored
from xpnet.history import History
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.training import progress
from xpnet.training.ensemble import gathered
from xpnet.training.rows import rows_of
from xpnet.training.step import layer_state_in, state_in

OPTIMIZER, HISTORY = "optimizer.", "history."
"""What the names of all that is not of the network begin with."""

METRICS = "val_metrics"
"""What of a history is itself by name."""

PARTS = ("network", "loss", "optimizer")
"""What a header describes."""

PREPARATION = "preparation"
"""What it describes as well, of a model that takes a table."""

Arrays = dict[str, np.ndarray]


# ---- writing


def save(model: Model, path: str | Path, weights_only: bool = False) -> None:
    """`Model.save`."""
    tensors.write(path, *packed(model, checks.switch("weights_only", weights_only)))


def packed(model: Model, weights_only: bool = False) -> tuple[Arrays, dict[str, Any]]:
    """A model as arrays of the host, and a header.

    Raises:
        TypeError, ValueError: if there is something within it that cannot be said (`describe`).
    """
    network, backend = model.network, backends.of(model.theta)
    parts: dict[str, Any] = {"network": network, "loss": model.loss}
    if model.preparation is not None:
        parts[PREPARATION] = model.preparation
    if not weights_only:
        parts["optimizer"] = model.optimizer
    header: dict[str, Any] = {
        "kind": "model",
        "versions": {"xpnet": xpnet.__version__, backend.name: backend.version()},
        "members": model.members,
        **{name: describe(part, name) for name, part in parts.items()},
    }
    parameters, state = stored(network)
    lead = tuple(model.theta.shape[:-1])
    views = network.layout.views(np, backend.to_host(model.theta))
    arrays = {
        one.key: v.reshape(*lead, *one.shape) for one, v in zip(parameters, views, strict=True)
    }
    for one in state:
        host = backend.to_host((model.layer_state or {})[one.name])
        arrays[one.key] = host.reshape(*lead, *one.shape)
    if weights_only:
        return arrays, header
    for name, array in (model.state or {}).items():
        arrays[OPTIMIZER + name] = backend.to_host(array)
    if model.history is not None:
        found = {f.name: getattr(model.history, f.name) for f in fields(model.history)}
        curves = {k: value for k, value in found.items() if isinstance(value, np.ndarray)}
        arrays |= {HISTORY + name: value for name, value in (curves | found[METRICS]).items()}
        header["history"] = {k: value for k, value in found.items() if k not in curves}
        header["history"][METRICS] = [*found[METRICS]]
    return arrays, header


# ---- reading


def load(
    path: str | Path,
    *,
    backend: str = "numpy",
    device: str | None = None,
    classes: Iterable[type] = (),
) -> Model:
    """Read what `Model.save` has written: a `Model` as it was, on the library that is named.

    It is trained on with all that it has, and ends with the bits of a training that was never in a
    file::

        model = xn.load("model.safetensors")
        model = xn.fit(
            model.network, x, y, loss=model.loss, optimizer=model.optimizer, epochs=100,
            theta=model.theta, state=model.state, layer_state=model.layer_state,
        )

    Nothing in a file is evaluated or imported. Of a checkpoint it is the model as it was at that
    check, without a history; to go on with the training is for ``fit(…, resume=path)``.

    Args:
        path: the file.
        backend: the array library, as `xpnet.backends.get` names it.
        device: the device, ``None`` for the library's own choice.
        classes: somebody's own layers, losses, optimizers and the like that the model is made of,
            as ``[MyLayer]``; they are found by their names, and made of what their constructors
            took when it was saved.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if it cannot be read.
        ValueError: if it is damaged, another program's, or of a newer xpnet; if ``classes`` lacks
            one, or has one that is no longer as it was; if there is no such backend or device.
        TypeError: if an argument is not as described.
    """
    own, where = by_name(classes), backends.get(backend, device)
    arrays, header = tensors.read(path)
    if "network" not in header:
        kind = checks.shown(header.get("kind"))
        raise ValueError(f"path must be a file of a model, but {str(path)!r} is one of {kind}.")
    if header.get("kind") == progress.KIND:
        arrays, header = packed(_in_checkpoint(arrays, header, own))
    model = unpacked(arrays, header, where, own)
    _all_taken(model.network, arrays)
    return model


def _in_checkpoint(arrays: Arrays, header: dict[str, Any], classes: Classes) -> Model:
    """The model of a training as it was at the check of a checkpoint, on NumPy, with no history."""
    backend, members = backends.get("numpy"), header["members"]
    network, loss, optimizer = (make(header[name], name, classes) for name in PARTS)
    part = progress.filled(header["progress"], arrays)["population"]
    carry, left, alive = part["carry"], part["left"], np.flatnonzero(part["alive"])
    if members is not None:
        parts = [(left[0], left[1])] if left else []
        if len(alive):
            parts.append((part["columns"][alive], rows_of(backend, [carry], alive)))
        carry = gathered(backend, members, parts)
    elif left:
        carry = left[1]
    own = layer_state_in(network, carry) or None
    return Model(network, carry["theta"], loss, None, state_in(carry), own, optimizer)


def _all_taken(network: Sequential, arrays: Iterable[str]) -> None:
    """Raise for a tensor that nothing in the network takes, as a class once had it."""
    known = {one.key for group in stored(network) for one in group}
    for name in arrays:
        if name not in known and not name.startswith((OPTIMIZER, HISTORY)):
            raise ValueError(
                f"{name} must be a tensor of the network, which has none of that name now; its "
                "classes must be as they were when it was saved."
            )


def unpacked(
    arrays: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    backend: backends.Backend,
    classes: Classes,
) -> Model:
    """The model of what `packed` gave; what else there is in it is left alone.

    Raises:
        ValueError: if a class is not known, or a tensor is missing or has another shape.
    """
    network, loss, optimizer = (make(header.get(name), name, classes) for name in PARTS)
    preparation = make(header.get(PREPARATION), PREPARATION, classes)
    checks.instance("network", network, Sequential, "a Sequential")
    members = header.get("members")
    lead = () if members is None else (members,)
    parameters, state = stored(network)
    flat = [_tensor(arrays, one, lead).reshape(*lead, -1) for one in parameters]
    host = np.concatenate(flat, axis=-1)
    dtype = host.dtype.name

    def placed(array: np.ndarray) -> Any:
        return backend.asarray(array, array.dtype.name)

    with backend.context():
        theta = placed(host)
        shapes = network.state_shapes
        layer_state = {
            one.name: backend.asarray(
                _tensor(arrays, one, lead).reshape(*lead, *shapes[one.name]), dtype
            )
            for one in state
        }
        moments = {name: placed(array) for name, array in _under(OPTIMIZER, arrays).items()}
    if "step" in moments:  # as this library counts, which may not be as that of the file did
        moments["step"] = backend.asarray(arrays[f"{OPTIMIZER}step"], "int64")
    history = header.get("history")
    if history is not None:
        curves = _under(HISTORY, arrays)
        metrics = {name: curves.pop(name) for name in history[METRICS]}
        history = History(**{**history, **curves, METRICS: metrics})
    return Model(
        network, theta, loss, history, moments or None, layer_state or None, optimizer, preparation
    )


def _tensor(arrays: Mapping[str, np.ndarray], one: Stored, lead: tuple[int, ...]) -> np.ndarray:
    found, shape = arrays.get(one.key), (*lead, *one.shape)
    if found is None or found.shape != shape:
        there = "is missing" if found is None else f"has the shape {found.shape}"
        raise ValueError(f"{one.key} must be a tensor of the shape {shape}, but {there}.")
    return found


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}
