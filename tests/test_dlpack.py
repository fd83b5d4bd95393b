"""Arrays of libraries that are not known here, by DLPack: theirs, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library
from xpnet import backends


class Foreign:
    """An array of some library, which hands out the memory of an array that is known."""

    def __init__(self, array: Any, device: int | None = None) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **how: Any) -> Any:
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, number = self.array.__dlpack_device__()
        return (int(kind) if self.device is None else self.device), number


class WithRows(Foreign):
    """One with all that a source of rows would have, as of TensorFlow or MLX."""

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: "tf.float64")

    def __getitem__(self, rows: Any) -> Any:
        raise AssertionError("no row is read")


NET = xn.Sequential(xn.Standardize(3), xn.Linear(3, 4), xn.Tanh(), xn.Linear(4, 1))


@pytest.mark.parametrize("kind", [Foreign, WithRows])
def test_it_is_computed_with_by_the_library_of_what_it_comes_with(backend: Any, kind: type) -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(12, 3)), rng.integers(0, 2, (12, 1)), rng.uniform(1, 2, 12)
    known = [backend.asarray(array, "float64") for array in values]
    theta = NET.init(0, like=known[0])  # which says the library
    if backend.name == "strict" and not backend.near:  # a device that nothing comes to
        x = Foreign(values[0])
        with pytest.raises(TypeError, match="x is an array of numpy but theta one of strict"):
            NET(theta, x, NET.init_state(like=theta))
        return
    x, y, w = map(kind, known)

    def trained(x: Any, y: Any, w: Any) -> xn.Model:
        return xn.fit(
            NET, x, y, sample_weight=w, validation=(x, y), theta=theta, loss=xn.BCEWithLogits(),
            optimizer=xn.SGD(0.1), epochs=3,
        )  # fmt: skip

    found, wanted = trained(x, y, w), trained(*known)
    for one, other in (
        (found.theta, wanted.theta),
        (found.predict(x), wanted.predict(known[0])),
        (found.predict_proba(x), wanted.predict_proba(known[0])),
        (found(x), wanted(known[0])),
    ):
        assert backends.of(one).name == backend.name
        np.testing.assert_array_equal(backend.to_host(one), backend.to_host(other))
    assert found.evaluate(x, y, w) == wanted.evaluate(*known)
    given = {"loss": xn.BCEWithLogits(), "sample_weight": w, "state": found.layer_state}
    assert backends.of(NET.value_and_grad(theta, x, y, **given)[0]).name == backend.name


def test_alone_it_is_numpys_where_it_lies_on_the_host_and_nothing_is_copied() -> None:
    torch = library("torch")
    x, y = torch.ones((6, 3), dtype=torch.float64), torch.ones((6, 1), dtype=torch.float64)
    taken = backends.taken(x=Foreign(x), y=WithRows(y), sample_weight=None)
    assert taken["sample_weight"] is None and type(taken["x"]) is type(taken["y"]) is np.ndarray
    x[0, 0] = 7
    assert taken["x"][0, 0] == 7
    assert all(type(part) is np.ndarray for part in xn.split(Foreign(x), WithRows(y)))
    model = xn.fit(NET, Foreign(x), Foreign(y), loss=xn.MSE(), optimizer=xn.SGD(), epochs=1, seed=0)
    assert type(model.theta) is np.ndarray
    assert type(NET.init(0, like=Foreign(x))) is np.ndarray
    assert NET.init_state(like=model.theta, x=Foreign(x))["0.mean"].shape == (1, 3)


def test_what_cannot_be_taken_over_is_refused_in_one_sentence() -> None:
    torch = library("torch")
    x = torch.ones((6, 3), dtype=torch.float64)
    given = {"loss": xn.MSE(), "optimizer": xn.SGD(), "epochs": 1, "seed": 0}
    with pytest.raises(TypeError, match=r"^x must lie in .* not on its device 8; use np.asarray"):
        xn.fit(NET, Foreign(x, device=8), x, **given)
    with pytest.raises(TypeError, match=r"^y must be an array whose memory numpy takes over"):
        xn.fit(NET, x.numpy(), Foreign(x.to(torch.bfloat16)), **given)
    with pytest.raises(TypeError, match=r"^x must be .* whose memory (cupy|torch) takes over by"):
        xn.split(Foreign(x, device=2))
