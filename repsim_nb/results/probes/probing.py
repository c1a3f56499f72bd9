"""Linear probes: which model and data a representation comes from, and which classes can be read from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.measures.table_inputs import check_sides, to_arrays
from repsim_nb.support.errors import UndefinedError, check_name, format_label, join_names
from repsim_nb.support.ids import check_order
from repsim_nb.support.labels import to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.validation import check_labels

from .features import check_options, check_set, expand, reduce, scale
from .held_out import Known, check_counts, draw_some, hold_out, image_ids, number_images
from .results import DatasetProbe, Probe
from .scoring import score
from .svm import fit_against_rest

SCALINGS = ("pooled", "per_set", None)
PROBES = ("linear", "rbf")


def dataset_bias(  # noqa: PLR0913 - keyword-only, independent of each other
    sets: Mapping[Any, Any],
    *,
    groups: Mapping[Any, Any] | Sequence[Any] | None = None,
    n: int | None = None,
    test_fraction: float = 0.3,
    scaling: str | None = "pooled",
    probe: str = "linear",
    cost: float = 0.01,
    n_permutations: int = 999,
    seed: int = 0,
    progress: bool | Tick = False,
) -> DatasetProbe:
    """Test whether a probe can predict which model, and which data, representations come from.

    Parameters
    ----------
    sets : {label: array (n, ...)}
        Sets of representations, all with the same number of features; each set is a class. With keys as labels, as in
        recordings, ``bias.by_field("model")`` gives the result for the model alone.
    groups : {label: ids (n,)} or ids (n,), optional
        The image of each row; ids alone if all sets have the same images. By default row i is image i: with keys, in
        all sets of one data set; with plain labels, in every set. Random subsets of one data set, "mnist/test[n=200,
        seed=0]" and others, have the images that the ids of the recordings show. Rows that have groups, as in
        recordings by token, are one image for each group. An image is never both in training and test rows.
    n : int, optional
        Use at most n images of each data set, drawn by `seed`. By default all.
    test_fraction : float
        The fraction of images that are held out, between 0 and 1.
    scaling : {"pooled", "per_set", None}
        Standardise features with mean and standard deviation of the training rows: "pooled" over all sets; "per_set"
        for each set by itself, which removes what only shifts or scales a set. "per_set" uses the set of a held-out
        row, so its p-value is a little too small. None leaves features as they are.
    probe : {"linear", "rbf"}
        "linear": one SVM (squared hinge loss) for each set against the others; the highest score is the prediction.
        "rbf": the same on 600 features of a Gaussian kernel (Nyström), to find what a linear one misses.
    cost : float
        C of scikit-learn's LinearSVC(dual=False), > 0; the same function is minimised, by Newton's method. With "rbf",
        whose features are shorter, C is `cost` times the number of features.
    n_permutations : int
        The number of permutations for the p-value.
    seed : int
        Seed of the held-out images, the permutations and the kernel features, >= 0.
    progress : bool or function(done, total)
        Show a bar, or call this function.

    Returns
    -------
    DatasetProbe
        Results on held-out images.

    Raises
    ------
    TypeError
        If `sets` is not a mapping.
    ValueError
        For fewer than two sets, and for a set with another number of features, too few rows or NaN; the message names
        it.

    Notes
    -----
    The permutation test treats rows of one image as one unit: a label that all rows of an image have is permuted
    between images; otherwise labels are permuted between images that occur equally often, and within them.

    References
    ----------
    Torralba and Efros 2011, Unbiased look at dataset bias, CVPR. Yellapragada 2020, section 3.1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sets = {"a": rng.normal(size=(60, 4)), "b": rng.normal(3, 1, size=(60, 4))}
    >>> dataset_bias(sets, n_permutations=99)
    DatasetProbe(2 classes, held-out balanced accuracy=1.000, chance=0.500, p_value=0.01, n_train=84, n_test=36)
    """
    if not isinstance(sets, Mapping):
        raise TypeError(
            f"dataset_bias takes sets by label, {{'a': x, 'b': y}}, or a recording; got {type(sets).__name__}."
        )
    check_name("scaling", scaling, SCALINGS)
    check_name("probe", probe, PROBES)
    check_options(test_fraction, cost, n_permutations, seed, **({} if n is None else {"n": n}))
    if len(sets) < 2:
        raise ValueError(
            f"dataset_bias needs two or more sets to distinguish; got {join_names(map(format_label, sets)) or 'none'}."
        )
    index = to_axis(sets)
    if groups is None:  # row i is image i in all sets of one data set
        for data in dict.fromkeys(getattr(label, "dataset", "") for label in sets):
            check_sides({"sets": sets}, labels=[label for label in sets if getattr(label, "dataset", "") == data])
    given = to_arrays(sets)
    ids = getattr(sets, "ids", {})
    known = Known(ids if isinstance(ids, Mapping) else {}, {label: groups_of(sets[label]) for label in sets})
    labels, sizes = (
        [format_label(label) for label in given],
        {label: len(x) if x.ndim else 0 for label, x in given.items()},
    )
    true = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    image, sample, data = number_images(index, image_ids(sets, sizes, groups), groups, known)
    drawn = np.ones(len(true), bool) if n is None else draw_some(true, image, data, n, generator_of(seed))
    xs = {
        label: check_set(label, x if n is None else x[drawn[true == k]]) for k, (label, x) in enumerate(given.items())
    }
    _check_widths(xs)
    true, image, sample = true[drawn], image[drawn], sample[drawn]
    is_test = hold_out(true, image, test_fraction, labels, generator_of(seed))
    x = (
        np.concatenate([scale(part, is_test[true == k]) for k, part in enumerate(xs.values())])
        if scaling == "per_set"
        else np.concatenate(list(xs.values()))
    )
    x = scale(x, is_test) if scaling == "pooled" else x
    fit, test = expand(x[~is_test], x[is_test], seed) if probe == "rbf" else reduce(x[~is_test], x[is_test])
    # the length of a row is √p for p features of variance 1, and 1 for the features of the kernel
    cost = cost * x.shape[1] if probe == "rbf" else cost
    with show_progress(progress, f"an SVM for each of {len(labels)} sets", "set") as tick:
        tick(0, len(labels))
        weights = fit_against_rest(fit, true[~is_test], len(labels), cost, tick)
    scores = [side @ weights[:-1] + weights[-1] for side in (fit, test)]
    predictions = pd.DataFrame(
        {"true": true[is_test], "predicted": scores[1].argmax(1), "sample": sample[is_test], "image": image[is_test]}
    )
    return DatasetProbe(
        **score(predictions, index, n_permutations, seed),
        fitted=pd.DataFrame({"true": true[~is_test], "predicted": scores[0].argmax(1)}),
        chance=1 / len(xs),
        probe=probe,
        scaling=scaling,
        seed=seed,
    )


def _check_widths(xs: Mapping[Any, np.ndarray]) -> None:
    """Refuse sets with different numbers of features."""
    widths = {label: x.shape[1] for label, x in xs.items()}
    usual = max(set(widths.values()), key=list(widths.values()).count)
    others = [f"{format_label(label)}: {width}" for label, width in widths.items() if width != usual]
    if others:
        same = next(label for label, width in widths.items() if width == usual)
        raise ValueError(
            f"dataset_bias needs the same number of features in all sets; '{format_label(same)}' has {usual}, but"
            f" {join_names(others, 4)}. Select layers of one width, or reduce them first."
        )


def linear_probe(  # noqa: PLR0913 - keyword-only, independent of each other
    x: Any,
    targets: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = 0.3,
    scaling: bool = True,
    cost: float = 1.0,
    n_permutations: int = 999,
    seed: int = 0,
) -> Probe:
    """Measure how well a logistic regression predicts classes from a representation.

    Parameters
    ----------
    x : array (n, ...)
        The representation; features are flattened.
    targets : labels (n,)
        The class of each row: integers, text, True and False. Continuous numbers are refused.
    test : (x, targets), optional
        Rows to test on. By default a fraction of the rows is held out, drawn within each class.
    groups : ids (n,), optional
        Rows with the same id are never both in training and test rows, and their labels are permuted together.
        Recordings by token have the groups of their rows. Pass range(n) if rows are independent.
    classes : sequence of str, optional
        Names of the targets 0, 1, ....
    test_fraction : float
        The fraction of rows that are held out, between 0 and 1.
    scaling : bool
        Whether to standardise features with mean and standard deviation of the training rows.
    cost : float
        The inverse of the L2 penalty, C of scikit-learn's LogisticRegression, > 0.
    n_permutations : int
        The number of permutations for the p-value.
    seed : int
        Seed of the held-out rows and the permutations, >= 0.

    Returns
    -------
    Probe
        Results on held-out rows.

    Raises
    ------
    ValueError
        For continuous targets, a single class, a class with too few rows (the message names it), and other numbers of
        features or labels.
    UndefinedError
        If the fit does not converge, or if `x` has NaN.

    References
    ----------
    Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(100) % 2
    >>> probe = linear_probe(rng.normal(size=(100, 3)) + 9 * targets[:, None], targets, n_permutations=99)
    >>> probe.accuracy, probe.p_value
    (1.0, 0.01)
    """
    check_options(test_fraction, cost, n_permutations, seed)
    sides = [(x, targets)] if test is None else [(x, targets), test]
    for part, target in [*sides, (x, groups)]:
        check_order(part, target)
    parts = [check_set("x" if k == 0 else "test", side[0]) for k, side in enumerate(sides)]
    wanted = [check_labels(side[1], len(part), "targets") for side, part in zip(sides, parts, strict=True)]
    if test is not None and parts[1].shape[1] != parts[0].shape[1]:
        raise ValueError(
            f"test needs as many features as x, {parts[0].shape[1]}; the rows to test on have {parts[1].shape[1]}."
        )
    for target in wanted:
        if target.dtype.kind == "f" and (fractions := target[target != np.round(target)]).size:
            raise ValueError(
                f"targets must be classes (integers, text, True or False); got numbers such as {fractions[0]:g}. To"
                " predict numbers use rs.measures.get('linear_predictivity'), or make classes: pd.qcut(targets, 4,"
                " labels=False)."
            )
    targets = (
        wanted[0]
        if test is None
        else check_labels([label for target in wanted for label in target], sum(map(len, wanted)), "targets")
    )
    true, values = pd.factorize(targets, sort=True)
    if len(values) < 2:
        raise ValueError(
            f"a probe needs two or more classes; all {len(true)} targets are '{values[0]}'."
            if len(values)
            else "a probe needs targets; there are none."
        )
    names = [str(value) for value in values] if classes is None else _class_names(values, classes)
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    if groups is not None and test is not None:
        raise ValueError("groups is for drawing held-out rows, and test= gives them. Leave one of both out.")
    if groups is None:
        groups = _groups_of_rows([side[0] for side in sides])
    image = np.arange(len(true)) if groups is None else pd.factorize(check_labels(groups, len(true), "groups"))[0]
    if test is None:
        is_test = hold_out(true, image, test_fraction, names, generator_of(seed))
    else:
        is_test = np.arange(len(true)) >= len(parts[0])
        check_counts(true, is_test, names)
    x = scale(np.concatenate(parts), is_test) if scaling else np.concatenate(parts)
    fit, tested = reduce(x[~is_test], x[is_test])
    from sklearn.exceptions import ConvergenceWarning  # here: scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=cost, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(fit, true[~is_test])
        except ConvergenceWarning as error:
            raise UndefinedError(
                f"the probe did not converge within {model.max_iter} steps. Use scaling=True, or a smaller cost than"
                f" {cost:g}"
            ) from error
    predictions = pd.DataFrame(
        {"true": true[is_test], "predicted": model.predict(tested), "sample": rows[is_test], "image": image[is_test]}
    )
    return Probe(
        **score(predictions, pd.Index(names, name="class"), n_permutations, seed),
        fitted=pd.DataFrame({"true": true[~is_test], "predicted": model.predict(fit)}),
        chance=1 / len(names),
        probe="logistic",
        scaling="pooled" if scaling else None,
        seed=seed,
    )


def _groups_of_rows(sides: Sequence[Any]) -> list[Any] | None:
    """Return the group of each row of the training and the test rows, if all of them have groups."""
    found = [groups_of(side) for side in sides]
    return None if any(its is None for its in found) else [one for its in found if its is not None for one in its]


def _class_names(values: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the names of classes for targets 0, 1, ...."""
    whole = (
        values.dtype.kind in "iufb"
        and (values == np.floor(values)).all()
        and values.min() >= 0
        and values.max() < len(classes)
    )
    if not whole:
        raise ValueError(
            f"classes has names of the targets 0 to {len(classes) - 1}; these targets are {join_names(values, 6)}."
        )
    return [str(classes[int(value)]) for value in values]
