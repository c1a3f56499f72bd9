"""The explorer `maps`: many networks, layers or checkpoints on one map, and the layers × layers of any two of them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from .. import embedding, inference, measures
from ..comparison import Comparison, compare
from ..embedding import Embedding
from ..errors import UndefinedError, listed, unknown
from ..models import OUTPUT
from ..progress import Tick, ticking
from ..store import Activations, Key, from_arrays
from ..views import MatrixView
from .base import Explorer
from .comparing import measure_said, name_of
from .faces import fill_matrix
from .saved import explain

METHODS = {"MDS (SMACOF)": "smacof", "classical MDS": "classical", "t-SNE": "tsne"}
ALL, NONE = "all layers", "none"
LAST, FIRST = "last hidden", "first hidden"  # of each network, where they name their layers differently
FIELDS = ("model", "step", "layer")  # of a key, by which points can be told apart
COLOURED, SHAPED = 12, 8  # so many groups can be told apart
PAIRS = 10  # shuffled, for the level of having nothing in common
HINT = "<i>Click a point to learn what is known of it, and another for the layers × layers of the two. Draw a line around several to learn how alike they are.</i>"


def maps(
    xs: Mapping[Any, Any],
    *,
    measure: str | measures.Measure = "cka_debiased",
    layer: str | None = None,
    kind: str = "smacof",
    colour: str | None = None,
    shape: str | None = None,
    attributes: pd.DataFrame | Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> Explorer:
    """Networks on a map: near is alike. Choose the measure, the layer, the method, and what colour and shape tell; click two for their layers × layers.

    xs: activations of the same samples of at least three networks (what `record` returns, a Store, or {"model/layer": array}); of several steps of training: then
    paths join them, and a slider says up to which one they are shown. The map is always one of all steps.
    measure, layer, kind, colour, shape: the first choice. layer: a name that all networks have; "last hidden" or "first hidden" where they name them differently;
    "all layers", all in one map, joined in order. kind: "smacof", "classical" or "tsne". colour, shape: "model", "step", "layer", or an attribute; None tells nothing.
    attributes: what is known of the networks, a row a model; None takes what their cards say.
    A functional measure compares outputs, whatever the layer says. Errors: ValueError, before anything is drawn, for fewer than three networks, several data sets or pools,
    an unknown choice (with the nearest).
    """
    if not isinstance(xs, Mapping):
        raise TypeError(f"the explorer takes activations by key: what rs.record returns, a Store, or {{'model/layer': array}}; got {type(xs).__name__}")
    found = xs if isinstance(xs, Activations) else from_arrays(xs)
    for field, what in (("dataset", "data sets, so that their samples do not correspond"), ("pool", "pools")):
        different = list(dict.fromkeys(getattr(key, field) for key in found))
        if len(different) > 1:
            raise ValueError(f"one map is made of one recording; these are of {len(different)} {what}: {listed(different)}. Choose: x.where({field}={different[0]!r})")
    points = list(dict.fromkeys(key._replace(layer="") for key in found))
    if len(points) < 3:
        raise ValueError(f"a map needs at least 3 networks (or steps of training); here {'is' if len(points) == 1 else 'are'} {listed(dict.fromkeys(key.model for key in points)) or 'none'}. "
                         "explorers.comparison shows two, layers against layers")
    return _Maps(xs, found, measure, layer, kind, {"colour": colour, "shape": shape}, _known(found, attributes), attributes, seed)


def _known(xs: Activations, attributes: pd.DataFrame | Mapping[str, Mapping[str, Any]] | None) -> pd.DataFrame:
    """A row a model, of what tells models apart."""
    models = list(dict.fromkeys(key.model for key in xs))
    given = xs.facts if attributes is None else attributes
    frame = given if isinstance(given, pd.DataFrame) else pd.DataFrame.from_dict({model: dict(known) for model, known in given.items()}, orient="index").infer_objects()
    if not frame.index.is_unique:
        raise ValueError(f"attributes have one row a model; '{frame.index[frame.index.duplicated()][0]}' has several")
    missing = [model for model in models if model not in frame.index]
    if missing and attributes is not None:
        raise ValueError(f"attributes have no row for {listed(missing, 3)}; they have rows for {listed(frame.index, 3)}")
    frame = frame.reindex(models)
    plain = [name for name in frame if not frame[name].map(lambda value: isinstance(value, (list, dict, tuple, np.ndarray))).any()]
    return frame[[name for name in plain if list(frame[name]) != models]].rename_axis(index="model")


def _layer_choices(xs: Activations) -> dict[str, dict[str, Any]]:
    """{name in the drop-down: what Activations.where is told}"""
    layers: dict[Key, list[str]] = {}
    for key in xs:
        layers.setdefault(key._replace(layer=""), []).append(key.layer)
    every = list(layers.values())
    shared = [name for name in every[0] if all(name in names for names in every)]
    choices: dict[str, dict[str, Any]] = {}
    if any(names != every[0] for names in every):
        ends = {names[-1] == OUTPUT for names in every}
        if len(ends) == 1 and all(len(names) > (OUTPUT in names) for names in every):
            choices[LAST] = {"layer": -2 if True in ends else -1}
            if any(len(names) > 1 + (OUTPUT in names) for names in every):
                choices[FIRST] = {"layer": 0}
    choices |= {name: {"layer": name} for name in shared}
    if any(len(names) > 1 for names in every):
        choices[ALL] = {}
    if not choices:
        raise ValueError(f"no layer can be compared over all of these networks: {listed('/'.join(names) for names in every)}. Record the same ones of each, such as layers=-2")
    return choices


def _defined(table: Comparison) -> tuple[Comparison, tuple[str, ...]]:
    """The table without the points that have no value with others, those with most first, and their labels. ValueError where fewer than 3 are left."""
    missing = ~np.isfinite(table.values.to_numpy(float))
    kept, out = np.ones(len(missing), bool), []
    while missing[np.ix_(kept, kept)].any():
        worst = int(np.where(kept, (missing & kept).sum(axis=1), -1).argmax())
        kept[worst] = False
        out.append(worst)
    if kept.sum() < 3:
        why = next(iter(table.undefined.values()), "its values are not finite")
        raise ValueError(f"{table.name} has no value for most pairs, so that there is nothing to map: {why}")
    labels = table.labels()[0]
    return table.take(kept, kept) if out else table, tuple(labels[i] for i in sorted(out))


class _Maps(Explorer):
    def __init__(self, given: Mapping[Any, Any], xs: Activations, measure: str | measures.Measure, layer: str | None, kind: str, looks: Mapping[str, str | None],
                 known: pd.DataFrame, attributes: Any, seed: int) -> None:
        self._given, self._xs, self._known, self._attributes, self._seed = given, xs, known, attributes, seed
        one = measures.get(measure)
        self._measures = {**measures.ALL, measures.short_name(one): one}
        self._layers = _layer_choices(xs)
        steps = list(dict.fromkeys(key.step for key in xs))
        self._steps = sorted(steps) if len(steps) > 1 and all(isinstance(step, (int, float, np.integer)) for step in steps) else []
        self._several = len(steps) > 1
        self._tables: dict[tuple[str, str], tuple[Comparison, tuple[str, ...], str]] = {}  # what is mapped, who is left out of it, what is said of it
        self._found: dict[tuple[str, str, str], Embedding] = {}
        self._detail, self._pair = widgets.HTML(), MatrixView(layout={"display": "none"})
        self._detail_error: BaseException | None = None
        self._unfinished = False  # whether what is chosen waits for its detail
        self._say(HINT)
        super().__init__(self._mapped, self._made(measures.short_name(one), layer, kind, looks), self._code_of)
        self._scatter.observe(lambda _: self._choose(), "presses")
        self._scatter.observe(lambda _: self._select(), "selected")
        self._scatter.observe(lambda change: change["new"] or self._say(HINT), "chosen")
        self.children = (*self.children, self._detail, self._pair)

    # -- the controls ------------------------------------------------------------------------------------------------------

    def _made(self, measure: str, layer: str | None, kind: str, looks: Mapping[str, str | None]) -> dict[str, widgets.Widget]:
        wide = {"style": {"description_width": "initial"}}
        usual = next((name for name in reversed(self._layers) if name not in (ALL, OUTPUT)), next(iter(self._layers)))
        usual = LAST if LAST in self._layers else usual
        if kind not in METHODS.values():
            raise unknown("kind of map", kind, METHODS.values())
        layer = usual if layer is None else self._check("layer", layer, self._layers)
        controls: dict[str, widgets.Widget] = {
            "measure": widgets.Dropdown(options=list(self._measures), value=measure, description="measure", **wide),
            "layer": widgets.Dropdown(options=list(self._layers), value=layer, description="layer", **wide),
            "kind": widgets.Dropdown(options=list(METHODS.items()), value=kind, description="map", **wide),
        }
        for role, most in (("colour", COLOURED), ("shape", SHAPED)):
            options = [NONE, *self._tell_apart(most, amounts=role == "colour")]
            first = NONE if looks[role] is None else self._check(role, looks[role], options)
            controls[role] = widgets.Dropdown(options=options, value=first, description=role, **wide)
        if self._steps:
            controls["epoch"] = widgets.SelectionSlider(options=self._steps, value=self._steps[-1], description="up to step", continuous_update=True, **wide)
        for name in ("measure", "layer"):
            controls[name].observe(lambda _: self._note_idle(controls), "value")
        self._note_idle(controls)
        return controls

    @staticmethod
    def _check(what: str, name: Any, names: Any) -> str:
        if name not in names:
            raise unknown(what, name, names)
        return name

    def _tell_apart(self, most: int, *, amounts: bool) -> list[str]:
        """Fields and attributes that have different values for different points, and not too many."""
        different = {field: len({getattr(key, field) for key in self._xs}) for field in FIELDS}
        fields = [field for field, number in different.items() if 1 < number <= most or (amounts and field == "step" and self._steps)]
        fields += [name for name in self._known if name not in fields and self._known[name].nunique() > 1
                   and (self._known[name].nunique() <= most or (amounts and pd.api.types.is_numeric_dtype(self._known[name])))]
        return fields

    def _layer_of(self, measure: str, layer: str) -> str:
        """The layer that is mapped: functional measures have only one."""
        return OUTPUT if self._measures[measure].of == "outputs" else layer

    def _note_idle(self, controls: Mapping[str, widgets.Widget]) -> None:
        """Controls that would change nothing cannot be changed."""
        measure, layer = controls["measure"].value, controls["layer"].value
        controls["layer"].disabled = self._measures[measure].of == "outputs"
        if "epoch" in controls:
            controls["epoch"].disabled = self._layer_of(measure, layer) == ALL

    # -- the map -----------------------------------------------------------------------------------------------------------

    def _mapped(self, measure: str, layer: str, kind: str, colour: str, shape: str, progress: Tick, epoch: int | None = None) -> Embedding:
        layer = self._layer_of(measure, layer)
        if (measure, layer) not in self._tables:  # found again: nobody waits twice
            xs = self._chosen_layers(layer)
            table, without = _defined(compare(self._measures[measure], xs, on_undefined="mask", progress=progress))
            left_out = f"left out, since {measure} has no value for them: {listed(without, 4)}" if without else ""
            mapped = Activations({key: xs[key] for key in map(Key._make, table.values.index)})
            ended = [model for model in self._known.index if all(key.model != model for key in xs)]
            sooner = f"not shown, since they end before step {self._last()}: {listed(ended, 4)}" if ended else ""
            self._tables[measure, layer] = table, without, "; ".join(part for part in (self._chance(measure, mapped, progress), sooner, left_out) if part)
        if (measure, layer, kind) not in self._found:
            table = self._tables[measure, layer][0]
            self._found[measure, layer, kind] = embedding.tsne(table, seed=self._seed) if kind == "tsne" else embedding.mds(table, kind=kind, seed=self._seed)
        return self._found[measure, layer, kind]

    def _chosen_layers(self, layer: str) -> Activations:
        if layer == OUTPUT and OUTPUT not in self._layers:
            raise ValueError(f"functional measures compare what networks put out, and not all of these were recorded with the layer '{OUTPUT}'")
        xs = self._xs.where(**self._layers[layer]) if self._layers[layer] else self._xs
        return xs.where(step=self._last()) if layer == ALL and self._several else xs

    def _last(self) -> Any:
        return self._steps[-1] if self._steps else list(dict.fromkeys(key.step for key in self._xs))[-1]

    def _chance(self, measure: str, xs: Activations, progress: Tick) -> str:
        """Where representations stand that have nothing in common but their shapes, in words."""
        values = []
        with ticking(progress, "shuffled samples", "pair") as tick:
            for done in range(PAIRS):  # one by one: a stop ends it
                tick(done, PAIRS)
                try:
                    values.append(inference.unrelated(self._measures[measure], xs, n_pairs=1, seed=self._seed + done))
                except UndefinedError:
                    return ""
        return f"shuffled samples (nothing in common): {measure} {np.mean(values):z.2f}"

    def _looks_of(self, result: Embedding, values: Mapping[str, Any]) -> dict[str, Any]:
        layer = self._layer_of(values["measure"], values["layer"])
        looks: dict[str, Any] = {role: self._choice(values[role]) for role in ("colour", "shape") if self._tells(values[role], layer)}
        if layer == ALL or self._several:
            looks["path"] = "model"
        if "epoch" in values and layer != ALL:
            looks["until"] = values["epoch"]
        return {**looks, "notes": [self._note(Key(*label)) for label in result.points.index], "said": self._tables[values["measure"], layer][2]}

    @staticmethod
    def _tells(choice: str, layer: str) -> bool:
        if choice == "step":
            return layer != ALL  # where layers are mapped all are of one step
        return choice != NONE and (choice != "layer" or layer in (ALL, LAST, FIRST))

    def _choice(self, name: str) -> Any:
        return name if name in FIELDS and name not in self._known else self._known[name]

    def _note(self, key: Key) -> str:
        facts = {name: value for name, value in self._known.loc[key.model].items() if self._known[name].nunique() > 1 and pd.notna(value)}
        if self._several:
            facts = {"step": key.step, **facts}
        return "\n".join(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}" for name, value in {"layer": key.layer, **facts}.items())

    # -- points that were clicked ------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Explorer:
        """Until map and detail are there; raises what the last of them raised."""
        super().wait(timeout)
        if self._detail_error is not None:
            raise self._detail_error
        return self

    def choose(self, *labels: str) -> None:
        """Choose one or two points by their labels, as clicks on them do."""
        self.wait()
        if not 1 <= len(labels) <= 2:
            raise ValueError(f"choose one point or two; got {len(labels)}")
        places = [self._scatter.labels.index(self._check("point", label, self._scatter.labels)) for label in labels]
        for many in range(1, len(places) + 1):
            self._scatter.chosen = places[:many]
            self._scatter.presses += 1

    def _deliver(self, settings: dict[str, Any], drawn: Any, error: BaseException | None) -> None:
        before = self.result
        super()._deliver(settings, drawn, error)
        self._list_code()  # who is left out is known now
        if error is not None:
            self._say("")
        elif self._unfinished or (self.result is before and not self._detail.value):  # the same map in another colour, or back from an error: its points are still chosen
            self._say(HINT)
            self._choose()
        elif self.result is not before:
            self._say(HINT)

    def _stopped(self) -> None:
        if self._unfinished:
            self._say("<i>Stopped. Click two points for their layers × layers.</i>")
        super()._stopped()

    def _say(self, text: str, *, table: bool = False, unfinished: bool = False) -> None:
        self._detail.value = f"<div style='line-height:1.45'>{text}</div>" if text else ""
        self._pair.layout.display, self._detail_error, self._unfinished = "" if table else "none", None, unfinished

    def _choose(self) -> None:
        shown, chosen = self.result, list(self._scatter.chosen)
        if not isinstance(shown, Embedding) or not chosen or max(chosen) >= len(shown.points):
            return
        if self._drawing:
            self._say("<i>A new map is being made: click its points, or press Stop to go back to this one.</i>", unfinished=True)
            return
        keys = [Key(*shown.points.index[i]) for i in chosen]
        if len(keys) == 1:
            self._say(f"<b>{html.escape(self._scatter.labels[chosen[0]])}</b><br>{html.escape(self._scatter.notes[chosen[0]]).replace(chr(10), '<br>')}"
                      "<br><i>Click another point for the layers × layers of the two, or this one again for its own.</i>")
            return
        measure = self._settled["measure"]  # type: ignore[index]
        names = " × ".join(self._scatter.labels[i] for i in chosen)

        def begin() -> None:
            self._say(f"<i>{html.escape(names)}: computing …</i>", unfinished=True)
            self._busy(True, "computing layers × layers …")

        self._worker.submit(lambda tick: (names, self._between(keys, measure, tick)), self._deliver_pair, before=begin)

    def _between(self, keys: list[Key], measure: str, progress: Tick) -> Comparison:
        sides = [Activations({key: self._xs[key] for key in self._xs if key._replace(layer="") == point._replace(layer="")}) for point in keys]
        if self._measures[measure].of == "outputs":
            sides = [side.where(layer=OUTPUT) for side in sides]
        return compare(self._measures[measure], *sides, on_undefined="mask", progress=progress)

    def _deliver_pair(self, made: tuple[str, Comparison] | None, error: BaseException | None) -> None:
        self._busy(False, "")
        if error is not None or made is None:
            self.errors.append(error)
            self._say(explain(error))
            self._detail_error = error
            return
        if not self._unfinished:  # the choice was taken back, or something else was asked for
            return
        names, table = made
        fill_matrix(self._pair, table)
        self._say(f"<b>{html.escape(names)}</b>, layers × layers", table=True)

    def _select(self) -> None:
        """How alike the points are that a line was drawn around."""
        shown, inside = self.result, list(self._scatter.selected)
        if not isinstance(shown, Embedding) or self._drawing or self._settled is None:
            return
        if not inside or max(inside) >= len(shown.points):
            self._say(HINT)
            return
        measure, layer = self._settled["measure"], self._settled["layer"]
        table = self._tables[measure, self._layer_of(measure, layer)][0]
        values, within, visible = table.values.to_numpy(float), np.isin(np.arange(len(shown.points)), inside), np.array(self._scatter.shown)
        others = ~np.eye(len(values), dtype=bool)
        parts = [("among themselves", values[np.ix_(within, within)][others[np.ix_(within, within)]]), ("with the rest", values[np.ix_(within, visible & ~within)].ravel())]
        words = ", ".join(f"{where} {part.mean():.3f}" for where, part in parts if part.size)
        more = "more" if table.kind == "similarity" else "less"
        names = listed([self._scatter.labels[i] for i in inside], 14)
        number = f"{len(inside)} point{'s' if len(inside) > 1 else ''}"
        self._say(f"<b>{number}</b>: {html.escape(names)}<br>mean {html.escape(measure)}" + (f" {words} (larger is {more} alike)" if words else ": there is nothing to compare"))

    # -- code --------------------------------------------------------------------------------------------------------------

    def _code_of(self, measure: str, layer: str, kind: str, colour: str, shape: str, epoch: int | None = None) -> str:
        layer = self._layer_of(measure, layer)
        name = name_of(self._given) or "activations"
        lines = ["import repsim_nb as rs"] + ([] if isinstance(self._given, Activations) else [f"{name} = rs.from_arrays({name})"])
        fields = dict(self._layers.get(layer, {"layer": OUTPUT})) | ({"step": self._last()} if layer == ALL and self._several else {})
        chosen = f"{name}.where({', '.join(f'{field}={value!r}' for field, value in fields.items())})" if fields else name
        said = repr(measure) if measure in measures.ALL else measure_said(self._measures[measure])
        without = self._tables[measure, layer][1] if (measure, layer) in self._tables else ()
        lines.append(f"table = rs.compare({said}, {chosen}{', on_undefined=' + repr('mask') if without else ''})")
        if without:
            lines += [f"kept = [label not in {without!r} for label in table.labels()[0]]", "table = table.take(kept, kept)"]
        lines.append(f"points = rs.embedding.tsne(table, seed={self._seed})" if kind == "tsne" else f"points = rs.embedding.mds(table, kind={kind!r}, seed={self._seed})")
        looks, known = [], ""
        given = name_of(self._attributes) if self._attributes is not None else None
        framed = isinstance(self._attributes, pd.DataFrame)
        for role, choice in (("colour", colour), ("shape", shape)):
            if not self._tells(choice, layer):
                continue
            if choice in self._known:
                known = given if given and framed else "known"
                looks.append(f"{role}={known}[{choice!r}]")
            else:
                looks.append(f"{role}={choice!r}")
        if known == "known":
            facts = f"{name}.facts" if self._attributes is None else given
            if facts:
                lines[0] = "import pandas as pd\n" + lines[0]
            lines.append(f"known = pd.DataFrame.from_dict({facts}, orient='index')" if facts else "# known: the attributes given to this explorer, a row a model")
        if layer == ALL or self._several:
            looks.append("path='model'")
        if epoch is not None and layer != ALL:
            looks.append(f"until={epoch}")
        return "\n".join([*lines, f"rs.plots.embedding({', '.join(['points', *looks])});"])
