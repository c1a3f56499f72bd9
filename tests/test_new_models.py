"""Small random models of transformers: recorded rows against each sample alone, and against the library's own hidden
states.
"""

import re
import warnings

import numpy as np
import pytest
import torch
import transformers as tf
from networks import normal, real_of
from test_rows import alone
from test_rows_found_out import near, rec, with_warnings
from torch.utils.data import DataLoader

import repsim_nb as rs

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SEEN = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
N, T = 14, 7


def gemma3n(layers=3):
    config = tf.Gemma3nTextConfig(
        **{**TEXT, "num_hidden_layers": layers},
        num_key_value_heads=1,
        head_dim=8,
        vocab_size_per_layer_input=60,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=0,
        sliding_window=4,
        layer_types=["full_attention"] * layers,
        laurel_rank=4,
        pad_token_id=0,
    )
    return tf.Gemma3nTextModel(config)


def modernbert():
    return tf.ModernBertModel(
        tf.ModernBertConfig(
            **TEXT, **TOKENS, pad_token_id=0, cls_token_id=1, sep_token_id=2, attn_implementation="eager"
        )
    )


def qwen3_experts():
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    return tf.Qwen3MoeModel(tf.Qwen3MoeConfig(**TEXT, **experts, num_key_value_heads=1, head_dim=8, pad_token_id=0))


def dinov2():
    return tf.Dinov2Model(
        tf.Dinov2Config(**{key: value for key, value in SEEN.items() if key != "intermediate_size"}, mlp_ratio=2)
    )


MAKE = {
    "bert": lambda: tf.BertModel(tf.BertConfig(**TEXT)),
    "llama": lambda: tf.LlamaModel(tf.LlamaConfig(**TEXT, num_key_value_heads=1)),
    "gpt2": lambda: tf.GPT2Model(
        tf.GPT2Config(vocab_size=60, n_embd=16, n_layer=3, n_head=2, n_positions=20, **TOKENS)
    ),
    "modernbert": modernbert,
    "qwen3 experts": qwen3_experts,
    "mixtral": lambda: tf.MixtralModel(
        tf.MixtralConfig(**TEXT, num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=2)
    ),
    "t5 encoder": lambda: tf.T5EncoderModel(
        tf.T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2)
    ),
    "loops": lambda: tf.HrmTextModel(
        tf.HrmTextConfig(**{**TEXT, "num_hidden_layers": 2}, num_key_value_heads=2, head_dim=8)
    ),
    "vit": lambda: tf.ViTModel(tf.ViTConfig(**SEEN)),
    "dinov2": dinov2,
}
BLOCKS = {"bert": "encoder.layer.", "gpt2": "h.", "t5 encoder": "encoder.block."}
LAST_NORM = {
    "llama": "norm",
    "gpt2": "ln_f",
    "modernbert": "final_norm",
    "qwen3 experts": "norm",
    "mixtral": "norm",
    "t5 encoder": "encoder.final_layer_norm",
}
READ = [name for name in MAKE if name not in ("vit", "dinov2", "loops")]


def model_of(make, seed=0):
    torch.manual_seed(seed)
    return make().eval()


