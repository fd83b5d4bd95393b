"""Arrays of which each device has a part: samples of which each device trains on its own."""

from __future__ import annotations

from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xpnet.types import Array, Data


def is_spread(array: Any) -> bool:
    """Whether this is an array on several devices, or a mesh of one, with values."""
    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return False
    sharding = array.sharding
    return isinstance(sharding, NamedSharding) or len(sharding.device_set) > 1


def check(array: Array, name: str) -> None:
    """Raise ``TypeError`` unless the devices are those of a mesh, and of this process."""
    if not isinstance(array.sharding, NamedSharding):
        raise TypeError(
            f"{name} must be sharded by a NamedSharding where it lies on several devices, not by a "
            f"{type(array.sharding).__name__}; use jax.device_put({name}, NamedSharding(mesh, "
            'PartitionSpec("samples"))).'
        )
    if not array.is_fully_addressable:
        raise TypeError(
            f"{name} must lie on devices of this process, not of others too; give fit those of "
            "this one, and comm."
        )


def plain(array: Array) -> Array:
    """The same array, whose mesh leaves it to the compiler how what is computed lies.

    With axes that are `Explicit`, as `jax.make_mesh` makes them, each operation of a step would
    have to say so itself.
    """
    mesh = array.sharding.mesh
    automatic = _automatic(mesh)
    if automatic is mesh:
        return array
    return jax.device_put(array, NamedSharding(automatic, array.sharding.spec))


def _automatic(mesh: Any) -> Any:
    kinds = getattr(jax.sharding, "AxisType", None)  # versions before have no other axes
    if kinds is None or all(kind == kinds.Auto for kind in mesh.axis_types):
        return mesh
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(kinds.Auto,) * len(mesh.axis_names))


def place(array: Array) -> Any:
    """Where arrays of the same mesh lie, as a device has it: on each of its devices whole."""
    if len(array.sharding.device_set) == 1:
        return next(iter(array.sharding.device_set))
    return NamedSharding(_automatic(array.sharding.mesh), PartitionSpec())


def spread(data: Data) -> tuple[Any, ...]:
    """How data lie, to be asked of each batch of them."""
    return tuple(array.sharding if is_spread(array) else None for array in data)


def held(batch: Data, shardings: tuple[Any, ...]) -> Data:
    """A batch of which each device has a part, as of the data, where it can be dealt out evenly."""

    def hold(array: Any, sharding: Any) -> Any:
        if sharding is None:
            return array
        try:
            sharding.shard_shape(array.shape)
        except ValueError:  # there are devices that would have another number
            return array
        return lax.with_sharding_constraint(array, sharding)

    return tuple(map(hold, batch, shardings))
