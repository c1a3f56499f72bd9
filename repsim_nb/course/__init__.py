"""The course: eight sessions of exercises that check themselves.

    from repsim_nb import course

    check = course.checks("invariances")
    check.linear_cka(linear_cka)        # prints ok, todo, or what is wrong

The notebooks are in notebooks/course. `exercises` describes an exercise and compares an answer with its solution;
`checking` is what students call; `sessions` has one file a session.
"""

import sys

from repsim_nb.course.checking import Checks, CourseError
from repsim_nb.course.exercises import Exercise, Feedback, Mistake, Session
from repsim_nb.course.sessions import SESSIONS, load_session
from repsim_nb.support.errors import show_public_names

__all__ = ["SESSIONS", "Checks", "CourseError", "Exercise", "Feedback", "Mistake", "Session", "checks", "load_session"]


def checks(session: str, *, strict: bool = False) -> Checks:
    """Return the checks of a session: one method an exercise.

    Parameters
    ----------
    session : str
        Name of a session, one of `SESSIONS`.
    strict : bool
        Whether an answer that is missing or wrong raises `CourseError`. Under nbgrader, checks are always strict.

    Returns
    -------
    Checks
        With one method an exercise.

    Raises
    ------
    ValueError
        If there is no session of this name.

    Examples
    --------
    >>> from repsim_nb import course
    >>> check = course.checks("invariances")
    >>> check.centre(lambda x: x - x.mean(0))
    ok: centre
    >>> check.centre(lambda x: x - x.mean())
    wrong: centre. You subtract one number from all features. Each feature has a mean of its own, over the samples.
    >>> check.centre(None)
    todo: centre
    """
    return Checks(load_session(session), strict=strict)


# here, since `rs.course` may be imported without the `__getattr__` of `rs`
show_public_names(sys.modules[__name__], "rs.course")
