"""Train the agents: `python -m repsim_nb.studies.agent_training [runs] [--out FOLDER]` ('make agents').

A run is a variant, a size of the room and a seed: plain-8-0. PPO of stable-baselines3 on MiniGrid-Empty. A run keeps
four stages: the agent before its first step, after 4,096 steps, when its expected return first reaches .5, and when it
ends: its expected return is above .9 and its best actions are a shortest path. A run that is above .9
and finds no shortest path ends after another 20,000 steps. The four runs of a seed begin with the same weights, so the
untrained agent is stored once.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.support.errors import check_name, explain_missing, unknown_name
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import check_integer

from .agent_files import SEEDS, STAGES, VARIANTS, Agent, Card, agents_folder, convolutions, read_agents, save_agents
from .grids import ACTIONS, BEST, SIZES, TableEnv, load_grid

with explain_missing("studies.agent_training"):
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import DummyVecEnv

ENVIRONMENTS, STEPS = 16, 128  # at once, and of each between two updates
EARLY = 2 * ENVIRONMENTS * STEPS
MIDDLE, SOLVED = 0.5, 0.9  # expected returns
PATIENCE = 20_000  # steps for a shorter path, once the expected return is there
MOST = 100_000  # steps of a run that gets nowhere
RUNS: dict[str, dict[str, Any]] = {
    f"{variant}-{size}-{seed}": {"variant": variant, "size": size, "seed": seed}
    for seed in SEEDS
    for size in sorted(SIZES, reverse=True)  # the longest first
    for variant in VARIANTS
}
"""The 48 runs: two variants, four rooms, six seeds."""


class Features(BaseFeaturesExtractor):
    """The convolutions, and the bottleneck if there is one; actor and critic share them."""

    def __init__(self, space: Any, bottleneck: int = 0) -> None:
        super().__init__(space, bottleneck or 64)
        self.parts = convolutions()
        self.parts.add_module("flat", nn.Flatten())
        if bottleneck:
            self.parts.add_module("bottleneck", nn.Linear(64, bottleneck))

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(x)


def train(
    variant: str,
    size: int,
    seed: int,
    *,
    steps: int = MOST,
    keep: Callable[[str, Agent, Card], None],
    tick: Tick = lambda done, total: None,
) -> None:
    """Train one agent with PPO, and pass its stages to `keep`.

    16 environments in a DummyVecEnv, 128 steps of each between updates, batches of 256, 4 epochs, Adam with 0.001,
    entropy 0.01, discount 0.99. Linear layers begin with normal weights of unit length a row, as in the starter code of
    MiniGrid, convolutions orthogonally.

    Parameters
    ----------
    variant : {"plain", "bottleneck"}
        The architecture.
    size : int
        The side of the room.
    seed : int
        It decides the weights, the actions and the batches. On one machine, with one thread of torch, the same seed
        gives the same agent bit for bit; another processor or release of torch gives another agent.
    steps : int
        Steps in the environment after which a run ends at the latest.
    keep : function(stage, agent, card)
        Called for each stage. A run that ends without a shortest path passes what it has as its last agent; the card
        has the returns.
    tick : function(done, total)
        Called after every update; it may raise to stop.

    Raises
    ------
    ValueError
        For an unknown variant.
    """
    check_name("variant of the agents", variant, VARIANTS)
    check_integer(steps, "steps", minimum=1)
    bottleneck = VARIANTS[variant]
    ppo = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: TableEnv(load_grid(size))] * ENVIRONMENTS),
        learning_rate=1e-3,
        n_steps=STEPS,
        batch_size=256,
        n_epochs=4,
        gamma=0.99,
        ent_coef=0.01,
        seed=seed,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": Features,
            "features_extractor_kwargs": {"bottleneck": bottleneck},
            "net_arch": {"pi": [] if bottleneck else [64], "vf": [64]},
            "normalize_images": False,
        },
    )
    torch.manual_seed(seed)
    ppo.policy.apply(_initialise)
    stages = _Stages(variant, size, seed, steps, keep, tick)
    stages.look(ppo)
    ppo.learn(steps, callback=stages)
    if not stages.ended:
        stages.store("last", ppo)


def _initialise(part: nn.Module) -> None:
    if isinstance(part, nn.Linear):
        with torch.no_grad():
            part.weight.normal_()
            part.weight /= part.weight.norm(dim=1, keepdim=True)
            part.bias.zero_()


class _Stages(BaseCallback):
    """Look at the agent before each round of steps, and keep it when it reaches a stage."""

    def __init__(
        self, variant: str, size: int, seed: int, steps: int, keep: Callable[[str, Agent, Card], None], tick: Tick
    ) -> None:
        super().__init__()
        self.card: Card = {"variant": variant, "trained": size, "seed": seed}
        self.size, self.steps, self.keep, self.tick = size, steps, keep, tick
        self.seen: set[str] = set()
        self.solved: int | None = None  # the step at which the return was there
        self.ended = False

    def look(self, ppo: Any) -> None:
        """Keep the agent if it has just reached a stage."""
        now = ppo.num_timesteps
        if now == 0:
            self.store("untrained", ppo)
        if now >= EARLY and "early" not in self.seen:
            self.store("early", ppo)
        sampled, greedy = returns(_to_agent(ppo.policy), self.size)
        if now >= EARLY and sampled >= MIDDLE and "middle" not in self.seen:
            self.store("middle", ppo)
        if sampled >= SOLVED and self.solved is None:
            self.solved = now
        if self.solved is not None:
            shortest = sampled >= SOLVED and greedy > BEST[self.size] - 1e-9
            self.ended = shortest or now >= self.solved + PATIENCE
        if self.ended:
            self.store("last", ppo)
        self.tick(now, self.steps)

    def store(self, stage: str, ppo: Any) -> None:
        """Pass the agent on with its card."""
        self.seen.add(stage)
        agent = _to_agent(ppo.policy)
        agent.load_state_dict({key: value.half().float() for key, value in agent.state_dict().items()})
        found = {str(size): returns(agent, size) for size in SIZES}
        card = {
            **self.card,
            "stage": stage,
            "steps": ppo.num_timesteps,
            "returns": {size: round(sampled, 6) for size, (sampled, _) in found.items()},
            "greedy": {size: round(greedy, 6) for size, (_, greedy) in found.items()},
        }
        self.keep(stage, agent, card)

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:  # the agent has been updated since the last look
            self.look(self.model)

    def _on_step(self) -> bool:
        return not self.ended


def _to_agent(policy: ActorCriticPolicy) -> Agent:
    """Copy the part of a policy that chooses actions."""
    bottleneck: Any = getattr(policy.features_extractor.parts, "bottleneck", None)
    agent = Agent(bottleneck.out_features if bottleneck is not None else 0)
    parts: Any = policy.features_extractor.parts
    for name in ("conv1", "conv2", "conv3"):
        getattr(agent, name).load_state_dict(getattr(parts, name).state_dict())
    middle: Any = agent.bottleneck[1] if bottleneck is not None else agent.hidden[1]
    middle.load_state_dict((bottleneck if bottleneck is not None else policy.mlp_extractor.policy_net[0]).state_dict())
    agent.head.load_state_dict(policy.action_net.state_dict())
    return agent


def returns(agent: Agent, size: int) -> tuple[float, float]:
    """Compute the expected return in a room of this size: of the agent, and of its best action in each state."""
    grid = load_grid(size)
    with torch.no_grad():
        probabilities = agent(torch.from_numpy(grid.pictures)).softmax(1).double().numpy()
    best = np.eye(len(ACTIONS))[probabilities.argmax(1)]
    return grid.expected_return(probabilities), grid.expected_return(best)


def build(run: str) -> dict[str, tuple[dict[str, Tensor], Card]]:
    """Train one run: {name of the agent: (weights, card)}."""
    torch.set_num_threads(1)
    found: dict[str, tuple[dict[str, Tensor], Card]] = {}

    def keep(stage: str, agent: Agent, card: Card) -> None:
        found[_name_agent(stage, card)] = agent.state_dict(), {**card, "trained": card["trained"] * (card["steps"] > 0)}

    train(**RUNS[run], keep=keep)
    return found


def _name_agent(stage: str, card: Card) -> str:
    """Return the name of an agent in its file: "8-last-0", or "untrained-0"."""
    return f"{stage}-{card['seed']}" if stage == STAGES[0] else f"{card['trained']}-{stage}-{card['seed']}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m repsim_nb.studies.agent_training", description="Train the agents that ship with the package."
    )
    parser.add_argument("runs", nargs="*", default=list(RUNS), help="which ones (all)")
    parser.add_argument("--out", type=Path, default=agents_folder(), help="the folder to write to (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at once (%(default)s)")
    arguments = parser.parse_args()
    for run in arguments.runs:
        if run not in RUNS:
            parser.error(str(unknown_name("run", run, RUNS)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(min(arguments.processes, len(arguments.runs))) as pool:
        waiting = {pool.submit(build, run): run for run in arguments.runs}
        for number, future in enumerate(as_completed(waiting), 1):
            run, found = waiting[future], future.result()
            _add(arguments.out / f"{RUNS[run]['variant']}.safetensors", found)
            *_, (_, card) = found.values()
            worth = card["returns"][str(card["trained"])]
            print(
                f"{number:2} of {len(waiting)}  {run:16} {card['steps']:7,} steps, expected return {worth:.3f}"
                f"  ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )


def _add(path: Path, found: dict[str, tuple[Any, Card]]) -> None:
    """Put agents into a file, next to those that it has: a run that was stopped leaves what was finished."""
    agents: dict[str, tuple[Any, Card]] = {**(read_agents(path) if path.exists() else {}), **found}
    save_agents(path, {name: agents[name] for name in sorted(agents, key=lambda name: _order(agents[name][1]))})


def _order(card: Card) -> tuple[int, int, int]:
    return card["trained"], card["seed"], STAGES.index(card["stage"])


if __name__ == "__main__":
    main()
