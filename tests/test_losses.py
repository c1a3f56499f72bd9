"""Measures as losses: the values of the measures, with the right gradients."""

import numpy as np
import pytest
import torch
from test_measures import pair_of

import repsim_nb as rs
from repsim_nb.measures import CKA, NBS, RSA, Procrustes, UndefinedError

MEASURES = {
    "cka": CKA(),
    "cka_debiased": CKA(debiased=True),
    "cka_rbf": CKA(kernel="rbf"),
    "cka_rbf_debiased": CKA(kernel="rbf", debiased=True, median="off_diagonal", bandwidth=0.7),
    "nbs": NBS(),
    "procrustes": Procrustes(),
    "procrustes_distance": Procrustes(form="distance"),
    "angular_shape": Procrustes(form="angle"),
    **{
        f"rsa_{first}_{diagonal}": RSA(first=first, second="pearson", diagonal=diagonal)
        for first in ("correlation", "cosine", "dot", "euclidean", "squared_euclidean")
        for diagonal in (False, True)
    },
}
ROTATIONS = [name for name, measure in MEASURES.items() if isinstance(measure, (NBS, Procrustes))]


def tensors(*arrays):
    return tuple(torch.tensor(side, dtype=torch.float64, requires_grad=True) for side in arrays)


def gradients(measure, x, y):
    x, y = tensors(x, y)
    value = measure.loss(x, y)
    value.backward()
    return value.item(), x.grad, y.grad


@pytest.mark.parametrize("shape", [(20, 4, 3), (7, 12, 3), (6, 9, 11)])
@pytest.mark.parametrize("name", list(MEASURES))
def test_the_value_is_that_of_the_measure_and_gradients_are_finite_differences(name, shape):
    measure, (n, p, q) = MEASURES[name], shape
    x, y = pair_of(n=n, p=p, q=q)
    found = measure.loss(*tensors(x, y))
    assert found.item() == pytest.approx(measure.dissimilarity(measure(x, y)), abs=1e-10) and found.shape == ()
    assert torch.autograd.gradcheck(measure.loss, tensors(x, y), fast_mode=True)


@pytest.mark.parametrize("name", ["cka_debiased", "nbs", "rsa_euclidean_False"])
def test_every_entry_of_a_gradient_is_a_finite_difference(name):
    assert torch.autograd.gradcheck(MEASURES[name].loss, tensors(*pair_of(n=7, p=3, q=4)))


@pytest.mark.parametrize("name", list(MEASURES))
def test_degenerate_sides_have_finite_gradients(name):
    measure = MEASURES[name]
    rng = np.random.default_rng(0)
    x, y = pair_of(n=16, p=4, q=4)
    square = np.linalg.qr(np.hstack([np.ones((16, 1)), rng.normal(size=(16, 4))]))[0][:, 1:]
    low = np.outer(rng.normal(size=16), [1.0, 2.0, 0.5, -1.0]) + 3 + 0.1 * np.arange(4)
    cases = {
        "equal singular values": (square, square[:, ::-1].copy()),
        "rank 1": (low, y),
        "rank 1 on both sides": (low, low[::-1].copy()),
        "a duplicated and a constant feature": (np.hstack([x, x[:, :1], np.ones((16, 1))]), y),
        "equal sides": (x, x.copy()),
        "copies of a sample": (np.repeat(x[:8], 2, axis=0), y),
    }
    for what, sides in cases.items():
        try:
            value, *grads = gradients(measure, *sides)
        except UndefinedError:
            with pytest.raises(UndefinedError):
                measure(*sides)
            continue
        assert np.isfinite(value) and all(bool(torch.isfinite(grad).all()) for grad in grads), what
        assert value == pytest.approx(measure.dissimilarity(measure(*sides)), abs=2e-7), what


