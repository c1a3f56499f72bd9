"""Policies: the states that they visit as a data set, and policies of stable-baselines3 as models."""

import base64
import copy
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

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


def test_each_row_of_a_policy_is_of_one_state_alone(agents, states):
    x = rs.record(agents["a"], states, layers=["**", "output.values"], batch_size=7, progress=False)
    values = next(iter(x.where(layer="output.values").values()))
    with torch.no_grad():
        alone = [agents["a"].policy.predict_values(torch.tensor(states.inputs[[row]])).item() for row in (0, 8, 179)]
    assert np.asarray(values)[[0, 8, 179], 0] == pytest.approx(alone, abs=1e-6)
    assert "mlp_extractor.value_net.3" in {key.layer for key in x}, "the critic can be recorded too"


def test_the_same_seed_gives_the_same_states_whatever_the_other_policies(agents, states):
    again = rs.datasets.rollouts(grid, {"b": agents["b"]}, n=60, seed=3)
    assert (again.inputs == states.inputs[60:120]).all() and (again.ids == states.ids[60:120]).all()
    other = rs.datasets.rollouts(grid, {"b": agents["b"]}, n=60, seed=4)
    assert (other.inputs != again.inputs).any()


def test_rollouts_leave_the_policy_and_random_states_as_they_were(agents):
    agents["a"].policy.train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    rs.datasets.rollouts(grid, [agents["a"]], n=3)
    assert agents["a"].policy.training and agents["a"].policy.mlp_extractor.training
    assert (torch.get_rng_state() == before[0]).all() and (np.random.get_state()[1] == before[1]).all()


def test_copies_are_groups(states):
    rows = {state.tobytes() for state in states.inputs}
    distinct = states.distinct()
    assert len(distinct) == len(rows) == states.groups.max() + 1 < len(states)
    for row, group in enumerate(states.groups):
        assert (distinct.inputs[group] == states.inputs[row]).all(), "groups are numbered in the order of distinct()"
    assert (distinct.steps.index == distinct.ids).all() and (distinct.groups == np.arange(len(distinct))).all()
    last = states.take([179, 0], "two")
    assert last.ids.tolist() == last.steps.index.tolist() == [states.ids[179], "a/0/0"]


def test_the_grid_of_size_8_shows_86_pictures_in_140_states():
    world, seen = grid(8), []
    world.reset(seed=0)
    inner = world.unwrapped
    for x, y in ((x, y) for x in range(1, 7) for y in range(1, 7) if (x, y) != (6, 6)):
        for inner.agent_dir in range(4):
            inner.agent_pos = (x, y)
            seen.append(inner.gen_obs()["image"].tobytes())
    assert (len(seen), len(set(seen))) == (140, 86)


def test_a_deterministic_policy_takes_the_most_probable_action():
    torch.manual_seed(0)
    module = nn.Linear(4, 2)
    poles = rs.datasets.rollouts("CartPole-v1", {"mine": module}, n=40, deterministic=True)
    with torch.no_grad():
        assert (module(torch.tensor(poles.inputs)).argmax(1).numpy() == poles.steps["action"]).all()
    drawn = rs.datasets.rollouts("CartPole-v1", {"mine": lambda_module(torch.tensor([0.0, np.log(3.0)]))}, n=600)
    assert drawn.steps["action"].mean() == pytest.approx(0.75, abs=0.07), "drawn by softmax of the logits"


def lambda_module(logits):
    class Constant(nn.Module):
        def forward(self, x):
            return logits.expand(len(x), -1)

    return Constant()


class Signals(gymnasium.Env):
    """Observations with columns, one of them a category; each episode has five steps, and writes into its arrays."""

    observation_space = gymnasium.spaces.Dict(
        level=gymnasium.spaces.Box(-1, 1, (2,)), sign=gymnasium.spaces.Discrete(3, start=1)
    )
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.level = 0, np.zeros(2, np.float32)
        return {"level": self.level, "sign": 1}, {}

    def step(self, action):
        self.time += 1
        self.level += 0.125
        return {"level": self.level, "sign": 1 + self.time % 3}, 1, self.time == 5, False, {}


def test_observations_with_columns():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.of_level, self.of_sign = nn.Linear(2, 2), nn.Linear(3, 2)

        def forward(self, level, sign):
            return self.of_level(level) + self.of_sign(sign)

    found = rs.datasets.rollouts(Signals, {"net": Net()}, n=7)
    columns = found.inputs[:]
    assert columns["level"][:, 0].tolist() == [0, 0.125, 0.25, 0.375, 0.5, 0, 0.125]
    assert columns["sign"].argmax(1).tolist() == [0, 1, 2, 0, 1, 0, 1] and columns["sign"].shape == (7, 3)
    assert found.groups.tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert found.steps["episode_return"].tolist() == [5.0] * 5 + [2.0] * 2
    assert found.steps["finished"].tolist() == [True] * 5 + [False] * 2
    assert {key.layer for key in rs.record(Net(), found, progress=False)} == {"of_level", "of_sign", "output"}


