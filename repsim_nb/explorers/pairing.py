"""The pair explorer: any two networks that can be had here, recorded when they are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import measures
from ..comparison import Comparison, compare
from ..datasets import Dataset, load_dataset
from ..models import OUTPUT, Model, available, load_model
from ..progress import Tick
from ..recording import record
from ..store import Activations, Key, Store
from .base import Explorer
from .comparing import Comparing, name_of


def pair(
    data: str | Dataset,
    models: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    measure: str | measures.Measure = "cka_debiased",
    a: str | None = None,
    b: str | None = None,
    pool: str | None = None,
    into: Store | str | Path | None = None,
) -> Explorer:
    """Choose two networks, and see layers × layers: each is recorded on the data when it is first chosen, and found again after.

    data: a Dataset or the name of one.  models: specs or Models, or {name: spec or Model}; None is every network that can be had here and
    takes such data: the zoo, and the pretrained networks that are installed.
    measure, a, b: the first choice.  pool: as for `record`; None is "flatten" for networks of the zoo, "mean" for others, whose layers are wide.
    into: a store, or its folder: then a recording is found again by the next notebook too.
    """
    dataset = load_dataset(data) if isinstance(data, str) else data
    if not isinstance(dataset, Dataset):
        raise TypeError(f"the explorer takes a Dataset or the name of one, rs.Dataset('mine', inputs); got {type(dataset).__name__}")
    if models is None:
        models = available(dataset.inputs)
        if not models:
            raise ValueError(f"no network that can be had here takes the inputs of '{dataset.name}': name some, models=[...]; 'make pretrained' installs four more")
    specs = dict(models) if isinstance(models, Mapping) else {_called(m): m for m in models}
    return _Pair(dataset, specs, data, pool, Store(into) if isinstance(into, (str, Path)) else into, measure, a, b)


def _called(model: Any) -> str:
    """The name of a network in a drop-down: of a spec what follows the source."""
    return model.partition(":")[2] or model if isinstance(model, str) else getattr(model, "name", type(model).__name__)


class _Pair(Comparing):
    def __init__(self, dataset: Dataset, specs: Mapping[str, Any], given: str | Dataset, pool: str | None, into: Store | None, measure: str | measures.Measure, a: str | None, b: str | None) -> None:
        self._specs, self._given, self._pool, self._into = specs, given, pool, into
        self._recorded: dict[str, Activations] = {}
        groups = {name: Key(name, "", dataset.name, 0, self._pool_of(name)) for name in specs}
        super().__init__(Activations({}), groups, dataset, measure, a, b)

    def _pool_of(self, name: str) -> str:
        return self._pool or ("flatten" if str(self._specs[name]).startswith("zoo:") else "mean")

    def _side(self, name: str) -> Activations:
        return self._recorded[name]

    def _compared(self, a: str, b: str, measure: str, progress: Tick) -> Comparison:
        for name in (a, b):
            if name not in self._recorded:
                self._recorded[name] = record(self._named(name), self._dataset, into=self._into, pool=self._pool_of(name), progress=progress)
                self._xs = self._xs | self._recorded[name]
        if self._measures[measure].of != "outputs":
            return super()._compared(a, b, measure, progress)
        outputs = [self._recorded[name].where(layer=OUTPUT) for name in dict.fromkeys((a, b))]
        return compare(self._measures[measure], outputs[0] | outputs[-1], on_undefined="mask", progress=progress)

    def _named(self, name: str) -> Model:
        """The network under the name that its drop-down has."""
        return load_model(load_model(self._specs[name]), name=name)

    def _note_functional(self, controls: Mapping[str, Any]) -> None:
        """Both networks count, whatever the measure."""

    def _code_of(self, a: str, b: str, measure: str) -> str:
        data = repr(self._given) if isinstance(self._given, str) else name_of(self._given) or "data"
        sides = [f"{side} = rs.record({self._spec_said(name)}, {data}{'' if self._pool_of(name) == 'flatten' else f', pool={self._pool_of(name)!r}'})" for side, name in (("a", a), ("b", b))]
        given = "a, b"
        if self._measures[measure].of == "outputs":
            given = f"a.where(layer={OUTPUT!r}) | b.where(layer={OUTPUT!r})"
        return "\n".join(["import repsim_nb as rs", *sides, f"rs.plots.heatmap(rs.compare({self._said(measure)}, {given}, on_undefined='mask'));"])

    def _spec_said(self, name: str) -> str:
        spec = self._specs[name]
        return repr(spec) if isinstance(spec, str) else name_of(spec) or name
