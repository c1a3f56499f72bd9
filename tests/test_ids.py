"""The ids of samples: kept from the data to the store and back, and held against each other before rows are
compared.
"""

import json
import os
import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sizes import sized

import repsim_nb as rs
from repsim_nb.inputs.store import Activations, Key
from repsim_nb.support.ids import check_ids, ids_fingerprint

GRID = np.arange(60.0).reshape(20, 3)
NAMES = np.array([f"p{i:02d}" for i in range(20)])
KEY, OTHER = Key("a", "l", "d"), Key("b", "l", "d")


# -- data sets


@pytest.mark.parametrize(
    "ids",
    [
        NAMES,
        NAMES.tolist(),
        tuple(NAMES),
        NAMES.astype(object),
        pd.Index(NAMES),
        pd.Series(NAMES),
        range(5, 25),
        np.arange(20, dtype=np.uint8),
        torch.arange(20),
        [np.int32(i) for i in range(20)],
    ],
)
def test_ids_are_strings_or_integers_one_a_sample(ids):
    data = rs.Dataset("d", GRID, ids=ids)
    assert (
        isinstance(data.ids, np.ndarray)
        and data.ids.dtype.kind in "iU"
        and data.ids.tolist() == [i if isinstance(i, str) else int(i) for i in ids]
    )
    with pytest.raises(ValueError, match="read-only"):
        data.ids[0] = data.ids[1]


def test_ids_are_a_copy():
    given = np.arange(20)
    data = rs.Dataset("d", GRID, ids=given)
    given[:] = 0
    assert data.ids.tolist() == list(range(20))


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (range(19), "ids must be one per sample; there are 20 samples and 19 ids"),
        ("p" * 20, "ids must be one per sample, such as"),
        (3, "ids must be one per sample, such as"),
        ([*NAMES[:19], "p03"], r"ids must be unique; 'p03' is the id of 2 samples \(rows 3 and 19\)"),
        ([1] * 20, "ids must be unique; 1 is the id of 20 samples"),
        (
            np.repeat(range(10), 2),
            r"must be unique; 0 is the id of 2 samples \(rows 0 and 1\), and 9 others too: '1', '2', '3' and 6 more",
        ),
        ([*range(19), "a"], "ids must be all strings or all integers; got both"),
        ([*range(19), 0.5], "ids must be strings or integers; got 0.5, which is float"),
        ([*range(19), None], "ids must be strings or integers; got None"),
        ([*range(18), True, False], "got True, which is bool"),
        (np.zeros((20, 2)), r"of shape \(20,\); got shape \(20, 2\)"),
        ([*range(19), 2**70], "ids that are integers must fit into 64 bits"),
        (np.arange(20, dtype=np.uint64) + np.uint64(2**63), "ids that are integers must fit into 64 bits"),
        (GRID[:, 0], "ids must be strings or integers; got 0.0, which is .*float"),
    ],
)
def test_other_ids_are_an_error_that_names_the_data_set(ids, sentence):
    with pytest.raises(ValueError, match=f"dataset 'd': .*{sentence}"):
        rs.Dataset("d", GRID, ids=ids)


def test_a_set_without_ids_has_none():
    data = rs.Dataset("d", GRID)
    assert data.ids is None and data.ids_fingerprint() == "" and data.take([1, 0], "two").ids is None


def test_ids_go_with_their_rows():
    data = rs.Dataset("d", GRID, np.arange(20) % 3, ids=NAMES)
    assert (
        data.take([7, 2], "two").ids.tolist() == ["p07", "p02"]
        and data.take(np.arange(20) % 2 == 0, "even").ids.tolist() == NAMES[::2].tolist()
    )
    assert data.take([-1], "last").ids.tolist() == ["p19"] and data.take([], "none").ids.tolist() == []
    assert data.take([3, 3], "twice").ids is None, "a sample that is there twice has no id of its own"
    assert pickle.loads(pickle.dumps(data)).ids.tolist() == NAMES.tolist()


