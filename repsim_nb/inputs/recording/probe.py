"""`RecordingProbe`: find what can be recorded of a model by running a few samples, alone and in batches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from repsim_nb.inputs.models.running import AT_EACH_POSITION
from repsim_nb.inputs.pooling import TOKENS, Layout, Pooling

from .masks import resolve_masks
from .preparation import Preparation
from .probe_layers import ProbeLayers
from .probe_outputs import ModuleCall, Pass, RecordableLayer
from .probe_passes import are_equal, first_sentence
from .request import LayerRequest
from .row_agreement import REORDERED, all_agree, differ, explain_mixing, is_reordered
from .samples import pick_at_ends, pick_samples, put_shortest_first

SAMPLES = 8  # samples in a batch of the probe
EXTRA = 12  # samples in its last batch, which has some from the ends of a full batch
MAX_BATCH = 250  # samples in a pass, if the user gives no batch_size
# bytes of the largest activation in a pass, if the user gives no batch_size: larger ones leave the caches and take
# twice as long
BATCH_BYTES = 2**26
PROBE_BYTES = 2**28  # bytes of the largest activation in a batch of the probe

Checks = Mapping[str, list[tuple[Pass, int, int]]]  # layer -> (pass, place in it, place among all samples)


class RecordingProbe(ProbeLayers):
    """Runs a few samples in four passes.

    One sample runs alone, then at the head, in the middle and at the end of a batch; the others run in two batches
    without it. Called, the probe returns the layers that can be recorded, in forward order. Afterwards `problems` has
    the reason for each other layer, and `batch_size` the number of samples in a pass.
    """

    def __init__(self, run: Preparation, request: LayerRequest, pooling: Pooling, given_size: int | None) -> None:
        super().__init__(run, request, pooling, given_size)
        self.changes_itself = False  # whether a pass changes the model: a counter, a cache, a state
        self.mask_columns: set[str] = set()  # the columns that masks are for
        self.single_rows: dict[str, np.ndarray] = {}  # rows of layers that mix samples, if each batch is one sample
        self.seen: dict[str, dict[int, np.ndarray]] = {}  # layer -> the rows of samples that are not in `numbers`

    def __call__(self) -> dict[str, RecordableLayer]:
        """Run the passes and return the layers that can be recorded, in forward order."""
        most = max(2, min(SAMPLES, self.given_size or SAMPLES))
        numbers = pick_samples(self.dataset, most)
        self.one, *others = put_shortest_first(numbers, self._start(numbers)[1].prepared)
        alone = self._run_batch([self.one])
        most = min(most, max(2, PROBE_BYTES // self.largest))  # fewer samples if activations are large
        if most > 4:
            others = others[: most - 3]
            self.numbers = [self.one, *others[: len(others) // 2], self.one, *others[len(others) // 2 :], self.one]
        else:
            others = others[: most - 1]
            self.numbers = [*others[::2], self.one, *others[1::2]]
        self.reference = self._run_batch(self.numbers, alone)
        # the model may take only one sample at a time
        if self.reference.stopped and self.given_size == 1 and not alone.stopped:
            self.numbers, others = [self.one], []
            self.reference = self._run_batch(self.numbers, alone)
        if self.reference.stopped:
            raise self.reference.stopped
        self.batch_size = self.given_size or max(1, min(MAX_BATCH, BATCH_BYTES // self.largest))
        if self.reference.masks:
            self.mask_columns = resolve_masks(
                self.runner, self.reference, self.pooling, self._take_rows, self.tolerance()
            )
        self._name_layers(alone)
        self._compare(self._check_alone(alone))
        self._check_other_batches(others)
        self.changes_itself = self.state.restore()  # the recording begins with the same state as the probe
        found = {layer: self._layer(layer) for layer in self.calls if layer not in self.problems}
        return dict(sorted(found.items(), key=lambda item: item[1].place))

    def _layer(self, layer: str) -> RecordableLayer:
        """Return a layer that can be recorded, with the rows that the passes gave."""
        output = self.reference.given[self.calls[layer]]
        layout = output.layout or Layout()
        expected = self.seen[layer] | dict(zip(self.numbers, output.rows, strict=True))
        if layer in self.single_rows:
            expected = {self.one: self.single_rows[layer]}
        # a pool that takes the values of one place
        chosen = self.pooling.own is not None or self.pooling.name in ("first", "last", TOKENS)
        return RecordableLayer(
            output.rows[0].shape[1:],
            output.rows[0].dtype,
            output.place,
            len(output.rows[0]) if not self.pooling.by_token or layout.mask is None else None,
            layout,
            part=self.calls[layer][2],
            size=output.size,
            expected=expected,
            no_logits="" if chosen and AT_EACH_POSITION in output.no_logits else output.no_logits,
            scale=output.scale,
        )

    # -- whether rows are the same in any batch

    def _check_alone(self, alone: Pass) -> Checks:
        """Return what to compare of the sample that ran alone.

        Its rows are compared with those at the head, in the middle and at the end of a batch.
        """
        places = [place for place, sample in enumerate(self.numbers) if sample == self.one]
        checks = {}
        for layer, call in self.calls.items():
            output, single = self.reference.given[call], alone.given.get(call)
            if layer in self.problems:
                if single is not None and single.shape == output.shape and output.lacks_samples:
                    self.problems[layer] = (
                        f"has no sample axis: it gave {output.shape} for any samples, as positions are the same for all"
                    )
            elif single is None and alone.stopped:
                self.problems[layer] = (
                    "cannot be checked, since the model does not run on one sample alone"
                    f" ({first_sentence(alone.stopped)}). Does it need a batch (batch normalisation without running"
                    " statistics), or drop an axis of length 1?"
                )
            elif single is None or alone.calls[call[0]] != self.reference.calls[call[0]]:
                self.problems[layer] = self._explain_uneven(call[0], alone)
            else:
                single.layout = output.layout
                try:
                    self._take_rows(single, alone)
                    checks[layer] = [(alone, 0, place) for place in places]
                except ValueError as error:
                    self.problems[layer] = f"for one sample alone, {error}"
        return checks

    def _explain_uneven(self, name: str, one: Pass) -> str:
        """Return the problem of a layer that runs more or less often in a batch than alone."""

        def times(number: int) -> str:
            return "once" if number == 1 else "never" if not number else f"{number} times"

        return (
            f"ran {times(self.reference.calls[name])} for a batch of {len(self.numbers)} and {times(one.calls[name])}"
            f" for a batch of {len(one.samples)}, so its rows are not those of the samples. Does it get only some of"
            " them, as an expert does?"
        )

    def _check_other_batches(self, others: list[int]) -> None:
        """Run every sample in another batch and at another place, without the one that ran alone.

        It is first in a batch of the same size, where a state would be carried over. The last batch has more samples,
        which are compared with the recording when it comes to them.
        """
        self.seen = {layer: {} for layer in self.calls}
        room = max(2, min(self.given_size or EXTRA, EXTRA, PROBE_BYTES // self.largest))
        if len(self.numbers) > 4:
            mixed, last = (others[::-1] * len(self.numbers))[: len(self.numbers)], others[:3]
        else:
            mixed, last = [self.one, *others[:1]], [*others[1:], self.one]
        at_ends = [row for row in pick_at_ends(self.dataset, self.batch_size) if row not in self.numbers]
        last += at_ends[: max(0, room - len(last))]
        for samples in (mixed, last):
            if len(samples) < 2:
                continue
            again = self._run_samples(samples)
            if again.stopped and self._stops_at(samples):
                raise again.stopped
            self._compare(self._check_again(again))

    def _check_again(self, again: Pass) -> Checks:
        """Return what to compare of a batch of other samples, and note the rows of samples that are new."""
        checks: dict[str, list[tuple[Pass, int, int]]] = {}
        for layer in [layer for layer in self.calls if layer not in self.problems]:
            call = self.calls[layer]
            output = again.given.get(call)
            if output is None and again.stopped:
                self.problems[layer] = (
                    f"cannot be checked, since the model does not run on a batch of {len(again.samples)} after one of"
                    f" {len(self.numbers)} ({first_sentence(again.stopped)}). Does it keep a state of the size of the"
                    " batch?"
                )
            elif output is None or again.calls[call[0]] != self.reference.calls[call[0]]:
                self.problems[layer] = self._explain_uneven(call[0], again)
            elif output.problem:
                self.problems[layer] = output.problem
            else:
                checks[layer] = []
                for at, sample in enumerate(again.samples):
                    if sample in self.numbers:
                        checks[layer].append((again, at, self.numbers.index(sample)))
                    else:
                        self.seen[layer][sample] = output.rows[at]
        return checks

    def _stops_at(self, samples: list[int]) -> bool:
        """Return whether the model fails on these samples from its first state too.

        Then the samples stop it, and no state that it keeps.
        """
        self.state.restore()
        return self._run_samples(samples).stopped is not None

    def _compare(self, checks: Checks) -> None:
        """Note a problem for each layer whose rows differ."""
        different: dict[str, tuple[Pass, int, int, float]] = {}
        for layer, places in checks.items():
            if layer in self.single_rows:
                continue
            call = self.calls[layer]
            known, tolerance = self.reference.given[call], self.tolerance()
            pairs = [(one.given[call].rows[at], known.rows[place]) for one, at, place in places]
            if pairs and all_agree([x for x, _ in pairs], [y for _, y in pairs], known.size, tolerance):
                continue
            gaps = (differ(x, y, known.size, tolerance) for x, y in pairs)
            if found := next(((*where, gap) for where, gap in zip(places, gaps, strict=True) if gap), None):
                different[layer] = found
        if not different:
            return
        # the whole batch from the model's first state, then again, then from the first state again
        self.state.restore()
        first, again = self._run_samples(self.numbers), self._run_samples(self.numbers)
        self.state.restore()
        fresh = self._run_samples(self.numbers)
        for layer, (one, at, place, gap) in different.items():
            call = self.calls[layer]
            if not are_equal(first, again):
                self.problems[layer] = (
                    "is random: the preprocess gives different inputs each time. Remove what is random from it, or the"
                    " state that it keeps"
                )
            elif self._is_unequal(first, fresh, call):
                self.problems[layer] = (
                    "is random: the same sample gives different activations each time, in evaluation mode too. Remove"
                    " what is random from its forward pass"
                )
            elif self._is_unequal(first, again, call):
                self.problems[layer] = (
                    "keeps state from batch to batch: the same batch gives different activations when it runs again, so"
                    " they depend on earlier batches. Reset the state at the start of forward, or in a forward pre-hook"
                )
            elif self.given_size == 1 and (rows := self._rows_alone(self.one, call)) is not None:
                self.single_rows[layer] = rows  # every batch will be one sample, so there is nothing to mix
            else:
                self.problems[layer] = self._explain_mixing(call, one, at, place, gap)

    def _is_unequal(self, x: Pass, y: Pass, call: ModuleCall) -> bool:
        """Return whether a call gave different rows in two passes of the same batch."""
        a, b = x.given.get(call), y.given.get(call)
        if a is None or b is None or len(a.rows) != len(b.rows):
            return a is not None or b is not None
        size = self.reference.given[call].size
        return any(differ(u, v, size, self.tolerance()) for u, v in zip(a.rows, b.rows, strict=True))

    def _explain_mixing(self, call: ModuleCall, one: Pass, at: int, place: int, gap: float) -> str:
        """Return the problem of a layer whose rows depend on the batch, with the most likely cause."""
        rows, n, size = self.reference.given[call].rows, len(self.numbers), self.reference.given[call].size
        got, wanted = one.given[call].rows[at].shape, rows[place].shape
        columns, all_columns = one.shapes, self.reference.shapes
        of_other_length = columns.keys() == all_columns.keys() and any(
            columns[name][1:] != shape[1:] for name, shape in all_columns.items()
        )
        if got != wanted and not of_other_length and got[-1] * n == wanted[-1] * len(one.samples):
            return (
                f"mixes samples: the length of its rows follows the batch size ({wanted[-1]} for a batch of {n}), so it"
                " is computed over the batch. Use a layer before that"
            )
        if got != wanted:
            return (
                f"gives {got[-1]} numbers for a sample in a batch of {len(one.samples)} and {wanted[-1]} in one of {n}:"
                " its inputs differ in length. Use pool='mean', or inputs of one length"
            )
        who = (
            f"row {place} of a batch of {n} differs from the same sample alone"
            if len(one.samples) == 1
            else f"row {at} of a batch of {len(one.samples)} differs from the same sample in a batch of {n}"
        )
        head = (
            f"mixes samples: {who} (by {gap:.2g}, in values of about {size:.2g}), so its values depend on batch_size. "
        )
        if of_other_length:
            return (
                f"{head}The inputs are padded to the longest of the batch, and the padding reaches this layer: pad all"
                " to one length, or give a mask that the model uses"
            )
        if not are_equal(one, self.reference, at, place):
            return (
                f"{head}The preprocess computes its outputs over the batch, or changes the order: make it treat each"
                " sample alone"
            )
        singles = [self._rows_alone(sample, call) for sample in self.numbers]
        alone = [np.empty((0, 0)) if single is None else single for single in singles]
        cause = REORDERED if is_reordered(rows, alone, self.tolerance()) else explain_mixing(self.module)
        return f"{head}{cause}" + (
            f", and a pool function, '{self.pooling.name}', that treats each sample alone" if self.pooling.own else ""
        )
