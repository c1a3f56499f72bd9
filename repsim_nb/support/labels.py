"""Labels: the key of a recording, and the selection of labels by a field, a pattern, a short name or a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from repsim_nb.support.errors import MissingRecording, check_name, join_names, unknown_name
from repsim_nb.support.validation import check_labels, is_integer

Labels = tuple[str, ...]
Choice: TypeAlias = str | Mapping[Any, Any] | pd.Series | Sequence[Any]
"""A field of the labels, {model: value}, or one value an item."""


class Key(NamedTuple):
    """The address of a recording: model, layer, data set, training step and pooling.

    Parameters
    ----------
    model : str
        The name of the model.
    layer : str
        The name of the layer in the model.
    dataset : str
        The name of the data set.
    step : int or str
        The training step, as a number or a name; 0 if there is only one.
    pool : str
        How the output of the layer became rows, as in `rs.record`.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> print(rs.Key("mnist-cnn-0", "fc", "mnist/test", step=5))
    mnist-cnn-0/fc (mnist/test, 5)
    """

    model: str
    layer: str
    dataset: str = ""
    step: int | str = 0
    pool: str = "flatten"

    @property
    def by_token(self) -> bool:
        """Whether a row is a token, or a position in a picture, so that a sample is several rows."""
        return str(self.pool).startswith("tokens")

    def __str__(self) -> str:
        shown = self._replace(step=_quote_number(self.step)) if isinstance(self.step, str) else self
        rest = [str(value) for value, usual in zip(shown[2:], ("", 0, "flatten"), strict=True) if value != usual]
        return f"{self.model}/{self.layer}" + (f" ({', '.join(rest)})" if rest else "")


def resolve(key: object, keys: Mapping[Key, Any]) -> Key:
    """Return the one key that is meant, given as a key or as a name that fits only one; else raise MissingRecording."""
    if isinstance(key, tuple):
        if key in keys:
            return Key(*key)
        raise MissingRecording(f"no recording has the key {tuple(key)}; there are {join_names(keys)}")
    fits = [k for k in keys if key in (k.layer, f"{k.model}/{k.layer}", str(k))]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise MissingRecording(
            str(unknown_name("recording", key, dict.fromkeys([*(k.layer for k in keys), *(str(k) for k in keys)])))
        )
    raise MissingRecording(
        f"'{key}' fits {len(fits)} recordings: {join_names(fits)}. Select one: x['model/layer'] or x.where(model=...)"
    )


def check_step(step: Any) -> int | str:
    """Check a step of training and return it as keys have it.

    Parameters
    ----------
    step : int or str
        The number of a step, or its name. NumPy integers, 0-dimensional tensors and 1.0 count as integers; True and
        False do not.

    Returns
    -------
    int or str
        An int of Python, or the name.

    Raises
    ------
    ValueError
        If it is neither an integer nor a name.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rs.store.check_step(5.0), rs.store.check_step("last")
    (5, 'last')
    """
    value = step.item() if getattr(step, "ndim", None) == 0 else step
    if isinstance(value, str) and value.strip():
        return value
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()):
        return int(value)  # 1 and 1.0 make equal keys, so they make one
    raise ValueError(f"step must be an integer or a name, such as 5000 or 'last' (the default is 0); got {step!r}.")


# -- choosing by fields


def select(
    labels: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    wanted: Mapping[str, Any],
    hint: str = "",
    layer_hint: str = "",
) -> list[bool]:
    """Return which labels have the wanted fields.

    Parameters
    ----------
    labels : sequence of tuple
        The fields of each label.
    names : sequence of str
        The names of the fields.
    wanted : {name: value, pattern or list of them}
        A pattern has * and ?. Text that is one of the values is that value, and not a pattern. An integer for `layer`
        counts among the labels that agree in all other fields: -2 is the last but one layer of each model.
    hint : str
        What the error adds for an unknown field.
    layer_hint : str
        What the error adds for an unknown layer.

    Returns
    -------
    list of bool

    Raises
    ------
    ValueError
        If a field or a value is unknown (the error lists the nearest ones), or no label has all.
    """
    if not isinstance(wanted, Mapping):
        raise TypeError(f"labels are selected by fields, {{'model': 'a'}}; got {wanted!r}")
    keep = [True] * len(labels)
    for name, choice in wanted.items():
        check_name("field", name, names, hint)
        at = list(names).index(name)
        column = [label[at] for label in labels]
        patterns = list(choice) if isinstance(choice, Iterable) and not isinstance(choice, str) else [choice]
        fits = [
            _have_number(labels, at, pattern) if name == "layer" and is_integer(pattern) else _fitting(column, pattern)
            for pattern in patterns
        ]
        for pattern, fitting in zip(patterns, fits, strict=True):
            if not any(fitting):
                raise unknown_name(name, pattern, dict.fromkeys(column), layer_hint if name == "layer" else "")
        keep = [before and any(fitting[i] for fitting in fits) for i, before in enumerate(keep)]
    if not any(keep):
        raise ValueError(
            f"nothing has {', '.join(f'{name}={choice!r}' for name, choice in wanted.items())} together"
            if wanted
            else "there is nothing to choose from"
        )
    return keep


def step_order(step: Any) -> tuple[bool, float]:
    """Return a key that sorts steps that are numbers (7, "7") by size, and names behind them in their order."""
    number = float(step) if not isinstance(step, str) or re.fullmatch(r"-?\d+", step) else math.inf
    return number == math.inf, number


def _have_number(labels: Sequence[tuple[Any, ...]], at: int, number: int) -> list[bool]:
    """Return which labels are number `number` (negative: from the end) among those with the same other fields."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, label in enumerate(labels):
        groups.setdefault((*label[:at], *label[at + 1 :]), []).append(i)
    for others, places in groups.items():
        if not -len(places) <= number < len(places):
            raise ValueError(
                f"'{others[0]}' has {len(places)} layer{'s' * (len(places) > 1)} here; there is no number {number}"
                if others
                else f"there is no layer number {number}"
            )
    wanted = {places[number] for places in groups.values()}
    return [i in wanted for i in range(len(labels))]


