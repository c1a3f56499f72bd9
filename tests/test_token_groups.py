"""Groups of rows: recordings of tokens know the sample of each row, in memory and on disk, and the arrays carry
them.
"""

import copy
import json
import os
import pickle
import time

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.store import Key, entries
from repsim_nb.support.row_groups import groups_fingerprint, stored_groups
from repsim_nb.support.row_labels import RowMap, attach_labels
from repsim_nb.support.transport import has_address, pack, unpack
from repsim_nb.support.validation import check_labels

LENGTHS = [5, 3, 5, 5, 2, 5, 4]
TEXTS = list("gfedcba")


class Tokens(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.block = nn.Embedding(20, 8), nn.Linear(8, 6)

    def forward(self, input_ids, attention_mask=None):
        return self.block(self.embed(input_ids)).relu()


def texts(ids=TEXTS, lengths=LENGTHS, name="texts"):
    g = torch.Generator().manual_seed(1)
    columns = torch.randint(1, 20, (len(lengths), 5), generator=g)
    mask = (torch.arange(5) < torch.tensor(lengths)[:, None]).long()
    return rs.Dataset(name, {"input_ids": columns, "attention_mask": mask}, ids=ids)


def recorded(data=None, into=None, name="m", seed=0):
    return rs.record(
        rs.load_model(Tokens(seed), name=name),
        texts() if data is None else data,
        ["embed", "block"],
        pool="tokens",
        into=into,
        progress=False,
    )


def labels(lengths=LENGTHS, ids=TEXTS):
    return np.repeat(ids, lengths).tolist()


def group_files(folder):
    return [name for name in os.listdir(folder) if name.endswith(".groups")]


# -- recordings


def test_rows_of_tokens_know_their_sample_by_its_id_or_else_its_number():
    x = recorded()
    assert [x.groups[key].tolist() for key in x] == [labels()] * 2 and x.ids == {}
    assert x["block"].groups is x["embed"].groups and x["block"].groups.tolist() == labels()
    assert recorded(texts(ids=None))["block"].groups.tolist() == np.repeat(np.arange(7), LENGTHS).tolist()
    with pytest.raises(ValueError, match="read-only"):
        x["block"].groups[0] = "z"


def test_places_of_a_picture_are_of_their_picture():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 2, stride=2))
    x = rs.record(
        rs.load_model(net, name="c"), rs.Dataset("d", torch.rand(6, 1, 8, 8)), ["0", "2"], pool="tokens", progress=False
    )
    assert (
        x["0"].groups.tolist() == np.repeat(np.arange(6), 36).tolist()
        and x["2"].groups.tolist() == np.repeat(np.arange(6), 9).tolist()
    )


def test_pooled_rows_have_no_groups():
    x = rs.record(rs.load_model(Tokens(), name="m"), texts(), ["block"], pool="mean", progress=False)
    assert x.groups == {} and getattr(x["block"], "groups", None) is None and x.ids


def test_a_store_keeps_them_in_one_small_file(tmp_path):
    x, store = recorded(into=tmp_path), rs.Store(tmp_path)
    for given in (x, store, store.where(layer="*"), store | x, rs.Store(tmp_path).only(list(store))):
        assert {key: its.tolist() for key, its in given.groups.items()} == dict.fromkeys(store, labels())
        assert all(given[key].groups.tolist() == labels() for key in given)
    (name,) = group_files(tmp_path)
    assert name == f"rows.{groups_fingerprint(store['block'].groups)}.groups" and store.size == sum(
        f.stat().st_size for f in tmp_path.iterdir()
    )
    assert store.verify(progress=False) == {} and store.prune() == {} and group_files(tmp_path) == [name]
    store.remove(layer="embed")
    assert group_files(tmp_path) == [name]
    store.remove(layer="block")
    assert group_files(tmp_path) == []


