"""The base class of all measures.

A measure is a frozen set of options with two methods: `prepare`, once for each representation, and `pair`, once for
each pair of prepared representations. Everything else (checks, labels, tables) is defined here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.summaries import summarize
from repsim_nb.support.workers import SERIAL, Workers

from .cost import CostEstimates
from .losses import Differentiable
from .names import name_of
from .table_inputs import check_same_samples, check_sides, label_arrays, to_one_library
from .tables import Job, Reasons, Table, pair_by_pair, round_into_range, round_pairs

TRANSFORMS = frozenset({"permutation", "orthogonal", "scaling", "translation", "linear"})
NO_LINEAR = TRANSFORMS - {"linear"}


@dataclass(frozen=True, kw_only=True)
class Measure(CostEstimates, Differentiable):
    """A configured comparison of two representations of the same samples.

    Call it with two arrays for a single value, or give it to `compare` for a table. A subclass is a frozen dataclass
    whose fields are its options. It sets the attributes below (as properties, if they depend on an option) and defines
    `prepare` and `pair`.

    Attributes
    ----------
    kind : {"similarity", "dissimilarity"}
        Whether a larger value means more alike, or less alike.
    symmetric : bool
        Whether the value of (x, y) is that of (y, x).
    invariant_to : frozenset of str
        The transformations of one side that leave the value unchanged, among "permutation" and "orthogonal" (of the
        features), "scaling", "translation" and "linear" (every invertible linear map of the features).
    is_metric : bool
        Whether the value obeys the triangle inequality.
    compares : {"activations", "outputs"}
        Whether it is a representational or a functional measure.
    range : (float, float)
        The smallest and the largest value, for color scales; estimates may lie slightly outside.
    min_samples : int
        The smallest number of samples that has a value.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 10))
    >>> measure = rs.measures.get("cka_debiased")
    >>> measure.kind, measure.range, measure.min_samples
    ('similarity', (-1.0, 1.0), 4)
    >>> round(measure(x, 2 * x), 6)
    1.0
    """

    kind: ClassVar[Literal["similarity", "dissimilarity"]]
    invariant_to: ClassVar[frozenset[str]] = frozenset()
    is_metric: ClassVar[bool] = False
    compares: ClassVar[Literal["activations", "outputs"]] = "activations"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    min_samples: ClassVar[int] = 3

    def __init_subclass__(cls) -> None:
        round_pairs(cls)

    def prepare(self, x: Array) -> Any:
        """Compute what the measure needs of one representation.

        Parameters
        ----------
        x : array (n, ...)
            The representation, samples first.

        Returns
        -------
        object
            An input of `pair`; its type is private to the measure.

        Raises
        ------
        UndefinedError
            If the representation has no value with any other: it is constant, has a NaN, or has too few samples.

        Examples
        --------
        >>> rs.measures.get("cka").prepare(np.eye(5)[:, :3]).shape
        (25,)
        """
        raise NotImplementedError(f"{type(self).__name__} defines no prepare(x)")

    def pair(self, a: Any, b: Any) -> float:
        """Compute the value of two prepared representations.

        Parameters
        ----------
        a, b : object
            What `prepare` returned for x and y.

        Returns
        -------
        float
            The same as `self(x, y)`.

        Raises
        ------
        UndefinedError
            If this pair has no value.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(2, 50, 4))
        >>> measure = rs.measures.get("procrustes")
        >>> bool(np.isclose(measure.pair(measure.prepare(x), measure.prepare(y)), measure(x, y)))
        True
        """
        raise NotImplementedError(f"{type(self).__name__} defines no pair(a, b)")

    def permute(self, a: Any, order: np.ndarray) -> Any:
        """Reorder the samples of a prepared representation.

        Parameters
        ----------
        a : object
            What `prepare` returned for x.
        order : int array (n,)
            The new order of the samples.

        Returns
        -------
        object
            `prepare(x[order])`, up to rounding.

        Raises
        ------
        NotImplementedError
            If only x itself can be reordered.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> measure, order = rs.measures.get("cka"), np.arange(50)[::-1]
        >>> bool(np.allclose(measure.permute(measure.prepare(x), order), measure.prepare(x[order])))
        True
        """
        raise NotImplementedError(
            f"{self} cannot reorder the samples of a prepared representation. Prepare x[order] instead"
        )

    def gram_matrix(self, a: Any) -> np.ndarray:
        """Return a prepared representation as a matrix of samples; the inner product of two is the value of the pair.

        Reordering the samples reorders rows and columns of the matrix.

        Parameters
        ----------
        a : object
            What `prepare` returned.

        Returns
        -------
        array (n, n)
            A symmetric matrix.

        Raises
        ------
        NotImplementedError
            If the value of a pair is not an inner product of two such matrices.

        Examples
        --------
        >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> measure = rs.measures.get("cka")
        >>> a, b = (measure.gram_matrix(measure.prepare(side)) for side in (x, y))
        >>> bool(np.isclose((a * b).sum(), measure(x, y)))
        True
        """
        self.check_gram_matrix()
        raise NotImplementedError(f"{type(self).__name__} defines no gram_matrix(a)")

    @property
    def recentring(self) -> str | None:
        """How `gram_matrix` is centred, so that it can be centred again without some samples.

        "double" (row and column means subtracted), "unbiased" (U-centred) or "pairs" (mean of all pairs subtracted).
        None if leaving out samples changes other entries too.
        """
        return None

    def check_gram_matrix(self) -> None:
        """Raise NotImplementedError, with the reason, if `gram_matrix` has no matrix to return.

        Examples
        --------
        >>> rs.measures.get("cka").check_gram_matrix()
        >>> rs.measures.get("mean_cca").check_gram_matrix()
        Traceback (most recent call last):
        ...
        NotImplementedError: a value of mean_cca is not an inner product of two symmetric matrices of samples
        """
        raise NotImplementedError(f"a value of {self} is not an inner product of two symmetric matrices of samples")

    @property
    def sample_data(self) -> Mapping[str, Any]:
        """Data of each sample that are part of the measure, as {name: {label: array}}.

        Their rows must be those of the representations. Only the measures of `deconfounded` have any.
        """
        return {}

    def select_rows(self, rows: Any) -> Measure:
        """Return the measure for some rows of the representations: itself, unless it has `sample_data`.

        Parameters
        ----------
        rows : array
            Row numbers, or a mask.

        Returns
        -------
        Measure
            A measure of the same options.

        Examples
        --------
        >>> measure = rs.measures.get("cka")
        >>> measure.select_rows([0, 1, 2]) is measure
        True
        """
        return self

    def check_exchange(self) -> None:
        """Raise ValueError if permuting the samples of one side does not give the chance level.

        Examples
        --------
        >>> rs.measures.get("cka").check_exchange()  # no error: permutation tests are valid
        """

    def pair_both(self, a: Any, b: Any) -> tuple[float, float]:
        """Return the values of (a, b) and of (b, a), for a table that needs both.

        Parameters
        ----------
        a, b : object
            What `prepare` returned for x and y.

        Returns
        -------
        (float, float)
            The two values, which are equal for a symmetric measure.

        Examples
        --------
        >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> measure = rs.measures.get("cka")
        >>> one, other = measure.pair_both(measure.prepare(x), measure.prepare(y))
        >>> one == other
        True
        """
        value = self.pair(a, b)
        return value, value if self.symmetric or a is b else self.pair(b, a)

    def dissimilarity(self, value: Any) -> Any:
        """Convert a value, or an array of values, into a dissimilarity.

        Parameters
        ----------
        value : float or array
            Values of this measure.

        Returns
        -------
        float or array
            1 - value for a similarity; the value itself for a dissimilarity.

        Examples
        --------
        >>> rs.measures.get("cka").dissimilarity(0.75), rs.measures.get("jsd").dissimilarity(0.75)
        (0.25, 0.75)
        """
        return 1 - value if self.kind == "similarity" else value

    def __call__(self, x: Array, y: Array) -> float:
        """Compute the value of two representations of the same n samples in the same order.

        Parameters
        ----------
        x, y : array, tensor or frame (n, ...)
            The representations. The axes after the first are flattened into features.

        Returns
        -------
        float

        Raises
        ------
        UndefinedError
            If there is no value, with the reason.
        ValueError
            If the ids or the numbers of samples differ.
        """
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
        """Compute the values of all pairs; without ys, of xs with itself.

        `compare` returns the same as a labelled `Comparison`.

        Parameters
        ----------
        xs, ys : {label: array (n, ...)} or list of arrays
            The representations.
        on_undefined : {"raise", "mask"}
            Raise at the first cell without a value, or leave the cell NaN and return the reason.
        moments : bool
            Return also the sums that the moments under permuted samples depend on (`Table.moments`), if the measure
            has a `gram_matrix`; not with other processes.
        run : Workers
            The workers that compute.
        tick : function(done, total)
            Called during the work; it may raise to stop it.
        scratch : Path, optional
            A folder for prepared representations, during the work.

        Returns
        -------
        Table
            The values, and the reasons of cells without one.

        Raises
        ------
        UndefinedError
            If a pair has no value; the error names the pair.

        Examples
        --------
        >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> rs.measures.get("cka").table({"x": x, "y": y}).values.round(2)
        array([[1.  , 0.07],
               [0.07, 1.  ]])
        """
        if moments:
            self.check_gram_matrix()
        check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, self)
        rows, columns = label_arrays(xs), {} if ys is None else label_arrays(ys)
        check_same_samples(rows, columns)
        rows, columns = to_one_library(rows, columns)
        reasons = Reasons(self, list(rows), list(columns) or list(rows), mask=on_undefined == "mask")
        job = Job(run, tick, scratch, reasons, {} if moments else None)
        values = self._table(list(rows.values()), None if ys is None else list(columns.values()), job)
        values = round_into_range(values, *self.range)
        return Table(values, reasons.fill(values, mirrored=ys is None), job.moments or {})

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        """Return the values of checked arrays; measures that can do better than pair by pair override it."""
        return pair_by_pair(self, xs, ys, job)

    def __str__(self) -> str:
        """Return the short name, such as "cka_debiased"; without one the call that creates the measure."""
        return name_of(self)

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
            page=f"measures.{type(self).__name__}" if type(self).__module__.startswith("repsim_nb.") else "",
        )
