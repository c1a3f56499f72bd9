"""Measures as losses: their values in torch, with gradients, for training.

Nothing here imports torch before a loss is computed.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Literal

from repsim_nb.support.errors import UndefinedError

from .names import KNOWN

if TYPE_CHECKING:
    import torch


class Differentiable:
    """The part of a measure that computes its value with gradients; a subclass that can, overrides both members."""

    @property
    def has_loss(self) -> bool:
        """Whether `loss` is defined."""
        return False

    def _torch_value(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the value of two checked tensors (n, p) and (n, q); of a dissimilarity its value, too."""
        raise NotImplementedError

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Compute the dissimilarity of two representations with gradients, as a loss for training.

        Minimising it makes the representations alike; minimising its negative makes them differ.

        Parameters
        ----------
        x, y : torch.Tensor (n, ...)
            Activations of the same n samples, in floating point, on one device. Half precision is computed in float32.

        Returns
        -------
        torch.Tensor
            A scalar, the same as `measure.dissimilarity(measure(x, y))`: 1 - value for a similarity, the value for a
            dissimilarity.

        Raises
        ------
        NotImplementedError
            If the measure has no differentiable form; the error lists those that have one.
        TypeError
            If x or y is no torch tensor of floating point numbers.
        UndefinedError
            If the pair has no value.

        Notes
        -----
        Gradients are finite where the value has several derivatives or an infinite one. Equal representations have the
        gradient 0 in the distance and the angle of `Procrustes`; singular values of 0 add nothing to the gradient of a
        nuclear norm, which is its smallest subgradient; copies of a sample have the gradient 0 in Euclidean distances.
        Nuclear norms (`NBS`, `Procrustes`) have first derivatives only.

        A value over a batch is not that over all samples: `cka` is higher, the smaller the batch. `cka_debiased` is
        right on average.

        Examples
        --------
        >>> import torch
        >>> rng = np.random.default_rng(0)
        >>> x, y = torch.tensor(rng.normal(size=(2, 50, 4)))
        >>> x = x.requires_grad_()
        >>> loss = rs.measures.get("cka_debiased").loss(x, y)
        >>> loss.backward()
        >>> x.grad.shape, bool(np.isclose(loss.item(), 1 - rs.measures.get("cka_debiased")(x, y)))
        (torch.Size([50, 4]), True)
        """
        if not self.has_loss:
            names = ", ".join(f"'{name}'" for name, known in KNOWN.items() if known.has_loss)
            raise NotImplementedError(
                f"{self} has no differentiable form. These measures have one: {names}, and RSA(second='pearson')"
            )
        value = self._torch_value(*_check_sides(x, y, self))
        return 1 - value if getattr(self, "kind", "") == "similarity" else value


def _check_sides(x: Any, y: Any, measure: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both sides as (n, p) in at least single precision, or raise."""
    import torch

    for name, side in (("x", x), ("y", y)):
        if not isinstance(side, torch.Tensor) or not side.dtype.is_floating_point:
            what = f"a tensor of {side.dtype}" if isinstance(side, torch.Tensor) else f"a {type(side).__name__}"
            raise TypeError(
                f"loss takes torch tensors of floating point numbers, and {name} is {what}. For a value without"
                " gradients call the measure: measure(x, y)."
            )
    if x.device != y.device:
        raise ValueError(f"both sides must be on one device: 'x' is on {x.device}, 'y' on {y.device}.")
    for name, side in (("x", x), ("y", y)):
        if side.ndim < 2:
            raise UndefinedError(f"'{name}': a representation is (samples, features); it has shape {tuple(side.shape)}")
        if len(side) < measure.min_samples:
            raise UndefinedError(f"'{name}': at least {measure.min_samples} samples are needed; it has {len(side)}")
        if not bool(torch.isfinite(side).all()):
            raise UndefinedError(f"'{name}': it holds values that are NaN or infinite")
        if bool((side == side[:1]).all()):
            raise UndefinedError(f"'{name}': it is constant: all {len(side)} samples have the same activations")
    if len(x) != len(y):
        raise ValueError(f"both sides need the same samples: 'x' has {len(x)} rows, 'y' has {len(y)}.")
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.flatten(1).to(dtype), y.flatten(1).to(dtype)


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Subtract column means and scale to Frobenius norm 1; no square overflows."""
    import torch

    centred = x - x.mean(dim=0)
    largest = centred.detach().abs().max()
    if largest <= 4 * torch.finfo(x.dtype).eps * x.detach().abs().max():
        raise UndefinedError("it is constant within the precision of its numbers")
    centred = centred / largest
    return centred / centred.norm()


def _root(squares: torch.Tensor, rounding: Any) -> torch.Tensor:
    """Return square roots; what is within rounding of 0 is 0, with the gradient 0."""
    some = squares > rounding
    return squares.where(some, squares.new_ones(())).sqrt().where(some, squares.new_zeros(()))


def _cosine(a: torch.Tensor, b: torch.Tensor, reason: str) -> torch.Tensor:
    """Return the cosine of two matrices or vectors."""
    squares = (a * a).sum(), (b * b).sum()
    for square in squares:
        if not float(square.detach()) > 0:
            raise UndefinedError(reason)
    return (a * b).sum() / (squares[0] * squares[1]).sqrt()


# -- kernels


def cka_value(
    x: torch.Tensor,
    y: torch.Tensor,
    kernel: Literal["linear", "rbf"],
    bandwidth: float,
    *,
    with_diagonal: bool,
    debiased: bool,
) -> torch.Tensor:
    """Return CKA of two tensors."""
    x, y = _unit(x), _unit(y)
    nothing = "all samples are equally far from one another, so nothing is left of its matrix once it is centred"
    if kernel == "linear" and not debiased and max(x.shape[1], y.shape[1]) < len(x):
        products = y.T @ x, x.T @ x, y.T @ y
        return products[0].square().sum() / (products[1].norm() * products[2].norm())
    matrices = [side @ side.T if kernel == "linear" else _gaussian(side, bandwidth, with_diagonal) for side in (x, y)]
    centre = _u_centre if debiased else _centre
    return _cosine(centre(matrices[0]), centre(matrices[1]), nothing)


def _centre(matrix: torch.Tensor) -> torch.Tensor:
    means = matrix.mean(dim=0)
    return matrix - means - means[:, None] + means.mean()


def _u_centre(matrix: torch.Tensor) -> torch.Tensor:
    """Centre so that the inner product of two matrices is n (n - 3) times the unbiased HSIC."""
    n = len(matrix)
    diagonal = matrix.new_ones(n, n).fill_diagonal_(0)
    matrix = matrix * diagonal
    sums = matrix.sum(dim=0)
    return (matrix - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))) * diagonal


def _squared_distances(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared distances (n, n), and by how much each may be rounding."""
    import torch

    lengths = x.square().sum(dim=1)
    sums = lengths + lengths[:, None]
    return (sums - 2 * x @ x.T).clamp(min=0), 8 * torch.finfo(x.dtype).eps * sums.detach()


