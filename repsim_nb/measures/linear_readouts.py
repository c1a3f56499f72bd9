"""Linear predictions from one representation to another, held out in folds or in sample, at the cost of few products.

A representation is decomposed once, X = Q S Vᵀ; all predictions are of and from Q, which is well conditioned. With M
the matrix that turns targets into residuals in sample (centring included), the residuals of a left-out fold t are
M_tt⁻¹ (M Y)_t. So no fold needs a decomposition of its own:

- `ByFeatures`, for few features: predictions of a fold are its weights times the products of the other folds, QᵀY.
- `BySamples`, for many: the squared residuals of all folds together are ⟨TᵀT, YYᵀ⟩, with T the residual operator.
- `ByFold`, if that would lose digits (a sample that decides a direction alone, directions near the size of rounding):
  each fold is decomposed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import array_api_compat

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_representation

from .arrays import centred_unit, eps, reduce_features, smallest_direction, solve_triangular, triangular_factor

LEAST_EIGENVALUE = 1e-4  # of M_tt; below it the solution loses more than four digits
LARGEST_ERRORS = 4e3  # the norm of TᵀT, so that the rounding of squared residuals is below 1e-12


class Fold(NamedTuple):
    """One fold of a cross-validation: sample numbers, and how the tested samples are predicted.

    The product of the factors turns the values of the fitted samples into predictions for the tested ones.
    """

    tested: Array
    fitted: Array
    factors: tuple[Array, ...]


class ByFold(NamedTuple):
    """How each fold is predicted from the values of the others."""

    folds: list[Fold]


class ByFeatures(NamedTuple):
    """How each fold is predicted: weights (folds, tested, r) @ (products of the fitted samples) are predictions."""

    weights: Array


class InSample(NamedTuple):
    """How all samples are predicted from themselves: the fraction of each direction that is explained, (r,)."""

    explained: Array


class BySamples(NamedTuple):
    """Squared residuals as an inner product of matrices.

    Attributes
    ----------
    errors : array (n, n)
        TᵀT, with T the matrix that turns targets into residuals.
    gram : array (n, n)
        The features times their transpose: this representation as a target.
    """

    errors: Array
    gram: Array


class Predicted(NamedTuple):
    """A representation that is only predicted: its features times their transpose (n, n), or None if they are few."""

    gram: Array | None


class Predictor(NamedTuple):
    """A representation that predicts, or is predicted.

    Attributes
    ----------
    held : array (folds, tested, r)
        An orthonormal basis of the features, less the means of the fitted samples, in folds; rows of zeros fill up the
        shorter ones.
    means : array (folds, r)
        The means of the fitted samples.
    s : array (r,)
        The singular values of the centred features. What is only predicted has features as its basis, and ones here.
    n, rank : int
        The number of samples, and how many directions are above rounding.
    total : float
        The sum of squares to predict.
    how : ByFeatures, BySamples, ByFold, InSample or Predicted
        How it predicts.
    """

    held: Array
    means: Array
    s: Array
    n: int
    rank: int
    total: float
    how: ByFeatures | BySamples | ByFold | InSample | Predicted

    def basis(self) -> Array:
        """Return the orthonormal basis in the order of the samples, (n, r)."""
        xp = array_api_compat.array_namespace(self.held)
        rows = xp.permute_dims(self.held + self.means[:, None, :], (1, 0, 2))
        return xp.reshape(rows, (-1, rows.shape[2]))[: self.n]


def many_features(n: int, r: int) -> bool:
    """Return whether matrices of samples are cheaper than products of features; r: the number of directions."""
    return 2 * r >= n


def centred_features(x: Array, least: int) -> tuple[Array, float]:
    """Return the centred features at unit Frobenius norm, (n, at most n) in float64, and the size of their rounding.

    Singular values below that size are rounding of the numbers of x.
    """
    x = check_representation(x, min_samples=least)
    xp = array_api_compat.array_namespace(x)
    return reduce_features(centred_unit(xp.astype(x, xp.float64))), smallest_direction(x)


def directions(x: Array, smallest: float) -> tuple[Array, Array, Array]:
    """Decompose all or some rows of centred features of unit norm, at numerical rank."""
    xp = array_api_compat.array_namespace(x)
    u, s, vt = xp.linalg.svd(x, full_matrices=False)
    floor = max(smallest, eps(x) * max(x.shape))  # features that are constant in these rows leave rounding of the whole
    rank = int(xp.sum(xp.astype(s > floor, xp.int64)))
    return u[:, :rank], s[:rank], vt[:rank, :]


def decompose(x: Array, smallest: float, folds: int | None, ridge: float | None) -> Predictor:
    """Return a predictor of centred features (n, at most n) of unit norm."""
    xp = array_api_compat.array_namespace(x)
    basis, s, _ = directions(x, 0.0)
    n = basis.shape[0]
    rank = int(xp.sum(xp.astype(s > smallest, xp.int64)))
    held, means = _held_out(basis, folds)
    if folds is None:
        how: ByFeatures | BySamples | ByFold | InSample = _in_sample(basis, s, rank, ridge)
    else:
        how = (
            _from_basis(basis, s, smallest, folds, ridge)
            if rank == s.shape[0]  # else folds differ in which of the faint directions they keep
            else None
        ) or _fold_by_fold(basis * s, smallest, folds, ridge)
    total = float(xp.sum(xp.sum(held * held, axis=(0, 1)) * s * s))
    return Predictor(held, means, s, n, rank, total, how)


def only_predicted(x: Array, folds: int | None) -> Predictor:
    """Return centred features (n, at most n) of unit norm as a target, which needs no decomposition."""
    xp = array_api_compat.array_namespace(x)
    (n, p), (held, means) = x.shape, _held_out(x, folds)
    how = Predicted(x @ x.T if many_features(n, p) else None)
    return Predictor(held, means, xp.ones_like(x[0, :]), n, p, float(xp.sum(held * held)), how)


def missed(source: Predictor, target: Predictor) -> float:
    """Return the sum of the squared residuals of `target` predicted from `source`."""
    xp = array_api_compat.array_namespace(source.held)
    how = source.how
    if isinstance(how, BySamples):
        if isinstance(target.how, (BySamples, Predicted)) and target.how.gram is not None:
            return float(xp.vecdot(xp.reshape(how.errors, (-1,)), xp.reshape(target.how.gram, (-1,))))
        features = target.basis() * target.s
        return float(xp.sum(features * (how.errors @ features)))
    if isinstance(how, ByFold):
        return _missed_by_fold(how, target.basis() * target.s)
    return missed_by_products(source, target, products(source, target))


def products(a: Predictor, b: Predictor) -> Array:
    """Return the products of both bases over the fitted samples of each fold, centred there, (folds, r_a, r_b).

    They are the products over all samples less those of the tested ones. In sample both are the same samples.
    """
    xp = array_api_compat.array_namespace(a.held)
    tested = xp.matrix_transpose(a.held) @ b.held
    if isinstance(a.how, InSample):
        return tested
    means = a.means[:, :, None] * b.means[:, None, :]
    folds = tested.shape[0]
    fitted = [a.n - len(range(i, a.n, folds)) for i in range(folds)]
    whole = xp.sum(tested, axis=0)
    for count, mean in zip(fitted, means, strict=True):
        whole = whole - (a.n + count) * mean
    return whole - tested + a.n * means


def missed_by_products(source: Predictor, target: Predictor, cross: Array) -> float:
    """Return `missed` of a source that predicts from products, given `products(source, target)`."""
    xp = array_api_compat.array_namespace(source.held)
    if isinstance(source.how, InSample):
        left = xp.sum(cross[0, :, :] ** 2 * source.how.explained[:, None], axis=0)
        return target.total - float(xp.sum(left * target.s * target.s))
    assert isinstance(source.how, ByFeatures)
    residuals = target.held - source.how.weights @ cross
    return float(xp.sum(xp.sum(residuals * residuals, axis=(0, 1)) * target.s * target.s))


def by_products(a: Predictor) -> bool:
    """Return whether `missed_by_products` is the way in which this source predicts."""
    return isinstance(a.how, (ByFeatures, InSample))


def permute_in_sample(a: Predictor, order: Array) -> Predictor:
    """Reorder the samples of a predictor without folds."""
    how = a.how
    if isinstance(how, BySamples):
        how = BySamples(*(matrix[order][:, order] for matrix in how))
    return a._replace(held=a.held[:, order], how=how)


def _held_out(basis: Array, folds: int | None) -> tuple[Array, Array]:
    """Return the tested rows of each fold less the means of the others, and these means; in sample all rows and 0."""
    xp = array_api_compat.array_namespace(basis)
    if folds is None:
        return basis[None, :, :], xp.zeros_like(basis[:1, :])
    n, held, means = basis.shape[0], [], []
    for i in range(folds):
        tested = basis[i::folds, :]
        mean = -xp.sum(tested, axis=0) / (n - tested.shape[0])  # the whole has mean 0
        filling = xp.zeros_like(basis[: -(-n // folds) - tested.shape[0], :])
        held.append(xp.concat([tested - mean, filling], axis=0))
        means.append(mean)
    return xp.stack(held), xp.stack(means)


def _in_sample(basis: Array, s: Array, rank: int, ridge: float | None) -> InSample | BySamples:
    xp = array_api_compat.array_namespace(basis)
    fractions = s * 0
    penalty = ridge * xp.mean(s[:rank] ** 2) if ridge and rank else 0.0
    fractions[:rank] = s[:rank] ** 2 / (s[:rank] ** 2 + penalty)
    explained = fractions * (2 - fractions)  # 1 - (1 - fraction)²
    n = basis.shape[0]
    if not many_features(n, s.shape[0]):
        return InSample(explained)
    eye = xp.eye(n, dtype=basis.dtype, device=array_api_compat.device(basis))
    return BySamples(eye - (basis * explained) @ basis.T, (basis * (s * s)) @ basis.T)


def _from_basis(
    basis: Array, s: Array, smallest: float, folds: int, ridge: float | None
) -> ByFeatures | BySamples | None:
    """Return how folds are predicted, or None if digits would be lost."""
    xp = array_api_compat.array_namespace(basis)
    n, r = basis.shape
    longest = -(-n // folds)
    wide = many_features(n, r) or r >= n - longest
    rows: list[Array] = []
    for i in range(folds):
        rows.append(_fold_operator(basis, s, smallest, slice(i, None, folds), ridge, wide))
        if rows[-1] is None:
            return None
    if wide:
        operator = xp.concat(rows, axis=0)
        errors = operator.T @ operator
        if not float(xp.linalg.matrix_norm(errors)) < LARGEST_ERRORS:
            return None
        return BySamples(errors, (basis * (s * s)) @ basis.T)
    return ByFeatures(
        xp.stack([xp.concat([row, xp.zeros_like(basis[: longest - row.shape[0], :])], axis=0) for row in rows])
    )


def _fold_operator(
    basis: Array, s: Array, smallest: float, which: slice, ridge: float | None, wide: bool
) -> Array | None:
    """Return the residual operator of a fold (tested, n) if `wide`, else its weights (tested, r); None as above."""
    xp = array_api_compat.array_namespace(basis)
    (n, r), tested = basis.shape, basis[which, :]
    count = tested.shape[0]
    fitted = n - count
    full = r >= fitted  # the fitted samples then have as many directions as they can
    if full:
        # with n - 1 directions the fitted samples have no smaller a singular value than the whole
        if not ridge:
            return _interpolation(basis, s, 0.0 if r == n - 1 else smallest, which)
        if r < n - 1 and not _has_full_rank(basis, s, smallest, which):
            return None
    else:
        least = float(xp.min(xp.linalg.eigvalsh(_shrunk(tested, fitted))))
        if least < LEAST_EIGENVALUE or float(s[-1]) * math.sqrt(least) <= smallest:
            return None
    weighted, root = tested, None
    if ridge:
        mean = xp.sum(tested, axis=0) / fitted
        variance = xp.sum(s * s * (1 - xp.sum(tested * tested, axis=0) - fitted * mean * mean))
        penalty = ridge * variance / (fitted - 1 if full else r)
        root = xp.sqrt(s * s / (s * s + penalty))
        weighted = tested * root
        if full and float(xp.min(xp.linalg.eigvalsh(_shrunk(weighted, fitted)))) < LEAST_EIGENVALUE:
            return None
    if wide:
        eye = xp.eye(n, dtype=basis.dtype, device=array_api_compat.device(basis))
        own = eye[:count, :count] - 1 / n - weighted @ weighted.T
        scaled = basis if root is None else basis * root
        return xp.linalg.solve(own, eye[which, :] - 1 / n - weighted @ scaled.T)
    small = _shrunk(weighted, fitted)
    if count <= r:
        weights = xp.linalg.solve(small, weighted)
    else:
        weights = (weighted + xp.sum(weighted, axis=0) / fitted) @ xp.linalg.inv(small)
    return weights if root is None else weights * root


def _interpolation(basis: Array, s: Array, smallest: float, which: slice) -> Array | None:
    """Return the residual operator of a fold whose fitted samples are met exactly, by weights of minimum norm.

    None if they may not have full rank; smallest: 0 if that is known.
    """
    xp = array_api_compat.array_namespace(basis)
    mine, others = _rows_of(basis, which)
    tested, known = (xp.take(basis * s, rows, axis=0) for rows in (mine, others))
    fitted, mean = known.shape[0], xp.mean(known, axis=0, keepdims=True)
    # a column of ones takes the place of the direction that the mean has taken; columns fall in size, so that the rows
    # of the transpose are in the order in which a QR decomposition keeps the digits of the small ones
    known = xp.concat([known - mean, xp.ones_like(known[:, :1]) * float(s[0])], axis=1)
    tested = xp.concat([tested - mean, xp.zeros_like(tested[:, :1])], axis=1)
    upper = triangular_factor(xp.concat([known, tested], axis=0).T)
    own = upper[:fitted, :fitted]
    if smallest:
        floor = max(smallest, eps(own) * fitted)
        if float(xp.min(xp.abs(xp.linalg.diagonal(own)))) <= floor:
            return None
        # 1 / norm of the inverse is at most the smallest singular value
        inverse = solve_triangular(own, xp.eye(fitted, dtype=own.dtype, device=array_api_compat.device(own)))
        if float(xp.linalg.matrix_norm(inverse)) * floor >= 1:
            return None
    weights = solve_triangular(own, upper[:fitted, fitted:]).T
    eye = xp.eye(weights.shape[0], dtype=basis.dtype, device=array_api_compat.device(basis))
    return xp.take(xp.concat([eye, -weights - 1 / fitted], axis=1), xp.argsort(xp.concat([mine, others])), axis=1)


def _has_full_rank(basis: Array, s: Array, smallest: float, which: slice) -> bool:
    """Return whether the samples outside a fold, centred, have all directions that their number allows."""
    xp = array_api_compat.array_namespace(basis)
    known = xp.take(basis * s, _rows_of(basis, which)[1], axis=0)
    sizes = xp.linalg.svdvals(known - xp.mean(known, axis=0, keepdims=True))
    return float(sizes[known.shape[0] - 2]) > max(smallest, 100 * eps(known) * max(known.shape))


def _rows_of(basis: Array, which: slice) -> tuple[Array, Array]:
    """Return the numbers of the tested and of the other samples."""
    xp = array_api_compat.array_namespace(basis)
    index = xp.arange(basis.shape[0], device=array_api_compat.device(basis))
    is_tested = index % which.step == which.start
    return index[is_tested], index[~is_tested]


def _shrunk(tested: Array, fitted: int) -> Array:
    """Return the smaller of M_tt = I - 11ᵀ/n - Q_t Q_tᵀ and the product of the fitted samples, I - Q_tᵀ(I + 11ᵀ/f)Q_t.

    With f fitted samples both have about the same smallest eigenvalue: 0 if some direction is in tested samples only.
    """
    xp = array_api_compat.array_namespace(tested)
    count, r = tested.shape
    eye = xp.eye(min(count, r), dtype=tested.dtype, device=array_api_compat.device(tested))
    if count <= r:
        return eye - 1 / (count + fitted) - tested @ tested.T
    total = xp.sum(tested, axis=0)
    return eye - tested.T @ tested - total[:, None] * total[None, :] / fitted


def _fold_by_fold(x: Array, smallest: float, folds: int, ridge: float | None) -> ByFold:
    """Decompose each fold of the features x by itself."""
    xp = array_api_compat.array_namespace(x)
    found = []
    for i in range(folds):
        tested, fitted = _rows_of(x, slice(i, None, folds))
        known = xp.take(x, fitted, axis=0)
        mean = xp.mean(known, axis=0, keepdims=True)
        u, s, vt = directions(known - mean, smallest)
        penalty = ridge * xp.mean(s * s) if ridge and s.shape[0] else 0.0
        left, right = (xp.take(x, tested, axis=0) - mean) @ vt.T * (s / (s * s + penalty)), u.T
        one = left.shape[0] * right.shape[1] < s.shape[0] * (left.shape[0] + right.shape[1])
        found.append(Fold(tested, fitted, (left @ right,) if one else (left, right)))
    return ByFold(found)


def _missed_by_fold(how: ByFold, y: Array) -> float:
    xp = array_api_compat.array_namespace(y)
    squares = 0.0
    for fold in how.folds:
        known, wanted = (xp.take(y, which, axis=0) for which in (fold.fitted, fold.tested))
        mean = xp.mean(known, axis=0, keepdims=True)
        predicted = known - mean
        for factor in reversed(fold.factors):
            predicted = factor @ predicted
        squares += float(xp.sum((wanted - mean - predicted) ** 2))
    return squares
