"""Weights in files: whatever torch's `load_state_dict` takes loads, and then gives the outputs of the model that was
saved; all else is named.
"""

import copy
import json
import pickle
import struct
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

import repsim_nb as rs
from repsim_nb.inputs.models.checkpoints import name_checkpoint, read_checkpoint
from repsim_nb.inputs.models.state_dicts import fill_module


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def same(path, module, x, **options):
    """The model of this file gives the outputs of the module that was saved."""
    model = rs.load_model(path, **options)
    module.eval()
    with torch.no_grad():
        assert torch.equal(model.module(x), module(x)), path
    return model


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def trained_a_little(module, x):
    """Steps that move all weights and statistics away from their start."""
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(3):
        module.train()(x).square().sum().backward()
        optimizer.step()
    return module.eval(), optimizer


X = torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(1))


class Tied(nn.Module):
    """As language models are: the last layer has the weights of the first."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(30, 8), nn.Linear(8, 8), nn.Linear(8, 30, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.mix(self.embed(ids).mean(1)))


IDS = torch.arange(24).reshape(4, 6)


# -- tied weights


def test_tied_weights_load_whichever_of_their_names_the_file_has(tmp_path):
    module = Tied()
    save_model(module, tmp_path / "t.safetensors")
    assert len({"embed.weight", "head.weight"} & load_file(tmp_path / "t.safetensors").keys()) == 1
    model = same(tmp_path / "t.safetensors", module, IDS, architecture=Tied)
    assert model.module.head.weight is model.module.embed.weight
    for absent in ("embed.weight", "head.weight"):
        torch.save({k: v for k, v in module.state_dict().items() if k != absent}, tmp_path / "t.pt")
        same(tmp_path / "t.pt", module, IDS, architecture=Tied)
    torch.save({"mix.weight": module.mix.weight, "mix.bias": module.mix.bias}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="does not fit Tied: it lacks 'embed.weight', 'head.weight'"):
        rs.load_model(tmp_path / "t.pt", architecture=Tied)


class PartlyTied(nn.Module):
    """The last layer has the first rows of the table, a view of it, and its transpose."""

    def __init__(self, whole=True):
        super().__init__()
        table = torch.randn(30, 8)
        self.embed = nn.Embedding.from_pretrained(table, freeze=False)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = nn.Parameter(self.embed.weight.data[:10]) if whole else nn.Parameter(table[:10].clone())
        self.turned = nn.Parameter(self.embed.weight.data.T)

    def forward(self, ids):
        return self.head(self.embed(ids).mean(1) @ self.turned[:, :8])


@pytest.mark.parametrize(
    ("absent", "fits"),
    [
        (["head.weight"], True),
        (["turned"], True),
        (["head.weight", "turned"], True),
        (["embed.weight"], True),
        (["embed.weight", "head.weight"], True),
        (["embed.weight", "turned"], False),
    ],
)
def test_a_weight_is_not_missing_if_it_is_part_of_one_that_is_there_and_never_the_other_way(tmp_path, absent, fits):
    module = PartlyTied()
    torch.save({k: v.clone() for k, v in module.state_dict().items() if k not in absent}, tmp_path / "t.pt")
    if fits:
        same(tmp_path / "t.pt", module, IDS, architecture=PartlyTied)
    else:
        with pytest.raises(ValueError, match="it lacks 'turned', 'embed.weight'"):
            rs.load_model(tmp_path / "t.pt", architecture=PartlyTied)


class Interleaved(nn.Module):
    """Two weights share a memory, and no number."""

    def __init__(self):
        super().__init__()
        table = torch.randn(9, 4)
        self.even, self.odd = nn.Parameter(table[::2]), nn.Parameter(table[1:6:2])

    def forward(self, x):
        return x @ self.even.T[:, :3] + x @ self.odd.T


def test_a_weight_between_the_numbers_of_another_is_missed(tmp_path):
    module = Interleaved()
    torch.save({k: v.clone() for k, v in module.state_dict().items()}, tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, torch.randn(5, 4), architecture=Interleaved)
    torch.save({"even": module.even.detach().clone()}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="does not fit Interleaved: it lacks 'odd'.$"):
        rs.load_model(tmp_path / "t.pt", architecture=Interleaved)


def test_weights_that_are_not_tied_are_missed(tmp_path):
    module = PartlyTied()
    torch.save({k: v for k, v in module.state_dict().items() if k != "head.weight"}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="does not fit PartlyTied: it lacks 'head.weight'.$"):
        rs.load_model(tmp_path / "t.pt", architecture=PartlyTied(whole=False))


def test_two_weights_in_the_file_for_one_in_the_architecture_are_an_error_unless_they_are_equal(tmp_path):
    module = Tied()
    weights = {k: v.clone() for k, v in module.state_dict().items()}
    torch.save(weights, tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, IDS, architecture=Tied)
    weights["head.weight"][3, 3] += 1
    torch.save(weights, tmp_path / "t.pt")
    with pytest.raises(
        ValueError, match="other values under names that are one tensor here: 'embed.weight and head.weight'"
    ):
        rs.load_model(tmp_path / "t.pt", architecture=Tied)


def test_tied_weights_as_transformers_saves_them(tmp_path):
    import transformers

    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    module = transformers.GPT2LMHeadModel(config).eval()
    module.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = rs.load_model(tmp_path / "model.safetensors", architecture=lambda: transformers.GPT2LMHeadModel(config))
    with torch.no_grad():
        assert torch.equal(model.module(IDS).logits, module(IDS).logits)
    headless = rs.load_model(tmp_path / "model.safetensors", architecture=lambda: transformers.GPT2Model(config))
    with torch.no_grad():
        assert torch.equal(headless.module(IDS).last_hidden_state, module.transformer(IDS).last_hidden_state)


# -- what torch knows of older and wrapped forms


@pytest.mark.parametrize("saved_by", ["torch", "torch, without versions", "safetensors"])
def test_batch_normalization_without_its_count(tmp_path, saved_by):
    module, _ = trained_a_little(Convolutional(), X)
    weights = module.state_dict()
    del weights["body.1.num_batches_tracked"]
    file = tmp_path / ("t.safetensors" if saved_by == "safetensors" else "t.pt")
    if saved_by == "safetensors":
        save_file(weights, file)
    else:
        torch.save(weights if saved_by == "torch" else dict(weights), file)
    same(file, module, X, architecture=Convolutional)
    for lacking in ("running_var", "running_mean", "weight"):
        torch.save({k: v for k, v in weights.items() if k != f"body.1.{lacking}"}, file.with_suffix(".pth"))
        with pytest.raises(ValueError, match=f"it lacks 'body.1.{lacking}'.$"):
            rs.load_model(file.with_suffix(".pth"), architecture=Convolutional)


class Counting(nn.Module):
    """It counts under the same name, and uses what it counts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("num_batches_tracked", torch.tensor(3.0))
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(x) * self.num_batches_tracked


