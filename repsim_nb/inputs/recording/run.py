"""`Run`: one model about to run over one data set, which of its layers can be recorded, and the rows of a layer for a
batch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from repsim_nb.inputs.batches import label_of, number_of
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT, Model
from repsim_nb.inputs.models.arguments import as_taken, takes, why_refused
from repsim_nb.inputs.models.model import AUTO, one_by_one
from repsim_nb.inputs.models.running import evaluating, forward, tensor_of
from repsim_nb.inputs.pooling import Pooling, is_usual, masks_of
from repsim_nb.inputs.store import Key
from repsim_nb.support.errors import UndefinedError, join_names
from repsim_nb.support.validation import is_integer

from .agreement import all_agree, differ, likely_cause
from .padding import announce
from .probe import Layer, Probe
from .samples import batch_of
from .unused import unused, warn_unused


def dataset_of(data: Any) -> Dataset:
    """What models are to run on, as a Dataset: the name of one, a Dataset, or inputs. ValueError where it is empty."""
    if isinstance(data, str) and not Path(data).expanduser().is_dir():
        data = load_dataset(data)
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(
            f"dataset '{dataset.name}' is empty: there is nothing to record (a generator can be read once only)"
        )
    return dataset


class Run:
    """One model over one data set: `probe` finds the layers that can be recorded, `forward` runs a batch, `take` makes
    rows of a layer's output.

    found: the layers to record, in forward order.  left_out: layers that nobody asked for by name and that cannot be
    recorded, and why.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        layers: Any,
        pooling: Pooling,
        step: int | str,
        batch_size: int | None,
        device: Any,
        axis: int | Mapping[str, int] | None = None,
    ) -> None:
        self.model, self.dataset, self.batch_size, self.device, self.step, self.pooling = (
            model,
            dataset,
            batch_size,
            device,
            step,
            pooling,
        )
        asked = one_by_one(AUTO if layers is None else layers)
        words = [layer for layer in asked if isinstance(layer, str) and layer != AUTO]
        self.numbers = [layer for layer in asked if not isinstance(layer, str)]
        self.auto = AUTO in asked
        self.named, self.by_name = model.check_layers(words) if words else (), model.by_name(words)
        self.usual: tuple[str, ...] = ()
        if layers is None or self.numbers:
            self.usual = model.layers
        elif self.auto:
            self.usual = model.check_layers(AUTO)
        self.axis = _axis_by_layer(model, axis)
        self.asked = self.named, self.usual, self.auto, tuple(self.numbers), tuple(sorted(self.axis.items()))
        self.found: dict[str, Layer] = {}
        self.left_out: dict[str, str] = {}
        self.required: set[str] = set()  # layers that were asked for one by one: what is wrong with them is an error
        self.pool_name = pooling.name
        self.labels = ""  # the name of the column of labels that the model is given
        self.ends: dict[str, np.ndarray] = {}  # mask -> after how many tokens each sample ends
        self._groups: dict[
            int | str | None, np.ndarray
        ] = {}  # by the number of rows a sample, or by the mask that says it
        self.masks: dict[str, Tensor] = {}  # of the batch that runs
        self.changes_itself = False  # see `Probe`
        self.trouble: BaseException | None = None  # an error of ours that passes through the network

    def axis_of(self, *names: str) -> int | None:
        """The axis of the features that the user gave for a layer by one of its names, for the module that it is a part
        of, or for all.
        """
        around = [other for name in names for other in (name.partition("[")[0], _base(name))]
        return next((self.axis[name] for name in (*names, *around, "") if name in self.axis), None)

    def key(self, layer: str) -> Key:
        return Key(self.model.name, layer, self.dataset.name, self.step, self.pool_name)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """While open, the model can be run: evaluation mode, no gradients, on its device."""
        with evaluating(self.model.module, self.device) as (self.place, self.state):
            yield

    # -- what can be recorded
    # ----------------------------------------------------------------------------------------------

    def probe(self) -> dict[str, Layer]:
        """Run a few samples in several batches -> the layers to record, in the order in which they run.

        A layer that cannot be recorded is an error if it was asked for by name; else it is left out (`left_out`).
        """
        layers = list(dict.fromkeys([*self.named, *self.usual]))
        probe = Probe(
            self.model.module,
            self.dataset,
            layers,
            self.pooling,
            self.batch_size,
            self.place,
            self.state,
            self.prepare,
            self.explaining,
            self.axis_of,
        )
        found = probe()
        self.tolerance, self.batch_size, self.changes_itself = probe.tolerance(), probe.batch_size, probe.changes_itself
        self._explain_loss(probe)
        if columns := unused(self.model, probe.company.prepared, probe.runner):
            given = batch_of(self.dataset, [0])  # a preprocess may add columns of its own
            columns = [name for name in columns if isinstance(given, Mapping) and name in given]
        if columns:
            warn_unused(self.model, columns)
        if self.changes_itself:
            self.state.restore()
        usual = self._usual(found, probe)
        for number in self.numbers:
            if not -len(usual) <= number < len(usual):
                raise ValueError(
                    f"'{self.model.name}' has {len(usual)} layers, {join_names(usual)}; there is no number {number}"
                )
        by_number = {usual[number] for number in self.numbers}
        wanted = (
            by_number
            | {layer for layer in found if _base(layer) in self.named or layer in self.named}
            | (set(usual) if self.auto else set())
        )
        self.required = by_number | {layer for layer in wanted if _base(layer) in self.by_name or layer in self.by_name}
        self.found = {layer: about for layer, about in found.items() if layer in wanted}
        not_finite = {layer: why for layer in self.found if (why := _not_finite(found[layer]))}
        constant = [layer for layer in self.found if layer not in not_finite and _is_constant(found[layer])]
        for layer in constant if len(constant) < len(self.found) else ():  # if all are, the samples are
            if layer not in self.required:
                self.leave_out(
                    layer,
                    "is constant: all samples that were tried have the same activations, so that it cannot be compared",
                )
        for layer, why in (probe.problems | not_finite).items():
            if _base(layer) in self.by_name or layer in self.by_name or layer in by_number:
                raise (UndefinedError if layer in not_finite else ValueError)(
                    f"layer '{layer}' of '{self.model.name}' {why}"
                )
            if layer not in probe.silent or (layer in self.named and not why.startswith("did not run")):
                self.leave_out(layer, why)
        if not self.found:
            layer, why = next(iter(self.left_out.items() or probe.problems.items()))
            raise (UndefinedError if layer in not_finite else ValueError)(
                f"layer '{layer}' of '{self.model.name}' {why}"
                + (f" (none of its {len(self.left_out)} layers can be recorded)" if len(self.left_out) > 1 else "")
            )
        if changing := probe.changing_blocks():
            warnings.warn(f"blocks of '{self.model.name}' change their size: {changing}", stacklevel=4)
        unmasked = {
            layer: probe.company.given[probe.calls[layer]].shape
            for layer, about in self.found.items()
            if about.layout.mask is None
        }
        announce(
            self.model, unmasked, probe.company, probe.masked, probe.mask_inside, self.pooling, probe.moves_with_padding
        )
        if self.pooling.by_token and any(about.layout.mask for about in self.found.values()):
            self._count_tokens()
        return self.found

    def _usual(self, found: Mapping[str, Layer], probe: Probe) -> list[str]:
        """The layers that are recorded by default, in forward order; of several that give the very output, untouched,
        only "output".
        """
        usual = [layer for layer in found if _base(layer) in self.usual or layer in self.usual]
        if OUTPUT not in found:
            return usual

        def is_output(layer: str) -> bool:
            one, last = (probe.company.given[probe.calls[name]] for name in (layer, OUTPUT))
            return (
                one.address == last.address
                and one.shape == last.shape
                and all(
                    np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")
                    for x, y in zip(one.rows, last.rows, strict=True)
                )
            )

        return [layer for layer in usual if layer == OUTPUT or not is_output(layer)]

    def leave_out(self, layer: str, why: str) -> None:
        """Do without a layer that nobody asked for by name."""
        self.left_out[layer] = why
        self.found.pop(layer, None)

    def left_out_in_words(self) -> str:
        """A sentence for a warning, each advice once; "" if nothing was left out."""
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
        return (
            ". ".join(
                [
                    (
                        f"{many} layer{'s' if many > 1 else ''} of '{self.model.name}' {'are' if many > 1 else 'is'}"
                        f" left out: {some}"
                    ),
                    *advice,
                ]
            )
            if many
            else ""
        )

    def _count_tokens(self) -> None:
        """How many tokens each text has.

        Two recordings match token by token only if they cut all texts alike: the pool's name says how.
        """
        numbers: dict[str, list[np.ndarray]] = {
            about.layout.mask: [] for about in self.found.values() if about.layout.mask
        }
        digest = hashlib.blake2b(digest_size=4)
        for first, last, inputs in self.dataset.batches(0, self.batch_size):
            prepared, masks = self.prepare(inputs, range(first, last))
            for name, some in numbers.items():
                some.append(masks[name].sum(1).cpu().numpy())
                if "input_ids" in prepared and prepared["input_ids"].shape[:2] == masks[name].shape:
                    digest.update(prepared["input_ids"][masks[name]].cpu().numpy().tobytes())
        self.ends = {name: np.concatenate([[0], np.concatenate(some).cumsum()]) for name, some in numbers.items()}
        for ends in self.ends.values():
            digest.update(ends.tobytes())
        self.pool_name = f"{self.pooling.name}:{digest.hexdigest()}"

    # -- a batch
    # -----------------------------------------------------------------------------------------------------------

    def prepare(self, inputs: Any, samples: Sequence[int]) -> tuple[Any, dict[str, Tensor]]:
        """A batch, as the data set gives it -> the batch as the model takes it, and its masks.

        The user's own preprocess gets a copy, since it may write into what it is given.
        """
        self._take_note_of_labels(inputs)
        prepared = as_taken(self.model.module, self.model.preprocess, inputs)
        return prepared, self._checked_masks(prepared, samples)

    def _take_note_of_labels(self, inputs: Any) -> None:
        """`labels` becomes the name of the column of labels that the model is given.

        ValueError if labels are random.
        """
        label = label_of(inputs)
        self.labels = label if label and takes(self.model.module, label, inputs) else ""
        random = getattr(self.dataset.inputs, "random_labels", None)
        if self.labels and random is not None:
            raise self._own(
                f"the label of sample {random} of '{self.dataset.name}' differs each time it is read, and"
                f" '{self.model.name}' is given it, as forward({label}=): remove what is random from it, or the column"
                " from the samples"
            )

    def _explain_loss(self, probe: Probe) -> None:
        """A model that is given labels may return nothing but a loss."""
        if self.labels and "no sample axis" in probe.problems.get(OUTPUT, ""):
            probe.silent.discard(OUTPUT)
            probe.problems[OUTPUT] += (
                f". It was given the column '{self.labels}', forward({self.labels}=), and may return a loss then: take"
                f" the column out of the data and give it as rs.Dataset(name, columns, targets={self.labels})"
            )

    def forward(self, inputs: Any, first: int) -> None:
        """Run one batch, as the data set gives it, from sample `first` on."""
        prepared, self.masks = self.prepare(inputs, range(first, first + number_of(inputs)))
        if self.changes_itself:
            self.state.restore(our_hooks=True)  # every batch begins from the model's first state
        forward(self.model.module, prepared, self.place)

    def _checked_masks(self, prepared: Any, samples: Sequence[int]) -> dict[str, Tensor]:
        """The masks of a prepared batch; ValueError for nested tensors, and for a text without a token."""
        columns = dict(prepared) if isinstance(prepared, Mapping) else {"": prepared}
        if any(isinstance(column, Tensor) and column.is_nested for column in columns.values()):
            raise self._own(
                f"the inputs of '{self.model.name}' are nested tensors, whose rows are of unlike length: pad them to"
                " one length, torch.nested.to_padded_tensor(x, 0.0), and give the mask along, {'x': ...,"
                " 'attention_mask': ...}"
            )
        masks = masks_of(prepared)
        for name, mask in masks.items():
            if len(mask) == len(samples) and not (full := mask.any(1)).all():
                at = int((~full).int().argmax())
                raise self._own(
                    f"sample {samples[at]} of '{self.dataset.name}' is empty, it has no token ('{name}'): remove empty"
                    " texts"
                    + (
                        ""
                        if is_usual(name)
                        else f". If '{name}' marks padding by 1, give ~{name}, or call it 'padding_mask'"
                    )
                )
        if not masks and any(
            isinstance(column, Tensor) and column.ndim == 2 and column.shape[1] == 0 for column in columns.values()
        ):
            raise self._own(
                f"sample {samples[0]} of '{self.dataset.name}' is empty, it has no token: remove empty texts"
            )
        return masks

    def _own(self, message: str, kind: type[ValueError] = ValueError) -> ValueError:
        self.trouble = kind(message)
        return self.trouble

    def row(self, layer: Layer, sample: int) -> int:
        """The row at which a sample's rows begin."""
        return sample * layer.rows if layer.rows is not None else int(self.ends[layer.layout.mask][sample])

    def groups(self, layer: Layer) -> np.ndarray | None:
        """The sample that each row of a layer is from, by its id or its number, if rows are tokens or places; else
        None.
        """
        if not self.pooling.by_token:
            return None
        cut = layer.rows if layer.rows is not None else layer.layout.mask
        if cut not in self._groups:
            samples = np.arange(len(self.dataset)) if self.dataset.ids is None else self.dataset.ids
            self._groups[cut] = np.repeat(
                samples, layer.rows if layer.rows is not None else np.diff(self.ends[layer.layout.mask])
            )
        return self._groups[cut]

    def take(self, layer: str, out: Any, first: int, last: int, *, twice: bool) -> Tensor | None:
        """The rows (n, p) that a layer gives for samples first to last; None if it is left out, since it gave something
        wrong.

        ValueError, with the layer's name, if it was asked for by name.
        """
        about = self.found.get(layer)
        if about is None:
            return None
        try:
            if twice:
                raise ValueError("ran more than once in this batch, but once for the samples that were tried first")
            values = self.rows_of(about, out, last - first)
            self._check_rows(about, values, first, last)
            return values
        except ValueError as error:
            self.wrong(layer, f"(samples {first} to {last}) {error}", error)
            return None

    def rows_of(self, about: Layer, out: Any, n: int) -> Tensor:
        """The rows of a layer's output for a batch of n samples, whose masks are `self.masks`."""
        if about.layout.mask and about.layout.mask not in self.masks:
            raise ValueError(f"follows '{about.layout.mask}', which is no mask of 0 and 1 in this batch")
        return self.pooling(
            tensor_of(out, about.part),
            n,
            about.layout,
            self.masks[about.layout.mask] if about.layout.mask else None,
            self.masks,
        )

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around what a hook does on our side: an error there, a full disk, is not taken for one of the network's."""
        try:
            yield
        except BaseException as error:
            self.trouble = error
            raise

    def wrong(self, layer: str, why: str, error: Exception | None = None) -> None:
        """Something is wrong with a layer while it is recorded: ValueError if it was asked for by name, or if no other
        is left; else it is left out.
        """
        if layer in self.required or len(self.found) == 1:
            raise self._own(
                f"layer '{layer}' of '{self.model.name}' {why}",
                UndefinedError if isinstance(error, UndefinedError) else ValueError,
            ) from error
        self.leave_out(layer, why)

    def did_not_run(self, layers: Sequence[str], first: int, last: int) -> None:
        """Layers that a batch, samples first to last, passed by."""
        for layer in layers:
            if layer in self.found:
                self.wrong(layer, f"did not run for samples {first} to {last}, though it did for others")

    def _check_rows(self, layer: Layer, values: Tensor, first: int, last: int) -> None:
        expected = self.row(layer, last) - self.row(layer, first), *layer.shape
        if tuple(values.shape) != expected:
            raise ValueError(
                f"has rows of the shape {tuple(values.shape)}; expected {expected}. If inputs differ in length or size,"
                " use pool='mean'"
            )
        if (
            (values.is_floating_point() or values.is_complex())
            and not values.sum().isfinite()
            and not (good := values.isfinite()).all()
        ):
            row = self.row(layer, first) + int((~good).any(1).int().argmax())
            sample = (
                row // layer.rows
                if layer.rows
                else int(np.searchsorted(self.ends[layer.layout.mask], row, "right")) - 1
            )
            raise UndefinedError(
                f"{int((~good).sum())} of {values.numel()} numbers are NaN or infinite, the first for sample {sample}"
            )
        here = [sample for sample in layer.expected if first <= sample < last]
        if layer.rows == 1 and here and layer.dtype.kind == "f":  # all at once, since they mostly agree
            rows = values.numpy() if values.device.type == "cpu" else values
            got = [
                rows[sample - first] if values.device.type == "cpu" else rows[sample - first].cpu().numpy()
                for sample in here
            ]
            if all_agree(got, [layer.expected[sample][0] for sample in here], layer.size, self.tolerance):
                return
        for sample in here:
            got = (
                values[
                    self.row(layer, sample) - self.row(layer, first) : self.row(layer, sample + 1)
                    - self.row(layer, first)
                ]
                .cpu()
                .numpy()
            )
            if gap := differ(got, layer.expected[sample], layer.size, self.tolerance):
                raise ValueError(
                    f"mixes samples: row {sample - first} of a batch of {last - first} differs from the same sample in"
                    f" a smaller batch (by {gap:.2g}, in values of about {layer.size:.2g}), so its values depend on"
                    f" batch_size. {likely_cause(self.model.module)}"
                )

    @contextmanager
    def explaining(self, batch: Any, prepared: Any = None, *, samples: str = "") -> Iterator[None]:
        """What goes wrong inside the network is reported with the form of its input."""
        try:
            yield
        except Exception as error:
            if error is self.trouble:
                raise
            given = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
            reached = (
                f"reached it as {_form(prepared)}, and "
                if prepared is not None
                else ""
                if samples
                else "could not be preprocessed, and "
            )
            hint = (
                why_refused(self.model.module, batch if prepared is None else prepared)
                if reached != "could not be preprocessed, and "
                else ""
            )
            hint += (
                ""
                if "preprocess=" in str(error)
                else ". Give it a preprocess, load_model(..., preprocess=function of a batch), if the form is wrong"
            )
            n = number_of(batch)
            which = samples or f"{n} sample{'s' if n > 1 else ''}"
            raise ValueError(
                f"model '{self.model.name}' could not run on '{self.dataset.name}': {which}, {given}, {reached}it said:"
                f" {str(error).removesuffix('.')}{hint}"
            ) from error


