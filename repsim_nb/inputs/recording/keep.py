"""`record`: one pass over the data, many layers, in memory or into a store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from repsim_nb.inputs.batches import number_of
from repsim_nb.inputs.datasets import Dataset, fingerprint_inputs
from repsim_nb.inputs.fingerprints import configuration, fingerprint
from repsim_nb.inputs.models import Model, load_model
from repsim_nb.inputs.models.running import capture
from repsim_nb.inputs.pooling import Pooling
from repsim_nb.inputs.store import Activations, Key, Store, agreed, check_step
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer
from repsim_nb.support.workers import workers

from .agreement import Tolerance
from .distinct import refuse_shared
from .held import check_found, check_held, goes_on, layer_of, noted
from .probe import Layer
from .run import Run, dataset_of, warn_left_out
from .samples import batch_of, pick

PREPARED = 32  # samples whose preprocessing is part of a recording's address
# samples that run again before stored rows are given back: the shortest and the longest, or two far from each other
CHECKED = 2


def record(
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
    """Run the data through a model once and return the activations of the selected layers -> Activations, Key -> array
    (n, p).

        x = rs.record(my_module, images)                                          # your own; images (n, h, w, 3), uint8
        x = rs.record("transformers:path/to/folder", sentences, pool="mean")      # a Hugging Face folder; sentences a
        list of str

    model: a Model, a module, a spec of `load_model`, or a list of them.
    data: the name of a set, a Dataset, or inputs: an array (n, ...), a list of str, a folder of images, a torch
    Dataset, a DataLoader that does not shuffle, a generator of batches.
    layers: names, patterns ("blocks.*.mlp"), "auto" (one a block), or numbers among those of None (-2 is the layer
    before the output); None is `model.layers`. A layer that only returns the output is recorded as "output"; one that
    runs k times in a pass as name#1 to name#k. Of a mapping or a dataclass the logits are taken, the last_hidden_state,
    else the first tensor; "output.NAME" is another of its fields. If a module returns several representations in a
    tuple, such as the streams of text and image, each is a layer: name[0], name[1]. What a pattern finds and cannot be
    recorded is left out with a warning.
    into: a Store, or its folder: needed where activations are larger than memory; of what it holds two samples run
    again, to see that the model still computes it, and what was begun goes on.
    pool: "flatten" keeps everything; "mean" averages over space (n, c, h, w) or tokens (n, tokens, p), padding left
    out; "first", "last" take one token; "tokens" makes every token (every place of a picture) a sample; or a function
    of the tensor, or of the tensor and the mask.
    axis: the axis along which features lie, 1 as in (n, channels, time) or -1 as in (n, tokens, p), or a dict from
    layers to such. It is needed only if the model's own operations do not show it.
    step: the step of training, for checkpoints of one network; for a list of them a list of steps, one a model, and
    then names may repeat where steps differ.
    batch_size: samples a pass; None is as many as keep the largest activation under 64 MB, at most 250. Results depend
    on it in rounding only.
    device: where to run; None is where the model is.  executor: workers for many models, one each (processes,
    `client.get_executor()` of dask.distributed); what they record goes into a store that all reach.  progress: a bar,
    or a function(done, total) that may raise to stop.
    Errors: ValueError for an unknown layer (with the nearest), and for one that was asked for by name and never ran,
    has no sample axis, mixes samples, keeps a state, is random or gives NaN. Default layers of which that is true are
    left out, with one warning.
    """
    given = list(model) if isinstance(model, (list, tuple)) else [model]
    if not given:
        raise ValueError("record needs at least one model; the list is empty")
    if batch_size is not None:
        check_integer(batch_size, "batch_size", minimum=1)
    pooling = Pooling(pool)
    dataset = dataset_of(data)
    into = into if into is None or isinstance(into, Store) else Store(into)
    steps = _steps(step, len(given))
    if executor is not None:
        return _record_apart(
            given,
            dataset,
            layers,
            into,
            steps,
            executor,
            progress,
            {"pool": pool, "axis": axis, "batch_size": batch_size, "device": device},
        )
    models = [load_model(m) for m in given]
    _check_names([m.name for m in models], steps)
    refuse_shared(models, steps)
    runs = [
        _Recording(m, dataset, layers, pooling, its, batch_size, device, axis)
        for m, its in zip(models, steps, strict=True)
    ]
    total, done = len(models) * len(dataset), 0
    inputs = "" if into is None else dataset.fingerprint()
    with show_progress(
        progress, f"recording {models[0].name if len(models) == 1 else f'{len(models)} models'}", "sample"
    ) as tick:
        recorded: dict[Key, Any] = {}
        tick(0, total)
        for run in runs:
            recorded |= run(into, inputs, lambda samples, before=done: tick(before + samples, total))
            done += len(dataset)
    warn_left_out(runs)
    ids = {key: dataset.ids for key in recorded if dataset.ids is not None and not key.by_token}
    groups = {
        key: labels
        for run in runs
        for layer, about in run.found.items()
        if (key := run.key(layer)) in recorded
        and (labels := run.groups(about)) is not None
        and not getattr(recorded[key], "groups_path", None)
    }  # those of a store are in its files, but for what an earlier version wrote
    no_logits = {run.key(layer): about.no_logits for run in runs for layer, about in run.found.items()}
    return Activations(recorded, agreed((m.name, m.card) for m in models), ids, no_logits, groups)


def _steps(step: Any, models: int) -> list[int | str]:
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


def _record_apart(
    given: list[Any],
    dataset: Dataset,
    layers: Any,
    into: Store | None,
    steps: list[int | str],
    executor: Executor,
    progress: bool | Tick,
    options: dict[str, Any],
) -> Activations:
    """Each model is a task; a spec travels as it is, memory-mapped inputs as their address; recordings stay where they
    are written.
    """
    if into is None:
        raise ValueError(
            "with an executor record needs into=, a store on a disk that all workers reach: activations are written"
            " there and do not travel"
        )
    models = [m if isinstance(m, str) else load_model(m) for m in given]
    names = [m if isinstance(m, str) else m.name for m in models]
    _check_names(names, steps)
    own = [
        (m, its) for m, its in zip(models, steps, strict=True) if not isinstance(m, str)
    ]  # a spec is a module of its own
    refuse_shared([m for m, _ in own], [its for _, its in own])
    store = copy.copy(into)
    store.path = into.path.absolute()
    recorded: dict[tuple[str, int | str], list[Key]] = {}
    facts: list[tuple[str, Mapping[str, Any]]] = []
    with workers(executor) as run, show_progress(progress, f"recording {len(given)} models", "model") as tick:
        some = len(given)
        tasks = ([dataset] * some, [layers] * some, [store] * some, [{**options, "step": step} for step in steps])
        for keys, known in run(_record_one, given, *tasks, idle=lambda: tick(len(facts), some)):
            recorded[keys[0].model, keys[0].step] = keys
            facts.extend(known.items())
            tick(len(facts), some)
    if len(recorded) < some:
        raise ValueError(
            f"two of these models have one name, so that one's recordings were taken for the other's: {names}. Name"
            " them: load_model(..., name=...)"
        )
    return Activations({key: into.find(key) for keys in recorded.values() for key in keys}, agreed(facts))


def _record_one(
    model: Any, dataset: Dataset, layers: Any, store: Store, options: dict[str, Any]
) -> tuple[list[Key], dict[str, Any]]:
    x = record(model, dataset, layers, into=store, progress=False, **options)
    return list(x), x.facts


class _Recording(Run):
    """A run whose layers are kept."""

    def __call__(self, into: Store | None, inputs: str, tick: Callable[[int], None]) -> dict[Key, Any]:
        """inputs: the fingerprint of the data, where there is a store; it is the same for all models."""
        lazy = any(
            is_lazy(weight) for weight in self.model.module.parameters()
        )  # it has no weights yet: the probe makes them
        origin = {} if into is None or lazy else self._origin(inputs)
        if origin and (found := self._found_in(into, origin)):
            tick(len(self.dataset))
            return found
        with self.ready():
            found = self.probe()
            arrays: dict[str, Any]
            if into is None:
                self._check_room(found)
                arrays = {
                    layer: np.empty((self.row(about, len(self.dataset)), *about.shape), about.dtype)
                    for layer, about in found.items()
                }
                self._pass(
                    0,
                    lambda layer, start, values: arrays[layer].__setitem__(slice(start, start + len(values)), values),
                    tick,
                )
            else:
                origin = origin if origin and not self.state.built() else self._origin(inputs)
                with into.alone(self.key("")):
                    missing = [
                        layer for layer in found if not into.holds(self.key(layer), self._origin_of(layer, origin))
                    ]
                    check_held(self, into, [layer for layer in found if layer not in missing])
                    if missing:
                        self._into_store(into, missing, origin, tick)
                    else:
                        into.add_answers(self.key(next(iter(found))), self._answers(list(found)))
                arrays = {
                    layer: into.find(self.key(layer)) for layer in self.found
                }  # opened when they are asked for: each open file takes one of the few that a process may have
        tick(len(self.dataset))
        return {self.key(layer): arrays[layer] for layer in self.found}

    def _found_in(self, store: Store, origin: Mapping[str, str]) -> dict[Key, Any]:
        """What a store holds already, if it is all that is asked for, in forward order: two samples run, and are held
        against it. {} if something is missing.
        """
        if self.pooling.by_token:
            return {}
        layers, left_out = list(self.named), {}
        if self.usual or self.by_name != set(
            self.named
        ):  # which layers that is was found out by the run that recorded them
            entries = [store.find(self.key(layer)) for layer in (*self.named, *self.usual)]
            answer = next(
                (
                    found
                    for entry in entries
                    if entry is not None and (found := entry.record.get("answers", {}).get(self._question()))
                ),
                {"layers": [], "left_out": {}},
            )
            layers, left_out = answer["layers"], answer["left_out"]
        keys = [self.key(layer) for layer in layers]
        if not keys or not all(store.holds(self.key(layer), self._origin_of(layer, origin)) for layer in layers):
            return {}
        entries = {
            layer: entry for layer, key in zip(layers, keys, strict=True) if (entry := store.find(key)) is not None
        }
        known = {layer: about for layer, entry in entries.items() if (about := layer_of(entry)) is not None}
        if len(known) < len(keys):  # of an earlier version: the probe holds its samples against them
            return {}
        with self.ready():
            check_found(
                self,
                store,
                entries,
                known,
                self.unlike[:CHECKED] if len(self.dataset) > PREPARED else pick(self.dataset, CHECKED),
            )
        self.left_out = dict(left_out)
        return {
            self.key(layer): entry for layer, entry in sorted(entries.items(), key=lambda one: one[1].record["place"])
        }

    def _answers(self, layers: list[str]) -> dict[str, Any]:
        return {self._question(): {"layers": layers, "left_out": self.left_out}}

    def _question(self) -> str:
        """What was asked for, if the names of the layers follow only from a run."""
        return fingerprint(self.asked)

    def _check_room(self, found: Mapping[str, Layer]) -> None:
        sizes = {
            layer: self.row(about, len(self.dataset)) * int(np.prod(about.shape)) * about.dtype.itemsize
            for layer, about in found.items()
        }
        room = psutil.virtual_memory().available
        if sum(sizes.values()) > 0.9 * room:
            widest = max(sizes, key=sizes.__getitem__)
            raise MemoryError(
                f"{len(sizes)} layers of '{self.model.name}' on {len(self.dataset)} samples take"
                f" {sum(sizes.values()) / 1e9:.1f} GB ('{widest}' alone {sizes[widest] / 1e9:.1f}), and"
                f" {room / 1e9:.1f} GB of memory are free. Write them to disk, into='folder'; or take pool='mean',"
                " fewer layers, fewer samples"
            )

    def _origin(self, inputs: str) -> dict[str, str]:
        """Fingerprints of all that a recording is made from, but for the layer."""
        self.unlike = pick(self.dataset, PREPARED)
        some = np.unique(self.unlike)
        batch = batch_of(self.dataset, some)
        with self.explaining(batch):
            prepared, _ = self.prepare(batch, some)
        parts = list(prepared.items()) if isinstance(prepared, Mapping) else [("", prepared)]
        return {
            "weights": fingerprint(self.model.module),
            "inputs": self.dataset.fingerprint(labels=True) if self.labels else inputs,
            "preprocessing": fingerprint(
                [configuration(self.model.preprocess), *((name, fingerprint_inputs(part)) for name, part in parts)]
            ),
            "pool": self.pooling.fingerprint,
            "ids": self.dataset.ids_fingerprint(),
        }

    def _origin_of(self, layer: str, origin: Mapping[str, str]) -> dict[str, str]:
        """The same with the axis that was given for one layer."""
        axis = self.axis_of(layer)
        return {**origin, "axis": "" if axis is None or not self.pooling.needs_axes else str(axis)}

    def _into_store(self, store: Store, layers: list[str], origin: dict[str, str], tick: Callable[[int], None]) -> None:
        n, found = len(self.dataset), dict(self.found)
        writers = {
            layer: store.writer(
                self.key(layer),
                (self.row(found[layer], n), *found[layer].shape),
                found[layer].dtype,
                self._origin_of(layer, origin),
                self.model.card,
                place=found[layer].place,
                ids=self.dataset.ids,
                groups=self.groups(found[layer]),
            )
            for layer in layers
        }
        tolerance = Tolerance(self.model.module, self.place)
        for layer, writer in writers.items():
            if writer.rows and not goes_on(self, layer, writer.written(), tolerance):
                writer.restart()
        whole = [
            sample
            for sample in range(0, n, self.batch_size)
            if all(self.row(found[layer], sample) <= writer.rows for layer, writer in writers.items())
        ]
        done = all(writer.rows == self.row(found[layer], n) for layer, writer in writers.items())
        stored, self.found = (
            {layer: about for layer, about in found.items() if layer not in writers},
            {layer: found[layer] for layer in layers},
        )
        try:
            self._pass(n if done else whole[-1], lambda layer, row, values: writers[layer].write(row, values), tick)
        except BaseException:
            for writer in writers.values():
                writer.keep()
            raise
        recorded = [layer for layer in found if layer in stored or layer in self.found]
        answers = self._answers(recorded)
        for layer, writer in writers.items():
            if layer in self.found:
                writer.commit(answers=answers, check=noted(found[layer], self.tolerance))
            else:
                writer.discard()
        self.found = {layer: found[layer] for layer in recorded}

    def _pass(self, start: int, keep: Callable[[str, int, np.ndarray], None], tick: Callable[[int], None]) -> None:
        """Run samples start, ... through the model and hand on the rows of every layer."""
        first = last = 0
        seen: set[str] = set()

        def sink(layer: str, out: Any) -> None:
            values = self.take(layer, out, first, last, twice=layer in seen)
            seen.add(layer)
            if values is not None:
                with self.passing():
                    keep(layer, self.row(self.found[layer], first), values.cpu().numpy())

        if start >= len(self.dataset):
            return
        layers = list(self.found)
        with capture(self.model.module, layers, sink):
            for first, last, inputs in self.dataset.batches(start, self.batch_size):
                came = number_of(inputs)
                if came != last - first:
                    raise ValueError(
                        f"dataset '{self.dataset.name}' ran short: samples {first} to {last} were asked for while"
                        f" recording '{self.model.name}', and {came} came"
                    )
                seen.clear()
                with self.explaining(inputs, samples=f"samples {first} to {last}"):
                    self.forward(inputs, first)
                self.did_not_run([layer for layer in layers if layer not in seen], first, last)
                tick(last)
