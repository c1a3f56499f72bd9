"""The axes of tensors in a forward pass: which hold features, which hold places, and from which input each comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

FEATURES, PLACES = "features", "places"
PART = "part of the features"  # of features that lie along several axes now, as those of attention heads do
BOTH = "features and places"  # features of several places in a row, as those of a patch are
PARAMETER = ""  # a source that is no input
_clock = count()


class Axis:
    """One axis of the tensors of a pass. Tensors that an operation leaves aligned share it.

    role: FEATURES, PLACES (tokens, time, pixels), PART, BOTH, or None if nothing has shown it; what is shown first stays.
    weak: it was shown by a normalisation only, which some models also apply to places.
    columns: the inputs (name, axis) that it is an axis of.  sources: the names of all inputs that it was made from, PARAMETER for weights.
    grown: (axis, places before, places after, operation) if places were added to another one.
    """

    def __init__(self, role: str | None = None, sources: Iterable[str] = (), columns: Iterable[tuple[str, int]] = ()) -> None:
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

    role = property(lambda self: self._root()._role)
    weak = property(lambda self: self._root()._weak)
    columns = property(lambda self: frozenset(self._root()._columns))
    sources = property(lambda self: frozenset(self._root()._sources))
    grown = property(lambda self: self._root()._grown)

    def show(self, role: str, *, weak: bool = False) -> None:
        root = self._root()
        if root._role is None:
            root._role, root._since, root._weak = role, next(_clock), weak
        elif root._role == role:
            root._weak &= weak

    def join(self, other: Axis) -> None:
        """Both are one axis: an operation works on them element by element."""
        a, b = self._root(), other._root()
        if a is b:
            return
        if a._role is None or (b._role is not None and b._since < a._since):
            a, b = b, a
        b._same = a
        a._weak &= b._weak or b._role is None
        a._columns |= b._columns
        a._sources |= b._sources
        a._grown = a._grown or b._grown

    def derive(self, role: str | None = None) -> Axis:
        """A new axis that was made from this one, by a choice or a weighted sum of its places."""
        return Axis(role or self.role, self.sources)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axis) and self._root() is other._root()

    def __hash__(self) -> int:
        return id(self._root())


Axes = tuple[Axis, ...]


def features_of(axes: Axes, shape: Sequence[int], samples: int = 0) -> tuple[int, ...] | None:
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


def input_of(axis: Axis) -> Iterator[tuple[str, int]]:
    """The inputs (name, axis) whose places these are, also if others were added."""
    seen = set()
    while axis is not None and id(axis) not in seen:
        seen.add(id(axis))
        yield from axis.columns
        axis = axis.grown[0] if axis.grown else None