def test_only_the_count_of_a_batch_normalization_is_harmless(tmp_path):
    torch.save(nn.Sequential(nn.Linear(4, 2)).state_dict(), tmp_path / "t.pt")
    with pytest.raises(ValueError, match="does not fit Counting: it lacks 'num_batches_tracked'"):
        rs.load_model(tmp_path / "t.pt", architecture=Counting)


WRAPPED = {
    "DataParallel": lambda m: nn.DataParallel(m).state_dict(),
    "AveragedModel": lambda m: AveragedModel(m).state_dict(),
    "AveragedModel of DataParallel": lambda m: AveragedModel(nn.DataParallel(m)).state_dict(),
    "DataParallel of AveragedModel": lambda m: nn.DataParallel(AveragedModel(m)).state_dict(),
    "torch.compile": lambda m: torch.compile(m).state_dict(),
    "torch.compile of DataParallel": lambda m: torch.compile(nn.DataParallel(m)).state_dict(),
    "AveragedModel of torch.compile": lambda m: AveragedModel(torch.compile(m)).state_dict(),
    "compiled parts": lambda m: compiled_inside(m).state_dict(),
    "Lightning, model.": lambda m: {f"model.{k}": v for k, v in m.state_dict().items()},
    "Lightning, net.": lambda m: {f"net.{k}": v for k, v in m.state_dict().items()},
    "Lightning around DataParallel": lambda m: {f"model.module.{k}": v for k, v in m.state_dict().items()},
}


def compiled_inside(module):
    module = copy.deepcopy(module)
    module.body = torch.compile(module.body)
    return module


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("form", ["pt", "safetensors", "Lightning"])
def test_what_wrappers_put_before_or_into_names_is_taken_off(tmp_path, how, form):
    module, optimizer = trained_a_little(Convolutional(), X)
    weights = WRAPPED[how](module)
    file = tmp_path / ("t.safetensors" if form == "safetensors" else "t.ckpt.pt")
    if form == "safetensors":
        save_file(dict(weights), file)
    else:
        lightning = {
            "epoch": 3,
            "state_dict": weights,
            "hyper_parameters": {"lr": 0.1, "pos_weight": torch.ones(3)},
            "optimizer_states": [optimizer.state_dict()],
            "callbacks": {"best": {"score": torch.ones(1)}},
            "loops": {},
        }
        torch.save(lightning if form == "Lightning" else weights, file)
    same(file, module, X, architecture=Convolutional)


