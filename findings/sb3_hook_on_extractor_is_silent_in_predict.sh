#!/usr/bin/env bash
# Expected: a forward hook on policy.mlp_extractor, a module with its own forward, is called whenever the policy computes an action, so it records that layer in roll-outs.
# What happens: it is called by policy(obs), as in training, and never by policy.predict(obs), which plays: there the parts policy_net and value_net are called past the
#   module that contains them (forward_actor). An empty recording, or one of training batches only, is the result. Hooks on policy.mlp_extractor.policy_net fire in both.
# Version: stable-baselines3 2.9.2, gymnasium 1.4.0, torch 2.13.0 (CPU).
# Source: ActorCriticPolicy._predict calls get_distribution, which calls mlp_extractor.forward_actor.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 stable-baselines3==2.9.2
"$folder/venv/bin/python" - <<'PYTHON'
import gymnasium
import stable_baselines3
import torch

policy = stable_baselines3.PPO("MlpPolicy", "CartPole-v1", device="cpu", seed=0).policy
print("torch", torch.__version__, "stable-baselines3", stable_baselines3.__version__, "gymnasium", gymnasium.__version__)
calls = {"mlp_extractor": 0, "mlp_extractor.policy_net": 0}
for name in calls:
    policy.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
observation = policy.observation_space.sample()
policy.predict(observation)
played = dict(calls)
with torch.no_grad():
    policy(policy.obs_to_tensor(observation)[0])
trained = {name: calls[name] - played[name] for name in calls}
print("calls of hooks by predict:", played)
print("calls of hooks by policy(obs):", trained)
assert played == {"mlp_extractor": 0, "mlp_extractor.policy_net": 1}
assert trained == {"mlp_extractor": 1, "mlp_extractor.policy_net": 1}
PYTHON
echo "as described"
