"""Files and objects that cannot be loaded as a model, and what to do with each."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.support.errors import join_names

ARRAYS = "record there, and load the activations as arrays (n, ...): rs.from_arrays({'model/layer': array})"
_LAYERS_OF_KERAS = "keras.Model(model.inputs, [layer.output for layer in model.layers]).predict(x) returns them"
_KERAS = f"Keras and h5py write it. Load it in Keras, {ARRAYS}; {_LAYERS_OF_KERAS}"
_TENSORFLOW = f"TensorFlow writes it. Load it there, {ARRAYS}"
_ONNX = (
    "it is a graph for ONNX Runtime, which does not run layer by layer in torch. Pass the module that was exported; the"
    " package onnx2torch converts many graphs to modules: onnx2torch.convert(file)"
)
_DEVICE = (
    "it is a program for one kind of device, and its layers cannot be recorded. Pass the module that was compiled,"
    " load_model(module)"
)
_EXPORTED = (
    "it is an exported program. torch.export.unflatten(torch.export.load(file)) returns a module that can be recorded,"
    " if it was exported with a dynamic first axis (dynamic_shapes=); pass that, load_model(module)"
)
_ARCHIVE = "it is an archive. Unpack it, and give the file or the folder of weights inside"
_CONFIGURATION = (
    "it is a configuration without weights. If transformers wrote it, give its folder, 'transformers:FOLDER'; else give"
    " the file of the weights, with architecture="
)
_OTHER_LIBRARY = f"it was written by another library than torch. Load it there, {ARRAYS}"

# the end of the name of a file -> its kind and what to do with it; the first match counts
OTHER_FILES: dict[tuple[str, ...], str] = {
    (".onnx", ".ort"): _ONNX,
    ("tf_model.h5",): (
        "it contains weights for TensorFlow, and transformers 5 reads none. Convert it with transformers 4,"
        " AutoModel.from_pretrained(folder, from_tf=True).save_pretrained(new_folder), and load"
        " 'transformers:NEW_FOLDER'"
    ),
    (".keras", ".h5", ".hdf5"): _KERAS,
    (".mat", ".csv", ".parquet", ".feather", ".nc"): (
        "it contains data, not weights. If these are activations, read the file and give the arrays:"
        " rs.from_arrays({'model/layer': array})"
    ),
    (".pb", ".ckpt.index", ".ckpt.meta", ".data-00000-of-00001", ".tflite", ".lite"): _TENSORFLOW,
    (".msgpack",): (
        "Flax writes it, and transformers 5 reads no Flax weights. Convert it with transformers 4,"
        " AutoModel.from_pretrained(folder, from_flax=True).save_pretrained(new_folder), and load"
        f" 'transformers:NEW_FOLDER'; or load it in JAX, {ARRAYS}"
    ),
    (".orbax", ".orbax-checkpoint"): f"JAX writes it. Load it there, {ARRAYS}",
    (".gguf", ".ggml"): (
        "its weights are quantised for llama.cpp. transformers turns many of them back into floats (with the packages"
        " gguf and accelerate): module = AutoModel.from_pretrained(folder, gguf_file='NAME.gguf'); then"
        " load_model(module)"
    ),
    (".pt2",): _EXPORTED,
    (".mlmodel", ".mlpackage", ".engine", ".plan", ".trt", ".pte", ".rknn"): _DEVICE,
    (".npz", ".npy"): (
        "it contains arrays. If they are activations, no model is needed: rs.from_arrays(file). If they are weights,"
        " put them into the module, module.load_state_dict({name: torch.from_numpy(array) for name, array in"
        " np.load(file).items()}), and pass it, load_model(module)"
    ),
    (".params", ".pdparams", ".pdmodel", ".caffemodel", ".prototxt"): _OTHER_LIBRARY,
    (".weights", ".t7", ".ot", ".xml", ".skops"): _OTHER_LIBRARY,
    (".nemo",): (
        "it is an archive of NeMo. Load it there, module = nemo.core.ModelPT.restore_from(file), and pass the module,"
        " load_model(module)"
    ),
    (".mar", ".zip", ".tar.gz", ".tgz", ".tar", ".whl", ".7z"): _ARCHIVE,
    (".json", ".yaml", ".yml", ".toml"): _CONFIGURATION,
    (".distcp",): (
        "it is one part of a distributed checkpoint. Join the parts:"
        " torch.distributed.checkpoint.format_utils.dcp_to_torch_save(folder, 'mine.pt'); then load 'mine.pt' with"
        " architecture="
    ),
}
TORCH_TAR = (".pth.tar", ".pt.tar")  # these are written by torch.save


def describe_other_file(file: Path) -> str:
    """Return what a file of another library is and what to do; "" for files of torch and safetensors."""
    name = file.name.lower()
    what = next((advice for ends, advice in OTHER_FILES.items() if name.endswith(ends)), "")
    kind = _find_writer(file)
    if kind == "torch.save" or name.endswith((*TORCH_TAR, ".index.json")):
        return ""
    if kind == "torch.jit.save":
        return (
            f"load_model cannot read the file {file}: torch.jit compiled this model, and the layers of a compiled model"
            f" cannot be recorded. Take its weights, torch.save(torch.jit.load('{file.name}').state_dict(), 'mine.pt'),"
            " and load these with architecture= the module that was compiled"
        )
    what = _EXPORTED if kind == "torch.export.save" else what
    return f"load_model cannot read the file {file}: {what}" if what else ""


_PROGRAMS = {"models/model.json", "serialized_exported_program.json"}  # the second is of older versions of torch


def is_zip(file: Path) -> bool:
    """Return whether a file is a zip file, which torch.save writes; a damaged end makes zipfile raise."""
    with suppress(zipfile.BadZipFile):
        return zipfile.is_zipfile(file)
    return False


def _find_writer(file: Path) -> str:
    """Return the function of torch that wrote a zip file, "" for other files."""
    if not file.is_file() or not is_zip(file):
        return ""
    inside: set[str] = set()
    with suppress(Exception), zipfile.ZipFile(file) as whole:  # a damaged file is reported when it is read
        inside = {name.partition("/")[2] or name for name in whole.namelist()}
    if "constants.pkl" in inside and "data.pkl" in inside:
        return "torch.jit.save"
    return "torch.save" if "data.pkl" in inside else "torch.export.save" if _PROGRAMS & inside else ""


# -- inputs

# an input of a model with several kinds of inputs -> possible names of the part of the model that takes it
_PARTS = {
    "pixel_values": ("vision_model", "vision_tower", "visual"),
    "input_ids": ("text_model", "language_model"),
    "input_features": ("audio_model",),
    "input_values": ("audio_model",),
}


def missing_inputs(module: nn.Module, batch: Any) -> str:
    """Return what a model of transformers with several inputs may lack, as a sentence; "" if it is not known."""
    config = getattr(module, "config", None)
    if not isinstance(batch, Mapping) or not hasattr(config, "model_type"):
        return ""
    if getattr(config, "is_encoder_decoder", False) and not any(name.startswith("decoder_") for name in batch):
        return (
            ". It has a decoder, which may need inputs of its own: give decoder_input_ids too, or record the encoder"
            " alone, rs.record(model.get_encoder(), data)"
        )
    for part in (part for name, some in _PARTS.items() if name in batch for part in some):
        if isinstance(getattr(module, part, None), nn.Module):
            return (
                ". If it has inputs of several kinds, give all of them, or record a part of it alone,"
                f" rs.record(model.{part}, data)"
            )
    return ""


# -- objects

_RECORD = "the model comes first and the data second, rs.record(model, data)"
_TOKENIZER = (
    "a tokenizer or processor prepares inputs and is no model. Pass the model, and the output of the tokenizer as data:"
    " rs.record(model, dict(tokenizer(texts, padding=True, return_tensors='pt')))"
)
_RUNTIME = (
    "it does not run as modules of torch, so its layers cannot be recorded. Pass the module that it was exported from;"
    f" or {ARRAYS}"
)
_SETTINGS = (
    "a configuration has no weights: AutoModel.from_config(config) creates an untrained model,"
    " AutoModel.from_pretrained(folder) a trained one"
)
_ADAPTER = (
    "a configuration of an adapter has no weights: peft.get_peft_model(module, config) or"
    " peft.PeftModel.from_pretrained(module, folder) creates the model"
)
_WEIGHTS = "it is the name of weights: create the model, torchvision.models.resnet18(weights=...), and pass it"
_TOKENIZERS = {"PreTrainedTokenizerBase", "ProcessorMixin", "ImageProcessingMixin", "FeatureExtractionMixin"}
_RUNTIMES = {
    *("onnxruntime", "onnx", "openvino", "tensorrt", "coremltools", "llama_cpp", "vllm", "ctransformers", "gguf"),
    "mlx",
}
# (libraries, names of classes) -> what to do; a class counts by its own name and by those of its bases
_OBJECTS: list[tuple[set[str], set[str], str]] = [
    (
        {"transformers", "trl", "sentence_transformers", "setfit"},
        {"Trainer"},
        "the model is inside the Trainer: pass trainer.model",
    ),
    ({"lightning", "pytorch_lightning"}, {"Trainer"}, "the model is inside the Trainer: pass trainer.lightning_module"),
    ({"transformers"}, {"PreTrainedConfig", "PretrainedConfig"}, _SETTINGS),
    ({"transformers"}, _TOKENIZERS, _TOKENIZER),
    ({"peft"}, {"PeftConfigMixin"}, _ADAPTER),
    ({"torchvision"}, {"WeightsEnum"}, _WEIGHTS),
    ({"fastai"}, {"Learner"}, "the model is inside the Learner: pass learner.model"),
    ({"setfit"}, {"SetFitModel"}, "its encoder is a SentenceTransformer: pass model.model_body"),
    ({"skorch"}, {"NeuralNet"}, "the module is inside: pass net.module_"),
    ({"stable_baselines3"}, {"BaseAlgorithm"}, "the modules are in its policy: pass model.policy"),
    ({"keras", "tensorflow", "tf_keras"}, set(), f"its layers do not run in torch: {ARRAYS}; {_LAYERS_OF_KERAS}"),
    ({"flax", "jax", "haiku", "equinox", "jaxlib"}, set(), f"its layers do not run in torch: {ARRAYS}"),
    ({"sklearn", "xgboost", "lightgbm", "catboost"}, set(), f"it is a model of another library than torch: {ARRAYS}"),
    (_RUNTIMES, set(), _RUNTIME),
    ({"optimum"}, {"ORTModel", "OVBaseModel"}, _RUNTIME),
    ({"torch"}, {"Optimizer"}, "an optimizer is no model: pass the module whose weights it trains"),
]


def check_forward(module: nn.Module) -> None:
    """Raise a TypeError for a module whose layers cannot be recorded, with what to pass instead."""
    if isinstance(module, torch.fx.GraphModule) and "range_constraints" in vars(module):  # torch.export's
        raise TypeError(
            "this module comes from torch.export, program.module(), and its layers do not run one by one, so nothing of"
            " it can be recorded. Pass torch.export.unflatten(program), of a program that was exported with a dynamic"
            " first axis (dynamic_shapes=), or the module that was exported."
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"torch.jit compiled this {module.original_name}, and the layers of a compiled module cannot be recorded."
            " Pass the module that was compiled, with the weights of the compiled one,"
            " module.load_state_dict(compiled.state_dict())."
        )
    if type(module).forward is nn.Module.forward and "forward" not in vars(module):  # a ModuleList, for one
        raise TypeError(
            f"a {type(module).__name__} has no forward, so it cannot run. Pass the model that it is a part of, or one"
            " of the modules in it."
        )


def explain_other_object(thing: Any) -> TypeError:
    """Return the error for an object that is no model."""
    called = f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
    return TypeError(
        "load_model takes a spec ('zoo:NAME', 'timm:NAME', 'checkpoint:PATH', ...) or an nn.Module; got"
        f" {called}{_advise(thing)}."
    )


def _advise(thing: Any) -> str:
    kind = thing if isinstance(thing, type) else type(thing)
    names, library = {base.__name__ for base in kind.__mro__}, (kind.__module__ or "").partition(".")[0]
    if isinstance(thing, type):
        factory = "_BaseAutoModelClass" in names or hasattr(thing, "from_pretrained")
        return (
            f": create a model first, {thing.__name__}.from_pretrained(folder)"
            if factory
            else (f": create a model first, {thing.__name__}(...)")
        )
    if "DiffusionPipeline" in names:
        parts = [name for name, part in getattr(thing, "components", {}).items() if isinstance(part, nn.Module)]
        return (
            f": a pipeline is several models. Pass one of its parts, load_model(pipe.{parts[0] if parts else 'PART'});"
            f" it has {join_names(parts)}"
        )
    advice = next(
        (
            advice
            for libraries, classes, advice in _OBJECTS
            if library in libraries and (not classes or classes & names)
        ),
        "",
    )
    if advice:
        return f": {advice}"
    if isinstance(thing, Mapping):
        return _advise_on_mapping(thing)
    if (
        isinstance(thing, (Tensor, np.ndarray))
        or library in ("pandas", "xarray", "polars", "datasets", "PIL")
        or "Dataset" in names
    ):
        return f": that is data; {_RECORD}"
    if isinstance(thing, (bytes, bytearray)) or hasattr(thing, "read"):
        return ": give the path of the file"
    if isinstance(thing, (list, tuple)):
        return _advise_on_list(thing)
    if isinstance(getattr(thing, "model", None), nn.Module):
        return ": the model is inside, pass its attribute `model`"
    if callable(thing):
        return ": a function has no layers. Put its code into an nn.Module; call a function that creates a model first"
    return ""


def _advise_on_mapping(thing: Mapping[Any, Any]) -> str:
    values = list(thing.values())
    inner = next(
        (
            name
            for name in ("state_dict", "model_state_dict", "model", "params")
            if isinstance(thing.get(name), Mapping)
        ),
        None,
    )
    if inner is not None:
        return (
            ": that is the content of a checkpoint. Put the weights into your module,"
            f" module.load_state_dict(checkpoint['{inner}']), and pass the module; or give load_model the path of the"
            " file, with architecture="
        )
    if values and all(isinstance(value, Tensor) for value in values):
        return (
            ": that is a state dict, weights without a model. Put it into your module, module.load_state_dict(weights),"
            " and pass the module"
        )
    if values and all(isinstance(value, np.ndarray) or hasattr(value, "__array__") for value in values):
        return (
            ": these are arrays. If they are activations, no model is needed: rs.from_arrays(arrays). In rs.record"
            f" {_RECORD}"
        )
    if values and all(isinstance(value, (nn.Module, str)) for value in values):
        return (
            ": give one model at a time, and the name as an option: rs.record([load_model(module, name=name) for name,"
            " module in models.items()], data)"
        )
    return f": {_RECORD}"


def _advise_on_list(thing: Sequence[Any]) -> str:
    if {"missing_keys", "unexpected_keys"} & set(getattr(thing, "_fields", ())):
        return ": module.load_state_dict(weights) returns the names of keys. Pass the module itself"
    if thing and all(isinstance(one, Mapping) for one in thing):
        return (
            ": these are state dicts, weights without a model. Create a module for each, load its weights,"
            " module.load_state_dict(weights), and pass the modules, rs.record([a, b], data)"
        )
    if any(isinstance(one, nn.Module) for one in thing):
        return (
            ": load_model takes one model. rs.record takes a list of them, and nothing else in it (some libraries"
            " return a model together with its transforms)"
        )
    return ": load_model takes one model. rs.record takes a list of them"
