"""Build the site: `make docs`, or `python docs/_tools/build.py --no-run`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import lessons

DOCS = lessons.ROOT / "docs"


def main() -> int:
    """Run the lessons that have no executed copy, then Sphinx."""
    parser = argparse.ArgumentParser(prog="make docs", description="Build docs/_build/html.")
    parser.add_argument("--no-run", action="store_true", help="do not run lessons; show the runs that are in the cache")
    parser.add_argument("--no-pictures", action="store_true", help="do not run lessons, and show the code alone")
    parser.add_argument("--only", nargs="+", default=[], metavar="LESSON", help="run these lessons only")
    parser.add_argument("--adopt", type=Path, metavar="FOLDER", help="take notebooks that ran elsewhere with this code")
    parser.add_argument("--out", type=Path, default=DOCS / "_build/html", help="the folder of the site")
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--jobs", default="2", help="processes of Sphinx")
    given = parser.parse_args()
    if given.adopt:
        lessons.adopt(given.adopt)
    if not (given.no_run or given.no_pictures):
        try:
            failed = lessons.run(given.only)
        except ValueError as error:
            parser.error(str(error))
        if failed and given.strict:
            print(f"{len(failed)} statements in lessons differ from their runs; see above.")
            return 1
    environment = dict(os.environ)
    if given.no_pictures:
        environment["REPSIM_DOCS_PICTURES"] = "no"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-q",
        *(["-W", "--keep-going"] if given.strict else []),
        "-j",
        given.jobs,
    ]
    doctrees = given.out.parent / f"{given.out.name}-doctrees"
    done = subprocess.run([*command, "-d", str(doctrees), str(DOCS), str(given.out)], env=environment)
    if done.returncode == 0:
        print(f"{given.out / 'index.html'}")
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
