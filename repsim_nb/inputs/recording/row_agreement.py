"""How far two rows of a sample may differ, alone and in a batch, and why rows may be mixed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

NORMS = nn.modules.batchnorm._BatchNorm
INT8 = BFLOAT16 = 2.0**-7
MEDIAN_OF = 4096  # the largest number of values whose median is taken


class Tolerance:
    """How far the same value may differ from itself: the square root of the precision of the model's arithmetic.

    About 3e-4 for float32, .09 for bfloat16 and for int8 scaled by the batch, 1e-8 for float64; times the size of the
    value (see `differ`). Integers must be equal. The coarsest precision of the weights and of the outputs counts for
    all layers.
    """

    def __init__(self, module: nn.Module, place: torch.device) -> None:
        self.eps = 0.0
        for weight in module.parameters():
            self.observe(weight)
        of_torchao = any(type(weight).__module__.startswith("torchao") for weight in module.parameters())
        if of_torchao or any(
            "quantized" in type(part).__module__ or type(part).__module__.startswith("bitsandbytes")
            for part in module.modules()
        ):
            self.eps = max(self.eps, INT8)
        if place.type == "cuda" and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32):
            self.eps = max(self.eps, 2.0**-10)
        if torch.get_float32_matmul_precision() == "medium":
            self.eps = max(self.eps, BFLOAT16)

    def observe(self, tensor: Tensor) -> None:
        """Take note of the precision of a tensor that the model computes with."""
        if tensor.is_floating_point():
            self.eps = max(self.eps, min(torch.finfo(tensor.dtype).eps, BFLOAT16))

    def __call__(self) -> float:
        """Return the tolerance, relative to the size of values."""
        return float(np.sqrt(self.eps or np.finfo(np.float32).eps))


def typical_size(rows: Iterable[np.ndarray]) -> float:
    """Return the typical size of values: the median, over samples, of the root mean square of the finite values."""
    return float(np.median([_root_mean_square(row) for row in rows]))


def _root_mean_square(row: np.ndarray) -> float:
    """Return the root mean square of the finite values of a row."""
    if row.dtype.kind == "f":
        square = float(np.vdot(row, row))
        if 1e-30 < square < 1e30:  # no overflow and no underflow
            return float(np.sqrt(square / row.size))
    values = np.abs(row[np.isfinite(row)]).astype(float)
    largest = values.max(initial=0.0)
    return float(largest * np.sqrt(np.mean((values / largest) ** 2))) if largest > 0 else 0.0


def _fine(tolerance: float) -> float:
    """Return the fraction of the largest values that rounding may change: at most 16 times the precision."""
    return min(16 * tolerance**2, tolerance / 4)


def differ(x: np.ndarray, y: np.ndarray, size: float, tolerance: float) -> float:
    """Return the largest difference between two rows of a layer if it exceeds rounding, else 0.0.

    Rounding is the tolerance times a value and the median of its row, plus 16 times the precision (the square of the
    tolerance) times the largest value of the row and the size of the layer: one large sample or one large feature does
    not hide the others.

    size: the size of the values of the layer.
    """
    if x.shape != y.shape:
        return float("inf")
    if x.dtype.kind in "biu":
        return float(np.abs(x.astype(float) - y.astype(float)).max(initial=0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        fine = _fine(tolerance)
        if np.abs(x - y).max(initial=0.0) <= fine * size:  # the usual case, and fast
            return 0.0
        gap = np.abs(x.astype(complex if x.dtype.kind == "c" else float) - y)
        gap[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0
        sizes = np.abs(y.astype(complex if y.dtype.kind == "c" else float))
        finite = sizes[np.isfinite(sizes) & (sizes > 0)]
        some = finite[:: -(-finite.size // MEDIAN_OF) or 1]
        floor = fine * (finite.max(initial=0.0) + size)
        beyond = ~(gap <= tolerance * (sizes + (np.median(some) if some.size else 0.0)) + floor) | np.isinf(gap)
    return (float(gap[beyond].max()) if np.isfinite(gap[beyond]).all() else np.inf) if beyond.any() else 0.0


def all_agree(rows: list[np.ndarray], wanted: list[np.ndarray], size: float, tolerance: float) -> bool:
    """Return whether all rows differ by little compared with the size of the layer.

    If not, `differ` compares them one by one.
    """
    if any(x.shape != y.shape or x.dtype.kind != "f" for x, y in zip(rows, wanted, strict=True)):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.abs(np.concatenate(rows) - np.concatenate(wanted)).max(initial=0.0) <= _fine(tolerance) * size)


def is_reordered(rows: list[np.ndarray], wanted: list[np.ndarray], tolerance: float) -> bool:
    """Return whether the rows of a batch are those of its samples in another order. wanted: the samples alone."""
    if any(row.shape != rows[0].shape for row in [*rows, *wanted]):
        return False
    size = typical_size(wanted)
    wrong = [k for k, row in enumerate(rows) if differ(row, wanted[k], size, tolerance)]
    return bool(wrong) and all(any(not differ(rows[k], want, size, tolerance) for want in wanted) for k in wrong)


def explain_mixing(module: nn.Module) -> str:
    """Return why rows of a batch may differ from the same samples alone, and what to do."""
    for name, part in module.named_modules():
        name = name or "output"
        if isinstance(part, NORMS) and part.running_mean is None:
            return (
                f"'{name}' ({type(part).__name__}) uses the statistics of each batch: give it running statistics, or"
                " record layers before it"
            )
        if isinstance(part, (nn.RNNBase, nn.MultiheadAttention)) and not part.batch_first:
            return (
                f"'{name}' ({type(part).__name__}) expects the samples along its second axis: create it with"
                " batch_first=True, or transpose its input"
            )
        if "quantized.dynamic" in type(part).__module__:
            return (
                f"'{name}' ({type(part).__name__}) takes the scale of its int8 inputs from the whole batch, and these"
                " samples differ much in size: scale them, or record the model before quantisation"
            )
    return (
        "Does it expect the samples along another axis (torch's recurrent and attention layers need batch_first=True),"
        " compute something over the batch (statistics, the capacity of an expert), keep a state, or change the order"
        " of the samples? Record a layer before that"
    )


REORDERED = (
    "Its rows are those of other samples of the batch: the model changes the order of the samples (sorted by length?)."
    " Record a layer after the order is restored"
)
