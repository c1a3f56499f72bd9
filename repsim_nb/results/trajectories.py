"""Training trajectories: each step of training compared with the last one, and two measures correlated along runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.table_inputs import check_sides
from repsim_nb.results.comparison import compare
from repsim_nb.results.inference import rank_correlation
from repsim_nb.support.errors import add_context, join_names
from repsim_nb.support.labels import model_names, step_order, to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.summaries import count_of

__all__ = ["compare_to_final", "correlate_runs"]


def compare_to_final(measure: str | Measure, xs: Mapping[Any, Any], *, progress: bool | Tick = False) -> pd.DataFrame:
    """Compare each step of training with the last step of the same run.

    Parameters
    ----------
    measure : str or Measure
        Only the pairs (step, last step) are computed.
    xs : {key: array (n, ...)}
        Keys with a `step`, as in recordings. Keys that differ in nothing else are one run: one layer of a model on one
        data set. A run with a single step is left out.
    progress : bool or function(done, total)
        Show a bar, or call this function.

    Returns
    -------
    DataFrame (steps, runs)
        Index "step": numbers in increasing order, then names in the order of xs. Columns "model": the model of the
        run if models are unique, else its short label. NaN for a step that a run does not have.

    Raises
    ------
    ValueError
        If no run has several steps, or if labels have no step.
    UndefinedError
        If the measure is undefined for a pair.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> start, end = rng.normal(size=(2, 50, 3))
    >>> xs = {rs.Key("m", "fc", "d", step): (4 - step) * start + step * end for step in range(5)}
    >>> compare_to_final("cka", xs)["m"].round(2).tolist()
    [0.07, 0.13, 0.54, 0.92, 1.0]
    """
    measure = measures.get(measure)
    bare = (
        next((label for label in xs if "step" not in getattr(label, "_fields", ())), None)
        if isinstance(xs, Mapping)  # type: ignore[redundant-expr]
        else type(xs).__name__
    )
    if bare is not None:
        raise ValueError(
            "compare_to_final needs keys with a step, as recordings have them: rs.record(model, data, step=5); got"
            f" {bare!r}."
        )
    steps = sorted(dict.fromkeys(label.step for label in xs), key=step_order)
    runs: dict[Any, dict[Any, Any]] = {}
    for label in xs:
        runs.setdefault(label._replace(step=0), {})[label.step] = label
    runs = {
        run: {step: labels[step] for step in steps if step in labels} for run, labels in runs.items() if len(labels) > 1
    }
    if not runs:
        seen = f" (steps: {join_names(steps, 6)})" if steps else ""
        raise ValueError(
            f"compare_to_final needs two steps of one model; among {count_of(len(xs), 'recording')} no two are"
            f" steps of one model{seen}. Record checkpoints under one name, each with its step."
        )
    rows = [step for step in steps if any(step in labels for labels in runs.values())]
    values = np.full((len(rows), len(runs)), np.nan)
    done, total = 0, sum(map(len, runs.values()))
    for labels in runs.values():
        check_sides({"xs": xs}, measure, set(labels.values()))
    with show_progress(progress, f"{measure} to the last step", "step") as tick:
        for column, labels in enumerate(runs.values()):
            *_, last = labels.values()

            def report(now: int, of: int, before: int = done, many: int = len(labels)) -> None:
                tick(before + now * many // of, total)

            steps_of_run = {label: xs[label] for label in labels.values()}
            found = compare(measure, steps_of_run, {last: xs[last]}, progress=report)
            values[[rows.index(step) for step in labels], column] = found.values.to_numpy()[:, 0]
            done += len(labels)
    return pd.DataFrame(
        values, index=pd.Index(rows, name="step"), columns=pd.Index(model_names(to_axis(runs)), name="model")
    )


def correlate_runs(
    a: pd.DataFrame, b: pd.DataFrame, kind: str = "spearman", alternative: str = "two-sided"
) -> pd.DataFrame:
    """Correlate two quantities along each run of training, without its last step.

    Parameters
    ----------
    a, b : DataFrame (steps, runs)
        As `compare_to_final` returns them. Left out are steps that are NaN in either, and the last step of each run,
        which was compared with itself.
    kind : {"spearman", "kendall"}
        The rank correlation, ρ or τ-b.
    alternative : {"two-sided", "greater", "less"}
        What counts as extreme.

    Returns
    -------
    DataFrame, index "run"
        Columns: statistic (ρ or τ-b), p_value, n (the number of steps).

    Raises
    ------
    TypeError
        If `a` or `b` is not a DataFrame.
    ValueError
        If the two frames have other runs or steps, or if a run has no rank correlation; the message names the run.

    Notes
    -----
    The p-value takes the steps of a run as independent. They are not, so it is too small: read it as a description.

    Examples
    --------
    >>> steps = pd.Index([0, 1, 2, 3, 4], name="step")
    >>> cka = pd.DataFrame({"m": [0.1, 0.4, 0.6, 0.9, 1.0]}, index=steps)
    >>> jsd = pd.DataFrame({"m": [0.6, 0.5, 0.2, 0.1, 0.0]}, index=steps)
    >>> correlate_runs(cka, jsd).loc["m", ["statistic", "n"]].tolist()
    [-1.0, 4.0]
    """
    for frame in (a, b):
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(
                "correlate_runs takes two DataFrames (steps, runs), as compare_to_final returns them; got"
                f" {type(frame).__name__}. Use pd.DataFrame(values, index=steps, columns=runs)."
            )
    if not (a.columns.equals(b.columns) and a.index.equals(b.index)):
        raise ValueError(
            f"correlate_runs needs the same runs and steps in both frames; got {join_names(a.columns, 4)} and"
            f" {join_names(b.columns, 4)}, {len(a)} and {len(b)} steps."
        )
    rows = {}
    for run in a.columns:
        before = before_last(a[run], b[run])
        with add_context(f"the run '{run}'", ValueError):
            test = rank_correlation(a[run].iloc[before].to_numpy(), b[run].iloc[before].to_numpy(), kind, alternative)
        rows[run] = {"statistic": test.statistic, "p_value": test.p_value, "n": len(before)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def before_last(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Return the places of the steps of a run that both have, without its last one, which is compared with itself."""
    return np.flatnonzero((a.notna() & b.notna()).to_numpy())[:-1]
