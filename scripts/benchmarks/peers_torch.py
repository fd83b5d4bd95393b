"""PyTorch: torch.nn with torch.optim, compiled, captured as a CUDA graph, and torch.func's vmap."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problems import (
    Contestant,
    Factory,
    Problem,
    Run,
    Unavailable,
    require,
    whole_batch,
)

Step = Callable[[], tuple[Any, Any]]
"""One training step; returns loss and accuracy as tensors, the latter ``None`` if not wanted."""


def _torch(device: str) -> Any:
    torch = require("torch")
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("torch finds no GPU")
    return torch


def network(torch: Any, problem: Problem, device: str) -> Any:
    """`nn.Sequential` as its documentation has it, with the problem's initial weights."""
    nn, layers = torch.nn, []
    activations: dict[str, Callable[[int], Any]] = {
        "leaky_relu": lambda width: nn.LeakyReLU(problem.slope),
        "relu": lambda width: nn.ReLU(),
        "gelu": lambda width: nn.GELU(approximate="tanh"),
        "layer_norm": nn.LayerNorm,
    }
    for i, (W, _) in enumerate(problem.alone().weights()):
        if i:
            layers.append(activations[problem.function](W.shape[1]))
        layers.append(nn.Linear(W.shape[1], W.shape[0]))
    if problem.loss == "bce":
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers).to(device=device, dtype=getattr(torch, problem.dtype))
    reset(torch, model, problem.alone())
    return model


def reset(torch: Any, model: Any, problem: Problem) -> None:
    """Give a model the problem's initial weights."""
    initial = [torch.as_tensor(a) for pair in problem.pairs() for a in pair]
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), initial, strict=True):
            parameter.copy_(values)


def _loss(torch: Any, problem: Problem, y: Any) -> Callable[[Any], Any]:
    """The loss of an output: torch's own, or the report's in as few operations as it takes."""
    functional = torch.nn.functional
    if problem.loss == "cross_entropy":
        return lambda output: functional.cross_entropy(output, y)
    if problem.loss == "bce_with_logits":
        return lambda output: functional.binary_cross_entropy_with_logits(output, y)
    # |p - (1 - y)| is the probability of the right label: fewer operations than the textbook's.
    wrong, eps = 1 - y, problem.bce_eps
    return lambda p: -((p - wrong).abs() + eps).log().mean()


def _hits(torch: Any, problem: Problem, y: Any) -> Callable[[Any], Any]:
    """The number of samples that an output has right."""
    if problem.loss == "cross_entropy":
        return lambda output: (output.argmax(-1) == y).sum(-1)
    positive, threshold = y > 0.5, 0.5 if problem.loss == "bce" else 0.0
    return lambda output: ((output > threshold) == positive).sum((-2, -1))


def _data(torch: Any, problem: Problem, device: str) -> tuple[Any, Any]:
    return (
        torch.as_tensor(problem.x(), device=device),
        torch.as_tensor(problem.y(), device=device),
    )


def adam(torch: Any, parameters: Any, problem: Problem, **options: bool) -> Any:
    """The problem's optimizer."""
    return torch.optim.Adam(
        parameters, lr=problem.lr, betas=problem.betas, eps=problem.eps, **options
    )


def _fetch(torch: Any, losses: list[Any], hits: list[Any]) -> np.ndarray:
    """Bring what was kept on the device to the host, as xpnet does, in one go each."""
    if hits:
        torch.stack(hits).cpu()
    return np.asarray(torch.stack(losses).cpu().numpy())


def _single(problem: Problem) -> None:
    if problem.members is not None:
        raise Unavailable("torch.nn trains one network; torch.func.vmap stands for ensembles")


