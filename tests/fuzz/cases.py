"""Random trainings: a case is drawn from a seed and its number alone.

What shapes a case (network, loss, optimizer, members, batches) is drawn from ``number // repeat``,
its values (data, weights, parameters) from ``number``: where each shape is compiled, as on JAX,
``repeat`` trainings share one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import xpnet as xn
from tests.fuzz.masks import masks

ACTIVATIONS = (
    *("leaky", "leaky", "tanh", "sigmoid", "identity", "hardtanh", "softplus", "elu", "selu"),
    *("silu", "gelu", "softmax", "prelu"),
)

Layers = list[tuple[Any, ...]]
"""``(kind, *numbers)`` of each; of a residual, ``("residual", layers)``."""

MADE: dict[str, Any] = {
    "linear": xn.Linear,
    "leaky": lambda slope: xn.LeakyReLU(slope) if slope else xn.ReLU(),
    "tanh": xn.Tanh,
    "sigmoid": xn.Sigmoid,
    "identity": xn.Identity,
    "hardtanh": xn.HardTanh,
    "softplus": xn.Softplus,
    "elu": xn.ELU,
    "selu": xn.SELU,
    "silu": xn.SiLU,
    "gelu": xn.GELU,
    "softmax": xn.Softmax,
    "logsoftmax": xn.LogSoftmax,
    "prelu": xn.PReLU,
    "layernorm": xn.LayerNorm,
    "rmsnorm": xn.RMSNorm,
    "residual": lambda layers: xn.Residual(*built(layers)),
    "flatten": xn.Flatten,
    "embedding": xn.Embedding,
    "dropout": xn.Dropout,
    "batchnorm": xn.BatchNorm,
}


def built(layers: Layers) -> list[xn.Layer]:
    """The layers as xpnet has them."""
    return [MADE[kind](*numbers) for kind, *numbers in layers]


def shapes(layers: Layers) -> list[tuple[int, int]]:
    """The shapes of all parameters, in their order."""
    found: list[tuple[int, int]] = []
    for kind, *numbers in layers:
        if kind == "linear":
            found += [(numbers[1], numbers[0]), (1, numbers[1])]
        elif kind == "embedding":
            found.append((numbers[0], numbers[1]))
        elif kind == "residual":
            found += shapes(numbers[0])
        elif kind in ("prelu", "layernorm", "rmsnorm", "batchnorm"):
            found += [(1, numbers[0])] * (2 if kind in ("layernorm", "batchnorm") else 1)
    return found


def weights(layers: Layers) -> list[bool]:
    """Which of all parameters are weights, in the order of `shapes`."""
    found: list[bool] = []
    for kind, *numbers in layers:
        if kind == "residual":
            found += weights(numbers[0])
        elif kind == "linear":
            found += [True, False]
        else:
            found += [kind == "embedding"] * len(shapes([(kind, *numbers)]))
    return found


def normed(layers: Layers) -> list[int]:
    """The features of each `BatchNorm`, in their order: its state is a mean and a variance."""
    found: list[int] = []
    for kind, *numbers in layers:
        if kind == "residual":
            found += normed(numbers[0])
        elif kind == "batchnorm":
            found.append(numbers[0])
    return found


def draws(layers: Layers) -> bool:
    """Whether one of them is a `Dropout`."""
    return any(kind == "dropout" or (kind == "residual" and draws(n[0])) for kind, *n in layers)


@dataclass
class Case:
    """One training.

    Attributes:
        layers, loss, optimizer: as `expected` reads them; ``optimizer`` is a name and its options.
        nested: where the layers are cut into networks within the network.
        members, dtype: of the training.
        x, y, weight, theta: on the host, in the dtype of the training; ``theta`` as it begins.
        seed: what ``theta`` is drawn from, or ``None`` where it is given.
        epochs: of one `fit`, and of a second that goes on from it, or 0.
        options: the other arguments of `fit`.
        as_large: whether what is small is run as large arrays are (see `small_as_large`).
    """

    number: int
    layers: Layers
    nested: tuple[int, ...]
    loss: tuple[Any, ...]
    optimizer: tuple[str, dict[str, Any]]
    members: int | None
    dtype: str
    epochs: tuple[int, int]
    options: dict[str, Any]
    as_large: bool
    seed: int | None
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    weight: np.ndarray | None = field(repr=False)
    theta: np.ndarray = field(repr=False)
    told: str = ""

    # ---- as xpnet has it

    def network(self) -> xn.Sequential:
        layers = built(self.layers)
        if self.nested:
            a, b = self.nested
            layers = [*layers[:a], xn.Sequential(*layers[a:b]), *layers[b:]]
        return xn.Sequential(*layers)

    def samples(self) -> np.ndarray:
        """``x`` as it is given: with all axes of a sample, where the network flattens them."""
        kind, *sizes = self.layers[0]
        return self.x.reshape(*self.x.shape[:-1], *sizes) if kind == "flatten" else self.x

    def criterion(self) -> Any:
        return getattr(xn, self.loss[0])(*self.loss[1:])

    # ---- as the references have it: float64, with an axis of members

    def prepared(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        outputs = next(layer[2] for layer in reversed(self.layers) if layer[0] == "linear")
        y = self.y
        if self.loss[0] == "CrossEntropy" and y.dtype.kind in "iu":
            y = y[..., None] == np.arange(outputs)
        x, y = (a if a.ndim == 3 else a[None] for a in (self.x, y))
        w = self.weight
        w = None if w is None else np.asarray(w if w.ndim == 2 else w[None], dtype=np.float64)
        return x.astype(np.float64), y.astype(np.float64), w

    def theta64(self) -> np.ndarray:
        return np.atleast_2d(self.theta).astype(np.float64)

    def state64(self) -> list[np.ndarray]:
        """The state of the layers as training begins, ``(members, 1, features)`` each."""
        shapes = [(len(self.theta64()), 1, features) for features in normed(self.layers)]
        return [values(shape) for shape in shapes for values in (np.zeros, np.ones)]

    @property
    def size(self) -> int:
        """How many samples a whole step has."""
        samples, batch = self.x.shape[-2], self.options["batch_size"]
        return samples if batch is None else min(batch * self.options["accumulate"], samples)

    def decayed(self) -> np.ndarray:
        """1 for each parameter that is decayed, and 0 for each that is not."""
        every = self.optimizer[1].get("decayed", "all") == "all"
        known = zip(shapes(self.layers), weights(self.layers), strict=True)
        return np.concatenate([np.full(n * m, float(every or mine)) for (n, m), mine in known])

    def mask(self, step: int, path: tuple[int, ...], rows: int, features: int, p: float) -> Any:
        """What a `Dropout` keeps in a step, ``(members, rows, features)``."""
        seed, members = self.options.get("noise_seed", 0), len(self.theta64())
        seeds = seed if isinstance(seed, list) else range(seed, seed + members)
        samples = self.x.shape[-2]
        steps = sum(self.epochs) * -(-samples // self.size)
        return masks(tuple(seeds), path, steps, self.size, features, p)[step][:, :rows]

    def orders(self) -> list[list[np.ndarray]]:
        """The rows of every step of every epoch."""
        samples = self.x.shape[-2]
        rng = np.random.default_rng(self.options["shuffle_seed"])
        epochs = []
        for _ in range(sum(self.epochs)):
            rows = np.arange(samples)
            if self.options["batch_size"] is not None and self.options["shuffle"]:
                rng.shuffle(rows)
            epochs.append([rows[i : i + self.size] for i in range(0, samples, self.size)])
        return epochs

    def __str__(self) -> str:
        name, options = self.optimizer
        said = ", ".join(f"{k}={_short(v)}" for k, v in options.items())
        fit = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        weight = self.weight is not None and f"{self.weight.dtype}{self.weight.shape}"
        return (
            f"case {self.number}: xn.fit({self.network()!r}, x {self.dtype}{self.x.shape}, "
            f"y {self.y.dtype}{self.y.shape}, loss={self.criterion()!r}, "
            f"optimizer=xn.{name}({said}), members={self.members}, seed={self.seed}, "
            f"sample_weight={weight or None}, epochs={self.epochs}, {fit})"
            f"{', small arrays as large' * self.as_large}; {self.told}"
        )


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"array{np.ravel(value).tolist()}" if np.ndim(value) == 2 else repr(value)


class _Dice:
    """A generator with the questions that are asked here."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one_of(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def whole(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, small ones more often."""
        return low + int((high - low + 1) * self.rng.random() ** 2)

    def scale(self, low: float, high: float) -> float:
        return float(10.0 ** self.rng.uniform(low, high))


