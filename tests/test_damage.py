"""Sensitivity to kinds of damage: what each does, when it is noticed, in how many models, what is lost by then."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import repsim_nb as rs
from repsim_nb import reliability
from repsim_nb.results.grounding import DAMAGES, Damage
from repsim_nb.results.grounding.sensitivity_result import first_above

grounding = rs.grounding


def models(number=4, n=120, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    signal = rng.normal(size=(n, 8)) * 1.5 ** -np.arange(8)
    signal[:, 1] += 2 * targets
    return {
        f"n{k}": signal + noise * rng.normal(size=signal.shape) * 1.5 ** -np.arange(8) + 3 for k in range(number)
    }, targets


X, TARGETS = models(1)[0]["n0"], models(1)[1]


@pytest.mark.parametrize("name", DAMAGES)
def test_nothing_is_damaged_at_zero_and_x_stays_as_it_was(name):
    before = X.copy()
    start = DAMAGES[name].start(X, TARGETS, 0, 0)
    np.testing.assert_allclose(start(0), X, atol=1e-12)
    amounts = DAMAGES[name].reachable(DAMAGES[name].amounts, [X])
    assert amounts[0] == 0 and amounts == sorted(set(amounts)) and start(amounts[-1]).shape[0] == len(X)
    assert np.array_equal(X, before) and (
        start(amounts[-1]).shape != X.shape or np.abs(start(amounts[-1]) - X).max() > 0.1
    )
    np.testing.assert_array_equal(start(amounts[3]), DAMAGES[name].start(X, TARGETS, 0, 0)(amounts[3]))


def test_noise_is_in_standard_deviations_of_the_representation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 5)) * [1, 2, 3, 4, 5]
    added = DAMAGES["noise"].start(x, None, 0, 0)(0.5) - x
    assert added.std(axis=0) == pytest.approx(np.full(5, 0.5 * np.sqrt(x.var(axis=0).mean())), rel=0.05)
    other = DAMAGES["noise"].start(x, None, 1, 0)(0.5) - x
    assert abs(np.corrcoef(added.ravel(), other.ravel())[0, 1]) < 0.05, "draws differ"
    twice = DAMAGES["noise"].start(x, None, 0, 0)(1.0) - x
    np.testing.assert_allclose(twice, 2 * added, atol=1e-9)


def test_models_are_damaged_independently():
    """Intervals over models take them as independent draws."""
    start = [[DAMAGES["noise"].start(X, None, draw, 3, model)(1) - X for draw in range(2)] for model in range(2)]
    flat = np.corrcoef([added.ravel() for its in start for added in its])
    assert np.abs(flat[~np.eye(4, dtype=bool)]).max() < 0.15, "neither models nor draws share their noise"
    gone = {
        tuple(np.flatnonzero(np.ptp(DAMAGES["units_to_mean"].start(X, None, 0, 0, model)(0.5), axis=0) == 0))
        for model in range(8)
    }
    assert len(gone) > 3, "models lose other units"
    many = np.arange(120) % 10
    first = {
        int(many[np.abs(DAMAGES["class"].start(X, many, 0, 0, model)(2) - X).max(axis=1) > 1e-9][0])
        for model in range(12)
    }
    assert len(first) > 3, "classes take turns in an order of each model"
    seen = []
    own = Damage("seen", lambda x, amount, rng: seen.append(rng.normal()) or x, (0, 1))
    grounding.sensitivity(models(3)[0], damage=own, measures=["cka"], draws=2)
    assert len(seen) == 12 and len(set(seen)) == 6, (
        "3 models, 2 draws; two amounts of one draw have the same random numbers"
    )


def test_units_go_in_one_random_order_and_constant_ones_do_not_count():
    x = np.column_stack([X, np.ones(len(X)), np.zeros(len(X))])
    gone = DAMAGES["units"].start(x, None, 0, 0)
    kept = [{round(float(column.sum()), 6) for column in gone(amount).T} for amount in (0.25, 0.5, 0.75)]
    assert [len(units) for units in kept] == [6 + 2, 4 + 2, 2 + 2] and kept[2] < kept[1] < kept[0]
    to_mean = DAMAGES["units_to_mean"].start(x, None, 0, 0)(0.5)
    assert to_mean.shape == x.shape and int((np.ptp(to_mean, axis=0) > 0).sum()) == 4
    np.testing.assert_allclose(to_mean.mean(axis=0), x.mean(axis=0), atol=1e-12)
    assert rs.measures.CKA()(x, to_mean) == pytest.approx(rs.measures.CKA()(x, gone(0.5))), (
        "centred measures see no difference between the two"
    )


def test_one_class_is_moved_by_multiples_of_the_rms_distance():
    size = np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).mean())
    moved = set()
    for draw in range(3):
        step = DAMAGES["class"].start(X, TARGETS, draw, 0)(2) - X
        rows = np.abs(step).max(axis=1) > 1e-9
        assert len(set(TARGETS[rows])) == 1 and (rows == (TARGETS[rows][0] == TARGETS)).all()
        np.testing.assert_allclose(np.linalg.norm(step[rows], axis=1), 2 * size)
        moved.add(int(TARGETS[rows][0]))
    assert moved == {0, 1, 2}, "classes take turns"
    for targets, sentence in ((None, "needs targets"), (np.zeros(120), "all 120 targets are '0.0'")):
        with pytest.raises(ValueError, match=sentence):
            DAMAGES["class"].start(X, targets, 0, 0)


def test_a_class_moved_far_away_leaves_the_cka_of_the_theorem():
    rows = TARGETS == 1
    for draw in range(2):
        step = np.random.default_rng(draw).normal(size=X.shape[1])
        far = X + 1e6 * np.outer(rows, step)
        assert rs.measures.CKA()(X, far) == pytest.approx(reliability.translation_limit(X, rows), abs=1e-5)
    assert reliability.translation_limit(X, rows) == pytest.approx(reliability.translation_limit(X, ~rows))
    far = grounding.sensitivity(
        models()[0], TARGETS, damage="class", measures=["cka"], amounts=[1e6], probe=False, draws=3
    )
    limits = [
        1 - np.mean([reliability.translation_limit(x, value == TARGETS) for value in range(3)])
        for x in models()[0].values()
    ]
    assert far.curves["cka"].iloc[1] == pytest.approx(np.mean(limits), abs=1e-5)
    for rows in (np.zeros(120, bool), np.ones(120, bool), np.ones(7, bool)):
        with pytest.raises(ValueError, match="some True and some False"):
            reliability.translation_limit(X, rows)
    with pytest.raises(ValueError, match=r"got other values. For indices of rows, use np.isin"):
        reliability.translation_limit(X, np.arange(120))
    assert reliability.translation_limit(X, (TARGETS == 1).astype(int)) == reliability.translation_limit(
        X, TARGETS == 1
    )


def test_rounding_leaves_as_many_levels_as_it_says():
    for levels in (2, 3, 16):
        rounded = DAMAGES["quantisation"].start(X, None, 0, 0)(1 / (levels - 1))
        assert max(len(np.unique(column.round(9))) for column in rounded.T) == levels
        assert np.abs(rounded - X).max() <= np.ptp(X, axis=0).max() / (levels - 1) / 2 + 1e-9
        np.testing.assert_allclose(
            [rounded.min(axis=0), rounded.max(axis=0)], [X.min(axis=0), X.max(axis=0)], atol=1e-9
        )
    assert DAMAGES["quantisation"].text(1 / 15) == "16 levels" and DAMAGES["quantisation"].text(0) == "none"


def test_amounts_that_give_the_same_levels_are_one():
    quantisation = DAMAGES["quantisation"]
    assert quantisation.reachable([0.3, 0.33, 1 / 3, 0.5, 0.7, 1], [X]) == [0, 1 / 3, 0.5, 1]
    assert quantisation.reachable(quantisation.amounts, [X]) == sorted({0.0, *quantisation.amounts})
    found = grounding.sensitivity(models()[0], damage="quantisation", measures=["cka"], amounts=[0.3, 0.33, 1 / 3])
    assert list(found.curves.index) == [0, 1 / 3]


def test_curves_are_means_of_draws_and_a_measure_notices_at_the_first_amount_above_its_threshold():
    xs, targets = models()
    found = grounding.sensitivity(
        xs, targets, damage="noise", measures=["cka", "procrustes"], amounts=[0.1, 0.3, 0.9], draws=2, seed=5
    )
    noisy = [
        [DAMAGES["noise"].start(x, None, draw, 5, model)(0.3) for draw in range(2)]
        for model, x in enumerate(xs.values())
    ]
    expected = np.mean([1 - rs.measures.CKA()(x, y) for x, ys in zip(xs.values(), noisy, strict=True) for y in ys])
    assert list(found.curves.index) == [0, 0.1, 0.3, 0.9] and found.curves.loc[0.3, "cka"] == pytest.approx(expected)
    assert found.closed_form.empty and found.damage is DAMAGES["noise"]
    table = rs.compare("cka", xs).dissimilarity().to_numpy()
    other = ~np.eye(4, dtype=bool)
    assert found.table.loc["cka", "threshold"] == pytest.approx(table[other].mean())
    above = found.curves.index[found.curves["cka"] > found.table.loc["cka", "threshold"]]
    assert found.table.loc["cka", "noticed"] == (above[0] if len(above) else "never")
    own = [table[k][other[k]].mean() for k in range(4)]
    each = [
        next((a for a, v in found.each.loc[name, "cka"].items() if v > limit), "never")
        for name, limit in zip(xs, own, strict=True)
    ]
    assert list(found.noticed_by_model["cka"]) == each
    assert found.each.loc["n1"].shape == (4, 3) and found.accuracy.iloc[0] > 0.8
    assert "noise, 4 models" in repr(found) and "<table" in found._repr_html_()


def test_how_often_one_measure_is_earlier():
    xs, _ = models(5)
    found = grounding.sensitivity(xs, damage="noise", measures=["cka", "procrustes", "mean_cca"])
    assert rs.spec(found).panels[-1].slanted == (len(found.curves) > 12), "many amounts would run into each other"
    for name in ("cka", "procrustes"):
        table = rs.compare(name, xs).dissimilarity().to_numpy()
        np.testing.assert_allclose(found.pairs[name], (table + table.T) / 2 * ~np.eye(5, dtype=bool), atol=1e-12)
        grid = {amount: place for place, amount in enumerate(found.curves.index)}
        once = [grid.get(amount, len(grid)) for amount in found.noticed_by_model[name]]
        np.testing.assert_array_equal(found._in_resamples(name, np.ones((1, 5), int)), [once])
    changed = found.noticed_by_model.assign(
        cka=[0.3, 0.3, 0.1, "never", "never"], procrustes=[0.1, 0.3, 0.3, 0.1, "never"]
    )
    row = grounding.Sensitivity(**{**vars(found), "noticed_by_model": changed}).compare_with("procrustes").loc["cka"]
    assert (row["earlier"], row["same"], row["later"], row["estimate"]) == (2, 2, 1, 0.4)
    exact = stats.binomtest(2, 5).proportion_ci(0.95, "exact")
    assert (
        row["low"] <= exact.low
        and exact.high <= row["high"] <= 1
        and rs.inference.judge(row, above=0.5).outcome == "undecided"
    )
    assert [
        rs.inference.judge(found.compare_with("procrustes", level=level).loc["cka"], above=0.5).level
        for level in (0.95, 0.8)
    ] == [0.95, 0.8]
    with pytest.raises(ValueError, match="unknown measure of this result 'ckaa'"):
        found.compare_with("ckaa")
    with pytest.raises(ValueError, match="at least 3 models; there are 2"):
        grounding.sensitivity(dict(list(xs.items())[:2]), measures=["cka", "procrustes"]).compare_with("cka")


def test_what_is_lost_has_an_interval_over_models():
    xs, targets = models(5, noise=0.3)
    found = grounding.sensitivity(
        xs, targets, measures=["cka", "procrustes", "mean_cca"], amounts=[0.25, 0.5, 0.75, 0.875]
    )
    lost = found.accuracy_loss("procrustes")
    noticed = found.table.loc["procrustes", "noticed"]
    accuracy = found.each["accuracy"].unstack("amount")
    each = accuracy[0.0] - accuracy[noticed]
    expected = stats.t.interval(0.95, 4, loc=each.mean(), scale=each.std(ddof=1) / np.sqrt(5))
    assert (lost.low, lost.high) == pytest.approx(expected) and lost.estimate == pytest.approx(
        found.table.loc["procrustes", "accuracy_loss"]
    )
    with pytest.raises(ValueError, match="needs a measure that notices damage; mean_cca never does"):
        found.accuracy_loss("mean_cca")
    assert found.accuracy_loss(rs.measures.get("procrustes")) == lost
    with pytest.raises(ValueError, match="needs a probe. Pass targets"):
        grounding.sensitivity(xs, measures=["procrustes"]).accuracy_loss("procrustes")


def test_the_loss_of_the_population_is_held():
    rng, held = np.random.default_rng(0), []
    index = pd.MultiIndex.from_product([range(6), [0.0, 0.5]], names=["model", "amount"])
    table = pd.DataFrame({"noticed": [0.5]}, index=["one"])
    for _ in range(150):
        each = pd.DataFrame({"accuracy": np.ravel([[0.9, 0.7 + 0.05 * rng.normal()] for _ in range(6)])}, index=index)
        found = grounding.Sensitivity(
            table,
            *[pd.DataFrame()] * 2,
            each["accuracy"].groupby("amount").mean(),
            each,
            pd.DataFrame(index=range(6)),
            {},
        )
        held.append(0.2 in found.accuracy_loss("one"))
    assert 0.89 <= np.mean(held) < 1


def test_a_damage_of_ones_own():
    xs, _ = models()
    shrunk = Damage(
        "shrunk",
        lambda x, amount, rng: np.column_stack([x[:, 0] * (1 - amount), x[:, 1:]]),
        (0, 0.5, 0.9),
        "how much smaller the first unit is",
    )
    found = grounding.sensitivity(xs, damage=shrunk, measures=["cka"])
    assert list(found.curves.index) == [0, 0.5, 0.9] and found.curves["cka"].is_monotonic_increasing
    assert rs.plots.sensitivity(found)[0].get_xlabel() == "how much smaller the first unit is"
    other = Damage("half", lambda x, amount, rng: x[:60], (0, 1))
    with pytest.raises(
        ValueError,
        match=(
            r"damage 'half' must return the same 120 samples, an array \(120, features\); at 0 it returned the shape"
            r" \(60, 8\)"
        ),
    ):
        grounding.sensitivity(xs, damage=other, measures=["cka"])


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"damage": "nois"}, ValueError, "unknown damage 'nois'. Did you mean 'noise'"),
        ({"damage": 0.5}, TypeError, "or a grounding.Damage; got float"),
        ({"damage": "noise", "amounts": [-1]}, ValueError, "finite numbers from 0 on, such as"),
        ({"damage": "units", "amounts": [1]}, ValueError, "from 0 to below 1, the fraction that is deleted"),
        ({"damage": "quantisation", "amounts": [2]}, ValueError, "numbers from 0 to 1"),
        (
            {"damage": "noise", "amounts": ["x"]},
            ValueError,
            r"amounts of 'noise' must be finite numbers from 0 on, such as 0.02, 0.05, 0.1; got \['x'\]",
        ),
        ({"damage": "noise", "amounts": [0.1, None]}, ValueError, "finite numbers from 0 on"),
        ({"damage": "units", "amounts": [np.nan]}, ValueError, "from 0 to below 1"),
        ({"damage": "noise", "amounts": 0.5}, TypeError, "a list of numbers, such as .* got 0.5"),
        ({"damage": "noise", "draws": 0}, ValueError, "an integer >= 1, the number of .*; got 0"),
        ({"damage": "class"}, ValueError, "needs targets, one label for each sample"),
        ({"seed": None}, ValueError, "seed must be an integer >= 0; got None"),
    ],
)
def test_damage_that_there_is_not_is_refused(options, kind, sentence):
    with pytest.raises(kind, match=sentence):
        grounding.sensitivity(models()[0], measures=["cka"], **options)


def test_a_picture_names_the_kind_of_damage():
    xs, targets = models()
    for name in DAMAGES:
        found = grounding.sensitivity(xs, targets, damage=name, measures=["cka", "procrustes"], draws=1, probe=False)
        (ax,) = rs.plots.sensitivity(found)
        assert DAMAGES[name].axis in ax.get_xlabel() and name in ax.get_title()
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        noticed = found.table.loc["cka", "noticed"]
        assert words[0] == ("cka: never" if noticed == "never" else f"cka: at {found.text(noticed)}")
    plt.close("all")


def test_the_fraction_of_models_is_covered():
    """Two measures, each earlier in half of all models; models differ in how far they are from all others, so that
    thresholds go together.
    """
    rng, held, number = np.random.default_rng(0), [], 10
    amounts = np.arange(1, 61) / 20
    index = pd.MultiIndex.from_product([range(number), amounts], names=["model", "amount"])
    for _ in range(50):
        pairs, each, noticed = (
            {},
            pd.DataFrame(index=index),
            pd.DataFrame(index=pd.RangeIndex(number, name="model"), dtype=object),
        )
        for name in ("one", "two"):
            far = rng.normal(size=number)
            pairs[name] = np.exp(0.2 * (far[:, None] + far)) * ~np.eye(number, dtype=bool)
            each[name] = np.outer(np.exp(0.2 * rng.normal(size=number)), amounts).ravel()
            limits = pairs[name].sum(axis=0) / (number - 1)
            noticed[name] = [first_above(each.loc[k, name], limits[k]) for k in range(number)]
        found = grounding.Sensitivity(
            pd.DataFrame({"noticed": [0, 0]}, index=["one", "two"]), *[pd.DataFrame()] * 2, None, each, noticed, pairs
        )
        rows = (
            found.compare_with("one", n_bootstrap=199).loc["two"],
            found.compare_with("two", n_bootstrap=199).loc["one"],
        )
        held.append(all(row["low"] <= 0.5 for row in rows) and rows[0]["high"] + rows[0]["same"] / number >= 0.5)
    assert np.mean(held) >= 0.9


def test_damage_begins_with_the_whole_and_can_delete_something():
    rng = np.random.default_rng(0)
    xs = {f"n{k}": rng.normal(size=(30, 5 if k else 1)) for k in range(3)}
    with pytest.raises(ValueError, match="two or more parts, since one is left; representation 0 has 1"):
        grounding.sensitivity(xs, measures=["cka"], damage="units")
    louder = grounding.Damage("louder", lambda x, amount, rng: x + (1 + amount) * rng.normal(size=x.shape), (0.5, 1))
    with pytest.raises(ValueError, match="must not change a representation at amount 0"):
        grounding.sensitivity({name: rng.normal(size=(30, 5)) for name in xs}, measures=["cka"], damage=louder)


def test_undefined_pairs_of_models_are_counted_once_and_without_the_diagonal():
    def gap(x, y):
        if x is y or min(len(np.unique(x)), len(np.unique(y))) < 10:
            raise rs.measures.UndefinedError("one side has few values")
        return float(np.abs(x.mean() - y.mean()))

    measure = rs.measures.from_function(gap, kind="dissimilarity", symmetric=True)
    xs, targets = models(3)
    xs["n1"] = np.where(xs["n1"] > 3, 1.0, 0.0)
    found = grounding.sensitivity(xs, targets, measures={"cka": "cka", "gap": measure}, amounts=[0.5], probe=False)
    assert found.undefined["gap"].startswith("2 of 3 pairs of models are undefined: gap of 'n0' and 'n1': one side has")
    same = {"a": xs["n0"], "b": xs["n0"] + 1, "c": xs["n0"] + 3}  # only the diagonal has no value
    found = grounding.sensitivity(same, measures={"gap": measure}, amounts=[0.5], probe=False, damage="noise")
    assert "gap" not in found.undefined
