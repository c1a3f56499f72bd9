"""`Run`: one model over one data set, the layers that can be recorded, and the rows of a layer for a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.batches import count_samples
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT, Model
from repsim_nb.inputs.models.running import find_tensor, forward
from repsim_nb.inputs.pooling import Pooling
from repsim_nb.inputs.store import Key
from repsim_nb.support.errors import UndefinedError, join_names, warn_user

from .arguments import refuse_model
from .input_checks import explain_inputs, warn_about_padding, warn_about_unused_columns
from .preparation import Preparation
from .probe import RecordingProbe
from .probe_outputs import RecordableLayer
from .request import LayerRequest, is_one_of
from .row_agreement import all_agree, differ, explain_mixing


def to_dataset(data: Any) -> Dataset:
    """Return what models are to run on as a Dataset: its name, a Dataset, or inputs. ValueError if it is empty."""
    refuse_model(data)
    if isinstance(data, str) and not Path(data).expanduser().is_dir():
        data = load_dataset(data)
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(
            f"Data set '{dataset.name}' is empty: there is nothing to record (a generator can be read only once)."
        )
    return dataset


class Run(Preparation):
    """One model over one data set.

    `probe` finds the layers that can be recorded, `forward` runs a batch, `take` makes rows of the output of a layer.

    found: the layers to record, in forward order.  left_out: layers that cannot be recorded and that nobody asked for
    by name, with the reasons.  without_values: those of them that are constant or give NaN.  masks: the masks of the
    batch that runs.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        layers: Any,
        pooling: Pooling,
        *,
        step: int | str = 0,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        axis: int | Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(model, dataset, device)
        self.pooling, self.step, self.request = pooling, step, LayerRequest(model, layers, axis)
        self.given_size = batch_size
        self.batch_size = batch_size or 1  # the probe chooses it if the user did not
        self.found: dict[str, RecordableLayer] = {}
        self.left_out: dict[str, str] = {}
        self.without_values: set[str] = set()
        self.required: set[str] = set()  # layers that were asked for one by one: a problem with them is an error
        self.pool_name = self.pooling.name
        self.ends: dict[str, np.ndarray] = {}  # mask -> the row at which each sample ends
        self._groups: dict[int | str | None, np.ndarray] = {}  # by the number of rows of a sample, or by the mask
        self.masks: dict[str, Tensor] = {}
        self.changes_itself = False  # see `RecordingProbe`

    def key(self, layer: str) -> Key:
        """Return the key of a layer in this run."""
        return Key(self.model.name, layer, self.dataset.name, self.step, self.pool_name)

    # -- what can be recorded

    def probe(self) -> dict[str, RecordableLayer]:
        """Run a few samples in several batches and return the layers to record, in the order in which they run.

        A layer that cannot be recorded is an error if it was asked for by name; otherwise it is left out (`left_out`).
        """
        probe = RecordingProbe(self, self.request, self.pooling, self.given_size)
        found = probe()
        self.tolerance, self.batch_size, self.changes_itself = probe.tolerance(), probe.batch_size, probe.changes_itself
        self._explain_loss(probe)
        warn_about_unused_columns(self.model, self.dataset, probe)
        if self.changes_itself:
            self.state.restore()
        wanted, self.required = self.request.choose(found, self._usual_layers(found, probe))
        self.found = {layer: about for layer, about in found.items() if layer in wanted}
        self._leave_out_unfit(probe)
        if changing := probe.changing_blocks():
            warn_user(f"Blocks of '{self.model.name}' change their size: {changing}.")
        warn_about_padding(self.model, [layer for layer in self.found if not self.found[layer].layout.mask], probe)
        if self.pooling.by_token and any(about.layout.mask for about in self.found.values()):
            self._count_tokens()
        return self.found

    def _leave_out_unfit(self, probe: RecordingProbe) -> None:
        """Leave out layers that cannot be recorded, are constant, or give NaN.

        ValueError if they were asked for one by one, or if no layer is left.
        """
        all_found = dict(self.found)
        not_finite = {layer: why for layer, about in self.found.items() if (why := _explain_not_finite(about))}
        constant = [layer for layer in self.found if layer not in not_finite and _is_constant(self.found[layer])]
        if len(constant) < len(self.found):  # if all layers are constant, the samples are equal
            why = "is constant: all samples that were tried have the same activations, so it cannot be compared"
            for layer in constant:
                if layer not in self.required:
                    self.leave_out(layer, why, has_values=False)

        def refuse(layer: str, why: str) -> NoReturn:
            if layer in not_finite:
                self._blame_inputs(_first_not_finite(all_found[layer]))
            raise (UndefinedError if layer in not_finite else ValueError)(
                f"layer '{layer}' of '{self.model.name}' {why}"
            )

        for layer, why in (probe.problems | not_finite).items():
            if layer in self.required or is_one_of(layer, self.request.by_name):
                refuse(layer, why)
            if layer not in probe.not_run:
                self.leave_out(layer, why, has_values=layer not in not_finite)
        if not self.found:
            layer, why = next(iter(self.left_out.items() or probe.problems.items()))
            none = f" (none of its {len(self.left_out)} layers can be recorded)" if len(self.left_out) > 1 else ""
            refuse(layer, why + none)

    def _usual_layers(self, found: Mapping[str, RecordableLayer], probe: RecordingProbe) -> list[str]:
        """Return the default layers in forward order; of several that return the unchanged output, only "output"."""

        def is_output(layer: str) -> bool:
            one, last = (probe.reference.given[probe.calls[name]] for name in (layer, OUTPUT))
            return (one.address, one.shape) == (last.address, last.shape) and all(
                np.array_equal(x, y, equal_nan=x.dtype.kind in "fc") for x, y in zip(one.rows, last.rows, strict=True)
            )

        usual = [layer for layer in found if is_one_of(layer, self.request.usual)]
        return [layer for layer in usual if layer == OUTPUT or OUTPUT not in found or not is_output(layer)]

    def _explain_loss(self, probe: RecordingProbe) -> None:
        """Add to the problem of the output that a model which is given labels may return only a loss."""
        if self.labels and probe.lacks_samples(OUTPUT):
            probe.not_run.discard(OUTPUT)
            probe.problems[OUTPUT] += (
                f". It gets the column '{self.labels}' as forward({self.labels}=), and may then return a loss. Remove"
                f" the column from the data and give it as rs.Dataset(name, columns, targets={self.labels})"
            )

    def leave_out(self, layer: str, why: str, *, has_values: bool = True) -> None:
        """Leave out a layer that nobody asked for by name. has_values: it is neither constant nor gives NaN."""
        self.left_out[layer] = why
        self.without_values |= set() if has_values else {layer}
        self.found.pop(layer, None)

    def describe_left_out(self) -> str:
        """Return the text of the warning about the layers that are left out, each advice once."""
        reasons: dict[str, list[str]] = {}
        advice: dict[str, None] = {}
        for layer, why in self.left_out.items():
            reason, stop, more = why.partition(". ")
            reasons.setdefault(reason, []).append(layer)
            advice |= {more: None} if stop else {}
        some = "; ".join(
            f"{join_names(layers, 6)}{':' if len(layers) > 1 else ''} {why}" for why, layers in reasons.items()
        )
        many = len(self.left_out)
        count = f"{many} layers of '{self.model.name}' are" if many > 1 else f"1 layer of '{self.model.name}' is"
        return ". ".join([f"{count} left out: {some}", *advice])

    def _count_tokens(self) -> None:
        """Count the tokens of each text.

        Two recordings match token by token only if all texts are tokenized in the same way, so the name of the pool
        contains a hash of the counts and the tokens.
        """
        numbers: dict[str, list[np.ndarray]] = {
            about.layout.mask: [np.zeros(1, int)] for about in self.found.values() if about.layout.mask
        }
        digest = hashlib.blake2b(digest_size=4)
        for first, last, inputs in self.dataset.batches(0, self.batch_size):
            prepared, masks = self.prepare(inputs, range(first, last))
            for name, some in numbers.items():
                some.append(masks[name].sum(1).cpu().numpy())
                if "input_ids" in prepared and prepared["input_ids"].shape[:2] == masks[name].shape:
                    digest.update(prepared["input_ids"][masks[name]].cpu().numpy().tobytes())
        self.ends = {name: np.concatenate(some).cumsum() for name, some in numbers.items()}
        for ends in self.ends.values():
            digest.update(ends.tobytes())
        self.pool_name = f"{self.pooling.name}:{digest.hexdigest()}"

    # -- a batch

    def forward(self, inputs: Any, first: int) -> None:
        """Run one batch, as the data set gives it, that begins with sample `first`."""
        prepared, self.masks = self.prepare(inputs, range(first, first + count_samples(inputs)))
        if self.changes_itself:
            self.state.restore(our_hooks=True)  # every batch begins from the model's first state
        forward(self.model.module, prepared, self.place)

    def row(self, layer: RecordableLayer, sample: int) -> int:
        """Return the row at which the rows of a sample begin."""
        return sample * layer.rows if layer.rows is not None else int(self._ends_of(layer)[sample])

    def _ends_of(self, layer: RecordableLayer) -> np.ndarray:
        """Return the row at which each sample ends, for a layer with one row for each token."""
        return self.ends[layer.layout.mask or ""]

    def groups(self, layer: RecordableLayer) -> np.ndarray | None:
        """Return the sample of each row, by its id or its number, if rows are tokens or places; else None."""
        if not self.pooling.by_token:
            return None
        cut = layer.rows if layer.rows is not None else layer.layout.mask
        if cut not in self._groups:
            samples = np.arange(len(self.dataset)) if self.dataset.ids is None else self.dataset.ids
            counts = layer.rows if layer.rows is not None else np.diff(self._ends_of(layer))
            self._groups[cut] = np.repeat(samples, counts)
        return self._groups[cut]

    def take(self, layer: str, out: Any, first: int, last: int, *, twice: bool) -> Tensor | None:
        """Return the rows (n, p) of a layer for samples first to last; None if the layer is left out.

        ValueError, with the name of the layer, if something is wrong with it and it was asked for by name.
        """
        about = self.found.get(layer)
        if about is None:
            return None
        try:
            if twice:
                raise ValueError(
                    "ran more than once in this batch, but only once for the samples that were tried first"
                )
            values = self.rows_of(about, out, last - first)
            self._check_rows(about, values, first, last)
            return values
        except ValueError as error:
            self.reject(layer, f"(samples {first} to {last}) {error}", error)
            return None

    def rows_of(self, about: RecordableLayer, out: Any, n: int) -> Tensor:
        """Return the rows of the output of a layer for a batch of n samples with the masks `self.masks`."""
        name = about.layout.mask
        if name and name not in self.masks:
            raise ValueError(f"follows '{name}', which is no mask of 0 and 1 in this batch")
        mask = self.masks[name] if name else None
        return self.pooling(find_tensor(out, about.part), n, about.layout, mask, self.masks)

    def reject(self, layer: str, why: str, error: Exception | None = None) -> None:
        """Leave out a layer that turns out to be wrong while it is recorded.

        ValueError if it was asked for by name, or if no other layer is left.
        """
        if layer in self.required or len(self.found) == 1:
            if isinstance(error, _NotFinite):
                self._blame_inputs(error.sample)
            kind = UndefinedError if isinstance(error, UndefinedError) else ValueError
            raise self._error(f"layer '{layer}' of '{self.model.name}' {why}", kind) from error
        self.leave_out(layer, why, has_values=not isinstance(error, _NotFinite))

    def _blame_inputs(self, sample: int) -> None:
        """Raise UndefinedError if a sample whose activations are not finite has such inputs."""
        if why := explain_inputs(self.dataset, sample):
            raise self._error(why, UndefinedError)

    def reject_missing(self, layers: Sequence[str], first: int, last: int) -> None:
        """Reject layers that did not run in a batch, samples first to last."""
        for layer in layers:
            if layer in self.found:
                self.reject(layer, f"did not run for samples {first} to {last}, although it did for others")

    def _check_rows(self, layer: RecordableLayer, values: Tensor, first: int, last: int) -> None:
        """Raise ValueError unless rows have the right shape, are finite, and equal what the probe saw."""
        start = self.row(layer, first)
        expected = self.row(layer, last) - start, *layer.shape
        if tuple(values.shape) != expected:
            raise ValueError(
                f"has rows of the shape {tuple(values.shape)}; expected {expected}. If inputs differ in length or size,"
                " use pool='mean'."
            )
        floating = values.is_floating_point() or values.is_complex()
        if floating and not values.sum().isfinite() and not (good := values.isfinite()).all():
            row = start + int((~good).any(1).int().argmax())
            sample = row // layer.rows if layer.rows else int((self._ends_of(layer) <= row).sum()) - 1
            bad = f"{int((~good).sum())} of {values.numel()}, the first for sample {sample}"
            raise _NotFinite(f"gives NaN or infinite numbers: {bad}", sample)
        tried = {
            sample: values[self.row(layer, sample) - start : self.row(layer, sample + 1) - start].cpu().numpy()
            for sample in layer.expected
            if first <= sample < last
        }
        wanted = [layer.expected[sample] for sample in tried]
        if tried and all_agree(list(tried.values()), wanted, layer.size, self.tolerance):  # the usual case
            return
        for sample, rows in tried.items():
            if gap := differ(rows, layer.expected[sample], layer.size, self.tolerance):
                raise ValueError(
                    f"mixes samples: row {sample - first} of a batch of {last - first} differs from the same sample in"
                    f" a smaller batch (by {gap:.2g}, in values of about {layer.size:.2g}), so its values depend on"
                    f" batch_size. {explain_mixing(self.model.module)}"
                )


