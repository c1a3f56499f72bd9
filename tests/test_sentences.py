"""SentenceTransformer models: their embeddings are those of `encode` for each sentence alone, from an object and from a
folder.
"""

import importlib
import json
import pickle
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shims import vision  # noqa: F401 - transformers asks for torchvision where it is there
from test_handed_over import RNG, SENTENCES, TEXT, WORDS, close, record
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models import sentences as module_under_test

tf = pytest.importorskip("transformers")
LAYER = "0.model.encoder.layer.1"


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def parts(library):
    return importlib.import_module("sentence_transformers.sentence_transformer.modules")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    torch.manual_seed(0)
    tf.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("bert")
    tf.BertModel(tf.BertConfig(**TEXT)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 16})
    )
    return folder


@pytest.fixture
def whole(library, parts, bert):
    """A chain with all usual modules."""
    torch.manual_seed(1)
    return library.SentenceTransformer(
        modules=[parts.Transformer(str(bert)), parts.Pooling(32), parts.Dense(32, 8), parts.Normalize()], device="cpu"
    )


def alone(model):
    """The embedding of each sentence, encoded alone."""
    return np.stack([model.encode([text], show_progress_bar=False)[0] for text in SENTENCES])


def test_the_output_is_the_embedding_and_the_module_comes_back_unchanged(whole):
    expected, before = alone(whole), {name: value.clone() for name, value in whole.state_dict().items()}
    whole.train()
    whole[0].model.encoder.layer[1].eval()
    flags = [part.training for part in whole.modules()]
    model = rs.load_model(whole)
    assert model.layers == ("0.model.embeddings", "0.model.encoder.layer.0", LAYER, "1", "2", "3", "output") and list(
        whole._modules
    ) == ["0", "1", "2", "3"]
    got = record(whole, SENTENCES, pool="mean", batch_size=5)
    close(got["output"], expected)
    assert list(got)[-1].layer == "output" and {"1", "2"} <= {key.layer for key in got}
    assert [part.training for part in whole.modules()] == flags and not any(
        part._forward_hooks for part in whole.modules()
    )
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    whole.eval()
    close(whole.encode(SENTENCES), expected)


def test_layers_inside_hold_the_states_of_each_sentence_alone(whole):
    got, seen = record(whole, SENTENCES, [LAYER, "0", "1", "2"], pool="mean"), {LAYER: [], "0": [], "1": [], "2": []}
    hooks = [
        whole.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen[name].append(out if torch.is_tensor(out) else dict(out))
        )
        for name in seen
    ]
    alone(whole)
    for hook in hooks:
        hook.remove()
    close(got[LAYER], torch.cat([one.mean(1) for one in seen[LAYER]]).numpy())
    close(got["0"], torch.cat([one["token_embeddings"].mean(1) for one in seen["0"]]).numpy())
    for name in ("1", "2"):  # each adds to one dict, and not the ids that come first in it
        close(got[name], torch.cat([one["sentence_embedding"] for one in seen[name]]).numpy())


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "weightedmean", ("mean", "max")])
@pytest.mark.parametrize("side", ["right", "left"])
def test_every_kind_of_pooling_with_a_prompt_and_either_side_of_padding(pooling, side, library, parts, bert):
    chain = [parts.Transformer(str(bert)), parts.Pooling(32, pooling_mode=pooling, include_prompt=False)]
    model = library.SentenceTransformer(
        modules=chain, device="cpu", prompts={"query": "query : "}, default_prompt_name="query"
    )
    model.tokenizer.padding_side = side
    close(record(model, SENTENCES, "output", batch_size=7)["output"], alone(model))
    assert model.tokenizer.padding_side == side
    plain = library.SentenceTransformer(modules=chain, device="cpu")
    assert not np.allclose(alone(model), alone(plain), atol=1e-3), "the prompt matters"


def test_an_embedding_that_is_cut_short(library, parts, bert):
    model = library.SentenceTransformer(
        modules=[parts.Transformer(str(bert)), parts.Pooling(32)], device="cpu", truncate_dim=5
    )
    got = record(model, SENTENCES, "output")["output"]
    assert got.shape == (len(SENTENCES), 5)
    close(got, alone(model))


def test_columns_stores_copies_and_pairs(whole, tmp_path):
    expected = alone(whole)
    for data in (whole.preprocess(SENTENCES), dict(whole.preprocess(SENTENCES)), np.array(SENTENCES)):
        close(record(whole, data, "output")["output"], expected)
    model = pickle.loads(pickle.dumps(rs.load_model(whole, name="a")))
    for _ in range(2):
        close(record(model, SENTENCES, "output", into=tmp_path / "store")["output"], expected)
    pair = record([model, rs.load_model(torch.compile(whole), name="b")], SENTENCES, "output")
    assert [key.model for key in pair] == ["a", "b"]
    assert rs.measures.get("cka")(*pair.values()) == pytest.approx(1)
    assert model.describe().loc["2", "shape"] == (8,)


