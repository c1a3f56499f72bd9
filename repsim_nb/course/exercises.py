"""Exercises: an answer is called with random hidden inputs, as are the solution and known mistakes.

A session declares its exercises by decorators:

    session = Session("invariances", "Invariances, and CKA written by hand")

    @session.exercise(minutes=5, inputs=two_representations)
    def linear_cka(x, y):
        return measures.get("cka")(x, y)

    @linear_cka.mistake("not centred", "Subtract from each feature its mean over the samples first.")
    def _(x, y):
        ...  # the value that this mistake gives

The function is the solution. An answer is right if it gives the same values for inputs that nobody has seen before.
"""

from __future__ import annotations

import copy
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repsim_nb.course.values import as_array, form, is_choice, is_stub, line_of, misspelt, same, unchanged, unlike
from repsim_nb.support.errors import UndefinedError, as_clause

TRIALS = 3  # hidden inputs a check; each is drawn again at each check
CHOICES = 30  # the same where an answer is one of a few (a text, True, an integer), which a constant may hit by chance


@dataclass(frozen=True)
class Feedback:
    """The result of one check; as text, what the student reads.

    Attributes
    ----------
    exercise : str
        The name of the exercise.
    status : {"ok", "todo", "wrong"}
        Whether the answer is right, missing or wrong.
    mistake : str
        The name of the mistake, if it is a known one.
    text : str
        What is wrong, for the student.

    Examples
    --------
    >>> print(rs.course.Feedback("centre", "ok"))
    ok: centre
    """

    exercise: str
    status: str
    mistake: str = ""
    text: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.exercise}" + (f". {self.text}" if self.text else "")


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer: what it gives, and what a teacher says to the student who has it.

    Attributes
    ----------
    name : str
        What is wrong, in a few words, for the notes of instructors.
    text : str
        What the student reads: at most two sentences.
    answer : function(*inputs)
        Returns what students with this mistake return.

    Examples
    --------
    >>> exercise = rs.course.load_session("invariances").exercises["centre"]
    >>> exercise.mistakes[0].name
    'rows and columns exchanged'
    """

    name: str
    text: str
    answer: Callable[..., Any]


@dataclass
class Exercise:
    """A function to write: its solution, how to draw hidden inputs, and the usual mistakes.

    Attributes
    ----------
    solution : function
        The right answer. Its name is that of the exercise.
    minutes : int
        How long students need.
    inputs : function(rng) -> tuple
        Draws hidden inputs.
    tolerance : float
        By how much numbers may differ, relative to their size: float32 and 1.95996 in place of 1.96 are right.
    trials : int or None
        Hidden inputs a check. None takes 3, or 30 where an answer is one of a few, which a constant may hit by chance.
    up_to : function(value) or None
        Returns what is compared of a value. None compares all of it.
    left_over : function(*inputs) -> str, or None
        Returns what an answer did not undo in its inputs, as text.
    mistakes : list of Mistake
        The usual mistakes.

    Examples
    --------
    >>> exercise = rs.course.load_session("invariances").exercises["centre"]
    >>> exercise.name, exercise.minutes
    ('centre', 3)
    """

    solution: Callable[..., Any]
    minutes: int
    inputs: Callable[[np.random.Generator], tuple[Any, ...]]
    tolerance: float = 1e-4
    trials: int | None = None
    up_to: Callable[[Any], Any] | None = None
    left_over: Callable[..., str] | None = None
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the solution, and so of the exercise (str)."""
        return self.solution.__name__

    def mistake(self, name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a usual mistake: the function below gives what students with this mistake give.

        Parameters
        ----------
        name : str
            What is wrong, in a few words.
        text : str
            What the student reads: at most two sentences.

        Returns
        -------
        function
            A decorator of the function.

        Examples
        --------
        >>> session = rs.course.Session("mine", "My session")
        >>> @session.exercise(minutes=2, inputs=lambda rng: (rng.normal(size=5),))
        ... def total(x):
        ...     return x.sum()
        >>> @total.mistake("mean", "You return the mean: do not divide by the number of values.")
        ... def _(x):
        ...     return x.mean()
        >>> rs.course.Checks(session).total(lambda x: x.mean())
        wrong: total. You return the mean: do not divide by the number of values.
        """

        def declare(answer: Callable[..., Any]) -> Callable[..., Any]:
            self.mistakes.append(Mistake(name, text, answer))
            return answer

        return declare

    def check(self, answer: Any, rng: np.random.Generator) -> Feedback:
        """Compare an answer with the solution on new hidden inputs.

        Parameters
        ----------
        answer : function, or None
            The answer of a student.
        rng : Generator
            Draws the inputs.

        Returns
        -------
        Feedback
            Whether it is right, and what is wrong.

        Examples
        --------
        >>> exercise = rs.course.load_session("invariances").exercises["centre"]
        >>> exercise.check(lambda x: x - x.mean(axis=0), np.random.default_rng(0)).status
        'ok'
        """
        if answer is None or answer is Ellipsis:
            return Feedback(self.name, "todo")
        if not callable(answer):
            return self._wrong(
                "not a function",
                f"Pass your function itself, as in check.{self.name}({self.name}), without calling it: "
                "the check calls it with inputs of its own.",
            )
        trials = [self.inputs(rng)]
        right = [self.solution(*copy.deepcopy(trials[0]))]
        number = self.trials or (CHOICES if is_choice(right[0]) else TRIALS)
        trials += [self.inputs(rng) for _ in range(number - 1)]
        answers: list[Any] = []
        for inputs in trials:
            passed = copy.deepcopy(inputs)
            try:
                given = answer(*passed)
            except NotImplementedError:
                return Feedback(self.name, "todo")
            except UndefinedError as error:
                return self._wrong(
                    "undefined", f"Your function gave up on an input that has a value: {as_clause(error)}."
                )
            except (Exception, SystemExit) as error:
                return self._wrong("raises", self._describe_error(answer, error, inputs))
            if given is None or given is Ellipsis:
                if answers:
                    return self._wrong("no value", "Your function returns nothing for some inputs.")
                return Feedback(
                    self.name,
                    "todo",
                    text="" if is_stub(answer) else "Your function returns nothing: end it with return.",
                )
            if not unchanged(inputs, passed):
                return self._wrong(
                    "changes its input", "Your function changes the arrays that it is given. Work on a copy of them."
                )
            if text := self.left_over and self.left_over(*passed):
                return self._wrong("something is left", text)
            answers.append(given)
        right += [self.solution(*copy.deepcopy(inputs)) for inputs in trials[1:]]
        return self._compare(answers, right, trials)

    def _compare(self, answers: list[Any], right: list[Any], trials: list[tuple[Any, ...]]) -> Feedback:
        if all(self._same(given, value) for given, value in zip(answers, right, strict=True)):
            return Feedback(self.name, "ok")
        for mistake in self.mistakes:
            if self._is_mistake(mistake, answers, trials):
                return self._wrong(mistake.name, mistake.text)
        difference = next((text for pair in zip(answers, right, strict=True) if (text := unlike(*pair))), "")
        if difference:
            return self._wrong("another kind of value", difference)
        if all(same(given, answers[0], 0) for given in answers) and not all(same(r, right[0], 1e-3) for r in right):
            return self._wrong(
                "constant", "Your function returns the same for all inputs. Compute the result from its arguments."
            )
        if text := misspelt(answers, right):
            return self._wrong("another text", text)
        hits = sum(self._same(given, value) for given, value in zip(answers, right, strict=True))
        often = f" It is right for {hits} of {len(right)} inputs: look for a case that you left out." if hits else ""
        return self._wrong(
            "another value", f"Your result has the right form, but the value is not the one asked for.{often}"
        )

    def _same(self, given: Any, value: Any) -> bool:
        if self.up_to is None:
            return same(given, value, self.tolerance)
        array = as_array(given)
        if array is None or array.shape != np.shape(value) or array.dtype.kind == "U":
            return False
        return same(self.up_to(array), self.up_to(value), self.tolerance)

    def _is_mistake(self, mistake: Mistake, answers: list[Any], trials: list[tuple[Any, ...]]) -> bool:
        for given, inputs in zip(answers, trials, strict=True):
            try:
                value = mistake.answer(*copy.deepcopy(inputs))
            except Exception:
                return False
            if not self._same(given, value):
                return False
        return True

    def _describe_error(self, answer: Callable[..., Any], error: BaseException, inputs: tuple[Any, ...]) -> str:
        names = list(inspect.signature(self.solution).parameters)
        try:
            inspect.signature(answer).bind(*inputs)
        except TypeError:
            return f"Your function must take {len(names)} argument{'s' * (len(names) != 1)}: {', '.join(names)}."
        except ValueError:
            pass  # a built-in without a signature
        called = ", ".join(f"{name} {form(value)}" for name, value in zip(names, inputs, strict=False))
        reason = textwrap.shorten(as_clause(error), 300, placeholder=" ...")
        place = line_of(answer, error)
        raised = f"{type(error).__name__} in the line '{place}'" if place else type(error).__name__
        return f"Your function raised {raised}{': ' * bool(reason)}{reason}. It was called with {called}."

    def _wrong(self, mistake: str, text: str) -> Feedback:
        return Feedback(self.name, "wrong", mistake, text)


@dataclass
class Session:
    """The exercises of one session, in order.

    Attributes
    ----------
    name : str
        The name by which `checks` finds it.
    title : str
        The heading of its notebook.
    exercises : {name: Exercise}
        The exercises.

    Examples
    --------
    >>> list(rs.course.load_session("invariances").exercises)[:2]
    ['centre', 'gram']
    """

    name: str
    title: str
    exercises: dict[str, Exercise] = field(default_factory=dict)

    def exercise(
        self,
        *,
        minutes: int,
        inputs: Callable[[np.random.Generator], tuple[Any, ...]],
        tolerance: float = 1e-4,
        trials: int | None = None,
        up_to: Callable[[Any], Any] | None = None,
        left_over: Callable[..., str] | None = None,
    ) -> Callable[[Callable[..., Any]], Exercise]:
        """Declare an exercise: the function below is its solution.

        Parameters
        ----------
        minutes, inputs, tolerance, trials, up_to, left_over
            As the attributes of `Exercise`.

        Returns
        -------
        function
            A decorator of the solution, which returns the Exercise.

        Examples
        --------
        >>> session = rs.course.Session("mine", "My session")
        >>> @session.exercise(minutes=2, inputs=lambda rng: (rng.normal(size=5),))
        ... def total(x):
        ...     return x.sum()
        >>> rs.course.Checks(session).total(sum)
        ok: total
        """

        def declare(solution: Callable[..., Any]) -> Exercise:
            exercise = Exercise(solution, minutes, inputs, tolerance, trials, up_to, left_over)
            self.exercises[exercise.name] = exercise
            return exercise

        return declare
