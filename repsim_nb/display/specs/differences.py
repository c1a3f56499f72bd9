"""MatrixSpecs of two measures of the same layers: their difference, and both with one color scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from repsim_nb.results.comparison import Comparison

from .matrices import MatrixSpec, cells, comparison_spec, texts_of


def difference_spec(first: Comparison, second: Comparison) -> MatrixSpec:
    """Return the spec of the difference of two measures of the same rows and columns.

    Parameters
    ----------
    first, second : Comparison
        The tables of two measures, with the same labels.

    Returns
    -------
    MatrixSpec
        The first minus the second. Values of the same kind and range are subtracted. Otherwise the cells of each
        measure are ranked by similarity, from 0 (least) to 1 (most), and the ranks are subtracted.

    Raises
    ------
    ValueError
        If the tables have different labels.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = {name: rng.normal(size=(20, 3)) for name in "ab"}
    >>> shown = rs.specs.difference_spec(rs.compare("cka", x), rs.compare("procrustes", x))
    >>> shown.title, shown.low == -shown.high
    ('cka − procrustes', True)
    """
    if first.values.shape != second.values.shape or first.labels() != second.labels():
        raise ValueError(
            f"'{first.name}' and '{second.name}' compare different things, which have no difference: one compares"
            " layers, the other the outputs of models. Choose two measures of the same, or show them side by side."
        )
    same = first.kind == second.kind and first.measure.range == second.measure.range
    left, right = (one.values.to_numpy(float) if same else _ranks(one) for one in (first, second))
    values = left - right
    finite = np.abs(values[np.isfinite(values)])
    end = float(np.ceil(finite.max() * 20) / 20) if finite.size and finite.max() > 0 else 1.0
    shown, other = comparison_spec(first), comparison_spec(second)
    what = "difference" if same else "difference of ranks"
    alike = f"{first.name} ranks it more alike" if not same else f"{first.name} is larger"
    notes = {(i, j): text for i, j, text in (*other.notes, *shown.notes)}
    return replace(
        shown,
        values=cells(values),
        title=shown.title.replace(first.name, f"{first.name} \N{MINUS SIGN} {second.name}", 1),
        subtitle=f"{shown.subtitle}, {what}",
        bar_label=f"{what}  \N{RIGHTWARDS ARROW}  {alike}",
        low=-end,
        high=end,
        color_map="PuOr",
        texts=texts_of(values, -end, end),
        notes=tuple((i, j, text) for (i, j), text in notes.items()),
    )


def with_one_scale(first: MatrixSpec, second: MatrixSpec) -> tuple[MatrixSpec, MatrixSpec]:
    """Return both specs with the same ends of the color scale, if the same end of it is the similar one."""
    if first.color_map != second.color_map:
        return first, second
    low, high = min(first.low, second.low), max(first.high, second.high)
    return replace(first, low=low, high=high), replace(second, low=low, high=high)


def _ranks(one: Comparison) -> np.ndarray:
    """Return the rank of each cell by similarity, from 0 to 1."""
    values = one.values.to_numpy(float) * (1 if one.kind == "similarity" else -1)
    found, defined = np.full(values.shape, np.nan), np.isfinite(values)
    many = int(defined.sum())
    found[defined] = (stats.rankdata(values[defined]) - 1) / max(many - 1, 1)
    return found
