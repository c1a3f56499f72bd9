"""Rows in groups: block means, chance levels, sample sets; and arrays whose rows are moved in place."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sizes import sized

import repsim_nb as rs
from repsim_nb.measures.between import between_groups
from repsim_nb.results.inference import block_means, chance_values, interval, rank_correlation, sample_sets
from repsim_nb.results.inference.grouped_rows import codes_of
from repsim_nb.support.ids import ids_of
from repsim_nb.support.row_groups import groups_of, stored_groups
from repsim_nb.support.row_labels import attach_labels
from repsim_nb.support.validation import check_labels

SIZE, NUMBER = 4, 24
ROWS = np.repeat(np.arange(NUMBER), SIZE)
UNLIKE = np.repeat(np.arange(NUMBER), [3, 5] * (NUMBER // 2))
ITEMS = ["p", "p", "q", "q"]
CKA = rs.measures.get("cka_debiased")


def grouped(seed=0, codes=ROWS, names="abcd", shared=1.0, within=0.9):
    """Items that share some of their group effects, {name: (n, 6)}."""
    rng = np.random.default_rng(seed)
    effect = shared * rng.normal(size=(codes.max() + 1, 6))
    effects = {name: effect + rng.normal(size=effect.shape) for name in names}
    return {
        name: within**0.5 * its[codes] + (1 - within) ** 0.5 * rng.normal(size=(len(codes), 6))
        for name, its in effects.items()
    }


def recording(xs, codes=ROWS):
    return rs.from_arrays({f"{name}/l": x for name, x in xs.items()}, groups=codes)


# -- block means


def test_block_means_leave_out_whole_groups_and_pairs_within_them():
    xs, parts, seed = grouped(), 6, 3
    found = block_means("cka_debiased", xs, ITEMS, row_groups=ROWS, parts=parts, seed=seed, level=0.9)
    part = (np.random.default_rng(seed).permutation(NUMBER) % parts)[ROWS]
    form = between_groups(CKA)

    def mean(kept):
        return np.mean([form(xs[one][kept], xs[other][kept], ROWS[kept]) for one in "ab" for other in "cd"])

    without = np.array([mean(part != k) for k in range(parts)])
    reach = stats.t.ppf(0.95, parts - 1) * np.sqrt((parts - 1) / parts * ((without - without.mean()) ** 2).sum())
    row = found.loc[("p", "q")]
    assert row["mean"] == pytest.approx(mean(part >= 0), rel=1e-12)
    assert [row["low"], row["high"]] == pytest.approx([row["mean"] - reach, row["mean"] + reach], rel=1e-9)
    assert row["pairs"] == 4 and found.loc[("p", "p"), "mean"] == pytest.approx(form(xs["a"], xs["b"], ROWS), rel=1e-12)


def test_block_means_use_the_groups_that_arrays_carry():
    xs = grouped()
    carried = block_means("cka_debiased", recording(xs), ITEMS, parts=6)
    given = block_means("cka_debiased", xs, ITEMS, row_groups=[f"s{k}" for k in ROWS], parts=6)
    np.testing.assert_allclose(carried, given, rtol=1e-12)
    single = block_means("cka_debiased", recording(xs), ITEMS, row_groups=range(len(ROWS)), parts=6)
    pd.testing.assert_frame_equal(
        single, block_means("cka_debiased", recording(xs, None), ITEMS, row_groups=range(len(ROWS)), parts=6)
    )
    wide = given["high"] - given["low"], single["high"] - single["low"]
    assert not np.allclose(single["mean"], given["mean"], atol=1e-3) and not np.allclose(*wide)


@pytest.mark.parametrize("measure", ["cka", "procrustes", "mutual_knn"])
def test_block_means_of_a_measure_without_that_form_are_refused(measure):
    with pytest.raises(
        ValueError, match=r"has no form without the pairs of rows within a group.*row_groups=range\(n\)"
    ):
        block_means(measure, recording(grouped()), ITEMS, parts=6)
    assert len(block_means(measure, recording(grouped()), ITEMS, row_groups=range(len(ROWS)), parts=6)) == 3


def test_block_means_count_groups_for_parts():
    with pytest.raises(ValueError, match="parts must be at most 24, the number of groups of rows; got 25"):
        block_means("rsa", recording(grouped()), ITEMS, parts=25)
    with pytest.raises(
        ValueError, match="without one of 2 parts 3 of 6 groups of rows are left, but rsa needs at least 4"
    ):
        block_means("rsa", grouped(), ITEMS, row_groups=ROWS // 4, parts=2)


def test_block_means_hold_the_population_value():
    """Groups of equal rows but for noise: without the groups, intervals are far too narrow, or elsewhere."""
    right = block_means("cka_debiased", grouped(99, np.arange(4000), "ab", within=0.9), ["p", "p"], parts=5)[
        "mean"
    ].iloc[0]
    hit, draws = {"groups": 0, "rows": 0}, sized(24, 60)
    for seed in range(draws):
        xs = recording(grouped(seed, np.repeat(np.arange(40), 8), "ab"), np.repeat(np.arange(40), 8))
        for how, its in (("groups", None), ("rows", range(320))):
            row = block_means("cka_debiased", xs, ["p", "p"], row_groups=its, parts=10).iloc[0]
            hit[how] += row["low"] <= right <= row["high"]
    assert hit["groups"] >= 5 / 6 * draws and hit["rows"] <= 2 / 3 * draws, hit


# -- chance levels


def test_unrelated_exchanges_whole_groups_of_one_size():
    xs = grouped(names="ab")
    found = chance_values("cka_debiased", xs, groups=ROWS, n_pairs=4, seed=5)
    rng, form = np.random.default_rng(5), between_groups(CKA)
    for value in found:
        i, j = rng.choice(2, 2, replace=False)
        order = rng.permutation(NUMBER)
        y = xs["ab"[j]].reshape(NUMBER, SIZE, -1)[order].reshape(len(ROWS), -1)
        assert value == pytest.approx(form(xs["ab"[i]], y, ROWS), rel=1e-12)
    np.testing.assert_allclose(found, chance_values("cka_debiased", recording(xs), n_pairs=4, seed=5), rtol=1e-12)


def test_unrelated_of_other_measures_counts_all_pairs():
    xs = grouped(names="ab")
    rng, values = np.random.default_rng(5), chance_values("procrustes", xs, groups=ROWS, n_pairs=2, seed=5)
    for value in values:
        i, j = rng.choice(2, 2, replace=False)
        y = xs["ab"[j]].reshape(NUMBER, SIZE, -1)[rng.permutation(NUMBER)].reshape(len(ROWS), -1)
        assert value == pytest.approx(rs.measures.get("procrustes")(xs["ab"[i]], y), rel=1e-12)


def test_unrelated_takes_means_of_groups_that_differ_in_size():
    xs = grouped(codes=UNLIKE, names="ab")
    found = chance_values("cka", recording(xs, UNLIKE), n_pairs=3, seed=2)
    starts = np.flatnonzero(np.r_[True, UNLIKE[1:] != UNLIKE[:-1]])
    places = [start + (np.array([0, 2, 4]) if k % 2 else np.arange(3)) for k, start in enumerate(starts)]
    means = {name: np.array([x[rows].mean(0) for rows in places]) for name, x in xs.items()}
    rng = np.random.default_rng(2)
    for value in found:
        i, j = rng.choice(2, 2, replace=False)
        assert value == pytest.approx(
            rs.measures.get("cka")(means["ab"[i]], means["ab"[j]][rng.permutation(NUMBER)]), rel=1e-12
        )


def test_unrelated_rows_that_are_independent_all_the_same():
    xs = grouped(names="ab")
    single = chance_values("procrustes", recording(xs), groups=range(len(ROWS)), n_pairs=30, seed=4)
    rng = np.random.default_rng(4)
    i, j = rng.choice(2, 2, replace=False)
    assert single[0] == pytest.approx(
        rs.measures.get("procrustes")(xs["ab"[i]], xs["ab"[j]][rng.permutation(len(ROWS))]), rel=1e-12
    )
    assert (
        chance_values("procrustes", recording(xs), n_pairs=30).mean() < single.mean() - 0.05
    )  # a distance, and of fewer units
    with pytest.raises(
        ValueError, match=r"all 96 rows are in one group. If rows are independent, pass groups=range\(n\)"
    ):
        chance_values("cka", xs, groups=["s"] * len(ROWS))


# -- sample sets


@pytest.mark.parametrize("codes", [ROWS, UNLIKE], ids=["one size", "other sizes"])
def test_sample_sets_draw_whole_groups(codes):
    xs = grouped(codes=codes)
    table = rs.compare("cka", xs)
    found = sample_sets("cka", xs, table, [6, NUMBER], groups=codes, n_sets=2, seed=1)
    rng, values = np.random.default_rng(1), []
    for _ in range(2):
        rows = np.flatnonzero(np.isin(codes, rng.choice(NUMBER, 6, replace=False)))
        values.append(
            rank_correlation(
                rs.compare("cka", {name: x[rows] for name, x in xs.items()}), table, p="asymptotic"
            ).statistic
        )
    assert found.loc[6, "mean"] == pytest.approx(np.mean(values), rel=1e-12)
    assert found.loc[NUMBER, ["mean", "sets"]].tolist() == pytest.approx([1, 1])
    carried = recording(xs, codes)
    np.testing.assert_allclose(
        sample_sets("cka", carried, rs.compare("cka", carried), [6, NUMBER], n_sets=2, seed=1), found, rtol=1e-12
    )


def test_sizes_of_sample_sets_are_numbers_of_groups():
    xs = recording(grouped())
    table = rs.compare("cka", xs)
    with pytest.raises(
        ValueError, match="sizes must be numbers of groups from 1, the minimum for cka, to 24; got \\[25\\]"
    ):
        sample_sets("cka", xs, table, [25])
    assert sample_sets("cka", xs, table, [96], groups=range(96)).loc[96, "sets"] == 1


# -- labels


@pytest.mark.parametrize(
    ("labels", "stored"),
    [
        ([1, 1, 2], [1, 1, 2]),
        ([1.0, 1.0, 2.0], [1, 1, 2]),
        ([True, True, False], [1, 1, 0]),
        (["b", "b", "a"], ["b", "b", "a"]),
        ([0.5, 0.5, 1.0], ["0.5", "0.5", "1.0"]),
        (
            np.array(["2020-01-01", "2020-01-01", "2020-01-02"], "datetime64[D]"),
            ["2020-01-01", "2020-01-01", "2020-01-02"],
        ),
        ([1, 1, "a"], ["1", "1", "a"]),
        ([1, 1, "1"], ["1", "1", "'1'"]),
        (np.array([2**63, 2**63, 1], np.uint64), [str(2**63), str(2**63), "1"]),
        ([b"b", b"b", b"a"], ["b", "b", "a"]),
        ([(0, 1), (0, 1), (1, 0)], ["(0, 1)", "(0, 1)", "(1, 0)"]),
    ],
)
def test_one_rule_for_labels_whoever_takes_them(labels, stored):
    x = np.random.default_rng(0).normal(size=(24, 3))
    labels = (
        np.repeat(np.asarray(labels), 8)
        if isinstance(labels, np.ndarray)
        else [label for label in labels for _ in range(8)]
    )
    if stored[-1] == "'1'":
        stored = (
            ["1", "1", "'1'"] if str(labels[0]) != labels[-1] else [repr(labels[0]), repr(labels[0]), repr(labels[-1])]
        )
    kept = rs.from_arrays({"m/l": x}, groups=labels)["m/l"].groups
    assert kept.tolist() == np.repeat(stored, 8).tolist() and kept.dtype.kind in "iU" and not kept.flags.writeable
    assert stored_groups(kept).tolist() == kept.tolist()
    facts = rs.reliability.diagnose(x, groups=labels).facts["x"]
    assert facts["groups of rows"] == 2
    np.testing.assert_array_equal(codes_of(labels, [], 24), codes_of(kept, [], 24))


def test_undefined_labels_are_refused_alike():
    x = np.random.default_rng(0).normal(size=(24, 3))
    for call in (
        lambda g: rs.from_arrays({"m/l": x}, groups=g),
        lambda g: rs.reliability.diagnose(x, groups=g),
        lambda g: interval("rsa", x, x + 1, groups=g),
        lambda g: chance_values("rsa", {"a": x}, groups=g),
        lambda g: block_means("rsa", {"a": x, "b": x + 1}, ["p", "p"], row_groups=g),
    ):
        with pytest.raises(ValueError, match="1 of 24 groups are undefined .*the first in row 3"):
            call([1, 1, 1, None] * 1 + [2] * 20)
        with pytest.raises(ValueError, match="needs one label for each of 24; there are 2"):
            call([1, 2])


def test_labels_with_an_index_in_another_order_are_refused():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 3)), index=[f"s{k}" for k in range(24)])
    groups = pd.Series(np.arange(24) // 2, index=frame.index)
    for call in (
        lambda g: rs.from_arrays({"m/l": frame}, groups=g),
        lambda g: rs.reliability.diagnose(frame, groups=g),
        lambda g: chance_values("rsa", {"a": frame}, groups=g),
        lambda g: block_means("rsa", {"a": frame, "b": frame + 1}, ["p", "p"], row_groups=g, parts=4),
    ):
        call(groups)
        with pytest.raises(ValueError, match=r"y = y.loc\[x.index\]"):
            call(groups[::-1])


def test_labels_that_print_alike_are_refused():
    class Named:
        def __repr__(self):
            return "same"

    with pytest.raises(ValueError, match="different labels have the same text, such as same"):
        stored_groups(check_labels([Named(), Named()], 2, "groups"))


# -- rows that are moved in place

IDS = np.array(list("abcdef"))

MOVES = {
    "shuffle": lambda x: np.random.default_rng(1).shuffle(x),
    "old shuffle": lambda x: np.random.RandomState(1).shuffle(x),
    "a view permuted": lambda x: np.random.default_rng(1).shuffle(x[1:]),
    "a view of a view": lambda x: np.random.default_rng(1).shuffle(x[:, :][1:]),
    "the transpose": lambda x: np.random.default_rng(1).shuffle(x.T, axis=1),
    "flat rows": lambda x: np.random.default_rng(1).shuffle(x[:, 0]),
    "assigned": lambda x: x.__setitem__(slice(None), np.asarray(x)[[5, 0, 1, 2, 3, 4]]),
    "two rows": lambda x: x.__setitem__([0, 5], np.asarray(x)[[5, 0]]),
    "sort": lambda x: x.sort(axis=0),
    "partition": lambda x: x.partition(2, axis=0),
    "put": lambda x: x.put(range(12), np.asarray(x)[::-1].ravel()),
    "np.put": lambda x: np.put(x, range(12), np.asarray(x)[::-1].ravel()),
    "resize": lambda x: x.resize((6, 2), refcheck=False),
    "copyto": lambda x: np.copyto(x, np.asarray(x)[::-1].copy()),
    "putmask": lambda x: np.putmask(x, np.ones((6, 2), bool), np.asarray(x)[::-1].copy()),
    "place": lambda x: np.place(x, np.ones((6, 2), bool), np.asarray(x)[::-1].ravel()),
    "take": lambda x: np.take(np.asarray(x).copy(), [5, 4, 3, 2, 1, 0], axis=0, out=x),
    "own take": lambda x: x.copy().take([5, 4, 3, 2, 1, 0], axis=0, out=x),
    "out": lambda x: np.add(x[::-1], 0, out=x),
    "cumsum": lambda x: np.cumsum(x, axis=0, out=x),
    "shape": lambda x: setattr(x, "shape", (4, 3)),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_rows_moved_in_place_leave_no_stale_labels(move, where, tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 2))
    if where == "disk":
        if move == "resize":
            pytest.skip("a memory map is not resized")
        np.save(tmp_path / "x.npy", values)
        values = np.lib.format.open_memmap(tmp_path / "x.npy", mode="r+")
    x = attach_labels(values, IDS, stored_groups(check_labels(list("aabbcc"), 6, "groups")))
    if move == "resize":
        x = x.copy()
    assert groups_of(x) is not None and ids_of(x) is not None
    MOVES[move](x)
    assert groups_of(x) is None and ids_of(x) is None


def test_what_moves_no_row_keeps_them():
    x = attach_labels(np.arange(12.0).reshape(6, 2), IDS, stored_groups(check_labels(list("aabbcc"), 6, "groups")))
    x -= x.mean(axis=0)
    x[:, 0] = 3
    x[x > 2] = 0
    x *= 2
    np.maximum(x, 0, out=x)
    assert groups_of(x).tolist() == list("aabbcc") and ids_of(x).tolist() == IDS.tolist()
    assert groups_of(x[[5, 0]]).tolist() == ["c", "a"] and ids_of(x[[5, 0]]).tolist() == ["f", "a"]
