"""Models whose weights are wrapped, sharded, offloaded or changed in place, and modules that stand in two models:
recorded right and left as they were, or a sentence.
"""

import copy
import functools
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from shims import vision  # noqa: F401 - transformers asks for torchvision where it is there
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.fingerprints import fingerprint
from repsim_nb.inputs.models import saved_values
from repsim_nb.inputs.models.running import evaluation_mode


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


X = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))


def mlp():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def rec(module, data=X, layers=None, *, name="m", **options):
    return rs.record(rs.load_model(module, name=name), data, layers, progress=False, **options)


# -- tensors that wrap others


class Wrapper(torch.Tensor):
    """A quantised weight, in the form of torchao: integers and a scale for each row. It has few operations."""

    flat = True

    @staticmethod
    def __new__(cls, data, scale, mode):
        return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=scale.dtype)

    def __init__(self, data, scale, mode):
        self.whole, self.scale, self.mode = data, scale, mode

    @classmethod
    def of(cls, weight, mode="row"):
        scale = weight.abs().amax(1, keepdim=True) / 100
        return nn.Parameter(cls((weight / scale).round().to(torch.int8), scale, mode), requires_grad=False)

    def value(self):
        return self.whole * self.scale

    @classmethod
    def __torch_function__(cls, function, kinds, args=(), kwargs=None):
        if function is nn.functional.linear:
            return nn.functional.linear(args[0], args[1].value(), *args[2:], **(kwargs or {}))
        return super().__torch_function__(function, kinds, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function, kinds, args=(), kwargs=None):
        if function in (torch.ops.aten.detach.default, torch.ops.aten.alias.default, torch.ops.aten.clone.default):
            change = torch.clone if function is torch.ops.aten.clone.default else torch.Tensor.detach
            return cls(change(args[0].whole), change(args[0].scale), args[0].mode)
        raise NotImplementedError(f"{cls.__name__} knows no {function}")


class Flattened(Wrapper):
    """One that says what it is made of."""

    def __tensor_flatten__(self):
        return ["whole", "scale"], {"mode": self.mode}

    @classmethod
    def __tensor_unflatten__(cls, parts, context, *_):
        return cls(parts["whole"], parts["scale"], context["mode"])


def quantised(kind, module, mode="row"):
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight = kind.of(part.weight.detach(), mode)
    return module


def test_wrapped_weights_have_a_fingerprint(tmp_path):
    module = quantised(Flattened, mlp())
    before = [part.weight for part in module if isinstance(part, nn.Linear)]
    for into in (None, tmp_path, tmp_path):
        got = rec(module, into=into)
        np.testing.assert_allclose(got["output"], module(X).detach(), atol=1e-5)
    assert all(
        a is b for a, b in zip(before, [part.weight for part in module if isinstance(part, nn.Linear)], strict=True)
    )
    for change in (
        lambda weight: weight.scale.mul_(2),
        lambda weight: weight.whole.neg_(),
        lambda weight: setattr(weight, "mode", "column"),
    ):
        other = quantised(Flattened, mlp())
        other.load_state_dict(module.state_dict(), assign=True)
        other[2].weight = nn.Parameter(
            Flattened(module[2].weight.whole.clone(), module[2].weight.scale.clone(), "row"), requires_grad=False
        )
        assert fingerprint(other) == fingerprint(module)
        change(other[2].weight)
        with pytest.raises(ValueError, match="recorded with other weights"):
            rec(other, into=tmp_path)


def test_what_a_forward_changes_inside_a_wrapped_weight_is_put_back():
    module = quantised(Flattened, mlp())

    def without_signs(part, _):
        part.weight.whole.abs_()

    module[0].register_forward_pre_hook(without_signs)
    before = module[0].weight.whole.clone()
    assert module(X).shape == (30, 4) and torch.equal(module[0].weight.whole, before.abs())
    module[0].weight.whole.copy_(before)
    rec(module)
    assert torch.equal(module[0].weight.whole, before)


