"""Repeats of one measurement: noise ceilings, and models that explain them, with intervals over samples and repeats."""

import numpy as np
import pytest
from scipy import stats

import repsim_nb as rs
from repsim_nb.measures import CKA, RSA, DistanceCorrelation, UndefinedError
from repsim_nb.results.inference import NoiseCeiling, compare_models, noise_ceiling
from repsim_nb.results.inference.ceilings import bounds
from repsim_nb.results.inference.resampled_rsa import ResampledRSA

rng = np.random.default_rng(0)
TRUTH = rng.random(66)  # 12 samples
REPEATS = {k: rs.RDM(v) for k, v in enumerate(TRUTH + rng.random((4, 66)))}
MODELS = {"a": rs.RDM(TRUTH + 0.2 * rng.random(66)), "b": rs.RDM(rng.random(66))}
COSINE = RSA(first="euclidean", second="cosine")
PEARSON = RSA(second="pearson")


@pytest.fixture(scope="module")
def people():
    latent = rng.normal(size=(20, 4))
    return {k: latent @ rng.normal(size=(4, 7)) + 0.5 * rng.normal(size=(20, 7)) for k in range(6)}


# -- ceilings


@pytest.mark.parametrize(
    ("measure", "values", "ceiling"),
    [
        (PEARSON, (0.6677572764730875, 0.004339662566551678), (0.5858316570559137, 0.7758231849606751)),
        (COSINE, (0.9406323483254804, 0.835485223538523), (0.9535314276158546, 0.9739668903152735)),
        (RSA(), (0.6488153637407369, -0.015353303413004907), None),
    ],
    ids=str,
)
def test_values_and_ceilings_are_those_of_rsatoolbox(measure, values, ceiling):
    """`eval_fixed` of rsatoolbox 0.3.2; for Spearman it ranks the mean of the ranks again."""
    assert rs.compare(measure, MODELS, REPEATS).values.mean(axis=1).to_numpy() == pytest.approx(values, abs=1e-12)
    found = noise_ceiling(measure, REPEATS)
    if ceiling is not None:
        assert (found.lower, found.upper) == pytest.approx(ceiling, abs=1e-12)


def test_the_ceiling_of_spearman_is_with_the_mean_of_ranks():
    ranks = np.array([stats.rankdata(rdm.vector()) for rdm in REPEATS.values()])
    found = noise_ceiling("rsa", REPEATS)
    for i, row in enumerate(ranks):
        others = np.delete(ranks, i, axis=0).mean(axis=0)
        assert found.each["lower"].iloc[i] == pytest.approx(np.corrcoef(row, others)[0, 1])
        assert found.each["upper"].iloc[i] == pytest.approx(np.corrcoef(row, ranks.mean(axis=0))[0, 1])
    again = np.mean([stats.spearmanr(row, ranks.mean(axis=0)).statistic for row in ranks])
    assert again == pytest.approx(0.7401906067046957), "as rsatoolbox"
    assert again < found.upper


@pytest.mark.parametrize("measure", [CKA(), CKA(debiased=True), CKA(kernel="rbf"), DistanceCorrelation()], ids=str)
def test_the_ceiling_of_a_kernel_measure_is_with_the_mean_of_its_matrices(measure, people):
    matrices = np.array([measure.gram_matrix(measure.prepare(x)).ravel() for x in people.values()], dtype=float)
    mean = matrices.mean(axis=0)
    expected = np.mean(matrices @ mean / np.linalg.norm(mean))
    found = noise_ceiling(measure, people)
    assert found.upper == pytest.approx(expected)
    assert found.lower < found.upper <= 1
    assert found.upper in found
    assert 1.0 not in found


def test_copies_of_a_repeat_are_no_others():
    table = rs.compare("rsa", REPEATS).values.to_numpy()
    lower, upper = bounds(table, np.array([2, 1, 1, 0]))
    again = np.array([0, 0, 1, 2])
    drawn = table[np.ix_(again, again)]
    assert upper[0] == pytest.approx(bounds(drawn)[1][0])
    assert lower[0] == pytest.approx(bounds(table[:3, :3])[0][0])


def test_equal_repeats_leave_no_gap():
    found = noise_ceiling("rsa", {"a": REPEATS[0], "b": REPEATS[0]})
    assert (found.lower, found.upper) == (pytest.approx(1), pytest.approx(1))


def test_what_has_no_ceiling_says_why(people):
    for measure in ("procrustes", DistanceCorrelation(squared=False), RSA(second="row_pearson")):
        with pytest.raises(NotImplementedError, match="needs the mean of several repeats: .*Use 'rsa'"):
            noise_ceiling(measure, people)
    with pytest.raises(ValueError, match="at least 2 repeats"):
        noise_ceiling("rsa", {"a": REPEATS[0]})
    with pytest.raises(TypeError, match="must be named"):
        noise_ceiling("rsa", list(people.values()))
    some = rs.RDM(np.where(TRUTH < 0.1, np.nan, TRUTH), missing=TRUTH < 0.1)
    with pytest.raises(UndefinedError, match="without a value for"):
        noise_ceiling("rsa", {**REPEATS, "some": some})
    turned = TRUTH.max() - TRUTH
    with pytest.raises(UndefinedError, match="opposite directions"):
        noise_ceiling("rsa", {"a": rs.RDM(TRUTH), "b": rs.RDM(TRUTH), "c": rs.RDM(turned)})


# -- resamples


