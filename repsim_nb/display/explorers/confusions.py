"""`dataset_bias`: a probe that predicts the model and data set of features, and the images that it confuses."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.display import plots
from repsim_nb.display.plots.axes import blank_figure
from repsim_nb.display.plots.images import dataset_images
from repsim_nb.display.specs import spec
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.datasets.sources import load_named
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Activations
from repsim_nb.results import probes
from repsim_nb.results.probes import DatasetProbe
from repsim_nb.support.errors import check_name, join_names
from repsim_nb.support.progress import Tick
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_integer

from .base import Drawing, Explorer
from .code import activations_code, get_or_make, where_code
from .detail import Detail, DetailExplorer
from .inputs import to_activations
from .panel import WIDE

SHOWN = 12  # images for a cell
SCALINGS = {"pooled": "pooled", "each set by itself": "per_set", "none": None}
PROBES = {"linear SVM": "linear", "SVM with a Gaussian kernel": "rbf"}
GROUPS = {"data set": "dataset", "model": "model"}


def dataset_bias(
    xs: Mapping[Any, Any],
    *,
    datasets: Mapping[str, Dataset] | Iterable[Dataset] | None = None,
    layer: str | None = None,
    scaling: str | None = "pooled",
    probe: str = "linear",
    group: str = "dataset",
    n: int | None = 300,
    seed: int = 0,
) -> Explorer:
    """Explore whether a probe can predict the model and the data set of features.

    Controls select models, data sets, layer, scaling and probe. Click a cell of the confusion matrix for the images
    that were confused.

    Parameters
    ----------
    xs : {Key: array (n, ...)}
        Activations of several models, several data sets or both: `rs.record(models, a) | rs.record(models, b)`, or a
        Store. Row i of a data set is image i for every model.
    datasets : {name: Dataset} or iterable of Dataset, optional
        The data sets that were recorded, to show their images. None loads those with a name that `rs.load_dataset`
        accepts.
    layer : str, optional
        The layer that is selected first. None takes the last layer before the output that has the same width in all
        sets.
    scaling : "pooled", "per_set" or None
        The scaling of features that is selected first; see `probes.dataset_bias`.
    probe : "linear" or "rbf"
        The kernel of the support vector machine that is selected first; see `probes.dataset_bias`.
    group : "dataset" or "model"
        How the rows of the confusion matrix are grouped at first.
    n : int, optional
        The largest number of images of each data set, at least 4; None takes all.
    seed : int
        The seed of the random choice of images.

    Returns
    -------
    Explorer
        The explorer. Its `result` is a DatasetProbe.

    Raises
    ------
    TypeError
        If `xs` is not a mapping, or an item of `datasets` is not a Dataset.
    ValueError
        If there is a single set, there are several steps or pools, no layer was recorded for all sets, a choice is
        unknown, or a data set does not fit its recording.

    Notes
    -----
    A set is one model on one data set. The probe predicts the set of each held-out image from its features.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({rs.Key("m", "fc", name): rng.normal(size=(40, 3)) for name in ("one", "two")})
    >>> explorer = rs.explorers.dataset_bias(x).wait()
    >>> explorer.spec.row_labels
    ('one', 'two')
    """
    found = to_activations(xs)
    for field in ("step", "pool"):
        different = list(dict.fromkeys(getattr(key, field) for key in found))
        if len(different) > 1:
            raise ValueError(
                f"A set is one model on one data set; these recordings have several {field}s:"
                f" {join_names(different)}. Choose one: x.where({field}={different[-1]!r})."
            )
    if n is not None:
        check_integer(n, "n", minimum=4, hint="or None for all images")
    check_seed(seed)
    sets = list(dict.fromkeys((key.model, key.dataset) for key in found))
    if len(sets) < 2:
        raise ValueError(
            "dataset_bias needs at least two sets (a model on a data set) to distinguish; got"
            f" {join_names(' on '.join(filter(None, one)) for one in sets) or 'none'}. Record several models, or one"
            " on several data sets; arrays of your own need both in their labels, {rs.Key(model, layer, dataset):"
            " array}."
        )
    there = {(key.model, key.layer, key.dataset) for key in found}
    layers = [
        name
        for name in dict.fromkeys(key.layer for key in found)
        if all((model, name, data) in there for model, data in sets)
    ]
    if not layers:
        raise ValueError(
            "No layer was recorded for all of these models on all of these data sets; there are"
            f" {join_names(dict.fromkeys(key.layer for key in found))}."
        )
    before = [name for name in reversed(layers) if name != OUTPUT]
    usual = next(
        (
            name
            for name in [*before, *layers[-1:]]
            if len({math.prod(found[key].shape[1:]) for key in found if key.layer == name}) == 1
        ),
        [*before, *layers][0],
    )
    chosen = {
        "layer": check_name("layer", usual if layer is None else layer, layers),
        "scaling": check_name("scaling", scaling, SCALINGS.values()),
        "probe": check_name("probe", probe, PROBES.values()),
        "group": check_name("group", group, GROUPS.values()),
    }
    return _DatasetBiasExplorer(xs, found, layers, _datasets_by_name(datasets, found), chosen, n, seed)


def _datasets_by_name(datasets: Any, xs: Activations) -> dict[str, Dataset]:
    """Return the data sets whose images can be shown, by the name in the keys."""
    datasets = [datasets] if isinstance(datasets, Dataset) else datasets
    values = list(datasets.values()) if isinstance(datasets, Mapping) else list(datasets or ())
    for one in values:
        if not isinstance(one, Dataset):
            raise TypeError(f"datasets must be {{name: Dataset}} or a list of Datasets; got {type(one).__name__}.")
    found = dict(datasets) if isinstance(datasets, Mapping) else {one.name: one for one in values}
    names = {key.dataset: key for key in xs}
    if strange := [name for name in found if name not in names]:
        raise ValueError(
            f"datasets must be those that were recorded; there are no activations on {join_names(strange, 3)}, only on"
            f" {join_names(names)}."
        )
    # one array of each: a store opens a file for every array
    sizes = {name: len(xs[key]) for name, key in names.items()}
    for name, one in found.items():
        if len(one) != sizes[name]:
            raise ValueError(
                f"Row i of a recording must be image i of its data set; '{name}' has {len(one)} images for"
                f" {sizes[name]} rows."
            )
    for name in names:
        one = load_named(name) if name not in found else None
        if one is not None and len(one) == sizes[name]:  # otherwise it is another set with that name, or a part of it
            found[name] = one
    return found


class _DatasetBiasExplorer(DetailExplorer):
    hint = "Click a cell for the images of the row's set that the probe assigned to the column's set."

    def __init__(
        self,
        source: Mapping[Any, Any],
        xs: Activations,
        layers: list[str],
        datasets: Mapping[str, Dataset],
        chosen: Mapping[str, Any],
        n: int | None,
        seed: int,
    ) -> None:
        self._source, self._xs, self._datasets, self._n, self._seed = source, xs, datasets, n, seed
        self._probes: dict[tuple[Any, ...], DatasetProbe] = {}
        models, data = (list(dict.fromkeys(getattr(key, field) for key in xs)) for field in ("model", "dataset"))

        def several(names: list[str], text: str) -> widgets.SelectMultiple:
            return widgets.SelectMultiple(
                options=names,
                value=names,
                rows=min(len(names) + 1, 9),
                description=text,
                tooltip="Hold Ctrl or Shift to choose several",
                **WIDE,
            )

        def one(role: str, options: Any) -> widgets.Dropdown:
            return widgets.Dropdown(
                options=options, value=chosen[role], description="group rows by" if role == "group" else role, **WIDE
            )

        controls = {
            "models": several(models, "models"),
            "datasets": several(data, "data sets"),
            "layer": one("layer", layers),
            "scaling": one("scaling", list(SCALINGS.items())),
            "probe": one("probe", list(PROBES.items())),
            "group": one("group", list(GROUPS.items())),
        }
        super().__init__(self._run_probe, controls, self._code_of)
        self._matrix.most_rows = len({(key.model, key.dataset) for key in xs})
        several_hint = widgets.HTML("<i>hold Ctrl (or ⌘) to choose several</i>")
        row = list(self._control_row.children)
        self._control_row.children = (*row[:2], several_hint, *row[2:])
        self._answer(self._matrix, "presses", lambda: self._choose(*self._matrix.chosen))

    def _run_probe(
        self,
        models: tuple[str, ...],
        datasets: tuple[str, ...],
        layer: str,
        scaling: str | None,
        probe: str,
        group: str,
        progress: Tick,
    ) -> DatasetProbe:
        if not models or not datasets:
            raise ValueError(
                f"Choose at least one {'model' if not models else 'data set'}, and two sets in total. Hold Ctrl or"
                " Shift to choose several."
            )

        def make() -> DatasetProbe:
            sets = self._xs.where(model=list(models), dataset=list(datasets), layer=layer)
            return probes.dataset_bias(
                sets, n=self._n, scaling=scaling, probe=probe, seed=self._seed, progress=progress
            )

        return get_or_make(self._probes, (models, datasets, layer, scaling, probe), make).order_by(group)

    def choose(self, row: str, column: str) -> None:
        """Show the images of a cell, like a click on it; row, column: its labels in the picture."""
        self.wait()
        labels = list(self.result.labels())
        self._matrix.press([labels.index(check_name("set", one, labels)) for one in (row, column)])

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        super()._deliver(settings, drawn, error)
        if error is not None:
            self._say("")
        elif self._matrix.chosen:  # the same cell of another probe
            self._choose(*self._matrix.chosen)
        else:
            self._say(f"<i>{self.hint}</i>")

    def _choose(self, row: int, column: int) -> None:
        shown = self.result
        if not isinstance(shown, DatasetProbe) or max(row, column) >= len(shown.confusion):
            return
        if self._is_being_replaced():
            return
        self._ask(
            "<i>looking for the images …</i>",
            lambda tick: self._detail_of(shown, row, column),
            "looking for the images …",
        )

    def _detail_of(self, shown: DatasetProbe, row: int, column: int) -> Detail:
        """Return the text on a cell, and its first images."""
        labels, name = shown.labels(), shown.confusion.index.get_level_values("dataset")[row]
        ids, many = shown.confused_samples(row, column), int((shown.predictions["true"] == row).sum())
        what = "predicted correctly" if row == column else f"predicted as <b>{html.escape(labels[column])}</b>"
        text = f"<b>{html.escape(labels[row])}</b> {what}: {len(ids) or 'none'} of {many} held-out images"
        if not len(ids):
            return text + ".", None
        dataset = self._datasets.get(name)
        if dataset is None:
            return (
                (
                    f"{text}, rows {join_names(ids.tolist(), SHOWN)}. To see them pass"
                    f" datasets={{{html.escape(repr(name))}: its Dataset}} to the explorer."
                ),
                None,
            )
        classes = (
            [str(dataset.classes[int(dataset.targets[i])]) for i in ids]
            if dataset.targets is not None and len(dataset.classes)
            else []
        )
        if classes:
            text += f" of {html.escape(name)}; by class: " + ", ".join(
                f"{html.escape(one)} ({count})" for one, count in Counter(classes).most_common()
            )
        first = dataset.take(ids[:SHOWN], "shown")
        more = f" (the first {SHOWN})" if len(ids) > SHOWN else ""
        images = dataset_images(first)
        if images is None:
            texts = (
                first.inputs
                if isinstance(first.inputs, list) and all(isinstance(one, str) for one in first.inputs)
                else [f"row {i}" for i in ids[:SHOWN]]
            )
            return (
                (
                    f"{text}{more}<ul style='margin:4px"
                    f" 0'>{''.join(f'<li>{html.escape(str(text))}</li>' for text in texts)}</ul>"
                ),
                None,
            )
        figure = blank_figure()
        plots.pictures(images, classes[: len(images)], columns=min(len(images), SHOWN // 2), figure=figure)
        return text + more, spec(figure, dpi=90)

    def _code_of(self, **chosen: Any) -> str:
        name, lines = activations_code(self._source)
        fields = {
            field: list(chosen[control])
            for field, control in (("model", "models"), ("dataset", "datasets"))
            if set(chosen[control]) != {getattr(key, field) for key in self._xs}
        }
        lines += [
            f"sets = {where_code(name, {**fields, 'layer': chosen['layer']})}",
            f"bias = rs.probes.dataset_bias(sets, n={self._n}, scaling={chosen['scaling']!r},"
            f" probe={chosen['probe']!r}, seed={self._seed})",
            f"rs.plots.confusion(bias, by={chosen['group']!r});",
        ]
        return "\n".join(lines)
