#!/usr/bin/env bash
# Expected: a correlation matrix is symmetric, so squareform(1 - np.corrcoef(x)) gives the distances of all pairs.
# What happens: np.corrcoef(x) of 20 samples differs from its transpose in the last bit in a third of the cells, and scipy's squareform refuses the matrix:
#   it asks for exact symmetry. The lower triangle as a vector is therefore another vector than the upper one.
# Version: numpy 2.4.6, scipy 1.17.1.
# Source: numpy.corrcoef divides the covariance by the standard deviations of rows and then of columns, two roundings in another order for (i, j) and (j, i);
#   scipy.spatial.distance.squareform, checks=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy.spatial.distance import squareform

print("numpy", np.__version__, "scipy", scipy.__version__)
c = np.corrcoef(np.random.default_rng(0).normal(size=(20, 6)))
print("cells that differ from their mirror:", int((c != c.T).sum()), "of 380, at most by", np.abs(c - c.T).max())
try:
    squareform(1 - c)
    error = None
except ValueError as found:
    error = found
print("squareform:", error)
assert (c != c.T).sum() > 0 and error is not None and "symmetric" in str(error)
PYTHON
echo "as described"
