"""An array of a recording keeps the ids of its samples, so two arrays in different orders are refused."""

import copy
import pickle

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb.support.ids import ids_of

NAMES = [f"s{k}" for k in range(30)]
ORDER = np.random.default_rng(3).permutation(30)


def recordings(kind, tmp_path):
    """The same layer recorded twice, the second time on the samples in another order."""
    x = np.random.default_rng(0).normal(size=(30, 4))
    if kind == "store":
        model = torch.nn.Sequential(torch.nn.Linear(4, 5))
        inputs = x.astype(np.float32)
        return [
            rs.record(model, rs.Dataset(name, inputs[which], ids=np.array(NAMES)[which]), into=tmp_path)["output"]
            for name, which in (("one", np.arange(30)), ("two", ORDER))
        ]
    make = {"memory": lambda y: y, "tensor": torch.from_numpy}[kind]
    orders = (np.arange(30), ORDER)
    return [rs.from_arrays({"m/fc": make(x[order])}, ids=[NAMES[k] for k in order])["fc"] for order in orders]


CALLS = {
    "measure": lambda x, y: rs.measures.get("cka")(x, y),
    "table": lambda x, y: rs.measures.get("cka").table([x], [y]),
    "compare": lambda x, y: rs.compare("cka", {"x": x, "y": y}),
    "permutation_test": lambda x, y: rs.inference.permutation_test("cka", x, y),
    "null_moments": lambda x, y: rs.inference.null_moments("cka", x, y),
    "interval": lambda x, y: rs.inference.interval("cka", x, y),
    "influence": lambda x, y: rs.inference.influence("cka", x, y),
    "diagnose": lambda x, y: rs.reliability.diagnose(x, y),
    "from_arrays": lambda x, y: rs.compare("cka", rs.from_arrays({"a/fc": x, "b/fc": y})),
}


@pytest.mark.parametrize("kind", ["memory", "tensor", "store"])
@pytest.mark.parametrize("call", CALLS)
def test_arrays_of_samples_in_another_order_are_refused(call, kind, tmp_path):
    x, y = recordings(kind, tmp_path)
    with pytest.raises(ValueError, match=r"in another order \(row \d+ is 's\d+' and 's\d+'\).*rs\.align"):
        CALLS[call](x, y)


@pytest.mark.parametrize("kind", ["memory", "tensor", "store"])
def test_aligned_arrays_have_the_right_value_and_plain_ones_the_value_of_their_rows(kind, tmp_path):
    x, y = recordings(kind, tmp_path)
    cka = rs.measures.get("cka")
    a, b = rs.align(x, y)
    assert ids_of(b).tolist() == NAMES and cka(a, b) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match=r"pass np\.asarray\(x\)"):
        cka(x, y)
    assert cka(np.asarray(x), np.asarray(y)) < 0.6


def test_selected_rows_keep_their_ids(tmp_path):
    x, y = recordings("memory", tmp_path)
    assert ids_of(x[5:8]).tolist() == NAMES[5:8] and ids_of(x[:, :2]).tolist() == NAMES
    assert rs.measures.get("cka")(x[ORDER], y) == pytest.approx(1)  # row i is the same sample again
    drawn = [0, 0, 1, 5, 7, 9]  # as in a bootstrap
    assert rs.measures.get("cka")(x[drawn], x[drawn]) == pytest.approx(1)
    with pytest.raises(ValueError, match="in another order"):
        rs.measures.get("cka")(x[drawn], x[drawn[::-1]])
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    assert ids_of(z).tolist() == NAMES and type(x.mean()) is np.float64 and ids_of(x.T @ x) is None
    assert ids_of(x[:, None] + 1).tolist() == NAMES and ids_of(x - x[ORDER]) is None


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_keep_ids(twin, tmp_path):
    x, _ = recordings("memory", tmp_path)
    assert ids_of(twin(x)).tolist() == NAMES


def test_ids_of_an_array_go_into_a_recording_and_its_data_are_unchanged(tmp_path):
    x, _ = recordings("memory", tmp_path)
    again = rs.from_arrays({"m/part": x[:10]})
    assert again.ids[rs.Key("m", "part")].tolist() == NAMES[:10]
    tensor = torch.zeros(30, 2)
    assert ids_of(rs.from_arrays({"m/fc": tensor}, ids=NAMES)["fc"]).tolist() == NAMES and not hasattr(tensor, "ids")
