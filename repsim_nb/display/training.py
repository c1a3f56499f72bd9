"""`watch`: record a model while it is trained, with a plot that grows in a notebook."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from repsim_nb.display.specs.layer_lines import training_panels
from repsim_nb.measures import Measure
from repsim_nb.results.watching import TrainingRecord
from repsim_nb.results.watching.watching_training import TrainingWatch
from repsim_nb.support.progress import in_a_notebook

__all__ = ["TrainingWatch", "watch"]
PAUSE = 0.5  # seconds between two pictures: steps may be faster


def watch(
    model: Any,
    data: Any,
    reference: Any = None,
    layers: str | int | Sequence[str | int] | None = None,
    measure: str | Measure = "cka_debiased",
    *,
    every: int = 1,
    pool: Any = "flatten",
    live: bool = True,
) -> TrainingWatch:
    """Watch the representations of a model while it is trained.

    Inside the block, each call of `step()` counts a step, such as an epoch or a batch. Every so many steps the model
    runs on a fixed set of samples, and each layer is compared with itself at the start, with itself at the recording
    before, and with the same layer of a reference model.

    Parameters
    ----------
    model : nn.Module or Model
        The model that is trained. A `Model` has a preprocess for raw samples.
    data : Dataset, str, or inputs
        A few hundred samples, as `rs.record` takes them; they are the same at each step.
    reference : Model, nn.Module or str, optional
        Another model, as `rs.load_model` takes it, such as the teacher or the last release. It is recorded once.
    layers : str, int, or a list of them, optional
        The layers, as in `rs.record`. None means the default layers.
    measure : str or Measure
        A measure of activations.
    every : int
        Record at each `every`-th step. The start and the last step are recorded as well.
    pool : str or function
        How the output of a layer becomes rows, as in `rs.record`.
    live : bool
        In a notebook, show a plot that grows. Elsewhere nothing is shown.

    Returns
    -------
    TrainingWatch
        For a `with` block. Its `result` is a TrainingRecord, during training and afterwards.

    Raises
    ------
    ValueError
        At the beginning of the block: if a layer is unknown or cannot be recorded, or if the reference has none of the
        layers.

    Notes
    -----
    Training is not changed: weights, gradients, buffers, modes and the random states of torch, NumPy and Python are the
    same after a recording as before. A layer whose activations are NaN or constant at a step has no value there
    (`result.undefined`), and training goes on.

    The cost is one forward pass over the samples and three values of the measure for each layer and recording;
    `result.seconds` has it.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = torch.randn(60, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
    >>> with rs.watch(model, x, live=False) as watch:
    ...     for epoch in range(3):
    ...         loss = (model(x) - x[:, :2]).square().mean()
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    ...         watch.step()
    >>> start = watch.result.to_frame("start")
    >>> start.shape, start.loc[0].round(6).tolist(), bool((start.loc[3] < start.loc[1]).all())
    ((4, 2), [1.0, 1.0], True)
    """
    show = LivePlot() if live and in_a_notebook() else None
    return TrainingWatch(model, data, reference, layers, measure, every, pool, show)


class LivePlot:
    """A picture of a training that grows in the output of a cell, and is an image when training is over."""

    def __init__(self) -> None:
        self._views: list[Any] = []
        self._handles: list[Any] = []
        self._last = 0.0

    def __call__(self, record: TrainingRecord, over: bool) -> None:
        """Show what was recorded so far."""
        if over:
            self._finish(record)
        elif time.monotonic() - self._last >= PAUSE:
            self._last = time.monotonic()
            self._draw(record)

    def _draw(self, record: TrainingRecord) -> None:
        from IPython.display import display

        from repsim_nb.display.views import LinesView  # a terminal needs no widgets

        panels = training_panels(record)
        if not self._views:
            self._views = [LinesView() for _ in panels]
        for view, panel in zip(self._views, panels, strict=True):
            view.show(panel)
        if not self._handles:
            self._handles = [display(view.bundle(), raw=True, display_id=True) for view in self._views]  # type: ignore[no-untyped-call]

    def _finish(self, record: TrainingRecord) -> None:
        """Replace the views by one image, which stays in a saved notebook and is live in a report."""
        from repsim_nb.display.reports.live_pictures import live

        if not self._handles:
            return
        first, *others = self._handles
        first.update(live(record))
        for handle in others:
            handle.update({"text/html": "", "text/plain": ""}, raw=True)
        for view in self._views:
            view.close()
