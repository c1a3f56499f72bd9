"""Agents of MiniGrid: the table of a room, the agents that ship, and what the study finds in them."""

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("minigrid", reason="the extra 'agents' is not installed")

import repsim_nb as rs
from repsim_nb.inputs.datasets.playing import find_place
from repsim_nb.studies import agent_files, agents, grids, player, relations


@pytest.fixture(scope="module")
def plain():
    return agent_files.load_agents("plain")


@pytest.fixture(scope="module")
def seen(plain):
    return agents.observe(plain, sizes=(5, 8), n=40)


@pytest.mark.parametrize("size", [5, 8])
def test_the_table_of_a_room_is_the_environment(size):
    room, env, table = grids.load_grid(size), grids.make_env(size), grids.TableEnv(grids.load_grid(size))
    rng, picture = np.random.default_rng(size), env.reset(seed=0)[0]
    assert np.array_equal(picture, table.reset()[0])
    for _ in range(300):
        action = rng.choice(3, p=[0.2, 0.3, 0.5]) if rng.random() < 0.9 else rng.integers(7)
        one, other = env.step(action), table.step(action)
        assert one[1:4] == pytest.approx(other[1:4])
        if one[2] or one[3]:
            env.reset(seed=0), table.reset()
        else:
            assert np.array_equal(one[0], other[0])
            assert room.states[table.state] == tuple(find_place(env).values())


def test_different_states_look_the_same():
    counts = {size: (len(grids.load_grid(size).states), len(set(grids.load_grid(size).groups))) for size in (8, 16)}
    assert counts == {8: (140, 86), 16: (780, 109)}


def test_the_expected_return_is_the_mean_of_played_episodes(plain):
    agent = next(agent for agent in plain if agent.name == "5-middle-0")
    played = rs.datasets.returns(lambda: grids.make_env(5), agent, episodes=25, seed=1)
    assert abs(played.mean() - agent.card["returns"]["5"]) < 4 * played.std() / np.sqrt(len(played))


def test_a_shortest_path_has_the_reachable_return():
    forward, right = grids.ACTIONS.index("forward"), grids.ACTIONS.index("right")
    for size, best in grids.BEST.items():
        room = grids.load_grid(size)
        actions = [right if x == size - 2 and d == 0 else forward for x, y, d in room.states]
        assert room.expected_return(np.eye(7)[actions]) == pytest.approx(best)
        assert room.path(np.array(actions))[-1] == -1
    assert [round(best, 6) for best in grids.BEST.values()] == [0.955, 0.95625, 0.961328, 0.97627]


@pytest.mark.parametrize("variant", agent_files.VARIANTS)
def test_the_agents_that_ship_are_of_all_kinds(variant):
    cards = pd.DataFrame({agent.name: dict(agent.card) for agent in agent_files.load_agents(variant)}).T
    assert len(cards) == {"plain": 78, "bottleneck": 76}[variant] and cards.index.is_unique  # two learn nothing
    for size in map(str, grids.SIZES):
        own = cards[cards["trained"].isin([0, int(size)])]
        grades = agents.grade(own["returns"].map(lambda found, size=size: found[size]))
        assert set(grades) == {"optimal", "mediocre", "poor"}
        last = own[own["stage"] == "last"]
        greedy = last["greedy"].map(lambda found, size=size: found[size])
        assert greedy.max() == pytest.approx(grids.BEST[int(size)], abs=1e-6)
        assert (grades[last.index] != "optimal").sum() == (2 if (variant, size) == ("bottleneck", "16") else 0)


def test_a_card_is_what_its_agent_does(plain):
    for agent in [agent for agent in plain if agent.card["seed"] == 1 and agent.card["stage"] in ("early", "last")]:
        room = grids.load_grid(5)
        with torch.no_grad():
            p = agent.module(torch.from_numpy(room.pictures)).softmax(1).double().numpy()
        assert room.expected_return(p) == pytest.approx(agent.card["returns"]["5"], abs=1e-4)
        assert room.expected_return(np.eye(7)[p.argmax(1)]) == pytest.approx(agent.card["greedy"]["5"], abs=1e-5)


def test_files_are_small_and_read_back(plain, tmp_path):
    assert sum(path.stat().st_size for path in agent_files.agents_folder().iterdir()) < 5e6
    one = plain[5]
    agent_files.save_agents(tmp_path / "plain.safetensors", {"a": (one.module.state_dict(), dict(one.card))})
    (again,) = agent_files.load_agents("plain", seeds=[one.card["seed"]], folder=tmp_path)
    assert again.card == one.card
    x = torch.from_numpy(grids.load_grid(5).pictures)
    assert torch.equal(again.module(x), one.module(x))
    with pytest.raises(ValueError, match="bottleneck"):
        agent_files.load_agents("bottelneck")


def test_an_agent_against_itself(seen):
    rows = seen.visited["8-last-0", 8]
    features, logits = seen.features["8-last-0"][rows], seen.logits["8-last-0"][rows]
    assert rs.measures.get("cka")(features, features) == pytest.approx(1)
    assert rs.measures.get("jsd")(logits, logits) == 0
    assert rs.measures.get("output_rank")(logits, logits) == pytest.approx(1)


