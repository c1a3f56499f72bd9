#!/usr/bin/env bash
# Expected: the similarities of a category model (one-hot codes, two values only) and of the same model moved and scaled have a rank correlation of 1, since correlation ignores both.
# What happens: np.corrcoef gives five values where there are two, apart by rounding. scipy.stats.spearmanr ranks that rounding, and the rank correlation of the two
#   sets of similarities is .26 to .61. Distances of scipy.spatial.distance.pdist have three values for two, and lose less. Rounding to 12 digits first gives 1.
# Version: numpy 2.4.6, scipy 1.17.1 (the values depend on the BLAS that numpy was built with; that they are far from 1 does not).
# Source: numpy.corrcoef divides by the standard deviations of rows, then of columns; scipy.stats.rankdata compares floats exactly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy.stats import spearmanr

print("numpy", np.__version__, "scipy", scipy.__version__)
code = np.eye(5)[np.repeat(np.arange(5), 4)]
below = np.tril_indices(20, -1)
one = np.corrcoef(code)[below]
for scale in (1.0, 0.9, 0.7):
    other = np.corrcoef(0.1 + scale * code)[below]
    ranked, rounded = spearmanr(one, other).statistic, spearmanr(one.round(12), other.round(12)).statistic
    print(f"scale {scale}: {len(set(one))} and {len(set(other))} distinct values, Spearman {ranked:.3f}, of rounded values {rounded:.3f}")
    assert len(set(one)) > 2 and ranked < 0.9 and rounded > 1 - 1e-9
PYTHON
echo "as described"
