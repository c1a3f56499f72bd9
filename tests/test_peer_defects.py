"""What is wrong or broken in other packages, and not in this one: one test a defect. benchmarks/defects.py shows the
defects themselves.
"""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.measures import CKA


def related(n=500, p=64, offset=0.0):
    """Two related float64 representations with a decaying spectrum, whose features all have the mean `offset`."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n, p))
    return [(shared + rng.normal(size=(n, p))) * np.arange(1, p + 1) ** -0.5 * 0.1 + offset for _ in range(2)]


def build_model(seed=0, *, inplace=False):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(inplace), nn.Linear(32, 16), nn.ReLU(inplace), nn.Linear(16, 8))


def inputs(n, seed=0):
    return torch.randn(n, 20, generator=torch.Generator().manual_seed(seed))


def recorded(model, x, layer="0", batch=64):
    return rs.record(rs.load_model(model, name="net"), x, [layer], batch_size=batch, progress=False)[layer]


def hsic(x, y):
    """Song et al. 2012, eq. 5, as it is printed."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0), np.fill_diagonal(m, 0)
    return ((k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(0))) / (
        n * (n - 3)
    )


def minibatch(x, y, cuts):
    """Σ n_b HSIC(x_b, y_b) / sqrt(...), with the batches between the cuts."""
    x, y = x.astype(float), y.astype(float)
    xy, xx, yy = (
        sum((stop - start) * hsic(a[start:stop], b[start:stop]) for start, stop in itertools.pairwise(cuts))
        for a, b in ((x, y), (x, x), (y, y))
    )
    return xy / np.sqrt(xx * yy)


# -- values


@pytest.mark.parametrize("name", ["cka", "cka_debiased", "cka_minibatch", "cka_rbf", "procrustes", "svcca", "pwcca"])
def test_float32_features_with_a_mean_offset_are_centred(name):
    measure = rs.measures.get(name)
    true = measure(*related())
    assert measure(*(x.astype(np.float32) for x in related(offset=10.0))) == pytest.approx(true, abs=2e-4)


@pytest.mark.parametrize("name", ["cka_debiased", "cka_minibatch"])
def test_nothing_is_clamped_to_0(name):
    values = [rs.measures.get(name)(*np.random.default_rng(seed).normal(size=(2, 60, 40))) for seed in range(20)]
    assert min(values) < -0.01 < 0.01 < max(values)


def test_values_near_1_are_those_of_the_definition():
    x, y = np.random.default_rng(3).normal(size=(2, 6, 40))
    tables = [rs.compare(CKA(debiased=True), {"x": x, "y": x + 0.01 * y, "z": x - 0.01 * y}).values.to_numpy()]
    assert tables[0][0, 1] == pytest.approx(
        hsic(x, x + 0.01 * y) / np.sqrt(hsic(x, x) * hsic(x + 0.01 * y, x + 0.01 * y)), abs=1e-12
    )


def test_debiased_cka_with_itself_is_1():
    for offset in (0.0, 10.0):
        x, _ = related(offset=offset)
        assert CKA(debiased=True)(x, x) == pytest.approx(1, abs=1e-12)
        assert CKA(debiased=True)(x.astype(np.float32), x.astype(np.float32)) == pytest.approx(1, abs=1e-6)


def test_small_activations_are_as_like_themselves_as_large_ones():
    x, y = related()
    for measure in (CKA(debiased=True), CKA(batch_size=64)):
        assert measure(1e-6 * x, 1e-6 * y) == pytest.approx(measure(x, y), abs=1e-9)


def by_hand_cca(x, y, share=None):
    """-> canonical correlations and the canonical variates of x, from the definition."""
    bases = []
    for v in (x, y):
        u, s, _ = np.linalg.svd(v - v.mean(0), full_matrices=False)
        kept = len(s) if share is None else int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), share)) + 1
        bases.append(u[:, :kept])
    u, rho, _ = np.linalg.svd(bases[0].T @ bases[1], full_matrices=False)
    return rho, bases[0] @ u


def test_svcca_keeps_the_components_that_hold_99_percent_of_the_variance():
    x, y = related(offset=10.0)
    rho, _ = by_hand_cca(x, y, share=0.99)
    assert len(rho) == 60  # not 1, and not the 24 that a cut of uncentred singular values leaves
    assert rs.measures.get("svcca")(x, y) == pytest.approx(rho.mean(), abs=1e-10)


def test_svcca_is_the_same_every_time():
    x, y = related()
    values = []
    for seed in range(3):
        np.random.seed(seed)
        torch.manual_seed(seed)
        values.append(rs.measures.get("svcca")(x, y))
    assert values[0] == values[1] == values[2]


