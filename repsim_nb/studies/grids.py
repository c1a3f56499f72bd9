"""The empty room of MiniGrid as a table: all states, what the agent sees in each, where each action leads."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from repsim_nb.inputs.datasets.playing import find_place
from repsim_nb.support.errors import explain_missing
from repsim_nb.support.validation import check_integer

with explain_missing("studies.grids"):
    import gymnasium
    from gymnasium import spaces
    from minigrid.envs.empty import EmptyEnv

SIZES = (5, 6, 8, 16)
"""Sides of the rooms that agents are trained on, walls included."""

TESTED = (5, 6, 8)
"""Sides of the rooms that agents are compared on."""

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
"""The seven actions of MiniGrid. Only the first three do something in an empty room."""

BEST = {5: 0.955, 6: 0.95625, 8: 0.961328125, 16: 0.9762695312500001}
"""The largest return that can be reached in each room: 1 - 0.9 · steps / (4 · size²), on a shortest path."""

SEEN = spaces.Box(0, 1.1, (3, 7, 7), np.float32)
DIRECTIONS = ("right", "down", "left", "up")


class View(gymnasium.Wrapper):
    """Show an agent the 7 × 7 cells in front of it as a float32 array (3, 7, 7), and give rewards as floats.

    The three planes are the kind of object, its color and its state, divided by ten. SubprocVecEnv would turn
    rewards that are integers into an array of integers, and round the value of the last state at a time limit.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = SEEN

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        seen, info = self.env.reset(**options)
        return _to_picture(seen), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        seen, reward, terminated, truncated, info = self.env.step(action)
        return _to_picture(seen), float(reward), terminated, truncated, info


def _to_picture(seen: dict[str, Any]) -> np.ndarray:
    """Turn an observation of MiniGrid into what an agent sees, (3, 7, 7)."""
    return (seen["image"].transpose(2, 0, 1) / 10).astype(np.float32)


def make_env(size: int, render_mode: str | None = None) -> View:
    """Create MiniGrid-Empty of this size as the agents see it.

    Parameters
    ----------
    size : int
        The side of the room, walls included: MiniGrid-Empty-5x5 has a size of 5, and 3 × 3 free cells.
    render_mode : {"rgb_array"}, optional
        For pictures of the whole room.

    Returns
    -------
    View
        The environment. An episode ends at the goal, or after 4 · size² steps.

    Examples
    --------
    >>> from repsim_nb.studies import grids
    >>> seen, _ = grids.make_env(5).reset(seed=0)
    >>> seen.shape
    (3, 7, 7)
    """
    check_integer(size, "size", minimum=4)
    return View(EmptyEnv(size=size, render_mode=render_mode, highlight=False))


@dataclass(frozen=True)
class Grid:
    """All states of an empty room, and where each action leads from each.

    Attributes
    ----------
    size : int
        The side of the room, walls included.
    states : tuple of (x, y, direction)
        Cells and directions of the agent; direction 0 is right, 1 down, 2 left, 3 up. The goal is not among them: an
        episode ends there.
    pictures : ndarray (states, 3, 7, 7)
        What the agent sees.
    moves : ndarray (states, actions)
        The number of the next state; -1 is the goal.
    start : int
        The number of the first state of an episode.
    """

    size: int
    states: tuple[tuple[int, int, int], ...]
    pictures: np.ndarray
    moves: np.ndarray
    start: int

    @property
    def most_steps(self) -> int:
        """The steps after which an episode ends."""
        return 4 * self.size**2

    @property
    def ids(self) -> list[str]:
        """The states as text: grid, cell and direction."""
        return [f"{self.size}×{self.size}: {x},{y} {DIRECTIONS[d]}" for x, y, d in self.states]

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """The number of the first state with the same picture, (states,)."""
        _, first, which = np.unique(
            self.pictures.reshape(len(self.pictures), -1), axis=0, return_index=True, return_inverse=True
        )
        return first[which.ravel()]

    def expected_return(self, probabilities: np.ndarray) -> float:
        """Compute the expected return of a policy, exactly.

        Parameters
        ----------
        probabilities : ndarray (states, actions)
            The probability of each action in each state.

        Returns
        -------
        float
            The sum over steps t of P(the goal is reached at t) · (1 - 0.9 · t / most_steps).

        Examples
        --------
        >>> from repsim_nb.studies import grids
        >>> room = grids.load_grid(5)
        >>> always_left = np.eye(7)[np.zeros(len(room.states), int)]
        >>> room.expected_return(always_left)
        0.0
        """
        n, total = len(self.states), 0.0
        here: np.ndarray = np.zeros(n)
        next_states = np.where(self.moves < 0, n, self.moves).ravel()
        here[self.start] = 1
        for step in range(1, self.most_steps + 1):
            arrived = np.bincount(next_states, (here[:, None] * probabilities).ravel(), n + 1)
            total += arrived[n] * (1 - 0.9 * step / self.most_steps)
            here = arrived[:n]
        return float(total)

    def roll_out(self, probabilities: np.ndarray, n: int, seed: Any) -> np.ndarray:
        """Draw the states of roll-outs of a policy: one episode after the other, until there are n states.

        Parameters
        ----------
        probabilities : ndarray (states, actions)
            The probability of each action in each state.
        n : int
            The number of states.
        seed : int or sequence of int
            It decides the actions.

        Returns
        -------
        ndarray (n,)
            Numbers of states, those in which an action was taken.
        """
        draws = np.random.default_rng(seed).random(n)
        upto = probabilities.cumsum(1)
        upto[:, -1] = np.inf  # sums of float32 may end below 1
        visited = np.empty(n, int)
        state, steps = self.start, 0
        for k, draw in enumerate(draws):
            visited[k] = state
            state, steps = self.moves[state, np.searchsorted(upto[state], draw, "right")], steps + 1
            if state < 0 or steps == self.most_steps:
                state, steps = self.start, 0
        return visited

    def path(self, actions: np.ndarray) -> list[int]:
        """Follow the best action of each state from the start.

        Parameters
        ----------
        actions : ndarray (states,)
            The number of an action for each state.

        Returns
        -------
        list of int
            Numbers of states; -1 at the end if the goal is reached. A path that comes back to a state ends there.
        """
        path = [self.start]
        while path[-1] >= 0 and path[-1] not in path[:-1]:
            path.append(int(self.moves[path[-1], actions[path[-1]]]))
        return path