def warn_left_out(runs: Sequence[Run]) -> None:
    """One warning for each run that left layers out, at the line of the user's call, two calls up."""
    for run in runs:
        if run.left_out:
            warnings.warn(run.left_out_in_words(), stacklevel=3)


def _not_finite(layer: Layer) -> str:
    """What is wrong with the values of the first samples, "" if nothing is."""
    bad = {
        sample: int((~np.isfinite(rows)).sum()) for sample, rows in layer.expected.items() if rows.dtype.kind in "fc"
    }
    first = min((sample for sample, number in bad.items() if number), default=None)
    return (
        ""
        if first is None
        else f"gives NaN or infinite numbers: {bad[first]} of {layer.expected[first].size} for sample {first}"
    )


def _is_constant(layer: Layer) -> bool:
    """Are the rows of all samples that were tried the same, but for rounding?"""
    first, *others = layer.expected.values()
    if (
        not others or layer.dtype.kind != "f" or any(rows.shape != first.shape for rows in others)
    ):  # of integers, as classes are, few can be the same by chance
        return False
    eps = np.finfo(layer.dtype).eps
    room = 8 * eps * np.abs(first).max(initial=0.0)
    room = (
        room if layer.scale is None else np.maximum(room, 32 * eps * layer.scale)
    )  # a mean of numbers that cancel holds their rounding
    return all((np.abs(rows.astype(float) - first) <= room).all() for rows in others)