def test_pwcca_whitens_and_centres():
    x, y = related(offset=3.0)
    y = y[:, :20] @ np.diag(np.geomspace(1, 0.01, 20))
    rho, variates = by_hand_cca(x, y)
    alpha = np.abs(variates.T @ (x - x.mean(0))).sum(1)
    assert rs.measures.get("pwcca")(x, y) == pytest.approx(alpha @ rho / alpha.sum(), abs=1e-10)


# -- models


def test_a_layer_is_recorded_before_a_following_inplace_relu():
    x = inputs(100)
    seen, true = recorded(build_model(inplace=True), x), recorded(build_model(), x)
    assert (seen < 0).any()
    np.testing.assert_array_equal(seen, true)


def test_a_last_batch_of_4_rows_weighs_little():
    x = torch.cat([inputs(256), inputs(4, 1)])
    a, b = recorded(build_model(0), x), recorded(build_model(1), x)
    assert CKA(batch_size=64)(a, b) == pytest.approx(minibatch(a, b, [0, 64, 128, 192, 256, 260]), abs=1e-5)
    assert abs(CKA(batch_size=64)(a, b) - CKA(batch_size=64)(a[:256], b[:256])) < 0.02


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_a_last_batch_under_4_rows_joins_the_one_before(extra):
    x = inputs(128 + extra)
    a, b = recorded(build_model(0), x), recorded(build_model(1), x)
    assert CKA(batch_size=64)(a, b) == pytest.approx(minibatch(a, b, [0, 64, 128 + extra]), abs=1e-5)


def test_all_batches_count():
    x = inputs(256)
    a, b = recorded(build_model(0), x), recorded(build_model(1), x)
    whole = CKA(batch_size=64)(a, b)
    assert whole == pytest.approx(minibatch(a, b, [0, 64, 128, 192, 256]), abs=1e-5)
    assert all(abs(whole - CKA(batch_size=64)(a[i : i + 64], b[i : i + 64])) > 1e-4 for i in range(0, 256, 64))


def test_both_sides_see_the_same_samples_and_a_network_is_like_itself():
    x = inputs(256)
    a, again = recorded(build_model(0), x), recorded(build_model(0), x, batch=50)
    np.testing.assert_allclose(a, again, atol=1e-5)
    assert CKA(batch_size=64)(a, again) == pytest.approx(1, abs=1e-5)
    shuffled = again[np.random.default_rng(0).permutation(256)]
    assert CKA(batch_size=64)(a, shuffled) < 0.5  # the value of a loader that shuffles
    with pytest.raises(ValueError, match="same samples"):
        rs.compare("cka", {"a": a, "b": again[:200]})


class Stumbles(nn.Module):
    """Fails at the second batch of a pass."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(20, 8), 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 2:
            raise RuntimeError("stumbled")
        return self.layer(x)


def test_hooks_come_off_also_after_an_exception():
    model = build_model()
    recorded(model, inputs(100))
    assert not any(m._forward_hooks for m in model.modules())
    model = Stumbles()
    with pytest.raises(ValueError, match="stumbled"):
        recorded(model, inputs(200), layer="layer")
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("shape", [(30, 8), (30, 4, 3), (30, 2, 3, 4)])
def test_outputs_of_any_rank_can_be_compared(shape):
    x = np.random.default_rng(0).normal(size=shape)
    assert CKA()(x, x.reshape(30, -1)) == pytest.approx(1)


def test_debiased_cka_of_independent_noise_is_near_0():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 512))
    assert abs(rs.measures.get("cka_debiased")(x, y)) < 0.05 and rs.measures.get("cka")(x, y) > 0.9


def test_overlap_counts_only_the_directions_of_both_sides():
    x, y = np.random.default_rng(0).normal(size=(2, 40, 4))
    assert rs.measures.get("eigenspace_overlap")(x, y) == pytest.approx(4 / 40, abs=0.05)
    # three of four directions are common
    assert rs.measures.get("eigenspace_overlap")(x, np.c_[x[:, :3], y[:, :1]]) == pytest.approx(0.75, abs=0.05)
    assert rs.measures.get("mean_squared_cca")(x, y) < 0.3, "angles of unrelated subspaces are not 0"


def test_partly_whitened_shapes_are_between_canonical_correlations_and_procrustes():
    x, y = related(50, 4)
    white, half, plain = (rs.measures.WhitenedShape(alpha=alpha)(x, y) for alpha in (0, 0.5, 1))
    assert plain == pytest.approx(rs.measures.get("angular_shape")(x, y), abs=1e-9)
    assert 0 < min(white, plain) <= half <= max(white, plain)