def eager(
    problem: Problem, device: str = "cpu", fused: bool = True, compiled: bool = False
) -> Contestant:
    """`torch.nn` and `torch.optim.Adam`, the loop of the tutorials; losses kept as they come."""
    _single(problem)
    torch = _torch(device)
    if compiled and not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
        raise Unavailable("torch.compile finds no C++ compiler")
    x, y = _data(torch, problem, device)
    model = network(torch, problem, device)
    batches = itertools.cycle([torch.as_tensor(rows, device=device) for rows in problem.rows()])

    whole = _loss(torch, problem, y), _hits(torch, problem, y)

    def evaluate(x: Any, y: Any = None) -> tuple[Any, Any]:
        loss_of, hits_of = whole
        if y is not None:
            loss_of, hits_of = _loss(torch, problem, y), _hits(torch, problem, y)
        output = model(x)
        hits = hits_of(output.detach()) if problem.accuracy else None
        return loss_of(output), hits

    if compiled:
        evaluate = torch.compile(evaluate)
        try:
            evaluate(x)
        except Exception as error:  # whatever a tool chain says is the reason
            raise Unavailable(f"torch.compile failed: {type(error).__name__}") from error

    def start() -> Run:
        reset(torch, model, problem)
        optimizer = adam(torch, model.parameters(), problem, fused=fused)

        def step() -> tuple[Any, Any]:
            if problem.batch is None:
                loss, hits = evaluate(x)
            else:
                rows = next(batches)
                loss, hits = evaluate(x[rows], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss, hits

        def run_cpu(steps: int) -> np.ndarray:
            losses, hits = [], []
            for _ in range(steps):
                loss, hit = step()
                losses.append(loss.item())
                if hit is not None:
                    hits.append(hit.item())
            return problem.epoch_means(np.array(losses))

        def run_cuda(steps: int) -> np.ndarray:
            # `item` would wait for the GPU every step: losses stay there until the end.
            losses, hits = [], []
            for _ in range(steps):
                loss, hit = step()
                losses.append(loss.detach())
                if hit is not None:
                    hits.append(hit)
            return problem.epoch_means(_fetch(torch, losses, hits))

        return run_cpu if device == "cpu" else run_cuda

    return Contestant(problem, start)


def own_loss(problem: Problem) -> Contestant:
    """`eager` with torch's own fused loss on logits: not the report's, one kernel, not six."""
    if problem.loss != "bce":
        raise Unavailable("differs from torch.nn for the report's loss alone")
    return eager(replace(problem, loss="bce_with_logits"))


def graph(problem: Problem) -> Contestant:
    """`torch.nn` with the whole step captured once as a CUDA graph and replayed.

    As the documentation of ``torch.cuda.CUDAGraph`` has it: a warm-up on a side stream, gradients
    that stay where they are, a capturable optimizer. Loss and accuracy are written within the
    graph to where a counter points, so that a step is one launch.
    """
    _single(problem)
    whole_batch(problem)
    torch = _torch("cuda")
    x, y = _data(torch, problem, "cuda")
    model = network(torch, problem, "cuda")
    loss_of, hits_of = _loss(torch, problem, y), _hits(torch, problem, y)
    optimizer = adam(torch, model.parameters(), problem, fused=True, capturable=True)
    room = 1 << 16
    losses = torch.zeros(room, device="cuda", dtype=x.dtype)
    hits = torch.zeros(room, device="cuda", dtype=torch.int64)
    counter = torch.zeros(1, device="cuda", dtype=torch.int64)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        output = model(x)
        loss = loss_of(output)
        loss.backward()
        optimizer.step()
        losses.index_copy_(0, counter, loss.detach().reshape(1))
        if problem.accuracy:
            hits.index_copy_(0, counter, hits_of(output.detach()).reshape(1))
        counter.add_(1)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step()
    # The graph reads the data where they lie, and keeps nothing of what it has captured.
    held = step, x, y

    def start() -> Run:
        assert held
        reset(torch, model, problem)
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()
        counter.zero_()
        torch.cuda.synchronize()

        def run(steps: int) -> np.ndarray:
            assert steps <= room
            for _ in range(steps):
                captured.replay()
            if problem.accuracy:
                hits[:steps].cpu()
            return np.asarray(losses[:steps].cpu().numpy())

        return run

    return Contestant(problem, start)


def vmap(problem: Problem, device: str = "cpu") -> Contestant:
    """`torch.func` as in its tutorial on model ensembling, updated by fused Adam.

    `vmap` over `grad_and_value` of `functional_call`; the optimizer sees the stacked parameters.
    """
    if problem.members is None:
        raise Unavailable("written for ensembles")
    whole_batch(problem)
    torch = _torch(device)
    func = require("torch.func")
    x, y = _data(torch, problem, device)
    model = network(torch, problem, device)
    loss_of, hits_of = _loss(torch, problem, y), _hits(torch, problem, y)
    names = [name for name, _ in model.named_parameters()]
    initial = [torch.as_tensor(a, device=device) for pair in problem.weights() for a in pair]

    def evaluate(parameters: dict[str, Any], x: Any) -> tuple[Any, Any]:
        output = func.functional_call(model, parameters, (x,))
        return loss_of(output), hits_of(output.detach())

    gradient = func.vmap(func.grad_and_value(evaluate, has_aux=True), in_dims=(0, None))

    def start() -> Run:
        stacked = {
            name: values.clone().requires_grad_()
            for name, values in zip(names, initial, strict=True)
        }
        optimizer = adam(torch, list(stacked.values()), problem, fused=True)
        detached = {name: values.detach() for name, values in stacked.items()}

        def run(steps: int) -> np.ndarray:
            losses, hits = [], []
            for _ in range(steps):
                grads, (loss, hit) = gradient(detached, x)
                for name, parameter in stacked.items():
                    parameter.grad = grads[name]
                optimizer.step()
                losses.append(loss)
                hits.append(hit)
            return _fetch(torch, losses, hits)

        return run

    return Contestant(problem, start)


PEERS: dict[str, Factory] = {
    "torch.nn, fused Adam": eager,
    "torch.nn, Adam": partial(eager, fused=False),
    "torch.nn, fused Adam, torch.compile": partial(eager, compiled=True),
    "torch.nn, fused Adam, torch's own loss": own_loss,
    "torch.func.vmap, fused Adam": vmap,
    "torch.nn, fused Adam, eager on the GPU": partial(eager, device="cuda"),
    "torch.nn, fused Adam, captured CUDA graph": graph,
    "torch.func.vmap, fused Adam, on the GPU": partial(vmap, device="cuda"),
}
