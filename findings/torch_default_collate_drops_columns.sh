#!/usr/bin/env bash
# Expected: samples that are dicts with different keys cannot be collated, and raise an error, as tensors of different shapes do.
# What happens: default_collate takes the keys of the first sample. A key that only later samples have is dropped without a word, a mask for instance;
#   a key that only the first sample has raises KeyError. So the same samples in another order raise or lose a column.
# Version: torch 2.13.0 (CPU).
# Source: torch.utils.data._utils.collate.collate, the branch for Mapping.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.utils.data import DataLoader

print("torch", torch.__version__)
samples = [{"x": 1.0}, {"x": 2.0, "mask": 0}]
batch = next(iter(DataLoader(samples, batch_size=2)))
print("first sample without a mask:", sorted(batch))
try:
    next(iter(DataLoader(samples[::-1], batch_size=2)))
    error = None
except KeyError as found:
    error = found
print("first sample with a mask:", type(error).__name__)
assert sorted(batch) == ["x"] and isinstance(error, KeyError)
PYTHON
echo "as described"
