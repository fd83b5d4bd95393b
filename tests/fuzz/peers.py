"""The same training by PyTorch in float64: ``torch.autograd`` and ``torch.optim``, no xpnet.

Kinks are where xpnet's documentation has them: the slope of ReLU at 0 is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tests.fuzz.cases import Layers, shapes, weights
from tests.fuzz.masks import kept_rate


def _embedded(x: Any, left: Any, count: int, length: int, ids: int) -> Any:
    weight = next(left)
    x = x.expand(len(weight), *x.shape[1:]).long()
    each = [functional.embedding(own, w) for own, w in zip(x, weight, strict=True)]
    return torch.stack(each).flatten(-2)


GELU = math.sqrt(8 / math.pi)

LAYERS: dict[str, Any] = {
    "linear": lambda x, left, *_: x @ next(left).mT + next(left),
    "leaky": lambda x, left, slope: torch.where(x >= 0, x, slope * x),
    "tanh": lambda x, left: torch.tanh(x),
    "sigmoid": lambda x, left: torch.sigmoid(x),
    "identity": lambda x, left: x,
    "flatten": lambda x, left, *_: x,
    "hardtanh": lambda x, left, low, high: functional.hardtanh(x, low, high),
    "softplus": lambda x, left, beta: torch.logaddexp(beta * x, torch.zeros_like(x)) / beta,
    "elu": lambda x, left, alpha: functional.elu(x, alpha),
    "selu": lambda x, left: functional.selu(x),
    "silu": lambda x, left: functional.silu(x),
    # torch's own, ½ x (1 + tanh u), has lost digits where u is far below 0; this is the same.
    "gelu": lambda x, left: x * torch.sigmoid(GELU * (x + 0.044715 * x**3)),
    "softmax": lambda x, left: functional.softmax(x, -1),
    "logsoftmax": lambda x, left: functional.log_softmax(x, -1),
    "prelu": lambda x, left, *_: torch.where(x >= 0, x, next(left) * x),
    "layernorm": lambda x, left, n, eps: (
        functional.layer_norm(x, (n,), eps=eps) * next(left) + next(left)
    ),
    "rmsnorm": lambda x, left, n, eps: functional.rms_norm(x, (n,), eps=eps) * next(left),
    "embedding": _embedded,
}


@dataclass
class _Kept:
    """What a pass has besides: the masks of its step, and the state, which it changes."""

    mask: Callable[..., np.ndarray]
    state: Iterator[Any]


def _output(layers: Layers, left: Any, x: Any, kept: _Kept, path: tuple[int, ...] = ()) -> Any:
    for i, (kind, *numbers) in enumerate(layers, 1):
        if kind == "residual":
            x = x + _output(numbers[0], left, x, kept, (*path, i))
        elif kind == "dropout":
            mask = kept.mask((*path, i, 1), *x.shape[-2:], *numbers)
            x = x * torch.from_numpy(mask / kept_rate(*numbers))
        elif kind == "batchnorm":
            x = _batchnorm(x, left, kept.state, *numbers)
        else:
            x = LAYERS[kind](x, left, *numbers)
    return x


def _batchnorm(x: Any, left: Any, state: Any, n: int, momentum: float, eps: float) -> Any:
    """By torch's own, of what lies around 0: far from it, it loses digits."""
    weight, bias, mean, var = next(left), next(left), next(state), next(state)
    x = x.expand(len(weight), *x.shape[1:])
    middle = x.detach().mean(-2, keepdim=True)
    # The features of all members are features of one network.
    flat = (x - middle).transpose(0, 1).flatten(1)
    shifted, own = (mean - middle).view(-1), (weight.reshape(-1), bias.reshape(-1))
    y = functional.batch_norm(flat, shifted, var.view(-1), *own, True, momentum, eps)
    mean.copy_(shifted.view_as(mean) + middle)
    return y.unflatten(1, (len(weight), n)).transpose(0, 1)


def _xlogy(t: Any, log: Any) -> Any:
    return torch.where(t == 0, 0.0, t * log)


def _each(loss: tuple[Any, ...], out: Any, t: Any, keep: Any) -> Any:
    kind, *numbers = loss
    t = t.expand(len(out), *t.shape[1:])
    # What counts for nothing must not make a NaN of 0 times infinity, forward or backward.
    out, t = torch.where(keep, out, 0.5), torch.where(keep, t, 0.5)
    if kind == "BCE":
        q1, q0 = out + numbers[0], 1 - out + numbers[0]
        q1, q0 = torch.where(t == 0, 1.0, q1), torch.where(t == 1, 1.0, q0)
        return -(_xlogy(t, torch.log(q1)) + _xlogy(1 - t, torch.log(q0)))
    if kind == "BCEWithLogits":
        zero = torch.zeros_like(out)
        return t * torch.logaddexp(-out, zero) + (1 - t) * torch.logaddexp(out, zero)
    if kind == "CrossEntropy":
        return -(t * functional.log_softmax(out, dim=-1)).sum(-1, keepdim=True)
    if kind == "Hinge":
        return torch.relu(1 - (2 * t - 1) * out)
    if kind == "Poisson":
        return functional.poisson_nll_loss(out, t, reduction="none")
    if kind == "KL":
        return functional.kl_div(out, t, reduction="none").sum(-1, keepdim=True)
    if kind in ("L1", "Quantile"):
        r, q = out - t, numbers[0] if numbers else 0.5
        return (0.5 * abs(r) + (0.5 - q) * r) * (1 if numbers else 2)
    if kind == "MSE":
        return functional.mse_loss(out, t, reduction="none")
    return functional.huber_loss(out, t, reduction="none", delta=numbers[0])


