"""`comparison`: layers of one model against layers of another, and the detail of a pair."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.display import plots
from repsim_nb.display.plots.axes import blank_figure
from repsim_nb.display.specs import FigureSpec, spec
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Activations, Key
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.results.reliability import Diagnosis, diagnose, summarize_findings
from repsim_nb.support.errors import UndefinedError, check_name, format_label, join_names
from repsim_nb.support.labels import short_labels
from repsim_nb.support.progress import Tick, show_progress

from .base import Drawing, Explorer
from .code import activations_code, get_or_make, measure_code, to_activations, where_code
from .detail import Detail
from .pair_samples import PairSamplesExplorer

DETAIL_MEASURES = ("cka", "cka_debiased", "cka_rbf", "procrustes", "mean_cca", "svcca", "rsa")  # of a pair
NOTE_SAMPLES = 256  # of each layer, for the note below a table: a few hundredths of a second for each layer


def comparison(
    xs: Mapping[Any, Any],
    *,
    dataset: str | Dataset | None = None,
    measure: str | measures.Measure = "cka_debiased",
    a: str | None = None,
    b: str | None = None,
) -> Explorer:
    """Explore the layers of one model against the layers of another.

    Controls select both models and the measure. Click a cell for the details of that pair of layers.

    Parameters
    ----------
    xs : {Key or str: array (n, ...)}
        Activations on the same n samples: what `rs.record` returns, a Store, or {"model/layer": array}.
    dataset : str or Dataset, optional
        The data set that was recorded, or its name. If given, the details show samples sorted by class.
    measure : str or Measure
        The measure that is selected first. A functional measure compares the outputs of all models that were recorded
        on the same data.
    a, b : str, optional
        The models of the rows and of the columns that are selected first. None takes the first model, and the next one
        on the same data.

    Returns
    -------
    Explorer
        The explorer. Its `result` is a Comparison.

    Raises
    ------
    TypeError
        If `xs` is not a mapping, or `dataset` is not a data set.
    ValueError
        If there are no activations, `dataset` fits none of them, or a choice is unknown.

    See Also
    --------
    model_pair : Records the models when they are selected.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/{layer}": rng.normal(size=(20, 3)) for model in "ab" for layer in ("one", "two")})
    >>> explorer = rs.explorers.comparison(x, a="a", b="b").wait()
    >>> explorer.spec.row_labels
    ('one', 'two')
    """
    found = to_activations(xs)
    if not len(found):
        raise ValueError("There is nothing to explore: xs has no activations.")
    dataset = load_dataset(dataset) if isinstance(dataset, str) else dataset
    if dataset is not None and not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset or the name of one; got {type(dataset).__name__}.")
    if dataset is not None and not any(
        key.dataset in ("", dataset.name) and len(found[key]) == len(dataset) for key in found
    ):
        raise ValueError(
            f"None of the activations was recorded on the dataset given with them, '{dataset.name}' ({len(dataset)}"
            f" samples); there are {join_names(dict.fromkeys(f'{key.dataset} ({len(found[key])})' for key in found))}."
        )
    groups = list(dict.fromkeys(key._replace(layer="") for key in found))
    names = (
        short_labels(pd.MultiIndex.from_tuples(groups, names=Key._fields))
        if len({g.model for g in groups}) < len(groups)
        else tuple(g.model for g in groups)
    )
    return _RecordedExplorer(xs, found, dict(zip(names, groups, strict=True)), dataset, measure, a, b)


class LayerTableExplorer(PairSamplesExplorer):
    """Two models by their drop-downs, one measure, a table of layers × layers, and the detail of a pair.

    groups: {name in the drop-downs: key of a recording, without its layer}; xs: the recordings, to which a subclass may
    add later.
    """

    hint = "Click a cell for the detail of that pair."

    def __init__(
        self,
        xs: Activations,
        groups: Mapping[str, Key],
        dataset: Dataset | None,
        measure: str | measures.Measure,
        a: str | None,
        b: str | None,
    ) -> None:
        self._xs, self._groups, self._dataset = xs, dict(groups), dataset
        self._tables: dict[tuple[str, str, str], Comparison] = {}
        self._diagnoses: dict[Key, Diagnosis | None] = {}
        self._table_of_note: Comparison | None = None  # the table of the note
        self._note = widgets.HTML(layout={"display": "none"})
        chosen = measures.get(measure)
        self._measures = {**measures.ALL, measures.short_name(chosen): chosen}
        wide = {"style": {"description_width": "initial"}}
        names = list(self._groups)
        first = check_name("choice", a if a is not None else names[0], names)
        mates = [
            name
            for name, group in self._groups.items()
            if group.dataset == self._groups[first].dataset and name != first
        ]
        second = check_name("choice", b if b is not None else (mates or [first])[0], names)
        controls = {
            "a": widgets.Dropdown(options=names, value=first, description="model A (rows)", **wide),
            "b": widgets.Dropdown(options=names, value=second, description="model B (columns)", **wide),
            "measure": widgets.Dropdown(
                options=list(self._measures), value=measures.short_name(chosen), description="measure", **wide
            ),
        }
        self._note_functional(controls)
        controls["measure"].observe(lambda _: self._note_functional(controls), "value")
        super().__init__(self._make_table, controls, self._code_of)
        self.children = (*self.children[:-3], self._note, *self.children[-3:])
        self._say(f"<i>{self.hint}</i>")
        self._answer(self._matrix, "presses", lambda: self._choose(*self._matrix.chosen))

    def _side(self, name: str) -> Activations:
        group = self._groups[name]
        return self._xs.only(key for key in self._xs if key._replace(layer="") == group)

    def _make_table(self, a: str, b: str, measure: str, progress: Tick) -> Comparison:
        of_outputs = self._measures[measure].compares == "outputs"
        sides = (self._groups[a].dataset, OUTPUT) if of_outputs else (a, b)

        def make() -> Comparison:
            arrays = [self._outputs(sides[0])] if of_outputs else [self._side(a), self._side(b)]
            return compare(self._measures[measure], *arrays, on_undefined="mask", progress=progress)

        return get_or_make(self._tables, (*sides, measure), make)

    def _outputs(self, dataset: str) -> Activations:
        found = [key for key in self._xs if key.dataset == dataset and key.layer == OUTPUT]
        if not found:
            raise ValueError(
                f"Functional measures compare the outputs of models, and no layer '{OUTPUT}' is among these activations"
                + (f" of {dataset}" if dataset else "")
                + f"; there are {join_names(dict.fromkeys(key.layer for key in self._xs if key.dataset == dataset))}."
            )
        return self._xs.only(found)

    def _note_functional(self, controls: Mapping[str, widgets.Dropdown]) -> None:
        """Disable the controls that have no effect with a functional measure, which shows all models.

        With a functional measure, A selects only the data, if there are several data sets. B has no effect.
        """
        functional = self._measures[controls["measure"].value].compares == "outputs"
        controls["a"].disabled = functional and len({group.dataset for group in self._groups.values()}) == 1
        controls["b"].disabled = functional

    def _code_of(self, a: str, b: str, measure: str) -> str:
        raise NotImplementedError

    # -- the note below a table: problems of its layers

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        super()._deliver(settings, drawn, error)
        self._table_of_note = None
        self._set_pair(None)
        self._say_note(())
        self._request_note()

    def _after_samples(self) -> None:
        self._request_note()  # if the click came before the note

    def _request_note(self) -> None:
        """Diagnose the layers of the table that is shown, after all other work."""
        shown = self.result
        if (
            self._last_error is None
            and shown is not None
            and shown is not self._table_of_note
            and shown.measure.compares != "outputs"
        ):
            self._worker.submit(lambda tick: (shown, self._notes_on(shown, tick)), self._deliver_note)

    def _notes_on(self, shown: Comparison, tick: Tick) -> tuple[str, ...]:
        keys = [Key(*label) for label in dict.fromkeys([*shown.values.index, *shown.values.columns])]
        for done, key in enumerate(keys):
            tick(done, len(keys))
            if key not in self._diagnoses:
                try:
                    self._diagnoses[key] = diagnose(self._xs[key], names=format_label(key), max_samples=NOTE_SAMPLES)
                except UndefinedError:
                    self._diagnoses[key] = None  # its cells are masked, with the reason
        found = {format_label(key): diagnosis for key in keys if (diagnosis := self._diagnoses[key]) is not None}
        return summarize_findings(shown.measure, found)

    def _deliver_note(self, note: tuple[Comparison, tuple[str, ...]] | None, error: BaseException | None) -> None:
        if note is None:
            assert error is not None
            self.errors.append(error)
        else:
            self._table_of_note, lines = note
            self._say_note(lines)

    def _say_note(self, lines: tuple[str, ...]) -> None:
        more = " <code>rs.reliability.diagnose(x, y)</code> has the numbers."
        text = "<br>".join(f"⚠ {html.escape(line)}" for line in lines)
        self._note.value = f"<div style='line-height:1.45;max-width:760px'>{text}{more}</div>" if lines else ""
        self._note.layout.display = "" if lines else "none"

    def _report(self, done: int, total: int, text: str) -> None:
        if not self._stop.disabled:  # nobody waits for the note
            super()._report(done, total, text)

    def _after_stop(self) -> None:
        if not self._stop.disabled:
            super()._after_stop()

    # -- the detail of one pair

    def choose(self, row: str, column: str) -> None:
        """Show the details of a pair of layers, like a click on its cell; row, column: its labels."""
        self.wait()
        rows, columns = self.result.labels()
        self._matrix.press(
            [rows.index(check_name("choice", row, rows)), columns.index(check_name("choice", column, columns))]
        )

    def _begin(self) -> None:
        super()._begin()
        measure = self.controls["measure"].value
        functional = self._measures[measure].compares == "outputs"
        self._say(
            f"<i>{html.escape(measure)} compares the outputs of models: the layer '{OUTPUT}' of all of them, each"
            " against each.</i>"
            if functional
            else ""
        )

    def _choose(self, row: int, column: int) -> None:
        shown = self.result
        if not isinstance(shown, Comparison) or row >= shown.values.shape[0] or column >= shown.values.shape[1]:
            return
        if self._is_being_replaced():
            return
        keys = Key(*shown.values.index[row]), Key(*shown.values.columns[column])
        self._set_pair(keys)
        names = html.escape(f"{format_label(keys[0])} × {format_label(keys[1])}")
        self._ask(
            f"<i>{names}: computing …</i>", lambda tick: self._detail_of(keys, shown, tick), "computing the detail …"
        )

    def _detail_of(self, keys: tuple[Key, Key], shown: Comparison, progress: Tick) -> Detail:
        with show_progress(progress, "detail", "step") as tick:
            return self._compute_detail(keys, shown, tick)

    def _compute_detail(self, keys: tuple[Key, Key], shown: Comparison, tick: Tick) -> Detail:
        x, y = self._xs[keys[0]], self._xs[keys[1]]
        functional = measures.FUNCTIONAL if keys[0].layer == keys[1].layer == OUTPUT else ()
        names = list(dict.fromkeys([shown.name, *DETAIL_MEASURES, *functional]))
        titles = [f"{key.model} / {key.layer}" for key in keys]
        rows, reasons = [], list[str]()
        for done, name in enumerate(names):
            tick(done, len(names) + 1)
            measure = self._measures.get(name) or measures.get(name)
            found = measure.table({titles[0]: x}, {titles[1]: y}, on_undefined="mask")
            value = None if found.undefined else found.values[0, 0]
            rows.append(_value_row(measure, value, chosen=name == shown.name))
            reasons += found.undefined.values()
        tick(len(names), len(names) + 1)
        about = [
            f"n = {len(x)} samples",
            *(f"{title}: {int(np.prod(v.shape[1:]))} features" for title, v in zip(titles, (x, y), strict=True)),
        ]
        try:
            diagnosis = diagnose(x, names=titles[0]) if titles[0] == titles[1] else diagnose(x, y, names=titles)
            reasons += [
                str(finding) for finding in diagnosis.findings if finding.title != "CCA undefined"
            ]  # it is in the row of mean_cca
        except UndefinedError:
            pass  # the reasons are in the rows of the table
        listing = "".join(f"<li>{html.escape(reason)}</li>" for reason in dict.fromkeys(reasons))
        table = (
            "<table style='line-height:1.35'><tr><th align='left'>measure</th><th align='right'>value</th><th"
            f" align='left'>&nbsp; larger is</th></tr>{''.join(rows)}</table>"
        )
        text = f"<b>{html.escape(' × '.join(titles))}</b><br>{html.escape('; '.join(about))}{table}"
        known = self._dataset_of(keys)
        return text + (
            f"<ul style='max-width:680px;margin:4px 0;line-height:1.35'>{listing}</ul>" if listing else ""
        ), self._matrices(titles, x, y, known)

    def _matrices(self, titles: list[str], x: Any, y: Any, known: Dataset | None) -> FigureSpec | None:
        try:
            pair = {title: measures.first_order(v) for title, v in zip(titles, (x, y), strict=True)}
        except UndefinedError:
            return None  # the reason is in the row of rsa
        figure = blank_figure()
        targets, classes = (known.targets, known.classes) if known else (None, ())
        plots.samples(pair, targets=targets, classes=classes, figure=figure)
        return spec(figure, dpi=90)


class _RecordedExplorer(LayerTableExplorer):
    """The explorer of activations that are recorded already."""

    def __init__(self, source: Mapping[Any, Any], *options: Any) -> None:
        self._source = source
        super().__init__(*options)

    def _code_of(self, a: str, b: str, measure: str) -> str:
        name, lines = activations_code(self._source)
        if self._measures[measure].compares == "outputs":
            several = len({group.dataset for group in self._groups.values()}) > 1
            of_data = {"dataset": self._groups[a].dataset} if several else {}
            lines.append(f"outputs = {where_code(name, {'layer': OUTPUT, **of_data})}")
        else:
            lines += [f"{side} = {where_code(name, self._fields_of(group))}" for side, group in (("a", a), ("b", b))]
        sides_code = "outputs" if self._measures[measure].compares == "outputs" else "a, b"
        code = measure_code(self._measures[measure])
        return "\n".join([*lines, f"rs.plots.heatmap(rs.compare({code}, {sides_code}, on_undefined='mask'));"])

    def _fields_of(self, name: str) -> dict[str, Any]:
        group, groups = self._groups[name], self._groups.values()
        varying = [f for f in Key._fields if f != "layer" and len({getattr(g, f) for g in groups}) > 1]
        return {field: getattr(group, field) for field in varying or ["model"]}


def _value_row(measure: measures.Measure, value: float | None, *, chosen: bool) -> str:
    direction = "more alike" if measure.kind == "similarity" else "less alike"
    low, high = measure.range
    number = "undefined" if value is None else f"{value:.4f}"
    name = html.escape(measures.short_name(measure))
    return (
        f"<tr style='font-weight:{'bold' if chosen else 'normal'}'><td style='padding:0'>{name}</td><td align='right'"
        f" style='font-variant-numeric:tabular-nums;padding:0 0 0 16px'>{number}</td><td style='padding:0'>&nbsp;"
        f" {direction} ({low:g} to {high:.3g})</td></tr>"
    )
