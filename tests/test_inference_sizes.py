"""How many samples a value needs: the curve against sets by hand, what is enough against fresh samples, and what it
says where nobody knows.
"""

import numpy as np
import pytest
from scipy import stats
from sizes import sized

import repsim_nb as rs
from benchmarks.calibration import apart, decaying, near, unrelated
from repsim_nb.results.inference import interval, sample_size
from repsim_nb.results.inference.sample_sizes import SETS, draw_rows


@pytest.mark.parametrize("name", ["cka", "procrustes", "rsa", "mutual_knn"])
def test_the_curve_is_that_of_the_sets_drawn(name, rng):
    x, y = decaying(90, rng)
    measure, sizes = rs.measures.get(name), (15, 40, 90)
    curve = sample_size(measure, x, y, sizes=sizes, seed=5).curve
    assert list(curve.index) == list(sizes) and list(curve["sets"]) == [SETS, SETS, 1] and curve.index.name == "n"
    for n in sizes:
        drawn = draw_rows(n, 90, 5)
        values = [measure(x[rows], y[rows]) for rows in drawn]
        assert all(len(set(rows)) == n for rows in drawn) and curve["mean"][n] == pytest.approx(
            np.mean(values), abs=1e-8
        )
        if n < 90:  # sets that share samples move less than fresh ones
            reach = stats.norm.ppf(0.975) * np.std(values, ddof=1) / np.sqrt(1 - n / 90)
            assert (curve["low"][n], curve["high"][n]) == pytest.approx(
                (np.mean(values) - reach, np.mean(values) + reach), abs=1e-8
            )
    assert (curve["high"] - curve["low"])[90] == pytest.approx((curve["high"] - curve["low"])[40] * np.sqrt(40 / 90))


@pytest.mark.parametrize(
    ("name", "make", "within"), [("cka_debiased", decaying, 0.05), ("cka", decaying, 0.05), ("procrustes", near, 0.004)]
)
def test_what_is_enough_is_enough_for_fresh_samples(name, make, within):
    """Near their limit are about 95 of 100 fresh sets of so many samples, and fewer of a quarter of them."""
    measure, limit = rs.measures.get(name), rs.measures.get(name)(*make(20_000, np.random.default_rng(7)))
    found = sample_size(measure, *make(1500, np.random.default_rng(1)), within=within)
    assert found.limit == pytest.approx(limit, abs=within / 2) and not found.is_extrapolated

    def near_it(n):
        fresh = (make(n, np.random.default_rng([seed, n])) for seed in range(sized(60, 150)))
        return np.mean([abs(measure(x, y) - limit) <= within for x, y in fresh])

    assert near_it(found.enough) >= 0.86 and near_it(max(found.enough // 4, 5)) <= 0.9


def test_a_biased_measure_needs_more_samples_than_its_debiased_form():
    pair = apart(800, np.random.default_rng(2))
    plain, debiased = (sample_size(name, *pair, within=0.1) for name in ("cka", "cka_debiased"))
    assert plain.enough > debiased.enough and plain.curve["mean"].iloc[0] > plain.curve["mean"].iloc[-1] + 0.05
    assert sample_size("cka", *pair, within=0.05).enough > plain.enough


def test_the_limit_is_the_estimate_of_the_interval(rng):
    x, y = decaying(120, rng)
    assert sample_size("cka", x, y, seed=2).limit == interval("cka", x, y, seed=2).estimate


def test_where_nobody_knows_yet_it_says_so():
    wide = np.random.default_rng(0).normal(size=(200, 300))
    for measure, pair in (
        ("procrustes", unrelated(200, np.random.default_rng(0))),
        ("procrustes", (wide, wide + np.random.default_rng(1).normal(size=wide.shape))),
        ("mutual_knn", near(200, np.random.default_rng(0))),
    ):
        found = sample_size(measure, *pair)
        assert (
            found.enough is None
            and not found.is_extrapolated
            and f"{measure} still changes at 200 samples" in repr(found)
            and "or it has no limit" in repr(found)
        )


def test_it_says_how_it_knows(rng):
    few = sample_size("cka_debiased", *decaying(60, rng), within=0.01)
    assert few.enough > 60 and few.is_extrapolated and "extrapolated from 60" in repr(few)
    many = sample_size("cka_debiased", *decaying(600, rng), within=0.1)
    assert (
        many.enough <= 300 and not many.is_extrapolated and f"{many.enough} samples are enough for ±0.1" in repr(many)
    )


def test_it_begins_where_there_is_a_value(rng):
    found = sample_size("mean_cca", *decaying(400, rng))
    assert 80 < found.curve.index[0] <= 120 and list(found.curve.index[-2:]) == [200, 400], (
        "of 50 and 30 features CCA needs more than 80 samples"
    )
    assert sample_size("mean_cca", *decaying(240, rng), sizes=[150, 200]).enough is None, "a quarter, 60, has no value"


def test_its_curve_is_a_picture(rng):
    pair = decaying(100, rng)
    ax = rs.plots.band({name: sample_size(name, *pair).curve for name in ("cka", "cka_debiased")}, ylabel="value")
    assert (
        ax.get_xlabel() == "n"
        and [text.get_text() for text in ax.get_legend().get_texts()] == ["cka", "cka_debiased"]
        and ax.lines[0].get_xdata()[-1] == 100
    )


def test_what_cannot_be_is_an_error(rng):
    x, y = rng.normal(size=(60, 12)), rng.normal(size=(60, 4))
    for options, kind, says in (
        ({"within": 0}, ValueError, "a number above 0, the distance of a value to its limit, such as 0.02; got 0"),
        ({"sizes": [30, 61]}, ValueError, "to 60, with one below 60"),
        ({"sizes": []}, ValueError, "sizes must be integers from 3"),
        ({"sizes": [2]}, ValueError, "sizes must be integers from 3"),
        ({"sizes": [60]}, ValueError, "with one below 60"),
        ({"sizes": [20.5]}, ValueError, "sizes must be integers"),
        ({"level": 2}, ValueError, "between 0 and 1"),
    ):
        with pytest.raises(kind, match=says):
            sample_size("cka", x, y, **options)
    with pytest.raises(rs.measures.UndefinedError, match=r"a set of 10 samples: .*Choose larger sizes"):
        sample_size("mean_cca", x, y, sizes=[10, 40])
    with pytest.raises(ValueError, match="sample_size needs at least 20 samples; there are 19"):
        sample_size("cka", x[:19], y[:19])


def test_one_number_is_no_row_of_sizes(rng):
    x = rng.normal(size=(40, 3))
    with pytest.raises(TypeError, match=r"several numbers of samples, such as \[10, 20, 40\]; got 20"):
        rs.inference.sample_size("cka", x, x + rng.normal(size=(40, 3)), sizes=20)