def test_weights_that_cannot_be_read_are_a_sentence_and_can_be_recorded_without_a_store(tmp_path):
    module = quantised(Wrapper, mlp())
    np.testing.assert_allclose(rec(module)["output"], module(X).detach(), atol=1e-5)
    with pytest.raises(
        ValueError,
        match=(
            r"'0\.weight' of Sequential is a Wrapper whose values cannot be read \(.*\), so a store could not"
            r" distinguish .* Record it without into="
        ),
    ):
        rec(module, into=tmp_path)
    with torch.device("meta"):
        empty = mlp()
    with pytest.raises(
        ValueError,
        match="'0.weight' of Sequential is on the device 'meta', where tensors have no values. Load its weights",
    ):
        rec(empty, into=tmp_path)
    with pytest.raises(ValueError, match="Sequential is on the device 'meta', where weights have no values"):
        rec(empty)
    assert not list(tmp_path.iterdir())


class Packed(nn.Parameter):
    """A parameter of another class with ordinary values, as bitsandbytes has."""

    def __new__(cls, data):
        return torch.Tensor._make_subclass(cls, data, False)


class Unpacking(nn.Module):
    """Integers as weights, and a scale in an attribute of the parameter."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = Packed(torch.randint(-99, 99, (4, 8), dtype=torch.int8)), nn.Parameter(torch.zeros(4))
        self.weight.scale = torch.ones(4, 1) / 99

    def forward(self, x):
        return nn.functional.linear(x, self.weight.float() * self.weight.scale, self.bias)


def test_parameters_of_another_class_are_read(tmp_path):
    module = Unpacking().eval()
    for _ in range(2):
        np.testing.assert_allclose(rec(module, into=tmp_path)["output"], module(X).detach(), atol=1e-5)
    module.weight.scale *= 2
    with pytest.raises(ValueError, match="not what 'm' computes now"):
        rec(module, into=tmp_path)
    module.weight.scale /= 2
    module.weight[0, 0] += 1
    with pytest.raises(ValueError, match="recorded with other weights"):
        rec(module, into=tmp_path)


def special(kind, x):
    if kind == "nested":
        return torch.nested.nested_tensor(list(x))
    if kind == "quantised":
        return torch.quantize_per_tensor(x, 0.01, 0, torch.qint8)
    return {
        "coo": x.to_sparse,
        "csr": x.to_sparse_csr,
        "csc": x.to_sparse_csc,
        "bsr": functools.partial(x.to_sparse_bsr, 2),
        "bsc": functools.partial(x.to_sparse_bsc, 2),
    }[kind]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["nested", "quantised", "coo", "csr", "csc", "bsr", "bsc"])
def test_tensors_of_other_layouts_have_a_fingerprint(kind):
    module, x = mlp(), torch.eye(4)
    one, same, other, moved = (copy.deepcopy(module) for _ in range(4))
    for part, values in (
        (one, x),
        (same, x.clone()),
        (other, x + torch.diag(torch.tensor([0.0, 1, 0, 0]))),
        (moved, x.flip(0)),
    ):
        part.register_buffer("table", special(kind, values))
    assert (
        fingerprint(one) == fingerprint(same) and len({fingerprint(one), fingerprint(other), fingerprint(moved)}) == 3
    )


def test_weights_can_still_be_resized_after_a_fingerprint():
    module = mlp()
    fingerprint(module)
    module[0].weight.untyped_storage().resize_(0)


def test_models_quantised_by_torchao_are_recorded_and_found(tmp_path):
    torchao = pytest.importorskip("torchao.quantization")
    for number, config in enumerate(
        [
            torchao.Int8WeightOnlyConfig(),
            torchao.Int8DynamicActivationInt8WeightConfig(),
            torchao.Float8WeightOnlyConfig(),
        ]
    ):
        module, other = mlp(), mlp()
        for one in (module, other):
            torchao.quantize_(one, config)
        for _ in range(2):
            np.testing.assert_allclose(
                rec(module, into=tmp_path / f"{number}")["output"], module(X).detach(), atol=1e-5
            )
        with pytest.raises(ValueError, match="recorded with other weights"):
            rec(other, into=tmp_path / f"{number}")


# -- sharded weights


@pytest.fixture
def mesh():
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or distributed.is_initialized():
        pytest.skip("needs a process group of its own")
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def losses(module, prepare=lambda module: None):
    """What training gives after `prepare`."""
    prepare(module)
    module.train()
    optimizer, found = torch.optim.SGD(module.parameters(), lr=0.5), []
    for _ in range(4):
        loss = module(X).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss))
    return found


@pytest.mark.skipif(not hasattr(torch.cpu.Stream, "record_event"), reason="this version of torch shards on a GPU only")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_a_sharded_model_can_be_trained_after_its_first_pass_was_a_recording(mesh, tmp_path, precision):
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    def sharded():
        torch.manual_seed(3)
        module = mlp()
        fully_shard(module[0], mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=precision))
        return fully_shard(module, mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=precision))

    def record_twice(module):
        kinds = [type(weight) for weight in module.parameters()]
        for _ in range(2):
            got = rec(module, into=tmp_path)
        np.testing.assert_allclose(got["output"], sharded()(X).detach().float(), atol=0.05 if precision else 1e-5)
        assert [type(weight) for weight in module.parameters()] == kinds and "DTensor" in kinds[0].__name__

    assert losses(sharded(), record_twice) == losses(sharded())
    other = sharded()
    with torch.no_grad():
        other[2].bias.add_(1)
    with pytest.raises(ValueError, match="recorded with other weights"):
        rec(other, into=tmp_path)


# -- offloaded weights


class Hook:
    """A hook of the form of accelerate's: it brings the weights along for each pass."""

    def __init__(self, weights):
        self.execution_device, self.weights_map = torch.device("cpu"), weights