def _fitting(column: Sequence[Any], pattern: Any) -> list[bool]:
    """Return which values are equal to the pattern; if none, which match it as a pattern."""
    same = [bool(value == pattern) for value in column]
    if any(same) or not isinstance(pattern, str):
        return same
    return [fnmatchcase(str(value), pattern.replace("[", "[[]")) for value in column]  # names of subsets have brackets


# -- the labels of an axis of a table


def to_axis(labels: Mapping[Any, Any]) -> pd.Index:
    """Return labels as an index: keys as a MultiIndex of their fields, others as text."""
    first = next(iter(labels))
    if all(type(label) is type(first) and hasattr(label, "_fields") for label in labels):
        return pd.MultiIndex.from_tuples([tuple(label) for label in labels], names=first._fields)
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):
        raise ValueError(
            f"labels must differ as text; '{next(n for n in names if names.count(n) > 1)}' is there twice."
        )
    return pd.Index(names, name="label")


def frame_of(axis: pd.Index) -> pd.DataFrame:
    """Return the fields of an axis as a frame."""
    return axis.to_frame(index=False)


def select_from_axis(axis: pd.Index, wanted: Mapping[str, Any]) -> np.ndarray:
    """Return which labels of an axis have the wanted fields, as `select` does."""
    frame = frame_of(axis)
    hint = (
        "Labels that are plain text have no fields: rs.from_arrays makes keys of 'model/layer'."
        if list(frame) == ["label"]
        else ""
    )
    return np.array(
        select([tuple(row) for row in frame.astype(object).itertuples(index=False)], list(frame), wanted, hint)
    )


def varying_fields(axis: pd.Index) -> list[str]:
    """Return the fields that distinguish the labels of an axis.

    The layer is not one of them if labels of several models differ without it, since models name the same layer
    differently.
    """
    frame = frame_of(axis)
    varying = [name for name in frame if frame[name].nunique() > 1]
    others = [name for name in varying if name != "layer"]
    return others if "model" in others and not frame[others].duplicated().any() else varying


def constant_fields(axis: pd.Index) -> dict[str, Any]:
    """Return the fields that are the same for all labels of the axis, without those at their usual value."""
    frame = frame_of(axis)
    return {
        name: frame[name].iloc[0]
        for name in frame
        if frame[name].nunique() == 1 and frame[name].iloc[0] not in ("", 0, "flatten") and name != "label"
    }


