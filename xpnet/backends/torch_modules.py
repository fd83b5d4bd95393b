"""PyTorch's modules as xpnet's files describe layers, and made of such descriptions.

Neither networks nor layers are known here: a description is what ``files/describe.py`` writes, and
tensors have the names of a ``state_dict``, which are those of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.backends.base import Backend
from xpnet.backends.torch import TorchBackend

torch = TorchBackend._import()
nn = torch.nn

Description = dict[str, Any]


class Residual(nn.Sequential):  # type: ignore[misc, name-defined]
    """``x + f(x)``."""

    def forward(self, x: Any) -> Any:
        """As `xpnet.Residual`."""
        return x + super().forward(x)


class Ids(nn.Embedding):  # type: ignore[misc, name-defined]
    """The vectors of a sample's ids, which may be floats, one behind the other."""

    def forward(self, x: Any) -> Any:
        """As `xpnet.Embedding`."""
        return super().forward(x.long()).flatten(-2)


class Standardize(nn.Module):  # type: ignore[misc, name-defined]
    """``(x − mean) / scale``, a feature at a time."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, x: Any) -> Any:
        """As `xpnet.Standardize`."""
        return (x - self.mean) / self.scale


_LAYERS: dict[str, tuple[Any, dict[str, str]]] = {
    "Linear": (nn.Linear, {"in_features": "in_features", "out_features": "out_features"}),
    "Identity": (nn.Identity, {}),
    "LeakyReLU": (nn.LeakyReLU, {"negative_slope": "negative_slope"}),
    "ReLU": (nn.ReLU, {}),
    "Sigmoid": (nn.Sigmoid, {}),
    "Tanh": (nn.Tanh, {}),
    "HardTanh": (nn.Hardtanh, {"min_val": "min_val", "max_val": "max_val"}),
    "Softplus": (nn.Softplus, {"beta": "beta"}),
    "ELU": (nn.ELU, {"alpha": "alpha"}),
    "SELU": (nn.SELU, {}),
    "SiLU": (nn.SiLU, {}),
    "GELU": (nn.GELU, {"approximate": "approximate"}),
    "Softmax": (nn.Softmax, {}),
    "LogSoftmax": (nn.LogSoftmax, {}),
    "PReLU": (nn.PReLU, {"num_parameters": "num_parameters", "init": "init"}),
    "Dropout": (nn.Dropout, {"p": "p"}),
    "BatchNorm": (
        nn.BatchNorm1d,
        {"features": "num_features", "momentum": "momentum", "eps": "eps"},
    ),
    "Standardize": (Standardize, {"features": "features"}),
    "LayerNorm": (nn.LayerNorm, {"features": "normalized_shape", "eps": "eps"}),
    "RMSNorm": (nn.RMSNorm, {"features": "normalized_shape", "eps": "eps"}),
    "Embedding": (
        nn.Embedding,
        {"num_embeddings": "num_embeddings", "embedding_dim": "embedding_dim"},
    ),
}
"""The module of each layer, and what there is the name of what its constructor takes here."""

_FIXED: dict[str, dict[str, Any]] = {
    "Softmax": {"dim": -1},
    "LogSoftmax": {"dim": -1},
    "Softplus": {"threshold": 40.0},  # where there is nothing left to round
}
"""What the module takes besides."""

_CHAINS = {nn.Sequential: "Sequential", Residual: "Residual"}
_NAMES = {Ids: "Embedding", **{kind: name for name, (kind, _) in _LAYERS.items()}}


# ---- from a module


def described(module: Any) -> tuple[Description, dict[str, np.ndarray], Backend]:
    """A ``torch.nn.Sequential`` as a description, its tensors on the host, and where they lie.

    Raises:
        TypeError: if it is none, or there is something in it that xpnet has no layer for.
        ValueError: if it has no parameters.
    """
    if type(module) is not nn.Sequential:
        hint = "; write torch.nn.Sequential(module)" if type(module) in _NAMES else ""
        raise TypeError(f"module must be a torch.nn.Sequential, not {checks.shown(module)}{hint}.")
    dtypes = {parameter.dtype for parameter in module.parameters()}
    if not dtypes:
        raise ValueError(f"module must have parameters, not be {checks.shown(module)}.")
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        found = " and ".join(sorted(str(dtype).rpartition(".")[2] for dtype in dtypes))
        raise TypeError(f"module must be of float32 or float64, not {found}; use module.float().")
    _check_hooks("module", module)
    backend = TorchBackend.of(next(module.parameters()))
    leaves = list(_leaves(module, ""))
    arrays = {
        f"{path}.{key}": backend.to_host(tensor)
        for path, leaf in leaves
        for key, tensor in leaf.state_dict().items()
    }
    (dtype,) = dtypes
    layers = (_layer(leaves[i:], i == 0, dtype) for i in range(len(leaves)))
    return _chain(module, layers), arrays, backend


def _check_hooks(name: str, chain: Any) -> None:
    if _has_hooks(chain):
        raise TypeError(
            f"{name} must be without hooks, which xpnet knows nothing of, not a "
            f"{type(chain).__name__} that has some."
        )


def _has_hooks(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _leaves(module: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The modules within that compute, each with its place."""
    for i, child in enumerate(module):
        if type(child) in _CHAINS:
            _check_hooks(f"module {prefix}{i}", child)
            yield from _leaves(child, f"{prefix}{i}.")
        else:
            yield f"{prefix}{i}", child


