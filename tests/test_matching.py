"""Matched units: by all permutations, by linear programs, and with partners that are known."""

import itertools
import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from repsim_nb.measures import (
    CorrelationMatch,
    PartialSoftMatching,
    PermutationProcrustes,
    Procrustes,
    SoftMatching,
    UndefinedError,
    few_pairs,
    matching,
    plans,
    rank_units,
)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) * [3, 1, 1, 0.5, 2]
    return x, x @ rng.normal(size=(5, 5)) * 0.4 + rng.normal(size=(40, 5))


def correlations(x, y):
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


# -- one to one


@pytest.mark.parametrize("q", [5, 3])
def test_the_best_of_all_orders(pair, q):
    x, y = pair[0], pair[1][:, :q]
    u, v = (side - side.mean(axis=0) for side in (x, y))
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    orders = [list(order) for order in itertools.permutations(range(5), q)]
    best = max(np.sum(u[:, order] * v) for order in orders)
    assert PermutationProcrustes()(x, y) == pytest.approx(2 - 2 * best, abs=1e-12)
    assert PermutationProcrustes(form="distance")(y, x) == pytest.approx(math.sqrt(2 - 2 * best), abs=1e-12)
    assert PermutationProcrustes(form="angle")(x, y) == pytest.approx(math.acos(best), abs=1e-12)
    assert PermutationProcrustes()(x, y) >= Procrustes()(x, y), "a permutation is a rotation"
    if q == 5:
        assert PermutationProcrustes()(x, y) == pytest.approx(5 * SoftMatching()(x, y), abs=1e-12)
    r = correlations(x, y)
    best = max(r[order, range(q)].mean() for order in orders)
    assert CorrelationMatch()(x, y) == pytest.approx(best, abs=1e-12)
    soft = (r.max(axis=0).mean() + r.max(axis=1).mean()) / 2
    assert CorrelationMatch(match="soft")(x, y) == pytest.approx(soft, abs=1e-12)


def test_opposite_units_are_further_apart_than_unrelated_ones():
    x = np.random.default_rng(0).normal(size=(30, 1))
    assert PermutationProcrustes()(x, -x) == pytest.approx(4, abs=1e-12)
    assert PermutationProcrustes(form="angle")(x, -x) == pytest.approx(math.pi, abs=1e-7)
    assert CorrelationMatch()(x, -x) == pytest.approx(-1, abs=1e-12)
    # x and -x are both near the pair of them: the reason why no metric is declared
    both, distance = np.hstack([x, -x]), PermutationProcrustes(form="distance")
    assert distance(x, both) + distance(both, -x) < distance(x, -x) - 0.4


def test_a_unit_that_is_constant_is_named(pair):
    x, y = pair
    dead = np.hstack([y, np.full((40, 2), 0.1)])
    for measure in (CorrelationMatch(), CorrelationMatch(match="soft"), PartialSoftMatching()):
        with pytest.raises(UndefinedError, match=r"'y': 2 of 7 units are constant \(the first is unit 5\)"):
            measure(x, dead)
        assert np.isfinite(measure(x, dead[:, dead.std(axis=0) > 1e-9]))
    assert PermutationProcrustes()(dead, dead[:, ::-1]) == pytest.approx(0, abs=1e-12)


def test_too_many_units_are_refused_in_time(pair, monkeypatch):
    monkeypatch.setattr(matching, "MOST", 4)
    for measure in (CorrelationMatch(), PermutationProcrustes()):
        with pytest.raises(UndefinedError, match="matching 5 units with 5 takes too long .at most 4"):
            measure(*pair)
    assert CorrelationMatch(match="soft")(*pair) < 1


# -- with units that stay alone


def by_program(x, y, price):
    """Partial transport as it is defined, by a linear program."""
    costs = 1 - correlations(x, y)
    (p, q) = costs.shape
    rows, columns = np.kron(np.eye(p), np.ones((1, q))), np.kron(np.ones((1, p)), np.eye(q))
    limits = [1 / p] * p + [1 / q] * q
    found = linprog((costs - price).ravel(), A_ub=np.vstack([rows, columns]), b_ub=limits)
    return price + found.fun, found.x.reshape(p, q)