def texts(n=N, longest=T, seed=0, side="right"):
    """-> ids, mask, lengths"""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (n,), generator=generator)
    lengths[n // 2] = longest
    real = real_of(lengths, longest)
    ids = torch.randint(3, 60, (n, longest), generator=generator) * real
    if side == "left":
        ids, real = (
            torch.stack([torch.cat([one[keep.logical_not()], one[keep]]) for one, keep in zip(ids, real, strict=True)]),
            real.flip(1),
        )
    return {"input_ids": ids, "attention_mask": real.long()}


def unpadded(columns):
    """Each text alone, without padding."""
    real = columns["attention_mask"].bool()
    return [
        {"input_ids": ids[one][None], "attention_mask": torch.ones(1, int(one.sum()), dtype=torch.long)}
        for ids, one in zip(columns["input_ids"], real, strict=True)
    ]


def states(module, samples):
    """The library's own hidden states of each sample alone."""
    with torch.no_grad():
        return [[state[0] for state in module(**one, output_hidden_states=True).hidden_states] for one in samples]


def pooled(matrices, pool):
    take = {
        "mean": lambda h: h.mean(0, keepdim=True),
        "first": lambda h: h[:1],
        "last": lambda h: h[-1:],
        "tokens": lambda h: h,
    }[pool]
    return torch.cat([take(h.float()) for h in matrices]).numpy()


def alone_by_layer(module, samples, layers):
    """Layer -> a matrix (tokens, p) for each sample alone."""
    outs = [alone(module, one, layers) for one in samples]
    return {
        layer: [out[layer][0].flatten(0, -2) if out[layer][0].ndim > 2 else out[layer][0] for out in outs]
        for layer in layers
    }


# -- hidden states


@pytest.mark.parametrize("name", READ)
def test_blocks_are_the_hidden_states_of_each_text_alone(name):
    """With padding on the right.

    The last hidden state is after the final norm if there is one, else that of the last block.
    """
    module = model_of(MAKE[name])
    columns, prefix = texts(), BLOCKS.get(name, "layers.")
    by_text = states(module, unpadded(columns))
    blocks, norm = [f"{prefix}{k}" for k in range(3)], LAST_NORM.get(name)
    for pool in ("mean", "first", "last", "tokens"):
        got = rec(
            rs.load_model(module, name="m"),
            columns,
            [*blocks, *([norm] if norm else []), "output"],
            pool=pool,
            batch_size=6,
        )
        want = [pooled([one[k] for one in by_text], pool) for k in range(len(by_text[0]))]
        assert near(got[blocks[0]], want[1]) and near(got[blocks[1]], want[2]), pool
        assert near(got[norm or blocks[-1]], want[-1]) and near(got["output"], want[-1]), pool
        assert norm is None or not near(got[blocks[-1]], want[-1]), "the last block is before the final norm"


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_blocks_are_the_hidden_states_of_each_picture_alone(name):
    module, x = model_of(MAKE[name]), normal(N, 3, 8, 8)
    by_picture = states(module, [{"pixel_values": one[None]} for one in x])
    blocks = [part for part, block in module.named_modules() if type(block).__name__ in ("ViTLayer", "Dinov2Layer")]
    assert len(blocks) == 3
    for pool in ("mean", "first", "tokens"):
        got = rec(rs.load_model(module, name="m"), {"pixel_values": x}, blocks, pool=pool, batch_size=6)
        assert all(
            near(got[block], pooled([one[k + 1] for one in by_picture], pool)) for k, block in enumerate(blocks)
        ), pool


@pytest.mark.parametrize("name", READ)
def test_default_layers_of_texts_are_right(name):
    module, columns = model_of(MAKE[name]), texts()
    model = rs.load_model(module, name="m")
    for size in (1, 6):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = rec(model, columns, pool="mean", batch_size=size)
        layers = [key.layer for key in got]
        assert {f"{BLOCKS.get(name, 'layers.')}{k}" for k in range(2)} | {"output"} <= set(
            layers
        ) and "wpe" not in layers
        want = alone_by_layer(module, unpadded(columns), layers)
        for layer in layers:
            of_one = [h if layer != "pooler" else h[:1] for h in want[layer]]
            assert near(got[layer], pooled(of_one, "mean")), (layer, size)


# -- looped models


@pytest.mark.skipif("HrmTextModel" not in dir(tf), reason="transformers has it since 5.10")
def test_a_block_that_loops_is_as_many_layers():
    module = model_of(MAKE["loops"])
    ids = {"input_ids": torch.randint(3, 60, (N, T), generator=torch.Generator().manual_seed(0))}
    got = rec(rs.load_model(module, name="m"), ids, pool="mean", batch_size=6)
    layers = [key.layer for key in got]
    assert [layer for layer in layers if layer.startswith("L_module.layers.0#")] == [
        f"L_module.layers.0#{k}" for k in range(1, 7)
    ]
    assert [layer for layer in layers if layer.startswith("H_module.layers.1#")] == [
        f"H_module.layers.1#{k}" for k in (1, 2)
    ]
    want = alone(module, ids, layers)
    assert all(near(got[layer], torch.cat([h.mean(1) for h in want[layer]]).numpy()) for layer in layers)
    by_text = states(module, [{"input_ids": one[None]} for one in ids["input_ids"]])
    assert near(got["output"], pooled([one[-1] for one in by_text], "mean")), (
        "the last hidden state is after the final norm"
    )
    assert len(by_text[0]) == len([layer for layer in layers if ".layers." in layer]) + 1


# -- several residual streams


def ids_only(n, t=T):
    return {"input_ids": torch.randint(3, 60, (n, t), generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("n, size", [(14, None), (14, 4), (4, None), (4, 1), (8, 4)])
def test_blocks_with_several_streams_are_left_out_with_one_warning(n, size):
    """Four streams; in a batch of four samples a block gives (4, 4, t, p)."""
    module, columns = model_of(gemma3n), ids_only(n)
    got, warned = with_warnings(lambda: rec(rs.load_model(module, name="m"), columns, pool="mean", batch_size=size))
    layers = [key.layer for key in got]
    assert not any(re.match(r"layers\.\d", layer) for layer in layers) and "output" in layers
    assert (
        len(warned) == 1
        and all(f"'layers.{k}'" in warned[0] for k in range(3))
        and re.search("sample axis|axis", warned[0])
    )
    want = alone(module, columns, layers)
    for layer in layers:
        rows = [h.flatten(1, -2).mean(1) if h.ndim > 2 else h for h in want[layer]]
        assert near(got[layer], torch.cat(rows).numpy()), layer


def test_a_pool_function_selects_one_stream():
    module, columns = model_of(gemma3n), ids_only(14)

    def first_stream(x):
        return x[0].mean(1)

    by_text = states(module, [{"input_ids": one[None]} for one in columns["input_ids"]])
    for size in (4, 6):
        got = rec(
            rs.load_model(module, name="m"), columns, ["layers.0", "layers.1"], pool=first_stream, batch_size=size
        )
        with torch.no_grad():
            want = alone_streams(module, columns["input_ids"], 2)
        assert all(near(got[f"layers.{k}"], want[k]) for k in range(2))
    assert len(by_text[0]) == 4
    with pytest.raises(ValueError, match="'layers.0'.*sample axis"):
        rec(rs.load_model(module, name="m"), columns, ["layers.0"], pool="mean")


def alone_streams(module, ids, blocks):
    """The first stream after each of the first blocks, for each text alone."""
    found, handles = [[] for _ in range(blocks)], []
    for k in range(blocks):
        handles.append(
            module.layers[k].register_forward_hook(
                lambda _m, _i, out, k=k: found[k].append((out[0] if isinstance(out, tuple) else out)[0].mean(1))
            )
        )
    for one in ids:
        module(input_ids=one[None])
    for handle in handles:
        handle.remove()
    return [torch.cat(rows).numpy() for rows in found]


def test_describe_does_not_take_streams_for_samples():
    table = rs.load_model(model_of(gemma3n), name="m").describe(ids_only(6, 9), ["layers.0", "output"])
    assert table["shape"]["output"] == (9, 16) and table["shape"]["layers.0"] != (6, 9, 16)


# -- experts in one tensor


@pytest.mark.parametrize("name", ["qwen3 experts", "mixtral"])
def test_rows_that_are_tokens_are_recorded_as_tokens(name):
    """A router gives (n · tokens, experts)."""
    module = model_of(MAKE[name])
    for columns in (texts(n=11), {**ids_only(5, 5), "attention_mask": torch.ones(5, 5, dtype=torch.long)}):
        layers = ["layers.0.mlp.gate", "layers.2.mlp.gate", "layers.1.mlp"]
        outs = [alone(module, one, layers) for one in unpadded(columns)]
        want = {
            layer: [out[layer][0] if out[layer][0].ndim == 2 else out[layer][0][0] for out in outs] for layer in layers
        }
        for pool in ("tokens", "mean"):
            for size in (1, 4):
                got = rec(rs.load_model(module, name="m"), columns, layers, pool=pool, batch_size=size)
                assert all(near(got[layer], pooled(want[layer], pool)) for layer in layers), (pool, size)


@pytest.mark.parametrize("name", ["qwen3 experts", "mixtral"])
def test_a_router_cannot_be_flattened_with_padding(name):
    module = model_of(MAKE[name])
    full = {**ids_only(N), "attention_mask": torch.ones(N, T, dtype=torch.long)}
    for columns in (full, texts()):
        try:
            got = rec(rs.load_model(module, name="m"), columns, "layers.0.mlp.gate")["layers.0.mlp.gate"]
        except ValueError as error:
            assert re.search("'layers.0.mlp.gate'.*(sample axis|token|padding)", str(error))
            continue
        gate = [
            alone(module, one, ["layers.0.mlp.gate"])["layers.0.mlp.gate"][0].flatten() for one in unpadded(columns)
        ]
        assert columns is full and near(got, torch.stack(gate).numpy())


# -- two masks, two modalities


def two_texts(same_length):
    one, other = texts(seed=1), texts(longest=T if same_length else T - 2, seed=2)
    return {**one, "decoder_input_ids": other["input_ids"], "decoder_attention_mask": other["attention_mask"]}


def t5():
    return tf.T5Model(
        tf.T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0)
    )


def bart():
    sides = {f"{side}_{size}": 2 for side in ("encoder", "decoder") for size in ("layers", "attention_heads")}
    config = tf.BartConfig(
        vocab_size=60, d_model=16, **sides, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=20
    )
    return tf.BartModel(config)


BOTH = {"t5": t5, "bart": bart}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("same_length", [True, False])
def test_each_half_is_pooled_by_its_own_mask(name, same_length):
    module, columns = model_of(BOTH[name]), two_texts(same_length)
    part = "block" if name == "t5" else "layers"
    layers = {
        f"encoder.{part}.1": "attention_mask",
        f"decoder.{part}.0": "decoder_attention_mask",
        f"decoder.{part}.1": "decoder_attention_mask",
        "output": "decoder_attention_mask",
    }
    outs = alone(module, columns, list(layers))
    for pool in ("mean", "first", "last", "tokens"):
        got = rec(rs.load_model(module, name="m"), columns, list(layers), pool=pool, batch_size=6)
        for layer, mask in layers.items():
            want = pooled([h[0][one.bool()] for h, one in zip(outs[layer], columns[mask], strict=True)], pool)
            assert near(got[layer], want), (layer, pool)
    for layer in layers:
        with pytest.raises(ValueError, match=f"'{layer}'.*padding"):
            rec(rs.load_model(module, name="m"), columns, layer)


def clip():
    size = {key: value for key, value in SEEN.items() if key not in ("image_size", "patch_size")}
    text = {
        **size,
        "vocab_size": 60,
        "max_position_embeddings": 10,
        "eos_token_id": 59,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    return tf.CLIPModel(tf.CLIPConfig(text_config=text, vision_config=SEEN, projection_dim=8))


def pictures_and_texts(n=N, t=5):
    """As many tokens as there are patches with their class token."""
    columns = texts(n, t)
    columns["input_ids"][:, 0] = 59
    return {**columns, "pixel_values": normal(n, 3, 8, 8)}


@pytest.mark.parametrize("size", [None, 3, 5])
def test_default_layers_of_two_towers(size):
    """The output (pictures × texts) is left out; the mask applies to the texts only."""
    module, columns = model_of(clip), pictures_and_texts()
    got, warned = with_warnings(lambda: rec(rs.load_model(module, name="m"), columns, pool="mean", batch_size=size))
    layers = [key.layer for key in got]
    assert {f"{tower}_model.encoder.layers.{k}" for tower in ("text", "vision") for k in range(2)} <= set(
        layers
    ) and "output" not in layers
    assert len(warned) == 1 and "'output'" in warned[0] and re.search("sample", warned[0])
    outs = alone(module, columns, layers)
    for layer in layers:
        want = [
            h[0][mask.bool()] if layer.startswith("text_model") and h.ndim == 3 else h.flatten(0, -2)
            for h, mask in zip(outs[layer], columns["attention_mask"], strict=True)
        ]
        assert near(got[layer], pooled(want, "mean")), layer


def test_the_output_of_two_towers_raises_if_named():
    for n in (4, 5, 14):
        with pytest.raises(ValueError, match="'output'.*(mixes samples|sample axis)"):
            rec(rs.load_model(model_of(clip), name="m"), pictures_and_texts(n), "output")


# -- empty texts, padding on the left, nested tensors


def tokenizer():
    """Words of one letter, no special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(
        models.WordLevel({"[PAD]": 0, "[UNK]": 1, **{chr(97 + k): 3 + k for k in range(26)}}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")


@pytest.mark.parametrize("name", ["gpt2", "bert"])
@pytest.mark.parametrize("empty", ["", "   ", "\n\t"])
@pytest.mark.parametrize("place", [0, 1, 41])
def test_a_text_without_a_token_is_named(name, empty, place):
    sentences = ["a b c", "d e", "f", "g h i j"] * 12
    model = rs.load_model(model_of(MAKE[name]), name="m", preprocess=rs.models.Texts(tokenizer(), pad=0))
    block = f"{BLOCKS[name]}1"
    assert len(rec(model, sentences, block, pool="last")[block]) == 48
    sentences[place] = empty
    for pool in ("mean", "first", "last"):
        for size in (5, None):
            with pytest.raises(ValueError, match=rf"([Ss]ample|text|row|number)s? {place}\b") as caught:
                rec(model, sentences, block, pool=pool, batch_size=size)
            assert re.search("token|empty", str(caught.value)), caught.value


def test_a_mask_without_a_token_is_named():
    module, columns = model_of(MAKE["gpt2"]), texts()
    columns["attention_mask"][13] = 0
    for pool in ("mean", "first", "last"):
        with pytest.raises(ValueError, match=r"([Ss]ample|text|row|number)s? 13\b") as caught:
            rec(rs.load_model(module, name="m"), columns, "h.1", pool=pool)
        assert re.search("token|empty|padding|mask", str(caught.value))


@pytest.mark.parametrize("name", ["gpt2", "bert"])
@pytest.mark.parametrize("pool", ["mean", "last", "first"])
def test_padding_on_the_left_is_right_or_announced(name, pool):
    """Without position_ids these models count positions from the padding."""
    module, columns = model_of(MAKE[name]), texts(side="left")
    block = f"{BLOCKS[name]}1"
    want = pooled([one[2] for one in states(module, unpadded(columns))], pool)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            got = rec(rs.load_model(module, name="m"), columns, [block], pool=pool, batch_size=6)[block]
        except ValueError as error:
            assert re.search("left|position", str(error))
            return
    assert near(got, want) or any(
        re.search("left", str(one.message)) and re.search("position", str(one.message)) for one in warned
    )


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_padding_on_the_left_with_positions_is_right(name):
    """With position_ids, or in a model that uses distances between tokens only."""
    module, columns = model_of(MAKE[name]), texts(side="left")
    if name == "gpt2":
        columns["position_ids"] = (columns["attention_mask"].cumsum(1) - 1).clamp(0)
    block = f"{BLOCKS.get(name, 'layers.')}1"
    by_text = states(module, unpadded(columns))
    for pool in ("mean", "last", "first"):
        with warnings.catch_warnings():
            if name == "gpt2":
                warnings.filterwarnings("error", message=".*(left|position).*")
            got = rec(rs.load_model(module, name="m"), columns, [block], pool=pool, batch_size=6)[block]
        want = pooled([one[2] for one in by_text], pool)
        assert got.shape == want.shape and np.allclose(got, want, atol=2e-3), pool


@pytest.mark.parametrize("kind", ["batch", "generator", "DataLoader", "list"])
@pytest.mark.filterwarnings("ignore:.*nested")
def test_nested_tensors_are_refused(kind):
    def nested(layout):
        return torch.nested.nested_tensor([torch.randn(k, 5) for k in (3, 2, 4, 3)], layout=layout)

    for layout in (torch.strided, torch.jagged):
        one = nested(layout)
        data = {
            "batch": one,
            "generator": (batch for batch in [one, nested(layout)]),
            "list": [torch.randn(3, 5), torch.randn(2, 5)],
            "DataLoader": DataLoader(range(8), batch_size=4, collate_fn=lambda _, layout=layout: nested(layout)),
        }[kind]
        with pytest.raises(ValueError, match="nested|one shape|length|shape"):
            rec(rs.load_model(torch.nn.Linear(5, 2), name="m"), data)