def test_ids_are_no_part_of_the_fingerprint_of_the_inputs():
    plain, named, numbered = (
        rs.Dataset("d", GRID),
        rs.Dataset("d", GRID, ids=NAMES),
        rs.Dataset("d", GRID, ids=range(20)),
    )
    assert plain.fingerprint() == named.fingerprint() == numbered.fingerprint()
    marks = [
        data.ids_fingerprint()
        for data in (
            plain,
            named,
            numbered,
            rs.Dataset("d", GRID, ids=NAMES[::-1]),
            rs.Dataset("d", GRID, ids=[str(i) for i in range(20)]),
        )
    ]
    assert len(set(marks)) == 5 and marks[0] == "" and all(len(mark) == 32 for mark in marks[1:])


@settings(max_examples=sized(40, 100), deadline=None, database=None)
@given(
    ids=st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), unique=True, max_size=8)
    | st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=8),
    other=st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), unique=True, max_size=8),
)
def test_the_fingerprint_tells_ids_apart(ids, other):
    mine = ids_fingerprint(check_ids(ids, len(ids)))
    assert mine == ids_fingerprint(check_ids(json.loads(json.dumps(ids)), len(ids))) and len(mine) == 32
    assert (mine == ids_fingerprint(check_ids(other, len(other)))) == (ids == other)
    assert len(ids) < 2 or mine != ids_fingerprint(check_ids(ids[::-1], len(ids)))


