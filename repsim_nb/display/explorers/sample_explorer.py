"""`samples`: two maps of the same samples, and those that two layers treat differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import pandas as pd

from repsim_nb import measures
from repsim_nb.display.specs import FigureSpec, MapsSpec
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Activations, Key
from repsim_nb.measures import MutualKNN
from repsim_nb.results.inference import SampleDifferences
from repsim_nb.support.errors import check_name, format_label
from repsim_nb.support.labels import short_labels
from repsim_nb.support.progress import Tick
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_integer

from .base import Drawing, Explorer
from .code import activations_code, get_or_make, measure_code, name_of
from .inputs import fits, to_activations, to_dataset
from .located_differences import LocatedDifferences, Options, locate
from .panel import WIDE
from .sample_panel import SamplePanel

KINDS = {"principal components": "pca", "t-SNE": "tsne"}
COLORS = ("class", "displacement", "kept")


def samples(  # noqa: PLR0913  # the options are keywords and independent
    xs: Mapping[Any, Any],
    dataset: str | Dataset | None = None,
    *,
    a: str | None = None,
    b: str | None = None,
    kind: str = "pca",
    color: str | None = None,
    k: int = 10,
    metric: str = "cosine",
    measure: str | measures.Measure | None = "cka_debiased",
    n: int | None = 2000,
    seed: int = 0,
) -> Explorer:
    """Explore which samples two layers treat differently.

    Two linked maps show the same samples in both layers: point at a sample in one map, and see it in the other, with
    its nearest neighbours on each side. A list has the samples that differ most first, as images or sentences. Click
    one for its neighbours that are kept, lost and gained.

    Parameters
    ----------
    xs : {Key or str: array (n, ...)}
        Activations on the same samples: what `rs.record` returns, a Store, or {"model/layer": array}.
    dataset : str or Dataset, optional
        The data set that was recorded, or its name, for images, sentences and classes.
    a, b : str, optional
        The layers that are selected first, as "model/layer". None takes the last layer before the output of the first
        model, and the same layer of the next model (or the layer before, if there is one model).
    kind : {"pca", "tsne"}
        The kind of map that is selected first: principal components, which are computed at once, or t-SNE.
    color : {"class", "displacement", "kept"}, optional
        The color of points that is selected first. None takes the class if there are at most 12 classes.
    k : int
        The number of neighbours of each sample.
    metric : {"cosine", "euclidean"}
        How neighbours are found.
    measure : str or Measure, optional
        The measure of the influence, as in `inference.locate_differences`.
    n : int, optional
        The largest number of samples; of more, evenly spaced ones are used. None uses all.
    seed : int
        The seed of t-SNE.

    Returns
    -------
    Explorer
        The explorer. Its `result` is a SampleDifferences. The attribute `panel` has the maps and the list.

    Raises
    ------
    TypeError
        If `xs` is not a mapping, or `dataset` is not a data set.
    ValueError
        If there are no activations, `dataset` fits none of them, or a choice is unknown.

    See Also
    --------
    repsim_nb.inference.locate_differences : The same numbers as a table.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/fc": rng.normal(size=(30, 5)) for model in "ab"})
    >>> explorer = rs.explorers.samples(x).wait()
    >>> explorer.result.n, len(explorer.spec.maps)
    (30, 2)
    """
    found = to_activations(xs)
    dataset = to_dataset(dataset, found)
    if n is not None:
        check_integer(n, "n", minimum=k + 2, hint="or None for all samples")
    check_seed(seed)
    check_name("kind of map", kind, KINDS.values())
    if color is not None:
        check_name("color", color, COLORS)
    MutualKNN(k=k, metric=metric)  # type: ignore[arg-type]  # it checks both
    chosen = None if measure is None else measures.get(measure)
    options = Options(k, metric, chosen, most=n or max(len(found[key]) for key in found), seed=seed)
    return SamplesExplorer(xs, found, dataset, options, {"a": a, "b": b, "kind": kind, "color": color})


class SamplesExplorer(Explorer):
    """Two layers by their drop-downs, two linked maps of their samples, and the samples that differ most.

    Attributes
    ----------
    panel : SamplePanel
        The maps, the list of samples, and the classes of neighbours.
    """

    def __init__(
        self,
        source: Mapping[Any, Any],
        xs: Activations,
        dataset: Dataset | None,
        options: Options,
        first: Mapping[str, str | None],
    ) -> None:
        self._source, self._xs, self._dataset, self._options = source, xs, dataset, options
        keys = list(xs)
        names = [format_label(key) for key in keys]
        if len(set(names)) < len(names):
            names = list(short_labels(pd.MultiIndex.from_tuples(keys, names=Key._fields)))
        self._keys = dict(zip(names, keys, strict=True))
        self._located: dict[tuple[str, str], LocatedDifferences] = {}
        self.panel = SamplePanel(lambda call: self._worker.call_locked(call))
        super().__init__(self._locate, self._controls(first), self._code_of)
        self._views[MapsSpec] = self.panel.maps
        self.panel.maps.layout.grid_area = "1 / 1 / 2 / 2"
        self.children = (*self.children, self.panel.below)

    def _controls(self, first: Mapping[str, str | None]) -> dict[str, widgets.Widget]:
        usual, names = self._usual(), list(self._keys)
        a, b = (
            check_name("layer", first[side], names) if first[side] is not None else other
            for side, other in zip("ab", usual, strict=True)
        )
        colors = [name for name in COLORS if name != "class" or self._has_classes()]
        color = first["color"] if first["color"] in colors else colors[0]
        return {
            "a": widgets.Dropdown(options=names, value=a, description="layer A", **WIDE),
            "b": widgets.Dropdown(options=names, value=b, description="layer B", **WIDE),
            "kind": widgets.Dropdown(options=list(KINDS.items()), value=first["kind"], description="map", **WIDE),
            "color": widgets.Dropdown(options=colors, value=color, description="color", **WIDE),
        }

    def _has_classes(self) -> bool:
        return self._dataset is not None and self._dataset.targets is not None

    def _usual(self) -> tuple[str, str]:
        """Return the pair of layers that is selected first."""
        keys = {name: key._replace(layer="") for name, key in self._keys.items()}  # of all layers of a recording
        layers = {name: key.layer for name, key in self._keys.items()}

        def hidden(names: list[str]) -> list[str]:
            return [name for name in names if layers[name] != OUTPUT] or names

        first = keys[next(iter(keys))]
        own = hidden([name for name in keys if keys[name] == first])
        others = [name for name in keys if keys[name] != first and keys[name].dataset == first.dataset]
        same = [name for name in others if layers[name] == layers[own[-1]]]
        if same:
            return own[-1], same[0]
        if others:
            others = hidden(others)
            return own[-1], [name for name in others if keys[name] == keys[others[0]]][-1]
        return own[-1], own[-2:][0]

    # -- drawing

    def _locate(self, a: str, b: str, kind: str, color: str, progress: Tick) -> SampleDifferences:
        def make() -> LocatedDifferences:
            keys = self._keys[a], self._keys[b]
            x, y = self._xs[keys[0]], self._xs[keys[1]]
            known = self._dataset
            if known is not None and not all(fits(known, key, side) for key, side in zip(keys, (x, y), strict=True)):
                known = None
            return locate(x, y, (a, b), known, self._options, progress)

        located = get_or_make(self._located, (a, b), make)
        located.maps(kind, color)  # computed here, in the background
        return located.found

    def _spec_of(self, result: SampleDifferences, values: Mapping[str, Any]) -> FigureSpec:
        return self._located[values["a"], values["b"]].maps(values["kind"], values["color"])

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        super()._deliver(settings, drawn, error)
        self.panel.below.layout.display = "none" if error is not None else ""
        if error is None:
            self.panel.show(self._located[settings["a"], settings["b"]], self.spec)

    def choose(self, sample: Any) -> None:
        """Show a sample with its neighbours, like a click on it; sample: its id, or its row if there are no ids."""
        self.wait()
        index = self.result.table.index
        self.panel.choose(int(index.get_loc(check_name("sample", sample, index))))

    @property
    def listed(self) -> pd.DataFrame:
        """The samples of the list, as rows of `result.table`."""
        return self.result.table.iloc[self.panel.listed]

    @property
    def selected(self) -> pd.DataFrame:
        """The sample that was clicked, and those inside the line drawn around points, as rows of `result.table`."""
        view = self.panel.maps.views[0]
        rows = sorted({*view.selected, *view.chosen})
        known = isinstance(self.result, SampleDifferences) and len(view.points) == self.result.n
        return self.result.table.iloc[rows] if known else pd.DataFrame()

    # -- code

    def _code_of(self, a: str, b: str, kind: str, color: str) -> str:
        name, lines = activations_code(self._source)
        options = self._options
        usual = Options()
        values = {"k": options.k, "metric": options.metric}
        arguments = [f"{key}={value!r}" for key, value in values.items() if value != getattr(usual, key)]
        if options.measure != measures.get("cka_debiased"):
            measure = options.measure and measure_code(measures.get(options.measure))
            arguments.append(f"measure={measure}")
        data = ""
        if self._dataset is not None:
            known = name_of(self._dataset)
            data = known or "data"
            if known is None:
                lines.append(f"# data: the Dataset '{self._dataset.name}', as given to this explorer")
            if self._has_classes():
                arguments.append(f"targets={data}.targets, classes={data}.classes")
        sides = [f"{name}[{self._key_code(side)}]" for side in (a, b)]
        if a != b:
            arguments.append(f"names=({a!r}, {b!r})")
        lines.append(f"found = rs.inference.locate_differences({', '.join([*sides, *arguments])})")
        lines.append("found.top(20)")
        lines.append(f"rs.plots.neighbours({data}, found);" if data else "rs.plots.differences(found);")
        return "\n".join(lines)

    def _key_code(self, label: str) -> str:
        key = self._keys[label]
        alone = [format_label(one) for one in self._keys.values()].count(format_label(key)) == 1
        return repr(format_label(key)) if alone else f"rs.{key!r}"
