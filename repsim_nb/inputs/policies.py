"""Policies: the observations that they get, and policies of stable-baselines3 as modules that return logits."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.support.errors import join_names

LIBRARY = "stable_baselines3"


def is_policy(thing: object) -> bool:
    """Return whether it is a policy of stable-baselines3, or of a library that builds on it."""
    library = sys.modules.get(f"{LIBRARY}.common.policies")  # who has such an object has imported it
    return library is not None and isinstance(thing, library.BasePolicy)


def unwrap_algorithm(thing: Any) -> Any:
    """Return the policy of an algorithm of stable-baselines3 (PPO, A2C, DQN, ...), anything else as it is."""
    library = sys.modules.get(f"{LIBRARY}.common.base_class")
    return thing.policy if library is not None and isinstance(thing, library.BaseAlgorithm) else thing


@dataclass(frozen=True)
class Form:
    """The form of an observation: its shape, and whether it is a picture or one of some categories, from `start` on."""

    shape: tuple[int, ...]
    is_picture: bool = False
    categories: int = 0
    start: int = 0

    def read(self, values: Any, what: str) -> Tensor:
        """Convert a batch to float32 of this form: channels of a picture to their axis, a category to one-hot."""
        x = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
        if self.categories and x.ndim == 1 and not x.is_floating_point():
            return nn.functional.one_hot(x.long() - self.start, self.categories).float()
        if self.is_picture and x.ndim == 4 and tuple(x.shape[1:]) != self.shape:
            moved = x.movedim(-1, 1)
            x = moved if tuple(moved.shape[1:]) == self.shape else x
        if tuple(x.shape[1:]) != self.shape or not x.ndim:
            raise ValueError(f"{what} must be of shape (n, {', '.join(map(str, self.shape))}); got {tuple(x.shape)}.")
        return x.float().contiguous()


def _find_form(space: Any, what: str, channels_first: bool) -> Form:
    """Return the form of the observations of a space of Gymnasium.

    A picture is uint8 with three axes; its channels are the shortest one, as for stable-baselines3.
    """
    kind, shape = type(space).__name__, getattr(space, "shape", None)
    if kind == "Discrete":
        return Form((int(space.n),), categories=int(space.n), start=int(space.start))
    if kind in ("Box", "MultiBinary", "MultiDiscrete") and shape is not None:
        is_picture = kind == "Box" and len(shape) == 3 and space.dtype == np.uint8
        moved = is_picture and channels_first and int(np.argmin(shape)) != 0
        return Form((shape[2], *shape[:2]) if moved else tuple(shape), is_picture)
    advice = (
        "Leave texts out: minigrid.wrappers.ImgObsWrapper(env) keeps the picture,"
        " gymnasium.wrappers.FilterObservation(env, names) the columns of these names"
        if kind in ("MissionSpace", "Text")
        else "gymnasium.wrappers.FlattenObservation(env) makes numbers of many spaces"
    )
    raise ValueError(f"{what} must be numbers; got those of a space of type {kind}. {advice}.")


class Observations:
    """Convert observations to the float32 that a policy gets.

    It takes a batch, an array (n, ...), or a dict of arrays for a space with columns.
    channels_first: put the channels of pictures first; a policy of stable-baselines3 has its own order.
    """

    def __init__(self, space: Any, *, channels_first: bool = True) -> None:
        self.forms: Form | dict[str, Form] = (
            {
                name: _find_form(part, f"the column '{name}' of observations", channels_first)
                for name, part in space.spaces.items()
            }
            if type(space).__name__ == "Dict"
            else _find_form(space, "observations", channels_first)
        )

    def __call__(self, batch: Any) -> Any:
        if isinstance(self.forms, Form):
            if isinstance(batch, Mapping):
                raise ValueError(
                    f"observations must be an array of shape (n, {', '.join(map(str, self.forms.shape))}); got a dict"
                    f" with the columns {join_names(batch)}. Create the environment with the wrappers that the policy"
                    " was trained with, such as minigrid.wrappers.ImgObsWrapper(env), which keeps the picture."
                )
            return self.forms.read(batch, "observations")
        if not isinstance(batch, Mapping) or not set(self.forms) <= set(batch):
            got = f"the columns {join_names(batch)}" if isinstance(batch, Mapping) else type(batch).__name__
            raise ValueError(f"observations must be a dict with the columns {join_names(self.forms)}; got {got}.")
        return {name: form.read(batch[name], f"the column '{name}'") for name, form in self.forms.items()}


class PolicyNetwork(nn.Module):
    """A policy of stable-baselines3 as a module. Its forward pass returns logits and draws no action.

    Its parts are those of the policy, under the same names, and share their weights.
    """

    policy: Any

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.kind = _find_kind(policy)
        self.forms = Observations(policy.observation_space, channels_first=False).forms
        # for fingerprints: no part of the module has it
        self.settings = f"{policy.observation_space} {policy.action_space} {policy.normalize_images}"
        self.__dict__.update({name: policy.__dict__[name] for name in ("_modules", "_parameters", "_buffers")})
        self.__dict__["policy"] = policy  # no part of it: the parts would have two names

    def forward(self, observations: Any) -> Any:
        """Return the logits of the actions; of a policy with a critic, also the values of the states.

        DQN and its like return the values of the actions. If actions are no single choice, the result is the
        parameters of their distribution, without their spread, or the actions.
        """
        policy, x = self.policy, self.read(observations)
        if self.kind != "actor":
            return self.find_logits(x)
        extract, actor, critic = self._extract, policy.pi_features_extractor, policy.vf_features_extractor
        features = extract(x, actor)
        logits = policy.action_net(policy.mlp_extractor.forward_actor(features))
        features = features if critic is actor else extract(x, critic)
        values = policy.value_net(policy.mlp_extractor.forward_critic(features))
        name = "logits" if type(policy.action_space).__name__ == "Discrete" else "parameters"
        return {name: logits, "values": values}

    def find_logits(self, x: Any) -> Tensor:
        """Return what chooses the action, without a pass of the critic.  x: observations as `read` returns them."""
        policy = self.policy
        if self.kind == "actor":
            return policy.action_net(policy.mlp_extractor.forward_actor(self._extract(x, policy.pi_features_extractor)))
        if self.kind == "values":
            return policy(x) if isinstance(policy.q_net, nn.Sequential) else policy.q_net(x)
        return policy._predict(x, deterministic=True)

    def _extract(self, x: Any, extractor: nn.Module) -> Tensor:
        """Scale pictures as the policy does, and run one of its extractors of features."""
        return sys.modules[f"{LIBRARY}.common.policies"].BaseModel.extract_features(self.policy, x, extractor)

    def read(self, observations: Any) -> Any:
        """Convert observations in float32 to those that the policy takes, for which a category is a number."""

        def convert(form: Form, x: Tensor) -> Tensor:
            return x.argmax(1) + form.start if form.categories else x

        if isinstance(self.forms, Form):
            return convert(self.forms, observations)
        return {name: convert(form, observations[name]) for name, form in self.forms.items()}

    def reset_parameters(self) -> None:
        """Draw all weights again, as a new policy has them; a policy whose parts were exchanged draws by its layers."""
        with suppress(RuntimeError):
            self.load_state_dict(type(self.policy)(**self.policy._get_constructor_parameters()).state_dict())

    def __deepcopy__(self, memo: dict[int, Any]) -> PolicyNetwork:
        """Copy without the distributions of the last pass: after training they have gradients, which has no copy."""
        for part in (self.policy, *self.modules()):
            if (given := vars(part).get("action_dist")) is not None:
                plain = {name: x.detach() if isinstance(x, Tensor) else x for name, x in vars(given).items()}
                memo[id(given)] = new = copy.copy(given)
                new.__dict__.update(plain | {"distribution": None})
        copied = PolicyNetwork.__new__(PolicyNetwork)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied


def _find_kind(policy: Any) -> str:
    """Return what a policy computes: logits by an "actor", "values" of its actions, or "actions" that are numbers."""
    name = type(policy).__name__
    if hasattr(policy, "lstm_actor"):
        raise ValueError(
            f"{name} has a memory: what it returns for a state depends on the states before, so that a row is not one"
            " state. Record it yourself, step by step, and give the arrays: rs.from_arrays({'mine/layer': array})."
        )
    if hasattr(policy, "action_net") and hasattr(policy, "mlp_extractor"):
        return "actor"
    if hasattr(policy, "q_net"):
        return "values"
    if type(policy.action_space).__name__ == "Box":
        return "actions"
    raise ValueError(
        f"it is not known how {name} computes the logits of its actions. Give a module whose forward pass returns them"
        " for a batch of observations."
    )