def test_a_damaged_file_is_named_and_made_again(tmp_path):
    recorded(into=tmp_path)
    path = tmp_path / group_files(tmp_path)[0]
    right = path.read_text()
    wrong = json.loads(right)
    wrong["labels"][0] = "q"
    for text in (json.dumps(wrong), "[]", "{", json.dumps({"labels": ["a"], "rows": ["b"]})):
        path.write_text(text)
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        store = rs.Store(tmp_path)
        assert list(store.verify(progress=False)) == [path.name]
        with pytest.warns(UserWarning, match="contains the groups of rows, is damaged"):
            assert store["block"].groups is None if hasattr(store["block"], "groups") else True
        assert store.prune(dry_run=True) == {path.name: len(text)}
        with pytest.warns(UserWarning, match="contains the groups of rows, is damaged"):
            recorded(into=tmp_path)
        assert path.read_text() == right and rs.Store(tmp_path)["block"].groups.tolist() == labels()
    path.unlink()
    with pytest.warns(UserWarning, match="is missing"):
        assert rs.Store(tmp_path).groups == {}


def test_a_recording_that_goes_on_has_them(tmp_path):
    def fail():
        raise RuntimeError("stop")

    net = Tokens()

    def go(calls):
        left = iter(range(calls))
        net.block.register_forward_hook(lambda *_: None if next(left, None) is not None else fail())
        return rs.record(
            rs.load_model(net, name="m"), texts(), ["block"], pool="tokens", into=tmp_path, batch_size=1, progress=False
        )

    needed = 0
    for calls in range(4, 60):  # the probe takes some
        try:
            x = go(calls)
            break
        except ValueError:
            net.block._forward_hooks.clear()
            needed += bool(rs.Store(tmp_path).unfinished())
            if needed:
                assert len(group_files(tmp_path)) == 1
                rs.Store(tmp_path).prune(unfinished=False)
                assert len(group_files(tmp_path)) == 1, "an unfinished recording uses it"
    assert needed and x["block"].groups.tolist() == rs.Store(tmp_path)["block"].groups.tolist() == labels()


def test_stores_of_an_earlier_version_open_and_records_of_them_know_the_groups(tmp_path):
    recorded(into=tmp_path)
    for path in tmp_path.glob("*.json"):
        record = json.loads(path.read_text())
        record.pop("groups")
        path.write_text(json.dumps(record))
    (tmp_path / group_files(tmp_path)[0]).unlink()
    store = rs.Store(tmp_path)
    assert store.groups == {} and getattr(store["block"], "groups", None) is None and store.verify(progress=False) == {}
    x = recorded(into=tmp_path)
    assert x["block"].groups.tolist() == labels() and rs.compare("cka", x, store).values.iloc[0, 0] == pytest.approx(1)


# -- other rows are refused


def test_rows_of_other_groups_are_not_compared(tmp_path):
    x = recorded(texts(ids=TEXTS))
    other = recorded(texts(ids=list("gfedcbz")), name="n", into=tmp_path)
    with pytest.raises(
        ValueError, match=r"of different groups: row 25 is of the group 'a' in one and 'z' in the other"
    ):
        rs.compare("cka", x, other)
    unnamed = recorded(texts(ids=None), name="n")
    assert rs.compare("cka", x, unnamed).values.shape == (2, 2), "no ids on one side: the cuts agree"
    cut = rs.from_arrays(
        {"n/l": np.random.default_rng(0).normal(size=(29, 3))}, groups=np.repeat(np.arange(7), [5, 4, 4, 5, 2, 5, 4])
    )
    with pytest.raises(ValueError, match="row 8 is of the group 'e' in one and 1 in the other"):
        rs.compare("cka", x, cut)
    with pytest.raises(ValueError, match="row 8 is of the group 'e' in one and 1 in the other"):
        rs.compare("cka", {"a": x["embed"]}, {"b": cut["n/l"]})


def test_a_shared_number_of_rows_is_no_alignment():
    x, y = (
        rs.from_arrays({f"{m}/l": np.eye(6)}, groups=g)
        for m, g in (("a", [1, 1, 2, 2, 3, 3]), ("b", [1, 1, 1, 2, 2, 2]))
    )
    with pytest.raises(ValueError, match="row 2 is of the group 2 in one and 1 in the other"):
        rs.compare("cka", x, y)
    with pytest.raises(ValueError, match="row 2 is of the group 2"):
        rs.compare("cka", x | y)