class Scaled(nn.Module):
    """Its own parameter has the name that a norm's weight had."""

    def __init__(self):
        super().__init__()
        self.norm, self.gamma = nn.LayerNorm(4), nn.Parameter(torch.randn(4))
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(x) * self.gamma


@pytest.mark.parametrize("prefix", ["", "module."])
def test_older_names_of_the_weights_of_a_norm_fit(tmp_path, prefix):
    module, x = Scaled(), torch.randn(3, 4)
    older = {"norm.weight": "norm.gamma", "norm.bias": "norm.beta", "gamma": "gamma"}
    weights = {prefix + older[name]: value for name, value in module.state_dict().items()}
    save_file(weights, tmp_path / "t.safetensors")
    same(tmp_path / "t.safetensors", module, x, architecture=Scaled)
    save_file(weights | {f"{prefix}norm.weight": torch.ones(4)}, tmp_path / "t.safetensors")
    with pytest.raises(ValueError, match="does not fit Scaled: it has in addition 'norm.gamma'.$"):
        rs.load_model(tmp_path / "t.safetensors", architecture=Scaled)


def test_a_prefix_is_taken_off_only_if_more_names_fit_without_it(tmp_path):
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.Linear(4, 4))

        def forward(self, x):
            return self.model(x)

    module, x = Nested(), torch.randn(3, 4)
    for wrapped in (module, nn.DataParallel(module), AveragedModel(module)):
        torch.save(wrapped.state_dict(), tmp_path / "t.pt")
        same(tmp_path / "t.pt", module, x, architecture=Nested)
        same(tmp_path / "t.pt", module.model, x, architecture=lambda: nn.Sequential(nn.Linear(4, 4)))
    torch.save(nn.DataParallel(Convolutional()).state_dict(), tmp_path / "t.pt")
    with pytest.raises(ValueError, match="it lacks 'more.weight', 'more.bias'.$"):  # and says nothing of the prefix
        larger = Convolutional()
        larger.more = nn.Linear(2, 2)
        rs.load_model(tmp_path / "t.pt", architecture=larger)


@pytest.mark.parametrize(
    ("change", "besides"),
    [
        (
            lambda w: {**{f"net.{k}": v for k, v in w.items()}, "n_averaged": torch.tensor(1)},
            "net.weight', 'net.bias', 'n_averaged",
        ),
        (lambda w: {**w, "n_averaged": torch.tensor(1)}, "n_averaged"),
        (lambda w: {**w, "_orig_mod.weight": w["weight"] + 1}, "_orig_mod.weight"),
        (
            lambda w: {
                "weight": w["weight"],
                "_orig_mod.weight": w["weight"] + 1,
                "_orig_mod._orig_mod.bias": w["bias"],
            },
            "_orig_mod.weight', '_orig_mod._orig_mod.bias",
        ),
        (
            lambda w: {f"module.{k}": v for k, v in w.items()} | {"criterion.weight": torch.ones(2)},
            "module.weight', 'module.bias', 'criterion.weight",
        ),
    ],
)
def test_no_weight_is_lost_when_names_are_shortened(tmp_path, change, besides):
    torch.save(change(nn.Linear(3, 2).state_dict()), tmp_path / "t.pt")
    with pytest.raises(ValueError, match=f"it has in addition '{besides}'.$"):
        rs.load_model(tmp_path / "t.pt", architecture=lambda: nn.Linear(3, 2))


def normed(norm, bias=True):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = norm(nn.Conv1d(2, 3, 3, bias=bias)), norm(nn.Linear(3, 4, bias=bias))

        def forward(self, x):
            return self.fc(self.conv(x).mean(-1))

    return Normed