@pytest.mark.parametrize("kind", ["PPO", "DQN", "SAC"])
def test_algorithms_and_their_files(kind, tmp_path):
    env = "Pendulum-v1" if kind == "SAC" else "CartPole-v1"
    small = {"policy_kwargs": {"net_arch": [8, 4], "activation_fn": nn.ELU}, "device": "cpu", "seed": 0}
    agent = getattr(sb3, kind)("MlpPolicy", env, **small, **({} if kind == "PPO" else {"buffer_size": 10}))
    agent.save(tmp_path / "agent.zip")
    random = torch.get_rng_state()
    model = rs.load_model(tmp_path / "agent.zip")
    assert (torch.get_rng_state() == random).all() and model.name == "agent"
    assert rs.load_model(agent).layers == model.layers and not model.module.training
    found = rs.datasets.rollouts(env, {"agent": agent, "file": model}, n=10, deterministic=True)
    assert (found.inputs[:10] == found.inputs[10:]).all()
    output = next(iter(rs.record(model, found, layers="output", progress=False).values()))
    policy = agent.policy
    with torch.no_grad():
        x = torch.tensor(found.inputs)
        wanted = {
            "PPO": lambda: policy.action_net(policy.mlp_extractor.forward_actor(x)),
            "DQN": lambda: policy.q_net(x),
            "SAC": lambda: policy.actor(x, deterministic=True),
        }[kind]()
    assert np.asarray(output) == pytest.approx(wanted.numpy(), abs=1e-6)
    if kind == "SAC":
        assert np.stack(found.steps["action"]) == pytest.approx(2 * wanted.numpy(), abs=1e-5), "scaled to the actions"


UNPICKLED = []


def notice():
    UNPICKLED.append("unpickled")


class Noticed:
    """Unpickling it is seen in UNPICKLED."""

    def __reduce__(self):
        return notice, ()


def change_zip(file, new, **replaced):
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(new, "w") as out:
        for name in old.namelist():
            out.writestr(name, replaced.get(name, old.read(name)))


def test_nothing_in_a_file_is_unpickled(agents, tmp_path):
    agents["a"].save(tmp_path / "agent.zip")
    bomb = base64.b64encode(pickle.dumps(Noticed())).decode()
    with zipfile.ZipFile(tmp_path / "agent.zip") as content:
        data = json.loads(content.read("data"))
    assert pickle.loads(base64.b64decode(bomb)) is None and UNPICKLED == ["unpickled"], "it would be noticed"
    UNPICKLED.clear()
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = bomb
    data["policy_kwargs"] = {":type:": "<class 'dict'>", ":serialized:": bomb}
    change_zip(
        tmp_path / "agent.zip",
        tmp_path / "bomb.zip",
        data=json.dumps(data),
        **{"pytorch_variables.pth": pickle.dumps(Noticed()), "policy.optimizer.pth": pickle.dumps(Noticed())},
    )
    model = rs.load_model(tmp_path / "bomb.zip")
    assert UNPICKLED == [] and model.card["policy"] == "ActorCriticPolicy"
    for name, weight in agents["a"].policy.state_dict().items():
        assert (model.module.state_dict()[name] == weight).all()
    torch.save({"weight": Noticed()}, tmp_path / "weights.pth")
    change_zip(tmp_path / "agent.zip", tmp_path / "bomb.zip", **{"policy.pth": (tmp_path / "weights.pth").read_bytes()})
    with pytest.raises(ValueError, match="more than tensors, and are not read"):
        rs.load_model(tmp_path / "bomb.zip")
    assert UNPICKLED == []


def test_a_file_of_an_unusual_policy_asks_for_one(tmp_path):
    class Scaled(sb3.common.torch_layers.FlattenExtractor):
        def forward(self, x):
            return super().forward(x) / 10

    own = {"features_extractor_class": Scaled, "net_arch": [8]}
    agent, other = (sb3.PPO("MlpPolicy", grid(), seed=k, device="cpu", policy_kwargs=own) for k in (0, 1))
    agent.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match="features_extractor_class.*architecture=policy"):
        rs.load_model(tmp_path / "agent.zip")
    other.policy.evaluate_actions(torch.zeros(1, 3, 7, 7), torch.zeros(1))  # as in training: its copy fails then
    before = other.policy.action_net.weight.clone()
    model = rs.load_model(tmp_path / "agent.zip", architecture=other)
    assert (model.module.action_net.weight == agent.policy.action_net.weight).all()
    assert (other.policy.action_net.weight == before).all(), "the given policy is copied"


