"""`comparison`: the layers of one recorded model against those of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Key
from repsim_nb.support.labels import short_labels

from .base import Explorer
from .code import activations_code, where_code
from .inputs import to_activations, to_dataset
from .layer_tables import LayerTableExplorer


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
    dataset = to_dataset(dataset, found)
    groups = list(dict.fromkeys(key._replace(layer="") for key in found))
    names = (
        short_labels(pd.MultiIndex.from_tuples(groups, names=Key._fields))
        if len({g.model for g in groups}) < len(groups)
        else tuple(g.model for g in groups)
    )
    return _RecordedExplorer(xs, found, dict(zip(names, groups, strict=True)), dataset, measure, a, b)


class _RecordedExplorer(LayerTableExplorer):
    """The explorer of activations that are recorded already."""

    def __init__(self, source: Mapping[Any, Any], *options: Any) -> None:
        self._source = source
        super().__init__(*options)

    def _code_of(self, a: str, b: str, measure: str, second: str, together: str, tested: bool) -> str:
        name, lines = activations_code(self._source)
        if self._measures[measure].compares == "outputs":
            several = len({group.dataset for group in self._groups.values()}) > 1
            of_data = {"dataset": self._groups[a].dataset} if several else {}
            lines.append(f"outputs = {where_code(name, {'layer': OUTPUT, **of_data})}")
            sides = "outputs"
        else:
            lines += [f"{side} = {where_code(name, self._fields_of(group))}" for side, group in (("a", a), ("b", b))]
            sides = "a, b"
        tested = tested and self._can_test(a, b, measure, second)
        return "\n".join([*lines, *self._draw_code(sides, measure, second, together, tested)])

    def _fields_of(self, name: str) -> dict[str, Any]:
        group, groups = self._groups[name], self._groups.values()
        varying = [f for f in Key._fields if f != "layer" and len({getattr(g, f) for g in groups}) > 1]
        return {field: getattr(group, field) for field in varying or ["model"]}
