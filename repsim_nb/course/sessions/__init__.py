"""The sessions of the course, in order: one file each."""

from __future__ import annotations

import difflib
import importlib

from repsim_nb.course.exercises import Session

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
    if name not in SESSIONS:
        near = difflib.get_close_matches(str(name), SESSIONS, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"no session '{name}' in the course{hint} The sessions are {', '.join(SESSIONS)}.")
    session: Session = importlib.import_module(f"repsim_nb.course.sessions.{name}").session
    return session