@pytest.mark.parametrize("q", [5, 4, 2])
def test_partial_matching_and_the_ranking_of_units_are_the_linear_program(pair, q):
    x, y = pair[0], pair[1][:, :q]
    for price in (0.1, 0.45, 0.8, 1.0, 2.5):
        value, plan = by_program(x, y, price)
        assert PartialSoftMatching(price=price)(x, y) == pytest.approx(value, abs=1e-9)
        found = rank_units(x, y, price)
        steps, own = np.diff(found.curve["matched"]), found.curve["price"].to_numpy()[:-1]
        assert np.sum(steps * np.minimum(own, price)) == pytest.approx(value, abs=1e-9), "the curve has all values"
        assert found.x_units["matched"].to_numpy() == pytest.approx(5 * plan.sum(axis=1), abs=1e-7)
        assert found.y_units["matched"].to_numpy() == pytest.approx(q * plan.sum(axis=0), abs=1e-7)
    assert (np.diff(own) >= 0).all() and found.curve["matched"].iloc[-1] == pytest.approx(1)
    full = found.curve["cost"].iloc[-1]
    assert PartialSoftMatching(price=2)(x, y) == pytest.approx(full, abs=1e-12), "a price of 2 matches all units"
    assert np.average(found.x_units["price"]) == pytest.approx(full, abs=1e-12)


def test_units_with_a_partner_are_found_in_order_of_the_noise():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 12))
    noise = np.array([0.1, 0.6, 0.2, 0.8, 0.4])
    y = np.hstack([x[:, :5] + noise * rng.normal(size=(500, 5)), rng.normal(size=(500, 7))])
    order = rng.permutation(12)
    found = rank_units(x, 3 * y[:, order] + 1)
    assert found.x_units["rank"].to_numpy()[:5].tolist() == [1, 4, 2, 5, 3]
    assert found.x_units["partner"][:5].tolist() == [int(np.flatnonzero(order == k)[0]) for k in range(5)]
    assert found.x_units["partner"][5:].isna().all() and found.y_units["partner"].notna().sum() == 5
    assert found.x_units["correlation"][:5].to_numpy() == pytest.approx((1 + noise**2) ** -0.5, abs=0.02)
    assert 0.2 < found.elbow == found.price < 0.5, "the corner of the curve lies between the two kinds"
    everything = rank_units(x, y, price=2)
    assert everything.x_units["matched"].eq(1).all() and everything.elbow == pytest.approx(found.elbow)
    assert "12 of 12 and 12 of 12 units have a partner" in repr(everything)


def test_a_cheaper_partner_can_be_taken_over_and_a_matched_unit_stays():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 12, 30))
    sets = [set(np.flatnonzero(rank_units(x, y, price).x_units["matched"])) for price in (0.2, 0.35, 0.5, 0.8)]
    assert all(a < b for a, b in itertools.pairwise(sets))


def test_copies_are_ties():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 3))
    twice = x[:, [0, 1, 2, 0, 1, 2]]
    found = rank_units(twice, twice + 0)
    assert found.x_units["rank"].tolist() == [1] * 6 and found.x_units["price"].tolist() == [0.0] * 6
    assert PartialSoftMatching()(twice, twice + 0) == 0
    alone = rank_units(x[:, :1], x[:, :1] + rng.normal(size=(60, 1)))
    assert alone.x_units["partner"].tolist() == [0]


def test_what_is_refused(pair):
    for price in (0, -1, math.nan, "low", True):
        with pytest.raises(ValueError, match="price of rank_units must be a number above 0"):
            rank_units(*pair, price)
    with pytest.raises(ValueError, match="price of PartialSoftMatching"):
        PartialSoftMatching(price=0)
    with pytest.raises(ValueError, match="40 rows.*39"):
        rank_units(pair[0], pair[1][:-1])
    frame = pd.DataFrame(pair[0])
    assert rank_units(frame, pair[1]).x_units["rank"].tolist() == rank_units(*pair).x_units["rank"].tolist()


