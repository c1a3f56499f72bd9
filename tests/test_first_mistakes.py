"""What a new user tries first: swapped arguments, another file, items in one table only, ends of a range."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import repsim_nb as rs
from benchmarks.calibration import decaying, heavy, near, unrelated
from repsim_nb.measures import Measure
from repsim_nb.measures.tables import round_into_range
from repsim_nb.results.comparison.comparing import pairs


@pytest.fixture
def sides(rng):
    return rng.normal(size=(60, 5)), rng.normal(size=(60, 5))


@pytest.mark.parametrize("name", ["permutation_test", "interval", "sample_size", "null_moments"])
def test_swapped_arguments_are_named_by_type_and_shape(name, sides):
    x, y = sides
    with pytest.raises(TypeError, match=r"got a ndarray of shape \(60, 5\)\. The measure comes first") as error:
        getattr(rs.inference, name)(x, y, "cka")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("function", [rs.compare, rs.inference.null_table])
def test_a_table_of_two_arrays_says_how_to_compare_them(function, sides):
    name = function.__name__
    with pytest.raises(
        TypeError, match=rf"^{name} takes xs as a mapping.*measures.get\('cka'\)\(x, y\), or {{'a': x}}"
    ):
        function("cka", *sides)
    with pytest.raises(TypeError, match=f"^{name} takes ys as a mapping"):
        function("cka", {"a": sides[0]}, sides[1])


def test_a_file_of_arrays_is_no_comparison(tmp_path):
    np.savez(tmp_path / "o.npz", a=np.random.default_rng(0).normal(size=(100, 100)))
    with pytest.raises(ValueError, match=r"o.npz is not a file that Comparison.save wrote. For arrays: rs.from_arrays"):
        rs.Comparison.load(tmp_path / "o.npz")
    (tmp_path / "o.bin").write_bytes(bytes(range(256)) * 1000)
    with pytest.raises(ValueError, match=r"o.bin is not a file that Comparison.save wrote.$"):
        rs.Comparison.load(tmp_path / "o.bin")


def test_items_of_one_table_only_are_named(rng):
    xs = {f"k{i}": rng.normal(size=(30, 3)) for i in range(6)}
    some = {label: xs[label] for label in list(xs)[:4]}
    with pytest.warns(UserWarning, match="2 items are not in all tables and left out: 'k4', 'k5'"):
        pairs({"A": rs.compare("cka", xs), "B": rs.compare("cka", some)})


def test_values_do_not_leave_their_range_by_rounding(rng):
    for name, measure in rs.measures.REPRESENTATIONAL.items():
        low, high = measure.range
        for seed in range(5):
            x = np.random.default_rng(seed).normal(size=(200, 20))
            assert low <= measure(x, x) <= high, name
            a = measure.prepare(x)
            assert all(low <= value <= high for value in (measure.pair(a, a), *measure.pair_both(a, a))), name

    class Near(Measure):
        kind, symmetric = "similarity", True

        def prepare(self, x):
            return x

        def pair(self, a, b):
            return 1 + 1e-14 if a is b else 1.1

        def pair_both(self, a, b):
            return -1e-14, float("nan")

    assert Near().pair(x, x) == 1 and Near().pair(x, -x) == 1.1
    np.testing.assert_array_equal(Near().pair_both(x, x), [0, np.nan])
    found = round_into_range(np.array([-1e-13, 1 + 1e-13, -1e-6, 1.1, 0.5, np.nan]), 0.0, 1.0)
    np.testing.assert_array_equal(found, [0, 1, -1e-6, 1.1, 0.5, np.nan])


def test_measures_are_described_by_name():
    assert rs.measures.describe("cka").index.tolist() == ["cka"]
    assert rs.measures.describe(["cka", rs.measures.get("rsa")]).index.tolist() == ["cka", "rsa"]
    with pytest.raises(ValueError, match="unknown measure 'ckaa'"):
        rs.measures.describe("ckaa")


def test_text_names_the_models_and_is_short(sides):
    x, y = sides
    a, b = (rs.from_arrays({f"{model}/conv": x, f"{model}/fc": y}) for model in ("m1", "m2"))
    assert str(rs.compare("cka", a, b)).startswith("Comparison(cka, 2 × 2, m1 (rows) × m2 (columns), n=60)\n")
    assert str(rs.compare("cka", a)).startswith("Comparison(cka, 2 × 2, n=60)\n")
    lines = str(rs.inference.null_table("cka", a, b)).splitlines()
    assert lines[1].split() == ["conv", "fc"] and lines[2].split()[:3] == ["conv", "1.000", "•"]
    verdict = rs.inference.judge((0.3957404918836058, 0.31234567, 0.5), above=0.2, unit="models")
    assert "estimate=0.3957, low=0.3123, high=0.5," in repr(verdict)


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_of_unrelated_sides_warn_and_those_of_related_ones_do_not(seed):
    for measure, words in (
        ("procrustes", "bias does not fall as 1/n|those of 19 permutations"),
        ("cka_debiased", "contains 0"),
        ("svcca", "not calibrated"),
    ):
        with pytest.warns(UserWarning, match=words):
            rs.inference.interval(measure, *unrelated(200, np.random.default_rng(seed)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for measure in ("cka_debiased", "procrustes"):
            for make in (near, heavy, decaying):
                rs.inference.interval(measure, *make(200, np.random.default_rng(seed)))


def test_a_fixed_number_of_neighbours_has_no_limit():
    found = rs.inference.sample_size("mutual_knn", *near(100, np.random.default_rng(0)), within=0.5)
    assert found.enough is None and np.isnan(found.limit)
    assert "there is no population value" in found.why and found.why in repr(found)


X = np.random.default_rng(0).normal(size=(12, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
NUMBERED = {
    "an id": FRAME.assign(stimulus_id=np.random.default_rng(0).permutation(400)[:12]),
    "an Id as floats": FRAME.assign(imageId=np.arange(12.0) * 7),
    "rows from 1, in another order": FRAME.assign(where=np.random.default_rng(0).permutation(12) + 1),
    "an index that a file kept": FRAME.assign(**{"Unnamed: 0": range(12)}),
}


@pytest.mark.parametrize("kind", NUMBERED)
def test_a_column_that_numbers_the_samples_is_no_feature(kind):
    frame = NUMBERED[kind]
    with pytest.warns(UserWarning, match=f"column '{frame.columns[-1]}' counts as a feature .* x.set_index"):
        rs.compare("cka", {"x": frame, "y": X})
    with pytest.warns(UserWarning, match=f"column '{frame.columns[-1]}' counts as a feature"):
        rs.from_arrays({"net/fc": frame})


def test_other_columns_of_integers_are_features():
    counts = FRAME.assign(count=[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8], valid=range(5, 17), grid=np.arange(12) * 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rs.compare("cka", {"x": counts, "y": pd.DataFrame(X), "z": FRAME.set_index(pd.Index(range(12), name="id"))})
        rs.measures.get("cka")(pd.DataFrame({"n": range(12)}), X)


@pytest.mark.parametrize(
    ("x", "code"),
    [
        (pd.Series(X[:, 0]), r"x.to_frame\(\)"),
        (X[:, 0].tolist(), r"np.asarray\(x\)\[:, None\]"),
        (X[:, 0], r"x\[:, None\]"),
        (pd.Series(list(X)), r"np.stack\(list\(x\)\)"),
        (pd.Series(list("abcdefghijkl")), "a DataFrame with one column a feature"),
    ],
)
def test_one_number_a_sample_becomes_a_feature_by_code_for_its_type(x, code):
    for use in (lambda: rs.measures.get("cka")(x, X), lambda: rs.from_arrays({"net/fc": x})):
        with pytest.raises(ValueError, match=code):
            use()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x.csv", r"pandas.read_csv\('.*x.csv', index_col="),
        ("x.xlsx", "pandas.read_excel"),
        ("x.pkl", "can run code. If you trust it, open it yourself"),
        ("x.dat", "with the library that wrote it"),
    ],
)
def test_a_file_of_another_kind_is_opened_by_named_code(tmp_path, name, code):
    with pytest.raises(ValueError, match=rf"reads .npy, .npz, .* files; got .*{code}"):
        rs.from_arrays(tmp_path / name)


class Whole(torch.nn.Linear):
    """A model that is pickled as a whole."""


def test_files_of_objects_are_refused_without_advice_to_read_them(tmp_path):
    torch.save(Whole(2, 2), tmp_path / "whole.pt")
    (tmp_path / "broken.pt").write_bytes(b"nonsense")
    np.savez(tmp_path / "objects.npz", x=np.array([1, None], dtype=object))
    np.save(tmp_path / "objects.npy", np.array([1, None], dtype=object))
    with pytest.raises(
        ValueError, match=r"contains objects of .*Whole and not only .*save\(module.state_dict\(\)"
    ) as one:
        rs.from_arrays(tmp_path / "whole.pt")
    assert "weights_only" not in str(one.value)
    with pytest.raises(ValueError, match="broken.pt is damaged") as one:
        rs.from_arrays(tmp_path / "broken.pt")
    assert "weights_only" not in str(one.value) and len(str(one.value)) < 400
    for name in ("objects.npz", "objects.npy"):
        with pytest.raises(ValueError, match="contains Python objects .*np.savez"):
            rs.from_arrays({"net/fc": tmp_path / name} if name.endswith("npy") else tmp_path / name)


def test_facts_are_those_of_a_model():
    with pytest.raises(TypeError, match=r"from_arrays\(\.\.\., net=\{'accuracy': 0.9\}\); got accuracy=0.9"):
        rs.from_arrays({"net/fc": X}, accuracy=0.9)
    with pytest.raises(TypeError, match=r"\*\*\{'net-1': \{'accuracy': 0.9\}\}"):
        rs.from_arrays({"net-1/fc": X}, accuracy=0.9)
    with pytest.raises(ValueError, match="unknown model with facts 'nett'. Did you mean 'net'?"):
        rs.from_arrays({"net/fc": X}, nett={"accuracy": 0.9})


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (X, torch.nn.Linear(3, 2)),
        (torch.tensor(X), rs.load_model(torch.nn.Linear(3, 2))),
        (rs.Dataset("mine", X), "zoo:mnist-mlp-0"),
        ("mnist", [torch.nn.Linear(3, 2)]),
        (rs.Dataset("mine", X), "mnist"),
    ],
)
def test_data_before_the_model_is_refused_with_the_right_call(model, data):
    with pytest.raises(TypeError, match=r"model comes first and the data second, rs.record\(model, data\); got .* and"):
        rs.record(model, data, progress=False)


def test_a_stream_of_data_before_models_is_refused_with_the_right_call():
    module = torch.nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"rs.stream\(model_a, model_b, data\); got a torch.Linear as data"):
        rs.stream(torch.tensor(X).float(), module, module, progress=False)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_missing_numbers_in_the_data_are_found_in_the_data(batch_size):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    many = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    many[[40, 77], 1] = np.nan, np.inf
    for layers in (None, "1"):
        with pytest.raises(
            rs.measures.UndefinedError, match="dataset 'inputs' has NaN .* 2 of its 90 samples, 40, 77, "
        ):
            rs.record(module, many, layers, batch_size=batch_size, progress=False)
    named = rs.Dataset("mine", many, ids=[f"s{i}" for i in range(90)])
    with pytest.raises(
        rs.measures.UndefinedError, match=r"'mine' .*, 40 \('s40'\), 77 \('s77'\), .*Leave these samples"
    ):
        rs.record(module, named, batch_size=batch_size, progress=False)
    module[2].weight.data[:] = np.nan
    with pytest.raises(rs.measures.UndefinedError, match="layer 'output' of 'Sequential' gives NaN"):
        rs.record(module, np.nan_to_num(many, posinf=0), "output", progress=False)


def test_a_model_that_cannot_run_names_the_samples_that_there_are():
    module = torch.nn.Sequential(torch.nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"on 'inputs': 3 samples, repeated in a batch of 8, \(8, 3\)"):
        rs.record(module, torch.tensor(X[:3]).float(), progress=False)


@pytest.mark.parametrize("name", ["comparison", "embedding_map", "dataset_bias", "samples"])
@pytest.mark.parametrize("empty", [{}, rs.Activations({})], ids=["dict", "recordings"])
def test_an_explorer_of_nothing_says_what_it_takes(name, empty):
    with pytest.raises(ValueError, match="The explorer takes activations by key: .* is empty. Record something first"):
        getattr(rs.explorers, name)(empty)
