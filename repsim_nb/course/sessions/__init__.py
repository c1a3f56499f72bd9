"""The sessions of the course, in order: one file each."""

from __future__ import annotations

import importlib

from repsim_nb.course.exercises import Session
from repsim_nb.support.errors import check_name

SESSIONS = ("representations", "invariances", "maps", "function", "trust", "misleading", "brains", "project")


def load_session(name: str) -> Session:
    """Return a session by its name.

    Parameters
    ----------
    name : str
        One of `SESSIONS`.

    Returns
    -------
    Session
        With its exercises.

    Raises
    ------
    ValueError
        If there is no session of this name.

    Examples
    --------
    >>> from repsim_nb import course
    >>> print(course.load_session("invariances").title)
    Invariances, and CKA written by hand
    """
    check_name("session of the course", name, SESSIONS)
    session: Session = importlib.import_module(f"repsim_nb.course.sessions.{name}").session
    return session
