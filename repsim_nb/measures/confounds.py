"""Measures with the similarity of the inputs taken out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import check_representation, check_shape, to_numpy

from . import cost
from .base import Measure
from .confound_inputs import ConfoundInputs, InputSide, convert_like, read_inputs
from .cosine import Cosine
from .rsa import RSA
from .tables import Job, Reasons

NEAR = 256  # spacings of the precision by which a squared correlation with the inputs must stay below 1


@dataclass(frozen=True, kw_only=True, repr=False)
class Deconfounded(Measure):
    """A measure without the similarity of the inputs; `deconfounded` creates it.

    Parameters
    ----------
    base : Measure
        The measure from which the similarity of the inputs is taken out.
    inputs : ConfoundInputs
        The inputs of the samples.

    Notes
    -----
    Range -1 to 1; larger is more alike, and 0 is the chance level given the inputs. Invariant to what `base` is
    invariant to. Needs one sample more than `base`. Cost: as `base`, with the inputs as one more representation.

    Misleads when the representations depend on the inputs in a way that is not linear in the similarity matrix of the
    inputs: that part stays. And a model whose features follow from the inputs alone loses what the inputs explain, even
    if it learned it.

    Examples
    --------
    >>> inputs = np.random.default_rng(0).normal(size=(50, 10))
    >>> measure = rs.measures.deconfounded("cka", inputs)
    >>> measure.name, measure.min_samples
    ('cka without inputs', 4)
    """

    base: Measure
    inputs: ConfoundInputs

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        """The transformations that leave `base` unchanged."""
        return self.base.invariant_to

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        """One sample more than `base` needs."""
        return self.base.min_samples + 1

    @property
    def name(self) -> str:
        """The short name of `base`, and "without inputs"."""
        return f"{self.base} without inputs"

    @property
    def sample_data(self) -> Mapping[str, Any]:
        # the inputs, with the ids of their samples
        return {"inputs": InputSide(self.inputs)}

    def select_rows(self, rows: Any) -> Deconfounded:
        # returns the measure with the same rows of the inputs
        some = ConfoundInputs(self.values[np.asarray(rows)])
        some.narrow = some.values  # already reduced, if there were many features
        return Deconfounded(base=self.base, inputs=some)

    def check_exchange(self) -> None:
        # always raises ValueError: a permuted side has lost its dependence on the inputs
        raise ValueError(
            f"{self.name}: the samples of one side cannot be permuted to find the chance level. A permuted side no"
            " longer depends on the inputs, so its values vary less than those of unrelated representations of the same"
            " inputs, and p-values would be too small. Use inference.interval, and see whether the confidence interval"
            " contains 0."
        )

    def check_gram_matrix(self) -> None:
        # always raises NotImplementedError: the samples are in the order of the inputs
        raise NotImplementedError(
            f"a value of {self.name} is of samples in the order of the inputs, and is not defined for permuted samples"
        )

    def between(self, form: Any) -> Any:
        """Return the measure without pairs of rows within a group.

        Parameters
        ----------
        form : function(x, y, codes)
            The form of the base without these pairs.

        Returns
        -------
        function(x, y, codes)
            It computes the value from two representations and the group of each row, 0, 1, ...

        Examples
        --------
        >>> from repsim_nb.measures.between import form_between
        >>> inputs, x, y = np.random.default_rng(0).normal(size=(3, 40, 10))
        >>> measure = rs.measures.deconfounded("cka_debiased", inputs)
        >>> value = measure.between(form_between(measure.base))
        >>> -1 <= value(x, y, np.repeat(np.arange(10), 4)) <= 1
        True
        """
        values = self.values

        def value(x: Any, y: Any, codes: np.ndarray) -> float:
            self._check_rows(len(x), "x")
            tolerance = NEAR * max(_eps(side) for side in (x, y))
            both, one, other = form(x, y, codes), form(x, values, codes), form(y, values, codes)
            for r in (one, other):
                self._check_left(r, tolerance)
            return float(partial(both, one, other))

        return value

    def prepare(self, x: Array) -> tuple[Any, float]:
        # returns what the base prepares, and its value with the inputs
        checked = x if isinstance(x, RDM) else check_representation(x, min_samples=self.min_samples)
        if isinstance(self.values, RDM) and not isinstance(checked, RDM):
            checked = to_numpy(checked)
        self._check_rows(checked.shape[0], "the representation")
        mine = self.base.prepare(checked)
        r = self.base.pair(mine, self.inputs.prepare(self.base, checked, self.values))
        self._check_left(r, NEAR * _eps(checked))
        return mine, r

    def pair(self, a: tuple[Any, float], b: tuple[Any, float]) -> float:
        # returns the partial correlation of two prepared representations, given the inputs
        (one, r), (other, s) = a, b
        return float(partial(self.base.pair(one, other), r, s))

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        """Compute a table of the base with the inputs as one more row and column."""
        many, mirrored = (len(xs), len(xs if ys is None else ys)), ys is None
        labels = job.reasons.labels
        for its_labels, arrays in zip(labels, (xs, xs if ys is None else ys), strict=True):
            for label, x in zip(its_labels, arrays, strict=True):
                if x.ndim:
                    self._check_rows(x.shape[0], f"'{format_label(label)}'")
        if isinstance(self.values, RDM):  # which is compared with NumPy
            xs, others = ([x if isinstance(x, RDM) else to_numpy(x) for x in side] for side in (xs, ys or []))
            ys = None if mirrored else others
        coarsest, inputs = self._inputs_like([*xs, *(ys or ())])
        reasons = Reasons(self, [*labels[0], "inputs"], [*labels[1], "inputs"], mask=job.reasons.mask)
        values = self.base._table(
            [*xs, inputs], None if ys is None else [*ys, inputs], job._replace(reasons=reasons, moments=None)
        )
        for side, bad in enumerate(reasons.bad):
            if many[side] in bad:
                raise UndefinedError(bad[many[side]])
            job.reasons.bad[side].update(bad)
        for (i, j), why in reasons.cells.items():
            if i < many[0] and j < many[1]:
                job.reasons.cells[i, j] = why
            else:
                side = 0 if mirrored or j == many[1] else 1
                job.reasons.bad[side].setdefault(min(i, j) if mirrored else (i, j)[side], why)
        with_inputs = [values[:-1, -1], values[:-1, -1] if mirrored else values[-1, :-1]]
        for side, r in enumerate(with_inputs[: 1 if mirrored else 2]):
            for i in np.flatnonzero(1 - r * r <= NEAR * coarsest).tolist():
                job.reasons.add_representation(side, i, self._nothing(r[i]))
        return partial(values[:-1, :-1], with_inputs[0][:, None], with_inputs[1][None], NEAR * coarsest)

    @property
    def values(self) -> Any:
        """The inputs as the base needs them: at most n features, unless the base is RSA, which rotations change."""
        return self.inputs.values if isinstance(self.base, RSA) else self.inputs.narrow

    def _inputs_like(self, arrays: Sequence[Array]) -> tuple[float, Array]:
        """Return the coarsest spacing of these arrays, and the inputs in their finest precision, in their library."""
        like = next((x for x in arrays if not isinstance(x, RDM)), np.zeros(0))
        xp, kinds = array_api_compat.array_namespace(like), [x.dtype for x in arrays if isinstance(x, RDM)]
        for x in arrays:
            with contextlib.suppress(UndefinedError):  # the base reports which
                kinds.append(check_shape(x, 1)[1])
        kinds = kinds or [xp.float64]
        return max(float(xp.finfo(kind).eps) for kind in kinds), convert_like(
            self.values, like, functools.reduce(xp.result_type, kinds)
        )

    def _check_rows(self, n: int, whose: str) -> None:
        if n != len(self.inputs.values):
            raise ValueError(
                f"{self.name}: the inputs are {len(self.inputs.values)} samples, and {whose} has {n} rows. Give the"
                " inputs of the same samples, in the same order. For some rows of the representations use"
                " measure.select_rows(rows)."
            )

    def _check_left(self, r: float, tolerance: float) -> None:
        if not 1 - r * r > tolerance:
            raise self._nothing(r)

    def _nothing(self, r: float) -> UndefinedError:
        return UndefinedError(
            f"its similarity matrix is that of the inputs ({self.base} with them is {r:.6g}), so nothing is"
            " left to compare without it"
        )

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        # of a table of the base with the inputs as one more representation
        p = self.values.shape[1]
        return self.base.cost(n, [*ps, p], None if qs is None else [*qs, p], itemsize)

    def __str__(self) -> str:
        return f"{self.name} #{self.inputs.fingerprint[:8]}"

    def __repr__(self) -> str:
        n, p = self.inputs.values.shape
        return f"deconfounded({str(self.base)!r}, inputs {n} × {p} #{self.inputs.fingerprint[:8]})"


def partial(both: Any, one: Any, other: Any, tolerance: float = 0.0) -> Any:
    """Compute the partial correlation of two things, given a third.

    Parameters
    ----------
    both : float or array
        Their correlation.
    one, other : float or array
        The correlation of each with the third.
    tolerance : float
        The value is NaN if 1 - r² of one with the third is not above this.

    Returns
    -------
    float or array

    Examples
    --------
    >>> float(partial(0.5, 0.6, 0.8).round(3))
    0.042
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    left, right = (np.where(1 - r * r > tolerance, 1 - r * r, np.nan) for r in (one, other))
    return (both - one * other) / np.sqrt(left * right)


