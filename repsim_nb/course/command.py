"""`python -m repsim_nb course build OUT` and `python -m repsim_nb course grade FOLDER`."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str]) -> int:
    """Run a command of the course, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m repsim_nb course", description="Hand out and grade the course.")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="write the versions of students, teachers and nbgrader into a folder")
    building.add_argument("out", metavar="OUT", help="the folder; it is created if needed")
    given = parser.parse_args(arguments)
    try:
        from repsim_nb.course.building import build

        print(build(given.out))
    except (ValueError, OSError) as error:
        print(f"course {given.command}: {error}", file=sys.stderr)
        return 1
    return 0
