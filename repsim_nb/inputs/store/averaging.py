"""`average_conditions`: the mean row of each condition, for recordings in which stimuli were shown several times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.containers import array_type, to_features
from repsim_nb.support.errors import add_context, format_label
from repsim_nb.support.ids import check_order
from repsim_nb.support.labels import Key
from repsim_nb.support.row_groups import stored_groups
from repsim_nb.support.row_labels import attach_labels
from repsim_nb.support.validation import check_labels

from .activations import Activations


def average_conditions(xs: Any, conditions: Any) -> Any:
    """Average the rows of each condition, so that each condition is one sample with its own id.

    Parameters
    ----------
    xs : array (n, ...), tensor, DataFrame, Activations, or a mapping or list of these
        Representations with one row for each trial.
    conditions : labels (n,)
        The condition of each row, such as the name of the image that was shown. Labels that are neither text nor
        integers become text.

    Returns
    -------
    averaged : as xs
        One row for each condition, in the order in which conditions first appear. The conditions are the ids: those of
        an array, of Activations, or the index of a frame. `rs.align` brings two such results into one order.

    Raises
    ------
    ValueError
        If there is not one label for each row, a label is missing, or a recording has a row for each token.
    UndefinedError
        For an RDM, which has no rows to average.

    Notes
    -----
    Conditions may have different numbers of trials: each mean is over all trials of its condition. Means of few trials
    have more noise, so that distances between them are too large. Sums are in float64.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> trials = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    >>> x = rs.average_conditions(trials, ["cat", "cat", "dog"])
    >>> x.tolist(), x.ids.tolist()
    ([[2.0, 0.0], [0.0, 5.0]], ['cat', 'dog'])

    One representation for each session, with the conditions that all sessions have:

    >>> labels, session = np.array(["cat", "dog", "owl", "dog", "cat"]), np.array([1, 1, 1, 2, 2])
    >>> trials = np.arange(10.0).reshape(5, 2)
    >>> sessions = {int(k): rs.average_conditions(trials[session == k], labels[session == k]) for k in (1, 2)}
    >>> [x.ids.tolist() for x in rs.align(sessions).values()]
    [['cat', 'dog'], ['cat', 'dog']]
    """
    if isinstance(xs, Activations):
        arrays = {key: _mean_rows(xs[key], conditions, key) for key in xs}
        ids = {key: x.ids for key, x in arrays.items()}
        return Activations(arrays, xs.facts, ids=ids, no_logits=xs.no_logits)
    if isinstance(xs, Mapping) and array_type(xs) != "xarray.Dataset":
        return {label: _mean_rows(xs[label], conditions, label) for label in xs}
    if isinstance(xs, (list, tuple)):
        return type(xs)([_mean_rows(x, conditions, place) for place, x in enumerate(xs)])
    return _mean_rows(xs, conditions, "x")


def _mean_rows(x: Any, conditions: Any, label: Any) -> Any:
    """Return the mean row of each condition with the conditions as ids; errors name the representation."""
    if isinstance(label, Key) and label.by_token:
        raise ValueError(
            f"average_conditions needs one row for each trial; '{format_label(label)}' has one for each token. Record"
            " it with record(..., pool='mean')."
        )
    with add_context(f"'{format_label(label)}'", ValueError):
        check_order(x, conditions)
        array = to_features(x)
        labels = stored_groups(check_labels(conditions, array.shape[0], "conditions"))
    codes, names = pd.factorize(labels)
    rows = [np.flatnonzero(codes == k) for k in range(len(names))]
    if hasattr(array, "detach"):
        array = array.detach()
        means = array.double().new_empty((len(rows), *array.shape[1:]))
        for k, some in enumerate(rows):
            means[k] = array[some].double().mean(dim=0)
        means = means.float() if array.is_floating_point() and array.element_size() == 4 else means
    else:
        means = np.stack([np.mean(array[some], axis=0, dtype=np.float64) for some in rows])
        means = means.astype(np.float32) if array.dtype.kind == "f" and array.dtype.itemsize == 4 else means
    if isinstance(x, pd.DataFrame):
        return pd.DataFrame(means, index=names, columns=x.columns)
    return attach_labels(means, stored_groups(np.asarray(names)))
