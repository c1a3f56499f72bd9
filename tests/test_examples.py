"""The examples in the docstrings of public functions run, and give what they say."""

import doctest
import inspect
import sys

import numpy as np
import pandas as pd
import pytest

import repsim_nb as rs

NEEDED = {"interval", "permutation_test", "null_moments", "null_table", "influence", "anosim", "align"}


def public():
    """{name: object} of what users call: all names of `__all__`, or all that a module without one defines itself."""
    found = {"rs.align": rs.align}
    for name in ("grounding", "inference", "measures", "reliability"):
        module = getattr(rs, name)
        own = [
            n
            for n, value in vars(module).items()
            if not n.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
        found |= {f"rs.{name}.{n}": getattr(module, n) for n in getattr(module, "__all__", own)}
    return {name: value for name, value in found.items() if inspect.isclass(value) or inspect.isfunction(value)}


def examples():
    finder, found = doctest.DocTestFinder(exclude_empty=True), {}
    for name, value in public().items():
        names = {**vars(sys.modules[value.__module__]), "np": np, "pd": pd, "rs": rs}
        found |= {test.name: test for test in finder.find(value, name, globs=names) if test.examples}
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_what_it_says(name):
    said = []
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        EXAMPLES[name], out=said.append, clear_globs=False
    )
    assert found.failed == 0 and found.attempted > 0, "".join(said)


def test_the_main_functions_have_one():
    assert {name.rpartition(".")[2] for name in EXAMPLES} >= NEEDED
