"""Trials of one condition become one sample, whose id is the condition."""

import numpy as np
import pandas as pd
import pytest
import torch

import repsim_nb as rs

rng = np.random.default_rng(0)
LABELS = np.array(["dog", "cat", "dog", "owl", "cat", "dog", "cow"])  # unbalanced
TRIALS = rng.normal(size=(7, 3, 2))
NAMES = ["dog", "cat", "owl", "cow"]
MEANS = np.array([TRIALS[name == LABELS].mean(axis=0) for name in NAMES])


def test_each_condition_is_the_mean_of_all_its_trials():
    found = rs.average_conditions(TRIALS, LABELS)
    np.testing.assert_allclose(found, MEANS, atol=1e-15)
    assert found.ids.tolist() == NAMES, "in the order in which they appear"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tensors(dtype):
    found = rs.average_conditions(torch.from_numpy(TRIALS).to(dtype), LABELS)
    assert found.dtype == dtype
    assert found.ids.tolist() == NAMES
    np.testing.assert_allclose(found.numpy(), MEANS, atol=1e-6)


def test_integers_and_half_precision_keep_their_digits():
    counts = np.array([[1], [2], [4]])
    assert rs.average_conditions(counts, [7, 7, 3]).tolist() == [[1.5], [4.0]]
    assert rs.average_conditions(counts, [7, 7, 3]).ids.tolist() == [7, 3]
    assert rs.average_conditions(counts.astype(np.float16), [1, 1, 2]).dtype == float
    assert rs.average_conditions(counts.astype(np.float32), [1, 1, 2]).dtype == np.float32


def test_containers_stay_what_they_are():
    flat = TRIALS.reshape(7, -1)
    frame = rs.average_conditions(pd.DataFrame(flat, columns=list("abcdef")), LABELS)
    assert (frame.index.tolist(), frame.columns.tolist()) == (NAMES, list("abcdef"))
    np.testing.assert_allclose(frame, MEANS.reshape(4, -1))
    several = rs.average_conditions({"a": flat, "b": frame.iloc[[0] * 7].reset_index(drop=True)}, LABELS)
    assert list(several) == ["a", "b"]
    assert isinstance(rs.average_conditions([flat, flat], LABELS), list)
    xs = rs.from_arrays({"net/one": flat, "net/two": flat**2}, groups=LABELS, net={"accuracy": 1})
    found = rs.average_conditions(xs, LABELS)
    assert found.ids[rs.Key("net", "two")].tolist() == NAMES
    assert (found.facts, found.groups) == (xs.facts, {})
    np.testing.assert_allclose(found["net/two"][1], (flat**2)[[1, 4]].mean(axis=0))


def test_two_experiments_meet_by_their_conditions():
    other = rng.permutation(7)
    a, b = rs.average_conditions(TRIALS, LABELS), rs.average_conditions(TRIALS[other], LABELS[other])
    if a.ids.tolist() != b.ids.tolist():
        with pytest.raises(ValueError, match=r"rs\.align"):
            rs.measures.get("cka")(a, b)
    assert rs.measures.get("cka")(*rs.align(a, b)) == pytest.approx(1)


def test_what_cannot_be_averaged():
    with pytest.raises(ValueError, match="'x': conditions needs one label for each of 7"):
        rs.average_conditions(TRIALS, LABELS[:3])
    with pytest.raises(ValueError, match="1 of 7 conditions are undefined"):
        rs.average_conditions(TRIALS, [*LABELS[:6], None])
    with pytest.raises(rs.measures.UndefinedError, match="'a': it is an RDM"):
        rs.average_conditions({"a": rs.RDM([1.0, 2.0, 3.0])}, [1, 1, 2])
    tokens = rs.Activations({rs.Key("net", "fc", "", 0, "tokens"): TRIALS})
    with pytest.raises(ValueError, match="one for each token"):
        rs.average_conditions(tokens, LABELS)
    index = pd.DataFrame(TRIALS.reshape(7, -1), index=[f"t{i}" for i in range(7)])
    with pytest.raises(ValueError, match="labels must be in the order of the samples"):
        rs.average_conditions(index, pd.Series(LABELS, index=index.index[::-1]))
