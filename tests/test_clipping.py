import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.results.reliability import clip_lengths
from repsim_nb.support.errors import UndefinedError

CKA = rs.measures.get("cka")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(60, 7)) * [4, 3, 2, 1, 1, 1, 1] + 5


def clipped_cka(x, y):
    return CKA(clip_lengths(x), clip_lengths(y))


def test_no_length_is_above_the_median_and_no_direction_changes(x):
    found = clip_lengths(x)
    whole = clip_lengths(x, 1e9)
    assert np.allclose(whole - whole.mean(axis=0), x - x.mean(axis=0)), "nothing is clipped, only the middle is moved"
    lengths, before = (np.linalg.norm(side, axis=1) for side in (found, whole))
    middle = np.median(before)
    assert np.allclose(lengths, np.minimum(before, middle)) and (before > middle).sum() == 30
    assert np.allclose(found / lengths[:, None], whole / before[:, None])
    assert np.linalg.norm(clip_lengths(x, 2), axis=1).max() == pytest.approx(min(2 * middle, before.max()))


def test_the_middle_is_where_the_unit_vectors_cancel(x):
    whole = clip_lengths(x, 1e9)
    assert abs((whole / np.linalg.norm(whole, axis=1, keepdims=True)).sum(axis=0)).max() < 1e-6


def test_clipped_cka_keeps_the_invariances_of_cka_and_no_others(x):
    rng = np.random.default_rng(1)
    y = x + rng.normal(size=x.shape)
    value = clipped_cka(x, y)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert clipped_cka(x @ rotation, y) == pytest.approx(value, abs=1e-9)
    assert clipped_cka(3 * x - 8, y) == pytest.approx(value, abs=1e-9)
    assert abs(clipped_cka(x * [1, 1, 1, 1, 1, 1, 50], y) - value) > 0.1


@pytest.mark.parametrize("moved", [1, 6])
def test_few_samples_that_are_moved_hardly_matter(x, moved):
    y = x.copy()
    y[:moved, 3] += 1e6
    assert CKA(x, y) < 0.3
    assert clipped_cka(x, y) > 0.8
    assert not rs.reliability.diagnose(clip_lengths(y)).facts.loc["outliers", "x"]


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_the_size_of_the_numbers_does_not_matter(x, unit):
    assert np.allclose(clip_lengths(x * unit) / unit, clip_lengths(x), rtol=1e-12, atol=1e-12)


def test_what_has_no_length_is_undefined():
    x = np.zeros((9, 3))
    x[:4] = np.random.default_rng(0).normal(size=(4, 3))
    with pytest.raises(UndefinedError, match="more than half of the samples are equal"):
        clip_lengths(x)
    with pytest.raises(UndefinedError, match="at least 2 samples are needed; it has 1"):
        clip_lengths(x[:1])
    for most in (0, -1, np.nan):
        with pytest.raises(ValueError, match="most must be"):
            clip_lengths(np.eye(3), most)