def _gaussian(x: torch.Tensor, bandwidth: float, with_diagonal: bool) -> torch.Tensor:
    squared, rounding = _squared_distances(x)
    squared = squared.where(squared > rounding, squared.new_zeros(()))
    n = len(x)
    cells = squared.new_ones(n, n) if with_diagonal else squared.new_ones(n, n).fill_diagonal_(0)
    values = squared[cells.bool()]
    ordered = values.sort().values
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    if not float(middle.detach()) > 0:
        raise UndefinedError(
            "the median distance between samples is 0 (half of them are copies), so the RBF kernel has no width"
        )
    return (squared / (-2 * bandwidth**2 * middle)).expm1()


# -- rotations


def nuclear_norm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the nuclear norm of XᵀY of both sides, centred and scaled to Frobenius norm 1."""
    found: torch.Tensor = _nuclear_norm().apply(_unit(x), _unit(y))
    return found


@functools.cache
def _nuclear_norm() -> Any:
    """Return the function of torch; a class of torch's can only be defined once torch is imported."""
    import torch

    class NuclearNorm(torch.autograd.Function):
        """The nuclear norm of xᵀy. Its derivative with respect to x is y V Uᵀ, with U S Vᵀ = xᵀy: no division."""

        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            bases, reduced = [], []
            for side in (x, y):  # a wide side has at most n directions
                q, r = torch.linalg.qr(side.T) if side.shape[1] > len(side) else (None, side.T)
                bases.append(q)
                reduced.append(r)
            u, s, vh = torch.linalg.svd(reduced[0] @ reduced[1].T, full_matrices=False)
            some = s > 8 * torch.finfo(s.dtype).eps * s[0]
            u, v = u[:, some], vh[some].T
            u, v = (side if q is None else q @ side for side, q in zip((u, v), bases, strict=True))
            ctx.save_for_backward(u, v, x @ u, y @ v)
            return s.sum()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if torch.is_grad_enabled():  # with create_graph=True; the derivatives of u and v would be missing
                raise NotImplementedError(
                    "nuclear norms (NBS, Procrustes) have first derivatives only. Leave out create_graph=True, or use"
                    " a measure such as 'cka_debiased'"
                )
            u, v, left, right = ctx.saved_tensors
            return grad * right @ u.T, grad * left @ v.T

    return NuclearNorm