@pytest.mark.parametrize("most", [0, few_pairs._MOST_COPIES])  # by linear programs; by copies if these are few
def test_few_pairs_have_the_best_plan(monkeypatch, most):
    monkeypatch.setattr(few_pairs, "_MOST_COPIES", most)
    rng = np.random.default_rng(0)
    for p, q in [(20, 19), (3, 31), (24, 18), (12, 12), (1, 7)]:
        agreement = rng.normal(size=(p, q))
        uneven = agreement * np.geomspace(1, 1e-6, p)[:, None]
        rows = np.where(np.arange(p)[:, None] % 2, agreement, -0.1)  # as dead units have
        # as it is; with ties, as costs that end at a price; integers; of unlike sizes; nearly alike; all alike
        for given in (
            agreement,
            *(np.maximum(agreement, price) for price in (-1, 0, 0.5, 2)),
            np.round(agreement),
            uneven,
            rows,
            1 + 1e-9 * agreement,
            np.zeros((p, q)),
        ):
            found = few_pairs.best_of_few_pairs(given)
            right = plans.best_plan(given)
            assert found is not None and abs(found - right) <= 1e-13 * np.abs(given).max(), (p, q)


def test_numbers_that_are_not_finite_have_no_plan():
    for bad in (np.nan, np.inf, -np.inf):
        agreement = np.random.default_rng(0).normal(size=(20, 19))
        agreement[3, 4] = bad
        assert few_pairs.best_of_few_pairs(agreement) is None


def test_pairs_that_are_missing_at_first_join(monkeypatch):
    """Wrong first prices cost time only."""
    agreement = np.random.default_rng(1).normal(size=(40, 30))
    right, rounds = plans.best_plan(agreement), []
    for name in ("_by_copies", "_by_program"):
        solve = getattr(few_pairs, name)
        monkeypatch.setattr(few_pairs, name, lambda *given, solve=solve: rounds.append(1) or solve(*given))
    prices = np.random.default_rng(2).normal(size=30)
    wrong = lambda cost: (cost - prices, np.zeros(cost.shape, bool))  # noqa: E731
    monkeypatch.setattr(few_pairs, "first_prices", wrong)
    for most in (0, 64):
        rounds.clear()
        monkeypatch.setattr(few_pairs, "_MOST_COPIES", most)
        assert few_pairs.best_of_few_pairs(agreement) == pytest.approx(right, abs=1e-14)
        assert len(rounds) > 1


def test_a_plan_is_not_proved_by_prices_that_there_are_none_for():
    cost = np.array([[0.0, 1.0], [1.0, 0.0]])
    everything, units = np.ones((2, 2), dtype=bool), np.arange(2)
    prices = few_pairs.prices_of_plan(cost, everything, units, units)
    assert (cost - prices[:2, None] - prices[2:]).min() == 0
    assert few_pairs.prices_of_plan(cost, everything, units, units[::-1]) is None, "the other plan is cheaper"
    only = np.eye(2, dtype=bool)[::-1]
    prices = few_pairs.prices_of_plan(cost, only, units, units[::-1])
    saved = cost - prices[:2, None] - prices[2:]
    assert np.abs(saved[only]).max() == 0 and saved.min() < 0, "and names the pairs that are missing"


@pytest.mark.parametrize("q, seconds", [(250, 0.2), (225, 0.2)])  # in parts of 257 × 250, and of 4 × 3
def test_two_awkward_widths_are_matched_at_once(q, seconds):
    x, y = np.random.default_rng(0).normal(size=(2, 300, 257 if q == 250 else 300))
    start = time.process_time()
    value = SoftMatching()(x, y[:, :q])
    assert time.process_time() - start < seconds, "one unit after another takes two seconds"
    assert 0 < value < 4 / q


@pytest.mark.parametrize("noise", [1e-13, 1e-11, 1e-9])
def test_costs_that_nearly_tie_do_not_keep_a_solver_at_work(noise):
    """With differences of 1e-11 the linear program and the assignment of copies can go on without end."""
    rng = np.random.default_rng(0)
    for p, q in ((301, 200), (96, 64)):
        agreement = rng.integers(0, 3, (p, q)) + noise * rng.normal(size=(p, q))
        assert plans.largest_agreement(agreement) == pytest.approx(2, abs=6 * noise)
