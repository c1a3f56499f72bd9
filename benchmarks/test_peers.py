"""Each defect of DEFECTS is there, in the version that is pinned, and values of oracles are ours.

Run in the bench environment: make bench ARGS=defects, or pytest benchmarks.
"""

import pytest

from benchmarks import oracles
from benchmarks.defects import DEFECTS, look
from benchmarks.peers import missing, stand_in


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.peer}: {d.claim}"[:80])
def test_the_defect_shows(defect):
    found = look(defect)
    if found["shown"] is None:
        pytest.skip(found["seen"])
    assert found["shown"], found["seen"]


def test_participation_ratios_are_those_of_dimensionality():
    if why := missing("dimensionality"):
        pytest.skip(why)
    for row in oracles.participation_ratios():
        assert row["ours"] == pytest.approx(row["theirs"], rel=1e-10), row["what"]


def test_the_best_change_of_basis_is_between_eigenvalues_and_cka():
    if why := missing("dsa-metric"):
        pytest.skip(why)
    stand_in()
    exact, cka = oracles.best_basis()
    assert exact["ours"] - 1e-3 < exact["theirs"] < exact["ours"] + 0.2
    assert exact["ours"] < cka["ours"]
