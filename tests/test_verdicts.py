"""Verdicts: three outcomes, where they turn, how often they are wrong; the table of claims that shows them."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from repsim_nb.results.inference import Interval, Test, Verdict, cannot_ask, judge, judge_exact, judge_p
from repsim_nb.studies.claims import COLUMNS, Claims

FOUND = (0.67, 0.61, 0.72)


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        ({"above": 0.5}, "reproduced"),
        ({"above": 0.61}, "undecided"),
        ({"above": 0.65}, "undecided"),
        ({"above": 0.72}, "not reproduced"),
        ({"above": 0.9}, "not reproduced"),
        ({"below": 0.9}, "reproduced"),
        ({"below": 0.72}, "undecided"),
        ({"below": 0.61}, "not reproduced"),
        ({"below": 0.5}, "not reproduced"),
        ({"within": 0.72}, "reproduced"),
        ({"within": 0.7}, "undecided"),
        ({"within": 0.61}, "undecided"),
        ({"within": 0.6}, "not reproduced"),
        ({"within": (0.6, 0.8)}, "reproduced"),
        ({"within": (0.65, 0.8)}, "undecided"),
        ({"within": (0.73, 0.8)}, "not reproduced"),
        ({"within": (0.1, 0.6)}, "not reproduced"),
    ],
)
def test_the_whole_interval_decides(claim, outcome):
    assert judge(FOUND, **claim).outcome == outcome
    mirrored = {"above": "below", "below": "above", "within": "within"}
    ((name, value),) = claim.items()
    turned = tuple(-end for end in value[::-1]) if isinstance(value, tuple) else value if name == "within" else -value
    assert judge((-0.67, -0.72, -0.61), **{mirrored[name]: turned}).outcome == outcome


@pytest.mark.parametrize("kind", ["above", "below", "within"])
@pytest.mark.parametrize(
    "found", [(0.67, 0.61, 0.72), (-0.06, -0.12, 0.5), (-0.5, -0.75, -0.25), (0.0005, 0.00025, 0.00075)]
)
def test_the_verdict_turns_where_it_says(found, kind):
    """The numbers in the text are the ends of the outcomes: a step to either side changes the verdict."""
    start = judge(found, **{kind: 0.7})
    ends = [
        (outcome, float(number))
        for outcome, number in re.findall(
            r"(not reproduced|reproduced) (?:below|above|from|up to) ±?(-?[\d.]+)", start.other_thresholds
        )
    ]
    assert ends and (kind == "within" or len(ends) == 2)
    for outcome, end in ends:
        near = [judge(found, **{kind: end + step}).outcome for step in (-1e-6, 1e-6)]
        assert near.count(outcome) == 1 and "undecided" in near, (start.other_thresholds, near)


NUMBER = r"(-?(?:inf|\d+(?:\.\d+)?(?:e[-+]?\d+)?))"
HOLDS = {
    "reproduced below": lambda limit, end: limit < end,
    "reproduced above": lambda limit, end: limit > end,
    "reproduced from": lambda limit, end: limit >= end,
    "not reproduced below": lambda limit, end: limit < end,
    "not reproduced from": lambda limit, end: limit >= end,
    "not reproduced up to": lambda limit, end: limit <= end,
}


def outcomes_of(turns, threshold_text):
    """The outcomes of a threshold that follow from the other thresholds in the text."""
    threshold = [
        float(number) for number in re.findall(NUMBER, threshold_text.replace("within ±", "").replace(" to ", " "))
    ]
    if "range" in turns:
        low, high = map(
            float, re.fullmatch(rf"reproduced for a range from {NUMBER} or lower to {NUMBER} or higher", turns).groups()
        )
        return {"reproduced"} if threshold[0] <= low and high <= threshold[1] else {"undecided", "not reproduced"}
    reported = {}
    for words, number in re.findall(rf"((?:not )?reproduced (?:below|above|from|up to)) [±]?{NUMBER}", turns):
        reported[words.rsplit("reproduced", 1)[0] + "reproduced"] = HOLDS[words](threshold[-1], float(number))
    assert reported.get("not reproduced") is not None or "no margin" in turns
    return {outcome for outcome, holds in reported.items() if holds} or {"undecided"}


def claims_near(rng, found):
    """Claims with thresholds at, near and far from the ends of an interval."""
    _, low, high = found
    size = float(10.0 ** rng.integers(-9, 2))
    near = [end + step for end in (low, high) for step in (0.0, size * rng.random(), -size * rng.random())] + [
        0.0,
        round(low, 2),
        round(high, 3),
    ]
    for limit in near:
        yield {"above": limit}
        yield {"below": limit}
        if limit != 0:
            yield {"within": abs(limit)}
        yield {"within": (min(limit, low - size), high + rng.choice([0, size, -size * rng.random()]))}


def test_the_printed_turning_points_agree_with_the_outcome():
    rng = np.random.default_rng(0)
    for _ in range(600):
        digits, scale = int(rng.integers(1, 17)), float(10.0 ** rng.integers(-8, 6))
        low, middle, high = np.sort(rng.normal(size=3) * scale + rng.choice([0, 0.61, scale])).tolist()
        if rng.random() < 0.5:
            low, middle, high = (float(f"{end:.{digits}g}") for end in (low, middle, high))
        if rng.random() < 0.05:
            low = -np.inf
        for claim in (
            claims_near(rng, (middle, low, high))
            if np.isfinite(low)
            else [{"above": 0.0}, {"below": high}, {"within": 3.0}]
        ):
            if isinstance(claim.get("within"), tuple) and not claim["within"][0] < claim["within"][1]:
                continue
            found = judge((middle, low, high), **claim)
            assert found.outcome in outcomes_of(found.other_thresholds, found.threshold), (low, high, claim, found)


def test_turning_points_have_the_digits_that_they_need():
    found = judge((0.6104, 0.6096, 0.98), above=0.61)
    assert (found.outcome, found.other_thresholds, found.interval) == (
        "undecided",
        "reproduced below 0.609, not reproduced from 0.98",
        "0.61 (0.61 to 0.98)",
    )
    found = judge((5e-7, 4e-7, 6e-7), above=0)
    assert (found.outcome, found.other_thresholds, found.interval) == (
        "reproduced",
        "reproduced below 4.0e-7, not reproduced from 6.0e-7",
        "5.0e-7 (4.0e-7 to 6.0e-7)",
    )
    assert (
        judge((0.5, 0.4, 0.61), above=0.60999999).threshold == "> 0.60999999"
        and judge((0.5, 0.4, 0.7), above=0.60999999).threshold == "> 0.61"
    )
    assert judge((0.5, 0.4, 0.61), above=0.61).other_thresholds == "reproduced below 0.40, not reproduced from 0.61"
    assert (
        judge((0.5, 0.001, 0.9), within=0.0005).other_thresholds == "reproduced from ±0.90, not reproduced below ±0.001"
    )
    assert (
        judge_p(0.0504).other_thresholds == "reproduced from a level of 0.0504"
        and judge_p(0.05).other_thresholds == "reproduced from a level of 0.05"
    )
    assert (
        judge_p(0.0500000001).other_thresholds == "reproduced from a level of 0.0501"
        and judge_p(0.04999999, level=0.049999999).other_thresholds == "reproduced from a level of 0.04999999"
    )
    assert (
        judge_exact(0.593504, 0.593, 0.0005).other_thresholds == "reproduced from ± 0.000504"
        and judge_exact(0.5935, 0.593, 0.0005).other_thresholds == "reproduced from ± 0.0005"
    )


def test_an_interval_that_holds_zero_is_outside_of_no_margin():
    assert "not reproduced for no margin" in judge((0.1, -0.2, 0.4), within=0.5).other_thresholds
    assert judge((0.1, -0.2, 0.4), within=1e-9).outcome == "undecided"


def rates(many, mean, seed, **claim):
    rng = np.random.default_rng(seed)
    values = rng.normal(mean, 1, size=(many, 12))
    reach = stats.t.ppf(0.975, 11) * values.std(axis=1, ddof=1) / np.sqrt(12)
    middle = values.mean(axis=1)
    return pd.Series(
        [judge(found, **claim).outcome for found in zip(middle, middle - reach, middle + reach, strict=True)]
    ).value_counts(normalize=True)


@pytest.mark.parametrize(
    ("claim", "mean"),
    [({"above": 0.3}, 0.3), ({"below": -1.0}, -1.0), ({"within": 1.5}, 1.5), ({"within": (0.0, 3.0)}, 0.0)],
)
def test_a_value_on_the_threshold_is_wrongly_decided_in_one_of_forty_studies_on_each_side(claim, mean):
    """Of 4,000: a rate of .025 has a standard deviation of .0025."""
    found = rates(4000, mean, 5, **claim)
    assert 0.016 < found["reproduced"] < 0.034 and 0.016 < found["not reproduced"] < 0.034


def test_what_is_true_by_far_is_reproduced_and_its_opposite_is_not():
    assert (
        rates(300, 2.0, 1, above=0)["reproduced"] > 0.99
        and rates(300, -2.0, 2, above=0)["not reproduced"] > 0.99
        and rates(300, 0.0, 3, within=1.5)["reproduced"] > 0.98
    )


def test_what_may_be_judged():
    interval = Interval(0.61, 0.72, 0.9, 0.67)
    assert judge(interval, above=0.5) == judge({"estimate": 0.67, "low": 0.61, "high": 0.72}, above=0.5, level=0.9)
    row = pd.DataFrame({"difference": [0.67], "low": [0.61], "high": [0.72], "p_value": [0.001], "real": [True]}).loc[0]
    assert judge(np.array(FOUND), above=0.5) == judge(list(FOUND), above=0.5) == judge(FOUND, above=0.5)
    assert judge(row, above=0.5, unit="models (10)") == judge(FOUND, above=0.5, unit="models (10)")
    assert judge(row, above=0.5, level=0.9) == judge(interval, above=0.5)


def test_a_verdict_has_the_level_of_its_interval():
    """The level that a row or its table has; what has none gives none, so that no text names a level that is not the
    interval's.
    """
    table = pd.DataFrame(
        {"difference": [0.67, 0.2], "low": [0.61, 0.1], "high": [0.72, 0.3], "real": [True, True]}, index=["a", "b"]
    )
    assert judge(table.loc["a"], above=0.5).level is None and judge(FOUND, above=0.5).level is None
    table.attrs["level"] = 0.9
    rows = [
        table.loc["a"],
        table.iloc[0],
        next(table.iterrows())[1],
        table.sort_values("low", ascending=False).loc["a"],
        table.assign(x=1).loc["a"],
        table[["difference", "low", "high"]].loc["a"],
        pd.concat({"x": table}).loc[("x", "a")],
    ]
    assert [judge(row, above=0.5).level for row in rows] == [0.9] * 7
    own = dict(zip(("estimate", "low", "high", "level"), (*FOUND, 0.8), strict=True))
    assert judge(own, above=0.5).level == judge(pd.Series(own), above=0.5, level=0.8).level == 0.8
    assert (
        judge({**own, "level": np.nan}, above=0.5).level is None
        and judge(table.assign(level=0.99).loc["a"], above=0.5).level == 0.99
    )
    for found, level in ((table.loc["a"], 0.95), (own, 0.9), (pd.Series(own), 0.9)):
        with pytest.raises(ValueError, match=f"this interval has the level 0.[89]; got level={level:g}"):
            judge(found, above=0.5, level=level)
    with pytest.raises(ValueError, match="between 0 and 1"):
        judge({**own, "level": 95}, above=0.5)


def test_a_table_of_claims_names_a_level_only_if_it_is_that_of_all_its_intervals():
    def heading(verdict):
        claims = Claims()
        claims.add("it holds", "here", verdict)
        return re.search(r"interval.*?:", claims._repr_html_())[0]

    known, other, unknown = (
        judge(FOUND, above=0.5, level=0.95),
        judge(FOUND, above=0.5, level=0.975),
        judge(FOUND, above=0.5),
    )
    assert [heading(one) for one in (known, other, unknown)] == ["interval (95 %):", "interval (97.5 %):", "interval:"]
    assert [heading(known & one) for one in (known, other, unknown, judge_p(0.01))] == [
        "interval (95 %):",
        "interval:",
        "interval:",
        "interval (95 %):",
    ]
    assert (
        judge(Interval(0.61, 0.72, 0.95), above=0.5).interval == "(0.61 to 0.72)"
        and judge(FOUND, above=0.5).interval == "0.67 (0.61 to 0.72)"
    )


@pytest.mark.parametrize(
    ("found", "claim", "error", "words"),
    [
        (0.8, {"above": 0.5}, TypeError, "judge_exact"),
        (np.float64(0.8), {"above": 0.5}, TypeError, "judge needs a value with its interval"),
        ((0.8, 0.9), {"above": 0.5}, TypeError, r"\(estimate, low, high\)"),
        ({"estimate": 0.8, "low": 0.2}, {"above": 0.5}, TypeError, "'estimate', 'low'"),
        ({"kendall": 0.8, "low": 0.2, "high": 0.9}, {"above": 0.5}, TypeError, "one of 'estimate'"),
        ((0.8, np.nan, 0.9), {"above": 0.5}, ValueError, "low must be a number; got nan"),
        ((0.2, 0.8, 0.3), {"above": 0.5}, ValueError, "low must not be above high"),
        (FOUND, {}, ValueError, "one threshold.*got none"),
        (FOUND, {"above": 0.5, "below": 0.9}, ValueError, "got 'above', 'below'.*&"),
        (FOUND, {"within": -0.1}, ValueError, "margin above 0"),
        (FOUND, {"within": (0.5, 0.1)}, ValueError, "low < high"),
        (FOUND, {"above": np.nan}, ValueError, "above must be a number"),
        (FOUND, {"above": True}, ValueError, "above must be a number; got True"),
        (FOUND, {"above": 0.5, "level": 95}, ValueError, "level"),
        (Interval(0, 1, 0.9, 0.5), {"above": 0.5, "level": 0.95}, ValueError, "level 0.9"),
        (Interval(0, 1, 0.9, 0.5), {"above": 0.5, "level": "0.9"}, ValueError, "between 0 and 1.*got '0.9'"),
    ],
)
def test_what_cannot_be_judged_is_refused(found, claim, error, words):
    with pytest.raises(error, match=words):
        judge(found, **claim)


def test_a_large_p_value_is_no_evidence_of_absence():
    assert [judge_p(p).outcome for p in (0.001, 0.05, 0.0501, 1.0)] == [
        "reproduced",
        "reproduced",
        "undecided",
        "undecided",
    ]
    test = Test(0.4, 0.03)
    assert judge_p(test, unit="models").outcome == "reproduced" and judge_p(test, level=0.01).outcome == "undecided"
    assert judge_p(test).other_thresholds == "reproduced from a level of 0.03"
    for wrong in (0, -0.1, 1.2, np.nan, None, True, "0.05"):
        with pytest.raises(ValueError, match="a p-value must be a number above 0 and at most 1"):
            judge_p(wrong)
    for level in (5, 0, "0.05", True):
        with pytest.raises(
            ValueError, match=f"level must be a number above 0 and at most 0.5, .*such as 0.05 .*; got {level!r}"
        ):
            judge_p(0.2, level=level)


def test_published_digits():
    assert (
        judge_exact(0.5935, 0.593, 0.0005).outcome == "reproduced"
        and judge_exact(0.5936, 0.593, 0.0005).outcome == "not reproduced"
    )
    assert (
        judge_exact(0.5936, 0.593, 0.0005).other_thresholds == "reproduced from ± 0.0006"
        and judge_exact(1, 1, 0).low is None
    )
    with pytest.raises(ValueError, match="0 or more; got -1"):
        judge_exact(1, 1, -1)
    with pytest.raises(ValueError, match="value must be a number; got nan"):
        judge_exact(np.nan, 1, 0.1)


def test_all_parts_must_hold():
    yes, no, open_ = (
        judge(FOUND, above=0.5, unit="models"),
        judge(FOUND, above=0.9, unit="models"),
        judge_p(0.4, unit="images"),
    )
    assert (yes & yes).outcome == "reproduced" and (yes & open_).outcome == (open_ & yes).outcome == "undecided"
    assert (yes & no).outcome == (no & open_).outcome == (open_ & no & yes).outcome == "not reproduced"
    whole = yes & open_ & no
    assert (
        whole.parts == (yes, open_, no) == (yes & (open_ & no)).parts
        and whole.unit == "models, images"
        and whole.low is None
    )
    assert (
        whole.threshold == "> 0.5 and p <= 0.05 and > 0.9" and "> 0.9: reproduced below 0.61" in whole.other_thresholds
    )
    with pytest.raises(TypeError):
        yes & True
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(yes)


def test_what_cannot_be_asked_is_undecided_and_says_why():
    verdict = cannot_ask("three models a kind", unit="models (3 + 3)")
    assert verdict.outcome == "undecided" and (verdict & judge(FOUND, above=0.5)).why == "three models a kind"
    with pytest.raises(ValueError, match="what the data lack; got ''"):
        cannot_ask("")
    with pytest.raises(
        ValueError,
        match="the outcome of a verdict must be one of 'not reproduced', 'undecided', 'reproduced'; got 'yes'",
    ):
        Verdict("yes")


def test_claims_have_their_unit_threshold_and_where_they_turn():
    claims = Claims()
    claims.add("it <b> grows", "ρ = .67", judge(FOUND, above=0.5, unit="models (10)", level=0.95), published=".70")
    claims.add("it is linear", "R² = .66", judge((0.66, 0.6, 0.7), above=0.9, unit="models (10)"))
    claims.add("it depends", "", cannot_ask("one model of each"))
    frame = claims.frame()
    assert tuple(frame.columns) == COLUMNS and frame.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert list(frame["verdict"]) == ["reproduced", "not reproduced", "undecided"] and list(frame["published"]) == [
        ".70",
        "",
        "",
    ]
    assert (
        frame.loc[0, "interval"] == "0.67 (0.61 to 0.72)"
        and frame.loc[2, "here"] == "one model of each"
        and frame.loc[2, "threshold"] == "cannot be asked here"
    )
    page = claims._repr_html_()
    for part in (
        "it &lt;b&gt; grows",
        "✓&nbsp;reproduced",
        "✗&nbsp;not&nbsp;reproduced",
        "?&nbsp;undecided",
        "published: .70",
        "interval (95 %): 0.67",
        "unit: models (10)",
        "threshold: &gt; 0.5",
        "reproduced below 0.61, not reproduced from 0.72",
    ):
        assert part in page
    assert not re.search(r"[^-]color:|background", page), "the colors are those of the page, dark or light"
    assert "R² = .66" in repr(claims)


def test_statements_that_one_hears_hold_or_do_not():
    claims = Claims("heard")
    claims.add("ten images decide", "-.001", judge((-0.001, -0.002, 0.0), within=0.02), published="nobody")
    assert list(claims.frame()["verdict"]) == ["holds"] and claims.frame()["other_thresholds"][0].startswith(
        "holds from ±"
    )
    assert (
        "what is claimed" in claims._repr_html_()
        and "source: nobody" in claims._repr_html_()
        and "reproduced" not in claims._repr_html_()
    )
    with pytest.raises(ValueError, match="kind is 'published' or 'heard'; got 'spoken'"):
        Claims("spoken")


@pytest.mark.parametrize("wrong", [True, np.bool_(False), 0.97, "reproduced", None])
def test_a_claim_needs_a_verdict(wrong):
    claims = Claims()
    with pytest.raises(TypeError, match="the verdict on 'it holds' is that of inference.judge") as raised:
        claims.add("it holds", "ρ = .97", wrong)
    assert ("True and False cannot say" in str(raised.value)) == (isinstance(wrong, (bool, np.bool_)))
    assert claims.frame().empty and "<table" in claims._repr_html_()


def test_the_order_of_a_tuple_and_the_level_of_a_test_are_checked():
    for wrong in ((0.1, 0.5, 0.9), (0.9, 0.1, 0.2)):
        with pytest.raises(ValueError, match=r"The order is \(estimate, low, high\)"):
            judge(wrong, above=0.05)
    with pytest.raises(ValueError, match="an interval has the level 0.95"):
        judge_p(0.3, 0.95)
    for wrong in (0.5, None):
        with pytest.raises(TypeError, match="here is text"):
            Claims().add("a", wrong, judge((0.5, 0.1, 0.9), above=0))
