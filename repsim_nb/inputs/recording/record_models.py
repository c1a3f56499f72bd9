"""`record`: one pass over the data, many layers, in memory or into a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model, load_model
from repsim_nb.inputs.pooling import Pooling
from repsim_nb.inputs.store import Activations, Key, Store, check_step, merge_facts
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer
from repsim_nb.support.workers import open_workers

from .arguments import refuse_shared, refuse_swapped
from .recorder import Recorder
from .run import to_dataset, warn_left_out


def record(  # noqa: PLR0913
    model: Model | nn.Module | str | Sequence[Model | nn.Module | str],
    data: Dataset | Any,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    into: Store | str | Path | None = None,
    pool: str | Callable[..., Tensor] = "flatten",
    axis: int | Mapping[str, int] | None = None,
    step: int | str | Sequence[int | str] = 0,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    executor: Executor | None = None,
    progress: bool | Tick = True,
) -> Activations:
    """Run data through models and return the activations of their layers.

    Row i of each recorded layer is what the model computes for sample i alone, whatever the batch. A few samples are
    tried first, alone and in batches; a layer for which this does not hold is left out or refused, with the reason.

    Parameters
    ----------
    model : Model, nn.Module, str, or a list of them
        A model, a module, or a name as `rs.load_model` takes it, such as "zoo:mnist-cnn-0".
    data : Dataset, str, or inputs
        A Dataset, the name of one, or inputs: an array (n, ...), a list of str, a folder of images, a torch Dataset, a
        DataLoader that does not shuffle, or a generator of batches.
    layers : str, int, or a list of them, optional
        Names, patterns ("blocks.*.mlp"), "auto" (one layer for each block), or numbers among the default layers (-2 is
        the layer before the output). None means the default layers, `model.layers`. See Notes.
    into : Store, str or Path, optional
        A Store, or its folder: for activations that are larger than memory, or to be used again. If it has the
        recording already, two samples run again, to check that the model still computes it; an unfinished recording
        continues.
    pool : {"flatten", "mean", "first", "last", "tokens"} or function
        How the output of a layer becomes rows. "flatten" keeps everything; "mean" averages over places (n, c, h, w) or
        tokens (n, tokens, p), without padding; "first" and "last" take one token; "tokens" makes each token, or each
        place of an image, a row. A function takes the output of the layer, or the output and the mask, and returns
        one row for each sample.
    axis : int or {layer: int}, optional
        The axis of the features: 1 as in (n, channels, time), -1 as in (n, tokens, p). Needed only if the operations of
        the model do not show it.
    step : int, str, or a list of them
        The step of training, to record checkpoints of one model. For a list of models, a list with one step for each;
        model names may repeat if steps differ.
    batch_size : int, optional
        Samples in a forward pass, >= 1. None takes as many as keep the largest activation under 64 MB, at most 250.
        Results depend on it only in rounding.
    device : str or torch.device, optional
        Where to run; None leaves the model where it is.
    executor : concurrent.futures.Executor, optional
        Workers for several models, one model each: processes, or `client.get_executor()` of dask.distributed. Requires
        `into`, a store that all workers can reach.
    progress : bool or function(done, total)
        Show a bar, or call a function, which may raise to stop.

    Returns
    -------
    Activations
        A mapping from Key (model, layer, dataset, step, pool) to an array (n, p), for each model in the order in which
        its layers run. With `into`, arrays are memory-mapped files.

    Raises
    ------
    TypeError
        If the data comes before the model.
    ValueError
        If a layer is unknown (the message names the nearest); if a layer that was asked for by name does not run, has
        no sample axis, mixes samples, keeps a state or is random; or if no layer can be recorded. Default layers and
        layers of a pattern are left out in these cases, with one warning.
    UndefinedError
        A ValueError: if such a layer gives NaN or infinite numbers.
    MemoryError
        If the activations do not fit into memory and `into` is not given.

    Notes
    -----
    A layer that only returns the output of the model is recorded as "output". A layer that runs k times in a pass is
    recorded as name#1 to name#k. If a module returns a mapping or a dataclass, its logits are recorded, else
    its last_hidden_state, else its first tensor; "output.NAME" is another field. If it returns several representations
    in a tuple, such as an image stream and a text stream, each is a layer: name[0], name[1].

    Models run in evaluation mode and without gradients. Modes, buffers and the data are the same afterwards as before.

    See Also
    --------
    from_arrays : Use activations that were recorded elsewhere.
    stream : Compare two models without storing activations.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> images = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    >>> x = rs.record(model, images, progress=False)
    >>> {str(key): array.shape for key, array in x.items()}
    {'Sequential/1 (inputs)': (6, 3), 'Sequential/output (inputs)': (6, 2)}

    A module and a data set get names from `rs.load_model` and `rs.Dataset`:

    >>> x = rs.record(rs.load_model(model, name="mlp"), rs.Dataset("digits", images), "0", progress=False)
    >>> [str(key) for key in x]
    ['mlp/0 (digits)']
    """
    refuse_swapped(model, data)
    given: list[Any] = list(model) if isinstance(model, (list, tuple)) else [model]
    if not given:
        raise ValueError("record needs at least one model; the list is empty.")
    if batch_size is not None:
        check_integer(batch_size, "batch_size", minimum=1)
    pooling, dataset = Pooling(pool), to_dataset(data)
    into = into if into is None or isinstance(into, Store) else Store(into)
    steps = _list_steps(step, len(given))
    if executor is not None:
        options: dict[str, Any] = {"data": dataset, "layers": layers, "pool": pool, "axis": axis}
        options |= {"batch_size": batch_size, "device": device}
        return _record_with_executor(given, steps, into, options, executor, progress)
    models = [load_model(m) for m in given]
    _check_names([m.name for m in models], steps)
    refuse_shared(models, steps)
    runs = [
        Recorder(m, dataset, layers, pooling, step=its, batch_size=batch_size, device=device, axis=axis)
        for m, its in zip(models, steps, strict=True)
    ]
    return run_all(runs, dataset, into, progress)


def run_all(runs: Sequence[Recorder], dataset: Dataset, into: Store | None, progress: bool | Tick) -> Activations:
    """Record each model, and warn about the layers that are left out (`left_out` of each run has them)."""
    models = [run.model for run in runs]
    total, what = len(models) * len(dataset), models[0].name if len(models) == 1 else f"{len(models)} models"
    inputs = "" if into is None else dataset.fingerprint()
    recorded: dict[Key, Any] = {}
    with show_progress(progress, f"recording {what}", "sample") as tick:
        tick(0, total)
        for place, run in enumerate(runs):
            done = place * len(dataset)
            recorded |= run(into, inputs, lambda samples, done=done: tick(done + samples, total))  # type: ignore[misc]
    warn_left_out(runs)
    ids = {key: dataset.ids for key in recorded if dataset.ids is not None and not key.by_token}
    layers_of = [(run.key(layer), run, about) for run in runs for layer, about in run.found.items()]
    groups = {  # the groups of a store are in its files, except for what an earlier version wrote
        key: labels
        for key, run, about in layers_of
        if key in recorded
        and (labels := run.groups(about)) is not None
        and not getattr(recorded[key], "groups_path", None)
    }
    no_logits = {key: about.no_logits for key, _, about in layers_of}
    return Activations(recorded, merge_facts((m.name, _facts_of(m)) for m in models), ids, no_logits, groups)


def _list_steps(step: Any, models: int) -> list[int | str]:
    """Return one step for each model."""
    if isinstance(step, str) or not isinstance(step, (Sequence, np.ndarray)) or np.ndim(step) == 0:
        return [check_step(step)] * models
    steps = [check_step(one) for one in step]
    if len(steps) != models:
        raise ValueError(
            f"step must have one step for each model; got {len(steps)} steps for {models}"
            f" model{'s' if models > 1 else ''}."
        )
    return steps


def _check_names(names: list[str], steps: list[int | str]) -> None:
    """Refuse models whose recordings would have the same keys."""
    if len(set(zip(names, steps, strict=True))) < len(names):
        at = "" if len(set(steps)) == 1 else f" at the steps {steps}"
        hint = "" if at else " For checkpoints of one model, give the step of each, step=[...]."
        raise ValueError(
            f"Models that are recorded together must have different names; got {names}{at}. Give each a name,"
            f" load_model(..., name=...).{hint}"
        )


def _record_one(model: Any, step: int | str, options: dict[str, Any]) -> tuple[list[Key], dict[str, Any]]:
    """Record one model in a worker and return the keys and the facts: the activations stay in the store."""
    x = record(model, step=step, progress=False, **options)
    return list(x), x.facts


def _record_with_executor(
    given: list[Any],
    steps: list[int | str],
    into: Store | None,
    options: dict[str, Any],
    executor: Executor,
    progress: bool | Tick,
) -> Activations:
    """Record each model in a worker.

    A name is sent as it is, memory-mapped inputs as their address; recordings stay where they are written.
    """
    if into is None:
        raise ValueError(
            "record with an executor needs into=, a store on a disk that all workers can reach: workers write"
            " activations there and do not send them."
        )
    models = [m if isinstance(m, str) else load_model(m) for m in given]
    names = [m if isinstance(m, str) else m.name for m in models]
    _check_names(names, steps)
    loaded = [(m, its) for m, its in zip(models, steps, strict=True) if isinstance(m, Model)]
    refuse_shared([m for m, _ in loaded], [its for _, its in loaded])  # each name gives a new module
    many, options = len(given), {**options, "into": Store(into.path.absolute(), dtype=into.dtype)}
    recorded: dict[tuple[str, int | str], list[Key]] = {}
    facts: list[tuple[str, Mapping[str, Any]]] = []
    with open_workers(executor) as run, show_progress(progress, f"recording {many} models", "model") as tick:
        for keys, known in run(_record_one, given, steps, [options] * many, idle=lambda: tick(len(facts), many)):
            recorded[keys[0].model, keys[0].step] = keys
            facts.extend(known.items())
            tick(len(facts), many)
    if len(recorded) < many:
        raise ValueError(
            f"Two of these models have the same name, so the recordings of one were taken for those of the other:"
            f" {names}. Give each a name, load_model(..., name=...)."
        )
    return Activations({key: into.find(key) for keys in recorded.values() for key in keys}, merge_facts(facts))


def _facts_of(model: Model) -> dict[str, Any]:
    """Return the card of a model; the data of a model that was never trained is "none"."""
    untrained = "data" in model.card and model.card.get("epochs") == 0
    return {**model.card, **({"data": "none"} if untrained else {})}
