"""Intervals over samples: the jackknife by hand, how often they hold the true value, what has none; the page of the
long simulations.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sizes import fewest, most, sized

import repsim_nb as rs
from benchmarks import calibration, hard_nulls
from repsim_nb import measures
from repsim_nb.results.inference import interval
from repsim_nb.results.inference.intervals import why_unreliable

ROOT = Path(__file__).parents[1]


def test_an_interval_is_the_jackknife_of_the_jackknife(rng):
    """The definition: the bias-corrected estimate, and its values without each part."""
    x, y = calibration.heavy(60, rng)
    measure, parts, part = rs.measures.get("procrustes"), 6, np.random.default_rng(3).permutation(60) % 6

    def unbiased(left):
        g = len(left)
        some = np.isin(part, left)
        without = [measure(x[some & (part != k)], y[some & (part != k)]) for k in left]
        return g * measure(x[some], y[some]) - (g - 1) * np.mean(without)

    estimate = unbiased(list(range(parts)))
    moved = np.array([unbiased([other for other in range(parts) if other != k]) for k in range(parts)])
    reach = stats.t.ppf(0.95, parts - 1) * np.sqrt((parts - 1) / parts * ((moved - moved.mean()) ** 2).sum())
    found = interval(measure, x, y, level=0.9, parts=parts, seed=3)
    assert (found.low, found.high, found.estimate, found.level) == pytest.approx(
        (estimate - reach, estimate + reach, estimate, 0.9), abs=1e-10
    )


def test_of_a_mean_it_is_students(rng):
    """A value that is a mean over samples has no bias, and its interval is that of the means of the parts."""
    measure = rs.measures.from_function(
        lambda x, y: float((x * y).mean()), kind="similarity", symmetric=True, name="mean product"
    )
    x, y = rng.normal(size=(100, 1)), rng.normal(size=(100, 1))
    part = np.random.default_rng(0).permutation(100) % 10
    means = [(x * y)[part == k].mean() for k in range(10)]
    known = stats.t.interval(0.95, 9, np.mean(means), stats.sem(means))
    found = interval(measure, x, y)
    assert (found.low, found.high, found.estimate) == pytest.approx((*known, np.mean(means)))


@pytest.mark.parametrize(
    ("measure", "generator"),
    [("cka_debiased", "decaying"), ("procrustes", "near"), ("procrustes", "heavy"), ("rsa", "heavy")],
)
def test_intervals_hold_the_value_of_all_samples(measure, generator):
    make, measure, draws = calibration.GENERATORS[generator][0], rs.measures.get(measure), sized(25, 60)
    value = measure(*make(2500 if measure == rs.measures.get("rsa") else 20_000, np.random.default_rng(7)))
    found = [interval(measure, *make(200, np.random.default_rng([seed, 200]))) for seed in range(draws)]
    assert sum(value in one for one in found) >= fewest(draws, 0.95, 700)
    half = stats.t.ppf(0.75, 9) / stats.t.ppf(0.975, 9)
    near = sum(abs(value - one.estimate) < half * (one.high - one.estimate) for one in found)
    assert near <= most(draws, 0.5, 30_000)


def test_the_bias_is_taken_out():
    """Procrustes at 200 samples is too low by more than its interval is wide: the plain value is not the estimate."""
    x, y = calibration.near(200, np.random.default_rng(1))
    found, value = (
        interval("procrustes", x, y),
        rs.measures.get("procrustes")(*calibration.near(20_000, np.random.default_rng(7))),
    )
    plain = rs.measures.get("procrustes")(x, y)
    assert abs(found.estimate - value) < 0.3 * abs(plain - value) and plain < found.estimate


def test_intervals_know_their_level_and_their_seed(rng):
    x, y = calibration.decaying(100, rng)
    narrow, wide = interval("cka", x, y, level=0.8), interval("cka", x, y, level=0.99)
    assert wide.low < narrow.low < narrow.estimate == wide.estimate < narrow.high < wide.high
    assert interval("cka", x, y, seed=1) == interval("cka", x, y, seed=1) != interval("cka", x, y, seed=2)


def test_what_has_no_interval_is_an_error(rng):
    x, y = rng.normal(size=(40, 30)), rng.normal(size=(40, 4))
    one = np.zeros((40, 3))
    one[5] = 1.0
    for sides, measure, options, kind, says in (
        (
            (x[:19], y[:19]),
            "cka",
            {},
            ValueError,
            "needs at least 20 samples, so that some can be left out; there are 19",
        ),
        ((x, y[:39]), "cka", {}, ValueError, "'x' has 40 rows, 'y' has 39"),
        ((x, x), "procrustes", {}, rs.measures.UndefinedError, "whichever samples are left out"),
        ((one, y), "cka", {}, rs.measures.UndefinedError, "of 40 samples left out, as the interval needs it"),
        ((x, y), "mean_cca", {}, rs.measures.UndefinedError, "of 40 samples left out, as the interval needs it"),
        ((x, y), "cka", {"level": 95}, ValueError, "between 0 and 1, such as 0.95; got 95"),
        ((x, y), "cka", {"parts": 2}, ValueError, "parts must be an integer >= 5"),
        ((x, y), "ckaa", {}, ValueError, "Did you mean 'cka'"),
    ):
        with pytest.raises(kind, match=says):
            interval(measure, *sides, **options)


@pytest.mark.parametrize("name", rs.measures.ALL)
def test_intervals_that_are_not_calibrated_come_with_a_warning(name, rng):
    """With a fixed k shared neighbours depend on n, and a regression changes with the samples that are left out."""
    measure = rs.measures.ALL[name]
    if measure.compares == "outputs":
        return
    x = rng.normal(size=(60, 5))
    y = x + rng.normal(size=(60, 5))
    words = {
        "mutual_knn": "interval of mutual_knn: the value depends on the number of samples.*measure.chance",
        "jaccard_knn": "interval of jaccard_knn: the value depends on the number of samples",
        "cknna": r"interval of cknna: the value depends on the number of samples.*chance_corrected\(measure, x, y\)",
        "linear_predictivity": "interval of linear_predictivity: leaving out samples changes the regression",
    }
    words |= dict.fromkeys(("rank_similarity", "second_order_cosine"), words["cknna"].replace("cknna", name))
    grows = ("size_and_shape", "rsm_norm_difference", "rtd_lite", "nts")
    words |= dict.fromkeys(grows, "depends on the number of samples, so there is no population value.*permutation_test")
    calibrated = (rs.measures.CKA, rs.measures.Procrustes, rs.measures.RSA)
    other = [one for one, kind in rs.measures.ALL.items() if one not in words and not isinstance(kind, calibrated)]
    words |= dict.fromkeys(other, "intervals of this measure were not calibrated")
    if name in words:
        with pytest.warns(UserWarning, match=words[name]) as issued:
            interval(measure, x, y, parts=5)
        assert len(issued) == 1 and issued[0].filename == __file__
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            interval(measure, x, y, parts=5)


def test_a_warning_recommends_what_the_measure_has(rng):
    x, y = rng.normal(size=(2, 60, 5))
    for name in ("mutual_knn", "jaccard_knn", "cknna"):
        measure = rs.measures.get(name)
        assert ("measure.chance(n)" in why_unreliable(measure)) == hasattr(measure, "chance"), name
    assert rs.inference.chance_corrected("cknna", x, x + y) >= 0  # what the warning on cknna recommends


def test_the_value_of_shared_neighbours_depends_on_the_number_of_samples():
    """Why there is a warning: at 200 samples neither the value nor the interval is near the value at 2,000."""
    wide = measures.get("mutual_knn")(*calibration.decaying(2000, np.random.default_rng(7)))
    x, y = calibration.decaying(200, np.random.default_rng(0))
    with pytest.warns(UserWarning, match="mutual_knn"):
        found = interval("mutual_knn", x, y)
    assert wide < 0.2 < 0.3 < measures.get("mutual_knn")(x, y) and found.high - found.low > 0.2


@pytest.mark.parametrize("name", ["size_and_shape", "rsm_norm_difference", "rtd_lite", "nts"])
def test_values_without_a_population_value_change_with_the_number_of_samples(name):
    """Their intervals did not hold even the measured value: 18.8, with an interval from 22.6 to 34.3."""
    measure, rng = measures.get(name), np.random.default_rng(0)
    x = rng.normal(size=(240, 5))
    y = x @ rng.normal(size=(5, 5)) + 0.5 * rng.normal(size=(240, 5))
    few, all_samples = measure(x[:60], y[:60]), measure(x, y)
    assert abs(all_samples - few) > 0.1 * max(abs(few), 1)
    found = rs.inference.sample_size(measure, x[:40], y[:40], sizes=[20, 40])
    assert np.isnan(found.limit) and found.enough is None


def test_sample_sizes_of_shared_neighbours_report_no_limit_instead_of_a_warning(rng):
    x = rng.normal(size=(40, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        rs.inference.sample_size("mutual_knn", x, x + rng.normal(size=(40, 3)), sizes=[20, 40])


def test_an_interval_can_be_watched_and_stopped(rng):
    seen = []
    interval("cka", *calibration.heavy(50, rng), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (55, 55)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interval("cka", *calibration.heavy(50, rng), progress=stop)


# -- the long simulations


def kept():
    path = ROOT / "benchmarks" / "calibration.json"
    if not path.exists():
        pytest.skip("not simulated yet: make calibration")
    return json.loads(path.read_text())


def test_the_page_that_ships_was_written_from_the_numbers_that_ship():
    assert calibration.report(kept()) == (ROOT / "benchmarks" / "CALIBRATION.md").read_text()


def test_what_is_promised_was_held():
    """95 % intervals contain the value 92 to 98 times of 100, in the cases that are documented as calibrated."""
    found, page = kept(), (ROOT / "benchmarks" / "CALIBRATION.md").read_text()
    done = {calibration.case_of(row) for row in found["intervals"] if row["simulations"] == calibration.MANY}
    assert all(
        (f"{case.measure}, {case.generator}, n = {case.n:,}" in page) == (case not in done)
        for case in calibration.CASES
    ), "cases that are not simulated are listed"
    promised = [row for row in found["intervals"] if calibration.case_of(row).promised]
    assert {(row["measure"], row["n"]) for row in promised} >= {
        ("cka_debiased", 200),
        ("cka_debiased", 1000),
        ("procrustes", 200),
        ("procrustes", 1000),
        ("rsa", 200),
    }
    for row in promised:
        assert 0.92 <= row["held"] / row["simulations"] <= 0.98, row
    for row in found["tests"]:
        assert row["nulls"] >= 1000 and row["ks_p"] > 0.01, row
    for row in found["tails"]:
        assert row["pairs"] >= 5000 and row["below_001"] <= 0.002 and row["below_01"] <= 0.013, row
    for row in found["null_tables"]:
        assert row["tables"] >= 100 and row["mistaken"] <= 0.08 * row["tables"], row
    for row in found["rows"]:
        many = row["simulations"]
        assert many >= 60 and stats.binom(many, 0.92).ppf(0.01) <= row["held"], row
        assert (
            max(row[by]["below_05"] for by in ("permutations", "closed")) <= stats.binom(many, 0.05).ppf(0.999) / many
        ), row
    assert (
        len(found["tails"]) == len(hard_nulls.TAILS)
        and len(found["null_tables"]) == 4
        and len(found["rows"]) == len(hard_nulls.ROWS)
    )


def test_it_runs_in_short():
    found = calibration.one(calibration.Case("cka_debiased", "near", 40), 5)
    assert 0 <= found["held"] <= 5 and found["width"] > 0
    tested = calibration.tested("cka", "closed form", 40)
    assert 0 < tested["ks_p"] <= 1
    hard = {
        "tails": [hard_nulls.tails(hard_nulls.TAILS[0], 25)],
        "null_tables": [hard_nulls.null_tables(hard_nulls.NULL_TABLES[0], 2)],
        "rows": [hard_nulls.rows(hard_nulls.ROWS[0], 2)],
    }
    assert "| cka_debiased | near | 40 |" in calibration.report(
        {"level": 0.95, "intervals": [found], "tests": [tested], **hard}
    )