def _eps(x: Array) -> float:
    """Return the spacing of numbers near 1 in the precision in which x is compared."""
    if isinstance(x, RDM):
        return float(np.finfo(x.dtype).eps)
    x, dtype = check_shape(x, 1)
    return float(array_api_compat.array_namespace(x).finfo(dtype).eps)


def takes_rdms(measure: Measure) -> bool:
    """Return whether a measure compares RDMs."""
    return isinstance(measure.base if isinstance(measure, Deconfounded) else measure, Cosine)


def _is_cosine(measure: Measure) -> bool:
    """Return whether a measure is a cosine of two matrices of samples."""
    try:
        measure.check_gram_matrix()
    except NotImplementedError:
        return False
    return isinstance(measure, Cosine)


def deconfounded(measure: str | Measure, inputs: Any) -> Measure:
    """Create a measure of what two representations have in common beyond the similarity of their inputs.

    Two models can agree only because both see the same images: images that look alike have similar representations,
    even in random models. The similarity matrix of the inputs is regressed out of that of each representation, and the
    residuals are compared.

    Parameters
    ----------
    measure : str or Measure
        A measure that is a cosine of two matrices of samples: CKA (linear or RBF, debiased or not, not in batches), RSA
        whose second order is "pearson", "spearman" or "cosine", distance correlation (not its root). `"cka_debiased"`
        is a good choice.
    inputs : array (n, ...), frame, RDM or Dataset
        The inputs of the models; row i is the same sample as row i of the representations. It can be any other
        representation that is to be held constant (of an untrained model, the first layer, one-hot classes). Ids must
        agree if both sides have them. For texts give counts of words or an embedding.

    Returns
    -------
    Measure
        A similarity in -1 to 1, for `compare`, `grounding.specificity`, `grounding.benchmark`, `inference.interval`,
        `sample_size`, `influence`, `block_means` and `sample_sets`. If these take some of the samples, they take the
        same rows of the inputs (`measure.select_rows(rows)`). It needs one sample more than `measure`. Measures with
        the same base and equal inputs are equal. Load a saved comparison with `Comparison.load(path, measure=...)`.

    Raises
    ------
    ValueError
        If the measure is not a cosine of two matrices of samples, or the inputs are not numbers; and later, if the
        representations have another number of samples.
    UndefinedError
        If a representation has the similarity matrix of the inputs, up to rounding: nothing is left of it.

    Notes
    -----
    With r the values of `measure` for each two of x, y and the inputs c, the cosine of the residuals is the partial
    correlation

        (r_xy - r_xc r_yc) / sqrt((1 - r_xc²) (1 - r_yc²)).

    Centring takes out the intercept; for RSA with second="cosine" there is none. For debiased distance correlation it
    is the partial distance correlation of Székely and Rizzo.

    Cui and others propose it for linear CKA and for RSA of squared distances. For linear CKA the regression is theirs.
    Two things differ. (1) A residual matrix has negative eigenvalues, so it is not a kernel; their code can set these
    to 0. This is left out here, since it brings a part of the similarity of the inputs back and has no debiased form:
    for five models on 300 MNIST images the matrices without negative eigenvalues have a CKA of .29 to .43 with the
    inputs again, where that of the residuals is 0, and the values of pairs change by up to .13. (2) Their RSA regresses
    distances and compares the residuals by Spearman's ρ. Here second="spearman" regresses ranks on ranks, which gives
    the partial rank correlation, and second="pearson" regresses the distances themselves.

    Only what is linear in the similarity matrix of the inputs is taken out. Two random models with nonlinear units may
    have more than that in common, so architecture alone can give values above 0. And a model whose features follow
    from the inputs alone loses what the inputs explain, even if it learned it.

    `permutation_test`, `null_moments`, `null_table`, `chance_corrected` and `chance_values` refuse such a measure: if
    both sides depend on the inputs, permuted residuals vary less than those of unrelated representations. Simulated
    (1, "cka_debiased"; x and y are rotated inputs plus independent noise, 5 or 20 features; 200 nulls each), permuting
    residual matrices rejects at level .05 in .20 and .10 of 100 samples, in .40 of 400 samples of 5 features, and in
    .28 to .42 if the inputs are in 10 classes. `interval` keeps its level: simulated for "cka_debiased" with 200
    samples (normal inputs of 5 and 20 features, or inputs in 10 classes with 5; with and without something that x and y
    share beyond the inputs; 400 times each) and 1,000 samples (20 features, 200 times each), .92 to .98 of the
    intervals at level .95 contained the population value. With nothing shared .02 to .06 of them left out 0.

    References
    ----------
    Cui, Kumar, Marttinen, Kaski 2022, "Deconfounded representation similarity for comparison of neural networks";
    Székely, Rizzo 2014.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(200, 10))
    >>> rotations = [np.linalg.qr(rng.normal(size=(10, 10)))[0] for _ in range(2)]
    >>> x, y = (inputs @ rotation + 0.5 * rng.normal(size=(200, 10)) for rotation in rotations)
    >>> measure = rs.measures.deconfounded("cka_debiased", inputs)
    >>> rs.measures.short_name(measure)
    'cka_debiased without inputs'
    >>> rs.measures.get("cka_debiased")(x, y) > 0.6, abs(measure(x, y)) < 0.2
    (True, True)
    """
    from . import ALL, get

    base = get(measure)
    if not _is_cosine(base):
        works = ", ".join(name for name, known in ALL.items() if _is_cosine(known))
        more = " (one confound at a time)" if isinstance(base, Deconfounded) else ""
        raise ValueError(
            "deconfounded needs a measure that is a cosine of two matrices of samples; got"
            f" {base}{more}. Use one of {works}, also with other options."
        )
    values, ids = read_inputs(inputs)
    if isinstance(values, RDM):
        values.check_complete()
        return Deconfounded(base=base, inputs=ConfoundInputs(values, ids))
    try:
        values = to_numpy(check_representation(values, min_samples=base.min_samples + 1))
    except UndefinedError as error:
        raise ValueError(f"inputs of deconfounded: {error}") from error
    # equality and what is prepared stay true if the caller writes into the array
    values = values.copy() if values.flags.writeable else values
    return Deconfounded(base=base, inputs=ConfoundInputs(np.asarray(values), ids))
