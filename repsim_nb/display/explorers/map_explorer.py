"""The explorer of a map: its controls, the map and its chance level, details of points, and its code."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.display.specs import FigureSpec, MapSpec, spec
from repsim_nb.display.specs.colors import CLASS_COLORS, MARKERS
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Activations, Key, Store
from repsim_nb.results import embedding, inference
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.results.embedding import Embedding
from repsim_nb.support.errors import UndefinedError, check_name, join_names
from repsim_nb.support.labels import step_order
from repsim_nb.support.progress import Tick
from repsim_nb.support.rdms import RDM

from .base import Drawing
from .code import activations_code, get_or_make, measure_code, name_of, where_code
from .detail import Detail, DetailExplorer
from .map_choices import (
    ALL,
    LAST,
    METHODS,
    NONE,
    describe_ends,
    describe_point,
    has_meaning,
    layer_choices,
    list_distinguishing,
)
from .measure_choices import measure_control, why_not
from .panel import WIDE

USUAL_COLORS = ("architecture", "step", "layer")  # the first that distinguishes points
PRELIMINARY = "a first map, while SMACOF improves it"
LARGE = 150  # points from which a map is shown while it is improved
CHANCE_PAIRS = 10  # permuted, for the chance level


class EmbeddingMapExplorer(DetailExplorer):
    """A map of models by its drop-downs, and the detail of the points that are clicked."""

    hint = (
        "Click a point for its attributes, and another point to compare the layers of the two. Draw a line around"
        " several points for their mean similarity."
    )

    def __init__(
        self,
        source: Mapping[Any, Any],
        xs: Activations,
        first: Mapping[str, Any],
        known: pd.DataFrame,
        attributes: Any,
        seed: int,
    ) -> None:
        self._source, self._xs, self._known, self._attributes, self._seed = source, xs, known, attributes, seed
        one = measures.get(first["measure"])
        self._measures = {**measures.ALL, measures.short_name(one): one}
        self._layers = layer_choices(xs)
        steps = list(dict.fromkeys(key.step for key in xs))
        self._several = len(steps) > 1
        ordered = self._several and all(isinstance(step, (int, float, np.integer)) for step in steps)
        self._steps = sorted(steps) if ordered else []
        ends: dict[str, list[Any]] = {}
        for key in xs:
            ends.setdefault(key.model, []).append(key.step)
        self._last = {model: max(reversed(dict.fromkeys(own)), key=step_order) for model, own in ends.items()}
        # {(measure, layer): (the table of the map, the labels that are left out, the remark below the title)}
        self._tables: dict[tuple[str, str], tuple[Comparison, tuple[str, ...], str]] = {}
        self._maps: dict[tuple[str, str, str], Embedding] = {}
        self._origins: dict[Embedding | None, tuple[str, Comparison]] = {}  # of each map its measure and its table
        self._preliminary: Embedding | None = None  # the last map that was shown before it was finished
        super().__init__(self._make_map, self._controls(measures.short_name(one), first), self._code_of)
        self._answer(self._scatter, "presses", self._choose)
        self._answer(self._scatter, "selected", self._select)
        self._scatter.observe(
            lambda change: change["new"] or self._worker.call_locked(lambda: self._say(f"<i>{self.hint}</i>")), "chosen"
        )

    # -- the controls

    def _controls(self, measure: str, first: Mapping[str, Any]) -> dict[str, widgets.Widget]:
        usual = next((name for name in reversed(self._layers) if name not in (ALL, OUTPUT)), next(iter(self._layers)))
        usual = LAST if LAST in self._layers else usual
        kind = check_name("kind of map", first["kind"], METHODS.values())
        layer = usual if first["layer"] is None else check_name("layer", first["layer"], self._layers)
        controls: dict[str, widgets.Widget] = {
            "measure": measure_control(self._measures, measure, "measure"),
            "layer": widgets.Dropdown(options=list(self._layers), value=layer, description="layer", **WIDE),
            "kind": widgets.Dropdown(options=list(METHODS.items()), value=kind, description="map", **WIDE),
        }
        n = len(next(iter(self._xs.values()), ()))
        lacking = "" if OUTPUT in self._layers else f"not all have a layer '{OUTPUT}'"
        rdms = not isinstance(self._xs, Store) and any(isinstance(x, RDM) for x in self._xs.values())
        controls["measure"].reasons = why_not(self._measures, n, outputs=lacking, rdms=rdms)
        for role, most in (("color", len(CLASS_COLORS)), ("shape", len(MARKERS))):
            options = [NONE, *list_distinguishing(self._xs, self._known, most, amounts=role == "color")]
            usual = next((name for name in USUAL_COLORS if name in options and role == "color"), NONE)
            chosen = usual if first[role] is None else self._check_meaning(role, first[role], options, most)
            controls[role] = widgets.Dropdown(options=options, value=chosen, description=role, **WIDE)
        if self._steps:
            controls["step"] = widgets.SelectionSlider(
                options=self._steps, value=self._steps[-1], description="up to step", continuous_update=True, **WIDE
            )
        for name in ("measure", "layer"):
            controls[name].observe(lambda _: self._disable_idle(controls), "value")
        self._disable_idle(controls)
        return controls

    def _check_meaning(self, role: str, name: str, options: Sequence[str], most: int) -> str:
        """Check what color or shape is to stand for; ValueError names the reason why an attribute cannot."""
        if name not in options and name in self._known:
            different = self._known[name].nunique()
            why = f"{different} values" if different > 1 else "one value for all models"
            raise ValueError(
                f"{role} can show an attribute with 2 to {most} values{' or numbers' if role == 'color' else ''};"
                f" '{name}' has {why}. The others are {join_names(options)}."
            )
        return check_name(role, name, options)

    def _layer_of(self, measure: str, layer: str) -> str:
        """Return the layer of the map: functional measures have only one."""
        return OUTPUT if self._measures[measure].compares == "outputs" else layer

    def _disable_idle(self, controls: Mapping[str, widgets.Widget]) -> None:
        """Disable the controls that have no effect at present."""
        measure, layer = controls["measure"].value, controls["layer"].value
        controls["layer"].disabled = self._measures[measure].compares == "outputs"
        if "step" in controls:
            controls["step"].disabled = self._layer_of(measure, layer) == ALL

    # -- the map

    def _make_map(
        self, measure: str, layer: str, kind: str, color: str, shape: str, progress: Tick, step: int | None = None
    ) -> Embedding:
        values: dict[str, Any] = {"measure": measure, "layer": layer, "kind": kind, "color": color, "shape": shape}
        values |= {"step": step} if "step" in self.controls else {}
        layer = self._layer_of(measure, layer)
        table = get_or_make(self._tables, (measure, layer), lambda: self._table_of(measure, layer, progress))[0]

        def improve(better: Embedding) -> None:
            self._origins[better] = measure, table
            shown = spec(self._spec_of(better, values), remark=PRELIMINARY)
            assert isinstance(shown, MapSpec)
            self._worker.call_from_job(lambda: self._show_preliminary(better, shown, values))

        def make() -> Embedding:
            if kind == "tsne":
                return embedding.tsne(table, seed=self._seed)
            watch = improve if len(table.values) >= LARGE else None  # a small map takes no time
            return embedding.mds(table, kind=kind, seed=self._seed, progress=progress, watch=watch)

        found = get_or_make(self._maps, (measure, layer, kind), make)
        self._origins[found] = measure, table
        return found

    def _show_preliminary(self, found: Embedding, shown: MapSpec, values: Mapping[str, Any]) -> None:
        """Show a map that is still being improved; Stop leaves it there."""
        self._origins.pop(self._preliminary, None)
        self._preliminary, self.view = found, self._scatter
        self._scatter.show(shown)
        self._show(self._scatter)
        self.result, self.spec, self._last_error, self._shown_values = found, shown, None, dict(values)

    def _table_of(self, measure: str, layer: str, progress: Tick) -> tuple[Comparison, tuple[str, ...], str]:
        """Return the table of the map, the labels that are left out of it, and the remark below the title."""
        xs = self._choose_layers(layer)
        whole = compare(self._measures[measure], xs, on_undefined="mask", progress=progress)
        table, without = whole.drop_undefined()
        if len(table.values) < 3 and without:
            raise ValueError(
                f"A map needs at least 3 points, and {measure} is undefined for most pairs:"
                f" {next(iter(whole.undefined.values()), 'its values are not finite')}"
            )
        if len(table.values) < 3:
            raise ValueError(
                f"A map needs at least 3 points; {layer} has {len(table.values)}: {join_names(table.labels()[0])}."
            )
        left_out = f"left out, since {measure} has no value for them: {join_names(without, 4)}" if without else ""
        chance = self._chance(measure, xs.only(map(Key._make, table.values.index)), progress)
        ends = describe_ends(self._last) if layer == ALL else ""
        return table, without, "; ".join(filter(None, (chance, ends, left_out)))

    def _choose_layers(self, layer: str) -> Activations:
        if layer == OUTPUT and OUTPUT not in self._layers:
            raise ValueError(
                "Functional measures compare the outputs of models, and not all of these were recorded with the layer"
                f" '{OUTPUT}'."
            )
        xs = self._xs.where(**self._layers[layer]) if self._layers[layer] else self._xs
        return xs.only(key for key in xs if key.step == self._last[key.model]) if layer == ALL and self._several else xs

    def _chance(self, measure: str, xs: Activations, progress: Tick) -> str:
        """Return the chance level in words: the value for unrelated representations of the same shapes."""
        try:
            values = inference.chance_values(
                self._measures[measure], xs, n_pairs=CHANCE_PAIRS, seed=self._seed, progress=progress
            )
        except UndefinedError:
            return ""
        return f"chance level (permuted samples): {measure} {np.mean(values):z.2f}"

    def _spec_of(self, result: Embedding, values: Mapping[str, Any]) -> FigureSpec:
        layer = self._layer_of(values["measure"], values["layer"])
        options: dict[str, Any] = {
            role: self._known.get(values[role], values[role])
            for role in ("color", "shape")
            if has_meaning(values[role], layer)
        }
        if layer == ALL or self._several:
            options["path"] = "model"
        if "step" in values and layer != ALL:
            options["until"] = values["step"]
        return spec(
            spec(result, **options),
            notes=tuple(
                describe_point(Key(*label), self._known, several_steps=self._several) for label in result.points.index
            ),
            remark=self._tables[values["measure"], layer][2],
        )

    # -- points that were clicked

    def choose(self, *labels: str) -> None:
        """Choose one or two points by their labels, like clicks on them."""
        self.wait()
        if not 1 <= len(labels) <= 2:
            raise ValueError(f"choose takes one point or two; got {len(labels)}.")
        places = [self._scatter.labels.index(check_name("point", label, self._scatter.labels)) for label in labels]
        for many in range(1, len(places) + 1):
            self._scatter.press(places[:many])

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        before = self.result
        super()._deliver(settings, drawn, error)
        self._list_code()  # the labels that are left out are known now
        if error is not None:
            self._say("")
        elif self._unfinished or self.result is not before or not self.detail:
            # the points that were chosen or selected still are, if they are on this map
            if self._scatter.chosen:
                self._choose()
            elif self._scatter.selected:
                self._select()
            else:
                self._say(f"<i>{self.hint}</i>")

    def _choose(self) -> None:
        shown, chosen = self.result, list(self._scatter.chosen)
        if not isinstance(shown, Embedding) or not chosen or max(chosen) >= len(shown.points):
            return
        if self._is_being_replaced("A new map is being computed: click its points"):
            return
        keys = [Key(*shown.points.index[i]) for i in chosen]
        if len(keys) == 1:
            label, note = (html.escape(texts[chosen[0]]) for texts in (self._scatter.labels, self._scatter.notes))
            self._say(
                f"<b>{label}</b><br>{note.replace(chr(10), '<br>')}<br><i>Click another point for the layers × layers"
                " of the two, or this one again for its own.</i>"
            )
            return
        (measure, table), names = self._origins[shown], " × ".join(self._scatter.labels[i] for i in chosen)
        names = html.escape(names)
        if all(len(self._layers_of(key)) == 1 for key in keys):
            value = table.values.iloc[chosen[0], chosen[1]]
            self._say(
                f"<b>{names}</b>: {html.escape(measure)} {value:.4f}<br><i>One layer of each was recorded. Record all"
                " layers to see layers × layers here.</i>"
            )
            return

        def job(tick: Tick) -> Detail:
            return f"<b>{names}</b>, layers × layers", spec(self._between(keys, measure, tick))

        self._ask(f"<i>{names}: computing …</i>", job, "computing layers × layers …")

    def _layers_of(self, point: Key) -> list[Key]:
        return [key for key in self._xs if key._replace(layer="") == point._replace(layer="")]

    def _between(self, keys: list[Key], measure: str, progress: Tick) -> Comparison:
        sides = [self._xs.only(self._layers_of(point)) for point in keys]
        if self._measures[measure].compares == "outputs":
            sides = [side.where(layer=OUTPUT) for side in sides]
        return compare(self._measures[measure], *sides, on_undefined="mask", progress=progress)

    def _select(self) -> None:
        """Show the mean similarity of the points inside the line."""
        shown, inside = self.result, list(self._scatter.selected)
        if not isinstance(shown, Embedding) or self._drawing:
            return
        if not inside or max(inside) >= len(shown.points):
            self._say(f"<i>{self.hint}</i>")
            return
        measure, table = self._origins[shown]
        within = np.isin(np.arange(len(shown.points)), inside)
        parts = [
            ("among themselves", table.mean_of(within, within)),
            ("with the rest", table.mean_of(within, np.array(self._scatter.shown) & ~within)),
        ]
        words = ", ".join(f"{relation} {mean:.3f}" for relation, mean in parts if mean is not None)
        more = "more" if table.kind == "similarity" else "less"
        names = join_names([self._scatter.labels[i] for i in inside], 14)
        number = f"{len(inside)} point{'s' if len(inside) > 1 else ''}"
        self._say(
            f"<b>{number}</b>: {html.escape(names)}<br>mean {html.escape(measure)}"
            + (f" {words} (larger is {more} alike)" if words else ": there is no pair to compare")
        )

    # -- code

    def _code_of(self, measure: str, layer: str, kind: str, color: str, shape: str, step: int | None = None) -> str:
        layer = self._layer_of(measure, layer)
        name, lines = activations_code(self._source)
        fields, ends = dict(self._layers.get(layer, {"layer": OUTPUT})), dict.fromkeys(self._last.values())
        if layer == ALL and self._several and len(ends) == 1:
            fields["step"] = next(iter(ends))
        chosen = where_code(name, fields)
        if layer == ALL and len(ends) > 1:
            lines.append(f"last = {self._last!r}")
            chosen = f"{{key: {name}[key] for key in {name} if key.step == last[key.model]}}"
        without = self._tables[measure, layer][1] if (measure, layer) in self._tables else ()
        mask = ", on_undefined='mask'" if without else ""
        lines.append(f"table = rs.compare({measure_code(self._measures[measure])}, {chosen}{mask})")
        if without:
            lines.append(f"table, left_out = table.drop_undefined()  # without {join_names(without, 4)}")
        lines.append(
            f"points = rs.embedding.tsne(table, seed={self._seed})"
            if kind == "tsne"
            else f"points = rs.embedding.mds(table, kind={kind!r}, seed={self._seed})"
        )
        options, known = [], ""
        table_name = name_of(self._attributes) if self._attributes is not None else None
        framed = isinstance(self._attributes, pd.DataFrame)
        for role, choice in (("color", color), ("shape", shape)):
            if not has_meaning(choice, layer):
                continue
            if choice in self._known:
                known = table_name if table_name and framed else "known"
                options.append(f"{role}={known}[{choice!r}]")
            else:
                options.append(f"{role}={choice!r}")
        if known == "known":
            facts = f"{name}.facts" if self._attributes is None else table_name
            if facts:
                lines[0] = "import pandas as pd\n" + lines[0]
            partial = (
                f".reindex({list(self._known.index)!r})"
                if self._attributes is None and not all(model in self._xs.facts for model in self._known.index)
                else ""
            )
            lines.append(
                f"known = pd.DataFrame.from_dict({facts}, orient='index'){partial}"
                if facts
                else "# known: the attributes given to this explorer, a row a model"
            )
        if layer == ALL or self._several:
            options.append("path='model'")
        if step is not None and layer != ALL:
            options.append(f"until={step}")
        return "\n".join([*lines, f"rs.plots.embedding({', '.join(['points', *options])});"])