@pytest.mark.parametrize("second", ["spearman", "pearson", "cosine"])
def test_weights_of_pairs_are_a_larger_matrix_without_pairs_of_copies(second):
    measure, tied = RSA(first="euclidean", second=second), rs.RDM(rng.integers(0, 3, 66))
    sides = [tied, MODELS["a"], REPEATS[1]]
    rows = np.random.default_rng(4).integers(12, size=12)
    found = ResampledRSA(measure, sides, 12).values(np.bincount(rows, minlength=12))
    first, second_ = np.triu_indices(12, 1)
    pairs = rows[first] != rows[second_]
    x = [side.values[np.ix_(rows, rows)][first, second_][pairs] for side in sides]
    if second == "spearman":
        expected = stats.spearmanr(np.array(x).T).statistic
    else:
        x = np.array(x) - (np.mean(x, axis=1, keepdims=True) if second == "pearson" else 0)
        expected = x @ x.T / np.outer(*2 * (np.linalg.norm(x, axis=1),))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    every = ResampledRSA(measure, sides, 12).values(np.ones(12, int))
    np.testing.assert_allclose(every, rs.compare(measure, dict(enumerate(sides))).values, atol=1e-12)


def test_a_resample_of_few_samples_has_no_value():
    found = ResampledRSA(RSA(), [REPEATS[0], MODELS["a"]], 12).values(np.eye(12, dtype=int)[0] * 12)
    assert np.isnan(found).all()


# -- comparisons of models


def test_the_better_model_is_found_and_its_copy_is_no_better(people):
    models = {"noise": rng.normal(size=(20, 3)), "one": people[0], "copy": people[0]}
    repeats = {k: x for k, x in people.items() if k}
    found = compare_models(RSA(first="euclidean"), models, repeats, n_bootstrap=100)
    assert found.values.index.tolist() == ["one", "copy", "noise"]
    differences = found.differences
    assert differences.loc[("one", "copy"), ["difference", "p_value"]].tolist() == [0, 1]
    assert differences.loc[("one", "noise"), "significant"]
    assert ((found.values["low"] < found.values["mean"]) & (found.values["mean"] < found.values["high"])).all()
    each = rs.compare(RSA(first="euclidean"), models, repeats).values.to_numpy()
    np.testing.assert_allclose(found.each.to_numpy(), each)
    assert found.values["mean"]["one"] == pytest.approx(each[1].mean())
    assert isinstance(found.ceiling, NoiseCeiling)
    assert 0 < differences["p_value"].min() < 0.05


def test_its_picture_has_the_ceiling(people):
    models = {"one": people[0], "noise": rng.normal(size=(20, 3))}
    found = compare_models("rsa", models, {k: people[k] for k in range(1, 6)}, n_bootstrap=20)
    shown = rs.spec(found)
    assert shown.layers[0].x == (found.ceiling.lower, found.ceiling.upper)
    points = next(layer for layer in shown.layers if layer.mark == "points")
    assert points.x == pytest.approx(tuple(found.values["mean"]))
    few = rs.spec(compare_models("rsa", MODELS, REPEATS, n_bootstrap=20))
    assert len(few.layers) == len(shown.layers), "intervals without ends leave the points"


def test_what_is_drawn_decides_the_width(people):
    models, measure = {"one": people[0], "noise": rng.normal(size=(20, 3))}, RSA(first="euclidean", second="pearson")
    repeats = {k: x for k, x in people.items() if k}
    widths, draws = {}, {}
    for resample in ("samples", "repeats", ("samples", "repeats")):
        found = compare_models(measure, models, repeats, resample=resample, n_bootstrap=100, seed=1)
        draws[resample] = found.draws.var(ddof=1)["one"]
        degrees = (20 if resample == "samples" else 5) - 1
        widths[resample] = (found.values.loc["one", "high"] - found.values.loc["one", "mean"]) / stats.t(degrees).ppf(
            0.975
        )
    both = ("samples", "repeats")
    assert widths["samples"] ** 2 == pytest.approx(draws["samples"] * 20 / 19)
    assert widths["repeats"] ** 2 == pytest.approx(draws["repeats"] * 5 / 4)
    assert max(widths["samples"], widths["repeats"]) ** 2 <= widths[both] ** 2 * (1 + 1e-9)
    assert widths[both] ** 2 <= draws[both] * (1 + 1e-9)
    again = compare_models(measure, models, repeats, n_bootstrap=100, seed=1)
    assert again.draws.equals(compare_models(measure, models, repeats, n_bootstrap=100, seed=1).draws)


def test_few_repeats_give_no_interval_over_repeats():
    found = compare_models("rsa", MODELS, REPEATS, n_bootstrap=20)
    assert np.isinf(found.values["high"]).all()
    assert np.isfinite(compare_models("rsa", MODELS, REPEATS, resample="samples", n_bootstrap=20).values["high"]).all()


def test_other_measures_draw_repeats_only(people):
    models = {"one": people[0], "noise": rng.normal(size=(20, 3))}
    found = compare_models("cka_debiased", models, people, resample="repeats", n_bootstrap=50)
    assert found.differences.loc[("one", "noise"), "significant"]
    for measure in ("cka_debiased", RSA(diagonal=True)):
        with pytest.raises(ValueError, match=r"a sample that is drawn twice is its own copy.*Use resample='repeats'"):
            compare_models(measure, models, people)
    with pytest.raises(ValueError, match="resample"):
        compare_models("rsa", models, people, resample="people")
    with pytest.raises(ValueError, match="'samples', 'repeats' or both"):
        compare_models("rsa", models, people, resample=())


def test_resamples_without_a_value_are_counted():
    ends = rs.RDM([0.0] * 5 + [1.0])  # 4 samples, of which most resamples see one dissimilarity
    with pytest.raises(UndefinedError, match="resamples have no value"):
        compare_models("rsa", {"a": ends}, {"b": ends, "c": ends}, n_bootstrap=20)
