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
    grading = commands.add_parser("grade", help="grade the notebooks that students handed in")
    grading.add_argument("folder", metavar="FOLDER", help="notebooks, flat or in one folder a student, or nbgrader's")
    grading.add_argument("--out", metavar="FILE", help="write a table by student and exercise (CSV)")
    grading.add_argument("--seconds", type=float, default=120, help="the longest time for one notebook (120)")
    grading.add_argument("--jobs", type=int, default=1, help="how many notebooks run at the same time (1)")
    given = parser.parse_args(arguments)
    try:
        if given.command == "build":
            from repsim_nb.course.building import build

            print(build(given.out))
        else:
            _grade(given)
    except (ValueError, OSError) as error:
        print(f"course {given.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _grade(given: argparse.Namespace) -> None:
    from repsim_nb.course import grading
    from repsim_nb.course.isolated import can_leave_network
    from repsim_nb.course.submissions import Submission

    def report(submission: Submission, found: list[grading.Grade]) -> None:
        print(f"{submission.student}, {submission.path.name}: {sum(one.points for one in found)} of {len(found)}")

    reach = "network access to this machine only" if can_leave_network() else "a guard in Python's sockets"
    print(f"Each notebook runs in a process of its own, with {given.seconds:g} s and {reach}.")
    grades = grading.grade(given.folder, seconds=given.seconds, jobs=given.jobs, report=report)
    print("\n" + grading.summarise(grades))
    if given.out:
        grading.write_csv(grades, given.out)
        print(given.out)
