"""The checks of a session, as a student calls them: they print what is wrong, and in a notebook keep it for grading."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from repsim_nb.course.exercises import Exercise, Feedback, Session
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.progress import in_a_notebook

MIME = "application/vnd.repsim-nb.check+json"  # the result of a check in the outputs of a notebook, for grading


class CourseError(AssertionError):
    """An exercise is unsolved or wrong, and the checks are strict.

    Examples
    --------
    >>> rs.course.checks("invariances", strict=True).centre(None)
    Traceback (most recent call last):
    ...
    repsim_nb.course.checking.CourseError: todo: centre
    """


class Checks:
    """The checks of a session: `check.<exercise>(answer)` prints ok, todo, or what is wrong.

    Hidden inputs are drawn again at each call, so that a copied number does not pass.

    Parameters
    ----------
    session : Session
        The exercises.
    strict : bool
        Whether an answer that is missing or wrong raises `CourseError`. Under nbgrader, checks are always strict.
    seed : int, optional
        Draws the inputs; None draws others each time.

    See Also
    --------
    checks : Makes the checks of a session by its name.

    Examples
    --------
    >>> check = rs.course.checks("invariances")
    >>> check.centre(lambda x: x - x.mean(axis=0))
    ok: centre
    """

    def __init__(self, session: Session, *, strict: bool = False, seed: int | None = None) -> None:
        self._session = session
        self._by_nbgrader = "NBGRADER_EXECUTION" in os.environ
        self._strict = strict or self._by_nbgrader
        self._rng = np.random.default_rng(seed)
        self._results: dict[str, Feedback] = {}

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        if name.startswith("_"):
            raise AttributeError(name)
        exercises = self._session.exercises
        if name not in exercises:
            raise AttributeError(str(unknown_name(f"exercise of the session '{self._session.name}'", name, exercises)))

        def check(answer: Any) -> None:
            self._check(exercises[name], answer)

        return check

    def __dir__(self) -> list[str]:
        return [*self._session.exercises, "passed", "summary"]

    def passed(self, *names: str) -> bool:
        """Whether all these exercises are solved; if not, print which are left, so that a figure can wait for them.

        Parameters
        ----------
        *names : str
            Names of exercises.

        Returns
        -------
        bool
            Whether the last answers to all of them were right.

        Examples
        --------
        >>> rs.course.checks("invariances").passed("centre")
        The figure waits for: centre
        False
        """
        left = [name for name in names if self._status(name) != "ok"]
        if left:
            print(f"The figure waits for: {', '.join(left)}")
        return not left

    def summary(self) -> None:
        """Print how many exercises are solved, and the state of the others.

        Examples
        --------
        >>> session = rs.course.Session("mine", "My session")
        >>> @session.exercise(minutes=2, inputs=lambda rng: (rng.normal(size=5),))
        ... def total(x):
        ...     return x.sum()
        >>> rs.course.Checks(session).summary()
        My session: 0 of 1 exercises are solved
        todo: total
        """
        by_status = {name: self._status(name) for name in self._session.exercises}
        done = sum(status == "ok" for status in by_status.values())
        print(f"{self._session.title}: {done} of {len(by_status)} exercises are solved")
        for name, status in by_status.items():
            if status != "ok":
                print(self._results.get(name, f"{status}: {name}"))

    def _status(self, name: str) -> str:
        getattr(self, name)  # a name that is not an exercise
        return self._results[name].status if name in self._results else "todo"

    def _check(self, exercise: Exercise, answer: Any) -> None:
        # nbgrader gives no points to a cell that writes to stderr, so a warning would cost as much as an error
        with contextlib.redirect_stderr(io.StringIO()) if self._by_nbgrader else contextlib.nullcontext():
            feedback = exercise.check(answer, self._rng)
        self._results[exercise.name] = feedback
        _show(feedback)
        if self._strict and feedback.status != "ok":
            raise CourseError(str(feedback))


def _show(feedback: Feedback) -> None:
    """Print a result; in a notebook its parts go along, for grading."""
    if not in_a_notebook():
        print(feedback)
        return
    from IPython.display import display

    parts = {"exercise": feedback.exercise, "status": feedback.status, "mistake": feedback.mistake}
    display({"text/plain": str(feedback), MIME: parts}, raw=True)  # type: ignore[no-untyped-call]
