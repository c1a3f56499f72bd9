#!/usr/bin/env bash
# Expected: in evaluation mode a feed-forward model gives a sample the same output in any batch, up to float32 rounding (about 1e-6).
# Seen (torch 2.13.0, torch.ao.quantization.quantize_dynamic, int8): the scale of the activations is taken from the whole batch, so a sample's output
#   moves when another sample stands next to it: by .03 of its size next to a sample like itself, by a third next to one 20 times as large.
# Source: torch.ao.nn.quantized.dynamic.Linear of the package torch: one scale a tensor, chosen at each call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PY'
import torch
from torch import nn

torch.manual_seed(0)
plain = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
sample, other = torch.randn(1, 32), torch.randn(1, 32)


def moved(model, by):
    with torch.no_grad():
        alone, together = model(sample)[0], model(torch.cat([sample, by * other]))[0]
    return float((alone - together).abs().max() / alone.square().mean().sqrt())


print("torch", torch.__version__)
for by in (1, 20):
    print(f"next to a sample {by} times as large a row moves by {moved(plain, by):.1e} of its size in float32, by {moved(quantised, by):.1e} in int8")
assert max(moved(plain, 1), moved(plain, 20)) < 1e-5 and moved(quantised, 1) > 1e-3 and moved(quantised, 20) > 0.1
PY