def offloaded(module):
    """Like `accelerate.cpu_offload`: between passes weights are on the device 'meta'."""
    for part in module.modules():
        if part._parameters:
            weights = {name: weight.detach().clone() for name, weight in part._parameters.items()}
            part._hf_hook, part.forward = Hook(weights), functools.partial(run_offloaded, part, part.forward)
            put(part, {name: weight.to("meta") for name, weight in weights.items()})
    return module


def put(part, weights):
    for name, weight in weights.items():
        part._parameters[name] = nn.Parameter(weight, requires_grad=False)


def run_offloaded(part, forward, *args):
    put(part, part._hf_hook.weights_map)
    try:
        return forward(*args)
    finally:
        put(part, {name: weight.to("meta") for name, weight in part._hf_hook.weights_map.items()})


class Buffered(nn.Module):
    """Weights, a norm with running statistics, and a buffer."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)
        self.register_buffer("scale", torch.full((4,), 2.0))

    def forward(self, x):
        return self.b(torch.relu(self.norm(self.a(x)))) * self.scale


def accelerated(how, module):
    if how == "stand-in":
        return offloaded(module)
    accelerate = pytest.importorskip("accelerate")
    if how == "dispatch":
        return accelerate.dispatch_model(
            module,
            {"a": "cpu", "norm": "disk", "b": "disk", "scale": "cpu"},
            main_device="cpu",
            offload_dir=tempfile.mkdtemp(),
        )
    return accelerate.cpu_offload(module, torch.device("cpu"), offload_buffers=how == "with buffers")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("how", ["stand-in", "offload", "with buffers", "dispatch"])
def test_an_offloaded_model_is_never_moved(tmp_path, how, device):
    whole = Buffered().eval()
    rec(whole, into=tmp_path)
    module, want = accelerated(how, copy.deepcopy(whole)), whole(X).detach()
    places = {name: tensor.device for name, tensor in module.state_dict().items()}
    assert "meta" in {place.type for place in places.values()}
    for into in (None, tmp_path):  # in the store it is the model that it was made of
        np.testing.assert_allclose(rec(module, into=into, device=device)["output"], want, atol=1e-5)
        assert {name: tensor.device for name, tensor in module.state_dict().items()} == places
        torch.testing.assert_close(module(X).detach(), want)
    with torch.no_grad():
        whole.a.weight.add_(1)
    with pytest.raises(ValueError, match="recorded with other weights"):
        rec(whole, into=tmp_path)


def test_another_device_than_that_of_the_hooks_is_not_used():
    module = offloaded(mlp())
    module[0]._hf_hook.execution_device = "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec(module, device="cpu")
    with (
        pytest.warns(
            UserWarning,
            match="Sequential runs on 'cpu', where accelerate's hooks bring its weights: device='cuda' was not used",
        ),
        evaluation_mode(module, "cuda") as (place, _),
    ):
        assert place == torch.device("cpu")


# -- weights that are changed in place


def rescale(module, factor):
    """Out of sight of who reads the code of a forward."""
    with torch.no_grad():
        for weight in module.weights():
            weight.mul_(factor)


class Rescaling(nn.Module):
    """Like RWKV: for evaluation it halves the weights of its blocks in place, and an attribute says so."""

    def __init__(self, sign):
        super().__init__()
        self.blocks, self.sign = nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), sign
        self.halved, self.notes = False, []
        self.register_buffer("marked", torch.zeros(1))

    def weights(self):
        return [block.weight for block in self.blocks]

    def change(self, factor):
        rescale(self, factor)

    def is_halved(self):
        return {"attribute": self.halved, "list": "halved" in self.notes, "buffer": bool(self.marked)}[self.sign]

    def forward(self, x):
        if self.training == self.is_halved():
            self.change(2.0 if self.training else 0.5)
            if self.sign == "attribute":
                self.halved = not self.training
            elif self.sign == "list":
                self.notes[:] = [] if self.training else ["halved"]
            else:
                self.marked.fill_(not self.training)
        for block in self.blocks:
            x = block(x) * (1 if self.training else 2)
        return x


class Plainly(Rescaling):
    """One whose own code shows it."""

    def change(self, factor):
        with torch.no_grad():
            for block in self.blocks:
                block.weight.mul_(factor)


def check_same_afterwards(module, run, data, pool, tmp_path, *, found=True):
    """Record twice, and hold what the model gives in both modes against what it gave before."""
    before = [run(copy.deepcopy(module).train(mode)) for mode in (False, True)]
    for _ in range(2 if found else 1):
        got = rec(module, data, pool=pool, into=tmp_path)
        np.testing.assert_allclose(got["output"], before[0] if pool == "flatten" else before[0].mean(1), atol=1e-5)
    for mode in (False, True, False, True):
        torch.testing.assert_close(run(module.train(mode)), before[mode])


@pytest.mark.parametrize("copied", [2**26, 64])
@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("sign", ["attribute", "list", "buffer"])
@pytest.mark.parametrize("start", ["fresh", "ran", "training"])
def test_a_model_that_rescales_its_weights_is_as_before(tmp_path, monkeypatch, copied, seen, sign, start):
    monkeypatch.setattr(saved_values, "COPIED", copied)
    module = (Plainly if seen else Rescaling)(sign).train(start == "training")
    if start == "ran":
        module(X)
    lost = (
        copied == 64 and not seen and start != "ran"
    )  # there is no copy: the weights stay halved, and the sign with them
    with pytest.warns(UserWarning, match="wrote to 3 of its large tensors") if lost else warnings.catch_warnings():
        if not lost:
            warnings.simplefilter("error")
        check_same_afterwards(module, lambda one: one(X).detach(), X, "flatten", tmp_path, found=not lost)


@pytest.mark.parametrize("copied", [2**26, 64])
def test_rwkv_gives_the_same_after_a_recording(tmp_path, monkeypatch, copied):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(saved_values, "COPIED", copied)
    config = transformers.RwkvConfig(
        vocab_size=50,
        hidden_size=16,
        attention_hidden_size=16,
        num_hidden_layers=6,
        intermediate_size=32,
        rescale_every=2,
        context_length=32,
        use_cache=False,
    )
    ids = torch.randint(1, 49, (20, 7))
    check_same_afterwards(
        transformers.RwkvModel(config).eval(),
        lambda one: one(ids).last_hidden_state.detach(),
        {"input_ids": ids},
        "mean",
        tmp_path,
    )


def test_a_large_table_with_max_norm_is_put_back(monkeypatch):
    monkeypatch.setattr(saved_values, "COPIED", 64)
    module = nn.Sequential(nn.Embedding(50, 4, max_norm=0.5), nn.Flatten()).eval()
    before = module[0].weight.clone()
    rec(module, torch.randint(0, 50, (20, 3)))
    assert torch.equal(module[0].weight, before)


# -- moved to another device


class Moving(nn.Module):
    """Tensors become other ones when it is moved, as between two devices; here from "cpu" to "cpu:0"."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.alias, self.used = self.norm.running_mean, []

    def _apply(self, fn, recurse=True):
        super()._apply(lambda tensor: fn(tensor).clone(), recurse)
        self.now = {name: id(buffer) for name, buffer in self.named_buffers()}
        return self

    def forward(self, x):
        assert {name: id(buffer) for name, buffer in self.named_buffers()} == self.now, "the buffers of where it was"
        return self.norm(self.fc(x))


