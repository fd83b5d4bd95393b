"""What the checks share: libraries, comparisons, slopes, and steps that are recorded or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.backends.base import Backend
from xpnet.compiler.plain import run_plainly
from xpnet.compiler.pure import an_array, look, require_unchanged
from xpnet.layers.checked import is_own
from xpnet.training.step import TrainingStep

MEMBERS = 3
STEPS = 4
SEED = 2023
PLAIN = "A step runs operation by operation"
"""How a warning begins of a step that cannot be recorded."""


def libraries(names: Sequence[str] | None) -> list[Backend]:
    """The backends that are named, or all that work here; NumPy, if it is among them, first."""
    if names is None:
        names = [name for name, answer in backends.available().items() if answer]
    elif isinstance(names, str):
        raise TypeError(f"backends must be a list of names, as [{names!r}], not {names!r}.")
    found = []
    for name in names:
        library, _, device = name.partition(":")
        found.append(backends.get(library, device or None))
    return sorted(found, key=lambda backend: backend.name != "numpy")


def dtypes(backend: Backend) -> list[str]:
    """Those that a library has here: JAX has float64 only in its 64-bit mode."""
    try:
        backend.asarray([0.0], "float64")
    except ValueError:
        return ["float32"]
    return ["float64", "float32"]


@contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn what xpnet itself says of a part into an ``AssertionError``."""
    try:
        yield
    except (TypeError, ValueError) as error:
        said = str(error)
        if is_said_of(name, said, error):
            raise AssertionError(said if said.startswith(name) else f"{name}: {said}") from error
        raise


def is_said_of(name: str, said: str, error: BaseException) -> bool:
    """Whether an error is xpnet's own sentence, and none of a bug in the part."""
    trace, last = error.__traceback__, ""
    while trace is not None:
        last, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return last.partition(".")[0] == __name__.partition(".")[0] or said.startswith(name)


@contextmanager
def pure(name: str, part: Any) -> Iterator[None]:
    """Raise if a part is other afterwards than it was: a counter, a generator, a running value."""
    of = SimpleNamespace(part=part)
    before = look(of) if not is_own(part) else {}
    yield
    with sentences(name):
        require_unchanged(of, before, an_array)


def require(name: str, right: Any, words: str) -> None:
    """Raise the sentence unless something is as it should be."""
    if not right:
        raise AssertionError(f"{name}: {words}.")


def alike(name: str, words: str, found: Any, expected: Any, dtype: str) -> None:
    """Raise unless two arrays on the host are one to half of the digits, of the largest number.

    Rounding takes a few of them, in whatever order sums are added up; a mistake nearly all.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    shapes = found.shape, expected.shape
    require(name, shapes[0] == shapes[1], f"{words} must be of {shapes[1]}, not {shapes[0]}")
    scale = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0))
    most = float(np.sqrt(np.finfo(dtype).eps)) * scale
    near = np.isclose(found, expected, rtol=0, atol=most, equal_nan=True)
    if not near.all():
        at = tuple(np.argwhere(~near)[0].tolist())
        where = f"[{', '.join(map(str, at))}]" if at else ""
        require(name, False, f"{words}{where} must be {expected[at]:.6g}, not {found[at]:.6g}")


def is_slope(
    name: str, words: str, at: Callable[[np.ndarray], tuple[float, float]], array: np.ndarray,
    gradient: np.ndarray, terms: int,
) -> None:  # fmt: skip
    """Raise unless a gradient is the slope of a function along three random directions.

    A central difference ``D(h)`` errs by ``h² f‴/6``, a third of what ``D(2h)`` differs from it by,
    and by the rounding of ``f`` over ``h``: that of a sum of so many terms, each of 64 roundings.

    Args:
        name, words: for the sentence.
        at: gives the function, and the sum of its terms' sizes.
        array: where, in float64.
        gradient: what was found.
        terms: how many terms the function adds up.
    """
    rng, h = np.random.default_rng(SEED), 2.0**-17
    for _ in range(3):
        u = rng.normal(size=array.shape)
        u /= np.linalg.norm(u)

        def slope(h: float, u: np.ndarray = u) -> tuple[float, float]:
            (up, size), (down, _) = at(array + h * u), at(array - h * u)
            return (up - down) / (2 * h), size

        (near, size), (far, _) = slope(h), slope(2 * h)
        eps = float(np.finfo(np.float64).eps)
        most = abs(far - near) + (terms + 64) * eps * (size / h + abs(near))
        found = float(np.sum(gradient * u))
        require(
            name,
            abs(found - near) <= most,
            f"{words} must give {near:.9g} ± {most:.1g} along a direction of random numbers, "
            f"as a central difference does, not {found:.9g}",
        )


def one_by_one(backend: Backend, dtype: str, alone: bool) -> bool:
    """Whether operations are run one by one: JAX compiles each, for its shapes and dtype."""
    return alone and dtype == dtypes(backend)[0]


def networks(backend: Backend, dtype: str) -> tuple[int | None, ...]:
    """Of which steps are compared: one network and members, in each dtype.

    Where each is compiled, which takes seconds, one of the two in each.
    """
    known = dtypes(backend)
    if backend.way != "compiled" or len(known) == 1:
        return None, MEMBERS
    return (None,) if dtype == known[0] else (MEMBERS,)


def whole(backend: Backend, step: TrainingStep) -> Any:
    """A step that the library runs as one, as a function of the same arguments."""
    function = backend.as_one(lambda xp, carry, batch: step(carry, batch))
    return partial(function, backend.xp)


def runs_as_written(
    name: str, backend: Backend, step: TrainingStep, carry: Any, data: Any, recorded: bool
) -> None:
    """Raise unless steps that are recorded or compiled do what the step says, call by call."""
    dtype, results = backend.dtype_name(carry["theta"]), []
    written = whole(backend, step)  # JAX would compile each operation, for its shapes
    plainly: Any = partial(run_plainly, backend.xp, written)
    runner = backend.runner(step)
    # Where the runner is the plain loop, it is run once, for what it refuses.
    for run in (runner,) if backend.way == "plain" else (plainly, runner):
        with warnings.catch_warnings(record=True) as told, backend.context():
            warnings.simplefilter("always", RuntimeWarning)
            with sentences(name):
                after, metrics = run(backend.copy(carry), data, STEPS)
            results.append(
                {key: backend.to_host(value) for key, value in (*after.items(), *metrics.items())}
            )
        for warning in told:
            said = str(warning.message)
            if said.startswith(PLAIN):
                why = said.partition("recorded: ")[2].rstrip(".")
                words = f"a step with it must be recorded, which it cannot be: {why}"
                require(name, not recorded, words)
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
    plain, other = results[0], results[-1]
    for key, value in plain.items():
        if value.dtype.kind == "f":
            words = f"{key} after {STEPS} steps that {backend.name} has {backend.way}"
            alike(name, words, other[key], value, dtype)
