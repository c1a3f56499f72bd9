"""The explorer of layers of one model against layers of another, and the detail of a pair."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import ipywidgets as widgets
import numpy as np

from repsim_nb import measures
from repsim_nb.display import plots
from repsim_nb.display.plots.axes import blank_figure
from repsim_nb.display.specs import FigureSpec, MatrixSpec, spec
from repsim_nb.display.specs.differences import difference_spec, with_one_scale
from repsim_nb.display.specs.matrices import comparison_spec
from repsim_nb.display.views import MatrixView
from repsim_nb.display.views.visible import visible_spec
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Activations, Key, Store
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.results.inference import BestMatch, best_match
from repsim_nb.results.reliability import diagnose
from repsim_nb.support.errors import UndefinedError, check_name, format_label, join_names
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.rdms import RDM

from .base import Drawing
from .code import get_or_make, measure_code
from .detail import Detail
from .measure_choices import NONE, measure_control, why_not
from .panel import WIDE
from .table_details import TableDetailExplorer, merge_reasons, value_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DETAIL_MEASURES = ("cka", "cka_debiased", "cka_rbf", "procrustes", "mean_cca", "svcca", "rsa")  # of a pair
SIDE_BY_SIDE, DIFFERENCE = "side by side", "as difference"  # of two measures
ORDERS = 199  # of the samples, for the test of the best match: some seconds for 1,000 samples
_TESTED = "Compare the best match of each layer with the best match in permuted samples; cells above chance have a dot"
_DRAW_BEST = "rs.plots.heatmap(best);"
_FITS = {"width": "auto"}


class LayerTableExplorer(TableDetailExplorer):
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
        # a store has recordings only
        self._rdms = frozenset() if isinstance(xs, Store) else frozenset(key for key in xs if isinstance(xs[key], RDM))
        self._tables: dict[tuple[str, str, str], Comparison] = {}
        self._seconds: dict[tuple[str, str, str, str], Comparison] = {}  # of two measures, the second one's table
        self._tests: dict[tuple[str, str, str], BestMatch] = {}
        self._place: tuple[str, str] | None = None  # the labels of the cell that was chosen last
        chosen = measures.get(measure)
        self._measures = {**measures.ALL, measures.short_name(chosen): chosen}
        names = list(self._groups)
        first = check_name("choice", a if a is not None else names[0], names)
        mates = [
            name
            for name, group in self._groups.items()
            if group.dataset == self._groups[first].dataset and name != first
        ]
        second = check_name("choice", b if b is not None else (mates or [first])[0], names)
        controls = {
            "a": widgets.Dropdown(options=names, value=first, description="model A (rows)", **WIDE),
            "b": widgets.Dropdown(options=names, value=second, description="model B (columns)", **WIDE),
            "measure": measure_control(self._measures, measures.short_name(chosen), "measure"),
            "second": measure_control(self._measures, NONE, "second measure", NONE),
            "together": widgets.Dropdown(options=[SIDE_BY_SIDE, DIFFERENCE], description="", **WIDE),
            "tested": widgets.Checkbox(description="test the best match", indent=False, tooltip=_TESTED, layout=_FITS),
        }
        self._disable_idle(controls)
        for name in ("a", "b", "measure", "second"):  # what the others depend on
            controls[name].observe(lambda _: self._disable_idle(controls), "value")
        super().__init__(self._make_table, controls, self._code_of)
        self._other = MatrixView(layout={"flex": "1 1 400px", "min_width": "0"})
        self._pair_of_views = widgets.Box([self._stage], layout={"flex_flow": "row wrap", "grid_gap": "8px 12px"})
        self._stage.layout.flex, self._stage.layout.min_width = "1 1 400px", "0"
        self._left.children = (self._pair_of_views,)
        for trait in ("hovered", "filter"):
            widgets.jslink((self._matrix, trait), (self._other, trait))
        self._matrix.most_rows = self._other.most_rows = self._most_rows()
        self._say(f"<i>{self.hint}</i>")
        self._answer(self._other, "presses", lambda: self._matrix.press(list(self._other.chosen)))
        self._answer(self._matrix, "presses", lambda: self._choose(*self._matrix.chosen))

    def _most_rows(self) -> int:
        """Return the largest number of rows of all tables of this explorer; 0 if it is not known."""
        groups = list(self._groups.values())
        layers = [sum(key._replace(layer="") == group for key in self._xs) for group in groups]
        return max([*layers, sum(key.layer == OUTPUT for key in self._xs)]) if all(layers) else 0

    def _side(self, name: str) -> Activations:
        group = self._groups[name]
        return self._xs.only(key for key in self._xs if key._replace(layer="") == group)

    def _make_table(
        self, a: str, b: str, measure: str, second: str, together: str, tested: bool, progress: Tick
    ) -> Comparison:
        table = self._table_of(a, b, measure, progress)
        if second != NONE:
            self._seconds[a, b, measure, second] = self._table_of(a, b, second, progress)
        if tested and self._can_test(a, b, measure, second):
            get_or_make(
                self._tests,
                (a, b, measure),
                lambda: best_match(
                    self._measures[measure],
                    self._side(a),
                    self._side(b),
                    n_permutations=ORDERS,
                    on_undefined="mask",
                    progress=progress,
                ),
            )
        return table

    def _can_test(self, a: str, b: str, measure: str, second: str) -> bool:
        """Return whether the table has two sides, of which the best match can be tested."""
        return a != b and second == NONE and self._measures[measure].compares != "outputs"

    def _table_of(self, a: str, b: str, measure: str, progress: Tick) -> Comparison:
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

    def _disable_idle(self, controls: Mapping[str, widgets.Dropdown]) -> None:
        """Disable the controls that have no effect with a functional measure, which shows all models.

        With a functional measure, A selects only the data, if there are several data sets. B has no effect.
        """
        self._list_reasons(controls)
        functional = self._measures[controls["measure"].value].compares == "outputs"
        controls["a"].disabled = functional and len({group.dataset for group in self._groups.values()}) == 1
        controls["b"].disabled = functional

    def _list_reasons(self, controls: Mapping[str, Any]) -> None:
        """Write next to the measures why they do not apply to these models."""
        group = self._groups[controls["a"].value]
        own = [key for key in self._xs if key.dataset == group.dataset]
        outputs = "" if not own or any(key.layer == OUTPUT for key in own) else f"no layer '{OUTPUT}' was recorded"
        n = min((len(self._xs[key]) for key in own[:1]), default=None)
        rdms = any(key in self._rdms for key in own)
        controls["measure"].reasons = reasons = why_not(self._measures, n, outputs=outputs, rdms=rdms)
        first = self._measures[controls["measure"].value]
        controls["second"].reasons = reasons | {
            name: "compares something else"
            for name, measure in self._measures.items()
            if measure.compares != first.compares
        }
        controls["together"].disabled = controls["second"].value == NONE
        controls["tested"].disabled = not self._can_test(
            *(controls[name].value for name in ("a", "b", "measure", "second"))
        )

    def _code_of(self, a: str, b: str, measure: str, second: str, together: str, tested: bool) -> str:
        raise NotImplementedError

    def _draw_code(self, sides: str, measure: str, second: str, together: str, tested: bool) -> list[str]:
        """Return lines of code that draw the measures of `sides`, the code of what is compared."""
        first = measure_code(self._measures[measure])
        if tested:
            options = f"n_permutations={ORDERS}, on_undefined='mask'"
            return [f"best = rs.inference.best_match({first}, {sides}, {options})", _DRAW_BEST]
        if second == NONE:
            return [f"rs.plots.heatmap(rs.compare({first}, {sides}, on_undefined='mask'));"]
        both = f"({first}, {measure_code(self._measures[second])})"
        lines = [f"tables = [rs.compare(measure, {sides}, on_undefined='mask') for measure in {both}]"]
        if together == DIFFERENCE:
            return [*lines, "rs.plots.heatmap(rs.specs.difference_spec(*tables));"]
        return [*lines, "rs.plots.heatmaps(tables, columns=2);"]

    # -- the best match

    @property
    def test(self) -> BestMatch | None:
        """The test of the best match, if it is shown."""
        return self._test_of(self._shown_values or {})

    def _test_of(self, values: Mapping[str, Any]) -> BestMatch | None:
        chosen = tuple(values.get(name, NONE) for name in ("a", "b", "measure", "second"))
        return self._tests.get(chosen[:3]) if values.get("tested") and self._can_test(*chosen) else None

    # -- two measures

    @property
    def second(self) -> Comparison | None:
        """The table of the second measure that is shown; None if there is one measure."""
        return self._second_of(self._shown_values or {})

    def _second_of(self, values: Mapping[str, Any]) -> Comparison | None:
        names = tuple(values.get(name, NONE) for name in ("a", "b", "measure", "second"))
        return self._seconds.get(names) if names[3] != NONE else None

    def _spec_of(self, result: Any, values: Mapping[str, Any]) -> FigureSpec:
        tested = self._test_of(values)
        if tested is not None:
            return spec(tested)
        second = self._second_of(values)
        if second is None:
            return super()._spec_of(result, values)
        if values["together"] == DIFFERENCE:
            return difference_spec(result, second)
        return self._specs_of_both(result, second)[0]

    def _specs_of_both(self, first: Comparison, second: Comparison) -> tuple[MatrixSpec, MatrixSpec]:
        return with_one_scale(comparison_spec(first), comparison_spec(second))

    def _show_second(self) -> None:
        """Show the second matrix next to the first, if there are two; then the detail is below both."""
        second = self.second
        both = second is not None and (self._shown_values or {})["together"] == SIDE_BY_SIDE
        if both:
            assert second is not None
            self._other.show(self._specs_of_both(self.result, second)[1])
            self._other.chosen = list(self._matrix.chosen)
        self._pair_of_views.children = (self._stage, self._other) if both else (self._stage,)
        self._left.layout.flex = "1 1 100%" if both else "1 1 480px"

    def figure(self) -> Figure:
        """Return the picture as a matplotlib figure, with both measures if two are side by side."""
        second = self.second
        if second is None or self._other not in self._pair_of_views.children or self._last_error is not None:
            return super().figure()
        whole, figure = self._specs_of_both(self.result, second), blank_figure()
        both = [
            cast(MatrixSpec, visible_spec(one, view))
            for one, view in zip(whole, (self._matrix, self._other), strict=True)
        ]
        figure.set_size_inches(sum(one.size[0] for one in both), both[0].size[1])
        plots.heatmaps(both, columns=2, figure=figure)
        return figure

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        super()._deliver(settings, drawn, error)
        self._table_of_note = None
        self._say_note(())
        if error is not None:
            self._set_pair(None)
            self._say("")
            return
        self._show_second()
        if self._keep_place():
            self._choose(*self._matrix.chosen)  # the note comes after the detail
        else:
            self._set_pair(None)
            self._say(self._first_words())
            self._request_note()

    def _keep_place(self) -> bool:
        """Choose again the cell that was chosen in an earlier picture, if it is in this one."""
        rows, columns = self._matrix.row_labels, self._matrix.column_labels
        if not self._matrix.chosen and self._place and self._place[0] in rows and self._place[1] in columns:
            self._matrix.chosen = [rows.index(self._place[0]), columns.index(self._place[1])]
        return bool(self._matrix.chosen)

    def _first_words(self) -> str:
        """Return what stands in place of the detail before a click."""
        shown, test = self.result, self.test
        if test is not None:
            return test._repr_html_()
        if isinstance(shown, Comparison) and shown.measure.compares == "outputs":
            return (
                f"<i>{html.escape(shown.name)} compares the outputs of models: the layer '{OUTPUT}' of all of them,"
                " each against each.</i>"
            )
        return f"<i>{self.hint}</i>"

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

    def _choose(self, row: int, column: int) -> None:
        shown = self.result
        if not isinstance(shown, Comparison) or row >= shown.values.shape[0] or column >= shown.values.shape[1]:
            return
        if self._is_being_replaced():
            return
        keys = Key(*shown.values.index[row]), Key(*shown.values.columns[column])
        self._set_pair(keys)
        self._place = self._matrix.row_labels[row], self._matrix.column_labels[column]
        self._other.chosen = [row, column]
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
            rows.append(value_row(measure, value, chosen=name == shown.name))
            reasons += found.undefined.values()
        reasons = merge_reasons(reasons)
        tick(len(names), len(names) + 1)
        about = [
            f"n = {len(x)} samples",
            *(f"{title}: {int(np.prod(v.shape[1:]))} features" for title, v in zip(titles, (x, y), strict=True)),
        ]
        try:
            diagnosis = diagnose(x, names=titles[0]) if titles[0] == titles[1] else diagnose(x, y, names=titles)
            # what is undefined for CCA is in the row of mean_cca
            reasons += [str(finding) for finding in diagnosis.findings if finding.title != "CCA undefined"]
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
