"""Is a sample's row the same alone and in company? How far two rows may differ, and why they may."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

NORMS = nn.modules.batchnorm._BatchNorm
INT8 = 2.0**-7


class Tolerance:
    """How far the same value may lie from itself, by the arithmetic that a model uses: the square root of its precision.

    About 3e-4 for float32, .09 for bfloat16 and for int8 whose scale is that of the batch, 1e-8 for float64; times the size of the
    value and of its layer. Integers must be equal.
    """

    def __init__(self, module: nn.Module, place: torch.device) -> None:
        self.eps = 0.0
        for tensor in (*module.parameters(), *module.buffers()):
            self.saw(tensor)
        if any("quantized" in type(part).__module__ or type(part).__module__.startswith(("torchao", "bitsandbytes")) for part in module.modules()):
            self.eps = max(self.eps, INT8)
        if any(type(weight) not in (nn.Parameter, Tensor) and type(weight).__module__.startswith("torchao") for weight in module.parameters()):
            self.eps = max(self.eps, INT8)
        if place.type == "cuda" and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32):
            self.eps = max(self.eps, 2.0**-10)
        if torch.get_float32_matmul_precision() == "medium":
            self.eps = max(self.eps, torch.finfo(torch.bfloat16).eps)

    def saw(self, tensor: Tensor) -> None:
        """A tensor that the model computes with: the coarsest decides."""
        if tensor.is_floating_point():
            self.eps = max(self.eps, torch.finfo(tensor.dtype).eps)

    def __call__(self) -> float:
        return float(np.sqrt(self.eps or np.finfo(np.float32).eps))


def size_of(rows: Iterable[np.ndarray]) -> float:
    """The root mean square of a layer's finite values."""
    values = np.concatenate([np.abs(row[np.isfinite(row)]).astype(float) for row in rows])
    largest = values.max(initial=0.0)
    return float(largest * np.sqrt(np.mean((values / largest) ** 2))) if largest > 0 else 0.0


def differ(x: np.ndarray, y: np.ndarray, size: float, tolerance: float) -> float:
    """The largest difference of two rows of a layer where it is more than rounding, else 0.0. size: that of the layer's values."""
    if x.shape != y.shape:
        return float("inf")
    if x.dtype.kind in "biu":
        return float(np.abs(x.astype(float) - y.astype(float)).max(initial=0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(x.astype(complex if x.dtype.kind == "c" else float) - y)
        gap[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0
        beyond = ~(gap <= tolerance * (np.abs(y) + size)) | np.isinf(gap)
    return (float(gap[beyond].max()) if np.isfinite(gap[beyond]).all() else np.inf) if beyond.any() else 0.0


def cause_of_mixing(module: nn.Module, rows: list[np.ndarray], wanted: list[np.ndarray], tolerance: float) -> str:
    """The likely reason why rows of a batch differ from the same samples alone, and what to do. rows: as they came; wanted: as they should be."""
    if len(rows) > 1 and all(row.shape == wanted[0].shape for row in [*rows, *wanted]):
        size = size_of(wanted)
        places = [next((k for k, want in enumerate(wanted) if not differ(row, want, size, tolerance)), None) for row in rows]
        if None not in places and places != list(range(len(rows))) and len(set(places)) > 1:
            return "Its rows are those of other samples of the batch: the model brings the samples into another order (sorted by length?). Record a layer behind the place where that is undone"
    for name, part in module.named_modules():
        if isinstance(part, NORMS) and part.running_mean is None:
            return f"'{name}' ({type(part).__name__}) takes the statistics of each batch: give it running statistics, or record layers before it"
        if isinstance(part, (nn.RNNBase, nn.MultiheadAttention)) and not part.batch_first:
            return f"'{name}' ({type(part).__name__}) takes the samples along its second axis: make it with batch_first=True, or transpose what it is given"
        if "quantized.dynamic" in type(part).__module__:
            return f"'{name}' ({type(part).__name__}) takes the scale of its int8 inputs from the whole batch, and these samples differ much in size: scale them, or record the model before it was quantised"
    return ("Does it take the samples along another axis (torch's recurrent and attention layers need batch_first=True), compute something over the batch (statistics, the "
            "capacity of an expert), or bring the samples into another order? Record a layer before that")

