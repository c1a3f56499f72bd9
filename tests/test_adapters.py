"""Folders that hold an adapter of peft: base and adapter together, with the values that peft gives, or an error that
says what to do.
"""

import importlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shims import vision  # noqa: F401 - transformers asks for torchvision where it is there
from test_handed_over import TEXT, close, record

import repsim_nb as rs
from repsim_nb.inputs.models import adapters as module_under_test

tf = pytest.importorskip("transformers")
IDS = torch.randint(3, 40, (12, 7), generator=torch.Generator().manual_seed(2))
LLAMA = {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0}
T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    tf.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def peft():
    return pytest.importorskip("peft")


@pytest.fixture
def base(tmp_path):
    """A small Llama, as transformers saves it."""
    tf.LlamaForCausalLM(tf.LlamaConfig(**LLAMA)).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapted(peft, module, folder, **config):
    """A module with a LoRA that changes what it gives, saved."""
    model = peft.get_peft_model(module, peft.LoraConfig(r=4, **config))
    for name, weight in model.named_parameters():
        if "lora_B" in name or "score" in name or "classifier" in name:
            weight.data += torch.randn_like(weight) * 0.3
    model.save_pretrained(folder)
    return model.eval()


QUERIES = {"target_modules": ["q_proj", "v_proj"]}


@torch.no_grad()
def test_base_and_adapter_are_loaded_and_layers_have_the_names_of_the_base(peft, base, tmp_path):
    model = adapted(
        peft, tf.LlamaForCausalLM.from_pretrained(base), tmp_path / "lora", task_type="CAUSAL_LM", **QUERIES
    )
    states = model(IDS, output_hidden_states=True).hidden_states
    loaded, plain = rs.load_model(tmp_path / "lora"), rs.load_model(base)
    assert loaded.layers == plain.layers == ("embed_tokens", "layers.0", "layers.1", "output")
    assert (loaded.name, loaded.card["adapter"], loaded.card["base"]) == ("lora", "LORA", "base")
    got = record([loaded, plain], {"input_ids": IDS}, pool="mean")
    close(got.where(model="lora")["layers.0"], states[1].mean(1))
    close(got.where(model="lora")["output"], states[-1].mean(1))
    close(got.where(model="base")["output"], tf.LlamaModel.from_pretrained(base).eval()(IDS).last_hidden_state.mean(1))
    assert not np.allclose(got.where(model="lora")["output"], got.where(model="base")["output"], atol=0.01)
    close(record(model, {"input_ids": IDS}, "output", pool="mean")["output"], model(IDS).logits.mean(1))


@torch.no_grad()
def test_a_head_that_came_with_the_adapter_is_kept(peft, base, tmp_path):
    module = tf.LlamaForSequenceClassification.from_pretrained(base, num_labels=5)
    model = adapted(peft, module, tmp_path / "lora", task_type="SEQ_CLS", **QUERIES)
    got = record(f"transformers:{tmp_path / 'lora'}", {"input_ids": IDS}, "output")["output"]
    assert got.shape == (12, 5)
    close(got, model(IDS).logits)


@torch.no_grad()
def test_the_encoder_of_a_translator_and_a_base_without_a_task(peft, tmp_path):
    tf.T5ForConditionalGeneration(tf.T5Config(**T5)).save_pretrained(tmp_path / "t5")
    model = adapted(
        peft,
        tf.T5ForConditionalGeneration.from_pretrained(tmp_path / "t5"),
        tmp_path / "lora",
        task_type="SEQ_2_SEQ_LM",
        target_modules=["q", "v"],
    )
    loaded = rs.load_model(tmp_path / "lora")
    assert loaded.layers == rs.load_model(tmp_path / "t5").layers
    close(loaded.module(IDS).last_hidden_state, model.get_base_model().encoder(IDS).last_hidden_state)
    tf.BertForMaskedLM(tf.BertConfig(**TEXT)).save_pretrained(tmp_path / "bert")
    model = adapted(
        peft, tf.BertForMaskedLM.from_pretrained(tmp_path / "bert"), tmp_path / "masked", target_modules=["query"]
    )
    close(
        rs.load_model(tmp_path / "masked").module(IDS).last_hidden_state,
        model(IDS, output_hidden_states=True).hidden_states[-1],
    )