def test_a_folder_of_images_has_the_names_of_its_files(tmp_path):
    for name in ("cat/10.png", "cat/2.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    data = rs.Dataset("d", tmp_path)
    assert data.ids.tolist() == ["cat/2.png", "cat/10.png", "dog/1.png"] and data.take([2, 0], "two").ids.tolist() == [
        "dog/1.png",
        "cat/2.png",
    ]
    assert rs.Dataset("d", tmp_path, ids=[3, 1, 2]).ids.tolist() == [3, 1, 2] and data.take([0, 0], "twice").ids is None


@pytest.mark.parametrize(
    ("index", "ids"),
    [
        (list("abcd"), list("abcd")),
        ([7, 3, 5, 1], [7, 3, 5, 1]),
        (pd.RangeIndex(10, 14), [10, 11, 12, 13]),
        (None, None),
        (list("abca"), None),
        ([0.5, 1.5, 2.0, 3.0], ["0.5", "1.5", "2.0", "3.0"]),
        (pd.date_range("2020-01-01", periods=4), [f"2020-01-0{i} 00:00:00" for i in (1, 2, 3, 4)]),
        (pd.MultiIndex.from_product([["a", "b"], [1, 2]]), ["('a', 1)", "('a', 2)", "('b', 1)", "('b', 2)"]),
    ],
)
def test_a_frame_has_the_ids_of_its_index(index, ids):
    frame = pd.DataFrame(GRID[:4], index=index)
    for data in (rs.Dataset("d", frame), rs.Dataset("d", pd.Series(["w", "x", "y", "z"], index=index))):
        assert (None if data.ids is None else data.ids.tolist()) == ids
    assert rs.Dataset("d", frame, ids=list("wxyz")).ids.tolist() == list("wxyz")


def test_the_sets_that_ship_count_their_rows():
    whole = rs.load_dataset("mnist")
    few, others = rs.load_dataset("mnist", n=50), rs.load_dataset("mnist", n=50, seed=1)
    assert whole.ids.tolist() == list(range(1000)) and not np.array_equal(few.ids, others.ids)
    for part in (few, others):
        assert np.array_equal(whole.inputs[part.ids], part.inputs) and np.array_equal(
            whole.targets[part.ids], part.targets
        )
    assert (
        rs.load_dataset("photographs", n=3).ids.dtype.kind == "i"
        and rs.load_dataset("glosses", n=5).ids_fingerprint() == rs.load_dataset("glosses-usage", n=5).ids_fingerprint()
    )


# -- activations


def test_activations_keep_the_ids_of_their_samples():
    tokens = KEY._replace(pool="tokens")
    x = Activations(
        {KEY: GRID, OTHER: GRID, tokens: GRID}, {"a": {"seed": 1}}, {KEY: NAMES, tokens: NAMES, OTHER: None}
    )
    assert list(x.ids) == [KEY] and x.ids[KEY].tolist() == NAMES.tolist(), (
        "where every token is a row, ids of samples say nothing of rows"
    )
    assert (
        list(x.where(model="a", pool="flatten").ids) == [KEY]
        and x.where(model="b").ids == {}
        and Activations({KEY: GRID}).ids == {}
    )
    assert list(x.only([KEY]).ids) == [KEY] and x.only([OTHER]).ids == {}
    assert x.only([OTHER, KEY]).facts == {"a": {"seed": 1}} and list(x.only([OTHER, KEY])) == [OTHER, KEY]
    with pytest.raises(ValueError, match="'a/l .d.': ids must be one per sample; there are 20 samples and 3 ids"):
        Activations({KEY: GRID}, ids={KEY: [1, 2, 3]})
    with pytest.raises(KeyError, match="no recording has the key"):
        x.only([Key("c", "l")])


def test_joined_activations_keep_what_either_knows():
    known, unknown, other = (
        Activations({KEY: GRID}, ids={KEY: NAMES}),
        Activations({KEY: GRID}),
        Activations({OTHER: GRID}, ids={OTHER: NAMES[::-1]}),
    )
    for both in (known | unknown, unknown | known, known | known):
        assert both.ids[KEY].tolist() == NAMES.tolist()
    assert list((known | other).ids) == [KEY, OTHER] and list((known | {OTHER: GRID}).ids) == [KEY]
    with pytest.raises(
        ValueError,
        match=(
            "have a recording 'a/l .d.', with different ids: their 20 samples are the same, in another order .row 0 is"
            " 'p00' and 'p19'"
        ),
    ):
        known | Activations({KEY: GRID}, ids={KEY: NAMES[::-1]})


def test_arrays_from_elsewhere_may_have_ids():
    for ids in (NAMES, {"a/l": NAMES, "b/l": NAMES}):
        x = rs.from_arrays({"a/l": GRID, "b/l": GRID}, ids=ids, a={"seed": 3})
        assert {key.model: its.tolist() for key, its in x.ids.items()} == {
            "a": NAMES.tolist(),
            "b": NAMES.tolist(),
        } and x.facts == {"a": {"seed": 3}}
    assert list(rs.from_arrays({"a/l": GRID, "b/l": GRID[:3]}, ids={"b/l": [5, 6, 7]}).ids) == [Key("b", "l")]
    assert rs.from_arrays({"a/l": GRID}).ids == {}
    with pytest.raises(ValueError, match="'b/l': ids must be one per sample; there are 3 samples and 20 ids"):
        rs.from_arrays({"a/l": GRID, "b/l": GRID[:3]}, ids=NAMES)
    with pytest.raises(ValueError, match="unknown array that has ids 'a/m'. Did you mean 'a/l'"):
        rs.from_arrays({"a/l": GRID}, ids={"a/m": NAMES})
    assert x.ids and Activations(dict(x), x.facts, x.ids).ids.keys() == x.ids.keys()
    assert pickle.loads(pickle.dumps(x)).ids[Key("a", "l")].tolist() == NAMES.tolist()


# -- the store


def written(store, key, ids=None, rows=GRID, origin=None, stop=None):
    """A recording by hand; `stop` rows of it only."""
    with store.alone(key):
        writer = store.writer(
            key,
            rows.shape,
            rows.dtype,
            {
                "inputs": "x",
                **(
                    {"ids": ids_fingerprint(check_ids(ids, len(rows)))}
                    if ids is not None and origin is None
                    else origin or {}
                ),
            },
            {},
            place=0,
            ids=ids,
        )
        writer.write(0, rows[:stop])
        if stop is None:
            writer.commit()
        else:
            writer.save_progress()


def ids_files(folder):
    return sorted(path.name for path in folder.glob("*.ids"))


def aged(folder):
    """Nothing in it is so young that somebody may be at work on it."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - 1000,) * 2)


@pytest.mark.parametrize("ids", [NAMES, np.arange(20)[::-1], [f'é\n"{i}' for i in range(20)]])
def test_a_store_gives_back_the_ids(tmp_path, ids):
    for model in "abc":
        written(rs.Store(tmp_path), Key(model, "l", "d"), ids)
    written(rs.Store(tmp_path), Key("plain", "l", "d"))
    again = rs.Store(tmp_path)
    assert {key.model: its.tolist() for key, its in again.ids.items()} == {model: list(ids) for model in "abc"}
    assert len({id(its) for its in again.ids.values()}) == 1
    assert len(ids_files(tmp_path)) == 1, "one file for all recordings on the same samples"
    assert list(again.where(model="a").ids) == [Key("a", "l", "d")] and list(
        (again.where(model="a") | again.where(model="plain")).ids
    ) == [Key("a", "l", "d")]
    assert list(Activations({key: again.find(key) for key in again}).ids) == list(again.ids)
    assert again.size == sum(path.stat().st_size for path in tmp_path.iterdir()) and not again.verify(progress=False)


def test_rows_that_are_tokens_have_no_ids(tmp_path):
    written(rs.Store(tmp_path), KEY._replace(pool="tokens"), NAMES)
    assert rs.Store(tmp_path).ids == {} and not ids_files(tmp_path)


def test_wrong_ids_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="there are 20 samples and 3 ids"):
        rs.Store(tmp_path).writer(KEY, (20, 3), float, {}, {}, place=0, ids=[1, 2, 3])
    assert not list(tmp_path.iterdir())


def test_ids_stay_as_long_as_a_recording_speaks_of_them(tmp_path):
    store = rs.Store(tmp_path)
    written(store, KEY, NAMES)
    written(store, OTHER, NAMES)
    written(store, Key("c", "l", "e"), NAMES[::-1], stop=5)
    both = ids_files(tmp_path)
    aged(tmp_path)
    assert len(both) == 2 and not store.prune(unfinished=False) and ids_files(tmp_path) == both
    assert store.remove(model="a") == 1 and ids_files(tmp_path) == both
    assert store.remove(model="c") == 1 and len(ids_files(tmp_path)) == 1
    assert store.remove(model="b") == 1 and not list(tmp_path.iterdir())


def test_prune_takes_away_ids_that_belong_to_none(tmp_path):
    store = rs.Store(tmp_path)
    written(store, KEY, NAMES)
    written(store, OTHER, NAMES[::-1], stop=5)
    used = ids_files(tmp_path)
    assert not store.prune(unfinished=False)
    dry = store.prune(dry_run=True)
    assert not set(used) & dry.keys(), "those of an unfinished recording are young: somebody may be at work"
    aged(tmp_path)
    dry = store.prune(dry_run=True)
    assert sum(name.endswith(".ids") for name in dry) == 1 and ids_files(tmp_path) == used
    assert store.prune() == dry and len(ids_files(tmp_path)) == 1 and store.ids[KEY].tolist() == NAMES.tolist()
    (tmp_path / "mine.ids").write_text("[]")
    (tmp_path / f".samples.{'0' * 32}.ids.01234567.tmp").write_text("half")
    aged(tmp_path)
    assert list(store.prune()) == [f".samples.{'0' * 32}.ids.01234567.tmp"] and (tmp_path / "mine.ids").exists(), (
        "what no Store made stays"
    )


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_text("[1"),
        lambda path: path.unlink(),
        lambda path: path.write_text("[1, 2]"),
        lambda path: path.write_text('{"a": 1}'),
        lambda path: path.write_bytes(b"\xff\xfe"),
    ],
)
def test_damaged_ids_are_named_not_read_and_written_again(tmp_path, harm):
    store = rs.Store(tmp_path)
    written(store, KEY, NAMES)
    (name,) = ids_files(tmp_path)
    harm(tmp_path / name)
    store = rs.Store(tmp_path)
    with pytest.warns(
        UserWarning,
        match=rf"{name}, which contains the ids of samples, is (damaged|missing).*read without ids. Record one",
    ):
        assert store.ids == {}
    assert list(store.verify(progress=False)) == [name] and np.array_equal(store[KEY], GRID)
    with pytest.warns(UserWarning, match="is (damaged|missing)"):
        assert not store.holds(KEY, {"inputs": "x", "ids": ids_fingerprint(NAMES)})
    assert store.holds(KEY, {"inputs": "x"}), "whoever asks for no ids may have the rest"
    written(store, KEY, NAMES)
    assert store.ids[KEY].tolist() == NAMES.tolist() and not store.verify(progress=False)


def test_prune_takes_away_damaged_ids(tmp_path):
    store = rs.Store(tmp_path)
    written(store, KEY, NAMES)
    (name,) = ids_files(tmp_path)
    (tmp_path / name).write_text("[]")
    assert list(store.prune()) == [name] and np.array_equal(store[KEY], GRID)


def test_ids_belong_to_what_a_recording_is_made_from(tmp_path):
    store = rs.Store(tmp_path)
    written(store, KEY, NAMES)
    assert (
        store.holds(KEY, {"inputs": "x", "ids": ids_fingerprint(NAMES)})
        and store.holds(KEY, {"inputs": "x", "ids": ""})
        and store.holds(KEY, {"inputs": "x"})
    )
    with pytest.raises(ValueError, match="already has 'a/l .d.', recorded with other ids. Give the data another name"):
        store.holds(KEY, {"inputs": "x", "ids": ids_fingerprint(check_ids(NAMES[::-1], 20))})


def test_a_recording_of_an_earlier_version_has_no_ids_and_is_held(tmp_path):
    store = rs.Store(tmp_path)
    written(store, KEY)
    assert store.ids == {} and store.holds(KEY, {"inputs": "x", "ids": ids_fingerprint(NAMES)})
    written(store, OTHER, stop=7)
    with store.alone(OTHER):
        writer = store.writer(OTHER, GRID.shape, GRID.dtype, {"inputs": "x"}, {}, place=0, ids=NAMES)
        assert writer.rows == 7, "what was begun goes on"
        writer.write(7, GRID[7:])
        writer.commit()
    assert np.array_equal(store[OTHER], GRID) and store.ids[OTHER].tolist() == NAMES.tolist()


def test_a_recording_on_other_samples_does_not_go_on(tmp_path):
    store = rs.Store(tmp_path)
    written(store, KEY, NAMES, stop=7, origin={})
    with store.alone(KEY):
        assert store.writer(KEY, GRID.shape, GRID.dtype, {"inputs": "x"}, {}, place=0, ids=NAMES).rows == 7
        assert store.writer(KEY, GRID.shape, GRID.dtype, {"inputs": "x"}, {}, place=0, ids=NAMES[::-1]).rows == 0


def test_ids_that_went_away_meanwhile_are_there_when_the_recording_is(tmp_path):
    store = rs.Store(tmp_path)
    with store.alone(KEY):
        writer = store.writer(KEY, GRID.shape, GRID.dtype, {"inputs": "x"}, {}, place=0, ids=NAMES)
        writer.write(0, GRID)
        for path in tmp_path.glob("*.ids"):
            path.unlink()
        writer.commit()
    assert store.ids[KEY].tolist() == NAMES.tolist()


# -- comparing


def side(model, ids, rows=None):
    rows = np.random.default_rng(len(model)).normal(size=(len(ids) if rows is None else rows, 4))
    key = Key(model, "l", "d")
    return Activations({key: rows}, ids={key: ids} if ids is not None else None)


def test_the_same_samples_are_compared():
    x, y, z = side("a", NAMES), side("bb", NAMES.tolist()), side("ccc", None, 20)
    assert rs.compare("cka", x, y).n == rs.compare("cka", x | y).n == 20
    assert rs.compare("cka", x, z).n == rs.compare("cka", x | y | z).n == 20, "where ids are unknown nothing is checked"
    plain = {key: np.asarray(array) for key, array in side("bb", NAMES[::-1]).items()}
    assert rs.compare("cka", x, plain).n == 20, "and plain arrays have none"
    with pytest.raises(ValueError, match="in another order"):
        rs.compare("cka", x, dict(side("bb", NAMES[::-1])))


@pytest.mark.parametrize(
    ("ids", "words", "common"),
    [
        (NAMES[::-1], "their 20 samples are the same, in another order .row 0 is 'p00' and 'p19'.", 20),
        (
            np.r_[NAMES[10:], [f"q{i}" for i in range(10)]],
            "their samples differ .20 ids and 20 ids, 10 of them common.",
            10,
        ),
        (NAMES[5:17], "their samples differ .20 ids and 12 ids, 12 of them common.", 12),
        ([f"q{i}" for i in range(20)], "their samples differ .20 ids and 20 ids, 0 of them common.", 0),
        (range(20), "the ids of one are strings and of the other integers .*'p00'.* and .*0", 0),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_other_samples_are_not_compared(ids, words, common, together):
    x, y = side("a", NAMES), side("bb", ids)
    sides = [x | y] if together else [x, y]
    with pytest.raises(
        ValueError, match=f"needs the same samples.*'a/l' and 'bb/l' {words}.*rs.align.xs{'' if together else ', ys'}."
    ) as caught:
        rs.compare("cka", *sides)
    if not common:
        assert "Give both the same ids" in str(caught.value)
        return
    i, j = np.intersect1d(NAMES, np.asarray(ids), return_indices=True)[1:]
    right = rs.compare("cka", {"a": x["l"][i]}, {"b": y["l"][j]}).values.iloc[0, 0]
    aligned = rs.align(*sides)
    value = (
        rs.compare("cka", aligned.where(model="a"), aligned.where(model="bb"))
        if together
        else rs.compare("cka", *aligned)
    )
    assert value.n == common and value.values.iloc[0, 0] == pytest.approx(right)


def test_ids_on_disk_are_checked_too(tmp_path):
    written(rs.Store(tmp_path), KEY, NAMES)
    written(rs.Store(tmp_path), OTHER, NAMES[::-1])
    store = rs.Store(tmp_path)
    with pytest.raises(ValueError, match="'a/l' and 'b/l' their 20 samples are the same, in another order"):
        rs.compare("cka", store)
    with pytest.raises(ValueError, match="in another order"):
        rs.compare("cka", store.where(model="a"), store.where(model="b"))
    assert rs.compare("cka", store.where(model="a")).n == 20


@pytest.mark.parametrize(
    "entrance",
    [
        lambda x: rs.inference.null_table("cka", x),
        lambda x: rs.trajectories.compare_to_final("cka", x),
        lambda x: rs.inference.chance_values("cka", x, n_pairs=2),
        lambda x: rs.grounding.specificity(x, model="step", per="layer"),
    ],
)
def test_whatever_compares_rows_checks_the_ids(entrance):
    keys = [Key("a", layer, "d", step) for layer in ("l", "m") for step in (0, 1)]
    arrays = {key: np.random.default_rng(k).normal(size=(20, 4)) for k, key in enumerate(keys)}
    entrance(Activations(arrays, ids=dict.fromkeys(keys, NAMES)))
    with pytest.raises(ValueError, match="every representation needs the same samples.*in another order"):
        entrance(Activations(arrays, ids={key: NAMES if key.step else NAMES[::-1] for key in keys}))


def test_explorers_check_the_ids():
    x = side("a", NAMES) | side("bb", NAMES[::-1])
    e = rs.explorers.comparison(x)
    with pytest.raises(ValueError, match="in another order"):
        e.wait()
    with pytest.raises(ValueError, match="in another order"):
        rs.explorers.embedding_map(x | side("ccc", NAMES)).wait()


def test_sets_whose_rows_correspond_are_compared_under_one_name():
    """The ids of corrupted copies of the same images agree, or nobody knows them."""
    data = rs.load_dataset("mnist", n=30)
    noisy = rs.Dataset(data.name, 255 - data.inputs, data.targets, data.classes, data.ids)
    unknown = rs.Dataset(data.name, 255 - data.inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        one, *others = (
            rs.record("zoo:mnist-mlp-0", given, ["output"], progress=False) for given in (data, noisy, unknown)
        )
    for other in others:
        assert rs.compare("cka", one, other).n == 30
