"""How often something is drawn: `make test` takes a few draws, `make full` many; what may come by chance follows from
the number.
"""

import os

from scipy import stats

FULL = os.environ.get("REPSIM_NB_FULL") == "1"  # set by `make full`


def sized(few, many):
    """A few draws in `make test`, many in `make full`."""
    return many if FULL else few


def fewest(draws, chance, once=100):
    """Of so many draws that hold with this chance, fewer hold at most once in `once` times."""
    return int(stats.binom(draws, chance).ppf(1 / once))


def most(draws, chance, once=100):
    """Of so many draws that hold with this chance, more hold at most once in `once` times."""
    return int(stats.binom(draws, chance).isf(1 / once))
