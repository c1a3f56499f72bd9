"""The base of explorers whose detail of a pair of layers also shows the samples that differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.store import Activations, Key
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.progress import Tick

from .code import get_or_make
from .detail import Detail, DetailExplorer
from .located import Located, Options, locate
from .sample_panel import SamplePanel

LOCATED_SAMPLES = 1000  # at most, evenly spaced


class PairSamplesExplorer(DetailExplorer):
    """An explorer that shows, below the detail of a pair, which of the samples differ.

    The samples are compared after the detail is there. A subclass sets `_xs` and `_dataset`, and calls `_set_pair`.

    Attributes
    ----------
    samples : SamplePanel
        The maps and the list of samples; hidden while there is no pair.
    """

    _xs: Activations
    _dataset: Dataset | None

    def __init__(
        self, draw: Callable[..., Any], controls: Mapping[str, widgets.Widget], code: Callable[..., str]
    ) -> None:
        self.samples = SamplePanel(lambda call: self._worker.call_locked(call))
        self._pair: tuple[Key, Key] | None = None  # that was clicked last
        self._located: dict[tuple[Key, Key], Located] = {}
        self._set_pair(None)
        super().__init__(draw, controls, code)
        self.children = (*self.children, self.samples)

    def _set_pair(self, pair: tuple[Key, Key] | None) -> None:
        """Hide the samples if there is no pair; those of another pair are replaced when the new ones come."""
        self._pair = pair
        if pair is None:
            self.samples.reveal(False)

    def _after_samples(self) -> None:
        """Go on with other work, if there is any."""

    def _dataset_of(self, pair: tuple[Key, Key]) -> Dataset | None:
        """Return the data set that was recorded by both, if it is known."""
        data = self._dataset
        return data if data is not None and all(key.dataset in ("", data.name) for key in pair) else None

    def _deliver_detail(self, detail: Detail | None, error: BaseException | None) -> None:
        wanted = self._unfinished and detail is not None
        super()._deliver_detail(detail, error)
        if wanted and self._pair is not None:
            self._request_samples(self._pair)
        else:
            self._after_samples()

    def _request_samples(self, pair: tuple[Key, Key]) -> None:
        def job(tick: Tick) -> Located | None:
            def make() -> Located:
                sides = self._xs[pair[0]], self._xs[pair[1]]
                names = f"{pair[0].model} / {pair[0].layer}", f"{pair[1].model} / {pair[1].layer}"
                k = min(Options().k, max(1, (len(sides[0]) - 1) // 3))  # of few samples, a few neighbours
                return locate(*sides, names, self._dataset_of(pair), Options(k, most=LOCATED_SAMPLES), tick)

            try:
                located = get_or_make(self._located, pair, make)
            except UndefinedError:
                return None  # the reason is in the text, or there are too few samples
            located.maps()
            return located

        self._worker.submit(job, self._deliver_samples, before=lambda: self._busy(True, "comparing the samples …"))

    def _deliver_samples(self, located: Located | None, error: BaseException | None) -> None:
        self._busy(False, "")
        if error is not None:
            self.errors.append(error)
        if located is not None:
            self.samples.show(located, located.maps())
        self.samples.reveal(located is not None)
        self._after_samples()
