"""Policies of stable-baselines3 as models, also from the files that its algorithms save; nothing in them is unpickled.

A file is a zip. `policy.pth` has the weights, which torch reads as tensors only. `data` is JSON. What JSON cannot hold
is a pickle in base64, which stays unread, next to texts that show it. The texts are enough to build the usual policies.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.policies import LIBRARY, Observations, PolicyNetwork
from repsim_nb.support.errors import as_clause, explain_missing, join_names

from .layers import find_blocks
from .libraries import seeded
from .model import Model
from .running import OUTPUT, name_layer

ENDING = ".zip"
WEIGHTS, DATA = "policy.pth", "data"
PARTS = ("pi_features_extractor", "mlp_extractor.policy_net", "action_net", "features_extractor", "q_net", "actor")
"""Parts of policies on the way to the action, in forward order; `layers` has their blocks, and none of a critic."""
# the module of stable-baselines3 -> its policies with one array as the observation
POLICIES = {
    "common": ("ActorCriticPolicy", "ActorCriticCnnPolicy"),
    "dqn": ("DQNPolicy", "CnnPolicy"),
    "sac": ("SACPolicy", "CnnPolicy"),
    "td3": ("TD3Policy", "CnnPolicy"),
}
# options of policies that JSON can hold
PLAIN = {
    *("net_arch", "ortho_init", "use_sde", "log_std_init", "full_std", "use_expln", "squash_output", "n_critics"),
    *("share_features_extractor", "normalize_images", "features_extractor_kwargs", "clip_mean"),
}
NOT_NEEDED = ("optimizer_class", "optimizer_kwargs")  # for training
NUMBER = re.compile(r"[-+]?(?:inf|\d+\.?\d*(?:e[-+]?\d+)?)")


def make_policy_model(policy: Any) -> Model:
    """Return a policy of stable-baselines3 as a model: its output is the logits of the actions."""
    module = PolicyNetwork(policy)
    name = type(policy).__name__
    card = {"library": "stable-baselines3", "policy": name, "actions": str(policy.action_space)}
    prepare = Observations(policy.observation_space, channels_first=False)
    return Model(name, module, prepare, (*map(name_layer, _find_layers(module)), OUTPUT), card)


def _find_layers(module: PolicyNetwork) -> list[str]:
    """List the blocks of a policy on the way to the action."""
    every = dict(module.named_modules(remove_duplicate=False))
    first_names = {part: name for name, part in module.named_modules()}  # a shared extractor has several names
    found: list[str] = []
    for part in filter(every.__contains__, PARTS):
        name = first_names[every[part]]
        weighted = [name] if any(True for _ in every[part].parameters()) else []
        found += [f"{name}.{block}" for block in find_blocks(every[part])] or weighted
    return list(dict.fromkeys(found))


def is_policy_file(file: Path) -> bool:
    """Return whether an algorithm of stable-baselines3 saved this file."""
    try:
        if not file.is_file() or not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as content:
            return {WEIGHTS, DATA} <= set(content.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):  # damaged
        return False


def read_policy_weights(file: Path) -> Mapping[str, Tensor]:
    """Read the weights of a policy, as tensors only."""
    try:
        with zipfile.ZipFile(file) as content:
            weights = torch.load(io.BytesIO(content.read(WEIGHTS)), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything
        raise ValueError(
            f"the weights ({WEIGHTS}) in {file} are damaged or contain more than tensors, and are not read"
            f" ({as_clause(error)})."
        ) from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{WEIGHTS} in {file} has no weights by name.")
    return weights


def build_policy(file: Path) -> nn.Module:
    """Create the policy whose weights are in a file, untrained, by what its texts say about it."""
    try:
        with zipfile.ZipFile(file) as content:
            data = json.loads(content.read(DATA))
        with explain_missing("load_model"):
            kind = _find_class(data["policy_class"])
        spaces = [_read_space(data[f"{name}_space"], name) for name in ("observation", "action")]
        options = _read_options(data.get("policy_kwargs") or {})
        if data.get("use_sde"):
            options["use_sde"] = True
        with seeded(0):
            return kind(*spaces, lambda _: 0.0, **options)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else as_clause(error)
        raise ValueError(
            f"the architecture of the policy in {file} is not known without reading a pickle, which could run code"
            f" ({what}). Give a policy or a module with the same parts, load_model(file, architecture=policy). If you"
            " trust the file, open it yourself, model = PPO.load(file), and pass model."
        ) from error


def _find_class(shown: Mapping[str, Any]) -> Any:
    """Return the class of the policy; ValueError if it is none of stable-baselines3."""
    module, name = str(shown["__module__"]), re.match(r"<function (\w+)\.__init__", str(shown["__init__"]))
    part = module.removeprefix(f"{LIBRARY}.").removesuffix(".policies")
    if name is None or module != f"{LIBRARY}.{part}.policies" or name[1] not in POLICIES.get(part, ()):
        raise ValueError(f"its class is {module}.{name[1] if name else '?'}")
    return getattr(importlib.import_module(module), name[1])


def _read_space(shown: Mapping[str, Any], what: str) -> Any:
    """Create a space of Gymnasium by its texts."""
    from gymnasium import spaces

    kind = re.match(r"<class 'gym(?:nasium)?\.spaces\.\w+\.(\w+)'>", str(shown[":type:"]))
    name = kind[1] if kind else str(shown[":type:"])
    if name == "Discrete":
        return spaces.Discrete(int(shown["n"]), start=int(shown.get("start", 0)))
    if name == "MultiDiscrete":
        return spaces.MultiDiscrete([int(n) for n in re.findall(r"\d+", shown["nvec"])])
    if name == "MultiBinary":
        return spaces.MultiBinary(int(shown["n"]))
    if name != "Box":
        raise ValueError(f"its {what} space is of type {name}")
    shape, dtype = tuple(shown["_shape"]), np.dtype(str(shown["dtype"]))
    low: Any = _read_bounds(str(shown["low"]), shape, dtype)
    high: Any = _read_bounds(str(shown["high"]), shape, dtype)
    if low is None or high is None:
        if what == "action":
            raise ValueError("the bounds of its actions are cut short")
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max - 1)
    return spaces.Box(low, high, shape, dtype.type)


def _read_bounds(text: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """Read the bounds of a Box as NumPy prints them; None if some of them, which differ, are left out."""
    values = np.array([float(number) for number in NUMBER.findall(text)])
    if values.size == np.prod(shape):
        return values.reshape(shape).astype(dtype)
    return np.full(shape, values[0], dtype) if values.size and (values == values[0]).all() else None


def _read_options(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which a policy was created, of those that its parts depend on."""
    from stable_baselines3.common import torch_layers

    options: dict[str, Any] = {}
    for name, value in shown.items():
        if name.startswith(":") or name in NOT_NEEDED:
            continue
        found = re.match(r"<class '([\w.]+)\.(\w+)'>", value) if isinstance(value, str) else None
        if name in PLAIN and not isinstance(value, str):
            options[name] = value
        elif name == "activation_fn" and found and found[1] == nn.ReLU.__module__:
            options[name] = getattr(nn, found[2])
        elif name == "features_extractor_class" and found and found[1] == torch_layers.__name__:
            options[name] = getattr(torch_layers, found[2])
        else:
            raise ValueError(f"its option {name} is {join_names([value])}")
    return options