def procrustes_value(x: torch.Tensor, y: torch.Tensor, form: Literal["squared", "distance", "angle"]) -> torch.Tensor:
    """Return the squared distance, the distance or the angle."""
    import torch

    squared = 2 - 2 * nuclear_norm(x, y)
    if form == "squared":
        return squared
    distance = _root(squared, 32 * torch.finfo(squared.dtype).eps)
    return distance if form == "distance" else 2 * (distance / 2).asin()


# -- matrices of samples


def rsa_value(x: torch.Tensor, y: torch.Tensor, first: str, *, diagonal: bool) -> torch.Tensor:
    """Return the Pearson correlation of the two matrices of (dis)similarities."""
    import torch

    vectors = []
    for side in (x, y):
        matrix, n = _matrix(side, first), len(side)
        rows, columns = torch.tril_indices(n, n, -1, device=side.device)
        vector = matrix.flatten() if diagonal else matrix[rows, columns]
        spread = float((vector.max() - vector.min()).detach())
        largest = 1.0 if first in ("correlation", "cosine") else float(vector.detach().abs().max())
        if spread <= 8 * torch.finfo(side.dtype).eps * largest:
            raise UndefinedError("all pairs of samples are equally alike")
        vectors.append(vector - vector.mean())
    return _cosine(vectors[0], vectors[1], "all pairs of samples are equally alike")


def _matrix(x: torch.Tensor, first: str) -> torch.Tensor:
    import torch

    if first in ("euclidean", "squared_euclidean"):
        squared, rounding = _squared_distances(_unit(x))
        return _root(squared, rounding) if first == "euclidean" else squared
    x = x / x.detach().abs().max()
    if first == "dot":
        return x @ x.T
    if first == "correlation":
        if x.shape[1] < 2:
            raise UndefinedError("correlation between samples needs at least 2 features; it has 1")
        x = x - x.mean(dim=1, keepdim=True)
    lengths = x.norm(dim=1)
    empty = lengths <= (8 * torch.finfo(x.dtype).eps * math.sqrt(x.shape[1]) if first == "correlation" else 0)
    if bool(empty.any()):
        raise UndefinedError(f"sample {int(empty.nonzero()[0, 0])} has no direction: its activations are all equal")
    x = x / lengths[:, None]
    return x @ x.T
