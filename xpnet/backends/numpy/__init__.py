"""NumPy, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from xpnet.backends.base import Backend, Size, cores
from xpnet.backends.numpy.threads import (
    ONE_BLAS_THREAD,
    ThreadedProgram,
    can_hold_blas,
    in_blocks,
    shares,
    threads_for,
    worth_holding,
)
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import choice
from xpnet.compiler.native.choice import Machine, Native, is_installed
from xpnet.compiler.plain import Runner, Step
from xpnet.compiler.replay import Buffers, Replay, kept, tell
from xpnet.compiler.writers.numpy import NumPyProgram
from xpnet.types import Array, Carry, Data


class NumPyBackend(Backend):
    """NumPy itself: since 2.0 its own namespace is the standard's, and needs no wrapper."""

    name = "numpy"
    module = "numpy"
    block_bytes = 1 << 17  # a few arrays of a block fit in a core's cache
    install = "numpy"
    usual_way = "recorded"

    @classmethod
    def _namespace(cls) -> Any:
        return np

    @classmethod
    def devices(cls) -> list[str]:
        return ["cpu"]

    def _find_device(self, name: str | None) -> str:
        if name not in (None, "cpu"):
            raise self._no_device(str(name))
        return "cpu"

    @classmethod
    def of(cls, array: Array) -> NumPyBackend:
        return _BACKEND

    @property
    def on_host(self) -> bool:
        return True

    @classmethod
    def check(cls, array: Array, name: str) -> None:
        if type(array) is np.ndarray or isinstance(array, (np.memmap, np.generic, Shown)):
            return
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(
                f"{name} must be a plain array, not a masked one: fill in what is masked, "
                f"{name}.filled(value), or leave those samples out of x, y and sample_weight."
            )
        # A subclass may compute otherwise: a matrix multiplies by *, another has units.
        raise TypeError(
            f"{name} must be a plain array, not {type(array).__name__}; use np.asarray({name})."
        )

    def cast(self, name: str, array: Array, dtype: str | None = None) -> str:
        if array.dtype.names is not None:
            return f"np.lib.recfunctions.structured_to_unstructured({name})"
        return super().cast(name, array, dtype)

    def coded(self, name: str, array: Array) -> str:
        kind = array.dtype.kind
        if kind == "O":
            with suppress(ValueError):  # of lists of several lengths
                kind = np.asarray(array[:100].tolist()).dtype.kind
        if kind in "SUT":
            return f"np.unique({name}, return_inverse=True)[1]"
        return self.cast(name, array, "int64" if kind in "iub" else None)

    def frozen(self, array: Array) -> Array:
        array = self.copy(array).view(Shown)
        array.flags.writeable = False
        return array

    def device_of(self, array: Array) -> Any:
        return "cpu"  # the scalars of NumPy 2.0 do not say so themselves

    def context(self, size: Size | None = None) -> AbstractContextManager[Any]:
        # exp(-x) of the sigmoid may overflow to infinity, whose inverse is the right answer, 0.
        quiet = np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
        if size is None or not worth_holding(size.product):
            return quiet
        return _alone(quiet)

    def alone(self) -> AbstractContextManager[Any]:
        return ONE_BLAS_THREAD()

    def writer(self) -> Callable[[Any, Any], Any] | None:
        return NumPyProgram

    def workers(self, threads: int | None = None) -> int:
        return threads or cores()

    def sum_over(
        self, work: Callable[..., Any], theta: Array, data: Data, threads: int | None = None
    ) -> Any:
        samples = data[0].shape[-2]
        count = threads_for({"theta": theta}, samples, threads)
        if count == 1:
            return work(*data)

        def share(rows: slice) -> Any:
            return work(*(None if a is None else a[..., rows, :] for a in data))

        with ONE_BLAS_THREAD(), ThreadPoolExecutor(count) as pool:
            return sum(pool.map(share, shares(samples, count)))

    def spread(self, samples: int, threads: int) -> list[slice]:
        return shares(samples, min(threads, samples) if can_hold_blas() else 1)

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        return kept(self, step, data, *also)

    @property
    def native(self) -> bool:
        return True

    def runner(
        self, step: Step, threads: int | None = None, native: Native | None = None
    ) -> Runner:
        return NumPyReplay(step, threads, native)


