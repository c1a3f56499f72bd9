"""The agents that ship with the package: their architecture, the runs they come from, and their files."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from repsim_nb.inputs.models import Model, load_model
from repsim_nb.support.errors import check_name
from repsim_nb.support.files import replace_atomically, shipped_folder

VARIANTS = {"plain": 0, "bottleneck": 8}
"""Units of the bottleneck after the convolutions, by variant; 0 is none."""

STAGES = ("untrained", "early", "middle", "last")
SEEDS = range(6)
FEATURES = {"plain": "conv3", "bottleneck": "bottleneck"}
"""The layer whose features the thesis compares: the last convolution, or the bottleneck after it."""


class Agent(nn.Module):
    """The policy of figure 3.7 of the thesis: three convolutions of 16, 32 and 64 channels, then a head.

    The plain variant has a hidden layer of 64 units between the 64 features and the actions. The other one has a
    linear bottleneck of 8 units in its place.

    Parameters
    ----------
    bottleneck : int
        Units of the bottleneck; 0 is the plain variant.
    """

    def __init__(self, bottleneck: int = 0) -> None:
        super().__init__()
        for name, part in convolutions().named_children():
            self.add_module(name, part)
        if bottleneck:
            self.bottleneck = nn.Sequential(nn.Flatten(), nn.Linear(64, bottleneck))
        else:
            self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh())
        self.head = nn.Linear(bottleneck or 64, 7)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers to record, in forward order."""
        return tuple(name for name, _ in self.named_children() if name != "head")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the seven actions, (n, 7), from pictures (n, 3, 7, 7)."""
        for part in self.children():
            x = part(x)
        return x


def convolutions() -> nn.Sequential:
    """Create the three convolutions, (n, 3, 7, 7) to (n, 64, 1, 1)."""
    parts = nn.Sequential()
    parts.add_module("conv1", nn.Sequential(nn.Conv2d(3, 16, 2), nn.ReLU(), nn.MaxPool2d(2)))
    parts.add_module("conv2", nn.Sequential(nn.Conv2d(16, 32, 2), nn.ReLU()))
    parts.add_module("conv3", nn.Sequential(nn.Conv2d(32, 64, 2), nn.ReLU()))
    return parts


Weights = Mapping[str, Tensor]
Card = dict[str, Any]


def agents_folder() -> Path:
    """Return the folder of the agents that ship with the package."""
    return shipped_folder("data") / "agents"


def save_agents(path: Path, agents: Mapping[str, tuple[Weights, Card]]) -> None:
    """Write agents, {name: (weights, card)}, into one file.

    Weights are rounded to half precision, which halves the file; the rounded ones are the agents.
    """
    tensors = {f"{name}/{key}": value.half() for name, (weights, _) in agents.items() for key, value in weights.items()}
    cards = {name: card for name, (_, card) in agents.items()}
    with replace_atomically(path) as temporary:
        save_file(tensors, temporary, metadata={"cards": json.dumps(cards)})


def read_agents(path: Path) -> dict[str, tuple[dict[str, Tensor], Card]]:
    """Read what `save_agents` wrote: {name: (weights in single precision, card)}."""
    with safe_open(path, "pt") as file:
        agents: dict[str, tuple[dict[str, Tensor], Card]] = {
            name: ({}, card) for name, card in json.loads(file.metadata()["cards"]).items()
        }
        for key in file.keys():  # noqa: SIM118  # it is no dict
            name, _, part = key.partition("/")
            agents[name][0][part] = file.get_tensor(key).float()
    return agents


def load_agents(
    variant: str = "plain", *, seeds: Iterable[int] = SEEDS, folder: str | Path | None = None
) -> list[Model]:
    """Load the agents that ship with the package, those of all four rooms.

    Parameters
    ----------
    variant : {"plain", "bottleneck"}
        The architecture.
    seeds : iterable of int
        Runs to load, 0 to 5.
    folder : path, optional
        Another folder, such as one that `python -m repsim_nb.studies.agent_training --out FOLDER` wrote.

    Returns
    -------
    list of Model
        An untrained agent for each seed, "untrained-0", and for each room and seed an early one, a middle one and the
        last one, "8-last-0". Their cards have the size of the room ("trained", 0 before training), the
        stage, the seed, the steps and the expected return in each room ("returns", and "greedy" for the best action).

    Raises
    ------
    ValueError
        For an unknown variant.

    Examples
    --------
    >>> from repsim_nb.studies.agent_files import load_agents
    >>> agents = load_agents("bottleneck", seeds=[0])
    >>> len(agents), agents[0]
    (13, Model(name='untrained-0', layers=('conv1', 'conv2', 'conv3', 'bottleneck', 'output')))
    """
    check_name("variant of the agents", variant, VARIANTS)
    wanted = set(seeds)
    return [
        _to_model(name, weights, card)
        for name, (weights, card) in _read(Path(folder or agents_folder()) / f"{variant}.safetensors").items()
        if card["seed"] in wanted
    ]


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> dict[str, tuple[dict[str, Tensor], Card]]:
    return read_agents(path)


def _to_model(name: str, weights: Weights, card: Card) -> Model:
    module = Agent(VARIANTS[card["variant"]])
    module.load_state_dict(weights)
    return replace(load_model(module.eval(), name=name), card=card)
