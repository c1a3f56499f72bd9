"""The axes of tensors in a forward pass: which hold features, which hold places, and from which input each comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from torch import Tensor

FEATURES, PLACES = "features", "places"
PART = "part of the features"  # of features that lie along several axes now, as those of attention heads do
BOTH = "features and places"  # features of several places in a row, as those of a patch are
PARAMETER = ""  # a source that is no input
_clock = count()


class Axis:
    """One axis of the tensors of a pass. Tensors that an operation leaves aligned share it.

    role: FEATURES, PLACES (tokens, time, pixels), PART, BOTH, or None if nothing has shown it; what is shown first
    stays.
    weak: it was shown by a normalisation only, which some models also apply to places.
    columns: the inputs (name, axis) that it is an axis of.  sources: the names of all inputs that it was made from,
    PARAMETER for weights.
    grown: (axis, places before, places after, operation) if places were added to another one.
    """

    def __init__(
        self, role: str | None = None, sources: Iterable[str] = (), columns: Iterable[tuple[str, int]] = ()
    ) -> None:
        self._same: Axis | None = None
        self._role, self._since, self._weak = role, next(_clock), False
        self._columns, self._sources = set(columns), set(sources)
        self._grown: tuple[Axis, int, int, str] | None = None
        self.packed: tuple[Axis, Axis] | None = None  # of the rows of a packed sequence: the samples and the steps

    def _root(self) -> Axis:
        root = self
        while root._same is not None:
            root = root._same
        if root is not self:
            self._same = root
        return root

    @property
    def role(self) -> str | None:
        return self._root()._role

    @property
    def weak(self) -> bool:
        return self._root()._weak

    @property
    def columns(self) -> frozenset[tuple[str, int]]:
        return frozenset(self._root()._columns)

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(self._root()._sources)

    @property
    def of_inputs(self) -> bool:
        """Was it made from inputs, and not from weights and constants only?"""
        return bool(self._root()._sources - {PARAMETER})

    @property
    def grown(self) -> tuple[Axis, int, int, str] | None:
        return self._root()._grown

    def grow(self, old: Axis, before: int, after: int, operation: str) -> None:
        """Note that it is another axis to which places were added."""
        self._root()._grown = old, before, after, operation

    def show(self, role: str, *, weak: bool = False) -> None:
        root = self._root()
        if root._role is None:
            root._role, root._since, root._weak = role, next(_clock), weak
        elif root._role == role:
            root._weak &= weak

    def join(self, other: Axis) -> None:
        """Both are one axis: an operation works on them element by element.

        A constant that two inputs share does not make these one.
        """
        a, b = self._root(), other._root()
        if a is b:
            return
        if not (a._sources - {PARAMETER} and b._sources - {PARAMETER}):
            for one, role in ((a, b._role), (b, a._role)):
                if one._role is None and role is not None:
                    one._role, one._since, one._weak = role, next(_clock), True
            return
        if a._role is None or (b._role is not None and (a._weak, a._since) > (b._weak, b._since)):
            a, b = b, a
        b._same = a
        a._weak &= b._weak or b._role != a._role
        a._columns |= b._columns
        a._sources |= b._sources
        a._grown = a._grown or b._grown

    def derive(self, role: str | None = None) -> Axis:
        """A new axis that was made from this one, by a choice or a weighted sum of its places."""
        new = Axis(role or self.role, self.sources)
        new._weak = self.weak and role is None
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axis) and self._root() is other._root()

    def __hash__(self) -> int:
        return id(self._root())


Axes = tuple[Axis, ...]


def find_features(axes: Axes, shape: Sequence[int], samples: int = 0) -> tuple[int, ...] | None:
    """The axes of a tensor's features, without the one of its samples; None if that is not certain.

    It is certain if one axis holds features, or if several do, or parts of them, and all others hold places.
    """
    others = [at for at in range(len(shape)) if at != samples]
    if len(others) == 1:
        return (others[0],)
    found = tuple(at for at in others if axes[at].role in (FEATURES, PART, BOTH))
    rest = [at for at in others if at not in found and shape[at] > 1]
    if len(found) == 1 and axes[found[0]].role != PART:
        return found
    return found if found and rest and all(axes[at].role == PLACES for at in rest) else None


def find_inputs(axis: Axis) -> Iterator[tuple[str, int]]:
    """The inputs (name, axis) whose places these are, also if others were added."""
    seen: set[int] = set()
    while id(axis) not in seen:
        seen.add(id(axis))
        yield from axis.columns
        axis = axis.grown[0] if axis.grown else axis


def unknown_axes(tensor: Tensor) -> Axes:
    """Axes of which nothing is known."""
    return tuple(Axis() for _ in range(tensor.ndim))


def iterate_tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from iterate_tensors(value)


class AxesByTensor(Protocol):
    """What is known so far of the axes of tensors: a trace."""

    def axes(self, tensor: Tensor) -> Axes: ...


@dataclass(frozen=True)
class OperationCall:
    """One call of an operation of torch: its arguments, its output, and the axes of its first argument before it ran
    (None: it is no tensor).
    """

    trace: AxesByTensor
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Any
    before: Axes | None

    def get(self, place: int, *names: str, default: Any = None) -> Any:
        """An argument, by its name or its place."""
        given = self.args[place] if len(self.args) > place else default
        return next((self.kwargs[name] for name in names if name in self.kwargs), given)

    @property
    def x(self) -> Any:
        return self.get(0, "input")

    @property
    def axes(self) -> Axes:
        """The axes of the input before the operation ran."""
        return self.before or self.trace.axes(self.x)

    def of_each(self, rule: Callable[[int, Axis, Tensor], Axis]) -> Any:
        """The axes of each output, those of the input one by one; unknown if there are more or fewer of them.

        rule(place, axis of the input, output): the axis of the output.
        """

        def of_one(out: Tensor) -> Axes:
            if out.ndim != len(self.axes):
                return unknown_axes(out)
            return tuple(rule(at, axis, out) for at, axis in enumerate(self.axes))

        if isinstance(self.out, Tensor):
            return of_one(self.out)
        return [of_one(out) if isinstance(out, Tensor) else None for out in self.out]


# a call -> the axes of its output, a list of them for several outputs, or None if nothing is known
Rule = Callable[[OperationCall], Any]