def make(seed: int, number: int, repeat: int = 1, large: bool = True) -> Case:
    """Draw a case; one in fifty of large arrays, if ``large``."""
    shape, value = _Dice(seed, number // repeat, 0), _Dice(seed, number, 1)
    dtype = shape.one_of("float32", "float64")
    big = large and shape.chance(0.02)
    members = None if big or shape.chance(0.4) else shape.one_of(1, 2, 3, 3, 5, 7, 12)
    samples = shape.whole(700, 1500) if big else shape.whole(1, 300 if shape.chance(0.1) else 40)
    kind = shape.one_of("BCE", "BCEWithLogits", "CrossEntropy", "MSE", "Huber")
    loss: tuple[Any, ...] = (kind,)
    if kind == "BCE":
        loss = (kind, shape.one_of(1e-3, 0.0, 1e-7, shape.scale(-8, -1)))
    elif kind == "Huber":
        loss = (kind, shape.one_of(1.0, shape.scale(-3, 3)))
    outputs = shape.whole(2, 5) if kind == "CrossEntropy" else shape.whole(1, 3)
    layers = _layers(shape, big, outputs, kind == "BCE")
    cut = sorted(int(shape.rng.integers(len(layers) + 1)) for _ in range(2))
    nested = tuple(cut) if shape.chance(0.3) and cut[0] < cut[1] else ()
    size = sum(n * m for n, m in shapes(layers))
    batch = None
    if shape.chance(0.5) and samples > 1:
        batch = shape.one_of(1, samples, *[int(shape.rng.integers(1, samples + 1))] * 4)
        batch = max(batch, -(-samples // 8))  # at most 8 steps an epoch
    if normed(layers):  # which has no use for one sample, nor much for two, that are signs
        least = 2 if shape.chance(0.1) else 3
        samples = max(samples, least)
        while batch is not None and batch < samples and (samples % batch or batch) < least:
            batch += 1
    epochs = 2 if big else shape.whole(1, 6)
    more = shape.whole(1, 2) if shape.chance(0.3) else 0
    options = {
        "batch_size": batch,
        "shuffle": shape.chance(0.7),
        "shuffle_seed": int(shape.rng.integers(100)),
        "check_every": shape.one_of(1, 2, 3, 100),
        "every_epoch": shape.chance(0.8),
        "acc_goal": None,
        "block": None if members is None or shape.chance(0.5) else shape.whole(1, members),
        "threads": shape.one_of(None, 1, 2, 3),
    }
    if kind in ("BCE", "BCEWithLogits", "CrossEntropy") and shape.chance(0.3):
        options["acc_goal"] = shape.one_of(1.0, 0.5, 0.75, 0.9)
    optimizer = _optimizer(shape, members)
    # What came later is drawn by dice of its own, so that all else is as it was.
    later = _Dice(seed, number // repeat, 2)
    if kind == "MSE" and later.chance(0.5):
        q = later.one_of(0.5, 0.0, float(later.rng.random()))
        loss = later.one_of(("L1",), ("Quantile", q))
    many = 1 if batch is None or normed(layers) else -(-samples // batch)
    options["accumulate"] = later.whole(1, many) if later.chance(0.4) else 1
    if "weight_decay" in optimizer[1] and later.chance(0.5):
        optimizer[1]["decayed"] = "weights"
    if later.chance(0.15):
        limit = later.scale(-3, 1)
        each = members is not None and later.chance(0.3)
        optimizer[1]["clip_value"] = limit * (1 + later.rng.random((members, 1)) if each else 1)
    latest = _Dice(seed, number // repeat, 3)
    if latest.chance(0.35):
        kept = {name: optimizer[1][name] for name in ("clip_value",) if name in optimizer[1]}
        name, own = _later_optimizer(latest, members)
        if "weight_decay" in own and latest.chance(0.5):
            own["decayed"] = "weights"
        optimizer = name, {**own, **kept}
    if "clip_value" not in optimizer[1] and latest.chance(0.15):
        optimizer[1]["clip_norm"] = latest.scale(-3, 1)
    if latest.chance(0.15):
        optimizer[1]["ema_decay"] = latest.one_of(0.9, 0.0, 0.999, float(latest.rng.random()))
    as_large = shape.chance(0.3)
    lead = {name: (members,) * (members is not None and shape.chance(0.3)) for name in "xyw"}
    target = shape.one_of("hard", "hard", "soft", "integers")
    weighted = shape.one_of(None, None, "any", "scaled", "zeros", "wild", "integers")

    other, counts = latest.chance(0.3), latest.chance(0.5)
    if other and loss == ("BCEWithLogits",) and target != "soft":
        loss = ("Hinge",)
    elif counts and loss == ("MSE",):
        loss = ("Poisson",)
    elif other and loss == ("CrossEntropy",) and target != "integers":
        loss, options["acc_goal"] = ("KL",), None
        layers.append(("logsoftmax",))

    scale = 1.0
    if value.chance(0.2):
        scale = value.scale(-20, 18) if value.chance(0.5) else value.scale(-3, 3)
    x = value.rng.normal(size=(*lead["x"], samples, _features(layers))) * scale
    x[value.rng.random(x.shape) < value.one_of(0.0, 0.0, 0.3)] = 0.0
    x[value.rng.random(x.shape[:-1]) < value.one_of(0.0, 0.0, 0.0, 0.3)] = 0.0
    things = next((numbers[0] for kind, *numbers in layers if kind == "embedding"), 0)
    if things:
        x = value.rng.integers(0, things, x.shape).astype(dtype)
    y, scale_y = _targets(value, kind, target, (*lead["y"], samples, outputs), dtype, scale)
    if loss == ("Poisson",):
        y = abs(y)
    weight = _weights(value, weighted, (*lead["w"], samples), dtype)
    if weight is not None and value.chance(0.5):  # what counts for nothing may be anything
        idle = np.all(np.reshape(weight, (-1, samples)) == 0, axis=0)
        x[..., idle, :] *= 1.0 if things else value.scale(0, 6)
        if kind in ("MSE", "Huber"):
            y[..., idle, :] = 1e30
    if draws(layers) and value.chance(0.8):
        options["noise_seed"] = _noise_seed(value, members)
    start = None if shape.chance(0.6) else int(value.rng.integers(1000))
    spread = value.one_of(1.0, 1.0, 0.3, 3.0, 0.0, value.scale(-4, 4))
    theta = value.rng.normal(size=(size,) if members is None else (members, size)) * spread
    theta[value.rng.random(theta.shape) < value.one_of(0.0, 0.0, 0.0, 0.3)] = 0.0
    case = Case(
        number, layers, nested, loss, optimizer, members, dtype, (epochs, more), options, as_large,
        start, x.astype(dtype), y, weight, theta.astype(dtype),
        f"x ~ {scale:.3g}, y ~ {scale_y:.3g}, theta ~ {spread:.3g}, weights {weighted}",
    )  # fmt: skip
    if start is not None:
        case.theta = case.network().init(start, like=case.x, members=members)
    return case


def _layers(dice: _Dice, big: bool, outputs: int, final: bool) -> Layers:
    width = dice.whole(60, 220) if big else dice.whole(1, 8 if dice.chance(0.9) else 40)
    layers: Layers = [("identity",)] if dice.chance(0.05) else []
    if not big and not layers and dice.chance(0.15):
        sizes = tuple(dice.whole(1, 4) for _ in range(dice.whole(1, 3)))
        layers, width = [("flatten", *sizes)], int(np.prod(sizes))
    if not big and layers != [("identity",)] and dice.chance(0.15):
        ids, length = width, dice.whole(1, 4)
        layers.append(("embedding", dice.whole(1, 9), length, ids))
        width = ids * length
    if not big:
        layers += [*_dropout(dice, 0.05), *[_batchnorm(dice, width)] * dice.chance(0.05)]
    for _ in range(dice.one_of(0, 1, 1, 2, 2, 3) if not big else dice.one_of(1, 2)):
        after = dice.whole(60, 220) if big else dice.whole(1, 12 if dice.chance(0.9) else 40)
        layers.append(("linear", width, after))
        layers += [*_norm(dice, after, 0.25), _activation(dice, after), *_dropout(dice, 0.15)]
        if dice.chance(0.15):
            within = dice.whole(1, 8)
            body = [("linear", after, within), *_norm(dice, within, 0.2)]
            body += [_activation(dice, within), *_dropout(dice, 0.2), ("linear", within, after)]
            layers.append(("residual", [*_norm(dice, after, 0.5), *body]))
        width = after
    layers.append(("linear", width, outputs))
    last = dice.one_of("sigmoid", "sigmoid", "softmax") if outputs > 1 else "sigmoid"
    return [*layers, (last,)] if final else layers


def _norm(dice: _Dice, width: int, share: float) -> Layers:
    if not dice.chance(share):
        return []
    kind = dice.one_of("layernorm", "rmsnorm", "batchnorm", "batchnorm")
    if kind == "batchnorm":
        return [_batchnorm(dice, width)]
    # Of one or two features it leaves hardly more than signs, and of gradients hardly anything.
    return [(kind, width, dice.one_of(1e-5, 1e-5, 0.1))] if width > 2 else []


def _batchnorm(dice: _Dice, width: int) -> tuple[Any, ...]:
    momentum = dice.one_of(0.1, 0.1, 0.01, 1.0, 0.01 + 0.99 * float(dice.rng.random()))
    return "batchnorm", width, momentum, dice.one_of(1e-5, 1e-5, 1e-3, 0.1)


def _dropout(dice: _Dice, share: float) -> Layers:
    if not dice.chance(share):
        return []
    return [("dropout", dice.one_of(0.5, 0.5, 0.1, 0.0, float(dice.rng.random()), 1 - 1e-3, 1e-6))]


def _noise_seed(dice: _Dice, members: int | None) -> Any:
    def seed() -> int:
        return int(
            dice.rng.integers(0, 1 << dice.one_of(3, 32, 64), dtype=np.uint64, endpoint=False)
        )

    if members is None:
        return seed()
    return (
        [seed() for _ in range(members)] if dice.chance(0.5) else min(seed(), (1 << 64) - members)
    )


def _activation(dice: _Dice, width: int) -> tuple[Any, ...]:
    kind = dice.one_of(*ACTIVATIONS)
    if kind == "softmax" and width == 1:  # it would be 1
        kind = "tanh"
    slope = dice.one_of(0.0, 0.0, 0.01, float(dice.rng.random()), 1.0)
    numbers = {
        "leaky": (slope,),
        "hardtanh": dice.one_of((-1.0, 1.0), (-0.5, 2.0), (0.25, 4.0)),
        "softplus": (dice.one_of(1.0, 0.3, 5.0),),
        "elu": (dice.one_of(1.0, slope, 3.0),),
        "prelu": (dice.one_of(1, width), slope),
    }
    return kind, *numbers.get(kind, ())


def _features(layers: Layers) -> int:
    """How many the first layer wants that wants a number of them."""
    for kind, *numbers in layers:
        if kind == "flatten":
            return int(np.prod(numbers))
        if kind in ("linear", "embedding"):
            return int(numbers[0] if kind == "linear" else numbers[2])
    raise ValueError(f"no layer of {layers} wants features")


def _optimizer(dice: _Dice, members: int | None) -> tuple[str, dict[str, Any]]:
    def number(value: float) -> Any:
        if members is None or dice.chance(0.8):
            return value
        return value * (1 - 0.5 * dice.rng.random((members, 1)))

    def beta(*usual: float) -> Any:
        return number(dice.one_of(*usual, float(dice.rng.random())))

    name = dice.one_of("SGD", "SGD", "AdaGrad", "RMSprop", "Adam", "Adam")
    lr = dice.one_of(dice.scale(-4, 0), dice.scale(-4, 0), 0.0, dice.scale(-8, 2))
    if dice.chance(0.05):
        lr = dice.scale(2, 30)  # to divergence
    options: dict[str, Any] = {"lr": number(lr), "maximize": dice.chance(0.1)}
    if dice.chance(0.3):
        options["weight_decay"] = number(dice.scale(-4, -1))
    if name == "SGD":
        if dice.chance(0.6):
            options["momentum"] = beta(0.9, 0.5, 1.0)
            if dice.chance(0.4):
                options["nesterov"] = True
            elif dice.chance(0.4):
                options["dampening"] = dice.one_of(0.5, 1.0, 0.1)
    elif name == "AdaGrad":
        options["lr_decay"] = number(dice.one_of(0.0, 0.1, 1e-3))
        options["initial_accumulator_value"] = dice.one_of(0.0, 0.1, 1.0)
    elif name == "RMSprop":
        options["alpha"] = beta(0.99, 0.9, 0.0)
        options["centered"] = dice.chance(0.4)
        if dice.chance(0.5):
            options["momentum"] = beta(0.9, 0.5)
    else:
        options["betas"] = (beta(0.9, 0.9, 0.0), beta(0.999, 0.999, 0.99, 1 - 1e-7))
        options["amsgrad"] = dice.chance(0.4)
        options["decoupled_weight_decay"] = dice.chance(0.4)
    if name != "SGD" and dice.chance(0.5):
        options["eps"] = number(dice.one_of(1e-8, 1e-3, dice.scale(-10, 0), 0.0))
    return name, options


def _later_optimizer(dice: _Dice, members: int | None) -> tuple[str, dict[str, Any]]:
    def number(value: float) -> Any:
        if members is None or dice.chance(0.8):
            return value
        return value * (1 - 0.5 * dice.rng.random((members, 1)))

    name = dice.one_of("Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "Lion")
    options: dict[str, Any] = {"lr": number(dice.scale(-4, 0)), "maximize": dice.chance(0.1)}
    if name == "Rprop":
        options["etas"] = dice.one_of((0.5, 1.2), (0.9, 1.1))
        options["step_sizes"] = dice.one_of((1e-6, 50.0), (1e-3, 0.1))
        return name, options
    if dice.chance(0.3):
        options["weight_decay"] = number(dice.scale(-4, -1))
    if name == "Adadelta":
        options["rho"] = number(dice.one_of(0.9, 0.99, 0.5))
        options["eps"] = number(dice.one_of(1e-6, 1e-6, 1e-3))
        return name, options
    second = dice.one_of(0.999, 0.99, 0.9, 0.5 + 0.49 * float(dice.rng.random()))
    options["betas"] = number(dice.one_of(0.9, 0.9, 0.0, float(dice.rng.random()))), second
    if name != "Lion" and dice.chance(0.5):
        options["eps"] = number(dice.one_of(1e-8, 1e-3, dice.scale(-10, 0)))
    if name == "NAdam":
        options["momentum_decay"] = number(dice.one_of(4e-3, 0.0, 0.1))
    if name in ("NAdam", "RAdam"):
        options["decoupled_weight_decay"] = dice.chance(0.4)
    return name, options


def _targets(
    dice: _Dice, kind: str, target: str, shape: tuple[int, ...], dtype: str, scale: float
) -> tuple[np.ndarray, float]:
    if kind in ("MSE", "Huber"):
        scale = dice.one_of(1.0, 1.0, scale, dice.scale(-3, 3), dice.scale(-20, 18))
        return (dice.rng.normal(size=shape) * scale).astype(dtype), scale
    if kind == "CrossEntropy":
        classes = dice.rng.integers(0, shape[-1], shape[:-1])
        if target == "integers":
            return classes, 1.0
        onehot = (classes[..., None] == np.arange(shape[-1])).astype(dtype)
        if target == "hard":
            return onehot, 1.0
        share = dice.rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        mixed = np.where(dice.rng.random(shape[:-1])[..., None] < 0.3, onehot, share)
        return mixed.astype(dtype), 1.0
    labels = dice.rng.integers(0, 2, shape)
    soft = np.where(dice.rng.random(shape) < 0.3, labels, dice.rng.random(shape))
    found = soft if target == "soft" else labels
    return (found if target == "integers" else found.astype(dtype)), 1.0


def _weights(
    dice: _Dice, kind: str | None, shape: tuple[int, ...], dtype: str
) -> np.ndarray | None:
    if kind is None:
        return None
    if kind == "integers":
        weight = dice.rng.integers(0, 4, shape)
    else:
        weight = dice.rng.random(shape) + 0.01
        if kind == "scaled":
            weight = weight * dice.scale(-30, 30)
        elif kind == "zeros":
            weight = weight * (dice.rng.random(shape) < 0.5)
        elif kind == "wild":
            weight = 10.0 ** dice.rng.uniform(-30, 30, shape)
        weight = weight.astype(dtype)
    weight[..., 0] = np.where(np.sum(weight, axis=-1) > 0, weight[..., 0], 1)
    return weight
