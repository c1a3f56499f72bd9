"""The definitions of all measures, written once more without the package: plain sums, SciPy and scikit-learn.

Slow, for few samples.
"""

import itertools
import math

import numpy as np
import scipy.linalg
from scipy import optimize, spatial, special, stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import cohen_kappa_score


class Undefined(Exception):
    """The definition has no value here."""


# -- ties: numbers nearer than the precision of the data are the same number


def tied(values, precision):
    """The numbers (m,), those of one tie as one number; precision: relative to the largest."""
    values = np.asarray(values)
    order = np.argsort(values, kind="stable")
    found = values.copy()
    for before, after in itertools.pairwise(order):
        if values[after] - values[before] <= precision * max(1e-300, np.abs(values).max()):
            found[after] = found[before]
    return found


def spearman(a, b):
    if len(set(a)) == 1 or len(set(b)) == 1:
        raise Undefined("no order")
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


# -- parts


def centred(x):
    if np.all(x == x[0]):
        raise Undefined("constant")
    return x - x.mean(0)


def unit(x):
    x = centred(x)
    return x / np.sqrt((x**2).sum())


def cosine(a, b):
    own = float((a * a).sum()), float((b * b).sum())
    if min(own) <= 0:
        raise Undefined("nothing is left")
    return float((a * b).sum()) / math.sqrt(own[0]) / math.sqrt(own[1])


def double_centred(k):
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def left_of(k, centre):
    """A matrix of which nothing but rounding is left has no direction."""
    found = centre(k)
    if np.abs(found).max() <= 1e-11 * np.abs(k).max():
        raise Undefined("all samples are equally alike")
    return found


def squared_distances(x):
    """In long double, so that equal distances are equal in all digits of the data."""
    x = x.astype(np.longdouble)
    return np.array([[((a - b) ** 2).sum() for b in x] for a in x])


