"""Measures made of a plain function of two arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_choice, check_representation

from .base import TRANSFORMS, Measure


@dataclass(frozen=True, kw_only=True, repr=False)
class FromFunction(Measure):
    """A measure made of a plain function; `from_function` creates it.

    Parameters
    ----------
    function : function(x, y)
        It computes the value of a pair.
    name : str
        The name in tables and pictures.
    kind, symmetric, invariant_to, is_metric, range, compares : object
        As the attributes of `Measure`.
    once : function(x), optional
        Computed once for each representation; `function` then takes its results.

    Notes
    -----
    Kind, range and invariances are declared by the caller and not checked. The cost is not estimated.

    Misleads when the declared facts are wrong: tables of a function that is not symmetric show one half only.

    Examples
    --------
    >>> def gap(x, y):
    ...     return abs(x.mean() - y.mean())
    >>> rs.measures.from_function(gap, kind="dissimilarity", symmetric=True)
    from_function(gap, kind='dissimilarity', symmetric=True)
    """

    function: Callable[[Any, Any], Any]
    name: str
    kind: Literal["similarity", "dissimilarity"]  # type: ignore[misc]
    symmetric: bool  # type: ignore[misc]
    invariant_to: frozenset[str] = frozenset()  # type: ignore[misc]
    is_metric: bool = False  # type: ignore[misc]
    range: tuple[float, float] = (0.0, 1.0)  # type: ignore[misc]
    compares: Literal["activations", "outputs"] = "activations"  # type: ignore[misc]
    once: Callable[[Any], Any] | None = None

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        """The smallest number of samples: 1 for outputs, else 3."""
        return 1 if self.compares == "outputs" else Measure.min_samples

    def prepare(self, x: Array) -> Any:
        # returns the checked array (n, p), or the result of `once`
        x = check_representation(x, min_samples=self.min_samples, constant=self.compares == "outputs")
        return x if self.once is None else self.once(x)

    def permute(self, a: Any, order: Any) -> Any:
        return a[order] if self.once is None else super().permute(a, order)

    def pair(self, a: Any, b: Any) -> float:
        value = self.function(a, b)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self.name} must return a number; it returned {type(value).__name__}.") from error

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def __repr__(self) -> str:
        """Return the call that creates the measure, with functions by their names."""
        own = getattr(self.function, "__name__", repr(self.function))
        texts = (
            [own]
            + ([] if self.name == own else [f"name={self.name!r}"])
            + [f"kind={self.kind!r}", f"symmetric={self.symmetric}"]
        )
        for option in ("invariant_to", "is_metric", "range", "compares"):
            value = getattr(self, option)
            shown = repr(sorted(value) if isinstance(value, frozenset) else value)
            shown = shown.replace("inf", "float('inf')") if option == "range" else shown
            texts += [] if value == getattr(FromFunction, option) else [f"{option}={shown}"]
        texts += [] if self.once is None else [f"prepare={getattr(self.once, '__name__', repr(self.once))}"]
        return f"from_function({', '.join(texts)})"


def from_function(  # noqa: PLR0913 (the facts of a measure, one by one)
    f: Callable[[Any, Any], Any],
    *,
    kind: Literal["similarity", "dissimilarity"],
    symmetric: bool,
    name: str | None = None,
    invariant_to: Iterable[str] = (),
    is_metric: bool = False,
    range: tuple[float, float] = (0, 1),
    compares: Literal["activations", "outputs"] = "activations",
    prepare: Callable[[Any], Any] | None = None,
) -> Measure:
    """Create a measure from a function f(x, y) that returns a number, for `compare`, explorers and pictures.

    Parameters
    ----------
    f : function(x, y)
        x and y are arrays (n, p): checked, NumPy or torch as they were given, in float32 or float64. If there is no
        value, f raises `UndefinedError`; NaN counts as that. For work in other processes f must be a function of a
        module, so that it can be pickled.
    kind : {"similarity", "dissimilarity"}
        Whether a larger value means more alike, or less alike.
    symmetric : bool
        Whether f(x, y) equals f(y, x), so that half of a table is enough.
    name : str, optional
        The name in tables and pictures; by default that of f.
    invariant_to : iterable of str
        The transformations of one side that leave the value unchanged: "permutation", "orthogonal", "scaling",
        "translation", "linear".
    is_metric : bool
        Whether it obeys the triangle inequality.
    range : (float, float)
        The smallest and the largest value, for color scales; either may be infinite.
    compares : {"activations", "outputs"}
        What x and y are. Outputs may be constant.
    prepare : function(x), optional
        Computed once for each representation; f then takes its results.

    Returns
    -------
    Measure
        A measure that calls f.

    Raises
    ------
    TypeError
        If f or `prepare` is not a function.
    ValueError
        If an option is not one of the above, or if f has no name or that of a measure of this package.

    Examples
    --------
    >>> def gap(x, y):
    ...     return abs(x.mean() - y.mean())
    >>> measure = rs.measures.from_function(gap, kind="dissimilarity", symmetric=True)
    >>> measure(np.array([[1], [2], [3]]), np.array([[3], [4], [5]]))
    2.0
    """
    from . import ALL  # at call time, since ALL is built from the classes of all files

    if not callable(f) or not (prepare is None or callable(prepare)):  # type: ignore[redundant-expr]
        raise TypeError(
            "from_function takes a function f(x, y), and optionally prepare, a function of one array; got"
            f" {type(f).__name__} and {type(prepare).__name__}."
        )
    check_choice(kind, "kind", ("similarity", "dissimilarity"), hint="the first if larger values are more alike")
    check_choice(compares, "compares", ("activations", "outputs"))
    transforms = frozenset([invariant_to] if isinstance(invariant_to, str) else invariant_to)
    if not transforms <= TRANSFORMS:
        raise ValueError(
            f"invariant_to must be a list of some of {', '.join(map(repr, sorted(TRANSFORMS)))}; got"
            f" {', '.join(map(repr, sorted(transforms - TRANSFORMS)))}."
        )
    low, high = map(float, range)
    if not low < high:
        raise ValueError(f"range must be (lowest, highest); got {range}.")
    name = name or str(getattr(f, "__name__", ""))
    if name in ("", "<lambda>"):
        raise ValueError(
            "a measure needs a name for tables and pictures, and this function has none: from_function(f, name='...')."
        )
    if name in ALL:
        raise ValueError(
            f"'{name}' is the short name of a measure of this package: from_function(f, name='my_{name}')."
        )
    return FromFunction(
        function=f,
        name=name,
        kind=kind,
        symmetric=bool(symmetric),
        invariant_to=transforms,
        is_metric=bool(is_metric),
        range=(low, high),
        compares=compares,
        once=prepare,
    )
