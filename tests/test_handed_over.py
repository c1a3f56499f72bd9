"""What people hand over: files, folders and objects of other kinds.

Each gives a model with the right rows, or an error that says what to do.
"""

import argparse
import collections
import importlib
import json
import pathlib
import pickle
import sys
import types
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from shims import vision  # noqa: F401 - transformers asks for torchvision where it is there
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models import Pictures, Texts

tf = pytest.importorskip("transformers")

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "small",
    "cat",
    "sat",
    "here",
    "dog",
    "ran",
    "home",
    "query",
    ":",
]
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 40}
IDS = torch.randint(5, 40, (6, 7), generator=torch.Generator().manual_seed(2))
RNG = np.random.default_rng(0)
SENTENCES = [" ".join(RNG.choice(WORDS[5:13], RNG.integers(1, 9))) for _ in range(12)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    tf.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small BERT with a tokenizer, as transformers saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    tf.BertModel(tf.BertConfig(**TEXT)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 16})
    )
    return folder


def record(model, data, layers=None, **options):
    """Recorded without a word, but for texts that are left out because they differ in length."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*left out.*")
        return rs.record(model, data, layers, progress=False, **options)


def close(got, expected):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), atol=2e-5)


# -- files of other kinds

FILES = {
    "m.onnx": "graph for ONNX Runtime.*Pass the module that was exported",
    "m.h5": r"Load it in Keras, record there.*rs.from_arrays\(",
    "m.hdf5": "Load it in Keras",
    "m.keras": "Load it in Keras",
    "tf_model.h5": "Convert it with transformers 4.*from_tf=True",
    "flax_model.msgpack": "Convert it with transformers 4.*from_flax=True",
    "m.gguf": r"AutoModel.from_pretrained\(folder, gguf_file='NAME.gguf'\); then load_model\(module\)",
    "m.pt2": r"torch.export.unflatten\(torch.export.load\(file\)\)",
    "m.tflite": "TensorFlow writes it.*rs.from_arrays",
    "m.pb": "TensorFlow writes it",
    "m.ckpt.index": "TensorFlow writes it",
    "m.mlmodel": "Pass the module that was compiled",
    "m.npz": r"rs.from_arrays\(file\).*module.load_state_dict",
    "m.joblib": "refused: it is a pickle, so reading it could run code.*scikit-learn.*rs.from_arrays",
    "config.json": "configuration.*give its folder, 'transformers:FOLDER'",
    "m.zip": "archive. Unpack it",
    "__0_0.distcp": "dcp_to_torch_save",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_says_what_to_do(name, tmp_path):
    (tmp_path / name).write_bytes(b"no weights of torch")
    for spec in (str(tmp_path / name), tmp_path / name, f"checkpoint:{tmp_path / name}"):
        with pytest.raises(ValueError, match=FILES[name]):
            rs.load_model(spec)


def test_what_torch_wrote_is_known_by_its_content(tmp_path):
    module = nn.Linear(3, 2)
    torch.save(module.state_dict(), tmp_path / "odd.h5")
    loaded = rs.load_model(f"checkpoint:{tmp_path / 'odd.h5'}", architecture=nn.Linear(3, 2))
    assert torch.equal(loaded.module.weight, module.weight), "whatever its name"
    for name in ("a.ckpt", "b.bin", "c.pth.tar"):
        torch.save({"state_dict": module.state_dict()}, tmp_path / name)
        for spec in (str(tmp_path / name), tmp_path / name):
            loaded = rs.load_model(spec, architecture=nn.Linear(3, 2))
            assert torch.equal(loaded.module.weight, module.weight) and loaded.name == name[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(tmp_path / "scripted.pt")
    with pytest.raises(
        ValueError, match=r"torch.jit compiled this model.*torch.jit.load\('scripted.pt'\).state_dict\(\)"
    ):
        rs.load_model(tmp_path / "scripted.pt", architecture=module)
    torch.export.save(torch.export.export(module, (torch.ones(2, 3),)), tmp_path / "program.pt2")
    (tmp_path / "program.pt2").rename(tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "older.pt", "w") as older:  # as torch 2.6 writes it
        for name in ("serialized_exported_program.json", "serialized_state_dict.pt", "version"):
            older.writestr(name, b"{}")
    for name in ("program.pt", "older.pt"):
        with pytest.raises(ValueError, match=r"torch.export.unflatten\(torch.export.load\(file\)\)"):
            rs.load_model(tmp_path / name, architecture=module)
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(
        ValueError, match=r"refused: .*'torch.nn.modules.linear.Linear'.*weights_only=False\). Then pass the module"
    ):
        rs.load_model(tmp_path / "whole.pt")


def test_a_file_of_weights_inside_a_folder_names_the_folder(bert, tmp_path):
    module = tf.BertModel.from_pretrained(bert)
    module.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    for file in (
        bert / "model.safetensors",
        tmp_path / "shards" / "model.safetensors.index.json",
        next((tmp_path / "shards").glob("*-of-*")),
    ):
        with pytest.raises(
            ValueError,
            match=f"load its folder, load_model\\('transformers:{file.parent}'\\).*Or name the model.*architecture=",
        ):
            rs.load_model(file)
        loaded = rs.load_model(str(file), architecture=tf.BertModel(tf.BertConfig(**TEXT)))
        assert all(torch.equal(value, loaded.module.state_dict()[name]) for name, value in module.state_dict().items())


# -- checkpoints with settings next to the weights

RAN = []


def foreign(module, name, base=object):
    """A class under the name that another library has, whose every method leaves a trace."""

    def ran(self, *given, **named):
        RAN.append(name)

    kind = type(
        name,
        (base,),
        {"__module__": module, "__qualname__": name, "__setstate__": ran, "__init__": lambda self, *a: None},
    )
    return kind


@pytest.fixture
def libraries(monkeypatch):
    """Classes of Lightning and omegaconf, as a pickle names them; the libraries need not be installed."""
    found = {}
    for module, name, base in (
        ("lightning.fabric.utilities.data", "AttributeDict", dict),
        ("omegaconf.dictconfig", "DictConfig", object),
        ("mine", "Settings", object),
    ):
        parts = module.split(".")
        for k in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:k]), types.ModuleType(".".join(parts[:k])))
        found[name] = foreign(module, name, base)
        setattr(sys.modules[module], name, found[name])
    return found


def settings(libraries):
    attributes, config = libraries["AttributeDict"](), libraries["DictConfig"]()
    attributes["width"], config.width = 3, 3
    return {
        "Namespace": {"args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"))},
        "AttributeDict": attributes,
        "DictConfig": config,
        "numpy": {"best": np.float64(0.5), "curve": np.arange(3), "steps": np.int64(3)},
        "containers": collections.defaultdict(list, {"a": [range(3), frozenset([1])]}),
    }


@pytest.mark.parametrize("kind", ["Namespace", "AttributeDict", "DictConfig", "numpy", "containers"])
def test_plain_settings_next_to_the_weights_are_not_read_and_run_nothing(kind, tmp_path, libraries):
    net = nn.Linear(3, 2)
    content = {
        "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
        "hyper_parameters": settings(libraries)[kind],
        "epoch": 3,
    }
    torch.save(content, tmp_path / "last.ckpt")
    RAN.clear()
    before = set(torch.serialization.get_safe_globals())
    for spec in (tmp_path / "last.ckpt", str(tmp_path / "last.ckpt"), f"checkpoint:{tmp_path / 'last.ckpt'}"):
        assert torch.equal(rs.load_model(spec, architecture=nn.Linear(3, 2)).module.weight, net.weight)
    assert not RAN and set(torch.serialization.get_safe_globals()) == before


def test_settings_are_not_read_where_another_library_allowed_their_classes(tmp_path, libraries):
    """torch_geometric allows list, dict and defaultdict for the whole process."""
    net = nn.Linear(3, 2)
    torch.save(
        {"state_dict": net.state_dict(), "hyper_parameters": settings(libraries)["containers"]}, tmp_path / "last.ckpt"
    )
    with torch.serialization.safe_globals([list, dict, (collections.defaultdict, "collections.defaultdict")]):
        before = set(torch.serialization.get_safe_globals())
        assert torch.equal(
            rs.load_model(tmp_path / "last.ckpt", architecture=nn.Linear(3, 2)).module.weight, net.weight
        )
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("value", [nn.CrossEntropyLoss(), print, len])
def test_other_objects_are_refused_with_their_names(value, tmp_path):
    torch.save(
        {"state_dict": nn.Linear(3, 2).state_dict(), "hyper_parameters": {"x": value, "args": argparse.Namespace()}},
        tmp_path / "last.ckpt",
    )
    with pytest.raises(
        ValueError,
        match=(
            r"refused: it contains Python objects"
            r" .*\('(builtins.(print|len)|torch.nn.modules.loss.CrossEntropyLoss)'\).*load_from_checkpoint"
        ),
    ):
        rs.load_model(tmp_path / "last.ckpt", architecture=nn.Linear(3, 2))


def test_an_object_of_a_class_of_ones_own_is_refused_and_never_made(tmp_path, libraries):
    torch.save(
        {"state_dict": nn.Linear(3, 2).state_dict(), "hyper_parameters": libraries["Settings"]()},
        tmp_path / "last.ckpt",
    )
    RAN.clear()
    with pytest.raises(ValueError, match="refused: .*'mine.Settings'"):
        rs.load_model(tmp_path / "last.ckpt", architecture=nn.Linear(3, 2))
    assert not RAN


class WithState(nn.Linear):
    """A module that saves settings among its weights."""

    def get_extra_state(self):
        return {"settings": [argparse.Namespace(scale=2)]}

    def set_extra_state(self, state):
        self.state = state


def test_settings_that_a_module_needs_are_refused(tmp_path):
    torch.save(WithState(3, 2).state_dict(), tmp_path / "t.pt")
    with pytest.raises(ValueError, match="refused: it contains Python objects"):
        rs.load_model(tmp_path / "t.pt", architecture=WithState(3, 2))


# -- folders


def test_a_trainers_folder_names_its_checkpoints_newest_first(bert, tmp_path, monkeypatch):
    module = tf.BertModel.from_pretrained(bert)
    for step in (500, 1000, 20):
        module.save_pretrained(tmp_path / "run" / f"checkpoint-{step}")
    (tmp_path / "run" / "checkpoint-7").mkdir()
    newest = ", ".join(f"'transformers:{tmp_path / 'run'}/checkpoint-{step}'" for step in (1000, 500, 20))
    for spec in (tmp_path / "run", str(tmp_path / "run"), f"transformers:{tmp_path / 'run'}"):
        with pytest.raises(
            ValueError, match=f"has no config.json.*checkpoints of a Trainer, newest first: {newest}. Load one of these"
        ):
            rs.load_model(spec)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="'transformers:run/checkpoint-1000'"):
        rs.load_model("transformers:run")
    assert rs.load_model("transformers:run/checkpoint-1000").name == "checkpoint-1000"
    module.config.save_pretrained(tmp_path / "run")
    module.save_pretrained(tmp_path / "run")
    assert rs.load_model("transformers:run").name == "run", "with a final model next to them this one is meant"
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "mine" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "mine" / "checkpoint-9" / "model.safetensors")
    with pytest.raises(
        ValueError, match="'mine/checkpoint-9/model.safetensors'. Load one of these, with architecture="
    ):
        rs.load_model("transformers:mine")


def layout(folder, **files):
    """Empty files, or with this content; double underscores are folders."""
    for name, content in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


@pytest.mark.parametrize(
    "files, words",
    [
        (
            {
                "model_index_dot_json": "{}",
                "unet__config_dot_json": '{"_class_name": "UNet2DModel"}',
                "text__config_dot_json": '{"model_type": "bert"}',
            },
            (
                r"pipeline of diffusers.*load 'transformers:.*text'; or create a"
                r" module.*diffusers.UNet2DModel.from_pretrained\('.*unet'\)"
            ),
        ),
        (
            {"config_dot_json": '{"_class_name": "UNet2DModel"}'},
            r"diffusers.UNet2DModel.from_pretrained\('.*'\), and pass it",
        ),
        (
            {"config_dot_json": '{"architecture": "resnet18", "num_classes": 5}', "model_dot_safetensors": ""},
            r"load_model\('.*model.safetensors', architecture='timm:resnet18', options=\{'num_classes': 5\}\)",
        ),
        ({"a_dot_distcp": ""}, "distributed checkpoint.*dcp_to_torch_save"),
        ({"global_step10__x": ""}, "get_fp32_state_dict_from_zero_checkpoint"),
        ({"saved_model_dot_pb": ""}, "model of TensorFlow.*rs.from_arrays"),
        ({"version_0__checkpoints__last_dot_ckpt": ""}, "checkpoints of Lightning, newest first: '.*last.ckpt'"),
        ({"weights_dot_pt": ""}, "weights alone, '.*weights.pt'. Load the file, with architecture="),
        ({"model_dot_onnx": ""}, "graph for ONNX Runtime"),
        (
            {"snapshots__abc__config_dot_json": '{"model_type": "bert"}'},
            "hub's cache; the model is in 'transformers:.*snapshots/abc'",
        ),
        ({"inner__config_dot_json": '{"model_type": "bert"}'}, "Folders in it contain models: 'transformers:.*inner'"),
    ],
)
def test_a_folder_of_another_kind_says_what_to_do(files, words, tmp_path):
    folder = layout(tmp_path / "there", **files)
    for spec in (folder, f"transformers:{folder}"):
        with pytest.raises(ValueError, match=words):
            rs.load_model(spec)


# -- objects


LINEAR = nn.Linear(2, 2)
OBJECTS = {  # created when a test runs: an optimizer and a class of transformers take seconds to import
    "a state dict": (LINEAR.state_dict, r"state dict, weights without a model.*module.load_state_dict\(weights\)"),
    "a checkpoint": (lambda: {"state_dict": LINEAR.state_dict(), "epoch": 1}, r"checkpoint\['state_dict'\]"),
    "state dicts": (lambda: [LINEAR.state_dict()] * 2, "these are state dicts.*Create a module for each"),
    "what load_state_dict returns": (
        lambda: LINEAR.load_state_dict(LINEAR.state_dict()),
        "names of keys. Pass the module itself",
    ),
    "models": (lambda: [LINEAR, LINEAR], "takes one model"),
    "models by name": (lambda: {"a": LINEAR}, r"load_model\(module, name=name\) for name, module in models.items\(\)"),
    "activations": (lambda: {"a/b": np.ones((3, 2))}, r"rs.from_arrays\(arrays\)"),
    "an array": (lambda: np.ones((3, 2)), "that is data; the model comes first"),
    "a tensor": (lambda: torch.ones(3, 2), "that is data; the model comes first"),
    "a dataset": (lambda: torch.utils.data.TensorDataset(torch.ones(3)), "that is data; the model comes first"),
    "a function": (lambda: lambda x: x, "a function has no layers"),
    "an optimizer": (lambda: torch.optim.SGD(LINEAR.parameters(), lr=0.1), "pass the module whose weights it trains"),
    "bytes": (lambda: b"weights", "give the path of the file"),
    "an auto class": (
        lambda: tf.AutoModel,
        r"the class AutoModel: create a model first, AutoModel.from_pretrained\(folder\)",
    ),
    "a class of models": (
        lambda: tf.BertModel,
        r"BertModel is a class. Create one first, load_model\(BertModel.from_pretrained\(folder\)\)",
    ),
    "a class of modules": (lambda: nn.Linear, r"Linear is a class. Create one first, load_model\(Linear\(...\)\)"),
    "a configuration": (lambda: tf.BertConfig(**TEXT), r"AutoModel.from_config\(config\) creates an untrained model"),
    "modules without a forward": (lambda: nn.ModuleList([LINEAR]), "has no forward.*one of the modules in it"),
    "nothing": (lambda: None, "got NoneType"),
}


@pytest.mark.parametrize("which", OBJECTS)
def test_an_object_of_another_kind_says_what_to_do(which):
    create, words = OBJECTS[which]
    with pytest.raises(TypeError, match=words):
        rs.load_model(create())


def test_objects_of_other_libraries_are_known_by_their_names():
    def of(module, name, **attributes):
        return type(name, (), {"__module__": module, **attributes})()

    pipe = of(
        "diffusers.pipelines.x",
        "DiffusionPipeline",
        components={"unet": nn.Linear(2, 2), "scheduler": object(), "vae": nn.Linear(2, 2)},
    )
    for thing, words in (
        (pipe, r"pipeline is several models. Pass one of its parts, load_model\(pipe.unet\); it has 'unet', 'vae'"),
        (of("transformers.trainer", "Trainer"), "pass trainer.model"),
        (of("lightning.pytorch.trainer.trainer", "Trainer"), "pass trainer.lightning_module"),
        (of("keras.src.models", "Sequential"), r"do not run in torch: record there.*rs.from_arrays"),
        (of("flax.linen.module", "Module"), "do not run in torch.*rs.from_arrays"),
        (
            of("onnxruntime.capi", "InferenceSession"),
            "does not run as modules of torch.*Pass the module that it was exported from",
        ),
        (of("sklearn.linear_model", "LogisticRegression"), "another library than torch.*rs.from_arrays"),
        (of("peft.tuners.lora", "PeftConfigMixin"), "peft.get_peft_model"),
        (of("mine", "Holder", model=nn.Linear(2, 2)), "pass its attribute `model`"),
    ):
        with pytest.raises(TypeError, match=words):
            rs.load_model(thing)
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=importlib.import_module("tokenizers").Tokenizer(
            importlib.import_module("tokenizers").models.BPE()
        )
    )
    with pytest.raises(TypeError, match="a tokenizer or processor prepares inputs.*padding=True"):
        rs.load_model(tokenizer)


def test_a_module_without_its_tokenizer_takes_ids_and_says_so():
    module = tf.BertModel(tf.BertConfig(**TEXT)).eval()
    with torch.no_grad():
        close(record(module, IDS, "output", pool="mean")["output"], module(IDS).last_hidden_state.mean(1))
    with pytest.raises(
        ValueError,
        match=r"'BertModel' came without its tokenizer.*tokenizer\(sentences, padding=True.*'transformers:FOLDER'",
    ):
        rs.record(module, SENTENCES, progress=False)


# -- pipelines of transformers


@pytest.mark.parametrize(
    "task, kind",
    [
        ("feature-extraction", "BertModel"),
        ("text-classification", "BertForSequenceClassification"),
        ("fill-mask", "BertForMaskedLM"),
    ],
)
def test_a_pipeline_brings_its_tokenizer(task, kind, bert):
    tokenizer = tf.AutoTokenizer.from_pretrained(bert)
    pipe = tf.pipeline(task, model=getattr(tf, kind)(tf.BertConfig(**TEXT)).eval(), tokenizer=tokenizer)
    model = rs.load_model(pipe, name="mine")
    assert model.module is pipe.model and model.name == "mine" and isinstance(model.preprocess, Texts)
    with torch.no_grad():
        alone = [pipe.model(**tokenizer(text, return_tensors="pt"))[0] for text in SENTENCES]
    expected = np.stack([(one[0].mean(0) if one.ndim == 3 else one[0]).numpy() for one in alone])
    close(record(pipe, SENTENCES, "output", pool="mean")["output"], expected)


def test_a_pipeline_for_pictures_brings_its_processor():
    image = importlib.import_module("PIL.Image")
    processor = tf.ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.2] * 3, image_std=[0.4] * 3)
    config = tf.ViTConfig(
        **{key: value for key, value in TEXT.items() if key != "vocab_size"}, image_size=16, patch_size=8, num_labels=3
    )
    pipe = tf.pipeline(
        "image-classification", model=tf.ViTForImageClassification(config).eval(), image_processor=processor
    )
    pictures = RNG.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    model = rs.load_model(pipe)
    assert isinstance(model.preprocess, Pictures) and model.preprocess.mean == (0.2, 0.2, 0.2)
    with torch.no_grad():
        expected = pipe.model(**processor([image.fromarray(one) for one in pictures], return_tensors="pt")).logits
    close(record(pipe, pictures, "output")["output"], expected)


def test_a_pipeline_that_prepares_otherwise_says_what_to_do():
    config = tf.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,),
        conv_stride=(5,),
        conv_kernel=(10,),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        num_feat_extract_layers=1,
    )
    pipe = tf.pipeline(
        "audio-classification",
        model=tf.Wav2Vec2ForSequenceClassification(config),
        feature_extractor=tf.Wav2Vec2FeatureExtractor(),
    )
    with pytest.raises(
        TypeError, match=r"rs.record\(pipe.model, dict\(pipe.feature_extractor\(..., return_tensors='pt'\)\)\)"
    ):
        rs.load_model(pipe)


# -- timm without a head


def test_each_map_of_a_backbone_is_recorded_by_its_number():
    timm = pytest.importorskip("timm")
    module = timm.create_model("resnet18", features_only=True).eval()
    x = torch.rand(8, 3, 64, 64)
    with torch.no_grad():
        maps = module(x)
    for model in (module, rs.load_model("timm:resnet18", options={"features_only": True}, weights="random")):
        names = [key.layer for key in record(model, x, pool="mean")]
        assert names[-5:] == [f"output[{k}]" for k in range(5)] and "output" not in names
    got = record(module, x, ["output"], pool="mean")
    for k, one in enumerate(maps):
        close(got[f"output[{k}]"], one.mean((2, 3)))
    close(record(module, x, -1, pool="mean")["output[4]"], maps[-1].mean((2, 3)))


def test_pickles_stay_refused_under_every_name(tmp_path):
    for name in ("t.pkl", "t.joblib", "t.ckpt", "t.bin"):
        (tmp_path / name).write_bytes(pickle.dumps({"weight": print}))
        with pytest.raises(ValueError, match=f"{name} is refused: .*could run code"):
            rs.load_model(tmp_path / name, architecture=nn.Linear(2, 2))
