"""Compare agents by their features and by what they do, on states that both of a pair come to.

`relations` has the statistics of these pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.recording import record
from repsim_nb.support.errors import UndefinedError, check_name

from .agent_files import FEATURES
from .grids import TESTED, load_grid

KINDS = ("optimal, poor", "others", "both optimal", "optimal, mediocre")
"""Kinds of pairs, in the order that gives them the colors of figure 3.6: blue, orange, green, magenta."""

WHOSE = ("both", "better", "worse", "all")
COPIES = ("kept", "dropped")
COLUMNS = {"CKA": "cka", "JSD": "jsd", "rank coefficient": "output_rank"}


def load_states(sizes: Sequence[int] = TESTED) -> Dataset:
    """Load all states of empty rooms as a data set of what the agent sees.

    Parameters
    ----------
    sizes : sequence of int
        Sides of the rooms, walls included.

    Returns
    -------
    Dataset
        float32 (states, 3, 7, 7), room after room. The class of a state is its room.

    Examples
    --------
    >>> from repsim_nb.studies.agents import load_states
    >>> states = load_states()
    >>> len(states), str(states.ids[0])
    (232, '5×5: 1,1 right')
    """
    rooms = [load_grid(size) for size in sizes]
    return Dataset(
        "minigrid-empty",
        np.concatenate([room.pictures for room in rooms]),
        targets=np.repeat(np.arange(len(rooms)), [len(room.states) for room in rooms]),
        classes=tuple(f"{size}×{size}" for size in sizes),
        ids=np.array([one for room in rooms for one in room.ids]),
    )


@dataclass(frozen=True)
class Behaviour:
    """What agents compute in each state of the rooms, and the states that they come to.

    Attributes
    ----------
    cards : DataFrame
        One row an agent: trained, stage, seed, steps, and its returns.
    features : {agent: ndarray (states, units)}
        The layer that is compared, in each state of all rooms.
    logits : {agent: ndarray (states, 7)}
        The output, in the same states.
    rows : {size: slice}
        The states of each room.
    visited : {(agent, size): ndarray (n,)}
        The states of its roll-outs in a room, as rows, one for each step.
    """

    cards: pd.DataFrame
    features: Mapping[str, np.ndarray]
    logits: Mapping[str, np.ndarray]
    rows: Mapping[int, slice]
    visited: Mapping[tuple[str, int], np.ndarray]

    def probabilities(self, agent: str, size: int) -> np.ndarray:
        """Return the action probabilities of an agent in each state of a room, (states, 7)."""
        logits = self.logits[agent][self.rows[size]].astype(float)
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def returns(self, size: int) -> pd.Series:
        """Return the expected return of each agent in the room of this size."""
        return pd.Series({name: found[str(size)] for name, found in self.cards["returns"].items()}, dtype=float)

    def trained_on(self, size: int) -> list[str]:
        """Return the names of the agents of a room, the untrained ones included."""
        return list(self.cards.index[self.cards["trained"].isin([0, size])])

    def states(self, a: str, b: str, size: int, whose: str = "both", copies: str = "kept") -> np.ndarray:
        """Return the states on which two agents are compared, as rows.

        Parameters
        ----------
        a, b : str
            Names of agents.
        size : int
            The room of the roll-outs.
        whose : {"both", "better", "worse", "all"}
            Roll-outs of both agents, as in the thesis; of the one with the higher or the lower return in this room; or
            all states of the room, visited or not.
        copies : {"kept", "dropped"}
            A state counts as often as it was visited, or each picture counts once.

        Returns
        -------
        ndarray of int
        """
        check_name("whose states", whose, WHOSE)
        check_name("choice for copies", copies, COPIES)
        returns = self.returns(size)
        better, worse = (a, b) if returns[a] >= returns[b] else (b, a)
        here = self.rows[size]
        if whose == "all":
            found = np.arange(here.start, here.stop)
        else:
            names = {"both": (a, b), "better": (better,), "worse": (worse,)}[whose]
            found = np.concatenate([self.visited[name, size] for name in names])
        if copies == "kept":
            return found
        return np.unique(load_grid(size).groups[found - here.start]) + here.start


def observe(
    agents: Sequence[Model], *, sizes: Sequence[int] = TESTED, n: int = 100, seed: int = 0, layer: str | None = None
) -> Behaviour:
    """Record agents in all states of the rooms, and roll them out.

    A state is recorded once, however often it is visited: what an agent computes depends on what it sees alone.

    Parameters
    ----------
    agents : sequence of Model
        From `agent_files.load_agents`.
    sizes : sequence of int
        Sides of the rooms.
    n : int
        States of the roll-outs of each agent in each room, one episode after the other; actions are drawn.
    seed : int
        It decides these actions.
    layer : str, optional
        The layer to compare; None is the one of the thesis, `agent_files.FEATURES`.

    Returns
    -------
    Behaviour
    """
    layer = layer or FEATURES[agents[0].card["variant"]]
    recorded = record(agents, load_states(sizes), [layer, "output"], progress=False)
    arrays = {(key.model, key.layer): np.asarray(x) for key, x in recorded.items()}
    names = [agent.name for agent in agents]
    ends = np.cumsum([len(load_grid(size).states) for size in sizes])
    rows = {
        size: slice(int(end) - len(load_grid(size).states), int(end)) for size, end in zip(sizes, ends, strict=True)
    }
    cards = pd.DataFrame([dict(agent.card) for agent in agents], index=pd.Index(names, name="model"))
    flat = {name: arrays[name, layer].reshape(len(arrays[name, layer]), -1) for name in names}
    seen = Behaviour(cards, flat, {name: arrays[name, "output"] for name in names}, rows, {})
    visited = {
        (name, size): load_grid(size).roll_out(seen.probabilities(name, size), n, [seed, number, size])
        + rows[size].start
        for number, name in enumerate(names)
        for size in sizes
    }
    return Behaviour(cards, flat, seen.logits, rows, visited)


def compare_agents(
    seen: Behaviour,
    size: int,
    names: Sequence[str],
    *,
    columns: Mapping[str, str] = COLUMNS,
    whose: str = "both",
    copies: str = "kept",
) -> pd.DataFrame:
    """Compare each pair of some agents on its own states.

    Parameters
    ----------
    seen : Behaviour
        From `observe`.
    size : int
        The room of the roll-outs.
    names : sequence of str
        Agents, such as `seen.trained_on(8)`.
    columns : {column: measure}
        Measures of features or of outputs.
    whose, copies : str
        The states of a pair: see `Behaviour.states`.

    Returns
    -------
    DataFrame (pairs, columns)
        The index has the names of both agents. NaN is a measure that is undefined on the states of a pair. "states" is
        the number of states.
    """
    chosen = {column: measures.get(measure) for column, measure in columns.items()}
    # a row of an output is prepared by itself, so each agent's outputs are prepared once
    outputs = {
        (column, name): measure.prepare(seen.logits[name])
        for column, measure in chosen.items()
        if measure.compares == "outputs"
        for name in names
    }
    pairs, found = list(itertools.combinations(names, 2)), []
    for a, b in pairs:
        rows = seen.states(a, b, size, whose, copies)
        values: dict[str, float] = {}
        for column, measure in chosen.items():
            try:
                values[column] = (
                    measure.pair(*(measure.permute(outputs[column, name], rows) for name in (a, b)))
                    if measure.compares == "outputs"
                    else float(measure(seen.features[a][rows], seen.features[b][rows]))
                )
            except UndefinedError:
                values[column] = math.nan
        found.append({**values, "states": len(rows)})
    return pd.DataFrame(found, index=pd.MultiIndex.from_tuples(pairs, names=("row", "column")))


def name_kinds(seen: Behaviour, pairs: pd.DataFrame, trained: int) -> pd.Series:
    """Name the kind of each pair by the returns of both agents in the room of their training.

    An agent is optimal above .8, mediocre from .2 to .8, poor below .2, as in the thesis.

    Parameters
    ----------
    seen : Behaviour
        From `observe`.
    pairs : DataFrame
        From `compare_agents`.
    trained : int
        The room in which the returns are taken.

    Returns
    -------
    Series
        Categories `KINDS`.
    """
    grades = grade(seen.returns(trained))
    names = {("mediocre", "optimal"): KINDS[3], ("optimal", "poor"): KINDS[0], ("optimal", "optimal"): KINDS[2]}
    kinds = [names.get((min(grades[a], grades[b]), max(grades[a], grades[b])), KINDS[1]) for a, b in pairs.index]
    return pd.Series(pd.Categorical(kinds, KINDS), pairs.index, name="pair")


def grade(returns: pd.Series) -> pd.Series:
    """Grade agents by their expected return: optimal, mediocre or poor."""
    return pd.Series(np.select([returns > 0.8, returns >= 0.2], ["optimal", "mediocre"], "poor"), returns.index)


def compare_all(
    seen: Behaviour,
    *,
    tested: Sequence[int] = TESTED,
    trained: Sequence[int] = (5, 6, 8, 16),
    columns: Mapping[str, str] = COLUMNS,
    whose: str = "both",
    copies: str = "kept",
) -> pd.DataFrame:
    """Compare all pairs of agents of one room, for each room of training and of testing.

    Parameters
    ----------
    seen : Behaviour
        From `observe`.
    tested, trained : sequence of int
        Sides of the rooms: rows and columns of figure 3.6.
    columns, whose, copies
        As in `compare_agents`.

    Returns
    -------
    DataFrame
        One row a pair and panel: the columns of `compare_agents`, "tested", "trained", and "pair", its kind.
    """
    panels = []
    for of, size in itertools.product(trained, tested):
        pairs = compare_agents(seen, size, seen.trained_on(of), columns=columns, whose=whose, copies=copies)
        panels.append(pairs.assign(tested=size, trained=of, pair=name_kinds(seen, pairs, of)))
    return pd.concat(panels)
