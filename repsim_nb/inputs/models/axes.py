"""The axes of tensors in a forward pass: features or positions, and the input that each axis comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from torch import Tensor

FEATURES, PLACES = "features", "places"
PART = "part of the features"  # features that lie along several axes, as those of attention heads
BOTH = "features and places"  # features of several places in a row, as those of a patch are
PARAMETER = ""  # a source that is no input
_clock = count()


class Axis:
    """One axis of the tensors of a forward pass. Tensors that an operation leaves aligned share it.

    role: FEATURES, PLACES (tokens, time, pixels), PART, BOTH, or None if not yet found; the first one found stays.
    weak: found from a normalisation only, which some models also apply to places.
    columns: the inputs (name, axis) that it is an axis of.  sources: the names of all inputs that it was computed
    from, PARAMETER for weights.
    grown: (axis, places before, places after, operation) if places were added to another axis.
    """

    def __init__(
        self, role: str | None = None, sources: Iterable[str] = (), columns: Iterable[tuple[str, int]] = ()
    ) -> None:
        self._same: Axis | None = None
        self._role, self._since, self._weak = role, next(_clock), False
        self._columns, self._sources = set(columns), set(sources)
        self._grown: tuple[Axis, int, int, str] | None = None
        self.packed: tuple[Axis, Axis] | None = None  # for the rows of a packed sequence: the samples and the steps

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
        """Return whether it was computed from inputs, and not from weights and constants only."""
        return bool(self._root()._sources - {PARAMETER})

    @property
    def grown(self) -> tuple[Axis, int, int, str] | None:
        return self._root()._grown

    def grow(self, old: Axis, before: int, after: int, operation: str) -> None:
        """Note that places were added to another axis to get this one."""
        self._root()._grown = old, before, after, operation

    def show(self, role: str, *, weak: bool = False) -> None:
        root = self._root()
        if root._role is None:
            root._role, root._since, root._weak = role, next(_clock), weak
        elif root._role == role:
            root._weak &= weak

    def join(self, other: Axis) -> None:
        """Make both one axis: an operation works on them element by element.

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
        """Return a new axis, computed from this one by a choice or a weighted sum of its places."""
        new = Axis(role or self.role, self.sources)
        new._weak = self.weak and role is None
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axis) and self._root() is other._root()

    def __hash__(self) -> int:
        return id(self._root())


Axes = tuple[Axis, ...]


def find_features(axes: Axes, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the axes of a tensor's features, whose axis 0 has samples; None if that is not certain.

    It is certain if exactly one axis is of features, or if several are (or of parts) and all others are of places.
    """
    others = range(1, len(shape))
    if len(others) == 1:
        return (1,)
    found = tuple(at for at in others if axes[at].role in (FEATURES, PART, BOTH))
    rest = [at for at in others if at not in found and shape[at] > 1]
    if len(found) == 1 and axes[found[0]].role != PART:
        return found
    return found if found and rest and all(axes[at].role == PLACES for at in rest) else None


def find_inputs(axis: Axis) -> Iterator[tuple[str, int]]:
    """Yield the inputs (name, axis) with the same places, also if places were added."""
    seen: set[int] = set()
    while id(axis) not in seen:
        seen.add(id(axis))
        yield from axis.columns
        axis = axis.grown[0] if axis.grown else axis


def unknown_axes(tensor: Tensor) -> Axes:
    """Return axes without any role or source."""
    return tuple(Axis() for _ in range(tensor.ndim))


def iterate_tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from iterate_tensors(value)


class AxesByTensor(Protocol):
    """A trace, which gives the axes of tensors found so far."""

    def axes(self, tensor: Tensor) -> Axes: ...


@dataclass(frozen=True)
class OperationCall:
    """One call of an operation of torch: its arguments, its output, and the axes of its first argument before it.

    before: None if the first argument is no tensor.
    """

    trace: AxesByTensor
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Any
    before: Axes | None

    def get(self, place: int, *names: str, default: Any = None) -> Any:
        """Return an argument by its name or its position."""
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
        """Return the axes of each output by a rule for each axis of the input; unknown if their number differs.

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
