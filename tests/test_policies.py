"""Policies: the states that they visit as a data set, and policies of stable-baselines3 as models."""

import copy

import numpy as np
import pytest
import torch

import repsim_nb as rs

gymnasium = pytest.importorskip("gymnasium")
minigrid = pytest.importorskip("minigrid")
sb3 = pytest.importorskip("stable_baselines3")
RETURNS = {5: 0.955, 6: 0.95625, 8: 0.961328125, 16: 0.97626953125}


def grid(size=5):
    return minigrid.wrappers.ImgObsWrapper(gymnasium.make(f"MiniGrid-Empty-{size}x{size}-v0"))


def best(x):
    """Forward to the wall, and to the right there: the shortest way. x[0, 3, 5] is the kind of thing in front."""
    return 1 if x[0, 3, 5] == 2 else 2


@pytest.fixture(scope="module")
def agents():
    return {name: sb3.PPO("MlpPolicy", grid(), device="cpu", seed=seed) for seed, name in enumerate("ab")}


@pytest.fixture(scope="module")
def states(agents):
    return rs.datasets.rollouts(grid, agents | {"best": best}, n=60, seed=3)


@pytest.mark.parametrize("size", RETURNS)
def test_the_shortest_way_has_the_published_return(size):
    found = rs.datasets.returns(lambda: grid(size), best, episodes=2)
    assert found == pytest.approx([RETURNS[size]] * 2, abs=1e-12)


def test_rows_belong_to_the_states_that_their_ids_name(agents, states):
    assert states.inputs.shape == (180, 3, 7, 7) and states.inputs.dtype == np.float32
    world = grid()
    for (policy, _), rows in states.steps.groupby(["policy", "episode"], sort=False):
        begin = np.random.SeedSequence([3, int(rows["episode"].iloc[0])]).generate_state(1)[0]
        seen, _ = world.reset(seed=int(begin))
        for row, step in zip(rows.index, rows.itertuples(), strict=True):
            at = states.steps.index.get_loc(row)
            assert row == f"{policy}/{step.episode}/{step.step}" == states.ids[at]
            assert states.classes[states.targets[at]] == policy
            assert (states.inputs[at] == seen.transpose(2, 0, 1)).all()
            assert tuple(world.unwrapped.agent_pos) == (step.x, step.y) and world.unwrapped.agent_dir == step.direction
            seen, reward, *ends, _ = world.step(step.action)
            assert reward == step.reward
        total = rows["reward"].sum()
        assert (rows["episode_return"] == total).all() and rows["finished"].iloc[0] == any(ends)


def test_a_policy_against_itself(agents, states):
    twins = [rs.load_model(copy.deepcopy(agents["a"].policy), name=name) for name in ("one", "two")]
    x = rs.record(twins, states, progress=False)
    assert rs.compare("jsd", x.where(layer="output")).values.to_numpy() == pytest.approx(0, abs=1e-12)
    one, two = (x.where(model=name, layer="mlp_extractor.policy_net.3") for name in ("one", "two"))
    assert rs.compare("cka", one, two).values.to_numpy() == pytest.approx(1)


def test_the_output_is_the_logits_of_the_distribution(agents, states):
    x = rs.record(agents["a"], states, layers="output", progress=False)
    policy = agents["a"].policy
    with torch.no_grad():
        chances = policy.get_distribution(torch.tensor(states.inputs)).distribution.probs
    logits = torch.tensor(np.asarray(next(iter(x.values()))))
    assert torch.softmax(logits, 1).numpy() == pytest.approx(chances.numpy(), abs=1e-6)