@torch.no_grad()
def test_an_adapter_around_its_base_keeps_its_head_and_needs_all_its_weights(peft, base, tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(tf.LlamaForCausalLM.from_pretrained(base), config).eval()
    model.save_pretrained(tmp_path / "prompt")
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    close(rs.load_model(tmp_path / "prompt").module(**inputs).logits, model(**inputs).logits)
    weights = load_file(base / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if name != "lm_head.weight"},
        base / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match="do not fill LlamaForCausalLM: they lack 'lm_head.weight'"):
        rs.load_model(tmp_path / "prompt")
    adapted(peft, tf.LlamaForCausalLM.from_pretrained(base), tmp_path / "lora", task_type="CAUSAL_LM", **QUERIES)
    rs.load_model(tmp_path / "lora")  # the head is left off
    save_file(
        {name: value for name, value in weights.items() if "layers.1.mlp" not in name},
        base / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match="they lack 'model.layers.1.mlp.down_proj.weight'"):
        rs.load_model(tmp_path / "lora")


def changed(folder, **settings):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_an_adapter_that_does_not_fit_is_refused(peft, base, tmp_path):
    folder = tmp_path / "lora"
    adapted(peft, tf.LlamaForCausalLM.from_pretrained(base), folder, task_type="CAUSAL_LM", **QUERIES)
    changed(folder, target_modules=["q_proj"])
    with pytest.raises(ValueError, match="does not fit the LlamaForCausalLM .* no place for '.*v_proj.lora_A.weight'"):
        rs.load_model(folder)
    changed(folder, target_modules=["q_proj", "v_proj", "k_proj"])
    with pytest.raises(ValueError, match="does not fit.*missing adapter keys.*k_proj"):
        rs.load_model(folder)
    changed(folder, target_modules=["q_proj", "v_proj"], r=2)
    with pytest.raises(ValueError, match="could not be put into a LlamaForCausalLM.*size mismatch"):
        rs.load_model(folder)
    changed(folder, r=4, peft_type="OTHER")
    with pytest.raises(ValueError, match="adapter_config.json was not understood by peft"):
        rs.load_model(folder)


# -- errors without peft, or without the base model


def written(folder, base, **settings):
    folder.mkdir(exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "target_modules": ["q_proj"],
        **settings,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"base_model.model.x": torch.ones(1)}, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    "name, moved", [("org/model", False), ("/nowhere/model", True), ("runs/a/b", True), (None, False)]
)
def test_an_adapter_whose_base_is_not_here_says_what_to_do(name, moved, tmp_path):
    folder = written(tmp_path / "lora", name)
    words = (
        r"has an adapter \(LORA\) of the base model '.*', which is no folder of transformers on this machine. Load"
        r" both.*peft.PeftModel.from_pretrained\(transformers.AutoModelForCausalLM"
        r".*load_model\(module\). Or save the merged model once,"
        r" module.merge_and_unload\(\).save_pretrained\(new_folder\)"
    )
    for spec in (folder, f"transformers:{folder}"):
        with pytest.raises(ValueError, match=words) as raised:
            rs.load_model(spec)
        assert ("base_model_name_or_path" in str(raised.value)) == moved
    with pytest.raises(ValueError, match="load its folder, load_model"):
        rs.load_model(folder / "adapter_model.safetensors")


def test_an_adapter_without_peft_says_what_to_do(base, tmp_path, monkeypatch):
    folder, find = written(tmp_path / "lora", str(base)), importlib.util.find_spec
    monkeypatch.setattr(
        module_under_test.importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else find(name, *rest)
    )
    with pytest.raises(
        ValueError,
        match=(
            r"peft, which puts it into the base model, is not installed: pip install peft. Or, on a machine that has"
            r" peft, save the merged model once.*merge_and_unload"
        ),
    ):
        rs.load_model(folder)


def test_an_adapter_beside_a_whole_model_is_not_guessed(base, tmp_path):
    folder = written(tmp_path / "both", str(base))
    for file in base.iterdir():
        shutil.copy(file, folder)
    with pytest.raises(
        ValueError,
        match=(
            r"next to it a whole model \('model.safetensors'\). It is not clear which one is meant. Move"
            r" adapter_config.json to another folder"
        ),
    ):
        rs.load_model(folder)
    with pytest.raises(ValueError, match="an adapter has no untrained twin"):
        rs.load_model(folder, weights="random")
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(ValueError, match="adapter_config.json is damaged"):
        rs.load_model(folder)
    (folder / "adapter_config.json").unlink()
    assert rs.load_model(folder).name == "both"
