"""`Recorder`: a run that records its layers, in memory or into a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import psutil
from torch.nn.parameter import is_lazy

from repsim_nb.inputs.batches import check_batch_size
from repsim_nb.inputs.datasets import fingerprint_inputs
from repsim_nb.inputs.fingerprints import fingerprint, fingerprint_settings
from repsim_nb.inputs.models.running import capture
from repsim_nb.inputs.store import Key, Store

from .probe_outputs import RecordableLayer
from .row_agreement import Tolerance
from .run import Run
from .samples import pick_samples, read_samples
from .verification import check_probed_rows, check_stored_rows, continues_recording, describe_layer, read_layer

PREPARED = 32  # samples whose preprocessing is part of the fingerprint of a recording
# samples that run again before stored rows are given back: the shortest and the longest, or two far from each other
CHECKED = 2

Sink = Callable[[str, int, np.ndarray], None]  # sink(layer, first row, rows)


class Recorder(Run):
    """A run that records its layers."""

    def __call__(self, into: Store | None, inputs: str, tick: Callable[[int], None]) -> dict[Key, Any]:
        """Record and return {key: array, or file of the store}.

        inputs: the fingerprint of the data, if there is a store; it is the same for all models.
        """
        if into is None:
            arrays: Mapping[str, Any] = self._into_memory(tick)
        else:
            # lazy modules have no weights before the probe
            lazy = any(is_lazy(weight) for weight in self.model.module.parameters())
            origin = {} if lazy else self._origin(inputs)
            arrays = self._find_in(into, origin) if origin else {}
            if not arrays:
                self._into_store(into, inputs, origin, tick)
                # opened when they are read, since a process may have only a few open files
                arrays = {layer: into.find(self.key(layer)) for layer in self.found}
        tick(len(self.dataset))
        return {self.key(layer): array for layer, array in arrays.items()}

    def _into_memory(self, tick: Callable[[int], None]) -> dict[str, np.ndarray]:
        """Record into arrays."""
        with self.ready():
            found, n = self.probe(), len(self.dataset)
            self._check_room(found)
            arrays = {
                layer: np.empty((self.row(about, n), *about.shape), about.dtype) for layer, about in found.items()
            }

            def keep(layer: str, start: int, rows: np.ndarray) -> None:
                arrays[layer][start : start + len(rows)] = rows

            self._pass(0, keep, tick)
        return {layer: arrays[layer] for layer in self.found}

    def _check_room(self, found: Mapping[str, RecordableLayer]) -> None:
        """Raise MemoryError if the activations would fill the memory."""
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
                f" {room / 1e9:.1f} GB of memory are free. Write them to disk, into='folder', or use pool='mean', fewer"
                " layers or fewer samples."
            )

    # -- a store

    def _origin(self, inputs: str) -> dict[str, str]:
        """Return fingerprints of everything that a recording is made from, except the layer."""
        self.unlike = pick_samples(self.dataset, PREPARED)
        some = sorted(set(self.unlike))
        batch = read_samples(self.dataset, some)
        with self.explain_errors(batch):
            prepared, _ = self.prepare(batch, some)
        parts = list(prepared.items()) if isinstance(prepared, Mapping) else [("", prepared)]
        return {
            "weights": fingerprint(self.model.module),
            "inputs": self.dataset.fingerprint(labels=True) if self.labels else inputs,
            "preprocessing": fingerprint(
                [fingerprint_settings(self.model.preprocess), *((name, fingerprint_inputs(x)) for name, x in parts)]
            ),
            "pool": self.pooling.fingerprint,
            "ids": self.dataset.ids_fingerprint(),
        }

    def _origin_of(self, layer: str, origin: Mapping[str, str]) -> dict[str, str]:
        """Return the same with the axis that was given for one layer."""
        axis = self.request.axis_of(layer)
        return {**origin, "axis": "" if axis is None or not self.pooling.needs_axes else str(axis)}

    def _find_in(self, store: Store, origin: Mapping[str, str]) -> dict[str, Any]:
        """Find what is asked for in a store, in forward order; {} if something is missing.

        Two samples run again and are compared with the stored rows.
        """
        if self.pooling.by_token:
            return {}
        answer: dict[str, Any] = {"layers": list(self.request.names), "left_out": {}}
        if not self.request.is_exact:  # the run that recorded them noted which layers these are
            stored = (store.find(self.key(layer)) for layer in self.request.layers)
            answers = (entry.record.get("answers", {}).get(self._question()) for entry in stored if entry is not None)
            answer = next(filter(None, answers), {"layers": [], "left_out": {}})
        layers: list[str] = answer["layers"]
        if not layers or not all(store.holds(self.key(layer), self._origin_of(layer, origin)) for layer in layers):
            return {}
        entries = {layer: entry for layer in layers if (entry := store.find(self.key(layer))) is not None}
        known = {layer: about for layer, entry in entries.items() if (about := read_layer(entry)) is not None}
        if len(known) < len(layers):  # of an earlier version: the probe compares its samples with them
            return {}
        samples = self.unlike if len(self.dataset) > PREPARED else pick_samples(self.dataset, CHECKED)
        with self.ready():
            check_stored_rows(self, store, entries, known, samples[:CHECKED])
        self.left_out, self.without_values = dict(answer["left_out"]), set(answer.get("without_values", ()))
        return dict(sorted(entries.items(), key=lambda one: one[1].record["place"]))

    def _question(self) -> str:
        """Return the fingerprint of a request whose layers only a run can show."""
        return fingerprint(self.request.question)

    def _answers(self, layers: list[str]) -> dict[str, Any]:
        """Return the layers that the request means, as the record of a layer keeps them."""
        facts = {"layers": layers, "left_out": self.left_out, "without_values": sorted(self.without_values)}
        return {self._question(): facts}

    def _into_store(self, store: Store, inputs: str, origin: dict[str, str], tick: Callable[[int], None]) -> None:
        """Record what the store does not have. origin: {} if it must be found after the probe."""
        with self.ready():
            found = self.probe()
            origin = origin if origin and not self.state.built() else self._origin(inputs)
            with store.alone(self.key("")):
                missing = [layer for layer in found if not store.holds(self.key(layer), self._origin_of(layer, origin))]
                check_probed_rows(self, store, [layer for layer in found if layer not in missing])
                if missing:
                    self._write(store, missing, origin, tick)
                else:
                    store._add_answers(self.key(next(iter(found))), self._answers(list(found)))

    def _write(self, store: Store, layers: list[str], origin: dict[str, str], tick: Callable[[int], None]) -> None:
        """Write these layers into the store, from the first batch of which a row is missing."""
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
            if writer.rows and not continues_recording(self, layer, writer.written(), tolerance):
                writer.restart()
        # the first batch of which a row is missing
        start = n
        if any(writer.rows < self.row(found[layer], n) for layer, writer in writers.items()):
            start = max(
                sample
                for sample in range(0, n, self.batch_size)
                if all(self.row(found[layer], sample) <= writer.rows for layer, writer in writers.items())
            )
        self.found = {layer: found[layer] for layer in layers}
        try:
            self._pass(start, lambda layer, row, values: writers[layer].write(row, values), tick)
        except BaseException:
            for writer in writers.values():
                writer.save_progress()
            raise
        recorded = [layer for layer in found if layer not in writers or layer in self.found]
        answers = self._answers(recorded)
        for layer, writer in writers.items():
            if layer in self.found:
                writer.commit(answers=answers, check=describe_layer(found[layer], self.tolerance))
            else:
                writer.discard()
        self.found = {layer: found[layer] for layer in recorded}

    # -- the pass

    def _pass(self, start: int, keep: Sink, tick: Callable[[int], None]) -> None:
        """Run all samples from `start` on and pass the rows of every layer to `keep`."""
        first = last = 0
        seen: set[str] = set()

        def sink(layer: str, out: Any) -> None:
            values = self.take(layer, out, first, last, twice=layer in seen)
            seen.add(layer)
            if values is not None:
                with self.pass_own_errors():
                    keep(layer, self.row(self.found[layer], first), values.cpu().numpy())

        if start >= len(self.dataset):
            return
        layers = list(self.found)
        with capture(self.model.module, layers, sink):
            for first, last, inputs in self.dataset.batches(start, self.batch_size):
                check_batch_size(inputs, first, last, self.dataset.name)
                seen.clear()
                with self.explain_errors(inputs, samples=f"samples {first} to {last}"):
                    self.forward(inputs, first)
                self.reject_missing([layer for layer in layers if layer not in seen], first, last)
                tick(last)