def _optimizer(
    name: str, params: list[Any], options: dict[str, Any], spared: Sequence[bool]
) -> Any:
    """That of torch; those parameters that are ``spared`` are a group that is not decayed."""
    options = {"weight_decay": 0.0, **options}
    groups = {kind: [p for p, own in zip(params, spared, strict=True) if own is kind]
              for kind in (False, True)}  # fmt: skip
    params = [{"params": groups[False]}, {"params": groups[True], "weight_decay": 0.0}]
    if name == "Adam":
        decoupled = options.pop("decoupled_weight_decay", False)
        return (torch.optim.AdamW if decoupled else torch.optim.Adam)(params, **options)
    if name == "Lion":
        return _Lion(params, options)
    if name == "Rprop":
        return torch.optim.Rprop(
            [p for group in groups.values() for p in group],
            **{k: v for k, v in options.items() if k != "weight_decay"},
        )
    return getattr(torch.optim, {"AdaGrad": "Adagrad"}.get(name, name))(params, **options)


class _Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. (2023), which torch has not."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            b1, b2 = group.get("betas", (0.9, 0.99))
            for p in group["params"]:
                grad = -p.grad if group["maximize"] else p.grad
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                way = torch.sign(b1 * m + (1 - b1) * grad) + group["weight_decay"] * p
                p -= group["lr"] * way
                m.mul_(b2).add_(grad, alpha=1 - b2)


def _of_member(value: Any, i: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_of_member(v, i) for v in value)
    return float(value[i, 0]) if np.ndim(value) else value


def _own(array: np.ndarray | None, i: slice) -> Any:
    if array is None:
        return None
    return torch.from_numpy(np.array(array[i] if len(array) > 1 else array, dtype=np.float64))


def _train(case: Any, part: slice, options: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """What is trained before each epoch and after the last, and the loss of each epoch."""
    x, t, w = (_own(array, part) for array in case.prepared())
    theta = torch.from_numpy(np.array(case.theta64()[part]))
    params, start = [], 0
    for shape in shapes(case.layers):
        size = shape[0] * shape[1]
        piece = theta[:, start : start + size].reshape(-1, *shape)
        params.append(piece.clone().requires_grad_())
        start += size
    clip, all_are = options.pop("clip_value", None), options.pop("decayed", "all") == "all"
    norm, ema = options.pop("clip_norm", None), options.pop("ema_decay", None)
    average = [] if ema is None else [p.detach().clone() for p in params]
    spared = [not (all_are or mine) for mine in weights(case.layers)]
    optimizer = _optimizer(case.optimizer[0], params, options, spared)
    if w is not None:
        w = (w / w.amax(-1, keepdim=True))[..., None]
        w = w / w.mean(-2, keepdim=True)
    state = [torch.from_numpy(values[part]) for values in case.state64()]
    trained, losses, steps = [], [], 0
    for orders in case.orders():
        trained.append(_flat([*params, *state, *average]))
        total = torch.zeros(len(theta), dtype=torch.float64)
        for rows in orders:
            kept = _Kept(_masks(case, steps, part), iter(state))
            out = _output(case.layers, iter(params), x[:, rows], kept)
            steps += 1
            weight = torch.ones(1, len(rows), 1, dtype=torch.float64) if w is None else w[:, rows]
            each = _each(case.loss, out, t[:, rows], weight > 0) * weight
            value = each.mean((-2, -1))
            optimizer.zero_grad()
            value.sum().backward()
            if clip is not None:
                torch.nn.utils.clip_grad_value_(params, clip)
            if norm is not None:
                torch.nn.utils.clip_grad_norm_(params, norm)
            optimizer.step()
            for mean, p in zip(average, params, strict=False):
                mean += max(steps == 1, 1 - ema) * (p.detach() - mean)
            total = total + value.detach() * (len(rows) / x.shape[-2])
        losses.append(total.numpy())
    return [*trained, _flat([*params, *state, *average])], losses


def _masks(case: Any, step: int, part: slice) -> Callable[..., np.ndarray]:
    return lambda *draw: case.mask(step, *draw)[part]


def _flat(params: list[Any]) -> np.ndarray:
    return np.concatenate([p.detach().numpy().reshape(len(p), -1) for p in params], axis=-1)


def train(case: Any) -> tuple[np.ndarray, np.ndarray]:
    """``theta`` and state, ``(epochs + 1, members, size)``, and losses ``(epochs, members)``."""
    name, options = case.optimizer
    flat = [v for o in options.values() for v in (o if isinstance(o, tuple) else [o])]
    alone = "clip_norm" in options or any(map(np.ndim, flat))
    members = len(case.theta64())
    parts = [slice(i, i + 1) for i in range(members)] if alone else [slice(None)]
    found = [
        _train(case, p, {k: _of_member(v, p.start or 0) for k, v in options.items()}) for p in parts
    ]
    trained = np.concatenate([np.stack(trained) for trained, _ in found], axis=1)
    return trained, np.concatenate([np.stack(losses) for _, losses in found], axis=1)
