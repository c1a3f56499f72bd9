"""`record`: one pass over the data, many layers, in memory or into a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
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

from .recorder import Recorder
from .run import RunOptions, to_dataset, warn_left_out
from .shared_modules import refuse_shared


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
    """Run the data through a model once and return the activations of the selected layers.

    Parameters
    ----------
    model : Model, nn.Module, spec of `load_model`, or a list of them
    data : str, Dataset, or inputs
        The name of a set, a Dataset, or inputs: an array (n, ...), a list of str, a folder of images, a torch Dataset,
        a DataLoader that does not shuffle, a generator of batches.
    layers : str, int, or a list of them, optional
        Names, patterns ("blocks.*.mlp"), "auto" (one a block), or numbers among the default layers (-2 is the layer
        before the output); None is `model.layers`. A layer that only returns the output is recorded as "output"; one
        that runs k times in a pass as name#1 to name#k. Of a mapping or a dataclass the logits are taken, the
        last_hidden_state, else the first tensor; "output.NAME" is another of its fields. If a module returns several
        representations in a tuple, such as the streams of text and image, each is a layer: name[0], name[1].
    into : Store, str or Path, optional
        A Store, or its folder: needed if activations are larger than memory. If it has the recording, two samples run
        again, to see that the model still computes it; an unfinished recording goes on.
    pool : {"flatten", "mean", "first", "last", "tokens"} or function
        "flatten" keeps everything; "mean" averages over space (n, c, h, w) or tokens (n, tokens, p), without padding;
        "first" and "last" take one token; "tokens" makes every token (every place of a picture) a sample; or a function
        of the tensor, or of the tensor and the mask.
    axis : int or {layer: int}, optional
        The axis of the features: 1 as in (n, channels, time), -1 as in (n, tokens, p). It is needed only if the model's
        own operations do not show it.
    step : int, str, or a list of them
        The step of training, for checkpoints of one model; for a list of models a list with one step each. Names may
        repeat if steps differ.
    batch_size : int, optional
        Samples in a pass; None is as many as keep the largest activation under 64 MB, at most 250. Results depend on it
        in rounding only.
    device : str or torch.device, optional
        Where to run; None is where the model is.
    executor : concurrent.futures.Executor, optional
        Workers for many models, one each (processes, `client.get_executor()` of dask.distributed); it needs `into`, a
        store that all workers reach.
    progress : bool or function(done, total)
        A bar, or a function that may raise to stop.

    Returns
    -------
    Activations
        {Key: array (n, p)}

    Raises
    ------
    ValueError
        For an unknown layer (with the nearest), and for a layer that was asked for by name and never ran, has no sample
        axis, mixes samples, keeps a state, is random or gives NaN. Default layers and layers of a pattern for which
        this is so are left out, with one warning.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> x = rs.record(model, np.ones((6, 4), "float32"), progress=False)
    >>> {str(key): array.shape for key, array in x.items()}
    {'Sequential/1 (inputs)': (6, 3), 'Sequential/output (inputs)': (6, 2)}
    """
    given: list[Any] = list(model) if isinstance(model, (list, tuple)) else [model]
    if not given:
        raise ValueError("record needs at least one model; the list is empty")
    if batch_size is not None:
        check_integer(batch_size, "batch_size", minimum=1)
    pooling, dataset = Pooling(pool), to_dataset(data)
    into = into if into is None or isinstance(into, Store) else Store(into)
    steps = _list_steps(step, len(given))
    if executor is not None:
        options = {"pool": pool, "axis": axis, "batch_size": batch_size, "device": device}
        return _record_with_executor(given, steps, _Task(dataset, layers, into, options), executor, progress)
    models = [load_model(m) for m in given]
    _check_names([m.name for m in models], steps)
    refuse_shared(models, steps)
    runs = [
        Recorder(m, dataset, layers, RunOptions(pooling, its, batch_size, device, axis))
        for m, its in zip(models, steps, strict=True)
    ]
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
    groups = {  # those of a store are in its files, but for what an earlier version wrote
        key: labels
        for key, run, about in layers_of
        if key in recorded
        and (labels := run.groups(about)) is not None
        and not getattr(recorded[key], "groups_path", None)
    }
    no_logits = {key: about.no_logits for key, _, about in layers_of}
    return Activations(recorded, merge_facts((m.name, m.card) for m in models), ids, no_logits, groups)


def _list_steps(step: Any, models: int) -> list[int | str]:
    """One a model."""
    if isinstance(step, str) or not isinstance(step, (Sequence, np.ndarray)) or np.ndim(step) == 0:
        return [check_step(step)] * models
    steps = [check_step(one) for one in step]
    if len(steps) != models:
        raise ValueError(
            f"a list of steps has one a model; there are {len(steps)} steps for {models}"
            f" model{'s' if models > 1 else ''}"
        )
    return steps


def _check_names(names: list[str], steps: list[int | str]) -> None:
    if len(set(zip(names, steps, strict=True))) < len(names):
        hint = (
            ". For checkpoints of one network say the step of each, step=[...]"
            if len(set(steps)) == 1
            else f" at the steps {steps}"
        )
        raise ValueError(
            f"models recorded together need different names; got {names}{hint}. Name them: load_model(..., name=...)"
        )


@dataclass(frozen=True)
class _Task:
    """What a worker records of each model: called with a model and its step, it gives the keys and the facts."""

    dataset: Dataset
    layers: Any
    store: Store | None
    options: dict[str, Any]

    def __call__(self, model: Any, step: int | str) -> tuple[list[Key], dict[str, Any]]:
        x = record(model, self.dataset, self.layers, into=self.store, progress=False, step=step, **self.options)
        return list(x), x.facts


def _record_with_executor(
    given: list[Any], steps: list[int | str], task: _Task, executor: Executor, progress: bool | Tick
) -> Activations:
    """Each model is a task; a spec travels as it is, memory-mapped inputs as their address; recordings stay where they
    are written.
    """
    if task.store is None:
        raise ValueError(
            "with an executor record needs into=, a store on a disk that all workers reach: activations are written"
            " there and do not travel"
        )
    models = [m if isinstance(m, str) else load_model(m) for m in given]
    names = [m if isinstance(m, str) else m.name for m in models]
    _check_names(names, steps)
    loaded = [(m, its) for m, its in zip(models, steps, strict=True) if isinstance(m, Model)]
    refuse_shared([m for m, _ in loaded], [its for _, its in loaded])  # a spec is a module of its own
    into, many = task.store, len(given)
    store = Store(into.path.absolute(), dtype=into.dtype)
    recorded: dict[tuple[str, int | str], list[Key]] = {}
    facts: list[tuple[str, Mapping[str, Any]]] = []
    with open_workers(executor) as run, show_progress(progress, f"recording {many} models", "model") as tick:
        tasks = [_Task(task.dataset, task.layers, store, task.options)] * many
        for keys, known in run(_Task.__call__, tasks, given, steps, idle=lambda: tick(len(facts), many)):
            recorded[keys[0].model, keys[0].step] = keys
            facts.extend(known.items())
            tick(len(facts), many)
    if len(recorded) < many:
        raise ValueError(
            f"two of these models have one name, so that one's recordings were taken for the other's: {names}. Name"
            " them: load_model(..., name=...)"
        )
    return Activations({key: into.find(key) for keys in recorded.values() for key in keys}, merge_facts(facts))
