"""Ways to damage a representation by amounts: deleted components or units, noise, a translated class, rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repsim_nb.measures.arrays import PrincipalComponents
from repsim_nb.support.errors import check_name
from repsim_nb.support.seeds import generator_of

DELETED = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)
UNITS = tuple(fraction for fraction in DELETED if fraction <= 0.95)  # RSA needs two units
NOISE = (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.25, 1.5, 1.75, 2, 3)
TRANSLATED = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7, 10)
LEVELS = (256, 64, 32, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2)

Damaged = Callable[[float], np.ndarray]  # the damaged representation by the amount of damage


@dataclass(frozen=True)
class Damage:
    """A way to damage a representation, from amount 0 (none) to more.

    Attributes
    ----------
    name : str
        The name.
    change : function (x, amount, rng) -> array (n, q)
        Returns the damaged representation; x is a copy in float64 (n, p). For every amount of one draw `rng` gives the
        same random numbers, so that amounts differ in nothing else.
    amounts : sequence of float
        The default amounts, from 0 on.
    axis : str
        What an amount is, for the axis of a figure.
    draws : int
        The number of random draws that are averaged; 1 if nothing is random.
    text : function (amount) -> str
        An amount as text.
    most : float
        The largest amount.
    parts : function (x) -> int, optional
        The number of parts of x, if amounts are fractions of parts that are deleted; at least one part is left.
    prepare : function (x, targets, draw, seed) -> anything, optional
        Its result replaces x in `change`; computed once for all amounts. The seed belongs to the model.
    nearest : function (amount) -> float, optional
        The nearest amount that exists, if not all amounts do, such as an integer number of levels.

    Examples
    --------
    >>> def clip(x, amount, rng):
    ...     return np.clip(x, -1 / amount, 1 / amount) if amount else x
    >>> clipped = Damage("clipped", clip, (0, 0.5, 1, 2), "1 / highest value")
    >>> clipped.start(np.array([[3.0, 0.0], [-1.0, 0.5]]))(1)
    array([[ 1. ,  0. ],
           [-1. ,  0.5]])
    """

    name: str
    change: Callable[[Any, float, np.random.Generator], np.ndarray]
    amounts: Sequence[float]
    axis: str = "amount of damage"
    draws: int = 1
    text: Callable[[float], str] = "{:.3g}".format
    most: float = math.inf
    parts: Callable[[np.ndarray], int] | None = None
    prepare: Callable[[np.ndarray, np.ndarray | None, int, int], Any] | None = None
    nearest: Callable[[float], float] | None = None

    def start(
        self, x: np.ndarray, targets: np.ndarray | None = None, draw: int = 0, seed: int = 0, model: int = 0
    ) -> Damaged:
        """Return the function from an amount to the damaged representation, for one random draw.

        Parameters
        ----------
        x : array (n, p)
            The representation.
        targets : (n,), optional
            Labels of the samples, for damage that needs them.
        draw : int
            The number of the draw.
        seed : int
            Seed of the random numbers.
        model : int
            The position of the model among those that are compared. Random numbers of two models are independent.

        Returns
        -------
        function (amount) -> array (n, q)
            The amounts of one draw differ in nothing but the amount.

        Raises
        ------
        ValueError
            If targets are missing; and by the function, if `change` returns other samples, or changes x at amount 0.

        Examples
        --------
        >>> x = np.zeros((1000, 2)) + [1, -1] * np.arange(1000)[:, None]
        >>> one, other = (DAMAGES["noise"].start(x, model=model)(0.5) - x for model in (0, 1))
        >>> bool(abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1)
        True
        """
        own = int(np.random.SeedSequence([seed, model]).generate_state(1)[0])
        prepared = None if self.prepare is None else self.prepare(x, targets, draw, own)

        def apply(amount: float) -> np.ndarray:
            found = np.asarray(
                self.change(x.copy() if prepared is None else prepared, amount, np.random.default_rng([own, draw]))
            )
            if found.ndim != 2 or len(found) != len(x):
                raise ValueError(
                    f"damage '{self.name}' must return the same {len(x)} samples, an array ({len(x)}, features);"
                    f" at {self.text(amount)} it returned the shape {found.shape}."
                )
            if amount == 0 and (
                found.shape != x.shape or not np.allclose(found, x, rtol=1e-6, atol=1e-9 * np.abs(x).max(initial=0))
            ):
                raise ValueError(f"damage '{self.name}' must not change a representation at amount 0; this one does.")
            return found

        return apply

    def reachable(self, amounts: Sequence[float], xs: Sequence[np.ndarray]) -> list[float]:
        """Return the amounts that are used for these representations, in increasing order, 0 included.

        Parameters
        ----------
        amounts : sequence of float
            The amounts asked for.
        xs : sequence of arrays (n, p)
            The representations. If they all have the same number of parts, fractions become those of whole parts.

        Returns
        -------
        list of float
            Each once; the smallest of several fractions that leave equally many parts of the smallest representation.

        Raises
        ------
        ValueError
            If a representation has fewer than two parts.

        Examples
        --------
        >>> [round(amount, 3) for amount in DAMAGES["quantisation"].reachable([0.3, 1 / 3, 0.5], [])]
        [0.0, 0.333, 0.5]
        """
        asked = sorted(
            {0.0, *(float(amount) if self.nearest is None else self.nearest(float(amount)) for amount in amounts)}
        )
        if self.parts is None:
            return asked
        numbers = [self.parts(x) for x in xs]
        fewest = min(numbers)
        if fewest < 2:
            raise ValueError(
                f"damage '{self.name}' needs two or more parts, since one is left; representation"
                f" {numbers.index(fewest)} has {fewest}."
            )
        found = {count_left(amount, fewest): amount for amount in reversed(asked)}
        return sorted((fewest - left) / fewest if len(set(numbers)) == 1 else amount for left, amount in found.items())

    def check(self, amounts: Sequence[float]) -> None:
        """Refuse amounts that this damage does not have.

        Parameters
        ----------
        amounts : sequence of float
            The amounts to check.

        Raises
        ------
        TypeError
            If `amounts` is not a sequence.
        ValueError
            If there is no amount, or one is not a number in the range of this damage.

        Examples
        --------
        >>> DAMAGES["quantisation"].check([0.5, 2])
        Traceback (most recent call last):
        ValueError: amounts of 'quantisation' must be numbers from 0 to 1, such as 0.0159, 0.0323, 0.0667; got [0.5, 2].
        """
        some = ", ".join(f"{amount:.3g}" for amount in list(self.amounts)[1:4])
        if not np.iterable(amounts):
            raise TypeError(f"amounts of '{self.name}' must be a list of numbers, such as {some}; got {amounts!r}.")
        allowed = [self._allows(amount) for amount in amounts]
        if not allowed or not all(allowed):
            most = "finite numbers from 0 on" if math.isinf(self.most) else f"numbers from 0 to {self.most:g}"
            rule = "numbers from 0 to below 1, the fraction that is deleted" if self.parts else most
            raise ValueError(f"amounts of '{self.name}' must be {rule}, such as {some}; got {list(amounts)[:6]}.")

    def _allows(self, amount: Any) -> bool:
        """Return whether this damage has that amount."""
        try:
            value = math.nan if isinstance(amount, (str, bytes)) else float(amount)
        except (TypeError, ValueError):
            return False
        return 0 <= value < 1 if self.parts else 0 <= value <= self.most and math.isfinite(value)


def damage_of(given: str | Damage) -> Damage:
    """Return a Damage by its name in DAMAGES, or as it is."""
    if isinstance(given, str):
        check_name("damage", given, DAMAGES, "For your own damage pass grounding.Damage(name, change, amounts).")
        return DAMAGES[given]
    if not isinstance(given, Damage):
        raise TypeError(
            f"damage must be one of {', '.join(DAMAGES)}, or a grounding.Damage; got {type(given).__name__}."
        )
    return given


def count_left(amount: float, number: int) -> int:
    """Return how many of these parts are left if this fraction is deleted: at least one."""
    return max(1, round((1 - amount) * number))


def rms_distance(x: np.ndarray) -> float:
    """Return the root mean squared distance of samples (n, p) from their mean."""
    return float(np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1))))


def _varying_units(x: np.ndarray) -> np.ndarray:
    """Return the positions of units that are not constant."""
    return np.flatnonzero(np.ptp(x, axis=0) > 0)


def _choose_units(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return the units that are deleted: the first in a random order of those that are not constant."""
    order = rng.permutation(_varying_units(x))
    return order[: len(order) - count_left(amount, len(order))]


