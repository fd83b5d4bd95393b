"""`Model`: a network together with its parameters, as a person wants to hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xpnet import backends, checks
from xpnet.checks.network import check_state, check_theta
from xpnet.history import History
from xpnet.layers.base import Layer
from xpnet.layers.chain import Chain
from xpnet.losses import Loss, Share, prepare
from xpnet.losses.base import evaluate
from xpnet.metrics import Scorer, asked_for
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.tables import Preparation
from xpnet.types import Array


class Model:
    """A network, its parameters, and the loss that gives its output a meaning.

    Long, since it is all that a person holds; half of it are docstrings.

    Attributes:
        network: the `Sequential`.
        theta: ``(size,)``, or ``(members, size)`` for an ensemble; can be set to another of the
            same shape, dtype, library and device, of finite numbers.
        loss: what it was trained on, or ``None``.
        history: what happened in training, or ``None``.
        state: the optimizer's state at the end, to go on from, or ``None``.
        layer_state: the state of layers such as `BatchNorm`, by name, or ``None``; can be set to
            another of the same form, of values that the layers can go on from.
        optimizer: what it was trained by, or ``None``.
        preparation: the `xpnet.tables.Preparation` whose ``transform`` makes ``x`` of a table, or
            ``None``; can be set to one of as many features as the network takes.
    """

    def __init__(
        self,
        network: Sequential,
        theta: Array,
        loss: Loss | None = None,
        history: History | None = None,
        state: dict[str, Array] | None = None,
        layer_state: dict[str, Array] | None = None,
        optimizer: Optimizer | None = None,
        preparation: Preparation | None = None,
    ) -> None:
        checks.instance("network", network, Sequential, "a Sequential")
        backend = check_theta(network, theta)  # raises if it does not fit
        check_state(network, backend, theta, layer_state, "layer_state")
        self.network = network
        self._theta = theta
        self.loss = loss
        self.history = history
        self.state = state
        self._layer_state = layer_state
        self.optimizer = optimizer
        self.preparation = preparation

    @property
    def theta(self) -> Array:
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        old = self._theta
        another = "; xpnet.Model(network, theta, loss) makes another model"
        checks.given(theta=theta)
        backend = backends.of(old, theta, names=("the theta of this model", "theta"))
        if theta.dtype != old.dtype:
            wanted, found = backend.dtype_name(old), backend.dtype_name(theta)
            raise TypeError(f"theta must keep the dtype {wanted}, not become {found}{another}.")
        if tuple(theta.shape) != tuple(old.shape):
            raise ValueError(
                f"theta must keep the shape {tuple(old.shape)}, not become "
                f"{tuple(theta.shape)}{another}."
            )
        with backend.context():
            backend.check_finite("theta", theta)
        self._theta = theta

    @property
    def layer_state(self) -> dict[str, Array] | None:
        return self._layer_state

    @layer_state.setter
    def layer_state(self, state: dict[str, Array] | None) -> None:
        backend = backends.of(self._theta)
        with backend.context():
            check_state(self.network, backend, self._theta, state, "layer_state", look=True)
        self._layer_state = state

    @property
    def preparation(self) -> Preparation | None:
        return self._preparation

    @preparation.setter
    def preparation(self, preparation: Preparation | None) -> None:
        if preparation is not None:
            checks.instance("preparation", preparation, Preparation, "a Preparation of a table")
            wanted = self.network.in_features
            if wanted not in (None, preparation.features):
                raise ValueError(
                    f"preparation must give the {wanted} features that the network takes, not "
                    f"{preparation.features}."
                )
        self._preparation = preparation

    @property
    def ema(self) -> Model:
        """The model of the average of the parameters, which an optimizer with ``ema_decay`` keeps.

        Raises:
            AttributeError: if it was not trained with one.
        """
        average = (self.state or {}).get("ema")
        if average is None:
            raise AttributeError(
                "ema is there after a training that keeps an average of the parameters, by an "
                "optimizer such as Adam(ema_decay=0.999)."
            )
        layers = self.layer_state
        return Model(
            self.network,
            average,
            self.loss,
            self.history,
            layer_state=layers,
            preparation=self.preparation,
        )

    def __repr__(self) -> str:
        members = f", {self.theta.shape[0]} members" if len(self.theta.shape) == 2 else ""
        return f"Model({self.network!r}{members})"

    def __len__(self) -> int:
        return len(self.network)

    def __getitem__(self, i: int) -> BoundLayer:
        i = checks.index(i, len(self.network))
        return BoundLayer(self, self.network[i], f"{i}.")

    def __iter__(self) -> Iterator[BoundLayer]:
        return (self[i] for i in range(len(self)))

    def named_parameters(self) -> dict[str, Array]:
        """The parameters by name, such as ``"0.W"``; views, where the library has views."""
        return self.network.unflatten(self.theta)

    def save(self, path: str | Path, *, weights_only: bool = False) -> None:
        """Write all of this into a file, from which `xpnet.load` makes it again.

        It is in the format safetensors: parameters and the state of layers as a
        ``torch.nn.Sequential`` of the same layers names and shapes them (``0.weight``,
        ``1.running_mean``; of an ensemble, members first), the optimizer's state and the history
        beside them, and network, loss, optimizer and versions as JSON in the header. The file is
        there whole, or as it was before.

        Args:
            path: the file, such as ``"model.safetensors"``; one that is there is replaced.
            weights_only: whether to leave out what training left: the optimizer, its state and the
                history. Then ``load_state_dict`` of PyTorch takes the file as it is.

        Raises:
            ImportError: if safetensors is not installed.
            OSError: if it cannot be written, as on a full disk; then all is as before.
            TypeError, ValueError: if something in it cannot be said by the names of classes and
                their arguments, as a function; a class of somebody's own keeps what its constructor
                takes in attributes of the same names.
        """
        from xpnet.files.model import save  # which knows models

        save(self, path, weights_only)

    # ---- members of an ensemble

    @property
    def members(self) -> int | None:
        """How many networks these are, or ``None`` for one."""
        return int(self.theta.shape[0]) if len(self.theta.shape) == 2 else None

    def member(self, i: int) -> Model:
        """Member ``i`` of an ensemble as a model of its own, with its state and history.

        It goes on as any other, with its ``optimizer`` of its own numbers (``lr=0.01`` where the
        ensemble had an array of them); where layers draw, with ``noise_seed + i``.

        Raises:
            TypeError: if this is a network alone.
            IndexError: if there is no such member.
        """
        if self.members is None:
            raise TypeError("member needs a model of several networks, not a network alone.")
        i = checks.index(i, self.members, "member")
        backend = backends.of(self.theta)
        with backend.context():

            def own(array: Array) -> Array:
                return backend.copy(array[i, ...])

            def entry(name: str, array: Array) -> Array:
                if not len(array.shape):  # which the members share
                    return backend.copy(array)
                return backend.xp.reshape(own(array), ()) if name == "step" else own(array)

            layers = self.layer_state
            return Model(
                self.network,
                own(self.theta),
                self.loss,
                self.history and self.history.of_member(i),
                self.state and {name: entry(name, a) for name, a in self.state.items()},
                layers and {name: own(array) for name, array in layers.items()},
                self.optimizer and self.optimizer.of_member(i),
                self.preparation,
            )

    def best(self, by: str | None = None) -> Model:
        """The member that has done best in training, as `member` has it.

        Args:
            by: ``"val_loss"``, ``"val_accuracy"``, ``"loss"``, ``"accuracy"``, or ``val_`` and the
                name of a metric: what each member left with (`History.last`); ``None`` for what was
                monitored, else the loss. Of equals the first; ``model.history.member`` says which
                it is.

        Raises:
            TypeError: if this is a network alone.
            ValueError: if there is no such number in the history, or all are NaN.
        """
        history = self.history
        if self.members is None or history is None:
            what = "a network alone" if self.members is None else "one without a history"
            raise TypeError(f"best needs a model of several networks, trained by fit, not {what}.")
        values = history.scores(by)
        if (values != values).all():
            by = by or history.monitor or "loss"
            raise ValueError(f"by must be what some member has, but {by!r} is NaN for all.")
        lowest = min(value for value in values.tolist() if value == value)
        return self.member(values.tolist().index(lowest))

    def __call__(self, x: Array) -> Array:
        """The network's output in inference, ``(..., samples, outputs)``."""
        return self.network(self.theta, x, self.layer_state)

    def predict(self, x: Array, check: bool = True) -> Array:
        """The class where the loss tells classes apart, the rate for `Poisson`, else the output.

        Without a loss (``model.loss is None``) it is the output.

        Classes are 0 or 1 of the shape of the output for the binary losses, ``(..., samples)`` for
        `CrossEntropy`.

        Args:
            x: ``(samples, features)``, or ``(members, samples, features)``.
            check: whether to make sure that no output is NaN, which is no answer; it waits for
                the device. Without a loss nobody knows what an output means, and it is not looked
                at.

        Raises:
            ValueError: if one is.
        """
        x = backends.taken(theta=self.theta, x=x)["x"]
        output = self(x)
        if self.loss is None:
            return output
        return self._meaning(self.loss.predict, output, x, check)

    def predict_proba(self, x: Array, check: bool = True) -> Array:
        """The output as probabilities, of the shape of the output; arguments as for `predict`.

        Raises:
            TypeError: if the loss does not tell classes apart, or has no probabilities.
            ValueError: if an output is NaN.
        """
        if self.loss is None or not self.loss.classifies or not self.loss.probabilistic:
            raise TypeError(
                "predict_proba needs a loss that tells classes apart by probabilities, "
                f"not {checks.shown(self.loss)}."
            )
        x = backends.taken(theta=self.theta, x=x)["x"]
        return self._meaning(self.loss.probabilities, self(x), x, check)

    def evaluate(
        self,
        x: Array,
        y: Array,
        sample_weight: Array | None = None,
        metrics: Sequence[Any] | None = None,
    ) -> dict[str, Any]:
        """How well it does on samples, in inference: the loss, the accuracy, and what is asked for.

        Args:
            x: ``(samples, features)``, or ``(members, samples, features)``.
            y: the targets, as for `fit`.
            sample_weight: ``(samples,)`` or ``(members, samples)``, at least 0.
            metrics: as for `fit`; ``None`` for ``["r2", "mae"]`` where there are no classes.

        Returns:
            By name a float, or for an ensemble an array of NumPy ``(members,)``.

        Raises:
            TypeError, ValueError: if an argument does not fit, there is no loss, or an output is
                NaN.
        """
        if self.loss is None:
            raise TypeError("evaluate needs a model with a loss, not one whose loss is None.")
        loss, network = self.loss, self.network
        named = {"theta": self.theta, "x": x, "y": y, "sample_weight": sample_weight}
        _, x, y, sample_weight = backends.taken(**named).values()
        output = self(x)
        backend = backends.of(output, y, sample_weight, names=("x", "y", "sample_weight"))
        if metrics is None:
            metrics = [] if loss.classifies else ["r2", "mae"]
        with backend.context(network.layout.extent(self.members, output.shape[-2])):
            checks.given(y=y)
            asked = asked_for(backend, loss, output.shape[-1], output, metrics)
            self._check_output(backend, output, x)
            if backend.xp.isdtype(y.dtype, "real floating"):
                backend.check_finite("y", y)
            target, weight = prepare(
                backend, loss, output.shape, y, sample_weight, output.dtype, check=True
            )
            share = Share(output.shape[-2], weight)
            found = {"loss": evaluate(loss, backend.xp, output, target, share)[0]}
            if loss.classifies:
                found["accuracy"] = loss.accuracy(backend.xp, output, target, share)
            said = {name: backend.to_host(value) for name, value in found.items()}
            said |= Scorer(backend, loss, asked, y, sample_weight)(output, target, weight)
        return {n: v.item() if self.members is None else v for n, v in said.items()}

    def _meaning(self, of: Callable[..., Array], output: Array, x: Array, check: bool) -> Array:
        backend = backends.of(output)
        with backend.context():
            # Under jax.jit there are no values to look at.
            if checks.switch("check", check) and backend.device is not None:
                self._check_output(backend, output, x)
            return of(backend.xp, output)

    @staticmethod
    def _check_output(backend: backends.Backend, output: Array, x: Array) -> None:
        xp = backend.xp
        if not bool(xp.any(xp.isnan(output))):
            return
        backend.check_finite("x", x)
        host = backend.to_host(output)
        lost = (host != host).any(axis=-1)  # NaN alone is not itself
        sample = int(lost.reshape(-1, lost.shape[-1]).any(axis=0).argmax())
        raise ValueError(
            f"theta must give outputs that are numbers, but that of sample {sample} is NaN; "
            "the training may have diverged: see model.history.diverged."
        )


