"""diagnose: rows that look grouped, groups that are known, and samples that are everyone's neighbour; none of them in
independent rows.
"""

import numpy as np
import pandas as pd
import pytest
from sizes import sized

import repsim_nb as rs
from repsim_nb.results.inference.row_dependence import by_distance
from repsim_nb.results.reliability import diagnose, summarize_findings
from repsim_nb.results.reliability.row_findings import neighbour_fractions


def whats(d):
    return [finding.title for finding in d.findings]


def finding(d, what):
    return next(f for f in d.findings if f.title == what)


def in_groups(g, n, p, correlation, size=8):
    own = g.normal(size=(n, p))
    return (
        np.sqrt(correlation) * np.repeat(g.normal(size=(-(-n // size), p)), size, 0)[:n]
        + np.sqrt(1 - correlation) * own
    )


def film(g, n, p, keep=0.9):
    x = g.normal(size=(n, p))
    for i in range(1, n):
        x[i] = keep * x[i - 1] + np.sqrt(1 - keep**2) * x[i]
    return x


INDEPENDENT = {
    "gaussian": lambda g, n, p: g.normal(size=(n, p)),
    "heavy norms": lambda g, n, p: g.normal(size=(n, p)) * np.exp(g.normal(size=(n, 1))),
    "relu": lambda g, n, p: np.maximum(g.normal(size=(n, p)) - 0.5, 0),
    "sparse": lambda g, n, p: np.maximum(g.normal(size=(n, p)) - 1.2, 0) + (np.arange(p) == 0) * g.normal(size=(n, 1)),
    "codes": lambda g, n, p: np.eye(p)[g.integers(0, p, n)],
}


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_independent_rows_do_not_look_grouped(kind):
    g = np.random.default_rng(1)
    found = 0
    for _ in range(125):
        n, p = int(g.choice([60, 100, 200])), int(g.choice([3, 10, 30]))
        found += "rows look grouped" in whats(diagnose(INDEPENDENT[kind](g, n, p)))
    assert found <= 1


def test_trained_layers_in_random_order_are_no_groups(recorded):
    g = np.random.default_rng(0)
    for key, layer in recorded.items():
        for _ in range(3):
            d = diagnose(np.asarray(layer)[g.permutation(len(layer))])
            assert not {"rows look grouped", "a neighbour of all"} & set(whats(d)), str(key)


@pytest.mark.parametrize("correlation", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("shape", [(104, 10), (200, 10), (800, 100)])
def test_repeats_side_by_side_and_runs_of_repeats_are_noticed(correlation, shape):
    g = np.random.default_rng(2)
    draws = sized(8, 20)
    x = [in_groups(g, *shape, correlation) for _ in range(draws)]
    runs = [one.reshape(-1, 8, shape[1]).transpose(1, 0, 2).reshape(shape) for one in x]  # all stimuli, then all again
    assert sum("rows look grouped" in whats(diagnose(one)) for one in x) >= draws - (correlation == 0.3)
    assert sum("rows look grouped" in whats(diagnose(one)) for one in runs) >= draws - (correlation == 0.3)
    assert (
        f"rows {shape[0] // 8} places apart" in str(finding(diagnose(runs[-1]), "rows look grouped"))
        or correlation == 0.3
    )


def test_a_film_is_noticed_and_the_sentence_names_what_to_do():
    g = np.random.default_rng(3)
    assert all("rows look grouped" in whats(diagnose(film(g, 100, 10))) for _ in range(20))
    found = finding(diagnose(film(g, 300, 20), names="film"), "rows look grouped")
    for words in (
        "rows that follow one another have a mean cosine of 0.8",
        "sorted by class",
        "groups=",
        "rs.inference.interval",
        "permutation_test",
        "null_table",
        "rows of film may not be",
    ):
        assert words in str(found)


def test_near_repeats_in_any_order_are_noticed():
    g = np.random.default_rng(4)
    x = np.repeat(g.normal(size=(50, 12)), 4, 0) + 1e-3 * g.normal(size=(200, 12))
    assert "have a near repeat" in str(finding(diagnose(x[g.permutation(200)]), "rows look grouped"))


def test_labels_of_an_index_that_repeat_are_named():
    g = np.random.default_rng(5)
    frame = pd.DataFrame(g.normal(size=(60, 5)), index=np.repeat([f"s{i}" for i in range(20)], 3))
    assert "index labels of x repeat: the 60 rows of x are in 20 groups (3 rows each on average)" in str(
        finding(diagnose(frame), "rows look grouped")
    )
    assert whats(diagnose(frame.reset_index(drop=True))) == []


def test_known_groups_are_reported_to_be_used():
    g = np.random.default_rng(6)
    values, labels = in_groups(g, 96, 10, 0.7), np.arange(96) // 8
    x = rs.from_arrays({"m/l": values}, groups=labels)["m/l"]
    d = diagnose(x)
    assert (
        whats(d) == ["grouped rows"]
        and "The array has these groups, and rs.inference.interval" in str(d.findings[0])
        and "use them" in str(d.findings[0])
    )
    assert d.facts.loc["groups of rows", "x"] == 12 and d.ok is False and d.serious == ()
    given = diagnose(values, groups=labels)
    assert whats(given) == ["grouped rows"] and "Pass the same groups= to rs.inference.interval" in str(
        given.findings[0]
    )
    assert whats(diagnose(g.normal(size=(96, 10)), groups=np.arange(96))) == []
    both = diagnose(x, values)
    assert whats(both) == ["rows look grouped", "grouped rows"]
    with pytest.raises(ValueError, match="needs one label for each of 96; there are 95"):
        diagnose(values, groups=labels[1:])


def test_the_score_of_a_distance_has_mean_0_and_variance_1_over_permutations():
    g = np.random.default_rng(7)
    u = g.normal(size=(30, 3)) * np.exp(g.normal(size=(30, 1)))
    z = np.array([by_distance(u[g.permutation(30)])[0][3:] for _ in range(20000)])
    assert np.abs(z.mean(0)).max() < 4 / np.sqrt(20000) and np.abs(z.var(0) - 1).max() < 0.06
    order = np.arange(30)
    _, means, usual = by_distance(u)
    assert means[4] == pytest.approx(
        np.mean(np.sum(u[order] * u[(order + 5) % 30], axis=1))
    ) and usual == pytest.approx(((u @ u.T).sum() - np.sum(u * u)) / (30 * 29))


# -- everyone's neighbour


def test_a_planted_hub_is_named_with_its_number_and_what_it_does():
    g = np.random.default_rng(8)
    x = g.normal(size=(500, 60)) + 0.8
    x[123] = 0.8  # the mean direction
    d = diagnose(x, names="layer 3")
    found = finding(d, "a neighbour of all")
    assert "sample 123 of layer 3 is among the 10 nearest of" in str(found) and "mutual_knn" in str(found)
    assert d.facts.loc["most often a neighbour"].iloc[0] == 123
    fraction = d.facts.loc["among the 10 nearest of"].iloc[0]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    counted = np.mean([123 in np.argsort(-row)[:10] for i, row in enumerate(cosines) if i != 123])
    assert fraction == pytest.approx(counted, abs=0.05) and fraction > 0.9
    assert any("a neighbour of all: l" in note for note in summarize_findings("mutual_knn", {"l": d})) and not any(
        "neighbour" in note for note in summarize_findings("cka", {"l": d})
    )


def test_neighbours_that_are_tied_share():
    similarities = np.array([[0, 1, 1, 1.0], [1, 0, 0.5, 0.2], [1, 1, 0, 0], [3, 2, 1, 0.0]])
    fractions = neighbour_fractions(similarities.copy(), (np.arange(4), np.arange(4)), 2)
    assert fractions == pytest.approx(np.array([3, 2 / 3 + 1 + 1, 2 / 3 + 1, 2 / 3]) / 3)


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize(("n", "p"), [(100, 20), (200, 500), (1000, 10), (1000, 100), (1000, 500)])
def test_gaussian_data_have_no_hub(n, p, offset):
    g = np.random.default_rng(9)
    for _ in range(10 if n * p < 10**5 else 4):
        assert "a neighbour of all" not in whats(diagnose(g.normal(size=(n, p)) + offset))


def test_a_row_of_huge_norm_is_an_outlier():
    g = np.random.default_rng(10)
    x = g.normal(size=(200, 20))
    x[7] *= 100
    assert "sample 7 at" in str(finding(diagnose(x), "outliers"))
