"""Nuclear norms by products of matrices, as accelerators compute them: right for any spectrum, and checked."""

import numpy as np
import pytest
import torch

from repsim_nb.measures import alignment, polar

P = 40
SPECTRA = {
    "slow decay": np.arange(1, P + 1) ** -1.0,
    "fast decay": np.arange(1, P + 1) ** -3.0,
    "geometric": np.logspace(0, -8, P),
    "rank 5": np.r_[1, 0.5, 0.2, 0.1, 0.05, np.zeros(P - 5)],
    "one zero": np.r_[np.linspace(1, 0.1, P - 1), 0],
    "one large": np.r_[1, np.full(P - 1, 3e-6)],
    "all equal": np.ones(P),
}


def with_spectrum(s, rng, rows=P):
    left, right = (np.linalg.qr(rng.normal(size=(size, P)))[0] for size in (rows, P))
    return torch.from_numpy(left * s @ right.T)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_any_spectrum_gives_the_sum_of_the_singular_values(name, scale, rng):
    for rows in (P, 3 * P):
        x = with_spectrum(SPECTRA[name] * scale, rng, rows)
        for one in (x, x.mT):
            assert float(polar.polar_nuclear_norms(one)) == pytest.approx(SPECTRA[name].sum() * scale, rel=1e-7)


def test_a_batch_is_each_of_its_matrices_and_zero_has_the_norm_0(rng):
    x = torch.stack([with_spectrum(s, rng) for s in SPECTRA.values()] + [torch.zeros(P, P, dtype=torch.float64)])
    found = polar.polar_nuclear_norms(x)
    assert found.shape == (len(x),) and found[-1] == 0
    np.testing.assert_allclose(found[:-1], [s.sum() for s in SPECTRA.values()], rtol=1e-7)


def test_what_is_not_accurate_enough_is_decomposed(rng, monkeypatch):
    x, calls = with_spectrum(SPECTRA["slow decay"], rng), []
    exact = torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda given: calls.append(len(given)) or exact(given))
    polar.polar_nuclear_norms(x[None])
    assert calls == []
    monkeypatch.setattr(polar, "_GROWING", 1)  # far too few iterations
    found = polar.polar_nuclear_norms(x[None])
    assert calls == [1] and float(found) == pytest.approx(SPECTRA["slow decay"].sum(), rel=1e-12)


def test_procrustes_on_an_accelerator_takes_this_way(rng, monkeypatch):
    a, b = (torch.from_numpy(rng.normal(size=(50, p))) for p in (6, 9))
    here, called = alignment.overlap(a, b), []
    assert called == []

    class Elsewhere(torch.Tensor):
        """A tensor that says that it is on another device."""

        device = torch.device("meta")

    monkeypatch.setattr(
        alignment,
        "polar_nuclear_norms",
        lambda x: called.append(x) or polar.polar_nuclear_norms(x.as_subclass(torch.Tensor)),
    )
    there = alignment.overlap(a.as_subclass(Elsewhere), b.as_subclass(Elsewhere))
    assert len(called) == 1 and there == pytest.approx(here, rel=1e-7)
