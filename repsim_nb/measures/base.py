"""What a measure is.

A measure is a frozen set of options with two methods: `prepare`, once per representation, and `pair`, once per pair of
prepared values. Everything else (checking, labelling, tables) is written here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.summaries import summarize
from repsim_nb.support.workers import SERIAL, Workers

from .cost import Cost
from .table_inputs import check_same_samples, check_sides, label_arrays, to_one_library
from .tables import Job, Reasons, Table, pair_by_pair

TRANSFORMS = frozenset({"permutation", "orthogonal", "scaling", "translation", "linear"})
NO_LINEAR = TRANSFORMS - {"linear"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A configured comparison of two representations of the same samples.

    A subclass is a frozen dataclass whose fields are its options. It says what it is in the class attributes below
    (properties, where an option decides) and defines `prepare` and `pair`.
    """

    kind: ClassVar[Literal["similarity", "dissimilarity"]]
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = frozenset()
    is_metric: ClassVar[bool] = False
    compares: ClassVar[Literal["activations", "outputs"]] = "activations"  # representational, or functional
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)  # for colour scales; estimators may leave it a little
    min_samples: ClassVar[int] = 3  # the fewest samples with which it says anything

    def prepare(self, x: Array) -> Any:
        """What this measure needs of one representation (samples, features); opaque to everyone else."""
        raise NotImplementedError(f"{type(self).__name__} defines no prepare(x)")

    def pair(self, a: Any, b: Any) -> float:
        """The value for two prepared representations; free of side effects."""
        raise NotImplementedError(f"{type(self).__name__} defines no pair(a, b)")

    def permute(self, a: Any, order: np.ndarray) -> Any:
        """A prepared value with its samples in another order: prepare(x[order]), but for rounding.

        NotImplementedError where only x can be reordered.
        """
        raise NotImplementedError(f"{self} cannot reorder the samples of what it prepared")

    def gram_matrix(self, a: Any) -> np.ndarray:
        """A prepared value as a symmetric matrix (n, n) of samples; the inner product of two is the value of the pair.

        The matrix is reordered as the samples are. NotImplementedError where a value is no inner product.
        """
        self.check_gram_matrix()
        raise NotImplementedError(f"{type(self).__name__} defines no gram_matrix(a)")

    @property
    def recentring(self) -> str | None:
        """How the matrix of `gram_matrix` is centred again without some samples.

        "double", "unbiased" (U-centred) or "pairs" (their mean out). None if other entries change too.
        """
        return None

    def check_gram_matrix(self) -> None:
        """NotImplementedError where `gram_matrix` has no matrix to give, and says why."""
        raise NotImplementedError(f"a value of {self} is no inner product of two symmetric matrices of samples")

    @property
    def sample_data(self) -> Mapping[str, Any]:
        """Data of each sample that the measure itself has, as {name: {label: array}}; only `deconfounded` has any.

        Its rows must be those of the representations.
        """
        return {}

    def select_rows(self, rows: Any) -> Measure:
        """The measure for these rows of the representations: itself, if it holds nothing of each sample."""
        return self

    def check_exchange(self) -> None:
        """ValueError if permuted samples of one side do not show what chance gives."""

    def pair_both(self, a: Any, b: Any) -> tuple[float, float]:
        """The values of (a, b) and of (b, a), where a table needs the two."""
        value = self.pair(a, b)
        return value, value if self.symmetric or a is b else self.pair(b, a)

    def dissimilarity(self, value: Any) -> Any:
        """A value (or an array of them) as a dissimilarity: 1 - s for a similarity, itself otherwise."""
        return 1 - value if self.kind == "similarity" else value

    def __call__(self, x: Array, y: Array) -> float:
        """The value for two arrays, tensors or frames (n, ...) of the same n samples in the same order."""
        check_sides({"x": {"x": x}, "y": {"y": y}}, self)
        return float(self.table({"x": x}, {"y": y}).values[0, 0])

    def table(
        self,
        xs: Mapping[Any, Array] | Sequence[Array],
        ys: Mapping[Any, Array] | Sequence[Array] | None = None,
        *,
        on_undefined: Literal["raise", "mask"] = "raise",
        moments: bool = False,
        run: Workers = SERIAL,
        tick: Callable[[int, int], None] = lambda done, total: None,
        scratch: Path | None = None,
    ) -> Table:
        """All pairs; without ys, of xs with itself.

        Parameters
        ----------
        xs, ys : {label: array (n, ...)} or list of arrays
        on_undefined : "raise" or "mask"
            At the first cell that has no value, raise; or leave it NaN and return the reason.
        moments : bool
            Return also the sums that the moments of permuted samples depend on (`Table.moments`), if the measure has a
            `gram_matrix`; not between processes.
        run : Workers
            Who does the work.
        tick : function(done, total)
            It is called along the way and may raise to stop.
        scratch : Path, optional
            A folder for what is prepared, during the work.

        Returns
        -------
        Table

        Raises
        ------
        UndefinedError
            It names the pair that has no value.
        """
        if moments:
            self.check_gram_matrix()
        check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, self)
        rows = label_arrays(xs)
        columns = {} if ys is None else label_arrays(ys)
        check_same_samples(rows, columns)
        rows, columns = to_one_library(rows, columns)
        reasons = Reasons(self, list(rows), list(columns) or list(rows), mask=on_undefined == "mask")
        job = Job(run, tick, scratch, reasons, {} if moments else None)
        values = self._table(list(rows.values()), None if ys is None else list(columns.values()), job)
        return Table(values, reasons.fill(values, mirrored=ys is None), job.moments or {})

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        """The values of checked arrays. A family that can do better than pair by pair overrides it."""
        return pair_by_pair(self, xs, ys, job)

    # -- what it costs; a measure that returns NaN is not estimated

    def prepare_flops(self, n: int, p: int) -> float:
        """Work of `prepare`, as the flops of a matrix product that takes as long; NaN if a measure does not say."""
        return math.nan

    def pair_flops(self, n: int, p: int, q: int) -> float:
        """Work of `pair`, likewise."""
        return math.nan

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        """What one prepared representation takes in memory; NaN where a measure does not say."""
        return math.nan

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> Cost:
        """What a table of representations (n, p), p in ps, with those of widths qs (or with themselves) will take."""
        both = [*ps, *(qs or ())]
        pairs = [
            (p, q)
            for i, p in enumerate(ps)
            for q in (ps[i:] if qs is None and self.symmetric else ps if qs is None else qs)
        ]
        flops = sum(self.prepare_flops(n, p) for p in both) + sum(self.pair_flops(n, p, q) for p, q in pairs)
        return Cost(flops, sum(self.prepared_bytes(n, p, itemsize) for p in both), 16.0 * n * max(both))

    def __str__(self) -> str:
        changed = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(changed)})" if changed else type(self).__name__

    def _repr_html_(self) -> str:
        low, high = self.range
        return summarize(
            "Measure",
            str(self),
            [
                f"{self.kind}: larger is {'more' if self.kind == 'similarity' else 'less'} alike",
                f"from {low:g} to {high:g}",
                f"of {self.compares}",
                "symmetric" if self.symmetric else "not symmetric",
                "a metric" if self.is_metric else "",
                f"at least {self.min_samples} samples",
            ],
            notes=[f"invariant to: {', '.join(sorted(self.invariant_to)) or 'no transform'}"],
            page=f"measures.{type(self).__name__}",
        )
