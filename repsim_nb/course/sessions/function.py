"""Session 4: does it matter for function? Predictions, probes, and populations of models."""

from __future__ import annotations

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("function", "Does it matter for function?")


def scores_and_targets(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, classes = int(2 * rng.integers(15, 25) + 1), int(rng.integers(4, 7))  # n odd: never exactly half of them right
    targets = np.minimum(rng.geometric(0.4, size=n) - 1, classes - 1)  # classes of unequal size
    scores = rng.normal(size=(n, classes))
    scores[np.arange(n), targets] += rng.uniform(0, 3, size=classes)[targets]
    return scores, targets


@session.exercise(minutes=3, inputs=scores_and_targets)
def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the fraction of samples whose target class has the highest score."""
    return float(np.mean(scores.argmax(1) == targets))


accuracy.mistakes += [
    Mistake("the error rate",
        "You return the fraction of wrong predictions. Accuracy counts the samples that are right.",
        lambda scores, targets: float(np.mean(scores.argmax(1) != targets))),
    Mistake("a count",
        "You return how many samples are right. Compare this number with the number of all samples.",
        lambda scores, targets: int(np.sum(scores.argmax(1) == targets))),
    Mistake("a mean over classes",
        "You average the accuracies of the classes (balanced accuracy). Here each sample counts the same.",
        lambda scores, targets: float(np.mean([np.mean(scores[targets == c].argmax(1) == c) for c in set(targets)]))),
    Mistake("the lowest score",
        "You predict the class with the lowest score. A high score means that the model prefers a class.",
        lambda scores, targets: float(np.mean(scores.argmin(1) == targets))),
    Mistake("in per cent",
        "You return per cent. Return a fraction between 0 and 1.",
        lambda scores, targets: float(100 * np.mean(scores.argmax(1) == targets))),
]  # fmt: skip


def two_predictions(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, classes = int(rng.integers(50, 80)), int(rng.integers(4, 7))
    first = np.minimum(rng.geometric(0.35, size=n) - 1, classes - 1)
    second = np.where(rng.random(n) < 0.6, first, rng.integers(classes, size=n))
    # all classes occur on both sides
    return np.append(first, np.arange(classes)), np.append(second, np.arange(classes))


@session.exercise(minutes=7, inputs=two_predictions)
def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Return the agreement of two arrays of predicted classes (n,), beyond chance."""
    return _beyond(float(np.mean(first == second)), _by_chance(first, second))


def _by_chance(first: np.ndarray, second: np.ndarray) -> float:
    return float(sum(np.mean(first == c) * np.mean(second == c) for c in np.union1d(first, second)))


def _beyond(agreement: float, chance: float) -> float:
    return (agreement - chance) / (1 - chance)


kappa.mistakes += [
    Mistake("not corrected for chance",
        "You return the fraction of samples on which both agree. How often would they agree if they were unrelated?",
        lambda first, second: float(np.mean(first == second))),
    Mistake("all classes equally frequent",
        "Your chance agreement assumes that all classes are predicted equally often. Count how often each model "
        "predicts each class.",
        lambda first, second: _beyond(float(np.mean(first == second)), 1 / len(np.union1d(first, second)))),
    Mistake("not scaled",
        "You subtract the agreement by chance, so complete agreement no longer has the value 1. "
        "How large is the range that is left above chance?",
        lambda first, second: float(np.mean(first == second)) - _by_chance(first, second)),
    Mistake("both models together",
        "You count the classes of both models together. Each model has frequencies of its own.",
        lambda first, second: _beyond(
            float(np.mean(first == second)), _by_chance(np.append(first, second), np.append(first, second))
        )),
    Mistake("the disagreement",
        "Your value is small if the models agree. It should be 1 if they agree on all samples.",
        lambda first, second: 1 - _beyond(float(np.mean(first == second)), _by_chance(first, second))),
    Mistake("chance alone",
        "You return the agreement by chance. How far is the observed agreement above it?",
        _by_chance),
]  # fmt: skip


def two_probabilities(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, classes = int(rng.integers(7, 12)), int(rng.integers(3, 6))
    return rng.dirichlet(np.full(classes, 2.0), size=n), rng.dirichlet(np.full(classes, 2.0), size=n)


@session.exercise(minutes=6, inputs=two_probabilities)
def jsd(p: np.ndarray, q: np.ndarray) -> float:
    """Return the mean Jensen-Shannon divergence of the rows of p and q (n, classes), in nats."""
    return float(_divergences(p, q).mean())


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.array(np.sum(p * np.log(p / q), axis=1))


def _divergences(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (_kl(p, (p + q) / 2) + _kl(q, (p + q) / 2)) / 2


jsd.mistakes += [
    Mistake("in bits",
        "You use the logarithm to base 2, which gives bits. Nats use the natural logarithm.",
        lambda p, q: float(_divergences(p, q).mean() / np.log(2))),
    Mistake("the root",
        "You take the square root, as SciPy's jensenshannon does. That is the Jensen-Shannon distance, not the "
        "divergence.",
        lambda p, q: float(np.sqrt(_divergences(p, q)).mean())),
    Mistake("the sum over samples",
        "You add up the samples, so the value grows with their number. Take the mean over samples.",
        lambda p, q: float(_divergences(p, q).sum())),
    Mistake("the mean over classes",
        "You take the mean over the classes. A divergence adds up the classes; the mean is over samples only.",
        lambda p, q: float(_divergences(p, q).mean() / p.shape[1])),
    Mistake("one direction",
        "You return the Kullback-Leibler divergence of q from p, which changes if p and q are exchanged. "
        "Compare both with what lies in the middle.",
        lambda p, q: float(_kl(p, q).mean())),
    Mistake("one side only",
        "You compare only p with the mixture. The same is needed for q; then take the mean of both.",
        lambda p, q: float(_kl(p, (p + q) / 2).mean())),
    Mistake("not halved",
        "You add up both sides. The largest value should be ln 2, about 0.69: take their mean.",
        lambda p, q: float(2 * _divergences(p, q).mean())),
    Mistake("without the mixture",
        "You compare p and q with each other, in both directions. Both should be compared with the mixture in the "
        "middle.",
        lambda p, q: float((_kl(p, q) + _kl(q, p)).mean() / 2)),
    Mistake("a mixture with the sum 2",
        "Your mixture is the sum of p and q. Its rows should have the sum 1, as theirs have.",
        lambda p, q: float((_kl(p, p + q) + _kl(q, p + q)).mean() / 2)),
    Mistake("p and the mixture exchanged",
        "The mixture is in front of the logarithm and above the fraction. It belongs below it.",
        lambda p, q: float((_kl((p + q) / 2, p) + _kl((p + q) / 2, q)).mean() / 2)),
]  # fmt: skip


def training_and_test(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    n, m, p, classes = int(rng.integers(18, 24)), int(rng.integers(9, 13)), int(rng.integers(5, 8)), 3
    train, test = rng.normal(size=(n, p)) + 1, rng.normal(size=(m, p)) + 1.5
    targets = np.eye(classes)[rng.choice(classes, size=n, p=[0.6, 0.3, 0.1])]
    return train, targets, test, float(rng.uniform(1, 3))


@session.exercise(minutes=8, inputs=training_and_test)
def probe_scores(train: np.ndarray, targets: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
    """Fit a linear probe to train (n, p) and targets (n, c), and return its scores of test (m, p): (m, c)."""
    return _scores(train, targets, test - train.mean(0), penalty)


def _scores(train: np.ndarray, targets: np.ndarray, centred: np.ndarray, penalty: float) -> np.ndarray:
    return centred @ _weights(train - train.mean(0), targets - targets.mean(0), penalty) + targets.mean(0)


def _weights(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    return np.array(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y))


probe_scores.mistakes += [
    Mistake("in sample",
        "You return the scores of the samples that the probe was fitted to. It has seen their targets: "
        "use the held-out samples.",
        lambda train, targets, test, penalty: _scores(train, targets, train - train.mean(0), penalty)),
    Mistake("centred by the test samples",
        "You centre the test samples by their own mean. Everything in a probe comes from the training samples.",
        lambda train, targets, test, penalty: _scores(train, targets, test - test.mean(0), penalty)),
    Mistake("not centred",
        "Your probe has no constant: neither features nor targets are centred. Centre both before you fit.",
        lambda train, targets, test, penalty: test @ _weights(train, targets, penalty)),
    Mistake("no penalty",
        "Your result does not depend on the penalty. It belongs on the diagonal of the matrix that you invert.",
        lambda train, targets, test, penalty: _scores(train, targets, test - train.mean(0), 0)),
    Mistake("the mean of the targets is missing",
        "You centred the targets and did not undo it, so each score has mean 0. "
        "A frequent class should start with a higher score.",
        lambda train, targets, test, penalty: _scores(train, targets, test - train.mean(0), penalty) - targets.mean(0)),
    Mistake("test samples not centred",
        "You centred the training samples, but not the test samples. Subtract the same mean from both.",
        lambda train, targets, test, penalty: _scores(train, targets, test, penalty)),
]  # fmt: skip


def two_sets_and_number(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    n, m, p = int(rng.integers(14, 20)), int(rng.integers(10, 13)), int(rng.integers(7, 10))
    mixture = rng.normal(size=(p, p)) * np.linspace(2, 0.3, p)[:, None]
    means = rng.normal(size=(2, p))
    return (
        rng.normal(size=(n, p)) @ mixture + means[0],
        rng.normal(size=(m, p)) @ mixture + means[1],
        int(rng.integers(2, 4)),
    )


@session.exercise(minutes=7, inputs=two_sets_and_number)
def keep_directions(train: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """Delete from test (m, p) all but the k first principal directions of train (n, p): (m, p), centred."""
    return _keep(train - train.mean(0), test - train.mean(0), slice(k))


def _keep(train: np.ndarray, test: np.ndarray, part: slice) -> np.ndarray:
    directions = np.linalg.svd(train, full_matrices=False)[2][part]
    return np.array(test @ directions.T @ directions)


keep_directions.mistakes += [
    Mistake("directions of the test samples",
        "You take the principal directions of the test samples. They have to come from the training samples, "
        "as the probe does.",
        lambda train, test, k: _keep(test - test.mean(0), test - test.mean(0), slice(k))),
    Mistake("centred by the test samples",
        "You centre the test samples by their own mean. Use the mean of the training samples for both.",
        lambda train, test, k: _keep(train - train.mean(0), test - test.mean(0), slice(k))),
    Mistake("not centred",
        "You did not centre, so the first direction points to the mean. Principal directions describe differences "
        "from it.",
        lambda train, test, k: _keep(train, test, slice(k))),
    Mistake("the first directions deleted",
        "You delete the first k directions and keep the rest. The first ones, with the largest variance, are to stay.",
        lambda train, test, k: _keep(train - train.mean(0), test - train.mean(0), slice(k, None))),
    Mistake("the last directions",
        "You keep the k directions with the smallest variance. Look at the order in which svd gives them.",
        lambda train, test, k: _keep(train - train.mean(0), test - train.mean(0), slice(-k, None))),
    Mistake("coordinates",
        "You return k coordinates for each sample. Go back from these directions to the p features.",
        lambda train, test, k: (
            (test - train.mean(0)) @ np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:k].T
        )),
    Mistake("the mean is back",
        "You added the mean again at the end. The result should stay centred.",
        lambda train, test, k: _keep(train - train.mean(0), test - train.mean(0), slice(k)) + train.mean(0)),
    Mistake("columns of vt",
        "You take columns of vt. The directions are its rows, each with one number for each feature.",
        lambda train, test, k: _keep_columns(train - train.mean(0), test - train.mean(0), k)),
    Mistake("test samples not centred",
        "You centred the training samples, but not the test samples. Subtract the same mean from both.",
        lambda train, test, k: _keep(train - train.mean(0), test, slice(k))),
]  # fmt: skip


def _keep_columns(train: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    columns = np.linalg.svd(train, full_matrices=False)[2][:, :k]
    return np.array(test @ columns @ columns.T)


def population(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    models = int(rng.integers(7, 10))
    places = rng.normal(size=(models, 3))
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    return distances / distances.max(), 0.7 + 0.1 * places[:, 0] + 0.03 * rng.normal(size=models)


def _ranks(values: np.ndarray) -> np.ndarray:
    above, equal = values[:, None] > values, values[:, None] == values
    return np.array(above.sum(1) + equal.sum(1) / 2)  # tied values have their mean rank


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _gaps(accuracies: np.ndarray) -> np.ndarray:
    return np.abs(accuracies[:, None] - accuracies)


def _upper(table: np.ndarray, diagonal: int = 1) -> np.ndarray:
    return np.array(table[np.triu_indices(len(table), diagonal)])


def _over_pairs(dissimilarity: np.ndarray, accuracies: np.ndarray) -> float:
    return _spearman(_upper(dissimilarity), _upper(_gaps(accuracies)))


@session.exercise(minutes=7, inputs=population)
def gap_correlation(dissimilarity: np.ndarray, accuracies: np.ndarray) -> float:
    """Return Spearman's correlation of dissimilarity (m, m) with the difference in accuracy, over pairs of models."""
    return _over_pairs(dissimilarity, accuracies)


gap_correlation.mistakes += [
    Mistake("the diagonal counted",
        "You count the pairs of a model with itself. Both of their values are 0, which raises the correlation.",
        lambda dissimilarity, accuracies: _spearman(_upper(dissimilarity, 0), _upper(_gaps(accuracies), 0))),
    Mistake("the whole table",
        "You use all cells of the table, and so the diagonal, too. A model with itself is not a pair of models.",
        lambda dissimilarity, accuracies: _spearman(dissimilarity.ravel(), _gaps(accuracies).ravel())),
    Mistake("with a sign",
        "Your differences have a sign, which depends on the order of the models. Which of the two is better is not "
        "asked.",
        lambda dissimilarity, accuracies: _spearman(_upper(dissimilarity), _upper(accuracies[:, None] - accuracies))),
    Mistake("with the other sign",
        "Your differences have a sign, and so the order of the models decides. Which model is better is not asked.",
        lambda dissimilarity, accuracies: _spearman(_upper(dissimilarity), _upper(accuracies - accuracies[:, None]))),
    Mistake("a similarity",
        "You turn the dissimilarity into a similarity, so the correlation has the wrong sign. "
        "Models that differ more should have a larger gap.",
        lambda dissimilarity, accuracies: -_over_pairs(dissimilarity, accuracies)),
    Mistake("Pearson's correlation",
        "You correlate the values and not their ranks. Nothing says that the relation is a straight line.",
        lambda dissimilarity, accuracies: float(np.corrcoef(_upper(dissimilarity), _upper(_gaps(accuracies)))[0, 1])),
    Mistake("accuracies in place of gaps",
        "You correlate the mean dissimilarity of each model with its accuracy. The question is about pairs: "
        "does a larger dissimilarity go with a larger gap?",
        lambda dissimilarity, accuracies: _spearman(dissimilarity.mean(1), accuracies)),
]  # fmt: skip


@session.exercise(minutes=6, inputs=population)
def without_each_model(dissimilarity: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """Return the gap correlation without each model in turn: dissimilarity (m, m), accuracies (m,); (m,)."""
    everyone = np.arange(len(accuracies))
    return np.array([_among(dissimilarity, accuracies, np.delete(everyone, i)) for i in everyone])


def _among(dissimilarity: np.ndarray, accuracies: np.ndarray, some: np.ndarray) -> float:
    return _over_pairs(dissimilarity[np.ix_(some, some)], accuracies[some])


def _without_each_pair(dissimilarity: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    pairs = np.triu_indices(len(accuracies), 1)
    d, gaps = dissimilarity[pairs], _gaps(accuracies)[pairs]
    return np.array([_spearman(np.delete(d, i), np.delete(gaps, i)) for i in range(len(d))])


without_each_model.mistakes += [
    Mistake("pairs left out",
        "You leave out one pair at a time, so each model stays in its other pairs. Leave out all pairs of one model.",
        _without_each_pair),
    Mistake("only the pairs of this model",
        "You keep the pairs of one model and leave out all others. It should be the other way round.",
        lambda dissimilarity, accuracies: np.array(
            [
                _spearman(np.delete(dissimilarity[i], i), np.delete(_gaps(accuracies)[i], i))
                for i in range(len(accuracies))
            ]
        )),
    Mistake("differences",
        "You subtract the correlation of all models. Return the correlations themselves.",
        lambda dissimilarity, accuracies: (
            without_each_model.solution(dissimilarity, accuracies) - _over_pairs(dissimilarity, accuracies)
        )),
    Mistake("their mean",
        "You return the mean of the correlations. Return all of them: how far they are apart is the question.",
        lambda dissimilarity, accuracies: float(without_each_model.solution(dissimilarity, accuracies).mean())),
    Mistake("its row left out, not its column",
        "You delete the row of a model, and its column stays. Then rows and columns are no longer the same models.",
        lambda dissimilarity, accuracies: np.array(
            [_row_deleted(dissimilarity, accuracies, i) for i in range(len(accuracies))]
        )),
    Mistake("nothing left out",
        "All your values are equal: no model is left out. Use the loop's number.",
        lambda dissimilarity, accuracies: np.full(len(accuracies), _over_pairs(dissimilarity, accuracies))),
]  # fmt: skip


def _row_deleted(dissimilarity: np.ndarray, accuracies: np.ndarray, i: int) -> float:
    above = np.triu_indices(len(accuracies) - 1, 1)
    return _spearman(np.delete(dissimilarity, i, 0)[above], _gaps(np.delete(accuracies, i))[above])