@pytest.mark.parametrize("name", list(MEASURES))
def test_descent_makes_representations_alike(name):
    measure = MEASURES[name]
    x, y = pair_of(n=30, p=5, q=4)
    before, grad, _ = gradients(measure, x, y)
    step = 0.05 * np.linalg.norm(x) / np.linalg.norm(grad)
    assert measure.dissimilarity(measure(x - step * grad.numpy(), y)) < before - 1e-4


@pytest.mark.parametrize("name", list(MEASURES))
def test_half_precision_pictures_and_a_frozen_side(name):
    measure = MEASURES[name]
    x, y = pair_of(n=30, p=6, q=4)
    picture = torch.tensor(x.reshape(30, 2, 3, 1)).half().requires_grad_()
    value = measure.loss(picture, torch.tensor(y).float())
    value.backward()
    assert picture.grad.shape == picture.shape and bool(torch.isfinite(picture.grad).all())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(measure.dissimilarity(measure(x, y)), abs=0.01)


@pytest.mark.parametrize("name", list(MEASURES))
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_tiny_and_huge_activations(name, scale):
    x, y = pair_of(n=12, shift=0)
    value, grad, _ = gradients(MEASURES[name], x, y)
    other, scaled, _ = gradients(MEASURES[name], scale * x, y)
    assert other == pytest.approx(value, abs=1e-10)
    assert np.allclose(scale * scaled.numpy(), grad.numpy(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ROTATIONS)
def test_second_derivatives_of_rotations_are_refused(name):
    x, y = tensors(*pair_of(n=10))
    loss = MEASURES[name].loss(x, y)
    with pytest.raises(NotImplementedError, match="first derivatives only. Leave out create_graph=True"):
        torch.autograd.grad(loss, x, create_graph=True)


def test_measures_without_a_loss_list_those_with_one():
    x, y = tensors(*pair_of())
    with_one = {name for name, measure in rs.measures.ALL.items() if measure.has_loss}
    assert with_one == {"cka", "cka_debiased", "cka_rbf", "nbs", "procrustes", "procrustes_distance", "angular_shape"}
    for measure in (rs.measures.get("mutual_knn"), CKA(batch_size=8), RSA()):
        with pytest.raises(NotImplementedError, match=r"no differentiable form. .*'cka', 'cka_debiased', .* and RSA\("):
            measure.loss(x, y)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda x, y: (x.detach().numpy(), y), TypeError, "x is a ndarray. For a value without"),
        (lambda x, y: (x, y.long()), TypeError, "y is a tensor of torch.int64"),
        (lambda x, y: (x, y[:-1]), ValueError, "'x' has 60 rows, 'y' has 59"),
        (lambda x, y: (x[:2], y[:2]), UndefinedError, "'x': at least 3 samples are needed; it has 2"),
        (lambda x, y: (x[:, 0], y), UndefinedError, r"'x': a representation is \(samples, features\)"),
        (lambda x, y: (x, y * np.nan), UndefinedError, "'y': it holds values that are NaN"),
        (lambda x, y: (x, torch.ones_like(y)), UndefinedError, "'y': it is constant"),
        (lambda x, y: (x, y.to("meta")), ValueError, "'x' is on cpu, 'y' on meta"),
    ],
)
def test_bad_input_is_one_clear_exception(change, kind, words):
    with pytest.raises(kind, match=words):
        CKA().loss(*change(*tensors(*pair_of())))


def test_unequal_directions_of_samples_are_needed():
    x = torch.ones(10, 3, dtype=torch.float64) * torch.arange(1, 11)[:, None]
    with pytest.raises(UndefinedError, match="all pairs of samples are equally alike"):
        RSA(first="cosine", second="pearson").loss(x, x)
    with pytest.raises(UndefinedError, match="sample 0 has no direction"):
        RSA(second="pearson").loss(x, x)
    few = torch.zeros(10, 3, dtype=torch.float64)
    few[0] = 1.0
    with pytest.raises(UndefinedError, match="median distance between samples is 0"):
        CKA(kernel="rbf").loss(few, few)