def _units_to_mean(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Set units to their mean."""
    gone = _choose_units(x, amount, rng)
    x[:, gone] = x[:, gone].mean(axis=0)
    return x


def _add_noise(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Add independent Gaussian noise."""
    return x + amount * rms_distance(x) / math.sqrt(x.shape[1]) * rng.normal(size=x.shape)


def _choose_class(x: np.ndarray, targets: np.ndarray | None, draw: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x, and which rows are of the class that this draw moves: classes take turns, in random order."""
    if targets is None:
        raise ValueError("damage='class' needs targets, one label for each sample.")
    values = list(dict.fromkeys(targets.tolist()))
    if len(values) < 2:
        raise ValueError(f"damage='class' needs two or more classes; all {len(targets)} targets are '{values[0]}'.")
    chosen = generator_of(seed).permutation(len(values))[draw % len(values)]
    return x, targets == values[chosen]


def _translate(given: tuple[np.ndarray, np.ndarray], amount: float, rng: np.random.Generator) -> np.ndarray:
    """Move the samples of one class in a random direction."""
    x, rows = given
    direction = rng.normal(size=x.shape[1])
    return x + amount * rms_distance(x) * np.outer(rows, direction / np.linalg.norm(direction))


def _round(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Round each unit to the nearest of 1 + 1 / amount levels, evenly from its lowest to its highest value."""
    if amount:
        moving, steps = _varying_units(x), round(1 / amount)
        low, reach = x[:, moving].min(axis=0), np.ptp(x[:, moving], axis=0)
        x[:, moving] = low + np.rint((x[:, moving] - low) / reach * steps) / steps * reach
    return x


def _percent(amount: float) -> str:
    """Return a fraction as text."""
    return f"{100 * amount:.3g} %"


DAMAGES: Mapping[str, Damage] = {
    "components": Damage(
        "components",
        lambda whole, amount, rng: whole.leading(count_left(amount, whole.rank)),
        DELETED,
        "principal components deleted, the smallest first",
        text=_percent,
        parts=lambda x: PrincipalComponents(x).rank,
        prepare=lambda x, targets, draw, seed: PrincipalComponents(x),
    ),
    "noise": Damage("noise", _add_noise, NOISE, "standard deviation of noise, in that of the representation", draws=3),
    "units": Damage(
        "units",
        lambda x, amount, rng: np.delete(x, _choose_units(x, amount, rng), axis=1),
        UNITS,
        "units deleted, in random order",
        draws=5,
        text=_percent,
        parts=lambda x: len(_varying_units(x)),
    ),
    "units_to_mean": Damage(
        "units_to_mean",
        _units_to_mean,
        UNITS,
        "units set to their mean, in random order",
        draws=5,
        text=_percent,
        parts=lambda x: len(_varying_units(x)),
    ),
    "class": Damage(
        "class",
        _translate,
        TRANSLATED,
        "distance that one class is moved, in rms distances from the mean",
        draws=5,
        prepare=_choose_class,
    ),
    "quantisation": Damage(
        "quantisation",
        _round,
        tuple(1 / (levels - 1) for levels in LEVELS),
        "rounding, in levels a unit",
        text=lambda amount: f"{1 + round(1 / amount)} levels" if amount else "none",
        most=1,
        nearest=lambda amount: 1 / round(1 / amount) if amount else 0.0,
    ),
}
"""The kinds of damage that `sensitivity` knows by name.

components: deletes a fraction of the principal components of the centred representation, smallest first; means and
columns stay.
noise: adds independent Gaussian noise; amount 1 adds as much variance as the representation has, evenly over units.
units: deletes a fraction of the units that are not constant, in random order.
units_to_mean: sets those units to their mean instead, so that the number of units stays.
class: moves the samples of one class in a random direction, by multiples of the root mean squared distance of samples
from their mean; needs targets.
quantisation: rounds every unit to evenly spaced levels; an amount is the step in ranges of the unit, 1 / (levels - 1).
"""
