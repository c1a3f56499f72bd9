"""The report on one value of CKA: a verdict for each way in which it misleads, checks against the measures, and the
line of code that comes next.
"""

import inspect

import numpy as np
import pandas as pd
import pytest

import repsim_nb as rs
from repsim_nb import reliability
from repsim_nb.results.reliability import Report, leave_out, report
from repsim_nb.results.reliability.pair_checks import smaller_group, unrelated_value, without_components
from repsim_nb.support.errors import UndefinedError

CKA = rs.measures.get("cka")


def pair(rng, n=300, p=12, noise=0.5):
    """Two sides that share most of what they have."""
    x = rng.normal(size=(n, p)) * 1.2 ** -np.arange(p)
    return x, (x + noise * rng.normal(size=x.shape) * 1.2 ** -np.arange(p)) @ np.linalg.qr(rng.normal(size=(p, p)))[0]


def outlier(rng):
    x, y = pair(rng)
    return x, reliability.translate(y, np.arange(300) == 7, rng.normal(size=12), 300)


def moved_class(rng):
    x, y = pair(rng)
    return x, reliability.translate(y, np.arange(300) % 6 == 0, rng.normal(size=12), 30)


def dominated(rng):
    x, y = pair(rng)
    return x, y + 60 * np.outer(rng.normal(size=300), rng.normal(size=12))


def unrelated(rng):
    return rng.normal(size=(40, 100)), rng.normal(size=(40, 80))


def few(rng):
    x = rng.normal(size=(60, 150))
    return x, 0.6 * x + rng.normal(size=x.shape)


def shared_only(rng):
    common = 20 * rng.normal(size=300)
    return tuple(np.outer(common, rng.normal(size=p)) + rng.normal(size=(300, p)) for p in (15, 25))


def moved_classes(rng):
    x, y = pair(rng)
    for k in range(2):
        y = reliability.translate(y, np.arange(300) % 6 == k, rng.normal(size=12), 30)
    return x, y


def all_classes(rng):
    """All classes are moved apart, each in its own direction."""
    x, y = pair(rng)
    for k in range(6):
        y = reliability.translate(y, np.arange(300) % 6 == k, rng.normal(size=12), 100)
    return x, y


def many_outliers(rng):
    x, y = pair(rng)
    y[:40] += 100 * rng.normal(size=(40, 12))
    return x, y