def own_constants(sides: tuple[dict[str, Any], dict[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """Return the constant fields of rows and of columns alone as texts, and those that both have."""
    shared = {name: value for name, value in sides[0].items() if sides[1].get(name) == value}
    return [", ".join(str(value) for name, value in side.items() if name not in shared) for side in sides], shared


def short_labels(axis: pd.Index) -> Labels:
    """Return each label by the fields that vary within the axis, joined by /; by one field if none varies.

    Labels that differ stay different: '5' is written with quotes next to 5, and spaces part fields that contain a /.
    """
    frame = frame_of(axis)
    varying = varying_fields(axis) or [name for name in frame if name in ("layer", "label")][:1] or list(frame)[:1]
    rows = list(frame[varying].itertuples(index=False))
    found = tuple("/".join(map(str, row)) for row in rows)
    if len(set(found)) < len(found) and axis.is_unique:
        found = tuple(" / ".join(map(_quote_number, row)) for row in rows)
    return found


def _quote_number(field: Any) -> str:
    """Return a field of a label as text, with quotes if it is the text of an integer: '5' is not 5."""
    return repr(field) if isinstance(field, str) and re.fullmatch(r"-?\d+", field) else str(field)


def short_axis(axis: pd.Index) -> pd.Index:
    """Return an axis of recordings with short labels, for tables that are read; another axis as it is."""
    return axis if axis.nlevels == 1 else pd.Index(short_labels(axis), name="/".join(varying_fields(axis)) or None)


def model_names(axis: pd.Index) -> Labels:
    """Return the model of each label if the models differ, else the short label."""
    models = tuple(map(str, axis.get_level_values("model"))) if "model" in axis.names else ()
    return models if models and len(set(models)) == len(models) else short_labels(axis)


def values_per_item(axis: pd.Index, choice: Choice, what: str) -> pd.Series:
    """Return one value for each item of an axis.

    Parameters
    ----------
    axis : Index
        The labels.
    choice : str, {model: value}, Series or sequence
        A field of the labels; values by model, or by the first level if labels have no model (the same model may appear
        many times with one value); a Series by whole label; or the values themselves.
    what : str
        The name of the values, for errors.

    Returns
    -------
    Series
        Named after the field or the Series, else `what`.

    Raises
    ------
    ValueError
        If an item has no value, a field is unknown, or a model has several values.
    """
    names = [str(name) for name in axis.names]
    if isinstance(choice, str):
        if choice not in names:
            plain = " Names with fields come from rs.from_arrays({'model/layer': x})." if names == ["label"] else ""
            raise unknown_name(
                f"field for {what}",
                choice,
                names,
                f"For another attribute pass {what}={{model: value}}, or one value an item.{plain}",
            )
        return pd.Series(axis.get_level_values(choice), name=choice)
    choice = choice.iloc[:, 0] if isinstance(choice, pd.DataFrame) and choice.shape[1] == 1 else choice
    if not np.iterable(choice):
        raise TypeError(f"{what} is a field of the labels, {{model: value}}, or one value an item; got {choice!r}")
    heading = getattr(choice, "name", None) or what
    models = axis.get_level_values("model" if "model" in names else 0)
    by_label = isinstance(choice, pd.Series) and (
        isinstance(choice.index, pd.MultiIndex) or set(axis) <= set(choice.index)
    )
    by_model = not by_label and (
        isinstance(choice, Mapping) or (isinstance(choice, pd.Series) and not isinstance(choice.index, pd.RangeIndex))
    )
    if by_label or by_model:
        of, given = list(axis if by_label else models), check_one_value(choice, what, "label" if by_label else "model")
        known = set(given.keys())
        missing = list(dict.fromkeys(item for item in of if item not in known))
        if missing:
            raise ValueError(
                f"{what} has no value for {join_names(missing, 3)}; it has values for"
                f" {join_names(given.keys(), 3) or 'none'}{explain_same_text(missing, given.keys())}"
            )
        return pd.Series(check_labels([given[item] for item in of], len(of), what, undefined=True), name=heading)
    return pd.Series(check_labels(choice, len(axis), what, undefined=True), name=heading)


def check_one_value(choice: Mapping[Any, Any] | pd.Series, what: str, of: str) -> Mapping[Any, Any] | pd.Series:
    """Return a choice by model (or label, or run) with one entry each; ValueError if one has several values."""
    if not isinstance(choice, pd.Series) or choice.index.is_unique:
        return choice
    single = choice[~pd.DataFrame({"of": list(choice.index), "value": choice.to_numpy()}).duplicated().to_numpy()]
    twice = single.index[single.index.duplicated()]
    if len(twice):
        raise ValueError(
            f"{what} needs one value a {of}; '{twice[0]}' has several in '{choice.name or what}':"
            f" {join_names(list(single[[twice[0]]]), 4)}"
        )
    return single


def explain_same_text(one: Iterable[Any], other: Iterable[Any]) -> str:
    """Explain labels that are the same as text only, such as integers and text of a table read from CSV; else ""."""
    one, texts = list(one), {_as_text(label): label for label in other}
    known = set(texts.values())
    for label in one:
        like = texts.get(_as_text(label))
        if like is not None and label not in known:
            return (
                f". {label!r} ({type(label).__name__}) and {like!r} ({type(like).__name__}) are the same as text but"
                " not as labels, as in a table read from CSV: give both one type, such as frame.columns = frame.index,"
                " or frame.index = frame.index.astype(str)"
            )
    return ""


def _as_text(label: Any) -> Any:
    """Return a label, or each of its fields, as text."""
    return tuple(map(str, label)) if isinstance(label, tuple) else str(label)


def match_labels(mine: pd.Index, other: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the items that both axes have, on each axis.

    Items are matched by whole labels; if fewer than two match, by the fields that vary. A label that is there twice is
    not matched.
    """
    whole = _common(mine, other)
    return whole if len(whole[0]) > 1 else _common(pd.Index(short_labels(mine)), pd.Index(short_labels(other)))


def _common(a: pd.Index, b: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the labels that are there once on both axes."""
    both = a[~a.duplicated(keep=False)].intersection(b[~b.duplicated(keep=False)], sort=False)
    return a.get_indexer_for(both), b.get_indexer_for(both)