OLD, NEW = normed(torch.nn.utils.weight_norm), normed(parametrizations.weight_norm)
OLD_ALONE, NEW_ALONE = normed(torch.nn.utils.weight_norm, bias=False), normed(parametrizations.weight_norm, bias=False)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "wrapped", [lambda m: m, nn.DataParallel, AveragedModel], ids=["bare", "DataParallel", "AveragedModel"]
)
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD_ALONE, NEW_ALONE)], ids=["and biases", "alone"])
def test_old_weight_norm_goes_into_new_weight_norm(tmp_path, wrapped, old, new):
    module, x = old(), torch.randn(5, 2, 9)
    with torch.no_grad():
        module.conv.weight_g *= 2
        module.fc.weight_v += 0.1
    module(x)  # the old form computes its weight again before each pass
    if wrapped is not AveragedModel:  # that copies a module, which old weight_norm does not allow
        torch.save(wrapped(module).state_dict(), tmp_path / "t.pt")
    else:
        torch.save(
            {"n_averaged": torch.tensor(1), **{f"module.{k}": v for k, v in module.state_dict().items()}},
            tmp_path / "t.pt",
        )
    got, want = rs.load_model(tmp_path / "t.pt", architecture=new).module(x), module(x)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    same(tmp_path / "t.pt", module, x, architecture=old)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_new_weight_norm_does_not_go_into_old_weight_norm_in_torch_and_so_not_here(tmp_path):
    module, x = NEW(), torch.randn(5, 2, 9)
    torch.save(module.state_dict(), tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, x, architecture=NEW)
    with pytest.raises(RuntimeError):
        OLD().load_state_dict(module.state_dict())
    with pytest.raises(
        ValueError,
        match=(
            "does not fit Normed: it lacks 'conv.weight_g', .*it has in addition"
            " 'conv.parametrizations.weight.original0'"
        ),
    ):
        rs.load_model(tmp_path / "t.pt", architecture=OLD)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [torch.nn.utils.spectral_norm, parametrizations.spectral_norm, parametrizations.orthogonal],
    ids=["old", "new", "orthogonal"],
)
@pytest.mark.parametrize("file", ["t.pt", "t.safetensors"])
def test_parametrized_weights_come_back(tmp_path, norm, file):
    made, x = normed(norm), torch.randn(5, 2, 9)
    module = made()
    for _ in range(4):
        module.train()(x)  # the iteration of spectral norm goes on in training
    if file == "t.pt":
        torch.save(module.state_dict(), tmp_path / file)
    else:
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, tmp_path / file)
    same(tmp_path / file, module, x, architecture=made)


