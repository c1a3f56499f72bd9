"""`Preparation`: the batches of a data set as a model takes them, and errors that name the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from repsim_nb.inputs.batches import count_samples, find_label_column
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.models.arguments import explain_refusal, prepare_batch, takes_labels
from repsim_nb.inputs.models.running import evaluation_mode
from repsim_nb.inputs.models.state import State
from repsim_nb.inputs.pooling import find_masks, is_usual_mask
from repsim_nb.support.errors import as_clause
from repsim_nb.support.summaries import count_of


class Preparation:
    """One model and one data set: `prepare` makes a batch as the model takes it; inside `ready` the model can run.

    labels: the name of the column of labels that the model is given, or "".  place, state: the device of the model and
    its state before the first pass, inside `ready`.
    """

    def __init__(self, model: Model, dataset: Dataset, device: str | torch.device | None = None) -> None:
        self.model, self.dataset, self.device = model, dataset, device
        self.labels = ""
        self.place: torch.device
        self.state: State
        self._own_error: BaseException | None = None  # an error of this package that passes through the model

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Put the model into evaluation mode, without gradients, on its device, while the context is open."""
        with evaluation_mode(self.model.module, self.device) as (self.place, self.state):
            yield

    def prepare(self, inputs: Any, samples: Sequence[int]) -> tuple[Any, dict[str, Tensor]]:
        """Return a batch of the data set as the model takes it, and its masks.

        The preprocess of the user gets a copy, since it may write into its input.
        """
        label = find_label_column(inputs)
        self.labels = label if label and takes_labels(self.model.module, label, inputs) else ""
        random = getattr(self.dataset.inputs, "random_labels", None)
        if self.labels and random is not None:
            raise self._error(
                f"The label of sample {random} of '{self.dataset.name}' differs each time it is read, and"
                f" '{self.model.name}' gets it as forward({label}=). Remove what is random from it, or the column from"
                " the samples."
            )
        prepared = prepare_batch(self.model.module, self.model.preprocess, inputs)
        return prepared, self._check_masks(prepared, samples)

    def _check_masks(self, prepared: Any, samples: Sequence[int]) -> dict[str, Tensor]:
        """Return the masks of a prepared batch; ValueError for nested tensors and for a text without a token."""
        columns = [
            column
            for column in (prepared.values() if isinstance(prepared, Mapping) else [prepared])
            if isinstance(column, Tensor)
        ]
        if any(column.is_nested for column in columns):
            raise self._error(
                f"The inputs of '{self.model.name}' are nested tensors, whose rows differ in length. Pad them to one"
                " length, torch.nested.to_padded_tensor(x, 0.0), and add the mask, {'x': ..., 'attention_mask': ...}."
            )
        masks = find_masks(prepared)
        for name, mask in masks.items():
            if len(mask) == len(samples) and not (full := mask.any(1)).all():
                at = int((~full).int().argmax())
                hint = f" If '{name}' marks padding by 1, give ~{name}, or call it 'padding_mask'."
                raise self._error(
                    f"Sample {samples[at]} of '{self.dataset.name}' is empty, it has no token ('{name}'). Remove empty"
                    f" texts.{'' if is_usual_mask(name) else hint}"
                )
        if not masks and any(column.ndim == 2 and column.shape[1] == 0 for column in columns):
            raise self._error(
                f"Sample {samples[0]} of '{self.dataset.name}' is empty, it has no token. Remove empty texts."
            )
        return masks

    def _error(self, message: str, kind: type[ValueError] = ValueError) -> ValueError:
        """Return an error of this package, which `explain_errors` does not reword."""
        self._own_error = kind(message)
        return self._own_error

    @contextmanager
    def pass_own_errors(self) -> Iterator[None]:
        """Keep errors of this package, such as a full disk, apart from errors of the model."""
        try:
            yield
        except BaseException as error:
            self._own_error = error
            raise

    @contextmanager
    def explain_errors(self, batch: Any, prepared: Any = None, *, samples: str = "") -> Iterator[None]:
        """Report an error inside the model with the form of its input."""
        try:
            yield
        except Exception as error:
            if error is self._own_error:
                raise
            given = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
            reached = f"reached it as {_describe_form(prepared)}, and " if prepared is not None else ""
            if prepared is None and not samples:
                reached, hint = "could not be preprocessed, and ", ""
            else:
                hint = explain_refusal(self.model.module, batch if prepared is None else prepared)
            if "preprocess=" not in str(error):
                hint += ". Give it a preprocess, load_model(..., preprocess=function of a batch), if the form is wrong"
            raise ValueError(
                f"Model '{self.model.name}' could not run on '{self.dataset.name}':"
                f" {samples or self._describe_batch(count_samples(batch))}, {given}, {reached}it raised:"
                f" {as_clause(error)}{hint}"
            ) from error

    def _describe_batch(self, n: int) -> str:
        """Return how many samples a batch has; a few samples are repeated to fill it."""
        own = min(n, len(self.dataset))
        return count_of(own, "sample") + (f", repeated in a batch of {n}" if own < n else "")


def _describe_form(prepared: Any) -> str:
    """Return the shapes and types of a prepared batch, in words."""
    if isinstance(prepared, Tensor):
        return f"{tuple(prepared.shape)} {str(prepared.dtype).removeprefix('torch.')}"
    if isinstance(prepared, Mapping):
        return ", ".join(f"{name} {_describe_form(value)}" for name, value in prepared.items())
    return type(prepared).__name__
