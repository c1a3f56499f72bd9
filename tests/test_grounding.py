"""Grounding: rank correlations with functionality, the benchmark, layers told apart, deletions noticed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import repsim_nb as rs
from repsim_nb.recipes.published import GROUNDING_BERT, layer_experiment

grounding = rs.grounding


# -- pairs -----------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bert():
    return layer_experiment()


def test_the_published_figures_come_out_of_the_published_pairs(bert):
    references = grounding.reference_pairs(bert, "QNLI_diff")
    last = references[references["layer1"] == 11]
    assert len(last) == 120 and set(last["seed1"]) == {4} and len(references) == 12 * 120
    found = grounding.correlate(last, list(GROUNDING_BERT), "QNLI_diff")
    pd.testing.assert_frame_equal(found[["spearman", "kendall"]].T.round(3), GROUNDING_BERT, check_names=False)
    assert (found["n"] == 120).all() and (found[["spearman_p", "kendall_p"]] < 1e-12).all(axis=None)
    other = grounding.reference_pairs(bert, "SST2_diff")
    assert set(other.loc[other["layer1"] == 11, "seed1"]) == {5}


def test_over_references_statistics_are_averaged_and_p_values_doubled(bert):
    references = grounding.reference_pairs(bert, "QNLI_diff")
    found = grounding.correlate(references, "CKA", "QNLI_diff", by="layer1").loc["CKA"]
    each = [grounding.correlate(part, "CKA", "QNLI_diff").loc["CKA"] for _, part in references.groupby("layer1")]
    assert found["spearman"] == pytest.approx(np.mean([e["spearman"] for e in each])) and found["kendall"] == pytest.approx(np.mean([e["kendall"] for e in each]))
    assert found["spearman_p"] == pytest.approx(2 * np.mean([e["spearman_p"] for e in each])) and found["n"] == 1440
    less = grounding.correlate(references, "CKA", "QNLI_diff", by=["layer1"], alternative="less").loc["CKA"]
    assert less["spearman_p"] == 1 and less["spearman"] == found["spearman"]


def test_statistics_are_those_of_scipy_one_sided(rng):
    frame = pd.DataFrame(rng.integers(0, 9, size=(40, 2)).astype(float), columns=["d", "gap"])
    found = grounding.correlate(frame, "d", "gap").loc["d"]
    for kind, of in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        theirs = of(frame["d"], frame["gap"], **({"method": "asymptotic"} if kind == "kendall" else {}))
        p = theirs.pvalue / 2 if theirs.statistic > 0 else 1 - theirs.pvalue / 2
        assert (found[kind], found[f"{kind}_p"]) == pytest.approx((theirs.statistic, p))


def all_pairs(f):
    items = list(f.index)
    rows = [(*a, *b, abs(f[a] - f[b])) for i, a in enumerate(items) for b in items[i:]]
    return pd.DataFrame(rows, columns=["seed1", "layer1", "seed2", "layer2", "gap"])


def test_functionality_follows_from_gaps_but_for_its_level(rng):
    index = pd.MultiIndex.from_product([[1, 2, 3], [0, 1, 2, 3]], names=["seed", "layer"])
    f = pd.Series(np.tile([0.5, 0.6, 0.7, 0.8], 3) + rng.uniform(0, 0.05, 12), index=index)
    pairs = all_pairs(f).sample(frac=1, random_state=0)
    np.testing.assert_allclose(grounding.functionality(pairs, "gap"), f - f.min(), atol=1e-12)
    references = grounding.reference_pairs(pairs, "gap")
    assert [tuple(r) for r in references[["seed1", "layer1"]].drop_duplicates().to_numpy()] == [(f.xs(k, level="layer").idxmax(), k) for k in range(4)]
    assert (references.groupby("layer1").size() == 12).all()
    assert all(row.gap == pytest.approx(abs(f[row.seed1, row.layer1] - f[row.seed2, row.layer2])) for row in references.itertuples())


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda p: p.assign(gap=p["gap"] ** 2), "holds no differences of one number an item"),
    (lambda p: p[(p["seed1"] != 1) | (p["layer1"] != 0) | (p["layer2"] != 2)], "there is none of"),
    (lambda p: p.assign(gap=0.0), "is 0 or less in all"),
    (lambda p: p.assign(gap=np.nan), "undefined"),
    (lambda p: p.rename(columns={"layer2": "layer_2"}), "Did you mean 'layer_2'"),
    (lambda p: pd.concat([p, p.iloc[[1]]]), "again"),
])
def test_frames_that_hold_no_gaps_are_told(change, sentence):
    f = pd.Series(np.arange(6.0) ** 2, index=pd.MultiIndex.from_product([[1, 2], [0, 1, 2]]))
    with pytest.raises(ValueError, match=sentence):
        grounding.reference_pairs(change(all_pairs(f)), "gap")


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("CKa", "gap"), "unknown column of pairs 'CKa'. Did you mean 'CKA'"),
    (("same", "gap"), "'same' is 1 in all 6 pairs"),
    (("hole", "gap"), r"'hole' is undefined \(NaN\) or infinite in 1 of 6"),
    (("word", "gap"), "'word' is to hold numbers"),
    (([], "gap"), "no distance to judge"),
])
def test_columns_that_cannot_be_judged_are_told(arguments, sentence):
    frame = pd.DataFrame({"CKA": range(6), "same": 1.0, "hole": [1, 2, np.nan, 4, 5, 6], "word": list("abcdef"), "gap": [1, 2, 3, 5, 4, 6], "k": [0, 0, 0, 1, 1, 1]})
    with pytest.raises(ValueError, match=sentence):
        grounding.correlate(frame, *arguments)
    with pytest.raises(ValueError, match="for k=1, 'gap'|for k=1 'still'"):
        grounding.correlate(frame.assign(still=[1, 2, 3, 4, 4, 4]), "still", "gap", by="k")
