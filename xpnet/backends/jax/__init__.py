"""JAX: a whole checking interval is compiled into one program."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np

from xpnet.backends.base import Backend, Size, cores
from xpnet.compiler.plain import Runner, Step, never
from xpnet.compiler.pure import CHANGES, is_ours, look, require_unchanged
from xpnet.types import Array, Carry, Data, Metrics


class JaxBackend(Backend):
    """JAX through ``jax.numpy``, with ``jit`` and ``scan`` as the runner.

    Long, since JAX answers most that a library is asked in its own way.
    """

    name = "jax"
    module = "jax"
    block_bytes = 1 << 16  # a few arrays of a block fit in a core's cache
    install = "jax"
    eager = False
    in_place = False
    usual_way = "compiled"

    @classmethod
    def _namespace(cls) -> Any:
        return cls._import().numpy

    @classmethod
    def devices(cls) -> list[str]:
        jax = cls._import()
        found = [f"{device.platform}:{device.id}" for device in jax.devices()]
        return found if jax.default_backend() == "cpu" else [*found, "cpu:0"]

    def _find_device(self, name: str | None) -> Any:
        jax = self._import()
        if name is None:
            return next(iter(jax.numpy.zeros(()).devices()))
        kind, _, index = name.partition(":")
        try:
            return jax.devices({"cuda": "gpu"}.get(kind, kind))[int(index or 0)]
        except (RuntimeError, IndexError, ValueError) as error:
            raise self._no_device(name) from error

    @classmethod
    def of(cls, array: Array) -> JaxBackend:
        backend = cls.__new__(cls)
        backend.xp = cls._namespace()
        backend.device = backend.device_of(array)
        return backend

    @classmethod
    def check(cls, array: Array, name: str) -> None:
        jax = cls._import()
        if not isinstance(array, jax.Array):
            raise TypeError(f"{name} must be an array of values, not {type(array).__name__}.")
        if not isinstance(array.dtype, np.dtype):  # such as those of random keys
            raise TypeError(f"{name} must hold numbers, not {array.dtype}.")
        if not isinstance(array, jax.core.Tracer) and array.is_deleted():
            raise TypeError(
                f"{name} must hold values, not be deleted, as an array is that was donated to a "
                "function of jax.jit; keep a copy."
            )
        if cls._is_spread(array):
            cls._sharded().check(array, name)

    @classmethod
    def _sharded(cls) -> Any:
        return importlib.import_module("xpnet.backends.jax.sharded")

    @classmethod
    def _is_spread(cls, array: Any) -> bool:
        return bool(cls._sharded().is_spread(array))

    @classmethod
    def as_taken(cls, array: Array, name: str) -> Array:
        if not cls._is_spread(array):
            return array
        cls._sharded().check(array, name)
        return cls._sharded().plain(array)

    def traced(self, array: Array) -> bool:
        return isinstance(array, self._import().core.Tracer)

    def _cast(self, name: str, dtype: str) -> str:
        if not self._import().config.jax_enable_x64:
            dtype = dtype.replace("64", "32")
        return super()._cast(name, dtype)

    def device_of(self, array: Array) -> Any:
        if self._is_spread(array):
            return self._sharded().place(array)
        # While a function is traced, an array has no device to name.
        return None if isinstance(array, self._import().core.Tracer) else array.device

    def describe(self) -> str:
        if (mesh := getattr(self.device, "mesh", None)) is not None:
            shape = ", ".join(f"{name}: {count}" for name, count in mesh.shape.items())
            return f"a mesh of {mesh.size} devices ({shape})"
        return f"{self.device.device_kind} ({self.device.platform}:{self.device.id})"

    def elsewhere(self) -> Callable[[], AbstractContextManager[Any]]:
        jax = self._import()
        # `with jax.enable_x64(True)` holds for the thread that says so alone, as do the settings
        # of `context`.
        enable = getattr(jax, "enable_x64", None)
        if enable is None:  # in earlier versions of JAX
            enable = importlib.import_module("jax.experimental").enable_x64
        wide = bool(jax.config.jax_enable_x64)

        @contextmanager
        def here() -> Iterator[None]:
            with enable(wide), self.context():
                yield

        return here

    def context(self, size: Size | None = None) -> AbstractContextManager[Any]:
        # Rank and promotion are for the user's own code; members and NumPy's rules are ours. On a
        # GPU, JAX alone multiplies float32 in TF32, of which three digits are right, unless
        # somebody says otherwise.
        jax = self._import()
        rank, dtype = jax.config.jax_numpy_rank_promotion, jax.config.jax_numpy_dtype_promotion
        rounded = jax.config.jax_default_matmul_precision is None and not self._on_cpu()
        if (rank, dtype) == ("allow", "standard") and not rounded:
            return nullcontext()
        ours = ExitStack()
        ours.enter_context(jax.numpy_rank_promotion("allow"))
        ours.enter_context(jax.numpy_dtype_promotion("standard"))
        if rounded:
            ours.enter_context(jax.default_matmul_precision("highest"))
        return ours

    def prepare(self, dtype: str) -> None:
        # JAX's switch is one for the process, and so a program's to throw, not a library's.
        if dtype == "float64":
            self._import().config.update("jax_enable_x64", True)

    def asarray(self, values: Any, dtype: str) -> Array:
        if dtype == "float64" and not self._import().config.jax_enable_x64:
            raise ValueError(
                "dtype 'float64' needs JAX's 64-bit mode: set the environment variable "
                "JAX_ENABLE_X64=1, call jax.config.update('jax_enable_x64', True), or use float32."
            )
        return super().asarray(values, dtype)

    def _moved(self, host: np.ndarray) -> Array:
        return self._import().device_put(host, self.device)  # a third of the time of jnp.asarray

    def mark(self, array: Array) -> Callable[[], Any]:
        wait: Callable[[], Any] = array.block_until_ready
        return wait

    def copy(self, arrays: Any) -> Any:
        return arrays  # which never change

    def check_finite(self, name: str, array: Array) -> None:
        # By NumPy where that reads it in place: two operations of JAX take ten times as long.
        if not (self.near and np.isfinite(self.to_host(array)).all()):
            super().check_finite(name, array)

    def workers(self, threads: int | None = None) -> int:
        # XLA spreads a small step over all cores, where two take as long as one. Programs that are
        # called from one thread run one behind the other; from several, at once.
        return (threads or cores()) if self._on_cpu() else 1

    @property
    def near(self) -> bool:
        return self._on_cpu()

    def _on_cpu(self) -> bool:
        return getattr(self.device, "platform", "") == "cpu"

    def as_one(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # Operation by operation, each is compiled and dispatched alone. What JAX has compiled of a
        # function it keeps with it.
        said = inspect.signature(function).parameters.values()
        static = [one.name for one in said if one.kind is one.KEYWORD_ONLY]
        compiled: Callable[..., Any] = self._import().jit(
            function, static_argnums=0, static_argnames=static
        )
        return compiled

    def runner(self, step: Step, threads: int | None = None, native: Any = None) -> Runner:
        # On first use, as the library itself.
        from xpnet.backends.jax.jaxprs import ADDRESS, constants, digest
        from xpnet.backends.jax.program import compiled

        program = compiled(step)
        on_cpu = self._on_cpu()  # not measured elsewhere yet
        several = hasattr(self.device, "mesh")
        tracer = self._import().core.Tracer
        foreign = [] if is_ours(step) else [look(step)]

        def run(
            carry: Carry,
            data: Data,
            n: int,
            batch_rows: Array | None = None,
            interrupted: Callable[[], bool] = never,
        ) -> tuple[Carry, Metrics]:
            try:
                how = self._sharded().spread(data) if several else on_cpu
                result: tuple[Carry, Metrics] = program(n, how, carry, data, batch_rows)
            except Exception as error:
                _explain(error)
                raise
            if foreign:  # the first call has compiled it; others ask no more
                with suppress(IndexError):
                    require_unchanged(step, foreign.pop(), lambda v: isinstance(v, tracer))
                    twice(carry, data)
            return result

        def twice(carry: Carry, data: Data) -> None:
            """Trace a step of somebody's own two times more, and compare."""
            said = []
            for _ in range(2):
                closed = self._import().make_jaxpr(lambda *args: step(*args))(carry, data)
                values = constants(closed)
                if any(isinstance(value, tracer) for value in values):
                    raise TypeError(_KEPT)
                said.append(digest(ADDRESS.sub("", str(closed.jaxpr)), values))
            if said[0] != said[1]:
                raise TypeError(CHANGES.format("its operations or constants differ"))

        return run


_KEPT = (
    "A layer, loss or optimizer kept an array of one step and used it in another, or gave it to "
    "somebody else: a step reads and writes nothing but what it is passed. Compute it anew in each "
    "step, make it a parameter or state of the layer or state of the optimizer, or keep it as a "
    "NumPy array made beforehand."
)


def _explain(error: Exception) -> None:
    """Add to what JAX says of a step that it cannot compile what this means for a layer."""
    errors = JaxBackend._import().errors
    words = ""
    if isinstance(error, errors.UnexpectedTracerError):
        words = _KEPT
    elif isinstance(
        error,
        (
            errors.ConcretizationTypeError,
            errors.TracerArrayConversionError,
            errors.TracerIntegerConversionError,
        ),
    ):
        words = (
            "A layer, loss or optimizer asked for the value of an array (if, bool, float, int, or "
            "a function of NumPy), which JAX does not know while it compiles: use xp.where in "
            "place of if, and functions of xp."
        )
    if words and words not in getattr(error, "__notes__", ()):
        error.add_note(words)
