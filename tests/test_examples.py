"""The examples in docstrings run, and give the output that they show."""

import doctest
import importlib
import pkgutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import repsim_nb as rs

NEEDED = {
    "interval",
    "permutation_test",
    "null_moments",
    "null_table",
    "influence",
    "anosim",
    "align",
    "mds",
    "heatmap",
    *("load_dataset", "Dataset", "load_model", "Model", "record", "from_arrays", "Store", "Activations", "Key"),
    *("zoo", "available", "cards"),
}


def examples():
    """{name: example} of all modules of the package."""
    finder, found = doctest.DocTestFinder(exclude_empty=True), {}
    for info in pkgutil.walk_packages(rs.__path__, "repsim_nb."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            for test in finder.find(module, globs={**vars(module), "np": np, "pd": pd, "rs": rs}):
                if test.examples:
                    found[test.name] = test
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_what_it_says(name):
    said = []
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        EXAMPLES[name], out=said.append, clear_globs=False
    )
    plt.close("all")
    assert found.failed == 0 and found.attempted > 0, "".join(said)


def test_the_main_functions_have_one():
    assert {name.rpartition(".")[2] for name in EXAMPLES} >= NEEDED