def _chain(module: Any, layers: Iterator[Description]) -> Description:
    within = [_chain(one, layers) if type(one) in _CHAINS else next(layers) for one in module]
    return {"class": _CHAINS[type(module)], "layers": within}


def _layer(leaves: list[tuple[str, Any]], first: bool, dtype: Any) -> Description:
    """The first of these modules, as a layer."""
    (path, leaf), behind = leaves[0], [module for _, module in leaves[1:]]
    kind, wanted = type(leaf), _wanted(behind)
    why = _hindrance(leaf, behind)
    if kind is nn.Flatten and not why:
        if not first:  # behind which samples are flat already
            return {"class": "Identity"}
        if wanted is not None:
            return {"class": "Flatten", "shape": [wanted]}
        why = ", as nothing behind it says how many features it gives"
    if why or kind not in _NAMES:
        raise TypeError(
            "module must be made of what xpnet has layers for, and module "
            f"{path}, {checks.cut(repr(leaf))}, is none{why}."
        )
    name = _NAMES[kind]
    arguments = {ours: getattr(leaf, theirs) for ours, theirs in _LAYERS[name][1].items()}
    if name in ("LayerNorm", "RMSNorm"):
        (arguments["features"],) = arguments["features"]
    if arguments.get("eps", 0.0) is None:
        arguments["eps"] = torch.finfo(dtype).eps
    if name == "Embedding":
        own = getattr(leaf, "in_features", None)
        arguments["in_features"] = own or (wanted or leaf.embedding_dim) // leaf.embedding_dim
    return {"class": name, **arguments}


def _wanted(modules: list[Any]) -> int | None:
    """How many features the first of these that says so wants."""
    for module in modules:
        for name in ("in_features", "num_features", "normalized_shape"):
            if hasattr(module, name):
                found = getattr(module, name)
                return int(found[0] if isinstance(found, tuple) else found)
    return None


def _hindrance(leaf: Any, behind: list[Any]) -> str:
    """Why a module is not what the layer of its name is; empty where it is."""
    kind = type(leaf)
    if _has_hooks(leaf):
        return ", as it has hooks"
    if kind is nn.Flatten and (leaf.start_dim, leaf.end_dim) != (1, -1):
        return ", as it leaves axes"
    if kind in (nn.Softmax, nn.LogSoftmax) and leaf.dim not in (None, 1, -1):
        return f", as its dim is {leaf.dim}"
    if kind is nn.Softplus and leaf.threshold < 20:  # from where on it is x to 2e-9
        return ", as its threshold is below 20"
    if kind is nn.BatchNorm1d and (leaf.momentum is None or not leaf.track_running_stats):
        return ", as it keeps no running mean with a momentum"
    if kind in (nn.LayerNorm, nn.RMSNorm) and len(leaf.normalized_shape) > 1:
        return ", as it has several axes"
    if kind is nn.Embedding and leaf.max_norm is not None:
        return ", as it has a max_norm"
    if kind is nn.Embedding and not (behind and type(behind[0]) is nn.Flatten):
        return ", as there is no Flatten behind it"
    return ""


# ---- into a module


def built(description: Description, arrays: Mapping[str, np.ndarray], backend: Backend) -> Any:
    """The module that is described, in eval mode, of tensors of its own.

    Args:
        description: of a ``Sequential``.
        arrays: its tensors, by the names of its ``state_dict``.
        backend: where the arrays came from: a device of PyTorch stays what it is.

    Raises:
        TypeError: if PyTorch has no module for a layer.
    """
    device = backend.device if isinstance(backend, TorchBackend) else "cpu"
    # Not on "meta", where nothing is drawn: the first Embedding there imports for six seconds.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        module = _module(description, "network")
    tensors = {name: torch.tensor(array, device=device) for name, array in arrays.items()}
    module.load_state_dict(tensors, assign=True)
    return module.to(device).eval()


def _module(description: Description, name: str) -> Any:
    called = description["class"]
    for kind, chain in _CHAINS.items():
        if called == chain:
            within = enumerate(description["layers"])
            return kind(*(_module(layer, f"{name}[{i}]") for i, layer in within))
    if called == "Flatten":
        return nn.Flatten()
    if called not in _LAYERS:
        raise TypeError(f"{name} must be a layer that PyTorch has, not of the class {called}.")
    kind, names = _LAYERS[called]
    given = {theirs: description[ours] for ours, theirs in names.items()} | _FIXED.get(called, {})
    if called != "Embedding":
        return kind(**given)
    module = Ids(**given)
    module.in_features = description["in_features"]
    return module
