"""Measures with the similarity of the inputs taken out."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array, to_array, type_name
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.ids import names_of
from repsim_nb.support.validation import check_representation, check_shape, to_numpy

from . import cost
from .arrays import centred_unit, reduce_features
from .base import Measure
from .cosine import Cosine
from .rsa import RSA
from .tables import Job, Reasons

NEAR = 256  # spacings of the precision by which a squared correlation with the inputs must stay below 1
_WIDE = 2**27  # numbers up to which wide inputs are reduced in float64


class Inputs:
    """The inputs of a deconfounded measure, (n, p): two are equal if their numbers are.

    ids: the names of the samples, or None.
    """

    def __init__(self, values: np.ndarray, ids: np.ndarray | None = None) -> None:
        self.values, self.ids = values, ids
        self._prepared: tuple[Any, Any] | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hex digits: a hash of dtype, shape and numbers."""
        digest = hashlib.blake2b(f"{self.values.dtype} {self.values.shape}".encode(), digest_size=16)
        step = max(1, 2**24 // self.values.shape[1])
        for first in range(0, len(self.values), step):
            digest.update(np.ascontiguousarray(self.values[first : first + step]).data.cast("B"))
        return digest.hexdigest()

    @functools.cached_property
    def narrow(self) -> np.ndarray:
        """The same inner products of centred samples from at most n features."""
        n, p = self.values.shape
        if p <= n:
            return self.values
        values = self.values.astype(np.float64, copy=False) if n * p <= _WIDE else self.values
        return reduce_features(centred_unit(values))

    def prepared(self, base: Measure, like: Array, values: np.ndarray) -> Any:
        """What `base` prepares of `values`, in the library, on the device and in the precision of `like`; the last is
        kept.
        """
        key = base, str(like.dtype), str(array_api_compat.device(like)), type(like).__module__
        last = self._prepared
        if last is None or last[0] != key:
            last = self._prepared = key, base.prepare(_like(values, like, like.dtype))
        return last[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inputs) and (self is other or self.fingerprint == other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __deepcopy__(self, memo: dict[int, Any]) -> Inputs:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_prepared": None}

    def __repr__(self) -> str:
        return f"Inputs({self.values.shape[0]} × {self.values.shape[1]}, {self.fingerprint[:8]})"


@dataclass(frozen=True, kw_only=True, repr=False)
class Deconfounded(Measure):
    """What `deconfounded` makes."""

    base: Measure
    inputs: Inputs

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return self.base.invariant_to

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return self.base.min_samples + 1

    @property
    def name(self) -> str:
        from . import short_name  # at call time: the table of names is made of the classes of all files

        return f"{short_name(self.base)} without inputs"

    @property
    def sample_data(self) -> Mapping[str, Any]:
        return {"inputs": _Side(self.inputs)}

    def select_rows(self, rows: Any) -> Deconfounded:
        some = Inputs(self.values[np.asarray(rows)])
        some.narrow = some.values  # reduced already, if that is worth it
        return Deconfounded(base=self.base, inputs=some)

    def check_exchange(self) -> None:
        raise ValueError(
            f"{self.name}: samples of one side cannot be permuted to see what chance gives. A permuted side has lost"
            " its tie to the inputs, also what is left of it without them, so its values scatter less than those of"
            " unrelated representations of the same inputs, and p-values would be too small. inference.interval gives"
            " a confidence interval: see whether it contains 0"
        )

    def check_gram_matrix(self) -> None:
        raise NotImplementedError(
            f"a value of {self.name} belongs to samples in the order of the inputs, and permuted samples have none"
        )

    def between(self, form: Any) -> Any:
        """Without the pairs of rows within a group, from the form that the base has for that."""
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
        """-> (what the base prepares, its value with the inputs)"""
        checked = check_representation(x, min_samples=self.min_samples)
        self._check_rows(checked.shape[0], "the representation")
        mine = self.base.prepare(checked)
        r = self.base.pair(mine, self.inputs.prepared(self.base, checked, self.values))
        self._check_left(r, NEAR * _eps(checked))
        return mine, r

    def pair(self, a: tuple[Any, float], b: tuple[Any, float]) -> float:
        (one, r), (other, s) = a, b
        return float(partial(self.base.pair(one, other), r, s))

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        """A table of the base with the inputs as one more row and column."""
        many, mirrored = (len(xs), len(xs if ys is None else ys)), ys is None
        labels = job.reasons.labels
        for its_labels, arrays in zip(labels, (xs, xs if ys is None else ys), strict=True):
            for label, x in zip(its_labels, arrays, strict=True):
                if x.ndim:
                    self._check_rows(x.shape[0], f"'{format_label(label)}'")
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
    def values(self) -> np.ndarray:
        """The inputs as the base needs them: correlations of samples change if features are rotated."""
        return self.inputs.values if isinstance(self.base, RSA) else self.inputs.narrow

    def _inputs_like(self, arrays: Sequence[Array]) -> tuple[float, Array]:
        """The spacing of the coarsest precision of these arrays, and the inputs as one of them, in their finest."""
        xp, kinds = array_api_compat.array_namespace(arrays[0]), []
        for x in arrays:
            with contextlib.suppress(UndefinedError):  # the base says of which
                kinds.append(check_shape(x, 1)[1])
        kinds = kinds or [xp.float64]
        return max(float(xp.finfo(kind).eps) for kind in kinds), _like(
            self.values, arrays[0], functools.reduce(xp.result_type, kinds)
        )

    def _check_rows(self, n: int, whose: str) -> None:
        if n != len(self.inputs.values):
            raise ValueError(
                f"{self.name}: the inputs are {len(self.inputs.values)} samples, and {whose} has {n} rows. Give the"
                " inputs of the same samples, in the same order; for some of them measure.select_rows(rows)"
                " takes the same rows of the inputs"
            )

    def _check_left(self, r: float, tolerance: float) -> None:
        if not 1 - r * r > tolerance:
            raise self._nothing(r)

    def _nothing(self, r: float) -> UndefinedError:
        from . import short_name

        return UndefinedError(
            f"its similarity matrix is that of the inputs ({short_name(self.base)} with them {r:.6g}), and without it"
            " nothing is left to compare"
        )

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        p = self.values.shape[1]
        return self.base.cost(n, [*ps, p], None if qs is None else [*qs, p], itemsize)

    def __str__(self) -> str:
        return f"{self.name} #{self.inputs.fingerprint[:8]}"

    def __repr__(self) -> str:
        from . import short_name

        n, p = self.inputs.values.shape
        return f"deconfounded({short_name(self.base)!r}, inputs {n} × {p} #{self.inputs.fingerprint[:8]})"


def partial(both: Any, one: Any, other: Any, tolerance: float = 0.0) -> Any:
    """The partial correlation of two things, from their correlation and those of each with a third; NaN if a side is
    the third up to a tolerance of 1 - r².
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    left, right = (np.where(1 - r * r > tolerance, 1 - r * r, np.nan) for r in (one, other))
    return (both - one * other) / np.sqrt(left * right)


class _Side(dict[str, Any]):
    """The inputs as a side of a comparison, with the ids of their samples."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs=inputs.values)
        self.ids = {} if inputs.ids is None else {"inputs": inputs.ids}


def _like(values: np.ndarray, like: Array, dtype: Any) -> Array:
    if isinstance(like, np.ndarray):
        return values.astype(dtype, copy=False)
    return array_api_compat.array_namespace(like).asarray(values, dtype=dtype, device=array_api_compat.device(like))


def _eps(x: Array) -> float:
    x, dtype = check_shape(x, 1)
    return float(array_api_compat.array_namespace(x).finfo(dtype).eps)


def _is_cosine(measure: Measure) -> bool:
    try:
        measure.check_gram_matrix()
    except NotImplementedError:
        return False
    return isinstance(measure, Cosine)


def deconfounded(measure: str | Measure, inputs: Any) -> Measure:
    """A measure of what two representations have in common beyond the similarity of their inputs.

    Two models can agree only because both see the same images: images that look alike have similar representations,
    even in random models. The similarity matrix of the inputs is regressed out of that of each representation, and the
    residuals are compared.

    Parameters
    ----------
    measure : str or Measure
        One that is a cosine of two matrices of samples: CKA (linear or RBF, debiased or not, not in batches), RSA whose
        second order is "pearson", "spearman" or "cosine", distance correlation (not its root). `"cka_debiased"` is a
        good choice.
    inputs : array (n, ...), frame or Dataset
        What the networks were given, row i of the same sample as row i of the representations; any other representation
        that is to be held constant is possible, too (an untrained network, the first layer, one-hot classes). Ids,
        where both sides have them, must agree. Texts have no numbers: give counts of words or an embedding.

    Returns
    -------
    Measure
        A similarity, for `compare`, `grounding.specificity`, `grounding.benchmark`, `inference.interval`,
        `sample_size`, `influence`, `block_means` and `sample_sets`; if these take some of the samples, the same rows of
        the inputs are taken (`measure.select_rows(rows)`). Range -1 to 1. It needs one sample more than `measure`.
        Measures of the same base and inputs with the same numbers are equal. A saved comparison is loaded with
        `Comparison.load(path, measure=...)`.

    Raises
    ------
    ValueError
        For a measure that is no cosine of two matrices of samples, for inputs that are not numbers, and later for
        representations of another number of samples.
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
    Two things differ. (1) A residual matrix has negative eigenvalues, so it is no kernel; their code can set these to
    0. It is left out here, since it brings a part of the inputs' similarity back and has no debiased form: for five
    networks on 300 MNIST images the matrices without negative eigenvalues have a CKA of .29 to .43 with the inputs
    again, where that of the residuals is 0, and the values of pairs change by up to .13. (2) Their RSA regresses
    distances and compares the residuals by Spearman's ρ. Here second="spearman" regresses ranks on ranks, which gives
    the partial rank correlation, and second="pearson" regresses the distances themselves.

    Only what is linear in the inputs' similarity matrix is taken out. Two random networks with nonlinear units may
    share more than that, so 0 is no lower limit of what architecture alone gives. And a network that computes its
    features from the inputs alone loses what the inputs explain, even if it learned it.

    `permutation_test`, `null_moments`, `null_table`, `chance_corrected` and `chance_values` refuse such a measure: if
    both sides depend on the inputs, permuted residuals scatter less than those of unrelated representations. Simulated
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
            "the similarity of the inputs can be taken out of a measure that is a cosine of two matrices of samples:"
            f" {works}, and these with other options; {base} is none{more}"
        )
    values, ids = _numbers(inputs)
    try:
        values = to_numpy(check_representation(values, min_samples=base.min_samples + 1))
    except UndefinedError as error:
        raise ValueError(f"deconfounded, of the inputs: {error}") from error
    # equality and what is prepared stay true if the caller writes into the array
    values = values.copy() if values.flags.writeable else values
    return Deconfounded(base=base, inputs=Inputs(np.asarray(values), ids))


def _numbers(inputs: Any) -> tuple[Array, np.ndarray | None]:
    """Inputs as an array, and their ids."""
    if isinstance(inputs, Mapping):
        raise ValueError(
            "deconfounded takes the inputs of the samples as one array (n, ...) or a Dataset; got several by name: give"
            " one of them"
        )
    if not (hasattr(inputs, "batches") and hasattr(inputs, "inputs")):
        names = names_of(inputs)
        return _exact(to_array(inputs)), names.names if names is not None and names.kind == "ids" else None
    parts = [batch for _, _, batch in inputs.batches()]
    if not all(hasattr(part, "shape") and part.ndim > 1 for part in parts):
        raise ValueError(
            f"deconfounded, of the dataset '{inputs.name}': its inputs are {type_name(parts[0])} and not numbers with"
            " one row a sample. Give an array, such as counts of words or an embedding"
        )
    return np.concatenate([to_numpy(_exact(to_array(part))) for part in parts]), inputs.ids


def _exact(x: Array) -> Array:
    """Pictures in 8 bits as float32, which holds them exactly."""
    xp = array_api_compat.array_namespace(x)
    small = xp.isdtype(x.dtype, "integral") and x.dtype.itemsize <= 2
    return xp.astype(x, xp.float32) if small else x
