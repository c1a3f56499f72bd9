"""Each defect of DEFECTS is there, in the version that is pinned.

Run in the bench environment: make bench ARGS=defects, or pytest benchmarks.
"""

import pytest

from benchmarks.defects import DEFECTS, look


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.peer}: {d.claim}"[:80])
def test_the_defect_shows(defect):
    found = look(defect)
    if found["shown"] is None:
        pytest.skip(found["seen"])
    assert found["shown"], found["seen"]
