"""Play episodes of an environment of Gymnasium with one policy."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.policies import Observations, PolicyNetwork, is_policy, unwrap_algorithm
from repsim_nb.inputs.randomness import preserve_random_states, seed_generators
from repsim_nb.support.errors import add_context, as_clause, explain_missing, join_names


class Visit(NamedTuple):
    """One step: the input that the policy got (arrays without the axis of samples), and what followed."""

    inputs: Any
    action: Any
    reward: float
    ends: bool
    place: dict[str, int]


def make_environment(env: Any) -> Any:
    """Create the environment. TypeError if it is one already: its state would be lost."""
    if isinstance(env, str):
        with explain_missing("datasets.rollouts"):
            import gymnasium
        return gymnasium.make(env)
    if not callable(env) or (hasattr(env, "step") and not isinstance(env, type)):
        raise TypeError(
            "env must be the id of an environment of Gymnasium, or a function that creates one, lambda:"
            f" gymnasium.make('CartPole-v1'); got a {type(env).__name__}."
        )
    world = env()
    if hasattr(world, "num_envs") or not all(hasattr(world, name) for name in ("reset", "step", "observation_space")):
        raise TypeError(
            f"env must create one environment of Gymnasium; it created a {type(world).__name__}. A vectorised one"
            " resets itself, so that its steps belong to no episode: create one environment, with its wrappers."
        )
    return world


def name_policies(policies: Any) -> dict[str, Any]:
    """Return policies by their names; those of a list are numbered, unless they are models, which have names."""
    if isinstance(policies, Mapping):
        by_name = dict(policies)
    elif isinstance(policies, Sequence) and not isinstance(policies, str):
        names = [one.name if _is_model(one) else f"policy-{at}" for at, one in enumerate(policies)]
        by_name = dict(zip(names, policies, strict=True))
        if len(by_name) < len(names):
            raise ValueError(f"policies need different names; got {join_names(names)}. Give a dict, {{name: policy}}.")
    else:
        raise TypeError(f"policies must be a dict {{name: policy}} or a list; got a {type(policies).__name__}.")
    if not by_name or not all(isinstance(name, str) for name in by_name):
        raise ValueError(f"policies must be at least one, and their names strings; got {list(by_name)}.")
    return by_name


def _is_model(policy: Any) -> bool:
    return isinstance(getattr(policy, "module", None), nn.Module) and callable(getattr(policy, "preprocess", None))


def _find_module(policy: Any) -> nn.Module | None:
    """Return the module that runs; None for a function."""
    policy = unwrap_algorithm(policy)
    policy = policy.module if _is_model(policy) else policy
    return PolicyNetwork(policy) if is_policy(policy) else policy if isinstance(policy, nn.Module) else None


def find_observations(world: Any, policies: Mapping[str, Any]) -> Observations:
    """Return the converter of observations for all policies.

    Policies of stable-baselines3 know the form of their inputs, others get the one of the environment.
    """
    found: dict[str, Observations] = {}
    for name, policy in policies.items():
        module = _find_module(policy)
        if isinstance(module, PolicyNetwork):
            found[name] = Observations(module.policy.observation_space, channels_first=False)
    if not found:
        return Observations(world.observation_space)
    (first, one), *others = found.items()
    for name, other in others:
        if other.forms != one.forms:
            raise ValueError(
                f"policies of one call must get the same inputs; '{first}' gets {one.forms} and '{name}' {other.forms}."
                " Call rollouts for each kind, and compare the models on each data set."
            )
    return one


class Player:
    """One policy in an environment, in evaluation mode while open."""

    def __init__(self, policy: Any, name: str, world: Any, observe: Callable[[Any], Any], deterministic: bool) -> None:
        self.name, self.world, self.observe, self.deterministic = name, world, observe, deterministic
        self.module, self.prepare = _find_module(policy), policy.preprocess if _is_model(policy) else None
        self.function: Callable[[Any], Any] = policy
        if self.module is None and not callable(policy):
            raise TypeError(
                f"policy '{name}' must be a policy or an algorithm of stable-baselines3, a module of torch, a Model"
                f" or a function of an observation; got a {type(policy).__name__}."
            )
        weights = () if self.module is None else self.module.parameters()
        self.device = next((weight.device for weight in weights), torch.device("cpu"))
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.stack.enter_context(preserve_random_states())
        self.stack.enter_context(torch.no_grad())
        if self.module is not None:
            for part in self.module.modules():
                self.stack.callback(setattr, part, "training", part.training)
            self.module.eval()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def play(self, number: int, seed: int, limit: int | None = None) -> list[Visit]:
        """Play an episode, at most `limit` steps of it. How it begins depends on its number and the seed alone."""
        begin = np.random.SeedSequence([seed, number])
        rng = np.random.default_rng([seed, number, zlib.crc32(self.name.encode())])
        observation, _ = self.world.reset(seed=int(begin.generate_state(1)[0]))
        visits: list[Visit] = []
        ends = False
        while not ends and (limit is None or len(visits) < limit):
            place = find_place(self.world)
            batch = self._observe(observation)
            action = self._act(batch, rng)
            observation, reward, terminated, truncated, _ = self.world.step(action)
            ends = bool(terminated or truncated)
            visits.append(Visit(_map(batch, lambda x: x[0]), action, float(reward), ends, place))
        return visits

    def _observe(self, observation: Any) -> Any:
        """Return the batch of one observation, in arrays of its own, since an environment may write into its own."""
        with add_context(f"policy '{self.name}' in {name_environment(self.world)}", ValueError):
            return _map(self.observe(_map(observation, lambda x: np.asarray(x)[None])), lambda x: x.numpy().copy())

    def _act(self, batch: Any, rng: np.random.Generator) -> Any:
        space, module = self.world.action_space, self.module
        discrete = type(space).__name__ == "Discrete"
        if module is None:
            action = self.function(_map(batch, lambda x: x[0]))
            if discrete and not space.contains(np.int64(action)):
                last = int(space.start + space.n) - 1
                raise ValueError(
                    f"policy '{self.name}' must return an action from {space.start} to {last}; got {action}."
                )
            return int(action) if discrete else action
        x = batch if self.prepare is None else self.prepare(batch)
        x = _map(x, lambda one: torch.as_tensor(one, device=self.device))
        if not isinstance(module, PolicyNetwork):
            out = _find_output(self._run(module, x))
        elif discrete:
            out = module.find_logits(module.read(x))
        else:
            seed_generators(int(rng.integers(2**31)))  # the policy draws by torch's generator
            x = _map(module.read(x), lambda one: one.cpu().numpy())
            return module.policy.predict(x, deterministic=self.deterministic)[0][0]
        if not discrete:
            action = out[0].cpu().numpy().reshape(space.shape)
            return (np.clip(action, space.low, space.high) if hasattr(space, "low") else action).astype(space.dtype)
        if tuple(out.shape) != (1, int(space.n)):
            raise ValueError(
                f"policy '{self.name}' must return a logit for each of the {int(space.n)} actions, (1, {int(space.n)})"
                f" for one state; got {tuple(out.shape)}."
            )
        greedy = self.deterministic or getattr(module, "kind", "") == "values"
        return int(space.start) + _choose(out[0].double().cpu().numpy(), None if greedy else rng, self.name)

    def _run(self, module: nn.Module, x: Any) -> Any:
        try:
            return _call(module, x)
        except RuntimeError as error:
            shapes = _map(x, lambda one: tuple(one.shape))
            raise ValueError(
                f"policy '{self.name}' could not run on a state of {name_environment(self.world)}, an input of shape"
                f" {shapes}, and raised: {as_clause(error)}. Change the environment by a wrapper, or the module."
            ) from error


def _choose(logits: np.ndarray, rng: np.random.Generator | None, name: str) -> int:
    """Draw an action by its logits, or choose the most probable one."""
    if not np.isfinite(logits.max()):  # NaN, or infinity; -inf excludes an action, and so not all of them
        raise ValueError(
            f"policy '{name}' returns logits that give no probabilities: NaN, +inf, or -inf for all actions; got"
            f" {logits.tolist()}."
        )
    if rng is None:
        return int(logits.argmax())
    chances = np.cumsum(np.exp(logits - logits.max()))
    return int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))


def _map(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to an array, or to each column of a dict."""
    return {name: function(part) for name, part in value.items()} if isinstance(value, Mapping) else function(value)


def _call(module: nn.Module, x: Any) -> Any:
    """Call a module as `record` does: with columns as arguments if forward names them, else as one dict."""
    if not isinstance(x, Mapping):
        return module(x)
    parameters = inspect.signature(module.forward).parameters
    return module(**x) if set(x) & set(parameters) else module(x)


def _find_output(out: Any) -> Tensor:
    """Return the logits of a structure, or its first tensor."""
    if isinstance(out, Mapping):
        out = out["logits"] if "logits" in out else next(iter(out.values()))
    return out[0] if isinstance(out, (tuple, list)) else out


def find_place(world: Any) -> dict[str, int]:
    """Return where the agent of a grid of MiniGrid is, and its direction; {} for other environments."""
    inner = getattr(world, "unwrapped", world)
    if getattr(inner, "agent_pos", None) is None:
        return {}
    x, y = inner.agent_pos
    return {"x": int(x), "y": int(y), "direction": int(inner.agent_dir)}


def name_environment(world: Any) -> str:
    """Return the id of an environment, or the name of its class."""
    spec = getattr(world, "spec", None)
    return spec.id if spec is not None else type(getattr(world, "unwrapped", world)).__name__