class BoundLayer:
    """A layer of a `Model`, whose parameters can be read and set: ``model[0].W = …``.

    What is read is a copy, on NumPy one that cannot be written into (``model[0].W[0, 0] = 5`` is an
    error); setting it as a whole, or by ``model[0].W += …``, changes ``model.theta``. State,
    such as ``model[1].mean``, is read alone.
    """

    _model: Model
    _layer: Layer
    _prefix: str

    def __init__(self, model: Model, layer: Layer, prefix: str) -> None:
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_layer", layer)
        object.__setattr__(self, "_prefix", prefix)

    def __repr__(self) -> str:
        return repr(self._layer)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._layer.parameters(), *self._layer.state()]

    def __getitem__(self, i: int) -> BoundLayer:
        if not isinstance(self._layer, Chain):
            raise TypeError(f"{self._layer!r} has no layers within.")
        i = checks.index(i, len(self._layer))
        return BoundLayer(self._model, self._layer[i], f"{self._prefix}{i}.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in BoundLayer.__annotations__:
            raise AttributeError(name)  # asked for by copy and pickle before there is a layer
        if name in self._layer.parameters():
            array = self._model.named_parameters()[self._prefix + name]
        elif name in self._layer.state():
            array = (self._model.layer_state or {})[self._prefix + name]
        else:
            return getattr(self._layer, name)
        backend = backends.of(array)
        with backend.context():
            return backend.frozen(array)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._layer.parameters():
            raise AttributeError(
                f"{name} is no parameter of {self._layer!r} that could be set; "
                f"it has {', '.join(self._layer.parameters()) or 'none'}"
                f"{'; state is set in model.layer_state' if name in self._layer.state() else ''}."
            )
        model = self._model
        parameters = model.named_parameters()
        old = parameters[self._prefix + name]
        backend = backends.of(old)
        with backend.context():
            if not hasattr(value, "dtype") or backends.of(value, names=(name,)).name == "numpy":
                value = backend.from_host(name, value, backend.dtype_name(old))
            elif backends.of(old, value, names=("theta", name)) and value.dtype != old.dtype:
                wanted, found = backend.dtype_name(old), backend.dtype_name(value)
                raise TypeError(
                    f"{name} must have the dtype {wanted}, not {found}; "
                    f"use {backend.cast(name, value, wanted)}."
                )
            if tuple(value.shape) != tuple(old.shape):
                raise ValueError(
                    f"{name} must have the shape {tuple(old.shape)}, not {tuple(value.shape)}."
                )
            backend.check_finite(name, value)
        model.theta = model.network.flatten({**parameters, self._prefix + name: value})
