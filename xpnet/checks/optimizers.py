"""Optimizers of somebody's own: whether they do in a training what they say."""

from __future__ import annotations

import numpy as np

from xpnet import backends
from xpnet.layers.checked import is_own, named, note, takes
from xpnet.optimizers import Optimizer
from xpnet.optimizers.hyperparameters import State
from xpnet.types import Array


def check_update(
    optimizer: Optimizer, backend: backends.Backend, theta: Array, state: State
) -> None:
    """Raise unless somebody's own optimizer, transform or schedule does the same twice.

    Args:
        optimizer: the optimizer.
        backend: where it is.
        theta: the parameters, which stay as they are.
        state: the state that it made for them, which stays as it is.
    """
    if all(map(is_own, optimizer.parts)):
        return
    if not takes(optimizer.step, "xp", "theta", "grad", "state"):
        raise TypeError(f"{named(optimizer)}: step must take (xp, theta, grad, state).")

    def step() -> dict[str, np.ndarray]:
        mine, own = backend.copy((theta, state))
        try:
            mine, own = optimizer.update(mine, backend.xp.ones_like(mine), own)
        except Exception as error:
            note(error, f"in the optimizer, {named(optimizer)}")
            raise
        return {name: backend.to_host(array) for name, array in {"theta": mine, **own}.items()}

    first, again = step(), step()
    for name, array in first.items():
        if not np.array_equal(array, again[name], equal_nan=True):
            raise TypeError(
                f"{named(optimizer)}: step must return the same {name} for the same gradient and "
                "state, which it does not the second time; what goes from step to step is "
                "declared by init_state."
            )