def _axis_by_layer(model: Model, axis: Any) -> dict[str, int]:
    """The option `axis` by the names of layers; "" stands for all.

    ValueError for what is no axis, and for unknown layers.
    """
    given = dict(axis) if isinstance(axis, Mapping) else {} if axis is None else {"": axis}
    for layer, at in given.items():
        if not is_integer(at) or at == 0:
            raise ValueError(
                "axis is the axis along which features lie, an integer such as 1 or -1 (axis 0 holds the samples), or"
                f" a dict from layers to such; got {at!r}" + (f" for '{layer}'" if layer else "")
            )
    return {name: int(at) for layer, at in given.items() for name in (model.check_layers(layer) if layer else ("",))}


def _base(layer: str) -> str:
    """The module that a layer is a call or an item of: "act" of "act#2" and of "act[1]"; "output#1" is no call of
    "output".
    """
    layer = layer.partition("[")[0]
    base = layer.rpartition("#")[0]
    return base if base and base != OUTPUT else layer


def _form(prepared: Any) -> str:
    if isinstance(prepared, Tensor):
        return f"{tuple(prepared.shape)} {str(prepared.dtype).removeprefix('torch.')}"
    if isinstance(prepared, Mapping):
        return ", ".join(f"{name} {_form(value)}" for name, value in prepared.items())
    return type(prepared).__name__
