"""States that policies visit: `rollouts` of several policies as one data set, and `returns` of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.row_groups import number_in_order
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_integer

from .dataset import Dataset
from .playing import Player, Visit, find_observations, make_environment, name_environment, name_policies


@dataclass(frozen=True, eq=False, repr=False)
class VisitedStates(Dataset):
    """States that policies visited, as a data set: row i is the observation of one step.

    `rollouts` creates it.

    Parameters
    ----------
    name, inputs, targets, classes, ids
        As for `Dataset`. The targets are the policy that visited each state, `classes` the names of the policies. The
        ids are "policy/episode/step".
    size
        Not used.
    steps : DataFrame (n rows)
        One row a state, indexed by its id: policy, episode, step (both from 0), action, reward (of this action),
        episode_return (the sum of the rewards of the episode), finished (False for an episode that was cut, whose
        return counts only the steps in the data set), and in MiniGrid x, y and direction of the agent.

    See Also
    --------
    rollouts : Create one.
    record : Record the activations of a model on the states.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> data = rs.datasets.rollouts("CartPole-v1", {"left": lambda x: 0, "right": lambda x: 1}, n=8)
    >>> data
    VisitedStates('CartPole-v1: left, right', (16, 4) float32, 2 classes)
    >>> data.steps.query("policy == 'right'")["action"].unique().tolist()
    [1]
    """

    steps: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, kw_only=True)

    @cached_property
    def groups(self) -> np.ndarray:
        """The number of the distinct input of each row, (n,): rows of one number look the same to a policy.

        Functions of `rs.inference` take it as groups=, so that copies do not count as independent samples.
        """
        columns = self.inputs[:] if not hasattr(self.inputs, "shape") else self.inputs
        columns = list(columns.values()) if isinstance(columns, Mapping) else [columns]
        rows = np.concatenate([np.asarray(column).reshape(len(self), -1) for column in columns], axis=1)
        return number_in_order(rows)

    def distinct(self, name: str | None = None) -> VisitedStates:
        """Select the first row of each distinct input.

        Parameters
        ----------
        name : str, optional
            Name of the new data set; by default the present one and " (distinct)".

        Returns
        -------
        VisitedStates
            No two rows of it are equal. A state that several policies visited belongs to the first of them.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> data = rs.datasets.rollouts("CartPole-v1", {"a": lambda x: 0, "b": lambda x: 0}, n=8)
        >>> len(data), len(data.distinct())
        (16, 8)
        """
        _, first = np.unique(self.groups, return_index=True)
        return self.take(np.sort(first), f"{self.name} (distinct)" if name is None else name)

    def take(self, rows: Sequence[int] | np.ndarray, name: str) -> VisitedStates:
        """Select rows as a new data set, with their `steps`.

        Parameters
        ----------
        rows : sequence of int, or array of bool (n,)
            Row numbers, from 0, in the wanted order, or a mask.
        name : str
            Name of the new data set.

        Returns
        -------
        VisitedStates
            The rows with their targets, ids and steps.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> data = rs.datasets.rollouts("CartPole-v1", [lambda x: 0], n=8)
        >>> data.take(data.steps["step"] < 3, "begin").ids.tolist()
        ['policy-0/0/0', 'policy-0/0/1', 'policy-0/0/2']
        """
        plain = Dataset(self.name, self.inputs, self.targets, self.classes, self.ids).take(rows, name)
        steps = self.steps.iloc[np.arange(len(self))[np.asarray(rows) if len(rows) else []]]
        return VisitedStates(name, plain.inputs, plain.targets, plain.classes, plain.ids, steps=steps)


def rollouts(
    env: str | Callable[[], Any],
    policies: Mapping[str, Any] | Sequence[Any],
    n: int,
    seed: int = 0,
    *,
    deterministic: bool = False,
    name: str | None = None,
) -> VisitedStates:
    """Visit states with each of several policies, and return all of them as one data set.

    Parameters
    ----------
    env : str or callable
        The id of an environment of Gymnasium, or a function without arguments that creates one.
    policies : dict or sequence of policies
        By their names, or in a list (then they are "policy-0", "policy-1", ...). A policy is one of these:

        - a policy or an algorithm of stable-baselines3, or a `Model` of one
        - a torch module, or a `Model`: from a batch of inputs, float32 (1, ...), to the logits of the actions (1,
          actions), or to the action itself if actions are no single choice
        - a function from one input, an array in float32, to the action
    n : int
        Number of states of each policy. Episodes follow each other until there are n; the last one is cut.
    seed : int
        Seed of the episodes and of the actions. Episode k begins with the same seed for all policies. The states of a
        policy depend on its name, and not on the other policies.
    deterministic : bool
        Whether to take the most probable action. By default actions are drawn from their distribution. DQN and
        functions choose their actions themselves.
    name : str, optional
        Name of the data set; by default the environment and the policies.

    Returns
    -------
    VisitedStates
        n rows for each policy, one policy after the other, each in the order of its steps: exactly what the policies
        got, as float32; pictures (uint8 with three axes) with their channels first and not scaled, categories
        (Discrete) one-hot, a Dict as columns. Its `steps` has actions, rewards and positions, its `groups` the copies.

    Raises
    ------
    ValueError
        For observations that are no numbers, policies that get other inputs than each other, and outputs that are no
        logits of the actions.
    TypeError
        If `env` is an environment and no function, or a policy is none.

    See Also
    --------
    returns : Sums of rewards of whole episodes.

    Notes
    -----
    Rows are no independent samples: states of one episode follow each other, and different states can look the same to
    a policy. Compare on `distinct()` too, and give `groups` to tests.

    The state after the last action of an episode is no row, since no policy acts on it.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> from torch import nn
    >>> policies = {"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)}
    >>> data = rs.datasets.rollouts("CartPole-v1", policies, n=50)
    >>> data.inputs.shape, str(data.ids[0]), data.ids[-1].partition("/")[0]
    ((100, 4), 'a/0/0', 'b')
    """
    n = check_integer(n, "n", minimum=1)
    seed = check_seed(seed)
    by_name = name_policies(policies)
    visits: list[Visit] = []
    rows: list[dict[str, Any]] = []
    with _open(env) as world:
        observe = find_observations(world, by_name)
        for target, (label, policy) in enumerate(by_name.items()):
            with Player(policy, label, world, observe, deterministic) as player:
                number, left = 0, n
                while left:
                    episode = player.play(number, seed, left)
                    rows += _tabulate(episode, label, target, number)
                    visits += episode
                    number, left = number + 1, left - len(episode)
        title = f"{name_environment(world)}: {', '.join(by_name) if len(by_name) <= 4 else f'{len(by_name)} policies'}"
    ids = [f"{row['policy']}/{row['episode']}/{row['step']}" for row in rows]
    steps = pd.DataFrame(rows, index=pd.Index(ids, name="id"))
    return VisitedStates(
        title if name is None else name,
        _stack([visit.inputs for visit in visits]),
        steps.pop("target").to_numpy(),
        tuple(by_name),
        np.array(ids),
        steps=steps,
    )


@contextmanager
def _open(env: Any) -> Iterator[Any]:
    world = make_environment(env)
    try:
        yield world
    finally:
        world.close()


def _tabulate(episode: Sequence[Visit], policy: str, target: int, number: int) -> list[dict[str, Any]]:
    """Return a row for each step of an episode."""
    total = {"episode_return": sum(visit.reward for visit in episode), "finished": episode[-1].ends}
    return [
        {"policy": policy, "target": target, "episode": number, "step": step, "action": visit.action}
        | {"reward": visit.reward, **total, **visit.place}
        for step, visit in enumerate(episode)
    ]


def _stack(inputs: Sequence[Any]) -> Any:
    """Stack inputs into an array, or into columns."""
    if isinstance(inputs[0], Mapping):
        return {name: np.stack([one[name] for one in inputs]) for name in inputs[0]}
    return np.stack(inputs)


def returns(
    env: str | Callable[[], Any], policy: Any, episodes: int = 10, seed: int = 0, *, deterministic: bool = False
) -> np.ndarray:
    """Play whole episodes with a policy, and return the sum of the rewards of each.

    Parameters
    ----------
    env : str or callable
        As for `rollouts`. Its episodes must end, for instance by a time limit.
    policy : policy
        As for `rollouts`.
    episodes : int
        Number of episodes.
    seed : int
        Seed of the episodes and of the actions.
    deterministic : bool
        Whether to take the most probable action; by default actions are drawn.

    Returns
    -------
    array of float (episodes,)
        The return of each episode, without discount.

    Raises
    ------
    ValueError
        As for `rollouts`.

    See Also
    --------
    rollouts : The states of episodes as a data set.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> bool(rs.datasets.returns("CartPole-v1", lambda x: int(x[2] > 0), episodes=3).min() > 20)
    True
    """
    episodes = check_integer(episodes, "episodes", minimum=1)
    seed = check_seed(seed)
    with _open(env) as world:
        observe = find_observations(world, {"policy": policy})
        with Player(policy, "policy", world, observe, deterministic) as player:
            found = [player.play(number, seed) for number in range(episodes)]
    return np.array([sum(visit.reward for visit in episode) for episode in found])