class Stateful(nn.Module):
    """State that is no tensor, a buffer that is not saved, one that is, and a name that changed since."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale, self.fc = scale, nn.Linear(4, 2)
        self.register_buffer("positions", torch.arange(2.0), persistent=False)
        self.register_buffer("shift", torch.zeros(2))

    def get_extra_state(self):
        return {"scale": self.scale}

    def set_extra_state(self, state):
        self.scale = state["scale"]

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        if f"{prefix}linear.weight" in state_dict:
            state_dict[f"{prefix}fc.weight"] = state_dict.pop(f"{prefix}linear.weight").T
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x):
        return self.fc(x) * self.scale + self.positions + self.shift


def test_extra_state_and_buffers_that_are_not_saved(tmp_path):
    module, x = Stateful(3.0), torch.randn(5, 4)
    module.shift += 2
    torch.save({"net": nn.DataParallel(module).state_dict(), "epoch": 3}, tmp_path / "t.pt")
    assert same(tmp_path / "t.pt", module, x, architecture=Stateful).module.scale == 3
    weights = module.state_dict()
    del weights["_extra_state"]
    torch.save(weights, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="it lacks '_extra_state'.$"):
        rs.load_model(tmp_path / "t.pt", architecture=Stateful)


def test_a_buffer_that_is_no_longer_saved_may_be_in_the_file_with_the_same_values_only(tmp_path):
    module, x = Stateful(), torch.randn(5, 4)
    torch.save({**module.state_dict(), "positions": torch.arange(2)}, tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, x, architecture=Stateful)
    for other in (
        torch.arange(2) + 1,
        torch.arange(3),
        torch.tensor([0, 1 + 1e-12], dtype=torch.float64),
        torch.ones(2),
    ):
        torch.save({**module.state_dict(), "positions": other}, tmp_path / "t.pt")
        with pytest.raises(ValueError, match="it has in addition 'positions'.$"):
            rs.load_model(tmp_path / "t.pt", architecture=Stateful)


def test_hooks_of_the_architecture_have_their_say(tmp_path):
    module, x = Stateful(), torch.randn(5, 4)
    weights = module.state_dict()
    weights["linear.weight"] = weights.pop("fc.weight").T
    torch.save({f"module.{k}": v for k, v in weights.items()}, tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, x, architecture=Stateful)

    def hooked():
        made = Stateful()
        made.register_load_state_dict_pre_hook(
            lambda _, state, prefix, *__: state.update({f"{prefix}shift": state.pop(f"{prefix}offset")})
        )
        made.register_load_state_dict_post_hook(
            lambda _, keys: keys.unexpected_keys.remove("old") if "old" in keys.unexpected_keys else None
        )
        return made

    weights = {**module.state_dict(), "old": torch.ones(3)}
    weights["offset"] = weights.pop("shift")
    torch.save(weights, tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, x, architecture=hooked)
    torch.save(module.state_dict(), tmp_path / "t.pt")
    with pytest.raises(ValueError, match="does not fit Stateful: torch reported: .*offset"):
        rs.load_model(tmp_path / "t.pt", architecture=hooked)


def test_lazy_architectures_take_their_shapes_from_the_file(tmp_path):
    def lazy():
        return nn.Sequential(nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))

    module = lazy()
    module(X)
    trained_a_little(module, X)
    torch.save(module.state_dict(), tmp_path / "t.pt")
    for architecture in (
        lazy,
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 5)),
    ):
        same(tmp_path / "t.pt", module, X, architecture=architecture)
    plain = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    plain(X)
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    same(tmp_path / "plain.pt", plain, X, architecture=nn.Sequential(nn.Flatten(), nn.LazyLinear(5)))
    torch.save({k: v for k, v in module.state_dict().items() if k != "3.weight"}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="it lacks '3.weight'.$"):
        rs.load_model(tmp_path / "t.pt", architecture=lazy)
    save_file(module.state_dict(), tmp_path / "t.safetensors")
    got = rs.record(rs.load_model(tmp_path / "t.safetensors", architecture=lazy), X, progress=False)["output"]
    np.testing.assert_allclose(got, module(X).detach(), atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "architecture",
    [lambda: OLD(), lambda: nn.Sequential(nn.LazyBatchNorm1d())],
    ids=["old weight_norm", "lazy buffers"],
)
def test_an_architecture_that_torch_cannot_copy_is_asked_for_as_a_function(tmp_path, architecture):
    torch.save({"weight": torch.ones(1)}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="cannot be copied.*Give a function that creates it, architecture=lambda"):
        rs.load_model(tmp_path / "t.pt", architecture=architecture())


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
)
def test_other_precisions_become_that_of_the_architecture(tmp_path, dtype):
    module, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(5, 4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.to(dtype))  # values that the type holds
    save_file({k: v.to(dtype) for k, v in module.state_dict().items()}, tmp_path / "t.safetensors")
    model = same(tmp_path / "t.safetensors", module, x, architecture=copy.deepcopy(module).apply(nn.Module.zero_grad))
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_weights_come_back(tmp_path):
    def made():
        return torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval(), {nn.Linear}, torch.qint8
        )

    module, x = made(), torch.randn(5, 4)
    assert any(not isinstance(value, torch.Tensor) for value in module.state_dict().values())
    for content in (
        module.state_dict(),
        {"net": module.state_dict(), "epoch": 1},
        nn.DataParallel(module).state_dict(),
    ):
        torch.save(content, tmp_path / "t.pt")
        same(tmp_path / "t.pt", module, x, architecture=made)


def test_an_architecture_without_memory_is_refused(tmp_path):
    torch.save(Convolutional().state_dict(), tmp_path / "t.pt")
    with torch.device("meta"):
        empty = Convolutional()
    with pytest.raises(
        ValueError, match="Convolutional is on the device 'meta', where weights have no values. Create it on the CPU"
    ):
        rs.load_model(tmp_path / "t.pt", architecture=empty)


def test_what_does_not_fit_is_listed_by_name(tmp_path):
    module = Convolutional()
    weights = module.state_dict()
    for change, said in (
        ({"fc.bias": None}, "it lacks 'fc.bias'.$"),
        ({"extra.w": torch.ones(2)}, "it has in addition 'extra.w'.$"),
        ({"fc.bias": torch.ones(7)}, r"other shapes: 'fc.bias \(7,\) for \(5,\)'.$"),
        (
            {"fc.bias": None, "fc.b": torch.ones(5), "fc.weight": torch.ones(5)},
            r"it lacks 'fc.bias'; it has in addition 'fc.b'; other shapes: 'fc.weight \(5,\) for \(5, 4\)'.$",
        ),
    ):
        torch.save({k: v for k, v in {**weights, **change}.items() if v is not None}, tmp_path / "t.pt")
        with pytest.raises(ValueError, match=f"t.pt does not fit Convolutional: {said}"):
            rs.load_model(tmp_path / "t.pt", architecture=Convolutional)


def test_filling_leaves_no_hook_behind_and_says_the_same_again(tmp_path):
    module = Convolutional()
    fill_module(module, Convolutional().state_dict(), tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        fill_module(module, {"x": torch.ones(1)}, tmp_path)
    assert not module._load_state_dict_post_hooks


# -- one state dict among other things


@pytest.mark.parametrize(
    "place",
    [
        ("net",),
        ("model_state",),
        ("state_dict",),
        ("model",),
        ("checkpoint", "weights"),
        ("ema", "shadow"),
        ("models", 0),
        (3,),
    ],
)
def test_the_only_state_dict_in_a_file_is_taken_whatever_its_name(tmp_path, place):
    module, optimizer = trained_a_little(Convolutional(), X)
    content = module.state_dict()
    for name in reversed(place):
        content = [content] if name == 0 else {name: content, "decay": 0.9}
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    content = {
        **content,
        "epoch": 3,
        "loss": torch.tensor(0.1),
        "metrics": {"accuracy": torch.tensor(0.9)},
        "optimizer": optimizer.state_dict(),
        "optimizers": [optimizer.state_dict()],
        "schedule": schedule.state_dict(),
        "rng": {"torch": torch.get_rng_state()},
        "classes": ["a", "b"],
        "settings": {"lr": 0.1},
        "empty": {},
    }
    torch.save(content, tmp_path / "t.pt")
    same(tmp_path / "t.pt", module, X, architecture=Convolutional)


def test_a_model_of_a_single_number_is_a_model(tmp_path):
    class Scale(nn.Module):
        def __init__(self, value=1.0):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(value))

        def forward(self, x):
            return x * self.scale

    module = Scale(3.0)
    for content in (
        module.state_dict(),
        {"net": module.state_dict(), "epoch": 1},
        {"model": {"net": module.state_dict()}},
    ):
        torch.save(content, tmp_path / "t.pt")
        same(tmp_path / "t.pt", module, torch.randn(4, 2), architecture=Scale)
    torch.save({"net": module.state_dict(), "metrics": {"loss": torch.tensor(0.1)}}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="has 2 state dicts inside, 'net', 'metrics'"):
        rs.load_model(tmp_path / "t.pt", architecture=Scale)
    same(tmp_path / "t.pt", module, torch.randn(4, 2), architecture=Scale, key="net")


@pytest.mark.parametrize(
    "names", [("model", "ema"), ("state_dict", "ema"), ("generator", "discriminator"), ("net", "model_state_dict")]
)
def test_several_state_dicts_are_named_and_one_is_chosen_by_key(tmp_path, names):
    modules = [Convolutional().eval(), Convolutional().eval()]
    torch.save(
        {name: module.state_dict() for name, module in zip(names, modules, strict=True)} | {"epoch": 1},
        tmp_path / "t.pt",
    )
    for spec in (tmp_path / "t.pt", str(tmp_path / "t.pt"), f"checkpoint:{tmp_path / 't.pt'}"):
        with pytest.raises(
            ValueError,
            match=(
                f"has 2 state dicts inside, '{names[0]}', '{names[1]}'. Choose one, load_model\\(...,"
                f" key='{names[0]}'\\)"
            ),
        ):
            rs.load_model(spec, architecture=Convolutional)
        for name, module in zip(names, modules, strict=True):
            same(spec, module, X, architecture=Convolutional, key=name)
    with pytest.raises(
        ValueError, match=f"unknown state dict in the checkpoint .*'{names[1]}s'. Did you mean '{names[1]}'"
    ):
        rs.load_model(tmp_path / "t.pt", architecture=Convolutional, key=f"{names[1]}s")


def test_it_is_not_guessed_which_of_several_fits(tmp_path):
    fits, other = Convolutional().eval(), Tied()
    torch.save({"a": other.state_dict(), "b": {"c": fits.state_dict()}}, tmp_path / "t.pt")
    with pytest.raises(ValueError, match="has 2 state dicts inside, 'a', 'b.c'"):
        rs.load_model(tmp_path / "t.pt", architecture=Convolutional)
    same(tmp_path / "t.pt", fits, X, architecture=Convolutional, key="b.c")
    with pytest.raises(ValueError, match="does not fit Convolutional"):
        rs.load_model(tmp_path / "t.pt", architecture=Convolutional, key="a")


@pytest.mark.parametrize("file", ["t.pt", "t.safetensors"])
def test_one_of_several_models_in_a_state_dict_is_chosen_by_key(tmp_path, file):
    both = nn.ModuleDict({"generator": trained_a_little(Convolutional(), X)[0], "critic": nn.Linear(3, 2)})
    (
        save_file(both.state_dict(), tmp_path / file)
        if file.endswith("s")
        else torch.save({"state_dict": both.state_dict()}, tmp_path / file)
    )
    same(tmp_path / file, both["generator"], X, architecture=Convolutional, key="generator")
    same(tmp_path / file, both["critic"], torch.randn(4, 3), architecture=nn.Linear(3, 2), key="critic")
    with pytest.raises(ValueError, match="it has in addition"):
        rs.load_model(tmp_path / file, architecture=Convolutional)
    with pytest.raises(ValueError, match="unknown state dict in the checkpoint .*Did you mean 'generator'"):
        rs.load_model(tmp_path / file, architecture=Convolutional, key="generators")


def test_a_file_without_a_state_dict_says_what_it_holds(tmp_path):
    optimizer = torch.optim.Adam(Convolutional().parameters())
    for content, said in (
        ([1, 2], "it contains list"),
        ({"epoch": 3, "best": 0.5}, "it contains dict with 'epoch', 'best'"),
        ({}, "it contains dict.$"),
        (torch.ones(3), "it contains Tensor"),
        ({"weight": torch.ones(3), "epoch": 3}, "with 'weight', 'epoch'"),
        ({"optimizer": optimizer.state_dict()}, "with 'optimizer'"),
    ):
        torch.save(content, tmp_path / "t.pt")
        with pytest.raises(ValueError, match=f"t.pt is not a state dict .*{said}"):
            rs.load_model(tmp_path / "t.pt", architecture=Convolutional)


# -- shards


def sharded(folder, weights, parts=3, ending="safetensors", stem="model"):
    """Weights in several files, and the index that lists them."""
    names, listing = list(weights), {}
    for part in range(parts):
        shard = f"{stem}-{part + 1:05}-of-{parts:05}.{ending}"
        some = {name: weights[name] for name in names[part::parts]}
        save_file(some, folder / shard) if ending == "safetensors" else torch.save(some, folder / shard)
        listing |= dict.fromkeys(some, shard)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listing}))
    return index, sorted(set(listing.values()))


@pytest.mark.parametrize("ending", ["safetensors", "bin", "pt"])
def test_shards_load_by_their_index_or_by_one_of_them(tmp_path, ending):
    module, _ = trained_a_little(Convolutional(), X)
    index, shards = sharded(tmp_path, module.state_dict(), ending=ending)
    save_file(Convolutional().state_dict(), tmp_path / "other-00001-of-00003.safetensors")
    for spec in (index, str(index), f"checkpoint:{index}", tmp_path / shards[0], f"checkpoint:{tmp_path / shards[2]}"):
        assert same(spec, module, X, architecture=Convolutional).name == "model"
    assert (
        rs.load_model(tmp_path / "other-00001-of-00003.safetensors", architecture=Convolutional).name
        == "other-00001-of-00003"
    ), "no index lists it: it is whole"


def test_shards_as_transformers_saves_them(tmp_path):
    import transformers

    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    module = transformers.GPT2LMHeadModel(config).eval()
    module.save_pretrained(tmp_path, max_shard_size="10KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    for file in (tmp_path / "model.safetensors.index.json", shards[0]):
        model = rs.load_model(file, architecture=lambda: transformers.GPT2LMHeadModel(config))
        with torch.no_grad():
            assert torch.equal(model.module(IDS).logits, module(IDS).logits)


def test_what_is_wrong_with_shards_is_named_and_nothing_is_half_read(tmp_path):
    weights = Convolutional().state_dict()
    index, shards = sharded(tmp_path, weights)
    untouched = Convolutional()
    before = copy.deepcopy(untouched.state_dict())

    def refused(said, file=index):
        with pytest.raises(ValueError, match=said):
            rs.load_model(file, architecture=untouched)
        assert all(torch.equal(value, before[name]) for name, value in untouched.state_dict().items())

    whole = (tmp_path / shards[1]).read_bytes()
    for cut in (len(whole) - 4, 20, 0):
        (tmp_path / shards[1]).write_bytes(whole[:cut])
        refused(f"the file .*{shards[1]} is damaged")
        refused(f"the file .*{shards[1]} is damaged", tmp_path / shards[0])
    (tmp_path / shards[1]).unlink()
    refused(f"lists 3 shards, and its folder lacks '{shards[1]}'. Nothing was read")
    (tmp_path / shards[2]).unlink()
    refused(f"its folder lacks '{shards[1]}', '{shards[2]}'", tmp_path / shards[0])
    with pytest.raises(FileNotFoundError, match=f"no checkpoint file .*{shards[1]}"):
        rs.load_model(tmp_path / shards[1], architecture=untouched)
    with pytest.raises(FileNotFoundError, match="no checkpoint file .*absent.index.json"):
        rs.load_model(tmp_path / "absent.index.json", architecture=untouched)
    sharded(tmp_path, weights)
    one = load_file(tmp_path / shards[1])
    for other in ({**one, "more": torch.ones(1)}, dict(list(one.items())[1:])):  # a shard of another time
        save_file(other, tmp_path / shards[1])
        refused(
            f"the shard .*{shards[1]} is not the one that {index.name} lists: only one of them has"
            f" '{'more' if 'more' in other else next(iter(one))}'"
        )
    for text, said in (
        ("{", "is damaged"),
        ("", "is damaged"),
        ("[]", "is damaged or lists no shards"),
        ("{}", "has no 'weight_map'"),
        ('{"weight_map": {}}', "its weight_map must give"),
        ('{"weight_map": {"fc.bias": "../x.safetensors"}}', "a file in the same folder"),
        ('{"weight_map": {"fc.bias": 3}}', "a file in the same folder"),
    ):
        index.write_text(text)
        refused(f"the index .*{index.name} is damaged or lists no shards.*{said if 'damaged' not in said else ''}")


def test_a_model_has_the_name_of_its_file_or_of_its_index(tmp_path):
    index, shards = sharded(tmp_path, Convolutional().state_dict(), stem="mine")
    names = {
        "a/mine.safetensors": "mine",
        "mine.v2.pt": "mine.v2",
        index.name: "mine",
        shards[1]: "mine",
        "x-1.pt": "x-1",
        "epoch-3-of-10.pt": "epoch-3-of-10",
    }
    assert {file: name_checkpoint(tmp_path / file) for file in names} == names


# -- pickles

RAN = []


class Evil:
    def __reduce__(self):
        return RAN.append, (1,)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda w: Evil(),
        lambda w: {**w, "x": Evil()},
        lambda w: {"net": w, "args": Evil()},
        lambda w: {"net": {"deep": {**w, "x": Evil()}}},
    ],
)
@pytest.mark.parametrize("name", ["t.pt", "t.pth", "t.pkl", "t.bin"])
def test_a_pickle_is_refused_and_never_run_wherever_it_hides(tmp_path, hidden, name):
    weights = Convolutional().state_dict()
    for save in (
        lambda content, file: torch.save(content, file),
        lambda content, file: torch.save(content, file, _use_new_zipfile_serialization=False),
        lambda content, file: file.write_bytes(pickle.dumps(content)),
    ):
        RAN.clear()
        save(hidden(weights), tmp_path / name)
        with warnings.catch_warnings(), pytest.raises(ValueError, match=f"{name} is refused: .*could run code"):
            warnings.simplefilter("error")
            rs.load_model(f"checkpoint:{tmp_path / name}", architecture=Convolutional)
        assert not RAN


def test_a_pickle_among_shards_is_refused_and_never_run(tmp_path):
    weights = Convolutional().state_dict()
    for ending in ("bin", "pkl"):
        index, shards = sharded(tmp_path, weights, ending=ending)
        same(index, rs.load_model(index, architecture=Convolutional).module, X, architecture=Convolutional)
        (tmp_path / shards[1]).write_bytes(pickle.dumps({"fc.bias": Evil()}))
        RAN.clear()
        with pytest.raises(ValueError, match=f"{shards[1]} is refused: .*could run code"):
            rs.load_model(index, architecture=Convolutional)
        assert not RAN


def test_damaged_bytes_are_never_a_bare_error(tmp_path):
    whole_of = {}
    for name in ("t.pt", "t.safetensors"):
        weights = Convolutional().state_dict()
        torch.save(weights, tmp_path / name) if name == "t.pt" else save_file(weights, tmp_path / name)
        whole_of[name] = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for name, whole in whole_of.items():
        refused = 0
        for _ in range(60):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 20):
                damaged[at] = rng.integers(0, 256)
            (tmp_path / name).write_bytes(bytes(damaged))
            try:
                rs.load_model(tmp_path / name, architecture=Convolutional)
            except ValueError as error:
                refused += f"{name} " in str(error)
        assert refused > 30, name


@pytest.mark.parametrize("name", ["t.pt", "t.pkl"])
def test_a_zip_with_a_damaged_end_is_refused_in_a_sentence(tmp_path, name):
    disks = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 9)  # a zip file on nine disks
    (tmp_path / name).write_bytes(disks + struct.pack("<4s4H2LH", b"PK\x05\x06", *[0] * 7))
    with pytest.raises(ValueError, match=f"{name} is (damaged|refused)"):
        rs.load_model(tmp_path / name, architecture=Convolutional)


def test_the_digest_of_a_card_is_still_held_against_the_weights(tmp_path):
    from repsim_nb.inputs.models.state_dicts import hash_weights

    weights = Convolutional().state_dict()
    save_file(weights, tmp_path / "t.safetensors", metadata={"digest": hash_weights(weights)})
    assert read_checkpoint(tmp_path / "t.safetensors")[0].keys() == weights.keys()
    save_file(
        {**weights, "fc.bias": weights["fc.bias"] + 1},
        tmp_path / "t.safetensors",
        metadata={"digest": hash_weights(weights)},
    )
    with pytest.raises(ValueError, match="t.safetensors is damaged .*the weights differ from those that were written"):
        rs.load_model(tmp_path / "t.safetensors", architecture=Convolutional)