CASES = {
    moved_classes: "far samples hide similarity",
    many_outliers: "far samples hide similarity",
    pair: "stable",
    outlier: "a few samples",
    moved_class: "a component hides similarity",
    dominated: "a component hides similarity",
    unrelated: "not above chance",
    all_classes: "large differences hide similarity",
    few: "too few samples",
    shared_only: "one shared component",
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_each_way_to_mislead_has_its_verdict_and_a_line_that_runs(case, seed):
    x, y = case(np.random.default_rng(seed))
    found = report(x, y)
    assert found.verdict == CASES[case] and found.ok == (found.verdict == "stable")
    assert found.value == pytest.approx(CKA(x, y), abs=1e-12) and f"{found.value:.2f}" in found.sentence
    assert eval(found.command, {"rs": rs, "np": np, "x": x, "y": y}) is not None
    assert found.summary == f"x × y: {found.verdict}. {found.sentence}" and "\n" not in found.summary


def test_what_is_said_of_an_outlier_and_the_line_after_it_is_stable(rng):
    x, y = outlier(rng)
    found = report(x, y)
    assert found.rows == (7,) and "1 outlier of 300 samples: row 7." in found.sentence
    kept = np.arange(300) != 7
    assert found.table.loc["cka, outliers left out", "value"] == pytest.approx(CKA(x[kept], y[kept]))
    assert "outliers" in [finding.title for finding in found.findings]
    assert eval(found.command, {"rs": rs, "np": np, "x": x, "y": y}).verdict == "stable"


def test_many_outliers_that_mask_each_other_are_found_by_their_distance(rng):
    x, y = pair(rng)
    moved = np.arange(300) < 9
    y[moved] += 300
    found = report(x, y)
    assert found.verdict == "a few samples" and set(found.rows) == set(np.flatnonzero(moved))
    assert reliability.diagnose(x, y).outliers == tuple(range(9))


def test_a_moved_class_is_named(rng):
    x, y = moved_class(rng)
    found = report(x, y)
    assert found.rows == tuple(range(0, 300, 6)) and "splits off 50 samples" in found.sentence
    assert found.table.loc["cka, first components removed", "value"] > found.value + 0.3
    spread = report(*dominated(rng))
    assert spread.rows == () and "splits off" not in spread.sentence


def test_samples_that_are_far_in_many_directions_hide_similarity(rng):
    for case in (moved_classes, many_outliers):
        x, y = case(rng)
        found = report(x, y)
        clipped = [reliability.clip_lengths(side) for side in (x, y)]
        value, chance, _ = found.table.loc["cka, lengths clipped"]
        assert value == pytest.approx(CKA(*clipped)) and chance == pytest.approx(unrelated_value(*clipped))
        assert value > found.value + 0.2 and f"{value:.2f}" in found.sentence
    assert found.rows == tuple(range(40))
    heavy = rng.standard_t(3, size=(2, 200, 20))
    assert report(*heavy).verdict == "not above chance", "unrelated, with and without clipping"
    half = np.zeros((300, 3))
    half[:20] = rng.normal(size=(20, 3))
    assert np.isnan(report(half, x).table.loc["cka, lengths clipped", "value"])


def test_influential_samples_that_are_not_far(rng):
    """Samples in another order on one side lower CKA, although no sample is an outlier."""
    x = np.linspace(-1, 1, 400)[:, None] ** 5 * [1.0, 0.3] + 0.05 * rng.normal(size=(400, 2))
    y = x.copy()
    y[[0, 1, 398, 399]] = y[[398, 399, 0, 1]]
    found = report(x, y, fraction=0.01)
    assert set(found.rows) == {0, 1, 398, 399}
    assert "without the 4 samples of 400 that lower it most" in found.sentence
    kept = np.arange(2, 398)
    assert found.table.loc["cka, lowering samples left out", "value"] == pytest.approx(CKA(x[kept], y[kept]))


def test_rows_of_the_table_are_what_the_measures_say(rng):
    x, y = pair(rng)
    found = report(x, y)
    table = found.to_frame()
    for name in ("cka", "cka_debiased", "rsa", "mutual_knn", "mean_cca", "nbs"):
        assert table.loc[name, "value"] == pytest.approx(rs.measures.get(name)(x, y), abs=1e-9)
    assert table.loc["cka", "chance"] == pytest.approx(rs.inference.null_moments("cka", x, y).mean, rel=1e-6)
    assert table.loc["mutual_knn", "chance"] == pytest.approx(10 / 299)
    for name in ("rsa", "mean_cca", "nbs"):
        levels = rs.inference.chance_values(name, {"x": x, "y": y}, n_pairs=30, groups=range(300))
        assert abs(table.loc[name, "chance"] - levels.mean()) < 4 * levels.std()
    table["value"] = 0.0
    assert found.table.loc["cka", "value"] == found.value, "to_frame is a copy"


@pytest.mark.parametrize("shape", [(50, 8), (50, 90)])
def test_components_are_removed_from_both_sides(rng, shape):
    x, y = rng.normal(size=shape) * 1.1 ** -np.arange(shape[1]), rng.normal(size=(50, 6))
    y[:, 0] += 3 * x[:, 0]
    scores = []
    for side in (x, y):
        scores.append(np.linalg.svd(side - side.mean(axis=0), full_matrices=False)[0][:, 0])
    basis = np.linalg.qr(np.column_stack(scores))[0]
    sides = [side - side.mean(axis=0) for side in (x, y)]
    right = CKA(*[side - basis @ (basis.T @ side) for side in sides])
    assert without_components(x, y)[0] == pytest.approx(right, rel=1e-9)
    single = np.outer(rng.normal(size=50), [1.0, 2.0])
    assert np.isnan(without_components(single, y)[0]), "nothing is left of one side"


def test_two_groups_are_told_from_a_spread():
    rng = np.random.default_rng(0)
    for scores in (rng.normal(size=500), rng.uniform(size=500), rng.laplace(size=500)):
        assert smaller_group(scores) == ()
    scores = rng.normal(size=500)
    scores[[3, 10, 77]] -= 300
    assert smaller_group(scores) == smaller_group(-scores) == (3, 10, 77)


def test_leaving_out_is_what_the_measure_says_without_the_samples(rng):
    x, y = pair(rng, n=120)
    for name in ("cka", "procrustes"):
        measure = rs.measures.get(name)
        found = leave_out(name, x, y, fraction=0.05)
        order = np.argsort(-rs.inference.influence(name, x, y))
        assert found.raising == tuple(order[:6]) and set(found.lowering) == set(order[-6:])
        for value, rows in ((found.low, found.raising), (found.high, found.lowering)):
            kept = np.setdiff1d(np.arange(120), rows)
            assert value == pytest.approx(measure(x[kept], y[kept]), abs=1e-12)
        assert found.low < found.value < found.high
        assert found.change == pytest.approx(max(found.value - found.low, found.high - found.value))
        assert "without 5 % of the samples (6 of 120)" in str(found)
    with pytest.raises(ValueError, match="fraction"):
        leave_out("cka", x, y, fraction=0)


def test_groups_are_left_out_whole(rng):
    x, y = pair(rng, n=120)
    groups = np.repeat(np.arange(40), 3)
    y[6:9] += 500
    found = leave_out("cka", x, y, groups=groups)
    assert found.units == 40 and found.unit == "groups" and found.rows == (2,)
    whole = report(x, y, groups=groups)
    assert whole.verdict == "a few samples" and set(whole.rows) == {6, 7, 8}
    with pytest.raises(UndefinedError, match="it needs 5 or more; there are 4. Use more groups"):
        report(x, y, groups=np.arange(120) % 4)


def of_groups(rng, related, size=8):
    """Two sides of 24 groups, whose rows are nearly equal."""
    codes = np.repeat(np.arange(24), size)
    means = rng.normal(size=(2, 24, 40))
    x, y = means[:, codes] + 0.2 * rng.normal(size=(2, len(codes), 40))
    return x, (x + y if related else y), codes


def test_the_level_of_unrelated_data_is_that_of_the_groups(rng):
    x, y, codes = of_groups(rng, related=False)
    permuted = [y.reshape(24, 8, 40)[rng.permutation(24)][:, rng.permutation(8)].reshape(y.shape) for _ in range(300)]
    expected = np.mean([CKA(x, other) for other in permuted])
    assert unrelated_value(x, y, codes) == pytest.approx(expected, rel=0.01)
    assert expected > 0.5 > unrelated_value(x, y), "rows that are taken for independent"
    order, own = rng.permutation(len(x)), np.arange(len(x))
    x, y = x[order], y[order]
    assert unrelated_value(x, y, own) == pytest.approx(rs.inference.null_moments("cka", x, y).mean)


def test_what_other_measures_see_is_said_if_cka_is_at_chance(rng):
    x, y = all_classes(rng)
    found = report(x, y)
    cca, knn = found.table.loc["mean_cca"], found.table.loc["mutual_knn"]
    assert (
        f"mean_cca is {cca['value']:.2f} ({cca['chance']:.2f}) and mutual_knn is {knn['value']:.2f}" in found.sentence
    )
    assert "as if all classes moved apart" in found.sentence and found.value < 0.03 < 0.5 < cca["value"]
    assert "mean_cca" in found.command and eval(found.command, {"rs": rs, "x": x, "y": y}).p_value < 0.01
    classes = np.arange(300) % 6
    within = [CKA(x[classes == k], y[classes == k]) for k in range(6)]
    assert min(within) > 0.5, "what the sentence says is true"
    verdicts = [report(*rng.normal(size=(2, n, p))).verdict for n, p in ((30, 4), (60, 20), (200, 6)) for _ in range(8)]
    assert verdicts.count("large differences hide similarity") <= 1


def test_groups_are_in_values_levels_and_the_next_line(rng):
    groups = None
    for related, verdict in ((False, "not above chance"), (True, "too few samples")):
        x, y, groups = of_groups(rng, related)
        found = report(x, y, groups=groups)
        assert found.verdict == verdict
        assert found.table.loc["cka", "chance"] == pytest.approx(unrelated_value(x, y, groups))
        for name in ("cka_debiased", "rsa"):
            whole = rs.inference.permutation_test(name, x, y, groups=groups, n_permutations=19)
            assert found.table.loc[name, "value"] == pytest.approx(whole.statistic, abs=1e-9)
        assert found.command.endswith(", groups=groups)")
        assert eval(found.command, {"rs": rs, "np": np, "x": x, "y": y, "groups": groups}) is not None
    unknown = report(x, y)
    assert unknown.verdict == "stable" and "rows look grouped: if they depend on each other" in unknown.sentence
    assert "look grouped" not in report(x, y[rng.permutation(len(y))]).sentence
    y[:8] += 900
    found = report(x, y, groups=groups)
    assert found.verdict == "a few samples"
    after = eval(found.command, {"rs": rs, "np": np, "x": x, "y": y, "groups": groups})
    assert after.verdict == "too few samples" and "23 groups" in after.sentence


def test_the_next_line_has_the_groups_of_a_recording(rng):
    x, y, groups = of_groups(rng, related=True)
    y[8:16] += 900
    for side, other in ((x, y), (y, x)):
        kept = rs.from_arrays({"a/l": side}, groups=groups)["a/l"]
        given = {"x": kept, "y": other} if side is x else {"x": other, "y": kept}
        found = report(**given)
        assert set(found.rows) == set(range(8, 16))
        after = eval(found.command, {"rs": rs, "np": np, **given})
        assert "23 groups" in after.sentence


def test_the_level_is_of_the_samples_looked_at(rng, monkeypatch):
    x, y = rng.normal(size=(2, 900, 60))
    found = report(x, y, max_samples=90)
    assert found.table.loc["cka", "chance"] == pytest.approx(found.value, abs=0.03)
    assert "90 of 900 samples were looked at" in found.notes[0]
    assert not report(x, y).notes
    monkeypatch.setattr("repsim_nb.results.reliability.representation_facts.MAX_MULTIPLICATIONS", 4e5)
    assert report(x, y).samples == 111, "as many as diagnose looks at: 4e5 / 60²"


@pytest.mark.filterwarnings("ignore:interval of cka_debiased")
@pytest.mark.parametrize("n", [5, 12, 19, 20])
def test_the_next_line_runs_with_few_samples(rng, n):
    x, y = pair(rng, n=n, p=2, noise=0.01)
    found = report(x, y)
    assert found.verdict == "stable"
    assert eval(found.command, {"rs": rs, "np": np, "x": x, "y": y}) is not None
    alike = report(np.eye(n), y)  # debiased CKA is undefined
    assert alike.verdict == "not above chance"
    assert eval(alike.command, {"rs": rs, "np": np, "x": np.eye(n), "y": y}) is not None


def test_rows_are_those_given_if_only_some_are_looked_at(rng):
    x, y = pair(rng, n=900)
    y[300] += 500
    found = report(x, y, max_samples=10_000)
    assert found.samples == 900 and found.rows == (300,)
    some = report(x[::1], y, max_samples=300)
    looked = np.linspace(0, 899, 300).round().astype(int)
    assert some.samples == 300
    assert some.value == pytest.approx(CKA(x[looked], y[looked]), abs=1e-12)
    y[looked[17]] += 500
    assert report(x, y, max_samples=300).rows == (int(looked[17]),)


def test_one_sample_with_all_the_variance(rng):
    x = np.zeros((50, 3))
    x[3] = 1
    found = report(x, rng.normal(size=(50, 4)))
    assert found.verdict == "a few samples" and found.rows == (3,)
    assert "one sample has nearly all the variance" in found.sentence
    assert eval(found.command, {"rs": rs, "np": np, "x": x, "y": x}).findings


def test_sides_are_checked_and_names_are_used(rng):
    x, y = pair(rng)
    assert report(x, y, names=["early", "late"]).summary.startswith("early × late: stable. ")
    with pytest.raises(UndefinedError, match="constant"):
        report(x, np.ones_like(y))
    with pytest.raises(ValueError):
        report(x, y[:-1])
    frame = pd.DataFrame(x, index=[f"s{i}" for i in range(300)])
    with pytest.raises(ValueError, match="align"):
        report(frame, frame.sample(frac=1, random_state=0))
    assert report(frame, frame).value == pytest.approx(1)
    for name, value in (("max_samples", 3), ("seed", -1), ("fraction", 1.5)):
        with pytest.raises(ValueError, match=name):
            report(x, y, **{name: value})


def test_it_is_shown_and_cannot_be_changed(rng):
    found = report(*outlier(rng))
    page, text = found._repr_html_(), str(found)
    for part in (found.verdict, found.sentence, "cka_debiased", "Next: "):
        assert part in page
    assert found.summary in text and text.splitlines()[-1] == f"next: {found.command}"
    assert "color" not in page and "background" not in page, "colors are those of the page, dark or light"
    with pytest.raises(AttributeError):
        found.verdict = "stable"
    assert isinstance(found, Report)
    shown = leave_out("cka", *outlier(rng))._repr_html_()
    assert "lower it most: 7" in shown


def test_the_words_of_the_docstring_are_the_verdicts():
    text = " ".join(inspect.getdoc(Report).split())
    assert all(f'"{verdict}"' in text for verdict in CASES.values())


def test_pairs_of_trained_layers_are_stable():
    data = rs.load_dataset("mnist", n=200)
    x = rs.record(["zoo:mnist-mlp-0", "zoo:mnist-mlp-1"], data, ["fc1", "fc3"], progress=False)
    first, second = (list(x.where(model=name).values()) for name in ("mnist-mlp-0", "mnist-mlp-1"))
    assert [report(a, b).verdict for a, b in zip(first, second, strict=True)] == ["stable", "stable"]


def test_the_detail_of_a_clicked_cell_ends_with_the_verdict(rng):
    x, y = outlier(rng)
    given = {"a/one": x, "a/two": x[:, :4], "b/one": y, "b/two": np.ones((300, 2))}
    explorer = rs.explorers.comparison(rs.from_arrays(given), measure="cka")
    explorer.wait()
    assert explorer.reliability is None
    for layers, verdict in (
        (("one", "one"), "a few samples"),
        (("one", "two"), None),
        (("two", "one"), "a few samples"),
    ):
        explorer.choose(*layers)
        explorer.wait()
        found = explorer.reliability
        assert (found and found.verdict) == verdict, layers
    assert explorer.errors == []
    first = explorer.reliability
    explorer.choose("one", "one")
    explorer.choose("two", "one")
    explorer.wait()
    assert explorer.reliability is first, "computed once for each pair"
    explorer.controls["b"].value = "a"
    explorer.wait()
    explorer.choose("one", "one")
    explorer.wait()
    assert explorer.reliability is None, "a layer with itself"
