"""What a new user tries first: swapped arguments, another file, items in one table only, ends of a range."""

import warnings

import numpy as np
import pytest

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
    assert str(rs.compare("cka", a, b)).startswith("Comparison(CKA, 2 × 2, m1 (rows) × m2 (columns), n=60)\n")
    assert str(rs.compare("cka", a)).startswith("Comparison(CKA, 2 × 2, n=60)\n")
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