# -- from_arrays, where, only, |


@pytest.mark.parametrize(
    "groups",
    [
        [3, 3, 5, 5],
        np.array([3, 3, 5, 5], np.uint8),
        torch.tensor([3, 3, 5, 5]),
        torch.tensor([[3], [3], [5], [5]]),
        pd.Series([3, 3, 5, 5], index=list("abcd")),
        np.array([3.0, 3, 5, 5]),
        pd.DataFrame({"g": [3, 3, 5, 5]}).to_numpy(),
    ],
)
def test_labels_are_one_a_row_of_many_kinds(groups):
    x = rs.from_arrays({"a/l": np.eye(4), "b/l": torch.eye(4)}, groups=groups)
    assert x["a/l"].groups.tolist() == x["b/l"].groups.tolist() == [3, 3, 5, 5] and x["a/l"].groups.dtype == np.int64


def test_labels_in_words():
    words = ["sit", "sit", "stand", "sit"]
    for groups in (words, pd.Categorical(words), np.array(words, object), pd.Index(words)):
        assert rs.from_arrays({"a/l": np.eye(4)}, groups=groups)["a/l"].groups.tolist() == words


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ([1, 2, 3], "needs one label for each of 4; there are 3"),
        (np.ones((4, 2)), r"got shape \(4, 2\)"),
        ("abcd", "got str 'abcd'"),
        (7, "got int 7"),
        (np.array([np.nan, 1, 1, 1]), "the first in row 0"),
        ([1, 1, 2, None], "1 of 4 groups are undefined .*the first in row 3"),
        ([1, 1, 2, np.nan], "1 of 4 groups are undefined .*the first in row 3"),
        ({"c": [1] * 4}, "array that has groups 'c'"),
    ],
)
def test_labels_that_are_none_are_refused_in_words(groups, sentence):
    with pytest.raises(ValueError, match=sentence):
        rs.from_arrays({"a/l": np.eye(4), "b/l": np.eye(4)}, groups=groups)


def test_they_stay_with_their_array():
    x = rs.from_arrays({"a/l": np.eye(4), "b/l": np.eye(4) + 1}, groups={"a/l": list("ppqq")})
    assert list(x.groups) == [Key("a", "l")] and not hasattr(x["b/l"], "groups")
    for part in (
        x.where(model="a"),
        x.only(["a/l"]),
        x.only(["a/l"]) | x.where(model="b"),
        copy.copy(x),
        pickle.loads(pickle.dumps(x)),
        rs.from_arrays({"a/l": x["a/l"]}),
    ):
        assert part["a/l"].groups.tolist() == list("ppqq") and list(part.groups) == [Key("a", "l")]
    bare = rs.from_arrays({"a/l": np.eye(4)})
    assert (x | bare)["a/l"].groups.tolist() == (bare | x)["a/l"].groups.tolist() == list("ppqq")
    with pytest.raises(ValueError, match="have a recording 'a/l', with different groups: row 1"):
        x | rs.from_arrays({"a/l": np.eye(4)}, groups=list("pqqq"))


# -- arrays that carry them


def carried(x):
    return None if (groups := getattr(x, "groups", None)) is None else groups.tolist()


@pytest.fixture(params=["memory", "disk"])
def six(request, tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 6))
    if request.param == "disk":
        np.save(tmp_path / "x.npy", values)
        values = np.lib.format.open_memmap(tmp_path / "x.npy", mode="r")
    return attach_labels(values, groups=stored_groups(check_labels(list("aabbcc"), 6, "groups")))