class Shown(np.ndarray[Any, Any]):
    """A copy of parameters to look at: writing into it raises; what is computed from it is plain.

    ``model[0].W += 1`` reads ``W``, adds in place, and sets ``W`` to what comes of that. On an
    array that cannot be written into, the second makes a new one.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.flags.writeable:
            raise ValueError(
                "what is read of a model is a read-only copy; make another, as by W = "
                "np.array(model[0].W), change that, and set it as a whole: model[0].W = W."
            )
        super().__setitem__(key, value)

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __repr__(self) -> str:
        return repr(np.asarray(self))


def _anew(operator: str) -> Any:
    """An augmented assignment to `Shown`, as there is for what cannot be changed."""

    def augmented(self: Shown, other: Any) -> Any:
        return getattr(np.asarray(self), operator)(other)

    return augmented


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Shown, f"__i{_name}__", _anew(f"__{_name}__"))


@contextmanager
def _alone(quiet: AbstractContextManager[Any]) -> Iterator[None]:
    with ONE_BLAS_THREAD(), quiet:
        yield


class NumPyReplay(Replay):
    """Replays on NumPy: a large step on several threads, a small one as machine code.

    Args:
        step: the step.
        threads: how many at most; ``None`` for as many as there are cores, where that is worth it.
        native: whether machine code is asked for.

    Attributes:
        recorded: why a step is not machine code; empty where it is, or nobody has asked.
    """

    def __init__(self, step: Step, threads: int | None, native: Native | None = None) -> None:
        super().__init__(np, step, NumPyProgram)
        self.threads, self.native, self.recorded = threads, native, ""
        self.decided: bool | None = None  # once for all blocks, or the last digits would tell
        self.alone = False  # whether there are threads that BLAS's own would be in the way of

    @property
    def is_native(self) -> bool:
        """Whether its programs are machine code."""
        if self.decided is not None:
            return self.decided
        return any(getattr(one, "is_native", False) for _, one in self.programs.values())

    def go_on(self, native: bool) -> None:
        """Make machine code where another runner did, whose steps these go on from."""
        self.native, self.decided = Native() if native else None, native

    def make(self, carry: Carry, data: Data, batch_rows: Array | None, given: Buffers) -> Any:
        program = self._calls(carry, data, batch_rows, given)
        return program if self.native is None else self._native(program, carry, data, batch_rows)

    def _calls(
        self,
        carry: Carry,
        data: Data,
        batch_rows: Array | None,
        given: Buffers,
        write: Callable[[Any, Any], Any] | None = None,
    ) -> Any:
        """A program of calls, on several threads where that is worth it."""
        threads = 1
        if data:  # an update alone has none
            batch = data[0].shape[-2] if batch_rows is None else batch_rows.shape[1]
            threads = threads_for(carry, batch, self.threads)
        if threads > 1:
            split = write or in_blocks
            try:
                # Already here: BLAS's own threads, once used, busy-wait for a tenth of a
                # second, on the cores that the program's threads are to have.
                with ONE_BLAS_THREAD():
                    program = ThreadedProgram(
                        self.step, carry, data, batch_rows, threads, given, split
                    )
                self.alone = True
                return program
            except Untraceable:
                pass  # then on one
        program = self.written(carry, data, batch_rows, given, write or NumPyProgram)
        if self.alone or worth_holding(program.text.product):
            program.around = ONE_BLAS_THREAD
        return program

    def _native(self, program: Any, carry: Carry, data: Data, batch_rows: Array | None) -> Any:
        """Machine code of a step, where that is asked for and can be had; else the program."""
        assert self.native is not None
        always = self.native.always or self.decided
        if self.decided is False:
            return program
        try:
            if not always and (why := self.native.hopeless(program)):
                raise Untraceable(why)
            if not is_installed():
                raise Untraceable(
                    "llvmlite is not installed, which pip install 'xpnet[native]' does"
                )
            native, machine = self._machine(program, carry, data, batch_rows)
            if not always:
                self.recorded = self.native.refuses(program, machine)
            if not self.recorded:
                machine.compile()
                self.decided = True
                return native
        except Untraceable as error:
            self.recorded = str(error)
        self.decided = False
        if always:
            tell(self.step, f"A step is recorded, and not machine code, since {self.recorded}.")
        return program

    def _machine(
        self, program: Any, carry: Carry, data: Data, batch_rows: Array | None
    ) -> tuple[Any, Machine]:
        """A step as machine code, all of it or between BLAS's products, and what that is made of.

        Raises:
            Untraceable: if there is none.
        """
        from xpnet.compiler.native.fused import FusedProgram, machine_of  # nothing else needs them
        from xpnet.compiler.native.program import native_of

        if program.threads == 1:
            rows = None if batch_rows is None else batch_rows[0, ...]
            with suppress(Untraceable):
                whole = native_of(self.step, carry, data, rows, program.carry, not self.varies)
                if whole.text.product <= choice.LARGE:
                    return whole, whole
        fused = self._calls(carry, data, batch_rows, program.carry, FusedProgram)
        if fused.threads != program.threads:
            raise Untraceable("it would not be split over threads")
        return fused, machine_of(fused)


_BACKEND = NumPyBackend()
