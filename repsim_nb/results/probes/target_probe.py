"""How well a probe reads targets from a representation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from repsim_nb.support.errors import UndefinedError, join_names
from repsim_nb.support.ids import check_order
from repsim_nb.support.validation import check_labels

from .features import check_options, check_set, reduce, scale
from .held_out import check_counts, hold_out
from .results import Probe, score


def linear_probe(
    x: Any,
    targets: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Sequence[Any] | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = 0.3,
    scaling: bool = True,
    cost: float = 1.0,
    n_permutations: int = 999,
    seed: int = 0,
) -> Probe:
    """How well a logistic regression reads targets from a representation -> Probe, on held-out rows.

    x: array (n, ...).  targets: (n,), any labels.  test: (x, targets) to be tested on instead of a share of the rows,
    which are drawn within each class.
    groups: (n,) ids of rows that must stay on one side.  classes: names of the targets 0, 1, ....  scaling: features to
    mean 0 and variance 1, fitted on the training rows.
    cost: the inverse of the L2 penalty, C of scikit-learn.
    Errors: ValueError for a single class, one with too few rows (by its name), other widths or lengths.  [Alain and
    Bengio 2016]
    """
    check_options(test_fraction, cost, n_permutations, seed)
    sides = [(x, targets)] if test is None else [(x, targets), test]
    for part, target in [*sides, (x, groups)]:
        check_order(part, target)
    parts = [check_set("x" if k == 0 else "test", side[0]) for k, side in enumerate(sides)]
    wanted = [check_labels(side[1], len(part), "targets") for side, part in zip(sides, parts, strict=True)]
    if test is not None and parts[1].shape[1] != parts[0].shape[1]:
        raise ValueError(
            f"the rows to be tested on have {parts[1].shape[1]} features, those to be fitted to {parts[0].shape[1]}"
        )
    targets = (
        wanted[0]
        if test is None
        else check_labels([label for target in wanted for label in target], sum(map(len, wanted)), "targets")
    )
    true, values = pd.factorize(targets, sort=True)
    if len(values) < 2:
        raise ValueError(
            f"a probe tells classes from one another, and all {len(true)} targets are '{values[0]}'"
            if len(values)
            else "a probe needs targets; there are none"
        )
    names = [str(value) for value in values] if classes is None else _class_names(values, classes)
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    if groups is not None and test is not None:
        raise ValueError("groups are for drawing held-out rows; here test= gives them")
    image = np.arange(len(true)) if groups is None else pd.factorize(check_labels(groups, len(true), "groups"))[0]
    if test is None:
        held = hold_out(true, image, test_fraction, names, np.random.default_rng(seed))
    else:
        held = np.arange(len(true)) >= len(parts[0])
        check_counts(true, held, names)
    x = scale(np.concatenate(parts), held) if scaling else np.concatenate(parts)
    fit, tested = reduce(x[~held], x[held])
    model = LogisticRegression(C=cost, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(fit, true[~held])
        except ConvergenceWarning as error:
            raise UndefinedError(
                f"the probe did not come to its optimum within {model.max_iter} steps: a smaller cost than {cost:g}"
                " helps, or scaling=True"
            ) from error
    predictions = pd.DataFrame(
        {"true": true[held], "predicted": model.predict(tested), "sample": rows[held], "image": image[held]}
    )
    return Probe(
        **score(predictions, pd.Index(names, name="class"), n_permutations, seed),
        fitted=pd.DataFrame({"true": true[~held], "predicted": model.predict(fit)}),
        chance=1 / len(names),
        probe="logistic",
        scaling="pooled" if scaling else None,
        seed=seed,
    )


def _class_names(values: np.ndarray, classes: Sequence[str]) -> list[str]:
    whole = (
        values.dtype.kind in "iufb"
        and (values == np.floor(values)).all()
        and values.min() >= 0
        and values.max() < len(classes)
    )
    if not whole:
        raise ValueError(f"classes name the targets 0 to {len(classes) - 1}; these targets are {join_names(values, 6)}")
    return [str(classes[int(value)]) for value in values]