def test_other_chains(library, parts, bert, tmp_path):
    tokenizer = tf.AutoTokenizer.from_pretrained(bert)
    static = library.SentenceTransformer(
        modules=[parts.StaticEmbedding(tokenizer, embedding_dim=6), parts.Normalize()], device="cpu"
    )
    close(record(static, SENTENCES, "output")["output"], alone(static))
    tf.BertForMaskedLM(tf.BertConfig(**TEXT)).save_pretrained(tmp_path / "masked")
    tokenizer.save_pretrained(tmp_path / "masked")
    sparse = library.SparseEncoder(str(tmp_path / "masked"), device="cpu")
    expected = np.stack([sparse.encode([text])[0].to_dense().numpy() for text in SENTENCES])
    close(record(sparse, SENTENCES, "output")["output"], expected)
    sparse.save_pretrained(str(tmp_path / "sparse"))
    close(record(f"transformers:{tmp_path / 'sparse'}", SENTENCES, "output")["output"], expected)


def test_what_takes_no_sentences_says_what_to_do(whole, library, bert, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"reads sentences: inputs must be a list of str.*got \(8, 8, 8, 3\) uint8.*rs.record\(model\[0\].auto",
    ):
        rs.record(whole, RNG.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8), progress=False)
    with pytest.raises(
        TypeError, match="a Transformer is one module of a SentenceTransformer.*Pass SentenceTransformer"
    ):
        rs.load_model(whole[0])
    tf.BertForSequenceClassification(tf.BertConfig(**TEXT, num_labels=1)).save_pretrained(tmp_path)
    tf.AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    cross = library.CrossEncoder(str(tmp_path), device="cpu")
    with pytest.raises(
        TypeError,
        match=r"takes pairs of sentences.*rs.record\(model\[0\].auto_model, dict\(model.tokenizer\(firsts, seconds",
    ):
        rs.load_model(cross)
    pairs = dict(cross.tokenizer(SENTENCES, SENTENCES[::-1], padding=True, truncation=True, return_tensors="pt"))
    got = record(cross[0].auto_model, pairs, "output")["output"]
    close(got, cross[0].auto_model.eval()(**pairs).logits.detach())
    cross.save_pretrained(str(tmp_path / "saved"))
    assert type(rs.load_model(tmp_path / "saved").module).__name__ == "BertForSequenceClassification"


# -- folders


@pytest.fixture
def folder(whole, tmp_path):
    whole.save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_a_folder_gives_all_its_modules(whole, folder):
    for spec in (folder, f"transformers:{folder}"):
        model = rs.load_model(spec)
        close(record(model, SENTENCES, "output")["output"], alone(whole))
    assert (
        model.name == "saved"
        and model.card["modules"] == "Transformer, Pooling, Dense, Normalize"
        and model.card["architecture"] == "bert"
    )
    twins = [rs.load_model(folder, weights="random", seed=seed) for seed in (3, 3, 4)]
    values = [torch.cat([weight.flatten() for weight in twin.module.parameters()]) for twin in twins]
    assert (
        torch.equal(values[0], values[1])
        and not torch.equal(values[0], values[2])
        and twins[0].name == "untrained-saved-3"
    )
    changed = {
        name: not torch.equal(value, whole.state_dict()[name]) for name, value in twins[0].module.state_dict().items()
    }
    assert (
        changed["2.linear.weight"]
        and changed["0.model.encoder.layer.0.output.dense.weight"]
        and twins[0].layers == model.layers
    )


def test_a_folder_that_lacks_a_weight_or_names_code_is_refused(folder, monkeypatch):
    weights, dense = load_file(folder / "model.safetensors"), load_file(folder / "2_Dense" / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "layer.1.output.dense" not in name},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match="do not fill BertModel: they lack 'encoder.layer.1.output.dense.bias'"):
        rs.load_model(folder)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    save_file({"linear.weight": dense["linear.weight"]}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ValueError, match="could not be loaded by sentence_transformers.*Error.*Dense.*linear.bias"):
        rs.load_model(folder)
    (folder / "2_Dense" / "model.safetensors").unlink()
    torch.save({**dense, "x": types.SimpleNamespace()}, folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="could not be loaded by sentence_transformers"):
        rs.load_model(folder)
    torch.save(dense, folder / "2_Dense" / "pytorch_model.bin")
    rs.load_model(folder)
    ran = []
    monkeypatch.setitem(sys.modules, "evil", types.ModuleType("evil"))
    sys.modules["evil"].Module = lambda *given, **named: ran.append(1)
    config = json.loads((folder / "2_Dense" / "config.json").read_text())
    (folder / "2_Dense" / "config.json").write_text(json.dumps({**config, "activation_function": "evil.Module"}))
    with pytest.raises(ValueError, match="asks for 'evil.Module'.*code that a folder names is not run"):
        rs.load_model(folder)
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    listing = json.loads((folder / "modules.json").read_text())
    for change, words in (
        ({"type": "evil.Module"}, "asks for 'evil.Module'"),
        ({"path": "../elsewhere"}, "lists folders outside of its own, '../elsewhere'"),
        ({"type": 3}, "lists no modules"),
    ):
        (folder / "modules.json").write_text(json.dumps([*listing[:2], {**listing[2], **change}]))
        with pytest.raises(ValueError, match=words):
            rs.load_model(folder)
    (folder / "modules.json").write_text("[")
    with pytest.raises(ValueError, match="modules.json is damaged"):
        rs.load_model(folder)
    assert not ran