def test_the_states_of_a_pair_are_those_that_both_visit(seen):
    a, b, here = "8-last-0", "8-early-1", seen.rows[8]
    both = seen.states(a, b, 8)
    assert (here.start, here.stop) == (32, 172)
    assert list(both) == [*seen.visited[a, 8], *seen.visited[b, 8]]
    assert both.min() >= here.start and both.max() < here.stop
    assert list(seen.states(a, b, 8, "better")) == list(seen.visited[a, 8])
    assert list(seen.states(b, a, 8, "worse")) == list(seen.visited[b, 8])
    assert len(seen.states(a, b, 8, "all")) == 140
    once = seen.states(a, b, 8, copies="dropped")
    pictures = agents.load_states((5, 8)).inputs
    assert {pictures[k].tobytes() for k in once} == {pictures[k].tobytes() for k in both}
    assert len({pictures[k].tobytes() for k in once}) == len(once) < len(both)
    with pytest.raises(ValueError, match="better"):
        seen.states(a, b, 8, "bettre")


def test_copies_as_rows_are_weights(seen):
    """A state that is visited often counts so often: CKA and JSD of the rows are those of weighted states."""
    a, b = "8-middle-0", "8-middle-1"
    pair = agents.compare_agents(seen, 8, [a, b]).iloc[0]
    rows, counts = np.unique(seen.states(a, b, 8), return_counts=True)
    x, y = (seen.features[name][rows].astype(float) for name in (a, b))
    x, y = (side - counts @ side / counts.sum() for side in (x, y))
    inner = [np.linalg.norm(one.T @ (counts[:, None] * two)) ** 2 for one, two in ((x, y), (x, x), (y, y))]
    assert pair["CKA"] == pytest.approx(inner[0] / np.sqrt(inner[1] * inner[2]), rel=1e-5)
    each = [rs.measures.get("jsd")(seen.logits[a][[row]], seen.logits[b][[row]]) for row in rows]
    assert pair["JSD"] == pytest.approx(counts @ each / counts.sum(), rel=1e-5)
    assert pair["states"] == counts.sum() == 80


def test_kinds_of_pairs_are_those_of_the_thesis(seen):
    names = ["8-last-0", "8-last-1", "8-middle-0", "untrained-0"]
    pairs = agents.compare_agents(seen, 8, names, columns={"JSD": "jsd"})
    kinds = agents.name_kinds(seen, pairs, 8)
    assert kinds["8-last-0", "8-last-1"] == "both optimal"
    assert kinds["8-last-0", "8-middle-0"] == "optimal, mediocre"
    assert kinds["8-last-1", "untrained-0"] == "optimal, poor"
    assert kinds["8-middle-0", "untrained-0"] == "others"


def test_slopes_that_are_equal_and_slopes_that_are_not(seen):
    names, seeds = {size: seen.trained_on(size) for size in (5, 8)}, seen.cards["seed"]
    points = agents.compare_all(seen, tested=(8,), trained=(5, 8), columns={"CKA": "cka"})
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=len(points))
    same = points.assign(JSD=0.5 - 0.4 * points["CKA"] + noise)
    other = points.assign(JSD=0.5 - np.where(points["trained"] == 5, 0.1, 0.6) * points["CKA"] + noise)
    assert relations.equal_slopes(same, seeds).p_value > 0.01 > relations.equal_slopes(other, seeds).p_value
    assert relations.slope_variation(same) < 0.3 < relations.slope_variation(other)
    found = relations.over_seeds(same, relations.slope, seeds)
    assert found.low < -0.4 < found.high
    assert len(names[5]) == len(names[8]) == 24


def test_training_twice_gives_the_same_agent_bit_for_bit(plain):
    """The shipped agent of this stage was trained on another machine, perhaps: only its behaviour must be close."""
    pytest.importorskip("stable_baselines3", reason="the extra 'agents' is not installed")
    from repsim_nb.studies import agent_training

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    kept = [{}, {}]
    try:
        for found in kept:
            agent_training.train(
                "plain",
                5,
                0,
                steps=agent_training.EARLY,
                keep=lambda *one, found=found: found.update({one[0]: one[1:]}),
            )
    finally:
        torch.set_num_threads(threads)
    assert list(kept[0]) == ["untrained", "last"]
    for stage, (agent, card) in kept[0].items():
        other, its = kept[1][stage]
        assert card == its
        for key, value in agent.state_dict().items():
            assert torch.equal(value, other.state_dict()[key])
    shipped = {agent.name: agent for agent in plain}
    assert kept[0]["untrained"][1]["returns"]["5"] == pytest.approx(
        shipped["untrained-0"].card["returns"]["5"], abs=0.01
    )
    assert kept[0]["last"][1]["returns"]["5"] == pytest.approx(shipped["5-early-0"].card["returns"]["5"], abs=0.15)


def test_a_player_shows_text_as_it_is_and_refuses_captions_that_do_not_fit():
    frames = [np.zeros((4, 4, 3), np.uint8)] * 2
    shown = player.make_player(frames, ["<b>1</b>", "</script>"])
    assert "&lt;b&gt;1" in shown and shown.count("</script>") == 1 and "http" not in shown
    for wrong, captions in ((frames, ["one"]), ([], [])):
        with pytest.raises(ValueError, match="caption for each"):
            player.make_player(wrong, captions)