def hsic(k, m):
    """The unbiased HSIC (Song et al. 2012, eq. 5), sum by sum."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    three = sum(k[i].sum() * m[i].sum() for i in range(n))
    return ((k * m).sum() + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * three) / (n * (n - 3))


def hsic_of_four(k, m, groups):
    """The U-statistic over four samples of four different groups."""
    total = count = 0
    for i, j, q, r in itertools.permutations(range(len(k)), 4):
        if len({groups[i], groups[j], groups[q], groups[r]}) == 4:
            total += k[i, j] * (m[i, j] - 2 * m[i, q] + m[q, r])
            count += 1
    return total / count


def debiased(k, m, of=hsic):
    own = of(k, k), of(m, m)
    if own[0] <= 1e-11 * (k * k).mean() or own[1] <= 1e-11 * (m * m).mean():
        raise Undefined("its similarity with itself is 0")
    return of(k, m) / math.sqrt(own[0] * own[1])


# -- measures of matrices of samples


def gram(x):
    x = unit(x)
    return x @ x.T


def cka(x, y):
    return cosine(gram(x), gram(y))


def cka_debiased(x, y):
    return debiased(gram(x), gram(y))


def cka_minibatch(x, y, size):
    starts = list(range(0, len(x), size))
    if len(starts) > 1 and len(x) - starts[-1] < 4:
        starts.pop()
    terms = np.zeros(3)
    for start, stop in zip(starts, [*starts[1:], len(x)], strict=True):
        k, m = (side[start:stop] @ side[start:stop].T for side in (unit(x), unit(y)))
        terms += [(stop - start) * hsic(a, b) for a, b in ((k, m), (k, k), (m, m))]
    if min(terms[1:]) <= 1e-14:
        raise Undefined("its similarity with itself is 0")
    return terms[0] / math.sqrt(terms[1] * terms[2])


def rbf(x, bandwidth, diagonal):
    squared = squared_distances(unit(x)).astype(float)
    middle = np.median(squared if diagonal else squared[~np.eye(len(x), dtype=bool)])
    if middle <= 0:
        raise Undefined("no width")
    return np.exp(-squared / (2 * bandwidth**2 * middle))


def cka_rbf(x, y, bandwidth=1.0, diagonal=True, unbiased=False):
    k, m = rbf(x, bandwidth, diagonal), rbf(y, bandwidth, diagonal)
    left_of(k, double_centred), left_of(m, double_centred)
    return debiased(k, m) if unbiased else cosine(left_of(k, double_centred), left_of(m, double_centred))


def u_centred(k):
    n = len(k)
    found = k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / (n - 1) / (n - 2)
    np.fill_diagonal(found, 0)
    return found


def distance_correlation(x, y, squared=True, unbiased=False):
    distances = [np.sqrt(squared_distances(unit(side))).astype(float) for side in (x, y)]
    found = cosine(*(left_of(d, u_centred if unbiased else double_centred) for d in distances))
    return found if squared else math.sqrt(max(found, 0))


def first_order(x, first):
    x = x.astype(np.longdouble)
    if first == "euclidean":
        return np.sqrt(squared_distances(unit(x)))
    if np.all(x == x[0]):
        raise Undefined("constant")
    if first == "correlation":
        if x.shape[1] < 2 or (np.ptp(x, axis=1) == 0).any():
            raise Undefined("a constant row")
        x = x - x.mean(1, keepdims=True)
    if first != "dot":
        if (np.abs(x).max(1) == 0).any():
            raise Undefined("a row of 0")
        x = x / np.abs(x).max(1, keepdims=True)
        x = x / np.sqrt((x**2).sum(1, keepdims=True))
    return x @ x.T / (np.abs(x @ x.T).max() if first == "dot" else 1)


def rsa(x, y, first, second, diagonal, precision, which=None):
    a, b = (first_order(side, first) for side in (x, y))
    n = len(a)
    if second.startswith("row"):
        rows = []
        for i in range(n):
            one, other = (m[i] if diagonal else np.delete(m[i], i) for m in (a, b))
            if second == "row_pearson":
                one, other = left_of(one, lambda v: v - v.mean()), left_of(other, lambda v: v - v.mean())
            rows.append(cosine(one, other))
        return float(np.mean(rows))
    cells = (
        np.ones((n, n), bool)
        if diagonal
        else np.tri(n, k=-1, dtype=bool)
        if which is None
        else np.tri(n, k=-1, dtype=bool) & which
    )
    a, b = a[cells], b[cells]
    if second == "spearman":
        return spearman(tied(a, precision), tied(b, precision))
    return cosine(*(left_of(v, lambda v: v - v.mean()) for v in (a, b))) if second == "pearson" else cosine(a, b)


# -- neighbours


def neighbour_weights(closeness, k, precision):
    """Weights (n, n) of the k others with the largest closeness; those tied at the k-th place share what is left."""
    n = len(closeness)
    weights = np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        values = tied(closeness[i, others], precision)
        kth = sorted(values, reverse=True)[k - 1]
        closer, same = (values > kth).sum(), (values == kth).sum()
        for j, value in zip(others, values, strict=True):
            weights[i, j] = 1 if value > kth else (k - closer) / same if value == kth else 0
    return weights


def closeness(x, metric):
    if np.all(x == x[0]):
        raise Undefined("constant")
    x = x.astype(np.longdouble)
    if metric == "cosine":
        if (np.abs(x).max(1) == 0).any():
            raise Undefined("a row of 0")
        x = x / np.sqrt((x**2).sum(1, keepdims=True))
        if np.abs(x - x[0]).max() < 1e-15:
            raise Undefined("one direction")
    return -squared_distances(x)


def knn(x, y, k, metric, precision, jaccard=False):
    one, other = (neighbour_weights(closeness(side, metric), k, precision) for side in (x, y))
    shared = (one * other).sum(1)
    return float((shared / (2 * k - shared)).mean() if jaccard else (shared / k).mean())


def cknna(x, y, k, precision):
    kernels = [
        np.asarray(centred(side.astype(np.longdouble)) @ centred(side.astype(np.longdouble)).T, float)
        for side in (x, y)
    ]
    kernels = [kernel / np.abs(kernel).max() for kernel in kernels]
    mutual = [w * w.T for w in (neighbour_weights(kernel, k, precision) for kernel in kernels)]
    own = [hsic(m * kernel, m * kernel) for m, kernel in zip(mutual, kernels, strict=True)]
    if min(own) <= 1e-12:
        raise Undefined("nothing is left")
    both = mutual[0] * mutual[1]
    return hsic(both * kernels[0], both * kernels[1]) / math.sqrt(own[0] * own[1])


# -- measures of features


def basis(x, share=None):
    x = unit(x)
    u, s, _ = scipy.linalg.svd(x, full_matrices=False)
    rank = np.linalg.matrix_rank(x, tol=1e-7)
    if share is not None:
        explained = np.cumsum(s**2) / (s**2).sum()
        rank = min(rank, 1 + int((explained < share - 1e-12).sum()))
    return u[:, :rank]


def cca(x, y, summary="mean", share=None):
    q, r = basis(x, share), basis(y, share)
    if q.shape[1] + r.shape[1] > len(x) - 1:
        raise Undefined("correlations of 1 whatever the data")
    u, rho, _ = scipy.linalg.svd(q.T @ r, full_matrices=False)
    if summary == "projection_weighted":
        return float(np.average(rho, weights=np.abs((q @ u).T @ unit(x)).sum(1)))
    return float(np.mean(rho if summary == "mean" else rho**2))


def nuclear(x, y):
    x, y = unit(x), unit(y)
    wide = max(x.shape[1], y.shape[1])
    return float(
        scipy.linalg.orthogonal_procrustes(*(np.pad(side, ((0, 0), (0, wide - side.shape[1]))) for side in (x, y)))[1]
    )


def units(x):
    x = centred(x)
    lengths = np.sqrt((x**2).sum(0))
    if (lengths <= 1e-5 * np.abs(x).max()).any():
        raise Undefined("a constant unit")
    return x / lengths


def permutation_procrustes(x, y):
    x, y = unit(x), unit(y)
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    x = np.pad(x, ((0, 0), (0, y.shape[1] - x.shape[1])))
    rows, columns = optimize.linear_sum_assignment(spatial.distance.cdist(x.T, y.T, "sqeuclidean"))
    return float(((x[:, rows] - y[:, columns]) ** 2).sum())


def correlation_match(x, y, hard):
    r = units(x).T @ units(y)
    if not hard:
        return float(r.max(0).mean() + r.max(1).mean()) / 2
    rows, columns = optimize.linear_sum_assignment(-r)
    return float(r[rows, columns].mean())


def partial_soft_matching(x, y, price):
    costs = 1 - units(x).T @ units(y)
    p, q = costs.shape
    sums = np.vstack([np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))])
    found = optimize.linprog((costs - price).ravel(), A_ub=sums, b_ub=[1 / p] * p + [1 / q] * q)
    return float(price + found.fun)


def multiscale_cka(x, y, steps):
    """By the transition matrices of the random walks, written out."""
    n, walks = len(x), []
    for side in (x, y):
        similarities = unit(side) @ unit(side).T
        chances = 1 / n - similarities / (n * similarities.min())  # none is negative
        walks.append(np.linalg.matrix_power(chances, steps) - 1 / n)
    return float((walks[0] * walks[1]).sum() / np.linalg.norm(walks[0]) / np.linalg.norm(walks[1]))


def whitened_shape(x, y, alpha, precision):
    sides = []
    for side in (x, y):
        own = unit(side)
        squares, axes = np.linalg.eigh(own.T @ own)
        floor = 4 * max(precision, 1e-15) * np.sqrt((side**2).sum() / (centred(side) ** 2).sum()) + 1e-12
        there = np.sqrt(np.clip(squares, 0, None)) > max(floor, 1e-7)
        root = axes[:, there] @ np.diag(squares[there] ** -0.5) @ axes[:, there].T  # the inverse root of X'X
        own = own * np.sqrt(there.sum())
        root = root / np.sqrt(there.sum())
        sides.append(own @ ((1 - alpha) * root + alpha * axes[:, there] @ axes[:, there].T))
    return math.acos(min(nuclear(*sides), 1))


def size_and_shape(x, y):
    x, y = centred(x), centred(y)
    wide = max(x.shape[1], y.shape[1])
    x, y = (np.pad(side, ((0, 0), (0, wide - side.shape[1]))) for side in (x, y))
    rotation = scipy.linalg.orthogonal_procrustes(x, y)[0]
    return float(np.linalg.norm(x @ rotation - y))


def linear_predictivity(x, y, folds=5):
    centred(x), centred(y)
    place, missed, total = np.arange(len(x)) % folds, 0.0, 0.0
    x, y = unit(x), unit(y)
    for fold in range(folds):
        fitted, tested = place != fold, place == fold
        if np.ptp(x[fitted], axis=0).max() == 0:
            predicted = np.repeat(y[fitted].mean(0)[None], tested.sum(), axis=0)
        else:
            predicted = LinearRegression().fit(x[fitted], y[fitted]).predict(x[tested])
        missed += ((y[tested] - predicted) ** 2).sum()
        total += ((y[tested] - y[fitted].mean(0)) ** 2).sum()
    return 1 - missed / total


def gulp(x, y, ridge):
    x, y = unit(x), unit(y)  # at norm √n, over n: the same covariances
    a, b = (np.linalg.inv(side.T @ side + ridge * np.eye(side.shape[1])) for side in (x, y))
    xx, yy, xy = x.T @ x, y.T @ y, x.T @ y
    return float(np.trace(a @ xx @ a @ xx) + np.trace(b @ yy @ b @ yy) - 2 * np.trace(a @ xy @ b @ xy.T))


def soft_matching(x, y):
    x, y = unit(x), unit(y)
    costs = spatial.distance.cdist(x.T, y.T, "sqeuclidean")
    p, q = costs.shape
    sums = np.concatenate([np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))])
    return float(optimize.linprog(costs.ravel(), A_eq=sums, b_eq=[1 / p] * p + [1 / q] * q).fun)


# -- outputs


def logits(x):
    if x.shape[1] < 2 or (((x >= 0) & (x <= 1)).all() and np.abs(x.sum(1) - 1).max() <= 1e-3):
        raise Undefined("probabilities, or one class")
    return special.softmax(x, axis=1)


def jsd(x, y):
    p, q = logits(x), logits(y)
    return float(
        np.mean([stats.entropy(a, (a + b) / 2) + stats.entropy(b, (a + b) / 2) for a, b in zip(p, q, strict=True)]) / 2
    )


def kl(x, y):
    logits(x), logits(y)
    log_p, log_q = special.log_softmax(x, axis=1), special.log_softmax(y, axis=1)
    return float(np.mean((np.exp(log_p) * (log_p - log_q)).sum(1)))


def decisions(x, y):
    if x.shape[1] < 2:
        raise Undefined("one class")
    return x.argmax(1), y.argmax(1)


def disagreement(x, y):
    a, b = decisions(x, y)
    return float((a != b).mean())


def kappa(x, y):
    a, b = decisions(x, y)
    if len({*a, *b}) == 1:
        raise Undefined("one class always")
    return float(cohen_kappa_score(a, b))


def output_rank(x, y, precision):
    decisions(x, y)
    found = []
    for a, b in zip(x, y, strict=True):
        try:
            found.append(spearman(tied(a, precision), tied(b, precision)))
        except Undefined:
            continue
    if not found:
        raise Undefined("no sample has ranks")
    return float(np.mean(found))


NAMED = {
    "cka": lambda x, y, e: cka(x, y),
    "cka_debiased": lambda x, y, e: cka_debiased(x, y),
    "cka_minibatch": lambda x, y, e: cka_minibatch(x, y, 256),
    "cka_rbf": lambda x, y, e: cka_rbf(x, y),
    "mean_cca": lambda x, y, e: cca(x, y),
    "mean_squared_cca": lambda x, y, e: cca(x, y, "mean_squared"),
    "svcca": lambda x, y, e: cca(x, y, share=0.99),
    "pwcca": lambda x, y, e: cca(x, y, "projection_weighted"),
    "procrustes": lambda x, y, e: 2 - 2 * nuclear(x, y),
    "procrustes_distance": lambda x, y, e: math.sqrt(max(2 - 2 * nuclear(x, y), 0)),
    "angular_shape": lambda x, y, e: math.acos(min(nuclear(x, y), 1)),
    "nbs": lambda x, y, e: nuclear(x, y),
    "linear_predictivity": lambda x, y, e: linear_predictivity(x, y),
    "distance_correlation": lambda x, y, e: distance_correlation(x, y),
    "rsa": lambda x, y, e: rsa(x, y, "correlation", "spearman", False, e),
    "rsa_cosine": lambda x, y, e: rsa(x, y, "cosine", "row_cosine", True, e),
    "mutual_knn": lambda x, y, e: knn(x, y, 10, "cosine", e),
    "jaccard_knn": lambda x, y, e: knn(x, y, 10, "cosine", e, jaccard=True),
    "cknna": lambda x, y, e: cknna(x, y, 10, e),
    "gulp": lambda x, y, e: gulp(x, y, 1e-2),
    "soft_matching": lambda x, y, e: soft_matching(x, y),
    "multiscale_cka": lambda x, y, e: multiscale_cka(x, y, 2),
    "whitened_shape": lambda x, y, e: whitened_shape(x, y, 0.5, e),
    "permutation_procrustes": lambda x, y, e: permutation_procrustes(x, y),
    "hard_correlation_match": lambda x, y, e: correlation_match(x, y, hard=True),
    "soft_correlation_match": lambda x, y, e: correlation_match(x, y, hard=False),
    "partial_soft_matching": lambda x, y, e: partial_soft_matching(x, y, 0.5),
    "size_and_shape": lambda x, y, e: size_and_shape(x, y),
    "jsd": lambda x, y, e: jsd(x, y),
    "kl": lambda x, y, e: kl(x, y),
    "disagreement": lambda x, y, e: disagreement(x, y),
    "kappa": lambda x, y, e: kappa(x, y),
    "output_rank": output_rank,
}
