#!/usr/bin/env bash
# Expected: a forward pass in evaluation mode leaves a model's weights alone, so its state_dict afterwards, loaded into a fresh model of
#   the same configuration, gives the same outputs.
# What happens: RwkvModel divides the output weights of its later blocks by powers of 2 at the first pass in evaluation mode, in place, and notes
#   that in a plain attribute that is not part of the state_dict. The loaded model divides them once more, without a word.
# Version: transformers 5.23.0, torch 2.13.0 (CPU).
# Source: RwkvModel._rescale_layers in transformers/models/rwkv/modeling_rwkv.py. It matters for models of more blocks than config.rescale_every (6 by default).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import transformers

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.RwkvConfig(vocab_size=50, hidden_size=16, num_hidden_layers=8, attention_hidden_size=16, context_length=20, rescale_every=2)
model = transformers.RwkvModel(config).eval()
ids = torch.randint(0, 50, (2, 7))
before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
with torch.no_grad():
    first, second = model(ids)[0], model(ids)[0]
changed = [name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])]
print("weights changed by passes in evaluation mode:", len(changed), "of", len(before), "such as", changed[0])

loaded = transformers.RwkvModel(config).eval()
loaded.load_state_dict(model.state_dict())
with torch.no_grad():
    other = loaded(ids)[0]
print("largest difference between two passes:", float((first - second).abs().max()))
print("largest difference after saving and loading:", float((first - other).abs().max()), "in outputs of about", float(first.abs().mean()))
assert changed and torch.equal(first, second)
assert (first - other).abs().max() > 0.1 * first.abs().mean()
PYTHON
echo "as described"
