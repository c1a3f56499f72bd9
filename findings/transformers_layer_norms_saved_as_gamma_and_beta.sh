#!/usr/bin/env bash
# Expected: from_pretrained followed by save_pretrained writes the weights under the names that they had, which are those of the module's state_dict.
# What happens: every loaded model with layer norms whose name contains LayerNorm (BERT and its relatives) is saved with the names of 2018, LayerNorm.gamma and
#   LayerNorm.beta, though the file that was read had weight and bias. A model that was never loaded is saved under its own names. from_pretrained reads the file
#   again, since it renames; load_state_dict(strict=True) of the same module refuses it, as does all that reads safetensors by name.
# Version: transformers 5.5.0, torch 2.13.0 (CPU). Not so in 5.23.0.
# Source: the legacy renaming that transformers/conversion_mapping.py adds to every load, which saving applies in reverse.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.5.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

print("torch", torch.__version__, "transformers", transformers.__version__)
fresh = BertModel(BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
names = set(fresh.state_dict())
fresh.save_pretrained(f"{sys.argv[1]}/fresh")
BertModel.from_pretrained(f"{sys.argv[1]}/fresh").save_pretrained(f"{sys.argv[1]}/loaded")
saved = {which: set(load_file(f"{sys.argv[1]}/{which}/model.safetensors")) for which in ("fresh", "loaded")}
new = sorted(saved["loaded"] - names)
print("saved by a fresh model, not in its state_dict:", sorted(saved["fresh"] - names))
print("saved after loading that file:", new[:2], "and", len(new) - 2, "more")
assert saved["fresh"] == names
assert len(new) == 6 and all(name.endswith(("LayerNorm.gamma", "LayerNorm.beta")) for name in new)
try:
    fresh.load_state_dict(load_file(f"{sys.argv[1]}/loaded/model.safetensors"))
except RuntimeError as error:
    print("load_state_dict:", str(error).splitlines()[1].strip()[:90], "...")
else:
    raise SystemExit("load_state_dict took the file")
PYTHON
echo "as described"
