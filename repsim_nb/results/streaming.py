"""`stream`: compare all layers of two models in one pass over the data, with nothing stored.

A hook turns the activations of a layer at once into its matrix of samples by samples, and drops them. When both models
have processed a batch, the matrices of all pairs are multiplied in one product, and only sums are kept. So memory is
bounded by the batch, whatever the number of samples and the widths are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repsim_nb.measures import CKA
from repsim_nb.measures.arrays import split_range
from repsim_nb.measures.gram import batches
from repsim_nb.measures.tables import round_into_range
from repsim_nb.results.comparison import Comparison
from repsim_nb.support.errors import UndefinedError, explain_missing
from repsim_nb.support.labels import Key
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from repsim_nb.inputs.datasets import Dataset
    from repsim_nb.inputs.models import Model
    from repsim_nb.inputs.recording import Run

ROOM = 2**20  # centred numbers at a time, for a layer whose batch has more

Layers = str | int | Sequence[str | int] | None


def stream(  # noqa: PLR0913 (two models, the data, and options of their own)
    model_a: Model | nn.Module | str,
    model_b: Model | nn.Module | str,
    dataset: Dataset | Any,
    layers: Layers | tuple[Layers, Layers] = None,
    *,
    batch_size: int = 256,
    pool: str | Callable[..., Tensor] = "flatten",
    axis: int | Mapping[str, int] | None = None,
    device: str | torch.device | None = None,
    progress: bool | Tick = True,
) -> Comparison:
    """Compare every layer of one model with every layer of another in one pass, without storing activations.

    The measure is ``CKA(batch_size=...)``, minibatch CKA; values equal those of `compare` over two recordings.

    Parameters
    ----------
    model_a, model_b : Model, torch module or str
        A text is a name that `load_model` takes, such as "zoo:mnist-cnn-0". The same model on both sides runs once.
    dataset : Dataset or array (n, ...)
        As in `record`. Both models get the same batches, in the order of the data set.
    layers : str, int, list of them, or pair of lists, optional
        The layers of both models, as in `record`; or a pair with one list for each model, such as
        ``(["conv1", "conv2"], ["layer1.*"])``. None, also in a pair, means all layers.
    batch_size : int
        At least 4. A last batch of fewer samples is joined to the one before. Memory is the larger of one forward pass
        and (layers of both models) · batch_size² numbers.
    pool : str or function
        As in `record`, without "tokens".
    axis, device, progress
        As in `record`.

    Returns
    -------
    Comparison
        Rows are the layers of `model_a`, columns those of `model_b`.

    Raises
    ------
    ValueError
        For layers that `record` refuses, and for two models with one name.
    UndefinedError
        If a layer is constant, or has NaN or infinity; the message names model, layer and samples.

    Notes
    -----
    With batches of m samples, the value is Σ m HSIC₁(K, L) / sqrt(Σ m HSIC₁(K, K) · Σ m HSIC₁(L, L)), the sums over
    batches. From a few hundred samples in a batch it is close to "cka_debiased", which it estimates.

    References
    ----------
    Nguyen, Raghu, Kornblith 2021, Do wide and deep networks learn the same things?, ICLR.

    Examples
    --------
    >>> import torch
    >>> first, second = (torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)) for _ in range(2))
    >>> models = rs.load_model(first, name="first"), rs.load_model(second, name="second")
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> rs.stream(*models, x, batch_size=32, progress=False)
    Comparison(CKA(batch_size=32), 2 × 2, n=64)
    """
    with explain_missing("stream"):  # here, not above: what imports torch waits until it is needed
        from repsim_nb.inputs.models import load_model
        from repsim_nb.inputs.pooling import TOKENS, Pooling
        from repsim_nb.inputs.recording import Run, refuse_shared, to_dataset, warn_left_out
    data, measure = to_dataset(dataset), CKA(batch_size=check_integer(batch_size, "batch_size of stream", minimum=4))
    if (pooling := Pooling(pool)).by_token:
        raise ValueError(
            f"stream compares samples, and pool='{TOKENS}' makes many rows of each. Use pool='mean', or record the"
            " tokens and compare."
        )
    if len(data) < measure.min_samples:
        raise UndefinedError(f"{measure} needs at least {measure.min_samples} samples; '{data.name}' has {len(data)}")
    same = model_b is model_a or (isinstance(model_a, str) and model_b == model_a)
    a = load_model(model_a)
    b = a if same else load_model(model_b)
    if not same and a.name == b.name:
        raise ValueError(
            f"stream needs models with different names; both are '{a.name}'. Name them: load_model(..., name=...)."
        )
    if not same:
        refuse_shared([a, b])
    options: dict[str, Any] = {"batch_size": batch_size, "device": device, "axis": axis}
    runs = [Run(model, data, asked, pooling, **options) for model, asked in zip((a, b), _for_each(layers), strict=True)]
    if same and runs[0].request.question == runs[1].request.question:
        runs.pop()
    for run in runs:
        with run.ready():
            run.probe()
    with show_progress(progress, f"streaming {a.name} × {b.name}", "sample") as tick:
        sums = _pass(runs, measure, batch_size, tick)
    warn_left_out(runs)
    index, columns = ([run.key(layer) for layer in run.found] for run in (runs[0], runs[-1]))
    axes = (pd.MultiIndex.from_tuples([tuple(key) for key in keys], names=Key._fields) for keys in (index, columns))
    return Comparison(pd.DataFrame(sums.values(), *axes), measure, len(data))


def _for_each(layers: Any) -> tuple[Any, Any]:
    """Return the layers of each model: a pair has None or a list in it, a list of layers has not."""
    if isinstance(layers, (tuple, list)) and any(some is None or isinstance(some, (tuple, list)) for some in layers):
        if len(layers) != 2:
            raise ValueError(
                f"layers must be one list for both models, or a pair of lists, one for each; got {len(layers)} lists."
            )
        return layers[0], layers[1]
    return layers, layers


def _pass(runs: list[Run], measure: CKA, batch_size: int, tick: Tick) -> _Sums:
    """Run every batch through every model, and take the matrix of each layer as it runs."""
    from repsim_nb.inputs.batches import check_batch_size
    from repsim_nb.inputs.models.running import capture

    data, edges = runs[0].dataset, np.cumsum([0] + [len(run.found) for run in runs]).tolist()
    grid, total, done = batches(len(data), batch_size), len(runs) * len(data), 0
    now: tuple[Run | None, slice] = None, slice(0, 0)
    labels = [f"'{run.model.name}/{layer}'" for run in runs for layer in run.found]
    sums = _Sums(measure, labels, edges[1] if len(runs) > 1 else None)
    places = [
        {layer: first + i for i, layer in enumerate(run.found)} for run, first in zip(runs, edges[:-1], strict=True)
    ]

    def sink(run: Run, place_of: Mapping[str, int]) -> Callable[[str, Any], None]:
        def take(layer: str, out: Any) -> None:
            turn, rows = now
            if turn is not run or layer not in run.found:  # models may share modules
                return
            place = place_of[layer]
            values = run.take(layer, out, rows.start, rows.stop, twice=sums.times[place] > 0)
            if values is None:
                return
            with run.pass_own_errors():
                try:
                    sums.take(place, values)
                except UndefinedError as error:
                    raise UndefinedError(
                        f"{measure} of {labels[place]}, samples {rows.start} to {rows.stop}: {error}"
                    ) from error

        return take

    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.ready())
        for run, place_of in zip(runs, places, strict=True):
            stack.enter_context(capture(run.model.module, list(run.found), sink(run, place_of)))
        read = data.batches(0, batch_size)  # ahead, where the data are read lazily
        for rows in grid:
            first, last, inputs = next(read, (0, 0, None))
            inputs = inputs if (first, last) == (rows.start, rows.stop) else data.inputs[rows.start : rows.stop]
            check_batch_size(inputs, rows.start, rows.stop, data.name)
            for run, place_of in zip(runs, places, strict=True):
                now = run, rows
                with run.explain_errors(inputs, samples=f"samples {rows.start} to {rows.stop}"):
                    run.forward(inputs, rows.start)
                run.reject_missing(
                    [layer for layer, place in place_of.items() if not sums.times[place]], rows.start, rows.stop
                )
                sums.dropped.update(place for layer, place in place_of.items() if layer not in run.found)
                done += rows.stop - rows.start
                if run is runs[-1]:
                    sums.add(rows)
                tick(done, total)
    return sums


class _Sums:
    """Sums over batches of m · HSIC₁ for all pairs of layers, with the matrices of one batch.

    Layers before `border` are rows of the table, the others its columns; without a border all layers are both.
    """

    def __init__(self, measure: CKA, labels: list[str], border: int | None) -> None:
        self.measure, self.labels, self.border, number = measure, labels, border, len(labels)
        self.between = np.zeros((number, number) if border is None else (border, number - border))
        self.squares, self.floors = np.zeros(number), np.zeros(number)
        self.scales = np.zeros(number)  # of the matrices of a layer, so that no product overflows; 0 if it is constant
        self.matrices: dict[int, Tensor] = {}
        self.times = [0] * number  # how often each layer ran in this batch
        self.dropped: set[int] = set()  # layers that are left out from some batch on

    def take(self, i: int, x: Tensor) -> None:
        """Turn activations (m, p) of layer i in this batch into its matrix: U-centred, 0 on the diagonal."""
        import torch

        self.times[i] += 1
        x = x if x.is_floating_point() else x.double()
        matrix, trace = _products(x)
        m = len(x)
        if trace and not self.scales[i]:
            self.scales[i] = 2.0 ** -round(math.log2(trace / m))
        matrix *= self.scales[i]
        self.floors[i] += 8 * torch.finfo(x.dtype).eps * trace * self.scales[i]
        matrix.fill_diagonal_(0)
        means = matrix.sum(1) / (m - 2)
        matrix -= means[:, None]
        matrix -= means - means.sum() / (m - 1)
        self.matrices[i] = matrix.fill_diagonal_(0)

    def add(self, rows: slice) -> None:
        """Multiply the matrices of all pairs at the end of a batch: with weight 1/(m - 3) this adds m · HSIC₁."""
        import torch

        m, number = rows.stop - rows.start, len(self.labels)
        nothing = next(iter(self.matrices.values())).new_zeros(m, m)
        stack = torch.stack([self.matrices.pop(i, nothing) for i in range(number)]).flatten(1)
        self.times = [0] * number
        between = _inner(stack[: self.border], stack[self.border or 0 :]).cpu().numpy()
        self.between += between / (m - 3)
        own = between.diagonal() if self.border is None else torch.linalg.vecdot(stack, stack).cpu().numpy()
        self.squares += own / (m - 3)

    def values(self) -> np.ndarray:
        """Return the table, or raise UndefinedError that names the first layer without variation."""
        keep = np.array([place for place in range(len(self.labels)) if place not in self.dropped])
        for i in keep:
            if not self.scales[i]:
                raise UndefinedError(
                    f"{self.measure} of {self.labels[i]}: it is constant: in every batch all samples have the same"
                    " activations. Leave it out with layers=[...]"
                )
            if not self.squares[i] > self.floors[i] ** 2:
                raise UndefinedError(f"{self.measure} of {self.labels[i]}: {self.measure.nothing}")
        lengths = np.sqrt(self.squares)
        rows, columns = (keep, keep) if self.border is None else (keep[keep < self.border], keep[keep >= self.border])
        values = self.between[np.ix_(rows, columns - (self.border or 0))] / np.outer(lengths[rows], lengths[columns])
        return round_into_range(values, *self.measure.range)


def _products(x: Tensor) -> tuple[Tensor, float]:
    """Return inner products of centred samples (m, m) in float64, and the sum of their diagonal: 0 if x is constant."""
    import torch

    (m, p), means = x.shape, x.mean(0)
    matrix = torch.zeros(m, m, dtype=torch.float64, device=x.device)
    for columns in split_range(p, ROOM // m):
        part = x[:, columns] - means[columns]
        matrix += _inner(part, part)
    trace = float(matrix.trace())
    rounding = m * (64 * torch.finfo(x.dtype).eps) ** 2 * float(means @ means)
    if max(2.0**-80, rounding) < trace < 2.0**80:
        return matrix, trace
    # numbers that overflow, vanish, or have little but rounding in their own precision
    if bool((x == x[:1]).all()):
        return matrix.zero_(), 0.0
    centred = x.double() - x.double().mean(0)
    matrix = _inner(centred, centred)
    trace = float(matrix.trace())
    if not 0 < trace < math.inf:
        raise UndefinedError("values are too far apart, or too small, for their precision")
    return matrix, trace


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return a bᵀ. If both are one matrix, NumPy computes only half of it on a CPU, and torch all."""
    import torch

    if a.device.type != "cpu":
        return a @ b.T
    with np.errstate(all="ignore"):  # the caller checks for values that are not finite
        return torch.from_numpy(a.numpy() @ b.numpy().T)