def test_results_carry_them_only_with_the_same_rows(six):
    kept = [
        six.copy(),
        six.astype(np.float32),
        six[:],
        six[:, 2:],
        six[:, [0, 3]],
        six.reshape(6, 2, 3),
        six - six.mean(0),
        np.maximum(six, 0),
        six * 2,
        copy.deepcopy(six),
        six > 0,
    ]
    assert [carried(x) for x in kept] == [list("aabbcc")] * len(kept)
    dropped = [
        six.T,
        six @ six,
        six.T @ six,
        six.sum(0),
        six.sum(0, keepdims=True),
        np.sort(six, 0),
        np.cumsum(six, 0),
        six.reshape(3, 12),
        six[None],
        np.asarray(six),
        six.swapaxes(0, 1),
        np.concatenate([six, six]),
        np.add.reduce(six[:, :, None] * np.ones(6), axis=0),
        np.linalg.svd(six)[0],
        six[2],
        six[:, 0, :] if six.ndim > 2 else six[0],
    ]
    assert [carried(x) for x in dropped] == [None] * len(dropped)
    assert isinstance(six.max(), float) and np.array_equal(six - 1, np.asarray(six) - 1)


def test_chosen_rows_have_their_own(six):
    assert [carried(six[rows]) for rows in (slice(None, None, -1), [5, 0], np.arange(6) < 3, slice(1, 3))] == [
        list("ccbbaa"),
        ["c", "a"],
        list("aab"),
        list("ab"),
    ]
    wide = six.reshape(6, 3, 2)
    assert carried(wide[[0, 5]]) == ["a", "c"] and carried(wide[:, [0], :][:, :, [1]]) == list("aabbcc")
    assert carried(wide[:, [0, 1], [0, 1]]) is None


def test_they_travel(six):
    for protocol in (2, 5):
        back = pickle.loads(pickle.dumps(six, protocol))
        assert np.array_equal(back, six) and carried(back) == list("aabbcc")


def test_a_file_is_still_a_file(tmp_path):
    recorded(into=tmp_path)
    store = rs.Store(tmp_path)
    x = store["block"]
    assert (
        isinstance(x, RowMap)
        and isinstance(x, np.memmap)
        and has_address(x)
        and has_address(x[3:9])
        and not x.flags.writeable
    )
    assert (
        entries.find_file(x) == (tmp_path / os.path.basename(x.filename)).resolve()
        and entries.find_file(x[3:9]) is None
    )
    assert np.array_equal(unpack(pack(x[3:9])), x[3:9])
    again = rs.from_arrays({"m/block": x})
    assert again["m/block"].groups.tolist() == labels()


def test_tables_are_the_same_with_them_and_without():
    g = np.random.default_rng(0)
    plain = {f"m/{i}": g.normal(size=(40, 7)) for i in range(4)}
    x = rs.from_arrays(plain, groups=np.arange(40) // 4)
    for measure in ("cka", "cka_debiased", "procrustes", "rsa", "mutual_knn", "mean_cca"):
        assert np.array_equal(rs.compare(measure, x).values.to_numpy(), rs.compare(measure, plain).values.to_numpy()), (
            measure
        )


def test_numpy_reads_such_arrays_as_any_other():
    plain = np.random.default_rng(0).normal(size=(6, 3))
    x = attach_labels(plain.copy(), groups=np.repeat([0, 1, 2], 2))
    assert np.allclose(x, plain) and np.isclose(x, plain).all() and np.array_equal(x, plain)
    assert x[()].groups.tolist() == [0, 0, 1, 1, 2, 2] and x[...].shape == (6, 3) and x[None].shape == (1, 6, 3)
    for function in (
        np.linalg.norm,
        np.median,
        np.cov,
        np.corrcoef,
        np.sort,
        np.unique,
        np.histogram,
        np.percentile,
        np.linalg.svd,
    ):
        arguments = (x, 50) if function is np.percentile else (x,)
        expected = function(*((plain, 50) if function is np.percentile else (plain,)))
        for one, other in zip(
            np.atleast_1d(function(*arguments)) if not isinstance(expected, tuple) else function(*arguments),
            np.atleast_1d(expected) if not isinstance(expected, tuple) else expected,
            strict=True,
        ):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other))
