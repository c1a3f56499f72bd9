"""Samples have ids: what is in another order is refused where representations meet, and `align` brings it into one."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import repsim_nb as rs

NAMES = np.array([f"s{i:02}" for i in range(30)])
rng = np.random.default_rng(0)
A, B = rng.normal(size=(30, 30)), rng.normal(size=(30, 5))
B[:, :5] += A[:, :5]
ORDER = rng.permutation(30)
CKA = rs.measures.get("cka")(A, B)


def frame(values, names=NAMES):
    return pd.DataFrame(values, index=names)


def named_array(values, names=NAMES):
    return xr.DataArray(values, dims=("stimulus", "unit"), coords={"stimulus": names})


def recording(values, names=NAMES, key="net/fc"):
    return rs.from_arrays({key: values}, ids=names)


MEETINGS = {
    "measure": lambda x, y: rs.measures.get("cka")(x, y),
    "table": lambda x, y: rs.measures.get("cka").table([x, y]).values[0, 1],
    "compare": lambda x, y: rs.compare("cka", {"a": x}, {"b": y}).values.iloc[0, 0],
    "compare one side": lambda x, y: rs.compare("cka", {"a": x, "b": y}).values.iloc[0, 1],
    "permutation_test": lambda x, y: rs.inference.permutation_test("cka", x, y, n_permutations=9).statistic,
    "interval": lambda x, y: rs.inference.interval("cka", x, y),
    "influence": lambda x, y: rs.inference.influence("cka", x, y),
    "null_moments": lambda x, y: rs.inference.null_moments("cka", x, y),
    "unrelated": lambda x, y: rs.inference.chance_values("cka", {"a": x, "b": y}, n_pairs=2),
    "block_means": lambda x, y: rs.inference.block_means("cka", {"a": x, "b": y}, groups=["g", "g"], parts=5),
    "diagnose": lambda x, y: rs.reliability.diagnose(x, y),
    "dataset_bias": lambda x, y: rs.probes.dataset_bias({"a": x, "b": y}, n_permutations=3),
    "specificity": lambda x, y: rs.grounding.specificity({"a": x, "b": y}, model=["m", "n"], per=["l", "l"]),
    "benchmark": lambda x, y: rs.grounding.benchmark({"a": x, "b": y}, {"a": 1, "b": 2}, model=["m", "n"], per=None),
    "sensitivity": lambda x, y: rs.grounding.sensitivity({"a": x, "b": y}),
}


@pytest.mark.parametrize("made", [frame, named_array])
@pytest.mark.parametrize("meeting", MEETINGS)
def test_another_order_of_the_samples_is_refused_wherever_two_meet(meeting, made):
    with pytest.raises(ValueError, match=r"30 samples are the same, in another order \(row 0 is .*rs\.align"):
        MEETINGS[meeting](made(A), made(A[ORDER], NAMES[ORDER]))


@pytest.mark.parametrize("meeting", ["measure", "table", "compare", "compare one side", "permutation_test"])
def test_the_same_order_is_as_of_plain_arrays(meeting):
    assert MEETINGS[meeting](frame(A), frame(B)) == pytest.approx(CKA, abs=1e-12)
    assert MEETINGS[meeting](frame(A), B) == pytest.approx(CKA, abs=1e-12)
    assert MEETINGS[meeting](frame(A), named_array(B)) == pytest.approx(CKA, abs=1e-12)


def test_other_samples_and_other_kinds_of_ids_are_named():
    with pytest.raises(ValueError, match=r"30 ids and 30 ids, 25 of them common.*rs\.align\(x, y\)"):
        rs.measures.get("cka")(frame(A), frame(B, [*NAMES[:25], *"vwxyz"]))
    with pytest.raises(ValueError, match=r"strings and of the other integers \('s00' and 0\).*same ids"):
        rs.measures.get("cka")(frame(A), frame(B, np.arange(0, 60, 2)))
    with pytest.raises(ValueError, match=r"rs\.align\(xs, ys\)"):
        rs.compare("cka", recording(A), recording(B[::-1], NAMES[::-1], "other/fc"))
    with pytest.raises(ValueError, match=r"rs\.align\(xs\)"):
        rs.compare("cka", recording(A) | recording(B[::-1], NAMES[::-1], "other/fc"))


def test_a_shuffled_frame_whose_index_counted_rows_is_another_order():
    x = pd.DataFrame(A)
    with pytest.raises(ValueError, match="another order"):
        rs.measures.get("cka")(x, x.sample(frac=1, random_state=0))
    with pytest.raises(ValueError, match="another order"):
        rs.measures.get("cka")(x.sample(frac=1, random_state=0), x)
    assert rs.measures.get("cka")(x, pd.DataFrame(B, index=np.arange(100, 130))) == pytest.approx(
        CKA
    )  # names of its own: nothing known of x
    assert rs.measures.get("cka")(*rs.align(x, x.sample(frac=1, random_state=0))) == pytest.approx(1)


def test_frames_that_were_cut_differently_are_not_compared():
    x, y = pd.DataFrame(A), pd.DataFrame(B)
    with pytest.raises(ValueError, match=r"indices differ \(row 0 is '1' and '0'\).*reset_index"):
        rs.measures.get("cka")(x.iloc[1:], y.iloc[:-1])
    shifted = rs.measures.get("cka")(x.iloc[1:].reset_index(drop=True), y.iloc[:-1])
    assert shifted == pytest.approx(rs.measures.get("cka")(A[1:], B[:-1]))
    floats = pd.Index(np.arange(30) / 2)
    with pytest.raises(ValueError, match="another order|indices differ"):
        rs.measures.get("cka")(pd.DataFrame(A, index=floats), pd.DataFrame(B[ORDER], index=floats[ORDER]))


def test_names_that_repeat_are_the_same_samples_only_in_one_order():
    twice = np.repeat(NAMES[:15], 2)
    assert rs.measures.get("cka")(frame(A, twice), frame(B, twice)) == pytest.approx(CKA)
    with pytest.raises(ValueError, match="another order"):
        rs.measures.get("cka")(frame(A, twice), frame(B[ORDER], twice[ORDER]))
    once = np.where(np.arange(30) == 5, NAMES[6], NAMES)
    for one, other in (
        (NAMES, once[ORDER]),
        (once, NAMES[ORDER]),
        (NAMES, once),
    ):  # a label that repeats on one side does not switch the check off
        with pytest.raises(ValueError, match="indices differ.*rs.align"):
            rs.measures.get("cka")(frame(A, one), frame(B, other))
    with pytest.raises(ValueError, match=r"'x': ids must be unique; 's00' is the id of 2 samples"):
        rs.align(frame(A, twice), frame(B, twice))


@pytest.mark.parametrize("made", [frame, named_array, recording])
def test_align_brings_the_common_samples_into_the_order_of_the_first(made):
    kept = np.sort(ORDER[:20])
    x, y = rs.align(made(A), made(B[ORDER[:20]], NAMES[ORDER[:20]]))
    assert type(x) is type(y) is type(made(A))
    if made is recording:
        assert next(iter(x.ids.values())).tolist() == NAMES[kept].tolist() == next(iter(y.ids.values())).tolist()
        x, y = x["fc"], y["fc"]
    elif made is frame:
        assert x.index.tolist() == y.index.tolist() == NAMES[kept].tolist()
    else:
        assert (
            x.dims == ("stimulus", "unit")
            and x.stimulus.values.tolist() == y.stimulus.values.tolist() == NAMES[kept].tolist()
        )
    np.testing.assert_array_equal(np.asarray(x), A[kept])
    np.testing.assert_array_equal(np.asarray(y), B[kept])


def test_align_takes_mappings_lists_and_kinds_side_by_side():
    other = rng.permutation(30)[:25]
    xs = {"f": frame(A), "d": named_array(B[ORDER], NAMES[ORDER])}
    ys = recording(A[other], NAMES[other])
    one, two = rs.align(xs, ys)
    kept = np.sort(other)
    assert list(one) == ["f", "d"] and isinstance(one["f"], pd.DataFrame) and isinstance(one["d"], xr.DataArray)
    np.testing.assert_array_equal(one["d"].values, B[kept])
    np.testing.assert_array_equal(two["fc"], A[kept])
    assert rs.compare("cka", one, two).n == 25
    aligned = rs.align([frame(A), frame(B[::-1], NAMES[::-1])])
    assert isinstance(aligned, list)
    np.testing.assert_array_equal(aligned[1].to_numpy(), B)


def test_align_reads_rows_of_recordings_and_keeps_what_is_known(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, A)
    x = rs.from_arrays({"net/fc": path}, ids=NAMES, net={"accuracy": 0.5})
    assert isinstance(x["fc"], np.memmap)
    one, two = rs.align(x, frame(B[5:12][::-1], NAMES[5:12][::-1]))
    np.testing.assert_array_equal(one["fc"], A[5:12])
    np.testing.assert_array_equal(two.to_numpy(), B[5:12])
    assert one.facts == x.facts and isinstance(one, rs.Activations)


def on_two_data_sets():
    x = rs.from_arrays({("a", "fc", "photos"): A}, ids=NAMES)
    y = rs.from_arrays({("b", "fc", "drawings"): B[ORDER[:25]]}, ids=NAMES[ORDER[:25]])
    return x, y


def test_recordings_of_two_data_sets_are_compared_once_they_are_aligned():
    x, y = on_two_data_sets()
    with pytest.raises(ValueError, match=r"'photos'.*'drawings'.*rs.align\(xs, ys\)"):
        rs.compare("cka", x, y)
    one, two = rs.align(x, y)
    rows = np.sort(ORDER[:25])
    expected = pytest.approx(rs.measures.get("cka")(A[rows], B[rows]))
    table = rs.compare("cka", one, two)
    assert table.values.iloc[0, 0] == expected and table.n == 25
    assert [*one, *two] == [*x, *y]  # keys are the addresses of what was recorded
    assert rs.compare("cka", one | two).values.iloc[0, 1] == expected
    assert rs.compare("cka", rs.align(x | y)).values.iloc[0, 1] == expected
    assert rs.compare("cka", one.where(model="a"), (one | two).only(["b/fc"])).values.iloc[0, 0] == expected


def test_recordings_of_two_data_sets_that_were_not_aligned_together_are_refused():
    x, y = on_two_data_sets()
    one, two = rs.align(x, y)
    for left, right in ((one, y), (x, two), (one, rs.align(two, two)[1]), (one, dict(two))):
        with pytest.raises(ValueError, match="needs the same samples"):
            rs.compare("cka", left, right)


def test_two_calls_of_align_with_the_same_samples_can_be_compared():
    x, y = on_two_data_sets()
    one, two = rs.align(x, y)
    again, _ = rs.align(x | rs.from_arrays({("c", "fc", "photos"): B}, ids=NAMES), y)
    assert one.aligned[next(iter(one))] == next(iter(rs.align(x, y)[0].aligned.values()))
    assert (
        rs.compare("cka", again.where(model="a"), two).values.iloc[0, 0]
        == rs.compare("cka", one, two).values.iloc[0, 0]
    )
    fewer, _ = rs.align(x, rs.from_arrays({("b", "fc", "drawings"): B[:9]}, ids=NAMES[:9]))
    with pytest.raises(ValueError, match="needs the same samples"):
        rs.compare("cka", fewer, two)


def test_positions_that_are_equal_in_two_data_sets_were_not_aligned():
    photos = rs.from_arrays({("a", "fc", "photos"): A, ("b", "fc", "photos"): B}, ids=range(30))
    drawings = rs.from_arrays({("a", "fc", "drawings"): A, ("b", "fc", "drawings"): B}, ids=range(30))
    with pytest.raises(ValueError, match="needs the same samples"):
        rs.compare("cka", rs.align(photos), rs.align(drawings))


def test_aligned_recordings_keep_their_labels_through_only_where_and_join():
    x, y = on_two_data_sets()
    one, two = rs.align(x, y)
    both = {"c/fc": B[:25]} | one | two
    assert [key.model for key in both] == ["c", "a", "b"]
    assert both.aligned == {**one.aligned, **two.aligned} and both.ids.keys() == {*one, *two}
    assert both.where(model="b").aligned == two.aligned


OF_RECORDINGS = {
    "compare": lambda x: rs.compare("cka", x).values.to_numpy(),
    "null_table": lambda x: rs.inference.null_table("cka", x).z.to_numpy(),
    "chance_values": lambda x: rs.inference.chance_values("cka", x, n_pairs=3),
    "block_means": lambda x: rs.inference.block_means("cka", x, groups=["g"] * len(x), parts=5).to_numpy(),
    "sample_sets": lambda x: rs.inference.sample_sets("cka", x, rs.compare("cka", x), [12], n_sets=3).to_numpy(),
    "specificity": lambda x: rs.grounding.specificity(x, "cka").pairs.to_numpy(),
    "sensitivity": lambda x: rs.grounding.sensitivity(x.where(layer="fc"), amounts=[0.5]).table["threshold"].to_numpy(),
    "benchmark": lambda x: (
        rs.grounding.benchmark(
            x, dict(zip("abcdef", range(6), strict=True)), measures=["cka"], n_bootstrap=20, n_permutations=20
        )
        .table["spearman"]
        .to_numpy()
    ),
    "benchmark of all pairs": lambda x: (
        rs.grounding.benchmark(
            x,
            dict(zip("abcdef", range(6), strict=True)),
            measures=["cka"],
            pairs="all",
            n_bootstrap=20,
            n_permutations=20,
        )
        .table["spearman"]
        .to_numpy()
    ),
    "compare_to_final": lambda x: rs.trajectories.compare_to_final("cka", x | later(x)).to_numpy(),
    "embedding_map": lambda x: rs.explorers.embedding_map(x, measure="cka").wait().result.points.abs().to_numpy(),
    "comparison": lambda x: rs.explorers.comparison(x, measure="cka").wait().result.values.to_numpy(),
}


def later(x):
    """The same recordings at step 1."""
    arrays = {key._replace(step=1): x[key] + np.tanh(x[key]) for key in x}
    return rs.from_arrays(arrays, ids=next(iter(x.ids.values())))


def six_models(first, second):
    """Six models with two layers; three were recorded on each data set."""
    draw = np.random.default_rng(3).normal
    data = dict(zip("abcdef", [first] * 3 + [second] * 3, strict=True))
    arrays = {
        rs.Key(model, layer, data[model]): A[:, :6] * (layer == "fc") + A[:, 6:12] + (0.3 + i / 5) * draw(size=(30, 6))
        for i, model in enumerate(data)
        for layer in ("conv", "fc")
    }
    return rs.from_arrays(arrays, ids=NAMES)


@pytest.mark.parametrize("function", OF_RECORDINGS)
def test_functions_of_recordings_take_two_data_sets_once_they_are_aligned(function):
    both = six_models("photos", "drawings")
    found = OF_RECORDINGS[function](rs.align(both))
    np.testing.assert_allclose(found, OF_RECORDINGS[function](six_models("photos", "photos")), atol=1e-9)
    if function not in ("compare_to_final", "comparison"):  # each table of theirs is of one data set
        with pytest.raises(ValueError, match="photos.*drawings"):
            OF_RECORDINGS[function](both)


def test_a_dict_of_aligned_recordings_is_refused_with_what_to_do():
    one, two = rs.align(*on_two_data_sets())
    with pytest.raises(ValueError, match=r"Join aligned recordings with xs \| ys"):
        rs.compare("cka", {**one, **two})


def test_align_of_tensors():
    torch = pytest.importorskip("torch")
    x, y = rs.align(recording(torch.tensor(A)), recording(torch.tensor(B)[torch.tensor(ORDER)], NAMES[ORDER]))
    assert torch.equal(y["fc"], torch.tensor(B)) and torch.equal(x["fc"], torch.tensor(A))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda: (A, B), "'x' is a numpy.ndarray, which has none. Ids are the index"),
        (lambda: (frame(A), B), "'y' is a numpy.ndarray"),
        (lambda: (frame(A),), "two or more representations"),
        (lambda: (pd.DataFrame(A), pd.DataFrame(B)), "the index of 'x' only counts rows"),
        (
            lambda: (rs.from_arrays({"net/fc": A}), frame(A)),
            "the recording 'net/fc' has none: give ids to rs.from_arrays",
        ),
        (lambda: (rs.from_arrays({rs.Key("n", "fc", pool="tokens"): A}, ids=NAMES), frame(A)), "its rows are tokens"),
        (
            lambda: (frame(A), frame(B, range(5, 35))),
            "strings, such as 's00', and the ids of 'y' are integers, such as 5",
        ),
        (
            lambda: (frame(A), frame(B, [f"t{i}" for i in range(30)])),
            "There is no common sample: 'x' has ids such as 's00'",
        ),
        (lambda: ({}, frame(A)), "at least one representation in xs"),
        (lambda: (xr.DataArray(A, dims=("stimulus", "unit")), frame(B)), "'x' has none"),
    ],
)
def test_what_cannot_be_aligned_is_named(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        rs.align(*given())


# -- names of arrays


def test_arrays_are_joined_with_recordings_from_both_sides():
    x, arrays = rs.from_arrays({"a/fc": A}, ids=NAMES), {"b/fc": frame(B)}
    assert [str(key) for key in arrays | x] == ["b/fc", "a/fc"]
    assert [str(key) for key in x | arrays] == ["a/fc", "b/fc"]
    assert (arrays | x).ids.keys() == (x | arrays).ids.keys() == set(x | arrays)
    assert list({} | x) == list(x)
    with pytest.raises(ValueError, match="with different arrays"):
        {"a/fc": B} | x
    with pytest.raises(TypeError):
        [A] | x


def test_from_arrays_takes_numbers_lists_and_tuples_as_layers():
    for given in ({0: A, 1: B}, [A, B], (A, B), {"0": A, np.int64(1): B}, {("model", 0): A, ("model", 1): B}):
        x = rs.from_arrays(given)
        assert [tuple(key)[:2] for key in x] == [("model", "0"), ("model", "1")]
        np.testing.assert_array_equal(x["1"], B)
    assert list(rs.from_arrays({("net", "fc", "mnist", 3): A})) == [rs.Key("net", "fc", "mnist", 3)]


@pytest.mark.parametrize(
    "given",
    [
        {"fc": A, "model/fc": B},
        {0: A, "0": B},
        {("m", "fc"): A, "m/fc": B},
        {rs.Key("m", "fc"): A, "m/fc": B},
        {1: A, "model/1": B},
    ],
)
def test_names_that_meet_lose_no_array(given):
    with pytest.raises(ValueError, match=r"Two arrays would be the layer '.*' of the model '.*', so one would be lost"):
        rs.from_arrays(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({None: A}, "got None, which is NoneType"),
        ({0.5: A}, "got 0.5, which is float"),
        ({True: A}, "got True"),
        ({("fc",): A}, "the fields of a key"),
        (A, "A single array has no name.*numpy.ndarray"),
        (pd.DataFrame(A), "pandas.DataFrame"),
        ([], "no arrays"),
        ({"a": A[:, 0]}, r"'model/a' has shape \(30,\)"),
        ({"a": 3.0}, r"'model/a' has shape \(\)"),
        ({"a": pd.DataFrame({"t": list("ab")})}, "'model/a': .*column 't'"),
        ({"a": None}, "'model/a': .*NoneType"),
    ],
)
def test_names_and_arrays_that_are_none_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        rs.from_arrays(given)


def test_frames_keep_their_ids_in_from_arrays():
    x = rs.from_arrays({"a/fc": frame(A), "b/fc": named_array(B), "c/fc": pd.DataFrame(A)})
    assert [key.model for key in x.ids] == ["a", "b"]
    assert isinstance(x["a/fc"], np.ndarray)
    assert rs.compare("cka", x.where(model="a"), x.where(model="b")).values.iloc[0, 0] == pytest.approx(CKA)
    with pytest.raises(ValueError, match="align"):
        rs.compare("cka", rs.from_arrays({"a/fc": frame(A), "b/fc": frame(B[ORDER], NAMES[ORDER])}))
    with pytest.raises(ValueError, match="ids= names other rows.*another order"):
        rs.from_arrays({"a": frame(A)}, ids=NAMES[::-1])
    assert next(iter(rs.from_arrays({"a": frame(A)}, ids=range(30)).ids.values())).tolist() == list(range(30))


def test_labels_meet_samples_in_one_order():
    y = pd.Series(np.arange(30) % 2, index=NAMES)
    assert (
        rs.probes.linear_probe(frame(A), y, n_permutations=3).accuracy
        == rs.probes.linear_probe(A, y.to_numpy(), n_permutations=3).accuracy
    )
    with pytest.raises(ValueError, match="another order.*y.loc"):
        rs.probes.linear_probe(frame(A), y.iloc[::-1], n_permutations=3)
    with pytest.raises(ValueError, match="another order.*y.loc"):
        rs.grounding.sensitivity({"a": frame(A), "b": frame(A)}, y.iloc[::-1])
