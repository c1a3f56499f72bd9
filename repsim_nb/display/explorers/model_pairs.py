"""`model_pair`: any two available models, recorded when they are selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT, SOURCES, Model, available, is_model, load_model, pretrained, zoo_names
from repsim_nb.inputs.pooling import Pooling
from repsim_nb.inputs.recording import record, refuse_shared
from repsim_nb.inputs.store import Activations, Key, Store
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.support.progress import Tick

from .base import Explorer
from .code import get_or_make, name_of
from .layer_tables import LayerTableExplorer

if TYPE_CHECKING:
    from torch import Tensor


def model_pair(
    data: str | Dataset,
    models: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    measure: str | measures.Measure = "cka_debiased",
    a: str | None = None,
    b: str | None = None,
    pool: str | Callable[[Tensor], Tensor] | None = None,
    into: Store | str | Path | None = None,
) -> Explorer:
    """Explore the layers of two models, each recorded when it is first selected.

    Controls select both models and the measure. Click a cell for the details of that pair of layers.

    Parameters
    ----------
    data : str or Dataset
        The data set to record, or its name.
    models : sequence, or {name: str, Path, Module or Model}, optional
        The models to choose from, each as for `rs.load_model`. None takes all available models that accept this data:
        those of the zoo, and the pretrained models that are installed.
    measure : str or Measure
        The measure that is selected first.
    a, b : str, optional
        The models of the rows and of the columns that are selected first. None takes the first and the second model; if
        `models` is None, too, the first two of the zoo that were trained on this data.
    pool : str or function, optional
        The pooling of activations; see `rs.record`. None is "flatten" for models of the zoo and "mean" for others,
        whose layers are wide.
    into : Store, str or Path, optional
        A store or its folder, which keeps the recordings. None keeps them in memory.

    Returns
    -------
    Explorer
        The explorer. Its `result` is a Comparison.

    Raises
    ------
    TypeError
        If `data` is neither a Dataset nor the name of one, or a model is not a model.
    ValueError
        If there is no model, two models have the same name, or a model, a pool or a choice is unknown.

    See Also
    --------
    comparison : Shows activations that are recorded already.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> data = rs.load_dataset("mnist", n=20)
    >>> explorer = rs.explorers.model_pair(data, ["zoo:mnist-mlp-0", "zoo:mnist-mlp-1"]).wait()
    >>> explorer.spec.title
    'cka_debiased: mnist-mlp-0 × mnist-mlp-1'
    """
    dataset = load_dataset(data) if isinstance(data, str) else data
    if not isinstance(dataset, Dataset):
        raise TypeError(
            "The explorer takes a Dataset or the name of one, such as rs.Dataset('mine', inputs); got"
            f" {type(dataset).__name__}."
        )
    everything = models is None
    if models is None:
        models = available(dataset.inputs)
        if not models:
            raise ValueError(
                f"No installed model takes the inputs of '{dataset.name}'. Pass models=[...], or install four more with"
                " 'make pretrained'."
            )
    if isinstance(models, (str, Path)) or is_model(models):
        models = [models]
    if not len(models):
        raise ValueError(
            "model_pair needs at least one model to choose from; got none. Leave models out for all that are installed."
        )
    _check_specs(models.values() if isinstance(models, Mapping) else models)
    names = list(models) if isinstance(models, Mapping) else [_model_name(m) for m in models]
    if len(set(names)) < len(names):
        raise ValueError(
            f"models to choose from need different names; got {names}. Name them: load_model(..., name=...), or"
            " {'one': model, 'two': model}."
        )
    if pool is not None:
        Pooling(pool)
    specs = models if isinstance(models, Mapping) else dict(zip(names, models, strict=True))
    if everything:  # open with models of this data
        own = [name for name in names if name.startswith(f"{dataset.name.partition('/')[0]}-") and name not in (a, b)]
        a, b = a or next(iter(own), None), b or next(iter(own[0 if a else 1 :]), None)
    refuse_shared([load_model(load_model(spec), name=name) for name, spec in specs.items() if is_model(spec)])
    arguments = {"data": data, "models": models, "into": into}
    store = Store(into) if isinstance(into, (str, Path)) else into
    return _ModelPairExplorer(dataset, specs, arguments, pool, store, measure, a, b)


def _check_specs(specs: Iterable[Any]) -> None:
    """Check all that can be checked without loading a model; load_model raises if a model is not available."""
    packages = pretrained()
    known = {"zoo": zoo_names(), "pretrained": list(packages.index[packages.installed])}
    for spec in specs:
        source, _, name = spec.partition(":") if isinstance(spec, str) else ("", "", "")
        there = (
            name in known.get(source, [name])
            if source in SOURCES
            else (isinstance(spec, (str, Path)) and Path(spec).is_file()) or (isinstance(spec, Path) and spec.is_dir())
        )
        if not there and not is_model(spec):
            load_model(spec)


def _model_name(model: Any) -> str:
    """Return the name of a model in a drop-down: for a text, the part after the source."""
    if isinstance(model, (str, Path)):
        return str(model).partition(":")[2] or str(model)
    return model.name if isinstance(model, Model) else type(model).__name__


class _ModelPairExplorer(LayerTableExplorer):
    def __init__(
        self,
        dataset: Dataset,
        specs: Mapping[str, Any],
        arguments: Mapping[str, Any],
        pool: str | Callable[[Tensor], Tensor] | None,
        into: Store | None,
        measure: str | measures.Measure,
        a: str | None,
        b: str | None,
    ) -> None:
        self._specs, self._arguments, self._pool, self._into = specs, arguments, pool, into
        self._activations: dict[str, Activations] = {}
        groups = {name: Key(name, "", dataset.name, 0, Pooling(self._pool_of(name)).name) for name in specs}
        super().__init__(Activations({}), groups, dataset, measure, a, b)

    def _pool_of(self, name: str) -> str | Callable[[Tensor], Tensor]:
        return self._pool or ("flatten" if str(self._specs[name]).startswith("zoo:") else "mean")

    def _side(self, name: str) -> Activations:
        return self._activations[name]

    def _table_of(self, a: str, b: str, measure: str, progress: Tick) -> Comparison:
        for name in (a, b):
            self._xs = self._xs | self._record(name, progress)
        if self._measures[measure].compares != "outputs":
            return super()._table_of(a, b, measure, progress)
        outputs = [self._activations[name].where(layer=OUTPUT) for name in dict.fromkeys((a, b))]
        return compare(self._measures[measure], outputs[0] | outputs[-1], on_undefined="mask", progress=progress)

    def _record(self, name: str, progress: Tick) -> Activations:
        """Record a model under the name in its drop-down, once."""

        def make() -> Activations:
            model, pool = load_model(load_model(self._specs[name]), name=name), self._pool_of(name)
            return record(model, self._dataset, into=self._into, pool=pool, progress=progress)

        return get_or_make(self._activations, name, make)

    def _disable_idle(self, controls: Mapping[str, Any]) -> None:
        """Disable no model: both have an effect with every measure."""
        self._list_reasons(controls)

    def _code_of(self, a: str, b: str, measure: str, second: str, together: str, tested: bool) -> str:
        notes: list[str] = []  # on objects without a name in the notebook

        def name_or_note(thing: Any, otherwise: str, what: str) -> str:
            found = name_of(thing)
            if found is None:
                notes.append(f"# {otherwise}: {what}, as given to this explorer")
            return found or otherwise

        data = self._arguments["data"]
        data = repr(data) if isinstance(data, str) else name_or_note(data, "data", f"the Dataset '{data.name}'")
        into = self._arguments["into"]
        if into is not None:
            store = repr(str(into)) if isinstance(into, (str, Path)) else name_of(into)
            into = f", into={store or f'rs.Store({str(into.path)!r})'}"

        def record_code(side: str, name: str) -> str:
            spec, pool = self._specs[name], self._pool_of(name)
            model = (
                repr(str(spec))
                if isinstance(spec, (str, Path))
                else name_of(spec)
                or self._item_code(name)
                or name_or_note(spec, f"model_{side}", f"the {type(spec).__name__} '{name}'")
            )
            if not (isinstance(spec, Model) and spec.name == name) and not (
                isinstance(spec, str) and spec.startswith(("zoo:", "pretrained:")) and _model_name(spec) == name
            ):
                model = f"rs.load_model({model}, name={name!r})"
            pooled = (
                ""
                if pool == "flatten"
                else f", pool={repr(pool) if isinstance(pool, str) else name_or_note(pool, 'pool', 'the function')}"
            )
            return f"{side} = rs.record({model}, {data}{pooled}{into or ''})"

        sides = [record_code("a", a), record_code("b", b)]
        sides_code = (
            f"a.where(layer={OUTPUT!r}) | b.where(layer={OUTPUT!r})"
            if self._measures[measure].compares == "outputs"
            else "a, b"
        )
        drawn = self._draw_code(sides_code, measure, second, together, tested and self._can_test(a, b, measure, second))
        return "\n".join(["import repsim_nb as rs", *dict.fromkeys(notes), *sides, *drawn])

    def _item_code(self, name: str) -> str | None:
        """Return code for a model in a list or dict that has a name in the notebook; None if it has none."""
        models = name_of(self._arguments["models"])
        return (
            models and f"{models}[{name!r}]"
            if isinstance(self._arguments["models"], Mapping)
            else models and f"{models}[{list(self._specs).index(name)}]"
        )
