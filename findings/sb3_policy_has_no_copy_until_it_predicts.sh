#!/usr/bin/env bash
# Expected: a policy is a torch module, so copy.deepcopy(model.policy) keeps a snapshot of it during training (as copies of other modules do).
# What happens: directly after learn() it raises a RuntimeError, since the policy keeps the distribution of its last training batch as an attribute (action_dist), with
#   tensors that belong to a graph. After a single predict(), which replaces that distribution, the same copy works. So a snapshot in a script that evaluates works, and
#   one in a script that does not fails.
# Version: stable-baselines3 2.9.2, gymnasium 1.4.0, torch 2.13.0 (CPU).
# Source: ActorCriticPolicy._get_action_dist_from_latent returns self.action_dist after proba_distribution, which stores the distribution.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 stable-baselines3==2.9.2
"$folder/venv/bin/python" - <<'PYTHON'
import copy

import stable_baselines3
import torch

model = stable_baselines3.PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, n_epochs=1, device="cpu", seed=0)
print("torch", torch.__version__, "stable-baselines3", stable_baselines3.__version__)
copy.deepcopy(model.policy)
print("before learn: copied")
model.learn(64)
try:
    copy.deepcopy(model.policy)
except RuntimeError as error:
    print("after learn:", str(error)[:90])
else:
    raise SystemExit("after learn: copied")
model.policy.predict(model.policy.observation_space.sample())
copy.deepcopy(model.policy)
print("after predict: copied")
PYTHON
echo "as described"
