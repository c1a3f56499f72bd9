"""Text models of transformers: encoders, decoders, and models with both."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .kinds import Architecture, Columns, both, configured, ids, padded_ids, sample, whole, without_padding

LIBRARY = "transformers"
REAL = "tokens<attention_mask"
MASKED = without_padding("input_ids", "token_type_ids", "decoder_input_ids")
BERT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
LLAMA = BERT | {"num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT_ALSO = {"embeddings*": "tokens", "encoder": "tokens", "pooler*": "row"}
LLAMA_ALSO = {"embed_tokens": "tokens", "norm": "tokens"}


def encoder(name: str, model: str, config: str, options: dict, layers: str, pad: int = 0, **more) -> Architecture:
    """An encoder or a decoder of texts; its output is its last states."""
    also = more.pop("also", BERT_ALSO)
    masked = more.pop("masked", True)
    return Architecture(
        name,
        LIBRARY,
        configured(model, config, **options),
        more.pop("columns", ids()),
        {layers: "tokens", "output": "tokens"} | more.pop("then", {}),
        also,
        padded=padded_ids(pad=pad) if masked else None,
        cut=MASKED,
        **more,
    )


def decoder(name: str, model: str, config: str, options: dict, layers: str = "layers.{0..2}", **more) -> Architecture:
    return encoder(name, model, config, options, layers, also=more.pop("also", LLAMA_ALSO), **more)


def both_sides(decoder_pad: int = 0, tokens: int = 6) -> Callable[[int], Columns]:
    return both(
        padded_ids(pad=decoder_pad),
        padded_ids(tokens, pad=decoder_pad, name="decoder_input_ids", mask="decoder_attention_mask", seed=5),
    )


def two_cuts(columns: Columns, i: int) -> Columns:
    """Both texts of a pair, each without its padding."""
    one = without_padding("input_ids")(columns, i)
    return without_padding("decoder_input_ids", mask="decoder_attention_mask")(one, 0)


def pair(
    name: str, model: str, config: str, options: dict, layers: dict[str, str], also: dict[str, str], **more
) -> Architecture:
    """An encoder and a decoder, each with its own text."""
    make = more.pop("make", None) or configured(model, config, **options)
    columns = both(ids(), ids(6, name="decoder_input_ids"))
    return Architecture(
        name, LIBRARY, make, columns, layers, also, padded=both_sides(more.pop("pad", 0)), cut=two_cuts, **more
    )


BART = {
    "vocab_size": 50,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 20,
}
BART_LAYERS = {"encoder.layers.{0..1}": "tokens", "decoder.layers.{0..1}": "tokens", "output": "tokens"}
BART_ALSO = {
    "shared*": "tokens",
    "*embed_tokens*": "tokens",
    "*layernorm_embedding": "tokens",
    "*layer_norm": "tokens",
    "*embed_positions": "tokens",
}


def classifier() -> nn.Module:
    return configured("BertForSequenceClassification", "BertConfig", **BERT, num_labels=3)()


def bart_with_labels(n: int) -> Columns:
    return {"input_ids": whole(n, 7), "labels": whole(n, 5, seed=3)}


ARCHITECTURES = [
    encoder("BERT", "BertModel", "BertConfig", BERT, "encoder.layer.{0..2}", quick=True),
    Architecture(
        "BERT classifier",
        LIBRARY,
        classifier,
        ids(),
        {"bert.encoder.layer.{0..2}": "tokens", "output": "row@logits"},
        {"bert.embeddings*": "tokens", "bert.pooler*": "row", "classifier": "row"},
        padded=padded_ids(),
        cut=MASKED,
        quick=True,
    ),
    Architecture(
        "BERT, tokens = width",
        LIBRARY,
        configured("BertModel", "BertConfig", **BERT),
        ids(16),
        {"encoder.layer.{0..2}": "tokens", "output": "tokens"},
        BERT_ALSO,
        padded=padded_ids(16),
        cut=MASKED,
        quick=True,
        size="16 tokens, width 16",
    ),
    Architecture(
        "BERT for questions",
        LIBRARY,
        configured("BertForQuestionAnswering", "BertConfig", **BERT),
        ids(),
        {"bert.encoder.layer.{0..2}": REAL},
        {"bert.embeddings*": REAL, "qa_outputs": REAL, "output": "row", "output.*": "row"},
    ),
    encoder(
        "RoBERTa",
        "RobertaModel",
        "RobertaConfig",
        BERT | {"pad_token_id": 1, "max_position_embeddings": 40},
        "encoder.layer.{0..2}",
        pad=1,
    ),
    encoder(
        "DistilBERT",
        "DistilBertModel",
        "DistilBertConfig",
        {"vocab_size": 50, "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32},
        "transformer.layer.{0..2}",
        also={"embeddings*": "tokens", "transformer": "tokens"},
        quick=True,
    ),
    Architecture(
        "ALBERT",
        LIBRARY,
        configured("AlbertModel", "AlbertConfig", **BERT | {"embedding_size": 8}),
        ids(),
        {f"encoder.albert_layer_groups.0.albert_layers.0#{k}": "tokens" for k in (1, 2, 3)} | {"output": "tokens"},
        {
            "embeddings*": "tokens",
            "pooler*": "row",
            "encoder": "tokens",
            "encoder.embedding_hidden_mapping_in": "tokens",
            "encoder.albert_layer_groups*": "tokens",
        },
        padded=padded_ids(),
        cut=MASKED,
        quick=True,
        size="one layer that runs three times",
    ),
    encoder(
        "DeBERTa-v2",
        "DebertaV2Model",
        "DebertaV2Config",
        BERT
        | {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "max_position_embeddings": 40,
        },
        "encoder.layer.{0..2}",
        also=BERT_ALSO | {"encoder.rel_embeddings": "tokens", "encoder.conv*": "tokens"},
        quick=True,
    ),
    encoder(
        "ELECTRA",
        "ElectraModel",
        "ElectraConfig",
        BERT | {"embedding_size": 8},
        "encoder.layer.{0..2}",
        also=BERT_ALSO | {"embeddings_project": "tokens"},
    ),
    encoder(
        "MPNet",
        "MPNetModel",
        "MPNetConfig",
        BERT,
        "encoder.layer.{0..2}",
        pad=1,
        also=BERT_ALSO | {"encoder.relative_attention_bias": "tokens"},
    ),
    encoder(
        "ESM",
        "EsmModel",
        "EsmConfig",
        BERT | {"pad_token_id": 1, "position_embedding_type": "rotary", "mask_token_id": 2},
        "encoder.layer.{0..2}",
        pad=1,
    ),
    Architecture(
        "XLNet",
        LIBRARY,
        configured("XLNetModel", "XLNetConfig", vocab_size=50, d_model=16, n_layer=3, n_head=2, d_inner=32),
        ids(),
        {"layer.{0..2}": "time_first", "output": "tokens"},
        {"word_embedding": "time_first", "dropout": "time_first"},
        padded=padded_ids(),
        cut=MASKED,
        quick=True,
        size="its blocks give (tokens, n, width)",
    ),
    Architecture(
        "Funnel",
        LIBRARY,
        configured(
            "FunnelModel",
            "FunnelConfig",
            vocab_size=50,
            block_sizes=[1, 1],
            d_model=16,
            n_head=2,
            d_head=8,
            d_inner=32,
            num_decoder_layers=1,
        ),
        ids(8),
        {"encoder.blocks.0.0": REAL, "encoder.blocks.1.0": "tokens", "decoder.layers.0": REAL, "output": REAL},
        {"embeddings*": REAL},
        refused=("encoder.blocks.1.0",),
        padded=padded_ids(8),
        cut=sample,
        size="block 1 has half as many tokens",
    ),
    Architecture(
        "Longformer",
        LIBRARY,
        configured(
            "LongformerModel",
            "LongformerConfig",
            **BERT | {"attention_window": 8, "max_position_embeddings": 40, "pad_token_id": 1},
        ),
        lambda n: {"input_ids": whole(n, 10), "attention_mask": whole(n, 10, low=1, high=2)},
        {"encoder.layer.{0..2}": REAL, "output": REAL},
        {"embeddings*": REAL, "pooler*": "row"},
        refused=("encoder.layer.*",),
        padded=padded_ids(10, pad=1),
        cut=MASKED,
        quick=True,
        size="10 tokens, padded to 16 inside",
    ),
    Architecture(
        "BigBird",
        LIBRARY,
        configured(
            "BigBirdModel",
            "BigBirdConfig",
            **BERT
            | {
                "attention_type": "block_sparse",
                "block_size": 4,
                "num_random_blocks": 1,
                "max_position_embeddings": 64,
            },
        ),
        lambda n: {"input_ids": whole(n, 50), "attention_mask": whole(n, 50, low=1, high=2)},
        {"encoder.layer.{0..2}": REAL, "output": REAL},
        {"embeddings*": REAL, "pooler*": "row", "activation": "row"},
        refused=("encoder.layer.*",),
        size="50 tokens, padded to 52 inside",
    ),
    Architecture(
        "Reformer",
        LIBRARY,
        configured(
            "ReformerModel",
            "ReformerConfig",
            vocab_size=50,
            hidden_size=16,
            num_attention_heads=2,
            attention_head_size=8,
            attn_layers=["local", "local"],
            axial_pos_embds=False,
            feed_forward_size=32,
            local_attn_chunk_length=4,
            max_position_embeddings=40,
            is_decoder=False,
            pad_token_id=0,
        ),
        ids(8),
        {"output": "tokens"},
        {"embeddings*": "tokens", "encoder*": "tokens"},
        size="its blocks run by a function of their own, (attention, states)",
    ),
    encoder(
        "ModernBERT",
        "ModernBertModel",
        "ModernBertConfig",
        BERT
        | {
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "cls_token_id": 1,
            "sep_token_id": 2,
            "local_attention": 4,
            "max_position_embeddings": 40,
        },
        "layers.{0..2}",
        also={"embeddings*": "tokens", "final_norm": "tokens"},
        quick=True,
    ),
    decoder(
        "GPT-2",
        "GPT2Model",
        "GPT2Config",
        {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40},
        "h.{0..2}",
        also={"wte": "tokens", "ln_f": "tokens", "drop": "tokens"},
        quick=True,
    ),
    Architecture(
        "GPT-2 language model",
        LIBRARY,
        configured("GPT2LMHeadModel", "GPT2Config", vocab_size=50, n_embd=16, n_layer=3, n_head=2, n_positions=40),
        ids(),
        {"transformer.h.{0..2}": "tokens", "output": "tokens@logits"},
        {"transformer.wte": "tokens", "transformer.ln_f": "tokens", "lm_head": "tokens"},
        padded=padded_ids(),
        cut=MASKED,
    ),
    decoder(
        "GPT-NeoX", "GPTNeoXModel", "GPTNeoXConfig", BERT, also={"embed_in": "tokens", "final_layer_norm": "tokens"}
    ),
    decoder("Llama", "LlamaModel", "LlamaConfig", LLAMA, quick=True),
    decoder(
        "Mistral",
        "MistralModel",
        "MistralConfig",
        LLAMA | {"sliding_window": 4},
        quick=True,
        size="a window of 4 tokens",
    ),
    decoder("Qwen2", "Qwen2Model", "Qwen2Config", LLAMA),
    decoder(
        "Qwen3-MoE",
        "Qwen3MoeModel",
        "Qwen3MoeConfig",
        LLAMA | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 1},
        quick=True,
    ),
    decoder("Mixtral", "MixtralModel", "MixtralConfig", LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    decoder("Gemma2", "Gemma2Model", "Gemma2Config", LLAMA | {"sliding_window": 4, "query_pre_attn_scalar": 8}),
    Architecture(
        "Gemma3n",
        LIBRARY,
        configured(
            "Gemma3nTextModel",
            "Gemma3nTextConfig",
            **LLAMA
            | {
                "hidden_size_per_layer_input": 8,
                "vocab_size_per_layer_input": 50,
                "intermediate_size": [32] * 3,
                "num_kv_shared_layers": 0,
                "laurel_rank": 4,
                "altup_num_inputs": 4,
                "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
                "sliding_window": 4,
                "activation_sparsity_pattern": [0.0] * 3,
            },
        ),
        ids(),
        {"layers.{0..2}": "tokens", "output": "tokens"},
        {"embed_tokens*": "tokens", "norm": "tokens", "per_layer*": "tokens", "altup*": "tokens"},
        refused=("layers.*",),
        padded=padded_ids(),
        cut=MASKED,
        size="its blocks give (4 streams, n, tokens, width)",
    ),
    decoder(
        "Phi",
        "PhiModel",
        "PhiConfig",
        BERT | {"pad_token_id": 0},
        also={"embed_tokens": "tokens", "final_layernorm": "tokens"},
    ),
    decoder(
        "OPT",
        "OPTModel",
        "OPTConfig",
        {
            "vocab_size": 50,
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "ffn_dim": 32,
            "word_embed_proj_dim": 16,
            "max_position_embeddings": 40,
        },
        "decoder.layers.{0..2}",
        pad=1,
        also={
            "decoder.embed_tokens": "tokens",
            "decoder.final_layer_norm": "tokens",
            "decoder.embed_positions": "tokens",
        },
    ),
    decoder(
        "Bloom",
        "BloomModel",
        "BloomConfig",
        {"vocab_size": 50, "hidden_size": 16, "n_layer": 3, "n_head": 2},
        "h.{0..2}",
        pad=3,
        also={"word_embeddings*": "tokens", "ln_f": "tokens"},
    ),
    decoder(
        "Falcon",
        "FalconModel",
        "FalconConfig",
        {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2},
        "h.{0..2}",
        also={"word_embeddings*": "tokens", "ln_f": "tokens"},
    ),
    decoder(
        "Mamba",
        "MambaModel",
        "MambaConfig",
        {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "state_size": 4, "time_step_rank": 4},
        "layers.{0..2}",
        also={"embeddings": "tokens", "norm_f": "tokens"},
        quick=True,
    ),
    decoder(
        "RWKV",
        "RwkvModel",
        "RwkvConfig",
        {
            "vocab_size": 50,
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "attention_hidden_size": 16,
            "intermediate_size": 32,
            "rescale_every": 2,
            "context_length": 40,
        },
        "blocks.{0..2}",
        also={"embeddings": "tokens", "ln_out": "tokens"},
        masked=False,
        quick=True,
        size="weights are rescaled in evaluation",
    ),
    pair(
        "T5",
        "T5Model",
        "T5Config",
        {"vocab_size": 50, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 32, "d_kv": 8},
        {"encoder.block.{0..1}": "tokens", "decoder.block.{0..1}": "tokens", "output": "tokens"},
        {
            "shared*": "tokens",
            "*embed_tokens*": "tokens",
            "*final_layer_norm": "tokens",
            "*dropout*": "tokens",
            "encoder": "tokens",
            "decoder": "tokens",
        },
        quick=True,
    ),
    pair("BART", "BartModel", "BartConfig", BART | {"pad_token_id": 1}, BART_LAYERS, BART_ALSO, pad=1, quick=True),
    Architecture(
        "BART, labels given",
        LIBRARY,
        configured("BartForConditionalGeneration", "BartConfig", **BART | {"pad_token_id": 1}),
        bart_with_labels,
        {"model.encoder.layers.{0..1}": "tokens", "model.decoder.layers.{0..1}": "tokens", "output": "tokens@logits"},
        {"model." + name: form for name, form in BART_ALSO.items()} | {"lm_head": "tokens"},
        size="the decoder reads the labels",
    ),
    pair("Pegasus", "PegasusModel", "PegasusConfig", BART, BART_LAYERS, BART_ALSO),
]