# -- without the library


def listed_in(folder, *modules):
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for k, (kind, path) in enumerate(modules)
            ]
        )
    )


@pytest.fixture
def absent(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        module_under_test.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "sentence_transformers" else find(name, *rest),
    )


def copied(bert, folder):
    folder.mkdir(parents=True)
    for file in bert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("inside", ["", "0_Transformer"])
def test_without_the_library_a_warning_names_what_is_not_applied(inside, bert, tmp_path, absent):
    copied(bert, tmp_path / "saved" / inside)
    listed_in(
        tmp_path / "saved",
        ("Transformer", inside),
        ("Pooling", "1_Pooling"),
        ("Dense", "2_Dense"),
        ("Normalize", "3_Normalize"),
    )
    with pytest.warns(
        UserWarning,
        match=(
            "only the transformer .* 'Pooling', 'Dense', 'Normalize' are not applied.*pip install sentence-transformers"
        ),
    ) as said:
        model = rs.load_model(tmp_path / "saved")
    (ours,) = [warning for warning in said if "are not applied" in str(warning.message)]
    assert model.name == "saved" and ours.filename == __file__
    with torch.no_grad():
        expected = tf.BertModel.from_pretrained(bert).eval()(torch.arange(5, 9)[None]).last_hidden_state
        close(model.module(torch.arange(5, 9)[None]).last_hidden_state, expected)
    listed_in(tmp_path / "saved", ("Transformer", inside))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        rs.load_model(tmp_path / "saved")


def test_a_name_on_the_hub_says_what_is_not_applied(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--some--encoder"
    snapshot = copied(bert, home / "snapshots" / "abc")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    listed_in(snapshot, ("Transformer", ""), ("Pooling", "1_Pooling"))
    with pytest.warns(
        UserWarning,
        match=(
            r"only the transformer of 'transformers:some/encoder' was loaded, without 'Pooling'.*pass"
            r" SentenceTransformer\('some/encoder'\)"
        ),
    ):
        rs.load_model("transformers:some/encoder", weights="pretrained")


class Chain(nn.Sequential):
    """As a SentenceTransformer is, so that what is done with one is tested where the library is not installed."""

    __module__ = "sentence_transformers.model"
    prompts, default_prompt_name, truncate_dim = {"ask": "cat "}, None, None

    def preprocess(self, texts, prompt=None):
        rows = [[WORDS.index(word) for word in f"{prompt or ''}{text}".split()] for text in texts]
        longest = max(map(len, rows))
        return {
            "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
            "modality": "text",
        }

    def encode(self, texts):
        with torch.no_grad():
            return self.eval()(self.preprocess(texts, self.prompts.get(self.default_prompt_name)))[
                "sentence_embedding"
            ][..., : self.truncate_dim].numpy()


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.auto_model = nn.Sequential(nn.Embedding(20, 6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 5))

    def forward(self, features):
        return {**features, "token_embeddings": self.auto_model(features["input_ids"])}


class Pooled(nn.Module):
    def forward(self, features):
        mask = features["attention_mask"][..., None]
        return {**features, "sentence_embedding": (features["token_embeddings"] * mask).sum(1) / mask.sum(1)}


def test_a_chain_is_recorded_by_its_columns():
    torch.manual_seed(0)
    model = type("SentenceTransformer", (Chain,), {"__module__": "sentence_transformers.model"})(Embedded(), Pooled())
    got = record(model, SENTENCES, ["0", "1", "output"], pool="mean")
    expected = np.stack([model.encode([text])[0] for text in SENTENCES])
    for layer in (
        "1",
        "output",
        "0",
    ):  # a mean over the tokens is what the second module takes of the first one's states
        close(got[layer], expected)
    model.default_prompt_name, model.truncate_dim = "ask", 3
    cut = record(model, SENTENCES, "output")["output"]
    close(cut, np.stack([model.encode([text])[0] for text in SENTENCES]))
    assert cut.shape == (len(SENTENCES), 3) and not np.allclose(cut, expected[:, :3], atol=1e-3)
    model.append(nn.Identity())
    model[1] = nn.Identity()
    with pytest.raises(
        ValueError,
        match=(
            "no sentence_embedding, but 'input_ids', 'attention_mask', 'token_embeddings'. A module that pools the"
            " tokens is missing"
        ),
    ):
        rs.record(model, SENTENCES, "output", progress=False)