def test_an_untrained_twin_is_a_new_agent(agents):
    before = agents["a"].policy.action_net.weight.clone()
    one, again, other = (rs.models.untrained_twin(agents["a"], seed=k).module.action_net.weight for k in (1, 1, 2))
    assert (one == again).all() and (one != other).all() and (agents["a"].policy.action_net.weight == before).all()
    scales = torch.linalg.svdvals(one.detach())
    assert scales.numpy() == pytest.approx(0.01, rel=1e-4), "stable-baselines3 begins with small, orthogonal logits"
    pendulum = sb3.PPO("MlpPolicy", "Pendulum-v1", device="cpu")
    assert (rs.models.untrained_twin(pendulum).module.log_std == 0).all(), "no layer draws it"


def test_a_policy_with_a_memory_is_refused(agents):
    policy = copy.deepcopy(agents["a"].policy)
    policy.lstm_actor = nn.LSTM(4, 4)
    with pytest.raises(ValueError, match="has a memory.*rs.from_arrays"):
        rs.load_model(policy)


def test_pictures_are_given_to_a_policy_with_their_channels_first(agents):
    model = rs.load_model(agents["a"])
    picture = np.random.default_rng(0).integers(0, 10, (4, 7, 7, 3), dtype=np.uint8)
    assert (model.preprocess(picture).numpy() == picture.transpose(0, 3, 1, 2)).all()
    with pytest.raises(ValueError, match=r"shape \(n, 3, 7, 7\); got \(4, 7, 6, 3\)"):
        model.preprocess(picture[:, :, :6])


def test_errors_say_what_to_do(agents):
    play = rs.datasets.rollouts
    with pytest.raises(TypeError, match="a function that creates one"):
        play(grid(), agents, n=3)
    with pytest.raises(TypeError, match="belong to no episode"):
        play(agents["a"].get_env, agents, n=3)
    with pytest.raises(ValueError, match="'mission'.*MissionSpace.*ImgObsWrapper"):
        play("MiniGrid-Empty-5x5-v0", [best], n=3)
    with pytest.raises(ValueError, match=r"policy 'a' in CartPole-v1: .*\(n, 3, 7, 7\)"):
        play("CartPole-v1", {"a": agents["a"]}, n=3)
    with pytest.raises(ValueError, match=r"each of the 2 actions, \(1, 2\).*got \(1, 3\)"):
        play("CartPole-v1", [nn.Linear(4, 3)], n=3)
    with pytest.raises(TypeError, match="policies must be a dict .* got a PPO"):
        play(grid, agents["a"], n=3)
    with pytest.raises(TypeError, match="policy 'policy-0' must be .* got a str"):
        play(grid, ["best"], n=3)
    with pytest.raises(ValueError, match="different names"):
        play(grid, [rs.load_model(agents[k], name="same") for k in "ab"], n=3)
    for logit in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(ValueError, match=f"no probabilities: .* got .*{logit}"):
            play("CartPole-v1", [lambda_module(torch.tensor([0.0, logit] if logit > 0 else [logit, logit]))], n=3)
    with pytest.raises(ValueError, match="the same inputs"):
        play(grid, [agents["a"], sb3.PPO("MlpPolicy", "CartPole-v1", device="cpu")], n=3)
    with pytest.raises(FileNotFoundError, match="nothing.zip"):
        rs.load_model("nothing.zip")


def test_a_policy_that_does_not_fit_its_environment_is_named(agents):
    """torch and the environment raise errors that know neither of them."""
    for env, policy, match in (
        (grid, nn.Linear(4, 2), r"policy 'mine' could not run on a state of MiniGrid-Empty-5x5-v0, .*\(1, 3, 7, 7\)"),
        ("MiniGrid-Empty-5x5-v0", agents["a"], r"policy 'mine' in MiniGrid.*a dict with the columns .*ImgObsWrapper"),
        ("CartPole-v1", lambda x: 5, "policy 'mine' must return an action from 0 to 1; got 5"),
    ):
        with pytest.raises(ValueError, match=match):
            rs.datasets.rollouts(env, {"mine": policy}, n=4)


@pytest.mark.parametrize("library", ["gymnasium", "stable_baselines3"])
def test_what_needs_a_library_says_what_to_install(library, agents, tmp_path, monkeypatch):
    agents["a"].save(tmp_path / "agent.zip")
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {library}.*repsim_nb\[agents\]"):
        if library == "gymnasium":
            rs.datasets.rollouts("CartPole-v1", [best], n=3)
        else:
            rs.load_model(tmp_path / "agent.zip")