@functools.cache
def load_grid(size: int) -> Grid:
    """Tabulate MiniGrid-Empty of this size, by taking each action in each state of the environment.

    Parameters
    ----------
    size : int
        The side of the room, walls included.

    Returns
    -------
    Grid

    Examples
    --------
    The room of 8 × 8 has 140 states, of which 86 look different:

    >>> from repsim_nb.studies import grids
    >>> room = grids.load_grid(8)
    >>> len(room.states), len(set(room.groups))
    (140, 86)
    """
    env = make_env(size)
    env.reset(seed=0)
    inner: Any = env.unwrapped
    inside, goal = range(1, size - 1), (size - 2, size - 2)
    states = tuple((x, y, d) for y in inside for x in inside for d in range(4) if (x, y) != goal)
    number: dict[tuple[int, ...], int] = {state: k for k, state in enumerate(states)}
    start = number[tuple(find_place(inner).values())]
    pictures, moves = [], np.empty((len(states), len(ACTIONS)), int)
    for k, (x, y, direction) in enumerate(states):
        for action in range(len(ACTIONS)):
            inner.agent_pos, inner.agent_dir, inner.step_count = (x, y), direction, 0
            ended = env.step(action)[2]
            moves[k, action] = -1 if ended else number[tuple(find_place(inner).values())]
        inner.agent_pos, inner.agent_dir = (x, y), direction
        pictures.append(_to_picture(inner.gen_obs()))
    return Grid(size, states, np.stack(pictures), moves, start)


class TableEnv(gymnasium.Env):
    """The environment of `make_env`, step by step, read from its table: for training, which takes many steps.

    Parameters
    ----------
    grid : Grid
        From `load_grid`.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid, self.state, self.steps = grid, grid.start, 0
        self.observation_space = SEEN
        self.action_space = spaces.Discrete(len(ACTIONS))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.state, self.steps = self.grid.start, 0
        return self.grid.pictures[self.state], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        after, self.steps = int(self.grid.moves[self.state, action]), self.steps + 1
        late = self.steps >= self.grid.most_steps
        if after < 0:
            # the last picture is seen by no one: the value of an end is 0
            return self.grid.pictures[self.state], 1 - 0.9 * self.steps / self.grid.most_steps, True, late, {}
        self.state = after
        return self.grid.pictures[after], 0.0, False, late, {}


def photograph(grid: Grid, state: int, cell: int = 32) -> np.ndarray:
    """Return MiniGrid's own picture of the room with the agent in this state, (height, width, 3) in uint8.

    Parameters
    ----------
    grid : Grid
        The room.
    state : int
        The number of a state.
    cell : int
        Pixels a cell.

    Examples
    --------
    >>> from repsim_nb.studies import grids
    >>> room = grids.load_grid(5)
    >>> grids.photograph(room, room.start).shape
    (160, 160, 3)
    """
    env = make_env(grid.size)
    env.reset(seed=0)
    inner: Any = env.unwrapped
    x, y, inner.agent_dir = grid.states[state]
    inner.agent_pos = (x, y)
    return inner.get_frame(highlight=False, tile_size=cell)
