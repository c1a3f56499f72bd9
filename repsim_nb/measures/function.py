"""A measure out of a plain function: what someone has already joins in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_representation

from .base import TRANSFORMS, Measure


@dataclass(frozen=True, kw_only=True, repr=False)
class FromFunction(Measure):
    """What `from_function` makes."""

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
        return 1 if self.compares == "outputs" else Measure.min_samples

    def prepare(self, x: Array) -> Any:
        """-> the checked array (n, p), or what the function given as `prepare` makes of it."""
        x = check_representation(x, min_samples=self.min_samples, constant=self.compares == "outputs")
        return x if self.once is None else self.once(x)

    def permute(self, a: Any, order: Any) -> Any:
        return a[order] if self.once is None else super().permute(a, order)

    def pair(self, a: Any, b: Any) -> float:
        value = self.function(a, b)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self.name} must return a number; it returned {type(value).__name__}") from error

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        """The call that makes it, functions by their names."""
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
    """A measure of a function f(x, y) -> number, for compare, explorers and pictures like any other.

    Parameters
    ----------
    f : function(x, y)
        x and y are of shape (n, p): checked, NumPy or torch as they were given, at least in float32. Where there is no
        value f raises `UndefinedError`; NaN counts as that. For processes it must be picklable: a function of a module.
    kind : "similarity" or "dissimilarity"
        Whether larger is more alike, or less.
    symmetric : bool
        Whether f(x, y) == f(y, x), so that half a table is enough.
    name : str, optional
        Its name in pictures; None is that of f.
    invariant_to : some of "permutation", "orthogonal", "scaling", "translation", "linear"
        What leaves the value alone.
    is_metric : bool
        Whether it obeys the triangle inequality.
    range : (low, high)
        For colors; infinite ends are fine.
    compares : "activations" or "outputs"
    prepare : function(x), optional
        Done once per representation; f then takes what it returns.

    Returns
    -------
    Measure

    Examples
    --------
    >>> def gap(x, y):
    ...     return abs(x.mean() - y.mean())
    >>> from_function(gap, kind="dissimilarity", symmetric=True)(np.array([[1], [2], [3]]), np.array([[3], [4], [5]]))
    2.0
    """
    from . import ALL  # at call time: the table of names is made of the classes of all files

    if not callable(f) or not (prepare is None or callable(prepare)):  # type: ignore[redundant-expr]
        raise TypeError(
            f"from_function takes a function f(x, y), and as prepare a function of one array; got {type(f).__name__}"
            f" and {type(prepare).__name__}"
        )
    if kind not in ("similarity", "dissimilarity"):
        raise ValueError(
            f"kind is 'similarity' (larger is more alike) or 'dissimilarity' (larger is less alike); got {kind!r}"
        )
    if compares not in ("activations", "outputs"):
        raise ValueError(f"compares is 'activations' or 'outputs'; got {compares!r}")
    transforms = frozenset([invariant_to] if isinstance(invariant_to, str) else invariant_to)
    if not transforms <= TRANSFORMS:
        raise ValueError(
            f"invariant_to holds some of {', '.join(sorted(TRANSFORMS))}; got"
            f" {', '.join(map(repr, sorted(transforms - TRANSFORMS)))}"
        )
    low, high = map(float, range)
    if not low < high:
        raise ValueError(f"range is (lowest, highest); got {range}")
    name = name or str(getattr(f, "__name__", ""))
    if name in ("", "<lambda>"):
        raise ValueError(
            "pictures and tables call a measure by its name, and this function has none: from_function(f, name='...')"
        )
    if name in ALL:
        raise ValueError(f"'{name}' is the short name of a measure of this package: from_function(f, name='my_{name}')")
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