def warn_left_out(runs: Sequence[Run]) -> None:
    """Warn once for each run that left layers out."""
    for run in runs:
        if run.left_out:
            warn_user(run.describe_left_out())


class _NotFinite(UndefinedError):
    """Activations of a sample are NaN or infinite."""

    def __init__(self, message: str, sample: int) -> None:
        super().__init__(message)
        self.sample = sample


def _first_not_finite(layer: RecordableLayer) -> int:
    """Return the first of the samples that were tried whose activations are NaN or infinite; -1 if there is none."""
    bad = (i for i, rows in sorted(layer.expected.items()) if rows.dtype.kind in "fc" and not np.isfinite(rows).all())
    return next(bad, -1)


def _explain_not_finite(layer: RecordableLayer) -> str:
    """Return what is wrong with the values of the first samples; "" if they are finite."""
    if (sample := _first_not_finite(layer)) < 0:
        return ""
    rows = layer.expected[sample]
    bad = int((~np.isfinite(rows)).sum())
    return f"gives NaN or infinite numbers: {bad} of {rows.size} for sample {sample}"


def _is_constant(layer: RecordableLayer) -> bool:
    """Return whether all samples that were tried have the same rows, up to rounding."""
    first, *others = layer.expected.values()
    # a few integers, such as classes, can be the same by chance
    if not others or layer.dtype.kind != "f" or any(rows.shape != first.shape for rows in others):
        return False
    eps = np.finfo(layer.dtype).eps
    room = 8 * eps * np.abs(first).max(initial=0.0)
    if layer.scale is not None:  # the mean of numbers that cancel contains their rounding
        room = np.maximum(room, 32 * eps * layer.scale)
    return all((np.abs(rows.astype(float) - first) <= room).all() for rows in others)