def test_a_model_that_is_moved_keeps_the_tensors_of_the_place_while_it_runs():
    module = Moving().eval()
    before, want = {name: id(buffer) for name, buffer in module.named_buffers()}, module.norm(module.fc(X)).detach()
    np.testing.assert_allclose(rec(module, device="cpu:0")["output"], want, atol=1e-5)
    assert {
        name: id(buffer) for name, buffer in module.named_buffers()
    } == before and module.alias is module.norm.running_mean


# -- modules that stand in two models


def test_two_models_that_are_one_module_are_refused(tmp_path):
    module = mlp()
    models = [rs.load_model(module, name=name) for name in ("a", "b")]
    sentence = (
        r"'a' and 'b' are one module, a Sequential: both would be recorded with the weights and adapters that it has"
        r" now. Record one after the other, .*copy\.deepcopy\(module\)"
    )
    for into in (None, tmp_path):
        with pytest.raises(ValueError, match=sentence):
            rs.record(models, X, into=into, progress=False)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match=sentence):
        rs.record(models, X, into=tmp_path, executor=pool, progress=False)
    with pytest.raises(ValueError, match=sentence):
        rs.stream(*models, X, progress=False)
    with pytest.raises(ValueError, match="'one' and 'two' are one module"):
        rs.explorers.model_pair(rs.Dataset("x", X), {"one": module, "two": module})
    with pytest.raises(ValueError, match="'run' at step 0 and 'run' at step 10 are one module"):
        rs.record([rs.load_model(module, name="run")] * 2, X, step=[0, 10], progress=False)
    assert not list(tmp_path.iterdir())


