"""Training trajectories: how each step of training compares with the last, and whether two measures agree along a
run.
"""

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
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import model_names, step_order, to_axis
from repsim_nb.support.progress import Tick, show_progress


def compare_to_final(measure: str | Measure, xs: Mapping[Any, Any], *, progress: bool | Tick = False) -> pd.DataFrame:
    """Compare each step of training with the last of the same model.

    Parameters
    ----------
    measure : str or Measure
        Only what is needed is compared: measure(step, last), one value a step.
    xs : {key: array (n, ...)}
        Keys with a `step`. Those that differ in nothing else are one model (so a column is one layer of a model on one
        data set); one of a single step is left out.
    progress : bool or function(done, total)

    Returns
    -------
    DataFrame, index "step"
        A column a model, by its name if that distinguishes them; NaN for a step that a model does not have. Steps that
        are numbers stand in their order and before those that are names, which stand as they come in xs.

    Raises
    ------
    ValueError
        If nothing has several steps, or labels have none.
    UndefinedError
        If the measure has no value.
    """
    measure = measures.get(measure)
    bare = (
        next((label for label in xs if "step" not in getattr(label, "_fields", ())), None)
        if isinstance(xs, Mapping)  # type: ignore[redundant-expr]
        else type(xs).__name__
    )
    if bare is not None:
        raise ValueError(
            "steps of training are told by keys, as a recording has them: rs.record(model, data, step=5); here is"
            f" {bare!r}"
        )
    steps = sorted(dict.fromkeys(label.step for label in xs), key=step_order)
    runs: dict[Any, dict[Any, Any]] = {}
    for label in xs:
        runs.setdefault(label._replace(step=0), {})[label.step] = label
    runs = {
        run: {step: labels[step] for step in steps if step in labels} for run, labels in runs.items() if len(labels) > 1
    }
    if not runs:
        raise ValueError(
            f"there is nothing to compare with a last step: among {len(xs)} recording{'s' * (len(xs) != 1)} no two are"
            " steps of one model"
            + (f" (steps: {join_names(steps, 6)})" if steps else "")
            + ". Record checkpoints under one name, each with its step"
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
    """Correlate two things along each run of training, without its last step (which is compared with itself).

    Parameters
    ----------
    a, b : DataFrame (steps, runs)
        As `compare_to_final` returns them; a step that either lacks does not count.
    kind : {"spearman", "kendall"}
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    DataFrame
        A row a run: statistic, p_value, n. Steps of one run follow each other, and p takes them as independent.

    Raises
    ------
    ValueError
        For other runs or steps, and for a run without a rank correlation, by its name.
    """
    if not (a.columns.equals(b.columns) and a.index.equals(b.index)):
        raise ValueError(
            f"both frames need the same runs and steps; these have {join_names(a.columns, 4)} and"
            f" {join_names(b.columns, 4)}, {len(a)} and {len(b)} steps"
        )
    rows = {}
    for run in a.columns:
        both = (a[run].notna() & b[run].notna()).to_numpy()
        before = np.flatnonzero(both)[:-1]
        try:
            test = rank_correlation(a[run].iloc[before].to_numpy(), b[run].iloc[before].to_numpy(), kind, alternative)
        except ValueError as error:
            raise ValueError(f"the run '{run}': {error}") from error
        rows[run] = {"statistic": test.statistic, "p_value": test.p_value, "n": len(before)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