def test_copies_parts_and_other_preprocessing_are_other_models():
    module = mlp()
    a, b = rs.load_model(module, name="a"), rs.load_model(copy.deepcopy(module), name="b")
    twice = rs.load_model(module, name="twice", preprocess=lambda batch: 2 * torch.as_tensor(batch))
    head = rs.load_model(nn.Sequential(module[0], nn.Tanh()), name="head")
    got = rs.record([a, b, twice, head], X, ["output"], progress=False)
    for key, want in zip(got, (module(X), module(X), module(2 * X), module[0](X).tanh()), strict=True):
        np.testing.assert_allclose(got[key], want.detach(), atol=1e-5)
    assert rs.stream(a, twice, X, progress=False).values.shape == (2, 2) and rs.stream(
        a, a, X, progress=False
    ).values.shape == (2, 2)


def test_models_of_peft_on_one_base_are_refused_and_switches_are_noticed(tmp_path):
    peft = pytest.importorskip("peft")
    tf = pytest.importorskip("transformers")
    base = tf.BertModel(
        tf.BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=20,
        )
    ).eval()
    plain = rs.load_model(base, name="plain")
    tuned = peft.get_peft_model(
        base, config := peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    ).eval()
    tuned.add_adapter("second", config)
    data = {"input_ids": torch.randint(1, 49, (20, 7))}
    with pytest.raises(ValueError, match="'plain' and 'tuned' are one module, a BertModel"):
        rs.record([plain, rs.load_model(tuned, name="tuned")], data, pool="mean", progress=False)
    models = []
    for name in ("default", "second"):
        tuned.set_adapter(name)
        models.append(rs.load_model(tuned, name=name))
    with pytest.raises(ValueError, match="'default' and 'second' are one module"):
        rs.record(models, data, pool="mean", progress=False)

    def scale():
        for part in tuned.modules():
            if isinstance(getattr(part, "scaling", None), dict):
                part.scaling["second"] *= 3

    rec(tuned, data, ["output"], pool="mean", into=tmp_path)
    assert len(rec(tuned, data, ["output"], pool="mean", into=tmp_path)) == 1
    with tuned.disable_adapter(), pytest.raises(ValueError, match="already has"):
        rec(tuned, data, ["output"], pool="mean", into=tmp_path)
    assert len(rec(tuned, data, ["output"], pool="mean", into=tmp_path)) == 1
    for change in (scale, lambda: tuned.set_adapter("default")):
        change()
        with pytest.raises(ValueError, match="already has"):
            rec(tuned, data, ["output"], pool="mean", into=tmp_path)


def test_the_stand_ins_are_what_they_stand_for():
    """A wrapper compares with nothing, an offloaded model has no weights between passes."""
    with pytest.raises(NotImplementedError, match="knows no aten.eq"):
        _ = quantised(Flattened, mlp())[0].weight == 1
    module = offloaded(mlp())
    assert module(X).shape == (30, 4) and all(weight.is_meta for weight in module.parameters())
